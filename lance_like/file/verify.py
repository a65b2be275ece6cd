"""Check one data file against the spec and list every fault by its place (format_spec/file.md).

1. The tail, the head, the file metadata.  2. Of every column: its directory record, field, fences, page entries,
descriptions, block checksums, shared blob, zone entries.  3. Every block of every page.  4. Every page is decoded.
5. What was decoded is held against the column's type and its zone statistics.  6. Bytes between the parts are zero.
A fault hides only what cannot be found without the damaged part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lance_like.errors import Corrupt, LanceLikeError
from lance_like.file.anatomy import Anatomy, PageEntry
from lance_like.file.carry import carried_type, present_parts
from lance_like.file.columns import Column, unflatten
from lance_like.file.layout import HEAD_NBYTES, PAGE_ENTRY, RECORD_NBYTES, TAIL_NBYTES, ColumnRecord, Tail, sum64
from lance_like.file.stats import ZoneEntry
from lance_like.file.types import metadata_from_json
from lance_like.file.zone_check import ZoneCheck
from lance_like.io.store import Store
from lance_like.typing_ import Int64s, T

_PADDING_STEP = 8 << 20


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong.

    where: the place in words. start, end: the bytes of the file it is about. kind: a stable word, as of errors.
    """

    where: str
    start: int
    end: int
    kind: str
    problem: str


@dataclass(slots=True)
class FileReport:
    """What `verify_file` found. blocks, pages: how many were checked and decoded."""

    path: str
    nbytes: int = 0
    rows: int = 0
    columns: int = 0
    pages: int = 0
    blocks: int = 0
    fields: dict[int, Column] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.faults


@dataclass(frozen=True, slots=True)
class Identity:
    """What the owner of a file recorded of it. tail: the XXH3-64 of its last 64 bytes. rows, columns: None: nothing."""

    nbytes: int
    tail: int
    rows: int | None = None
    columns: int | None = None


def verify_file(store: Store, key: str, *, identity: Identity | None = None) -> FileReport:
    """Check a file whole; reads all of it. identity: what its owner recorded, if it has one.

    Raises NotFound, StorageError; what is wrong with the file itself is in the report.
    """
    return _Check(Anatomy(store, key), key).run(identity)


class _Check:
    """One run of `verify_file`."""

    def __init__(self, anatomy: Anatomy, path: str) -> None:
        self.parts = anatomy
        self.report = FileReport(path, nbytes=anatomy.nbytes)
        # Byte ranges of the parts found, and whether all were: only then is the rest padding.
        self.claimed: list[tuple[int, int]] = [(0, HEAD_NBYTES)]
        self.all_found = True
        # Of struct columns whose pages are all sound: which rows are null.
        self.hidden: dict[int, pa.ChunkedArray] = {}

    def run(self, identity: Identity | None) -> FileReport:
        end = self.parts.nbytes
        tail = self.found("tail", max(0, end - TAIL_NBYTES), end, self.parts.tail)
        if tail is None:
            return self.report
        self.report.rows, self.report.columns = tail.num_rows, tail.num_columns
        self.claimed.append((tail.directory_offset, end))
        if identity is not None:
            self.found("tail", end - TAIL_NBYTES, end, lambda: self._check_identity(tail, identity))
        self.found("head", 0, HEAD_NBYTES, self.parts.check_head)
        self.found("file metadata", tail.metadata_offset, end - TAIL_NBYTES, lambda: self._check_metadata(tail))
        for number in range(tail.num_columns):
            _ColumnCheck(self, tail, number).run()
        if len(self.report.fields) == tail.num_columns:
            columns = [self.report.fields[number] for number in range(tail.num_columns)]
            self.found("directory", tail.directory_offset, tail.metadata_offset, lambda: unflatten(columns))
        if self.all_found:
            self._check_padding()
        return self.report

    def found(self, where: str, start: int, end: int, read: Callable[[], T]) -> T | None:
        """The answer of a read; None, and a fault, if it raises."""
        try:
            return read()
        except LanceLikeError as error:
            self.fault(where, start, end, error.kind, error.message)
            return None

    def fault(self, where: str, start: int, end: int, kind: str, problem: str) -> None:
        self.report.faults.append(Fault(where, start, end, kind, problem))

    def _check_identity(self, tail: Tail, identity: Identity) -> None:
        tail_sum = sum64(self.parts.tail_bytes())
        rows, columns = (tail.num_rows, tail.num_columns) if identity.rows is not None else (None, None)
        here = Identity(self.parts.nbytes, tail_sum, rows, columns)
        if here != identity:
            raise Corrupt(f"this is not the file its owner recorded: {here}, recorded {identity}", kind="identity")

    def _check_metadata(self, tail: Tail) -> None:
        metadata_from_json(self.parts.file_metadata(tail).get("metadata", []))

    def _check_padding(self) -> None:
        at = 0
        for start, end in sorted(self.claimed):
            for low in range(at, start, _PADDING_STEP):
                gap = self.parts.read(low, min(start, low + _PADDING_STEP))
                wrong = np.flatnonzero(gap)
                if len(wrong):
                    first, last = low + int(wrong[0]), low + int(wrong[-1]) + 1
                    self.fault("padding", first, last, "padding", "bytes between the parts of the file are not zero")
            at = max(at, end)


