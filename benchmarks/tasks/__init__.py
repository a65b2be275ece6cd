"""The questions of the benchmarks. Each task is a function `Case -> rows`; this module holds what they share.

Peers are measured in turns inside one process: in each repetition every peer answers the same block of
requests, and the order of the peers changes from one repetition to the next. The garbage collector is off
while the clock runs, and freeing an answer is not timed.
"""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.datasets import Data
from benchmarks.peers import Named, Peer

__all__ = ["Case", "Clock", "Row", "interleaved", "paused_gc"]


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of data, stored by each peer.

    paths: where each peer's files are, by peer name.
    ks: how many rows a take reads.
    block: takes per peer and repetition, or None to choose it by k.
    folder: room for files that a task writes and deletes.
    """

    data: Data
    peers: tuple[Peer, ...]
    paths: dict[str, Path]
    folder: Path
    repeat: int
    ks: tuple[int, ...]
    seed: int
    block: int | None = None

    def rng(self, *words: int) -> np.random.Generator:
        """Make the generator of one purpose; the same words give the same numbers in every run."""
        return np.random.default_rng([self.seed, self.data.rows, *words])


@dataclass(frozen=True, slots=True)
class Row:
    """The samples of one peer in one row of the report.

    state: "warm", "cold", or "" where it makes no difference.
    cpu: CPU milliseconds of the process per sample, all its threads together.
    notes: further figures, by name.
    """

    task: str
    kind: str
    detail: str
    state: str
    peer: str
    unit: str
    samples: list[float]
    cpu: list[float] = field(default_factory=list)
    notes: dict[str, float] = field(default_factory=dict)


class Clock:
    """Collects the wall and CPU milliseconds of calls, by peer."""

    def __init__(self, peers: Sequence[Named]) -> None:
        self.wall: dict[str, list[float]] = {peer.name: [] for peer in peers}
        self.cpu: dict[str, list[float]] = {peer.name: [] for peer in peers}

    def run(self, peer: Named, call: Callable[[], Any]) -> Any:
        """Time one call and hand on its answer."""
        cpu = time.process_time_ns()
        start = time.perf_counter_ns()
        answer = call()
        end = time.perf_counter_ns()
        self.cpu[peer.name].append((time.process_time_ns() - cpu) / 1e6)
        self.wall[peer.name].append((end - start) / 1e6)
        return answer


def interleaved(case: Case, *words: int) -> Iterator[tuple[int, tuple[Peer, ...]]]:
    """Yield each repetition with its order of peers.

    A drawn order is rotated until every peer was first once, then a new one is drawn: a fixed circle would
    give each peer the same predecessor, and with it the same cold CPU caches, every time.
    """
    rng = case.rng(0, *words)
    count = len(case.peers)
    order: list[int] = []
    for repetition in range(case.repeat):
        turn = repetition % count
        if turn == 0:
            order = rng.permutation(count).tolist()
        yield repetition, tuple(case.peers[place] for place in order[turn:] + order[:turn])


@contextmanager
def paused_gc() -> Iterator[None]:
    """Collect garbage now and not again inside the block."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
