"""Indexes of a handle, by a kind that only tests have: what every kind gets from the layers around it."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pyarrow as pa
import pytest

import lance_like
from lance_like.dataset.index_values import IndexConfig, IndexProgress
from lance_like.errors import AlreadyExists, Conflict, Corrupt, IncompatibleChange, InvalidInput, NotFound, Unsupported
from lance_like.index.registry import INDEXES
from tests.sorted_index import SortedIndex, ids_found


@pytest.fixture
def kind(monkeypatch: pytest.MonkeyPatch) -> Iterator[SortedIndex]:
    made = SortedIndex()
    monkeypatch.setitem(INDEXES._loaded, "SORTED", made)
    yield made


def table(start: int = 0, end: int = 1_000) -> pa.Table:
    numbers = np.arange(start, end)
    return pa.table({"id": numbers, "n": numbers % 7, "s": [f"s{i % 5}" for i in range(start, end)]})


def written(uri: str, rows: int = 1_000, **options: Any) -> lance_like.LanceDataset:
    return lance_like.write_dataset(table(0, rows), uri, **{"max_rows_per_file": 300, **options})


def check(ds: lance_like.LanceDataset, name: str = "n_idx", column: str = "n") -> None:
    """The index, with what it does not cover, finds the rows of every value, and nothing twice."""
    manifest = ds._manifest
    coverage = ds._session.indexes.coverage(manifest, name)
    rows = ds.to_table(columns={"value": column, "_rowid": "_rowid", "_rowaddr": "_rowaddr"})
    ids, addresses = rows["_rowid"].to_numpy(), rows["_rowaddr"].to_numpy()
    uncovered = [(fragment.id << 32) + offsets for fragment, offsets in coverage.uncovered]
    tail = set(ids[np.isin(addresses, np.concatenate(uncovered))].tolist()) if uncovered else set()
    assert sum(map(len, uncovered)) == len(tail) == coverage.uncovered_rows
    assert coverage.covered_rows + len(tail) == len(ds)
    for value in set(rows["value"].to_pylist()) - {None}:
        expected = {i for i, v in zip(ids.tolist(), rows["value"].to_pylist(), strict=True) if v == value}
        found = ids_found(coverage, value)
        assert found == expected - tail, value


def unindexed(ds: lance_like.LanceDataset, name: str = "n_idx") -> int:
    return ds.index_statistics(name)["num_unindexed_rows"]


def test_an_index_covers_what_was_there_and_no_more(kind: SortedIndex, uri: str) -> None:
    ds = written(uri)
    assert not ds.has_index
    assert ds.create_index("n", "sorted") is ds
    assert ds.has_index
    check(ds)
    assert (kind.built, unindexed(ds)) == ([1_000], 0)
    ds.insert(table(1_000, 1_050))
    check(ds)
    assert unindexed(ds) == 50
    [listed] = ds.list_indices()
    assert listed["fragment_ids"] == {0, 1, 2, 3}
    assert {key: listed[key] for key in ("name", "type", "fields", "version", "base_id")} == {
        "name": "n_idx",
        "type": "SORTED",
        "fields": ["n"],
        "version": 1,
        "base_id": None,
    }


@pytest.mark.parametrize(
    ("column", "name", "path"),
    [
        ("n", "N_idx", "N"),
        ("`row-n`", "row-n_idx", "row-n"),
        ("In.`A-b`", "In.A-b_idx", "In.A-b"),
        ("in.a-B", "In.A-b_idx", "In.A-b"),
    ],
)
def test_an_index_is_called_by_its_column_as_the_table_spells_it(
    kind: SortedIndex, uri: str, column: str, name: str, path: str
) -> None:
    ds = lance_like.write_dataset({"N": [1, 2], "row-n": [1, 2], "In": [{"A-b": 1}, {"A-b": 2}]}, uri)
    ds.create_scalar_index(column, "SORTED")
    assert [(index.name, index.field_names) for index in ds.describe_indices()] == [(name, [path])]


def test_a_column_in_other_letters_is_refused_where_it_is_one_of_several(kind: SortedIndex, uri: str) -> None:
    ds = lance_like.write_dataset({"ab": [1], "AB": [2]}, uri)
    ds.create_scalar_index("AB", "SORTED")
    assert [index.name for index in ds.describe_indices()] == ["AB_idx"]
    with pytest.raises(InvalidInput, match="2 fields"):
        ds.create_scalar_index("Ab", "SORTED")
    with pytest.raises(NotFound):
        ds.create_scalar_index("abc", "SORTED")


def test_a_change_invalidates_the_rows_it_changes_and_only_these(kind: SortedIndex, uri: str) -> None:
    ds = written(uri)
    ds.create_index("n", "SORTED")
    ds.update({"n": "n + 1"}, where="id < 10")
    check(ds)
    assert unindexed(ds) == 10
    # Another column, in rows that move or in a column written anew.
    ds.update({"s": "'other'"}, where="id = 500")
    ds.update({"s": "'other'"}, where="id > 200")
    check(ds)
    assert unindexed(ds) == 10
    ds.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(table(990, 1_010))
    check(ds)
    assert unindexed(ds) == 30
    ds.delete("id % 2 = 0")
    check(ds)
    assert ds.index_statistics("n_idx")["num_invalidated_rows"] == 20


def test_a_merge_of_other_columns_leaves_the_index_as_it_is(kind: SortedIndex, uri: str) -> None:
    ds = written(uri)
    ds.create_index("n", "SORTED")
    changed = pa.table({"id": np.arange(100), "s": ["new"] * 100})
    ds.merge_insert("id").when_matched_update_all().execute(changed)
    assert unindexed(ds) == 0
    check(ds)


def test_rows_that_move_stay_in_the_index(kind: SortedIndex, uri: str) -> None:
    ds = written(uri)
    ds.create_index("n", "SORTED")
    ds.update({"s": "'moved'"}, where="id % 100 = 3")
    ds.delete("id % 10 = 4")
    ds.optimize.compact_files()
    check(ds)
    assert unindexed(ds) == 0
    assert len(kind.built) == 1


def test_an_index_goes_with_its_column_and_stays_through_a_rename(kind: SortedIndex, uri: str) -> None:
    ds = written(uri)
    ds.create_index("n", "SORTED")
    ds.alter_columns({"path": "n", "name": "m"})
    check(ds, column="m")
    assert ds.describe_indices()[0].field_names == ["m"]
    ds.alter_columns({"path": "m", "data_type": pa.int16()})
    assert ds.list_indices() == []
    ds.create_index("m", "SORTED")
    ds.drop_columns(["m"])
    assert not ds.has_index


def test_overwrite_drops_and_restore_brings_back(kind: SortedIndex, uri: str) -> None:
    ds = written(uri)
    ds.create_index("n", "SORTED")
    version = ds.version
    ds.update({"n": "n + 1"}, where="id < 10")
    ds.insert(table(5, 20), mode="overwrite")
    assert not ds.has_index
    ds.checkout_version(version).restore()
    ds.checkout_latest()
    check(ds)
    assert unindexed(ds) == 0


def test_optimize_adds_what_is_new_and_then_nothing(kind: SortedIndex, uri: str) -> None:
    ds = written(uri)
    ds.create_index("n", "SORTED")
    ds.insert(table(1_000, 1_050))
    ds.update({"n": "n + 1"}, where="id < 10")
    ds.optimize.optimize_indices()
    check(ds)
    assert (kind.built, unindexed(ds), len(ds.list_indices())) == ([1_000, 60], 0, 2)
    assert kind.priors[0] is None
    assert kind.priors[1] is not None
    version = ds.version
    ds.optimize.optimize_indices()
    assert (ds.version, kind.built) == (version, [1_000, 60])


def test_rows_are_built_into_segments_a_few_times_only(kind: SortedIndex, uri: str) -> None:
    ds = written(uri, 64)
    ds.create_index("n", "SORTED")
    for start in range(64, 64 + 64 * 8, 8):
        ds.insert(table(start, start + 8))
        ds.optimize.optimize_indices()
    check(ds)
    assert len(ds.list_indices()) <= 8
    assert sum(kind.built) <= len(ds) * 8


@pytest.mark.parametrize(("merged", "segments"), [(0, 4), (1, 3), (2, 2), (9, 1)])
def test_so_many_segments_are_merged_as_is_asked_for(kind: SortedIndex, uri: str, merged: int, segments: int) -> None:
    ds = written(uri)
    ds.create_index("n", "SORTED")
    for start in (1_000, 1_050, 1_100):
        ds.insert(table(start, start + 50))
        ds.optimize.optimize_indices(num_indices_to_merge=0 if start < 1_100 else merged)
    check(ds)
    assert len(ds.list_indices()) == segments


def test_segments_of_which_most_is_gone_are_built_anew(kind: SortedIndex, uri: str) -> None:
    ds = written(uri)
    ds.create_index("n", "SORTED")
    ds.delete("id < 400")
    ds.optimize.optimize_indices()
    assert kind.built == [1_000]
    ds.delete("id < 600")
    ds.optimize.optimize_indices()
    check(ds)
    assert kind.built == [1_000, 400]
    ds.delete("true")
    ds.optimize.optimize_indices()
    assert [(one["uuid"], one["fragment_ids"]) for one in ds.list_indices()] == [(None, set())]


def test_retraining_builds_all_in_one(kind: SortedIndex, uri: str) -> None:
    ds = written(uri)
    ds.create_index("n", "SORTED")
    ds.insert(table(1_000, 1_050))
    ds.optimize.optimize_indices(retrain=True, index_names=["n_idx"])
    check(ds)
    assert (kind.built, kind.priors) == ([1_000, 1_050], [None, None])
    with pytest.raises(NotFound, match="'x'"):
        ds.optimize.optimize_indices(index_names=["x"])


def test_several_indexes_are_optimized_in_one_version(kind: SortedIndex, uri: str) -> None:
    ds = written(uri)
    ds.create_index("n", "SORTED")
    ds.create_index("s", "SORTED", "text")
    ds.insert(table(1_000, 1_050))
    version = ds.version
    ds.optimize.optimize_indices()
    assert ds.version == version + 1
    check(ds)
    check(ds, "text", "s")


def test_an_index_that_is_named_twice_is_optimized_once(kind: SortedIndex, uri: str) -> None:
    ds = written(uri)
    ds.create_index("n", "SORTED")
    ds.insert(table(1_000, 1_050))
    ds.optimize.optimize_indices(index_names=["n_idx", "n_idx"])
    check(ds)
    assert (kind.built, unindexed(ds)) == ([1_000, 50], 0)


def test_an_empty_index_is_filled_later(kind: SortedIndex, uri: str) -> None:
    ds = written(uri)
    ds.create_scalar_index("n", "SORTED", train=False)
    check(ds)
    assert (kind.built, unindexed(ds)) == ([], 1_000)
    [one] = ds.list_indices()
    assert (one["name"], one["uuid"], one["fragment_ids"]) == ("n_idx", None, set())
    ds.optimize.optimize_indices()
    check(ds)
    assert (kind.built, unindexed(ds)) == ([1_000], 0)


def test_what_changes_during_a_build_is_not_covered_by_it(kind: SortedIndex, uri: str) -> None:
    ds = written(uri)
    other = lance_like.dataset(uri)

    class Slow(SortedIndex):
        def build(self, *args: Any, **options: Any) -> Any:
            if not self.built:
                other.update({"n": "n + 1"}, where="id < 7")
                other.delete("id = 8")
                other.insert(table(1_000, 1_003))
                other.update({"s": "'x'"}, where="id = 20")
                other.optimize.compact_files()
            return super().build(*args, **options)

    INDEXES._loaded["SORTED"] = slow = Slow()
    ds.create_index("n", "SORTED")
    check(ds)
    # A row of which another column changed counts as changed.
    assert (unindexed(ds), slow.built) == (7 + 3 + 1, [1_000])


def test_a_merge_of_segments_keeps_what_was_invalidated_meanwhile(kind: SortedIndex, uri: str) -> None:
    ds = written(uri)
    ds.create_index("n", "SORTED")
    ds.insert(table(1_000, 1_600))
    other = lance_like.dataset(uri)

    class Slow(SortedIndex):
        def build(self, *args: Any, **options: Any) -> Any:
            other.update({"n": "n + 1"}, where="id % 100 = 7")
            return super().build(*args, **options)

    INDEXES._loaded["SORTED"] = slow = Slow()
    ds.optimize.optimize_indices(num_indices_to_merge=1)
    check(ds)
    assert (unindexed(ds), slow.built, len(ds.list_indices())) == (16, [1_600], 1)


def test_two_that_optimize_at_once_cover_no_row_twice(kind: SortedIndex, uri: str) -> None:
    ds = written(uri)
    ds.create_index("n", "SORTED")
    ds.insert(table(1_000, 1_050))
    other = lance_like.dataset(uri)

    class Slow(SortedIndex):
        def build(self, *args: Any, **options: Any) -> Any:
            if not self.built:
                self.built.append(-1)
                other.optimize.optimize_indices()
            return super().build(*args, **options)

    INDEXES._loaded["SORTED"] = Slow()
    version = ds.version
    ds.optimize.optimize_indices()
    check(ds)
    assert (ds.version, unindexed(ds)) == (version + 1, 0)
    named = {file.path for entry in ds._manifest.indices for segment in entry.segments for file in segment.files}
    assert len(ds._store.list("data/")) == len(named) + len(ds.get_fragments())


def test_a_build_that_fails_leaves_no_file(kind: SortedIndex, uri: str) -> None:
    ds = written(uri)
    before = ds._store.list("data/")

    class Failing(SortedIndex):
        def build(self, *args: Any, **options: Any) -> Any:
            super().build(*args, **options)
            raise InvalidInput("these values cannot be indexed")

    INDEXES._loaded["SORTED"] = Failing()
    with pytest.raises(InvalidInput, match="cannot be indexed"):
        ds.create_index("n", "SORTED")
    assert (ds._store.list("data/"), ds.has_index) == (before, False)


def test_rows_out_of_order_are_indexed_in_the_order_of_their_ids(kind: SortedIndex, uri: str) -> None:
    ds = written(uri)
    ds.update({"s": "'moved'"}, where="id % 50 = 3")
    ds.optimize.compact_files()
    ds.update({"s": "'again'"}, where="id % 77 = 5")
    ds.insert(table(1_000, 1_100))
    ds.create_index("n", "SORTED")
    ds.create_index("id", "SORTED")
    check(ds)
    coverage = ds._session.indexes.coverage(ds._manifest, "id_idx")
    values = {i: next(iter(ids_found(coverage, i))) for i in range(0, 1_100, 13)}
    assert values == {i: i for i in values}


def test_nested_fields_are_indexed_with_the_nulls_of_what_holds_them(kind: SortedIndex, uri: str) -> None:
    rows = [{"lang": f"l{i % 3}", "size": i} if i % 4 else None for i in range(40)]
    data = pa.table({"meta": pa.array(rows), "i": np.arange(40)})
    ds = lance_like.write_dataset(data, uri)
    ds.create_scalar_index("meta.lang", "SORTED")
    check(ds, "meta.lang_idx", "meta.lang")
    ds.update({"meta.size": "1"}, where="i < 10")
    assert unindexed(ds, "meta.lang_idx") == 0
    ds.update({"meta": "{'lang': 'l9', 'size': 9}"}, where="i < 3")
    check(ds, "meta.lang_idx", "meta.lang")
    assert unindexed(ds, "meta.lang_idx") == 3


@pytest.mark.parametrize("of_json", [False, True])
def test_values_at_a_path_of_json_are_indexed(kind: SortedIndex, uri: str, of_json: bool) -> None:
    texts: list[str | None] = [json.dumps({"a": {"b": i % 6}, "t": f"t{i % 3}", "half": i / 2}) for i in range(60)]
    texts[7], texts[8] = None, '{"a": 5}'
    data = pa.table({"j": pa.array(texts, pa.string()).cast(pa.json_()) if of_json else pa.array(texts)})
    ds = lance_like.write_dataset(data, uri)
    ds.create_scalar_index("j", IndexConfig("json", {"path": "a.b", "target_index_type": "sorted"}), name="b")
    ds.create_scalar_index("j", IndexConfig("json", {"path": "$.t", "target_index_type": "sorted"}), name="t")
    ds.create_scalar_index("j", IndexConfig("json", {"path": "half", "target_index_type": "SORTED"}), name="half")
    check(ds, "b", "json_get_int(j, '$.a.b')")
    check(ds, "t", "json_get_string(j, '$.t')")
    check(ds, "half", "json_get_float(j, '$.half')")
    assert ds.describe_indices()[0].details == {"strength": 1, "path": "$.a.b", "value_type": "int64"}
    assert {one["type"] for one in ds.list_indices()} == {"Json"}


def test_hints_of_pylance_are_no_parameters(kind: SortedIndex, uri: str) -> None:
    ds = written(uri)
    ds.create_scalar_index("n", IndexConfig("sorted", {"zone_size": 8, "strength": 2}), name="a")
    ds.create_scalar_index("n", "SORTED", zone_size=8, strength=2, name="b")
    assert [one.details for one in ds.describe_indices()] == [{"strength": 2}] * 2


def test_wrong_calls_say_what_is_wrong(kind: SortedIndex, uri: str) -> None:
    ds = written(uri)
    ds.create_index("n", "SORTED")
    with pytest.raises(AlreadyExists, match="'n_idx'"):
        ds.create_index("n", "SORTED")
    with pytest.raises(NotFound, match="column 'nope' does not exist"):
        ds.create_index("nope", "SORTED")
    with pytest.raises(Unsupported, match="'NOPE'"):
        ds.create_index("n", "nope")
    with pytest.raises(InvalidInput, match="weakness"):
        ds.create_scalar_index("n", "SORTED", weakness=1)
    with pytest.raises(InvalidInput, match="one column"):
        ds.create_index(["n", "s"], "SORTED")
    for call in (ds.drop_index, ds.index_statistics, ds.prewarm_index):
        with pytest.raises(NotFound, match="index not found: 'nope'"):
            call("nope")
    with pytest.raises(InvalidInput, match="create_index_uncommitted"):
        ds.create_index("n", "SORTED", name="other", fragment_ids=[0])
    with pytest.raises(InvalidInput, match="create_index_uncommitted"):
        ds.create_scalar_index("n", "SORTED", index_uuid="a" * 32)
    with pytest.raises(InvalidInput, match="path"):
        ds.create_scalar_index("s", IndexConfig("json", {}))
    ds.drop_index("n_idx")
    assert not ds.has_index


def test_an_index_is_replaced_by_name(kind: SortedIndex, uri: str) -> None:
    ds = written(uri)
    ds.create_scalar_index("s", "SORTED", name="i")
    ds.create_scalar_index("s", "SORTED", name="i", strength=5)
    check(ds, "i", "s")
    [one] = ds.describe_indices()
    assert (one.field_names, one.details, one.num_segments) == (["s"], {"strength": 5}, 1)


@pytest.mark.parametrize(
    ("column", "kind_of"), [("n", "SORTED"), ("s", IndexConfig("json", {"path": "b", "target_index_type": "sorted"}))]
)
def test_an_index_of_something_else_is_not_replaced(
    kind: SortedIndex, uri: str, column: str, kind_of: str | IndexConfig
) -> None:
    ds = lance_like.write_dataset({"n": [1, 2], "s": ['{"a": 1}', '{"b": 2}']}, uri)
    ds.create_scalar_index("s", IndexConfig("json", {"path": "a", "target_index_type": "sorted"}), name="i")
    with pytest.raises(AlreadyExists, match="of another column or path; choose another name"):
        ds.create_scalar_index(column, kind_of, name="i")
    assert [one.field_names for one in ds.describe_indices()] == [["s"]]


def test_statistics_tell_how_each_segment_was_built(kind: SortedIndex, uri: str) -> None:
    ds = written(uri)
    ds.create_scalar_index("s", "SORTED", strength=5)
    [one] = ds.stats.index_stats("s_idx")["indices"]
    assert one["params"] == {"strength": 5}
    assert ds.stats.index_stats("s_idx")["segments"] == [one]


def test_a_dropped_column_and_its_new_index_conflict(kind: SortedIndex, uri: str) -> None:
    ds = written(uri)
    other = lance_like.dataset(uri)
    ds.create_index("n", "SORTED")
    with pytest.raises(IncompatibleChange):
        other.drop_columns(["n"])
    other.checkout_latest()
    other.drop_columns(["n"])
    assert not other.has_index


def test_an_unknown_kind_is_carried_along_and_kept_right(kind: SortedIndex, uri: str) -> None:
    ds = written(uri)
    ds.create_index("n", "SORTED")
    del INDEXES._loaded["SORTED"]
    ds = lance_like.dataset(uri)
    ds.update({"n": "n + 1"}, where="id < 10")
    ds.optimize.optimize_indices()
    field = ds._manifest.schema.find("n").id
    assert ds._session.indexes.of_field(ds._manifest, field, "filter") == []
    assert unindexed(ds) == 10
    with pytest.raises(Unsupported, match="SORTED"):
        ds.prewarm_index("n_idx")
    INDEXES._loaded["SORTED"] = kind
    check(ds)


def test_a_damaged_file_of_an_index_is_named_with_what_to_do(kind: SortedIndex, tmp_path: Any) -> None:
    ds = written(str(tmp_path / "t"))
    ds.create_index("n", "SORTED")
    [file] = ds._manifest.indices[0].segments[0].files
    path = tmp_path / "t" / file.path
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 255]) + data[len(data) // 2 + 1 :])
    with pytest.raises(Corrupt, match="drop the index"):
        lance_like.dataset(tmp_path / "t").prewarm_index("n_idx")
    path.unlink()
    with pytest.raises(Corrupt, match="drop the index"):
        lance_like.dataset(tmp_path / "t").prewarm_index("n_idx")


def test_a_build_is_watched(kind: SortedIndex, uri: str) -> None:
    ds = written(uri)
    told: list[IndexProgress] = []
    ds.create_index("n", "SORTED", progress_callback=told.append)
    assert [(one.event, one.stage, one.completed, one.total) for one in told] == [
        ("start", "sort", 0, 1_000),
        ("progress", "sort", 1_000, 1_000),
        ("complete", "sort", 1_000, 1_000),
    ]
    assert told[-1].fraction == 1


def test_segments_are_built_apart_and_committed_as_one_index(kind: SortedIndex, uri: str) -> None:
    ds = written(uri)
    ids = ds.fragment_ids()
    first = ds.create_scalar_index("n", "SORTED", fragment_ids=ids[::2], index_uuid="A" * 32, strength=3)
    assert first is not None
    assert (first.uuid, ds.has_index) == (str(UUID("a" * 32)), False)
    parts = [first, ds.create_index_uncommitted("n", "SORTED", fragment_ids=ids[1::2], strength=3)]
    assert [part.fragment_ids for part in parts] == [{0, 2}, {1, 3}]
    parts = pickle.loads(pickle.dumps(parts))
    with pytest.raises(InvalidInput, match="same rows"):
        ds.merge_existing_index_segments([parts[0], parts[0]])
    with pytest.raises(InvalidInput, match="one kind"):
        ds.merge_existing_index_segments([parts[0], ds.create_index_uncommitted("s", "SORTED")])
    ds.update({"n": "n + 1"}, where="id < 10")
    ds.commit_existing_index_segments("both", "n", parts)
    check(ds, "both")
    assert unindexed(ds, "both") == 10
    with pytest.raises(InvalidInput, match="same rows"):
        ds.commit_existing_index_segments("twice", "n", [parts[0], parts[0]])
    with pytest.raises(InvalidInput, match="of 's'"):
        ds.commit_existing_index_segments("other", "s", parts)
    with pytest.raises(Conflict):
        lance_like.dataset(uri, version=1).commit_existing_index_segments("both", "n", parts)


def test_a_segment_has_the_uuid_that_it_was_given(kind: SortedIndex, uri: str) -> None:
    ds, given = written(uri), str(uuid4())
    made = ds.create_index_uncommitted("n", "SORTED", index_uuid=given)
    ds.commit_existing_index_segments("n_idx", "n", [made])
    [listed], [described] = ds.list_indices(), ds.describe_indices()[0].segments
    [told] = ds.index_statistics("n_idx")["segments"]
    assert {made.uuid, listed["uuid"], described.uuid, told["uuid"]} == {given}


def test_segments_built_apart_are_merged_before_they_are_committed(kind: SortedIndex, uri: str) -> None:
    ds = written(uri)
    ids = ds.fragment_ids()
    parts = [ds.create_index_uncommitted("n", "SORTED", fragment_ids=[i]) for i in ids[:3]]
    ds.update({"n": "n + 1"}, where="id < 10")
    ds.delete("id = 20")
    merged = pickle.loads(pickle.dumps(ds.merge_existing_index_segments(parts)))
    assert (merged.fragment_ids, merged.dataset_version) == (set(ds.fragment_ids()) - {ids[3]}, ds.version)
    assert not ds.has_index
    ds.commit_existing_index_segments("n_idx", "n", [merged])
    check(ds, "n_idx")
    [segment] = ds.list_indices()
    assert segment["uuid"] == merged.uuid
    last = ds.get_fragment(ids[3])
    assert last is not None
    assert unindexed(ds, "n_idx") == last.count_rows()


def test_a_column_of_more_values_than_one_dictionary_numbers_is_indexed_wherever_its_rows_stand(uri: str) -> None:
    kind = pa.dictionary(pa.int8(), pa.string())

    def rows(start: int, end: int, step: int = 1) -> pa.Table:
        texts = pa.array([f"v{i}" for i in range(start, end, step)])
        return pa.table({"d": texts.cast(kind), "wide": [str(i) * 100 for i in range(start, end, step)]})

    ds = lance_like.write_dataset(rows(0, 100), uri)
    for start in (100, 200, 300):
        ds.insert(rows(start, start + 100))
    ds.optimize.compact_files()
    ds.merge_insert("d").when_matched_update_all().execute(rows(0, 400, 4))
    assert len(ds.get_fragments()) == 2, "every fourth row has moved"
    ds.create_scalar_index("d", "BTREE")
    assert [ds.count_rows(f"d = 'v{j}'") for j in (0, 7, 396, 399, 400)] == [1, 1, 1, 1, 0]


def test_a_prewarm_may_read_some_segments_alone(kind: SortedIndex, uri: str) -> None:
    ds = written(uri)
    parts = [ds.create_index_uncommitted("n", "SORTED", fragment_ids=[i]) for i in ds.fragment_ids()[:2]]
    ds.commit_existing_index_segments("n_idx", "n", parts)
    ds.prewarm_index("n_idx", index_segments=[parts[1].uuid])
    segments = ds._session.indexes.coverage(ds._manifest, "n_idx").segments
    assert {str(UUID(one.segment.uuid)): one.searcher.nbytes_cached > 0 for one in segments} == {
        parts[0].uuid: False,
        parts[1].uuid: True,
    }
    with pytest.raises(NotFound, match="no segment"):
        ds.prewarm_index("n_idx", index_segments=["0" * 32])
