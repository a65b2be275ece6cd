"""Nodes of DuckDB's JSON tree: what they hold, in DuckDB 2 and in DuckDB 1, and their arithmetic. Pure."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

import pyarrow as pa

from lance_like.errors import InvalidInput
from lance_like.query.arithmetic import (
    ARITHMETIC,
    TEXT_FUNCTIONS,
    Call,
    Column,
    Comparison,
    Constant,
    Matching,
    Operation,
    Value,
)
from lance_like.query.literals import is_text
from lance_like.query.patterns import parts_of

Node: TypeAlias = Any
"""A node; a shape that is not known here becomes `Opaque`."""

COMPARISONS = {
    "COMPARE_EQUAL": "=",
    "COMPARE_NOTEQUAL": "<>",
    "COMPARE_LESSTHAN": "<",
    "COMPARE_LESSTHANOREQUALTO": "<=",
    "COMPARE_GREATERTHAN": ">",
    "COMPARE_GREATERTHANOREQUALTO": ">=",
}
"""Type of a comparison -> how it is written."""

LIKES = {
    "~~": (False, False),
    "!~~": (True, False),
    "~~*": (False, True),
    "!~~*": (True, True),
    "like_escape": (False, False),
    "not_like_escape": (True, False),
    "ilike_escape": (False, True),
    "not_ilike_escape": (True, True),
}
"""Name of a function of a text, a pattern and maybe an escape -> whether it is negated, and whether cases are one."""

OWN_SCHEMA = ("", "main")
"""The schemas of a function of DuckDB itself: its connection makes no other."""


def literal(constant: Node) -> tuple[str, str]:
    """Name the kind of a literal and its text, as DuckDB 2 does: DuckDB 1 writes a typed value instead."""
    if "literal" in constant:
        return constant["literal"]["kind"], constant["literal"]["text"]
    type_, value = constant["value"]["type"], constant["value"].get("value")
    if isinstance(value, dict):  # two 64-bit words
        value = (value["upper"] << 64) + value["lower"]
    match type_["id"]:
        case "INTEGER" | "BIGINT" | "HUGEINT" | "UHUGEINT":
            return "INTEGER", str(value)
        case "DECIMAL":
            return "NUMERIC", format(Decimal(f"{value}e-{type_['type_info']['scale']}"), "f")
        case "DOUBLE":
            text = repr(value)
            return "NUMERIC", text if "e" in text else text + "e0"
        case "VARCHAR":
            return "STRING", value
        case "BOOLEAN":
            return "BOOLEAN", str(value)
        case "NULL":
            return "NULL_LITERAL", ""
        case other:
            return other, ""


def arguments(function: Node) -> list[Node]:
    """Answer the arguments of a call, of DuckDB 2 or DuckDB 1."""
    named = function.get("arguments")
    return function["children"] if named is None else [argument["expression"] for argument in named]


def type_name(cast: Node) -> str:
    """Name the type of a cast, of DuckDB 2 or DuckDB 1."""
    return str(cast["type_expr"]["type_name"] if "type_expr" in cast else cast["cast_type"]["id"]).upper()


def written(constant: Node) -> pa.Scalar | None:
    kind, text = literal(constant)
    try:
        if kind == "INTEGER":
            number = int(text)
            signed = -(2**63) <= number < 2**63
            return pa.scalar(number, pa.int64() if signed else pa.uint64()) if number < 2**64 else None
        if kind == "NUMERIC":
            return pa.scalar(float(text)) if "e" in text.lower() else decimal_of(Decimal(text))
        if kind == "HEX":
            return pa.scalar(bytes.fromhex(text))
    except (ValueError, OverflowError, InvalidOperation, pa.ArrowInvalid):
        return None
    if kind == "BOOLEAN":
        return pa.scalar(text.lower() == "true")
    if kind == "NULL_LITERAL":
        return pa.scalar(None)
    return pa.scalar(text) if kind == "STRING" else None


def decimal_of(number: Decimal) -> pa.Scalar:
    """A number with as many digits as it is written with."""
    _, digits, exponent = number.as_tuple()
    scale = -min(int(exponent), 0)
    precision = max(len(digits), scale, 1)
    return pa.scalar(number, (pa.decimal128 if precision <= 38 else pa.decimal256)(precision, scale))


def value_of(node: Node) -> Value | None:
    """Read a node as arithmetic; None if it is something else, or has another shape in this DuckDB."""
    try:
        match node["class"]:
            case "COLUMN_REF":
                return Column(tuple(node["column_names"]))
            case "CONSTANT":
                found = written(node)
                return Constant(found) if found is not None and found.is_valid else None
            case "COMPARISON":
                sides = (node["left"], node["right"])
                make, symbol = Comparison, COMPARISONS[node["type"]]
            case "FUNCTION" if node["function_name"] in ARITHMETIC and node["schema"] in OWN_SCHEMA:
                sides = arguments(node)
                make, symbol = Operation, node["function_name"]
            case "FUNCTION" if node["function_name"].lower() in TEXT_FUNCTIONS and _is_plain(node):
                [of] = map(value_of, arguments(node))
                return None if of is None else Call(node["function_name"].lower(), of)
            case "FUNCTION" if node["function_name"] in LIKES and _is_plain(node):
                return _matching(node)
            case _:
                return None
        values = [value for value in map(value_of, sides) if value is not None]
    except (KeyError, TypeError, ValueError):
        return None
    match values:
        case [left, right]:
            return make(symbol, left, right)
        case [only] if symbol == "-" and len(sides) == 1:
            return _negated(only)
    return None


def _matching(call: Node) -> Matching | None:
    """A pattern that is written out, and a text that it is to match."""
    of, *words = map(value_of, arguments(call))
    texts = [word.value.as_py() for word in words if isinstance(word, Constant) and is_text(word.type)]
    if of is None or len(texts) < len(words):
        return None
    try:
        parts = parts_of(*texts)
    except InvalidInput:
        return None
    negated, case_insensitive = LIKES[call["function_name"]]
    return Matching(of, parts, case_insensitive, negated)


def _is_plain(call: Node) -> bool:
    """Tell whether a call has nothing but arguments, without names."""
    named = any(argument["name"] for argument in call.get("arguments", ()))
    modified = call["distinct"] or call["filter"] or call["order_bys"]["orders"]
    return call["schema"] in OWN_SCHEMA and not named and not modified


def _negated(value: Value) -> Constant | None:
    """A literal below 0."""
    if not isinstance(value, Constant) or pa.types.is_boolean(value.type) or is_text(value.type):
        return None
    return Constant(pa.scalar(-value.value.as_py()))


__all__ = [
    "COMPARISONS",
    "LIKES",
    "OWN_SCHEMA",
    "Node",
    "arguments",
    "decimal_of",
    "literal",
    "type_name",
    "value_of",
    "written",
]
