"""Zstd: cells in small compressed blocks of a fixed number of rows (format_spec/encodings/zstd.md).

    block = one frame of: lengths (rows x stride bytes, by byte plane) | cells
    rows = 1: one frame of: the cell

The one door to the zstandard library, imported on first use. Each thread has its own decompressors: sharing one
among threads corrupts its output (format_spec/decisions/0003-zstd-blocks.md). Why these parameters:
format_spec/decisions/0006-text-codecs.md.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lance_like._lazy import need
from lance_like.encodings.base import Encoded, Hints, int_param
from lance_like.encodings.choice import ZSTD
from lance_like.encodings.physical import buffer_bytes, check_variable, offsets_of
from lance_like.encodings.pool import allocate
from lance_like.encodings.sample import spread
from lance_like.encodings.stack import Reading, Runs, SharedBlob, Stack, expand
from lance_like.encodings.variable import encode_offsets, read_bounds, variable_array, variable_array_between
from lance_like.kernels import unblock
from lance_like.ranges import gather_from, has_negative, lengths_to_offsets
from lance_like.typing_ import Bytes, Int64s, Json

_LEVEL = 3
# Uncompressed bytes of a block: small, so that a take decodes little; a large dictionary makes up for the size.
_BLOCK_NBYTES = 768
# Of a block without one: it has its own tables of symbols, which take bytes, and time to build.
_LONE_BLOCK_NBYTES = 1536
_SMALLEST_PAGE = 64
# Larger cells are mostly compressed already (images, audio) and are read whole: compressing them again costs
# every take and gains little.
_LARGEST_MEAN_CELL = 16 * 1024
_MOST_ROWS = 1 << 16
_MOST_STRIDE = 4
_WORTH = 0.9
# A dictionary takes a sixteenth of the page that it is trained on.
_DICTIONARY_SHARE = 16
_SMALLEST_DICTIONARY, _LARGE_DICTIONARY, _LARGEST_DICTIONARY = 16 << 10, 48 << 10, 64 << 10
# It is trained on a block for so many bytes of it.
_SAMPLED_NBYTES = 128
_SAMPLE_NBYTES = 2048
_SAMPLED_BLOCKS = 32
_MAX_PAGE = 2 << 30
# Up to this many blocks or cells a call each is cheaper than a pass of kernels.
_FEW = 16
# From this many frames on, and for those that hold less than this on the average, one call for many is better: another
# thread can work meanwhile.
_MANY, _SMALL_NBYTES = 256, 4096
# What one call decompresses.
_GROUP_NBYTES = 1 << 20
# Up to this many rows it is seen in Python that no two share a block, and nothing needs sorting.
_FEW_RUNS = 128
# Bytes of the dictionary id and of the content size, by the bits of a frame's descriptor (RFC 8878, 3.1.1.1.1).
_ID_NBYTES = (0, 1, 2, 4)
_SIZE_NBYTES = (0, 2, 4, 8)


class Zstd:
    """Parameters rows: rows a block; stride: bytes a length, 0 when rows is 1; d, when there: the dictionary's range
    in the shared blob. Child 0: block offsets in buffer 0, the compressed blocks."""

    name = "zstd"
    shape = ("rows", "stride")
    in_blob = ("d",)

    def encode(self, array: pa.Array, hints: Hints) -> Encoded | None:
        offsets = offsets_of(array)
        data = buffer_bytes(array.buffers()[2])[offsets[0] : offsets[-1]]
        offsets = offsets - offsets[0]
        mean = len(data) / max(1, len(array))
        forced = hints.choice.compression == ZSTD
        if len(data) == 0 or (not forced and (len(data) < _SMALLEST_PAGE or mean > _LARGEST_MEAN_CELL)):
            return None
        dictionary = hints.trained(self.name)
        room = _dictionary_nbytes(len(data)) if dictionary is None else len(dictionary)
        rows = _rows_a_block(_BLOCK_NBYTES if room >= _LARGE_DICTIONARY else _LONE_BLOCK_NBYTES, mean, len(array))
        contents, bounds, stride = _contents(data, offsets, rows)
        if dictionary is None and room:
            dictionary = hints.train(self.name, _train(contents, bounds, room))
        dictionary = dictionary or b""
        compressor = _compressor(dictionary, hints.choice.level)
        if not forced and not _pays(contents, bounds, compressor, len(dictionary)):
            return None
        compressed, block_offsets = _compress(contents, bounds, compressor)
        params: dict[str, Json] = {"rows": rows, "stride": stride}
        if dictionary:
            params["d"] = hints.share(dictionary)
        return Encoded(self.name, len(array), params, (compressed,), (encode_offsets(block_offsets, hints),))

    def read(self, stack: Stack, kind: pa.DataType, runs: Runs) -> Reading[pa.Array]:
        check_variable(stack, kind)
        opened = stack.once("opened", lambda: _Opened.of(stack))
        if runs.count == 0:
            return variable_array(kind, np.zeros(0, np.int64), np.zeros(0, np.uint8))
        blocks, at_run = (runs, None) if opened.rows == 1 else _blocks_of(opened, runs)
        bounds = yield from read_bounds(opened.offsets, blocks)
        stack.require(not has_negative(opened.nbytes[blocks.at] - bounds.ends), "its blocks pass their buffer")
        start = opened.start[blocks.at]
        (packed,) = yield [(start + bounds.starts, start + bounds.ends, stack.slots[blocks.at])]
        sizes = _content_sizes(stack, packed, bounds.lengths)
        # As a float: the sum of what damaged frames say may not fit an integer.
        nbytes = int(np.add.reduce(sizes, dtype=np.float64))
        if nbytes > _MAX_PAGE:
            _limit(stack, sizes, blocks)
        if runs.single and len(sizes) <= _FEW and sizes.all():
            contents = _decompress_each(stack, opened, blocks, packed, bounds.lengths)
            return _cells_array(kind, contents if at_run is None else _cells(stack, opened, contents, runs, at_run))
        if at_run is None:
            whole = _Whole(allocate(int(sizes.sum()), np.uint8), lengths_to_offsets(sizes))
            _decompress(stack, opened, blocks, packed, bounds.lengths, sizes, whole)
            return variable_array(kind, sizes, whole.data)
        parts = _Parts.of(stack, opened, sizes)
        _decompress(stack, opened, blocks, packed, bounds.lengths, sizes, parts)
        offsets, cells = parts.offsets, parts.cells
        return _cut(kind, offsets, cells, runs, at_run * opened.rows + runs.starts % opened.rows)


@dataclass(frozen=True, slots=True)
class _Opened:
    """What reads of a stack need of it, checked.

    rows: a block; stride: bytes a length. offsets: of the blocks. start, nbytes: int64[p], where the blocks of each
    page begin in the file, and their bytes. base: int64[p + 1], the blocks of the pages before each.
    dictionaries: of the pages; dictionary_of: int64[p], the one of each.
    """

    rows: int
    stride: int
    dictionaries: Sequence[_Dictionary]
    dictionary_of: Int64s
    offsets: Stack
    start: Int64s
    nbytes: Int64s
    base: Int64s

    @classmethod
    def of(cls, stack: Stack) -> _Opened:
        rows = int_param(stack.node, "rows", 1, _MOST_ROWS)
        stride = int_param(stack.node, "stride", int(rows > 1), _MOST_STRIDE if rows > 1 else 0)
        counts = -(-stack.num_rows // rows)
        # A frame has bytes: more blocks than those of the buffer would only fill the memory with their numbers.
        start = stack.place(0, counts)
        places = [_dictionary_place(stack, page) for page in range(len(counts))]
        dictionaries = list(map(_Dictionary, stack.blobs, places))
        known = {dictionary: number for number, dictionary in enumerate(dict.fromkeys(dictionaries))}
        dictionary_of = np.array([known[dictionary] for dictionary in dictionaries], np.int64)
        offsets = stack.child(0, counts + 1)
        base = lengths_to_offsets(counts)
        return cls(rows, stride, list(known), dictionary_of, offsets, start, stack.sizes(0), base)

    def by_dictionary(self, blocks: Runs) -> list[tuple[_Dictionary, slice]]:
        """Blocks, end to end, cut where the next one has another dictionary."""
        if len(self.dictionaries) == 1:
            return [(self.dictionaries[0], slice(None))]
        number = blocks.by_row(self.dictionary_of)
        cuts = np.flatnonzero(np.diff(number, prepend=-1))
        ends = [*cuts[1:].tolist(), len(number)]
        return [
            (self.dictionaries[which], slice(start, end))
            for which, start, end in zip(number[cuts].tolist(), cuts.tolist(), ends, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class _Dictionary:
    """What frames were compressed with. place: in the blob of their column, start and length; None: nothing."""

    blob: SharedBlob
    place: tuple[int, int] | None

    def decompressor(self) -> Any:
        """This thread's own."""
        known = self.blob.threads.__dict__.setdefault("zstd", {})
        found = known.get(self.place)
        if found is None:
            zstandard, dictionary = _library(), None
            if self.place is not None:
                start, length = self.place
                dictionary = zstandard.ZstdCompressionDict(self.blob.data[start : start + length])
            found = known[self.place] = zstandard.ZstdDecompressor(dict_data=dictionary)
        return found


