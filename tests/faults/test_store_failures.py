"""A store that fails at any one call: the operation is done or it is not, and what is said about it is true."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType

import pytest
from breaking_store import NEVER, BreakingStore
from operations import NUMBER, OPERATIONS, Facts, at_most, facts, prepare, some
from small_dataset import objects, open_store, rows, store_of

import lance_like
from lance_like import LanceDataset
from lance_like.dataset.inputs import as_stream
from lance_like.dataset.write import write_version
from lance_like.errors import AlreadyExists, CommitUnknown, LanceLikeError, NotFound, StorageError
from lance_like.io.memory import MemoryStore
from lance_like.io.store import Store
from lance_like.table.lease import Lease


@pytest.fixture(scope="module")
def content() -> dict[str, bytes]:
    """Four versions, two fragments, a tag."""
    store = MemoryStore("small")
    ds = LanceDataset(store, write_version(store, None, as_stream(rows(4)), mode="create"))
    ds.tags.create("first")
    ds.add_columns({"twice": "n * 2"})
    ds.insert(rows(2, 4))
    ds.alter_columns({"path": "twice", "name": "double"})
    return objects(store)


def base_of(name: str) -> dict[str, bytes]:
    store = MemoryStore("small")
    prepare(store, OPERATIONS[name].after)
    return objects(store)


def is_commit(before: Facts, after: Facts) -> bool:
    """Did an operation make a version of the table itself, and not only a name, or less?"""
    return after.versions.keys() > before.versions.keys()


@at_most(6)
@pytest.mark.parametrize("how", ["refused", "lost", "torn", "down"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_is_done_or_not_whichever_call_fails(name, how, most, small_tables):
    run, base = OPERATIONS[name].run, base_of(name)
    counting = BreakingStore(store_of(base), fail_at=NEVER, how=how)
    before = facts(counting.inner)
    run(counting, NUMBER)
    after = facts(counting.inner)
    assert before != after
    publishing = [number for number, verb in enumerate(counting.log) if verb == "put_if_absent"]
    for number in {*some(range(counting.calls), most, name + how), *publishing}:
        store = BreakingStore(store_of(base), fail_at=number, how=how)
        call = f"call {number} ({counting.log[number]}) {how}"
        try:
            run(store, NUMBER)
            possible = [after]
        except CommitUnknown:
            assert counting.log[number] == "put_if_absent", call
            possible = [before, after]
        except StorageError as error:
            assert "made to fail" in str(error), call
            # The answer about a name may be lost: versions are looked up. And what is to be undone needs a store. A
            # cleanup that stops after it removed versions is done, but for files that nothing names.
            unsure = not is_commit(before, after) and (how in ("lost", "down") or name.startswith("clean"))
            possible = [before, after] if unsure else [before]
        assert facts(store.inner, known=before.versions) in possible, f"{call}: neither as before nor as after"


def test_a_commit_whose_answer_was_lost_is_looked_up_and_acknowledged():
    for name, operation in OPERATIONS.items():
        counting = BreakingStore(store_of(base_of(name)), fail_at=NEVER, how="lost")
        before = facts(counting.inner)
        operation.run(counting, NUMBER)
        after = facts(counting.inner)
        if not is_commit(before, after):
            continue
        store = BreakingStore(store_of(base_of(name)), fail_at=counting.log.index("put_if_absent"), how="lost")
        operation.run(store, NUMBER)
        assert facts(store.inner) == after
        assert store.log.count("put_if_absent") == 1, "a lost answer was answered by writing again"


def append(store: Store) -> None:
    open_store(store).insert(rows(2), max_rows_per_file=1)


def add(store: Store) -> None:
    open_store(store).add_columns({"more": "n + 1"})


def test_an_unknown_commit_can_be_found_by_its_transaction(content):
    """The answer is lost and the store is down afterwards: the caller can look for the transaction later."""
    counting = BreakingStore(store_of(content), fail_at=NEVER, how="lost")
    append(counting)
    publish = counting.log.index("put_if_absent")

    class LostThenDown(BreakingStore):
        def _call(self, verb, *arguments, **options):
            if self.calls > publish:
                self.how = "down"
            return super()._call(verb, *arguments, **options)

    store = LostThenDown(store_of(content), fail_at=publish, how="lost")
    with pytest.raises(CommitUnknown) as caught:
        append(store)
    found = [
        version
        for version in open_store(store.inner).versions()
        if version["metadata"]["uuid"] == caught.value.transaction
    ]
    assert [version["version"] for version in found] == [5]


def test_a_handle_does_not_move_when_its_write_fails_and_can_be_used_again(content):
    store = BreakingStore(store_of(content), fail_at=NEVER, how="down")
    ds = open_store(store)
    before = ds.to_table()
    for write in (
        lambda: ds.insert(rows(1)),
        lambda: ds.add_columns({"more": "n + 1"}),
        lambda: ds.drop_columns(["n"]),
        lambda: ds.restore(),
    ):
        store.fail_at = store.calls + 1
        with pytest.raises(StorageError):
            write()
        store.fail_at = NEVER
        assert ds.version == 4
        assert ds.to_table().equals(before)
    ds.insert(rows(1))
    assert ds.version == 5


@pytest.mark.parametrize("how", ["refused", "lost"])
def test_a_read_that_failed_succeeds_when_it_is_repeated_through_the_same_handle(how, content):
    reads: dict[str, Callable[[LanceDataset], object]] = {
        "to_table": lambda ds: ds.to_table().to_pylist(),
        "take": lambda ds: ds.take([5, 0, 3]).to_pylist(),
        "_take_rows": lambda ds: ds._take_rows([1, 4], ["s", "double"]).to_pylist(),
        "filter": lambda ds: ds.to_table(["n"], filter="n > 2 and flag").to_pylist(),
        "count": lambda ds: ds.count_rows("text is null"),
        "versions": lambda ds: ds.versions(),
        "tags": lambda ds: ds.tags.list(),
    }
    for name, read in reads.items():
        counting = BreakingStore(store_of(content), fail_at=NEVER, how=how)
        ds = open_store(counting)
        opened = counting.calls
        expected = read(ds)
        for number in range(opened, counting.calls):
            store = BreakingStore(store_of(content), fail_at=number, how=how)
            ds = open_store(store)
            with pytest.raises(StorageError, match="made to fail"):
                read(ds)
            assert repr(read(ds)) == repr(expected), f"{name}: call {number} left the handle broken"


def test_opening_fails_clearly_whichever_call_fails(content):
    for version in (None, 1, "first"):
        counting = BreakingStore(store_of(content), fail_at=NEVER, how="refused")
        open_store(counting, version)
        for number in range(counting.calls):
            with pytest.raises(StorageError, match="made to fail"):
                open_store(BreakingStore(store_of(content), fail_at=number, how="refused"), version)


def test_the_next_write_after_any_failure_works(content):
    counting = BreakingStore(store_of(content), fail_at=NEVER, how="down")
    add(counting)
    # The last call ends the lease of a change that is committed: that it fails is no failure.
    for number in range(counting.calls - 1):
        store = BreakingStore(store_of(content), fail_at=number, how="down")
        with pytest.raises((StorageError, CommitUnknown)):
            add(store)
        ds = open_store(store.inner)
        ds.add_columns({"more": "n + 1"})
        ds.insert(rows(1))
        assert (ds.version, ds.count_rows("more is not null")) == (6, 6)


def test_a_create_that_lost_the_race_leaves_the_winner(content):
    store = store_of({})
    write_version(store, None, as_stream({"a": [1]}), mode="create")
    with pytest.raises(AlreadyExists):
        write_version(store, None, as_stream({"a": [2]}), mode="create")
    assert open_store(store).to_table().to_pydict() == {"a": [1]}


# The disk


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def callers() -> list[CodeType]:
    frame, found = sys._getframe(1), []
    while frame is not None:
        found.append(frame.f_code)
        frame = frame.f_back
    return found


def temporary(folder: Path) -> list[str]:
    return [name for name in files(folder) if ".tmp-" in name]


@pytest.mark.parametrize("call", ["fsync", "close", "write", "link", "replace", "open"])
def test_a_failing_system_call_is_raised_and_leaves_the_table_as_it_was(call, tmp_path, monkeypatch):
    lance_like.write_dataset({"a": [1, 2]}, tmp_path)
    real = getattr(os, call)
    seen = [0]

    def failing(*arguments, **options):
        if sys._getframe(1).f_code.co_name == "__del__" or Lease.end.__code__ in callers():
            # A file that was read is closed when nobody holds it any more: there is no one to tell. And a lease that
            # stays counts no more when it is old.
            return real(*arguments, **options)
        seen[0] += 1
        if seen[0] == fail_at:
            if call == "close":
                real(*arguments)
            raise OSError(errno.EIO, "made to fail")
        return real(*arguments, **options)

    for fail_at in range(1, 30):
        seen[0] = 0
        ds = lance_like.dataset(tmp_path)
        version, before = ds.version, ds.to_table()
        seen[0] = 0
        with monkeypatch.context() as patch:
            patch.setattr(os, call, failing)
            try:
                ds.insert({"a": [3]})
            except CommitUnknown:
                continue  # visible, yet not known to be durable
            except LanceLikeError as error:
                assert "made to fail" in str(error)
            else:
                assert seen[0] < fail_at, "an error of the system was swallowed"
                break
        assert not temporary(tmp_path)
        assert lance_like.dataset(tmp_path).version == version
        assert lance_like.dataset(tmp_path).to_table().equals(before)
    assert lance_like.dataset(tmp_path).to_table()["a"].to_pylist()[:2] == [1, 2]


DISK_FULL = """
import os, resource, sys
import lance_like
from lance_like.errors import StorageError
ds = lance_like.dataset(sys.argv[1])
# A file that grows over the limit fails with an error, as on a full disk.
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, resource.RLIM_INFINITY))
for write in (
    lambda: ds.insert({"a": [os.urandom(20_000)]}),
    lambda: ds.add_columns({"b": [os.urandom(20_000)]}),
    lambda: ds.insert({"a": [b"y"]}, commit_message=os.urandom(20_000).hex()),
):
    try:
        write()
    except StorageError as error:
        assert "large" in str(error), error
    else:
        raise AssertionError("it was written")
