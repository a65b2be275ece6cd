"""Things made of a version that are kept for the next call, up to so many bytes; those used longest ago go first."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic

from lance_like.locks import lock_over_forks
from lance_like.typing_ import T

_LOCK = lock_over_forks()


class Kept(Generic[T]):
    """Values by key. most_nbytes: of all of them, by what `put` was told; a larger one alone is not kept."""

    def __init__(self, most_nbytes: int) -> None:
        self._most = most_nbytes
        self._held: dict[Hashable, tuple[T, int]] = {}
        self._nbytes = 0

    @property
    def nbytes(self) -> int:
        """Of what is kept."""
        return self._nbytes

    def get(self, key: Hashable) -> T | None:
        """What is kept under a key."""
        with _LOCK:
            found = self._held.pop(key, None)
            if found is None:
                return None
            self._held[key] = found
        return found[0]

    def put(self, key: Hashable, value: T, nbytes: int) -> None:
        """Keep a value."""
        if nbytes > self._most:
            return
        with _LOCK:
            self._nbytes += nbytes - self._held.pop(key, (None, 0))[1]
            self._held[key] = value, nbytes
            while self._nbytes > self._most:
                self._nbytes -= self._held.pop(next(iter(self._held)))[1]


__all__ = ["Kept"]
