"""kill -9 of a writer at a random moment: nothing acknowledged is lost, nothing is half there."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from killed_writer import facts

import lance_like
from lance_like.errors import NotFound

WRITER = Path(__file__).with_name("killed_writer.py")


def kill_after(uri: Path, seed: int, seconds: float) -> list[dict[str, Any]]:
    """Run a writer, kill it so long after its first commit, and return what it acknowledged."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, str(WRITER), str(uri), str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as writer:
        assert writer.stdout is not None
        first = writer.stdout.readline()
        assert first, "the writer ended by itself"
        time.sleep(seconds)
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().splitlines()
    assert writer.returncode == -signal.SIGKILL
    # The last line may be cut: it was not told to anybody whole.
    lines = [line for line in [first, *rest] if line.endswith(("}", "}\n"))]
    return [json.loads(line) for line in lines]


def check(uri: Path, acknowledged: dict[int, dict[str, Any]], *, since: int) -> int:
    """Every version after `since` opens whole, and the acknowledged ones say what they said. Returns the newest."""
    newest = lance_like.dataset(uri)
    assert newest.version >= max(acknowledged)
    for version in range(since + 1, newest.version + 1):
        ds = lance_like.dataset(uri, version=version)
        table = ds.to_table()
        assert table.num_rows == len(ds)
        assert len(ds) % 50 == 0, "a write of 50 rows is there in part"
        for name in ds.schema.names:
            if name.startswith("c") and table[name].null_count == 0:
                assert table[name].to_pylist() == [2 * i for i in table["id"].to_pylist()]
        if version in acknowledged:
            assert facts(ds).items() <= acknowledged[version].items()
    tags = newest.tags.list()
    assert {name for fact in acknowledged.values() for name in fact["tags"]} <= set(tags)
    for tag in tags.values():
        assert tag["version"] <= newest.version
    return newest.version


def kill_and_check(folder: Path, *, times: int, seed: int) -> None:
    random_moment = random.Random(seed)
    uri = folder / "ds"
    lance_like.write_dataset({"id": [0] * 50, "text": ["first"] * 50}, uri)
    acknowledged: dict[int, dict[str, Any]] = {1: {**facts(lance_like.dataset(uri)), "tags": []}}
    newest = 0
    for number in range(times):
        for fact in kill_after(uri, seed + number, random_moment.uniform(0.0, 0.15)):
            acknowledged[fact["version"]] = fact
        newest = check(uri, acknowledged, since=newest)
    check(uri, acknowledged, since=0)
    # And the next write works.
    ds = lance_like.dataset(uri)
    ds.insert({"id": [1] * 50, "text": ["last"] * 50})
    assert ds.version > max(acknowledged)


def test_a_writer_killed_at_a_random_moment_loses_nothing(tmp_path):
    kill_and_check(tmp_path, times=5, seed=11)


@pytest.mark.slow
def test_a_writer_killed_fifty_times_loses_nothing(tmp_path):
    for round_ in range(5):
        kill_and_check(tmp_path / str(round_), times=10, seed=100 * round_)


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
