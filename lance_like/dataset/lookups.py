"""Which of the keys of a source the rows of a table have: three ways, by what the keys are and how many there are.

All are made once and asked a batch at a time, by arrays of the same types: integers and what is stored as such, floats,
texts, bytes, decimals. A key with a null is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lance_like.encodings.joining import taken
from lance_like.errors import InvalidInput
from lance_like.query.evaluate import bind_columns, compute_bound, parse_expressions
from lance_like.query.expr import Opaque
from lance_like.typing_ import Int64s

# Integer keys whose values span at most this are looked up in a table of the span.
_DENSE_SPAN = 1 << 24
# So few texts are hashed anew for each batch faster than DuckDB is asked for the hashes of a batch.
_FEW_KEYS = 4096
# Places of a table that says of a hash that no key has it, for each key, and at most.
_PLACES_A_KEY, _MOST_PLACES_LOG2 = 16, 26
# 2^64 over the golden ratio: the high bits of a product with it are spread evenly.
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
# Products of the numbers of distinct values stay below this, so that a row's key is one integer.
_MOST_CODES = 1 << 62


class Lookup(Protocol):
    """Keys, found by their values. twice: a row of the source whose key another one has; None: there is none."""

    @property
    def twice(self) -> int | None: ...

    def __len__(self) -> int:
        """How many keys there are."""
        ...

    def find(self, values: Sequence[pa.Array]) -> tuple[Int64s, Int64s]:
        """The rows that have one of the keys: int64[k], ascending, and the source's row of each."""
        ...


def lookup_of(values: Sequence[pa.Array]) -> Lookup:
    """The keys of a source: one array a column."""
    return Dense.of(values) or Hashed.of(values) or Coded(values)


@dataclass(frozen=True, slots=True, eq=False)
class Dense:
    """Rows by integer key, from low on: bool[span], which keys there are, and int64[span], the row of each."""

    low: int
    present: np.ndarray
    rows: Int64s
    count: int
    twice: int | None

    @staticmethod
    def of(columns: Sequence[pa.Array]) -> Dense | None:
        """The tables of the keys; None when they are no integers of one column, or span too much."""
        keys = columns[0]
        integers = pa.types.is_integer(keys.type) and not pa.types.is_uint64(keys.type)
        if len(columns) > 1 or not integers or keys.null_count == len(keys):
            return None
        rows = _known_rows(columns)
        values = keys.drop_null().to_numpy(zero_copy_only=False).astype(np.int64)
        low, high = int(values.min()), int(values.max())
        if high - low >= _DENSE_SPAN:
            return None
        present, table = np.zeros(high - low + 1, bool), np.empty(high - low + 1, np.int64)
        places = values - low
        present[places], table[places] = True, rows
        # Of a key that stands twice only the last row is in the table.
        twice = rows[table[places] != rows]
        return Dense(low, present, table, len(rows), int(twice[0]) if len(twice) else None)

    def __len__(self) -> int:
        return self.count

    def find(self, values: Sequence[pa.Array]) -> tuple[Int64s, Int64s]:
        """As `Lookup.find`."""
        keys = values[0]
        numbers = keys.fill_null(self.low) if keys.null_count else keys
        numbers = numbers.to_numpy(zero_copy_only=False).astype(np.int64, copy=False)
        places = numbers - self.low
        # Of most tables few rows are found: the small table says which, and takes keys outside it for its ends.
        maybe = np.flatnonzero(self.present.take(places, mode="clip"))
        inside = places[maybe]
        there = (inside >= 0) & (inside < len(self.rows)) & (numbers[maybe] >= self.low)
        if keys.null_count:
            there &= keys.is_valid().to_numpy(zero_copy_only=False)[maybe]
        maybe = maybe[there]
        return maybe, self.rows[places[maybe]]


@dataclass(frozen=True, slots=True, eq=False)
class Hashed:
    """Rows by the hash of their key, or by the key itself where it is one number.

    columns: the keys; None: their hashes are the keys. hashes: uint64[n], ascending; rows: int64[n], the row of each.
    filled: bool, by the high bits of a hash times `_SPREAD`: some key has it.
    """

    columns: Sequence[pa.Array] | None
    hashes: np.ndarray
    rows: Int64s
    filled: np.ndarray
    twice: int | None

    @staticmethod
    def of(columns: Sequence[pa.Array]) -> Hashed | None:
        """None for few texts, for types that cannot be hashed, and where two keys have one hash."""
        rows = _known_rows(columns)
        is_number = len(columns) == 1 and _is_number(columns[0].type)
        if len(rows) == 0 or not (is_number or len(rows) > _FEW_KEYS):
            return None
        hashes = _hashes(columns)
        if hashes is None:
            return None
        hashes = hashes[rows]
        order = np.argsort(hashes, kind="stable")
        hashes, rows = hashes[order], rows[order]
        same = np.flatnonzero(hashes[1:] == hashes[:-1])
        if not is_number:
            equal = _equal(columns, rows[same], columns, rows[same + 1])
            if not equal.all():
                return None
        log2 = min(max((_PLACES_A_KEY * len(rows)).bit_length(), 10), _MOST_PLACES_LOG2)
        filled = np.zeros(1 << log2, bool)
        filled[_places(hashes, filled)] = True
        twice = int(rows[same[0] + 1]) if len(same) else None
        return Hashed(None if is_number else columns, hashes, rows, filled, twice)

    def __len__(self) -> int:
        return len(self.rows)

    def find(self, values: Sequence[pa.Array]) -> tuple[Int64s, Int64s]:
        """As `Lookup.find`."""
        asked = _hashes(values)
        assert asked is not None
        maybe = np.flatnonzero(self.filled[_places(asked, self.filled)])
        asked = asked[maybe]
        place = np.minimum(self.hashes.searchsorted(asked), len(self.hashes) - 1)
        found = self.hashes[place] == asked
        for column in values:
            if column.null_count:
                found &= column.is_valid().to_numpy(zero_copy_only=False)[maybe]
        maybe, rows = maybe[found], self.rows[place[found]]
        if self.columns is not None:
            equal = _equal(self.columns, rows, values, maybe)
            maybe, rows = maybe[equal], rows[equal]
        return maybe, rows


