"""symbols: text of frequent symbols, what it takes, what it leaves, and every byte back."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from page_cases import Page, forced, page_of, read
from test_encodings_malformed import check_bytes, check_members
from test_number_encodings import check, check_together

from lance_like import kernels
from lance_like.encodings import symbols
from lance_like.encodings.base import Hints, Shared
from lance_like.encodings.choice import Choice
from lance_like.encodings.registry import encode_array
from lance_like.errors import Corrupt
from lance_like.kernels import plain

pytestmark = pytest.mark.skipif(not kernels.COMPILED, reason="symbols are found by a compiled kernel")

KINDS = (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())
WORDS = ["the", "quick", "brown fox", "jumps over", "lazy", "dog", "naïve", "森林", "of the north", "and runs away"]
ROWS = 900


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every page that is not empty is taken, whatever that gains."""
    monkeypatch.setattr(symbols, "_TABLE_SHARE", 1.0)
    monkeypatch.setattr(symbols, "_SMALLEST_PAGE", 1)
    monkeypatch.setattr(symbols, "_WORTH", 9.0)
    monkeypatch.setattr(symbols, "_repeats", lambda data, share: False)


def made(array: pa.Array) -> Page | None:
    return forced("symbols", array)


def sentences(rows: int = ROWS, longest: int = 12, seed: int = 0, words: list[str] | None = None) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(words or WORDS, size).tolist()) for size in rng.integers(0, longest, rows)]


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("nulls", [0.0, 0.3])
def test_frequent_texts_take_few_codes(nulls: float, kind: pa.DataType) -> None:
    array = pa.array(sentences(), mask=np.random.default_rng(1).random(ROWS) < nulls).cast(kind)
    page = check(made(array), array)
    cells = array.cast(pa.large_binary()).to_pylist()
    nbytes = sum(len(cell) for cell in cells if cell)
    assert page.description["b"][0][1] < nbytes / 4
    assert page.description["b"][0][1] % 3 == 0


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("rows", [1, 2, 3, 50])
def test_slices_and_any_number_of_codes(rows: int) -> None:
    for seed in range(4):
        array = pa.array(["skipped: of other words", *sentences(rows, 40, seed)]).slice(1)
        if sum(map(len, array.to_pylist())):
            check(made(array), array)


@pytest.mark.usefixtures("small_pages")
@given(cells=st.lists(st.one_of(st.none(), st.text(max_size=40)), min_size=1, max_size=40), often=st.integers(1, 30))
def test_any_text(cells: list[str | None], often: int) -> None:
    array = pa.array(cells * often, pa.string())
    page = made(array)
    if page is not None:
        check(page, array)


@pytest.mark.usefixtures("small_pages")
@given(data=st.lists(st.binary(max_size=60), min_size=1, max_size=30), seed=st.integers(0, 99))
def test_any_bytes(data: list[bytes], seed: int) -> None:
    chosen = np.random.default_rng(seed).integers(0, len(data), 200)
    array = pa.array([data[at] for at in chosen.tolist()], pa.binary())
    page = made(array)
    if page is not None:
        check(page, array)


@pytest.mark.usefixtures("small_pages")
def test_symbols_of_every_length_are_found() -> None:
    rng = np.random.default_rng(3)
    parts = [rng.bytes(length) for length in range(1, 17) for _ in range(20)]
    array = pa.array([b"".join(rng.choice(np.array(parts, object), 12).tolist()) for _ in range(5000)], pa.binary())
    page = check(made(array), array)
    start = page.description["d"][0]
    count = int.from_bytes(page.shared[start : start + 2], "little")
    assert set(page.shared[start + 2 : start + 2 + count]) == set(range(2, 17))


@pytest.mark.parametrize(
    "cells",
    [
        [""] * 9000,
        sentences(100),
        [np.random.default_rng(row).bytes(40).hex()[:37] + "g" for row in range(5000)],
        ["a line that is there again and again, with nothing else in it but one number: 12345" + "-" * 300] * 3000,
        [one * 60 for one in sentences(200, 40)],
    ],
    ids=["empty", "few", "random", "what repeats", "long"],
)
def test_others_are_left(cells: list[str]) -> None:
    assert encode_array(pa.array(cells, pa.string()), Hints()).encoding != "symbols"


