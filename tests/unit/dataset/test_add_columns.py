"""New columns by SQL, function, stream or as nulls, over several fragments; dropping and renaming."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from dataset_values import assert_same, people, three_fragments

import lance_like
from lance_like.errors import Conflict, IncompatibleChange, InvalidInput, NotFound, Unsupported
from lance_like.query import engine_duckdb


@pytest.fixture
def ds(uri):
    return three_fragments(uri)


def held(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


# SQL


@pytest.mark.parametrize(
    ("text", "kind", "values"),
    [
        ("i * 2", pa.int64(), [2 * i for i in range(10)]),
        ("upper(t)", pa.string(), [None if i % 3 == 0 else f"T{i}" for i in range(10)]),
        ("s.y.z || '!'", pa.string(), [f"{i}!" for i in range(10)]),
        ("7", pa.int32(), [7] * 10),
        ("case when i > 4 then i end", pa.int64(), [None] * 5 + [5, 6, 7, 8, 9]),
        ("[i, 1]", None, [[i, 1] for i in range(10)]),
        ("{'a': i}", None, [{"a": i} for i in range(10)]),
        ("i > 3", pa.bool_(), [i > 3 for i in range(10)]),
        ("date '2020-01-01' + i::int", pa.date32(), [dt.date(2020, 1, 1 + i) for i in range(10)]),
        ("null", pa.null() if duckdb.__version__ >= "2" else pa.int32(), [None] * 10),
    ],
)
def test_an_sql_expression_makes_a_column_in_every_fragment(ds, text, kind, values):
    before = ds.to_table()
    ds.add_columns({"new": text})
    assert ds.to_table(["new"])["new"].to_pylist() == values
    assert ds.take([9, 0, 4], ["new"])["new"].to_pylist() == [values[9], values[0], values[4]]
    assert ds.to_table(["i", "s", "t"]).equals(before)
    assert ds.schema.names == ["i", "s", "t", "new"]
    if kind is not None:
        assert ds.schema.field("new").type == kind


@pytest.mark.parametrize("batch_size", [None, 100])
def test_small_fragments_are_computed_together(uri, monkeypatch, batch_size):
    ds = lance_like.write_dataset(people(160), uri, max_rows_per_file=4)
    ds.delete("i in (0, 5, 6, 7, 159)")
    rows: list[int] = []
    real = engine_duckdb.evaluate
    monkeypatch.setattr(engine_duckdb, "evaluate", lambda e, batch: (rows.append(batch.num_rows), real(e, batch))[1])
    ds.add_columns({"new": "reverse(t)"}, batch_size=batch_size)
    assert sum(rows) == 155
    assert len(rows) < 10  # one to learn the type, and far fewer than the 40 fragments
    assert max(rows) <= (batch_size or 160)
    assert ds.to_table()["new"].to_pylist() == [t and t[::-1] for t in ds.to_table()["t"].to_pylist()]
    assert [len(fragment.to_table()) for fragment in ds.get_fragments()][:2] == [3, 1]


def test_several_expressions_are_columns_in_their_order(ds):
    ds.add_columns({"b": "i + 1", "a": "i + 2"})
    assert ds.schema.names == ["i", "s", "t", "b", "a"]
    assert ds.to_table(["a", "b"], limit=1).to_pydict() == {"a": [2], "b": [1]}


@pytest.mark.parametrize(
    ("expressions", "kind", "says"),
    [
        ({"n": "nope + 1"}, NotFound, "'nope'"),
        ({"n": "i +"}, InvalidInput, "syntax error"),
        ({"n": ""}, InvalidInput, "empty"),
        ({"n": "sum(i)"}, InvalidInput, "sum"),
        ({"n": "cast(t as integer)"}, InvalidInput, "t1"),
        ({"n": "unnest([1, 2])"}, InvalidInput, "20 rows|unnest|UNNEST|4 rows gave 8|0 rows"),
        ({"i": "1"}, InvalidInput, "two columns 'i'"),
        ({"_rowid": "1"}, InvalidInput, "reserved"),
        ({}, InvalidInput, "no"),
        ({"n": 5}, InvalidInput, "does not make a table"),
    ],
    ids=str,
)
def test_an_expression_that_makes_no_column_changes_nothing(ds, expressions, kind, says):
    with pytest.raises(kind, match=says):
        ds.add_columns(expressions)
    assert ds.latest_version == 1
    assert_same(ds.to_table(), people(10))


# Functions


FUNCTIONS = {
    "batch": lambda batch: pa.record_batch({"n": pc.add(batch["i"], 1)}),
    "table": lambda batch: pa.table({"n": pc.add(batch["i"], 1)}),
    "chunked table": lambda batch: pa.concat_tables(
        [pa.table({"n": pc.add(batch["i"], 1)}).slice(0, 1), pa.table({"n": pc.add(batch["i"], 1)}).slice(1)]
    ),
    "dict of arrays": lambda batch: {"n": pc.add(batch["i"], 1)},
    "dict of numpy": lambda batch: {"n": batch["i"].to_numpy(zero_copy_only=False) + 1},
}


@pytest.mark.parametrize("kind", FUNCTIONS)
def test_a_function_may_answer_with_any_kind_of_data(ds, kind):
    ds.add_columns(FUNCTIONS[kind])
    assert ds.to_table(["n"])["n"].to_pylist() == list(range(1, 11))


def test_a_function_gets_the_columns_and_batches_asked_for(ds):
    seen = []

    def sizes(batch: pa.RecordBatch) -> pa.RecordBatch:
        seen.append(batch.schema.names)
        return pa.record_batch({"n": pa.array([len(batch)] * len(batch), pa.int64())})

    ds.add_columns(sizes, read_columns=["s.x", "i"], batch_size=3)
    assert all(names == ["s.x", "i"] for names in seen)
    assert ds.to_table(["n"])["n"].to_pylist() == [3, 3, 3, 1, 3, 3, 3, 1, 2, 2]


def test_the_first_answer_of_a_function_says_its_type_unless_it_is_told(ds):
    def lists(batch: pa.RecordBatch) -> dict[str, list[int]]:
        return {"n": [i + 1 for i in batch["i"].to_pylist()]}

    ds.add_columns(lists)
    assert ds.schema.field("n").type == pa.int64()
    ds.drop_columns(["n"])
    ds.add_columns(lists, reader_schema=pa.schema([("n", pa.int16())]))
    assert ds.schema.field("n").type == pa.int16()
    assert ds.to_table(["n"])["n"].to_pylist() == list(range(1, 11))


@pytest.mark.parametrize(
    ("function", "kind", "says"),
    [
        (lambda batch: batch.slice(1).select(["i"]).rename_columns(["n"]), InvalidInput, "3 rows for a batch of 4"),
        (lambda batch: pa.table({"n": [1]}), InvalidInput, "1 rows for a batch of 4"),
        (lambda batch: None, InvalidInput, "NoneType"),
        (lambda batch: {"i": batch["i"]}, InvalidInput, "two columns 'i'"),
        (lambda batch: {"n": ["x", "y"] if len(batch) == 2 else batch["i"]}, InvalidInput, "before it gave"),
        (lambda batch: {"n": [1.5, 2] if len(batch) == 2 else batch["i"]}, InvalidInput, "before it gave"),
        (lambda batch: {"n": batch["s"], "more" if len(batch) == 2 else "m": batch["i"]}, InvalidInput, "'more'"),
        (lambda batch: 1 // 0, ZeroDivisionError, "zero"),
    ],
    ids=["short", "fixed", "nothing", "taken", "other type later", "fractions later", "other name later", "raises"],
)
def test_a_function_that_makes_no_column_changes_nothing(ds, function, kind, says):
    with pytest.raises(kind, match=says):
        ds.add_columns(function)
    assert ds.latest_version == 1
    assert_same(ds.to_table(), people(10))


@pytest.mark.parametrize("batch_size", [-1, 0, 2.5])
@pytest.mark.parametrize("transforms", [{"n": "i + 1"}, lambda batch: batch])
def test_a_batch_of_no_rows_is_refused(ds, transforms, batch_size):
    with pytest.raises(InvalidInput, match="expected an integer of at least 1"):
        ds.add_columns(transforms, batch_size=batch_size)


def test_an_unknown_column_to_read_is_not_found(ds):
    with pytest.raises(NotFound, match="'zz'"):
        ds.add_columns(lambda batch: batch, read_columns=["zz"])


# Streams


STREAMS = {
    "table": lambda: pa.table({"n": range(10)}),
    "reader cut elsewhere": lambda: pa.table({"n": range(10)}).to_reader(3),
    "generator": lambda: (pa.record_batch({"n": [i]}) for i in range(10)),
    "dict of columns": lambda: {"n": list(range(10))},
    "list of dicts": lambda: [{"n": i} for i in range(10)],
}


@pytest.mark.parametrize("kind", STREAMS)
def test_a_stream_gives_values_row_for_row(ds, kind):
    ds.add_columns(STREAMS[kind]())
    assert ds.to_table(["n", "i"]).to_pydict() == {"n": list(range(10)), "i": list(range(10))}
    assert [f.physical_rows for f in ds.get_fragments()] == [4, 4, 2]
    assert [len(f.data_files()) for f in ds.get_fragments()] == [2, 2, 2]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (0, "all rows in dataset: 4 lack"),
        (3, "1 lack"),
        (4, "4 lack"),
        (9, "1 lack"),
        (11, "more values than expected for dataset of 10 rows"),
    ],
)
def test_a_stream_of_other_length_is_refused(ds, rows, says):
    with pytest.raises(InvalidInput, match=says):
        ds.add_columns(pa.table({"n": pa.array(range(rows), pa.int64())}))
    assert ds.latest_version == 1


def test_a_stream_is_cast_to_a_schema(ds):
    ds.add_columns(iter([pa.record_batch({"n": range(10)})]), reader_schema=pa.schema([("n", pa.int8())]))
    assert ds.schema.field("n").type == pa.int8()


def test_a_column_that_may_not_be_null_is_checked(ds):
    schema = pa.schema([pa.field("n", pa.int64(), nullable=False)])
    with pytest.raises(InvalidInput, match="'n' may not be null"):
        ds.add_columns(pa.table([pa.array([1] * 9 + [None])], schema=schema))
    ds.add_columns(pa.table([pa.array([1] * 10)], schema=schema))
    assert not ds.schema.field("n").nullable
    with pytest.raises(InvalidInput, match="lacks 'n'"):
        ds.insert({"i": [5]})


# Nulls


@pytest.mark.parametrize(
    "given",
    [
        pa.field("n", pa.int32()),
        pa.schema([("n", pa.int32()), ("m", pa.list_(pa.string()))]),
        [pa.field("n", pa.struct([("a", pa.string())]))],
    ],
    ids=["field", "schema", "list"],
)
def test_fields_start_as_null_and_take_values_from_later_rows(ds, given, uri):
    ds.add_columns(given)
    assert ds.to_table(["n"])["n"].to_pylist() == [None] * 10
    assert ds.count_rows("n is null") == 10
    kind = ds.schema.field("n").type
    value = {"a": "x"} if pa.types.is_struct(kind) else 5
    ds.insert([{"n": value}])
    assert ds.take([10, 0], ["n"])["n"].to_pylist() == [value, None]
    assert lance_like.dataset(uri).to_table(["n"], filter="n is not null")["n"].to_pylist() == [value]


def test_fields_as_null_write_no_data_file(tmp_path):
    ds = three_fragments(str(tmp_path))
    files = set(held(tmp_path / "data"))
    ds.add_columns(pa.field("n", pa.int32()))
    ds.add_columns({"m": "CAST(NULL AS int)", "v": "cast(null as float[4])"})
    assert set(held(tmp_path / "data")) == files
    assert ds.schema.field("m").type == pa.int32() and pa.types.is_fixed_size_list(ds.schema.field("v").type)
    assert ds.to_table(["m", "v"]).to_pydict() == {"m": [None] * 10, "v": [None] * 10}
    ds.add_columns({"null": "null", "i2": "nullif(i, 3)"})
    assert len(held(tmp_path / "data")) > len(files)
    assert ds.to_table(["null", "i2"], limit=1).to_pylist() == [{"null": None, "i2": 0}]


@pytest.mark.parametrize(
    ("field", "kind", "says"),
    [
        (pa.field("n", pa.int8(), False), InvalidInput, "not nullable"),
        (pa.field("i", pa.int8()), InvalidInput, "two columns 'i'"),
        (pa.field("v", pa.sparse_union([])), Unsupported, "sparse_union"),
        (pa.field("_score", pa.int8()), InvalidInput, "reserved"),
    ],
    ids=str,
)
def test_a_field_that_cannot_start_as_null_is_refused(ds, field, kind, says):
    with pytest.raises(kind, match=says):
        ds.add_columns(field)
    assert ds.latest_version == 1


@pytest.mark.parametrize("given", [None, 5, "n", []], ids=repr)
def test_what_is_no_column_is_refused(ds, given):
    with pytest.raises(InvalidInput):
        ds.add_columns(given)


# Bytes and other writers


def test_only_files_with_the_new_column_are_written(tmp_path):
    ds = three_fragments(str(tmp_path))
    before = held(tmp_path)
    ds.add_columns({"n": "i * 2"})
    after = held(tmp_path)
    assert before.items() <= after.items()
    data = [name for name in after if name not in before and name.startswith("data/")]
    assert len(data) == 3
    assert all(b"t1" not in after[name] for name in data)


def test_a_computed_column_covers_rows_that_another_writer_appended(ds, uri):
    lance_like.dataset(uri).insert({"i": [100, 101]})
    calls = []

    def double(batch: pa.RecordBatch) -> dict[str, pa.Array]:
        calls.append(len(batch))
        return {"n": pc.multiply(batch["i"], 2)}

    ds.add_columns(double, read_columns=["i"])
    assert ds.to_table(["n"])["n"].to_pylist() == [2 * i for i in range(10)] + [200, 202]
    assert calls == [4, 4, 2, 2]


def test_a_computed_column_reads_the_same_columns_of_new_rows_after_a_rename(ds, uri):
    other = lance_like.dataset(uri)
    other.add_columns({"j": "i + 1000"})
    mine = lance_like.dataset(uri)
    other.alter_columns({"path": "i", "name": "j"}, {"path": "j", "name": "i"})
    other.insert({"j": [50], "i": [7]})
    mine.add_columns({"n": "i * 2"})
    assert mine.to_table(["n"])["n"].to_pylist() == [2 * i for i in range(10)] + [100]


def test_a_stream_cannot_follow_rows_that_another_writer_appended(ds, uri):
    lance_like.dataset(uri).insert({"i": [100]})
    with pytest.raises(Conflict, match="pass the stream again"):
        ds.add_columns(pa.table({"n": range(10)}))
    assert ds.latest_version == 2


def test_a_column_cannot_follow_the_drop_of_what_it_was_computed_from(ds, uri):
    lance_like.dataset(uri).drop_columns(["i"])
    with pytest.raises(IncompatibleChange):
        ds.add_columns({"n": "i * 2"})
    with pytest.raises(IncompatibleChange):
        three = lance_like.dataset(uri, version=1)
        lance_like.dataset(uri).add_columns({"n": "t"})
        three.add_columns({"n": "t"})


# Drop and rename


def test_dropped_columns_are_gone_and_stay_in_old_versions(ds):
    ds.drop_columns(["i", "s.y"])
    assert ds.to_table(limit=1).to_pylist() == [{"s": {"x": 0}, "t": None}]
    for gone in ("i", "s.y", "s.y.z"):
        with pytest.raises(NotFound):
            ds.to_table([gone])
    assert_same(ds.checkout_version(1).to_table(), people(10))


def test_a_name_that_was_dropped_can_be_used_again_for_other_values(ds):
    ds.drop_columns(["i"])
    ds.add_columns({"i": "t"})
    assert ds.to_table(["i"])["i"].to_pylist() == people(10)["t"].to_pylist()
    assert ds.count_rows("i = 't4'") == 1


@pytest.mark.parametrize(
    ("columns", "kind", "says"),
    [
        (["q"], NotFound, "'q'"),
        (["s.q"], NotFound, "'x', 'y'"),
        (["i", "s", "t"], InvalidInput, "no field left"),
        (["s.x", "s.y"], InvalidInput, "drop the struct itself"),
        ("i", InvalidInput, "expected a list"),
        (["_rowid"], NotFound, "_rowid"),
    ],
    ids=str,
)
def test_a_drop_that_cannot_be_changes_nothing(ds, columns, kind, says):
    with pytest.raises(kind, match=says):
        ds.drop_columns(columns)
    assert ds.latest_version == 1


def test_renamed_columns_keep_values_types_and_places(ds):
    ds.alter_columns({"path": "i", "name": "t"}, {"path": "t", "name": "i"}, {"path": "s.y.z", "name": "né.w"})
    table = people(10)
    assert ds.schema.names == ["t", "s", "i"]
    assert ds.to_table(["i", "t"]).to_pydict() == {"i": table["t"].to_pylist(), "t": table["i"].to_pylist()}
    assert ds.to_table(["s"], filter="t = 3").to_pylist() == [{"s": {"x": 3, "y": {"né.w": "3"}}}]
    ds.insert([{"t": 77}])
    assert ds.take([10], ["t"])["t"].to_pylist() == [77]


@pytest.mark.parametrize(
    ("alteration", "kind", "says"),
    [
        ({"path": "i", "name": "t"}, InvalidInput, "two columns 't'"),
        ({"path": "i", "name": "_rowid"}, InvalidInput, "reserved"),
        ({"path": "q", "name": "t"}, NotFound, "'q'"),
        ({"path": "i", "nam": "t"}, InvalidInput, "expected 'path'"),
        ({"path": "i"}, InvalidInput, "expected 'path'"),
        ({"path": "i", "name": 5}, InvalidInput, "not text"),
        ("i", InvalidInput, "expected 'path'"),
        ([{"path": "i", "name": "k"}], InvalidInput, "expected 'path'"),
    ],
    ids=str,
)
def test_a_rename_that_cannot_be_changes_nothing(ds, alteration, kind, says):
    with pytest.raises(kind, match=says):
        ds.alter_columns(alteration)
    assert ds.latest_version == 1
    assert_same(ds.to_table(), people(10))


def test_no_column_operation_writes_a_data_file_when_only_the_schema_changes(tmp_path):
    ds = three_fragments(str(tmp_path))
    before = held(tmp_path / "data")
    ds.drop_columns(["t"])
    ds.alter_columns({"path": "i", "name": "k"})
    ds.restore()
    assert held(tmp_path / "data") == before


def test_a_column_of_a_table_without_rows_is_computed_for_later_rows(uri):
    ds = lance_like.write_dataset(people(0), uri)
    ds.add_columns({"n": "i + 1"})
    ds.add_columns(lambda batch: {"f": np.zeros(len(batch), np.float32)})
    assert (ds.schema.field("n").type, ds.schema.field("f").type) == (pa.int64(), pa.float32())
    ds.insert({"i": [1], "n": [5]})
    assert ds.to_table(["i", "n", "f"]).to_pylist() == [{"i": 1, "n": 5, "f": None}]
