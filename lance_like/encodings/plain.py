"""Plain: fixed-width values end to end, or booleans as a bitmap (format_spec/encodings/plain.md).

Reading one run of rows copies nothing.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from lance_like.encodings.base import Encoded, Hints
from lance_like.encodings.physical import (
    buffer_bytes,
    cut_bits,
    flat_array,
    flat_bytes,
    flat_width,
    read_bits,
    valid_of,
)
from lance_like.encodings.stack import Reading, Runs, Stack
from lance_like.typing_ import Bytes, Int64s


class Plain:
    """One buffer of values: num_rows x width bytes, or a bitmap of num_rows bits."""

    name = "plain"
    shape: tuple[str, ...] = ()

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

    def read(self, stack: Stack, kind: pa.DataType, runs: Runs) -> Reading[pa.Array]:
        if pa.types.is_boolean(kind):
            bits = yield from read_bits(stack.place(0, (stack.num_rows + 7) // 8), stack, runs)
            return pa.Array.from_buffers(kind, runs.count, [None, pa.py_buffer(bits)], null_count=0)
        width = flat_width(kind)
        if width is None:
            raise stack.corrupt(f"it cannot hold the type {kind}")
        (data,) = yield [stack.cells(flat_cells(stack, width), runs, width)]
        return flat_array(kind, data, runs.count)


def lies_flat(stack: Stack) -> bool:
    """Are cells of one width, none of them null, the bytes of the pages?"""
    return stack.encoding == Plain.name and stack.validity is None


def flat_cells(stack: Stack, width: int) -> Int64s:
    """int64[p]: where the cells of plain pages begin in the file. width: of a cell. Raises Corrupt."""
    return stack.once(("cells", width), lambda: stack.place(0, stack.num_rows * width))


def _zeroed(array: pa.Array, data: Bytes) -> Bytes:
    """The same values with zeros under nulls: what was masked out is not stored."""
    valid = valid_of(array)
    if pa.types.is_boolean(array.type):
        return data & np.packbits(valid, bitorder="little")
    cells = data.reshape(len(array), -1).copy()
    cells[~valid] = 0
    return cells.reshape(-1)
