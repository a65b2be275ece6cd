"""The bytes of a schema part: one field can be read alone, by range (format_spec/table.md, "Schema part").

    u32 fields | u32 kinds | u32 names length | u32 kinds length | u32 metadata length
    | u32 metadata checksum | u32 checksum of the kind records | u32 checksum of the 28 bytes before
    | records, 28 bytes each: i32 id | i32 parent | u32 name hash | u32 name offset | u32 name length | u32 kind
    |                         | u32 checksum (of the 24 bytes before and of the name)
    | kind records, 12 bytes each: u32 offset | u32 length | u32 checksum of the JSON
    | names: UTF-8 | kinds: '[' JSON ',' JSON … ']' | metadata: JSON

Inside an envelope of magic "LLSC". A kind is what fields share: type, nullability, metadata. All integers
little-endian, offsets from the start of the body, checksums the low 32 bits of XXH3-64. Pure.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pyarrow as pa

from lance_like._lazy import cached
from lance_like.errors import Corrupt, InvalidInput, Unsupported
from lance_like.file.layout import parse_json, sum32
from lance_like.file.types import field_from_json, metadata_from_json, metadata_to_json, stated_type
from lance_like.table import shape
from lance_like.table.envelope import pack_envelope, unpack_envelope
from lance_like.table.fields import ROOT, Field
from lance_like.table.fragment import MAX_COLUMNS, MAX_FIELD_ID
from lance_like.table.schema import Schema
from lance_like.typing_ import Int64s, Json

MAGIC = b"LLSC"
MAX_NESTING = 256
MAX_DESCRIBED_NBYTES = 1 << 30

_HEAD = struct.Struct("<IIIIIIII")
_HEAD_UNSUMMED = struct.Struct("<IIIIIII")
_RECORD_UNSUMMED = struct.Struct("<iiIIII")
_RECORD = np.dtype(
    [("id", "<i4"), ("parent", "<i4"), *((name, "<u4") for name in ("hash", "offset", "length", "kind", "checksum"))]
)
_KIND_RECORD = struct.Struct("<III")
_KIND = np.dtype([(name, "<u4") for name in ("offset", "length", "checksum")])

# Fewer fields than these are read one by one; a name read alone costs what ten cost when all are read.
_FEW = 64

Kind = tuple[pa.DataType, bool, dict[bytes, bytes]]
"""Type, nullability and metadata of a field."""
_Entry = tuple[int, int, str, int]


def encode_schema(schema: Schema) -> bytes:
    """A schema as the bytes of a part. Raises InvalidInput over the limits, Unsupported for a type."""
    fields = schema.fields
    if len(fields) > MAX_COLUMNS:
        raise InvalidInput(f"{len(fields):,} fields; at most {MAX_COLUMNS:,} fit", kind="limit")
    metadata = shape.dump(metadata_to_json(schema.metadata))
    numbers, texts = _number_kinds(fields)
    if sum(len(texts[number]) for number in numbers) > MAX_DESCRIBED_NBYTES:
        raise InvalidInput("the types and metadata of the fields are over 1 GiB", kind="limit")
    names = [_utf8(field.name) for field in fields]
    offset = _HEAD.size + _RECORD.itemsize * len(fields) + _KIND.itemsize * len(texts)
    records: list[bytes] = []
    for field, name, number in zip(fields, names, numbers, strict=True):
        record = _RECORD_UNSUMMED.pack(field.id, field.parent_id, sum32(name), offset, len(name), number)
        records.append(record + struct.pack("<I", sum32(record + name)))
        offset += len(name)
    names_nbytes = sum(map(len, names))
    kinds: list[bytes] = []
    for text in texts:
        kinds.append(_KIND_RECORD.pack(offset + 1, len(text), sum32(text)))
        offset += 1 + len(text)
    array = b"[" + b",".join(texts) + b"]"
    lengths = (len(fields), len(texts), names_nbytes, len(array), len(metadata))
    head = _HEAD_UNSUMMED.pack(*lengths, sum32(metadata), sum32(b"".join(kinds)))
    body = [head, struct.pack("<I", sum32(head)), *records, *kinds, *names, array, metadata]
    return pack_envelope(MAGIC, b"".join(body))


def _number_kinds(fields: Sequence[Field]) -> tuple[list[int], list[bytes]]:
    """The number of each field's kind, and the JSON of the kinds, each text once."""
    texts: dict[bytes, int] = {}
    plain: dict[tuple[str, bool], int] = {}
    numbers: list[int] = []
    for field in fields:
        kind, metadata = stated_type(field.type, field.metadata)
        # Most types are plain names and most fields have no metadata: a few kinds for thousands of fields.
        key = (kind, field.nullable) if type(kind) is str and not metadata else None
        number = None if key is None else plain.get(key)
        if number is None:
            body: dict[str, Json] = {"type": kind, "nullable": field.nullable}
            if metadata:
                body["metadata"] = metadata_to_json(metadata)
            number = texts.setdefault(shape.dump(body), len(texts))
            if key is not None:
                plain[key] = number
        numbers.append(number)
    return numbers, list(texts)


