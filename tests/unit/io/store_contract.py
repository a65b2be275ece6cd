"""What every store must do (format_spec/commit.md, "What a store must do"), as tests that each store inherits."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from lance_like.errors import AlreadyExists, Corrupt, InvalidInput, NotFound
from lance_like.io.store import Store, read_object, whole
from lance_like.typing_ import Ranges, Spanning

# A disk takes its times from a clock that steps every few milliseconds; an object store gives whole seconds.
CLOCK_STEP_US = 1_000_000

NO_KEYS = ("", "/a", "a/", "a//b", ".", "..", "a/../b", "./a", "a\\b", "c:x", "a%2fb", "a\0b")


def ranges(*pairs: tuple[int, int]) -> Ranges:
    """Byte ranges from pairs of start and end."""
    table = np.array(pairs, np.int64).reshape(-1, 2)
    return table[:, 0].copy(), table[:, 1].copy()


def read_all(store: Store, key: str) -> bytes:
    """One object whole, by its size and one range."""
    nbytes = store.size(key)
    return store.gather(key, [whole(nbytes)])[0].tobytes() if nbytes else b""


class StoreContract:
    """Inherit, and give a fixture `store` with an empty store."""

    def test_what_was_put_is_read_back(self, store: Store) -> None:
        assert store.put("a/b/c.bin", [b"one", memoryview(b"two"), np.frombuffer(b"three", np.uint8)]) == 11
        assert read_all(store, "a/b/c.bin") == b"onetwothree"
        assert store.size("a/b/c.bin") == 11

    def test_an_empty_object_is_an_object(self, store: Store) -> None:
        assert store.put("empty", []) == 0
        store.put_if_absent("empty too", b"")
        assert store.size("empty") == 0
        assert read_all(store, "empty") == read_all(store, "empty too") == b""
        assert store.list("") == ["empty", "empty too"]
        assert store.gather("empty", [ranges((0, 0))])[0].tobytes() == b""

    def test_small_objects_are_read_whole_in_the_order_asked(self, store: Store) -> None:
        store.put("a/k", [b"one"])
        store.put_if_absent("b", b"")
        assert store.read(["b", "a/k", "no", "a/no", "a/k"], limit=3) == [b"", b"one", None, None, b"one"]
        assert store.read([], limit=0) == []
        store.put("a/k", [b"another"])
        assert read_object(store, "a/k", limit=7) == b"another"
        with pytest.raises(NotFound, match="a/no"):
            read_object(store, "a/no", limit=7)

    def test_an_object_over_the_limit_is_not_read_whole(self, store: Store) -> None:
        store.put("k", [b"0123456789"])
        with pytest.raises(Corrupt, match="over the limit of 9") as caught:
            store.read(["k"], limit=9)
        assert (caught.value.kind, caught.value.where) == ("limit", "k")

    def test_empty_chunks_are_nothing(self, store: Store) -> None:
        assert store.put("k", [b"", np.empty(0, np.uint8), b"x", memoryview(b"")]) == 1
        assert read_all(store, "k") == b"x"

    def test_chunks_may_be_large_and_many(self, store: Store) -> None:
        chunks = [bytes([i % 251]) * (3 << 18) for i in range(3)] + [bytes([i]) for i in range(200)]
        chunks += [b"z" * (1 << 20), b"end"]
        assert store.put("k", iter(chunks)) == sum(map(len, chunks))
        assert read_all(store, "k") == b"".join(chunks)

    def test_a_spanning_ask_is_answered_from_its_first_start_to_its_last_end(self, store: Store) -> None:
        store.put("k", [bytes(range(100))])
        spanned, joined = store.gather("k", [Spanning(*ranges((3, 5), (40, 44))), ranges((3, 5), (40, 44))])
        assert len(spanned) == 41
        assert spanned[0:2].tobytes() + spanned[37:41].tobytes() == joined.tobytes()

    def test_what_is_settled_must_be_there(self, store: Store) -> None:
        with pytest.raises(NotFound):
            store.settle("a/k")
        store.put("a/k", [b"x"])
        store.settle("a/k")
        assert read_all(store, "a/k") == b"x"
        store.settle("a/")
        store.settle("nothing/here/")

    def test_a_put_replaces_the_object(self, store: Store) -> None:
        store.put("k", [b"a long first object"])
        assert read_all(store, "k") == b"a long first object"
        store.put("k", [b"short"])
        assert read_all(store, "k") == b"short"
        assert store.size("k") == 5

    def test_an_object_of_the_same_size_is_seen_as_another(self, store: Store) -> None:
        for turn in range(20):
            data = b"%04d" % turn
            store.put("k", [data])
            assert store.gather("k", [ranges((0, 4))])[0].tobytes() == data

    def test_an_exception_from_the_chunks_leaves_the_old_object(self, store: Store) -> None:
        def broken() -> Iterator[bytes]:
            yield b"x" * (2 << 20)
            raise KeyboardInterrupt("from the caller")

        store.put("k", [b"old"])
        for key in ("k", "new"):
            with pytest.raises(KeyboardInterrupt, match="from the caller"):
                store.put(key, broken())
        assert read_all(store, "k") == b"old"
        assert store.list("") == ["k"]

    def test_ranges_come_end_to_end_in_the_order_asked(self, store: Store) -> None:
        store.put("k", [b"0123456789"])
        asks = [
            ranges((3, 5), (0, 1), (3, 5), (9, 10)),
            ranges((2, 8)),
            ranges(),
            ranges((4, 4), (10, 10)),
            ranges((0, 3), (7, 7)),
        ]
        answers = store.gather("k", asks)
        assert [answer.tobytes() for answer in answers] == [b"340349", b"234567", b"", b"", b"012"]
        assert all(answer.dtype == np.uint8 and answer.ndim == 1 for answer in answers)

    def test_an_ask_for_no_range_is_answered_with_nothing(self, store: Store) -> None:
        data = bytes(range(256)) * 40
        store.put("k", [data])
        none = ranges()
        for asks in ([none], [none, none], [none, ranges((5, 9))], [ranges((5, 9)), none, ranges((4090, 4100))]):
            expected = [b"".join(data[a:b] for a, b in zip(*ask, strict=True)) for ask in asks]
            assert [answer.tobytes() for answer in store.gather("k", asks)] == expected

    def test_answers_cannot_change_the_object(self, store: Store) -> None:
        store.put("k", [b"0123456789"])
        (answer,) = store.gather("k", [ranges((0, 10))])
        with pytest.raises(ValueError, match="read-only"):
            answer[0] = 0

    def test_an_answer_outlives_its_object(self, store: Store) -> None:
        store.put("k", [b"0123456789"])
        (answer,) = store.gather("k", [ranges((2, 5))])
        store.put("k", [b"abcdefghij"])
        assert answer.tobytes() == b"234"
        store.delete(["k"])
        assert answer.tobytes() == b"234"

    def test_a_range_past_the_end_is_corrupt(self, store: Store) -> None:
        store.put("k", [b"0123456789"])
        for ask in (ranges((5, 11)), ranges((11, 12)), ranges((0, 1), (9, 2**62)), ranges((2**62, 2**62 + 1))):
            with pytest.raises(Corrupt) as caught:
                store.gather("k", [ranges((0, 1)), ask])
            assert caught.value.kind == "truncated"
            assert caught.value.where == "k"

    def test_a_missing_object_is_not_found(self, store: Store) -> None:
        store.put("folder/k", [b"x"])
        for key in ("no", "folder/no", "no/k"):
            with pytest.raises(NotFound):
                store.size(key)
            with pytest.raises(NotFound):
                store.gather(key, [ranges((0, 1))])

    def test_put_if_absent_refuses_a_taken_key(self, store: Store) -> None:
        data = b"first"
        store.put_if_absent("v/1", data)
        for other in (b"second", data, b""):
            with pytest.raises(AlreadyExists):
                store.put_if_absent("v/1", other)
        assert read_all(store, "v/1") == b"first"
        assert store.list("v") == ["1"]
        store.delete(["v/1"])
        store.put_if_absent("v/1", b"again")
        assert read_all(store, "v/1") == b"again"

    def test_put_if_absent_refuses_a_key_taken_by_put(self, store: Store) -> None:
        store.put("k", [b""])
        with pytest.raises(AlreadyExists):
            store.put_if_absent("k", b"")

    def test_one_of_many_threads_gets_a_key(self, store: Store) -> None:
        winners: list[bytes] = []
        start = threading.Barrier(8)

        def claim(name: bytes) -> None:
            start.wait()
            for turn in range(20):
                try:
                    store.put_if_absent(f"v/{turn}", b"%d %s" % (turn, name))
                except AlreadyExists:
                    continue
                winners.append(b"%d %s" % (turn, name))

        threads = [threading.Thread(target=claim, args=(b"%d" % i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(winners) == 20
        assert sorted(winners) == sorted(read_all(store, f"v/{turn}") for turn in range(20))

    def test_readers_see_old_or_new_while_writers_replace(self, store: Store) -> None:
        sizes = (1, 5_000, 70_000)
        store.put("k", [b"a"])
        stop = threading.Event()
        seen: list[bytes] = []

        def write(mark: bytes) -> None:
            for turn in range(40):
                store.put("k", [mark * sizes[turn % 3]])

        def read() -> None:
            while not stop.is_set():
                (answer,) = store.gather("k", [ranges((0, 1))])
                seen.append(answer.tobytes())

        threads = [threading.Thread(target=write, args=(mark,)) for mark in (b"b", b"c")]
        reader = threading.Thread(target=read)
        reader.start()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        stop.set()
        reader.join()
        assert set(seen) <= {b"a", b"b", b"c"}
        last = read_all(store, "k")
        assert len(set(last)) == 1
        assert len(last) in sizes

    def test_a_listing_names_what_is_directly_below(self, store: Store) -> None:
        for key in ("b/2", "b/10", "b/c/d/e", "a", "bb", "b.x"):
            store.put(key, [b""])
        assert store.list("") == ["a", "b.x", "b/", "bb"]
        assert store.list("/") == store.list("")
        assert store.list("b") == store.list("b/") == ["10", "2", "c/"]
        assert store.list("b/c/d") == ["e"]
        assert store.list("no") == store.list("b/no/") == []

    def test_delete_removes_and_forgives(self, store: Store) -> None:
        for key in ("a", "b/c", "d"):
            store.put(key, [b"x"])
        store.delete(["a", "missing", "b/missing", "b/c"])
        assert [name for name in store.list("") if not name.endswith("/")] == ["d"]
        with pytest.raises(NotFound):
            store.size("b/c")
        store.delete([])

    def test_delete_removes_a_folder_only_when_it_is_empty(self, store: Store) -> None:
        for key in ("a/b/c", "a/d"):
            store.put(key, [b"x"])
        store.delete(["a/b/", "a/", "no/", "a/no/", "a/d/"])
        assert (store.list("a"), read_all(store, "a/d")) == (["b/", "d"], b"x")
        store.delete(["a/b/c", "a/b/"])
        assert store.list("a") == ["d"]

    def test_unfinished_writes_are_listed_apart_and_can_be_removed(self, store: Store) -> None:
        for key in ("a", "b/c", "b/.tmp-1", ".tmp-2"):
            store.put(key, [b"x"])
        assert store.list("") == ["a", "b/"]
        assert store.list("b") == ["c"]
        assert store.list("b", temporary=True) == [".tmp-1"]
        assert store.list("", temporary=True) == [".tmp-2"]
        assert store.list("no", temporary=True) == []
        store.delete([".tmp-2", "b/.tmp-1"])
        assert store.list("b", temporary=True) == store.list("", temporary=True) == []
        assert store.list("") == ["a", "b/"]

    def test_an_object_has_the_time_of_its_last_write(self, store: Store) -> None:
        before = time.time_ns() // 1000
        store.put("a/k", [b"x"])
        first = store.modified_us("a/k")
        assert before - CLOCK_STEP_US <= first <= time.time_ns() // 1000 + CLOCK_STEP_US
        store.put("a/k", [b"y"], durable=False)
        assert store.modified_us("a/k") >= first
        assert read_all(store, "a/k") == b"y"
        store.delete(["a/k"], durable=False)
        with pytest.raises(NotFound):
            store.modified_us("a/k")

    @pytest.mark.parametrize("key", NO_KEYS)
    def test_what_is_no_key_is_refused_by_every_verb(self, store: Store, key: str) -> None:
        with pytest.raises(InvalidInput):
            store.size(key)
        with pytest.raises(InvalidInput):
            store.modified_us(key)
        with pytest.raises(InvalidInput):
            store.gather(key, [ranges((0, 1))])
        with pytest.raises(InvalidInput):
            store.put(key, [b"x"])
        with pytest.raises(InvalidInput):
            store.put_if_absent(key, b"x")
        if key.strip("/") and not key.endswith("/"):
            with pytest.raises(InvalidInput):
                store.delete([key])
            with pytest.raises(InvalidInput):
                store.list(key)
        assert store.list("") == []

    def test_keys_may_hold_spaces_and_unicode(self, store: Store) -> None:
        for key in ("a b/ü 𝄞.x", "..a", "a..", "-", "~", "#?*"):
            store.put(key, [key.encode()])
            assert read_all(store, key) == key.encode()
