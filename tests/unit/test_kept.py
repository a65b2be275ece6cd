"""What is kept for the next call."""

from __future__ import annotations

import gc
import weakref
from itertools import count

from lance_like.kept import Kept, MadeOf, of_texts


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


def test_large_things_take_the_room_of_several() -> None:
    kept: MadeOf[int] = MadeOf(3, lambda objects, key: len(objects))
    numbers = count()
    one, other = Thing(), Thing()
    assert kept.get(one, make=lambda: next(numbers)) == 0
    # Two and one are as many as are kept, and then four are more than all.
    assert kept.get(one, other, make=lambda: next(numbers)) == 1
    assert kept.get(one, other, one, one, make=lambda: next(numbers)) == 2
    assert [kept.get(one, make=lambda: 9), kept.get(one, other, make=lambda: 9)] == [0, 1]
    assert kept.get(one, other, one, one, make=lambda: 9) == 9


def test_texts_are_remembered_but_for_very_long_ones() -> None:
    asked: list[str] = []

    @of_texts
    def length(text: str, what: str = "") -> int | None:
        asked.append(what)
        return len(text) or None

    long = "x" * (32 << 20)
    found = [length("ab"), length("ab"), length("ab", "b"), length(""), length(""), length(long), length(long)]
    assert found == [2, 2, 2, None, None, len(long), len(long)]
    assert len(asked) == 5
