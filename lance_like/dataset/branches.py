"""`ds.branches`: lines of versions beside the table's own."""

from __future__ import annotations

from collections.abc import Mapping

from lance_like.dataset.arguments import Order, in_order
from lance_like.dataset.results import Branch
from lance_like.io.store import Store
from lance_like.table import branches
from lance_like.table.branches import Branches
from lance_like.table.refs import delete_branch


class DatasetBranches:
    """The branches of a table. `ds.create_branch` begins one, `ds.checkout_version((branch, None))` opens it."""

    def __init__(self, store: Store) -> None:
        self._store, self._branches = store, Branches(store)

    def list(self) -> dict[str, Branch]:
        """Every branch: name -> what is known of where it began.

        {"parent_branch" (None for the table itself), "branch_identifier" (a pair of the version where it began and a
        uuid for it and for each branch above), "parent_version", "create_at" (seconds since 1970 UTC), "manifest_size"
        (bytes of the first root manifest), "metadata"}
        """
        return {name: _described(branch) for name, branch in self._branches.list().items()}

    def list_ordered(self, order: Order | None = None) -> list[tuple[str, Branch]]:
        """Every branch as in `list`, by the version where it began: "desc" by default; those of one version by name."""
        return in_order(self.list(), "parent_version", order)

    def delete(self, branch: str) -> None:
        """Take a branch away, with its versions. Raises NotFound, or InvalidInput while one of them has a tag."""
        delete_branch(self._store, branch)

    def replace_metadata(self, branch: str, metadata: Mapping[str, str]) -> None:
        """Give a branch other texts in the place of all it has. Raises NotFound."""
        self._branches.replace_metadata(branch, metadata)


def _described(branch: branches.Branch) -> Branch:
    return {
        "parent_branch": branch.parent,
        "branch_identifier": [*branch.ancestors, (branch.version, branch.line)],
        "parent_version": branch.version,
        "create_at": branch.created_us // 1_000_000,
        "manifest_size": branch.nbytes,
        "metadata": dict(branch.metadata),
    }


__all__ = ["DatasetBranches"]
