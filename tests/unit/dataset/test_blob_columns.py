"""Blob columns in reads: descriptions in the place of cells, unless the bytes are asked for."""

from __future__ import annotations

import uuid

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import lance_like
from lance_like import LanceDataset
from lance_like.dataset.inputs import as_stream
from lance_like.dataset.write import FileLimits, write_version
from lance_like.errors import InvalidInput, NotFound
from lance_like.io.memory import MemoryStore
from lance_like.io.observe import CountingStore, counted

DESCRIPTION = pa.struct([("position", pa.uint64()), ("size", pa.uint64())])
MARK = {b"lance-encoding:blob": b"true"}
SIZES = [0, None, 30_000, 5, 2_000_000, 17_000, 9, None, 100, 40_000]
CELLS = [None if size is None else np.random.default_rng(size).bytes(size) for size in SIZES]


def a_table() -> pa.Table:
    schema = pa.schema(
        [
            pa.field("id", pa.int64()),
            lance_like.blob_field("video"),
            pa.field("raw", pa.binary()),
            pa.field("s", pa.struct([pa.field("n", pa.int8()), pa.field("image", pa.binary(), metadata=MARK)])),
        ]
    )
    nested = [{"n": i, "image": cell} for i, cell in enumerate(CELLS)]
    nested[6] = None
    return pa.table([range(10), CELLS, CELLS, nested], schema=schema)


@pytest.fixture(scope="module")
def store() -> CountingStore:
    return CountingStore(MemoryStore("blob-columns"))


@pytest.fixture(scope="module")
def ds(store: CountingStore) -> LanceDataset:
    limits = FileLimits(rows=4)
    return LanceDataset(store, write_version(store, None, as_stream(a_table()), mode="create", limits=limits))


def sizes(column: pa.ChunkedArray) -> list[int | None]:
    return [None if found is None else found["size"] for found in column.to_pylist()]


def test_a_blob_field_is_declared_as_in_pylance():
    field = lance_like.blob_field("b", nullable=False)
    assert (field.type, field.nullable, field.metadata) == (lance_like.blob_array([]).type, False, None)
    ds = lance_like.write_dataset({"b": [b"x"]}, f"memory://{uuid.uuid4().hex}", schema=pa.schema([field]))
    assert (ds.schema.field("b").nullable, ds.schema.field("b").metadata) == (False, MARK)


def test_thresholds_of_pylance_are_kept():
    field = lance_like.blob_field("b", inline_size_threshold=0, pack_file_size_threshold=9)
    ds = lance_like.write_dataset({"b": [b"x"]}, f"memory://{uuid.uuid4().hex}", schema=pa.schema([field]))
    kept = {b"lance-encoding:blob-inline-size-threshold": b"0", b"lance-encoding:blob-pack-file-size-threshold": b"9"}
    assert ds.schema.field("b").metadata == kept | MARK


@pytest.mark.parametrize("wrong", [{"inline_size_threshold": -1}, {"dedicated_size_threshold": 0}])
def test_a_threshold_is_a_size(wrong):
    with pytest.raises(InvalidInput, match="threshold"):
        lance_like.blob_field("b", **wrong)


def test_the_schema_of_a_dataset_is_that_of_what_it_gives(ds):
    assert ds.schema.field("video").type == DESCRIPTION
    assert ds.schema.field("video").metadata == MARK
    assert ds.schema.field("s").type.field("image").type == DESCRIPTION
    assert ds.schema.field("raw").type == pa.binary()
    for table in (ds.to_table(), ds.scanner().to_reader().read_all(), ds.take([1]), ds.head(2)):
        assert table.schema == ds.schema
    for fragment in ds.get_fragments():
        assert fragment.to_table().schema == fragment.take([0]).schema == ds.schema


def test_scans_and_takes_describe_cells(ds):
    table = ds.to_table()
    assert sizes(table["video"]) == SIZES
    assert table["raw"].to_pylist() == CELLS
    assert [None if row is None else row["image"] and row["image"]["size"] for row in table["s"].to_pylist()] == [
        None if i == 6 else size for i, size in enumerate(SIZES)
    ]
    rows = [9, 4, 1, 4, 0]
    assert sizes(ds.take(rows, ["video"])["video"]) == [SIZES[row] for row in rows]
    assert [row["size"] for row in ds.to_table(["s.image"], limit=1)["s.image"].to_pylist()] == [0]


def test_positions_are_those_of_the_cells_in_their_files(ds, store):
    table = ds.to_table(["video"], with_row_address=True)
    files = {fragment.fragment_id: fragment.data_files()[0].path for fragment in ds.get_fragments()}
    found = 0
    for row, cell, address in zip(table["video"].to_pylist(), CELLS, table["_rowaddr"].to_pylist(), strict=True):
        if row is not None and row["position"] is not None:
            data = store.inner._objects[files[address >> 32]]
            assert data[row["position"] : row["position"] + row["size"]] == cell
            found += 1
    assert found >= 4


