"""What bounds of columns say of arithmetic on them: in a zone, `a + 1 < b * 2` is true, false or either.

A result lies between those of the ends, since addition, and multiplication and division by a number, keep the order,
also when rounded. Where a result may overflow, or be NaN, nothing is said: rows must be asked, as DuckDB may refuse.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from lance_like.encodings.physical import valid_of
from lance_like.encodings.sift import Flags
from lance_like.query.arithmetic import Column, Comparison, Constant, Operation, Value
from lance_like.query.names import Path

# A result of int64 up to this is below 2**63 also where a float that estimates it was rounded.
_SURE = float(1 << 62)
_INT32 = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of a value in n zones. low, high: int64[n] or float64[n]. known: bool[n], where they hold for every row."""

    low: np.ndarray
    high: np.ndarray
    known: Flags


def columns_judged(value: Value) -> frozenset[Path]:
    """The columns by whose bounds a comparison is judged; none when it cannot be."""
    match value:
        case Column(path, kind) if kind is not None and _is_number(kind):
            return frozenset([path])
        case Comparison("=" | "<>" | "<" | "<=" | ">" | ">=", left, right) | Operation("+" | "-" | "*", left, right):
            sides = [columns_judged(side) for side in (left, right) if not isinstance(side, Constant)]
            return frozenset().union(*sides) if all(sides) else frozenset()
        case Operation("/", left, Constant()):
            return columns_judged(left)
        case _:
            return frozenset()


def compared(symbol: str, left: Bounds, right: Bounds) -> tuple[Flags, Flags]:
    """Per zone: may the values of two sides compare so, and may they not?"""
    true, false = _compared(symbol, left, right)
    unknown = ~(left.known & right.known)
    return true | unknown, false | unknown


def _compared(symbol: str, left: Bounds, right: Bounds) -> tuple[Flags, Flags]:
    match symbol:
        case "<":
            return left.low < right.high, left.high >= right.low
        case "<=":
            return left.low <= right.high, left.high > right.low
        case "=":
            one = (left.low == left.high) & (right.low == right.high) & (left.low == right.low)
            return (left.low <= right.high) & (left.high >= right.low), ~one
        case "<>":
            equal, different = _compared("=", left, right)
            return different, equal
        case _:
            return _compared({">": "<", ">=": "<="}[symbol], right, left)


def bounds_of(value: Value, columns: Callable[[Path], tuple[pa.Array, pa.Array, Flags]]) -> Bounds:
    """The bounds of a value whose columns `columns_judged` names.

    columns: a column's minima and maxima, and where a row may be NaN.
    """
    match value:
        case Column(path):
            low, high, is_nan = columns(path)
            known = valid_of(low) & valid_of(high) & ~is_nan
            dtype = np.float64 if pa.types.is_floating(low.type) else np.int64
            low, high = (bound.fill_null(0).to_numpy().astype(dtype) for bound in (low, high))
            return Bounds(low, high, known)
        case Constant(literal):
            one = np.array([literal.as_py()])
            return Bounds(one, one, one == one)
        case Operation(symbol, left, right, kind):
            return _combined(symbol, bounds_of(left, columns), bounds_of(right, columns), kind)
        case _:
            raise ValueError(f"no bounds of {value}")


def _combined(symbol: str, left: Bounds, right: Bounds, kind: pa.DataType | None) -> Bounds:
    dtype = np.float64 if kind == pa.float64() else np.int64
    operation = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide}[symbol]
    pairs = [(a, b) for a in (left.low, left.high) for b in (right.low, right.high)]
    with np.errstate(all="ignore"):
        ends = [operation(a.astype(dtype), b.astype(dtype)) for a, b in pairs]
        sizes = [np.abs(operation(a.astype(np.float64), b.astype(np.float64))) for a, b in pairs]
    known = left.known & right.known
    for end, size in zip(ends, sizes, strict=True):
        if dtype == np.float64:
            known = known & np.isfinite(size)
        else:
            known = known & (size < _SURE) & ((np.abs(end) <= _INT32) | (kind != pa.int32()))
    return Bounds(np.minimum.reduce(ends), np.maximum.reduce(ends), known)


def _is_number(kind: pa.DataType) -> bool:
    return kind in (pa.int32(), pa.int64(), pa.float64())


__all__ = ["Bounds", "bounds_of", "columns_judged", "compared"]
