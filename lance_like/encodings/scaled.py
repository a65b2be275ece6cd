"""Scaled: integers that are multiples of a factor, counted from the smallest (format_spec/encodings/scaled.md)."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from lance_like.encodings.base import Encoded, Hints, Node
from lance_like.encodings.linear import forward_filled
from lance_like.encodings.narrow import (
    alike,
    base_by_row,
    base_of,
    bases_of,
    check_integer_like,
    differences_from,
    integer_text,
)
from lance_like.encodings.physical import flat_array, flat_bytes, integer_dtype, unsigned_dtype, valid_of
from lance_like.encodings.pool import allocate
from lance_like.encodings.registry import encode_array, read_node
from lance_like.encodings.sample import sampled_runs
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

_FEWEST_ROWS = 64
_LARGEST_FACTOR = (1 << 63) - 1
# Rows of each sample that are looked at first: they show that most columns have no factor.
_PROBED = 32
# Numbers must save a share of the bits, and some: a read of them costs a multiplication.
_WORTH, _FEWEST_BITS = 0.75, 4


class Scaled:
    """For times of a coarser unit than their type's, and other round numbers. Child 0: the numbers, 0 or more."""

    name = "scaled"
    shape: tuple[str, ...] = ()

    def encode(self, array: pa.Array, hints: Hints) -> Encoded | None:
        if len(array) - array.null_count < _FEWEST_ROWS:
            return None
        values = _values(array)
        sample = sampled_runs(values)[:, :_PROBED]
        if _common_factor(sample) is None or _is_a_line(sample):
            return None
        low = int(values.min())
        differences = differences_from(values, low, allocate(len(values), np.uint64))
        factor = _common_factor(differences)
        if factor is None:
            return None
        numbers = np.floor_divide(differences, np.uint64(factor), out=differences).view(np.int64)
        params = {"base": str(low), "factor": str(factor)}
        return Encoded(self.name, len(array), params, children=(encode_array(pa.array(numbers), hints),))

    def read(self, stack: Stack, kind: pa.DataType, runs: Runs) -> Reading[pa.Array]:
        numbers = yield from read_node(_child(stack, kind), NUMBER_TYPE, runs)
        return _integers(stack, kind, runs, numbers)

    def choose(self, stack: Stack, kind: pa.DataType, runs: Runs, rows: Int64s) -> Reading[pa.Array]:
        """Only the numbers of chosen rows are multiplied."""
        numbers = yield from read_chosen(_child(stack, kind), NUMBER_TYPE, runs, rows)
        return _integers(stack, kind, runs, numbers)

    def judge(self, stack: Stack, kind: pa.DataType, runs: Runs, test: Sieve) -> Reading[Flags]:
        """Compare numbers, where that is all: none is multiplied."""
        if test.between is None:
            return test.of_values((yield from self.read(stack, kind, runs)))
        node = stack.nodes[int(runs.at[0])]
        base, factor = base_of(node), _factor_of(node)
        low, high = (bound - base for bound in test.between)
        test = numbers_between(-(-low // factor), high // factor)
        return (yield from read_judged(_child(stack, kind), NUMBER_TYPE, runs, test))


def _values(array: pa.Array) -> np.ndarray:
    """The integers of an array, with that of a row before it in the place of a null, so that lines stay lines."""
    data = flat_bytes(array)
    assert data is not None
    values = data.view(integer_dtype(array.type))
    return forward_filled(values, valid_of(array)) if array.null_count else values


def _is_a_line(sample: np.ndarray) -> bool:
    """Do neighbours differ by the same everywhere? Lines take no bytes a row as they are. sample: [runs, rows]."""
    steps = np.diff(sample, axis=1)
    return bool((steps == steps[0, 0]).all())


def _common_factor(values: np.ndarray) -> int | None:
    """The greatest number of which all differences of integers are multiples.

    values: of any shape. None where counting by it gains little, and where no page can name it.
    """
    low, high = int(values.min()), int(values.max())
    flat = values.reshape(-1)
    differences = differences_from(flat, low, np.empty(flat.shape, np.uint64))
    factor = int(np.gcd.reduce(differences[:_PROBED]))
    if factor > 1 and len(flat) > _PROBED:
        rest = np.remainder(differences, np.uint64(factor), out=differences)
        factor = int(np.gcd(np.uint64(factor), np.gcd.reduce(rest[rest > 0]))) if rest.any() else factor
    if not 2 <= factor <= _LARGEST_FACTOR:
        return None
    before, after = (high - low).bit_length(), ((high - low) // factor).bit_length()
    return factor if after <= min(_WORTH * before, before - _FEWEST_BITS) else None


def _child(stack: Stack, kind: pa.DataType) -> Stack:
    """The numbers of a stack. Raises Corrupt for a type that is no integer."""
    check_integer_like(stack, kind)
    return numbers_below(stack)


def _integers(stack: Stack, kind: pa.DataType, runs: Runs, array: pa.Array) -> pa.Array:
    """What numbers stand for, modulo the width of the type."""
    bases = base_by_row(bases_of(stack), runs)
    factors = stack.once("factor", lambda: alike([_factor_of(node) for node in stack.nodes], np.uint64))
    numbers = int64s(stack, array).view(np.uint64)
    values = np.multiply(numbers, base_by_row(factors, runs), out=allocate(len(numbers), np.uint64))
    if len(bases) != 1 or bases[0]:
        np.add(values, bases, out=values)
    cut = values.astype(unsigned_dtype(kind), copy=False)
    return flat_array(kind, cut.view(np.uint8), len(cut))


def _factor_of(node: Node) -> int:
    """The factor of a page. Raises Corrupt."""
    return integer_text(node, "factor", 2, _LARGEST_FACTOR)
