"""Where windows, pieces and batches of a scan begin and end: with pages, where these are near."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

import numpy as np
import pyarrow as pa

from lance_like.encodings.places import DESCRIPTION
from lance_like.query.columns import Column
from lance_like.query.plan import Span
from lance_like.typing_ import Int64s

# Rows of tiles and blocks: windows that do not end with a page end with one of those.
STEP_ROWS = 1 << 14
# Rows that lie together are read as a stretch: to begin one takes as long as 500 single rows, or 8,000 between.
_STRETCH_ROWS, _STRETCH_GAP = 512, 8192


def next_rows(left: int, most: int) -> int:
    """How many of the rows that are left the next window has: half, where two would have them and differ much."""
    half = -(-left // (2 * STEP_ROWS)) * STEP_ROWS
    return half if most < left <= 2 * most - 2 * STEP_ROWS else min(left, most)


def end_with_page(columns: Iterable[Column], start: int, end: int, batch_rows: int) -> int:
    """End a window with pages when that keeps a good part of it: a batch that lies in two pages is a copy."""
    low = start + max(1, (end - start) // 4)
    in_one_batch = end - start <= batch_rows
    for column in columns:
        if column.kind is not DESCRIPTION:
            fences = column.pages.fences
            # The first page that ends, or of several batches the last one.
            place = np.searchsorted(fences, low) if in_one_batch else np.searchsorted(fences, end, "right") - 1
            boundary = int(fences[min(place, len(fences) - 1)])
            end = boundary if low <= boundary < end else end
    return end


def near_pages(columns: Iterable[Column], start: int, cuts: Int64s, rows: int) -> list[int]:
    """Where pieces of so many rows from `start` on begin: where cuts are, or with a page that begins near one."""
    near = rows // (4 * (len(cuts) + 1))
    for column in columns:
        fences = column.pages.fences - start
        nearest = fences[np.minimum(fences.searchsorted(cuts - near), len(fences) - 1)]
        cuts = np.where(np.abs(nearest - cuts) <= near, nearest, cuts)
    return sorted({0, *cuts.tolist()} - {rows})


def with_pages(columns: Iterable[Sequence[pa.Array]]) -> list[int]:
    """Where batches begin of what was read of pages: where any page does, unless that makes small ones."""
    ends = sorted({end for parts in columns for end in accumulate(map(len, parts))})
    cuts = [0]
    for end in ends:
        if end - cuts[-1] >= STEP_ROWS and ends[-1] - end >= STEP_ROWS:
            cuts.append(end)
    return cuts


def touching(spans: Sequence[Span], most_rows: int) -> Iterator[Sequence[Span]]:
    """Spans in groups: those that touch as one while they have no more rows, others alone."""
    group: list[Span] = []
    for span in spans:
        joins = group and span.rows is None and group[-1].rows is None and span.start == group[-1].end
        if group and not (joins and span.end - group[0].start <= most_rows):
            yield group
            group = []
        group.append(span)
    if group:
        yield group


def dense_stretches(rows: Int64s, share: float) -> list[Int64s]:
    """Rows cut where they lie far apart; none, where they are few for each piece or less than a share of its rows.

    rows: int64[n], ascending.
    """
    cuts = np.flatnonzero(np.diff(rows) > _STRETCH_GAP) + 1
    if (len(cuts) + 1) * _STRETCH_ROWS > len(rows):
        return []
    stretches = np.split(rows, cuts)
    covered = sum(int(stretch[-1] - stretch[0]) + 1 for stretch in stretches)
    return stretches if len(rows) >= share * covered else []


def between_rows(rows: Int64s, start: int, end: int) -> Int64s:
    """Those of the rows, ascending, that are from start on and below end."""
    low, high = rows.searchsorted((start, end))
    return rows[low:high]


__all__ = [
    "STEP_ROWS",
    "between_rows",
    "dense_stretches",
    "end_with_page",
    "near_pages",
    "next_rows",
    "touching",
    "with_pages",
]
