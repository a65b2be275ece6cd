"""Choosing how an index is searched: the quickest way that finds a wanted share of the true neighbours.

Half of the queries choose, the other half says what recall the choice has. The true neighbours are those of a search
through all rows. Recall is the share of them that is among the candidates whose true distances are then computed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lance_like.errors import InvalidInput
from lance_like.index.base import Hits, IndexSource, Nearest, VectorSearcher
from lance_like.index.vector.exact import Exact, as_queries, distances
from lance_like.index.vector.searcher import MOST_WITHIN
from lance_like.typing_ import Int64s, Json

_REFINE = (1, 2, 3, 5, 8, 12, 20, 32, 50, 80, 128)
_EFS = (16, 32, 64, 128, 256, 512, 1024, 2048)
_SAMPLED = 256
# Searches that are timed, one by one.
_TIMED = 12
# Reaches that are tried, and how often the least that is enough is then looked for between two of them.
_REACHES = tuple(1.5**i / 100 for i in range(14))
_BETWEEN = 4


@dataclass(frozen=True, slots=True)
class Way:
    """How far a search goes. reach: into the partitions within it, and `nprobes` is for searches with a filter; None:
    into `nprobes` (format_spec/index/ivf.md, "Searching"). ef: of a graph."""

    nprobes: int
    ef: int | None = None
    reach: float | None = None

    def asks(self, k: int, metric: str) -> Nearest:
        """What a search that goes so far asks for."""
        if self.reach is None:
            return Nearest(k, metric, (self.nprobes, self.nprobes), self.ef)
        return Nearest(k, metric, (None, MOST_WITHIN * self.nprobes), self.ef, options={"reach": self.reach})


@dataclass(frozen=True, slots=True)
class Measured:
    """One way to search. recall: of the queries that choose. ms: of one query, the lower quartile, refining too."""

    nprobes: int
    refine_factor: int
    ef: int | None
    recall: float
    ms: float
    reach: float | None = None


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
        one = self.chosen
        found: dict[str, Json] = {"nprobes": one.nprobes, "reach": one.reach, "refine_factor": one.refine_factor}
        return found | ({} if one.ef is None else {"ef": one.ef})

    def __str__(self) -> str:
        lines = [f"{'nprobes':>8} {'reach':>8} {'refine':>7} {'ef':>5} {'recall':>8} {'ms':>8}"]
        for one in self.measured:
            mark = "  <- chosen" if one == self.chosen else ""
            ef, reach = "-" if one.ef is None else one.ef, "-" if one.reach is None else f"{one.reach:.4f}"
            far = f"{one.nprobes:>8} {reach:>8} {one.refine_factor:>7} {ef:>5}"
            lines.append(f"{far} {one.recall:>8.4f} {one.ms:>8.3f}{mark}")
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

    def measure(way: Way, factors: Sequence[int]) -> bool:
        """Is what this way finds enough, with one of these factors, ascending?"""
        places = None
        for refine in factors:
            # Within reach a search goes on until it has as many candidates: it is another with each factor.
            if places is None or way.reach is not None:
                most = factors[-1] if way.reach is None else refine
                places = _places(searcher, asked[:half], own[:half], truth[:half], k, way, most)
            recall = _recall(places, truth[:half], k * max(1, refine))
            if recall >= target_recall or refine == factors[-1]:
                ms = _timed(searcher, source, asked[:half], k, way, refine)
                ways.append(Measured(way.nprobes, refine, way.ef, recall, ms, way.reach))
                return recall >= target_recall
        return False

    enough = 0
    for way in _ways(searcher):
        enough += measure(way, _REFINE if searcher.refine_factor else (0,))
        # Wider searches find what is left; they only take longer.
        if enough == 3:
            break
    good = [way for way in ways if way.recall >= target_recall]
    if good and good[0].ef is None and getattr(searcher, "partitions", 1) > 1:
        factors = sorted({way.refine_factor for way in good})
        _measure_reaches(lambda reach: measure(Way(good[0].nprobes, reach=reach), factors))
        good = [way for way in ways if way.recall >= target_recall]
    chosen = min(good, key=lambda way: way.ms) if good else max(ways, key=lambda way: way.recall)
    far, factor = Way(chosen.nprobes, chosen.ef, chosen.reach), chosen.refine_factor
    places = _places(searcher, asked[half:], own[half:], truth[half:], k, far, factor)
    recall = _recall(places, truth[half:], k * max(1, factor))
    return Tuning(chosen, recall, bool(good), target_recall, k, len(asked) - half, tuple(ways))


def _measure_reaches(is_enough: Callable[[float], bool]) -> None:
    """Find about the least reach that is enough."""
    low = 0.0
    for reach in _REACHES:
        if is_enough(reach):
            break
        low = reach
    else:
        return
    for _ in range(_BETWEEN):
        middle = (low + reach) / 2
        if is_enough(middle):
            reach = middle
        else:
            low = middle


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


def _ways(searcher: VectorSearcher) -> list[Way]:
    """Partitions and candidates to try, the quickest first."""
    partitions = int(getattr(searcher, "partitions", 1))
    steps: Sequence[int] = sorted({min(partitions, round(2 ** (i / 2))) for i in range(42)})
    graphs = bool(getattr(searcher, "graphs", False))
    return [Way(nprobes, ef) for nprobes in steps for ef in (_EFS if graphs else (None,))]


def _places(
    searcher: VectorSearcher, asked: np.ndarray, own: Int64s, truth: Int64s, k: int, way: Way, factor: int
) -> Int64s:
    """Where each true neighbour comes in what a search finds: int64[q, k]; far behind where it does not.

    factor: how many times k rows are found; by a graph, twice.
    """
    wide = k * (max(1, factor) if way.ef is None else 2) + 1
    found = _without(searcher.nearest(asked, way.asks(wide, searcher.metric), None), own)
    out = np.full(truth.shape, np.iinfo(np.int64).max)
    for row, wanted, into in zip(found, truth, out, strict=True):
        same = wanted[:, np.newaxis] == row
        into[:] = np.where(same.any(axis=1), same.argmax(axis=1), into)
    return out


def _recall(places: Int64s, truth: Int64s, first: int) -> float:
    known = truth >= 0
    return float((places[known] < first).mean()) if known.any() else 1.0


def _timed(searcher: VectorSearcher, source: IndexSource, asked: np.ndarray, k: int, way: Way, refine: int) -> float:
    """Milliseconds of a query, the lower quartile of some."""
    how = way.asks(k * max(1, refine), searcher.metric)
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
