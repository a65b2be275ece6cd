"""A condition on a value that rises with a column is judged by the column's bounds, and never against a row."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from lance_like import col, func
from lance_like.errors import InvalidInput
from lance_like.query import evaluate, prune
from lance_like.query.expr import Expr, Opaque
from lance_like.query.prune import ZoneColumn

ZONE = 3
ZONES = 40
FOREVER = 2**31 - 1  # days: 'infinity'::DATE
DAY_US = 86_400_000_000

MOMENTS = [
    "year({c}) {op} 1969",
    "EXTRACT(YEAR FROM {c}) {op} 2020",
    "isoyear({c}) {op} 2020",
    "date_part('decade', {c}) {op} 196",
    "century({c}) {op} 20",
    "millennium({c}) {op} 0",
    "date_part('era', {c}) {op} 1",
    "epoch({c}) {op} -1",
    "epoch_ms({c}) {op} 1582934400000",
    "julian({c}) {op} 2440588",
    "{c}::DATE {op} '2020-02-29'",
    "{c}::TIMESTAMP {op} '1969-12-31 23:59:59'",
    "{c}::TIMESTAMPTZ {op} TIMESTAMPTZ '2020-02-29 12:00:00+00'",
    "date_trunc('month', {c}) {op} '2020-02-01'",
    "date_trunc('week', {c}) {op} DATE '1969-12-29'",
    "date_trunc('decade', {c}) {op} '1960-01-01'",
    "date_trunc('hour', {c}) {op} TIMESTAMP '1969-12-31 23:00:00'",
    "year({c}::DATE) {op} 2020",
    "last_day({c}) {op} DATE '2020-02-29'",
    "{c} {op} TIMESTAMPTZ '2020-02-29 01:00:00+01'",
    "year({c}) BETWEEN 1969 AND 1970",
    "year({c}) NOT BETWEEN 1960 AND 2019",
    "year({c}) IN (1969, 1970, 2020)",
    "year({c}) NOT IN (1969, 1970)",
    "NOT (year({c}) < 1970)",
]
NUMBERS = [
    "{c} {op} 1.5",
    "{c} {op} 0.1",
    "{c}::INTEGER {op} 2",
    "TRY_CAST({c} AS TINYINT) {op} 2",
    "{c}::DOUBLE {op} 2.5",
    "{c}::FLOAT {op} 16777216",
    "{c}::DECIMAL(30, 2) {op} 2.5",
    "floor({c}) {op} 2",
    "ceil({c}) {op} -1",
    "round({c}) {op} 2",
    "trunc({c}::DOUBLE) {op} 0",
    "{c}::BIGINT BETWEEN 1 AND 3",
    "floor({c}::DOUBLE) IN (1, 2)",
    "{c} {op} '2'",
]
TEXTS = [
    "left({c}, 2) {op} 'ab'",
    "substring({c}, 1, 1) {op} 'b'",
    "substr({c}, 1, 2) IN ('ab', 'b')",
    "left({c}, 0) {op} ''",
]
SPANS = [
    "{c} {op} INTERVAL 1 DAY",
    "{c} {op} '1 day'::INTERVAL",
    "{c} BETWEEN INTERVAL 0 SECOND AND INTERVAL 30 SECOND",
]
CLOCKS = ["{c} {op} TIME '12:30:00'", "{c} {op} '12:30:00.5'"]
DAYS = [-FOREVER, -719_528 - 400, -25567, -1, 0, 1, 18_320, 18_321, 18_322, 2_932_896, FOREVER]
INSTANTS = [day * DAY_US + more for day in DAYS[2:-1] for more in (-1, 0, 1, DAY_US // 2)]
WORDS = ["", "a", "ab", "abc", "abd", "b", "ba", "äb", "日本", "zz", "a\0b"]
COLUMNS: dict[str, tuple[pa.DataType, Sequence[object], list[str]]] = {
    "date32": (pa.date32(), DAYS, MOMENTS),
    "date64": (pa.date64(), [day * 86_400_000 for day in DAYS[1:-1]], MOMENTS),
    "seconds": (pa.timestamp("s"), [instant // 10**6 for instant in INSTANTS], MOMENTS),
    "millis": (pa.timestamp("ms"), [instant // 1000 for instant in INSTANTS], MOMENTS),
    "micros": (pa.timestamp("us"), [*INSTANTS, 2**63 - 1, -(2**63) + 1], MOMENTS),
    "nanos": (pa.timestamp("ns"), [instant * 1000 for instant in INSTANTS if instant < 2**53], MOMENTS),
    "zoned": (pa.timestamp("us", "America/Sao_Paulo"), INSTANTS, MOMENTS),
    "i8": (pa.int8(), [-128, -2, -1, 0, 1, 2, 3, 127], NUMBERS),
    "i64": (pa.int64(), [-(2**63), -(2**53) - 1, -2, 0, 1, 2, 3, 2**24 + 1, 2**53 + 1, 2**63 - 1], NUMBERS),
    "u64": (pa.uint64(), [0, 1, 2, 3, 2**53 + 1, 2**64 - 1], NUMBERS),
    "f32": (pa.float32(), [-np.inf, -2.5, -0.0, 0.0, 0.1, 1.5, 2.5, 3.5, 3e38, np.inf, np.nan], NUMBERS),
    "f64": (pa.float64(), [-np.inf, -2.5, -0.0, 0.0, 0.1, 1.5, 2.5, 3.5, 1e300, np.inf, np.nan], NUMBERS),
    "decimal": (pa.decimal128(12, 3), list(map(Decimal, ["-2.5", "0", "0.1", "1.5", "2.499", "2.5", "3.5"])), NUMBERS),
    "text": (pa.string(), WORDS, TEXTS),
    "ltext": (pa.large_string(), WORDS, TEXTS),
    "span_s": (pa.duration("s"), [-1, 0, 30, 86_399, 86_400, 86_401, 10**7], SPANS),
    "span_ns": (pa.duration("ns"), [-1, 0, 1, 999, 86_400 * 10**9, 86_400 * 10**9 + 1], SPANS),
    "time32": (pa.time32("ms"), [0, 45_000_000, 45_000_500, 86_399_999], CLOCKS),
    "time64": (pa.time64("ns"), [0, 45_000 * 10**9, 45_000 * 10**9 + 1, 86_399 * 10**9], CLOCKS[1:]),
}
OPERATORS = ["=", "<>", "<", "<=", ">", ">="]
CASES = [(name, text) for name, (_, _, texts) in COLUMNS.items() for text in texts]


def cells(kind: pa.DataType, values: Sequence[object]) -> pa.Array:
    """An array of a type; moments by their counts of units."""
    if pa.types.is_decimal(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pa.array(values, kind)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return pa.array(values, kind)
    width = pa.int32() if kind.bit_width == 32 else pa.int64()
    return pa.array(values, width).view(kind)


def drawn(kind: pa.DataType, pool: Sequence[object], rng: np.random.Generator) -> pa.Array:
    """Rows whose zones hold values near each other, and nulls."""
    first = rng.integers(0, len(pool), ZONES).repeat(ZONE)
    at = np.minimum(first + rng.integers(0, 3, ZONES * ZONE), len(pool) - 1)
    gone = rng.random(ZONES * ZONE) < rng.choice([0, 0, 0.5, 1], ZONES).repeat(ZONE)
    return cells(kind, [None if no else pool[i] for i, no in zip(at, gone, strict=True)])


def statistics(array: pa.Array, rng: np.random.Generator) -> ZoneColumn:
    """As a writer makes them; some bounds are missing, and those of a few zones wider than their rows."""
    bounds: list[list[pa.Array]] = [[], []]
    nulls, nans = [], []
    for start in range(0, len(array), ZONE):
        known = array[start : start + ZONE].drop_null()
        nulls.append(ZONE - len(known))
        nan = pc.is_nan(known) if pa.types.is_floating(array.type) else pa.repeat(False, len(known))
        nans.append(sum(nan.to_pylist()))
        values = known.filter(pc.invert(nan))
        wide = array.drop_null() if rng.random() < 0.05 and nulls[-1] < ZONE and not sum(nans) else values
        ordered = wide.take(pc.sort_indices(wide))
        for end, kept in ((0, bounds[0]), (len(ordered) - 1, bounds[1])):
            kept.append(ordered.slice(end, 1) if len(values) and rng.random() < 0.95 else pa.nulls(1, array.type))
    return ZoneColumn(np.full(ZONES, ZONE), np.array(nulls), np.array(nans), *map(pa.concat_arrays, bounds))


def passing(condition: Expr, batch: pa.RecordBatch) -> list[np.ndarray | None]:
    """Which rows of each zone pass, as DuckDB says; None where it refuses one."""
    try:
        return list(evaluate.passing(condition, batch).reshape(ZONES, ZONE))
    except InvalidInput:
        pass
    found: list[np.ndarray | None] = []
    for zone in range(ZONES):
        try:
            found.append(evaluate.passing(condition, batch.slice(zone * ZONE, ZONE)))
        except InvalidInput:
            found.append(None)
    return found


def verdicts(name: str, text: str, seed: int) -> np.ndarray:
    """Judge the zones of a column, and hold each verdict against the zone's rows, asked of DuckDB."""
    rng = np.random.default_rng(seed)
    kind, pool, _ = COLUMNS[name]
    array = drawn(kind, pool, rng)
    batch = pa.record_batch({"c": array})
    bound = evaluate.prepare(text, batch.schema)
    assert bound is not None
    column = statistics(array, rng)
    verdict = prune.judge_zones(bound, lambda path: column, zones=ZONES)
    passed = passing(bound, batch)
    for zone, rows in enumerate(passed):
        if rows is None:  # one has no such value: the zone must be asked, so that this is said
            assert verdict[zone] == prune.SOME, (name, text, zone)
            continue
        assert verdict[zone] != prune.NONE or not rows.any(), (name, text, zone, batch.slice(zone * ZONE, ZONE))
        assert verdict[zone] != prune.ALL or rows.all(), (name, text, zone, batch.slice(zone * ZONE, ZONE))
    return verdict


