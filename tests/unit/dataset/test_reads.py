"""Scans through a handle: columns, filters, limits, batches, virtual columns, fragments."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from dataset_values import assert_same, people, three_fragments
from hypothesis import given
from hypothesis import strategies as st

import lance_like
from lance_like import LanceDataset
from lance_like.errors import InvalidInput, NotFound, OutOfRange
from lance_like.file import cut
from lance_like.file.reader import FileReader


@pytest.fixture(scope="module")
def ds() -> LanceDataset:
    return three_fragments("memory://reads")


def test_all_columns_come_in_their_order(ds):
    assert_same(ds.to_table(), people(10))
    assert_same(pa.Table.from_batches(ds.to_batches()), people(10))
    assert_same(ds.scanner().to_reader().read_all(), people(10))


def test_columns_come_in_the_order_asked(ds):
    assert_same(ds.to_table(["t", "i"]), people(10).select(["t", "i"]))


def test_a_path_into_a_struct_is_one_column_named_as_the_path(ds):
    found = ds.to_table(["s.y.z", "s.x", "s.y"], limit=1)
    assert found.to_pydict() == {"s.y.z": ["0"], "s.x": [0], "s.y": [{"z": "0"}]}
    assert found.schema.field("s.y.z").type == pa.string()


def test_no_columns_give_as_many_rows_without_cells(ds):
    for table in (ds.to_table([]), ds.to_table([], filter="i >= 0"), ds.scanner([]).to_reader().read_all()):
        assert (table.num_rows, table.num_columns) == (10, 0)
    assert ds.to_table([], limit=3, offset=9).num_rows == 1
    assert [batch.num_rows for batch in ds.to_batches([])] == [4, 4, 2]


@pytest.mark.parametrize(
    ("columns", "kind", "says"),
    [
        (["j"], NotFound, "column 'j' does not exist"),
        (["tt"], NotFound, "nearest names are 't'"),
        (["s.q"], NotFound, "'x', 'y'"),
        (["s.x.q"], NotFound, r"s\.x\.q"),
        (["i.q"], NotFound, r"i\.q"),
        ([""], NotFound, "''"),
        (["i", "i"], InvalidInput, "asked for twice"),
        ("i", InvalidInput, "expected a list"),
        ([1], InvalidInput, "expected a list of column names"),
    ],
    ids=str,
)
def test_columns_that_are_not_there_are_an_error_in_every_read(ds, columns, kind, says):
    for read in (
        ds.to_table,
        ds.scanner,
        ds.to_batches,
        lambda columns: ds.take([0], columns),
        ds.get_fragments()[0].to_table,
    ):
        with pytest.raises(kind, match=says):
            read(columns)


# Filters


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("i > 7", [8, 9]),
        ("i = 3 or s.y.z = '5'", [3, 5]),
        ("s.x between 2 and 4 and not i = 3", [2, 4]),
        ("t is null and i < 4", [0, 3]),
        ("t in ('t1', 't8', 'zz')", [1, 8]),
        ("t like 't_' and i % 4 = 0", [4, 8]),
        ("i <> 5 and i >= 4 and s.y.z <> '7'", [4, 6, 8, 9]),
        ("t is null or i is not null", list(range(10))),
        ("i > 100", []),
        ("_rowid >= 8", [8, 9]),
        ("_rowaddr = 4294967297", [5]),
        (pc.field("i") > 7, [8, 9]),
        (pc.field("s", "x").isin([1, 2]), [1, 2]),
        ((pc.field("i") < 2) | pc.field("t").is_null(), [0, 1, 3, 6, 9]),
        (pc.field("i") * 2 == 6, [3]),
    ],
    ids=str,
)
def test_a_filter_gives_its_rows_in_scan_order(ds, condition, rows):
    assert ds.to_table(["i"], filter=condition)["i"].to_pylist() == rows
    assert ds.count_rows(condition) == len(rows)
    assert ds.to_table(filter=condition).equals(people(10).take(pa.array(rows, pa.int64())))


@pytest.mark.parametrize(
    ("condition", "kind", "says"),
    [
        ("j > 1", NotFound, "'j'.*nearest"),
        (pc.field("j") > 1, NotFound, "'j'.*nearest"),
        ("i >", InvalidInput, "syntax error"),
        ("", InvalidInput, "empty"),
        ("i > 1; select 1", InvalidInput, "filter"),
        ("sum(i) > 1", InvalidInput, "sum"),
        ("i in (select 1 from u)", InvalidInput, "table 'u'"),
        ("i > 'abc'", InvalidInput, "abc"),
        (pc.utf8_center(pc.field("i"), 9) == "x", InvalidInput, "pyarrow cannot compute"),
        (5, InvalidInput, "SQL text or an expression"),
    ],
    ids=str,
)
def test_a_filter_that_cannot_be_evaluated_is_a_clear_error(ds, condition, kind, says):
    for read in (lambda: ds.to_table(filter=condition), lambda: ds.count_rows(condition)):
        with pytest.raises(kind, match=f"(?s){says}"):
            read()


# Limits and batches


@given(
    limit=st.none() | st.integers(0, 12),
    offset=st.none() | st.integers(0, 12),
    batch_size=st.none() | st.integers(1, 5),
    condition=st.sampled_from([None, "i >= 3", "i % 2 = 1", "t is null", "i > 100"]),
)
def test_limit_and_offset_count_the_rows_that_pass(ds, limit, offset, batch_size, condition):
    passing = {
        None: range(10),
        "i >= 3": range(3, 10),
        "i % 2 = 1": range(1, 10, 2),
        "t is null": (0, 3, 6, 9),
        "i > 100": (),
    }
    start = offset or 0
    expected = list(passing[condition])[start:] if limit is None else list(passing[condition])[start : start + limit]
    scanner = ds.scanner(["i"], condition, limit, offset, batch_size=batch_size)
    assert scanner.to_table()["i"].to_pylist() == expected
    assert [i for batch in scanner.to_batches() for i in batch["i"].to_pylist()] == expected
    assert scanner.count_rows() == len(expected)
    assert scanner.head(2)["i"].to_pylist() == expected[:2]


def test_batches_are_never_longer_than_asked_and_never_empty(ds):
    for size in (1, 2, 3, 7, 100):
        for options in ({}, {"filter": "i <> 4"}):
            rows = [batch.num_rows for batch in ds.to_batches(batch_size=size, **options)]
            assert all(1 <= count <= size for count in rows)


@pytest.mark.parametrize("name", ["limit", "offset", "batch_size"])
@pytest.mark.parametrize("value", [-1, 2.0, "3"])
def test_a_limit_that_is_no_count_is_refused(ds, name, value):
    with pytest.raises(InvalidInput, match=f"{name}="):
        ds.to_table(**{name: value})
    with pytest.raises(InvalidInput, match="batch_size=0"):
        ds.to_batches(batch_size=0)


def test_limits_may_be_integers_of_numpy(ds):
    assert ds.to_table(["i"], limit=np.int64(2), offset=np.uint8(1))["i"].to_pylist() == [1, 2]


def test_head_gives_the_first_rows(ds):
    assert ds.head(2, columns=["i"]).to_pydict() == {"i": [0, 1]}
    assert ds.head(5, columns=["i"], filter="i > 2", limit=3)["i"].to_pylist() == [3, 4, 5]
    assert (ds.head(0).num_rows, ds.head(99).num_rows) == (0, 10)
    for rows in (-1, "a", None):
        with pytest.raises(InvalidInput, match="num_rows="):
            ds.head(rows)


def test_tuning_options_of_pyarrow_are_accepted_and_others_refused(ds):
    assert ds.to_table(use_threads=True, batch_readahead=4, fragment_readahead=2).num_rows == 10
    for read in (ds.to_table, ds.scanner, ds.to_batches, ds.count_rows, lambda **o: ds.take([0], **o)):
        with pytest.raises(InvalidInput, match="'colums' is not an option"):
            read(colums=["i"])


def test_to_pandas_gives_the_rows(ds):
    pytest.importorskip("pandas")
    assert ds.to_pandas(columns=["i", "t"], limit=2, offset=1).to_dict("list") == {"i": [1, 2], "t": ["t1", "t2"]}


@pytest.mark.parametrize("values", [pa.array(["a", None]), pa.array([[1, 2], None])])
def test_to_pandas_takes_dictionaries_that_hold_null(values):
    pytest.importorskip("pandas")
    column = pa.DictionaryArray.from_arrays(pa.array([0, 1, None], pa.int8()), values)
    ds = lance_like.write_dataset(pa.table({"v": column}), "memory://")
    ds.insert(pa.table({"v": column}))
    assert ds.to_pandas()["v"].isna().tolist() == [False, True, True] * 2


# Virtual columns


def test_row_ids_and_addresses_are_appended_or_named(ds):
    appended = ds.to_table(["i"], filter="i in (3, 4)", with_row_id=True, with_row_address=True)
    assert appended.to_pydict() == {"i": [3, 4], "_rowid": [3, 4], "_rowaddr": [3, 1 << 32]}
    assert appended.schema.field("_rowid").type == pa.uint64()
    named = ds.to_table(["_rowaddr", "i", "_rowid"], with_row_id=True, limit=1, offset=9)
    assert named.to_pydict() == {"_rowaddr": [(2 << 32) + 1], "i": [9], "_rowid": [9]}
    assert ds.to_table(with_row_id=True).schema.names == ["i", "s", "t", "_rowid"]
    assert ds.take([9, 0], ["_rowid", "_rowaddr"]).to_pydict() == {"_rowid": [9, 0], "_rowaddr": [(2 << 32) + 1, 0]}


# Fragments


def test_a_scan_of_fragments_gives_them_in_the_order_asked(ds):
    first, _, last = ds.get_fragments()
    assert ds.to_table(["i"], fragments=[last, first])["i"].to_pylist() == [8, 9, 0, 1, 2, 3]
    assert ds.to_table(["i"], fragments=[]).num_rows == 0
    assert ds.to_table(["i"], filter="i > 2", fragments=[first], limit=1)["i"].to_pylist() == [3]
    assert ds.scanner(["i"], fragments=[last]).count_rows() == 2


def test_fragments_of_another_table_or_kind_are_refused(ds, uri):
    other = lance_like.write_dataset(people(20), uri, max_rows_per_file=3)
    with pytest.raises(InvalidInput, match="fragment 0 is of "):
        ds.to_table(fragments=other.get_fragments())
    with pytest.raises(InvalidInput, match="get_fragments"):
        ds.to_table(fragments=[0])


def test_a_fragment_reads_its_rows(ds):
    _, middle, last = ds.get_fragments()
    assert (middle.fragment_id, middle.physical_rows, middle.count_rows(), middle.count_rows("i > 5")) == (1, 4, 4, 2)
    assert_same(middle.to_table(), people(10).slice(4, 4))
    assert_same(pa.Table.from_batches(middle.to_batches(["i"], "i > 5")), people(10).slice(6, 2).select(["i"]))
    assert middle.head(1, ["i"]).to_pydict() == {"i": [4]}
    assert middle.schema == ds.schema
    assert [file.rows for file in last.data_files()] == [2]
    assert "rows=2" in repr(last)


def test_a_fragment_takes_by_position_inside_it(ds):
    last = ds.get_fragments()[2]
    assert last.take([1, 0, 1], ["i"])["i"].to_pylist() == [9, 8, 9]
    for position in (2, -1):
        with pytest.raises(OutOfRange):
            last.take([position])


def test_fragments_are_found_by_their_number(ds):
    assert ds.get_fragment(1).fragment_id == 1
    assert ds.get_fragment(7) is None
    assert ds.fragment_ids() == [0, 1, 2]


def test_fragments_that_may_hold_rows_that_pass_are_found_by_bounds(ds):
    for filter, found in (
        (pc.field("i") > 4, [1, 2]),
        ("i = 9", [2]),
        ("i > 99", []),
        ("t = 't1'", [0]),
        (None, [0, 1, 2]),
    ):
        assert [fragment.fragment_id for fragment in ds.get_fragments(filter)] == found


@pytest.mark.parametrize("struct", [False, True])
def test_nulls_are_counted_by_the_manifest(tmp_path, monkeypatch, struct):
    values = [None if i % 7 == 0 else i for i in range(20_000)]
    column = pa.array([None if i % 3 == 0 else {"x": x} for i, x in enumerate(values)]) if struct else pa.array(values)
    table = pa.table({"a": column, "wide": pa.array([bytes([i % 256]) * 100 for i in range(20_000)])})
    ds = lance_like.write_dataset(table, tmp_path, max_rows_per_file=7_000)
    nulls = column.null_count
    asked = []
    monkeypatch.setattr(FileReader, "pages_of", lambda self, columns, kinds: asked.append(columns))
    if not struct:
        assert ds.count_rows("a is null") == nulls
        assert ds.count_rows("a is not null") == ds.count_rows("not (a is null)") == 20_000 - nulls
        assert asked == []
    monkeypatch.undo()
    assert ds.count_rows("a is null") == ds.scanner(filter="a is null", use_stats=False).count_rows() == nulls
    ds.delete("_rowid < 100")
    assert ds.count_rows("a is null") == column.slice(100).null_count


def test_batches_of_a_window_of_several_pages_are_slices_of_them(tmp_path, monkeypatch):
    monkeypatch.setattr(cut, "PAGE_NBYTES", 1 << 16)
    table = pa.table({"f": np.random.default_rng(0).random(1 << 18)})
    ds = lance_like.write_dataset(table, str(tmp_path / "d"))
    batches = list(ds.to_batches(batch_size=4096))
    # What is copied lies in memory that could be written to; a page lies in the mapped file.
    assert [batch.column(0).buffers()[1].is_mutable for batch in batches] == [False] * 64
    straddling = list(ds.to_batches(batch_size=3_000))
    copied = [batch.column(0).buffers()[1].is_mutable for batch in straddling]
    assert sum(copied) < len(copied)
    assert_same(pa.Table.from_batches(straddling), table)
