"""Rows in the order of columns: DuckDB's order, stable, with and without a limit."""

from __future__ import annotations

import math
from decimal import Decimal
from functools import cmp_to_key
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from dataset_values import assert_same
from hypothesis import given
from hypothesis import strategies as st

import lance_like
from lance_like import LanceDataset
from lance_like.dataset import ColumnOrdering
from lance_like.errors import InvalidInput, NotFound
from lance_like.file.reader import FileReader
from lance_like.query import order

ROWS = 300


def mixed(rows: int) -> pa.Table:
    random = np.random.default_rng(3)

    def some(values: list[Any], kind: pa.DataType) -> pa.Array:
        return pa.array([values[i] for i in random.integers(0, len(values), rows)], kind)

    return pa.table(
        {
            "n": some([None, 1, 2, 3, -7], pa.int32()),
            "f": some([None, math.nan, 0.0, -0.0, math.inf, -1.5], pa.float64()),
            "h": some([None, math.nan, 0.5, -2.0], pa.float16()),
            "t": some([None, "", "a", "b", "é", "ab"], pa.string()),
            "v": some([None, "x", "a long text that is not inlined", "y"], pa.string_view()),
            "d": some(["red", "blue", None], pa.dictionary(pa.int8(), pa.string())),
            "c": some([None, Decimal("1.10"), Decimal("-3.00")], pa.decimal32(5, 2)),
            "b": some([None, True, False], pa.bool_()),
            "u": some([None, 1, 5], pa.duration("s")),
            "s": some([None, {"x": 1}, {"x": None}, {"x": 0}], pa.struct([("x", pa.uint8())])),
            "id": pa.array(range(rows)),
        }
    )


TABLE = mixed(ROWS)
KEYS = ["n", "f", "h", "t", "v", "d", "c", "b", "u", "s.x", "id"]


@pytest.fixture(scope="module")
def ds() -> LanceDataset:
    made = lance_like.write_dataset(TABLE, "memory://ordered", max_rows_per_file=40)
    made.delete("id % 11 = 4")
    return made


def value_of(row: dict[str, Any], path: str) -> Any:
    for name in path.split("."):
        row = None if row is None else row[name]
    return row


def in_order(rows: list[dict[str, Any]], orderings: list[ColumnOrdering]) -> list[int]:
    """The ids of rows in order, by a comparison written out."""

    def compare(left: dict[str, Any], right: dict[str, Any]) -> int:
        for one in orderings:
            a, b = value_of(left, one.column_name), value_of(right, one.column_name)
            if a is None or b is None:
                sign = (a is None) - (b is None)
                sign = -sign if one.nulls_first else sign
            else:
                nans = [isinstance(value, float) and math.isnan(value) for value in (a, b)]
                sign = nans[0] - nans[1] if any(nans) else (a > b) - (a < b)
                sign = sign if one.ascending else -sign
            if sign:
                return sign
        return 0

    return [row["id"] for row in sorted(rows, key=cmp_to_key(compare))]


orderings = st.lists(
    st.builds(ColumnOrdering, st.sampled_from(KEYS), st.booleans(), st.booleans()),
    min_size=1,
    max_size=3,
    unique_by=lambda one: one.column_name,
)


@pytest.mark.slow
@given(orderings, st.none() | st.integers(0, 120), st.integers(0, 50), st.sampled_from([None, "id > 70", "n = 2"]))
def test_rows_come_in_order(ds, asked, limit, offset, filter):
    kept = order._KEPT_ROWS
    order._KEPT_ROWS = 16  # so that rows are dropped on the way
    try:
        table = ds.to_table(["id"], filter, limit, offset, order_by=asked)
    finally:
        order._KEPT_ROWS = kept
    rows = ds.to_table(filter=filter).to_pylist()
    end = None if limit is None else offset + limit
    assert table["id"].to_pylist() == in_order(rows, asked)[offset:end]


