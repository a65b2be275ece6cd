"""Other values of columns in whole fragments, put in the place of the old ones by a commit."""

from __future__ import annotations

import pyarrow as pa
import pytest
from dataset_values import three_fragments

import lance_like
from lance_like import LanceDataset, LanceOperation
from lance_like.errors import Conflict, IncompatibleChange, InvalidInput
from lance_like.file import LanceFileWriter
from lance_like.fragment import DataFile


@pytest.fixture
def ds(uri):
    return three_fragments(uri)


def replace(ds: LanceDataset, data) -> None:
    LanceDataset.commit(ds, written(ds, data), read_version=ds.version)
    ds.checkout_latest()


def written(ds: LanceDataset, data) -> LanceOperation.DataReplacement:
    """The change of some fragments. data: fragment id -> columns of all its rows."""
    found = {fragment.fragment_id: fragment for fragment in ds.get_fragments()}
    return LanceOperation.DataReplacement([found[number].replace_columns(rows) for number, rows in data.items()])


def test_replaced_columns_have_the_new_values_in_the_live_rows(ds, uri):
    ds.delete("i in (0, 5)")
    before = ds.to_table(["s"])
    replace(ds, {0: {"t": ["a", "b", None]}, 1: {"t": ["c", "d", "e"]}})
    assert ds.to_table(["i", "t"]).to_pylist() == [
        {"i": i, "t": t}
        for i, t in zip([1, 2, 3, 4, 6, 7, 8, 9], ["a", "b", None, "c", "d", "e", "t8", None], strict=True)
    ]
    assert ds.to_table(["s"]).equals(before)
    assert ds.count_rows("t = 't4'") == 0
    changed = ds.to_table(["_row_last_updated_at_version"])["_row_last_updated_at_version"].to_pylist()
    assert changed == [3] * 6 + [1] * 2


def test_replaced_structs_keep_all_their_fields(ds):
    ds.add_columns({"s.n": "i"})
    replace(ds, {2: {"s": pa.array([None, {"x": 1, "y": {"z": "q"}, "n": 2}], ds.schema.field("s").type)}})
    assert ds.to_table(["s"])["s"].to_pylist()[8:] == [None, {"x": 1, "y": {"z": "q"}, "n": 2}]
    assert ds.count_rows("s.n = i") == 8


@pytest.mark.parametrize(
    ("data", "kind", "says"),
    [
        ({}, InvalidInput, "the same columns in each"),
        ({2: {}}, InvalidInput, "no column"),
        ({2: {"t": ["a"]}}, InvalidInput, "gets 1, not its 2 rows"),
        ({2: {"t": ["a"] * 3}}, InvalidInput, "gets more than its 2 rows"),
        ({2: {"q": ["a"] * 2}}, InvalidInput, "'q'"),
        ({2: {"i": ["a"] * 2}}, InvalidInput, "'i' of type string"),
        ({2: {"i": [1, 2]}, 1: {"t": ["a"] * 4}}, InvalidInput, "the same columns in each"),
    ],
    ids=str,
)
def test_values_that_do_not_fit_are_refused(ds, data, kind, says):
    with pytest.raises(kind, match=says):
        replace(ds, data)
    assert ds.latest_version == 1


def test_a_replacement_follows_what_leaves_its_rows_alone(ds, uri):
    made = written(ds, {0: {"t": ["a", "b", "c", "d"]}})
    other = lance_like.dataset(uri)
    other.add_columns({"n": "i"})
    other.delete("i = 3")
    other.update({"i": "i + 100"}, where="i > 7")
    other.insert([{"i": 50, "n": 50}])
    LanceDataset.commit(ds, made, read_version=1)
    ds.checkout_latest()
    assert ds.to_table(["t"], limit=3)["t"].to_pylist() == ["a", "b", "c"]
    assert ds.count_rows("i = n or i = n + 100") == 10


@pytest.mark.parametrize(
    ("theirs", "kind"),
    [
        (lambda other: other.update({"t": "'q'"}, where="i = 1"), Conflict),
        (lambda other: other.drop_columns(["t"]), IncompatibleChange),
        (lambda other: other.alter_columns({"path": "t", "data_type": pa.large_string()}), IncompatibleChange),
        (lambda other: replace(other, {0: {"t": ["x"] * 4}}), Conflict),
    ],
    ids=["update", "drop", "cast", "replace"],
)
def test_a_replacement_does_not_follow_other_changes_of_its_rows_or_columns(ds, uri, theirs, kind):
    made = written(ds, {0: {"t": ["a", "b", "c", "d"]}})
    theirs(lance_like.dataset(uri))
    with pytest.raises(kind) as caught:
        LanceDataset.commit(ds, made, read_version=1)
    assert caught.value.retryable == (kind is Conflict)


def test_a_file_that_somebody_wrote_into_the_table_replaces_its_columns(tmp_path):
    ds = three_fragments(tmp_path / "t")
    name = f"{7:032x}.lnl"
    with LanceFileWriter(str(tmp_path / "t" / "data" / name)) as writer:
        writer.write_batch(pa.record_batch({"t": ["a", "b", "c", "d"]}))
    group = LanceOperation.DataReplacementGroup(0, DataFile.create(ds, name))
    made = LanceDataset.commit(ds, LanceOperation.DataReplacement([group]), read_version=1)
    assert made.to_table(["t"], limit=5)["t"].to_pylist()[:4] == ["a", "b", "c", "d"]
    with pytest.raises(InvalidInput, match="base_id=3"):
        DataFile.create(ds, name, base_id=3)
