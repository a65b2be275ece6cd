"""Bytes elsewhere: which URIs may be referred to, and what reading them gives."""

from __future__ import annotations

import os
import pickle
import uuid
from pathlib import Path

import pytest

from lance_like.errors import Corrupt, InvalidInput, NotFound, StorageError, Unsupported
from lance_like.io.external import External, check_reference

DATA = bytes(range(256)) * 4


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "a file %41.bin"
    place.write_bytes(DATA)
    return place


@pytest.mark.parametrize(
    "uri",
    [
        "/a/b.bin",
        "/with space/ümlaut",
        "file:///a/b",
        "file://localhost/a%20b",
        "FILE:///a",
        "s3://bucket/key",
        "https://example.org/x?y=1",
        "/" + "x" * 8191,
    ],
)
def test_absolute_paths_and_known_schemes_may_be_referred_to(uri: str) -> None:
    assert check_reference(uri) == uri


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "a/b.bin",
        "./a",
        "../a",
        "~/a",
        "C:\\a",
        "file://host/a",
        "file:relative",
        "/a\0b",
        "/a\nb",
        "file:///a%00b",
        "zip://a.zip::/b",
        "\ud800",
        "/" + "x" * 8192,
    ],
)
def test_other_texts_may_not(uri: str) -> None:
    with pytest.raises(InvalidInput):
        check_reference(uri)


@pytest.mark.parametrize("uri", ["gopher://x/y", "python://os", "s3://", "local:///etc/passwd", "reference://x"])
def test_schemes_that_are_not_listed_are_not_supported(uri: str) -> None:
    with pytest.raises(Unsupported, match="scheme"):
        check_reference(uri)


def test_a_file_is_read_by_path_and_by_uri(path: Path) -> None:
    for uri in (str(path), path.as_uri(), "file://localhost" + path.as_uri()[7:]):
        whole = External(uri)
        assert whole.nbytes == 1024
        assert whole.read(0, 1024) == DATA
        assert whole.read(5, 9) == DATA[5:9]
        assert whole.read(9, 9) == b""
        part = pickle.loads(pickle.dumps(External(uri, 256, 100)))
        assert (part.uri, part.nbytes) == (uri, 100)
        assert part.read(10, 20) == DATA[266:276]


def test_an_object_is_read_through_fsspec(path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    key = f"/{uuid.uuid4().hex}/x.bin"
    fsspec.filesystem("memory").pipe_file(key, DATA)
    whole = External(f"memory:/{key}")
    assert whole.nbytes == 1024
    assert whole.read(1000, 1024) == DATA[1000:]
    assert External(f"memory:/{key}", 10, 10).read(0, 10) == DATA[10:20]
    assert pickle.loads(pickle.dumps(whole)).read(0, 3) == DATA[:3]
    with pytest.raises(NotFound):
        External("memory://no/such/key").read(0, 1)


def test_what_is_not_there_any_more_is_an_error(path: Path) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        External(str(path) + "x").read(0, 1)
    with pytest.raises(NotFound):
        _ = External(str(path) + "x").nbytes
    with pytest.raises(Corrupt, match="24 bytes from byte 1,000, 100 were expected"):
        External(str(path), 1000, 100).read(0, 100)
    with pytest.raises(StorageError):
        External(str(path / "below")).read(0, 1)


def test_what_is_no_regular_file_is_refused_and_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for place in (tmp_path / "fifo", Path("/dev/zero"), tmp_path):
        with pytest.raises((Corrupt, StorageError)):
            External(str(place), 0, 10).read(0, 10)
