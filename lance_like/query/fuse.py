"""One ranking from two: rows found by a vector and by a text. Pure.

Any function may rank instead: it is given the rows as a table (see `Reranker`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import pyarrow as pa

from lance_like.errors import InvalidInput
from lance_like.typing_ import Int64s

RELEVANCE = "_relevance_score"


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """Rows found by one search, best first. ids: int64[n]. scores: float32[n], distances or relevance."""

    ids: Int64s
    scores: np.ndarray


@runtime_checkable
class Fusion(Protocol):
    """A re-ranker that needs no more of rows than how they were found."""

    def relevance(self, ids: Int64s, near: Ranked | None, text: Ranked | None) -> np.ndarray:
        """float32[n] of the rows of any of the searches; the greatest is best. None: a search that was not asked."""
        ...


Reranker: TypeAlias = Fusion | Callable[[pa.Table], Any]
"""A `Fusion`, or a function from the rows found to scores.

The function gets a table of the columns asked for with `_rowid`, `_distance` and `_score` (null where the search did
not find the row), and returns a score of each row, or a table of some of these rows with `_rowid`: in order, or with
`_relevance_score`.
"""


@dataclass(frozen=True)
class RRFReranker:
    """Reciprocal rank fusion: the sum of 1 / (k + rank), ranks from 1."""

    k: float = 60

    def __post_init__(self) -> None:
        if not self.k >= 0:
            raise InvalidInput(f"RRFReranker(k={self.k!r}): expected a number of at least 0")

    def relevance(self, ids: Int64s, near: Ranked | None, text: Ranked | None) -> np.ndarray:
        """As `Fusion`."""
        total = np.zeros(len(ids), np.float64)
        for found in (near, text):
            if found is not None:
                total[_places(ids, found)] += 1 / (self.k + _ranks(found))
        return total.astype(np.float32)


@dataclass(frozen=True)
class MRRReranker:
    """The weighted sum of reciprocal ranks, from 1."""

    weight_vector: float = 0.5
    weight_text: float = 0.5

    def __post_init__(self) -> None:
        _check_weights(self.weight_vector, self.weight_text)

    def relevance(self, ids: Int64s, near: Ranked | None, text: Ranked | None) -> np.ndarray:
        """As `Fusion`."""
        total = np.zeros(len(ids), np.float64)
        for found, weight in ((near, self.weight_vector), (text, self.weight_text)):
            if found is not None:
                total[_places(ids, found)] += weight / _ranks(found)
        return total.astype(np.float32)


@dataclass(frozen=True)
class LinearCombinationReranker:
    """weight * vector + (1 - weight) * text, each normalised from 0, the worst found, to 1, the best.

    fill: how far below the best a row counts that a search did not find: 1 - fill, as in LanceDB.
    """

    weight: float = 0.7
    fill: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1:
            raise InvalidInput(f"LinearCombinationReranker(weight={self.weight!r}): expected a number from 0 to 1")

    def relevance(self, ids: Int64s, near: Ranked | None, text: Ranked | None) -> np.ndarray:
        """As `Fusion`."""
        total = np.zeros(len(ids), np.float64)
        for found, weight, sign in ((near, self.weight, -1), (text, 1 - self.weight, 1)):
            if found is None:
                continue
            part = np.full(len(ids), 1 - self.fill, np.float64)
            part[_places(ids, found)] = _normalised(sign * found.scores.astype(np.float64))
            total += weight * part
        return total.astype(np.float32)


def all_ids(near: Ranked | None, text: Ranked | None) -> Int64s:
    """The rows that any of the searches found, each once."""
    return np.unique(np.concatenate([found.ids for found in (near, text) if found is not None]))


def scores_of(ids: Int64s, found: Ranked | None) -> pa.Array:
    """The score of each row, null for those that a search did not find."""
    values, missing = np.zeros(len(ids), np.float32), np.ones(len(ids), bool)
    if found is not None:
        places = _places(ids, found)
        values[places], missing[places] = found.scores, False
    return pa.array(values, mask=missing)


def best_first(ids: Int64s, relevance: np.ndarray) -> Int64s:
    """The places of rows in the order of their relevance; NaN last, of equal ones the lower id first."""
    return np.lexsort((ids, np.where(np.isnan(relevance), np.inf, -relevance)))


def relevance_of(answer: Any, ids: Int64s) -> tuple[Int64s, np.ndarray]:
    """Read what a function gave for rows: the places of those that it kept, best first, and their relevance.

    ids: ascending. Raises InvalidInput.
    """
    if isinstance(answer, pa.RecordBatch):
        answer = pa.Table.from_batches([answer])
    if isinstance(answer, pa.Table):
        return _relevance_of_table(answer, ids)
    scores = np.asarray(answer.to_numpy() if isinstance(answer, pa.ChunkedArray) else answer)
    if scores.shape != ids.shape or scores.dtype.kind not in "iufb":
        raise InvalidInput(
            f"rerank: the function gave {scores.dtype} of shape {scores.shape} for {len(ids):,} rows",
            hint="return a number for each row, or a table with _rowid",
        )
    scores = scores.astype(np.float32)
    order = best_first(ids, scores)
    return order, scores[order]


def _relevance_of_table(table: pa.Table, ids: Int64s) -> tuple[Int64s, np.ndarray]:
    if "_rowid" not in table.schema.names:
        raise InvalidInput("rerank: the table that the function gave has no _rowid", hint="keep the column")
    kept = table["_rowid"].to_numpy().astype(np.int64)
    places = np.minimum(ids.searchsorted(kept), max(0, len(ids) - 1))
    if len(np.unique(kept)) < len(kept) or (len(kept) and not (len(ids) and (ids[places] == kept).all())):
        raise InvalidInput("rerank: the table that the function gave has rows twice, or that were not found")
    if RELEVANCE not in table.schema.names:
        # In order: as a rank.
        return places, np.linspace(1, 0, len(places), endpoint=False, dtype=np.float32)
    scores = table[RELEVANCE].to_numpy().astype(np.float32)
    by_score = best_first(kept, scores)
    return places[by_score], scores[by_score]


def _places(ids: Int64s, found: Ranked) -> Int64s:
    """Where the rows found stand among all. ids: ascending."""
    return ids.searchsorted(found.ids)


def _ranks(found: Ranked) -> Int64s:
    return np.arange(1, len(found.ids) + 1)


def _normalised(scores: np.ndarray) -> np.ndarray:
    if len(scores) == 0:
        return scores
    low, high = scores.min(), scores.max()
    return (scores - low) / (high - low) if high > low else np.ones(len(scores))


def _check_weights(*weights: float) -> None:
    if not all(weight >= 0 for weight in weights) or sum(weights) == 0:
        raise InvalidInput(f"weights {weights!r}: expected numbers of at least 0, one of them above")


__all__ = [
    "RELEVANCE",
    "Fusion",
    "LinearCombinationReranker",
    "MRRReranker",
    "RRFReranker",
    "Ranked",
    "Reranker",
    "all_ids",
    "best_first",
    "relevance_of",
    "scores_of",
]
