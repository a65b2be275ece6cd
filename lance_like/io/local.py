"""A store on the local disk: mapped reads, durable writes, publish by hard link.

Reads map each file once (`io.mapped`). Writes go to a temporary name beside the final one and are synced, file
and folder, before and after they get it (format_spec/commit.md, "Durability").
"""

from __future__ import annotations

import errno
import os
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Literal

import numpy as np

from lance_like.errors import AlreadyExists, Corrupt, InvalidInput, LanceLikeError, NotFound, StorageError
from lance_like.io.mapped import LARGE_NBYTES, MappedFile, check_regular, identity_of
from lance_like.io.store import TEMPORARY, check_key
from lance_like.io.writeback import begin_writeback
from lance_like.locks import lock_over_forks
from lance_like.ranges import answer_from
from lance_like.typing_ import Bytes, Ranges

Durability = Literal["full", "process"]

# Files kept mapped, at two descriptors each: far below the usual limit of 1,024, above the fragments of most takes.
_MAPPED_FILES = 256
# Bytes of large ranges, such as a scan reads, that stay mapped into this process; those read longest ago are let go.
_LARGE_MAPPED_NBYTES = 512 << 20

_LOCK = lock_over_forks()
# What one write call is given: the kernel copies it in one go and errors surface early.
_WRITE_BUFFER = 1 << 20
# Bytes after which the disk is set to work: 500 MB took 0.24 s instead of 0.42 s to write and sync.
_WRITEBACK_NBYTES = 8 << 20


class LocalStore:
    """Objects as files below one folder.

    root: the folder; made by the first write.
    durability: "full" syncs every file and folder before a write returns; "process" syncs nothing and
    survives the death of the process only, not a power cut.
    folders: what the writer will need; the first write that makes a folder makes them too, and each that holds
    several is synced once.
    """

    def __init__(self, root: str, *, durability: Durability = "full", folders: Sequence[str] = ()) -> None:
        if durability not in ("full", "process"):
            raise InvalidInput(f"durability={durability!r}: expected 'full' or 'process'")
        self.uri = os.path.abspath(os.path.expanduser(root))
        self._sync = durability == "full"
        self._folders = tuple(folders)
        self._maps: dict[str, MappedFile] = {}
        self._large: OrderedDict[tuple[MappedFile, int], int] = OrderedDict()
        self._large_nbytes = 0

    def size(self, key: str) -> int:
        with _reported(self.uri, key):
            status = os.stat(self._path(key), follow_symlinks=False)
        check_regular(status, key)
        return status.st_size

    def modified_us(self, key: str) -> int:
        with _reported(self.uri, key):
            status = os.stat(self._path(key), follow_symlinks=False)
        check_regular(status, key)
        return status.st_mtime_ns // 1000

    def gather(self, key: str, asks: Sequence[Ranges]) -> list[Bytes]:
        mapped = self._mapped(key)
        data = mapped.data
        large: list[tuple[int, int]] = []
        for starts, ends in asks:
            n = len(ends)
            if n == 0:
                continue
            last = int(ends[0] if n == 1 else np.maximum.reduce(ends))
            if last > len(data):
                raise Corrupt(
                    f"a read reaches byte {last:,} of a file of {len(data):,}",
                    kind="truncated",
                    where=key,
                )
            if n == 1 and last - (first := int(starts[0])) >= LARGE_NBYTES:
                large.append((first, last))
        mapped.prepare(asks)
        answers = [answer_from(data, ask) for ask in asks]
        for first, last in large:
            self._note_large(mapped, first, last)
        return answers

    def put(self, key: str, chunks: Iterable[bytes | memoryview | Bytes], *, durable: bool = True) -> int:
        with self._temporary(key) as (path, temporary):
            nbytes = self._write(temporary, chunks, sync=self._sync and durable)
            with _reported(self.uri, key):
                os.replace(temporary, path)
                if durable:
                    self._sync_folder(os.path.dirname(path))
        return nbytes

    def put_if_absent(self, key: str, data: bytes) -> None:
        with self._temporary(key) as (path, temporary):
            self._write(temporary, [data], sync=self._sync)
            with _reported(self.uri, key):
                os.link(temporary, path)
                os.unlink(temporary)
                self._sync_folder(os.path.dirname(path))

    def list(self, prefix: str, *, temporary: bool = False) -> list[str]:
        folder = self._path(prefix.rstrip("/")) if prefix.strip("/") else self.uri
        with _reported(self.uri, prefix):
            try:
                with os.scandir(folder) as entries:
                    names = [e.name + "/" if e.is_dir(follow_symlinks=False) else e.name for e in entries]
            except FileNotFoundError:
                return []
        return sorted(name for name in names if name.startswith(TEMPORARY) == temporary)

    def delete(self, keys: Iterable[str], *, durable: bool = True) -> None:
        folders: dict[str, None] = {}
        for key in keys:
            path = self._path(key)
            with _reported(self.uri, key), suppress(FileNotFoundError):
                os.unlink(path)
                folders[os.path.dirname(path)] = None
        if durable:
            for folder in folders:
                with _reported(self.uri, folder):
                    self._sync_folder(folder)

    def __getstate__(self) -> dict[str, Any]:
        return {"uri": self.uri, "sync": self._sync, "folders": self._folders}

    def __setstate__(self, state: dict[str, Any]) -> None:
        durability: Durability = "full" if state["sync"] else "process"
        self.__init__(state["uri"], durability=durability, folders=state["folders"])

    def _path(self, key: str) -> str:
        return os.path.join(self.uri, *check_key(key).split("/"))

    def _mapped(self, key: str) -> MappedFile:
        known = self._maps.get(key)
        path = self._path(key) if known is None else known.path
        try:
            # A tag may have been replaced by another process; and a file cut short under its map would kill
            # the process on the next read of the part that is gone.
            if known is not None and known.identity == identity_of(os.stat(path, follow_symlinks=False)):
                known.used = True
                return known
            mapped = MappedFile(path)
        except OSError as error:
            raise _failure(error, self.uri, key) from error
        with _LOCK:
            if (replaced := self._maps.pop(key, None)) is not None:
                self._forget(replaced)
            self._maps[key] = mapped
            while len(self._maps) > _MAPPED_FILES:
                self._forget_one()
        return mapped

    def _forget_one(self) -> None:
        """Forget the file mapped longest ago that was not read since it was last spared. Call with the lock held."""
        for key, mapped in list(self._maps.items()):
            del self._maps[key]
            if not mapped.used:
                self._forget(mapped)
                return
            mapped.used = False
            self._maps[key] = mapped

    def _forget(self, mapped: MappedFile) -> None:
        """Hold a file no longer: its descriptors close with the last view of it. Call with the lock held."""
        for place in [place for place in self._large if place[0] is mapped]:
            self._large_nbytes -= self._large.pop(place) - place[1]

    def _note_large(self, mapped: MappedFile, start: int, end: int) -> None:
        """Remember a range that was handed out as a view, and let go of those handed out longest ago."""
        behind: list[tuple[MappedFile, int, int]] = []
        with _LOCK:
            large = self._large
            self._large_nbytes += end - large.pop((mapped, start), start)
            large[mapped, start] = end
            while self._large_nbytes > _LARGE_MAPPED_NBYTES and len(large) > 1:
                (old, first), last = large.popitem(last=False)
                self._large_nbytes -= last - first
                behind.append((old, first, last))
        for old, first, last in behind:
            old.release(first, last)

    @contextmanager
    def _temporary(self, key: str) -> Iterator[tuple[str, str]]:
        path = self._path(key)
        folder = os.path.dirname(path)
        temporary = os.path.join(folder, TEMPORARY + uuid.uuid4().hex)
        with _reported(self.uri, key):
            self._make_folder(folder)
        try:
            yield path, temporary
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise

    def _write(self, path: str, chunks: Iterable[bytes | memoryview | Bytes], *, sync: bool) -> int:
        nbytes = begun = 0
        with _reported(self.uri, path):
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            for chunk in _joined(chunks):
                with _reported(self.uri, path):
                    _write_fully(file, chunk)
                nbytes += len(chunk)
                if sync and nbytes - begun >= _WRITEBACK_NBYTES:
                    begin_writeback(file, begun, nbytes)
                    begun = nbytes
            if sync:
                with _reported(self.uri, path):
                    os.fsync(file)
        except BaseException:
            with suppress(OSError):
                os.close(file)
            raise
        with _reported(self.uri, path):
            os.close(file)
        return nbytes

    def _make_folder(self, folder: str) -> None:
        if os.path.isdir(folder):
            return
        missing = _missing(folder)
        for other in self._folders:
            missing += [path for path in _missing(self._path(other)) if path not in missing]
        for path in missing:
            with suppress(FileExistsError):
                os.mkdir(path)
        for parent in dict.fromkeys(map(os.path.dirname, missing)):
            self._sync_folder(parent)

    def _sync_folder(self, folder: str) -> None:
        if not self._sync:
            return
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _missing(folder: str) -> list[str]:
    """The folders to make, from the top down, before there is one of this path."""
    paths: list[str] = []
    while not os.path.isdir(folder) and folder != os.path.dirname(folder):
        paths.append(folder)
        folder = os.path.dirname(folder)
    return paths[::-1]


