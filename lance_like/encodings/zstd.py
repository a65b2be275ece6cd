"""Zstd: cells in small compressed blocks of a fixed number of rows (format_spec/encodings/zstd.md).

The one door to the zstandard library, imported on first use. Each thread has its own decompressors: sharing one
among threads corrupts its output (FORMAT note in format_spec/decisions/0003-zstd-blocks.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from lance_like._lazy import need
from lance_like.encodings.base import Encoded, Hints
from lance_like.encodings.physical import buffer_bytes, is_variable, offsets_of
from lance_like.encodings.registry import encode_array, read_node
from lance_like.encodings.stack import Reading, Runs, Stack, expand, together
from lance_like.encodings.variable import OFFSET_TYPE, encode_offsets, read_bounds, variable_array
from lance_like.typing_ import Bytes, Int64s, Json

_LEVEL = 3
# Uncompressed bytes of a block: small, so that a take decodes little; the dictionary makes up for the size.
_BLOCK_NBYTES = 2048
# Larger cells are mostly compressed already (images, audio) and are read whole: compressing them again costs
# every take and gains little.
_LARGEST_MEAN_CELL = 16 * 1024
_WORTH = 0.9
_DICTIONARY_NBYTES = 32 * 1024
_TRAIN_FROM = 1 << 20
_TRAIN_ON = 1 << 20
_MAX_PAGE = 2 << 30
_SHORTEST_FRAME = 9


class Zstd:
    """Parameter rows: rows a block; d, when there: the dictionary's range in the shared blob. Child 0: the length of
    each cell; child 1: block offsets in buffer 0, the compressed blocks."""

    name = "zstd"
    shape = ("d",)

    def encode(self, array: pa.Array, hints: Hints) -> Encoded | None:
        offsets = offsets_of(array)
        data = buffer_bytes(array.buffers()[2])[offsets[0] : offsets[-1]]
        offsets = offsets - offsets[0]
        mean = len(data) / max(1, len(array))
        if len(data) < 64 or mean > _LARGEST_MEAN_CELL:
            return None
        rows = max(1, min(len(array), int(_BLOCK_NBYTES / max(mean, 1))))
        bounds = np.append(offsets[:-1:rows], offsets[-1])
        if hints.zstd_dictionary is None and len(data) >= _TRAIN_FROM:
            hints.zstd_dictionary = _train(data, bounds)
        dictionary = hints.zstd_dictionary or b""
        if not _pays(data, bounds, dictionary):
            return None
        compressed, block_offsets = _compress(data, bounds, dictionary)
        params: dict[str, Json] = {"rows": rows}
        if dictionary:
            params["d"] = hints.share(dictionary)
        lengths = encode_array(pa.array(np.diff(offsets), OFFSET_TYPE), hints, ranged=True)
        return Encoded(self.name, len(array), params, (compressed,), (lengths, encode_offsets(block_offsets, hints)))

    def read(self, stack: Stack, kind: pa.DataType, runs: Runs) -> Reading[pa.Array]:
        stack.require(is_variable(kind), f"it cannot hold the type {kind}")
        blocks = _Blocks.of(stack, runs)
        lengths, (packed_starts, packed_ends, frames) = yield from together(
            [_lengths(stack, blocks), _places(stack, blocks)]
        )
        start = stack.place(0, 0)[blocks.at]
        stack.require(bool((packed_ends <= stack.sizes(0)[blocks.at]).all()), "its blocks pass their buffer")
        (packed,) = yield [(start + packed_starts, start + packed_ends, stack.slots[blocks.at])]
        offsets = np.zeros(len(lengths) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        sizes = np.diff(offsets[blocks.first_cells()])
        _check_frames(stack, packed, frames, sizes)
        data = _decompress(stack, packed, int(offsets[-1]))
        return _cut(kind, blocks, runs, offsets, data)


@dataclass(frozen=True, slots=True)
class _Blocks:
    """The distinct blocks that runs of rows lie in, in page and block order, neighbours joined.

    at, first, last: int64[m], the page of the stack and the half-open range of blocks of each stretch.
    low, high: int64[m], the rows of the stretch. rows: int64[m], rows a block there.
    cells: int64[n], where each run of rows begins among the rows of all stretches.
    """

    at: Int64s
    first: Int64s
    last: Int64s
    low: Int64s
    high: Int64s
    rows: Int64s
    cells: Int64s

    @classmethod
    def of(cls, stack: Stack, runs: Runs) -> _Blocks:
        rows = stack.ints("rows", 1, 1 << 32)
        counts = -(-stack.num_rows // rows)
        # A frame has bytes: more blocks than those of the buffer would only fill the memory with their numbers.
        stack.place(0, counts)
        base = np.zeros(len(counts) + 1, np.int64)
        np.cumsum(counts, out=base[1:])
        a_block = rows[runs.at]
        first = base[runs.at] + runs.starts // a_block
        last = first + 1 if runs.single else np.maximum(base[runs.at] + -(-runs.ends // a_block), first)
        blocks = first if runs.single else expand(first, last)
        if len(blocks) > 1 and not (len(first) == 1 or (np.diff(blocks) > 0).all()):
            blocks = np.unique(blocks)
        at = base.searchsorted(blocks, "right") - 1
        breaks = np.ones(len(blocks), bool)
        breaks[1:] = (np.diff(blocks) != 1) | (np.diff(at) != 0)
        heads = np.flatnonzero(breaks)
        tails = np.append(heads[1:], len(blocks)) - 1 if len(heads) else heads
        at, begin, end = at[heads], blocks[heads], blocks[tails] + 1
        low, high = (begin - base[at]) * rows[at], np.minimum((end - base[at]) * rows[at], stack.num_rows[at])
        placed = np.zeros(len(at) + 1, np.int64)
        np.cumsum(high - low, out=placed[1:])
        stretch = np.maximum(begin.searchsorted(first, "right") - 1, 0)
        cells = placed[stretch] + runs.starts - low[stretch] if len(at) else np.zeros(len(runs.starts), np.int64)
        if not runs.single:
            # An empty run lies in no block.
            cells = np.where(runs.starts < runs.ends, cells, 0)
        return cls(at, begin - base[at], end - base[at], low, high, rows[at], cells)

    def first_cells(self) -> Int64s:
        """Where each block begins among the rows of all stretches, and their count at the end."""
        counts = self.last - self.first
        places = np.zeros(len(self.at) + 1, np.int64)
        np.cumsum(self.high - self.low, out=places[1:])
        if len(counts) and (counts == 1).all():
            return places
        within = expand(np.zeros(len(counts), np.int64), counts)
        return np.append(np.repeat(places[:-1], counts) + within * np.repeat(self.rows, counts), places[-1])


def _lengths(stack: Stack, blocks: _Blocks) -> Reading[Int64s]:
    """The length of every cell of the blocks."""
    child = stack.child(0, stack.num_rows)
    array = yield from read_node(child, OFFSET_TYPE, Runs(blocks.at, blocks.low, blocks.high))
    lengths = np.frombuffer(array.buffers()[1] or b"", np.int64, count=len(array), offset=array.offset * 8)
    within = array.null_count == 0 and bool((lengths >= 0).all())
    stack.require(
        within and float(lengths.sum(dtype=np.float64)) <= _MAX_PAGE, "the lengths of its cells are impossible"
    )
    return lengths


def _places(stack: Stack, blocks: _Blocks) -> Reading[tuple[Int64s, Int64s, Int64s]]:
    """Where each stretch of blocks lies in the compressed buffer: starts, ends, and the length of every frame."""
    child = stack.child(1, -(-stack.num_rows // stack.ints("rows", 1, 1 << 32)) + 1)
    bounds = yield from read_bounds(child, Runs(blocks.at, blocks.first, blocks.last))
    return bounds.starts, bounds.ends, bounds.lengths


def _check_frames(stack: Stack, packed: Bytes, lengths: Int64s, sizes: Int64s) -> None:
    """Each frame must say that it holds what the lengths of its cells say: a shift between blocks cuts cells wrongly.

    The frame header, RFC 8878 section 3.1.1.1: magic 4, descriptor 1, window 0 or 1, dictionary id, content size.
    """
    if len(lengths) == 0:
        return
    starts = np.cumsum(lengths) - lengths
    stack.require(bool((lengths >= _SHORTEST_FRAME).all()), "a block is too short for a frame")
    descriptor = packed[starts + 4]
    flag, single = descriptor >> 6, (descriptor >> 5) & 1
    at = 6 - single + np.array([0, 1, 2, 4])[descriptor & 3]
    width = np.where((flag == 0) & (single == 1), 1, np.array([0, 2, 4, 8])[flag])
    last = starts + np.minimum(at + width, lengths)
    found = np.zeros(len(starts), np.uint64)
    for byte in range(int(width.max())):
        here = packed[np.minimum(starts + at + byte, last - 1)].astype(np.uint64)
        found |= np.where(byte < width, here << np.uint64(8 * byte), np.uint64(0))
    found += np.where(width == 2, 256, 0).astype(np.uint64)
    wrong = np.flatnonzero((found != sizes.astype(np.uint64)) | (width == 0))
    if len(wrong):
        raise stack.corrupt(f"a block says it holds {found[wrong[0]]} bytes, its cells have {sizes[wrong[0]]}")


def _decompress(stack: Stack, packed: Bytes, nbytes: int) -> Bytes:
    data = np.empty(nbytes, np.uint8)
    filled = 0
    if nbytes:
        zstandard = need("zstandard")
        try:
            reader = _decompressor(stack).stream_reader(memoryview(packed), read_across_frames=True)
            while filled < nbytes:
                count = reader.readinto(memoryview(data)[filled:])
                if not count:
                    break
                filled += count
            stack.require(not reader.read(1), "its blocks hold more than their cells")
        except zstandard.ZstdError as error:
            raise stack.corrupt(f"its blocks cannot be decompressed: {error}") from error
    stack.require(filled == nbytes, f"its blocks hold {filled} bytes instead of {nbytes}")
    return data


def _decompressor(stack: Stack):
    """This thread's decompressor with the dictionary of a stack."""
    place = stack.node.params.get("d")
    known = stack.shared.threads.__dict__
    key = str(place)
    if key not in known:
        zstandard = need("zstandard")
        dictionary = None if place is None else zstandard.ZstdCompressionDict(_dictionary(stack, place))
        known[key] = zstandard.ZstdDecompressor(dict_data=dictionary)
    return known[key]


