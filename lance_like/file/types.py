"""Arrow types as JSON and back (format_spec/types.md).

A type is a string ("int64"), or an object whose "t" names it and whose other members are its parameters.
"""

from __future__ import annotations

import base64
import ctypes
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeAlias

import pyarrow as pa

from lance_like.errors import Corrupt, Unsupported
from lance_like.file.layout import ColumnRecord, parse_json, sum32
from lance_like.typing_ import Bytes, Json

Metadata: TypeAlias = dict[bytes, bytes]
"""Metadata of a field or a schema, as Arrow has it."""

MAX_DEPTH = 64
# How the text of a field begins that this package wrote.
_NAME = b'{"name":"'

_SIMPLE: dict[str, pa.DataType] = {
    str(t): t
    for t in (
        *(pa.null(), pa.bool_(), pa.int8(), pa.int16(), pa.int32(), pa.int64()),
        *(pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64(), pa.month_day_nano_interval()),
        *(pa.string(), pa.large_string(), pa.binary(), pa.large_binary(), pa.string_view(), pa.binary_view()),
    )
} | {
    "float16": pa.float16(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "date32": pa.date32(),
    "date64": pa.date64(),
}
_SIMPLE_NAMES = {t: name for name, t in _SIMPLE.items()}
_DECIMALS = {
    name: getattr(pa, name) for name in ("decimal32", "decimal64", "decimal128", "decimal256") if hasattr(pa, name)
}
_UNITS = ("s", "ms", "us", "ns")
_LISTS: dict[str, Callable[[pa.DataType], bool]] = {
    "list": pa.types.is_list,
    "large_list": pa.types.is_large_list,
    "list_view": pa.types.is_list_view,
    "large_list_view": pa.types.is_large_list_view,
}


def type_to_json(data_type: pa.DataType, *, depth: int = 0) -> Json:
    """A type as JSON. Raises Unsupported, naming it, for a type that cannot be stored."""
    if depth > MAX_DEPTH:
        raise Unsupported(f"a type nested deeper than {MAX_DEPTH} cannot be stored", kind="limit")
    if isinstance(data_type, pa.BaseExtensionType):
        return _extension_to_json(data_type, depth + 1)
    if data_type in _SIMPLE_NAMES:
        return _SIMPLE_NAMES[data_type]
    t = pa.types
    if t.is_timestamp(data_type):
        zone = {} if data_type.tz is None else {"tz": data_type.tz}
        return {"t": "timestamp", "unit": data_type.unit, **zone}
    if t.is_time32(data_type) or t.is_time64(data_type) or t.is_duration(data_type):
        name = "duration" if t.is_duration(data_type) else f"time{data_type.bit_width}"
        return {"t": name, "unit": data_type.unit}
    if t.is_decimal(data_type):
        name = f"decimal{data_type.bit_width}"
        return {"t": name, "precision": data_type.precision, "scale": data_type.scale}
    if t.is_fixed_size_binary(data_type):
        return {"t": "fixed_size_binary", "size": data_type.byte_width}
    if t.is_map(data_type):
        parts = [
            field_to_json(data_type.key_field, depth=depth + 1),
            field_to_json(data_type.item_field, depth=depth + 1),
        ]
        return {"t": "map", "fields": parts, "sorted": data_type.keys_sorted}
    if t.is_fixed_size_list(data_type):
        return {
            "t": "fixed_size_list",
            "size": data_type.list_size,
            "item": field_to_json(data_type.value_field, depth=depth + 1),
        }
    for name, is_this in _LISTS.items():
        if is_this(data_type):
            return {"t": name, "item": field_to_json(data_type.value_field, depth=depth + 1)}
    if t.is_struct(data_type):
        return {"t": "struct", "fields": [field_to_json(field, depth=depth + 1) for field in data_type]}
    if t.is_dictionary(data_type):
        return {
            "t": "dictionary",
            "index": type_to_json(data_type.index_type, depth=depth + 1),
            "value": type_to_json(data_type.value_type, depth=depth + 1),
            "ordered": data_type.ordered,
        }
    if t.is_run_end_encoded(data_type):
        return {
            "t": "run_end_encoded",
            "run_ends": type_to_json(data_type.run_end_type, depth=depth + 1),
            "value": type_to_json(data_type.value_type, depth=depth + 1),
        }
    if t.is_union(data_type):
        return _union_to_json(data_type, depth + 1)
    raise Unsupported(f"the type {data_type} cannot be stored", kind="type", hint="cast the column to another type")


def field_to_json(field: pa.Field, *, depth: int = 0) -> Json:
    """A field as JSON: name, type, nullable, and its metadata in base64 when there is any."""
    kind, metadata = stated_type(field.type, field.metadata, depth=depth)
    body: dict[str, Json] = {"name": field.name, "type": kind, "nullable": field.nullable}
    if metadata:
        body["metadata"] = metadata_to_json(metadata)
    return body


def stated_type(kind: pa.DataType, metadata: Metadata | None, *, depth: int = 0) -> tuple[Json, Metadata | None]:
    """The type of a field as JSON, and the metadata beside it.

    An extension that is not registered here is metadata of its storage in memory (`unknown_extension`), and a type on
    disk: so it is not lost where a process that does not know it writes a field anew. Raises as `type_to_json`.
    """
    if not metadata or not metadata.keys() >= _EXTENSION_KEYS or (depth == 0 and pa.types.is_struct(kind)):
        return type_to_json(kind, depth=depth), metadata
    name, data = metadata[_EXTENSION_NAME], metadata[_EXTENSION_DATA]
    if not _is_unknown(kind, name, data):
        return type_to_json(kind, depth=depth), metadata
    stated = {"t": "extension", "name": name.decode(), "data": base64.b64encode(data).decode()}
    rest = {key: value for key, value in metadata.items() if key not in _EXTENSION_KEYS}
    return stated | {"storage": type_to_json(kind, depth=depth + 1)}, rest


def _is_unknown(kind: pa.DataType, name: bytes, data: bytes) -> bool:
    """Is this the storage of an extension that is not registered here?"""
    try:
        return not isinstance(_resolved(kind, name.decode(), data), pa.BaseExtensionType)
    except Exception:
        # No text, or a registered extension that has another storage or other data.
        return False


def metadata_to_json(metadata: dict[bytes, bytes]) -> list[list[str]]:
    """Arrow metadata as ordered pairs of base64 texts, since keys and values may be any bytes."""
    return [[base64.b64encode(k).decode(), base64.b64encode(v).decode()] for k, v in metadata.items()]


def metadata_from_json(value: Json) -> dict[bytes, bytes]:
    """The inverse of `metadata_to_json`. Raises Corrupt."""
    try:
        if not isinstance(value, list) or not all(isinstance(pair, list) for pair in value):
            raise TypeError(f"found {value!r:.40}")
        return {_base64(k): _base64(v) for k, v in value}
    except (TypeError, ValueError) as error:
        raise Corrupt(f"metadata is not a list of base64 pairs: {error}", kind="metadata") from error


def type_from_json(value: Json, *, depth: int = 0) -> pa.DataType:
    """The inverse of `type_to_json`.

    Raises Unsupported for a type name this package does not know, Corrupt for a malformed one.
    """
    if depth > MAX_DEPTH:
        raise Corrupt(f"a type is nested deeper than {MAX_DEPTH}", kind="limit")
    if isinstance(value, str):
        if value in _SIMPLE:
            return _SIMPLE[value]
        if value in _BUILD:
            raise Corrupt(f"the type {value!r} has no parameters", kind="type")
        raise Unsupported(f"this package does not know the type {value!r}", kind="type")
    if not isinstance(value, dict) or not isinstance(value.get("t"), str):
        raise Corrupt(f"{value!r:.80} is not a type", kind="type")
    build = _BUILD.get(value["t"])
    if value["t"] in _SIMPLE:
        raise Corrupt(f"{value!r:.80}: a type without parameters is a text", kind="type")
    if build is None:
        raise Unsupported(f"this package does not know the type {value['t']!r}", kind="type")
    try:
        return build(value, depth + 1)
    except (KeyError, TypeError, ValueError, OverflowError, pa.ArrowException) as error:
        if isinstance(error, Corrupt):
            raise
        raise Corrupt(f"{value!r:.80} is not a type: {error}", kind="type") from error


def field_from_json(value: Json, *, depth: int = 0) -> pa.Field:
    """The inverse of `field_to_json`. Raises Corrupt or Unsupported."""
    if (
        not isinstance(value, dict)
        or not _is_text(value.get("name"))
        or not isinstance(value.get("nullable"), bool)
        or "type" not in value
        or not _is_unicode(value["name"])
    ):
        raise Corrupt(f"{value!r:.80} is not a field", kind="field")
    kind = type_from_json(value["type"], depth=depth) if depth else _column_type(value["type"])
    metadata = metadata_from_json(value.get("metadata", [])) | unknown_extension(value["type"], kind)
    if pa.types.is_null(kind) and not value["nullable"]:
        raise Corrupt(f"the field {value['name']!r:.40} of the type null may not be null", kind="field")
    return pa.field(value["name"], kind, value["nullable"], metadata or None)


def c_metadata(schema: pa.Schema | pa.Field) -> list[tuple[bytes, bytes]]:
    """The metadata of a schema or field as Arrow's C data interface exports it: ordered, repeated keys kept,
    and with the two keys that carry an extension type.

    Source: https://arrow.apache.org/docs/format/CDataInterface.html, "The ArrowSchema structure".
    """
    capsule = schema.__arrow_c_schema__()
    pointer = _capsule_pointer(capsule, b"arrow_schema")
    # struct ArrowSchema { const char* format; const char* name; const char* metadata; … }
    address = ctypes.cast(pointer, ctypes.POINTER(ctypes.c_void_p))[2]
    if not address:
        return []
    cursor = int(address)
    texts: list[bytes] = []
    count = ctypes.c_int32.from_address(cursor).value
    cursor += 4
    for _ in range(2 * count):
        length = ctypes.c_int32.from_address(cursor).value
        texts.append(ctypes.string_at(cursor + 4, length))
        cursor += 4 + length
    return list(zip(texts[0::2], texts[1::2], strict=True))


_capsule_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_capsule_pointer.restype = ctypes.c_void_p
_capsule_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]

