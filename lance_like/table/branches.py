"""Branches: names for further lines of versions (format_spec/table.md, "Branches")."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

import xxhash

from lance_like.errors import AlreadyExists, LanceLikeError
from lance_like.io.store import Store
from lance_like.table import shape
from lance_like.table.envelope import MAX_OBJECT
from lance_like.table.layout import (
    BRANCH_REFS,
    MAIN,
    MAX_VERSION,
    branch_key,
    branch_name,
    is_branch_name,
    is_line,
    new_line,
    version_key,
)
from lance_like.table.lease import hold
from lance_like.table.lines import BranchStore, branch_of, main_line
from lance_like.table.named import NameKind, branch_in, checked_metadata
from lance_like.table.snapshot import list_versions, read_root_bytes
from lance_like.typing_ import Json

BRANCH = NameKind(
    "branch",
    b"LLBR",
    BRANCH_REFS,
    branch_key,
    branch_name,
    is_branch_name,
    "1 to 128 of A-Z a-z 0-9 . _ -, in parts between '/'; not 'main', no '..', no part ending in .lock",
)


@dataclass(frozen=True, slots=True)
class Branch:
    """A name for a line of versions.

    line: 32 hexadecimal digits, where its roots are. parent: the branch it began at, None for the table itself.
    version: the first of the line, equal to the parent's. ancestors: (version, line) of each branch above, from the
    table on. created_us: microseconds since 1970 UTC. manifest, nbytes: XXH3-64 and size of the first root. metadata:
    texts of the user.
    """

    name: str
    line: str
    parent: str | None
    version: int
    ancestors: tuple[tuple[int, str], ...]
    created_us: int
    manifest: int
    nbytes: int
    metadata: Mapping[str, str]


class Branches:
    """The branches of a table."""

    def __init__(self, store: Store) -> None:
        self._store = main_line(store)

    def create(self, name: str, source: Store, version: int) -> BranchStore:
        """Begin a branch at a version of a line. The name makes it visible, whole, as the last step.

        Raises AlreadyExists if the name is taken, NotFound if there is no such version.
        """
        BRANCH.checked(name)
        root = read_root_bytes(source, version)
        branch = self._beginning(name, source, version, root)
        line = self._line(branch)
        # Until the branch has its name, a cleanup does not know that it uses the version.
        with hold(source, version):
            line.put(version_key(version), [root])
            self._publish(branch)
        return line

    def hide(self, branch: Branch) -> None:
        """Take the name away. Who still reads the branch reads on."""
        self._store.delete([branch_key(branch.name)])

    def show(self, branch: Branch) -> None:
        """Give back the name that `hide` took, while the versions are still there."""
        self._store.put(branch_key(branch.name), [_encode(branch)])

    def clear(self, branch: Branch) -> None:
        """Remove the versions of a branch without a name; what cannot be removed is left to a cleanup."""
        line = self._line(branch)
        with suppress(LanceLikeError, OSError):
            line.delete([version_key(version) for version in list_versions(line)], durable=False)

    def list(self) -> dict[str, Branch]:
        """All branches by name, sorted. Raises Corrupt if one is bad. Cost: a listing, and a read each."""
        return {name: self.read(name) for name in BRANCH.names(self._store)}

    def read(self, name: str) -> Branch:
        """What is known of a branch. Raises NotFound, Corrupt."""
        body, key = BRANCH.read(self._store, name)
        return _decoded(body, key, name)

    def replace_metadata(self, name: str, metadata: Mapping[str, str]) -> None:
        """Give a branch other texts in the place of all it has. Raises NotFound."""
        branch = replace(self.read(name), metadata=checked_metadata(metadata))
        self.show(branch)

    def open(self, name: str | None) -> Store:
        """The store of a branch, or of the table itself for None and "main". Raises NotFound."""
        return self._store if name is None or name == MAIN else self._line(self.read(name))

    def lines(self) -> dict[str | None, Store]:
        """Every line of versions by the name of its branch, that of the table first under None."""
        return {None: self._store, **{name: self._line(branch) for name, branch in self.list().items()}}

    def _beginning(self, name: str, source: Store, version: int, root: bytes) -> Branch:
        parent = branch_of(source)
        above = None if parent is None else self.read(parent)
        return Branch(
            name=name,
            line=new_line(),
            parent=parent,
            version=version,
            ancestors=() if above is None else (*above.ancestors, (above.version, above.line)),
            created_us=time.time_ns() // 1000,
            manifest=xxhash.xxh3_64_intdigest(root),
            nbytes=len(root),
            metadata={},
        )

    def _publish(self, branch: Branch) -> None:
        """Make a branch visible. A lost answer is looked up."""
        try:
            self._store.put_if_absent(branch_key(branch.name), _encode(branch))
        except (AlreadyExists, OSError) as error:
            with suppress(LanceLikeError, OSError):
                if self.read(branch.name).line == branch.line:
                    return
            self.clear(branch)
            if not isinstance(error, AlreadyExists):
                raise
            raise BRANCH.taken(self._store, branch.name, "choose another name") from error

    def _line(self, branch: Branch) -> BranchStore:
        return BranchStore(self._store, branch=branch.name, line=branch.line)


def _encode(branch: Branch) -> bytes:
    body = {
        "name": branch.name,
        "line": branch.line,
        "parent": branch.parent,
        "version": branch.version,
        "ancestors": branch.ancestors,
        "created_us": branch.created_us,
        "manifest": f"{branch.manifest:016x}",
        "manifest_nbytes": branch.nbytes,
        "metadata": dict(branch.metadata),
    }
    return BRANCH.packed(body)


def _decoded(body: dict[str, Json], key: str, name: str) -> Branch:
    return Branch(
        name=name,
        line=_line_name(body.get("line"), key),
        parent=branch_in(body, "parent", key),
        version=shape.integer(body, "version", key, low=1, high=MAX_VERSION),
        ancestors=shape.each(body, "ancestors", key, _ancestor),
        created_us=shape.integer(body, "created_us", key),
        manifest=shape.hexadecimal(body.get("manifest"), key),
        nbytes=shape.integer(body, "manifest_nbytes", key, low=1, high=MAX_OBJECT),
        metadata=shape.texts(body, "metadata", key),
    )


def _ancestor(value: Json, where: str) -> tuple[int, str]:
    if type(value) is not list or len(value) != 2:
        shape.refuse(value, "a version and a line", where)
    version = shape.integer({"version": value[0]}, "version", where, low=1, high=MAX_VERSION)
    return version, _line_name(value[1], where)


def _line_name(value: Json, where: str) -> str:
    if type(value) is not str or not is_line(value):
        shape.refuse(value, "a line, 32 lower-case hexadecimal digits", where)
    return value


__all__ = ["Branch", "Branches"]
