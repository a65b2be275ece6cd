"""From what a user names to the store of a table."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from lance_like.io.local import Durability
from lance_like.io.store import Store
from lance_like.io.uri import open_store
from lance_like.table.layout import version_of

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


__all__ = ["CommitLock", "open_place"]
