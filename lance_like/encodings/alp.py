"""Alp: floats that are short decimal numbers, as integers (format_spec/encodings/alp.md).

child 0: n numbers, int64; a value is number / 10^exponent, rounded to the nearest float
child 1, when there: the exceptions, floats; number limit + j stands for exception j

After ALP (adaptive lossless floating-point compression), with a division in the place of two multiplications: a
division of exact integers gives the very float that parsing the decimal text gives, so that two decimals need no
exceptions, and outliers can be exceptions too, which keeps the numbers narrow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from lance_like.encodings.base import Encoded, Hints, Node
from lance_like.encodings.exceptions import put_exceptions, stored_bits, window
from lance_like.encodings.narrow import alike, base_by_row
from lance_like.encodings.physical import flat_array, flat_bytes, valid_of
from lance_like.encodings.pool import allocate, batches
from lance_like.encodings.registry import ENCODINGS, encode_array, read_node
from lance_like.encodings.sample import sampled_runs
from lance_like.encodings.sift import NUMBER_TYPE, int64s, read_chosen
from lance_like.encodings.stack import Reading, Runs, Stack
from lance_like.kernels import divide
from lance_like.typing_ import Int64s

# 10^22 is the last power of ten that a double holds exactly.
MAX_EXPONENT = 22
# Not from numpy's power, which may be off by one bit.
_POWERS = np.array([float(10**exponent) for exponent in range(MAX_EXPONENT + 1)])
_MAX_NUMBER = float(1 << 53)
# Exponents tried: two to four decimals are common; what needs more saves little.
_TRIED = {4: 8, 8: 15}
_FEWEST_ROWS = 64
# Values that an exponent is first tried on, all exponents at a time.
_PROBED = 64
# Numbers must save at least this share of the bits: a read of them costs a division and a second child.
_WORTH = 0.8
_DTYPES = {pa.float32(): np.dtype("<f4"), pa.float64(): np.dtype("<f8")}


class Alp:
    """For prices, measurements and other numbers that were written with a few decimals."""

    name = "alp"
    shape: tuple[str, ...] = ()

    def encode(self, array: pa.Array, hints: Hints) -> Encoded | None:
        dtype = _DTYPES.get(array.type)
        if dtype is None or len(array) - array.null_count < _FEWEST_ROWS:
            return None
        data = flat_bytes(array)
        assert data is not None
        values = data.view(dtype)
        valid = valid_of(array) if array.null_count else None
        plan = _plan(values if valid is None else values[valid])
        if plan is None:
            return None
        numbers, other = _numbers(values, plan)
        places = np.flatnonzero(other if valid is None else other & valid)
        if valid is not None:
            other |= ~valid
        bits = 8 * dtype.itemsize
        if stored_bits((plan.high - plan.low).bit_length() - 1) + bits * len(places) / len(array) > _WORTH * bits:
            return None
        numbers[other] = np.min(numbers, where=~other, initial=plan.high)
        params = {"exponent": plan.exponent}
        children = []
        if len(places):
            limit = int(numbers.max()) + 1
            numbers[places] = limit + np.arange(len(places))
            params["limit"] = limit
            children.append(_encode_exceptions(array.type, values[places], hints))
        children.insert(0, encode_array(pa.array(numbers), hints))
        return Encoded(self.name, len(array), params, children=children)

    def read(self, stack: Stack, kind: pa.DataType, runs: Runs) -> Reading[pa.Array]:
        return self._values(stack, kind, runs, read_node(stack.child(0, stack.num_rows), NUMBER_TYPE, runs))

    def choose(self, stack: Stack, kind: pa.DataType, runs: Runs, rows: Int64s) -> Reading[pa.Array]:
        """Only the numbers of chosen rows are divided."""
        return self._values(stack, kind, runs, read_chosen(stack.child(0, stack.num_rows), NUMBER_TYPE, runs, rows))

    def _values(self, stack: Stack, kind: pa.DataType, runs: Runs, read: Reading[pa.Array]) -> Reading[pa.Array]:
        """The floats of the numbers that a read gives, of rows of runs or of some of one run."""
        dtype = _DTYPES.get(kind)
        if dtype is None:
            raise stack.corrupt(f"it cannot hold the type {kind}")
        powers = stack.once("powers", lambda: alike(_POWERS[stack.ints("exponent", 0, MAX_EXPONENT)], np.float64))
        numbers = int64s(stack, (yield from read))
        values = _divided(numbers, base_by_row(powers, runs), dtype)
        if len(stack.children) > 1:
            limits = stack.once("limits", lambda: alike([_limit_of(node, stack) for node in stack.nodes], np.int64))
            yield from put_exceptions(stack, kind, runs, numbers, values, limits)
        return flat_array(kind, values.view(np.uint8), len(values))


def _encode_exceptions(kind: pa.DataType, values: np.ndarray, hints: Hints) -> Encoded:
    """Exceptions as they are: few, and read a row at a time."""
    tree = ENCODINGS.get("plain").encode(flat_array(kind, values.view(np.uint8), len(values)), hints)
    assert tree is not None
    return tree


def _divided(numbers: Int64s, powers: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Numbers as floats, divided in double precision. powers: float64[n], or [1] for all."""
    out = allocate(len(numbers), dtype)
    if len(powers) == 1:
        divide(numbers, float(powers[0]), out)
        return out
    # Only a float of 32 bits can be too small for a number.
    with np.errstate(over="ignore"):
        return np.divide(numbers, powers, out=out, casting="same_kind")


