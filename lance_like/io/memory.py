"""A store in memory: for tests, and for tables that need not outlive the process."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterable, Sequence
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from lance_like.errors import AlreadyExists, Corrupt, NotFound
from lance_like.io.store import TEMPORARY, check_key, check_limit
from lance_like.ranges import answer_from
from lance_like.typing_ import Bytes, Ranges

_NAMED: dict[str, MemoryStore] = {}
_UNNAMED: WeakValueDictionary[str, MemoryStore] = WeakValueDictionary()


class MemoryStore:
    """Objects in a dict, shared by every thread that holds this store. A copy by pickle is the store of its name."""

    @classmethod
    def named(cls, name: str) -> MemoryStore:
        """The store of a name in this process, which is the same at every call."""
        return _UNNAMED.get(name) or _NAMED.setdefault(name, cls(name))

    @classmethod
    def unnamed(cls) -> MemoryStore:
        """A store of a name that nobody knows yet; it is gone when nothing holds it any more."""
        made = cls(uuid.uuid4().hex)
        return _UNNAMED.setdefault(made.uri.removeprefix("memory://"), made)

    def __init__(self, name: str = "") -> None:
        self.uri = f"memory://{name}"
        self._objects: dict[str, bytes] = {}
        self._written_us: dict[str, int] = {}
        self._lock = threading.Lock()

    def read(self, keys: Sequence[str], *, limit: int) -> list[bytes | None]:
        found = [self._objects.get(check_key(key)) for key in keys]
        for key, data in zip(keys, found, strict=True):
            check_limit(len(data or b""), limit, key)
        return found

    def size(self, key: str) -> int:
        return len(self._object(key))

    def modified_us(self, key: str) -> int:
        self._object(key)
        return self._written_us[key]

    def gather(self, key: str, asks: Sequence[Ranges]) -> list[Bytes]:
        data = np.frombuffer(self._object(key), np.uint8)
        for _, ends in asks:
            if len(ends) and ends.max() > len(data):
                raise Corrupt(
                    f"a read reaches byte {ends.max():,} of an object of {len(data):,}",
                    kind="truncated",
                    where=key,
                )
        return [answer_from(data, ask) for ask in asks]

    def put(self, key: str, chunks: Iterable[bytes | memoryview | Bytes], *, durable: bool = True) -> int:
        data = b"".join(bytes(chunk) for chunk in chunks)
        with self._lock:
            self._keep(check_key(key), data)
        return len(data)

    def put_if_absent(self, key: str, data: bytes) -> None:
        with self._lock:
            if check_key(key) in self._objects:
                raise AlreadyExists(f"{key!r} exists", kind="taken", where=self.uri)
            self._keep(key, data)

    def settle(self, key: str) -> None:
        if not key.endswith("/"):
            self._object(key)

    def list(self, prefix: str, *, temporary: bool = False) -> list[str]:
        folder = check_key(prefix.rstrip("/")) + "/" if prefix.strip("/") else ""
        below = [key[len(folder) :] for key in list(self._objects) if key.startswith(folder)]
        names = {head + slash for head, slash, _ in (key.partition("/") for key in below)}
        return sorted(name for name in names if name.startswith(TEMPORARY) == temporary)

    def delete(self, keys: Iterable[str], *, durable: bool = True) -> None:
        with self._lock:
            for key in keys:
                if check_key(key.removesuffix("/")) == key:
                    self._objects.pop(key, None)
                    self._written_us.pop(key, None)

    def __reduce__(self) -> tuple[Any, ...]:
        return MemoryStore.named, (self.uri.removeprefix("memory://"),)

    def _keep(self, key: str, data: bytes) -> None:
        self._objects[key] = data
        self._written_us[key] = time.time_ns() // 1000

    def _object(self, key: str) -> bytes:
        try:
            return self._objects[key]
        except KeyError:
            raise NotFound(f"{check_key(key)!r} does not exist", kind="object", where=self.uri) from None


__all__ = ["MemoryStore"]
