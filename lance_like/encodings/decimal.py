"""Decimal: the integers of decimals, of whatever width, as 64-bit integers (format_spec/encodings/decimal.md)."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from lance_like.encodings.base import Encoded, Hints
from lance_like.encodings.physical import flat_array, flat_bytes, flat_width, valid_of
from lance_like.encodings.pool import allocate, batches
from lance_like.encodings.registry import encode_array, nbytes_of, read_node
from lance_like.encodings.sift import (
    NUMBER_TYPE,
    Flags,
    Sieve,
    int64s,
    numbers_below,
    numbers_between,
    read_chosen,
    read_judged,
)
from lance_like.encodings.stack import Reading, Runs, Stack
from lance_like.typing_ import Int64s

# Numbers must save at least this share of the bytes: a read that copies nothing becomes one that fills memory.
_WORTH = 0.75


class Decimal:
    """For decimals of at most 18 digits, and longer types that hold no larger numbers. Child 0: the integers."""

    name = "decimal"
    shape: tuple[str, ...] = ()

    def encode(self, array: pa.Array, hints: Hints) -> Encoded | None:
        data, width = flat_bytes(array), flat_width(array.type)
        if not pa.types.is_decimal(array.type) or data is None or width is None:
            return None
        numbers = _numbers(data, width, valid_of(array) if array.null_count else None)
        if numbers is None:
            return None
        # In whole bytes: the sums of columns that they are mostly asked for take them as fast as they are decoded.
        child = encode_array(pa.array(numbers), hints, ranged=True)
        if nbytes_of(child) > _WORTH * len(data):
            return None
        return Encoded(self.name, len(array), children=(child,))

    def read(self, stack: Stack, kind: pa.DataType, runs: Runs) -> Reading[pa.Array]:
        numbers = yield from read_node(_child(stack, kind), NUMBER_TYPE, runs)
        return _decimals(stack, kind, numbers)

    def choose(self, stack: Stack, kind: pa.DataType, runs: Runs, rows: Int64s) -> Reading[pa.Array]:
        """Only the numbers of chosen rows are widened."""
        numbers = yield from read_chosen(_child(stack, kind), NUMBER_TYPE, runs, rows)
        return _decimals(stack, kind, numbers)

    def judge(self, stack: Stack, kind: pa.DataType, runs: Runs, test: Sieve) -> Reading[Flags]:
        """Compare numbers, where that is all: no decimal is made."""
        if test.between is None:
            return test.of_values((yield from self.read(stack, kind, runs)))
        return (yield from read_judged(_child(stack, kind), NUMBER_TYPE, runs, numbers_between(*test.between)))


def _child(stack: Stack, kind: pa.DataType) -> Stack:
    """The numbers of a stack. Raises Corrupt for a type that is no decimal."""
    if not pa.types.is_decimal(kind):
        raise stack.corrupt(f"it cannot hold the type {kind}")
    return numbers_below(stack)


def _numbers(data: np.ndarray, width: int, valid: np.ndarray | None) -> Int64s | None:
    """Integers of some bytes as 64-bit ones, the smallest in the place of nulls; None if one needs more."""
    words = data.view("<i4" if width == 4 else "<i8").reshape(-1, max(1, width // 8))
    numbers = words[:, 0].astype(np.int64)
    if valid is not None:
        numbers[~valid] = np.min(numbers, where=valid, initial=np.iinfo(np.int64).max)
    for place in range(1, words.shape[1]):
        fits = words[:, place] == numbers >> 63
        if not (fits if valid is None else fits | ~valid).all():
            return None
    return numbers


def _decimals(stack: Stack, kind: pa.DataType, array: pa.Array) -> pa.Array:
    """Integers as decimals of a type."""
    numbers = int64s(stack, array)
    width = flat_width(kind)
    assert width is not None
    if width == 8:
        return flat_array(kind, numbers.view(np.uint8), len(numbers))
    if width == 4:
        cut = numbers.astype("<i4")
        stack.require(bool((cut == numbers).all()), "a number has more than 32 bits")
        return flat_array(kind, cut.view(np.uint8), len(cut))
    words = allocate(len(numbers) * (width // 8), np.int64).reshape(-1, width // 8)
    for some in batches(len(numbers)):
        words[some, 0] = numbers[some]
        words[some, 1:] = (numbers[some] >> 63)[:, None]
    return flat_array(kind, words.reshape(-1).view(np.uint8), len(numbers))
