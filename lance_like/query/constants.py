"""Nodes of DuckDB's JSON tree that need DuckDB itself: literals as values, and nodes written back as SQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Any

import pyarrow as pa

from lance_like.errors import InvalidInput, NotFound
from lance_like.query import engine_duckdb
from lance_like.query.expr import And, Compare, Expr, Not, Or
from lance_like.query.literals import comparison_type, exact, is_exact, is_text
from lance_like.query.names import find
from lance_like.query.nodes import OWN_SCHEMA, Node, arguments, literal, type_name, written

# Casts and functions of literals whose value depends on nothing else.
# fmt: off
_FOLDED_CASTS = frozenset([
    "DATE", "TIME", "DATETIME", "TIMESTAMP", "TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_S", "TIMESTAMP_MS",
    "TIMESTAMP_NS", "BLOB", "BYTEA", "BOOLEAN", "BOOL", "DOUBLE", "FLOAT", "REAL", "FLOAT4", "FLOAT8", "DECIMAL",
    "NUMERIC", "TINYINT", "SMALLINT", "INTEGER", "INT", "BIGINT", "INT1", "INT2", "INT4", "INT8", "UTINYINT",
    "USMALLINT", "UINTEGER", "UBIGINT", "INTERVAL",
])
_FOLDED_FUNCTIONS = frozenset([
    "+", "-", "*", "trunc", "to_microseconds", "to_milliseconds", "to_seconds", "to_minutes", "to_hours", "to_days",
    "to_weeks", "to_months", "to_quarters", "to_years",
])
# fmt: on
_MOMENTS = {"DATE": pa.date32(), "TIMESTAMP": pa.timestamp("us")}


def walk(node: Node, *, into_subqueries: bool = True) -> Iterator[dict[str, Any]]:
    """Walk a JSON tree: every object of it, the outermost first."""
    waiting: list[Node] = [node]
    while waiting:
        this = waiting.pop()
        if isinstance(this, dict):
            yield this
            within = into_subqueries or this.get("class") != "SUBQUERY"
            waiting.extend(this.values() if within else [this.get("child")])
        elif isinstance(this, list):
            waiting.extend(this)


def constant_of(node: Node) -> pa.Scalar | None:
    """Read a literal that columns are compared with here: None for one of another type, too."""
    found = folded(node)
    known = found is not None and (pa.types.is_null(found.type) or comparison_type(found.type) is not None)
    return found if known else None


def folded(node: Node) -> pa.Scalar | None:
    """Read a literal: as written, or a typed one such as DATE '2020-01-01', which DuckDB itself evaluates."""
    found = written(node) if node.get("class") == "CONSTANT" else None
    found = _moment(node) if found is None else found
    if found is not None or not _foldable(node):
        return found
    try:
        batch = pa.RecordBatch.from_pydict({"row": pa.nulls(1, pa.int8())})
        value = engine_duckdb.evaluate({"value": written_back(node)}, batch).column(0)[0]
    except InvalidInput:
        return None  # evaluated as part of an Opaque, it says what is wrong
    # a decimal of 38 digits may be a HUGEINT, a text the value of a cast that DuckDB compares unlike a written text
    return None if value.type == pa.decimal128(38, 0) or is_text(value.type) else value


def is_null(node: Node) -> bool:
    """Whether a node is NULL, of whatever type."""
    while node.get("class") == "CAST":
        node = node["child"]
    return node.get("class") == "CONSTANT" and literal(node)[0] == "NULL_LITERAL"


def _moment(node: Node) -> pa.Scalar | None:
    """Read DATE or TIMESTAMP with a text in the form of ISO 8601, without asking DuckDB."""
    kind = _MOMENTS.get(type_name(node)) if node.get("class") == "CAST" and not node.get("try_cast") else None
    if kind is None or node["child"].get("class") != "CONSTANT":
        return None
    form, text = literal(node["child"])
    return exact(pa.scalar(text), kind) if form == "STRING" else None


def rounded(condition: Expr, schema: pa.Schema) -> Expr:
    """The same condition, but numbers too long for `exact` that floats are compared with are what DuckDB makes of them.

    Raises InvalidInput for a name that fits several columns; of those that fit none it changes nothing.
    """
    match condition:
        case And(children) | Or(children):
            return type(condition)(tuple(rounded(child, schema) for child in children))
        case Not(child):
            return Not(rounded(child, schema))
        case Compare(op, path, value) if is_exact(value) and not pa.types.is_decimal256(value.type):
            with suppress(NotFound):
                to = comparison_type(find(path, schema)[1])
                if to is not None and pa.types.is_floating(to) and exact(value, to) is None:
                    return Compare(op, path, _as_float(value, to))
    return condition


@lru_cache(maxsize=256)
def _as_float(value: pa.Scalar, to: pa.DataType) -> pa.Scalar:
    """By DuckDB, whose releases differ in what they make of many digits."""
    held = pa.RecordBatch.from_arrays([pa.array([value.as_py()], value.type)], ["value"])
    name = "FLOAT" if to.bit_width == 32 else "DOUBLE"
    return engine_duckdb.evaluate({"value": f'CAST("value" AS {name})'}, held).column(0)[0]


def _foldable(node: Node) -> bool:
    """Tell whether a node is made of literals and has the same value on every day and in every session."""
    if node.get("class") == "CONSTANT":
        return True
    if node.get("class") == "FUNCTION":
        known = node["function_name"] in _FOLDED_FUNCTIONS and node["schema"] in OWN_SCHEMA
        return known and all(map(_foldable, arguments(node)))
    if node.get("class") != "CAST" or node.get("try_cast"):
        return False
    name, child = type_name(node), node["child"]
    kind, text = literal(child) if child.get("class") == "CONSTANT" else ("", "")
    if kind == "STRING" and name.startswith(("DATE", "TIME")) and not text[:1].isdigit():
        return False  # it may be a word such as 'today'
    return name in _FOLDED_CASTS and _foldable(child)


def written_back(node: Node) -> str:
    """Write a node back as SQL, by DuckDB."""
    _keep_types(node)
    tree = _select()
    (statement,) = tree["statements"]
    statement = {**statement, "node": {**statement["node"], "select_list": [node]}}
    return engine_duckdb.deserialize({**tree, "statements": [statement]}).removeprefix("SELECT ")


@lru_cache(maxsize=1)
def _select() -> dict[str, Any]:
    return engine_duckdb.serialize("SELECT 1")


def _keep_types(node: Node) -> None:
    """Turn literals that DuckDB 1 writes back as another type into casts, in place: it writes the double 1e0 as 1.0."""
    for this in walk(node):
        type_ = this["value"]["type"] if this.get("class") == "CONSTANT" and "value" in this else {}
        if type_.get("id") in ("DOUBLE", "DECIMAL"):
            text = {"type": {"id": "VARCHAR", "type_info": None}, "is_null": False, "value": literal(this)[1]}
            cast = {"class": "CAST", "type": "OPERATOR_CAST", "cast_type": type_, "try_cast": False}
            this.update(cast, child=dict(this, value=text, alias=""))
            del this["value"]


__all__ = ["constant_of", "folded", "is_null", "rounded", "walk", "written_back"]
