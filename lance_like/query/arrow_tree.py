"""pyarrow expressions as trees: read through their pickle form, an Arrow IPC file of one batch of one row:

    columns   the literals and function options, by number
    metadata  the tree, as ordered pairs:  call NAME … end NAME | literal COLUMN | options COLUMN
              | field_ref NAME | nested_field_ref COUNT, then COUNT field_refs

That form is no contract of pyarrow's: a test reads it with each version.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from lance_like.errors import InvalidInput
from lance_like.query.names import Path


@dataclass(frozen=True, slots=True)
class Field:
    """A column, or a field of a struct column."""

    path: Path


@dataclass(frozen=True, slots=True)
class Value:
    """A literal."""

    scalar: pa.Scalar


@dataclass(frozen=True, slots=True)
class Call:
    """A function of pyarrow's. options: None if it has none."""

    name: str
    arguments: tuple[Field | Value | Call, ...]
    options: pa.StructScalar | None = None


Node: TypeAlias = Field | Value | Call


def decode(expression: pc.Expression) -> Node:
    """Read an expression as a tree.

    Raises InvalidInput if it names columns by position, or if its form is not known.
    Cost: tens of microseconds.
    """
    try:
        return _decode(expression)
    except (pa.ArrowException, ValueError, LookupError, TypeError, AttributeError) as error:
        raise InvalidInput(
            f"this pyarrow expression cannot be read: {expression!s:.200} ({error})",
            kind="filter",
            hint="name its columns by their names, or write it as SQL",
        ) from error


def options_of(call: Call) -> pc.FunctionOptions | None:
    """Make the options of a call, as pyarrow takes them."""
    if call.options is None:
        return None
    batch = pa.RecordBatch.from_arrays([pa.repeat(call.options, 1)], [""])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return pc.FunctionOptions.deserialize(sink.getvalue())


def _decode(expression: pc.Expression) -> Node:
    _, (form,) = expression.__reduce__()[:2]
    batch = pa.ipc.open_file(form).get_batch(0)
    open_calls: list[tuple[list[Node], list[pa.StructScalar]]] = [([], [])]
    pairs = _ordered_metadata(batch.schema)
    for key, value in pairs:
        arguments, options = open_calls[-1]
        if key == "call":
            open_calls.append(([], []))
        elif key == "end":
            open_calls.pop()
            call = Call(value, tuple(arguments), options[0] if options else None)
            open_calls[-1][0].append(call)
        elif key == "field_ref":
            arguments.append(Field((value,)))
        elif key == "nested_field_ref":
            steps = [next(pairs) for _ in range(int(value))]
            if any(step != "field_ref" for step, _ in steps):
                raise ValueError("a field by its position")
            arguments.append(Field(tuple(name for _, name in steps)))
        elif key == "literal":
            arguments.append(Value(batch.column(int(value))[0]))
        elif key == "options":
            options.append(batch.column(int(value))[0])
        else:
            raise ValueError(f"{key!r} is not known")
    (arguments, _), *unclosed = open_calls
    if unclosed or len(arguments) != 1:
        raise ValueError("its form is not known")
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
        raise ValueError("its form is not known")

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


__all__ = ["Call", "Field", "Node", "Value", "decode", "options_of"]
