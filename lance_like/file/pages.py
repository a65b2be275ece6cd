"""The pages of one column of one open file: from rows to pages, from pages to stacks, from stacks to arrays.

Pages open many at a time: a small column all at once, a large one the neighbours of the pages touched too. Those of
one shape that open together are one stack, so that rows of many pages are read in one pass.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from lance_like.encodings.base import Node, parse_node
from lance_like.encodings.joining import joined, taken
from lance_like.encodings.linear import (
    Progression,
    learn_lines,
    lines_to_learn,
    may_be_progression,
    progression_of,
)
from lance_like.encodings.physical import is_variable, read_validity, storage_of, unpack_bits
from lance_like.encodings.places import DESCRIPTION, describe_node
from lance_like.encodings.plain import FlatCells, flat_cells_of
from lance_like.encodings.recast import choose_recast, is_recast, read_recast, stored_type
from lance_like.encodings.registry import read_node, shape
from lance_like.encodings.sift import Flags, Sieve, read_chosen, read_judged
from lance_like.encodings.stack import (
    NO_BLOB,
    Ask,
    Cells,
    Reading,
    Runs,
    SharedBlob,
    SpanningAsk,
    Stack,
    expand,
    ranges_of,
    together,
)
from lance_like.errors import Corrupt
from lance_like.file.blocks import Blocks
from lance_like.file.carry import carried_type
from lance_like.file.layout import PAGE_ENTRY, parse_json, sum32, unpack_entries
from lance_like.file.opening import Metadata, check_against_fences
from lance_like.file.types import check_stored
from lance_like.locks import lock_over_forks
from lance_like.ranges import gather_from
from lance_like.typing_ import Bytes, Conversation, Int64s, Ranges, T

# Pages that open together when a column has more than are read at once.
_WINDOW = 64
# A run of at least this share of a page reads the page whole: one request, no copy.
_WHOLE_PAGE_SHARE = 0.5
# Of several runs of rows those that are shorter are read in one pass; longer ones without a copy, or unpacked by tiles.
_SHORT_ROWS = 8192
# Pages of fewer rows than this, on the average, are described together, row by row.
_FEW_ROWS = 64
# Pages of fewer bytes are checked with those of other columns. Larger ones are asked for one by one: a store lets go of
# large ranges that it handed out as they are mapped.
_SMALL_NBYTES = 128 * 1024
# Descriptions this short are parsed once for all pages that have the same text.
_SHORT_TEXT = 512

_FIRST = np.zeros(1, np.int64)

_LOCK = lock_over_forks()


class Pieces(NamedTuple):
    """Runs of rows cut by pages, int64[n] of each: of which run, in which page, and the rows of the column."""

    spans: Int64s
    pages: Int64s
    starts: Int64s
    ends: Int64s


class ColumnPages:
    """What is known of a column's pages so far. metadata: of the column; kind: its type, or DESCRIPTION.

    unopened: how many of the pages are not open. stored_nbytes: of those pages whose entries are here.
    """

    def __init__(self, metadata: Metadata, kind: pa.DataType, blocks: Blocks) -> None:
        self.where, self.record, self.fences = metadata.where, metadata.record, metadata.fences
        # The type of the column, and the one its arrays are carried as.
        self.stored = metadata.stored
        # The type that was asked for last.
        self._checked: pa.DataType | None = None
        # Of cells that are found without looking into pages: how, and the type that this was found for.
        self._direct: FlatCells | Progression | None = None
        self._direct_kind: pa.DataType | None = None
        self.check_kind(kind)
        apart = kind is DESCRIPTION or is_recast(kind)
        self.kind = carried_type(self.stored if apart else kind)
        self.blocks = blocks
        self.shared = SharedBlob(metadata.shared) if metadata.shared else NO_BLOB
        n = self.record.num_pages
        entries = metadata.entries
        self._entries = np.zeros(n, PAGE_ENTRY) if entries is None else entries
        # With the descriptions of all pages, and their block checksums, while they are few.
        self._metadata = None if entries is None else metadata
        # By page: its stack, -1 while it is not open, and its place there.
        self._stack_of = np.full(n, -1, np.int64)
        self._place_in = np.zeros(n, np.int64)
        self._stacks: list[Stack] = []
        # By encoding that pages begin with, of those that are open.
        self._rows_open: dict[str, int] = {}
        self.unopened = n
        self.stored_nbytes = int(self._entries["nbytes"].sum())

    def check_kind(self, kind: pa.DataType) -> None:
        """Raise Corrupt unless a column of that type can be read as kind.

        kind: its type, the description of its cells, or one that it can be read as (encodings/recast.py).
        """
        if kind is self._checked:
            return
        described = kind is DESCRIPTION and is_variable(storage_of(carried_type(self.stored)))
        recast = is_recast(kind) and stored_type(kind).equals(self.stored)
        if not described and not recast:
            check_stored(self.stored, kind, self.where)
        self._checked = kind

    @property
    def nbytes_cached(self) -> int:
        """Memory, estimated: the page table, and what the open pages keep."""
        parts = (self.fences, self._entries, self._stack_of, self._place_in)
        tables = sum(part.nbytes for part in parts) + (len(self._metadata.rest) if self._metadata else 0)
        return tables + len(self.shared.data) + sum(stack.nbytes_cached for stack in list(self._stacks))

    def extents(self) -> Conversation[Ranges]:
        """Where each page begins and ends in the file. Cost: the page table, and what else is known of all pages."""
        yield from open_pages([self], self.fences[:-1])
        starts = self._entries["offset"].astype(np.int64)
        return starts, starts + self._entries["nbytes"].astype(np.int64)

    def page_of(self, rows: Int64s) -> Int64s:
        """The page of each row."""
        return self.fences[1:-1].searchsorted(rows, "right")

    def pages_around(self, start: int, end: int) -> tuple[int, int]:
        """The first and the last page of a run of rows, of which there is one."""
        if len(self.fences) == 2:
            return 0, 0
        first, last = self.page_of(np.array([start, end - 1])).tolist()
        return first, last

    def read_rows(self, rows: Int64s, kind: pa.DataType) -> Conversation[pa.Array]:
        """Some rows, in the order asked.

        rows: int64[n], any order, repeats allowed, all within the column. kind: the column's type, or DESCRIPTION.
        """
        if self.unopened:
            yield from open_pages([self], rows)
        return (yield from checked(self.rows_of_open_pages(rows, kind), self.blocks))

    def rows_of_open_pages(self, rows: Int64s, kind: pa.DataType) -> Reading[pa.Array]:
        """As `read_rows`, once all pages of the rows are open."""
        direct = self._found_directly(kind)
        if direct is not None and len(rows):
            return (yield from direct.read(self.kind, rows))
        if kind is not self.stored:
            self.check_kind(kind)
        if len(rows) == 0:
            return pa.nulls(0, kind if kind is DESCRIPTION or is_recast(kind) else self.kind)
        pages = self.page_of(rows)
        local = rows - self.fences[pages]
        stacks = self._stack_of[pages] if len(self._stacks) > 1 else _FIRST
        if len(stacks) == 1 or (stacks == stacks[0]).all():
            stack, runs = self._stacks[stacks[0]], Runs.of_rows(self._place_in[pages], local)
            reading = self._read_node(stack, kind, runs)
            # Of pages that are damaged somewhere the other rows are read: what was not checked is not looked at.
            lines = lines_to_learn(stack, runs.at) if len(self._stacks) == 1 else []
            lines = [one for one in lines if self.blocks.are_verified([one[1]])]
            if not lines:
                return (yield from reading)
            array, _ = yield from together([reading, learn_lines(stack, lines)])
            return array
        return (yield from self._read_stacks(stacks, self._place_in[pages], local, kind))

    def cells_of_open_pages(self, rows: Int64s, kind: pa.DataType) -> Reading[Cells | pa.Array]:
        """As `rows_of_open_pages`, but of cells of one width those that lie in the file as they are, where they lie.

        rows: one at least; of those that do not lie one after another, and of other cells, come arrays.
        """
        flat = self._found_directly(kind)
        if isinstance(flat, FlatCells):
            starts, ends, slots = flat.ask(rows)
            if int(np.minimum.reduce(starts[1:] - ends[:-1], initial=0)) >= 0:
                (data,) = yield [SpanningAsk(starts, ends, slots)]
                return Cells(data, starts - starts[0])
        return (yield from self.rows_of_open_pages(rows, kind))

    def _found_directly(self, kind: pa.DataType) -> FlatCells | Progression | None:
        """Of all pages: where the cells are, if they are of one width and lie there as they are, or the line that they
        are on, if that is known. None where a page has to be asked.

        Found once all pages are open.
        """
        if kind is self._direct_kind:
            return self._direct
        if self.unopened or len(self._stacks) != 1 or kind is DESCRIPTION or is_recast(kind):
            return None
        self.check_kind(kind)
        stack, pages = self._stacks[0], (self.fences, self._place_in)
        found = flat_cells_of(stack, self.kind, *pages) or progression_of(stack, self.kind, *pages)
        if found is not None or not may_be_progression(stack):
            self._direct, self._direct_kind = found, kind
        return found

    def _read_stacks(self, stacks: Int64s, places: Int64s, local: Int64s, kind: pa.DataType) -> Reading[pa.Array]:
        """Rows of several stacks, put back into the order asked."""
        order = np.argsort(stacks, kind="stable")
        cuts = np.flatnonzero(np.diff(stacks[order])) + 1
        reads = [
            self._read_node(self._stacks[stacks[some[0]]], kind, Runs.of_rows(places[some], local[some]))
            for some in np.split(order, cuts)
        ]
        arrays = yield from together(reads)
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        return taken(joined(arrays), pa.array(back))

    def _read_node(self, stack: Stack, kind: pa.DataType, runs: Runs) -> Reading[pa.Array]:
        if kind is DESCRIPTION:
            return describe_node(stack, self.kind, runs)
        return read_recast(stack, kind, runs) if is_recast(kind) else read_node(stack, self.kind, runs)

    def share_of(self, encoding: str) -> float:
        """The share of the rows of open pages that lie in pages which begin with an encoding; 0 where none is open."""
        return self._rows_open.get(encoding, 0) / max(1, sum(self._rows_open.values()))

    def read_bytes(self, row: int, start: int, end: int) -> Conversation[Bytes]:
        """Bytes of the file that lie in the page of a row, the blocks around them checked.

        Raises Corrupt when they lie elsewhere.
        """
        yield from open_pages([self], np.array([row]))
        page = self.page_of(np.array([row]))
        entry = self._entries[page[0]]
        first = int(entry["offset"])
        if not first <= start <= end <= first + int(entry["nbytes"]):
            raise Corrupt(f"bytes {start:,} to {end:,} are not in page {page[0]}", kind="page", where=self.where)
        slot = self._stacks[self._stack_of[page[0]]].slots[self._place_in[page]]
        (data,) = yield from self.blocks.checked([(np.array([start]), np.array([end]), slot)])
        return data

    def page_around(self, start: int, end: int) -> int | None:
        """The page that a run of rows is a small part of, so that the page need not be read whole; None: of none."""
        if start >= end:
            return None
        first, last = self.pages_around(start, end)
        small = end - start < _WHOLE_PAGE_SHARE * (self.fences[first + 1] - self.fences[first])
        return first if first == last and small else None

    def read_within(self, page: int, start: int, end: int, kind: pa.DataType) -> Reading[pa.Array]:
        """A run of rows of a page, which is open."""
        first = int(self.fences[page])
        runs = Runs(self._place_in[page : page + 1], np.array([start - first]), None, each=end - start)
        return self._read_node(self._stacks[self._stack_of[page]], kind, runs)

    def read_span(self, start: int, end: int, kind: pa.DataType) -> Conversation[list[pa.Array]]:
        """A run of rows, an array a page. kind: the column's type, or DESCRIPTION."""
        if start >= end:
            return []
        first, last = self.pages_around(start, end)
        if kind is DESCRIPTION and end - start < _FEW_ROWS * (last - first):
            return [(yield from self.read_rows(np.arange(start, end), kind))]

        return (yield from self._by_page(start, end, self._reader(kind), parts=kind is DESCRIPTION))

    def _reader(
        self, kind: pa.DataType, chosen: tuple[int, Int64s] | None = None
    ) -> Callable[[Stack, Runs, int], Reading[pa.Array]]:
        """What reads a page of a run of rows. chosen: the first row of the run, and those of it that are wanted."""
        if chosen is None:
            return lambda stack, runs, _: self._read_node(stack, kind, runs)
        start, rows = chosen

        def read(stack: Stack, runs: Runs, first: int) -> Reading[pa.Array]:
            low, high = rows.searchsorted((first - start, first - start + runs.count)).tolist()
            some = rows[low:high] - (first - start) if first > start else rows[:high]
            if is_recast(kind):
                return choose_recast(stack, kind, runs, some)
            return read_chosen(stack, self.kind, runs, some)

        return read

    @property
    def is_at_hand(self) -> bool:
        """Whether what is known of all pages came along with the column."""
        return self._metadata is not None

    def are_small(self, start: int, end: int) -> bool:
        """Whether all pages that a run of rows touches are small. They are open."""
        first, last = self.pages_around(start, end)
        return int(self._entries["nbytes"][first : last + 1].max()) < _SMALL_NBYTES

    def opened(self, page: int) -> tuple[Node, int, int]:
        """What an open page is described as, where it begins in the file, and its slot."""
        stack, place = self._stacks[self._stack_of[page]], self._place_in[page]
        return stack.nodes[place], int(self._entries["offset"][page]), int(stack.slots[place])

    @property
    def sums_at_hand(self) -> Bytes:
        """The block checksums of all pages, if they came along with the column; else nothing."""
        return np.empty(0, np.uint8) if self._metadata is None else self._metadata.sums

    def _nodes_at_hand(self, pages: Int64s) -> list[Node]:
        assert self._metadata is not None
        return self._parsed(pages, self._metadata.descriptions, self._entries["description_offset"].astype(np.int64))

    def part_of_open_pages(
        self, start: int, end: int, kind: pa.DataType, rows: Int64s | None
    ) -> Reading[list[pa.Array]]:
        """As `read_part`, once all pages of the rows are open. kind: not DESCRIPTION."""
        chosen = None if rows is None else (start, rows)
        return together(self._runs(start, end, self._reader(kind, chosen), parts=False))

    def read_part(self, start: int, end: int, kind: pa.DataType, rows: Int64s | None) -> Conversation[list[pa.Array]]:
        """A run of rows, an array a page. rows: those of them that are wanted, as `read_chosen`; None: all.

        kind: the column's type, DESCRIPTION, or one that it can be read as.
        """
        if rows is None:
            return self.read_span(start, end, kind)
        if kind is DESCRIPTION:
            return together([self.read_rows(start + rows, kind)])
        return self.read_chosen(start, end, rows, kind)

    def pieces(self, spans: Sequence[tuple[int, int]]) -> Pieces:
        """The pieces of runs of rows (start, end), a piece a page."""
        starts, ends = np.array(spans, np.int64).T
        filled = (starts < ends).nonzero()[0]
        starts, ends = starts[filled], ends[filled]
        first, last = self.page_of(starts), self.page_of(ends - 1)
        pages, of = expand(first, last + 1), np.arange(len(filled)).repeat(last - first + 1)
        low, high = np.maximum(starts[of], self.fences[pages]), np.minimum(ends[of], self.fences[pages + 1])
        return Pieces(filled[of], pages, low, high)

    def groups(self, pieces: Pieces) -> list[Int64s]:
        """Which pieces are read in one pass; their pages are open."""
        rows = self.fences[pieces.pages + 1] - self.fences[pieces.pages]
        short = pieces.ends - pieces.starts < np.minimum(_SHORT_ROWS, _WHOLE_PAGE_SHARE * rows)
        stacks = self._stack_of[pieces.pages]
        alone = [np.array([piece]) for piece in (~short).nonzero()[0].tolist()]
        return alone + [(short & (stacks == stack)).nonzero()[0] for stack in sorted({*stacks[short].tolist()})]

    def read_group(self, pieces: Pieces, group: Int64s, kind: pa.DataType) -> Conversation[pa.Array]:
        """Pieces end to end, as `groups` gives them."""
        pages = pieces.pages[group]
        before = self.fences[pages]
        runs = Runs(self._place_in[pages], pieces.starts[group] - before, pieces.ends[group] - before)
        read = self._read_node(self._stacks[self._stack_of[pages[0]]], kind, runs)
        if len(group) == 1:
            read = self._read_run(int(pages[0]), runs, read, parts=False)
        return checked(read, self.blocks)

    def read_chosen(self, start: int, end: int, rows: Int64s, kind: pa.DataType) -> Conversation[list[pa.Array]]:
        """Rows of a run, an array a page: int64[n], ascending, from the start of the run; a good part of it.

        kind: the column's type, or one that it can be read as.
        """
        return self._by_page(start, end, self._reader(kind, (start, rows)), parts=False)

    def judge_span(
        self, start: int, end: int, test: Sieve, use: Callable[[int, Flags], T] = lambda _, flags: flags
    ) -> Conversation[list[T]]:
        """Which rows of a run, of at least one row, pass a test of their values as carried: bool[n], an array a page.

        use: what is made of those of a page as soon as they are there, and of the first of its rows, from `start` on.
        """

        def read(stack: Stack, runs: Runs, first: int) -> Reading[T]:
            return use(first - start, (yield from read_judged(stack, self.kind, runs, test)))

        return self._by_page(start, end, read, parts=False)

    def _by_page(
        self, start: int, end: int, read: Callable[[Stack, Runs, int], Reading[T]], *, parts: bool
    ) -> Conversation[list[T]]:
        """What a read answers for each page of a run of rows.

        read: is given stack, rows and the first of them, counted in the column. parts: it never needs a page whole.
        """
        yield from open_pages([self], self._fences_of(start, end))
        return (yield from together([checked(run, self.blocks) for run in self._runs(start, end, read, parts=parts)]))

    def _fences_of(self, start: int, end: int) -> Int64s:
        """The first row of each page that a run of rows touches."""
        first, last = self.pages_around(start, end)
        return self.fences[first : last + 1]

    def _runs(
        self, start: int, end: int, read: Callable[[Stack, Runs, int], Reading[T]], *, parts: bool
    ) -> list[Reading[T]]:
        """As `_by_page`, a read a page, once all of them are open."""
        reads = []
        first, last = self.pages_around(start, end)
        for page in range(first, last + 1):
            low, high = max(start, int(self.fences[page])), min(end, int(self.fences[page + 1]))
            stack, place = self._stacks[self._stack_of[page]], self._place_in[page : page + 1]
            runs = Runs(place, low - self.fences[page : page + 1], None, each=high - low)
            reads.append(self._read_run(page, runs, read(stack, runs, low), parts=parts))
        return reads

    def read_validity(self, start: int, end: int) -> Conversation[np.ndarray]:
        """bool[end - start], of at least one row: which are not null; of a dictionary type, which indices are not."""
        first, last = self.pages_around(start, end)
        yield from open_pages([self], self.fences[first : last + 1])
        found: list[np.ndarray] = []
        for page in range(first, last + 1):
            low, high = max(start, int(self.fences[page])), min(end, int(self.fences[page + 1]))
            stack, place = self._stacks[self._stack_of[page]], self._place_in[page : page + 1]
            if stack.validity is None:
                found.append(np.full(high - low, not stack.node.is_null))
                continue
            rows = np.array([low, high]) - self.fences[page]
            read = read_validity(stack, Runs(place, rows[:1], rows[1:]))
            bitmap = yield from checked(read, self.blocks)
            found.append(unpack_bits(bitmap, 0, high - low).view(bool))
        return np.concatenate(found)

    def _read_run(self, page: int, runs: Runs, read: Reading[T], *, parts: bool) -> Reading[T]:
        rows, nbytes = int(self.fences[page + 1] - self.fences[page]), int(self._entries["nbytes"][page])
        if runs.count < _WHOLE_PAGE_SHARE * rows or nbytes == 0 or parts:
            return (yield from read)
        try:
            asks = next(read)
        except StopIteration as stop:
            return stop.value  # what is kept of the page said it all
        low = self._entries["offset"][page : page + 1].astype(np.int64)
        stack = self._stacks[self._stack_of[page]]
        slot = stack.slots[self._place_in[page : page + 1]]
        (data,) = yield [(low, low + nbytes, slot)]
        return _answer_from(data, int(low[0]), read, asks)

    def _read_nodes(self, rows: Int64s) -> Conversation[tuple[Int64s, list[Node]]]:
        """Read and check what is known of the pages of rows that are not open yet, and of their neighbours."""
        pages = self._with_neighbours(rows)
        missing = pages[self._entries["num_rows"][pages] == 0]
        if len(missing):
            starts = self.record.entries_offset + missing * PAGE_ENTRY.itemsize
            (data,) = yield [(starts, starts + PAGE_ENTRY.itemsize)]
            found = unpack_entries(data, starts, self.record.limits, self.where)
            check_against_fences(found, self.fences[missing], self.fences[missing + 1], self.where)
            self._entries[missing] = found
            self.stored_nbytes = int(self._entries["nbytes"].sum())
        if len(pages) == 0:
            return pages, []
        at = self._entries["description_offset"][pages].astype(np.int64) + self.record.descriptions_offset
        lengths = self._entries["description_nbytes"][pages].astype(np.int64)
        (texts,) = yield [(at, at + lengths)]
        return pages, self._parsed(pages, texts, lengths.cumsum() - lengths)

    def _parsed(self, pages: Int64s, texts: Bytes, starts: Int64s) -> list[Node]:
        """What the descriptions of pages say. starts: int64[n], where each begins in the texts."""
        # A field at a time: numpy takes fifty times as long to pick entries whole.
        names = ("description_nbytes", "description_sum", "nbytes", "num_rows")
        fields = [self._entries[name][pages].tolist() for name in names]
        stated = zip(pages.tolist(), starts.tolist(), *fields, strict=True)
        return [
            parse_description(
                texts[start : start + length].tobytes(), digest, nbytes, rows, f"{self.where}, page {page}"
            )
            for page, start, length, digest, nbytes, rows in stated
        ]

    def _with_neighbours(self, rows: Int64s) -> Int64s:
        """The pages to open for rows: whole windows."""
        pages = self.page_of(rows)
        windows = np.unique(pages[self._stack_of[pages] < 0] // _WINDOW)
        near = (windows[:, None] * _WINDOW + np.arange(_WINDOW)).reshape(-1)
        near = near[near < len(self._stack_of)]
        return near[self._stack_of[near] < 0]

    def _stack(self, pages: Int64s, nodes: list[Node], slots: Int64s) -> None:
        """Put pages that open together into stacks, one a shape."""
        groups: dict[Hashable, list[int]] = {}
        for position, node in enumerate(nodes):
            groups.setdefault(shape_of_node(node), []).append(position)
        for members in groups.values():
            chosen = pages[members]
            offsets = self._entries["offset"][chosen].astype(np.int64)
            stack = Stack([nodes[i] for i in members], offsets, slots[members], (self.shared,))
            with _LOCK:
                self._place_in[chosen] = np.arange(len(chosen))
                self._stacks.append(stack)
                rows = self._rows_open.get(stack.encoding, 0)
                self._rows_open = {**self._rows_open, stack.encoding: rows + int(stack.num_rows.sum())}
                self.unopened -= int(np.count_nonzero(self._stack_of[chosen] < 0))
                # Last: another thread that sees it finds all the rest in place.
                self._stack_of[chosen] = len(self._stacks) - 1


def open_pages(columns: Sequence[ColumnPages], rows: Int64s) -> Conversation[None]:
    """Open the pages of rows in columns of one file, where they are not open yet.

    Cost: 2 rounds, whatever the number of columns; none while their page tables came along with them.
    """
    open_at_hand(columns)
    columns = [column for column in columns if column.unopened]
    if not columns or len(rows) == 0:
        return
    found = yield from together([column._read_nodes(rows) for column in columns])
    _settle(columns, [pages for pages, _ in found], [nodes for _, nodes in found])


def open_at_hand(columns: Sequence[ColumnPages]) -> None:
    """Open all pages of those columns of one file whose page tables came along with them."""
    columns = [column for column in columns if column.unopened and column.is_at_hand]
    if not columns:
        return
    pages = [np.arange(len(column._entries)) for column in columns]
    _settle(columns, pages, [column._nodes_at_hand(some) for column, some in zip(columns, pages, strict=True)])


def _settle(columns: Sequence[ColumnPages], pages: Sequence[Int64s], nodes: Sequence[list[Node]]) -> None:
    """Open pages of columns of one file of which all is known. nodes: of the pages of each column."""
    blocks = columns[0].blocks
    # As bytes: numpy would compare the fields of all of them.
    raw = [column._entries.view(np.uint8).reshape(-1, PAGE_ENTRY.itemsize) for column in columns]
    chosen = [own[some] for own, some in zip(raw, pages, strict=True)]
    entries = np.concatenate(chosen).reshape(-1).view(PAGE_ENTRY)
    counts = [len(some) for some in pages]
    sums_offsets = np.array([column.record.sums_offset for column in columns], np.int64).repeat(counts)
    slots = blocks.add(entries, sums_offsets)
    _load_sums(columns, counts, entries, slots)
    end = 0
    for column, some, own in zip(columns, pages, nodes, strict=True):
        start, end = end, end + len(some)
        column._stack(some, own, slots[start:end])


def _load_sums(columns: Sequence[ColumnPages], counts: Sequence[int], entries: np.ndarray, slots: Int64s) -> None:
    """Take the block checksums that came along with columns. counts: the pages of each."""
    sums = [column.sums_at_hand for column in columns]
    blocks = columns[0].blocks
    first = 4 * entries["first_block"].astype(np.int64)
    lengths = 4 * entries["num_blocks"].astype(np.int64)
    if len(columns) == 1:
        if len(sums[0]):
            blocks.load(slots, gather_from(sums[0], first, first + lengths))
        return
    nbytes = np.array([len(some) for some in sums], np.int64)
    there = np.repeat(nbytes > 0, counts)
    if there.any():
        first = (first + np.repeat(np.cumsum(nbytes) - nbytes, counts))[there]
        blocks.load(slots[there], gather_from(np.concatenate(sums), first, first + lengths[there]))


def checked(read: Reading[T], blocks: Blocks) -> Conversation[T]:
    """Run a read against the file, the blocks it touches checked."""
    try:
        asks = next(read)
        while True:
            if blocks.pending:
                asks = read.send((yield from blocks.checked(asks)))
            else:
                asks = read.send((yield ranges_of(asks)))
    except StopIteration as stop:
        return stop.value


def parse_description(text: bytes, digest: int, page_nbytes: int, num_rows: int, where: str) -> Node:
    """Check a page's description against what its entry states of the page. Raises Corrupt."""
    try:
        if sum32(text) != digest:
            raise Corrupt("the checksum of a page description does not match", kind="checksum")
        parse = _parse_short if len(text) <= _SHORT_TEXT else _parse
        node = parse(text, page_nbytes)
        if node.num_rows != num_rows:
            raise Corrupt("a page description has the wrong row count", kind="page")
    except Corrupt as error:
        raise Corrupt(error.message, kind=error.kind, where=where) from error
    return node


def _parse(text: bytes, page_nbytes: int) -> Node:
    return parse_node(parse_json(text, ""), page_nbytes)


_parse_short = lru_cache(maxsize=4096)(_parse)
shape_of_node = lru_cache(maxsize=4096)(shape)


def _answer_from(page: Bytes, first: int, read: Reading[T], asks: list[Ask]) -> T:
    """Run a begun read of one page against the whole page in hand. first: where the page begins in the file."""
    try:
        while True:
            asks = read.send([gather_from(page, starts - first, ends - first) for starts, ends, _ in asks])
    except StopIteration as stop:
        return stop.value
