"""Where the distances of an index are taken: vectors as they are placed in it, and what its distances mean.

| metric | vectors | faiss gives | distance |
|---|---|---|---|
| l2 | as they are | squared l2 | that |
| cosine | over their lengths | squared l2 | half of that |
| dot | as they are | dot product | 1 - that |
| hamming | bytes | bits | that |
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from lance_like._lazy import cached
from lance_like.errors import InvalidInput
from lance_like.index.vector.values import VectorType, as_float32, vector_type, vectors_of
from lance_like.typing_ import Int64s

# Vectors up to this length have squared distances from each other and from their means in float32, with room for sums.
_LONGEST = 2.0**62


@dataclass(frozen=True)
class Space:
    """Of vectors of a type under a metric."""

    held: VectorType
    metric: str

    @cached
    def dimension(self) -> int:
        """Numbers of a vector."""
        return self.held.dimension

    @cached
    def dot(self) -> bool:
        """Is more nearer?"""
        return self.metric == "dot"

    @cached
    def bits(self) -> bool:
        """Are vectors bits?"""
        return self.metric == "hamming"

    def place(self, array: pa.Array) -> tuple[np.ndarray, Int64s]:
        """The vectors of an array that have a place, and the row of each: of finite numbers, and not too long.

        Returns float32[n, d] (uint8 for hamming), int64[n], ascending.
        """
        found = vectors_of(array)
        rows = np.arange(found.count) if found.rows is None else found.rows
        if self.bits:
            return found.values, rows
        vectors = as_float32(found.values, self.held.number)
        if self.metric == "cosine":
            vectors = normal(vectors)
        # Of longer ones, and of numbers that are not finite, distances are no numbers, which ends the process in faiss.
        good = _squares(vectors) <= _LONGEST**2
        return (vectors, rows) if good.all() else (vectors[good], rows[good])

    def queries(self, queries: np.ndarray) -> np.ndarray:
        """Queries of the shape [q, d] as they are placed."""
        return normal(queries) if self.metric == "cosine" else queries

    def scores(self, found: np.ndarray) -> np.ndarray:
        """Distances of what faiss gives."""
        if self.metric == "cosine":
            return found / 2
        return 1 - found if self.dot else found

    def check(self, queries: np.ndarray, metric: str) -> None:
        """Raises InvalidInput for queries of another shape or metric."""
        if metric != self.metric:
            raise InvalidInput(
                f"the index was built for the metric {self.metric!r}, not for {metric!r}",
                kind="metric",
                hint="search without it (use_index=False), or build one for that metric",
            )
        if queries.ndim != (3 if self.held.several else 2) or queries.shape[-1] != self.dimension:
            raise InvalidInput(f"queries of the shape {queries.shape} for vectors of {self.dimension}", kind="query")


def space_of(kind: pa.DataType, metric: str) -> Space:
    """Of vectors of a type under a metric."""
    return Space(vector_type(kind), metric)


def normal(vectors: np.ndarray) -> np.ndarray:
    """Vectors over their lengths; NaN where that is 0 or not finite. vectors: float32[n, d]."""
    return vectors * (1 / lengths(vectors))[:, np.newaxis]


def lengths(vectors: np.ndarray) -> np.ndarray:
    """float32[n]: the lengths of vectors; NaN where that is 0 or not finite. vectors: float32[n, d]."""
    found = np.sqrt(_squares(vectors))
    if not (np.minimum.reduce(found, initial=1) > 0 and np.maximum.reduce(found, initial=1) < np.inf):
        found[(found == 0) | ~np.isfinite(found)] = np.nan
    return found


def _squares(vectors: np.ndarray) -> np.ndarray:
    """float32[n]: the squared lengths of vectors; infinite or NaN where they are no number."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.matmul(vectors[:, np.newaxis], vectors[:, :, np.newaxis]).reshape(-1)


__all__ = ["Space", "lengths", "normal", "space_of"]
