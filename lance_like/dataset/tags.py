"""`ds.tags`: names for versions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lance_like.dataset.arguments import Order, in_order
from lance_like.dataset.results import Tag
from lance_like.io.store import Store
from lance_like.table import refs
from lance_like.table.history import Reference, locate, moment
from lance_like.table.refs import Tags


class DatasetTags:
    """Names of versions. A tagged version is kept for as long as it has the tag.

    A reference is what `checkout_version` takes, or None for the version of the handle.
    """

    def __init__(self, store: Store, current: Callable[[], int]) -> None:
        self._store, self._tags, self._current = store, Tags(store), current

    def create(self, tag: str, reference: Reference | None = None) -> None:
        """Name a version. Raises AlreadyExists when the name is taken, NotFound for an unknown version."""
        line, version = self._place(reference)
        Tags(line).create(tag, version)

    def update(self, tag: str, reference: Reference | None = None) -> None:
        """Move a tag to another version. Raises NotFound."""
        line, version = self._place(reference)
        Tags(line).update(tag, version)

    def delete(self, tag: str) -> None:
        """Take a name away; the version stays. Raises NotFound."""
        self._tags.delete(tag)

    def get_version(self, tag: str) -> int:
        """The number of the version that a tag names, on its branch. Raises NotFound."""
        return self._tags.get_version(tag)

    def list(self) -> dict[str, Tag]:
        """Every tag: name -> {"branch", "version", "created_at", "updated_at", "manifest_size", "metadata"}.

        branch: None for the table itself. created_at, updated_at: when it was made, and last moved (UTC).
        manifest_size: bytes of the version's root manifest.
        """
        return {name: _described(tag) for name, tag in self._tags.list().items()}

    def list_ordered(self, order: Order | None = None) -> list[tuple[str, Tag]]:
        """Every tag as in `list`, by version: "asc" or "desc", which is the default; tags of one version by name."""
        return in_order(self.list(), "version", order)

    def replace_metadata(self, tag: str, metadata: Mapping[str, str]) -> None:
        """Give a tag other texts in the place of all it has; it stays where it is. Raises NotFound."""
        self._tags.replace_metadata(tag, metadata)

    def _place(self, reference: Reference | None) -> tuple[Store, int]:
        return (self._store, self._current()) if reference is None else locate(self._store, reference)


def _described(tag: refs.Tag) -> Tag:
    return {
        "branch": tag.branch,
        "version": tag.version,
        "created_at": moment(tag.created_us),
        "updated_at": moment(tag.updated_us),
        "manifest_size": tag.nbytes,
        "metadata": dict(tag.metadata),
    }


__all__ = ["DatasetTags"]