_EXTENSION_NAME = b"ARROW:extension:name"
_EXTENSION_DATA = b"ARROW:extension:metadata"
_EXTENSION_KEYS = {_EXTENSION_NAME, _EXTENSION_DATA}


def _extension_to_json(data_type: pa.BaseExtensionType, depth: int) -> Json:
    # Only the export tells the serialised parameters of the extension types that are built into Arrow.
    try:
        exported = dict(c_metadata(pa.field("", data_type)))
    except pa.ArrowNotImplementedError as error:  # an extension of an extension
        raise Unsupported(f"the type {data_type} cannot be stored: {error}", kind="type") from error
    return {
        "t": "extension",
        "name": exported[_EXTENSION_NAME].decode(),
        "data": base64.b64encode(exported.get(_EXTENSION_DATA, b"")).decode(),
        "storage": type_to_json(data_type.storage_type, depth=depth),
    }


def _union_to_json(data_type: pa.UnionType, depth: int) -> Json:
    codes = data_type.type_codes
    if not _are_codes(codes, data_type.num_fields):
        raise Unsupported(
            f"the type {data_type} cannot be stored: its type codes are {codes}; expected one child at least, and for"
            " each a code of its own from 0 to 127",
            kind="type",
        )
    fields = [field_to_json(field, depth=depth) for field in data_type]
    return {"t": f"{data_type.mode}_union", "fields": fields, "codes": codes}


