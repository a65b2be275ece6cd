"""Descriptions and bytes that no writer made: refused as damage, or read as something; never another end.

What the checksums let through is still untrusted (GUARANTEES of the format: hostile input).
"""

from __future__ import annotations

import struct

import numpy as np
import pyarrow as pa
import pytest
from arrow_values import CARRIED_TYPES, STYLES, Shape, make_array
from page_cases import Page, page_of, read, whole
from wrong_json import changed, members

from lance_like.encodings.base import Encoded, Hints, parse_node
from lance_like.encodings.registry import ENCODINGS, check_blob_ranges, encode_array, with_blob_moved
from lance_like.errors import Corrupt, LanceLikeError, Unsupported
from lance_like.typing_ import Json

NUMBERS = [-1, 0, 1, 7, 63, 64, 2**31, 2**32, 2**45, 2**53 - 1, 2**53, 2**63, 2**70, 1.5, float("inf")]
TEXTS = ["", "x", "0", "ff", str(-(2**63)), str(2**64 - 1), "\ud800", "²", "9" * 5000]
OTHERS = [None, True, [], [[]], [0, 0], [0, 1], [1, 10**9], [0, -1], [0.0, 1], {}, {"e": "plain", "n": 3}]
ODD = [*NUMBERS, *TEXTS, *OTHERS]
NAMES = [*ENCODINGS.names(), "unknown"]

KINDS = (
    *(pa.bool_(), pa.int64(), pa.int8(), pa.float32(), pa.binary(5), pa.string(), pa.large_binary()),
    *(pa.list_(pa.int32()), pa.large_list(pa.string()), pa.map_(pa.string(), pa.int8()), pa.list_(pa.bool_(), 3)),
    pa.list_(pa.struct([("x", pa.int64()), ("y", pa.string())])),
    *(pa.dictionary(pa.int8(), pa.string()), pa.list_(pa.dictionary(pa.int32(), pa.float64()))),
)
names = [str(kind) for kind in KINDS]


