"""The byte interface: what a place that holds datasets must do (format_spec/commit.md, "What a store must do").

Keys are relative paths with '/' between parts. A store never interprets the bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Protocol

import numpy as np

from lance_like.errors import Corrupt, InvalidInput, LanceLikeError, NotFound
from lance_like.typing_ import Bytes, Ranges


class Store(Protocol):
    """Eight verbs; every one raises StorageError when the place itself fails."""

    @property
    def uri(self) -> str:
        """Where this is, in the words of the user; opening it again gives the same store."""
        ...

    def read(self, keys: Sequence[str], *, limit: int) -> list[bytes | None]:
        """Small objects whole, in one round; None for one that is not there.

        limit: bytes; an object of more is Corrupt (kind limit), and is not read.
        """
        ...

    def size(self, key: str) -> int:
        """The bytes of one object. Raises NotFound."""
        ...

    def modified_us(self, key: str) -> int:
        """When an object was written, in microseconds since 1970 by the clock of the store. Raises NotFound."""
        ...

    def gather(self, key: str, asks: Sequence[Ranges]) -> list[Bytes]:
        """Read ranges of one object in one round.

        asks: pairs of int64[n] starts and ends, all within the object.
        Returns one contiguous uint8 buffer an ask, its ranges end to end in the order asked; read-only,
        and without a copy where the store can (one range of a mapped file). An ask that is `Spanning` is answered
        by one buffer from its first start to its last end.
        Raises NotFound, or Corrupt when a range reaches past the end of the object.
        """
        ...

    def put(self, key: str, chunks: Iterable[bytes | memoryview | Bytes], *, durable: bool = True) -> int:
        """Write one object whole, replacing what was there; nothing is visible until all is durable.

        durable: False for what need not outlive a power cut, such as a lease: visible at once, not synced.
        Returns its size in bytes. An exception from chunks leaves the old object, or none.
        """
        ...

    def put_if_absent(self, key: str, data: bytes) -> None:
        """Write one object unless the key is taken. Atomic among all writers. Raises AlreadyExists."""
        ...

    def settle(self, key: str) -> None:
        """Have a visible object outlive a power cut, although who put it may not be done yet. Raises NotFound.

        A key with '/' at its end is a folder: no power cut brings back what is not seen there. None is no error.
        """
        ...

    def list(self, prefix: str, *, temporary: bool = False) -> list[str]:
        """The names directly below a folder, sorted, folders with a '/' at the end; [] if there is none.

        temporary: True for the names of unfinished writes alone, which no other call shows; `delete` removes them.
        """
        ...

    def delete(self, keys: Iterable[str], *, durable: bool = True) -> None:
        """Remove objects; a missing one is no error. durable: as in `put`; then no power cut brings them back.

        A key with '/' at its end is a folder: it goes if it is empty, where a store has folders at all.
        """
        ...


TEMPORARY = ".tmp-"
"""How the names of unfinished writes begin. They are no objects: a listing leaves them out unless asked for them."""


_NO_PARTS = frozenset(("", ".", ".."))
_NO_MARKS = frozenset("\\:\0%")


def check_key(key: str) -> str:
    """Return the key if it is a relative path of plain parts (format_spec/table.md, "Paths").

    Raises InvalidInput for absolute paths, '..', empty parts, and the characters backslash, colon, NUL, percent.
    """
    if not _NO_PARTS.isdisjoint(key.split("/")) or not _NO_MARKS.isdisjoint(key):
        raise InvalidInput(f"{key!r} is not a key: expected a relative path of plain parts", kind="path")
    return key


def whole(nbytes: int) -> Ranges:
    """The one range that covers an object of nbytes."""
    return np.zeros(1, np.int64), np.full(1, nbytes, np.int64)


def read_object(store: Store, key: str, *, limit: int) -> bytes:
    """One small object whole; `Store.read` of one. Raises NotFound too."""
    [data] = store.read([key], limit=limit)
    if data is None:
        raise NotFound(f"{key!r} does not exist", kind="object", where=store.uri)
    return data


def discard(store: Store, keys: Iterable[str]) -> None:
    """Remove objects that were written in vain; what cannot be removed is garbage, not damage."""
    with suppress(LanceLikeError, OSError):
        store.delete(keys, durable=False)


def check_limit(nbytes: int, limit: int, key: str) -> None:
    """Raise Corrupt for an object that is too large to be read whole."""
    if nbytes > limit:
        raise Corrupt(f"an object of {nbytes:,} bytes, over the limit of {limit:,}", kind="limit", where=key)


def missing(message: str, *, where: str, hint: str = "") -> Corrupt:
    """Make the error for an object that a version names and that is not there."""
    removed = (
        "if a cleanup removed this version meanwhile, or someone replaced the table, open the newest: "
        "a tag or ds.lease() keeps one"
    )
    return Corrupt(message, kind="missing", where=where, hint=f"{removed}; otherwise {hint}" if hint else removed)
