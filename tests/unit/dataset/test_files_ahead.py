"""Small data files of one change are put side by side; all are there, or the change fails."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import lance_like
from lance_like.dataset.write import files_ahead
from lance_like.errors import StorageError
from lance_like.file.writer import FileWriter
from lance_like.io.local import LocalStore
from lance_like.io.memory import MemoryStore

SCHEMA = pa.schema([("n", pa.int64())])


class MeetingStore(MemoryStore):
    """The first put takes a while, and every later one waits for another that goes on meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.puts = itertools.count()
        self.meeting = threading.Barrier(2, timeout=30)

    def put(self, key: str, chunks: Iterable[Any], *, durable: bool = True) -> int:
        if next(self.puts):
            self.meeting.wait()
        else:
            time.sleep(0.01)
        return super().put(key, chunks, durable=durable)


def batches(count: int) -> list[pa.RecordBatch]:
    return [pa.record_batch({"n": np.random.default_rng(7).integers(0, 1 << 60, count)})]


def test_small_files_are_put_side_by_side() -> None:
    store = MeetingStore()
    with files_ahead(store) as write:
        files = [write(FileWriter(SCHEMA), iter(batches(10 + i))) for i in range(5)]
    assert [file.rows for file in files] == [10, 11, 12, 13, 14]
    assert [store.size(file.path) for file in files] == [file.nbytes for file in files]


def test_a_large_file_is_put_while_it_is_made() -> None:
    store = MemoryStore()
    waiting: list[int] = []
    real = store.put
    store.put = lambda key, chunks, **given: real(key, (waiting.append(len(c)) or c for c in chunks), **given)
    with files_ahead(store) as write:
        file = write(FileWriter(SCHEMA), iter(batches(300_000)))
        assert store.size(file.path) == file.nbytes == sum(waiting)
    assert file.nbytes > 2 << 20


@pytest.mark.parametrize("change", ["add", "alter", "patch"])
def test_a_put_that_fails_leaves_the_table_as_it_was(tmp_path, monkeypatch, change) -> None:
    ds = lance_like.write_dataset(pa.table({"n": list(range(40)), "m": [0] * 40}), tmp_path, max_rows_per_file=4)
    changes = {
        "add": partial(ds.add_columns, {"new": "n + 1"}),
        "alter": partial(ds.alter_columns, {"path": "n", "data_type": pa.int32()}),
        "patch": partial(ds.update, {"m": "n + 1"}),
    }
    puts: list[str] = []
    real = LocalStore.put

    def put(store: LocalStore, key: str, chunks: Iterable[Any], *, durable: bool = True) -> int:
        if key.startswith("data/"):
            puts.append(key)
            if len(puts) == 7:
                raise StorageError("the disk is full", kind="storage", where=key)
        return real(store, key, chunks, durable=durable)

    monkeypatch.setattr(LocalStore, "put", put)
    with pytest.raises(StorageError, match="the disk is full"):
        changes[change]()
    assert len(puts) >= 7
    assert lance_like.dataset(tmp_path).version == 1
    monkeypatch.undo()
    changes[change]()
    assert lance_like.dataset(tmp_path).version == 2
    assert lance_like.dataset(tmp_path).to_table()["n"].to_pylist() == list(range(40))
