"""Texts and bytes as codes into the values of their pages: what a dictionary page holds, handed on as it is.

A column that is no dictionary can be read as one: `CODED` has the type to ask for. Pages of other encodings give each
row a value of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa

from lance_like.encodings.registry import read_node
from lance_like.encodings.sift import read_chosen
from lance_like.encodings.stack import Reading, Runs, Stack
from lance_like.typing_ import Int64s

_CODE = pa.int32()

CODED: Mapping[int, pa.DataType] = {
    kind.id: pa.dictionary(_CODE, kind) for kind in (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())
}
"""Ids of the types of columns that can be read as codes, and the type to ask for; told apart by identity."""

_CODED_IDS = frozenset(map(id, CODED.values()))


def is_coded(kind: pa.DataType) -> bool:
    """True for a type of `CODED`: not for one that is equal, which is a column's own."""
    return id(kind) in _CODED_IDS


def read_coded(stack: Stack, kind: pa.DataType, runs: Runs) -> Reading[pa.Array]:
    """Rows of a stack as codes, nulls among the codes. kind: of `CODED`."""
    return _coded(stack, kind, lambda kind: read_node(stack, kind, runs))


def choose_coded(stack: Stack, kind: pa.DataType, runs: Runs, rows: Int64s) -> Reading[pa.Array]:
    """As `read_coded`, of rows as `read_chosen` takes them."""
    return _coded(stack, kind, lambda kind: read_chosen(stack, kind, runs, rows))


def _coded(stack: Stack, kind: pa.DataType, read: Callable[[pa.DataType], Reading[pa.Array]]) -> Reading[pa.Array]:
    """What a read of rows gives, as codes. read: is given the type to read as."""
    if stack.encoding == "dictionary":
        array = yield from read(kind)
        stack.require(array.dictionary.null_count == 0, "its values have nulls")
        return array
    values = yield from read(kind.value_type)
    if stack.encoding == "constant":
        return values.dictionary_encode()
    places = np.arange(len(values), dtype=np.int32)
    mask = values.is_null().to_numpy(zero_copy_only=False) if values.null_count else None
    return pa.DictionaryArray.from_arrays(pa.array(places, _CODE, mask=mask), values)


__all__ = ["CODED", "choose_coded", "is_coded", "read_coded"]
