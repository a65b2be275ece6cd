"""Plain: fixed-width values end to end, or booleans as a bitmap (format_spec/encodings/plain.md).

Reading one run of rows copies nothing.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from lance_like.encodings.base import Direct, Encoded, Hints, Node, buffer_of
from lance_like.encodings.physical import (
    buffer_bytes,
    cut_bits,
    flat_array,
    flat_bytes,
    flat_width,
    read_bits,
)
from lance_like.errors import Corrupt
from lance_like.typing_ import Bytes, Conversation, Int64s


class Plain:
    """One buffer of values: num_rows x width bytes, or a bitmap of num_rows bits."""

    name = "plain"

    def encode(self, array: pa.Array, hints: Hints) -> Encoded | None:
        if pa.types.is_boolean(array.type):
            data = cut_bits(buffer_bytes(array.buffers()[1]), array.offset, len(array))
        else:
            data = flat_bytes(array)
        if data is None:
            return None
        if array.null_count and len(data):
            data = _zeroed(array, data)
        return Encoded(self.name, len(array), buffers=(data,))

    def read(self, node: Node, kind: pa.DataType, starts: Int64s, ends: Int64s) -> Conversation[pa.Array]:
        num_rows = int((ends - starts).sum())
        if pa.types.is_boolean(kind):
            start = buffer_of(node, 0, (node.num_rows + 7) // 8)
            bits = yield from read_bits(start, starts, ends)
            return pa.Array.from_buffers(kind, num_rows, [None, pa.py_buffer(bits)], null_count=0)
        place = self.direct(node, kind)
        if place is None:
            raise Corrupt(f"a plain page cannot hold the type {kind}", kind="page")
        (data,) = yield [(place.start + starts * place.width, place.start + ends * place.width)]
        return flat_array(kind, data, num_rows)

    def direct(self, node: Node, kind: pa.DataType) -> Direct | None:
        width = flat_width(kind)
        return None if width is None else Direct(buffer_of(node, 0, node.num_rows * width), width, None)


def _zeroed(array: pa.Array, data: Bytes) -> Bytes:
    """The same values with zeros under nulls: what was masked out is not stored."""
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    if pa.types.is_boolean(array.type):
        return data & np.packbits(valid, bitorder="little")
    cells = data.reshape(len(array), -1).copy()
    cells[~valid] = 0
    return cells.reshape(-1)
