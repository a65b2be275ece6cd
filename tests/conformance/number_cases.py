"""The files about linear, alp and run_length: what readers must read and what they must refuse."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from handmade import Column, Page, make_file
from vector_cases import BadCase, Case


def good_numbers() -> Iterator[Case]:
    yield from _linear()
    yield from _planes()
    yield from _alp()
    yield from _decimal()
    yield from _scaled()
    yield from _patched()
    yield from _run_length()


def _linear() -> Iterator[Case]:
    rng = np.random.default_rng(11)
    rows = np.arange(300)
    always: dict[str, Any] = {"encodings.linear._WORTH": 9}
    columns: dict[str, pa.Array] = {
        "exact": pa.array(7_000_000_000 + 25 * rows),
        "falling": pa.array(-3 * rows - rng.integers(0, 2, 300)),
        "nulls": pa.array(rows * 1000 + rng.integers(0, 900, 300), mask=rng.random(300) < 0.2),
        "int32": pa.array((rows * 100_000 - 30_000_000 + rng.integers(0, 70_000, 300)).astype(np.int32)),
        "uint32": pa.array((2**32 - 1 - rows * 900).astype(np.uint32)),
        "uint64": pa.array(np.uint64(2**64 - 1) - (rows * 5 + rng.integers(0, 5, 300)).astype(np.uint64)),
        "time": pa.array(1_700_000_000_000_000 + rows * 50_000 + rng.integers(0, 1 << 20, 300), pa.timestamp("us")),
    }
    bends = np.concatenate((np.arange(256) * 1000, 256_000 + np.arange(44) * 10)) + rng.integers(0, 5, 300)
    columns["bends"] = pa.array(bends)
    for stride in range(1, 8):
        noise = rng.integers(0, 1 << (8 * stride - 1), 300)
        columns[f"stride_{stride}"] = pa.array(rows * (1 << (8 * stride - 4)) + noise)
    yield Case("linear", "lines of every stride, exact and bent ones", "encodings/linear.md", pa.table(columns), always)
    words = pa.array(["x" * (i * 7 % 23) for i in range(300)])
    lists = pa.array([[i] * (i % 4) for i in range(300)], pa.list_(pa.int16()))
    settings = {**always, "encodings.zstd._WORTH": 0}
    yield Case(
        "linear_offsets",
        "offsets of text and lists",
        "encodings/linear.md",
        pa.table({"s": words, "l": lists}),
        settings,
    )
    extremes = _lines([-(2**63), 2**63 - 1], [2**62 + 3, -(2**62) - 1], 1, 300)
    shown = {"int64": pa.int64(), "uint64": pa.uint64(), "int8": pa.int8(), "uint16": pa.uint16()}
    described = {"e": "linear", "n": 300, "stride": 1, "b": [[0, len(extremes)]]}
    fields = [
        Column({"name": name, "type": name, "nullable": False}, [Page(described, extremes, 300)]) for name in shown
    ]
    arrays = [
        pa.array(_wrapped([-(2**63), 2**63 - 1], [2**62 + 3, -(2**62) - 1], 300, kind)) for kind in shown.values()
    ]
    schema = pa.schema([pa.field(name, kind, nullable=False) for name, kind in shown.items()])
    yield Case(
        "by_hand_linear",
        "lines that wrap around, in types of all widths",
        "encodings/linear.md",
        pa.Table.from_arrays(arrays, schema=schema),
        data=make_file(fields, num_rows=300),
    )


def _lines(bases: list[int], slopes: list[int], stride: int, rows: int) -> bytes:
    """Blocks whose residuals are the row's number modulo 256."""
    out = b""
    for k, (base, slope) in enumerate(zip(bases, slopes, strict=True)):
        count = min(256, rows - 256 * k)
        out += b"".join(i.to_bytes(stride, "little") for i in range(count)) + struct.pack("<qq", base, slope)
    return out


