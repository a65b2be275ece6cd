"""New fields in structs that the table has: by SQL, function, stream or as nulls; and dropping them."""

from __future__ import annotations

import pyarrow as pa
import pytest

import lance_like
from lance_like.errors import Conflict, IncompatibleChange, InvalidInput, NotFound

INNER = pa.struct([("c", pa.int32())])
SCHEMA = pa.schema([("i", pa.int64()), ("s", pa.struct([("a", pa.int32()), ("b", INNER)])), ("s.q", pa.int8())])
# s: null, b null, neither; with and without deleted rows around.
ROWS = [{"i": i, "s": [None, {"a": i, "b": None}, {"a": i, "b": {"c": i}}][i % 3], "s.q": i} for i in range(12)]


@pytest.fixture(params=["all rows", "some deleted"])
def ds(request, uri):
    made = lance_like.write_dataset(pa.Table.from_pylist(ROWS, SCHEMA), uri, max_rows_per_file=5)
    if request.param == "some deleted":
        made.delete("i in (0, 4, 5, 11)")
    return made


def live(ds) -> list[dict]:
    gone = (0, 4, 5, 11) if ds.count_rows() < 12 else ()
    return [row for row in ROWS if row["i"] not in gone]


def with_field(row: dict, value: object) -> dict | None:
    return None if row["s"] is None else {**row["s"], "x": value}


@pytest.mark.parametrize("kind", ["sql", "function", "dotted function", "stream", "quoted"])
def test_a_field_is_added_to_a_struct_and_null_where_the_struct_is(ds, kind):
    field = pa.struct([("x", pa.int64())])

    def nested(values: list[int]) -> pa.Table:
        return pa.table({"s": pa.array([{"x": value} for value in values], field)})

    added = {
        "sql": lambda: {"s.x": "i + 1"},
        "quoted": lambda: {"`s`.`x`": "i + 1"},
        "function": lambda: lambda batch: nested([i + 1 for i in batch["i"].to_pylist()]),
        "dotted function": lambda: lambda batch: {"s.x": [i + 1 for i in batch["i"].to_pylist()]},
        "stream": lambda: nested([row["i"] + 1 for row in live(ds)]),
    }
    expected = [with_field(row, row["i"] + 1) for row in live(ds)]
    ds.add_columns(added[kind]())
    assert ds.schema.field("s").type == pa.struct([("a", pa.int32()), ("b", INNER), ("x", pa.int64())])
    assert ds.to_table(["s"])["s"].to_pylist() == expected
    assert ds.to_table(["s.x"])["s.x"].to_pylist() == [row and row["x"] for row in expected]
    assert ds.count_rows("s.x is not null") == sum(row is not None for row in expected)
    assert ds.to_table(["i", "s.q"]).to_pylist() == [{"i": row["i"], "s.q": row["s.q"]} for row in live(ds)]
    assert [len(fragment.data_files()) for fragment in ds.get_fragments()] == [2, 2, 2][: len(ds.get_fragments())]


def test_fields_at_several_depths_and_the_top_are_added_at_once(ds):
    ds.add_columns({"s.b.d": "i", "top": "i", "s.n": "{'m': i}", "no.struct": "i"})
    kind = pa.struct(
        [
            ("a", pa.int32()),
            ("b", pa.struct([("c", pa.int32()), ("d", pa.int64())])),
            ("n", pa.struct([("m", pa.int64())])),
        ]
    )
    assert ds.schema.field("s").type == kind
    assert ds.schema.names == ["i", "s", "s.q", "top", "no.struct"]
    for row, made in zip(live(ds), ds.to_table().to_pylist(), strict=True):
        below = row["s"] and row["s"]["b"] and {**row["s"]["b"], "d": row["i"]}
        assert made["s"] == (row["s"] and {**row["s"], "b": below, "n": {"m": row["i"]}})
        assert (made["top"], made["no.struct"]) == (row["i"], row["i"])


def test_null_fields_go_into_structs_and_take_values_from_later_rows(ds):
    inner = pa.struct([pa.field("d", pa.int8()), pa.field("e", pa.struct([("f", pa.string())]))])
    ds.add_columns(pa.schema([("s", pa.struct([("b", inner)])), ("s.x", pa.int8())]))
    assert [field.name for field in ds.schema.field("s").type] == ["a", "b", "x"]
    rows = ds.to_table(["s"])["s"].to_pylist()
    assert rows == [
        row["s"] and {**row["s"], "b": row["s"]["b"] and {**row["s"]["b"], "d": None, "e": None}, "x": None}
        for row in live(ds)
    ]
    value = {"a": 1, "b": {"c": 2, "d": 3, "e": {"f": "4"}}, "x": 5}
    ds.insert([{"i": 99, "s": value}])
    assert ds.to_table(["s"], filter="i = 99")["s"].to_pylist() == [value]


