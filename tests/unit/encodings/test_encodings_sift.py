"""Rows judged and chosen on the stored form are those of the decoded values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from page_cases import Page, forced

from lance_like.encodings import alphabet, dictionary
from lance_like.encodings.base import Hints
from lance_like.encodings.recast import CODED, choose_recast, read_recast, short_decimal
from lance_like.encodings.registry import encode_array, shape
from lance_like.encodings.sift import Beginning, Flags, Sieve, read_chosen, read_judged
from lance_like.encodings.stack import Reading, Runs, SharedBlob, Stack, together
from lance_like.errors import Corrupt
from lance_like.ranges import gather_from

ROWS = 24_500
RNG = np.random.default_rng(3)
SKEWED = RNG.integers(0, 40, ROWS)
RUNS = np.repeat(RNG.integers(0, 1 << 40, ROWS // 100), 100)


def with_nulls(array: pa.Array) -> pa.Array:
    return pc.if_else(pa.array(RNG.random(ROWS) < 0.8), array, None)


INTEGERS = {
    **{f"bitpack {bits}": ("bitpack", RNG.integers(-5, (1 << bits) - 5, ROWS)) for bits in (3, 6, 13, 18, 25, 33)},
    "bitpack, unsigned": ("bitpack", RNG.integers(2**63, 2**63 + 1000, ROWS, np.uint64)),
    "bitpack, int8": ("bitpack", RNG.integers(-100, -90, ROWS).astype(np.int8)),
    "narrow": ("narrow", RNG.integers(-9, 60_000, ROWS)),
    "narrow 1": ("narrow", RNG.integers(1, 256, ROWS)),
    "narrow 3": ("narrow", RNG.integers(-(1 << 22), 1 << 23, ROWS)),
    "narrow 4": ("narrow", RNG.integers(-9, 1 << 31, ROWS)),
    "narrow 7": ("narrow", RNG.integers(-9, 1 << 55, ROWS)),
    "narrow, unsigned": ("narrow", RNG.integers((1 << 64) - 60_000, 1 << 64, ROWS, np.uint64)),
    "linear": ("linear", np.cumsum(RNG.integers(0, 9, ROWS))),
    "run_length": ("run_length", RUNS),
    "constant": ("constant", np.full(ROWS, 7)),
    "patched": ("patched", np.where(SKEWED == 3, -1, RNG.integers(1 << 40, (1 << 40) + 999, ROWS))),
    "scaled": ("scaled", RNG.integers(-99, 60_000, ROWS) * 1000 + 7),
    "dictionary": ("dictionary", SKEWED * 1_000_003),
}


def decimals(numbers: np.ndarray, kind: pa.DataType) -> pa.Array:
    """Integers as decimals, by their bytes."""
    words = numbers.astype(np.int64)[:, None] >> np.array([0, *[63] * (kind.bit_width // 64 - 1)])
    return pa.Array.from_buffers(kind, len(numbers), [None, pa.py_buffer(np.ascontiguousarray(words))])


def run(page: Page, read: Callable[[Stack, Runs], Reading[Any]], start: int, end: int) -> tuple[Any, int]:
    """What a read of one run answers, and the bytes that it asks for."""
    node = page.open()
    shape(node)
    stack = Stack([node], np.zeros(1, np.int64), np.zeros(1, np.int64), (SharedBlob(page.shared),))
    return answered(read(stack, Runs(np.zeros(1, np.int64), np.array([start]), np.array([end]))), page.data)


def answered(conversation: Reading[Any], data: np.ndarray) -> tuple[Any, int]:
    """What a read of a file answers, and the bytes that it asks for."""
    nbytes = 0
    try:
        asks = next(conversation)
        while True:
            nbytes += sum(int((last - first).sum()) for first, last, _ in asks)
            asks = conversation.send([gather_from(data, first, last) for first, last, _ in asks])
    except StopIteration as stop:
        return stop.value, nbytes


def between(low: int, high: int, kind: pa.DataType) -> Sieve:
    """A test of integers, of which nothing but the bounds is known where they are used."""

    def of_values(array: pa.Array) -> Flags:
        known = np.array(array.fill_null(0).to_numpy(), object)  # of Python's integers, which do not wrap
        return (known >= low) & (known <= high) & ~array.is_null().to_numpy(False)

    return Sieve(of_values, (low, high))


@pytest.mark.parametrize("nulls", [False, True])
@pytest.mark.parametrize("case", INTEGERS)
def test_bounds_are_judged_as_the_decoded_values_are(case: str, nulls: bool) -> None:
    name, values = INTEGERS[case]
    array = with_nulls(pa.array(values)) if nulls else pa.array(values)
    page = forced(name, array)
    assert page is not None
    least, most = int(values.min()), int(values.max())
    middle = int(np.sort(values)[ROWS // 2])
    bounds = [(least, most), (least, middle), (middle, most), (middle, middle), (middle + 1, most - 1)]
    bounds += [(most + 1, most + 5), (least - 5, least - 1), (least - 5, most + 5), (5, 4)]
    for start, end in [(0, ROWS), (5_000, 17_000), (100, 130)]:
        for low, high in bounds:
            test = between(low, high, array.type)
            found, _ = run(page, lambda stack, runs, test=test: read_judged(stack, array.type, runs, test), start, end)
            assert (found == test.of_values(array.slice(start, end - start))).all(), (start, end, low, high)


@pytest.mark.parametrize("nulls", [False, True])
def test_values_of_a_dictionary_are_tested_once(nulls: bool) -> None:
    array = pa.array([f"text {value}" for value in SKEWED])
    array = with_nulls(array) if nulls else array
    page = forced("dictionary", array)
    assert page is not None
    asked: list[int] = []

    def of_values(some: pa.Array) -> Flags:
        asked.append(len(some))
        return np.array([value in (None, "text 3", "text 9") for value in some.to_pylist()])

    found, _ = run(page, lambda stack, runs: read_judged(stack, array.type, runs, Sieve(of_values)), 0, ROWS)
    assert asked == ([40, 1] if nulls else [40])  # and what null is, once
    assert (found == of_values(array)).all()


def of_several_pages() -> tuple[list[pa.Array], Stack, np.ndarray]:
    """Arrays of other values in another order, the stack of their dictionary pages, and its file."""
    arrays = [pa.array([f"text {(value * place) % 43}" for value in SKEWED]) for place in (1, 2, 3)]
    pages = [page for array in arrays if (page := forced("dictionary", array)) is not None]
    sizes = np.array([len(page.data) for page in pages])
    stack = Stack([page.open() for page in pages], np.cumsum(sizes) - sizes, np.arange(3), (SharedBlob(),))
    return arrays, stack, np.concatenate([page.data for page in pages])


def equal_to(value: str, asked: list[int]) -> Sieve:
    """A test that texts are equal to one. asked: how many it was asked of each time."""

    def of_values(some: pa.Array) -> Flags:
        asked.append(len(some))
        return np.array([one == value for one in some.to_pylist()], bool)

    return Sieve(of_values)


def of_page(stack: Stack, place: int, test: Sieve) -> Reading[Flags]:
    return read_judged(stack, pa.string(), Runs(np.array([place]), np.zeros(1, np.int64), np.array([ROWS])), test)


def test_values_of_all_pages_that_are_here_are_tested_at_once() -> None:
    arrays, stack, data = of_several_pages()
    asked: list[int] = []
    tests = {value: equal_to(value, asked) for value in ("text 3", "text 9")}
    for values in (("text 3", "text 9"), ("text 3",), ("text 9",)):
        before = len(asked)
        for place, array in enumerate(arrays):
            for value in values:
                found, _ = answered(of_page(stack, place, tests[value]), data)
                assert (found == (np.array(array.to_pylist()) == value)).all(), (place, value)
        # In turns anew each time; one after another once, whatever the number of pages.
        assert len(asked) - before == (6 if len(values) == 2 else 1)


@pytest.mark.parametrize("joined_nbytes", [0, 1 << 20])
def test_pages_that_are_judged_side_by_side(joined_nbytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dictionary, "_JOINED_NBYTES", joined_nbytes)
    arrays, stack, data = of_several_pages()
    needed = []
    for value in ("text 3", "text 9", "text 3"):
        test = equal_to(value, [])
        found, nbytes = answered(together([of_page(stack, place, test) for place in range(3)]), data)
        needed.append(nbytes)
        for flags, array in zip(found, arrays, strict=True):
            assert (flags == (np.array(array.to_pylist()) == value)).all()
    if joined_nbytes:
        assert needed[0] > needed[1] == needed[2]  # their values are here from the first time on


def test_codes_are_not_read_when_no_value_passes() -> None:
    array = pa.array([f"text {value}" for value in SKEWED])
    page = forced("dictionary", array)
    assert page is not None
    none, few = (
        run(page, lambda stack, runs, test=test: read_judged(stack, array.type, runs, test), 0, ROWS)
        for test in (
            Sieve(lambda some: np.zeros(len(some), bool)),
            Sieve(lambda some: np.array([value == "text 3" for value in some.to_pylist()])),
        )
    )
    assert not none[0].any() and few[0].sum() == (SKEWED == 3).sum()
    assert none[1] < few[1]


def texts(symbols: str, length: int, start: str = "") -> pa.Array:
    """Texts of one length; half of them begin alike."""
    letters = np.array(list(symbols))[RNG.integers(0, len(symbols), (ROWS, length))]
    letters[::2, :2] = symbols[0], symbols[-1]
    return pa.array([start + "".join(row) for row in letters])


def beginning(value: bytes, whole: bool) -> Sieve:
    """A test of what texts begin with."""

    def of_values(array: pa.Array) -> Flags:
        known = array.cast(pa.binary()).to_pylist()
        return np.array([cell is not None and (cell == value if whole else cell.startswith(value)) for cell in known])

    return Sieve(of_values, beginning=Beginning(value, whole))


DIGITS, HEX = "0123456789", "0123456789abcdef"
EVEN = {
    "28 bits": texts(DIGITS, 7),
    "28 bits in a template": texts(DIGITS, 7, "customer-"),
    "a byte": texts(HEX, 2, "x"),
    "128 bits": texts(HEX, 32),
    "100 bits": texts(HEX, 25),
    "10 bits of 2": texts("ACGT", 5),
    "13 bits of 1": texts("ny", 13),
}


def check_beginnings(array: pa.Array) -> None:
    """What is found of texts is what their values begin with."""
    page = forced("alphabet", array)
    assert page is not None
    cell = next(value for value in array.slice(6_000).to_pylist() if value).encode()
    asked = [cell[:size] for size in (0, 1, 2, 3, 4, len(cell) - 1)]
    asked += [cell, cell + b"0", cell[:-1] + b"!", b"!" + cell[1:], cell[:3] + b"\xff"]
    for start, end in [(0, ROWS), (5_001, 17_000), (6_000, 6_030)]:
        for test in [beginning(value, whole) for value in asked for whole in (False, True)]:
            found, _ = run(page, lambda stack, runs, test=test: read_judged(stack, array.type, runs, test), start, end)
            assert (found == test.of_values(array.slice(start, end - start))).all(), (start, end, test.beginning)


@pytest.mark.parametrize("nulls", [False, True])
@pytest.mark.parametrize("case", EVEN)
def test_what_texts_begin_with_is_compared_as_codes(case: str, nulls: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alphabet, "_compresses", lambda data, bits: False)
    check_beginnings(with_nulls(EVEN[case]) if nulls else EVEN[case])


@pytest.mark.parametrize("case", ["28 bits", "28 bits in a template"])
def test_any_code_of_a_byte_is_that_byte(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pack = alphabet._pack
    # Of digits, codes 0 and 10 to 15 are a zero.
    monkeypatch.setattr(alphabet, "_pack", lambda *given: np.where(pack(*given) == 0x10, 0x1C, pack(*given)))
    check_beginnings(EVEN[case])


def test_texts_are_not_made_to_be_compared() -> None:
    page = forced("alphabet", EVEN["28 bits in a template"])
    assert page is not None

    def of_values(array: pa.Array) -> Flags:
        raise AssertionError(array)

    test = Sieve(of_values, beginning=Beginning(b"customer-09", whole=False))
    found, _ = run(page, lambda stack, runs: read_judged(stack, pa.string(), runs, test), 0, ROWS)
    assert ROWS // 2 <= np.count_nonzero(found) < ROWS


def test_offsets_of_one_length_must_begin_at_0(monkeypatch: pytest.MonkeyPatch) -> None:
    def shifted(offsets: np.ndarray, hints: Hints) -> Any:
        return encode_array(pa.array(offsets - offsets[0] + 7), hints.inside, ranged=True)

    monkeypatch.setattr(alphabet, "encode_offsets", shifted)
    page = forced("alphabet", EVEN["128 bits"])
    assert page is not None
    with pytest.raises(Corrupt, match="do not ascend from 0"):
        run(page, lambda stack, runs: read_judged(stack, pa.string(), runs, beginning(b"0", False)), 0, ROWS)


CHOSEN = {
    "alphabet": ("alphabet", pa.array([f"{value:06x}" for value in RNG.integers(0, 1 << 24, ROWS)])),
    "alphabet of a template": ("alphabet", pa.array([f"customer {value:05d}" for value in RNG.permutation(ROWS)])),
    "alphabet of several lengths": ("alphabet", pa.array([f"{value:x}" for value in RNG.integers(0, 1 << 24, ROWS)])),
    "alp": ("alp", pa.array(RNG.integers(100, 99_999, ROWS) / 100)),
    "alp with exceptions": ("alp", pa.array(np.where(SKEWED == 3, RNG.random(ROWS), SKEWED / 4))),
    "dictionary": ("dictionary", pa.array([f"text {value}" for value in SKEWED])),
    "text": ("zstd", pa.array([f"text number {value}" for value in range(ROWS)])),
    "bitpack": ("bitpack", pa.array(RNG.integers(0, 999, ROWS))),
    "patched": ("patched", pa.array(np.minimum(RNG.zipf(1.5, ROWS), 1 << 50))),
    "scaled": ("scaled", pa.array(RNG.integers(0, 999, ROWS) * 60, pa.timestamp("s"))),
    "decimal": ("decimal", decimals(RNG.integers(-999, 99_999, ROWS), pa.decimal128(15, 2))),
}


@pytest.mark.parametrize("nulls", [False, True])
@pytest.mark.parametrize("case", CHOSEN)
def test_chosen_rows_are_those_of_the_whole_run(case: str, nulls: bool) -> None:
    name, array = CHOSEN[case]
    array = with_nulls(array) if nulls else array
    page = forced(name, array)
    assert page is not None
    for start, end in [(0, ROWS), (5_000, 19_000)]:
        rows = np.flatnonzero(RNG.random(end - start) < 0.4)
        read = lambda stack, runs, rows=rows: read_chosen(stack, array.type, runs, rows)  # noqa: E731
        found, _ = run(page, read, start, end)
        assert found.equals(array.slice(start, end - start).take(pa.array(rows)))


TEXTS = {
    "dictionary": CHOSEN["dictionary"],
    "zstd": CHOSEN["text"],
    "constant": ("constant", pa.array(["one text"] * ROWS)),
}


@pytest.mark.parametrize("nulls", [False, True])
@pytest.mark.parametrize("case", TEXTS)
def test_chosen_rows_come_as_codes(case: str, nulls: bool) -> None:
    name, array = TEXTS[case]
    array = with_nulls(array) if nulls else array
    page = forced(name, array)
    assert page is not None
    rows = np.flatnonzero(RNG.random(14_000) < 0.4)
    kind = CODED[pa.string().id]
    found, _ = run(page, lambda stack, runs: choose_recast(stack, kind, runs, rows), 5_000, 19_000)
    assert found.type == kind
    assert found.cast(pa.string()).equals(array.slice(5_000, 14_000).take(pa.array(rows)))


DECIMALS = {
    "packed": ("decimal", RNG.integers(-999, 99_999, ROWS)),
    "whole bytes": ("decimal", RNG.integers(-(2**23), 2**23 - 1, ROWS)),
    "one value": ("constant", np.full(ROWS, -7)),
    "as they are": ("plain", RNG.integers(-(10**18) + 1, 10**18, ROWS)),
}


@pytest.mark.parametrize("nulls", [False, True])
@pytest.mark.parametrize("case", DECIMALS)
def test_decimals_come_in_64_bits(case: str, nulls: bool) -> None:
    name, numbers = DECIMALS[case]
    kind = pa.decimal128(18, 2)
    array = with_nulls(decimals(numbers, kind)) if nulls else decimals(numbers, kind)
    short = short_decimal(kind)
    page = forced(name, array)
    assert page is not None and short is not None
    rows = np.flatnonzero(RNG.random(14_000) < 0.4)
    for start, end in [(0, ROWS), (5_000, 19_000)]:
        found, _ = run(page, lambda stack, runs: read_recast(stack, short, runs), start, end)
        assert found.type == pa.decimal64(18, 2)
        assert found.cast(kind).equals(array.slice(start, end - start))
    found, _ = run(page, lambda stack, runs: choose_recast(stack, short, runs, rows), 5_000, 19_000)
    assert found.cast(kind).equals(array.slice(5_000, 14_000).take(pa.array(rows)))


def test_a_decimal_of_more_digits_than_its_type_is_not_cut() -> None:
    array = decimals(np.full(100, 5), pa.decimal128(18, 2))
    words = np.frombuffer(array.buffers()[1], np.int64).copy()
    words[1] = 1
    page = forced("plain", pa.Array.from_buffers(array.type, 100, [None, pa.py_buffer(words)]))
    short = short_decimal(array.type)
    assert page is not None and short is not None
    with pytest.raises(Corrupt, match="digits"):
        run(page, lambda stack, runs: read_recast(stack, short, runs), 0, 100)


@pytest.mark.parametrize(
    "kind", [pa.decimal128(19, 2), pa.decimal128(5, -3), pa.decimal64(9, 2), pa.decimal256(9, 2), pa.int64()], ids=str
)
def test_other_decimals_have_no_short_form(kind: pa.DataType) -> None:
    assert short_decimal(kind) is None


@pytest.mark.parametrize("nulls", [False, True])
@pytest.mark.parametrize("case", ["packed", "whole bytes"])
def test_bounds_of_decimals_are_judged_on_their_numbers(case: str, nulls: bool) -> None:
    name, numbers = DECIMALS[case]
    array = with_nulls(decimals(numbers, pa.decimal128(20, 2))) if nulls else decimals(numbers, pa.decimal128(20, 2))
    page = forced(name, array)
    assert page is not None
    least, most, middle = int(numbers.min()), int(numbers.max()), int(np.sort(numbers)[ROWS // 2])
    valid = array.is_valid().to_numpy(False)
    bounds = [
        (least, middle),
        (middle, middle),
        (middle + 1, most - 1),
        (most + 1, 10**30),
        (-(10**30), 10**30),
        (5, 4),
    ]

    def no_values(_: pa.Array) -> Flags:
        assert len(_) == 1 and _.null_count, "only what null is may be asked"
        return np.zeros(1, bool)

    for start, end in [(0, ROWS), (5_000, 17_000), (100, 130)]:
        for low, high in bounds:
            test = Sieve(no_values, (low, high))
            found, _ = run(page, lambda stack, runs, test=test: read_judged(stack, array.type, runs, test), start, end)
            passes = np.array([low <= number <= high for number in numbers.tolist()]) & valid
            assert (found == passes[start:end]).all(), (start, end, low, high)
