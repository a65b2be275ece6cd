"""The second door to DuckDB: whole statements of the caller, over tables that are handed over to it.

Unlike the connections of `engine_duckdb`, this one may read files and load extensions, and works on all cores: the
statements are the caller's own. It looks up no variables of Python: names mean what `Connection.present` was given.
One database in memory a process; each statement has a connection of its own to it, so that answers are open side by
side and no thread sees the names of another.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from functools import partial
from itertools import islice
from types import ModuleType
from typing import Any

import pyarrow as pa

from lance_like._lazy import need
from lance_like.errors import InvalidInput, LanceLikeError
from lance_like.locks import lock_over_forks
from lance_like.query.aliases import MACROS, named_in
from lance_like.query.names import quote
from lance_like.query.statement_text import Text, Word, words_of
from lance_like.typing_ import T

_CONFIG = {"python_enable_replacements": "false"}
# Texts become moments, and moments days, as they do in filters.
_SETTINGS = ("SET GLOBAL TimeZone = 'UTC'",)
_ROWS = 1 << 16
_ANSWER = quote("lance_like answer")

_LOCK = lock_over_forks()
_databases: dict[int, Any] = {}
"""Process id -> its database; a child never touches that of its parent."""


def _duckdb() -> ModuleType:
    return need("duckdb")


def _database() -> Any:
    found = _databases.get(os.getpid())
    if found is None:
        made = _duckdb().connect(":memory:", config=_CONFIG)
        for setting in _SETTINGS:
            made.execute(setting)
        with _LOCK:
            found = _databases.setdefault(os.getpid(), made)
    return found


def statements(text: Text) -> list[tuple[Text, str]]:
    """Cut a text into its statements, each with its kind, as DuckDB names it: "SELECT", "INSERT", "MERGE_INTO" …

    Returns none for a text of nothing but comments. Raises InvalidInput, pointing at the place.
    """
    try:
        return [(piece, _kind(piece)) for piece in _pieces(text)]
    except (_duckdb().Error, UnicodeError) as error:
        raise _refusal(error, text) from error


def _pieces(text: Text) -> Iterator[Text]:
    """The parts of a text between its semicolons, each of which has a word."""
    start, some = 0, False
    for word in words(text):
        if word.text == ";":
            if some:
                yield text.cut(start, word.start)
            start, some = word.end, False
        else:
            some = True
    if some:
        yield text.cut(start, len(text.data))


def _kind(piece: Text) -> str:
    try:
        found = _database().extract_statements(str(piece))
    except _duckdb().Error as error:
        raise _refusal(error, piece) from error
    if len(found) == 1 and found[0].type.name != "MULTI":
        return found[0].type.name
    # DuckDB makes several statements of a PIVOT, or of an ALTER TABLE with a DEFAULT.
    return "ALTER" if words(piece)[0].is_("ALTER") else "SELECT"


def parameters(text: Text) -> set[str]:
    """The names of the parameters of a statement; "1", "2" … for those by position."""
    return {name for one in _database().extract_statements(str(text)) for name in one.named_parameters}


def words(text: Text) -> list[Word]:
    """The words of a text, without comments."""
    return words_of(text.data, [(start, kind.name) for start, kind in _duckdb().tokenize(str(text))])


class Connection:
    """A connection for one statement and its answer.

    failures: errors of tables that were read, oldest first: DuckDB keeps only their text.
    """

    def __init__(self) -> None:
        self._cursor = _database().cursor()
        self._macros: set[str] = set()
        self.failures: list[BaseException] = []

    def present(self, name: str, table: Any, hidden: tuple[str, ...] = ()) -> None:
        """Give a table a name. table: anything that DuckDB registers. hidden: columns that only DuckDB sees."""
        try:
            if not hidden:
                self._cursor.register(name, table)
                return
            below = f"lance_like below {name}"
            self._cursor.register(below, table)
            shown = f"SELECT * EXCLUDE ({', '.join(map(quote, hidden))}) FROM {quote(below)}"
            self._cursor.execute(f"CREATE TEMP VIEW {quote(name)} AS {shown}")
        except _duckdb().Error as error:
            raise self.translated(error, Text.words(f"the table {name!r}")) from error

    def relation(self, text: Text, values: Mapping[str, Any]) -> Any:
        """Bind a statement that gives rows. values: of the parameters, each of which it must name."""
        try:
            self._define(str(text))
            if not values:
                return self._cursor.sql(str(text))
            if _duckdb().__version__.startswith("1."):
                # It would run the statement without letting other threads go on, for which a scan waits.
                self.execute(f"CREATE OR REPLACE TEMP TABLE {_ANSWER} AS " + text, values)
                return self._cursor.sql(f"FROM {_ANSWER}")
            return self._cursor.sql(str(text), params=dict(values))
        except (_duckdb().Error, UnicodeError) as error:
            raise self.translated(error, text, values) from error

    def value(self, text: Text, values: Mapping[str, Any]) -> Any:
        """The one value of an expression, as Python has it."""
        column = self.run(text, values, lambda relation: relation.to_arrow_table()).column(0)
        if pa.types.is_struct(column.type):  # of fields that may have no names
            return self.run(text, values, lambda relation: relation.fetchall())[0][0]
        return column[0].as_py()  # of a moment DuckDB itself makes Python's with pytz only

    def run(self, text: Text, values: Mapping[str, Any], take: Callable[[Any], T]) -> T:
        """Bind a statement and take something of its relation, with errors of our tree."""
        relation = self.relation(text, values)
        try:
            return self._interruptible(lambda: take(relation))
        except (_duckdb().Error, pa.ArrowException, OSError, RuntimeError) as error:
            raise self.translated(error, text, values) from error

    def execute(self, text: Text, values: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """Run a statement at once, and fetch what it says."""
        try:
            self._define(str(text))
            run = partial(self._cursor.execute, str(text), dict(values) if values else None)
            return self._interruptible(run).fetchall()
        except (_duckdb().Error, pa.ArrowException, OSError, RuntimeError) as error:
            raise self.translated(error, text, values) from error

    def _define(self, sql: str) -> None:
        """Make the functions of pylance that a statement names."""
        for name in named_in(sql) - self._macros:
            self._cursor.execute(f"CREATE TEMP MACRO {name}{MACROS[name]}")
            self._macros.add(name)

    def columns(self, text: Text, values: Mapping[str, Any]) -> dict[str, str]:
        """The columns of a statement that gives rows, with their types as SQL writes them."""
        relation = self.relation(text, values)
        return dict(zip(relation.columns, map(str, relation.dtypes), strict=True))

    def rows(self, text: Text, values: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
        """The rows of a statement, as Python's values."""
        relation = self.relation(text, values)
        try:
            if hasattr(relation, "iter_rows"):
                rows = relation.iter_rows()
                yield from self._interruptible(lambda: list(islice(rows, 1)))
                yield from rows
                return
            while some := self._interruptible(lambda: relation.fetchmany(_ROWS)):  # DuckDB 1
                yield from some
        except (_duckdb().Error, pa.ArrowException, OSError, RuntimeError) as error:
            raise self.translated(error, text, values) from error

    def reader(self, text: Text, values: Mapping[str, Any], rows: int | None = None) -> pa.RecordBatchReader:
        """The rows of a statement as a stream, made while it is read. rows: of a batch."""
        stream = self.run(text, values, lambda relation: _reader(relation, rows or _ROWS))

        def batches() -> Iterator[pa.RecordBatch]:
            while True:
                try:
                    batch = self._interruptible(stream.read_next_batch)
                except StopIteration:
                    return
                except (_duckdb().Error, pa.ArrowException, OSError, RuntimeError) as error:
                    raise self.translated(error, text, values) from error
                yield batch

        return pa.RecordBatchReader.from_batches(stream.schema, batches())

    def _interruptible(self, call: Callable[[], T]) -> T:
        """Call DuckDB so that Ctrl-C ends it at once: DuckDB 2 itself looks for signals only between its steps."""
        if threading.current_thread() is not threading.main_thread():
            return call()
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(call())
            except BaseException as error:
                done.set_exception(error)

        thread = threading.Thread(target=run, name="lance_like sql", daemon=True)
        thread.start()
        try:
            return done.result()
        except KeyboardInterrupt:
            self._cursor.interrupt()
            thread.join()
            raise

    def translated(self, error: Exception, text: Text, values: Mapping[str, Any] | None = None) -> Exception:
        """Turn an error of DuckDB into one of our tree, which points at the place that the caller wrote."""
        for failure in (error, *self.failures):
            if isinstance(failure, (LanceLikeError, KeyboardInterrupt)):
                return failure  # type: ignore[return-value]
        return _refusal(error, text) if values is None else _refusal(self._located(error, text, values), text)

    def _located(self, error: Exception, text: Text, values: Mapping[str, Any]) -> Exception:
        """The same error, with its place: relations are bound without one."""
        again = self._cursor
        try:
            again.execute("SET errors_as_json = true")
            again.execute(f"EXPLAIN {text}", dict(values) or None)
        except _duckdb().Error as found:
            return found if _told(found).get("exception_message", "\0") in str(error) else error
        finally:
            again.execute("SET errors_as_json = false")
        return error