def _are_codes(codes: list[int], count: int) -> bool:
    """True for one type code a child of a union, each a number of its own."""
    return 0 < count == len(codes) == len(set(codes)) and min(codes) >= 0 and max(codes) <= 127


def _union_from_json(value: Json, depth: int) -> pa.DataType:
    codes = value["codes"]
    if not isinstance(codes, list) or not all(type(code) is int for code in codes):
        raise ValueError(f"codes {codes!r:.40} is not a list of integers")
    if not _are_codes(codes, len(value["fields"])):
        raise ValueError(f"{codes!r:.40} are not type codes of {len(value['fields'])} children")
    make = pa.sparse_union if value["t"] == "sparse_union" else pa.dense_union
    return make([field_from_json(field, depth=depth) for field in value["fields"]], codes)


def unpack_field(data: Bytes, record: ColumnRecord, where: str) -> pa.Field:
    """Check and read the field that a column of a file records. Raises Corrupt or Unsupported."""
    if sum32(data) != record.field_sum:
        raise Corrupt("the checksum of a field does not match", kind="checksum", where=where)
    text = data.tobytes()
    if b'"extension"' in text:
        # What an extension type reads as depends on which are registered.
        return field_from_json(parse_json(text, where))
    try:
        return _field_of(text)
    except Corrupt as error:
        raise Corrupt(error.message, kind=error.kind, where=where) from error


