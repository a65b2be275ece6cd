"""`Session`: what handles keep of files, for several of them."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest

import lance_like
from lance_like import LanceDataset, Session
from lance_like.errors import InvalidInput
from lance_like.io.memory import MemoryStore
from lance_like.io.observe import CountingStore, counted
from lance_like.table.snapshot import read_manifest

TABLE = pa.table({"a": range(1000), "t": [f"text {i % 7}" for i in range(1000)]})

EACH_FILE = [0, 250, 500, 750]


@pytest.fixture
def uri() -> Iterator[str]:
    name = "memory://test_sessions"
    lance_like.write_dataset(TABLE, name, mode="overwrite", max_rows_per_file=250)
    yield name


def test_a_session_grows_as_files_are_read(uri: str) -> None:
    ds = lance_like.dataset(uri)
    assert (ds.session().size_bytes(), ds.session().approx_num_items()) == (0, 0)
    assert ds.take(EACH_FILE)["a"].to_pylist() == EACH_FILE
    assert ds.session().approx_num_items() == 4
    assert ds.session().size_bytes() > 1000
    assert "items=4" in repr(ds.session())


def test_handles_of_one_session_open_no_file_twice() -> None:
    store = CountingStore(MemoryStore("sessions"))
    made = lance_like.write_dataset(TABLE, "memory://sessions_source")
    manifest = read_manifest(made._store, 1)
    store.inner = made._store
    first = LanceDataset(store, manifest)
    with counted(store) as alone:
        first.take([5])
    second = LanceDataset(store, manifest, session=first.session())
    with counted(store) as shared:
        assert second.take([5])["a"].to_pylist() == [5]
    assert second.session().is_same_as(first.session())
    assert not made.session().is_same_as(first.session())
    assert alone.rounds > shared.rounds == 1  # the bytes of the row


def test_other_versions_of_a_handle_share_its_session(uri: str) -> None:
    ds = lance_like.dataset(uri)
    ds.take(EACH_FILE)
    old = ds.checkout_version(ds.version)
    assert old.session().is_same_as(ds.session())
    again = lance_like.write_dataset(TABLE.slice(0, 5), ds, mode="append")
    assert again.session().is_same_as(ds.session())
    assert again.take([*EACH_FILE, 1000])["a"].to_pylist() == [*EACH_FILE, 0]
    assert ds.session().approx_num_items() == 5


def test_indexes_are_shared_too(uri: str) -> None:
    ds = lance_like.dataset(uri)
    ds.create_scalar_index("a", "BTREE")
    ds.to_table(filter="a = 77")
    assert ds.session().index_cache_size_bytes() > 0
    other = lance_like.dataset(uri, session=ds.session())
    before = ds.session().approx_num_items()
    assert other.to_table(filter="a = 77")["a"].to_pylist() == [77]
    assert ds.session().approx_num_items() == before


def test_what_is_read_otherwise_is_not_shared(uri: str) -> None:
    ds = lance_like.dataset(uri)
    ds.take(EACH_FILE)
    other = lance_like.dataset(uri, session=ds.session(), verify="off")
    other.take(EACH_FILE)
    assert ds.session().approx_num_items() == 8


def test_the_limits_are_those_of_the_session(uri: str) -> None:
    session = Session(index_cache_size_bytes=5, metadata_cache_size_bytes=0)
    ds = lance_like.dataset(uri, session=session)
    assert session.limits.items() <= ds._options.items()
    assert pickle.loads(pickle.dumps(ds)).session().limits == session.limits
    with pytest.raises(InvalidInput, match="own"):
        lance_like.dataset(uri, session=session, metadata_cache_size_bytes=7)
    with pytest.raises(InvalidInput, match="-1"):
        Session(metadata_cache_size_bytes=-1)


def test_tables_of_long_ago_are_forgotten_above_the_limit(uri: str) -> None:
    session = Session(metadata_cache_size_bytes=1)
    for number in range(3):
        other = f"memory://test_sessions_{number}"
        ds = lance_like.write_dataset(TABLE, other, mode="overwrite", session=session)
        assert np.array_equal(ds.take([3, 1])["a"].to_numpy(), [3, 1])
    assert len(session._tables) == 1


def test_what_was_made_of_a_schema_serves_the_next_handle(uri: str) -> None:
    first, second = lance_like.dataset(uri), lance_like.dataset(uri)
    assert first.to_table(filter="a = 5")["a"].to_pylist() == [5]
    assert second._manifest.schema is first._manifest.schema
    first.add_columns({"more": "a"})
    assert lance_like.dataset(uri)._manifest.schema == first._manifest.schema
    assert second.schema.names == ["a", "t"]
