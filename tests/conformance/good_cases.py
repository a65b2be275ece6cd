"""The files that a reader must read: tables for the package's writer."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from handmade_cases import handmade_cases
from moved_cases import moved_cases
from number_cases import good_numbers
from vector_cases import Case


def good_cases() -> Iterator[Case]:
    for make in (_shapes, _types, _nested, _encodings, _zones):
        yield from make()
    yield from good_numbers()
    yield from handmade_cases()
    yield from moved_cases()


def _shapes() -> Iterator[Case]:
    yield Case("tiny", "the worked example", "file.md", pa.table({"n": pa.array([7, None, 9], pa.int32())}), zones=True)
    every = pa.schema(
        [("i", pa.int64()), ("s", pa.string()), ("l", pa.list_(pa.bool_())), ("t", pa.struct([("x", "i1")]))]
    )
    yield Case("empty", "no rows", "file.md, Fences", every.empty_table(), zones=True)
    yield Case("no_columns", "no columns", "file.md, Bytes", pa.schema([]).empty_table())
    names = ["", " ", "a.b", "日本語", "Ünï", "🦆", 'quote"\\', "tab\tnew\nline", "x", "x"]
    arrays = [pa.array([i, i + 1]) for i in range(len(names))]
    yield Case("names", "names: unicode, empty, twice", "file.md, Field JSON", pa.Table.from_arrays(arrays, names))
    fields = [
        pa.field("a", pa.int8(), metadata={b"k": b"v", b"\x00\xff": b""}),
        pa.field("b", pa.struct([pa.field("c", pa.string(), nullable=False, metadata={"deep": "é"})])),
        pa.field("l", pa.list_(pa.field("item", pa.int8(), nullable=False, metadata={"of": "item"}))),
    ]
    schema = pa.schema(fields, metadata={b"table": b"\x80binary", "ключ": "значение"})
    table = pa.Table.from_arrays(
        [pa.array([1], "i1"), pa.array([{"c": "x"}], fields[1].type), pa.array([[2]], fields[2].type)], schema=schema
    )
    yield Case("metadata", "metadata of schema, fields, children, items", "file.md, File metadata", table)
    rng = np.random.default_rng(1)
    columns = {
        "i": pa.array(rng.integers(-500, 500, 300), pa.int32()),
        "f": pa.array(rng.random(300), pa.float64()),
        "s": pa.array([None if i % 7 == 0 else f"{'x' * (i % 5)}{i}" for i in range(300)]),
        "b": pa.array([i % 3 == 0 for i in range(300)]),
        "l": pa.array([list(range(i % 4)) for i in range(300)], pa.list_(pa.int16())),
        "t": pa.array([None if i % 11 == 0 else {"x": i, "d": ["even", "odd"][i % 2]} for i in range(300)]),
        "d": pa.array([["red", "green", "blue"][i * i % 3] for i in range(300)]).dictionary_encode(),
    }
    yield Case(
        "pages",
        "several pages a column, zones of 50 rows",
        "file.md, Pages",
        pa.table(columns),
        {
            "file.cut.PAGE_ROWS": 64,
            "file.cut.PAGE_NBYTES": 600,
            "file.stats.ZONE_ROWS": 50,
            "file.writer.ZONE_ROWS": 50,
            "file.cut.ZONE_ROWS": 50,
        },
        zones=True,
    )
    blocks = {
        "f": pa.array(rng.random(1500)),
        "s": pa.array([f"{x:x}" for x in rng.integers(0, 1 << 60, 700)] + [None] * 800),
    }
    yield Case("blocks", "pages of several checksum blocks of 4 KiB", "file.md, Checksums", pa.table(blocks))
    yield Case(
        "blocks_64k",
        "checksum blocks of 64 KiB, page aligned to 4,096",
        "file.md, Checksums",
        pa.table({"b": pa.array([bytes(20_000), b"\x01" * 17_000, b"", b"end"] * 1)}),
        {"file.encode._LARGE_PAGE_NBYTES": 1000},
    )


def _pictures(rng: np.random.Generator) -> pa.Table:
    captions = [f"the caption of picture {i} of many, which are all alike" for i in range(120)]
    cells: list[bytes | None] = [text.encode() for text in captions]
    for row in (0, 50, 51, 119):
        cells[row] = rng.bytes(300 + row)
    some = [None if i % 9 == 1 else cell for i, cell in enumerate(cells)]
    return pa.table({"b": pa.array(cells, pa.binary()), "n": pa.array(some, pa.large_binary())})


def _few_bytes() -> pa.Table:
    rng = np.random.default_rng(18)
    ids = [str(uuid.UUID(bytes=rng.bytes(16))) for _ in range(40)]
    reads = ["".join(rng.choice(list("ACGT"), size)) for size in range(40)]
    return pa.table(
        {
            "id": ids,
            "some": pa.array([None if i % 7 == 3 else "" if i % 9 == 5 else one for i, one in enumerate(ids)]),
            "upper": pa.array([one[:8].upper().encode() for one in ids], pa.large_binary()),
            "number": pa.array([str(number) for number in rng.integers(0, 10**9, 40)], pa.large_string()),
            "read": pa.array([None if i % 8 == 1 else one for i, one in enumerate(reads)]),
            "flags": ["".join("yn"[i >> bit & 1] for bit in range(i % 11)) for i in range(40)],
        }
    )


def _types() -> Iterator[Case]:
    ints = {}
    for bits in (8, 16, 32, 64):
        ints[f"i{bits}"] = pa.array([-(1 << bits - 1), None, (1 << bits - 1) - 1, 0, -1], f"int{bits}")
        ints[f"u{bits}"] = pa.array([0, None, (1 << bits) - 1, 1 << bits - 1, 1], f"uint{bits}")
    yield Case("types_integers", "integers at their limits", "types.md", pa.table(ints), zones=True)
    yield Case(
        "types_floats",
        "floats: NaN of several patterns, infinities, subnormals, -0.0",
        "types.md",
        _floats(),
        zones=True,
    )
    yield Case("types_temporal", "dates, times, timestamps, durations, intervals", "types.md", _temporal(), zones=True)
    numbers = [decimal.Decimal("-1.23"), None, decimal.Decimal("9999999.99"), decimal.Decimal(0)]
    decimals = {f"d{bits}": pa.array(numbers, getattr(pa, f"decimal{bits}")(9, 2)) for bits in (32, 64, 128, 256)}
    decimals["long"] = pa.array([decimal.Decimal(n) for n in (10**75, -(10**75), 1, -1)], pa.decimal256(76, 0))
    yield Case("types_decimals", "decimals of four widths", "types.md", pa.table(decimals), zones=True)
    thousands = [decimal.Decimal("12E3"), None, decimal.Decimal("-5E3"), decimal.Decimal(0)]
    scaled = pa.table({"minus": pa.array(thousands, pa.decimal128(5, -3))})
    yield Case("types_decimal_scale", "a negative scale", "types.md", scaled, zones=True)
    texts = ["", "a", None, "zürich", "日本", "🦆🦆", "a\0b", "\u07ff\uffff"]
    raw = [b"", b"\0", None, b"\xff\xfe", bytes(range(20)), b"abc", b"\x80", b"a\nb"]
    text = {
        "s": pa.array(texts),
        "ls": pa.array(texts, pa.large_string()),
        "b": pa.array(raw, pa.binary()),
        "lb": pa.array(raw, pa.large_binary()),
    }
    text["f3"] = pa.array([b"abc", None, b"\xff\xff\xff", b"abd", None, b"\0\0\0", b"zzz", b"abc"], pa.binary(3))
    text["f0"] = pa.array([b"", None, b"", b"", b"", b"", b"", b""], pa.binary(0))
    yield Case("types_text", "text and bytes", "types.md", pa.table(text), zones=True)
    flags = {
        "b": pa.array([True, None, False, True, True, False, False, False, True, None]),
        "t": pa.array([True] * 10),
        "n": pa.nulls(10),
    }
    flags["bn"] = pa.array([None] * 10, pa.bool_())
    yield Case("types_bool_null", "booleans, the null type, columns of nulls", "types.md", pa.table(flags), zones=True)
    words = pa.array(["b", "a", None, "b", "c", None])
    dictionary = {
        "i8": words.dictionary_encode().cast(pa.dictionary(pa.int8(), pa.string())),
        "of_ints": pa.array([5, -7, 5, None, 5, 5]).dictionary_encode(),
    }
    dictionary["null_value"] = pa.DictionaryArray.from_arrays(
        pa.array([0, 1, 2, 1, None, 0], pa.uint16()), pa.array(["x", None, "unused"])
    )
    dictionary["ordered"] = pa.DictionaryArray.from_arrays(
        pa.array([1, 0, 1, 0, 1, 0], pa.int32()), pa.array([2.5, -0.0]), ordered=True
    )
    dictionary["all_null"] = pa.array([None] * 6, pa.dictionary(pa.int32(), pa.string()))
    yield Case(
        "types_dictionary", "dictionary types, a null among the values", "encodings/dictionary.md", pa.table(dictionary)
    )
    yield from _roundabout()
    yield Case("types_extension", "extension types", "types.md", _extensions(), zones=True)


def _roundabout() -> Iterator[Case]:
    """Types that can say one value in several ways."""
    words = pa.array(["a", None, "a word of more than twelve bytes", "", "né"])
    starts, sizes = pa.array([3, 0, 0, 1, 4], pa.int32()), pa.array([2, 3, 0, 2, 1], pa.int32())
    lists = pa.ListViewArray.from_arrays(starts, sizes, words, mask=pa.array([False, False, True, False, False]))
    views = {
        "s": words.cast(pa.string_view()),
        "b": words.cast(pa.binary()).cast(pa.binary_view()),
        "l": lists,
        "ll": pa.LargeListViewArray.from_arrays(starts.cast("i8"), sizes.cast("i8"), pa.array(range(5), pa.int16())),
        "in_list": pa.ListArray.from_arrays([0, 2, 2, 3, 4, 5], words.cast(pa.string_view())),
    }
    yield Case("types_views", "views of text, bytes and lists", "types.md", pa.table(views), zones=True)
    inner = pa.RunEndEncodedArray.from_arrays(pa.array([1, 3], pa.int16()), pa.array([1.5, None], pa.float32()))
    runs = {
        "s": pa.RunEndEncodedArray.from_arrays(pa.array([2, 3, 5], pa.int16()), pa.array(["x", None, "y"])),
        "i": pa.RunEndEncodedArray.from_arrays(pa.array([1, 4, 9], pa.int32()), pa.array([7, -7, 7])).slice(2, 5),
        "l": pa.RunEndEncodedArray.from_arrays(pa.array([4, 5], pa.int64()), pa.array([[1, None], None])),
        "in_list": pa.ListArray.from_arrays([0, 0, 1, 1, 3, 3], inner),
    }
    yield Case("types_runs", "run-end encoded types", "types.md, Stored forms", pa.table(runs), zones=True)
    yield Case("types_unions", "unions, sparse and dense", "types.md, Stored forms", _unions())


def _unions() -> pa.Table:
    numbers, words = pa.array([7, None, 9, 10], pa.int8()), pa.array(["a", "b", None, "d"])
    worked = pa.UnionArray.from_dense(
        pa.array([5, 2, 5, 5], pa.int8()), pa.array([0, 1, 1, 3], pa.int32()), [numbers, words], ["i", "s"], [5, 2]
    )
    flags = pa.array([0, 1, 1, 0], pa.int8())
    sparse = pa.UnionArray.from_sparse(flags, [numbers, pa.array([[1], [], None, [2]])], ["n", "n"])
    return pa.table(
        {
            "worked": worked,
            "sparse": sparse,
            "one": pa.UnionArray.from_sparse(pa.array([9] * 4, pa.int8()), [words], ["only"], [9]),
            "in_union": pa.UnionArray.from_sparse(flags, [worked, numbers]),
            "in_struct": pa.StructArray.from_arrays([sparse], ["u"], mask=pa.array([False, True, False, True])),
            "in_list": pa.ListArray.from_arrays([0, 1, 1, 4, 4], worked),
        }
    )


def _floats() -> pa.Table:
    patterns = {
        "f16": (np.uint16, [0x0000, 0x8000, 0x7E00, 0xFE01, 0x7C00, 0xFC00, 0x0001, 0x3C00]),
        "f32": (np.uint32, [0, 0x80000000, 0x7FC00000, 0xFFC00001, 0x7F800000, 0xFF800000, 1, 0x3F800000]),
        "f64": (np.uint64, [0, 1 << 63, 0x7FF8 << 48, (0xFFF8 << 48) + 5, 0x7FF << 52, 0xFFF << 52, 1, 0x3FF << 52]),
    }
    columns = {}
    for name, (kind, bits) in patterns.items():
        values = np.array(bits, kind).view(name.replace("f", "float"))
        columns[name] = pa.array(values)
        columns[name + "_null"] = pa.array(values, mask=np.array([1, 0, 0, 0, 1, 1, 0, 0], bool))
        columns[name + "_nan"] = pa.array(np.full(8, values[2]))
    return pa.table(columns)


def _temporal() -> pa.Table:
    ticks = pa.array([0, None, -1, 86_399, 1_700_000_000], pa.int64())
    small = pa.array([0, None, 1, 86_399, 5], pa.int32())
    columns = {
        "d32": pa.array([0, None, -1, 20_000, -719_162], pa.int32()).view(pa.date32()),
        "d64": pa.array([0, None, -86_400_000, 86_400_000, 864_000_000_000], pa.int64()).view(pa.date64()),
    }
    for unit in ("s", "ms", "us", "ns"):
        columns[f"ts_{unit}"] = ticks.view(pa.timestamp(unit))
        columns[f"dur_{unit}"] = ticks.view(pa.duration(unit))
    columns["utc"] = ticks.view(pa.timestamp("us", "UTC"))
    columns["zone"] = ticks.view(pa.timestamp("ns", "America/New_York"))
    columns["offset"] = ticks.view(pa.timestamp("ms", "+05:30"))
    columns["t32_s"], columns["t32_ms"] = small.view(pa.time32("s")), small.view(pa.time32("ms"))
    columns["t64_us"], columns["t64_ns"] = (
        pa.array([0, None, 1, 86_399_999_999, 5]).view(pa.time64(u)) for u in ("us", "ns")
    )
    columns["interval"] = pa.array(
        [(0, 0, 0), None, (-1, 2, -3), (12, 31, 1 << 60), (1, 1, 1)], pa.month_day_nano_interval()
    )
    return pa.table(columns)


def _extensions() -> pa.Table:
    tensor = pa.fixed_shape_tensor(pa.float32(), [2, 2])
    grids = pa.array([[1, 2, 3, 4], [5, 6, 7, 8], [0, 0, 0, 0]], pa.list_(pa.float32(), 4))
    columns = {
        "uuid": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes(16), None, b"\xff" * 16], pa.binary(16))),
        "json": pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a":1}', None, "[]"])),
        "tensor": pa.ExtensionArray.from_storage(tensor, grids),
    }
    columns["in_struct"] = pa.StructArray.from_arrays([columns["uuid"]], ["u"])
    return pa.table(columns)


def _nested() -> Iterator[Case]:
    item = pa.struct([pa.field("x", pa.int64()), pa.field("y", pa.string())])
    rows = [[{"x": 1, "y": "a"}, None], None, [], [{"x": None, "y": "b"}]]
    lists = {
        "ints": pa.array([[1, None], None, [], [3]], pa.list_(pa.int32())),
        "large": pa.array([["a"], ["b", None], None, []], pa.large_list(pa.string())),
        "deep": pa.array([[[1], []], None, [None], [[2, 3]]], pa.list_(pa.list_(pa.int8()))),
        "structs": pa.array(rows, pa.list_(item)),
        "map": pa.array([[("a", 1)], None, [], [("b", None), ("b", 3)]], pa.map_(pa.string(), pa.int8())),
        "sorted": pa.array(
            [[(1, [True])], [], None, [(2, None), (3, [])]], pa.map_(pa.int16(), pa.list_(pa.bool_()), keys_sorted=True)
        ),
        "empty": pa.array([[], [], [], []], pa.list_(pa.float32())),
        "nulls": pa.array([None] * 4, pa.list_(pa.int8())),
    }
    yield Case(
        "lists",
        "lists, large lists, maps, lists of lists and structs",
        "encodings/nested.md",
        pa.table(lists),
        zones=True,
    )
    wrong = pa.ListArray.from_arrays(
        pa.array([0, 2, 4, 6], pa.int32()), pa.array(range(6), pa.int8()), mask=pa.array([False, True, False])
    )
    yield Case(
        "list_null_with_items",
        "a null list that spans items",
        "encodings/README.md, Validity",
        pa.table({"l": wrong.slice(0, 3)}),
    )
    fixed = {
        "vector": pa.array([[1.5, -0.0], [2.5, 3.5], [0.0, 1.0]], pa.list_(pa.float32(), 2)),
        "null_items": pa.array([[1, None], [3, 4], None], pa.list_(pa.int8(), 2)),
        "null_rows": pa.FixedSizeListArray.from_arrays(
            pa.array(range(6), pa.int16()), 2, mask=pa.array([False, True, False])
        ),
        "bools": pa.array([[True, None, False], None, [True] * 3], pa.list_(pa.bool_(), 3)),
        "texts": pa.array([["a", "b"], [None, ""], None], pa.list_(pa.string(), 2)),
        "grid": pa.array([[[1, 2], [3, 4]], None, [[5, 6], [7, 8]]], pa.list_(pa.list_(pa.int8(), 2), 2)),
        "grid_flat": pa.array([[[1, 2], [3, 4]]] * 3, pa.list_(pa.list_(pa.uint8(), 2), 2)),
        "none": pa.array([[], None, []], pa.list_(pa.int32(), 0)),
        "structs": pa.array([[{"x": 1, "y": "p"}], [None], None], pa.list_(item, 1)),
    }
    yield Case("fixed_size_lists", "fixed-size lists, flat and not", "encodings/nested.md", pa.table(fixed))
    yield Case(
        "structs", "structs split into columns, nulls at every level", "file.md, Columns", _structs(), zones=True
    )


def _structs() -> pa.Table:
    inner = pa.struct([pa.field("b", pa.string()), pa.field("c", pa.list_(pa.int8()))])
    outer = pa.struct([pa.field("a", pa.int32()), pa.field("in", inner)])
    rows = [{"a": 1, "in": {"b": "x", "c": [1]}}, None, {"a": None, "in": None}, {"a": 4, "in": {"b": None, "c": []}}]
    kept = pa.array([10, 20, 30, 40], pa.int64())
    hidden = pa.StructArray.from_arrays(
        [kept], fields=[pa.field("not_null", pa.int64(), nullable=False)], mask=pa.array([False, True, False, True])
    )
    bare = pa.Array.from_buffers(pa.struct([]), 4, [pa.py_buffer(b"\x0b")])
    twice = pa.StructArray.from_arrays([kept, pa.array(list("wxyz"))], ["n", "n"])
    return pa.table(
        {
            "s": pa.array(rows, outer),
            "hidden": hidden,
            "bare": bare,
            "twice": twice,
            "all_null": pa.array([None] * 4, outer),
        }
    )


def _encodings() -> Iterator[Case]:
    rng = np.random.default_rng(2)
    yield Case(
        "plain",
        "plain values with and without nulls",
        "encodings/plain.md",
        pa.table(
            {
                "f": pa.array([1.5, None, -0.0], pa.float32()),
                "i": pa.array([1, -(1 << 62), 5]),
                "b": pa.array([True, False, True]),
                "x": pa.array([b"ab", b"cd", None], pa.binary(2)),
            }
        ),
    )
    yield Case(
        "constant",
        "one value of each form, and nulls",
        "encodings/constant.md",
        pa.table(
            {
                "i": pa.array([7] * 3, pa.int16()),
                "s": ["é"] * 3,
                "e": [""] * 3,
                "b": [True] * 3,
                "f": pa.array([float("nan")] * 3),
                "lb": pa.array([b"\0\xff"] * 3, pa.large_binary()),
                "n": pa.array([None] * 3, pa.int8()),
                "ns": pa.array([None] * 3, pa.string()),
                "fb": pa.array([b"xyz"] * 3, pa.binary(3)),
                "ts": pa.array([dt.datetime(2020, 1, 1)] * 3, pa.timestamp("us")),
            }
        ),
        zones=True,
    )
    strides = {f"s{s}": pa.array([-5, (1 << 8 * s) - 6, None, 3, (1 << 8 * s) - 7], pa.int64()) for s in range(1, 8)}
    strides["low"] = pa.array([-(1 << 63), None, -(1 << 63) + 255, -(1 << 63) + 1, -(1 << 63)], pa.int64())
    strides["high"] = pa.array([(1 << 64) - 1, (1 << 64) - 200, None, (1 << 64) - 3, (1 << 64) - 100], pa.uint64())
    strides["i16"] = pa.array([300, 301, None, 310, 555], pa.int16())
    yield Case("narrow", "strides of 1 to 7 bytes, bases at the limits", "encodings/narrow.md", pa.table(strides))
    widths = {
        f"w{w}": pa.array(_spread(rng, w, 130) + _base(w), pa.int64()) for w in (1, 3, 5, 12, 13, 20, 27, 33, 43, 51)
    }
    widths["u64"] = pa.array((_spread(rng, 17, 130).astype(np.uint64) + np.uint64(1 << 63)).astype(np.uint64))
    widths["i8"] = pa.array((_spread(rng, 4, 130) - 128).astype(np.int8))
    widths["nulls"] = pa.array(_spread(rng, 5, 130), pa.int32(), mask=rng.random(130) < 0.3)
    widths["ts"] = pa.array(_spread(rng, 33, 130), pa.int64()).view(pa.timestamp("ns"))
    yield Case("bitpack", "many widths, two or three lanes", "encodings/bitpack.md", pa.table(widths))
    tiles = {"w3": pa.array(rng.integers(10, 18, 8_200), pa.int32())}
    yield Case("bitpack_tiles", "205 lanes, five tiles", "encodings/bitpack.md", pa.table(tiles))
    words = ["north", "south", "east", "west", ""]
    picks = [words[i] for i in rng.integers(0, 5, 64)]
    yield Case(
        "dictionary",
        "repeated strings, with nulls",
        "encodings/dictionary.md",
        pa.table(
            {
                "s": pa.array(picks),
                "n": pa.array([None if i % 5 == 0 else w for i, w in enumerate(picks)]),
                "lb": pa.array([w.encode() for w in picks], pa.large_binary()),
            }
        ),
    )
    yield Case(
        "variable",
        "cells of any length, with nulls",
        "encodings/variable.md",
        pa.table(
            {
                "s": ["ab", None, "", "cde"],
                "b": pa.array([b"\0" * 300, b"x", None, b""], pa.large_binary()),
                "e": pa.array(["", None, "", ""]),
            }
        ),
    )
    yield Case(
        "outlined",
        "large cells among small ones, with nulls",
        "encodings/outlined.md",
        _pictures(rng),
        {"encodings.outlined.LARGE_NBYTES": 200, "encodings.outlined._SAMPLED_NBYTES": 200},
    )
    yield Case(
        "alphabet",
        "few different bytes: in 1, 2 and 4 bits, with a template, with nulls and empty cells",
        "encodings/alphabet.md",
        _few_bytes(),
        {"encodings.alphabet._SMALLEST_PAGE": 64},
    )
    yield _of_symbols()
    texts = [f"{i:04d} " * (10 + i) for i in range(16)]
    yield Case(
        "zstd",
        "blocks without a dictionary",
        "encodings/zstd.md",
        pa.table(
            {
                "s": texts,
                "n": pa.array([None if i % 3 == 0 else t for i, t in enumerate(texts)]),
                "lb": pa.array([t.encode() * (i % 2) for i, t in enumerate(texts)], pa.large_binary()),
            }
        ),
    )
    lines = [
        f"line {i} of the log: user {i * 7919 % 1000} asked for page {i * i % 97}, status {200 + i % 5}, in {i % 13} ms"
        for i in range(400)
    ]
    yield Case(
        "zstd_dictionary",
        "blocks with a trained dictionary, several pages",
        "encodings/zstd.md",
        pa.table({"s": lines, "n": pa.array([None if i % 4 else t for i, t in enumerate(lines)])}),
        {
            "encodings.zstd._SMALLEST_DICTIONARY": 256,
            "encodings.zstd._LARGEST_DICTIONARY": 1024,
            "file.cut.PAGE_ROWS": 250,
        },
    )


def _of_symbols() -> Case:
    words = ["the", "quick", "brown fox", "jumps over", "lazy", "dog and", "runs through", "naïve", "森林", "again"]
    rng = np.random.default_rng(27)
    texts = [" ".join(rng.choice(words, rng.integers(0, 9)).tolist()) for _ in range(400)]
    # Other words from the second page on: it has a table of its own.
    later = [text.upper()[::-1] for text in texts]
    arrays = {
        "s": pa.array(texts[:200] + later[200:]),
        "n": pa.array([None if i % 4 == 0 else text for i, text in enumerate(texts)]),
        "lb": pa.array([text.encode() for text in texts], pa.large_binary()),
    }
    return Case(
        "symbols",
        "frequent symbols, tables of several pages, with nulls, empty cells and characters of several bytes",
        "encodings/symbols.md",
        pa.table(arrays),
        {
            "encodings.symbols._SMALLEST_PAGE": 64,
            "encodings.symbols._TABLE_SHARE": 1 / 8,
            "encodings.symbols._AS_GOOD": 0,
            "file.cut.PAGE_ROWS": 100,
        },
    )


def _spread(rng: np.random.Generator, width: int, count: int) -> np.ndarray:
    values = rng.integers(0, 1 << width, count)
    values[:2] = 0, (1 << width) - 1
    return values


def _base(width: int) -> int:
    return -(1 << width - 1) if width % 2 else 1 << 40


def _zones() -> Iterator[Case]:
    small = {"file.stats.ZONE_ROWS": 4, "file.writer.ZONE_ROWS": 4}
    nan = float("nan")
    columns = {
        "f": pa.array([1.0, nan, None, -2.0, nan, nan, nan, None, 5.0, -0.0]),
        "h": pa.array([1.0, nan, None, -2.0, nan, nan, nan, None, 5.0, 0.5], pa.float16()),
        "i": pa.array([1, None, -3, 2, None, None, None, None, 300, -300], pa.int16()),
        "u": pa.array([1, 2, 3, (1 << 64) - 1, 0, 0, 0, 0, None, 7], pa.uint64()),
        "b": pa.array([True, True, None, True, False, True, None, None, False, False]),
        "d": pa.array([None, 1, 2, 3, 4, 5, 6, 7, 8, 9], pa.duration("s")),
        "dec": pa.array([decimal.Decimal(i - 5) for i in range(10)], pa.decimal128(4, 0)),
        "l": pa.array([[1], None] * 5),
        "st": pa.array([{"x": i} if i % 3 else None for i in range(10)]),
    }
    yield Case(
        "zones",
        "zones of 4 rows: NaN, nulls, all types of bounds",
        "file.md, Zones",
        pa.table(columns),
        small,
        zones=True,
    )
    long = "a" * 40
    texts = [long, "b" * 32, "c" * 33, None, "é" * 20, "x" + "é" * 20, "\U0010ffff" * 10, "zz", "\ud7ff" * 20, "short"]
    raw = [b"\xff" * 40, b"\x01" * 33, b"", None, b"a" * 31 + b"\xff\xff", b"\xff" * 32, b"\0" * 33, b"b", None, None]
    fixed = [bytes([i]) * 40 for i in range(9)] + [b"\xff" * 40]
    yield Case(
        "zones_text",
        "bounds of text and bytes, cut after 32 bytes",
        "file.md, Zones",
        pa.table(
            {
                "s": texts,
                "ls": pa.array(texts, pa.large_string()),
                "b": pa.array(raw, pa.binary()),
                "fb": pa.array(fixed, pa.binary(40)),
            }
        ),
        small,
        zones=True,
    )
    values = np.arange(9_000) % 31 - 7
    yield Case(
        "zones_8192",
        "zones of 8,192 rows, the last one short",
        "file.md, Zones",
        pa.table({"n": pa.array(values, pa.int16())}),
        zones=True,
    )
