"""Literals: the type a column is compared in, and the literals that reach it without changing an answer.

`exact` is a list of what is known to be right; all else is answered None, and DuckDB decides instead.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from lance_like._lazy import per_type
from lance_like.query.nearest import nearest

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_SECONDS_PER_DAY = 86_400
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d:\d\d(?:\.\d{1,6})?))?")
# The most decimal digits and the longest scale whose quotient one division of that width rounds right, so that
# every way to read the number agrees.
_FLOAT_DIGITS = {64: (15, 22), 32: (7, 10)}
# Integers up to these are exact in a float of that width.
_FLOAT_WHOLE = {64: 2**53, 32: 2**24}


@per_type
def comparison_type(type_: pa.DataType) -> pa.DataType | None:
    """Choose the type in which values of a column are compared.

    Returns the type itself, or the plain type for dictionaries, views, short floats and decimals that DuckDB has in
    another type; None for types whose comparisons are left to DuckDB.
    """
    types = pa.types
    if types.is_dictionary(type_):
        return comparison_type(type_.value_type)
    if types.is_float16(type_):
        return pa.float32()
    if types.is_decimal(type_):
        plain: Any = nearest(type_)
        if types.is_decimal(plain):
            return pa.decimal128(plain.precision, plain.scale)
        return type_ if type_.scale >= 0 else None
    if types.is_fixed_size_binary(type_) or str(type_) == "binary_view":
        return pa.binary()
    if str(type_) == "string_view":
        return pa.string()
    plain = (
        types.is_boolean(type_)
        or types.is_integer(type_)
        or types.is_floating(type_)
        or is_text(type_)
        or is_bytes(type_)
        or types.is_date32(type_)
        or types.is_timestamp(type_)
        or types.is_time(type_)
        or types.is_duration(type_)
    )
    return type_ if plain else None


def item_type(type_: pa.DataType) -> pa.DataType | None:
    """The type of the items of lists, whatever the lists call them; None for what is no list."""
    types = pa.types
    some = types.is_list, types.is_large_list, types.is_fixed_size_list, types.is_list_view, types.is_large_list_view
    return type_.value_type if any(is_list(type_) for is_list in some) else None


def comparable(array: pa.Array, to: pa.DataType) -> pa.Array:
    """Cast an array to a comparison type; the same array if it has that type."""
    if array.type == to:
        return array
    if pa.types.is_dictionary(array.type):
        return comparable(array.dictionary_decode(), to)
    return array.cast(to)


def is_text(type_: pa.DataType) -> bool:
    """Tell whether values are UTF-8 text with offsets."""
    return pa.types.is_string(type_) or pa.types.is_large_string(type_)


def is_bytes(type_: pa.DataType) -> bool:
    """Tell whether values are bytes with offsets."""
    return pa.types.is_binary(type_) or pa.types.is_large_binary(type_)


def is_exact(value: pa.Scalar) -> bool:
    """Is a literal a whole number or a decimal?"""
    return value.is_valid and (pa.types.is_integer(value.type) or pa.types.is_decimal(value.type))


def exact(value: pa.Scalar, to: pa.DataType) -> pa.Scalar | None:
    """Cast a literal to a comparison type, if comparing there gives DuckDB's answer for every value.

    value: not null.
    Returns a scalar of type `to` (of float64 for a float32 column and a double that it cannot hold), or None.
    """
    types = pa.types
    if value.type == to:
        return value
    if types.is_integer(to):
        whole = _whole(value)
        return None if whole is None else _scalar(whole, to)
    if types.is_floating(to):
        return _float(value, to)
    if types.is_decimal(to):
        return _decimal(value, to)
    if types.is_date32(to):
        return _date(value)
    if types.is_timestamp(to):
        ticks = _ticks(value, to)
        return None if ticks is None else _scalar(ticks, to)
    if types.is_duration(to) and types.is_duration(value.type):
        ticks, rest = _in_units(value, to)
        return None if rest else _scalar(ticks, to)
    if (is_text(to) and is_text(value.type)) or (is_bytes(to) and is_bytes(value.type)):
        return value.cast(to)
    return None


def exact_values(values: pa.Array, to: pa.DataType) -> pa.Array | None:
    """Cast the literals of IN as `exact` does one; nulls stay null."""
    alike = (
        (pa.types.is_integer(values.type) and pa.types.is_integer(to))
        or (is_text(values.type) and is_text(to))
        or (is_bytes(values.type) and is_bytes(to))
    )
    if values.type == to:
        return values
    if alike:
        try:
            return values.cast(to)
        except pa.ArrowInvalid:
            return None
    cast: list[pa.Array] = []
    for value in values:
        one = exact(value, to) if value.is_valid else pa.scalar(None, to)
        if one is None or one.type != to:
            return None
        cast.append(pa.array([one.as_py()], to) if not pa.types.is_timestamp(to) else pa.repeat(one, 1))
    return pa.concat_arrays(cast)


def _scalar(value: Any, to: pa.DataType) -> pa.Scalar | None:
    try:
        return pa.scalar(value, to)
    except (pa.ArrowInvalid, OverflowError):
        return None


def _whole(value: pa.Scalar) -> int | None:
    """Read a number as an integer that every DuckDB cast agrees on."""
    number = value.as_py() if _is_number(value.type) else None
    if isinstance(number, int):
        return number
    if isinstance(number, float):
        fits = math.isfinite(number) and number.is_integer() and abs(number) < _FLOAT_WHOLE[64]
        return int(number) if fits else None
    if isinstance(number, Decimal):
        # DuckDB compares as DECIMAL(19 + scale, scale), which exists only for short scales.
        fits = value.type.scale <= 15 and abs(number) < 10**18 and number == number.to_integral_value()
        return int(number) if fits else None
    return None


def _float(value: pa.Scalar, to: pa.DataType) -> pa.Scalar | None:
    number = value.as_py() if _is_number(value.type) else None
    width = to.bit_width
    if isinstance(number, int):
        return pa.scalar(float(number), to) if abs(number) <= _FLOAT_WHOLE[width] else None
    if isinstance(number, float):
        with np.errstate(over="ignore"):
            fits = width == 64 or math.isnan(number) or float(np.float32(number)) == number
        return pa.scalar(number, to if fits else pa.float64())
    if isinstance(number, Decimal):
        digits, scale = _FLOAT_DIGITS[width]
        significant = len(number.as_tuple().digits)
        return pa.scalar(float(number), to) if significant <= digits and value.type.scale <= scale else None
    return None


def _decimal(value: pa.Scalar, to: Any) -> pa.Scalar | None:
    number = value.as_py() if _is_number(value.type) else None
    if isinstance(number, int):
        number = Decimal(number)
    elif isinstance(number, Decimal):
        # DuckDB compares in a type that holds the digits of both sides, and has none beyond 38; a column that is
        # longer by itself is compared here, exactly.
        scale = max(value.type.scale, to.scale)
        if to.precision <= 38 and max(value.type.precision - value.type.scale, to.precision - to.scale) + scale > 38:
            return None
    else:
        return None
    return _scalar(number, to)


def _date(value: pa.Scalar) -> pa.Scalar | None:
    if is_text(value.type):
        text = value.as_py()
        try:
            return value.cast(pa.string()).cast(pa.date32()) if _DATE.fullmatch(text) else None
        except pa.ArrowInvalid:
            return None
    if pa.types.is_timestamp(value.type) and value.type.tz is None:
        day, rest = divmod(value.value, _PER_SECOND[value.type.unit] * _SECONDS_PER_DAY)
        return pa.scalar(day, pa.int32()).cast(pa.date32()) if rest == 0 and abs(day) < 2**31 else None
    return None


def _ticks(value: pa.Scalar, to: Any) -> int | None:
    """Read a date or time as a count of the units of a timestamp type; without a zone it is UTC."""
    if is_text(value.type):
        match = _TIMESTAMP.fullmatch(value.as_py())
        if match is None:
            return None
        try:
            value = pa.scalar(f"{match[1]} {match[2] or '00:00:00'}").cast(pa.timestamp("us"))
        except pa.ArrowInvalid:
            return None
    if pa.types.is_date32(value.type):
        return value.value * _SECONDS_PER_DAY * _PER_SECOND[to.unit]
    if pa.types.is_timestamp(value.type):
        ticks, rest = _in_units(value, to)
        return None if rest else ticks
    return None


def _in_units(value: Any, to: Any) -> tuple[int, int]:
    """Count a moment or a span in the units of a type. Returns the count, rounded down, and what is left over."""
    return divmod(value.value * _PER_SECOND[to.unit], _PER_SECOND[value.type.unit])


def _is_number(type_: pa.DataType) -> bool:
    types = pa.types
    return types.is_integer(type_) or types.is_floating(type_) or types.is_decimal(type_)


__all__ = ["comparable", "comparison_type", "exact", "exact_values", "is_bytes", "is_exact", "is_text", "item_type"]
