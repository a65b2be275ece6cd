"""A handle is one version: moved by its own writes only, shared by threads, copied to other processes."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import subprocess
import sys
import threading

import numpy as np
import pyarrow as pa
import pytest
from dataset_values import assert_same, people, three_fragments

import lance_like
from lance_like import LanceDataset
from lance_like.errors import Conflict, LanceLikeError, NotFound

# Moves


@pytest.mark.parametrize(
    "write",
    [
        lambda other: other.insert(people(1)),
        lambda other: other.insert({"q": [1]}, mode="overwrite"),
        lambda other: other.add_columns({"n": "i"}),
        lambda other: other.drop_columns(["t"]),
        lambda other: other.alter_columns({"path": "i", "name": "k"}),
        lambda other: other.restore(),
        lambda other: other.tags.create("x"),
    ],
    ids=["append", "overwrite", "add", "drop", "rename", "restore", "tag"],
)
def test_a_handle_does_not_see_the_commits_of_others(write, uri):
    ds = three_fragments(uri)
    write(lance_like.dataset(uri))
    assert (ds.version, len(ds), ds.count_rows()) == (1, 10, 10)
    assert_same(ds.to_table(), people(10))
    assert_same(ds.take([9]), people(10).slice(9))
    assert ds._take_rows([9], ["t"]).num_rows == 1


def test_checkout_latest_moves_the_handle_and_checkout_version_makes_another(uri):
    ds = three_fragments(uri)
    lance_like.dataset(uri).insert({"q": [1]}, mode="overwrite")
    assert ds.checkout_version(2).to_table().to_pydict() == {"q": [1]}
    assert ds.version == 1
    ds.checkout_latest()
    assert (ds.version, ds.to_table().to_pydict(), ds.take([0]).to_pydict()) == (2, {"q": [1]}, {"q": [1]})


@pytest.mark.parametrize("version", [None, 1])
def test_a_handle_moves_by_its_own_writes(uri, version):
    three_fragments(uri)
    ds = lance_like.dataset(uri, version=version)
    for step, write in enumerate(
        [
            lambda: ds.insert(people(2)),
            lambda: ds.add_columns({"n": "i + 1"}),
            lambda: ds.alter_columns({"path": "n", "name": "m"}),
            lambda: ds.drop_columns(["s"]),
            lambda: ds.restore(),
        ]
    ):
        write()
        assert ds.version == step + 2
    assert ds.schema.names == ["i", "t", "m"]
    assert (len(ds), ds.take([11], ["m"])["m"].to_pylist()) == (12, [2])


def test_a_failed_write_leaves_the_handle_where_it_was(uri):
    ds = three_fragments(uri)
    for write in (
        lambda: ds.insert({"nope": [1]}),
        lambda: ds.add_columns({"i": "1"}),
        lambda: ds.drop_columns(["nope"]),
        lambda: ds.alter_columns({"path": "i", "name": "t"}),
        lambda: ds.tags.update("nope"),
    ):
        with pytest.raises(LanceLikeError):
            write()
    assert (ds.version, ds.latest_version) == (1, 1)
    assert_same(ds.to_table(), people(10))


def test_a_scan_that_has_begun_goes_on_in_its_version(uri):
    ds = three_fragments(uri)
    batches = ds.to_batches(["i"], batch_size=2)
    first = next(batches)
    ds.insert({"q": [1]}, mode="overwrite")
    assert pa.Table.from_batches([first, *batches])["i"].to_pylist() == list(range(10))


def test_an_append_through_an_old_handle_follows_what_others_appended(uri):
    ds = lance_like.write_dataset({"a": [1]}, uri)
    lance_like.dataset(uri).insert({"a": [2]})
    ds.insert({"a": [3]})
    assert ds.to_table()["a"].to_pylist() == [1, 2, 3]


def test_a_handle_tells_what_it_is(uri):
    ds = three_fragments(uri)
    assert repr(ds) == f"LanceDataset({uri!r}, version=1, rows=10)"
    assert (ds.uri, len(ds), ds.metadata) == (uri, 10, {})


# Errors


def test_every_error_is_of_our_tree_and_says_what_to_do(uri):
    ds = three_fragments(uri)
    for act, kinds in (
        (lambda: ds.to_table(["tt"]), (LookupError,)),
        (lambda: ds.take([99]), (IndexError, ValueError)),
        (lambda: ds._take_rows([99]), (LookupError,)),
        (lambda: ds.to_table(filter="tt = 1"), (LookupError,)),
        (lambda: lance_like.dataset(uri, version=9), (LookupError,)),
        (lambda: lance_like.write_dataset({}, uri), ()),
        (lambda: ds.filter(None), (NotImplementedError,)),
    ):
        with pytest.raises(LanceLikeError) as caught:
            act()
        assert all(isinstance(caught.value, kind) for kind in kinds)
        again = pickle.loads(pickle.dumps(caught.value))
        assert (type(again), str(again)) == (type(caught.value), str(caught.value))


# Copies


def test_a_pickled_handle_opens_the_same_version(tmp_path):
    ds = three_fragments(str(tmp_path))
    old = ds.checkout_version(1)
    ds.insert(people(1))
    for copied in (pickle.loads(pickle.dumps(old)), copy.copy(old), copy.deepcopy(old)):
        assert isinstance(copied, LanceDataset)
        assert (copied.version, copied.uri) == (1, str(tmp_path))
        assert_same(copied.to_table(), people(10))


def test_a_pickled_handle_keeps_its_options_and_holds_no_data(tmp_path):
    lance_like.write_dataset({"a": [b"secret" * 1000]}, tmp_path)
    options = {"verify": "off", "durability": "process", "metadata_cache_size_bytes": 1000}
    ds = lance_like.dataset(tmp_path, **options)
    data = pickle.dumps(ds)
    assert len(data) < 1000
    others = {
        "base_store_params": None,
        "default_scan_options": None,
        "index_cache_size_bytes": 1 << 30,
        "indices": "use",
    }
    assert pickle.loads(data)._options == {**options, **others}


def test_a_pickled_handle_of_a_dataset_that_is_gone_is_not_found(tmp_path):
    data = pickle.dumps(three_fragments(str(tmp_path / "t")))
    (tmp_path / "t").rename(tmp_path / "elsewhere")
    with pytest.raises(NotFound):
        pickle.loads(data)


def test_a_pickled_handle_opens_in_another_process(tmp_path):
    data = pickle.dumps(three_fragments(str(tmp_path)))
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer).take([9], ['i'])['i'].to_pylist())"
    done = subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=True)
    assert done.stdout.strip() == b"[9]"


# Threads and forks


def many_rows(place: str) -> tuple[pa.Table, LanceDataset]:
    n = 20_000
    numbers = np.arange(n)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.repeat(numbers, 4).astype(np.float32)), 4)
    table = pa.table({"i": numbers, "t": [f"x{i % 97}" for i in numbers], "v": vectors})
    lance_like.write_dataset(table, place, max_rows_per_file=7_000)
    return table, lance_like.dataset(place)


def test_eight_threads_take_and_scan_one_handle(tmp_path):
    table, ds = many_rows(str(tmp_path))
    failures: list[BaseException] = []
    barrier = threading.Barrier(8)

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        try:
            barrier.wait()
            for _ in range(4):
                rows = random.integers(0, len(table), 100)
                assert ds.take(rows).equals(table.take(pa.array(rows)))
                low = int(random.integers(0, len(table) - 50))
                found = ds.to_table(["t", "i"], filter=f"i >= {low} and i < {low + 50}")
                assert found.equals(table.slice(low, 50).select(["t", "i"]))
                assert ds.count_rows("t = 'x5'") == sum(i % 97 == 5 for i in range(len(table)))
                assert ds.to_table(["v"]).equals(table.select(["v"]))
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert not any(thread.is_alive() for thread in threads)


def test_threads_that_write_through_handles_of_their_own_all_get_in(tmp_path):
    lance_like.write_dataset({"a": pa.array([], pa.int64())}, tmp_path, durability="process")
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for step in range(3):
                lance_like.dataset(tmp_path, durability="process").insert({"a": [number * 10 + step]})
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    ds = lance_like.dataset(tmp_path)
    assert sorted(ds.to_table()["a"].to_pylist()) == [n * 10 + s for n in range(4) for s in range(3)]
    assert ds.version == 13


def in_fork(act) -> int:
    """Run act in a forked child; its exit status, 0 when it returned true."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)  # a child that hangs is killed, and seen as such
        try:
            os._exit(0 if act() else 1)
        except BaseException:
            os._exit(2)
    return os.waitpid(pid, 0)[1]


