"""The store on an object store: the contract of stores, against an S3 server on the loopback interface."""

from __future__ import annotations

import errno
import multiprocessing
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import pytest
from loopback_s3 import S3Server
from store_contract import StoreContract, ranges, read_all

from lance_like.errors import (
    AlreadyExists,
    Corrupt,
    InvalidInput,
    MissingDependency,
    NotFound,
    StorageError,
    Unsupported,
)
from lance_like.io import conditional, remote
from lance_like.io.options import as_fsspec
from lance_like.io.remote import FsspecStore
from lance_like.typing_ import Spanning


@pytest.fixture
def store(s3: S3Server) -> FsspecStore:
    return FsspecStore(s3.uri(), options=s3.options)


class TestFsspecStore(StoreContract):
    @pytest.fixture
    def store(self, s3: S3Server) -> FsspecStore:
        return FsspecStore(s3.uri(), options=s3.options)


def failing(system: Any, verb: str, error: Exception, *, done: bool = False) -> Callable[..., Any]:
    """A verb of a filesystem that fails, after it did what it should if done."""
    real = getattr(system, verb)

    def call(*args: Any, **options: Any) -> Any:
        if done:
            real(*args, **options)
        raise error

    return call


class ClientError(Exception):
    """What botocore raises, as far as it is looked at."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.response = {"Error": {"Code": code}}


# -- reading ---------------------------------------------------------------------------------------------------


def test_near_ranges_are_one_request_and_far_ones_are_asked_for_side_by_side(s3: S3Server, store: FsspecStore) -> None:
    data = np.arange(1 << 18, dtype=np.uint32).view(np.uint8)
    store.put("k", [data])
    s3.requests.clear()
    asks = [
        ranges((900_000, 900_004), (10, 20)),
        ranges((500_000, 500_000)),
        Spanning(*ranges((30, 40), (901_000, 902_000))),
    ]
    first, none, spanned = store.gather("k", asks)
    assert first.tobytes() == data[900_000:900_004].tobytes() + data[10:20].tobytes()
    assert none.tobytes() == b""
    assert len(spanned) == 902_000 - 30
    assert spanned[:10].tobytes() == data[30:40].tobytes()
    assert spanned[-1000:].tobytes() == data[901_000:902_000].tobytes()
    assert [method for method, _ in s3.requests] == ["GET", "GET"]


def test_a_long_range_is_read_in_pieces(s3: S3Server, store: FsspecStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_PIECE_NBYTES", 1000)
    data = np.arange(2500, dtype=np.uint16).view(np.uint8)
    store.put("k", [data])
    s3.requests.clear()
    (answer,) = store.gather("k", [ranges((100, 4900))])
    assert answer.tobytes() == data[100:4900].tobytes()
    assert len(s3.requests) == 5


def test_a_damaged_length_reads_nothing(s3: S3Server, store: FsspecStore) -> None:
    store.put("k", [bytes(100)])
    s3.requests.clear()
    with pytest.raises(Corrupt, match="object of 100"):
        store.gather("k", [ranges((0, 1 << 60))])
    assert [method for method, _ in s3.requests] == ["HEAD"]


def test_small_objects_are_read_in_one_round_without_their_sizes(s3: S3Server, store: FsspecStore) -> None:
    store.put("a", [b"one"])
    s3.requests.clear()
    assert store.read(["a", "no", "a"], limit=10) == [b"one", None, b"one"]
    assert [method for method, _ in s3.requests] == ["GET"] * 3


def test_a_listing_is_never_an_old_one(s3: S3Server, store: FsspecStore) -> None:
    other = FsspecStore(store.uri, options=s3.options)
    for number in range(3):
        other.put(f"v/{number}", [b""])
        assert store.list("v") == [str(n) for n in range(number + 1)]
        assert store.size(f"v/{number}") == 0
    other.delete(["v/0"])
    assert store.list("v") == ["1", "2"]
    with pytest.raises(NotFound):
        store.size("v/0")


def test_a_listing_of_many_pages_is_whole(store: FsspecStore, monkeypatch: pytest.MonkeyPatch) -> None:
    system, root = store._root()
    system.pipe({f"{root}/v/{number:04}": b"" for number in range(12)})
    real = system._call_s3
    pages: list[str] = []

    async def call(method: str, *args: Any, **options: Any) -> Any:
        if method == "list_objects_v2":
            pages.append(method)
            options["MaxKeys"] = 5
        return await real(method, *args, **options)

    monkeypatch.setattr(system, "_call_s3", call)
    assert store.list("v") == [f"{number:04}" for number in range(12)]
    assert len(pages) == 3


# -- writing ---------------------------------------------------------------------------------------------------


def test_a_large_object_is_written_in_parts_and_an_abandoned_one_leaves_none(
    s3: S3Server, store: FsspecStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = 5 << 20
    monkeypatch.setattr(remote, "_PART_NBYTES", part)
    data = np.random.default_rng(1).integers(0, 256, 2 * part + 77, np.uint8)
    cuts = np.array_split(data, 9)
    s3.requests.clear()
    assert store.put("k", iter(cuts)) == len(data)
    assert {"POST", "PUT"} == {method for method, _ in s3.requests}
    assert read_all(store, "k") == data.tobytes()

    def broken() -> Iterator[np.ndarray]:
        yield from cuts[:7]
        raise KeyboardInterrupt

    for key in ("k", "new"):
        with pytest.raises(KeyboardInterrupt):
            store.put(key, broken())
    assert store.list("") == ["k"]
    assert read_all(store, "k") == data.tobytes()
    assert store._root()[0].list_multipart_uploads("bucket") == []


def test_a_failing_part_is_raised_and_leaves_nothing(store: FsspecStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_PART_NBYTES", 5 << 20)
    system = store._root()[0]
    real = system.call_s3

    def call(method: str, *args: Any, **options: Any) -> Any:
        if method == "upload_part" and options["PartNumber"] == 2:
            raise OSError(errno.EIO, "made to fail")
        return real(method, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(system, "call_s3", call)
        with pytest.raises(StorageError, match="made to fail"):
            store.put("k", [bytes(4 << 20)] * 4)
    assert store.list("") == []
    assert system.list_multipart_uploads("bucket") == []


def test_a_conditional_put_is_one_request_once_the_store_has_proven_it(s3: S3Server, store: FsspecStore) -> None:
    s3.requests.clear()
    store.put_if_absent("v/1", b"x")
    # The first of a table proves it with two.
    assert [method for method, _ in s3.requests] == ["PUT"] * 3
    s3.requests.clear()
    with pytest.raises(AlreadyExists):
        FsspecStore(store.uri, options=s3.options).put_if_absent("v/1", b"y")
    assert [method for method, _ in s3.requests] == ["PUT"]
    assert store.list("") == ["v/"]
    assert store.list("", temporary=True) == [conditional.PROBE]


def test_a_store_that_ignores_the_condition_is_found_out(store: FsspecStore, monkeypatch: pytest.MonkeyPatch) -> None:
    system = store._root()[0]
    real = system.pipe_file
    monkeypatch.setattr(system, "pipe_file", lambda path, data, mode="overwrite": real(path, data))
    with pytest.raises(Unsupported, match="commit_lock") as caught:
        store.put_if_absent("v/1", b"x")
    assert caught.value.kind == "conditional-put"
    assert store.list("v") == []


def test_a_filesystem_that_looks_and_then_writes_is_not_trusted(s3: S3Server) -> None:
    store = FsspecStore("memory://not_trusted/table")
    with pytest.raises(Unsupported) as caught:
        store.put_if_absent("k", b"x")
    assert caught.value.kind == "conditional-put"
    assert store.list("") == []


@pytest.mark.parametrize(
    "error",
    [
        TimeoutError("no answer"),
        ConnectionResetError(errno.ECONNRESET, "reset"),
        OSError(errno.EIO, "InternalError"),
        PermissionError(errno.EACCES, "expired"),
        RuntimeError("of a library"),
    ],
)
@pytest.mark.parametrize("done", [False, True])
def test_an_error_of_a_conditional_put_does_not_say_that_nothing_was_written(
    store: FsspecStore, monkeypatch: pytest.MonkeyPatch, error: Exception, done: bool
) -> None:
    store.put_if_absent("v/0", b"")
    system = store._root()[0]
    with monkeypatch.context() as patch:
        patch.setattr(system, "pipe_file", failing(system, "pipe_file", error, done=done))
        with pytest.raises(StorageError) as caught:
            store.put_if_absent("v/1", b"x")
    assert caught.value.errno is None
    assert caught.value.__cause__ is error
    assert store.list("v") == (["0", "1"] if done else ["0"])


@pytest.mark.parametrize("code", ["PreconditionFailed", "412"])
def test_a_precondition_that_failed_says_that_the_key_is_taken(
    store: FsspecStore, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    store.put_if_absent("v/0", b"")
    refusal = OSError(errno.EINVAL, "refused")
    refusal.__cause__ = ClientError(code)
    system = store._root()[0]
    monkeypatch.setattr(system, "pipe_file", failing(system, "pipe_file", refusal))
    with pytest.raises(AlreadyExists):
        store.put_if_absent("v/1", b"x")


@pytest.mark.parametrize("code", ["ConditionalRequestConflict", "409"])
def test_a_put_that_met_another_is_repeated(store: FsspecStore, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setattr(conditional, "_PAUSES_S", (0.0, 0.0, 0.0))
    store.put_if_absent("v/0", b"")
    system = store._root()[0]
    real = system.pipe_file
    for refusals in (3, 4):
        left = [refusals]

        def pipe(*args: Any, left: list[int] = left, **options: Any) -> Any:
            left[0] -= 1
            if left[0] >= 0:
                raise OSError(errno.EIO, "busy") from ClientError(code)
            return real(*args, **options)

        with monkeypatch.context() as patch:
            patch.setattr(system, "pipe_file", pipe)
            if refusals == 3:
                store.put_if_absent("v/1", b"x")
                assert read_all(store, "v/1") == b"x"
            else:
                with pytest.raises(StorageError) as caught:
                    store.put_if_absent("v/2", b"x")
                assert caught.value.errno is None


# -- with a lock -----------------------------------------------------------------------------------------------


def lock_of(held: list[str], lock: threading.Lock) -> Callable[[str], AbstractContextManager[None]]:
    @contextmanager
    def hold(key: str) -> Iterator[None]:
        with lock:
            held.append(key)
            yield

    return hold


def test_a_lock_stands_in_for_the_condition() -> None:
    held: list[str] = []
    lock = threading.Lock()
    store = FsspecStore("memory://locked/table", lock=lock_of(held, lock))
    winners: list[int] = []
    start = threading.Barrier(4)

    def claim(name: int) -> None:
        start.wait()
        for turn in range(10):
            try:
                store.put_if_absent(f"v/{turn}", b"%d" % name)
            except AlreadyExists:
                continue
            winners.append(name)

    threads = [threading.Thread(target=claim, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(winners) == 10
    assert held.count("v/3") == 4
    assert sorted(winners) == sorted(int(read_all(store, f"v/{turn}")) for turn in range(10))


def test_a_lock_that_fails_writes_nothing(s3: S3Server) -> None:
    def broken(key: str) -> AbstractContextManager[None]:
        raise PermissionError(key)

    store = FsspecStore(s3.uri(), options=s3.options, lock=broken)
    with pytest.raises(PermissionError):
        store.put_if_absent("v/1", b"x")
    assert store.list("v") == []


# -- opening ---------------------------------------------------------------------------------------------------


def test_a_copy_by_pickle_reads_and_writes_the_same(store: FsspecStore) -> None:
    store.put("k", [b"x"])
    copy = pickle.loads(pickle.dumps(store))
    assert copy.uri == store.uri
    assert read_all(copy, "k") == b"x"
    copy.put_if_absent("l", b"y")
    assert store.list("") == ["k", "l"]


def _read(store: FsspecStore) -> None:
    assert read_all(store, "k") == b"x"
    store.put_if_absent("child", b"y")


def test_a_forked_process_goes_on_with_the_store(store: FsspecStore) -> None:
    store.put("k", [b"x"])
    child = multiprocessing.get_context("fork").Process(target=_read, args=(store,))
    child.start()
    child.join(20)
    child.kill()
    assert child.exitcode == 0
    assert store.list("") == ["child", "k"]


def test_a_bucket_that_is_missing_is_not_found(s3: S3Server) -> None:
    store = FsspecStore("s3://nowhere/t", options=s3.options)
    assert store.list("") == []
    with pytest.raises(NotFound):
        store.size("k")
    with pytest.raises(NotFound):
        store.put("k", [b"x"])


def test_a_server_that_is_not_there_is_an_error(s3: S3Server) -> None:
    options = {**s3.options, "aws_endpoint": "http://127.0.0.1:9", "config_kwargs": {"retries": {"max_attempts": 0}}}
    store = FsspecStore("s3://bucket/t", options=options)
    store._root()[0].retries = 1
    for use in (lambda: store.list(""), lambda: store.size("k"), lambda: store.put("k", [b"x"])):
        with pytest.raises(StorageError):
            use()


def test_options_are_understood_as_pylance_names_them() -> None:
    given = {
        "AWS_ACCESS_KEY_ID": "a",
        "secret_access_key": "b",
        "aws_session_token": "c",
        "region": "eu-west-1",
        "aws_endpoint": "http://x",
        "allow_http": "true",
        "aws_virtual_hosted_style_request": "false",
        "aws_skip_signature": "True",
        "client_kwargs": {"verify": False},
        "max_concurrency": 4,
    }
    assert as_fsspec("s3", given) == {
        "key": "a",
        "secret": "b",
        "token": "c",
        "endpoint_url": "http://x",
        "anon": True,
        "client_kwargs": {"verify": False, "region_name": "eu-west-1"},
        "config_kwargs": {"s3": {"addressing_style": "path"}},
        "max_concurrency": 4,
    }
    own = {"key": "a", "secret": "b", "token": "c", "anon": False, "endpoint_url": "http://x"}
    assert as_fsspec("s3", own) == own
    assert as_fsspec("gs", {"token": "anon", "endpoint": "x"}) == {"token": "anon", "endpoint": "x"}


def test_options_that_nobody_knows_are_refused(s3: S3Server) -> None:
    with pytest.raises(StorageError, match="no_such_option"):
        FsspecStore("s3://bucket/t", options={**s3.options, "no_such_option": 1}).list("")
    with pytest.raises(InvalidInput) as caught:
        FsspecStore("s3://bucket/t", options={"key": "a", "username": "b"}).list("")
    assert caught.value.kind == "storage-options"


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    for scheme in ("s3", "s3a"):
        monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, scheme, raising=False)
    with pytest.raises(MissingDependency, match=r"lance_like\[s3\]"):
        FsspecStore("s3://bucket/t").list("")
