"""Arithmetic on byte ranges: pure numpy, no I/O."""

from __future__ import annotations

import mmap
import sys
from itertools import accumulate

import numpy as np
import pyarrow as pa

from lance_like.kernels import gather
from lance_like.typing_ import Bytes, Int64s, Offsets, Ranges, Spanning

# Up to so many numbers Python is faster than numpy.
_FEW = 32
_LARGE_NBYTES = 1 << 30
# Python knows its name from 3.13 on.
_NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)


def lengths_to_offsets(lengths: np.ndarray) -> Int64s:
    """Integers[n], lengths -> int64[n + 1] offsets."""
    if len(lengths) <= _FEW:
        return np.array([0, *accumulate(lengths.tolist())], np.int64)
    offsets = np.empty(len(lengths) + 1, np.int64)
    offsets[0] = 0
    # In place: other integers than int64 would be summed up through a buffer, at three times the cost.
    offsets[1:] = lengths
    return np.add.accumulate(offsets, out=offsets)


def listed(offsets: Offsets) -> Int64s:
    """Rows one by one."""
    return np.arange(offsets.start, offsets.stop) if isinstance(offsets, range) else offsets


def has_negative(numbers: Int64s) -> bool:
    """True when a number is below 0."""
    if len(numbers) <= _FEW:
        return min(numbers.tolist(), default=0) < 0
    return int(np.minimum.reduce(numbers)) < 0


def answer_from(data: Bytes, ask: Ranges) -> Bytes:
    """What a store that has an object at hand answers to one ask."""
    starts, ends = ask
    return data[starts[0] : ends[-1]] if isinstance(ask, Spanning) else gather_from(data, starts, ends)


def answer_from_parts(data: Bytes, firsts: Int64s, lasts: Int64s, ask: Ranges) -> Bytes:
    """What is answered to one ask that lies in parts of an object.

    data: the bytes of the ranges firsts … lasts, ascending, end to end.
    """
    starts, ends = ask
    filled = ends > starts
    if not filled.all() and not isinstance(ask, Spanning):
        starts, ends = starts[filled], ends[filled]
    if len(starts) == 0:
        return np.empty(0, np.uint8)
    places = np.concatenate(([0], (lasts - firsts).cumsum()[:-1])) - firsts
    if not isinstance(ask, Spanning):
        moved = places[firsts.searchsorted(starts, "right") - 1]
        return gather_from(data, starts + moved, ends + moved)
    start, end = int(starts[0]), int(ends[-1])
    answer = _room(end - start)
    for first, last, place in zip(firsts.tolist(), lasts.tolist(), places.tolist(), strict=True):
        low, high = max(first, start), min(last, end)
        if low < high:
            answer[low - start : high - start] = data[low + place : high + place]
    answer.setflags(write=False)
    return answer


def _room(nbytes: int) -> Bytes:
    """Bytes that take no memory where they are not written: rows of one object may lie farther apart than memory is
    large, and a system refuses to promise so much."""
    if nbytes < _LARGE_NBYTES or not _NO_RESERVE:
        return np.zeros(nbytes, np.uint8)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE
    return np.frombuffer(mmap.mmap(-1, nbytes, flags=flags), np.uint8)


def gather_from(data: Bytes, starts: Int64s, ends: Int64s) -> Bytes:
    """Copy ranges of data end to end, in the order given. For reading only: one range, or many that follow one another,
    are a view and no copy.

    Cost: one kernel call whatever the number of ranges, but for few.
    """
    n = len(starts)
    if n == 0:
        return np.empty(0, np.uint8)
    if n == 1:
        return data[starts[0] : ends[0]]
    if n <= _FEW:
        return _joined(data, starts, ends)
    if (starts[1:] == ends[:-1]).all():
        return data[starts[0] : ends[-1]]
    out = np.frombuffer(pa.allocate_buffer(int((ends - starts).sum())), np.uint8)
    gather(data, np.ascontiguousarray(starts), np.ascontiguousarray(ends), out)
    return out


def gather_from_groups(data: Bytes, starts: Int64s, ends: Int64s, each: int) -> Bytes:
    """As `gather_from`, of data that holds only the whole groups of `each` that the ranges lie in, end to end."""
    firsts = starts // each
    counts = -(-ends // each) - firsts
    moved = (np.cumsum(counts) - counts - firsts) * each
    return gather_from(data, starts + moved, ends + moved)


def _joined(data: Bytes, starts: Int64s, ends: Int64s) -> Bytes:
    # Not np.concatenate of arrays, which takes three times as long.
    view = memoryview(data)
    return np.frombuffer(
        b"".join([view[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]), np.uint8
    )


def coalesce(starts: Int64s, ends: Int64s, *, gap: int) -> Ranges:
    """Merge ranges, in any order, that lie at most gap bytes apart. Returns ascending ranges."""
    if len(starts) == 0:
        return starts, ends
    if (starts[1:] < starts[:-1]).any():
        order = np.argsort(starts, kind="stable")
        starts, ends = starts[order], ends[order]
    ends = np.maximum.accumulate(ends)
    apart = (starts[1:] > ends[:-1] + gap).nonzero()[0]
    return starts[np.concatenate(([0], apart + 1))], ends[np.concatenate((apart, [len(ends) - 1]))]
