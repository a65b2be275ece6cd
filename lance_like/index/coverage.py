"""Which rows of a version the segments of an index answer for, and which are searched without it: from lineages,
deletions and what was invalidated alone (format_spec/index/README.md, "Coverage").

All is computed on intervals of row ids: what it costs depends on how often ids do not go on, not on the rows.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from pyroaring import BitMap

from lance_like._lazy import cached
from lance_like.errors import Corrupt, NotFound
from lance_like.index.base import Searcher
from lance_like.table.fragment import Fragment
from lance_like.table.indices import IndexEntry, IndexSegment
from lance_like.table.lineage import distinct, spread
from lance_like.table.manifest import Manifest
from lance_like.table.rowids import RowIdMap
from lance_like.typing_ import Int64s


@dataclass(frozen=True, eq=False)
class OpenSegment:
    """A segment of an index, as a version sees it. live: the rows of the version. open: gives its searcher."""

    segment: IndexSegment
    live: RowIdMap
    open: Callable[[], Searcher]

    @property
    def searcher(self) -> Any:
        """What its plug-in opens: a `Searcher` of the kind of the index. Raises Corrupt, Unsupported."""
        return self.open()

    @property
    def rows(self) -> int:
        """How many rows it was built from."""
        return self.segment.rows

    def ids(self, ordinals: Int64s) -> Int64s:
        """int64[n] ordinals, each below `rows` -> int64[n] row ids. Cost: O(n log runs), O(n) for one run."""
        return self.segment.row_ids.ids(ordinals)

    def ordinals(self, ids: Int64s) -> Int64s:
        """int64[n] row ids -> int64[n] ordinals, -1 for an id that is not in it. Cost: as `ids`."""
        return self.segment.row_ids.ordinals(ids)

    @cached
    def dead(self) -> Int64s:
        """int64[n] the ordinals of rows that are no longer in the version, ascending. Cost: O(ranges) of both."""
        gone = subtracted(self.segment.row_ids.runs, merged(self.live.spans))
        return self.ordinals(spread(gone))

    @cached
    def valid(self) -> BitMap | None:
        """The ordinals of rows that are live and have the values that it was built from; None: all."""
        invalid = self.segment.invalid
        if len(self.dead) == 0 and invalid is None:
            return None
        left = BitMap(range(self.rows)) - _bitmap(self.dead)
        return left if invalid is None else left - _bitmap(self.segment.invalid_ordinals)

    @property
    def valid_rows(self) -> int:
        """How many rows it answers for."""
        return self.rows if self.valid is None else len(self.valid)

    @cached
    def covered(self) -> Int64s:
        """int64[n, 2] intervals of row ids, ascending: those of `valid`, and maybe of rows that are not live."""
        runs, invalid = self.segment.row_ids.runs, self.segment.invalid
        if invalid is None:
            return runs
        ids = self.ids(self.segment.invalid_ordinals)
        return subtracted(runs, np.stack((ids, ids + 1), axis=1))


@dataclass(frozen=True, eq=False)
class Coverage:
    """What the segments of an index hold of a version. live: its rows, which are those of `fragments`."""

    entry: IndexEntry
    segments: tuple[OpenSegment, ...]
    fragments: Sequence[Fragment]
    live: RowIdMap
    live_rows: int

    def only(self, uuids: Set[str]) -> Coverage:
        """What some of the segments hold. uuids: as the segments have them. Raises NotFound for one that none has."""
        unknown = sorted(uuids - {one.segment.uuid for one in self.segments})
        if unknown:
            raise NotFound(f"the index {self.entry.name!r} has no segment {unknown[0]!r}", kind="index")
        return replace(self, segments=tuple(one for one in self.segments if one.segment.uuid in uuids))

    @cached
    def covered_rows(self) -> int:
        """How many rows the segments answer for. Raises Corrupt when two answer for one row."""
        if len(self.segments) > 1:
            _ = self._covered
        return sum(segment.valid_rows for segment in self.segments)

    @cached
    def _covered(self) -> Int64s:
        """int64[n, 2] the intervals of all segments, ascending."""
        pieces = [np.empty((0, 2), np.int64), *(segment.covered for segment in self.segments)]
        found = np.concatenate(pieces)
        found = found[np.argsort(found[:, 0], kind="stable")]
        twice = found[:-1, 1] > found[1:, 0]
        if twice.any():
            problem = f"the row id {found[1:][twice][0, 0]} is in two segments of the index {self.entry.name!r}"
            raise Corrupt(problem, kind="row-ids", hint="drop the index and make it again; no data is lost")
        return found

    @cached
    def uncovered(self) -> Sequence[tuple[Fragment, Int64s]]:
        """Fragments in scan order, of each int64[n] offsets, ascending, of the live rows that no segment answers for.

        Cost: O(ranges of row ids); 8 bytes a row that is not covered.
        """
        if self.covered_rows == self.live_rows:
            return ()
        return offsets_of(self.fragments, self.left([]))

    def left(self, without: Sequence[OpenSegment]) -> RowIdMap:
        """Where the live rows are that no segment answers for but some, by row id. Cost: O(ranges of row ids)."""
        kept = [segment.covered for segment in self.segments if segment not in without]
        covered = np.concatenate([np.empty((0, 2), np.int64), *kept]) if without else self._covered
        covered = merged(covered[np.argsort(covered[:, 0], kind="stable")])
        return within(self.live, subtracted(merged(self.live.spans), covered))

    @property
    def held(self) -> RowIdMap:
        """Where the live rows are that a segment answers for, by row id. Cost: O(ranges of row ids)."""
        return within(self.live, self._covered)

    @property
    def uncovered_rows(self) -> int:
        """How many live rows no segment answers for."""
        return self.live_rows - self.covered_rows


def coverage_of(manifest: Manifest, entry: IndexEntry, open_segment: Callable[[IndexSegment], Searcher]) -> Coverage:
    """What an index holds of a version. Cost: nothing is opened; the lineages and deletions of all fragments."""
    live = manifest.tree.all_row_ids
    segments = tuple(OpenSegment(segment, live, partial(open_segment, segment)) for segment in entry.segments)
    return Coverage(entry, segments, manifest.fragments, live, manifest.live_rows)


def within(live: RowIdMap, spans: Int64s) -> RowIdMap:
    """The rows of a map whose ids lie in some intervals: int64[n, 2], ascending and apart. Cost: O(n log ranges)."""
    first, last = live.ends.searchsorted(spans[:, 0], "right"), live.starts.searchsorted(spans[:, 1])
    place, span = spread(np.stack((first, last), axis=1)), np.repeat(np.arange(len(spans)), last - first)
    starts = np.maximum(live.starts[place], spans[span, 0])
    ends = np.minimum(live.ends[place], spans[span, 1])
    return RowIdMap(starts, ends, live.fragments[place], live.offsets[place] + starts - live.starts[place])


def offsets_of(fragments: Sequence[Fragment], rows: RowIdMap) -> list[tuple[Fragment, Int64s]]:
    """Fragments in scan order, of each int64[n] the offsets of some rows, ascending."""
    order = np.lexsort((rows.offsets, rows.fragments))
    starts, index = rows.offsets[order], rows.fragments[order]
    ranges = np.stack((starts, starts + (rows.ends - rows.starts)[order]), axis=1)
    found, cuts = np.unique(index, return_index=True)
    parts = np.split(ranges, cuts[1:])
    return [(fragments[i], spread(part)) for i, part in zip(found.tolist(), parts, strict=True)]


def unopened(_: IndexSegment) -> Searcher:
    """For coverages of which only rows are counted, so that the index may be of any kind."""
    raise AssertionError("a segment is opened by what knows its kind")


def subtracted(spans: Int64s, others: Int64s) -> Int64s:
    """int64[n, 2] what is left of ascending intervals apart from each other without others like them. Cost: O(n)."""
    spans, others = _unlike(spans, others)
    if len(spans) == 0 or len(others) == 0:
        return spans
    starts, ends = _cut(spans, others)
    left = _hold(spans, starts) & ~_hold(others, starts)
    return np.stack((starts[left], ends[left]), axis=1)


def _unlike(spans: Int64s, others: Int64s) -> tuple[Int64s, Int64s]:
    """Both without the intervals that are in both: as a rule nearly all, and to find them takes a tenth of cutting."""
    if len(spans) == 0 or len(others) == 0:
        return spans, others
    place = np.minimum(others[:, 0].searchsorted(spans[:, 0]), len(others) - 1)
    alike = (others[place, 0] == spans[:, 0]) & (others[place, 1] == spans[:, 1])
    left = np.ones(len(others), bool)
    left[place[alike]] = False
    return spans[~alike], others[left]


def merged(spans: Int64s) -> Int64s:
    """int64[n, 2] ascending intervals, those that touch as one."""
    apart = spans[1:, 0] != spans[:-1, 1]
    if apart.all():
        return spans
    breaks = np.flatnonzero(apart)
    firsts, lasts = np.append(0, breaks + 1), np.append(breaks, len(spans) - 1)
    return np.stack((spans[firsts, 0], spans[lasts, 1]), axis=1)


def _cut(spans: Int64s, others: Int64s) -> tuple[Int64s, Int64s]:
    """Pieces, ascending: between two cuts that are neighbours all numbers are alike."""
    cuts = distinct(np.concatenate((spans.ravel(), others.ravel())))
    return cuts[:-1], cuts[1:]


def _hold(spans: Int64s, numbers: Int64s) -> np.ndarray:
    """bool[n]: which numbers lie in ascending intervals."""
    place = np.maximum(spans[:, 0].searchsorted(numbers, "right") - 1, 0)
    return (numbers >= spans[place, 0]) & (numbers < spans[place, 1])


def _bitmap(ordinals: Int64s) -> BitMap:
    # From bytes: from an array of numpy it takes five times as long.
    return BitMap(array("I", ordinals.astype(np.uint32).tobytes()))


__all__ = [
    "Coverage",
    "OpenSegment",
    "coverage_of",
    "merged",
    "offsets_of",
    "subtracted",
    "unopened",
    "within",
]
