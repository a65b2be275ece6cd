"""What a version says of its indexes (format_spec/table.md, "Indexes"). Values, their JSON and the bytes of their
parts; pure but for a read that a value was given.

    index    name, kind, fields, segments
    segment  files | which rows it holds: ordinal -> row id | ordinals whose values have changed since
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import pyarrow as pa

from lance_like._lazy import cached
from lance_like.errors import Corrupt, InvalidInput
from lance_like.table import shape
from lance_like.table.deletions import MAX_DELETED, Deletions, check_offsets, deletions_from_json
from lance_like.table.envelope import MAX_BODY, inflate, pack_envelope, unpack_envelope
from lance_like.table.fragment import MAX_BASE, MAX_FIELD_ID, MAX_ROWS, ReadPart, unread
from lance_like.table.layout import base_key, is_data_key
from lance_like.table.lineage import INLINE_RUNS, distinct, pack_pairs, unpack_pairs
from lance_like.table.reference import Ref, ref_from_json
from lance_like.table.schema import Schema
from lance_like.typing_ import Int64s, Json

MAGIC = b"LLIX"
MAX_INDEXES = 10_000
MAX_SEGMENTS = 10_000
MAX_FILES = 1_000
_LENGTH = struct.Struct("<I")

VALUE_TYPES: dict[str, pa.DataType] = {
    "string": pa.string(),
    "int64": pa.int64(),
    "double": pa.float64(),
    "bool": pa.bool_(),
}
"""What the values at a JSON path may be taken as."""


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """A file of a segment.

    name: what the plug-in calls it. tail: the checksum of its tail. base: as of a data file.
    """

    name: str
    path: str
    nbytes: int
    tail: int
    base: int | None = None

    @property
    def key(self) -> str:
        """What the store of the table calls it."""
        return self.path if self.base is None else base_key(self.base, self.path)

    def to_json(self) -> Json:
        return {
            "name": self.name,
            "path": self.path,
            "nbytes": self.nbytes,
            "tail": f"{self.tail:016x}",
            "base": self.base,
        }


@dataclass(frozen=True, eq=False)
class RowRuns:
    """The stable ids of the rows of a segment: ascending, in the order of their ordinals, in memory or in a part.

    rows: how many. bounds: the least id, and the greatest plus 1. ref: the part, None until it is written or when it is
    inline. held: the runs; None while they lie in the part, which `read` brings.
    """

    rows: int
    bounds: tuple[int, int]
    ref: Ref | None = None
    held: Int64s | None = None
    read: ReadPart | None = field(default=None, repr=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RowRuns) and self._identity == other._identity

    def __hash__(self) -> int:
        return self._hash

    @cached
    def _hash(self) -> int:
        return hash(self._identity)

    @cached
    def _identity(self) -> Ref | bytes:
        return self.ref or self.runs.tobytes()

    @staticmethod
    def of(ids: Int64s) -> RowRuns:
        """The runs of ids one by one: int64[n], ascending, each once, at least one. Raises InvalidInput over limits."""
        breaks = np.flatnonzero(np.diff(ids) != 1) + 1
        starts, ends = ids[np.concatenate(([0], breaks))], ids[np.append(breaks, len(ids)) - 1] + 1
        return RowRuns.of_runs(np.stack((starts, ends), axis=1))

    @staticmethod
    def of_runs(runs: Int64s) -> RowRuns:
        """int64[n, 2] half-open intervals, ascending, that do not touch; at least one."""
        rows = int((runs[:, 1] - runs[:, 0]).sum())
        if rows > MAX_ROWS:
            raise InvalidInput(f"{rows:,} rows in one segment of an index, the limit is {MAX_ROWS:,}", kind="limit")
        return RowRuns(rows, (int(runs[0, 0]), int(runs[-1, 1])), held=runs)

    @cached
    def runs(self) -> Int64s:
        """int64[n, 2] half-open intervals of ids, ascending; read when first asked for. Raises Corrupt."""
        if self.held is not None:
            return self.held
        assert self.ref is not None and self.read is not None
        runs = decode_row_runs(self.read(self.ref), self.ref.path)
        _check_runs(runs, self.rows, self.ref.path)
        found = int(runs[0, 0]), int(runs[-1, 1])
        if found != self.bounds:
            shape.refuse(found, f"row ids within {self.bounds}", self.ref.path)
        return runs

    @cached
    def _firsts(self) -> Int64s:
        """The ordinal of the first row of each run, and how many rows there are."""
        return np.concatenate(([0], np.cumsum(self.runs[:, 1] - self.runs[:, 0])))

    @property
    def is_inline(self) -> bool:
        """Does it stand in the root itself?"""
        return self.ref is None and len(self.runs) <= INLINE_RUNS

    def ids(self, ordinals: Int64s) -> Int64s:
        """int64[n] ordinals, each below `rows` -> int64[n] row ids. Cost: O(n log runs), O(n) for one run."""
        runs = self.runs
        if len(runs) == 1:
            return ordinals + runs[0, 0]
        place = self._firsts.searchsorted(ordinals, "right") - 1
        return ordinals + (runs[:, 0] - self._firsts[:-1])[place]

    def ordinals(self, ids: Int64s) -> Int64s:
        """int64[n] row ids -> int64[n] ordinals, -1 for an id that is not among them. Cost: as `ids`."""
        low, high = self.bounds
        if len(ids) == 0 or ids.max() < low or ids.min() >= high:
            return np.full(len(ids), -1, np.int64)
        runs = self.runs
        if len(runs) == 1:
            return np.where((ids >= low) & (ids < high), ids - low, -1)
        place = np.maximum(runs[:, 0].searchsorted(ids, "right") - 1, 0)
        within = (ids >= runs[place, 0]) & (ids < runs[place, 1])
        return np.where(within, ids - runs[place, 0] + self._firsts[place], -1)

    def __getstate__(self) -> dict[str, object]:
        return {name: self.__dict__[name] for name in ("rows", "bounds", "ref", "held", "read")}


@dataclass(frozen=True)
class IndexSegment:
    """A part of an index, for some rows; only `invalid` ever changes.

    uuid: 32 hexadecimal digits. version: of the table, whose rows it was built from. format: the version of its bytes,
    as its plug-in counts them. created_us: microseconds since 1970 UTC. detail: what the plug-in needs to open it.
    invalid: ordinals of rows whose values are others by now; None: of none.
    """

    uuid: str
    version: int
    format: int
    created_us: int
    files: tuple[SegmentFile, ...]
    row_ids: RowRuns
    detail: Mapping[str, Json]
    invalid: Deletions | None = None

    @property
    def rows(self) -> int:
        """How many rows it was built from."""
        return self.row_ids.rows

    @property
    def nbytes(self) -> int:
        """Of its files."""
        return sum(file.nbytes for file in self.files)

    @cached
    def identity(self) -> tuple[str, tuple[str, ...]]:
        """What tells it from all others, whatever has been invalidated."""
        return self.uuid, tuple(file.key for file in self.files)

    @property
    def invalid_ordinals(self) -> Int64s:
        """int64[n] the ordinals of rows that have other values by now, ascending. Raises Corrupt."""
        if self.invalid is None:
            return np.empty(0, np.int64)
        return check_offsets(self.invalid, self.rows, f"segment {self.uuid}")

    def without(self, ids: Int64s) -> IndexSegment | None:
        """The segment with more rows invalidated: int64[n] row ids, others among them; None when no row is left."""
        ordinals = self.row_ids.ordinals(ids)
        gone = distinct(ordinals[ordinals >= 0])
        if len(gone) == 0:
            return self
        if self.invalid is not None:
            gone = distinct(np.concatenate((self.invalid_ordinals, gone)))
        if len(gone) == self.rows or len(gone) > MAX_DELETED:
            return None
        return replace(self, invalid=Deletions.of(gone))

    def to_json(self) -> Json:
        rows = self.row_ids
        return {
            "uuid": self.uuid,
            "version": self.version,
            "format": self.format,
            "created_us": self.created_us,
            "files": [file.to_json() for file in self.files],
            "rows": rows.rows,
            "row_ids": [] if rows.ref else rows.runs.tolist(),
            "apart": {"ref": rows.ref.to_json(), "row_ids": rows.bounds} if rows.ref else None,
            "invalid": self.invalid.to_json() if self.invalid else None,
            "detail": dict(self.detail),
        }


@dataclass(frozen=True, slots=True)
class JsonPath:
    """The values at a path of JSON texts. path: as DuckDB writes it, "$.a.b". type: a name of `VALUE_TYPES`."""

    path: str
    type: str

    @property
    def value_type(self) -> pa.DataType:
        return VALUE_TYPES[self.type]


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """An index. kind: the name of its plug-in, known here or not. json: None: of the values of the field as they are.

    segments: no two hold a row that neither has invalidated.
    """

    name: str
    kind: str
    field_ids: tuple[int, ...]
    params: Mapping[str, Json]
    segments: tuple[IndexSegment, ...] = ()
    json: JsonPath | None = None

    def value_type(self, schema: Schema) -> pa.DataType:
        """The type of the indexed values. Raises NotFound for a field that the schema lacks."""
        return self.json.value_type if self.json else schema.arrow_field(self.field_ids[0]).type

    def with_segments(self, segments: tuple[IndexSegment, ...]) -> IndexEntry:
        """The same index, of these segments."""
        return replace(self, segments=segments)

    def of_same(self, other: IndexEntry) -> bool:
        """Do both say the same but for their segments?"""
        return self.with_segments(()) == other.with_segments(())

    def without(self, ids: Int64s) -> IndexEntry:
        """The index with rows invalidated: int64[n] row ids; segments of which no row is left are gone."""
        left = tuple(made for segment in self.segments if (made := segment.without(ids)) is not None)
        same = len(left) == len(self.segments) and all(a is b for a, b in zip(left, self.segments, strict=True))
        return self if same else replace(self, segments=left)

    def to_json(self) -> Json:
        return {
            "name": self.name,
            "kind": self.kind,
            "fields": self.field_ids,
            "json": None if self.json is None else {"path": self.json.path, "type": self.json.type},
            "params": dict(self.params),
            "segments": [segment.to_json() for segment in self.segments],
        }


def files_of(indices: Iterable[IndexEntry]) -> Iterable[SegmentFile]:
    """The files of all segments."""
    return (file for entry in indices for segment in entry.segments for file in segment.files)


def encode_row_runs(runs: Int64s) -> bytes:
    """Runs as a part: an envelope around u32 length and a zlib stream of that many bytes, one packed array.

    Its pairs are the ids between a run and the one before it, and the length of the run.
    """
    gaps = runs[:, 0] - np.concatenate(([0], runs[:-1, 1]))
    raw = pack_pairs(gaps, runs[:, 1] - runs[:, 0])
    return pack_envelope(MAGIC, _LENGTH.pack(len(raw)) + zlib.compress(raw, 3))


def decode_row_runs(data: bytes, where: str) -> Int64s:
    """The inverse of `encode_row_runs`. Raises Corrupt."""
    raw = inflate(unpack_envelope(MAGIC, data, where), where, limit=MAX_BODY)
    (gaps, lengths), at = unpack_pairs(raw, 0, where)
    if at != len(raw):
        shape.refuse(len(raw) - at, "no bytes after the array", where)
    # Numbers below 2^54, at most 2^26 of each: sums that wrap are those of numbers that are each out of range.
    if max(int(gaps.max()), int(lengths.max())) > shape.MAX_INTEGER:
        shape.refuse(int(gaps.max()), "row ids below 2^53", where)
    ends = np.cumsum(gaps + lengths)
    return np.stack((ends - lengths, ends), axis=1)


def _check_runs(runs: Int64s, rows: int, where: str) -> None:
    """Raise Corrupt unless these are ascending intervals apart from each other, of so many rows."""
    if len(runs) == 1:
        [(start, end)] = runs.tolist()
        if 0 <= start < end <= shape.MAX_INTEGER and end - start == rows:
            return
    lengths = runs[:, 1] - runs[:, 0]
    good = len(runs) and runs[0, 0] >= 0 and runs.max() <= shape.MAX_INTEGER and lengths.min() >= 1
    if not good or (runs[1:, 0] <= runs[:-1, 1]).any():
        shape.refuse(runs[:2].tolist(), "ascending intervals of row ids, apart from each other", where)
    # Lengths made to overflow the sum are each more than the rows.
    if int(lengths.max()) > rows or int(lengths.sum()) != rows:
        shape.refuse(runs[:1].tolist(), f"as many row ids as rows ({rows:,})", where)


def indices_from_json(holder: dict[str, Json], where: str, *, read: ReadPart = unread) -> tuple[IndexEntry, ...]:
    """The member `indices` of a root. read: for its parts, when they are asked for. Raises Corrupt."""
    _check_count(shape.array(holder, "indices", where), MAX_INDEXES, "indexes", where)
    found = shape.each(holder, "indices", where, lambda value, place: _entry_from_json(value, place, read))
    _check_once((entry.name for entry in found), "name of an index", where)
    _check_once((s.uuid for entry in found for s in entry.segments), "uuid of a segment", where)
    return found


def _entry_from_json(value: Json, where: str, read: ReadPart) -> IndexEntry:
    holder = shape.mapping(value, where)
    field_ids = tuple(shape.each(holder, "fields", where, _field_id))
    if not field_ids or len(set(field_ids)) < len(field_ids):
        shape.refuse(field_ids, "fields, each once", where)
    _check_count(shape.array(holder, "segments", where), MAX_SEGMENTS, "segments of an index", where)
    return IndexEntry(
        name=shape.text(holder, "name", where),
        kind=shape.text(holder, "kind", where),
        field_ids=field_ids,
        params=shape.mapping(shape.member(holder, "params", where), where),
        segments=shape.each(holder, "segments", where, lambda item, place: _segment_from_json(item, place, read)),
        json=_json_path(shape.member(holder, "json", where), where),
    )


def _json_path(value: Json, where: str) -> JsonPath | None:
    if value is None:
        return None
    holder = shape.mapping(value, where)
    kind = shape.text(holder, "type", where)
    if kind not in VALUE_TYPES:
        shape.refuse(kind, f"one of {', '.join(VALUE_TYPES)}", where)
    return JsonPath(shape.text(holder, "path", where), kind)


def _segment_from_json(value: Json, where: str, read: ReadPart) -> IndexSegment:
    holder = shape.mapping(value, where)
    rows = shape.integer(holder, "rows", where, low=1, high=MAX_ROWS)
    _check_count(shape.array(holder, "files", where), MAX_FILES, "files of a segment", where)
    files = shape.each(holder, "files", where, _file_from_json)
    _check_once((file.name for file in files), "name of a file", where)
    return IndexSegment(
        uuid=shape.uuid(holder, where),
        version=shape.integer(holder, "version", where, low=1),
        format=shape.integer(holder, "format", where),
        created_us=shape.integer(holder, "created_us", where),
        files=files,
        row_ids=_row_runs_from_json(holder, where, rows, read),
        detail=shape.mapping(shape.member(holder, "detail", where), where),
        invalid=deletions_from_json(shape.member(holder, "invalid", where), where, rows, read),
    )


def _row_runs_from_json(holder: dict[str, Json], where: str, rows: int, read: ReadPart) -> RowRuns:
    pairs = shape.pairs(holder, "row_ids", where)
    apart = shape.member(holder, "apart", where)
    if apart is None:
        runs = np.array(pairs, np.int64).reshape(-1, 2)
        _check_runs(runs, rows, where)
        return RowRuns(rows, (pairs[0][0], pairs[-1][1]), held=runs)
    if pairs:
        shape.refuse(pairs[:1], "no row ids beside 'apart'", where)
    apart = shape.mapping(apart, where)
    bounds = shape.interval(apart, "row_ids", where, high=shape.MAX_INTEGER)
    ref = ref_from_json(shape.member(apart, "ref", where), where, kind="idx")
    return RowRuns(rows, bounds, ref, read=read)


def _file_from_json(value: Json, where: str) -> SegmentFile:
    holder = shape.mapping(value, where)
    path, base = shape.member(holder, "path", where), shape.member(holder, "base", where)
    if type(path) is not str or not is_data_key(path):
        shape.refuse(path, "'data/<uuid>.lnl'", where)
    return SegmentFile(
        name=shape.text(holder, "name", where),
        path=path,
        nbytes=shape.integer(holder, "nbytes", where, low=1),
        tail=shape.hexadecimal(shape.member(holder, "tail", where), where),
        base=None if base is None else shape.integer(holder, "base", where, low=1, high=MAX_BASE),
    )


def _field_id(value: Json, where: str) -> int:
    return shape.integer({"id": value}, "id", where, high=MAX_FIELD_ID)


def _check_count(found: Sequence[Json], most: int, what: str, where: str) -> None:
    if len(found) > most:
        raise Corrupt(f"{len(found):,} {what} are over the limit of {most:,}", kind="limit", where=where)


def _check_once(names: Iterable[str], what: str, where: str) -> None:
    for one, other in pairwise(sorted(names)):
        if one == other:
            shape.refuse(one, f"each {what} once", where)


def check_indices(
    indices: Sequence[IndexEntry], *, next_row_id: int, next_field_id: int, bases: set[int | None], where: str
) -> None:
    """Raise Corrupt unless the ids that indexes name were given, and the bases of their files are known."""
    if any(field_id >= next_field_id for entry in indices for field_id in entry.field_ids):
        shape.refuse(next_field_id, "fields of indexes below 'next_field_id'", where)
    if any(segment.row_ids.bounds[1] > next_row_id for entry in indices for segment in entry.segments):
        shape.refuse(next_row_id, "row ids of indexes below 'next_row_id'", where)
    found = {file.base for file in files_of(indices)}
    if not found <= bases:
        shape.refuse(sorted(filter(None, found)), "files of indexes below the bases of the table", where)


def with_known_rows(indices: Sequence[IndexEntry], known: Iterable[IndexEntry]) -> tuple[IndexEntry, ...]:
    """The indexes, of which no row ids are read that others of the same table have read."""
    held = {s.row_ids: s.row_ids for entry in known for s in entry.segments if s.row_ids.ref}
    if not held:
        return tuple(indices)
    return tuple(
        replace(e, segments=tuple(replace(s, row_ids=held.get(s.row_ids, s.row_ids)) for s in e.segments))
        for e in indices
    )


__all__ = [
    "MAGIC",
    "VALUE_TYPES",
    "IndexEntry",
    "IndexSegment",
    "JsonPath",
    "RowRuns",
    "SegmentFile",
    "check_indices",
    "decode_row_runs",
    "encode_row_runs",
    "files_of",
    "indices_from_json",
    "with_known_rows",
]
