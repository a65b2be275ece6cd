"""Tables of many columns: `python -m benchmarks.wide --columns 1000,10000`.

What it costs to write one until its bytes are synced, to open one, to take a row of one column, and to take rows of all
columns, against `pylance`. Float32 columns of 1,000 rows; peers in turns; the files are in the page cache.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.peers import Peer, load_peer
from benchmarks.tasks import Clock, paused_gc
from benchmarks.tasks.pagecache import make_durable, read_fully

__all__ = ["main", "measure"]

PEERS = ("lance_like", "pylance")
ROWS = 1_000
Medians = dict[str, dict[str, float]]


def measure(columns: int, folder: Path, *, repeat: int) -> Medians:
    """Milliseconds, median of `repeat`: task -> peer -> median."""
    rng = np.random.default_rng(columns)
    table = pa.table({f"c{i}": rng.random(ROWS, np.float32) for i in range(columns)})
    peers = tuple(load_peer(name) for name in PEERS)
    clocks = {"write": Clock(peers)}
    for turn in range(repeat):
        for peer in peers if turn % 2 else peers[::-1]:
            path = folder / peer.stored_as
            shutil.rmtree(path, ignore_errors=True)
            with paused_gc():
                clocks["write"].run(peer, lambda p=peer, to=path: _write(p, to, table))
    for peer in peers:
        read_fully(folder / peer.stored_as)
    some = [f"c{columns // 2}"]
    tasks: dict[str, Callable[[Peer, Path], object]] = {
        "open": lambda peer, path: peer.open(path),
        "open, take of 1 column": lambda peer, path: peer.take(peer.open(path), np.array([5]), some),
        "open, take of all columns": lambda peer, path: peer.take(peer.open(path), np.array([5]), table.column_names),
    }
    for name, task in tasks.items():
        clocks[name] = Clock(peers)
        for turn in range(repeat):
            for peer in peers if turn % 2 else peers[::-1]:
                with paused_gc():
                    clocks[name].run(peer, lambda p=peer, t=task: t(p, folder / p.stored_as))
    handles = {peer.name: peer.open(folder / peer.stored_as) for peer in peers}
    for name, chosen in (("take of 1 column", some), ("take of all columns", table.column_names)):
        clocks[name] = Clock(peers)
        for turn in range(repeat + 1):
            rows = np.array([turn])
            for peer in peers if turn % 2 else peers[::-1]:
                with paused_gc():
                    clocks[name].run(peer, lambda p=peer, c=chosen, r=rows: p.take(handles[p.name], r, c))
        for wall in clocks[name].wall.values():
            del wall[0]  # The first opens what the handle then keeps; it is in the rows above.
    return {name: {peer: float(np.median(wall)) for peer, wall in clock.wall.items()} for name, clock in clocks.items()}


def _write(peer: Peer, path: Path, table: pa.Table) -> None:
    """Write a table until its bytes are durable, for all peers alike."""
    peer.write(path, table.to_batches(), table.schema)
    make_durable(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.wide", description="Tables of many columns.")
    parser.add_argument("--columns", default="1,1000,10000")
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--json", help="write the medians to this file")
    parsed = parser.parse_args(arguments)
    found: dict[str, Medians] = {}
    print("| columns | task | lance_like, ms | pylance, ms | ratio |\n|---|---|---|---|---|")
    for columns in map(int, parsed.columns.split(",")):
        folder = Path(tempfile.mkdtemp(prefix="lance_like_wide_"))
        try:
            found[str(columns)] = measure(columns, folder, repeat=parsed.repeat)
        finally:
            shutil.rmtree(folder)
        for task, medians in found[str(columns)].items():
            ours, theirs = medians["lance_like"], medians["pylance"]
            print(f"| {columns:,} | {task} | {ours:.3g} | {theirs:.3g} | {ours / theirs:.3f} |")
    if parsed.json:
        Path(parsed.json).write_text(json.dumps({"wide": found}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
