"""Conditions and expressions built in Python: the trees they become, the SQL they are, what they refuse."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import lance_like
from lance_like import col, expr, func, lit, when
from lance_like.errors import InvalidInput, NotFound
from lance_like.query import evaluate, sql
from lance_like.query.expr import BoolColumn, Compare, In, IsNull, Like, Literal, Not

A = col("a")
BATCH = pa.record_batch(
    {
        "a": [1, 2, None, 4],
        "f": [0.5, float("nan"), None, -0.0],
        "t": ["abc", "Ab", None, "a%"],
        "b": [True, False, None, True],
        "l": [[1, 2], [], None, [3]],
        "s": [{"x": 1, "y z": "p"}, {"x": None, "y z": "q"}, None, {"x": 3, "y z": None}],
        "d.e": [1, 2, 3, 4],
    }
)


@pytest.mark.parametrize(
    ("built", "text"),
    [
        (A > 3, "a > 3"),
        (A > 3, "a > 3"),
        (A != 3, "a <> 3"),
        ((A >= 1) & (A <= 2) & ~(A == 3), "a >= 1 and a <= 2 and not (a = 3)"),
        ((A < 1) | (A > 2) | A.is_null(), "a < 1 or a > 2 or a is null"),
        (A.isin([1, 2]), "a in (1, 2)"),
        (A.isin([1, None]), "a in (1, null)"),
        (A.between(1, 2), "a between 1 and 2"),
        (col("t").like("a%"), "t like 'a%'"),
        (col("t").ilike("a!%", "!"), "t ilike 'a!%' escape '!'"),
        (col("t").startswith("a%"), r"t like 'a\%%' escape '\'"),
        (col("s")["x"] == 1, "s.x = 1"),
        (col("s.`y z`") == "p", "s.\"y z\" = 'p'"),
        (col("d.e", "f").is_not_null(), '"d.e".f is not null'),
        (col("b"), "b"),
        (~col("b"), "not b"),
        (col("f") == 0.5, "f = 5e-1"),
        (lit(None) == A, "a = null"),
        (lit(True), "true"),
        (expr("a > 3 or b"), "a > 3 or b"),
    ],
    ids=str,
)
def test_what_is_built_is_the_tree_of_the_same_text(built, text):
    assert built.tree == sql.parse(text)
    assert sql.parse(str(built)) == built.tree


@pytest.mark.parametrize(
    ("built", "expected"),
    [
        (A + 1, [2, 3, None, 5]),
        (10 - A, [9, 8, None, 6]),
        (A / 2, [0.5, 1.0, None, 2.0]),
        (A // 2 * 2, [0, 2, None, 4]),
        (A % 2, [1, 0, None, 0]),
        (-(A**2), [-1.0, -4.0, None, -16.0]),
        (func("lower", col("t")), ["abc", "ab", None, "a%"]),
        (func("concat", col("t"), "'", 1), ["abc'1", "Ab'1", "'1", "a%'1"]),
        (col("l")[0], [1, None, None, 3]),
        (col("l")[-1], [2, None, None, 3]),
        (func("struct_pack", A)["a"], [1, 2, None, 4]),
        (A.cast("VARCHAR"), ["1", "2", None, "4"]),
        (A.cast(pa.float32()), [1.0, 2.0, None, 4.0]),
        (func("upper", col("t")).startswith("AB"), [True, True, None, False]),
        (func("upper", col("t")).isin(["AB", col("t")]), [False, True, None, False]),
        (func("abs", A).between(2, 3), [False, True, None, False]),
        ((A + 1).is_null(), [False, False, True, False]),
        (col("t").rlike("^[Aa]b"), [True, True, None, False]),
        (col("t").contains("%") | col("t").endswith("c"), [True, False, None, True]),
        (col("f") > A, [False, True, None, False]),
        (when(A > 3).then("big").when(A > 1).then("mid").otherwise(col("t")), ["abc", "mid", None, "big"]),
        (when(A > 3).then(1), [None, None, None, 1]),
        (expr("list_transform(l, lambda x: x + a)"), [[2, 3], [], None, [7]]),
        (expr("a + 1") * 2, [4, 6, None, 10]),
        (col("b"), [True, False, None, True]),
        (lit([1, 2]), [[1, 2]] * 4),
        (lit(dt.date(2020, 1, 1)), [dt.date(2020, 1, 1)] * 4),
        (lit(Decimal("1.5")) + A, [Decimal("2.5"), Decimal("3.5"), None, Decimal("5.5")]),
        (A.isin([]), [False] * 4),
        (lit("it's {0}"), ["it's {0}"] * 4),
    ],
    ids=str,
)
def test_what_is_built_computes_a_column(built, expected):
    made = evaluate.compute_columns(evaluate.parse_expressions({"x": built}), BATCH)
    assert made.column(0).to_pylist() == expected


def test_plain_comparisons_are_nodes_that_statistics_can_judge():
    assert (A > 1).tree == Compare(">", ("a",), pa.scalar(1))
    assert A.isin(pa.array([1, 2])).tree == In(("a",), pa.array([1, 2]))
    assert (~col("s", "x").is_null()).tree == Not(IsNull(("s", "x")))
    assert col("t").contains("_").tree == Like(("t",), "%\\_%", "\\")
    assert (lit(False).tree, col("b").tree) == (Literal(False), BoolColumn(("b",)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: bool(A > 1),
        lambda: A > 1 and A < 2,
        lambda: func("sum", A),
        lambda: func("unnest", col("l")),
        lambda: func("lower(", A),
        lambda: expr("a +"),
        lambda: expr("sum(a)"),
        lambda: col(),
        lambda: col(1),
        lambda: lit(object()),
        lambda: A["x", 1],
        lambda: A.cast("INTEGER) + (1"),
        lambda: col("t").like("a", "long") and None,
    ],
)
def test_what_has_no_meaning_is_refused(make):
    with pytest.raises(InvalidInput):
        evaluate.prepare(make() or col("t").like("a", "long"), BATCH.schema)


@pytest.mark.parametrize(
    ("built", "rows"),
    [
        (col("h") == 2**63, [1]),
        (col("h").isin([2**64 - 1, 5]), [0, 2]),
        (col("h").isin([2**63, -5]), [1]),
        (col("h") > 2**64, []),
        (col("h") < 2**70, [0, 1, 2]),
        (col("h") > -(2**70), [0, 1, 2]),
    ],
)
def test_integers_longer_than_63_bits_are_literals(built, rows):
    batch = pa.record_batch({"h": pa.array([5, 2**63, 2**64 - 1, None], pa.uint64())})
    condition = evaluate.prepare(built, batch.schema)
    assert condition is not None
    assert evaluate.select(condition, batch).tolist() == rows


def test_an_unknown_column_is_not_found():
    with pytest.raises(NotFound, match="'a'"):
        evaluate.prepare(func("abs", col("aa")) > 1, BATCH.schema)


def test_built_conditions_and_values_are_taken_wherever_text_is(tmp_path):
    ds = lance_like.write_dataset({"n": [1, 2, 3, 4], "t": ["a", "b", "c", "d"]}, tmp_path / "t", max_rows_per_file=2)
    n = col("n")
    assert ds.to_table(filter=n > 2)["n"].to_pylist() == [3, 4]
    assert ds.count_rows(n > 2) == 2
    assert len(ds.get_fragments(n > 2)) == 1
    columns = {"twice": n * 2, "n": n, "odd": pc.field("n") == 1, "text": "t || n"}
    assert ds.to_table(columns, limit=1).to_pylist() == [{"twice": 2, "n": 1, "odd": True, "text": "a1"}]
    ds.update({"t": func("upper", col("t")), "n": "n + 10"}, where=n == 2)
    ds.update({"n": n * 2}, where=pc.field("n") == 4)
    ds.add_columns({"twice": n * 2, "odd": pc.field("n") == 1, "text": "'x' || t"})
    ds.delete(n.isin([3]))
    found = {"n": [1, 12, 8], "t": ["a", "B", "d"], "twice": [2, 24, 16], "odd": [True, False, False]}
    assert ds.to_table().to_pydict() == {**found, "text": ["xa", "xB", "xd"]}
    merge = (
        ds.merge_insert("n").when_matched_update_all(col("source.t") > col("target.t")).when_not_matched_insert_all()
    )
    merge.execute(ds.to_table().set_column(1, "t", pa.array(["Z", "Z", "z"])))
    assert ds.to_table(["t"])["t"].to_pylist() == ["a", "Z", "z"]
    ds.merge_insert("n").when_not_matched_by_source_delete(n > 10).execute(ds.to_table(limit=1))
    assert ds.count_rows() == 2
