"""The adapters of the table benchmarks: every table format answers the same verbs of history and change.

A handle is what a user of that library would hold; verbs that change a table move it, or answer with the one to
hold next. A verb that a library does not have raises NotImplementedError, and its cell stays empty.
"""

import importlib
from abc import ABC, abstractmethod
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

__all__ = ["PEERS", "TablePeer", "load_peer", "metadata_nbytes", "state_of", "written_nbytes"]

State = dict[str, tuple[int, int, int]]


class TablePeer(ABC):
    """One table format.

    name: the column of the reports. settings: what was chosen and why, one line each.
    metadata: the folders of a table that hold what commits write beside rows.
    """

    name: str
    settings: tuple[str, ...]
    metadata: tuple[str, ...]

    @abstractmethod
    def create(self, path: Path, rows: pa.Table) -> Any:
        """Write a new table in one data file; returns a handle."""

    @abstractmethod
    def open(self, path: Path) -> Any:
        """Open the newest version."""

    @abstractmethod
    def append(self, handle: Any, rows: pa.Table) -> None:
        """Append rows through a handle, which moves to the new version."""

    @abstractmethod
    def append_to(self, path: Path, rows: pa.Table) -> None:
        """Append rows to the table at a path, as a program does that holds no handle."""

    @abstractmethod
    def versions(self, handle: Any) -> list[tuple[int, datetime]]:
        """Every version with its moment, oldest first."""

    @abstractmethod
    def as_of(self, path: Path, moment: datetime) -> Any:
        """Open the table as it was at a moment."""

    @abstractmethod
    def checkout(self, path: Path, version: int) -> Any:
        """Open one version."""

    @abstractmethod
    def restore(self, path: Path, version: int) -> Any:
        """Make an old version the newest again, as a new version; returns a handle on it."""

    @abstractmethod
    def read(self, handle: Any, columns: list[str]) -> pa.Table:
        """All rows of some columns, in any order."""

    @abstractmethod
    def delete(self, handle: Any, where: str) -> None:
        """Delete the rows of an SQL predicate."""

    @abstractmethod
    def update(self, handle: Any, updates: dict[str, str], where: str) -> None:
        """Set columns to SQL expressions in the rows of a predicate."""

    @abstractmethod
    def upsert(self, handle: Any, key: str, rows: pa.Table) -> None:
        """Replace the rows whose key is there, insert the others."""

    @abstractmethod
    def add_column(self, handle: Any, name: str, expression: str) -> None:
        """Add a column computed from others."""

    @abstractmethod
    def add_null_column(self, handle: Any, field: pa.Field) -> None:
        """Add a column that is null everywhere."""

    @abstractmethod
    def compact(self, handle: Any, rows_per_file: int) -> None:
        """Join small files into files of that many rows."""


PEERS = {
    "lance_like": "benchmarks.tables.lance_like:LanceLike",
    "lance_like_nosync": "benchmarks.tables.lance_like:LanceLikeNoSync",
    "pylance": "benchmarks.tables.pylance:Pylance",
    "deltalake": "benchmarks.tables.deltalake:DeltaLake",
}


def load_peer(name: str) -> TablePeer:
    """Make the adapter of one peer. Raises KeyError if the name is not known, ImportError if it is not installed."""
    module, attribute = PEERS[name].split(":")
    return getattr(importlib.import_module(module), attribute)()


def state_of(path: Path) -> State:
    """The files below a table's folder: relative path -> (inode, time of change, bytes)."""
    found: State = {}
    for file in path.rglob("*"):
        status = file.stat()
        if file.is_file():
            found[str(file.relative_to(path))] = (status.st_ino, status.st_mtime_ns, status.st_size)
    return found


def written_nbytes(before: State, after: State) -> int:
    """The bytes of the files that are new or were written again."""
    return sum(entry[2] for file, entry in after.items() if before.get(file) != entry)


def metadata_nbytes(peer: TablePeer, before: State, after: State) -> int:
    """As `written_nbytes`, of the files that hold no rows."""

    def chosen(state: State) -> State:
        return {file: entry for file, entry in state.items() if file.split("/")[0] in peer.metadata}

    return written_nbytes(chosen(before), chosen(after))