def _wrapped(bases: list[int], slopes: list[int], rows: int, kind: pa.DataType) -> np.ndarray:
    """What `_lines` hold, computed with Python's integers."""
    values = []
    for r in range(rows):
        k, i = divmod(r, 256)
        product = (slopes[k] * i + 2**63) % 2**64 - 2**63
        values.append((bases[k] + product // 256 + i) % 2**64)
    return np.array(values, np.uint64).astype(kind.to_pandas_dtype())


def _planes() -> Iterator[Case]:
    rng = np.random.default_rng(19)
    offsets = np.minimum(np.cumsum(np.append(0, rng.integers(0, 9, 30))), 90)
    columns: dict[str, pa.Array] = {}
    for stride in range(8):
        for bits in (1, 4):
            items = pa.array(rng.integers(0, 1 << 8 * stride + bits, 90) - (1 << 40))
            columns[f"bits_{8 * stride + bits}"] = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), items)
    tokens = pa.array(rng.integers(0, 128_000, 90).astype(np.int32), mask=rng.random(90) < 0.2)
    columns["tokens"] = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), tokens)
    times = pa.array(rng.integers(0, 1 << 42, 90), pa.timestamp("us"))
    columns["times"] = pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), times)
    bytes_ = pa.array(rng.integers(100, 120, 90).astype(np.uint8))
    columns["bytes"] = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), bytes_)
    yield Case("planes", "items of lists in 1 to 60 bits", "encodings/planes.md", pa.table(columns))


def _alp() -> Iterator[Case]:
    rng = np.random.default_rng(12)
    prices = np.round(rng.lognormal(3, 1.2, 400), 2)
    strange = prices.copy()
    strange[::50] = -0.0
    strange[1::50] = np.nan
    strange[2::50] = np.inf
    strange[3::50] = 1 / 3
    strange[4::50] = 1e300
    strange.view(np.uint64)[5::50] = 0xFFF8_0000_0000_1234
    columns = {
        "price": pa.array(prices),
        "strange": pa.array(strange),
        "nulls": pa.array(strange, mask=rng.random(400) < 0.3),
        "whole": pa.array(rng.integers(-(10**6), 10**6, 400).astype(float)),
        "f32": pa.array(np.round(rng.normal(20, 5, 400), 1).astype(np.float32)),
        "f32_nan": pa.array(np.where(strange == 1e300, 1e30, strange).astype(np.float32), mask=rng.random(400) < 0.1),
        "rising": pa.array(np.arange(400) / 8),
    }
    yield Case("alp", "decimal floats, exceptions of all kinds", "encodings/alp.md", pa.table(columns))
    odd = struct.pack("<5q", 2**53, 2**63 - 1, -(2**63), 10**17 + 1, 12345)
    number = {"e": "plain", "n": 5, "b": [[0, 40]]}
    fields, arrays = [], {}
    for kind, dtype in (("float64", "<f8"), ("float32", "<f4")):
        for exponent in (0, 7, 22):
            name = f"{kind}_{exponent}"
            described = {"e": "alp", "n": 5, "exponent": exponent, "c": [number]}
            fields.append(Column({"name": name, "type": kind, "nullable": True}, [Page(described, odd, 5)]))
            values = [float(d) / float(10**exponent) for d in struct.unpack("<5q", odd)]
            arrays[name] = pa.array(np.array(values).astype(dtype))
    last = struct.pack("<5qd", -9, -8, -7, -7, -8, 2.5) + struct.pack("<d", -0.0)
    described = {
        "e": "alp",
        "n": 5,
        "exponent": 1,
        "limit": -8,
        "c": [number, {"e": "plain", "n": 2, "b": [[40, 16]]}],
    }
    fields.append(Column({"name": "limit", "type": "float64", "nullable": True}, [Page(described, last, 5)]))
    arrays["limit"] = pa.array([-0.9, 2.5, -0.0, -0.0, 2.5])
    yield Case(
        "by_hand_alp",
        "numbers that no double holds, the last exponent, a limit below 0",
        "encodings/alp.md",
        pa.table(arrays),
        data=make_file(fields, num_rows=5),
    )


