"""Which rows of a window pass, in parts as they came from its pages: bool[n] each, end to end.

Several megabytes are not put together, nor made anew for each test, where a count of them is all that is asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np

from lance_like.encodings.pool import allocate
from lance_like.encodings.sift import Flags
from lance_like.kernels import overlap, places
from lance_like.typing_ import Int64s

Parts: TypeAlias = list[Flags]


def count(parts: Sequence[Flags]) -> int:
    """How many rows are flagged."""
    return sum([int(np.count_nonzero(part)) for part in parts])


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


__all__ = ["Parts", "count", "count_both", "count_of", "narrow", "places_of", "whole"]
