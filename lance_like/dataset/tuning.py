"""Tuning a vector index: how it is searched from now on, measured on the rows that it holds."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyroaring import BitMap

from lance_like._lazy import cached
from lance_like.encodings.joining import joined
from lance_like.errors import InvalidInput
from lance_like.index.base import Hits, Nearest, VectorSearcher
from lance_like.index.cache import entry_named
from lance_like.index.coverage import OpenSegment
from lance_like.query.projection import Projection, project
from lance_like.query.session import Session
from lance_like.query.take import place_ids, take_placed
from lance_like.table.actions import NewIndex, SetIndexes
from lance_like.table.manifest import Manifest
from lance_like.table.schema import join_path
from lance_like.typing_ import Int64s

if TYPE_CHECKING:
    from lance_like.index.vector.tuner import Tuning

_STEP_ROWS = 1 << 14


@dataclass(frozen=True)
class SegmentSource:
    """The values that a segment still answers for, by its ordinals; null for the others."""

    session: Session
    manifest: Manifest
    projection: Projection
    segment: OpenSegment

    @property
    def rows(self) -> int:
        """How many."""
        return self.segment.rows

    @property
    def type(self) -> pa.DataType:
        """Of the values."""
        return self.projection.schema.types[0]

    def batches(self) -> Iterator[pa.Array]:
        """The values, some at a time."""
        for start in range(0, self.rows, _STEP_ROWS):
            yield self.take(np.arange(start, min(self.rows, start + _STEP_ROWS)))

    def take(self, ordinals: Int64s) -> pa.Array:
        """The values of some rows, in the order asked."""
        kept = self._valid[ordinals]
        placed = place_ids(self.manifest, self.segment.ids(ordinals[kept]))
        table = take_placed(self.session, self.projection, placed)
        values = joined(table.column(0).chunks) if kept.any() else pa.nulls(0, self.type)
        if kept.all():
            return values
        return values.take(pa.array(np.cumsum(kept) - 1, mask=~kept)) if kept.any() else pa.nulls(len(kept), self.type)

    @cached
    def _valid(self) -> np.ndarray:
        if self.segment.valid is None:
            return np.ones(self.rows, bool)
        flags = np.zeros(self.rows, bool)
        flags[np.frombuffer(self.segment.valid.to_array(), np.uint32)] = True
        return flags


class _Valid:
    """A searcher that finds only what its segment still answers for."""

    def __init__(self, searcher: VectorSearcher, valid: BitMap | None) -> None:
        self._searcher, self._valid = searcher, valid

    def __getattr__(self, name: str) -> Any:
        return getattr(self._searcher, name)

    def nearest(self, queries: np.ndarray, how: Nearest, allow: BitMap | None) -> Hits:
        return self._searcher.nearest(queries, how, self._valid if allow is None else allow)


def tune_segment(
    session: Session, manifest: Manifest, name: str, queries: Any, *, target_recall: float, k: int
) -> Tuning:
    """Measure the largest segment of an index. Raises NotFound, InvalidInput. Cost: a pass over its rows."""
    from lance_like.index.vector.tuner import tune  # which loads faiss

    known = [entry.name for entry, plugin in session.indexes.usable(manifest) if plugin.kind == "vector"]
    entry = entry_named(manifest, name)
    if name not in known:
        raise InvalidInput(f"the index {name!r} is {entry.kind}: only those of vectors are tuned", kind="index")
    segments = session.indexes.coverage(manifest, name).segments
    if not segments:
        raise InvalidInput(f"the index {name!r} holds no rows", kind="index", hint="optimize.optimize_indices()")
    largest = max(segments, key=lambda segment: segment.valid_rows)
    projection = project(manifest.schema, [join_path(manifest.schema.path(entry.field_ids[0]))])
    source = SegmentSource(session, manifest, projection, largest)
    searcher: Any = _Valid(largest.searcher, largest.valid)
    return tune(searcher, source, queries, target_recall=target_recall, k=k)


def tuned(manifest: Manifest, name: str, tuning: Tuning) -> SetIndexes:
    """The index with what was chosen among its parameters. Its files stay; segments that are open are opened anew."""
    entry = entry_named(manifest, name)
    # An open segment is known by its uuid, and has the parameters with which it was opened.
    segments = tuple(replace(segment, uuid=uuid.uuid4().hex) for segment in entry.segments)
    made = replace(entry, params={**entry.params, **tuning.params}, segments=segments)
    return SetIndexes((NewIndex(made, "replace"),), manifest.version)


__all__ = ["tune_segment", "tuned"]
