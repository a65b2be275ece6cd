"""Equal stretches of small numbers encoded in one go: the trees that `encode_array` gives of each, at a fraction of
the cost. A table of thousands of columns has as many small pages."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from lance_like.encodings.base import Encoded, Hints
from lance_like.encodings.bitpack import LEAST_SAVED_NBYTES
from lance_like.encodings.narrow import store
from lance_like.encodings.physical import flat_bytes, integer_dtype, is_integer_like
from lance_like.encodings.registry import is_small


def is_alike(array: pa.Array, hints: Hints) -> bool:
    """True for small numbers without a null that take whole bytes, since their file is wide or they are few."""
    if not is_small(array) or array.null_count or hints.choice.encoding is not None:
        return False
    return hints.wide or not is_integer_like(array.type) or array.nbytes <= LEAST_SAVED_NBYTES


def encode_alike(array: pa.Array, rows: int) -> list[Encoded]:
    """Encode an array of numbers in stretches of `rows` rows of which each `is_alike`."""
    data = flat_bytes(array)
    assert data is not None
    cells = data.reshape(len(array) // rows, -1)
    trees = [Encoded("plain", rows, buffers=(stretch,)) for stretch in cells]
    if is_integer_like(array.type):
        for stretch, tree in _narrow(data.view(integer_dtype(array.type)).reshape(-1, rows)):
            trees[stretch] = tree
    for stretch, value in _constants(cells, rows):
        trees[stretch] = Encoded("constant", rows, {"x": value})
    return trees


def _constants(cells: np.ndarray, rows: int) -> Iterator[tuple[int, str]]:
    """The stretches whose values are all the same, by their bits, and the value as hexadecimal text."""
    width = cells.shape[1] // rows
    values = cells.view(f"<u{width}")
    # A probe of the last row first: it settles nearly every stretch that is not constant.
    for stretch in np.flatnonzero(values[:, 0] == values[:, -1]).tolist():
        if (values[stretch] == values[stretch, 0]).all():
            yield stretch, cells[stretch, :width].tobytes().hex()


def _narrow(values: np.ndarray) -> Iterator[tuple[int, Encoded]]:
    """The stretches that are narrower as differences from their smallest value. values: ints[stretches, rows]."""
    rows = values.shape[1]
    wide = np.dtype("<u8" if values.dtype.kind == "u" else "<i8")
    lows = values.min(axis=1).astype(wide)
    spreads = values.max(axis=1).astype(wide).view("<u8") - lows.view("<u8")
    strides = 1 + (spreads[:, None] >> np.arange(8, 64, 8, dtype=np.uint64) != 0).sum(axis=1)
    for stride in set(strides.tolist()) - {values.itemsize}:
        chosen = np.flatnonzero(strides == stride)
        differences = values[chosen].astype(wide).view("<u8") - lows[chosen, None].view("<u8")
        data = np.empty((len(chosen), rows * stride), np.uint8)
        store(differences, stride, data.reshape(-1), (rows * stride, stride))
        for stretch, base, packed in zip(chosen.tolist(), lows[chosen].tolist(), data, strict=True):
            yield stretch, Encoded("narrow", rows, {"base": str(base), "stride": stride}, (packed,))
