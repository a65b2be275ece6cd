"""take by position and _take_rows by stable id: any order, repeats kept, edges."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from dataset_values import assert_same, people, three_fragments
from hypothesis import given
from hypothesis import strategies as st

import lance_like
from lance_like import LanceDataset
from lance_like.errors import InvalidInput, LanceLikeError, NotFound, OutOfRange


@pytest.fixture(scope="module")
def ds() -> LanceDataset:
    return three_fragments("memory://takes")


@given(positions=st.lists(st.integers(0, 9), max_size=30))
def test_take_gives_rows_in_the_order_asked_and_keeps_repeats(ds, positions):
    expected = people(10).take(pa.array(positions, pa.int64()))
    assert_same(ds.take(positions), expected)
    assert_same(ds._take_rows(positions), expected)
    assert_same(ds.take(positions, ["t", "i"]), expected.select(["t", "i"]))


@pytest.mark.parametrize(
    "positions",
    [
        [9, 0],
        (9, 0),
        range(9, -1, -9),
        np.array([9, 0]),
        np.array([9, 0], np.uint8),
        np.array([9, 5, 0])[::2],
        np.array([0, 0, 0, 9]).astype(">i8")[[3, 0]],
        pa.array([9, 0]),
        pa.array([1, 9, 0], pa.int8())[1:],
        pa.chunked_array([[9], [0]]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_positions_come_in_many_kinds(ds, positions):
    assert ds.take(positions, ["i"])["i"].to_pylist() == [9, 0]
    assert ds._take_rows(positions, ["i"])["i"].to_pylist() == [9, 0]


def test_a_pandas_series_gives_positions(ds):
    pd = pytest.importorskip("pandas")
    assert ds.take(pd.Series([9, 0], index=[5, 6]), ["i"])["i"].to_pylist() == [9, 0]


@pytest.mark.parametrize("nothing", [[], (), np.array([]), np.array([], np.int64), pa.array([], pa.int64())], ids=repr)
def test_nothing_gives_no_rows_of_the_schema(ds, nothing):
    assert_same(ds.take(nothing), people(0))
    assert_same(ds._take_rows(nothing, ["s.x"]), ds.to_table(["s.x"], limit=0))


def test_no_columns_keep_the_number_of_rows(ds, uri):
    one = lance_like.write_dataset({"a": [1, 2]}, uri)
    for found in (ds.take([3, 3, 8], []), ds._take_rows([3, 3, 8], []), one.take([1, 0, 1], [])):
        assert (found.num_rows, found.num_columns) == (3, 0)


@pytest.mark.parametrize("position", [-1, 10, 2**40, -(2**63), np.uint64(2**63), np.uint64(2**64 - 1)], ids=str)
def test_a_position_outside_is_an_error_of_three_kinds(ds, position):
    with pytest.raises(OutOfRange, match="10 rows") as caught:
        ds.take(np.array([0, position]) if isinstance(position, int) else np.array([0, position], np.uint64))
    assert isinstance(caught.value, (IndexError, ValueError))
    assert isinstance(caught.value, LanceLikeError)


def test_an_empty_table_has_no_position(uri):
    empty = lance_like.write_dataset(people(0), uri)
    with pytest.raises(OutOfRange):
        empty.take([0])
    with pytest.raises(NotFound):
        empty._take_rows([0])


@pytest.mark.parametrize(
    "positions",
    [3, 1.0, [1.0], [True], "abc", None, slice(0, 2), [[1], [2]], [2**70], ["1"], iter([1]), pa.array([1, None])],
    ids=repr,
)
def test_what_is_no_list_of_integers_is_refused(ds, positions):
    for take in (ds.take, ds._take_rows):
        with pytest.raises(InvalidInput, match="expected integers in a list"):
            take(positions)


def test_an_id_that_is_not_in_this_version_is_not_found(ds):
    for ids, says in (([3, 10, 11], "id 10 .nor 1 more"), ([-1], "id -1")):
        with pytest.raises(NotFound, match=says):
            ds._take_rows(ids)


def test_ids_stay_with_their_rows_when_positions_move(uri):
    ds = lance_like.write_dataset({"a": [10, 11]}, uri)
    ds.insert({"a": [20, 21]}, mode="overwrite")
    ds.insert({"a": [22]})
    assert ds.to_table(with_row_id=True).to_pydict() == {"a": [20, 21, 22], "_rowid": [2, 3, 4]}
    assert ds._take_rows([4, 2])["a"].to_pylist() == [22, 20]
    with pytest.raises(NotFound):
        ds._take_rows([0])
    old = ds.checkout_version(1)
    old.restore()
    old.insert({"a": [30]})
    assert old.to_table(with_row_id=True).to_pydict() == {"a": [10, 11, 30], "_rowid": [0, 1, 5]}


def test_dictionaries_that_differ_by_fragment_are_taken_together(uri):
    kind = pa.dictionary(pa.int8(), pa.string())
    ds = lance_like.write_dataset(pa.table({"d": pa.array(["a", "b", None], kind)}), uri)
    ds.insert(pa.table({"d": pa.array(["c", "a"], kind)}))
    assert ds.take([4, 3, 2, 1, 0])["d"].to_pylist() == ["a", "c", None, "b", "a"]
    assert ds.to_table(filter="d = 'a'").num_rows == 2


def test_rows_of_fragments_without_a_column_are_null(uri):
    ds = lance_like.write_dataset({"a": [1, 2]}, uri)
    ds.add_columns(pa.field("b", pa.struct([("x", pa.list_(pa.int8()))])))
    ds.insert([{"a": 3, "b": {"x": [7]}}])
    assert ds.take([2, 0], ["b", "a"]).to_pylist() == [{"b": {"x": [7]}, "a": 3}, {"b": None, "a": 1}]


def test_a_slice_is_the_rows_between_two_positions(uri):
    ds = lance_like.write_dataset({"a": range(10)}, uri, max_rows_per_file=3)
    ds.delete("a = 4")
    assert ds.slice(3, 6)["a"].to_pylist() == [3, 5, 6]
    assert ds.slice(7, 99, ["a"])["a"].to_pylist() == [8, 9]
    assert ds.slice(2, 2).num_rows == ds.slice(20, 30).num_rows == 0
    for start, end in ((-1, 2), (3, 2)):
        with pytest.raises(InvalidInput):
            ds.slice(start, end)


def test_neighbours_of_every_shape_are_the_rows_between_two_positions(uri):
    count = 40_000
    table = pa.table(
        {
            "number": pa.array([i % 1000 if i % 7 else None for i in range(count)], pa.int64()),
            "text": [f"text {i}" * (i % 4) for i in range(count)],
            "code": pa.array([f"code {i // 900}" for i in range(count)]).dictionary_encode(),
            "list": [[i] * (i % 3) for i in range(count)],
            "struct": [{"a": i, "b": str(i)} for i in range(count)],
            "flag": [i % 3 == 0 for i in range(count)],
        }
    )
    ds = lance_like.write_dataset(table, uri, max_rows_per_file=25_000)
    for start, end in ((0, 64), (100, 9000), (24_900, 25_100), (39_000, 40_000)):
        assert ds.take(np.arange(start, end)).to_pylist() == table.slice(start, end - start).to_pylist()


def test_a_sample_is_different_rows(uri):
    ds = lance_like.write_dataset({"a": range(100), "b": ["x"] * 100}, uri, max_rows_per_file=30)
    ds.delete("a < 10")
    assert sorted(ds.sample(90, ["a"])["a"].to_pylist()) == list(range(10, 100))
    some = ds.sample(40, randomize_order=False)
    assert some.column_names == ["a", "b"]
    assert some["a"].to_pylist() == sorted(set(some["a"].to_pylist()))
    assert len({tuple(ds.sample(5)["a"].to_pylist()) for _ in range(20)}) > 1
    for wrong in (-1, 91):
        with pytest.raises(InvalidInput):
            ds.sample(wrong)


def test_more_values_than_one_dictionary_numbers_are_taken_and_ordered_in_several_chunks(uri):
    kind = pa.dictionary(pa.int8(), pa.string())
    values = [f"v{i:03}" for i in range(400)]
    ds = lance_like.write_dataset({"d": pa.array(values[:100]).cast(kind)}, uri)
    for start in (100, 200, 300):
        ds.insert({"d": pa.array(values[start : start + 100]).cast(kind)})
    rows = [399, 0, *range(1, 399)]
    taken = ds.take(rows)["d"]
    assert (taken.to_pylist(), taken.type) == ([values[row] for row in rows], kind)
    ordered = ds.to_table(order_by=[lance_like.dataset.ColumnOrdering("d", ascending=False)])["d"]
    assert (ordered.to_pylist(), ordered.type) == (values[::-1], kind)
