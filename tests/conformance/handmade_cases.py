"""The files that a reader must read although the package's writer would not write them so."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import zstandard
from handmade import Column, Page, bitpacked, make_file, put
from vector_cases import Case


def handmade_cases() -> Iterator[Case]:
    field_n: dict[str, Any] = {"name": "n", "type": "int64", "nullable": True}
    first, second = np.array([5, -6, 7], "<i8"), np.array([8, 9], "<i8")
    loose = b' {"later": [1, {}], "b": [[3,30]] ,\n "c":[], "n":3, "e":"plain", "v":[36,2]} '
    pages = [
        Page(loose, b"\xaa" * 3 + first.tobytes() + bytes(6) + b"\xee" * 3 + b"\x05\xff" + b"tail", 3, 6),
        Page({"e": "plain", "n": 2, "b": [[0, 16]]}, second.tobytes(), 2, 24),
    ]
    column = Column({**field_n, "later": {"x": None}}, pages, zone_rows=2, null_rows=[1])
    data = make_file(
        [column],
        num_rows=5,
        alignment=1,
        reverse_pages=True,
        metadata=b'{ "metadata" : [] , "writer":"x", "later":true}',
    )
    yield Case(
        "by_hand_loose",
        "unaligned parts, pages in reverse order, overlong buffers, unknown members, blocks of 64 bytes and 16 MiB,"
        " zones without bounds, spaces in JSON, a damaged head",
        "file.md",
        pa.table({"n": pa.array([5, None, 7, 8, 9])}),
        data=_with_bad_head(data),
    )
    yield from _handmade_encodings()
    yield _handmade_symbols()


def _with_bad_head(data: bytes) -> bytes:
    """The head is covered by no checksum and no reader needs it."""
    return b"\x55" * 64 + data[64:]


def _handmade_symbols() -> Case:
    """The example of the page of the encoding; and bytes behind the codes, a symbol twice, one of 1 byte and of 16."""
    table = b"\x03\x00" + bytes([5, 8, 2]) + b"to be or not be"
    worked: dict[str, Any] = {"e": "symbols", "n": 4, "d": [0, 20], "v": [0, 1], "b": [[64, 9]]}
    worked["c"] = [{"e": "narrow", "n": 5, "base": "0", "stride": 1, "b": [[128, 5]]}]
    page = b"\x0d".ljust(64, b"\0") + bytes.fromhex("001110 002110 74f006").ljust(64, b"\0") + bytes([0, 3, 3, 4, 6])
    # The table begins inside the blob; code 4095 has a symbol, of 16 bytes.
    full = (3840).to_bytes(2, "little") + bytes([1, 1, *[2] * 3837, 16]) + b"ab" + b"xy" * 3837 + b"0123456789abcdef"
    wide: dict[str, Any] = {"e": "symbols", "n": 4, "d": [7, len(full)], "b": [[0, 9]]}
    wide["c"] = [{"e": "narrow", "n": 5, "base": "0", "stride": 1, "b": [[9, 5]]}]
    codes = [0x61, 256, 4095, 4094]
    packed = b"".join((codes[at] | codes[at + 1] << 12).to_bytes(3, "little") for at in (0, 2)) + b"\xff" * 3
    columns = [
        Column(
            {"name": "worked", "type": "string", "nullable": True}, [Page(worked, page, 4)], shared=table, null_rows=[1]
        ),
        Column(
            {"name": "wide", "type": "binary", "nullable": True},
            [Page(wide, packed + bytes([0, 2, 3, 3, 4]), 4)],
            shared=b"\xee" * 7 + full,
        ),
    ]
    arrays = {
        "worked": pa.array(["to be or not to be", None, "be", "to"]),
        "wide": pa.array([b"aa", b"0123456789abcdef", b"", b"xy"], pa.binary()),
    }
    about = "the example of the page, more codes than rows have, 3,840 symbols, one of them twice, of 1 byte and of 16"
    data = make_file(columns, num_rows=4)
    return Case("by_hand_symbols", about, "encodings/symbols.md", pa.table(arrays), data=data)


def _handmade_encodings() -> Iterator[Case]:
    rows = 5
    columns: list[Column] = []
    arrays: dict[str, pa.Array] = {}

    def add(name: str, type_json: Any, array: pa.Array, description: Any, page: bytes = b"") -> None:
        nulls = [row for row, value in enumerate(array) if not value.is_valid]
        field = {"name": name, "type": type_json, "nullable": True}
        columns.append(Column(field, [Page(description, page, rows)], null_rows=nulls))
        arrays[name] = array

    add(
        "constant_v",
        "int16",
        pa.array([7, None, 7, None, 7], pa.int16()),
        {"e": "constant", "n": 5, "x": "0700", "v": [0, 1]},
        b"\x15",
    )
    add("constant_upper", "binary", pa.array([b"\xab\xcd"] * 5, pa.binary()), {"e": "constant", "n": 5, "x": "ABcd"})
    vector = {"t": "fixed_size_list", "size": 2, "item": {"name": "item", "type": "int8", "nullable": True}}
    add(
        "constant_list", vector, pa.array([[1, -1]] * 5, pa.list_(pa.int8(), 2)), {"e": "constant", "n": 5, "x": "01ff"}
    )
    some = {"t": "list", "item": {"name": "item", "type": "int8", "nullable": True}}
    add("constant_null_list", some, pa.array([None] * 5, pa.list_(pa.int8())), {"e": "constant", "n": 5, "x": None})
    add(
        "narrow_wide",
        "int16",
        pa.array([-1, 0, 1, 2, 32767], pa.int16()),
        {"e": "narrow", "n": 5, "base": "18446744073709551615", "stride": 7, "b": [[0, 35]]},
        b"".join(v.to_bytes(7, "little") for v in (0, 1, (1 << 48) + 2, 3, 32768)),
    )
    inner = {
        "e": "dictionary",
        "n": 5,
        "v": [64, 1],
        "c": [{"e": "plain", "n": 5, "b": [[0, 20]]}, {"e": "plain", "n": 3, "b": [[128, 24]]}],
    }
    codes = struct.pack("<5I", 2, 1, 0, 1, 2)
    page = codes.ljust(64, b"\0") + b"\x0f".ljust(64, b"\0") + struct.pack("<3q", 10, 20, 30)
    add("dictionary_ints", "int64", pa.array([30, 20, 10, 20, None]), inner, page)
    twice = {
        "e": "dictionary",
        "n": 5,
        "c": [
            {
                "e": "dictionary",
                "n": 5,
                "c": [
                    {"e": "narrow", "n": 5, "base": "0", "stride": 1, "b": [[0, 5]]},
                    {"e": "plain", "n": 2, "b": [[8, 8]]},
                ],
            },
            {"e": "plain", "n": 2, "b": [[16, 1]]},
        ],
    }
    add(
        "dictionary_of_codes",
        "bool",
        pa.array([True, False, False, True, True]),
        twice,
        bytes([1, 0, 0, 1, 1, 0, 0, 0]) + struct.pack("<2I", 1, 0) + b"\x01",
    )
    offsets = {"e": "bitpack", "n": 6, "base": "0", "width": 4, "lanes": 3, "b": [[0, 12]]}
    add(
        "offsets_bitpack",
        "string",
        pa.array(["ab", "", "c", "def", ""]),
        {"e": "variable", "n": 5, "b": [[12, 6]], "c": [offsets]},
        bitpacked([0, 2, 2, 3, 6, 6], 4, 3) + b"abcdef",
    )
    add(
        "offsets_constant",
        some,
        pa.array([[]] * 5, pa.list_(pa.int8())),
        {"e": "list", "n": 5, "c": [{"e": "constant", "n": 6, "x": "00" * 8}, {"e": "plain", "n": 0, "b": [[0, 0]]}]},
    )
    add(
        "offsets_plain",
        "binary",
        pa.array([b"a", b"", b"b", b"", b"c"], pa.binary()),
        {"e": "variable", "n": 5, "b": [[48, 3]], "c": [{"e": "plain", "n": 6, "b": [[0, 48]]}]},
        struct.pack("<6q", 0, 1, 1, 2, 2, 3) + b"abc",
    )
    add(
        "alphabet_by_hand",
        "string",
        pa.array(["a-b", "", "b-b", "", "a-a"]),
        {
            "e": "alphabet",
            "n": 5,
            "bits": 2,
            "symbols": "61626261",
            "template": "..2D..",
            "b": [[6, 2]],
            "c": [{"e": "narrow", "n": 6, "base": "0", "stride": 1, "b": [[0, 6]]}],
        },
        bytes([0, 2, 2, 4, 4, 6, 0b01_10_01_00, 0b1111_00_11]),
    )
    for name, per_block, stride, contents in (
        ("zstd_empty_block", 2, 1, (b"\4\2aaaabb", bytes(2), b"\1\0c")),
        ("zstd_two_planes", 3, 2, (b"\4\2\0\0\0\0aaaabb", b"\0\1\0\0\0\0c")),
        ("zstd_cells", 1, 0, (b"aaaa", b"bb", b"", b"", b"c")),
    ):
        blocks = [zstandard.ZstdCompressor(write_content_size=True).compress(content) for content in contents]
        ends = [0, *np.cumsum([len(block) for block in blocks]).tolist()]
        described = {
            "e": "zstd",
            "n": 5,
            "rows": per_block,
            "stride": stride,
            "b": [[8 * len(ends), ends[-1]]],
            "c": [{"e": "plain", "n": len(ends), "b": [[0, 8 * len(ends)]]}],
        }
        cells = struct.pack(f"<{len(ends)}q", *ends) + b"".join(blocks)
        add(name, "string", pa.array(["aaaa", "bb", "", "", "c"]), described, cells)
    many = {"e": "fixed_size_list", "n": 5, "c": [{"e": "constant", "n": 10, "x": "05"}]}
    add("list_of_constant", vector, pa.array([[5, 5]] * 5, pa.list_(pa.int8(), 2)), many)
    yield Case(
        "by_hand_encodings",
        "encodings in places where the package's writer does not use them",
        "encodings/README.md",
        pa.table(arrays),
        data=make_file(columns, num_rows=rows),
    )
    wide = []
    tables: dict[str, pa.Array] = {}
    rng = np.random.default_rng(3)
    for width, lanes in ((1, 1), (7, 5), (8, 2), (9, 3), (16, 1), (31, 2), (32, 3), (33, 2), (61, 1), (63, 4)):
        values = [int(v) for v in rng.integers(0, (1 << width) - 1, 300, endpoint=True)]
        name = f"w{width}_l{lanes}"
        packed = bitpacked(values, width, lanes)
        description = {"e": "bitpack", "n": 300, "base": "-9", "width": width, "lanes": lanes, "b": [[0, len(packed)]]}
        wide.append(Column({"name": name, "type": "int64", "nullable": False}, [Page(description, packed, 300)]))
        tables[name] = pa.array([(v - 9 + (1 << 63)) % (1 << 64) - (1 << 63) for v in values], pa.int64())
    schema = pa.schema([pa.field(name, pa.int64(), nullable=False) for name in tables])
    yield Case(
        "by_hand_bitpack",
        "bit-packing of many widths and lanes, several tiles",
        "encodings/bitpack.md",
        pa.Table.from_arrays(list(tables.values()), schema=schema),
        data=make_file(wide, num_rows=300),
    )
    unknown = {
        "t": "extension",
        "name": "example.unknown",
        "data": "AHBhcmFtZXRlcnP/",
        "storage": "int8",
    }
    strange = {"name": "n", "type": unknown, "nullable": True}
    page = Page({"e": "plain", "n": 2, "b": [[0, 2]]}, b"\x01\x02", 2)
    two = pa.table({"n": pa.array([1, 2], pa.int8())})
    data = make_file([Column(strange, [page])], num_rows=2)
    yield Case("by_hand_extension", "an extension nobody knows", "types.md", two, data=data, fields=[strange])
    reserved = make_file(
        [Column({"name": "n", "type": "int8", "nullable": True}, [page])],
        num_rows=2,
        edits={
            "record": put(42, "<H", 7),
            "zone": put(21, "<B", 7),
        },
    )
    yield Case(
        "by_hand_reserved",
        "reserved bytes that are not zero",
        "README.md, Words",
        two,
        data=reserved,
    )