@lru_cache(maxsize=256)
def _field_of(text: bytes) -> pa.Field:
    return field_from_json(parse_json(text, ""))


def unpack_type(text: bytes, digest: int, where: str) -> pa.DataType:
    """Check the text of a field against its checksum and read its type. Raises Corrupt or Unsupported.

    Fields that differ in a plain name alone are parsed once.
    """
    if sum32(text) != digest:
        raise Corrupt("the checksum of a field does not match", kind="checksum", where=where)
    end = text.find(b'"', len(_NAME))
    name = text[len(_NAME) : end]
    try:
        # What an extension type reads as depends on which are registered.
        if end < 0 or not text.startswith(_NAME) or not _is_plain(name) or b'"extension"' in text:
            return field_from_json(parse_json(text, where)).type
        return _type_behind(text[end:])
    except Corrupt as error:
        raise Corrupt(error.message, kind=error.kind, where=where) from error


@lru_cache(maxsize=256)
def _type_behind(rest: bytes) -> pa.DataType:
    return field_from_json(parse_json(_NAME + rest, "")).type


def _is_plain(name: bytes) -> bool:
    """True for what JSON keeps as it is between quotes."""
    return name.isascii() and b"\\" not in name and name.decode("ascii").isprintable()


def is_stored_as(kind: pa.DataType, stored: pa.DataType) -> bool:
    """True when a column of a type reads as another: extension types and their storage are stored alike."""
    return stored is kind or stored.equals(kind) or _bare(type_to_json(stored)) == _bare(type_to_json(kind))


def check_stored(stored: pa.DataType, kind: pa.DataType, where: str) -> None:
    """Raise Corrupt unless a column of a type reads as another."""
    if not is_stored_as(kind, stored):
        raise Corrupt(f"the file holds the type {stored}, the table says {kind}", kind="type", where=where)


