"""Zones are skipped only when no row can pass, and called whole only when every row does."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from filter_cases import VALUES, conditions, table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lance_like.errors import InvalidInput
from lance_like.query import evaluate, prune
from lance_like.query.prune import ZoneColumn

ZONE = 4


def zone_column(array: pa.Array, rng: np.random.Generator) -> ZoneColumn:
    """Statistics as a writer makes them; some bounds widened, some missing."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    nulls, nans, mins, maxs, rows = [], [], [], [], []
    for start in range(0, len(array), ZONE):
        part = array[start : start + ZONE]
        numbers = part.drop_null()
        nan = pc.is_nan(numbers) if pa.types.is_floating(part.type) else pa.repeat(False, len(numbers))
        values = numbers.filter(pc.invert(nan))
        order = pc.sort_indices(values)
        low, high = (values[order[0].as_py()], values[order[-1].as_py()]) if len(values) else (None, None)
        rows.append(len(part))
        nulls.append(part.null_count)
        nans.append(pc.sum(nan).as_py() or 0)
        if low is not None and pa.types.is_string(part.type) and rng.random() < 0.5:
            low = pa.scalar(low.as_py()[:1])
            high = pa.scalar(high.as_py()[:1] + "\U0010ffff")
        mins.append(low if rng.random() < 0.9 else None)
        maxs.append(high if rng.random() < 0.9 else None)
    made = [
        pa.concat_arrays([pa.nulls(1, array.type) if one is None else pa.repeat(one, 1) for one in bounds])
        for bounds in (mins, maxs)
    ]
    return ZoneColumn(np.array(rows), np.array(nulls), np.array(nans), *made)


def assert_sound(condition: str, seed: int) -> np.ndarray:
    batch = table(seed, rows=38)
    zones = -(-len(batch) // ZONE)
    try:
        bound = evaluate.prepare(condition, batch.schema)
        assert bound is not None
        passes = evaluate.mask(bound, batch).fill_null(False).to_numpy(zero_copy_only=False)
    except InvalidInput:  # a literal out of the range of the column's type
        return np.ones(zones, np.int8)
    rng = np.random.default_rng(seed)

    def stats(path: tuple[str, ...]) -> ZoneColumn | None:
        array = batch.column(path[0])
        for name in path[1:]:
            array = pc.struct_field(array, name)
        return zone_column(array, rng) if rng.random() < 0.95 else None

    verdict = prune.judge_zones(bound, stats, zones=zones)
    for zone in range(zones):
        rows = passes[zone * ZONE : (zone + 1) * ZONE]
        assert verdict[zone] != prune.NONE or not rows.any(), (condition, zone)
        assert verdict[zone] != prune.ALL or rows.all(), (condition, zone)
    return verdict


def judged(condition: str, column: ZoneColumn, type_: pa.DataType) -> list[int]:
    bound = evaluate.prepare(condition, pa.schema([("x", type_)]))
    assert bound is not None
    return prune.judge_zones(bound, lambda path: column, zones=len(column.rows)).tolist()


@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(conditions(), st.integers(0, 20))
def test_no_verdict_contradicts_a_row(condition: str, seed: int) -> None:
    assert_sound(condition, seed)


@pytest.mark.exhaustive
@settings(max_examples=8000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(conditions(), st.integers(0, 1000))
def test_no_verdict_contradicts_a_row_often(condition: str, seed: int) -> None:
    assert_sound(condition, seed)


INTS = ZoneColumn(
    rows=np.array([5, 5, 5, 5]),
    nulls=np.array([0, 0, 1, 5]),
    nans=np.array([0, 0, 0, 0]),
    mins=pa.array([0, 10, 20, None]),
    maxs=pa.array([9, 10, 29, None]),
)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("x = 10", [0, 2, 0, 0]),
        ("x <> 10", [2, 0, 1, 0]),
        ("x < 10", [2, 0, 0, 0]),
        ("x <= 10", [2, 2, 0, 0]),
        ("x > 9", [0, 2, 1, 0]),
        ("x >= 25", [0, 0, 1, 0]),
        ("x between 0 and 10", [2, 2, 0, 0]),
        ("x not between 0 and 10", [0, 0, 1, 0]),
        ("x in (9, 10)", [1, 2, 0, 0]),
        ("x in (11, 19, 30)", [0, 0, 0, 0]),
        ("x not in (9, 10)", [1, 0, 1, 0]),
        ("x not in (11, null)", [0, 0, 0, 0]),
        ("x is null", [0, 0, 1, 2]),
        ("x is not null", [2, 2, 1, 0]),
        ("x = 10 or x < 5", [1, 2, 0, 0]),
        ("not (x = 10 or x < 5)", [1, 0, 1, 0]),
        ("x % 2 = 0", [1, 1, 1, 1]),
        ("x > 100 and x % 2 = 0", [0, 0, 0, 0]),
        ("true", [2, 2, 2, 2]),
        ("null", [0, 0, 0, 0]),
    ],
)
def test_integers_are_judged_by_their_bounds(condition: str, expected: list[int]) -> None:
    assert judged(condition, INTS, pa.int64()) == expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("x > 5", [0, 1, 2]),
        ("x <= 5", [2, 1, 0]),
        ("x = 'nan'::double", [0, 1, 2]),
        ("x < 'nan'::double", [2, 1, 0]),
        ("x in (1, 7)", [1, 1, 0]),
        ("x not in (7, 8)", [2, 2, 2]),
    ],
)
def test_nan_counts_as_the_greatest_number(condition: str, expected: list[int]) -> None:
    column = ZoneColumn(
        rows=np.array([4, 4, 4]),
        nulls=np.array([0, 0, 0]),
        nans=np.array([0, 1, 4]),
        mins=pa.array([0.0, 0.0, None]),
        maxs=pa.array([5.0, 5.0, None]),
    )
    assert judged(condition, column, pa.float64()) == expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("x like 'ab%'", [0, 2, 1]),
        ("x like 'ab%c'", [0, 1, 1]),
        ("x like 'b%'", [0, 0, 1]),
        ("x like 'abc'", [0, 1, 1]),
        ("x like 'aZ%'", [0, 0, 0]),
        ("x not like 'ab%'", [2, 0, 1]),
        ("x ilike 'zz%'", [1, 1, 1]),
        ("x like '%'", [2, 2, 2]),
        ("x like '%b'", [1, 1, 1]),
    ],
)
def test_like_is_judged_by_the_text_it_begins_with(condition: str, expected: list[int]) -> None:
    column = ZoneColumn(
        rows=np.array([4, 4, 4]),
        nulls=np.array([0, 0, 0]),
        nans=np.array([0, 0, 0]),
        mins=pa.array(["A", "ab", "ab"]),
        maxs=pa.array(["Z", "abz", "zz"]),
    )
    assert judged(condition, column, pa.string()) == expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("x + 1 < 5", [2, 1, 0]),
        ("x + 1 >= 5", [0, 1, 2]),
        ("10 - x > 7", [1, 0, 0]),
        ("x * -2 < -20", [0, 1, 2]),
        ("x / 2 <= 1.5", [2, 1, 0]),
        ("x * 2 = x + 30", [0, 1, 1]),
        ("x + 1 <> 5", [2, 1, 2]),
        ("x + 9223372036854775800 > 0", [1, 1, 1]),  # may overflow: rows are asked
        ("x % 7 = 3", [1, 1, 1]),
    ],
)
def test_arithmetic_is_judged_by_what_it_makes_of_bounds(condition: str, expected: list[int]) -> None:
    mins, maxs = pa.array([0, 3, 20], pa.int64()), pa.array([3, 19, 40], pa.int64())
    column = ZoneColumn(np.full(3, 10), np.zeros(3, int), np.zeros(3, int), mins, maxs)
    assert judged(condition, column, pa.int64()) == expected


