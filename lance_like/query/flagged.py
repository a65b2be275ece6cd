"""Which rows of a window pass, in parts as they came from its pages: bool[n] each, end to end.

Several megabytes are not put together, nor made anew for each test, where a count of them is all that is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from lance_like.encodings.pool import allocate
from lance_like.encodings.sift import Flags

Parts: TypeAlias = list[Flags]


def count(parts: Sequence[Flags]) -> int:
    """How many rows are flagged."""
    return sum([int(np.count_nonzero(part)) for part in parts])


def whole(parts: Sequence[Flags]) -> Flags:
    """The same as one array."""
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts, out=allocate(sum(map(len, parts)), np.bool_))


def narrow(parts: Parts, first: int, passing: Flags) -> None:
    """Of rows from `first` on, leave those flagged that pass also, in the memory of the parts."""
    done, before = 0, 0
    for place, part in enumerate(parts):
        start = first + done - before
        before += len(part)
        if start >= len(part):
            continue
        if not part.flags.writeable:
            part = parts[place] = part.copy()
        some = part[start : start + len(passing) - done]
        np.logical_and(some, passing[done : done + len(some)], out=some)
        done += len(some)
        if done == len(passing):
            return


__all__ = ["Parts", "count", "narrow", "whole"]
