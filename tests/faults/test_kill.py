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

import pytest
from killed_writer import facts

import lance_like

WRITER = Path(__file__).with_name("killed_writer.py")


def kill_after(uri: Path, seed: int, seconds: float) -> list[dict[str, object]]:
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
    lines = [line for line in [first, *rest] if line.endswith("}") or line.endswith("}\n")]
    return [json.loads(line) for line in lines]


def check(uri: Path, acknowledged: dict[int, dict[str, object]], *, since: int) -> int:
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
            assert facts(ds) == acknowledged[version]
    for tag in newest.tags.list().values():
        assert tag["version"] <= newest.version
    return newest.version


def kill_and_check(folder: Path, *, times: int, seed: int) -> None:
    random_moment = random.Random(seed)
    uri = folder / "ds"
    lance_like.write_dataset({"id": [0] * 50, "text": ["first"] * 50}, uri)
    acknowledged: dict[int, dict[str, object]] = {1: facts(lance_like.dataset(uri))}
    newest = 0
    for number in range(times):
        for fact in kill_after(uri, seed + number, random_moment.uniform(0.0, 0.15)):
            acknowledged[int(str(fact["version"]))] = fact
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
