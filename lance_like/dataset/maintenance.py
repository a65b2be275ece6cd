"""What keeps a table in shape: the part of `LanceDataset` about its files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from lance_like.dataset.bound import BoundVersion
from lance_like.dataset.cleanup import CleanupExplanation, CleanupStats, explain_cleanup, policy_of, run_cleanup
from lance_like.dataset.drop import drop
from lance_like.dataset.file_lists import Progress, list_files, list_tracked
from lance_like.dataset.optimize import DatasetOptimizer
from lance_like.dataset.stats import LanceStats
from lance_like.dataset.verify import validate_version
from lance_like.table.lease import hold

if TYPE_CHECKING:
    from lance_like.dataset.handle import LanceDataset


class DatasetMaintenance(BoundVersion):
    """The methods of `LanceDataset` that look after the files of a table."""

    @property
    def optimize(self) -> DatasetOptimizer:
        """Fewer, fuller files: `compact_files`."""
        return DatasetOptimizer(cast("LanceDataset", self))

    @property
    def stats(self) -> LanceStats:
        """Counts and bytes of this version: `dataset_stats`, `data_stats`, `index_stats`."""
        return LanceStats(self._session, self._manifest)

    def all_files(self) -> pa.RecordBatchReader:
        """Every file that lies below the place of the table, of whatever branch, whether a version names it or not.

        Columns: base_uri, path (below it), size_bytes, last_modified. Cost: while it is read, two requests a file.
        """
        return list_files(self._store)

    def tracked_files(
        self, *, min_version: int | None = None, progress: Progress | None = None
    ) -> pa.RecordBatchReader:
        """The files that versions of this branch name, from `min_version` on, each once a version.

        Columns: version, base_uri, path (below it), type: "manifest", "data file", "deletion file", "index file",
        "transaction file" or "metadata file". progress: called with how many versions are read, and how many there are.
        """
        return list_tracked(self._store, min_version=min_version or 0, progress=progress)

    def validate(self) -> None:
        """Raise Corrupt unless the manifest of this version, its parts and its files' metadata are sound.

        Pages are not read: `lance_like verify` checks every byte of every version.
        """
        validate_version(self._session, self._manifest)

    @contextmanager
    def lease(self) -> Iterator[None]:
        """Keep this version, and those that follow it, from every cleanup while a block runs.

        Writes do so by themselves. Raises Conflict when a cleanup has removed it. Cost: a write that is not synced.
        """
        with hold(self._store, self._manifest.version):
            yield

    @staticmethod
    def drop(
        base_uri: str | os.PathLike[str],
        storage_options: Mapping[str, Any] | None = None,
        *,
        ignore_not_found: bool = False,
    ) -> None:
        """Remove a table with all its versions and branches, at once and for good; other files beside it stay.

        No lease and no tag keeps it, and shallow clones lose the files that they read here. An interrupted removal can
        be done again. storage_options: as in `lance_like.dataset`. ignore_not_found: no error when there is none.
        Raises NotFound unless there is a table.
        """
        drop(base_uri, storage_options, ignore_not_found=ignore_not_found)

    def cleanup_old_versions(
        self,
        older_than: timedelta | None = None,
        retain_versions: int | None = None,
        *,
        delete_unverified: bool = False,
        error_if_tagged_old_versions: bool = True,
        delete_rate_limit: int | None = None,
        versions: Sequence[int] | None = None,
        delete_concurrency: int | None = None,
        all_branches: bool = False,
    ) -> CleanupStats:
        """Remove old versions of this branch, or of all branches, and the files that nothing uses any more.

        older_than: made longer ago; 14 days when nothing else is said. retain_versions: but for so many newest.
        versions: among these only. What all that is given lets go, goes; never the newest, a tagged one, or one that a
        running writer or a holder of a `lease` uses.
        delete_unverified: files that no version ever named, and unfinished writes, go at once; otherwise when they are
        7 days old. Those of a running writer stay; those of `Fragment`s and tasks that wait to be committed do not.
        error_if_tagged_old_versions: False: leave tagged versions without an error.
        all_branches: what is said holds for each branch on its own: its newest versions, its tags.
        delete_rate_limit, delete_concurrency: accepted and not needed.
        Killed at any point it leaves every version that stays whole, and can be run again.
        Raises InvalidInput; Corrupt when a version that stays cannot be read, and then removes nothing.
        """
        policy = policy_of(
            older_than,
            retain_versions,
            versions,
            delete_unverified=delete_unverified,
            error_if_tagged_old_versions=error_if_tagged_old_versions,
            all_branches=all_branches,
        )
        return run_cleanup(self._store, policy)

    def explain_cleanup_old_versions(
        self,
        older_than: timedelta | None = None,
        retain_versions: int | None = None,
        *,
        delete_unverified: bool = False,
        error_if_tagged_old_versions: bool = True,
        delete_rate_limit: int | None = None,
        versions: Sequence[int] | None = None,
        include_files: bool = False,
        max_files: int = 1000,
        all_branches: bool = False,
    ) -> CleanupExplanation:
        """What `cleanup_old_versions` would do now; nothing is written. include_files: name so many files."""
        policy = policy_of(
            older_than,
            retain_versions,
            versions,
            delete_unverified=delete_unverified,
            error_if_tagged_old_versions=error_if_tagged_old_versions,
            all_branches=all_branches,
        )
        return explain_cleanup(self._store, policy, include_files=include_files, max_files=max_files)


__all__ = ["DatasetMaintenance"]
