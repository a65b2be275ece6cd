"""What changes cost on large tables: bytes and files for added columns, time for a restore."""

from __future__ import annotations

import hashlib
import statistics
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import lance_like


def hashes(root: Path) -> dict[str, str]:
    """The sha256 of every file below a folder."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_file():
            found[str(path.relative_to(root))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def nbytes(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


def cells(*, rows: int, cell_nbytes: int):
    """Batches of random binary cells with a number each."""
    random = np.random.default_rng(5)
    schema = pa.schema([("id", pa.int64()), ("image", pa.binary())])
    step = max(1, (16 << 20) // cell_nbytes)

    def batches():
        for start in range(0, rows, step):
            count = min(step, rows - start)
            data = random.bytes(count * cell_nbytes)
            offsets = np.arange(count + 1, dtype=np.int32) * cell_nbytes
            image = pa.Array.from_buffers(pa.binary(), count, [None, pa.py_buffer(offsets), pa.py_buffer(data)])
            yield pa.record_batch([pa.array(np.arange(start, start + count)), image], schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def add_column_to(folder: Path, *, total_nbytes: int, cell_nbytes: int) -> tuple[int, int]:
    """Write cells, add a column; returns bytes held before and bytes added, after checking that no file changed."""
    ds = lance_like.write_dataset(cells(rows=total_nbytes // cell_nbytes, cell_nbytes=cell_nbytes), folder)
    before, held = hashes(folder), nbytes(folder)
    ds.add_columns({"twice": "id * 2"})
    assert {path: digest for path, digest in hashes(folder).items() if path in before} == before
    assert ds.to_table(columns=["twice"])["twice"].to_pylist() == [2 * i for i in range(len(ds))]
    return held, nbytes(folder) - held


def test_a_column_added_to_binary_cells_writes_under_one_percent(tmp_path):
    held, added = add_column_to(tmp_path, total_nbytes=16 << 20, cell_nbytes=64 << 10)
    assert added < held / 100


@pytest.mark.slow
def test_a_column_added_to_a_gigabyte_of_binary_cells_writes_under_one_percent(tmp_path):
    held, added = add_column_to(tmp_path, total_nbytes=1 << 30, cell_nbytes=64 << 10)
    assert held > 1 << 30
    assert added < held / 100


def restore_time(folder: Path, *, rows: int) -> float:
    """The median seconds of a restore of a table of so many rows."""
    numbers = pa.table({"id": np.arange(rows)})
    lance_like.write_dataset(numbers, folder, max_rows_per_file=1 << 20)
    lance_like.write_dataset(numbers.slice(0, 5), folder, mode="overwrite")
    times = []
    for _ in range(15):
        ds = lance_like.dataset(folder, version=1)
        start = time.perf_counter()
        ds.restore()
        times.append(time.perf_counter() - start)
        assert ds.count_rows() == rows
    return statistics.median(times)


@pytest.mark.slow
def test_a_restore_takes_the_same_time_for_ten_rows_and_for_ten_million(tmp_path):
    few = restore_time(tmp_path / "few", rows=10)
    many = restore_time(tmp_path / "many", rows=10_000_000)
    # The manifests differ by ten fragments; twice is far from the million-fold more rows.
    assert many < 2 * few + 0.002
