"""Building segments, and what there is to build when an index has fallen behind. Nothing refers to what is built until
it is committed."""

from __future__ import annotations

import time
import uuid as uuids
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lance_like.dataset.index_source import json_type, source_of
from lance_like.dataset.index_values import IndexConfig, IndexProgress, Stages
from lance_like.errors import Corrupt, InvalidInput
from lance_like.index.base import BuildOptions, IndexPlugin, Searcher
from lance_like.index.coverage import Coverage, OpenSegment
from lance_like.index.files import SegmentReader, SegmentWriter
from lance_like.index.registry import INDEXES
from lance_like.io.store import Store, discard
from lance_like.query.projection import project
from lance_like.query.scan import Scan, run_scan
from lance_like.query.session import Session
from lance_like.table.actions import NewIndex, SetIndexes
from lance_like.table.indices import VALUE_TYPES, IndexEntry, IndexSegment, JsonPath, RowRuns
from lance_like.table.manifest import Manifest
from lance_like.table.rowids import RowIdMap
from lance_like.table.schema import join_path
from lance_like.typing_ import Int64s

_ALIASES = {"FTS": "INVERTED"}
# A segment of which a smaller share of rows is valid is built anew.
_WORN = 0.5
# Segments of up to so many times the rows of a new one are built anew with it: a row is then written again log times.
_GROWTH = 2
_LOOKED_AT = 10_000
# pylance's parameters that change nothing here; "zone_size" is of a BTREE.
_HINTS = frozenset(
    {
        "filter_nan",
        "format_version",
        "index_cache_size",
        "precomputed_partition_dataset",
        "shuffle_partition_batches",
        "shuffle_partition_concurrency",
        "skip_transpose",
        "storage_options",
        "streaming_coreset_rate",
        "streaming_refine_passes",
        "streaming_sample_rate",
        "zone_size",
    }
)


@dataclass(frozen=True)
class Building:
    """How segments are built. tell: told of the stages. threads: None for all cores. given: the caller's parameters."""

    session: Session
    tell: Callable[[IndexProgress], None] | None = None
    threads: int | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    written: list[str] = field(default_factory=list)

    def segment(
        self,
        manifest: Manifest,
        entry: IndexEntry,
        rows: RowIdMap,
        *,
        prior: Searcher | None = None,
        uuid: str | None = None,
    ) -> tuple[IndexSegment, ...]:
        """A segment for some rows of a version; () for none. Raises what the plug-in raises."""
        source = source_of(self.session, manifest, entry, rows)
        if source.rows == 0:
            return ()
        row_ids = RowRuns.of_runs(_joined_runs(rows))
        plugin: IndexPlugin = INDEXES.get(entry.kind)
        writer, stages = SegmentWriter(self.session.store), Stages(self.tell)
        try:
            options = BuildOptions(prior=prior, progress=stages, threads=self.threads, given=self.given)
            detail = plugin.build(source, entry.params, writer, options)
        finally:
            self.written.extend(file.path for file in writer.files)
        stages.close()
        return (
            IndexSegment(
                uuid=uuid or uuids.uuid4().hex,
                version=manifest.version,
                format=plugin.version,
                created_us=time.time_ns() // 1000,
                files=writer.files,
                row_ids=row_ids,
                detail=detail,
            ),
        )

    def discard(self, kept: Iterable[str] = ()) -> None:
        """Remove the files that were written but for some."""
        discard(self.session.store, set(self.written).difference(kept))


def check_segment_files(store: Store, entries: Iterable[IndexEntry]) -> None:
    """Raise InvalidInput unless the files of segments are there, and are what was recorded."""
    for entry in entries:
        for segment in entry.segments:
            reader = SegmentReader(store, segment.files)
            try:
                for file in segment.files:
                    reader.file(file.name)
            except Corrupt as error:
                raise InvalidInput(f"a segment cannot be used: {error.message}", where=error.where) from error


def _joined_runs(rows: RowIdMap) -> Int64s:
    """The ids of a map as runs that do not touch."""
    spans = rows.spans
    begins = np.concatenate(([True], spans[1:, 0] != spans[:-1, 1]))
    return np.stack((spans[begins, 0], spans[np.append(begins[1:], True), 1]), axis=1)


