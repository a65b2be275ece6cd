"""Branches and tags of their versions, through a handle; names and results are those of pylance."""

from __future__ import annotations

import datetime as dt
import pickle
from pathlib import Path

import pytest
from dataset_values import assert_same, people

import lance_like
from lance_like.dataset.verify import verify_dataset
from lance_like.errors import AlreadyExists, InvalidInput, NotFound
from lance_like.io.uri import open_store
from lance_like.table.layout import branch_key, version_key


@pytest.fixture
def ds(uri):
    """Two versions: 2 rows, 5 rows; a branch `dev` from version 1, with 6 rows more in version 2."""
    ds = lance_like.write_dataset(people(2), uri)
    ds.insert(people(3))
    ds.create_branch("dev", 1).insert(people(6))
    return ds


def test_a_branch_has_its_own_versions(ds, uri):
    dev = ds.checkout_version(("dev", None))
    assert (dev.version, dev.branch, dev.count_rows(), dev.uri) == (2, "dev", 8, f"{ds.uri}/tree/dev")
    assert (ds.version, ds.branch, ds.count_rows(), ds.latest_version) == (2, None, 5, 2)
    assert "version=('dev', 2)" in repr(dev)
    assert_same(dev.checkout_version(1).to_table(), people(2))
    assert_same(dev.checkout_version(("main", None)).to_table(), ds.to_table())
    assert lance_like.dataset(uri, version=("dev", 1)).count_rows() == 2
    assert lance_like.dataset(uri, version=(None, None)).count_rows() == 5
    assert dev.version_refs() == [{"version": 1}, {"version": 2}]
    with pytest.raises(NotFound, match="from 1 to 2"):
        dev.checkout_version(3)


def test_the_uri_of_a_branch_opens_and_writes_it(ds, uri):
    team = ds.create_branch("team/c", ("dev", 2))
    lance_like.write_dataset(people(1), team.uri, mode="append")
    lance_like.write_dataset(people(4), ds.checkout_version(("dev", None)).uri, mode="overwrite")
    assert lance_like.dataset(team.uri).count_rows() == 9
    assert lance_like.dataset(Path(team.uri) if "://" not in uri else team.uri, version=2).branch == "team/c"
    assert lance_like.dataset(f"{uri}/tree/dev").count_rows() == 4
    assert lance_like.dataset(uri).count_rows() == 5
    with pytest.raises(InvalidInput, match="branch 'dev'"):
        lance_like.LanceDataset.drop(f"{uri}/tree/dev")
    with pytest.raises(NotFound):
        lance_like.dataset(f"{uri}/tree/nobody")


def test_a_table_may_lie_in_a_folder_of_the_name_tree(uri):
    lance_like.write_dataset(people(2), uri)
    lance_like.write_dataset(people(3), f"{uri}/tree/dev")
    assert lance_like.dataset(f"{uri}/tree/dev").count_rows() == 3
    assert lance_like.dataset(f"{uri}/tree/dev").branch is None


def test_a_handle_on_a_branch_moves_on_the_branch(ds):
    dev = ds.checkout_version(("dev", 2))
    dev.add_columns({"more": "i + 1"})
    dev.checkout_version(1).restore()
    assert (dev.latest_version, ds.latest_version) == (4, 2)
    dev.checkout_latest()
    assert (dev.version, dev.branch, dev.count_rows()) == (4, "dev", 2)
    told = [type(one.operation).__name__ for one in dev.get_transactions()]
    assert told == ["Restore", "Merge", "Append", "Overwrite"]
    assert_same(ds.checkout_version(("dev", 2)).take([0, 1]), people(2))


def test_a_branch_begins_at_the_version_of_the_handle_or_where_it_is_told(ds):
    assert ds.checkout_version(1).create_branch("a").count_rows() == 2
    assert ds.create_branch("b").count_rows() == 5
    assert ds.create_branch("team/c", ("dev", 2)).count_rows() == 8
    ds.tags.create("t", ("dev", 2))
    begun = ds.create_branch("d", "t")
    assert (begun.version, begun.branch, begun.count_rows()) == (2, "d", 8)
    with pytest.raises(AlreadyExists):
        ds.create_branch("a")
    with pytest.raises(InvalidInput):
        ds.create_branch("main")
    with pytest.raises(NotFound):
        ds.create_branch("e", ("nowhere", 1))


def test_a_handle_on_a_branch_pickles(ds):
    copy = pickle.loads(pickle.dumps(ds.checkout_version(("dev", 2))))
    assert (copy.branch, copy.version, copy.count_rows()) == ("dev", 2, 8)
    copy.insert(people(1))
    assert ds.checkout_version(("dev", None)).version == 3


