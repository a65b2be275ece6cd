"""Values that DuckDB computes, brought back into types that it does not have."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pyarrow as pa
import pytest

import lance_like
from lance_like.dataset.engine_values import durations_of, uuids_of
from lance_like.errors import InvalidInput

IDS = [UUID(int=7), None, UUID(int=2**128 - 1)]


def intervals(*rows: tuple[int, int, int] | None) -> pa.Array:
    return pa.array([None if row is None else pa.MonthDayNano(row) for row in rows], pa.month_day_nano_interval())


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_expressions_over_durations_are_durations(unit, uri):
    spans = [timedelta(days=3, seconds=5), None, timedelta(seconds=-1)]
    ds = lance_like.write_dataset(pa.table({"i": [0, 1, 2], "d": pa.array(spans, pa.duration(unit))}), uri)
    ds.update({"d": "d + INTERVAL 1 DAY"}, where="i = 0")
    ds.update({"d": "CASE WHEN i = 2 THEN d * 2 END"}, where="i > 0")
    expected = pa.array([timedelta(days=4, seconds=5), None, timedelta(seconds=-2)], pa.duration(unit))
    assert ds.to_table(["d"], order_by=["i"])["d"].combine_chunks().equals(expected)


@pytest.mark.parametrize(
    ("interval", "message"),
    [((1, 0, 0), "months"), ((0, 0, 1_500), "lost"), ((0, 2**31 - 1, 0), "range")],
)
def test_an_interval_that_is_no_duration_is_refused(interval, message):
    with pytest.raises(ValueError, match=message):
        durations_of(intervals((0, 1, 0), interval), pa.duration("us"))


def test_slices_and_nulls_of_intervals():
    array = intervals((9, 0, 0), (0, 1, 2_000), None, (0, -1, 0), (8, 0, 0)).slice(1, 3)
    expected = pa.array([86_400_000_002, None, -86_400_000_000], pa.duration("us"))
    assert durations_of(array, pa.duration("us")).equals(expected)
    assert durations_of(array.slice(0, 0), pa.duration("s")).equals(pa.array([], pa.duration("s")))


def test_texts_become_uuids(uri):
    stored = pa.array([None if one is None else one.bytes for one in IDS], pa.uuid())
    ds = lance_like.write_dataset(pa.table({"i": [0, 1, 2], "u": stored}), uri)
    ds.update({"u": "CASE WHEN i < 3 THEN u END"})
    assert ds.to_table(["u"], order_by=["i"])["u"].combine_chunks().equals(stored)
    ds.insert(pa.table({"i": [3], "u": [str(IDS[2]).upper()]}))
    assert ds.to_table(["u"], filter="i = 3")["u"][0].as_py() == IDS[2]
    with pytest.raises(InvalidInput, match="no UUID"):
        ds.insert(pa.table({"i": [4], "u": ["zz"]}))
    assert ds.count_rows() == 4


def test_forms_of_a_uuid():
    texts = pa.array([IDS[0].hex, str(IDS[2]), None])
    assert uuids_of(texts).to_pylist() == [IDS[0].bytes, IDS[2].bytes, None]
