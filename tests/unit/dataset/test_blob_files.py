"""Cells as files: `take_blobs`, what it reads, and how its files behave."""

from __future__ import annotations

import io
import pickle
import threading
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lance_like
from lance_like import LanceDataset
from lance_like.dataset.inputs import as_stream
from lance_like.dataset.write import FileLimits, write_version
from lance_like.errors import Corrupt, InvalidInput, NotFound, OutOfRange
from lance_like.io.memory import MemoryStore
from lance_like.io.observe import CountingStore, counted

BLOCK = 64 * 1024
ROWS = 200


def a_cell(row: int) -> bytes | None:
    """Nulls, empty cells, captions, pictures of 20 kB, and two cells that fill pages of their own."""
    if row in (3, 150):
        return None
    if row == 4:
        return b""
    rng = np.random.default_rng(row)
    if row in (60, 61):
        return rng.bytes((9 << 20) + row)
    return rng.bytes(20_000) if row % 40 == 0 else f"caption {row} of the picture before it ".encode() * 10


CELLS = [a_cell(row) for row in range(ROWS)]
KINDS = {"binary": pa.binary(), "large": pa.large_binary(), "blob": pa.large_binary()}


def a_table() -> pa.Table:
    fields = [pa.field("id", pa.int64()), pa.field("binary", pa.binary()), pa.field("large", pa.large_binary())]
    fields += [pa.field("text", pa.string()), lance_like.blob_field("blob")]
    fields += [pa.field("s", pa.struct([lance_like.blob_field("blob")]))]
    texts = [None if cell is None else cell[:200].hex() for cell in CELLS]
    blobs = pa.array(CELLS, pa.large_binary())
    arrays = [pa.array(range(ROWS)), pa.array(CELLS, pa.binary()), blobs, pa.array(texts), blobs]
    arrays += [pa.StructArray.from_arrays([lance_like.blob_array(CELLS)], fields=list(fields[-1].type))]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def written(store: CountingStore, table: pa.Table, *, rows_per_file: int = 1 << 24) -> LanceDataset:
    limits = FileLimits(rows=rows_per_file)
    return LanceDataset(store, write_version(store, None, as_stream(table), mode="create", limits=limits))


@pytest.fixture(scope="module")
def store() -> CountingStore:
    return CountingStore(MemoryStore("blob-files"))


@pytest.fixture(scope="module")
def ds(store: CountingStore) -> LanceDataset:
    return written(store, a_table(), rows_per_file=90)


@pytest.fixture(scope="module")
def giant(ds: LanceDataset) -> lance_like.BlobFile:
    (file,) = ds.take_blobs("blob", indices=[60])
    assert file is not None
    return file


@pytest.mark.parametrize("column", ["binary", "large", "blob", "text", "s.blob"])
def test_cells_of_every_column_of_bytes_come_as_files(ds: LanceDataset, column: str) -> None:
    rows = [61, 3, 0, 4, 199, 60, 120, 61, 1]
    files = ds.take_blobs(column, indices=rows)
    expected = [cell if column != "text" or cell is None else cell[:200].hex().encode() for cell in CELLS]
    for row, file in zip(rows, files, strict=True):
        if expected[row] is None:
            assert file is None
        else:
            assert file is not None
            assert file.size() == len(expected[row])
            assert file.read() == expected[row]


def test_rows_are_named_by_index_by_id_and_by_address(ds: LanceDataset) -> None:
    table = ds.to_table(["id"], with_row_id=True, with_row_address=True)
    ids, addresses = table["_rowid"].to_numpy(), table["_rowaddr"].to_numpy()
    rows = [150, 61, 7, 199]
    by_index = ds.take_blobs("blob", indices=rows)
    assert [None if f is None else f.read() for f in by_index] == [CELLS[row] for row in rows]
    for named in ({"ids": ids[rows]}, {"addresses": pa.array(addresses[rows])}, {"ids": ids[rows].tolist()}):
        assert [None if f is None else f.read() for f in ds.take_blobs("blob", **named)] == [CELLS[r] for r in rows]
    assert ds.take_blobs("blob", indices=[]) == []


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ({"indices": [200]}, OutOfRange),
        ({"indices": [-1]}, OutOfRange),
        ({"ids": [200]}, NotFound),
        ({"addresses": [5 << 32]}, OutOfRange),
        ({"addresses": [95]}, OutOfRange),
        ({"indices": [0], "ids": [0]}, InvalidInput),
        ({}, InvalidInput),
        ({"indices": [0.5]}, InvalidInput),
    ],
)
def test_rows_that_are_not_there_are_refused(ds: LanceDataset, call: dict, error: type[Exception]) -> None:
    with pytest.raises(error):
        ds.take_blobs("blob", **call)