def test_branches_are_listed_as_pylance_lists_them(ds):
    ds.create_branch("b", ("dev", 2))
    ds.branches.replace_metadata("b", {"k": "v"})
    told = ds.branches.list()
    assert list(told) == ["b", "dev"]
    identifier = told["dev"]["branch_identifier"]
    assert [version for version, _ in identifier] == [1]
    assert told["b"]["branch_identifier"][:1] == identifier
    assert [version for version, _ in told["b"]["branch_identifier"]] == [1, 2]
    assert told["b"] == {
        "parent_branch": "dev",
        "branch_identifier": told["b"]["branch_identifier"],
        "parent_version": 2,
        "create_at": told["b"]["create_at"],
        "manifest_size": told["b"]["manifest_size"],
        "metadata": {"k": "v"},
    }
    assert abs(told["b"]["create_at"] - dt.datetime.now().timestamp()) < 600
    assert told["dev"]["manifest_size"] == ds._store.size(version_key(1))


def test_branches_and_tags_are_ordered_by_version_the_newest_first_unless_told(ds):
    ds.create_branch("a", 2)
    ds.create_branch("c", 2)
    for name, version in (("x", 1), ("z", 2), ("y", 2)):
        ds.tags.create(name, version)
    assert [name for name, _ in ds.branches.list_ordered()] == ["a", "c", "dev"]
    assert [name for name, _ in ds.branches.list_ordered("asc")] == ["dev", "a", "c"]
    assert [name for name, _ in ds.tags.list_ordered("desc")] == ["y", "z", "x"]
    assert [name for name, _ in ds.tags.list_ordered("asc")] == ["x", "y", "z"]
    assert dict(ds.tags.list_ordered()) == ds.tags.list()
    for listed in (ds.tags.list_ordered, ds.branches.list_ordered):
        with pytest.raises(InvalidInput, match="'asc' or 'desc'"):
            listed("up")


def test_a_tag_tells_where_it_is_and_when_it_was_made_and_moved(ds):
    dev = ds.checkout_version(("dev", 2))
    dev.tags.create("t")
    made = ds.tags.list()["t"]
    assert (made["branch"], made["version"], made["metadata"]) == ("dev", 2, {})
    assert made["created_at"] == made["updated_at"]
    assert made["created_at"].tzinfo is dt.timezone.utc
    assert ds.tags.get_version("t") == 2
    assert ds.checkout_version("t").count_rows() == 8
    ds.tags.replace_metadata("t", {"k": "v"})
    ds.tags.update("t", 1)
    moved = ds.tags.list()["t"]
    assert (moved["branch"], moved["version"], moved["metadata"]) == (None, 1, {"k": "v"})
    assert moved["created_at"] == made["created_at"] < moved["updated_at"]
    assert moved["manifest_size"] == ds._store.size(version_key(1))


def test_a_deleted_branch_is_gone_for_those_who_open_it(ds):
    dev = ds.checkout_version(("dev", None))
    ds.branches.delete("dev")
    assert ds.branches.list() == {}
    with pytest.raises(NotFound, match="known branches: none"):
        ds.checkout_version(("dev", None))
    assert dev.count_rows() == len(dev.to_table()) == 8, "what is open can be read until a cleanup"
    with pytest.raises(NotFound, match="deleted"):
        dev.insert(people(1))


def test_verify_looks_at_every_branch(ds, uri):
    store = open_store(uri)
    report = verify_dataset(store)
    assert (report.ok, report.versions, report.branches, len(report.files)) == (True, 4, 1, 3)
    assert report.unused == []
    assert verify_dataset(ds.checkout_version(("dev", 1))._store) == report
    line = ds.checkout_version(("dev", 1))._store
    ds.create_branch("other", 2)
    line.put(version_key(2), [b"junk"])
    store.put(branch_key("other"), [b"junk"])
    found = {fault.where: fault.kind for fault in verify_dataset(store).faults}
    assert found == {line.place(version_key(2)): "truncated", branch_key("other"): "truncated"}


def test_verify_notices_another_first_version_and_a_branch_without_any(ds, uri):
    store = open_store(uri)
    line = ds.checkout_version(("dev", 1))._store
    [other] = ds.create_branch("other", 1)._store.read([version_key(1)], limit=1 << 20)
    line.put(version_key(1), [other[:-1]])
    ds.checkout_version(("other", 1))._store.delete([version_key(1)])
    faults = [(fault.where, fault.kind) for fault in verify_dataset(store).faults]
    assert (branch_key("dev"), "structure") in faults
    assert (branch_key("other"), "branch") in faults
