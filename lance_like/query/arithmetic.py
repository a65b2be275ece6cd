"""Arithmetic and comparisons that pyarrow and numpy compute with DuckDB's answers and types, without asking it.

| expression | where |
|---|---|
| column | boolean, integer, float, double, text |
| literal | boolean, whole number, double, text |
| `a + b`, `a - b`, `a * b` | int32, int64, double; whole literals |
| `a % n`, `a / n` | n a literal: whole and above 0; any number but 0 |
| `a = b`, `<>`, `<`, `<=`, `>`, `>=` | with a literal, or integers or text on both sides |
| `upper(a)`, `lower(a)`, `length(a)` | text; cases where all letters of a batch are ASCII |
| `a LIKE '…'`, `ILIKE` | text |

Everything else is DuckDB's, and so is what a kernel refuses, as an overflow: DuckDB then words the error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lance_like.query.literals import comparable, exact, is_text
from lance_like.query.names import Path, find
from lance_like.query.patterns import Wild, matching
from lance_like.query.texts import ascii_lower, ascii_upper, lengths

MIRRORED = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
"""Comparison -> the one that says the same with its sides changed over."""

ARITHMETIC = frozenset("+-*/%")

TEXT_FUNCTIONS: dict[str, Callable[[pa.Array], pa.Array]] = {
    **dict.fromkeys(["upper", "ucase"], ascii_upper),
    **dict.fromkeys(["lower", "lcase"], ascii_lower),
    **dict.fromkeys(["length", "len", "char_length", "character_length"], lengths),
}
"""Name of a function of one text, in lower case -> what computes it, or raises ArrowInvalid where DuckDB must."""

_INT32, _INT64, _DOUBLE = pa.int32(), pa.int64(), pa.float64()
_WIDTHS = {_INT32: 0, _INT64: 1, _DOUBLE: 2}
_OPERATIONS: dict[tuple[str, bool], Callable[..., pa.Array]] = {
    ("+", False): pc.add_checked,
    ("-", False): pc.subtract_checked,
    ("*", False): pc.multiply_checked,
    ("+", True): pc.add,
    ("-", True): pc.subtract,
    ("*", True): pc.multiply,
    ("/", True): pc.divide,
}
_COMPARISONS: dict[str, Callable[..., pa.BooleanArray]] = {
    "=": pc.equal,
    "<>": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column. type: None until it is bound."""

    path: Path
    type: pa.DataType | None = None


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal, not null; bound, of the type that DuckDB gives it there."""

    value: pa.Scalar

    @property
    def type(self) -> pa.DataType:
        return self.value.type


@dataclass(frozen=True, slots=True)
class Operation:
    """Two numbers joined by one of `ARITHMETIC`. type: of the result, None until it is bound."""

    symbol: str
    left: Value
    right: Value
    type: pa.DataType | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two values compared. symbol: one of `MIRRORED`. Bound, a literal is on the right."""

    symbol: str
    left: Value
    right: Value

    @property
    def type(self) -> pa.DataType:
        return pa.bool_()


@dataclass(frozen=True, slots=True)
class Call:
    """A function of a text. name: one of `TEXT_FUNCTIONS`."""

    name: str
    of: Value

    @property
    def type(self) -> pa.DataType:
        return _INT64 if TEXT_FUNCTIONS[self.name] is lengths else pa.string()


@dataclass(frozen=True, slots=True)
class Matching:
    """A text that matches a pattern or, negated, does not. parts: as of `patterns.parts_of`."""

    of: Value
    parts: tuple[str | Wild, ...]
    case_insensitive: bool = False
    negated: bool = False

    @property
    def type(self) -> pa.DataType:
        return pa.bool_()


Value: TypeAlias = Column | Constant | Operation | Comparison | Call | Matching


