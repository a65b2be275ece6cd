"""Both forms of the kernels, the compiled one and that of numpy, beside Python's integers."""

from __future__ import annotations

import shutil
import sysconfig
from collections.abc import Callable
from itertools import chain, product
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from lance_like import kernels
from lance_like.kernels import plain

FORMS: dict[str, ModuleType] = {"numpy": plain, "numpy, many rows": plain}
if kernels.COMPILED:
    from lance_like.kernels import native

    FORMS["compiled"] = native

UNSIGNED = [np.dtype(f"<u{size}") for size in (1, 2, 4, 8)]
BASES = (0, 5, 2**64 - 3)


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module that has the kernels; that of numpy also with limits so low that every loop goes round."""
    if request.param == "numpy, many rows":
        for name, least in {"_AT_ONCE_ROWS": 1, "_BATCH_NBYTES": 1, "_BATCH_BLOCKS": 2, "_PLACES": 100}.items():
            monkeypatch.setattr(plain, name, least)
    return FORMS[request.param]


def numbers(bits: int, count: int) -> list[int]:
    """Integers below 2^bits, the least and the most among them."""
    found = np.random.default_rng(bits * 1000 + count).integers(0, 2**bits, count, np.uint64, endpoint=False)
    return [0, (1 << bits) - 1, *found.tolist()][:count] if bits < 64 else found.tolist()


def at_an_odd_address(array: np.ndarray) -> np.ndarray:
    """The same values where no word lies, as in a file that is mapped."""
    raw = np.empty(array.nbytes + 1, np.uint8)
    moved = raw[1:].view(array.dtype)
    moved[:] = array
    return moved


def packed(differences: list[int], width: int, lanes: int, word: np.dtype) -> np.ndarray:
    """Whole tiles (format_spec/encodings/bitpack.md), a row at a time."""
    bits = 8 * word.itemsize
    words = [0] * (len(differences) * width // bits)
    for row, difference in enumerate(differences):
        tile, strip = divmod(row // lanes, bits)
        first, shift = divmod(strip * width, bits)
        for at, part in enumerate((difference << shift & (1 << bits) - 1, difference << shift >> bits)):
            if part:
                words[(tile * width + first + at) * lanes + row % lanes] |= part
    return at_an_odd_address(np.array(words, word))


def word_of(width: int) -> np.dtype:
    return next(word for word in UNSIGNED if width <= 8 * word.itemsize)


@pytest.mark.parametrize("width", [*range(1, 34), 40, 48, 56, 63])
def test_tiles_are_unpacked(form: ModuleType, width: int) -> None:
    word = word_of(width)
    for (tiles, lanes), wanted, base in product([(1, 1), (1, 3), (3, 17), (2, 64)], UNSIGNED, BASES):
        differences = numbers(width, tiles * lanes * 8 * word.itemsize)
        out = np.zeros(len(differences), wanted)
        form.unpack(packed(differences, width, lanes, word), width, lanes, base, out)
        assert out.tolist() == [(number + base) % 2 ** (8 * wanted.itemsize) for number in differences]


def test_few_rows_take_as_many_calls_of_numpy_whatever_the_width(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    finish = plain._finish
    monkeypatch.setattr(plain, "_finish", lambda *arguments: (calls.append(1), finish(*arguments))[1])
    for width in (3, 17, 33):
        words = packed(numbers(width, 1_024), width, 1_024 // (8 * word_of(width).itemsize), word_of(width))
        plain.unpack(words, width, 1_024 // (8 * words.itemsize), 9, np.zeros(1_024, np.uint64))
        assert len(calls) == 1
        calls.clear()


@pytest.mark.parametrize("width", [*range(1, 34), 40, 48, 56, 63])
def test_differences_are_compared_in_their_tiles(form: ModuleType, width: int) -> None:
    most = (1 << width) - 1
    for tiles, lanes in [(1, 1), (1, 3), (2, 64)]:
        differences = numbers(width, tiles * lanes * 8 * word_of(width).itemsize)
        words = packed(differences, width, lanes, word_of(width))
        for low, high in [(0, 0), (most, most), (0, most // 2), (most // 3, most // 2), (most // 2, most), (0, most)]:
            out = np.zeros(len(differences), np.bool_)
            form.within(words, width, lanes, low, high, out)
            assert out.tolist() == [low <= number <= high for number in differences], (low, high)


@pytest.mark.parametrize("width", [*range(1, 34), 40, 48, 56, 63])
def test_rows_are_picked_from_their_tiles(form: ModuleType, width: int) -> None:
    word = word_of(width)
    for (tiles, lanes), wanted, base in product([(1, 1), (1, 3), (3, 17)], UNSIGNED, BASES):
        differences = numbers(width, tiles * lanes * 8 * word.itemsize)
        words = packed(differences, width, lanes, word)
        rows = np.random.default_rng(1).integers(0, len(differences), 50)
        rows[:2] = len(differences) - 1, 0
        for chosen in (rows, np.sort(rows), np.arange(len(differences)), np.arange(0, len(differences), 3)):
            out = np.zeros(len(chosen), wanted)
            skip = int(chosen[0])
            form.pick(words, width, lanes, chosen - skip, skip, base, out)
            assert out.tolist() == [(differences[row] + base) % 2 ** (8 * wanted.itemsize) for row in chosen]


@pytest.mark.parametrize("row", [48, 100, -1, 2**62, -(2**63)])
def test_rows_outside_of_the_tiles_are_refused(form: ModuleType, row: int) -> None:
    with pytest.raises(ValueError, match="pick: "):
        form.pick(zeros("u1", 18), 3, 3, np.array([0, row]), 0, 0, zeros("u1", 2))


@pytest.mark.parametrize("stride", range(1, 9))
def test_integers_of_some_bytes_are_widened(form: ModuleType, stride: int) -> None:
    for count, wanted, base in product([0, 1, 2, 7, 64, 65, 1000], UNSIGNED, BASES):
        differences = numbers(8 * stride, count)
        data = np.frombuffer(b"\xff" + b"".join(n.to_bytes(stride, "little") for n in differences), np.uint8)[1:]
        out = np.zeros(count, wanted)
        form.widen(data, stride, base, out)
        assert out.tolist() == [(number + base) % 2 ** (8 * wanted.itemsize) for number in differences]


@pytest.mark.parametrize("stride", range(8))
@pytest.mark.parametrize("slopes", [[3], [256, -999, 2**40, -1, 0, 7]])
def test_lines_and_residuals_are_added(form: ModuleType, stride: int, slopes: list[int]) -> None:
    for count in (1, 255, 256, 257, 1500):
        data, expected = b"", []
        for block, start in enumerate(range(0, count, 256)):
            base, slope = (-1) ** block * 12_345 * block, slopes[block % len(slopes)]
            residuals = numbers(8 * stride, min(256, count - start)) if stride else [0] * min(256, count - start)
            data += b"".join(number.to_bytes(stride, "little") for number in residuals)
            data += base.to_bytes(8, "little", signed=True) + slope.to_bytes(8, "little", signed=True)
            expected += [base + (slope * row >> 8) + residual for row, residual in enumerate(residuals)]
        out = np.zeros(count, np.int64)
        form.lines(np.frombuffer(b"\xff" + data, np.uint8)[1:], stride, out)
        assert out.tolist() == expected


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 1.0])
@pytest.mark.parametrize("kind", [np.bool_, *UNSIGNED], ids=str)
def test_values_are_spread_over_their_runs(form: ModuleType, share: float, kind: np.dtype | type) -> None:
    rng = np.random.default_rng(7)
    for count, skip in product([1, 2, 55, 56, 57, 64, 1000], [0, 1, 7, 8, 500]):
        flags = rng.random(skip + count) < share
        places = np.cumsum(flags[skip:]) - flags[skip]
        values = rng.integers(0, 2 if kind == np.bool_ else 250, places[-1] + 1).astype(kind)
        out = np.zeros(count, kind)
        form.spread(values, np.packbits(flags, bitorder="little"), skip, out)
        assert (out == values[places]).all()


def test_rows_past_the_last_value_are_refused(form: ModuleType) -> None:
    bits = np.full(50, 255, np.uint8)
    form.spread(np.arange(400), bits, 0, np.zeros(400, np.int64))
    for count in (0, 1, 399):
        with pytest.raises(ValueError, match="fewer values"):
            form.spread(np.arange(count), bits, 0, np.zeros(400, np.int64))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_cells_of_few_symbols_are_spelled(form: ModuleType, bits: int) -> None:
    symbols, each = b"0123456789abcdef"[: 1 << bits], 8 // bits
    for length, skip in product([1, 3, 7, 8, 14, 15, 100, 70_000], range(each)):
        codes = np.random.default_rng(length).integers(0, 1 << bits, -(-(skip + 30 * length) // each) * each)
        held = (codes.reshape(-1, each) << bits * np.arange(each)).sum(axis=1).astype(np.uint8)
        text = bytes(symbols[code] for code in codes[skip:])
        for cell, first in ((bytes(length), 0), (b"--" + bytes(length) + b"-", 2)):
            places = np.arange(first, first + length, dtype=np.uint32)
            for rows in (None, np.array([29, 0, 0, 7, 28]), np.arange(0, 30, 2), np.zeros(0, np.int64)):
                chosen = range(30) if rows is None else rows.tolist()
                out = np.zeros(len(chosen) * len(cell), np.uint8)
                form.spell(held, bits, symbols, skip, cell, places, rows, out)
                spelled = [cell[:first] + text[row * length :][:length] + cell[first + length :] for row in chosen]
                assert out.tobytes() == b"".join(spelled)


PLACES = np.array([0, 1, 2], np.uint32)


@pytest.mark.parametrize("row", [5, 6, -1, 2**62, -(2**63)])
def test_cells_without_codes_are_refused(form: ModuleType, row: int) -> None:
    form.spell(zeros("u1", 8), 4, bytes(16), 1, bytes(3), PLACES, np.array([0, 4]), zeros("u1", 6))
    form.spell(zeros("u1", 8), 4, bytes(16), 1, bytes(3), PLACES, None, zeros("u1", 15))
    with pytest.raises(ValueError, match="spell: "):
        form.spell(zeros("u1", 8), 4, bytes(16), 1, bytes(3), PLACES, np.array([0, row]), zeros("u1", 6))
    with pytest.raises(ValueError, match="spell: "):
        form.spell(zeros("u1", 8), 4, bytes(16), 1, bytes(3), PLACES, None, zeros("u1", 18))


def blocked(lengths: list[list[int]], stride: int) -> tuple[np.ndarray, np.ndarray, bytes]:
    """Blocks of cells of some lengths end to end, the size of each, and the cells."""
    heads = [np.array(some, "<u4").view(np.uint8).reshape(-1, 4)[:, :stride].T.tobytes() for some in lengths]
    cells = [np.random.default_rng(sum(some)).bytes(sum(some)) for some in lengths]
    both = [head + some for head, some in zip(heads, cells, strict=True)]
    return np.frombuffer(b"".join(both), np.uint8), np.array(list(map(len, both)), np.int64), b"".join(cells)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_blocks_are_parted_into_offsets_and_cells(form: ModuleType, stride: int) -> None:
    for rows, blocks in product([1, 2, 7], [0, 1, 3]):
        lengths = np.random.default_rng(rows).integers(0, min(1 << 8 * stride, 70_000), (blocks, rows)).tolist()
        data, sizes, expected = blocked(lengths, stride)
        offsets, cells = np.full(blocks * rows + 1, 1000), np.zeros(len(expected), np.uint8)
        form.unblock(data, sizes, rows, stride, offsets, cells)
        assert offsets.tolist() == np.cumsum([1000, *chain.from_iterable(lengths)]).tolist()
        assert cells.tobytes() == expected


@pytest.mark.parametrize("wrong", ["longer", "shorter", "moved", "negative", "short block"])
def test_lengths_that_do_not_add_up_are_refused(form: ModuleType, wrong: str) -> None:
    data, sizes, expected = blocked([[5, 6], [7, 0]], 1)
    data = data.copy()
    if wrong in ("longer", "shorter"):
        data[0] = 6 if wrong == "longer" else 4
    elif wrong != "short block":
        sizes += {"moved": np.array([1, -1]), "negative": np.array([len(data), -len(data)])}[wrong]
    else:
        sizes = np.array([len(data) - 1, 1])
    with pytest.raises(ValueError, match="unblock: "):
        form.unblock(data, sizes, 2, 1, np.zeros(5, np.int64), np.zeros(len(expected), np.uint8))


@pytest.mark.parametrize("kind", ["<f4", "<f8"])
def test_numbers_are_divided_in_double_precision(form: ModuleType, kind: str) -> None:
    found = np.array([0, 1, -1, 123_456_789, 2**53 - 1, -(2**62), 2**63 - 1])
    for exponent in (0, 2, 22):
        out = np.zeros(len(found), kind)
        form.divide(found, 10.0**exponent, out)
        assert out.tolist() == (found.astype(np.float64) / 10.0**exponent).astype(kind).tolist()


def test_nothing_is_made_of_nothing(form: ModuleType) -> None:
    none = np.zeros(0, np.uint8)
    form.unpack(none, 3, 5, 0, none.view("<u8"))
    form.within(none, 3, 5, 0, 1, none.view(np.bool_))
    form.pick(none, 3, 5, none.view(np.int64), 0, 0, none)
    form.lines(none, 2, none.view(np.int64))
    form.spread(none, none, 0, none)
    form.spell(none, 4, bytes(16), 0, bytes(3), PLACES, none.view(np.int64), none)
    form.spell(none, 4, bytes(16), 0, bytes(3), PLACES, None, none)
    form.divide(none.view(np.int64), 10.0, none.view(np.float64))


def test_a_compiler_was_used_where_there_is_one() -> None:
    headers = Path(sysconfig.get_path("include"), "Python.h")
    assert kernels.COMPILED or not headers.exists() or not any(map(shutil.which, ("cc", "gcc", "clang")))


def zeros(kind: str, count: int) -> np.ndarray:
    return np.zeros(count, kind)


# -- whole arrays ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("longest", [0, 1, 15, 16, 17, 40, 9000])
@pytest.mark.parametrize("count", [0, 1, 2, 3000])
def test_ranges_are_gathered_in_the_order_given(form: ModuleType, count: int, longest: int) -> None:
    rng = np.random.default_rng(longest)
    data = at_an_odd_address(rng.integers(0, 256, 20_000, np.uint8))
    starts = rng.integers(0, len(data) + 1, count)
    ends = np.minimum(starts + rng.integers(0, longest + 1, count), len(data))
    ends[-1:] = len(data)
    out = np.empty(int((ends - starts).sum()), np.uint8)
    form.gather(data, starts, ends, out)
    text = data.tobytes()
    assert out.tobytes() == b"".join(text[a:b] for a, b in zip(starts.tolist(), ends.tolist(), strict=True))


@pytest.mark.parametrize("longest", [0, 3, 16, 17, 400])
@pytest.mark.parametrize(("count", "limit"), [(0, 0), (0, 5), (1, 1), (9, 20), (5000, 40), (5000, 1024), (5000, 1025)])
def test_cells_are_looked_up(form: ModuleType, count: int, limit: int, longest: int) -> None:
    rng = np.random.default_rng(count + limit + longest)
    cells = [rng.bytes(int(rng.integers(0, longest + 1))) for _ in range(limit)]
    # There are bytes before the first cell.
    bounds = at_an_odd_address(3 + np.cumsum([0, *map(len, cells)]))
    held = at_an_odd_address(np.frombuffer(b"abc" + b"".join(cells), np.uint8))
    numbers = at_an_odd_address(rng.integers(0, max(limit, 1), count).astype(np.uint32))
    found = [cells[number] for number in numbers.tolist()]
    ends = np.cumsum([0, *map(len, found)])
    for kind in (np.int32, np.int64):
        offsets = at_an_odd_address(np.empty(count + 1, kind))
        assert form.lay(numbers, bounds, offsets) == ends[-1]
        assert offsets.tolist() == ends.tolist()
    out = at_an_odd_address(np.empty(ends[-1], np.uint8))
    form.fill(numbers, bounds, held, out)
    assert out.tobytes() == b"".join(found)
    for room in {len(out) + 1, len(out) - 1} - {-1}:
        with pytest.raises(ValueError, match="fill: "):
            form.fill(numbers, bounds, held, np.empty(room, np.uint8))
    if count:
        numbers[count // 2] = limit
        with pytest.raises(ValueError, match="lay: "):
            form.lay(numbers, bounds, np.empty(count + 1, np.int64))
        with pytest.raises(ValueError, match="fill: "):
            form.fill(numbers, bounds, held, out)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
@pytest.mark.parametrize("rows", [0, 1, 7, 8, 9, 16, 5003])
def test_flags_are_placed(form: ModuleType, rows: int, share: float) -> None:
    flags = at_an_odd_address(np.random.default_rng(rows).random(rows) < share)
    expected = [row for row, flag in enumerate(flags.tolist()) if flag]
    out = np.empty(len(expected), np.int64)
    form.places(flags, out)
    assert out.tolist() == expected
    for wrong in {len(expected) + 1, max(len(expected) - 1, 0)} - {len(expected)}:
        with pytest.raises(ValueError, match="places: "):
            form.places(flags, np.empty(wrong, np.int64))


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("rows", [0, 1, 63, 64, 65, 255 * 64, 255 * 64 + 1, 40_003])
def test_rows_flagged_in_both_are_counted(form: ModuleType, rows: int, share: float) -> None:
    rng = np.random.default_rng(rows)
    flags, others = (at_an_odd_address(rng.random(rows) < some) for some in (share, 1 - share / 2))
    assert form.overlap(flags, others) == sum(one and other for one, other in zip(flags, others, strict=True))
    with pytest.raises(ValueError, match="overlap: "):
        form.overlap(flags, np.zeros(rows + 1, bool))


@pytest.mark.parametrize("count", [0, 1, 2, 5000])
@pytest.mark.parametrize("limit", [1, 3, 40_000])
def test_values_are_grouped_by_their_numbers(form: ModuleType, limit: int, count: int) -> None:
    rng = np.random.default_rng(limit)
    found, values = rng.integers(0, limit, count, np.uint32), rng.integers(0, 2**32, count, np.uint32)
    out, begins = np.empty(count, np.uint32), np.empty(limit + 1, np.int64)
    form.group(found, values, out, begins)
    groups: list[list[int]] = [[] for _ in range(limit)]
    for number, value in zip(found.tolist(), values.tolist(), strict=True):
        groups[number].append(value)
    assert out.tolist() == list(chain(*groups))
    assert begins.tolist() == np.cumsum([0, *map(len, groups)]).tolist()
    if count:
        with pytest.raises(ValueError, match="group: "):
            form.group(np.append(found[1:], np.uint32(limit)), values, out, begins)


def test_blocks_of_numbers_are_packed(form: ModuleType) -> None:
    rng = np.random.default_rng(4)
    counts, widths = rng.integers(0, 130, 200), rng.integers(0, 33, 200, np.uint8)
    blocks = [numbers(width, count) for width, count in zip(widths.tolist(), counts.tolist(), strict=True)]
    blocks = [
        [number & (1 << width) - 1 for number in block] for block, width in zip(blocks, widths.tolist(), strict=True)
    ]
    expected = b""
    for block, width in zip(blocks, widths.tolist(), strict=True):
        bits = sum(number << width * at for at, number in enumerate(block))
        expected += bits.to_bytes((len(block) * width + 7) // 8, "little")
    out = np.empty(len(expected), np.uint8)
    form.pack(np.array(list(chain(*blocks)), np.int64), counts, widths, out)
    assert out.tobytes() == expected


# -- texts of frequent symbols -----------------------------------------------------------------------------------


def learned(cells: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """The lengths and the bytes of the symbols of cells: those of the compiled kernel, which alone finds any."""
    lengths, symbols = np.zeros(3840, np.uint8), np.zeros(3840 * 16, np.uint8)
    count = kernels.learn(*end_to_end(cells), lengths, symbols)
    return lengths[:count].copy(), symbols[: 16 * count].copy()


def end_to_end(cells: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    return np.frombuffer(b"".join(cells), np.uint8), np.cumsum([0, *map(len, cells)])


def tables(lengths: np.ndarray, symbols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lengths and the bytes of all codes."""
    of_codes, bytes_of = np.zeros(4096, np.uint8), np.zeros((4096, 16), np.uint8)
    of_codes[:256], bytes_of[:256, 0] = 1, np.arange(256)
    of_codes[256 : 256 + len(lengths)] = lengths
    bytes_of[256 : 256 + len(lengths)] = symbols.reshape(-1, 16)
    return of_codes, bytes_of.reshape(-1)


