"""Rows found by their keys: those of a source held in memory, those of a table streamed past them."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from lance_like.dataset.conversion import text_of
from lance_like.dataset.lookups import lookup_of
from lance_like.errors import InvalidInput
from lance_like.file.carry import carried_type, carry
from lance_like.typing_ import Int64s


class KeyIndex:
    """The keys of the rows of a source, each once. A key with a null equals nothing, as in SQL.

    columns: one array a key column, of the table's types. distinct: the values of each, once. ranges: their bounds.
    Raises InvalidInput for a type that has no equality here and for a key that stands twice, naming it.
    """

    def __init__(self, names: Sequence[str], columns: Sequence[pa.Array]) -> None:
        self._names = names
        values = [_comparable(column, name) for name, column in zip(names, columns, strict=True)]
        self._lookup = lookup_of(values)
        row = self._lookup.twice
        if row is not None:
            pairs = zip(names, columns, strict=True)
            shown = ", ".join(f"{name}={text_of(column[row])}" for name, column in pairs)
            raise InvalidInput(
                f"the key {shown} stands twice in the data", kind="duplicate-key", hint="give each key one row"
            )
        known = [column.drop_null() for column in values]
        # Of a single column no value stands twice.
        self.distinct = known if len(known) == 1 else [pc.unique(column) for column in known]
        self.ranges = [_range(distinct) for distinct in self.distinct]

    def __len__(self) -> int:
        """How many keys there are without a null."""
        return len(self._lookup)

    def find(self, columns: Sequence[pa.Array]) -> tuple[Int64s, Int64s]:
        """The rows of a table that have a key of the source: int64[k], ascending, and the source's row of each."""
        return self._lookup.find([_comparable(column, name) for name, column in zip(self._names, columns, strict=True)])


def _comparable(array: pa.Array, name: str) -> pa.Array:
    """Key values of a type that has equality, with one zero."""
    t = pa.types
    array = carry(array)
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if t.is_dictionary(array.type):
        array = array.dictionary_decode()
    if t.is_decimal32(array.type) or t.is_decimal64(array.type):
        # Arrow tells no equal ones among the small.
        array = array.cast(pa.decimal128(array.type.precision, array.type.scale))
    if t.is_nested(array.type) or t.is_float16(array.type) or t.is_interval(array.type):
        raise InvalidInput(
            f"the column {name!r} of type {array.type} cannot be a key", kind="type", hint="choose other keys in on="
        )
    # -0.0 and 0.0 are one key.
    return pc.add(array, pa.scalar(0.0, array.type)) if t.is_floating(array.type) else array


def _range(distinct: pa.Array) -> tuple[pa.Scalar, pa.Scalar] | None:
    """The least and the greatest value; None where that is not known."""
    kind = distinct.type
    if len(distinct) == 0 or pa.types.is_floating(kind) or carried_type(kind) is not kind:
        return None
    try:
        found = pc.min_max(distinct)
    except pa.ArrowNotImplementedError:
        return None
    return found["min"], found["max"]


__all__ = ["KeyIndex"]
