"""Binding: names, literals, and the tree's SQL."""

from __future__ import annotations

import datetime as dt
import pickle
import subprocess
import sys

import duckdb
import pyarrow as pa
import pytest
from filter_cases import conditions, table
from hypothesis import given, settings

from lance_like.errors import InvalidInput, NotFound
from lance_like.query import sql
from lance_like.query.expr import (
    And,
    Compare,
    In,
    Literal,
    Not,
    Opaque,
    all_of,
    any_of,
    bind,
    conjuncts,
    nbytes_of,
    paths,
    room_of,
)

SCHEMA = pa.schema(
    [
        ("id", pa.int32()),
        ("Name", pa.string()),
        ("name", pa.string()),
        ("Size", pa.float64()),
        ("s", pa.struct([("A", pa.int64()), ("in", pa.struct([("x", pa.string())]))])),
        ("s.a", pa.int64()),
        ("day", pa.date32()),
        ("time", pa.timestamp("us")),
        ("l", pa.list_(pa.int64())),
        ("é", pa.int64()),
    ]
)


def bound(text: str):
    return bind(sql.parse(text), SCHEMA)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("ID = 1", ("id",)),
        ("size = 1", ("Size",)),
        ("name = 'x'", ("name",)),
        ("Name = 'x'", ("Name",)),
        ("S.a = 1", ("s", "A")),
        ("s.IN.X = 'x'", ("s", "in", "x")),
        ('"s.a" = 1', ("s.a",)),
        ("lower(NAME || Name) = 'x'", None),
        ("É = 1", None),
    ],
)
def test_names_match_as_in_duckdb(text: str, path: tuple[str, ...] | None) -> None:
    if path is None:
        with pytest.raises((NotFound, InvalidInput)):
            bound(text)
    else:
        assert paths(bound(text)) == {path}


def test_an_unknown_name_shows_the_nearest() -> None:
    with pytest.raises(NotFound, match="'Size'"):
        bound("Sise = 1")
    with pytest.raises(NotFound, match="'A'"):
        bound("s.B = 1")
    with pytest.raises(NotFound, match="'id'"):
        bound("abs(idd) = 1")
    with pytest.raises(NotFound, match="no fields"):
        bound("id.x = 1")


def test_a_lambda_parameter_that_is_a_column_too_is_read() -> None:
    assert paths(bound("list_filter(l, lambda id: id > 1) = [1]")) == {("l",), ("id",)}
    assert paths(bound("list_filter(l, lambda zz: zz > 1) = [1]")) == {("l",)}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("id = 2", pa.scalar(2, pa.int32())),
        ("id = 2.0", pa.scalar(2, pa.int32())),
        ("id = 2e0", pa.scalar(2, pa.int32())),
        ("size = 1", pa.scalar(1.0)),
        ("size = 0.1", pa.scalar(0.1)),
        ("day = '2020-01-01'", pa.scalar(dt.date(2020, 1, 1))),
        ("day = timestamp '2020-01-01'", pa.scalar(dt.date(2020, 1, 1))),
        ("time = '2020-01-01'", pa.scalar(dt.datetime(2020, 1, 1))),
        ("time = date '2020-01-01'", pa.scalar(dt.datetime(2020, 1, 1))),
        ("time = '2020-01-01 00:00:00.5'", pa.scalar(dt.datetime(2020, 1, 1, 0, 0, 0, 500_000))),
    ],
)
def test_a_literal_takes_the_type_of_its_column(text: str, value: pa.Scalar) -> None:
    condition = bound(text)
    assert isinstance(condition, Compare)
    assert condition.value.type == value.type
    assert condition.value == value


@pytest.mark.parametrize(
    "text",
    [
        "id = 1.5",
        "id = 2147483648",
        "id = '1'",
        "size = 9007199254740993",
        "size = 0.12345678901234567",
        "day = '2020-01-01 10:00:00'",
        "day = timestamp '2020-01-01 10:00:00'",
        "day = '2020-02-30'",
        "time = '2020-01-01 10:00:00.1234567'",
        "name = 5",
        "id in (1, 2147483648)",
        "l = [1]",
        "s = {'A': 1}",
        "id",
        "id like 'x'",
    ],
)
def test_a_literal_that_cannot_be_cast_exactly_is_left_to_duckdb(text: str) -> None:
    condition = bound(text)
    assert isinstance(condition, Opaque)
    assert len(condition.columns) == 1


def test_a_comparison_with_null_is_unknown() -> None:
    assert bound("l = null") == Literal(None)


def test_ands_and_ors_are_flat() -> None:
    a, b, c = (Compare("=", ("id",), pa.scalar(n)) for n in range(3))
    assert all_of([a, all_of([b, c])]) == And((a, b, c))
    assert conjuncts(And((And((a, b)), c))) == (a, b, c)
    assert all_of([a]) is a
    assert (all_of([]), any_of([])) == (Literal(True), Literal(False))


ORACLE = duckdb.connect(config={"threads": 1})
ORACLE.execute("SET TimeZone = 'UTC'")


@settings(max_examples=20, deadline=None, derandomize=True)
@given(conditions())
def test_the_sql_of_a_bound_condition_means_the_same(condition: str) -> None:
    batch = table(1)
    once = bind(sql.parse(condition), batch.schema)
    again = bind(sql.parse(str(once)), batch.schema)
    ORACLE.register("t", pa.Table.from_batches([batch]))
    query = "SELECT ({})::BOOLEAN FROM t"
    try:
        expected = ORACLE.execute(query.format(condition)).fetchall()
    except duckdb.Error:
        return
    assert ORACLE.execute(query.format(once)).fetchall() == expected
    assert ORACLE.execute(query.format(again)).fetchall() == expected


@settings(max_examples=20, deadline=None, derandomize=True)
@given(conditions())
def test_binding_and_pickling_change_nothing_more(condition: str) -> None:
    schema = table(1).schema
    once = bind(sql.parse(condition), schema)
    assert str(bind(once, schema)) == str(once)
    assert str(pickle.loads(pickle.dumps(once))) == str(once)


def test_the_tree_loads_without_heavy_libraries() -> None:
    heavy = "('duckdb', 'pandas', 'pyarrow.dataset')"
    code = f"import sys, lance_like.query.expr; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_long_lists_and_long_texts_take_more_room_among_what_is_kept() -> None:
    one = Compare("=", ("id",), pa.scalar(1))
    many = In(("id",), pa.array(range(1 << 18), pa.int64()))
    long = Opaque("x" * (1 << 20), frozenset())
    assert room_of([one, object()]) == room_of([]) == 1
    for condition, nbytes in ((many, 2 << 20), (long, 1 << 20), (And((one, Not(many))), 2 << 20)):
        assert nbytes < nbytes_of(condition) <= nbytes + 1024
    assert room_of([many]) == 9
    assert room_of([Compare("=", ("Name",), pa.scalar("x" * (1 << 20)))]) == 5
