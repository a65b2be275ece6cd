"""How types and literals are spelled in DuckDB's SQL."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa

from lance_like.errors import Unsupported
from lance_like.query.literals import is_bytes, is_text
from lance_like.query.names import quote
from lance_like.query.nearest import nearest

_TIMESTAMPS = {"s": "TIMESTAMP_S", "ms": "TIMESTAMP_MS", "us": "TIMESTAMP", "ns": "TIMESTAMP_NS"}
_TYPES = {
    pa.null(): '"NULL"',
    pa.bool_(): "BOOLEAN",
    pa.int8(): "TINYINT",
    pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.uint8(): "UTINYINT",
    pa.uint16(): "USMALLINT",
    pa.uint32(): "UINTEGER",
    pa.uint64(): "UBIGINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.date32(): "DATE",
    pa.date64(): "DATE",
    pa.month_day_nano_interval(): "INTERVAL",
    pa.string_view(): "VARCHAR",
    pa.binary_view(): "BLOB",
    pa.uuid(): "UUID",
    pa.json_(): "JSON",
    pa.bool8(): "BOOLEAN",
}


def sql_type(kind: pa.DataType) -> str:
    """Spell the type that DuckDB has, or has nearest, for a type. Raises Unsupported for unions."""
    return _sql_type(nearest(kind))


def _sql_type(kind: Any) -> str:
    types = pa.types
    if kind in _TYPES:
        return _TYPES[kind]
    if is_text(kind):
        return "VARCHAR"
    if is_bytes(kind) or types.is_fixed_size_binary(kind):
        return "BLOB"
    if types.is_decimal(kind):
        return f"DECIMAL({kind.precision}, {kind.scale})"
    if types.is_time(kind):
        return "TIME_NS" if kind.unit == "ns" else "TIME"
    if types.is_timestamp(kind):
        if kind.tz is None:
            return _TIMESTAMPS[kind.unit]
        return "TIMESTAMPTZ_NS" if kind.unit == "ns" else "TIMESTAMPTZ"
    if types.is_duration(kind):
        return "INTERVAL"
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return sql_type(kind.value_type)
    if types.is_fixed_size_list(kind):
        return f"{_sql_type(kind.value_type)}[{kind.list_size}]"
    if types.is_map(kind):
        return f"MAP({_sql_type(kind.key_type)}, {_sql_type(kind.item_type)})"
    if types.is_struct(kind):
        return f"STRUCT({', '.join(f'{quote(field.name)} {_sql_type(field.type)}' for field in kind)})"
    if isinstance(kind, pa.BaseExtensionType):
        return sql_type(kind.storage_type)
    if hasattr(kind, "value_type"):  # lists of every kind
        return f"{sql_type(kind.value_type)}[]"
    raise Unsupported(f"the type {kind} has no SQL form here", kind="filter")


def sql_of(value: pa.Scalar) -> str:
    """Spell a literal as SQL of the same type, or of the nearest that DuckDB has.

    Raises Unsupported for types that DuckDB has not, such as unions.
    """
    types, type_ = pa.types, value.type
    if not value.is_valid:
        return "NULL"
    if types.is_boolean(type_):
        return str(value.as_py()).upper()
    if types.is_integer(type_):
        return str(value.as_py())
    if types.is_decimal(type_):
        text = format(value.as_py(), "f")
        return text if "." in text else text + "."
    if types.is_floating(type_):
        return _sql_of_float(float(value.as_py()), double=types.is_float64(type_))
    if is_text(type_) or str(type_) == "string_view":
        return _quoted(value.as_py())
    if is_bytes(type_) or types.is_fixed_size_binary(type_) or str(type_) == "binary_view":
        digits = "".join(f"\\x{byte:02X}" for byte in value.as_py())
        return f"CAST('{digits}' AS BLOB)"
    if types.is_temporal(type_):
        return _sql_of_moment(value)
    return _sql_of_nested(value)


def _sql_of_moment(value: Any) -> str:
    types, type_ = pa.types, value.type
    if types.is_date(type_):
        return f"DATE {_quoted(value.cast(pa.date32()).cast(pa.string()).as_py())}"
    if types.is_timestamp(type_):
        text = pa.scalar(value.value, pa.timestamp(type_.unit)).cast(pa.string()).as_py()
        if type_.tz is None:
            return f"{_TIMESTAMPS[type_.unit]} {_quoted(text)}"
        return f"CAST({_quoted(text + '+00')} AS {_sql_type(type_)})"
    if types.is_time(type_):
        return f"CAST({_quoted(value.cast(pa.string()).as_py())} AS {_sql_type(type_)})"
    if types.is_duration(type_):
        return f"to_microseconds({_microseconds(value)})"
    months, days, nanoseconds = value.as_py()
    return f"(to_months({months}) + to_days({days}) + to_microseconds({nanoseconds // 1000}))"


def _microseconds(span: Any) -> int:
    try:
        return span.cast(pa.duration("us")).value
    except pa.ArrowInvalid as error:
        message = f"a duration of {span.value} {span.type.unit}: DuckDB's intervals hold whole microseconds"
        raise Unsupported(message, kind="filter") from error


def _sql_of_nested(value: Any) -> str:
    types, type_ = pa.types, value.type
    if types.is_dictionary(type_):
        return sql_of(value.value)
    if isinstance(type_, pa.BaseExtensionType):
        inner = pa.scalar(str(value.as_py())) if type_ == pa.uuid() else value.value
        return f"CAST({sql_of(inner)} AS {sql_type(type_)})"
    if types.is_struct(type_):
        fields = ", ".join(f"{quote(name)} := {sql_of(field)}" for name, field in value.items())
        inner = f"struct_pack({fields})"
    elif types.is_map(type_):
        entries = value.values
        inner = f"map({_listed(entries.field(0))}, {_listed(entries.field(1))})"
    elif hasattr(value, "values"):
        inner = _listed(value.values)
    else:
        raise Unsupported(f"a literal of type {type_} has no SQL form here", kind="filter")
    return f"CAST({inner} AS {sql_type(type_)})"


def _listed(values: pa.Array) -> str:
    return f"[{', '.join(map(sql_of, values))}]"


def _sql_of_float(number: float, *, double: bool) -> str:
    if not math.isfinite(number):
        return f"CAST('{number}' AS {'DOUBLE' if double else 'FLOAT'})"
    text = repr(number)
    text = text if "e" in text else text + "e0"  # without an exponent DuckDB reads a DECIMAL
    return text if double else f"CAST({text} AS FLOAT)"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


__all__ = ["sql_of", "sql_type"]
