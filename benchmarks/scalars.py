"""Filters answered by indexes: `python -m benchmarks.scalars --rows 5000000`.

Points, ranges, IN and labels: every peer has its index on every column that filters name; an answer is an Arrow table
of two columns of the rows that pass. Handles are warm and take turns; all answers of the first turn are compared. Also
the first answer after opening, processor time and bytes of the indexes.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.searches import IndexPeer, Stored, ask, build, first_asked, merged
from benchmarks.tables.report import Samples, run_and_report

__all__ = ["PEERS", "load", "main", "make_table", "measure"]

ANSWER = ["id", "payload"]
INDEXES = {"id": "BTREE", "ts": "BTREE", "kind": "BITMAP", "labels": "LABEL_LIST", "name": "NGRAM"}
ASKED = 20


class LanceLike(IndexPeer):
    name = "lance_like"
    settings = ("defaults: checksums verified",)

    @staticmethod
    def library() -> Any:
        import lance_like

        return lance_like

    def store(self, path: Path, table: pa.Table) -> None:
        self.library().write_dataset(table, str(path), max_rows_per_file=len(table))

    def index(self, path: Path, table: pa.Table) -> None:
        handle = self.library().dataset(str(path))
        for column, kind in INDEXES.items():
            handle.create_scalar_index(column, kind)

    def open(self, path: Path) -> Any:
        return self.library().dataset(str(path))

    def rows(self, handle: Any, condition: str) -> pa.Table:
        return handle.to_table(columns=ANSWER, filter=condition)

    def count(self, handle: Any, condition: str) -> int:
        return handle.count_rows(condition)


class LanceLikeWithout(LanceLike):
    name = "lance_like_without"
    settings = ("no index: what the statistics of pages do alone",)

    def index(self, path: Path, table: pa.Table) -> None:
        pass


class Pylance(LanceLike):
    name = "pylance"
    settings = ("list<item>: its LABEL_LIST is not used for other names of the child",)

    @staticmethod
    def library() -> Any:
        import lance

        return lance


class LanceDb(IndexPeer):
    name = "lancedb"
    settings = ("BTREE, BITMAP and LABEL_LIST; it makes no index for contains",)

    def store(self, path: Path, table: pa.Table) -> None:
        import lancedb

        lancedb.connect(str(path)).create_table("t", table)

    def index(self, path: Path, table: pa.Table) -> None:
        handle = self.open(path)
        for column, kind in INDEXES.items():
            if kind != "NGRAM":
                handle.create_scalar_index(column, index_type=kind)

    def open(self, path: Path) -> Any:
        import lancedb

        return lancedb.connect(str(path)).open_table("t")

    def rows(self, handle: Any, condition: str) -> pa.Table:
        return handle.search().where(condition).select(ANSWER).limit(None).to_arrow()

    def count(self, handle: Any, condition: str) -> int:
        return handle.count_rows(condition)


class DuckDb(IndexPeer):
    name = "duckdb"
    settings = ("a table of its own, with an ART index on id, ts and kind; zone maps on all columns",)

    def store(self, path: Path, table: pa.Table) -> None:
        import duckdb

        with duckdb.connect(str(path)) as connection:
            connection.register("source", table)
            connection.execute("CREATE TABLE t AS SELECT * FROM source")

    def index(self, path: Path, table: pa.Table) -> None:
        import duckdb

        with duckdb.connect(str(path)) as connection:
            for column in ("id", "ts", "kind"):
                connection.execute(f"CREATE INDEX {column}_idx ON t ({column})")
            connection.execute("CHECKPOINT")

    def open(self, path: Path) -> Any:
        import duckdb

        return duckdb.connect(str(path), read_only=True)

    def rows(self, handle: Any, condition: str) -> pa.Table:
        return handle.sql(f"SELECT {', '.join(ANSWER)} FROM t WHERE {condition}").to_arrow_table()

    def count(self, handle: Any, condition: str) -> int:
        return handle.sql(f"SELECT count(*) FROM t WHERE {condition}").fetchall()[0][0]


PEERS: dict[str, Callable[[], Any]] = {
    peer.name: peer for peer in (LanceLike, LanceLikeWithout, Pylance, LanceDb, DuckDb)
}


def make_table(rows: int, *, seed: int = 7) -> pa.Table:
    """`id` unique, in no order; `ts` ascending with gaps; `kind` of 500; up to 3 of 200 `labels`; short `name`s."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 4, rows)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    names = pa.array([f"label-{number:03d}" for number in range(200)])
    labels = names.take(pa.array(np.minimum(rng.zipf(1.3, offsets[-1]) - 1, 199)))
    return pa.table(
        {
            "id": rng.permutation(rows).astype(np.int64) * 3,
            "ts": np.cumsum(rng.integers(1, 20, rows)),
            "kind": np.minimum(rng.zipf(1.2, rows) - 1, 499).astype(np.int32),
            "labels": pa.ListArray.from_arrays(pa.array(offsets), labels),
            "name": pa.array([f"user-{number:x}@host{number % 97}" for number in rng.integers(0, 1 << 40, rows)]),
            "payload": rng.integers(0, 1 << 40, rows),
        }
    )


