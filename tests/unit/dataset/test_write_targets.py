"""Where a write goes: a place, a handle, a branch; and what pylance's other options say."""

from __future__ import annotations

from datetime import timedelta

import pytest

import lance_like
from lance_like import LanceDataset, LanceFragment
from lance_like.errors import AlreadyExists, InvalidInput, NotFound, Unsupported
from lance_like.fragment import write_fragments


@pytest.fixture
def ds(uri) -> LanceDataset:
    return lance_like.write_dataset({"a": [1]}, uri)


@pytest.fixture
def branch(ds: LanceDataset) -> LanceDataset:
    return ds.create_branch("dev")


def newest(uri, branch: str | None = None) -> dict:
    return lance_like.dataset(uri, version=(branch, None)).to_table().to_pydict()


@pytest.mark.parametrize(("mode", "expected"), [("append", [1, 2, 3]), ("overwrite", [3])])
def test_a_write_to_a_handle_follows_the_newest_version_of_its_branch(mode, expected, uri, branch):
    stale = branch.checkout_version(branch.version)
    branch.insert({"a": [2]})
    written = lance_like.write_dataset({"a": [3]}, stale, mode=mode)
    assert (written.branch, written.version, stale.version) == ("dev", 3, 1)
    assert written.to_table().to_pydict() == newest(uri, "dev") == {"a": expected}
    assert newest(uri) == {"a": [1]}


def test_a_write_to_a_handle_creates_nothing(ds, branch):
    for handle in (ds, branch):
        with pytest.raises(AlreadyExists):
            lance_like.write_dataset({"a": [3]}, handle)


def test_a_handle_passes_its_options_on(ds, uri):
    handle = lance_like.dataset(uri, verify="off", durability="process")
    assert lance_like.write_dataset({"a": [3]}, handle, mode="append")._options == handle._options


@pytest.mark.parametrize("option", ["durability", "storage_options", "commit_lock", "base_store_params"])
def test_a_handle_has_its_own_options(option, ds):
    given = {"durability": "full", "commit_lock": lambda version: None}.get(option, {})
    with pytest.raises(InvalidInput, match=f"own {option}"):
        lance_like.write_dataset({"a": [3]}, ds, mode="append", **{option: given})
    if option in ("durability", "storage_options"):
        with pytest.raises(InvalidInput, match=f"own {option}"):
            write_fragments({"a": [3]}, ds, **{option: given})


@pytest.mark.parametrize("mode", ["create", "append", "overwrite"])
def test_a_branch_that_is_gone_gets_no_table(mode, ds, branch):
    ds.branches.delete("dev")
    with pytest.raises(NotFound, match="dev"):
        lance_like.write_dataset({"a": [3]}, branch, mode=mode)
    transaction = write_fragments({"a": [3]}, ds, mode="overwrite", return_transaction=True)
    with pytest.raises(NotFound, match="dev"):
        LanceDataset.commit(branch, transaction.operation)
    assert ds.branches.list() == {}


def test_a_fragment_is_made_beside_a_branch(branch):
    fragment = LanceFragment.create(branch, {"a": [2]})
    made = LanceDataset.commit(branch, lance_like.LanceOperation.Append([fragment]), branch.version)
    assert (made.branch, made.to_table().to_pydict()) == ("dev", {"a": [1, 2]})


def test_a_branch_has_the_storage_options_of_its_table(ds):
    with pytest.raises(InvalidInput, match="of its table"):
        ds.create_branch("dev", storage_options={"key": "x"})


# -- cleanup by itself ------------------------------------------------------------------------------------------


def test_a_new_table_may_clean_up_by_itself(uri):
    options = {"interval": 3, "older_than_seconds": 0}
    ds = lance_like.write_dataset({"a": [1]}, uri, auto_cleanup_options=options)
    assert ds.config() == {"lance.auto_cleanup.interval": "3", "lance.auto_cleanup.older_than": "0s"}
    for value in (2, 3, 4):
        ds.insert({"a": [value]})
    assert [version["version"] for version in ds.versions()] == [3, 4]


def test_by_default_it_is_every_20_versions_at_14_days(uri):
    ds = lance_like.write_dataset({"a": [1]}, uri, auto_cleanup_options={})
    age = timedelta(days=14).total_seconds()
    assert ds.config() == {"lance.auto_cleanup.interval": "20", "lance.auto_cleanup.older_than": f"{age:.0f}s"}


@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_a_table_that_is_there_stays_as_it_is_configured(mode, ds):
    written = lance_like.write_dataset({"a": [2]}, ds, mode=mode, auto_cleanup_options={"interval": 1})
    assert written.config() == {}


@pytest.mark.parametrize(
    "options",
    [{"interval": 0}, {"interval": "3"}, {"older_than_seconds": -1}, {"older_than_seconds": "1d"}, {"every": 3}, 5],
)
def test_other_options_of_it_are_refused_before_anything_is_written(options, uri, tmp_path):
    with pytest.raises(InvalidInput):
        lance_like.write_dataset({"a": [1]}, uri, auto_cleanup_options=options)
    with pytest.raises(NotFound):
        lance_like.dataset(uri)


# -- options of pylance -----------------------------------------------------------------------------------------


def test_options_that_change_nothing_are_accepted(uri):
    hints = {"data_storage_version": "stable", "enable_stable_row_ids": True, "enable_v2_manifest_paths": True}
    ds = lance_like.write_dataset({"a": [1]}, uri, target_bases=None, **hints)
    assert lance_like.dataset(uri, index_cache_size=5, session=None).to_table().equals(ds.to_table())


@pytest.mark.parametrize(
    ("option", "value"),
    [("target_bases", ["x"]), ("initial_bases", ["x"]), ("table_id", ["t"])],
)
def test_options_that_ask_for_what_is_not_here_are_unsupported(option, value, uri):
    with pytest.raises(Unsupported, match=option):
        lance_like.write_dataset({"a": [1]}, uri, **{option: value})
    with pytest.raises(NotFound):
        lance_like.dataset(uri)


def test_an_unknown_option_is_named(ds, uri):
    with pytest.raises(InvalidInput, match="'mood' is not an option of write_dataset"):
        lance_like.write_dataset({"a": [1]}, uri, mood="append")
    with pytest.raises(InvalidInput, match="'vesion' is not an option of dataset"):
        lance_like.dataset(uri, vesion=3)
    with pytest.raises(InvalidInput, match="'x' is not an option of commit"):
        LanceDataset.commit(uri, lance_like.LanceOperation.Restore(1), x=1)
    with pytest.raises(InvalidInput, match="'x' is not an option of write_fragments"):
        write_fragments({"a": [1]}, uri, x=1)
    with pytest.raises(Unsupported, match="target_bases"):
        write_fragments({"a": [1]}, uri, target_bases=["x"])