def _dictionary(stack: Stack, place: Json) -> bytes:
    valid = isinstance(place, list) and len(place) == 2 and all(type(n) is int and n >= 0 for n in place)
    stack.require(
        valid and sum(place) <= len(stack.shared.data), f"its dictionary {place!r:.40} is not in the shared blob"
    )
    return stack.shared.data[place[0] : place[0] + place[1]]


def _cut(kind: pa.DataType, blocks: _Blocks, runs: Runs, offsets: Int64s, data: Bytes) -> pa.Array:
    """The cells of the asked rows, out of the decompressed blocks."""
    first, last = blocks.cells, blocks.cells + runs.lengths
    if len(first) == 1:
        cells = offsets[first[0] : last[0] + 1]
        return variable_array(kind, np.diff(cells), data[cells[0] : cells[-1]])
    if runs.single:
        lengths = offsets[last] - offsets[first]
    else:
        rows = expand(first, last)
        lengths = offsets[rows + 1] - offsets[rows]
    return variable_array(kind, lengths, _gather(data, offsets[first], offsets[last]))


def _gather(data: Bytes, starts: Int64s, ends: Int64s) -> Bytes:
    # Interleaved [start, end, …] offsets: the even slots of a binary array are the cells.
    offsets = np.empty(2 * len(starts) + 1, np.int64)
    offsets[:-1:2], offsets[1::2], offsets[-1] = starts, ends, len(data)
    cells = pa.Array.from_buffers(pa.large_binary(), 2 * len(starts), [None, pa.py_buffer(offsets), pa.py_buffer(data)])
    taken = cells.take(pa.array(np.arange(0, 2 * len(starts), 2)))
    return buffer_bytes(taken.buffers()[2])


