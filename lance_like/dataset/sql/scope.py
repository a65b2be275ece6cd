"""What names mean in a statement, and the statement as DuckDB can run it: the tables it names are handed over."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from inspect import signature
from pathlib import Path
from typing import Any

import pyarrow as pa

from lance_like.dataset.handle import LanceDataset
from lance_like.dataset.opening import dataset
from lance_like.dataset.sql.functions import REGISTRY, Viewed, at
from lance_like.dataset.sql.tables import Shown, present
from lance_like.errors import InvalidInput, NotFound, Unsupported
from lance_like.query import engine_duckdb
from lance_like.query.names import fold, quote
from lance_like.query.nodes import Node
from lance_like.query.sql_tables import TableCall, TableName, tables_in
from lance_like.query.statement_text import Text, Word, closing
from lance_like.query.statements_duckdb import Connection, parameters, words
from lance_like.table.layout import VERSIONS

Parameters = Sequence[Any] | Mapping[str, Any] | None

# What DuckDB itself reads by its name.
_FILES = (".parquet", ".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".txt", ".xlsx", ".arrow", ".arrows", ".db")
_PACKED = (".gz", ".zst")
# Words before a name that stands alone, of which DuckDB 2 does not say where it is.
_BARE = ("TABLE", "DESCRIBE", "DESC", "SUMMARIZE", "SHOW")


class Scope:
    """The tables that statements may name, and the values of their parameters.

    tables: by name, in any case of ASCII letters. own: the one whose options `shown` are; the others are shown plain,
    with blobs as it says.
    """

    def __init__(
        self,
        tables: Mapping[str, Any],
        params: Parameters = None,
        *,
        shown: Shown | None = None,
        own: LanceDataset | None = None,
    ) -> None:
        self._tables = {fold(name): table for name, table in tables.items()}
        self.params = _by_name(params)
        self.shown, self.own = shown or Shown(), own
        self._opened: dict[str, LanceDataset] = {}

    def having(self, name: str) -> Scope:
        """The same, where its own dataset has one more name."""
        return self._with({**self._tables, fold(name): self.own}, self.shown)

    def showing(self, shown: Shown) -> Scope:
        """The same, where datasets are shown in another way."""
        return self._with(self._tables, shown)

    def standing(self, table: LanceDataset, other: LanceDataset) -> Scope:
        """The same, where another version stands for a dataset."""
        tables = {name: other if one is table else one for name, one in self._tables.items()}
        return self._with(tables, self.shown)

    def _with(self, tables: Mapping[str, Any], shown: Shown) -> Scope:
        return Scope(tables, self.params, shown=shown, own=self.own)

    def find(self, name: str) -> Any:
        """The table of a name; None."""
        return self._tables.get(fold(name))

    def dataset(self, name: str) -> LanceDataset:
        """The dataset of a name or path. Raises NotFound, InvalidInput for a table of another kind."""
        found = self.find(name)
        if found is None:
            if not is_place(name):
                raise NotFound(
                    f"there is no dataset {name!r}",
                    kind="sql",
                    hint=f"known are {', '.join(sorted(self._tables)) or 'none'}; a path is written in quotes",
                )
            found = self._open(name)
        if not isinstance(found, LanceDataset):
            raise InvalidInput(f"{name!r} is a {type(found).__name__}, not a dataset", kind="sql")
        return found

    def bind(self, connection: Connection, text: Text) -> tuple[Text, dict[str, Any]]:
        """A statement that gives rows as DuckDB runs it, and its parameters; its tables are in the connection then."""
        text = bound = numbered(text)
        found = words(text)
        for name in dict.fromkeys(fold(word.name) for word in found if word.kind != "operator"):
            if name in self._tables:
                present(connection, name, self._tables[name], self._shown(self._tables[name]))
        if self._has_places(found):
            bound = _Replaced(self, connection, text, found).text()
        return bound, self.values(bound, text)

    def values(self, bound: Text, written: Text) -> dict[str, Any]:
        """The values of the parameters of a statement. Raises InvalidInput for one that the caller did not write."""
        used = parameters(bound)
        if len(used) < len(self.params):
            unknown = sorted(self.params.keys() - used - parameters(written))
            if unknown:
                raise InvalidInput(f"the statement has no parameter {unknown[0]!r}", kind="sql")
        return {name: self.params[name] for name in used if name in self.params}

    def _shown(self, table: Any) -> Shown:
        return self.shown if self.own is None or table is self.own else Shown(blobs=self.shown.blobs)

    def _has_places(self, found: Sequence[Word]) -> bool:
        """May a statement name a version, a path or a table function?"""
        return any(
            (word.is_("AT") and _is_call(found, place))
            or (_is_call(found, place) and fold(word.name) in REGISTRY.names())
            or (_is_quoted(word) and is_place(word.name) and self.find(word.name) is None)
            for place, word in enumerate(found)
        )

    def _open(self, place: str) -> LanceDataset:
        if place not in self._opened:
            self._opened[place] = dataset(place)
        return self._opened[place]

    def value(self, node: Node) -> Any:
        """The value of an expression of a statement, which may have tables of its own."""
        tree = engine_duckdb.serialize("SELECT 1")
        tree["statements"][0]["node"]["select_list"] = [dict(node, alias="")]
        connection = Connection()
        bound, values = self.inner(connection, Text.words(engine_duckdb.deserialize(tree)))
        return connection.value(bound, values)

    def inner(self, connection: Connection, text: Text) -> tuple[Text, dict[str, Any]]:
        """As `bind`, for a part of a statement: it need not name all parameters."""
        bound, used = text, parameters(text)
        part = Scope(self._tables, {name: value for name, value in self.params.items() if name in used})
        return part.bind(connection, bound)


class _Replaced:
    """One statement, of which names of versions, paths and calls become names of views."""

    def __init__(self, scope: Scope, connection: Connection, text: Text, found: Sequence[Word]) -> None:
        self._scope, self._connection, self._text, self._words = scope, connection, text, found
        self._views = 0

    def text(self) -> Text:
        start, end = _select(self._words)
        first, last = self._words[start].start, self._words[end - 1].end
        tree = engine_duckdb.serialize(str(self._text.cut(first, last)))
        if tree.get("error"):
            raise Unsupported(
                "versions, paths and table functions cannot stand in this statement",
                kind="sql",
                hint="open the dataset first, and pass it by name",
            )
        replacements: list[tuple[int, int, str]] = []
        for one in tables_in(tree):
            replacements += self._call(one, first) if isinstance(one, TableCall) else self._name(one, first)
        return self._text.replaced(replacements)

    def _name(self, one: TableName, first: int) -> Iterator[tuple[int, int, str]]:
        known = self._scope.find(one.name)
        place = None if one.place is None else self._word_at(first + one.place)
        if place and self._words[place - 1].is_(*_BARE):
            place = None
        quoted = place is None or _is_quoted(self._words[place])
        if one.unit is None and (known is not None or not quoted or not is_place(one.name)):
            return
        table = self._scope.dataset(one.name)
        if one.unit is not None:
            moment = self._scope.value(one.moment)
            table = at(table, version=_reference(moment)) if one.unit == "VERSION" else at(table, asof=_moment(moment))
        if place is None:
            if one.unit is not None:
                raise Unsupported(f"this cannot be said of {one.name!r} AT a version", kind="sql", hint="write FROM")
            present(self._connection, one.name, table, self._scope._shown(known))
            return
        end = place + 1
        alias = "" if one.alias else f" AS {quote(Path(one.name.rstrip('/')).stem if known is None else one.name)}"
        shown = self._scope._shown(known)
        yield self._words[place].start, self._words[place].end, self._view(table, shown) + alias
        if one.unit is not None:
            while not (self._words[end].is_("AT") and _is_call(self._words, end)):
                end += 1
            yield self._words[end].start, self._words[closing(self._words, end + 1)].end, ""

    def _call(self, one: TableCall, first: int) -> Iterator[tuple[int, int, str]]:
        if fold(one.name) not in REGISTRY.names() or one.place is None:
            return
        given = [self._argument(node) for node in one.arguments]
        named = {name: self._argument(node) for name, node in one.named.items()}
        function = REGISTRY.get(fold(one.name))
        try:
            signature(function).bind(*given, **named)
        except TypeError as error:
            raise InvalidInput(f"{one.name}() is not called so: {error}", kind="sql") from error
        found = function(*given, **named)
        if isinstance(found, pa.RecordBatchReader):
            found = found.read_all()  # which can be read twice
        place = self._word_at(first + one.place)
        end = closing(self._words, place + 1)
        alias = "" if one.alias else f" AS {quote(one.name)}"
        table, shown = (found.dataset, found.shown) if isinstance(found, Viewed) else (found, self._scope._shown(found))
        yield self._words[place].start, self._words[end].end, self._view(table, shown) + alias

    def _argument(self, node: Node) -> Any:
        """The value of an argument, or the dataset that it names."""
        if node.get("class") == "COLUMN_REF":
            return self._scope.dataset(node["column_names"][-1])
        return self._scope.value(node)

    def _view(self, table: Any, shown: Shown) -> str:
        self._views += 1
        name = f"lance_like table {self._views}"
        present(self._connection, name, table, shown)
        return quote(name)

    def _word_at(self, byte: int) -> int:
        return next(place for place, word in enumerate(self._words) if word.start <= byte < word.end)


def _is_call(found: Sequence[Word], place: int) -> bool:
    return place + 1 < len(found) and found[place + 1].text == "("


def _is_quoted(word: Word) -> bool:
    return word.text[0] in "\"'"


def _select(found: Sequence[Word]) -> tuple[int, int]:
    """The SELECT in a statement, which may be explained or copied: start and end, places of words."""
    end = len(found) - 1 if found[-1].text == ";" else len(found)
    start = 0
    if found[0].is_("EXPLAIN"):
        start = 2 if found[1].is_("ANALYZE") else 1
        if found[start].text == "(" and not found[start + 1].is_("SELECT", "FROM", "WITH", "VALUES", "("):
            start = closing(found, start) + 1
    elif found[0].is_("COPY") and found[1].text == "(":
        start, end = 2, closing(found, 1)
    return start, end


def explained(found: Sequence[Word]) -> Word:
    """The first word of the statement that an EXPLAIN explains."""
    return found[_select(found)[0]]


def numbered(text: Text) -> Text:
    """The same statement with numbers for parameters by position, so that parts of it may change places."""
    found, count = words(text), 0
    replacements = []
    for place, word in enumerate(found):
        if word.text != "?":
            continue
        following = found[place + 1] if place + 1 < len(found) else None
        given = following is not None and following.start == word.end and following.kind == "numeric_const"
        count += not given
        replacements.append((word.start, word.end, "$" if given else f"${count}"))
    return text.replaced(replacements) if replacements else text


def _by_name(params: Parameters) -> dict[str, Any]:
    if params is None:
        return {}
    if isinstance(params, Mapping):
        return {str(name): value for name, value in params.items()}
    if isinstance(params, (str, bytes)):
        raise InvalidInput(f"params={params!r}: expected a list of values, or a dict", kind="sql")
    return {str(place): value for place, value in enumerate(params, start=1)}


def is_place(name: str) -> bool:
    """Is the name of a table a place where a dataset is, and not a file that DuckDB reads, or a name?"""
    low = name.lower().rstrip("/")
    for ending in _PACKED:
        low = low.removesuffix(ending)
    if low.endswith(_FILES) or any(sign in name for sign in "*?[\n") or "\0" in name:
        return False
    if low.endswith(".lance") or "://" in name:
        return True
    return os.path.isdir(os.path.join(os.path.expanduser(name), VERSIONS))


def _reference(value: Any) -> Any:
    """A version as an expression gives it: a number, a tag, or a branch and a number."""
    if isinstance(value, Mapping):
        value = list(value.values())
    return tuple(value) if isinstance(value, list) else value


def _moment(value: Any) -> datetime | str:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        raise InvalidInput(f"AT (TIMESTAMP => {value!r}): expected a moment", kind="sql")
    return value if value.tzinfo is not None else value.replace(tzinfo=timezone.utc)


__all__ = ["Parameters", "Scope", "explained", "is_place", "numbered"]
