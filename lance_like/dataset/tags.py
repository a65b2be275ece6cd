"""`ds.tags`: names for versions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from lance_like.io.store import Store
from lance_like.table import refs
from lance_like.table.history import resolve


class DatasetTags:
    """Names of versions. A tagged version is kept for as long as it has the tag.

    A reference is a version number, a tag, or None for the version of the handle.
    """

    def __init__(self, store: Store, current: Callable[[], int]) -> None:
        self._store, self._tags, self._current = store, refs.Tags(store), current

    def create(self, tag: str, reference: int | str | None = None) -> None:
        """Name a version. Raises AlreadyExists when the name is taken, NotFound for an unknown version."""
        self._tags.create(tag, self._version(reference))

    def update(self, tag: str, reference: int | str | None = None) -> None:
        """Move a tag to another version. Raises NotFound."""
        self._tags.update(tag, self._version(reference))

    def delete(self, tag: str) -> None:
        """Take a name away; the version stays. Raises NotFound."""
        self._tags.delete(tag)

    def get_version(self, tag: str) -> int:
        """The version that a tag names. Raises NotFound."""
        return self._tags.get_version(tag)

    def list(self) -> dict[str, dict[str, Any]]:
        """Every tag: name -> {"version", "created_at"}."""
        return {
            name: {
                "version": tag.version,
                "created_at": datetime.fromtimestamp(tag.created_us / 1e6, timezone.utc),
            }
            for name, tag in self._tags.list().items()
        }

    def _version(self, reference: int | str | None) -> int:
        return self._current() if reference is None else resolve(self._store, reference)
