"""Bit-packing, transposed in tiles so that numpy unpacks a strip at a time (format_spec/encodings/bitpack.md).

tile = 64 strips x `lanes` rows; row = (tile * 64 + strip) * lanes + lane
a lane's 64 values of `width` bits fill `width` words of 64 bits; word w of lane l is at (tile * width + w) * lanes + l
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from lance_like.encodings.base import Encoded, Hints, int_param
from lance_like.encodings.narrow import base_by_row, bases_of, differences_from_base, integers
from lance_like.encodings.physical import is_integer_like
from lance_like.encodings.stack import Reading, Runs, Stack
from lance_like.typing_ import Bytes, Int64s

STRIPS = 64
# 128 lanes make a tile of 8,192 rows; the second word of a value lies 1 KiB on, mostly in the same block.
_LANES = 128
# Byte strides unpack faster and take with one gather: bits must save at least this share of them.
_WORTH = 0.85


class Bitpack:
    """One buffer of 64-bit little-endian words; value = base + bits, modulo the type's width."""

    name = "bitpack"
    shape = ("width", "lanes")

    def encode(self, array: pa.Array, hints: Hints) -> Encoded | None:
        if array.null_count == len(array):
            return None
        differences, base = differences_from_base(array)
        width = max(1, int(differences.max()).bit_length())
        stride_bits = min(8 * ((width + 7) // 8), array.type.bit_width)
        lanes = min(_LANES, -(-len(array) // STRIPS))
        tiles = -(-len(array) // (STRIPS * lanes))
        if tiles * STRIPS * lanes * width > _WORTH * stride_bits * len(array):
            return None
        words = _pack(differences, width, lanes, tiles)
        params = {"base": str(base), "width": width, "lanes": lanes}
        return Encoded(self.name, len(array), params, (words.view(np.uint8),))

    def read(self, stack: Stack, kind: pa.DataType, runs: Runs) -> Reading[pa.Array]:
        stack.require(is_integer_like(kind), f"it cannot hold the type {kind}")
        width = int_param(stack.node, "width", 1, 63)
        lanes = int_param(stack.node, "lanes", 1, 1 << 20)
        bases = bases_of(stack)
        tile_rows, tile_nbytes = STRIPS * lanes, lanes * width * 8
        start = stack.place(0, -(-stack.num_rows // tile_rows) * tile_nbytes)
        if len(runs.starts) == 1 and runs.count >= min(tile_rows, int(stack.num_rows[runs.at[0]])) // 2:
            # A long run: whole tiles, unpacked strip by strip.
            first, last = int(runs.starts[0]) // tile_rows, -(-int(runs.ends[0]) // tile_rows)
            low = start[runs.at] + first * tile_nbytes
            (data,) = yield [(low, low + (last - first) * tile_nbytes, stack.slots[runs.at])]
            cut = slice(int(runs.starts[0]) - first * tile_rows, int(runs.ends[0]) - first * tile_rows)
            return integers(kind, _unpack(data, width, lanes)[cut], base_by_row(bases, runs))
        at, rows = runs.rows()
        bits = yield from _pick(start[at], stack.slots[at], rows, width, lanes)
        return integers(kind, bits, base_by_row(bases, runs))


def _pack(values: np.ndarray, width: int, lanes: int, tiles: int) -> np.ndarray:
    padded = np.zeros(tiles * STRIPS * lanes, "<u8")
    padded[: len(values)] = values
    strips = padded.reshape(tiles, STRIPS, lanes)
    words = np.zeros((tiles, width, lanes), "<u8")
    for strip in range(STRIPS):
        word, shift = divmod(strip * width, 64)
        words[:, word] |= strips[:, strip] << np.uint64(shift)
        if shift + width > 64:
            words[:, word + 1] |= strips[:, strip] >> np.uint64(64 - shift)
    return words.reshape(-1)


def _unpack(data: Bytes, width: int, lanes: int) -> np.ndarray:
    words = data.view("<u8").reshape(-1, width, lanes)
    out = np.empty((len(words), STRIPS, lanes), np.uint64)
    mask = np.uint64((1 << width) - 1)
    # Shifts go to a contiguous scratch and leave it masked: 1.1 to 1.6 times the speed of working in `out`.
    scratch = np.empty((len(words), lanes), np.uint64)
    for strip in range(STRIPS):
        word, shift = divmod(strip * width, 64)
        np.right_shift(words[:, word], np.uint64(shift), out=scratch)
        if shift + width > 64:
            scratch |= words[:, word + 1] << np.uint64(64 - shift)
        np.bitwise_and(scratch, mask, out=out[:, strip])
    return out.reshape(-1)


def _pick(start: Int64s, slots: Int64s, rows: Int64s, width: int, lanes: int) -> Reading[np.ndarray]:
    """The bits of single rows: one word each, and the next word for those that cross into it."""
    tile, within = np.divmod(rows, STRIPS * lanes)
    strip, lane = np.divmod(within, lanes)
    word, shift = np.divmod(strip * width, 64)
    at = start + ((tile * width + word) * lanes + lane) * 8
    crossing = np.flatnonzero(shift + width > 64)
    after = at[crossing] + lanes * 8
    low, high = yield [(at, at + 8, slots), (after, after + 8, slots[crossing])]
    shift = shift.astype(np.uint64)
    bits = low.view("<u8") >> shift
    bits[crossing] |= high.view("<u8") << (np.uint64(64) - shift[crossing])
    return bits & np.uint64((1 << width) - 1)
