"""Processes that do all kinds of things to one table: the outcome is that of some order, and no reader sees half."""

from __future__ import annotations

from itertools import chain

import many_writers
import pytest
import writer_processes as processes
from many_writers import VERBS, check_version, replayed
from writer_processes import race

import lance_like

WRITERS, READERS = 4, 2


def mix(uri: str, *, seed: int, times: int) -> None:
    """Race writers of all verbs, and check every version that is left against the verbs in order."""
    many_writers.create(uri)
    writers = [(many_writers.write, (uri, seed + k, sorted(VERBS), times)) for k in range(1, WRITERS + 1)]
    *made, first, second = race(writers + [(many_writers.read, (uri, WRITERS))] * READERS)
    assert first + second > 0
    states = replayed(list(chain(*made)))
    newest = lance_like.dataset(uri)
    assert newest.version == len(states)
    for told in newest.versions():
        ds = newest.checkout_version(told["version"])
        expected = states[ds.version - 1]
        assert set(ds.schema.names) == set(expected.columns)
        assert check_version(ds) == expected.to_pylist(), f"version {ds.version}"


def test_mixed_writers_leave_what_their_verbs_make_in_some_order(tmp_path):
    mix(str(tmp_path / "t"), seed=0, times=6)


@pytest.mark.slow
@pytest.mark.parametrize("turn", range(1, 21))
def test_mixed_writers_leave_what_their_verbs_make_in_some_order_every_time(turn, tmp_path):
    mix(str(tmp_path / "t"), seed=10 * turn, times=15)


@pytest.mark.slow
def test_eight_processes_append_twenty_five_times_each(tmp_path):
    uri = str(tmp_path / "t")
    lance_like.write_dataset({"n": [-1]}, uri)
    made = race([(processes.append, (uri, 1000 * k, 25)) for k in range(8)])
    assert sorted(chain(*made)) == list(range(2, 202))
    numbers = lance_like.dataset(uri).to_table()["n"].to_pylist()
    assert sorted(numbers) == [-1, *(1000 * k + i for k in range(8) for i in range(25))]


def check_counter(uri: str, times: int) -> None:
    lance_like.write_dataset({"n": [0], "more": ["text"]}, uri)
    done = race([(processes.increment, (uri, times))] * 4)
    assert sum(done) > 0
    ds = lance_like.dataset(uri)
    assert ds.to_table().to_pylist() == [{"n": sum(done), "more": "text"}]
    assert ds.version == 1 + sum(done)


def test_no_increment_of_one_row_by_four_processes_is_lost(tmp_path):
    check_counter(str(tmp_path / "t"), 6)


@pytest.mark.slow
def test_no_increment_of_many_is_lost(tmp_path):
    check_counter(str(tmp_path / "t"), 50)


def check_upserts(uri: str, keys: list[int]) -> None:
    lance_like.write_dataset({"key": [0], "own": [-1]}, uri)
    done = race([(processes.upsert, (uri, own, keys)) for own in range(4)])
    assert sum(done) > 0
    found = lance_like.dataset(uri).to_table().to_pylist()
    own = {row["key"]: row["own"] for row in found}
    assert len(own) == len(found), "a key is there twice"
    assert set(own) == {0, *keys, *(-key for key in keys)}
    assert all(own[key] == own[-key] for key in keys), "half of an upsert is there"


def test_four_processes_that_upsert_the_same_new_keys_leave_each_once(tmp_path):
    check_upserts(str(tmp_path / "t"), list(range(1, 6)))


@pytest.mark.slow
@pytest.mark.parametrize("turn", range(5))
def test_four_processes_that_upsert_many_new_keys_leave_each_once(turn, tmp_path):
    check_upserts(str(tmp_path / "t"), list(range(1, 31)))
