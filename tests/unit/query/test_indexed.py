from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from lance_like.index.questions import Contains, HasAll, HasAny, IsNull, Like, Matches, OneOf, Range, StartsWith
from lance_like.query.evaluate import prepare
from lance_like.query.indexed import AllOf, AnyOf, Ask, FilterIndex, Lookup, Tree, plan_lookup
from lance_like.table.indices import JsonPath
from tests.plain_index import Plain

SCHEMA = pa.schema(
    {
        "i": pa.int32(),
        "f": pa.float32(),
        "d": pa.float64(),
        "half": pa.float16(),
        "t": pa.string(),
        "code": pa.dictionary(pa.int32(), pa.string()),
        "dec": pa.decimal32(5, 2),
        "flag": pa.bool_(),
        "tags": pa.list_(pa.field("element", pa.string())),
        "numbers": pa.large_list(pa.int64()),
        "s": pa.struct({"n": pa.int64()}),
        "j": pa.string(),
        "free": pa.int64(),
    }
)


def lookup(text: str, plugin: Plain | None = None, **json: JsonPath) -> Lookup | None:
    plugin = plugin or Plain([])

    def indexes(path: tuple[str, ...]) -> list[FilterIndex]:
        if path == ("free",):
            return []
        kind = SCHEMA.field(path[0]).type
        kind = kind.field(path[1]).type if len(path) > 1 else kind
        places = [None, *json.values()] if path == ("j",) else [None]
        return [FilterIndex(str(path), plugin, one.value_type if one else kind, {}, one) for one in places]

    condition = prepare(text, SCHEMA)
    assert condition is not None
    return plan_lookup(condition, indexes)


def tree(text: str, plugin: Plain | None = None, **json: JsonPath) -> Tree:
    """The tree of a condition of one part, which is answered exactly."""
    found = lookup(text, plugin, **json)
    assert found is not None and found.rest == ()
    [answered] = found.answered
    assert answered.exact
    return answered.tree


def shown(asked: Tree) -> Any:
    """A tree as tuples."""
    match asked:
        case Ask(_, question, opposite):
            name = type(question).__name__
            return ("not " + name if opposite else name, *map(_plain, _members(question)))
        case AllOf(sets):
            return ("all", *map(shown, sets))
        case AnyOf(sets):
            return ("any", *map(shown, sets))


def _members(question: Any) -> list[Any]:
    return [getattr(question, name) for name in question.__dataclass_fields__]


def _plain(value: Any) -> Any:
    return (
        value.to_pylist() if isinstance(value, pa.Array) else value.as_py() if isinstance(value, pa.Scalar) else value
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("i = 5", (OneOf, [5])),
        ("i <> 5", ("not OneOf", [5])),
        ("NOT (i = 5)", ("not OneOf", [5])),
        ("NOT (i < 5)", (Range, 5, None, True, True)),
        ("i > 5", (Range, 5, None, False, True)),
        ("5 >= i", (Range, None, 5, True, True)),
        ("i BETWEEN 1 AND 3", (Range, 1, 3, True, True)),
        ("i > 1 AND i < 3", (Range, 1, 3, False, False)),
        ("i IN (1, 2)", (OneOf, [1, 2])),
        ("i IN (1, NULL)", (OneOf, [1])),
        ("i NOT IN (1, NULL)", ("any",)),
        ("i NOT IN (1, 2)", ("not OneOf", [1, 2])),
        ("i IS NULL", (IsNull,)),
        ("i IS NOT NULL", ("not IsNull",)),
        ("flag", (OneOf, [True])),
        ("NOT flag", (OneOf, [False])),
        ("t LIKE 'a'", (OneOf, ["a"])),
        ("t LIKE 'a%'", (StartsWith, "a")),
        ("starts_with(t, 'a%')", (StartsWith, "a%")),
        ("t LIKE '%a%'", (Contains, "a")),
        ("t LIKE 'a_b'", (Like, "a_b", None, False)),
        ("t ILIKE 'a%'", (Like, "a%", None, True)),
        ("t LIKE 'a!%' ESCAPE '!'", (OneOf, ["a%"])),
        ("contains(t, 'x')", (Contains, "x")),
        ("regexp_matches(t, 'x.')", (Matches, "x.", False)),
        ("t ~ 'x.'", (Matches, "x.", False)),
        ("t SIMILAR TO 'x.'", (Matches, "x.", True)),
        ("NOT contains(t, 'x')", ("not Contains", "x")),
        ("code = 'a'", (OneOf, ["a"])),
        ("s.n = 5", (OneOf, [5])),
        ("S.N = 5", (OneOf, [5])),
        ("list_contains(tags, 'a')", (HasAny, ["a"])),
        ("array_has(numbers, 3)", (HasAny, [3])),
        ("array_has_any(tags, ['a', 'b'])", (HasAny, ["a", "b"])),
        ("tags && ['a']", (HasAny, ["a"])),
        ("numbers @> [1, 2]", (HasAll, [1, 2])),
        ("NOT list_has_all(tags, ['a'])", ("not HasAll", ["a"])),
        ("i = 1 OR t = 'a'", ("any", ("OneOf", [1]), ("OneOf", ["a"]))),
        ("NOT (i <> 1 AND t <> 'a')", ("any", ("OneOf", [1]), ("OneOf", ["a"]))),
        ("NOT (i = 1 OR t = 'a')", ("all", ("not OneOf", [1]), ("not OneOf", ["a"]))),
    ],
)
def test_a_condition_becomes_a_question(text, expected):
    named = (expected[0] if isinstance(expected[0], str) else expected[0].__name__, *expected[1:])
    assert shown(tree(text)) == named


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("f < 0.1::DOUBLE", ("Range", None, 0.09999999403953552, True, True)),
        ("f >= 0.1::DOUBLE", ("Range", 0.10000000149011612, None, True, True)),
        ("f = 0.1::DOUBLE", ("any",)),
        ("f <> 0.1::DOUBLE", ("not IsNull",)),
        ("half > 0.1::FLOAT", ("Range", 0.10003662109375, None, True, True)),
        ("half IN (0.5::FLOAT, 0.1::FLOAT)", ("OneOf", [0.5])),
        ("dec = 1.5", ("OneOf", [pa.scalar("1.50").cast(pa.decimal128(5, 2)).as_py()])),
    ],
)
def test_values_that_a_type_does_not_hold_are_moved_to_what_it_holds(text, expected):
    assert shown(tree(text)) == expected


