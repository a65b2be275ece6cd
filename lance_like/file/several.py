"""Columns of many files at once, decoded in one pass of kernels for all that are alike.

Their pages lie end to end in memory, as those of one file: what each file says of its columns is checked file by file,
then everything is moved to its place there, and pages of one shape are one stack.
"""

from __future__ import annotations

from collections.abc import Generator, Hashable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from lance_like.encodings.base import Node
from lance_like.encodings.joining import joined, taken
from lance_like.encodings.physical import as_key, flat_width
from lance_like.encodings.registry import read_node
from lance_like.encodings.stack import NO_BLOB, Reading, Runs, SharedBlob, Stack, expand, together
from lance_like.errors import Corrupt
from lance_like.file.blocks import Blocks
from lance_like.file.carry import carried_type
from lance_like.file.layout import (
    RECORD_NBYTES,
    TAIL_NBYTES,
    ColumnRecord,
    Tail,
    sum64,
    unpack_column,
    unpack_tail,
)
from lance_like.file.pages import checked, shape_of_node
from lance_like.file.wide import Opening
from lance_like.ranges import answer_from, answer_from_parts, coalesce, gather_from
from lance_like.typing_ import Bytes, Conversation, Int64s, Ranges, T

# Python's objects of a page that is open.
_PAGE_NBYTES = 1_000
# Of what is asked for, ranges this near are read as one.
_GAP_NBYTES = 512
# Pages of fewer rows, on the average, are put into order row by row.
_FEW_ROWS = 64

Asking: TypeAlias = Generator[list[tuple[str, Ranges]], list[Bytes], T]
"""A read of several files: asks for ranges of them by their names, is given bytes for each, and has an answer."""


@dataclass(frozen=True, slots=True)
class Stated:
    """What a file states of some of its columns, not checked yet.

    where: the file, in errors. data: holds the metadata of the columns, whole. starts: where each begins there.
    """

    where: str
    num_rows: int
    records: Sequence[ColumnRecord]
    data: bytes | Bytes
    starts: Sequence[int]


