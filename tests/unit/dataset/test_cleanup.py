"""Removing old versions: which go, what stays with those that stay, and who is waited for."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pyarrow as pa
import pytest
from dataset_values import assert_same, people

import lance_like
from lance_like import LanceDataset
from lance_like.dataset.cleanup import CleanupStats
from lance_like.dataset.inputs import as_stream
from lance_like.dataset.write import write_version
from lance_like.errors import Conflict, Corrupt, InvalidInput, NotFound
from lance_like.io.local import LocalStore
from lance_like.io.memory import MemoryStore
from lance_like.io.observe import CountingStore, counted
from lance_like.io.store import Store
from lance_like.table import commit as module_of_commit
from lance_like.table import gc as module_of_gc
from lance_like.table import history as module_of_history
from lance_like.table import layout, parts
from lance_like.table.actions import UpdateMetadata
from lance_like.table.commit import commit
from lance_like.table.gc import Policy, clean
from lance_like.table.layout import new_data_key, new_part_key, version_key
from lance_like.table.lease import hold
from lance_like.table.snapshot import list_versions
from tests.objects_named import keys, left_over, named

NOW = timedelta(0)
DAY_S = 86_400


def history(uri: Any) -> LanceDataset:
    """Seven versions: files that are named by all, by some, and by one."""
    ds = lance_like.write_dataset(people(10), uri, max_rows_per_file=4)
    ds.insert(people(2))
    ds.add_columns({"n": "i + 1"})
    ds.update({"t": "'u'"}, "i = 5")
    ds.delete("i = 3")
    ds.optimize.compact_files()
    ds.insert(people(3), mode="overwrite")
    return ds


def numbers(ds: LanceDataset) -> list[int]:
    return [found["version"] for found in ds.versions()]


def assert_whole(ds: LanceDataset) -> None:
    """Nothing but what versions name is there, and all of that."""
    assert left_over(ds._store) == set()
    assert named(ds._store) <= set(keys(ds._store))


# Which versions


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({}, [1, 2, 3, 4, 5, 6, 7]),
        ({"older_than": timedelta(days=1)}, [1, 2, 3, 4, 5, 6, 7]),
        ({"older_than": NOW}, [7]),
        ({"retain_versions": 3}, [5, 6, 7]),
        ({"retain_versions": 30}, [1, 2, 3, 4, 5, 6, 7]),
        ({"versions": [2, 3, 7, 99]}, [1, 4, 5, 6, 7]),
        ({"versions": [2, 6], "retain_versions": 3}, [1, 3, 4, 5, 6, 7]),
        ({"older_than": timedelta(days=1), "retain_versions": 1}, [1, 2, 3, 4, 5, 6, 7]),
    ],
    ids=str,
)
def test_the_versions_that_all_that_is_given_lets_go_are_removed(options, left, uri):
    ds = history(uri)
    before = {version: ds.checkout_version(version).to_table(with_row_id=True) for version in numbers(ds)}
    stats = ds.cleanup_old_versions(**options)
    assert numbers(ds) == left
    assert stats.old_versions == 7 - len(left)
    for version in left:
        assert_same(ds.checkout_version(version).to_table(with_row_id=True), before[version])
    assert_whole(ds)


class Clock:
    """A clock for commits: each time it is asked it is 100 s later, 350 s before now at first."""

    monotonic, sleep = time.monotonic, time.sleep

    def __init__(self) -> None:
        self._next = time.time_ns() - 350 * 10**9

    def time_ns(self) -> int:
        self._next += 100 * 10**9
        return self._next - 100 * 10**9


def test_versions_are_old_by_the_time_they_were_made(uri, monkeypatch):
    monkeypatch.setattr(module_of_commit, "time", Clock())
    ds = lance_like.write_dataset({"a": [0]}, uri)
    for number in range(3):
        ds.insert({"a": [number]})
    ds.cleanup_old_versions(timedelta(seconds=200))
    assert numbers(ds) == [3, 4]


@pytest.mark.parametrize(
    "wrong",
    [
        {"older_than": timedelta(days=-1)},
        {"older_than": 5},
        {"retain_versions": 0},
        {"retain_versions": "1"},
        {"versions": "12"},
        {"versions": ["x"]},
    ],
)
def test_what_is_no_policy_is_refused(wrong, uri):
    with pytest.raises(InvalidInput):
        history(uri).cleanup_old_versions(**wrong)


def test_a_place_without_a_table_is_not_cleaned():
    with pytest.raises(NotFound):
        clean(MemoryStore(), Policy())


def test_tagged_versions_stay_with_all_they_name(uri):
    ds = history(uri)
    ds.tags.create("keep", 3)
    before = ds.checkout_version("keep").to_table()
    with pytest.raises(InvalidInput, match="version 3 has the tag 'keep'"):
        ds.cleanup_old_versions(NOW)
    assert len(numbers(ds)) == 7
    ds.cleanup_old_versions(NOW, error_if_tagged_old_versions=False)
    assert numbers(ds) == [3, 7]
    assert_same(ds.checkout_version("keep").to_table(), before)
    assert_whole(ds)


def test_branches_keep_their_own_versions_and_what_they_name(uri):
    ds = history(uri)
    branch = ds.create_branch("b", 3)
    before = branch.to_table()
    branch.insert(people(1))
    after = branch.to_table()
    ds.cleanup_old_versions(NOW)
    assert (numbers(ds), numbers(branch)) == ([7], [3, 4])
    for version, expected in ((3, before), (4, after)):
        assert_same(ds.checkout_version(("b", version)).to_table(), expected)
    assert_whole(ds)
    branch.cleanup_old_versions(NOW)
    assert (numbers(ds), numbers(branch)) == ([7], [4])
    assert_same(ds.checkout_version(("b", 4)).to_table(), after)
    assert_whole(ds)


def test_a_tag_keeps_a_version_of_its_own_branch_only(uri):
    ds = history(uri)
    branch = ds.create_branch("b", 3)
    branch.insert(people(1))
    branch.tags.create("t", 3)
    ds.cleanup_old_versions(NOW)
    assert numbers(ds) == [7]
    branch.cleanup_old_versions(NOW, error_if_tagged_old_versions=False)
    assert numbers(branch) == [3, 4]


def test_all_branches_are_cleaned_at_once(uri):
    ds = history(uri)
    branch = ds.create_branch("dev", 3)
    branch.insert(people(2))
    branch.insert(people(2), mode="overwrite")
    kept = ds.create_branch("kept", 2)
    kept.insert(people(1))
    ds.tags.create("begun", ("kept", 2))
    options = {"delete_unverified": True, "error_if_tagged_old_versions": False, "all_branches": True}
    told = branch.explain_cleanup_old_versions(NOW, **options)
    assert (told.read_version, told.old_versions) == (5, [3, 4])
    assert told.branches == {None: [1, 2, 3, 4, 5, 6], "kept": []}
    assert len(numbers(ds)) == 7
    assert branch.cleanup_old_versions(NOW, **options) == told.stats
    assert [numbers(one) for one in (ds, branch, kept)] == [[7], [5], [2, 3]]
    assert_whole(ds)
    assert_same(kept.checkout_version(2).to_table(), pa.concat_tables([people(10), people(2)]))
    assert_same(branch.to_table(), people(2))


def test_in_all_branches_leases_and_numbers_count(uri):
    ds = history(uri)
    branch = ds.create_branch("dev", 3)
    for _ in range(3):
        branch.insert(people(1))
    with branch.checkout_version(5).lease():
        stats = ds.cleanup_old_versions(retain_versions=1, all_branches=True)
    assert (stats.old_versions, numbers(ds), numbers(branch)) == (8, [7], [5, 6])


def test_a_tag_in_any_branch_is_an_error_before_anything_is_removed(uri):
    ds = history(uri)
    branch = ds.create_branch("dev", 3)
    branch.insert(people(1))
    ds.tags.create("begun", ("dev", 3))
    with pytest.raises(InvalidInput, match="begun"):
        ds.cleanup_old_versions(NOW, all_branches=True)
    assert len(numbers(ds)) == 7


def test_versions_are_those_of_one_branch(uri):
    with pytest.raises(InvalidInput, match="of one branch"):
        history(uri).cleanup_old_versions(versions=[1], all_branches=True)


def test_what_a_deleted_branch_left_goes_with_what_is_unverified(tmp_path):
    ds = history(tmp_path)
    branch = ds.create_branch("b", 3)
    branch.insert(people(1))
    root = next(key for key in keys(ds._store) if key.startswith("_branches/"))
    [data] = ds._store.read([root], limit=1 << 20)
    ds.branches.delete("b")
    ds._store.put(root, [data])
    ds.cleanup_old_versions(NOW)
    assert root in set(keys(ds._store))
    assert named(ds._store) <= set(keys(ds._store))
    ds.cleanup_old_versions(NOW, delete_unverified=True)
    assert_whole(ds)
    assert list((tmp_path / "_branches").iterdir()) == []


# Which files


def orphans(store: Store) -> list[str]:
    """Put objects that no version names."""
    found = [new_data_key(), new_part_key("part"), new_part_key("del"), new_part_key("txn")]
    for key in found:
        store.put(key, [b"12345"])
    return found


def test_files_that_no_version_names_stay_unless_they_are_asked_for(uri):
    ds = history(uri)
    left = orphans(ds._store)
    ds.cleanup_old_versions(NOW)
    assert set(left) <= set(keys(ds._store))
    stats = ds.cleanup_old_versions(NOW, delete_unverified=True)
    assert stats == CleanupStats(20, 0, 1, 1, 0, 1)
    assert_whole(ds)


def test_files_that_no_version_names_go_after_seven_days(tmp_path):
    ds = history(tmp_path)
    temporary = ["data/.tmp-1", "_versions/.tmp-2", "_versions/0000000000000000/.tmp-3", "_leases/.tmp-4"]
    for key in temporary:
        (tmp_path / key).write_bytes(b"123")
    left = [*orphans(ds._store), *temporary]
    for days, there in ((6.9, set(left)), (7.1, set())):
        for key in left:
            os.utime(tmp_path / key, (time.time() - days * DAY_S,) * 2)
        ds.cleanup_old_versions(NOW)
        assert {key for key in left if (tmp_path / key).exists()} == there
    assert_whole(ds)


def test_unfinished_writes_of_every_kind_go_when_they_are_asked_for(tmp_path):
    ds = history(tmp_path)
    ds.create_branch("b", 3)
    [line] = (tmp_path / "_branches").iterdir()
    ds.tags.create("t")
    folders = ("data", "_meta", "_leases", "_refs/tags", "_refs/branches", "_versions/0000000000000000")
    for folder in (*(tmp_path / name for name in folders), line / "_versions" / "0000000000000000"):
        (folder / ".tmp-1").write_bytes(b"123")
    (tmp_path / "_versions/0000000000000000/.tmp-claim-x").mkdir()
    (tmp_path / "_versions/0000000000000000/.tmp-claim-x/.tmp-7").write_bytes(b"x")
    ds.cleanup_old_versions()
    assert len(list(tmp_path.rglob(".tmp-*"))) == len(folders) + 3
    ds.cleanup_old_versions(delete_unverified=True)
    assert list(tmp_path.rglob(".tmp-*")) == []


def test_old_buckets_go_when_they_are_empty(tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "VERSIONS_PER_BUCKET", 3)
    ds = history(tmp_path)
    ds.tags.create("t", 4)
    assert len(list((tmp_path / "_versions").iterdir())) == 3
    ds.cleanup_old_versions(NOW, error_if_tagged_old_versions=False)
    assert sorted(path.name[-1] for path in (tmp_path / "_versions").iterdir()) == ["1", "2"]
    assert numbers(ds) == [4, 7]


def test_parts_that_versions_share_are_read_once_and_stay(uri, monkeypatch):
    monkeypatch.setattr(parts, "FANOUT", 4)
    inner = MemoryStore()
    store = CountingStore(inner)
    ds = LanceDataset(store, write_version(store, None, as_stream({"a": [0]}), mode="create"))
    for number in range(40):
        ds.insert({"a": [number]})
    before = {version: ds.checkout_version(version).to_table() for version in range(21, 42)}
    with counted(store) as counts:
        ds.cleanup_old_versions(retain_versions=21)
    read = [key for key, _ in counts.log if key.endswith(".part")]
    assert len(read) == len(set(read)) > 5
    # The announcement is put, then put again with the versions.
    assert counts.bytes_written < 1000
    for version, expected in before.items():
        assert_same(ds.checkout_version(version).to_table(), expected)
    assert_whole(ds)


def test_a_dry_run_says_what_a_cleanup_does_and_writes_nothing(uri):
    ds = history(uri)
    orphans(ds._store)
    before = set(keys(ds._store))
    options: dict[str, Any] = {"retain_versions": 2, "delete_unverified": True}
    told = ds.explain_cleanup_old_versions(**options, include_files=True)
    assert set(keys(ds._store)) == before
    stats = ds.cleanup_old_versions(**options)
    assert (told.read_version, told.old_versions, told.stats) == (7, [1, 2, 3, 4, 5], stats)
    assert {file.path for file in told.candidate_files} == before - set(keys(ds._store))
    assert sum(file.size_bytes for file in told.candidate_files) == stats.bytes_removed > 0
    unverified = sorted(file.kind for file in told.candidate_files if file.unverified)
    assert unverified == ["data", "deletion", "metadata", "transaction"]
    assert not told.candidate_files_truncated


def test_a_dry_run_names_so_many_files(uri):
    ds = history(uri)
    assert ds.explain_cleanup_old_versions(NOW).candidate_files == []
    told = ds.explain_cleanup_old_versions(NOW, include_files=True, max_files=2)
    assert (len(told.candidate_files), told.candidate_files_truncated, told.candidate_file_limit) == (2, True, 2)
    with pytest.raises(InvalidInput):
        ds.explain_cleanup_old_versions(NOW, max_files=0)


# What goes wrong


def test_a_damaged_version_that_stays_ends_the_cleanup_before_anything_is_removed(uri):
    ds = history(uri)
    before = set(keys(ds._store))
    ds._store.put(version_key(6), [b"no root"])
    with pytest.raises(Corrupt):
        ds.cleanup_old_versions(retain_versions=2)
    assert set(keys(ds._store)) == before


def test_a_damaged_version_that_goes_is_no_hindrance(uri):
    ds = history(uri)
    ds._store.put(version_key(4), [b"no root"])
    ds.cleanup_old_versions(retain_versions=2)
    assert numbers(ds) == [6, 7]


class Dying:
    """A store that stops before its n-th removal of one object."""

    def __init__(self, inner: Store, left: int) -> None:
        self.inner, self.left = inner, left

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def delete(self, keys, **options) -> None:
        for key in keys:
            if self.left == 0:
                raise KeyboardInterrupt
            self.left -= 1
            self.inner.delete([key], **options)


def test_a_cleanup_that_is_stopped_anywhere_leaves_whole_versions_and_can_be_done_again(tmp_path):
    first = history(tmp_path / "first")
    first.tags.create("t", 3)
    kept = {version: first.checkout_version(version).to_table() for version in (3, 7)}
    stopped = 0
    while True:
        folder = tmp_path / str(stopped)
        shutil.copytree(tmp_path / "first", folder)
        ds = lance_like.dataset(folder)
        try:
            clean(Dying(ds._store, stopped), Policy(older_than_us=0, error_if_tagged=False))
        except KeyboardInterrupt:
            pass
        else:
            break
        assert kept.keys() <= set(numbers(ds))
        for version in numbers(ds):
            found = ds.checkout_version(version).to_table()
            assert version not in kept or found.equals(kept[version])
        ds.cleanup_old_versions(NOW, error_if_tagged_old_versions=False, delete_unverified=True)
        assert numbers(ds) == [3, 7]
        assert_whole(ds)
        stopped += 1
    assert stopped == 9


# Beside others


def test_a_lease_keeps_a_version_and_those_that_follow(uri):
    ds = history(uri)
    old = ds.checkout_version(4)
    with old.lease():
        assert ds.cleanup_old_versions(NOW).old_versions == 3
        assert numbers(ds) == [4, 5, 6, 7]
    ds.cleanup_old_versions(NOW)
    assert numbers(ds) == [7]
    with pytest.raises(Conflict, match="version 4"), old.lease():
        pass
    assert_whole(ds)


def test_what_is_written_under_a_lease_stays(uri):
    ds = history(uri)
    with ds.lease():
        mine = orphans(ds._store)
        ds.cleanup_old_versions(NOW, delete_unverified=True)
        assert set(mine) <= set(keys(ds._store))
    ds.cleanup_old_versions(NOW, delete_unverified=True)
    assert_whole(ds)


WRITES: dict[str, Callable[[LanceDataset], object]] = {
    "insert": lambda ds: ds.insert(people(3)),
    "overwrite": lambda ds: ds.insert(people(3), mode="overwrite"),
    "delete": lambda ds: ds.delete("i = 1"),
    "update": lambda ds: ds.update({"t": "'x'"}, "i = 1"),
    "merge": lambda ds: ds.merge_insert("i").when_matched_update_all().when_not_matched_insert_all().execute(people(5)),
    "add": lambda ds: ds.add_columns({"more": "i * 3"}),
    "compact": lambda ds: ds.optimize.compact_files(materialize_deletions_threshold=0.0),
    "restore": lambda ds: ds.restore(),
    "rename": lambda ds: ds.alter_columns({"path": "i", "name": "j"}),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_cleanup_beside_a_write_takes_nothing_away_from_it(write, tmp_path, monkeypatch):
    """After each of the first objects that the write puts, another writer commits, and cleans all that it can."""
    ds = history(tmp_path)
    ds.insert(people(2))
    ds.delete("i = 0")
    before, others, busy = ds.version, [], []
    real = LocalStore.put

    def put(self, key, chunks, **options):
        nbytes = real(self, key, chunks, **options)
        if len(others) < 3 and not busy and not key.startswith("_leases/"):
            busy.append(key)
            other = lance_like.dataset(tmp_path)
            other.update_metadata({"n": str(len(others))})
            others.append(other.version)
            other.cleanup_old_versions(NOW, delete_unverified=True)
            busy.clear()
        return nbytes

    monkeypatch.setattr(LocalStore, "put", put)
    write(ds)
    monkeypatch.undo()
    found = lance_like.dataset(tmp_path)
    found.validate()
    assert ds.version == found.version == before + len(others) + 1
    found.to_table()
    found.cleanup_old_versions(NOW, delete_unverified=True)
    assert_whole(found)


@pytest.mark.parametrize("fragments", [1, 20], ids=["files", "parts"])
@pytest.mark.parametrize(
    "read",
    [
        lambda ds: ds.to_table(),
        lambda ds: ds.take([19]),
        lambda ds: list(ds.to_batches(filter="i > 3")),
        lambda ds: ds.take_blobs("b", indices=[19]),
    ],
    ids=["scan", "take", "filter", "blobs"],
)
def test_a_read_of_a_version_that_was_removed_says_that_it_is_gone(read, fragments, uri):
    lance_like.write_dataset({"i": range(20), "b": [b"cell"] * 20}, uri, max_rows_per_file=20 // fragments)
    ds = lance_like.dataset(uri)
    lance_like.write_dataset({"i": [1], "b": [b"new"]}, uri, mode="overwrite")
    lance_like.dataset(uri).cleanup_old_versions(older_than=NOW)
    with pytest.raises(NotFound, match=r"version 1 is gone: a cleanup removed it .*newest, 2; a tag or ds\.lease\(\)"):
        read(ds)


def test_a_read_of_a_table_that_was_replaced_says_so(uri):
    lance_like.write_dataset({"i": range(20)}, uri)
    ds = lance_like.dataset(uri)
    LanceDataset.drop(uri)
    lance_like.write_dataset({"i": [1]}, uri)
    with pytest.raises(NotFound, match="version 1 is gone: the table was removed or replaced"):
        ds.to_table()


def test_a_file_that_is_missing_from_a_version_that_is_there_is_damage(uri):
    ds = lance_like.write_dataset({"i": range(20)}, uri, max_rows_per_file=1)
    ds._store.delete([key for key in keys(ds._store) if key.endswith((".lnl", ".part"))])
    for opened in (ds, lance_like.dataset(uri)):
        with pytest.raises(Corrupt) as raised:
            opened.to_table()
        assert raised.value.kind == "missing"


def test_a_write_from_a_version_that_was_removed_is_a_conflict_that_can_be_tried_again(uri):
    ds = history(uri)
    old = ds.checkout_version(2)
    ds.cleanup_old_versions(NOW)
    before = set(keys(ds._store))
    for write in (old.restore, lambda: old.delete("i = 1"), lambda: old.update({"t": "'x'"})):
        with pytest.raises(Conflict, match="version 2") as caught:
            write()
        assert caught.value.retryable
    assert set(keys(ds._store)) == before


def test_all_old_versions_go_though_the_clock_of_the_store_is_behind(uri, monkeypatch):
    ds = history(uri)
    store = type(ds._store)
    real = store.modified_us
    monkeypatch.setattr(store, "modified_us", lambda store, key: real(store, key) - 3_600_000_000)
    assert ds.cleanup_old_versions(timedelta(microseconds=1)).old_versions == 0
    assert ds.cleanup_old_versions(NOW).old_versions == 6
    assert numbers(ds) == [7]


def test_a_cleanup_goes_on_when_another_removes_what_was_the_newest_version(uri, monkeypatch):
    ds = history(uri)
    real = module_of_gc._settle

    def after_another(*arguments):
        monkeypatch.setattr(module_of_gc, "_settle", real)
        other = lance_like.dataset(uri)
        other.delete("i = 0")
        other.cleanup_old_versions(NOW)
        assert numbers(other) == [8]
        return real(*arguments)

    monkeypatch.setattr(module_of_gc, "_settle", after_another)
    ds.cleanup_old_versions(NOW)
    assert numbers(lance_like.dataset(uri)) == [8]


@pytest.mark.parametrize("by_path", [False, True])
@pytest.mark.parametrize("late", [False, True])
def test_an_append_goes_on_beside_another_commit_and_a_cleanup(uri, monkeypatch, by_path, late):
    ds = history(uri)
    step = "read_manifest" if late else "hold_from"
    real = getattr(module_of_history, step)

    def after_another(*arguments, **options):
        monkeypatch.setattr(module_of_history, step, real)
        other = lance_like.dataset(uri)
        for _ in range(2):
            other.delete("i = 0")
        other.cleanup_old_versions(NOW)
        # Under a lease the version that the append begins with, and those after it, stay.
        assert numbers(other) == ([7, 8, 9] if late else [9])
        return real(*arguments, **options)

    monkeypatch.setattr(module_of_history, step, after_another)
    if by_path:
        lance_like.write_dataset(people(1), uri, mode="append")
    else:
        ds.insert(people(1))
    assert numbers(lance_like.dataset(uri)) == ([7, 8, 9, 10] if late else [9, 10])


def test_a_commit_whose_lease_was_ended_changes_nothing(uri):
    ds = history(uri)
    before = set(keys(ds._store))
    with hold(ds._store, 7) as lease:
        ds._store.delete([lease.key])
        lease._written_s -= 3600
        with pytest.raises(Conflict, match="lease"):
            commit(ds._store, ds._manifest, UpdateMetadata({"a": "b"}), lease=lease)
    assert set(keys(ds._store)) == before
    assert list_versions(ds._store)[-1] == 7
