"""BTREE: all values in order, each with its row (format_spec/index/btree.md).

Answers what asks for values or a range of them, exactly. A search for one value reads the fences and one leaf.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np
import pyarrow as pa
from pyroaring import BitMap

from lance_like.index.base import BuildOptions, IndexSource, Kind, Segment, SegmentWrites
from lance_like.index.questions import IsNull, Question
from lance_like.index.scalar.grouping import Groups
from lance_like.index.scalar.keys import checked_key_type
from lance_like.index.scalar.nulls import Nulls, write_nulls
from lance_like.index.scalar.ordered import Ordered
from lance_like.index.scalar.params import check_version, recorded
from lance_like.index.scalar.places import places_of
from lance_like.index.scalar.postings import checked_set
from lance_like.index.scalar.sorted_column import SortedColumn, write_sorted
from lance_like.typing_ import Int64s, Json

_FILE = "values"
_BATCH_ROWS = 1 << 20


class BTree(Ordered):
    """The plug-in."""

    name: ClassVar[str] = "BTREE"
    kind: ClassVar[Kind] = "filter"
    version: ClassVar[int] = 1

    def build(
        self, source: IndexSource, params: Mapping[str, Json], out: SegmentWrites, options: BuildOptions
    ) -> dict[str, Json]:
        """Write the files `values` and `nulls`."""
        kind, grouping, nulls = self.grouped(source, options)
        schema = _columns(kind)
        write_sorted(out, _FILE, schema, _batches(grouping.groups(), schema))
        return {"nulls": write_nulls(out, nulls)}

    def open(self, segment: Segment) -> BTreeSearcher:
        """A searcher. Raises Unsupported, Corrupt."""
        check_version(segment, self.name, self.version)
        return BTreeSearcher(segment, recorded(segment, "nulls", 0, segment.rows))


class BTreeSearcher:
    """An open segment."""

    def __init__(self, segment: Segment, nulls: int) -> None:
        kind = checked_key_type(segment.type, BTree.name)
        self._rows, self._kind = segment.rows, kind
        self._last: tuple[Question, tuple[Int64s, Int64s]] | None = None
        self._nulls = Nulls(segment.files, nulls, segment.rows)
        self._values = SortedColumn(segment.files, _FILE, segment.rows - nulls, _columns(kind))

    @property
    def nbytes_cached(self) -> int:
        """What it keeps in memory, by estimate."""
        return self._values.nbytes_cached + self._nulls.nbytes_cached

    def prewarm(self) -> None:
        """Read the fences, the first leaves and the rows without a value."""
        self._values.prewarm()
        _ = self._nulls.bitmap

    def rows(self, question: Question) -> BitMap:
        """The ordinals that match. Raises InvalidInput for a question that `answers` refuses."""
        if isinstance(question, IsNull):
            return self._nulls.bitmap
        return checked_set(self._values.beside(*self._places(question)), self._rows)

    def count(self, question: Question) -> int:
        """How many there are. Raises as `rows`."""
        if isinstance(question, IsNull):
            return len(self._nulls.bitmap)
        starts, ends = self._places(question)
        return max(0, int(ends[0] - starts[0])) if len(starts) == 1 else int(np.maximum(ends - starts, 0).sum())

    def _places(self, question: Question) -> tuple[Int64s, Int64s]:
        """Half-open ranges of the sorted values; of the last question, whose rows are counted first."""
        known = self._last
        if known is None or known[0] is not question:
            known = self._last = question, places_of(self._values, self._kind, question)
        return known[1]


def _columns(kind: pa.DataType) -> pa.Schema:
    """Of the file. kind: the key type."""
    return pa.schema([pa.field("value", kind, nullable=False), pa.field("ordinal", pa.uint32(), nullable=False)])


def _batches(groups: Iterator[Groups], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for group in groups:
        counts = np.diff(group.ends, prepend=0)
        keys = group.keys if (counts == 1).all() else group.keys.take(np.repeat(np.arange(len(counts)), counts))
        for start in range(0, len(keys), _BATCH_ROWS):
            part = keys.part(start, min(start + _BATCH_ROWS, len(keys)))
            ordinals = pa.array(group.ordinals[start : start + len(part)])
            yield pa.record_batch([part.values(schema.field(0).type), ordinals], schema=schema)


__all__ = ["BTree", "BTreeSearcher"]
