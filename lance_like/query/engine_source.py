"""DuckDB's protocol of a source: what DuckDB 2 asks of a Python object before it reads from it.

A class that derives from `SourceBase` is asked by DuckDB how many rows it has, which conditions it takes over, and for
a stream of some columns of the rows that pass those. DuckDB before 2 knows no sources: there `SourceBase` is an empty
class, and DuckDB reads through `schema` and `scanner` of a `pyarrow.dataset.Dataset`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lance_like.query.expr import BoolColumn, Compare, Expr, In, IsNull, Not, all_of, any_of

if TYPE_CHECKING:

    class SourceBase:
        """`duckdb._sources.arrow.ArrowScanSource`."""
else:
    try:
        from duckdb._sources.arrow import ArrowScanSource as SourceBase
    except ImportError:

        class SourceBase:
            """Nothing: this DuckDB knows no sources."""


HAS_SOURCES = SourceBase.__module__ != __name__
"""Whether DuckDB asks a source what it can do."""

_COMPARISONS = {"=": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_KINDS: Mapping[str, pa.DataType] = {
    "BOOLEAN": pa.bool_(),
    "TINYINT": pa.int8(),
    "SMALLINT": pa.int16(),
    "INTEGER": pa.int32(),
    "BIGINT": pa.int64(),
    "UTINYINT": pa.uint8(),
    "USMALLINT": pa.uint16(),
    "UINTEGER": pa.uint32(),
    "UBIGINT": pa.uint64(),
    "FLOAT": pa.float32(),
    "DOUBLE": pa.float64(),
    "VARCHAR": pa.string(),
    "BLOB": pa.binary(),
    "DATE": pa.date32(),
    "TIME": pa.time64("us"),
    "TIMESTAMP_S": pa.timestamp("s"),
    "TIMESTAMP_MS": pa.timestamp("ms"),
    "TIMESTAMP": pa.timestamp("us"),
    "TIMESTAMP WITH TIME ZONE": pa.timestamp("us", "UTC"),
}


def condition_of(node: Any) -> Expr | None:
    """The condition that a node of DuckDB's predicate tree (duckdb/_sources/nodes.py) stands for.

    Returns None for what has no exact counterpart here: DuckDB then evaluates it.
    """
    try:
        return _condition(node)
    except (LookupError, TypeError, AttributeError, ValueError, RecursionError, pa.ArrowException):
        # Another release of DuckDB may have other nodes, or other values in them.
        return None


def _condition(node: Any) -> Expr:
    return _BY_NAME[type(node).__name__](node)


def _binary(node: Any) -> Expr:
    if node.op in ("AND", "OR"):
        join = all_of if node.op == "AND" else any_of
        return join([_condition(node.left), _condition(node.right)])
    return Compare(_COMPARISONS[node.op], tuple(node.left.parts), _literal(node.right))


def _unary(node: Any) -> Expr:
    if node.op != "NOT":
        raise LookupError(node.op)
    return Not(_condition(node.operand))


def _postfix(node: Any) -> Expr:
    null = IsNull(tuple(node.operand.parts))
    return {"IS NULL": null, "IS NOT NULL": Not(null)}[node.op]


def _in(node: Any) -> Expr:
    values = [_literal(value) for value in node.values]
    return In(tuple(node.operand.parts), pa.array([value.as_py() for value in values], values[0].type))


_BY_NAME: Mapping[str, Callable[[Any], Expr]] = {
    "Binary": _binary,
    "Unary": _unary,
    "Postfix": _postfix,
    "In": _in,
    "Col": lambda node: BoolColumn(tuple(node.parts)),
}


def _literal(node: Any) -> pa.Scalar:
    """The constant in the Arrow type of its type in DuckDB. Raises LookupError for a type that has none here."""
    name = node.type
    if node.value is None:
        raise LookupError("a constant without value")
    if name.startswith("DECIMAL("):
        precision, scale = map(int, name[len("DECIMAL(") : -1].split(","))
        return pa.scalar(node.value, pa.decimal128(precision, scale))
    return pa.scalar(node.value, _KINDS[name])


__all__ = ["HAS_SOURCES", "SourceBase", "condition_of"]