def test_values_have_the_type_of_the_indexed_ones():
    asked = tree("dec = 1.5")
    assert (
        isinstance(asked, Ask)
        and isinstance(asked.question, OneOf)
        and asked.question.values.type == SCHEMA.field("dec").type
    )


@pytest.mark.parametrize(
    "text",
    [
        "free = 1",
        "i = 1 OR free = 1",
        "i * 2 = 4",
        "i = free",
        "contains(t, '')",
        "list_contains(tags, NULL)",
        "list_has_any(tags, [])",
        "regexp_matches(t, 'x', 'i')",
        "len(tags) = 1",
        "i > 99999999999999999999.5",
        "TRUE",
    ],
)
def test_other_conditions_ask_nothing(text):
    assert lookup(text) is None


def test_of_an_and_the_parts_are_asked_that_can_be():
    found = lookup("i = 1 AND free = 2 AND t = 'a'")
    assert found is not None
    assert [shown(part.tree) for part in found.answered] == [("OneOf", [1]), ("OneOf", ["a"])]
    assert list(map(str, found.rest)) == ['"free" = 2']


def test_an_and_below_an_or_may_leave_parts_out_and_is_not_exact_then():
    found = lookup("(i = 1 AND free = 2) OR t = 'a'")
    assert found is not None
    [part] = found.answered
    assert not part.exact and shown(part.tree) == ("any", ("OneOf", [1]), ("OneOf", ["a"]))


# More digits than a decimal has.
VERY_LONG = "0.1234567890123456789012345678901234567890"


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        (f"d > {VERY_LONG}", float(VERY_LONG), None),
        (f"d <= {VERY_LONG}", None, float(VERY_LONG)),
        (f"NOT (d > {VERY_LONG})", None, float(VERY_LONG)),
        ("i > 1.5", 1, None),
        ("i < -1.5e0", None, -1),
    ],
)
def test_a_number_that_duckdb_rounds_is_looked_for_around_it(text, low, high):
    found = lookup(text)
    assert found is not None
    [part] = found.answered
    assert not part.exact and isinstance(part.tree, Ask) and isinstance(part.tree.question, Range)
    asked = part.tree.question
    for bound, number, above in ((asked.low, low, -1), (asked.high, high, 1)):
        assert (bound is None) == (number is None)
        if bound is not None:
            assert 0 < (bound.as_py() - number) * above < (3 if text.startswith("i") else 1e-14 * number)


@pytest.mark.parametrize("number", ["0.12345678901234567", "0.1234567890123456789012345678", "9007199254740993"])
def test_a_number_of_many_digits_is_looked_for_as_duckdb_rounds_it(number):
    found = lookup(f"d > {number}")
    assert found is not None
    [part] = found.answered
    assert part.exact and shown(part.tree) == ("Range", float(number), None, False, True)


def test_an_index_that_finds_too_many_is_not_exact_and_has_no_opposite():
    plugin = Plain([], supersets=(Contains, Like))
    found = lookup("contains(t, 'x')", plugin)
    assert found is not None and not found.answered[0].exact
    assert lookup("NOT contains(t, 'x')", plugin) is None


def test_an_index_that_does_not_know_nulls_has_no_opposite():
    assert lookup("i <> 5", Plain([], refused=(IsNull,))) is None


def test_the_most_general_question_is_asked_when_the_plain_one_is_refused():
    assert shown(tree("t LIKE 'a%'", Plain([], refused=(StartsWith,)))) == ("Like", "a%", None, False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("j ->> '$.a' = 'x'", ("OneOf", ["x"])),
        ("json_extract_string(j, '$.a') LIKE 'x%'", ("StartsWith", "x")),
        ("json_get_string(j, 'a') IN ('x', 'y')", ("OneOf", ["x", "y"])),
        ("json_get_int(j, 'n') BETWEEN 1 AND 3", ("Range", 1, 3, True, True)),
        ("CAST(j ->> '$.n' AS BIGINT) > 3", ("Range", 3, None, False, True)),
        ("NOT (json_get_int(j, 'n') = 3)", ("not OneOf", [3])),
        ("json_get_int(j, 'n') IS NULL", ("IsNull",)),
    ],
)
def test_values_at_json_paths_are_asked_of_their_indexes(text, expected):
    paths = {"a": JsonPath("$.a", "string"), "n": JsonPath('$."n"', "int64")}
    assert shown(tree(text, **paths)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "j ->> '$.b' = 'x'",
        "json_get_string(j, 'n') = '1'",
        "j ->> '$.a' = j",
        "CAST(j ->> '$.n' AS INTEGER) > 3",
        "j ->> '$.a[0]' = 'x'",
    ],
)
def test_json_values_of_other_paths_or_types_are_not(text):
    assert lookup(text, a=JsonPath("$.a", "string"), n=JsonPath("$.n", "int64")) is None
