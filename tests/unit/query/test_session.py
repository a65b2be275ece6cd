"""The open files of a handle: kept while they fit, dropped oldest first, and never lost to a reader."""

from __future__ import annotations

import multiprocessing
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import lance_like
from lance_like import LanceDataset
from lance_like.query import session as module

FRAGMENTS = 100


@pytest.fixture(scope="module")
def uri() -> str:
    name = "memory://test_session"
    data = pa.table({"x": range(FRAGMENTS * 3), "t": [f"text {i % 7}" for i in range(FRAGMENTS * 3)]})
    lance_like.write_dataset(data, name, max_rows_per_file=3)
    return name


def sweep(ds: LanceDataset, upto: int = FRAGMENTS) -> None:
    for fragment in range(upto):
        rows = [3 * fragment + 2, 3 * fragment]
        assert ds.take(rows).column("x").to_pylist() == rows


def test_files_are_kept_while_they_fit(uri: str) -> None:
    ds = lance_like.dataset(uri)
    sweep(ds)
    assert len(ds._session._readers) == FRAGMENTS
    assert 1e5 < ds._session.nbytes_cached < module.CACHE_NBYTES


def test_what_is_kept_stays_near_the_limit(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ds = lance_like.dataset(uri)
    sweep(ds, 10)
    one = ds._session.nbytes_cached / 10
    limit = int(20 * one)
    monkeypatch.setattr(module, "_USES_BETWEEN", 10)
    ds = lance_like.dataset(uri, metadata_cache_size_bytes=limit)
    for _ in range(2):
        sweep(ds)
        assert ds._session.nbytes_cached <= limit + module._USES_BETWEEN * one


def test_the_files_used_longest_ago_are_dropped_first(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_USES_BETWEEN", 1)
    ds = lance_like.dataset(uri)
    files = [fragment.files[0] for fragment in ds._manifest.fragments]
    session = module.Session(ds._store, cache_nbytes=0)
    first, second = session.open(files[:2])
    assert session.open(files[1::-1]) == [second, first]
    session._cache_nbytes = first.nbytes_cached + second.nbytes_cached
    session.open(files[2:3])
    assert session.open(files[:1]) == [first]
    assert session.open(files[1:2]) != [second]


def test_a_call_keeps_all_its_files_whatever_the_limit(uri: str) -> None:
    ds = lance_like.dataset(uri, metadata_cache_size_bytes=0)
    assert ds.to_table().num_rows == 3 * FRAGMENTS
    rows = np.random.default_rng(0).permutation(3 * FRAGMENTS)
    assert ds.take(rows).column("x").to_pylist() == rows.tolist()
    assert len(ds._session._readers) == FRAGMENTS


@pytest.mark.parametrize("columns", [1, 60])
def test_the_estimate_is_near_what_python_allocates(columns: int) -> None:
    uri = f"memory://test_session_{columns}"
    rng = np.random.default_rng(1)
    lance_like.write_dataset({f"c{i}": rng.integers(0, 1 << 40, 1000) for i in range(columns)}, uri)
    ds = lance_like.dataset(uri)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        ds.to_table()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.3 < ds._session.nbytes_cached / (after - before) < 3


def _take(ds: LanceDataset) -> None:
    assert ds.take([5]).column("x").to_pylist() == [5]


def test_a_fork_beside_a_thread_that_opens_files_can_read(tmp_path: Path) -> None:
    ds = lance_like.write_dataset({"x": range(10)}, tmp_path / "ds")
    held = threading.Event()

    def hold() -> None:
        with module._LOCK:
            held.set()
            time.sleep(0.05)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = multiprocessing.get_context("fork").Process(target=_take, args=(ds,))
    child.start()
    child.join(10)
    child.kill()
    assert child.exitcode == 0
    thread.join()
