"""Questions about the order of values: which rows of a sorted column answer them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from lance_like.errors import InvalidInput
from lance_like.index.questions import IsNull, OneOf, Question, Range, StartsWith
from lance_like.index.scalar.keys import Side, key_type, keys_of_values, number_of, one_text
from lance_like.index.scalar.sorted_column import SortedColumn
from lance_like.typing_ import Int64s

_ORDERED = (OneOf, Range, IsNull)


def orders(kind: pa.DataType, question: Question) -> bool:
    """True when the order of values of a type answers a question."""
    return isinstance(question, _ORDERED) or (isinstance(question, StartsWith) and key_type(kind) == pa.large_string())


def places_of(column: SortedColumn, kind: pa.DataType, question: Question) -> tuple[Int64s, Int64s]:
    """Half-open ranges of the rows of a sorted column whose keys match. kind: its key type.

    Raises InvalidInput for a question that is not about the order, or asks for a value of another type.
    """
    match question:
        case OneOf(values):
            return column.equal(keys_of_values(values, kind))
        case Range(low, high, low_included, high_included):
            start = _edge(column, kind, low, "left" if low_included else "right", 0)
            end = _edge(column, kind, high, "right" if high_included else "left", column.rows)
            return np.array([start]), np.array([end])
        case StartsWith(prefix):
            first = prefix.encode()
            start, end = _text_edge(column, first), column.rows
            above = bytes_above(first)
            if above is not None:
                end = _text_edge(column, above)
            return np.array([start]), np.array([end])
        case _:
            raise InvalidInput(f"an index in order of values does not answer {type(question).__name__}", kind="index")


def bytes_above(prefix: bytes) -> bytes | None:
    """The least bytes above all that begin with others; None when there are none."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else None


def _edge(column: SortedColumn, kind: pa.DataType, bound: pa.Scalar | None, side: Side, open_: int) -> int:
    if bound is None:
        return open_
    number = number_of(bound, kind)
    return int(column.find(keys_of_values(bound, kind), side)[0]) if number is None else column.edge(number, side)


def _text_edge(column: SortedColumn, text: bytes) -> int:
    return int(column.find(one_text(text), "left")[0])


__all__ = ["bytes_above", "orders", "places_of"]
