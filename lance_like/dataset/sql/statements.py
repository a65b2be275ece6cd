"""Statements one by one: those that give rows are left to DuckDB, those that change datasets are made here, at once.

A statement that does neither is refused: nothing of a connection outlives its statement.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from lance_like.dataset.handle import LanceDataset
from lance_like.dataset.sql.changes import Counted, EditRows, column_types
from lance_like.dataset.sql.definitions import alter, create, drop_table
from lance_like.dataset.sql.edits import Edit, Reading, read_delete, read_merge, read_target, read_update, spelled
from lance_like.dataset.sql.scope import Scope, explained, numbered
from lance_like.dataset.sql.tables import BYTES
from lance_like.errors import InvalidInput, Unsupported
from lance_like.query.evaluate import parse_expressions
from lance_like.query.names import fold, quote
from lance_like.query.projection import VIRTUAL
from lance_like.query.statement_text import Text, closing, outside, parts
from lance_like.query.statements_duckdb import Connection, statements, words
from lance_like.table.schema import join_path

_ANSWERS = ("SELECT", "EXPLAIN")


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement that gives rows, and what its names mean."""

    text: Text
    scope: Scope


def run_statements(query: str, scope: Scope) -> Statement:
    """Make the changes of a text of one or more statements. Returns what gives the answer of the last one."""
    answer = None
    for text, kind in statements(Text.of(query)):
        answer = _run(text, kind, scope)
    if answer is None:
        raise InvalidInput("there is no statement", kind="sql")
    return answer


def _run(text: Text, kind: str, scope: Scope) -> Statement:
    if kind in _ANSWERS:
        if kind == "EXPLAIN" and explained(words(text)).is_(*_CHANGES, "TRUNCATE"):
            raise Unsupported("a change of a dataset cannot be explained", kind="sql", hint="explain its SELECT")
        return Statement(text, scope)
    change = _CHANGES.get(kind.partition("_")[0])
    if change is None:
        raise Unsupported(
            f"{kind} is not a statement over datasets",
            kind="sql",
            hint="a statement has a connection of its own: use duckdb.connect() for others, it reads datasets too",
        )
    text = numbered(text)
    return _count(change(text, scope))


def _count(rows: int) -> Statement:
    """The answer of a change, as DuckDB gives it."""
    return Statement(Text.words('SELECT * FROM "rows"'), Scope({"rows": pa.table({"Count": [rows]})}))


# -- rows --


def _insert(text: Text, scope: Scope) -> int:
    if words(text)[outside(words(text), 0, "INSERT") + 1].is_("OR"):
        raise Unsupported("INSERT OR … is not supported", kind="sql", hint="use MERGE INTO")
    reading, head, name = read_target(text)
    table = scope.dataset(name.name)
    types = column_types(table)
    if reading.take("AS"):
        reading.at += 1
    columns: list[str] | None = None
    if reading.words[reading.at].text == "(" and not reading.words[reading.at + 1].is_(*_BODIES, "("):
        close = closing(reading.words, reading.at)
        columns = [
            spelled(reading.words[at].name, list(types)) for at, _ in parts(reading.words, reading.at + 1, close)
        ]
        reading.at = close + 1
    by_name = reading.take("BY") and reading.take("NAME", "POSITION") and reading.words[reading.at - 1].is_("NAME")
    if reading.take("DEFAULT"):
        raise Unsupported("INSERT … DEFAULT VALUES is not supported", kind="sql", hint="write VALUES (NULL, …)")
    start, reading.at = reading.at, _end_of_body(reading)
    body = head + " " + reading.cut(start, reading.at)
    reading.finish()
    connection = Connection()
    bound, values = scope.showing(BYTES).bind(connection, body)
    given = list(connection.columns(bound, values))
    columns = [spelled(one, list(types)) for one in given] if by_name else columns or list(types)
    if len(columns) != len(given) or len(set(columns)) != len(columns):
        raise InvalidInput(f"{len(columns)} columns of the table, and {len(given)} values for them", kind="sql")
    items = [f"CAST(#{i} AS {types[one]}) AS {quote(one)}" for i, one in enumerate(columns, start=1)]
    text = f"SELECT {', '.join(items)} FROM (" + bound + ")"
    counted = Counted(connection.reader(text, values))
    table.insert(counted.reader())
    return counted.rows