fork_only = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


@fork_only
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_handle_works_in_a_forked_child_and_in_its_parent_at_once(tmp_path):
    table, ds = many_rows(str(tmp_path))
    assert ds.count_rows("t = 'x5'") > 0  # every part is warm: maps, readers, the engine of filters

    def read() -> bool:
        rows = np.array([19_999, 0, 7_000])
        return (
            ds.take(rows).equals(table.take(pa.array(rows)))
            and ds.to_table().equals(table)
            and ds.count_rows("t = 'x6' and i > 9") == sum(i % 97 == 6 for i in range(10, 20_000))
        )

    pids = []
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)
            try:
                os._exit(0 if read() else 1)
            except BaseException:
                os._exit(2)
        pids.append(pid)
    assert read()
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0, 0]
    assert read()


@fork_only
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_while_threads_read_can_read(tmp_path):
    _, ds = many_rows(str(tmp_path))
    stop = threading.Event()

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        while not stop.is_set():
            ds.take(random.integers(0, 20_000, 100), ["i", "v"])
            ds.to_table(["i"])

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    try:
        statuses = [
            in_fork(lambda: ds.take([19_999], ["i"])["i"].to_pylist() == [19_999] and len(ds.to_table(["i"])) == 20_000)
            for _ in range(10)
        ]
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert statuses == [0] * 10


