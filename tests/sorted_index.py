"""A kind of index for tests of what all kinds share: the values sorted, with their ordinals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyroaring import BitMap

from lance_like.errors import InvalidInput
from lance_like.index.base import BuildOptions, IndexSource, Segment, SegmentWrites
from lance_like.index.coverage import Coverage
from lance_like.index.questions import Answer, OneOf, Question
from lance_like.typing_ import Json


class SortedIndex:
    """Answers equality of values that sort."""

    name, kind, version = "SORTED", "filter", 1

    def __init__(self) -> None:
        self.built: list[int] = []
        self.priors: list[Any] = []

    def params(self, type: pa.DataType, given: Mapping[str, Any]) -> dict[str, Json]:
        unknown = given.keys() - {"strength"}
        if unknown or pa.types.is_nested(type):
            raise InvalidInput(f"SORTED takes no {sorted(unknown)} of {type}")
        return {"strength": 1, **given}

    def answers(self, type: pa.DataType, params: Mapping[str, Json], question: Question) -> Answer:
        return Answer.EXACT if isinstance(question, OneOf) else Answer.NO

    def build(
        self, source: IndexSource, params: Mapping[str, Json], out: SegmentWrites, options: BuildOptions
    ) -> dict[str, Json]:
        self.built.append(source.rows)
        self.priors.append(options.prior)
        arrays = list(source.batches())
        values = pa.concat_arrays(arrays) if arrays else pa.nulls(0, source.type)
        assert len(values) == source.rows
        options.progress("sort", source.rows, source.rows)
        order = pc.array_sort_indices(values).cast(pa.uint32())
        batch = pa.record_batch([values.take(order), order], names=["value", "row"])
        out.write("sorted", batch.schema, [batch], {"of": "tests"})
        return {"rows": source.rows}

    def open(self, segment: Segment) -> SortedSearcher:
        return SortedSearcher(segment)


class SortedSearcher:
    """An open segment: all of it is read with the first question."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._read: tuple[pa.Array, pa.Array] | None = None

    @property
    def nbytes_cached(self) -> int:
        return 0 if self._read is None else sum(array.nbytes for array in self._read)

    def prewarm(self) -> None:
        self._arrays()

    def _arrays(self) -> tuple[pa.Array, pa.Array]:
        if self._read is None:
            values, rows = self._segment.files.file("sorted").columns(["value", "row"])
            self._read = values, rows
        return self._read

    def rows(self, question: Question) -> BitMap:
        assert isinstance(question, OneOf)
        values, rows = self._arrays()
        return BitMap(rows.filter(pc.is_in(values, question.values)).to_pylist())


def ids_found(coverage: Coverage, *values: Any) -> set[int]:
    """The row ids that the segments of an index hold validly for some values."""
    found: set[int] = set()
    for segment in coverage.segments:
        kind = segment.segment.files and segment.searcher._arrays()[0].type
        hits = segment.searcher.rows(OneOf(pa.array(values, kind)))
        hits = hits if segment.valid is None else hits & segment.valid
        found |= set(segment.ids(np.array(hits, np.int64)).tolist())
    return found
