"""`ds.all_files` and `ds.tracked_files`: what is there, and what versions name."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

import lance_like

TABLE = pa.table({"x": range(20_000)})


@pytest.fixture
def dataset(tmp_path: Path) -> lance_like.LanceDataset:
    ds = lance_like.write_dataset(TABLE, tmp_path / "t", max_rows_per_file=8_000)
    ds.delete("x % 2 = 0")
    ds.insert(TABLE.slice(0, 5))
    return ds


def test_all_files_are_what_lies_in_the_folder(dataset: lance_like.LanceDataset) -> None:
    (Path(dataset.uri) / "data" / "stray").write_bytes(b"abc")
    found = dataset.all_files().read_all()
    below = {str(path.relative_to(dataset.uri)): path.stat() for path in Path(dataset.uri).rglob("*") if path.is_file()}
    sizes = dict(zip(found["path"].to_pylist(), found["size_bytes"].to_pylist(), strict=True))
    assert sizes == {path: stat.st_size for path, stat in below.items()}
    moments = dict(zip(found["path"].to_pylist(), found["last_modified"].cast(pa.int64()).to_pylist(), strict=True))
    assert moments["data/stray"] == below["data/stray"].st_mtime_ns // 1000
    assert set(found["base_uri"].to_pylist()) == {dataset.uri}


def test_all_files_has_the_columns_of_pylance(dataset: lance_like.LanceDataset, tmp_path: Path) -> None:
    lance = pytest.importorskip("lance")
    peer = lance.write_dataset(TABLE, str(tmp_path / "peer"))
    assert dataset.all_files().schema == peer.all_files().schema
    assert dataset.tracked_files(min_version=None).schema == peer.tracked_files(min_version=None).schema


def test_the_files_of_all_versions_are_those_that_cleanup_keeps(dataset: lance_like.LanceDataset) -> None:
    tracked = set(dataset.tracked_files().read_all()["path"].to_pylist())
    there = set(dataset.all_files().read_all()["path"].to_pylist())
    assert tracked <= there
    assert {path for path in there if path.startswith("data/")} <= tracked


def test_tracked_files_say_which_version_names_what(dataset: lance_like.LanceDataset) -> None:
    seen: list[tuple[int, int | None]] = []
    found = dataset.tracked_files(progress=lambda done, all_of: seen.append((done, all_of))).read_all().to_pylist()
    assert seen == [(1, 3), (2, 3), (3, 3)]

    def count(version: int, kind: str) -> int:
        return sum(row["version"] == version and row["type"] == kind for row in found)

    assert [count(version, "manifest") for version in (1, 2, 3)] == [1, 1, 1]
    assert [count(version, "data file") for version in (1, 2, 3)] == [3, 3, 4]
    assert {row["version"] for row in dataset.tracked_files(min_version=2).read_all().to_pylist()} == {2, 3}


def test_files_of_a_clone_name_the_place_where_they_lie(dataset: lance_like.LanceDataset, tmp_path: Path) -> None:
    clone = dataset.shallow_clone(tmp_path / "clone", dataset.version)
    found = clone.tracked_files().read_all().to_pylist()
    assert {row["base_uri"] for row in found if row["type"] == "data file"} == {dataset.uri}
    assert {row["base_uri"] for row in found if row["type"] == "manifest"} == {clone.uri}
