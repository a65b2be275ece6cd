"""What DuckDB can read the tables of TPC-H from: a door writes a table once, and opens it as an object for DuckDB.

The tables come from `tpchgen-cli` as Parquet; its string views are made plain strings for all.
"""

import json
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.peers.lance_like import LanceLike
from benchmarks.tpch.queries import TABLES

__all__ = ["DOORS", "TPCHGEN", "Door", "connect", "generate", "load_tables"]

# Beside the interpreter, whose folder need not be on the path.
TPCHGEN = str(Path(sys.executable).with_name("tpchgen-cli"))
# What DuckDB takes at a time of a table in memory.
_BATCH_ROWS = 122_880


def generate(folder: Path, scale: float) -> Path:
    """The tables as Parquet files in a folder below, made there unless they are."""
    target = folder / f"tpch-{scale:g}"
    if not (target / "generated").exists():
        target.mkdir(parents=True, exist_ok=True)
        command = [TPCHGEN, "parquet", "--quiet", "-s", f"{scale:g}", "-o", str(target), "--overwrite"]
        subprocess.run(command, check=True)
        (target / "generated").touch()
    return target


def load_tables(source: Path) -> dict[str, pa.Table]:
    """The generated tables in memory, by name."""
    return {name: _plain(pq.read_table(source / f"{name}.parquet")) for name in TABLES}


def _plain(table: pa.Table) -> pa.Table:
    fields = [pa.field(f.name, pa.string() if pa.types.is_string_view(f.type) else f.type, False) for f in table.schema]
    whole = table.cast(pa.schema(fields)).combine_chunks()
    return pa.Table.from_batches(whole.to_batches(max_chunksize=_BATCH_ROWS))


class Door(ABC):
    """One way into DuckDB. settings: what was chosen and why. stored_as: the folder its tables share; "" for none."""

    name: str
    settings: str
    stored_as = ""

    def identity(self) -> str:
        """What wrote the tables: they are written again when it changes."""
        return ""

    def write(self, path: Path, table: pa.Table) -> None:
        """Store a table."""
        raise NotImplementedError

    @abstractmethod
    def open(self, path: Path, table: pa.Table, source: Path) -> Any:
        """The object to register, or the text of a table function. path: where `write` stored the table."""


class InMemory(Door):
    name, settings = "arrow", "tables in memory in batches of 122,880 rows: the floor of objects in Python"

    def open(self, path: Path, table: pa.Table, source: Path) -> Any:
        return table


class Parquet(Door):
    name, settings = "parquet", "DuckDB's own scan of the files of tpchgen-cli (its defaults)"

    def open(self, path: Path, table: pa.Table, source: Path) -> Any:
        return f"read_parquet('{source}')"


class InPlace(Door):
    name, settings, stored_as = "lance_like", "write: defaults; the dataset itself", "lance_like"

    def identity(self) -> str:
        return LanceLike().identity()

    def write(self, path: Path, table: pa.Table) -> None:
        import lance_like

        lance_like.write_dataset(table, str(path))

    def open(self, path: Path, table: pa.Table, source: Path) -> Any:
        import lance_like

        return lance_like.dataset(str(path))


class Pylance(Door):
    name, settings, stored_as = "pylance", "write: defaults; the dataset itself", "pylance"

    def identity(self) -> str:
        import lance

        return lance.__version__

    def write(self, path: Path, table: pa.Table) -> None:
        import lance

        lance.write_dataset(table, str(path))

    def open(self, path: Path, table: pa.Table, source: Path) -> Any:
        import lance

        return lance.dataset(str(path))


class Vortex(Door):
    name, settings, stored_as = "vortex", "write: defaults; open(memory_map=True).to_dataset()", "vortex"

    def identity(self) -> str:
        from importlib.metadata import version

        return version("vortex-data")

    def write(self, path: Path, table: pa.Table) -> None:
        import vortex

        vortex.io.write(table.to_reader(), str(path))

    def open(self, path: Path, table: pa.Table, source: Path) -> Any:
        import vortex

        return vortex.open(str(path), memory_map=True).to_dataset()


DOORS: dict[str, Callable[[], Door]] = {kind.name: kind for kind in (InPlace, InMemory, Parquet, Pylance, Vortex)}
"""By name, ours first."""


def connect(door: Door, tables: dict[str, pa.Table], source: Path) -> duckdb.DuckDBPyConnection:
    """A connection in which every table is there under its name, stored before if it was not."""
    folder = source / door.stored_as
    if door.stored_as:
        _store(door, folder, tables)
    connection = duckdb.connect()
    for name, table in tables.items():
        found = door.open(folder / name, table, source / f"{name}.parquet")
        if isinstance(found, str):
            connection.execute(f"create view {name} as from {found}")
        else:
            connection.register(name, found)
    return connection


def _store(door: Door, folder: Path, tables: dict[str, pa.Table]) -> None:
    mark = folder / "identity.json"
    identity = json.dumps(door.identity())
    if mark.exists() and mark.read_text() == identity:
        return
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    for name, table in tables.items():
        door.write(folder / name, table)
    mark.write_text(identity)