class SeveralColumns:
    """The same columns of several files. Raises Corrupt, Unsupported where what a file states is wrong.

    files: what each states of the columns, in their order. kinds: their types. verify: check the blocks of pages.
    """

    def __init__(self, files: Sequence[Stated], kinds: Sequence[pa.DataType], *, verify: bool) -> None:
        self._kinds = [carried_type(kind) for kind in kinds]
        self._files = len(files)
        self._names = [file.where for file in files]
        opening = _opening(files, len(kinds))
        opening.check_types([kind for kind in kinds for _ in files])
        entries = opening.entries(opening.fences([file.num_rows for file in files] * len(kinds)))
        self._nodes = opening.nodes(entries)
        blobs = [SharedBlob(blob) if blob else NO_BLOB for blob in opening.blobs()]
        self._blobs = [
            blob for blob, record in zip(blobs, opening.records, strict=True) for _ in range(record.num_pages)
        ]
        self._blobs_nbytes = sum(len(blob.data) for blob in blobs)
        # Of each column, and of each file, the pages, one after the other.
        pages = np.array([record.num_pages for record in opening.records], np.int64)
        self._ends = pages.reshape(len(kinds), len(files)).sum(axis=1).cumsum().tolist()
        self._file_of = np.tile(np.arange(len(files)), len(kinds)).repeat(pages)
        self._starts, self._nbytes = entries["offset"].astype(np.int64), entries["nbytes"].astype(np.int64)
        # In memory the pages of a file lie side by side, one file after the other.
        self._order = np.argsort(self._file_of, kind="stable")
        lengths = self._nbytes[self._order]
        self._offsets = np.empty(len(lengths), np.int64)
        self._offsets[self._order] = lengths.cumsum() - lengths
        self._blocks = Blocks("several files", verify=verify)
        self._slots = self._slots_of(opening, entries, pages)

    def _slots_of(self, opening: Opening, entries: np.ndarray, pages: Int64s) -> Int64s:
        """The slots of all pages, their block checksums loaded."""
        entries = entries.copy()
        entries["offset"] = self._offsets
        moved = [
            start + r.sums_offset - r.offset for start, r in zip(opening.starts.tolist(), opening.records, strict=True)
        ]
        at = np.repeat(np.array(moved, np.int64), pages)
        slots = self._blocks.add(entries, at)
        low = at + 4 * entries["first_block"].astype(np.int64)
        self._blocks.load(slots, gather_from(opening.data, low, low + 4 * entries["num_blocks"].astype(np.int64)))
        return slots

    @property
    def extents(self) -> tuple[Int64s, Int64s, Int64s]:
        """Of each page, those of a file after those of the file before: the file, its first byte there and its end."""
        starts = self._starts[self._order]
        return self._file_of[self._order], starts, starts + self._nbytes[self._order]

    @property
    def extents_by_file(self) -> list[Ranges]:
        """Where the pages lie in each file."""
        files, starts, ends = self.extents
        cuts = files.searchsorted(np.arange(1, self._files))
        return list(zip(np.split(starts, cuts), np.split(ends, cuts), strict=True))

    @property
    def nbytes_cached(self) -> int:
        """Memory, estimated."""
        return _PAGE_NBYTES * len(self._nodes) + self._blobs_nbytes + self._blocks.nbytes_cached

    def read(self, positions: Sequence[int], data: Bytes) -> list[pa.Array]:
        """All rows of some of the columns, those of each file after those of the file before, as carried.

        data: the bytes of all extents, end to end.
        Raises Corrupt, Unsupported; InvalidInput where the cells do not fit one array.
        """
        groups = self._alike(positions)
        reads = [_read_column(self._columns(group), self._kinds[group[0]]) for group in groups]
        found = _answer(checked(together(reads), self._blocks), data)
        arrays: dict[int, pa.Array] = {}
        for group, array in zip(groups, found, strict=True):
            rows = len(array) // len(group)
            arrays.update((position, array[i * rows : (i + 1) * rows]) for i, position in enumerate(group))
        return [arrays[position] for position in positions]

    def read_rows(self, positions: Sequence[int], rows: Int64s) -> Asking[list[pa.Array]]:
        """Some rows of some of the columns, as carried, in the order asked. rows: int64[n], counted over all files.

        Raises as `read`. Cost: 1 round, 2 for columns of variable width, 1 more a list level.
        """
        reads = [_read_rows(self._columns([position]), self._kinds[position], rows) for position in positions]
        return self._fetched(checked(together(reads), self._blocks))

    def _alike(self, positions: Sequence[int]) -> list[list[int]]:
        """Columns that are read in one pass: numbers of one type whose pages have the same shapes; others alone."""
        groups: dict[Hashable, list[int]] = {}
        for position in dict.fromkeys(positions):
            kind = self._kinds[position]
            shapes = [shape_of_node(self._nodes[page]) for page in self._pages_of(position)]
            key = position if flat_width(kind) is None else (as_key(kind), *shapes)
            groups.setdefault(key, []).append(position)
        return list(groups.values())

    def _pages_of(self, position: int) -> range:
        return range(self._ends[position - 1] if position else 0, self._ends[position])

    def _columns(self, positions: Sequence[int]) -> _Column:
        """Columns, the pages of each after those of the one before."""
        pages = [page for position in positions for page in self._pages_of(position)]
        nodes, blobs = [self._nodes[page] for page in pages], [self._blobs[page] for page in pages]
        return _Column.of(nodes, blobs, self._offsets[pages], self._slots[pages])

    def _fetched(self, conversation: Conversation[T]) -> Asking[T]:
        """Run a conversation about pages as they lie in memory, of which only what it asks for is read."""
        try:
            asks = next(conversation)
            while True:
                starts, ends = coalesce(*map(np.concatenate, zip(*asks, strict=True)), gap=_GAP_NBYTES)
                starts, ends, pages = self._split(starts, ends)
                data = yield from self._bytes_of(starts, ends, pages)
                asks = conversation.send([answer_from_parts(data, starts, ends, ask) for ask in asks])
        except StopIteration as stop:
            return stop.value

    def _bytes_of(self, starts: Int64s, ends: Int64s, pages: Int64s) -> Asking[Bytes]:
        """Ranges of pages, ascending in memory, end to end."""
        if len(pages) == 0:
            return np.empty(0, np.uint8)
        moved = self._starts[pages] - self._offsets[pages]
        files = self._file_of[pages]
        cuts = np.flatnonzero(np.diff(files, prepend=-1)).tolist()
        found = yield [
            (self._names[files[low]], ((starts + moved)[low:high], (ends + moved)[low:high]))
            for low, high in zip(cuts, [*cuts[1:], len(files)], strict=True)
        ]
        return np.concatenate(found)

    def _split(self, starts: Int64s, ends: Int64s) -> tuple[Int64s, Int64s, Int64s]:
        """Ranges of the pages as they lie in memory, ascending, cut where pages end; and the page of each."""
        filled = ends > starts
        starts, ends = starts[filled], ends[filled]
        first = self._offsets[self._order]
        low, high = first.searchsorted(starts, "right") - 1, first.searchsorted(ends, "left")
        pages, counts = expand(low, high), high - low
        some = self._order[pages]
        below = np.maximum(starts.repeat(counts), self._offsets[some])
        return below, np.minimum(ends.repeat(counts), self._offsets[some] + self._nbytes[some]), some


