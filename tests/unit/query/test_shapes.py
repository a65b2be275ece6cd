"""Texts that differ in literals alone: read as the parser reads each, and which of them it is asked about."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from lance_like.errors import InvalidInput
from lance_like.query import sql
from lance_like.query.expr import Expr
from lance_like.query.shapes import Shapes

# Each with literals in the places of {}, which stand for one another.
FILLED = [
    "a = {}",
    "{} < a",
    "a >= {} AND a < {}",
    "NOT (a <> {} OR b = {})",
    'a BETWEEN {} AND {} AND "odd {name}" = {}',
    "a IS DISTINCT FROM {}",
    "s.x = {} AND flag AND b IS NOT NULL AND d = 1e3 AND e <> 007",
    "a IN ({}, {}, {})",
    "a NOT IN ({})",
    "a = -{} OR b IN (-{}, {})",
    "array_has(a, {}) AND NOT list_has_any(b, [{}, {}])",
    "contains(a, {}) OR b @> [{}] OR [{}, {}] && c",
    "year(day) = 2020.50000000000000000000000 or a = {}",
]
OF_TEXTS = [
    "a LIKE {} AND b NOT ILIKE {}",
    "a LIKE {} ESCAPE '!'",
    "starts_with(a, {}) OR a ^@ {}",
]
OF_DATES = [
    "a >= date {} AND b < DATE\n{}",
    "DATE {} = d OR d IN (date {}, date {})",
    "a BETWEEN timestamp {} AND TIMESTAMP {}",
]
ODD = [
    "a + {} = {}",
    "a = {} COLLATE nocase OR a = {}",
    "t.date = {} AND t.timestamp <> {} AND date > {}",
    "xdate {} = {}",
    "a = time\u017ftamp {} OR a = time {}",
    "a = date\xa0{}",
    'a."date" {} = b',
    "a[{}] = {}",
    "substring(a, {}, {}) = {}",
    "a = {}::int AND b = CAST({} AS decimal(10, 2))",
    "a = date {} OR a = timestamp {}",
    "a < interval {} day OR {} = {}",
    "a = {} -- {}\nOR b = {}",
    "a = /* {} */ {}",
    "a = {} {}",
    "a = {}\n{}",
    "a={}b={}",
    "a = E{} OR b = x{}",
    "a = $${}$$ OR b = ${}",
    'a = {} AND "b = {}',
    "`a` = {} AND `{}` = {}",
    "array_has(a, {}) AND contains(b, {})",
    "CASE WHEN a = {} THEN {} ELSE {} END = {}",
    "a = {} AND (SELECT {}) = {}",
    "a IN ({}, null)",
    "a IN ({}, 1e0)",
    "a = {}e1 OR a = 0x{} OR a = {}_0 OR a = .{} OR a{} = {}",
    "a BETWEEN {} AND b",
    "{}",
    "a = {};",
    "a = {} GROUP BY {}",
    "€{} = {}",
    "json_extract(a, {}) = {} AND a -> {} = {}",
    "a LIKE {} || '%'",
]
WHOLE = ["0", "1", "7", "42", "700000000", "2147483647", "2147483648", "4294967296", "999999999999999999"]
POINT = ["0.0", "0.10", "1.50", "123.456", "700000000.5", "0.000000000000000001", "999999999999999999.9"]
TEXT = ["''", "'a'", "'it''s'", "''''", "'%'", "'a_b\\%'", "'0'", "'1.5'", "'2020-02-29'", "'2020-02-29 12:00:00'"]
TEXT += [
    "'true'",
    "'--'",
    "'/*'",
    "'日本 x'",
    "'\n'",
    "'`'",
    "'unlike 0'",
    "'unlike 1'",
    "'$1'",
    "'\"'",
    "'null'",
    "'!'",
]
DATES = ["'2020-02-29'", "'0001-01-01'", "'9999-12-31'", "'1234-05-06'", "'1970-01-01'"]
MOMENTS = [*DATES, "'2020-02-29T12:00:00'", "'1234-05-06 00:00:01'", "'1969-12-31 23:59:59.999999'"]
STRANGE = [
    "1e5",
    "007",
    ".5",
    "5.",
    "1_000",
    "0x1f",
    "null",
    "true",
    "9999999999999999999",
    "1.1111111111111111111",
    "a",
]


class Asked:
    """The parser, and the texts that it was asked about."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, text: str) -> Expr:
        self.texts.append(text)
        return sql.parsed(text)


def said(read: Callable[[str], Expr], text: str) -> Expr | str:
    try:
        return read(text)
    except InvalidInput as error:
        return error.message


def of_shape(shape: str, kinds: list[list[str]], random: random.Random) -> str:
    """A text of a shape: places of it have literals of one kind or another."""
    parts = shape.split("{}")
    return parts[0] + "".join(random.choice(random.choice(kinds)) + part for part in parts[1:])


CASES = [*((shape, [WHOLE, POINT]) for shape in FILLED), *((shape, [TEXT]) for shape in FILLED if "-" not in shape)]
CASES += [*((shape, [TEXT]) for shape in OF_TEXTS), *((shape, [DATES]) for shape in OF_DATES)]
CASES += [("a > timestamp {} AND NOT b = TIMESTAMP {}", [MOMENTS])]


@pytest.mark.parametrize(("shape", "kinds"), CASES)
def test_a_shape_that_was_seen_twice_is_parsed_no_more(shape, kinds):
    chance = random.Random(shape)
    for kind in kinds:
        asked = Asked()
        shapes = Shapes(asked)
        for _ in range(2):
            shapes.read(of_shape(shape, [kind], chance))
        asked.texts.clear()
        texts = [of_shape(shape, [kind], chance) for _ in range(8)]
        found = [shapes.read(text) for text in texts]
        assert not asked.texts
        assert found == [sql.parsed(text) for text in texts]


@pytest.mark.parametrize("shape", FILLED + OF_TEXTS + OF_DATES + ODD)
def test_texts_are_read_as_the_parser_reads_them(shape):
    chance = random.Random(shape)
    shapes = Shapes(sql.parsed)
    every = [[WHOLE], [POINT], [TEXT], [DATES, MOMENTS], [WHOLE, POINT, TEXT, MOMENTS, STRANGE]]
    texts = [of_shape(shape, kinds, chance) for kinds in every for _ in range(5)]
    for text in texts:
        assert said(shapes.read, text) == said(sql.parsed, text), text
