"""Values in another type: the same values, or an error that changes nothing."""

from __future__ import annotations

import decimal
from datetime import datetime, time, timedelta, timezone
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lance_like
from lance_like.errors import InvalidInput

RUNS = pa.RunEndEncodedArray.from_arrays(pa.array([2], pa.int32()), pa.array([7]))


def coded(*values: object) -> pa.Array:
    return pa.array(values).dictionary_encode()


def numbers(*values: int, kind: pa.DataType) -> pa.Array:
    return pa.array([Decimal(value) for value in values], kind)


def in_lists(array: pa.Array) -> pa.Array:
    return pa.ListArray.from_arrays([0, len(array)], array)


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (numbers(2**40, kind=pa.decimal128(38, 0)), pa.decimal32(5, 1)),
        (numbers(2**64 + 1, kind=pa.decimal128(38, 0)), pa.decimal64(18, 0)),
        (numbers(6_373_559_924_536_911, kind=pa.decimal128(38, 0)), pa.decimal128(38, 30)),
        (numbers(10**70 + 1, kind=pa.decimal256(76, 0)), pa.decimal256(76, 40)),
        (pa.array([Decimal("0.5")], pa.decimal128(20, 10)), pa.decimal32(9, 0)),
        (in_lists(numbers(2**40, kind=pa.decimal128(38, 0))), pa.list_(pa.decimal32(5, 1))),
        (numbers(10**30, kind=pa.decimal128(38, 0)), pa.float16()),
        (numbers(10**40, kind=pa.decimal256(50, 0)), pa.float32()),
        (pa.array([70_000]), pa.float16()),
        (pa.array([2_049]), pa.float16()),
        (coded(1 << 40), pa.float16()),
        (coded(1 << 40), pa.bool_()),
        (RUNS, pa.bool_()),
        (RUNS, pa.null()),
        (coded("a", "b"), pa.null()),
        (in_lists(coded("a", "b")), pa.list_(pa.null())),
        (pa.array([{"t": [7]}]), pa.struct([("t", pa.list_(pa.bool_()))])),
        (pa.array([[("a", 1e300)]], pa.map_(pa.string(), pa.float64())), pa.map_(pa.string(), pa.float32())),
    ],
    ids=lambda value: str(value.type if isinstance(value, pa.Array) else value),
)
def test_values_that_would_change_are_refused_when_they_are_written(array: pa.Array, kind: pa.DataType) -> None:
    ds = lance_like.write_dataset(pa.table({"c": pa.array([], kind)}), "memory://")
    with pytest.raises(InvalidInput, match="does not fit"):
        ds.insert(pa.table({"c": array}))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (1.5, pa.int32()),
        ([1.5], pa.list_(pa.int8())),
        (70_000, pa.float16()),
        (1e300, pa.float32()),
        (np.float64(1e300), pa.float32()),
        (datetime(2020, 1, 1, 0, 0, 0, 1), pa.timestamp("ms")),
        (datetime(2020, 1, 1, 5), pa.date32()),
        (datetime(2020, 1, 1, 5), pa.date64()),
        (time(1, 2, 3, 4), pa.time32("ms")),
        (timedelta(microseconds=5), pa.duration("s")),
        ({"a": 1, "b": 2}, pa.struct([("a", pa.int64())])),
    ],
    ids=str,
)
def test_values_of_python_that_would_change_are_refused(value: object, kind: pa.DataType) -> None:
    schema = pa.schema([("c", kind)])
    for data in ({"c": [value]}, {"c": iter([value])}, [{"c": None}, {"c": value}]):
        with pytest.raises(InvalidInput, match="'c'"):
            lance_like.write_dataset(data, "memory://", schema=schema)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (2.0, pa.int8()),
        (5, pa.decimal128(5, 2)),
        (0.5, pa.float16()),
        (datetime(2020, 1, 1, tzinfo=timezone(timedelta(hours=5))), pa.timestamp("s", "UTC")),
        (datetime(2020, 1, 1), pa.timestamp("ns")),
        (time(1, 2, 3), pa.time32("s")),
        (timedelta(days=1), pa.duration("s")),
        ([("k", 1)], pa.map_(pa.string(), pa.int8())),
        ({"a": 1}, pa.struct([("b", pa.string()), ("a", pa.int8())])),
        ([1, None], pa.list_(pa.float32(), 2)),
        ("a", pa.dictionary(pa.int8(), pa.string())),
    ],
    ids=str,
)
def test_values_of_python_that_stay_are_written(value: object, kind: pa.DataType) -> None:
    schema = pa.schema([("c", kind)])
    expected = pa.array([value, None], kind)
    for data in ({"c": [value, None]}, {"c": iter([value, None])}, [{"c": value}, {}]):
        ds = lance_like.write_dataset(data, "memory://", schema=schema)
        assert ds.to_table()["c"].to_pylist() == expected.to_pylist()


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (numbers(1, 2**40, kind=pa.decimal128(38, 0)), pa.decimal32(5, 1)),
        (numbers(1, 6_373_559_924_536_911, kind=pa.decimal128(38, 0)), pa.decimal128(38, 30)),
        (pa.array([1, 2**53 + 1]), pa.decimal32(5, 1)),
        (pa.array([1, 70_000]), pa.float16()),
        (coded(1, 1 << 40), pa.decimal32(5, 1)),
        (pa.array([0, 10**16]).view(pa.timestamp("s")), pa.timestamp("ns")),
    ],
    ids=lambda value: str(value.type if isinstance(value, pa.Array) else value),
)
def test_a_value_that_does_not_fit_the_new_type_of_a_column_is_named(array: pa.Array, kind: pa.DataType) -> None:
    ds = lance_like.write_dataset(pa.table({"c": array}), "memory://")
    with pytest.raises(InvalidInput, match="of row 1 does not fit"):
        ds.alter_columns({"path": "c", "data_type": kind})


def test_moments_that_python_has_no_value_for_are_named_too() -> None:
    keys = pa.array([10**13, 10**13]).view(pa.timestamp("s"))
    ds = lance_like.write_dataset(pa.table({"k": keys[:1], "v": [1]}), "memory://")
    merge = ds.merge_insert("k").when_not_matched_insert_all()
    with pytest.raises(InvalidInput, match=r"k=.*10000000000000.* stands twice"):
        merge.execute(pa.table({"k": keys, "v": [1, 2]}))


KINDS = st.builds(
    lambda make, precision, share: make(precision, int(precision * share)),
    st.sampled_from([pa.decimal32, pa.decimal64, pa.decimal128, pa.decimal256]),
    st.integers(1, 9),
    st.floats(0, 1),
) | st.sampled_from([pa.decimal64(18, 3), pa.decimal128(38, 0), pa.decimal128(38, 30), pa.decimal256(76, 40)])


@settings(max_examples=30, deadline=None)
@given(st.integers(-(10**38) + 1, 10**38 - 1), KINDS, KINDS)
def test_decimals_stay_what_they_are_in_every_type_that_takes_them(number, old, new) -> None:
    with decimal.localcontext(prec=100):
        value = Decimal(number % 10**old.precision).scaleb(-old.scale)
        fits = value < Decimal(10) ** (new.precision - new.scale) and value == round(value, new.scale)
        ds = lance_like.write_dataset(pa.table({"c": pa.array([value], old)}), "memory://decimals", mode="overwrite")
        try:
            ds.alter_columns({"path": "c", "data_type": new})
        except InvalidInput:
            assert not fits
        assert ds.to_table()["c"].to_pylist() == [value]
