"""Folders of the local disk: opened without following links, made, and known to be durable.

Names below the folder of a store are walked one by one from it, so that a link in the place of a folder leads nowhere;
the folder of the store itself, and what lies above it, may be links.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from lance_like.errors import Corrupt

# Linux opens a folder for walking without the right to list it; elsewhere it must be readable.
_WALK = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

# Folders whose entries, up to the mount point, this process has synced after it saw them: path, device and inode, as
# the inode of a folder that was removed is soon that of another.
_DURABLE: set[tuple[str, int, int]] = set()
_MAX_DURABLE = 1 << 16


def open_file(root: str, key: str, flags: int) -> int:
    """Open one file below a folder. A link anywhere below root is not followed.

    Raises OSError, or Corrupt when a part of the key is not a folder.
    """
    *parts, name = key.split("/")
    with walked_folder(root, parts) as folder:
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)


def status_of(root: str, key: str) -> os.stat_result:
    """The status of one file below a folder, of a link itself. Raises as `open_file`."""
    *parts, name = key.split("/")
    with walked_folder(root, parts) as folder:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)


def open_folder(root: str, parts: Sequence[str]) -> int:
    """Open a folder below root, to list it, to sync it, and to name files in it. Raises as `open_file`."""
    return _walk(root, parts, _FOLDER)


@contextmanager
def walked_folder(root: str, parts: Sequence[str]) -> Iterator[int]:
    """A folder below root for a block, to open files in it. Raises as `open_file`."""
    folder = _walk(root, parts, _WALK)
    try:
        yield folder
    finally:
        os.close(folder)


@contextmanager
def opened_folder(root: str, parts: Sequence[str]) -> Iterator[int]:
    """As `open_folder`, for a block."""
    folder = open_folder(root, parts)
    try:
        yield folder
    finally:
        os.close(folder)


def make_folders(root: str, folders: Sequence[Sequence[str]]) -> None:
    """Make folders below root, and root, as far as they are missing."""
    missing: list[str] = []
    above = root
    while not os.path.isdir(above) and above != os.path.dirname(above):
        missing.append(above)
        above = os.path.dirname(above)
    for path in reversed(missing):
        _make(path, None)
    for parts in folders:
        for depth, name in enumerate(parts):
            with opened_folder(root, parts[:depth]) as above:
                _make(name, above)


def settle(root: str, folders: Sequence[Sequence[str]], first: int) -> None:
    """Make sure that a power cut takes none of these folders away, nor any that they lie in, up to the mount point.

    That a folder is there says nothing: a writer that does not sync may have made it, or one whose sync failed. So a
    process syncs what holds it once, when it first writes there.
    first: an open descriptor of the first of them.
    Cost: one system call if this process has done so before; otherwise a sync for each folder above them.
    """
    named = os.path.join(root, *folders[0])
    if _identity(named, os.fstat(first)) in _DURABLE:
        return
    # The folder of the store may be a link: its own place is durable, not where the link lies.
    real = os.path.realpath(root)
    holders: dict[str, None] = {}
    settled = [_identity(named, os.fstat(first))]
    for parts in folders:
        path = os.path.join(real, *parts)
        status = os.stat(path)
        while (identity := _identity(path, status)) not in _DURABLE and identity not in settled[1:]:
            settled.append(identity)
            holder = os.path.dirname(path)
            above = os.stat(holder)
            if above.st_dev != status.st_dev or holder == path:
                break
            holders[holder] = None
            path, status = holder, above
    for holder in sorted(holders):
        _sync_holder(holder, inside=holder.startswith(real))
    if len(_DURABLE) > _MAX_DURABLE:
        _DURABLE.clear()
    _DURABLE.update(settled)


def _sync_holder(path: str, *, inside: bool) -> None:
    try:
        folder = os.open(path, _FOLDER)
    except PermissionError:
        # Above the table lie folders of others, such as /home, that one may pass but not read.
        if inside:
            raise
        return
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _walk(root: str, parts: Sequence[str], flags: int) -> int:
    if not parts:
        return os.open(root, flags)
    folder: int | None = None
    for place, part in enumerate(parts, 1):
        above, folder = folder, None
        # The first together with the way to root, on which links are followed.
        name = os.path.join(root, part) if above is None else part
        try:
            folder = os.open(name, (_WALK if place < len(parts) else flags) | os.O_NOFOLLOW, dir_fd=above)
        except NotADirectoryError as error:
            if above is None and not os.path.isdir(root):
                raise
            raise Corrupt("this is not a folder", kind="file-type", where="/".join(parts[:place])) from error
        finally:
            if above is not None:
                os.close(above)
    assert folder is not None
    return folder


def _make(name: str, above: int | None) -> None:
    with suppress(FileExistsError):
        os.mkdir(name, dir_fd=above)
        # Its number may be that of one that was removed.
        made = os.stat(name, dir_fd=above)
        _DURABLE.difference_update([one for one in _DURABLE if one[1:] == (made.st_dev, made.st_ino)])


def _identity(path: str, status: os.stat_result) -> tuple[str, int, int]:
    return path, status.st_dev, status.st_ino


__all__ = ["make_folders", "open_file", "open_folder", "opened_folder", "settle", "status_of", "walked_folder"]
