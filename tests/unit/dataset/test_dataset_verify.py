"""`verify_dataset`: versions, parts, tags and data files, each fault by the object it is in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from lance_like import LanceDataset
from lance_like.dataset import verify
from lance_like.dataset.inputs import as_stream
from lance_like.dataset.verify import DatasetReport, verify_dataset
from lance_like.dataset.write import FileLimits, write_version
from lance_like.errors import NotFound
from lance_like.io.memory import MemoryStore
from lance_like.table import deletions, lineage, parts
from lance_like.table.deletions import Deletions
from lance_like.table.fragment import Fragment
from lance_like.table.layout import version_key
from lance_like.table.lineage import Lineage, fresh
from lance_like.table.manifest import Manifest, encode_root
from lance_like.table.parts import Tree
from lance_like.table.snapshot import latest_version, read_manifest


@pytest.fixture
def store(monkeypatch) -> MemoryStore:
    """Six versions, leaf parts, an added column, deleted and changed rows, parts of every kind, a tag."""
    monkeypatch.setattr(parts, "FANOUT", 2)
    monkeypatch.setattr(deletions, "INLINE_NBYTES", 0)
    monkeypatch.setattr(lineage, "INLINE_RUNS", 3)
    store = MemoryStore("verified")
    rows = pa.table({"n": range(9), "s": [None if i == 4 else {"x": f"row {i}"} for i in range(9)]})
    ds = LanceDataset(store, write_version(store, None, as_stream(rows), mode="create", limits=FileLimits(rows=3)))
    ds.add_columns({"twice": "n * 2"})
    ds.tags.create("second")
    ds.insert(rows)
    ds.drop_columns(["twice"])
    ds.delete("n = 1")
    ds.update({"n": "n + 100"}, "n = 4")
    return store


def keys(store: MemoryStore, kind: str) -> list[str]:
    return sorted(key for key in store._objects if key.endswith(kind))


def flip(store: MemoryStore, key: str, at: int) -> None:
    data = bytearray(store._objects[key])
    data[at] ^= 1
    store._objects[key] = bytes(data)


def places(report: DatasetReport) -> set[str]:
    return {fault.where for fault in report.faults} | {file.path for file in report.files if not file.ok}


def test_a_sound_dataset_has_no_fault_and_all_of_it_is_checked(store):
    report = verify_dataset(store)
    assert report.ok, report
    assert (report.versions, report.tags) == (6, 1)
    assert sorted(file.path for file in report.files) == keys(store, ".lnl")
    assert all(file.pages for file in report.files)
    assert report.unused == []


@pytest.mark.parametrize("kind", [".lnl", ".manifest", ".tag"])
def test_a_damaged_object_is_named(store, kind):
    for key in keys(store, kind):
        good = store._objects[key]
        flip(store, key, len(good) // 2)
        report = verify_dataset(store)
        assert key in places(report)
        assert not report.ok
        store._objects[key] = good


@pytest.mark.parametrize("kind", [".schema", ".part", ".rows", ".del"])
def test_a_damaged_part_is_named_in_the_fault_of_a_version(store, kind):
    assert keys(store, kind)
    for key in keys(store, kind):
        good = store._objects[key]
        flip(store, key, len(good) // 2)
        assert key in " ".join(fault.problem for fault in verify_dataset(store).faults)
        store._objects[key] = good


@pytest.mark.parametrize("kind", [".part", ".rows", ".del"])
def test_a_damaged_part_is_read_and_named_once(store, kind):
    key = keys(store, kind)[0]
    flip(store, key, 20)
    named = [fault for fault in verify_dataset(store).faults if key in fault.problem]
    assert [(fault.where, fault.kind) for fault in named] == [(key, "checksum")]


def replaced(store: MemoryStore, change: Callable[[Manifest], Tree]) -> str:
    """Put the newest version there with another tree, whatever it says. Returns its key."""
    newest = latest_version(store)
    assert newest is not None
    manifest = read_manifest(store, newest)
    key = version_key(newest)
    store._objects[key] = encode_root(dataclasses.replace(manifest, tree=change(manifest)), None)
    return key


def test_a_fragment_that_stands_in_two_parts_is_named(store):
    def twice(manifest: Manifest) -> Tree:
        tail = (dataclasses.replace(manifest.tree.tail[0], id=0), *manifest.tree.tail[1:])
        return Tree(manifest.tree.parts, tail)

    key = replaced(store, twice)
    (fault,) = verify_dataset(store).faults
    assert (fault.where, fault.kind) == (key, "structure")
    assert "the fragment id 0 stands twice" in fault.problem


def test_two_live_rows_with_one_id_are_named_wherever_they_stand(store):
    def again(manifest: Manifest) -> Tree:
        last = manifest.tree.tail[-1]
        return Tree(manifest.tree.parts, (*manifest.tree.tail[:-1], dataclasses.replace(last, lineage=taken(last))))

    def taken(last: Fragment) -> Lineage:
        return Lineage.of(fresh(7, last.rows, 1))

    key = replaced(store, again)
    (fault,) = verify_dataset(store).faults
    assert (fault.where, fault.kind) == (key, "row-ids")
    assert "the row id 7 is used twice" in fault.problem


def test_deleted_rows_that_are_not_there_are_named(store):
    def past(manifest: Manifest) -> Tree:
        last = manifest.tree.tail[-1]
        gone = Deletions.of(np.array([last.rows]))
        held = dataclasses.replace(
            last, rows=last.rows + 2, deletions=gone, lineage=Lineage.of(fresh(90, last.rows, 1))
        )
        return Tree(manifest.tree.parts, (*manifest.tree.tail[:-1], dataclasses.replace(held, rows=last.rows)))

    key = replaced(store, past)
    assert (key, "structure") in {(fault.where, fault.kind) for fault in verify_dataset(store).faults}


def test_a_version_more_reads_no_part_again(store):
    def reads() -> list[str]:
        found: list[str] = []

        class Reading(MemoryStore):
            def read(self, keys, *, limit):
                found.extend(keys)
                return super().read(keys, limit=limit)

        reading = Reading("verified")
        reading._objects.update(store._objects)
        assert verify_dataset(reading).ok
        return [key for key in found if key.startswith("_meta/") and not key.endswith(".schema")]

    before = reads()
    LanceDataset(store, read_manifest(store, latest_version(store) or 0)).update_metadata({"a": "b"})
    assert sorted(reads()) == sorted(before)
    of_fragments = [key for key in before if key.endswith(".part")]
    assert len(set(of_fragments)) == len(of_fragments) > 2


def test_every_damaged_file_and_version_is_named_at_once(store):
    files = keys(store, ".lnl")[:2]
    manifest = keys(store, ".manifest")[1]
    for key in files:
        flip(store, key, 64)
    flip(store, manifest, 20)
    # The tag is of that version: it names other bytes now.
    assert places(verify_dataset(store)) == {*files, manifest, "_refs/tags/second.tag"}


def test_a_missing_file_is_named(store):
    key = keys(store, ".lnl")[0]
    del store._objects[key]
    (fault,) = verify_dataset(store).faults
    assert (fault.where, fault.problem) == (key, "the data file is missing")


def test_a_file_that_took_the_place_of_another_is_named(store):
    first, second = keys(store, ".lnl")[:2]
    store._objects[first] = store._objects[second]
    report = verify_dataset(store)
    (file,) = [file for file in report.files if not file.ok]
    assert file.path == first
    assert "identity" in {fault.kind for fault in file.faults}


def test_a_file_that_no_version_names_is_listed_and_no_fault(store):
    store._objects["data/stray.lnl"] = b"anything"
    report = verify_dataset(store)
    assert report.ok
    assert report.unused == ["data/stray.lnl"]


def test_a_tag_on_a_version_that_is_gone_is_named(store):
    del store._objects[keys(store, ".manifest")[1]]
    (fault,) = verify_dataset(store).faults
    assert fault.where == "_refs/tags/second.tag"


def test_where_no_dataset_is_there_is_no_report():
    with pytest.raises(NotFound, match="was not found"):
        verify_dataset(MemoryStore())


def test_a_field_of_another_type_than_its_column_is_named(store, monkeypatch):
    """Each is sound for itself: the schema is of a table that differs in one type."""
    other = MemoryStore("other")
    rows = pa.table({"n": pa.array(range(9), pa.int32()), "s": [{"x": "y"}] * 9})
    schema = write_version(other, None, as_stream(rows), mode="create").schema

    def read_another_schema(*arguments, **named):
        return dataclasses.replace(read_manifest(*arguments, **named), schema=schema)

    monkeypatch.setattr(verify, "read_manifest", read_another_schema)
    report = verify_dataset(store)
    faults = {(fault.where, fault.kind) for fault in report.faults}
    holds_n = {file.path for file in report.files if file.fields[0].name == "n"}
    assert faults == {(path, "type") for path in holds_n}
    assert "int64" in report.faults[0].problem
