"""Rows that pass a filter: a bound condition over one batch, by pyarrow's functions, by DuckDB where needed.

Cheap conditions of an AND are evaluated over all rows, dear ones only over the rows that are left; of an OR, only
over the rows that have not passed yet. The meaning is DuckDB's: NaN equals itself and is above every number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import reduce
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lance_like.encodings.joining import taken
from lance_like.encodings.physical import bits_of, flat_bytes, is_integer_like, valid_of
from lance_like.encodings.sift import Flags
from lance_like.errors import InvalidInput
from lance_like.file.carry import carried_field, present
from lance_like.query import arrow_expr, engine_duckdb, sql
from lance_like.query.arithmetic import Column, compare, compute
from lance_like.query.build import Expression
from lance_like.query.constants import rounded
from lance_like.query.expr import (
    And,
    ArrowCall,
    BoolColumn,
    Compare,
    Expr,
    Has,
    In,
    IsNull,
    Like,
    Literal,
    Not,
    Opaque,
    Or,
    bind,
    bind_opaque,
    depth_of,
    like_parts,
    opaque_of,
)
from lance_like.query.literals import comparable, comparison_type, is_bytes, is_text
from lance_like.query.names import Path, find_known
from lance_like.query.patterns import matching
from lance_like.typing_ import Int64s

_CHEAP = 2
_DUCKDB_COST = 100
# How deep the parts of a condition may be nested: what goes through them has a few calls of Python a level, of 1,000.
_MOST_NESTED = 100
# Integers of a condition that a table by their low bits tells from most others, and from how many items on it pays.
_FEW_VALUES, _MANY = 4096, 4096


def prepare(condition: str | Expression | pc.Expression | Expr | None, schema: pa.Schema) -> Expr | None:
    """Turn a filter in any form into a condition bound to a schema.

    Returns None for None: every row.
    Raises InvalidInput for text that is no condition or types that do not compare, NotFound for an unknown column.
    Cost: about a millisecond for a new text; nothing is read.
    """
    if condition is None:
        return None
    with engine_duckdb.refusing_depth():
        bound = bind(rounded(parse(condition), schema), schema)
    if cost(bound) >= _DUCKDB_COST:
        # so that a wrong type shows now, and not with the first batch that no statistics exclude
        carried = pa.schema(map(carried_field, schema))
        mask(bound, pa.RecordBatch.from_arrays([pa.nulls(0, kind) for kind in carried.types], schema=carried))
    return bound


def parse(condition: str | Expression | pc.Expression | Expr) -> Expr:
    """Turn a filter in any form into a condition that is not bound yet. Raises InvalidInput."""
    parsed = _parsed(condition)
    if depth_of(parsed) > _MOST_NESTED:
        raise engine_duckdb.too_deep()
    return parsed


def _parsed(condition: str | Expression | pc.Expression | Expr) -> Expr:
    if isinstance(condition, str):
        return sql.parse(condition)
    if isinstance(condition, pc.Expression):
        return _with_order(arrow_expr.from_arrow(condition))
    if isinstance(condition, Expression):
        with engine_duckdb.refusing_depth():
            return _with_order(condition.tree)
    if not isinstance(condition, Expr):
        raise InvalidInput(f"a filter is SQL text or an expression, not {type(condition).__name__}")
    return condition


def _with_order(condition: Expr) -> Expr:
    """The same, with what bounds say of the parts that were not made from text."""
    match condition:
        case And(children) | Or(children):
            return type(condition)(tuple(map(_with_order, children)))
        case Not(child):
            return Not(_with_order(child))
        case Opaque(calls=(), value=None, ordered=None, columns=columns) if len(columns) == 1:
            return sql.read_again(condition)
        case _:
            return condition


def is_expression(given: Any) -> bool:
    """Tell whether something has one of the forms of a filter or an expression."""
    return isinstance(given, str | Expression | pc.Expression | Expr)


def parse_expressions(expressions: Mapping[str, Any]) -> dict[str, Opaque]:
    """Read expressions, one per new column, for `compute_columns`: in any form that a filter has.

    Raises InvalidInput as `parse` does.
    """
    with engine_duckdb.refusing_depth():
        return {name: _expression(given, f"expression of {name!r}") for name, given in expressions.items()}


def _expression(given: Any, what: str) -> Opaque:
    if isinstance(given, str):
        return sql.parse_expression(given, what)
    if isinstance(given, pc.Expression):
        return arrow_expr.expression_from_arrow(given)
    if isinstance(given, Expression):
        return given.opaque
    if isinstance(given, Expr):
        return opaque_of(given)
    raise InvalidInput(
        f"the {what} is {given!r:.80}: expected SQL text or an expression",
        kind="filter",
        hint="write SQL: 'n + 1', or \"'text'\" for a text",
    )


def columns_read(bound: Iterable[Bound], schema: pa.Schema) -> list[str]:
    """Name the columns that expressions bound to a schema read, in its order and spelling."""
    read = {path[0] for one in bound for path in ([one] if isinstance(one, tuple) else one.columns)}
    return [name for name in schema.names if name in read]


def select(condition: Expr, batch: pa.RecordBatch) -> Int64s:
    """Find the rows of a batch that pass.

    condition: bound to a schema; the batch holds at least the columns of `expr.paths(condition)`.
    Returns int64[k], ascending row numbers.
    Raises InvalidInput if DuckDB cannot evaluate a part.
    """
    return np.flatnonzero(passing(condition, batch))


def passing(condition: Expr, batch: pa.RecordBatch) -> Flags:
    """bool[n]: which rows of a batch pass. condition, batch, Raises: as for `select`."""
    return _passing(condition, _View(batch, None))


def mask(condition: Expr, batch: pa.RecordBatch) -> pa.BooleanArray:
    """Judge every row of a batch: true, false, or null for unknown.

    condition, batch, Raises: as for `select`.
    """
    return _mask(condition, _View(batch, None))


def compute_columns(expressions: Mapping[str, Opaque], batch: pa.RecordBatch) -> pa.RecordBatch:
    """Compute one column per expression over the rows of a batch: arithmetic here, the rest by DuckDB.

    expressions: by name of the new column; one that only names a column is that column, whatever its type.
    batch: at least the columns that they read.
    Returns one row per row of the batch, in its order; the types do not depend on the rows.
    Raises InvalidInput as `engine_duckdb.evaluate` does.
    """
    return compute_bound(bind_columns(expressions, batch.schema), batch)


Bound: TypeAlias = Path | Opaque
"""A column that an expression only names, or the expression bound to a schema."""


def bind_columns(expressions: Mapping[str, Opaque], schema: pa.Schema) -> dict[str, Bound]:
    """Bind expressions once for many batches of a schema. Raises NotFound, InvalidInput."""
    return {name: named_by(one, schema) or bind_opaque(one, schema) for name, one in expressions.items()}


def compute_bound(expressions: Mapping[str, Bound], batch: pa.RecordBatch) -> pa.RecordBatch:
    """As `compute_columns`, of expressions that are bound to the schema of the batch."""
    view = _View(batch, None)
    made: dict[str, pa.Array] = {}
    asked: dict[str, str] = {}
    for name, bound in expressions.items():
        if isinstance(bound, tuple):
            made[name] = view.leaf(bound)
            continue
        array = None if bound.value is None else compute(bound.value, view.leaf, len(view))
        if array is not None:
            made[name] = array
        elif bound.calls:
            made[name] = _by_duckdb(bound, view)
        else:
            asked[name] = bound.sql
    if asked:
        answer = engine_duckdb.evaluate(asked, batch)
        made |= zip(asked, answer.columns, strict=True)
    return pa.RecordBatch.from_arrays([made[name] for name in expressions], names=list(expressions))


def named_by(expression: Opaque, schema: pa.Schema) -> Path | None:
    """The column of a schema, or the field of a struct, that an expression only names. Raises NotFound."""
    if not isinstance(expression.value, Column):
        return None
    path = find_known(expression.value.path, schema)
    # Below a column that is no struct DuckDB says what is meant.
    return path if len(path) == len(expression.value.path) else None


class _View:
    """Some rows of a batch, whose leaf columns are gathered when they are first asked for."""

    def __init__(self, batch: pa.RecordBatch, rows: Int64s | None) -> None:
        self._batch = batch
        self._rows = rows
        self._leaves: dict[Path, pa.Array] = {}

    def __len__(self) -> int:
        return self._batch.num_rows if self._rows is None else len(self._rows)

    def leaf(self, path: Path) -> pa.Array:
        """Answer one leaf column; a field below a null struct is null."""
        if path not in self._leaves:
            column = _field(self._batch, path)
            self._leaves[path] = column if self._rows is None else taken(column, pa.array(self._rows))
        return self._leaves[path]

    def columns(self, wanted: frozenset[Path]) -> pa.RecordBatch:
        """Answer whole top-level columns, in the order of the batch."""
        names = {path[0] for path in wanted}
        kept = [name for name in self._batch.schema.names if name in names]
        arrays = [_field(self._batch, (name,)) for name in kept]
        if not kept:
            return pa.RecordBatch.from_arrays([pa.nulls(len(self), pa.int8())], names=["row"])
        if self._rows is not None:
            rows = pa.array(self._rows)
            arrays = [taken(array, rows) for array in arrays]
        return pa.RecordBatch.from_arrays(arrays, names=kept)

    def narrow(self, rows: Int64s) -> _View:
        """View some of these rows. rows: positions in this view, ascending."""
        if len(rows) == len(self):
            return self
        return _View(self._batch, rows if self._rows is None else self._rows[rows])


def _field(batch: pa.RecordBatch, path: Path) -> pa.Array:
    index = batch.schema.get_field_index(path[0])
    if index < 0:
        raise InvalidInput(f"the batch has not exactly one column {path[0]!r}; it has {batch.schema.names}")
    column = batch.column(index)
    for name in path[1:]:
        column = pc.struct_field(column, [column.type.get_field_index(name)])
    return column


def _passing(condition: Expr, view: _View) -> Flags:
    if not isinstance(condition, And | Or) or len(view) == 0:
        return true_of(_mask(condition, view))
    conjunctive = isinstance(condition, And)
    ordered = sorted(condition.children, key=cost)
    cheap = [child for child in ordered if cost(child) <= _CHEAP]
    passed = np.full(len(view), conjunctive)
    if cheap:
        together = pc.and_kleene if conjunctive else pc.or_kleene
        passed = true_of(reduce(together, (_mask(child, view) for child in cheap)))
    for child in ordered[len(cheap) :]:
        # The rows that are not settled yet.
        left = np.flatnonzero(passed if conjunctive else ~passed)
        if len(left):
            passed[left] = _passing(child, view.narrow(left))
    return passed


def true_of(answer: pa.BooleanArray) -> Flags:
    """bool[n]: where an answer is true."""
    return bits_of(answer) & valid_of(answer) if answer.null_count else bits_of(answer)


def cost(condition: Expr) -> int:
    """Rank a condition by the work it takes per row."""
    match condition:
        case And(children) | Or(children):
            return max(map(cost, children))
        case Not(child):
            return cost(child)
        case Compare(_, _, value):
            return 3 if is_text(value.type) or is_bytes(value.type) else 1
        case In(_, values):
            return 4 if is_text(values.type) or is_bytes(values.type) else 2
        case Like():
            return 6 if condition.case_insensitive else 5
        case Has():
            return 6
        case Opaque() if condition.value is not None:
            return _CHEAP + 1  # asked only about rows that are left: it may overflow on others
        case Opaque():
            return _DUCKDB_COST
        case _:
            return 0


def _mask(condition: Expr, view: _View) -> pa.BooleanArray:
    match condition:
        case And(children):
            return reduce(pc.and_kleene, (_mask(child, view) for child in children))
        case Or(children):
            return reduce(pc.or_kleene, (_mask(child, view) for child in children))
        case Not(child):
            return pc.invert(_mask(child, view))
        case Literal(value):
            return pa.repeat(pa.scalar(value, pa.bool_()), len(view))
        case BoolColumn(path):
            return comparable(view.leaf(path), pa.bool_())
        case IsNull(path):
            return _is_null(view.leaf(path))
        case Compare(op, path, value):
            return _on_values(view.leaf(path), lambda array: compare(op, array, value))
        case In(path, values):
            return _on_values(view.leaf(path), lambda array: _is_in(array, values))
        case Like(path):
            return _on_values(view.leaf(path), lambda array: _like(array, condition))
        case Has(function, path, values):
            return _has(view.leaf(path), values, every=function == "list_has_all")
        case Opaque():
            return _opaque(condition, view)


def _on_values(array: pa.Array, judge: Callable[[pa.Array], pa.BooleanArray]) -> pa.BooleanArray:
    """Judge plain values, and of a dictionary each of its values once."""
    if pa.types.is_dictionary(array.type):
        if len(array.dictionary) < len(array):
            return _plain(judge, array.dictionary).take(array.indices)
        array = array.dictionary_decode()
    return _plain(judge, array)


def _plain(judge: Callable[[pa.Array], pa.BooleanArray], array: pa.Array) -> pa.BooleanArray:
    to = comparison_type(array.type)
    if to is None:
        raise InvalidInput(f"{array.type} does not compare here: the condition is bound to another schema")
    return judge(comparable(array, to))


def _is_null(array: pa.Array) -> pa.BooleanArray:
    if pa.types.is_dictionary(array.type):
        return pc.fill_null(array.dictionary.is_null().take(array.indices), True)
    return array.is_null()


def _is_in(array: pa.Array, values: pa.Array) -> pa.BooleanArray:
    """Find values equal to a literal; null for null, and for the rest if a literal is null."""
    if values.type != array.type:
        values = values.cast(array.type)
    if pa.types.is_floating(array.type):
        # the look-up tells -0.0 from 0.0 by their bits
        values = pa.concat_arrays([values, pc.negate(values).filter(pc.equal(values, 0.0))])
    found = _found(array, values.drop_null())
    if pa.types.is_floating(array.type) and pc.any(pc.is_nan(values)).as_py():
        found = pc.or_(found, pc.fill_null(pc.is_nan(array), False))  # and one NaN from another
    known = array.is_valid()
    if values.null_count:
        known = pc.and_(known, found)
    return pc.if_else(known, found, None)


def _found(array: pa.Array, values: pa.Array) -> pa.BooleanArray:
    """Which items of an array are among values of its type, which are not null; false for null."""
    if not is_integer_like(array.type) or array.type.bit_width < 16 or len(values) > _FEW_VALUES or len(array) < _MANY:
        return pc.is_in(array, value_set=values)
    # Of 9 ns that a look-up takes, a table by the low bits spares all but 1: most items are told by it.
    table = np.zeros(1 << 16, bool)
    table[_low_bits(values)] = True
    flags = table.take(_low_bits(array))
    places = np.flatnonzero(flags)
    if 4 * len(places) > len(flags):
        return pc.is_in(array, value_set=values)
    flags[places] = bits_of(pc.is_in(array.take(pa.array(places)), value_set=values))
    packed = pa.py_buffer(np.packbits(flags, bitorder="little"))
    return pa.Array.from_buffers(pa.bool_(), len(flags), [None, packed])


def _low_bits(array: pa.Array) -> np.ndarray:
    """uint16[n]: the lowest bits of integers, or of what is stored as such."""
    data = flat_bytes(array)
    assert data is not None
    return data.view("<u2")[:: array.type.bit_width // 16]


def _has(array: pa.Array, values: pa.Array, *, every: bool) -> pa.BooleanArray:
    """Find lists with some values among their items; null for null."""
    items, rows = pc.list_flatten(array), pc.list_parent_indices(array).to_numpy()

    def having(some: pa.Array) -> Flags:
        found = np.zeros(len(array), bool)
        found[rows[true_of(_on_values(items, lambda items: _is_in(items, some)))]] = True
        return found

    found = (
        having(values) if not every else reduce(np.logical_and, (having(values[n : n + 1]) for n in range(len(values))))
    )
    return pa.array(found, mask=~valid_of(array))


def _like(array: pa.Array, like: Like) -> pa.BooleanArray:
    try:
        return matching(array, like_parts(like), case_insensitive=like.case_insensitive)
    except pa.ArrowInvalid:  # too large a program for its regular expressions
        held = pa.RecordBatch.from_arrays([array], ["text"])
        asked = Like(("text",), like.pattern, like.escape, like.case_insensitive)
        return engine_duckdb.evaluate({"passes": str(asked)}, held).column(0)


def _opaque(condition: Opaque, view: _View) -> pa.BooleanArray:
    if condition.value is not None:
        answer = compute(condition.value, view.leaf, len(view))
        if answer is not None:
            return answer
    answer = _by_duckdb(condition, view)
    if not pa.types.is_boolean(answer.type):
        answer = _by_duckdb(replace(condition, sql=f"CAST(({condition.sql}) AS BOOLEAN)"), view)
    return answer


def _by_duckdb(expression: Opaque, view: _View) -> pa.Array:
    batch = view.columns(expression.columns)
    for name, kind in expression.unions:
        at = batch.schema.get_field_index(name)
        column = batch.column(at)
        if column.type != kind:
            batch = batch.set_column(at, name, present(column, kind))
    for call in expression.calls:
        batch = batch.append_column(call.name, _called(call, batch, view))
    return engine_duckdb.evaluate({"passes": expression.sql}, batch).column(0)


def _called(call: ArrowCall, batch: pa.RecordBatch, view: _View) -> pa.Array:
    """Compute a function of pyarrow's. batch: with what its arguments name."""
    given: list[Any] = []
    for argument in call.arguments:
        if isinstance(argument, str):
            given.append(engine_duckdb.evaluate({"argument": argument}, batch).column(0))
        else:
            given.append(_decoded(view.leaf(argument)) if isinstance(argument, tuple) else argument)
    try:
        answer = pc.call_function(call.function, given, call.options)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, KeyError) as error:
        raise InvalidInput(f"pyarrow cannot compute {call.function}(): {error}", kind="filter") from error
    return pa.repeat(answer, len(view)) if isinstance(answer, pa.Scalar) else answer


def _decoded(array: pa.Array) -> pa.Array:
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


__all__ = [
    "columns_read",
    "compute_columns",
    "cost",
    "is_expression",
    "mask",
    "parse",
    "parse_expressions",
    "passing",
    "prepare",
    "select",
]
