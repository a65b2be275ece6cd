"""The one door to DuckDB: its parser as JSON, and SQL expressions evaluated over one batch.

Each thread of each process has a connection of its own, closed to files, extensions and the caller's variables,
on one thread and with the time zone UTC, so that an answer depends on nothing but the text and the batch.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from types import ModuleType
from typing import Any

import pyarrow as pa

from lance_like._lazy import need
from lance_like.errors import InvalidInput
from lance_like.query.aliases import MACROS, named_in
from lance_like.query.names import fold, quote
from lance_like.query.nearest import as_nearest

_TABLE = "__lance_like_batch"
_ROW = "__lance_like_row"
_SETTINGS = (
    "SET TimeZone = 'UTC'",
    "SET python_enable_replacements = false",
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET enable_external_access = false",
    "SET errors_as_json = true",
    "SET threads = 1",
    "SET lock_configuration = true",
)

_PRIVATE = range(0xE000, 0xF900)
_ESCAPES = re.compile(r"\\(?:u0000|.)")

_local = threading.local()
_of_parents: list[Any] = []


def serialize(query: str) -> dict[str, Any]:
    """Parse a SELECT to DuckDB's JSON tree.

    Returns DuckDB's answer: the tree, or {"error": true, "error_message", "position" ...}.
    Raises InvalidInput for text that cannot be handed over at all.
    """
    answer = _scalar("SELECT json_serialize_sql(?)", query)
    if not answer:  # its error has half a letter, which it cannot write as JSON
        raise InvalidInput(f"DuckDB cannot parse this: {query!r:.200}", kind="filter")
    with refusing_depth():
        return json.loads(answer)


def deserialize(tree: Mapping[str, Any]) -> str:
    """Write a tree of `serialize` back as SQL."""
    with refusing_depth():
        text = json.dumps(tree)
    if r"\u0000" not in text:
        return _scalar("SELECT json_deserialize_sql(?)", text)
    # DuckDB ends a literal or a name at its first NUL: another letter goes in its place.
    instead = next(letter for letter in map(chr, _PRIVATE) if json.dumps(letter)[1:-1] not in text)
    text = _ESCAPES.sub(lambda escape: instead if escape[0] == r"\u0000" else escape[0], text)
    return _scalar("SELECT json_deserialize_sql(?)", text).replace(instead, "\0")


@contextmanager
def refusing_depth() -> Iterator[None]:
    """Raise InvalidInput for an expression that is nested deeper than Python's stack."""
    try:
        yield
    except RecursionError:
        raise too_deep() from None


def too_deep() -> InvalidInput:
    """Make the error for an expression that is nested too deeply."""
    return InvalidInput("the expression is nested too deeply", kind="filter", hint="write it with fewer parentheses")


def no_row_value(function: str) -> str | None:
    """Say what a function is that has no value for a single row; None if it has one."""
    name = function.lower()
    if name in _aggregates():
        return f"the aggregate {name}()"
    return f"{name}(), which makes several rows or columns," if name in ("unnest", "unlist", "columns") else None


@lru_cache(maxsize=1)
def _aggregates() -> frozenset[str]:
    """Name the functions that fold many rows into one, in lower case."""
    names = "SELECT lower(function_name) FROM duckdb_functions() WHERE function_type"
    rows = _fetch(f"{names} = 'aggregate' EXCEPT {names} <> 'aggregate'")
    return frozenset(name for (name,) in rows)


def evaluate(expressions: Mapping[str, str], batch: pa.RecordBatch) -> pa.RecordBatch:
    """Compute one column per expression over the rows of a batch.

    expressions: name of the new column -> SQL expression, as `evaluate.parse_expressions` lets through.
    Returns one row per row of the batch, in its order; the types do not depend on the rows.
    Raises InvalidInput with DuckDB's text, or if the number of rows changed.
    Cost: about 0.7 ms per call beyond the work itself, 0.4 ms more where the batch before it had other columns.
    """
    table = _table_of(batch)
    wanted = ", ".join(f"({sql}) AS {quote(name)}" for name, sql in expressions.items())
    held = _held()
    held.define(wanted)
    connection = held.connection
    query = f"SELECT {wanted} FROM {_TABLE}"
    with held.presenting(table):
        try:
            answer = connection.sql(query).to_arrow_table()
        except _duckdb().Error as error:
            raise _refusal(connection, query, expressions, error) from error
    if answer.num_rows != batch.num_rows:
        raise InvalidInput(
            f"an expression must give one value per row: {batch.num_rows} rows gave {answer.num_rows}, "
            f"from {', '.join(expressions.values())!r}",
            kind="filter",
        )
    columns = [_one_array(column) for column in answer.columns]
    return pa.RecordBatch.from_arrays(columns, schema=answer.schema)


def _duckdb() -> ModuleType:
    return need("duckdb")


def _connection() -> Any:
    return _held().connection


def _held() -> _Held:
    """Answer this thread's connection; a forked child leaves its parent's alone and opens its own."""
    held: _Held | None = getattr(_local, "held", None)
    if held is None or held.pid != os.getpid():
        held = _Held(os.getpid(), _duckdb().connect(":memory:"))
        for setting in _SETTINGS:
            held.connection.execute(setting)
        _local.held = held
    return held