def test_columns_without_bytes_are_refused(ds: LanceDataset) -> None:
    with pytest.raises(InvalidInput, match="int64"):
        ds.take_blobs("id", indices=[0])
    with pytest.raises(InvalidInput, match="struct"):
        ds.take_blobs("s", indices=[0])
    with pytest.raises(NotFound):
        ds.take_blobs("bolb", indices=[0])


def test_taking_reads_no_cell_and_a_read_only_the_blocks_of_its_range(store: CountingStore, ds: LanceDataset) -> None:
    ds.take_blobs("blob", indices=[0])  # opens the column
    fresh = LanceDataset(store, ds._manifest)
    with counted(store) as counts:
        (file,) = fresh.take_blobs("blob", indices=[61])
    assert counts.bytes_read < 40_000
    assert file is not None
    cell = CELLS[61]
    assert cell is not None
    with counted(store) as counts:
        assert file.read_range(5_000_000, 100) == cell[5_000_000:5_000_100]
    sums = 4 * (len(cell) // 4096 + 2)
    assert counts.rounds == 1
    assert counts.bytes_read <= BLOCK + sums
    with counted(store) as counts:
        assert file.read_range(5_000_050, 20) == cell[5_000_050:5_000_070]
    assert (counts.rounds, counts.ranges, counts.bytes_read) == (1, 1, 20)  # verified blocks are remembered


def test_many_cells_are_found_in_few_rounds(store: CountingStore, ds: LanceDataset) -> None:
    ds.take_blobs("large", indices=np.arange(ROWS))
    with counted(store) as counts:
        ds.take_blobs("large", indices=np.arange(ROWS))
    assert counts.rounds <= 2 * 3 * len(ds.get_fragments())  # places, then the compressed cells


@pytest.mark.parametrize("column", ["binary", "blob", "s.blob"])
def test_cells_are_read_whole_with_the_addresses_of_their_rows(ds: LanceDataset, column: str) -> None:
    addresses = ds.to_table(["id"], with_row_address=True)["_rowaddr"].to_pylist()
    rows = [61, 3, 0, 4, 199, 60, 61]
    expected = [(addresses[row], CELLS[row]) for row in rows]
    assert ds.read_blobs(column, indices=rows) == expected
    assert ds.read_blobs(column, addresses=pa.array([address for address, _ in expected])) == expected
    assert ds.read_blobs(column, indices=[], io_buffer_size=1 << 20, preserve_order=False) == []


def test_ranges_of_cells_are_read_at_once(store: CountingStore, ds: LanceDataset) -> None:
    addresses = ds.to_table(["id"], with_row_address=True)["_rowaddr"].to_pylist()
    asked = [(61, 5_000_000, 10), (3, 7, 9), (60, 0, 4), (1, 2, 3), (61, 0, 0), (4, 0, 0)]
    ds.read_blob_ranges("blob", asked, selector="indices")
    with counted(store) as counts:
        found = ds.read_blob_ranges("blob", asked, selector="indices")
    assert counts.rounds <= 2 * len(ds.get_fragments()) + 2  # places, compressed cells, then all ranges
    assert [number for number, _, _ in found] == list(range(len(asked)))
    assert [address for _, address, _ in found] == [addresses[row] for row, _, _ in asked]
    for (row, offset, length), (_, _, data) in zip(asked, found, strict=True):
        cell = CELLS[row]
        assert data == (None if cell is None else cell[offset : offset + length])


@pytest.mark.parametrize(
    ("requests", "selector", "error"),
    [
        ([(61, 9 << 20, 100)], "indices", OutOfRange),
        ([(61, -1, 1)], "indices", OutOfRange),
        ([(200, 0, 1)], "indices", OutOfRange),
        ([(0, 0, 1)], "rows", InvalidInput),
        ([(0, 0)], "indices", InvalidInput),
    ],
)
def test_ranges_that_are_not_there_are_refused(
    ds: LanceDataset, requests: list, selector: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        ds.read_blob_ranges("blob", requests, selector=selector)  # type: ignore[arg-type]


def test_several_ranges_of_a_file_are_one_round(store: CountingStore, giant: lance_like.BlobFile) -> None:
    giant.seek(5)
    cell = CELLS[60]
    assert cell is not None
    giant.read_ranges([(0, 10)])
    with counted(store) as counts:
        found = giant.read_ranges([(8_000_000, 7), (0, 10), (3_000_000, 0)])
    assert found == [cell[8_000_000:8_000_007], cell[:10], b""]
    assert (counts.rounds, giant.tell()) == (1, 5)


def test_a_scan_of_other_columns_touches_no_cell() -> None:
    ds = written(CountingStore(MemoryStore("other-columns")), a_table())
    inner = ds._store
    assert isinstance(inner, CountingStore)
    with counted(inner) as counts:
        ds.to_table(["id"])
    assert counts.bytes_read < 100_000


def test_a_damaged_block_is_refused_when_it_is_read_and_the_others_are_not() -> None:
    store = MemoryStore("damaged-blob")
    ds = LanceDataset(store, write_version(store, None, as_stream(a_table().select(["blob"])), mode="create"))
    cell = CELLS[60]
    assert cell is not None
    key = ds.get_fragments()[0].data_files()[0].path
    data = bytearray(store._objects[key])
    data[data.index(cell[:100]) + 5_000_000] ^= 1
    store._objects[key] = bytes(data)
    (file,) = LanceDataset(store, ds._manifest).take_blobs("blob", indices=[60])
    assert file is not None
    assert file.read(1000) == cell[:1000]
    with pytest.raises(Corrupt, match="checksum"):
        file.read_range(4_999_990, 20)
    assert file.read(10) == cell[1000:1010]
    file.seek(-10, io.SEEK_END)
    assert file.read() == cell[-10:]


# -- the file protocol --


def test_a_blob_file_is_a_raw_file(giant: lance_like.BlobFile) -> None:
    cell = CELLS[60]
    assert cell is not None
    assert isinstance(giant, io.RawIOBase)
    assert (giant.readable(), giant.seekable(), giant.writable(), giant.closed) == (True, True, False, False)
    assert (giant.seek(0), giant.tell(), giant.size(), len(giant)) == (0, 0, len(cell), len(cell))
    assert giant.uri is None
    buffer = bytearray(70_000)
    assert giant.readinto(buffer) == 70_000
    assert buffer == cell[:70_000]
    assert giant.tell() == 70_000
    assert giant.seek(-3, io.SEEK_END) == len(cell) - 3
    assert giant.readinto(buffer) == 3
    assert giant.readinto(buffer) == 0
    assert (giant.read(), giant.read(5), giant.readall()) == (b"", b"", b"")
    assert giant.seek(len(cell) + 10) == len(cell) + 10
    assert giant.read(1) == b""
    giant.seek(0)
    assert giant.read1() == cell[: io.DEFAULT_BUFFER_SIZE]
    assert giant.read1(3) == cell[io.DEFAULT_BUFFER_SIZE :][:3]
    assert giant.readinto1(buffer) == len(buffer)
    giant.seek(100)
    assert giant.seek(-50, io.SEEK_CUR) == 50
    assert giant.read(0) == b""
    assert giant.readall() == cell[50:]
    assert "size=" in repr(giant)


def test_wrong_seeks_and_ranges_are_refused(giant: lance_like.BlobFile) -> None:
    giant.seek(7)
    with pytest.raises(ValueError, match="begins at 0"):
        giant.seek(-1)
    with pytest.raises(ValueError, match="whence"):
        giant.seek(0, 5)
    for offset, length in ((-1, 2), (0, giant.size() + 1), (5, -1)):
        with pytest.raises(OutOfRange):
            giant.read_range(offset, length)
    assert giant.tell() == 7


def test_a_closed_file_is_closed(ds: LanceDataset) -> None:
    (file,) = ds.take_blobs("blob", indices=[0])
    assert file is not None
    with file:
        assert file.read(1) == CELLS[0][:1]
    for use in (file.read, file.tell, file.size, lambda: file.seek(0), lambda: file.readinto(bytearray(1))):
        with pytest.raises(ValueError, match="closed"):
            use()
    assert "closed" in repr(file)


@pytest.mark.parametrize("row", [0, 1, 4, 60])
def test_a_file_pickles_with_its_position(row: int, tmp_path: Path) -> None:
    on_disk = lance_like.write_dataset(a_table(), tmp_path / "t")
    (file,) = on_disk.take_blobs("blob", indices=[row])
    assert file is not None
    file.seek(7)
    copy = pickle.loads(pickle.dumps(file))
    assert (copy.tell(), copy.read()) == (7, CELLS[row][7:])
    assert file.tell() == 7


def test_a_buffered_reader_and_a_zip_archive_read_through_it(tmp_path: Path) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as made:
        for i in range(50):
            made.writestr(f"{i}.bin", np.random.default_rng(i).bytes(100_000))
    store = CountingStore(MemoryStore("zip"))
    table = pa.table({"b": pa.array([archive.getvalue()], pa.large_binary())})
    (file,) = written(store, table).take_blobs("b", indices=[0])
    assert file is not None
    with counted(store) as counts, zipfile.ZipFile(io.BufferedReader(file)) as opened:
        assert opened.read("7.bin") == np.random.default_rng(7).bytes(100_000)
    assert counts.bytes_read < 600_000


def test_threads_read_different_files_of_one_page(ds: LanceDataset) -> None:
    rows = np.arange(ROWS)
    files = LanceDataset(ds._store, ds._manifest).take_blobs("binary", indices=rows)
    wrong: list[int] = []

    def read(part: int) -> None:
        for row in range(part, ROWS, 4):
            file = files[row]
            if (None if file is None else file.read()) != CELLS[row]:
                wrong.append(row)

    threads = [threading.Thread(target=read, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@given(
    st.sampled_from([7, 40]),
    st.lists(st.tuples(st.sampled_from(["read", "seek", "readinto", "range"]), st.integers(0, 21_000)), max_size=20),
)
def test_any_sequence_of_calls_answers_as_a_file_in_memory(
    ds: LanceDataset, row: int, calls: list[tuple[str, int]]
) -> None:
    (file,) = ds.take_blobs("binary", indices=[row])
    cell = CELLS[row]
    assert file is not None
    assert cell is not None
    model = io.BytesIO(cell)
    for call, number in calls:
        if call == "read":
            assert file.read(number) == model.read(number)
        elif call == "seek":
            assert file.seek(number) == model.seek(number)
        elif call == "readinto":
            mine, theirs = bytearray(number), bytearray(number)
            assert file.readinto(mine) == model.readinto(theirs)
            assert mine == theirs
        else:
            start = min(number, len(cell)) // 3
            size = min(number, len(cell)) // 2
            assert file.read_range(start, size) == cell[start : start + size]
        assert file.tell() == model.tell()


def test_a_data_frame_holds_files_of_blobs_in_structs():
    pytest.importorskip("pandas")
    deep = pa.struct([lance_like.blob_field("b")])
    kind = pa.struct([("n", pa.int64()), ("in", deep), ("position", pa.int8())])
    inner = pa.StructArray.from_arrays([lance_like.blob_array([b"one", None, b"x", b"y"])], fields=list(deep))
    rows = pa.StructArray.from_arrays([pa.array(range(4)), inner, pa.nulls(4, pa.int8())], fields=list(kind),
                                      mask=pa.array([False, False, True, False]))  # fmt: skip
    ds = lance_like.write_dataset(pa.table([rows], schema=pa.schema([pa.field("s", kind)])), "memory://nested-frames")
    first, second, third, last = ds.to_pandas()["s"]
    assert (first["n"], first["in"]["b"].read(), last["in"]["b"].read()) == (0, b"one", b"y")
    assert (second["in"]["b"], third) == (None, None)
    assert [row and row["in"]["b"] for row in ds.to_pandas(blob_mode="bytes")["s"]] == [b"one", None, None, b"y"]
    assert ds.to_pandas({"t": "s.in"})["t"][0]["b"].read() == b"one"
    assert ds.to_pandas(["s.in"], limit=1)["s.in"][0]["b"].read() == b"one"


def test_a_data_frame_holds_files_bytes_or_descriptions_of_blobs():
    pytest.importorskip("pandas")
    cells = [b"one", None, b"three" * 40_000]
    schema = pa.schema([lance_like.blob_field("video"), ("id", pa.int64())])
    ds = lance_like.write_dataset(pa.table([lance_like.blob_array(cells), [0, 1, 2]], schema=schema), "memory://frames")
    lazy = ds.to_pandas()
    assert [None if file is None else file.read() for file in lazy["video"]] == cells
    assert list(lazy.columns) == ["video", "id"]
    assert list(ds.to_pandas({"v": "video"}, "id != 1", order_by=["id"], blob_mode="bytes")["v"]) == [
        cells[0],
        cells[2],
    ]
    described = ds.to_pandas(["video"], blob_mode="descriptions")["video"]
    assert [None if one is None else one["size"] for one in described] == [3, None, 200_000]
    assert ds.to_pandas({"v": "video"}, "video.size > 5")["v"][0].read() == cells[2]
    with pytest.raises(InvalidInput, match="blob_mode"):
        ds.to_pandas(blob_mode="eager")
    assert [list(part.to_pandas(["video"], blob_mode="bytes")["video"]) for part in ds.get_fragments()] == [cells]
