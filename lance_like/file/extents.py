"""Counts and bounds of the rows of an array, zone by zone: what zone statistics are made of (format_spec/file.md,
"Zones"). Pure: `lance_like.file.stats` adds the extents of a column's pages up.

Numbers of a page are compared in one go, text and wide decimals by one call of Arrow a zone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lance_like.encodings.physical import (
    buffer_bytes,
    flat_bytes,
    flat_width,
    integer_dtype,
    is_integer_like,
    unpack_bits,
    valid_of,
)

Bound: TypeAlias = Any
"""int, float or bytes, one of them in a column: numbers as numbers, decimals unscaled, text as its first bytes."""

# One byte more than a bound has room for: enough to tell that a value was cut.
PREFIX_NBYTES = 33
# From here on the texts of a zone are cut before they are compared.
_LARGE_NBYTES = 1 << 20
# In the place of the greatest value of bytes where only that there is one is known: no text and no prefix is above it.
ABOVE_ALL = b"\xff" * PREFIX_NBYTES


@dataclass(slots=True)
class Extent:
    """Some rows of one zone.

    low, high: of the values that are neither null nor NaN; None: there is none. low_cut, high_cut: what another file
    kept of a value that was longer, and so a bound only.
    """

    rows: int
    null_count: int
    nan_count: int = 0
    low: Bound | None = None
    high: Bound | None = None
    low_cut: bool = False
    high_cut: bool = False

    def widen(self, other: Extent) -> None:
        """Take in other rows of the same column."""
        self.rows += other.rows
        self.null_count += other.null_count
        self.nan_count += other.nan_count
        if other.low is None or other.high is None:
            return
        if self.low is None or other.low < self.low:
            self.low, self.low_cut = other.low, other.low_cut
        if self.high is None or self.high < other.high:
            self.high, self.high_cut = other.high, other.high_cut


def extents_of(array: pa.Array, *, room: int, zone_rows: int, ordered: bool) -> Iterator[Extent]:
    """Cut an array where zones end and sum up each piece.

    array: no extension array. room: rows until the first zone ends. ordered: whether its type has bounds.
    """
    values = numbers_of(array) if ordered else None
    if values is not None and 0 < len(array) <= room:
        yield _extent_of_numbers(array, values)
        return
    head = min(room, len(array))
    last = len(array) - (len(array) - head) % zone_rows
    for start, end in ((0, head), (head, last), (last, len(array))):
        rows = min(zone_rows, end - start)
        if not rows:
            continue
        if values is not None:
            yield from extents_of_numbers(array.slice(start, end - start), values[start:end].reshape(-1, rows))
        else:
            for first in range(start, end, rows):
                yield _extent(array.slice(first, rows), ordered)


def numbers_of(array: pa.Array) -> np.ndarray | None:
    """The values of an array in a dtype that numpy compares; None for types without one. Nulls hold anything."""
    kind, t = array.type, pa.types
    if t.is_boolean(kind):
        return unpack_bits(buffer_bytes(array.buffers()[1]), array.offset, len(array)).view(bool)
    width = flat_width(kind)
    unscaled = t.is_decimal(kind) and width is not None and width <= 8
    if not (unscaled or is_integer_like(kind) or t.is_floating(kind)):
        return None
    data = flat_bytes(array)
    assert data is not None
    if t.is_floating(kind):
        # Halves are compared twelve times faster as singles.
        return data.view("<f2").astype("<f4") if width == 2 else data.view(f"<f{width}")
    return data.view(f"<i{width}" if unscaled else integer_dtype(kind))


def _extent_of_numbers(array: pa.Array, values: np.ndarray) -> Extent:
    """As `extents_of_numbers`, of all rows at once."""
    rows, null_count, nan_count = len(values), array.null_count, 0
    if null_count:
        values = values[valid_of(array)]
    low, high = (values.min(), values.max()) if len(values) else (0, 0)
    # A minimum of values that hold a NaN is NaN.
    if low != low:
        values = values[~np.isnan(values)]
        nan_count = rows - null_count - len(values)
        low, high = (values.min(), values.max()) if len(values) else (0, 0)
    if not len(values):
        return Extent(rows, null_count, nan_count)
    return Extent(rows, null_count, nan_count, low.item(), high.item())


def extents_of_numbers(array: pa.Array, values: np.ndarray) -> Iterator[Extent]:
    """The extents of an array whose values are cut into rows of a matrix, one an extent."""
    pieces, rows = values.shape
    nulls = np.zeros(pieces, np.int64)
    least, most = _limits(values.dtype)
    lows = highs = values
    if array.null_count:
        valid = valid_of(array).reshape(values.shape)
        nulls = rows - np.count_nonzero(valid, axis=1)
        lows, highs = np.where(valid, values, most), np.where(valid, values, least)
    lowest, highest = lows.min(axis=1), highs.max(axis=1)
    nans = np.zeros(pieces, np.int64)
    if values.dtype.kind == "f":
        # A minimum of values that hold a NaN is NaN.
        for piece in np.flatnonzero(np.isnan(lowest)):
            found = np.isnan(lows[piece])
            nans[piece] = np.count_nonzero(found)
            lowest[piece] = np.where(found, most, lows[piece]).min()
            highest[piece] = np.where(found, least, highs[piece]).max()
    bounds = zip(nulls.tolist(), nans.tolist(), lowest.tolist(), highest.tolist(), strict=True)
    for null_count, nan_count, low, high in bounds:
        if null_count + nan_count == rows:
            yield Extent(rows, null_count, nan_count)
        else:
            yield Extent(rows, null_count, nan_count, low, high)


def _limits(dtype: np.dtype) -> tuple[float | int, float | int]:
    """What no value is below, and none above."""
    if dtype.kind == "f":
        return -np.inf, np.inf
    if dtype.kind == "b":
        return False, True
    info = np.iinfo(dtype)
    return info.min, info.max


def _extent(part: pa.Array, ordered: bool) -> Extent:
    extent = Extent(len(part), _count_null(part))
    if ordered and part.null_count < len(part):
        part = _heads(part)
        if len(part) == 1:
            extent.low = extent.high = _bound(part[0])
        else:
            both = pc.min_max(part)
            extent.low, extent.high = _bound(both["min"]), _bound(both["max"])
    return extent


def _heads(part: pa.Array) -> pa.Array:
    """Large cells as their first bytes: bounds keep no more, and Arrow copies cells to compare or hand them out."""
    wide = pa.types.is_large_string(part.type) or pa.types.is_large_binary(part.type)
    if not (wide or pa.types.is_string(part.type) or pa.types.is_binary(part.type)) or part.nbytes < _LARGE_NBYTES:
        return part
    return pc.binary_slice(part.view(pa.large_binary() if wide else pa.binary()), 0, PREFIX_NBYTES)


def _count_null(part: pa.Array) -> int:
    """The rows that read as null: in a dictionary array also those whose value is."""
    if isinstance(part, pa.DictionaryArray) and _count_null(part.dictionary):
        return len(part) - (pc.sum(_is_there(part)).as_py() or 0)
    return part.null_count


def _is_there(part: pa.Array) -> pa.Array:
    """Which rows do not read as null: those whose index, and the value it names, are there."""
    if not isinstance(part, pa.DictionaryArray):
        return part.is_valid()
    return pc.fill_null(_is_there(part.dictionary).take(part.indices), False)


def _bound(value: pa.Scalar) -> Bound:
    if pa.types.is_decimal(value.type):
        data = flat_bytes(pa.repeat(value, 1))
        assert data is not None
        return int.from_bytes(data.tobytes(), "little", signed=True)
    # A prefix: the value may be a large cell.
    return memoryview(value.as_buffer())[:PREFIX_NBYTES].tobytes()
