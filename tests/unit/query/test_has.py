"""Values among the items of lists, and texts in texts: judged as DuckDB judges them, without asking it."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from lance_like.query import engine_duckdb, evaluate, sql
from lance_like.query.expr import Expr, Has, Like, Not, Opaque

NAN = float("nan")
ITEMS: dict[str, tuple[pa.DataType, list[Any], list[str]]] = {
    "i8": (pa.int8(), [0, 1, -1, 127], ["0", "-1", "127", "1.0"]),
    "i64": (pa.int64(), [0, 1, 2**53 + 1, -(2**63)], ["0", "1", "9007199254740993", "1.5"]),
    "f64": (pa.float64(), [0.0, -0.0, NAN, 0.5], ["0", "-0.0", "0.5", "'nan'::double", "1e0"]),
    "f32": (pa.float32(), [0.0, 0.1, NAN], ["0.1", "0", "0.1::float"]),
    "dec": (pa.decimal128(9, 2), [Decimal("0.10"), Decimal("1.00")], ["0.1", "1", "0.105"]),
    "text": (pa.string(), ["", "a", "äb", "it's", "%"], ["''", "'a'", "'äb'", "'it''s'", "'%'"]),
    "day": (pa.date32(), [dt.date(2020, 2, 29)], ["date '2020-02-29'", "'2020-02-29'"]),
    "us": (pa.timestamp("us"), [dt.datetime(2020, 2, 29, 1)], ["timestamp '2020-02-29 01:00:00'"]),
    "flag": (pa.bool_(), [True, False], ["true", "false"]),
}
ONE = ["list_contains", "array_has", "contains", "list_has", "array_contains"]
SEVERAL = ["list_has_any", "array_has_any", "list_has_all", "array_has_all"]


def lists(kind: str) -> list[Any]:
    _, values, _ = ITEMS[kind]
    return [None, [], [None], values, [None, *values[:1]], values[-1:], [values[0], values[0]], values[1:], values[:2]]


def judged(condition: Expr, batch: pa.RecordBatch) -> list[bool | None]:
    return evaluate.mask(condition, batch).to_pylist()


def agree(text: str, batch: pa.RecordBatch) -> Expr:
    """Judge rows as DuckDB does; the condition, bound."""
    condition = evaluate.prepare(text, batch.schema)
    assert condition is not None
    expected = engine_duckdb.evaluate({"passes": text}, batch).column(0).to_pylist()
    assert judged(condition, batch) == expected, text
    assert judged(evaluate.prepare(f"NOT {text}", batch.schema) or condition, batch) == [
        None if one is None else not one for one in expected
    ]
    assert judged(condition, batch.slice(2, 4)) == expected[2:6]
    bare = sql.parse(text)
    assert judged(evaluate.prepare(str(bare), batch.schema) or condition, batch) == expected  # as it is written back
    return condition


@pytest.mark.parametrize("kind", ITEMS)
def test_lists_are_judged_as_duckdb_judges_them(kind: str) -> None:
    item, _, literals = ITEMS[kind]
    for make in (pa.list_, pa.large_list, pa.list_view):
        batch = pa.record_batch({"a": pa.array(lists(kind), make(item))})
        found = [agree(f"{name}(a, {literal})", batch) for name in ONE for literal in literals]
        given = [f"[{literals[0]}]", f"[{literals[0]}, {literals[-1]}]", f"[{', '.join(literals[:2])}]"]
        found += [agree(f"{name}(a, {some})", batch) for name in SEVERAL for some in given]
        assert sum(isinstance(one, Has) for one in found) > len(found) / 3


def test_lists_of_one_length_and_in_structs_are_judged_so_too() -> None:
    pairs = pa.array([[1, 2], None, [None, 2], [3, 3], [2, 1], None], pa.list_(pa.int64(), 2))
    inside = pa.array([{"l": [1, 2]}, None, {"l": None}, {"l": [2]}, {"l": []}, {"l": [1]}])
    batch = pa.record_batch({"a": pairs, "s": inside})
    for path in ("a", "s.l"):
        for text in (f"array_has({path}, 2)", f"{path} && [1, 7]", f"[2] && {path}", f"{path} @> [1, 2]"):
            assert isinstance(agree(text, batch), Has)


def test_a_text_in_a_text_is_a_pattern() -> None:
    texts = [None, "", "abc", "a%c", "a_c", "a\\c", "äb", "日本"]
    for kind in (pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())):
        batch = pa.record_batch({"a": pa.array(texts, pa.string()).cast(kind)})
        for part in ("b", "%", "_", "\\", "a_c", "本", "abcd"):
            assert isinstance(agree(f"contains(a, '{part}')", batch), Like)
        assert isinstance(agree("contains(a, '')", batch), Opaque)


def test_what_only_duckdb_judges_is_left_to_it() -> None:
    batch = pa.record_batch(
        {"a": pa.array([[1], [2, None], None, [3], [], [4]]), "b": pa.array([1] * 6), "m": lists("i8")[:6]}
    )
    for text in ("array_has(a, b)", "array_has(a, NULL)", "list_has_any(a, [1, NULL])", "list_has_any(a, [])"):
        assert isinstance(agree(text, batch), Opaque)
    every = ", ".join(map(str, range(1, 70)))
    assert isinstance(agree(f"list_has_all(a, [{every}])", batch), Opaque)
    assert isinstance(evaluate.prepare("NOT array_has(m, 1)", batch.schema), Not)
