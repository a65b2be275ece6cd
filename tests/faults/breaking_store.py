"""A store that fails on purpose."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Sequence

from lance_like.errors import StorageError
from lance_like.io.store import Store

NEVER = 1 << 60


class BreakingStore:
    """A store whose n-th call fails.

    how: "refused", nothing is done; "lost", it is done and the answer does not arrive; "torn", a put fails after its
    first chunk; "down", this call and all later ones are refused.
    """

    def __init__(self, inner: Store, *, fail_at: int, how: str) -> None:
        self.inner, self.fail_at, self.how = inner, fail_at, how
        self.calls = 0
        self.log: list[str] = []

    @property
    def uri(self) -> str:
        return self.inner.uri

    def _call(self, verb: str, *arguments, **options):
        number, self.calls = self.calls, self.calls + 1
        self.log.append(verb)
        if number != self.fail_at and not (self.how == "down" and number > self.fail_at):
            return getattr(self.inner, verb)(*arguments, **options)
        if self.how == "lost":
            getattr(self.inner, verb)(*arguments, **options)
            raise _failure(errno.ETIMEDOUT)
        if self.how == "torn" and verb == "put":
            self.inner.put(arguments[0], _torn(arguments[1]))
        raise _failure(errno.EIO)

    def read(self, keys: Sequence[str], *, limit: int):
        return self._call("read", keys, limit=limit)

    def size(self, key: str):
        return self._call("size", key)

    def modified_us(self, key: str):
        return self._call("modified_us", key)

    def gather(self, key: str, asks: Sequence):
        return self._call("gather", key, asks)

    def put(self, key: str, chunks: Iterable, *, durable: bool = True):
        return self._call("put", key, chunks, durable=durable)

    def put_if_absent(self, key: str, data: bytes):
        return self._call("put_if_absent", key, data)

    def settle(self, key: str):
        return self._call("settle", key)

    def list(self, prefix: str, *, temporary: bool = False):
        return self._call("list", prefix, temporary=temporary)

    def delete(self, keys: Iterable[str], *, durable: bool = True):
        return self._call("delete", list(keys), durable=durable)


def _torn(chunks: Iterable) -> Iterator:
    for chunk in chunks:
        yield chunk
        raise _failure(errno.EIO)


def _failure(number: int) -> StorageError:
    failure = StorageError("made to fail", kind="storage", where="nowhere")
    failure.errno = number
    return failure
