"""BITMAP: for each value, the rows that have it (format_spec/index/bitmap.md).

For columns of few values, on which it answers what BTREE does from sets that are made already. It holds any number of
values: those of few rows take little more than their ordinals.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pyroaring import BitMap

from lance_like.index.base import BuildOptions, IndexSource, Kind, Segment, SegmentWrites
from lance_like.index.questions import IsNull, Question
from lance_like.index.scalar.inverted import InvertedSearcher, write_inverted
from lance_like.index.scalar.keys import checked_key_type
from lance_like.index.scalar.nulls import write_nulls
from lance_like.index.scalar.ordered import Ordered
from lance_like.index.scalar.params import check_version, recorded
from lance_like.index.scalar.places import places_of
from lance_like.typing_ import Json


class Bitmap(Ordered):
    """The plug-in."""

    name: ClassVar[str] = "BITMAP"
    kind: ClassVar[Kind] = "filter"
    version: ClassVar[int] = 1

    def build(
        self, source: IndexSource, params: Mapping[str, Json], out: SegmentWrites, options: BuildOptions
    ) -> dict[str, Json]:
        """Write the files `postings` and `nulls`."""
        kind, grouping, nulls = self.grouped(source, options)
        keys = write_inverted(out, kind, grouping.groups())
        return {"keys": keys, "nulls": write_nulls(out, nulls)}

    def open(self, segment: Segment) -> BitmapSearcher:
        """A searcher. Raises Unsupported, Corrupt."""
        check_version(segment, self.name, self.version)
        nulls = recorded(segment, "nulls", 0, segment.rows)
        keys = recorded(segment, "keys", 0, segment.rows - nulls)
        return BitmapSearcher(segment, checked_key_type(segment.type, self.name), keys, nulls)


class BitmapSearcher(InvertedSearcher):
    """An open segment."""

    def rows(self, question: Question) -> BitMap:
        """The ordinals that match. Raises InvalidInput for a question that `answers` refuses."""
        if isinstance(question, IsNull):
            return self.nulls.bitmap
        return self.inverted.union(*places_of(self.inverted.keys, self.kind, question))

    def tally(self, question: Question) -> int:
        """How many there are: a row has one key. Raises as `rows`."""
        if isinstance(question, IsNull):
            return len(self.nulls.bitmap)
        return int(self.inverted.keys.beside(*places_of(self.inverted.keys, self.kind, question)).sum(dtype=np.int64))


__all__ = ["Bitmap", "BitmapSearcher"]