def conditions(table: pa.Table, *, seed: int = 3) -> dict[str, list[str]]:
    """Filters of each shape, each 20 times with other values."""
    rng = np.random.default_rng(seed)
    ids, ts, rows = table["id"].to_numpy(), table["ts"].to_numpy(), len(table)
    share = max(rows // 1000, 1)

    def ranged(column: str, ascending: np.ndarray) -> str:
        first = int(rng.integers(rows - share))
        return f"{column} >= {ascending[first]} AND {column} < {ascending[first + share]}"

    by_id = np.sort(ids)
    shapes: dict[str, Callable[[], str]] = {
        "id = one": lambda: f"id = {rng.choice(ids)}",
        "id IN 100": lambda: f"id IN ({', '.join(map(str, rng.choice(ids, 100).tolist()))})",
        "id range, 0.1 %": lambda: ranged("id", by_id),
        "ts range, 0.1 %": lambda: ranged("ts", ts),
        "kind = one, rare": lambda: f"kind = {rng.integers(200, 499)}",
        "kind IN 3": lambda: f"kind IN ({', '.join(map(str, rng.integers(50, 200, 3).tolist()))})",
        "labels have one": lambda: f"array_has(labels, 'label-{rng.integers(50, 200):03d}')",
        "labels have any of 2": lambda: (
            f"array_has_any(labels, ['label-{rng.integers(50, 199):03d}', 'label-{rng.integers(50, 199):03d}'])"
        ),
        "name contains": lambda: f"contains(name, '{table['name'][int(rng.integers(rows))].as_py()[5:12]}')",
        "kind AND label": lambda: (
            f"kind = {rng.integers(3, 30)} AND array_has(labels, 'label-{rng.integers(5, 50):03d}')"
        ),
    }
    return {name: [make() for _ in range(ASKED)] for name, make in shapes.items()}


def measure(rows: int, folder: Path, peers: Sequence[Any], *, repeat: int) -> Samples:
    """Milliseconds of each question to each peer. Raises AssertionError where their answers differ."""
    samples: Samples = {}
    table = make_table(rows)
    stored = build(peers, table, folder, samples, "all indexes")
    asked = conditions(table)
    samples["open and id = one, ms"] = first_asked(stored, _questions(peers, asked["id = one"], "rows"), repeat)
    handles = {one.peer.name: one.peer.open(one.path) for one in stored}
    for name, texts in asked.items():
        _compare(stored, handles, texts[0])
        for way in ("rows", "count"):
            merged(samples, f"{name}, {way}", ask(stored, handles, _questions(peers, texts, way), repeat))
    return samples


def _questions(peers: Sequence[Any], texts: Sequence[str], way: str) -> Mapping[str, Sequence[Callable[[Any], Any]]]:
    return {
        peer.name: [lambda handle, text=text, peer=peer: getattr(peer, way)(handle, text) for text in texts]
        for peer in peers
    }


def _compare(stored: Sequence[Stored], handles: Mapping[str, Any], text: str) -> None:
    answers = {one.peer.name: sorted(_rows(one, handles, text)) for one in stored}
    wanted = answers[stored[0].peer.name]
    different = [name for name, answer in answers.items() if answer != wanted]
    assert not different, f"{different} answer {text} otherwise than {stored[0].peer.name}"


def _rows(one: Stored, handles: Mapping[str, Any], text: str) -> list[int]:
    peer: Any = one.peer
    return peer.rows(handles[peer.name], text)["id"].to_pylist()


def load(name: str) -> Any:
    """A peer. Raises ImportError where its library is missing."""
    peer = PEERS[name]()
    __import__({"pylance": "lance", "lance_like_without": "lance_like"}.get(name, name))
    return peer


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scalars", description="Filters answered by indexes.")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--repeat", type=int, default=40)
    parser.add_argument("--json", help="write every sample to this file")
    parsed = parser.parse_args(arguments)

    def run(folder: Path, peers: list[Any]) -> Samples:
        return measure(parsed.rows, folder, peers, repeat=parsed.repeat)

    about = f"{parsed.rows:,} rows; {', '.join(f'{kind} on {name}' for name, kind in INDEXES.items())}; handles warm"
    run_and_report("scalars", parsed.peers, run, load=load, target=parsed.json, about=about)
    return 0


if __name__ == "__main__":
    sys.exit(main())