def bind_value(value: Value, schema: pa.Schema) -> Value | None:
    """Find the columns of a value and the types of all that is in it; None if DuckDB must compute it.

    Raises NotFound and InvalidInput as `names.find` does.
    """
    match value:
        case Column(path):
            path, kind = find(path, schema)
            return Column(path, kind) if _is_plain(kind) else None
        case Constant(literal):
            return _constant(literal)
        case Call(of=of) | Matching(of=of):
            text = bind_value(of, schema)
            if text is None or isinstance(text, Constant) or text.type != pa.string():
                return None
            return replace(value, of=text)
    left, right = _bind_side(value.left, schema), _bind_side(value.right, schema)
    if left is None or right is None or (isinstance(left, Constant) and isinstance(right, Constant)):
        return None
    if isinstance(value, Comparison):
        return _comparison(value.symbol, left, right)
    return _operation(value.symbol, left, right)


def _bind_side(value: Value, schema: pa.Schema) -> Value | None:
    """Bind a part; a literal takes its type from the other side."""
    return value if isinstance(value, Constant) else bind_value(value, schema)


def _is_plain(kind: pa.DataType) -> bool:
    """Tell whether values of a type come out of DuckDB as they went in."""
    types = pa.types
    is_float = types.is_float32(kind) or types.is_float64(kind)
    return types.is_boolean(kind) or types.is_integer(kind) or is_float or types.is_string(kind)


def _constant(literal: pa.Scalar) -> Constant | None:
    if pa.types.is_integer(literal.type):
        kind = _whole_type(literal)
        return None if kind is None else Constant(pa.scalar(literal.as_py(), kind))
    known = pa.types.is_boolean(literal.type) or literal.type == _DOUBLE or pa.types.is_string(literal.type)
    return Constant(literal) if known else None


def _whole_type(literal: pa.Scalar) -> pa.DataType | None:
    """The type that DuckDB gives a whole literal."""
    whole = literal.as_py()
    if -(2**31) <= whole < 2**31:
        return _INT32
    return _INT64 if whole < 2**63 else None


def _operation(symbol: str, left: Value, right: Value) -> Operation | None:
    if symbol in "%/" and not _is_divisor(symbol, right):
        return None
    left_type, right_type = _type_beside(left, right), _type_beside(right, left)
    if left_type is None or right_type is None:
        return None
    kind = max(left_type, right_type, key=_WIDTHS.__getitem__)
    if symbol == "%" and kind == _DOUBLE:
        return None
    if symbol == "/":
        if isinstance(right, Constant) and pa.types.is_decimal(right.type) and left_type != _DOUBLE:
            return None
        kind = _DOUBLE
    return Operation(symbol, _literal_of(left, kind), _literal_of(right, kind), kind)


def _literal_of(value: Value, kind: pa.DataType) -> Value:
    """A literal in the type that is computed in, so that it is not cast for each batch."""
    if not isinstance(value, Constant) or value.type == kind:
        return value
    literal = exact(value.value, kind)
    return Constant(_cast(value.value, kind) if literal is None else literal)


def _is_divisor(symbol: str, value: Value) -> bool:
    """Tell whether every number can be divided by a value: 0 divides none, -1 not the least one."""
    if not isinstance(value, Constant) or pa.types.is_boolean(value.type) or is_text(value.type):
        return False
    number = value.value.as_py()
    return number > 0 if symbol == "%" else number != 0


def _type_beside(value: Value, other: Value) -> pa.DataType | None:
    """The type of a side of an operation, one of those that are computed; None if it is of another."""
    if not isinstance(value, Constant):
        return value.type if value.type in _WIDTHS else None
    if other.type == _DOUBLE:
        return None if exact(value.value, _DOUBLE) is None else _DOUBLE
    return _whole_type(value.value) if pa.types.is_integer(value.type) else None