class _ColumnCheck:
    """The part of a run that is about one column."""

    def __init__(self, check: _Check, tail: Tail, number: int) -> None:
        self.check, self.parts, self.tail, self.number = check, check.parts, tail, number
        self.column: Column | None = None
        self.shared: bytes | None = None
        # Of a struct: which rows are null, a page each.
        self.hidden: list[pa.Array] = []

    def run(self) -> None:
        start = self.tail.directory_offset + RECORD_NBYTES * self.number
        record = self._found("directory record", start, start + RECORD_NBYTES, self._record)
        if record is None:
            self.check.all_found = False
            return
        self.check.claimed.append((record.offset, record.end))
        self.column = self._found("field", record.field_offset, record.end, lambda: self.parts.field(record))
        if self.column is not None:
            self.check.report.fields[self.number] = self.column
        blob = (record.shared_offset, record.zones_offset)
        self.shared = self._found("shared blob", *blob, lambda: self.parts.shared(record))
        table = (record.offset, record.entries_offset)
        fences = self._found("fences", *table, lambda: self.parts.fences(record, self.tail.num_rows))
        zones = None if self.column is None else self._zones(record, self.column.type)
        for page in range(record.num_pages):
            self._page(record, page, fences, zones)
        if zones is not None:
            self._zone_faults(record, zones.finish())
        if sum(map(len, self.hidden)) == self.tail.num_rows:
            self.check.hidden[self.number] = pa.chunked_array(self.hidden, pa.bool_())

    def _record(self) -> ColumnRecord:
        return self.parts.record(self.tail, self.number)

    def _page(self, record: ColumnRecord, page: int, fences: Int64s | None, zones: ZoneCheck | None) -> None:
        """Check one page from its entry to its values, and count them in the zones."""
        entry = self._entry(record, page, fences)
        array = None if entry is None else self._array(record, page, entry)
        if zones is None:
            return
        if array is not None:
            self._zone_faults(record, zones.add(array))
        elif fences is not None:
            zones.skip(int(fences[page + 1] - fences[page]))
        elif entry is not None:
            zones.skip(entry.num_rows)

    def _entry(self, record: ColumnRecord, page: int, fences: Int64s | None) -> PageEntry | None:
        start = record.entries_offset + PAGE_ENTRY.itemsize * page
        end = start + PAGE_ENTRY.itemsize
        entry = self._found(f"page {page}, entry", start, end, lambda: self.parts.entry(record, page))
        if entry is None:
            self.check.all_found = False
            return None
        self.check.claimed.append((entry.offset, entry.end))
        if (
            fences is not None
            and [entry.first_row, entry.first_row + entry.num_rows] != fences[page : page + 2].tolist()
        ):
            self._fault(f"page {page}, entry", start, end, "page", "its rows are not those of the fences")
            return None
        return entry

    def _array(self, record: ColumnRecord, page: int, entry: PageEntry) -> pa.Array | None:
        """The values of a page, if all it needs is sound."""
        start = record.descriptions_offset + entry.description_offset
        end = start + entry.description_nbytes
        node = self._found(f"page {page}, description", start, end, lambda: self.parts.node(record, entry))
        if not self._blocks_are_sound(record, page, entry) or node is None:
            return None
        if self.column is None or self.shared is None:
            return None
        column, shared, bytes_of = self.column, self.shared, (entry.offset, entry.end)

        def decode() -> pa.Array:
            array = self.parts.decode(entry, node, column.type, shared)
            present_parts(array, column.type)  # Raises what only shows in the type itself.
            return array

        array = self._found(f"page {page}, values", *bytes_of, decode)
        self.check.report.pages += 1
        if array is not None:
            for problem in self._problems(column, array, entry):
                self._fault(f"page {page}, values", *bytes_of, "values", problem)
        return array

    def _blocks_are_sound(self, record: ColumnRecord, page: int, entry: PageEntry) -> bool:
        start = record.sums_offset + 4 * entry.first_block
        end = start + 4 * entry.num_blocks
        sums = self._found(f"page {page}, block checksums", start, end, lambda: self.parts.block_sums(record, entry))
        if sums is None:
            return False
        self.check.report.blocks += entry.num_blocks
        wrong = list(self.parts.wrong_blocks(entry, sums))
        for low, high in wrong:
            block = (low - entry.offset) >> entry.block_log2
            problem = f"the checksum of {high - low:,} bytes does not match"
            self._fault(f"page {page}, block {block}", low, high, "checksum", problem)
        return not wrong

    def _problems(self, column: Column, array: pa.Array, entry: PageEntry) -> Iterator[str]:
        """What the values of a page have wrong although every checksum of theirs matches."""
        if not array.type.equals(carried_type(column.type)) or len(array) != entry.num_rows:
            yield f"they are {len(array):,} of type {array.type}, not {entry.num_rows:,} of type {column.type}"
            return
        try:
            array.validate(full=True)
        except pa.ArrowInvalid as error:
            yield f"they are no sound array: {error}"
        if not column.nullable and column.parent < 0 and array.null_count:
            yield f"{array.null_count:,} are null in a column that may not be null"
        if pa.types.is_struct(column.type):
            self.hidden.append(array.is_null())
        shown = self._shown_below(column.parent, array, entry.first_row)
        if shown:
            yield f"{shown:,} are not null where the struct they belong to is"

    def _shown_below(self, parent: int, array: pa.Array, first_row: int) -> int:
        """How many rows of an array have a value although their struct is null."""
        hidden = self.check.hidden.get(parent)
        if hidden is None:
            return 0
        if isinstance(array, pa.DictionaryArray) and array.dictionary.null_count:
            array = array.dictionary_decode()
        return pc.sum(pc.and_(hidden.slice(first_row, len(array)), array.is_valid())).as_py() or 0

    def _zones(self, record: ColumnRecord, kind: pa.DataType) -> ZoneCheck:
        def entry(zone: int) -> ZoneEntry:
            return self.parts.zone(record, zone, self.tail.num_rows, kind)

        found = [
            self._found(self._zone_name(record, zone), *self._zone_bytes(record, zone), partial(entry, zone))
            for zone in range(record.num_zones + 1)
        ]
        return ZoneCheck(kind, found[:-1], found[-1], record.zone_rows)

    def _zone_faults(self, record: ColumnRecord, problems: Iterable[tuple[int, str]]) -> None:
        for zone, problem in problems:
            self._fault(self._zone_name(record, zone), *self._zone_bytes(record, zone), "zones", problem)

    def _zone_name(self, record: ColumnRecord, zone: int) -> str:
        return "zone of the whole column" if zone == record.num_zones else f"zone {zone}"

    def _zone_bytes(self, record: ColumnRecord, zone: int) -> tuple[int, int]:
        start = record.zones_offset + record.zone_nbytes * zone
        return start, start + record.zone_nbytes

    def _found(self, where: str, start: int, end: int, read: Callable[[], T]) -> T | None:
        return self.check.found(self._place(where), start, end, read)

    def _fault(self, where: str, start: int, end: int, kind: str, problem: str) -> None:
        self.check.fault(self._place(where), start, end, kind, problem)

    def _place(self, where: str) -> str:
        name = f" {self.column.name!r}" if self.column is not None else ""
        return f"column {self.number}{name}, {where}"
