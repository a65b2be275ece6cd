"""`merge`: columns of other data joined in by a key."""

from __future__ import annotations

import uuid

import pyarrow as pa
import pytest
from dataset_values import three_fragments
from hypothesis import given
from hypothesis import strategies as st

import lance_like
from lance_like.dataset import merge as merging
from lance_like.errors import IncompatibleChange, InvalidInput, NotFound


@pytest.fixture
def ds(uri):
    return three_fragments(uri)


def test_rows_get_the_columns_of_the_row_with_their_key_or_nulls(ds):
    data = pa.table({"k": pa.array([9, 0, 77, 4], pa.int32()), "y": ["j", "a", "?", None], "z": [[9], [], [7], None]})
    ds.delete("i = 5")
    assert ds.merge(data, "i", "k") is None
    assert ds.schema.names == ["i", "s", "t", "y", "z"]
    found = ds.to_table(["i", "y", "z"]).to_pylist()
    expected = {0: ("a", []), 9: ("j", [9]), 4: (None, None)}
    assert [(row["y"], row["z"]) for row in found] == [expected.get(i, (None, None)) for i in range(10) if i != 5]
    assert [len(fragment.data_files()) for fragment in ds.get_fragments()] == [2, 2, 2]


@pytest.mark.parametrize("source", ["reader", "dicts", "dataset", "polars"])
def test_the_data_may_be_of_any_kind(ds, source):
    rows = [{"i": 3, "y": 30}, {"i": 1, "y": 10}]
    table = pa.Table.from_pylist(rows)
    if source == "polars":
        pl = pytest.importorskip("polars")

        data = pl.from_arrow(table)
    else:
        data = {
            "reader": lambda: table.to_reader(1),
            "dicts": lambda: rows,
            "dataset": lambda: lance_like.write_dataset(table, f"memory://{uuid.uuid4().hex}"),
        }[source]()
    ds.merge(data, "i")
    assert ds.to_table(["y"])["y"].to_pylist() == [None, 10, None, 30] + [None] * 6


def test_keys_may_be_texts_paths_row_ids_and_addresses(ds):
    ds.merge({"t": ["t4", None], "a": [1, 2]}, "t")
    ds.merge({"z": ["7"], "b": [1]}, "s.y.z", "z")
    ds.merge({"_rowid": pa.array([2], pa.uint64()), "c": [1]}, "_rowid")
    ds.merge({"where": [1 << 32], "d": [1]}, "_rowaddr", "where")
    found = ds.to_table(["a", "b", "c", "d"]).to_pydict()
    assert {name: [i for i, value in enumerate(values) if value] for name, values in found.items()} == {
        "a": [4],
        "b": [7],
        "c": [2],
        "d": [4],
    }


def test_fields_are_joined_into_structs_and_stay_null_where_the_struct_is(uri):
    rows = [{"i": 1, "s": None}, {"i": 2, "s": {"a": 5}}]
    ds = lance_like.write_dataset(pa.Table.from_pylist(rows), uri)
    ds.merge([{"i": 1, "s": {"x": 1}}, {"i": 2, "s": {"x": 2}}], "i")
    assert ds.to_table(["s"])["s"].to_pylist() == [None, {"a": 5, "x": 2}]


def test_a_source_larger_than_memory_is_kept_in_files(ds, monkeypatch):
    monkeypatch.setattr(merging, "_HELD_NBYTES", 10)
    batches = [pa.record_batch({"i": [i], "y": [i * 10]}) for i in range(9, -1, -1)]
    ds.merge(iter(batches), "i")
    assert ds.to_table(["y"])["y"].to_pylist() == [i * 10 for i in range(10)]


@pytest.mark.parametrize(
    ("data", "options", "kind", "says"),
    [
        (pa.table({"i": [1, 1], "y": [1, 2]}), {}, InvalidInput, "i=1 stands twice"),
        (pa.table({"i": [1], "t": ["x"]}), {}, InvalidInput, "two columns 't'"),
        (pa.table({"i": [1]}), {}, InvalidInput, "no column but the key"),
        (pa.table({"y": [1]}), {}, InvalidInput, "lacks the key column 'i'"),
        (pa.table({"i": [1], "y": [1]}), {"left_on": "q"}, NotFound, "'q'"),
        (pa.table({"i": ["x"], "y": [1]}), {}, InvalidInput, "'i' of type string"),
        (pa.table({"s": [{"x": 1}], "y": [1]}), {"left_on": "s"}, InvalidInput, "'s'"),
        (
            pa.table(
                {"i": pa.array([1]), "y": pa.array([1])},
                pa.schema([("i", pa.int64()), pa.field("y", pa.int64(), False)]),
            ),
            {},
            InvalidInput,
            "'y' may not be null",
        ),
    ],
    ids=["twice", "taken", "nothing", "no key", "unknown", "other type", "struct", "not null"],
)
def test_a_join_that_cannot_be_changes_nothing(ds, data, options, kind, says):
    left_on = options.get("left_on", "i")
    right_on = "i" if left_on == "q" else None
    with pytest.raises(kind, match=says):
        ds.merge(data, left_on, right_on)
    assert ds.latest_version == 1


def test_a_table_without_rows_gets_the_columns(uri):
    ds = lance_like.write_dataset(pa.table({"i": pa.array([], pa.int64())}), uri)
    ds.merge({"i": [1], "y": ["a"]}, "i")
    ds.insert([{"i": 2, "y": "b"}])
    assert ds.to_table().to_pylist() == [{"i": 2, "y": "b"}]


def test_a_join_covers_rows_that_others_bring_and_stops_when_the_key_has_gone(ds, uri):
    other = lance_like.dataset(uri)
    other.insert([{"i": 50}])
    other.update({"i": "60"}, where="i = 3")
    other.alter_columns({"path": "i", "name": "key"})
    ds.merge({"i": [50, 60, 3, 0], "y": [1, 2, 3, 4]}, "i")
    found = ds.to_table(["key", "y"]).to_pydict()
    assert {key: y for key, y in zip(*found.values(), strict=True) if y} == {50: 1, 60: 2, 0: 4}
    other.checkout_latest()
    other.drop_columns(["key"])
    with pytest.raises(IncompatibleChange):
        ds.merge({"key": [1], "q": [1]}, "key")


KEYS = st.one_of(st.none(), st.integers(0, 12))


@given(st.lists(KEYS, min_size=1, max_size=40), st.lists(st.integers(0, 12), unique=True, max_size=13))
def test_a_join_is_the_left_join_of_arrow(left, right):
    table = pa.table({"k": pa.array(left, pa.int64()), "row": range(len(left))})
    data = pa.table({"k": pa.array(right, pa.int64()), "y": pa.array([f"y{key}" for key in right], pa.string())})
    ds = lance_like.write_dataset(table, f"memory://{uuid.uuid4().hex}", max_rows_per_file=9)
    ds.merge(data, "k")
    expected = table.join(data, "k", join_type="left outer").sort_by("row").select(["k", "row", "y"])
    assert ds.to_table().to_pydict() == expected.to_pydict()
