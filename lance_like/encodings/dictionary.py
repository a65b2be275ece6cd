"""Dictionary: codes into the distinct values of the page (format_spec/encodings/dictionary.md)."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lance_like.encodings.base import Encoded, Hints, Node, child_of, corrupt_unless, together
from lance_like.encodings.physical import read_validity
from lance_like.encodings.registry import encode_array, read_node
from lance_like.typing_ import Conversation, Int64s

CODE_TYPE = pa.uint32()
_SAMPLE = 4096
# Above this share of distinct values in a sample, compressed blocks are smaller than codes and values.
_DISTINCT = 0.25
_MAX_VALUES = 1 << 16
_FEWEST_ROWS = 16


class Dictionary:
    """Child 0: num_rows codes; child 1: the values. The codes of null rows mean nothing."""

    name = "dictionary"

    def encode(self, array: pa.Array, hints: Hints) -> Encoded | None:
        if pa.types.is_dictionary(array.type):
            codes, values = array.indices.cast(CODE_TYPE), array.dictionary
        else:
            encoded = _encode_if_repetitive(array)
            if encoded is None:
                return None
            codes, values = encoded.indices.cast(CODE_TYPE), encoded.dictionary
        codes = codes.fill_null(0) if codes.null_count else codes
        children = (encode_array(codes, hints), encode_array(values, hints))
        return Encoded(self.name, len(array), children=children)

    def read(self, node: Node, kind: pa.DataType, starts: Int64s, ends: Int64s) -> Conversation[pa.Array]:
        as_dictionary = pa.types.is_dictionary(kind)
        value_type = kind.value_type if as_dictionary else kind
        plain = as_dictionary or not (pa.types.is_nested(kind) or pa.types.is_null(kind))
        corrupt_unless(plain, node, f"it cannot hold the type {kind}")
        codes, values = yield from together(
            [
                read_node(child_of(node, 0, node.num_rows), CODE_TYPE, starts, ends),
                self._values(child_of(node, 1), value_type),
            ]
        )
        corrupt_unless(codes.null_count == 0, node, "its codes have nulls")
        corrupt_unless(as_dictionary or values.null_count == 0, node, "its values have nulls")
        if len(values) == 0:
            return (yield from _all_null(node, kind, starts, ends))
        highest = pc.max(codes).as_py() if len(codes) else 0
        corrupt_unless(highest < len(values), node, f"code {highest} of {len(values)} values")
        if not as_dictionary:
            return values.take(codes)
        indices = codes.cast(kind.index_type)
        return pa.DictionaryArray.from_arrays(indices, values, ordered=kind.ordered, safe=False)

    @staticmethod
    def _values(child: Node, kind: pa.DataType) -> Conversation[pa.Array]:
        """All values, read once for each open page."""
        if "values" not in child.state:
            whole = (np.zeros(1, np.int64), np.full(1, child.num_rows, np.int64))
            child.state["values"] = yield from read_node(child, kind, *whole)
        return child.state["values"]


def _all_null(node: Node, kind: pa.DataType, starts: Int64s, ends: Int64s) -> Conversation[pa.Array]:
    """Rows of a node without values: each must be null."""
    num_rows = int((ends - starts).sum())
    if num_rows:
        corrupt_unless(node.validity is not None, node, "it has rows and no values")
        bitmap = yield from read_validity(node, starts, ends)
        corrupt_unless(not bitmap.any(), node, "it has a row that is not null and no values")
    if not pa.types.is_dictionary(kind):
        return pa.nulls(num_rows, kind)
    return pa.DictionaryArray.from_arrays(
        pa.nulls(num_rows, kind.index_type), pa.nulls(0, kind.value_type), ordered=kind.ordered
    )


def _encode_if_repetitive(array: pa.Array) -> pa.DictionaryArray | None:
    if len(array) < _FEWEST_ROWS:
        return None
    # Runs from three places: a page sorted by the column would look constant from one.
    third = max(1, min(len(array) // 3, _SAMPLE // 3))
    places = (0, (len(array) - third) // 2, len(array) - third)
    sample = pa.concat_arrays([array.slice(place, third) for place in places])
    if len(sample.unique()) > _DISTINCT * len(sample):
        return None
    encoded = array.dictionary_encode()
    fits = len(encoded.dictionary) <= min(_MAX_VALUES, _DISTINCT * len(array))
    return encoded if fits else None
