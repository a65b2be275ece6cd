"""Tags: names for versions (format_spec/table.md, "Tags")."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import xxhash

from lance_like.errors import AlreadyExists, Corrupt, InvalidInput, NotFound
from lance_like.io.store import Store
from lance_like.table import shape
from lance_like.table.branches import Branches
from lance_like.table.envelope import MAX_OBJECT
from lance_like.table.layout import MAX_VERSION, TAGS, is_tag_name, tag_key, tag_name, version_key
from lance_like.table.lease import hold
from lance_like.table.lines import branch_of, main_line
from lance_like.table.named import NameKind, branch_in, checked_metadata, undoing
from lance_like.table.snapshot import read_root_bytes
from lance_like.typing_ import Json

TAG = NameKind(
    "tag",
    b"LLTG",
    TAGS,
    tag_key,
    tag_name,
    is_tag_name,
    "1 to 128 of A-Z a-z 0-9 . _ -, not '.' or '..', not ending in .lock",
)


@dataclass(frozen=True, slots=True)
class Tag:
    """A name for a version.

    branch: whose version; None for the table itself. created_us, updated_us: when it was made, and last set to a
    version; microseconds since 1970 UTC. manifest, nbytes: XXH3-64 and size of the version's root manifest.
    metadata: texts of the user.
    """

    name: str
    branch: str | None
    version: int
    created_us: int
    updated_us: int
    manifest: int
    nbytes: int
    metadata: Mapping[str, str]


class Tags:
    """The tags of a table. store: the line whose versions `create` and `update` name."""

    def __init__(self, store: Store) -> None:
        self._line, self._store = store, main_line(store)
        self._branches = Branches(store)

    def create(self, name: str, version: int) -> None:
        """Name a version. Raises AlreadyExists if the name is taken, NotFound if there is no such version."""
        now_us = time.time_ns() // 1000
        tag = _placed(Tag(TAG.checked(name), None, 1, now_us, now_us, 0, 1, {}), self._line, version)
        with hold(self._line, version):
            try:
                self._store.put_if_absent(tag_key(name), _encode(tag))
            except AlreadyExists as error:
                raise TAG.taken(self._store, name, "update() moves it") from error
        with undoing(lambda: self._store.delete([tag_key(name)])):
            self._confirm(tag)

    def update(self, name: str, version: int) -> None:
        """Move a tag to another version. Raises NotFound if either is missing."""
        before = self.read(name)
        after = _placed(replace(before, updated_us=time.time_ns() // 1000), self._line, version)
        with hold(self._line, version):
            self._put(after)
        with undoing(lambda: self._put(before)):
            self._confirm(after)

    def replace_metadata(self, name: str, metadata: Mapping[str, str]) -> None:
        """Give a tag other texts in the place of all it has. Raises NotFound."""
        self._put(replace(self.read(name), metadata=checked_metadata(metadata)))

    def delete(self, name: str) -> None:
        """Remove a tag. Raises NotFound."""
        key = tag_key(TAG.checked(name))
        try:
            self._store.size(key)
        except NotFound as error:
            raise TAG.missing(self._store, name) from error
        self._store.delete([key])

    def list(self) -> dict[str, Tag]:
        """All tags by name, sorted. Raises Corrupt if one is bad."""
        return {name: self.read(name) for name in TAG.names(self._store)}

    def get_version(self, name: str) -> int:
        """The number of the version that a tag names. Raises as `locate`."""
        return self.locate(name)[1]

    def locate(self, name: str) -> tuple[Store, int]:
        """The line and the version that a tag names, whose root manifest is still the one that was tagged.

        Raises NotFound if the tag or the version is missing, Corrupt if the version is another than was tagged.
        """
        tag = self.read(name)
        line = self._branches.open(tag.branch)
        if xxhash.xxh3_64_intdigest(read_root_bytes(line, tag.version)) != tag.manifest:
            raise Corrupt(
                f"the tag {name!r} names another version {tag.version} than the one that is here",
                kind="tag",
                where=tag_key(name),
            )
        return line, tag.version

    def read(self, name: str) -> Tag:
        """One tag as it stands. Raises NotFound, Corrupt."""
        body, key = TAG.read(self._store, name)
        return _decoded(body, key, name)

    def _put(self, tag: Tag) -> None:
        self._store.put(tag_key(tag.name), [_encode(tag)])

    def _confirm(self, tag: Tag) -> None:
        """Raise NotFound if the branch was deleted by somebody who could not see the tag yet."""
        if tag.branch is not None:
            self._branches.open(tag.branch).size(version_key(tag.version))


def delete_branch(store: Store, name: str) -> None:
    """Take a branch away, with its versions; the files of rows that only it had wait for a cleanup.

    Raises NotFound, or InvalidInput while a tag names one of its versions.
    """
    branches = Branches(store)
    branch = branches.read(name)
    _refuse_if_tagged(store, name)
    branches.hide(branch)
    # A tag that was made meanwhile is seen here, or its maker sees that the branch has gone.
    with undoing(lambda: branches.show(branch)):
        _refuse_if_tagged(store, name)
    branches.clear(branch)


def _refuse_if_tagged(store: Store, branch: str) -> None:
    named = [name for name, tag in Tags(store).list().items() if tag.branch == branch]
    if named:
        raise InvalidInput(
            f"versions of the branch {branch!r} have tags: {', '.join(map(repr, named))}",
            kind="branch",
            where=store.uri,
            hint="delete or move them first",
        )


def _placed(tag: Tag, line: Store, version: int) -> Tag:
    """The tag on a version."""
    root = read_root_bytes(line, version)
    # Who committed it may not have synced it yet: a tag must not outlive its version.
    line.settle(version_key(version))
    digest = xxhash.xxh3_64_intdigest(root)
    return replace(tag, branch=branch_of(line), version=version, manifest=digest, nbytes=len(root))


def _encode(tag: Tag) -> bytes:
    body = {
        "name": tag.name,
        "branch": tag.branch,
        "version": tag.version,
        "created_us": tag.created_us,
        "updated_us": tag.updated_us,
        "manifest": f"{tag.manifest:016x}",
        "manifest_nbytes": tag.nbytes,
        "metadata": dict(tag.metadata),
    }
    return TAG.packed(body)


def _decoded(body: dict[str, Json], key: str, name: str) -> Tag:
    return Tag(
        name=name,
        branch=branch_in(body, "branch", key),
        version=shape.integer(body, "version", key, low=1, high=MAX_VERSION),
        created_us=shape.integer(body, "created_us", key),
        updated_us=shape.integer(body, "updated_us", key),
        manifest=shape.hexadecimal(body.get("manifest"), key),
        nbytes=shape.integer(body, "manifest_nbytes", key, low=1, high=MAX_OBJECT),
        metadata=shape.texts(body, "metadata", key),
    )


__all__ = ["Tag", "Tags", "delete_branch"]
