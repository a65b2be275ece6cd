"""Filtered reads: `python -m benchmarks.filters --rows 2000000`.

How long it takes to count the rows that pass a filter and to read them as an Arrow table: shares of 0.01, 1 and 50 %
of columns of int64 that are sorted, clustered (runs of 10,000 rows, in any order) or in random order, then filters of
other kinds. Handles and pages are warm, peers take turns, and all answers of the first turn are compared.
"""

import argparse
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import duckdb
import lance
import numpy as np
import pyarrow as pa
import vortex as vx
import vortex.expr as ve

import lance_like
from benchmarks.tables.report import Samples, run_and_report
from benchmarks.tasks import Clock, paused_gc

__all__ = ["PEERS", "Filter", "main", "make_table", "measure"]

RUN_ROWS = 10_000
SHARES = (0.0001, 0.01, 0.5)
ANSWER = ["key", "price", "name", "category"]


@dataclass(frozen=True, slots=True)
class Filter:
    """Conditions joined by AND: column, operator (`>=`, `<`, `=`, `IN`, `LIKE`) and literal or literals."""

    terms: tuple[tuple[str, str, Any], ...]

    def sql(self) -> str:
        return " AND ".join(f"{column} {op} {_sql(value)}" for column, op, value in self.terms)

    def vortex(self) -> ve.Expr:
        return reduce(ve.and_, (_vortex(*term) for term in self.terms))


def _sql(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_sql, value))})"
    return f"'{value}'" if isinstance(value, str) else str(value)


def _vortex(column: str, op: str, value: Any) -> ve.Expr:
    side = ve.column(column)
    match op:
        case ">=":
            return side >= value
        case "<":
            return side < value
        case "=":
            return side == value
        case "IN":
            return ve.or_collect([side == one for one in value])
        case _:
            return ve.like(side, ve.literal(vx.utf8(), value))


class FilterPeer(ABC):
    """One format: a table of one file, its handle, and the two questions."""

    name: str
    settings: tuple[str, ...] = ()

    @abstractmethod
    def store(self, path: Path, table: pa.Table) -> Any:
        """Write a table, and open it."""

    @abstractmethod
    def asked(self, chosen: Filter) -> Any:
        """The filter as this format takes it."""

    @abstractmethod
    def count(self, handle: Any, asked: Any) -> int:
        """How many rows pass."""

    @abstractmethod
    def rows(self, handle: Any, asked: Any, columns: list[str]) -> pa.Table:
        """Some columns of the rows that pass, in any order."""


class LanceLike(FilterPeer):
    name = "lance_like"
    settings = ("defaults: checksums verified, no index",)

    def store(self, path: Path, table: pa.Table) -> Any:
        lance_like.write_dataset(table, str(path), max_rows_per_file=len(table))
        return lance_like.dataset(str(path))

    def asked(self, chosen: Filter) -> str:
        return chosen.sql()

    def count(self, handle: Any, asked: Any) -> int:
        return handle.count_rows(asked)

    def rows(self, handle: Any, asked: Any, columns: list[str]) -> pa.Table:
        return handle.to_table(columns=columns, filter=asked)


class Pylance(LanceLike):
    name = "pylance"
    settings = ("defaults, no index; batches of 65,536 rows were no faster",)

    def store(self, path: Path, table: pa.Table) -> Any:
        lance.write_dataset(table, str(path), max_rows_per_file=len(table))
        return lance.dataset(str(path))


class PylanceIndexed(Pylance):
    name = "pylance_btree"
    settings = ("with a BTREE index on every column of the filters",)

    def store(self, path: Path, table: pa.Table) -> Any:
        handle = super().store(path, table)
        for column in ("key", "name", "category"):
            handle.create_scalar_index(column, "BTREE")
        return lance.dataset(str(path))


class Vortex(FilterPeer):
    name = "vortex"
    settings = ("open(memory_map=True); default worker threads", "rows: to_arrow: strings stay views")

    def store(self, path: Path, table: pa.Table) -> Any:
        vx.io.write(table, str(path))
        file = vx.open(str(path), memory_map=True)
        return file, file.to_dataset()

    def asked(self, chosen: Filter) -> Any:
        return chosen.vortex()

    def count(self, handle: Any, asked: Any) -> int:
        return handle[1].count_rows(filter=asked)

    def rows(self, handle: Any, asked: Any, columns: list[str]) -> pa.Table:
        return handle[0].to_arrow(columns, expr=asked).read_all()


class DuckDb(FilterPeer):
    name = "duckdb_parquet"
    settings = ("DuckDB on a Parquet file that it wrote itself, defaults",)

    def store(self, path: Path, table: pa.Table) -> Any:
        connection = duckdb.connect()
        connection.register("source", table)
        connection.execute(f"COPY source TO '{path}' (FORMAT parquet)")
        connection.unregister("source")
        return connection, path

    def asked(self, chosen: Filter) -> str:
        return chosen.sql()

    def count(self, handle: Any, asked: Any) -> int:
        connection, path = handle
        return connection.execute(f"SELECT count(*) FROM read_parquet('{path}') WHERE {asked}").fetchall()[0][0]

    def rows(self, handle: Any, asked: Any, columns: list[str]) -> pa.Table:
        connection, path = handle
        return connection.sql(f"SELECT {', '.join(columns)} FROM read_parquet('{path}') WHERE {asked}").to_arrow_table()