def _places(hashes: np.ndarray, table: np.ndarray) -> Int64s:
    shift = np.uint64(65 - len(table).bit_length())
    return (hashes * _SPREAD >> shift).view(np.int64)


def _equal(columns: Sequence[pa.Array], rows: Int64s, others: Sequence[pa.Array], places: Int64s) -> np.ndarray:
    """bool[n]: whether rows of some columns have the values of rows of others, none of which is null."""
    equal = np.ones(len(rows), bool)
    for column, other in zip(columns, others, strict=True):
        one, two = taken(column, pa.array(rows)), taken(other, pa.array(places))
        if _is_number(one.type):
            equal &= _bits(one) == _bits(two)
        else:
            equal &= pc.equal(one, two).to_numpy(zero_copy_only=False)
    return equal


def _hashes(columns: Sequence[pa.Array]) -> np.ndarray | None:
    """uint64[n], equal for equal keys: of one number the number itself. None for types that DuckDB does not hash."""
    if len(columns) == 1 and _is_number(columns[0].type):
        return _bits(columns[0])
    if not all(_is_number(column.type) or _is_hashable(column.type) for column in columns):
        return None
    arrays = [pa.array(_bits(column)) if _is_number(column.type) else column for column in columns]
    names = [f"k{i}" for i in range(len(arrays))]
    batch = pa.RecordBatch.from_arrays(arrays, names=names)
    made = compute_bound(bind_columns(_hash_of(", ".join(names)), batch.schema), batch)
    return made.column(0).to_numpy()


@cache
def _hash_of(names: str) -> dict[str, Opaque]:
    return parse_expressions({"hash": f"hash({names})"})


def _is_number(kind: pa.DataType) -> bool:
    t = pa.types
    return t.is_integer(kind) or t.is_boolean(kind) or t.is_temporal(kind) or t.is_float32(kind) or t.is_float64(kind)


def _is_hashable(kind: pa.DataType) -> bool:
    t = pa.types
    text = t.is_string(kind) or t.is_large_string(kind) or t.is_binary(kind) or t.is_large_binary(kind)
    return text or t.is_fixed_size_binary(kind) or t.is_decimal128(kind)


def _bits(array: pa.Array) -> np.ndarray:
    """uint64[n], equal for equal numbers, of which NaN is one; of nulls any."""
    kind = array.type
    if pa.types.is_floating(kind):
        numbers = array.fill_null(0.0).to_numpy(zero_copy_only=False).astype(np.float64)
        numbers[np.isnan(numbers)] = np.nan
        return numbers.view(np.uint64)
    if pa.types.is_boolean(kind):
        array = array.cast(pa.uint8())
    elif pa.types.is_temporal(kind):
        array = array.view(pa.int64() if kind.bit_width == 64 else pa.int32())
    numbers = array.fill_null(0) if array.null_count else array
    numbers = numbers.to_numpy(zero_copy_only=False)
    return numbers if numbers.dtype == np.uint64 else numbers.astype(np.int64, copy=False).view(np.uint64)


def _known_rows(columns: Sequence[pa.Array]) -> Int64s:
    """The rows without a null."""
    known = np.ones(len(columns[0]), bool)
    for column in columns:
        if column.null_count:
            known &= column.is_valid().to_numpy(zero_copy_only=False)
    return np.flatnonzero(known)


class Coded:
    """Rows by the positions of their values among the distinct ones. Each batch that is asked hashes those anew."""

    def __init__(self, columns: Sequence[pa.Array]) -> None:
        self._distinct = [pc.unique(column.drop_null()) for column in columns]
        codes, known = self._codes(columns)
        rows = np.flatnonzero(known)
        order = np.argsort(codes[rows], kind="stable")
        self._rows, self._sorted = rows[order], codes[rows][order]
        same = np.flatnonzero(self._sorted[1:] == self._sorted[:-1])
        self.twice = int(self._rows[same[0]]) if len(same) else None

    def __len__(self) -> int:
        return len(self._rows)

    def find(self, values: Sequence[pa.Array]) -> tuple[Int64s, Int64s]:
        """As `Lookup.find`."""
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
        for column, distinct in zip(values, self._distinct, strict=True):
            place = pc.index_in(column, value_set=distinct)
            known &= place.is_valid().to_numpy(zero_copy_only=False)
            most *= len(distinct) + 1
            if most >= _MOST_CODES:
                raise InvalidInput("the keys have too many combinations of values", kind="limit")
            codes = codes * (len(distinct) + 1) + place.fill_null(0).to_numpy().astype(np.int64)
        return codes, known


__all__ = ["Coded", "Dense", "Hashed", "Lookup", "lookup_of"]