def attempt(page: Page, rows: int) -> None:
    """Read a page in two ways; any end but an array of the right form or our error fails the test."""
    picked = np.array([0, rows - 1, rows // 2])
    for starts, ends in (whole(rows), (picked, picked + 1)):
        try:
            node = page.open()
            if node.num_rows != rows:
                continue  # the file layer refuses it
            answer, _ = read(page, starts, ends, node)
        except (Corrupt, Unsupported) as error:
            assert error.kind in ("page", "limit", "plugin")
        else:
            assert answer.type == page.kind
            assert len(answer) == int((ends - starts).sum())
            answer.validate()


def a_page(kind: pa.DataType, style: str, nulls: float = 0.2, rows: int = 100) -> Page:
    array = make_array(kind, rows, Shape(style, nulls), np.random.default_rng(rows))
    return page_of(encode_array(array, Hints()), kind)


def check_members(page: Page, rows: int) -> None:
    for path in members(page.description):
        for odd in NAMES if path and path[-1] == "e" else [*ODD, ...] if path else ODD:
            attempt(Page(changed(page.description, path, odd), page.data, page.kind), rows)


def check_bytes(page: Page, rows: int, rng: np.random.Generator, *, random: int, spots: int) -> None:
    """The same description over bytes of one value, random ones, and those that are there with three changed."""
    nbytes = len(page.data)
    made = [np.full(nbytes, fill, np.uint8) for fill in (0, 1, 127, 128, 255)]
    made += [rng.integers(0, 256, nbytes, np.uint8) for _ in range(random)]
    for _ in range(spots):
        data = page.data.copy()
        if nbytes:
            data[rng.integers(0, nbytes, 3)] = rng.integers(0, 256, 3)
        made.append(data)
    for data in made:
        attempt(Page(page.description, data, page.kind), rows)


@pytest.mark.parametrize("kind", KINDS, ids=names)
def test_a_wrong_member_is_refused_or_read_as_something(kind: pa.DataType) -> None:
    for style in ("few", "near"):
        check_members(a_page(kind, style), 100)


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", CARRIED_TYPES, ids=str)
def test_every_wrong_member_of_every_type(kind: pa.DataType) -> None:
    for style in STYLES:
        for rows in (1, 100, 1000):
            check_members(a_page(kind, style, rows=rows), rows)


@pytest.mark.parametrize("kind", KINDS, ids=names)
def test_several_wrong_members_at_once(kind: pa.DataType) -> None:
    rng = np.random.default_rng(0)
    for style in STYLES:
        page = a_page(kind, style)
        for _ in range(60):
            description = page.description
            for _ in range(rng.integers(2, 5)):
                paths = list(members(description))
                path = paths[rng.integers(len(paths))]
                pool = NAMES if path and path[-1] == "e" else ODD
                description = changed(description, path, pool[rng.integers(len(pool))])
            attempt(Page(description, page.data, page.kind), 100)


@pytest.mark.parametrize("kind", KINDS, ids=names)
def test_wrong_bytes_are_refused_or_read_as_something(kind: pa.DataType) -> None:
    rng = np.random.default_rng(0)
    for style in STYLES:
        check_bytes(a_page(kind, style), 100, rng, random=15, spots=15)


# -- one by one ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [None, [], "x", 1, {}, {"e": "plain"}, {"n": 1}, {"e": 1, "n": 1}, {"e": "plain", "n": True}]
)
def test_what_is_no_node_is_refused(body: Json) -> None:
    with pytest.raises(Corrupt):
        parse_node(body, 100)


@pytest.mark.parametrize(
    "item", [[0, 101], [101, 0], [-1, 2], [0, -1], [2**52, 2**52], [0], [0, 1, 2], [0.0, 1], ["0", 1], [True, 1], None]
)
def test_what_is_no_range_of_the_page_is_refused(item: Json) -> None:
    for body in ({"b": [item]}, {"v": item}, {"c": [{"e": "plain", "n": 1, "b": [item]}]}):
        with pytest.raises(Corrupt):
            parse_node({"e": "plain", "n": 1, **body}, 100)


def test_nesting_has_an_end() -> None:
    body: Json = {"e": "plain", "n": 0}
    for _ in range(100):
        body = {"e": "list", "n": 0, "c": [body]}
    assert parse_node(body, 0).encoding == "list"
    for _ in range(900):
        body = {"e": "list", "n": 0, "c": [body]}
    with pytest.raises(Corrupt):
        parse_node(body, 0)


def test_an_unknown_encoding_is_named() -> None:
    with pytest.raises(Unsupported, match="'later'") as caught:
        read(Page({"e": "later", "n": 1}, np.empty(0, np.uint8), pa.int8()), *whole(1))
    assert caught.value.kind == "plugin"
    assert "plain" in str(caught.value)


@pytest.mark.parametrize("name", sorted(set(ENCODINGS.names()) - {"constant"}))
@pytest.mark.parametrize(
    "kind", [pa.null(), pa.binary(3), pa.string(), pa.struct([]), pa.list_(pa.int8()), pa.float64()], ids=str
)
def test_an_encoding_of_another_type_is_refused(name: str, kind: pa.DataType) -> None:
    fits = {"plain": pa.float64(), "struct": pa.struct([])}
    if kind == fits.get(name) or (name == "plain" and kind == pa.binary(3)):
        return
    page = Page(
        {"e": name, "n": 1, "base": "0", "width": 1, "stride": 1, "lanes": 1, "rows": 1}, np.zeros(64, np.uint8), kind
    )
    with pytest.raises(Corrupt):
        read(page, *whole(1))


def _offsets(*values: int) -> Encoded:
    return Encoded("plain", len(values), {}, (np.array(values, np.int64).view(np.uint8),))


CELLS = np.frombuffer(b"0123456789", np.uint8)


@pytest.mark.parametrize(
    "offsets",
    [(0, 5, 3), (-1, 2, 5), (0, 5, 11), (0, 2**62, 2**63 - 1), (0, 2**62, -(2**63)), (5, -(2**63), -(2**63))],
)
@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_binary(), pa.list_(pa.uint8()), pa.large_list(pa.uint8())], ids=str
)
def test_offsets_that_leave_their_cells_are_refused(offsets: tuple[int, ...], kind: pa.DataType) -> None:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        items = Encoded("plain", 10, {}, (CELLS,))
        page = page_of(Encoded("list", 2, {}, (), (_offsets(*offsets), items)), kind)
    else:
        page = page_of(Encoded("variable", 2, {}, (CELLS,), (_offsets(*offsets),)), kind)
    with pytest.raises(Corrupt):
        read(page, *whole(2))
    with pytest.raises(Corrupt):
        read(page, np.array([1, 0]), np.array([2, 1]))