@pytest.mark.parametrize("seed", range(6))
def test_no_verdict_on_arithmetic_contradicts_a_row(seed: int) -> None:
    names = [field.name for field in table(0, rows=1).schema if field.type in (pa.int32(), pa.int64(), pa.float64())]
    rng = np.random.default_rng(seed)
    for name in names:
        for other in (name, *names):
            a, b, c = rng.integers(-9, 9, 3)
            for symbol in ("<", "<=", "=", "<>", ">", ">="):
                assert_sound(f"{name} + {a} {symbol} {other} * {b}", seed)
                assert_sound(f"{name} * {a} - {b} {symbol} {c}", seed)
                assert_sound(f"{name} / {a or 1} {symbol} {c}e0", seed)


def test_a_column_without_statistics_is_never_skipped() -> None:
    bound = evaluate.prepare("x = 1 and y = 1", pa.schema([("x", pa.int64()), ("y", pa.int64())]))
    assert bound is not None
    verdict = prune.judge_zones(bound, lambda path: INTS if path == ("x",) else None, zones=4)
    assert verdict.tolist() == [1, 0, 0, 0]


def test_every_type_prunes_something() -> None:
    literal = {"i8": "5", "i32": "5", "i64": "5", "u64": "5", "f32": "5", "f64": "5", "dec": "5", "wide": "5"}
    literal |= dict.fromkeys(["text", "dict"], "'zz'") | {
        "blob": r"'\xAB\xCD'::BLOB",
        "clock": "TIME '01:01:01'",
        "flag": "NULL",
    }
    literal |= dict.fromkeys(["day", "us", "ns", "ms", "tz"], "'1980-01-01'")
    for name in VALUES:
        verdicts = [assert_sound(f"{name} = {literal[name]}", seed).tolist() for seed in range(4)]
        assert any(prune.NONE in verdict for verdict in verdicts), name


def test_the_columns_that_statistics_are_asked_for() -> None:
    schema = pa.schema({"a": pa.int64(), "b": pa.string(), "c": pa.bool_(), "d": pa.int64()})
    condition = evaluate.prepare("a > 1 AND (b LIKE 'x%' OR NOT c) AND d % 7 = 3", schema)
    assert condition is not None
    assert prune.judged_paths(condition) == {("a",), ("b",), ("c",)}
    opaque = evaluate.prepare("d % 7 = 3 OR hash(a) > 5", schema)
    assert opaque is not None
    assert prune.judged_paths(opaque) == frozenset()
