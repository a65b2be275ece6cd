"""A store on any filesystem of fsspec: S3, and others by their schemes. This module is the one door to fsspec.

Nothing is cached here or there: a listing or a size is asked for whenever it is needed. What goes to the store is
counted in requests, so near ranges are read as one and all of a round side by side.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import chain
from typing import Any

import numpy as np

from lance_like._lazy import need
from lance_like.errors import (
    AlreadyExists,
    Corrupt,
    InvalidInput,
    LanceLikeError,
    MissingDependency,
    NotFound,
    StorageError,
)
from lance_like.io.conditional import prove, put_if_absent
from lance_like.io.options import as_fsspec
from lance_like.io.store import TEMPORARY, check_key, check_limit
from lance_like.ranges import answer_from_parts, coalesce
from lance_like.typing_ import Bytes, Int64s, Ranges

SCHEMES = frozenset(
    {"abfs", "abfss", "az", "ftp", "gcs", "gs", "hf", "http", "https", "memory", "oci", "oss", "r2", "s3", "s3a"}
)
"""What may be opened: no text from elsewhere decides what is imported."""

Lock = Callable[[str], AbstractContextManager[Any]]
"""From a key to what one writer at a time is in while it writes there."""

# A request takes as long as reading 1 MiB or more; what lies this near is read along.
_GAP_NBYTES = 64 << 10
# A longer range is read in pieces side by side: one connection gives tens of MB a second.
_PIECE_NBYTES = 8 << 20
# A range so long is compared with the size of the object first: a damaged number must not read all of it.
_LONG_NBYTES = 64 << 20
# Up to here an object is written by one request; beyond, in parts of this size, of which a store allows 10,000.
_PART_NBYTES = 16 << 20
_DELETES_AT_ONCE = 16


def filesystem_of(uri: str, options: Mapping[str, Any]) -> tuple[Any, str]:
    """The filesystem of fsspec for a URI, and the path there. Raises MissingDependency, or InvalidInput for options."""
    scheme = uri.partition("://")[0].lower()
    try:
        return need("fsspec").core.url_to_fs(uri, **options)
    except ImportError as error:
        if isinstance(error, MissingDependency):
            raise
        hint = "pip install 'lance_like[s3]'" if scheme in ("s3", "s3a") else ""
        raise MissingDependency(f"{scheme}:// needs a library: {error}", kind="dependency", hint=hint) from error
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput(f"{uri!r} cannot be opened with these options: {error}", kind="storage-options") from error


class FsspecStore:
    """Objects of an object store, below one prefix.

    uri: with its scheme. options: as pylance or fsspec name them.
    lock: what makes writers one at a time where the store cannot; then it is always taken.
    """

    def __init__(self, uri: str, *, options: Mapping[str, Any] | None = None, lock: Lock | None = None) -> None:
        self.uri = uri.rstrip("/")
        self.options = dict(options or {})
        self._lock = lock
        self._opened: tuple[int, Any, str] | None = None

    def read(self, keys: Sequence[str], *, limit: int) -> list[bytes | None]:
        paths = [self._at(key)[1] for key in keys]
        if not keys:
            return []
        system = self._root()[0]
        # One byte more than may be there, so that no size is asked for.
        with self._reported(keys[0]):
            found = system.cat_ranges(paths, [0] * len(paths), [limit + 1] * len(paths), on_error="return")
        return [self._small(key, data, limit) for key, data in zip(keys, found, strict=True)]

    def size(self, key: str) -> int:
        system, path = self._at(key)
        with self._reported(key):
            found = system.info(path)
        if found["type"] == "directory":
            raise self._missing(key)
        return int(found["size"])

    def modified_us(self, key: str) -> int:
        system, path = self._at(key)
        with self._reported(key):
            return round(system.modified(path).timestamp() * 1_000_000)

    def settle(self, key: str) -> None:
        # A store of objects shows nothing that it may still lose.
        if not key.endswith("/"):
            self.size(key)

    def gather(self, key: str, asks: Sequence[Ranges]) -> list[Bytes]:
        starts, ends = (np.concatenate([ask[side] for ask in asks] or [[]]).astype(np.int64) for side in (0, 1))
        filled = ends > starts
        firsts, lasts = coalesce(starts[filled], ends[filled], gap=_GAP_NBYTES)
        if len(firsts) and int((lasts - firsts).max()) > _LONG_NBYTES:
            self._check_end(key, int(lasts.max()))
        data = self._read(key, firsts, lasts)
        return [answer_from_parts(data, firsts, lasts, ask) for ask in asks]

    def put(self, key: str, chunks: Iterable[bytes | memoryview | Bytes], *, durable: bool = True) -> int:
        system, path = self._at(key)
        waiting: list[bytes | memoryview | Bytes] = []
        nbytes = 0
        rest = iter(chunks)
        for chunk in rest:
            waiting.append(chunk)
            nbytes += len(chunk)
            if nbytes > _PART_NBYTES:
                return self._put_parts(key, chain(waiting, rest))
        with self._reported(key):
            system.pipe_file(path, b"".join(waiting))
        return nbytes

    def put_if_absent(self, key: str, data: bytes) -> None:
        system, path = self._at(key)
        if self._lock is not None:
            with self._lock(key):
                with suppress(NotFound):
                    self.size(key)
                    raise AlreadyExists(f"{key!r} exists", kind="taken", where=self.uri)
                with self._reported(key, known=False):
                    system.pipe_file(path, data)
            return
        with self._reported(key):
            prove(system, self._root()[1], self.uri)
        with self._reported(key, known=False):
            put_if_absent(system, path, data)

    def list(self, prefix: str, *, temporary: bool = False) -> list[str]:
        system, folder = self._at(prefix.rstrip("/")) if prefix.strip("/") else self._root()
        # Off for those that can be told so, and for others.
        system.invalidate_cache()
        try:
            with self._reported(prefix):
                entries = system.ls(folder, detail=True)
        except NotFound:
            return []
        names: set[str] = set()
        for entry in entries:
            above, _, name = entry["name"].rstrip("/").rpartition("/")
            if above == folder and name.startswith(TEMPORARY) == temporary:
                names.add(name + "/" if entry["type"] == "directory" else name)
        return sorted(names)

    def delete(self, keys: Iterable[str], *, durable: bool = True) -> None:
        # Folders are only names in names here.
        checked = [check_key(key) for key in keys if not (key.endswith("/") and check_key(key[:-1]))]
        if len(checked) > 1:
            with ThreadPoolExecutor(min(_DELETES_AT_ONCE, len(checked))) as pool:
                list(pool.map(self._remove, checked))
        elif checked:
            self._remove(checked[0])

    def __getstate__(self) -> dict[str, Any]:
        return {"uri": self.uri, "options": self.options, "lock": self._lock}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["uri"], options=state["options"], lock=state["lock"])

    def _root(self) -> tuple[Any, str]:
        opened = self._opened
        # A forked process needs a filesystem of its own: the loop that runs requests is a thread.
        if opened is None or opened[0] != os.getpid():
            scheme = self.uri.partition("://")[0].lower()
            options = {"use_listings_cache": False, **as_fsspec(scheme, self.options)}
            opened = self._opened = (os.getpid(), *filesystem_of(self.uri, options))
        return opened[1], opened[2].rstrip("/")

    def _at(self, key: str) -> tuple[Any, str]:
        system, root = self._root()
        return system, f"{root}/{check_key(key)}"

    def _small(self, key: str, found: bytes | Exception, limit: int) -> bytes | None:
        """A small object from the answer to a range that it may not fill."""
        if isinstance(found, bytes):
            check_limit(len(found), limit, key)
            return found
        try:
            with self._reported(key):
                raise found
        except NotFound:
            return None
        except StorageError:
            # An object of no bytes has no range.
            if self.size(key) == 0:
                return b""
            raise

    def _read(self, key: str, firsts: Int64s, lasts: Int64s) -> Bytes:
        """The bytes of ranges, end to end. Cost: one request a piece, all side by side."""
        system, path = self._at(key)
        pieces = [
            (start, min(start + _PIECE_NBYTES, last))
            for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True)
            for start in range(first, last, _PIECE_NBYTES)
        ]
        if not pieces:
            return np.empty(0, np.uint8)
        starts, ends = map(list, zip(*pieces, strict=True))
        try:
            with self._reported(key):
                found = system.cat_ranges([path] * len(pieces), starts, ends, on_error="raise")
        except StorageError:
            # A range that begins past the end is an error of many kinds.
            self._check_end(key, max(ends))
            raise
        if any(len(data) != end - start for data, (start, end) in zip(found, pieces, strict=True)):
            self._check_end(key, max(ends))
            raise StorageError(
                "the store gave fewer bytes than it was asked for", kind="storage", where=self._place(key)
            )
        return np.frombuffer(found[0] if len(found) == 1 else b"".join(found), np.uint8)

    def _check_end(self, key: str, end: int) -> None:
        nbytes = self.size(key)
        if end > nbytes:
            raise Corrupt(f"a read reaches byte {end:,} of an object of {nbytes:,}", kind="truncated", where=key)

    def _put_parts(self, key: str, chunks: Iterator[bytes | memoryview | Bytes]) -> int:
        """Write a large object in parts; it is there when all of them are."""
        system, path = self._at(key)
        nbytes = 0
        with self._reported(key):
            file = system.open(path, "wb", block_size=_PART_NBYTES, autocommit=False)
        try:
            for chunk in chunks:
                with self._reported(key):
                    file.write(chunk)
                nbytes += len(chunk)
            with self._reported(key):
                file.close()
                file.commit()
        except BaseException:
            with suppress(Exception):
                file.discard()
            # Or its end would write what there is.
            file.closed = True
            raise
        return nbytes

    def _remove(self, key: str) -> None:
        system, path = self._at(key)
        with suppress(NotFound), self._reported(key):
            system.rm_file(path)

    @contextmanager
    def _reported(self, key: str, *, known: bool = True) -> Iterator[None]:
        """Turn errors into ours. known: False when the request may have been carried out in spite of one."""
        try:
            yield
        except LanceLikeError:
            raise
        except FileNotFoundError as error:
            raise self._missing(key) from error
        except FileExistsError as error:
            raise AlreadyExists(f"{key!r} exists", kind="taken", where=self.uri) from error
        except Exception as error:
            text = str(error) or type(error).__name__
            failure = StorageError(f"the store failed: {text}", kind="storage", where=self._place(key))
            # Without a number it says nothing about what was done (`table.commit`).
            failure.errno = getattr(error, "errno", None) if known else None
            raise failure from error

    def _missing(self, key: str) -> NotFound:
        return NotFound(f"{key!r} does not exist", kind="object", where=self.uri)

    def _place(self, key: str) -> str:
        return f"{self.uri}/{key}"


__all__ = ["SCHEMES", "FsspecStore", "Lock", "filesystem_of"]
