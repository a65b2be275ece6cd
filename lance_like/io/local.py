"""A store on the local disk: mapped reads, durable writes, publish by hard link or claim.

Reads map each file once (`io.mapped`). Writes go to a temporary name beside the final one and are synced, file
and folder, before and after they get it; what must not replace gets it by hard link, or by claim where there are none
(format_spec/commit.md, "Durability").
"""

from __future__ import annotations

import errno
import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import groupby
from typing import Any, Literal

import numpy as np

from lance_like.errors import AlreadyExists, Corrupt, InvalidInput, LanceLikeError, NotFound, StorageError
from lance_like.io.claim import publish_by_claim, remove_claim
from lance_like.io.folders import (
    make_folders,
    open_file,
    open_folder,
    opened_folder,
    settle,
    status_of,
    walked_folder,
)
from lance_like.io.mapped import LARGE_NBYTES, MappedFile, check_regular
from lance_like.io.store import TEMPORARY, check_key, check_limit
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
# What a disk without hard links says: FAT, and others through FUSE or a network.
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS})
# Tries to publish there: one is lost when the writer stands still in the middle of it for seconds.
_CLAIMS = 5
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

    def read(self, keys: Sequence[str], *, limit: int) -> list[bytes | None]:
        found: list[bytes | None] = []
        for folder, group in groupby(keys, lambda key: check_key(key).rpartition("/")[0]):
            found += self._read(folder, list(group), limit)
        return found

    def size(self, key: str) -> int:
        return self._status(key).st_size

    def modified_us(self, key: str) -> int:
        return self._status(key).st_mtime_ns // 1000

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
        sync = self._sync and durable
        with self._temporary(key, sync=sync) as (folder, name, temporary):
            nbytes = self._write(folder, temporary, chunks, key=key, sync=sync)
            with _Reported(self.uri, key):
                os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
                if sync:
                    os.fsync(folder)
        return nbytes

    def put_if_absent(self, key: str, data: bytes) -> None:
        for _ in range(_CLAIMS):
            with self._temporary(key, sync=self._sync) as (folder, name, temporary):
                self._write(folder, temporary, [data], key=key, sync=self._sync)
                with _Reported(self.uri, key):
                    if _publish(folder, temporary, name):
                        if self._sync:
                            os.fsync(folder)
                        return
        failure = StorageError(
            f"other writers took the claim of {key!r} {_CLAIMS} times", kind="storage", where=self.uri
        )
        failure.errno = errno.EBUSY
        raise failure

    def settle(self, key: str) -> None:
        *parts, name = key.split("/")
        if name:
            self._status(key)
        if self._sync:
            with _Reported(self.uri, key), suppress(FileNotFoundError), opened_folder(self.uri, parts) as folder:
                settle(self.uri, [parts], folder)
                os.fsync(folder)

    def list(self, prefix: str, *, temporary: bool = False) -> list[str]:
        parts = check_key(prefix.rstrip("/")).split("/") if prefix.strip("/") else []
        with _Reported(self.uri, prefix):
            try:
                with opened_folder(self.uri, parts) as folder, os.scandir(folder) as entries:
                    if temporary:
                        return sorted(entry.name for entry in entries if entry.name.startswith(TEMPORARY))
                    names = [e.name + "/" if e.is_dir(follow_symlinks=False) else e.name for e in entries]
            except FileNotFoundError:
                return []
        return sorted(name for name in names if not name.startswith(TEMPORARY))

    def delete(self, keys: Iterable[str], *, durable: bool = True) -> None:
        names: dict[str, list[str]] = {}
        for key in keys:
            plain = check_key(key.removesuffix("/"))
            parent, _, name = plain.rpartition("/")
            names.setdefault(parent, []).append(name + key[len(plain) :])
        for parent, below in names.items():
            with (
                _Reported(self.uri, parent),
                suppress(FileNotFoundError),
                opened_folder(self.uri, parent.split("/") if parent else []) as folder,
            ):
                # A list, so that each name is tried.
                gone = [_remove(folder, name) for name in below]
                if any(gone) and self._sync and durable:
                    os.fsync(folder)

    def __getstate__(self) -> dict[str, Any]:
        return {"uri": self.uri, "sync": self._sync, "folders": self._folders}

    def __setstate__(self, state: dict[str, Any]) -> None:
        durability: Durability = "full" if state["sync"] else "process"
        self.__init__(state["uri"], durability=durability, folders=state["folders"])

    def _read(self, folder: str, keys: Sequence[str], limit: int) -> list[bytes | None]:
        """Small files of one folder whole, without the maps and the descriptors that `gather` keeps."""
        try:
            with _Reported(self.uri, folder), walked_folder(self.uri, folder.split("/") if folder else []) as above:
                return [self._read_one(above, key, limit) for key in keys]
        except NotFound:
            return [None] * len(keys)

    def _read_one(self, folder: int, key: str, limit: int) -> bytes | None:
        with _Reported(self.uri, key):
            return _read_small(folder, key, limit)

    def _status(self, key: str) -> os.stat_result:
        with _Reported(self.uri, check_key(key)):
            status = status_of(self.uri, key)
        # An unfinished write may be a claim, which is a folder.
        if not key.rpartition("/")[2].startswith(TEMPORARY):
            check_regular(status, key)
        return status

    def _mapped(self, key: str) -> MappedFile:
        known = self._maps.get(key)
        try:
            if known is not None and known.is_there():
                known.used = True
                return known
            # O_NONBLOCK: opening a FIFO put in the place of a file must not hang.
            file = open_file(self.uri, check_key(key), os.O_RDONLY | os.O_NONBLOCK)
            mapped = MappedFile(file, os.path.join(self.uri, key))
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
    def _temporary(self, key: str, *, sync: bool) -> Iterator[tuple[int, str, str]]:
        """A descriptor of the folder of a key, its name there, and that of a temporary file, removed at an error."""
        *parts, name = check_key(key).split("/")
        temporary = TEMPORARY + os.urandom(16).hex()
        with _Reported(self.uri, key):
            folder = self._made_folder(parts, sync=sync)
        try:
            yield folder, name, temporary
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=folder)
            raise
        finally:
            with _Reported(self.uri, key):
                os.close(folder)

    def _made_folder(self, parts: Sequence[str], *, sync: bool) -> int:
        """A descriptor of a folder, which is made if it is missing, and with sync outlives a power cut."""
        folders = [parts]
        try:
            folder = open_folder(self.uri, parts)
        except FileNotFoundError:
            # A lease needs its own folder only.
            folders += [other.split("/") for other in self._folders if sync]
            make_folders(self.uri, folders)
            folder = open_folder(self.uri, parts)
        try:
            if sync:
                settle(self.uri, folders, folder)
        except BaseException:
            os.close(folder)
            raise
        return folder

    def _write(
        self, folder: int, name: str, chunks: Iterable[bytes | memoryview | Bytes], *, key: str, sync: bool
    ) -> int:
        nbytes = begun = 0
        with _Reported(self.uri, key):
            file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=folder)
        try:
            for chunk in _joined(chunks):
                with _Reported(self.uri, key):
                    _write_fully(file, chunk)
                nbytes += len(chunk)
                if sync and nbytes - begun >= _WRITEBACK_NBYTES:
                    begin_writeback(file, begun, nbytes)
                    begun = nbytes
            if sync:
                with _Reported(self.uri, key):
                    os.fsync(file)
        except BaseException:
            with suppress(OSError):
                os.close(file)
            raise
        with _Reported(self.uri, key):
            os.close(file)
        return nbytes


