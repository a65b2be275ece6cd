"""From stable row ids to addresses and back, with ranges only (format_spec/table.md, "Row ids and addresses").

An address is `fragment id << 32 | offset in the fragment`. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lance_like.errors import Corrupt
from lance_like.table.fragment import Fragment
from lance_like.typing_ import Int64s

OFFSET_BITS = 32


@dataclass(frozen=True, slots=True, eq=False)
class RowIdMap:
    """Ranges of row ids, ascending: int64[n] starts and ends, and the address of the first row of each."""

    starts: Int64s
    ends: Int64s
    first_addresses: Int64s

    @staticmethod
    def of(fragments: Sequence[Fragment], *, where: str = "") -> RowIdMap:
        """The map of some fragments. Raises Corrupt if two rows have one id. Cost: O(ranges), not rows."""
        counts = np.array([len(fragment.row_ids) for fragment in fragments], np.int64)
        ranges = [span for fragment in fragments for span in fragment.row_ids]
        spans = np.array(ranges, np.int64).reshape(-1, 2)
        lengths = spans[:, 1] - spans[:, 0]
        # Offset of each range in its fragment: the rows before it, less the rows before its fragment.
        before = np.cumsum(lengths) - lengths
        first_range = np.cumsum(counts) - counts
        offsets = before - np.repeat(before[first_range] if len(before) else before, counts)
        addresses = np.repeat(np.array([f.id for f in fragments], np.int64), counts) << OFFSET_BITS | offsets
        order = np.argsort(spans[:, 0], kind="stable")
        starts, ends = spans[order, 0], spans[order, 1]
        if (ends[:-1] > starts[1:]).any():
            place = int(np.flatnonzero(ends[:-1] > starts[1:])[0])
            raise Corrupt(f"the row id {starts[place + 1]} is used twice", kind="row-ids", where=where)
        return RowIdMap(starts, ends, addresses[order])

    def addresses(self, row_ids: Int64s) -> Int64s:
        """int64[n] row ids -> int64[n] addresses; -1 where no row has the id. Cost: O(n log ranges)."""
        if len(self.starts) == 0:
            return np.full(len(row_ids), -1, np.int64)
        place = np.maximum(np.searchsorted(self.starts, row_ids, side="right") - 1, 0)
        within = row_ids - self.starts[place]
        found = (within >= 0) & (row_ids < self.ends[place])
        return np.where(found, self.first_addresses[place] + within, -1)


def ids_at(fragment: Fragment, offsets: Int64s) -> Int64s:
    """int64[n] offsets of rows in a fragment -> int64[n] their stable ids. All offsets lie in the fragment."""
    if len(fragment.row_ids) == 1:
        return offsets + fragment.row_ids[0][0]
    spans = np.array(fragment.row_ids, np.int64)
    ends = np.cumsum(spans[:, 1] - spans[:, 0])
    place = np.searchsorted(ends, offsets, side="right")
    return spans[place, 1] - (ends[place] - offsets)
