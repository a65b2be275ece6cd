"""Arithmetic on byte ranges: pure numpy, no I/O."""

from __future__ import annotations

from itertools import accumulate

import numpy as np
import pyarrow as pa

from lance_like.typing_ import Bytes, Int64s, Ranges, Spanning

# Up to so many numbers Python is faster than numpy.
_FEW = 32
# Joining slices costs 0.2 us a range, a pass over ranges of one width 5 us and then less. A kernel takes 20 us to
# start and copies wide ranges twice (it grows its output): it pays for many ranges that are not large (measured from 50
# to 50,000 ranges of 20 to 20,000 bytes; of 770 bytes in a third of the time).
_MANY = 512
_WIDE = 4096


def lengths_to_offsets(lengths: np.ndarray) -> Int64s:
    """Integers[n], lengths -> int64[n + 1] offsets."""
    if len(lengths) <= _FEW:
        return np.array([0, *accumulate(lengths.tolist())], np.int64)
    offsets = np.empty(len(lengths) + 1, np.int64)
    offsets[0] = 0
    # In place: other integers than int64 would be summed up through a buffer, at three times the cost.
    offsets[1:] = lengths
    return np.add.accumulate(offsets, out=offsets)


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
    answer = np.zeros(end - start, np.uint8)
    for first, last, place in zip(firsts.tolist(), lasts.tolist(), places.tolist(), strict=True):
        low, high = max(first, start), min(last, end)
        if low < high:
            answer[low - start : high - start] = data[low + place : high + place]
    answer.setflags(write=False)
    return answer


def gather_from(data: Bytes, starts: Int64s, ends: Int64s) -> Bytes:
    """Copy ranges of data end to end, in the order given. For reading only: one range, or many that follow one another,
    are a view and no copy.

    Cost: one kernel call whatever the number of ranges, but for few or wide ones.
    """
    n = len(starts)
    if n == 0:
        return np.empty(0, np.uint8)
    if n == 1:
        return data[starts[0] : ends[0]]
    if n <= _FEW:
        return _join_slices(data, starts, ends)
    if (starts[1:] == ends[:-1]).all():
        return data[starts[0] : ends[-1]]
    lengths = ends - starts
    width = int(lengths[0])
    if (lengths == width).all():
        return _gather_equal(data, starts, width)
    if n <= _MANY or lengths.sum() >= n * _WIDE:
        return _join_slices(data, starts, ends)
    # Interleaved [start, end, start, end, …] are the offsets of a binary array whose even slots are the ranges.
    offsets = np.empty(2 * n + 1, np.int64)
    offsets[0:-1:2], offsets[1::2] = starts, ends
    offsets[-1] = len(data)
    cells = pa.Array.from_buffers(pa.large_binary(), 2 * n, [None, pa.py_buffer(offsets), pa.py_buffer(data)])
    taken = cells.take(pa.array(np.arange(0, 2 * n, 2)))
    return np.frombuffer(taken.buffers()[2] or b"", np.uint8)[: lengths.sum()]


def gather_from_groups(data: Bytes, starts: Int64s, ends: Int64s, each: int) -> Bytes:
    """As `gather_from`, of data that holds only the whole groups of `each` that the ranges lie in, end to end."""
    firsts = starts // each
    counts = -(-ends // each) - firsts
    moved = (np.cumsum(counts) - counts - firsts) * each
    return gather_from(data, starts + moved, ends + moved)


def _join_slices(data: Bytes, starts: Int64s, ends: Int64s) -> Bytes:
    if len(starts) <= _MANY:
        return np.frombuffer(_joined(data, starts, ends), np.uint8)
    # Some at a time: Python's collector of garbage runs when there are 700 slices more than there were, and now and
    # then it walks all objects of the process.
    out, filled = np.frombuffer(pa.allocate_buffer(int((ends - starts).sum())), np.uint8), 0
    for first in range(0, len(starts), _MANY):
        part = _joined(data, starts[first : first + _MANY], ends[first : first + _MANY])
        out[filled : filled + len(part)] = np.frombuffer(part, np.uint8)
        filled += len(part)
    return out


def _joined(data: Bytes, starts: Int64s, ends: Int64s) -> bytes:
    # Not np.concatenate of arrays, which takes three times as long.
    view = memoryview(data)
    return b"".join([view[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)])


def _gather_equal(data: Bytes, starts: Int64s, width: int) -> Bytes:
    if width == 0:
        return np.empty(0, np.uint8)
    # One void scalar per byte position: fancy indexing copies each range with one memcpy.
    cells = np.ndarray((len(data) - width + 1,), dtype=np.dtype((np.void, width)), buffer=data, strides=(1,))
    return cells[starts].view(np.uint8)


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
