"""An inverted file: for each key, the rows that have it (format_spec/index/postings.md).

file postings    columns key, ascending, each once; count, uint32: how many rows; rows: their ordinals (postings.py)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from operator import or_

import numpy as np
import pyarrow as pa
from pyroaring import BitMap

from lance_like.encodings.joining import joined
from lance_like.encodings.stack import expand
from lance_like.index.base import Segment, SegmentReads, SegmentWrites
from lance_like.index.scalar.grouping import Groups
from lance_like.index.scalar.keys import Keys
from lance_like.index.scalar.nulls import Nulls
from lance_like.index.scalar.postings import bitmaps_of, cells_of, union_of
from lance_like.index.scalar.sorted_column import SortedColumn, write_sorted
from lance_like.kept import Kept
from lance_like.typing_ import Int64s

_FILE = "postings"
_BATCH_ORDINALS = 1 << 20
_LISTS_NBYTES = 64 << 20
# What a set takes beside its ordinals, of up to 2 bytes each.
_SET_NBYTES = 200
# A union of more lists than this keeps none of them: it reads them in one pass.
_KEPT_OF_UNION = 64
# Up to so many sets are joined one after the other: all at once takes 3 to 10 times as long.
_FEW_SETS = 3


class Inverted:
    """Searches one. keys: how many it has, of the key type `kind`; rows: of the segment."""

    def __init__(self, files: SegmentReads, keys: int, kind: pa.DataType, rows: int) -> None:
        self.keys = SortedColumn(files, _FILE, keys, _columns(kind))
        self._rows = rows
        self._lists: Kept[BitMap] = Kept(_LISTS_NBYTES)

    @property
    def nbytes_cached(self) -> int:
        """What it keeps in memory, by estimate."""
        return self.keys.nbytes_cached + self._lists.size

    def prewarm(self) -> None:
        """Read the keys, and the lists that memory is kept for."""
        self.keys.prewarm()
        for start in range(0, self.keys.rows, _KEPT_OF_UNION):
            if self._lists.size > _LISTS_NBYTES // 2:
                break
            self.sets(np.arange(start, min(start + _KEPT_OF_UNION, self.keys.rows)))

    def places(self, keys: Keys) -> Int64s:
        """Where keys stand, those that are there; keys: ascending, each once."""
        starts, ends = self.keys.equal(keys)
        return starts[starts < ends]

    def counts(self, places: Int64s) -> Int64s:
        """How many rows have the keys at some places, ascending."""
        return self.keys.beside(places, places + 1).astype(np.int64)

    def union(self, starts: Int64s, ends: Int64s) -> BitMap:
        """The rows that have any key of half-open ranges of places; not to be changed."""
        filled = starts < ends
        starts, ends = starts[filled], ends[filled]
        if int((ends - starts).sum()) <= _KEPT_OF_UNION:
            return _united(self.sets(expand(starts, ends)))
        spans = list(zip(starts.tolist(), ends.tolist(), strict=True))
        return union_of(self._cells(spans), self.keys.beside(starts, ends).astype(np.int64), self._rows)

    def count_of_union(self, places: Int64s) -> int:
        """How many rows have any of the keys at some places. Cost: nothing is joined but for more than two keys."""
        if len(places) == 1:
            return int(self.counts(places)[0])
        if len(places) == 2:
            one, other = self.sets(places)
            return one.union_cardinality(other)
        return len(self.union(places, places + 1))

    def count_of_intersection(self, places: Int64s) -> int:
        """How many rows `intersection` gives. Cost: nothing is joined but for more than two keys."""
        if len(places) == 1:
            return int(self.counts(places)[0])
        if len(places) == 2:
            one, other = self.sets(places)
            return one.intersection_cardinality(other)
        return len(self.intersection(places))

    def intersection(self, places: Int64s) -> BitMap:
        """The rows that have all keys at some places, at least one; not to be changed."""
        return BitMap.intersection(*self.sets(places)) if len(places) > 1 else self.sets(places)[0]

    def sets(self, places: Int64s) -> list[BitMap]:
        """The rows of the keys at some places, ascending; not to be changed.

        Cost: one round for those that are not in memory.
        """
        wanted = places.tolist()
        found = {place: rows for place in wanted if (rows := self._lists.get(place)) is not None}
        missing = np.array([place for place in wanted if place not in found], np.int64)
        if len(missing):
            made = bitmaps_of(self._cells(_spans_of(missing)), self.counts(missing), self._rows)
            for place, rows in zip(missing.tolist(), made, strict=True):
                found[place] = rows
                self._lists.put(place, rows, _nbytes_of(rows))
        return [found[place] for place in wanted]

    def _cells(self, spans: Sequence[tuple[int, int]]) -> pa.LargeBinaryArray:
        return joined([part for [part] in self.keys.file.spans(["rows"], spans)])


class InvertedSearcher:
    """An open segment: an inverted file, and the rows without a value. kind: of the keys. keys, nulls: how many."""

    def __init__(self, segment: Segment, kind: pa.DataType, keys: int, nulls: int) -> None:
        self.kind = kind
        self.inverted = Inverted(segment.files, keys, kind, segment.rows)
        self.nulls = Nulls(segment.files, nulls, segment.rows)

    @property
    def nbytes_cached(self) -> int:
        """What it keeps in memory, by estimate."""
        return self.inverted.nbytes_cached + self.nulls.nbytes_cached

    def prewarm(self) -> None:
        """Read the keys and their rows, and the rows without a value."""
        self.inverted.prewarm()
        _ = self.nulls.bitmap


def write_inverted(out: SegmentWrites, kind: pa.DataType, groups: Iterator[Groups]) -> int:
    """Write groups as an inverted file. kind: the key type. Returns the number of keys; without any, it has no file."""
    schema = _columns(kind)
    return write_sorted(out, _FILE, schema, (_batch(part, schema) for group in groups for part in _cut(group)))


def _columns(kind: pa.DataType) -> pa.Schema:
    """Of the file. kind: the key type."""
    return pa.schema(
        [
            pa.field("key", kind, nullable=False),
            pa.field("count", pa.uint32(), nullable=False),
            pa.field("rows", pa.large_binary(), nullable=False, metadata={"lance_like:compression": "none"}),
        ]
    )


def _spans_of(places: Int64s) -> list[tuple[int, int]]:
    """Ascending places as half-open ranges of neighbours."""
    if not len(places):
        return []
    cuts = np.flatnonzero(np.diff(places) != 1) + 1
    starts, ends = places[np.concatenate(([0], cuts))], places[np.concatenate((cuts - 1, [-1]))] + 1
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


def _batch(groups: Groups, schema: pa.Schema) -> pa.RecordBatch:
    counts = np.diff(groups.ends, prepend=0).astype(np.uint32)
    columns = [groups.keys.values(schema.field(0).type), pa.array(counts), cells_of(groups.ends, groups.ordinals)]
    return pa.record_batch(columns, schema=schema)


def _cut(groups: Groups) -> Iterator[Groups]:
    """Groups in parts of so many ordinals, or of one key that has more."""
    first = 0
    while first < len(groups.ends):
        start = int(groups.ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(groups.ends, start + _BATCH_ORDINALS, "right")))
        yield groups.within(first, last)
        first = last


def _united(sets: Sequence[BitMap]) -> BitMap:
    """What is in any of some sets; of one itself."""
    return reduce(or_, sets) if 1 <= len(sets) <= _FEW_SETS else BitMap.union(BitMap(), *sets)


def _nbytes_of(rows: BitMap) -> int:
    return _SET_NBYTES + min(2 * len(rows), (rows.max() >> 3) + 1)


__all__ = ["Inverted", "InvertedSearcher", "write_inverted"]
