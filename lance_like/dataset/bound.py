"""What a handle stands on: one version of a table, the session that reads it, and how the handle moves to another."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, cast

from lance_like.dataset.again import Searches
from lance_like.dataset.scan_options import BlobHandling, check_default_options
from lance_like.dataset.session import Session
from lance_like.dataset.upkeep import tidy
from lance_like.errors import InvalidInput
from lance_like.io.local import Durability
from lance_like.io.store import Store
from lance_like.query.answer import Answer
from lance_like.table.bases import StorageOptions
from lance_like.table.commit import Change, commit
from lance_like.table.history import read_version
from lance_like.table.manifest import Manifest

if TYPE_CHECKING:
    from lance_like.dataset.handle import LanceDataset

Verify = Literal["full", "off"]
Indices = Literal["use", "ignore"]
# How often and how long a change of rows is made again when other writers are first.
RETRIES = 10
RETRY_TIMEOUT = timedelta(seconds=30)


class BoundVersion:
    """The state of a `LanceDataset`, on which each of its parts builds."""

    def __init__(
        self,
        store: Store,
        manifest: Manifest,
        *,
        verify: Verify = "full",
        durability: Durability = "full",
        metadata_cache_size_bytes: int | None = None,
        index_cache_size_bytes: int | None = None,
        indices: Indices = "use",
        base_store_params: StorageOptions | None = None,
        default_scan_options: Mapping[str, Any] | None = None,
        session: Session | None = None,
    ) -> None:
        if verify not in ("full", "off"):
            raise InvalidInput(f"verify={verify!r}: expected 'full' or 'off'")
        if indices not in ("use", "ignore"):
            raise InvalidInput(f"indices={indices!r}: expected 'use' or 'ignore'")
        self._store, self._manifest = store, manifest
        # What this handle shares with those made of it; a pickled handle begins a new one with the same limits.
        self._shared = session or Session(index_cache_size_bytes, metadata_cache_size_bytes)
        self._options: dict[str, Any] = {
            "verify": verify,
            "durability": durability,
            **self._shared.limits,
            "indices": indices,
            "base_store_params": base_store_params,
            "default_scan_options": default_scan_options,
        }
        self._default_scan = check_default_options(default_scan_options)
        self._session = self._shared.files_of(
            store, manifest, verify=verify == "full", ignore=indices == "ignore", base_store_params=base_store_params
        ).at(store, manifest)
        self._answers: dict[tuple[BlobHandling | None, Any], Answer] = {}
        self._searches = Searches()

    def session(self) -> Session:
        """What this handle keeps of files and indexes; `lance_like.dataset(uri, session=...)` shares it."""
        return self._shared

    def _at(self, line: Store, manifest: Manifest) -> LanceDataset:
        """A new handle on another version, with the options of this one."""
        return cast("LanceDataset", type(self)(line, manifest, session=self._shared, **self._options))

    def _version(self, version: int) -> Manifest:
        """A version, of which nothing is read that this one shares. Raises NotFound."""
        if version == self._manifest.version:
            return self._manifest
        return read_version(self._store, version, known=self._manifest)[1]

    def _move(self, manifest: Manifest) -> None:
        """Move this handle to another version."""
        self._manifest = manifest
        self._session = self._session.at(self._store, manifest)
        self._answers, self._searches = {}, Searches()

    def _commit(self, change: Change, retries: int = RETRIES, timeout: timedelta = RETRY_TIMEOUT) -> None:
        """Commit a change and move this handle to the version that it makes."""
        self._committed(self._made(change, retries, timeout))

    def _made(self, change: Change, retries: int, timeout: timedelta) -> Manifest:
        """Commit a change; this handle stays where it is."""
        return commit(self._store, self._manifest, change, retries=retries, timeout_s=timeout.total_seconds())

    def _committed(self, manifest: Manifest) -> None:
        """Move this handle to a version that it made, and do what the table has done by itself then."""
        self._move(manifest)
        tidy(cast("LanceDataset", self))


__all__ = ["RETRIES", "RETRY_TIMEOUT", "BoundVersion", "Indices", "Verify"]
