"""Datasets on an object store, against an S3 server on the loopback interface."""

from __future__ import annotations

import errno
import multiprocessing
import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pytest
from loopback_s3 import S3Server

import lance_like
from lance_like.errors import AlreadyExists, CommitUnknown, NotFound, Unsupported
from lance_like.file import LanceFileReader, LanceFileSession, LanceFileWriter
from lance_like.io.options import as_fsspec
from lance_like.io.remote import filesystem_of


@pytest.fixture
def uri(s3: S3Server) -> str:
    return s3.uri()


def rows(start: int, count: int) -> pa.Table:
    return pa.table({"id": range(start, start + count), "text": [f"row {n}" for n in range(start, start + count)]})


def test_a_table_is_written_appended_to_scanned_and_taken_from(s3: S3Server, uri: str) -> None:
    with pytest.raises(NotFound):
        lance_like.dataset(uri, storage_options=s3.options)
    lance_like.write_dataset(rows(0, 1000), uri, storage_options=s3.options)
    with pytest.raises(AlreadyExists):
        lance_like.write_dataset(rows(0, 1), uri, storage_options=s3.options)
    lance_like.write_dataset(rows(1000, 500), uri, mode="append", storage_options=s3.options)
    ds = lance_like.dataset(uri + "/", storage_options=s3.options)
    assert (ds.uri, ds.version) == (uri, 2)
    assert ds.to_table().equals(rows(0, 1500))
    assert ds.take([1499, 3, 3], ["text"])["text"].to_pylist() == ["row 1499", "row 3", "row 3"]
    assert ds.to_table(["id"], filter="id % 500 = 7")["id"].to_pylist() == [7, 507, 1007]
    assert lance_like.dataset(uri, version=1, storage_options=s3.options).count_rows() == 1000


def test_every_kind_of_change_works(s3: S3Server, uri: str) -> None:
    ds = lance_like.write_dataset(rows(0, 10), uri, storage_options=s3.options)
    ds.tags.create("first", 1)
    with pytest.raises(AlreadyExists):
        ds.tags.create("first", 1)
    ds.add_columns({"twice": "id * 2"})
    ds.delete("id < 3")
    ds.update({"text": "'new'"}, where="id = 5")
    ds.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(
        pa.table({"id": [9, 10], "text": ["merged", "inserted"], "twice": [0, 1]})
    )
    ds = lance_like.dataset(uri, storage_options=s3.options)
    found = ds.to_table().sort_by("id").to_pydict()
    assert found["id"] == [3, 4, 5, 6, 7, 8, 9, 10]
    assert found["text"][2] == "new"
    assert found["twice"] == [6, 8, 10, 12, 14, 16, 0, 1]
    ds.checkout_version("first").restore()
    ds.checkout_latest()
    assert ds.to_table().equals(rows(0, 10))
    assert ds.tags.list()["first"]["version"] == 1
    ds.tags.delete("first")
    assert ds.tags.list() == {}
    assert len(ds.versions()) == ds.version
    ds.insert(rows(10, 5))
    assert ds.optimize.compact_files().fragments_removed == 2
    beside = ds.create_branch("dev")
    beside.insert(rows(15, 1))
    assert ds.to_table().equals(rows(0, 15))
    dev = lance_like.dataset(uri, version=("dev", None), storage_options=s3.options)
    assert dev.to_table().equals(rows(0, 16))
    assert pickle.loads(pickle.dumps(dev)).to_table().equals(rows(0, 16))


def test_a_warm_take_is_one_request_a_file_and_round(s3: S3Server, uri: str) -> None:
    ds = lance_like.write_dataset(rows(0, 100_000), uri, storage_options=s3.options)
    ds.take([5], ["id"])
    s3.requests.clear()
    assert ds.take([9, 10, 11], ["id"])["id"].to_pylist() == [9, 10, 11]
    assert [method for method, _ in s3.requests] in ([], ["GET"])
    s3.requests.clear()
    assert ds.take([99_000], ["id"])["id"].to_pylist() == [99_000]
    assert [method for method, _ in s3.requests] == ["GET"]


def test_an_append_is_a_handful_of_requests(s3: S3Server, uri: str) -> None:
    ds = lance_like.write_dataset(rows(0, 10), uri, storage_options=s3.options)
    s3.requests.clear()
    ds.insert(rows(10, 10))
    verbs = [method for method, _ in s3.requests]
    # The data file and the root; before them two listings find the newest version, and one read opens it.
    # The lease is put, looked for before the root, and removed.
    assert verbs.count("PUT") == 2 + 1
    assert verbs.count("GET") == 3
    assert len(verbs) == 5 + 3


