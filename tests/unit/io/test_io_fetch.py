"""The driver of conversations, and the store that counts what it asks."""

from __future__ import annotations

import numpy as np
import pytest
from store_contract import ranges

from lance_like.errors import Corrupt, NotFound
from lance_like.io.fetch import drive, drive_all
from lance_like.io.memory import MemoryStore
from lance_like.io.observe import CountingStore, counted
from lance_like.io.store import read_object
from lance_like.typing_ import Conversation


@pytest.fixture
def store() -> CountingStore:
    inner = MemoryStore()
    inner.put("a", [b"0123456789"])
    inner.put("b", [b"abcdefghij"])
    return CountingStore(inner)


def hop(*places: int) -> Conversation[bytes]:
    """Reads one byte a round, and says what it got."""
    answer = b""
    for place in places:
        (data,) = yield [ranges((place, place + 1))]
        answer += data.tobytes()
    return answer


def silent() -> Conversation[bytes]:
    return b"nothing asked"
    yield


def test_a_conversation_is_driven_to_its_answer(store: CountingStore) -> None:
    with counted(store) as counts:
        assert drive(store, "a", hop(3, 1, 4)) == b"314"
    assert (counts.rounds, counts.ranges, counts.bytes_read) == (3, 3, 3)


def test_one_that_asks_nothing_costs_nothing(store: CountingStore) -> None:
    with counted(store) as counts:
        assert drive(store, "a", silent()) == b"nothing asked"
        assert drive_all(store, [("a", silent()), ("b", silent())]) == [b"nothing asked"] * 2
        assert drive_all(store, []) == []
    assert counts.rounds == 0


def test_many_of_one_object_share_their_rounds(store: CountingStore) -> None:
    with counted(store) as counts:
        answers = drive_all(store, [("a", hop(1)), ("a", hop(2, 3, 4)), ("a", silent()), ("a", hop(5, 6))])
    assert answers == [b"1", b"234", b"nothing asked", b"56"]
    assert (counts.rounds, counts.ranges) == (3, 6)


def test_objects_are_asked_once_a_round(store: CountingStore) -> None:
    with counted(store) as counts:
        answers = drive_all(store, [("a", hop(1, 2)), ("b", hop(1)), ("a", hop(3, 4)), ("b", hop(2, 0))])
    assert answers == [b"12", b"b", b"34", b"ca"]
    assert counts.rounds == 4
    assert [key for key, _ in counts.log] == ["a", "a", "b", "b", "a", "a", "b"]


def test_an_ask_may_hold_many_ranges_and_buffers(store: CountingStore) -> None:
    def read() -> Conversation[list[bytes]]:
        answers = yield [ranges((0, 2), (8, 10)), ranges(), ranges((5, 6))]
        return [answer.tobytes() for answer in answers]

    assert drive_all(store, [("a", read()), ("a", read())]) == [[b"0189", b"", b"5"]] * 2


def test_a_failing_read_ends_all(store: CountingStore) -> None:
    for bad, error in ((("missing", hop(1)), NotFound), (("a", hop(99)), Corrupt)):
        with pytest.raises(error):
            drive_all(store, [("a", hop(1, 2)), bad])


def test_counts_are_of_one_block(store: CountingStore) -> None:
    store.gather("a", [ranges((0, 10))])
    with counted(store) as outer:
        with counted(store) as inner:
            assert store.put("c", [b"xy", b"z"]) == 3
            store.put_if_absent("d", b"12")
            store.list("")
            assert read_object(store, "c", limit=3) == b"xyz"
        store.delete(["c", "d"])
    assert (inner.bytes_written, inner.lists, inner.rounds, inner.bytes_read) == (5, 1, 1, 3)
    assert (outer.bytes_written, outer.lists, outer.rounds, outer.ranges) == (0, 0, 0, 0)
    assert store.counts.bytes_read == 10
    assert store.uri == store.inner.uri
    (key, (starts, ends)) = inner.log[0]
    assert (key, starts.tolist(), ends.tolist()) == ("c", [0], [3])
    assert isinstance(starts, np.ndarray)
