"""What people hand over as blobs: bytes, files, paths, references; and what a table keeps of them."""

from __future__ import annotations

import gc
import io
import os
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import lance_like
from lance_like import Blob, LanceOperation, blob_array, blob_field
from lance_like.dataset.blob import REFERENCE
from lance_like.errors import Corrupt, InvalidInput, NotFound, Unsupported
from lance_like.file.cut import PAGE_NBYTES
from lance_like.fragment import write_fragments
from lance_like.io.memory import MemoryStore

SMALL = b"small " * 100
GIANT = PAGE_NBYTES + 100_001


def giant(seed: int = 0, nbytes: int = GIANT) -> bytes:
    return np.random.default_rng(seed).bytes(nbytes)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "giant.bin"
    place.write_bytes(giant())
    return place


def contents(ds: lance_like.LanceDataset, column: str = "b") -> list[bytes | None]:
    files = ds.take_blobs(column, indices=np.arange(len(ds)))
    return [None if file is None else file.read() for file in files]


def test_every_kind_of_value_is_a_blob(uri: str, path: Path) -> None:
    with open(path, "rb") as file, open(path, "rb") as moved:
        moved.seek(100)
        values = [SMALL, None, file, b"", moved, io.BytesIO(SMALL), path, bytearray(b"x"), memoryview(b"yz"),
                  Blob.from_bytes(b"inline"), Blob.empty(), None, pa.py_buffer(b"buffer")]  # fmt: skip
        ds = lance_like.write_dataset({"id": range(13), "b": blob_array(values)}, uri)
    expected = [SMALL, None, giant(), b"", giant()[100:], SMALL, giant(), b"x", b"yz", b"inline", b"", None, b"buffer"]
    assert contents(ds) == expected
    assert ds.to_table(blob_handling="all_binary")["b"].to_pylist() == expected
    assert ds.to_table(["id"], filter="b is null")["id"].to_pylist() == [1, 11]
    assert ds.to_table(["id"], filter=f"b.size = {GIANT}")["id"].to_pylist() == [2, 6]


def test_large_contents_are_pages_of_their_own_and_their_neighbours_are_not(uri: str, path: Path) -> None:
    values = [SMALL] * 10 + [path] + [SMALL] * 10 + [path, path]
    ds = lance_like.write_dataset({"b": blob_array(values)}, uri)
    (data,) = (file for fragment in ds._manifest.fragments for file in fragment.files)
    (reader,) = ds._session.open([data])
    pages = ds._session.drive([(data.path, reader.pages(0, pa.large_binary()))])[0]
    assert np.diff(pages.fences).tolist() == [10, 1, 10, 1, 1]
    assert contents(ds) == [giant() if value is path else SMALL for value in values]
    statistics = dict(data.stats)[0]
    assert (statistics.null_count, statistics.min) == (0, min(SMALL, giant())[:32])


def test_a_cell_that_is_streamed_is_written_as_the_same_cell_in_memory(path: Path) -> None:
    files = []
    for cell in (giant(), path):
        store = MemoryStore()
        from lance_like.dataset.inputs import as_stream
        from lance_like.dataset.write import write_version

        ds = lance_like.LanceDataset(
            store, write_version(store, None, as_stream({"b": blob_array([SMALL, cell, None])}), mode="create")
        )
        (file,) = ds.get_fragments()[0].data_files()
        files.append((file.stats, contents(ds)))
    assert files[0] == files[1]


def test_blobs_come_in_structs_in_batches_and_in_lists_of_a_declared_column(uri: str, path: Path) -> None:
    schema = pa.schema([("id", pa.int64()), blob_field("b")])
    ds = lance_like.write_dataset({"id": [0, 1], "b": [path, None]}, uri, schema=schema)
    with open(path, "rb") as file:
        ds.insert([{"id": 2, "b": file}, {"id": 3, "b": b"x"}], schema=schema)
    table = pa.table({"id": [4, 5], "b": blob_array([path, SMALL])})
    ds.insert(table.slice(0, 1))
    ds.insert(iter(table.to_batches()))
    ds.insert(table.to_reader())
    assert contents(ds) == [giant(), None, giant(), b"x", giant(), giant(), SMALL, giant(), SMALL]
    nested = pa.StructArray.from_arrays([blob_array([path, None])], fields=[blob_field("c")])
    inside = lance_like.write_dataset({"s": nested}, f"memory://{uuid.uuid4().hex}")
    assert contents(inside, "s.c") == [giant(), None]


def test_blobs_are_added_as_a_column(uri: str, path: Path) -> None:
    ds = lance_like.write_dataset({"id": [1, 2]}, uri)
    ds.add_columns(pa.table({"b": blob_array([path, b"x"])}))
    assert contents(ds) == [giant(), b"x"]


