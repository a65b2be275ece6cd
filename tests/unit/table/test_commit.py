from __future__ import annotations

import errno
import multiprocessing
import random
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from table_values import HookedStore, add_column, append, create, new_fragment, objects, overwrite, rename, small_table

from lance_like.errors import (
    CommitUnknown,
    Conflict,
    Corrupt,
    IncompatibleChange,
    InvalidInput,
    LanceLikeError,
    NotFound,
    StorageError,
    Unsupported,
)
from lance_like.io.local import LocalStore
from lance_like.io.memory import MemoryStore
from lance_like.io.observe import CountingStore, counted
from lance_like.table import manifest as manifest_module
from lance_like.table.actions import Append, DropColumns, Restore, UpdateMetadata
from lance_like.table.commit import commit
from lance_like.table.layout import VERSIONS, version_key
from lance_like.table.manifest import Manifest
from lance_like.table.parts import FANOUT
from lance_like.table.rowids import RowIdMap
from lance_like.table.snapshot import latest_version, list_versions, read_manifest, read_ref, read_transaction


def test_what_is_committed_is_what_is_read() -> None:
    store, base = small_table()
    after = commit(store, base, append(1), message="more", properties={"why": "test"})
    assert read_manifest(store, 1) == base
    assert read_manifest(store, 2) == after
    assert read_manifest(store, 2, known=base) == after
    record = read_transaction(store, 2)
    assert (record.kind, record.message, record.properties) == ("append", "more", {"why": "test"})


def test_a_table_without_rows_is_a_table() -> None:
    store = MemoryStore()
    version = commit(store, None, create())
    assert read_manifest(store, 1) == version
    assert (version.rows, version.fragments) == (0, ())
    assert commit(store, version, add_column(version)).schema.find("n").id == 4


def test_a_long_history_keeps_its_root_small() -> None:
    store, version = small_table()
    sizes, full = [], FANOUT * FANOUT
    for _ in range(full + 3 * FANOUT):
        version = commit(store, version, append(1))
        sizes.append(len(objects(store)[version_key(version.version)]))
    assert max(sizes[full:]) < 1.05 * max(sizes[:full])
    assert read_manifest(store, version.version) == version
    assert latest_version(store) == version.version
    assert len(list_versions(store)) == full + 3 * FANOUT + 1


def test_a_long_transaction_record_leaves_the_root() -> None:
    store, base = small_table()
    after = commit(store, base, append(1), properties={"long": "x" * 20_000})
    assert len(objects(store)[version_key(2)]) < 10_000
    assert sum(key.endswith(".txn") for key in objects(store)) == 1
    assert read_manifest(store, 2) == after
    assert read_transaction(store, 2).properties == {"long": "x" * 20_000}


def test_an_append_writes_only_its_root() -> None:
    inner, base = small_table()
    store = CountingStore(inner)
    before = objects(inner).keys()
    with counted(store) as counts:
        commit(store, base, append(1))
    assert objects(inner).keys() - before == {version_key(2)}
    # Two for the newest version, one for cleanups; the root of the base is compared.
    assert (counts.rounds, counts.lists) == (1, 3)


def test_drop_and_restore_write_no_more_for_more_rows() -> None:
    sizes = []
    for rows in (10, 10_000_000):
        inner = MemoryStore()
        base = commit(inner, None, create(rows))
        store = CountingStore(inner)
        with counted(store) as counts:
            second = commit(store, base, DropColumns((0,)))
            commit(store, second, Restore(base))
        sizes.append(counts.bytes_written)
    assert sizes[1] - sizes[0] < 100


def test_opening_lists_two_folders_and_reads_root_and_schema() -> None:
    inner, version = small_table()
    for _ in range(300):
        version = commit(inner, version, UpdateMetadata({"a": str(version.version)}))
    store = CountingStore(inner)
    with counted(store) as counts:
        newest = latest_version(store)
        assert newest is not None
        read_manifest(store, newest)
    assert (newest, counts.lists, counts.rounds) == (301, 2, 2)


def test_text_that_is_not_unicode_is_refused_before_anything_is_visible() -> None:
    store, base = small_table()
    before = objects(store)
    with pytest.raises(InvalidInput, match="Unicode"):
        commit(store, base, overwrite(1), message="\ud800")
    assert objects(store) == before


