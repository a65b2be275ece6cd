"""kill -9 of a process at a random moment: nothing acknowledged is lost, nothing is half there."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from killed_writer import REFUSED, write_until_killed
from operations import BASE, OPERATIONS, assert_before_or_after, assert_goes_on, facts, prepare
from recordings import shape, shape_of
from small_dataset import objects, store_of
from writer_processes import CONTEXT

import lance_like
from lance_like.errors import NotFound
from lance_like.io.local import LocalStore
from lance_like.io.memory import MemoryStore
from lance_like.io.store import Store

Told = list[Any]
"""By turns (name, number) of an operation that begins, and whether the table was one for it."""


def kill_after(folder: Path, seed: int, seconds: float) -> Told:
    """Run a writer, kill it so long after its first change, and return what it told."""
    listening, telling = CONTEXT.Pipe(duplex=False)
    writer = CONTEXT.Process(target=write_until_killed, args=(folder, seed, telling))
    writer.start()
    telling.close()
    told: Told = []
    try:
        while True not in told:
            told.append(listening.recv())
        time.sleep(seconds)
    finally:
        writer.kill()
    writer.join()
    assert writer.exitcode == -signal.SIGKILL
    with pytest.raises((EOFError, OSError)):
        while True:
            told.append(listening.recv())
    return told


def kill_and_check(folder: Path, *, times: int, seed: int) -> None:
    """Kill writers of one table. What it must be is followed in memory, from what they told."""
    moment = random.Random(seed)
    model, disk = MemoryStore("small"), LocalStore(str(folder))
    for store in (model, disk):
        prepare(store, BASE)
    found = facts(model)
    for number in range(times):
        told = kill_after(folder, seed + number, moment.uniform(0.0, 0.15))
        for operation, acknowledged in zip(told[::2], told[1::2], strict=False):
            assert repeat(model, operation) == acknowledged
        done = store_of(objects(model))
        unfinished = len(told) % 2 == 1 and repeat(done, told[-1])
        known = found.versions
        found, before, after = (facts(store, known=known) for store in (disk, model, done))
        assert_before_or_after(found, before, after, acknowledged=not unfinished)
        if found not in (before, after):
            # A cleanup that was stopped goes on where it was.
            assert repeat(disk, told[-1])
            found = facts(disk, known=known)
            assert found == after
        if found == after:
            model = done
    assert facts(disk) == found, "a version changed after it was made"
    for store in (model, disk):
        assert_goes_on(store, found)
    assert shape(folder) == shape_of(objects(model)), "garbage outlived a cleanup"


def repeat(store: Store, operation: tuple[str, int]) -> bool:
    """Do what a writer did; False if the table is not one for it."""
    name, number = operation
    try:
        OPERATIONS[name].run(store, number)
    except REFUSED:
        return False
    return True


def test_a_writer_killed_at_a_random_moment_loses_nothing(tmp_path):
    kill_and_check(tmp_path / "t", times=6, seed=11)


@pytest.mark.slow
def test_a_writer_killed_two_hundred_times_loses_nothing(tmp_path):
    for round_ in range(10):
        kill_and_check(tmp_path / str(round_), times=20, seed=100 * round_)


CREATOR = """
import sys
import lance_like
rows = ({"id": i, "text": f"row {i}" * 20} for i in range(20_000))
print("begun", flush=True)
lance_like.write_dataset(list(rows), sys.argv[1], max_rows_per_file=1_000)
print("done", flush=True)
"""


def create_killed(uri: Path, *, times: int, seed: int) -> None:
    """A killed creation left nothing to open, or all of it; and it can be made again in the same place."""
    random_moment = random.Random(seed)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    for number in range(times):
        command = [sys.executable, "-c", CREATOR, str(uri / str(number))]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "begun\n"
            time.sleep(random_moment.uniform(0.0, 0.6))
            writer.send_signal(signal.SIGKILL)
            acknowledged = writer.stdout.read() == "done\n"
        try:
            ds = lance_like.dataset(uri / str(number))
        except NotFound:
            assert not acknowledged
            ds = lance_like.write_dataset([{"id": 0, "text": "again"}], uri / str(number))
            assert ds.version == 1
            continue
        assert ds.to_table(["id"])["id"].to_pylist() == list(range(20_000))


def test_a_creation_killed_at_a_random_moment_is_whole_or_not_there(tmp_path):
    create_killed(tmp_path, times=2, seed=5)


@pytest.mark.slow
def test_a_creation_killed_twenty_times_is_whole_or_not_there(tmp_path):
    create_killed(tmp_path, times=20, seed=6)
