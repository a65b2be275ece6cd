"""Whole numbers in as few bits as their block needs (format_spec/index/inverted.md, "Packed blocks").

The bits of a block follow each other from the lowest bit of its first byte; each block begins at a byte.
"""

from __future__ import annotations

import numpy as np

from lance_like import kernels
from lance_like.typing_ import Bytes, Int64s

MAX_WIDTH = 32
_MASKS = np.array([(1 << width) - 1 for width in range(MAX_WIDTH + 1)], np.uint64)
# More blocks than this are unpacked as the rows of a grid, so many at a time, while they are in the caches.
_FEW_BLOCKS, _AT_A_TIME = 8, 128


def widths_of(greatest: np.ndarray) -> Bytes:
    """The bits that numbers below 2^32 need. Returns uint8[n]."""
    return np.frexp(greatest.astype(np.float64))[1].astype(np.uint8)


def packed_nbytes(counts: Int64s, widths: Bytes) -> Int64s:
    """The bytes of blocks of counts numbers of widths bits."""
    return (counts * widths + 7) >> 3


def pack(values: Int64s, counts: Int64s, widths: Bytes) -> Bytes:
    """The bytes of blocks, one after the other. values: of all blocks, counts of each."""
    out = np.empty(int(packed_nbytes(counts, widths).sum()), np.uint8)
    kernels.pack(values, counts, widths, out)
    return out


def unpack(data: Bytes, counts: Int64s, widths: Bytes, starts: Int64s) -> Int64s:
    """The numbers of blocks. data: with 8 bytes past the last block. starts: int64, where blocks begin in it."""
    # Words at even places of 32 bits, not at every byte: numpy copies all of an array that is not aligned.
    words = np.ndarray((len(data) - 4) // 4, np.uint64, data, 0, (4,))
    if len(counts) > _FEW_BLOCKS and (counts[:-1] == counts[0]).all() and counts[-1] <= counts[0]:
        return _unpack_grid(words, int(counts[0]), widths, starts)[: int(counts.sum())]
    at, bits = _places(counts, widths, starts)
    found = words[at >> 5]
    found >>= (at & 31).astype(np.uint64)
    found &= _MASKS.take(bits)
    return found.view(np.int64)


def _unpack_grid(words: np.ndarray, count: int, widths: Bytes, starts: Int64s) -> Int64s:
    """The numbers of blocks of one count, end to end; the last may have fewer, and then anything is behind them."""
    numbers, bits = np.arange(count), widths.astype(np.int64)[:, np.newaxis]
    begins, masks = (starts << 3)[:, np.newaxis], _MASKS.take(widths)[:, np.newaxis]
    found = np.empty((len(widths), count), np.uint64)
    for first in range(0, len(widths), _AT_A_TIME):
        some = slice(first, first + _AT_A_TIME)
        at = bits[some] * numbers
        at += begins[some]
        word = at >> 5
        # What the last block does not have may lie behind the data.
        np.minimum(word[-1], len(words) - 1, out=word[-1])
        read = words[word]
        at &= 31
        read >>= at.view(np.uint64)
        np.bitwise_and(read, masks[some], out=found[some])
    return found.reshape(-1).view(np.int64)


def _places(counts: Int64s, widths: Bytes, starts: Int64s) -> tuple[Int64s, Int64s]:
    """The bit at which each number begins, and its bits."""
    bits = widths.astype(np.int64).repeat(counts)
    begins = counts.cumsum() - counts
    at = np.arange(len(bits)) - begins.repeat(counts)
    at *= bits
    at += (starts << 3).repeat(counts)
    return at, bits


__all__ = ["MAX_WIDTH", "pack", "packed_nbytes", "unpack", "widths_of"]
