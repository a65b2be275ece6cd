"""Choosing how an index is searched: the quickest way that finds a wanted share of the true neighbours.

Half of the queries choose, the other half says what recall the choice has. The true neighbours are those of a search
through all rows. Recall is the share of them that is among the candidates whose true distances are then computed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lance_like.errors import InvalidInput
from lance_like.index.base import Hits, IndexSource, Nearest, VectorSearcher
from lance_like.index.vector.exact import Exact, as_queries, distances
from lance_like.typing_ import Int64s, Json

_REFINE = (1, 2, 3, 5, 8, 12, 20, 32, 50, 80, 128)
_EFS = (16, 32, 64, 128, 256, 512, 1024, 2048)
_SAMPLED = 256
# Searches that are timed, one by one.
_TIMED = 12


@dataclass(frozen=True, slots=True)
class Measured:
    """One way to search. recall: of the queries that choose. ms: of one query, the lower quartile, refining too."""

    nprobes: int
    refine_factor: int
    ef: int | None
    recall: float
    ms: float


@dataclass(frozen=True, slots=True)
class Tuning:
    """What was chosen, and all that was measured. As a text: a table.

    recall: of the queries that had no part in the choice. reached: is it what was wanted of those that had?
    """

    chosen: Measured
    recall: float
    reached: bool
    target_recall: float
    k: int
    queries: int
    measured: tuple[Measured, ...]

    @property
    def params(self) -> dict[str, Json]:
        """What an index is to be searched with from now on: parameters of the index."""
        found: dict[str, Json] = {"nprobes": self.chosen.nprobes, "refine_factor": self.chosen.refine_factor}
        return found | ({} if self.chosen.ef is None else {"ef": self.chosen.ef})

    def __str__(self) -> str:
        lines = [f"{'nprobes':>8} {'refine':>7} {'ef':>5} {'recall':>8} {'ms':>8}"]
        for one in self.measured:
            mark = "  <- chosen" if one == self.chosen else ""
            ef = "-" if one.ef is None else one.ef
            lines.append(f"{one.nprobes:>8} {one.refine_factor:>7} {ef:>5} {one.recall:>8.4f} {one.ms:>8.3f}{mark}")
        verdict = "" if self.reached else f"; no way reached {self.target_recall}"
        lines.append(f"recall@{self.k} of {self.queries} other queries: {self.recall:.4f}{verdict}")
        return "\n".join(lines)


def tune(
    searcher: VectorSearcher,
    source: IndexSource,
    queries: Any = None,
    *,
    target_recall: float = 0.95,
    k: int = 10,
) -> Tuning:
    """Choose how an open segment is searched.

    source: the rows of the segment. queries: two at least, as a search takes them; None: rows of the source are asked
    for the others. Raises InvalidInput.
    Cost: a pass over the rows, some hundred searches.
    """
    if not 0 < target_recall <= 1 or k < 1:
        raise InvalidInput(f"target_recall is {target_recall}, k {k}: expected more than 0 and at most 1, 1 at least")
    asked, own = _queries(searcher, source, queries)
    truth = _truth(searcher, source, asked, own, k)
    half = len(asked) // 2
    ways: list[Measured] = []
    for nprobes, ef in _ways(searcher):
        places = _places(searcher, asked, own, truth, k, nprobes, ef)
        for refine in _REFINE if searcher.refine_factor else (0,):
            recall = _recall(places[:half], truth[:half], k * max(1, refine))
            if recall >= target_recall or refine == _REFINE[-1] or not refine:
                ms = _timed(searcher, source, asked[:half], k, nprobes, refine, ef)
                ways.append(Measured(nprobes, refine, ef, recall, ms))
                break
        # Wider searches find what is left; they only take longer.
        if len([way for way in ways if way.recall >= target_recall]) == 3:
            break
    good = [way for way in ways if way.recall >= target_recall]
    chosen = min(good, key=lambda way: way.ms) if good else max(ways, key=lambda way: way.recall)
    places = _places(searcher, asked[half:], own[half:], truth[half:], k, chosen.nprobes, chosen.ef)
    recall = _recall(places, truth[half:], k * max(1, chosen.refine_factor))
    return Tuning(chosen, recall, bool(good), target_recall, k, len(asked) - half, tuple(ways))


def _queries(searcher: VectorSearcher, source: IndexSource, queries: Any) -> tuple[np.ndarray, Int64s]:
    """Queries, and the row that each of them is; -1 for none."""
    if queries is not None:
        asked = as_queries(queries, source.type, searcher.metric)
        if len(asked) < 2:
            raise InvalidInput("one query cannot choose and be measured: expected two at least")
        return asked, np.full(len(asked), -1)
    random = np.random.default_rng(0)
    rows = random.permutation(source.rows)[:_SAMPLED].astype(np.int64)
    taken = source.take(rows)
    # Rows without a distance to themselves are no queries.
    kept: list[Any] = []
    numbers: list[int] = []
    for row, value in zip(rows.tolist(), taken.to_pylist(), strict=True):
        if value is None:
            continue
        try:
            kept.append(as_queries(value, source.type, searcher.metric)[0])
        except InvalidInput:
            continue
        numbers.append(row)
    shapes = {query.shape for query in kept}
    if len(kept) < 2 or len(shapes) > 1:
        raise InvalidInput("the rows make no queries; give some")
    return np.stack(kept), np.array(numbers, np.int64)


def _truth(searcher: VectorSearcher, source: IndexSource, asked: np.ndarray, own: Int64s, k: int) -> Int64s:
    """The true neighbours: int64[q, k], -1 past the last one."""
    exact = Exact(asked, Nearest(k + 1, searcher.metric))
    first = 0
    for batch in source.batches():
        exact.add(batch, first)
        first += len(batch)
    return _without(exact.hits(), own)[:, :k]


def _without(hits: Hits, own: Int64s) -> Int64s:
    """Ordinals with the row that a query is moved to the end and blanked."""
    mine = (hits.ordinals == own[:, np.newaxis]) & (own >= 0)[:, np.newaxis]
    order = np.argsort(mine, axis=1, kind="stable")
    return np.take_along_axis(np.where(mine, -1, hits.ordinals), order, 1)


def _ways(searcher: VectorSearcher) -> list[tuple[int, int | None]]:
    """Partitions and candidates to try, the quickest first."""
    partitions = int(getattr(searcher, "partitions", 1))
    steps: Sequence[int] = sorted({min(partitions, round(2 ** (i / 2))) for i in range(42)})
    graphs = bool(getattr(searcher, "graphs", False))
    return [(nprobes, ef) for nprobes in steps for ef in (_EFS if graphs else (None,))]


def _places(
    searcher: VectorSearcher, asked: np.ndarray, own: Int64s, truth: Int64s, k: int, nprobes: int, ef: int | None
) -> Int64s:
    """Where each true neighbour comes in what a search finds: int64[q, k]; far behind where it does not."""
    wide = k * (_REFINE[-1] if searcher.refine_factor and ef is None else max(1, 2 * (ef is not None))) + 1
    found = _without(searcher.nearest(asked, Nearest(wide, searcher.metric, (nprobes, nprobes), ef), None), own)
    out = np.full(truth.shape, np.iinfo(np.int64).max)
    for row, wanted, into in zip(found, truth, out, strict=True):
        same = wanted[:, np.newaxis] == row
        into[:] = np.where(same.any(axis=1), same.argmax(axis=1), into)
    return out


def _recall(places: Int64s, truth: Int64s, first: int) -> float:
    known = truth >= 0
    return float((places[known] < first).mean()) if known.any() else 1.0


def _timed(
    searcher: VectorSearcher, source: IndexSource, asked: np.ndarray, k: int, nprobes: int, refine: int, ef: int | None
) -> float:
    """Milliseconds of a query, the lower quartile of some."""
    how = Nearest(k * max(1, refine), searcher.metric, (nprobes, nprobes), ef)
    times = []
    for query in asked[:_TIMED]:
        start = time.perf_counter()
        hits = searcher.nearest(query[np.newaxis], how, None)
        if refine:
            rows = hits.ordinals[0][hits.ordinals[0] >= 0]
            distances(query[np.newaxis], source.take(rows), searcher.metric)
        times.append(time.perf_counter() - start)
    return float(np.quantile(times, 0.25) * 1e3)


__all__ = ["Measured", "Tuning", "tune"]
