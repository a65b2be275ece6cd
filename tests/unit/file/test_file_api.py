"""The file-level API: what goes in comes out, in the batches and columns asked; what fails leaves nothing behind."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import lance_like
from lance_like.errors import Corrupt, InvalidInput, NotFound, OutOfRange, StorageError, Unsupported
from lance_like.file import LanceFileReader, LanceFileWriter
from lance_like.io.memory import MemoryStore

ROWS = 3000
TABLE = pa.table(
    {
        "s": pa.array([None if i % 5 == 0 else {"x": i, "y": {"z": str(i)}} for i in range(ROWS)]),
        "a": pa.array(range(ROWS)),
        "b": pa.array([f"{i}" * (i % 9) for i in range(ROWS)]),
        "l": pa.array([list(range(i % 4)) for i in range(ROWS)], pa.list_(pa.int16())),
    }
).replace_schema_metadata({"made": "here"})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    written = tmp_path / "a.lnl"
    with LanceFileWriter(written, TABLE.schema) as writer:
        writer.write_batch(TABLE)
    return written


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


# Reading


def test_a_file_gives_back_what_was_written(path):
    reader = LanceFileReader(path)
    found = reader.read_all().to_table()
    assert found.equals(TABLE, check_metadata=True)
    assert reader.schema.equals(TABLE.schema, check_metadata=True)
    assert reader.num_rows() == ROWS


@pytest.mark.parametrize("readahead", [0, 1, 16])
@pytest.mark.parametrize("batch_size", [1, 700, 1000, 100_000])
def test_batches_have_the_size_asked_but_for_the_last(path, batch_size, readahead):
    reader = LanceFileReader(path, columns=["a"])
    batches = list(reader.read_range(10, 2000, batch_size=batch_size, batch_readahead=readahead).to_batches())
    assert [len(batch) for batch in batches] == [min(batch_size, 2000 - low) for low in range(0, 2000, batch_size)]
    assert pa.Table.from_batches(batches)["a"].to_pylist() == list(range(10, 2010))


def test_a_range_is_that_run_of_rows(path):
    reader = LanceFileReader(path)
    assert reader.read_range(17, 1500).to_table().equals(TABLE.slice(17, 1500))
    assert reader.read_range(ROWS, 0).to_table().equals(TABLE.slice(0, 0))


@pytest.mark.parametrize("make", [list, np.array, pa.array])
def test_rows_come_in_the_order_asked(path, make):
    rows = [7, 7, 2999, 0, 1500]
    assert LanceFileReader(path).take_rows(make(rows)).to_table().equals(TABLE.take(rows))


def test_no_rows_are_an_empty_table(path):
    assert LanceFileReader(path).take_rows([]).to_table().equals(TABLE.slice(0, 0))


def test_columns_come_in_the_order_asked_and_structs_whole(path):
    found = LanceFileReader(path, columns=["b", "s"]).read_all().to_table()
    assert found.equals(TABLE.select(["b", "s"]))


@pytest.mark.parametrize("start, count", [(-1, 2), (0, ROWS + 1), (ROWS, 1), (5, -1)])
def test_a_range_outside_the_file_is_refused(path, start, count):
    with pytest.raises(OutOfRange, match="3,000"):
        LanceFileReader(path).read_range(start, count)


@pytest.mark.parametrize("rows", [[-1], [0, ROWS], [1 << 40]])
def test_a_row_outside_the_file_is_refused(path, rows):
    with pytest.raises(OutOfRange):
        LanceFileReader(path).take_rows(rows)


@pytest.mark.parametrize("rows", [[0.5], [[1, 2]], ["1"], [True]])
def test_rows_that_are_no_integers_are_refused(path, rows):
    with pytest.raises(InvalidInput):
        LanceFileReader(path).take_rows(rows)


def test_an_unknown_column_is_named_with_the_nearest(path, tmp_path):
    with pytest.raises(NotFound, match=r"'aa'.*'a'"):
        LanceFileReader(path, columns=["aa"])
    with pytest.raises(InvalidInput, match="twice"):
        LanceFileReader(path, columns=["a", "a"])


def test_of_columns_of_one_name_none_can_be_chosen_but_all_are_read(tmp_path):
    twins = pa.Table.from_arrays([pa.array([1]), pa.array(["x"])], names=["n", "n"])
    with LanceFileWriter(tmp_path / "t") as writer:
        writer.write_batch(twins)
    assert LanceFileReader(tmp_path / "t").read_all().to_table().equals(twins)
    with pytest.raises(InvalidInput, match="2 columns 'n'"):
        LanceFileReader(tmp_path / "t", columns=["n"])


def test_a_file_without_columns_has_its_rows(tmp_path):
    bare = pa.RecordBatch.from_struct_array(pa.Array.from_buffers(pa.struct([]), 5, [None]))
    with LanceFileWriter(tmp_path / "t") as writer:
        writer.write_batch(bare)
    reader = LanceFileReader(tmp_path / "t")
    assert (reader.num_rows(), reader.read_all().to_table().num_rows) == (5, 5)


def test_damage_is_noticed_unless_verification_is_off(path):
    data = bytearray(path.read_bytes())
    data[4096] ^= 1
    path.write_bytes(data)
    with pytest.raises(Corrupt, match="checksum"):
        LanceFileReader(path).read_all().to_table()
    LanceFileReader(path, verify="off", columns=["a"]).read_all().to_table()
    with pytest.raises(InvalidInput, match="verify"):
        LanceFileReader(path, verify="some")  # type: ignore[arg-type]


def test_a_link_and_a_uri_name_the_file(path, tmp_path, monkeypatch):
    link = tmp_path / "link"
    link.symlink_to(path)
    monkeypatch.chdir(tmp_path)
    for name in (link, str(path), f"file://{path}", "a.lnl"):
        assert LanceFileReader(name).num_rows() == ROWS


@pytest.mark.parametrize("name, error", [("", InvalidInput), ("foo://b/k", Unsupported), ("folder/", InvalidInput)])
def test_what_names_no_file_is_refused(name, error, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((error, NotFound)):
        LanceFileReader(name)


def test_options_of_object_stores_mean_nothing_for_a_path(path):
    assert LanceFileReader(path, {"region": "x"}).num_rows() == ROWS


# Writing


def test_a_file_takes_its_schema_from_the_first_batch(tmp_path):
    writer = LanceFileWriter(tmp_path / "t")
    for batch in TABLE.to_batches(max_chunksize=500):
        writer.write_batch(batch)
    assert writer.size_bytes is None
    assert writer.close() == ROWS
    assert writer.size_bytes == (tmp_path / "t").stat().st_size
    assert writer.close() == ROWS
    assert LanceFileReader(tmp_path / "t").read_all().to_table().equals(TABLE)


def test_metadata_added_while_writing_is_in_the_file(tmp_path):
    with LanceFileWriter(tmp_path / "t", TABLE.schema) as writer:
        writer.write_batch(TABLE)
        writer.add_schema_metadata("k", "é")
    assert LanceFileReader(tmp_path / "t").schema.metadata == {b"made": b"here", b"k": "é".encode()}


def test_a_file_of_no_rows_needs_a_schema(tmp_path):
    with LanceFileWriter(tmp_path / "t", TABLE.schema):
        pass
    assert LanceFileReader(tmp_path / "t").read_all().to_table().equals(TABLE.slice(0, 0))
    with pytest.raises(InvalidInput, match="schema"):
        LanceFileWriter(tmp_path / "u").close()
    assert names(tmp_path) == ["t"]


@pytest.mark.parametrize("batch", [{"a": ["text"]}, {"b": [1]}, {"a": [1], "b": [2]}])
def test_a_batch_of_another_schema_is_refused_and_the_file_goes_on(tmp_path, batch):
    with LanceFileWriter(tmp_path / "t", pa.schema([("a", pa.int64())])) as writer:
        writer.write_batch(pa.table({"a": [1]}))
        with pytest.raises(InvalidInput, match="schema"):
            writer.write_batch(pa.table(batch))
        writer.write_batch(pa.table({"a": [2]}))
    assert LanceFileReader(tmp_path / "t").read_all().to_table()["a"].to_pylist() == [1, 2]


def test_a_null_where_none_may_be_is_refused(tmp_path):
    schema = pa.schema([pa.field("a", pa.int64(), nullable=False)])
    with LanceFileWriter(tmp_path / "t", schema) as writer, pytest.raises(InvalidInput, match="may not be null"):
        writer.write_batch(pa.table({"a": pa.array([None], pa.int64())}, schema=schema))


def test_a_failing_block_and_a_forgotten_writer_leave_no_file_and_no_thread(tmp_path):
    before = threading.active_count()
    with pytest.raises(KeyError), LanceFileWriter(tmp_path / "t") as writer:
        writer.write_batch(TABLE)
        raise KeyError
    forgotten = LanceFileWriter(tmp_path / "u")
    forgotten.write_batch(TABLE)
    del forgotten
    gc.collect()
    assert names(tmp_path) == []
    assert threading.active_count() == before


def test_a_closed_writer_takes_nothing(tmp_path):
    writer = LanceFileWriter(tmp_path / "t", TABLE.schema)
    writer.close()
    for act in (lambda: writer.write_batch(TABLE), lambda: writer.add_schema_metadata("k", "v")):
        with pytest.raises(InvalidInput, match="closed"):
            act()


def test_a_type_that_cannot_be_stored_is_refused_at_once(tmp_path):
    schema = pa.schema([("x", pa.null())])
    for _ in range(70):
        schema = pa.schema([("x", pa.list_(schema.field(0)))])
    with pytest.raises(Unsupported):
        LanceFileWriter(tmp_path / "t", schema)
    assert names(tmp_path) == []


class _Full(MemoryStore):
    """A store whose disk is full, before or after it took the bytes."""

    def __init__(self, *, late: bool) -> None:
        super().__init__()
        self.late = late

    def put(self, key, chunks, *, durable=True):
        if self.late:
            list(chunks)
        raise StorageError("no space left on device")


@pytest.mark.parametrize("late", [False, True])
def test_an_error_of_the_store_comes_out_and_nothing_waits(late):
    writer = LanceFileWriter.in_store(_Full(late=late), "t", TABLE.schema)
    with pytest.raises(StorageError, match="no space"):
        for _ in range(10):
            writer.write_batch(TABLE)
        writer.close()
    assert writer.closed
    writer.abort()


def test_the_data_waiting_for_the_writing_thread_is_one_batch(monkeypatch):
    gate = threading.Event()
    taken: list[int] = []

    class Slow(MemoryStore):
        def put(self, key, chunks, *, durable=True):
            gate.wait(10)
            return super().put(key, chunks, durable=durable)

    writer = LanceFileWriter.in_store(Slow(), "t", TABLE.schema)

    def push() -> None:
        for number in range(3):
            writer.write_batch(TABLE)
            taken.append(number)

    pusher = threading.Thread(target=push)
    pusher.start()
    pusher.join(0.05)
    assert taken == [0]
    gate.set()
    pusher.join()
    assert writer.close() == 3 * ROWS


def test_the_names_are_found_at_the_package():
    assert lance_like.file.LanceFileReader is LanceFileReader
    with pytest.raises(AttributeError, match="no_such"):
        lance_like.file.no_such  # noqa: B018


# What a file says about itself


def test_metadata_describes_columns_pages_and_encodings(path):
    reader = LanceFileReader(path, columns=["a"])
    found = reader.metadata()
    assert found.schema.equals(TABLE.schema, check_metadata=True)
    assert (found.num_rows, found.major_version, len(found.columns)) == (ROWS, 0, 7)
    statistics = reader.file_statistics()
    sizes = [sum(buffer.size for page in column.pages for buffer in page.buffers) for column in found.columns]
    assert [column.size_bytes for column in statistics.columns] == sizes
    assert [column.num_pages for column in statistics.columns] == [len(column.pages) for column in found.columns]
    assert found.num_data_bytes == sum(sizes)
    assert found.num_data_bytes + found.num_column_metadata_bytes < path.stat().st_size
    data = path.read_bytes()
    numbers = found.columns[4].pages[0]
    assert numbers.encoding in ("bitpack", "narrow", "linear")
    (buffer,) = numbers.buffers
    assert 0 < buffer.position < buffer.position + buffer.size < len(data)


def test_options_of_pylance_are_accepted(tmp_path):
    target = str(tmp_path / "x.lnl")
    with LanceFileWriter(target, data_cache_bytes=1, max_page_bytes=1, version="2.1") as writer:
        writer.write_batch(TABLE)
    assert LanceFileReader(target).num_rows() == ROWS
