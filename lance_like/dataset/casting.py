"""Values of a column in another type: the same values, or an error that names the first that does not fit."""

from __future__ import annotations

import pyarrow as pa

from lance_like.dataset.conversion import converted, text_of
from lance_like.errors import InvalidInput
from lance_like.file.carry import carried_type, carry, present


def check_castable(path: str, mine: pa.DataType, theirs: pa.DataType) -> None:
    """Raise InvalidInput for a type of another sort: that is a computed column, not the same one."""
    if not _may_become(mine, theirs):
        raise InvalidInput(
            f"the column {path!r} of type {mine} cannot become {theirs}",
            kind="type",
            hint=f"compute another column: add_columns({{'new': 'cast({path} as …)'}})",
        )


def cast_values(array: pa.Array, field: pa.Field, row: int) -> pa.Array:
    """Values in the type of a field. row: where the first of them stands in the table.

    Integers and decimals stay exact, and so do moments; floats may be rounded to a narrower type.
    Raises InvalidInput naming the first value that does not fit. Cost: O(n), and O(n) more when one does not.
    """
    try:
        return _cast(array, field.type)
    except (pa.ArrowException, ValueError) as error:
        # Halve what holds the first bad value: all before `low` fit, not all before `high` do.
        low, high = 0, len(array)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if _fits(array.slice(low, middle - low), field.type) else (low, middle)
        shown = "a value" if high == low else f"the value {text_of(array[low])} of row {row + low:,}"
        raise InvalidInput(
            f"the column {field.name!r}: {shown} does not fit the type {field.type}: {error}", kind="type"
        ) from error


def _fits(array: pa.Array, kind: pa.DataType) -> bool:
    try:
        _cast(array, kind)
    except (pa.ArrowException, ValueError):
        return False
    return True


def _cast(array: pa.Array, kind: pa.DataType) -> pa.Array:
    plain = carry(array)
    if isinstance(plain, pa.DictionaryArray):
        plain = plain.dictionary_decode()
    wanted = carried_type(kind)
    is_coded = pa.types.is_dictionary(wanted)
    values = wanted.value_type if is_coded else wanted
    if pa.types.is_nested(plain.type):
        # Arrow casts the items of rows outside a slice too, and stumbles over them.
        plain = pa.concat_arrays([plain])
    if pa.types.is_integer(plain.type) and pa.types.is_decimal(values):
        # Arrow goes by the type of the integers, not by their values.
        plain = plain.cast(pa.decimal256(76, max(values.scale, 0)))
    made = converted(plain, values)
    if is_coded:
        coded = made.dictionary_encode()
        made = pa.DictionaryArray.from_arrays(
            coded.indices.cast(wanted.index_type), coded.dictionary, ordered=wanted.ordered
        )
    return present(made, kind)


def _may_become(mine: pa.DataType, theirs: pa.DataType) -> bool:
    mine, theirs = _plain(mine), _plain(theirs)
    sorts = _sort(mine), _sort(theirs)
    if sorts == ("list", "list"):
        return _may_become(mine.value_type, theirs.value_type)
    return sorts[0] == sorts[1] or sorts[0] == "null" or sorts in _EXACT


# An integer is a float or a decimal as well; a decimal may be an integer. Those that are not are found by value.
_EXACT = {("integer", "float"), ("integer", "decimal"), ("decimal", "integer")}


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type of the values of a dictionary, of runs, or of an extension."""
    while True:
        if isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
        elif pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
            kind = kind.value_type
        else:
            return kind


def _sort(kind: pa.DataType) -> str:
    t = pa.types
    tests = {
        "null": t.is_null,
        "integer": t.is_integer,
        "float": t.is_floating,
        "decimal": t.is_decimal,
        "moment": lambda kind: t.is_date(kind) or t.is_timestamp(kind),
        "time": t.is_time,
        "duration": t.is_duration,
        "text": _is_text,
        "list": _is_list,
    }
    return next((name for name, test in tests.items() if test(kind)), f"type {kind.id}")


def _is_text(kind: pa.DataType) -> bool:
    t = pa.types
    tests = (t.is_string, t.is_large_string, t.is_string_view, t.is_binary, t.is_large_binary, t.is_binary_view)
    return t.is_fixed_size_binary(kind) or any(test(kind) for test in tests)


def _is_list(kind: pa.DataType) -> bool:
    t = pa.types
    tests = (t.is_list, t.is_large_list, t.is_fixed_size_list, t.is_list_view, t.is_large_list_view)
    return any(test(kind) for test in tests)


__all__ = ["cast_values", "check_castable"]
