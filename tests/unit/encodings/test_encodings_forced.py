"""Each encoding by name, at the edges of what it takes: widths, strides, extremes, dictionaries, block sizes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from arrow_values import FLAT, STYLES, VARIABLE, WORDS, Shape, arrays, make_array, same
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

from lance_like.encodings import bitpack, constant, zstd
from lance_like.encodings.base import Encoded, Hints
from lance_like.encodings.registry import ENCODINGS
from lance_like.errors import Corrupt
from lance_like.ranges import gather_from

INTEGERS = tuple(kind for kind in FLAT if pa.types.is_integer(kind))
INT64 = (-(2**63), 2**63 - 1)
UINT64 = (0, 2**64 - 1)


def check(page: Page | None, array: pa.Array) -> None:
    """A page that was made, and from which all reads equal Arrow."""
    assert page is not None
    rng = np.random.default_rng(len(array))
    node = page.open()
    for starts, ends in (whole(array), random_ranges(len(array), rng), random_ranges(len(array), rng, 1)):
        assert same(read(page, starts, ends, node)[0], expected_ranges(array, starts, ends))
    rows = rng.integers(0, max(1, len(array)), 50 if len(array) else 0)
    assert same(read(page, rows, rows + 1, node)[0], expected_rows(array, rows))


def spread(base: int, bits: int, rows: int, kind: pa.DataType) -> pa.Array:
    """Integers from base to base + 2^bits - 1, both of them there, modulo the width of the type."""
    rng = np.random.default_rng(bits)
    differences = rng.integers(0, (1 << bits) - 1, rows, np.uint64, endpoint=True)
    differences[0], differences[-1] = 0, (1 << bits) - 1
    values = differences + np.uint64(base % 2**64)
    return pa.Array.from_buffers(kind, rows, [None, pa.py_buffer(values.astype(f"<u{kind.bit_width // 8}"))])


# -- narrow ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stride", range(1, 8))
@pytest.mark.parametrize(("kind", "low", "high"), [(pa.int64(), *INT64), (pa.uint64(), *UINT64)], ids=str)
def test_narrow_has_every_stride(kind: pa.DataType, low: int, high: int, stride: int) -> None:
    for bits in (8 * stride - 7, 8 * stride):
        for base in (low, high - (1 << bits) + 1, 0, 12_345):
            for rows in (2, 3, 7, 1000):
                array = spread(base, bits, rows, kind)
                page = forced("narrow", array)
                check(page, array)
                assert page is not None
                assert page.description["stride"] == stride
                assert len(page.data) == rows * stride


@pytest.mark.parametrize("kind", FLAT, ids=str)
def test_narrow_takes_every_integer_like_type_that_gains(kind: pa.DataType) -> None:
    t = pa.types
    if not (t.is_integer(kind) or (t.is_temporal(kind) and not t.is_interval(kind))) or kind.bit_width == 8:
        return
    array = spread(100, 7, 300, kind)
    check(forced("narrow", array), array)


@pytest.mark.parametrize(("kind", "low", "high"), [(pa.int64(), *INT64), (pa.uint64(), *UINT64)], ids=str)
def test_the_whole_range_of_a_type_is_not_narrow(kind: pa.DataType, low: int, high: int) -> None:
    array = pa.array([low, high, 0], kind)
    assert forced("narrow", array) is None
    assert forced("bitpack", array) is None
    check(forced("plain", array), array)


@pytest.mark.parametrize("name", ["narrow", "bitpack"])
def test_nulls_hide_what_lies_below_them(name: str) -> None:
    values = np.array([5, -(2**63), 7, 2**63 - 1] * 100, np.int64)
    array = pa.Array.from_buffers(pa.int64(), 400, [pa.py_buffer(b"\x55" * 50), pa.py_buffer(values)])
    assert array.null_count == 200
    page = forced(name, array)
    check(page, array)
    assert page is not None
    assert page.description["base"] == "5"
    assert forced(name, array.slice(1, 1)) is None


def test_rows_of_narrow_pages_have_a_place() -> None:
    array = spread(-5, 20, 100, pa.int32())
    page = forced("narrow", array)
    assert page is not None
    asks = next(conversation_of(page, np.array([7]), np.array([9])))
    assert [(starts.tolist(), ends.tolist()) for starts, ends, _ in asks] == [([21], [27])]
    assert (page.description["base"], page.description["stride"]) == ("-5", 3)


# -- bitpack ---------------------------------------------------------------------------------------------------


@pytest.fixture
def always_worth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bitpack, "_WORTH", (100.0,) * 9)
    monkeypatch.setattr(bitpack, "LEAST_SAVED_NBYTES", -1000)


@pytest.mark.usefixtures("always_worth")
@pytest.mark.parametrize("width", range(1, 64))
def test_bitpack_has_every_width(width: int) -> None:
    for kind, base in (
        (pa.int64(), INT64[0]),
        (pa.int64(), INT64[1] - (1 << width) + 1),
        (pa.uint64(), 2**64 - (1 << width)),
    ):
        for rows in (2, 64, 65, 1000):
            array = spread(base, width, rows, kind)
            page = forced("bitpack", array)
            check(page, array)
            assert page is not None
            assert page.description["width"] == width


@pytest.mark.usefixtures("always_worth")
@pytest.mark.parametrize("kind", INTEGERS, ids=str)
def test_bitpack_has_every_integer_type(kind: pa.DataType) -> None:
    for bits in range(1, kind.bit_width if kind.bit_width < 64 else 63):
        array = (
            spread(2**kind.bit_width - 3, bits, 200, kind)
            if pa.types.is_signed_integer(kind)
            else spread(0, bits, 200, kind)
        )
        check(forced("bitpack", array), array)


@pytest.mark.usefixtures("always_worth")
@pytest.mark.parametrize("lanes", [1, 2, 3, 127, 128, 200])
def test_bitpack_has_any_number_of_lanes(monkeypatch: pytest.MonkeyPatch, lanes: int) -> None:
    for width in (1, 8, 9, 13, 31, 33, 63):
        strips = 8 * bitpack.word_dtype(width).itemsize
        monkeypatch.setattr(bitpack, "_TILE_ROWS", strips * lanes)
        for rows in (strips * lanes - 1, strips * lanes, 3 * strips * lanes + 17):
            array = spread(7, width, rows, pa.uint64())
            page = forced("bitpack", array)
            check(page, array)
            assert page is not None
            assert page.description["lanes"] == bitpack._tiling(rows, strips)[1] <= lanes


def test_bitpack_is_left_alone_where_bytes_are_as_good() -> None:
    assert forced("bitpack", spread(0, 7, 8192, pa.int64())) is None
    assert forced("bitpack", spread(0, 6, 8192, pa.int64())) is not None
    assert forced("bitpack", spread(0, 1, 300, pa.int64())) is not None
    assert forced("bitpack", spread(0, 1, 290, pa.int64())) is None


@given(low=st.integers(*INT64), bits=st.integers(1, 63), rows=st.integers(1, 300), nulls=st.sampled_from((0, 0.3)))
def test_integers_that_wrap_around_survive(low: int, bits: int, rows: int, nulls: float) -> None:
    values = np.random.default_rng(rows).integers(0, 1 << bits, rows, np.uint64) + np.uint64(low % 2**64)
    mask = np.random.default_rng(bits).random(rows) < nulls
    array = pa.array(values.view(np.int64), mask=mask)
    for name in ("narrow", "bitpack"):
        page = forced(name, array)
        if page is not None:
            check(page, array)


# -- plain -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", [pa.bool_(), pa.list_(pa.float32(), 4), pa.list_(pa.list_(pa.int8(), 2), 3), *FLAT], ids=str
)
def test_plain_takes_every_flat_type(kind: pa.DataType) -> None:
    for style in STYLES:
        for nulls in (0.0, 0.2, 1.0):
            array = make_array(kind, 130, Shape(style, nulls), np.random.default_rng(0)).slice(3, 119)
            page = forced("plain", array)
            # A null inside a list has no place among plain values; one below a null list cannot be seen.
            assert page is not None or (pa.types.is_fixed_size_list(kind) and nulls > 0)
            if page is not None:
                check(page, array)


def test_one_run_of_plain_values_is_not_copied() -> None:
    array = pa.array(np.arange(100.0))
    page = forced("plain", array)
    assert page is not None
    (answer, rounds) = read(page, np.array([10]), np.array([90]))
    assert rounds == 1
    address = answer.buffers()[1].address
    assert address == page.data.ctypes.data + 80


# -- constant --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [pa.bool_(), pa.list_(pa.float32(), 4), *FLAT, *VARIABLE], ids=str)
def test_constant_takes_one_repeated_value(kind: pa.DataType) -> None:
    one = make_array(kind, 1, Shape("any", 0.0), np.random.default_rng(5))
    for rows in (1, 2, 64, 1000):
        array = pa.concat_arrays([one] * rows)
        page = forced("constant", array)
        check(page, array)
        assert page is not None
        assert len(page.data) == 0
        with_nulls = pa.concat_arrays([pa.nulls(1, kind), *[one] * rows, pa.nulls(2, kind)])
        check(forced("constant", with_nulls), with_nulls)


@pytest.mark.parametrize(
    "kind", [pa.null(), pa.bool_(), pa.dictionary(pa.int8(), pa.string()), *FLAT, *VARIABLE], ids=str
)
def test_constant_takes_nothing_but_nulls(kind: pa.DataType) -> None:
    array = pa.nulls(33, kind)
    page = forced("constant", array)
    check(page, array)
    assert page is not None
    assert page.description == {"e": "constant", "n": 33, "x": None}


def test_constant_refuses_what_differs_anywhere() -> None:
    for rows in (2, 65, 1000):
        for place in (0, 1, rows // 2, rows - 1):
            values = [7] * rows
            values[place] = 8
            assert forced("constant", pa.array(values)) is None
            assert forced("constant", pa.array([str(value) for value in values])) is None
            assert forced("constant", pa.array([value == 7 for value in values])) is None
    assert forced("constant", pa.array([7, None, 8])) is None
    with_null = forced("constant", pa.array([7, None, 7]))
    assert with_null is not None
    assert forced("constant", pa.array([], pa.int8())) is None
    assert forced("constant", pa.array([0.0, -0.0])) is None
    assert forced("constant", pa.array(["a", "bb", "c"])) is None
    assert forced("constant", pa.array(["x" * (constant._MAX_VALUE + 1)] * 2)) is None
    assert forced("constant", pa.array(["x" * constant._MAX_VALUE] * 2)) is not None


# -- variable and zstd -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["variable", "zstd", "dictionary"])
@pytest.mark.parametrize("kind", VARIABLE, ids=str)
@given(data=st.data())
def test_variable_cells_survive_every_encoding(name: str, kind: pa.DataType, data: st.DataObject) -> None:
    array = data.draw(arrays(kind))
    page = forced(name, array)
    if page is not None:
        check(page, array)


@pytest.mark.parametrize("rows", [1, 2, 32, 500])
def test_zstd_blocks_hold_any_number_of_rows(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    words = [WORDS[i % 9] * (i % 5) for i in range(500)]
    array = pa.array([word if i % 7 else None for i, word in enumerate(words)])
    size = sum(len(word.encode()) for i, word in enumerate(words) if i % 7)
    monkeypatch.setattr(zstd, "_LONE_BLOCK_NBYTES", rows * size / 500 + 0.5)
    page = forced("zstd", array)
    check(page, array)
    assert page is not None
    assert page.description["rows"] == rows


@pytest.mark.parametrize(("longest", "stride"), [(255, 1), (256, 2), (65_536, 3)])
def test_zstd_lengths_take_the_bytes_that_the_longest_needs(longest: int, stride: int) -> None:
    array = pa.array([*(f"word {i % 9}" for i in range(5000)), "y" * longest, None, "z"])
    page = forced("zstd", array)
    check(page, array)
    assert page is not None
    assert page.description["stride"] == stride


def test_zstd_blocks_without_any_bytes_are_read() -> None:
    array = pa.array(
        [*["" for _ in range(5000)], *["many words " * 9 for _ in range(50)], *[None for _ in range(5000)]]
    )
    page = forced("zstd", array)
    check(page, array)


@pytest.mark.parametrize("group", [1, 5_000, 1 << 18])
def test_zstd_decompresses_many_frames_in_one_call(monkeypatch: pytest.MonkeyPatch, group: int) -> None:
    monkeypatch.setattr(zstd, "_GROUP_NBYTES", group)
    # Cells that shrink to a hundredth fill more than one of the library's buffers.
    cells = [f"{i % 10}" * 700 for i in range(2_000)]
    some_empty = ["" if i % 7 == 3 else cell for i, cell in enumerate(cells)]
    for array in (pa.array(cells), pa.array(some_empty), pa.array([cell[:9] for cell in some_empty] * 40)):
        page = forced("zstd", array)
        check(page, array)
        assert page is not None
        assert page.description["n"] // page.description["rows"] > zstd._MANY


def test_zstd_trains_one_dictionary_for_all_pages_of_a_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zstd, "_SMALLEST_DICTIONARY", 1 << 12)
    hints = Hints()
    rng = np.random.default_rng(0)
    vocabulary = ["".join(chr(97 + c) for c in rng.integers(0, 26, 7)) for _ in range(300)]
    pages = [pa.array([" ".join(rng.choice(vocabulary, 12)) for _ in range(1500)]) for _ in range(2)]
    made = [forced("zstd", array, hints) for array in pages]
    assert hints.trained("zstd")
    for page, array in zip(made, pages, strict=True):
        check(page, array)
        assert page is not None
        start, nbytes = page.description["d"]
        assert page.shared[start : start + nbytes] == hints.trained("zstd")
    untrained = Hints()
    untrained.train("zstd", b"")
    plain = forced("zstd", pages[1], untrained)
    assert made[1] is not None
    assert plain is not None
    assert made[1].description["b"][0][1] < 0.9 * plain.description["b"][0][1]


def test_zstd_leaves_what_does_not_shrink() -> None:
    noise = np.random.default_rng(0).bytes(100_000)
    assert forced("zstd", pa.array([noise[i : i + 100] for i in range(0, 100_000, 100)])) is None
    assert forced("zstd", pa.array(["x" * (zstd._LARGEST_MEAN_CELL + 1)] * 3)) is None
    assert forced("zstd", pa.array(["a", "a"])) is None


def test_rows_of_zstd_pages_read_only_their_blocks() -> None:
    array = pa.array([f"{i:05d} some text that repeats" for i in range(5000)])
    page = forced("zstd", array)
    assert page is not None
    asked: list[int] = []
    conversation = conversation_of(page, np.array([2500]), np.array([2501]))
    asks = next(conversation)
    try:
        while True:
            asked += [int((ends - starts).sum()) for starts, ends, _ in asks]
            asks = conversation.send([gather_from(page.data, first, last) for first, last, _ in asks])
    except StopIteration as stop:
        assert stop.value.to_pylist() == ["02500 some text that repeats"]
    assert sum(asked) < 1024


# -- dictionary ------------------------------------------------------------------------------------------------


def test_dictionary_takes_what_repeats() -> None:
    array = pa.array([None if i % 11 == 0 else WORDS[i % 7] for i in range(1000)])
    for kind in VARIABLE:
        check(forced("dictionary", array.cast(kind)), array.cast(kind))
    assert forced("dictionary", pa.array([str(i) for i in range(1000)])) is None
    assert forced("dictionary", array.slice(0, 15)) is None
    # Sorted by value, one part of the page looks constant.
    assert forced("dictionary", pa.array([str(i) for i in range(300)] + ["z"] * 300)) is None


@pytest.mark.parametrize("index", INTEGERS, ids=str)
def test_dictionary_types_keep_their_values_and_index_type(index: pa.DataType) -> None:
    values = pa.array(["unused", "b", None, "a", "b"])
    indices = pa.array([4, 1, None, 3, 2, 0, 1] * 20, index)
    array = pa.DictionaryArray.from_arrays(indices, values).slice(2, 100)
    page = forced("dictionary", array)
    check(page, array)
    assert page is not None
    answer, _ = read(page, *whole(array))
    assert answer.type == array.type
    assert answer.dictionary.equals(values)


def test_garbage_codes_below_nulls_do_no_harm() -> None:
    codes = np.array([0, -77, 1, 99], np.int8)
    indices = pa.Array.from_buffers(pa.int8(), 4, [pa.py_buffer(b"\x05"), pa.py_buffer(codes)])
    array = pa.DictionaryArray.from_arrays(indices, pa.array(["x", "y"]), safe=False)
    page = forced("dictionary", array)
    check(page, array)


# -- what a reader accepts although the writer does not choose it --------------------------------------------------


@pytest.mark.parametrize("name", ["plain", "constant", "narrow", "bitpack"])
@pytest.mark.usefixtures("always_worth")
def test_offsets_and_codes_may_have_every_integer_encoding(name: str) -> None:
    offsets = pa.array([0, 0, 0, 0, 0] if name == "constant" else [0, 2, 2, 5, 9], pa.int64())
    child = ENCODINGS.get(name).encode(offsets, Hints())
    cells = np.frombuffer(b"aabbbcccc", np.uint8)
    words = pa.array(["", "", "", ""] if name == "constant" else ["aa", "", "bbb", "cccc"])
    check(page_of(Encoded("variable", 4, {}, (cells,), (child,)), pa.string()), words)
    codes = ENCODINGS.get(name).encode(
        pa.array([0, 0, 0, 0] if name == "constant" else [3, 1, 0, 3], pa.uint32()), Hints()
    )
    values = ENCODINGS.get("variable").encode(pa.array(["p", "q", "r", "s"]), Hints())
    picked = pa.array(["p"] * 4 if name == "constant" else ["s", "q", "p", "s"])
    check(page_of(Encoded("dictionary", 4, {}, (), (codes, values)), pa.string()), picked)


def test_a_constant_value_may_have_nulls_beside_it() -> None:
    tree = Encoded("constant", 4, {"x": "0700"}, validity=np.array([0b1101], np.uint8))
    check(page_of(tree, pa.int16()), pa.array([7, None, 7, 7], pa.int16()))
    tree = Encoded("constant", 4, {"x": "6162"}, validity=np.array([0b0111], np.uint8))
    check(page_of(tree, pa.string()), pa.array(["ab", "ab", "ab", None]))
    tree = Encoded("constant", 4, {"x": "01"}, validity=np.array([0b0110], np.uint8))
    check(page_of(tree, pa.bool_()), pa.array([None, True, True, None]))


def test_dictionaries_hold_any_flat_type_and_only_those_of_dictionary_types_hold_nulls() -> None:
    child = Encoded("plain", 3, {}, (np.array([1.5, 9, -0.0]).view(np.uint8),), validity=np.array([0b101], np.uint8))
    codes = ENCODINGS.get("plain").encode(pa.array([2, 1, 0, 0], pa.uint32()), Hints())
    tree = Encoded("dictionary", 4, {}, (), (codes, child))
    values = pa.array([1.5, None, -0.0])
    expected = pa.DictionaryArray.from_arrays(pa.array([2, 1, 0, 0], pa.int8()), values)
    check(page_of(tree, expected.type), expected)
    with pytest.raises(Corrupt, match="values have nulls"):
        read(page_of(tree, pa.float64()), np.array([0]), np.array([4]))


def test_a_dictionary_without_values_has_nulls_only() -> None:
    codes = Encoded("constant", 3, {"x": "00000000"})
    values = Encoded("plain", 0, {}, (np.empty(0, np.uint8),))
    tree = Encoded("dictionary", 3, {}, (), (codes, values), validity=np.array([0], np.uint8))
    for kind in (pa.float64(), pa.dictionary(pa.int8(), pa.float64())):
        check(page_of(tree, kind), pa.nulls(3, kind))


def test_buffers_may_be_longer_than_they_need_to_be() -> None:
    tree = Encoded("plain", 3, {}, (np.arange(100, dtype=np.uint8),), validity=np.array([0b111, 0xFF], np.uint8))
    check(page_of(tree, pa.uint8()), pa.array([0, 1, 2], pa.uint8()))


def test_tiles_leave_little_of_the_last_empty() -> None:
    for rows in (64, 1_000, 8_192, 8_193, 250_000, 1 << 20, 999_999):
        for strips in (8, 16, 32, 64):
            tiles, lanes = bitpack._tiling(rows, strips)
            assert rows <= tiles * strips * lanes < rows + max(strips * 8, rows // 100)
            assert strips * lanes <= 8_192
