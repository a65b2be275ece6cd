"""Lists of ordinals as bytes, and back (format_spec/index/postings.md).

    up to 8 ordinals:  u32 each, no head
    more:              u8 form | …
        form 255       a Roaring bitmap in its portable form
        form b         b = 0 to 24: the low b bits of all ordinals, first whole bytes, then single bits: byte 0 of each
                       ordinal, byte 1 of each, …, bit b - b mod 8 of each, the next bit of each, …; behind them for
                       each ordinal a 1 bit at the place (ordinal >> b) + its number, all others 0 (Elias-Fano)

All integers little-endian, bits from the lowest of a byte on; what is of all ordinals begins at a byte of its own. How
many ordinals there are stands beside the cell.
"""

from __future__ import annotations

from array import array

import numpy as np
import pyarrow as pa
from pyroaring import BitMap

from lance_like.encodings.physical import buffer_bytes, offsets_of
from lance_like.encodings.stack import expand
from lance_like.errors import Corrupt
from lance_like.index.scalar.keys import Uint32s
from lance_like.typing_ import Bytes, Int64s

FEW = 8
_ROARING = 255
_MOST_LOW_BITS = 24
# What Roaring takes for a container beside what is in it, and for a bitmap of 2^16 rows.
_CONTAINER_NBYTES, _BITMAP_NBYTES = 8, 8192
# Of Roaring's portable form: how it begins without runs, and the most ordinals of a container that lists them.
_COOKIE, _ARRAY_ROWS = 12346, 4096
# From so many ordinals on, writing that form and reading it back is the quickest way to a set.
_WRITTEN = 512
# Above this share of all rows, marking them and looking where the marks are is cheaper than sorting them.
_DENSE = 1 / 32


