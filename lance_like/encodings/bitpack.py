"""Bit-packing, transposed in tiles so that numpy unpacks a strip at a time (format_spec/encodings/bitpack.md).

tile = 64 strips x `lanes` rows; row = (tile * 64 + strip) * lanes + lane
a lane's 64 values of `width` bits fill `width` words of 64 bits; word w of lane l is at (tile * width + w) * lanes + l
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from lance_like.encodings.base import Encoded, Hints, int_param
from lance_like.encodings.narrow import (
    base_by_row,
    bases_of,
    check_integer_like,
    differences_from,
    values_and_range,
)
from lance_like.encodings.physical import flat_array, unsigned_dtype
from lance_like.encodings.pool import allocate
from lance_like.encodings.stack import Reading, Runs, Stack
from lance_like.typing_ import Int64s

STRIPS = 64
# 128 lanes make a tile of 8,192 rows; the second word of a value lies 1 KiB on, mostly in the same block.
_LANES = 128
# Byte strides unpack faster and take with one gather: bits must save at least this share of them.
_WORTH = 0.85
# Lanes unpacked at a time, over all tiles: their words and a scratch of 128 KiB stay in the cache.
_BATCH_LANES = 1 << 14


class Bitpack:
    """One buffer of 64-bit little-endian words; value = base + bits, modulo the type's width."""

    name = "bitpack"
    shape = ("width", "lanes")

    def encode(self, array: pa.Array, hints: Hints) -> Encoded | None:
        if array.null_count == len(array):
            return None
        values, low, high = values_and_range(array)
        width = max(1, (high - low).bit_length())
        stride_bits = min(8 * ((width + 7) // 8), array.type.bit_width)
        lanes = min(_LANES, -(-len(array) // STRIPS))
        tiles = -(-len(array) // (STRIPS * lanes))
        if tiles * STRIPS * lanes * width > _WORTH * stride_bits * len(array):
            return None
        words = _pack(values, low, width, lanes, tiles)
        params = {"base": str(low), "width": width, "lanes": lanes}
        return Encoded(self.name, len(array), params, (words.view(np.uint8),))

    def read(self, stack: Stack, kind: pa.DataType, runs: Runs) -> Reading[pa.Array]:
        check_integer_like(stack, kind)
        width, lanes, start = stack.once("opened", lambda: self._opened(stack))
        bases, dtype = bases_of(stack), unsigned_dtype(kind)
        tile_rows, tile_nbytes = STRIPS * lanes, lanes * width * 8
        if len(runs.starts) == 1 and runs.count >= min(tile_rows, int(stack.num_rows[runs.at[0]])) // 2:
            # A long run: whole tiles, unpacked strip by strip.
            first, last = int(runs.starts[0]) // tile_rows, -(-int(runs.ends[0]) // tile_rows)
            low = start[runs.at] + first * tile_nbytes
            (data,) = yield [(low, low + (last - first) * tile_nbytes, stack.slots[runs.at])]
            values = _unpack(data.view("<u8").reshape(-1, width, lanes), width, base_by_row(bases, runs)[0], dtype)
            cut = values[int(runs.starts[0]) - first * tile_rows :][: runs.count]
            return flat_array(kind, cut.view(np.uint8), runs.count)
        at, rows = runs.rows()
        bits = yield from _pick(start[at], stack.slots[at], rows, width, lanes)
        values = (bits + base_by_row(bases, runs)).astype(dtype, copy=False)
        return flat_array(kind, values.view(np.uint8), len(values))

    @staticmethod
    def _opened(stack: Stack) -> tuple[int, int, Int64s]:
        """The width, the lanes, and where the words of each page begin."""
        width = int_param(stack.node, "width", 1, 63)
        lanes = int_param(stack.node, "lanes", 1, 1 << 20)
        return width, lanes, stack.place(0, -(-stack.num_rows // (STRIPS * lanes)) * lanes * width * 8)


def _pack(values: np.ndarray, base: int, width: int, lanes: int, tiles: int) -> np.ndarray:
    """The words of whole tiles of differences from a base: uint64[tiles * width * lanes]."""
    padded = allocate(tiles * STRIPS * lanes, np.uint64)
    differences_from(values, base, padded[: len(values)])
    padded[len(values) :] = 0
    strips = padded.reshape(tiles, STRIPS, lanes)
    words = allocate(tiles * width * lanes, np.uint64).reshape(tiles, width, lanes)
    words[:] = 0
    scratch = np.empty((tiles, lanes), np.uint64)
    for strip in range(STRIPS):
        word, shift = divmod(strip * width, 64)
        words[:, word] |= np.left_shift(strips[:, strip], np.uint64(shift), out=scratch)
        if shift + width > 64:
            words[:, word + 1] |= np.right_shift(strips[:, strip], np.uint64(64 - shift), out=scratch)
    return words.reshape(-1)


def _unpack(words: np.ndarray, width: int, base: np.uint64, dtype: np.dtype) -> np.ndarray:
    """The values of whole tiles, as dtype[rows]. words: uint64[tiles, width, lanes]."""
    tiles, _, lanes = words.shape
    out = allocate(tiles * STRIPS * lanes, dtype)
    batch = max(1, _BATCH_LANES // lanes)
    scratch = np.empty((2, min(batch, tiles), lanes), np.uint64)
    for tile in range(0, tiles, batch):
        part = slice(tile, min(tile + batch, tiles))
        strips = out[part.start * STRIPS * lanes : part.stop * STRIPS * lanes].reshape(-1, STRIPS, lanes)
        _unpack_tiles(words[part], width, base, strips, scratch[:, : len(strips)])
    return out


def _unpack_tiles(words: np.ndarray, width: int, base: np.uint64, out: np.ndarray, scratch: np.ndarray) -> None:
    """Fill out[tiles, strips, lanes]. Each strip is finished in the scratch, so that `out` is written once."""
    mask = np.uint64((1 << width) - 1)
    bits, above = scratch
    for strip in range(STRIPS):
        word, shift = divmod(strip * width, 64)
        np.right_shift(words[:, word], np.uint64(shift), out=bits)
        if shift + width > 64:
            np.left_shift(words[:, word + 1], np.uint64(64 - shift), out=above)
            np.bitwise_or(bits, above, out=bits)
        if base:
            np.bitwise_and(bits, mask, out=bits)
            np.add(bits, base, out=out[:, strip], casting="unsafe")
        else:
            np.bitwise_and(bits, mask, out=out[:, strip], casting="unsafe")


def _pick(start: Int64s, slots: Int64s, rows: Int64s, width: int, lanes: int) -> Reading[np.ndarray]:
    """The bits of single rows: one word each, and the next word for those that cross into it."""
    strip = rows // lanes
    lane = rows - strip * lanes
    first_bit = (strip & 63) * width
    at = start + (((strip >> 6) * width + (first_bit >> 6)) * lanes + lane) * 8
    shift = first_bit & 63
    crossing = np.flatnonzero(shift > 64 - width)
    if not len(crossing):
        (low,) = yield [(at, at + 8, slots)]
        return low.view("<u8") >> shift.view(np.uint64) & np.uint64((1 << width) - 1)
    after = at[crossing] + lanes * 8
    low, high = yield [(at, at + 8, slots), (after, after + 8, slots[crossing])]
    shift = shift.view(np.uint64)
    bits = low.view("<u8") >> shift
    bits[crossing] |= high.view("<u8") << (np.uint64(64) - shift[crossing])
    return bits & np.uint64((1 << width) - 1)
