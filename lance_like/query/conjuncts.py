"""A condition in the parts in which a scan asks them: tests of single columns, then all else. Pure.

A row passes if it passes every part. A test of one column may be judged on the stored form of a page, and the columns
of a later part are read only where rows are left: a test comes the earlier, the less it costs a row that it leaves out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, prod

import pyarrow as pa

from lance_like.encodings.physical import flat_width, integer_dtype, is_integer_like
from lance_like.encodings.sift import Beginning, Flags, Sieve
from lance_like.file.carry import carried_type
from lance_like.query.evaluate import cost, passing
from lance_like.query.expr import (
    And,
    BoolColumn,
    Compare,
    Expr,
    In,
    IsNull,
    Like,
    Not,
    Or,
    all_of,
    conjuncts,
)
from lance_like.query.literals import is_bytes, is_exact, is_text
from lance_like.table.fields import Field

# What judging a row takes, about: packed numbers where they are stored, text under zstd, and a rank of `cost`.
_NUMBER_NS, _BYTE_NS, _TEXT_NS, _COST_NS = 0.5, 0.06, 12.0, 0.2
# Shares of rows that pass, guessed: what asks for one value, for a kind of values, for one side of a bound.
_ONE_VALUE, _FEW, _HALF = 0.02, 0.1, 0.5
_LEAST = 0.01
# Beyond every decimal, as the integer that it is.
_MOST = 1 << 256


@dataclass(frozen=True, slots=True)
class ColumnTest:
    """The part of a condition that one top-level column decides alone."""

    field: Field
    condition: Expr
    test: Sieve


@dataclass(frozen=True, slots=True)
class Parts:
    """tests: in the order in which they are asked. rest: what no single column decides; None: there is none."""

    tests: tuple[ColumnTest, ...]
    rest: Expr | None


def split(condition: Expr, fields: Mapping[str, Field]) -> Parts:
    """Split a bound condition. fields: the top-level columns that may be tested alone, by name."""
    alone: dict[str, list[Expr]] = {}
    rest: list[Expr] = []
    for part in conjuncts(condition):
        names = _names(part)
        if names is not None and len(names) == 1 and names <= fields.keys():
            alone.setdefault(next(iter(names)), []).append(part)
        else:
            rest.append(part)
    tests = [_column_test(fields[name], all_of(parts)) for name, parts in alone.items()]
    tests.sort(key=_price)
    return Parts(tuple(tests), all_of(rest) if rest else None)


def _price(test: ColumnTest) -> float:
    """About how many nanoseconds it takes to leave out a row: those of a row, over the share that does not pass."""
    width = flat_width(carried_type(test.field.type))
    reading = _TEXT_NS if width is None else _NUMBER_NS + _BYTE_NS * width
    return (reading + _COST_NS * cost(test.condition)) / max(1 - _share(test.condition), _LEAST)


def _share(condition: Expr) -> float:
    """A guess of the share of rows that pass, from nothing but the form of a condition."""
    match condition:
        case And(children):
            return prod(map(_share, children))
        case Or(children):
            return min(sum(map(_share, children)), 1.0)
        case Not(child):
            return 1 - _share(child)
        case Compare("="):
            return _ONE_VALUE
        case Compare("<>"):
            return 1 - _ONE_VALUE
        case In(_, values):
            return min(len(values) * _ONE_VALUE, _HALF)
        case IsNull() | Like():
            return _FEW
        case _:
            return _HALF  # one bound, or a boolean


def _names(part: Expr) -> frozenset[str] | None:
    """The top-level columns whose own values decide a part, row by row; None when it needs more than those."""
    match part:
        case And(children) | Or(children):
            below = [_names(child) for child in children]
            known = [names for names in below if names is not None]
            return frozenset().union(*known) if len(known) == len(below) else None
        case Not(child):
            return _names(child)
        case Compare(_, path) | In(path) | Like(path) | BoolColumn(path) | IsNull(path):
            return frozenset(path) if len(path) == 1 else None
        case _:
            return None


def _column_test(field: Field, condition: Expr) -> ColumnTest:
    def of_values(array: pa.Array) -> Flags:
        return passing(condition, pa.RecordBatch.from_arrays([array], names=[field.name]))

    kind = carried_type(field.type)
    return ColumnTest(field, condition, Sieve(of_values, _between(condition, kind), _beginning(condition)))


def _beginning(condition: Expr) -> Beginning | None:
    """What values begin with, when a condition is nothing else."""
    match condition:
        case Compare("=", _, value) if is_text(value.type) or is_bytes(value.type):
            known = value.as_py()
            return None if known is None else Beginning(known if isinstance(known, bytes) else known.encode(), True)
        case Like(_, pattern, "", False):
            start = pattern.rstrip("%")
            whole = start == pattern
            return None if "%" in start or "_" in start else Beginning(start.encode(), whole)
        case _:
            return None


def _between(condition: Expr, kind: pa.DataType) -> tuple[int, int] | None:
    """The bounds of values as they are stored, when a condition is nothing but bounds."""
    if pa.types.is_decimal(kind):
        return _between_decimals(condition, kind.scale)
    if not is_integer_like(kind):
        return None
    low, high = (int(bound) for bound in _domain(kind))
    for part in conjuncts(condition):
        if not isinstance(part, Compare) or part.op == "<>" or not is_integer_like(part.value.type):
            return None
        value = part.value.as_py() if pa.types.is_integer(kind) else part.value.cast(kind).value
        if part.op in ("=", ">=", ">"):
            low = max(low, value + (part.op == ">"))
        if part.op in ("=", "<=", "<"):
            high = min(high, value - (part.op == "<"))
    return low, high


def _between_decimals(condition: Expr, scale: int) -> tuple[int, int] | None:
    """The same of decimals, in units of their last place."""
    low, high = -_MOST, _MOST
    for part in conjuncts(condition):
        if not isinstance(part, Compare) or part.op == "<>" or not is_exact(part.value):
            return None
        value = Fraction(part.value.as_py()) * Fraction(10) ** scale
        if part.op in ("=", ">=", ">"):
            low = max(low, floor(value) + 1 if part.op == ">" else ceil(value))
        if part.op in ("=", "<=", "<"):
            high = min(high, ceil(value) - 1 if part.op == "<" else floor(value))
    return low, high


def _domain(kind: pa.DataType) -> tuple[int, int]:
    dtype = integer_dtype(kind)
    bits = 8 * dtype.itemsize
    return (0, 2**bits - 1) if dtype.kind == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


__all__ = ["ColumnTest", "Parts", "split"]
