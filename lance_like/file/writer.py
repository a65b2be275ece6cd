"""From batches to one data file (format_spec/file.md). Pure: the file comes out as chunks, a store writes them.

1. Rows wait until they fill a page of their column (`lance_like.file.cut`).
2. Threads encode pages, several at a time (`lance_like.file.encode`); with one processor, or for small pages, none is
   started.
3. Pages get their place in the order in which they were cut, so the bytes do not depend on the threads.

Memory: the rows that wait, PENDING_NBYTES of all columns together; what they hold of the caller's batches, as much
again; and for each thread, with two more that wait, a page, its encoded form and what encoding it takes, about five
pages. A cell that is larger than a page counts as one. Descriptions, checksums, entries and zones
stay until the end.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np
import pyarrow as pa

from lance_like.encodings.base import ALIGNMENT, Hints, Shared
from lance_like.encodings.choice import Choice
from lance_like.file.alike import encode_pages
from lance_like.file.carry import short_runs
from lance_like.file.choices import choices_of
from lance_like.file.columns import Column, flatten, split
from lance_like.file.cut import PAGE_NBYTES, PendingRows, Pieces
from lance_like.file.encode import BLOCK_LOG2, CutPage, EncodedPage, compact_json
from lance_like.file.layout import (
    RECORD_NBYTES,
    TAIL_NBYTES,
    ZONE_ROWS,
    ColumnRecord,
    Tail,
    pack_entries,
    pack_head,
    sum32,
    sum64,
)
from lance_like.file.ordered import OrderedWork
from lance_like.file.stats import ZoneBuilder, ZoneEntry
from lance_like.file.stored import MovedPages
from lance_like.file.streamed import Contents, StreamedPage
from lance_like.file.types import Metadata, metadata_to_json, stated_type
from lance_like.typing_ import Bytes, Json
from lance_like.version import __version__

Chunk = TypeVar("Chunk", bytes, Bytes)

# Pending rows of all columns together; past it the fullest columns cut their pages early.
PENDING_NBYTES = 128 << 20
# Waiting rows are copied after this much input: until then they keep the batches they came in.
_BORROWED_NBYTES = 64 << 20
# Pages are handed to threads in groups of about this size: a thread costs as much as a page of some kilobytes.
_GROUP_NBYTES = 1 << 20
# Smaller pages are encoded where they are cut: most of their time is spent in Python, one thread at a time.
_INLINE_NBYTES = 64 << 10
_MOST_THREADS = 8
# The small pages of more columns are read together, which takes whole bytes.
_FEW_COLUMNS = 16
# Pages at least this large begin on a block of the page cache, unless their blocks are larger than those.
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

    def __init__(self, column: Column, choice: Choice, changed: threading.Condition) -> None:
        self.column = column
        self.choice = choice
        self.shared = Shared(changed)
        self.zones = ZoneBuilder(column.type)
        self.pending = PendingRows(column.type)
        self.pages_cut = 0
        self.rows_cut = 0
        self.entries: list[tuple[int, ...]] = []
        self.descriptions: list[bytes] = []
        self.descriptions_nbytes = 0
        self.sums: list[np.ndarray] = []
        self.num_blocks = 0
        self.rows_written = 0

    def place(self, page: EncodedPage, offset: int) -> None:
        """Note a page that begins at a byte of the file."""
        text = (self.descriptions_nbytes, len(page.description), sum32(page.description))
        blocks = (self.num_blocks, len(page.sums), sum32(page.sums))
        self.entries.append((offset, page.nbytes, self.rows_written, *text, *blocks, page.num_rows, page.block_log2))
        self.descriptions.append(page.description)
        self.descriptions_nbytes += len(page.description)
        self.sums.append(page.sums)
        self.num_blocks += len(page.sums)
        self.rows_written += page.num_rows
        self.zones.add(page.extents)


_Cut = list[tuple[_ColumnWriter, int, CutPage]]
"""Columns, numbers of pages in them, and those pages."""
_Encoded = list[tuple[_ColumnWriter, EncodedPage]]


def _encode(cut: _Cut) -> _Encoded:
    encoded: _Encoded = []
    try:
        pages = encode_pages([page for _, _, page in cut])
        for (column, number, _), page in zip(cut, pages, strict=True):
            encoded.append((column, page))
            column.shared.finish(number)
    except BaseException:
        # Nobody may wait for a page that will never be.
        for column, number, _ in cut:
            column.shared.finish(number)
        raise
    return encoded


Resolve: TypeAlias = Callable[[Column, pa.Array], Iterable[pa.Array | Contents]]
"""The cells of the next rows of a column, in order: arrays, and cells that are not in memory."""


def _as_they_are(_: Column, array: pa.Array) -> Iterable[pa.Array | Contents]:
    return (array,)


class SomeColumns(NamedTuple):
    """The next rows of some columns. columns: their numbers, ascending, of the fields of the batch and all in them."""

    columns: Sequence[int]
    batch: pa.RecordBatch


Part: TypeAlias = pa.RecordBatch | SomeColumns | MovedPages


class FileWriter:
    """Writes one file: pass batches through `chunks`, hand those to a store, then read `summary`.

    schema: of the batches. threads: that encode pages; by default the processors that Arrow uses
    (`pyarrow.set_cpu_count`), at most 8. resolve: what stands in the place of arrays.
    Raises at once: Unsupported for a type that cannot be stored, InvalidInput for an encoding that a field's metadata
    asks for and that there is not.
    """

    def __init__(self, schema: pa.Schema, *, threads: int | None = None, resolve: Resolve = _as_they_are) -> None:
        self.schema = schema
        self._resolve = resolve
        threads = threads or min(_MOST_THREADS, pa.cpu_count())
        columns = flatten(schema)
        self._fields = list(_fields_json(columns))
        self._columns = list(map(_ColumnWriter, columns, choices_of(columns), repeat(threading.Condition())))
        self._every = range(len(columns))
        self._cursor = 0
        self._rows = 0
        self._borrowed_nbytes = 0
        self._group: _Cut = []
        self._group_nbytes = 0
        self._work: OrderedWork[_Encoded] = OrderedWork(threads=threads, budget_nbytes=(threads + 2) * PAGE_NBYTES)
        self._tail: bytes | None = None
        self._stats: list[ZoneEntry] = []

    @property
    def rows(self) -> int:
        """Rows accepted so far."""
        return self._rows

    @property
    def nbytes(self) -> int:
        """Bytes of the file so far; rows that have no place in it yet are counted at their size in memory."""
        return self._cursor + self._work.nbytes + self._group_nbytes + self.pending_nbytes

    @property
    def pending_nbytes(self) -> int:
        """What the rows that wait for their page take in memory."""
        return sum(column.pending.nbytes for column in self._columns)

    @property
    def summary(self) -> FileSummary:
        """What the owner records, once `chunks` has ended."""
        assert self._tail is not None, "the file is not finished"
        return FileSummary(self._cursor, self._rows, sum64(self._tail), len(self._columns), tuple(self._stats))

    def chunks(self, parts: Iterable[Part]) -> Generator[bytes | Bytes, None, None]:
        """The bytes of the file, in order, while its rows come in: in batches of the schema, or each column apart.

        In the end all columns have as many rows.
        Close the iterator when it is left before its end: threads may still be at work for it.
        """
        yield self._counted(pack_head())
        try:
            for part in parts:
                if isinstance(part, MovedPages):
                    yield from self._moved(part)
                    continue
                columns, batch = part if isinstance(part, SomeColumns) else (self._every, part)
                for rows in short_runs(batch):
                    yield from self._accept(columns, rows)
            for column in self._columns:
                yield from self._queue(column, column.pending.rest())
            self._submit()
            yield from self._placed(self._work.rest())
        finally:
            self._work.close()
        yield from self._metadata()

    def _accept(self, columns: Sequence[int], batch: pa.RecordBatch) -> Iterator[bytes | Bytes]:
        # Those of the first column, if there is one.
        self._rows += len(batch) * (not columns or columns[0] == 0)
        for number, array in zip(columns, split(batch.columns), strict=True):
            column = self._columns[number]
            for part in self._resolve(column.column, array):
                if isinstance(part, pa.Array):
                    self._borrowed_nbytes += column.pending.nbytes_of([part])
                    if pages := column.pending.add(part):
                        yield from self._queue(column, pages)
                else:
                    yield from self._streamed(column, part)
        yield from self._relieve()
        yield from self._placed(self._work.ready())
        # A copy of most of what is kept would free little.
        if self._borrowed_nbytes >= _BORROWED_NBYTES and self._borrowed_nbytes > 2 * self.pending_nbytes:
            self._borrowed_nbytes = 0
            for column in self._columns:
                column.pending.own()

    def _relieve(self) -> Iterator[bytes | Bytes]:
        """Cut pages of the fullest columns until the pending rows fit half the budget."""
        pending = self.pending_nbytes
        if pending <= PENDING_NBYTES:
            return
        for column in sorted(self._columns, key=lambda column: -column.pending.nbytes):
            pending -= column.pending.nbytes
            yield from self._queue(column, column.pending.rest())
            if pending <= PENDING_NBYTES // 2:
                break

    def _queue(self, column: _ColumnWriter, pages: Iterable[Pieces]) -> Iterator[bytes | Bytes]:
        """Hand pages of a column to the threads; the chunks of those that are done come out meanwhile."""
        for pieces in pages:
            hints = Hints(column.shared, column.pages_cut, column.choice, wide=len(self._columns) > _FEW_COLUMNS)
            page = CutPage(pieces, hints, column.zones, column.rows_cut)
            self._group.append((column, column.pages_cut, page))
            column.pages_cut += 1
            column.rows_cut += sum(map(len, pieces))
            self._group_nbytes += column.pending.nbytes_of(pieces)
            if self._group_nbytes >= _GROUP_NBYTES:
                self._submit()
                yield from self._placed(self._work.ready())

    def _submit(self) -> None:
        if self._group:
            # Threads pay for many pages, and for large ones.
            few = self._group_nbytes < _GROUP_NBYTES and not self._work.started
            inline = few or self._group_nbytes < _INLINE_NBYTES * len(self._group)
            self._work.submit(partial(_encode, self._group), self._group_nbytes, inline=inline)
            self._group, self._group_nbytes = [], 0

    def _placed(self, encoded: Iterable[_Encoded]) -> Iterator[bytes | Bytes]:
        for pages in encoded:
            for column, page in pages:
                yield from self._page(column, page)

    def _page(self, column: _ColumnWriter, page: EncodedPage) -> Iterator[bytes | Bytes]:
        if pad := self._pad_for(page):
            yield pad
        column.place(page, self._cursor)
        for chunk in page.chunks:
            yield self._counted(chunk)

    def _streamed(self, column: _ColumnWriter, contents: Contents) -> Iterator[bytes | Bytes]:
        """Write one cell as a page of its own while it is read, after all pages that were cut before it."""
        yield from self._queue(column, column.pending.rest())
        self._submit()
        yield from self._placed(self._work.rest())
        page = StreamedPage(contents, column.zones, column.rows_cut)
        yield self._pad(1 << BLOCK_LOG2)
        start = self._cursor
        for chunk in page.chunks():
            self._cursor += len(chunk)
            yield chunk
        column.place(page.finish(), start)
        column.shared.finish(column.pages_cut)
        column.pages_cut += 1
        column.rows_cut += 1

    def _moved(self, part: MovedPages) -> Iterator[bytes | Bytes]:
        """Write pages of another file, after all pages that were cut before them."""
        column, stored = self._columns[part.column], part.stored
        yield from self._queue(column, column.pending.rest())
        self._submit()
        yield from self._placed(self._work.rest())
        for page in stored.pages(column.shared.add(stored.shared)):
            if pad := self._pad_for(page):
                yield pad
            column.place(page, self._cursor)
            left = page.nbytes
            while left:
                chunk = next(part.chunks)
                left -= len(chunk)
                yield self._counted(chunk)
            column.shared.finish(column.pages_cut)
            column.pages_cut += 1
        column.zones.add(part.extents)
        column.rows_cut += stored.num_rows
        self._rows += stored.num_rows * (part.column == 0)

    def _metadata(self) -> Iterator[bytes | Bytes]:
        assert all(column.rows_written == self._rows for column in self._columns), "columns of other rows"
        records = []
        for column, field in zip(self._columns, self._fields, strict=True):
            yield self._pad(ALIGNMENT)
            record, packed = self._column_metadata(column, field)
            records.append(record)
            yield self._counted(packed)
        yield self._pad(ALIGNMENT)
        directory_offset = self._cursor
        metadata = compact_json({"metadata": metadata_to_json(self.schema.metadata or {}), "writer": __version__})
        tail = Tail(directory_offset, self._rows, len(records), len(metadata), sum32(metadata), os.urandom(16))
        self._tail = tail.pack()
        directory = [record.pack(directory_offset + RECORD_NBYTES * i) for i, record in enumerate(records)]
        yield self._counted(b"".join([*directory, metadata, self._tail]))
        assert self._cursor == tail.metadata_offset + len(metadata) + TAIL_NBYTES

    def _column_metadata(self, column: _ColumnWriter, field: bytes) -> tuple[ColumnRecord, bytes]:
        first_rows = [entry[2] for entry in column.entries]
        fences = struct.pack(f"<{len(first_rows) + 1}Q", *first_rows, column.rows_written)
        shared = bytes(column.shared.blob)
        zones, total = column.zones.finish()
        self._stats.append(total)
        record = ColumnRecord(
            offset=self._cursor,
            num_pages=len(first_rows),
            descriptions_nbytes=column.descriptions_nbytes,
            num_blocks=column.num_blocks,
            shared_nbytes=len(shared),
            num_zones=len(zones),
            field_nbytes=len(field),
            parent=column.column.parent,
            zone_rows=ZONE_ROWS,
            zone_width=column.zones.width,
            fences_sum=sum32(fences),
            shared_sum=sum32(shared),
            field_sum=sum32(field),
        )
        width, nbytes, at = record.zone_width, record.zone_nbytes, record.zones_offset
        packed = [zone.pack(width, at + i * nbytes) for i, zone in enumerate((*zones, total))]
        sums = [chunk.tobytes() for chunk in column.sums]
        entries = pack_entries(column.entries, record.entries_offset)
        return record, b"".join((fences, entries, *column.descriptions, *sums, shared, *packed, field))

    def _pad_for(self, page: EncodedPage) -> bytes:
        """What is in front of a page."""
        aligned = page.nbytes >= _ALIGN_TO_BLOCK_FROM and page.block_log2 == BLOCK_LOG2
        return self._pad(1 << BLOCK_LOG2 if aligned else ALIGNMENT)

    def _pad(self, alignment: int) -> bytes:
        return self._counted(bytes(-self._cursor % alignment))

    def _counted(self, data: Chunk) -> Chunk:
        self._cursor += len(data)
        return data


def _fields_json(columns: Iterable[Column]) -> Iterator[bytes]:
    """The JSON of each column's field."""
    # Most types are plain names and most fields have no metadata: what follows the name is then often the same.
    known: dict[tuple[str, bool], bytes] = {}
    for column in columns:
        kind, metadata = stated_type(column.type, column.metadata)
        key = (kind, column.nullable) if isinstance(kind, str) and not metadata else None
        rest = None if key is None else known.get(key)
        if rest is None:
            rest = _rest_of_field(kind, column.nullable, metadata)
            if key is not None:
                known[key] = rest
        yield b'{"name":' + compact_json(column.name) + rest


def _rest_of_field(kind: Json, nullable: bool, metadata: Metadata | None) -> bytes:
    """The JSON of a field behind its name."""
    body = {"type": kind, "nullable": nullable}
    if metadata:
        body["metadata"] = metadata_to_json(metadata)
    return b"," + compact_json(body)[1:]