def _limit_of(node: Node, stack: Stack) -> int:
    limit = node.params.get("limit")
    if isinstance(limit, int) and not isinstance(limit, bool) and abs(limit) <= 1 << 53:
        return limit
    raise stack.corrupt(f"parameter 'limit' is {limit!r:.40}, expected an integer of up to 53 bits")


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a sample says: the exponent, the numbers [low, high) that are no exceptions, and bits a row of the page."""

    exponent: int
    low: int
    high: int
    cost: float


def _plan(values: np.ndarray) -> _Plan | None:
    """The exponent and the range that take the fewest bits a row, or None when floats are as good."""
    sample = sampled_runs(values).reshape(-1)
    bits = 8 * values.itemsize
    best = _Plan(0, 0, 0, _WORTH * bits)
    tried, least = 0, len(sample)
    for exponent in _promising(sample):
        numbers, exact = _round_trip(sample, exponent)
        missed = len(sample) - int(exact.sum())
        if missed == len(sample) or bits * missed / len(sample) >= best.cost:
            continue
        # Each power of ten takes 3.3 bits more of a number: values that fit it besides must save them.
        if best.high and bits * (least - missed) <= 3 * (exponent - tried) * (len(sample) - missed):
            continue
        tried, least = exponent, missed
        cost, low, high = window(np.sort(numbers[exact]).astype(np.int64), len(sample), len(values), bits)
        if cost < best.cost:
            best = _Plan(exponent, low, high, cost)
        if not missed:
            break
    return best if best.high else None


def _promising(sample: np.ndarray) -> list[int]:
    """The exponents that fit any of a few values: one that pays fits a fifth of all, and so some of these."""
    few = sample[:: max(1, len(sample) // _PROBED)]
    exponents = np.arange(_TRIED[sample.itemsize] + 1)
    _, exact = _round_trip(few, exponents[:, None])
    return exponents[exact.any(axis=1)].tolist()


def _round_trip(values: np.ndarray, exponent: int | Int64s) -> tuple[np.ndarray, np.ndarray]:
    """float64[n] whole numbers of values times 10^exponent, and whether dividing them gives the very same bits."""
    with np.errstate(invalid="ignore", over="ignore"):
        # Adding zero turns -0.0, which no integer can be, into 0.0.
        numbers = np.rint(values * _POWERS[exponent]) + 0.0
        back = (numbers / _POWERS[exponent]).astype(values.dtype)
    unsigned = f"<u{values.itemsize}"
    return numbers, (back.view(unsigned) == values.view(unsigned)) & (np.abs(numbers) < _MAX_NUMBER)


def _numbers(values: np.ndarray, plan: _Plan) -> tuple[Int64s, np.ndarray]:
    """int64[n] numbers, and bool[n] which rows they are not right for."""
    out = allocate(len(values), np.int64)
    exceptional = np.empty(len(values), bool)
    for rows in batches(len(values)):
        numbers, exact = _round_trip(values[rows], plan.exponent)
        exact &= (numbers >= plan.low) & (numbers < plan.high)
        np.logical_not(exact, out=exceptional[rows])
        with np.errstate(invalid="ignore"):
            out[rows] = numbers
    return out, exceptional
