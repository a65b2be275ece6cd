"""The bytes of a schema part: one field can be read alone, by range (format_spec/table.md, "Schema part").

    u32 fields | u32 metadata length | u32 metadata checksum | u32 checksum of the 12 bytes before
    | records, 32 bytes each: i32 id | i32 parent | u32 name hash | u32 json length | u64 json offset
    |                         | u32 ordinal | u32 checksum (of the 28 bytes before and of the json)
    | metadata: JSON | '[' field JSON ',' field JSON … ']'

Inside an envelope of magic "LLSC". All integers little-endian, offsets from the start of the body, checksums
the low 32 bits of XXH3-64. Pure.
"""

from __future__ import annotations

import struct

import numpy as np
import pyarrow as pa
import xxhash

from lance_like.errors import Corrupt, InvalidInput, LanceLikeError, Unsupported
from lance_like.file.layout import parse_json
from lance_like.file.types import field_from_json, field_to_json, metadata_from_json, metadata_to_json
from lance_like.table import shape
from lance_like.table.envelope import pack_envelope, unpack_envelope
from lance_like.table.fragment import MAX_COLUMNS, MAX_FIELD_ID
from lance_like.table.schema import ROOT, Field, Schema
from lance_like.typing_ import Json

MAGIC = b"LLSC"
MAX_NESTING = 256

_HEAD = struct.Struct("<IIII")
_HEAD_UNSUMMED = struct.Struct("<III")
_RECORD_UNSUMMED = struct.Struct("<iiIIQI")
_RECORD = np.dtype(
    {
        "names": ["id", "parent", "name", "length", "offset", "ordinal", "checksum"],
        "formats": ["<i4", "<i4", "<u4", "<u4", "<u8", "<u4", "<u4"],
    }
)


def encode_schema(schema: Schema) -> bytes:
    """A schema as the bytes of a part. Raises InvalidInput over the limits, Unsupported for a type."""
    if len(schema.fields) > MAX_COLUMNS:
        raise InvalidInput(f"{len(schema.fields):,} fields; at most {MAX_COLUMNS:,} fit", kind="limit")
    metadata = shape.dump(metadata_to_json(schema.metadata))
    texts = [shape.dump(_field_to_json(field)) for field in schema.fields]
    offset = _HEAD.size + _RECORD.itemsize * len(texts) + len(metadata) + 1
    records: list[bytes] = []
    ordinals: dict[int, int] = {}
    for field, text in zip(schema.fields, texts, strict=True):
        ordinal = ordinals.get(field.parent_id, 0)
        ordinals[field.parent_id] = ordinal + 1
        name = _low32(field.name.encode("utf-8"))
        record = _RECORD_UNSUMMED.pack(field.id, field.parent_id, name, len(text), offset, ordinal)
        records.append(record + struct.pack("<I", _low32(record + text)))
        offset += len(text) + 1
    head = _HEAD_UNSUMMED.pack(len(texts), len(metadata), _low32(metadata))
    body = [head, struct.pack("<I", _low32(head)), *records, metadata, b"[", b",".join(texts), b"]"]
    return pack_envelope(MAGIC, b"".join(body))


