"""Narrow: integers as unsigned differences from a base, in 1 to 7 bytes each (format_spec/encodings/narrow.md)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import pyarrow as pa

from lance_like.encodings.base import Encoded, Hints, Node, int_param
from lance_like.encodings.physical import (
    flat_array,
    flat_bytes,
    integer_dtype,
    is_integer_like,
    unsigned_dtype,
    valid_of,
)
from lance_like.encodings.pool import BATCH_ROWS, allocate, batches
from lance_like.encodings.sift import Flags, Sieve
from lance_like.encodings.stack import Reading, Runs, Stack
from lance_like.errors import Corrupt
from lance_like.kernels import widen
from lance_like.typing_ import Bytes, Int64s

_MAX_UINT64 = (1 << 64) - 1


class Narrow:
    """One buffer: num_rows x stride bytes, little-endian; value = base + difference, modulo the type's width."""

    name = "narrow"
    shape = ("stride",)

    def encode(self, array: pa.Array, hints: Hints) -> Encoded | None:
        if array.null_count == len(array):
            return None
        values, low, high = values_and_range(array)
        stride = max(1, ((high - low).bit_length() + 7) // 8)
        if stride >= array.type.bit_width // 8:
            return None
        data = _in_strides(values, low, stride)
        return Encoded(self.name, len(array), {"base": str(low), "stride": stride}, (data,))

    def read(self, stack: Stack, kind: pa.DataType, runs: Runs) -> Reading[pa.Array]:
        check_integer_like(stack, kind)
        stride, first = stack.once("opened", lambda: self._opened(stack))
        (data,) = yield [stack.cells(first, runs, stride)]
        return _integers(kind, data, stride, base_by_row(bases_of(stack), runs))

    def judge(self, stack: Stack, kind: pa.DataType, runs: Runs, test: Sieve) -> Reading[Flags]:
        """Compare differences: no value is made."""
        stride, first = stack.once("opened", lambda: self._opened(stack))
        most = (1 << 8 * stride) - 1
        bounds = bounds_of_differences(stack, kind, runs, test, most)
        if bounds is None:
            return test.of_values((yield from self.read(stack, kind, runs)))
        low, high = bounds
        if low > high or bounds == (0, most):
            return np.full(runs.count, low <= high)
        (data,) = yield [stack.cells(first, runs, stride)]
        return _are_between(data, stride, low, high)

    @staticmethod
    def _opened(stack: Stack) -> tuple[int, Int64s]:
        """The stride, and where the differences of each page begin."""
        stride = int_param(stack.node, "stride", 1, 7)
        return stride, stack.place(0, stack.num_rows * stride)


def bounds_of_differences(
    stack: Stack, kind: pa.DataType, runs: Runs, test: Sieve, most: int
) -> tuple[int, int] | None:
    """The least and the largest difference from the base of one page that pass a test, of 0 … most; none where the
    first is larger. None where only values can be compared.

    Raises Corrupt for a type that is no integer.
    """
    check_integer_like(stack, kind)
    if test.between is None or len(runs.at) > 1:
        return None
    base, (least, highest) = int(base_by_row(bases_of(stack), runs)[0]), _domain(integer_dtype(kind))
    base -= base >> 63 << 64
    if base < least or base + most > highest:
        return None
    low, high = test.between
    return max(0, low - base), min(most, high - base)


@cache
def _domain(dtype: np.dtype) -> tuple[int, int]:
    """The least and the largest integer of a type."""
    found = np.iinfo(dtype)
    return int(found.min), int(found.max)


def _are_between(data: Bytes, stride: int, low: int, high: int) -> Flags:
    """Which differences of a stride are in low … high, both included: bool[n]."""
    width = next(width for width in (1, 2, 4, 8) if stride <= width)
    words = data.view(f"<u{width}") if stride == width else allocate(len(data) // stride, f"<u{width}")
    if stride < width:
        widen(data, stride, 0, words)
    flags, word = allocate(len(words), np.bool_), words.dtype.type
    if not low:
        return np.less_equal(words, word(high), out=flags)
    # What is below `low` wraps to far above.
    above = np.subtract(words, word(low), out=allocate(len(words), words.dtype) if stride == width else words)
    return np.less_equal(above, word(high - low), out=flags)


def check_integer_like(stack: Stack, kind: pa.DataType) -> None:
    """Raise Corrupt unless a type is stored as integers."""
    if not is_integer_like(kind):
        raise stack.corrupt(f"it cannot hold the type {kind}")


def values_and_range(array: pa.Array) -> tuple[np.ndarray, int, int]:
    """The values of an integer-like array with the smallest in the place of nulls, the smallest and the largest.

    At least one value is not null.
    """
    data = flat_bytes(array)
    assert data is not None
    values = data.view(integer_dtype(array.type))
    if array.null_count:
        valid = valid_of(array)
        highest = np.iinfo(values.dtype).max
        values = np.where(valid, values, np.where(valid, values, highest).min())
    return values, int(values.min()), int(values.max())


def differences_from(values: np.ndarray, base: int, out: np.ndarray) -> np.ndarray:
    """uint64[n] differences of integers from a base, modulo 2^64, written to `out` and returned."""
    wide = np.dtype("<u8" if values.dtype.kind == "u" else "<i8")
    return np.subtract(values.astype(wide, copy=False).view("<u8"), np.uint64(base & _MAX_UINT64), out=out)


def _in_strides(values: np.ndarray, base: int, stride: int) -> Bytes:
    """The low bytes of differences from a base, end to end."""
    out = allocate(len(values) * stride, np.uint8)
    scratch = np.empty(min(BATCH_ROWS, len(values)), np.uint64)
    for rows in batches(len(values)):
        differences = differences_from(values[rows], base, scratch[: rows.stop - rows.start])
        store(differences, stride, out[rows.start * stride :], (stride,))
    return out


def store(differences: np.ndarray, stride: int, out: Bytes, strides: tuple[int, ...]) -> None:
    """Write the low bytes of uint64 differences of any shape to the front of `out`.

    stride: how many of the low bytes. strides: how far apart they go, in bytes, one a dimension.
    """
    done = 0
    # A store of 4, 2 and 1 bytes each, as many as the stride has.
    for size in (4, 2, 1):
        if stride & size:
            cells = np.ndarray(differences.shape, f"<u{size}", out, done, strides)
            np.copyto(cells, differences >> np.uint64(8 * done) if done else differences, casting="unsafe")
            done += size


def bases_of(stack: Stack) -> np.ndarray:
    """uint64[p]: the base of each page, modulo 2^64; uint64[1] when it is the same for all."""
    return stack.once("base", lambda: alike([base_of(node) & _MAX_UINT64 for node in stack.nodes], np.uint64))


def alike(values: Sequence[float] | np.ndarray, dtype: type) -> np.ndarray:
    """A value a page: dtype[p], or dtype[1] when it is the same for all."""
    array = np.array(values, dtype)
    return array[:1] if (array == array[0]).all() else array


def base_by_row(bases: np.ndarray, runs: Runs) -> np.ndarray:
    """The bases of rows: uint64[count], or uint64[1] when it is the same for all. bases: as `alike` gives them."""
    if len(bases) == 1:
        return bases
    return bases[runs.at] if len(runs.at) == 1 else runs.by_row(bases)


def base_of(node: Node) -> int:
    """The base of a page. Raises Corrupt."""
    return integer_text(node, "base", -(1 << 63), _MAX_UINT64)


def integer_text(node: Node, name: str, low: int, high: int) -> int:
    """A parameter that is a decimal text, since JSON numbers end at 2^53, between two bounds. Raises Corrupt."""
    text = node.params.get(name)
    if isinstance(text, str) and len(text) <= 21 and text.isascii() and text.removeprefix("-").isdecimal():
        number = int(text)
        if low <= number <= high:
            return number
    raise Corrupt(f"encoding {node.encoding!r}: its {name} is {text!r:.40}", kind="page")


def _integers(kind: pa.DataType, data: Bytes, stride: int, base: np.ndarray) -> pa.Array:
    """An integer-like array from differences of a stride and their bases, modulo the width of the type.

    base: uint64[n], or uint64[1] for all.
    """
    num_rows = len(data) // stride
    if num_rows == 1:
        # In a fifth of the time that kernels take to start.
        width = kind.bit_width // 8
        value = int.from_bytes(data.tobytes(), "little") + int(base[0]) & (1 << 8 * width) - 1
        return flat_array(kind, np.frombuffer(value.to_bytes(width, "little"), np.uint8), 1)
    out = allocate(num_rows, unsigned_dtype(kind))
    # In one piece: with a part in the cache at a time, two threads wait longer for the GIL than memory takes.
    widen(data, stride, int(base[0]) if len(base) == 1 else 0, out)
    if len(base) != 1:
        np.add(out, base.astype(out.dtype, copy=False), out=out)
    return flat_array(kind, out.view(np.uint8), num_rows)