def test_what_cannot_seek_is_copied_at_once(uri: str) -> None:
    read_end, write_end = os.pipe()

    def feed() -> None:
        with open(write_end, "wb") as pipe:
            pipe.write(giant(1))

    thread = threading.Thread(target=feed)
    thread.start()
    with open(read_end, "rb") as pipe:
        array = blob_array([pipe, b"x"])
    thread.join()
    assert contents(lance_like.write_dataset({"b": array}, uri)) == [giant(1), b"x"]


def test_an_array_may_be_written_twice_and_the_sources_go_with_it(uri: str, path: Path) -> None:
    array = blob_array([path])
    for mode in ("create", "append"):
        ds = lance_like.write_dataset({"b": array}, uri, mode=mode)
    assert contents(ds) == [giant(), giant()]
    copied = pa.array([array.storage[0].as_py()], pa.large_binary())
    del array
    gc.collect()
    table = pa.table([copied], schema=pa.schema([blob_field("b")]))
    with pytest.raises(InvalidInput, match="not known any more"):
        lance_like.write_dataset(table, uri, mode="append")
    assert len(lance_like.dataset(uri)) == 2


def test_a_file_that_changes_before_it_is_read_stops_the_write(uri: str, path: Path) -> None:
    array = blob_array([path])
    path.write_bytes(b"short")
    with pytest.raises(InvalidInput, match="ended"):
        lance_like.write_dataset({"b": array}, uri)
    with pytest.raises(lance_like.errors.NotFound):
        lance_like.dataset(uri)


def test_wrong_values_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("text")
    with open(tmp_path / "text.txt") as text:
        for value in (1, object(), ["x"], tmp_path / "missing", tmp_path, text, io.StringIO("x")):
            with pytest.raises(InvalidInput):
                blob_array([value])
    for make in (
        Blob,
        lambda: Blob(data=b"", uri="/x"),
        lambda: Blob.from_uri("relative"),
        lambda: Blob.from_uri("/x", 1),
        lambda: Blob.from_uri("/x", -1, 5),
        lambda: Blob(data=b"", position=0, size=0),
        lambda: blob_array(["/x"], external=False),
    ):
        with pytest.raises(InvalidInput):
            make()
    with pytest.raises(Unsupported):
        Blob.from_uri("gopher://x/y")


# -- references --


def test_references_are_kept_as_they_are_and_read_when_they_are_read(uri: str, path: Path) -> None:
    values = [Blob.from_uri(str(path)), Blob.from_uri(path.as_uri(), 10, 20), path.as_uri(), b"inline", None, path]
    ds = lance_like.write_dataset({"id": range(6), "b": blob_array(values)}, uri)
    files = ds.take_blobs("b", indices=range(6))
    assert [file and file.uri for file in files] == [str(path), path.as_uri(), path.as_uri(), None, None, None]
    assert contents(ds) == [giant(), giant()[10:30], giant(), b"inline", None, giant()]
    first = files[0]
    assert first is not None
    first.seek(-5, io.SEEK_END)
    assert first.read() == giant()[-5:]
    assert contents(ds, "b.data") == [None, None, None, b"inline", None, giant()]
    described = ds.to_table(["b"])["b"].to_pylist()
    assert [row and (row["uri"], row["position"], row["size"]) for row in described][1] == (path.as_uri(), 10, 20)
    assert [row and row["data"] and row["data"]["size"] for row in described] == [None, None, None, 6, None, GIANT]
    assert ds.to_table(["id"], filter="b.uri is not null")["id"].to_pylist() == [0, 1, 2]
    path.unlink()
    with pytest.raises(lance_like.errors.NotFound):
        first.read_range(0, 1)
    assert ds.take_blobs("b", indices=[5])[0].size() == GIANT


def test_a_column_takes_references_only_when_it_was_declared_so(uri: str, path: Path) -> None:
    ds = lance_like.write_dataset({"b": blob_array([b"x"])}, uri)
    assert ds.schema.field("b").type.names == ["position", "size"]
    with pytest.raises(InvalidInput, match="'b'"):
        ds.insert({"b": blob_array([str(path)])})
    ds.insert({"b": blob_array([path], external=True)})
    assert contents(ds) == [b"x", giant()]
    schema = pa.schema([blob_field("b", external=True)])
    both = lance_like.write_dataset({"b": [b"x", str(path), None]}, f"memory://{uuid.uuid4().hex}", schema=schema)
    both.insert({"b": blob_array([b"y"])})
    both.insert({"b": pa.array([b"z"], pa.binary())})
    assert contents(both) == [b"x", giant(), None, b"y", b"z"]
    copy = lance_like.write_dataset(both, f"memory://{uuid.uuid4().hex}")
    assert contents(copy) == contents(both)
    assert copy.schema == both.schema


