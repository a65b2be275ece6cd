"""What is kept for the next call."""

from __future__ import annotations

import gc
import weakref
from itertools import count

from lance_like.kept import Kept, MadeOf


def test_what_was_used_longest_ago_goes_first() -> None:
    kept: Kept[str] = Kept(10)
    kept.put("a", "A", 4)
    kept.put("b", "B", 4)
    assert kept.get("a") == "A"
    kept.put("c", "C", 4)
    assert (kept.get("a"), kept.get("b"), kept.get("c"), kept.size) == ("A", None, "C", 8)


def test_what_is_put_again_counts_once() -> None:
    kept: Kept[str] = Kept(10)
    kept.put("a", "A", 8)
    kept.put("a", "B", 9)
    assert (kept.get("a"), kept.size) == ("B", 9)


def test_what_is_larger_than_the_limit_is_not_kept() -> None:
    kept: Kept[str] = Kept(10)
    kept.put("a", "A", 3)
    kept.put("b", "B", 11)
    assert (kept.get("a"), kept.get("b"), kept.size) == ("A", None, 3)


class Thing:
    pass


def test_what_is_made_of_objects_is_made_once_while_there_is_room() -> None:
    kept: MadeOf[int] = MadeOf(3)
    numbers = count()

    def of(*things: Thing, key: object = None) -> int:
        return kept.get(*things, key=key, make=lambda: next(numbers))

    one, other = Thing(), Thing()
    assert [of(one), of(other), of(one, other), of(one), of(other), of(one, other)] == [0, 1, 2, 0, 1, 2]
    # The first goes when there is no more room.
    assert [of(one, key="a"), of(one, key="a"), of(one, other), of(one)] == [3, 3, 2, 4]


def test_what_something_was_made_of_lives_as_long() -> None:
    kept: MadeOf[int] = MadeOf(2)
    thing = Thing()
    alive = weakref.ref(thing)
    kept.get(thing, make=lambda: 1)
    del thing
    gc.collect()
    assert alive() is not None
