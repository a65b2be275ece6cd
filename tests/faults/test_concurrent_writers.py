"""Many writers at once: nothing acknowledged is lost or doubled, and the table of conflicts holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain

import pyarrow as pa
import pytest
import writer_processes as processes
from writer_processes import race

import lance_like
from lance_like import LanceDataset
from lance_like.errors import Conflict, IncompatibleChange, NotFound


def numbers(ds: LanceDataset) -> list[int]:
    return ds.to_table(["n"])["n"].to_pylist()


def assert_history_is_whole(uri: str) -> LanceDataset:
    """Every version opens, none is missing, times grow, no row id is used for two rows."""
    ds = lance_like.dataset(uri)
    told = ds.versions()
    assert [version["version"] for version in told] == list(range(1, ds.version + 1))
    times = [version["timestamp"] for version in told]
    assert times == sorted(set(times))
    assert len({version["metadata"]["uuid"] for version in told}) == len(told)
    row_of: dict[int, int] = {}
    for version in range(1, ds.version + 1):
        old = ds.checkout_version(version).to_table(["_rowid", "n"])
        for row_id, number in zip(old["_rowid"].to_pylist(), old["n"].to_pylist(), strict=True):
            assert row_of.setdefault(row_id, number) == number, f"row id {row_id} was used twice"
    return ds


# Processes


def test_eight_processes_append_ten_times_each_and_no_row_is_lost_or_doubled(tmp_path):
    uri = str(tmp_path / "t")
    lance_like.write_dataset({"n": pa.array([], pa.int64())}, uri)
    made = race([(processes.append, (uri, 1000 * k, 10)) for k in range(8)])
    ds = lance_like.dataset(uri)
    assert sorted(numbers(ds)) == [1000 * k + i for k in range(8) for i in range(10)]
    assert sorted(chain(*made)) == list(range(2, 82))
    for k, versions in enumerate(made):
        assert versions == sorted(versions)
        own = [n for n in numbers(ds) if n // 1000 == k]
        assert own == sorted(own), "rows of one writer changed their order"
        assert ds.checkout_version(versions[0]).count_rows(f"n = {1000 * k}") == 1
    assert_history_is_whole(uri)


def test_processes_that_add_different_columns_all_get_in(tmp_path):
    uri = str(tmp_path / "t")
    lance_like.write_dataset({"n": list(range(20))}, uri, max_rows_per_file=7)
    race([(processes.add_column, (uri, f"c{k}", k)) for k in range(4)])
    ds = assert_history_is_whole(uri)
    assert sorted(ds.schema.names) == ["c0", "c1", "c2", "c3", "n"]
    for k in range(4):
        assert ds.to_table([f"c{k}"])[f"c{k}"].to_pylist() == [k * n for n in range(20)]


def test_of_processes_that_add_one_name_one_gets_in(tmp_path):
    uri = str(tmp_path / "t")
    lance_like.write_dataset({"n": list(range(20))}, uri)
    won = race([(processes.try_add_column, (uri, "c", k)) for k in range(1, 5)])
    ds = assert_history_is_whole(uri)
    assert sum(won) == 1
    assert ds.to_table(["c"])["c"].to_pylist() == [(won.index(True) + 1) * n for n in range(20)]


def test_a_column_added_beside_appends_covers_every_row_of_its_version(tmp_path):
    uri = str(tmp_path / "t")
    lance_like.write_dataset({"n": [0]}, uri)
    answers = race([(processes.append, (uri, 100 * k, 6)) for k in (1, 2)] + [(processes.add_column, (uri, "c", 3))])
    ds = assert_history_is_whole(uri)
    assert sorted(numbers(ds)) == [0, *range(100, 106), *range(200, 206)]
    then = ds.checkout_version(answers[-1]).to_table(["n", "c"])
    assert then["c"].to_pylist() == [3 * n for n in then["n"].to_pylist()]
    later = ds.to_table(["n", "c"]).slice(len(then))
    assert later["c"].null_count == len(later)


def test_appends_beside_restores_are_in_history_or_were_refused(tmp_path):
    uri = str(tmp_path / "t")
    lance_like.write_dataset({"n": [0]}, uri)
    *writers, restored = race(
        [(processes.append_until_refused, (uri, 100 * k, 8)) for k in (1, 2, 3)] + [(processes.restore, (uri, 1, 4))]
    )
    ds = assert_history_is_whole(uri)
    ever: set[int] = set()
    for version in range(1, ds.version + 1):
        ever |= set(numbers(ds.checkout_version(version)))
    for done, refused in writers:
        assert set(done) <= ever
        assert not set(refused) & ever, "a refused append was done"
    for version in restored:
        assert numbers(ds.checkout_version(version)) == [0]
    last = max(restored)
    kinds = {version["version"]: version["metadata"]["kind"] for version in ds.versions()}
    assert len(numbers(ds)) == 1 + sum(kinds[version] == "append" for version in range(last + 1, ds.version + 1))


def test_overwrites_beside_each_other_all_stand_in_history(tmp_path):
    uri = str(tmp_path / "t")
    lance_like.write_dataset({"n": [0]}, uri)
    made = race([(processes.overwrite, (uri, 100 * k, 4)) for k in (1, 2, 3)])
    ds = assert_history_is_whole(uri)
    for k, versions in zip((1, 2, 3), made, strict=True):
        for step, version in enumerate(versions):
            assert numbers(ds.checkout_version(version)) == [100 * k + step, -(100 * k + step)]


def test_of_processes_that_create_one_dataset_one_gets_in(tmp_path):
    uri = str(tmp_path / "t")
    won = race([(processes.create, (uri, k)) for k in range(6)])
    assert sum(won) == 1
    assert numbers(lance_like.dataset(uri)) == [won.index(True)]
    assert lance_like.dataset(uri).version == 1


def test_of_processes_that_create_one_tag_one_gets_in(tmp_path):
    uri = str(tmp_path / "t")
    lance_like.write_dataset({"n": [0]}, uri)
    assert sum(race([(processes.tag, (uri, "t")) for _ in range(6)])) == 1
    assert lance_like.dataset(uri).tags.get_version("t") == 1


def test_readers_beside_writers_see_whole_versions_that_never_go_back(tmp_path):
    uri = str(tmp_path / "t")
    lance_like.write_dataset({"n": [0]}, uri)
    race(
        [(processes.append_until_refused, (uri, 100, 10)), (processes.overwrite, (uri, 500, 5))]
        + [(processes.read, (uri, k, 8)) for k in range(2)]
    )
    assert_history_is_whole(uri)


# The table of conflicts, through handles


@pytest.fixture
def mine(uri) -> LanceDataset:
    lance_like.write_dataset(
        {"n": [1, 2, 3], "m": [4, 5, 6], "t": ["a", "b", "c"]}, uri, max_rows_per_file=2
    ).add_columns({"d": "n + 1"})
    return lance_like.dataset(uri)


@pytest.fixture
def uri(tmp_path) -> str:
    return str(tmp_path / "t")


def rename(ds: LanceDataset, old: str, new: str) -> None:
    ds.alter_columns({"path": old, "name": new})


THEIRS: dict[str, Callable[[LanceDataset], object]] = {
    "append": lambda ds: ds.insert({"n": [9]}),
    "add": lambda ds: ds.add_columns({"x": "n"}),
    "add as null": lambda ds: ds.add_columns(pa.field("x", pa.int8())),
    "drop": lambda ds: ds.drop_columns(["m"]),
    "rename": lambda ds: rename(ds, "m", "k"),
    "restore": lambda ds: ds.checkout_version(1).restore(),
    "overwrite": lambda ds: ds.insert({"q": [1]}, mode="overwrite"),
}


def beside(ds: LanceDataset, theirs: str) -> Iterator[pa.RecordBatch]:
    """Rows to append, while another writer commits."""
    yield pa.record_batch({"n": [7], "m": [8]})
    THEIRS[theirs](lance_like.dataset(ds.uri))


MINE: dict[str, Callable[[LanceDataset, str], object]] = {
    "append": lambda ds, theirs: ds.insert(beside(ds, theirs)),
    "add": lambda ds, theirs: ds.add_columns({"y": "m * 10"}),
    "add as null": lambda ds, theirs: ds.add_columns(pa.field("y", pa.int8())),
    "add by stream": lambda ds, theirs: ds.add_columns({"y": [1, 2, 3]}),
    "add same name": lambda ds, theirs: ds.add_columns({"x": "m"}),
    "drop": lambda ds, theirs: ds.drop_columns(["t"]),
    "drop same": lambda ds, theirs: ds.drop_columns(["m"]),
    "rename": lambda ds, theirs: rename(ds, "t", "u"),
    "rename same": lambda ds, theirs: rename(ds, "m", "v"),
    "restore": lambda ds, theirs: ds.checkout_version(1).restore(),
}
# C: it is done. X: it is refused for good. R: it is refused, and may be tried again.
# fmt: off
TABLE = {
    #                 append  add  add as null  drop  rename  restore  overwrite
    "append":        ["C",    "C", "C",         "X",  "C",    "X",     "X"],
    "add":           ["C",    "C", "C",         "X",  "C",    "X",     "X"],
    "add as null":   ["C",    "C", "C",         "C",  "C",    "X",     "X"],
    "add by stream": ["R",    "C", "C",         "C",  "C",    "X",     "X"],
    "add same name": ["C",    "X", "X",         "X",  "C",    "X",     "X"],
    "drop":          ["C",    "C", "C",         "C",  "C",    "X",     "X"],
    "drop same":     ["C",    "C", "C",         "X",  "X",    "X",     "X"],
    "rename":        ["C",    "C", "C",         "C",  "C",    "X",     "X"],
    "rename same":   ["C",    "C", "C",         "X",  "X",    "X",     "X"],
    "restore":       ["C",    "C", "C",         "C",  "C",    "C",     "C"],
}
# fmt: on


@pytest.mark.parametrize("theirs", THEIRS)
@pytest.mark.parametrize("name", MINE)
def test_a_change_follows_another_as_the_table_says(name, theirs, mine, uri):
    if name != "append":  # an append begins from the newest version: the other comes in its middle
        THEIRS[theirs](lance_like.dataset(uri))
    verdict = TABLE[name][list(THEIRS).index(theirs)]
    before = lance_like.dataset(uri)
    if verdict == "C":
        MINE[name](mine, theirs)
    else:
        with pytest.raises(IncompatibleChange if verdict == "X" else Conflict) as caught:
            MINE[name](mine, theirs)
        assert caught.value.retryable == (verdict == "R")
        assert mine.version == 2, "the handle of a refused change moved"
        expected = 3
        assert lance_like.dataset(uri).version == expected, "a refused change is there"
        if name != "append":
            assert lance_like.dataset(uri).to_table().equals(before.to_table())
        return
    after = lance_like.dataset(uri)
    assert after.version == 4
    assert_history_is_there(after)
    check_both(name, theirs, after)


def assert_history_is_there(ds: LanceDataset) -> None:
    for version in range(1, ds.version + 1):
        ds.checkout_version(version).to_table()


def check_both(name: str, theirs: str, after: LanceDataset) -> None:
    """What both did is in the newest version."""
    if name == "restore":
        assert after.schema.names == ["n", "m", "t"]
        assert numbers(after) == [1, 2, 3]
        return
    rows = [1, 2, 3] + ([9] if theirs == "append" else []) + ([7] if name == "append" else [])
    assert numbers(after) == rows
    names = set(after.schema.names)
    assert ("x" in names) == (theirs in ("add", "add as null") or name == "add same name")
    if theirs == "drop":
        assert "m" not in names
    if theirs == "rename" and name not in ("drop same",):
        assert "k" in names
    if name == "add":
        m = after.to_table(["m" if theirs != "rename" else "k"]).column(0).to_pylist()
        assert after.to_table(["y"])["y"].to_pylist() == [None if value is None else 10 * value for value in m]
    if name == "append" and theirs == "rename":
        assert after.to_table(["k"])["k"].to_pylist() == [4, 5, 6, 8]
    if name == "add by stream":
        assert after.to_table(["y"])["y"].to_pylist() == [1, 2, 3]


def test_a_change_that_was_refused_can_be_made_again_from_the_newest_version(mine, uri):
    lance_like.dataset(uri).insert({"n": [9]})
    with pytest.raises(Conflict):
        mine.add_columns({"y": [1, 2, 3]})
    mine.checkout_latest()
    mine.add_columns({"y": [1, 2, 3, 4]})
    assert mine.to_table(["y"])["y"].to_pylist() == [1, 2, 3, 4]


def test_an_append_whose_column_becomes_required_in_the_meantime_is_not_committed_with_nulls(uri):
    """Another writer adds a column that may not be null: rows without it cannot follow."""
    ds = lance_like.write_dataset({"n": [1]}, uri)

    def batches() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"n": [2]})
        schema = pa.schema([pa.field("must", pa.int8(), nullable=False)])
        lance_like.dataset(uri).add_columns(pa.table([pa.array([5], pa.int8())], schema=schema))

    with pytest.raises(Conflict):
        ds.insert(batches())
    assert lance_like.dataset(uri).to_table().to_pydict() == {"n": [1], "must": [5]}


def test_a_writer_whose_table_was_removed_under_it_is_told(mine, tmp_path):
    (tmp_path / "t").rename(tmp_path / "away")
    with pytest.raises((Conflict, NotFound)):
        mine.drop_columns(["t"])
    with pytest.raises((Conflict, NotFound)):
        mine.insert({"n": [1]})
