"""Conditions and expressions built in Python: `lance_like.col`, `lit`, `func`, `expr` and `when`.

    (col("price") > 3) & col("tags").is_not_null()        price > 3 AND tags IS NOT NULL
    func("lower", col("name")).startswith("a")            starts_with(lower(name), 'a')
    when(col("n") % 2 == 0).then("even").otherwise("odd") CASE WHEN … THEN … ELSE … END

They are the same trees that SQL text becomes, with the same meaning; `str(expression)` is the SQL.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

import pyarrow as pa

from lance_like.errors import InvalidInput
from lance_like.query import sql
from lance_like.query.arithmetic import ARITHMETIC, MIRRORED, Comparison, Constant, Operation, Value
from lance_like.query.arithmetic import Column as ColumnValue
from lance_like.query.engine_duckdb import no_row_value
from lance_like.query.expr import (
    BoolColumn,
    Compare,
    Expr,
    In,
    IsNull,
    Like,
    Literal,
    Not,
    Opaque,
    all_of,
    any_of,
    like_text,
    opaque_of,
)
from lance_like.query.literals import comparison_type
from lance_like.query.names import Path
from lance_like.query.spelling import sql_of, sql_type
from lance_like.table.schema import split_path

_NAME = re.compile(r"[A-Za-z_]\w*")


class Expression:
    """A condition, or the value of a column; made by `col`, `lit`, `func`, `expr`, `when`.

    Operators: == != < <= > >= & | ~ + - * / % // **, and [] for a field of a struct (by name) or an item of a list
    (by number, from 0). Values of Python, numpy and pyarrow stand for themselves.
    """

    __slots__ = ("scalar", "tree")
    __hash__ = None  # type: ignore[assignment]  # == makes a condition

    def __init__(self, tree: Expr, scalar: pa.Scalar | None = None) -> None:
        self.tree = tree
        self.scalar = scalar

    def __str__(self) -> str:
        return str(self.tree)

    __repr__ = __str__

    def __bool__(self) -> NoReturn:
        raise InvalidInput(
            "an expression is neither true nor false before it meets rows", hint="join conditions by &, | and ~"
        )

    @property
    def path(self) -> Path | None:
        """The path of a plain column; None for all else."""
        return self.tree.path if isinstance(self.tree, BoolColumn) else None

    @property
    def opaque(self) -> Opaque:
        """The expression as one that DuckDB evaluates, or arithmetic that needs no DuckDB."""
        if isinstance(self.tree, BoolColumn):
            return Opaque(str(self), frozenset([self.tree.path]), value=ColumnValue(self.tree.path))
        return opaque_of(self.tree)

    def __eq__(self, other: Any) -> Expression:  # type: ignore[override]
        return self._compared("=", other)

    def __ne__(self, other: Any) -> Expression:  # type: ignore[override]
        return self._compared("<>", other)

    def __lt__(self, other: Any) -> Expression:
        return self._compared("<", other)

    def __le__(self, other: Any) -> Expression:
        return self._compared("<=", other)

    def __gt__(self, other: Any) -> Expression:
        return self._compared(">", other)

    def __ge__(self, other: Any) -> Expression:
        return self._compared(">=", other)

    def __and__(self, other: Any) -> Expression:
        return Expression(all_of([self.tree, _of(other).tree]))

    def __or__(self, other: Any) -> Expression:
        return Expression(any_of([self.tree, _of(other).tree]))

    def __rand__(self, other: Any) -> Expression:
        return _of(other) & self

    def __ror__(self, other: Any) -> Expression:
        return _of(other) | self

    def __invert__(self) -> Expression:
        return Expression(Not(self.tree))

    def __add__(self, other: Any) -> Expression:
        return _operation("+", self, other)

    def __radd__(self, other: Any) -> Expression:
        return _operation("+", other, self)

    def __sub__(self, other: Any) -> Expression:
        return _operation("-", self, other)

    def __rsub__(self, other: Any) -> Expression:
        return _operation("-", other, self)

    def __mul__(self, other: Any) -> Expression:
        return _operation("*", self, other)

    def __rmul__(self, other: Any) -> Expression:
        return _operation("*", other, self)

    def __truediv__(self, other: Any) -> Expression:
        return _operation("/", self, other)

    def __rtruediv__(self, other: Any) -> Expression:
        return _operation("/", other, self)

    def __floordiv__(self, other: Any) -> Expression:
        return _operation("//", self, other)

    def __rfloordiv__(self, other: Any) -> Expression:
        return _operation("//", other, self)

    def __mod__(self, other: Any) -> Expression:
        return _operation("%", self, other)

    def __rmod__(self, other: Any) -> Expression:
        return _operation("%", other, self)

    def __pow__(self, other: Any) -> Expression:
        return func("power", self, other)

    def __neg__(self) -> Expression:
        return _written("(- {})", self)

    def __getitem__(self, key: str | int) -> Expression:
        """The field of a struct, or the item of a list; negative numbers count from its end."""
        if isinstance(key, str):
            if self.path is not None:
                return Expression(BoolColumn((*self.path, key)))
            return func("struct_extract", self, key)
        if not isinstance(key, int):
            raise InvalidInput(f"{key!r} is no name of a field and no number of an item")
        return _written(f"({{}})[{key if key < 0 else key + 1}]", self)

    def isin(self, values: Iterable[Any]) -> Expression:
        """Whether it equals one of some values; with a null among them, all else is unknown. None: false."""
        listed = [] if isinstance(values, pa.Array) else list(map(_of, values))
        array: Any = values if isinstance(values, pa.Array) else _array(listed)
        if array is None:
            return _joined(self, "IN", listed)
        if len(array) == 0:
            return Expression(Literal(False))
        if self.path is not None and comparison_type(array.type) is not None:
            return Expression(In(self.path, array))
        return _joined(self, "IN", list(map(lit, array)))

    def is_null(self) -> Expression:
        """Whether it has no value."""
        return Expression(IsNull(self.path)) if self.path is not None else _written("({} IS NULL)", self)

    def is_not_null(self) -> Expression:
        """Whether it has a value."""
        return ~self.is_null()

    def between(self, lower: Any, upper: Any) -> Expression:
        """Whether it lies between two values, both included."""
        return (self >= lower) & (self <= upper)

    def like(self, pattern: str, escape: str = "") -> Expression:
        """Whether a text matches a pattern of `%` (any letters) and `_` (one letter)."""
        return self._like(pattern, escape, False)

    def ilike(self, pattern: str, escape: str = "") -> Expression:
        """`like` without regard to case."""
        return self._like(pattern, escape, True)

    def rlike(self, pattern: str) -> Expression:
        """Whether a part of a text matches a regular expression."""
        return func("regexp_matches", self, pattern)

    def startswith(self, text: str) -> Expression:
        """Whether a text begins with another."""
        return self._like(like_text(text) + "%", "\\", False)

    def endswith(self, text: str) -> Expression:
        """Whether a text ends with another."""
        return self._like("%" + like_text(text), "\\", False)

    def contains(self, text: str) -> Expression:
        """Whether a text holds another."""
        return self._like(f"%{like_text(text)}%", "\\", False)

    def cast(self, kind: pa.DataType | str) -> Expression:
        """The value as another type: of Arrow, or by its name in SQL."""
        name = kind if isinstance(kind, str) else sql_type(kind)
        sql.parse(f"CAST(NULL AS {name})")  # raises for what is no type
        return _written(f"CAST({{}} AS {name})", self)

    def _like(self, pattern: str, escape: str, case_insensitive: bool) -> Expression:
        if self.path is not None:
            return Expression(Like(self.path, pattern, escape, case_insensitive))
        word = "ILIKE" if case_insensitive else "LIKE"
        given = [self, lit(pattern), *([lit(escape)] if escape else [])]
        return _written(f"({{}} {word} {{}}{' ESCAPE {}' if escape else ''})", *given)

    def _compared(self, op: str, other: Any) -> Expression:
        other = _of(other)
        if self.path is not None and other.scalar is not None and _compares(other.scalar):
            return Expression(Compare(op, self.path, other.scalar))
        if other.path is not None and self.scalar is not None and _compares(self.scalar):
            return Expression(Compare(MIRRORED[op], other.path, self.scalar))
        left, right = self.opaque.value, other.opaque.value
        value = None if left is None or right is None else Comparison(op, left, right)
        return _written(f"({{}} {op} {{}})", self, other, value=value)


def col(*names: str) -> Expression:
    """Name a column, or a field of a struct column.

    names: one name, as `columns=` of a read takes it ("a", "s.x", "`a.b`.c"); or one name for each step as it is.
    """
    if not names or not all(isinstance(name, str) for name in names):
        raise InvalidInput(f"col{names!r}: expected the name of a column")
    return Expression(BoolColumn(split_path(names[0]) if len(names) == 1 else names))


def lit(value: Any) -> Expression:
    """Make an expression of a value of Python, numpy or pyarrow."""
    try:
        scalar = value if isinstance(value, pa.Scalar) else pa.scalar(value, _type_of(value))
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError) as error:
        raise InvalidInput(f"{value!r:.80} has no Arrow type: {error}") from error
    if pa.types.is_boolean(scalar.type) or pa.types.is_null(scalar.type):
        return Expression(Literal(scalar.as_py()), scalar)
    return Expression(Opaque(sql_of(scalar), frozenset(), value=Constant(scalar) if scalar.is_valid else None), scalar)


def func(name: str, *arguments: Any) -> Expression:
    """Call a function of SQL by its name. Raises InvalidInput for one that folds rows or makes several."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"{name!r} is no name of a function")
    found = no_row_value(name)
    if found:
        raise InvalidInput(f"{found} has no value for a single row", kind="filter")
    return _written(f"{name}({', '.join(['{}'] * len(arguments))})", *map(_of, arguments))


