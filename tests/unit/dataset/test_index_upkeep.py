"""Indexes through what else happens to a table: clones, branches, cleanup, verification, changes as values."""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from test_indexes import check, table, unindexed, written

import lance_like
from lance_like import LanceOperation, Transaction
from lance_like.dataset.verify import verify_dataset
from lance_like.errors import Corrupt, IncompatibleChange, InvalidInput
from lance_like.index.cache import OpenIndexes
from lance_like.index.registry import INDEXES
from lance_like.indices import IndexConfig
from lance_like.io.observe import CountingStore, counted
from lance_like.table.snapshot import read_manifest
from tests.sorted_index import SortedIndex, ids_found


@pytest.fixture(autouse=True)
def kind(monkeypatch: pytest.MonkeyPatch) -> Iterator[SortedIndex]:
    made = SortedIndex()
    monkeypatch.setitem(INDEXES._loaded, "SORTED", made)
    yield made


def scattered(uri: Any) -> lance_like.LanceDataset:
    """A table whose index has its row ids and its invalidated rows in parts of their own."""
    ds = lance_like.write_dataset(table(0, 20_000), uri)
    ds.delete("id % 90 = 4")
    ds.create_index("n", "SORTED")
    ds.update({"n": "n + 1"}, where="id % 13 = 5")
    [segment] = ds._manifest.indices[0].segments
    assert segment.row_ids.ref is not None
    assert segment.invalid is not None
    assert segment.invalid.ref is not None
    return ds


def test_long_row_ids_and_invalidations_are_parts_and_the_root_stays_small(tmp_path: Path) -> None:
    ds = scattered(tmp_path)
    root = read_manifest(ds._store, ds.version)
    assert root == ds._manifest
    check(lance_like.dataset(tmp_path))
    [newest] = sorted((tmp_path / "_versions").rglob("*.manifest"))[-1:]
    assert newest.stat().st_size < 2_000


def test_a_version_reads_no_row_ids_that_the_one_before_has_read(tmp_path: Path) -> None:
    ds = scattered(tmp_path)
    store = CountingStore(ds._store)
    known = read_manifest(store, ds.version)
    _ = known.indices[0].segments[0].row_ids.runs
    ds.insert(table(20_000, 20_010))
    newest = read_manifest(store, ds.version, known=known)
    with counted(store) as counts:
        assert len(newest.indices[0].segments[0].row_ids.runs) > 48
    assert counts.rounds == 0


@pytest.mark.parametrize("shallow", [True, False])
def test_a_clone_has_the_indexes(tmp_path: Path, shallow: bool) -> None:
    ds = scattered(tmp_path / "a")
    clone = (ds.shallow_clone if shallow else ds.deep_clone)(str(tmp_path / "b"))
    check(clone)
    assert (clone.list_indices()[0]["base_id"] is not None) == shallow
    clone.update({"n": "n + 1"}, where="id < 9")
    clone.optimize.optimize_indices()
    check(clone)
    assert unindexed(clone) == 0
    check(ds)
    assert verify_dataset(clone._store).ok
    if not shallow:
        for name in os.listdir(tmp_path / "a" / "data"):
            (tmp_path / "a" / "data" / name).unlink()
        check(lance_like.dataset(tmp_path / "b"))


def test_a_branch_goes_its_own_way(uri: str) -> None:
    ds = written(uri)
    ds.create_index("n", "SORTED")
    branch = ds.create_branch("side")
    branch.update({"n": "n + 1"}, where="id < 10")
    ds.insert(table(1_000, 1_005))
    check(branch)
    check(ds)
    assert (unindexed(branch), unindexed(ds)) == (10, 5)
    apart = branch.create_index_uncommitted("n", "SORTED", name="other", train=True)
    with pytest.raises(InvalidInput, match="train"):
        branch.create_index_uncommitted("n", "SORTED", train=False)
    with pytest.raises(InvalidInput, match="another branch"):
        ds.commit_existing_index_segments("other", "n", [apart])


def test_a_cleanup_keeps_what_versions_name_and_removes_the_rest(tmp_path: Path) -> None:
    ds = scattered(tmp_path)
    ds.tags.create("kept", ds.version)
    ds.optimize.optimize_indices(retrain=True)
    ds.drop_index("n_idx")
    ds.cleanup_old_versions(retain_versions=1, delete_unverified=True, error_if_tagged_old_versions=False)
    check(lance_like.dataset(tmp_path, version="kept"))
    assert verify_dataset(ds._store).ok
    ds.tags.delete("kept")
    ds.cleanup_old_versions(retain_versions=1, delete_unverified=True)
    files = {file.path for fragment in ds.get_fragments() for file in fragment.data_files()}
    assert {f"data/{name}" for name in os.listdir(tmp_path / "data")} == files
    assert not list((tmp_path / "_meta").glob("*.idx"))