@pytest.mark.parametrize("blocks", [(0, 99), (-9, 5), (5, 0), (0, 2**62)])
def test_blocks_that_leave_their_buffer_are_refused(blocks: tuple[int, int]) -> None:
    tree = Encoded("zstd", 2, {"rows": 2, "stride": 1}, (CELLS,), (_offsets(*blocks),))
    with pytest.raises(Corrupt):
        read(page_of(tree, pa.string()), *whole(2))


def _frames(contents: list[bytes], rows: int, stride: int) -> Encoded:
    import zstandard

    frames = [zstandard.ZstdCompressor().compress(content) for content in contents]
    ends = np.cumsum([0, *map(len, frames)])
    params: dict[str, Json] = {"rows": rows, "stride": stride}
    data = np.frombuffer(b"".join(frames), np.uint8)
    return Encoded("zstd", rows * len(contents), params, (data,), (_offsets(*ends),))


# As many frames as are looked at one by one, more, and as many as are decompressed in one call.
@pytest.mark.parametrize("count", [1, 100, 300])
@pytest.mark.parametrize("claimed", [2**32, 2**40, 2**62, 2**63, 2**64 - 3])
def test_a_block_that_claims_to_be_huge_is_refused_before_memory_is_taken(count: int, claimed: int) -> None:
    import zstandard

    good = zstandard.ZstdCompressor().compress(b"hello")
    frame = good[:4] + b"\xe0" + struct.pack("<Q", claimed) + good[6:]
    data = np.frombuffer(frame * count, np.uint8)
    ends = _offsets(*range(0, len(data) + 1, len(frame)))
    page = page_of(Encoded("zstd", count, {"rows": 1, "stride": 0}, (data,), (ends,)), pa.large_string())
    with pytest.raises(Corrupt):
        read(page, *whole(count))


@pytest.mark.parametrize("count", [1, 100, 300])
@pytest.mark.parametrize("bad", [b"\2\1ab", b"\2\1abcd", b"\2", b"", b"\xff\xffabc"])
def test_lengths_that_do_not_fit_their_block_are_refused(count: int, bad: bytes) -> None:
    page = page_of(_frames([b"\2\1abc"] * (count - 1) + [bad], 2, 1), pa.string())
    last = np.array([2 * count - 1])
    for starts, ends in (whole(2 * count), (last, last + 1)):
        with pytest.raises(Corrupt):
            read(page, starts, ends)


@pytest.mark.parametrize("count", [1, 100, 300])
def test_frames_without_content_are_empty_cells(count: int) -> None:
    page = page_of(_frames([b""] * count, 1, 0), pa.string())
    assert read(page, *whole(count))[0].to_pylist() == [""] * count


def test_blocks_with_other_sizes_than_they_say_are_refused() -> None:
    import zstandard

    good = zstandard.ZstdCompressor().compress(b"hello")
    for count in (1, 100, 300):
        for said in (0, 3, 4, 6, 7):
            frame = good[:5] + bytes([said]) + good[6:]
            data = np.frombuffer(good * (count - 1) + frame, np.uint8)
            ends = _offsets(*range(0, len(data) + 1, len(frame)))
            page = page_of(Encoded("zstd", count, {"rows": 1, "stride": 0}, (data,), (ends,)), pa.string())
            with pytest.raises(Corrupt):
                read(page, *whole(count))


# As many as are decompressed one by one, and more.
@pytest.mark.parametrize("count", [1, 16, 17])
def test_bytes_behind_a_frame_are_refused(count: int) -> None:
    import zstandard

    frame = zstandard.ZstdCompressor().compress(b"hello")
    data = np.frombuffer(frame * count + b"x", np.uint8)
    ends = [*range(0, len(frame) * count, len(frame)), len(data)]
    page = page_of(Encoded("zstd", count, {"rows": 1, "stride": 0}, (data,), (_offsets(*ends),)), pa.string())
    rows = np.arange(count)
    with pytest.raises(Corrupt):
        read(page, rows, rows + 1)