def _utf8(name: str) -> bytes:
    try:
        return name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidInput(f"the name {name!r} is not valid Unicode: {error}", kind="text") from error


def decode_schema(data: bytes, where: str) -> Schema:
    """The inverse of `encode_schema`, from the whole part. Raises Corrupt or Unsupported.

    The places of all fields are checked here; the name and the kind of a field when something asks for it.
    """
    return Schema(_StoredFields(unpack_envelope(MAGIC, data, where), where))


class _StoredFields:
    """The fields of a schema part: the bytes of each become a field when it is asked for."""

    def __init__(self, body: bytes, where: str) -> None:
        self._body, self._where = body, where
        count, kinds, names_nbytes, kinds_nbytes = _check_head(body, where)
        records = np.frombuffer(body, _RECORD, count, _HEAD.size)
        kind_records = np.frombuffer(body, _KIND, kinds, _HEAD.size + records.nbytes)
        names_start = _HEAD.size + records.nbytes + kind_records.nbytes
        kinds_start = names_start + names_nbytes
        self._metadata_start = kinds_start + kinds_nbytes
        self._names = _spans(records, names_start, kinds_start, gap=0, where=where)
        self._texts = _spans(kind_records, kinds_start + 1, self._metadata_start, gap=1, where=where)
        # Copies: columns of records are strided, and searched often.
        self._ids, self._parents = records["id"].astype(np.int64), records["parent"].astype(np.int64)
        self._hashes, self._numbers = records["hash"].copy(), records["kind"].copy()
        _check_array(body, self._texts, self._metadata_start, where)
        _check_numbers(self._numbers, kind_records["length"], where)
        self._order = _order(self._ids, where)
        self._holders = _holders(self._ids, self._parents, where)
        self._made: dict[int, Field] = {}
        self._kinds: dict[int, Kind] = {}

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def greatest_id(self) -> int:
        """The greatest field id; -1 when there is no field."""
        return int(self._ids.max(initial=-1))

    @property
    def metadata(self) -> dict[bytes, bytes]:
        """The metadata of the schema."""
        return self._metadata

    @cached
    def _metadata(self) -> dict[bytes, bytes]:
        with _placed(self._where):
            return metadata_from_json(parse_json(self._body[self._metadata_start :], self._where))

    def all(self) -> tuple[Field, ...]:
        """Every field. Cost: O(fields) the first time."""
        return self._all

    @cached
    def _all(self) -> tuple[Field, ...]:
        # Whether two siblings share a name is seen when the names are put in order.
        _ = self._by_name
        kinds = {number: self._kind(number) for number in np.unique(self._numbers).tolist()}
        made = tuple(Field(field_id, above, name, *kinds[number]) for field_id, above, name, number in self._entries)
        for field_id in self._holders:
            position = self.position(field_id)
            assert position is not None  # a parent stands above its children
            self._check_holder(made[position])
        return made

    def at(self, position: int) -> Field:
        """The field at 0 <= position < len."""
        if "_all" in self.__dict__:
            return self._all[position]
        found = self._made.get(position)
        if found is None:
            field_id, parent_id, name, number = self._entries[position] if self._many else self._entry(position)
            found = Field(field_id, parent_id, name, *self._kind(number))
            if field_id in self._holders:
                self._check_holder(found)
            self._made[position] = found
        return found

    def position(self, field_id: int) -> int | None:
        """Where the field of an id stands; None when there is none."""
        place = int(self._ids.searchsorted(field_id, sorter=self._order))
        if place == len(self._ids):
            return None
        position = place if self._order is None else int(self._order[place])
        return position if self._ids[position] == field_id else None

    def child(self, parent_id: int, name: str) -> Field | None:
        """The field of a name directly below a struct, or at the top. Cost: as a rule one field is read."""
        if self._many:
            position = self._by_name.get((parent_id, name))
            return None if position is None else self.at(position)
        # A name that UTF-8 cannot hold is looked for like any other, and not found.
        wanted = sum32(name.encode("utf-8", "surrogatepass"))
        positions = np.flatnonzero((self._hashes == wanted) & (self._parents == parent_id))
        found = [position for position in positions.tolist() if self._entry(position)[2] == name]
        if len(found) > 1:
            shape.refuse(name, "siblings of different names", self._where)
        return self.at(found[0]) if found else None

    def children(self, parent_id: int) -> Sequence[Field]:
        """The fields directly below a struct, or at the top, in order."""
        if parent_id != ROOT and parent_id not in self._holders:
            return ()
        positions = np.flatnonzero(self._parents == parent_id).tolist()
        if parent_id == ROOT and len(positions) > _FEW:
            _ = self._all
        found = tuple(self.at(position) for position in positions)
        if len({field.name for field in found}) < len(found):
            shape.refuse(f"a name twice below {parent_id}", "siblings of different names", self._where)
        return found

    @property
    def _many(self) -> bool:
        """Have so many fields been asked for that it is cheaper to read all names at once?"""
        return len(self._made) > _FEW or "_entries" in self.__dict__

    def _check_holder(self, field: Field) -> None:
        if not field.is_struct:
            shape.refuse(str(field.type), f"a struct, as field {field.id} is a parent", self._where)

    def _entry(self, position: int) -> _Entry:
        """The id, parent, name and number of the kind of one field."""
        start, end = self._names[:, position].tolist()
        name = _text(self._body[start:end], self._where)
        _check_hashes([name], [int(self._hashes[position])], self._where)
        return int(self._ids[position]), int(self._parents[position]), name, int(self._numbers[position])

    @cached
    def _entries(self) -> list[_Entry]:
        """The same of all fields."""
        starts, ends = self._names.tolist()
        blob = self._body[starts[0] : ends[-1]] if starts else b""
        if blob.isascii():
            text, first = blob.decode("ascii"), starts[0] if starts else 0
            names = [text[start - first : end - first] for start, end in zip(starts, ends, strict=True)]
        else:
            names = [_text(self._body[start:end], self._where) for start, end in zip(starts, ends, strict=True)]
        _check_hashes(names, self._hashes.tolist(), self._where)
        return list(zip(self._ids.tolist(), self._parents.tolist(), names, self._numbers.tolist(), strict=True))

    @cached
    def _by_name(self) -> dict[tuple[int, str], int]:
        """The positions by parent and name."""
        found = {(parent_id, name): place for place, (_, parent_id, name, _) in enumerate(self._entries)}
        if len(found) < len(self._entries):
            shape.refuse("a name twice", "siblings of different names", self._where)
        return found

    def _kind(self, number: int) -> Kind:
        found = self._kinds.get(number)
        if found is None:
            start, end = self._texts[:, number].tolist()
            value = shape.mapping(parse_json(self._body[start:end], self._where), self._where)
            with _placed(self._where):
                field = field_from_json({**value, "name": ""})
            if pa.types.is_struct(field.type) and field.type.num_fields:
                shape.refuse(str(field.type), "a struct without children in its own type", self._where)
            found = self._kinds[number] = (field.type, field.nullable, dict(field.metadata or {}))
        return found


