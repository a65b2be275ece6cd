"""Plain: fixed-width values end to end, or booleans as a bitmap (format_spec/encodings/plain.md).

Reading one run of rows copies nothing.
"""

from __future__ import annotations

from typing import NamedTuple

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
from lance_like.encodings.stack import Ask, Reading, Runs, Stack
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
        (data,) = yield [stack.cells(_first_cells(stack, width), runs, width)]
        return flat_array(kind, data, runs.count)


class FlatCells(NamedTuple):
    """Cells of one width, none of them null, in the plain pages of a column.

    fences: the first row of each page but the first. bases: int64[p], where row 0 of the column would be if its cells
    lay before those of each page. slots: int64[p], of each page.
    """

    fences: Int64s
    bases: Int64s
    slots: Int64s
    width: int

    def read(self, kind: pa.DataType, rows: Int64s) -> Reading[pa.Array]:
        """The cells of rows of the column."""
        (data,) = yield [self.ask(rows)]
        return flat_array(kind, data, len(rows))

    def ask(self, rows: Int64s) -> Ask:
        """Where they are."""
        starts = rows * self.width
        if len(self.bases) == 1:
            starts += self.bases
            return starts, starts + self.width, self.slots.repeat(len(rows))
        pages = self.fences.searchsorted(rows, "right")
        starts += self.bases[pages]
        return starts, starts + self.width, self.slots[pages]


def flat_cells_of(stack: Stack, kind: pa.DataType, fences: Int64s, places: Int64s) -> FlatCells | None:
    """The cells of a column all of whose pages are in one stack; None where they are not plain, or have nulls.

    fences: int64[p + 1], the first row of each page, and how many rows there are. places: int64[p], of each page in the
    stack. Raises Corrupt where a page is too short.
    """
    width = flat_width(kind)
    if not width or stack.encoding != Plain.name or stack.validity is not None:
        return None
    bases = _first_cells(stack, width)[places] - fences[:-1] * width
    return FlatCells(fences[1:-1], bases, stack.slots[places], width)


def _first_cells(stack: Stack, width: int) -> Int64s:
    """int64[p]: where the cells of each page begin in the file. Raises Corrupt."""
    return stack.once(("cells", width), lambda: stack.place(0, stack.num_rows * width))


def _zeroed(array: pa.Array, data: Bytes) -> Bytes:
    """The same values with zeros under nulls: what was masked out is not stored."""
    valid = valid_of(array)
    if pa.types.is_boolean(array.type):
        return data & np.packbits(valid, bitorder="little")
    cells = data.reshape(len(array), -1).copy()
    cells[~valid] = 0
    return cells.reshape(-1)
