"""Predicates drawn at random over every type, with an index on each column: the same rows as without.

The indexes are made between changes of the table, so that they cover all of it, some of it, or rows that have moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from predicates import COLUMNS, Maker, table

import lance_like
from lance_like import LanceDataset
from lance_like.errors import InvalidInput
from lance_like.index.questions import Like, Range
from lance_like.query import hits
from lance_like.query.spelling import sql_of
from tests.plain_index import attach, plain

__all__ = ["plain"]

ROWS = 3_000
KINDS = ["BTREE", "BITMAP", "LABEL_LIST", "NGRAM", "ZONEMAP", "BLOOMFILTER"]
# What no question is asked of: the columns are there for conditions that are joined.
UNINDEXED = {"months", "nothing", "either", "s"}


def made(folder: Path, stage: str, kinds: Sequence[str]) -> LanceDataset:
    """A table with indexes of kinds that take turns, where a kind takes the type of a column."""
    rows = table(1, ROWS)
    ds = lance_like.write_dataset(rows, folder, max_rows_per_file=1_300)
    if stage == "fresh":
        _index(ds, kinds)
        return ds
    ds.insert(table(2, 900, ROWS))
    ds.delete("row % 7 = 3")
    _index(ds, kinds)
    ds.insert(table(3, 700, ROWS + 900))
    ds.update({"i32": "i8::INTEGER + 1", "text": "text || 'q'", "f64": "-f64", "s": "NULL"}, where="row % 5 = 0")
    ds.delete("row % 11 = 4")
    if stage == "compacted":
        ds.optimize.compact_files(target_rows_per_fragment=2_000)
        ds.merge_insert("row").when_matched_update_all().when_not_matched_insert_all().execute(
            table(4, 60, ROWS + 870).select(["row", "i64", "ltext", "day", "list", "u8"])
        )
    return ds


def _index(ds: LanceDataset, kinds: Sequence[str]) -> None:
    names = [name for name in ds.schema.names if name not in UNINDEXED]
    turn = 0
    for name in [*names, "s.n", "s.Text", "s.flag", "s.f"]:
        for _ in kinds:
            turn += 1
            # A kind that does not take the type leaves its turn to the next.
            with suppress(InvalidInput):
                attach(ds, name, kinds[turn % len(kinds)])
                break


def rows_of(ds: LanceDataset, condition: Any, **options: Any) -> list[int] | None:
    """The rows that pass; None where DuckDB cannot judge it, which may show only when a row meets it."""
    try:
        return ds.to_table(["row"], filter=condition, **options)["row"].to_pylist()
    except InvalidInput:
        return None


@pytest.fixture(autouse=True, params=["eager", "usual"])
def limits(request, monkeypatch) -> None:
    """Eager: indexes are used however many rows they find, and all of them. The columns have few values."""
    if request.param == "eager":
        for name in ("_MOST_ROWS", "_MOST_DEAR_ROWS"):
            monkeypatch.setattr(hits, name, 1.0)
        monkeypatch.setattr(hits, "_FEW_ROWS", 0)
        monkeypatch.setattr(hits, "_FOUND_ANYHOW", 1 << 30)


def agree(ds: LanceDataset, seed: int, count: int) -> None:
    """Draw predicates: the rows and their number are the same with indexes as without."""
    predicates = Maker(seed, [name for name in ds.schema.names if name in COLUMNS], sql_of)
    used = 0
    for _ in range(count):
        predicate = predicates.predicate()
        found = rows_of(ds, predicate.sql)
        expected = rows_of(ds, predicate.sql, use_scalar_index=False)
        if found is None or expected is None:
            continue
        assert found == expected, predicate
        assert ds.count_rows(predicate.sql) == len(expected), predicate
        used += "Index" in ds.scanner(filter=predicate.sql).explain_plan()
    assert used > (count // 10 if hits._MOST_ROWS == 1.0 else 0)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["fresh", "changed", "compacted"])
def test_the_same_rows_with_indexes_as_without(stage, plain, tmp_path):
    agree(made(tmp_path / "t", stage, [plain.name]), len(stage), 40)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["fresh", "changed", "compacted"])
def test_the_same_rows_with_indexes_of_every_kind(stage, tmp_path):
    agree(made(tmp_path / "t", stage, KINDS), 10 + len(stage), 40)


@pytest.mark.slow
def test_the_same_rows_with_indexes_that_find_too_many(limits, plain, tmp_path):
    plain.supersets = (Range, Like)
    agree(made(tmp_path / "t", "changed", [plain.name]), 5, 40)


@pytest.mark.exhaustive
@pytest.mark.parametrize("stage", ["fresh", "changed", "compacted"])
@pytest.mark.parametrize("seed", range(5))
def test_the_same_rows_by_many_predicates(stage, seed, plain, tmp_path):
    agree(made(tmp_path / "t", stage, [plain.name, *KINDS]), 100 + seed, 600)
