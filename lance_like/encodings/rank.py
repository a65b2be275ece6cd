"""A bitmap that counts: how many ones stand before a bit, from one cache line (format_spec/encodings/run_length.md).

u32 ones before the line | 60 bytes: 480 bits, least significant first      a line of 64 bytes
"""

from __future__ import annotations

import numpy as np

from lance_like.encodings.stack import Reading, Runs, Stack
from lance_like.typing_ import Bytes, Int64s

LINE_NBYTES = 64
LINE_BITS = 480
_COUNT_NBYTES = 4
# Masks of the first 0 to 480 bits of a line, as 32-bit words.
_BELOW = np.packbits(np.tri(LINE_BITS + 1, LINE_BITS, -1, np.uint8), axis=1, bitorder="little").view("<u4")


def lines_of(num_bits: Int64s | int) -> Int64s | int:
    """How many lines a bitmap has."""
    return -(-num_bits // LINE_BITS)


def pack_ranked(bits: np.ndarray) -> Bytes:
    """The lines of a bitmap. bits: bool[n], n > 0, fewer than 2^32 ones."""
    lines = lines_of(len(bits))
    padded = np.zeros(lines * LINE_BITS, np.uint8)
    padded[: len(bits)] = bits
    out = np.empty((lines, LINE_NBYTES), np.uint8)
    out[:, _COUNT_NBYTES:] = np.packbits(padded, bitorder="little").reshape(lines, -1)
    ones = padded.reshape(lines, LINE_BITS).sum(axis=1, dtype=np.int64)
    out[:, :_COUNT_NBYTES] = (np.cumsum(ones) - ones).astype("<u4").view(np.uint8).reshape(lines, -1)
    return out.reshape(-1)


def read_ranks(stack: Stack, index: int, runs: Runs) -> Reading[Int64s]:
    """How many ones stand before or at each row: int64[count]. index: the buffer of the lines."""
    start = stack.place(index, lines_of(stack.num_rows) * LINE_NBYTES)
    at, rows = runs.rows()
    line, bit = np.divmod(rows, LINE_BITS)
    low = start[at] + line * LINE_NBYTES
    (data,) = yield [(low, low + LINE_NBYTES, stack.slots[at])]
    words = data.view("<u4").reshape(-1, LINE_NBYTES // 4)
    return words[:, 0] + np.bitwise_count(words[:, 1:] & _BELOW[bit + 1]).sum(axis=1, dtype=np.int64)


def read_ones(stack: Stack, index: int, runs: Runs) -> Reading[tuple[int, Int64s]]:
    """Where the ones of one run of rows are.

    runs: one, not empty. index: the buffer of the lines.
    Returns how many ones stand before the run, and int64[k] places of those in it, from its start.
    Raises Corrupt when the counts of neighbouring lines disagree with the bits between them.
    """
    start = stack.place(index, lines_of(stack.num_rows) * LINE_NBYTES)
    begin, end = int(runs.starts[0]), int(runs.ends[0])
    first, last = begin // LINE_BITS, -(-end // LINE_BITS)
    low = start[runs.at] + first * LINE_NBYTES
    (data,) = yield [(low, low + (last - first) * LINE_NBYTES, stack.slots[runs.at])]
    lines = data.reshape(-1, LINE_NBYTES)
    counts = data.view("<u4")[:: LINE_NBYTES // 4].astype(np.int64)
    ones = np.flatnonzero(np.unpackbits(lines[:, _COUNT_NBYTES:], axis=1, bitorder="little").view(bool))
    found = np.searchsorted(ones, np.arange(1, len(lines)) * LINE_BITS)
    stack.require(bool((counts[1:] - counts[0] == found).all()), "the counts of its bitmap disagree with its bits")
    skip = begin - first * LINE_BITS
    low, high = np.searchsorted(ones, (skip, skip + end - begin))
    return int(counts[0] + low), ones[low:high] - skip
