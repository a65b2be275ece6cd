"""DataFusion's `arrow_cast(value, 'Int8')`, which pylance's users write: read as a cast to DuckDB's type of that kind.

Kinds of texts, of bytes and of days are one type each in DuckDB; kinds that it has not are refused, not replaced.
"""

from __future__ import annotations

import re

from lance_like.errors import InvalidInput
from lance_like.query import engine_duckdb
from lance_like.query.nodes import OWN_SCHEMA, Node, arguments, literal

_CASTS = {"arrow_cast": "CAST", "arrow_try_cast": "TRY_CAST"}
_TYPES = {
    "Boolean": "BOOLEAN",
    "Int8": "TINYINT",
    "Int16": "SMALLINT",
    "Int32": "INTEGER",
    "Int64": "BIGINT",
    "UInt8": "UTINYINT",
    "UInt16": "USMALLINT",
    "UInt32": "UINTEGER",
    "UInt64": "UBIGINT",
    "Float32": "FLOAT",
    "Float64": "DOUBLE",
    **dict.fromkeys(["Utf8", "LargeUtf8", "Utf8View"], "VARCHAR"),
    **dict.fromkeys(["Binary", "LargeBinary", "BinaryView"], "BLOB"),
    **dict.fromkeys(["Date32", "Date64"], "DATE"),
    **dict.fromkeys(["Timestamp(Second, None)", "Timestamp(s)"], "TIMESTAMP_S"),
    **dict.fromkeys(["Timestamp(Millisecond, None)", "Timestamp(ms)"], "TIMESTAMP_MS"),
    **dict.fromkeys(["Timestamp(Microsecond, None)", "Timestamp(us)", "Timestamp(µs)"], "TIMESTAMP"),
    **dict.fromkeys(["Timestamp(Nanosecond, None)", "Timestamp(ns)"], "TIMESTAMP_NS"),
    **dict.fromkeys(['Timestamp(Microsecond, Some("UTC"))', 'Timestamp(us, "UTC")'], "TIMESTAMPTZ"),
    **dict.fromkeys(["Time64(Microsecond)", "Time64(us)"], "TIME"),
}
_SHAPES = (
    (re.compile(r"FixedSizeBinary\(\d+\)"), "BLOB"),
    (re.compile(r"Decimal128\((\d+), (\d+)\)"), "DECIMAL({0}, {1})"),
    (re.compile(r"(?:Large)?List\((.+)\)"), "{0}[]"),
    (re.compile(r"FixedSizeList\((\d+)(?:, | x )(.+)\)"), "{1}[{0}]"),
)


def with_casts(tree: Node) -> Node:
    """A tree in which arrow_cast and arrow_try_cast are casts. Raises InvalidInput for a type that DuckDB has not."""
    if isinstance(tree, list):
        return [with_casts(one) for one in tree]
    if not isinstance(tree, dict):
        return tree
    tree = {name: with_casts(value) for name, value in tree.items()}
    cast = _CASTS.get(str(tree.get("function_name", "")).lower()) if tree.get("class") == "FUNCTION" else None
    given = arguments(tree) if cast and tree["schema"] in OWN_SCHEMA else []
    if len(given) != 2:
        return tree
    value, kind = given
    form, text = literal(kind) if kind.get("class") == "CONSTANT" else ("", "")
    if form != "STRING":
        raise InvalidInput("arrow_cast takes the name of a type as a text: arrow_cast(n, 'Int8')", kind="filter")
    named = engine_duckdb.serialize(f"SELECT {cast}(NULL AS {_sql_type(text)})")
    [node] = named["statements"][0]["node"]["select_list"]
    places = {name: tree[name] for name in ("query_location", "query_location_length", "alias") if name in tree}
    return {**node, "child": value, **places}


def _sql_type(text: str) -> str:
    """The type that DuckDB has for one in the words of Rust's Arrow."""
    name = text.strip().removeprefix("nullable ").removeprefix("non-null ")
    if name in _TYPES:
        return _TYPES[name]
    for shape, written in _SHAPES:
        found = shape.fullmatch(name)
        if found is not None:
            return written.format(*(part if part.isdigit() else _sql_type(part) for part in found.groups()))
    raise InvalidInput(
        f"arrow_cast knows no type {text!r}", kind="filter", hint=f"such as {', '.join(list(_TYPES)[:9])}"
    )


__all__ = ["with_casts"]
