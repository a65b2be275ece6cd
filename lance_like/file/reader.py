"""Reading one data file as conversations: plan, ask, check, decode. Nothing here does I/O.

A file opens with its last 4 KiB; a column with its fences and page entries; a page with its header. Each is
read once, kept, and checked when it is read. Blocks of page bytes are checked when first touched and
remembered (format_spec/file.md, "Checksums").
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import accumulate

import numpy as np
import pyarrow as pa

from lance_like.encodings.joining import joined
from lance_like.encodings.physical import as_key
from lance_like.encodings.places import DESCRIPTION
from lance_like.encodings.recast import is_recast
from lance_like.encodings.stack import Cells, Reading, together
from lance_like.errors import Corrupt
from lance_like.file.blocks import Blocks
from lance_like.file.carry import present_parts
from lance_like.file.columns import Column, unflatten
from lance_like.file.layout import (
    FIRST_READ_NBYTES,
    HEAD_NBYTES,
    RECORD_NBYTES,
    TAIL_NBYTES,
    ColumnRecord,
    Tail,
    parse_json,
    sum32,
    sum64,
    unpack_column,
    unpack_tail,
)
from lance_like.file.opening import plan_metadata, unpack_metadata
from lance_like.file.pages import ColumnPages, checked, open_pages
from lance_like.file.several import Stated
from lance_like.file.spans import read_spans
from lance_like.file.stats import Zones, unpack_zones
from lance_like.file.stored import StoredColumn, unpack_stored
from lance_like.file.types import check_stored, metadata_from_json, unpack_field, unpack_type
from lance_like.file.wide import ColumnGroup, is_small, open_groups
from lance_like.locks import lock_over_forks
from lance_like.ranges import gather_from, listed
from lance_like.typing_ import Bytes, Conversation, Int64s, Offsets

# From this many columns on, those that are alike are opened and read together.
_MANY_COLUMNS = 16
_APART = -1
# So many rows that follow one another are read as a run: a range a page, not one a row.
_RUN_ROWS = 64


# Python's objects of an open file, of a column that is known and of one that is open, apart from their arrays.
_READER_NBYTES, _RECORD_NBYTES, _COLUMN_NBYTES = 4_000, 700, 3_000

_LOCK = lock_over_forks()


def _are_a_run(rows: Offsets) -> bool:
    """Are many rows those from the first to the last?"""
    count = len(rows)
    if isinstance(rows, range) or count < _RUN_ROWS:
        return count >= _RUN_ROWS
    return int(rows[-1] - rows[0]) == count - 1 and bool((rows[1:] > rows[:-1]).all())


class FileReader:
    """One open file. Make it by running `open_file`."""

    def __init__(self, where: str, nbytes: int, tail: Tail, end: Bytes, *, verify: bool) -> None:
        self.where = where
        self.nbytes = nbytes
        self.tail = tail
        self._end = end
        self._blocks = Blocks(where, verify=verify)
        self._records: dict[int, ColumnRecord] = {}
        self._pages: dict[int, ColumnPages] = {}
        # What is known of the zones of columns, by number and type.
        self._zones: dict[tuple[int, Hashable], Zones] = {}
        # Columns that were opened many at a time, and the group of each.
        self._groups: list[ColumnGroup] = []
        self._group_of: dict[int, int] = {}

    @property
    def num_rows(self) -> int:
        return self.tail.num_rows

    @property
    def num_columns(self) -> int:
        return self.tail.num_columns

    @property
    def nbytes_cached(self) -> int:
        """Memory, estimated: what is kept of the file's metadata. Cost: O(columns opened)."""
        columns = sum(pages.nbytes_cached + _COLUMN_NBYTES for pages in list(self._pages.values()))
        groups = sum(group.stack.nbytes_cached for group in list(self._groups))
        zones = sum(found.nbytes for found in list(self._zones.values()))
        own = zones + _READER_NBYTES + len(self._end) + _RECORD_NBYTES * len(self._records)
        return own + self._blocks.nbytes_cached + columns + groups

    def read_rows(self, column: int, kind: pa.DataType, rows: Int64s) -> Conversation[pa.Array]:
        """Some rows of a column, in the order asked, as its type is carried (file/carry.py).

        rows: int64[n], 0 <= row < num_rows, any order, repeats allowed. kind: the column's type.
        Cost: 1 round once the pages touched are open, 2 for variable-width columns, 1 more a list level.
        """
        pages = self._pages.get(column)
        return self._open_and_read(column, kind, rows) if pages is None else pages.read_rows(rows, kind)

    def _open_and_read(self, column: int, kind: pa.DataType, rows: Int64s) -> Conversation[pa.Array]:
        yield from self._open([column], [kind])
        return (yield from self._pages[column].read_rows(rows, kind))

    def read_columns(
        self, columns: Sequence[int], kinds: Sequence[pa.DataType], rows: Offsets
    ) -> Conversation[list[pa.Array]]:
        """Some rows of several columns, as `read_rows` of each; columns that are alike are read in one pass.

        kinds: their types. Cost: as `read_rows`, whatever the number of columns.
        """
        if len(columns) < _MANY_COLUMNS and _are_a_run(rows):
            runs = yield from self.read_spans(columns, kinds, [(int(rows[0]), int(rows[-1]) + 1)])
            return [joined(parts) for parts in runs]
        rows = listed(rows)
        if len(columns) == 1:
            return [(yield from self.read_rows(columns[0], kinds[0], rows))]
        if len(columns) < _MANY_COLUMNS:
            reads = yield from self._reads(columns, kinds, rows)
            return (yield from checked(together(reads), self._blocks))
        yield from self._open_many(columns, kinds)
        by_group: dict[int, list[int]] = {}
        for position, (column, kind) in enumerate(zip(columns, kinds, strict=True)):
            group = _APART if kind is DESCRIPTION or is_recast(kind) else self._group_of[column]
            by_group.setdefault(group, []).append(position)
        apart = by_group.pop(_APART, [])
        reads = yield from self._reads([columns[i] for i in apart], [kinds[i] for i in apart], rows)
        reads = [together(reads)]
        for group, members in by_group.items():
            reads.append(self._groups[group].read_rows([columns[i] for i in members], rows))
        answers = yield from checked(together(reads), self._blocks)
        found: list[pa.Array] = [None] * len(columns)
        for members, arrays in zip([apart, *by_group.values()], answers, strict=True):
            for position, array in zip(members, arrays, strict=True):
                found[position] = array
        return found

    def read_cells(
        self, columns: Sequence[int], kinds: Sequence[pa.DataType], rows: Int64s, bare: int
    ) -> Conversation[list[Cells | pa.Array]]:
        """As `read_columns`, but of one of them the cells where they lie, where they can be given so.

        rows: one at least; of those that files do not hold in this order, or of one twice, come arrays. bare: its place
        among the columns.
        """
        opened = yield from self._opened(columns, kinds, rows)
        reads: list[Reading[Cells | pa.Array]] = [
            pages.cells_of_open_pages(rows, kind) if place == bare else pages.rows_of_open_pages(rows, kind)
            for place, (pages, kind) in enumerate(zip(opened, kinds, strict=True))
        ]
        return (yield from checked(together(reads), self._blocks))

    def _reads(
        self, columns: Sequence[int], kinds: Sequence[pa.DataType], rows: Int64s
    ) -> Conversation[list[Reading[pa.Array]]]:
        """Reads of some rows of columns, their pages open."""
        opened = yield from self._opened(columns, kinds, rows)
        return [pages.rows_of_open_pages(rows, kind) for pages, kind in zip(opened, kinds, strict=True)]

    def _opened(
        self, columns: Sequence[int], kinds: Sequence[pa.DataType], rows: Int64s
    ) -> Conversation[list[ColumnPages]]:
        """Columns, the pages of some rows open."""
        if None in [self._pages.get(column) for column in columns]:
            yield from self._open(columns, kinds)
        opened = [self._pages[column] for column in columns]
        if sum([pages.unopened for pages in opened]):
            yield from open_pages(opened, rows)
        return opened

    def _open(self, columns: Sequence[int], kinds: Sequence[pa.DataType]) -> Conversation[None]:
        """Open columns that are not open yet. Cost: 2 rounds, whatever their number."""
        new = {column: kind for column, kind in zip(columns, kinds, strict=True) if column not in self._pages}
        if not new:
            return  # another thread was faster
        yield from self._read_records(list(new))
        records = [self._records[column] for column in new]
        places = [f"{self.where}, column {column}" for column in new]
        data = yield from self._ranges(*plan_metadata(records))
        found = unpack_metadata(places, records, self.num_rows, data)
        made = [ColumnPages(metadata, kind, self._blocks) for metadata, kind in zip(found, new.values(), strict=True)]
        with _LOCK:
            for column, pages in zip(new, made, strict=True):
                self._pages.setdefault(column, pages)

    def _open_many(self, columns: Sequence[int], kinds: Sequence[pa.DataType]) -> Conversation[None]:
        """Open columns that are in no group yet. Cost: 2 rounds, whatever their number."""
        new = {
            column: kind
            for column, kind in zip(columns, kinds, strict=True)
            if column not in self._group_of and kind is not DESCRIPTION and not is_recast(kind)
        }
        if not new:
            return
        yield from self._read_records(list(new))
        small = {column: self._records[column] for column in new if is_small(self._records[column])}
        groups = (
            yield from open_groups(self.where, small, [new[column] for column in small], self.num_rows, self._blocks)
            if small
            else together([])
        )
        with _LOCK:
            for group in groups:
                self._groups.append(group)
                self._group_of.update(dict.fromkeys(group.first, len(self._groups) - 1))
            for column in new:
                self._group_of.setdefault(column, _APART)

    def _read_records(self, columns: list[int]) -> Conversation[None]:
        """Read the records of columns that are not here yet. Cost: 1 round."""
        missing = [column for column in columns if column not in self._records]
        if not missing:
            return
        if min(missing) < 0 or max(missing) >= self.num_columns:
            raise Corrupt(f"a column past the {self.num_columns} is asked for", kind="directory", where=self.where)
        starts = self.tail.directory_offset + RECORD_NBYTES * np.array(missing, np.int64)
        raw = (yield from self._ranges(starts, starts + RECORD_NBYTES)).tobytes()
        for i, column in enumerate(missing):
            record = raw[RECORD_NBYTES * i : RECORD_NBYTES * (i + 1)]
            self._records[column] = unpack_column(record, self.tail, column, self.where)

    def read_span(self, column: int, kind: pa.DataType, start: int, end: int) -> Conversation[list[pa.Array]]:
        """A run of rows of a column, as its type is carried, an array a page; no copy where the encoding is plain."""
        pages = yield from self.pages(column, kind)
        return (yield from pages.read_span(start, end, kind))

    def read_spans(
        self, columns: Sequence[int], kinds: Sequence[pa.DataType], spans: Sequence[tuple[int, int]]
    ) -> Conversation[list[list[pa.Array]]]:
        """As `read_span` of each run of rows (start, end) of each column, the columns of a run one after the other."""
        opened = yield from self.pages_of(columns, kinds)
        if len(spans) < 2:
            return (yield from self._read_run(opened, kinds, *spans[0])) if spans else []
        found = yield from read_spans(opened, kinds, spans)
        return [parts for of_columns in zip(*found, strict=True) for parts in of_columns]

    def _read_run(
        self, opened: Sequence[ColumnPages], kinds: Sequence[pa.DataType], start: int, end: int
    ) -> Conversation[list[list[pa.Array]]]:
        """A run of rows of columns, of each an array a page."""
        around = [page for pages in opened if (page := pages.page_around(start, end)) is not None]
        if len(around) < len(opened):
            return (yield from together([p.read_span(start, end, kind) for p, kind in zip(opened, kinds, strict=True)]))
        if sum([pages.unopened for pages in opened]):
            yield from open_pages(opened, np.array([start]))
        reads = [p.read_within(page, start, end, kind) for p, page, kind in zip(opened, around, kinds, strict=True)]
        return [[array] for array in (yield from checked(together(reads), self._blocks))]

    def pages(self, column: int, kind: pa.DataType) -> Conversation[ColumnPages]:
        """The pages of a column; kept after the first call. kind: the column's type, or DESCRIPTION.

        Raises Corrupt when the file holds another type.
        """
        [found] = yield from self.pages_of([column], [kind])
        return found

    def pages_of(self, columns: Sequence[int], kinds: Sequence[pa.DataType]) -> Conversation[list[ColumnPages]]:
        """The pages of several columns, as `pages` of each. Cost: 2 rounds if some are new, whatever their number."""
        if None in [self._pages.get(column) for column in columns]:
            yield from self._open(columns, kinds)
        found = [self._pages[column] for column in columns]
        for pages, kind in zip(found, kinds, strict=True):
            pages.check_kind(kind)
        return found

    def read_bytes(self, column: int, kind: pa.DataType, row: int, start: int, end: int) -> Conversation[Bytes]:
        """Bytes of the file inside the page of a row, as `read_rows` of DESCRIPTION gives their place."""
        pages = yield from self.pages(column, kind)
        return (yield from pages.read_bytes(row, start, end))

    def zones(self, column: int, kind: pa.DataType) -> Conversation[Zones]:
        """The statistics of every zone of a column; kept after the first call."""
        key = column, as_key(kind)
        if key not in self._zones:
            self._zones[key] = yield from self._read_zones(column, kind)
        return self._zones[key]

    def _read_zones(self, column: int, kind: pa.DataType) -> Conversation[Zones]:
        record = yield from self._record(column)
        end = record.zones_offset + record.zone_nbytes * record.num_zones
        data = yield from self._bytes(record.zones_offset, end)
        return unpack_zones(data, record.zones_offset, kind, record, self.num_rows, f"{self.where}, column {column}")

    def field(self, column: int) -> Conversation[Column]:
        """The name, type, nullability and metadata of a column, as the file itself records them."""
        record = yield from self._record(column)
        return self._column(column, (yield from self._bytes(record.field_offset, record.end)))

    def fields(self) -> Conversation[list[Column]]:
        """`field` of every column. Cost: 2 rounds, whatever their number."""
        texts = yield from self._field_texts()
        return [self._column(column, text) for column, text in enumerate(texts)]

    def check_types(self, kinds: Sequence[pa.DataType]) -> Conversation[None]:
        """Raise Corrupt unless the columns are of these types, one each. Cost: 2 rounds, whatever their number."""
        texts = yield from self._field_texts()
        for column, (text, kind) in enumerate(zip(texts, kinds, strict=True)):
            place = f"{self.where}, column {column}"
            check_stored(unpack_type(text.tobytes(), self._records[column].field_sum, place), kind, place)

    def _field_texts(self) -> Conversation[list[Bytes]]:
        """What the file records of the field of every column. Cost: 2 rounds, whatever their number."""
        yield from self._read_records(list(range(self.num_columns)))
        records = [self._records[column] for column in range(self.num_columns)]
        if not records:
            return []
        lengths = [record.field_nbytes for record in records]
        starts = np.array([record.field_offset for record in records], np.int64)
        data = yield from self._ranges(starts, starts + np.array(lengths, np.int64))
        return [data[end - nbytes : end] for nbytes, end in zip(lengths, accumulate(lengths), strict=True)]

    def _column(self, column: int, text: Bytes) -> Column:
        record = self._records[column]
        field = unpack_field(text, record, f"{self.where}, column {column}")
        return Column(field.name, field.type, field.nullable, field.metadata, record.parent)

    def schema(self) -> Conversation[pa.Schema]:
        """The schema that the file itself records. Cost: 3 rounds, whatever the number of columns."""
        columns = yield from self.fields()
        return pa.schema(unflatten(columns), (yield from self.metadata()) or None)

    def stored(self, columns: Sequence[int]) -> Conversation[list[StoredColumn]]:
        """The metadata of columns, whole, for their pages to be moved. Cost: 2 rounds; nothing is kept but records."""
        stated = yield from self.stated(columns)
        data = np.split(stated.data, stated.starts[1:])
        return [
            unpack_stored(column, f"{self.where}, column {column}", record, self.num_rows, part)
            for column, record, part in zip(columns, stated.records, data, strict=True)
        ]

    def stated(self, columns: Sequence[int]) -> Conversation[Stated]:
        """What the file states of columns, not checked. Cost: 2 rounds; nothing is kept but records."""
        yield from self._read_records(list(columns))
        records = [self._records[column] for column in columns]
        bounds = [(record.offset, record.end) for record in records]
        starts, ends = np.array(bounds, np.int64).T
        data = yield from self._ranges(starts, ends)
        places = [0, *accumulate([end - start for start, end in bounds[:-1]])]
        return Stated(self.where, self.num_rows, records, data, places)

    def metadata(self) -> Conversation[dict[bytes, bytes]]:
        """The metadata of the schema."""
        start = self.tail.metadata_offset
        data = yield from self._bytes(start, start + self.tail.metadata_nbytes)
        if sum32(data) != self.tail.metadata_sum:
            raise Corrupt("the checksum of the file metadata does not match", kind="checksum", where=self.where)
        body = parse_json(data.tobytes(), self.where)
        if not isinstance(body, dict):
            raise Corrupt("the file metadata is not an object", kind="metadata", where=self.where)
        return metadata_from_json(body.get("metadata", []))

    def _record(self, column: int) -> Conversation[ColumnRecord]:
        yield from self._read_records([column])
        return self._records[column]

    def _bytes(self, start: int, end: int) -> Conversation[Bytes]:
        """Bytes of the metadata."""
        return self._ranges(np.array([start]), np.array([end]))

    def _ranges(self, starts: Int64s, ends: Int64s) -> Conversation[Bytes]:
        """Ranges of the metadata end to end, from the end of the file that is already here if it holds them all."""
        here = self.nbytes - len(self._end)
        if starts.min() >= here:
            return gather_from(self._end, starts - here, ends - here)
        (data,) = yield [(starts, ends)]
        return data


