"""linear, alp, run_length and dictionaries of numbers: what they take, what they leave, and every bit back."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from arrow_values import same
from hypothesis import given
from hypothesis import strategies as st
from page_cases import (
    Page,
    conversation_of,
    expected_ranges,
    expected_rows,
    forced,
    page_of,
    random_ranges,
    read,
    whole,
)
from test_encodings_malformed import check_bytes, check_members

from lance_like.encodings import alp, linear, run_length
from lance_like.encodings.base import Encoded, Hints, parse_node
from lance_like.encodings.physical import flat_array, flat_width, integer_dtype, with_validity
from lance_like.encodings.pool import BATCH_ROWS
from lance_like.encodings.rank import LINE_BITS
from lance_like.encodings.registry import encode_array, read_node, shape
from lance_like.encodings.stack import Runs, SharedBlob, Stack
from lance_like.errors import Corrupt
from lance_like.ranges import gather_from

KINDS = (pa.int32(), pa.uint32(), pa.int64(), pa.uint64(), pa.timestamp("us"), pa.date32(), pa.duration("ns"))
SIZES = (1, 2, 3, 255, 256, 257, 479, 480, 481, 2000)


def check(page: Page | None, array: pa.Array) -> Page:
    """A page that was made, and from which all reads equal Arrow, in at most three rounds."""
    assert page is not None
    rng = np.random.default_rng(len(array))
    node = page.open()
    for starts, ends in (whole(array), *(random_ranges(len(array), rng, count) for count in (1, 1, 7))):
        answer, rounds = read(page, starts, ends, node)
        assert same(answer, expected_ranges(array, starts, ends))
        assert rounds <= 3
    rows = rng.integers(0, len(array), 50)
    assert same(read(page, rows, rows + 1, node)[0], expected_rows(array, rows))
    return page


def check_together(arrays: list[pa.Array], name: str, hints: Callable[[], Hints] = Hints) -> None:
    """Rows of several pages of one shape, end to end in a file, in one read."""
    pages = [check(forced(name, array, hints()), array) for array in arrays]
    offsets = np.cumsum([0, *(len(page.data) for page in pages)])
    data = np.concatenate([page.data for page in pages])
    nodes = [parse_node(page.description, len(page.data)) for page in pages]
    assert len({shape(node) for node in nodes}) == 1
    stack = Stack(nodes, offsets[:-1], np.arange(len(pages)), [SharedBlob(page.shared) for page in pages])
    rng = np.random.default_rng(0)
    at = rng.integers(0, len(pages), 90)
    rows = rng.integers(0, np.array([len(array) for array in arrays])[at])
    for stop in (rows + 1, np.minimum(rows + 3, stack.num_rows[at])):
        runs = Runs.of_rows(at, rows) if (stop == rows + 1).all() else Runs(at, rows, stop)
        conversation = read_node(stack, arrays[0].type, runs)
        try:
            asks = next(conversation)
            while True:
                asks = conversation.send([gather_from(data, first, last) for first, last, _ in asks])
        except StopIteration as end:
            pieces = [arrays[i].slice(a, b - a) for i, a, b in zip(at, rows, stop, strict=True)]
            assert same(end.value, pa.concat_arrays(pieces))


def masked(values: np.ndarray, nulls: float, kind: pa.DataType | None = None) -> pa.Array:
    mask = np.random.default_rng(len(values)).random(len(values)) < nulls
    array = pa.array(values, mask=mask)
    return array if kind is None else array.view(kind)


# -- linear ----------------------------------------------------------------------------------------------------


@pytest.fixture
def always_worth(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, share in ((linear, 99.0), (alp, 99.0), (run_length, 0.95)):
        monkeypatch.setattr(module, "_WORTH", share)


@pytest.mark.usefixtures("always_worth")
@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("nulls", [0.0, 0.3])
def test_linear_holds_every_integer_of_4_and_8_bytes(kind: pa.DataType, nulls: float) -> None:
    signed = not pa.types.is_unsigned_integer(kind)
    for rows in SIZES:
        noise = np.random.default_rng(rows).integers(0, 500, rows)
        rising = np.arange(rows) * 700 + noise
        highest = 2 ** min(kind.bit_width - signed, 62 if signed else 64) - 1
        for values in (rising, highest - rising.astype(object), -rising if signed else rising + 5):
            array = masked(np.array(values).astype(f"{'i' if signed else 'u'}{kind.bit_width // 8}"), nulls, kind)
            if len(array.drop_null().unique()) > 1:
                check(forced("linear", array), array)


@pytest.mark.usefixtures("always_worth")
@pytest.mark.parametrize("stride", range(8))
def test_linear_has_every_stride(stride: int) -> None:
    for rows in SIZES[1:]:
        noise = np.random.default_rng(rows).integers(0, 1 << max(0, 8 * stride - 2), rows)
        page = forced("linear", pa.array(np.arange(rows) * 17 + noise))
        assert page is not None
        assert page.description["stride"] <= stride
        assert rows < 256 or page.description["stride"] == stride
        assert len(page.data) == rows * page.description["stride"] + 16 * -(-rows // 256)
        check(page, pa.array(np.arange(rows) * 17 + noise))


@pytest.mark.usefixtures("always_worth")
@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=600))
def test_linear_keeps_values_that_wrap_around(values: list[int]) -> None:
    array = pa.array(values, pa.int64())
    page = forced("linear", array)
    if page is not None:
        check(page, array)


def test_an_exact_line_takes_16_bytes_a_block() -> None:
    array = pa.array(np.arange(70_000) * 3 + 10**15)
    page = check(forced("linear", array), array)
    assert page.description["stride"] == 0
    assert len(page.data) == 274 * 16


def test_a_bend_costs_only_its_blocks() -> None:
    steps = np.where(np.arange(50_000) < 30_000, 1_000_000, 3)
    array = pa.array(np.cumsum(steps))
    assert check(forced("linear", array), array).description["stride"] <= 4


def test_linear_reads_rows_in_one_round() -> None:
    array = pa.array(np.arange(5000) * 9 + np.random.default_rng(0).integers(0, 9, 5000))
    page = forced("linear", array)
    assert page is not None
    for starts, ends in (whole(array), (np.array([7, 4000]), np.array([9, 4001]))):
        assert read(page, starts, ends)[1] == 1


def test_linear_leaves_what_is_not_sorted() -> None:
    rng = np.random.default_rng(0)
    for values in (rng.integers(0, 1 << 40, 5000), rng.integers(0, 100, 5000), np.full(5000, 7)):
        assert forced("linear", pa.array(values)) is None
    assert forced("linear", pa.array(np.arange(5000).astype(np.int16))) is None
    assert forced("linear", pa.nulls(50, pa.int64())) is None


def test_pages_of_linear_are_read_together() -> None:
    rng = np.random.default_rng(0)
    pages = [pa.array(start + np.arange(rows) * 8 + rng.integers(0, 8, rows)) for start, rows in ((0, 700), (9**9, 50))]
    check_together(pages, "linear")


# -- alp -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("decimals", [0, 1, 2, 4])
@pytest.mark.parametrize("nulls", [0.0, 0.3])
def test_alp_holds_decimals_without_exceptions(kind: type, decimals: int, nulls: float) -> None:
    rng = np.random.default_rng(decimals)
    for rows in (100, 5000):
        values = np.round(rng.uniform(-100, 100, rows), decimals) + 0.0
        page = check(forced("alp", masked(values.astype(kind), nulls)), masked(values.astype(kind), nulls))
        assert "limit" not in page.description
        assert page.description["exponent"] <= decimals


def test_alp_needs_no_exceptions_for_two_decimals_of_any_size() -> None:
    cents = np.random.default_rng(0).integers(-(10**14), 10**14, 20_000)
    array = pa.array(cents / 100)
    page = forced("alp", array)
    assert page is not None
    assert len(page.description["c"]) == 1


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("nulls", [0.0, 0.3])
def test_alp_keeps_every_bit_of_what_is_no_decimal(kind: type, nulls: float) -> None:
    values = np.round(np.random.default_rng(0).uniform(0, 100, 6000), 1).astype(kind)
    bits = values.view(f"u{values.itemsize}")
    sign = 1 << (8 * values.itemsize - 1)
    bits[10::200] = sign
    bits[11::200] = np.array(np.nan, kind).view(bits.dtype) | 5
    bits[12::200] = np.array(np.nan, kind).view(bits.dtype) | sign | 9
    values[13::200], values[14::200], values[15::200] = np.inf, -np.inf, np.finfo(kind).tiny / 2
    values[16::200], values[17::200] = 1 / 3, np.finfo(kind).max
    page = check(forced("alp", masked(values, nulls)), masked(values, nulls))
    assert page.description["c"][1]["n"] > 50


def test_alp_makes_outliers_exceptions() -> None:
    values = np.round(np.random.default_rng(0).uniform(0, 100, 20_000), 2)
    values[::2000] = 1e12
    array = pa.array(values)
    page = check(forced("alp", array), array)
    assert page.description["c"][1]["n"] == 10
    assert len(page.data) < 2.1 * 20_000


@pytest.mark.usefixtures("always_worth")
@given(st.lists(st.floats(width=64), min_size=64, max_size=300), st.sampled_from((np.float32, np.float64)))
def test_alp_keeps_any_floats(values: list[float], kind: type) -> None:
    with np.errstate(over="ignore"):
        array = pa.array(np.array(values).astype(kind))
    page = forced("alp", array)
    if page is not None:
        check(page, array)


def test_alp_leaves_what_is_no_decimal() -> None:
    rng = np.random.default_rng(0)
    for values in (rng.standard_normal(5000), rng.uniform(-90, 90, 5000), np.full(50, np.nan)):
        assert forced("alp", pa.array(values)) is None
        assert forced("alp", pa.array(values.astype(np.float32))) is None
    assert forced("alp", pa.array([1.5, 2.5], pa.float16())) is None
    assert forced("alp", pa.nulls(50, pa.float64())) is None


def test_pages_of_alp_are_read_together() -> None:
    rng = np.random.default_rng(0)
    pages = []
    for decimals, highest in ((2, 500), (1, 5000), (3, 60)):
        values = np.round(rng.uniform(0, highest, 500), decimals)
        values[::31] = np.nan
        pages.append(pa.array(values))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alp, "_WORTH", 9.0)
        check_together(pages, "alp")


# -- planes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [pa.int8(), pa.uint16(), *KINDS], ids=str)
@pytest.mark.parametrize("nulls", [0.0, 0.3])
def test_planes_hold_numbers_of_every_width(kind: pa.DataType, nulls: float) -> None:
    rng = np.random.default_rng(1)
    lowest = int(np.iinfo(integer_dtype(kind)).min)
    for width in range(1, kind.bit_width):
        numbers = rng.integers(0, 1 << width, 333, np.uint64, endpoint=False)
        numbers[:2] = 0, (1 << width) - 1
        values = (numbers + np.uint64(lowest % 2**64)).view(np.int64 if lowest else np.uint64)
        array = pa.array(values.astype(integer_dtype(kind))).view(kind)
        if nulls:
            array = pc.if_else(pa.array(rng.random(333) < nulls), None, array)
        page = forced("planes", array)
        stride, bits = divmod(width, 8)
        if not nulls:
            assert (page is not None) == (bits > 0 and width <= 0.8 * min(8 * (stride + 1), kind.bit_width))
        if page is not None:
            check(page, array)
            if not nulls:
                assert [size for _, size in page.description["b"]] == [333 * stride, 42 * bits]


def test_planes_reach_over_pieces_of_work() -> None:
    values = np.random.default_rng(0).integers(0, 1 << 17, 2 * BATCH_ROWS + 77)
    check(forced("planes", pa.array(values)), pa.array(values))
    check(forced("planes", pa.array(values & 7)), pa.array(values & 7))


def test_planes_leave_few_rows_and_whole_bytes() -> None:
    rng = np.random.default_rng(0)
    assert forced("planes", pa.array(rng.integers(0, 1 << 10, 63))) is None
    assert forced("planes", pa.array(rng.integers(0, 1 << 23, 500))) is None
    assert forced("planes", pa.array(np.append(rng.integers(0, 1 << 16, 500), [0, (1 << 16) - 1]))) is None
    assert forced("planes", pa.nulls(500, pa.int64())) is None


def test_planes_are_for_items_of_lists_alone() -> None:
    items = pa.array(np.random.default_rng(0).integers(0, 1 << 10, 40_000))
    lists = pa.FixedSizeListArray.from_arrays(items, 4)
    listed = pa.ListArray.from_arrays(pa.array(np.arange(0, 40_001, 4), pa.int32()), items)
    tree = encode_array(listed, Hints())
    assert [child.encoding for child in tree.children] == ["linear", "planes"]
    assert encode_array(items, Hints()).encoding == "bitpack"
    assert encode_array(lists, Hints()).encoding == "plain"


def test_pages_of_planes_are_read_together() -> None:
    rng = np.random.default_rng(0)
    pages = [np.append(rng.integers(0, 1 << 17, n), [0, (1 << 17) - 1]) + 10**9 * n for n in (100, 263, 700)]
    check_together([pa.array(values) for values in pages], "planes")


# -- run_length ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("always_worth")
@pytest.mark.parametrize("kind", ["i1", "u2", "i4", "i8", "f4", "f8"])
@pytest.mark.parametrize("nulls", [0.0, 0.3])
def test_run_length_holds_values_of_1_to_8_bytes(kind: str, nulls: float) -> None:
    for rows in SIZES[1:]:
        rng = np.random.default_rng(rows)
        values = np.repeat(rng.integers(0, 100, rows), rng.integers(5, 40, rows))[:rows].astype(kind)
        array = masked(values, nulls)
        page = forced("run_length", array)
        assert page is not None or rows < 256
        if page is not None:
            check(page, array)


def test_runs_may_end_anywhere_in_a_line() -> None:
    for length in (LINE_BITS - 1, LINE_BITS, LINE_BITS + 1, 2 * LINE_BITS, 37):
        array = pa.array(np.repeat(np.arange(20) * 10**6, length))
        check(forced("run_length", array), array)


def test_run_length_keeps_the_bits_of_floats() -> None:
    values = np.repeat(np.array([0.0, -0.0, np.nan, np.inf, 1.5]), 100)
    values.view(np.uint64)[250:300] |= 77
    array = pa.array(values)
    page = check(forced("run_length", array), array)
    assert page.description["c"][0]["n"] == 6


def test_run_length_leaves_what_changes_often() -> None:
    rng = np.random.default_rng(0)
    assert forced("run_length", pa.array(rng.integers(0, 1 << 40, 5000))) is None
    assert forced("run_length", pa.array(np.repeat(rng.integers(0, 4, 2500), 2))) is None
    assert forced("run_length", pa.array(["a"] * 5000)) is None
    assert forced("run_length", pa.nulls(50, pa.int64())) is None


WIDE = {
    "vectors": pa.list_(pa.float32(), 16),
    "vectors of vectors": pa.list_(pa.list_(pa.int16(), 3), 5),
    "fixed-size binary": pa.binary(20),
    "intervals": pa.month_day_nano_interval(),
}


def wide_cells(kind: pa.DataType, present: np.ndarray) -> pa.Array:
    """Random cells of a wide flat type where `present`, nulls elsewhere."""
    width, rng = flat_width(kind), np.random.default_rng(len(present))
    assert width is not None
    data = rng.integers(0, 100, len(present) * width, np.uint8)
    return with_validity(flat_array(kind, data, len(present)), np.packbits(present, bitorder="little"))


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("rows", [9, 480, 481, 3000])
@pytest.mark.parametrize("kind", WIDE)
def test_run_length_gives_no_room_to_wide_cells_that_are_null(kind: str, rows: int, first: bool) -> None:
    present = np.arange(rows) % 7 == (0 if first else 1)
    array = wide_cells(WIDE[kind], present)
    page = check(forced("run_length", array), array)
    assert page.description["c"][0]["n"] == present.sum()
    assert encode_array(array, Hints()).encoding == "run_length"
    sliced = array.slice(rows // 3)
    if 0 < sliced.null_count < len(sliced):
        check(forced("run_length", sliced), sliced)


@pytest.mark.parametrize("kind", WIDE)
def test_run_length_leaves_wide_cells_that_are_mostly_there(kind: str) -> None:
    assert forced("run_length", wide_cells(WIDE[kind], np.arange(900) % 9 < 5)) is None
    assert forced("run_length", wide_cells(WIDE[kind], np.zeros(900, bool))) is None


def test_pages_of_wide_cells_are_read_together() -> None:
    rng = np.random.default_rng(0)
    check_together([wide_cells(WIDE["vectors"], rng.random(n) < 0.3) for n in (500, 700, 2000)], "run_length")


def test_pages_of_run_length_are_read_together() -> None:
    rng = np.random.default_rng(0)
    check_together(
        [pa.array(np.append(rng.integers(0, 1 << 20, n), [0, 1 << 23]).repeat(50)) for n in (3, 50, 17)], "run_length"
    )


def test_lines_that_count_wrong_are_refused() -> None:
    array = pa.array(np.repeat(np.arange(100) * 10**6, 20))
    page = forced("run_length", array)
    assert page is not None
    data = page.data.copy()
    data[64] += 1
    with pytest.raises(Corrupt, match="disagree"):
        read(Page(page.description, data, page.kind), *whole(array))


# -- dictionary of numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [pa.int64(), pa.int32(), pa.float64(), pa.float32(), pa.timestamp("ns")], ids=str)
@pytest.mark.parametrize("nulls", [0.0, 0.3])
def test_few_distinct_numbers_become_a_dictionary(kind: pa.DataType, nulls: float) -> None:
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 1 << (kind.bit_width - 1), 30)[rng.integers(0, 30, 4000)]
    array = masked(bits.astype(f"i{kind.bit_width // 8}"), nulls, kind)
    page = check(forced("dictionary", array), array)
    assert len(page.data) < 4000


def test_a_dictionary_of_floats_tells_zeros_and_nans_apart() -> None:
    values = np.tile(np.array([0.0, -0.0, np.nan, np.nan, 1 / 3, np.inf]), 500)
    values.view(np.uint64)[3::6] |= 1 << 63
    array = pa.array(values)
    page = check(forced("dictionary", array), array)
    assert page.description["c"][1]["n"] == 6


def test_numbers_that_bits_hold_as_well_make_no_dictionary() -> None:
    rng = np.random.default_rng(0)
    for values in (rng.integers(0, 30, 4000), rng.integers(0, 1 << 40, 4000), rng.standard_normal(4000)):
        assert forced("dictionary", pa.array(values)) is None


def test_pages_of_numbers_with_dictionaries_are_read_together() -> None:
    rng = np.random.default_rng(0)
    pages = [pa.array(rng.integers(0, 1 << 60, 20)[rng.integers(0, 20, 700)]) for _ in range(3)]
    check_together(pages, "dictionary")


# -- patched ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("nulls", [0.0, 0.3])
def test_patched_holds_outliers_of_every_width(kind: pa.DataType, nulls: float) -> None:
    signed = not pa.types.is_unsigned_integer(kind)
    dtype = np.dtype(f"{'i' if signed else 'u'}{kind.bit_width // 8}")
    ends = np.iinfo(dtype)
    for rows in (300, 2000, 9000):
        rng = np.random.default_rng(rows)
        usual, far = rng.integers(5, 90, rows).astype(dtype), rng.random(rows) < 0.03
        for outliers in (ends.max, ends.min if signed else ends.max - 5, rng.integers(1 << 20, 1 << 30, rows)):
            array = masked(np.where(far, np.array(outliers, dtype), usual), nulls, kind)
            page = check(forced("patched", array), array)
            assert page.description["c"][1]["n"] >= np.count_nonzero(far & array.is_valid().to_numpy(False))


def test_one_value_far_from_the_others_costs_itself() -> None:
    values = np.random.default_rng(0).integers(0, 200, 100_000)
    values[77_777] = 1 << 60
    page = check(forced("patched", pa.array(values)), pa.array(values))
    assert len(page.data) < 100_200


def test_nulls_are_no_outliers() -> None:
    values = np.random.default_rng(0).integers(1000, 1200, 20_000)
    values[::500] = -(10**15)
    array = masked(values, 0.5)
    page = check(forced("patched", array), array)
    assert page.description["c"][1]["n"] < 40


def test_patched_leaves_what_has_no_outliers() -> None:
    rng = np.random.default_rng(0)
    for values in (rng.integers(0, 1 << 40, 5000), rng.normal(0, 10**6, 5000).astype(np.int64), np.full(5000, 7)):
        assert forced("patched", pa.array(values)) is None
    many = np.where(rng.random(5000) < 0.6, rng.integers(0, 1 << 40, 5000), 3)
    assert forced("patched", pa.array(many)) is None
    assert forced("patched", pa.nulls(500, pa.int64())) is None


def test_pages_of_several_limits_are_read_together() -> None:
    rng = np.random.default_rng(0)
    far = [rng.random(700) < 0.02 for _ in range(3)]
    usual = [rng.integers(low, low + 90, 700) for low in (5, 500, -9)]
    pages = [pa.array(np.where(some, 10**15, values)) for some, values in zip(far, usual, strict=True)]
    check_together(pages, "patched")


# -- scaled ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("nulls", [0.0, 0.3])
def test_scaled_holds_round_numbers_of_every_width(kind: pa.DataType, nulls: float) -> None:
    dtype = f"{'u' if pa.types.is_unsigned_integer(kind) else 'i'}{kind.bit_width // 8}"
    for rows in (100, 257, 2000):
        numbers = np.random.default_rng(rows).integers(0, 99, rows)
        for factor, base in ((1000, 7), (1 << (kind.bit_width - 9), 0)):
            array = masked((numbers.astype(object) * factor + base).astype(dtype), nulls, kind)
            page = check(forced("scaled", array), array)
            assert int(page.description["factor"]) % factor == 0


def test_scaled_reaches_the_ends_of_64_bits() -> None:
    for ends, dtype in (((-(2**63), 0, 2**62), np.int64), ((0, 2**63, 2**64 - 2**61), np.uint64)):
        array = pa.array(np.array(ends * 50, dtype))
        check(forced("scaled", array), array)


def test_two_values_further_apart_than_the_largest_factor_are_read_back() -> None:
    for ends, dtype in (((-(2**63), 2**63 - 1), np.int64), ((0, 2**63), np.uint64), ((1, 2**63), np.uint64)):
        array = pa.array(np.array(ends, dtype)[np.random.default_rng(0).integers(0, 2, 5000)])
        check(page_of(encode_array(array, Hints()), array.type, Hints()), array)
    assert forced("scaled", pa.array(np.array([0, 2**63] * 50, np.uint64))) is None
    assert forced("scaled", pa.array(np.array([0, 2**63 - 1] * 50, np.uint64))) is not None


def test_scaled_leaves_what_has_no_factor() -> None:
    rng = np.random.default_rng(0)
    odd = rng.integers(0, 10**6, 5000) * 1000
    odd[4321] += 1
    for values in (rng.integers(0, 1 << 40, 5000), rng.integers(0, 1 << 40, 5000) * 4, np.full(5000, 7), odd):
        assert forced("scaled", pa.array(values)) is None
    assert forced("scaled", pa.array(rng.integers(0, 99, 60) * 1000)) is None
    assert forced("scaled", pa.nulls(500, pa.int64())) is None


def test_lines_of_round_numbers_are_lines() -> None:
    array = pa.array(np.arange(5000) * 60_000 + 7)
    assert forced("scaled", array) is None
    assert encode_array(array, Hints()).encoding == "linear"


def test_a_factor_that_the_sample_does_not_show_is_found() -> None:
    values = np.random.default_rng(0).integers(0, 10**6, 50_000) * 6000
    values[31_234] += 2000
    page = check(forced("scaled", pa.array(values)), pa.array(values))
    assert page.description["factor"] == "2000"


def test_nulls_do_not_break_lines_of_round_numbers() -> None:
    steps = np.random.default_rng(0).integers(1, 9, 5000)
    array = masked((10**9 + np.cumsum(steps)) * 10**9, 0.2, pa.timestamp("ns"))
    page = check(forced("scaled", array), array)
    assert page.description["c"][0]["e"] == "linear"


def test_pages_of_several_factors_are_read_together() -> None:
    rng = np.random.default_rng(0)
    pages = [pa.array(rng.integers(0, 200, 700) * factor + 3) for factor in (1000, 10_000, 1_000_000)]
    check_together(pages, "scaled")


# -- decimal ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nulls", [0.0, 0.3])
@pytest.mark.parametrize("bits", [32, 64, 128, 256])
def test_decimals_of_all_widths_are_integers(bits: int, nulls: float) -> None:
    kind = getattr(pa, f"decimal{bits}")(9, 2)
    for rows in SIZES:
        numbers = np.random.default_rng(rows).integers(-9_000, 9_000, rows)
        mask = np.random.default_rng(rows).random(rows) < nulls
        cells = [None if null else Decimal(int(n)).scaleb(-2) for n, null in zip(numbers, mask, strict=True)]
        array = pa.array(cells, kind)
        if array.null_count < rows:
            page = forced("decimal", array)
            if rows > 300:
                assert page is not None and len(page.data) < 0.75 * rows * bits // 8
            if page is not None:
                check(page, array)


def test_decimals_that_need_more_than_64_bits_stay_as_they_are() -> None:
    kind = pa.decimal128(38, 0)
    for long in (2**63, -(2**63) - 1, 10**37):
        numbers = [1] * 500
        numbers[77] = long
        array = pa.array([Decimal(n) for n in numbers], kind)
        assert forced("decimal", array) is None
        assert encode_array(array, Hints()).encoding == "plain"
    for most in (2**63 - 1, -(2**63)):
        array = pa.array([Decimal(n) for n in [1, most] * 200], kind)
        check(forced("decimal", array), array)
    hidden = pc.if_else(pa.array([i != 77 for i in range(500)]), pa.array([Decimal(n) for n in numbers], kind), None)
    check(forced("decimal", hidden), hidden)


def test_short_decimals_that_are_no_smaller_as_integers_stay_as_they_are() -> None:
    numbers = np.random.default_rng(0).integers(-(10**8), 10**8, 5000)
    assert forced("decimal", pa.array([Decimal(int(n)) for n in numbers], pa.decimal32(9, 0))) is None
    assert forced("decimal", pa.array([1.5, 2.5])) is None
    assert forced("decimal", pa.array([5, 6])) is None


def test_pages_of_decimals_are_read_together() -> None:
    rng = np.random.default_rng(0)
    pages = [pa.array([Decimal(int(n)) for n in rng.integers(0, 9_999, 700)], pa.decimal128(9, 2)) for _ in range(3)]
    check_together(pages, "decimal")


# -- which one is chosen ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "name"),
    [
        (np.arange(9000) * 8 + np.random.default_rng(0).integers(0, 8, 9000), "linear"),
        (np.random.default_rng(0).integers(0, 1 << 20, 16_384), "bitpack"),
        (np.random.default_rng(0).integers(0, 1 << 20, 16_384) * 10**9, "scaled"),
        (np.random.default_rng(0).integers(0, 1 << 24, 9000), "narrow"),
        (np.minimum(np.random.default_rng(0).zipf(1.5, 9000), 1 << 50), "patched"),
        (np.random.default_rng(0).integers(-(2**63), 2**63 - 1, 9000), "plain"),
        (np.repeat(np.random.default_rng(0).integers(0, 1 << 40, 90), 100), "run_length"),
        (np.random.default_rng(0).integers(0, 1 << 60, 9)[np.random.default_rng(1).integers(0, 9, 9000)], "dictionary"),
        (np.full(9000, 7), "constant"),
        (np.round(np.random.default_rng(0).random(9000), 3), "alp"),
        (np.random.default_rng(0).random(9000), "plain"),
        (np.random.default_rng(0).random(9)[np.random.default_rng(1).integers(0, 9, 9000)], "dictionary"),
        (np.repeat(np.random.default_rng(0).random(90), 100), "run_length"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_numbers_get_the_encoding_that_fits(values: np.ndarray, name: str) -> None:
    assert encode_array(pa.array(values), Hints()).encoding == name


def test_offsets_are_lines() -> None:
    words = pa.array([np.random.default_rng(i).bytes(i % 50 + 20) for i in range(3000)])
    lists = pa.array([[1, 2, 3][: i % 4] for i in range(3000)])
    for array in (words, lists):
        assert encode_array(array, Hints()).children[0].encoding == "linear"


# -- descriptions no writer makes ------------------------------------------------------------------------------


def test_numbers_that_are_null_are_refused() -> None:
    nothing = Encoded("constant", 3, {"x": None})
    for tree, kind in (
        (Encoded("alp", 3, {"exponent": 1}, children=(nothing,)), pa.float64()),
        (Encoded("run_length", 3, {}, (np.array([0, 0, 0, 0, 1], np.uint8),), (nothing,)), pa.int64()),
    ):
        with pytest.raises(Corrupt):
            read(page_of(tree, kind), *whole(3))


@pytest.mark.parametrize("limit", [None, "3", 1.0, True, 2**53 + 1, -(2**53) - 1])
def test_a_limit_that_is_no_number_is_refused(limit: object) -> None:
    number = Encoded("plain", 2, {}, (np.arange(2).view(np.uint8),))
    floats = Encoded("plain", 1, {}, (np.ones(1).view(np.uint8),))
    tree = Encoded("alp", 2, {"exponent": 1, "limit": limit}, children=(number, floats))
    with pytest.raises(Corrupt, match="limit"):
        read(page_of(tree, pa.float64()), *whole(2))


def _pages_of_numbers() -> dict[str, tuple[Page, int]]:
    rng = np.random.default_rng(0)
    prices = np.round(rng.lognormal(3, 1, 600), 2)
    prices[::40] = np.nan
    arrays = {
        "linear": pa.array(np.arange(600) * 800 + rng.integers(0, 500, 600), mask=rng.random(600) < 0.1),
        "alp": pa.array(prices),
        "run_length": pa.array(np.repeat(rng.integers(0, 1 << 30, 60), 20)),
        "dictionary": pa.array(rng.integers(0, 1 << 60, 20)[rng.integers(0, 20, 600)]),
        "patched": pa.array(np.minimum(rng.zipf(1.5, 600), 1 << 50), mask=rng.random(600) < 0.1),
        "scaled": pa.array(rng.integers(0, 9000, 600) * 10**6 - 7, mask=rng.random(600) < 0.1),
        "decimal": pa.array([Decimal(int(n)) for n in rng.integers(-9000, 9000, 600)], pa.decimal128(9, 0)),
        "planes": pa.array(rng.integers(0, 1 << 17, 600), mask=rng.random(600) < 0.1),
    }
    pages = {name: (forced(name, array), len(array)) for name, array in arrays.items()}
    return {name: (page, rows) for name, (page, rows) in pages.items() if page is not None}


NUMBERS = _pages_of_numbers()


@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_wrong_members_of_numbers_are_refused_or_read_as_something(name: str) -> None:
    page, rows = NUMBERS[name]
    check_members(page, rows)


@pytest.mark.parametrize(
    "description",
    [
        {"e": "plain", "n": 0, "b": [[0, 0]]},
        {"e": "constant", "n": 0, "x": "00" * 8},
        {"e": "narrow", "n": 0, "base": "7", "stride": 2, "b": [[0, 0]]},
        {"e": "bitpack", "n": 0, "base": "7", "width": 3, "lanes": 5, "b": [[0, 0]]},
        {"e": "planes", "n": 0, "base": "7", "stride": 1, "bits": 2, "b": [[0, 0], [0, 0]]},
        {"e": "linear", "n": 0, "stride": 2, "b": [[0, 0]]},
        {"e": "linear", "n": 0, "stride": 0, "b": [[0, 0]]},
        {"e": "run_length", "n": 0, "b": [[0, 0]], "c": [{"e": "plain", "n": 0, "b": [[0, 0]]}]},
        {"e": "scaled", "n": 0, "base": "7", "factor": "2", "c": [{"e": "plain", "n": 0, "b": [[0, 0]]}]},
        {"e": "patched", "n": 0, "limit": "7", "c": 2 * [{"e": "plain", "n": 0, "b": [[0, 0]]}]},
        {"e": "dictionary", "n": 0, "c": 2 * [{"e": "plain", "n": 0, "b": [[0, 0]]}]},
    ],
    ids=lambda description: description["e"],
)
def test_a_node_without_rows_is_read_without_bytes(description: dict[str, Any]) -> None:
    page = Page(description, np.empty(0, np.uint8), pa.int64())
    for starts, ends in (whole(0), (np.zeros(2, np.int64), np.zeros(2, np.int64))):
        asked = conversation_of(page, starts, ends)
        with pytest.raises(StopIteration) as stop:
            asks = next(asked)
            while True:
                assert all(
                    (first <= last).all() and (first >= 0).all() and (last <= 0).all() for first, last, _ in asks
                )
                asks = asked.send([np.empty(0, np.uint8) for _ in asks])
        assert stop.value.value.equals(pa.array([], pa.int64()))


@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_wrong_bytes_of_numbers_are_refused_or_read_as_something(name: str) -> None:
    check_bytes(*NUMBERS[name], np.random.default_rng(1), random=15, spots=150)
