"""Folders of the local disk: no link below the table is followed, each is durable before what is in it, reading needs
no right to write."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from store_contract import ranges, read_all

import lance_like
from lance_like.errors import Corrupt, LanceLikeError, NotFound, StorageError
from lance_like.io.folders import opened_folder, settle
from lance_like.io.local import LocalStore
from lance_like.io.store import TEMPORARY


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "table"))


# -- links -----------------------------------------------------------------------------------------------------

USES: dict[str, Callable[[LocalStore], Any]] = {
    "gather": lambda store: store.gather("a/b/k", [ranges((0, 1))]),
    "size": lambda store: store.size("a/b/k"),
    "modified_us": lambda store: store.modified_us("a/b/k"),
    "put": lambda store: store.put("a/b/k", [b"new"]),
    "put_if_absent": lambda store: store.put_if_absent("a/b/n", b"new"),
    "list": lambda store: store.list("a/b"),
    "delete": lambda store: store.delete(["a/b/k"]),
}


@pytest.mark.parametrize("place", ["a", "a/b"])
@pytest.mark.parametrize("use", USES)
def test_a_link_in_the_place_of_a_folder_is_refused(tmp_path: Path, store: LocalStore, use: str, place: str) -> None:
    store.put("a/b/k", [b"x"])
    shutil.move(os.path.join(store.uri, place), tmp_path / "elsewhere")
    (Path(store.uri) / place).symlink_to(tmp_path / "elsewhere")
    before = sorted(map(str, (tmp_path / "elsewhere").rglob("*")))
    with pytest.raises(Corrupt) as caught:
        USES[use](LocalStore(store.uri))
    assert caught.value.kind == "file-type"
    assert caught.value.where == place
    assert sorted(map(str, (tmp_path / "elsewhere").rglob("*"))) == before


@pytest.mark.parametrize("use", USES)
def test_a_file_in_the_place_of_a_folder_is_refused(store: LocalStore, use: str) -> None:
    store.put("a", [b"x"])
    with pytest.raises(Corrupt) as caught:
        USES[use](store)
    assert caught.value.kind == "file-type"


def test_a_folder_that_becomes_a_link_is_not_read_through(tmp_path: Path, store: LocalStore) -> None:
    store.put("a/k", [b"ours"])
    assert read_all(store, "a/k") == b"ours"
    other = LocalStore(str(tmp_path / "other"))
    other.put("k", [b"theirs"])
    shutil.rmtree(os.path.join(store.uri, "a"))
    (Path(store.uri) / "a").symlink_to(other.uri)
    with pytest.raises(Corrupt):
        store.gather("a/k", [ranges((0, 1))])


def test_a_table_behind_a_link_is_read_and_one_with_a_linked_folder_is_not(tmp_path: Path) -> None:
    lance_like.write_dataset({"a": [1, 2, 3]}, tmp_path / "table")
    (tmp_path / "link").symlink_to("table")
    assert lance_like.dataset(tmp_path / "link").take([2])["a"].to_pylist() == [3]
    shutil.move(tmp_path / "table" / "data", tmp_path / "data")
    (tmp_path / "table" / "data").symlink_to(tmp_path / "data")
    with pytest.raises(Corrupt, match="not a folder"):
        lance_like.dataset(tmp_path / "table").to_table()


def test_a_read_of_a_mapped_file_opens_nothing(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("a/b/k", [b"0123"])
    read_all(store, "a/b/k")
    opened: list[Any] = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda *args, **options: opened.append(args) or real(*args, **options))
    assert store.gather("a/b/k", [ranges((1, 3))])[0].tobytes() == b"12"
    assert opened == []


@pytest.mark.parametrize(("key", "folders"), [("k", 1), ("a/k", 1), ("a/b/k", 2)])
def test_a_write_opens_each_folder_on_its_way_once(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, key: str, folders: int
) -> None:
    store.put(key, [b"before"])
    opened: list[Any] = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda *args, **options: opened.append(args) or real(*args, **options))
    store.put(key, [b"x"])
    assert len(opened) == folders + 1
    opened.clear()
    assert LocalStore(store.uri).gather(key, [ranges((0, 1))])[0].tobytes() == b"x"
    assert len(opened) == folders + 1


@pytest.mark.parametrize("use", USES)
def test_a_store_whose_root_is_a_file_is_no_store(tmp_path: Path, use: str) -> None:
    (tmp_path / "root").write_bytes(b"x")
    with pytest.raises(StorageError, match="Not a directory"):
        USES[use](LocalStore(str(tmp_path / "root")))


def test_no_descriptor_is_left_open(store: LocalStore) -> None:
    store.put("a/b/k", [b"x"])
    (Path(store.uri) / "link").symlink_to("a")
    before = len(os.listdir("/proc/self/fd"))
    for key in ("a/b/k", "link/b/k", "a/no/k", "a/b/k/k", "k"):
        for use in (store.size, store.list, lambda key: store.put(key, [b"y"]), lambda key: store.delete([key])):
            with suppress(LanceLikeError):
                use(key)
    assert len(os.listdir("/proc/self/fd")) == before


# -- folders that a power cut must leave -----------------------------------------------------------------------


@pytest.fixture
def synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of folders that are synced, relative to tmp_path, which is durable itself."""
    with opened_folder(str(tmp_path), []) as folder:
        settle(str(tmp_path), [[]], folder)
    paths: list[str] = []
    real = os.fsync

    def sync(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        real(descriptor)
        if os.path.isdir(path):
            paths.append(os.path.relpath(path, tmp_path))

    monkeypatch.setattr(os, "fsync", sync)
    return paths


def _loosely_written(uri: str) -> None:
    LocalStore(uri, durability="process").put("a/b/k", [b"x"])


def test_folders_of_a_writer_that_does_not_sync_are_synced_by_the_first_that_does(
    tmp_path: Path, synced: list[str]
) -> None:
    uri = str(tmp_path / "new" / "table")
    _loosely_written(uri)
    assert synced == []
    LocalStore(uri).put("a/b/l", [b"y"])
    assert synced == [".", "new", "new/table", "new/table/a", "new/table/a/b"]
    synced.clear()
    LocalStore(uri).put_if_absent("a/b/m", b"z")
    assert synced == ["new/table/a/b"]


def test_folders_of_another_process_are_synced(tmp_path: Path, synced: list[str]) -> None:
    uri = str(tmp_path / "table")
    child = multiprocessing.get_context("fork").Process(target=_loosely_written, args=(uri,))
    child.start()
    child.join()
    LocalStore(uri).put("a/b/l", [b"y"])
    assert synced == [".", "table", "table/a", "table/a/b"]


def test_a_folder_that_is_made_again_is_synced_again(tmp_path: Path, synced: list[str]) -> None:
    uri = str(tmp_path / "table")
    for _ in range(4):
        # The new folders may get the numbers of the old ones.
        _loosely_written(uri)
        synced.clear()
        LocalStore(uri).put("a/b/l", [b"y"])
        assert synced == [".", "table", "table/a", "table/a/b"]
        shutil.rmtree(uri)


def test_a_sync_that_failed_after_a_folder_was_made_is_made_by_the_next_write(
    store: LocalStore, synced: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(StorageError):
            store.put("a/k", [b"x"])
    assert os.path.isdir(os.path.join(store.uri, "a"))
    store.put("a/k", [b"x"])
    assert synced == [".", "table", "table/a"]


def test_what_need_not_be_durable_syncs_no_folder(store: LocalStore, synced: list[str]) -> None:
    store.put("a/lease", [b"x"], durable=False)
    assert synced == []
    store.put("a/k", [b"x"])
    assert synced == [".", "table", "table/a"]


def test_a_table_behind_a_link_is_durable_where_it_lies(tmp_path: Path, synced: list[str]) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "table").mkdir()
    (tmp_path / "link").symlink_to("far/table")
    LocalStore(str(tmp_path / "link")).put("k", [b"x"])
    assert synced == [".", "far", "far/table"]


# -- unfinished writes -----------------------------------------------------------------------------------------


def test_what_a_killed_writer_left_is_listed_and_removed_whatever_it_is(store: LocalStore) -> None:
    store.put("v/1", [b"x"])
    folder = Path(store.uri) / "v"
    (folder / f"{TEMPORARY}1").write_bytes(b"x")
    (folder / f"{TEMPORARY}2").mkdir()
    (folder / f"{TEMPORARY}3").mkdir()
    (folder / f"{TEMPORARY}3" / f"{TEMPORARY}4").write_bytes(b"x")
    names = store.list("v", temporary=True)
    assert names == [f"{TEMPORARY}1", f"{TEMPORARY}2", f"{TEMPORARY}3"]
    store.delete([f"v/{name}" for name in names])
    assert os.listdir(folder) == ["1"]


def test_a_folder_is_not_deleted_as_an_object(store: LocalStore) -> None:
    store.put("a/k", [b"x"])
    with pytest.raises(StorageError):
        store.delete(["a"])
    assert read_all(store, "a/k") == b"x"


# -- rights ----------------------------------------------------------------------------------------------------


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may pass, as those of pytest may not be."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(folder)


def as_nobody(function: Callable[[Path], None], folder: Path) -> None:
    """Run a function in a process without the rights of root."""

    def run() -> None:
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        function(folder)

    child = multiprocessing.get_context("fork").Process(target=run)
    child.start()
    child.join(60)
    assert child.exitcode == 0


def _read(folder: Path) -> None:
    assert not os.access(folder / "table" / "data", os.W_OK)
    ds = lance_like.dataset(folder / "table")
    assert ds.to_table()["a"].to_pylist() == [1, 2, 3, 4]
    assert ds.take([3])["a"].to_pylist() == [4]
    assert ds.to_table(filter="a > 2")["a"].to_pylist() == [3, 4]
    assert len(ds.versions()) == 2
    assert ds.tags.list()["first"]["version"] == 1
    assert lance_like.dataset(folder / "table", version="first").count_rows() == 2
    with pytest.raises(StorageError) as caught:
        ds.insert({"a": [5]})
    assert caught.value.errno == errno.EACCES


def test_reading_needs_no_right_to_write(open_folder: Path) -> None:
    ds = lance_like.write_dataset({"a": [1, 2]}, open_folder / "table")
    ds.tags.create("first", 1)
    ds.insert({"a": [3, 4]})
    for path in (open_folder / "table").rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    (open_folder / "table").chmod(0o555)
    before = sorted((open_folder / "table").rglob("*"))
    # What it imports on first use is there before the rights go.
    lance_like.dataset(open_folder / "table").to_table(filter="a > 2")
    as_nobody(_read, open_folder)
    assert sorted((open_folder / "table").rglob("*")) == before


def _refused(folder: Path) -> None:
    for closed in ("data", "_versions", "."):
        place = folder / "table" / closed
        assert not os.access(place, os.R_OK)
    with pytest.raises(StorageError) as caught:
        lance_like.dataset(folder / "table")
    assert not isinstance(caught.value, NotFound)
    assert caught.value.errno == errno.EACCES


def test_what_may_not_be_read_is_an_error_and_no_empty_table(open_folder: Path) -> None:
    lance_like.write_dataset({"a": [1, 2]}, open_folder / "table")
    for closed in ("data", "_versions", "."):
        (open_folder / "table" / closed).chmod(0)
    as_nobody(_refused, open_folder)


def _written(folder: Path) -> None:
    with pytest.raises(PermissionError):
        os.listdir(folder / "closed")
    LocalStore(str(folder / "closed" / "table")).put("a/k", [b"x"])


def test_a_folder_above_the_table_that_may_be_passed_only_does_not_hinder_a_write(open_folder: Path) -> None:
    (open_folder / "closed" / "table").mkdir(parents=True)
    (open_folder / "closed" / "table").chmod(0o777)
    (open_folder / "closed").chmod(0o711 if os.getuid() == 0 else 0o311)
    as_nobody(_written, open_folder)
