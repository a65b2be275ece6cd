"""The adapters of the benchmarks: every table or file format answers the same verbs.

An adapter holds the best settings found among those its project documents, and says so in `settings`, which
goes into every result. A peer whose package is not installed is left out with a note. Timing lives in tasks/.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

__all__ = ["FORMS", "PEERS", "Named", "Peer", "files_below", "load_peer"]


class Named(Protocol):
    """What clocks and reports know of a peer. settings: what was chosen and why, one line each."""

    name: str
    settings: tuple[str, ...]


class Peer(ABC):
    """One format: where it stores a table and how it reads it back.

    name: the column of the reports.
    stored_as: peers with the same word read the same files.
    settings: what was chosen and why, one line each.
    """

    name: str
    stored_as: str
    settings: tuple[str, ...]

    @abstractmethod
    def identity(self) -> str:
        """Name the code and the settings that write files; a new name makes cached files stale."""

    @abstractmethod
    def write(self, path: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> None:
        """Write a new table at a path that does not exist; its parent folder does."""

    @abstractmethod
    def open(self, path: Path) -> Any:
        """Open a table for `take` and `scan`."""

    @abstractmethod
    def take(self, handle: Any, indices: np.ndarray, columns: list[str]) -> pa.Table:
        """Read rows in the order asked; indices int64[k], any order, repeats allowed."""

    @abstractmethod
    def scan(self, handle: Any, columns: list[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Read all rows in order; batch_rows is a hint for the size of the batches."""

    def nbytes(self, path: Path) -> int:
        """Count the bytes on disk of the table at a path."""
        return sum(file.stat().st_size for file in files_below(path))


PEERS = {
    "lance_like": "benchmarks.peers.lance_like:LanceLike",
    "pylance": "benchmarks.peers.pylance:Pylance",
    "vortex": "benchmarks.peers.vortex:Vortex",
    "vortex_cache": "benchmarks.peers.vortex:VortexCache",
    "parquet": "benchmarks.peers.parquet:Parquet",
    "ipc": "benchmarks.peers.ipc:Ipc",
}
# What is only run when it is named: other forms of a peer above.
FORMS = {
    "lance_like_unchecked": "benchmarks.peers.lance_like:LanceLikeUnchecked",
    "lance_like_50": "benchmarks.peers.lance_like:LanceLikeFifty",
    "pylance_50": "benchmarks.peers.pylance:PylanceFifty",
}


def load_peer(name: str) -> Peer:
    """Make the adapter of one peer.

    Raises KeyError if the name is not known, ImportError if the peer is not installed.
    """
    module, attribute = (PEERS | FORMS)[name].split(":")
    return getattr(importlib.import_module(module), attribute)()


def files_below(path: Path) -> list[Path]:
    """List the files of a table, sorted: the path itself, or all files in that folder."""
    if path.is_file():
        return [path]
    return sorted(file for file in path.rglob("*") if file.is_file())
