"""Many columns of one file at once: opened in two rounds, read in one pass of kernels for all that are alike.

Columns of one type, whose pages begin at the same rows and have one shape, are a group: their pages are one stack.
What is larger, or alone, is left to `ColumnPages`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pyarrow as pa

from lance_like.encodings.base import Node
from lance_like.encodings.physical import as_key
from lance_like.encodings.registry import read_node
from lance_like.encodings.stack import NO_BLOB, Reading, Runs, Stack, expand
from lance_like.errors import Corrupt, InvalidInput
from lance_like.file.blocks import Blocks
from lance_like.file.carry import carried_type
from lance_like.file.cut import has_dictionary
from lance_like.file.layout import (
    PAGE_ENTRY,
    ColumnRecord,
    EntryLimits,
    sum32,
    unpack_entries,
)
from lance_like.file.opening import check_against_fences, unpack_fences
from lance_like.file.pages import parse_description, shape_of_node
from lance_like.file.types import check_stored, unpack_type
from lance_like.ranges import gather_from
from lance_like.typing_ import Bytes, Conversation, Int64s

# A column with more metadata than this opens alone: the others would wait for it.
_SMALL_NBYTES = 16 * 1024
# Rows of all columns that one pass reads.
_PASS_ROWS = 1 << 20
_SUM_OF_NOTHING = sum32(b"")


@dataclass(frozen=True, slots=True)
class ColumnGroup:
    """Columns that are read together. kind: their type as it is carried (file/carry.py).

    fences: the rows at which the pages of each begin, and the row count.
    first: the position in the stack of the first page of each column.
    """

    kind: pa.DataType
    fences: Int64s
    stack: Stack
    first: dict[int, int]

    def read_rows(self, columns: Sequence[int], rows: Int64s) -> Reading[list[pa.Array]]:
        """Some rows, int64[n], of some columns: one array a column."""
        if len(rows) == 0:
            return [pa.nulls(0, self.kind) for _ in columns]
        answers: list[pa.Array] = []
        page = self.fences.searchsorted(rows, "right") - 1
        local = rows - self.fences[page]
        step = max(1, _PASS_ROWS // len(rows))
        for start in range(0, len(columns), step):
            first = np.array([self.first[column] for column in columns[start : start + step]], np.int64)
            answers += yield from self._read_pass(first, page, local)
        return answers

    def _read_pass(self, first: Int64s, page: Int64s, local: Int64s) -> Reading[list[pa.Array]]:
        """Rows of columns in one pass. first: the first page of each; page, local: of each row, its page and its place.

        Columns whose cells do not fit one array together are read in halves.
        """
        at = (first[:, None] + page).reshape(-1)
        try:
            array = yield from read_node(self.stack, self.kind, Runs.of_rows(at, np.tile(local, len(first))))
        except InvalidInput:
            if len(first) == 1:
                raise
            half = len(first) // 2
            left = yield from self._read_pass(first[:half], page, local)
            return left + (yield from self._read_pass(first[half:], page, local))
        return [array.slice(i * len(local), len(local)) for i in range(len(first))]


def is_small(record: ColumnRecord) -> bool:
    """True for a column that may open with others."""
    return record.end - record.offset <= _SMALL_NBYTES and record.shared_nbytes == 0 and record.num_pages > 0


def open_groups(
    where: str, columns: dict[int, ColumnRecord], kinds: Sequence[pa.DataType], num_rows: int, blocks: Blocks
) -> Conversation[list[ColumnGroup]]:
    """Open small columns. columns: their records by number; kinds: their types. Cost: 1 round.

    Raises Corrupt as `ColumnPages` does.
    """
    records = list(columns.values())
    offset = np.array([record.offset for record in records], np.int64)
    end = np.array([record.end for record in records], np.int64)
    (data,) = yield [(offset, end)]
    places = [f"{where}, column {column}" for column in columns]
    opening = Opening(places, records, np.cumsum(end - offset) - (end - offset), data)
    opening.check_types(kinds)
    fences = opening.fences([num_rows] * len(records))
    opening.blobs()
    entries = opening.entries(fences)
    groups = opening.group(kinds, fences, opening.nodes(entries))
    numbers = list(columns)
    return [
        opening.make(members, numbers, kinds[members[0]], fences[members[0]], entries, nodes, blocks)
        for members, nodes in groups
    ]


@dataclass(frozen=True, slots=True)
class Opening:
    """The metadata of columns that open together. places: the columns, in errors; starts: where each's begins in data.

    The columns may be those of several files that lie in data: what is said of the place of a page is of its own file.
    """

    places: Sequence[str]
    records: Sequence[ColumnRecord]
    starts: Int64s
    data: Bytes

    def check_types(self, kinds: Sequence[pa.DataType]) -> None:
        view = memoryview(self.data)
        for place, record, start, kind in zip(self.places, self.records, self.starts.tolist(), kinds, strict=True):
            low = start + record.field_offset - record.offset
            text = view[low : low + record.field_nbytes].tobytes()
            check_stored(unpack_type(text, record.field_sum, place), kind, place)

    def fences(self, num_rows: Sequence[int]) -> list[Int64s]:
        """The fences of each column, of so many rows; those that are equal are one object."""
        known: dict[int, dict[bytes, Int64s]] = {}
        found = []
        for place, record, start, rows in zip(self.places, self.records, self.starts.tolist(), num_rows, strict=True):
            raw = self.data[start : start + 8 * (record.num_pages + 1)].tobytes()
            found.append(unpack_fences(raw, record, rows, known.setdefault(rows, {}), place))
        return found

    def blobs(self) -> list[bytes]:
        """The blob that the pages of each column share."""
        found = []
        for place, record, start in zip(self.places, self.records, self.starts.tolist(), strict=True):
            low = start + record.shared_offset - record.offset
            blob = self.data[low : low + record.shared_nbytes].tobytes() if record.shared_nbytes else b""
            if record.shared_sum != (sum32(blob) if blob else _SUM_OF_NOTHING):
                raise Corrupt("the checksum of the shared blob does not match", kind="checksum", where=place)
            found.append(blob)
        return found

    def entries(self, fences: list[Int64s]) -> np.ndarray:
        """The page entries of all columns, end to end."""
        pages = np.array([record.num_pages for record in self.records], np.int64)
        low = self.starts + 8 * (pages + 1)
        raw = gather_from(self.data, low, low + PAGE_ENTRY.itemsize * pages)
        offset = np.array([record.offset for record in self.records], np.int64)
        at = expand(np.zeros(len(pages), np.int64), pages) * PAGE_ENTRY.itemsize
        at += np.repeat(offset + 8 * (pages + 1), pages)
        limits = EntryLimits(
            np.repeat(offset.astype(np.uint64), pages),
            np.repeat(np.array([record.descriptions_nbytes for record in self.records], np.uint64), pages),
            np.repeat(np.array([record.num_blocks for record in self.records], np.uint64), pages),
        )
        entries = unpack_entries(raw, at, limits, self.places[0])
        starts, ends = (np.concatenate([each[part] for each in fences]) for part in (slice(-1), slice(1, None)))
        check_against_fences(entries, starts, ends, self.places[0])
        return entries

    def nodes(self, entries: np.ndarray) -> list[Node]:
        """What the descriptions of all pages say, column by column."""
        names = ("description_offset", "description_nbytes", "description_sum", "nbytes", "num_rows")
        texts = zip(*(entries[name].tolist() for name in names), strict=True)
        view = memoryview(self.data)
        found: list[Node] = []
        for place, record, start in zip(self.places, self.records, self.starts.tolist(), strict=True):
            low = start + record.descriptions_offset - record.offset
            for at, length, digest, nbytes, rows in islice(texts, record.num_pages):
                text = view[low + at : low + at + length].tobytes()
                found.append(parse_description(text, digest, nbytes, rows, place))
        return found

    def group(
        self, kinds: Sequence[pa.DataType], fences: list[Int64s], nodes: Sequence[Node]
    ) -> list[tuple[list[int], list[Node]]]:
        """Positions of the columns that are alike, with the nodes of all their pages. nodes: of all columns."""
        left = iter(nodes)
        groups: dict[object, tuple[list[int], list[Node]]] = {}
        for position, record in enumerate(self.records):
            own = list(islice(left, record.num_pages))
            shapes = {shape_of_node(node) for node in own}
            if len(shapes) > 1 or has_dictionary(carried_type(kinds[position])):
                continue  # Read alone: its pages are several stacks, or its dictionary is not that of the others.
            key = as_key(kinds[position]), id(fences[position]), shapes.pop()
            members, all_nodes = groups.setdefault(key, ([], []))
            members.append(position)
            all_nodes += own
        return list(groups.values())

    def make(
        self,
        members: list[int],
        numbers: list[int],
        kind: pa.DataType,
        fences: Int64s,
        entries: np.ndarray,
        nodes: list[Node],
        blocks: Blocks,
    ) -> ColumnGroup:
        pages = len(fences) - 1
        chosen = np.array(members, np.int64)
        ends = np.cumsum([record.num_pages for record in self.records])[chosen]
        some = entries[expand(ends - pages, ends)]
        sums = np.array([self.records[member].sums_offset for member in members], np.int64)
        offset = np.array([self.records[member].offset for member in members], np.int64)
        slots = blocks.add(some, np.repeat(sums, pages))
        low = np.repeat(self.starts[chosen] + sums - offset, pages) + 4 * some["first_block"].astype(np.int64)
        blocks.load(slots, gather_from(self.data, low, low + 4 * some["num_blocks"].astype(np.int64)))
        stack = Stack(nodes, some["offset"].astype(np.int64), slots, (NO_BLOB,))
        first = {numbers[member]: i * pages for i, member in enumerate(members)}
        return ColumnGroup(carried_type(kind), fences, stack, first)