def _answer(conversation: Conversation[T], data: Bytes) -> T:
    """Run a conversation about pages as they lie in memory."""
    try:
        asks = next(conversation)
        while True:
            asks = conversation.send([answer_from(data, ask) for ask in asks])
    except StopIteration as stop:
        return stop.value


def _opening(files: Sequence[Stated], columns: int) -> Opening:
    """What is stated of the first column of all files, then of the second, …"""
    places: list[str] = []
    records: list[ColumnRecord] = []
    starts: list[int] = []
    bases = [0, *accumulate([len(file.data) for file in files])]
    for column in range(columns):
        for file, base in zip(files, bases, strict=False):
            record = file.records[column]
            places.append(f"{file.where}, column {column}")
            records.append(record)
            starts.append(base + file.starts[column])
    data = np.frombuffer(b"".join([file.data for file in files]), np.uint8)
    return Opening(places, records, np.array(starts, np.int64), data)


@dataclass(frozen=True, slots=True)
class WholeFile:
    """A small file in memory. where: its name in errors; tail: what its owner recorded of its last 64 bytes."""

    where: str
    data: bytes
    tail: int
    num_rows: int
    num_columns: int


class SeveralFiles:
    """Small files in memory. Raises Corrupt where one is not what its owner recorded.

    verify: check the blocks of pages.
    """

    def __init__(self, files: Sequence[WholeFile], *, verify: bool) -> None:
        self._files, self._verify = files, verify
        self._data = np.frombuffer(b"".join([file.data for file in files]), np.uint8)
        self._bases = np.array([0, *accumulate([len(file.data) for file in files])], np.int64)
        self._tails = [_tail(file) for file in files]

    def read(self, columns: Sequence[int], kinds: Sequence[pa.DataType]) -> list[pa.Array]:
        """All rows of some columns, as `SeveralColumns.read`. kinds: their types."""
        if not columns:
            return []
        stated = [_stated(file, tail, columns) for file, tail in zip(self._files, self._tails, strict=True)]
        found = SeveralColumns(stated, kinds, verify=self._verify)
        files, starts, ends = found.extents
        bases = self._bases[files]
        return found.read(range(len(columns)), gather_from(self._data, bases + starts, bases + ends))


def _stated(file: WholeFile, tail: Tail, columns: Sequence[int]) -> Stated:
    records: list[ColumnRecord] = []
    for column in columns:
        at = tail.directory_offset + RECORD_NBYTES * column
        records.append(unpack_column(file.data[at : at + RECORD_NBYTES], tail, column, file.where))
    return Stated(file.where, file.num_rows, records, file.data, [record.offset for record in records])