def _bare(value: Json) -> Json:
    """The JSON of a type with the storage of extension types in their place, and fields without metadata."""
    if isinstance(value, list):
        return [_bare(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("t") == "extension":
        return _bare(value["storage"])
    return {key: _bare(item) for key, item in value.items() if key != "metadata"}


def unknown_extension(value: Json, kind: pa.DataType) -> dict[bytes, bytes]:
    """The field metadata by which Arrow hands on an extension type that is not registered here; else {}."""
    if not isinstance(value, dict) or value.get("t") != "extension" or isinstance(kind, pa.BaseExtensionType):
        return {}
    return {_EXTENSION_NAME: value["name"].encode(), _EXTENSION_DATA: base64.b64decode(value["data"])}


def _extension_from_json(value: Json, depth: int) -> pa.DataType:
    storage = type_from_json(value["storage"], depth=depth)
    if not _is_text(value["name"]):
        raise ValueError(f"extension name {value['name']!r:.40}")
    return _resolved(storage, value["name"], _base64(value["data"]))


def _resolved(storage: pa.DataType, name: str, data: bytes) -> pa.DataType:
    """An extension type that is registered here; of an unknown one its storage."""
    bare = pa.field("", storage, metadata={_EXTENSION_NAME: name.encode(), _EXTENSION_DATA: data})
    # Arrow resolves a registered extension when it imports a field; an unknown one stays its storage type.
    return pa.field(_Exported(bare)).type


class UnknownExtension(pa.ExtensionType):
    """An extension type that is not registered here, over a struct: a struct alone would be split into columns."""

    def __init__(self, storage: pa.DataType, name: str, data: bytes) -> None:
        self._data = data
        super().__init__(storage, name)

    def __arrow_ext_serialize__(self) -> bytes:
        return self._data

    def __reduce__(self) -> tuple[Any, ...]:
        return unknown_type, (self.storage_type, self.extension_name, self._data)


@lru_cache(maxsize=4096)
def _class_of(name: str) -> type[UnknownExtension]:
    class Unknown(UnknownExtension):
        @classmethod
        def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> UnknownExtension:
            # Arrow makes an instance anew when only its own side of the type is left, and does not tell the name.
            return cls(storage_type, name, serialized)

    return Unknown


def unknown_type(storage: pa.DataType, name: str, data: bytes) -> UnknownExtension:
    """The extension type of a name that is not registered here. data: its serialised parameters."""
    return _class_of(name)(storage, name, data)


def _column_type(value: Json) -> pa.DataType:
    """The type of a column: one column, also where it is a struct that an extension unknown here stands for."""
    kind = type_from_json(value)
    if pa.types.is_struct(kind) and isinstance(value, dict) and value["t"] == "extension":
        return unknown_type(kind, value["name"], _base64(value["data"]))
    return kind


class _Exported:
    """A field as a stranger would hand it over."""

    def __init__(self, field: pa.Field) -> None:
        self._field = field

    def __arrow_c_schema__(self) -> object:
        return self._field.__arrow_c_schema__()


def _is_text(value: Json) -> bool:
    """True for text that UTF-8 can hold: JSON can spell half a surrogate pair, Arrow cannot keep one."""
    return isinstance(value, str) and not any("\ud800" <= mark <= "\udfff" for mark in value)


def _is_unicode(text: str) -> bool:
    # JSON can write half a surrogate pair, UTF-8 and Arrow cannot.
    return text.isascii() or not any("\ud800" <= mark <= "\udfff" for mark in text)


def _base64(text: Json) -> bytes:
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise ValueError(f"{text!r:.40} is not the base64 of its bytes")
    return data


def _flag(value: Json, name: str) -> bool:
    if not isinstance(value[name], bool):
        raise ValueError(f"{name} {value[name]!r:.40} is neither true nor false")
    return value[name]


def _integer(value: Json, name: str) -> int:
    if not isinstance(value[name], int) or isinstance(value[name], bool):
        raise ValueError(f"{name} {value[name]!r:.40} is not an integer")
    return value[name]


def _zone(value: Json) -> str | None:
    if "tz" not in value:
        return None
    if not isinstance(value["tz"], str):
        raise ValueError(f"the time zone {value['tz']!r:.40} is not text")
    return value["tz"]


def _unit(value: Json, allowed: tuple[str, ...] = _UNITS) -> str:
    if value["unit"] not in allowed:
        raise ValueError(f"unit {value['unit']!r} is not one of {allowed}")
    return value["unit"]


def _size(value: Json) -> int:
    if not 0 <= _integer(value, "size") <= 0x7FFFFFFF:
        raise ValueError(f"size {value['size']!r}")
    return value["size"]


_BUILD: dict[str, Callable[[Any, int], pa.DataType]] = {
    "timestamp": lambda v, d: pa.timestamp(_unit(v), _zone(v)),
    "time32": lambda v, d: pa.time32(_unit(v, ("s", "ms"))),
    "time64": lambda v, d: pa.time64(_unit(v, ("us", "ns"))),
    "duration": lambda v, d: pa.duration(_unit(v)),
    "fixed_size_binary": lambda v, d: pa.binary(_size(v)),
    "list": lambda v, d: pa.list_(field_from_json(v["item"], depth=d)),
    "large_list": lambda v, d: pa.large_list(field_from_json(v["item"], depth=d)),
    "list_view": lambda v, d: pa.list_view(field_from_json(v["item"], depth=d)),
    "large_list_view": lambda v, d: pa.large_list_view(field_from_json(v["item"], depth=d)),
    "fixed_size_list": lambda v, d: pa.list_(field_from_json(v["item"], depth=d), _size(v)),
    "struct": lambda v, d: pa.struct([field_from_json(f, depth=d) for f in v["fields"]]),
    "map": lambda v, d: pa.map_(*(field_from_json(f, depth=d) for f in v["fields"]), keys_sorted=_flag(v, "sorted")),
    "dictionary": lambda v, d: pa.dictionary(
        type_from_json(v["index"], depth=d), type_from_json(v["value"], depth=d), _flag(v, "ordered")
    ),
    "run_end_encoded": lambda v, d: pa.run_end_encoded(
        type_from_json(v["run_ends"], depth=d), type_from_json(v["value"], depth=d)
    ),
    "sparse_union": _union_from_json,
    "dense_union": _union_from_json,
    "extension": _extension_from_json,
    **{
        name: lambda v, d, f=make: f(_integer(v, "precision"), _integer(v, "scale")) for name, make in _DECIMALS.items()
    },
}