@pytest.mark.parametrize(("name", "text"), CASES[::7])
def test_no_verdict_contradicts_a_row(name: str, text: str) -> None:
    verdicts(name, text.format(c="c", op=OPERATORS[len(text) % 6]), seed=1)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("name", "text"), CASES)
def test_no_verdict_contradicts_a_row_often(name: str, text: str) -> None:
    for op in OPERATORS:
        for seed in range(6):
            verdicts(name, text.format(c="c", op=op), seed)


def judged(condition: object, kind: pa.DataType, mins: list, maxs: list, nulls: Sequence[int] = ()) -> list[int]:
    count = len(mins)
    bound = evaluate.prepare(condition, pa.schema([("x", kind)]))  # type: ignore[arg-type]
    assert bound is not None
    bounds = [pa.array(values, kind) for values in (mins, maxs)]
    column = ZoneColumn(np.full(count, 10), np.array(nulls or [0] * count), np.zeros(count, int), *bounds)
    return prune.judge_zones(bound, lambda path: column, zones=count).tolist()


DAY = dt.date
YEARS = (
    [DAY(1994, 12, 31), DAY(1995, 1, 1), DAY(1995, 6, 1), DAY(1996, 1, 1)],
    [
        DAY(1994, 12, 31),
        DAY(1995, 12, 31),
        DAY(1996, 3, 1),
        DAY(2000, 1, 1),
    ],
)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("year(x) = 1995", [0, 2, 1, 0]),
        ("EXTRACT(YEAR FROM x) <> 1995", [2, 0, 1, 2]),
        ("date_part('YEAR', x) > 1995", [0, 0, 1, 2]),
        ("1995 >= year(x)", [2, 2, 1, 0]),
        ("NOT (year(x) >= 1996)", [2, 2, 1, 0]),
        ("year(x) BETWEEN 1990 AND 1995", [2, 2, 1, 0]),
        ("year(x) NOT BETWEEN 1990 AND 1995", [0, 0, 1, 2]),
        ("year(x) IN (1994, 1996)", [2, 0, 1, 1]),
        ("year(x) NOT IN (1994, 1996)", [0, 2, 1, 1]),
        ("date_trunc('year', x) = '1995-01-01'", [0, 2, 1, 0]),
        ("CAST(x AS TIMESTAMP) < '1995-06-01 12:00:00'", [2, 1, 1, 0]),
        ("year(x) = 1995 OR x < '1995-01-01'", [2, 2, 1, 0]),
        ("month(x) = 1", [1, 1, 1, 1]),  # does not rise with the day
        ("year(x) = year(x)", [1, 1, 1, 1]),
        ("x + INTERVAL 1 MONTH > '1995-01-01'", [1, 1, 1, 1]),
    ],
)
def test_dates_are_judged_by_what_a_function_makes_of_their_bounds(condition: str, expected: list[int]) -> None:
    assert judged(condition, pa.date32(), *YEARS) == expected


