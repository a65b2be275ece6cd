"""Compaction: the rows of small or worn fragments in fewer files. Which ones is decided purely; ids of rows stay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any, get_args

import numpy as np

from lance_like.dataset.blob import resolve
from lance_like.dataset.moving import Mode, Moving
from lance_like.dataset.write import write_file
from lance_like.errors import InvalidInput
from lance_like.file.writer import FileWriter
from lance_like.query.session import Session
from lance_like.table.actions import NewFile, NewFragment, Rewrite, RewrittenGroup
from lance_like.table.fragment import MAX_ROWS, Fragment
from lance_like.table.lineage import Runs, concatenated, of_rows, values_at
from lance_like.table.manifest import Manifest
from lance_like.table.rowids import ids_at
from lance_like.typing_ import whole

Group = tuple[Fragment, ...]
"""Neighbours in scan order, whose live rows are to be one fragment."""

_ROWS = 1 << 20
_NBYTES = 2 << 30


@dataclass(frozen=True, slots=True)
class CompactionOptions:
    """What is compacted, and how; None: the default.

    target_rows_per_fragment (1,048,576), max_bytes_per_file (2 GiB): neighbours are joined up to so many rows and
    bytes. A fragment of half so many bytes, or of so many rows, is large enough.
    materialize_deletions (True), materialize_deletions_threshold (0.1): fragments of which a greater share of rows is
    deleted are written anew, also alone.
    num_threads, batch_size: of the reads. compaction_mode: whether pages move as they are where that pays
    ("try_binary_copy", the default), never ("reencode") or always ("force_binary_copy": Unsupported where they cannot).
    max_source_fragments, max_source_rows, max_source_bytes: bounds of one run, which takes the oldest first.
    excluded_fragment_ids: stay as they are, and part their neighbours.
    """

    target_rows_per_fragment: int | None = None
    max_bytes_per_file: int | None = None
    materialize_deletions: bool | None = None
    materialize_deletions_threshold: float | None = None
    num_threads: int | None = None
    batch_size: int | None = None
    compaction_mode: Mode | None = None
    max_source_fragments: int | None = None
    max_source_rows: int | None = None
    max_source_bytes: int | None = None
    excluded_fragment_ids: Sequence[int] | None = None

    def __post_init__(self) -> None:
        for name in ("target_rows_per_fragment", "max_bytes_per_file", "batch_size"):
            self._set_whole(name, low=1)
        for name in ("num_threads", "max_source_fragments", "max_source_rows", "max_source_bytes"):
            self._set_whole(name, low=0)
        if self.target_rows > MAX_ROWS:
            raise InvalidInput(f"target_rows_per_fragment={self.target_rows:,}: a fragment has at most {MAX_ROWS:,}")
        threshold = self.materialize_deletions_threshold
        if threshold is not None and (not isinstance(threshold, Real) or not threshold >= 0):
            raise InvalidInput(f"materialize_deletions_threshold={threshold!r}: expected a share, from 0 to 1")
        if self.compaction_mode not in (None, *get_args(Mode)):
            raise InvalidInput(f"compaction_mode={self.compaction_mode!r}: expected one of {get_args(Mode)}")

    def _set_whole(self, name: str, *, low: int) -> None:
        given = getattr(self, name)
        number = whole(given, low)
        if given is not None and number is None:
            raise InvalidInput(f"{name}={given!r}: expected a number from {low} on")
        object.__setattr__(self, name, number)

    @staticmethod
    def of(options: Mapping[str, Any]) -> CompactionOptions:
        """The options from a mapping. Raises InvalidInput for an unknown name."""
        unknown = set(options) - {field.name for field in fields(CompactionOptions)}
        if unknown:
            raise InvalidInput(f"{min(unknown)!r} is not an option of a compaction")
        return CompactionOptions(**options)

    @property
    def target_rows(self) -> int:
        return self.target_rows_per_fragment or _ROWS

    @property
    def target_nbytes(self) -> int:
        return self.max_bytes_per_file or _NBYTES

    def is_worn(self, fragment: Fragment) -> bool:
        """Are so many of its rows deleted that it is written anew?"""
        if self.materialize_deletions is False or fragment.deletions is None:
            return False
        threshold = self.materialize_deletions_threshold
        return fragment.deletions.rows > (0.1 if threshold is None else threshold) * fragment.rows

    def is_small(self, fragment: Fragment) -> bool:
        """May neighbours be joined to it?"""
        # Half of the bytes: what was joined up to the bound is then never small again, however well it compresses.
        return fragment.live_rows < self.target_rows and 2 * live_nbytes(fragment) < self.target_nbytes


def live_nbytes(fragment: Fragment) -> int:
    """The bytes of its files that belong to live rows, by estimate."""
    return sum(file.nbytes for file in fragment.files) * fragment.live_rows // fragment.rows


def plan_groups(manifest: Manifest, options: CompactionOptions) -> list[Group]:
    """The groups worth to be written anew, in scan order. Pure.

    Each becomes one fragment, so every run leaves fewer fragments or fewer deleted rows. Two groups side by side are
    over the bounds together: planned again, nothing is left to do.
    """
    excluded = set(options.excluded_fragment_ids or ())
    worth = [
        group
        for group in _packed(manifest, options, excluded)
        if len(group) > 1 or (group and options.is_worn(group[0]))
    ]
    return list(_within_bounds(worth, options))


def _packed(manifest: Manifest, options: CompactionOptions, excluded: set[int]) -> Iterator[Group]:
    """Neighbours that are small or worn, as many in a group as are within the bounds."""
    group: list[Fragment] = []
    rows = nbytes = 0
    for fragment in manifest.tree.iterate():
        candidate = fragment.id not in excluded and (options.is_small(fragment) or options.is_worn(fragment))
        rows, nbytes = rows + fragment.live_rows, nbytes + live_nbytes(fragment)
        if not candidate or rows > options.target_rows or nbytes > options.target_nbytes:
            yield tuple(group)
            group, rows, nbytes = [], fragment.live_rows, live_nbytes(fragment)
        if candidate:
            group.append(fragment)
        else:
            rows = nbytes = 0
    yield tuple(group)


def _within_bounds(groups: Sequence[Group], options: CompactionOptions) -> Iterator[Group]:
    """The first groups that are together within the bounds of one run."""
    bounds = (options.max_source_fragments, options.max_source_rows, options.max_source_bytes)
    totals = np.zeros(3, np.int64)
    for group in groups:
        rows = sum(fragment.live_rows for fragment in group)
        totals += (len(group), rows, sum(file.nbytes for fragment in group for file in fragment.files))
        if any(bound is not None and total > bound for total, bound in zip(totals, bounds, strict=True)):
            return
        yield group


def write_group(session: Session, manifest: Manifest, group: Group, options: CompactionOptions) -> NewFile:
    """Write the live rows of a group as one file with all columns of the table, blobs and references as they are.

    Memory: what a scan and a writer take; not more for more rows or wider ones.
    """
    moving = Moving(
        session,
        manifest,
        mode=options.compaction_mode or "try_binary_copy",
        batch_rows=options.batch_size,
        threads=options.num_threads or None,
    )
    writer = FileWriter(moving.schema, resolve=resolve)
    return write_file(session.store, writer, moving.parts(group))


def rewritten(manifest: Manifest, groups: Sequence[tuple[Group, NewFile]]) -> Rewrite:
    """The change that puts new files in the place of groups of a version. Raises InvalidInput for other rows."""
    for group, file in groups:
        if file.rows != sum(fragment.live_rows for fragment in group):
            raise InvalidInput(f"{file.path!r} has {file.rows:,} rows, its fragments have others", kind="rows")
    return Rewrite(
        tuple(RewrittenGroup(group, (NewFragment((file,), _lineage(group)),)) for group, file in groups),
        tuple(field.id for field in manifest.schema.fields),
    )


def _lineage(group: Group) -> Runs:
    """Ids and versions of the live rows of a group."""
    return concatenated([_live_runs(fragment) for fragment in group])


def _live_runs(fragment: Fragment) -> Runs:
    live = fragment.live_between(0, fragment.rows)
    if live is None:
        return fragment.runs
    runs = fragment.runs
    return of_rows(ids_at(fragment, live), values_at(runs.created, live), values_at(runs.updated, live))


__all__ = ["CompactionOptions", "Group", "plan_groups", "rewritten", "write_group"]