def _publish(folder: int, temporary: str, name: str) -> bool:
    """Give a file its name unless that is taken. Returns False if it must be written again (`io.claim`)."""
    try:
        os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return publish_by_claim(folder, temporary, name)
    # It has its name; that it keeps the other one too is garbage, and no reason to fail.
    with suppress(OSError):
        os.unlink(temporary, dir_fd=folder)
    return True


def _remove(folder: int, name: str) -> bool:
    """Remove a file, an unfinished write of whatever kind, or an empty folder. Returns whether there was one."""
    try:
        if name.endswith("/"):
            return _remove_empty(folder, name.removesuffix("/"))
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return False
    except (IsADirectoryError, PermissionError):
        if not name.startswith(TEMPORARY):
            raise
        remove_claim(folder, name)
    return True


def _remove_empty(folder: int, name: str) -> bool:
    try:
        os.rmdir(name, dir_fd=folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        return False
    return True


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


def _read_small(folder: int, key: str, limit: int) -> bytes | None:
    """A small file of an open folder; None when it is missing."""
    name = key.rpartition("/")[2]
    try:
        # O_NONBLOCK: opening a FIFO put in the place of a file must not hang.
        file = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except FileNotFoundError:
        return None
    try:
        status = os.fstat(file)
        check_regular(status, key)
        check_limit(status.st_size, limit, key)
        data = os.read(file, status.st_size)
        # A call gives at most 2 GiB; a file that was cut meanwhile gives less.
        while len(data) < status.st_size and (more := os.read(file, status.st_size - len(data))):
            data += more
        return data
    finally:
        os.close(file)


class _Reported:
    """Turns the errors of the operating system in a block into ours, with the place.

    Not a generator: a change enters a hundred of these blocks, and one of them then costs a third.
    """

    __slots__ = ("_key", "_root")

    def __init__(self, root: str, key: str) -> None:
        self._root, self._key = root, key

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, OSError):
            raise _failure(error, self._root, self._key) from error


def _failure(error: OSError, root: str, key: str) -> LanceLikeError:
    if isinstance(error, LanceLikeError):
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