def expr(text: str) -> Expression:
    """Read SQL text as a condition or an expression. Raises InvalidInput as a filter does."""
    return Expression(sql.parse(text))


@dataclass(frozen=True, slots=True)
class When:
    """A condition of a choice that waits for its value. cases: conditions and values before it."""

    cases: tuple[Expression, ...]
    condition: Expression

    def then(self, value: Any) -> Case:
        """Give the value where the condition holds and none before it did."""
        return Case((*self.cases, self.condition, _of(value)))


class Case(Expression):
    """Some cases of a choice: an expression by itself, null where none holds."""

    __slots__ = ("_cases",)

    def __init__(self, cases: tuple[Expression, ...]) -> None:
        super().__init__(_case(cases).tree)
        self._cases = cases

    def when(self, condition: Any) -> When:
        """Add a case."""
        return When(self._cases, _of(condition))

    def otherwise(self, value: Any) -> Expression:
        """Give the value where no case holds."""
        return _case((*self._cases, _of(value)))


def when(condition: Any) -> When:
    """Choose by conditions: `when(c).then(v).when(d).then(w).otherwise(x)`; null where none holds and without x."""
    return When((), _of(condition))


def _case(parts: tuple[Expression, ...]) -> Expression:
    rest = " ELSE {}" if len(parts) % 2 else ""
    return _written(f"CASE{' WHEN {} THEN {}' * (len(parts) // 2)}{rest} END", *parts)


