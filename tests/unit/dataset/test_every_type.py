"""Every type that can be stored, through a table of several fragments: scans, takes, filters, columns of nulls."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from arrow_values import TYPES, Shape, make_array, same

import lance_like

PIECES = (9, 5, 12)
ROWS = sum(PIECES)


def pieces(kind: pa.DataType, nulls: float) -> list[pa.Array]:
    """Arrays of one type; of a dictionary type each has a dictionary of its own."""
    random = np.random.default_rng(4)
    return [make_array(kind, rows, Shape("near", nulls), random) for rows in PIECES]


@pytest.mark.parametrize("nulls", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_a_type_comes_back_bit_for_bit_from_every_read(kind, nulls, uri):
    arrays, number = pieces(kind, nulls), np.arange(ROWS)
    for first, array in zip(np.cumsum((0, *PIECES)), arrays, strict=False):
        table = pa.table({"n": number[first : first + len(array)], "c": array})
        ds = lance_like.write_dataset(table, uri, mode="append")
    whole = pa.concat_arrays(arrays)
    assert ds.schema.field("c").type == kind
    assert same(ds.to_table()["c"], whole)
    assert same(ds.to_table(["c"], batch_size=4)["c"], whole)
    assert same(ds.to_table(["c"], limit=9, offset=7)["c"], whole.slice(7, 9))
    for order in (number, number[::-1], np.random.default_rng(5).integers(0, ROWS, 60), number[:0]):
        expected = whole.take(pa.array(order))
        assert same(ds.take(order, ["c"])["c"], expected)
        assert same(ds._take_rows(order, ["c"])["c"], expected)
    # Few rows that pass are taken, many are cut out of their pages.
    assert same(ds.to_table(["c"], filter="n = 13")["c"], whole.slice(13, 1))
    assert same(ds.to_table(["c"], filter="n <> 13")["c"], whole.take(pa.array(number[number != 13])))


@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_a_column_of_a_type_can_start_as_null_and_be_filled_later(kind, uri):
    ds = lance_like.write_dataset({"n": [1, 2]}, uri)
    ds.add_columns(pa.field("c", kind))
    array = pieces(kind, 0.3)[0]
    ds.insert(pa.table({"n": np.arange(len(array)), "c": array}))
    whole = pa.concat_arrays([pa.nulls(2, kind), array])
    assert same(ds.to_table()["c"], whole)
    assert same(ds.take([3, 0, 2, 1], ["c"])["c"], whole.take(pa.array([3, 0, 2, 1])))
    assert ds.count_rows("c is null") == whole.null_count
    assert same(ds.to_table(["c"], filter="c is not null")["c"], whole.drop_null())
