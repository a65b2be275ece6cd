"""Which rows of a window pass, in parts as they came from its pages: bool[n] each, end to end.

Several megabytes are not put together, nor made anew for each test, where a count of them is all that is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from lance_like.encodings.pool import allocate
from lance_like.encodings.sift import Flags
from lance_like.kernels import overlap, places
from lance_like.typing_ import Int64s

Parts: TypeAlias = list[Flags]
# Up to this share of rows they are taken as numbers: a flag for each, end to end, is more to go through.
_FEW_SHARE = 1 / 16
_COUNTED_ROWS = 1 << 17


def count(parts: Sequence[Flags]) -> int:
    """How many rows are flagged."""
    return sum([int(np.count_nonzero(part)) for part in parts])


def are_fewer(parts: Sequence[Flags], than: float) -> bool:
    """Are fewer rows flagged than so many? Cost: no more is counted than tells."""
    found = 0
    for part in parts:
        for start in range(0, len(part), _COUNTED_ROWS):
            found += int(np.count_nonzero(part[start : start + _COUNTED_ROWS]))
            if found >= than:
                return False
    return found < than


def whole(parts: Sequence[Flags]) -> Flags:
    """The same as one array."""
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts, out=allocate(sum(map(len, parts)), np.bool_))


def count_of(_first: int, passing: Flags) -> int:
    """How many rows of a page pass."""
    return int(np.count_nonzero(passing))


def count_both(parts: Parts, first: int, passing: Flags) -> int:
    """How many rows, from `first` on, are flagged and pass."""
    return sum(
        overlap(parts[place][some], passing[others]) for place, some, others in _beside(parts, first, len(passing))
    )


@dataclass(frozen=True, slots=True)
class Picked:
    """Some of so many rows that lie together: by flags, bool[num_rows], or few by their numbers, int64[count]."""

    num_rows: int
    count: int
    flags: Flags | None
    numbers: Int64s | None

    @staticmethod
    def of(parts: Parts) -> Picked:
        """The rows that are flagged."""
        counts = [int(np.count_nonzero(part)) for part in parts]
        num_rows, count = sum(map(len, parts)), sum(counts)
        if count > num_rows * _FEW_SHARE:
            return Picked(num_rows, count, whole(parts), None)
        numbers = allocate(count, np.int64)
        start = done = 0
        for part, some in zip(parts, counts, strict=True):
            if some:
                found = numbers[done : done + some]
                places(np.ascontiguousarray(part), found)
                found += start
            start, done = start + len(part), done + some
        return Picked(num_rows, count, None, numbers)

    def rows(self) -> Int64s:
        """int64[count], which they are, ascending."""
        return places_of(self.flags) if self.flags is not None else self._numbers

    def part(self, first: int, last: int) -> Picked:
        """Those among a run of the rows, counted from its start."""
        if self.flags is not None:
            flags = self.flags[first:last]
            return Picked(last - first, int(np.count_nonzero(flags)), flags, None)
        low, high = self._numbers.searchsorted((first, last)).tolist()
        return Picked(last - first, high - low, None, self._numbers[low:high] - first)

    def cuts(self, pieces: int, each: float, others: float, step: int) -> Int64s:
        """Where the rows are to be cut, at multiples of a step, so that pieces take as much memory each.

        each: the bytes of one that was picked; others: of any besides.
        """
        if self.flags is None:
            nbytes = np.arange(1, self.count + 1) * each + self._numbers * others
            places = nbytes.searchsorted(nbytes[-1] * np.arange(1, pieces) / pieces)
            return self._numbers[places] // step * step
        counts = [np.count_nonzero(self.flags[start : start + step]) for start in range(0, self.num_rows, step)]
        nbytes = np.cumsum(np.array(counts) * each + others * step)
        return nbytes.searchsorted(nbytes[-1] * np.arange(1, pieces) / pieces) * step

    @property
    def _numbers(self) -> Int64s:
        assert self.numbers is not None
        return self.numbers


def places_of(flags: Flags) -> Int64s:
    """int64[n], the rows that are flagged, ascending."""
    rows = allocate(int(np.count_nonzero(flags)), np.int64)
    places(np.ascontiguousarray(flags), rows)
    return rows


def narrow(parts: Parts, first: int, passing: Flags) -> None:
    """Of rows from `first` on, leave those flagged that pass also, in the memory of the parts."""
    for place, some, others in _beside(parts, first, len(passing)):
        if not parts[place].flags.writeable:
            parts[place] = parts[place].copy()
        left = parts[place][some]
        np.logical_and(left, passing[others], out=left)


def _beside(parts: Parts, first: int, count: int) -> Iterator[tuple[int, slice, slice]]:
    """The parts in which so many rows from `first` on lie: the place of each, its rows, and which of those they are."""
    done, before = 0, 0
    for place, part in enumerate(parts):
        start = first + done - before
        before += len(part)
        if start >= len(part):
            continue
        some = min(len(part) - start, count - done)
        yield place, slice(start, start + some), slice(done, done + some)
        done += some
        if done == count:
            return


__all__ = ["Parts", "Picked", "are_fewer", "count", "count_both", "count_of", "narrow", "places_of", "whole"]