def open_file(
    where: str,
    nbytes: int,
    *,
    tail: int | None = None,
    verify: bool = True,
    first_nbytes: int = FIRST_READ_NBYTES,
) -> Conversation[FileReader]:
    """Open a file of nbytes. Cost: 1 round, of its last first_nbytes, which are kept.

    where: its name in errors. tail: the XXH3-64 of its last 64 bytes if its owner recorded that.
    verify: check the blocks of pages when first touched; metadata is always checked.
    Raises Corrupt when the tail is damaged, or is not the one recorded.
    """
    if nbytes < HEAD_NBYTES + TAIL_NBYTES:
        raise Corrupt(f"{nbytes} bytes are too few for a data file", kind="truncated", where=where)
    first = max(0, nbytes - first_nbytes)
    (end,) = yield [(np.array([first]), np.array([nbytes]))]
    last = end[-TAIL_NBYTES:].tobytes()
    parsed = unpack_tail(last, nbytes, where)
    if tail is not None and sum64(last) != tail:
        raise Corrupt(
            "this is not the file that the table recorded: its tail differs",
            kind="identity",
            where=where,
            hint="another data file was put in its place; restore the original",
        )
    return FileReader(where, nbytes, parsed, end.copy(), verify=verify)


def read_table(reader: FileReader, columns: Sequence[int] | None = None) -> Conversation[list[list[pa.Array]]]:
    """Whole columns of a file by the types it records itself: one list of arrays a column."""
    chosen = range(reader.num_columns) if columns is None else columns
    fields = yield from together([reader.field(column) for column in chosen])
    spans = [
        reader.read_span(column, field.type, 0, reader.num_rows) for column, field in zip(chosen, fields, strict=True)
    ]
    carried = yield from together(spans)
    return [
        [part for array in arrays for part in present_parts(array, field.type)]
        for field, arrays in zip(fields, carried, strict=True)
    ]