def coded(codes: list[int]) -> np.ndarray:
    """Codes, two in three bytes (format_spec/encodings/symbols.md), a pair at a time."""
    pairs = zip(codes[::2], [*codes[1::2], 0], strict=False)
    return np.frombuffer(b"".join((low | high << 12).to_bytes(3, "little") for low, high in pairs), np.uint8)


def some_cells() -> list[bytes]:
    rng = np.random.default_rng(7)
    parts = [rng.bytes(size) for size in (1, 2, 3, 4, 5, 7, 8, 9, 12, 16) for _ in range(3)]
    return [b"".join(parts[at] for at in rng.integers(0, 30, count)) for count in rng.integers(0, 9, 700).tolist()]


@pytest.mark.skipif(not kernels.COMPILED, reason="numpy finds no symbols")
def test_symbols_are_found_and_cells_are_parsed_into_the_longest(form: ModuleType) -> None:
    cells = some_cells()
    data, offsets = end_to_end(cells)
    lengths, symbols = learned(cells)
    own = [symbol.tobytes()[:length] for symbol, length in zip(symbols.reshape(-1, 16), lengths.tolist(), strict=True)]
    assert len(set(own)) == len(own) > 30
    assert set(lengths.tolist()) == set(range(2, 17))
    codes_of = {bytes([byte]): byte for byte in range(256)} | {one: 256 + at for at, one in enumerate(own)}
    expected = []
    for cell in cells:
        codes, at = [], 0
        while at < len(cell):
            length = next(
                size for size in range(16, 0, -1) if cell[at : at + size] in codes_of and at + size <= len(cell)
            )
            codes.append(codes_of[cell[at : at + length]])
            at += length
        expected.append(codes)
    out, ends = np.full(2 * len(data) + 2, 0xEE, np.uint8), np.empty(len(cells) + 1, np.int64)
    nbytes = form.parse(data, offsets, lengths, symbols, out, ends)
    assert ends.tolist() == np.cumsum([0, *map(len, expected)]).tolist()
    assert out[:nbytes].tobytes() == coded(list(chain(*expected))).tobytes()


