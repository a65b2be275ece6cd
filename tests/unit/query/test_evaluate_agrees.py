"""Filters answer as DuckDB does: enumerated and generated conditions over tables with every awkward value."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest
from filter_cases import LITERALS, PATTERNS, VALUES, conditions, table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lance_like.errors import InvalidInput
from lance_like.query import evaluate

ORACLE = duckdb.connect(config={"threads": 1})
ORACLE.execute("SET TimeZone = 'UTC'")


def by_duckdb(condition: str, batch: pa.RecordBatch) -> list[bool | None] | None:
    ORACLE.register("t", pa.Table.from_batches([batch]))
    try:
        return [row[0] for row in ORACLE.execute(f"SELECT ({condition})::BOOLEAN FROM t").fetchall()]
    except duckdb.Error:
        return None


def assert_agrees(condition: str, batch: pa.RecordBatch) -> None:
    expected = by_duckdb(condition, batch)
    if expected is None:
        # DuckDB may fail where it casts a whole column that we compare exactly
        return
    try:
        bound = evaluate.prepare(condition, batch.schema)
    except InvalidInput as error:
        # DuckDB finds this only when a text matches up to the end of the pattern
        assert "ends with its escape" in str(error)
        return
    assert bound is not None
    assert evaluate.mask(bound, batch).to_pylist() == expected, str(bound)
    passing = [row for row, passes in enumerate(expected) if passes]
    assert evaluate.select(bound, batch).tolist() == passing, str(bound)


def enumerated() -> list[str]:
    made = []
    for name in VALUES:
        for literal in [*LITERALS[name], "NULL"]:
            made += [f"{name} {op} {literal}" for op in ("=", "<>", "<", "<=", ">", ">=")]
            made += [f"{name} IN ({literal})", f"{name} BETWEEN {literal} AND {literal}"]
    for name in ("text", "dict"):
        for word in ("LIKE", "ILIKE"):
            for escape in ("", " ESCAPE '!'", " ESCAPE '\\'", " ESCAPE '%'", " ESCAPE ''"):
                made += [f"{name} {word} '{pattern}'{escape}" for pattern in PATTERNS]
    return made


@pytest.mark.parametrize("part", range(10))
def test_a_sample_of_all_literals_answers_as_duckdb(part: int) -> None:
    batch = table(part, rows=60)
    for condition in enumerated()[part * 7 :: 151]:
        assert_agrees(condition, batch)


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(3))
def test_all_literals_answer_as_duckdb(seed: int) -> None:
    batch = table(seed, rows=200)
    for condition in enumerated():
        assert_agrees(condition, batch)


@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(conditions(), st.integers(0, 20))
def test_generated_conditions_answer_as_duckdb(condition: str, seed: int) -> None:
    assert_agrees(condition, table(seed))


@pytest.mark.exhaustive
@settings(max_examples=5000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(conditions(), st.integers(0, 1000))
def test_many_generated_conditions_answer_as_duckdb(condition: str, seed: int) -> None:
    assert_agrees(condition, table(seed))