def test_a_cleanup_while_an_index_is_built_leaves_its_files(uri: str) -> None:
    ds = written(uri)
    other = lance_like.dataset(uri)

    class Slow(SortedIndex):
        def build(self, *args: Any, **options: Any) -> Any:
            made = super().build(*args, **options)
            other.cleanup_old_versions(retain_versions=1, delete_unverified=True)
            return made

    INDEXES._loaded["SORTED"] = Slow()
    ds.create_index("n", "SORTED")
    check(lance_like.dataset(uri))


def test_verification_finds_what_is_wrong_with_an_index(tmp_path: Path) -> None:
    ds = scattered(tmp_path)
    ds.validate()
    report = verify_dataset(ds._store)
    [segment] = ds._manifest.indices[0].segments
    assert (report.ok, report.unused) == (True, [])
    assert segment.files[0].path in {file.path for file in report.files}
    path = tmp_path / segment.files[0].path
    data = path.read_bytes()
    path.write_bytes(data[:40] + bytes([data[40] ^ 1]) + data[41:])
    assert not verify_dataset(ds._store).ok
    path.write_bytes(data + b"\0")
    assert not verify_dataset(ds._store).ok
    with pytest.raises(Corrupt, match="bytes"):
        ds.validate()
    path.write_bytes(data)
    assert segment.row_ids.ref is not None
    (tmp_path / segment.row_ids.ref.path).unlink()
    assert [fault.where for fault in verify_dataset(ds._store).faults] == [segment.row_ids.ref.path]


def test_indexes_that_are_ignored_are_never_opened(tmp_path: Path) -> None:
    ds = written(str(tmp_path))
    ds.create_index("n", "SORTED")
    handle = lance_like.dataset(tmp_path, indices="ignore")
    field = handle._manifest.schema.find("n").id
    assert handle._session.indexes.of_field(handle._manifest, field, "filter") == []
    with pytest.raises(InvalidInput, match="ignores"):
        handle._session.indexes.coverage(handle._manifest, "n_idx")
    handle.update({"n": "n + 1"}, where="id < 10")
    assert handle.index_statistics("n_idx")["num_unindexed_rows"] == 10
    assert pickle.loads(pickle.dumps(handle))._session.indexes.ignore
    with pytest.raises(InvalidInput, match="indices='never'"):
        lance_like.dataset(tmp_path, indices="never")  # type: ignore[arg-type]


def test_the_history_says_what_became_of_indexes(uri: str) -> None:
    ds = written(uri)
    ds.create_index("n", "SORTED")
    [made] = ds.list_indices()
    ds.insert(table(1_000, 1_010))
    ds.optimize.optimize_indices(num_indices_to_merge=1)
    ds.drop_index("n_idx")
    operations = [one.operation for one in reversed(ds.get_transactions(4)) if "Create" in type(one.operation).__name__]
    assert all(isinstance(one, LanceOperation.CreateIndex) for one in operations)
    created, extended, dropped = operations
    assert ([one.uuid for one in created.new_indices], created.removed_indices) == ([made["uuid"]], [])
    assert [one.uuid for one in extended.removed_indices] == [made["uuid"]]
    assert extended.new_indices[0].uuid == dropped.removed_indices[0].uuid
    assert dropped.new_indices == []


def test_indexes_are_committed_as_changes_that_are_values(uri: str) -> None:
    ds = written(uri)
    apart = [ds.create_index_uncommitted("n", "SORTED", name="i", fragment_ids=[i]) for i in ds.fragment_ids()]
    one = Transaction(ds.version, LanceOperation.CreateIndex(apart[:2]))
    ds = lance_like.LanceDataset.commit(uri, one)
    assert lance_like.LanceDataset.commit(uri, one).version == ds.version
    check(ds, "i")
    assert unindexed(ds, "i") == 400
    more = LanceOperation.CreateIndex(apart[2:], [])
    with pytest.raises(InvalidInput, match="read_version=1"):
        lance_like.LanceDataset.commit(uri, more, read_version=ds.version)
    with pytest.raises(IncompatibleChange):
        lance_like.LanceDataset.commit(uri, more, read_version=1)
    ds = lance_like.LanceDataset.commit(uri, LanceOperation.CreateIndex([], apart[:2]), read_version=ds.version)
    assert not ds.has_index
    with pytest.raises(InvalidInput, match="nothing"):
        lance_like.LanceDataset.commit(uri, LanceOperation.CreateIndex([]), read_version=ds.version)


