"""What the writing processes of a race do; each waits for the others, and says how it went."""

from __future__ import annotations

import multiprocessing
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import lance_like
from lance_like.errors import Conflict

# A process forked from a clean server starts in milliseconds and inherits no thread of the test.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["lance_like.dataset", "duckdb"])

Job = tuple[Callable[..., Any], tuple[Any, ...]]
_barrier: Any = None


def _begin(barrier: Any) -> None:
    global _barrier
    _barrier = barrier


def _run(job: Job) -> Any:
    work, arguments = job
    _barrier.wait(60)
    return work(*arguments)


def race(jobs: Sequence[Job]) -> list[Any]:
    """Run jobs, each in a process of its own, all from the same moment on. Returns their answers."""
    barrier = CONTEXT.Barrier(len(jobs))
    with ProcessPoolExecutor(len(jobs), mp_context=CONTEXT, initializer=_begin, initargs=(barrier,)) as pool:
        return list(pool.map(_run, jobs, timeout=120))


def append(uri: str, first: int, times: int) -> list[int]:
    """Append one row at a time, numbered from first; returns the version of each."""
    ds = lance_like.dataset(uri)
    made = []
    for number in range(first, first + times):
        ds.insert({"n": [number]})
        made.append(ds.version)
    return made


def append_until_refused(uri: str, first: int, times: int) -> tuple[list[int], list[int]]:
    """Append; returns the numbers acknowledged, and those refused by a conflict."""
    done, refused = [], []
    for number in range(first, first + times):
        try:
            lance_like.dataset(uri).insert({"n": [number]})
            done.append(number)
        except Conflict:
            refused.append(number)
    return done, refused


def add_column(uri: str, name: str, factor: int) -> int:
    ds = lance_like.dataset(uri)
    ds.add_columns({name: f"n * {factor}"})
    return ds.version


def try_add_column(uri: str, name: str, factor: int) -> bool:
    """Add a column; False when another was first."""
    try:
        add_column(uri, name, factor)
    except (Conflict, lance_like.errors.InvalidInput):
        return False
    return True


def restore(uri: str, version: int, times: int) -> list[int]:
    made = []
    for _ in range(times):
        ds = lance_like.dataset(uri, version=version)
        ds.restore()
        made.append(ds.version)
    return made


def overwrite(uri: str, first: int, times: int) -> list[int]:
    """Overwrite with two rows each time."""
    ds = lance_like.dataset(uri)
    made = []
    for number in range(first, first + times):
        ds.insert({"n": [number, -number]}, mode="overwrite")
        made.append(ds.version)
    return made


def create(uri: str, number: int) -> bool:
    """Create a dataset; False when another was first."""
    try:
        lance_like.write_dataset({"n": [number]}, uri)
    except lance_like.errors.AlreadyExists:
        return False
    return True


def tag(uri: str, name: str) -> bool:
    """Create a tag; False when another was first."""
    try:
        lance_like.dataset(uri).tags.create(name)
    except lance_like.errors.AlreadyExists:
        return False
    return True


def read(uri: str, seed: int, times: int) -> int:
    """Open, scan and take while others write; every answer is of one version."""
    choice = random.Random(seed)
    newest = 0
    for _ in range(times):
        ds = lance_like.dataset(uri)
        assert ds.version >= newest, "the newest version went back in time"
        newest = ds.version
        numbers = ds.to_table(["n"])["n"].to_pylist()
        assert len(numbers) == len(ds) == ds.count_rows()
        if numbers:
            row = choice.randrange(len(numbers))
            assert ds.take([row], ["n"])["n"].to_pylist() == [numbers[row]]
        ds.versions()
    return newest


def increment(uri: str, times: int) -> int:
    """Add one to the only row so many times; returns how often it was acknowledged."""
    done = 0
    # One handle, so that it is behind whenever another was first.
    ds = lance_like.dataset(uri)
    for _ in range(times):
        try:
            done += ds.update({"n": "n + 1"})["num_rows_updated"]
        except Conflict as conflict:
            assert conflict.retryable
    return done


def upsert(uri: str, own: int, keys: Sequence[int]) -> int:
    """Bring in the same new keys as every other process; returns how many times it was acknowledged."""
    done = 0
    for key in keys:
        source = {"key": [key, -key], "own": [own, own]}
        builder = lance_like.dataset(uri).merge_insert("key").when_matched_update_all().when_not_matched_insert_all()
        try:
            builder.execute(source)
            done += 1
        except Conflict as conflict:
            assert conflict.retryable
    return done
