"""Changes as values: committed by one process after many wrote them, and read back."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import lance_like
from lance_like import LanceDataset, LanceOperation, Transaction
from lance_like.commit import CommitConflictError
from lance_like.dataset.lance_schema import as_arrow
from lance_like.errors import Conflict, IncompatibleChange, InvalidInput, NotFound, Unsupported
from lance_like.fragment import FragmentMetadata, LanceFragment, write_fragments

WRITER = """
import json, sys
import numpy as np
import pyarrow as pa
from lance_like.fragment import write_fragments
uri, start = sys.argv[1], int(sys.argv[2])
table = pa.table({"id": pa.array(range(start, start + 10), pa.int64()), "v": pa.array([0] * 10, pa.int64())})
made = write_fragments(table, uri, max_rows_per_file=4)
print(json.dumps([fragment.to_json() for fragment in made]))
"""


def keyed(ids, v=0) -> pa.Table:
    return pa.table({"id": pa.array(ids, pa.int64()), "v": pa.array([v] * len(ids), pa.int64())})


def ids(ds: LanceDataset) -> list[int]:
    return ds.to_table(["id"])["id"].to_pylist()


@pytest.fixture
def ds(uri) -> LanceDataset:
    """ids 0 to 9 in fragments of 4, 4 and 2 rows."""
    return lance_like.write_dataset(keyed(range(10)), uri, max_rows_per_file=4)


@pytest.mark.parametrize("exists", [True, False])
def test_fragments_that_processes_wrote_are_committed_by_another(tmp_path, exists):
    uri = str(tmp_path / "table")
    if exists:
        lance_like.write_dataset(keyed([100]), uri)
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, uri, str(start)], stdout=subprocess.PIPE) for start in (0, 10)
    ]
    told = [json.loads(writer.communicate(timeout=60)[0]) for writer in writers]
    fragments = [FragmentMetadata.from_json(json.dumps(item)) for made in told for item in made]
    if exists:
        ds = LanceDataset.commit(uri, LanceOperation.Append(fragments), read_version=1)
        assert ids(ds) == [100, *range(20)]
    else:
        ds = LanceDataset.commit(uri, LanceOperation.Overwrite(keyed([]).schema, fragments))
        assert ids(ds) == list(range(20))
    assert ds.count_rows("id >= 8 AND id < 12") == 4
    assert sorted(ds.to_table(["_rowid"])["_rowid"].to_pylist()) == list(range(20 + exists))
    assert lance_like.dataset(uri).version == ds.version == 1 + exists


def test_metadata_travels_as_json_and_by_pickle(ds):
    ds.delete("id = 5")
    ds.update({"v": "7"}, where="id < 3")
    written = write_fragments(keyed([1]), ds)
    for metadata in [*(fragment.metadata for fragment in ds.get_fragments()), *written]:
        assert FragmentMetadata.from_json(json.dumps(metadata.to_json())) == metadata
        assert pickle.loads(pickle.dumps(metadata)) == metadata
    assert [fragment.metadata.num_rows for fragment in ds.get_fragments()] == [
        fragment.count_rows() for fragment in ds.get_fragments()
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "[]",
        "{}",
        {"files": {}},
        {"id": "0"},
        {"physical_rows": None},
        {"deletion_file": {"num_deleted_rows": 1, "bitmap": "%"}},
        {"row_id_meta": {"spans": [[1]]}},
        {"files": [{"path": "data/x.lnl"}]},
    ],
    ids=str,
)
def test_what_is_no_metadata_is_refused(ds, wrong):
    value = ds.get_fragments()[0].metadata.to_json()
    with pytest.raises(InvalidInput):
        FragmentMetadata.from_json(wrong if isinstance(wrong, str) else json.dumps({**value, **wrong}))


@pytest.mark.parametrize(
    "wrong",
    [
        {"path": "../data/x.lnl"},
        {"path": "data/" + "0" * 32 + ".lnl"},
        {"path": "_versions/x"},
        {"file_size_bytes": 200},
        {"tail": "0" * 16},
        {"tail": "x"},
        {"rows": 2},
        {"fields": (0,)},
        {"fields": (0, -1)},
        {"fields": (0, 0)},
        {"fields": (0, 7)},
        {"base_id": 1},
        {"stats": (("zz", None, 0, 0, 0),)},
    ],
    ids=str,
)
def test_a_file_that_is_not_what_it_is_said_to_be_is_not_committed(ds, wrong):
    [fragment] = write_fragments(keyed([77]), ds)
    bad = replace(fragment, files=(replace(fragment.files[0], **wrong),))
    with pytest.raises(InvalidInput):
        LanceDataset.commit(ds, LanceOperation.Append([bad]), read_version=1)
    assert ds.latest_version == 1


@pytest.mark.parametrize(
    "written",
    [
        {"id": pa.array([1], pa.int32()), "v": pa.array([1])},
        {"v": pa.array([1]), "id": pa.array([1], pa.uint64())},
        {"id": pa.array([1]), "v": pa.array(["1"])},
    ],
)
def test_files_of_other_types_than_the_schema_says_are_not_committed(ds, written):
    fragments = write_fragments(pa.table(written), ds.uri, mode="overwrite")
    with pytest.raises(InvalidInput, match="the file holds the type"):
        LanceDataset.commit(ds.uri, LanceOperation.Overwrite(keyed([1]).schema, fragments))
    assert lance_like.dataset(ds.uri).to_table() == ds.to_table()


def test_columns_of_other_types_than_the_schema_says_are_not_merged(ds):
    merged = [fragment.merge_columns({"n": "v + 1"}) for fragment in ds.get_fragments()]
    schema = ds.schema.append(pa.field("n", pa.string()))
    with pytest.raises(InvalidInput, match="the file holds the type"):
        LanceDataset.commit(ds.uri, LanceOperation.Merge([made for made, _ in merged], schema), read_version=ds.version)


def test_an_append_follows_what_others_committed(ds):
    fragments = write_fragments(keyed([10]), ds)
    ds.insert(keyed([11]))
    ds.add_columns({"w": "v + 1"})
    made = LanceDataset.commit(ds, LanceOperation.Append(fragments), read_version=1)
    assert ids(made) == [*range(10), 11, 10]
    assert made.to_table(["w"], filter="id = 10")["w"].to_pylist() == [None]


def test_an_append_whose_column_has_gone_is_an_incompatible_change(ds):
    fragments = write_fragments(keyed([10]), ds)
    ds.drop_columns(["v"])
    with pytest.raises(IncompatibleChange) as caught:
        LanceDataset.commit(ds, LanceOperation.Append(fragments), read_version=1)
    assert isinstance(caught.value, CommitConflictError)
    assert not caught.value.retryable


def test_one_transaction_changes_the_table_once(ds):
    transaction = write_fragments(keyed([10]), ds, return_transaction=True)
    assert isinstance(transaction, Transaction)
    assert isinstance(transaction.operation, LanceOperation.Append)
    first = LanceDataset.commit(ds, transaction)
    ds.insert(keyed([11]))
    again = LanceDataset.commit(ds, pickle.loads(pickle.dumps(transaction)))
    assert (first.version, again.version, lance_like.dataset(ds.uri).version) == (2, 2, 3)
    assert first.read_transaction(2).uuid == transaction.uuid


def test_one_transaction_makes_a_table_once(uri):
    transaction = write_fragments(keyed([1]), uri, return_transaction=True, commit_message="first")
    assert transaction.read_version == 0
    LanceDataset.commit(uri, transaction).insert(keyed([2]))
    assert ids(LanceDataset.commit(uri, transaction)) == [1]
    assert ids(lance_like.dataset(uri)) == [1, 2]
    assert lance_like.dataset(uri).versions()[0]["metadata"]["message"] == "first"


def test_deletes_of_fragments_are_committed_together(ds):
    changed = [fragment.delete("id >= 2") for fragment in ds.get_fragments()]
    gone = [fragment.fragment_id for fragment, left in zip(ds.get_fragments(), changed, strict=True) if left is None]
    operation = LanceOperation.Delete([left for left in changed if left], gone, "id >= 2")
    ds.insert(keyed([10]))
    made = LanceDataset.commit(ds, operation, read_version=1, commit_message="gone")
    assert (ids(made), gone) == ([0, 1, 10], [1, 2])
    told = made.read_transaction(3)
    assert (told.read_version, told.transaction_properties) == (1, {"__lance_commit_message": "gone"})
    assert [metadata.num_rows for metadata in told.operation.updated_fragments] == [2]
    assert told.operation.deleted_fragment_ids == [1, 2]
    assert told.operation.predicate == "id >= 2"


@pytest.mark.parametrize(
    ("delete", "predicate"),
    [
        (lambda ds: ds.delete("id IN (2, 3)"), "id IN (2, 3)"),
        (lambda ds: ds.delete(pc.field("id") == 2), None),
        (lambda ds: ds.truncate_table(), "true"),
    ],
)
def test_the_history_says_what_chose_the_rows_of_a_delete(delete, predicate, ds):
    delete(ds)
    told = ds.read_transaction(ds.version).operation
    assert isinstance(told, LanceOperation.Delete)
    assert told.predicate == predicate


def test_two_deletes_of_one_row_are_both_committed(ds):
    [left] = [ds.get_fragment(0).delete_rows([1, 2])]
    ds.delete("id IN (2, 3)")
    made = LanceDataset.commit(ds, LanceOperation.Delete([left], []), read_version=1)
    assert ids(made) == [0, *range(4, 10)]


def test_a_delete_counts_the_rows_that_no_other_deleted_first(ds):
    other = lance_like.dataset(ds.uri)
    other.insert(keyed([10, 11]))
    other.delete("id IN (2, 3, 4)")
    assert ds.delete("id IN (3, 4, 5, 6)") == {"num_deleted_rows": 2}
    assert ids(ds) == [0, 1, 7, 8, 9, 10, 11]


def test_a_deletion_that_brings_rows_back_is_refused(ds):
    before = ds.get_fragment(0).delete("id = 1")
    ds.delete("id = 2")
    with pytest.raises(InvalidInput, match="back"):
        LanceDataset.commit(ds, LanceOperation.Delete([before], []), read_version=2)


def test_columns_that_workers_made_are_merged(ds):
    parts = [pickle.loads(pickle.dumps(fragment)).merge_columns({"w": "id * 2"}) for fragment in ds.get_fragments()]
    operation = LanceOperation.Merge([metadata for metadata, _ in parts], parts[0][1])
    made = LanceDataset.commit(ds, operation, read_version=1)
    assert made.to_table(["w"])["w"].to_pylist() == [2 * i for i in range(10)]
    assert made.to_table(["_row_last_updated_at_version"]).column(0).to_pylist() == [1] * 10
    with pytest.raises(Conflict, match="must be made again"):
        made.insert(keyed([10])), LanceDataset.commit(ds, replace_schema(operation), read_version=1)


def replace_schema(operation: LanceOperation.Merge) -> LanceOperation.Merge:
    return replace(operation, schema=as_arrow(operation.schema).set(2, pa.field("other", pa.int64())))


def test_columns_of_workers_go_into_structs_too(uri):
    ds = lance_like.write_dataset({"s": [{"x": 1}, None], "i": [5, 6]}, uri, max_rows_per_file=1)
    parts = [fragment.merge_columns({"s.y": "i + 1", "j": "i"}) for fragment in ds.get_fragments()]
    made = LanceDataset.commit(ds, LanceOperation.Merge([m for m, _ in parts], parts[0][1]), read_version=1)
    assert made.to_table().to_pydict() == {"s": [{"x": 1, "y": 6}, None], "i": [5, 6], "j": [5, 6]}
    with pytest.raises(InvalidInput, match="structs first"):
        ds.get_fragment(0).merge_columns({"j": "i", "s.y": "i"})


def test_a_merge_joins_columns_by_key(ds):
    right = pa.table({"key": pa.array([1, 8, 99], pa.int32()), "name": ["one", "eight", "none"], "s": [{"x": 1}] * 3})
    parts = [fragment.merge(right, "id", "key") for fragment in ds.get_fragments()]
    made = LanceDataset.commit(ds, LanceOperation.Merge([m for m, _ in parts], parts[0][1]), read_version=1)
    assert made.schema.names == ["id", "v", "name", "s"]
    assert made.to_table(["name"])["name"].to_pylist() == [None, "one", *[None] * 6, "eight", None]
    assert made.to_table(["s"])["s"].to_pylist() == [None, {"x": 1}, *[None] * 6, {"x": 1}, None]


@pytest.mark.parametrize("on", ["id", "_rowid"])
def test_columns_are_updated_in_the_rows_that_match(ds, on):
    ds.delete("id = 2")
    fragment = ds.get_fragment(0)
    kind = pa.int64() if on == "id" else pa.uint64()
    data = pa.table({on: pa.array([3, 1, 2, 50], kind), "v": pa.array([33, 11, 22, 5], pa.int16())})
    metadata, fields, offsets = fragment.update_columns(data, left_on=on, with_offsets=True)
    assert fields == [1]
    operation = LanceOperation.Update(
        updated_fragments=[metadata], fields_modified=fields, updated_fragment_offsets={0: offsets}
    )
    made = LanceDataset.commit(ds, operation, read_version=2)
    assert made.to_table(["v"]).column(0).to_pylist() == [0, 11, 33, *[0] * 6]
    assert made.to_table(["_row_last_updated_at_version"]).column(0).to_pylist() == [1, 3, 3, *[1] * 6]


def test_an_update_of_rows_that_another_changed_is_a_conflict(ds):
    metadata, fields = ds.get_fragment(0).update_columns(pa.table({"id": [1], "v": [5]}), left_on="id")
    ds.update({"v": "1"}, where="id = 1")
    operation = LanceOperation.Update(updated_fragments=[metadata], fields_modified=fields)
    with pytest.raises(Conflict) as caught:
        LanceDataset.commit(ds, operation, read_version=1)
    assert caught.value.retryable


def test_a_file_replaces_columns(ds):
    metadata, _ = ds.get_fragment(2).update_columns(pa.table({"id": [8, 9], "v": [80, 90]}), left_on="id")
    group = LanceOperation.DataReplacementGroup(2, metadata.files[-1])
    made = LanceDataset.commit(ds, LanceOperation.DataReplacement([group]), read_version=1)
    assert made.to_table(["v"]).column(0).to_pylist() == [*[0] * 8, 80, 90]


def test_a_rewrite_keeps_ids_and_versions(ds):
    ds.delete("id IN (1, 9)")
    ds.update({"v": "5"}, where="id = 4")
    old = [fragment.metadata for fragment in ds.get_fragments()]
    rows = ds.to_table(["id", "v", "_rowid", "_row_created_at_version", "_row_last_updated_at_version"])
    new = write_fragments(rows.select(["id", "v"]), ds)
    operation = LanceOperation.Rewrite([LanceOperation.RewriteGroup(old, new)])
    made = LanceDataset.commit(ds, operation, read_version=ds.version)
    assert made.to_table(rows.schema.names).equals(rows)
    assert len(made.get_fragments()) == 1
    assert isinstance(made.read_transaction(made.version).operation, LanceOperation.Rewrite)


@pytest.mark.parametrize("rows", [range(9), range(11)], ids=["fewer", "more"])
def test_a_rewrite_with_other_rows_is_refused(ds, rows):
    old = [fragment.metadata for fragment in ds.get_fragments()]
    group = LanceOperation.RewriteGroup(old, write_fragments(keyed(rows), ds))
    with pytest.raises(InvalidInput, match="live rows"):
        LanceDataset.commit(ds, LanceOperation.Rewrite([group]), read_version=1)


def test_a_merge_insert_is_committed_by_another(ds):
    upsert = ds.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
    transaction, stats = upsert.execute_uncommitted(keyed([3, 20], 9))
    assert ds.latest_version == 1
    assert stats == {"num_inserted_rows": 1, "num_updated_rows": 1, "num_deleted_rows": 0}
    made = LanceDataset.commit(ds.uri, pickle.loads(pickle.dumps(transaction)))
    rows = {row["id"]: row for row in made.to_table(["id", "v", "_rowid", "_row_created_at_version"]).to_pylist()}
    assert len(rows) == 11
    assert (rows[3]["v"], rows[3]["_rowid"], rows[3]["_row_created_at_version"]) == (9, 3, 1)
    assert (rows[20]["v"], rows[20]["_rowid"], rows[20]["_row_created_at_version"]) == (9, 10, 2)


def wide(keys, seed=0):
    """Rows so wide that changed ones are written anew, not their columns."""
    cells = np.random.default_rng(seed).bytes(500 * len(keys))
    return pa.table({"id": list(keys), "cell": [cells[500 * i : 500 * (i + 1)] for i in range(len(keys))]})


def test_rows_that_change_and_rows_that_come_are_one_file(tmp_path):
    ds = lance_like.write_dataset(wide(range(200)), tmp_path)
    lance_like.write_dataset(wide(range(200, 300)), tmp_path, mode="append")
    ds = lance_like.dataset(tmp_path)
    before = {row["id"]: row["_rowid"] for row in ds.to_table(["id", "_rowid"]).to_pylist()}
    source = wide([1_000, 7, 250, 1_001, 8], seed=1)
    upsert = ds.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
    transaction, stats = upsert.execute_uncommitted(source)
    assert stats == {"num_inserted_rows": 2, "num_updated_rows": 3, "num_deleted_rows": 0}
    [fragment] = transaction.operation.new_fragments
    assert (fragment.physical_rows, len(fragment.row_id_meta.ids())) == (5, 3)
    # Another writer takes ids meanwhile.
    lance_like.write_dataset(wide(range(5_000, 5_010)), tmp_path, mode="append")
    made = LanceDataset.commit(ds.uri, pickle.loads(pickle.dumps(transaction)))
    names = ["id", "cell", "_rowid", "_row_created_at_version", "_row_last_updated_at_version"]
    rows = {row.pop("id"): tuple(row.values()) for row in made.to_table(names).to_pylist()}
    assert len(rows) == 312
    new = dict(zip(source["id"].to_pylist(), source["cell"].to_pylist(), strict=True))
    assert {key: rows[key] for key in new} == {
        7: (new[7], before[7], 1, 4),
        8: (new[8], before[8], 1, 4),
        250: (new[250], before[250], 2, 4),
        1_000: (new[1_000], 310, 4, 4),
        1_001: (new[1_001], 311, 4, 4),
    }
    assert {key: row[1] for key, row in rows.items() if key < 300} == before
    delta = made.delta(compared_against=3)
    assert sorted(delta.get_inserted_rows().read_all()["id"].to_pylist()) == [1_000, 1_001]
    assert sorted(delta.get_updated_rows().read_all()["id"].to_pylist()) == [7, 8, 250]
    assert made.validate() is None


def test_more_ids_than_rows_are_refused(ds):
    [new] = write_fragments(keyed([3], 9), ds)
    update = LanceOperation.Update(new_fragments=[replace(new, row_id_meta=ids_of(3, 4))], removed_fragment_ids=[0])
    with pytest.raises(InvalidInput, match="too many"):
        LanceDataset.commit(ds, update, read_version=1)


def test_two_merges_of_one_new_key_do_not_both_commit(ds):
    upsert = ds.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
    both = [upsert.execute_uncommitted(keyed([20], v))[0] for v in (1, 2)]
    LanceDataset.commit(ds, both[0])
    with pytest.raises(Conflict):
        LanceDataset.commit(ds, both[1])
    assert ids(lance_like.dataset(ds.uri)).count(20) == 1


def test_rows_written_anew_keep_no_second_copy(ds):
    upsert = ds.merge_insert("id").when_matched_update_all()
    transaction, _ = upsert.execute_uncommitted(keyed([3], 9))
    moved = transaction.operation
    if not moved.new_fragments:
        [new] = write_fragments(keyed([3], 9), ds)
        moved = LanceOperation.Update(new_fragments=[replace(new, row_id_meta=ids_of(3))])
    else:
        moved = replace(moved, updated_fragments=[], removed_fragment_ids=[])
    with pytest.raises(InvalidInput, match="would stay there too"):
        LanceDataset.commit(ds, moved, read_version=1)


def ids_of(*row_ids: int):
    return lance_like.fragment.RowIdMeta(tuple((i, i + 1) for i in row_ids))


def test_several_appends_are_one_version(ds):
    transactions = [write_fragments(keyed([i]), ds, return_transaction=True) for i in (10, 11, 12)]
    ds.insert(keyed([13]))
    made = LanceDataset.commit_batch(ds, transactions)
    assert ids(made["dataset"]) == [*range(10), 13, 10, 11, 12]
    assert made["dataset"].version == 3
    assert len(made["merged"].operation.fragments) == 3
    for wrong in ([], [Transaction(1, LanceOperation.Restore(1))]):
        with pytest.raises(InvalidInput):
            LanceDataset.commit_batch(ds, wrong)


def test_an_overwrite_and_a_restore_need_no_read_version(ds):
    made = LanceDataset.commit(
        ds.uri,
        LanceOperation.Overwrite(pa.schema([("x", pa.int64())]), write_fragments({"x": [1]}, ds, mode="overwrite")),
    )
    assert made.to_table().to_pydict() == {"x": [1]}
    assert ids(LanceDataset.commit(ds.uri, LanceOperation.Restore(1))) == list(range(10))
    with pytest.raises(NotFound):
        LanceDataset.commit(ds.uri, LanceOperation.Restore(17))


def project(ds: LanceDataset, schema: pa.Schema) -> LanceDataset:
    return LanceDataset.commit(ds, LanceOperation.Project(schema), read_version=ds.version)


def test_a_projection_with_all_columns_says_what_they_are_called(uri):
    table = pa.table({"a": [1], "b": ["x"], "b1": ["y"], "s": [{"p": 1, "q": 2}]})
    ds = lance_like.write_dataset(table, uri)
    pair = pa.struct([("q", pa.int64()), ("r", pa.int64())])
    made = project(ds, pa.schema([("a", pa.int64()), ("b1", pa.string()), ("b", pa.string()), ("s", pair)]))
    assert made.to_table().to_pylist() == [{"a": 1, "b1": "x", "b": "y", "s": {"q": 1, "r": 2}}]
    ds.restore()
    again = LanceDataset.commit(ds, made.read_transaction(2).operation, read_version=3)
    assert (again.version, again.to_table()) == (4, made.to_table())
    made = again
    assert project(made, made.schema).schema.equals(made.schema)


def test_a_projection_drops_fields_of_structs(uri):
    ds = lance_like.write_dataset(pa.table({"a": [1], "s": [{"p": 1, "q": 2}]}), uri)
    made = project(ds, pa.schema([("s", pa.struct([("q", pa.int64())]))]))
    assert made.to_table().to_pylist() == [{"s": {"q": 2}}]
    with pytest.raises(InvalidInput, match="no column 'r'"):
        project(ds, pa.schema([("s", pa.struct([("r", pa.int64())]))]))


def test_a_projection_changes_no_nullability(uri):
    ds = lance_like.write_dataset(pa.table({"a": [1]}), uri)
    with pytest.raises(InvalidInput, match="nullability of 'a'"):
        project(ds, pa.schema([pa.field("b", pa.int64(), nullable=False)]))


def test_columns_are_dropped_by_a_projection_and_texts_set(ds):
    made = LanceDataset.commit(ds, LanceOperation.Project(pa.schema([("id", pa.int64())])), read_version=1)
    assert made.schema.names == ["id"]
    with pytest.raises(InvalidInput, match="alter_columns"):
        LanceDataset.commit(ds, LanceOperation.Project(pa.schema([("other", pa.int64())])), read_version=1)
    change = LanceOperation.UpdateMap({"a": "1", "b": "2"})
    texts = LanceOperation.UpdateConfig(change, change, change, {0: LanceOperation.UpdateMap({"unit": "m"})})
    made = LanceDataset.commit(ds, texts, read_version=2)
    assert made.metadata == made.config() == made.schema_metadata == {"a": "1", "b": "2"}
    assert made.schema.field("id").metadata == {b"unit": b"m"}
    only = LanceOperation.UpdateConfig(table_metadata_updates=LanceOperation.UpdateMap({"c": "3"}, replace=True))
    assert LanceDataset.commit(ds, only, read_version=3).metadata == {"c": "3"}
    assert made.read_transaction(3).operation == texts


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"operation": 3, "read_version": 1}, InvalidInput),
        ({"operation": LanceOperation.Append([])}, InvalidInput),
        ({"operation": LanceOperation.Append([]), "read_version": 99}, NotFound),
        ({"operation": LanceOperation.Append([]), "read_version": -1}, InvalidInput),
        ({"operation": LanceOperation.Append([]), "read_version": 1, "detached": True}, Unsupported),
        ({"operation": LanceOperation.Append([]), "read_version": 1, "commit_timeout": timedelta(0)}, InvalidInput),
        ({"operation": LanceOperation.Other("compact"), "read_version": 1}, Unsupported),
        ({"operation": Transaction(1, LanceOperation.Append([])), "read_version": 1}, InvalidInput),
        ({"operation": Transaction(1, LanceOperation.Append([]), "no uuid")}, InvalidInput),
        ({"operation": LanceOperation.UpdateConfig(), "read_version": 1}, InvalidInput),
        ({"operation": LanceOperation.Delete([], [9]), "read_version": 1}, NotFound),
    ],
    ids=str,
)
def test_what_cannot_be_committed_is_refused(ds, arguments, error):
    with pytest.raises(error):
        LanceDataset.commit(ds, **arguments)
    assert ds.latest_version == 1


def test_fragments_of_an_operation_are_metadata_in_a_list(ds):
    for wrong in (ds.get_fragments(), 7, ["x"], iter([])):
        with pytest.raises(InvalidInput):
            LanceOperation.Append(wrong)


def test_a_lock_goes_with_a_uri_and_a_handle_has_its_own(ds):
    operation = LanceOperation.Append(write_fragments(keyed([10]), ds))
    with pytest.raises(InvalidInput, match="its own"):
        LanceDataset.commit(ds, operation, 1, lambda version: nullcontext())
    assert LanceDataset.commit(ds.uri, operation, 1, lambda version: nullcontext()).version == 2


def test_transactions_tell_what_was_done_newest_first(ds):
    ds.insert(keyed([10]), commit_message="more", transaction_properties={"job": "7"})
    ds.update({"v": "1"}, where="id < 2")
    ds.delete("id = 4")
    ds.alter_columns({"path": "v", "name": "value"})
    ds.checkout_version(2).restore()
    ds.checkout_latest()
    told = ds.get_transactions(5)
    assert [type(one.operation).__name__ for one in told] == ["Restore", "Project", "Delete", "Update", "Append"]
    assert [one.read_version for one in told] == [5, 4, 3, 2, 1]
    assert told[-1].transaction_properties == {"job": "7", "__lance_commit_message": "more"}
    assert len(ds.get_transactions()) == 6
    assert isinstance(ds.read_transaction(1).operation, LanceOperation.Overwrite)
    assert [one.uuid for one in reversed(told)] == [
        one.uuid for one in ds.delta(compared_against=1).list_transactions()
    ]
    with pytest.raises(NotFound):
        ds.read_transaction(77)


def test_an_uncommitted_write_is_unused_and_nothing_more(ds):
    write_fragments(keyed([10]), ds)
    assert (ds.latest_version, lance_like.dataset(ds.uri).count_rows()) == (1, 10)


def test_one_fragment_is_made_of_data_or_of_a_file(ds):
    made = LanceFragment.create(ds.uri, keyed([10, 11]), fragment_id=5)
    assert (made.id, made.physical_rows) == (5, 2)
    again = LanceFragment.create_from_file(made.files[0].path.removeprefix("data/"), ds, 5)
    assert replace(again, files=made.files) == made
    assert replace(again.files[0], stats=made.files[0].stats) == made.files[0]
    assert ids(LanceDataset.commit(ds, LanceOperation.Append([again]), read_version=1)) == list(range(12))
    with pytest.raises(InvalidInput):
        LanceFragment.create(ds.uri, keyed([]))
    for wrong in ("../x", "_versions/1", "x.lance"):
        with pytest.raises(InvalidInput):
            LanceFragment.create_from_file(wrong, ds, 0)
    with pytest.raises(NotFound):
        LanceFragment.create_from_file("0" * 32 + ".lnl", ds, 0)
