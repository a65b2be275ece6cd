"""A sorted column in a file of a segment, searched by keys (format_spec/index/keys.md, "Sorted columns").

    file NAME    columns KEY, ascending, and BESIDE, uint32: what belongs to each key; others may follow
    file NAME.fences    column first: the key of every 8,192nd row of NAME; absent when there is one such row

The fences are read once. Between two of them lies a leaf: 8,192 rows, read when a search meets it, and kept with others
in bounded memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from lance_like._lazy import cached
from lance_like.encodings.stack import expand
from lance_like.errors import Corrupt
from lance_like.index.base import FileReads, SegmentReads, SegmentWrites
from lance_like.index.scalar.keys import Keys, NumberKeys, Side, Uint32s, joined_keys, keys_of
from lance_like.kept import Kept
from lance_like.typing_ import Int64s

LEAF_ROWS = 8192
# Leaves of 64-bit numbers: 7 million rows. One search holds as many on top.
LEAVES_NBYTES = 64 << 20
_AT_ONCE = 64
# A leaf takes as long to unpack as some hundred rows here and there: keys in more leaves than this that are not in
# memory are looked for among every 32nd row of a leaf, which is kept, then among the rows between two of these.
_FEW_LEAVES = 8
_STEP = 32
_SAMPLES = LEAF_ROWS // _STEP
# Up to the next sample, and one row behind it, which tells whether that is the last of its key.
_BETWEEN = _STEP + 1
# Of 64-bit numbers: 67 million rows.
SAMPLES_NBYTES = 16 << 20
_FENCES = ".fences"
# Ranges of fewer rows on average are taken row by row.
_SHORT = 64
_NOTHING = np.empty(0, np.uint32)


class Leaf(NamedTuple):
    """Some rows of a sorted column."""

    keys: Keys
    beside: Uint32s

    @property
    def nbytes(self) -> int:
        return self.keys.nbytes + self.beside.nbytes


class SortedColumn:
    """Searches one. rows: how many it has; columns: as it was written."""

    def __init__(self, files: SegmentReads, name: str, rows: int, columns: pa.Schema) -> None:
        self._files, self._name, self._schema = files, name, columns
        self._columns = columns.names[:2]
        self.rows = rows
        self._leaves: Kept[Leaf] = Kept(LEAVES_NBYTES)
        self._samples: Kept[Keys] = Kept(SAMPLES_NBYTES)

    @property
    def nbytes_cached(self) -> int:
        """What it keeps in memory."""
        kept = self._leaves.size + self._samples.size
        return kept + ("_fences" in self.__dict__ and self._fences.nbytes)

    @cached
    def file(self) -> FileReads:
        """Its file. Raises Corrupt when it is not as long as recorded."""
        return self._opened(self._name, self.rows, self._schema)

    def find(self, keys: Keys, side: Side) -> Int64s:
        """The rows where keys would be inserted, before or after those that are equal. keys: ascending.

        Cost: one round for the leaves that are not in memory; two where these are many.
        """
        if not self.rows:
            return np.zeros(len(keys), np.int64)
        if len(keys) == 1:
            number = self._number(keys, side)
            return self.leaf(number).keys.find(keys, side) + number * LEAF_ROWS
        starts, ends = self._around(keys, side)
        return starts if side == "left" else ends

    def edge(self, number: np.integer, side: Side) -> int:
        """As `find`, of one key where these are numbers."""
        if not self.rows:
            return 0
        place = 0
        if self.rows > LEAF_ROWS:
            place = max(_edge(self._fences, number, side) - 1, 0)
        return _edge(self.leaf(place).keys, number, side) + place * LEAF_ROWS

    def equal(self, keys: Keys) -> tuple[Int64s, Int64s]:
        """Half-open ranges of the rows whose keys are some keys, which ascend, each once. Cost: as `find`."""
        if not self.rows:
            return np.zeros(len(keys), np.int64), np.zeros(len(keys), np.int64)
        if self.rows <= LEAF_ROWS:
            return self.leaf(0).keys.around(keys)
        return self._equal_one(keys) if len(keys) == 1 else self._around(keys, "left")

    def _numbers(self, keys: Keys, side: Side) -> Int64s:
        """The leaf of several in which each key would be inserted, or at whose end."""
        return np.maximum(self._fences.find(keys, side) - 1, 0)

    def _number(self, key: Keys, side: Side) -> int:
        """As `_numbers`, of one key."""
        return max(int(self._fences.find(key, side)[0]) - 1, 0) if self.rows > LEAF_ROWS else 0

    def _equal_one(self, keys: Keys) -> tuple[Int64s, Int64s]:
        """As `equal`, of one key."""
        number = self._number(keys, "left")
        leaf, first = self.leaf(number).keys, number * LEAF_ROWS
        starts, ends = leaf.around(keys)
        starts, ends = starts + first, ends + first
        # Up to the end of a leaf: the next one may go on with it.
        return starts, self.find(keys, "right") if ends[0] == first + len(leaf) else ends

    def _around(self, keys: Keys, side: Side) -> tuple[Int64s, Int64s]:
        """Where several keys would be inserted, before and after those that are equal; looked for from one side."""
        if self.rows <= LEAF_ROWS:
            return self.leaf(0).keys.around(keys)
        numbers = self._numbers(keys, side)
        few = self._are_few(numbers)
        starts, ends, lasts = self._in_leaves(keys, numbers) if few else self._by_rows(keys, side, numbers)
        # The last row that was looked at is equal: more may be, but for keys looked for from the right.
        more = np.flatnonzero((ends == lasts) & (ends < self.rows) & (side == "left"))
        if len(more):
            ends[more] = self.find(keys.take(more), "right")
        return starts, ends

    def _in_leaves(self, keys: Keys, numbers: Int64s) -> tuple[Int64s, Int64s, Int64s]:
        """Where keys would be inserted in leaves, one for each, before and after those equal, and the ends of these."""
        firsts = np.flatnonzero(np.concatenate(([True], numbers[1:] != numbers[:-1]))).tolist()
        starts, ends = np.empty(len(keys), np.int64), np.empty(len(keys), np.int64)
        leaves = self.leaves(numbers[firsts].tolist())
        for leaf, start, end in zip(leaves, firsts, [*firsts[1:], len(keys)], strict=True):
            some = keys.part(start, end)
            starts[start:end], ends[start:end] = leaf.keys.around(some)
        begins = numbers * LEAF_ROWS
        return starts + begins, ends + begins, begins + LEAF_ROWS

    def _by_rows(self, keys: Keys, side: Side, numbers: Int64s) -> tuple[Int64s, Int64s, Int64s]:
        """The same, of 33 rows of each leaf: those between two samples of it."""
        leaves = np.unique(numbers)
        place = self._sampled(leaves.tolist()).find(keys, side) - 1
        # The row after the last sample that is below.
        first = np.where(place < 0, 0, leaves[place // _SAMPLES] * LEAF_ROWS + place % _SAMPLES * _STEP + 1)
        # Behind the end, the last row again.
        rows = np.minimum(first[:, None] + np.arange(_BETWEEN), self.rows - 1).ravel()
        [taken] = self.file.take(self._columns[:1], rows)
        found, wanted = keys_of(taken), keys.take(np.repeat(np.arange(len(keys)), _BETWEEN))
        below, upto = (found.below(wanted, end).reshape(-1, _BETWEEN).sum(axis=1) for end in ("left", "right"))
        return np.minimum(first + below, self.rows), np.minimum(first + upto, self.rows), first + _BETWEEN

    def _sampled(self, numbers: Sequence[int]) -> Keys:
        """The keys of every 32nd row of some leaves, in order."""
        found = {number: keys for number in numbers if (keys := self._samples.get(number)) is not None}
        missing = [number for number in numbers if number not in found]
        if missing:
            rows = (np.array(missing)[:, None] * LEAF_ROWS + np.arange(0, LEAF_ROWS, _STEP)).ravel()
            [taken] = self.file.take(self._columns[:1], rows[rows < self.rows])
            read = keys_of(taken)
            for place, number in enumerate(missing):
                start = place * _SAMPLES
                # A copy: not all that was read with it is kept.
                kept = found[number] = read.take(np.arange(start, min(start + _SAMPLES, len(read))))
                self._samples.put(number, kept, kept.nbytes)
        return joined_keys([found[number] for number in numbers])

    def _are_few(self, numbers: Int64s) -> bool:
        """True when few leaves of some are not in memory."""
        if len(numbers) <= _FEW_LEAVES:
            return True
        several = {*numbers.tolist()}
        return len(several) - sum(map(self._leaves.__contains__, several)) <= _FEW_LEAVES

    def leaf(self, number: int) -> Leaf:
        """One leaf."""
        found = self._leaves.get(number)
        return found if found is not None else next(self.leaves([number]))

    def leaves(self, numbers: Sequence[int]) -> Iterator[Leaf]:
        """Some leaves, in the order asked. Cost: one round for 64 that are not in memory."""
        for start in range(0, len(numbers), _AT_ONCE):
            asked = numbers[start : start + _AT_ONCE]
            found = {number: leaf for number in asked if (leaf := self._leaves.get(number)) is not None}
            missing = [number for number in dict.fromkeys(asked) if number not in found]
            if missing:
                spans = [(number * LEAF_ROWS, min((number + 1) * LEAF_ROWS, self.rows)) for number in missing]
                for number, (keys, beside) in zip(missing, self.file.spans(self._columns, spans), strict=True):
                    leaf = found[number] = Leaf(_held(keys_of(keys)), beside.to_numpy().copy())
                    self._leaves.put(number, leaf, leaf.nbytes)
            yield from [found[number] for number in asked]

    def beside(self, starts: Int64s, ends: Int64s) -> Uint32s:
        """What belongs to half-open ranges of rows, ascending, end to end. Of long ranges nothing is kept.

        Cost: one round for all that is not in memory.
        """
        if len(starts):
            number, end = int(starts[0]) // LEAF_ROWS, int(ends[-1])
            if number * LEAF_ROWS < end <= (number + 1) * LEAF_ROWS:
                held, first = self.leaf(number).beside, number * LEAF_ROWS
                if len(starts) == 1:
                    return held[int(starts[0]) - first : end - first]
                return held.take(expand(starts - first, ends - first))
        filled = starts < ends
        starts, ends = starts[filled], ends[filled]
        if not len(starts):
            return _NOTHING
        numbers = np.unique(expand(starts // LEAF_ROWS, -(-ends // LEAF_ROWS)))
        longest, rows = int((ends - starts).max()), int((ends - starts).sum())
        if longest > 2 * LEAF_ROWS or not self._are_few(numbers):
            if rows <= _SHORT * len(starts):
                return self.file.take(self._columns[1:], expand(starts, ends))[0].to_numpy()
            spans = list(zip(starts.tolist(), ends.tolist(), strict=True))
            return np.concatenate([found.to_numpy() for [found] in self.file.spans(self._columns[1:], spans)])
        leaves = dict(zip(numbers.tolist(), self.leaves(numbers.tolist()), strict=True))
        parts = []
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            for number in range(start // LEAF_ROWS, (end - 1) // LEAF_ROWS + 1):
                at = number * LEAF_ROWS
                parts.append(leaves[number].beside[max(0, start - at) : end - at])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def prewarm(self) -> None:
        """Read the fences, and the leaves that memory is kept for."""
        if self.rows:
            _ = self._fences
            width = max(1, self.leaf(0).nbytes)
            for _ in self.leaves(range(min(-(-self.rows // LEAF_ROWS), max(1, LEAVES_NBYTES // width)))):
                pass

    @cached
    def _fences(self) -> Keys:
        count = -(-self.rows // LEAF_ROWS)
        if count == 1:
            return self.leaf(0).keys.part(0, 1)
        [first] = self._opened(self._name + _FENCES, count, _fence_columns(self._schema)).columns(["first"])
        return _held(keys_of(first))

    def _opened(self, name: str, rows: int, columns: pa.Schema) -> FileReads:
        file = self._files.file(name, columns)
        if file.rows != rows:
            raise Corrupt(f"the file {name!r} of an index has {file.rows:,} rows, recorded are {rows:,}", kind="index")
        return file


def write_sorted(out: SegmentWrites, name: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
    """Write a sorted column, the first of each batch, and its fences. Returns its rows; without any, it has no file."""
    fences: list[pa.Array] = []
    rows = 0

    def seen() -> Iterator[pa.RecordBatch]:
        nonlocal rows
        for batch in batches:
            places = np.arange(-rows % LEAF_ROWS, batch.num_rows, LEAF_ROWS)
            fences.append(batch.column(0).take(pa.array(places)))
            rows += batch.num_rows
            yield batch

    stream = seen()
    first = next((batch for batch in stream if batch.num_rows), None)
    if first is None:
        return 0
    out.write(name, schema, _after(first, stream))
    if rows > LEAF_ROWS:
        first_keys = pa.concat_arrays(fences)
        fence_schema = _fence_columns(schema)
        out.write(name + _FENCES, fence_schema, [pa.record_batch([first_keys], schema=fence_schema)])
    return rows


def _after(first: pa.RecordBatch, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from rest


def _fence_columns(columns: pa.Schema) -> pa.Schema:
    return pa.schema([pa.field("first", columns.field(0).type, nullable=False)])


def _held(keys: Keys) -> Keys:
    """Keys that hold no more than themselves: not the page that they were read with."""
    return NumberKeys(keys.numbers.copy()) if isinstance(keys, NumberKeys) else keys


def _edge(keys: Keys, number: np.integer, side: Side) -> int:
    assert isinstance(keys, NumberKeys)
    return keys.edge(number, side)


__all__ = ["LEAF_ROWS", "Leaf", "SortedColumn", "write_sorted"]
