"""The store on the local disk: the contract of stores, durability, failing disks, and files that are none."""

from __future__ import annotations

import errno
import multiprocessing
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from store_contract import StoreContract, ranges, read_all

from lance_like.errors import AlreadyExists, Corrupt, InvalidInput, LanceLikeError, NotFound, StorageError
from lance_like.io import local
from lance_like.io.folders import opened_folder, settle
from lance_like.io.local import LocalStore
from lance_like.io.store import TEMPORARY
from lance_like.io.writeback import begin_writeback


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path / "table"))


def files_of(store: LocalStore) -> list[str]:
    """Every file below a store, temporary ones too."""
    root = Path(store.uri)
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


class TestLocalStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> LocalStore:
        return LocalStore(str(tmp_path / "table"))

    def test_nothing_temporary_is_left(self, store: LocalStore) -> None:
        store.put("a/b", [b"x"])
        store.put_if_absent("a/c", b"x")
        with pytest.raises(AlreadyExists):
            store.put_if_absent("a/c", b"y")
        with pytest.raises(ZeroDivisionError):
            store.put("a/d", (bytes(1 // n) for n in (1, 0)))
        assert files_of(store) == ["a/b", "a/c"]


class TestStoreWithoutSync(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> LocalStore:
        return LocalStore(str(tmp_path / "table"), durability="process")


# -- where it is -----------------------------------------------------------------------------------------------


def test_its_uri_is_the_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert LocalStore("x/../t").uri == str(tmp_path / "t")
    assert LocalStore("~/t").uri == str(tmp_path / "home" / "t")
    store = LocalStore(str(tmp_path / "t"))
    assert LocalStore(store.uri).uri == store.uri
    assert not os.path.exists(store.uri)


def test_it_stays_where_it_was_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = LocalStore("t")
    store.put("k", [b"x"])
    monkeypatch.chdir("/")
    assert read_all(store, "k") == b"x"


def test_its_folder_may_be_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    LocalStore(str(tmp_path / "link")).put("a/k", [b"x"])
    assert read_all(LocalStore(str(tmp_path / "real")), "a/k") == b"x"


def test_a_copy_by_pickle_writes_as_durably(store: LocalStore, synced: list[str]) -> None:
    store.put("k", [b"x"])
    pickle.loads(pickle.dumps(store)).put("k", [b"y"])
    assert len([step for step in synced if step.startswith("fsync")]) > 3
    loose = pickle.loads(pickle.dumps(LocalStore(store.uri, durability="process")))
    assert loose.uri == store.uri
    synced.clear()
    loose.put("k", [b"z"])
    assert synced == ["replace k"]
    assert read_all(store, "k") == b"z"


def test_an_unknown_durability_is_refused() -> None:
    with pytest.raises(InvalidInput):
        LocalStore("t", durability="most")  # type: ignore[arg-type]


# -- durability ------------------------------------------------------------------------------------------------


@pytest.fixture
def synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every call that makes something durable or visible below tmp_path, in order."""
    with opened_folder(str(tmp_path), []) as folder:
        settle(str(tmp_path), [[]], folder)
    steps: list[str] = []

    def name(path: str) -> str:
        base = os.path.basename(path)
        return "temporary" if base.startswith(TEMPORARY) else base

    def watch(verb: str, label: Callable[..., str]) -> None:
        real = getattr(os, verb)

        def call(*args: Any, **options: Any) -> Any:
            text = label(*args)
            answer = real(*args, **options)
            steps.append(f"{verb} {text}")
            return answer

        monkeypatch.setattr(os, verb, call)

    watch("fsync", lambda descriptor: name(os.readlink(f"/proc/self/fd/{descriptor}")))
    watch("link", lambda _, path: name(path))
    watch("replace", lambda _, path: name(path))
    watch("mkdir", name)
    return steps


def test_a_put_syncs_the_file_before_and_the_folder_after_it_is_visible(store: LocalStore, synced: list[str]) -> None:
    store.put("data/k", [b"x"])
    made = ["mkdir table", "mkdir data", f"fsync {Path(store.uri).parent.name}", "fsync table"]
    assert synced == [*made, "fsync temporary", "replace k", "fsync data"]
    synced.clear()
    store.put("data/k", [b"y"])
    assert synced == ["fsync temporary", "replace k", "fsync data"]


def test_what_need_not_be_durable_is_not_synced(store: LocalStore, synced: list[str]) -> None:
    store.put("data/k", [b"x"])
    synced.clear()
    store.put("data/lease", [b"y"], durable=False)
    store.delete(["data/lease"], durable=False)
    assert synced == ["replace lease"]


def test_a_delete_syncs_each_folder_that_lost_a_name(store: LocalStore, synced: list[str]) -> None:
    for key in ("a/1", "a/2", "b/1", "c/1"):
        store.put(key, [b"x"])
    synced.clear()
    store.delete(["a/1", "b/1", "a/2", "c/no"])
    assert synced == ["fsync a", "fsync b"]


def test_folders_that_are_needed_are_made_together_and_each_holder_synced_once(
    tmp_path: Path, synced: list[str]
) -> None:
    store = LocalStore(str(tmp_path / "t"), folders=("a", "b", "c/d"))
    store.put("b/k", [b"x"])
    made = ["mkdir t", "mkdir b", "mkdir a", "mkdir c", "mkdir d"]
    assert synced[:8] == [*made, f"fsync {tmp_path.name}", "fsync t", "fsync c"]
    assert synced[8:] == ["fsync temporary", "replace k", "fsync b"]
    synced.clear()
    pickle.loads(pickle.dumps(store)).put("c/e/k", [b"x"])
    assert synced == ["mkdir e", "fsync c", "fsync temporary", "replace k", "fsync e"]


def test_a_publish_syncs_the_file_before_and_the_folder_after_the_link(store: LocalStore, synced: list[str]) -> None:
    store.put("v/0", [b""])
    synced.clear()
    store.put_if_absent("v/1", b"x")
    assert synced == ["fsync temporary", "link 1", "fsync v"]


def test_what_another_published_is_settled_by_a_sync_of_its_folder(store: LocalStore, synced: list[str]) -> None:
    LocalStore(store.uri, durability="process").put_if_absent("v/1", b"x")
    store.put("v/0", [b""])
    synced.clear()
    store.settle("v/1")
    assert synced == ["fsync v"]
    LocalStore(store.uri, durability="process").settle("v/1")
    assert synced == ["fsync v"]


def test_what_another_removed_is_settled_by_a_sync_of_its_folder(store: LocalStore, synced: list[str]) -> None:
    store.put("v/0", [b""])
    LocalStore(store.uri, durability="process").delete(["v/0"])
    synced.clear()
    store.settle("v/")
    store.settle("w/")
    LocalStore(store.uri, durability="process").settle("v/")
    assert synced == ["fsync v"]


def test_a_lost_publish_links_nothing(store: LocalStore, synced: list[str]) -> None:
    store.put_if_absent("v/1", b"x")
    synced.clear()
    with pytest.raises(AlreadyExists):
        store.put_if_absent("v/1", b"y")
    assert synced == ["fsync temporary"]


def test_publishing_never_replaces(store: LocalStore, synced: list[str]) -> None:
    store.put_if_absent("v/1", b"x")
    assert not [step for step in synced if step.startswith("replace")]


def test_without_durability_nothing_is_synced(tmp_path: Path, synced: list[str]) -> None:
    store = LocalStore(str(tmp_path / "t"), durability="process")
    store.put("a/k", [b"x"])
    store.put_if_absent("a/l", b"x")
    assert synced == ["mkdir t", "mkdir a", "replace k", "link l"]


@pytest.mark.parametrize(("durability", "begun"), [("full", [(0, 250), (250, 500)]), ("process", [])])
def test_the_disk_is_set_to_work_before_a_large_write_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: local.Durability, begun: list[tuple[int, int]]
) -> None:
    monkeypatch.setattr(local, "_WRITEBACK_NBYTES", 200)
    monkeypatch.setattr(local, "_WRITE_BUFFER", 10)
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(local, "begin_writeback", lambda _, start, end: asked.append((start, end)))
    LocalStore(str(tmp_path / "t"), durability=durability).put("k", [bytes(125)] * 5)
    assert asked == begun


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a call of Linux")
def test_beginning_to_write_back_changes_no_byte(tmp_path: Path) -> None:
    path = tmp_path / "f"
    with path.open("wb", buffering=0) as file:
        file.write(bytes(10_000))
        begin_writeback(file.fileno(), 0, 10_000)
        begin_writeback(file.fileno(), 5_000, 1 << 40)
    assert path.read_bytes() == bytes(10_000)


# -- failing disks ---------------------------------------------------------------------------------------------

FAULTS = [
    ("write", errno.ENOSPC),
    ("write", errno.EIO),
    ("fsync", errno.EIO),
    ("fsync", errno.ENOSPC),
    ("close", errno.EIO),
]


def fail(monkeypatch: pytest.MonkeyPatch, verb: str, number: int, *, times: int = 1) -> None:
    """Let the next calls of an os function fail; a failing close closes all the same, as Linux does."""
    real = getattr(os, verb)
    left = [times]

    def call(*args: Any, **options: Any) -> Any:
        if left[0]:
            left[0] -= 1
            if verb == "close":
                real(*args)
            raise OSError(number, os.strerror(number))
        return real(*args, **options)

    monkeypatch.setattr(os, verb, call)


@pytest.mark.parametrize(("verb", "number"), FAULTS)
def test_a_failing_disk_leaves_the_old_object(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, verb: str, number: int
) -> None:
    store.put("a/k", [b"old"])
    with monkeypatch.context() as patch:
        fail(patch, verb, number)
        with pytest.raises(StorageError) as caught:
            store.put("a/k", [b"new"])
    assert caught.value.errno == number
    assert isinstance(caught.value, OSError)
    assert isinstance(caught.value.__cause__, OSError)
    assert read_all(store, "a/k") == b"old"
    assert files_of(store) == ["a/k"]
    store.put("a/k", [b"new"])
    assert read_all(store, "a/k") == b"new"


@pytest.mark.parametrize(("verb", "number"), FAULTS)
def test_a_failing_disk_publishes_nothing(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, verb: str, number: int
) -> None:
    store.put("v/0", [b""])
    with monkeypatch.context() as patch:
        fail(patch, verb, number)
        with pytest.raises(StorageError) as caught:
            store.put_if_absent("v/1", b"x")
    assert caught.value.errno == number
    assert files_of(store) == ["v/0"]
    store.put_if_absent("v/1", b"x")


def test_a_disk_that_fills_up_in_the_middle_leaves_nothing(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    real, written = os.write, []

    def write(descriptor: int, data: memoryview) -> int:
        if sum(written) > 3 << 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(real(descriptor, data))
        return written[-1]

    store.put("a", [b"old"])
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        with pytest.raises(StorageError, match="No space left"):
            store.put("b", [b"x" * (1 << 20)] * 8)
    assert files_of(store) == ["a"]


@pytest.mark.parametrize(
    ("verb", "number"), [("link", errno.EACCES), ("link", errno.EIO), ("replace", errno.EIO), ("mkdir", errno.EROFS)]
)
def test_what_cannot_be_made_visible_leaves_nothing(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, verb: str, number: int
) -> None:
    os.mkdir(store.uri)
    with monkeypatch.context() as patch:
        fail(patch, verb, number, times=9)
        with pytest.raises(StorageError) as caught:
            store.put("a/k", [b"x"]) if verb == "replace" else store.put_if_absent("a/k", b"x")
    assert caught.value.errno == number
    assert files_of(store) == []


def test_a_folder_that_cannot_be_synced_is_an_error(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put_if_absent("v/0", b"")
    real = os.fsync

    def sync(descriptor: int) -> None:
        if os.path.isdir(os.readlink(f"/proc/self/fd/{descriptor}")):
            raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", sync)
        for write in (lambda: store.put_if_absent("v/1", b"x"), lambda: store.put("v/2", [b"x"])):
            with pytest.raises(StorageError):
                write()


def test_short_writes_are_finished(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:7]))
    assert store.put("k", [b"0123456789" * 5, b"x" * 20]) == 70
    assert read_all(store, "k") == b"0123456789" * 5 + b"x" * 20


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.EMFILE])
def test_what_cannot_be_read_is_an_error_and_not_missing(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    store.put("a/k", [b"x"])
    with monkeypatch.context() as patch:
        for verb in ("open", "scandir"):
            fail(patch, verb, number, times=99)
        for read in (lambda: store.gather("a/k", [ranges((0, 1))]), lambda: store.list("a"), lambda: store.list("")):
            with pytest.raises(StorageError) as caught:
                read()
            assert not isinstance(caught.value, NotFound)
            assert caught.value.errno == number


# -- files that are none ---------------------------------------------------------------------------------------


def _symlink(path: Path) -> None:
    (path.parent / "target").write_bytes(b"0123456789")
    path.symlink_to("target")


ODD_FILES: dict[str, Callable[[Path], None]] = {
    "link": _symlink,
    "broken link": lambda path: path.symlink_to("nowhere"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "fifo": os.mkfifo,
    "folder": Path.mkdir,
    "device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("kind", ODD_FILES)
def test_what_is_not_a_file_is_refused_without_a_hang(store: LocalStore, kind: str) -> None:
    store.put("data/other", [b"x"])
    ODD_FILES[kind](Path(store.uri) / "data" / "k")
    for read in (
        lambda: store.gather("data/k", [ranges((0, 1))]),
        lambda: store.size("data/k"),
        lambda: read_all(store, "data/k"),
        lambda: store.read(["data/k"], limit=10),
    ):
        with pytest.raises(Corrupt) as caught:
            read()
        assert caught.value.kind == "file-type"
        assert "k" in caught.value.where


@pytest.mark.parametrize("kind", ["link", "fifo", "device"])
def test_a_file_that_turns_into_something_else_is_refused(store: LocalStore, kind: str) -> None:
    store.put("data/k", [b"0123456789"])
    store.gather("data/k", [ranges((0, 1))])
    store.delete(["data/k"])
    ODD_FILES[kind](Path(store.uri) / "data" / "k")
    with pytest.raises(Corrupt):
        store.gather("data/k", [ranges((0, 1))])


@pytest.mark.parametrize("kind", ["link", "broken link", "device"])
def test_a_write_does_not_follow_links(store: LocalStore, kind: str) -> None:
    store.put("data/other", [b"x"])
    path = Path(store.uri) / "data" / "k"
    ODD_FILES[kind](path)
    with pytest.raises(AlreadyExists):
        store.put_if_absent("data/k", b"new")
    store.put("data/k", [b"new"])
    assert not path.is_symlink()
    assert path.read_bytes() == b"new"
    target = path.parent / "target"
    assert kind != "link" or target.read_bytes() == b"0123456789"


def test_a_listing_does_not_follow_links_to_folders(store: LocalStore) -> None:
    store.put("data/k", [b"x"])
    (Path(store.uri) / "link").symlink_to("data")
    assert store.list("") == ["data/", "link"]


def test_temporary_files_are_not_listed(store: LocalStore) -> None:
    store.put("a/k", [b"x"])
    (Path(store.uri) / "a" / f"{TEMPORARY}1").write_bytes(b"")
    assert store.list("a") == ["k"]


# -- files that change under a store ---------------------------------------------------------------------------


def test_a_file_replaced_by_another_process_is_seen(store: LocalStore) -> None:
    other = LocalStore(store.uri)
    for turn in range(10):
        other.put("k", [b"%04d" % turn])
        assert store.gather("k", [ranges((0, 4))])[0].tobytes() == b"%04d" % turn
    other.delete(["k"])
    with pytest.raises(NotFound):
        store.gather("k", [ranges((0, 4))])


def test_a_file_that_has_another_name_and_is_replaced_is_seen(store: LocalStore) -> None:
    """As after a backup by hard links."""
    store.put("k", [b"old"])
    store.put("aside/k", [b"new"])
    at = os.path.join(store.uri, "k")
    os.link(at, os.path.join(store.uri, "backup"))
    assert store.gather("k", [ranges((0, 3))])[0].tobytes() == b"old"
    os.replace(os.path.join(store.uri, "aside", "k"), at)
    assert store.gather("k", [ranges((0, 3))])[0].tobytes() == b"new"
    os.unlink(at)
    with pytest.raises(NotFound):
        store.gather("k", [ranges((0, 3))])


def test_a_file_that_grew_is_read_to_its_new_end(store: LocalStore) -> None:
    store.put("k", [b"0123"])
    store.gather("k", [ranges((0, 4))])
    with open(os.path.join(store.uri, "k"), "ab") as file:
        file.write(b"4567")
    assert store.gather("k", [ranges((0, 8))])[0].tobytes() == b"01234567"


def test_a_file_cut_short_under_its_map_raises(tmp_path: Path) -> None:
    """In a process of its own, which a fault of the map would kill."""
    script = f"""
        import os
        import numpy as np
        from lance_like.errors import Corrupt
        from lance_like.io.local import LocalStore

        store = LocalStore({str(tmp_path)!r})
        one, many = (np.array([0]), np.array([1 << 20])), (np.array([9 << 10, 1 << 19]), np.array([9 << 11, 1 << 20]))
        for nbytes in (10_000, 4096, 1, 0):
            store.put("k", [b"x" * (1 << 20)])
            assert store.gather("k", [one, many])[0].all()
            os.truncate(os.path.join(store.uri, "k"), nbytes)
            for ask in (one, many):
                try:
                    store.gather("k", [ask])
                except Corrupt as error:
                    assert error.kind == "truncated", error
                else:
                    raise AssertionError(nbytes)
        print("alive")
    """
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "alive\n", "")


# -- maps ------------------------------------------------------------------------------------------------------


def test_one_range_is_a_view_of_the_map(store: LocalStore) -> None:
    store.put("k", [b"x" * 10_000])
    (first,), (second,) = (store.gather("k", [ranges((0, 10_000))]) for _ in range(2))
    assert np.shares_memory(first, second)


@pytest.fixture
def advised(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The (start, end) of everything the kernel is told to read, in order."""
    ranges: list[tuple[int, int]] = []
    real = os.posix_fadvise

    def call(file: int, start: int, nbytes: int, advice: int) -> None:
        if advice == os.POSIX_FADV_WILLNEED:
            ranges.append((start, start + nbytes))
        real(file, start, nbytes, advice)

    monkeypatch.setattr(os, "posix_fadvise", call)
    return ranges


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The places that were looked at; to every look the answer is that the page is not in memory."""
    places: list[int] = []

    real = os.preadv

    def call(file: int, buffers: Any, place: int, flags: int) -> int:
        if flags == 0:
            return real(file, buffers, place)
        assert flags == os.RWF_NOWAIT
        places.append(place)
        raise BlockingIOError

    monkeypatch.setattr(os, "preadv", call)
    return places


def test_large_ranges_are_read_ahead(store: LocalStore, advised: list[tuple[int, int]], looked: list[int]) -> None:
    store.put("k", [b"x" * (1 << 20)])
    (data,) = store.gather("k", [ranges((5000, 300_000))])
    assert data.tobytes() == b"x" * 295_000
    assert advised == [(4096, 135_168), (135_168, 266_240), (266_240, 303_104)]
    assert looked == [5000]


def test_large_ranges_that_follow_each_other_are_read_further_ahead(
    store: LocalStore, advised: list[tuple[int, int]], looked: list[int]
) -> None:
    step = 1 << 17
    store.put("k", [bytes(8 * step - 100)])
    for number in range(7):
        advised.clear()
        store.gather("k", [ranges((number * step, (number + 1) * step - 8))])
        expected = [(number * step, (number + 1) * step)]
        if number >= 2:
            expected.append(((number + 1) * step, min((number + 2) * step, 8 * step - 100)))
        assert advised == expected
    assert len(looked) == 7


def test_large_ranges_apart_from_each_other_are_not_read_further(
    store: LocalStore, advised: list[tuple[int, int]], looked: list[int]
) -> None:
    store.put("k", [bytes(40 << 20)])
    places = [30 << 20, 0, 20 << 20, 10 << 20]
    for start in places:
        store.gather("k", [ranges((start, start + (1 << 17)))])
    assert advised == [(start, start + (1 << 17)) for start in places]


def test_pages_that_are_not_in_memory_are_asked_for_before_any_is_copied(
    store: LocalStore, advised: list[tuple[int, int]], looked: list[int]
) -> None:
    data = np.arange(1 << 18, dtype=np.uint32).view(np.uint8)
    store.put("k", [data])
    asks = [ranges((100_000, 100_004), (10, 14), (4090, 4100)), ranges((200_000, 200_000), (16_384, 20_480))]
    answers = store.gather("k", asks)
    assert [a.tolist() for a in answers] == [
        np.concatenate([data[start:end] for start, end in zip(*ask, strict=True)]).tolist() for ask in asks
    ]
    # in order, a page once, and what lies one page apart in one request
    assert advised == [(0, 8192), (16_384, 20_480), (98_304, 102_400)]
    assert looked == [100_000]


def test_a_page_between_two_is_read_along(store: LocalStore, advised: list[tuple[int, int]], looked: list[int]) -> None:
    store.put("k", [bytes(100_000)])
    store.gather("k", [ranges((0, 8), (8192, 8200), (20_480, 20_481))])
    assert advised == [(0, 12_288), (20_480, 24_576)]
    assert looked == [0]


def test_what_is_in_memory_costs_a_few_looks(
    store: LocalStore, advised: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("k", [np.zeros(1 << 20, np.uint8)])
    places: list[int] = []
    monkeypatch.setattr(os, "preadv", lambda file, buffers, place, flags: places.append(place) or 1)
    for n in (10, 100, 1000, 10_000):
        starts = np.linspace(0, (1 << 20) - 8, n).astype(np.int64)
        places.clear()
        store.gather("k", [(starts, starts + 8)])
        assert 2 <= len(places) <= min(4 + n // 100, 68)
    places.clear()
    store.gather("k", [ranges((7, 1 << 20))])
    assert places == [7, 262_151, 524_295, 786_439, (1 << 20) - 1]
    assert advised == []


def test_one_page_is_just_read(store: LocalStore, advised: list[tuple[int, int]], looked: list[int]) -> None:
    store.put("k", [bytes(100_000)])
    store.gather("k", [ranges((4096, 8192))])
    store.gather("k", [ranges((10, 10))])
    store.gather("k", [])
    assert (advised, looked) == ([], [])
    store.gather("k", [ranges((4096, 8193))])
    assert (advised, looked) == ([(4096, 12_288)], [4096])


def test_a_system_that_cannot_look_reads_all_the_same(
    store: LocalStore, advised: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def call(*args: Any) -> int:
        raise OSError(errno.EOPNOTSUPP, "not here")

    monkeypatch.setattr(os, "preadv", call)
    store.put("k", [b"abcdef" * 2000])
    assert store.gather("k", [ranges((0, 2), (6002, 6004))])[0].tobytes() == b"abcd"
    assert advised == []


def test_pages_behind_large_reads_are_let_go(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    step = 1 << 22
    monkeypatch.setattr(local, "_LARGE_MAPPED_NBYTES", 4 * step)
    data = np.arange(16 * step // 8).view(np.uint8)
    store.put("k", [data])

    def resident() -> int:
        """Bytes of the file that are mapped into this process."""
        maps = Path("/proc/self/smaps").read_text().split(f"{store.uri}/k\n")[1:]
        assert maps
        return sum(int(part.split("\nRss:")[1].split()[0]) << 10 for part in maps)

    views = []
    for start in range(0, len(data), step):
        (view,) = store.gather("k", [ranges((start, start + step))])
        assert view.sum() > 0
        views.append(view)
        # around a fault the kernel may map 2 MiB
        assert resident() <= 5 * step
    assert np.array_equal(np.concatenate(views), data)


def test_mapped_files_are_kept_under_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_MAPPED_FILES", 10)
    store = LocalStore(str(tmp_path), durability="process")
    before = len(os.listdir("/proc/self/fd"))
    for number in range(40):
        store.put(f"{number}", [b"%03d" % number])
        assert read_all(store, f"{number}") == b"%03d" % number
    assert len(os.listdir("/proc/self/fd")) - before <= 20
    assert all(read_all(store, f"{number}") == b"%03d" % number for number in range(40))


def test_a_mapped_file_in_use_outlives_those_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_MAPPED_FILES", 10)
    store = LocalStore(str(tmp_path), durability="process")
    mapped: list[str] = []
    make = local.MappedFile
    monkeypatch.setattr(
        local, "MappedFile", lambda file, path: mapped.append(os.path.basename(path)) or make(file, path)
    )
    for number in range(60):
        store.put(f"{number}", [b"x"])
        read_all(store, f"{number}")
        read_all(store, "0")
    assert mapped.count("0") == 1


# -- processes -------------------------------------------------------------------------------------------------


def _read(store: LocalStore) -> None:
    assert read_all(store, "k") == b"x"


def test_a_fork_beside_a_reading_thread_can_read(store: LocalStore) -> None:
    store.put("k", [b"x"])
    held = threading.Event()

    def hold() -> None:
        with local._LOCK:
            held.set()
            time.sleep(0.05)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = multiprocessing.get_context("fork").Process(target=_read, args=(store,))
    child.start()
    child.join(10)
    child.kill()
    assert child.exitcode == 0
    thread.join()


def _claim(uri: str, name: int, start: Any, won: Any) -> None:
    store = LocalStore(uri)
    start.wait()
    for turn in range(15):
        try:
            store.put_if_absent(f"v/{turn}", b"%d" % name)
        except LanceLikeError as error:
            assert isinstance(error, AlreadyExists)
        else:
            won.put((turn, name))


@pytest.mark.parametrize("folder_exists", [False, True])
def test_one_of_many_processes_gets_a_key(store: LocalStore, folder_exists: bool) -> None:
    if folder_exists:
        store.put("v/x", [b""])
    context = multiprocessing.get_context("fork")
    start, won = context.Barrier(4), context.SimpleQueue()
    workers = [context.Process(target=_claim, args=(store.uri, name, start, won)) for name in range(4)]
    for worker in workers:
        worker.start()
    winners = dict(won.get() for _ in range(15))
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    assert won.empty()
    assert {turn: int(read_all(store, f"v/{turn}")) for turn in range(15)} == winners
    assert [name for name in files_of(store) if TEMPORARY in name] == []
