"""A disk that keeps only what was synced: what a store did to it, recorded, and what a power cut could leave.

The names in a folder are kept once the folder is synced, the bytes of a file once the file is. What was not synced may
be there, in whole or in part, or not; each folder and each file for itself. A folder above all is there from the start.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lance_like.io import folders

Tree = dict[str, bytes | None]
"""Path -> bytes of a file, None for a folder."""

Effect = tuple[Any, ...]
"""A verb of `Disk` and its arguments."""


@dataclass
class File:
    data: bytes = b""
    synced: bytes = b""

    @property
    def dirty(self) -> bool:
        return self.data != self.synced


@dataclass
class Folder:
    """names: to nodes, as a process sees them. pending: changes since the last sync; None: the name goes."""

    names: dict[str, int] = field(default_factory=dict)
    synced: dict[str, int] = field(default_factory=dict)
    pending: list[dict[str, int | None]] = field(default_factory=list)

    @property
    def dirty(self) -> bool:
        return bool(self.pending)

    def change(self, names: dict[str, int | None]) -> None:
        self.pending.append(names)
        _change(self.names, names)


def _change(names: dict[str, int], change: dict[str, int | None]) -> None:
    for name, node in change.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


def _only_added(change: dict[str, int | None]) -> dict[str, int | None]:
    return {name: node for name, node in change.items() if node is not None}


def _only_removed(change: dict[str, int | None]) -> dict[str, int | None]:
    # A rename is one change: the old name does not go without the new one.
    return change if len(change) == 1 and None in change.values() else {}


# How much of what was not synced survives.
NAMES: dict[str, Callable[[dict[str, int | None]], dict[str, int | None]]] = {
    "none": lambda change: {},
    "all": lambda change: change,
    "added": _only_added,
    "removed": _only_removed,
}
BYTES: dict[str, Callable[[File], bytes]] = {
    "synced": lambda file: file.synced,
    "all": lambda file: file.data,
    "zeros": lambda file: file.synced + bytes(len(file.data) - len(file.synced)),
}


class Disk:
    """Files and folders, and which of their bytes and names are synced. Paths are relative to the folder above all."""

    def __init__(self, tree: Tree | None = None) -> None:
        """tree: what is there and synced; folders before what is in them."""
        self.nodes: list[File | Folder] = [Folder()]
        for path, data in (tree or {}).items():
            if data is None:
                self.mkdir(path)
            else:
                self.make(path)
                self.write(len(self.nodes) - 1, data)
        for node in range(len(self.nodes)):
            self.sync(node)

    # What a process does

    def make(self, path: str) -> None:
        self._add(path, File())

    def mkdir(self, path: str) -> None:
        self._add(path, Folder())

    def write(self, node: int, data: bytes) -> None:
        self._file(node).data += data

    def link(self, old: str, new: str) -> None:
        folder, name = self._above(new)
        folder.change({name: self.find(old)})

    def unlink(self, path: str) -> None:
        folder, name = self._above(path)
        folder.change({name: None})

    def rename(self, old: str, new: str) -> None:
        (source, was), (target, name), node = self._above(old), self._above(new), self.find(old)
        if source is target:
            source.change({was: None, name: node})
        else:
            # Two folders: the one may be kept as it was before, the other as after.
            target.change({name: node})
            source.change({was: None})

    def sync(self, node: int) -> None:
        found = self.nodes[node]
        if isinstance(found, File):
            found.synced = found.data
        else:
            found.synced = dict(found.names)
            found.pending.clear()

    # What is there

    def find(self, path: str) -> int:
        node = 0
        for part in filter(None, path.split("/")):
            node = self._folder(node).names[part]
        return node

    def has(self, path: str) -> bool:
        try:
            self.find(path)
        except KeyError:
            return False
        return True

    def tree(self) -> Tree:
        """What a process sees; so it is after a kill."""
        return self._tree(lambda number, folder: folder.names, lambda number, file: file.data)

    @property
    def has_unsynced_folders(self) -> bool:
        """Is the name of a folder not synced?"""
        added = [
            node
            for folder in self.nodes
            if isinstance(folder, Folder)
            for change in folder.pending
            for node in change.values()
        ]
        return any(isinstance(self.nodes[node], Folder) for node in added if node is not None)

    def after_cut(self) -> Iterator[Tree]:
        """What a power cut could leave at worst: all kept, all lost, and each folder and file alone kept or lost."""
        for names in NAMES:
            for data in BYTES:
                yield self._survivors(names, data)
        for number, node in enumerate(self.nodes):
            if node.dirty and isinstance(node, Folder):
                for one, others in (("all", "none"), ("none", "all"), ("added", "none"), ("removed", "none")):
                    yield self._survivors(others, "all", {number: one})
                for length in range(1, len(node.pending)):
                    yield self._survivors("none", "synced", {number: length})
            elif node.dirty:
                for data in ("synced", "zeros"):
                    yield self._survivors("all", "all", {number: data})

    def _survivors(self, names: str, data: str, apart: dict[int, str | int] | None = None) -> Tree:
        """apart: of single nodes; of a folder also how many of its changes survive."""
        apart = apart or {}

        def names_of(number: int, folder: Folder) -> dict[str, int]:
            kept = dict(folder.synced)
            chosen = apart.get(number, names)
            for change in folder.pending[: chosen if isinstance(chosen, int) else None]:
                _change(kept, change if isinstance(chosen, int) else NAMES[chosen](change))
            return kept

        def data_of(number: int, file: File) -> bytes:
            return BYTES[str(apart.get(number, data))](file)

        return self._tree(names_of, data_of)

    def _tree(self, names_of: Callable[[int, Folder], dict[str, int]], data_of: Callable[[int, File], bytes]) -> Tree:
        found: Tree = {}

        def walk(path: str, number: int) -> None:
            node = self.nodes[number]
            if path:
                found[path] = data_of(number, node) if isinstance(node, File) else None
            if isinstance(node, Folder):
                for name, below in sorted(names_of(number, node).items()):
                    walk(f"{path}/{name}" if path else name, below)

        walk("", 0)
        return found

    def _add(self, path: str, node: File | Folder) -> None:
        folder, name = self._above(path)
        assert name not in folder.names
        self.nodes.append(node)
        folder.change({name: len(self.nodes) - 1})

    def _above(self, path: str) -> tuple[Folder, str]:
        folder, _, name = path.rpartition("/")
        return self._folder(self.find(folder)), name

    def _file(self, node: int) -> File:
        found = self.nodes[node]
        assert isinstance(found, File)
        return found

    def _folder(self, node: int) -> Folder:
        found = self.nodes[node]
        assert isinstance(found, Folder)
        return found


class RecordingOs:
    """The module `os`, as the package sees it: what it does below a folder is noted as effects on a disk.

    A sync is noted and not carried out. disk: what is there at the start; it is kept up to date. links: has it hard
    links?
    """

    # fmt: off
    _REFUSED = frozenset({
        "copy_file_range", "fdatasync", "ftruncate", "makedirs", "posix_fallocate", "pwrite", "pwritev", "remove",
        "removedirs", "renames", "sendfile", "symlink", "truncate", "utime", "writev",
    })
    # fmt: on

    def __init__(self, root: Path, disk: Disk, *, links: bool) -> None:
        self.effects: list[Effect] = []
        self._root, self._disk, self._links = str(root), disk, links
        self._opened: dict[int, str] = {}
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        assert name not in self._REFUSED, f"the model of a disk does not know os.{name}"
        return getattr(os, name)

    def open(self, path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        with self._lock:
            where = self._relative(path, dir_fd)
            if where is None:
                return os.open(path, flags, mode, dir_fd=dir_fd)
            assert not flags & os.O_TRUNC, "the model of a disk does not know O_TRUNC"
            descriptor = os.open(path, flags, mode, dir_fd=dir_fd)
            if flags & os.O_CREAT and not self._disk.has(where):
                self._note("make", where)
            self._opened[descriptor] = where
        return descriptor

    def close(self, descriptor: int) -> None:
        with self._lock:
            self._opened.pop(descriptor, None)
            os.close(descriptor)

    def write(self, descriptor: int, data: Any) -> int:
        with self._lock:
            written = os.write(descriptor, data)
            if descriptor in self._opened:
                # In two halves: a cut between them leaves a torn write.
                node, done = self._disk.find(self._opened[descriptor]), bytes(data[:written])
                self._note("write", node, done[: len(done) // 2])
                self._note("write", node, done[len(done) // 2 :])
        return written

    def fsync(self, descriptor: int) -> None:
        with self._lock:
            if descriptor in self._opened:
                self._note("sync", self._disk.find(self._opened[descriptor]))

    def mkdir(self, path: str, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        with self._lock:
            os.mkdir(path, mode, dir_fd=dir_fd)
            self._note("mkdir", self._ours(path, dir_fd))

    def unlink(self, path: str, *, dir_fd: int | None = None) -> None:
        with self._lock:
            os.unlink(path, dir_fd=dir_fd)
            self._note("unlink", self._ours(path, dir_fd))

    def rmdir(self, path: str, *, dir_fd: int | None = None) -> None:
        with self._lock:
            os.rmdir(path, dir_fd=dir_fd)
            self._note("unlink", self._ours(path, dir_fd))

    def link(self, old: str, new: str, **folders: int | None) -> None:
        if not self._links:
            raise OSError(errno.EPERM, "there are no hard links here")
        self._two("link", old, new, folders)

    def rename(self, old: str, new: str, **folders: int | None) -> None:
        self._two("rename", old, new, folders)

    replace = rename

    def _two(self, verb: str, old: str, new: str, folders: dict[str, int | None]) -> None:
        with self._lock:
            getattr(os, verb)(old, new, **folders)
            source, target = folders.get("src_dir_fd"), folders.get("dst_dir_fd")
            self._note(verb, self._ours(old, source), self._ours(new, target))

    def _note(self, verb: str, *arguments: Any) -> None:
        self.effects.append((verb, *arguments))
        getattr(self._disk, verb)(*arguments)

    def _ours(self, path: str, folder: int | None) -> str:
        where = self._relative(path, folder)
        assert where is not None, f"{path} was changed, outside of {self._root}"
        return where

    def _relative(self, path: str, folder: int | None) -> str | None:
        """A path from the folder above all; None if it is outside."""
        if not isinstance(path, str):
            return None
        if folder is not None:
            where = self._opened.get(folder)
            return None if where is None else f"{where}/{path}".lstrip("/")
        inside = path == self._root or path.startswith(self._root + os.sep)
        return path[len(self._root) + 1 :] if inside else None


@contextmanager
def recorded(root: Path, disk: Disk, *, links: bool = True) -> Iterator[list[Effect]]:
    """Record what a process that has just begun does below a folder that holds what the disk holds."""
    seam = RecordingOs(root, disk, links=links)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folders, "_DURABLE", set())
        for name, module in list(sys.modules.items()):
            if name.startswith("lance_like.") and getattr(module, "os", None) is os:
                patch.setattr(module, "os", seam)
        yield seam.effects
    assert disk.tree() == read_tree(root), "the disk was changed past the seam"


def read_tree(root: Path) -> Tree:
    """Everything below a folder."""
    found = sorted(root.rglob("*"))
    return {str(path.relative_to(root)): None if path.is_dir() else path.read_bytes() for path in found}


def write_tree(root: Path, tree: Tree) -> None:
    """Make a folder hold a tree of a day ago; folders stand before what is in them."""
    root.mkdir()
    yesterday = time.time() - 86_400
    for path, data in tree.items():
        if data is None:
            (root / path).mkdir()
        else:
            (root / path).write_bytes(data)
            os.utime(root / path, (yesterday, yesterday))
