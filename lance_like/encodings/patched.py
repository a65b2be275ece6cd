"""Patched: integers of which few lie far from the others (format_spec/encodings/patched.md).

child 0: n numbers, int64; below the limit a number is the value
child 1: the exceptions, integers of the type; number limit + j stands for exception j
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from lance_like.encodings.base import Encoded, Hints, Node
from lance_like.encodings.exceptions import put_exceptions, stored_bits, window
from lance_like.encodings.narrow import alike, check_integer_like, integer_text
from lance_like.encodings.physical import flat_array, flat_bytes, integer_dtype, unsigned_dtype, valid_of
from lance_like.encodings.pool import allocate
from lance_like.encodings.registry import encode_array, read_node
from lance_like.encodings.sample import sampled_runs
from lance_like.encodings.sift import NUMBER_TYPE, int64s, numbers_below, read_chosen
from lance_like.encodings.stack import Reading, Runs, Stack
from lance_like.typing_ import Int64s

_FEWEST_ROWS = 64
# Numbers must save this share of the bits that all values take together: a read of them has a second child.
_WORTH = 0.75
# What is farther from 0 is an exception: sums of what is nearer fit 64 bits.
_MOST = 1 << 61


class Patched:
    """For counts with a long tail, and for numbers among which some mean something else (-1, the end of time)."""

    name = "patched"
    shape: tuple[str, ...] = ()

    def encode(self, array: pa.Array, hints: Hints) -> Encoded | None:
        if len(array) - array.null_count < _FEWEST_ROWS:
            return None
        data = flat_bytes(array)
        assert data is not None
        values = data.view(integer_dtype(array.type))
        valid = valid_of(array) if array.null_count else np.True_
        there = values if valid is np.True_ else values[valid]
        whole = stored_bits((int(there.max()) - int(there.min())).bit_length())
        usual = _usual_range(there, _WORTH * whole)
        if usual is None:
            return None
        low, high = usual
        apart = ((values < low) | (values >= high)) & valid
        places = np.flatnonzero(apart)
        numbers = np.where(apart | ~valid, low, values).astype(np.int64)
        limit = int(numbers.max()) + 1
        apart_bits = 8 * values.itemsize * len(places) / len(values)
        if not len(places) or stored_bits((limit + len(places) - low).bit_length()) + apart_bits > _WORTH * whole:
            return None
        numbers[places] = limit + np.arange(len(places))
        exceptions = flat_array(array.type, values[places].view(np.uint8), len(places))
        children = (encode_array(pa.array(numbers), hints), encode_array(exceptions, hints, ranged=True))
        return Encoded(self.name, len(array), {"limit": str(limit)}, children=children)

    def read(self, stack: Stack, kind: pa.DataType, runs: Runs) -> Reading[pa.Array]:
        check_integer_like(stack, kind)
        return self._values(stack, kind, runs, read_node(numbers_below(stack), NUMBER_TYPE, runs))

    def choose(self, stack: Stack, kind: pa.DataType, runs: Runs, rows: Int64s) -> Reading[pa.Array]:
        """Only the exceptions of chosen rows are read."""
        check_integer_like(stack, kind)
        return self._values(stack, kind, runs, read_chosen(numbers_below(stack), NUMBER_TYPE, runs, rows))

    def _values(self, stack: Stack, kind: pa.DataType, runs: Runs, read: Reading[pa.Array]) -> Reading[pa.Array]:
        """The integers that the numbers of a read stand for, of rows of runs or of some of one run."""
        limits = stack.once("limits", lambda: alike([_limit_of(node) for node in stack.nodes], np.int64))
        numbers = int64s(stack, (yield from read))
        values = allocate(len(numbers), unsigned_dtype(kind))
        np.copyto(values, numbers, casting="unsafe")
        yield from put_exceptions(stack, kind, runs, numbers, values, limits)
        return flat_array(kind, values.view(np.uint8), len(values))


def _usual_range(values: np.ndarray, most: float) -> tuple[int, int] | None:
    """The integers from one up to another that, apart from the others, take the fewest bits; None where over `most`."""
    sample = sampled_runs(values).reshape(-1)
    near = (sample < _MOST) & (sample > -_MOST) if sample.dtype.kind == "i" else sample < _MOST
    kept = np.sort(sample[near]).astype(np.int64)
    middle = int(kept[len(kept) * 9 // 10] - kept[len(kept) // 10]) if len(kept) else 0
    if not len(kept) or stored_bits(middle.bit_length()) > most:
        return None
    cost, low, high = window(kept, len(sample), len(values), 8 * values.itemsize)
    # Around what is sampled there may be room for numbers that the type does not have.
    bounds = np.iinfo(values.dtype)
    return (max(low, bounds.min), min(high, bounds.max)) if cost <= most else None


def _limit_of(node: Node) -> int:
    """The limit of a page. Raises Corrupt."""
    return integer_text(node, "limit", -(1 << 63), (1 << 63) - 1)
