"""What a handle knows of other versions: the part of `LanceDataset` that looks back, and goes there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from lance_like.dataset.bound import BoundVersion
from lance_like.dataset.branches import DatasetBranches
from lance_like.dataset.results import Version, VersionRef
from lance_like.dataset.tags import DatasetTags
from lance_like.errors import InvalidInput
from lance_like.io.uri import options_beside
from lance_like.table.actions import Restore
from lance_like.table.branches import Branches
from lance_like.table.commit import commit
from lance_like.table.history import Reference, described, read_version, resolve, versions
from lance_like.table.lines import branch_of, main_line
from lance_like.table.snapshot import list_versions, read_manifest

if TYPE_CHECKING:
    from lance_like.dataset.handle import LanceDataset


class DatasetHistory(BoundVersion):
    """The methods of `LanceDataset` about versions, branches and tags."""

    @property
    def version(self) -> int:
        """The number of this version."""
        return self._manifest.version

    @property
    def latest_version(self) -> int:
        """The number of the newest version of the branch. Cost: two listings."""
        return resolve(self._store)

    @property
    def tags(self) -> DatasetTags:
        """Names of versions: `create`, `update`, `delete`, `list`, `list_ordered`, `get_version` and others."""
        return DatasetTags(self._store, lambda: self.version)

    @property
    def branch(self) -> str | None:
        """The branch that this is a version of; None for the table itself."""
        return branch_of(self._store)

    @property
    def branches(self) -> DatasetBranches:
        """Lines of versions beside the table's own: `list`, `list_ordered`, `delete`, `replace_metadata`."""
        return DatasetBranches(self._store)

    def create_branch(
        self, branch: str, reference: Reference | None = None, storage_options: Mapping[str, Any] | None = None
    ) -> LanceDataset:
        """Begin a branch, and return a handle on it. Nothing is copied but one manifest.

        reference: where it begins, as in `checkout_version`; None: at the version of this handle. Versions on the
        branch go on from its number. Commits on different branches never meet.
        storage_options: a branch has those of its table; others are refused.
        Raises AlreadyExists, NotFound; InvalidInput for a name that is none.
        """
        if storage_options and storage_options != options_beside(main_line(self._store), self._store.uri):
            raise InvalidInput("a branch has the storage_options of its table", hint="open the table with others")
        begin = self if reference is None else self.checkout_version(reference)
        line = Branches(self._store).create(branch, begin._store, begin.version)
        return self._at(line, begin._manifest)

    def versions(self) -> list[Version]:
        """Every version of the branch: {"version", "timestamp" (UTC), "metadata"}, oldest first.

        Cost: each manifest, 256 a round.
        """
        return cast("list[Version]", versions(self._store))

    def version_refs(self) -> list[VersionRef]:
        """The number of every version: {"version"}, oldest first. Cost: listings, no manifest is read."""
        return [{"version": version} for version in list_versions(self._store)]

    def get_version(self) -> Version:
        """This version, as `versions` tells of it. Cost: no I/O."""
        found = described(self.version, self._manifest.timestamp_us, self._manifest.transaction)
        return cast("Version", found)

    def checkout_version(self, version: Reference) -> LanceDataset:
        """A new handle on another version. Raises NotFound.

        version: a number on the branch of this handle; a tag; or a branch and a number on it, where None or "main"
        stands for the table itself, and None in the place of the number for the newest.
        """
        return self._at(*read_version(self._store, version, known=self._manifest))

    def checkout_latest(self) -> None:
        """Move this handle to the newest version."""
        newest = read_manifest(self._store, resolve(self._store), known=self._manifest)
        if newest is not self._manifest:
            self._move(newest)

    def restore(self) -> None:
        """Make the rows and schema of this version the newest version again; nothing is copied or lost."""
        newest = read_manifest(self._store, resolve(self._store), known=self._manifest)
        self._move(commit(self._store, newest, Restore(self._manifest)))


__all__ = ["DatasetHistory"]