def cells_of(ends: Int64s, ordinals: Uint32s) -> pa.LargeBinaryArray:
    """Lists of ordinals, each ascending, as cells. ends: of each list in ordinals, ascending."""
    starts = np.concatenate(([0], ends[:-1])) if len(ends) else ends
    counts = ends - starts
    many = np.flatnonzero(counts > FEW)
    long = [_pack(ordinals[start:end]) for start, end in zip(starts[many].tolist(), ends[many].tolist(), strict=True)]
    lengths = counts * 4
    lengths[many] = [len(cell) for cell in long]
    offsets = np.zeros(len(ends) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    data = np.empty(offsets[-1], np.uint8)
    for place, cell in zip(offsets[many].tolist(), long, strict=True):
        data[place : place + len(cell)] = cell
    few = np.flatnonzero(counts <= FEW)
    if len(few):
        short = np.ascontiguousarray(ordinals[expand(starts[few], ends[few])], "<u4")
        data[expand(offsets[few], offsets[few] + lengths[few])] = short.view(np.uint8)
    return pa.Array.from_buffers(pa.large_binary(), len(ends), [None, pa.py_buffer(offsets), pa.py_buffer(data)])


def bitmaps_of(cells: pa.LargeBinaryArray, counts: Int64s, rows: int) -> list[BitMap]:
    """The inverse of `cells_of`, each list as a set. counts: of each; rows: ordinals are below. Raises Corrupt."""
    lists = _lists(cells, counts, rows)
    return [found if isinstance(found, BitMap) else set_of(found) for found in lists]


def union_of(cells: pa.LargeBinaryArray, counts: Int64s, rows: int) -> BitMap:
    """The ordinals of all lists together. Raises Corrupt."""
    offsets, data = offsets_of(cells), buffer_bytes(cells.buffers()[2])
    few, many = np.flatnonzero(counts <= FEW), np.flatnonzero(counts > FEW)
    if (np.diff(offsets)[few] != 4 * counts[few]).any():
        raise _corrupt("a short list has another length than it says")
    parts = [data[expand(offsets[few], offsets[few + 1])].view("<u4")] if len(few) else []
    sets: list[BitMap] = []
    for found in _lists(cells.take(pa.array(many)), counts[many], rows):
        if isinstance(found, BitMap):
            sets.append(found)
        else:
            parts.append(found)
    return BitMap.union(checked_set(np.concatenate([np.empty(0, np.uint32), *parts]), rows), *sets)


def checked_set(ordinals: Uint32s, rows: int) -> BitMap:
    """Ordinals in any order, each any number of times, as a set. Raises Corrupt when one is not below `rows`."""
    if not len(ordinals):
        return BitMap()
    if len(ordinals) == 1 and (only := int(ordinals[0])) < rows:
        return BitMap((only,))
    ascend = bool((ordinals[1:] > ordinals[:-1]).all())
    last = int(ordinals[-1] if ascend else ordinals.max())
    if last >= rows:
        raise _corrupt(f"ordinal {last:,} of a segment of {rows:,} rows")
    found = ordinals if ascend else _sorted(ordinals, rows)
    first = int(found[0])
    return BitMap(range(first, last + 1)) if last + 1 - first == len(found) else set_of(found)


def _sorted(ordinals: Uint32s, rows: int) -> Uint32s:
    """Ordinals below `rows` in order, each once."""
    if len(ordinals) > rows * _DENSE:
        marks = np.zeros(rows, bool)
        marks[ordinals] = True
        return np.flatnonzero(marks).astype(np.uint32)
    found = np.sort(ordinals)
    new = found[1:] != found[:-1]
    return found if new.all() else found[np.append(True, new)]


def set_of(ordinals: Uint32s) -> BitMap:
    """Ordinals, ascending, each once, as a set."""
    count = len(ordinals)
    if count >= _WRITTEN:
        high = (ordinals >> np.uint32(16)).astype(np.uint16)
        firsts = np.flatnonzero(np.concatenate(([True], high[1:] != high[:-1])))
        lengths = np.diff(firsts, append=count)
        if lengths.max() <= _ARRAY_ROWS:
            # The portable form of a set of short containers is little more than the numbers themselves.
            heads = np.stack([high[firsts], (lengths - 1).astype(np.uint16)], axis=1).astype("<u2")
            starts = (8 + 8 * len(firsts) + 2 * firsts).astype("<u4")
            head = np.array([_COOKIE, len(firsts)], "<u4")
            low = ordinals.astype("<u2")
            return BitMap.deserialize(b"".join([head.tobytes(), heads.tobytes(), starts.tobytes(), low.tobytes()]))
    # pyroaring takes five times as long for a numpy array.
    return BitMap(array("I", ordinals.tobytes()))


def _pack(ordinals: Uint32s) -> Bytes:
    """The cell of more than FEW ordinals, in the form that takes the fewest bytes."""
    count, last = len(ordinals), int(ordinals[-1])
    runs = 1 + int(np.count_nonzero(np.diff(ordinals) != 1))
    containers = (last >> 16) - (int(ordinals[0]) >> 16) + 1
    roaring = min(4 * runs, 2 * count, _BITMAP_NBYTES * containers) + _CONTAINER_NBYTES * min(containers, count)
    # Around the bits that are best for ordinals at random.
    guess = max(0, (last // count).bit_length() - 1)
    sizes = {b: _split_nbytes(count, last, b) for b in range(max(0, guess - 1), min(guess + 2, _MOST_LOW_BITS + 1))}
    bits = min(sizes, key=sizes.__getitem__, default=_MOST_LOW_BITS)
    if roaring <= sizes.get(bits, roaring):
        bitmap = set_of(ordinals)
        bitmap.run_optimize()
        return np.frombuffer(bytes([_ROARING]) + bitmap.serialize(), np.uint8)
    places = (ordinals >> np.uint32(bits)).astype(np.int64) + np.arange(count)
    marks = np.zeros(int(places[-1]) + 1, bool)
    marks[places] = True
    return np.concatenate(
        [np.array([bits], np.uint8), *_low_parts(ordinals, bits), np.packbits(marks, bitorder="little")]
    )


def _split_nbytes(count: int, last: int, bits: int) -> int:
    """What ordinals up to `last` take in form `bits`."""
    return 1 + _low_nbytes(count, bits) + ((last >> bits) + count + 7) // 8


def _low_nbytes(count: int, bits: int) -> int:
    return bits // 8 * count + bits % 8 * -(-count // 8)


def _low_parts(ordinals: Uint32s, bits: int) -> list[Bytes]:
    octets = np.ascontiguousarray(ordinals, "<u4").view(np.uint8).reshape(-1, 4)
    whole = bits // 8
    planes = [octets[:, whole] & np.uint8(1 << bit) for bit in range(bits % 8)]
    return [*octets.T[:whole], *(np.packbits(plane, bitorder="little") for plane in planes)]


def _lists(cells: pa.LargeBinaryArray, counts: Int64s, rows: int) -> list[BitMap | Uint32s]:
    """Each list as it is cheapest to read: a set, or an ascending array of ordinals below `rows`. Raises Corrupt."""
    offsets, data = offsets_of(cells), buffer_bytes(cells.buffers()[2])
    bounds = zip(counts.tolist(), offsets.tolist(), offsets[1:].tolist(), strict=False)
    return [_unpack(data[start:end], count, rows) for count, start, end in bounds]


def _unpack(cell: Bytes, count: int, rows: int) -> BitMap | Uint32s:
    if not 0 < count <= rows:
        raise _corrupt(f"a list of {count:,} ordinals of {rows:,} rows")
    if count <= FEW:
        if len(cell) != 4 * count:
            raise _corrupt(f"a list of {count} ordinals of {len(cell)} bytes")
        found = cell.view("<u4")
    elif not len(cell):
        raise _corrupt("an empty cell")
    elif cell[0] == _ROARING:
        bitmap = _unpack_roaring(cell[1:].tobytes())
        if len(bitmap) != count or bitmap.max() >= rows:
            raise _corrupt(f"a bitmap of {len(bitmap):,} ordinals; expected {count:,} below {rows:,}")
        return bitmap
    else:
        found = _unpack_split(cell[1:], int(cell[0]), count)
    if int(found[-1]) >= rows or (found[1:] <= found[:-1]).any():
        raise _corrupt(f"ordinals that do not ascend below {rows:,}")
    return found


def _unpack_roaring(data: bytes) -> BitMap:
    try:
        return BitMap.deserialize(data)
    except (ValueError, IndexError) as error:
        raise _corrupt(f"a bitmap that is not valid: {error}") from error


def _unpack_split(data: Bytes, bits: int, count: int) -> Uint32s:
    """Ordinals from their low bits and the places of their high ones."""
    low_nbytes = _low_nbytes(count, bits)
    if bits > _MOST_LOW_BITS or len(data) < low_nbytes:
        raise _corrupt(f"a list of {count:,} ordinals with {bits} low bits in {len(data):,} bytes")
    places = np.flatnonzero(np.unpackbits(data[low_nbytes:], bitorder="little").view(bool))
    if len(places) != count or int(places[-1]) - count >= 1 << (32 - bits):
        raise _corrupt(f"{len(places):,} marks of {count:,} ordinals")
    ordinals = np.empty((count, 4), np.uint8)
    found = ordinals.view("<u4").reshape(-1)
    np.subtract(places, np.arange(count), out=places)
    np.left_shift(places, bits, out=places)
    found[:] = places
    whole = bits // 8
    for place in range(whole):
        ordinals[:, place] = data[place * count : (place + 1) * count]
    planes = data[whole * count : low_nbytes].reshape(bits % 8, -(-count // 8))
    for bit, plane in enumerate(planes):
        ordinals[:, whole] |= np.unpackbits(plane, count=count, bitorder="little") << np.uint8(bit)
    return found


def _corrupt(found: str) -> Corrupt:
    return Corrupt(f"an index holds {found}", kind="index", hint="drop the index and make it again; no data is lost")


__all__ = ["FEW", "bitmaps_of", "cells_of", "checked_set", "set_of", "union_of"]
