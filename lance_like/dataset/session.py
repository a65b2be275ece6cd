"""What handles keep of files between reads, for several handles together."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from lance_like.errors import InvalidInput
from lance_like.index.cache import CACHE_NBYTES as INDEX_CACHE_NBYTES
from lance_like.index.cache import OpenIndexes
from lance_like.io.store import Store
from lance_like.io.uri import options_beside
from lance_like.locks import lock_over_forks
from lance_like.query.session import CACHE_NBYTES
from lance_like.query.session import Session as OpenFiles
from lance_like.table.bases import StorageOptions, with_bases
from lance_like.table.lines import main_line
from lance_like.table.manifest import Manifest
from lance_like.typing_ import whole

_LOCK = lock_over_forks()


class Session:
    """The open files and indexes of handles: those that are given one session do not open a file twice.

    metadata_cache_size_bytes: what may be kept of the metadata of data files, by estimate; 256 MiB by default.
    index_cache_size_bytes: of indexes; 1 GiB. Of several tables, those opened longest ago are forgotten above them.
    Raises InvalidInput for a size below 0.
    """

    def __init__(self, index_cache_size_bytes: int | None = None, metadata_cache_size_bytes: int | None = None) -> None:
        self._metadata_nbytes = _limit("metadata_cache_size_bytes", metadata_cache_size_bytes, CACHE_NBYTES)
        self._index_nbytes = _limit("index_cache_size_bytes", index_cache_size_bytes, INDEX_CACHE_NBYTES)
        # By table and how it is read, the one asked for longest ago first.
        self._tables: dict[Hashable, OpenFiles] = {}

    def size_bytes(self) -> int:
        """What is kept now, by estimate. Cost: O(columns opened)."""
        return sum(files.nbytes_cached for files in self._held()) + self.index_cache_size_bytes()

    def index_cache_size_bytes(self) -> int:
        """What is kept of indexes now, by estimate."""
        return sum(files.indexes.nbytes_cached for files in self._held())

    def approx_num_items(self) -> int:
        """How many data files and segments of indexes are open."""
        return sum(files.num_open + files.indexes.num_open for files in self._held())

    def is_same_as(self, other: Session) -> bool:
        """Whether both are one."""
        return self is other

    def __repr__(self) -> str:
        return f"Session(items={self.approx_num_items():,}, nbytes={self.size_bytes():,})"

    @property
    def limits(self) -> dict[str, int]:
        """The limits, as options of `lance_like.dataset`."""
        return {
            "metadata_cache_size_bytes": self._metadata_nbytes,
            "index_cache_size_bytes": self._index_nbytes,
        }

    def files_of(
        self, store: Store, manifest: Manifest, *, verify: bool, ignore: bool, base_store_params: StorageOptions | None
    ) -> OpenFiles:
        """What is open of a table, read and written through the store of one of its handles.

        verify, ignore: as `verify` and `indices` of `lance_like.dataset` say. Handles with other storage options share
        nothing.
        """
        reads = with_bases(store, manifest.bases, base_store_params)
        options: Any = options_beside(main_line(store), store.uri), base_store_params, dict(manifest.bases)
        key = store.uri, verify, ignore, repr(options)
        with _LOCK:
            found = self._tables.pop(key, None)
            if found is not None:
                self._tables[key] = found
        if found is not None:
            return found.beside(reads)
        self._forget_some()
        indexes = OpenIndexes(reads, verify=verify, cache_nbytes=self._index_nbytes, ignore=ignore)
        made = OpenFiles(reads, verify=verify, cache_nbytes=self._metadata_nbytes, indexes=indexes)
        with _LOCK:
            self._tables[key] = made
        return made

    def _held(self) -> list[OpenFiles]:
        with _LOCK:
            return list(self._tables.values())

    def _forget_some(self) -> None:
        """Forget tables, the one asked for longest ago first, until the others are within the limits."""
        if not self._tables:
            return
        sizes = [(key, files.nbytes_cached, files.indexes.nbytes_cached) for key, files in list(self._tables.items())]
        over = sum(size for _, size, _ in sizes) - self._metadata_nbytes
        over_indexes = sum(size for _, _, size in sizes) - self._index_nbytes
        for key, nbytes, index_nbytes in sizes:
            if over <= 0 and over_indexes <= 0:
                return
            over, over_indexes = over - nbytes, over_indexes - index_nbytes
            with _LOCK:
                self._tables.pop(key, None)


def _limit(name: str, nbytes: int | None, default: int) -> int:
    if nbytes is None:
        return default
    number = whole(nbytes)
    if number is None:
        raise InvalidInput(f"{name}={nbytes!r}: expected a number of bytes")
    return number


__all__ = ["Session"]
