"""Rows found by their keys: those of a source held in memory, those of a table streamed past them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lance_like.errors import InvalidInput
from lance_like.file.carry import carried_type, carry
from lance_like.typing_ import Int64s

# Integer keys whose values span at most this are looked up in a table of the span: a tenth of the time of hashing.
_DENSE_SPAN = 1 << 24
# Products of the numbers of distinct values stay below this, so that a row's key is one integer.
_MOST_CODES = 1 << 62


class KeyIndex:
    """The keys of the rows of a source, each once. A key with a null equals nothing, as in SQL.

    columns: one array a key column, of the table's types. distinct: the values of each, once. ranges: their bounds.
    Raises InvalidInput for a type that has no equality here and for a key that stands twice, naming it.
    """

    def __init__(self, names: Sequence[str], columns: Sequence[pa.Array]) -> None:
        self._names = names
        values = [_comparable(column, name) for name, column in zip(names, columns, strict=True)]
        self._dense = _Dense.of(values[0]) if len(values) == 1 else None
        if self._dense is not None:
            self.distinct = [values[0].drop_null()]
        else:
            self.distinct = [pc.unique(column.drop_null()) for column in values]
            codes, known = self._codes(values)
            rows = np.flatnonzero(known)
            order = np.argsort(codes[rows], kind="stable")
            self._rows, self._sorted = rows[order], codes[rows][order]
            twice = np.flatnonzero(self._sorted[1:] == self._sorted[:-1])
            if len(twice):
                row = int(self._rows[twice[0]])
                pairs = zip(names, columns, strict=True)
                shown = ", ".join(f"{name}={column[row].as_py()!r}" for name, column in pairs)
                raise InvalidInput(
                    f"the key {shown} stands twice in the data", kind="duplicate-key", hint="give each key one row"
                )
        self.ranges = [_range(distinct) for distinct in self.distinct]

    def __len__(self) -> int:
        """How many keys there are without a null."""
        return len(self._rows) if self._dense is None else len(self.distinct[0])

    def find(self, columns: Sequence[pa.Array]) -> tuple[Int64s, Int64s]:
        """The rows of a table that have a key of the source: int64[k], ascending, and the source's row of each."""
        values = [_comparable(column, name) for name, column in zip(self._names, columns, strict=True)]
        if self._dense is not None:
            return self._dense.find(values[0])
        codes, known = self._codes(values)
        rows = np.flatnonzero(known)
        if len(self._sorted) == 0:
            return rows[:0], rows[:0]
        asked = codes[rows]
        place = np.minimum(np.searchsorted(self._sorted, asked), len(self._sorted) - 1)
        found = self._sorted[place] == asked
        return rows[found], self._rows[place[found]]

    def _codes(self, values: Sequence[pa.Array]) -> tuple[Int64s, np.ndarray]:
        """One integer a row for its key, and which rows have one that is among the source's values."""
        codes: Int64s = np.zeros(len(values[0]), np.int64)
        known = np.ones(len(codes), bool)
        most = 1
        for column, distinct in zip(values, self.distinct, strict=True):
            place = pc.index_in(column, value_set=distinct)
            known &= place.is_valid().to_numpy(zero_copy_only=False)
            most *= len(distinct) + 1
            if most >= _MOST_CODES:
                raise InvalidInput("the keys have too many combinations of values", kind="limit")
            codes = codes * (len(distinct) + 1) + place.fill_null(0).to_numpy().astype(np.int64)
        return codes, known


@dataclass(frozen=True, slots=True, eq=False)
class _Dense:
    """Rows by integer key, from low on: bool[span], which keys there are, and int64[span], the row of each."""

    low: int
    present: np.ndarray
    rows: Int64s

    @staticmethod
    def of(keys: pa.Array) -> _Dense | None:
        """The tables of the keys that are not null; None when they are no integers, span too much or stand twice."""
        if not pa.types.is_integer(keys.type) or pa.types.is_uint64(keys.type) or keys.null_count == len(keys):
            return None
        valid = keys.is_valid().to_numpy(zero_copy_only=False) if keys.null_count else None
        rows = np.arange(len(keys)) if valid is None else np.flatnonzero(valid)
        values = keys.drop_null().to_numpy(zero_copy_only=False).astype(np.int64)
        low, high = int(values.min()), int(values.max())
        if high - low >= _DENSE_SPAN:
            return None
        present, table = np.zeros(high - low + 1, bool), np.empty(high - low + 1, np.int64)
        places = values - low
        present[places], table[places] = True, rows
        # Of a key that stands twice only the last row is in the table.
        return _Dense(low, present, table) if (table[places] == rows).all() else None

    def find(self, keys: pa.Array) -> tuple[Int64s, Int64s]:
        """As `KeyIndex.find`."""
        values = keys.fill_null(self.low) if keys.null_count else keys
        values = values.to_numpy(zero_copy_only=False).astype(np.int64, copy=False)
        places = values - self.low
        # Of most tables few rows are found: the small table says which, and takes keys outside it for its ends.
        maybe = np.flatnonzero(self.present.take(places, mode="clip"))
        inside = places[maybe]
        there = (inside >= 0) & (inside < len(self.rows)) & (values[maybe] >= self.low)
        if keys.null_count:
            there &= keys.is_valid().to_numpy(zero_copy_only=False)[maybe]
        maybe = maybe[there]
        return maybe, self.rows[places[maybe]]


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
