"""A file session: readers, writers and files below one place."""

from __future__ import annotations

import pyarrow as pa
import pytest

from lance_like.errors import Corrupt, InvalidInput, NotFound
from lance_like.file import LanceFileSession, ListResult

TABLE = pa.table({"x": [1, 2, 3], "y": ["a", "b", "c"]})


@pytest.fixture
def session(tmp_path):
    session = LanceFileSession(tmp_path)
    for path in ("a.lnl", "sub/b.lnl", "sub/deep/c.lnl"):
        with session.open_writer(path, schema=TABLE.schema) as writer:
            writer.write_batch(TABLE)
    return session


def test_files_are_written_and_read_below_the_base(session):
    assert session.open_reader("sub/b.lnl").read_all().to_table().equals(TABLE)
    assert session.open_reader("a.lnl", ["y"]).take_rows([2]).to_table().to_pylist() == [{"y": "c"}]


def test_files_are_listed_deep_and_level_by_level(session):
    assert session.list() == ["a.lnl", "sub/b.lnl", "sub/deep/c.lnl"]
    assert session.list("sub") == session.list("sub/") == ["sub/b.lnl", "sub/deep/c.lnl"]
    assert session.list_with_delimiter() == ListResult(["sub"], ["a.lnl"])
    assert session.list_with_delimiter("sub") == ListResult(["sub/deep"], ["sub/b.lnl"])
    assert session.list("no") == []


def test_files_come_and_go(session, tmp_path):
    assert session.contains("a.lnl")
    session.delete_file("a.lnl")
    assert not session.contains("a.lnl")
    with pytest.raises(NotFound):
        session.delete_file("a.lnl")


def test_files_are_copied_in_and_out(session, tmp_path):
    session.download_file("a.lnl", tmp_path / "copy")
    session.upload_file(tmp_path / "copy", "sub/d.lnl")
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "a.lnl").read_bytes()
    assert session.open_reader("sub/d.lnl").num_rows() == 3


def test_bytes_are_read_and_never_past_the_end(session, tmp_path):
    nbytes = (tmp_path / "a.lnl").stat().st_size
    assert session.read_range("a.lnl", 0, 4) == b"LNLK"
    assert session.read_range("a.lnl", nbytes, 0) == b""
    with pytest.raises(Corrupt):
        session.read_range("a.lnl", nbytes - 3, 4)
    with pytest.raises(InvalidInput):
        session.read_range("a.lnl", -1, 4)


@pytest.mark.parametrize("path", ["../a.lnl", "/etc/passwd", "sub//b.lnl", ""])
def test_nothing_outside_the_base_can_be_named(session, path):
    for act in (session.open_reader, session.contains, session.delete_file, session.open_writer):
        with pytest.raises(InvalidInput):
            act(path) if act != session.open_writer else act(path, schema=TABLE.schema).close()


def test_options_of_object_stores_mean_nothing_for_a_path(tmp_path):
    assert LanceFileSession(tmp_path, {"region": "x"}).list() == LanceFileSession(tmp_path).list()
