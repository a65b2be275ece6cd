"""One flipped bit in any file of a dataset is noticed, or changes no answer."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import lance_like
from lance_like.errors import Corrupt, LanceLikeError


def make_dataset(folder: Path) -> None:
    """Small files of every kind: data, roots, schema, fragment part, tags."""
    words = pa.array([None if i % 7 == 0 else f"word {i % 5}" for i in range(40)])
    table = pa.table(
        {
            "id": range(40),
            "text": [f"row number {i}" for i in range(40)],
            "word": words,
            "list": [list(range(i % 4)) for i in range(40)],
            "struct": [None if i % 9 == 0 else {"x": i / 3, "y": i % 2 == 0} for i in range(40)],
        }
    )
    ds = lance_like.write_dataset(table, folder, commit_message="first")
    ds.tags.create("start")
    ds.add_columns({"twice": "id * 2"})
    ds.drop_columns(["list"])


def answers(folder: Path) -> list[Any]:
    """Everything a reader may ask."""
    ds = lance_like.dataset(folder)
    old = lance_like.dataset(folder, version="start")
    return [
        ds.version,
        ds.schema.to_string(),
        ds.to_table(with_row_id=True).to_pylist(),
        ds.take([39, 0, 17]).to_pylist(),
        ds._take_rows([3, 38], columns=["text"]).to_pylist(),
        ds.to_table(columns=["id"], filter="twice > 60 and word = 'word 1'").to_pylist(),
        ds.count_rows("struct.x < 5"),
        old.to_table().to_pylist(),
        ds.tags.list()["start"]["version"],
        [(entry["version"], entry["metadata"].get("kind")) for entry in ds.versions()],
    ]


def flip_and_ask(folder: Path, path: Path, bit: int, expected: list[Any]) -> bool:
    """Flip one bit, ask, mend. Returns whether it was noticed; fails on a different answer or a foreign error."""
    good = path.read_bytes()
    bad = bytearray(good)
    bad[bit // 8] ^= 1 << (bit % 8)
    path.write_bytes(bad)
    try:
        assert answers(folder) == expected, f"bit {bit} of {path.name} changed an answer"
        return False
    except LanceLikeError:
        return True
    finally:
        path.write_bytes(good)


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def dataset(tmp_path):
    make_dataset(tmp_path / "ds")
    return tmp_path / "ds"


def test_a_flipped_bit_in_any_file_is_noticed_or_harmless(dataset):
    expected = answers(dataset)
    choice = random.Random(3)
    noticed: list[bool] = []
    for path in files_of(dataset):
        size = path.stat().st_size * 8
        noticed += [flip_and_ask(dataset, path, bit, expected) for bit in choice.sample(range(size), 12)]
    # Never read: padding, the head of a data file, the parts of versions that nobody opens.
    assert sum(noticed) > len(noticed) / 2


@pytest.mark.exhaustive
def test_every_flipped_bit_in_every_file_is_noticed_or_harmless(dataset):
    expected = answers(dataset)
    for path in files_of(dataset):
        for bit in range(path.stat().st_size * 8):
            flip_and_ask(dataset, path, bit, expected)


def spoiled(good: bytes, damage: str) -> bytes:
    return {"empty": b"", "zeros": bytes(len(good)), "cut": good[: len(good) // 2]}[damage]


@pytest.mark.parametrize("damage", ["empty", "zeros", "cut"])
def test_a_spoiled_file_is_noticed_or_harmless(dataset, damage):
    expected = answers(dataset)
    noticed = 0
    for path in files_of(dataset):
        good = path.read_bytes()
        path.write_bytes(spoiled(good, damage))
        try:
            assert answers(dataset) == expected, path
        except LanceLikeError:
            noticed += 1
        path.write_bytes(good)
    assert noticed >= 6


def test_a_spoiled_newest_manifest_never_gives_an_older_version(dataset):
    newest = max((dataset / "_versions").rglob("*.manifest"))
    for damage in ("empty", "zeros", "cut"):
        good = newest.read_bytes()
        newest.write_bytes(spoiled(good, damage))
        with pytest.raises(Corrupt):
            lance_like.dataset(dataset)
        newest.write_bytes(good)


def test_a_valid_data_file_of_another_dataset_is_noticed(dataset, tmp_path):
    make_dataset(tmp_path / "other")
    mine, other = (sorted((folder / "data").iterdir()) for folder in (dataset, tmp_path / "other"))
    same_size = [(a, b) for a in mine for b in other if a.stat().st_size == b.stat().st_size]
    assert same_size, "the files of the two datasets differ in size: the test tests nothing"
    for ours, theirs in same_size:
        shutil.copy(theirs, ours)
    with pytest.raises(LanceLikeError, match="not the file"):
        answers(dataset)
