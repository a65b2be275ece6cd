"""From text to a store."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from lance_like.errors import InvalidInput, Unsupported
from lance_like.io.local import LocalStore
from lance_like.io.memory import MemoryStore
from lance_like.io.remote import FsspecStore
from lance_like.io.uri import open_store, options_beside


def test_a_path_is_a_local_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for uri, path in (
        ("t", tmp_path / "t"),
        (tmp_path / "a b%20", tmp_path / "a b%20"),
        ("~/t", tmp_path / "home" / "t"),
        ("odd:name", tmp_path / "odd:name"),
        ("a/b://c", tmp_path / "a" / "b:" / "c"),
        ("://x", tmp_path / ":" / "x"),
        (f"file://{tmp_path}/t", tmp_path / "t"),
        (f"FILE://localhost{tmp_path}/t", tmp_path / "t"),
        (f"file://{tmp_path}/a%20b?c#d", tmp_path / "a b?c#d"),
    ):
        store = open_store(uri)
        assert isinstance(store, LocalStore)
        assert store.uri == str(path)


@pytest.mark.parametrize("uri", ["memory://", "memory://name", "file:///tmp/x", "/tmp/x", "x"])
def test_the_uri_of_a_store_opens_it_again(uri: str) -> None:
    store = open_store(uri)
    assert open_store(store.uri).uri == store.uri


def test_a_memory_store_is_the_same_for_the_same_name() -> None:
    store = open_store("memory://test_io_uri")
    assert isinstance(store, MemoryStore)
    assert open_store("memory://test_io_uri") is store
    assert open_store("memory://test_io_uri_2") is not store


def test_a_memory_store_without_a_name_is_a_new_one() -> None:
    store = open_store("memory://")
    assert isinstance(store, MemoryStore)
    assert open_store("memory://") is not store
    assert open_store(store.uri) is store
    assert pickle.loads(pickle.dumps(store)) is store


@pytest.mark.parametrize("uri", ["s3://bucket", "s3://bucket/a/b c%20", "gs://bucket/x", "http://host/x"])
def test_an_object_store_is_opened_by_its_scheme(uri: str) -> None:
    store = open_store(uri.replace("s3:", "S3:") + "/", storage_options={"key": "a"})
    assert isinstance(store, FsspecStore)
    assert store.uri == uri
    assert open_store(store.uri).uri == uri


@pytest.mark.parametrize("uri", ["/tmp/x", "file:///tmp/x", "memory://x"])
def test_options_of_an_object_store_mean_nothing_elsewhere(uri: str) -> None:
    store = open_store(uri, storage_options={"key": "a"})
    assert type(store) is type(open_store(uri))
    assert store.uri == open_store(uri).uri


@pytest.mark.parametrize("uri", ["foo://[x", "github://a/b", "local://x", "simplecache://x"])
def test_another_scheme_is_named_as_unsupported(uri: str) -> None:
    with pytest.raises(Unsupported) as caught:
        open_store(uri)
    assert repr(uri.partition(":")[0]) in str(caught.value)


@pytest.mark.parametrize(
    "uri", ["", b"bytes", "a\0b", "file://host/x", "file://", "file://x", "s3://", "gs:///", "s3://a::file://b"]
)
def test_what_is_no_place_is_refused(uri: str) -> None:
    with pytest.raises(InvalidInput):
        open_store(uri)


def test_durability_is_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    open_store(tmp_path).put("k", [b"x"])
    monkeypatch.setattr(os, "fsync", synced.append)
    open_store(tmp_path, durability="process").put("k", [b"x"])
    assert synced == []
    open_store(f"file://{tmp_path}").put("k", [b"x"])
    assert len(synced) == 2


@pytest.mark.parametrize(
    ("here", "there", "shared"),
    [
        ("s3://one/t", "s3://two/t", True),
        ("s3://one/t", "gs://one/t", False),
        ("https://one.org/t", "https://one.org/u", True),
        ("https://one.org/t", "https://two.org/t", False),
        ("https://one.org/t", "/tmp/t", False),
    ],
)
def test_options_go_to_no_other_service(here, there, shared):
    options = {"token": "secret"}
    assert options_beside(open_store(here, storage_options=options), there) == (options if shared else None)
    assert options_beside(open_store("memory://test_io_uri"), here) is None
