"""alphabet: text of few different bytes, what it takes, what it leaves, and every byte back."""

from __future__ import annotations

import uuid

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from page_cases import Page, forced, page_of
from test_encodings_malformed import check_bytes, check_members
from test_number_encodings import check, check_together

from lance_like.encodings import alphabet
from lance_like.encodings.base import Hints
from lance_like.encodings.registry import encode_array

KINDS = (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())
HEX = "0123456789abcdef"
ROWS = 600


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alphabet, "_SMALLEST_PAGE", 1)
    monkeypatch.setattr(alphabet, "_compresses", lambda data, bits: False)


def ids(rows: int = ROWS, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [str(uuid.UUID(bytes=rng.bytes(16))) for _ in range(rows)]


def words(symbols: str, rows: int = ROWS, longest: int = 40, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    letters = np.array(list(symbols))
    return ["".join(rng.choice(letters, size)) for size in rng.integers(0, longest, rows)]


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("nulls", [0.0, 0.3])
@pytest.mark.parametrize(("symbols", "bits"), [(HEX, 4), ("0123456789.", 4), ("ACGT", 2), ("yn", 1), ("x", 1)])
def test_few_bytes_take_few_bits(symbols: str, bits: int, nulls: float, kind: pa.DataType) -> None:
    array = pa.array(words(symbols), mask=np.random.default_rng(1).random(ROWS) < nulls).cast(kind)
    page = forced("alphabet", array)
    if symbols == "x":
        # Zeros compress.
        assert page is None
        return
    page = check(page, array)
    assert page.description["bits"] == bits
    assert "template" not in page.description
    nbytes = page.description["b"][0][1]
    assert nbytes == -(-sum(len(cell) for cell in array.to_pylist() if cell) * bits // 8)


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("empty", [0.0, 0.3])
@pytest.mark.parametrize("nulls", [0.0, 0.3])
def test_uuids_are_their_128_bits(nulls: float, empty: float, kind: pa.DataType) -> None:
    rng = np.random.default_rng(2)
    cells = ["" if rng.random() < empty else one for one in ids()]
    array = pa.array(cells, mask=rng.random(ROWS) < nulls).cast(kind)
    page = check(forced("alphabet", array), array)
    assert page.description["template"] == "2d".join([".." * 8, ".." * 4, ".." * 4, ".." * 4, ".." * 12])
    filled = sum(map(bool, array.to_pylist()))
    assert page.description["b"][0][1] == 16 * filled


@pytest.mark.parametrize("rows", [150, 151, 4000])
def test_slices_and_any_number_of_codes(rows: int) -> None:
    array = pa.array(["skipped: of other letters", *words(HEX, rows, 99)]).slice(1)
    check(forced("alphabet", array), array)


@pytest.mark.usefixtures("small_pages")
@given(
    symbols=st.text(min_size=1, max_size=5),
    sizes=st.lists(st.integers(0, 9), min_size=1, max_size=40),
    seed=st.integers(0, 99),
)
def test_any_bytes_of_any_text(symbols: str, sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    array = pa.array(["".join(rng.choice(list(symbols), size)) for size in sizes])
    page = forced("alphabet", array)
    few = len(set("".join(array.to_pylist()).encode())) <= 16
    assert (page is not None) >= (few and any(array.to_pylist()))
    if page is not None:
        check(page, array)


@pytest.mark.usefixtures("small_pages")
@given(
    template=st.lists(st.one_of(st.none(), st.integers(0, 127)), min_size=1, max_size=40),
    rows=st.integers(1, 30),
    seed=st.integers(0, 99),
)
def test_cells_of_one_length_with_any_bytes_fixed(template: list[int | None], rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    cells = [bytes(rng.integers(48, 64) if byte is None else byte for byte in template) for _ in range(rows)]
    array = pa.array([cell if rng.random() < 0.8 else b"" for cell in cells], pa.binary())
    page = forced("alphabet", array)
    if page is not None:
        check(page, array)


@pytest.mark.parametrize(
    "cells",
    [
        words(HEX + "g"),
        [one[:9] for one in words(HEX, 200, 10)],
        [f"{number:08}" for number in range(5000)],
        [*ids(), "0" * 36],
        [*ids(), "a longer one"],
        ["-" * 300 + one for one in ids()],
        ["-" * 1020 + one[:8] for one in ids()],
        [],
        [""] * 9000,
    ],
    ids=[
        "17 bytes",
        "less than a block",
        "what compresses",
        "a dash elsewhere",
        "length",
        "wide",
        "long",
        "no",
        "empty",
    ],
)
def test_others_are_left(cells: list[str]) -> None:
    assert forced("alphabet", pa.array(cells, pa.string())) is None


def test_a_byte_that_no_sample_has_is_seen() -> None:
    cells = [*words(HEX[:10], 9000, 30), "abcdef"]
    page = check(forced("alphabet", pa.array(cells)), pa.array(cells))
    assert bytes.fromhex(page.description["symbols"]) == HEX.encode()
    assert forced("alphabet", pa.array([*cells, "g"])) is None


def test_cells_of_one_great_length_are_spelled_whole() -> None:
    letters = np.random.default_rng(1).choice(np.frombuffer(b"ACGT", np.uint8), (80, 70_000))
    array = pa.array([row.tobytes() for row in letters], pa.string())
    check(forced("alphabet", array), array)


def test_pages_are_read_together() -> None:
    check_together([pa.array(words(HEX, seed=seed)) for seed in range(3)], "alphabet")
    check_together([pa.array(ids(300 + seed, seed)) for seed in range(3)], "alphabet")


def test_it_is_chosen_for_digests_and_left_for_text() -> None:
    assert encode_array(pa.array(ids()), Hints()).encoding == "alphabet"
    assert encode_array(pa.array(words("0123456789.")), Hints()).encoding == "alphabet"
    texts = pa.array([f"the {i % 97} words of row {i}" for i in range(2000)])
    assert encode_array(texts, Hints()).encoding != "alphabet"
    repeated = pc.take(pa.array(ids(20)), pa.array(np.random.default_rng(0).integers(0, 20, 2000)))
    assert encode_array(repeated, Hints()).encoding == "dictionary"


def _pages() -> dict[str, Page]:
    some = pa.array(ids(), mask=np.random.default_rng(3).random(ROWS) < 0.2)
    return {
        "template": page_of(encode_array(some, Hints()), some.type),
        "cells": page_of(encode_array(pa.array(words(HEX)), Hints()), pa.string()),
    }


@pytest.mark.parametrize("name", ["template", "cells"])
def test_wrong_members_are_refused_or_read_as_something(name: str) -> None:
    check_members(_pages()[name], ROWS)


@pytest.mark.parametrize("name", ["template", "cells"])
def test_wrong_bytes_are_refused_or_read_as_something(name: str) -> None:
    check_bytes(_pages()[name], ROWS, np.random.default_rng(1), random=15, spots=150)
