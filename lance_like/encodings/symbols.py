"""Symbols: short texts as codes of 12 bits, each for up to 16 bytes that are frequent in their column
(format_spec/encodings/symbols.md).

    "special requests"    special · request · s
    stored                three codes, 5 bytes with half of another cell's

Why: format_spec/decisions/0027-symbols.md.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from lance_like.encodings.base import Encoded, Hints
from lance_like.encodings.joining import taken
from lance_like.encodings.physical import buffer_bytes, check_variable, offsets_of
from lance_like.encodings.pool import allocate
from lance_like.encodings.sample import spread
from lance_like.encodings.stack import Reading, Runs, SharedBlob, Stack
from lance_like.encodings.variable import encode_offsets, read_bounds, variable_array_between
from lance_like.kernels import learn, measure, parse, unfold
from lance_like.ranges import gather_from, has_negative, lengths_to_offsets
from lance_like.typing_ import Bytes, Int64s, Json

_CODES, _BYTES, _LONGEST = 4096, 256, 16
_MOST_SYMBOLS = _CODES - _BYTES
_PAIR_NBYTES = 3
# Learning takes some milliseconds.
_SMALLEST_PAGE = 128 << 10
# Longer cells repeat themselves: zstd makes less of them.
_LARGEST_MEAN_CELL = 4096
_LEARNED_NBYTES, _TRIED_NBYTES = 256 << 10, 32 << 10
# The table takes at most this share of the page that it is learned from.
_TABLE_SHARE = 1 / 16
# Reading takes longer than a copy: it must save something.
_WORTH = 0.7
# A page of which a table makes so many times the share has one of its own, if that makes so much less of it.
_DRIFT, _OWN_WORTH = 1.2, 0.9
# What is shared is read whole when a column is opened.
_MOST_SHARED_NBYTES = 1 << 20
# Zstd reads at a fourth of the speed: it must take less than this share of what codes do.
_AS_GOOD = 0.6
_SAMPLES, _SAMPLE_NBYTES = 8, 2048
# Cells whose tables alternate more often than so are put in the order of their tables first.
_MOST_PARTS = 4


class Symbols:
    """Parameter d: the range of the table of symbols in the shared blob. Child 0: offsets of the cells in codes; buffer
    0: the codes, two in three bytes."""

    name = "symbols"
    shape: tuple[str, ...] = ()
    in_blob = ("d",)

    def encode(self, array: pa.Array, hints: Hints) -> Encoded | None:
        offsets = offsets_of(array)
        data = buffer_bytes(array.buffers()[2])[offsets[0] : offsets[-1]]
        offsets = offsets - offsets[0]
        if len(data) == 0 or len(data) > _LARGEST_MEAN_CELL * len(array):
            return None
        learned = hints.trained(self.name)
        if learned is None:
            if len(data) < _SMALLEST_PAGE:
                return None
            learned = hints.train(self.name, _learned(data, offsets))
        elif learned.table:
            learned = _fitting(learned, data, offsets, hints)
        table = learned.table
        if not table or learned.share > _WORTH:
            return None
        packed, ends = _parsed(table, data, offsets)
        params: dict[str, Json] = {"d": hints.share(table)}
        return Encoded(self.name, len(array), params, (packed,), (encode_offsets(ends, hints),))

    def read(self, stack: Stack, kind: pa.DataType, runs: Runs) -> Reading[pa.Array]:
        found = yield from self._found(stack, kind, runs)
        return found.array(stack, kind)

    def choose(self, stack: Stack, kind: pa.DataType, runs: Runs, rows: Int64s) -> Reading[pa.Array]:
        """Only the chosen cells are made."""
        found = yield from self._found(stack, kind, runs)
        return found.at(rows).array(stack, kind)

    def _found(self, stack: Stack, kind: pa.DataType, runs: Runs) -> Reading[_Found]:
        check_variable(stack, kind)
        opened = stack.once("opened", lambda: _Opened.of(stack))
        bounds = yield from read_bounds(opened.offsets, runs)
        stack.require(not has_negative(opened.codes[runs.at] - bounds.ends), "its offsets pass its codes")
        first, last = bounds.starts // 2, -(-bounds.ends // 2)
        start = opened.start[runs.at]
        (packed,) = yield [(start + first * _PAIR_NBYTES, start + last * _PAIR_NBYTES, stack.slots[runs.at])]
        ends = np.cumsum(bounds.lengths)
        starts = ends - bounds.lengths
        # Among the codes that were read: each run begins with a pair, though it may be with the second of it.
        pairs = last - first
        moved = 2 * (np.cumsum(pairs) - pairs) + bounds.starts % 2
        if len(moved) == 1:
            moved = moved[0]
        else:
            rows = runs.lengths
            moved = moved - np.append(starts, 0)[np.cumsum(rows) - rows]
            moved = moved if runs.single else np.repeat(moved, rows)
        number = runs.by_row(opened.table_of) if len(opened.tables) > 1 else None
        return _Found(opened.tables, packed, starts + moved, ends + moved, number)


@dataclass(frozen=True, slots=True)
class _Found:
    """The codes of cells. starts, ends: int64[n], those of each. number: int64[n], of the table of each; None: there is
    one."""

    tables: Sequence[_Table]
    packed: Bytes
    starts: Int64s
    ends: Int64s
    number: Int64s | None

    def array(self, stack: Stack, kind: pa.DataType) -> pa.Array:
        """Raises Corrupt."""
        starts, ends = self.starts, self.ends
        offsets = allocate(len(starts) + 1, np.int64)
        offsets[0] = 0
        parts = list(self._by_table())
        if self.number is not None and len(parts) > _MOST_PARTS * len(self.tables):
            order = np.argsort(self.number, kind="stable")
            array = self.at(order).array(stack, kind)
            return taken(array, pa.array(np.argsort(order)))
        try:
            for table, first, last in parts:
                measure(self.packed, starts[first:last], ends[first:last], table.lengths, offsets[first : last + 1])
        except ValueError as error:
            raise stack.corrupt("a cell has a code that no symbol has") from error
        data = allocate(int(offsets[-1]), np.uint8)
        for table, first, last in parts:
            room = data[offsets[first] : offsets[last]]
            unfold(self.packed, starts[first:last], ends[first:last], table.lengths, table.symbols, room)
        return variable_array_between(kind, offsets, data)

    def at(self, rows: Int64s) -> _Found:
        """Some of the cells."""
        number = None if self.number is None else self.number[rows]
        return _Found(self.tables, self.packed, self.starts[rows], self.ends[rows], number)

    def _by_table(self) -> Iterator[tuple[_Table, int, int]]:
        """Cells, cut where the next one has another table: the table, from and to."""
        if self.number is None:
            yield self.tables[0], 0, len(self.starts)
            return
        cuts = np.flatnonzero(np.diff(self.number, prepend=-1)).tolist()
        for first, last in zip(cuts, [*cuts[1:], len(self.number)], strict=True):
            yield self.tables[self.number[first]], first, last


@dataclass(frozen=True, slots=True)
class _Opened:
    """What reads of a stack need of it, checked.

    tables: of the pages; table_of: int64[p], the one of each. offsets: of the cells. start, codes: int64[p], where the
    codes of each page begin in the file, and how many there are.
    """

    tables: Sequence[_Table]
    table_of: Int64s
    offsets: Stack
    start: Int64s
    codes: Int64s

    @classmethod
    def of(cls, stack: Stack) -> _Opened:
        places = [(blob, _table_place(stack, page)) for page, blob in enumerate(stack.blobs)]
        known = {place: number for number, place in enumerate(dict.fromkeys(places))}
        # By the stack, which counts what is kept.
        kept = stack.once("tables", lambda: [_unpacked(stack, blob, start, length) for blob, (start, length) in known])
        table_of = np.array([known[place] for place in places], np.int64)
        offsets = stack.child(0, stack.num_rows + 1)
        codes = stack.sizes(0) // _PAIR_NBYTES * 2
        return cls([_Table(*both) for both in kept], table_of, offsets, stack.place(0, 0), codes)


@dataclass(frozen=True, slots=True)
class _Table:
    """The symbols of codes. lengths: uint8[4096], 0 where there is none; symbols: uint8[4096 * 16]."""

    lengths: Bytes
    symbols: Bytes


def _table_place(stack: Stack, page: int) -> tuple[int, int]:
    """Where the table of a page lies in the shared blob: start and length. Raises Corrupt."""
    place: Json = stack.nodes[page].params.get("d")
    if not (isinstance(place, list) and len(place) == 2 and all(type(n) is int and n >= 0 for n in place)):
        raise stack.corrupt(f"its table {place!r:.40} is no range")
    if sum(place) > len(stack.blobs[page].data):
        raise stack.corrupt(f"its table {place!r:.40} is not in the shared blob")
    return place[0], place[1]


def _unpacked(stack: Stack, blob: SharedBlob, start: int, nbytes: int) -> tuple[Bytes, Bytes]:
    """The lengths of symbols and the symbols, of all codes. Raises Corrupt."""
    data = np.frombuffer(blob.data, np.uint8)[start : start + nbytes]
    count = int(data[:2].view("<u2")[0]) if len(data) >= 2 else _CODES
    stack.require(count <= _MOST_SYMBOLS and len(data) >= 2 + count, "its table is cut off, or has too many symbols")
    own, packed = data[2 : 2 + count], data[2 + count :]
    sound = bool(((own >= 1) & (own <= _LONGEST)).all()) and int(own.sum(dtype=np.int64)) == len(packed)
    stack.require(sound, "the lengths of its symbols do not add up to them")
    lengths, symbols = np.zeros(_CODES, np.uint8), np.zeros((_CODES, _LONGEST), np.uint8)
    lengths[:_BYTES], symbols[:_BYTES, 0] = 1, np.arange(_BYTES)
    lengths[_BYTES : _BYTES + count] = own
    symbols[_BYTES : _BYTES + count][np.arange(_LONGEST) < own[:, None]] = packed
    return lengths, symbols.reshape(-1)


@dataclass(frozen=True, slots=True)
class _Learned:
    """table: in the shared blob; b"": none pays. share: of the bytes of the page it was learned from, with itself, as
    codes."""

    table: bytes
    share: float


def _learned(data: Bytes, offsets: Int64s) -> _Learned:
    """What is learned from a page."""
    lengths, symbols = np.zeros(_MOST_SYMBOLS, np.uint8), np.zeros(_MOST_SYMBOLS * _LONGEST, np.uint8)
    count = learn(*_sampled(data, offsets, _LEARNED_NBYTES), lengths, symbols)
    lengths = lengths[:count]
    # Those seen most often come first.
    room = int(np.cumsum(1 + lengths.astype(np.int64)).searchsorted(len(data) * _TABLE_SHARE, "right"))
    lengths = lengths[:room]
    own = symbols.reshape(-1, _LONGEST)[:room][np.arange(_LONGEST) < lengths[:, None]]
    table = room.to_bytes(2, "little") + lengths.tobytes() + own.tobytes()
    share = _share(table, data, offsets) + len(table) / len(data)
    pays = room > 0 and share <= _WORTH and not _repeats(data, share)
    return _Learned(table if pays else b"", share)


def _fitting(learned: _Learned, data: Bytes, offsets: Int64s, hints: Hints) -> _Learned:
    """What was learned from an earlier page, for this one; or what this one teaches, where its cells are others."""
    share = _share(learned.table, data, offsets)
    if share > _DRIFT * learned.share and len(data) >= _SMALLEST_PAGE:
        own = _learned(data, offsets)
        if own.table and own.share < _OWN_WORTH * share:
            # Tables stand in the blob in the order of pages.
            hints.wait_for_turn()
            if len(hints.blob) + len(own.table) <= _MOST_SHARED_NBYTES:
                return own
    return _Learned(learned.table, share)


def _share(table: bytes, data: Bytes, offsets: Int64s) -> float:
    """About how much of their bytes cells take as codes."""
    tried, places = _sampled(data, offsets, _TRIED_NBYTES)
    return len(_parsed(table, tried, places)[0]) / max(1, len(tried))


def _repeats(data: Bytes, share: float) -> bool:
    """Whether neighbours have so much in common that zstd makes far less of them than codes, `share` of the bytes."""
    starts = spread(max(1, len(data) - _SAMPLE_NBYTES + 1), _SAMPLES).tolist()
    sampled = b"".join([data[start : start + _SAMPLE_NBYTES].tobytes() for start in starts])
    return len(zlib.compress(sampled, 1)) < _AS_GOOD * share * len(sampled)


def _sampled(data: Bytes, offsets: Int64s, nbytes: int) -> tuple[Bytes, Int64s]:
    """Cells from all over a page, of about so many bytes, and their offsets."""
    cells = len(offsets) - 1
    if len(data) <= nbytes:
        return data, offsets
    rows = spread(cells, max(1, cells * nbytes // len(data)))
    starts, ends = offsets[rows], offsets[rows + 1]
    return gather_from(data, starts, ends), lengths_to_offsets(ends - starts)


def _parsed(table: bytes, data: Bytes, offsets: Int64s) -> tuple[Bytes, Int64s]:
    """The codes of cells, and where those of each cell begin and end."""
    count = int.from_bytes(table[:2], "little")
    lengths = np.frombuffer(table, np.uint8, count, 2)
    symbols = np.zeros((count, _LONGEST), np.uint8)
    symbols[np.arange(_LONGEST) < lengths[:, None]] = np.frombuffer(table, np.uint8, offset=2 + count)
    packed, ends = np.empty(2 * len(data) + 2, np.uint8), np.empty(len(offsets), np.int64)
    nbytes = parse(data, offsets, lengths, symbols.reshape(-1), packed, ends)
    return packed[:nbytes].copy(), ends
