"""Files whose checksums are right and whose page breaks a rule of its encoding: one page of three rows each."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import zstandard
from handmade import Column, Page, make_file
from vector_cases import BadCase

PLAIN = {"e": "plain", "n": 3, "b": [[0, 24]]}
VALUES = struct.pack("<3q", 1, 2, 3)
EMPTY = {"e": "plain", "n": 0, "b": [[0, 0]]}
CELLS = b"abcdef"

# The shared blob of every column: the head of a trained dictionary, and damage.
_TRAINED = b"\x37\xa4\x30\xec".ljust(40, b"\x55")

Fault = tuple[str, str, Any, Any, bytes]
"""Name of the case, what is wrong, type, description, page."""


def int64_column(description: Any, page: bytes, *, kind: Any = "int64", rows: int = 3, **more: Any) -> Column:
    """A column of one page."""
    return Column({"name": "n", "type": kind, "nullable": True}, [Page(description, page, rows)], **more)


def bad_encodings() -> Iterator[BadCase]:
    pages = {"list": "nested", "map": "nested", "fixed": "nested", "struct": "nested"}
    for faults in (_integers(), _dictionaries(), _nested(), _cells(), _few_bytes(), _apart(), _compressed()):
        for name, covers, kind, description, page in faults:
            encoding = name.partition("_")[0]
            data = make_file([int64_column(description, page, kind=kind, shared=_TRAINED)], num_rows=3)
            spec = f"encodings/{pages.get(encoding, encoding)}.md"
            yield BadCase(name, covers, spec, "Corrupt", "limit" if name == "list_bomb" else "page", data)
    yield from _of_symbols()


def _field(kind: Any) -> dict[str, Any]:
    return {"name": "item", "type": kind, "nullable": True}


def _narrow(rows: int, start: int, **more: Any) -> dict[str, Any]:
    return {"e": "narrow", "n": rows, "base": "0", "stride": 1, "b": [[start, rows]], **more}


def _tree(name: str, *children: Any, **more: Any) -> dict[str, Any]:
    return {"e": name, "n": 3, **more, "c": list(children)}


def _integers() -> Iterator[Fault]:
    def constant(name: str, covers: str, kind: Any = "int64", **more: Any) -> Fault:
        return f"constant_{name}", covers, kind, {"e": "constant", "n": 3, **more}, b""

    def narrow(name: str, covers: str, kind: Any = "int64", **more: Any) -> Fault:
        return f"narrow_{name}", covers, kind, _narrow(3, 0, **more), VALUES

    def bits(name: str, covers: str, kind: Any = "int64", **more: Any) -> Fault:
        body = {"e": "bitpack", "n": 3, "base": "0", "width": 3, "lanes": 1, "b": [[0, 3]], **more}
        return f"bitpack_{name}", covers, kind, body, VALUES

    yield "plain_short", "int64 rows in 16 bytes", "int64", {**PLAIN, "b": [[0, 16]]}, VALUES
    yield "plain_no_buffer", "no buffer", "int64", {"e": "plain", "n": 3}, VALUES
    yield "plain_bits_short", "booleans in no bytes", "bool", {"e": "plain", "n": 3, "b": [[0, 0]]}, b"\x07"
    yield "plain_text", "text as plain", "string", PLAIN, VALUES
    yield constant("missing", "no value")
    yield constant("number", "a value that is a number", x=1234567812345678)
    yield (
        "constant_null_v",
        "all null, and a bitmap",
        "int64",
        {"e": "constant", "n": 3, "x": None, "v": [0, 1]},
        b"\x07",
    )
    yield constant("hex", "a value that is not hexadecimal", x="zz" * 8)
    yield constant("length", "two bytes for an int64", x="0700")
    yield constant("bool", "two bytes for a boolean", "bool", x="0101")
    yield constant("bool_2", "a boolean of 02", "bool", x="02")
    yield constant("spaces", "hexadecimal with spaces", x="07 00 00 00 00 00 00 00")
    yield constant("list", "a value for a list", {"t": "list", "item": _field("int8")}, x="07")
    yield narrow("stride_0", "a stride of 0", stride=0)
    yield narrow("stride_8", "a stride of 8", stride=8)
    yield narrow("stride_text", "a stride that is text", stride="1")
    yield narrow("short", "three rows in two bytes", b=[[0, 2]])
    yield narrow("base_number", "a base that is a number", base=0)
    yield narrow("base_text", "a base that is not a number", base="1e3")
    yield narrow("base_plus", "a base with a plus sign", base="+5")
    yield narrow("base_empty", "an empty base", base="")
    yield narrow("base_huge", "a base of 2^64", base=str(1 << 64))
    yield narrow("float", "floats as narrow", "float64")
    yield narrow("decimal", "decimals as narrow", {"t": "decimal128", "precision": 9, "scale": 0})
    yield bits("width_0", "a width of 0", width=0)
    yield bits("width_64", "a width of 64", width=64)
    yield bits("lanes_0", "no lanes", lanes=0)
    yield bits("lanes_huge", "2^40 lanes", lanes=1 << 40)
    yield bits("short", "fewer words than a tile needs", width=4)
    yield bits("text", "text as bitpack", "string")


def _dictionaries() -> Iterator[Fault]:
    two = {**PLAIN, "b": [[3, 16]], "n": 2}
    with_null = {**PLAIN, "b": [[8, 24]], "v": [3, 1]}
    kind = {"t": "dictionary", "index": "int8", "value": "int64", "ordered": False}
    codes = b"\0\2\1"
    nulls = b"\0\1\2\x05".ljust(8, b"\0") + VALUES
    empty = _tree("dictionary", _narrow(3, 1), EMPTY, v=[0, 1])
    null_codes = _tree("dictionary", {"e": "constant", "n": 3, "x": None}, PLAIN)
    ints = {"t": "list", "item": _field("int8")}
    lists = _tree("list", _narrow(4, 0), _narrow(3, 0))
    yield "dictionary_list", "a list as dictionary", ints, _tree("dictionary", _narrow(3, 0), lists), b"\0\1\2\2"
    yield "dictionary_null_codes", "codes that are null", "int64", null_codes, VALUES
    yield "dictionary_no_values", "one child", "int64", _tree("dictionary", _narrow(3, 0)), VALUES
    yield "dictionary_code", "a code past the values", "int64", _tree("dictionary", _narrow(3, 0), two), codes + VALUES
    yield "dictionary_codes_rows", "codes for two rows", "int64", _tree("dictionary", _narrow(2, 0), PLAIN), VALUES
    yield (
        "dictionary_type_code",
        "an index past the dictionary",
        kind,
        _tree("dictionary", _narrow(3, 0), two),
        codes + VALUES,
    )
    yield (
        "dictionary_null_value",
        "a null among the values of int64",
        "int64",
        _tree("dictionary", _narrow(3, 0), with_null),
        nulls,
    )
    yield "dictionary_empty", "no values, and rows that are not null", "int64", empty, b"\x03\0\0\0"


def _nested() -> Iterator[Fault]:
    ints = {"t": "list", "item": _field("int8")}
    union = {"t": "sparse_union", "fields": [_field("int8"), _field("int8")], "codes": [7, 2]}
    values = [_narrow(3, 4), _narrow(3, 4)]
    structs = {"t": "list", "item": _field({"t": "struct", "fields": [_field("int8")]})}
    pairs = {"t": "fixed_size_list", "size": 2, "item": _field("string")}
    ones = b"\0\1\2\3"
    short = {"e": "struct", "n": 3, "c": [_narrow(2, 0)]}
    five = {"e": "constant", "n": 5, "x": "61"}
    far = struct.pack("<4q", 0, 1, 2, 1 << 62) + CELLS
    wide = {"e": "plain", "n": 4, "b": [[0, 32]]}
    list_of = _tree("list", _narrow(4, 0), _narrow(6, 8))
    yield (
        "struct_children",
        "a struct without its field",
        structs,
        _tree("list", _narrow(4, 0), {"e": "struct", "n": 3}),
        ones,
    )
    yield "struct_rows", "a struct child of two rows", structs, _tree("list", _narrow(4, 0), short), ones
    yield "struct_of_ints", "int64 as struct", "int64", {"e": "struct", "n": 3}, b""
    yield "fixed_size_list_rows", "five items for three pairs", pairs, _tree("fixed_size_list", five), b""
    yield "struct_union_position", "field 2 of a union of two", union, _tree("struct", _narrow(3, 0), *values), ones * 2
    no_field = _tree("struct", {"e": "constant", "n": 3, "x": None}, *values)
    yield "struct_union_no_field", "rows of a union that have no field", union, no_field, ones * 2
    yield "struct_union_children", "a union without positions", union, _tree("struct", *values), ones * 2
    yield "list_of_ints", "int64 as list", "int64", _tree("list", _narrow(4, 0), _narrow(3, 0)), ones
    yield "list_descend", "offsets that descend", ints, list_of, b"\0\4\2\6".ljust(8) + CELLS
    yield "list_outside", "an offset past the items", ints, list_of, b"\0\2\4\7".ljust(8) + CELLS
    endless = _tree("list", wide, {"e": "constant", "n": 1 << 51, "x": "07"})
    bomb = struct.pack("<4q", 0, 1, 2, 1 << 50)
    entries = {"t": "map", "fields": [{**_field("int8"), "nullable": False}, _field("int8")], "sorted": False}
    nothing = {"e": "constant", "n": 3, "x": None}
    no_keys = {"e": "struct", "n": 3, "c": [nothing, _narrow(3, 0)]}
    yield "list_bomb", "a row of 2^50 items that take no bytes", ints, endless, bomb
    yield "map_null_keys", "keys that are null", entries, _tree("list", _narrow(4, 0), no_keys), ones
    yield "map_null_entries", "entries that are null", entries, _tree("list", _narrow(4, 0), nothing), ones
    yield "list_huge", "offsets near 2^62", ints, _tree("list", wide, _narrow(6, 32)), far


def _cells() -> Iterator[Fault]:
    def variable(name: str, covers: str, offsets: bytes, *, kind: Any = "string", rows: int = 4, **more: Any) -> Fault:
        body = {"e": "variable", "n": 3, "b": [[8, 6]], "c": [_narrow(rows, 0, **more)]}
        return f"variable_{name}", covers, kind, body, offsets.ljust(8) + CELLS

    good = b"\0\2\4\6"
    yield variable("descend", "offsets that descend", b"\0\4\2\6")
    yield variable("outside", "an offset past the cells", b"\0\2\4\xf0")
    yield variable("rows", "three offsets for three rows", good, rows=3)
    yield variable("first", "a first offset of 1", b"\1\2\4\6")
    yield variable("negative", "offsets below 0", good, base="-1")
    yield variable("int", "int64 as variable", good, kind="int64")
    yield "variable_no_child", "no offsets", "string", {"e": "variable", "n": 3, "b": [[8, 6]]}, good.ljust(8) + CELLS


def _few_bytes() -> Iterator[Fault]:
    def alphabet(name: str, covers: str, *, offsets: bytes = b"\0\2\2\4", kind: Any = "string", **more: Any) -> Fault:
        body = {"bits": 4, "symbols": bytes(range(97, 113)).hex(), "b": [[8, 2]], **more}
        return (
            f"alphabet_{name}",
            covers,
            kind,
            _tree("alphabet", _narrow(4, 0), **body),
            offsets.ljust(8) + b"\x10\x32",
        )

    yield alphabet("bits_3", "codes of 3 bits", bits=3, symbols="6162636465666768")
    yield alphabet("bits_8", "codes of 8 bits", bits=8, symbols=bytes(range(256)).hex())
    yield alphabet("bits_text", "codes of a number of bits that is no number", bits="4")
    yield alphabet("few", "15 symbols for 4 bits", symbols=bytes(range(97, 112)).hex())
    yield alphabet("many", "17 symbols for 4 bits", symbols=bytes(range(97, 114)).hex())
    yield alphabet("no_symbols", "no symbols", symbols=None)
    yield alphabet("hex", "symbols that are not hexadecimal", symbols="zz" * 16)
    yield alphabet("spaces", "symbols with spaces", symbols="61 " * 10 + "61")
    yield alphabet("outside", "an offset past the codes", offsets=b"\0\2\2\5")
    yield alphabet("descend", "offsets that descend", offsets=b"\0\3\2\4")
    yield alphabet("first", "a first offset of 1", offsets=b"\1\2\2\4")
    yield alphabet("int", "int64 as alphabet", kind="int64")
    yield alphabet("no_buffer", "no codes", b=[])
    alone = {"e": "alphabet", "n": 3, "bits": 1, "symbols": "6162", "b": [[8, 2]]}
    yield "alphabet_no_child", "no offsets", "string", alone, bytes(10)
    yield alphabet("template_short", "a template of one code for rows of two", template="..2d")
    yield alphabet(
        "template_null", "a null row of another number of codes", template="....", offsets=b"\0\2\3\3", v=[8, 1]
    )
    yield alphabet("template_empty", "a template of no bytes", template="")
    yield alphabet("template_fixed", "a template without codes", template="2d2d", offsets=bytes(4))
    yield alphabet("template_text", "a template that is no text", template=4)
    yield alphabet("template_odd", "a template of half a byte", template="....2")
    yield alphabet("template_hex", "a template that is not hexadecimal", template="....zz")
    yield alphabet("template_wide", "a template of 17 bytes for two codes", template="...." + "2d" * 15)
    yield alphabet("template_long", "a template of 1,025 bytes", template=".." * 1025, offsets=bytes(4))


def _of_symbols() -> Iterator[BadCase]:
    sound = b"\2\0" + bytes([2, 3]) + b"abcde"

    def symbols(
        name: str, covers: str, *, offsets: bytes = b"\0\2\2\3", table: bytes = sound, kind: Any = "string", **more: Any
    ) -> BadCase:
        body = _tree("symbols", _narrow(4, 0), d=[0, len(table)], b=[[8, 6]]) | more
        page = offsets.ljust(8) + bytes.fromhex("001110 610000")
        data = make_file([int64_column(body, page, kind=kind, shared=table)], num_rows=3)
        return BadCase(f"symbols_{name}", covers, "encodings/symbols.md", "Corrupt", "page", data)

    yield symbols("code", "a code without a symbol", table=b"\1\0\2ab")
    yield symbols("empty", "a table of no bytes", table=b"")
    yield symbols("head", "a table of one byte", table=b"\1")
    yield symbols("cut", "a table that ends inside its lengths", table=b"\2\0\2")
    yield symbols("more", "a table of more bytes than its lengths say", table=sound + b"f")
    yield symbols("less", "a table of fewer bytes than its lengths say", table=sound[:-1])
    yield symbols("many", "3,841 symbols", table=(3841).to_bytes(2, "little") + b"\1" * 3841 + b"a" * 3841)
    yield symbols("length_0", "a symbol of no bytes", table=b"\3\0" + bytes([2, 3, 0]) + b"abcde")
    yield symbols("length_17", "a symbol of 17 bytes", table=b"\3\0" + bytes([2, 3, 17]) + b"abcde" + bytes(17))
    yield symbols("no_table", "no table", d=None)
    yield symbols("table_number", "a table that is no range", d=0)
    yield symbols("table_outside", "a table past the shared blob", d=[0, len(sound) + 1])
    yield symbols("table_negative", "a table before the shared blob", d=[-1, len(sound)])
    yield symbols("outside", "an offset past the codes", offsets=b"\0\2\2\5")
    yield symbols("group", "an offset into three bytes that are not all there", b=[[8, 5]])
    yield symbols("descend", "offsets that descend", offsets=b"\0\3\2\3")
    yield symbols("first", "a first offset of 1", offsets=b"\1\2\2\3")
    yield symbols("int", "int64 as symbols", kind="int64")
    yield symbols("no_buffer", "no codes", b=[])
    yield symbols("no_child", "no offsets", c=[])


def _apart() -> Iterator[Fault]:
    def outlined(name: str, covers: str, rows: Any, *, kind: Any = "binary", large: int = 2, **more: Any) -> Fault:
        small = {"e": "variable", "n": 3, "b": [[16, 1]], "c": [_narrow(4, 0)]}
        apart = {"e": "variable", "n": large, "b": [[16, 6]], "c": [_narrow(large + 1, 8)]}
        body = {
            "e": "outlined",
            "n": 3,
            "rows": rows,
            "c": [{**small, **more.get("small", {})}, {**apart, **more.get("apart", {})}],
        }
        return f"outlined_{name}", covers, kind, body, b"\0\0\1\1".ljust(8) + b"\0\2\6\6".ljust(8) + CELLS

    yield outlined("descend", "large rows that descend", [2, 0])
    yield outlined("twice", "a large row twice", [0, 0])
    yield outlined("outside", "a large row past the last", [0, 3])
    yield outlined("negative", "a large row below 0", [-1, 0])
    yield outlined("text", "rows that are no list", "02")
    yield outlined("fraction", "a large row that is no integer", [0, 2.0])
    yield outlined("more", "three large cells for two rows", [0, 2], large=3)
    yield outlined("int", "int64 as outlined", [0, 2], kind="int64")
    yield outlined("null_small", "a null small cell", [0, 2], small={"v": [0, 1]})
    yield outlined("null_large", "a null large cell", [0, 2], apart={"v": [0, 1]})
    nothing = {"e": "constant", "x": None, "b": [], "c": []}
    yield outlined("constant_small", "small cells that are constant nulls", [0, 2], small=nothing)
    yield outlined("constant_large", "large cells that are constant nulls", [0, 2], apart=nothing)


def _compressed() -> Iterator[Fault]:
    block = _frame(b"\2\2\2" + CELLS)
    size = len(block)
    whole = bytes([0, size])

    def packed(name: str, covers: str, blocks: bytes = whole, *, data: bytes = block, **more: Any) -> Fault:
        page = blocks.ljust(8, b"\0") + data
        body = _tree("zstd", _narrow(len(blocks), 0), **{"rows": 3, "stride": 1, "b": [[8, len(data)]]} | more)
        return f"zstd_{name}", covers, "large_string", body, page

    def framed(name: str, covers: str, frame: bytes, **more: Any) -> Fault:
        return packed(name, covers, bytes([0, len(frame)]), data=frame, **more)

    yield packed("garbage", "a block that is not a frame", data=b"\x55" * size)
    reserved = block[:4] + bytes([block[4] ^ 8]) + block[5:]
    yield packed("flipped", "the reserved bit of a frame is set", data=reserved)
    yield packed("cut", "a block that ends early", bytes([0, size - 2]))
    yield packed("outside", "a block past its buffer", bytes([0, size + 1]))
    yield packed("descend", "block offsets that descend", bytes([size, 0]))
    yield packed("first", "a first block offset of 1", bytes([1, size + 1]), data=b"\0" + block)
    yield packed("rows_0", "blocks of no rows", rows=0)
    yield packed("rows_many", "blocks of 65,537 rows", rows=(1 << 16) + 1)
    yield packed("blocks", "block offsets for another number of blocks", rows=2)
    yield packed("stride_0", "lengths of no bytes", stride=0)
    yield packed("stride_5", "lengths of 5 bytes", stride=5)
    yield packed("stride_text", "lengths of a number of bytes that is no number", stride="1")
    yield packed("single", "lengths in blocks of one row", bytes([0, size, size, size]), rows=1)
    yield framed("more", "a block of more bytes than its lengths say", _frame(b"\2\1\2" + CELLS))
    yield framed("less", "a block of fewer bytes than its lengths say", _frame(b"\2\2\3" + CELLS))
    yield framed("head", "a block shorter than its lengths", _frame(b"\0\0"))
    unsized = zstandard.ZstdCompressor(write_content_size=False).compress(b"\2\2\2" + CELLS)
    yield framed("unsized", "a frame that does not say how much it holds", unsized)
    yield framed(
        "bomb", "a block said to hold 2^40 bytes", block[:4] + b"\xe0" + struct.pack("<q", 1 << 40) + block[6:]
    )
    yield "zstd_int", "int64 as zstd", "int64", *packed("", "")[3:]
    for name, place, covers in (
        ("damaged", [0, 40], "a trained dictionary that is damaged"),
        ("outside", [0, 41], "a dictionary past the shared blob"),
        ("negative", [-1, 40], "a dictionary before the shared blob"),
        ("number", 0, "a dictionary that is no range"),
    ):
        yield packed(f"dictionary_{name}", covers, d=place)


def _frame(cells: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=True).compress(cells)
