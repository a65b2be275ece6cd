"""What operations ask of the store: rounds, ranges and bytes, counted instead of timed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from lance_like.dataset.handle import LanceDataset
from lance_like.dataset.inputs import as_stream
from lance_like.dataset.write import FileLimits, write_version
from lance_like.file.reader import FileReader
from lance_like.io.fetch import drive
from lance_like.io.local import LocalStore
from lance_like.io.memory import MemoryStore
from lance_like.io.observe import CountingStore, Counts, counted
from lance_like.io.store import Store
from lance_like.table.history import resolve
from lance_like.table.snapshot import read_manifest

ROWS = 100_000
BLOCK = 4096
FIXED = ("plain", "narrow", "float", "vector", "nullable", "flag", "bits", "word")
VARIABLE = ("text", "list", "image")


def a_table() -> pa.Table:
    """Columns of every encoding; what they are called says which."""
    rng = np.random.default_rng(0)
    words = pa.array(["alpha", "beta", "gamma", "delta"])
    cells = rng.bytes(ROWS * 20)
    return pa.table(
        {
            "sorted": np.arange(ROWS) * 7,
            "plain": rng.integers(-(2**62), 2**62, ROWS),
            "narrow": rng.integers(0, 1_000_000_000, ROWS),
            "bits": rng.integers(0, 500, ROWS),
            "float": rng.random(ROWS),
            "nullable": pa.array(rng.random(ROWS), mask=rng.random(ROWS) < 0.1),
            "flag": rng.random(ROWS) < 0.5,
            "vector": pa.FixedSizeListArray.from_arrays(rng.random(ROWS * 4, np.float32), 4),
            "word": words.take(pa.array(rng.integers(0, 4, ROWS))),
            "text": [f"row {i} says {i * i % 977} things" for i in range(ROWS)],
            "list": pa.ListArray.from_arrays(pa.array(np.arange(ROWS + 1) * 2, pa.int32()), rng.random(ROWS * 2)),
            "image": pa.array([cells[i * 20 : i * 20 + 20] for i in range(ROWS)], pa.binary()),
            "s": pa.StructArray.from_arrays([rng.random(ROWS), rng.random(ROWS)], names=["a", "b"]),
        }
    )


TABLE = a_table()


def write(store: Store, table: pa.Table, *, rows_per_file: int = 1 << 24) -> LanceDataset:
    """A new dataset in a store."""
    limits = FileLimits(rows=rows_per_file)
    return LanceDataset(store, write_version(store, None, as_stream(table), mode="create", limits=limits))


def reopened(store: Store) -> LanceDataset:
    """A handle that has read the newest manifest and nothing else."""
    return LanceDataset(store, read_manifest(store, resolve(store)))


@pytest.fixture(scope="module")
def written() -> MemoryStore:
    store = MemoryStore()
    write(store, TABLE)
    return store


@pytest.fixture
def store(written: MemoryStore) -> CountingStore:
    return CountingStore(written)


@pytest.fixture
def ds(store: CountingStore) -> LanceDataset:
    return reopened(store)


def rows_to_take(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).choice(ROWS, count, replace=False)


def reader_of(ds: LanceDataset) -> tuple[str, FileReader]:
    (file,) = ds._manifest.fragments[0].files
    (reader,) = ds._session.open([file])
    return file.path, reader


def extents(ds: LanceDataset, name: str) -> list[tuple[int, int]]:
    """The bytes of the one data file that belong to a column: its pages, its metadata."""
    key, reader = reader_of(ds)
    field = ds._manifest.schema.find(name)
    place = ds._manifest.fragments[0].locate(field.id)
    assert place is not None
    pages = drive(ds._store, key, reader.pages(place[1], field.type))
    found = [(int(entry["offset"]), int(entry["offset"] + entry["nbytes"])) for entry in pages._entries]
    return [*found, (pages.record.offset, pages.record.end)]


def asked(counts: Counts) -> Iterator[tuple[int, int]]:
    """Every byte range of data files that was asked for."""
    for key, (starts, ends) in counts.log:
        if key.startswith("data/"):
            yield from zip(starts.tolist(), ends.tolist(), strict=True)


# -- open ------------------------------------------------------------------------------------------------------


def test_opening_takes_a_bounded_number_of_requests_however_many_versions_there_are() -> None:
    store = CountingStore(MemoryStore())
    ds = write(store, pa.table({"a": [0]}))
    costs = []
    for number in range(1, 12):
        with counted(store) as counts:
            assert reopened(store).version == number
        costs.append((counts.rounds, counts.ranges, counts.lists))
        ds.insert(pa.table({"a": [number]}))
    assert set(costs) == {(2, 2, 2)}


def test_opening_reads_no_data_file(store: CountingStore) -> None:
    with counted(store) as counts:
        ds = reopened(store)
        assert (ds.count_rows(), len(ds.schema), len(ds)) == (ROWS, 13, ROWS)
    assert list(asked(counts)) == []
    assert counts.bytes_read < 16_384


def test_counting_rows_reads_nothing(ds: LanceDataset, store: CountingStore) -> None:
    with counted(store) as counts:
        assert ds.count_rows() == ROWS
        assert ds.get_fragments()[0].count_rows() == ROWS
        assert ds.scanner(limit=10, offset=5).count_rows() == 10
    assert (counts.rounds, counts.lists, counts.bytes_read) == (0, 0, 0)


# -- take ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 10, 1000])
@pytest.mark.parametrize("name", FIXED)
def test_a_warm_take_of_fixed_width_is_one_round(ds: LanceDataset, store: CountingStore, name: str, count: int) -> None:
    rows = rows_to_take(count)
    ds.take(rows, [name])
    with counted(store) as counts:
        taken = ds.take(rows, [name])
    assert taken[name].combine_chunks().equals(TABLE[name].combine_chunks().take(pa.array(rows)))
    assert counts.rounds == 1
    # Bits may go on in a second word; a null has a bit beside its value.
    assert counts.ranges <= (2 if name in ("bits", "nullable", "word") else 1) * count


@pytest.mark.parametrize("name", VARIABLE)
def test_a_warm_take_of_variable_width_is_two_rounds(ds: LanceDataset, store: CountingStore, name: str) -> None:
    rows = rows_to_take(100)
    ds.take(rows, [name])
    with counted(store) as counts:
        taken = ds.take(rows, [name])
    assert taken[name].combine_chunks().equals(TABLE[name].combine_chunks().take(pa.array(rows)))
    assert counts.rounds == 2
    if name != "text":
        # The offsets, the line that they lie on (two when a block ends between them), and the cell.
        assert counts.ranges <= 320


def test_a_warm_take_reads_the_bytes_of_its_rows(ds: LanceDataset, store: CountingStore) -> None:
    rows = rows_to_take(100)
    for name, nbytes in (("plain", 800), ("float", 800), ("vector", 1600), ("nullable", 900), ("flag", 100)):
        ds.take(rows, [name])
        with counted(store) as counts:
            ds.take(rows, [name])
        assert counts.bytes_read == nbytes


def test_a_warm_take_of_neighbours_asks_for_one_range(ds: LanceDataset, store: CountingStore) -> None:
    rows = np.arange(1000, 1100)
    ds.take(rows, ["plain"])
    with counted(store) as counts:
        taken = ds.take(rows, ["plain"])
    assert taken["plain"].combine_chunks().equals(TABLE["plain"].combine_chunks().take(pa.array(rows)))
    assert (counts.rounds, counts.ranges, counts.bytes_read) == (1, 1, 800)


def test_a_warm_take_of_many_columns_shares_its_rounds(ds: LanceDataset, store: CountingStore) -> None:
    rows = rows_to_take(20)
    names = [*FIXED, "s", "sorted"]
    ds.take(rows, names)
    with counted(store) as counts:
        ds.take(rows, names)
    assert counts.rounds == 1
    ds.take(rows)
    with counted(store) as counts:
        ds.take(rows)
    assert counts.rounds == 2


@pytest.mark.parametrize("name", [*FIXED, *VARIABLE, "s.a", "s"])
def test_a_take_reads_nothing_of_columns_that_were_not_asked(ds: LanceDataset, store: CountingStore, name: str) -> None:
    others = [other for other in ds.schema.names if other not in ("s", name)] + ["s.a", "s.b"]
    others = [other for other in others if not other.startswith(name)]
    forbidden = [extent for other in others for extent in extents(reopened(store), other)]
    reader_of(ds)  # opening reads the end of the file, whosever metadata lies there
    with counted(store) as counts:
        ds.take(rows_to_take(50), [name])
    for start, end in asked(counts):
        assert not any(start < high and end > low for low, high in forbidden)


@pytest.mark.parametrize(("name", "width"), [("plain", 8), ("vector", 16), ("narrow", 4)])
def test_a_first_take_reads_the_touched_blocks_only(
    ds: LanceDataset, store: CountingStore, name: str, width: int
) -> None:
    rows = rows_to_take(50)
    pages = extents(reopened(store), name)[:-1]
    with counted(store) as counts:
        ds.take(rows, [name])
    bytes_of_pages = sum(end - start for start, end in asked(counts) if any(a <= start and end <= b for a, b in pages))
    touched = {int(block) for row in rows for block in ((row * width) // BLOCK, (row * width + width - 1) // BLOCK)}
    # The last block of a page may be short.
    assert len(touched) * BLOCK - BLOCK < bytes_of_pages <= len(touched) * BLOCK
    with counted(store) as counts:
        ds.take(rows, [name])
    assert counts.bytes_read == len(rows) * width


def test_a_first_take_after_opening_is_a_few_rounds(store: CountingStore) -> None:
    for name, rounds in (("plain", 4), ("nullable", 4), ("s", 4), ("word", 5), ("text", 5), ("list", 5)):
        ds = reopened(store)
        with counted(store) as counts:
            ds.take(rows_to_take(100), [name])
        assert counts.rounds <= rounds, name


def test_without_verify_a_first_take_reads_the_bytes_of_its_rows(store: CountingStore) -> None:
    ds = LanceDataset(store, read_manifest(store, 1), verify="off")
    pages = extents(reopened(store), "plain")[:-1]
    with counted(store) as counts:
        ds.take(rows_to_take(50), ["plain"])
    assert sum(end - start for start, end in asked(counts) if any(a <= start and end <= b for a, b in pages)) == 400


def test_a_take_by_row_id_costs_what_a_take_by_position_does(ds: LanceDataset, store: CountingStore) -> None:
    rows = rows_to_take(100)
    ds.take(rows, ["plain"])
    with counted(store) as counts:
        taken = ds._take_rows(rows, ["plain"])
    assert taken.equals(ds.take(rows, ["plain"]))
    assert (counts.rounds, counts.ranges, counts.bytes_read) == (1, 100, 800)


def test_a_take_over_many_fragments_asks_each_file_once_a_round() -> None:
    store = CountingStore(MemoryStore())
    table = TABLE.select(["plain"]).slice(0, 10_000)
    ds = write(store, table, rows_per_file=1000)
    rows = np.random.default_rng(0).permutation(10_000)[:500]
    ds.take(rows)
    with counted(store) as counts:
        taken = ds.take(rows)
    assert taken["plain"].combine_chunks().equals(table["plain"].combine_chunks().take(pa.array(rows)))
    assert (counts.rounds, counts.ranges) == (10, 500)
    with counted(store) as counts:
        ds.take([1500, 1501, 7000])
    assert counts.rounds == 2


# -- scan ------------------------------------------------------------------------------------------------------


def test_a_scan_reads_the_columns_asked_once(ds: LanceDataset, store: CountingStore) -> None:
    pages = extents(reopened(store), "float")[:-1]
    with counted(store) as counts:
        assert ds.to_table(["float"]).num_rows == ROWS
    nbytes = sum(end - start for start, end in pages)
    assert nbytes <= counts.bytes_read <= nbytes + 16_384
    with counted(store) as counts:
        assert sum(len(batch) for batch in ds.to_batches(["float"], batch_size=1000)) == ROWS
    assert counts.bytes_read == nbytes
    assert counts.rounds == len(pages)


def test_a_filter_on_a_sorted_column_reads_a_small_share(ds: LanceDataset, store: CountingStore) -> None:
    with counted(store) as counts:
        found = ds.to_table(["sorted", "plain", "text"], filter="sorted between 70000 and 70700")
    assert found.num_rows == 101
    assert counts.bytes_read < TABLE.select(["sorted", "plain", "text"]).nbytes / 20
    with counted(store) as counts:
        assert ds.count_rows("sorted < 7000") == 1000
    assert counts.bytes_read < TABLE["sorted"].nbytes / 10


def test_a_filter_that_nothing_passes_reads_no_page(ds: LanceDataset, store: CountingStore) -> None:
    with counted(store) as counts:
        assert ds.to_table(filter="sorted < 0").num_rows == 0
        assert ds.count_rows("sorted > 700000 and plain = 3") == 0
        assert ds.count_rows("sorted is null") == 0
        assert ds.count_rows("sorted >= 0") == ROWS
    assert list(asked(counts)) == []


def test_the_first_rows_read_little(ds: LanceDataset, store: CountingStore) -> None:
    reader_of(ds)
    with counted(store) as counts:
        assert ds.head(10, columns=["plain", "float"]).num_rows == 10
    assert counts.bytes_read < 64_000
    with counted(store) as counts:
        assert ds.to_table(["plain"], limit=5, offset=60_000).num_rows == 5
    assert counts.bytes_read <= 2 * BLOCK


@pytest.mark.parametrize("columns", [["float"], ["plain", "float", "vector"]])
def test_a_scan_of_uncompressed_columns_copies_nothing(tmp_path: Path, columns: list[str]) -> None:
    write(LocalStore(str(tmp_path), durability="process"), TABLE.select(columns))
    ds = reopened(LocalStore(str(tmp_path)))
    ds.take([0])
    before = pa.total_allocated_bytes()
    whole = ds.to_table()
    assert pa.total_allocated_bytes() - before < 16_384
    assert whole.equals(TABLE.select(columns).combine_chunks())
    del whole
    most = 0
    for batch in ds.to_batches():
        assert batch.num_rows
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 16_384
    first, second = ds.to_table(), ds.to_table()
    for name in columns:
        one, other = (table[name].chunk(0) for table in (first, second))
        if name == "vector":
            one, other = one.values, other.values
        assert one.buffers()[1].address == other.buffers()[1].address


# -- changes ---------------------------------------------------------------------------------------------------


def test_adding_a_column_reads_its_input_and_writes_the_new_bytes(written: MemoryStore) -> None:
    inner = MemoryStore()
    inner._objects.update(written._objects)
    store = CountingStore(inner)
    ds = reopened(store)
    (before,) = (key for key in inner._objects if key.startswith("data/"))
    allowed = extents(reopened(store), "sorted")
    reader_of(ds)
    with counted(store) as counts:
        ds.add_columns({"twice": "sorted * 2"})
    files = {key: len(data) for key, data in inner._objects.items() if key.startswith("data/")}
    assert len(files) == 2
    new = next(nbytes for key, nbytes in files.items() if key != before)
    assert new <= counts.bytes_written <= new + 16_384
    assert new <= ROWS * 8
    assert all(any(a <= start and end <= b for a, b in allowed) or end > allowed[-1][1] for start, end in asked(counts))
    assert inner._objects[before] is written._objects[before]
    assert ds.take([77_777], ["twice"])["twice"].to_pylist() == [2 * 7 * 77_777]


@pytest.mark.parametrize(
    "change",
    [
        lambda ds: ds.add_columns(pa.field("empty", pa.int8())),
        lambda ds: ds.drop_columns(["image"]),
        lambda ds: ds.alter_columns({"path": "plain", "name": "renamed"}),
    ],
    ids=["null column", "drop", "rename"],
)
def test_changes_of_the_schema_touch_no_data_file(written: MemoryStore, change) -> None:
    inner = MemoryStore()
    inner._objects.update(written._objects)
    store = CountingStore(inner)
    ds = reopened(store)
    with counted(store) as counts:
        change(ds)
    assert list(asked(counts)) == []
    assert counts.bytes_written < 16_384
    assert {key for key in inner._objects if key.startswith("data/")} == {
        key for key in written._objects if key.startswith("data/")
    }


def test_restoring_writes_the_same_for_few_rows_and_for_many() -> None:
    costs = []
    for rows in (10, ROWS):
        store = CountingStore(MemoryStore())
        ds = write(store, TABLE.select(["plain", "text"]).slice(0, rows))
        ds.insert(TABLE.select(["plain", "text"]).slice(0, 7), mode="overwrite")
        old = ds.checkout_version(1)
        with counted(store) as counts:
            old.restore()
        assert old.count_rows() == rows
        assert list(asked(counts)) == []
        costs.append(counts)
    few, many = costs
    # Numbers of more digits take a few bytes more.
    assert abs(few.bytes_written - many.bytes_written) < 200
    assert (few.rounds, few.lists) == (many.rounds, many.lists)


def test_appending_reads_no_data_file(written: MemoryStore) -> None:
    inner = MemoryStore()
    inner._objects.update(written._objects)
    store = CountingStore(inner)
    ds = reopened(store)
    with counted(store) as counts:
        ds.insert(TABLE.slice(0, 100))
    assert list(asked(counts)) == []
    assert counts.bytes_written < 200_000
    assert ds.count_rows() == ROWS + 100