def _tail(file: WholeFile) -> Tail:
    last = file.data[-TAIL_NBYTES:]
    tail = unpack_tail(last, len(file.data), file.where)
    if sum64(last) != file.tail or (tail.num_columns, tail.num_rows) != (file.num_columns, file.num_rows):
        raise Corrupt("this is not the file that the table recorded", kind="identity", where=file.where)
    return tail


@dataclass(frozen=True, slots=True)
class _Column:
    """The pages of a column, or of several end to end. ends: int64[p], the rows up to the end of each.

    stacks: one for each shape. members: the pages in each.
    stack_of, place_in: int64[p], of each page its stack and its place there.
    """

    ends: Int64s
    stacks: Sequence[Stack]
    members: Sequence[Int64s]
    stack_of: Int64s
    place_in: Int64s

    @classmethod
    def of(cls, nodes: Sequence[Node], blobs: Sequence[SharedBlob], offsets: Int64s, slots: Int64s) -> _Column:
        groups: dict[Hashable, list[int]] = {}
        for position, node in enumerate(nodes):
            groups.setdefault(shape_of_node(node), []).append(position)
        members = [np.array(group, np.int64) for group in groups.values()]
        stacks = [
            Stack([nodes[i] for i in group], offsets[some], slots[some], [blobs[i] for i in group])
            for group, some in zip(groups.values(), members, strict=True)
        ]
        stack_of, place_in = np.empty(len(nodes), np.int64), np.empty(len(nodes), np.int64)
        for stack, some in enumerate(members):
            stack_of[some], place_in[some] = stack, np.arange(len(some))
        return cls(np.cumsum([node.num_rows for node in nodes]), stacks, members, stack_of, place_in)

    @property
    def starts(self) -> Int64s:
        """int64[p]: the rows before each page."""
        return np.concatenate(([0], self.ends[:-1]))


def _read_column(column: _Column, kind: pa.DataType) -> Reading[pa.Array]:
    """All rows, in their order; a pass for each shape."""
    reads = []
    for stack in column.stacks:
        none, rows = np.zeros(len(stack.nodes), np.int64), stack.num_rows
        each = int(rows[0]) if (rows == rows[0]).all() else 0
        reads.append(read_node(stack, kind, Runs(np.arange(len(rows)), none, rows, each=each)))
    return _by_page(column, (yield from together(reads)))


def _by_page(column: _Column, arrays: Sequence[pa.Array]) -> pa.Array:
    """The rows of a column in their order from those of each shape."""
    if len(arrays) == 1:
        return arrays[0]
    starts, ends = column.starts, column.ends
    if ends[-1] < _FEW_ROWS * len(ends):
        return _in_order(arrays, [expand(starts[some], ends[some]) for some in column.members])
    left = [0] * len(arrays)
    parts: list[pa.Array] = []
    for stack, rows in zip(column.stack_of.tolist(), (ends - starts).tolist(), strict=True):
        parts.append(arrays[stack].slice(left[stack], rows))
        left[stack] += rows
    return joined(parts)


def _read_rows(column: _Column, kind: pa.DataType, rows: Int64s) -> Reading[pa.Array]:
    """Some rows, in the order asked; a pass for each shape."""
    pages = column.ends.searchsorted(rows, "right")
    local, places = rows - column.starts[pages], column.place_in[pages]
    if len(column.stacks) == 1:
        return (yield from read_node(column.stacks[0], kind, Runs.of_rows(places, local)))
    stacks = column.stack_of[pages]
    order = np.argsort(stacks, kind="stable")
    chosen = np.split(order, stacks[order].searchsorted(np.arange(1, len(column.stacks))))
    reads = [
        read_node(stack, kind, Runs.of_rows(places[some], local[some]))
        for stack, some in zip(column.stacks, chosen, strict=True)
    ]
    return _in_order((yield from together(reads)), chosen)


def _in_order(arrays: Sequence[pa.Array], rows: Sequence[Int64s]) -> pa.Array:
    """The rows of arrays at their places. rows: the place of each."""
    if len(arrays) == 1:
        return arrays[0]
    order = np.concatenate(rows)
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    return taken(joined(arrays), pa.array(back))


__all__ = ["Asking", "SeveralColumns", "SeveralFiles", "Stated", "WholeFile"]