@fork_only
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_while_threads_filter_by_sql_is_not_killed(tmp_path):
    _, ds = many_rows(str(tmp_path))
    stop = threading.Event()

    def work(seed: int) -> None:
        low = seed
        while not stop.is_set():
            low += 4
            ds.count_rows(f"i >= {low}")

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    try:
        statuses = [in_fork(lambda: ds.take([5], ["i"])["i"].to_pylist() == [5]) for _ in range(10)]
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert statuses == [0] * 10


def test_a_handle_can_write_in_the_child_and_the_parent_after_a_fork(tmp_path):
    ds = lance_like.write_dataset({"a": [1]}, tmp_path)
    assert in_fork(lambda: ds.insert({"a": [2]}) is None and ds.version == 2) == 0
    assert ds.version == 1
    ds.insert({"a": [3]})
    assert ds.to_table()["a"].to_pylist() == [1, 2, 3]


@pytest.mark.parametrize(
    "change",
    [
        lambda ds: ds.delete("i >= 0"),
        lambda ds: ds.update({"i": "i + 1"}),
        lambda ds: ds.drop_columns(["t"]),
        lambda ds: ds.update_metadata({"a": "b"}),
        lambda ds: ds.restore(),
        lambda ds: ds.insert({"i": [4]}),
        lambda ds: ds.insert({"i": [4]}, mode="overwrite"),
        lambda ds: ds.merge_insert("i").when_not_matched_insert_all().execute({"i": [4]}),
        lambda ds: ds.create_scalar_index("i", "BTREE"),
        lambda ds: lance_like.write_dataset({"i": [4]}, ds, mode="append"),
    ],
)
@pytest.mark.parametrize("later", [0, 1], ids=["same number", "more versions"])
def test_a_change_of_a_table_that_was_replaced_is_refused(tmp_path, change, later):
    ds = lance_like.write_dataset({"i": [1, 2], "t": ["a", "b"]}, tmp_path / "t")
    lance_like.LanceDataset.drop(tmp_path / "t")
    made = lance_like.write_dataset({"i": [3], "t": ["new"]}, tmp_path / "t")
    for _ in range(later):
        made.update_metadata({"later": "yes"})
    with pytest.raises(Conflict, match="the table was replaced"):
        change(ds)
    assert lance_like.dataset(tmp_path / "t").version == 1 + later
    assert lance_like.dataset(tmp_path / "t").to_table().to_pydict() == {"i": [3], "t": ["new"]}


def test_the_newest_version_of_a_table_that_was_replaced_is_the_other_table(tmp_path):
    ds = lance_like.write_dataset({"i": [1, 2]}, tmp_path / "t")
    lance_like.LanceDataset.drop(tmp_path / "t")
    lance_like.write_dataset({"i": [3]}, tmp_path / "t")
    ds.checkout_latest()
    assert ds.to_table().to_pydict() == {"i": [3]}
    ds.insert({"i": [4]})
    ds.delete("i = 3")
    assert ds.count_rows() == 1
