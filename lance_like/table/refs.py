"""Tags: names for versions (format_spec/table.md, "Tags")."""

from __future__ import annotations

import time
from dataclasses import dataclass

import xxhash

from lance_like.errors import AlreadyExists, Corrupt, InvalidInput, NotFound
from lance_like.file.layout import parse_json
from lance_like.io.store import Store, read_object
from lance_like.table import shape
from lance_like.table.envelope import MAX_OBJECT, pack_envelope, unpack_envelope
from lance_like.table.layout import MAX_VERSION, TAGS, is_tag_name, tag_key, tag_name
from lance_like.table.snapshot import read_root_bytes

MAGIC = b"LLTG"


@dataclass(frozen=True, slots=True)
class Tag:
    """A name for a version.

    created_us: when it was last set, microseconds since 1970 UTC. manifest: XXH3-64 of the version's root manifest.
    """

    name: str
    version: int
    created_us: int
    manifest: int


class Tags:
    """The tags of a table."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create(self, name: str, version: int) -> None:
        """Name a version. Raises AlreadyExists if the name is taken, NotFound if there is no such version."""
        data = self._encode(name, version)
        try:
            self._store.put_if_absent(tag_key(name), data)
        except AlreadyExists as error:
            raise AlreadyExists(
                f"the tag {name!r} exists", kind="tag", where=self._store.uri, hint="update() moves it"
            ) from error

    def update(self, name: str, version: int) -> None:
        """Move a tag to another version. Raises NotFound if either is missing."""
        self.read(name)
        self._store.put(tag_key(name), [self._encode(name, version)])

    def delete(self, name: str) -> None:
        """Remove a tag. Raises NotFound."""
        key = tag_key(_checked(name))
        try:
            self._store.size(key)
        except NotFound as error:
            raise self._missing(name) from error
        self._store.delete([key])

    def list(self) -> dict[str, Tag]:
        """All tags by name, sorted. Raises Corrupt if one is bad."""
        names = (tag_name(file) for file in self._store.list(f"{TAGS}/"))
        return {name: self.read(name) for name in names if name is not None}

    def get_version(self, name: str) -> int:
        """The version a tag names, whose root manifest is still the one that was tagged.

        Raises NotFound if the tag or the version is missing, Corrupt if the version is another than was tagged.
        """
        tag = self.read(name)
        if _digest(self._store, tag.version) != tag.manifest:
            raise Corrupt(
                f"the tag {name!r} names another version {tag.version} than the one that is here",
                kind="tag",
                where=tag_key(name),
            )
        return tag.version

    def read(self, name: str) -> Tag:
        """One tag as it stands. Raises NotFound, Corrupt."""
        key = tag_key(_checked(name))
        try:
            data = read_object(self._store, key, limit=MAX_OBJECT)
        except NotFound as error:
            raise self._missing(name) from error
        body = shape.mapping(parse_json(unpack_envelope(MAGIC, data, key), key), key)
        if shape.text(body, "name", key) != name:
            shape.refuse(body["name"], f"the tag {name!r}", key)
        return Tag(
            name=name,
            version=shape.integer(body, "version", key, low=1, high=MAX_VERSION),
            created_us=shape.integer(body, "created_us", key),
            manifest=shape.hexadecimal(body.get("manifest"), key),
        )

    def _encode(self, name: str, version: int) -> bytes:
        _checked(name)
        digest = _digest(self._store, version)
        now_us = time.time_ns() // 1000
        body = {"name": name, "version": version, "created_us": now_us, "manifest": f"{digest:016x}"}
        return pack_envelope(MAGIC, shape.dump(body))

    def _missing(self, name: str) -> NotFound:
        known = ", ".join(repr(known) for known in sorted(self._names())) or "none"
        return NotFound(f"there is no tag {name!r}", kind="tag", where=self._store.uri, hint=f"known tags: {known}")

    def _names(self) -> set[str]:
        return {name for file in self._store.list(f"{TAGS}/") if (name := tag_name(file)) is not None}


def _digest(store: Store, version: int) -> int:
    return xxhash.xxh3_64_intdigest(read_root_bytes(store, version))


def _checked(name: str) -> str:
    if not isinstance(name, str) or not is_tag_name(name):
        raise InvalidInput(
            f"{name!r} is not a name for a tag",
            kind="tag",
            hint="1 to 128 of A-Z a-z 0-9 . _ -, not '.' or '..', not ending in .lock",
        )
    return name


__all__ = ["Tag", "Tags"]