def parameters_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of an index but for hints; numbers as Python has them, since they are written as JSON."""
    told = {name: value for name, value in options.items() if name not in _HINTS}
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in told.items()}


def planned_entry(
    session: Session,
    manifest: Manifest,
    column: str,
    kind: str | IndexConfig,
    name: str | None,
    given: Mapping[str, Any],
) -> IndexEntry:
    """An index to be made, without segments.

    given: its parameters; those that are None are not given.
    Raises NotFound for an unknown column, Unsupported for an unknown kind, InvalidInput for what the kind cannot index.
    """
    given = {key: value for key, value in given.items() if value is not None}
    if isinstance(kind, IndexConfig) or hasattr(kind, "index_type"):
        given = {**parameters_of(kind.parameters), **given}
        kind = kind.index_type
    if not isinstance(kind, str):
        raise InvalidInput(f"index_type={kind!r:.80}: expected the name of a kind of index")
    found = manifest.schema.find_in_any_case(column)
    names = manifest.schema.path(found.id)
    path = _json_path(session, manifest, join_path(names), given) if kind.upper() == "JSON" else None
    kind = given.pop("target_index_type", "BTREE") if path else kind
    kind = _ALIASES.get(kind.upper(), kind.upper())
    plugin: IndexPlugin = INDEXES.get(kind)
    entry = IndexEntry(name or f"{'.'.join(names)}_idx", kind, (found.id,), {}, json=path)
    return replace(entry, params=plugin.params(entry.value_type(manifest.schema), given))


def rows_of_fragments(manifest: Manifest, rows: RowIdMap, fragment_ids: set[int]) -> RowIdMap:
    """Those of the rows that lie in some fragments. Raises NotFound for one that is not there."""
    known = [fragment.id for fragment in manifest.fragments]
    for fragment_id in fragment_ids.difference(known):
        manifest.fragment(fragment_id)  # raises NotFound
    chosen = np.isin(np.array(known)[rows.fragments], list(fragment_ids)) if known else np.zeros(0, bool)
    return RowIdMap(rows.starts[chosen], rows.ends[chosen], rows.fragments[chosen], rows.offsets[chosen])


def _json_path(session: Session, manifest: Manifest, column: str, given: dict[str, Any]) -> JsonPath:
    """What is indexed of JSON texts; takes its parameters out of those given."""
    path, kind = given.pop("path", None), given.pop("value_type", None)
    if not isinstance(path, str) or not path:
        raise InvalidInput(f"path={path!r}: an index of JSON needs the path of its values", hint='write "$.a.b"')
    path = path if path[0] in "$/" else f"$.{path}"
    if kind is None:
        kind = _type_at(session, manifest, column, path)
    if kind not in VALUE_TYPES:
        raise InvalidInput(f"value_type={kind!r}: expected one of {sorted(VALUE_TYPES)}")
    return JsonPath(path, kind)


def _type_at(session: Session, manifest: Manifest, column: str, path: str) -> str:
    scan = Scan(project(manifest.schema, [column]), limit=_LOOKED_AT)
    for batch in run_scan(session, manifest, scan):
        return json_type(batch.column(0), path)
    return "string"


def extended(
    building: Building, manifest: Manifest, names: Sequence[str], *, merged: int | None, retrain: bool
) -> SetIndexes | None:
    """The change that has indexes of a version answer for all its rows; None when there is nothing to do.

    merged: how many of the newest segments are built anew with what is new; None: those that are not much larger than
    it, and those that are worn. retrain: all in one, from scratch.
    Cost: the rows that are new, and those of the segments built anew.
    """
    made: list[NewIndex] = []
    for name in names:
        coverage = building.session.indexes.coverage(manifest, name)
        gone = _to_replace(coverage, merged, retrain=retrain)
        if not gone and coverage.uncovered_rows == 0:
            continue
        rows = coverage.left(gone)
        prior = None if retrain else _prior(coverage)
        segments = building.segment(manifest, coverage.entry, rows, prior=prior)
        entry = coverage.entry.with_segments(segments)
        made.append(NewIndex(entry, "extend", tuple(held.segment.uuid for held in gone)))
    return SetIndexes(tuple(made), manifest.version) if made else None


def _to_replace(coverage: Coverage, merged: int | None, *, retrain: bool) -> list[OpenSegment]:
    """The segments whose rows a new one is to hold too."""
    if retrain:
        return list(coverage.segments)
    empty = [held for held in coverage.segments if held.valid_rows == 0]
    if merged is not None:
        newest = sorted(coverage.segments, key=lambda held: held.segment.created_us)
        chosen = newest[len(newest) - merged :] if merged else []
        # One segment alone would only be copied.
        few = len(chosen) < 2 and coverage.uncovered_rows == 0
        return empty if few else list(dict.fromkeys([*chosen, *empty]))
    worn = [held for held in coverage.segments if held.valid_rows < _WORN * held.rows]
    rows = coverage.uncovered_rows + sum(held.valid_rows for held in worn)
    chosen = worn
    for held in sorted(coverage.segments, key=lambda held: held.valid_rows):
        if rows and held not in chosen and held.valid_rows <= _GROWTH * rows:
            chosen.append(held)
            rows += held.valid_rows
    return chosen


def _prior(coverage: Coverage) -> Searcher | None:
    """The largest segment: what it was trained on is most like the whole."""
    largest = max(coverage.segments, key=lambda held: held.valid_rows, default=None)
    return None if largest is None else largest.searcher


__all__ = ["Building", "check_segment_files", "extended", "planned_entry", "rows_of_fragments"]
