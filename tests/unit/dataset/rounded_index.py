"""A vector index for tests of searches: it compares rounded vectors, and remembers what it was asked."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pyroaring import BitMap

from lance_like import LanceDataset
from lance_like.index.base import BuildOptions, Hits, IndexSource, Nearest, Segment, SegmentWrites
from lance_like.index.files import ArraySource, SegmentWriter
from lance_like.index.questions import Answer, Question
from lance_like.index.vector import exact
from lance_like.table.actions import NewIndex, SetIndexes
from lance_like.table.indices import IndexEntry, IndexSegment, RowRuns
from lance_like.typing_ import Json


@dataclass
class Rounded:
    """The plug-in. few: of so many allowed rows or fewer it says that they are to be compared exactly.

    most: rows that it finds at most, of each query. asked: (k, how many rows were allowed) of each search.
    """

    name: ClassVar[str] = "ROUNDED"
    kind: ClassVar[str] = "vector"
    version: ClassVar[int] = 1
    few: int = 0
    most: int | None = None
    asked: list[tuple[int, int | None]] = field(default_factory=list)

    def params(self, type: pa.DataType, given: Mapping[str, Any]) -> dict[str, Json]:
        return {"metric": exact.check_vectors(type, given.get("metric"))}

    def answers(self, type: pa.DataType, params: Mapping[str, Json], question: Question) -> Answer:
        return Answer.NO

    def build(
        self, source: IndexSource, params: Mapping[str, Json], out: SegmentWrites, options: BuildOptions
    ) -> dict[str, Json]:
        values = pa.concat_arrays(list(source.batches()))
        out.write("vectors", pa.schema({"v": values.type}), [pa.RecordBatch.from_arrays([values], ["v"])])
        return {}

    def open(self, segment: Segment) -> RoundedSearcher:
        return RoundedSearcher(self, segment)


@dataclass
class RoundedSearcher:
    plugin: Rounded
    segment: Segment
    nbytes_cached: int = 0
    refine_factor: int = 4

    @property
    def metric(self) -> str:
        return str(self.segment.params["metric"])

    def prewarm(self) -> None:
        pass

    def prefers_exact(self, allowed: int, how: Nearest) -> bool:
        return allowed <= self.plugin.few

    def nearest(self, queries: np.ndarray, how: Nearest, allow: BitMap | None) -> Hits:
        assert how.metric == self.metric
        self.plugin.asked.append((how.k, None if allow is None else len(allow)))
        [vectors] = self.segment.files.file("vectors").columns(["v"])
        scores = exact.distances(queries, vectors, how.metric)
        scores = np.round(scores * 2) / 2
        rows = np.arange(self.segment.rows)
        kept = np.ones(len(rows), bool) if allow is None else np.isin(rows, np.array(allow))
        ids = np.where(kept, rows, -1) * np.ones((len(queries), 1), np.int64)
        found = exact.rank(ids, scores, replace(how, within=(None, None)))
        if self.plugin.most is not None:
            found.ordinals[:, self.plugin.most :] = -1
        return found


def add_index(ds: LanceDataset, column: str, plugin: Any, name: str = "near", **params: Any) -> None:
    """Index the rows of a version with a plug-in."""
    table = ds.to_table(columns=[column], with_row_id=True)
    source = ArraySource(table[column])
    checked = plugin.params(source.type, params)
    writer = SegmentWriter(ds._store)
    detail = plugin.build(source, checked, writer, BuildOptions())
    runs = RowRuns.of(table["_rowid"].to_numpy().astype(np.int64))
    segment = IndexSegment(uuid.uuid4().hex, ds.version, 1, 1, writer.files, runs, detail)
    found = ds._manifest.schema.find(column)
    entry = IndexEntry(name, plugin.name, (found.id,), checked, (segment,))
    ds._commit(SetIndexes((NewIndex(entry),), ds.version))
