"""What the benchmarks of indexes share: peers that store, index and open a table, and questions asked in turns."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.tables.report import Samples
from benchmarks.tasks import Clock, paused_gc

__all__ = ["IndexPeer", "Stored", "ask", "build", "first_asked", "merged", "nbytes_below"]

Questions = Mapping[str, Sequence[Callable[[Any], Any]]]
"""Peer -> the same questions, each a function of the peer's handle, asked one after the other, again and again."""


class IndexPeer(ABC):
    """One library: where it keeps a table, and which indexes it makes there.

    name: the column of the reports. settings: what was chosen and why, one line each.
    """

    name: str
    settings: tuple[str, ...] = ()

    @abstractmethod
    def store(self, path: Path, table: pa.Table) -> None:
        """Write a table without indexes; where a library has no table, do nothing."""

    @abstractmethod
    def index(self, path: Path, table: pa.Table) -> None:
        """Make the indexes, durable and ready to be asked. table: as it was stored, for who keeps no table."""

    @abstractmethod
    def open(self, path: Path) -> Any:
        """Open the table or index for questions, as another program would."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a peer's table is."""

    peer: IndexPeer
    path: Path


def nbytes_below(path: Path) -> int:
    """Bytes of all files of a folder, or of one file."""
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def build(peers: Sequence[IndexPeer], table: pa.Table, folder: Path, samples: Samples, what: str) -> list[Stored]:
    """Store and index a table with each peer; adds processor seconds, seconds and bytes of the indexes to samples."""
    found = []
    for peer in peers:
        path = folder / f"{what.replace(' ', '-')}-{peer.name}"
        peer.store(path, table)
        before = nbytes_below(path) if path.exists() else 0
        with paused_gc():
            cpu, start = time.process_time(), time.perf_counter()
            peer.index(path, table)
            samples.setdefault(f"{what}, build, s", {})[peer.name] = [time.perf_counter() - start]
            samples.setdefault(f"{what}, build, cpu s", {})[peer.name] = [time.process_time() - cpu]
        samples.setdefault(f"{what}, index, bytes", {})[peer.name] = [float(nbytes_below(path) - before)]
        found.append(Stored(peer, path))
    return found


def first_asked(stored: Sequence[Stored], questions: Questions, repeat: int) -> dict[str, list[float]]:
    """Milliseconds of opening and a first answer, with files in the page cache; peers in turns."""
    clock = Clock([one.peer for one in stored])
    for turn in range(repeat):
        for one in _turned(stored, turn):
            chosen = questions[one.peer.name]
            with paused_gc():
                clock.run(one.peer, partial(_opened, one, chosen[turn % len(chosen)]))
    return clock.wall


def ask(
    stored: Sequence[Stored], handles: Mapping[str, Any], questions: Questions, repeat: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Milliseconds, and processor milliseconds, of answers through open handles: a question a peer in turns.

    Each question is asked once before the clock runs, and after the collector ran: that empties the processor's caches.
    """
    stored = [one for one in stored if one.peer.name in questions]
    clock = Clock([one.peer for one in stored])
    with paused_gc():
        for one in stored:
            for question in questions[one.peer.name]:
                question(handles[one.peer.name])
        for turn in range(repeat):
            for one in _turned(stored, turn):
                chosen = questions[one.peer.name]
                clock.run(one.peer, partial(chosen[turn % len(chosen)], handles[one.peer.name]))
    return clock.wall, clock.cpu


def _opened(one: Stored, question: Callable[[Any], Any]) -> Any:
    return question(one.peer.open(one.path))


def merged(samples: Samples, row: str, found: tuple[dict[str, list[float]], dict[str, list[float]]]) -> None:
    """Add what `ask` gave as two rows."""
    samples[f"{row}, ms"], samples[f"{row}, cpu ms"] = found


def _turned(stored: Sequence[Stored], turn: int) -> Iterator[Stored]:
    count = len(stored)
    return (stored[(place + turn) % count] for place in range(count))
