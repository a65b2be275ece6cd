"""From batches to one data file (format_spec/file.md). Pure: the file comes out as chunks, a store writes them.

Memory: the pending rows of all columns together stay under a budget; what a page holds is encoded when the
page is cut and leaves as chunks at once. Only page headers, entries and zones stay until the end.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa

from lance_like.encodings.base import ALIGNMENT, Hints, lay_out
from lance_like.encodings.physical import flat_width, is_variable, offsets_of
from lance_like.encodings.registry import encode_array
from lance_like.file.columns import Column, flatten, split
from lance_like.file.layout import (
    PAGE_ENTRY,
    TAIL_NBYTES,
    ZONE_ROWS,
    ColumnRecord,
    Tail,
    block_sums,
    pack_entries,
    pack_head,
    pack_header,
    sum32,
    sum64,
)
from lance_like.file.stats import ZoneBuilder, ZoneEntry
from lance_like.file.types import metadata_to_json, type_to_json
from lance_like.typing_ import Bytes
from lance_like.version import __version__

Chunk = TypeVar("Chunk", bytes, Bytes)

PAGE_NBYTES = 8 << 20
PAGE_ROWS = 1 << 20
# Pending rows of all columns together; past it the fullest columns cut their pages early.
PENDING_NBYTES = 128 << 20
# 4 KiB: the unit of the page cache, so a cold take reads what it verifies and no more. Pages of large cells
# take 64 KiB, which keeps their checksums 16 times smaller (format_spec/decisions/0001-checksums.md).
_BLOCK_LOG2 = 12
_LARGE_BLOCK_LOG2 = 16
_LARGE_PAGE_NBYTES = 32 << 20
# Pages at least this large begin on a block of the page cache.
_ALIGN_TO_BLOCK_FROM = 16 * 1024


@dataclass(frozen=True, slots=True)
class FileSummary:
    """What the owner of a written file records of it.

    tail: the XXH3-64 of its last 64 bytes, its identity. stats: one entry a column, in column order.
    """

    nbytes: int
    rows: int
    tail: int
    columns: int
    stats: tuple[ZoneEntry, ...]


class _ColumnWriter:
    """The pending rows and the finished pages' metadata of one column."""

    def __init__(self, column: Column) -> None:
        self.column = column
        self.hints = Hints()
        self.zones = ZoneBuilder(column.type)
        self.entries: list[tuple[int, ...]] = []
        self.headers: list[bytes] = []
        self.headers_nbytes = 0
        self.rows_written = 0
        self.pending: list[pa.Array] = []
        self.pending_nbytes = 0
        self.pending_rows = 0

    def add(self, array: pa.Array) -> None:
        self.pending.append(array)
        self.pending_nbytes += _rows_nbytes(array)
        self.pending_rows += len(array)

    def full_pages(self) -> list[pa.Array]:
        """Take out the pending rows that fill whole pages; the rest stays."""
        if self.pending_nbytes < PAGE_NBYTES and self.pending_rows < PAGE_ROWS:
            return []
        pieces = self.rest()
        last = pieces[-1]
        if _rows_nbytes(last) < PAGE_NBYTES // 2 and len(last) < PAGE_ROWS // 2:
            # A copy: the slice would hold on to the whole input.
            self.add(pa.concat_arrays([pieces.pop()]))
        return pieces

    def rest(self) -> list[pa.Array]:
        """Take out all pending rows as pages."""
        arrays = [array for array in self.pending if len(array)]
        self.pending, self.pending_nbytes, self.pending_rows = [], 0, 0
        if len(arrays) > 1:
            # Dictionaries that together have more values than the index type can number stay apart.
            with suppress(pa.ArrowInvalid):
                arrays = [pa.concat_arrays(arrays)]
        return [page for array in arrays for page in cut_pages(array)]