def decode_schema(data: bytes, where: str) -> Schema:
    """The inverse of `encode_schema`, from the whole part. Raises Corrupt or Unsupported."""
    body = unpack_envelope(MAGIC, data, where)
    if len(body) < _HEAD.size:
        shape.refuse(len(body), f"at least {_HEAD.size} bytes", where)
    count, metadata_nbytes, metadata_checksum, checksum = _HEAD.unpack_from(body)
    start = _HEAD.size + count * _RECORD.itemsize
    if count > MAX_COLUMNS:
        raise Corrupt(f"{count:,} fields, over the limit of {MAX_COLUMNS:,}", kind="limit", where=where)
    if start + metadata_nbytes + 2 > len(body):
        shape.refuse(len(body), f"room for {count:,} fields and {metadata_nbytes:,} bytes of metadata", where)
    metadata = body[start : start + metadata_nbytes]
    if _low32(body[: _HEAD_UNSUMMED.size]) != checksum or _low32(metadata) != metadata_checksum:
        raise Corrupt("the checksum of the head does not match", kind="checksum", where=where)
    records = np.frombuffer(body, _RECORD, count, _HEAD.size)
    fields_start = start + metadata_nbytes
    values = parse_json(body[fields_start:], where)
    if type(values) is not list or len(values) != count:
        shape.refuse(values, f"an array of {count:,} fields", where)
    _check_offsets(records, fields_start, len(body), where)
    try:
        fields = _fields(records, values, where)
        return Schema(fields, metadata_from_json(parse_json(metadata, where)))
    except LanceLikeError as error:
        # The types know what is wrong, not where.
        if isinstance(error, (Corrupt, Unsupported)) and not error.where:
            raise type(error)(error.message, kind=error.kind, where=where) from error
        raise


def _check_offsets(records: np.ndarray, start: int, end: int, where: str) -> None:
    lengths = records["length"].astype(np.int64)
    expected = start + 1 + np.concatenate(([0], np.cumsum(lengths + 1)))
    if (records["offset"] != expected[:-1]).any() or max(int(expected[-1]), start + 2) != end:
        shape.refuse("other offsets", "field texts one after the other", where)


def _fields(records: np.ndarray, values: list[Json], where: str) -> tuple[Field, ...]:
    fields: list[Field] = []
    types: dict[str, pa.DataType] = {}
    above: list[int] = []
    structs: set[int] = set()
    ordinals: dict[int, int] = {}
    seen: set[int] = set()
    names: set[tuple[int, str]] = set()
    for record, value in zip(records.tolist(), values, strict=True):
        field_id, parent, name_hash, _, _, ordinal, _ = record
        while above and above[-1] != parent:
            above.pop()
        if not 0 <= field_id <= MAX_FIELD_ID or field_id in seen:
            shape.refuse(field_id, "field ids of their own", where)
        if parent != ROOT and not (above and parent in structs):
            shape.refuse(parent, "a parent that is a struct, depth first", where)
        if ordinal != ordinals.get(parent, 0) or len(above) >= MAX_NESTING:
            shape.refuse(ordinal, f"ordinal {ordinals.get(parent, 0)} at a depth below {MAX_NESTING}", where)
        field = _field(field_id, parent, value, types, where)
        if (parent, field.name) in names:
            shape.refuse(field.name, "siblings of different names", where)
        names.add((parent, field.name))
        if name_hash != _low32(field.name.encode("utf-8")):
            shape.refuse(name_hash, f"the hash of the name {field.name!r}", where)
        if field.is_struct:
            structs.add(field_id)
            if field.type.num_fields:
                shape.refuse(str(field.type), "a struct without children in its own field", where)
        ordinals[parent] = ordinal + 1
        seen.add(field_id)
        above.append(field_id)
        fields.append(field)
    return tuple(fields)


def _field(field_id: int, parent: int, value: Json, types: dict[str, pa.DataType], where: str) -> Field:
    known = shape.mapping(value, where)
    name = shape.text(known, "name", where)
    kind = known.get("type")
    nullable = known.get("nullable")
    # Most types are plain names and no field has metadata: a table of 10,000 columns opens in milliseconds.
    if type(kind) is str and kind in types and type(nullable) is bool and "metadata" not in known:
        return Field(field_id, parent, name, types[kind], nullable, {})
    field = field_from_json(known)
    if type(kind) is str:
        types[kind] = field.type
    return Field(field_id, parent, name, field.type, field.nullable, dict(field.metadata or {}))


def _field_to_json(field: Field) -> Json:
    return field_to_json(pa.field(field.name, field.type, field.nullable, field.metadata or None))


def _low32(data: bytes) -> int:
    return xxhash.xxh3_64_intdigest(data) & 0xFFFFFFFF