@contextmanager
def _placed(where: str) -> Iterator[None]:
    """Add the place to errors of types, which know what is wrong, not where."""
    try:
        yield
    except (Corrupt, Unsupported) as error:
        if error.where:
            raise
        raise type(error)(error.message, kind=error.kind, where=where) from error


def _check_head(body: bytes, where: str) -> tuple[int, int, int, int]:
    """Fields, kinds, bytes of names, bytes of kinds. The metadata is checked against its checksum."""
    if len(body) < _HEAD.size:
        shape.refuse(len(body), f"at least {_HEAD.size} bytes", where)
    *lengths, metadata_sum, kinds_sum, head_sum = _HEAD.unpack_from(body)
    count, kinds, names_nbytes, kinds_nbytes, metadata_nbytes = lengths
    if sum32(body[: _HEAD_UNSUMMED.size]) != head_sum:
        raise Corrupt("the checksum of the head does not match", kind="checksum", where=where)
    if max(count, kinds) > MAX_COLUMNS:
        found = f"{count:,} fields of {kinds:,} kinds"
        raise Corrupt(f"{found}, over the limit of {MAX_COLUMNS:,}", kind="limit", where=where)
    kinds_start = _HEAD.size + _RECORD.itemsize * count
    kinds_end = kinds_start + _KIND.itemsize * kinds
    if kinds_end + names_nbytes + kinds_nbytes + metadata_nbytes != len(body):
        shape.refuse(len(body), f"the bytes of {count:,} fields and {kinds:,} kinds", where)
    if sum32(body[len(body) - metadata_nbytes :]) != metadata_sum or sum32(body[kinds_start:kinds_end]) != kinds_sum:
        raise Corrupt("the checksum of the metadata or of the kinds does not match", kind="checksum", where=where)
    return count, kinds, names_nbytes, kinds_nbytes


