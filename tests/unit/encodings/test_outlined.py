"""Pages of small cells with large ones among them: kept apart, read apart, put together again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from arrow_values import same
from page_cases import Page, conversation_of, expected_ranges, forced, page_of, random_ranges, read, whole

from lance_like.encodings import outlined
from lance_like.encodings.base import Hints
from lance_like.encodings.outlined import LARGE_NBYTES
from lance_like.encodings.places import UNKNOWN, describe_node, locate_node
from lance_like.encodings.registry import encode_array, read_node
from lance_like.encodings.stack import Reading, Runs, SharedBlob, Stack
from lance_like.errors import Corrupt
from lance_like.ranges import gather_from

KINDS = (pa.binary(), pa.large_binary(), pa.string(), pa.large_string())
LARGE_ROWS = (0, 31, 32, 150, 299)


def mixed(kind: pa.DataType, *, nulls: bool = True) -> pa.Array:
    """300 rows: captions that repeat words, five cells of more than 16 KiB, nulls."""
    rng = np.random.default_rng(0)
    cells: list[bytes | None] = [
        f"the caption of picture {i % 17} of many alike, number {i}, ".encode() * 20 for i in range(300)
    ]
    for row in LARGE_ROWS:
        noise = rng.integers(0, 256, LARGE_NBYTES + 1 + row, np.uint8)
        cells[row] = (noise & 127 if pa.types.is_string(kind) or pa.types.is_large_string(kind) else noise).tobytes()
    if nulls:
        cells[7] = cells[33] = None
    return pa.array(cells, pa.large_binary()).cast(kind)


def answered(conversation: Reading[Any], data: np.ndarray) -> tuple[Any, list[tuple[int, int]]]:
    """The answer of a read over bytes in hand, and the ranges it asked for."""
    asked: list[tuple[int, int]] = []
    try:
        asks = next(conversation)
        while True:
            asked += [(int(a), int(b)) for first, last, _ in asks for a, b in zip(first, last, strict=True)]
            asks = conversation.send([gather_from(data, first, last) for first, last, _ in asks])
    except StopIteration as stop:
        return stop.value, asked


def chosen(array: pa.Array) -> Page:
    """The page of an array as a writer encodes it."""
    hints = Hints()
    return page_of(encode_array(array, hints), array.type, hints)


def stack_of(page: Page) -> Stack:
    return Stack([page.open()], np.zeros(1, np.int64), np.zeros(1, np.int64), (SharedBlob(page.shared),))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_captions_with_pictures_are_outlined(kind: pa.DataType, monkeypatch: pytest.MonkeyPatch) -> None:
    # No UTF-8 is as random as a picture.
    monkeypatch.setattr(outlined, "_compressible", lambda cells: False)
    array = mixed(kind)
    page = chosen(array)
    assert page.description["e"] == "outlined"
    assert page.description["rows"] == list(LARGE_ROWS)
    small, large = page.description["c"]
    assert (small["e"], large["e"]) == ("zstd", "variable")
    rng = np.random.default_rng(1)
    node = page.open()
    for starts, ends in (whole(array), random_ranges(300, rng), random_ranges(300, rng, 40)):
        assert same(read(page, starts, ends, node)[0], expected_ranges(array, starts, ends))
    for rows in (rng.integers(0, 300, 60), np.array(LARGE_ROWS), np.array([32, 32, 0, 31, 1]), np.array([1, 2])):
        single = Runs.of_rows(np.zeros(len(rows), np.int64), rows)
        values, _ = read(page, rows, rows + 1, node)
        assert same(values, expected_ranges(array, rows, rows + 1))
        described, _ = answered(describe_node(stack_of(page), kind, single), page.data)
        for row, found in zip(rows.tolist(), described.to_pylist(), strict=True):
            cell = array[row].as_buffer()
            assert (found is None) == (cell is None)
            if cell is not None:
                assert found["size"] == cell.size
                assert (found["position"] is not None) == (row in LARGE_ROWS)
            if found is not None and found["position"] is not None:
                at = found["position"]
                assert page.data[at : at + found["size"]].tobytes() == cell.to_pybytes()


def test_reading_small_cells_does_not_touch_the_large_and_the_other_way_round() -> None:
    array = mixed(pa.binary())
    page = chosen(array)
    (start, size), *_ = page.description["c"][1]["b"]
    for row, in_large in ((1, False), (32, True)):
        _, touched = answered(conversation_of(page, np.array([row]), np.array([row + 1])), page.data)
        inside = sum(b - a for a, b in touched if start <= a < start + size)
        assert inside == (LARGE_NBYTES + 33 if in_large else 0)


def test_rows_of_many_pages_are_read_together() -> None:
    kind = pa.large_binary()
    arrays = [mixed(kind, nulls=False), mixed(kind, nulls=False).slice(20)]
    pages = [chosen(array) for array in arrays]
    offsets = np.array([0, len(pages[0].data)])
    stack = Stack([page.open() for page in pages], offsets, np.arange(2), [SharedBlob(page.shared) for page in pages])
    data = np.concatenate([page.data for page in pages])
    rng = np.random.default_rng(2)
    at, rows = rng.integers(0, 2, 200), rng.integers(0, 280, 200)
    answer, _ = answered(read_node(stack, kind, Runs.of_rows(at, rows)), data)
    assert answer.to_pylist() == [arrays[i][row].as_py() for i, row in zip(at.tolist(), rows.tolist(), strict=True)]
    (starts, lengths), _ = answered(locate_node(stack, kind, Runs.of_rows(at, rows)), data)
    for i, row, start, length in zip(at.tolist(), rows.tolist(), starts.tolist(), lengths.tolist(), strict=True):
        cell = arrays[i][row].as_py()
        assert length == len(cell)
        assert start == UNKNOWN or data[start : start + length].tobytes() == cell


def test_a_page_without_large_cells_or_with_little_else_is_not_outlined() -> None:
    rng = np.random.default_rng(3)
    captions = [b"a caption of some words " * 10] * 300
    pictures = [rng.bytes(50_000) for _ in range(20)]
    for cells in (captions, pictures, [*pictures, *captions[:3]]):
        assert forced("outlined", pa.array(cells, pa.binary())) is None


def test_large_texts_that_shrink_are_compressed_with_the_rest() -> None:
    texts = [f"line {i} of some document, " * (1000 if i % 20 == 0 else 10) for i in range(300)]
    assert forced("outlined", pa.array(texts)) is None
    assert encode_array(pa.array(texts), Hints()).encoding == "zstd"


@pytest.mark.parametrize(
    "rows",
    [None, "x", [], [0, 31, 32, 150], [31, 0, 32, 150, 299], [0, 31, 31, 150, 299], [-1, 31, 32, 150, 299],
     [0, 31, 32, 150, 300], [0, 31, 32, 150, 2**63], [0, 31, 32, 150, 299.0], [0, True, 32, 150, 299]],
)  # fmt: skip
def test_rows_that_do_not_ascend_below_the_row_count_are_refused(rows: object) -> None:
    page = chosen(mixed(pa.binary()))
    wrong = Page({**page.description, "rows": rows}, page.data, page.kind, page.shared)
    with pytest.raises(Corrupt, match=r"large rows|do not ascend"):
        read(wrong, np.array([0]), np.array([300]))


def test_nulls_in_a_child_are_refused() -> None:
    page = chosen(mixed(pa.binary(), nulls=False))
    nothing = {"e": "constant", "n": 300, "x": None}
    small, large = page.description["c"]
    for children in ([nothing, large], [{**small, "v": [0, 64]}, large], [small, {**large, "v": [0, 64]}],
                     [small, {"e": "constant", "n": 5, "x": None}]):  # fmt: skip
        wrong = Page({**page.description, "c": children}, page.data, page.kind, page.shared)
        for starts, ends in ((np.array([0]), np.array([300])), (np.array([31]), np.array([33]))):
            with pytest.raises(Corrupt, match="null"):
                read(wrong, starts, ends)
