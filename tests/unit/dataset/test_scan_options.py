"""The options of a scan, however they are given: to a method, to a builder, or to the handle for all scans."""

from __future__ import annotations

import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import lance_like
from lance_like import LanceDataset
from lance_like.dataset import ColumnOrdering, ScannerBuilder
from lance_like.errors import InvalidInput
from lance_like.file.reader import FileReader
from lance_like.query import MatchQuery

TABLE = pa.table({"a": range(100), "b": [f"b{i}" for i in range(100)], "c": [b"x" * 10] * 100})


@pytest.fixture(scope="module")
def ds() -> LanceDataset:
    return lance_like.write_dataset(TABLE, "memory://options", max_rows_per_file=30)


OPTIONS: dict[str, Any] = {
    "columns": ["b"],
    "filter": "a > 3",
    "limit": 4,
    "offset": 2,
    "batch_size": 3,
    "with_row_id": True,
    "order_by": [ColumnOrdering("a", False)],
}


def test_options_mean_the_same_to_a_method_a_builder_and_a_handle(tmp_path: Path) -> None:
    lance_like.write_dataset(TABLE, tmp_path)
    ds = lance_like.dataset(tmp_path)
    expected = ds.to_table(**OPTIONS)
    assert expected.to_pydict() == {"b": ["b97", "b96", "b95", "b94"], "_rowid": [97, 96, 95, 94]}
    builder = ScannerBuilder(ds)
    for name, value in OPTIONS.items():
        assert getattr(builder, name)(value) is builder
    assert builder.to_scanner().to_table() == expected
    assert ScannerBuilder(ds).apply_defaults(OPTIONS).to_scanner().to_table() == expected
    held = lance_like.dataset(tmp_path, default_scan_options=OPTIONS)
    for one in (held, pickle.loads(pickle.dumps(held))):
        assert one.to_table() == expected
        assert one.schema == one.scanner().schema == expected.schema
        assert one.to_table(["a"], offset=0).column_names == ["a", "_rowid"]
        assert one.count_rows() == 100


def test_every_setter_of_a_builder_is_an_option(ds: LanceDataset) -> None:
    values = {"batch_size": 5, "strict_batch_size": True, "late_materialization": True, "io_buffer_size": 1 << 20}
    values |= {"batch_readahead": 2, "fragment_readahead": 1, "scan_in_order": True, "use_stats": False}
    values |= {"use_scalar_index": False, "prefilter": True, "fast_search": True, "blob_handling": "all_binary"}
    values |= {"with_row_address": True, "with_fragments": ds.get_fragments()[1:2]}
    builder = ScannerBuilder(ds).filter("a % 2 = 0")
    for name, value in values.items():
        getattr(builder, name)(value)
    batches = list(builder.to_scanner().to_batches())
    assert [len(batch) for batch in batches] == [5, 5, 5]
    assert batches[0]["a"].to_pylist() == [30, 32, 34, 36, 38]


def test_a_batch_has_about_so_many_bytes_and_at_most_so_many_rows(ds: LanceDataset) -> None:
    row = ds.to_table(["a", "c"]).nbytes / 100
    batches = list(ds.to_batches(["a", "c"], batch_size_bytes=int(8 * row)))
    assert {len(batch) for batch in batches[:-1]} <= {6, 7, 8}
    assert sum(map(len, batches)) == 100
    assert {len(batch) for batch in ds.to_batches(["a"], batch_size_bytes=1)} == {1}
    assert max(len(batch) for batch in ds.to_batches(["a"], batch_size_bytes=1 << 20, batch_size=4)) == 4


@pytest.mark.parametrize("option", ["batch_size", "batch_size_bytes", "batch_readahead", "io_buffer_size", "limit"])
def test_numbers_of_numpy_are_numbers(ds: LanceDataset, option: str) -> None:
    given: Any = {option: np.int64(7)}
    expected: Any = {option: 7}
    assert [len(b) for b in ds.to_batches(**given)] == [len(b) for b in ds.to_batches(**expected)]


def test_columns_may_come_from_any_iterable(ds: LanceDataset) -> None:
    def names() -> Any:
        return (name for name in ["b", "_rowid"])

    expected = ds.to_table(["b", "_rowid"])
    assert ds.to_table(names()) == expected
    assert ds.take([3, 1], names()) == expected.take([3, 1])
    assert ds.get_fragments()[0].take([3, 1], names()) == expected.take([3, 1])


@pytest.mark.parametrize("columns", [3, [3], [["b"]], ds], ids=["number", "numbers", "lists", "function"])
def test_columns_that_are_no_names_are_refused(ds: LanceDataset, columns: Any) -> None:
    for read in (ds.to_table, ds.get_fragments()[0].to_table):
        with pytest.raises(InvalidInput, match="expected a list of column names"):
            read(columns)
    for take in (ds.take, ds.get_fragments()[0].take):
        with pytest.raises(InvalidInput, match="expected a list of column names"):
            take([0], columns)


