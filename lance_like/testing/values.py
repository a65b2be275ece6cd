"""Random values of every type, with those that go wrong: nulls, NaN, -0.0, the empty, extremes, many of one kind."""

from __future__ import annotations

from decimal import Context, Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lance_like.encodings.joining import taken
from lance_like.file.carry import carry, present
from lance_like.typing_ import Int64s

Random = np.random.Generator

INTEGER_TYPES: tuple[pa.DataType, ...] = (
    *(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
    *(pa.date32(), pa.date64(), pa.time32("ms"), pa.time64("ns"), pa.timestamp("us", "UTC"), pa.duration("s")),
)
TEXT_TYPES: tuple[pa.DataType, ...] = (pa.string(), pa.large_string(), pa.string_view())
ORDERED_TYPES: tuple[pa.DataType, ...] = (
    *INTEGER_TYPES,
    *(pa.float16(), pa.float32(), pa.float64(), pa.bool_()),
    *(pa.decimal32(7, 2), pa.decimal64(15, 0), pa.decimal128(30, 4), pa.decimal256(60, 8)),
    *TEXT_TYPES,
    *(pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(5)),
    *(pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int32(), pa.float64())),
    pa.run_end_encoded(pa.int32(), pa.int64()),
)
LIST_TYPES: tuple[pa.DataType, ...] = (
    pa.list_(pa.string()),
    pa.list_(pa.field("element", pa.int64(), nullable=False)),
    pa.large_list(pa.field("anything", pa.float32())),
    pa.list_(pa.int16(), 3),
    pa.list_view(pa.string_view()),
    pa.large_list_view(pa.date32()),
    pa.list_(pa.dictionary(pa.int8(), pa.string())),
)

_LETTERS = "aAbBcdeisSkKnotru äÄßẞéÉİıſKσςΣжЖ日本語の😀%_\\.*'\x00"
_WORDS = (
    "",
    "a",
    "ab",
    "Straße",
    "STRASSE",
    "kelvin Kelvin",
    "日本語のテキスト",
    "naïve café",
    "a%b_c",
    "x" * 100,
    "the end",
)


def random_values(kind: pa.DataType, rows: int, random: Random, *, nulls: float = 0.1) -> pa.Array:
    """Random values of a type, some of them null, many of them more than once."""
    if pa.types.is_run_end_encoded(kind):
        plain = random_values(kind.value_type, rows, random, nulls=nulls)
        return pc.run_end_encode(plain, run_end_type=kind.run_end_type)
    missing = random.random(rows) < nulls
    if pa.types.is_dictionary(kind):
        values = random_values(kind.value_type, 50, random, nulls=0.0).unique()
        codes = pa.array(random.integers(0, len(values), rows), kind.index_type, mask=missing)
        return pa.DictionaryArray.from_arrays(codes, values)
    pool = _pool(kind, max(2, rows // 3), random)
    chosen = random.integers(0, len(pool), rows).tolist()
    picked = [None if null else pool[i] for i, null in zip(chosen, missing.tolist(), strict=True)]
    return pa.array(picked, _integer_of(kind)).cast(kind) if _is_temporal(kind) else pa.array(picked, kind)


def comparable(array: pa.Array) -> list[Any]:
    """Values as objects of Python that compare as DuckDB compares the values; lists of them for lists."""
    kind, t = array.type, pa.types
    if isinstance(array, pa.ExtensionArray):
        return comparable(array.storage)
    if t.is_run_end_encoded(kind):
        return comparable(pc.run_end_decode(array))
    if t.is_dictionary(kind):
        values = comparable(array.dictionary)
        return [None if code is None else values[code] for code in array.indices.to_pylist()]
    if t.is_floating(kind):
        return [None if v is None else (v != v, 0.0 if v != v else v) for v in array.to_pylist()]
    if _is_temporal(kind):
        return array.cast(_integer_of(kind)).to_pylist()
    if is_list(kind):
        return [None if scalar.values is None else comparable(scalar.values) for scalar in array]
    return [v.encode() if isinstance(v, str) else v for v in array.to_pylist()]


def some_of(values: pa.Array, places: Int64s) -> pa.Array:
    """Values by their places, of types that Arrow cannot take too."""
    return present(taken(carry(values), pa.array(places, pa.int64())), values.type)


def is_list(kind: pa.DataType) -> bool:
    """True for lists of every kind, but no maps."""
    t = pa.types
    plain = t.is_list(kind) or t.is_large_list(kind) or t.is_fixed_size_list(kind)
    return plain or t.is_list_view(kind) or t.is_large_list_view(kind)


def _pool(kind: pa.DataType, count: int, random: Random) -> list[Any]:
    """Different values of a type."""
    t = pa.types
    if is_list(kind):
        items = random_values(kind.value_type, 200, random, nulls=0.15 if kind.value_field.nullable else 0).to_pylist()
        size = kind.list_size if t.is_fixed_size_list(kind) else None
        sizes = [size or int(random.integers(0, 5)) for _ in range(count)]
        return [[items[int(i)] for i in random.integers(0, len(items), n)] for n in sizes]
    if t.is_boolean(kind):
        return [False, True]
    if t.is_integer(kind):
        return _integers(8 * np.dtype(kind.to_pandas_dtype()).itemsize, not t.is_unsigned_integer(kind), count, random)
    if _is_temporal(kind):
        return [n * 86_400_000 if t.is_date64(kind) else n for n in random.integers(0, 80_000, count).tolist()]
    if t.is_floating(kind):
        special = [0.0, -0.0, float("nan"), float("inf"), float("-inf"), 1.5, -1.5]
        numbers = [*special, *random.normal(size=count).round(2).tolist()]
        return [np.float16(n) for n in numbers] if t.is_float16(kind) else numbers
    if t.is_decimal(kind):
        most = 10**kind.precision - 1
        numbers = [0, 1, -1, most, -most, *random.integers(-(10**6), 10**6, count).tolist()]
        return [Decimal(n).scaleb(-kind.scale, Context(prec=80)) for n in numbers]
    if t.is_fixed_size_binary(kind):
        return [bytes(random.integers(0, 256, kind.byte_width).tolist()) for _ in range(count)]
    if t.is_string(kind) or t.is_large_string(kind) or t.is_string_view(kind):
        return [*_WORDS, *(_text(random) for _ in range(count))]
    return [b"", b"\x00", b"\xff\xff", b"a", *(random.bytes(int(random.integers(0, 9))) for _ in range(count))]


def _integers(bits: int, signed: bool, count: int, random: Random) -> list[int]:
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    near = [max(low, min(high, n)) for n in random.integers(-50, 200, count).tolist()]
    return [low, high, 0, 1, *near, *(min(high, low + int(part * (high - low))) for part in random.random(count))]


def _text(random: Random) -> str:
    return "".join(_LETTERS[int(i)] for i in random.integers(0, len(_LETTERS), int(random.integers(0, 12))))


def _integer_of(kind: pa.DataType) -> pa.DataType:
    return pa.int32() if kind.bit_width == 32 else pa.int64()


def _is_temporal(kind: pa.DataType) -> bool:
    return pa.types.is_temporal(kind) and not pa.types.is_interval(kind)


__all__ = [
    "INTEGER_TYPES",
    "LIST_TYPES",
    "ORDERED_TYPES",
    "TEXT_TYPES",
    "Random",
    "comparable",
    "is_list",
    "random_values",
    "some_of",
]