def _of(value: Any) -> Expression:
    return value if isinstance(value, Expression) else lit(value)


def _array(values: list[Expression]) -> pa.Array | None:
    """Literals as one array; None if some are no literals, or of types that no array holds together."""
    scalars = [value.scalar for value in values]
    try:
        known = [scalar.as_py() for scalar in scalars if scalar is not None]
        kinds = {_type_of(value) for value in known} - {None}
        return pa.array(known, *kinds) if len(known) == len(scalars) else None
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return None


def _type_of(value: Any) -> pa.DataType | None:
    """The type of an integer that is too long for Arrow to give it one; None for all else."""
    if not isinstance(value, int) or -(1 << 63) <= value < 1 << 63:
        return None
    return pa.uint64() if 0 < value < 1 << 64 else pa.decimal128(38, 0)


def _compares(scalar: pa.Scalar) -> bool:
    return not scalar.is_valid or comparison_type(scalar.type) is not None


def _operation(symbol: str, left: Any, right: Any) -> Expression:
    left, right = _of(left), _of(right)
    one, other = left.opaque.value, right.opaque.value
    known = symbol in ARITHMETIC and one is not None and other is not None
    value = Operation(symbol, one, other) if known else None  # type: ignore[arg-type]
    return _written(f"({{}} {symbol} {{}})", left, right, value=value)


def _joined(first: Expression, word: str, others: list[Expression]) -> Expression:
    return _written(f"({{}} {word} ({', '.join(['{}'] * len(others))}))", first, *others)


def _written(template: str, *parts: Expression, value: Value | None = None) -> Expression:
    """Write an expression over others. template: with `{}` for each."""
    opaque = [part.opaque for part in parts]
    text = template.format(*(f"({one.sql})" if " " in one.sql else one.sql for one in opaque))
    columns = frozenset(path for one in opaque for path in one.columns)
    maybe = frozenset(path for one in opaque for path in one.maybe)
    return Expression(Opaque(text, columns, maybe, value, tuple(call for one in opaque for call in one.calls)))


__all__ = ["Case", "Expression", "When", "col", "expr", "func", "lit", "when"]
