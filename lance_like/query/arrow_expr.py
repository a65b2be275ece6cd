"""pyarrow expressions, as users write them and as DuckDB pushes them down, turned into the tree of `expr`.

An expression is read through its pickle form, an Arrow IPC file of one batch of one row:

    columns   the literals and function options, by number
    metadata  the tree, as ordered pairs:  call NAME … end NAME | literal COLUMN | options COLUMN
              | field_ref NAME | nested_field_ref COUNT, then COUNT field_refs

That form is no contract of pyarrow's. So whatever is not known here, from one function to the whole form, is left
to pyarrow as an `ArrowOpaque`: slower, never wrong.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from lance_like.query.expr import (
    ArrowOpaque,
    BoolColumn,
    Compare,
    Expr,
    In,
    IsNull,
    Like,
    Literal,
    Not,
    Path,
    all_of,
    any_of,
)
from lance_like.query.literals import comparison_type

_COMPARISONS = {
    "equal": "=",
    "not_equal": "<>",
    "less": "<",
    "less_equal": "<=",
    "greater": ">",
    "greater_equal": ">=",
}
_MIRRORED = {"=": "=", "<>": "<>", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_MATCH, _SKIP = 0, 1  # null_matching_behavior of is_in


@dataclass(frozen=True, slots=True)
class _Field:
    path: Path


@dataclass(frozen=True, slots=True)
class _Value:
    scalar: pa.Scalar


@dataclass(frozen=True, slots=True)
class _Call:
    name: str
    arguments: tuple[_Field | _Value | _Call, ...]
    options: pa.StructScalar | None


_Node: TypeAlias = _Field | _Value | _Call


class _Unknown(Exception):
    """The expression holds something that has no node of ours."""


def from_arrow(expression: pc.Expression) -> Expr:
    """Read a pyarrow expression.

    Returns a condition to be bound to a schema. Comparisons have DuckDB's meaning (NaN is the greatest number),
    what stays `ArrowOpaque` has pyarrow's.
    Cost: tens of microseconds.
    """
    try:
        tree = _decode(expression)
    except (_Unknown, pa.ArrowException, ValueError, LookupError, TypeError, AttributeError):
        return ArrowOpaque(expression)
    known: list[Expr] = []
    rest = False
    for part in _and_parts(tree):
        try:
            known.append(_condition(part))
        except (_Unknown, LookupError, TypeError, AttributeError, RecursionError):
            rest = True
    if rest:
        # the parts that are known still prune; the whole expression decides
        known.append(ArrowOpaque(expression, frozenset(_paths(tree))))
    return all_of(known)


def _decode(expression: pc.Expression) -> _Node:
    _, (form,) = expression.__reduce__()[:2]
    batch = pa.ipc.open_file(form).get_batch(0)
    open_calls: list[tuple[list[_Node], list[pa.StructScalar]]] = [([], [])]
    pairs = _ordered_metadata(batch.schema)
    for key, value in pairs:
        arguments, options = open_calls[-1]
        if key == "call":
            open_calls.append(([], []))
        elif key == "end":
            open_calls.pop()
            call = _Call(value, tuple(arguments), options[0] if options else None)
            open_calls[-1][0].append(call)
        elif key == "field_ref":
            arguments.append(_Field((value,)))
        elif key == "nested_field_ref":
            steps = [next(pairs) for _ in range(int(value))]
            if any(step != "field_ref" for step, _ in steps):
                raise _Unknown
            arguments.append(_Field(tuple(name for _, name in steps)))
        elif key == "literal":
            arguments.append(_Value(batch.column(int(value))[0]))
        elif key == "options":
            options.append(batch.column(int(value))[0])
        else:
            raise _Unknown
    (arguments, _), *unclosed = open_calls
    if unclosed or len(arguments) != 1:
        raise _Unknown
    return arguments[0]


class _CSchema(ctypes.Structure):
    """The head of the Arrow C data interface's schema: all that holds the metadata."""

    _fields_ = [("format", ctypes.c_char_p), ("name", ctypes.c_char_p), ("metadata", ctypes.c_void_p)]


