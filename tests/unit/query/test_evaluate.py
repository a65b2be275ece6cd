"""Evaluation beyond agreement with DuckDB: forms of columns, work avoided, errors."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from lance_like.errors import InvalidInput, NotFound
from lance_like.query import engine_duckdb, evaluate

NAN = float("nan")


def rows(condition: str, batch: pa.RecordBatch, schema: pa.Schema | None = None) -> list[int]:
    bound = evaluate.prepare(condition, schema or batch.schema)
    assert bound is not None
    return evaluate.select(bound, batch).tolist()


def test_no_filter_is_none() -> None:
    assert evaluate.prepare(None, pa.schema([])) is None


def test_row_numbers_are_ascending_int64() -> None:
    batch = pa.record_batch({"a": [5, 1, 7, None]})
    bound = evaluate.prepare("a > 3 or a % 2 = 1", batch.schema)
    assert bound is not None
    answer = evaluate.select(bound, batch)
    assert answer.dtype == np.int64
    assert answer.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "type_", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())], ids=str
)
def test_text_in_any_form_compares(type_: pa.DataType) -> None:
    batch = pa.record_batch({"t": pa.array(["a", "b", None, "abc", "a"], type_)})
    for schema in (batch.schema, pa.schema([("t", pa.string())])):
        assert rows("t = 'a'", batch, schema) == [0, 4]
        assert rows("t in ('a', 'b')", batch, schema) == [0, 1, 4]
        assert rows("t like 'a%'", batch, schema) == [0, 3, 4]
        assert rows("t is null", batch, schema) == [2]
        assert rows("not (t > 'a')", batch, schema) == [0, 4]
        assert rows("length(t) = 3", batch, schema) == [3]


@pytest.mark.parametrize("type_", [pa.float16(), pa.float32(), pa.float64()], ids=str)
def test_floats_of_any_width_put_nan_last(type_: pa.DataType) -> None:
    batch = pa.record_batch({"f": pa.array(np.array([1.5, NAN, 0.0, -0.0, np.inf]), pa.float64()).cast(type_)})
    assert rows("f > 1", batch) == [0, 1, 4]
    assert rows("f in (0.0)", batch) == [2, 3]
    assert rows("f <= 'nan'::double", batch) == [0, 1, 2, 3, 4]
    assert rows("f >= 'inf'::double", batch) == [1, 4]


def test_one_nan_is_in_a_list_as_another_is() -> None:
    batch = pa.record_batch({"f": pa.array([-NAN, NAN, 1.0, None])})
    assert rows("f in ('nan'::double, 2e0)", batch) == [0, 1]
    assert rows("f not in ('nan'::double, 2e0)", batch) == [2]


@pytest.mark.parametrize("type_", [pa.int16(), pa.uint16(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64()], ids=str)
@pytest.mark.parametrize("distinct", [50, 30_000])
def test_many_integers_are_told_from_those_with_the_same_low_bits(type_: pa.DataType, distinct: int) -> None:
    rng = np.random.default_rng(3)
    numbers = rng.integers(0, distinct, 20_000)
    if type_.bit_width > 16:
        numbers += rng.integers(0, 3, len(numbers)) << 16
    missing = rng.random(len(numbers)) < 0.1
    batch = pa.record_batch({"n": pa.array(numbers, mask=missing).cast(type_)}).slice(5, 18_000)
    wanted = sorted({int(numbers[place]) for place in (7, 99, 4000)})
    answer = [place for place, value in enumerate(batch["n"].to_pylist()) if value in wanted]
    assert rows(f"n in ({', '.join(map(str, wanted))})", batch) == answer


@pytest.mark.parametrize(
    "type_", [pa.decimal32(5, 2), pa.decimal64(12, 2), pa.decimal128(20, 2), pa.decimal256(50, 2)], ids=str
)
def test_decimals_of_any_width_compare(type_: pa.DataType) -> None:
    batch = pa.record_batch({"d": pa.array([1, 2, None], pa.int8()).cast(pa.decimal128(5, 2)).cast(type_)})
    assert rows("d > 1", batch) == [1]
    assert rows("d in (1, 3)", batch) == [0]


@pytest.mark.parametrize("type_", [pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(1)], ids=str)
def test_bytes_in_any_form_compare(type_: pa.DataType) -> None:
    batch = pa.record_batch({"b": pa.array([b"a", None, b"\xff"], type_)})
    assert rows("b >= '\\xff'::blob", batch) == [2]
    assert rows("b in ('a'::blob, 'b'::blob)", batch) == [0]


def test_a_dictionary_with_null_among_its_values_is_null_there() -> None:
    column = pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 0, 0], pa.int8()), pa.array(["a", None]))
    batch = pa.record_batch({"k": column})
    assert rows("k is null", batch) == [1, 2]
    assert rows("k = 'a'", batch) == [0, 3, 4]
    assert rows("k <> 'b'", batch) == [0, 3, 4]


def test_slices_are_judged_by_their_own_rows() -> None:
    batch = pa.record_batch(
        {
            "a": list(range(10)),
            "k": pa.array([*"abababab", None, "b"]).dictionary_encode(),
            "s": [{"x": i} if i % 3 else None for i in range(10)],
        }
    ).slice(3, 6)
    assert rows("a >= 5 and k = 'a'", batch) == [3]
    assert rows("s.x >= 4", batch) == [1, 2, 4, 5]
    assert rows("s is null", batch) == [0, 3]
    assert rows("a % 2 = 0 and s.x % 2 = 0", batch) == [1, 5]


def test_a_batch_may_hold_only_the_fields_that_are_needed() -> None:
    schema = pa.schema([("s", pa.struct([("x", pa.int64()), ("y", pa.string())])), ("z", pa.int64())])
    batch = pa.record_batch({"s": [{"y": "a"}, {"y": "b"}]})
    assert rows("s.y = 'b'", batch, schema) == [1]
    assert rows("upper(s.y) = 'B'", batch, schema) == [1]


def test_a_column_missing_from_the_batch_is_an_error() -> None:
    with pytest.raises(InvalidInput, match="'z'"):
        rows("z = 1", pa.record_batch({"a": [1]}), pa.schema([("z", pa.int64())]))


def test_duckdb_sees_only_the_rows_that_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = pa.record_batch({"a": list(range(100)), "t": ["1"] * 98 + ["x", "y"]})
    condition = evaluate.prepare("t::int = 1 and a < 10", batch.schema)
    either = evaluate.prepare("t::int = 2 or a >= 97", batch.schema)
    assert condition is not None
    assert either is not None
    seen: list[int] = []
    real = engine_duckdb.evaluate
    monkeypatch.setattr(engine_duckdb, "evaluate", lambda e, part: (seen.append(part.num_rows), real(e, part))[1])
    assert evaluate.select(condition, batch).tolist() == list(range(10))
    assert evaluate.select(either, batch).tolist() == [97, 98, 99]
    assert seen == [10, 97]


def test_what_is_no_filter_is_invalid_input() -> None:
    with pytest.raises(InvalidInput, match="not int"):
        evaluate.prepare(5, pa.schema([]))  # type: ignore[arg-type]


def test_an_empty_batch_passes_nothing() -> None:
    batch = pa.record_batch({"a": pa.array([], pa.int64()), "t": pa.array([], pa.string())})
    for condition in ["a > 1", "a % 2 = 0", "t like 'a%' or a in (1, 2)", "true", "a is null and true"]:
        assert rows(condition, batch) == []


def test_wrong_types_show_before_anything_is_read() -> None:
    schema = pa.schema([("a", pa.int64()), ("t", pa.string()), ("l", pa.list_(pa.int64()))])
    for condition in ["a like 'x'", "t > 3", "l > 3", "nope(a) = 1", "a + t = 1"]:
        with pytest.raises(InvalidInput):
            evaluate.prepare(condition, schema)
    with pytest.raises(NotFound):
        evaluate.prepare("b = 1", schema)


def test_a_value_that_duckdb_cannot_cast_is_invalid_input() -> None:
    with pytest.raises(InvalidInput, match="Conversion Error"):
        rows("t::int = 1", pa.record_batch({"t": ["x"]}))


def test_columns_of_every_stored_kind_may_stand_beside_a_filter() -> None:
    batch = pa.record_batch(
        {
            "a": [1, 2],
            "v": pa.array([[1.0, 2.0], None], pa.list_(pa.float32(), 2)),
            "n": pa.nulls(2),
            "m": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
            "d": pa.array([1, None], pa.duration("s")),
        }
    )
    assert rows("a = 2", batch) == [1]
    assert rows("v is null", batch) == [1]
    assert rows("n is null and a % 2 = 0", batch) == [1]
    assert rows("v[1] = 1", batch) == [0]
    assert rows("m['k'] = 1", batch) == [0]
    assert rows("d = interval 1 second", batch) == [0]


def test_arithmetic_is_asked_only_about_rows_that_other_conditions_leave() -> None:
    batch = pa.RecordBatch.from_pydict({"a": [1, 3, 2**62]})
    for text, passing in (("a < 10 AND a * a > 5", [1]), ("a * a > 5 AND a < 10", [1]), ("a > 9 OR a * a > 5", [1, 2])):
        condition = evaluate.prepare(text, batch.schema)
        assert condition is not None
        assert evaluate.select(condition, batch).tolist() == passing
    overflowing = evaluate.prepare("a * a > 5", batch.schema)
    assert overflowing is not None
    with pytest.raises(InvalidInput, match="Overflow"):
        evaluate.select(overflowing, batch)
