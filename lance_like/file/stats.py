"""Zone statistics: bounds and counts of every 8,192 rows of a column (format_spec/file.md, "Zones").

A zone entry is u64 nulls | u64 NaNs | u16 minimum length | u16 maximum length | u8 flags | 3 zero |
minimum [width] | maximum [width] | u32 place | u32 checksum. Minimum and maximum ignore nulls and NaN.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lance_like._lazy import per_type
from lance_like.encodings.physical import flat_array, flat_width, is_variable, storage_of, with_validity
from lance_like.errors import Corrupt
from lance_like.file.carry import carried_type
from lance_like.file.extents import ABOVE_ALL, Bound, Extent, extents_of, extents_of_numbers, numbers_of
from lance_like.file.layout import ZONE_ROWS, ColumnRecord, place_at, sum32
from lance_like.typing_ import Bytes, Int64s

HAS_MIN, HAS_MAX, MIN_TRUNCATED, MAX_TRUNCATED = 1, 2, 4, 8
_TEXT_WIDTH = 32
_HEAD = struct.Struct("<QQHHB3x")


# Not a dataclass: a frozen one takes three times as long to make, and a column has one for every 8,192 rows.
class ZoneEntry(NamedTuple):
    """Bounds and counts of some rows of one column. min, max: the value's bytes (spec, "Zones"); None: unknown."""

    null_count: int
    nan_count: int
    min: bytes | None
    max: bytes | None
    flags: int

    def pack(self, width: int, at: int) -> bytes:
        """The entry with bounds of `width` bytes that stands at byte `at` of its file."""
        low, high = self.min or b"", self.max or b""
        body = _HEAD.pack(self.null_count, self.nan_count, len(low), len(high), self.flags)
        body += low.ljust(width, b"\0") + high.ljust(width, b"\0") + place_at(at).to_bytes(4, "little")
        return body + sum32(body).to_bytes(4, "little")

    @classmethod
    def unpack(cls, data: bytes, width: int) -> ZoneEntry:
        """The inverse of `pack`, of bytes that `unpack_zones` has checked."""
        nulls, nans, low, high, flags = _HEAD.unpack_from(data)
        start = _HEAD.size
        lowest = data[start : start + low] if flags & HAS_MIN and width else None
        highest = data[start + width : start + width + high] if flags & HAS_MAX and width else None
        return cls(nulls, nans, lowest, highest, flags)

    def extent(self, rows: int, null_count: int, nan_count: int, kind: pa.DataType) -> Extent:
        """Some of its rows: its bounds are theirs too, unless they have no value. kind: `counted_type`."""
        if null_count + nan_count == rows or not zone_width(kind):
            return Extent(rows, null_count, nan_count)
        low, high = value_of(self.min, kind), value_of(self.max, kind)
        cut = self.flags & MIN_TRUNCATED > 0, self.flags & MAX_TRUNCATED > 0
        return Extent(rows, null_count, nan_count, low, ABOVE_ALL if high is None else high, *cut)


@per_type
def zone_width(kind: pa.DataType) -> int:
    """Bytes kept of a minimum or maximum: 0 for types without an order here (lists, structs, intervals, …)."""
    kind = counted_type(kind)
    t = pa.types
    if is_variable(kind) or t.is_fixed_size_binary(kind):
        return _TEXT_WIDTH
    if t.is_boolean(kind):
        return 8
    if t.is_nested(kind) or t.is_interval(kind) or t.is_dictionary(kind) or t.is_null(kind):
        return 0
    return max(8, flat_width(kind) or 0)


@per_type
def counted_type(kind: pa.DataType) -> pa.DataType:
    """The type whose values are counted and compared: as they are carried, without an extension."""
    return storage_of(carried_type(kind))


def in_one_zone(first_row: int, rows: int) -> bool:
    """True when rows of a column that begin at first_row lie in one zone."""
    return first_row % ZONE_ROWS + rows <= ZONE_ROWS


