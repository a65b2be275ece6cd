"""Runs of rows of several columns of one file, read together: those that are alike in one pass."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import pyarrow as pa

from lance_like.encodings.physical import as_key, flat_width
from lance_like.encodings.places import DESCRIPTION
from lance_like.encodings.recast import is_recast
from lance_like.encodings.registry import read_node
from lance_like.encodings.stack import Reading, Runs, Stack, together
from lance_like.file.pages import ColumnPages, Pieces, checked, open_at_hand, open_pages, shape_of_node
from lance_like.typing_ import Conversation, Int64s

# Of so many columns those that are alike are decoded together.
_MANY_COLUMNS = 16


def read_parts(
    columns: Sequence[ColumnPages], kinds: Sequence[pa.DataType], start: int, end: int, rows: Int64s | None = None
) -> Conversation[list[list[pa.Array]]]:
    """As `read_part` of several columns of one file; small pages are opened, asked for and checked together."""
    open_at_hand(columns)
    joint: list[int] = []
    if start < end:
        joint = [
            position
            for position, (column, kind) in enumerate(zip(columns, kinds, strict=True))
            if kind is not DESCRIPTION and not column.unopened and column.are_small(start, end)
        ]
    apart = sorted(set(range(len(columns))).difference(joint))
    reads = [columns[i].read_part(start, end, kinds[i], rows) for i in apart]
    groups = _alike(columns, kinds, joint, start, end) if rows is None else [[i] for i in joint]
    if groups:
        small = [
            _read_alike([columns[i] for i in group], start, end)
            if len(group) > 1
            else together([columns[group[0]].part_of_open_pages(start, end, kinds[group[0]], rows)])
            for group in groups
        ]
        reads.append(checked(together(small), columns[0].blocks))
    answers = yield from together(reads)
    found = dict(zip(apart, answers, strict=False))
    for group, parts in zip(groups, answers[len(apart)] if groups else (), strict=True):
        found.update(zip(group, parts, strict=True))
    return [found[i] for i in range(len(columns))]


def _alike(
    columns: Sequence[ColumnPages], kinds: Sequence[pa.DataType], joint: Sequence[int], start: int, end: int
) -> list[list[int]]:
    """Some columns, by what is read in one pass: numbers of one type, of which a run lies in one page of one shape."""
    if len(joint) < _MANY_COLUMNS:
        return [[i] for i in joint]
    groups: dict[Hashable, list[int]] = {}
    for i in joint:
        column, key = columns[i], i
        first, last = column.pages_around(start, end)
        if first == last and not is_recast(kinds[i]) and flat_width(column.kind) is not None:
            node, _, _ = column.opened(first)
            key = as_key(column.kind), shape_of_node(node)
        groups.setdefault(key, []).append(i)
    return list(groups.values())


def _read_alike(columns: Sequence[ColumnPages], start: int, end: int) -> Reading[list[list[pa.Array]]]:
    """A run of rows of each of several columns, as `_alike` puts them together; an array a page."""
    pages = [column.pages_around(start, end)[0] for column in columns]
    opened = [column.opened(page) for column, page in zip(columns, pages, strict=True)]
    first = np.array([column.fences[page] for column, page in zip(columns, pages, strict=True)], np.int64)
    offsets, slots = (np.array([place[which] for place in opened], np.int64) for which in (1, 2))
    stack = Stack([node for node, _, _ in opened], offsets, slots, [column.shared for column in columns])
    rows = end - start
    array = yield from read_node(stack, columns[0].kind, Runs(np.arange(len(columns)), start - first, None, each=rows))
    return [[array[i * rows : (i + 1) * rows]] for i in range(len(columns))]


def read_spans(
    columns: Sequence[ColumnPages], kinds: Sequence[pa.DataType], spans: Sequence[tuple[int, int]]
) -> Conversation[list[list[list[pa.Array]]]]:
    """As `ColumnPages.read_span` of runs of rows (start, end) of columns of one file: of each column, of each run.

    Short runs are read in one pass. kinds: the types of the columns.
    """
    pieces = [column.pieces(spans) for column in columns]
    yield from open_pages(columns, np.concatenate([some.starts for some in pieces]))
    groups = [column.groups(some) for column, some in zip(columns, pieces, strict=True)]
    reads = [
        column.read_group(some, group, kind)
        for column, kind, some, own in zip(columns, kinds, pieces, groups, strict=True)
        for group in own
    ]
    arrays = iter((yield from together(reads)))
    found: list[list[list[pa.Array]]] = [[[] for _ in spans] for _ in columns]
    for parts, some, own in zip(found, pieces, groups, strict=True):
        cells: list[pa.Array] = [None] * len(some.spans)
        for group in own:
            _put(cells, next(arrays), group, some)
        for span, cell in zip(some.spans.tolist(), cells, strict=True):
            parts[span].append(cell)
    return found


def _put(cells: list[pa.Array], array: pa.Array, group: Int64s, pieces: Pieces) -> None:
    """Cut what was read of a group into its pieces."""
    counts = pieces.ends[group] - pieces.starts[group]
    begins = counts.cumsum() - counts
    for piece, begin, count in zip(group.tolist(), begins.tolist(), counts.tolist(), strict=True):
        cells[piece] = array.slice(begin, count)


__all__ = ["read_parts", "read_spans"]
