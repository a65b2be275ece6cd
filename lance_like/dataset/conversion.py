"""Values in another type: the same values, but for the rounding of floats, or an error.

Arrow casts. What it gets wrong without a word is done in steps that it gets right, or found afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lance_like.dataset.engine_values import durations_of
from lance_like.encodings.joining import offsets_and_items
from lance_like.encodings.physical import is_variable
from lance_like.file.carry import carry


def converted(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """Values in another type, both as they are carried.

    Raises ArrowException or ValueError when one would change, but for the rounding of floats, or does not fit.
    """
    t = pa.types
    if t.is_dictionary(array.type) and not (t.is_dictionary(kind) and array.type.value_type.equals(kind.value_type)):
        array = array.dictionary_decode()
    _check_types(array.type, kind)
    made = _cast(array, kind)
    _check_values(array, made, _is_kept)
    return made


def array_of(values: Any, kind: pa.DataType) -> pa.Array | pa.ChunkedArray:
    """Values of Python or numpy as an array of a type.

    Raises ArrowException or ValueError when one would change, but for the rounding of floats, or does not fit.
    """
    values = list(values) if isinstance(values, Iterator) else values
    made = pa.array(values, kind)
    if is_variable(kind):
        return made  # of bytes and texts alone
    try:
        mine = pa.array(values)
    except (pa.ArrowException, OverflowError):
        return made  # of types that Arrow finds no common one for
    if isinstance(mine, pa.Array) and isinstance(made, pa.Array):
        _check_values(carry(mine), carry(made), _is_unchanged)
    return made


def text_of(value: pa.Scalar) -> str:
    """A value in words, also where Python has no such value, as a moment after the year 9999."""
    try:
        return f"{value.as_py()!r:.80}"
    except (OverflowError, ValueError):
        return str(value.cast(pa.string()))


def _cast(array: pa.Array, kind: pa.DataType) -> pa.Array:
    through = _inside(kind, _large_decimal)
    if not through.equals(kind):
        # Arrow cuts off the upper bits of numbers that small decimals do not hold.
        return _cast(array, through).cast(kind)
    try:
        return array.cast(kind)
    except pa.ArrowNotImplementedError:
        if pa.types.is_dictionary(kind):
            return _cast(array, kind.value_type).dictionary_encode().cast(kind)
        if pa.types.is_interval(array.type) and pa.types.is_duration(kind):
            return durations_of(array, kind)
        # Arrow casts few types to half floats: by way of double ones, then. Single ones would be rounded twice.
        through = _inside(kind, _double)
        if through.equals(kind):
            raise
        return array.cast(through).cast(kind)


def _large_decimal(kind: pa.DataType) -> pa.DataType:
    small = pa.types.is_decimal32(kind) or pa.types.is_decimal64(kind)
    return pa.decimal128(kind.precision, kind.scale) if small else kind


def _double(kind: pa.DataType) -> pa.DataType:
    return pa.float64() if pa.types.is_float16(kind) else kind


def _inside(kind: pa.DataType, other: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    """A type with others in place of those that it is made of."""
    t = pa.types
    if t.is_struct(kind):
        return pa.struct([field.with_type(_inside(field.type, other)) for field in kind])
    if t.is_map(kind):
        key, item = (field.with_type(_inside(field.type, other)) for field in (kind.key_field, kind.item_field))
        return pa.map_(key, item, kind.keys_sorted)
    if is_list(kind):
        items = kind.value_field.with_type(_inside(kind.value_type, other))
        size = (kind.list_size,) if t.is_fixed_size_list(kind) else ()
        return (pa.large_list if t.is_large_list(kind) else pa.list_)(items, *size)
    return other(kind)


def _check_types(mine: pa.DataType, theirs: pa.DataType) -> None:
    """Raise ValueError for a cast that Arrow makes without a word although it changes values."""
    t = pa.types
    if t.is_dictionary(mine):
        if t.is_null(theirs):
            raise ValueError("values would become null")
        mine = mine.value_type
    if t.is_dictionary(theirs):
        theirs = theirs.value_type
    if t.is_struct(mine) and t.is_struct(theirs):
        for field in mine:
            if theirs.get_field_index(field.name) < 0:
                raise ValueError(f"it has no field {field.name!r}")
            _check_types(field.type, theirs.field(field.name).type)
    elif t.is_map(mine) and t.is_map(theirs):
        _check_types(mine.key_type, theirs.key_type)
        _check_types(mine.item_type, theirs.item_type)
    elif is_list(mine) and is_list(theirs):
        _check_types(mine.value_type, theirs.value_type)
    elif t.is_timestamp(mine) and t.is_timestamp(theirs) and (mine.tz is None) != (theirs.tz is None):
        raise ValueError("one has a time zone, the other has none")
    elif t.is_timestamp(mine) and (t.is_date(theirs) or t.is_time(theirs)):
        raise ValueError("a part of each moment would be lost")
    elif t.is_floating(mine) and t.is_decimal(theirs):
        raise ValueError("binary fractions would be rounded to decimal ones")
    elif t.is_boolean(theirs) and (t.is_integer(mine) or t.is_floating(mine)):
        raise ValueError("numbers are not true or false")


def _check_values(mine: pa.Array, made: pa.Array, is_kept: Callable[[pa.Array, pa.Array], bool]) -> None:
    """Raise ValueError when values became others though Arrow raised nothing. is_kept: judges those of plain types."""
    t = pa.types
    mine, made = (array.dictionary_decode() if t.is_dictionary(array.type) else array for array in (mine, made))
    if mine.type.equals(made.type):
        return
    if t.is_struct(mine.type) and t.is_struct(made.type):
        for field in mine.type:
            if made.type.get_field_index(field.name) < 0:
                raise ValueError(f"it has no field {field.name!r}")
            _check_values(mine.field(field.name), made.field(field.name), is_kept)
    elif t.is_map(mine.type) and t.is_map(made.type):
        mine, made = offsets_and_items(mine)[1], offsets_and_items(made)[1]
        for place in (0, 1):
            _check_values(mine.field(place), made.field(place), is_kept)
    elif is_list(mine.type) and is_list(made.type):
        _check_values(mine.flatten(), made.flatten(), is_kept)
    elif not is_kept(mine, made):
        raise ValueError("a value is out of its range, or has a part that it cannot hold")


def _is_unchanged(mine: pa.Array, made: pa.Array) -> bool:
    """`_is_kept`, of values that Arrow made arrays of: it cuts off fractions of integers, and parts of moments."""
    t = pa.types
    if t.is_timestamp(mine.type) and t.is_timestamp(made.type):
        # Moments without a time zone are taken for those of UTC.
        return made.cast(pa.timestamp(mine.type.unit, made.type.tz)).view(pa.int64()).equals(mine.view(pa.int64()))
    if t.is_temporal(mine.type) and t.is_temporal(made.type) and not t.is_interval(made.type):
        return made.cast(mine.type).equals(mine)
    if t.is_floating(mine.type) and t.is_integer(made.type):
        return made.cast(mine.type).equals(mine)
    return _is_kept(mine, made)


def _is_kept(mine: pa.Array, made: pa.Array) -> bool:
    """Are numbers the same in another type, but for the rounding of floats?"""
    t = pa.types
    if t.is_decimal(mine.type) and t.is_decimal(made.type):
        # Numbers that overflowed come back as others.
        return _cast(made, mine.type).equals(mine)
    if t.is_integer(mine.type) and t.is_float16(made.type):
        return made.cast(pa.float64()).cast(mine.type).equals(mine)
    if t.is_floating(made.type) and (t.is_decimal(mine.type) or t.is_floating(mine.type)):
        return _infinite(made) == (_infinite(mine) if t.is_floating(mine.type) else 0)
    return True


def _infinite(array: pa.Array) -> int:
    # Arrow has no is_inf for half floats.
    wide = array.cast(pa.float32()) if pa.types.is_float16(array.type) else array
    return pc.sum(pc.is_inf(wide)).as_py() or 0


def is_list(kind: pa.DataType) -> bool:
    """Is a type a list of Arrow's older kinds, which others are carried as?"""
    t = pa.types
    return t.is_list(kind) or t.is_large_list(kind) or t.is_fixed_size_list(kind)


__all__ = ["array_of", "converted", "is_list", "text_of"]