class ZoneBuilder:
    """Collects the statistics of one column from its pages, in order."""

    def __init__(self, kind: pa.DataType) -> None:
        self.kind = counted_type(kind)
        self.width = zone_width(kind)
        self._bytes_of_number = _bytes_of_number(self.kind)
        self._open = Extent(0, 0)
        self._total = Extent(0, 0)
        self._entries: list[ZoneEntry] = []

    def extents(self, array: pa.Array, first_row: int) -> list[Extent]:
        """Sum up rows, as their type is carried, that begin at a row of the column.

        Changes nothing: threads may do this for several pages.
        """
        if isinstance(array, pa.ExtensionArray):
            array = array.storage
        room = ZONE_ROWS - first_row % ZONE_ROWS
        return list(extents_of(array, room=room, zone_rows=ZONE_ROWS, ordered=self.width > 0))

    def extents_alike(self, array: pa.Array, rows: int) -> list[Extent]:
        """Sum up an array of numbers in stretches of `rows` rows, of which each lies in one zone of some column."""
        values = numbers_of(array)
        assert values is not None
        return list(extents_of_numbers(array, values.reshape(-1, rows)))

    def add(self, extents: Sequence[Extent]) -> None:
        """Count the extents of the next rows of the column."""
        for extent in extents:
            if extent.rows == ZONE_ROWS:
                self._close(extent)
                continue
            self._open.widen(extent)
            if self._open.rows == ZONE_ROWS:
                self._close(self._open)
                self._open = Extent(0, 0)

    def finish(self) -> tuple[list[ZoneEntry], ZoneEntry]:
        """The entries of all zones, and the one of the whole column."""
        if self._open.rows:
            self._close(self._open)
            self._open = Extent(0, 0)
        return self._entries, self._entries[0] if len(self._entries) == 1 else self._entry(self._total)

    def _close(self, zone: Extent) -> None:
        self._entries.append(self._entry(zone))
        self._total.widen(zone)

    def _entry(self, zone: Extent) -> ZoneEntry:
        if zone.low is None or zone.high is None:
            return ZoneEntry(zone.null_count, zone.nan_count, None, None, 0)
        flags = HAS_MIN | HAS_MAX
        if not isinstance(zone.low, bytes):
            low, high = self._bytes_of_number(zone.low), self._bytes_of_number(zone.high)
            return ZoneEntry(zone.null_count, zone.nan_count, low, high, flags)
        low, high = zone.low, zone.high
        text = _is_text(self.kind)
        if len(low) > self.width:
            low, flags = _cut(low, text), flags | MIN_TRUNCATED
        elif zone.low_cut:
            flags |= MIN_TRUNCATED
        if len(high) > self.width:
            above = _above(_cut(high, text), text)
            flags = flags | MAX_TRUNCATED if above is not None else flags & ~HAS_MAX
            high = above
        elif zone.high_cut:
            flags |= MAX_TRUNCATED
        return ZoneEntry(zone.null_count, zone.nan_count, low, high, flags)


@per_type
def _bytes_of_number(kind: pa.DataType) -> Callable[[Bound], bytes]:
    """What turns a number into the bytes that a type stores."""
    width = flat_width(kind) or 1
    if pa.types.is_floating(kind):
        return struct.Struct({2: "<e", 4: "<f", 8: "<d"}[width]).pack
    signed = not pa.types.is_unsigned_integer(kind)
    return lambda value: int(value).to_bytes(width, "little", signed=signed)


def value_of(data: bytes | None, kind: pa.DataType) -> Bound | None:
    """A bound as `Extent` has it: a number, or the bytes of text. data: as stored; None: there is none."""
    if data is None:
        return None
    if _is_bytes(kind):
        return data
    if pa.types.is_floating(kind):
        return float(np.frombuffer(data, f"<f{len(data)}")[0])
    return int.from_bytes(data, "little", signed=not pa.types.is_unsigned_integer(kind) and len(data) > 0)


def _cut(value: bytes, text: bool) -> bytes:
    """A prefix of at most 32 bytes; of text, whole characters only."""
    prefix = value[:_TEXT_WIDTH]
    return prefix.decode("utf-8", "ignore").encode() if text else prefix


