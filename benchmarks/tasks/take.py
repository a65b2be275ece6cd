"""How long it takes to read k random rows: warm, right after an open, and cold.

The rows are random, unsorted, without repeats unless the task says otherwise, new in every take, and the same for all
peers.
"""

import gc
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.peers import Peer
from benchmarks.tasks import Case, Clock, Row, interleaved, paused_gc
from benchmarks.tasks.pagecache import disk_nbytes_read, drop, read_fully

__all__ = ["run_first_take", "run_take", "run_take_cold", "run_take_repeated", "run_take_sorted"]

# enough short takes to see a median, few long ones
BLOCKS = {1: 30, 10: 20, 100: 10, 1_000: 5}
FIRST_KS = (100, 1_000)
# one take of the sweep, in bytes of Arrow
SWEEP_NBYTES = 16 << 20
# purposes of random numbers
WARM_UP, TIMED, FIRST, COLD = range(1, 5)


Order = Callable[[np.ndarray], np.ndarray]


def run_take(case: Case) -> list[Row]:
    """Random order, no repeats: see `_run_warm`."""
    return _run_warm(case, "take", case.ks, lambda rows: rows)


def run_take_sorted(case: Case) -> list[Row]:
    """The same rows in ascending order."""
    return _run_warm(case, "take_sorted", _some(case.ks), np.sort)


def run_take_repeated(case: Case) -> list[Row]:
    """A tenth of the rows, each ten times, mixed."""
    return _run_warm(case, "take_repeated", _some(case.ks), _repeat)


def _some(ks: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(k for k in ks if k >= 100)


def _repeat(rows: np.ndarray) -> np.ndarray:
    return np.random.default_rng(len(rows)).permutation(np.tile(rows[: len(rows) // 10], 10))


def _run_warm(case: Case, task: str, ks: tuple[int, ...], order: Order) -> list[Row]:
    """Warm takes through handles that are open and have read every row once.

    1. read every file, 2. take every row once (blocks whose check is remembered are now remembered), 3. for
    each k read the files again, run one block of other rows, then the timed blocks.
    """
    handles = {peer.name: peer.open(case.paths[peer.name]) for peer in case.peers}
    for peer in case.peers:
        read_fully(case.paths[peer.name])
        _sweep(case, peer, handles[peer.name])
    found: list[Row] = []
    for k in _fitting(case, ks):
        clock = Clock(case.peers)
        block = case.block or BLOCKS.get(k, 2)
        for peer in case.peers:
            read_fully(case.paths[peer.name])
            for rows in _draw(case, k, block, WARM_UP):
                peer.take(handles[peer.name], rows, case.data.columns)
        for repetition, peers in interleaved(case, TIMED, k):
            asked = [order(rows) for rows in _draw(case, k, block, TIMED, repetition)]
            for peer in peers:
                with paused_gc():
                    for rows in asked:
                        _timed_take(clock, case, peer, handles[peer.name], rows)
        found += _rows(case, clock, task=task, detail=f"k={k}", state="warm")
    return found


def run_first_take(case: Case) -> list[Row]:
    """The first take of a fresh handle, and open and take together; the page cache is warm."""
    found: list[Row] = []
    for k in _fitting(case, FIRST_KS):
        opens, takes = Clock(case.peers), Clock(case.peers)
        for peer in case.peers:
            read_fully(case.paths[peer.name])
        for repetition, peers in interleaved(case, FIRST, k):
            rows = _draw(case, k, 1, FIRST, repetition)[0]
            for peer in peers:
                with paused_gc():
                    handle = opens.run(peer, lambda p=peer: p.open(case.paths[p.name]))
                    _timed_take(takes, case, peer, handle, rows)
                del handle
        found += _rows(case, takes, task="first_take", detail=f"k={k}", state="warm")
        for peer in case.peers:
            wall, cpu = opens.wall[peer.name], opens.cpu[peer.name]
            opens.wall[peer.name] = np.add(wall, takes.wall[peer.name]).tolist()
            opens.cpu[peer.name] = np.add(cpu, takes.cpu[peer.name]).tolist()
        found += _rows(case, opens, task="open_and_take", detail=f"k={k}", state="warm")
    return found


def run_take_cold(case: Case) -> list[Row]:
    """Takes whose data comes from the disk: a fresh handle, then its files dropped from the page cache.

    What the open itself read stays in the process; `disk_mb` is what the take made the disk deliver.
    """
    found: list[Row] = []
    for k in _fitting(case, case.ks):
        clock = Clock(case.peers)
        delivered: dict[str, list[int]] = {peer.name: [] for peer in case.peers}
        for repetition, peers in interleaved(case, COLD, k):
            rows = _draw(case, k, 1, COLD, repetition)[0]
            for peer in peers:
                path = case.paths[peer.name]
                gc.collect()
                drop(path)
                handle = peer.open(path)
                drop(path)
                with paused_gc():
                    before = disk_nbytes_read()
                    _timed_take(clock, case, peer, handle, rows)
                    after = disk_nbytes_read()
                del handle
                if before is not None and after is not None:
                    delivered[peer.name].append(after - before)
        notes = {name: {"disk_mb": float(np.median(seen)) / 1e6} for name, seen in delivered.items() if seen}
        found += _rows(case, clock, task="take_cold", detail=f"k={k}", state="cold", notes=notes)
    return found


def _fitting(case: Case, ks: tuple[int, ...]) -> list[int]:
    return [k for k in ks if k <= case.data.rows]


def _draw(case: Case, k: int, count: int, *words: int) -> list[np.ndarray]:
    rng = case.rng(k, *words)
    return [rng.choice(case.data.rows, k, replace=False) for _ in range(count)]


def _sweep(case: Case, peer: Peer, handle: Any) -> None:
    row_nbytes = max(1, next(case.data.batches()).nbytes // case.data.batch_rows)
    step = max(1, min(10_000, SWEEP_NBYTES // row_nbytes))
    for start in range(0, case.data.rows, step):
        rows = np.arange(start, min(start + step, case.data.rows))
        peer.take(handle, rows, case.data.columns)


def _timed_take(clock: Clock, case: Case, peer: Peer, handle: Any, rows: np.ndarray) -> None:
    answer = clock.run(peer, lambda: peer.take(handle, rows, case.data.columns))
    if answer.num_rows != len(rows):
        raise AssertionError(f"{peer.name}: {answer.num_rows} rows answered, {len(rows)} asked")


def _rows(
    case: Case,
    clock: Clock,
    *,
    task: str,
    detail: str,
    state: str,
    notes: dict[str, dict[str, float]] | None = None,
) -> list[Row]:
    return [
        Row(
            task=task,
            kind=case.data.kind,
            detail=detail,
            state=state,
            peer=peer.name,
            unit="ms",
            samples=clock.wall[peer.name],
            cpu=clock.cpu[peer.name],
            notes=(notes or {}).get(peer.name, {}),
        )
        for peer in case.peers
    ]
