"""Zone statistics against rows: what is so passes, what is not so is said, for every kind of bound."""

from __future__ import annotations

import datetime as dt
import decimal

import numpy as np
import pyarrow as pa
import pytest
from file_cases import KEY, small_pages, write

from lance_like.file.anatomy import Anatomy
from lance_like.file.stats import HAS_MAX, HAS_MIN, ZoneEntry
from lance_like.file.zone_check import ZoneCheck

D = decimal.Decimal
ARRAYS = {
    "i8": pa.array([-5, None, 7, 0], pa.int8()),
    "u64": pa.array([1 << 63, None, 7, 0], pa.uint64()),
    "f64": pa.array([float("nan"), -1.5, 2.0, None]),
    "f16": pa.array(np.array([-1.5, 2, 4, 8], np.float16)),
    "bool": pa.array([True, False, None, True]),
    "date": pa.array([dt.date(1969, 1, 1), None, dt.date(2020, 1, 1), dt.date(2000, 1, 1)]),
    "ts": pa.array([-1, None, 1 << 60, 5], pa.timestamp("ns", "UTC")),
    "dur": pa.array([-1, None, 1 << 60, 5], pa.duration("us")),
    "dec": pa.array([D("-1.25"), None, D("9.75"), D(0)], pa.decimal128(9, 2)),
    "dec256": pa.array([D("-1.25"), None, D("9.75"), D(0)], pa.decimal256(50, 2)),
    "text": pa.array(["b" * 40, None, "a" * 40, "é" * 30]),
    "bytes": pa.array([b"\xff" * 40, None, b"\x00", b"abc"]),
    "fixed": pa.array([b"abc", None, b"abd", b"\x00\x00\x00"], pa.binary(3)),
}


def entries_of(array: pa.Array) -> tuple[list[ZoneEntry], ZoneEntry]:
    """Zones of three rows, as the writer makes them."""
    with small_pages(zone_rows=3):
        store, _ = write(pa.table({"c": array}))
    anatomy = Anatomy(store, KEY)
    record = anatomy.record(anatomy.tail(), 0)
    assert record.num_zones == 2
    found = [anatomy.zone(record, zone, len(array), array.type) for zone in range(3)]
    return found[:2], found[2]


def problems(array: pa.Array, zones: list[ZoneEntry], total: ZoneEntry, cut: int = 2) -> list[tuple[int, str]]:
    """What is wrong, the rows given as two pages."""
    check = ZoneCheck(array.type, zones, total, 3)
    found = [*check.add(array.slice(0, cut)), *check.add(array.slice(cut))]
    return found + list(check.finish())


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("cut", range(5))
def test_what_the_writer_says_is_so(name, cut):
    assert problems(ARRAYS[name], *entries_of(ARRAYS[name]), cut) == []


@pytest.mark.parametrize("name", ARRAYS)
def test_the_bounds_of_other_rows_are_not_so(name):
    array = ARRAYS[name]
    zones, total = entries_of(array)
    for zone in (zones[0], total):
        # What is below all is a right minimum but no maximum; and the other way round.
        assert zone.min is not None
        low, high = zone._replace(max=zone.min, flags=HAS_MIN | HAS_MAX), zone._replace(min=zone.max, flags=HAS_MIN)
        for wrong in (low, high) if zone.max is not None else (low,):
            found = problems(array, zones, wrong) if zone is total else problems(array, [wrong, zones[1]], total)
            assert [place for place, _ in found] == [2 if zone is total else 0]
            assert "the value" in found[0][1]


def test_wrong_counts_and_bounds_of_nothing_are_not_so():
    array = pa.array([None, None, None, 5.0])
    zones, total = entries_of(array)
    bounded = zones[0]._replace(min=bytes(8), max=bytes(8), flags=HAS_MIN | HAS_MAX)
    (found,) = problems(array, [bounded, zones[1]], total)
    assert found == (0, "it has bounds, the rows have nothing but nulls and NaN")
    nulls, nans = zones[0]._replace(null_count=2), zones[1]._replace(nan_count=1)
    assert problems(array, [nulls, nans], total) == [
        (0, "it counts 2 nulls, the rows have 3"),
        (1, "it counts 1 NaN, the rows have 0"),
    ]


def test_wider_and_missing_bounds_are_so():
    array = pa.array([3, 4, 5, 6], pa.int32())
    zones, total = entries_of(array)
    wide = total._replace(min=(-9).to_bytes(4, "little", signed=True), max=(9).to_bytes(4, "little"))
    unknown = zones[0]._replace(min=None, max=None, flags=0)
    assert problems(array, [unknown, zones[1]], wide) == []


@pytest.mark.parametrize(
    "skipped, checked", [((0, 3), {1}), ((0, 1), {1}), ((1, 4), set()), ((3, 4), {0}), ((2, 4), set())]
)
def test_zones_with_unknown_rows_are_not_judged(skipped, checked):
    array = pa.array([3, 4, 5, 6], pa.int32())
    wrong = ZoneEntry(9, 0, None, None, 0)
    check = ZoneCheck(array.type, [wrong, wrong], wrong, 3)
    start, end = skipped
    found = list(check.add(array.slice(0, start)))
    check.skip(end - start)
    found += [*check.add(array.slice(end)), *check.finish()]
    assert {zone for zone, _ in found} == checked
