"""Vectors as Arrow holds them and as faiss wants them: which types are vectors, of what numbers, and which are whole.

A vector is a fixed-size list of numbers; a list of vectors is a multi-vector. bfloat16 is two bytes, or an extension
of them; other extension types count as their storage.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from lance_like._lazy import per_type
from lance_like.errors import InvalidInput, WrongType

METRICS = ("l2", "cosine", "dot", "hamming")
_ALIASES = {"euclidean": "l2", "ip": "dot", "inner_product": "dot"}
_BFLOAT16 = "bfloat16"
_NUMBERS = {
    pa.float16(): "float16",
    pa.float32(): "float32",
    pa.float64(): "float64",
    pa.uint8(): "uint8",
    pa.int8(): "int8",
    pa.binary(2): _BFLOAT16,
}
_MOST_DIMENSIONS = 1 << 16


@dataclass(frozen=True, slots=True)
class VectorType:
    """What a column of vectors holds. number: the name of its numbers' type. several: a row is a list of vectors."""

    number: str
    dimension: int
    several: bool

    @property
    def dtype(self) -> np.dtype:
        """Of the numbers as they are stored."""
        return np.dtype(np.uint16 if self.number == _BFLOAT16 else self.number)


@per_type
def vector_type(kind: pa.DataType) -> VectorType:
    """What a type holds. Raises InvalidInput when it is no type of vectors."""
    outer = _storage(kind)
    several = pa.types.is_list(outer) or pa.types.is_large_list(outer)
    inner: Any = _storage(outer.value_type) if several else outer
    number = _NUMBERS.get(_storage(inner.value_type)) if pa.types.is_fixed_size_list(inner) else None
    if number is None or not 0 < inner.list_size <= _MOST_DIMENSIONS:
        raise WrongType(
            f"{kind} holds no vectors; expected a fixed-size list of float16, bfloat16, float32, float64, uint8 or "
            f"int8 with 1 to {_MOST_DIMENSIONS} items, or lists of these",
            kind="type",
        )
    return VectorType(number, inner.list_size, several)


def check_vectors(kind: pa.DataType, metric: str | None) -> str:
    """The metric for vectors of a type, in lower case; None means hamming of uint8, as in pylance, l2 of others.

    Raises InvalidInput for a type that holds no vectors, and for a metric that is unknown or not for its numbers.
    """
    held = vector_type(kind)
    usual = "hamming" if held.number == "uint8" else "l2"
    name = usual if metric is None else str(metric).lower()
    name = _ALIASES.get(name, name)
    if name not in METRICS:
        raise InvalidInput(f"the metric {metric!r} is unknown; known are {', '.join(METRICS)}", kind="metric")
    if name == "hamming" and held.number != "uint8":
        raise InvalidInput(f"hamming counts the bits of uint8; the vectors hold {held.number}", kind="metric")
    return name


def as_queries(q: Any, kind: pa.DataType | VectorType, metric: str) -> np.ndarray:
    """Query vectors for a column: float32[q, d], uint8[q, d] for hamming, float32[q, m, d] for multi-vectors.

    q: a vector, or several; of a column of multi-vectors a vector, one query of several, or several such.
    kind: of the column, or what it says.
    Raises InvalidInput for another dimension, or numbers that are not finite.
    """
    held = kind if isinstance(kind, VectorType) else vector_type(kind)
    if isinstance(q, (pa.Scalar, pa.Array, pa.ChunkedArray)):
        q = q.as_py() if isinstance(q, pa.Scalar) else q.to_pylist()
    try:
        given = np.asarray(q, np.uint8 if metric == "hamming" else np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise WrongType(f"the query is no vector: {error}", kind="query") from error
    most = 3 if held.several else 2
    if not 1 <= given.ndim <= most or given.shape[-1] != held.dimension or not given.size:
        raise InvalidInput(
            f"the query of the shape {given.shape} does not match index column size {held.dimension}", kind="query"
        )
    if not np.logical_and.reduce(np.isfinite(given), axis=None):
        raise InvalidInput("the query holds numbers that are not finite", kind="query")
    while given.ndim < most:
        given = given[np.newaxis]
    return np.ascontiguousarray(given)


@dataclass(frozen=True, slots=True)
class Vectors:
    """The vectors of an array. values: [n, d], as stored. rows: int64[n], the row of each, ascending; None: its own.

    count: rows of the array, of which some may have no vector.
    """

    values: np.ndarray
    rows: np.ndarray | None
    count: int


def vectors_of(array: pa.Array, held: VectorType | None = None) -> Vectors:
    """The vectors of a column's array that are not null and have no null inside. No copy where there are no nulls.

    held: what its type says, if that is known.
    """
    held = held or vector_type(array.type)
    found: Any = _stored(array)
    rows = None
    count = len(found)
    if held.several:
        lengths = np.zeros(count, np.int64)
        # A null list may have items behind it, which `flatten` leaves out.
        known = found.value_lengths().fill_null(0)
        lengths[:] = known.to_numpy(zero_copy_only=False)
        rows = np.repeat(np.arange(count), lengths)
        found = _stored(found.flatten())
    values = _stored(found.values)
    if len(values) != len(found) * held.dimension:
        values = values.slice(found.offset * held.dimension, len(found) * held.dimension)
    whole = _whole(found, values, held.dimension)
    matrix = _numbers(values, held).reshape(len(found), held.dimension)
    if whole is not None:
        rows = np.flatnonzero(whole) if rows is None else rows[whole]
        matrix = matrix[whole]
    return Vectors(matrix, rows, count)


def as_float32(values: np.ndarray, number: str) -> np.ndarray:
    """Stored numbers as float32, contiguous; the same array if they are."""
    if number == _BFLOAT16:
        return (values.astype(np.uint32) << 16).view(np.float32)
    if values.dtype == np.float32:
        return np.ascontiguousarray(values)
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(values, np.float32)


def _whole(lists: Any, values: pa.Array, dimension: int) -> np.ndarray | None:
    """Which vectors have no null: bool[n]; None for all."""
    if not lists.null_count and not values.null_count:
        return None
    whole = lists.is_valid().to_numpy(zero_copy_only=False)
    if values.null_count:
        inside = values.is_valid().to_numpy(zero_copy_only=False).reshape(len(lists), dimension)
        whole = whole & inside.all(axis=1)
    return whole


def _numbers(values: pa.Array, held: VectorType) -> np.ndarray:
    """The numbers of an array as they lie in memory, those that are null too."""
    buffer = values.buffers()[1]
    if buffer is None:
        return np.zeros(len(values), held.dtype)
    return np.frombuffer(buffer, held.dtype, len(values), values.offset * held.dtype.itemsize)


def _storage(kind: pa.DataType) -> pa.DataType:
    # Not remembered: an extension type of a user may not be hashable.
    while isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    return kind


def _stored(array: Any) -> Any:
    while isinstance(array.type, pa.BaseExtensionType):
        array = array.storage
    return array


__all__ = ["METRICS", "VectorType", "Vectors", "as_float32", "as_queries", "check_vectors", "vector_type", "vectors_of"]