def cut_pages(array: pa.Array) -> list[pa.Array]:
    """Cut an array into pages of about PAGE_NBYTES, at least one row each and at most PAGE_ROWS.

    Cuts of fixed-width columns fall on whole zones where a page holds several.
    """
    n = len(array)
    width = flat_width(array.type)
    if width is not None or pa.types.is_boolean(array.type) or pa.types.is_null(array.type):
        rows = min(PAGE_ROWS, max(1, PAGE_NBYTES // max(1, width or 1)))
        rows = rows - rows % ZONE_ROWS or rows
        return [array.slice(start, rows) for start in range(0, n, rows)]
    if is_variable(array.type):
        return _cut_by_offsets(array)
    if n > 1 and (_rows_nbytes(array) > PAGE_NBYTES * 3 // 2 or n > PAGE_ROWS):
        half = n // 2
        return cut_pages(array.slice(0, half)) + cut_pages(array.slice(half))
    return [array]


def _rows_nbytes(array: pa.Array) -> int:
    """The bytes of an array that cutting it divides: a dictionary stays whole in every page."""
    inner = array
    while pa.types.is_nested(inner.type) and hasattr(inner, "values"):
        inner = inner.values
    return array.nbytes - (inner.dictionary.nbytes if pa.types.is_dictionary(inner.type) else 0)


def _cut_by_offsets(array: pa.Array) -> list[pa.Array]:
    offsets = offsets_of(array)
    pieces, start, n = [], 0, len(array)
    while start < n:
        end = int(np.searchsorted(offsets, offsets[start] + PAGE_NBYTES, side="right")) - 1
        end = min(max(end, start + 1), start + PAGE_ROWS, n)
        pieces.append(array.slice(start, end - start))
        start = end
    return pieces


class FileWriter:
    """Writes one file: pass batches through `chunks`, hand those to a store, then read `summary`.

    schema: of the batches. Raises Unsupported at once for a type that cannot be stored.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self._columns = [_ColumnWriter(column) for column in flatten(schema)]
        self._fields = [_field_json(column.column) for column in self._columns]
        self._cursor = 0
        self._rows = 0
        self._tail: bytes | None = None
        self._stats: list[ZoneEntry] = []

    @property
    def rows(self) -> int:
        """Rows accepted so far."""
        return self._rows

    @property
    def nbytes(self) -> int:
        """Bytes of the file so far, pending rows counted at their size in memory."""
        return self._cursor + sum(column.pending_nbytes for column in self._columns)

    @property
    def summary(self) -> FileSummary:
        """What the owner records, once `chunks` has ended."""
        assert self._tail is not None, "the file is not finished"
        return FileSummary(self._cursor, self._rows, sum64(self._tail), len(self._columns), tuple(self._stats))

    def chunks(self, batches: Iterable[pa.RecordBatch]) -> Iterator[bytes | Bytes]:
        """The bytes of the file, in order, while the batches come in. All batches have the schema."""
        yield self._counted(pack_head())
        for batch in batches:
            self._rows += len(batch)
            for column, array in zip(self._columns, split(batch.columns), strict=True):
                column.add(array)
                for page in column.full_pages():
                    yield from self._page(column, page)
            yield from self._relieve()
        for column in self._columns:
            for page in column.rest():
                yield from self._page(column, page)
        yield from self._metadata()

    def _relieve(self) -> Iterator[bytes | Bytes]:
        """Cut pages of the fullest columns until the pending rows fit half the budget."""
        pending = sum(column.pending_nbytes for column in self._columns)
        if pending <= PENDING_NBYTES:
            return
        for column in sorted(self._columns, key=lambda column: -column.pending_nbytes):
            pending -= column.pending_nbytes
            for page in column.rest():
                yield from self._page(column, page)
            if pending <= PENDING_NBYTES // 2:
                break

    def _page(self, column: _ColumnWriter, array: pa.Array) -> Iterator[bytes | Bytes]:
        column.zones.add(column.zones.extents(array, column.rows_written))
        description, parts, nbytes = lay_out(encode_array(array, column.hints))
        page = parts[0] if len(parts) == 1 else np.concatenate([*parts, np.empty(0, np.uint8)])
        log2 = _LARGE_BLOCK_LOG2 if nbytes > _LARGE_PAGE_NBYTES else _BLOCK_LOG2
        yield self._pad(1 << _BLOCK_LOG2 if nbytes >= _ALIGN_TO_BLOCK_FROM else ALIGNMENT)
        sums = block_sums(page, log2)
        header = pack_header(_json(description), sums)
        entry = (self._cursor, nbytes, column.rows_written, column.headers_nbytes, sum64(header))
        column.entries.append((*entry, len(header), len(array), len(sums), log2, 0, 0))
        column.headers.append(header)
        column.headers_nbytes += len(header)
        column.rows_written += len(array)
        yield self._counted(page)

    def _metadata(self) -> Iterator[bytes | Bytes]:
        records = []
        for column, field in zip(self._columns, self._fields, strict=True):
            yield self._pad(ALIGNMENT)
            record, parts = self._column_metadata(column, field)
            records.append(record.pack())
            for part in parts:
                yield self._counted(part)
        yield self._pad(ALIGNMENT)
        directory_offset = self._cursor
        metadata = _json({"metadata": metadata_to_json(self.schema.metadata or {}), "writer": __version__})
        tail = Tail(directory_offset, self._rows, len(records), len(metadata), sum32(metadata), uuid.uuid4().bytes)
        self._tail = tail.pack()
        yield self._counted(b"".join([*records, metadata, self._tail]))
        assert self._cursor == tail.metadata_offset + len(metadata) + TAIL_NBYTES

    def _column_metadata(self, column: _ColumnWriter, field: bytes) -> tuple[ColumnRecord, list[bytes]]:
        entries = np.array(column.entries, PAGE_ENTRY)
        fences = np.append(entries["first_row"], np.uint64(column.rows_written)).astype("<u8").tobytes()
        zones, total = column.zones.finish()
        self._stats.append(total)
        record = ColumnRecord(
            num_rows=column.rows_written,
            offset=self._cursor,
            headers_nbytes=column.headers_nbytes,
            num_pages=len(entries),
            num_zones=len(zones),
            field_nbytes=len(field),
            parent=column.column.parent,
            zone_width=column.zones.width,
            zone_rows=ZONE_ROWS,
            fences_sum=sum32(fences),
            field_sum=sum32(field),
        )
        packed = [zone.pack(column.zones.width) for zone in (*zones, total)]
        return record, [fences, pack_entries(entries), *column.headers, *packed, field]

    def _pad(self, alignment: int) -> bytes:
        return self._counted(bytes(-self._cursor % alignment))

    def _counted(self, data: Chunk) -> Chunk:
        self._cursor += len(data)
        return data


def _field_json(column: Column) -> bytes:
    body = {"name": column.name, "type": type_to_json(column.type), "nullable": column.nullable}
    if column.metadata:
        body["metadata"] = metadata_to_json(column.metadata)
    return _json(body)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
