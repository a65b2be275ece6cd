"""Compaction: the same rows in fewer files, planned, executed and committed in one call or apart."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from arrow_values import TYPES, Shape, cells_of, make_array
from dataset_values import assert_same, people
from hypothesis import given, settings
from hypothesis import strategies as st

import lance_like
from lance_like import Blob, LanceDataset
from lance_like.dataset.compact import CompactionOptions, plan_groups
from lance_like.errors import Conflict, Corrupt, InvalidInput, NotFound
from lance_like.io.memory import MemoryStore
from lance_like.io.observe import CountingStore, counted
from lance_like.optimize import Compaction, CompactionMetrics, CompactionPlan, CompactionTask, RewriteResult
from lance_like.table.actions import Create, NewFile, NewFragment
from lance_like.table.apply import Stamp, apply
from lance_like.table.deletions import Deletions
from lance_like.table.fragment import Fragment
from lance_like.table.layout import new_data_key
from lance_like.table.manifest import Manifest
from lance_like.table.parts import Tree
from lance_like.table.snapshot import latest_version, read_manifest

LINEAGE = ["_rowid", "_row_created_at_version", "_row_last_updated_at_version"]


def fragments_of(uri: str, *rows: int) -> LanceDataset:
    """A table of `people`, one fragment a commit."""
    table, start = people(sum(rows)), 0
    for count in rows:
        ds = lance_like.write_dataset(table.slice(start, count), uri, mode="append" if start else "create")
        start += count
    return ds


def sizes(ds: LanceDataset) -> list[int]:
    return [fragment.physical_rows for fragment in ds.get_fragments()]


def whole(ds: LanceDataset) -> pa.Table:
    """The rows with all that is known of them."""
    return ds.to_table([*ds.schema.names, *LINEAGE])


# What is joined


def test_small_neighbours_become_one_fragment_and_rows_keep_order_ids_and_versions(uri):
    ds = fragments_of(uri, 3, 4, 3)
    ds.update({"t": "'new'"}, "i = 5")
    before = whole(ds)
    assert ds.optimize.compact_files() == CompactionMetrics(3, 1, 4, 1)
    assert (ds.version, sizes(ds)) == (5, [10])
    assert_same(whole(ds), before)
    assert_same(whole(lance_like.dataset(uri)), before)
    assert ds._take_rows([0, 5, 9], ["i"]).to_pydict() == {"i": [0, 5, 9]}


def test_a_second_call_makes_no_version(uri):
    ds = fragments_of(uri, 3, 4, 3)
    ds.optimize.compact_files()
    assert ds.optimize.compact_files() == CompactionMetrics()
    assert ds.version == 4


def test_fragments_are_filled_up_to_the_rows_asked_for_and_full_ones_stay(uri):
    ds = fragments_of(uri, 3, 3, 3, 8, 2, 9, 4)
    assert ds.optimize.compact_files(target_rows_per_fragment=8) == CompactionMetrics(2, 1, 2, 1)
    assert sizes(ds) == [6, 3, 8, 2, 9, 4]
    assert_same(ds.to_table(), people(32))


def test_fragments_of_half_the_bytes_asked_for_are_large_enough(uri):
    ds = fragments_of(uri, 3, 3, 3, 3)
    nbytes = sum(file.nbytes for file in ds._manifest.fragments[0].files)
    assert Compaction.plan(ds, {"max_bytes_per_file": 2 * nbytes}).num_tasks() == 0
    ds.optimize.compact_files(max_bytes_per_file=2 * nbytes + nbytes // 2)
    assert sizes(ds) == [6, 6]


@pytest.mark.parametrize(
    ("options", "after"),
    [
        ({}, [5, 5]),
        ({"materialize_deletions_threshold": 0.2}, [10, 5]),
        ({"materialize_deletions_threshold": 0.5}, [10, 10]),
        ({"materialize_deletions": False}, [10, 10]),
    ],
)
def test_a_fragment_with_many_deleted_rows_is_written_anew_alone(options, after, uri):
    ds = fragments_of(uri, 10, 10)
    ds.delete("i in (0, 3) or i >= 15")
    before = whole(ds)
    ds.optimize.compact_files(target_rows_per_fragment=5, **options)
    assert sizes(ds) == [8 if rows == 5 and place == 0 else rows for place, rows in enumerate(after)]
    assert_same(whole(ds), before)


def test_excluded_fragments_stay_and_part_their_neighbours(uri):
    ds = fragments_of(uri, 2, 2, 2, 2, 2)
    ds.optimize.compact_files(excluded_fragment_ids=[2, 99])
    assert sizes(ds) == [4, 2, 4]


@pytest.mark.parametrize(
    ("bound", "after"),
    [
        ({"max_source_fragments": 3}, [4, 2, 2, 2, 2]),
        ({"max_source_rows": 8}, [4, 4, 2, 2]),
        ({"max_source_bytes": 1}, [2] * 6),
        ({"max_source_fragments": 0}, [2] * 6),
    ],
)
def test_a_call_takes_the_oldest_groups_within_its_bounds(bound, after, uri):
    ds = fragments_of(uri, *[2] * 6)
    ds.optimize.compact_files(target_rows_per_fragment=4, **bound)
    assert sizes(ds) == after


def planned(fragments: list[tuple[int, int, int]]) -> Manifest:
    """A version of fragments, each (rows, deleted rows, bytes), whose files were never written."""
    new = tuple(NewFragment((NewFile(new_data_key(), nbytes, 0, rows, 1),)) for rows, _, nbytes in fragments)
    manifest = apply(None, Create(pa.schema({"a": pa.int64()}), new), Stamp("0" * 32, 1, 0))
    made = [
        Fragment(f.id, f.rows, f.files, f.lineage, Deletions.of(np.arange(deleted)) if deleted else None)
        for f, (_, deleted, _) in zip(manifest.fragments, fragments, strict=True)
    ]
    object.__setattr__(manifest, "tree", Tree((), tuple(made)))
    return manifest


SHAPES = st.integers(1, 40).flatmap(
    lambda rows: st.tuples(st.just(rows), st.integers(0, rows - 1) | st.just(0), st.integers(1, 500))
)


@settings(max_examples=200)
@given(fragments=st.lists(SHAPES, min_size=1, max_size=20), rows=st.integers(1, 50), nbytes=st.integers(1, 1000))
def test_what_was_compacted_is_not_compacted_again(fragments, rows, nbytes):
    options = CompactionOptions(target_rows_per_fragment=rows, max_bytes_per_file=nbytes)
    manifest = planned(fragments)
    groups = plan_groups(manifest, options)
    joined = {f.id: group for group in groups for f in group}
    after: list[tuple[int, int, int]] = []
    for fragment, shape in zip(manifest.fragments, fragments, strict=True):
        group = joined.get(fragment.id)
        if group is None:
            after.append(shape)
        elif group[0] is fragment:
            after.append(
                (
                    sum(f.live_rows for f in group),
                    0,
                    max(1, sum(f.files[0].nbytes * f.live_rows // f.rows for f in group)),
                )
            )
    assert len(after) == len(fragments) - sum(len(group) - 1 for group in groups)
    assert plan_groups(planned(after), options) == []
    for group in groups:
        assert len(group) > 1 or options.is_worn(group[0])
        assert sum(f.live_rows for f in group) <= rows or len(group) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"target_rows_per_fragment": 0},
        {"target_rows_per_fragment": 1 << 33},
        {"max_bytes_per_file": -1},
        {"materialize_deletions_threshold": -0.1},
        {"materialize_deletions_threshold": "x"},
        {"num_threads": True},
        {"compaction_mode": "fast"},
    ],
)
def test_options_out_of_range_are_refused(wrong, uri):
    with pytest.raises(InvalidInput):
        fragments_of(uri, 2).optimize.compact_files(**wrong)


def test_an_unknown_option_is_refused(uri):
    ds = fragments_of(uri, 2)
    with pytest.raises(InvalidInput, match="not an option"):
        Compaction.plan(ds, {"rows": 3})


# What the rows are


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: str(kind).replace("\n", ""))
def test_every_type_is_the_same_afterwards(kind, uri):
    random = np.random.default_rng(4)
    arrays = [make_array(kind, rows, Shape("near", 0.3), random) for rows in (9, 5, 12)]
    for array in arrays:
        ds = lance_like.write_dataset(pa.table({"n": np.arange(len(array)), "c": array}), uri, mode="append")
    ds.delete("n = 2")
    assert ds.optimize.compact_files().fragments_added == 1
    expected = [cell for array in arrays for row, cell in enumerate(cells_of(array)) if row != 2]
    column = ds.to_table()["c"]
    assert column.type == kind
    assert cells_of(column) == expected


def test_columns_that_were_dropped_go_and_columns_without_values_stay_null(uri):
    ds = fragments_of(uri, 3, 3)
    ds.add_columns(pa.field("empty", pa.list_(pa.struct([("x", pa.int8())]))))
    ds.drop_columns(["t", "s.y"])
    before = whole(ds)
    ds.optimize.compact_files()
    assert_same(whole(ds), before)
    [file] = ds._manifest.fragments[0].files
    held = {ds._manifest.schema.path(field_id) for field_id in file.field_ids}
    assert held == {("i",), ("s",), ("s", "x"), ("empty",)}


def test_a_table_left_with_columns_without_values_only_is_compacted(uri):
    ds = lance_like.write_dataset({"a": [1, 2]}, uri)
    ds.insert({"a": [3]})
    ds.add_columns(pa.field("n", pa.int8()))
    ds.drop_columns(["a"])
    ds.optimize.compact_files()
    assert (sizes(ds), ds.to_table().to_pydict()) == ([3], {"n": [None] * 3})


def test_columns_in_files_of_their_own_are_joined_with_their_rows(uri):
    ds = fragments_of(uri, 3, 3)
    ds.add_columns({"twice": "i * 2"})
    assert ds.optimize.compact_files() == CompactionMetrics(2, 1, 4, 1)
    assert ds.to_table(["twice"])["twice"].to_pylist() == [0, 2, 4, 6, 8, 10]


def test_blobs_are_kept_and_references_stay_references(uri, tmp_path):
    outside = tmp_path / "outside.bin"
    outside.write_bytes(b"0123456789")
    schema = pa.schema([lance_like.blob_field("b"), lance_like.blob_field("e", external=True)])
    cells: list[Any] = [Blob.from_uri(str(outside), 2, 3), b"here", None]
    for number in range(3):
        rows = {"b": [bytes([number]) * 100_000, None, b""], "e": lance_like.blob_array(cells)}
        ds = lance_like.write_dataset(rows, uri, schema=schema, mode="append")
    before = whole(ds)
    ds.optimize.compact_files()
    assert sizes(ds) == [9]
    assert_same(whole(ds).drop_columns(["b", "e"]), before.drop_columns(["b", "e"]))
    read = [None if cell is None else cell.read() for cell in ds.take_blobs("b", indices=list(range(9)))]
    assert read == [cell for number in range(3) for cell in (bytes([number]) * 100_000, None, b"")]
    read = [None if cell is None else cell.read() for cell in ds.take_blobs("e", indices=[0, 1, 2])]
    assert read == [b"234", b"here", None]
    files = [file for fragment in ds._manifest.fragments for file in fragment.files]
    assert sum(file.nbytes for file in files) < 400_000


def test_only_the_groups_are_read_and_written():
    store = CountingStore(MemoryStore())
    big = pa.table({"a": np.random.default_rng(0).integers(0, 1 << 60, 100_000)})
    ds = LanceDataset(*_written(store, [big, big.slice(0, 10), big.slice(10, 10)]))
    with counted(store) as counts:
        assert ds.optimize.compact_files(target_rows_per_fragment=50_000) == CompactionMetrics(2, 1, 2, 1)
    assert counts.bytes_written < 10_000
    read = {key for key, _ in counts.log if key.startswith("data/")}
    assert read == {file.path for f in ds.checkout_version(1).get_fragments()[1:] for file in f.data_files()}


def _written(store, tables: list[pa.Table]):
    from lance_like.dataset.inputs import as_stream
    from lance_like.dataset.write import FileLimits, write_fragments
    from lance_like.table.commit import commit

    new = tuple(f for table in tables for f in write_fragments(store, as_stream(table, None), limits=FileLimits()))
    manifest = commit(store, None, Create(tables[0].schema, new))
    return store, manifest


# In steps


def test_tasks_and_results_travel_as_text_and_as_pickles(uri):
    ds = fragments_of(uri, 3, 3, 3, 3)
    before = whole(ds)
    plan = Compaction.plan(ds, {"target_rows_per_fragment": 6, "materialize_deletions_threshold": 0.25})
    assert plan.num_tasks() == 2
    for copy in (CompactionPlan.from_json(plan.json()), pickle.loads(pickle.dumps(plan))):
        assert copy == plan
    tasks = [CompactionTask.from_json(task.json()) for task in plan.tasks]
    results = [pickle.loads(pickle.dumps(task.execute(lance_like.dataset(uri)))) for task in tasks]
    assert ds.version == lance_like.dataset(uri).version == 4
    copies = [RewriteResult.from_json(result.json()) for result in results]
    assert copies == results
    assert Compaction.commit(ds, copies) == CompactionMetrics(4, 2, 4, 2)
    assert (ds.version, sizes(ds)) == (5, [6, 6])
    assert_same(whole(ds), before)


def test_bounds_of_the_columns_travel_with_a_result(uri):
    ds = fragments_of(uri, 3, 3)
    results = [task.execute(ds) for task in Compaction.plan(ds).tasks]
    Compaction.commit(ds, [RewriteResult.from_json(result.json()) for result in results])
    [file] = ds._manifest.fragments[0].files
    assert [field_id for field_id, _ in file.stats] == list(file.field_ids)


def test_a_task_reads_the_version_it_was_planned_for(uri):
    ds = fragments_of(uri, 3, 3)
    [task] = Compaction.plan(ds).tasks
    other = lance_like.dataset(uri)
    other.insert(people(2))
    Compaction.commit(other, [task.execute(other)])
    assert sizes(other) == [6, 2]
    with pytest.raises(NotFound):
        CompactionTask(1, (7,)).execute(ds)


def test_results_that_do_not_fit_are_refused(uri):
    ds = fragments_of(uri, 3, 3)
    assert Compaction.commit(ds, []) == CompactionMetrics()
    [result] = [task.execute(ds) for task in Compaction.plan(ds).tasks]
    other = RewriteResult(1, (0,), result.file, result.metrics)
    for wrong in ([result, other], [other], [RewriteResult(2, (0,), result.file, result.metrics)]):
        with pytest.raises(InvalidInput):
            Compaction.commit(ds, wrong)
    assert ds.version == 2


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"read_version": 0, "tasks": []}', '{"read_version": 1}'])
def test_text_that_is_no_plan_is_refused(text):
    with pytest.raises(Corrupt):
        CompactionPlan.from_json(text)


# Beside other writers


def data_files(uri: str) -> set[str]:
    return {f"data/{name}" for name in lance_like.dataset(uri)._store.list("data/")}


def named(ds: LanceDataset) -> set[str]:
    """The data files that any version names."""
    every = [ds.checkout_version(found["version"]) for found in ds.versions()]
    return {file.path for old in every for f in old.get_fragments() for file in f.data_files()}


def test_a_group_that_was_changed_meanwhile_is_left_and_its_file_removed(uri):
    ds = fragments_of(uri, 3, 3, 3, 3)
    results = [task.execute(ds) for task in Compaction.plan(ds, {"target_rows_per_fragment": 6}).tasks]
    lance_like.dataset(uri).delete("i = 1")
    assert Compaction.commit(ds, results) == CompactionMetrics(2, 1, 2, 1)
    assert sizes(ds) == [3, 3, 6]
    assert ds.to_table(["i"])["i"].to_pylist() == [0, *range(2, 12)]
    assert data_files(uri) == named(ds)


def test_results_none_of_which_is_left_are_a_conflict(uri):
    ds = fragments_of(uri, 3, 3)
    results = [task.execute(ds) for task in Compaction.plan(ds).tasks]
    lance_like.dataset(uri).update({"t": "'u'"}, "i = 1")
    with pytest.raises(Conflict):
        Compaction.commit(ds, results)
    assert ds.version == 2


def compact_beside(ds: LanceDataset, monkeypatch: pytest.MonkeyPatch, meddle, **options) -> CompactionMetrics:
    """Compact; another writer changes the table once, before the first commit."""
    from lance_like.dataset import optimize

    inner, pending = optimize.write_group, [meddle]

    def written(*arguments):
        file = inner(*arguments)
        while pending:
            pending.pop()()
        return file

    monkeypatch.setattr(optimize, "write_group", written)
    return ds.optimize.compact_files(**options)


@pytest.mark.parametrize(
    ("meddle", "metrics"),
    [
        (lambda other: other.insert(people(2)), CompactionMetrics(2, 1, 2, 1)),
        (lambda other: other.delete("i = 1"), CompactionMetrics(2, 1, 2, 1)),
        (lambda other: other.update({"t": "'u'"}, "i = 1"), CompactionMetrics(2, 1, 3, 1)),
        (lambda other: other.add_columns({"n": "i + 1"}), CompactionMetrics(2, 1, 4, 1)),
        (lambda other: other.drop_columns(["t"]), CompactionMetrics(2, 1, 2, 1)),
        (lambda other: other.alter_columns({"path": "t", "name": "u"}), CompactionMetrics(2, 1, 2, 1)),
        (lambda other: other.optimize.compact_files(), CompactionMetrics()),
    ],
    ids=["append", "delete", "update", "add", "drop", "rename", "compact"],
)
def test_a_compaction_beside_another_change_loses_nothing(meddle, metrics, uri, monkeypatch):
    ds = fragments_of(uri, 3, 3)
    other = lance_like.dataset(uri)
    # The same change on a table that nobody compacts.
    alone = fragments_of(uri + "-alone", 3, 3)
    meddle(alone)
    expected = whole(alone)
    assert compact_beside(ds, monkeypatch, lambda: meddle(other)) == metrics
    assert_same(whole(ds), expected)
    assert data_files(uri) == named(ds)


def test_a_compaction_in_the_store_is_one_version(uri):
    ds = fragments_of(uri, 3, 3, 3)
    ds.optimize.compact_files()
    assert latest_version(ds._store) == 4
    record = read_manifest(ds._store, 4).transaction
    assert (record.kind, record.row_ids, record.fragments_added) == ("compact", (), (3,))
