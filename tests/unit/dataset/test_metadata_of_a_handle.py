"""Texts of a table, its configuration, and metadata of its schema and fields: names and results as in pylance."""

from __future__ import annotations

import pyarrow as pa
import pytest
from dataset_values import assert_same, people

import lance_like
from lance_like.errors import InvalidInput, NotFound


@pytest.fixture
def ds(uri):
    return lance_like.write_dataset(people(4), uri)


TEXTS = {
    "metadata": (lambda ds, *args, **options: ds.update_metadata(*args, **options), lambda ds: ds.metadata),
    "config": (lambda ds, *args, **options: ds.update_config(*args, **options), lambda ds: ds.config()),
    "schema": (lambda ds, *args, **options: ds.update_schema_metadata(*args, **options), lambda ds: ds.schema_metadata),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_texts_are_set_removed_and_replaced(ds, uri, kind):
    update, read = TEXTS[kind]
    assert read(ds) == {}
    assert update(ds, {"a": "1", "b": "é"}) == {"a": "1", "b": "é"}
    assert update(ds, {"a": None, "no": None, "c": ""}) == {"b": "é", "c": ""}
    assert update(ds, {"z": "1", "b": None}, replace=True) == {"z": "1"}
    assert (ds.version, read(ds), read(lance_like.dataset(uri))) == (4, {"z": "1"}, {"z": "1"})
    assert read(lance_like.dataset(uri, version=2)) == {"a": "1", "b": "é"}
    for other in set(TEXTS) - {kind}:
        assert TEXTS[other][1](ds) == {}
    assert_same(ds.to_table().replace_schema_metadata(None), people(4).replace_schema_metadata(None))


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("bad", [{"a": 1}, {1: "a"}, {"a": b"x"}, {"a": "\ud800"}, ["a"], None, "a"], ids=repr)
def test_what_is_no_text_is_refused(ds, kind, bad):
    with pytest.raises(InvalidInput):
        TEXTS[kind][0](ds, bad)
    assert ds.latest_version == 1


def test_texts_of_an_old_handle_go_on_top_of_the_newest_version(ds):
    old = ds.checkout_version(1)
    ds.update_config({"a": "1"})
    assert old.update_config({"b": "2"}) == {"a": "1", "b": "2"}
    assert (old.version, ds.version) == (3, 2)


def test_keys_of_the_configuration_are_deleted(ds):
    ds.update_config({"a": "1", "b": "2", "c": "3"})
    ds.delete_config_keys(["a", "c", "never there"])
    assert ds.config() == {"b": "2"}
    with pytest.raises(InvalidInput, match="one text"):
        ds.delete_config_keys("b")


def test_schema_metadata_is_what_a_read_gives(ds):
    ds.replace_schema_metadata({"k": "v"})
    assert ds.schema.metadata == ds.to_table().schema.metadata == {b"k": b"v"}
    ds.insert(people(1))
    assert ds.schema_metadata == {"k": "v"}


def test_schema_metadata_that_is_no_text_is_shown_and_kept(uri):
    odd = pa.table({"a": [1]}).replace_schema_metadata({b"\xff": b"\x00\xfe"})
    ds = lance_like.write_dataset(odd, uri)
    assert ds.update_schema_metadata({"k": "v"}) == {"\\xff": "\0\\xfe", "k": "v"}
    assert ds.schema.metadata == {b"\xff": b"\x00\xfe", b"k": b"v"}


def test_field_metadata_is_changed_by_path_and_no_file_is_written(uri):
    data = pa.table({"a.b": [1], "s": [{"x": 1, "y": "z"}]})
    ds = lance_like.write_dataset(data, uri)
    files = ds._store.list("data/")
    ds.update_field_metadata({"`a.b`": {"k": "1", "l": "2"}, "s.x": {"k": "3"}, "s": {"k": "4"}})
    ds.update_field_metadata({"a.b": {"k": None, "m": "é"}})
    assert ds.version == 3
    assert ds.schema.field("a.b").metadata == {b"l": b"2", b"m": "é".encode()}
    assert ds.schema.field("s").type.field("x").metadata == {b"k": b"3"}
    assert ds.schema.field("s").metadata == {b"k": b"4"}
    ds.replace_field_metadata("s.x", {"n": "5"})
    ds.update_field_metadata({"s": {}}, replace=True)
    assert ds.schema.field("s").type.field("x").metadata == {b"n": b"5"}
    assert ds.schema.field("s").metadata is None
    assert ds.to_table().to_pydict() == data.to_pydict()
    assert ds._store.list("data/") == files
    with pytest.raises(NotFound, match=r"column 's\.z' does not exist"):
        ds.update_field_metadata({"s.z": {"k": "1"}})
    with pytest.raises(InvalidInput):
        ds.update_field_metadata(["s"])


def test_a_column_is_a_blob_column_once_its_metadata_says_so(uri):
    ds = lance_like.write_dataset(pa.table({"b": [b"abc", None]}), uri)
    ds.update_field_metadata({"b": {"lance-encoding:blob": "true"}})
    assert pa.types.is_struct(ds.schema.field("b").type)
    assert ds.to_table(blob_handling="all_binary").to_pydict() == {"b": [b"abc", None]}
    assert ds.to_table()["b"][0].as_py()["size"] == 3
