"""A bitmap that counts: how many ones stand before a bit, from one cache line (format_spec/encodings/run_length.md).

u32 ones before the line | 60 bytes: 480 bits, least significant first      a line of 64 bytes
"""

from __future__ import annotations

import numpy as np

from lance_like.encodings.pool import allocate
from lance_like.encodings.stack import Reading, Runs, Stack
from lance_like.kernels import spread
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


class RunOfRanks:
    """Ranks in one run of rows.

    before: ones before the run. inside: ones in it. begins: whether there is one at its first row.
    """

    def __init__(self, data: Bytes, begin: int, end: int, stack: Stack) -> None:
        """data: the whole lines that hold rows begin … end of the bitmap, begin < end.

        Raises Corrupt when the counts of neighbouring lines disagree with the bits between them.
        """
        words = data.view("<u4").reshape(-1, LINE_NBYTES // 4)
        counts = words[:, 0].astype(np.int64)
        ones = np.bitwise_count(words[:, 1:]).sum(axis=1, dtype=np.int64)
        agree = bool((np.diff(counts) == ones[:-1]).all())
        stack.require(agree, "the counts of its bitmap disagree with its bits")
        self._bytes = data.reshape(-1, LINE_NBYTES)[:, _COUNT_NBYTES:].reshape(-1)
        self._skip = begin % LINE_BITS
        self.count = end - begin
        ones_to = [_ones_before(self._bytes, bit) for bit in (self._skip, self._skip + self.count)]
        self.before = int(counts[0]) + ones_to[0]
        self.inside = ones_to[1] - ones_to[0]
        self.begins = bool(self._bytes[self._skip // 8] >> self._skip % 8 & 1)

    def spread(self, values: np.ndarray) -> np.ndarray:
        """The value of each row. values: of the runs that the rows lie in."""
        out = allocate(self.count, values.dtype)
        spread(values, self._bytes, self._skip, out)
        return out


def _ones_before(data: Bytes, bit: int) -> int:
    """How many of the first bits are ones."""
    whole, rest = divmod(bit, 8)
    ones = int(np.bitwise_count(data[:whole]).sum(dtype=np.int64))
    return ones + (int(data[whole]) & ((1 << rest) - 1)).bit_count() if rest else ones


def read_run_of_ranks(stack: Stack, index: int, runs: Runs) -> Reading[RunOfRanks]:
    """The ranks of one run of rows. runs: one, not empty. index: the buffer of the lines."""
    start = stack.place(index, lines_of(stack.num_rows) * LINE_NBYTES)
    begin, end = int(runs.starts[0]), int(runs.ends[0])
    first, last = begin // LINE_BITS, -(-end // LINE_BITS)
    low = start[runs.at] + first * LINE_NBYTES
    (data,) = yield [(low, low + (last - first) * LINE_NBYTES, stack.slots[runs.at])]
    return RunOfRanks(data, begin, end, stack)
