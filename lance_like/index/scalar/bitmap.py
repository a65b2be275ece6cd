"""BITMAP: for each value, the rows that have it (format_spec/index/bitmap.md).

For columns of few values, on which it answers what BTREE does from sets that are made already. It holds any number of
values: those of few rows take little more than their ordinals.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pyarrow as pa
from pyroaring import BitMap

from lance_like.index.base import BuildOptions, IndexSource, Kind, Segment, SegmentWrites
from lance_like.index.questions import Answer, IsNull, Question
from lance_like.index.scalar.grouping import Grouping
from lance_like.index.scalar.inverted import Inverted, write_inverted
from lance_like.index.scalar.keys import as_key_values, checked_key_type, without_nulls
from lance_like.index.scalar.nulls import Nulls, write_nulls
from lance_like.index.scalar.params import check_version, no_params, recorded
from lance_like.index.scalar.places import orders, places_of
from lance_like.typing_ import Json


class Bitmap:
    """The plug-in."""

    name: ClassVar[str] = "BITMAP"
    kind: ClassVar[Kind] = "filter"
    version: ClassVar[int] = 1

    def params(self, type: pa.DataType, given: Mapping[str, Any]) -> dict[str, Json]:
        """It has none. Raises InvalidInput."""
        no_params(given, self.name)
        checked_key_type(type, self.name)
        return {}

    def answers(self, type: pa.DataType, params: Mapping[str, Json], question: Question) -> Answer:
        """Exactly what is about the order of values."""
        return Answer.EXACT if orders(type, question) else Answer.NO

    def build(
        self, source: IndexSource, params: Mapping[str, Json], out: SegmentWrites, options: BuildOptions
    ) -> dict[str, Json]:
        """Write the files `postings` and `nulls`."""
        kind = checked_key_type(source.type, self.name)
        grouping, nulls, first = Grouping(kind, options.memory_nbytes), [], 0
        for batch in source.batches():
            values, ordinals, missing = without_nulls(as_key_values(batch, kind), first)
            grouping.add(values, ordinals)
            nulls.append(missing)
            first += len(batch)
        keys = write_inverted(out, kind, grouping.groups())
        return {"keys": keys, "nulls": write_nulls(out, nulls)}

    def open(self, segment: Segment) -> BitmapSearcher:
        """A searcher. Raises Unsupported, Corrupt."""
        check_version(segment, self.name, self.version)
        nulls = recorded(segment, "nulls", 0, segment.rows)
        return BitmapSearcher(segment, recorded(segment, "keys", 0, segment.rows - nulls), nulls)


class BitmapSearcher:
    """An open segment."""

    def __init__(self, segment: Segment, keys: int, nulls: int) -> None:
        self._kind = checked_key_type(segment.type, Bitmap.name)
        self._nulls = Nulls(segment.files, nulls, segment.rows)
        self._inverted = Inverted(segment.files, keys, self._kind, segment.rows)

    @property
    def nbytes_cached(self) -> int:
        """What it keeps in memory, by estimate."""
        return self._inverted.nbytes_cached + self._nulls.nbytes_cached

    def prewarm(self) -> None:
        """Read the values and their rows."""
        self._inverted.prewarm()

    def rows(self, question: Question) -> BitMap:
        """The ordinals that match. Raises InvalidInput for a question that `answers` refuses."""
        if isinstance(question, IsNull):
            return self._nulls.bitmap.copy()
        return self._inverted.union(*places_of(self._inverted.keys, self._kind, question))


__all__ = ["Bitmap", "BitmapSearcher"]
