"""Statistics of zones: right counts, and bounds that no value passes."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from arrow_values import FLAT, TEXT_VIEWS, TYPES, VARIABLE, Shape, arrays, cells_of, make_array
from file_cases import KEY, opened, small_pages, write
from hypothesis import given, settings
from hypothesis import strategies as st

from lance_like.file import extents
from lance_like.file.carry import carry
from lance_like.file.stats import (
    HAS_MAX,
    HAS_MIN,
    MAX_TRUNCATED,
    MIN_TRUNCATED,
    ZoneBuilder,
    ZoneEntry,
    Zones,
    bounds_array,
    zone_width,
)
from lance_like.io.fetch import drive
from lance_like.io.observe import CountingStore, counted

ZONE = 32
ORDERED = [kind for kind in (pa.bool_(), *FLAT, *VARIABLE, *TEXT_VIEWS) if zone_width(kind)]


def zones_of(array: pa.Array) -> tuple[Zones, ZoneEntry]:
    """The zones that a file holds of a column, and what its summary says of the whole."""
    with small_pages(nbytes=300, rows=77, zone_rows=ZONE):
        store, summary = write(pa.table({"c": array}), batch_rows=50)
    return drive(store, KEY, opened(store).zones(0, array.type)), summary.stats[0]


def orderable(array: pa.Array) -> pa.Array:
    """The valid values that are not NaN, in a type that Arrow can compare."""
    array, t = carry(array).drop_null(), pa.types
    if t.is_decimal(array.type) and array.type.bit_width < 128:
        return array.view(pa.int32() if t.is_decimal32(array.type) else pa.int64())
    if t.is_floating(array.type):
        array = array.cast(pa.float32()) if t.is_float16(array.type) else array
        return array.filter(pc.invert(pc.is_nan(array)))
    if t.is_duration(array.type):
        return array.cast(pa.int64())
    return array.cast(pa.large_binary()) if array.type in VARIABLE or t.is_fixed_size_binary(array.type) else array


def nans_in(array: pa.Array) -> int:
    return len(array.drop_null()) - len(orderable(array)) if pa.types.is_floating(array.type) else 0


def bound_of(bounds: pa.Array, index: int) -> pa.Scalar | None:
    value = orderable(bounds.slice(index, 1))
    return value[0] if len(value) else None


def extremes(values: pa.Array) -> tuple[pa.Scalar, pa.Scalar]:
    """The smallest and the largest of some orderable values."""
    if pa.types.is_decimal(values.type):
        ordered = sorted(values.to_pylist())
        return pa.scalar(ordered[0], values.type), pa.scalar(ordered[-1], values.type)
    both = pc.min_max(values)
    return both["min"], both["max"]


def at_most(low: pa.Scalar, high: pa.Scalar) -> bool:
    if pa.types.is_decimal(low.type):
        return low.as_py() <= high.as_py()
    return pc.less_equal(low, high).as_py()


def check_bounds(part: pa.Array, low: pa.Scalar | None, high: pa.Scalar | None) -> None:
    values = orderable(part)
    if len(values) == 0:
        assert low is None
        assert high is None
        return
    smallest, largest = extremes(values)
    assert low is not None
    assert at_most(low, smallest)
    assert high is not None or part.type in (*VARIABLE, *TEXT_VIEWS)
    assert high is None or at_most(largest, high)


@pytest.mark.parametrize("kind", ORDERED, ids=str)
@settings(max_examples=12)
@given(data=st.data())
def test_zones_bound_their_values_and_count_nulls_and_nan(kind: pa.DataType, data: st.DataObject) -> None:
    array = data.draw(arrays(kind, max_rows=200))
    zones, total = zones_of(array)
    starts = range(0, len(array), ZONE)
    assert zones.rows.tolist() == [len(array.slice(start, ZONE)) for start in starts]
    for index, start in enumerate(starts):
        part = array.slice(start, ZONE)
        assert zones.nulls[index] == part.null_count
        assert zones.nans[index] == nans_in(part)
        check_bounds(part, bound_of(zones.mins, index), bound_of(zones.maxs, index))
    assert (total.null_count, total.nan_count) == (array.null_count, nans_in(array))
    lows, highs = bounds_array(kind, [total.min]), bounds_array(kind, [total.max])
    check_bounds(array, bound_of(lows, 0), bound_of(highs, 0))


@pytest.mark.parametrize("kind", [kind for kind in ORDERED if kind in FLAT and kind != pa.binary(0)], ids=str)
def test_bounds_of_short_values_are_values(kind: pa.DataType) -> None:
    array = make_array(kind, 500, Shape("any", 0.2), np.random.default_rng(0))
    zones, total = zones_of(array)
    for index, start in enumerate(range(0, 500, ZONE)):
        values = orderable(array.slice(start, ZONE))
        low, high = bound_of(zones.mins, index), bound_of(zones.maxs, index)
        assert (low, high) == extremes(values)
    assert total.flags == HAS_MIN | HAS_MAX


@pytest.mark.parametrize("kind", [kind for kind in TYPES if not zone_width(kind)], ids=str)
def test_types_without_an_order_have_counts_only(kind: pa.DataType) -> None:
    array = make_array(kind, 100, Shape("any", 0.3), np.random.default_rng(0))
    if pa.types.is_struct(kind):
        return  # several columns
    zones, total = zones_of(array)
    cells = cells_of(array)
    assert zones.nulls.tolist() == [cells[start : start + ZONE].count(None) for start in range(0, 100, ZONE)]
    assert zones.mins.null_count == zones.maxs.null_count == 4
    assert (total.min, total.max, total.flags) == (None, None, 0)


# -- one by one ------------------------------------------------------------------------------------------------


def entry_of(values: list[Any], kind: pa.DataType) -> ZoneEntry:
    """The statistics of a column of these values."""
    builder = ZoneBuilder(kind)
    builder.add(builder.extents(pa.array(values, kind), 0))
    return builder.finish()[1]


def test_nan_is_counted_and_never_a_bound() -> None:
    nan = float("nan")
    for kind in (pa.float64(), pa.float32(), pa.float16()):
        entry = entry_of([nan, np.float16(1.5), None, np.float16(-2.5), nan], kind)
        assert (entry.null_count, entry.nan_count) == (1, 2)
        assert bounds_array(kind, [entry.min, entry.max]).to_pylist() == [-2.5, 1.5]
        assert entry_of([nan, None], kind) == ZoneEntry(1, 1, None, None, 0)
        assert entry_of([None], kind) == ZoneEntry(1, 0, None, None, 0)
        assert entry_of([], kind) == ZoneEntry(0, 0, None, None, 0)


@pytest.mark.parametrize("values", [[0.0, -0.0], [-0.0, 0.0], [-0.0], [0.0]])
def test_negative_zero_is_inside_the_bounds(values: list[float]) -> None:
    entry = entry_of(values, pa.float64())
    low, high = bounds_array(pa.float64(), [entry.min, entry.max]).to_pylist()
    assert low == high == 0.0


@pytest.mark.parametrize("bits", [0x7FA00000, 0xFFA00001, 0x7FC00000, 0xFFFFFFFF])
def test_no_nan_of_any_bits_hides_what_came_before(bits: int) -> None:
    values = np.array([5, 1, 0, 9, 0, 7], np.float32)
    values.view(np.uint32)[[2, 4]] = bits
    for array in (pa.array(values), pa.array(values, mask=np.array([0, 1, 0, 0, 0, 0], bool))):
        builder = ZoneBuilder(pa.float32())
        builder.add(builder.extents(array, 0))
        entry = builder.finish()[1]
        assert (entry.null_count, entry.nan_count) == (array.null_count, 2)
        low = 1.0 if array.null_count == 0 else 5.0
        assert bounds_array(pa.float32(), [entry.min, entry.max]).to_pylist() == [low, 9.0]


def test_infinities_are_bounds() -> None:
    entry = entry_of([float("inf"), 1.0, -float("inf")], pa.float32())
    assert bounds_array(pa.float32(), [entry.min, entry.max]).to_pylist() == [-float("inf"), float("inf")]


@pytest.mark.parametrize("kind", [pa.int8(), pa.int64(), pa.uint64(), pa.timestamp("ns"), pa.date32()], ids=str)
def test_extremes_of_integers_are_bounds(kind: pa.DataType) -> None:
    bits = kind.bit_width
    signed = kind != pa.uint64()
    ends = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    storage = pa.array([ends[1], 5, ends[0]], f"{'int' if signed else 'uint'}{bits}")
    builder = ZoneBuilder(kind)
    builder.add(builder.extents(storage.view(kind), 0))
    entry = builder.finish()[1]
    assert bounds_array(kind, [entry.min, entry.max]).view(storage.type).to_pylist() == list(ends)


def test_long_text_is_cut_to_bounds() -> None:
    entry = entry_of(["b" * 40, "b" * 39 + "c"], pa.string())
    assert entry.min == b"b" * 32
    assert entry.max == b"b" * 31 + b"c"
    assert entry.flags == HAS_MIN | HAS_MAX | MIN_TRUNCATED | MAX_TRUNCATED
    exact = entry_of(["b" * 32], pa.string())
    assert (exact.min, exact.max, exact.flags) == (b"b" * 32, b"b" * 32, HAS_MIN | HAS_MAX)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), pa.large_binary()], ids=str)
@pytest.mark.parametrize("cells", [["é" * 600_000], ["b" * 600_000, None, "é" * 300_000, "a" * 99]], ids=len)
def test_large_cells_are_cut_before_they_are_compared(
    kind: pa.DataType, cells: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def bound(value: pa.Scalar) -> bytes:
        seen.append(value.as_buffer().size)
        return value.as_buffer().to_pybytes()[: extents.PREFIX_NBYTES]

    monkeypatch.setattr(extents, "_bound", bound)
    found = list(extents.extents_of(pa.array(cells, kind), room=100, zone_rows=100, ordered=True))
    known = [cell.encode()[: extents.PREFIX_NBYTES] for cell in cells if cell is not None]
    assert [(one.low, one.high, one.null_count) for one in found] == [(min(known), max(known), cells.count(None))]
    assert max(seen) <= extents.PREFIX_NBYTES


def test_text_is_cut_between_characters() -> None:
    entry = entry_of(["é" * 20 + "x", "a" + "é" * 20], pa.string())
    assert entry.min == ("a" + "é" * 15).encode()
    assert entry.max == ("é" * 15 + "ê").encode()


def test_the_text_above_has_no_surrogates_and_ends_at_the_last_character() -> None:
    before = "\ud7ff"
    assert entry_of([before * 11], pa.string()).max == (before * 9 + "\ue000").encode()
    last = "\U0010ffff"
    assert entry_of(["a" + last * 9], pa.string()).max == b"b"
    none = entry_of([last * 9], pa.string())
    assert none.max is None
    assert none.flags == HAS_MIN | MIN_TRUNCATED
    # The character after U+007F takes a byte more than there is room for.
    assert entry_of(["a" * 31 + "\x7f" + "z"], pa.string()).max == b"a" * 30 + b"b"


def test_binary_is_cut_anywhere_and_has_no_maximum_above_all_ff() -> None:
    entry = entry_of([b"\x01" + b"\xff" * 40, b"\x02" + b"\xff" * 31 + b"x"], pa.binary())
    assert entry.min == b"\x01" + b"\xff" * 31
    assert entry.max == b"\x03"
    assert entry_of([b"\xff" * 33], pa.binary()).max is None
    assert entry_of([b"\xff" * 32], pa.binary()).max == b"\xff" * 32


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=45), min_size=1, max_size=6))
def test_bounds_of_any_text_hold_it(texts: list[str]) -> None:
    entry = entry_of(texts, pa.string())
    cells = [text.encode() for text in texts]
    assert entry.min is not None
    assert entry.min <= min(cells)
    assert min(cells).startswith(entry.min)
    assert len(entry.min.decode().encode()) <= 32
    assert bool(entry.flags & MIN_TRUNCATED) == (entry.min != min(cells))
    if entry.max is None:
        assert not entry.flags & HAS_MAX
    else:
        assert entry.max >= max(cells)
        assert len(entry.max.decode().encode()) <= 32
        assert bool(entry.flags & MAX_TRUNCATED) == (entry.max != max(cells))


@given(
    st.lists(st.binary(max_size=45) | st.binary(max_size=45).map(lambda b: b"\xff" * 31 + b), min_size=1, max_size=6)
)
def test_bounds_of_any_binary_hold_it(cells: list[bytes]) -> None:
    entry = entry_of(cells, pa.large_binary())
    assert entry.min is not None
    assert entry.min == min(cells)[:32]
    assert entry.max is None or (entry.max >= max(cells) and len(entry.max) <= 32)


def test_zones_do_not_depend_on_batches_or_pages() -> None:
    array = make_array(pa.int32(), 300, Shape("any", 0.1), np.random.default_rng(0))
    found = []
    for batch_rows, page_rows in ((None, 1000), (1, 7), (33, 100), (64, 32)):
        with small_pages(nbytes=4 * page_rows, rows=page_rows, zone_rows=ZONE):
            store, summary = write(pa.table({"c": array}), batch_rows=batch_rows)
        zones = drive(store, KEY, opened(store).zones(0, pa.int32()))
        found.append((zones.mins, zones.maxs, zones.nulls.tolist(), zones.rows.tolist(), summary.stats))
    assert all(left == right for left, right in pairwise(found))


def test_zones_below_a_null_struct_count_its_children_as_null() -> None:
    array = pa.StructArray.from_arrays([pa.array([1, 99, 3])], names=["x"], mask=pa.array([False, True, False]))
    store, summary = write(pa.table({"s": array}))
    assert [entry.null_count for entry in summary.stats] == [1, 1]
    zones = drive(store, KEY, opened(store).zones(1, pa.int64()))
    assert (zones.mins.to_pylist(), zones.maxs.to_pylist()) == ([1], [3])


def test_zones_are_read_without_pages() -> None:
    with small_pages(zone_rows=ZONE):
        inner, _ = write(pa.table({"c": np.arange(10_000), "d": np.arange(10_000)}))
    store = CountingStore(inner)
    reader = opened(store)
    with counted(store) as counts:
        zones = drive(store, KEY, reader.zones(0, pa.int64()))
    assert len(zones.rows) == 313
    assert counts.bytes_read <= 313 * 48 + 64
    assert counts.rounds <= 2


def test_the_summary_survives_json() -> None:
    """What the manifest keeps of it is bytes and numbers."""
    entry = entry_of(["né", "x" * 50, None], pa.string())
    assert json.dumps([entry.null_count, entry.nan_count, entry.flags])
    assert bounds_array(pa.string(), [entry.min, None, entry.max]).to_pylist() == ["né", None, "x" * 31 + "y"]
