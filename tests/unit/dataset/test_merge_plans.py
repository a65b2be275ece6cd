"""Merges without named keys, and what a merge says of itself."""

from __future__ import annotations

import pyarrow as pa
import pytest

import lance_like
from lance_like.errors import InvalidInput
from lance_like.io.memory import MemoryStore
from lance_like.schema import LanceSchema

KEY = "lance-schema:unenforced-primary-key"
TABLE = pa.table({"id": range(100), "v": range(100), "w": [1.5] * 100})


@pytest.fixture
def ds() -> lance_like.LanceDataset:
    return lance_like.write_dataset(TABLE, "memory://test_merge_plans", mode="overwrite", max_rows_per_file=30)


def schema_with(**metadata: dict[str, str]) -> pa.Schema:
    return pa.schema([pa.field(name, pa.int64(), metadata=dict(metadata.get(name, {}))) for name in ("a", "b", "c")])


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, []),
        ({"c": {KEY: "true"}, "a": {KEY: "YES"}}, ["a", "c"]),
        ({"a": {KEY: "false"}, "b": {KEY: "1"}}, ["b"]),
        ({"a": {f"{KEY}:position": "2"}, "c": {f"{KEY}:position": "1"}, "b": {KEY: "true"}}, ["c", "a", "b"]),
    ],
)
def test_a_schema_may_name_its_key(metadata: dict[str, dict[str, str]], expected: list[str]) -> None:
    schema = LanceSchema.from_pyarrow(schema_with(**metadata))
    assert [field.name() for field in schema.unenforced_primary_key()] == expected
    assert {field.name() for field in schema.fields() if field.is_unenforced_primary_key()} == set(expected)
    placed = {field.name(): field.unenforced_primary_key_position() for field in schema.fields()}
    told = {name: int(about[f"{KEY}:position"]) for name, about in metadata.items() if f"{KEY}:position" in about}
    assert placed == {"a": None, "b": None, "c": None} | told
    assert not any(field.is_unenforced_clustering_key() for field in schema.fields())
    assert schema.fields()[0].unenforced_clustering_key_position() is None
    assert schema.unenforced_clustering_key() == []


def test_a_merge_takes_the_key_of_the_table() -> None:
    schema = schema_with(a={f"{KEY}:position": "2"}, b={f"{KEY}:position": "1"})
    table = pa.table({"a": [1, 1], "b": [1, 2], "c": [0, 0]}, schema)
    ds = lance_like.write_dataset(table, "memory://test_merge_key", mode="overwrite")
    merge = ds.merge_insert().when_matched_update_all()
    assert merge.explain_plan().startswith("MergeInsert: on=[b, a], ")
    merge.execute({"a": [1], "b": [2], "c": [9]})
    assert ds.to_table()["c"].to_pylist() == [0, 9]


def test_a_merge_needs_a_key(ds: lance_like.LanceDataset) -> None:
    with pytest.raises(InvalidInput, match="no primary key"):
        ds.merge_insert()
    with pytest.raises(InvalidInput, match="needs key columns"):
        ds.merge_insert([])


def test_a_condition_of_a_merge_tells_columns_apart_that_duckdb_does_not() -> None:
    ds = lance_like.write_dataset(pa.table({"k": [1, 2], "a": [1, 1], "A": [10, 20]}), "memory://")
    rows = pa.table({"k": [1, 2], "a": [9, 1], "A": [1, 50]})
    ds.merge_insert("k").when_matched_update_all('abs(source."A") > target."A"').execute(rows)
    assert ds.to_table().sort_by("k").to_pydict() == {"k": [1, 2], "a": [1, 1], "A": [10, 50]}
    with pytest.raises(InvalidInput, match="one name to DuckDB"):
        ds.merge_insert("k").when_matched_update_all('abs(source."A") > source.a').execute(rows)


def test_a_plan_says_what_the_merge_does(ds: lance_like.LanceDataset) -> None:
    ds.create_scalar_index("id", "BTREE")
    merge = ds.merge_insert(["id"]).when_matched_update_all("source.v > target.v").when_not_matched_insert_all()
    merge = merge.when_not_matched_by_source_delete("id > 50")
    schema = pa.schema({"id": pa.int64(), "v": pa.int64()})
    assert merge.explain_plan(schema, verbose=True).splitlines() == [
        "MergeInsert: on=[id], when_matched=UpdateIf, when_not_matched=InsertAll, when_not_matched_by_source=DeleteIf",
        "  Update where: source.v > target.v",
        "  Delete where: id > 50",
        "  Changed columns: v",
        "  Null where inserted: w",
        "  Keys: a scan of id, within the least and the greatest key of the data",
        "    Index id_idx (BTREE): asked where that reads less",
        f"  Table: 100 rows in 4 fragments of version {ds.version}",
    ]
    assert "Index" not in merge.use_index(False).explain_plan()
    with pytest.raises(InvalidInput, match="lacks the key"):
        merge.explain_plan(pa.schema({"v": pa.int64()}))
    with pytest.raises(InvalidInput, match="nothing"):
        ds.merge_insert("id").explain_plan()


def test_an_analysis_counts_and_changes_nothing(ds: lance_like.LanceDataset) -> None:
    store = ds._store
    assert isinstance(store, MemoryStore)
    before = store.list("data/")
    merge = ds.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
    found = merge.analyze_plan({"id": [7, 500], "v": [0, 0], "w": [0.0, 0.0]})
    assert "num_inserted_rows=1, num_updated_rows=1, num_deleted_rows=0, num_files_written=2, bytes_written=" in found
    assert "requests" in found
    assert store.list("data/") == before
    assert (ds.latest_version, ds.to_table()) == (ds.version, TABLE)