def _joined(chunks: Iterable[bytes | memoryview | Bytes]) -> Iterator[memoryview]:
    """Small chunks joined to a write buffer, large ones as they are."""
    waiting: list[bytes | memoryview | Bytes] = []
    nbytes = 0
    for chunk in chunks:
        size = len(chunk)
        if nbytes + size > _WRITE_BUFFER and waiting:
            yield memoryview(b"".join(waiting))
            waiting, nbytes = [], 0
        if size >= _WRITE_BUFFER:
            yield memoryview(chunk)
        else:
            waiting.append(chunk)
            nbytes += size
    if waiting:
        yield memoryview(b"".join(waiting))


def _write_fully(descriptor: int, data: memoryview) -> None:
    while len(data):
        data = data[os.write(descriptor, data) :]


@contextmanager
def _reported(root: str, key: str) -> Iterator[None]:
    """Turn the errors of the operating system into ours, with the place."""
    try:
        yield
    except OSError as error:
        raise _failure(error, root, key) from error


def _failure(error: OSError, root: str, key: str) -> LanceLikeError:
    if isinstance(error, StorageError):
        return error
    if isinstance(error, FileNotFoundError):
        return NotFound(f"{key!r} does not exist", kind="object", where=root)
    if isinstance(error, FileExistsError):
        return AlreadyExists(f"{key!r} exists", kind="taken", where=root)
    if error.errno == errno.ELOOP:
        return Corrupt("this is a symbolic link, not a file", kind="file-type", where=key)
    failure = StorageError(f"{error.strerror or error}", kind="storage", where=os.path.join(root, key))
    failure.errno = error.errno
    return failure


__all__ = ["Durability", "LocalStore"]