def test_a_version_of_an_unknown_writer_feature_is_read_and_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    store, base = small_table()
    monkeypatch.setattr(manifest_module, "WRITER_FEATURES", 4)
    newer = commit(store, replace(base, writer_features=4), append(1))
    monkeypatch.undo()
    assert read_manifest(store, 2) == newer
    for known in (newer, base):
        with pytest.raises(Unsupported, match="feature bits 2"):
            commit(store, known, append(1))


def test_a_version_of_an_unknown_reader_feature_is_refused() -> None:
    store, base = small_table()
    commit(store, replace(base, reader_features=5), append(1))
    with pytest.raises(Unsupported, match="feature bits 0, 2"):
        read_manifest(store, 2)
    with pytest.raises(Unsupported):
        commit(store, base, append(1))


# -- other writers -----------------------------------------------------------------------------------


def test_a_missing_version_is_a_conflict_never_skipped() -> None:
    store, base = small_table()
    second = commit(store, base, append(1))
    commit(store, second, append(1))
    store.delete([version_key(2)])
    with pytest.raises(Conflict, match="removed"):
        commit(store, base, append(1))
    assert list_versions(store) == [1, 3]


def test_a_table_that_was_replaced_is_a_conflict() -> None:
    store, base = small_table()
    second = commit(store, base, append(1))
    store.delete([version_key(2)])
    with pytest.raises(Conflict, match="version 2"):
        commit(store, second, append(1))


def test_a_bad_newest_version_stops_everybody() -> None:
    store, base = small_table()
    commit(store, base, append(1))
    store.put(version_key(2), [b""])
    with pytest.raises(Corrupt):
        read_manifest(store, 2)
    with pytest.raises(Corrupt):
        commit(store, base, append(1))
    assert latest_version(store) == 2


def test_a_lost_race_leaves_no_parts_behind() -> None:
    inner, base = small_table()
    raced = iter([True])

    def before(verb: str, key: str) -> None:
        if verb == "put_if_absent" and next(raced, False):
            commit(inner, base, append(1))

    after = commit(HookedStore(inner, before=before), base, overwrite(2))
    assert after.version == 3
    assert read_manifest(inner, 3) == after
    assert sum(key.endswith(".schema") for key in objects(inner)) == 2


def test_a_change_is_made_again_a_bounded_number_of_times() -> None:
    inner, base = small_table()
    newest = [base]

    def change(version: Manifest):
        newest[0] = commit(inner, newest[0], append(1))
        return add_column(version)

    with pytest.raises(Conflict, match="made again"):
        commit(inner, base, change, retries=2)
    assert newest[0].version == 4


def test_a_commit_gives_up_after_its_time() -> None:
    inner, base = small_table()
    newest = [base]

    def before(verb: str, key: str) -> None:
        if verb == "put_if_absent":
            newest[0] = commit(inner, newest[0], append(1))

    with pytest.raises(Conflict, match="first 1 times") as caught:
        commit(HookedStore(inner, before=before), base, append(1), timeout_s=-1)
    assert caught.value.retryable


def _append_many(root: str, times: int) -> None:
    store = LocalStore(root, durability="process")
    for _ in range(times):
        version = latest_version(store)
        assert version is not None
        commit(store, read_manifest(store, version), append(2))


def _check_all_there(store: LocalStore | MemoryStore, commits: int) -> None:
    newest = read_manifest(store, commits + 1)
    assert list_versions(store) == list(range(1, commits + 2))
    assert newest.rows == 5 + 2 * commits
    assert RowIdMap.of(newest.fragments).starts[0] == 0  # raises if an id is used twice
    uuids = {read_transaction(store, version).uuid for version in list_versions(store)}
    assert len(uuids) == commits + 1


