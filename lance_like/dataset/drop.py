"""Removing a whole table."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from lance_like.dataset.place import open_place
from lance_like.errors import InvalidInput, NotFound
from lance_like.io.local import LocalStore
from lance_like.io.store import Store
from lance_like.table.layout import LEASES, LINES, VERSIONS
from lance_like.table.lines import branch_of
from lance_like.table.snapshot import latest_version

# The versions last: until they are gone, an interrupted removal can be done again.
_ORDER = ("data", "_meta", LINES, "_refs", LEASES, VERSIONS)


def drop(
    base_uri: str | os.PathLike[str],
    storage_options: Mapping[str, Any] | None = None,
    *,
    ignore_not_found: bool = False,
) -> None:
    """Remove a table: see `LanceDataset.drop`."""
    store = open_place(base_uri, durability="full", storage_options=storage_options, commit_lock=None)
    if (branch := branch_of(store)) is not None:
        raise InvalidInput(f"this is the branch {branch!r} of a table", hint="ds.branches.delete removes a branch")
    if latest_version(store) is None:
        if ignore_not_found:
            return
        raise NotFound(
            "the dataset was not found",
            kind="dataset",
            where=store.uri,
            hint="ignore_not_found=True takes none for removed",
        )
    for folder in _ORDER:
        _remove(store, folder)
    if isinstance(store, LocalStore):
        parent, name = os.path.split(store.uri)
        LocalStore(parent).delete([f"{name}/"])


def _remove(store: Store, folder: str) -> None:
    """Remove all that is in a folder, then the folder."""
    names = [name for temporary in (False, True) for name in store.list(folder, temporary=temporary)]
    for name in names:
        if name.endswith("/"):
            _remove(store, f"{folder}/{name[:-1]}")
    store.delete([f"{folder}/{name}" for name in names if not name.endswith("/")])
    store.delete([f"{folder}/"])


__all__ = ["drop"]
