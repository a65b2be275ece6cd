"""Texts and bytes as codes into the values of their pages: what a dictionary page holds, handed on as it is.

A column that is no dictionary can be read as one: `CODED` has the type to ask for. Pages of other encodings give each
row a value of its own.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from lance_like.encodings.registry import read_node
from lance_like.encodings.stack import Reading, Runs, Stack

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
    if stack.encoding == "dictionary":
        array = yield from read_node(stack, kind, runs)
        stack.require(array.dictionary.null_count == 0, "its values have nulls")
        return array
    values = yield from read_node(stack, kind.value_type, runs)
    if stack.encoding == "constant":
        return values.dictionary_encode()
    places = np.arange(len(values), dtype=np.int32)
    mask = values.is_null().to_numpy(zero_copy_only=False) if values.null_count else None
    return pa.DictionaryArray.from_arrays(pa.array(places, _CODE, mask=mask), values)


__all__ = ["CODED", "is_coded", "read_coded"]