_BODIES = ("SELECT", "FROM", "WITH", "VALUES", "TABLE")


def _end_of_body(reading: Reading) -> int:
    at = outside(reading.words, reading.at, "ON", "RETURNING")
    while at + 1 < reading.end and reading.words[at].is_("ON") and not reading.words[at + 1].is_("CONFLICT"):
        at = outside(reading.words, at + 1, "ON", "RETURNING")
    return at


def _delete(text: Text, scope: Scope) -> int:
    reading, head, name = read_target(text)
    table = scope.dataset(name.name)
    if words(text)[0].is_("TRUNCATE"):
        reading.finish()
        return table.delete("true")["num_deleted_rows"]
    edit, alone = read_delete(reading, head, name)
    if alone is not None and _is_simple(table, edit.alias, alone):
        return table.delete(str(alone))["num_deleted_rows"]
    return _edit(table, edit, scope)


def _update(text: Text, scope: Scope) -> int:
    reading, head, name = read_target(text)
    table = scope.dataset(name.name)
    types = column_types(table)
    edit, alone = read_update(reading, head, name, list(types))
    if alone is not None:
        values, where = alone
        texts = [*values.values(), *([] if where is None else [where])]
        if all(_is_simple(table, edit.alias, one) for one in texts):
            updates = {join_path((name,)): f"CAST(({value}) AS {types[name]})" for name, value in values.items()}
            return table.update(updates, None if where is None else str(where))["num_rows_updated"]
    return _edit(table, edit, scope)


def _merge(text: Text, scope: Scope) -> int:
    reading, head, name = read_target(text)
    table = scope.dataset(name.name)

    def columns_of(select: Text) -> list[str]:
        connection = Connection()
        bound, values = scope.inner(connection, select)
        return list(connection.columns(bound, values))

    return _edit(table, read_merge(reading, head, name, table.schema.names, columns_of), scope)


def _edit(table: LanceDataset, edit: Edit, scope: Scope) -> int:
    change = EditRows(table, edit, scope)
    table._commit(change)
    return change.rows


def _is_simple(table: LanceDataset, alias: str, expression: Text) -> bool:
    """Is an expression over the columns of one row alone, as `update` and `delete` of datasets take them?

    They prune by statistics, and record what they read; DuckDB says what is wrong with others.
    """
    try:
        [computed] = parse_expressions({"value": str(expression)}).values()
        named = {path[0] for path in computed.columns | computed.maybe}
    except InvalidInput:
        return False
    known = {fold(name) for name in (*table.schema.names, *VIRTUAL)} - {fold(alias)}
    return {fold(name) for name in named} <= known


def _copy(text: Text, scope: Scope) -> int:
    """COPY … TO a file; how many rows it holds, where DuckDB says so."""
    found = words(text)
    target = closing(found, 1) + 1 if found[1].text == "(" else 1
    if outside(found, target, "TO") == len(found):
        raise Unsupported("COPY … FROM is not supported", kind="sql", hint="write INSERT INTO ds FROM 'file.parquet'")
    connection = Connection()
    bound, values = scope.bind(connection, text)
    told = connection.execute(bound, values)
    return told[0][0] if told else 0


_CHANGES: dict[str, Callable[[Text, Scope], int]] = {
    "INSERT": _insert,
    "DELETE": _delete,
    "UPDATE": _update,
    "MERGE": _merge,
    "COPY": _copy,
    "CREATE": create,
    "DROP": drop_table,
    "ALTER": alter,
}

__all__ = ["Statement", "run_statements"]
