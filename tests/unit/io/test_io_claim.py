"""Publishing on a disk without hard links: one writer gets a name, whoever dies or stands still on the way."""

from __future__ import annotations

import errno
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from store_contract import StoreContract, read_all

from lance_like.errors import AlreadyExists, StorageError
from lance_like.io import claim
from lance_like.io.local import LocalStore
from lance_like.io.store import TEMPORARY


def without_links(number: int) -> Callable[..., None]:
    """What os.link is where there are no hard links."""

    def link(*args: Any, **options: Any) -> None:
        raise OSError(number, os.strerror(number))

    return link


@pytest.fixture(autouse=True)
def no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", without_links(errno.EPERM))


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "table"))


class TestStoreWithoutLinks(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> LocalStore:
        return LocalStore(str(tmp_path / "table"))


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS])
def test_every_word_for_no_links_is_understood(store: LocalStore, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(os, "link", without_links(number))
    store.put_if_absent("v/1", b"x")
    with pytest.raises(AlreadyExists):
        store.put_if_absent("v/1", b"y")
    assert os.listdir(os.path.join(store.uri, "v")) == ["1"]
    assert read_all(store, "v/1") == b"x"


def test_the_file_is_synced_before_and_the_folder_after_it_has_its_name(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("v/0", [b""])
    steps: list[str] = []
    sync, rename = os.fsync, os.rename

    def named(source: str, target: str, **options: Any) -> None:
        rename(source, target, **options)
        steps.append(target)

    monkeypatch.setattr(os, "rename", named)
    monkeypatch.setattr(os, "fsync", lambda file: (sync(file), steps.append("file" if _is_file(file) else "folder")))
    store.put_if_absent("v/1", b"x")
    assert [step for step in steps if TEMPORARY not in step] == ["file", "1", "folder"]


def _is_file(descriptor: int) -> bool:
    return os.path.isfile(os.readlink(f"/proc/self/fd/{descriptor}"))


CALLS = ("mkdir", "rename", "stat", "unlink", "rmdir", "fsync", "open", "close", "write", "link", "listdir", "fstat")


def _die_at(uri: str, number: int) -> None:
    """Publish and die before the system call of that number."""
    left = [number]

    def before(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                os._exit(7)
            return real(*args, **options)

        return call

    store = LocalStore(uri)
    for name in CALLS:
        setattr(os, name, before(getattr(os, name)))
    store.put_if_absent("v/1", b"of the dead")


def test_a_writer_that_dies_anywhere_blocks_nobody_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "_BROKEN_AFTER_S", 0.0)
    context = multiprocessing.get_context("fork")
    left_claims = published = 0
    for number in range(200):
        store = LocalStore(str(tmp_path / str(number)))
        store.put("v/0", [b""])
        child = context.Process(target=_die_at, args=(store.uri, number))
        child.start()
        child.join()
        assert child.exitcode in (0, 7)
        left_claims += any("claim" in name for name in store.list("v", temporary=True))
        try:
            store.put_if_absent("v/1", b"of the living")
            expected = b"of the living"
        except AlreadyExists:
            published += 1
            expected = b"of the dead"
        assert read_all(store, "v/1") == expected
        store.delete([f"v/{name}" for name in store.list("v", temporary=True)])
        assert sorted(os.listdir(os.path.join(store.uri, "v"))) == ["0", "1"]
        if child.exitcode == 0:
            break
    assert child.exitcode == 0
    assert left_claims >= 2
    assert published >= 2


def test_a_holder_that_stands_still_loses_its_claim_and_replaces_nothing(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("v/0", [b""])
    monkeypatch.setattr(claim, "_BROKEN_AFTER_S", 0.0)
    look = claim._check_free
    looks: list[str] = []

    def slow(folder: int, name: str) -> None:
        look(folder, name)
        looks.append(name)
        if len(looks) == 1:
            # Between the look and the rename of the first writer, another finds its claim and breaks it.
            LocalStore(store.uri).put_if_absent("v/1", b"second")

    monkeypatch.setattr(claim, "_check_free", slow)
    with pytest.raises(AlreadyExists):
        store.put_if_absent("v/1", b"first")
    assert len(looks) >= 2
    assert read_all(store, "v/1") == b"second"
    assert sorted(os.listdir(os.path.join(store.uri, "v"))) == ["0", "1"]


def test_a_writer_whose_claim_is_broken_writes_again(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[str] = []
    real = claim._check_free

    def broken(folder: int, name: str) -> None:
        real(folder, name)
        held = [holder for place in os.listdir(folder) if "claim" in place for holder in claim._names(folder, place)]
        if len(tries) < 2:
            for holder in held:
                os.unlink(f"{TEMPORARY}claim-{name}/{holder}", dir_fd=folder)
        tries.append(name)

    monkeypatch.setattr(claim, "_check_free", broken)
    store.put_if_absent("v/1", b"x")
    assert len(tries) == 3
    assert read_all(store, "v/1") == b"x"


def test_a_claim_that_is_never_free_ends_in_an_error(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claim, "_GIVE_UP_AFTER_S", 0.01)
    held = Path(store.uri) / "v" / f"{TEMPORARY}claim-1"
    held.mkdir(parents=True)
    (held / "file").write_bytes(b"")
    with pytest.raises(StorageError) as caught:
        store.put_if_absent("v/1", b"x")
    assert caught.value.errno == errno.EBUSY
    assert os.listdir(os.path.join(store.uri, "v")) == [held.name]


def test_an_error_of_the_disk_leaves_nothing(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("v/0", [b""])
    real = os.rename
    for fail_at in range(3):
        calls: list[str] = []

        def rename(*args: Any, fail_at: int = fail_at, calls: list[str] = calls, **options: Any) -> None:
            calls.append("")
            if len(calls) - 1 == fail_at:
                raise OSError(errno.ENOSPC, "No space left on device")
            real(*args, **options)

        with monkeypatch.context() as patch:
            patch.setattr(os, "rename", rename)
            with pytest.raises(StorageError, match="No space left"):
                store.put_if_absent("v/1", b"x")
        assert os.listdir(os.path.join(store.uri, "v")) == ["0"]
    store.put_if_absent("v/1", b"x")


def _claim(uri: str, name: int, start: Any, won: Any) -> None:
    store = LocalStore(uri, durability="process")
    start.wait()
    for turn in range(15):
        try:
            store.put_if_absent(f"v/{turn}", b"%d" % name)
        except AlreadyExists:
            continue
        except StorageError as error:
            assert error.errno == errno.EBUSY
            continue
        won.put((turn, name))
    won.put(None)


def test_one_of_many_processes_gets_a_name_though_all_break_claims(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Every claim that is met twice is broken, that of a live writer too.
    monkeypatch.setattr(claim, "_BROKEN_AFTER_S", 0.0)
    monkeypatch.setattr(claim, "_PAUSE_S", 0.0)
    context = multiprocessing.get_context("fork")
    start, won = context.Barrier(4), context.SimpleQueue()
    workers = [context.Process(target=_claim, args=(store.uri, name, start, won)) for name in range(4)]
    for worker in workers:
        worker.start()
    winners: list[tuple[int, int]] = []
    running = 4
    while running:
        message = won.get()
        if message is None:
            running -= 1
        else:
            winners.append(message)
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert len(dict(winners)) == len(winners)
    for turn, name in winners:
        assert read_all(store, f"v/{turn}") == b"%d" % name
