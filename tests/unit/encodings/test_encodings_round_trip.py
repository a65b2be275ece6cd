"""Every type through the encoding that the writer chooses: what comes back equals Arrow, bit for bit."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from arrow_values import CARRIED_TYPES, STYLES, Shape, arrays, make_array, same
from hypothesis import given, settings
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

from lance_like import kernels
from lance_like.encodings.base import Hints
from lance_like.encodings.registry import encode_array

names = [str(kind).replace("\n", "") for kind in CARRIED_TYPES]


def check(page: Page, array: pa.Array, seed: int) -> None:
    """Whole reads, runs, random rows with repeats and random ranges of a page equal those of the array."""
    rng = np.random.default_rng(seed)
    node = page.open()
    assert node.num_rows == len(array)
    asked = [whole(array), random_ranges(len(array), rng), random_ranges(len(array), rng, 1), whole(0)]
    asked.append((np.empty(0, np.int64), np.empty(0, np.int64)))
    for starts, ends in asked:
        answer, _ = read(page, starts, ends, node)
        answer.validate()
        assert same(answer, expected_ranges(array, starts, ends))
    if len(array):
        for count in (1, 40):
            rows = rng.integers(0, len(array), count)
            answer, _ = read(page, rows, rows + 1, node)
            answer.validate()
            assert same(answer, expected_rows(array, rows))


@pytest.mark.parametrize("kind", CARRIED_TYPES, ids=names)
@settings(max_examples=30)
@given(data=st.data(), ranged=st.booleans())
def test_what_is_encoded_is_read_back(kind: pa.DataType, data: st.DataObject, ranged: bool) -> None:
    array = data.draw(arrays(kind))
    check(page_of(encode_array(array, Hints(), ranged=ranged), kind), array, seed=data.draw(st.integers(0, 999)))


@pytest.mark.parametrize("kind", CARRIED_TYPES, ids=names)
def test_no_rows_and_one_row(kind: pa.DataType) -> None:
    rng = np.random.default_rng(0)
    for style in STYLES:
        for nulls in (0.0, 1.0):
            array = make_array(kind, 4, Shape(style, nulls), rng)
            for piece in (array.slice(0, 0), array.slice(4, 0), array.slice(2, 1)):
                check(page_of(encode_array(piece, Hints()), kind), piece, seed=0)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("kind", [pa.int64(), pa.uint16(), pa.string(), pa.list_(pa.int32()), pa.bool_()], ids=str)
def test_pages_of_many_rows(kind: pa.DataType, style: str) -> None:
    array = make_array(kind, 20_003, Shape(style, 0.1), np.random.default_rng(1)).slice(3)
    hints = Hints()
    check(page_of(encode_array(array, hints), kind, hints), array, seed=2)


def test_every_encoding_is_chosen_by_some_array() -> None:
    rng = np.random.default_rng(0)
    chosen: set[str] = set()

    def collect(description: dict) -> None:
        chosen.add(description["e"])
        for child in description.get("c", ()):
            collect(child)

    for kind in CARRIED_TYPES:
        for style in STYLES:
            array = make_array(kind, 2000, Shape(style, 0.1), rng)
            collect(page_of(encode_array(array, Hints()), kind).description)
    prices = pa.array(np.round(rng.random(2000) * 1000, 2))
    collect(page_of(encode_array(prices, Hints()), prices.type).description)
    days = pa.array(rng.integers(0, 9999, 2000) * 86_400, pa.timestamp("s"))
    collect(page_of(encode_array(days, Hints()), days.type).description)
    counts = pa.array(np.minimum(rng.zipf(1.5, 2000), 1 << 50))
    collect(page_of(encode_array(counts, Hints()), counts.type).description)
    digests = pa.array([rng.bytes(16).hex() for _ in range(2000)])
    collect(page_of(encode_array(digests, Hints()), digests.type).description)
    words = pa.array([" ".join(rng.choice(["some", "frequent", "words"], 9)) for _ in range(5000)])
    collect(page_of(encode_array(words, Hints()), words.type).description)
    tokens = pa.array([rng.integers(0, 128_000, 50) for _ in range(99)])
    collect(page_of(encode_array(tokens, Hints()), tokens.type).description)
    if kernels.COMPILED:
        chosen.remove("symbols")
    assert chosen == {
        *("alphabet", "alp", "bitpack", "constant", "decimal", "dictionary", "fixed_size_list", "linear", "list"),
        *("narrow", "patched", "plain", "planes", "run_length", "scaled", "struct", "variable", "zstd"),
    }


def test_encoding_leaves_its_input_as_it_was() -> None:
    for kind in CARRIED_TYPES:
        array = make_array(kind, 50, Shape("few", 0.2), np.random.default_rng(0))
        before = [None if buffer is None else buffer.to_pybytes() for buffer in array.buffers()]
        encode_array(array, Hints())
        assert [None if buffer is None else buffer.to_pybytes() for buffer in array.buffers()] == before


@pytest.mark.parametrize(
    ("kind", "rounds"),
    [(pa.int64(), 1), (pa.float32(), 1), (pa.bool_(), 1), (pa.string(), 2), (pa.list_(pa.float64()), 2)],
    ids=str,
)
def test_rows_take_as_few_rounds_as_the_encoding_promises(kind: pa.DataType, rounds: int) -> None:
    for style in STYLES:
        array = make_array(kind, 3000, Shape(style, 0.1), np.random.default_rng(0))
        page = page_of(encode_array(array, Hints()), kind)
        node, rows = page.open(), np.arange(0, 3000, 7)
        read(page, rows, rows + 1, node)
        assert read(page, rows, rows + 1, node)[1] <= rounds


def test_buffers_begin_at_multiples_of_64() -> None:
    for kind in CARRIED_TYPES:
        array = make_array(kind, 77, Shape("any", 0.3), np.random.default_rng(0))
        node = page_of(encode_array(array, Hints()), kind).open()
        nodes = [node]
        while nodes:
            node = nodes.pop()
            nodes += node.children
            assert all(start % 64 == 0 for start, _ in node.buffers)
            assert node.validity is None or node.validity[0] % 64 == 0


def test_a_page_reads_the_same_wherever_its_bytes_lie() -> None:
    array = make_array(pa.list_(pa.string()), 300, Shape("any", 0.2), np.random.default_rng(0))
    page = page_of(encode_array(array, Hints()), array.type)
    moved = np.concatenate((np.full(13, 255, np.uint8), page.data, np.full(5, 255, np.uint8)))[13:-5]
    assert same(read(Page(page.description, moved, page.kind), *whole(array))[0], array)


@given(array=arrays(pa.float64()) | arrays(pa.list_(pa.float16(), 3)) | arrays(pa.list_(pa.float32())))
def test_nan_payloads_and_negative_zero_keep_their_bits(array: pa.Array) -> None:
    check(page_of(encode_array(array, Hints()), array.type), array, seed=1)


LONG = 20_000


@pytest.mark.parametrize("nulls", [0.0, 0.2])
@pytest.mark.parametrize(
    ("encoding", "array"),
    [
        ("linear", pa.array(np.arange(LONG) * 1_000 + np.random.default_rng(1).integers(0, 500, LONG))),
        ("run_length", pa.array(np.repeat(np.random.default_rng(2).integers(0, 1 << 40, LONG // 50), 50))),
        ("plain", pa.array(np.random.default_rng(3).random(LONG) < 0.4)),
    ],
    ids=["linear", "run_length", "booleans"],
)
def test_several_long_runs_are_not_asked_for_row_by_row(encoding: str, array: pa.Array, nulls: float) -> None:
    """The pages of many files are read whole in one pass: a range for each, or a few."""
    rng = np.random.default_rng(4)
    array = pc.if_else(pa.array(rng.random(LONG) < nulls), None, array)
    page = forced(encoding, array)
    assert page is not None
    apart = np.array([[0, 3_000], [3_000, 3_000], [8_001, 16_003], [4_096, 12_289], [16_777, LONG], [7, 8]])
    whole_bytes = np.array([[0, 4_096], [8_192, 16_384], [16_000, LONG]])
    for ranges in (apart, whole_bytes):
        starts, ends = ranges.T.copy()
        first_asks = next(conversation_of(page, starts, ends))
        assert sum(len(low) for low, _, _ in first_asks) <= 4 * len(ranges)
        answer, _ = read(page, starts, ends)
        assert same(answer, expected_ranges(array, starts, ends))
