"""From what a user names to the store of a table."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lance_like.dataset.bound import BoundVersion
from lance_like.errors import InvalidInput
from lance_like.io.local import Durability
from lance_like.io.store import Store
from lance_like.io.uri import open_store
from lance_like.table.bases import StorageOptions
from lance_like.table.layout import FOLDERS, version_of

if TYPE_CHECKING:
    from lance_like.dataset.handle import LanceDataset

CommitLock = Callable[[int], AbstractContextManager[Any]]
"""From the version that is to be written (0: a tag or another name) to what one writer at a time is in meanwhile."""


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
    """The store of a table. storage_options, commit_lock: as in `lance_like.dataset`."""
    lock = None if commit_lock is None else _ByKey(commit_lock)
    return open_store(uri, durability=durability, folders=folders, storage_options=storage_options, lock=lock)


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


__all__ = ["CommitLock", "open_place", "open_target"]
