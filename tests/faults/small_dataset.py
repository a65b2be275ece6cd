"""A small dataset that has every kind of file, and the questions that must keep their answers."""

from __future__ import annotations

import time
from collections.abc import Callable

import pyarrow as pa

from lance_like import LanceDataset
from lance_like.dataset.inputs import as_stream
from lance_like.dataset.write import FileLimits, write_version
from lance_like.io.memory import MemoryStore
from lance_like.io.store import Store
from lance_like.table import deletions, lineage, parts
from lance_like.table.history import Reference, locate
from lance_like.table.snapshot import read_manifest

ROWS = 14


def rows(count: int = ROWS, first: int = 0) -> pa.Table:
    """Columns that between them use every encoding of the writer; each cell follows from its row."""
    n = range(first, first + count)
    return pa.table(
        {
            "n": pa.array(n, pa.int64()),
            "constant": pa.array([7] * count, pa.int32()),
            "far": pa.array([i * 1_000_003_000_017 for i in n], pa.int64()),
            "real": pa.array([None if i % 5 == 0 else i / 3 for i in n], pa.float64()),
            "flag": pa.array([i % 3 == 0 for i in n]),
            "text": pa.array([None if i % 7 == 3 else f"row {i} " * 3 for i in n], pa.string()),
            "word": pa.array([f"w{i % 3}" for i in n]).dictionary_encode(),
            "list": pa.array([list(range(i % 4)) for i in n], pa.list_(pa.int16())),
            "vector": pa.array([[i, i / 2] for i in n], pa.list_(pa.float32(), 2)),
            "s": pa.array([None if i % 6 == 1 else {"x": i, "y": str(i)} for i in n]),
        }
    )


def small_dataset(monkeypatch) -> MemoryStore:
    """Seven versions, a tag, fragments in leaf and node parts, an added column, deleted and changed rows, a part of
    every kind.
    """
    # Few fragments make the parts that take thousands otherwise, and few rows those of deleted rows and of lineages.
    monkeypatch.setattr(parts, "FANOUT", 2)
    monkeypatch.setattr(deletions, "INLINE_NBYTES", 0)
    monkeypatch.setattr(lineage, "INLINE_RUNS", 3)
    store = MemoryStore("small")
    first = write_version(store, None, as_stream(rows()), mode="create", limits=FileLimits(rows=3))
    ds = LanceDataset(store, first)
    ds.tags.create("first")
    ds.add_columns({"twice": "n * 2"})
    ds.insert(rows(4, ROWS), commit_message="a" * 20_000)
    ds.alter_columns({"path": "real", "name": "renamed"})
    ds = ds.checkout_version(3)
    ds.restore()
    ds.delete("n in (2, 15)")
    ds.update({"far": "far + 1"}, "n in (4, 12)")
    assert {key.rpartition(".")[2] for key in objects(store)} == KINDS
    return store


KINDS = {"lnl", "manifest", "schema", "part", "txn", "rows", "del", "tag"}


def objects(store: MemoryStore) -> dict[str, bytes]:
    return dict(store._objects)


def store_of(content: dict[str, bytes]) -> MemoryStore:
    """A store with objects of a day ago."""
    store = MemoryStore("small")
    store._objects.update(content)
    store._written_us.update(dict.fromkeys(content, time.time_ns() // 1000 - 86_400_000_000))
    return store


def open_store(store: Store, version: Reference | None = None) -> LanceDataset:
    line, number = locate(store, version)
    return LanceDataset(line, read_manifest(line, number))


QUESTIONS: dict[str, Callable[[Store], object]] = {
    "to_table": lambda store: open_store(store).to_table().to_pylist(),
    "schema": lambda store: open_store(store).schema,
    "take": lambda store: open_store(store).take([15, 0, 13, 13], ["s", "text", "n", "twice"]).to_pylist(),
    "_take_rows": lambda store: open_store(store)._take_rows([16, 1], ["vector", "word"]).to_pylist(),
    "filter": lambda store: open_store(store).to_table(["n"], filter="n > 14 or text is null").to_pylist(),
    "count": lambda store: (open_store(store).count_rows(), open_store(store).count_rows("real < 4")),
    "row ids": lambda store: open_store(store).to_table(["_rowid", "_rowaddr"]).to_pylist(),
    "ages": lambda store: (
        open_store(store).to_table(["_row_created_at_version", "_row_last_updated_at_version"]).to_pylist()
    ),
    "versions": lambda store: open_store(store).versions(),
    "tags": lambda store: open_store(store).tags.list(),
    "tagged version": lambda store: open_store(store, "first").to_table(["n", "real"]).to_pylist(),
    "older version": lambda store: open_store(store, 4).to_table(["renamed", "flag"]).to_pylist(),
}
