"""Constant: every row is the same value, or every row is null (format_spec/encodings/constant.md)."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from lance_like.encodings.base import Encoded, Hints
from lance_like.encodings.physical import (
    buffer_bytes,
    flat_array,
    flat_bytes,
    flat_width,
    is_variable,
    null_array,
    offsets_of,
)
from lance_like.encodings.stack import Reading, Runs, Stack
from lance_like.errors import Corrupt
from lance_like.typing_ import Bytes

# A longer value would make the description, which every take of the page reads, larger than a block.
_MAX_VALUE = 1024
_MAX_NBYTES = 2 << 30


class Constant:
    """No buffers: the value stands in the description as hexadecimal text, null when every row is null."""

    name = "constant"
    shape = ("x",)

    def encode(self, array: pa.Array, hints: Hints) -> Encoded | None:
        if pa.types.is_null(array.type) or (len(array) and array.null_count == len(array)):
            return Encoded(self.name, len(array), {"x": None})
        value = _repeated(array.drop_null()) if len(array) else None
        return None if value is None else Encoded(self.name, len(array), {"x": value.tobytes().hex()})

    def read(self, stack: Stack, kind: pa.DataType, runs: Runs) -> Reading[pa.Array]:
        stack.require("x" in stack.node.params, "its value is missing")
        text = stack.node.params["x"]
        # The only rows that take no bytes in the page: bound them, or a damaged count fills the memory.
        width = len(str(text)) // 2 if text is not None else flat_width(kind) or 1
        rows = int(stack.num_rows.max())
        if rows * max(1, width) > _MAX_NBYTES:
            raise Corrupt(f"a constant page says it has {rows:,} rows", kind="limit")
        if text is None:
            stack.require(stack.validity is None, "it is null and has a validity bitmap")
            return null_array(runs.count, kind)
        return _repeated_value(stack, kind, _parse(stack, text), runs.count)
        yield  # a conversation that asks for nothing


_LARGE = (pa.large_string(), pa.large_binary())


def _repeated_value(stack: Stack, kind: pa.DataType, value: Bytes, num_rows: int) -> pa.Array:
    if pa.types.is_boolean(kind):
        stack.require(len(value) == 1 and value[0] <= 1, "a boolean is one byte, 00 or 01")
        return _repeat(pa.array([bool(value[0])]), num_rows)
    if is_variable(kind):
        offsets = np.array([0, len(value)], np.int64 if kind in _LARGE else np.int32)
        cell = pa.Array.from_buffers(kind, 1, [None, pa.py_buffer(offsets), pa.py_buffer(value)])
        return _repeat(cell, num_rows)
    stack.require(flat_width(kind) == len(value), f"{len(value)} bytes cannot be one {kind}")
    return flat_array(kind, np.tile(value, num_rows), num_rows)


def _parse(stack: Stack, text: object) -> Bytes:
    try:
        # bytes.fromhex skips spaces.
        if isinstance(text, str) and len(text) == 2 * len(bytes.fromhex(text)):
            return np.frombuffer(bytes.fromhex(text), np.uint8)
    except ValueError:
        pass
    raise stack.corrupt(f"its value {text!r:.40} is not hexadecimal text")


def _repeat(cell: pa.Array, num_rows: int) -> pa.Array:
    return cell.take(pa.array(np.zeros(num_rows, np.int64)))


def _repeated(array: pa.Array) -> Bytes | None:
    """The bytes of the one value that every row of an array without nulls has, or None."""
    n = len(array)
    if pa.types.is_boolean(array.type):
        return np.array([array[0].as_py()], np.uint8) if array.true_count in (0, n) else None
    if is_variable(array.type):
        offsets = offsets_of(array)
        width = int(offsets[1] - offsets[0])
        if width > _MAX_VALUE or (np.diff(offsets) != width).any():
            return None
        data = buffer_bytes(array.buffers()[2])[offsets[0] : offsets[-1]]
    else:
        flat = flat_bytes(array)
        if flat is None or len(flat) // n > _MAX_VALUE:
            return None
        data, width = flat, len(flat) // n
    cells = data.reshape(n, width)
    # A probe of the last row first: it settles nearly every page that is not constant.
    if (cells[-1] != cells[0]).any() or (cells[: min(n, 64)] != cells[0]).any():
        return None
    return cells[0] if (cells == cells[0]).all() else None
