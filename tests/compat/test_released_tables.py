"""Tables that earlier releases wrote: every version, tag and branch of them reads as it did."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from make_table import told

import lance_like
from lance_like import LanceOperation
from lance_like.dataset.verify import verify_dataset
from lance_like.io.local import LocalStore

RELEASES = sorted(path.parent for path in Path(__file__).parent.glob("*/expected.json"))


def test_there_are_released_tables() -> None:
    assert RELEASES


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_every_version_reads_as_it_was_written(release: Path) -> None:
    expected = json.loads((release / "expected.json").read_text(encoding="utf-8"))
    assert told(release / "table") == expected


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_no_byte_is_found_wrong(release: Path) -> None:
    report = verify_dataset(LocalStore(str(release / "table")))
    assert report.ok, report.faults
    assert report.unused == []


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.name)
def test_it_can_be_written_on(release: Path, tmp_path: Path) -> None:
    shutil.copytree(release / "table", tmp_path / "table")
    ds = lance_like.dataset(tmp_path / "table")
    rows = ds.count_rows()
    ds.insert({"id": [-1]})
    ds.update({"text": "'later'"}, where="id = -1")
    assert ds.to_table(["id", "text"], filter="id = -1").to_pylist() == [{"id": -1, "text": "later"}]
    assert ds.count_rows() == rows + 1


def test_deletes_that_did_not_say_what_chose_their_rows_are_read() -> None:
    release = next(path for path in RELEASES if path.name == "draft_1")
    found = lance_like.dataset(release / "table").get_transactions(100)
    deletes = [one.operation for one in found if isinstance(one.operation, LanceOperation.Delete)]
    assert deletes
    assert {delete.predicate for delete in deletes} == {None}
