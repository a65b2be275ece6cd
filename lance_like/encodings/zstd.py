"""Zstd: cells in small compressed blocks of a fixed number of rows (format_spec/encodings/zstd.md).

The one door to the zstandard library, imported on first use. Decompressors are made for each call: sharing
one among threads corrupts its output (FORMAT note in format_spec/decisions/0003-zstd-blocks.md).
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from lance_like._lazy import need
from lance_like.encodings.base import (
    Encoded,
    Hints,
    Node,
    buffer_of,
    child_of,
    corrupt_unless,
    int_param,
    together,
)
from lance_like.encodings.physical import buffer_bytes, is_variable, offsets_of
from lance_like.encodings.registry import read_node
from lance_like.encodings.variable import (
    OFFSET_TYPE,
    Bounds,
    encode_offsets,
    read_bounds,
    variable_array,
)
from lance_like.errors import Corrupt
from lance_like.typing_ import Bytes, Conversation, Int64s

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


class Zstd:
    """Parameter rows: rows a block. Child 0: row offsets in the uncompressed cells; child 1: block offsets in
    buffer 0, the compressed blocks. Buffer 1, when there: the dictionary of all blocks."""

    name = "zstd"

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
        buffers = [compressed] + ([np.frombuffer(dictionary, np.uint8)] if dictionary else [])
        children = (encode_offsets(offsets, hints), encode_offsets(block_offsets, hints))
        return Encoded(self.name, len(array), {"rows": rows}, buffers, children)

    def read(self, node: Node, kind: pa.DataType, starts: Int64s, ends: Int64s) -> Conversation[pa.Array]:
        corrupt_unless(is_variable(kind), node, f"it cannot hold the type {kind}")
        rows = int_param(node, "rows", 1, 1 << 32)
        # A frame has bytes: more blocks than those of the buffer would only fill the memory with their numbers.
        buffer_of(node, 0, -(-node.num_rows // rows))
        filled = starts < ends
        blocks = _blocks_of(starts[filled] // rows, -(-ends[filled] // rows))
        # The runs of rows that the blocks hold: where each block begins in the uncompressed cells.
        block_rows = np.minimum(blocks * rows, node.num_rows)
        block_ends = np.minimum(block_rows + rows, node.num_rows)
        reads = [
            read_bounds(node, starts, ends),
            _edges(node, block_rows, block_ends),
            _block_bounds(node, rows, blocks),
            _dictionary(node),
        ]
        cells, (plain_starts, plain_ends), (packed_starts, packed_ends), dictionary = yield from together(reads)
        start = buffer_of(node, 0, int(packed_ends.max(initial=0)))
        (packed,) = yield [(start + packed_starts, start + packed_ends)]
        sizes = plain_ends - plain_starts
        within = bool((sizes >= 0).all()) and float(sizes.sum(dtype=np.float64)) <= _MAX_PAGE
        corrupt_unless(within, node, "its blocks are too large")
        _check_frames(node, packed, packed_ends - packed_starts, sizes)
        data = _decompress(node, packed, int(sizes.sum()), dictionary)
        return variable_array(kind, cells.lengths, _cut(node, cells, blocks, plain_starts, sizes, data, rows, starts))


def _blocks_of(first: Int64s, last: Int64s) -> Int64s:
    """The sorted distinct blocks of half-open block ranges."""
    if len(first) == 1:
        return np.arange(first[0], last[0])
    if (last - first == 1).all():
        return np.unique(first)
    lengths = last - first
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    return np.unique(np.arange(offsets[-1]) + np.repeat(first - offsets[:-1], lengths))


def _edges(node: Node, first_rows: Int64s, end_rows: Int64s) -> Conversation[tuple[Int64s, Int64s]]:
    """The uncompressed offsets at which blocks begin and end."""
    child = child_of(node, 0, node.num_rows + 1)
    # A run of neighbouring blocks shares its edges: ask for each edge once.
    edges = np.unique(np.concatenate((first_rows, end_rows)))
    array = yield from read_node(child, OFFSET_TYPE, edges, edges + 1)
    values = array.to_numpy(zero_copy_only=False)
    return values[np.searchsorted(edges, first_rows)], values[np.searchsorted(edges, end_rows)]


def _block_bounds(node: Node, rows: int, blocks: Int64s) -> Conversation[tuple[Int64s, Int64s]]:
    """The offsets of blocks in the compressed buffer."""
    child = child_of(node, 1, -(-node.num_rows // rows) + 1)
    edges = np.unique(np.concatenate((blocks, blocks + 1)))
    array = yield from read_node(child, OFFSET_TYPE, edges, edges + 1)
    values = array.to_numpy(zero_copy_only=False)
    starts, ends = values[np.searchsorted(edges, blocks)], values[np.searchsorted(edges, blocks + 1)]
    valid = (starts >= 0).all() and (ends >= starts).all() and not starts[blocks == 0].any()
    corrupt_unless(bool(valid), node, "its blocks do not ascend from 0")
    return starts, ends


def _dictionary(node: Node) -> Conversation[object]:
    """The loaded dictionary of a node, read once for each open page; None without one."""
    if len(node.buffers) < 2:
        return None
    if "dictionary" not in node.state:
        start, end = node.buffers[1]
        (data,) = yield [(np.array([start]), np.array([end]))]
        node.state["dictionary"] = need("zstandard").ZstdCompressionDict(data.tobytes())
    return node.state["dictionary"]


def _check_frames(node: Node, packed: Bytes, lengths: Int64s, sizes: Int64s) -> None:
    """Each block must say that it holds what the offsets say: a shift between blocks would cut cells wrongly."""
    content_size = need("zstandard").frame_content_size
    view, end = memoryview(packed), 0
    for length, size in zip(lengths.tolist(), sizes.tolist(), strict=True):
        start, end = end, end + length
        try:
            found = content_size(view[start:end])
        except need("zstandard").ZstdError as error:
            raise Corrupt(f"encoding {node.encoding!r}: a block is not a frame: {error}", kind="page") from error
        corrupt_unless(found == size, node, f"a block says it holds {found} bytes, its offsets say {size}")


def _decompress(node: Node, packed: Bytes, nbytes: int, dictionary: object) -> Bytes:
    zstandard = need("zstandard")
    data = np.empty(nbytes, np.uint8)
    filled = 0
    if nbytes:
        try:
            decompressor = zstandard.ZstdDecompressor(dict_data=dictionary)
            reader = decompressor.stream_reader(memoryview(packed), read_across_frames=True)
            while filled < nbytes:
                count = reader.readinto(memoryview(data)[filled:])
                if not count:
                    break
                filled += count
            corrupt_unless(not reader.read(1), node, "its blocks hold more than their offsets say")
        except zstandard.ZstdError as error:
            corrupt_unless(False, node, f"its blocks cannot be decompressed: {error}")
    corrupt_unless(filled == nbytes, node, f"its blocks hold {filled} bytes instead of {nbytes}")
    return data


def _cut(
    node: Node,
    cells: Bounds,
    blocks: Int64s,
    plain_starts: Int64s,
    sizes: Int64s,
    data: Bytes,
    rows: int,
    starts: Int64s,
) -> Bytes:
    """Copy the cells of the asked rows out of the decompressed blocks."""
    if len(blocks) == 0:
        return np.empty(0, np.uint8)
    placed = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    filled = cells.ends > cells.starts
    index = np.searchsorted(blocks, starts[filled] // rows)
    shift = placed[index] - plain_starts[index]
    first, last = cells.starts[filled] + shift, cells.ends[filled] + shift
    corrupt_unless(bool((first >= 0).all() and (last <= len(data)).all()), node, "a row is outside its block")
    return _gather(data, first, last)


def _gather(data: Bytes, starts: Int64s, ends: Int64s) -> Bytes:
    if len(starts) <= 1:
        return data[starts[0] : ends[0]] if len(starts) else data[:0]
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