def _decimal() -> Iterator[Case]:
    rng = np.random.default_rng(14)
    mask = rng.random(300) < 0.2
    cents = rng.integers(-(10**6), 10**8, 300)
    columns: dict[str, pa.Array] = {}
    for bits, precision in ((32, 9), (64, 18), (128, 30), (256, 60)):
        kind = getattr(pa, f"decimal{bits}")(precision, 2)
        array = pa.array([Decimal(int(n) % 10**6).scaleb(-2) for n in cents], kind)
        columns[f"d{bits}"] = array
        columns[f"d{bits}_nulls"] = pc.if_else(pa.array(mask), None, array)
    steps = [Decimal(5 * i - 700).scaleb(-1) for i in range(300)]
    long = [Decimal(10**25 + int(n)) for n in cents]
    columns["line"] = pa.array(steps, pa.decimal128(20, 1))
    columns["long"] = pa.array(long, pa.decimal128(38, 0))
    columns["lists"] = pa.array([steps[i : i + i % 3] for i in range(300)], pa.list_(pa.decimal128(20, 1)))
    table = pa.table(columns)
    yield Case("decimal", "decimals as integers, and longer ones", "encodings/decimal.md", table, zones=True)
    ends = [-(2**63), 2**63 - 1, 0, -1]
    page = struct.pack("<4q", *ends)
    described = {"e": "decimal", "n": 4, "c": [{"e": "plain", "n": 4, "b": [[0, 32]]}]}
    fields, arrays = [], {}
    for bits, precision in ((128, 38), (256, 76)):
        shown = {"t": f"decimal{bits}", "precision": precision, "scale": 0}
        fields.append(Column({"name": f"d{bits}", "type": shown, "nullable": True}, [Page(described, page, 4)]))
        data = b"".join(n.to_bytes(bits // 8, "little", signed=True) for n in ends)
        kind = getattr(pa, f"decimal{bits}")(precision, 0)
        arrays[f"d{bits}"] = pa.Array.from_buffers(kind, 4, [None, pa.py_buffer(data)])
    yield Case(
        "by_hand_decimal",
        "the ends of 64 bits",
        "encodings/decimal.md",
        pa.table(arrays),
        data=make_file(fields, num_rows=4),
    )


def _scaled() -> Iterator[Case]:
    rng = np.random.default_rng(15)
    mask = rng.random(300) < 0.2
    seconds = rng.integers(1_600_000_000, 1_700_000_000, 300)
    rising = 1_700_000_000 + np.arange(300) * 60
    columns: dict[str, pa.Array] = {
        "ns": pa.array(seconds * 10**9, pa.timestamp("ns")),
        "nulls": pa.array(seconds * 10**9, pa.timestamp("ns"), mask=mask),
        "rising": pa.array(rising * 10**6 + 5, pa.timestamp("us")),
        "days": pa.array(rng.integers(-5000, 5000, 300) * 86_400_000, pa.date64()),
        "i32": pa.array((rng.integers(-300, 300, 300) * 1000 + 7).astype(np.int32)),
        "u16": pa.array((rng.integers(0, 60, 300) * 1000).astype(np.uint16)),
        "u64": pa.array(rng.integers(0, 2**13, 300).astype(np.uint64) * np.uint64(2**51)),
        "ends": pa.array([-(2**63), 2**62, -(2**62), 0] * 75),
        "few": pa.array(np.array([0, 10**6, 5 * 10**15])[rng.integers(0, 3, 300)]),
    }
    yield Case("scaled", "times of a coarser unit, and other round numbers", "encodings/scaled.md", pa.table(columns))


def _patched() -> Iterator[Case]:
    rng = np.random.default_rng(16)
    mask = rng.random(600) < 0.2
    far = rng.random(600) < 0.03
    counts = np.minimum(rng.zipf(1.6, 600), 1 << 50)
    ids = np.where(far, -1, rng.integers(1 << 40, (1 << 40) + 9999, 600))
    never = np.where(far, 253_402_300_799, rng.integers(1_600_000_000, 1_600_050_000, 600))
    columns: dict[str, pa.Array] = {
        "counts": pa.array(counts),
        "ids": pa.array(ids),
        "nulls": pa.array(ids, mask=mask),
        "never": pa.array(never, pa.timestamp("s")),
        "i32": pa.array(np.where(far, -(2**31), rng.integers(-50, 50, 600)).astype(np.int32)),
        "u64": pa.array(np.where(far, np.uint64(2**64 - 1), rng.integers(0, 200, 600).astype(np.uint64))),
        "both": pa.array(np.where(far, np.where(mask, -(2**63), 2**63 - 1), rng.integers(-90, 90, 600))),
    }
    yield Case("patched", "integers with outliers of all kinds", "encodings/patched.md", pa.table(columns))
    numbers = struct.pack("<4q", -(2**63), -(2**63) + 1, -(2**63) + 2, -(2**63) + 1)
    page = numbers + struct.pack("<2q", 5, 2**63 - 1)
    described = {
        "e": "patched",
        "n": 4,
        "limit": str(-(2**63) + 1),
        "c": [{"e": "plain", "n": 4, "b": [[0, 32]]}, {"e": "plain", "n": 2, "b": [[32, 16]]}],
    }
    field = {"name": "lowest", "type": "int64", "nullable": True}
    yield Case(
        "by_hand_patched",
        "a limit next to the lowest number",
        "encodings/patched.md",
        pa.table({"lowest": pa.array([-(2**63), 5, 2**63 - 1, 5])}),
        data=make_file([Column(field, [Page(described, page, 4)])], num_rows=4),
    )


def _run_length() -> Iterator[Case]:
    rng = np.random.default_rng(13)
    places = np.repeat(np.arange(100), rng.integers(1, 25, 100))[:1000]
    rows = len(places)
    values = rng.integers(0, 1 << 30, 100)
    columns = {
        "i64": pa.array(values[places] << 20),
        "i8": pa.array((values[places] & 127).astype(np.int8)),
        "f64": pa.array(rng.standard_normal(100)[places]),
        "nulls": pa.array(values[places], mask=rng.random(rows) < 0.1),
        "codes": pa.array([["red", "green", "blue", "grey"][i] for i in (values & 3)[places]]),
        "date": pa.array(values[places].astype(np.int32) >> 15, pa.date32()),
    }
    yield Case("run_length", "runs of 1 to 24 rows", "encodings/run_length.md", pa.table(columns))
    vectors = pa.array([None if i % 9 else [i, -i, i % 7] for i in range(5, 705)], pa.list_(pa.float32(), 3))
    keys = pa.array([None if i % 3 else i.to_bytes(10, "big") for i in range(700)], pa.binary(10))
    table = pa.table({"vectors": vectors, "keys": keys})
    yield Case("run_length_nulls", "wide cells of which most are null", "encodings/run_length.md", table)
    begins = np.zeros(1000, bool)
    begins[[0, 1, 479, 480, 959, 960, 999]] = True
    runs = np.cumsum(begins) - 1
    cells = b"".join(text.encode() for text in ("a", "", "bc", "d", "d", "efg", "h"))
    offsets = bytes([0, 1, 1, 3, 4, 5, 8, 9])
    start = 64 * 3
    texts = {
        "e": "variable",
        "n": 7,
        "b": [[start + 8, len(cells)]],
        "c": [{"e": "narrow", "n": 8, "base": "0", "stride": 1, "b": [[start, 8]]}],
    }
    flags = {"e": "plain", "n": 7, "b": [[start, 1]]}
    named = np.array(["a", "", "bc", "d", "d", "efg", "h"])[runs]
    bools = np.unpackbits(np.array([0b1011001], np.uint8), bitorder="little")[:7].astype(bool)[runs]
    pages = {
        "string": ({"e": "run_length", "n": 1000, "b": [[0, start]], "c": [texts]}, ranked(begins) + offsets + cells),
        "bool": ({"e": "run_length", "n": 1000, "b": [[0, start]], "c": [flags]}, ranked(begins) + b"\x59"),
    }
    fields = [
        Column({"name": kind, "type": kind, "nullable": True}, [Page(*page, 1000)]) for kind, page in pages.items()
    ]
    yield Case(
        "by_hand_run_length",
        "runs of text and booleans, that end with lines, of equal values",
        "encodings/run_length.md",
        pa.table({"string": named, "bool": bools}),
        data=make_file(fields, num_rows=1000),
    )


def ranked(begins: np.ndarray) -> bytes:
    """The lines of a ranked bitmap, by the words of format_spec/encodings/run_length.md."""
    out, ones = b"", 0
    for first in range(0, len(begins), 480):
        bits = [int(b) for b in begins[first : first + 480]]
        number = sum(b << i for i, b in enumerate(bits))
        out += struct.pack("<I", ones) + number.to_bytes(60, "little")
        ones += sum(bits)
    return out


def bad_numbers() -> Iterator[BadCase]:
    for name, covers, kind, described, page in (
        *_bad_linear(),
        *_bad_planes(),
        *_bad_alp(),
        *_bad_decimal(),
        *_bad_scaled(),
        *_bad_patched(),
        *_bad_run_length(),
    ):
        field = {"name": "n", "type": kind, "nullable": True}
        rows = described["n"]
        data = make_file([Column(field, [Page(described, page, rows)])], num_rows=rows)
        spec = next(word for word in SPECS if name.startswith(word))
        yield BadCase(name, covers, f"encodings/{spec}.md", "Corrupt", "page", data)


SPECS = ("linear", "planes", "alp", "decimal", "scaled", "patched", "run_length")
Fault = tuple[str, str, Any, dict[str, Any], bytes]


def _bad_linear() -> Iterator[Fault]:
    page = _lines([5], [256], 1, 3)

    def linear(name: str, covers: str, kind: str = "int64", **more: Any) -> Fault:
        return f"linear_{name}", covers, kind, {"e": "linear", "n": 3, "stride": 1, "b": [[0, 19]], **more}, page

    yield linear("stride_8", "a stride of 8", stride=8)
    yield linear("stride_negative", "a stride below 0", stride=-1)
    yield linear("stride_float", "a stride that is no integer", stride=1.0)
    yield linear("short", "no room for the line", b=[[0, 18]])
    yield linear("no_buffer", "no buffer", b=[])
    yield linear("float", "floats as linear", kind="float64")
    yield linear("bool", "booleans as linear", kind="bool")


def _bad_planes() -> Iterator[Fault]:
    def planes(name: str, covers: str, kind: str = "int16", **more: Any) -> Fault:
        body = {"e": "planes", "n": 3, "base": "0", "stride": 1, "bits": 2, "b": [[0, 3], [3, 2]], **more}
        return f"planes_{name}", covers, kind, body, bytes(5)

    yield planes("stride_8", "a stride of 8", "int64", stride=8)
    yield planes("stride_negative", "a stride below 0", stride=-1)
    yield planes("bits_0", "no bits above the bytes", bits=0)
    yield planes("bits_8", "8 bits above the bytes", bits=8)
    yield planes("bits_text", "bits that are no number", bits="2")
    yield planes("wide", "10 bits for int8", "int8")
    yield planes("short", "no room for the low bytes", b=[[0, 2], [3, 2]])
    yield planes("short_bits", "no room for the bits", b=[[0, 3], [3, 1]])
    yield planes("one_buffer", "no bits", b=[[0, 3]])
    yield planes("base_number", "a base that is no text", base=0)
    yield planes("float", "floats as planes", "float32")


def _bad_alp() -> Iterator[Fault]:
    page = struct.pack("<3q", 1, 2, 3) + struct.pack("<2d", 0.5, 1.5) + b"\x05"
    number = {"e": "plain", "n": 3, "b": [[0, 24]]}
    one = {"e": "plain", "n": 1, "b": [[24, 8]]}

    def alp(name: str, covers: str, *children: Any, kind: str = "float64", **more: Any) -> Fault:
        body = {"e": "alp", "n": 3, "exponent": 1, **more, "c": list(children)}
        return f"alp_{name}", covers, kind, body, page

    yield alp("exponent_23", "an exponent of 23", number, exponent=23)
    yield alp("exponent_negative", "an exponent below 0", number, exponent=-1)
    yield alp("exponent_text", "an exponent that is text", number, exponent="1")
    yield alp("no_child", "no numbers")
    yield alp("rows", "numbers for two rows", {"e": "plain", "n": 2, "b": [[0, 16]]})
    yield alp("nulls", "numbers that are null", {**number, "v": [40, 1]})
    yield alp("int", "integers as alp", number, kind="int64")
    yield alp("half", "half floats as alp", number, kind="float16")
    yield alp("limit_missing", "exceptions without a limit", number, one)
    yield alp("limit_huge", "a limit of 2^60", number, one, limit=1 << 60)
    yield alp("limit_float", "a limit that is no integer", number, one, limit=3.0)
    yield alp("past", "a number past the last exception", number, one, limit=2)
    yield alp("no_exceptions", "an exception of none", number, {"e": "plain", "n": 0, "b": [[24, 0]]}, limit=3)
    yield alp("null_exception", "an exception that is null", number, {"e": "constant", "n": 1, "x": None}, limit=3)


def _bad_decimal() -> Iterator[Fault]:
    page = struct.pack("<3q", 1, 2, 1 << 31) + b"\x03"
    number = {"e": "plain", "n": 3, "b": [[0, 24]]}
    long = {"t": "decimal128", "precision": 20, "scale": 2}

    def decimal(name: str, covers: str, *children: Any, kind: Any = long, **more: Any) -> Fault:
        return f"decimal_{name}", covers, kind, {"e": "decimal", "n": 3, **more, "c": list(children)}, page

    yield decimal("no_child", "no numbers")
    yield decimal("rows", "numbers for two rows", {"e": "plain", "n": 2, "b": [[0, 16]]})
    yield decimal("nulls", "numbers that are null", {**number, "v": [24, 1]})
    yield decimal("null", "no numbers but nulls", {"e": "constant", "n": 3, "x": None})
    yield decimal("int", "integers as decimal", number, kind="int64")
    yield decimal("float", "floats as decimal", number, kind="float64")
    short = {"t": "decimal32", "precision": 9, "scale": 2}
    yield decimal("long", "a number of 33 bits as decimal32", number, kind=short)
    yield decimal("long_null", "a number of 33 bits in the place of a null", number, kind=short, v=[24, 1])


def _bad_scaled() -> Iterator[Fault]:
    page = bytes([1, 2, 3]) + b"\x03"
    number = {"e": "narrow", "n": 3, "base": "0", "stride": 1, "b": [[0, 3]]}

    def scaled(name: str, covers: str, *children: Any, kind: str = "int64", **more: Any) -> Fault:
        body = {"e": "scaled", "n": 3, "base": "5", "factor": "1000", **more, "c": list(children)}
        return f"scaled_{name}", covers, kind, body, page

    yield scaled("no_child", "no numbers")
    yield scaled("rows", "numbers for two rows", {**number, "n": 2})
    yield scaled("nulls", "numbers that are null", {**number, "v": [3, 1]})
    yield scaled("null", "no numbers but nulls", {"e": "constant", "n": 3, "x": None})
    yield scaled("float", "floats as scaled", number, kind="float64")
    yield scaled("base_number", "a base that is no text", number, base=5)
    yield scaled("base_long", "a base of 2^64", number, base=str(2**64))
    yield scaled("factor_number", "a factor that is no text", number, factor=1000)
    yield scaled("factor_one", "a factor of 1", number, factor="1")
    yield scaled("factor_negative", "a factor below 0", number, factor="-2")
    yield scaled("factor_long", "a factor of 2^63", number, factor=str(2**63))


def _bad_patched() -> Iterator[Fault]:
    page = bytes([1, 2, 3]) + b"\x03" + struct.pack("<2q", 7, 8)
    number = {"e": "narrow", "n": 3, "base": "0", "stride": 1, "b": [[0, 3]]}
    two = {"e": "plain", "n": 2, "b": [[4, 16]]}

    def patched(name: str, covers: str, *children: Any, kind: str = "int64", **more: Any) -> Fault:
        body = {"e": "patched", "n": 3, "limit": "2", **more, "c": list(children)}
        return f"patched_{name}", covers, kind, body, page

    yield patched("no_child", "no numbers")
    yield patched("no_exceptions", "no exceptions", number)
    yield patched("rows", "numbers for two rows", {**number, "n": 2}, two)
    yield patched("nulls", "numbers that are null", {**number, "v": [3, 1]}, two)
    yield patched("float", "floats as patched", number, two, kind="float64")
    yield patched("limit_number", "a limit that is no text", number, two, limit=2)
    yield patched("limit_long", "a limit of 2^63", number, two, limit=str(2**63))
    yield patched("past", "a number past the last exception", number, two, limit="1")
    yield patched("null_exception", "an exception that is null", number, {"e": "constant", "n": 2, "x": None})
    low = {"e": "narrow", "n": 3, "base": str(2**63 - 9), "stride": 1, "b": [[0, 3]]}
    yield patched("far", "numbers that lie 2^64 above the limit", low, two, limit=str(-(2**63)))


def _bad_run_length() -> Iterator[Fault]:
    begins = np.array([True, False, True])
    good = ranked(begins) + struct.pack("<2q", 7, 8)
    two = {"e": "plain", "n": 2, "b": [[64, 16]]}

    def runs(name: str, covers: str, page: bytes = good, child: Any = two, kind: str = "int64", **more: Any) -> Fault:
        body = {"e": "run_length", "n": 3, "b": [[0, 64]], **more, "c": [child]}
        return f"run_length_{name}", covers, kind, body, page

    yield runs("short", "a line of 63 bytes", b=[[0, 63]])
    yield runs("no_buffer", "no bitmap", b=[])
    yield runs("first", "no run at row 0", ranked(np.array([False, True, True])) + good[64:])
    yield runs("past", "three runs of two values", ranked(np.array([True, True, True])) + good[64:])
    yield runs("count", "a first line that counts 2^31 ones before it", struct.pack("<I", 1 << 31) + good[4:])
    yield runs("null", "a null among the values", child={"e": "constant", "n": 2, "x": None})
    lists = {"t": "list", "item": {"name": "item", "type": "int8", "nullable": True}}
    yield runs("list", "lists as run_length", kind=lists)
    yield runs("none", "no values", child={"e": "plain", "n": 0, "b": [[64, 0]]})
    many = bytearray(ranked(np.arange(1000) % 10 == 0))
    struct.pack_into("<I", many, 64, 47)
    child = {"e": "narrow", "n": 100, "base": "0", "stride": 1, "b": [[192, 100]]}
    page = bytes(many) + bytes(range(100))
    yield runs("lines", "a line that counts one less than there are", page, child, n=1000, b=[[0, 192]])
