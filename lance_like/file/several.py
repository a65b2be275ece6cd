"""Many small files at once: read whole, checked, and decoded in one pass of kernels for all that are alike.

The files lie end to end in memory, as one file whose columns have the pages of all: what their own metadata says is
checked file by file, then everything is moved by the place of its file, and pages of one shape are one stack.
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
from lance_like.typing_ import Conversation, Int64s, T


@dataclass(frozen=True, slots=True)
class WholeFile:
    """A small file in memory. where: its name in errors; tail: what its owner recorded of its last 64 bytes."""

    where: str
    data: bytes
    tail: int
    num_rows: int
    num_columns: int


class SeveralFiles:
    """Small files, one after the other. Raises Corrupt where one is not what its owner recorded.

    verify: check the blocks of pages.
    """

    def __init__(self, files: Sequence[WholeFile], *, verify: bool) -> None:
        self._files = files
        self._data = np.frombuffer(b"".join([file.data for file in files]), np.uint8)
        self._bases = [0, *accumulate([len(file.data) for file in files])][:-1]
        self._tails = [_tail(file) for file in files]
        self._blocks = Blocks("several files", verify=verify)

    def read(self, columns: Sequence[int], kinds: Sequence[pa.DataType]) -> list[pa.Array]:
        """All rows of some columns, those of each file after those of the file before, as their types are carried.

        kinds: their types. Raises Corrupt, Unsupported; InvalidInput where the cells do not fit one array.
        """
        if not columns:
            return []
        opening = self._open(columns)
        count = len(self._files)
        opening.check_types([kind for kind in kinds for _ in range(count)])
        fences = opening.fences([file.num_rows for file in self._files] * len(columns))
        entries = opening.entries(fences)
        nodes = opening.nodes(entries)
        pages = np.array([record.num_pages for record in opening.records], np.int64)
        offsets, slots = self._moved(opening, entries, pages)
        ends = pages.reshape(len(columns), count).sum(axis=1).cumsum().tolist()
        reads = [
            _read_column(nodes[start:end], offsets[start:end], slots[start:end], carried_type(kind))
            for start, end, kind in zip([0, *ends], ends, kinds, strict=False)
        ]
        return self._answer(checked(together(reads), self._blocks))

    def _open(self, columns: Sequence[int]) -> Opening:
        """What the files record of columns: those of all files for the first column, then for the second, …"""
        places: list[str] = []
        records: list[ColumnRecord] = []
        starts: list[int] = []
        for column in columns:
            for file, tail, base in zip(self._files, self._tails, self._bases, strict=True):
                at = tail.directory_offset + RECORD_NBYTES * column
                record = unpack_column(file.data[at : at + RECORD_NBYTES], tail, column, file.where)
                if record.shared_nbytes:
                    raise Corrupt("a column has a blob that its pages share", kind="page", where=file.where)
                places.append(f"{file.where}, column {column}")
                records.append(record)
                starts.append(base + record.offset)
        return Opening(places, records, np.array(starts, np.int64), self._data)

    def _moved(self, opening: Opening, entries: np.ndarray, pages: Int64s) -> tuple[Int64s, Int64s]:
        """Where pages begin among all files, and the slots that they get, their block checksums loaded."""
        offsets = np.array([record.offset for record in opening.records], np.int64)
        sums = np.array([record.sums_offset for record in opening.records], np.int64)
        bases = np.repeat(opening.starts - offsets, pages)
        entries = entries.copy()
        entries["offset"] += bases.astype(np.uint64)
        at = np.repeat(sums, pages) + bases
        slots = self._blocks.add(entries, at)
        at = at + 4 * entries["first_block"].astype(np.int64)
        ends = at + 4 * entries["num_blocks"].astype(np.int64)
        self._blocks.load(slots, gather_from(self._data, at, ends))
        return entries["offset"].astype(np.int64), slots

    def _answer(self, conversation: Conversation[T]) -> T:
        """Run a conversation about the files as they lie here."""
        try:
            asks = next(conversation)
            while True:
                asks = conversation.send([answer_from(self._data, ask) for ask in asks])
        except StopIteration as stop:
            return stop.value


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


__all__ = ["SeveralFiles", "WholeFile"]
