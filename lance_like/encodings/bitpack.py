"""Bit-packing, transposed in tiles so that a strip is unpacked at a time (format_spec/encodings/bitpack.md).

word = the narrowest of 8, 16, 32 and 64 bits that holds a difference, W bits
tile = W strips x `lanes` rows; row = (tile * W + strip) * lanes + lane
a lane's W values of `width` bits fill `width` words; word w of lane l is word (tile * width + w) * lanes + l
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from lance_like.encodings.base import Encoded, Hints, int_param
from lance_like.encodings.joining import taken
from lance_like.encodings.narrow import (
    base_by_row,
    bases_of,
    bounds_of_differences,
    check_integer_like,
    differences_from,
    values_and_range,
)
from lance_like.encodings.physical import flat_array, unsigned_dtype
from lance_like.encodings.pool import allocate, batches
from lance_like.encodings.sift import Flags, Sieve
from lance_like.encodings.stack import Ask, Reading, Runs, Stack, ask, expand
from lance_like.kernels import pick, unpack, within
from lance_like.typing_ import Int64s

# The most rows of a tile, whatever the word; the second word of a value lies 1 KiB on, mostly in the same block.
_TILE_ROWS = 8192
# Numbers of tiles that are tried.
_TILINGS = 8
# Byte strides unpack faster and take with one gather: bits must save a share of them, by their number of bytes. Of 8
# they must save more, since these are values as they are.
_WORTH = (0.85, 0.85, 0.85, 0.9, 0.9, 0.9, 0.9, 0.9, 0.85)
# What bits must save besides: a page of some hundred rows takes longer to unpack than its bytes are worth.
LEAST_SAVED_NBYTES = 256
# Rows that are packed at a time: the cache holds them.
_BATCH_ROWS = 1 << 17
# By the width of a difference.
_WORDS = tuple(np.dtype(f"<u{next(n for n in (1, 2, 4, 8) if width <= 8 * n)}") for width in range(65))


class Bitpack:
    """One buffer of 64-bit little-endian words; value = base + bits, modulo the type's width."""

    name = "bitpack"
    shape = ("width", "lanes")

    def encode(self, array: pa.Array, hints: Hints) -> Encoded | None:
        if array.null_count == len(array) or len(array) * array.type.bit_width <= 8 * LEAST_SAVED_NBYTES:
            return None
        values, low, high = values_and_range(array)
        width = max(1, (high - low).bit_length())
        stride_bits = min(8 * ((width + 7) // 8), array.type.bit_width)
        whole = stride_bits * len(array)
        most = min(_WORTH[stride_bits // 8] * whole, whole - 8 * LEAST_SAVED_NBYTES)
        strips = 8 * word_dtype(width).itemsize
        tiles, lanes = _tiling(len(array), strips)
        if tiles * strips * lanes * width > most:
            return None
        words = _pack(values, low, width, lanes, tiles)
        params = {"base": str(low), "width": width, "lanes": lanes}
        return Encoded(self.name, len(array), params, (words.view(np.uint8),))

    def read(self, stack: Stack, kind: pa.DataType, runs: Runs) -> Reading[pa.Array]:
        check_integer_like(stack, kind)
        width, lanes, start = stack.once("opened", lambda: self._opened(stack))
        bases, dtype, word = bases_of(stack), unsigned_dtype(kind), word_dtype(width)
        tiles = self._tiles(stack, runs)
        if tiles is not None:
            first, ask_of_tiles = tiles
            (data,) = yield [ask_of_tiles]
            bases = bases if len(bases) == 1 else bases[runs.at]
            values = _values_of_tiles(data.view(word), (width, lanes), runs, first, bases, dtype)
            return flat_array(kind, values.view(np.uint8), runs.count)
        if runs.single:
            at, rows = runs.places
            bits = yield from _pick(start[at], stack.slots[at], rows, width, lanes)
        else:
            bits = yield from _pick_runs(start[runs.at], stack.slots[runs.at], runs, width, lanes)
        values = (bits + base_by_row(bases, runs)).astype(dtype, copy=False)
        return flat_array(kind, values.view(np.uint8), len(values))

    def choose(self, stack: Stack, kind: pa.DataType, runs: Runs, rows: Int64s) -> Reading[pa.Array]:
        """Only the differences of chosen rows are taken out of their words."""
        check_integer_like(stack, kind)
        tiles = self._tiles(stack, runs)
        if tiles is None:
            return taken((yield from self.read(stack, kind, runs)), pa.array(rows))
        width, lanes, _ = stack.once("opened", lambda: self._opened(stack))
        first, ask_of_tiles = tiles
        (data,) = yield [ask_of_tiles]
        values = allocate(len(rows), unsigned_dtype(kind))
        base = int(base_by_row(bases_of(stack), runs)[0])
        skip = int(runs.starts[0] - first[0])
        pick(data.view(word_dtype(width)), width, lanes, rows, skip, base, values)
        return flat_array(kind, values.view(np.uint8), len(values))

    def judge(self, stack: Stack, kind: pa.DataType, runs: Runs, test: Sieve) -> Reading[Flags]:
        """Compare differences as they come out of their words: no value is made."""
        tiles = self._tiles(stack, runs)
        width, lanes, _ = stack.once("opened", lambda: self._opened(stack))
        most = (1 << width) - 1
        bounds = bounds_of_differences(stack, kind, runs, test, most)
        if bounds is None or tiles is None:
            return test.of_values((yield from self.read(stack, kind, runs)))
        low, high = bounds
        if low > high or bounds == (0, most):
            return np.full(runs.count, low <= high)
        first, ask_of_tiles = tiles
        (data,) = yield [ask_of_tiles]
        words = data.view(word_dtype(width))
        passes = allocate(len(words) * 8 * words.itemsize // width, np.bool_)
        within(words, width, lanes, low, high, passes)
        return passes[int(runs.starts[0] - first[0]) :][: runs.count]

    def _tiles(self, stack: Stack, runs: Runs) -> tuple[Int64s, Ask] | None:
        """Of long runs the first row of their tiles, int64[n], and the bytes; None where a run is short."""
        if len(runs.at) != 1 and (runs.single or not len(runs.at)):
            return None
        width, lanes, start = stack.once("opened", lambda: self._opened(stack))
        tile_rows, tile_nbytes = 8 * word_dtype(width).itemsize * lanes, lanes * width * word_dtype(width).itemsize
        if len(runs.at) == 1:
            page, low, high = int(runs.at[0]), int(runs.starts[0]), int(runs.ends[0])
            if high - low < min(tile_rows, int(stack.num_rows[page])) // 2:
                return None
            first = low // tile_rows
            begin, end = (start[page] + tile * tile_nbytes for tile in (first, -(-high // tile_rows)))
            return np.array([first * tile_rows]), ask(begin, end - begin, stack.slots[page])
        if (runs.lengths < np.minimum(tile_rows, stack.num_rows[runs.at]) // 2).any():
            return None
        first, last = runs.starts // tile_rows, -(-runs.ends // tile_rows)
        low = start[runs.at]
        return first * tile_rows, (low + first * tile_nbytes, low + last * tile_nbytes, stack.slots[runs.at])

    @staticmethod
    def _opened(stack: Stack) -> tuple[int, int, Int64s]:
        """The width, the lanes, and where the words of each page begin."""
        width = int_param(stack.node, "width", 1, 63)
        lanes = int_param(stack.node, "lanes", 1, 1 << 20)
        nbytes = word_dtype(width).itemsize
        return width, lanes, stack.place(0, -(-stack.num_rows // (8 * nbytes * lanes)) * lanes * width * nbytes)


def _tiling(rows: int, strips: int) -> tuple[int, int]:
    """How many tiles of how many lanes hold rows: as few as can be, or some more that leave less of the last empty."""
    fewest = -(-rows // _TILE_ROWS)
    lanes = {tiles: -(-rows // (tiles * strips)) for tiles in range(fewest, fewest + _TILINGS)}
    return min(lanes.items(), key=lambda tiling: tiling[0] * tiling[1])


def word_dtype(width: int) -> np.dtype:
    """The words of differences of `width` bits: the narrowest unsigned integer that holds one."""
    return _WORDS[width]


def _pack(values: np.ndarray, base: int, width: int, lanes: int, tiles: int) -> np.ndarray:
    """The words of whole tiles of differences from a base: word[tiles * width * lanes]."""
    word_type = word_dtype(width)
    bits = 8 * word_type.itemsize
    wide = np.zeros(tiles * bits * lanes, word_type)
    for rows in batches(len(values)):
        scratch = np.empty(rows.stop - rows.start, np.uint64)
        np.copyto(wide[rows], differences_from(values[rows], base, scratch), casting="unsafe")
    strips = wide.reshape(tiles, bits, lanes)
    words = np.empty((tiles, width, lanes), word_type)
    (first, *others), crossing = _rounds(width, bits)
    batch = max(1, _BATCH_ROWS // (lanes * bits))
    for start in range(0, tiles, batch):
        some, out = strips[start : start + batch], words[start : start + batch]
        # Each word has a strip that begins in it, and the first of a word is shifted least.
        np.left_shift(some.take(first.strips, axis=1), first.shifts, out=out)
        for turn in others:
            out[:, turn.words] |= some.take(turn.strips, axis=1) << turn.shifts
        if len(crossing.strips):
            out[:, crossing.words] |= some.take(crossing.strips, axis=1) >> crossing.shifts
    return words.reshape(-1)


class _Turn(NamedTuple):
    """Strips of a tile that go to different words. words, strips: int64[n]. shifts: word[n, 1]."""

    words: Int64s
    strips: Int64s
    shifts: np.ndarray


@cache
def _rounds(width: int, bits: int) -> tuple[tuple[_Turn, ...], _Turn]:
    """What begins in the words of a tile, a strip a word at a time, and the strips that cross into the next word."""
    word, shift = np.divmod(np.arange(bits) * width, bits)
    rank = np.arange(bits) - np.searchsorted(word, word)
    turns = [np.flatnonzero(rank == turn) for turn in range(int(rank.max()) + 1)]
    crossing = np.flatnonzero(shift + width > bits)
    shifts = shift.astype(f"<u{bits // 8}")[:, None]
    begins = tuple(_Turn(word[strips], strips, shifts[strips]) for strips in turns)
    return begins, _Turn(word[crossing] + 1, crossing, bits - shifts[crossing])


def _values_of_tiles(
    words: np.ndarray, shape: tuple[int, int], runs: Runs, first: Int64s, bases: np.ndarray, dtype: np.dtype
) -> np.ndarray:
    """The values of runs, as dtype[count].

    words: of their tiles, end to end. shape: the width and the lanes. first: int64[n], the first row of the tiles of
    each.
    bases: uint64[n], or uint64[1] when it is the same for all.
    """
    together = len(bases) == 1
    width, lanes = shape
    values = allocate(len(words) * 8 * words.itemsize // width, dtype)
    unpack(words, width, lanes, int(bases[0]) if together else 0, values)
    if len(first) == 1:
        return values[int(runs.starts[0] - first[0]) :][: runs.count]
    tile_rows = 8 * words.itemsize * lanes
    ends = np.cumsum(-(-runs.ends // tile_rows) * tile_rows - first)
    starts = runs.starts - first
    starts[1:] += ends[:-1]
    out, at = allocate(runs.count, dtype), 0
    bases = np.broadcast_to(bases, len(first)).astype(dtype)
    for start, rows, base in zip(starts.tolist(), runs.lengths.tolist(), bases, strict=True):
        part = out[at : (at := at + rows)]
        if together:
            part[:] = values[start : start + rows]
        else:
            np.add(values[start : start + rows], base, out=part)
    return out


def _pick(start: Int64s, slots: Int64s, rows: Int64s, width: int, lanes: int) -> Reading[np.ndarray]:
    """The differences of single rows: one word each, and the next word for those that cross into it.

    start, slots, rows: vectors, or scalars for one row.
    """
    word = word_dtype(width)
    nbytes, bits, mask = word.itemsize, 8 * word.itemsize, word.type((1 << width) - 1)
    log2 = bits.bit_length() - 1
    strip, lane = divmod(rows, lanes)
    first_bit = (strip & (bits - 1)) * width
    at = start + (((strip >> log2) * width + (first_bit >> log2)) * lanes + lane) * nbytes
    shift = first_bit & (bits - 1)
    words, crosses, shift = ask(at, nbytes, slots), shift > bits - width, shift.reshape(-1).astype(word)
    if not np.count_nonzero(crosses):
        (low,) = yield [words]
        return low.view(word) >> shift & mask
    crossing = np.flatnonzero(crosses)
    low, high = yield [words, ask(words[0][crossing] + lanes * nbytes, nbytes, words[2][crossing])]
    found = low.view(word) >> shift
    found[crossing] |= high.view(word) << (word.type(bits) - shift[crossing])
    return found & mask


def _pick_runs(start: Int64s, slots: Int64s, runs: Runs, width: int, lanes: int) -> Reading[np.ndarray]:
    """The differences of runs of rows: as `_pick`, of what lies in one strip at once, since its words follow."""
    word = word_dtype(width)
    nbytes, bits, mask = word.itemsize, 8 * word.itemsize, word.type((1 << width) - 1)
    first, last = runs.starts // lanes, -(-runs.ends // lanes)
    strips, of = expand(first, last), np.repeat(np.arange(len(first)), last - first)
    low = np.maximum(runs.starts[of] - strips * lanes, 0)
    counts = np.minimum(runs.ends[of] - strips * lanes, lanes) - low
    tile, strip = np.divmod(strips, bits)
    first_word, shift = np.divmod(strip * width, bits)
    at = start[of] + ((tile * width + first_word) * lanes + low) * nbytes
    slots, crosses = slots[of], shift > bits - width
    words = at, at + counts * nbytes, slots
    shifts = shift.astype(word).repeat(counts)
    if not crosses.any():
        (data,) = yield [words]
        return data.view(word) >> shifts & mask
    behind = at[crosses] + lanes * nbytes
    data, above = yield [words, (behind, behind + counts[crosses] * nbytes, slots[crosses])]
    found = data.view(word) >> shifts
    crossing = crosses.repeat(counts)
    found[crossing] |= above.view(word) << (word.type(bits) - shifts[crossing])
    return found & mask
