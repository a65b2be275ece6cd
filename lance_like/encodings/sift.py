"""Some rows of a run of a page: those that pass a test, and many that were chosen, without decoding the others.

An encoding that can test its stored form has a method `judge`, one that can choose before most of its work a method
`choose`; of all others the whole run is decoded first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lance_like.encodings.joining import taken
from lance_like.encodings.physical import read_validity, unpack_bits, with_validity
from lance_like.encodings.registry import ENCODINGS, read_node
from lance_like.encodings.stack import Reading, Runs, Stack, together
from lance_like.typing_ import Int64s

Flags: TypeAlias = npt.NDArray[np.bool_]
NUMBER_TYPE = pa.int64()
"""Of the numbers below encodings that store values as such."""

_INT64 = np.iinfo(np.int64)


class Beginning(NamedTuple):
    """What a text or binary value must begin with; whole: and what it must be."""

    value: bytes
    whole: bool


@dataclass(frozen=True, slots=True)
class Sieve:
    """A question to each value of a column, answered without regard to its other rows.

    of_values: the answers for an array, nulls among its values or not; unknown counts as false.
    between: low and high when the test is "low <= value <= high" of a type that is stored as integers, counted as they
    are stored; None: it is another one.
    beginning: what values begin with when that is the test of a type with offsets; None: it is another one.
    """

    of_values: Callable[[pa.Array], Flags]
    between: tuple[int, int] | None = None
    beginning: Beginning | None = None


def numbers_between(low: int, high: int) -> Sieve:
    """The test of 64-bit integers that they lie between two, which may have more bits."""

    def of_values(array: pa.Array) -> Flags:
        valid = array.is_valid().to_numpy(zero_copy_only=False) if array.null_count else True
        numbers = np.frombuffer(array.buffers()[1] or b"", np.int64, len(array), array.offset * 8)
        fits = low <= min(high, _INT64.max) and high >= _INT64.min
        return (numbers >= max(low, _INT64.min)) & (numbers <= min(high, _INT64.max)) & valid & fits

    return Sieve(of_values, (low, high))


def numbers_below(stack: Stack) -> Stack:
    """The child that holds a 64-bit integer for each row of a stack. Raises Corrupt where some may be null."""
    child = stack.child(0, stack.num_rows)
    has_nulls = child.validity is not None or any(node.is_null for node in child.nodes)
    stack.require(not has_nulls, "its numbers have nulls")
    return child


def int64s(stack: Stack, array: pa.Array) -> Int64s:
    """The 64-bit integers of an array that a child gave. Raises Corrupt where one is null."""
    stack.require(array.null_count == 0, "its numbers have nulls")
    return np.frombuffer(array.buffers()[1] or b"", np.int64, len(array), array.offset * 8)


def read_judged(stack: Stack, kind: pa.DataType, runs: Runs, test: Sieve) -> Reading[Flags]:
    """bool[count]: the rows of one run of a page that pass. Raises as `read_node` does for what it reads."""
    judge = getattr(ENCODINGS.get(stack.encoding), "judge", None)
    if judge is None or isinstance(kind, pa.BaseExtensionType):
        return test.of_values((yield from read_node(stack, kind, runs)))
    if stack.validity is None:
        return (yield from judge(stack, kind, runs, test))
    passes, bitmap = yield from together([judge(stack, kind, runs, test), read_validity(stack, runs)])
    valid = unpack_bits(bitmap, 0, len(passes)).view(bool)
    return passes | ~valid if test.of_values(pa.nulls(1, kind))[0] else passes & valid


def read_chosen(stack: Stack, kind: pa.DataType, runs: Runs, rows: Int64s) -> Reading[pa.Array]:
    """Rows of one run of a page, in the order of `rows`: int64[n], from the start of the run.

    For a good part of the run; few rows are read by their own numbers. Raises as `read_node`.
    """
    choose = getattr(ENCODINGS.get(stack.encoding), "choose", None)
    if choose is None or isinstance(kind, pa.BaseExtensionType):
        return taken((yield from read_node(stack, kind, runs)), pa.array(rows))
    if stack.validity is None:
        return (yield from choose(stack, kind, runs, rows))
    array, bitmap = yield from together([choose(stack, kind, runs, rows), read_validity(stack, runs)])
    return with_validity(array, np.packbits(unpack_bits(bitmap, 0, runs.count)[rows], bitorder="little"))


__all__ = [
    "NUMBER_TYPE",
    "Beginning",
    "Flags",
    "Sieve",
    "int64s",
    "numbers_below",
    "numbers_between",
    "read_chosen",
    "read_judged",
]
