"""Hashes of keys, 64 bits each, computed for many at once (format_spec/index/bloomfilter.md, "Hash")."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from lance_like.encodings.physical import buffer_bytes, offsets_of
from lance_like.index.scalar.keys import Keys, NumberKeys, TextKeys
from lance_like.typing_ import Int64s

Hashes: TypeAlias = npt.NDArray[np.uint64]

# Of splitmix64, and an odd number whose powers the bytes of a cell are multiplied with.
_STEP, _FIRST, _SECOND = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_POWER = 0x2127599BF4325C37


def hashes_of(keys: Keys) -> Hashes:
    """uint64[n]: numbers as 64-bit integers, mixed; cells as polynomials of their bytes and their length, mixed."""
    if isinstance(keys, TextKeys):
        return _of_cells(offsets_of(keys.cells), buffer_bytes(keys.cells.buffers()[2]))
    assert isinstance(keys, NumberKeys)
    numbers = keys.numbers
    if numbers.dtype.kind == "S":
        width = numbers.dtype.itemsize
        data = np.ascontiguousarray(numbers).view(np.uint8)
        return _of_cells(np.arange(len(numbers) + 1) * width, data)
    return _mixed(numbers.astype(np.int64).view(np.uint64) if numbers.dtype.kind == "i" else numbers.astype(np.uint64))


def _of_cells(offsets: Int64s, data: np.ndarray) -> Hashes:
    lengths = np.diff(offsets)
    data = data[offsets[0] : offsets[-1]]
    within = np.arange(len(data), dtype=np.int64) - np.repeat(offsets[:-1] - offsets[0], lengths)
    with np.errstate(over="ignore"):
        terms = (data.astype(np.uint64) + np.uint64(1)) * _powers(int(lengths.max(initial=0)))[within]
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms)])
        return _mixed(sums[offsets[1:] - offsets[0]] - sums[offsets[:-1] - offsets[0]] + lengths.astype(np.uint64))


def _powers(count: int) -> Hashes:
    with np.errstate(over="ignore"):
        return np.cumprod(np.full(count, _POWER, np.uint64))


def _mixed(numbers: Hashes) -> Hashes:
    """The finish of splitmix64."""
    with np.errstate(over="ignore"):
        mixed = numbers + _STEP
        mixed = (mixed ^ (mixed >> np.uint64(30))) * _FIRST
        mixed = (mixed ^ (mixed >> np.uint64(27))) * _SECOND
        return mixed ^ (mixed >> np.uint64(31))


__all__ = ["Hashes", "hashes_of"]