def _blocks_of(opened: _Opened, runs: Runs) -> tuple[Runs, Int64s]:
    """The distinct blocks that runs of rows lie in, and where among them each run begins."""
    rows, base = opened.rows, opened.base
    first = runs.starts // rows
    if len(first) == 1:
        last = None if runs.single else np.maximum(-(-runs.ends // rows), first)
        return Runs(runs.at, first, last, each=int(runs.single)), np.zeros(1, np.int64)
    first = first + base[runs.at]
    if runs.single and len(first) <= _FEW_RUNS and len(set(first.tolist())) == len(first):
        return Runs.of_rows(runs.at, first - base[runs.at]), np.arange(len(first))
    heads = None
    if not runs.single:
        last = np.where(runs.ends > runs.starts, base[runs.at] - (-runs.ends // rows), first)
        heads = lengths_to_offsets(last - first)[:-1]
        first = expand(first, last)
    blocks, inverse = np.unique(first, return_inverse=True)
    at = base.searchsorted(blocks, "right") - 1 if len(base) > 2 else np.zeros(len(blocks), np.int64)
    index = inverse if heads is None else np.append(inverse, 0)[np.minimum(heads, len(inverse))]
    return Runs.of_rows(at, blocks - base[at]), index


def _limit(stack: Stack, sizes: Int64s, blocks: Runs) -> None:
    """Refuse blocks that claim more than a page can hold, before memory is taken for them.

    Blocks of many pages may, and blocks that are asked for often: each block of a page counts once.
    """
    at, numbers = blocks.rows()
    _, chosen = np.unique(np.stack((at, numbers)), axis=1, return_index=True)
    claimed = np.bincount(at[chosen], sizes[chosen])
    stack.require(bool((claimed <= _MAX_PAGE).all()), "its blocks are too large")


def _content_sizes(stack: Stack, packed: Bytes, lengths: Int64s) -> Int64s:
    """What each frame says it holds. lengths: of the frames, which lie end to end."""
    if len(lengths) <= _FEW:
        return _content_sizes_of_few(stack, packed, lengths)
    starts = np.cumsum(lengths) - lengths
    stack.require(bool((lengths > _SIZE_NBYTES[-1]).all()), "a block is too short for a frame")
    descriptors = packed[starts + 4]
    sizes = np.empty(len(starts), np.int64)
    for descriptor in np.unique(descriptors).tolist():
        chosen = np.flatnonzero(descriptors == descriptor)
        single = descriptor >> 5 & 1
        width = _SIZE_NBYTES[descriptor >> 6] or single
        at = starts[chosen] + 6 - single + _ID_NBYTES[descriptor & 3]
        within = width > 0 and bool((at + width <= starts[chosen] + lengths[chosen]).all())
        stack.require(within, "a block does not say how much it holds")
        field = np.zeros((len(chosen), 8), np.uint8)
        field[:, :width] = packed[at[:, None] + np.arange(width)]
        sizes[chosen] = field.reshape(-1).view("<i8") + (256 if width == 2 else 0)
    stack.require(bool((sizes >= 0).all()), "a block is too large")
    return sizes


def _content_sizes_of_few(stack: Stack, packed: Bytes, lengths: Int64s) -> Int64s:
    zstandard = _library()
    view, sizes, end = memoryview(packed), [], 0
    try:
        for length in lengths.tolist():
            start, end = end, end + length
            sizes.append(zstandard.frame_content_size(view[start:end]))
    except zstandard.ZstdError as error:
        raise stack.corrupt(f"a block is not a frame: {error}") from error
    stack.require(min(sizes) >= 0, "a block does not say how much it holds")
    stack.require(max(sizes) <= _MAX_PAGE, "a block is too large")
    return np.array(sizes, np.int64)


@dataclass(frozen=True, slots=True)
class _Whole:
    """Frames of one cell each, end to end. places: int64[n + 1], where each begins, and where the last one ends."""

    data: Bytes
    places: Int64s

    def room(self, first: int, last: int) -> Bytes:
        """Where what frames first … last hold may be put."""
        return self.data[self.places[first] : self.places[last]]

    def take(self, first: int, last: int, data: Bytes) -> None:
        """Take what frames first … last hold: it may be in that room already."""
        place = self.room(first, last)
        if data.ctypes.data != place.ctypes.data:
            place[:] = data


@dataclass(frozen=True, slots=True)
class _Parts:
    """The cells of frames, and where each begins: int64[n * rows + 1]. sizes: int64[n], of the frames."""

    stack: Stack
    rows: int
    stride: int
    sizes: Int64s
    offsets: Int64s
    cells: Bytes

    @classmethod
    def of(cls, stack: Stack, opened: _Opened, sizes: Int64s) -> _Parts:
        rows, head = opened.rows, opened.rows * opened.stride
        stack.require(not has_negative(sizes - head), "a block is too short for its lengths")
        offsets = allocate(len(sizes) * rows + 1, np.int64)
        offsets[0] = 0
        cells = allocate(int(sizes.sum()) - len(sizes) * head, np.uint8)
        return cls(stack, rows, opened.stride, sizes, offsets, cells)

    def room(self, first: int, last: int) -> Bytes:
        """As `_Whole.room`."""
        return allocate(int(self.sizes[first:last].sum()), np.uint8)

    def take(self, first: int, last: int, data: Bytes) -> None:
        """Part what frames first … last hold, all before them being here. Raises Corrupt when the lengths of a block
        and its size disagree."""
        offsets = self.offsets[first * self.rows : last * self.rows + 1]
        begin = int(offsets[0])
        cells = self.cells[begin : begin + len(data) - (last - first) * self.rows * self.stride]
        try:
            unblock(data, self.sizes[first:last], self.rows, self.stride, offsets, cells)
        except ValueError as error:
            raise self.stack.corrupt("the lengths of a block do not add up to its cells") from error


def _decompress(
    stack: Stack,
    opened: _Opened,
    blocks: Runs,
    packed: Bytes,
    lengths: Int64s,
    sizes: Int64s,
    into: _Whole | _Parts,
) -> None:
    """Put what frames hold where it belongs, some frames at a time, in order.

    lengths: of the frames, which lie end to end. sizes: what each says it holds.
    """
    begin, done = 0, 0
    try:
        for dictionary, some in opened.by_dictionary(blocks):
            sized = sizes[some]
            end, last = begin + int(lengths[some].sum()), done + len(sized)
            part, decompressor = packed[begin:end], dictionary.decompressor()
            # At once none may be empty: that is how the library is told of a size that is not known.
            if len(sized) < _MANY or int(sized.sum()) > len(sized) * _SMALL_NBYTES or not sized.all():
                room = into.room(done, last)
                _decompress_in_turn(stack, decompressor, part, room)
                into.take(done, last, room)
            else:
                for first, to, data in _decompressed_at_once(decompressor, part, lengths[some], sized):
                    into.take(done + first, done + to, data)
            begin, done = end, last
    except _library().ZstdError as error:
        raise stack.corrupt(f"its blocks cannot be decompressed: {error}") from error


def _decompress_in_turn(stack: Stack, decompressor: Any, packed: Bytes, out: Bytes) -> None:
    """Fill one buffer in one pass; the GIL is taken and let go for each frame."""
    view, filled = memoryview(out), 0
    reader = decompressor.stream_reader(memoryview(packed), read_across_frames=True)
    while filled < len(out):
        count = reader.readinto(view[filled:] if filled else view)
        if not count:
            break
        filled += count
    stack.require(filled == len(out) and not reader.read(1), "its blocks do not hold what they say")


def _decompressed_at_once(
    decompressor: Any, packed: Bytes, lengths: Int64s, sizes: Int64s
) -> Iterator[tuple[int, int, Bytes]]:
    """What frames hold, many in one call without the GIL, so that threads do it side by side: which frames, from and
    to, and their contents end to end."""
    segments = np.stack((np.cumsum(lengths) - lengths, lengths), axis=1).astype("<u8")
    places, stated = lengths_to_offsets(sizes), sizes.astype("<u8")
    # It fills fresh memory: some at a time, which stays in the cache until it is put where it belongs.
    cuts = np.flatnonzero(np.diff(places[:-1] // _GROUP_NBYTES, prepend=-1)).tolist()
    for first, last in zip(cuts, [*cuts[1:], len(sizes)], strict=True):
        frames = _library().BufferWithSegments(packed, segments[first:last].tobytes())
        found = decompressor.multi_decompress_to_buffer(frames, stated[first:last].tobytes(), threads=0)
        for start, end, data in _joined(found, places[first : last + 1].tolist()):
            yield first + start, first + end, data


def _joined(found: Any, places: Sequence[int]) -> Iterator[tuple[int, int, Bytes]]:
    """Blocks of a collection, which lie end to end in one or more buffers: those of each, from and to, and their bytes.

    places: where each begins, and where the last one ends.
    """
    first, count = 0, len(places) - 1
    while first < count:
        base = places[first]
        # As far as blocks go on where the ones before end, they are in one buffer: no block is empty.
        last = bisect_left(range(first, count), True, key=lambda i: found[i].offset != places[i] - base) + first
        address = np.frombuffer(found[first], np.uint8).ctypes.data
        yield first, last, np.frombuffer(pa.foreign_buffer(address, places[last] - base, found), np.uint8)
        first = last


def _decompress_each(stack: Stack, opened: _Opened, blocks: Runs, packed: Bytes, lengths: Int64s) -> list[bytes]:
    """The contents of few frames, none of them empty. lengths: of the frames, end to end."""
    view, contents, end = memoryview(packed), [], 0
    try:
        for dictionary, some in opened.by_dictionary(blocks):
            decompress = dictionary.decompressor().decompress
            for length in lengths[some].tolist():
                start, end = end, end + length
                contents.append(decompress(view[start:end], allow_extra_data=False))
    except _library().ZstdError as error:
        raise stack.corrupt(f"a block cannot be decompressed: {error}") from error
    return contents


def _cells(stack: Stack, opened: _Opened, contents: list[bytes], runs: Runs, at_run: Int64s) -> list[bytes]:
    """The cells of few single rows. contents: of the blocks; at_run: the block of each row."""
    rows, stride = opened.rows, opened.stride
    cells = []
    for block, row in zip(at_run.tolist(), (runs.starts % rows).tolist(), strict=True):
        content, start = contents[block], rows * stride
        end, length = start, 0
        for plane in range(stride):
            lengths = content[plane * rows : (plane + 1) * rows]
            stack.require(len(lengths) == rows, "a block is too short for its lengths")
            start += sum(lengths[:row]) << 8 * plane
            length += lengths[row] << 8 * plane
            end += sum(lengths) << 8 * plane
        stack.require(end == len(content), "the lengths of a block do not add up to its cells")
        cells.append(content[start : start + length])
    return cells


def _cells_array(kind: pa.DataType, cells: list[bytes]) -> pa.Array:
    data = cells[0] if len(cells) == 1 else b"".join(cells)
    return variable_array(kind, np.array([len(cell) for cell in cells]), np.frombuffer(data, np.uint8))


@lru_cache(maxsize=1)
def _library() -> Any:
    return need("zstandard")


def _dictionary_place(stack: Stack, page: int) -> tuple[int, int] | None:
    """Where the dictionary of a page lies in the shared blob: start and length; None without one. Raises Corrupt."""
    place: Json = stack.nodes[page].params.get("d")
    if place is None:
        return None
    valid = isinstance(place, list) and len(place) == 2 and all(type(n) is int and n >= 0 for n in place)
    if not valid or sum(place) > len(stack.blobs[page].data):
        raise stack.corrupt(f"its dictionary {place!r:.40} is not in the shared blob")
    return place[0], place[1]


def _cut(kind: pa.DataType, offsets: Int64s, cells: Bytes, runs: Runs, first: Int64s) -> pa.Array:
    """The cells of the asked rows. first: where each run begins among the cells."""
    if runs.single:
        starts, ends = offsets[first], offsets[first + 1]
        return variable_array(kind, ends - starts, gather_from(cells, starts, ends))
    last = first + runs.lengths
    if len(first) == 1:
        span = offsets[first[0] : last[0] + 1]
        return variable_array_between(kind, span, cells[span[0] : span[-1]])
    rows = expand(first, last)
    lengths = offsets[rows + 1] - offsets[rows]
    return variable_array(kind, lengths, gather_from(cells, offsets[first], offsets[last]))


def _rows_a_block(nbytes: int, mean: float, num_rows: int) -> int:
    """A power of two, so that pages of one column mostly agree and are read together."""
    rows = 1 << max(0, round(float(np.log2(nbytes / max(mean, 1 / 64)))))
    return max(1, min(rows, num_rows))


def _contents(data: Bytes, offsets: Int64s, rows: int) -> tuple[Bytes, Int64s, int]:
    """What the frames will hold, end to end, the bounds of each, and the bytes a length takes."""
    bounds = np.append(offsets[:-1:rows], offsets[-1])
    if rows == 1:
        return data, bounds, 0
    num_blocks = len(bounds) - 1
    lengths = np.zeros(num_blocks * rows, "<u4")
    lengths[: len(offsets) - 1] = np.diff(offsets)
    stride = max(1, (int(lengths.max()).bit_length() + 7) // 8)
    planes = lengths.view(np.uint8).reshape(num_blocks, rows, 4)[:, :, :stride].transpose(0, 2, 1)
    heads = pa.Array.from_buffers(
        pa.large_binary(),
        num_blocks,
        [None, pa.py_buffer(np.arange(num_blocks + 1) * (rows * stride)), pa.py_buffer(np.ascontiguousarray(planes))],
    )
    cells = pa.Array.from_buffers(pa.large_binary(), num_blocks, [None, pa.py_buffer(bounds), pa.py_buffer(data)])
    both = pc.binary_join_element_wise(heads, cells, pa.scalar(b"", pa.large_binary()))
    return buffer_bytes(both.buffers()[2]), offsets_of(both), stride


def _dictionary_nbytes(nbytes: int) -> int:
    """How large a dictionary is trained on a page; 0: none."""
    share = min(nbytes // _DICTIONARY_SHARE, _LARGEST_DICTIONARY)
    return share if share >= _SMALLEST_DICTIONARY else 0


def _train(contents: Bytes, bounds: Int64s, nbytes: int) -> bytes:
    """A dictionary trained on samples spread over a page; b"" when there is no gain in it."""
    zstandard = need("zstandard")
    chosen = bounds[spread(len(bounds) - 1, nbytes // _SAMPLED_NBYTES)]
    samples = [contents[start : start + _SAMPLE_NBYTES].tobytes() for start in chosen]
    try:
        # k and d given: searching for them takes seconds and gained under 1 % on text. f and accel: a sixth of the time
        # for 1 % more bytes.
        return zstandard.train_dictionary(nbytes, samples, k=128, d=8, f=17, accel=4, level=1, threads=0).as_bytes()
    except zstandard.ZstdError:
        return b""


def _pays(contents: Bytes, bounds: Int64s, compressor: Any, dictionary_nbytes: int) -> bool:
    chosen = spread(len(bounds) - 1, _SAMPLED_BLOCKS)
    sizes = [len(compressor.compress(contents[bounds[i] : bounds[i + 1]])) for i in chosen]
    sampled = int((bounds[chosen + 1] - bounds[chosen]).sum())
    overhead = dictionary_nbytes * sampled / len(contents)
    return sum(sizes) + overhead <= _WORTH * sampled


def _compress(contents: Bytes, bounds: Int64s, compressor: Any) -> tuple[Bytes, Int64s]:
    zstandard = need("zstandard")
    segments = np.column_stack((bounds[:-1], np.diff(bounds))).astype("<u8")
    blocks = zstandard.BufferWithSegments(contents, np.ascontiguousarray(segments).tobytes())
    packed = compressor.multi_compress_to_buffer(blocks, threads=0)
    parts = [packed[i] for i in range(len(packed))]
    offsets = np.concatenate(([0], np.cumsum([len(part) for part in parts]))).astype(np.int64)
    return np.frombuffer(b"".join(parts), np.uint8), offsets


def _compressor(dictionary: bytes, level: int | None) -> Any:
    """level: the one asked for; None for ours, which with a dictionary is made for fast reading."""
    zstandard = need("zstandard")
    loaded = zstandard.ZstdCompressionDict(dictionary) if dictionary else None
    if level is not None or loaded is None:
        level = _LEVEL if level is None else level
        return zstandard.ZstdCompressor(level=level, dict_data=loaded, write_content_size=True, write_dict_id=False)
    parameters = zstandard.ZstdCompressionParameters.from_level(
        _LEVEL,
        source_size=_SAMPLE_NBYTES,
        dict_size=len(dictionary),
        # The fast strategy with a target length stores literals as they are: decoded 1.5 times as fast.
        strategy=zstandard.STRATEGY_FAST,
        target_length=1,
        min_match=7 if len(dictionary) >= _LARGE_DICTIONARY else 6,
        write_content_size=True,
        write_dict_id=False,
    )
    return zstandard.ZstdCompressor(dict_data=loaded, compression_params=parameters)