def test_a_field_that_may_not_be_null_is_checked_where_its_struct_is_not(ds):
    field = pa.field("x", pa.int64(), nullable=False)

    def given(values: list[int | None]) -> pa.Table:
        return pa.table({"s.x": pa.array(values, pa.int64())}, pa.schema([field.with_name("s.x")]))

    rows = live(ds)
    with pytest.raises(InvalidInput, match=r"'s\.x' may not be null"):
        ds.add_columns(given([None] * len(rows)))
    ds.add_columns(given([None if row["s"] is None else row["i"] for row in rows]))
    assert ds.schema.field("s").type.field("x") == field
    assert ds.to_table(["s"])["s"].to_pylist() == [with_field(row, row["i"]) for row in rows]
    with pytest.raises(InvalidInput, match=r"'s\.w' is not nullable"):
        ds.add_columns(pa.field("s.w", pa.int8(), nullable=False))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"s.a": "1"}, r"two columns 's\.a'"),
        ({"s": "1"}, "two columns 's'"),
        (pa.field("s", pa.struct([("a", pa.int32())])), r"two columns 's\.a'"),
        (pa.field("s", pa.struct([])), "no new column"),
        (pa.schema([("s.x", pa.int8()), ("s", pa.struct([("x", pa.int8())]))]), r"two columns 's\.x'"),
        (pa.field("s", pa.struct([("b", pa.struct([("c", pa.int8())]))])), r"two columns 's\.b\.c'"),
        (pa.field("i", pa.struct([("x", pa.int8())])), "two columns 'i'"),
    ],
    ids=str,
)
def test_a_field_that_is_there_is_refused(ds, given, says):
    version = ds.version
    with pytest.raises(InvalidInput, match=says):
        ds.add_columns(given)
    assert ds.latest_version == version


def test_a_field_follows_changes_of_its_struct_by_other_writers(ds, uri):
    ds.delete("i >= 10")
    mine = lance_like.dataset(uri)
    calls = []

    def count(batch: pa.RecordBatch) -> dict[str, pa.Array]:
        calls.append(len(batch))
        return {"s.x": batch["i"]}

    other = lance_like.dataset(uri)
    other.update({"s": "null"}, where="i = 2")
    other.insert([{"i": 50, "s": {"a": 1, "b": None}}])
    other.alter_columns({"path": "s", "name": "t"})
    mine.add_columns(count, read_columns=["i"])
    found = {row["i"]: row["t"] for row in mine.to_table().to_pylist()}
    assert found[2] is None
    assert found[1]["x"] == 1
    assert found[50] == {"a": 1, "b": None, "x": 50}
    other.checkout_latest()
    stale = lance_like.dataset(uri)
    other.drop_columns(["t"])
    with pytest.raises(IncompatibleChange):
        stale.add_columns({"t.y": "i"})


def test_a_stream_for_a_struct_follows_changes_of_other_columns_only(ds, uri):
    values = pa.table({"s.x": [row["i"] for row in live(ds)]})
    lance_like.dataset(uri).add_columns({"other": "i"})
    lance_like.dataset(uri).delete("i = 2")
    ds.add_columns(values)
    assert all(row["s"] is None or row["s"]["x"] == row["i"] == row["other"] for row in ds.to_table().to_pylist())
    assert ds.count_rows("s.x is null") == ds.count_rows("s is null")
    more = pa.table({"s.y": list(range(ds.count_rows()))})
    lance_like.dataset(uri).update({"s": "null"}, where="i = 8")
    with pytest.raises(Conflict, match="pass the stream again"):
        ds.add_columns(more)


def test_nested_fields_are_dropped_down_to_the_last(ds):
    ds.drop_columns(["s.b", "i", "s.q"])
    assert ds.schema == pa.schema([("s", pa.struct([("a", pa.int32())]))])
    assert ds.to_table()["s"].to_pylist() == [row["s"] and {"a": row["s"]["a"]} for row in live(ds)]
    ds.add_columns({"s.b": "s.a + 1"})
    assert ds.to_table()["s"].to_pylist() == [
        row["s"] and {"a": row["s"]["a"], "b": row["s"]["a"] + 1} for row in live(ds)
    ]
    ds.drop_columns(["s.a"])
    assert ds.count_rows() == len(live(ds))
    with pytest.raises(InvalidInput, match="no field left"):
        ds.drop_columns(["s"])
    with pytest.raises(NotFound):
        ds.drop_columns(["s.a"])


def test_a_table_may_lose_every_column_that_a_file_holds(ds):
    ds.add_columns(pa.field("n", pa.int8()))
    ds.drop_columns(["i", "s", "s.q"])
    assert ds.to_table().to_pylist() == [{"n": None}] * len(live(ds))
    assert ds.take([1]).to_pylist() == [{"n": None}]
    ds.insert([{"n": 5}])
    assert ds.to_table(filter="n is not null").to_pylist() == [{"n": 5}]
    ds.add_columns({"m": "coalesce(n, 0) + 1"})
    assert ds.to_table(["m"])["m"].to_pylist() == [1] * len(live(ds)) + [6]


def test_a_compaction_keeps_the_fields_of_structs(ds):
    ds.add_columns({"s.x": "i", "s.b.d": "i * 2"})
    ds.alter_columns({"path": "s.a", "data_type": pa.int64()})
    before = ds.to_table()
    ds.optimize.compact_files()
    assert len(ds.get_fragments()) == 1
    assert len(ds.get_fragments()[0].data_files()) == 1
    assert ds.to_table().equals(before)