@pytest.mark.parametrize("late", [True, False, ["c"], None])
def test_late_materialization_changes_what_is_read_and_not_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: Any
) -> None:
    rows = 20_000
    table = pa.table({"a": range(rows), "c": [bytes(200)] * rows})
    ds = lance_like.write_dataset(table, tmp_path)
    taken: list[int] = []
    read_columns = FileReader.read_columns

    def noted(self: FileReader, columns: Any, kinds: Any, wanted: Any):
        taken.append(len(wanted))
        return read_columns(self, columns, kinds, wanted)

    monkeypatch.setattr(FileReader, "read_columns", noted)
    expected = [a for a in range(rows) if a % 10 in (1, 7)]
    found = ds.to_table(["a", "c"], "a % 10 = 1 or a % 10 = 7", late_materialization=late)
    assert found["a"].to_pylist() == expected
    # A fifth of the rows pass: by itself a scan reads the pages.
    assert sum(taken) == (len(expected) if late is True else 0)
    few = ds.to_table(["a", "c"], "a % 1000 = 1", late_materialization=late)
    assert few.num_rows == 20
    assert sum(taken) - (len(expected) if late is True else 0) == (0 if late is False else 20)


def test_without_statistics_everything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Wide rows: no file is read whole.
    table = TABLE.append_column("wide", pa.array([random.Random(i).randbytes(1000) for i in range(100)]))
    ds = lance_like.write_dataset(table, tmp_path, max_rows_per_file=30)
    opened: set[str] = set()

    def noting(read: Any) -> Any:
        def noted(self: FileReader, *asked: Any) -> Any:
            opened.add(self.where)
            return read(self, *asked)

        return noted

    for name in ("pages_of", "stated"):
        monkeypatch.setattr(FileReader, name, noting(getattr(FileReader, name)))
    assert ds.to_table(filter="a = 5").num_rows == 1
    assert len(opened) == 1
    assert ds.to_table(filter="a = 5", use_stats=False).num_rows == 1
    assert len(opened) == 4


def test_deleted_rows_come_with_a_null_row_id() -> None:
    ds = lance_like.write_dataset(TABLE, "memory://deleted", max_rows_per_file=25)
    ds.delete("a < 30")
    shown = {"with_row_id": True, "include_deleted_rows": True}
    table = ds.to_table(["a"], **shown)
    assert table["a"].to_pylist() == list(range(25, 100))
    assert table["_rowid"].to_pylist() == [None] * 5 + list(range(30, 100))
    assert ds.to_table(["a"], filter="a < 32", **shown)["_rowid"].to_pylist() == [None] * 5 + [30, 31]
    assert ds.to_table(["_rowaddr", "_rowid"], limit=2, offset=4, **shown)["_rowid"].to_pylist() == [None, 30]
    assert ds.to_table({"x": "_rowid + 1"}, limit=6, **shown)["x"].to_pylist() == [None] * 5 + [31]
    assert ds.scanner(filter="a < 32", **shown).count_rows() == 7
    assert ds.scanner(**shown).count_rows() == 75
    assert ds.to_table(["a"], with_row_id=True).num_rows == 70


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"limit": -1}, "limit=-1"),
        ({"offset": -1}, "offset=-1"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"batch_size_bytes": 0}, "batch_size_bytes=0"),
        ({"fragment_readahead": -1}, "fragment_readahead=-1"),
        ({"io_buffer_size": 0}, "io_buffer_size=0"),
        ({"blob_handling": "none"}, "blob_handling='none'"),
        ({"batch_size_bytes": 10, "strict_batch_size": True}, "strict_batch_size"),
        ({"include_deleted_rows": True}, "with_row_id is false"),
        ({"nope": 1}, "'nope' is not an option"),
    ],
    ids=str,
)
def test_wrong_options_are_refused(ds: LanceDataset, options: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        ds.scanner(**options)


def test_wrong_default_options_are_refused_when_the_dataset_is_opened(tmp_path: Path) -> None:
    lance_like.write_dataset(TABLE, tmp_path)
    with pytest.raises(InvalidInput, match="nope"):
        lance_like.dataset(tmp_path, default_scan_options={"nope": 1})


@pytest.mark.parametrize("number", [np.int64, np.int32, np.uint64, pa.scalar], ids=str)
def test_integers_of_numpy_and_arrow_are_taken_for_numbers(number) -> None:
    ds = lance_like.write_dataset(TABLE, "memory://", max_rows_per_file=10)
    assert ds.to_table(limit=number(3)).num_rows == len(ds.head(number(3))) == 3
    assert ds.take([number(3), number(1)])["a"].to_pylist() == [3, 1]
    assert ds.optimize.compact_files(target_rows_per_fragment=number(100)).fragments_added == 1
    assert len(ds.delta(begin_version=number(0), end_version=number(2)).list_transactions()) == 2
    assert ds.checkout_version(number(1)).version == 1
    ds.optimize.enable_auto_index(number(100))
    assert ds.cleanup_old_versions(retain_versions=number(1)).old_versions == 2


@pytest.mark.parametrize("number", [np.int32, np.uint64], ids=str)
def test_indexes_take_integers_of_numpy(number) -> None:
    ds = lance_like.write_dataset(TABLE, "memory://")
    ds.create_scalar_index("a", "ZONEMAP", rows_per_zone=number(10))
    ds.create_scalar_index("b", "INVERTED", max_token_length=number(20))
    ds.optimize.optimize_indices(num_indices_to_merge=number(1))
    assert ds.count_rows("a < 3") == 3
    assert (
        ds.to_table(full_text_query=MatchQuery("b3", "b", max_expansions=number(5), boost=np.float32(2))).num_rows == 1
    )