def _spans(records: np.ndarray, start: int, end: int, *, gap: int, where: str) -> Int64s:
    """int64[2, n]: start and end of the text of each record. They lie one after the other, gap bytes apart."""
    lengths = records["length"].astype(np.int64)
    spans = np.empty((2, len(lengths)), np.int64)
    spans[1] = lengths.cumsum() + gap * np.arange(len(lengths)) + start
    spans[0] = spans[1] - lengths
    last = int(spans[1, -1]) + gap if len(lengths) else start
    if (records["offset"] != spans[0]).any() or max(last, start + gap) != end:
        shape.refuse("other offsets", "texts one after the other", where)
    return spans


def _check_array(body: bytes, texts: Int64s, end: int, where: str) -> None:
    """The kinds are one JSON array: what stands around each text is a bracket or a comma."""
    marks = np.frombuffer(body, np.uint8)
    before = marks[texts[0] - 1] if texts.size else marks[end - 2 : end - 1]
    if before[0] != ord("[") or (before[1:] != ord(",")).any() or marks[end - 1] != ord("]"):
        shape.refuse("other marks", "the kinds as one array", where)


def _check_numbers(numbers: np.ndarray, lengths: np.ndarray, where: str) -> None:
    """Each field has a kind. Many fields that share a long one would make much out of few bytes: that is limited."""
    if len(numbers) and int(numbers.max()) >= len(lengths):
        shape.refuse(int(numbers.max()), f"one of {len(lengths):,} kinds", where)
    if int(lengths[numbers].sum(dtype=np.int64)) > MAX_DESCRIBED_NBYTES:
        raise Corrupt("the types and metadata of the fields are over 1 GiB", kind="limit", where=where)


def _order(ids: Int64s, where: str) -> Int64s | None:
    """What sorts the ids; None when they ascend, as they do until columns are moved. Each stands once."""
    order = None if (ids[1:] > ids[:-1]).all() else np.argsort(ids, kind="stable")
    if len(ids) and ids.min() < 0:
        shape.refuse(int(ids.min()), f"field ids from 0 to {MAX_FIELD_ID:,}", where)
    if order is not None and (np.diff(ids[order]) == 0).any():
        shape.refuse("an id twice", "field ids of their own", where)
    return order


def _holders(ids: Int64s, parents: Int64s, where: str) -> frozenset[int]:
    """The ids that are parents, after a check that every field stands depth first below its own."""
    if (parents == ROOT).all():
        return frozenset()
    # Only where the parent changes can the order be wrong: a field has the parent of the one before, or is its child.
    changes = np.flatnonzero(np.diff(parents, prepend=ROOT))
    before = ids[changes - 1].tolist()
    above: list[int] = []
    for place, parent, last in zip(changes.tolist(), parents[changes].tolist(), before, strict=True):
        if place and parent == last:
            above.append(parent)
        else:
            while above and above[-1] != parent:
                above.pop()
        if (parent != ROOT and not above) or len(above) >= MAX_NESTING:
            shape.refuse(parent, f"a parent that stands above, at a depth below {MAX_NESTING}", where)
    return frozenset(parents[changes].tolist()) - {ROOT}


def _check_hashes(names: Sequence[str], wanted: list[int], where: str) -> None:
    found = [sum32(name.encode("utf-8")) for name in names]
    if found != wanted:
        name, other = next((n, w) for n, f, w in zip(names, found, wanted, strict=True) if f != w)
        shape.refuse(other, f"the hash of the name {name!r}", where)


def _text(data: bytes, where: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return shape.refuse(data, "a name in UTF-8", where)
