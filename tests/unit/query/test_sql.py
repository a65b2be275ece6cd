"""Filter text: what it is turned into, and what is refused."""

from __future__ import annotations

import decimal

import duckdb
import pyarrow as pa
import pytest

from lance_like.errors import InvalidInput, NotFound
from lance_like.query import engine_duckdb, evaluate, sql
from lance_like.query.expr import And, BoolColumn, Compare, In, IsNull, Like, Literal, Not, Opaque, Or

A, B, ONE, TWO = ("a",), ("b",), pa.scalar(1), pa.scalar(2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = 1", Compare("=", A, ONE)),
        ("a == 1", Compare("=", A, ONE)),
        ("a != 1", Compare("<>", A, ONE)),
        ("1 < a", Compare(">", A, ONE)),
        ("a >= -1", Compare(">=", A, pa.scalar(-1))),
        ("a = 0.10", Compare("=", A, pa.scalar(decimal.Decimal("0.10"), pa.decimal128(2, 2)))),
        ("a = 1e1", Compare("=", A, pa.scalar(10.0))),
        ("a = 18446744073709551615", Compare("=", A, pa.scalar(2**64 - 1, pa.uint64()))),
        ("a = 'it''s'", Compare("=", A, pa.scalar("it's"))),
        ("a = '\\x00\\xff'::blob", Compare("=", A, pa.scalar(b"\x00\xff"))),
        ("a = null", Compare("=", A, pa.scalar(None))),
        ("a = date '1970-01-02'", Compare("=", A, pa.scalar(1, pa.int32()).cast(pa.date32()))),
        ("a = '1970-01-02'::date", Compare("=", A, pa.scalar(1, pa.int32()).cast(pa.date32()))),
        ("a = timestamp '1970-01-01 00:00:01'", Compare("=", A, pa.scalar(10**6, pa.timestamp("us")))),
        (
            "a < date '1970-01-01' + interval 1 month",
            Compare("<", A, pa.scalar(31 * 86_400 * 10**6, pa.timestamp("us"))),
        ),
        ("a", BoolColumn(A)),
        ("not a", Not(BoolColumn(A))),
        ("a is true", And((Not(IsNull(A)), BoolColumn(A)))),
        ("a is not false", Not(And((Not(IsNull(A)), Not(BoolColumn(A)))))),
        ("true", Literal(True)),
        ("null", Literal(None)),
        ("s.a.b = 1", Compare("=", ("s", "a", "b"), ONE)),
        ('"s.a" = 1', Compare("=", ("s.a",), ONE)),
        ('"we""ird" = 1', Compare("=", ('we"ird',), ONE)),
        ("a in (1, 2)", In(A, pa.array([1, 2]))),
        ("a not in (1, 2)", Not(In(A, pa.array([1, 2])))),
        ("a in (1, null)", In(A, pa.array([1, None]))),
        ("a between 1 and 2", And((Compare(">=", A, ONE), Compare("<=", A, TWO)))),
        ("a is null", IsNull(A)),
        ("a is not null", Not(IsNull(A))),
        ("a is distinct from 1", Not(And((Not(IsNull(A)), Compare("=", A, ONE))))),
        ("a is not distinct from null", IsNull(A)),
        ("a like 'x%'", Like(A, "x%")),
        ("a not like 'x%'", Not(Like(A, "x%"))),
        ("a ilike 'x%'", Like(A, "x%", "", True)),
        ("a like '10!%' escape '!'", Like(A, "10!%", "!")),
        ("a = 1 and b = 2", And((Compare("=", A, ONE), Compare("=", B, TWO)))),
        ("a = 1 or (b = 2 and a)", Or((Compare("=", A, ONE), And((Compare("=", B, TWO), BoolColumn(A)))))),
        ("a = 1 -- a comment", Compare("=", A, ONE)),
        ("a = 1;", Compare("=", A, ONE)),
        ("\n a\n=\t1 ", Compare("=", A, ONE)),
    ],
)
def test_known_forms_become_nodes(text: str, expected: object) -> None:
    assert sql.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "part", "columns"),
    [
        ("a = b", "(a = b)", {A, B}),
        ("a % 2 = 0", "((a % 2) = 0)", {A}),
        ("lower(a) = 'x'", "(lower(a) = 'x')", {A}),
        ("a in (1, b)", "(a IN (1, b))", {A, B}),
        ("a in (1, 'x')", "(a IN (1, 'x'))", {A}),
        ("a between 1 and 'x'", "(a BETWEEN 1 AND 'x')", {A}),
        ("a like b", "(a ~~ b)", {A, B}),
        ("a collate nocase = 'x'", "(a COLLATE nocase = 'x')", {A}),
        ("a = 'today'::date", "(a = CAST('today' AS DATE))", {A}),
        ("a = now()", "(a = now())", {A}),
        ("case when a then b end", "CASE  WHEN (a) THEN (b) ELSE NULL END", {A, B}),
        ("l[1] = s.x", "(l[1] = s.x)", {("l",), ("s", "x")}),
        ("'x'", "'x'", set()),
    ],
)
def test_the_rest_is_left_to_duckdb(text: str, part: str, columns: set[tuple[str, ...]]) -> None:
    whole = sql.parse(text)
    assert isinstance(whole, Opaque)
    assert whole.sql.upper() == part.upper()
    assert whole.columns == columns
    assert sql.parse(f"({text}) and b") == And((whole, BoolColumn(B)))
    opposite = sql.parse(f"not ({text})")
    # DuckDB 1 writes some opposites itself: NOT a = b as a != b
    assert opposite == Not(whole) or (isinstance(opposite, Opaque) and opposite.columns == columns)


