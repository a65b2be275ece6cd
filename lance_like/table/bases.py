"""Bases: other places below which data files of a table lie (format_spec/table.md, "Bases").

A store with bases is a store like any other: whatever reads files works on it as it is. Nothing is written below one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from lance_like._lazy import cached
from lance_like.io.store import Store
from lance_like.io.uri import open_store
from lance_like.typing_ import Bytes, Ranges


class BasedStore:
    """A table's store that also finds the files below its bases, by `base_key`. bases: number -> URI."""

    def __init__(self, inner: Store, bases: Mapping[int, str]) -> None:
        self.inner, self.bases = inner, dict(bases)

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
            self._stores[base] = open_store(self.bases[base])
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
        return {"inner": self.inner, "bases": self.bases}


def with_bases(store: Store, bases: Mapping[int, str]) -> Store:
    """The store of a table, with the bases of a version."""
    return BasedStore(store, bases) if bases else store


__all__ = ["BasedStore", "with_bases"]