def _comparison(symbol: str, left: Value, right: Value) -> Comparison | None:
    if isinstance(left, Constant):
        left, right, symbol = right, left, MIRRORED[symbol]
    kind = left.type
    assert kind is not None
    comparable_kind = pa.types.is_integer(kind) or pa.types.is_string(kind)
    if isinstance(right, Constant):
        if not comparable_kind and kind != _DOUBLE:
            return None
        literal = exact(right.value, kind)
        return None if literal is None or literal.type != kind else Comparison(symbol, left, Constant(literal))
    signed = kind in _WIDTHS and right.type in _WIDTHS and _DOUBLE not in (kind, right.type)
    return Comparison(symbol, left, right) if signed or (comparable_kind and kind == right.type) else None


def compute(value: Value, leaf: Callable[[Path], pa.Array], rows: int) -> pa.Array | None:
    """The value of each row, in the type that DuckDB gives it.

    value: bound. leaf: the array of a column.
    Returns None if a kernel refuses: DuckDB decides.
    """
    if rows == 0:
        return pa.array([], value.type)
    try:
        found = _compute(value, leaf)
        return pa.repeat(found, rows) if isinstance(found, pa.Scalar) else found
    except pa.ArrowInvalid:
        return None


def _compute(value: Value, leaf: Callable[[Path], pa.Array]) -> Any:
    match value:
        case Column(path):
            return leaf(path)
        case Constant(literal):
            return literal
        case Call(name, of):
            return TEXT_FUNCTIONS[name](comparable(_compute(of, leaf), pa.string()))
        case Matching(of, parts, case_insensitive, negated):
            texts = comparable(_compute(of, leaf), pa.string())
            found = matching(texts, parts, case_insensitive=case_insensitive)
            return pc.invert(found) if negated else found
        case Comparison(symbol, left, right):
            return compare(symbol, _compute(left, leaf), _compute(right, leaf))
    assert value.type is not None
    left, right = (_cast(_compute(side, leaf), value.type) for side in (value.left, value.right))
    if value.symbol == "%":
        return _remainder(left, right.as_py())
    return _OPERATIONS[value.symbol, value.type == _DOUBLE](left, right)


def _cast(value: Any, kind: pa.DataType) -> Any:
    # An integer beyond 2**53 goes to the nearest double, as in DuckDB.
    return value if value.type == kind else pc.cast(value, kind, safe=False)


def _remainder(array: pa.Array, divisor: int) -> pa.Array:
    """The rest of a division that rounds to zero. divisor: above 0."""
    known = (array.fill_null(0) if array.null_count else array).to_numpy()
    if len(known) and known.min() < 0:
        found = np.fmod(known, divisor)
    else:
        found = known // divisor  # the only division here that runs several values at a time
        found *= divisor
        np.subtract(known, found, out=found)
    rest = pa.array(found, array.type)
    return pc.if_else(array.is_valid(), rest, None) if array.null_count else rest


def compare(symbol: str, array: pa.Array, value: Any) -> pa.BooleanArray:
    """Compare values with a literal, or integers or text with such; every NaN is equal and above all else."""
    if pa.types.is_floating(array.type):
        if pa.types.is_float64(value.type):
            array = comparable(array, value.type)
        if np.isnan(value.as_py()):
            return _compare_with_nan(symbol, array)
        # NaN is in neither "less" nor "less or equal", so it is in what they leave
        if symbol in (">", ">="):
            return pc.invert(pc.less_equal(array, value) if symbol == ">" else pc.less(array, value))
    elif isinstance(value, pa.Scalar) and value.type != array.type:
        value = value.cast(array.type)
    return _COMPARISONS[symbol](array, value)


def _compare_with_nan(symbol: str, array: pa.Array) -> pa.BooleanArray:
    nan = pc.is_nan(array)
    if symbol in ("=", ">="):
        return nan
    if symbol in ("<>", "<"):
        return pc.invert(nan)
    return pc.or_(nan, True) if symbol == "<=" else pc.and_(nan, False)  # not Kleene's: null stays null


__all__ = [
    "ARITHMETIC",
    "MIRRORED",
    "TEXT_FUNCTIONS",
    "Call",
    "Column",
    "Comparison",
    "Constant",
    "Matching",
    "Operation",
    "Value",
    "bind_value",
    "compare",
    "compute",
]