@pytest.mark.parametrize(
    "condition",
    [
        pc.equal(pc.year(pc.field("x")), 1995),
        func("year", col("x")) == 1995,
        col("x").cast(pa.timestamp("us")).between(dt.datetime(1995, 1, 1), dt.datetime(1995, 12, 31)),
    ],
)
def test_expressions_are_judged_as_text_is(condition: object) -> None:
    assert judged(condition, pa.date32(), *YEARS) == [0, 2, 1, 0]


def test_a_zone_with_nulls_or_days_without_a_year_is_never_passed_whole() -> None:
    endless = cells(pa.date32(), [FOREVER])[0]
    mins, maxs = [DAY(1995, 1, 1), DAY(1995, 1, 1), DAY(1994, 1, 1)], [DAY(1995, 2, 1), endless, endless]
    assert judged("year(x) >= 1995", pa.date32(), mins, maxs, [1, 0, 0]) == [1, 1, 1]
    assert judged("NOT (year(x) >= 1995)", pa.date32(), mins, maxs, [1, 0, 0]) == [0, 0, 1]


def test_a_bound_that_duckdb_refuses_leaves_its_zone_to_be_asked() -> None:
    assert judged("CAST(x AS TINYINT) > 5", pa.int64(), [0, 10, 10], [5, 20, 300]) == [0, 2, 1]
    assert judged("TRY_CAST(x AS TINYINT) > 5", pa.int64(), [0, 10, 10], [5, 20, 300]) == [0, 2, 1]