def _above(prefix: bytes, text: bool) -> bytes | None:
    """The shortest value above everything that begins with the prefix; None when there is none."""
    if not text:
        kept = prefix.rstrip(b"\xff")
        return kept[:-1] + bytes([kept[-1] + 1]) if kept else None
    points = [ord(mark) for mark in prefix.decode()]
    while points:
        last = points.pop() + 1
        last = 0xE000 if last == 0xD800 else last
        if last <= 0x10FFFF:
            above = "".join(map(chr, [*points, last])).encode()
            if len(above) <= _TEXT_WIDTH:
                return above
    return None


@dataclass(frozen=True, slots=True)
class Zones:
    """Statistics of consecutive zones of one column.

    rows, nulls, nans: int64[n]. mins, maxs: arrays of the column's type, null where unknown (binary for cells of fixed
    size, null for types without an order); bounds, not always values of the column.
    """

    rows: Int64s
    nulls: Int64s
    nans: Int64s
    mins: pa.Array
    maxs: pa.Array

    @property
    def nbytes(self) -> int:
        """Memory."""
        return sum(part.nbytes for part in (self.rows, self.nulls, self.nans, self.mins, self.maxs))


def unpack_zones(data: Bytes, at: int, kind: pa.DataType, record: ColumnRecord, num_rows: int, where: str) -> Zones:
    """Check and read all zone entries of a column of num_rows (without the one that sums it up). Raises Corrupt.

    at: where in the file the first one stands.
    """
    kind = counted_type(kind)
    entries, rows = _checked_table(data, at, kind, record, num_rows, where)
    has_min, has_max = (entries["flags"] & HAS_MIN) != 0, (entries["flags"] & HAS_MAX) != 0
    return Zones(
        rows,
        entries["nulls"].astype(np.int64),
        entries["nans"].astype(np.int64),
        _bound_array(kind, entries["min"], entries["min_len"], has_min, where),
        _bound_array(kind, entries["max"], entries["max_len"], has_max, where),
    )


def unpack_zone_entries(
    data: Bytes, at: int, kind: pa.DataType, record: ColumnRecord, num_rows: int, where: str
) -> list[ZoneEntry]:
    """The same entries as they are, checked as `unpack_zones` does. Raises Corrupt."""
    kind, width, size = counted_type(kind), record.zone_width, record.zone_nbytes
    table, _ = _checked_table(data, at, kind, record, num_rows, where)
    raw = data.tobytes()
    entries = [ZoneEntry.unpack(raw[start : start + size], width) for start in range(0, len(raw), size)]
    for bound, flag in (("min", HAS_MIN), ("max", HAS_MAX)) if width else ():
        _checked_lengths(kind, table[bound], table[bound + "_len"], (table["flags"] & flag) != 0, where)
    if _is_text(kind):
        try:
            b"\0".join(bound for entry in entries for bound in (entry.min, entry.max) if bound).decode()
        except UnicodeDecodeError as error:
            raise _not_text(error, where) from error
    return entries


def _checked_table(
    data: Bytes, at: int, kind: pa.DataType, record: ColumnRecord, num_rows: int, where: str
) -> tuple[np.ndarray, Int64s]:
    """Zone entries, checked but for their bounds, and the rows of each."""
    width = record.zone_width
    if width not in (0, zone_width(kind)):
        raise Corrupt(f"zones of {width} bytes do not fit the type {kind}", kind="zones", where=where)
    size, view = record.zone_nbytes, memoryview(data)
    entry = np.dtype(
        [
            ("nulls", "<u8"),
            ("nans", "<u8"),
            ("min_len", "<u2"),
            ("max_len", "<u2"),
            ("flags", "u1"),
            ("pad", "V3"),
            ("min", "u1", (width,)),
            ("max", "u1", (width,)),
            ("place", "<u4"),
            ("sum", "<u4"),
        ]
    )
    entries = data.view(entry)
    for index, expected in enumerate(entries["sum"].tolist()):
        if sum32(view[index * size : (index + 1) * size - 4]) != expected:
            raise Corrupt("the checksum of a zone entry does not match", kind="checksum", where=where)
    if entries["place"].tolist() != [place_at(at + index * size) for index in range(len(entries))]:
        raise Corrupt("a zone entry stands in the place of another", kind="place", where=where)
    rows = np.full(len(entries), record.zone_rows, np.int64)
    if len(rows):
        rows[-1] = num_rows - record.zone_rows * (len(rows) - 1)
    nulls, nans = entries["nulls"], entries["nans"]
    if (nulls > rows).any() or (nans > rows).any() or (nulls + nans > rows).any():
        raise Corrupt("a zone entry counts more nulls and NaNs than rows", kind="zones", where=where)
    if nans.any() and not pa.types.is_floating(kind):
        raise Corrupt(f"a zone entry counts NaNs of the type {kind}", kind="zones", where=where)
    return entries, rows


