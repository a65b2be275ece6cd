"""Columns read as another type than theirs, by which an engine takes them faster; told apart by identity.

Texts and bytes as codes into the values of their pages: what a dictionary page holds, handed on as it is. Pages of
other encodings give each row a value of its own. Decimals of 128 bits as ones of 64, where no digit is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
import pyarrow as pa

from lance_like.encodings.registry import read_node
from lance_like.encodings.sift import read_chosen
from lance_like.encodings.stack import Reading, Runs, Stack
from lance_like.typing_ import Int64s

_CODE = pa.int32()
# Of a decimal of 64 bits.
_MOST_DIGITS = 18

CODED: Mapping[int, pa.DataType] = {
    kind.id: pa.dictionary(_CODE, kind) for kind in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())
}
"""Ids of the types of columns that can be read as codes, and the type to ask for."""

# The types to ask for and those that they stand for, which stay alive, so that their ids are theirs.
_STORED: dict[int, tuple[pa.DataType, pa.DataType]] = {id(kind): (kind, kind.value_type) for kind in CODED.values()}


def short_decimal(kind: pa.DataType) -> pa.DataType | None:
    """The type to ask for to read a decimal in 64 bits; None for types that have no such form, or are it."""
    # Extension types that Python defines have no hash.
    return _short_decimal(kind) if pa.types.is_decimal128(kind) else None


@cache
def _short_decimal(kind: pa.DataType) -> pa.DataType | None:
    if not 0 <= kind.scale <= kind.precision <= _MOST_DIGITS:
        return None
    short = pa.decimal64(kind.precision, kind.scale)
    _STORED[id(short)] = short, kind
    return short


def is_recast(kind: pa.DataType) -> bool:
    """True for a type to ask for: not for one that is equal, which is a column's own."""
    return id(kind) in _STORED


def stored_type(kind: pa.DataType) -> pa.DataType:
    """The type of the columns that can be read as a type to ask for."""
    return _STORED[id(kind)][1]


def read_recast(stack: Stack, kind: pa.DataType, runs: Runs) -> Reading[pa.Array]:
    """Rows of a stack as a type to ask for; of codes, the nulls among the codes."""
    return _recast(stack, kind, lambda kind: read_node(stack, kind, runs))


def choose_recast(stack: Stack, kind: pa.DataType, runs: Runs, rows: Int64s) -> Reading[pa.Array]:
    """As `read_recast`, of rows as `read_chosen` takes them."""
    return _recast(stack, kind, lambda kind: read_chosen(stack, kind, runs, rows))


def _recast(stack: Stack, kind: pa.DataType, read: Callable[[pa.DataType], Reading[pa.Array]]) -> Reading[pa.Array]:
    """What a read of rows gives, as a type to ask for. read: is given the type to read as."""
    form = _coded if pa.types.is_dictionary(kind) else _short
    if stack.encoding == ("dictionary" if form is _coded else "decimal"):
        array = yield from read(kind)
        stack.require(form is _short or array.dictionary.null_count == 0, "its values have nulls")
        return array
    return form(stack, kind, (yield from read(stored_type(kind))))


def _coded(stack: Stack, kind: pa.DataType, values: pa.Array) -> pa.Array:
    if stack.encoding == "constant":
        return values.dictionary_encode()
    places = np.arange(len(values), dtype=np.int32)
    mask = values.is_null().to_numpy(zero_copy_only=False) if values.null_count else None
    return pa.DictionaryArray.from_arrays(pa.array(places, _CODE, mask=mask), values)


def _short(stack: Stack, kind: pa.DataType, values: pa.Array) -> pa.Array:
    validity, data = values.buffers()
    words = np.frombuffer(data or b"", np.int64, 2 * (values.offset + len(values))).reshape(-1, 2)
    numbers = words[:, 0].copy()
    fits = (words[:, 1] == numbers >> 63)[values.offset :]
    within = fits.all() or (fits | ~values.is_valid().to_numpy(zero_copy_only=False)).all()
    stack.require(bool(within), f"a value has more digits than {kind}")
    return pa.Array.from_buffers(kind, len(values), [validity, pa.py_buffer(numbers)], offset=values.offset)


__all__ = ["CODED", "choose_recast", "is_recast", "read_recast", "short_decimal", "stored_type"]