def test_bytes_are_there_for_the_asking(ds):
    whole = ds.to_table(blob_handling="all_binary")
    assert whole.schema.field("video").type == pa.large_binary()
    assert whole["video"].to_pylist() == CELLS
    images = [row and row["image"] for row in whole["s"].to_pylist()]
    assert images == [None if i == 6 else cell for i, cell in enumerate(CELLS)]
    assert ds.scanner(blob_handling="all_binary").projected_schema == whole.schema
    assert ds.take([5, 2], ["video"], blob_handling="all_binary")["video"].to_pylist() == [CELLS[5], CELLS[2]]
    assert sizes(ds.take([5, 2], ["video"])["video"]) == [SIZES[5], SIZES[2]]
    every = ds.to_table(["raw", "video"], blob_handling="all_descriptions")
    assert sizes(every["raw"]) == sizes(every["video"]) == SIZES
    assert ds.get_fragments()[0].to_table(["raw"], blob_handling="all_descriptions").schema.types == [DESCRIPTION]
    with pytest.raises(InvalidInput, match="all_binary"):
        ds.to_table(blob_handling="bytes")


def test_describing_reads_no_cells(store, ds):
    with counted(store) as counts:
        LanceDataset(store, ds._manifest).to_table(["video", "s"])
    # The blocks with offsets, of 16 KiB.
    assert counts.bytes_read < 5 * 16_384


@pytest.mark.parametrize(
    ("filter", "rows"),
    [
        ("video is null", [1, 7]),
        ("video is not null and id > 6", [8, 9]),
        ("video.size > 20000", [2, 4, 9]),
        ("s.image.size < 10", [0, 3]),
        ("video.position is null and video.size > 0", None),
        (pc.field("video", "size") == 5, [3]),
    ],
)
def test_filters_see_descriptions(store, ds, filter, rows):
    with counted(store) as counts:
        found = ds.to_table(["id"], filter=filter)["id"].to_pylist()
    assert counts.bytes_read < 100_000
    if rows is None:
        cells = enumerate(ds.to_table()["video"].to_pylist())
        rows = [i for i, cell in cells if cell and cell["position"] is None and cell["size"]]
    assert found == rows
    assert ds.count_rows(filter) == len(rows)
    assert ds.to_table(filter=filter)["id"].to_pylist() == rows


def test_filters_see_bytes_when_the_read_gives_them(ds):
    assert ds.to_table(["id"], filter="octet_length(video) = 5", blob_handling="all_binary")["id"].to_pylist() == [3]
    with pytest.raises(NotFound):
        ds.to_table(filter="video.size = 5", blob_handling="all_binary")


def test_a_scan_of_large_cells_gives_few_rows_at_a_time_and_its_descriptions_many():
    cell = bytes(17 << 20)
    ds = lance_like.write_dataset({"b": lance_like.blob_array([cell, cell, b"x"])}, f"memory://{uuid.uuid4().hex}")
    assert [batch.num_rows for batch in ds.to_batches(blob_handling="all_binary")] == [1, 1, 1]
    assert [batch.num_rows for batch in ds.to_batches()] == [3]


def test_descriptions_are_not_written_as_blobs(ds):
    for write in (
        lambda: lance_like.write_dataset(ds.to_table(), f"memory://{uuid.uuid4().hex}"),
        lambda: ds.insert(ds.to_table()),
        lambda: lance_like.write_dataset(ds.to_table(), f"memory://{uuid.uuid4().hex}", schema=ds.schema),
    ):
        with pytest.raises(InvalidInput, match="describes blobs"):
            write()


def test_a_dataset_is_copied_with_its_blobs(ds):
    copy = lance_like.write_dataset(ds, f"memory://{uuid.uuid4().hex}")
    assert copy.schema == ds.schema
    assert copy.to_table(blob_handling="all_binary") == ds.to_table(blob_handling="all_binary")


def test_rows_are_written_by_the_schema_of_the_dataset(ds):
    rows = [{"id": 10, "video": b"abc", "raw": b"x", "s": {"n": 1, "image": b"def"}}]
    copy = lance_like.write_dataset(rows, f"memory://{uuid.uuid4().hex}", schema=ds.schema)
    assert copy.schema == ds.schema
    assert copy.to_table(blob_handling="all_binary").to_pylist() == rows


def test_blob_columns_are_added_renamed_and_dropped():
    ds = lance_like.write_dataset({"id": [1, 2]}, f"memory://{uuid.uuid4().hex}")
    field = lance_like.blob_field("b")
    ds.add_columns(pa.table([[b"x" * 20_000, None]], schema=pa.schema([field])))
    ds.add_columns(lance_like.blob_field("empty"))
    assert sizes(ds.to_table()["b"]) == [20_000, None]
    assert sizes(ds.to_table()["empty"]) == [None, None]
    assert ds.take_blobs("empty", indices=[0, 1]) == [None, None]
    ds.alter_columns({"path": "b", "name": "c"})
    ds.drop_columns(["empty"])
    (file, _) = ds.take_blobs("c", indices=[0, 1])
    assert file.read() == b"x" * 20_000
    assert ds.schema.names == ["id", "c"]


def test_duckdb_sees_descriptions(ds):
    duckdb = pytest.importorskip("duckdb")
    assert duckdb.sql("select video.size from ds where id = 2").fetchall() == [(30_000,)]
    assert duckdb.sql("select id from ds where video.size > 20000 order by id").fetchall() == [(2,), (4,), (9,)]


def test_polars_sees_descriptions(ds):
    polars = pytest.importorskip("polars")
    found = polars.scan_pyarrow_dataset(ds).filter(polars.col("id") == 2).collect()
    assert found["video"].to_list()[0]["size"] == 30_000
