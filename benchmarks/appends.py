"""A long history: `python -m benchmarks.appends --commits 10000`.

1. one-row appends, peers in turns: the time of the first and of the last hundred, and the bytes that a commit writes
beside its row; 2. on the history that they left: open, `versions`, open as of a moment, open an old version, an
append through a path. `lance_like` syncs, as is its default; `lance_like_nosync` does not, like the other peers.
"""

import argparse
import gc
import sys
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.tables import PEERS, TablePeer, metadata_nbytes, state_of
from benchmarks.tables.report import Samples, run_and_report

__all__ = ["main", "measure"]

WINDOW = 100


def measure(commits: int, folder: Path, peers: Sequence[TablePeer], *, repeat: int, seed: int = 7) -> Samples:
    """Milliseconds and bytes.

    commits: how many rows are appended, each by a commit; 2 or more. repeat: samples of each task on the history.
    Raises AssertionError for a wrong answer of a peer.
    """
    rng = np.random.default_rng(seed)
    window = min(WINDOW, commits // 2)
    samples: Samples = {}
    handles = {peer.name: peer.create(folder / peer.name, _row(0)) for peer in peers}
    for start, end, name in (
        (0, window, f"first {window}"),
        (window, commits - window, ""),
        (commits - window, commits, f"last {window}"),
    ):
        before = {peer.name: state_of(folder / peer.name) for peer in peers}
        times = _append(range(start, end), handles, peers, rng)
        for peer in peers if name else ():
            written = metadata_nbytes(peer, before[peer.name], state_of(folder / peer.name))
            samples.setdefault(f"append, {name}, ms", {})[peer.name] = times[peer.name]
            samples.setdefault(f"metadata a commit, {name}, bytes", {})[peer.name] = [written / window]
    return samples | _on_history(commits, folder, peers, repeat, rng)


def _append(
    numbers: range, handles: dict[str, Any], peers: Sequence[TablePeer], rng: np.random.Generator
) -> dict[str, list[float]]:
    """Append a row a number, peers in turns; milliseconds by peer."""
    times: dict[str, list[float]] = {peer.name: [] for peer in peers}
    gc.collect()
    gc.disable()
    for number in numbers:
        row = _row(number + 1)
        for place in rng.permutation(len(peers)):
            peer = peers[place]
            times[peer.name].append(_milliseconds(lambda p=peer, r=row: p.append(handles[p.name], r)))
        if number % WINDOW == 0:
            gc.collect()
    gc.enable()
    return times


def _on_history(
    commits: int, folder: Path, peers: Sequence[TablePeer], repeat: int, rng: np.random.Generator
) -> Samples:
    """The tasks on a finished history."""
    handles = {peer.name: peer.open(folder / peer.name) for peer in peers}
    histories = {peer.name: peer.versions(handles[peer.name]) for peer in peers}
    for peer in peers:
        assert len(histories[peer.name]) == commits + 1, f"{peer.name}: {len(histories[peer.name])} versions"
        assert sorted(peer.read(handles[peer.name], ["id"])["id"].to_pylist()) == list(range(commits + 1)), peer.name
    places = rng.integers(1, commits, repeat)

    def moment(peer: TablePeer, place: int) -> datetime:
        # Between two versions; Delta keeps milliseconds.
        earlier, later = (histories[peer.name][at][1] for at in (place, place + 1))
        return max(earlier + timedelta(milliseconds=1), earlier + (later - earlier) / 2)

    tasks: dict[str, Callable[[TablePeer, Path, int], Any]] = {
        "open": lambda peer, path, turn: peer.open(path),
        "versions": lambda peer, path, turn: peer.versions(handles[peer.name]),
        "open as of a moment": lambda peer, path, turn: peer.as_of(path, moment(peer, places[turn])),
        "open an old version": lambda peer, path, turn: peer.checkout(path, histories[peer.name][places[turn]][0]),
        "append through a path": lambda peer, path, turn: peer.append_to(path, _row(commits + 1 + turn)),
    }
    samples: Samples = {f"{task}, ms": {peer.name: [] for peer in peers} for task in tasks}
    for task, call in tasks.items():
        for turn in range(repeat):
            for place in rng.permutation(len(peers)):
                peer = peers[place]
                gc.collect()
                taken = _milliseconds(lambda p=peer, c=call, t=turn: c(p, folder / p.name, t))
                samples[f"{task}, ms"][peer.name].append(taken)
    return samples


def _milliseconds(call: Callable[[], Any]) -> float:
    began = time.perf_counter_ns()
    answer = call()
    taken = (time.perf_counter_ns() - began) / 1e6
    del answer  # Freed after the clock.
    return taken


def _row(number: int) -> pa.Table:
    ids = pa.array([number], pa.int64())
    return pa.table({"id": ids, "v": pa.array([number * 7], pa.int64()), "s": [f"row {number}"]})


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.appends", description="A history of many commits.")
    parser.add_argument("--commits", type=int, default=1_000)
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--repeat", type=int, default=11)
    parser.add_argument("--json", help="write every sample to this file")
    parsed = parser.parse_args(arguments)

    def run(folder: Path, peers: Sequence[TablePeer]) -> Samples:
        return measure(parsed.commits, folder, peers, repeat=parsed.repeat)

    about = f"{parsed.commits:,} one-row appends."
    run_and_report("appends", parsed.peers, run, target=parsed.json, about=about)
    return 0


if __name__ == "__main__":
    sys.exit(main())
