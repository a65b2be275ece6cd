"""Arrow schemas as values of JSON, in the words of Lance: {"fields": [{"name", "type", "nullable"}], "metadata"}.

A type is {"type": its name, with parameters behind colons}, with "fields" where it has children, and "length" where it
has a fixed size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from pyarrow import types

from lance_like.errors import InvalidInput, Unsupported
from lance_like.typing_ import Json

_PLAIN: dict[str, pa.DataType] = {
    "null": pa.null(),
    "bool": pa.bool_(),
    **{f"{sign}int{bits}": getattr(pa, f"{sign}int{bits}")() for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "halffloat": pa.float16(),
    "float": pa.float32(),
    "double": pa.float64(),
    "string": pa.string(),
    "binary": pa.binary(),
    "large_string": pa.large_string(),
    "large_binary": pa.large_binary(),
    "date32:day": pa.date32(),
    "date64:ms": pa.date64(),
}
_NAMES = {kind: name for name, kind in _PLAIN.items()}
_UNITS = {"time32": pa.time32, "time64": pa.time64, "duration": pa.duration}
_DECIMALS = {"128": pa.decimal128, "256": pa.decimal256}


def schema_to_json(schema: pa.Schema) -> dict[str, Any]:
    """An Arrow schema as a value of JSON, as pylance writes it.

    Raises Unsupported for a type that Lance has no word for, InvalidInput for metadata that is no text.
    """
    found: dict[str, Any] = {"fields": [_field_to_json(field) for field in schema]}
    return found | _metadata_to_json(schema.metadata)


def json_to_schema(schema_json: Mapping[str, Any]) -> pa.Schema:
    """The inverse of `schema_to_json`. Raises InvalidInput for what is no schema."""
    try:
        return pa.schema([_field(item) for item in schema_json["fields"]], schema_json.get("metadata"))
    except (KeyError, TypeError, ValueError, AttributeError, pa.ArrowException) as error:
        raise InvalidInput(f"this is no schema in JSON: {error}", kind="schema") from error


def _field_to_json(field: pa.Field) -> Json:
    found = {"name": field.name, "type": _type_to_json(field.type), "nullable": field.nullable}
    return found | _metadata_to_json(field.metadata)


def _metadata_to_json(metadata: Mapping[bytes, bytes] | None) -> dict[str, Any]:
    if not metadata:
        return {}
    try:
        return {"metadata": {key.decode(): value.decode() for key, value in metadata.items()}}
    except UnicodeDecodeError as error:
        raise InvalidInput("metadata that is no text cannot be JSON", kind="schema") from error


def _type_to_json(kind: pa.DataType) -> Json:
    if types.is_struct(kind):
        return {"type": "struct", "fields": [_field_to_json(field) for field in kind.fields]}
    if types.is_list(kind) or types.is_large_list(kind):
        name = "list" if types.is_list(kind) else "large_list"
        return {"type": name, "fields": [_field_to_json(kind.value_field)]}
    if types.is_fixed_size_list(kind):
        return {"type": "fixed_size_list", "fields": [_field_to_json(kind.value_field)], "length": kind.list_size}
    if types.is_fixed_size_binary(kind):
        return {"type": "fixed_size_binary", "length": kind.byte_width}
    return {"type": _name(kind)}


def _name(kind: pa.DataType) -> str:
    """The word for a type without children."""
    if kind in _NAMES:
        return _NAMES[kind]
    if types.is_timestamp(kind):
        return f"timestamp:{kind.unit}:{kind.tz or '-'}"
    if types.is_time(kind) or types.is_duration(kind):
        word = "duration" if types.is_duration(kind) else f"time{kind.bit_width}"
        return f"{word}:{kind.unit}"
    if types.is_decimal128(kind) or types.is_decimal256(kind):
        return f"decimal:{kind.bit_width}:{kind.precision}:{kind.scale}"
    if types.is_dictionary(kind) and not kind.ordered:
        return f"dict:{_name(kind.value_type)}:{_name(kind.index_type)}:false"
    raise Unsupported(f"Lance's JSON of schemas has no word for the type {kind}", kind="type")


def _field(item: Json) -> pa.Field:
    return pa.field(item["name"], _type(item["type"]), bool(item["nullable"]), item.get("metadata"))


def _type(told: Json) -> pa.DataType:
    name = told["type"]
    if name == "struct":
        return pa.struct([_field(item) for item in told["fields"]])
    if name in ("list", "large_list", "fixed_size_list"):
        [item] = map(_field, told["fields"])
        if name == "fixed_size_list":
            return pa.list_(item, told["length"])
        return pa.list_(item) if name == "list" else pa.large_list(item)
    if name == "fixed_size_binary":
        return pa.binary(told["length"])
    return _named(name)


def _named(name: str) -> pa.DataType:
    """The type that a word without children stands for. Raises ValueError."""
    if name in _PLAIN:
        return _PLAIN[name]
    head, _, rest = name.partition(":")
    if head == "timestamp":
        unit, _, zone = rest.partition(":")
        return pa.timestamp(unit, None if zone == "-" else zone)
    if head in _UNITS:
        return _UNITS[head](rest)
    if head == "decimal":
        bits, precision, scale = rest.split(":")
        return _DECIMALS[bits](int(precision), int(scale))
    if head == "dict" and rest.endswith(":false"):
        value, _, index = rest.removesuffix(":false").rpartition(":")
        return pa.dictionary(_named(index), _named(value))
    raise ValueError(f"there is no type {name!r}")


__all__ = ["json_to_schema", "schema_to_json"]
