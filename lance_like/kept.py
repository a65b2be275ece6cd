"""Things that are kept for the next call, up to so many or so many bytes; those used longest ago go first."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic

from lance_like.locks import lock_over_forks
from lance_like.typing_ import T

_LOCK = lock_over_forks()


class Kept(Generic[T]):
    """Values by key. most: of the sizes of all of them, in the unit of `put`; a larger one alone is not kept."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[Hashable, tuple[T, int]] = {}
        self._size = 0

    @property
    def size(self) -> int:
        """Of what is kept."""
        return self._size

    def __contains__(self, key: Hashable) -> bool:
        return key in self._held

    def get(self, key: Hashable) -> T | None:
        """What is kept under a key."""
        with _LOCK:
            found = self._held.pop(key, None)
            if found is None:
                return None
            self._held[key] = found
        return found[0]

    def put(self, key: Hashable, value: T, size: int = 1) -> None:
        """Keep a value. size: its bytes, or 1 where values are counted."""
        if size > self._most:
            return
        with _LOCK:
            self._size += size - self._held.pop(key, (None, 0))[1]
            self._held[key] = value, size
            while self._size > self._most:
                self._size -= self._held.pop(next(iter(self._held)))[1]


class MadeOf(Generic[T]):
    """What was made of objects that never change, which stay alive beside it, so that their ids are theirs.

    most: how many are kept.
    """

    def __init__(self, most: int) -> None:
        self._kept: Kept[tuple[tuple[object, ...], T]] = Kept(most)

    def get(self, *objects: object, key: Hashable = None, make: Callable[[], T]) -> T:
        """What is kept for objects and a key, or is made now. Threads may make one thing twice."""
        name = *map(id, objects), key
        found = self._kept.get(name)
        if found is None:
            found = objects, make()
            self._kept.put(name, found)
        return found[1]


__all__ = ["Kept", "MadeOf"]
