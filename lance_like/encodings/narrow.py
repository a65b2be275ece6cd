"""Narrow: integers as unsigned differences from a base, in 1 to 7 bytes each (format_spec/encodings/narrow.md)."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from lance_like.encodings.base import Direct, Encoded, Hints, Node, buffer_of, corrupt_unless, int_param
from lance_like.encodings.physical import flat_array, flat_bytes, integer_dtype, is_integer_like
from lance_like.typing_ import Bytes, Conversation, Int64s


class Narrow:
    """One buffer: num_rows x stride bytes, little-endian; value = base + difference, modulo the type's width."""

    name = "narrow"

    def encode(self, array: pa.Array, hints: Hints) -> Encoded | None:
        if array.null_count == len(array):
            return None
        differences, base = differences_from_base(array)
        stride = max(1, (int(differences.max()).bit_length() + 7) // 8)
        if stride >= array.type.bit_width // 8:
            return None
        wide = differences.astype("<u8", copy=False).view(np.uint8).reshape(-1, 8)
        data = np.ascontiguousarray(wide[:, :stride]).reshape(-1)
        return Encoded(self.name, len(array), {"base": str(base), "stride": stride}, (data,))

    def read(self, node: Node, kind: pa.DataType, starts: Int64s, ends: Int64s) -> Conversation[pa.Array]:
        place = self.direct(node, kind)
        (data,) = yield [(place.start + starts * place.width, place.start + ends * place.width)]
        return integers(kind, widen(data, place.width), place.base or 0)

    def direct(self, node: Node, kind: pa.DataType) -> Direct:
        corrupt_unless(is_integer_like(kind), node, f"it cannot hold the type {kind}")
        stride = int_param(node, "stride", 1, 7)
        return Direct(buffer_of(node, 0, node.num_rows * stride), stride, base_of(node))


def differences_from_base(array: pa.Array) -> tuple[np.ndarray, int]:
    """uint64[n] differences of an integer-like array from its smallest value, and that value.

    A null counts as the smallest value. The array has at least one valid value.
    """
    data = flat_bytes(array)
    assert data is not None
    values = data.view(integer_dtype(array.type))
    if array.null_count:
        valid = array.is_valid().to_numpy(zero_copy_only=False)
        values = np.where(valid, values, values[valid].min())
    base = values.min()
    wide = "<u8" if values.dtype.kind == "u" else "<i8"
    return values.astype(wide).view("<u8") - np.array(base).astype(wide).view("<u8"), int(base)


def base_of(node: Node) -> int:
    """The base of a narrow or bit-packed node: a decimal text, since JSON numbers end at 2^53."""
    text = node.params.get("base")
    valid = isinstance(text, str) and len(text) <= 21 and text.removeprefix("-").isdecimal() and text.isascii()
    corrupt_unless(valid, node, f"its base is {text!r:.40}")
    base = int(str(text))
    corrupt_unless(-(1 << 63) <= base < 1 << 64, node, f"its base is {base}")
    return base


def widen(data: Bytes, stride: int) -> np.ndarray:
    """Little-endian unsigned integers of a stride of 1 to 7 bytes, as an array of u1, u2, u4 or u8."""
    if stride in (1, 2, 4):
        return data.view(f"<u{stride}") if data.flags.c_contiguous else data.copy().view(f"<u{stride}")
    num_rows = len(data) // stride
    size = 4 if stride == 3 else 8
    # Overlapping loads of the next wider integer, masked; the last rows have no bytes behind them to load.
    loaded = max(0, (len(data) - size) // stride + 1)
    out = np.zeros(num_rows, f"<u{size}")
    if loaded:
        view = np.ndarray((loaded,), f"<u{size}", buffer=data, strides=(stride,))
        np.bitwise_and(view, out.dtype.type((1 << (8 * stride)) - 1), out=out[:loaded])
    rest = np.zeros((num_rows - loaded, size), np.uint8)
    rest[:, :stride] = data[loaded * stride :].reshape(-1, stride)
    out[loaded:] = rest.reshape(-1).view(f"<u{size}")
    return out


def integers(kind: pa.DataType, differences: np.ndarray, base: int | np.ndarray) -> pa.Array:
    """An integer-like array from unsigned differences and their base, modulo the width of the type.

    base: one for all, or uint64[n].
    """
    unsigned = np.dtype(f"<u{integer_dtype(kind).itemsize}")
    # Widened values are fresh and may be changed in place; a view of stored bytes is copied.
    fresh = differences.dtype == unsigned and differences.flags.writeable
    values = differences if fresh else differences.astype(unsigned)
    values += base.astype(unsigned) if isinstance(base, np.ndarray) else wrapped(base).astype(unsigned)
    return flat_array(kind, values.view(np.uint8), len(values))


def wrapped(base: int) -> np.uint64:
    """A base as an unsigned integer, modulo 2^64."""
    return np.uint64(base & 0xFFFFFFFFFFFFFFFF)