def test_parameters_of_a_lambda_are_not_columns() -> None:
    condition = sql.parse("list_filter(l, lambda x: x > a) = [1]")
    assert isinstance(condition, Opaque)
    assert condition.columns == {("l",), ("a",)}
    assert condition.maybe == {("x",)}


@pytest.mark.parametrize(
    "text",
    [
        "x = 1; drop table t",
        "1 = 1 group by x",
        "x = 1 union select 1",
        "x = 1 union all by name select 2",
        "x = 1 limit 3",
        "x = 1 order by x",
        "x = 1 having x",
        "x = 1 qualify true",
        "x = 1 using sample 3",
        "x = 1 intersect select 1",
    ],
)
def test_text_that_goes_on_after_the_condition_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="goes on after it"):
        sql.parse(text)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("sum(x) > 1", "the aggregate sum"),
        ("x > 1 and MAX(x) = 2", "the aggregate max"),
        ("count(*) > 1", "the aggregate count"),
        ("row_number() over () = 1", "a window function"),
        ("x = ?", "a parameter"),
        ("x = $1", "a parameter"),
        ("x = $name", "a parameter"),
        ("columns(*) = 1", r"\*"),
        ("unnest(x) = 1", "unnest"),
        ("#1 = 1", "a column by position"),
        ("grouping(x) = 1", "GROUPING"),
    ],
)
def test_what_has_no_value_for_a_row_is_refused(text: str, what: str) -> None:
    with pytest.raises(InvalidInput, match=f"{what}.*no value for a single row"):
        sql.parse(text)


@pytest.mark.parametrize(
    "text", ["", "  \n", "-- nothing", "/* nothing */", "a =", "a = 1) or (b = 2", "a = 1 /* b", "a = x'\u017f 1'"]
)
def test_text_that_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        sql.parse(text)


def test_a_syntax_error_shows_its_place() -> None:
    with pytest.raises(InvalidInput) as caught:
        sql.parse("a = 'é'\n and 日本 = = 1")
    *_, line, caret = str(caught.value).split("\n")
    assert line.lstrip() == "and 日本 = = 1"
    assert line.index("= 1") == caret.index("^")


