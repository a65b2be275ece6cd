"""Filters answer as DuckDB does: enumerated and generated conditions over tables with every awkward value."""

from __future__ import annotations

from unittest.mock import Mock

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from filter_cases import LITERALS, PATTERNS, VALUES, conditions, table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lance_like.errors import InvalidInput
from lance_like.query import engine_duckdb, evaluate

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


def test_floats_compare_with_numbers_of_many_digits_as_in_duckdb() -> None:
    rng = np.random.default_rng(5)
    for _ in range(3):
        values = rng.random(4) * 10.0 ** rng.integers(-6, 20)
        doubles = pa.array([*values, np.nan, np.inf, -np.inf, 0.0, -0.0, None])
        struct = pa.StructArray.from_arrays([doubles], ["x"])
        batch = pa.record_batch({"d": doubles, "f": doubles.cast(pa.float32()), "s": struct})
        first = float(values[0])
        numbers = [f"{first:.17f}", f"{first:.20f}1", f"{np.float32(first):.18f}", f"{first:.30f}", str(int(first))]
        for literal in numbers:
            for column in ("d", "f", "s.x"):
                for op in ("<", "=", ">="):
                    assert_agrees(f"{column} {op} {literal}", batch)
        bound = evaluate.prepare(f"d < {first:.17f} AND NOT f > {first:.17f}", batch.schema)
        assert bound is not None and evaluate.cost(bound) < 10, "left to DuckDB, row by row"


_SIDES = ["i32", "i64", "f64", "i8", "u64", "f32", "dec", "s.n"]
_LITERALS = ["0", "1", "-1", "7", "3000000000", "9223372036854775807", "9223372036854775808", "0.5", "1e0", "-2e300"]


def _numbers() -> st.SearchStrategy[str]:
    leaf = st.sampled_from([*_SIDES, *_LITERALS])
    joined = st.tuples(leaf, st.sampled_from("+-*/%"), leaf).map(" ".join)
    deeper = st.tuples(joined, st.sampled_from("+-*/%"), leaf).map(lambda part: f"({part[0]}) {part[1]} {part[2]}")
    return st.one_of(joined, deeper)


def _computed(expression: str, batch: pa.RecordBatch) -> pa.Array | str:
    try:
        return evaluate.compute_columns(evaluate.parse_expressions({"x": expression}), batch).column(0)
    except InvalidInput as error:
        return str(error)


def _asked(expression: str, batch: pa.RecordBatch) -> pa.Array | str:
    computed = evaluate.parse_expressions({"x": expression})["x"]
    try:
        return engine_duckdb.evaluate({"x": computed.sql}, batch).column(0)
    except InvalidInput as error:
        return str(error)


def _same(one: pa.Array | str, other: pa.Array | str) -> bool:
    """Equal values and types, bit for bit but for the kind of NaN; or the same words."""
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    return one.type == other.type and repr(one.to_pylist()) == repr(other.to_pylist())


@given(_numbers(), st.integers(0, 50))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_arithmetic_gives_the_values_types_and_errors_of_duckdb(expression: str, seed: int) -> None:
    for rows in (60, 0):
        batch = table(seed, rows=rows)
        assert _same(_computed(expression, batch), _asked(expression, batch)), expression


@given(_numbers(), st.sampled_from(["=", "<>", "<", "<=", ">", ">="]), _numbers(), st.integers(0, 50))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_comparisons_of_arithmetic_answer_as_duckdb(left: str, symbol: str, right: str, seed: int) -> None:
    batch = table(seed, rows=60)
    for condition in (f"{left} {symbol} {right}", f"{left} {symbol} 1", f"i64 {symbol} {right}", f"-1 {symbol} {left}"):
        assert_agrees(condition, batch)
        assert _same(_computed(condition, batch), _asked(condition, batch)), condition


_LETTERS = st.text(st.characters(codec="utf-8"), max_size=4)
_LIKES = [
    "lower({}) LIKE '%a%'",
    "upper({}) NOT LIKE 'A_'",
    "{} ILIKE '%Z[%'",
    "upper({}) LIKE 'a@%' ESCAPE '@'",
    "{} LIKE ''",
]
_CALLS = ["upper({})", "ucase({})", "lower({})", "lcase({})", "length({})", "len({})", "char_length({})"]


@given(st.lists(st.one_of(st.none(), st.text("aZ@[{ß", max_size=4), _LETTERS), max_size=8), st.data())
@settings(deadline=None)
def test_functions_of_text_give_the_values_types_and_errors_of_duckdb(
    texts: list[str | None], data: st.DataObject
) -> None:
    call = data.draw(
        st.sampled_from([*_CALLS, *_LIKES, "upper(lower({}))", "length(upper({})) * 2", "lower({}) < 'b'"])
    )
    odd = st.sampled_from(
        [
            "upper(n)",
            "length(l)",
            "upper(t ORDER BY t)",
            "t LIKE 'a' ESCAPE 'ab'",
            "t LIKE 'a\\' ESCAPE '\\'",
            "n LIKE '1%'",
            "'a' LIKE t",
            "t LIKE t",
            "lower(t) LIKE NULL",
            "upper(t, t)",
            "upper()",
            "main.upper(t)",
            "len('é')",
        ]
    )
    batch = pa.record_batch(
        {"t": pa.array(texts, pa.string()), "big": pa.array(texts, pa.large_string()), "n": range(len(texts))}
    ).append_column("l", pa.array([[1, 2]] * len(texts), pa.list_(pa.int8())))
    for expression in (call.format("t"), call.format("big"), data.draw(odd)):
        assert _same(_computed(expression, batch), _asked(expression, batch)), expression


@pytest.mark.parametrize(
    "expression",
    [
        *(
            "i64 % 100",
            "i32 + 1",
            "i64 * 2",
            "i64 - i32",
            "f64 / 2",
            "i64 % 7 = 1",
            "i32 < i64",
            "text = 'a'",
            "1",
            "'a'",
        ),
        *("upper(text)", "Lcase(text)", "length(text) + 1", "lower(upper(text)) = 'a'", "len(text) > 0"),
        *("upper(text) LIKE '%A'", "lower(text) NOT ILIKE 'A_'", "text LIKE '%a%'", "upper(text) LIKE 'x%' ESCAPE 'x'"),
    ],
)
def test_plain_arithmetic_does_not_ask_duckdb(expression: str, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = pa.RecordBatch.from_pydict(
        {
            "i32": pa.array([1, None, -8], pa.int32()),
            "i64": [5, None, -9],
            "f64": [0.5, None, float("nan")],
            "text": ["a", None, ""],
        }
    )
    expected = _asked(expression, batch)
    asked = Mock(side_effect=AssertionError)
    monkeypatch.setattr(engine_duckdb, "evaluate", asked)
    assert _same(_computed(expression, batch), expected)
