"""`ds.optimize` and `lance_like.optimize`: compaction in one call, or as tasks that other processes execute.

A plan, its tasks and their results are values: they pickle, and are JSON. Committing results does what `compact_files`
does: groups of fragments that others changed meanwhile are left as they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from lance_like.dataset.compact import CompactionOptions, Group, plan_groups, rewritten, write_group
from lance_like.dataset.moving import Mode
from lance_like.dataset.upkeep import CLEANUP, COMPACT, INDEX, AutoCleanupConfig, auto_cleanup, check_interval
from lance_like.errors import InvalidInput
from lance_like.file.layout import parse_json
from lance_like.io.store import discard
from lance_like.query.session import Session
from lance_like.table import shape
from lance_like.table.actions import NewFile, Rewrite
from lance_like.table.commit import Change, commit
from lance_like.table.fragment import MAX_FRAGMENT_ID, DataFile, file_from_json
from lance_like.table.layout import MAX_VERSION
from lance_like.table.manifest import Manifest
from lance_like.table.snapshot import read_manifest
from lance_like.typing_ import Json, whole

if TYPE_CHECKING:
    from lance_like.dataset.handle import LanceDataset

_WHERE = "a compaction as JSON"


@dataclass(frozen=True, slots=True)
class CompactionMetrics:
    """How many fragments, and files of them, a compaction took away and made."""

    fragments_removed: int = 0
    fragments_added: int = 0
    files_removed: int = 0
    files_added: int = 0

    @staticmethod
    def of(groups: Iterable[Group]) -> CompactionMetrics:
        """Of groups that become one file each."""
        counts = [(len(group), sum(len(fragment.files) for fragment in group)) for group in groups]
        fragments, files = (sum(column) for column in zip(*counts, strict=True)) if counts else (0, 0)
        return CompactionMetrics(fragments, len(counts), files, len(counts))


@dataclass(frozen=True, slots=True)
class CompactionTask:
    """Fragments of a version that are to be one. Whoever has the table can do it."""

    read_version: int
    fragment_ids: tuple[int, ...]
    options: CompactionOptions = field(default_factory=CompactionOptions)

    def execute(self, dataset: LanceDataset) -> RewriteResult:
        """Write the new file. Nothing changes until the result is committed. Raises NotFound."""
        manifest = _version_of(dataset, self.read_version)
        group = _group(manifest, self.fragment_ids)
        file = write_group(dataset._session, manifest, group, self.options)
        return RewriteResult(self.read_version, self.fragment_ids, file, CompactionMetrics.of([group]))

    def json(self) -> str:
        """The task as text."""
        return json.dumps(self._to_json())

    @staticmethod
    def from_json(text: str) -> CompactionTask:
        """The inverse of `json`. Raises Corrupt, InvalidInput."""
        return CompactionTask._from_json(parse_json(text.encode(), _WHERE), _WHERE)

    def _to_json(self) -> Json:
        options = {name: value for name, value in asdict(self.options).items() if value is not None}
        return {"read_version": self.read_version, "fragment_ids": self.fragment_ids, "options": options}

    @staticmethod
    def _from_json(value: Json, where: str) -> CompactionTask:
        holder = shape.mapping(value, where)
        options = CompactionOptions.of(shape.mapping(shape.member(holder, "options", where), where))
        return CompactionTask(_version(holder), _ids(holder), options)


@dataclass(frozen=True, slots=True)
class CompactionPlan:
    """What a compaction of a version does: tasks that do not depend on one another."""

    read_version: int
    tasks: list[CompactionTask]

    def num_tasks(self) -> int:
        """How many tasks there are."""
        return len(self.tasks)

    def json(self) -> str:
        """The plan as text."""
        return json.dumps({"read_version": self.read_version, "tasks": [task._to_json() for task in self.tasks]})

    @staticmethod
    def from_json(text: str) -> CompactionPlan:
        """The inverse of `json`. Raises Corrupt, InvalidInput."""
        holder = shape.mapping(parse_json(text.encode(), _WHERE), _WHERE)
        return CompactionPlan(_version(holder), list(shape.each(holder, "tasks", _WHERE, CompactionTask._from_json)))


@dataclass(frozen=True, slots=True)
class RewriteResult:
    """What a task wrote: a file with the live rows of some fragments of a version."""

    read_version: int
    fragment_ids: tuple[int, ...]
    file: NewFile
    metrics: CompactionMetrics

    def json(self) -> str:
        """The result as text."""
        file = self.file
        # The columns' numbers stand for their fields, which the version says.
        stored = DataFile(
            file.path, file.nbytes, file.tail, file.rows, ((0, file.columns),), tuple(enumerate(file.stats))
        )
        body = {
            "read_version": self.read_version,
            "fragment_ids": self.fragment_ids,
            "file": stored.to_json(),
            "metrics": asdict(self.metrics),
        }
        return json.dumps(body)

    @staticmethod
    def from_json(text: str) -> RewriteResult:
        """The inverse of `json`. Raises Corrupt."""
        holder = shape.mapping(parse_json(text.encode(), _WHERE), _WHERE)
        stored = file_from_json(shape.member(holder, "file", _WHERE), _WHERE)
        stats = tuple(entry for _, entry in stored.stats)
        file = NewFile(stored.path, stored.nbytes, stored.tail, stored.rows, len(stored.field_ids), stats)
        counts = shape.mapping(shape.member(holder, "metrics", _WHERE), _WHERE)
        metrics = CompactionMetrics(*(shape.integer(counts, name, _WHERE) for name in asdict(CompactionMetrics())))
        return RewriteResult(_version(holder), _ids(holder), file, metrics)


class Compaction:
    """A compaction in its steps: `plan` once, `execute` each task anywhere, `commit` the results once."""

    @staticmethod
    def plan(dataset: LanceDataset, options: Mapping[str, Any] | None = None) -> CompactionPlan:
        """What there is to do in the version of a handle. options: those of `ds.optimize.compact_files`."""
        chosen = CompactionOptions.of(options or {})
        groups = plan_groups(dataset._manifest, chosen)
        tasks = [CompactionTask(dataset.version, tuple(f.id for f in group), chosen) for group in groups]
        return CompactionPlan(dataset.version, tasks)

    @staticmethod
    def commit(
        dataset: LanceDataset, rewrites: Sequence[RewriteResult], options: Mapping[str, Any] | None = None
    ) -> CompactionMetrics:
        """Make the files that tasks of one plan wrote part of the table, and move the handle to the new version.

        What others changed meanwhile is left out. Raises Conflict when nothing is left, InvalidInput for results of
        several versions. options: accepted, as in pylance, and not needed.
        """
        CompactionOptions.of(options or {})
        if not rewrites:
            return CompactionMetrics()
        if len({result.read_version for result in rewrites}) > 1:
            raise InvalidInput("the results come from several versions", hint="commit those of one plan at a time")
        manifest = _version_of(dataset, rewrites[0].read_version)
        groups = {result.file.path: (_group(manifest, result.fragment_ids), result.file) for result in rewrites}
        return _commit(dataset, manifest, rewritten(manifest, list(groups.values())), groups)

    @staticmethod
    def execute(dataset: LanceDataset, options: Mapping[str, Any] | None = None) -> CompactionMetrics:
        """Plan, execute and commit; moves the handle. As `ds.optimize.compact_files`."""
        return _compact(dataset, CompactionOptions.of(options or {}))


class _NothingToDo(Exception):
    """Another writer compacted all that was to be compacted."""


class _Compact:
    """The change of a compaction. Made again on a newer version, it writes only what is not written yet.

    written: path -> group and file.
    """

    def __init__(self, session: Session, options: CompactionOptions) -> None:
        self._session, self._options = session, options
        self._done: dict[tuple[Group, tuple[int, ...]], NewFile] = {}
        self.written: dict[str, tuple[Group, NewFile]] = {}

    def __call__(self, manifest: Manifest | None) -> Rewrite:
        assert manifest is not None
        groups = plan_groups(manifest, self._options)
        if not groups:
            raise _NothingToDo
        return rewritten(manifest, [(group, self._file(manifest, group)) for group in groups])

    def _file(self, manifest: Manifest, group: Group) -> NewFile:
        key = group, tuple(field.id for field in manifest.schema.fields)
        if key not in self._done:
            file = self._done[key] = write_group(self._session, manifest, group, self._options)
            self.written[file.path] = group, file
        return self._done[key]


def _compact(dataset: LanceDataset, options: CompactionOptions) -> CompactionMetrics:
    """Plan, execute and commit. No version is made when there is nothing to do."""
    if not plan_groups(dataset._manifest, options):
        return CompactionMetrics()
    change = _Compact(dataset._session, options)
    try:
        return _commit(dataset, dataset._manifest, change, change.written)
    except _NothingToDo:
        discard(dataset._store, change.written)
        dataset.checkout_latest()
        return CompactionMetrics()


def _commit(
    dataset: LanceDataset, base: Manifest, change: Change, written: Mapping[str, tuple[Group, NewFile]]
) -> CompactionMetrics:
    manifest = commit(dataset._store, base, change)
    dataset._move(manifest)
    kept = set(manifest.transaction.files_added)
    discard(dataset._store, written.keys() - kept)
    return CompactionMetrics.of(group for path, (group, _) in written.items() if path in kept)


class DatasetOptimizer:
    """`ds.optimize`: fewer, fuller files."""

    def __init__(self, dataset: LanceDataset) -> None:
        self._dataset = dataset

    def compact_files(
        self,
        *,
        target_rows_per_fragment: int | None = None,
        max_rows_per_group: int | None = None,
        max_bytes_per_file: int | None = None,
        materialize_deletions: bool | None = None,
        materialize_deletions_threshold: float | None = None,
        defer_index_remap: bool | None = None,
        num_threads: int | None = None,
        batch_size: int | None = None,
        compaction_mode: Mode | None = None,
        binary_copy_read_batch_bytes: int | None = None,
        max_source_fragments: int | None = None,
        max_source_rows: int | None = None,
        max_source_bytes: int | None = None,
        excluded_fragment_ids: Sequence[int] | None = None,
        data_storage_version: str | None = None,
    ) -> CompactionMetrics:
        """Write the rows of small fragments, and of those with many deleted rows, into fewer files.

        Rows keep their order, ids and versions; columns that were dropped go. A second call does nothing.
        target_rows_per_fragment (1,048,576), max_bytes_per_file (2 GiB): neighbours are joined up to so many rows and
        bytes; a fragment of so many rows, or of half so many bytes, is large enough.
        materialize_deletions (True), materialize_deletions_threshold (0.1): fragments of which a greater share of rows
        is deleted are written anew, also alone.
        num_threads, batch_size: of the reads.
        compaction_mode: "try_binary_copy" (the default) moves pages as they are where that pays, and encodes the other
        rows anew; "reencode" moves none; "force_binary_copy" moves all.
        max_source_fragments, max_source_rows, max_source_bytes: bounds of one call, which takes the oldest first.
        excluded_fragment_ids: stay as they are, and part their neighbours. The other options: accepted, not needed.
        Beside other writers: what they change meanwhile is left as it is.
        Raises Conflict, InvalidInput, Unsupported for pages that must move and cannot: rows of their fragment are
        deleted, or a struct lies in several files. Memory: what a scan and a writer take, whatever the rows.
        """
        options = CompactionOptions(
            target_rows_per_fragment=target_rows_per_fragment,
            max_bytes_per_file=max_bytes_per_file,
            materialize_deletions=materialize_deletions,
            materialize_deletions_threshold=materialize_deletions_threshold,
            num_threads=num_threads,
            batch_size=batch_size,
            compaction_mode=compaction_mode,
            max_source_fragments=max_source_fragments,
            max_source_rows=max_source_rows,
            max_source_bytes=max_source_bytes,
            excluded_fragment_ids=excluded_fragment_ids,
        )
        return _compact(self._dataset, options)

    def optimize_indices(
        self,
        *,
        num_indices_to_merge: int | None = None,
        index_names: Sequence[str] | None = None,
        retrain: bool = False,
    ) -> None:
        """Have indexes answer for rows that came or changed since they were built, as one new version.

        Without it they are searched row by row. A second call does nothing.
        num_indices_to_merge: so many of the newest segments are built anew with what is new: 0 only adds one. None:
        those that are not much larger than what is new, and those most of whose rows are gone; so a row is built into
        a segment a few times, however often this is called.
        index_names: None: all of kinds that are known here. retrain: each index anew, in one segment.
        Raises NotFound for an unknown name, Conflict.
        """
        if num_indices_to_merge is not None and whole(num_indices_to_merge) is None:
            raise InvalidInput(f"num_indices_to_merge={num_indices_to_merge!r}: expected a number from 0 on")
        if isinstance(index_names, str):
            raise InvalidInput(f"index_names={index_names!r} is one text: expected a list of names")
        self._dataset._optimize_indexes(index_names, num_indices_to_merge, retrain=retrain)

    def enable_auto_cleanup(self, auto_cleanup_config: AutoCleanupConfig) -> None:
        """Have old versions removed after every so many commits; a failure there is a warning, not one of the commit.

        auto_cleanup_config: {"interval": versions, by default 20, "older_than_seconds": age, by default 14 days}. Kept
        in the table's configuration (`ds.config()`, "lance.auto_cleanup.…"): every writer does it.
        """
        self._dataset.update_config(auto_cleanup(auto_cleanup_config))

    def disable_auto_cleanup(self) -> None:
        """Have old versions stay until somebody removes them."""
        self._dataset.delete_config_keys([CLEANUP + "interval", CLEANUP + "older_than"])

    def enable_auto_compaction(self, interval: int) -> None:
        """Have small files compacted after every so many commits, 1 GiB at a time; a failure there is a warning.

        Kept in the table's configuration ("lance_like.auto_compact.interval").
        """
        check_interval(interval)
        self._dataset.update_config({COMPACT + "interval": f"{interval}"})

    def disable_auto_compaction(self) -> None:
        """Have files stay as they are until somebody compacts them."""
        self._dataset.delete_config_keys([COMPACT + "interval"])

    def enable_auto_index(self, rows: int) -> None:
        """Have indexes extended after a commit that leaves more than so many rows out; a failure there is a warning.

        The commit waits for it. Kept in the table's configuration ("lance_like.auto_index.rows"): every writer does it.
        """
        if whole(rows) is None:
            raise InvalidInput(f"rows={rows!r}: expected a number from 0 on", kind="config")
        self._dataset.update_config({INDEX + "rows": f"{rows}"})

    def disable_auto_index(self) -> None:
        """Have indexes stay as they are until somebody optimizes them."""
        self._dataset.delete_config_keys([INDEX + "rows"])


def _version_of(dataset: LanceDataset, version: int) -> Manifest:
    """A version of a handle's table. Raises NotFound."""
    if version == dataset.version:
        return dataset._manifest
    return read_manifest(dataset._store, version, known=dataset._manifest)


def _group(manifest: Manifest, fragment_ids: Sequence[int]) -> Group:
    return tuple(manifest.fragment(fragment_id) for fragment_id in fragment_ids)


def _version(holder: dict[str, Json]) -> int:
    return shape.integer(holder, "read_version", _WHERE, low=1, high=MAX_VERSION)


def _ids(holder: dict[str, Json]) -> tuple[int, ...]:
    def checked(value: Json, where: str) -> int:
        return shape.integer({"id": value}, "id", where, high=MAX_FRAGMENT_ID)

    return tuple(shape.each(holder, "fragment_ids", _WHERE, checked))


__all__ = [
    "Compaction",
    "CompactionMetrics",
    "CompactionOptions",
    "CompactionPlan",
    "CompactionTask",
    "DatasetOptimizer",
    "RewriteResult",
]
