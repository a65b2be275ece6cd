"""The fixed parts of a data file (format_spec/file.md). Pure: bytes in, values out.

    head 64 | pages … | column metadata … | directory (64 a column) | file metadata JSON | tail 64

    column metadata: fences u64 x (pages + 1) | page entries 64 x pages | descriptions JSON | block checksums u32
                     | shared blob | zone entries | field JSON

All integers little-endian. A record ends in the low 32 bits of the XXH3-64 of the bytes before.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xxhash

from lance_like.errors import Corrupt, Unsupported
from lance_like.typing_ import Bytes, Int64s, Json
from lance_like.version import FORMAT_VERSION

MAGIC = b"LNLK"
HEAD_NBYTES = 64
TAIL_NBYTES = 64
RECORD_NBYTES = 64
CHECKSUM_XXH3 = 1
READER_FEATURES = 0
# What the first request of a reader fetches: the tail, the file metadata and the directory of about 60 columns.
FIRST_READ_NBYTES = 4096
MAX_COLUMNS = 1_000_000
ZONE_ROWS = 8192
_MAX_OFFSET = 1 << 53
LOW_32 = 0xFFFFFFFF
_MIN_BLOCK_LOG2, _MAX_BLOCK_LOG2 = 6, 24
# Page entries that are looked at one by one.
_FEW_ENTRIES = 8

_HEAD = struct.Struct("<4sI56x")
_TAIL = struct.Struct("<QQIIII16sII")
_ENTRY = struct.Struct("<QQQIIIIIIIII")
_COLUMN = struct.Struct("<QIIIIIIiIHHIIII")

# The same record, as far as a whole directory is looked at in one go.
DIRECTORY = np.dtype(
    {
        "names": [
            *("offset", "num_pages", "descriptions_nbytes", "num_blocks", "shared_nbytes", "num_zones"),
            *("field_nbytes", "parent", "zone_width", "field_sum", "place", "sum"),
        ],
        "formats": ["<u8", *["<u4"] * 6, "<i4", "<u2", *["<u4"] * 3],
        "offsets": [0, 8, 12, 16, 20, 24, 28, 32, 40, 52, 56, 60],
        "itemsize": 64,
    }
)

PAGE_ENTRY = np.dtype(
    [
        ("offset", "<u8"),
        ("nbytes", "<u8"),
        ("first_row", "<u8"),
        ("description_offset", "<u4"),
        ("description_nbytes", "<u4"),
        ("description_sum", "<u4"),
        ("first_block", "<u4"),
        ("num_blocks", "<u4"),
        ("blocks_sum", "<u4"),
        ("num_rows", "<u4"),
        ("block_log2", "<u4"),
        ("place", "<u4"),
        ("sum", "<u4"),
    ]
)
# Of what a column's metadata has of each page: a fence and an entry.
_PAGE_NBYTES = 8 + PAGE_ENTRY.itemsize


def sum32(data: bytes | memoryview | Bytes) -> int:
    """The low 32 bits of the XXH3-64 of some bytes."""
    return xxhash.xxh3_64_intdigest(data) & LOW_32


def sum64(data: bytes | memoryview | Bytes) -> int:
    """The XXH3-64 of some bytes."""
    return xxhash.xxh3_64_intdigest(data)


def parse_json(data: bytes, where: str) -> Json:
    """Bytes of UTF-8 JSON as Python values; the only way in for all metadata (format_spec/README.md, "Words").

    Raises Corrupt, also for NaN, Infinity, and a member that stands twice in one object.
    """
    try:
        return _DECODER.decode(data.decode())
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"metadata is not JSON: {error}", kind="json", where=where) from error


def _members(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the member {twice!r} stands twice in one object")
    return found


def _refuse_constant(name: str) -> Json:
    raise ValueError(f"{name} is not a number of JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_members)


def pack_head() -> bytes:
    """The first 64 bytes: they name the kind of file and are never needed to read it."""
    return _HEAD.pack(MAGIC, FORMAT_VERSION)


@dataclass(frozen=True, slots=True)
class Tail:
    """The last 64 bytes: where the directory is. uuid: 16 random bytes, different in every file."""

    directory_offset: int
    num_rows: int
    num_columns: int
    metadata_nbytes: int
    metadata_sum: int
    uuid: bytes

    def pack(self) -> bytes:
        body = _TAIL.pack(
            self.directory_offset,
            self.num_rows,
            self.num_columns,
            self.metadata_nbytes,
            self.metadata_sum,
            CHECKSUM_XXH3,
            self.uuid,
            FORMAT_VERSION,
            READER_FEATURES,
        )
        return body + struct.pack("<I", sum32(body)) + MAGIC

    @property
    def metadata_offset(self) -> int:
        return self.directory_offset + RECORD_NBYTES * self.num_columns


def unpack_tail(data: bytes, nbytes: int, where: str) -> Tail:
    """Check and read the last 64 bytes of a file of nbytes.

    Raises Corrupt, or Unsupported for another format version or checksum.
    """
    if len(data) != TAIL_NBYTES or data[-4:] != MAGIC:
        raise Corrupt(
            f"the file does not end in {MAGIC!r}: it is truncated or not a data file",
            kind="magic",
            where=where,
        )
    if sum32(data[:56]) != int.from_bytes(data[56:60], "little"):
        raise Corrupt("the checksum of the tail does not match", kind="checksum", where=where)
    fields = _TAIL.unpack_from(data)
    directory, rows, columns, metadata_nbytes, metadata_sum, checksum, uuid, version, features = fields
    if version != FORMAT_VERSION or checksum != CHECKSUM_XXH3:
        raise Unsupported(
            f"format version {version} with checksum {checksum} found; this package reads version"
            f" {FORMAT_VERSION} with checksum {CHECKSUM_XXH3}",
            kind="format-version",
            where=where,
            hint="read it with the release that wrote it, or update lance_like",
        )
    if features & ~READER_FEATURES:
        raise Unsupported(
            f"the file needs the reader features {features & ~READER_FEATURES:#x}, which this package does not know",
            kind="feature",
            where=where,
            hint="update lance_like",
        )
    tail = Tail(directory, rows, columns, metadata_nbytes, metadata_sum, uuid)
    fills = tail.metadata_offset + metadata_nbytes + TAIL_NBYTES == nbytes
    if directory < HEAD_NBYTES or rows >= _MAX_OFFSET or not fills:
        raise Corrupt(
            f"{columns:,} columns from byte {directory:,} do not fill the file of {nbytes:,} bytes",
            kind="length",
            where=where,
        )
    if columns > MAX_COLUMNS:
        raise Corrupt(f"{columns:,} columns, over the limit of {MAX_COLUMNS:,}", kind="limit", where=where)
    return tail


# Not a dataclass: a frozen one takes three times as long to make.
class ColumnRecord(NamedTuple):
    """Where one column's metadata is.

    offset: of its metadata in the file. parent: position of its parent column, -1 at the top.
    zone_width: bytes of a minimum or maximum, 0 when the type has none.
    """

    offset: int
    num_pages: int
    descriptions_nbytes: int
    num_blocks: int
    shared_nbytes: int
    num_zones: int
    field_nbytes: int
    parent: int
    zone_rows: int
    zone_width: int
    fences_sum: int
    shared_sum: int
    field_sum: int

    def pack(self, at: int) -> bytes:
        """The record that stands at byte `at` of its file."""
        body = _COLUMN.pack(
            self.offset,
            self.num_pages,
            self.descriptions_nbytes,
            self.num_blocks,
            self.shared_nbytes,
            self.num_zones,
            self.field_nbytes,
            self.parent,
            self.zone_rows,
            self.zone_width,
            0,
            self.fences_sum,
            self.shared_sum,
            self.field_sum,
            place_at(at),
        )
        return body + struct.pack("<I", sum32(body))

    @property
    def limits(self) -> EntryLimits:
        return EntryLimits(self.offset, self.descriptions_nbytes, self.num_blocks)

    @property
    def entries_offset(self) -> int:
        return self.offset + 8 * (self.num_pages + 1)

    @property
    def descriptions_offset(self) -> int:
        return self.offset + 8 + _PAGE_NBYTES * self.num_pages

    @property
    def sums_offset(self) -> int:
        return self.offset + 8 + _PAGE_NBYTES * self.num_pages + self.descriptions_nbytes

    @property
    def shared_offset(self) -> int:
        return self.sums_offset + 4 * self.num_blocks

    @property
    def zones_offset(self) -> int:
        return self.shared_offset + self.shared_nbytes

    @property
    def zone_nbytes(self) -> int:
        return 32 + 2 * self.zone_width

    @property
    def field_offset(self) -> int:
        """Behind the zones and the one entry that sums up the whole column."""
        return self.zones_offset + self.zone_nbytes * (self.num_zones + 1)

    @property
    def end(self) -> int:
        return self.field_offset + self.field_nbytes


def place_at(offset: int) -> int:
    """What a record states of its own place in the file: nothing that was written elsewhere is taken for it."""
    return offset & LOW_32


def unpack_column(data: bytes, tail: Tail, column: int, where: str) -> ColumnRecord:
    """Check and read one record of the directory. Raises Corrupt."""
    place = f"{where}, column {column}"
    if sum32(data[:60]) != int.from_bytes(data[60:64], "little"):
        raise Corrupt(
            "the checksum of a directory record does not match",
            kind="checksum",
            where=place,
        )
    fields = _COLUMN.unpack_from(data)
    if fields[-1] != place_at(tail.directory_offset + RECORD_NBYTES * column):
        raise Corrupt("a directory record stands in the place of another", kind="place", where=place)
    record = ColumnRecord(*fields[:10], *fields[11:-1])
    valid = (
        record.offset >= HEAD_NBYTES
        and record.end <= tail.directory_offset
        and -1 <= record.parent < column
        and record.zone_width in (0, 8, 16, 32)
        and record.zone_rows > 0
        and record.num_zones == -(-tail.num_rows // record.zone_rows)
        and (record.num_pages > 0) == (tail.num_rows > 0)
    )
    if not valid:
        raise Corrupt(f"a directory record is impossible: {record}", kind="directory", where=place)
    return record


def pack_entries(entries: Iterable[tuple[int, ...]], at: int) -> bytes:
    """Page entries as bytes, each with its checksum.

    entries: the fields of PAGE_ENTRY up to block_log2. at: where in the file the first one stands.
    """
    packed: list[bytes] = []
    for index, fields in enumerate(entries):
        body = _ENTRY.pack(*fields, place_at(at + RECORD_NBYTES * index))
        packed += (body, sum32(body).to_bytes(4, "little"))
    return b"".join(packed)


@dataclass(frozen=True, slots=True)
class EntryLimits:
    """What page entries must stay within: of their column, or uint64[n] of the column of each entry.

    offset: of the column's metadata, behind the pages; descriptions_nbytes, num_blocks: what the column has of them.
    """

    offset: int | npt.NDArray[np.uint64]
    descriptions_nbytes: int | npt.NDArray[np.uint64]
    num_blocks: int | npt.NDArray[np.uint64]


def unpack_entries(data: Bytes, at: Int64s, limits: EntryLimits, where: str) -> np.ndarray:
    """Check and read some page entries. at: int64[n], where in the file each one stands. Raises Corrupt."""
    entries = data.view(PAGE_ENTRY)
    if len(entries) <= _FEW_ENTRIES and isinstance(limits.offset, int):
        for start, place in zip(range(0, len(data), RECORD_NBYTES), at.tolist(), strict=True):
            _check_entry(data[start : start + RECORD_NBYTES].tobytes(), place, limits, where)
        return entries
    view, digest = memoryview(data), xxhash.xxh3_64_intdigest
    sums = [digest(view[start : start + RECORD_NBYTES - 4]) & LOW_32 for start in range(0, len(data), RECORD_NBYTES)]
    if sums != entries["sum"].tolist():
        raise Corrupt("the checksum of a page entry does not match", kind="checksum", where=where)
    offset, nbytes, _ = data.view("<u8").reshape(-1, 8).T[:3]
    if (entries["place"] != at & LOW_32).any():
        raise Corrupt("a page entry stands in the place of another", kind="place", where=where)
    words = data.view("<u4").reshape(-1, 16).astype(np.uint64).T
    description, description_nbytes, _, first_block, num_blocks, _, num_rows, log2 = words[6:14]
    shift = np.minimum(log2, _MAX_BLOCK_LOG2)
    wrong = (
        ((offset | nbytes) >= _MAX_OFFSET)
        | (offset < HEAD_NBYTES)
        | (offset + nbytes > limits.offset)
        | (description + description_nbytes > limits.descriptions_nbytes)
        | (first_block + num_blocks > limits.num_blocks)
        | (shift != log2)
        | (log2 < _MIN_BLOCK_LOG2)
        | (num_rows == 0)
        | (num_blocks << shift < nbytes)
        | ((num_blocks << shift) - nbytes >> shift != 0)
    )
    if wrong.any():
        raise Corrupt("a page entry is impossible", kind="page", where=where)
    return entries


def _check_entry(data: bytes, at: int, limits: EntryLimits, where: str) -> None:
    """As `unpack_entries`, of one: a few are checked in a fraction of the time that kernels take to start."""
    if sum32(data[:-4]) != int.from_bytes(data[-4:], "little"):
        raise Corrupt("the checksum of a page entry does not match", kind="checksum", where=where)
    offset, nbytes, _, *numbers, place = _ENTRY.unpack_from(data)
    if place != place_at(at):
        raise Corrupt("a page entry stands in the place of another", kind="place", where=where)
    description, description_nbytes, _, first_block, num_blocks, _, num_rows, log2 = numbers
    possible = (
        (offset | nbytes) < _MAX_OFFSET
        and offset >= HEAD_NBYTES
        and offset + nbytes <= limits.offset
        and description + description_nbytes <= limits.descriptions_nbytes
        and first_block + num_blocks <= limits.num_blocks
        and _MIN_BLOCK_LOG2 <= log2 <= _MAX_BLOCK_LOG2
        and num_rows > 0
        and num_blocks == -(-nbytes >> log2)
    )
    if not possible:
        raise Corrupt("a page entry is impossible", kind="page", where=where)


def sums_at(data: Bytes, starts: Int64s, lengths: Int64s) -> np.ndarray:
    """uint32 checksums of pieces of data."""
    view, digest = memoryview(data), xxhash.xxh3_64_intdigest
    ends = (starts + lengths).tolist()
    sums = [digest(view[start:end]) for start, end in zip(starts.tolist(), ends, strict=True)]
    return np.array(sums, np.uint64).astype("<u4")
