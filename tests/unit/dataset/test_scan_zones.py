"""Zones are read where they may say more than the manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import lance_like
from lance_like.file.reader import FileReader
from lance_like.query import plan
from lance_like.query.expr import Expr

ROWS = 20_000


@pytest.mark.parametrize(
    ("rows", "filter", "reads"),
    [
        (ROWS, "a > 9000 and a < 9100", True),  # some zones are left out
        (ROWS, "a % 100 = 7", False),  # nothing can be left out
        (ROWS, "a > 9000 and b % 100 = 7", True),
        (8_192, "a > 4000 and a < 4100", False),  # one zone: the manifest has said it
    ],
)
def test_zones_are_read_where_they_say_more_than_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, filter: str, reads: bool
) -> None:
    table = pa.table({"a": range(rows), "b": range(rows)})
    # Large cells keep the file from being read whole.
    table = table.append_column("c", pa.array([bytes(range(256))] * rows))
    dataset = lance_like.write_dataset(table, tmp_path)
    asked = []
    zones = FileReader.zones

    def noted(self: FileReader, column: int, kind: pa.DataType):
        asked.append(column)
        return zones(self, column, kind)

    monkeypatch.setattr(FileReader, "zones", noted)
    expected = [a for a in range(rows) if eval(filter.replace(" = ", " == "), {"a": a, "b": a})]
    assert dataset.to_table(["a"], filter=filter)["a"].to_pylist() == expected
    assert bool(asked) == reads


def test_a_year_leaves_out_the_zones_of_other_years(tmp_path: Path) -> None:
    days = pa.array(range(ROWS), pa.int32()).cast(pa.date32())
    dataset = lance_like.write_dataset(pa.table({"day": days}), tmp_path)
    plan = dataset.scanner(filter="year(day) = 2010").analyze_plan()
    assert dataset.count_rows("year(day) = 2010") == 365
    assert "2 of 3" in plan, plan


def test_a_condition_is_judged_once_for_a_fragment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[int] = []
    judge_zones = plan.judge_zones

    def noted(condition: Expr, stats: Any, *, zones: int) -> Any:
        judged.append(zones)
        return judge_zones(condition, stats, zones=zones)

    monkeypatch.setattr(plan, "judge_zones", noted)
    table = pa.table({"a": range(3 * ROWS)})
    dataset = lance_like.write_dataset(table, tmp_path)
    for _ in range(2):
        assert dataset.count_rows("a >= 9000 AND a < 30000") == 21_000
        assert dataset.to_table(filter="a >= 9000 AND a < 30000").num_rows == 21_000
    assert judged == [1, 8]  # by the manifest, then by zones
    assert dataset.count_rows("a >= 9000 AND a < 30001") == 21_001
    assert judged == [1, 8, 1, 8]
    dataset.delete("a = 10000")
    assert dataset.count_rows("a >= 9000 AND a < 30000") == 20_999
    lance_like.write_dataset(table, tmp_path, mode="append")
    dataset.checkout_latest()
    assert dataset.count_rows("a >= 9000 AND a < 30000") == 41_999