def _train(data: Bytes, bounds: Int64s) -> bytes:
    """A dictionary trained on blocks spread over the first page of a column; b"" when there is no gain in it."""
    zstandard = need("zstandard")
    count = min(len(bounds) - 1, _TRAIN_ON // _BLOCK_NBYTES)
    chosen = np.unique(np.linspace(0, len(bounds) - 2, count).astype(np.int64))
    samples = [data[bounds[i] : bounds[i + 1]].tobytes() for i in chosen if bounds[i + 1] > bounds[i]]
    try:
        # k and d given: searching for them takes seconds and gained under 1 % on text.
        return zstandard.train_dictionary(_DICTIONARY_NBYTES, samples, k=512, d=8, threads=0).as_bytes()
    except zstandard.ZstdError:
        return b""


def _pays(data: Bytes, bounds: Int64s, dictionary: bytes) -> bool:
    chosen = np.unique(np.linspace(0, len(bounds) - 2, 32).astype(np.int64))
    compressor = _compressor(dictionary)
    sizes = [len(compressor.compress(data[bounds[i] : bounds[i + 1]])) for i in chosen]
    sampled = int((bounds[chosen + 1] - bounds[chosen]).sum())
    overhead = len(dictionary) * sampled / len(data)
    return sum(sizes) + overhead <= _WORTH * sampled


def _compress(data: Bytes, bounds: Int64s, dictionary: bytes) -> tuple[Bytes, Int64s]:
    zstandard = need("zstandard")
    segments = np.column_stack((bounds[:-1], np.diff(bounds))).astype("<u8")
    blocks = zstandard.BufferWithSegments(data, np.ascontiguousarray(segments).tobytes())
    packed = _compressor(dictionary).multi_compress_to_buffer(blocks, threads=0)
    parts = [packed[i] for i in range(len(packed))]
    offsets = np.concatenate(([0], np.cumsum([len(part) for part in parts]))).astype(np.int64)
    return np.frombuffer(b"".join(parts), np.uint8), offsets


def _compressor(dictionary: bytes):
    zstandard = need("zstandard")
    loaded = zstandard.ZstdCompressionDict(dictionary) if dictionary else None
    return zstandard.ZstdCompressor(level=_LEVEL, dict_data=loaded, write_content_size=True, write_dict_id=False)