assert ds.version == 1
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
ds.insert({"a": [os.urandom(20_000)]})
print(ds.version, len(ds))
"""


def test_a_full_disk_is_a_clear_error_and_the_next_write_works_when_there_is_room(tmp_path):
    pytest.importorskip("resource")
    lance_like.write_dataset({"a": [b"x"]}, tmp_path)
    before = files(tmp_path)
    done = subprocess.run([sys.executable, "-c", DISK_FULL, str(tmp_path)], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, ["2", "2"]), done.stderr
    assert not temporary(tmp_path)
    left = set(files(tmp_path)) - set(before)
    assert sum(name.startswith("data/") for name in left) <= 3


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_can_be_read(tmp_path):
    lance_like.write_dataset({"a": [1]}, tmp_path)
    folders = [tmp_path, *(path for path in tmp_path.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        ds = lance_like.dataset(tmp_path)
        assert ds.to_table().to_pydict() == {"a": [1]}
        with pytest.raises(StorageError):
            ds.insert({"a": [2]})
    finally:
        for folder in folders:
            folder.chmod(0o755)


def test_names_that_are_no_version_are_ignored(tmp_path):
    ds = lance_like.write_dataset({"a": [1]}, tmp_path)
    bucket = next((tmp_path / "_versions").iterdir())
    for name in ("00000000000000000009.manifest~", ".tmp-x", "9.manifest", "latest", "00000000000000000009.MANIFEST"):
        (bucket / name).write_bytes(b"junk")
    (tmp_path / "_versions" / "notes").mkdir()
    (tmp_path / "_versions" / "notes" / "00000000000000000009.manifest").write_bytes(b"junk")
    assert lance_like.dataset(tmp_path).version == ds.latest_version == 1
    ds.insert({"a": [2]})
    assert [version["version"] for version in ds.versions()] == [1, 2]


def test_a_link_in_the_place_of_a_file_is_not_followed(tmp_path):
    lance_like.write_dataset({"a": [1]}, tmp_path / "t")
    data = next((tmp_path / "t" / "data").iterdir())
    data.rename(tmp_path / "elsewhere")
    data.symlink_to(tmp_path / "elsewhere")
    with pytest.raises((lance_like.errors.Corrupt, NotFound)):
        lance_like.dataset(tmp_path / "t").to_table()


def test_a_pipe_in_the_place_of_a_file_does_not_hang(tmp_path):
    lance_like.write_dataset({"a": [1]}, tmp_path)
    data = next((tmp_path / "data").iterdir())
    data.unlink()
    os.mkfifo(data)
    with pytest.raises(LanceLikeError):
        lance_like.dataset(tmp_path).to_table()
