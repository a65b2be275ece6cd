"""Constant: every row is the same value, or every row is null (format_spec/encodings/constant.md)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from lance_like.encodings.base import Encoded, Hints
from lance_like.encodings.joining import taken
from lance_like.encodings.physical import (
    buffer_bytes,
    flat_array,
    flat_bytes,
    flat_width,
    is_variable,
    null_array,
    offsets_of,
    with_validity,
)
from lance_like.encodings.sift import Flags, Sieve
from lance_like.encodings.stack import Reading, Runs, Stack
from lance_like.errors import Corrupt
from lance_like.ranges import lengths_to_offsets
from lance_like.typing_ import Bytes

# A longer value would make the description, which every take of the page reads, larger than a block.
_MAX_VALUE = 1024
_MAX_NBYTES = 2 << 30


class Constant:
    """No buffers: the value stands in the description as hexadecimal text, null when every row is null."""

    name = "constant"
    shape: tuple[str, ...] = ()

    def encode(self, array: pa.Array, hints: Hints) -> Encoded | None:
        if pa.types.is_null(array.type) or (len(array) and array.null_count == len(array)):
            return Encoded(self.name, len(array), {"x": None})
        value = _repeated(array.drop_null() if array.null_count else array) if len(array) else None
        return None if value is None else Encoded(self.name, len(array), {"x": value.tobytes().hex()})

    def read(self, stack: Stack, kind: pa.DataType, runs: Runs) -> Reading[pa.Array]:
        texts = stack.once("x", lambda: _texts(stack))
        # The only rows that take no bytes in the page: bound them, or a damaged count fills the memory.
        width = max(flat_width(kind) or 1 if text is None else len(text) // 2 for text in set(texts))
        rows = int(stack.num_rows.max())
        if rows * max(1, width) > _MAX_NBYTES:
            raise Corrupt(f"a constant page says it has {rows:,} rows", kind="limit")
        text = texts[0]
        if len(texts) > 1 and len(set(texts)) > 1:
            cells = stack.once(("cells", kind), lambda: _cells(stack, kind, texts))
            return taken(cells, pa.array(runs.by_row(np.arange(len(texts)))))
        if text is None:
            return null_array(runs.count, kind)
        return _repeated_value(stack, kind, text, runs.count)
        yield  # a conversation that asks for nothing

    def judge(self, stack: Stack, kind: pa.DataType, runs: Runs, test: Sieve) -> Reading[Flags]:
        """Test the one value."""
        value = yield from self.read(stack, kind, Runs(runs.at, runs.starts, runs.starts + 1))
        return np.full(runs.count, test.of_values(value)[0])


_LARGE = (pa.large_string(), pa.large_binary())


def _texts(stack: Stack) -> list[str | None]:
    """The parameter of each page. Raises Corrupt."""
    found: list[str | None] = []
    for node in stack.nodes:
        stack.require("x" in node.params, "its value is missing")
        text = node.params["x"]
        if not (text is None or isinstance(text, str)):
            raise _no_value(stack, text)
        stack.require(text is not None or stack.validity is None, "it is null and has a validity bitmap")
        found.append(text)
    return found


def _cells(stack: Stack, kind: pa.DataType, texts: Sequence[str | None]) -> pa.Array:
    """The value of each text, one row each."""
    values = [None if text is None else _parse(stack, text) for text in texts]
    if pa.types.is_boolean(kind):
        stack.require(all(value in (None, b"\0", b"\1") for value in values), "a boolean is one byte, 00 or 01")
        return pa.array([None if value is None else value == b"\1" for value in values])
    width = flat_width(kind)
    if is_variable(kind):
        offsets = lengths_to_offsets(np.array([len(value or b"") for value in values], np.int64))
        data = b"".join([value or b"" for value in values])
        stored = offsets.astype(np.int64 if kind in _LARGE else np.int32)
        array = pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(stored), pa.py_buffer(data)])
    else:
        wrong = next((value for value in values if value is not None and len(value) != width), None)
        if width is None or wrong is not None:
            raise stack.corrupt(f"{len(wrong or b'')} bytes cannot be one {kind}")
        data = b"".join([bytes(width) if value is None else value for value in values])
        array = flat_array(kind, np.frombuffer(data, np.uint8), len(values))
    if None not in values:
        return array
    return with_validity(array, np.packbits([value is not None for value in values], bitorder="little"))


def _repeated_value(stack: Stack, kind: pa.DataType, text: str, num_rows: int) -> pa.Array:
    if pa.types.is_boolean(kind) or is_variable(kind):
        return _cells(stack, kind, [text]).take(pa.array(np.zeros(num_rows, np.int64)))
    value = np.frombuffer(_parse(stack, text), np.uint8)
    stack.require(flat_width(kind) == len(value), f"{len(value)} bytes cannot be one {kind}")
    return flat_array(kind, np.tile(value, num_rows), num_rows)


def _parse(stack: Stack, text: str) -> bytes:
    try:
        value = bytes.fromhex(text)
        # bytes.fromhex skips spaces.
        if len(text) == 2 * len(value):
            return value
    except ValueError:
        pass
    raise _no_value(stack, text)


def _no_value(stack: Stack, found: object) -> Corrupt:
    return stack.corrupt(f"its value {found!r:.40} is not hexadecimal text")


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
    if n == 1:
        return cells[0]
    # A probe of the last row first: it settles nearly every page that is not constant.
    if cells[-1].tobytes() != cells[0].tobytes() or (cells[: min(n, 64)] != cells[0]).any():
        return None
    return cells[0] if (cells == cells[0]).all() else None
