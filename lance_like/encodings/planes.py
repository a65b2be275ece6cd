"""Planes: integers as differences from a base, whole bytes and some bits apart (format_spec/encodings/planes.md).

buffer 0    the low bytes of each difference, row after row
buffer 1    the bits above: for 8 rows a byte of their lowest bits, one of their second …
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from lance_like.encodings.base import Encoded, Hints, int_param
from lance_like.encodings.bitpack import word_dtype
from lance_like.encodings.narrow import (
    base_by_row,
    bases_of,
    check_integer_like,
    differences_from,
    store,
    values_and_range,
)
from lance_like.encodings.physical import flat_array, unsigned_dtype
from lance_like.encodings.pool import allocate, batches
from lance_like.encodings.stack import Reading, Runs, Stack
from lance_like.kernels import widen
from lance_like.ranges import gather_from_groups
from lance_like.typing_ import Bytes, Int64s

_ROWS = 8
# A pass for each plane: bits must save at least this share of whole bytes.
_WORTH = 0.8
# Fewer rows take no block less.
_FEWEST_ROWS = 64


class Planes:
    """For items of lists, which are read in runs: a run is two stretches of bytes, whatever the width."""

    name = "planes"
    shape = ("stride", "bits")

    def encode(self, array: pa.Array, hints: Hints) -> Encoded | None:
        if array.null_count == len(array) or len(array) < _FEWEST_ROWS:
            return None
        values, low, high = values_and_range(array)
        width = (high - low).bit_length()
        stride, bits = divmod(width, 8)
        if not bits or width > _WORTH * min(8 * (stride + 1), array.type.bit_width):
            return None
        lows = np.empty(len(values) * stride, np.uint8)
        planes = np.empty((-(-len(values) // _ROWS), bits), np.uint8)
        for rows in batches(len(values)):
            differences = differences_from(values[rows], low, np.empty(rows.stop - rows.start, np.uint64))
            store(differences, stride, lows[rows.start * stride :], (stride,))
            above = (differences >> np.uint64(8 * stride)).astype(np.uint8)
            part = planes[rows.start // _ROWS :]
            for bit in range(bits):
                packed = np.packbits(above >> bit & 1, bitorder="little")
                part[: len(packed), bit] = packed
        params = {"base": str(low), "stride": stride, "bits": bits}
        return Encoded(self.name, len(array), params, (lows, planes.reshape(-1)))

    def read(self, stack: Stack, kind: pa.DataType, runs: Runs) -> Reading[pa.Array]:
        check_integer_like(stack, kind)
        stride, bits, lows, planes = stack.once("opened", lambda: _opened(stack))
        stack.require(8 * stride + bits <= kind.bit_width, "its numbers are wider than their type")
        firsts, lasts = runs.starts // _ROWS, -(-runs.ends // _ROWS)
        start = planes[runs.at]
        asks = [(start + firsts * bits, start + lasts * bits, stack.slots[runs.at])]
        if stride:
            asks.append(stack.cells(lows, runs, stride))
        data, *low = yield asks
        above = _bits_of_rows(data, bits, runs.starts) if runs.single else _bits_of_runs(data, bits, runs)
        words = _joined(low[0] if stride else None, stride, above, bits)
        out = allocate(len(words), unsigned_dtype(kind))
        base = base_by_row(bases_of(stack), runs)
        # In one piece: with a part in the cache at a time, two threads wait longer for the GIL than memory takes.
        np.copyto(out, words)
        if len(base) != 1 or base[0]:
            np.add(out, base.astype(out.dtype, copy=False), out=out)
        return flat_array(kind, out.view(np.uint8), len(out))


def _joined(low: Bytes | None, stride: int, above: Bytes, bits: int) -> np.ndarray:
    """Differences from their low bytes and the bits above, in the narrowest words that hold them."""
    if low is None:
        return above
    words = allocate(len(above), word_dtype(8 * stride + bits))
    np.left_shift(above, words.dtype.type(8 * stride), out=words, dtype=words.dtype, casting="unsafe")
    if stride == 1:
        return np.bitwise_or(words, low, out=words)
    lowest = allocate(len(words), words.dtype)
    widen(low, stride, 0, lowest)
    return np.bitwise_or(words, lowest, out=words)


def _opened(stack: Stack) -> tuple[int, int, Int64s, Int64s]:
    """The whole bytes and the bits of a difference, and where both begin for each page."""
    stride, bits = int_param(stack.node, "stride", 0, 7), int_param(stack.node, "bits", 1, 7)
    lows = stack.place(0, stack.num_rows * stride)
    return stride, bits, lows, stack.place(1, -(-stack.num_rows // _ROWS) * bits)


def _bits_of_rows(data: Bytes, bits: int, rows: Int64s) -> Bytes:
    """The bits of single rows, as one number each. data: the planes of the rows around each."""
    planes = data.reshape(-1, bits) >> (rows % _ROWS).astype(np.uint8)[:, None] & 1
    return np.bitwise_or.reduce(planes << np.arange(bits, dtype=np.uint8), axis=1)


def _bits_of_runs(data: Bytes, bits: int, runs: Runs) -> Bytes:
    """The bits of runs of rows, as one number each. data: the planes of the eights of rows that they lie in."""
    planes = data.reshape(-1, bits)
    above = np.unpackbits(planes[:, 0], bitorder="little")
    for bit in range(1, bits):
        above |= np.unpackbits(planes[:, bit], bitorder="little") << bit
    return gather_from_groups(above, runs.starts, runs.ends, _ROWS)
