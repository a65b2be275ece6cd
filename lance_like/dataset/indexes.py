"""Indexes of a handle: the part of `LanceDataset` that makes, lists and drops them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace as replaced
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from lance_like.dataset.arguments import segments_of, texts, uuid_digits
from lance_like.dataset.bound import BoundVersion
from lance_like.dataset.index_build import (
    Building,
    check_segment_files,
    extended,
    parameters_of,
    planned_entry,
    rows_of_fragments,
)
from lance_like.dataset.index_values import (
    Index,
    IndexConfig,
    IndexDescription,
    IndexProgress,
    described,
    fragments_of,
    listed,
)
from lance_like.dataset.results import IndexInformation
from lance_like.dataset.stats import LanceStats
from lance_like.errors import AlreadyExists, CommitUnknown, InvalidInput, NotFound
from lance_like.index.cache import entry_named, open_segment
from lance_like.index.coverage import Coverage, coverage_of, unopened
from lance_like.table.actions import DropIndex, NewIndex, SetIndexes
from lance_like.table.commit import Change, commit
from lance_like.table.history import newest_held
from lance_like.table.indices import IndexEntry
from lance_like.table.lease import Lease
from lance_like.table.lines import line_of
from lance_like.table.manifest import Manifest

if TYPE_CHECKING:
    from uuid import UUID

    import pyarrow as pa

    from lance_like.dataset.handle import LanceDataset
    from lance_like.dataset.index_models import IvfModel

Tell = Callable[[IndexProgress], None] | None

_RETRIES = 20
# What took long to build is not given up for a while of other writers' commits.
_TIMEOUT_S = timedelta(days=1).total_seconds()


class DatasetIndexes(BoundVersion):
    """The methods of `LanceDataset` about indexes. With an index and without it the same rows come back."""

    def create_index(
        self,
        column: str | Sequence[str],
        index_type: str | IndexConfig,
        name: str | None = None,
        metric: str | None = None,
        replace: bool = False,
        num_partitions: int | None = None,
        ivf_centroids: Any = None,
        pq_codebook: Any = None,
        num_sub_vectors: int | None = None,
        *,
        train: bool = True,
        num_threads: int | None = None,
        progress_callback: Tell = None,
        **options: Any,
    ) -> LanceDataset:
        """Make an index of a column of the newest version, and move this handle to the new version.

        column: a name or a dotted path. index_type: of vectors, such as "IVF_PQ", or any other kind. name: by default
        that of the column, without back-ticks, with "_idx". replace: in the place of the one of that name and column.
        train: False: an index of no rows, for `optimize.optimize_indices` to fill.
        progress_callback: told of the stages of the build. The other options are parameters of the kind
        (format_spec/index/), or pylance's that are not needed here.
        Returns this handle. Raises NotFound for an unknown column, AlreadyExists for a name taken, Unsupported for an
        unknown kind, InvalidInput for what the kind cannot index. Memory: bounded, whatever the rows.
        """
        given = {
            "metric": metric,
            "num_partitions": num_partitions,
            "ivf_centroids": ivf_centroids,
            "pq_codebook": pq_codebook,
            "num_sub_vectors": num_sub_vectors,
            **options,
        }
        self._make_index(
            column, index_type, name, given, replace=replace, train=train, threads=num_threads, tell=progress_callback
        )
        return cast("LanceDataset", self)

    def create_scalar_index(
        self,
        column: str,
        index_type: str | IndexConfig,
        name: str | None = None,
        *,
        replace: bool = True,
        train: bool = True,
        fragment_ids: Iterable[int] | None = None,
        index_uuid: str | None = None,
        num_threads: int | None = None,
        progress_callback: Tell = None,
        **options: Any,
    ) -> Index | None:
        """Make an index for filters or text: as `create_index`, in the place of one of its name.

        index_type: "BTREE", "BITMAP", "LABEL_LIST", "NGRAM", "ZONEMAP", "BLOOMFILTER", "INVERTED" (or "FTS") or
        another kind; an `IndexConfig` with parameters; one of "json" is of the values at a path of JSON texts.
        fragment_ids: build a segment for the rows of these, and return it, as `create_index_uncommitted` does.
        """
        watched: dict[str, Any] = {"num_threads": num_threads, "progress_callback": progress_callback}
        if fragment_ids is not None:
            apart = {"fragment_ids": fragment_ids, "index_uuid": index_uuid}
            return self.create_index_uncommitted(column, index_type, name, **apart, **watched, **options)
        options["index_uuid"] = index_uuid
        self._make_index(
            column, index_type, name, options, replace=replace, train=train, threads=num_threads, tell=progress_callback
        )
        return None

    def create_index_uncommitted(
        self,
        column: str | Sequence[str],
        index_type: str | IndexConfig,
        name: str | None = None,
        *,
        fragment_ids: Iterable[int] | None = None,
        index_uuid: str | None = None,
        num_threads: int | None = None,
        progress_callback: Tell = None,
        train: bool = True,
        **options: Any,
    ) -> Index:
        """Build a segment for the rows of some fragments of this version, to be committed later, by any process.

        `commit_existing_index_segments` makes those of all fragments an index.
        fragment_ids: None: all. index_uuid: with or without hyphens; None: a new one. train: False is refused, a
        segment has rows. Options as in `create_index`. A cleanup keeps what is not committed for 7 days. Raises as
        `create_index`.
        """
        if not train:
            raise InvalidInput("train=False: a segment has rows", hint="create_index takes train=False")
        given = parameters_of(options)
        manifest, building = self._manifest, Building(self._session, progress_callback, num_threads, given)
        entry = planned_entry(self._session, manifest, _single(column), index_type, name, given)
        rows = manifest.tree.all_row_ids
        if fragment_ids is not None:
            rows = rows_of_fragments(manifest, rows, set(fragment_ids))
        named = None if index_uuid is None else uuid_digits("index_uuid", index_uuid)
        made = building.segment(manifest, entry, rows, uuid=named)
        if not made:
            raise InvalidInput("these fragments have no rows to build a segment from", kind="rows")
        return self._uncommitted(manifest, entry.with_segments(made))

    def commit_existing_index_segments(
        self, index_name: str, column: str, segments: Sequence[Index], *, replace: bool = False
    ) -> LanceDataset:
        """Make segments that were built apart one index, and move this handle to the new version.

        Raises InvalidInput unless they are of one kind and column, and of different rows.
        """
        entry = replaced(self._together(segments, column), name=index_name)
        check_segment_files(self._session.store, [entry])
        new = NewIndex(entry, "replace" if replace else "create")
        # What was done since the first of them was built is judged from there.
        base = self._version(min(segment.version for segment in entry.segments))
        self._committed(commit(self._store, base, SetIndexes((new,), base.version)))
        return cast("LanceDataset", self)

    def merge_existing_index_segments(self, segments: Sequence[Index]) -> Index:
        """Build one segment of the rows of several that were built apart, to be committed in their place.

        It takes over what the largest of them learnt, and has the values of this version. Raises InvalidInput unless
        they are of one kind and column, and of different rows. Cost: as to build it.
        """
        entry, manifest = self._together(segments), self._manifest
        check_segment_files(self._session.store, [entry])
        opened = partial(open_segment, self._session.store, manifest, entry)
        coverage = coverage_of(manifest, entry, lambda segment: opened(segment).searcher)
        largest = max(coverage.segments, key=lambda held: held.valid_rows)
        made = Building(self._session).segment(manifest, entry, coverage.held, prior=largest.searcher)
        if not made:
            raise InvalidInput("the rows of these segments are gone", kind="rows")
        return self._uncommitted(manifest, entry.with_segments(made))

    @property
    def has_index(self) -> bool:
        """Whether there is any index."""
        return bool(self._manifest.indices)

    def list_indices(self) -> list[IndexInformation]:
        """The segments of all indexes: name, type, uuid, fields, version and the fragments it has rows of.

        An index that has no segment yet is there too, with the uuid None.
        """
        return [segment for coverage in self._coverages() for segment in listed(self._manifest, coverage)]

    def describe_indices(self) -> list[IndexDescription]:
        """The indexes, with their segments, rows and bytes."""
        return [described(self._manifest, coverage) for coverage in self._coverages()]

    def index_statistics(self, index_name: str) -> dict[str, Any]:
        """Rows and fragments that an index answers for, and those that it does not; its segments and bytes.

        Raises NotFound.
        """
        return LanceStats(self._session, self._manifest).index_stats(index_name)

    def get_ivf_model(self, index_name: str) -> IvfModel:
        """The centroids of a vector index; where it has several segments, of that with the most rows.

        Raises NotFound, InvalidInput for an index that has none.
        """
        from lance_like.dataset.index_models import ivf_model_of  # which loads what only vectors need

        return ivf_model_of(self._session.indexes.coverage(self._manifest, index_name))

    def centroids(self, *, index_name: str | None = None, column: str | None = None) -> pa.FixedSizeListArray:
        """The centroids of a vector index, by its name, or of the first index of a column; see `get_ivf_model`."""
        if index_name is None and column is not None:
            found = self._manifest.schema.find(column)
            known = self._session.indexes.of_field(self._manifest, found.id, "vector")
            if not known:
                raise NotFound(f"no index of {column!r} is of vectors", kind="index")
            index_name = known[0].name
        if index_name is None:
            raise InvalidInput("centroids takes an index_name or a column")
        return self.get_ivf_model(index_name).centroids

    def drop_index(self, name: str) -> None:
        """Drop an index and move this handle to the new version; old versions keep it. Raises NotFound."""
        self._commit(DropIndex(name))

    def prewarm_index(
        self, name: str, *, with_position: bool = False, index_segments: Iterable[str | UUID] | None = None
    ) -> None:
        """Read all of an index that a search may need into memory, as far as the handle keeps it.

        with_position: accepted, not needed. index_segments: the uuids of those to read; None: all. Raises NotFound,
        Unsupported.
        """
        coverage, chosen = self._session.indexes.coverage(self._manifest, name), segments_of(index_segments)
        for segment in (coverage if chosen is None else coverage.only(chosen)).segments:
            segment.searcher.prewarm()

    # -- inside --

    def _uncommitted(self, manifest: Manifest, entry: IndexEntry) -> Index:
        """The one segment of an index that no version has, as callers get it."""
        [segment], [ids] = entry.segments, fragments_of(_coverage(manifest, entry))
        return replaced(Index.of(entry, segment, ids), line=line_of(self._store))

    def _together(self, segments: Sequence[Index], column: str | None = None) -> IndexEntry:
        """Segments that were built apart as one index. Raises InvalidInput where they are not one, or of a column."""
        if not segments or not all(isinstance(segment, Index) for segment in segments):
            raise InvalidInput("expected segments as create_index_uncommitted gives them")
        first = segments[0].entry
        fields = first.field_ids if column is None else (self._manifest.schema.find(column).id,)
        if any(one.line != line_of(self._store) for one in segments):
            raise InvalidInput("a segment was built on another branch", kind="index")
        if any(not one.entry.of_same(first) for one in segments) or first.field_ids != fields:
            of = "" if column is None else f" of {column!r}"
            raise InvalidInput(f"the segments are not all of one kind of index{of}", kind="index")
        entry = first.with_segments(tuple(segment for one in segments for segment in one.entry.segments))
        _check_apart(entry)
        return entry

    def _make_index(
        self,
        column: str | Sequence[str],
        kind: str | IndexConfig,
        name: str | None,
        options: dict[str, Any],
        *,
        replace: bool,
        train: bool,
        threads: int | None,
        tell: Tell,
    ) -> None:
        apart = [options.pop(one) for one in ("fragment_ids", "index_uuid") if one in options]
        if any(one is not None for one in apart):
            raise InvalidInput("segments of some fragments are built apart", hint="see create_index_uncommitted")
        given = parameters_of(options)
        building = Building(self._session, tell, threads, given)
        with newest_held(self._store, known=self._manifest) as (newest, lease):
            entry = planned_entry(self._session, newest, _single(column), kind, name, given)
            known = next((known for known in newest.indices if known.name == entry.name), None)
            if known is not None:
                _check_name(known, entry, replace=replace)

            def change(manifest: Manifest | None) -> SetIndexes:
                assert manifest is not None
                made = building.segment(manifest, entry, manifest.tree.all_row_ids) if train else ()
                new = NewIndex(entry.with_segments(made), "replace" if replace else "create")
                return SetIndexes((new,), manifest.version)

            self._commit_built(building, newest, change, lease)

    def _optimize_indexes(self, names: Sequence[str] | None, merged: int | None, *, retrain: bool) -> None:
        """See `DatasetOptimizer.optimize_indices`."""
        building = Building(self._session)
        with newest_held(self._store, known=self._manifest) as (newest, lease):
            for name in names or ():
                entry_named(newest, name)

            def change(manifest: Manifest | None) -> SetIndexes:
                assert manifest is not None
                known = {entry.name for entry, _ in self._session.indexes.usable(manifest)}
                chosen = sorted(known if names is None else set(names))
                found = extended(building, manifest, chosen, merged=merged, retrain=retrain)
                if found is None:
                    raise _NothingToDo
                return found

            try:
                self._commit_built(building, newest, change, lease)
            except _NothingToDo:
                # Perhaps another writer did it.
                cast("LanceDataset", self).checkout_latest()

    def _commit_built(self, building: Building, base: Manifest, change: Change, lease: Lease) -> None:
        """Commit what is built, and remove what was built in vain."""
        try:
            made = commit(self._store, base, change, lease=lease, retries=_RETRIES, timeout_s=_TIMEOUT_S)
        except CommitUnknown:
            raise
        except Exception:  # no interrupt: what was being committed then may be there
            building.discard()
            raise
        building.discard(made.transaction.files_added)
        self._committed(made)

    def _coverages(self) -> list[Coverage]:
        return [_coverage(self._manifest, entry) for entry in sorted(self._manifest.indices, key=lambda e: e.name)]


class _NothingToDo(Exception):
    """The indexes answer for all rows already."""


def _coverage(manifest: Manifest, entry: IndexEntry) -> Coverage:
    """What an index of any kind covers; none of its files is opened."""
    return coverage_of(manifest, entry, unopened)


def _single(column: str | Sequence[str]) -> str:
    named = (column,) if isinstance(column, str) else texts("column", column)
    if len(named) != 1:
        raise InvalidInput(f"column={column!r:.80}: an index is of one column")
    return named[0]


def _check_name(known: IndexEntry, made: IndexEntry, *, replace: bool) -> None:
    """Raise AlreadyExists unless an index may take the place of the one of its name."""
    if not replace:
        raise AlreadyExists(f"the index {made.name!r} already exists", kind="index", hint="pass replace=True")
    if (known.field_ids, known.json) != (made.field_ids, made.json):
        hint = "choose another name, or drop it first"
        raise AlreadyExists(f"the index {made.name!r} is of another column or path", kind="index", hint=hint)


def _check_apart(entry: IndexEntry) -> None:
    runs = np.concatenate([segment.row_ids.runs for segment in entry.segments])
    runs = runs[np.argsort(runs[:, 0], kind="stable")]
    if (runs[:-1, 1] > runs[1:, 0]).any():
        raise InvalidInput("two segments hold the same rows", kind="rows")


__all__ = ["DatasetIndexes"]