def test_references_in_a_column_of_bytes_are_read_when_they_are_written(uri: str, path: Path) -> None:
    values = [b"x", str(path), None, Blob.from_uri(path.as_uri(), 5, 10), path]
    expected = [b"x", giant(), None, giant()[5:15], giant()]
    table = pa.table({"b": blob_array(values)}, schema=pa.schema([blob_field("b")]))
    ds = lance_like.write_dataset(table, uri)
    field = pa.field("s", pa.struct([blob_field("c"), pa.field("n", pa.int8())]))
    children = [blob_array(values).cast(field.type[0].type), pa.array(range(5), pa.int8())]
    inside = pa.StructArray.from_arrays(children, fields=list(field.type), mask=pa.array([False] * 4 + [True]))
    nested = lance_like.write_dataset(pa.table([inside], schema=pa.schema([field])), f"memory://{uuid.uuid4().hex}")
    path.unlink()
    assert contents(ds) == expected
    assert contents(nested, "s.c") == [*expected[:4], None]
    with pytest.raises(NotFound, match="refers to"):
        blob_array(values[:2]).cast(pa.large_binary())


def test_what_references_lead_to_is_stored_where_that_is_asked_for(uri: str, path: Path) -> None:
    values = [str(path), b"x", None]
    expected = [giant(), b"x", None]
    ds = lance_like.write_dataset({"b": blob_array(values)}, uri, external_blob_mode="ingest")
    ds.insert({"b": [b"y"]})
    schema = pa.schema([blob_field("b", external=True)])
    both = lance_like.write_dataset(
        {"b": values}, f"memory://{uuid.uuid4().hex}", schema=schema, external_blob_mode="ingest"
    )
    (made,) = write_fragments({"b": blob_array(values)}, uri, external_blob_mode="ingest")
    path.unlink()
    assert contents(lance_like.LanceDataset.commit(uri, LanceOperation.Append([made]), read_version=2)) == [
        *expected,
        b"y",
        *expected,
    ]
    assert contents(both) == expected
    with pytest.raises(InvalidInput, match="external_blob_mode"):
        lance_like.write_dataset({"b": [b"x"]}, uri, mode="append", external_blob_mode="copy")


def test_arrays_of_pylance_are_blobs(uri: str, path: Path) -> None:
    kind = pa.struct([("data", pa.large_binary()), ("uri", pa.string())])
    storage = pa.array([{"data": b"x", "uri": None}, {"data": None, "uri": str(path)}, None], kind)
    field = pa.field("b", kind, metadata={"ARROW:extension:name": "lance.blob.v2", "ARROW:extension:metadata": ""})
    ds = lance_like.write_dataset(pa.table([storage], schema=pa.schema([field])), uri)
    assert contents(ds) == [b"x", giant(), None]


@pytest.mark.parametrize(
    "cell",
    [
        {"data": b"x", "uri": "/x", "position": None, "size": None},
        {"data": None, "uri": "/x", "position": 1, "size": None},
        {"data": None, "uri": "/x", "position": 2**63, "size": 2**63},
        {"data": None, "uri": "../x", "position": None, "size": None},
    ],
)
def test_references_that_no_writer_may_make_are_refused(uri: str, cell: dict) -> None:
    ds = lance_like.write_dataset(pa.table({"b": pa.array([cell], REFERENCE)}), uri)
    with pytest.raises(Corrupt):
        ds.take_blobs("b", indices=[0])


@pytest.mark.slow
def test_a_gigabyte_is_written_and_read_in_little_memory(tmp_path: Path) -> None:
    code = """
import os, sys, pathlib, threading, time
import lance_like
place, peak, ended = pathlib.Path(sys.argv[1]), 0, False
def sample():
    global peak
    while not ended:
        status = pathlib.Path("/proc/self/status").read_text()
        peak = max(peak, int(status.split("RssAnon:")[1].split()[0]))
        time.sleep(0.005)
sampler = threading.Thread(target=sample)
sampler.start()
with open(place / "zeros.bin", "wb") as file:
    os.truncate(file.fileno(), 1 << 30)
    os.pwrite(file.fileno(), b"here", 700_000_000)
lance_like.write_dataset({"id": [0, 1], "b": lance_like.blob_array([b"x", place / "zeros.bin"])}, place / "t")
(file,) = lance_like.dataset(place / "t").take_blobs("b", indices=[1])
assert file.size() == 1 << 30 and file.read_range(700_000_000, 4) == b"here"
while file.read(1 << 22):
    pass
ended = True
sampler.join()
assert 10_000 < peak < 150_000, peak
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
