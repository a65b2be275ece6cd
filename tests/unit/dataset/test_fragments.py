"""One fragment as a handle: what it says of itself, and that it travels."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pyarrow as pa
import pytest

import lance_like
from lance_like.errors import Corrupt, InvalidInput, NotFound, OutOfRange
from lance_like.fragment import LanceFragment
from lance_like.io.uri import open_store

READER = """
import pickle, sys
fragment = pickle.loads(sys.stdin.buffer.read())
print(fragment.to_table(["i"]).column(0).to_pylist(), fragment.fragment_id)
"""


@pytest.fixture
def ds(uri):
    """i from 0 to 99 in fragments of 50 rows."""
    return lance_like.write_dataset({"i": list(range(100)), "t": ["x"] * 100}, uri, max_rows_per_file=50)


def test_a_fragment_stays_with_its_version_and_travels_with_it(ds):
    fragment = ds.get_fragment(1)
    ds.delete("i >= 50")
    copy = pickle.loads(pickle.dumps(fragment))
    assert ds.get_fragment(1) is None
    assert copy.count_rows() == fragment.count_rows() == 50
    assert LanceFragment(ds.checkout_version(1), 1).metadata == copy.metadata


def test_another_process_reads_a_fragment_that_was_sent(tmp_path):
    ds = lance_like.write_dataset({"i": [1, 2, 3]}, tmp_path / "table", max_rows_per_file=2)
    sent = pickle.dumps(ds.get_fragment(1))
    told = subprocess.run([sys.executable, "-c", READER], input=sent, capture_output=True, check=True, timeout=60)
    assert told.stdout.split() == [b"[3]", b"1"]


def test_a_fragment_of_no_number_here_is_not_found(ds):
    with pytest.raises(NotFound):
        LanceFragment(ds, 7)


def test_fragments_of_another_table_or_branch_are_refused(ds):
    other = lance_like.write_dataset({"i": [1]}, "memory://")
    with pytest.raises(InvalidInput, match=f"fragment 0 is of {other.uri}; use get_fragments"):
        ds.scanner(fragments=other.get_fragments())
    branch = ds.create_branch("b")
    with pytest.raises(InvalidInput, match="fragment 1 is of the branch 'b'"):
        ds.scanner(fragments=branch.get_fragments()[1:])
    with pytest.raises(InvalidInput, match="fragment 1 is of the branch 'main'"):
        branch.scanner(fragments=ds.get_fragments()[1:])
    assert branch.scanner(fragments=branch.get_fragments()[1:]).count_rows() == 50


def test_a_fragment_tells_its_rows_and_files(ds):
    ds.delete("i IN (3, 5)")
    ds.add_columns({"j": "i + 1"})
    fragment = ds.get_fragment(0)
    assert (fragment.physical_rows, fragment.num_deletions, fragment.count_rows()) == (50, 2, 48)
    assert fragment.deletion_file() == "inline"
    assert ds.get_fragment(1).deletion_file() is None
    assert [file.fields for file in fragment.data_files()] == [[0, 1], [2]]
    assert fragment.data_files()[0].column_indices == [0, 1]
    assert fragment.metadata.deletion_file.offsets().tolist() == [3, 5]
    assert fragment.metadata.row_id_meta.spans == ((0, 50),)
    assert fragment.to_pandas(["j"], "i < 2")["j"].tolist() == [1, 2]
    assert fragment.to_pandas(["j"], None, 1, 1, split_blocks=True)["j"].tolist() == [2]
    assert fragment.to_table(["j"], None, 1, 1)["j"].to_pylist() == [2]


def test_many_deletions_have_an_object_of_their_own(uri):
    ds = lance_like.write_dataset({"i": list(range(10_000))}, uri)
    ds.delete("i % 3 = 0 OR i % 7 = 0")
    assert ds.get_fragment(0).deletion_file() in {f"_meta/{name}" for name in open_store(uri).list("_meta/")}


def test_the_columns_of_files_are_less_than_those_of_the_table(ds):
    ds.add_columns(pa.field("later", pa.int8()))
    assert ds.get_fragment(0).schema.names == ["i", "t", "later"]
    assert ds.get_fragment(0).physical_schema.names == ["i", "t"]


def test_a_fragment_whose_file_is_gone_is_not_valid(ds):
    fragment = ds.get_fragment(0)
    fragment.validate()
    open_store(ds.uri).delete([fragment.data_files()[0].path])
    with pytest.raises(Corrupt):
        lance_like.dataset(ds.uri).get_fragment(0).validate()


def test_a_fragment_without_some_rows_is_metadata(ds):
    fragment = ds.get_fragment(0)
    assert fragment.delete("i >= 50") == fragment.metadata
    assert fragment.delete("true") is None
    assert fragment.delete_rows(range(50)) is None
    assert fragment.delete("i < 3").deletion_file.offsets().tolist() == [0, 1, 2]
    assert fragment.delete_rows(iter([7, 2, 7])).deletion_file.offsets().tolist() == [2, 7]
    assert ds.version == ds.latest_version == 1
    for wrong in ([50], [-1]):
        with pytest.raises(OutOfRange):
            fragment.delete_rows(wrong)
    with pytest.raises(InvalidInput):
        fragment.delete(None)


def test_nothing_is_written_for_rows_that_have_no_match(ds):
    fragment = ds.get_fragment(0)
    metadata, fields = fragment.update_columns({"i": [70], "t": ["y"]}, left_on="i")
    assert (metadata, fields) == (fragment.metadata, [])


@pytest.mark.parametrize(
    ("data", "on"),
    [
        ({"i": [1], "new": ["y"]}, "i"),
        ({"i": [1]}, "i"),
        ({"t": ["y"]}, "i"),
        ({"i": [1, 1], "t": ["y", "z"]}, "i"),
        ({"i": [1], "t": [[1]]}, "i"),
        ({"i": ["a"], "t": ["y"]}, "i"),
        ({"i": [1], "t": ["y"]}, "other"),
    ],
    ids=str,
)
def test_an_update_that_does_not_fit_is_refused(ds, data, on):
    with pytest.raises((InvalidInput, NotFound)):
        ds.get_fragment(0).update_columns(data, left_on=on)


def test_a_merge_that_does_not_fit_is_refused(ds):
    for wrong in ({"i": [1], "t": ["y"]}, {"i": [1]}, {"k": [1], "n": [2]}, {"i": [1, 1], "n": [2, 3]}):
        with pytest.raises(InvalidInput):
            ds.get_fragment(0).merge(wrong, "i")


def test_a_merge_with_nothing_gives_nulls(ds):
    none = pa.table({"i": pa.array([], pa.int64()), "n": pa.array([], pa.list_(pa.int8()))})
    metadata, schema = ds.get_fragment(0).merge(none, "i")
    assert (len(metadata.files), schema.to_pyarrow().names) == (2, ["i", "t", "n"])


def test_a_session_of_a_fragment_takes_the_same_columns_again_and_again():
    ds = lance_like.write_dataset(pa.table({"a": range(20), "b": range(20)}), "memory://sessions", max_rows_per_file=10)
    ds.delete("a = 12")
    session = ds.get_fragments()[1].open_session({"x": "a + b"}, with_row_address=True)
    for positions in ([2, 0], [8], []):
        found = session.take(positions)
        assert found.schema.names == ["x", "_rowaddr"]
        assert found["x"].to_pylist() == [2 * [10, 11, *range(13, 20)][i] for i in positions]
    with pytest.raises(OutOfRange):
        session.take([9])
