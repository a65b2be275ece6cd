"""Columns of a file as they are stored, for their pages to be moved into another file without decoding them
(format_spec/file.md, "Moving pages").

Block checksums and row counts come along as they are. New are the places of all things, the ranges of the shared blob
that descriptions name, and the zones (`lance_like.file.moved_zones`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from lance_like.encodings.registry import check_blob_ranges, with_blob_moved
from lance_like.errors import Corrupt
from lance_like.file.blocks import sums_as_they_come
from lance_like.file.columns import Column
from lance_like.file.encode import EncodedPage, compact_json
from lance_like.file.extents import Extent
from lance_like.file.layout import PAGE_ENTRY, ZONE_ROWS, ColumnRecord, parse_json, sum32, sums_at, unpack_entries
from lance_like.file.opening import check_against_fences, unpack_fences
from lance_like.file.pages import parse_description
from lance_like.file.stats import ZoneEntry, unpack_zone_entries, zone_width
from lance_like.file.types import unpack_field
from lance_like.typing_ import Bytes, Conversation, Int64s

# What is read and written of a page at a time: it may be a cell of many gigabytes. Whole blocks of every size.
_PIECE_NBYTES = 16 << 20


class Piece(NamedTuple):
    """Some bytes of a page. where: its column, in errors. start, end: in the file. sums: uint32, one a block."""

    where: str
    start: int
    end: int
    block_log2: int
    sums: np.ndarray


@dataclass(frozen=True)
class StoredColumn:
    """The metadata of a column, all of it checked.

    number: of the column in its file. where: the column, in errors. column: as the file records it.
    entries: PAGE_ENTRY[pages]. descriptions: JSON, one a page. sums: uint32, of all blocks. shared: the blob of its
    pages. zones: the statistics.
    """

    number: int
    where: str
    column: Column
    record: ColumnRecord
    num_rows: int
    entries: np.ndarray
    descriptions: list[bytes]
    sums: np.ndarray
    shared: bytes
    zones: list[ZoneEntry]

    @cached_property
    def nbytes(self) -> int:
        """The bytes of its pages."""
        return int(self.entries["nbytes"].sum())

    @cached_property
    def zone_rows(self) -> Int64s:
        """The rows of each zone."""
        starts = self.record.zone_rows * np.arange(len(self.zones))
        return np.minimum(self.num_rows - starts, self.record.zone_rows)

    @property
    def has_usual_zones(self) -> bool:
        """Whether zones of another file can be made of its own: of the usual rows, with bounds where it has values."""
        width = zone_width(self.column.type)
        if (self.record.zone_rows, self.record.zone_width) != (ZONE_ROWS, width):
            return False
        return not width or all(
            zone.min is not None or zone.null_count + zone.nan_count == rows
            for zone, rows in zip(self.zones, self.zone_rows.tolist(), strict=True)
        )

    def pages(self, blob_start: int) -> Iterator[EncodedPage]:
        """The pages without their bytes and extents. blob_start: where their blob begins in that of the new column."""
        for entry, text in zip(self.entries, self.descriptions, strict=True):
            first, count = int(entry["first_block"]), int(entry["num_blocks"])
            if blob_start:
                text = compact_json(with_blob_moved(parse_json(text, self.where), blob_start))
            sums = self.sums[first : first + count]
            yield EncodedPage(
                int(entry["num_rows"]), text, [], int(entry["nbytes"]), int(entry["block_log2"]), sums, []
            )

    def pieces(self) -> Iterator[Piece]:
        """The bytes of the pages, in order; those of each page end where it does."""
        for entry in self.entries:
            offset, nbytes, log2 = int(entry["offset"]), int(entry["nbytes"]), int(entry["block_log2"])
            for low in range(0, nbytes, _PIECE_NBYTES):
                high = min(low + _PIECE_NBYTES, nbytes)
                first = int(entry["first_block"])
                sums = self.sums[first + (low >> log2) : first + (high - 1 >> log2) + 1]
                yield Piece(self.where, offset + low, offset + high, log2, sums)


class MovedPages(NamedTuple):
    """All pages of a column of another file, as the next rows of a column. extents: of these rows, zone by zone.

    chunks: the bytes of the pages, checked; each chunk lies in one page. Only those of its own pages are taken.
    """

    column: int
    stored: StoredColumn
    extents: Sequence[Extent]
    chunks: Iterator[Bytes]


def unpack_stored(number: int, where: str, record: ColumnRecord, num_rows: int, data: Bytes) -> StoredColumn:
    """Check and read the metadata of a column. data: all of it, from the fences to the field.

    Raises Corrupt, Unsupported.
    """

    def part(start: int, end: int) -> Bytes:
        return data[start - record.offset : end - record.offset]

    fences = unpack_fences(part(record.offset, record.entries_offset).tobytes(), record, num_rows, {}, where)
    at = record.entries_offset + PAGE_ENTRY.itemsize * np.arange(record.num_pages)
    raw = part(record.entries_offset, record.descriptions_offset)
    entries = unpack_entries(raw, at, record.limits, where)
    check_against_fences(entries, fences[:-1], fences[1:], where)
    shared = part(record.shared_offset, record.zones_offset).tobytes()
    if sum32(shared) != record.shared_sum:
        raise Corrupt("the checksum of the shared blob does not match", kind="checksum", where=where)
    texts = part(record.descriptions_offset, record.sums_offset)
    zones = part(record.zones_offset, record.zones_offset + record.zone_nbytes * record.num_zones)
    field = unpack_field(part(record.field_offset, record.end), record, where)
    return StoredColumn(
        number,
        where,
        Column(field.name, field.type, field.nullable, field.metadata, record.parent),
        record,
        num_rows,
        entries,
        list(_descriptions(texts, entries, len(shared), where)),
        _block_sums(part(record.sums_offset, record.shared_offset), entries, where),
        shared,
        unpack_zone_entries(zones, record.zones_offset, field.type, record, num_rows, where),
    )


def _descriptions(texts: Bytes, entries: np.ndarray, blob_nbytes: int, where: str) -> Iterator[bytes]:
    for page, entry in enumerate(entries):
        start = int(entry["description_offset"])
        text = texts[start : start + int(entry["description_nbytes"])].tobytes()
        stated = int(entry["description_sum"]), int(entry["nbytes"]), int(entry["num_rows"])
        node = parse_description(text, *stated, f"{where}, page {page}")
        # In a longer blob, a range past the end of this one would be bytes of another.
        check_blob_ranges(node, blob_nbytes)
        yield text


def _block_sums(data: Bytes, entries: np.ndarray, where: str) -> np.ndarray:
    starts, lengths = 4 * entries["first_block"].astype(np.int64), 4 * entries["num_blocks"].astype(np.int64)
    if (sums_at(data, starts, lengths) != entries["blocks_sum"]).any():
        raise Corrupt("the checksum of the block checksums of a page does not match", kind="checksum", where=where)
    return np.frombuffer(data.tobytes(), "<u4")


def read_pieces(pieces: Sequence[Piece]) -> Conversation[list[Bytes]]:
    """Bytes of pages of one file, every block of them checked. Raises Corrupt. Cost: 1 round."""
    asks = [(np.array([piece.start]), np.array([piece.end])) for piece in pieces]
    found = yield asks
    for piece, data in zip(pieces, found, strict=True):
        starts = np.arange(0, len(data), 1 << piece.block_log2)
        lengths = np.minimum(len(data) - starts, 1 << piece.block_log2)
        right = np.concatenate(list(sums_as_they_come(data, starts, lengths))) == piece.sums
        if not right.all():
            wrong = int(right.argmin())
            raise Corrupt(
                f"the checksum of the block of {lengths[wrong]:,} bytes does not match",
                kind="checksum",
                where=f"{piece.where}, byte {piece.start + starts[wrong]:,}",
                hint="the file is damaged; restore it from a copy",
            )
    return found


__all__ = ["MovedPages", "Piece", "StoredColumn", "read_pieces", "unpack_stored"]
