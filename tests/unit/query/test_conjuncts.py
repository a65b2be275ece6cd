"""The parts of a condition, in the order in which a scan asks them."""

from __future__ import annotations

import pyarrow as pa
import pytest

from lance_like.query import evaluate
from lance_like.query.conjuncts import split
from lance_like.table.schema import Schema

SCHEMA = pa.schema(
    {
        "a": pa.int64(),
        "b": pa.int64(),
        "narrow": pa.int8(),
        "flag": pa.bool_(),
        "text": pa.string(),
        "other": pa.string(),
    }
)


def asked(text: str) -> list[str]:
    """The columns of the tests that a condition becomes, in order."""
    condition = evaluate.prepare(text, SCHEMA)
    assert condition is not None
    fields = {field.name: field for field in Schema.from_arrow(SCHEMA, 0)[0].children()}
    return [test.field.name for test in split(condition, fields).tests]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("a > 5 AND b = 7", ["b", "a"]),  # one value leaves fewer rows than one side of a bound
        ("b = 7 AND a > 5", ["b", "a"]),
        ("a <> 5 AND b > 7", ["b", "a"]),
        ("a > 5 AND b BETWEEN 7 AND 9", ["b", "a"]),
        ("a > 5 AND b IN (7, 8)", ["b", "a"]),
        ("a IS NOT NULL AND b > 7", ["b", "a"]),
        ("NOT (a = 5) AND b = 7", ["b", "a"]),
        ("(a = 5 OR a > 7) AND b > 7", ["b", "a"]),
        ("a > 5 AND narrow > 7", ["narrow", "a"]),  # as many rows, fewer bytes
        ("text = 'x' AND a > 5", ["a", "text"]),  # text costs more than a bound leaves over
        ("text LIKE 'x%' AND other = 'x' AND a > 5", ["a", "other", "text"]),
        ("text = 'x' AND a <> 5", ["text", "a"]),  # hardly a row is left out by the number
        ("a > 5 AND b > 7", ["a", "b"]),  # alike: as written
    ],
)
def test_what_leaves_out_a_row_at_the_least_cost_is_asked_first(condition: str, expected: list[str]) -> None:
    assert asked(condition) == expected


def test_what_may_fail_is_asked_last() -> None:
    condition = evaluate.prepare("100 // a = 5 AND a <> 0 AND a + b > 5", SCHEMA)
    assert condition is not None
    fields = {field.name: field for field in Schema.from_arrow(SCHEMA, 0)[0].children()}
    parts = split(condition, fields)
    assert [str(test.condition) for test in parts.tests] == ['"a" <> 0']
    assert parts.rest is not None
    assert "//" in str(parts.rest)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("text = 'abc'", (b"abc", True)),
        ("text = 'ä%'", ("ä%".encode(), True)),
        ("text LIKE 'abc%'", (b"abc", False)),
        ("text LIKE 'abc%%'", (b"abc", False)),
        ("text LIKE 'abc'", (b"abc", True)),
        ("text LIKE '%'", (b"", False)),
        ("text LIKE 'a_c%'", None),
        ("text LIKE '%abc'", None),
        ("text LIKE 'a%c%'", None),
        ("text ILIKE 'abc%'", None),
        (r"text LIKE 'a\%%' ESCAPE '\'", None),
        ("text <> 'abc'", None),
        ("text >= 'abc'", None),
        ("text = 'abc' OR text = 'd'", None),
        ("NOT (text = 'abc')", None),
        ("a = 5", None),
    ],
)
def test_what_texts_must_begin_with_is_told(condition: str, expected: tuple[bytes, bool] | None) -> None:
    bound = evaluate.prepare(condition, SCHEMA)
    assert bound is not None
    fields = {field.name: field for field in Schema.from_arrow(SCHEMA, 0)[0].children()}
    [test] = split(bound, fields).tests
    assert test.test.beginning == expected
