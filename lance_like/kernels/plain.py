"""The kernels in numpy: for machines without a compiler, and what the compiled ones are compared with."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from math import gcd
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lance_like.kernels.plain_vectors import best as best
from lance_like.kernels.plain_vectors import compare as compare
from lance_like.typing_ import Bytes, Int64s

# Words of a strip unpacked at a time: a call of numpy does not show, and two scratches stay in the cache.
_BATCH_NBYTES = 1 << 17
# Rows that are unpacked in a few calls of numpy rather than in some for each strip: the cache holds them.
_AT_ONCE_ROWS = 1 << 17
# Rows up to which copying their bytes takes less than setting up loads that overlap.
_FEW_ROWS = 64
_BLOCK_ROWS = 256
_LINE_NBYTES = 16
_STEPS = np.arange(_BLOCK_ROWS, dtype=np.int64)
# Blocks that are worked on at a time: 2 MiB of values. With fewer, which stay in a nearer cache, two threads that read
# wait longer for the GIL than memory takes.
_BATCH_BLOCKS = 1024
# Places of values made at a time, 1 MiB of them: they stay in the cache.
_PLACES = 1 << 17
# The shares of rows and of cells above which all are made first.
_PICKED, _SPELLED = 1 / 8, 1 / 4

# Ranges that are joined as slices, and bytes of those that are.
_MANY_RANGES, _WIDE_RANGE = 512, 4096
_MOST_BITS = 32
# Codes of symbols: below 256 bytes are codes of themselves.
_CODE_BITS, _BYTES, _LONGEST_SYMBOL = 12, 256, 16


def unpack(words: np.ndarray, width: int, lanes: int, base: int, out: np.ndarray) -> None:
    """Fill `out` with the values of whole tiles: base + difference, modulo its width.

    words: u1, u2, u4 or u8[tiles * width * lanes]. width: bits of a difference. base: 0 … 2^64 - 1.
    out: u1, u2, u4 or u8[tiles * bits of a word * lanes].
    Spec: format_spec/encodings/bitpack.md.
    """
    parts = _parts(words, width, lanes)
    values = out.reshape(_shape_of(parts, width))
    start = out.dtype.type(base & int(np.iinfo(out.dtype).max))
    if _at_once(parts, width):
        _finish(_differences(parts, width), width, start, values)
        return
    for some, scratch in _batches(parts):
        _unpack_strips(parts[some], width, start, values[some], scratch)


def within(words: np.ndarray, width: int, lanes: int, low: int, high: int, out: np.ndarray) -> None:
    """Fill `out`, bool[rows], with whether differences of whole tiles are in low … high, both included.

    words, width, lanes: as `unpack` takes them. low, high: 0 … 2^width - 1, low <= high.
    """
    # A difference is compared at the top of its word, where it needs no mask: what stands below it is less than one.
    parts = _parts(words, width, lanes)
    word_type, below = words.dtype.type, 8 * words.itemsize - width
    bounds = word_type(low << below), word_type((high << below) + (1 << below) - 1)
    flags = out.reshape(_shape_of(parts, width))
    if _at_once(parts, width):
        tops = _differences(parts, width)
        _compare(np.left_shift(tops, word_type(below), out=tops), *bounds, tops, flags)
        return
    for some, scratch in _batches(parts):
        part, passes = parts[some], flags[some]
        for strip in range(flags.shape[1]):
            _compare(_at_the_top(part, width, strip, scratch), *bounds, scratch[0], passes[:, strip])


def pick(words: np.ndarray, width: int, lanes: int, rows: Int64s, skip: int, base: int, out: np.ndarray) -> None:
    """Fill `out`, u1, u2, u4 or u8[n], with the values of some rows of whole tiles, as `unpack` makes them.

    rows: int64[n], any order, counted from row `skip` of the tiles. Raises ValueError where one is in none of them.
    """
    bits, word = 8 * words.itemsize, words.dtype.type
    places, count = rows + skip, len(words) // width * bits
    if len(rows) and not 0 <= places.min() <= places.max() < count:
        raise ValueError("pick: a row is in none of the tiles")
    if len(rows) > _PICKED * count:
        every = np.empty(count, out.dtype)
        unpack(words, width, lanes, base, every)
        every.take(places, out=out, mode="clip")
        return
    strips, lane = np.divmod(places, lanes)
    tile, strip = np.divmod(strips, bits)
    first, shift = np.divmod(strip * width, bits)
    at = (tile * width + first) * lanes + lane
    found = words[at] >> shift.astype(word)
    crossing = np.flatnonzero(shift + width > bits)
    found[crossing] |= words[at[crossing] + lanes] << (bits - shift[crossing]).astype(word)
    _finish(found, width, out.dtype.type(base & int(np.iinfo(out.dtype).max)), out)


def widen(data: Bytes, stride: int, base: int, out: np.ndarray) -> None:
    """Fill `out`, u1, u2, u4 or u8[n], with base + little-endian unsigned integers of `stride` bytes, modulo its width.

    stride: 1 to 8. data: exactly stride x n bytes. base: 0 … 2^64 - 1.
    Spec: format_spec/encodings/narrow.md.
    """
    if stride in (1, 2, 4, 8):
        np.copyto(out, np.ndarray((len(out),), f"<u{stride}", data), casting="unsafe")
    else:
        # Overlapping loads of a wider integer, masked; the last rows have no bytes behind them to load.
        size = 4 if stride == 3 and out.itemsize <= 4 else 8
        loaded = (len(data) - size) // stride + 1 if len(out) > _FEW_ROWS else 0
        mask = np.dtype(f"<u{size}").type((1 << (8 * stride)) - 1)
        if loaded:
            cells = np.ndarray((loaded,), f"<u{size}", data, 0, (stride,))
            np.bitwise_and(cells, mask, out=out[:loaded], casting="unsafe")
        rest = np.zeros((len(out) - loaded, size), np.uint8)
        rest[:, :stride] = data[loaded * stride :].reshape(-1, stride)
        np.copyto(out[loaded:], rest.reshape(-1).view(f"<u{size}"), casting="unsafe")
    if base:
        np.add(out, out.dtype.type(base & int(np.iinfo(out.dtype).max)), out=out)


def lines(data: Bytes, stride: int, out: Int64s) -> None:
    """Fill `out`, int64[n], from whole blocks of 256 rows, of which the last may be short, modulo 2^64.

    stride: the bytes of a residual, 0 to 7. data: residuals, base and slope of each block, end to end.
    Spec: format_spec/encodings/linear.md.
    """
    scratch = np.empty(min(len(out), _BATCH_BLOCKS * _BLOCK_ROWS), np.int64)
    block_nbytes = _BLOCK_ROWS * stride + _LINE_NBYTES
    whole = len(out) // _BLOCK_ROWS
    parts = [(block, min(block + _BATCH_BLOCKS, whole)) for block in range(0, whole, _BATCH_BLOCKS)]
    if len(out) % _BLOCK_ROWS:
        parts.append((whole, whole + 1))
    for first, last in parts:
        values = out[first * _BLOCK_ROWS : last * _BLOCK_ROWS].reshape(last - first, -1)
        _decode_blocks(data[first * block_nbytes :], stride, values, scratch[: values.size].reshape(values.shape))


def spread(values: np.ndarray, bits: Bytes, skip: int, out: np.ndarray) -> None:
    """Fill `out`, [n] of the type of `values`, with the value of each row: the first for row 0, and from a row whose
    bit is one the next.

    bits: a bitmap, least significant bit first; that of row 0 is bit `skip`.
    Raises ValueError where rows need more values or bits than there are.
    """
    scratch = np.empty(min(len(out), _PLACES), np.int64)
    last = 0
    for done in range(0, len(out), _PLACES):
        places = scratch[: len(out) - done]
        window = bits[(skip + done) // 8 : (skip + done + len(places) + 7) // 8]
        np.copyto(places, np.unpackbits(window, bitorder="little")[(skip + done) % 8 :][: len(places)])
        places[0] = last + (places[0] if done else 0)
        last = int(np.add.accumulate(places, out=places)[-1])
        if last >= len(values):
            raise ValueError("spread: there are fewer values than rows need")
        # All are in bounds; "clip" is the mode that writes to `out` without a copy.
        np.take(values, places, out=out[done : done + len(places)], mode="clip")


def spell(
    codes: Bytes,
    bits: int,
    symbols: bytes,
    skip: int,
    cell: bytes,
    places: np.ndarray,
    rows: Int64s | None,
    out: Bytes,
) -> None:
    """Fill `out`, uint8[n * len(cell)], with cells that differ from `cell` at some places.

    codes: of 1, 2 or 4 bits, the first in the lowest, one for each place of each cell; the first cell begins with code
    `skip`. symbols: of each code. places: uint32[k]. rows: int64[n], cells in any order; None: the first n.
    Raises ValueError where a row has no codes.
    Spec: format_spec/encodings/alphabet.md.
    """
    each, length, count = 8 // bits, len(places), len(out) // len(cell)
    cells = (len(codes) * each - skip) // length
    within = count <= cells if rows is None else not len(rows) or 0 <= rows.min() <= rows.max() < cells
    if not within:
        raise ValueError("spell: a row has no codes")
    if not count:
        return
    if rows is None or count > _SPELLED * cells:
        spelled = _all_spelled(codes, bits, symbols)[skip:][: cells * length]
        if rows is not None:
            spelled = spelled.view(f"V{length}").take(rows).view(np.uint8)
    else:
        at = (skip + rows * length)[:, None] + np.arange(length)
        spelled = np.frombuffer(symbols, np.uint8)[
            codes[at // each] >> (at % each * bits).astype(np.uint8) & (1 << bits) - 1
        ]
    # One copy a cell, whatever the bytes: first of all of them, then of each stretch that is spelled.
    out.view(f"V{len(cell)}")[:] = np.frombuffer(cell, f"V{len(cell)}")
    ends = [*(np.flatnonzero(np.diff(places) != 1) + 1).tolist(), length]
    for first, last in zip([0, *ends], ends, strict=False):
        one, place = f"V{last - first}", int(places[first])
        from_cells = np.ndarray((count,), one, spelled, first, (length,))
        np.copyto(np.ndarray((count,), one, out, place, (len(cell),)), from_cells)


def unblock(data: Bytes, sizes: Int64s, rows: int, stride: int, offsets: Int64s, cells: Bytes) -> None:
    """Part blocks that lie end to end into the offsets of their cells and the cells, both end to end.

    data: of each block the lengths of `rows` cells, a plane for each of their `stride` bytes, and the cells. sizes:
    int64[n], bytes of each. offsets: int64[n * rows + 1], to be filled behind the first, where the first cell begins.
    cells: uint8, the bytes that are no lengths.
    Raises ValueError where lengths and sizes disagree.
    Spec: format_spec/encodings/zstd.md.
    """
    head = rows * stride
    starts = np.cumsum(sizes) - sizes
    agrees = len(offsets) == len(sizes) * rows + 1 and int(sizes.sum()) == len(data) == len(cells) + head * len(sizes)
    if agrees and not (sizes < head).any():
        places = starts[:, None] + np.arange(head)
        planes = data[places].reshape(-1, stride, rows).astype(np.int64)
        np.cumsum((planes << 8 * np.arange(stride)[:, None]).sum(axis=1), out=offsets[1:])
        offsets[1:] += offsets[0]
        if (np.diff(offsets[::rows]) + head == sizes).all():
            inside = np.ones(len(data), np.bool_)
            inside[places] = False
            np.compress(inside, data, out=cells)
            return
    raise ValueError("unblock: the lengths of a block do not add up to its cells")


def divide(numbers: Int64s, power: float, out: np.ndarray) -> None:
    """Fill `out`, float32 or float64[n], with numbers over a power of ten, divided in double precision."""
    # Only a float of 32 bits can be too small for a number.
    with np.errstate(over="ignore"):
        np.divide(numbers, power, out=out, casting="same_kind")


def marked(starts: Int64s, ends: Int64s, slots: Int64s, pages: np.ndarray, marks: np.ndarray) -> bool:
    """Are all blocks marked that ranges of bytes touch? starts, ends: int64[n]. slots: int64[n], the page of each.

    pages: eight int64 each, the first of which is where it begins, the third the log2 of its blocks, the fifth the
    number of its first block, below 0 while it has none. marks: bool[b]; a block past them is not marked.
    """
    if len(starts) != len(ends) or len(starts) != len(slots):
        raise ValueError("marked: there are not as many ends and pages as starts")
    filled = starts != ends
    if not filled.any():
        return True
    slots = slots[filled]
    table = pages.view(np.int64).reshape(-1, 8)
    if slots.min() < 0 or slots.max() >= len(table):
        return False
    offset, log2, base = table[slots].T[[0, 2, 4]]
    low, high = starts[filled] - offset, ends[filled] - 1 - offset
    first, last = base + (low >> log2), base + (high >> log2)
    if min(base.min(), low.min()) < 0 or (high < low).any() or last.max() >= len(marks):
        return False
    counts = last - first + 1
    before = counts.cumsum() - counts
    return bool(marks[np.arange(counts.sum()) + (first - before).repeat(counts)].all())


def gather(data: Bytes, starts: Int64s, ends: Int64s, out: Bytes) -> None:
    """Fill `out` with ranges of bytes end to end, in the order given. starts, ends: int64[n].

    Raises ValueError where a range is not in the bytes, or they do not fill it.
    """
    lengths = ends - starts
    if len(starts) and not (min(starts.min(), lengths.min()) >= 0 and ends.max() <= len(data)):
        raise ValueError("gather: the ranges are not in the bytes")
    if lengths.sum() != len(out):
        raise ValueError("gather: the ranges do not fill the room")
    # A kernel of Arrow takes 20 us to start and copies wide ranges twice (it grows its output): it pays for many ranges
    # that are not large (measured from 50 to 50,000 ranges of 20 to 20,000 bytes; of 770 bytes in a third of the time).
    if len(starts) <= _MANY_RANGES or len(out) >= len(starts) * _WIDE_RANGE:
        view, filled = memoryview(data), 0
        # Some at a time: Python's collector of garbage runs when there are 700 slices more than there were, and now and
        # then it walks all objects of the process.
        for first in range(0, len(starts), _MANY_RANGES):
            some = slice(first, first + _MANY_RANGES)
            bounds = zip(starts[some].tolist(), ends[some].tolist(), strict=True)
            part = b"".join([view[start:end] for start, end in bounds])
            out[filled : filled + len(part)] = np.frombuffer(part, np.uint8)
            filled += len(part)
        return
    # Interleaved [start, end, start, end, …] are the offsets of a binary array whose even slots are the ranges.
    offsets = np.empty(2 * len(starts) + 1, np.int64)
    offsets[0:-1:2], offsets[1::2] = starts, ends
    offsets[-1] = len(data)
    count = 2 * len(starts)
    cells = pa.Array.from_buffers(pa.large_binary(), count, [None, pa.py_buffer(offsets), pa.py_buffer(data)])
    taken = cells.take(pa.array(np.arange(0, count, 2)))
    out[:] = np.frombuffer(taken.buffers()[2] or b"", np.uint8)[: len(out)]


def lay(numbers: np.ndarray, bounds: Int64s, offsets: np.ndarray) -> int:
    """Fill `offsets`, int32 or int64[n + 1], with where cells begin and end that are looked up by their numbers.

    numbers: uint32[n]. bounds: int64[m + 1], ascending, of the m cells. Returns the bytes of all, of which offsets of
    32 bits hold 2 GiB. Raises ValueError where a number is past the last cell.
    """
    if len(numbers) and numbers.max() >= len(bounds) - 1:
        raise ValueError("lay: a number is past the last cell")
    ends = np.cumsum(np.diff(bounds)[numbers])
    offsets[0] = 0
    offsets[1:] = ends.astype(offsets.dtype)
    return int(ends[-1]) if len(ends) else 0


def fill(numbers: np.ndarray, bounds: Int64s, cells: np.ndarray, out: np.ndarray) -> None:
    """Fill `out`, uint8[k], with those cells end to end. cells: uint8[…], of all m. The others: as of `lay`.

    Raises ValueError where a number is past the last cell, and where the cells do not fill the room.
    """
    held = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(bounds) - 1, [None, pa.py_buffer(bounds), pa.py_buffer(cells)]
    )
    if len(numbers) and numbers.max() >= len(held):
        raise ValueError("fill: a number is past the last cell")
    taken = np.frombuffer(held.take(pa.array(numbers)).buffers()[2] or b"", np.uint8)
    if len(taken) != len(out):
        raise ValueError("fill: the cells do not fill the room")
    out[:] = taken


def places(flags: np.ndarray, out: Int64s) -> None:
    """Fill `out` with the places of flags: bool[n], of which as many are true.

    Raises ValueError where there are more or fewer.
    """
    found = np.flatnonzero(flags)
    if len(found) != len(out):
        raise ValueError("places: there are not as many flags")
    out[:] = found


def overlap(flags: np.ndarray, others: np.ndarray) -> int:
    """How many rows are flagged in both of two arrays: bool[n] each. Raises ValueError where one is longer."""
    if len(flags) != len(others):
        raise ValueError("overlap: the flags are not of the same rows")
    return int(np.count_nonzero(flags & others))


def group(numbers: np.ndarray, values: np.ndarray, out: np.ndarray, begins: Int64s) -> None:
    """Fill `out` with values by their numbers, those of one number in their order.

    Fills `begins` with where those of each number begin, and where the last ones end.

    numbers: uint32[n], below m. values, out: uint32[n]. begins: int64[m + 1].
    Raises ValueError where a number is not below m.
    """
    if len(numbers) and int(numbers.max()) >= len(begins) - 1:
        raise ValueError("group: a number is not below the limit")
    # With their places in the bits behind them, which numpy sorts many at a time: 8 million in 0.11 s.
    bits = max(len(numbers) - 1, 0).bit_length()
    packed = numbers.astype(np.uint64) << np.uint64(bits) | np.arange(len(numbers), dtype=np.uint64)
    packed.sort()
    out[:] = values[packed & np.uint64((1 << bits) - 1)]
    begins[0] = 0
    np.cumsum(np.bincount(numbers, minlength=len(begins) - 1), out=begins[1:])


def pack(values: Int64s, counts: Int64s, widths: Bytes, out: Bytes) -> None:
    """Fill `out` with blocks of numbers, each in as many bits as its block says, each block from a byte on.

    values: int64, 0 … 2^width - 1, of all blocks; counts: int64[b], those of each; widths: uint8[b], at most 32. out:
    uint8, (count * width + 7) // 8 of each block.
    Raises ValueError where numbers, blocks and bytes do not agree.
    Spec: format_spec/index/inverted.md, "Packed blocks".
    """
    bits = widths.astype(np.int64)
    nbytes = (counts * bits + 7) >> 3
    sound = len(counts) == len(widths) and int(counts.sum()) == len(values) and int(nbytes.sum()) == len(out)
    if not sound or (len(widths) and (widths.max() > _MOST_BITS or counts.min() < 0)):
        raise ValueError("pack: the blocks are not those of the numbers, or of the bytes")
    at = np.arange(len(values)) - np.repeat(np.cumsum(counts) - counts, counts)
    at = at * np.repeat(bits, counts) + np.repeat((np.cumsum(nbytes) - nbytes) << 3, counts)
    words = np.zeros((len(out) >> 3) + 2, np.uint64)
    if len(at):
        word, shift, unsigned = at >> 6, (at & 63).astype(np.uint64), values.astype(np.uint64)
        firsts = np.flatnonzero(np.append(True, word[1:] != word[:-1]))
        words[word[firsts]] = np.bitwise_or.reduceat(unsigned << shift, firsts)
        # At most one number reaches from a word into the next.
        over = np.flatnonzero(shift.astype(np.int64) + np.repeat(bits, counts) > 64)
        words[word[over] + 1] |= unsigned[over] >> (np.uint64(64) - shift[over])
    out[:] = words.view(np.uint8)[: len(out)]


def learn(data: Bytes, offsets: Int64s, lengths: Bytes, symbols: Bytes) -> int:
    """Find symbols of 2 to 16 bytes that cells are made of, those seen most often first. Returns how many.

    data: the cells; offsets: int64[n + 1], where each begins, and where the last one ends. lengths: uint8[3840], to be
    filled with those of the symbols; symbols: uint8[3840 * 16], with their bytes, each in 16 of them.
    In numpy none are found: that takes as long as to write the cells some tens of times.
    Raises ValueError where offsets are not those of cells.
    Spec: format_spec/encodings/symbols.md.
    """
    _check_offsets(data, offsets)
    return 0


def parse(data: Bytes, offsets: Int64s, lengths: Bytes, symbols: Bytes, out: Bytes, ends: Int64s) -> int:
    """Fill `out` with the codes of cells: at each place the longest of the symbols, or the byte. Returns its bytes.

    data, offsets: as `learn` takes them. lengths: uint8[k] and symbols: uint8[k * 16], as `learn` gave them. out:
    uint8, at least 2 for each byte of data, and 2. ends: int64[n + 1], to be filled with where the codes of each cell
    begin, and where those of the last one end.
    Raises ValueError where offsets are not those of cells, or the room is too small.
    """
    _check_offsets(data, offsets)
    if len(out) // 2 < len(data) + 1 or len(ends) != len(offsets) or len(symbols) != len(lengths) * _LONGEST_SYMBOL:
        raise ValueError("parse: the room is too small")
    cells = np.split(symbols, len(lengths)) if len(lengths) else []
    numbered = zip(cells, lengths.tolist(), strict=True)
    codes_of = {cell[:length].tobytes(): _BYTES + number for number, (cell, length) in enumerate(numbered)}
    text, codes = data.tobytes(), []
    ends[0] = 0
    for cell, (at, end) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)):
        while at < end:
            tried = range(min(_LONGEST_SYMBOL, end - at), 1, -1)
            length = next((length for length in tried if text[at : at + length] in codes_of), 1)
            codes.append(codes_of.get(text[at : at + length], text[at]))
            at += length
        ends[cell + 1] = len(codes)
    pairs = np.array([*codes, 0][: len(codes) + len(codes) % 2], "<u4").reshape(-1, 2)
    packed = (pairs[:, 0] | pairs[:, 1] << _CODE_BITS).astype("<u4").view(np.uint8).reshape(-1, 4)[:, :3].reshape(-1)
    out[: len(packed)] = packed
    return len(packed)


def measure(packed: Bytes, starts: Int64s, ends: Int64s, lengths: Bytes, offsets: Int64s) -> None:
    """Fill `offsets` behind the first, where the first cell begins, with where cells end whose codes are known.

    packed: codes of 12 bits, two in three bytes. starts, ends: int64[n], the codes of each cell. lengths: uint8[4096],
    of the symbol of each code, 0 where there is none. offsets: int64[n + 1].
    Raises ValueError where a code has no symbol, or is not in the bytes.
    """
    found = lengths[_codes_at(packed, starts, ends)]
    if not found.all() or len(offsets) != len(starts) + 1:
        raise ValueError("measure: a cell has a code that no symbol has, or codes beyond the bytes")
    places = np.zeros(len(found) + 1, np.int64)
    np.cumsum(found, out=places[1:])
    offsets[1:] = offsets[0] + places[np.cumsum(ends - starts)]


def unfold(packed: Bytes, starts: Int64s, ends: Int64s, lengths: Bytes, symbols: Bytes, out: Bytes) -> None:
    """Fill `out` with cells, end to end.

    packed … lengths: as `measure` takes them; symbols: uint8[4096 * 16], of each code.
    Raises ValueError where the symbols do not fill it.
    """
    filled = np.arange(_LONGEST_SYMBOL) < lengths[:, None]
    bounds = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=bounds[1:])
    known = symbols.reshape(-1, _LONGEST_SYMBOL)[filled]
    table = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(lengths), [None, pa.py_buffer(bounds), pa.py_buffer(known)]
    )
    cells = pc.take(table, pa.array(_codes_at(packed, starts, ends)), boundscheck=False)
    found = np.frombuffer(cells.buffers()[2] or b"", np.uint8)
    total = int(np.frombuffer(cells.buffers()[1] or bytes(8), np.int64)[len(cells)])
    if total != len(out):
        raise ValueError("unfold: the symbols of the codes do not fill the room")
    out[:] = found[:total]


def _check_offsets(data: Bytes, offsets: Int64s) -> None:
    sound = len(offsets) and offsets[0] >= 0 and offsets[-1] <= len(data) and bool((np.diff(offsets) >= 0).all())
    if not sound:
        raise ValueError("the offsets are not those of cells")


def _codes_at(packed: Bytes, starts: Int64s, ends: Int64s) -> np.ndarray:
    """The codes of spans, end to end: uint32[n]. Raises ValueError where one is not in the bytes."""
    codes = len(packed) // 3 * 2
    if not (len(starts) == len(ends) and ((starts >= 0) & (starts <= ends) & (ends <= codes)).all()):
        raise ValueError("codes beyond the bytes")
    counts = ends - starts
    at = np.arange(counts.sum()) + np.repeat(starts - np.cumsum(counts) + counts, counts)
    first = at // 2 * 3 + at % 2
    both = packed[first].astype(np.uint32) | packed[first + 1].astype(np.uint32) << 8
    return np.where(at % 2, both >> 4, both) & (1 << _CODE_BITS) - 1


def _all_spelled(codes: Bytes, bits: int, symbols: bytes) -> Bytes:
    """The symbols of all codes."""
    each = 8 // bits
    every = np.arange(256)[:, None] >> bits * np.arange(each) & (1 << bits) - 1
    table = np.frombuffer(symbols, np.uint8)[every].view(f"<u{each}").reshape(-1)
    # Arrow takes a fifth of the time of numpy, which makes 64-bit places first.
    found = pc.take(pa.array(table), pa.array(codes), boundscheck=False)
    return np.frombuffer(found.buffers()[1] or b"", np.uint8, count=len(codes) * each)


def _parts(words: np.ndarray, width: int, lanes: int) -> np.ndarray:
    """The words of whole tiles as [parts, …, lanes]: the least parts of tiles that end with a word, cut alike.

    One call of numpy then works on a strip of each part, and not of each tile.
    """
    return words.reshape(-1, width // gcd(width, 8 * words.itemsize), lanes)


def _shape_of(parts: np.ndarray, width: int) -> tuple[int, int, int]:
    """Parts, strips of each, lanes."""
    count, words, lanes = parts.shape
    return count, words * 8 * parts.itemsize // width, lanes


def _at_once(parts: np.ndarray, width: int) -> bool:
    """Are the values few, and have some strips, so that calls of numpy cost more than passes over them do?"""
    count, strips, lanes = _shape_of(parts, width)
    return strips > 2 and count * strips * lanes <= _AT_ONCE_ROWS


def _differences(parts: np.ndarray, width: int) -> np.ndarray:
    """Each difference in the low bits of a word, below bits of others: word[parts, strips, lanes]."""
    word, above, shift, left = _strips(width, 8 * parts.itemsize)
    bits = parts.take(word, axis=1)
    np.right_shift(bits, shift, out=bits)
    if parts.shape[1] > 1:
        crossing = parts.take(above, axis=1)
        np.left_shift(crossing, left, out=crossing)
        np.bitwise_or(bits, crossing, out=bits)
    return bits


@cache
def _strips(width: int, bits: int) -> tuple[Int64s, Int64s, np.ndarray, np.ndarray]:
    """Of the strips of a part: the word that each begins in, the one after it, and how far they are shifted."""
    words = width // gcd(width, bits)
    word, shift = np.divmod(np.arange(words * bits // width) * width, bits)
    shifts = shift.astype(f"<u{bits // 8}")[:, None]
    # Of a strip that ends in its word, the one after it adds nothing below `width`; behind the last there is none.
    return word, np.minimum(word + 1, words - 1), shifts, bits - shifts


def _batches(parts: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Slices of parts to work on at a time, and scratch for two strips of each."""
    count, _, lanes = parts.shape
    batch = max(1, min(count, _BATCH_NBYTES // (lanes * parts.itemsize)))
    scratch = np.empty((2, batch, lanes), parts.dtype)
    for start in range(0, count, batch):
        yield slice(start, start + batch), scratch[:, : count - start]


def _unpack_strips(words: np.ndarray, width: int, base: np.generic, out: np.ndarray, scratch: np.ndarray) -> None:
    """Fill out[parts, strips, lanes]. Each strip is finished in the scratch, so that `out` is written once."""
    word_type, word_bits = words.dtype.type, 8 * words.itemsize
    bits, above = scratch
    for strip in range(out.shape[1]):
        word, shift = divmod(strip * width, word_bits)
        np.right_shift(words[:, word], word_type(shift), out=bits)
        if shift + width > word_bits:
            np.left_shift(words[:, word + 1], word_type(word_bits - shift), out=above)
            np.bitwise_or(bits, above, out=bits)
        _finish(bits, width, base, out[:, strip])


def _finish(bits: np.ndarray, width: int, base: np.generic, out: np.ndarray) -> None:
    """Make values of differences, which stand below bits of others and are overwritten."""
    word_type, mask = bits.dtype.type, (1 << width) - 1
    if bits.dtype == out.dtype and not base:
        np.bitwise_and(bits, word_type(mask), out=out)
        return
    np.bitwise_and(bits, word_type(mask), out=bits)
    if bits.dtype == out.dtype or int(base) + mask >= 1 << 8 * bits.itemsize:
        np.add(bits, base, out=out, casting="unsafe")
        return
    # A word may hold the values too, not only the differences: the base is added there, at a fraction of the cost.
    if base:
        np.add(bits, word_type(base), out=bits)
    np.copyto(out, bits)


def _compare(tops: np.ndarray, lowest: Any, highest: Any, scratch: np.ndarray, out: np.ndarray) -> None:
    """Which words are in lowest … highest."""
    if not lowest:
        np.less_equal(tops, highest, out=out)
    elif not ~highest:
        np.greater_equal(tops, lowest, out=out)
    else:
        # What is below `lowest` wraps to far above.
        np.less_equal(np.subtract(tops, lowest, out=scratch), highest - lowest, out=out)


def _at_the_top(words: np.ndarray, width: int, strip: int, scratch: np.ndarray) -> np.ndarray:
    """One strip of parts, each difference in the top bits of a word, above bits of others."""
    word_type, word_bits = words.dtype.type, 8 * words.itemsize
    word, shift = divmod(strip * width, word_bits)
    above = shift + width - word_bits
    if above == 0:
        return words[:, word]
    if above < 0:
        return np.left_shift(words[:, word], word_type(-above), out=scratch[0])
    np.left_shift(words[:, word + 1], word_type(word_bits - above), out=scratch[0])
    np.right_shift(words[:, word], word_type(above), out=scratch[1])
    return np.bitwise_or(scratch[0], scratch[1], out=scratch[0])


def _decode_blocks(data: Bytes, stride: int, out: np.ndarray, scratch: np.ndarray) -> None:
    """Fill out, int64[blocks, rows], from blocks that begin where data does."""
    blocks, rows = out.shape
    nbytes = rows * stride + _LINE_NBYTES
    lines = np.ndarray((blocks, 2), "<i8", data, rows * stride, (nbytes, 8))
    bases, slopes = lines[:, :1], lines[:, 1:]
    # Ids and timestamps mostly have one slope in a whole page.
    if (slopes == slopes[0]).all():
        np.add(bases, slopes[:1] * _STEPS[:rows] >> 8, out=out)
    else:
        np.multiply(slopes, _STEPS[:rows], out=out)
        np.right_shift(out, 8, out=out)
        np.add(out, bases, out=out)
    if stride in (1, 2, 4):
        np.add(out, np.ndarray((blocks, rows), f"<u{stride}", data, 0, (nbytes, stride)), out=out)
    elif stride:
        # Overlapping loads, masked; behind the last residual there is always a line.
        cells = np.ndarray((blocks, rows), "<i8", data, 0, (nbytes, stride))
        np.bitwise_and(cells, np.int64((1 << 8 * stride) - 1), out=scratch)
        np.add(out, scratch, out=out)
