"""From stable row ids to rows, with ranges only (format_spec/table.md, "Row ids and addresses").

An address is `fragment id << 32 | offset in the fragment`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lance_like.errors import Corrupt
from lance_like.table.fragment import Fragment
from lance_like.table.lineage import distinct
from lance_like.typing_ import Int64s

OFFSET_BITS = 32


@dataclass(frozen=True, slots=True, eq=False)
class RowIdMap:
    """Ranges of ids of live rows, ascending: int64[n] starts, ends, index of the fragment and offset of the first."""

    starts: Int64s
    ends: Int64s
    fragments: Int64s
    offsets: Int64s

    @staticmethod
    def of(fragments: Sequence[Fragment]) -> RowIdMap:
        """The map of some fragments. Raises Corrupt if two live rows have one id. Cost: O(ranges and deleted rows)."""
        pieces = [live_ranges(index, fragment) for index, fragment in enumerate(fragments)]
        starts, ends, index, offsets = np.concatenate(pieces, axis=1) if pieces else np.empty((4, 0), np.int64)
        if (starts[1:] < starts[:-1]).any():
            order = np.argsort(starts, kind="stable")
            starts, ends, index, offsets = starts[order], ends[order], index[order], offsets[order]
        if (ends[:-1] > starts[1:]).any():
            place = int(np.flatnonzero(ends[:-1] > starts[1:])[0])
            where = f"fragments {fragments[int(index[place])].id} and {fragments[int(index[place + 1])].id}"
            raise Corrupt(f"the row id {starts[place + 1]} is used twice", kind="row-ids", where=where)
        return RowIdMap(starts, ends, index, offsets)

    @property
    def spans(self) -> Int64s:
        """int64[n, 2] the ranges, half-open."""
        return np.stack((self.starts, self.ends), axis=1)

    def find(self, row_ids: Int64s) -> tuple[Int64s, Int64s]:
        """int64[n] row ids -> int64[n] indices of fragments, -1 where no live row has the id, and offsets in them.

        Cost: O(n log ranges).
        """
        if len(self.starts) == 0:
            return np.full(len(row_ids), -1, np.int64), np.zeros(len(row_ids), np.int64)
        if len(self.starts) == 1:
            start, end, offset = int(self.starts[0]), int(self.ends[0]), int(self.offsets[0])
            if len(row_ids) == 1 and start <= (row_id := int(row_ids[0])) < end:
                # In a third of the time that kernels take.
                return self.fragments.copy(), np.array([row_id - start + offset])
            within = row_ids - start
            index = self.fragments.repeat(len(row_ids))
            # Seen as unsigned, an id below the range is past it too.
            past = within.view(np.uint64)
            if len(past) and int(np.maximum.reduce(past)) >= end - start:
                index[past >= end - start] = -1
            return index, within + offset if offset else within
        place = np.maximum(np.searchsorted(self.starts, row_ids, side="right") - 1, 0)
        within = row_ids - self.starts[place]
        found = (within >= 0) & (row_ids < self.ends[place])
        return np.where(found, self.fragments[place], -1), self.offsets[place] + within

    def find_run(self, first: int, end: int) -> tuple[int, int] | None:
        """Index of the fragment, and the offset in it, of the first of a run of row ids; None where not one range has
        them all. Cost: O(log ranges).
        """
        place = int(self.starts.searchsorted(first, "right")) - 1
        if place < 0 or end > int(self.ends[place]):
            return None
        return int(self.fragments[place]), int(self.offsets[place]) + first - int(self.starts[place])


def live_ranges(index: int, fragment: Fragment) -> Int64s:
    """int64[4, n]: start and end of each range of ids of live rows, the index given, the offset of its first row."""
    spans = fragment.runs.row_ids
    lengths = spans[:, 1] - spans[:, 0]
    firsts = np.cumsum(lengths) - lengths
    deleted = fragment.deleted
    if len(deleted) == 0:
        ranges = np.empty((4, len(spans)), np.int64)
        ranges[:2], ranges[2], ranges[3] = spans.T, index, firsts
        return ranges
    # Cut the rows where a range begins, and before and after each deleted row; what begins with one is left out.
    cuts = distinct(np.concatenate((firsts, deleted, deleted + 1)))
    cuts = cuts[cuts < fragment.rows]
    cuts_end = np.append(cuts[1:], fragment.rows)
    live = ~fragment.is_deleted(cuts)
    offsets, stops = cuts[live], cuts_end[live]
    place = np.searchsorted(firsts, offsets, side="right") - 1
    starts = spans[place, 0] + offsets - firsts[place]
    return np.stack((starts, starts + stops - offsets, np.full(len(starts), index), offsets))


def ids_at(fragment: Fragment, offsets: Int64s) -> Int64s:
    """int64[n] offsets of rows in a fragment -> int64[n] their stable ids. All offsets lie in the fragment."""
    spans = fragment.runs.row_ids
    if len(spans) == 1:
        return offsets + spans[0, 0]
    ends = np.cumsum(spans[:, 1] - spans[:, 0])
    place = np.searchsorted(ends, offsets, side="right")
    return spans[place, 1] - (ends[place] - offsets)
