"""From what a user names to the store of a table."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from lance_like.dataset.bound import BoundVersion
from lance_like.errors import InvalidInput, NotFound
from lance_like.io.local import Durability
from lance_like.io.store import Store
from lance_like.io.uri import open_store
from lance_like.table.bases import StorageOptions
from lance_like.table.branches import Branches
from lance_like.table.layout import FOLDERS, is_branch_name, version_of
from lance_like.table.lines import branch_of

if TYPE_CHECKING:
    from lance_like.dataset.handle import LanceDataset

CommitLock = Callable[[int], AbstractContextManager[Any]]
"""From the version that is to be written (0: a tag or another name) to what one writer at a time is in meanwhile."""


_BRANCH = "/tree/"


@dataclass(frozen=True, slots=True)
class _ByKey:
    """A lock of versions, as a store asks for it: by key."""

    lock: CommitLock

    def __call__(self, key: str) -> AbstractContextManager[Any]:
        return self.lock(version_of(key) or 0)


def open_place(
    uri: str | os.PathLike[str],
    *,
    durability: Durability,
    storage_options: Mapping[str, Any] | None,
    commit_lock: CommitLock | None,
    folders: Sequence[str] = (),
) -> Store:
    """The store of a table, or of the branch that `uri_of` names.

    storage_options, commit_lock: as in `lance_like.dataset`.
    """
    lock = None if commit_lock is None else _ByKey(commit_lock)
    opened = partial(open_store, durability=durability, storage_options=storage_options, lock=lock)
    text = os.fspath(uri)
    root, _, branch = text.rpartition(_BRANCH) if isinstance(text, str) else ("", "", "")
    if root and not root.endswith(":/") and is_branch_name(branch):
        with suppress(NotFound):
            return Branches(opened(root)).open(branch)
    return opened(uri, folders=folders)


def uri_of(store: Store) -> str:
    """Where a table is, or one branch of it: below the table, as in pylance, though no object lies there."""
    branch = branch_of(store)
    return store.uri if branch is None else store.uri + _BRANCH + branch


def open_target(
    where: str | os.PathLike[str] | LanceDataset,
    *,
    durability: Durability | None = None,
    storage_options: Mapping[str, Any] | None = None,
    commit_lock: CommitLock | None = None,
    base_store_params: StorageOptions | None = None,
) -> tuple[Store, dict[str, Any]]:
    """Where a write goes, and the options of the handle on what it makes.

    where: a URI, or a handle: its store, which may be a branch, and its options. Raises InvalidInput for a handle with
    other options.
    """
    if not isinstance(where, BoundVersion):
        sync = durability or "full"
        store = open_place(
            where, durability=sync, storage_options=storage_options, commit_lock=commit_lock, folders=FOLDERS
        )
        return store, {"durability": sync, "base_store_params": base_store_params}
    given = {
        "durability": durability,
        "storage_options": storage_options,
        "commit_lock": commit_lock,
        "base_store_params": base_store_params,
    }
    for name, value in given.items():
        if value is not None:
            raise InvalidInput(f"a handle has its own {name}", hint="pass it with a URI, or open the handle with it")
    return where._store, where._options


__all__ = ["CommitLock", "open_place", "open_target", "uri_of"]
