"""Leases: who holds one, how long it counts, and what a cleanup says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from table_values import append, objects, small_table

from lance_like.errors import Conflict
from lance_like.io.local import LocalStore
from lance_like.io.memory import MemoryStore
from lance_like.io.observe import CountingStore, counted
from lance_like.table import lease as module
from lance_like.table.branches import Branches
from lance_like.table.commit import commit
from lance_like.table.envelope import pack_envelope, unpack_envelope
from lance_like.table.layout import MAX_VERSION, lease_kind, new_lease_key, version_key
from lance_like.table.lease import MAGIC, STALE_US, Holder, announce, hold, read_leases
from lance_like.table.manifest import Manifest
from lance_like.table.snapshot import read_manifest


@pytest.fixture
def store() -> MemoryStore:
    """A table of two versions."""
    store, version = small_table()
    commit(store, version, append(1))
    return store


def test_a_lease_is_there_while_the_block_runs(store: MemoryStore) -> None:
    before = objects(store)
    with hold(store, 2) as held:
        [found] = read_leases(store, "lease")
        assert (found.key, found.versions, found.line) == (held.key, ((2, MAX_VERSION),), None)
        assert found.started_us == found.written_us == store.modified_us(held.key)
        assert [found.names(version, None) for version in (1, 2, 3)] == [False, True, True]
        assert objects(store).keys() - before == {held.key}
    assert objects(store) == before


def test_a_lease_ends_when_the_block_fails(store: MemoryStore) -> None:
    before = objects(store)
    with pytest.raises(KeyboardInterrupt), hold(store, 2):
        raise KeyboardInterrupt
    assert objects(store) == before


def test_the_lowest_version_counts(store: MemoryStore) -> None:
    with hold(store, 2, 1):
        assert read_leases(store, "lease")[0].versions == ((1, MAX_VERSION),)


def test_a_lease_is_of_one_line(store: MemoryStore) -> None:
    line = Branches(store).create("dev", store, 2)
    with hold(line, 2):
        [found] = read_leases(store, "lease")
    assert (found.line, found.names(2, line.line), found.names(2, None)) == (line.line, True, False)


@pytest.mark.parametrize("removed", [((1, 2),), ((0, 9),)])
def test_a_version_that_is_being_removed_gets_no_lease(removed, store: MemoryStore) -> None:
    before = objects(store)
    with announce(store, removed), pytest.raises(Conflict, match="version 1") as caught, hold(store, 1):
        pass
    assert caught.value.retryable
    assert objects(store) == before


def test_other_versions_and_other_lines_get_one(store: MemoryStore) -> None:
    line = Branches(store).create("dev", store, 1)
    with announce(store, ((1, 2),)), hold(store, 2), hold(line, 1):
        pass
    with hold(store, 1):
        pass


def test_a_version_that_is_gone_gets_none_unless_nobody_looks(store: MemoryStore) -> None:
    store.delete([version_key(1)])
    with pytest.raises(Conflict), hold(store, 1):
        pass
    with hold(store, 1, look=False):
        pass


def test_a_lease_costs_a_write_a_listing_a_look_and_a_removal(store: MemoryStore) -> None:
    counting = CountingStore(store)
    with counted(counting) as counts, hold(counting, 2):
        pass
    assert (counts.lists, counts.rounds) == (1, 0)
    assert 0 < counts.bytes_written < 300


# How long it counts


def found_lease(store: MemoryStore) -> module.FoundLease:
    [found] = read_leases(store, "lease")
    return found


def test_a_lease_counts_until_it_was_not_written_for_ten_minutes(store: MemoryStore) -> None:
    with hold(store, 2):
        found = found_lease(store)
        assert found.is_live(found.written_us)
        assert found.is_live(found.written_us + STALE_US - 1)
        assert not found.is_live(found.written_us + STALE_US)


def test_a_beat_writes_it_anew_and_keeps_its_start(store: MemoryStore) -> None:
    with hold(store, 2) as held:
        first = found_lease(store)
        store._written_us[held.key] -= 5_000_000
        held.beat()
        again = found_lease(store)
        assert again.started_us == first.started_us - 5_000_000
        assert again.written_us >= first.written_us
        assert (again.versions, again.holder) == (first.versions, first.holder)


def test_a_beat_does_not_bring_back_what_was_removed_or_ended(store: MemoryStore) -> None:
    with hold(store, 2) as held:
        store.delete([held.key])
        held.beat()
        assert read_leases(store, "lease") == []
        with pytest.raises(Conflict, match="lease"):
            held.check()
    held.beat()
    assert read_leases(store, "lease") == []


def test_long_leases_are_written_anew_by_themselves(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT_S", 0.01)
    monkeypatch.setattr(module, "_HEART", module._Heart())
    with hold(store, 2) as held:
        written = store.modified_us(held.key)
        for _ in range(500):
            if store.modified_us(held.key) > written:
                break
            time.sleep(0.01)
        assert store.modified_us(held.key) > written
        assert found_lease(store).started_us == written


def test_a_lease_of_this_process_that_nobody_holds_counts_no_more(store: MemoryStore) -> None:
    with hold(store, 2) as held:
        [data] = store.read([held.key], limit=1000)
        assert data is not None
    store.put(held.key, [data])
    found = found_lease(store)
    assert not found.is_live(found.written_us)


PROGRAM = """
import os, signal, sys
from lance_like.io.local import LocalStore
from lance_like.table.lease import hold
with hold(LocalStore(sys.argv[1]), 1):
    print("held", flush=True)
    sys.stdin.readline()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_lease_of_a_process_that_died_counts_no_more(tmp_path: Path) -> None:
    local = LocalStore(str(tmp_path))
    local.put(version_key(1), [b"x"])
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    with subprocess.Popen(command, stdin=-1, stdout=-1, env=environment, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == "held\n"
        [alive] = read_leases(local, "lease")
        assert alive.is_live(alive.written_us)
        process.stdin.write("die\n")
        process.stdin.close()
        process.wait()
    [dead] = read_leases(local, "lease")
    assert not dead.is_live(dead.written_us)
    assert dead.holder is not None
    # The same number on another machine, or before it was started again, says nothing.
    other = replace(dead, holder=replace(dead.holder, host="another pid:[1]"))
    assert other.is_live(other.written_us)
    unknown = replace(dead, holder=Holder(None, os.getpid(), ""))
    assert unknown.is_live(unknown.written_us)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_process_does_not_hold_the_leases_of_its_parent(store: MemoryStore) -> None:
    with hold(store, 2) as held:
        child = os.fork()
        if child == 0:
            os._exit(0 if held.key not in module._HEART.held and module._HEART._thread is None else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert held.key in module._HEART.held


# Its bytes


def damaged(data: bytes) -> Iterator[bytes]:
    yield b""
    yield data[:-1]
    yield bytes(len(data))
    body = json.loads(unpack_envelope(MAGIC, data, "x"))
    for wrong in (
        {"versions": "all"},
        {"versions": [[3, 2]]},
        {"line": "dev"},
        {"started_us": -1},
        {"holder": None},
        {"holder": [None, "1", ""]},
        {"holder": [5, 1, ""]},
    ):
        yield pack_envelope(MAGIC, json.dumps({**body, **wrong}).encode())


def test_a_damaged_lease_keeps_everything_until_it_is_old(store: MemoryStore) -> None:
    with hold(store, 2) as held:
        [data] = store.read([held.key], limit=1000)
        assert data is not None
        for bad in damaged(data):
            store.put(held.key, [bad])
            found = found_lease(store)
            assert (found.holder, found.started_us) == (None, 0)
            assert found.names(1, None) and found.names(7, "5" * 32)
            assert found.is_live(found.written_us)
            assert not found.is_live(found.written_us + STALE_US)


def test_other_names_are_no_leases(store: MemoryStore) -> None:
    store.put("_leases/readme", [b"x"])
    store.put(f"_leases/{'A' * 32}.lease", [b"x"])
    assert read_leases(store, "lease") == read_leases(store, "cleanup") == []
    assert lease_kind(new_lease_key("cleanup").partition("/")[2]) == "cleanup"


# Commits


def test_a_commit_holds_its_base(store: MemoryStore) -> None:
    seen: list[tuple[tuple[int, int], ...]] = []

    def change(base: Manifest | None):
        seen.extend(found.versions for found in read_leases(store, "lease"))
        return append(1)

    commit(store, read_manifest(store, 2), change)
    assert seen == [((2, MAX_VERSION),)]
    assert read_leases(store, "lease") == []


def test_a_commit_from_a_version_that_is_being_removed_is_a_conflict(store: MemoryStore) -> None:
    base = read_manifest(store, 1)
    before = objects(store)
    with announce(store, ((1, 2),)), pytest.raises(Conflict):
        commit(store, base, append(1))
    assert objects(store) == before
