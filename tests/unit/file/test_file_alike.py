"""Small pages that are encoded in one go, against the same pages one by one."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from arrow_values import FLAT

from lance_like.encodings.base import Hints
from lance_like.encodings.choice import Choice
from lance_like.encodings.physical import is_number
from lance_like.file import alike
from lance_like.file.alike import encode_pages
from lance_like.file.encode import CutPage, EncodedPage, encode_page
from lance_like.file.stats import ZoneBuilder

NUMBERS = [kind for kind in FLAT if is_number(kind)]
NARROWEST, NAN, INF = -(1 << 63), float("nan"), float("inf")


def page_of(*pieces: pa.Array, first_row: int = 0, encoding: str | None = None, wide: bool = True) -> CutPage:
    return CutPage(list(pieces), Hints(choice=Choice(encoding), wide=wide), ZoneBuilder(pieces[0].type), first_row)


def numbers(kind: pa.DataType, rows: int, bits: int, seed: int) -> pa.Array:
    """Random values that span up to some bits of the type, from anywhere in its range."""
    width = min(bits, kind.bit_width)
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 1 << 63, rows, np.uint64) * np.uint64(2) & np.uint64((1 << width) - 1)
    values += np.uint64(rng.integers(0, 1 << 63) & ((1 << kind.bit_width - 1) - 1 & ~((1 << width) - 1)))
    return pa.Array.from_buffers(kind, rows, [None, pa.py_buffer(values.astype(f"<u{kind.bit_width // 8}"))])


def content(page: EncodedPage) -> tuple[Any, ...]:
    data = b"".join(chunk.tobytes() for chunk in page.chunks)
    return page.num_rows, page.description, data, page.nbytes, page.block_log2, page.sums.tolist(), page.extents


def assert_same_pages(pages: list[CutPage], *, one_by_one: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Encode pages together and one by one: the same comes out, and so many were encoded alone."""
    expected = [content(encode_page(CutPage(list(p.pieces), p.hints, p.zones, p.first_row))) for p in pages]
    alone: list[CutPage] = []

    def encode(page: CutPage) -> EncodedPage:
        alone.append(page)
        return encode_page(page)

    monkeypatch.setattr(alike, "encode_page", encode)
    assert [content(page) for page in encode_pages(pages)] == expected
    assert len(alone) == one_by_one
    assert not any(page.pieces for page in pages)


@pytest.mark.parametrize("kind", NUMBERS, ids=str)
def test_alike_pages_are_encoded_as_they_would_be_alone(kind: pa.DataType, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = [numbers(kind, 60, bits, bits) for bits in (0, 1, 7, 8, 9, 15, 16, 17, 23, 24, 31, 33, 40, 47, 56, 57, 64)]
    assert_same_pages([page_of(array) for array in arrays], one_by_one=0, monkeypatch=monkeypatch)


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.float64()], ids=str)
def test_alike_floats_keep_their_bits_and_bounds(kind: pa.DataType, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [[NAN] * 4, [0.0, -0.0, 0.0, 0.0], [-0.0] * 4, [NAN, 1, 2, NAN], [INF, -INF, 0, 1], [NAN, INF, NAN, NAN]]
    pages = [page_of(pa.array(np.array(values), pa.float64()).cast(kind)) for values in rows]
    assert_same_pages(pages, one_by_one=0, monkeypatch=monkeypatch)


@pytest.mark.parametrize("wide", [True, False])
def test_integers_of_a_wide_file_alone_take_whole_bytes(wide: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    many = [numbers(pa.int64(), 1_000, bits, bits) for bits in (3, 11, 20)]
    few = [array.slice(0, 32) for array in many]
    floats = [array.cast(pa.float64(), safe=False) for array in many]
    pages = [page_of(array, wide=wide) for array in (*many, *few, *floats)]
    encodings = [json.loads(encode_page(page_of(array, wide=wide)).description)["e"] for array in many]
    assert encodings == ["narrow"] * 3 if wide else ["bitpack"] * 3
    assert_same_pages(pages, one_by_one=0 if wide else len(many), monkeypatch=monkeypatch)


def test_the_ends_of_a_range_are_alike_too(monkeypatch: pytest.MonkeyPatch) -> None:
    signed = [[NARROWEST, ~NARROWEST], [NARROWEST, NARROWEST + 3], [~NARROWEST - 300, ~NARROWEST], [-1, 0]]
    unsigned = [[0, (1 << 64) - 1], [(1 << 64) - 9, (1 << 64) - 1], [1 << 63, (1 << 63) + 65536]]
    pages = [page_of(pa.array(values, pa.int64())) for values in signed]
    pages += [page_of(pa.array(values, pa.uint64())) for values in unsigned]
    assert_same_pages(pages, one_by_one=0, monkeypatch=monkeypatch)


def test_what_is_not_alike_is_encoded_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    few = pa.array(range(10), pa.int32())
    alone = [
        page_of(pa.array([1, None, 3], pa.int32())),
        page_of(few, few.slice(2), pa.array([None], pa.int32())),
        page_of(few, encoding="plain"),
        page_of(pa.array(range(5000), pa.int32())),
        page_of(few, pa.array(range(2040), pa.int32())),
        page_of(few, first_row=8190),
        page_of(pa.array(["a", "b"])),
        page_of(pa.array([True, False])),
        page_of(pa.nulls(3)),
    ]
    together = [page_of(few), page_of(few.slice(3), few.slice(0, 3))]
    without_neighbours = [page_of(few.slice(5)), page_of(few, first_row=8182)]
    pages = [*together, *alone[:4], without_neighbours[0], *alone[4:], without_neighbours[1]]
    assert_same_pages(pages, one_by_one=len(alone) + len(without_neighbours), monkeypatch=monkeypatch)
