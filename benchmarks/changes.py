"""Changes of a table: `python -m benchmarks.changes --tables narrow,wide --tasks delete,update`.

Each sample: a fresh copy of a table (hard links: no format here writes into a file that is there), a handle opened on
it, then the change under the clock, peers in turns. Then the bytes of all files that are new or were written again.
In the first turn every peer's rows are compared with what the change must have made.
"""

import argparse
import gc
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.tables import PEERS, TablePeer, state_of, written_nbytes
from benchmarks.tables.report import Samples, run_and_report
from benchmarks.tasks.pagecache import make_durable, read_fully

__all__ = ["TABLES", "TASKS", "Content", "main", "measure"]

FILES, MANY_FILES = 4, 20


@dataclass(frozen=True, slots=True)
class Content:
    """A table to change. cell: bytes of its image column, 0: none. upserted: rows of an upsert, half of them there."""

    rows: int
    cell: int
    upserted: int

    def make(self, start: int, end: int) -> pa.Table:
        """The rows of some ids."""
        ids = np.arange(start, end)
        columns: dict[str, Any] = {"id": ids, "v": ids * 7_919 % 1_000_003}
        if self.cell:
            noise = pa.py_buffer(np.random.default_rng(start).bytes(len(ids) * self.cell))
            ends = pa.py_buffer(np.arange(len(ids) + 1, dtype=np.int32) * np.int32(self.cell))
            columns["image"] = pa.Array.from_buffers(pa.binary(), len(ids), [None, ends, noise])
        else:
            texts = pc.binary_join_element_wise("row", pa.array(ids).cast("string"), " ")
            columns |= {"x": np.sqrt(ids), "s": texts}
        return pa.table(columns)

    def before(self) -> pa.Table:
        """What is compared of the table as it was: ids and values."""
        ids = np.arange(self.rows)
        return pa.table({"id": ids, "v": ids * 7_919 % 1_000_003})


TABLES = {"narrow": Content(1_000_000, 0, 10_000), "wide": Content(4_000, 60_000, 200)}


@dataclass(frozen=True, slots=True)
class Turn:
    """What a change is given. first: the version with the rows of the first file only."""

    peer: TablePeer
    handle: Any
    path: Path
    content: Content
    first: int


@dataclass(frozen=True, slots=True)
class Task:
    """A change.

    run: what is timed; returns the handle to read, if it is a new one. expected: from the compared columns before to
    those after, rows in any order. files: of the table.
    """

    run: Callable[[Turn], Any]
    expected: Callable[[Content, pa.Table], pa.Table]
    files: int = FILES


def _hundredth(rows: pa.Table) -> pa.Array:
    return pa.array(rows["id"].to_numpy() % 100 == 7)


HUNDREDTH = "id % 100 = 7"


