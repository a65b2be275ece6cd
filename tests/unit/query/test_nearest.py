"""The nearest types that DuckDB reads: every type that is stored reaches it, with its values."""

from __future__ import annotations

from decimal import Decimal

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from lance_like.query import evaluate
from lance_like.query.nearest import as_nearest, nearest

HALF = pa.array([np.float16(0.5), None], pa.float16())
WORDS = pa.array(["a", None]).dictionary_encode()


def union(mode: str) -> pa.Array:
    if mode == "sparse":
        return pa.UnionArray.from_sparse(
            pa.array([1, 0], pa.int8()), [pa.array([7, 5]), pa.array(["x", "y"])], ["i", "t"]
        )
    codes, places = pa.array([1, 0], pa.int8()), pa.array([0, 0], pa.int32())
    return pa.UnionArray.from_dense(codes, places, [pa.array([5]), pa.array(["x"])], ["i", "t"])


@pytest.mark.parametrize(
    ("array", "kind", "values"),
    [
        (HALF, pa.float32(), [0.5, None]),
        (HALF.dictionary_encode(), pa.float32(), [0.5, None]),
        (pa.array([[0.5], None], pa.list_(pa.float16())), pa.list_(pa.float32()), [[0.5], None]),
        (pa.array([{"x": 0.5}, None], pa.struct([("x", pa.float16())])), pa.struct([("x", pa.float32())]), None),
        (pa.array([[], None], pa.list_(pa.int8(), 0)), pa.list_(pa.int8()), [[], None]),
        (pa.array([Decimal(300)], pa.decimal128(9, -2)), pa.decimal128(11, 0), [Decimal(300)]),
        (pa.array([Decimal("1.5")], pa.decimal256(38, 1)), pa.decimal128(38, 1), [Decimal("1.5")]),
        (pa.array([Decimal("1.5")], pa.decimal256(60, 1)), pa.float64(), [1.5]),
        (pa.ListArray.from_arrays([0, 1, 2], WORDS), pa.list_(pa.string()), [["a"], [None]]),
        (pa.array([[("k", 0.5)]], pa.map_(pa.string(), pa.float16())), pa.map_(pa.string(), pa.float32()), None),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)
def test_a_type_that_duckdb_has_not_becomes_one_that_it_has(array, kind, values):
    made = as_nearest(array)
    assert made.type == kind == nearest(array.type)
    assert made.to_pylist() == (array.to_pylist() if values is None else values)
    duckdb.connect().from_arrow(pa.table({"x": made})).fetchall()


@pytest.mark.parametrize(
    "array", [pa.array([1]), pa.array([Decimal("1.5")], pa.decimal32(5, 1)), WORDS, pa.array([{"x": [1]}])], ids=str
)
def test_what_duckdb_reads_is_handed_over_as_it_is(array):
    assert as_nearest(array) is array


@pytest.mark.parametrize("mode", ["sparse", "dense"])
def test_a_union_is_a_union_of_duckdb(mode, tmp_path):
    import lance_like

    assert as_nearest(union(mode)).to_pylist() == ["x", 5]
    rows = pa.table({"row": [0, 1], "u": union(mode), "n": [{"u": "x"}, {"u": "y"}]})
    ds = lance_like.write_dataset(rows, tmp_path)
    for condition, expected in (
        ("u.i = 5", [1]),
        ("u.t = 'x'", [0]),
        ("union_tag(u) = 't' or u is null", [0]),
        ("union_extract(u, 'i') is null", [0]),
    ):
        assert ds.to_table(["row"], filter=condition)["row"].to_pylist() == expected, condition
    ds.add_columns({"tag": "union_tag(u)::varchar"})
    assert ds.to_table(["tag"])["tag"].to_pylist() == ["t", "i"]


def test_a_decimal_of_more_digits_than_duckdb_has_is_compared_exactly():
    long = Decimal("12345678901234567890123456789012345678901234567890.25")
    more = Decimal("12345678901234567890123456789012345678901234567891.25")
    batch = pa.record_batch({"d": pa.array([long, more, None], pa.decimal256(60, 2))})
    for condition, expected in (
        (f"d = {long}", [0]),
        (f"d > {long}", [1]),
        (f"d in ({more}, 1.5)", [1]),
        ("d > 5", [0, 1]),
    ):
        bound = evaluate.prepare(condition, batch.schema)
        assert bound is not None
        assert evaluate.select(bound, batch).tolist() == expected, condition
