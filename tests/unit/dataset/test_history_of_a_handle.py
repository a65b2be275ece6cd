"""Versions, tags, points in time, restore: through a handle."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pytest
from dataset_values import assert_same, people

import lance_like
from lance_like import LanceOperation
from lance_like.errors import AlreadyExists, InvalidInput, NotFound


@pytest.fixture
def ds(uri):
    """Three versions: 2 rows, 5 rows, and another table of 1 row."""
    ds = lance_like.write_dataset(people(2), uri, commit_message="first")
    ds.insert(people(3))
    ds.insert({"other": ["x"]}, mode="overwrite")
    return ds


def test_every_version_can_be_opened_by_number(ds, uri):
    assert [lance_like.dataset(uri, version=n).count_rows() for n in (1, 2, 3)] == [2, 5, 1]
    assert_same(ds.checkout_version(1).to_table(), people(2))
    assert lance_like.dataset(uri).version == ds.version == ds.latest_version == 3


@pytest.mark.parametrize("version", [0, -1, 4, 2**60], ids=str)
def test_a_version_that_is_not_there_is_not_found(ds, uri, version):
    for find in (ds.checkout_version, lambda v: lance_like.dataset(uri, version=v), lambda v: ds.tags.create("t", v)):
        with pytest.raises(NotFound, match="from 1 to 3"):
            find(version)


@pytest.mark.parametrize("version", [1.0, True, [1], b"1"], ids=repr)
def test_a_version_that_is_no_number_or_tag_is_refused(ds, version):
    with pytest.raises(InvalidInput, match="a number or the name of a tag"):
        ds.checkout_version(version)


def test_versions_tell_what_when_and_why_oldest_first(ds):
    told = ds.checkout_version(1).versions()
    assert [version["version"] for version in told] == [1, 2, 3]
    assert [version["metadata"]["kind"] for version in told] == ["create", "append", "overwrite"]
    assert told[0]["metadata"]["message"] == "first"
    times = [version["timestamp"] for version in told]
    assert times == sorted(set(times))
    assert times[0].tzinfo is not None


def test_the_versions_of_a_handle_and_all_numbers_are_told(ds):
    assert ds.checkout_version(2).get_version() == ds.versions()[1]
    assert ds.checkout_version(2).version_refs() == [{"version": 1}, {"version": 2}, {"version": 3}]


def test_transactions_are_read_one_by_one_or_back_from_the_handle(ds):
    first = ds.read_transaction(1)
    assert (first.read_version, type(first.operation)) == (0, LanceOperation.Overwrite)
    assert first.transaction_properties == {"__lance_commit_message": "first"}
    assert first.uuid == ds.versions()[0]["metadata"]["uuid"]
    told = [type(one.operation) for one in ds.get_transactions()]
    assert told == [LanceOperation.Overwrite, LanceOperation.Append, LanceOperation.Overwrite]
    assert ds.checkout_version(2).get_transactions(1) == [ds.read_transaction(2)]
    with pytest.raises(NotFound, match="from 1 to 3"):
        ds.read_transaction(4)


def test_a_moment_gives_the_newest_version_not_after_it(ds, uri):
    times = [version["timestamp"] for version in ds.versions()]
    tick = dt.timedelta(microseconds=1)
    for asof, version in ((times[0], 1), (times[1] - tick, 1), (times[1], 2), (times[2], 3), (times[2] + tick, 3)):
        assert lance_like.dataset(uri, asof=asof).version == version
        assert lance_like.dataset(uri, asof=asof.isoformat()).version == version
        elsewhere = asof.astimezone(dt.timezone(dt.timedelta(hours=9)))
        assert lance_like.dataset(uri, asof=elsewhere).version == version


def test_a_moment_before_the_first_version_is_not_found(ds, uri):
    with pytest.raises(NotFound, match=r"no version yet.*the oldest, 1"):
        lance_like.dataset(uri, asof="2001-01-01")


@pytest.mark.parametrize("asof", ["soon", 1.5, dt.date(2020, 1, 1), b"2020"], ids=repr)
def test_what_is_no_moment_is_refused(ds, uri, asof):
    with pytest.raises(InvalidInput, match="asof="):
        lance_like.dataset(uri, asof=asof)


def test_a_version_and_a_moment_together_are_refused(ds, uri):
    with pytest.raises(InvalidInput, match="both"):
        lance_like.dataset(uri, version=1, asof="2030-01-01")


def test_restore_makes_an_old_version_the_newest_and_loses_none(ds, uri):
    old = ds.checkout_version(1)
    old.restore()
    assert (old.version, old.latest_version) == (4, 4)
    assert_same(lance_like.dataset(uri).to_table(), people(2))
    assert_same(ds.checkout_version(2).to_table(), pa.concat_tables([people(2), people(3)]))
    assert lance_like.dataset(uri, version=3).to_table().to_pydict() == {"other": ["x"]}


def test_rows_written_after_a_restore_get_ids_that_no_row_had(ds):
    seen: set[int] = set()
    for version in (1, 2, 3):
        seen |= set(ds.checkout_version(version).to_table(["_rowid"])["_rowid"].to_pylist())
    old = ds.checkout_version(1)
    old.restore()
    old.insert(people(4))
    ids = old.to_table(["_rowid"])["_rowid"].to_pylist()
    assert ids[:2] == [0, 1]
    assert not seen & set(ids[2:])


# Tags


def test_a_tag_names_a_version_until_it_is_moved_or_deleted(ds, uri):
    ds.tags.create("now")
    ds.tags.create("first", 1)
    ds.tags.create("again", "first")
    assert {name: tag["version"] for name, tag in ds.tags.list().items()} == {"again": 1, "first": 1, "now": 3}
    assert lance_like.dataset(uri, version="first").version == ds.checkout_version("again").version == 1
    ds.tags.update("first", 2)
    assert (ds.tags.get_version("first"), ds.tags.get_version("again")) == (2, 1)
    ds.tags.delete("first")
    assert set(ds.tags.list()) == {"again", "now"}
    with pytest.raises(NotFound, match="'again', 'now'"):
        lance_like.dataset(uri, version="first")
    assert ds.tags.list()["now"]["created_at"].tzinfo is not None


def test_a_tag_is_made_for_the_version_of_the_handle(ds):
    ds.checkout_version(2).tags.create("two")
    assert ds.tags.get_version("two") == 2


def test_a_taken_name_is_not_moved_by_create(ds):
    ds.tags.create("a", 1)
    with pytest.raises(AlreadyExists, match=r"update\(\)"):
        ds.tags.create("a", 2)
    assert ds.tags.get_version("a") == 1


@pytest.mark.parametrize("act", ["update", "delete", "get_version"])
def test_an_unknown_tag_is_not_found(ds, act):
    with pytest.raises(NotFound, match=r"tag 'a' does not exist.*known tags: none"):
        getattr(ds.tags, act)("a")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "é", "x.lock", "a" * 129, None, 5, b"a"], ids=repr)
def test_a_name_that_is_no_tag_is_refused_by_every_call(ds, name):
    for act in (ds.tags.create, ds.tags.update, ds.tags.delete, ds.tags.get_version):
        with pytest.raises(InvalidInput, match="not a name for a tag"):
            act(name)


def test_a_tag_makes_no_version_and_survives_later_ones(ds):
    ds.tags.create("a")
    ds.insert({"other": ["y"]})
    assert ds.version == 4
    assert ds.checkout_version("a").to_table().to_pydict() == {"other": ["x"]}


# What is not there


def test_a_place_without_a_dataset_says_what_it_holds(tmp_path):
    with pytest.raises(NotFound, match=r"nothing is here.*write_dataset"):
        lance_like.dataset(tmp_path / "none")
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(NotFound, match="Parquet"):
        lance_like.dataset(tmp_path)


def test_a_place_that_is_a_file_is_an_error_of_ours(tmp_path):
    (tmp_path / "f").write_text("x")
    for place in (tmp_path / "f", tmp_path / "f" / "below"):
        with pytest.raises(lance_like.errors.LanceLikeError):
            lance_like.dataset(place)
        with pytest.raises(lance_like.errors.LanceLikeError):
            lance_like.write_dataset({"a": [1]}, place)


def test_verify_is_full_or_off(ds, uri):
    assert lance_like.dataset(uri, verify="off").count_rows() == 1
    with pytest.raises(InvalidInput, match="'full' or 'off'"):
        lance_like.dataset(uri, verify="sometimes")


def test_ids_of_fields_go_on_and_those_of_rows_stay(uri):
    ds = lance_like.write_dataset({"a": [1], "b": [2]}, uri)
    ds.drop_columns(["a"])
    ds.add_columns({"c": "b + 1"})
    assert (ds.max_field_id, ds.has_stable_row_ids) == (2, True)
