"""Which zones of rows a condition can pass, judged from bounds alone: none of a zone, some of it, all of it.

A zone is a run of rows with its own statistics. For each condition and zone three questions are answered "maybe" or
"surely not": can a row be true, be false, be unknown? Each "surely not" holds for every data that fits the bounds, so
that AND, OR and NOT keep it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, reduce
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lance_like.encodings.physical import bits_of, valid_of
from lance_like.errors import InvalidInput
from lance_like.query import engine_duckdb
from lance_like.query.arithmetic import Comparison
from lance_like.query.bounds import bounds_of, columns_judged, compared
from lance_like.query.expr import (
    And,
    BoolColumn,
    Compare,
    Expr,
    In,
    IsNull,
    Like,
    Literal,
    Not,
    Opaque,
    Or,
    Path,
    Wild,
    like_parts,
)
from lance_like.query.literals import comparable, comparison_type
from lance_like.query.ordered import Ordered
from lance_like.typing_ import Int64s

Flags: TypeAlias = npt.NDArray[np.bool_]

NONE, SOME, ALL = 0, 1, 2


@dataclass(frozen=True, slots=True)
class ZoneColumn:
    """What is known of one leaf column in n zones; bounds that may be wider than the data.

    rows, nulls, nans: int64[n], counted when the rows were written (deletes only take rows away since). nulls of a
    field counts the rows whose struct is null too; nans = 0 for types without NaN, = rows where it is not known.
    mins, maxs: arrays of n values of the column's type, or its plain type; each min <= each value <= each max, NaN left
    out; null = no bound.
    """

    rows: Int64s
    nulls: Int64s
    nans: Int64s
    mins: pa.Array
    maxs: pa.Array


Stats: TypeAlias = Callable[[Path], ZoneColumn | None]
"""Answers what is known of a leaf column, None if nothing."""


@dataclass(frozen=True, slots=True)
class _Possible:
    """Per zone: may a row be true, false, unknown?"""

    true: Flags
    false: Flags
    null: Flags


def judge_zones(condition: Expr, stats: Stats, *, zones: int) -> npt.NDArray[np.int8]:
    """Judge every zone.

    condition: bound to the schema of the columns.
    stats: path -> ZoneColumn of `zones` zones, or None.
    Returns int8[zones]: 0 = no row passes, 1 = some may, 2 = every row passes.
    Cost: no I/O, a few vector operations per node.
    """
    # Two bounds of one column are common.
    possible = _judge(condition, cache(stats), zones)
    verdict = np.full(zones, SOME, np.int8)
    verdict[~possible.false & ~possible.null] = ALL
    verdict[~possible.true] = NONE
    return verdict


def judged_paths(condition: Expr) -> frozenset[Path]:
    """Name the leaf columns whose statistics `judge_zones` asks for."""
    match condition:
        case And(children) | Or(children):
            return reduce(frozenset.union, map(judged_paths, children), frozenset())
        case Not(child):
            return judged_paths(child)
        case Compare(_, path) | In(path) | Like(path) | BoolColumn(path) | IsNull(path):
            return frozenset([path])
        case Opaque(value=Comparison() as value) if columns_judged(value):
            return columns_judged(value)
        case Opaque(ordered=Ordered(path)):
            return frozenset([path])
        case _:
            return frozenset()


def _judge(condition: Expr, stats: Stats, zones: int) -> _Possible:
    match condition:
        case And(children):
            return reduce(_both, (_judge(child, stats, zones) for child in children))
        case Or(children):
            return _opposite(reduce(_both, (_opposite(_judge(child, stats, zones)) for child in children)))
        case Not(child):
            return _opposite(_judge(child, stats, zones))
        case Literal(value):
            return _Possible(*(np.full(zones, value is which) for which in (True, False, None)))
        case Compare(_, path) | In(path) | Like(path) | BoolColumn(path) | IsNull(path):
            column = stats(path)
            return _unknown(zones) if column is None else _leaf(condition, column)
        case Opaque(value=Comparison() as value) if columns_judged(value):
            return _arithmetic(value, stats, zones)
        case Opaque(ordered=Ordered() as ordered):
            column = stats(ordered.path)
            return _unknown(zones) if column is None else _ordered(ordered, column)
        case _:
            return _unknown(zones)


def _arithmetic(value: Comparison, stats: Stats, zones: int) -> _Possible:
    columns = {path: column for path in columns_judged(value) if (column := stats(path)) is not None}
    if len(columns) < len(columns_judged(value)):
        return _unknown(zones)
    sides = [
        bounds_of(side, lambda path: (columns[path].mins, columns[path].maxs, columns[path].nans > 0))
        for side in (value.left, value.right)
    ]
    null = np.logical_or.reduce([column.nulls > 0 for column in columns.values()])
    return _Possible(*compared(value.symbol, *sides), null)


def _ordered(ordered: Ordered, column: ZoneColumn) -> _Possible:
    try:
        batch = pa.RecordBatch.from_pydict(ordered.ends(column.mins, column.maxs))
        true, false, null = _asked(ordered, batch)
    except (InvalidInput, pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return _unknown(len(column.rows))
    nan, some = column.nans > 0, column.rows > column.nulls
    return _Possible(some & (true | nan), some & (false | nan), null | nan | (column.nulls > 0))


def _asked(ordered: Ordered, batch: pa.RecordBatch) -> tuple[Flags, Flags, Flags]:
    """What DuckDB says of bounds. Where one has no such value, rows are asked: it may refuse them too."""
    questions = {"true": ordered.true, "false": ordered.false, "null": ordered.null}
    try:
        true, false, null = map(_maybe, engine_duckdb.evaluate(questions, batch).columns)
        return true, false, null
    except InvalidInput:
        # One by one: DuckDB computes what several have in common outside of TRY.
        tried = [engine_duckdb.evaluate({"tried": f"TRY({sql})"}, batch).column(0) for sql in questions.values()]
        true, false, null = map(_maybe, tried)
        return true | null, false | null, null


def _unknown(zones: int) -> _Possible:
    maybe = np.ones(zones, np.bool_)
    return _Possible(maybe, maybe, maybe)


def _both(a: _Possible, b: _Possible) -> _Possible:
    null = (a.null & (b.true | b.null)) | (b.null & (a.true | a.null))
    return _Possible(a.true & b.true, a.false | b.false, null)


def _opposite(a: _Possible) -> _Possible:
    return _Possible(a.false, a.true, a.null)


def _leaf(leaf: Compare | In | Like | BoolColumn | IsNull, column: ZoneColumn) -> _Possible:
    null = column.nulls > 0
    if isinstance(leaf, IsNull):
        return _Possible(null, column.nulls < column.rows, np.zeros_like(null))
    try:
        true, false = _values(leaf, column)
        has_nan = column.nans > 0
        if has_nan.any():
            nan_true, nan_false = _nan(leaf)
            true, false = true | (has_nan & nan_true), false | (has_nan & nan_false)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
        return _unknown(len(null))  # bounds of a type that does not compare with the literal
    if isinstance(leaf, In) and leaf.values.null_count:
        return _Possible(true, np.zeros_like(null), null | false)
    return _Possible(true, false, null)


def _values(leaf: Compare | In | Like | BoolColumn, column: ZoneColumn) -> tuple[Flags, Flags]:
    """Judge the rows that hold a value other than NaN: may one be true, may one be false?"""
    some = column.rows > column.nulls + column.nans
    to = comparison_type(column.mins.type)
    if to is None:
        return some, some
    lo, hi = comparable(column.mins, to), comparable(column.maxs, to)
    if isinstance(leaf, BoolColumn):
        leaf = Compare("=", leaf.path, pa.scalar(True))
    if isinstance(leaf, Compare):
        true, false = _compare(leaf.op, leaf.value, lo, hi)
    elif isinstance(leaf, In):
        true, false = _in(leaf.values, lo, hi)
    else:
        true, false = _like(leaf, lo, hi)
    return some & true, some & false


def _compare(op: str, value: pa.Scalar, lo: pa.Array, hi: pa.Array) -> tuple[Flags, Flags]:
    if pa.types.is_floating(value.type) and np.isnan(value.as_py()):
        always = op in ("<", "<=", "<>")  # every number is below NaN
        return np.full(len(lo), always), np.full(len(lo), not always)
    if value.type != lo.type and not pa.types.is_floating(lo.type):
        value = value.cast(lo.type)
    true, false = _ASKED[op], _ASKED[_OPPOSITE[op]]
    return true(lo, hi, value), false(lo, hi, value)


def _is_inside(lo: pa.Array, hi: pa.Array, value: pa.Scalar) -> Flags:
    return _maybe(pc.less_equal(lo, value)) & _maybe(pc.greater_equal(hi, value))


def _is_beside(lo: pa.Array, hi: pa.Array, value: pa.Scalar) -> Flags:
    return _maybe(pc.less(lo, value)) | _maybe(pc.greater(hi, value))


_OPPOSITE = {"=": "<>", "<>": "=", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}
# May a value between the bounds compare so with a literal?
_ASKED: dict[str, Callable[[pa.Array, pa.Array, pa.Scalar], Flags]] = {
    "=": _is_inside,
    "<>": _is_beside,
    "<": lambda lo, hi, value: _maybe(pc.less(lo, value)),
    "<=": lambda lo, hi, value: _maybe(pc.less_equal(lo, value)),
    ">": lambda lo, hi, value: _maybe(pc.greater(hi, value)),
    ">=": lambda lo, hi, value: _maybe(pc.greater_equal(hi, value)),
}


def _in(values: pa.Array, lo: pa.Array, hi: pa.Array) -> tuple[Flags, Flags]:
    values = comparable(values.drop_null(), lo.type)
    if pa.types.is_floating(values.type):
        values = values.filter(pc.invert(pc.is_nan(values)))
        # -0.0 becomes 0.0, because sorting may tell them apart
        lo, hi, values = (pc.add(array, pa.scalar(0.0, array.type)) for array in (lo, hi, values))
    inside = _count_below(values, hi, or_equal=True) > _count_below(values, lo, or_equal=False)
    true = inside | ~_known(lo) | ~_known(hi)
    return true, ~(inside & _known(lo) & _surely(pc.equal(lo, hi)))


def _count_below(values: pa.Array, limits: pa.Array, *, or_equal: bool) -> Int64s:
    """Count, for each limit, the values below it. A null limit has an answer without meaning."""
    first, second = (values, limits) if or_equal else (limits, values)
    order = pc.sort_indices(pa.concat_arrays([first, second])).to_numpy().astype(np.int64)  # stable
    offset = len(values) if or_equal else 0
    is_limit = (order >= offset) & (order < offset + len(limits))
    counts = np.empty(len(limits), np.int64)
    counts[order[is_limit] - offset] = np.cumsum(~is_limit)[is_limit]
    return counts


def _like(like: Like, lo: pa.Array, hi: pa.Array) -> tuple[Flags, Flags]:
    """Judge by the text that the pattern begins with: matches lie from that text up to its successor."""
    parts = like_parts(like)
    maybe = np.ones(len(lo), np.bool_)
    if like.case_insensitive or not parts or not isinstance(parts[0], str):
        return maybe, np.full(len(lo), parts != (Wild.MANY,))
    if len(parts) == 1:
        return _compare("=", pa.scalar(parts[0], lo.type), lo, hi)
    start = parts[0].encode()
    end = start[:-1] + bytes([start[-1] + 1])  # no byte of UTF-8 is 255
    lo, hi = lo.cast(pa.large_binary()), hi.cast(pa.large_binary())
    first, past = pa.scalar(start, lo.type), pa.scalar(end, lo.type)
    true = _maybe(pc.greater_equal(hi, first)) & _maybe(pc.less(lo, past))
    if parts[1:] != (Wild.MANY,):
        return true, maybe
    return true, ~(_surely(pc.greater_equal(lo, first)) & _surely(pc.less(hi, past)))


def _nan(leaf: Compare | In | Like | BoolColumn) -> tuple[bool, bool]:
    """Judge a row that holds NaN: is it true, is it false?"""
    if isinstance(leaf, Compare):
        literal_is_nan = pa.types.is_floating(leaf.value.type) and bool(np.isnan(leaf.value.as_py()))
        true = leaf.op in (("=", "<=", ">=") if literal_is_nan else (">", ">=", "<>"))
        return true, not true
    if isinstance(leaf, In) and pa.types.is_floating(leaf.values.type):
        true = bool(pc.any(pc.is_nan(leaf.values)).as_py())
        return true, not true
    return True, True


def _maybe(answer: pa.BooleanArray) -> Flags:
    """Take an answer that a missing bound left open as true."""
    found = bits_of(answer)
    return found | ~valid_of(answer) if answer.null_count else found


def _surely(answer: pa.BooleanArray) -> Flags:
    """Take an answer that a missing bound left open as false."""
    found = bits_of(answer)
    return found & valid_of(answer) if answer.null_count else found


def _known(bound: pa.Array) -> Flags:
    return valid_of(bound)


__all__ = ["ALL", "NONE", "SOME", "Flags", "Stats", "ZoneColumn", "judge_zones", "judged_paths"]
