"""Functions of pyarrow expressions: each means what pyarrow's documentation says, where DuckDB means the same."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pytest

from lance_like.query import evaluate
from lance_like.query.arrow_expr import expression_from_arrow
from lance_like.query.arrow_tree import Call, decode, options_of

N = float("nan")
BATCH = pa.record_batch(
    {
        "i": pa.array([1, 2, None, -4, 5], pa.int32()),
        "j": pa.array([3, 1, 2, None, 2], pa.int32()),
        "f": [0.5, N, None, -0.0, 2.5],
        "g": [1.5, -2.5, N, 2.0, None],
        "t": ["a b", "Ab%c", None, "", " x,y "],
        "b": [True, False, None, True, False],
        "c": [None, True, False, False, True],
        "d": pa.array([dt.date(2020, 2, 29), dt.date(1969, 12, 31), None, dt.date(2024, 1, 1), dt.date(2023, 1, 1)]),
        "ts": pa.array([0, 10**15 + 123456, None, -1, 10**9], pa.timestamp("us")),
        "ts2": pa.array([10**14, 10**15, None, 1, 10**9 * 7], pa.timestamp("us")),
        "l": [[1, 2], [], None, [3], [4, None, 6]],
        "s": [{"a": 1, "x": "p"}, {"a": None, "x": "q"}, None, {"a": 3, "x": None}, {"a": 4, "x": "p"}],
        "m": pa.array([[("k", 1)], [("z", 3)], None, [], [("k", None)]], pa.map_(pa.string(), pa.int64())),
        "bin": [b"a", b"", None, b"\x00\xff", b"z"],
        "dec": pa.array([Decimal("1.25"), Decimal("-2.35"), None, Decimal(0), Decimal("9.99")], pa.decimal128(9, 2)),
    }
)

f, C = pc.field, pc.Expression._call

# By pyarrow too, so that a wrong translation shows; what only pyarrow has is computed by it.
ALIKE = [
    f("i") + 1,
    f("i") - f("j"),
    f("i") * 2,
    C("divide", [f("f"), pc.scalar(2.0)]),
    pc.negate(f("i")),
    pc.abs(f("f")),
    pc.sign(f("i")),
    pc.sqrt(f("g")),
    pc.exp(f("f")),
    pc.ln(f("f")),
    pc.log10(f("f")),
    pc.logb(f("f"), 2.0),
    pc.log1p(f("f")),
    pc.sin(f("f")),
    pc.atan2(f("f"), f("g")),
    pc.floor(f("g")),
    pc.ceil(f("g")),
    pc.trunc(f("g")),
    pc.round(f("g")),
    pc.round(f("g"), 0, "half_towards_infinity"),
    pc.round(f("g"), 0, "up"),
    pc.bit_wise_and(f("i"), f("j")),
    pc.bit_wise_or(f("i"), 3),
    pc.bit_wise_xor(f("i"), 3),
    pc.bit_wise_not(f("i")),
    pc.shift_left(f("j"), 1),
    pc.shift_right(f("j"), 1),
    pc.is_nan(f("f")),
    pc.is_inf(f("f")),
    pc.is_finite(f("f")),
    f("b") & f("c"),
    f("b") | f("c"),
    C("and", [f("b"), f("c")]),
    C("or", [f("b"), f("c")]),
    C("and_not", [f("b"), f("c")]),
    C("and_not_kleene", [f("b"), f("c")]),
    C("xor", [f("b"), f("c")]),
    ~f("b"),
    C("true_unless_null", [f("i")]),
    pc.if_else(f("b"), f("i"), f("j")),
    C(
        "case_when",
        [C("make_struct", [f("b"), f("c")], pc.MakeStructOptions(["0", "1"])), f("i"), f("j"), pc.scalar(9)],
    ),
    C("choose", [pc.scalar(1), f("i"), f("j")]),
    pc.coalesce(f("i"), f("j")),
    f("t").isin(["a b", None]),
    pc.index_in(f("i"), value_set=pa.array([5, 2])),
    pc.max_element_wise(f("i"), f("j")),
    pc.min_element_wise(f("i"), f("j"), skip_nulls=False),
    pc.utf8_lower(f("t")),
    pc.utf8_upper(f("t")),
    pc.utf8_length(f("t")),
    pc.binary_length(f("bin")),
    pc.starts_with(f("t"), "A"),
    pc.starts_with(f("t"), "a", ignore_case=True),
    pc.ends_with(f("t"), "c"),
    pc.match_substring(f("t"), "b"),
    pc.match_substring(f("t"), "B", ignore_case=True),
    pc.match_substring_regex(f("t"), "^a.b"),
    pc.match_substring_regex(f("t"), "AB", ignore_case=True),
    pc.match_like(f("t"), "%b\\%%"),
    pc.match_like(f("t"), "a%", ignore_case=True),
    pc.replace_substring(f("t"), "b", "Q"),
    pc.replace_substring(f("t"), "b", "Q", max_replacements=1),
    pc.replace_substring_regex(f("t"), "([ab])", r"<\1>"),
    pc.replace_substring_regex(f("t"), "[ab]", "Q", max_replacements=1),
    pc.split_pattern(f("t"), " "),
    pc.split_pattern(f("t"), " ", max_splits=1),
    pc.split_pattern_regex(f("t"), "[ ,]"),
    pc.utf8_trim(f("t"), " "),
    pc.utf8_ltrim(f("t"), " "),
    pc.utf8_rtrim(f("t"), " "),
    pc.utf8_trim_whitespace(f("t")),
    pc.utf8_slice_codeunits(f("t"), 1, 3),
    pc.utf8_slice_codeunits(f("t"), 1),
    pc.utf8_slice_codeunits(f("t"), -2),
    pc.utf8_reverse(f("t")),
    pc.utf8_center(f("t"), 9),
    pc.binary_join_element_wise(f("t"), f("t"), "-"),
    pc.count_substring(f("t"), "b"),
    pc.find_substring(f("t"), "b"),
    pc.extract_regex(f("t"), r"(?P<q>[ab])"),
    pc.binary_repeat(f("t"), 2),
    pc.year(f("ts")),
    pc.month(f("d")),
    pc.day(f("d")),
    pc.hour(f("ts")),
    pc.minute(f("ts")),
    pc.second(f("ts")),
    pc.millisecond(f("ts")),
    pc.microsecond(f("ts")),
    pc.nanosecond(f("ts")),
    pc.subsecond(f("ts")),
    pc.quarter(f("d")),
    pc.day_of_week(f("d")),
    pc.day_of_week(f("d"), count_from_zero=False, week_start=7),
    pc.day_of_week(f("d"), week_start=3),
    pc.day_of_year(f("d")),
    pc.iso_week(f("d")),
    pc.iso_year(f("d")),
    pc.floor_temporal(f("ts"), unit="hour"),
    pc.floor_temporal(f("ts"), unit="week"),
    pc.floor_temporal(f("ts"), 2, unit="hour"),
    pc.days_between(f("ts"), f("ts2")),
    pc.years_between(f("ts"), f("ts2")),
    pc.hours_between(f("ts"), f("ts2")),
    pc.seconds_between(f("ts"), f("ts2")),
    pc.is_leap_year(f("d")),
    pc.strftime(f("ts"), "%Y-%m"),
    pc.ceil_temporal(f("ts"), unit="day"),
    pc.list_value_length(f("l")),
    pc.list_slice(f("l"), 0, 2),
    pc.list_slice(f("l"), 1),
    pc.struct_field(f("s"), "a"),
    pc.struct_field(f("s"), [0]),
    C("make_struct", [f("i"), f("t")], pc.MakeStructOptions(["x", "y z"])),
    pc.map_lookup(f("m"), pa.scalar("k"), "first"),
    pc.map_lookup(f("m"), pa.scalar("k"), "all"),
    f("i").cast(pa.float64()),
    f("i").cast(pa.string()),
    f("d").cast(pa.timestamp("ms")),
    f("ts").cast(pa.date32()),
    f("i").cast(pa.decimal128(12, 1)),
    f("l").cast(pa.list_(pa.int32())),
    f("t").cast(pa.binary()),
    f("i").cast(pa.large_string()),
    f("i") == pa.scalar(None, pa.int32()),
    f("ts") == pa.scalar(-1, pa.timestamp("us")),
]


def computed(expression: pc.Expression) -> pa.Array:
    return evaluate.compute_columns(evaluate.parse_expressions({"x": expression}), BATCH).column(0)


@pytest.mark.parametrize("expression", ALIKE, ids=lambda expression: str(expression)[:60])
def test_a_function_gives_what_pyarrow_gives(expression: pc.Expression) -> None:
    expected = pads.dataset(pa.Table.from_batches([BATCH])).to_table(columns={"x": expression})["x"]
    assert repr(computed(expression).to_pylist()) == repr(expected.to_pylist())


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (C("divide", [f("i"), pc.scalar(2)]), [0.5, 1.0, None, -2.0, 2.5]),
        (pc.max_element_wise(f("f"), f("g")), [1.5, N, N, 2.0, 2.5]),
        (f("f").isin([N, 0.0]), [False, True, False, True, False]),
        (f("g") > f("f"), [True, False, None, True, None]),
        (f("g").cast(pa.string()), ["1.5", "-2.5", "nan", "2.0", None]),
        (pc.scalar(2.5).cast(pa.int32()), [2] * 5),
        (f("l") == pa.scalar([3]), [False, False, None, True, False]),
        (f("s") == pa.scalar({"a": 3, "x": None}), [False, False, None, True, False]),
    ],
    ids=str,
)
def test_where_duckdb_means_something_else_it_decides(expression: pc.Expression, expected: list[object]) -> None:
    assert repr(computed(expression).to_pylist()) == repr(expected)


def test_floats_that_a_function_of_pyarrow_gives_are_compared_as_duckdb_does() -> None:
    expression = pc.log1p(f("f")) > 10.0
    assert computed(expression).to_pylist() == [False, True, None, False, False]
    bound = evaluate.prepare(expression, BATCH.schema)
    assert bound is not None
    assert evaluate.select(bound, BATCH).tolist() == [1]


def test_the_options_of_a_call_come_back_as_they_were_given() -> None:
    node = decode(pc.utf8_center(f("t"), 9, padding="*"))
    assert isinstance(node, Call)
    assert options_of(node) == pc.PadOptions(9, "*")


def test_only_columns_that_are_read_are_named() -> None:
    assert expression_from_arrow(pc.utf8_center(f("t"), 9) == f("s", "x")).columns == {("t",), ("s", "x")}
