"""Predicates drawn at random over every type, with an index on each column: the same rows as without.

The indexes are made between changes of the table, so that they cover all of it, some of it, or rows that have moved.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from predicates import COLUMNS, Maker, table

import lance_like
from lance_like import LanceDataset
from lance_like.errors import InvalidInput
from lance_like.query.spelling import sql_of
from tests.plain_index import Plain, attach, plain

__all__ = ["plain"]

ROWS = 3_000
# What no question is asked of: the columns are there for conditions that are joined.
UNINDEXED = {"months", "nothing", "either", "s"}


def made(folder: Path, plain: Plain, stage: str) -> LanceDataset:
    rows = table(1, ROWS)
    ds = lance_like.write_dataset(rows, folder, max_rows_per_file=1_300)
    if stage == "fresh":
        _index(ds)
        return ds
    ds.insert(table(2, 900, ROWS))
    ds.delete("row % 7 = 3")
    _index(ds)
    ds.insert(table(3, 700, ROWS + 900))
    ds.update({"i32": "i8::INTEGER + 1", "text": "text || 'q'", "f64": "-f64", "s": "NULL"}, where="row % 5 = 0")
    ds.delete("row % 11 = 4")
    if stage == "compacted":
        ds.optimize.compact_files(target_rows_per_fragment=2_000)
        ds.merge_insert("row").when_matched_update_all().when_not_matched_insert_all().execute(
            table(4, 60, ROWS + 870).select(["row", "i64", "ltext", "day", "list", "u8"])
        )
    return ds


def _index(ds: LanceDataset) -> None:
    for name in ds.schema.names:
        if name not in UNINDEXED:
            attach(ds, name)
    for name in ("s.n", "s.Text", "s.flag", "s.f"):
        attach(ds, name)


def rows_of(ds: LanceDataset, condition: Any, **options: Any) -> list[int] | None:
    """The rows that pass; None where DuckDB cannot judge it, which may show only when a row meets it."""
    try:
        return ds.to_table(["row"], filter=condition, **options)["row"].to_pylist()
    except InvalidInput:
        return None


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["fresh", "changed", "compacted"])
def test_the_same_rows_with_indexes_as_without(stage, plain, tmp_path):
    ds = made(tmp_path / "t", plain, stage)
    names = [name for name in ds.schema.names if name in COLUMNS]
    predicates = Maker(len(stage), names, sql_of)
    asked = 0
    for _ in range(120):
        predicate = predicates.predicate()
        plain.asked.clear()
        found = rows_of(ds, predicate.sql)
        asked += bool(plain.asked)
        expected = rows_of(ds, predicate.sql, use_scalar_index=False)
        if found is None or expected is None:
            continue
        assert found == expected, predicate
        assert ds.count_rows(predicate.sql) == len(expected), predicate
    assert asked > 30


@pytest.mark.slow
def test_the_same_rows_with_indexes_that_find_too_many(plain, tmp_path):
    plain.supersets = (lance_like.index.questions.Range, lance_like.index.questions.Like)
    ds = made(tmp_path / "t", plain, "changed")
    predicates = Maker(5, [name for name in ds.schema.names if name in COLUMNS], sql_of)
    for _ in range(80):
        predicate = predicates.predicate()
        found, expected = rows_of(ds, predicate.sql), rows_of(ds, predicate.sql, use_scalar_index=False)
        assert found is None or expected is None or found == expected, predicate
