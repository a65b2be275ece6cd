"""What a file records of its columns: read in one round for all that open together, and checked in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from lance_like.errors import Corrupt
from lance_like.file.layout import PAGE_ENTRY, ColumnRecord, EntryLimits, sum32, unpack_entries
from lance_like.file.types import unpack_type
from lance_like.typing_ import Bytes, Int64s, Ranges

# Fences, entries and descriptions up to this size come along, and block checksums up to this size too.
_AT_ONCE = 256 * 1024
_SUMS_AT_ONCE = 32 * 1024
# Entries of columns that have no more together are looked at column by column.
_FEW_PAGES = 16


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a file records of one column, checked; descriptions and block checksums when they are used.

    where: the column, in errors. stored: its type. fences: int64[pages + 1]. shared: the blob that its pages share.
    rest: what came along of the page entries, their descriptions and the block checksums, end to end.
    """

    where: str
    record: ColumnRecord
    stored: pa.DataType
    fences: Int64s
    shared: bytes
    rest: Bytes

    @property
    def entries(self) -> np.ndarray | None:
        """The entries of all pages; None when they did not come along, and then nothing did."""
        end = self.record.descriptions_offset - self.record.entries_offset
        return self.rest[:end].view(PAGE_ENTRY) if len(self.rest) >= end else None

    @property
    def descriptions(self) -> Bytes:
        """The descriptions of all pages, if the entries came along."""
        start, end = self.record.descriptions_offset, self.record.sums_offset
        return self.rest[start - self.record.entries_offset : end - self.record.entries_offset]

    @property
    def sums(self) -> Bytes:
        """The block checksums of all pages; empty when they did not come along."""
        return self.rest[self.record.sums_offset - self.record.entries_offset :]


def plan_metadata(records: Sequence[ColumnRecord]) -> Ranges:
    """The bytes of a file that `unpack_metadata` needs: three ranges a column."""
    bounds: list[int] = []
    for record in records:
        shared, field = record.shared_offset, record.field_offset
        bounds += record.offset, record.offset + _table_nbytes(record)
        bounds += shared, shared + record.shared_nbytes
        bounds += field, field + record.field_nbytes
    ranges = np.array(bounds, np.int64)
    return ranges[0::2], ranges[1::2]


def unpack_metadata(
    places: Sequence[str], records: Sequence[ColumnRecord], num_rows: int, data: Bytes
) -> list[Metadata]:
    """Check and read the metadata of columns. places: the columns, in errors; data: the ranges planned, end to end.

    Raises Corrupt, Unsupported.
    """
    found: list[Metadata] = []
    known: dict[bytes, Int64s] = {}
    end = 0
    for where, record in zip(places, records, strict=True):
        start, middle = end, end + _table_nbytes(record)
        end = middle + record.shared_nbytes + record.field_nbytes
        shared = data[middle : end - record.field_nbytes].tobytes()
        if sum32(shared) != record.shared_sum:
            raise Corrupt("the checksum of the shared blob does not match", kind="checksum", where=where)
        stored = unpack_type(data[end - record.field_nbytes : end].tobytes(), record.field_sum, where)
        rest = start + record.entries_offset - record.offset
        fences = unpack_fences(data[start:rest].tobytes(), record, num_rows, known, where)
        found.append(Metadata(where, record, stored, fences, shared, data[rest:middle]))
    _check_entries([metadata for metadata in found if metadata.entries is not None])
    return found


def unpack_fences(raw: bytes, record: ColumnRecord, num_rows: int, known: dict[bytes, Int64s], where: str) -> Int64s:
    """Fences from their bytes; columns that have the same ones share an array. known: those met so far."""
    if sum32(raw) != record.fences_sum:
        raise Corrupt("the checksum of the fences does not match", kind="checksum", where=where)
    fences = known.get(raw)
    if fences is None:
        fences = np.frombuffer(raw, "<u8").astype(np.int64)
        if fences[0] != 0 or fences[-1] != num_rows or (fences[1:] <= fences[:-1]).any():
            raise Corrupt("the fences do not ascend to the row count", kind="fences", where=where)
        known[raw] = fences
    return fences


def check_against_fences(entries: np.ndarray, starts: Int64s, ends: Int64s, where: str) -> None:
    """Raise Corrupt unless page entries say the rows that the fences do: int64[n], of each page."""
    if (entries["first_row"] != starts).any() or (starts + entries["num_rows"] != ends).any():
        raise Corrupt("page entries and fences disagree", kind="page", where=where)


def _table_nbytes(record: ColumnRecord) -> int:
    """How much of a column's metadata comes along, from the fences on."""
    nbytes = record.sums_offset - record.offset
    if nbytes > _AT_ONCE:
        return record.entries_offset - record.offset
    sums_nbytes = 4 * record.num_blocks
    return nbytes + sums_nbytes if sums_nbytes <= _SUMS_AT_ONCE else nbytes


def _check_entries(columns: Sequence[Metadata]) -> None:
    """Check the page entries of columns in one pass; if some are wrong, column by column, to name the column."""
    if not columns:
        return
    records = [metadata.record for metadata in columns]
    at = [r.entries_offset + PAGE_ENTRY.itemsize * np.arange(r.num_pages) for r in records]
    raw = [metadata.rest[: r.num_pages * PAGE_ENTRY.itemsize] for metadata, r in zip(columns, records, strict=True)]
    if len(columns) == 1 or sum(record.num_pages for record in records) <= _FEW_PAGES:
        for metadata, some, places in zip(columns, raw, at, strict=True):
            entries = unpack_entries(some, places, metadata.record.limits, metadata.where)
            check_against_fences(entries, metadata.fences[:-1], metadata.fences[1:], metadata.where)
        return
    limits = np.array([(r.offset, r.descriptions_nbytes, r.num_blocks) for r in records], np.uint64)
    limits = EntryLimits(*limits.repeat([record.num_pages for record in records], axis=0).T)
    try:
        entries = unpack_entries(np.concatenate(raw), np.concatenate(at), limits, columns[0].where)
        starts = np.concatenate([metadata.fences[:-1] for metadata in columns])
        ends = np.concatenate([metadata.fences[1:] for metadata in columns])
        check_against_fences(entries, starts, ends, columns[0].where)
    except Corrupt:
        for metadata in columns:
            _check_entries([metadata])
        raise


__all__ = ["Metadata", "check_against_fences", "plan_metadata", "unpack_fences", "unpack_metadata"]
