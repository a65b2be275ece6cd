"""What reads and changes cost on large tables: bytes and files for added columns, time for a restore, objects of many
fragments.
"""

from __future__ import annotations

import hashlib
import statistics
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import lance_like
from lance_like.dataset.handle import LanceDataset
from lance_like.dataset.inputs import as_stream
from lance_like.dataset.write import FileLimits, write_fragments, write_version
from lance_like.io.memory import MemoryStore
from lance_like.io.observe import CountingStore, Counts, counted
from lance_like.table.actions import Append, ChangeRows
from lance_like.table.commit import commit
from lance_like.table.history import resolve
from lance_like.table.snapshot import read_manifest


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


# Many fragments: what an operation reads and writes is that of a path through the tree, not of the tree


FRAGMENTS = 5_000
LEVELS = 3  # with 16 side by side, 4,096 fragments and more
ROWS_EACH = 3


@pytest.fixture(scope="module")
def many() -> MemoryStore:
    """A table of 5,000 fragments, which all name one file."""
    store = MemoryStore("many")
    rows = pa.table({"n": range(ROWS_EACH)})
    base = write_version(store, None, as_stream(rows), mode="create", limits=FileLimits())
    (fragment,) = write_fragments(store, as_stream(rows), limits=FileLimits())
    commit(store, base, Append(rows.schema, (fragment,) * (FRAGMENTS - 1)))
    return store


def copied(store: MemoryStore) -> CountingStore:
    copy = MemoryStore(store.uri)
    copy._objects.update(store._objects)
    return CountingStore(copy)


def opened(store: CountingStore) -> LanceDataset:
    return LanceDataset(store, read_manifest(store, resolve(store)))


def objects_read(counts: Counts) -> Counter[str]:
    """How many objects of each kind were read."""
    return Counter(key.rpartition(".")[2] for key in {key for key, _ in counts.log})


def test_opening_a_table_of_many_fragments_and_counting_its_rows_reads_no_fragment(many):
    store = copied(many)
    with counted(store) as counts:
        ds = opened(store)
        assert ds.count_rows() == len(ds) == FRAGMENTS * ROWS_EACH
    # 5,000 paths are a long record; the next commit has a short one again.
    assert objects_read(counts) == {"manifest": 1, "schema": 1, "txn": 1}
    ds.insert(pa.table({"n": [1]}))
    with counted(store) as counts:
        assert opened(store).count_rows() == FRAGMENTS * ROWS_EACH + 1
    assert objects_read(counts) == {"manifest": 1, "schema": 1}
    assert counts.bytes_read < 32 << 10


@pytest.mark.parametrize("place", [0, 1, 7_000, FRAGMENTS * ROWS_EACH - 1])
def test_a_row_of_many_fragments_is_taken_by_a_path_through_their_tree(many, place):
    store = copied(many)
    ds = opened(store)
    with counted(store) as counts:
        assert ds.take([place], ["n", "_rowid"]).to_pylist() == [{"n": place % ROWS_EACH, "_rowid": place}]
    assert objects_read(counts)["part"] <= LEVELS
    assert objects_read(counts)["lnl"] == 1
    ds = opened(store)
    with counted(store) as counts:
        assert ds._take_rows([place], ["n"]).to_pylist() == [{"n": place % ROWS_EACH}]
    assert objects_read(counts)["part"] <= LEVELS


def test_the_first_rows_of_many_fragments_are_scanned_by_a_path_through_their_tree(many):
    store = copied(many)
    ds = opened(store)
    with counted(store) as counts:
        assert ds.to_table(limit=4)["n"].to_pylist() == [0, 1, 2, 0]
    assert objects_read(counts)["part"] <= LEVELS


def test_an_append_to_many_fragments_reads_no_fragment(many):
    store = copied(many)
    ds = opened(store)
    for step in range(20):
        with counted(store) as counts:
            ds.insert(pa.table({"n": [step]}))
        assert objects_read(counts)["part"] == 0
        assert counts.bytes_written < 64 << 10
    assert ds.count_rows() == FRAGMENTS * ROWS_EACH + 20


def test_a_change_of_one_of_many_fragments_reads_and_writes_a_path_through_their_tree(many):
    store = copied(many)
    base = read_manifest(store, resolve(store))
    before = set(store.inner.list("_meta/"))
    with counted(store) as counts:
        after = commit(store, base, ChangeRows("delete", {2_000: np.array([1])}))
    assert objects_read(counts)["part"] <= LEVELS
    assert len(set(store.inner.list("_meta/")) - before) <= LEVELS
    assert counts.bytes_written < 64 << 10
    assert after.live_rows == FRAGMENTS * ROWS_EACH - 1
    assert read_manifest(store, after.version).fragment(2_000).deleted.tolist() == [1]


def test_small_commits_write_few_bytes(tmp_path):
    """Lance writes 1,644 bytes to delete a row, 1,724 to add nulls and 427 to restore such a table of four files."""
    ids = np.arange(4_000)
    rows = pa.table({"id": ids, "v": ids * 7 % 1_000, "x": np.sqrt(ids), "s": [f"row {i}" for i in ids]})
    ds = lance_like.write_dataset(rows.slice(0, 1_000), tmp_path)
    for start in range(1_000, 4_000, 1_000):
        ds.insert(rows.slice(start, 1_000))
    written = [nbytes(tmp_path)]
    for change in (
        lambda: ds.delete("id = 2000"),
        lambda: ds.add_columns(pa.field("w", pa.int64())),
        lambda: lance_like.dataset(tmp_path, version=1).restore(),
    ):
        change()
        written.append(nbytes(tmp_path))
    assert (np.diff(written) < [800, 1_200, 400]).all(), np.diff(written)
