"""Which rows of two versions differ, by their stable ids (format_spec/commit.md, "Changes between versions").

A row is its id and the version that last changed it: the same pair in two versions of one history is the same row,
wherever it lies. So lineages and deletions say all; no data is read, and nothing of what both versions share.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lance_like.errors import Corrupt
from lance_like.table.fragment import Fragment
from lance_like.table.lineage import spread
from lance_like.table.parts import Items, Part, PartEntry, Tree
from lance_like.table.rowids import live_ranges
from lance_like.typing_ import Int64s


@dataclass(frozen=True, slots=True, eq=False)
class SomeRows:
    """Some rows of a fragment. ranges: int64[n, 2] half-open intervals of offsets, ascending, of live rows."""

    fragment: Fragment
    ranges: Int64s

    @property
    def rows(self) -> int:
        """How many they are."""
        return int((self.ranges[:, 1] - self.ranges[:, 0]).sum())

    @property
    def is_all(self) -> bool:
        """Are they all the live rows of the fragment?"""
        return self.rows == self.fragment.live_rows

    def offsets(self) -> Int64s:
        """int64[rows] the offset of each."""
        return spread(self.ranges)


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    """What changed from one version to another.

    inserted: rows whose id only the later has. updated: rows of the later whose id both have, changed in between.
    deleted: int64[n, 2] intervals of the ids that only the earlier has, ascending.
    """

    inserted: tuple[SomeRows, ...]
    updated: tuple[SomeRows, ...]
    deleted: Int64s

    @property
    def counts(self) -> tuple[int, int, int]:
        """How many rows were inserted, updated, deleted."""
        gone = int((self.deleted[:, 1] - self.deleted[:, 0]).sum())
        return sum(some.rows for some in self.inserted), sum(some.rows for some in self.updated), gone

    def deleted_ids(self, start: int, end: int) -> Int64s:
        """int64[n] the ids of the intervals start … end."""
        return spread(self.deleted[start:end])


def difference(before: Tree, after: Tree) -> Difference:
    """Compare the rows of two versions of one history.

    Raises Corrupt if an id stands twice in one of them.
    Cost: the parts, lineages and deletions of fragments that are not the same in both; O(runs and deleted rows of
    them), whatever the rows.
    """
    old, new = changed_fragments(before, after)
    same = {i for i in old.keys() & new.keys() if _has_same_rows(old[i], new[i])}
    fragments = [fragment for i, fragment in new.items() if i not in same]
    earlier = _Stretches.of([fragment for i, fragment in old.items() if i not in same])
    later = _Stretches.of(fragments)
    cuts = np.unique(np.concatenate((earlier.starts, earlier.ends, later.starts, later.ends)))
    starts, ends = cuts[:-1], cuts[1:]
    was, now = earlier.versions_at(starts), later.versions_at(starts)
    return Difference(
        inserted=_located(fragments, later, (was == 0) & (now > 0), starts, ends),
        updated=_located(fragments, later, (was > 0) & (now > 0) & (was != now), starts, ends),
        deleted=_united(np.stack((starts, ends), axis=1)[(was > 0) & (now == 0)]),
    )


def changed_fragments(before: Tree, after: Tree) -> tuple[dict[int, Fragment], dict[int, Fragment]]:
    """Fragments of each version by id, in scan order, without those in parts that both have. Some may be the same.

    Cost: the parts that stand in one version only.
    """
    shared = _shared(before, after)
    old, new = ({fragment.id: fragment for fragment in _walk(tree, shared)} for tree in (before, after))
    return old, new


@dataclass(frozen=True, slots=True, eq=False)
class _Stretches:
    """Live rows of fragments, cut where ids do not go on or the version that changed them is another.

    starts, ends: int64[n] ids, ascending. versions: the last change. fragments: index of each one's. offsets: of the
    first row.
    """

    starts: Int64s
    ends: Int64s
    versions: Int64s
    fragments: Int64s
    offsets: Int64s

    @staticmethod
    def of(fragments: Sequence[Fragment]) -> _Stretches:
        pieces = [_stretches(index, fragment) for index, fragment in enumerate(fragments)]
        found = np.concatenate(pieces) if pieces else np.empty((0, 5), np.int64)
        starts, ends, versions, index, offsets = found[np.argsort(found[:, 0], kind="stable")].T
        if (ends[:-1] > starts[1:]).any():
            place = int(np.flatnonzero(ends[:-1] > starts[1:])[0])
            where = f"fragments {fragments[int(index[place])].id} and {fragments[int(index[place + 1])].id}"
            raise Corrupt(f"the row id {starts[place + 1]} is used twice", kind="row-ids", where=where)
        return _Stretches(starts, ends, versions, index, offsets)

    def place(self, ids: Int64s) -> Int64s:
        """int64[n] ids -> int64[n] the stretch that begins last at or before each; 0 where there is none."""
        return np.maximum(self.starts.searchsorted(ids, "right") - 1, 0)

    def versions_at(self, ids: Int64s) -> Int64s:
        """int64[n] ids -> int64[n] the version that last changed each row; 0 where there is no such row."""
        if len(self.starts) == 0:
            return np.zeros(len(ids), np.int64)
        place = self.place(ids)
        return np.where((ids >= self.starts[place]) & (ids < self.ends[place]), self.versions[place], 0)


def _stretches(index: int, fragment: Fragment) -> Int64s:
    """int64[n, 5]: as `_Stretches` has them, of one fragment."""
    starts, ends, _, offsets = live_ranges(index, fragment)
    updated = fragment.runs.updated
    changes = np.cumsum(updated[:, 1])
    cuts = np.unique(np.concatenate((offsets, changes)))
    place = np.maximum(offsets.searchsorted(cuts, "right") - 1, 0)
    within = (cuts >= offsets[place]) & (cuts < offsets[place] + ends[place] - starts[place])
    cuts, place = cuts[within], place[within]
    next_cut = np.append(cuts[1:], fragment.rows)
    stop = np.minimum(next_cut, offsets[place] + ends[place] - starts[place])
    first = starts[place] + cuts - offsets[place]
    versions = updated[changes.searchsorted(cuts, "right"), 0]
    return np.stack((first, first + stop - cuts, versions, np.full(len(cuts), index), cuts), axis=1)


def _located(
    fragments: Sequence[Fragment], stretches: _Stretches, chosen: np.ndarray, starts: Int64s, ends: Int64s
) -> tuple[SomeRows, ...]:
    """The rows of some intervals of ids, by fragment in scan order. Every interval lies in one stretch."""
    starts, ends = starts[chosen], ends[chosen]
    if len(starts) == 0:
        return ()
    place = stretches.place(starts)
    first = stretches.offsets[place] + starts - stretches.starts[place]
    index = stretches.fragments[place]
    order = np.lexsort((first, index))
    ranges, index = np.stack((first, first + ends - starts), axis=1)[order], index[order]
    found, cuts = np.unique(index, return_index=True)
    parts = np.split(ranges, cuts[1:])
    return tuple(SomeRows(fragments[i], _united(part)) for i, part in zip(found.tolist(), parts, strict=True))


def _united(ranges: Int64s) -> Int64s:
    """int64[n, 2] ascending ranges, those that touch as one."""
    if len(ranges) == 0:
        return ranges
    begins = np.concatenate(([True], ranges[1:, 0] != ranges[:-1, 1]))
    return np.stack((ranges[begins, 0], ranges[np.append(begins[1:], True), 1]), axis=1)


def _has_same_rows(a: Fragment, b: Fragment) -> bool:
    return a.lineage == b.lineage and a.deletions == b.deletions


def _walk(items: Items, shared: set[PartEntry]) -> Iterator[Fragment]:
    """The fragments in scan order, without those in the parts named."""
    for item in items.items:
        if isinstance(item, Fragment):
            yield item
        elif item.stored not in shared:
            yield from _walk(item, shared)


def _shared(before: Tree, after: Tree) -> set[PartEntry]:
    """The parts that stand in both. Cost: only nodes that do not are read."""
    mine, theirs = list(before.parts), list(after.parts)
    found: set[PartEntry] = set()
    while True:
        found |= {part.stored for part in mine if part.stored} & {part.stored for part in theirs if part.stored}
        mine, theirs = ([part for part in side if part.stored not in found] for side in (mine, theirs))
        level = max((part.level for part in (*mine, *theirs)), default=0)
        if level == 0:
            return found
        mine, theirs = (_opened(side, level) for side in (mine, theirs))


def _opened(parts: Sequence[Part], level: int) -> list[Part]:
    """The parts, those of a level replaced by what they hold."""
    opened = (part.items if part.level == level else (part,) for part in parts)
    return [part for items in opened for part in items if isinstance(part, Part)]


__all__ = ["Difference", "SomeRows", "changed_fragments", "difference"]
