"""Polars: a lazy frame over a dataset, with columns, predicates and row limits pushed down.

A predicate reaches the dataset as a condition that every row which Polars keeps passes too: it prunes and skips;
Polars then judges the rows that are left by itself, so that the answer is Polars' in every case. What has no
condition of ours is left to Polars alone.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa

from lance_like._lazy import need
from lance_like.dataset import LanceDataset, dataset
from lance_like.errors import LanceLikeError
from lance_like.query.expr import Compare, Expr, In, IsNull, Like, Not, all_of, any_of
from lance_like.query.names import Path

if TYPE_CHECKING:
    import polars as pl

_Node: TypeAlias = Mapping[str, Any]
"""An expression as Polars writes it to JSON; another version may write it otherwise, and then nothing is pushed."""

_COMPARISONS = {"Eq": "=", "NotEq": "<>", "Lt": "<", "LtEq": "<=", "Gt": ">", "GtEq": ">="}
_MIRRORED = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_BOUNDS = {"Both": (">=", "<="), "Left": (">=", "<"), "Right": (">", "<="), "None": (">", "<")}
_MOST_VALUES = 10_000
_WHOLE = 1 << 53  # integers up to it are doubles


def scan_lance_like(
    source: LanceDataset | str | Any, *, version: int | str | None = None, **options: Any
) -> pl.LazyFrame:
    """Read a dataset lazily in Polars.

    source: a dataset, or where one is. version, options: as of `lance_like.dataset`, for a place.
    Returns a LazyFrame: the columns it uses, its predicates and `head` are pushed down; rows come in scan order.
    Raises NotFound, MissingDependency.
    """
    polars = need("polars")
    plugins = need("polars.io.plugins")
    held = source if isinstance(source, LanceDataset) else dataset(source, version=version, **options)
    empty = held.scanner(limit=0).to_table()
    return plugins.register_io_source(_Source(held), schema=polars.from_arrow(empty).schema, is_pure=True)


@dataclass(frozen=True)
class _Source:
    """What Polars calls for the rows; pickles with its dataset."""

    dataset: LanceDataset

    def __call__(
        self, with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        polars = need("polars")
        columns = None
        if with_columns is not None:
            used = [] if predicate is None else predicate.meta.root_names()
            columns = list(dict.fromkeys([*with_columns, *used]))
        left = n_rows
        for batch in self._batches(columns, predicate, n_rows):
            frame = polars.from_arrow(batch)
            if predicate is not None:
                frame = frame.filter(predicate)
            if with_columns is not None:
                frame = frame.select(with_columns)
            if left is not None:
                frame = frame.head(left)
                left -= len(frame)
            yield frame
            if left == 0:
                return

    def _batches(
        self, columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None
    ) -> Iterator[pa.RecordBatch]:
        limit = n_rows if predicate is None else None
        condition = None if predicate is None else condition_of(predicate, self.dataset.schema)
        return self.dataset.to_batches(columns, condition, limit)


def condition_of(predicate: pl.Expr, schema: pa.Schema) -> Expr | None:
    """A condition that passes at least the rows for which a Polars expression is true; None: nothing is known.

    schema: of the dataset.
    """
    try:
        node = json.loads(predicate.meta.serialize(format="json"))
        return _Reader(schema).weaker(node)
    except (LanceLikeError, *_OTHER_SHAPES):
        return None


# What another shape of the JSON raises where it is taken apart, and what a literal that Arrow has not raises.
_OTHER_SHAPES = (LookupError, TypeError, ValueError, AttributeError, NotImplementedError)


class _Unknown(ValueError):
    """The expression holds something that has no condition of ours with the same meaning."""


@dataclass(frozen=True)
class _Reader:
    schema: pa.Schema

    def weaker(self, node: _Node) -> Expr | None:
        """A condition that is true wherever the expression is."""
        try:
            return self.same(node)
        except _OTHER_SHAPES:
            binary = node.get("BinaryExpr", {})
        if binary.get("op") in ("And", "LogicalAnd"):
            parts = [self.weaker(binary[side]) for side in ("left", "right")]
            known = [part for part in parts if part is not None]
            return all_of(known) if known else None
        if binary.get("op") in ("Or", "LogicalOr"):
            left, right = (self.weaker(binary[side]) for side in ("left", "right"))
            return None if left is None or right is None else any_of([left, right])
        return None

    def same(self, node: _Node) -> Expr:
        """The condition that is true, false and unknown for the same rows."""
        match node:
            case {"BinaryExpr": {"left": left, "op": "And" | "LogicalAnd", "right": right}}:
                return all_of([self.same(left), self.same(right)])
            case {"BinaryExpr": {"left": left, "op": "Or" | "LogicalOr", "right": right}}:
                return any_of([self.same(left), self.same(right)])
            case {"BinaryExpr": {"left": left, "op": str(op), "right": right}}:
                return self._comparison(_COMPARISONS[op], left, right)
            case {"Column": str(name)} if pa.types.is_boolean(self._type((name,))):
                return Compare("=", (name,), pa.scalar(True))
            case {"Function": {"input": inputs, "function": function}}:
                return self._function(inputs, function)
        raise _Unknown

    def _function(self, inputs: list[_Node], function: _Node) -> Expr:
        match inputs, function:
            case [child], {"Boolean": "Not"}:
                return Not(self.same(child))
            case [child], {"Boolean": "IsNull"}:
                return IsNull(self._path(child))
            case [child], {"Boolean": "IsNotNull"}:
                return Not(IsNull(self._path(child)))
            case [child, low, high], {"Boolean": {"IsBetween": {"closed": closed}}}:
                lower, upper = _BOUNDS[closed]
                return all_of([self._comparison(lower, child, low), self._comparison(upper, child, high)])
            case [child, values], {"Boolean": {"IsIn": _}}:
                return self._in(self._path(child), _evaluated(values))
            case [child, text], {"StringExpr": "StartsWith"}:
                return self._prefix(self._path(child), _evaluated(text))
        raise _Unknown

    def _path(self, node: _Node) -> Path:
        match node:
            case {"Column": str(name)}:
                return (name,)
            case {"Function": {"input": [parent], "function": {"StructExpr": {"FieldByName": str(name)}}}}:
                return (*self._path(parent), name)
        raise _Unknown

    def _type(self, path: Path) -> pa.DataType:
        kind = self.schema.field(path[0]).type
        for name in path[1:]:
            kind = kind.field(name).type
        return kind.value_type if pa.types.is_dictionary(kind) else kind

    def _comparison(self, op: str, left: _Node, right: _Node) -> Expr:
        if "Literal" in left:
            left, right, op = right, left, _MIRRORED[op]
        path = self._path(left)
        [value] = _evaluated(right)
        if not value.is_valid:
            raise _Unknown
        return Compare(op, path, self._alike(path, value))

    def _in(self, path: Path, values: pa.Array) -> Expr:
        if pa.types.is_nested(values.type):
            values = values.flatten()
        if not 0 < len(values) <= _MOST_VALUES or values.null_count:
            raise _Unknown
        alike = [self._alike(path, value) for value in values]
        return In(path, pa.concat_arrays([pa.repeat(value, 1) for value in alike]))

    def _prefix(self, path: Path, texts: pa.Array) -> Expr:
        [text] = texts
        self._alike(path, text)
        escaped = text.as_py().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        return Like(path, escaped + "%", "\\")

    def _alike(self, path: Path, value: pa.Scalar) -> pa.Scalar:
        """A literal that both libraries compare with the column in one way: one of the same kind of type."""
        kind, mine = self._type(path), value.type
        if pa.types.is_float64(kind) and pa.types.is_integer(mine) and abs(value.as_py()) <= _WHOLE:
            return value.cast(kind)
        if _kind(kind) is None or _kind(kind) != _kind(mine):
            raise _Unknown
        return value.cast(pa.string()) if _kind(mine) == "text" else value


def _kind(kind: pa.DataType) -> str | None:
    types = pa.types
    if types.is_integer(kind):
        return "integer"
    if types.is_floating(kind):
        return str(kind)
    if types.is_string(kind) or types.is_large_string(kind) or str(kind) == "string_view":
        return "text"
    if types.is_date32(kind):
        return "date"
    if types.is_timestamp(kind):
        return f"timestamp with zone {kind.tz}"
    return None


def _evaluated(node: _Node) -> pa.Array:
    """The values of a literal, as Polars reads it. Raises _Unknown for anything else."""
    if "Literal" not in node:
        raise _Unknown
    polars = need("polars")
    try:
        literal = polars.Expr.deserialize(io.BytesIO(json.dumps(node).encode()), format="json")
    except polars.exceptions.PolarsError:
        raise _Unknown from None  # infinities and NaN, which JSON has no words for
    return polars.select(literal).to_series().to_arrow()


__all__ = ["condition_of", "scan_lance_like"]