@pytest.mark.parametrize(
    "text", ["end > 5 and sum(a) > 1", "`end` > 5 and sum(a) > 1", "end > 5 and end < 7 and sum(a) = 0"]
)
def test_the_place_is_right_behind_words_that_were_read_as_names(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        sql.parse(text)
    *_, line, caret = str(caught.value).split("\n")
    assert line[caret.index("^") :].startswith("sum(a)")


def test_an_unknown_column_is_pointed_at_behind_words_that_were_read_as_names() -> None:
    place = sql.unknown_column("end > 5 and nope = 1", pa.schema({"end": pa.int64()}))
    *_, line, caret = place.split("\n")
    assert line[caret.index("^") :] == "nope = 1"


def test_a_syntax_error_far_into_a_line_shows_its_neighbourhood() -> None:
    with pytest.raises(InvalidInput) as caught:
        sql.parse(" and ".join(["a = 1"] * 100) + " and = 1")
    *_, line, caret = str(caught.value).split("\n")
    assert len(line) < 120
    assert line[caret.index("^") :] == "= 1"


def test_a_filter_nested_too_deeply_is_refused() -> None:
    with pytest.raises(InvalidInput):
        sql.parse("not " * 900 + "a")
    with pytest.raises(InvalidInput):
        sql.parse("not " * 5000 + "a")
    with pytest.raises(InvalidInput):
        evaluate.parse_expressions({"n": "abs(" * 900 + "a" + ")" * 900})


def test_a_long_or_is_read() -> None:
    condition = sql.parse(" or ".join(f"a = {number}" for number in range(2000)))
    assert isinstance(condition, Or)
    assert len(condition.children) == 2000


def test_lone_surrogates_are_invalid_input() -> None:
    with pytest.raises(InvalidInput):
        sql.parse("a = '\ud800'")


@pytest.mark.skipif(duckdb.__version__ < "2", reason="DuckDB 1 reads x'00ff' as a text")
def test_hexadecimal_bytes_are_read() -> None:
    assert sql.parse("a = x'00ff'") == Compare("=", A, pa.scalar(b"\x00\xff"))


@pytest.mark.parametrize("text", ["1e0", "a * 1e0", "0.1e0", "1e-7", "a * 1.", "0.10", "a // 2e0", "a = 1 and true"])
def test_what_duckdb_writes_back_has_the_type_of_what_was_written(text: str) -> None:
    batch = pa.record_batch({"a": [3, None]})
    computed = evaluate.parse_expressions({"n": text})["n"]
    expected = engine_duckdb.evaluate({"n": text}, batch)
    assert engine_duckdb.evaluate({"n": computed.sql}, batch).equals(expected)


def test_computed_columns_name_what_they_read() -> None:
    computed = evaluate.parse_expressions({"n": "a + s.b", "m": "list_transform(l, lambda x: x + a)", "one": "1"})
    assert {name: set(one.columns) for name, one in computed.items()} == {
        "n": {A, ("s", "b")},
        "m": {A, ("l",)},
        "one": set(),
    }
    assert computed["m"].maybe == {("x",)}


def test_the_columns_that_expressions_read_are_spelled_as_in_the_schema() -> None:
    schema = pa.schema([("L", pa.list_(pa.int64())), ("A", pa.int64()), ("b", pa.int64()), ("x", pa.int64())])
    computed = evaluate.parse_expressions({"n": "b + A", "m": "list_transform(l, lambda y: y + a)", "o": "B"})
    assert evaluate.columns_read(evaluate.bind_columns(computed, schema).values(), schema) == ["L", "A", "b"]
    with pytest.raises(NotFound):
        evaluate.bind_columns(evaluate.parse_expressions({"n": "c"}), schema)


@pytest.mark.parametrize(
    "text",
    ["a as b", "a, b", "a from t", "a where b", "*", "sum(a)", "(select a from t)", "a; drop table t", "", "a +"],
)
def test_what_is_not_one_expression_per_row_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        evaluate.parse_expressions({"n": text})


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("end > 5", '"end" > 5'),
        ("left > 5 AND right < 9", '"left" > 5 AND "right" < 9'),
        ("binary = X'05' OR Order IN (1, 2)", '"binary" = X\'05\' OR "Order" IN (1, 2)'),
        ("näme = 'é' AND lower(group) = 'end'", "näme = 'é' AND lower(\"group\") = 'end'"),
        ("CASE WHEN end > 3 THEN 1 ELSE 0 END = 1", 'CASE WHEN "end" > 3 THEN 1 ELSE 0 END = 1'),
        ("NOT all", 'NOT "all"'),
        ("binary IS NULL AND NOT end = 1", '"binary" IS NULL AND NOT "end" = 1'),
        ("left BETWEEN 1 AND 2 OR right LIKE 'x%'", '"left" BETWEEN 1 AND 2 OR "right" LIKE \'x%\''),
        ("all IN (1, 2)", '"all" IN (1, 2)'),
    ],
)
def test_columns_may_be_called_as_words_of_sql_are(text: str, quoted: str) -> None:
    assert sql.parse(text) == sql.parse(quoted)
    assert sql.parse_expression(text, "value").columns == sql.parse_expression(quoted, "value").columns


@pytest.mark.parametrize(
    "text", ["a = 1 and", "where a = 1", "a = 1 group", "select a", "a = 1 or or b = 2", "a b c = 'end"]
)
def test_an_error_shows_the_text_as_it_was_given(text: str) -> None:
    with pytest.raises(InvalidInput, match="cannot parse the filter") as caught:
        sql.parse(text)
    assert f"\n  {text}\n" in str(caught.value)