def test_racing_writers_all_land_once(s3: S3Server, uri: str) -> None:
    lance_like.write_dataset(rows(0, 1), uri, storage_options=s3.options)
    start = threading.Barrier(3)
    failures: list[BaseException] = []

    def write(name: int) -> None:
        try:
            start.wait()
            for turn in range(4):
                number = 100 * name + turn
                lance_like.write_dataset(rows(number, 1), uri, mode="append", storage_options=s3.options)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(name,)) for name in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    ds = lance_like.dataset(uri, storage_options=s3.options)
    assert ds.version == 13
    assert sorted(ds.to_table()["id"].to_pylist()) == [
        0,
        *(100 * name + turn for name in (1, 2, 3) for turn in range(4)),
    ]


def test_two_creators_make_one_table(s3: S3Server, uri: str) -> None:
    start = threading.Barrier(2)
    made: list[int] = []

    def create(name: int) -> None:
        start.wait()
        try:
            lance_like.write_dataset(rows(name, 1), uri, storage_options=s3.options)
        except AlreadyExists:
            return
        made.append(name)

    threads = [threading.Thread(target=create, args=(name,)) for name in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert lance_like.dataset(uri, storage_options=s3.options).to_table()["id"].to_pylist() == made


# -- lost answers ----------------------------------------------------------------------------------------------


def losing(ds: Any, monkeypatch: pytest.MonkeyPatch, *, done: bool, then: Callable[[], None] = lambda: None) -> None:
    """Let the answer to the next conditional put of a handle be lost, with it carried out or not."""
    system = ds._store._root()[0]
    real = system.pipe_file
    left = [1]

    def pipe(path: str, data: bytes, mode: str = "overwrite", **options: Any) -> Any:
        if mode != "create" or not left:
            return real(path, data, mode=mode, **options)
        left.clear()
        if done:
            real(path, data, mode=mode, **options)
        then()
        raise OSError(errno.EIO, "connection lost")

    monkeypatch.setattr(system, "pipe_file", pipe)


def test_a_commit_whose_answer_is_lost_is_found_and_not_repeated(
    s3: S3Server, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ds = lance_like.write_dataset(rows(0, 1), uri, storage_options=s3.options)
    losing(ds, monkeypatch, done=True)
    ds.insert(rows(1, 1))
    assert ds.version == 2
    assert lance_like.dataset(uri, storage_options=s3.options).to_table().equals(rows(0, 2))


def test_a_commit_that_may_still_arrive_is_unknown(s3: S3Server, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ds = lance_like.write_dataset(rows(0, 1), uri, storage_options=s3.options)
    losing(ds, monkeypatch, done=False)
    with pytest.raises(CommitUnknown):
        ds.insert(rows(1, 1))
    ds.checkout_latest()
    assert ds.version == 1


def test_a_commit_whose_request_is_lost_and_another_came_first_is_brought_onto_it(
    s3: S3Server, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ds = lance_like.write_dataset(rows(0, 1), uri, storage_options=s3.options)
    other = {**s3.options, "default_cache_type": "none"}
    losing(ds, monkeypatch, done=False, then=lambda: lance_like.dataset(uri, storage_options=other).insert(rows(1, 1)))
    ds.insert(rows(2, 1))
    assert ds.version == 3
    assert ds.to_table().equals(rows(0, 3))


# -- handles ---------------------------------------------------------------------------------------------------


def test_a_handle_is_pickled_with_its_options(s3: S3Server, uri: str) -> None:
    ds = lance_like.write_dataset(rows(0, 3), uri, storage_options=s3.options)
    copy = pickle.loads(pickle.dumps(ds))
    copy.insert(rows(3, 1))
    assert (copy.version, ds.version) == (2, 1)
    blobs = lance_like.dataset(uri, storage_options=s3.options).take_blobs("text", indices=[2])
    assert pickle.loads(pickle.dumps(blobs))[0].read() == b"row 2"


def _read(ds: Any) -> None:
    assert ds.to_table().equals(rows(0, 3))
    ds.insert(rows(3, 1))


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_another_process_goes_on_with_a_handle(s3: S3Server, uri: str, method: Any) -> None:
    ds = lance_like.write_dataset(rows(0, 3), uri, storage_options=s3.options)
    child = multiprocessing.get_context(method).Process(target=_read, args=(ds,))
    child.start()
    child.join(60)
    child.kill()
    assert child.exitcode == 0
    ds.checkout_latest()
    assert ds.to_table().equals(rows(0, 4))


def test_files_are_written_and_read_without_a_table(s3: S3Server, uri: str) -> None:
    with LanceFileWriter(f"{uri}/one.lnl", storage_options=s3.options) as writer:
        writer.write_batch(rows(0, 5).to_batches()[0])
    assert LanceFileReader(f"{uri}/one.lnl", storage_options=s3.options).read_all().to_table().equals(rows(0, 5))
    session = LanceFileSession(uri, storage_options=s3.options)
    assert session.list() == ["one.lnl"]


# -- commit locks ----------------------------------------------------------------------------------------------


def test_a_store_that_cannot_write_if_absent_needs_a_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    # fsspec's own store in memory looks and then writes.
    uri, versions, lock = "r2://locked/table", [], threading.Lock()
    monkeypatch.setattr("lance_like.io.remote.filesystem_of", _looks_then_writes)

    @contextmanager
    def one_at_a_time(version: int) -> Iterator[None]:
        with lock:
            versions.append(version)
            yield

    with pytest.raises(Unsupported, match="commit_lock"):
        lance_like.write_dataset(rows(0, 1), uri)
    with pytest.raises(NotFound):
        lance_like.dataset(uri)
    ds = lance_like.write_dataset(rows(0, 1), uri, commit_lock=one_at_a_time)
    ds.insert(rows(1, 1))
    stale = lance_like.dataset(uri, version=1, commit_lock=one_at_a_time)
    stale.insert(rows(2, 1))
    stale.tags.create("last")
    assert versions[:3] == [1, 2, 3]
    assert set(versions[3:]) == {0}
    assert lance_like.dataset(uri).to_table().equals(rows(0, 3))


def _looks_then_writes(uri: str, options: Any) -> tuple[Any, str]:
    memory = pytest.importorskip("fsspec.implementations.memory").MemoryFileSystem()
    return memory, "/" + uri.partition("://")[2]


# -- several places --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["shallow_clone", "deep_clone"])
def test_a_clone_and_its_source_each_have_their_options(s3: S3Server, uri: str, tmp_path: Any, how: str) -> None:
    ds = lance_like.write_dataset(rows(0, 10), uri, storage_options=s3.options)
    beside, other = s3.uri(), {**s3.options, "default_cache_type": "none"}
    made = [
        getattr(ds, how)(beside),
        getattr(ds, how)(s3.uri(), storage_options=other),
        getattr(ds, how)(tmp_path / "clone"),
    ]
    for clone in (*made, *map(pickle.loads, map(pickle.dumps, made))):
        assert clone.to_table().equals(rows(0, 10))
    assert lance_like.dataset(beside, storage_options=s3.options).to_table().equals(rows(0, 10))
    away = lance_like.dataset(tmp_path / "clone", base_store_params={uri: s3.options})
    assert away.to_table().equals(rows(0, 10))
    written = lance_like.write_dataset(
        rows(10, 1), tmp_path / "clone", mode="append", base_store_params={uri: s3.options}
    )
    assert written.to_table().equals(rows(0, 11))
    assert made[0].deep_clone(tmp_path / "copy").to_table().equals(rows(0, 10))
    assert away.deep_clone(tmp_path / "copy of one").to_table().equals(rows(0, 10))


def test_a_base_of_another_scheme_gets_no_options_of_the_table(s3: S3Server, uri: str, tmp_path: Any) -> None:
    local = lance_like.write_dataset(rows(0, 10), tmp_path / "source")
    local.shallow_clone(uri, storage_options=s3.options)
    assert lance_like.dataset(uri, storage_options=s3.options).to_table().equals(rows(0, 10))


def test_tables_are_converted_from_one_place_to_another(s3: S3Server, uri: str, tmp_path: Any) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(rows(0, 10), tmp_path / "part.parquet")
    lance_like.convert(tmp_path / "part.parquet", uri, storage_options=s3.options)
    assert lance_like.dataset(uri, storage_options=s3.options).to_table().equals(rows(0, 10))
    source = s3.uri()
    system = s3fs_of(s3)
    system.put_file(str(tmp_path / "part.parquet"), f"{source}/part.parquet")
    options = {"storage_options": s3.options, "source_storage_options": s3.options}
    for format in (None, "parquet"):
        made = lance_like.convert(source, s3.uri(), format=format, **options)
        assert made.to_table().equals(rows(0, 10))


def s3fs_of(s3: S3Server) -> Any:
    return filesystem_of(s3.uri(), as_fsspec("s3", s3.options))[0]


@pytest.mark.parametrize("library", ["lance", "deltalake"])
def test_tables_of_other_libraries_are_converted_with_their_options(s3: S3Server, tmp_path: Any, library: str) -> None:
    module, source = pytest.importorskip(library), s3.uri()
    options = {**s3.options, "AWS_ALLOW_HTTP": "true"}
    if library == "lance":
        module.write_dataset(rows(0, 10), source, storage_options=options)
    else:
        module.write_deltalake(source, rows(0, 10), storage_options=options)
    made = lance_like.convert(source, tmp_path / "here", source_storage_options=options)
    assert made.to_table().equals(rows(0, 10))
