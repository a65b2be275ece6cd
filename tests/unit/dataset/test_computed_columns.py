"""Columns that a read computes by SQL, and those that say where a row is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import lance_like
from lance_like import LanceDataset
from lance_like.errors import InvalidInput, NotFound
from lance_like.file.reader import FileReader

TABLE = pa.table(
    {
        "a": pa.array([3, 1, None, 2], pa.int64()),
        "st": pa.array([{"a": 1, "b": {"c": 5}}, {"a": 2, "b": {"c": 6}}, None, {"a": 4, "b": None}]),
        "s": ["x", "y", None, "z"],
        "wide": pa.array([[1, 2]] * 4, pa.list_(pa.float32(), 2)),
        "color": pa.array(["red", "blue", "red", None]).dictionary_encode(),
    }
)
ASKED: list[tuple[dict[str, str], dict[str, list[Any]]]] = [
    ({"x": "a * 2", "y": "st.a"}, {"x": [6, 2, None, 4], "y": [1, 2, None, 4]}),
    ({"k": "'c'", "n": "1 + 1"}, {"k": ["c"] * 4, "n": [2] * 4}),
    ({"k": "'c'", "s": "s"}, {"k": ["c"] * 4, "s": ["x", "y", None, "z"]}),
    ({"id": "_rowid", "next": "_rowid + 1"}, {"id": [0, 1, 2, 3], "next": [1, 2, 3, 4]}),
    ({"at": "_rowoffset", "half": "_rowoffset // 2"}, {"at": [0, 1, 2, 3], "half": [0, 0, 1, 1]}),
    ({"deep": "st.b.c + st.a"}, {"deep": [6, 8, None, None]}),
    ({"up": "UPPER(s) || a::VARCHAR", "a": "s"}, {"up": ["X3", "Y1", None, "Z2"], "a": ["x", "y", None, "z"]}),
    (
        {"color": "color", "warm": "color = 'red'"},
        {"color": ["red", "blue", "red", None], "warm": [True, False, True, None]},
    ),
    ({"a": "a + 1", "b": "a + 2"}, {"a": [4, 2, None, 3], "b": [5, 3, None, 4]}),
]


@pytest.fixture(scope="module")
def ds() -> LanceDataset:
    return lance_like.write_dataset(TABLE, "memory://computed", max_rows_per_file=3)


@pytest.mark.parametrize(("columns", "expected"), ASKED, ids=lambda value: ",".join(value))
def test_every_read_computes_the_same_columns(
    ds: LanceDataset, columns: dict[str, str], expected: dict[str, list[Any]]
):
    table = ds.to_table(columns)
    assert table.to_pydict() == expected
    assert ds.scanner(columns).projected_schema == table.schema
    assert pa.Table.from_batches(ds.to_batches(columns, batch_size=1)) == table
    assert ds.to_table(columns, filter="a > 99").schema == table.schema
    backwards = {name: values[::-1] for name, values in expected.items()}
    assert ds.take([3, 2, 1, 0], columns).to_pydict() == backwards
    assert ds._take_rows([3, 2, 1, 0], columns).to_pydict() == backwards
    assert ds.take([], columns).schema == table.schema
    assert ds.head(2, columns=columns).to_pydict() == {name: values[:2] for name, values in expected.items()}
    assert ds.slice(1, 3, columns).to_pydict() == {name: values[1:3] for name, values in expected.items()}
    assert ds.sample(4, columns, randomize_order=False) == table
    last = ds.get_fragments()[1]
    assert last.to_table(columns) == last.take([0], columns) == table.slice(3)


def test_a_column_that_is_only_named_is_read_as_it_is(ds: LanceDataset) -> None:
    columns = {"c": "color", "w": '"WIDE"', "all": "st", "deep": "st.b.c", "a": "_rowaddr"}
    kinds = [TABLE.schema.field(name).type for name in ("color", "wide", "st")]
    table = ds.to_table(columns)
    assert table.schema.types == [*kinds, pa.int64(), pa.uint64()]
    assert table["all"].to_pylist() == TABLE["st"].to_pylist()


def test_row_ids_follow_computed_columns(ds: LanceDataset) -> None:
    table = ds.to_table({"x": "a"}, filter="a < 3", with_row_id=True, with_row_address=True)
    assert table.to_pydict() == {"x": [1, 2], "_rowid": [1, 3], "_rowaddr": [1, 1 << 32]}
    assert ds.to_table({}, with_row_id=True).to_pydict() == {"_rowid": [0, 1, 2, 3]}
    assert ds.to_table({}).num_rows == ds.take([2, 2, 2, 2], {}).num_rows == 4


def test_only_what_expressions_read_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ds = lance_like.write_dataset(TABLE.drop_columns(["color"]), tmp_path)
    opened: list[int] = []
    pages_of = FileReader.pages_of

    def noted(self: FileReader, columns: Sequence[int], kinds: Sequence[pa.DataType]):
        opened.extend(columns)
        return pages_of(self, columns, kinds)

    monkeypatch.setattr(FileReader, "pages_of", noted)
    assert ds.to_table({"c": "1"}).num_rows == 4
    assert opened == []
    ds.to_table({"deep": "st.b.c + 1"})
    # The columns of the file: a, st, st.a, st.b, st.b.c, s, wide.
    assert sorted(opened) == [1, 3, 4]


def test_positions_count_live_rows(ds: LanceDataset) -> None:
    ds = lance_like.write_dataset(pa.table({"a": range(400)}), "memory://positions", max_rows_per_file=10)
    ds.delete("a % 10 = 3 or a between 100 and 119")
    expected = list(range(len(ds)))
    assert ds.to_table(["_rowoffset"])["_rowoffset"].to_pylist() == expected
    found = ds.to_table(["a", "_rowoffset"], filter="a % 7 = 0")
    assert ds.take(found["_rowoffset"], ["a"]) == found.select(["a"]).combine_chunks()
    assert ds.take([5, 300, 5], ["_rowoffset"])["_rowoffset"].to_pylist() == [5, 300, 5]
    assert ds.get_fragments()[-1].to_table(["_rowoffset"])["_rowoffset"].to_pylist() == expected[-9:]


@pytest.mark.parametrize(
    ("columns", "error"),
    [
        ({"x": "nope + 1"}, NotFound),
        ({"x": "nope"}, NotFound),
        ({"x": "sum(a)"}, InvalidInput),
        ({"x": "a as b"}, InvalidInput),
        ({"x": "a +"}, InvalidInput),
        ({"x": ["a"]}, InvalidInput),
        ({1: "a"}, InvalidInput),
        (["_rowoffset", "_rowoffset"], InvalidInput),
        (["_rowoffset", "nope"], NotFound),
    ],
    ids=str,
)
def test_wrong_columns_are_refused_before_anything_is_read(
    ds: LanceDataset, columns: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        ds.scanner(columns)
    with pytest.raises(error):
        ds.take([0], columns)


def test_a_filter_on_the_position_says_what_to_use(ds: LanceDataset) -> None:
    with pytest.raises(InvalidInput, match="take, slice, or limit"):
        ds.to_table(filter="_rowoffset < 3")