def _ordered_metadata(schema: pa.Schema) -> Iterator[tuple[str, str]]:
    """Read the metadata of a schema pair by pair: `schema.metadata` keeps one of a repeated key only."""
    capsule = schema.__arrow_c_schema__()
    pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    at = _CSchema.from_address(pointer_of(capsule, b"arrow_schema")).metadata
    if at is None:
        raise _Unknown

    def number() -> int:
        nonlocal at
        at += 4
        return ctypes.c_int32.from_address(at - 4).value

    def text() -> str:
        nonlocal at
        length = number()
        at += length
        return ctypes.string_at(at - length, length).decode()

    # all of it now: the memory goes when the capsule does
    return iter([(text(), text()) for _ in range(number())])


def _and_parts(node: _Node) -> Iterator[_Node]:
    waiting = [node]
    while waiting:
        this = waiting.pop()
        if isinstance(this, _Call) and this.name == "and_kleene":
            waiting.extend(reversed(this.arguments))
        else:
            yield this


def _paths(node: _Node) -> Iterator[Path]:
    waiting = [node]
    while waiting:
        this = waiting.pop()
        if isinstance(this, _Field):
            yield this.path
        elif isinstance(this, _Call):
            waiting.extend(this.arguments)


def _condition(node: _Node) -> Expr:
    match node:
        case _Field(path):
            return BoolColumn(path)
        case _Call("and_kleene", arguments):
            return all_of(_condition(argument) for argument in arguments)
        case _Call("or_kleene", arguments):
            return any_of(_condition(argument) for argument in arguments)
        case _Call("invert", (argument,)):
            return Not(_condition(argument))
        case _Call("is_valid", (_Field(path),)):
            return Not(IsNull(path))
        case _Call("is_null", (_Field(path),), options):
            nan = Compare("=", path, pa.scalar(float("nan")))
            nan_too = options is not None and options["nan_is_null"].as_py()
            return any_of([IsNull(path), nan]) if nan_too else IsNull(path)
        case _Call("is_nan", (_Field(path),)):
            return Compare("=", path, pa.scalar(float("nan")))
        case _Call("is_in", (_Field(path),), options) if options is not None:
            return _is_in(path, options)
        case _Call("if_else", (_Call("is_valid", (_Field(path),)), then, _Value(other))):
            if other.is_valid:
                raise _Unknown
            return _null_for_null(path, then)
        case _Call("match_like", (_Field(path),), options) if options is not None:
            pattern = options["pattern"].as_py()
            if options["ignore_case"].as_py() or "\\" in pattern:
                raise _Unknown
            return Like(path, pattern)
        case _Call(name, (_Field(path), _Value(value))) if name in _COMPARISONS:
            return Compare(_COMPARISONS[name], path, _literal(value))
        case _Call(name, (_Value(value), _Field(path))) if name in _COMPARISONS:
            return Compare(_MIRRORED[_COMPARISONS[name]], path, _literal(value))
        case _Value(value) if pa.types.is_boolean(value.type) or pa.types.is_null(value.type):
            return Literal(value.as_py())
        case _:
            raise _Unknown


def _null_for_null(path: Path, node: _Node) -> Expr:
    """Read a condition on one column that is unknown where the column is null: how DuckDB pushes IN down."""
    match node:
        case _Call("or_kleene", arguments):
            return any_of(_null_for_null(path, argument) for argument in arguments)
        case _Call("is_in", (_Field(same),), options) if same == path and options is not None:
            return _in(path, options)
        case _Call(name, (_Field(same), _Value(value))) if same == path and value.is_valid:
            return Compare(_COMPARISONS[name], path, _literal(value))
        case _:
            raise _Unknown


def _literal(value: pa.Scalar) -> pa.Scalar:
    value = value.value if isinstance(value, pa.DictionaryScalar) else value
    if value.is_valid and comparison_type(value.type) is None:
        raise _Unknown
    return value


def _in(path: Path, options: pa.StructScalar) -> Expr:
    values = options["value_set"].values
    values = values.dictionary_decode() if pa.types.is_dictionary(values.type) else values
    values = values.drop_null()
    if len(values) == 0 or comparison_type(values.type) is None:
        raise _Unknown
    return In(path, values)


def _is_in(path: Path, options: pa.StructScalar) -> Expr:
    """Read is_in, which unlike IN is false for null, or true if null is one of the values."""
    behaviour = options["null_matching_behavior"].as_py()
    if behaviour not in (_MATCH, _SKIP):
        raise _Unknown
    values = options["value_set"].values
    some = len(values) > values.null_count
    found = all_of([Not(IsNull(path)), _in(path, options)]) if some else Literal(False)
    return any_of([IsNull(path), found]) if behaviour == _MATCH and values.null_count else found


__all__ = ["from_arrow"]