@lru_cache(maxsize=1)
def _upserts(content: Content) -> pa.Table:
    """Ids spread over the table, then new ones, with other values than before."""
    half = content.upserted // 2
    ids = np.concatenate([np.arange(half) * (content.rows // half), content.rows + np.arange(half)])
    rows = content.make(content.rows, content.rows + 2 * half)
    return rows.set_column(0, "id", pa.array(ids)).set_column(1, "v", pa.array(-ids))


def _after_upsert(content: Content, rows: pa.Table) -> pa.Table:
    upserts = _upserts(content).select(["id", "v"])
    return pa.concat_tables([rows.filter(pc.invert(pc.is_in(rows["id"], upserts["id"].combine_chunks()))), upserts])


def _after_update(content: Content, rows: pa.Table) -> pa.Table:
    return rows.set_column(1, "v", pc.add(rows["v"], _hundredth(rows).cast(pa.int64())))


TASKS = {
    "delete": Task(
        lambda turn: turn.peer.delete(turn.handle, HUNDREDTH),
        lambda content, rows: rows.filter(pc.invert(_hundredth(rows))),
    ),
    "delete_row": Task(
        lambda turn: turn.peer.delete(turn.handle, f"id = {turn.content.rows // 2}"),
        lambda content, rows: rows.filter(pc.not_equal(rows["id"], content.rows // 2)),
    ),
    "update": Task(lambda turn: turn.peer.update(turn.handle, {"v": "v + 1"}, HUNDREDTH), _after_update),
    "upsert": Task(lambda turn: turn.peer.upsert(turn.handle, "id", _upserts(turn.content)), _after_upsert),
    "add_column": Task(
        lambda turn: turn.peer.add_column(turn.handle, "w", "v * 2"),
        lambda content, rows: rows.append_column("w", pc.multiply(rows["v"], 2)),
    ),
    "add_null_column": Task(
        lambda turn: turn.peer.add_null_column(turn.handle, pa.field("w", pa.int64())),
        lambda content, rows: rows.append_column("w", pa.nulls(len(rows), pa.int64())),
    ),
    "checkout": Task(
        lambda turn: turn.peer.checkout(turn.path, turn.first),
        lambda content, rows: rows.slice(0, content.rows // FILES),
    ),
    "restore": Task(
        lambda turn: turn.peer.restore(turn.path, turn.first),
        lambda content, rows: rows.slice(0, content.rows // FILES),
    ),
    "compact": Task(
        lambda turn: turn.peer.compact(turn.handle, turn.content.rows), lambda content, rows: rows, files=MANY_FILES
    ),
}


def measure(
    tables: dict[str, Content],
    tasks: Sequence[str],
    folder: Path,
    peers: Sequence[TablePeer],
    *,
    repeat: int,
    seed: int = 7,
) -> Samples:
    """Milliseconds and bytes written of each change of each table. Raises AssertionError for a wrong answer."""
    rng = np.random.default_rng(seed)
    samples: Samples = {}
    for name, content in tables.items():
        for files in sorted({TASKS[task].files for task in tasks}):
            sources = {peer.name: folder / f"{peer.name}-{files}" for peer in peers}
            for peer in peers:
                _store(peer, content, files, sources[peer.name])
            for task in (task for task in tasks if TASKS[task].files == files):
                _measure_task(f"{name}, {task}", TASKS[task], content, sources, peers, repeat, rng, samples)
            for path in sources.values():
                shutil.rmtree(path)
    return samples


def _store(peer: TablePeer, content: Content, files: int, path: Path) -> None:
    """Write a table, a commit a file, so that nothing of it is left to be written by the disk."""
    step = content.rows // files
    handle = peer.create(path, content.make(0, step))
    for start in range(step, content.rows, step):
        peer.append(handle, content.make(start, start + step))
    make_durable(path)


def _measure_task(
    row: str,
    task: Task,
    content: Content,
    sources: dict[str, Path],
    peers: Sequence[TablePeer],
    repeat: int,
    rng: np.random.Generator,
    samples: Samples,
) -> None:
    """Add the samples of one change of one table."""
    able = list(peers)
    for turn in range(repeat):
        for peer in [able[place] for place in rng.permutation(len(able))]:
            path = sources[peer.name].with_name("changed")
            shutil.copytree(sources[peer.name], path, copy_function=os.link)
            try:
                taken, nbytes, handle = _change(peer, task, content, path)
                if turn == 0:
                    _check(peer, row, handle, task.expected(content, content.before()))
            except NotImplementedError:
                able.remove(peer)
                continue
            finally:
                shutil.rmtree(path)
            samples.setdefault(f"{row}, ms", {}).setdefault(peer.name, []).append(taken)
            samples.setdefault(f"{row}, bytes", {}).setdefault(peer.name, []).append(nbytes)


def _change(peer: TablePeer, task: Task, content: Content, path: Path) -> tuple[float, int, Any]:
    """Make a change once. Returns milliseconds, bytes written, and the handle to read."""
    read_fully(path)
    _upserts(content)
    handle = peer.open(path)
    first = peer.versions(handle)[0][0]
    state = state_of(path)
    gc.collect()
    gc.disable()
    began = time.perf_counter_ns()
    moved = task.run(Turn(peer, handle, path, content, first))
    taken = (time.perf_counter_ns() - began) / 1e6
    gc.enable()
    return taken, written_nbytes(state, state_of(path)), handle if moved is None else moved


def _check(peer: TablePeer, row: str, handle: Any, expected: pa.Table) -> None:
    found = peer.read(handle, expected.column_names).sort_by("id").combine_chunks()
    assert found.equals(expected.sort_by("id").combine_chunks()), f"{peer.name}: {row} left other rows"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.changes", description="Changes of a table.")
    parser.add_argument("--tables", default=",".join(TABLES))
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--json", help="write every sample to this file")
    parsed = parser.parse_args(arguments)
    tables = {name: TABLES[name] for name in parsed.tables.split(",")}
    tasks = parsed.tasks.split(",")

    def run(folder: Path, peers: Sequence[TablePeer]) -> Samples:
        return measure(tables, tasks, folder, peers, repeat=parsed.repeat)

    about = "; ".join(f"{name}: {c.rows:,} rows, {c.cell:,} bytes an image" for name, c in tables.items())
    run_and_report("changes", parsed.peers, run, target=parsed.json, about=about)
    return 0


if __name__ == "__main__":
    sys.exit(main())
