"""Things that are kept for the next call, up to so many or so many bytes; those used longest ago go first."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import wraps
from typing import Concatenate, Generic, ParamSpec

from lance_like.locks import lock_over_forks
from lance_like.typing_ import T

P = ParamSpec("P")

# How many texts are remembered, and the letters of one that counts as one.
_TEXTS_KEPT, _SHORT_TEXT = 512, 32 << 10

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

    most: how many are kept. room: in the place of how many the things made of objects and a key count; None: of one.
    """

    def __init__(self, most: int, room: Callable[[tuple[object, ...], Hashable], int] | None = None) -> None:
        self._room = room
        self._kept: Kept[tuple[tuple[object, ...], T]] = Kept(most)

    def get(self, *objects: object, key: Hashable = None, make: Callable[[], T]) -> T:
        """What is kept for objects and a key, or is made now. Threads may make one thing twice."""
        name = *map(id, objects), key
        found = self._kept.get(name)
        if found is None:
            found = objects, make()
            self._kept.put(name, found, 1 if self._room is None else self._room(objects, key))
        return found[1]


def room_of_text(text: str) -> int:
    """In the place of how many short texts a text counts."""
    return 1 + len(text) // _SHORT_TEXT


def of_texts(make: Callable[Concatenate[str, P], T]) -> Callable[Concatenate[str, P], T]:
    """Remember what a function makes of the texts that it was last asked for; very long ones are made anew."""
    kept: Kept[tuple[T]] = Kept(_TEXTS_KEPT)

    @wraps(make)
    def find(text: str, *more: P.args, **named: P.kwargs) -> T:
        found = kept.get((text, more))
        if found is None:
            found = (make(text, *more, **named),)
            kept.put((text, more), found, room_of_text(text))
        return found[0]

    return find


__all__ = ["Kept", "MadeOf", "of_texts", "room_of_text"]
