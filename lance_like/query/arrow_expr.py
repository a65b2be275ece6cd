"""pyarrow expressions, as users write them and as DuckDB pushes them down, turned into the tree of `expr`.

Their meaning is DuckDB's, as that of SQL text: `arrow_sql` says what each function means. What has no node of its own
becomes an `Opaque`, which DuckDB evaluates.
"""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from lance_like.query import arithmetic, engine_duckdb
from lance_like.query.arithmetic import MIRRORED
from lance_like.query.arrow_sql import ARITHMETIC, COMPARISONS, write
from lance_like.query.arrow_tree import Call, Field, Node, Value, decode
from lance_like.query.expr import (
    BoolColumn,
    Compare,
    Expr,
    In,
    IsNull,
    Like,
    Literal,
    Not,
    Opaque,
    all_of,
    any_of,
    like_text,
)
from lance_like.query.literals import comparison_type
from lance_like.query.names import Path

_MATCH, _SKIP = 0, 1  # null_matching_behavior of is_in
_NAN = pa.scalar(float("nan"))


class _Unknown(Exception):
    """The call has no node of its own."""


def from_arrow(expression: pc.Expression) -> Expr:
    """Read a pyarrow expression as a condition, to be bound to a schema.

    Raises InvalidInput for one that cannot be read, or that has no value row by row.
    Cost: tens of microseconds.
    """
    with engine_duckdb.refusing_depth():
        return _condition(decode(expression))


def expression_from_arrow(expression: pc.Expression) -> Opaque:
    """Read a pyarrow expression as the value of a column. Raises as `from_arrow`."""
    with engine_duckdb.refusing_depth():
        return _opaque(decode(expression))


def _opaque(node: Node) -> Opaque:
    return replace(write(node), value=_value(node))


def _condition(node: Node) -> Expr:
    match node:
        case Call("and_kleene"):
            return all_of(map(_condition, _chained(node)))
        case Call("or_kleene"):
            return any_of(map(_condition, _chained(node)))
        case Call("invert", (argument,)):
            return Not(_condition(argument))
    try:
        return _leaf(node)
    except (_Unknown, LookupError, TypeError, AttributeError):
        return _opaque(node)


def _chained(node: Call) -> list[Node]:
    """The conditions that one function joins, however deep: chains of thousands are made by `&` and `|`."""
    found: list[Node] = []
    waiting: list[Node] = [node]
    while waiting:
        this = waiting.pop()
        if isinstance(this, Call) and this.name == node.name:
            waiting.extend(reversed(this.arguments))
        else:
            found.append(this)
    return found


def _leaf(node: Node) -> Expr:
    match node:
        case Field(path):
            return BoolColumn(path)
        case Call("is_valid", (Field(path),)):
            return Not(IsNull(path))
        case Call("is_null", (Field(path),), options):
            nan_too = options is not None and options["nan_is_null"].as_py()
            return any_of([IsNull(path), Compare("=", path, _NAN)]) if nan_too else IsNull(path)
        case Call("is_nan", (Field(path),)):
            return Compare("=", path, _NAN)
        case Call("is_in", (Field(path),), options) if options is not None:
            return _is_in(path, options)
        case Call("if_else", (Call("is_valid", (Field(path),)), then, Value(other))) if not other.is_valid:
            return _null_for_null(path, then)
        case Call("match_like" | "starts_with" | "ends_with" | "match_substring", (Field(path),), options):
            return _like(path, node.name, options)
        case Call(name, (Field(path), Value(value))) if name in COMPARISONS:
            return Compare(COMPARISONS[name], path, _literal(value))
        case Call(name, (Value(value), Field(path))) if name in COMPARISONS:
            return Compare(MIRRORED[COMPARISONS[name]], path, _literal(value))
        case Value(value) if pa.types.is_boolean(value.type) or pa.types.is_null(value.type):
            return Literal(value.as_py())
        case _:
            raise _Unknown


def _like(path: Path, function: str, options: pa.StructScalar | None) -> Like:
    if options is None or options["ignore_case"].as_py():
        raise _Unknown
    pattern = options["pattern"].as_py()
    if function == "match_like":
        return Like(path, pattern, "\\")
    before = "" if function == "starts_with" else "%"
    return Like(path, f"{before}{like_text(pattern)}{'' if function == 'ends_with' else '%'}", "\\")


def _null_for_null(path: Path, node: Node) -> Expr:
    """Read a condition on one column that is unknown where the column is null: how DuckDB pushes IN down."""
    match node:
        case Call("or_kleene"):
            return any_of(_null_for_null(path, argument) for argument in _chained(node))
        case Call("is_in", (Field(same),), options) if same == path and options is not None:
            return _in(path, options)
        case Call(name, (Field(same), Value(value))) if same == path and value.is_valid:
            return Compare(COMPARISONS[name], path, _literal(value))
        case _:
            raise _Unknown


def _literal(value: pa.Scalar) -> pa.Scalar:
    value = value.value if isinstance(value, pa.DictionaryScalar) else value
    if value.is_valid and comparison_type(value.type) is None:
        raise _Unknown
    return value


def _in(path: Path, options: pa.StructScalar) -> Expr:
    values = options["value_set"].values
    values = values.dictionary_decode() if pa.types.is_dictionary(values.type) else values
    values = values.drop_null()
    if len(values) == 0 or comparison_type(values.type) is None:
        raise _Unknown
    return In(path, values)


def _is_in(path: Path, options: pa.StructScalar) -> Expr:
    """Read is_in, which unlike IN is false for null, or true if null is one of the values."""
    behaviour = options["null_matching_behavior"].as_py()
    if behaviour not in (_MATCH, _SKIP):
        raise _Unknown
    values = options["value_set"].values
    some = len(values) > values.null_count
    found = all_of([Not(IsNull(path)), _in(path, options)]) if some else Literal(False)
    return any_of([IsNull(path), found]) if behaviour == _MATCH and values.null_count else found


def _value(node: Node) -> arithmetic.Value | None:
    """Read a tree as arithmetic; None if it is something else."""
    match node:
        case Field(path):
            return arithmetic.Column(path)
        case Value(scalar):
            return arithmetic.Constant(scalar) if scalar.is_valid else None
        case Call(name, (left, right)):
            one, other = _value(left), _value(right)
            if one is None or other is None:
                return None
            if name in COMPARISONS:
                return arithmetic.Comparison(COMPARISONS[name], one, other)
            symbol = ARITHMETIC.get(name.removesuffix("_checked"))
            return None if symbol is None else arithmetic.Operation(symbol, one, other)
    return None


__all__ = ["expression_from_arrow", "from_arrow"]