def test_counts_without_bytes_take_no_memory() -> None:
    code = Encoded("constant", 1, {"x": "00000000"})
    for count in (2**32, 2**45, 2**53 - 1):
        values = Encoded("constant", count, {"x": "61"})
        with pytest.raises(Corrupt):
            read(page_of(Encoded("dictionary", 1, {}, (), (code, values)), pa.string()), *whole(1))
        offsets = Encoded("constant", count + 1, {"x": "00" * 8})
        cells = (
            Encoded("variable", count, {}, (CELLS,), (offsets,)),
            Encoded("zstd", count, {"rows": 1, "stride": 0}, (CELLS,), (offsets,)),
            Encoded("zstd", count, {"rows": 9, "stride": 1}, (CELLS,), (offsets,)),
            Encoded("zstd", count, {"rows": 2**16, "stride": 4}, (np.zeros(1 << 22, np.uint8),), (offsets,)),
        )
        for values in cells:
            with pytest.raises(Corrupt):
                read(page_of(Encoded("dictionary", 1, {}, (), (code, values)), pa.string()), *whole(1))
        items = Encoded("constant", count, {"x": "0700"})
        with pytest.raises(Corrupt):
            read(page_of(Encoded("list", 1, {}, (), (_offsets(0, count), items)), pa.large_list(pa.int16())), *whole(1))


def test_null_keys_and_entries_of_maps_are_refused() -> None:
    kind = pa.map_(pa.int8(), pa.int8())
    keys, items = (Encoded("plain", 2, {}, (np.zeros(2, np.uint8),)) for _ in range(2))
    nulls = np.array([1], np.uint8)
    for entries in (
        Encoded("struct", 2, {}, (), (Encoded("plain", 2, {}, (np.zeros(2, np.uint8),), validity=nulls), items)),
        Encoded("struct", 2, {}, (), (keys, items), validity=nulls),
        Encoded("constant", 2, {"x": None}),
    ):
        with pytest.raises(Corrupt):
            read(page_of(Encoded("list", 1, {}, (), (_offsets(0, 2), entries)), kind), *whole(1))


def test_codes_past_their_values_are_refused() -> None:
    codes = Encoded("plain", 2, {}, (np.array([1, 2], np.uint32).view(np.uint8),))
    values = Encoded("plain", 2, {}, (np.arange(2, dtype=np.uint8),))
    for kind in (pa.uint8(), pa.dictionary(pa.int8(), pa.uint8())):
        with pytest.raises(Corrupt):
            read(page_of(Encoded("dictionary", 2, {}, (), (codes, values)), kind), *whole(2))


@pytest.mark.parametrize("place", [[0, 13], [12, 1], [-1, 2], [0], "x", [0.0, 1]])
def test_ranges_past_the_shared_blob_are_refused_before_it_is_joined_to_another(place: Json) -> None:
    inner = {"e": "zstd", "n": 1, "rows": 1, "stride": 0, "d": place}
    node = parse_node({"e": "list", "n": 1, "c": [{"e": "plain", "n": 2}, inner]}, 0)
    with pytest.raises(Corrupt):
        check_blob_ranges(node, 12)


def test_an_unknown_encoding_is_not_moved() -> None:
    with pytest.raises(Unsupported):
        check_blob_ranges(parse_node({"e": "of-tomorrow", "n": 1}, 0), 0)


def test_a_description_with_its_blob_moved_differs_in_its_ranges_only() -> None:
    zstd = {"e": "zstd", "n": 1, "d": [3, 4], "c": [{"e": "plain", "n": 2, "d": [5, 6]}]}
    body = {"e": "list", "n": 1, "b": [[0, 1]], "c": [{"e": "zstd", "n": 2, "d": None}, zstd]}
    moved = with_blob_moved(body, 100)
    assert moved == {**body, "c": [body["c"][0], {**zstd, "d": [103, 4]}]}
    assert zstd["d"] == [3, 4]


@pytest.mark.slow
def test_cells_past_2_gib_are_a_clear_error() -> None:
    offsets = Encoded("plain", 3, {}, (np.array([0, 1 << 30, 2 << 30], np.int64).view(np.uint8),))
    page = page_of(Encoded("variable", 2, {}, (np.zeros(2 << 30, np.uint8),), (offsets,)), pa.string())
    with pytest.raises(LanceLikeError, match="large_string"):
        read(page, *whole(2))