@dataclass
class _Held:
    """A connection and the process that opened it: no other process may close it.

    A fork clears the thread-local values of all other threads. To close a connection in the middle of a query of a
    thread that stayed in the parent waits for ever or kills the child.
    """

    pid: int
    connection: Any
    macros: set[str] = field(default_factory=set)
    source: _Source | None = None

    @contextmanager
    def presenting(self, table: pa.Table) -> Iterator[None]:
        """Give a table the name of the batch, for a while. Cost: 0.4 ms where the one before had other columns."""
        if not _reads_again():
            self.connection.register(_TABLE, table)
            try:
                yield
            finally:
                self.connection.unregister(_TABLE)
            return
        if self.source is None or not self.source.schema.equals(table.schema, check_metadata=True):
            self.source = _Source(table.schema)
            self.connection.register(_TABLE, self.source)
        self.source.table = table
        try:
            yield
        finally:
            self.source.table = None

    def define(self, sql: str) -> None:
        """Make the macros that SQL names. Cost: half a millisecond each, once."""
        for name in named_in(sql) - self.macros:
            self.connection.execute(f"CREATE TEMP MACRO {name}{MACROS[name]}")
            self.macros.add(name)

    def __del__(self) -> None:
        if self.pid != os.getpid():
            _of_parents.append(self.connection)


@lru_cache(maxsize=1)
def _reads_again() -> bool:
    """Whether DuckDB asks a stream that is registered for its rows in every query: before version 2 it does so once."""
    return not _duckdb().__version__.startswith("1.")


@dataclass
class _Source:
    """Tables of one schema that DuckDB reads under one name, one after the other.

    To register each of them would take 0.4 ms, as long as a question about few rows.
    """

    schema: pa.Schema
    table: pa.Table | None = None

    def __arrow_c_schema__(self) -> object:
        return self.schema.__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        table = self.schema.empty_table() if self.table is None else self.table
        return table.__arrow_c_stream__(requested_schema)


def _fetch(query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    return _connection().execute(query, list(parameters)).fetchall()


def _scalar(query: str, argument: str) -> str:
    try:
        argument.encode()  # DuckDB 1 has no error of its own for half of a surrogate pair
        return _fetch(query, [argument])[0][0]
    except (_duckdb().Error, UnicodeEncodeError) as error:
        raise InvalidInput(f"DuckDB cannot parse this: {_parsed(error)['exception_message']}", kind="filter") from error


def _refusal(connection: Any, query: str, expressions: Mapping[str, str], error: Exception) -> InvalidInput:
    """Make the error for expressions that DuckDB refuses; its place is only in the error of a plain statement."""
    found = _parsed(error)
    if "position" not in found:
        try:
            connection.execute(query).fetchall()
        except _duckdb().Error as again:
            found = _parsed(again)
    kind, message = found.get("exception_type", ""), found["exception_message"].strip()
    message = f"DuckDB cannot evaluate this: {kind + ' Error: ' if kind else ''}{message}"
    start = len("SELECT (")
    for name, sql in expressions.items():
        at = int(found.get("position", -1)) - start
        if 0 <= at < len(sql.encode()):
            return InvalidInput(message + pointer(sql, len(sql.encode()[:at].decode(errors="ignore"))), kind="filter")
        start += len(f"{sql}) AS {quote(name)}, (".encode())
    return InvalidInput(f"{message}\n  {', '.join(expressions.values()):.200}", kind="filter")


def _parsed(error: Exception) -> dict[str, Any]:
    """Read an error of DuckDB's: JSON after its kind, or plain text."""
    text = str(error)
    try:
        return json.loads(text[text.index("{") :])
    except ValueError:
        return {"exception_message": text.partition("\n\nLINE ")[0]}


def pointer(text: str, at: int) -> str:
    """Show the line of a text that holds a character, and a caret below it; starts with a line break."""
    start = text.rfind("\n", 0, at) + 1
    line = text[start:].partition("\n")[0]
    left = max(at - start - 60, 0)
    return f"\n  {line[left : left + 100]}\n  {' ' * (at - start - left)}^"


def _table_of(batch: pa.RecordBatch) -> pa.Table:
    """Make a batch something that DuckDB reads without renaming or refusing a column.

    Raises InvalidInput for two names of columns, or of fields of a struct, that are one to DuckDB: it would answer from
    one for both.
    """
    for names in _sibling_names(pa.struct(list(batch.schema))):
        seen = Counter(map(_known_as, names))
        twice = [name for name in names if seen[_known_as(name)] > 1]
        if twice:
            raise InvalidInput(f"columns {twice!r} are one name to DuckDB, which ignores case", kind="filter")
    columns = dict(zip(batch.schema.names, map(as_nearest, batch.columns), strict=True))
    if not columns:
        columns[_ROW] = pa.nulls(batch.num_rows, pa.int8())
    return pa.table(columns)


def _sibling_names(kind: pa.DataType) -> Iterator[list[str]]:
    """The names of the fields of each struct in a type, itself one."""
    children = [kind.field(i) for i in range(kind.num_fields)]
    if pa.types.is_struct(kind):
        yield [child.name for child in children]
    for child in children:
        yield from _sibling_names(child.type)


def _known_as(name: str) -> str:
    """What DuckDB tells a name by: it ends names at NUL."""
    return fold(name.partition("\0")[0])


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.nulls(0, column.type)


__all__ = ["deserialize", "evaluate", "no_row_value", "pointer", "serialize", "too_deep"]