def test_segments_built_before_a_restore_do_not_follow_it(uri: str) -> None:
    ds = written(uri)
    ds.update({"n": "n + 1"}, where="id < 10")
    apart = ds.create_index_uncommitted("n", "SORTED")
    ds.checkout_version(1).restore()
    ds.checkout_latest()
    with pytest.raises(IncompatibleChange):
        ds.commit_existing_index_segments("i", "n", [apart])


def test_a_table_extends_its_indexes_by_itself(uri: str, kind: SortedIndex) -> None:
    ds = written(uri)
    ds.create_index("n", "SORTED")
    ds.optimize.enable_auto_index(20)
    ds.insert(table(1_000, 1_020))
    assert (unindexed(ds), kind.built) == (20, [1_000])
    ds.update({"n": "n + 1"}, where="id = 7")
    assert (unindexed(ds), kind.built) == (0, [1_000, 21])
    check(ds)
    lance_like.write_dataset(table(1_020, 1_050), ds, mode="append")
    ds.checkout_latest()
    assert unindexed(ds) == 0
    ds.optimize.disable_auto_index()
    ds.insert(table(1_050, 1_100))
    assert unindexed(ds) == 50


def test_a_failing_extension_is_a_warning(uri: str) -> None:
    ds = written(uri)
    ds.create_index("n", "SORTED")
    ds.optimize.enable_auto_index(0)

    class Failing(SortedIndex):
        def build(self, *args: Any, **options: Any) -> Any:
            raise InvalidInput("not today")

    INDEXES._loaded["SORTED"] = Failing()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ds.insert(table(1_000, 1_020))
    assert ["not today" in str(one.message) for one in caught] == [True]
    check(ds)


def test_extending_reads_what_is_new_only(tmp_path: Path) -> None:
    data = pa.table({"n": np.random.default_rng(0).integers(0, 1 << 62, 200_000)})
    ds = lance_like.write_dataset(data, tmp_path)
    ds.create_index("n", "SORTED")
    ds.insert(data.slice(0, 1_000))
    store = CountingStore(ds._store)
    handle = lance_like.LanceDataset(store, ds._manifest)
    with counted(store) as counts:
        handle.optimize.optimize_indices()
    assert counts.bytes_read < 100_000
    assert unindexed(handle) == 0


def test_open_segments_are_kept_under_a_limit(uri: str) -> None:
    ds = written(uri)
    for name in ("a", "b", "c"):
        ds.create_scalar_index("n", "SORTED", name=name)
    indexes = OpenIndexes(ds._store, cache_nbytes=20_000)

    def ask(name: str) -> None:
        coverage = indexes.coverage(ds._manifest, name)
        assert len(ids_found(coverage, 3)) == 143

    for name in ("a", "b", "c") * 30:
        ask(name)
    assert indexes.nbytes_cached < 45_000
    large = OpenIndexes(ds._store)
    for name in ("a", "b", "c"):
        assert len(ids_found(large.coverage(ds._manifest, name), 3)) == 143
    kept = [large.coverage(ds._manifest, name).segments[0].searcher for name in ("a", "b", "c")]
    assert kept == [large.coverage(ds._manifest, name).segments[0].searcher for name in ("a", "b", "c")]
    assert large.coverage(ds._manifest, "a") is large.coverage(ds._manifest, "a")


def test_an_index_that_all_rows_leave_has_no_segment(uri: str) -> None:
    ds = written(uri)
    ds.create_index("n", "SORTED")
    ds.update({"n": "n + 1"})
    [listed] = ds.list_indices()
    assert (listed["uuid"], listed["fragment_ids"]) == (None, set())
    assert (ds.describe_indices()[0].segments, ds.has_index, unindexed(ds)) == ([], True, 1_000)
    ds.optimize.optimize_indices()
    check(ds)
    assert unindexed(ds) == 0


def test_an_index_that_cannot_take_a_value_keeps_nothing_else_from_being_done(uri: Any) -> None:
    ds = lance_like.write_dataset(pa.table({"v": [1], "j": ['{"a": 1}']}), uri)
    ds.create_scalar_index("j", IndexConfig("json", {"path": "$.a"}), name="inside")
    ds.create_scalar_index("v", "BTREE", name="beside")
    ds.optimize.enable_auto_index(1)
    ds.optimize.enable_auto_cleanup({"interval": 1, "older_than_seconds": 0})
    with pytest.warns(UserWarning, match="Malformed JSON"):
        ds.insert(pa.table({"v": [2, 3], "j": ["{", "no JSON"]}))
    assert ds.index_statistics("beside")["num_unindexed_rows"] == 0
    assert ds.index_statistics("inside")["num_unindexed_rows"] == 2
    assert len(ds.versions()) <= 2
    assert ds.to_table(filter="v > 1")["v"].to_pylist() == [2, 3]
