"""Columns of many files at once, decoded in one pass of kernels for all that are alike.

Their pages lie end to end in memory, as those of one file: what each file says of its columns is checked file by file,
then everything is moved to its place there, and pages of one shape are one stack.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import pyarrow as pa

from lance_like.encodings.base import Node
from lance_like.encodings.joining import joined, taken
from lance_like.encodings.registry import read_node
from lance_like.encodings.stack import Reading, Runs, SharedBlob, Stack, expand, together
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
from lance_like.ranges import answer_from, gather_from
from lance_like.typing_ import Bytes, Conversation, Int64s, Ranges, T

# Python's objects of a page that is open.
_PAGE_NBYTES = 1_000


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
        opening = _opening(files, len(kinds))
        opening.check_types([kind for kind in kinds for _ in files])
        entries = opening.entries(opening.fences([file.num_rows for file in files] * len(kinds)))
        self._nodes = opening.nodes(entries)
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
        return _PAGE_NBYTES * len(self._nodes) + self._blocks.nbytes_cached

    def read(self, positions: Sequence[int], data: Bytes) -> list[pa.Array]:
        """All rows of some of the columns, those of each file after those of the file before, as carried.

        data: the bytes of all extents, end to end.
        Raises Corrupt, Unsupported; InvalidInput where the cells do not fit one array.
        """
        starts = [0, *self._ends]
        reads = []
        for position in positions:
            some = slice(starts[position], starts[position + 1])
            kind = self._kinds[position]
            reads.append(_read_column(self._nodes[some], self._offsets[some], self._slots[some], kind))
        return _answer(checked(together(reads), self._blocks), data)


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
            if record.shared_nbytes:
                raise Corrupt("a column has a blob that its pages share", kind="page", where=file.where)
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


def _read_column(nodes: Sequence[Node], offsets: Int64s, slots: Int64s, kind: pa.DataType) -> Reading[pa.Array]:
    """All rows of pages, in their order; a pass for each shape."""
    groups: dict[Hashable, list[int]] = {}
    for position, node in enumerate(nodes):
        groups.setdefault(shape_of_node(node), []).append(position)
    reads = []
    for members in groups.values():
        stack = Stack([nodes[i] for i in members], offsets[members], slots[members], SharedBlob())
        none, rows = np.zeros(len(members), np.int64), stack.num_rows
        each = int(rows[0]) if (rows == rows[0]).all() else 0
        reads.append(read_node(stack, kind, Runs(np.arange(len(members)), none, rows, each=each)))
    arrays = yield from together(reads)
    if len(arrays) == 1:
        return arrays[0]
    # The rows come shape by shape.
    ends = np.cumsum([node.num_rows for node in nodes])
    lengths = np.diff(ends, prepend=0)
    order = np.concatenate([expand((ends - lengths)[members], ends[members]) for members in groups.values()])
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    return taken(joined(arrays), pa.array(back))


__all__ = ["SeveralColumns", "SeveralFiles", "Stated", "WholeFile"]