def no_bounds(count: int, kind: pa.DataType) -> pa.Array:
    """Unknown bounds of zones: nulls of the type of bounds. (Those of a column's own type may take 2 GiB each.)"""
    kind = counted_type(kind)
    if pa.types.is_fixed_size_binary(kind):
        return pa.nulls(count, pa.binary())
    return pa.nulls(count, kind if zone_width(kind) else pa.null())


def _checked_lengths(
    kind: pa.DataType, values: np.ndarray, lengths: np.ndarray, known: np.ndarray, where: str
) -> Int64s:
    """The bytes of each bound, 0 where it is unknown. values: uint8[n, width], width not 0. Raises Corrupt."""
    lengths = np.where(known, lengths, 0).astype(np.int64)
    if (lengths > values.shape[1]).any():
        raise Corrupt("a zone entry has an impossible length", kind="zones", where=where)
    exact = 1 if pa.types.is_boolean(kind) else flat_width(kind)
    if not _is_bytes(kind) and (lengths[known] != exact).any():
        raise Corrupt(f"a bound of the type {kind} has another length", kind="zones", where=where)
    if pa.types.is_boolean(kind) and (values[known, 0] > 1).any():
        raise Corrupt("a bound of a boolean is neither 00 nor 01", kind="zones", where=where)
    return lengths


def _bound_array(kind: pa.DataType, values: np.ndarray, lengths: np.ndarray, known: np.ndarray, where: str) -> pa.Array:
    count, width = values.shape
    if width == 0 or count == 0:
        return no_bounds(count, kind)
    lengths = _checked_lengths(kind, values, lengths, known, where)
    if pa.types.is_boolean(kind):
        return pa.array(values[:, 0] != 0, mask=~known)
    if _is_bytes(kind):
        data = np.ascontiguousarray(values)[np.arange(width) < lengths[:, None]]
        offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
        whole = pa.Array.from_buffers(pa.large_binary(), count, [None, pa.py_buffer(offsets), pa.py_buffer(data)])
        bounds = pc.if_else(pa.array(known), whole, pa.scalar(None, pa.large_binary()))
        try:
            return bounds.cast(pa.binary() if pa.types.is_fixed_size_binary(kind) else kind)
        except pa.ArrowInvalid as error:
            raise _not_text(error, where) from error
    bare = flat_array(kind, np.ascontiguousarray(values[:, : flat_width(kind)]).reshape(-1), count)
    return with_validity(bare, np.packbits(known, bitorder="little"))


def _is_bytes(kind: pa.DataType) -> bool:
    """Are its bounds bytes, and not numbers?"""
    return is_variable(kind) or pa.types.is_fixed_size_binary(kind)


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _not_text(error: Exception, where: str) -> Corrupt:
    return Corrupt(f"a bound of a text column is not text: {error}", kind="zones", where=where)


def bounds_array(kind: pa.DataType, values: Sequence[bytes | None]) -> pa.Array:
    """Minima or maxima as an owner of files keeps them, as an array of the type; None = unknown."""
    kind = counted_type(kind)
    width = zone_width(kind)
    known = np.array([value is not None for value in values], bool)
    lengths = np.array([len(value or b"") for value in values], np.int64)
    cells = b"".join((value or b"")[:width].ljust(width, b"\0") for value in values)
    table = np.frombuffer(cells, np.uint8).reshape(len(values), width)
    return _bound_array(kind, table, lengths, known, "the manifest")
