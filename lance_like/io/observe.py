"""Counting what a store is asked: the measure that tests hold operations to, instead of time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from lance_like.io.store import Store, whole
from lance_like.typing_ import Bytes, Ranges


@dataclass
class Counts:
    """What went through a store.

    rounds: `gather` and `read` calls; ranges: byte ranges and whole objects in them; bytes_read and bytes_written:
    their bytes.
    log: (verb, key, starts, ends) of every read, in order.
    """

    rounds: int = 0
    ranges: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    lists: int = 0
    log: list[tuple[str, Ranges]] = field(default_factory=list)


class CountingStore:
    """A store that counts what passes through it to another."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.counts = Counts()

    @property
    def uri(self) -> str:
        return self.inner.uri

    def read(self, keys: Sequence[str], *, limit: int) -> list[bytes | None]:
        found = self.inner.read(keys, limit=limit)
        self.counts.rounds += bool(keys)
        self.counts.ranges += len(keys)
        for key, data in zip(keys, found, strict=True):
            self.counts.bytes_read += len(data or b"")
            self.counts.log.append((key, whole(len(data or b""))))
        return found

    def size(self, key: str) -> int:
        return self.inner.size(key)

    def modified_us(self, key: str) -> int:
        return self.inner.modified_us(key)

    def gather(self, key: str, asks: Sequence[Ranges]) -> list[Bytes]:
        self.counts.rounds += 1
        for starts, ends in asks:
            self.counts.ranges += len(starts)
            self.counts.bytes_read += int((ends - starts).sum())
            self.counts.log.append((key, (starts, ends)))
        return self.inner.gather(key, asks)

    def put(self, key: str, chunks: Iterable[bytes | memoryview | Bytes], *, durable: bool = True) -> int:
        nbytes = self.inner.put(key, chunks, durable=durable)
        self.counts.bytes_written += nbytes
        return nbytes

    def put_if_absent(self, key: str, data: bytes) -> None:
        self.inner.put_if_absent(key, data)
        self.counts.bytes_written += len(data)

    def settle(self, key: str) -> None:
        self.inner.settle(key)

    def list(self, prefix: str, *, temporary: bool = False) -> list[str]:
        self.counts.lists += 1
        return self.inner.list(prefix, temporary=temporary)

    def delete(self, keys: Iterable[str], *, durable: bool = True) -> None:
        self.inner.delete(keys, durable=durable)


@contextmanager
def counted(store: CountingStore) -> Iterator[Counts]:
    """The counts of one block of code: `with counted(store) as counts: …`."""
    outer, store.counts = store.counts, Counts()
    try:
        yield store.counts
    finally:
        store.counts = outer


__all__ = ["CountingStore", "Counts", "counted"]
