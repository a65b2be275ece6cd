"""What changed between two versions: rows, ids, and the summary."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest

import lance_like
from lance_like import LanceDataset
from lance_like.errors import InvalidInput, NotFound
from lance_like.io.observe import CountingStore, counted
from lance_like.io.uri import open_store
from lance_like.table.actions import UpdateMetadata
from lance_like.table.commit import commit
from lance_like.table.snapshot import list_versions, read_manifest

VIRTUAL = ["_rowid", "_row_created_at_version", "_row_last_updated_at_version"]


def keyed(ids, v=0) -> pa.Table:
    return pa.table({"id": pa.array(ids, pa.int64()), "v": pa.array([v] * len(ids), pa.int64())})


@pytest.fixture
def ds(uri):
    """1: ids 1 to 3; 2: 4 and 5 come; 3: 2 and 4 change; 4: 1 goes; 5: 5 changes and 6 comes."""
    ds = lance_like.write_dataset(keyed([1, 2, 3]), uri)
    ds.insert(keyed([4, 5]))
    ds.update({"v": "v + 1"}, where="id IN (2, 4)")
    ds.delete("id = 1")
    ds.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(keyed([5, 6], 9))
    return ds


def ids(reader: pa.RecordBatchReader) -> list[int]:
    return sorted(reader.read_all().column("id").to_pylist())


def deleted(delta) -> list[int]:
    return delta.get_deleted_row_ids().read_all().column("_rowid").to_pylist()


@pytest.mark.parametrize(
    ("begin", "end", "inserted", "updated", "gone"),
    [
        (1, 5, [4, 5, 6], [2], [0]),
        (1, 2, [4, 5], [], []),
        (2, 5, [6], [2, 4, 5], [0]),
        (4, 5, [6], [5], []),
        (3, 4, [], [], [0]),
        (0, 3, [1, 2, 3, 4, 5], [], []),
        (5, 5, [], [], []),
    ],
)
def test_rows_that_came_changed_and_went(ds, begin, end, inserted, updated, gone):
    delta = ds.delta(begin_version=begin, end_version=end)
    assert (ids(delta.get_inserted_rows()), ids(delta.get_updated_rows()), deleted(delta)) == (inserted, updated, gone)


def test_rows_are_those_of_the_end_with_their_lineage(ds):
    rows = ds.delta(begin_version=1, end_version=2).get_inserted_rows()
    assert rows.schema.names == ["id", "v", *VIRTUAL]
    assert rows.read_all().to_pydict() == {
        "id": [4, 5],
        "v": [0, 0],  # what they became later is no matter
        "_rowid": [3, 4],
        "_row_created_at_version": [2, 2],
        "_row_last_updated_at_version": [2, 2],
    }
    changed = ds.delta(compared_against=2).get_updated_rows().read_all().sort_by("id").to_pydict()
    assert (changed["v"], changed["_row_last_updated_at_version"]) == ([1, 1, 9], [3, 3, 5])
    assert changed["_row_created_at_version"] == [1, 2, 2]


def test_an_older_handle_sees_the_same_changes(ds):
    old = ds.checkout_version(2)
    assert ids(old.delta(begin_version=4, end_version=5).get_inserted_rows()) == [6]
    assert ids(old.delta(compared_against=1).get_inserted_rows()) == [4, 5]


def test_a_row_that_came_and_went_is_in_no_stream(ds):
    ds.insert(keyed([7]))
    ds.delete("id = 7")
    delta = ds.delta(compared_against=5)
    assert (ids(delta.get_inserted_rows()), deleted(delta)) == ([], [])


def test_new_and_dropped_columns_change_no_row(ds):
    ds.add_columns({"w": "v * 2"})
    ds.drop_columns(["v"])
    delta = ds.delta(compared_against=5)
    assert (ids(delta.get_inserted_rows()), ids(delta.get_updated_rows()), deleted(delta)) == ([], [], [])
    assert ds.delta(compared_against=4).get_inserted_rows().schema.names == ["id", "w", *VIRTUAL]


def test_after_an_overwrite_all_rows_are_new(ds):
    ds.insert(pa.table({"other": ["x", "y"]}), mode="overwrite")
    delta = ds.delta(compared_against=5)
    assert delta.get_inserted_rows().read_all().column("other").to_pylist() == ["x", "y"]
    assert deleted(delta) == [1, 2, 3, 4, 5]


def test_a_restore_brings_rows_back_and_undoes_changes(ds):
    ds.checkout_version(2).restore()
    ds.checkout_latest()
    delta = ds.delta(compared_against=5)
    assert ids(delta.get_inserted_rows()) == [1]
    changed = delta.get_updated_rows().read_all().sort_by("id").to_pydict()
    assert (changed["id"], changed["v"]) == ([2, 4, 5], [0, 0, 0])
    assert deleted(delta) == [5]
    assert ds.diff(2).is_same


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"begin_version": 1},
        {"end_version": 1},
        {"compared_against": 1, "begin_version": 1, "end_version": 2},
        {"begin_version": 3, "end_version": 2},
        {"compared_against": 6},
        {"compared_against": -1},
        {"compared_against": "1"},
        {"compared_against": True},
    ],
    ids=str,
)
def test_arguments_that_name_no_interval_are_refused(ds, arguments):
    with pytest.raises(InvalidInput):
        ds.delta(**arguments)


def test_a_version_that_is_not_there_is_not_found(ds):
    with pytest.raises(NotFound):
        ds.delta(begin_version=1, end_version=9).get_inserted_rows()


@pytest.mark.parametrize("seed", range(8))
def test_streams_agree_with_the_ids_and_versions_of_scans(uri, seed):
    chance, top = random.Random(seed), 10
    ds = lance_like.write_dataset(keyed(range(10)), uri, max_rows_per_file=4)
    for _ in range(10):
        change = chance.choice(["insert", "delete", "update", "merge", "restore", "overwrite"])
        if change in ("insert", "overwrite"):
            mode = "overwrite" if change == "overwrite" and chance.random() < 0.3 else "append"
            ds.insert(keyed(range(top, top + 5)), mode=mode, max_rows_per_file=3)
            top += 5
        elif change == "delete":
            ds.delete(f"id % 7 = {chance.randrange(7)}")
        elif change == "update":
            ds.update({"v": "v + 1"}, where=f"id % 3 = {chance.randrange(3)}")
        elif change == "merge":
            upsert = ds.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
            upsert.execute(keyed([chance.randrange(top), top], 7))
            top += 1
        else:
            ds.checkout_version(chance.randrange(1, ds.version + 1)).restore()
            ds.checkout_latest()
    versions = list_versions(open_store(uri))
    rows = {
        v: _rows(ds.checkout_version(v).to_table(["_rowid", "_row_last_updated_at_version", "v"])) for v in versions
    }
    for begin, end in zip(chance.choices(versions, k=20), chance.choices(versions, k=20), strict=True):
        if begin > end:
            continue
        delta, was, now = ds.delta(begin_version=begin, end_version=end), rows[begin], rows[end]
        columns = ["_rowid", "_row_last_updated_at_version", "v"]
        assert _rows(delta.get_inserted_rows().read_all().select(columns)) == [r for r in now if r[0] not in _ids(was)]
        changed = [row for row in now if row[0] in _ids(was) and row not in was]
        assert _rows(delta.get_updated_rows().read_all().select(columns)) == changed
        gone = sorted(_ids(was) - _ids(now))
        assert deleted(delta) == gone
        summary = ds.checkout_version(end).diff(begin)
        counts = summary.rows_inserted, summary.rows_updated, summary.rows_deleted
        assert counts == (len(_ids(now) - _ids(was)), len(changed), len(gone))


def _rows(table: pa.Table) -> list[tuple[int, ...]]:
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def _ids(rows: list[tuple[int, ...]]) -> set[int]:
    return {row[0] for row in rows}


def test_a_diff_tells_columns_rows_and_metadata(ds):
    ds.alter_columns({"path": "v", "name": "value"})
    ds.add_columns({"w": "value * 2"})
    ds.drop_columns(["id"])
    commit(open_store(ds.uri), ds._manifest, UpdateMetadata({"owner": "us"}))
    ds.checkout_latest()
    found = ds.diff(1)
    assert (found.begin_version, found.end_version) == (1, 9)
    assert (found.columns_added, found.columns_dropped, found.columns_renamed) == (("w",), ("id",), {"v": "value"})
    assert (found.rows_inserted, found.rows_updated, found.rows_deleted) == (3, 1, 1)
    assert not found.is_same
    assert found.metadata == {"owner": (None, "us")}
    back = ds.checkout_version(1).diff(9)
    assert (back.columns_added, back.rows_inserted, back.rows_deleted) == (("id",), 1, 3)
    assert (back.columns_altered, back.metadata) == ({}, {"owner": ("us", None)})


def test_rows_can_be_filtered_by_the_versions_that_made_and_changed_them(ds):
    assert ds.to_table(["id"], filter="_row_created_at_version > 1 AND _row_created_at_version <= 4")[
        "id"
    ].to_pylist() == [
        4,
        5,
    ]
    assert ds.count_rows("_row_last_updated_at_version = 3") == 2
    assert ds.to_table(filter="_rowid = 2")["id"].to_pylist() == [3]
    assert ds.count_rows("_row_created_at_version > 5") == 0


@pytest.mark.parametrize("filter", ["_row_created_at_version = 3", "_rowid >= 20", "_rowaddr >= 8589934592"])
def test_fragments_that_no_row_can_pass_are_not_opened(uri, filter):
    for start in (0, 10, 20):
        ds = lance_like.write_dataset(keyed(range(start, start + 10)), uri, mode="append")
    store = CountingStore(open_store(uri))
    ds = LanceDataset(store, read_manifest(store, 3))
    with counted(store) as counts:
        assert ds.to_table(["id"], filter=filter)["id"].to_pylist() == list(range(20, 30))
    assert {key for key, _ in counts.log} == {ds._manifest.fragments[2].files[0].path}


def test_a_delta_reads_the_files_of_changed_rows_only(uri):
    for start in range(0, 40, 10):
        lance_like.write_dataset(keyed(range(start, start + 10)), uri, mode="append")
    store = CountingStore(open_store(uri))
    ds = LanceDataset(store, read_manifest(store, 4))
    delta = ds.delta(compared_against=3)
    with counted(store) as counts:
        assert ids(delta.get_inserted_rows()) == list(range(30, 40))
    files = {key for key, _ in counts.log if key.startswith("data/")}
    assert files == {ds._manifest.fragments[3].files[0].path}
    with counted(store) as counts:
        assert deleted(delta) == []
    assert counts.rounds == 0