@pytest.mark.parametrize("name", ["n", "f", "h", "t", "d", "c", "b"])
@pytest.mark.parametrize("ascending", [True, False])
def test_the_order_of_values_is_that_of_duckdb(ds, name, ascending):
    kind = pa.float32() if name == "h" else ds.schema.field(name).type
    column = pa.table({name: ds.to_table([name])[name].cast(kind)})
    way = "ASC" if ascending else "DESC"
    query = f"SELECT {name}::VARCHAR FROM rows ORDER BY {name} {way} NULLS LAST"
    expected = duckdb.from_arrow(column).query("rows", query).fetchall()
    ours = ds.to_table({"x": f"{name}::VARCHAR"}, order_by=[ColumnOrdering(name, ascending)])
    zeros = {"-0.0": "0.0"}
    assert [zeros.get(x, x) for x in ours["x"].to_pylist()] == [zeros.get(x, x) for (x,) in expected]


def test_all_reads_take_an_order(ds):
    expected = ds.to_table(order_by=["t", "id"])
    assert expected.schema == ds.schema
    expected = expected.drop_columns(["f", "h"])  # NaN is not equal to itself
    names = expected.column_names
    assert_same(pa.Table.from_batches(ds.to_batches(names, order_by=["t", "id"], batch_size=7)), expected)
    strict = ds.to_batches(order_by=["t"], batch_size=100, strict_batch_size=True)
    assert [len(batch) for batch in strict][:2] == [100] * 2
    assert_same(ds.head(5, columns=names, order_by=["t", "id"]), expected.slice(0, 5))
    assert ds.scanner(order_by=["t"], limit=5).count_rows() == 5
    fragment = ds.get_fragments()[2]
    assert fragment.to_table(["id"], order_by=["id"])["id"].to_pylist() == fragment.to_table(["id"])["id"].to_pylist()


def test_rows_may_be_ordered_by_what_is_not_in_the_answer(ds):
    newest = [ColumnOrdering("_rowaddr", ascending=False)]
    assert ds.to_table({"x": "id + 1"}, order_by=newest, limit=2)["x"].to_pylist() == [300, 299]
    assert ds.to_table({"x": "-id"}, order_by=["x"], limit=2)["x"].to_pylist() == [-299, -298]
    assert ds.to_table({"x": "-id"}, order_by=["b", "x"], limit=1, with_row_id=True).schema.names == ["x", "_rowid"]
    assert ds.to_table([], order_by=["id"], limit=7).num_rows == 7
    assert ds.to_table(["_rowoffset"], order_by=["_rowoffset"], offset=270)["_rowoffset"].to_pylist() == [270, 271, 272]


def test_deleted_rows_stand_in_order_too(ds):
    table = ds.to_table(["id"], order_by=["id"], limit=6, with_row_id=True, include_deleted_rows=True)
    assert table["id"].to_pylist() == [0, 1, 2, 3, 4, 5]
    assert table["_rowid"].to_pylist() == [0, 1, 2, 3, None, 5]


def test_only_fragments_that_may_hold_the_first_rows_are_read(tmp_path, monkeypatch):
    table = pa.table({"a": range(40_000), "b": ["x" * 50] * 40_000})
    ds = lance_like.write_dataset(table, tmp_path, max_rows_per_file=1_000)
    opened: list[Any] = []
    pages = FileReader.pages_of

    def noted(self: FileReader, columns: Any, kinds: Any):
        opened.append(self)
        return pages(self, columns, kinds)

    monkeypatch.setattr(FileReader, "pages_of", noted)
    first = ds.to_table(["b", "a"], limit=10, order_by=[ColumnOrdering("a", ascending=False)])
    assert first["a"].to_pylist() == list(range(39_999, 39_989, -1))
    assert len(set(map(id, opened))) == 1


@pytest.mark.parametrize(
    ("order_by", "error"),
    [
        ("a", InvalidInput),
        ([("n", "desc")], InvalidInput),
        (["nope"], NotFound),
        (["s"], InvalidInput),
        ([ColumnOrdering("s.nope")], NotFound),
    ],
    ids=str,
)
def test_a_wrong_order_is_refused_before_anything_is_read(ds, order_by, error):
    with pytest.raises(error):
        ds.scanner(order_by=order_by)