def test_threads_append_at_once_and_nothing_is_lost(tmp_path: Path) -> None:
    store = LocalStore(str(tmp_path), durability="process")
    commit(store, None, create(3, 2))
    threads = [threading.Thread(target=_append_many, args=(str(tmp_path), 5)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _check_all_there(store, 20)


@pytest.mark.slow
def test_processes_append_at_once_and_nothing_is_lost(tmp_path: Path) -> None:
    store = LocalStore(str(tmp_path), durability="process")
    commit(store, None, create(3, 2))
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_append_many, args=(str(tmp_path), 25)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    _check_all_there(store, 100)


def _mixed_changes(store: LocalStore | MemoryStore, seed: int, times: int, done: list[Manifest]) -> None:
    chance = random.Random(seed)
    for number in range(times):
        name = f"c{seed}_{number}"
        change = chance.choice(
            [
                lambda newest: Append(newest.schema.to_arrow(), (new_fragment(2, len(newest.schema.fields)),)),
                lambda newest, name=name: add_column(newest, name),
                lambda newest, name=name: rename({newest.schema.fields[-1].id: name}),
                lambda newest, name=name: UpdateMetadata({name: "1"}),
            ]
        )
        base = read_manifest(store, latest_version(store) or 0)
        with suppress(IncompatibleChange):
            done.append(commit(store, base, change, retries=1000))


@pytest.mark.parametrize("kind", ["memory", "local"])
def test_mixed_writers_make_one_history(kind: str, tmp_path: Path) -> None:
    store = MemoryStore() if kind == "memory" else LocalStore(str(tmp_path), durability="process")
    commit(store, None, create(3, 2))
    done: list[Manifest] = []
    threads = [threading.Thread(target=_mixed_changes, args=(store, seed, 8, done)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    acknowledged = {made.version: made for made in done}
    assert len(acknowledged) == len(done) > 20
    assert list_versions(store) == list(range(1, len(done) + 2))
    before = read_manifest(store, 1)
    for version in range(2, len(done) + 2):
        after = read_manifest(store, version)
        assert after == acknowledged[version]
        record = after.transaction
        assert [f.id for f in after.fragments] == [*(f.id for f in before.fragments), *record.fragments_added]
        assert sum(end - start for start, end in record.row_ids) == after.rows - before.rows
        new_ids = {field.id for field in after.schema.fields} - {field.id for field in before.schema.fields}
        told = {field_id for start, end in record.fields for field_id in range(start, end)}
        assert new_ids == (told if record.kind == "add_columns" else set())
        assert all(f.locate(field_id) for f in after.fragments for field_id in new_ids)
        assert after.timestamp_us > before.timestamp_us
        before = after


def _append_for_ever(root: str) -> None:
    _append_many(root, 10_000)


@pytest.mark.slow
def test_a_killed_writer_leaves_a_table_that_opens_and_goes_on(tmp_path: Path) -> None:
    store = LocalStore(str(tmp_path))
    commit(store, None, create(3, 2))
    chance = random.Random(1)
    context = multiprocessing.get_context("fork")
    for _ in range(10):
        writer = context.Process(target=_append_for_ever, args=(str(tmp_path),))
        writer.start()
        time.sleep(chance.uniform(0.01, 0.06))
        writer.kill()
        writer.join()
        newest = latest_version(store)
        assert newest is not None
        _check_all_there(store, newest - 1)
        commit(store, read_manifest(store, newest), append(2))
    names = {name for bucket in store.list(VERSIONS) for name in store.list(f"{VERSIONS}/{bucket}")}
    assert len(names) == latest_version(store)


# -- stores that fail --------------------------------------------------------------------------------


def _changes():
    return [append(1), overwrite(2), DropColumns((0,)), UpdateMetadata({"a": "1"})]


def _failing_at(inner: MemoryStore, number: int, *, after: bool, code: int | None) -> HookedStore:
    calls = [0]

    def hook(verb: str, key: str) -> None:
        calls[0] += 1
        if calls[0] == number:
            error = StorageError("the store failed")
            error.errno = code
            raise error

    return HookedStore(inner, after=hook) if after else HookedStore(inner, before=hook)


@pytest.mark.parametrize("code", [None, errno.ENOSPC])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("index", range(4))
def test_a_failure_of_any_call_leaves_the_table_as_it_was_or_committed(
    index: int, after: bool, code: int | None
) -> None:
    for raced in (False, True):
        for number in range(1, 40):
            inner, base = small_table()
            if raced:
                commit(inner, base, append(1))
            versions = list_versions(inner)
            before = {version: read_manifest(inner, version) for version in versions}
            store = _failing_at(inner, number, after=after, code=code)
            error: LanceLikeError | None = None
            try:
                made = commit(store, base, _changes()[index])
            except LanceLikeError as caught:
                error = caught
            now = list_versions(inner)
            assert {version: read_manifest(inner, version) for version in versions} == before
            if error is None:
                assert now == [*versions, versions[-1] + 1]
                assert read_manifest(inner, now[-1]) == made
            elif isinstance(error, CommitUnknown):
                committed = now != versions
                assert not committed or read_transaction(inner, now[-1]).uuid == error.transaction
                assert not committed or read_manifest(inner, now[-1])
            else:
                assert now == versions
                # A failed removal of parts leaves garbage only.
            store.before = store.after = lambda verb, key: None
            again = commit(store, read_manifest(inner, now[-1]), UpdateMetadata({"b": "2"}))
            assert read_manifest(inner, again.version) == again


def _answering(inner: MemoryStore, error: OSError, *, published: bool) -> HookedStore:
    def hook(verb: str, key: str) -> None:
        if verb == "put_if_absent":
            raise error

    return HookedStore(inner, after=hook) if published else HookedStore(inner, before=hook)


def test_a_lost_answer_to_a_publish_that_worked_is_success() -> None:
    inner, base = small_table()
    after = commit(_answering(inner, StorageError("lost"), published=True), base, overwrite(1))
    assert read_manifest(inner, 2) == after
    inner, base = small_table()
    after = commit(_answering(inner, TimeoutError("lost"), published=True), base, overwrite(1))
    assert read_manifest(inner, 2) == after


def test_a_store_that_repeats_its_request_and_meets_its_own_object_is_success() -> None:
    inner, base = small_table()
    after_call = iter([True])

    def hook(verb: str, key: str) -> None:
        if verb == "put_if_absent" and next(after_call, False):
            inner.put_if_absent(key, b"")

    after = commit(HookedStore(inner, after=hook), base, overwrite(1))
    assert list_versions(inner) == [1, 2]
    assert read_manifest(inner, 2) == after


def test_a_lost_answer_to_a_publish_that_is_not_there_is_unknown() -> None:
    inner, base = small_table()
    with pytest.raises(CommitUnknown) as caught:
        commit(_answering(inner, StorageError("lost"), published=False), base, overwrite(1))
    assert len(caught.value.transaction) == 32
    # The request may still arrive, so the parts it names stay.
    assert sum(key.endswith(".schema") for key in objects(inner)) == 2


def test_a_full_disk_is_a_storage_error_and_leaves_nothing() -> None:
    inner, base = small_table()
    before = objects(inner)
    full = StorageError("no space")
    full.errno = errno.ENOSPC
    with pytest.raises(StorageError):
        commit(_answering(inner, full, published=False), base, overwrite(1))
    assert objects(inner) == before


def test_a_version_that_the_disk_did_not_make_durable_is_not_acknowledged() -> None:
    inner, base = small_table()
    broken = StorageError("sync failed")
    broken.errno = errno.EIO
    with pytest.raises(CommitUnknown, match="visible"):
        commit(_answering(inner, broken, published=True), base, overwrite(1))
    assert read_manifest(inner, 2).transaction.kind == "overwrite"


def test_a_missing_part_is_corrupt_and_a_missing_version_not_found() -> None:
    store, base = small_table()
    with pytest.raises(NotFound, match="version 2 does not exist"):
        read_manifest(store, 2)
    assert base.schema_ref is not None
    store.delete([base.schema_ref.path])
    with pytest.raises(Corrupt, match="missing"):
        read_manifest(store, 1)


def test_a_valid_part_in_the_place_of_another_is_noticed() -> None:
    store, base = small_table()
    after = commit(store, base, rename({0: "b"}))
    assert base.schema_ref is not None and after.schema_ref is not None
    assert base.schema_ref.nbytes == after.schema_ref.nbytes
    store.put(after.schema_ref.path, [objects(store)[base.schema_ref.path]])
    with pytest.raises(Corrupt, match="not the one its manifest names"):
        read_manifest(store, 2)


@pytest.mark.parametrize("more", [-1, 1])
def test_a_part_of_another_size_than_recorded_is_noticed(more: int) -> None:
    store, base = small_table()
    assert base.schema_ref is not None
    wrong = replace(base.schema_ref, nbytes=base.schema_ref.nbytes + more)
    with pytest.raises(Corrupt):
        read_ref(store, wrong)
    assert read_ref(store, base.schema_ref)


def test_a_valid_root_under_another_number_is_noticed() -> None:
    store, _ = small_table()
    store.put(version_key(2), [objects(store)[version_key(1)]])
    with pytest.raises(Corrupt, match="'version'"):
        read_manifest(store, 2)