@pytest.mark.parametrize("first", [0, 1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 7, 5000])
def test_codes_are_measured_and_unfolded(form: ModuleType, count: int, first: int) -> None:
    rng = np.random.default_rng(count)
    lengths = rng.integers(1, 17, 3840, np.uint8)
    of_codes, bytes_of = tables(lengths, rng.integers(0, 256, 3840 * 16, np.uint8))
    codes = rng.integers(0, 4096, first + count + 3).tolist()
    texts = [bytes_of.reshape(-1, 16)[code, : of_codes[code]].tobytes() for code in codes]
    cuts = np.sort(rng.integers(first, first + count + 1, 40))
    packed = at_an_odd_address(coded(codes))
    stream = np.array([first, *cuts]), np.array([*cuts, first + count])
    order = rng.permutation(len(cuts))
    for starts, ends in (stream, (stream[0][order], stream[1][order]), (stream[0][:0], stream[1][:0])):
        cells = [b"".join(texts[start:end]) for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
        offsets = np.full(len(cells) + 1, 11, np.int64)
        form.measure(packed, starts, ends, of_codes, offsets)
        assert offsets.tolist() == (11 + np.cumsum([0, *map(len, cells)])).tolist()
        out = np.empty(offsets[-1] - 11, np.uint8)
        form.unfold(packed, starts, ends, of_codes, bytes_of, out)
        assert out.tobytes() == b"".join(cells)
        for wrong in (out[:-1], np.empty(len(out) + 1, np.uint8)):
            if len(wrong) != len(out):
                with pytest.raises(ValueError, match="unfold: "):
                    form.unfold(packed, starts, ends, of_codes, bytes_of, wrong)


@pytest.mark.parametrize("count", [1, 2, 3, 40, 3000])
def test_a_code_without_a_symbol_is_refused(form: ModuleType, count: int) -> None:
    of_codes, _ = tables(zeros("u1", 5), zeros("u1", 80))
    for wrong in {0, count // 2, count - 1}:
        codes = [65] * count
        codes[wrong] = 256 + 5
        for starts, ends in (([0], [count]), ([0, 0], [count, 0])):
            with pytest.raises(ValueError, match="measure: "):
                form.measure(coded(codes), np.array(starts), np.array(ends), of_codes, zeros("i8", len(starts) + 1))


def blocks_of(pages: list[tuple[int, int, int]]) -> np.ndarray:
    """What `marked` reads of pages: where each begins, the log2 of its blocks, the number of the first."""
    table = np.full((len(pages), 8), -7)
    table[:, [0, 2, 4]] = pages
    return table


@pytest.mark.parametrize("count", [0, 1, 3, 50])
def test_marked_blocks_are_known(form: ModuleType, count: int) -> None:
    rng = np.random.default_rng(count)
    pages = blocks_of([(1000, 4, 3), (64, 2, 0), (5000, 12, -1)])
    nbytes = [160, 12, 9000]
    found = []
    for _ in range(300):
        slots = rng.integers(0, 3 if rng.random() < 0.1 else 2, count)
        starts = np.array([pages[slot, 0] + rng.integers(0, nbytes[slot] + 1) for slot in slots], np.int64)
        ends = np.array(
            [rng.integers(s, pages[p, 0] + nbytes[p] + 1) for s, p in zip(starts, slots, strict=True)], "i8"
        )
        marks = rng.random(rng.choice([13, 12])) < rng.choice([0.5, 0.99, 1])
        touched = [
            -1 if pages[slot, 4] < 0 else int(pages[slot, 4] + (byte - pages[slot, 0] >> pages[slot, 2]))
            for start, end, slot in zip(starts.tolist(), ends.tolist(), slots.tolist(), strict=True)
            for byte in range(start, end)
        ]
        expected = all(0 <= block < len(marks) and marks[block] for block in touched)
        assert form.marked(starts, ends, slots, pages, marks) is expected
        apart = np.stack((starts, ends, slots), axis=1)
        assert form.marked(*apart.T, pages, marks) is expected
        found.append(expected)
    assert count in (0, 50) or {*found} == {True, False}


@pytest.mark.parametrize("dimension", [1, 31, 32, 33, 256, 1000])
@pytest.mark.parametrize("metric", [0, 1, 2])
def test_vectors_are_compared_where_they_lie(form: ModuleType, metric: int, dimension: int) -> None:
    rng = np.random.default_rng(dimension)
    vectors = rng.normal(size=(40, dimension)).astype(np.float32)
    vectors[3], vectors[5, 0], vectors[7, -1], vectors[9, 0] = 0, np.nan, np.inf, 3e38
    queries = rng.normal(size=(3, dimension)).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    data = at_an_odd_address(vectors.reshape(-1)).view(np.uint8)
    rows = rng.integers(-1, 40, (3, 100))
    out = np.zeros(rows.shape, np.float32)
    form.compare(data, 4 * dimension * rows, queries, dimension, metric, out)
    exact, wide = vectors[rows].astype(np.float64), queries.astype(np.float64)[:, np.newaxis]
    with np.errstate(all="ignore"):
        if metric == 0:
            expected = np.square(exact - wide).sum(axis=-1)
        else:
            lengths = np.linalg.norm(exact, axis=-1) if metric == 2 else 1
            expected = 1 - (exact * wide).sum(axis=-1) / lengths
    expected[(rows == 7) | (rows < 0)] = np.nan
    if metric != 1:
        # Its square is past the numbers of 32 bits.
        expected[rows == 9] = np.nan
    assert np.array_equal(np.isnan(out), np.isnan(expected))
    known = ~np.isnan(expected)
    assert np.allclose(out[known], expected[known], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("count", [0, 1, 9, 200])
def test_the_best_are_chosen_in_order(form: ModuleType, count: int) -> None:
    rng = np.random.default_rng(count)
    for k in (1, 5, 300):
        ids = rng.permutation(count) - (rng.random(count) < 0.1) * 1000
        scores = rng.choice([0, 1, 2, 3, np.nan, np.inf, -np.inf], count).astype(np.float32)
        for low, high in ((-np.inf, np.nan), (1, 3), (1, np.inf), (4, 5)):
            out = np.full(k, -5)
            found = form.best(ids, scores, low, high, out)
            left = [
                (score, row_id, place)
                for place, (score, row_id) in enumerate(zip(scores.tolist(), ids.tolist(), strict=True))
                if row_id >= 0 and score == score and score >= low and not score >= high
            ]
            assert out.tolist() == [place for *_, place in sorted(left)][:k] + [-5] * (k - found)


def spelled(form: Any, **wrong: Any) -> None:
    right = {"bits": 4, "symbols": bytes(16), "skip": 0, "cell": bytes(3), "places": PLACES, "rows": zeros("i8", 1)}
    form.spell(zeros("u1", 8), *(right | {"out": zeros("u1", 3)} | wrong).values())


def packs(form: Any, **wrong: Any) -> None:
    right = {"values": zeros("i8", 3), "counts": np.array([3]), "widths": np.array([5], "u1"), "out": zeros("u1", 2)}
    form.pack(*(right | wrong).values())


def learnt(form: Any, **wrong: Any) -> None:
    right = {"offsets": np.array([0, 3]), "lengths": zeros("u1", 3840), "symbols": zeros("u1", 3840 * 16)}
    form.learn(zeros("u1", 3), *(right | wrong).values())


def parsed(form: Any, **wrong: Any) -> None:
    symbols = {"lengths": np.array([2], "u1"), "symbols": zeros("u1", 16)}
    right = {"offsets": np.array([0, 3]), **symbols, "out": zeros("u1", 8), "ends": zeros("i8", 2)}
    form.parse(zeros("u1", 3), *(right | wrong).values())


def measured(form: Any, **wrong: Any) -> None:
    spans = {"starts": zeros("i8", 1), "ends": np.array([2])}
    right = {**spans, "lengths": np.ones(4096, "u1"), "offsets": zeros("i8", 2)}
    form.measure(zeros("u1", 4), *(right | wrong).values())


def unfolded(form: Any, **wrong: Any) -> None:
    spans = {"starts": zeros("i8", 1), "ends": np.array([2])}
    tables = {"lengths": np.ones(4096, "u1"), "symbols": zeros("u1", 4096 * 16)}
    form.unfold(zeros("u1", 4), *({**spans, **tables, "out": zeros("u1", 2)} | wrong).values())


def laid(form: Any, **wrong: Any) -> None:
    right = {"numbers": zeros("u4", 1), "bounds": np.array([0, 3]), "offsets": zeros("i8", 2)}
    form.lay(*(right | wrong).values())


def filled(form: Any, **wrong: Any) -> None:
    right = {"numbers": zeros("u4", 1), "bounds": np.array([0, 3]), "cells": zeros("u1", 9), "out": zeros("u1", 3)}
    form.fill(*(right | wrong).values())


def compared(form: Any, **wrong: Any) -> None:
    right = {"places": zeros("i8", 1), "query": zeros("f4", 2), "dimension": 2, "metric": 0, "out": zeros("f4", 1)}
    form.compare(zeros("u1", 12), *(right | wrong).values())


WRONG: dict[str, Callable[[Any], Any]] = {
    "half a tile": lambda form: form.unpack(zeros("u1", 4), 3, 2, 0, zeros("u1", 16)),
    "a row more than tiles": lambda form: form.unpack(zeros("u1", 6), 3, 2, 0, zeros("u1", 17)),
    "a tile more than rows": lambda form: form.unpack(zeros("u1", 12), 3, 2, 0, zeros("u1", 16)),
    "rows without words": lambda form: form.unpack(zeros("u1", 0), 3, 2, 0, zeros("u1", 16)),
    "bits wider than words": lambda form: form.unpack(zeros("u1", 9), 9, 1, 0, zeros("u1", 8)),
    "no lanes": lambda form: form.unpack(zeros("u1", 9), 3, 0, 0, zeros("u1", 8)),
    "too many lanes": lambda form: form.unpack(zeros("u1", 9), 3, 2**62, 0, zeros("u1", 8)),
    "no bits": lambda form: form.within(zeros("u1", 9), 0, 3, 0, 0, zeros("u1", 24)),
    "fewer rows than values": lambda form: form.pick(zeros("u1", 9), 3, 3, zeros("i8", 3), 0, 0, zeros("u1", 4)),
    "rows of another type": lambda form: form.pick(zeros("u1", 9), 3, 3, zeros("i4", 4), 0, 0, zeros("u1", 4)),
    "rows of half a tile": lambda form: form.pick(zeros("u1", 10), 3, 3, zeros("i8", 4), 0, 0, zeros("u1", 4)),
    "flags of fewer rows": lambda form: form.within(zeros("u1", 9), 3, 3, 0, 0, zeros("u1", 23)),
    "bytes of fewer rows": lambda form: form.widen(zeros("u1", 9), 3, 0, zeros("u8", 4)),
    "bytes of more rows": lambda form: form.widen(zeros("u1", 9), 3, 0, zeros("u8", 2)),
    "half an integer": lambda form: form.widen(zeros("u1", 10), 3, 0, zeros("u8", 3)),
    "no stride": lambda form: form.widen(zeros("u1", 0), 0, 0, zeros("u8", 0)),
    "no line": lambda form: form.lines(zeros("u1", 256), 1, zeros("i8", 256)),
    "no second line": lambda form: form.lines(zeros("u1", 257 + 16), 1, zeros("i8", 257)),
    "lines of other integers": lambda form: form.lines(zeros("u1", 99), 1, zeros("i4", 2)),
    "fewer bits than rows": lambda form: form.spread(zeros("u1", 9), zeros("u1", 1), 1, zeros("u1", 8)),
    "bits before the first": lambda form: form.spread(zeros("u1", 9), zeros("u1", 1), -1, zeros("u1", 8)),
    "bits far away": lambda form: form.spread(zeros("u1", 9), zeros("u1", 1), 2**63 - 1, zeros("u1", 8)),
    "values of another width": lambda form: form.spread(zeros("u2", 9), zeros("u1", 1), 0, zeros("u1", 8)),
    "codes of other bits": lambda form: spelled(form, bits=3, symbols=bytes(8)),
    "fewer symbols": lambda form: spelled(form, symbols=bytes(15)),
    "no place": lambda form: spelled(form, places=PLACES[:0]),
    "a place behind the cell": lambda form: spelled(form, places=PLACES + 1),
    "places of another width": lambda form: spelled(form, places=zeros("u1", 3)),
    "a cell of no bytes": lambda form: spelled(form, cell=b""),
    "half a cell": lambda form: spelled(form, out=zeros("u1", 4)),
    "more cells than rows": lambda form: spelled(form, out=zeros("u1", 6)),
    "cells of other rows": lambda form: spelled(form, rows=zeros("i4", 1)),
    "codes far away": lambda form: spelled(form, skip=2**62),
    "codes before the first": lambda form: spelled(form, skip=-1),
    "numbers of 16 bits": lambda form: laid(form, numbers=zeros("u2", 1)),
    "offsets of other rows": lambda form: laid(form, offsets=zeros("i8", 1)),
    "offsets of 16 bits": lambda form: laid(form, offsets=zeros("i2", 2)),
    "no bounds": lambda form: laid(form, numbers=zeros("u4", 0), bounds=zeros("i8", 0), offsets=zeros("i8", 1)),
    "bounds that descend": lambda form: laid(form, bounds=np.array([0, 3, 1])),
    "cells to look up that descend": lambda form: filled(form, bounds=np.array([0, 3, 1])),
    "a cell behind the bytes": lambda form: filled(form, cells=zeros("u1", 2)),
    "a cell before the bytes": lambda form: filled(form, bounds=np.array([-1, 2])),
    "a range behind the bytes": lambda form: form.gather(
        zeros("u1", 3), zeros("i8", 1), zeros("i8", 1) + 4, zeros("u1", 4)
    ),
    "a range before the bytes": lambda form: form.gather(
        zeros("u1", 3), zeros("i8", 1) - 1, zeros("i8", 1), zeros("u1", 1)
    ),
    "a range that descends": lambda form: form.gather(
        zeros("u1", 3), np.array([2, 0]), np.array([1, 3]), zeros("u1", 2)
    ),
    "less room than ranges": lambda form: form.gather(
        zeros("u1", 3), zeros("i8", 1), zeros("i8", 1) + 3, zeros("u1", 2)
    ),
    "more room than ranges": lambda form: form.gather(
        zeros("u1", 3), zeros("i8", 1), zeros("i8", 1) + 3, zeros("u1", 4)
    ),
    "fewer starts than ends": lambda form: form.gather(zeros("u1", 3), zeros("i8", 1), zeros("i8", 2), zeros("u1", 0)),
    "ends of 32 bits": lambda form: form.gather(zeros("u1", 3), zeros("i8", 1), zeros("i4", 2), zeros("u1", 0)),
    "fewer values than numbers": lambda form: form.group(
        zeros("u4", 3), zeros("u4", 2), zeros("u4", 3), zeros("i8", 2)
    ),
    "less room than values": lambda form: form.group(zeros("u4", 3), zeros("u4", 3), zeros("u4", 2), zeros("i8", 2)),
    "numbers of 64 bits": lambda form: form.group(zeros("u8", 3), zeros("u4", 3), zeros("u4", 3), zeros("i8", 2)),
    "no number is allowed": lambda form: form.group(zeros("u4", 0), zeros("u4", 0), zeros("u4", 0), zeros("i8", 0)),
    "more numbers than blocks": lambda form: packs(form, values=zeros("i8", 4)),
    "fewer numbers than blocks": lambda form: packs(form, values=zeros("i8", 2)),
    "a block of less than none": lambda form: packs(form, counts=np.array([-1])),
    "33 bits": lambda form: packs(form, widths=np.array([33], "u1")),
    "widths of fewer blocks": lambda form: packs(form, widths=zeros("u1", 0)),
    "less room than blocks": lambda form: packs(form, out=zeros("u1", 1)),
    "more room than blocks": lambda form: packs(form, out=zeros("u1", 3)),
    "symbols of too many": lambda form: learnt(form, lengths=zeros("u1", 3839)),
    "symbols of fewer bytes": lambda form: learnt(form, symbols=zeros("u1", 16)),
    "cells behind the data": lambda form: learnt(form, offsets=np.array([0, 4])),
    "cells before the data": lambda form: learnt(form, offsets=np.array([-1, 3])),
    "cells that descend": lambda form: learnt(form, offsets=np.array([0, 3, 2])),
    "offsets of another width": lambda form: learnt(form, offsets=zeros("i4", 2)),
    "no offset": lambda form: learnt(form, offsets=zeros("i8", 0)),
    "no room for codes": lambda form: parsed(form, out=zeros("u1", 7)),
    "ends of fewer cells": lambda form: parsed(form, ends=zeros("i8", 1)),
    "a symbol of one byte": lambda form: parsed(form, lengths=np.array([1], "u1")),
    "a symbol of 17 bytes": lambda form: parsed(form, lengths=np.array([17], "u1")),
    "half a symbol": lambda form: parsed(form, symbols=zeros("u1", 8)),
    "parsed behind the data": lambda form: parsed(form, offsets=np.array([0, 4])),
    "codes behind the bytes": lambda form: measured(form, ends=np.array([3])),
    "codes before the bytes": lambda form: measured(form, starts=np.array([-1])),
    "codes that descend": lambda form: measured(form, starts=np.array([2]), ends=np.array([1])),
    "starts of fewer cells": lambda form: measured(form, starts=zeros("i8", 0)),
    "ends of another width": lambda form: measured(form, ends=zeros("i4", 2)),
    "a vector behind the bytes": lambda form: compared(form, places=np.array([5])),
    "numbers of half a query": lambda form: compared(form, dimension=3),
    "queries of no numbers": lambda form: compared(form, dimension=0),
    "half a distance a query": lambda form: compared(form, query=zeros("f4", 4)),
    "distances of no query": lambda form: compared(form, query=zeros("f4", 0)),
    "fewer places than room": lambda form: compared(form, places=zeros("i8", 0)),
    "a query of 64 bits": lambda form: compared(form, query=zeros("f8", 1)),
    "distances of 64 bits": lambda form: compared(form, out=zeros("f8", 1)),
    "no such metric": lambda form: compared(form, metric=3),
    "fewer scores than ids": lambda form: form.best(zeros("i8", 2), zeros("f4", 1), 0.0, 1.0, zeros("i8", 1)),
    "scores of 64 bits": lambda form: form.best(zeros("i8", 1), zeros("f8", 1), 0.0, 1.0, zeros("i8", 1)),
    "no room for the best": lambda form: form.best(zeros("i8", 1), zeros("f4", 1), 0.0, 1.0, zeros("i8", 0)),
    "pages of fewer ranges": lambda form: form.marked(*[zeros("i8", 2)] * 2, *[zeros("i8", 1)] * 2, zeros("u1", 1)),
    "half a page": lambda form: form.marked(*[zeros("i8", 1)] * 3, zeros("i8", 9), zeros("u1", 1)),
    "lengths of fewer codes": lambda form: measured(form, lengths=zeros("u1", 4095)),
    "measures of fewer cells": lambda form: measured(form, offsets=zeros("i8", 1)),
    "unfolded behind the bytes": lambda form: unfolded(form, ends=np.array([3])),
    "symbols of fewer codes": lambda form: unfolded(form, symbols=zeros("u1", 4095 * 16)),
    "unfolded symbols of 17 bytes": lambda form: unfolded(form, lengths=np.full(4096, 17, "u1")),
    "room for less": lambda form: unfolded(form, out=zeros("u1", 1)),
    "room for more": lambda form: unfolded(form, out=zeros("u1", 3)),
    "more offsets than rows": lambda form: form.unblock(
        zeros("u1", 9), zeros("i8", 3) + 3, 1, 1, zeros("i8", 5), zeros("u1", 6)
    ),
    "more cells than bytes": lambda form: form.unblock(
        zeros("u1", 9), zeros("i8", 3) + 3, 1, 1, zeros("i8", 4), zeros("u1", 7)
    ),
    "lengths of no bytes": lambda form: form.unblock(
        zeros("u1", 9), zeros("i8", 3) + 3, 1, 0, zeros("i8", 4), zeros("u1", 9)
    ),
    "blocks of no rows": lambda form: form.unblock(
        zeros("u1", 9), zeros("i8", 3) + 3, 0, 1, zeros("i8", 1), zeros("u1", 9)
    ),
    "more lengths than bytes": lambda form: form.unblock(
        zeros("u1", 9), zeros("i8", 3) + 3, 4, 1, zeros("i8", 13), zeros("u1", 0)
    ),
    "fewer numbers than rows": lambda form: form.divide(zeros("i8", 3), 10.0, zeros("f8", 4)),
    "numbers of another width": lambda form: form.divide(zeros("i4", 4), 10.0, zeros("f8", 4)),
}


@pytest.mark.skipif(not kernels.COMPILED, reason="numpy checks for itself")
@pytest.mark.parametrize("wrong", WRONG)
def test_compiled_kernels_refuse_arrays_that_do_not_fit(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"^\w+: "):
        WRONG[wrong](FORMS["compiled"])