PEERS = {peer.name: peer for peer in (LanceLike, Pylance, PylanceIndexed, Vortex, DuckDb)}


def make_table(rows: int, layout: str, *, seed: int = 7) -> pa.Table:
    """A table whose column `key` is sorted, clustered or random: distinct numbers with gaps."""
    rng = np.random.default_rng(seed)
    keys = np.cumsum(rng.integers(1, 20, rows))
    order = np.arange(rows)
    if layout == "random":
        order = rng.permutation(rows)
    elif layout == "clustered":
        runs = np.array_split(order, -(-rows // RUN_ROWS))
        order = np.concatenate([rng.permutation(runs[place]) for place in rng.permutation(len(runs))])
    numbers = rng.permutation(rows)
    return pa.table(
        {
            "key": keys[order],
            "price": rng.integers(100, 100_000, rows) / 100,
            "name": pa.array([f"customer-{number:07d}" for number in numbers]),
            "category": pa.array([f"category {number % 50}" for number in numbers]),
        }
    )


def filters_of(table: pa.Table, layout: str) -> dict[str, Filter]:
    """The filters asked of one table, by what the report calls them."""
    keys = np.sort(table["key"].to_numpy())
    first = len(keys) // 3
    found = {
        f"{layout}, {share:.4g}": Filter(
            (("key", ">=", int(keys[first])), ("key", "<", int(keys[first + round(share * len(keys))])))
        )
        for share in SHARES
    }
    if layout == "random":
        some = tuple(int(key) for key in keys[:: len(keys) // 10][:10])
        found |= {
            "text = one": Filter((("name", "=", table["name"][first].as_py()),)),
            "text LIKE prefix": Filter((("name", "LIKE", "customer-0001%"),)),
            "category = one": Filter((("category", "=", "category 7"),)),
            "IN ten": Filter((("key", "IN", some),)),
            "two columns": Filter((("category", "=", "category 7"), ("key", "<", int(keys[first])))),
        }
    return found


def measure(rows: int, folder: Path, peers: Sequence[FilterPeer], layouts: Iterable[str], *, repeat: int) -> Samples:
    """Milliseconds of each question to each peer. Raises AssertionError where their answers differ."""
    samples: Samples = {}
    for layout in layouts:
        table = make_table(rows, layout)
        handles = {peer.name: peer.store(folder / f"{layout}-{peer.name}", table) for peer in peers}
        for name, chosen in filters_of(table, layout).items():
            asked = {peer.name: (handles[peer.name], peer.asked(chosen)) for peer in peers}
            samples[f"{name}, count, ms"] = _ask(peers, asked, repeat, lambda peer, at: peer.count(*at))
            samples[f"{name}, rows, ms"] = _ask(peers, asked, repeat, lambda peer, at: peer.rows(*at, ANSWER))
    return samples


def _ask(
    peers: Sequence[FilterPeer],
    asked: Mapping[str, tuple[Any, Any]],
    repeat: int,
    question: Callable[[FilterPeer, tuple[Any, Any]], Any],
) -> dict[str, list[float]]:
    """The samples of one question; the first turn compares the answers and is not timed.

    asked: handle and filter of each peer, by name.
    """
    answers = {peer.name: _comparable(question(peer, asked[peer.name])) for peer in peers}
    wanted = answers[peers[0].name]
    different = [name for name, answer in answers.items() if answer != wanted]
    assert not different, f"{different} answer otherwise than {peers[0].name}"
    clock = Clock(peers)
    for turn in range(repeat):
        for place in range(len(peers)):
            peer = peers[(place + turn) % len(peers)]
            with paused_gc():
                clock.run(peer, lambda peer=peer: question(peer, asked[peer.name]))
    return clock.wall


def _comparable(answer: Any) -> Any:
    """A count, or what tells a set of rows."""
    if isinstance(answer, int):
        return answer
    numbers = answer["name"].cast(pa.string())
    return len(answer), int(answer["key"].to_numpy().sum()), hash(frozenset(numbers.to_pylist()))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.filters", description="Filtered reads.")
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--layouts", default="sorted,clustered,random")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--json", help="write every sample to this file")
    parsed = parser.parse_args(arguments)

    def run(folder: Path, peers: list[FilterPeer]) -> Samples:
        return measure(parsed.rows, folder, peers, parsed.layouts.split(","), repeat=parsed.repeat)

    about = f"{parsed.rows:,} rows of {', '.join(ANSWER)}; one file, handles open, files in the page cache"
    run_and_report("filters", parsed.peers, run, load=_load, target=parsed.json, about=about)
    return 0


def _load(name: str) -> FilterPeer:
    return PEERS[name]()


if __name__ == "__main__":
    sys.exit(main())