def test_it_is_chosen_for_text_unless_a_level_of_zstd_is_named() -> None:
    array = pa.array(sentences(8000))
    assert encode_array(array, Hints()).encoding == "symbols"
    assert encode_array(array, Hints(choice=Choice(level=3))).encoding == "zstd"
    assert encode_array(array, Hints(choice=Choice(compression="zstd"))).encoding == "zstd"
    assert encode_array(array, Hints(choice=Choice(compression="none"))).encoding == "variable"


@pytest.mark.parametrize("room", [1 << 20, 1 << 12])
def test_pages_have_one_table_unless_their_text_is_another(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    monkeypatch.setattr(symbols, "_MOST_SHARED_NBYTES", room)
    shared = Shared()
    other = [text.upper()[::-1] for text in sentences(8000, seed=1)]
    pages = [sentences(8000), sentences(8000, seed=2), other, sentences(8000, seed=3)]
    tables = []
    for number, cells in enumerate(pages):
        tree = encode_array(pa.array(cells), Hints(shared, number))
        assert tree.encoding == ("symbols" if number != 2 or room > 1 << 12 else "zstd")
        tables.append(tree.params.get("d"))
        shared.finish(number)
    assert tables[0] == tables[1] == tables[3] != tables[2]
    if room > 1 << 12:
        assert len(shared.blob) == tables[0][1] + tables[2][1]


def test_without_a_compiler_text_is_stored_otherwise_and_read(monkeypatch: pytest.MonkeyPatch) -> None:
    array, hints = pa.array(sentences(8000)), Hints()
    tree = encode_array(array, hints)
    assert tree.encoding == "symbols"
    for name in ("learn", "parse", "measure", "unfold"):
        monkeypatch.setattr(symbols, name, getattr(plain, name))
    assert encode_array(array, Hints()).encoding == "zstd"
    check(page_of(tree, array.type, hints), array)


@pytest.mark.usefixtures("small_pages")
def test_pages_are_read_together() -> None:
    check_together([pa.array(sentences(seed=seed)) for seed in range(3)], "symbols")
    check_together([pa.array(sentences(40 + seed, 40, seed)) for seed in range(5)], "symbols")


@pytest.mark.usefixtures("small_pages")
def test_cells_of_many_tables_in_any_order() -> None:
    rng = np.random.default_rng(5)
    words = [["".join(rng.choice(list("abcdefgh"), 7)) for _ in range(30)] for _ in range(4)]
    check_together([pa.array(sentences(300, seed=number, words=own)) for number, own in enumerate(words)], "symbols")


def _page() -> Page:
    some = pa.array(sentences(), mask=np.random.default_rng(3).random(ROWS) < 0.2)
    page = made(some)
    assert page is not None
    return page


@pytest.mark.usefixtures("small_pages")
def test_wrong_members_are_refused_or_read_as_something() -> None:
    check_members(_page(), ROWS)


@pytest.mark.usefixtures("small_pages")
def test_wrong_bytes_are_refused_or_read_as_something() -> None:
    check_bytes(_page(), ROWS, np.random.default_rng(1), random=15, spots=150)


@pytest.mark.usefixtures("small_pages")
def test_a_wrong_table_is_refused_or_read_as_something() -> None:
    page = _page()
    rng = np.random.default_rng(2)
    start, nbytes = page.description["d"]
    refused = 0
    for _ in range(150):
        wrong = bytearray(page.shared)
        wrong[start + int(rng.integers(0, nbytes))] ^= 1 << int(rng.integers(0, 8))
        try:
            found, _ = read(dataclasses.replace(page, shared=bytes(wrong)), np.array([0]), np.array([ROWS]))
            assert len(found) == ROWS
        except Corrupt:
            refused += 1
    assert refused
