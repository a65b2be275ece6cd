"""Bases: other places below which data files of a table lie (format_spec/table.md, "Bases").

A store with bases is a store like any other: whatever reads files works on it as it is. Nothing is written below one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lance_like._lazy import cached
from lance_like.io.store import Store
from lance_like.io.uri import open_store, options_beside
from lance_like.table.lines import main_line
from lance_like.typing_ import Bytes, Ranges

StorageOptions = Mapping[str, Mapping[str, Any]]
"""The storage options of bases, by URI."""


class BasedStore:
    """A table's store that also finds the files below its bases, by `base_key`. bases: number -> URI.

    options: of bases that are object stores; one without any is opened with those of the table, where both belong to
    one service.
    """

    def __init__(self, inner: Store, bases: Mapping[int, str], options: StorageOptions | None = None) -> None:
        self.inner, self.bases, self.options = inner, dict(bases), dict(options or {})

    @property
    def uri(self) -> str:
        return self.inner.uri

    @cached
    def _stores(self) -> dict[int, Store]:
        return {}

    def place(self, key: str) -> tuple[Store, str]:
        """The store that holds an object and its key there; a base is opened when it is first asked for."""
        number, colon, path = key.partition(":")
        if not colon:
            return self.inner, key
        base = int(number)
        if base not in self._stores:
            uri = self.bases[base]
            options = self.options.get(uri) or options_beside(main_line(self.inner), uri)
            self._stores[base] = open_store(uri, storage_options=options)
        return self._stores[base], path

    def size(self, key: str) -> int:
        store, path = self.place(key)
        return store.size(path)

    def modified_us(self, key: str) -> int:
        store, path = self.place(key)
        return store.modified_us(path)

    def gather(self, key: str, asks: Sequence[Ranges]) -> list[Bytes]:
        store, path = self.place(key)
        return store.gather(path, asks)

    def read(self, keys: Sequence[str], *, limit: int) -> list[bytes | None]:
        return self.inner.read(keys, limit=limit)

    def put(self, key: str, chunks: Iterable[bytes | memoryview | Bytes], *, durable: bool = True) -> int:
        return self.inner.put(key, chunks, durable=durable)

    def put_if_absent(self, key: str, data: bytes) -> None:
        self.inner.put_if_absent(key, data)

    def settle(self, key: str) -> None:
        self.inner.settle(key)

    def list(self, prefix: str, *, temporary: bool = False) -> list[str]:
        return self.inner.list(prefix, temporary=temporary)

    def delete(self, keys: Iterable[str], *, durable: bool = True) -> None:
        self.inner.delete(keys, durable=durable)

    def __getstate__(self) -> dict[str, object]:
        return {"inner": self.inner, "bases": self.bases, "options": self.options}


def with_bases(store: Store, bases: Mapping[int, str], options: StorageOptions | None = None) -> Store:
    """The store of a table, with the bases of a version. options: as in `BasedStore`."""
    return BasedStore(store, bases, options) if bases else store


__all__ = ["BasedStore", "StorageOptions", "with_bases"]