def _reader(relation: Any, rows: int) -> pa.RecordBatchReader:
    make = getattr(relation, "to_arrow_reader", None) or relation.fetch_record_batch  # DuckDB 2, DuckDB 1
    return make(rows)


_EXPLAIN = len(b"EXPLAIN ")


def _told(error: Exception) -> dict[str, Any]:
    """What an error says as JSON."""
    try:
        return json.loads(str(error)[str(error).index("{") :])
    except ValueError:
        return {}


def _refusal(error: Exception, text: Text) -> InvalidInput:
    told = _told(error)
    message = told.get("exception_message") or str(error).partition("\n\nLINE ")[0]
    place = int(told["position"]) - _EXPLAIN if told.get("position") else _place_of_caret(str(error), text)
    at = None if place is None else text.origin(place)
    shown = "" if at is None else _caret(text, at)
    return InvalidInput(f"{message.strip()}{shown}", kind="sql")


def _place_of_caret(message: str, text: Text) -> int | None:
    """The place in a statement that DuckDB points at, by the line it shows."""
    _, found, shown = message.partition("\n\nLINE ")
    head, _, rest = shown.partition(": ")
    line, _, below = rest.partition("\n")
    if not found or "^" not in below:
        return None
    column = below.index("^") - len(f"LINE {head}: ")
    if line.startswith("..."):
        line, column = line[3:], column - 3
    around = line.removesuffix("...").encode()
    start = text.data.find(around)
    return None if start < 0 else start + len(line[:column].encode())


def _caret(text: Text, at: int) -> str:
    """Show the line that the caller wrote with a caret below a place."""
    before = text.written[:at].decode(errors="ignore")
    start = before.rfind("\n") + 1
    line = text.written.decode()[start:].partition("\n")[0]
    column = len(before) - start
    left = max(column - 60, 0)
    return f"\n  {line[left : left + 100]}\n  {' ' * (column - left)}^"


__all__ = ["Connection", "parameters", "statements", "words"]