@pytest.mark.parametrize(
    ("kind", "condition"),
    [
        (pa.duration("s"), "x > INTERVAL 40 SECOND"),
        (pa.time32("s"), "x > '00:00:40'"),
        (pa.date64(), "x > '1970-02-10'"),
        (pa.int16(), "x > 25.5"),
        (pa.float32(), "x > 25.123456789123456789"),
        (pa.timestamp("s"), "x > TIMESTAMPTZ '1970-01-01 01:00:40+01'"),
    ],
)
def test_types_and_literals_that_only_duckdb_compares_have_bounds_too(kind: pa.DataType, condition: str) -> None:
    step = 86_400_000 if kind == pa.date64() else 1
    bounds = [cells(kind, [at * step for at in ats]).to_pylist() for ats in ([0, 20, 50], [18, 50, 60])]
    assert judged(condition, kind, *bounds) == [0, 1, 2]


def test_a_uuid_is_found_by_the_bounds_of_its_bytes() -> None:
    bound = evaluate.prepare("x = '00000000-0000-0000-0000-0000000000aa'", pa.schema([("x", pa.uuid())]))
    assert bound is not None
    lows, highs = [bytes(15) + b"\x00", bytes(15) + b"\xab"], [bytes(15) + b"\xaa", b"\xff" * 16]
    column = ZoneColumn(np.full(2, 10), np.zeros(2, int), np.zeros(2, int), pa.array(lows), pa.array(highs))
    assert prune.judge_zones(bound, lambda path: column, zones=2).tolist() == [1, 0]


@pytest.mark.parametrize(
    "text",
    [
        "x = 'today'",
        "x::VARCHAR > '5'",
        "left(x, -1) = 'a'",
        "substr(x, 2, 1) = 'a'",
        "lower(x) = 'a'",
        "x::INTEGER > 5",
    ],
)
def test_values_that_fall_where_text_rises_are_not_judged(text: str) -> None:
    bound = evaluate.prepare(text, pa.schema([("x", pa.string())]))
    assert not isinstance(bound, Opaque) or prune.judged_paths(bound) == frozenset()


def test_a_word_for_a_day_is_not_judged() -> None:
    bound = evaluate.prepare("x = 'today'", pa.schema([("x", pa.date32())]))
    assert isinstance(bound, Opaque)
    assert prune.judged_paths(bound) == frozenset()
