"""A version as another table: with the same data files, or with copies."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

import lance_like
from lance_like import LanceDataset, LanceOperation
from lance_like.dataset.verify import verify_dataset
from lance_like.errors import AlreadyExists, Corrupt, InvalidInput
from lance_like.file.layout import parse_json
from lance_like.io.uri import open_store
from lance_like.table import shape
from lance_like.table.envelope import pack_envelope, unpack_json
from lance_like.table.layout import version_key
from lance_like.table.manifest import MAGIC

COLUMNS = ["i", "_rowid", "_row_created_at_version", "_row_last_updated_at_version"]


@pytest.fixture
def ds(tmp_path: Path) -> LanceDataset:
    """Version 4: 300 rows in 75 fragments, so that the manifest has parts; some deleted, some written anew."""
    ds = lance_like.write_dataset({"i": range(300), "t": ["x"] * 300}, tmp_path / "source", max_rows_per_file=4)
    ds.delete("i % 10 = 3")
    ds.update({"t": "'y'"}, where="i % 4 = 1")
    ds.add_columns({"j": "i * 2"})
    return ds


def rows(ds: LanceDataset) -> pa.Table:
    return ds.to_table([*ds.schema.names, *COLUMNS[1:]])


def data_files(place: Path) -> set[str]:
    return {path.name for path in (place / "data").iterdir()}


@pytest.mark.parametrize("how", ["shallow_clone", "deep_clone"])
def test_a_clone_is_the_version_with_its_number_ids_and_lineage(ds, tmp_path, how):
    made = getattr(ds, how)(tmp_path / "clone")
    assert (made.version, made.uri, made.versions()[0]["version"]) == (4, str(tmp_path / "clone"), 4)
    for clone in (made, lance_like.dataset(tmp_path / "clone"), pickle.loads(pickle.dumps(made))):
        assert rows(clone).equals(rows(ds))
        assert clone.take([7, 250], ["i", "j"]).equals(ds.take([7, 250], ["i", "j"]))
        assert clone.count_rows("j > 100") == ds.count_rows("j > 100")
    told = made.read_transaction(4).operation
    assert told == LanceOperation.Clone(how == "shallow_clone", 4, ds.uri if how == "shallow_clone" else None)
    report = verify_dataset(open_store(tmp_path / "clone"))
    assert (report.ok, len(report.files)) == (True, len(data_files(tmp_path / "source")) - len(unused(tmp_path)))


def unused(tmp_path: Path) -> list[str]:
    """Files of the source that only older versions name."""
    ds = lance_like.dataset(tmp_path / "source")
    named = {file.path for fragment in ds.get_fragments() for file in fragment.data_files()}
    return [name for name in data_files(tmp_path / "source") if f"data/{name}" not in named]


def test_a_clone_shares_data_files_and_writes_its_own(ds, tmp_path):
    before = data_files(tmp_path / "source")
    clone = ds.shallow_clone(tmp_path / "clone")
    assert data_files(tmp_path / "clone") == set()
    clone.insert({"i": [1000], "t": ["z"], "j": [0]})
    clone.delete("i < 8")
    clone.update({"j": "0"}, where="i < 30")
    clone.merge_insert("i").when_matched_update_all().execute({"i": [50], "t": ["w"]})
    assert data_files(tmp_path / "source") == before
    assert (ds.latest_version, clone.version) == (4, 8)
    assert clone.to_table(["t"], filter="i = 50")["t"].to_pylist() == ["w"]
    assert clone.delta(compared_against=4).get_inserted_rows().read_all()["i"].to_pylist() == [1000]
    assert clone.checkout_version(4).count_rows() == ds.count_rows()
    again = lance_like.dataset(tmp_path / "clone")
    assert rows(again).equals(rows(clone))
    again.optimize.compact_files()
    assert sorted(again.to_table(["i"])["i"].to_pylist()) == sorted(clone.to_table(["i"])["i"].to_pylist())
    again.checkout_version(4).restore()
    assert rows(lance_like.dataset(tmp_path / "clone")).equals(rows(ds))


def test_a_clone_of_a_clone_has_two_bases(ds, tmp_path):
    first = ds.shallow_clone(tmp_path / "first")
    first.insert({"i": [1000], "t": ["z"], "j": [0]})
    second = first.shallow_clone(tmp_path / "second")
    assert rows(second).equals(rows(first))
    assert second._manifest.bases == {1: ds.uri, 2: first.uri}
    assert {file.base_id for f in second.get_fragments() for file in f.data_files()} == {1, 2}
    deep = second.deep_clone(tmp_path / "deep")
    for place in ("source", "first", "second"):
        shutil.rmtree(tmp_path / place)
    assert rows(lance_like.dataset(tmp_path / "deep")).equals(rows(deep))


def test_an_older_version_or_a_branch_is_cloned_by_its_name(ds, tmp_path):
    ds.tags.create("old", 1)
    branch = ds.create_branch("dev")
    branch.insert({"i": [1000], "t": ["z"], "j": [0]})
    assert (
        ds.shallow_clone(tmp_path / "a", 1).count_rows() == ds.shallow_clone(tmp_path / "b", "old").count_rows() == 300
    )
    made = ds.shallow_clone(tmp_path / "c", ("dev", None))
    assert (made.version, made.branch, made.count_rows("i = 1000")) == (5, None, 1)


def test_what_is_there_is_not_cloned_over(ds, tmp_path):
    ds.shallow_clone(tmp_path / "clone")
    for how in (ds.shallow_clone, ds.deep_clone):
        for reference in (None, 1):
            with pytest.raises(AlreadyExists):
                how(tmp_path / "clone", reference)
    assert lance_like.dataset(tmp_path / "clone").versions()[-1]["version"] == 4


def test_a_place_that_no_base_can_name_has_deep_clones_only(tmp_path):
    ds = lance_like.write_dataset({"i": [1]}, tmp_path / "two\nlines")
    with pytest.raises(InvalidInput):
        ds.shallow_clone(tmp_path / "clone")
    assert ds.deep_clone(tmp_path / "clone").count_rows() == 1


def test_a_deep_clone_that_fails_leaves_nothing(ds, tmp_path):
    last = ds.get_fragments()[-1].data_files()[0].path
    (tmp_path / "source" / last).write_bytes(b"x" * 5000)
    with pytest.raises(Corrupt):
        ds.deep_clone(tmp_path / "clone")
    assert data_files(tmp_path / "clone") == set()
    assert open_store(tmp_path / "clone").list("_meta/") == []


@pytest.mark.parametrize(
    ("damage", "kind"),
    [(lambda file: file.unlink(), "missing"), (lambda file: file.write_bytes(file.read_bytes()[:-1]), "truncated")],
    ids=["gone", "cut"],
)
def test_a_base_that_lost_or_changed_a_file_is_corrupt(ds, tmp_path, damage: Callable[[Path], None], kind):
    clone = ds.shallow_clone(tmp_path / "clone")
    for file in (tmp_path / "source" / "data").iterdir():
        damage(file)
    with pytest.raises(Corrupt) as caught:
        lance_like.dataset(clone.uri).to_table()
    assert caught.value.kind == kind
    assert not verify_dataset(open_store(clone.uri)).ok


def test_another_valid_file_below_a_base_is_noticed(tmp_path):
    ds = lance_like.write_dataset({"i": [1, 2]}, tmp_path / "source")
    other = lance_like.write_dataset({"i": [8, 9]}, tmp_path / "other")
    clone = ds.shallow_clone(tmp_path / "clone")
    [mine], [theirs] = ((tmp_path / d.uri / d.get_fragment(0).data_files()[0].path,) for d in (ds, other))
    mine.write_bytes(theirs.read_bytes())
    with pytest.raises(Corrupt) as caught:
        clone.to_table()
    assert caught.value.kind == "identity"


def test_blobs_of_a_clone_travel(tmp_path):
    cells = [b"a" * 100_000, b"b"]
    ds = lance_like.write_dataset({"b": lance_like.blob_array(cells)}, tmp_path / "source")
    files = ds.shallow_clone(tmp_path / "clone").take_blobs("b", indices=[0, 1])
    assert [pickle.loads(pickle.dumps(file)).read() for file in files] == cells


def edited(place: Path, edit: Callable[[dict], None]) -> None:
    """Write the root manifest of a clone of one version anew."""
    path = place / version_key(1)
    body = parse_json(unpack_json(MAGIC, path.read_bytes(), "test"), "test")
    edit(body)
    path.write_bytes(pack_envelope(MAGIC, shape.dump(body)))


def rename(**changes):
    def edit(body):
        body["fragments"]["tail"][0]["files"][0].update(changes)

    return edit


def based(bases):
    return lambda body: body.update(bases=bases)


@pytest.mark.parametrize(
    "edit",
    [
        based({}),
        based({"2": "/x"}),
        based({"0": "/x"}),
        based({"01": "/x"}),
        based({"-1": "/x"}),
        based({"one": "/x"}),
        based({"\u00b2": "/x"}),
        based({"1": "relative"}),
        based({"1": "../up"}),
        based({"1": ""}),
        based({"1": "/with\nline"}),
        based({"1": "/" + "x" * 9000}),
        based({"1": 7}),
        based([]),
        rename(base=0),
        rename(base="1"),
        rename(base=2**31),
        rename(path="data/../../etc/passwd"),
        rename(path="_versions/x"),
        rename(path="other/" + "0" * 32 + ".lnl"),
    ],
)
def test_bases_that_break_the_rules_are_refused(tmp_path, edit):
    lance_like.write_dataset({"i": [1]}, tmp_path / "source").shallow_clone(tmp_path / "clone")
    edited(tmp_path / "clone", edit)
    with pytest.raises(Corrupt) as caught:
        lance_like.dataset(tmp_path / "clone")
    assert caught.value.kind == "structure"
