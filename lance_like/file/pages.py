"""The pages of one column of one open file: from rows to pages, from pages to checked bytes, from bytes to arrays.

Pages open when first touched. Their blocks are numbered in the order of opening, across pages, so that one
array says which are verified and rows of many pages are checked and gathered in one step.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from lance_like.encodings.base import Direct, Node, expand, parse_node, together
from lance_like.encodings.narrow import integers, widen, wrapped
from lance_like.encodings.physical import flat_array, joined, storage_of, with_validity
from lance_like.encodings.registry import direct_of, read_node
from lance_like.errors import Corrupt
from lance_like.file.layout import (
    PAGE_ENTRY,
    ColumnRecord,
    parse_json,
    sum32,
    sum64,
    sums_at,
    unpack_entries,
    unpack_header,
)
from lance_like.file.types import unpack_field
from lance_like.io.ranges import gather_from
from lance_like.typing_ import Bytes, Conversation, Int64s, Ranges, T

# Page entries and headers up to this size come with the fences in one request.
_ENTRIES_AT_ONCE = 256 * 1024
_HEADERS_AT_ONCE = 64 * 1024
# A run of at least this share of a page reads the page whole: one request, no copy.
_WHOLE_PAGE_SHARE = 0.5
_NOT_OPEN, _NOT_DIRECT = -2, -1


@dataclass(frozen=True, slots=True)
class _Form:
    """What pages must share so that their rows are read in one gather."""

    width: int
    shifted: bool
    nullable: bool


class ColumnPages:
    """What is known of a column's pages so far. Make it by running `open`."""

    def __init__(self, where: str, kind: pa.DataType, record: ColumnRecord, *, verify: bool) -> None:
        n = record.num_pages
        self.where, self.kind, self.record = where, kind, record
        self.fences = np.zeros(n + 1, np.int64)
        self._verify = verify
        self._entries = np.zeros(n, PAGE_ENTRY)
        self._offset = np.zeros(n, np.int64)
        self._nbytes = np.zeros(n, np.int64)
        self._log2 = np.zeros(n, np.int64)
        # Pages whose rows lie at a fixed stride: where values and validity begin in the file, and their base.
        self._form = np.full(n, _NOT_OPEN, np.int64)
        self._forms: list[_Form] = []
        # The form of all pages, once all are open and share one.
        self._only_form: _Form | None = None
        self._unopened = n
        self._values = np.zeros(n, np.int64)
        self._validity = np.zeros(n, np.int64)
        self._base = np.zeros(n, np.uint64)
        self._first_block = np.zeros(n, np.int64)
        self._nodes: list[Node | None] = [None] * n
        # By block, in the order of opening.
        self._sums = np.zeros(0, np.uint32)
        self._verified = np.zeros(0, bool)
        self._page_of_block = np.zeros(0, np.int64)
        self._unverified = 0
        self._headers: Bytes | None = None
        self._lock = threading.Lock()

    @classmethod
    def open(cls, where: str, kind: pa.DataType, record: ColumnRecord, *, verify: bool) -> Conversation[ColumnPages]:
        """Read the field and the fences, and the page entries and headers too while they are small. Cost: 1 round."""
        pages = cls(where, kind, record, verify=verify)
        end = record.entries_offset
        if record.headers_offset - record.offset <= _ENTRIES_AT_ONCE:
            end = record.headers_offset
            if record.headers_nbytes <= _HEADERS_AT_ONCE:
                end = record.zones_offset
        data, field = yield [
            (np.array([record.offset]), np.array([end])),
            (np.array([record.field_offset]), np.array([record.end])),
        ]
        stored = unpack_field(field, record, where).type
        if not stored.equals(kind):
            raise Corrupt(f"the file holds the type {stored}, the table says {kind}", kind="type", where=where)
        pages._set_fences(data[: record.entries_offset - record.offset])
        if end >= record.headers_offset:
            entries = data[record.entries_offset - record.offset : record.headers_offset - record.offset]
            pages._set_entries(np.arange(record.num_pages), entries)
            if end == record.zones_offset:
                pages._headers = data[record.headers_offset - record.offset :]
        return pages

    def page_of(self, rows: Int64s) -> Int64s:
        """The page of each row."""
        if len(self._nodes) == 1:
            return np.zeros(len(rows), np.int64)
        return self.fences.searchsorted(rows, "right") - 1

    def read_rows(self, rows: Int64s) -> Conversation[pa.Array]:
        """Some rows, in the order asked: int64[n], any order, repeats allowed, all within the column."""
        if len(rows) == 0:
            return pa.nulls(0, self.kind)
        pages = self.page_of(rows)
        if self._unopened:
            yield from self._open_pages(np.unique(pages))
        if self._only_form is not None:
            return (yield from self._read_direct(rows, pages, self._only_form))
        form = self._form[pages]
        if form[0] != _NOT_DIRECT and (form == form[0]).all():
            return (yield from self._read_direct(rows, pages, self._forms[form[0]]))
        return (yield from self._read_grouped(rows, pages))

    def _read_direct(self, rows: Int64s, pages: Int64s, form: _Form) -> Conversation[pa.Array]:
        """Rows whose pages all have one form: one gather, whatever their pages."""
        local = rows - self.fences[pages]
        starts = self._values[pages] + local * form.width
        asks = [(starts, starts + form.width)]
        if form.nullable:
            at = self._validity[pages] + (local >> 3)
            asks.append((at, at + 1))
        data, *bits = yield from self._checked(asks, pages)
        if form.shifted:
            array = integers(storage_of(self.kind), widen(data, form.width), self._base[pages])
        else:
            array = flat_array(storage_of(self.kind), data, len(rows))
        if bits:
            valid = (bits[0] >> (local & 7).astype(np.uint8)) & 1
            array = with_validity(array, np.packbits(valid, bitorder="little"))
        if isinstance(self.kind, pa.BaseExtensionType):
            return pa.ExtensionArray.from_storage(self.kind, array)
        return array

    def read_span(self, start: int, end: int) -> Conversation[list[pa.Array]]:
        """A run of rows, an array a page."""
        if start >= end:
            return []
        first, last = (int(page) for page in self.page_of(np.array([start, end - 1])))
        touched = np.arange(first, last + 1)
        yield from self._open_pages(touched)
        reads = []
        for page in range(first, last + 1):
            low, high = int(self.fences[page]), int(self.fences[page + 1])
            reads.append(self._read_run(page, max(start, low) - low, min(end, high) - low))
        return (yield from together(reads))

    def _read_run(self, page: int, start: int, end: int) -> Conversation[pa.Array]:
        node = self._node(page)
        read = read_node(node, self.kind, np.array([start]), np.array([end]))
        if end - start < _WHOLE_PAGE_SHARE * node.num_rows or self._nbytes[page] == 0:
            return (yield from self._within(page, read))
        low = self._offset[page : page + 1]
        ask = (low, low + self._nbytes[page])
        (data,) = yield from self._checked([ask], np.array([page]))
        return _answer_from(data, read)

    def _read_grouped(self, rows: Int64s, pages: Int64s) -> Conversation[pa.Array]:
        """Rows of pages that are read one by one, put back into the order asked."""
        if (pages == pages[0]).all():
            local = rows - self.fences[pages[0]]
            return (yield from self._read_in_page(int(pages[0]), local))
        order = np.argsort(pages, kind="stable")
        sorted_pages, sorted_rows = pages[order], rows[order]
        cuts = np.flatnonzero(np.diff(sorted_pages)) + 1
        reads = [
            self._read_in_page(int(page), local - self.fences[page])
            for page, local in zip(sorted_pages[np.concatenate(([0], cuts))], np.split(sorted_rows, cuts), strict=True)
        ]
        arrays = yield from together(reads)
        back = np.empty(len(rows), np.int64)
        back[order] = np.arange(len(rows))
        return joined(arrays).take(pa.array(back))

    def _read_in_page(self, page: int, rows: Int64s) -> Conversation[pa.Array]:
        read = read_node(self._node(page), self.kind, rows, rows + 1)
        return (yield from self._within(page, read))

    def _within(self, page: int, read: Conversation[T]) -> Conversation[T]:
        """Run a read of one page against the file: shift its asks, check the blocks they touch."""
        base, place = int(self._offset[page]), np.array([page])
        try:
            asks = next(read)
            while True:
                shifted = [(starts + base, ends + base) for starts, ends in asks]
                asks = read.send((yield from self._checked(shifted, place)))
        except StopIteration as stop:
            return stop.value

    def _checked(self, asks: list[Ranges], pages: Int64s) -> Conversation[list[Bytes]]:
        """Ask for ranges of the file, each inside the page given for it, and check every block on first touch.

        pages: int64[1] for all asks, or int64[n] for the n ranges of one ask.
        """
        if self._unverified == 0 or not self._verify:
            return (yield asks)
        spans = [self._block_span(starts, ends, pages) for starts, ends in asks]
        touched = [first if (first == last).all() else expand(first, last + 1) for first, last in spans]
        if all(self._verified[blocks].all() for blocks in touched):
            return (yield asks)
        blocks = np.unique(np.concatenate(touched))
        starts, ends = self._block_ranges(blocks)
        # Neighbouring blocks are one range.
        breaks = np.flatnonzero(ends[:-1] != starts[1:])
        runs = (starts[np.concatenate(([0], breaks + 1))], ends[np.concatenate((breaks, [len(ends) - 1]))])
        (data,) = yield [runs]
        places = np.concatenate(([0], np.cumsum(ends - starts)[:-1]))
        self._verify_blocks(blocks, data, places, ends - starts)
        answers = []
        for (ask_starts, ask_ends), (first, _) in zip(asks, spans, strict=True):
            if len(first) == 0:
                answers.append(np.empty(0, np.uint8))
                continue
            index = np.minimum(np.searchsorted(blocks, first), len(blocks) - 1)
            local = np.where(ask_ends > ask_starts, places[index] + ask_starts - starts[index], 0)
            answers.append(gather_from(data, local, local + (ask_ends - ask_starts)))
        return answers

    def _block_span(self, starts: Int64s, ends: Int64s, pages: Int64s) -> Ranges:
        """The first and last block of each range; an empty one goes with the first that is not; none if all are."""
        filled = ends > starts
        base, offset, log2 = self._first_block[pages], self._offset[pages], self._log2[pages]
        first = base + ((starts - offset) >> log2)
        last = base + ((ends - 1 - offset) >> log2)
        if not filled.all():
            if not filled.any():
                return np.empty(0, np.int64), np.empty(0, np.int64)
            anchor = first[filled][0]
            first, last = np.where(filled, first, anchor), np.where(filled, last, anchor)
        return first, last

    def _block_ranges(self, blocks: Int64s) -> Ranges:
        """The byte ranges of blocks in the file."""
        pages = self._page_of_block[blocks]
        starts = self._offset[pages] + ((blocks - self._first_block[pages]) << self._log2[pages])
        ends = np.minimum(starts + (1 << self._log2[pages]), self._offset[pages] + self._nbytes[pages])
        return starts, ends

    def _verify_blocks(self, blocks: Int64s, data: Bytes, places: Int64s, lengths: Int64s) -> None:
        """Check those of the blocks that are new, and remember them. They lie at `places` of data."""
        new = np.flatnonzero(~self._verified[blocks])
        found = sums_at(data, places[new], lengths[new])
        wrong = np.flatnonzero(found != self._sums[blocks[new]])
        if len(wrong):
            block = blocks[new[wrong[:1]]]
            (at,), (end,) = self._block_ranges(block)
            raise Corrupt(
                f"page {self._page_of_block[block[0]]}: the checksum of the block of {end - at:,} bytes does not match",
                kind="checksum",
                where=f"{self.where}, byte {at:,}",
                hint="the file is damaged; restore it from a copy",
            )
        with self._lock:
            self._unverified -= int(np.count_nonzero(~self._verified[blocks[new]]))
            self._verified[blocks[new]] = True

    def _node(self, page: int) -> Node:
        node = self._nodes[page]
        assert node is not None
        return node

    def _open_pages(self, pages: Int64s) -> Conversation[None]:
        """Read and check the entries and headers of pages that are not open yet."""
        pages = pages[self._form[pages] == _NOT_OPEN]
        if len(pages) == 0:
            return
        missing = pages[self._entries["num_rows"][pages] == 0]
        if len(missing):
            starts = self.record.entries_offset + missing * PAGE_ENTRY.itemsize
            (data,) = yield [(starts, starts + PAGE_ENTRY.itemsize)]
            self._set_entries(missing, data)
        entries = self._entries[pages]
        starts = entries["header_offset"].astype(np.int64)
        lengths = entries["header_nbytes"].astype(np.int64)
        if self._headers is not None:
            headers, places = self._headers, starts
        else:
            at = starts + self.record.headers_offset
            (headers,) = yield [(at, at + lengths)]
            places = np.concatenate(([0], np.cumsum(lengths)[:-1]))
        for page, start, length in zip(pages.tolist(), places.tolist(), lengths.tolist(), strict=True):
            self._open_page(page, headers[start : start + length].tobytes())

    def _open_page(self, page: int, header: bytes) -> None:
        entry = self._entries[page]
        place = f"{self.where}, page {page}"
        if sum64(header) != int(entry["header_sum"]):
            raise Corrupt("the checksum of a page header does not match", kind="checksum", where=place)
        description, sums = unpack_header(header, int(entry["num_blocks"]), place)
        node = parse_node(parse_json(description, place), int(entry["nbytes"]), place)
        if node.num_rows != entry["num_rows"]:
            raise Corrupt("a page description has the wrong row count", kind="page", where=place)
        direct = direct_of(node, self.kind)
        with self._lock:
            if self._nodes[page] is not None:
                return
            self._first_block[page] = len(self._sums)
            self._sums = np.concatenate((self._sums, sums))
            self._page_of_block = np.concatenate((self._page_of_block, np.full(len(sums), page)))
            self._verified = np.concatenate((self._verified, np.zeros(len(sums), bool)))
            self._unverified += len(sums)
            self._nodes[page] = node
            # Last: another thread that sees it finds all the rest in place.
            self._form[page] = _NOT_DIRECT if direct is None else self._place(page, int(entry["offset"]), node, direct)
            self._unopened -= 1
            if self._unopened == 0 and len(self._forms) == 1 and (self._form >= 0).all():
                self._only_form = self._forms[0]

    def _place(self, page: int, offset: int, node: Node, direct: Direct) -> int:
        """Note where the values of a page lie. Returns the number of its form."""
        self._values[page] = offset + direct.start
        self._base[page] = wrapped(direct.base or 0)
        if node.validity is not None:
            self._validity[page] = offset + node.validity[0]
        form = _Form(direct.width, direct.base is not None, node.validity is not None)
        if form not in self._forms:
            self._forms.append(form)
        return self._forms.index(form)

    def _set_fences(self, data: Bytes) -> None:
        if sum32(data) != self.record.fences_sum:
            raise Corrupt("the checksum of the fences does not match", kind="checksum", where=self.where)
        fences = data.view("<u8").astype(np.int64)
        if fences[0] != 0 or fences[-1] != self.record.num_rows or (np.diff(fences) <= 0).any():
            raise Corrupt("the fences do not ascend to the row count", kind="fences", where=self.where)
        self.fences = fences

    def _set_entries(self, pages: Int64s, data: Bytes) -> None:
        entries = unpack_entries(data, self.record, self.where)
        first, rows = entries["first_row"].astype(np.int64), entries["num_rows"].astype(np.int64)
        if (first != self.fences[pages]).any() or (first + rows != self.fences[pages + 1]).any():
            raise Corrupt("page entries and fences disagree", kind="page", where=self.where)
        self._offset[pages] = entries["offset"]
        self._nbytes[pages] = entries["nbytes"]
        self._log2[pages] = entries["block_log2"]
        self._entries[pages] = entries


def _answer_from(page: Bytes, read: Conversation[T]) -> T:
    """Run a read of one page against the whole page in hand."""
    try:
        asks = next(read)
        while True:
            asks = read.send([gather_from(page, starts, ends) for starts, ends in asks])
    except StopIteration as stop:
        return stop.value
