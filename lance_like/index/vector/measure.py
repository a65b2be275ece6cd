"""What a segment is tuned for when it is built: how many partitions, and how many rows looked at again, find the true
neighbours of vectors that were held out.

Of each true neighbour it is known how many partitions are nearer to the query than its own; and, among what a search
finds by its codes, how many rows come before it. From both follows what recall any choice has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lance_like.index.base import Hits
from lance_like.index.vector.bits import nearest_bits
from lance_like.index.vector.lists import Scan
from lance_like.index.vector.quantize import Codes, Product
from lance_like.index.vector.space import Space
from lance_like.index.vector.train import Model
from lance_like.typing_ import Int64s, Json

# The recall that partitions, and then codes as well, are to keep: above what is promised, as queries differ.
_PROBED, _FOUND, _PROMISED = 0.98, 0.97, 0.95
# Of a graph more, as it holds the queries themselves, with links to their neighbours; and others, which it leads to by
# longer ways, have so many times as many candidates.
_FOUND_IN_GRAPHS, _OUTSIDE = 0.985, 2
_REFINE = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 25, 32, 40, 50, 64, 80, 100, 128)
_NEIGHBOURS = 10
# Shares of its width by which a partition may count as farther than its centroid; only where so few rows are looked at.
_LEANS, _WORTH = (0.25, 0.5, 0.75), 0.95
# Of a graph, which finds rows by distances that are nearly true, more candidates are worth more.
_REFINE_OF_GRAPHS = 2


@dataclass(frozen=True)
class Truth:
    """Vectors of the segment that are asked for their neighbours.

    queries: as placed. best: the nearest of all vectors, by their number, with distances as faiss gives them in the
    space; None where there are none. ordinals: of each vector.
    """

    queries: np.ndarray
    best: Hits | None
    ordinals: np.ndarray


@dataclass(frozen=True)
class Probing:
    """Which partitions are looked into. order: int64[q, p], of each query that was measured, the nearest first.

    nprobes, reach: how many, or how near, hold `recall` of the neighbours; reach None: that is not fewer rows.
    rows: that are looked at by whichever is fewer. bias: float32[p], how much farther each counts than its centroid is;
    None: none.
    """

    order: Int64s
    nprobes: int
    reach: float | None = None
    recall: float = 1.0
    bias: np.ndarray | None = None
    rows: int = 0


def probing_of(truth: Truth, model: Model, space: Space, parts: np.ndarray, spread: np.ndarray) -> Probing:
    """How many partitions hold nearly all neighbours, and in which order. parts: of each vector.

    spread: float64[p], how far the vectors of each are from its centroid on the average, squared.
    """
    neighbours, _ = _others(truth)
    if neighbours is None:
        return Probing(np.empty((0, len(model.centroids)), np.int64), len(model.centroids))
    far = _distances(truth.queries, model.centroids, space)
    sizes = np.bincount(parts, minlength=len(model.centroids))
    found = _probing(far, neighbours, parts, sizes, _PROBED)
    if space.bits or space.dot or not np.isfinite(spread).all():
        return found
    # The vectors of a wide partition are farther than its centroid, by its width on the average; the nearest of many by
    # less.
    leans = [(lean * spread).astype(np.float32) for lean in (0, *_LEANS)]
    rows = [_probing(far + bias, neighbours, parts, sizes, _PROMISED).rows for bias in leans]
    best = int(np.argmin(rows))
    if rows[best] >= _WORTH * rows[0]:
        return found
    biased = replace(_probing(far + leans[best], neighbours, parts, sizes, _PROBED), bias=leans[best])
    return biased if biased.rows <= found.rows else found


def _probing(far: np.ndarray, neighbours: Int64s, parts: np.ndarray, sizes: Int64s, share: float) -> Probing:
    """By how far partitions are from each query: [q, p]. sizes: int64[p]. share: of the neighbours that are found."""
    order = np.argsort(far, axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.broadcast_to(np.arange(order.shape[1]), order.shape), 1)
    known = neighbours >= 0
    own = parts[neighbours].astype(np.int64)
    behind = np.take_along_axis(rank, own, 1)[known]
    last = max(0, int(np.ceil(share * len(behind))) - 1)
    nprobes = 1 + int(np.sort(behind)[last])
    reaches = _reaches(far)
    reach = _rounded_up(float(np.sort(np.take_along_axis(reaches, own, 1)[known])[last]))
    within, as_many = int(((reaches <= reach) @ sizes).sum()), int(sizes[order[:, :nprobes]].sum())
    recall = float((behind < nprobes).mean())
    return Probing(order, nprobes, reach if within < as_many else None, recall, rows=min(within, as_many))


def measured(
    truth: Truth,
    model: Model,
    space: Space,
    probing: Probing,
    scan_of: Callable[[Int64s], Scan],
    efs: Sequence[int] = (0,),
) -> dict[str, Json]:
    """Defaults, and the recall that they had. scan_of: holds some partitions.

    efs: what a graph may be searched with, ascending.
    """
    neighbours, distances = _others(truth)
    true = space.bits or model.codes.true
    found: dict[str, Json] = {"nprobes": probing.nprobes}
    if neighbours is None:
        return found | {"refine_factor": 0 if true else 10, "error": 0.0 if true else 0.1}
    found |= {} if probing.reach is None else {"reach": probing.reach}
    found |= {} if probing.bias is None else {"biased": True}
    known, probes, probed = neighbours >= 0, probing.order[:, : probing.nprobes], probing.recall
    graphs = efs[-1] > 0
    if true and not graphs:
        return found | {"refine_factor": 0, "error": 0.0, "recall": round(probed, 4)}
    enough = min(_FOUND_IN_GRAPHS if graphs else _FOUND, 0.995 * probed)
    scan = scan_of(np.unique(probes))
    best: dict[str, Json] = {}
    for ef in efs:
        factors = _factors(model.codes, ef)
        candidates = _NEIGHBOURS * factors[-1]
        places, error = _estimated(truth, model, space, probes, scan, ef, candidates, neighbours, distances)
        recalls = [float((places[known] < _NEIGHBOURS * factor).mean()) for factor in factors]
        chosen = next((i for i, recall in enumerate(recalls) if recall >= enough), len(factors) - 1)
        best = found | {"refine_factor": factors[chosen], "error": round(error, 4)}
        best |= {"refine_factor": 0, "error": 0.0} if true else {}
        best |= {"recall": round(recalls[chosen], 4)} | ({"ef": _OUTSIDE * ef} if ef else {})
        if recalls[chosen] >= enough:
            break
    return best


def _factors(codes: Codes, ef: int) -> Sequence[int]:
    """How many times as many rows as are asked for may be looked at again, ascending. ef: of a graph."""
    if not ef:
        return _REFINE
    if codes.true:
        return (1,)
    if isinstance(codes, Product):
        # Rough distances, of which a graph gives as many as it keeps candidates.
        return [factor for factor in _REFINE if factor * _NEIGHBOURS <= ef] or [1]
    return [factor for factor in _REFINE if factor <= _REFINE_OF_GRAPHS]


def _others(truth: Truth) -> tuple[Int64s | None, np.ndarray]:
    """Numbers and distances of the neighbours of each query, -1 for none, itself left out."""
    if truth.best is None or not len(truth.queries):
        return None, np.empty(0)
    # A query is its own nearest vector, or as near as its likes.
    neighbours, distances = truth.best.ordinals[:, 1:], truth.best.scores[:, 1:]
    return (neighbours, distances) if (neighbours >= 0).any() else (None, distances)


def _distances(queries: np.ndarray, centroids: np.ndarray, space: Space) -> np.ndarray:
    """How far partitions are, [q, p], but for what is the same for all partitions of a query."""
    if space.bits:
        bits, numbers = nearest_bits(queries, centroids, len(centroids))
        far = np.empty(bits.shape, np.float32)
        np.put_along_axis(far, numbers, bits.astype(np.float32), 1)
        return far
    products = queries @ centroids.T
    return -products if space.dot else (centroids**2).sum(axis=1) - 2 * products


def _reaches(far: np.ndarray) -> np.ndarray:
    """How much farther than the nearest partition each is, as a share of how much farther all are on the average.

    far: [q, p]. Neither the scale of distances nor that of queries shows in it.
    """
    first = far.min(axis=1, keepdims=True)
    usual = far.mean(axis=1, keepdims=True) - first
    return np.divide(far - first, usual, out=np.zeros_like(far), where=usual > 0)


def _rounded_up(number: float) -> float:
    """With four digits behind the point, and no smaller."""
    return math.ceil(number * 10_000) / 10_000


def _estimated(
    truth: Truth,
    model: Model,
    space: Space,
    probes: Int64s,
    scan: Scan,
    ef: int,
    candidates: int,
    neighbours: Int64s,
    distances: np.ndarray,
) -> tuple[Int64s, float]:
    """The place of each neighbour among what a search by codes finds, and how wrong most estimates are."""
    most = min(candidates + 1, len(truth.ordinals))
    probes = np.ascontiguousarray(probes)
    if space.dot:
        near = np.take_along_axis(truth.queries @ model.centroids.T, probes, 1)
    else:
        near = ((truth.queries[:, np.newaxis] - model.centroids[probes]) ** 2).sum(axis=2)
    near = np.ascontiguousarray(near, np.float32)
    found, ordinals = scan.search(truth.queries, probes, near, most, None, ef)
    if space.dot:
        # Truth is kept as distances.
        found = 1 - found
    wanted = np.where(neighbours < 0, -2, truth.ordinals[neighbours].astype(np.int64))
    same = ordinals[:, np.newaxis, :] == wanted[:, :, np.newaxis]
    seen = same.any(axis=2)
    # The query itself comes first.
    places = np.where(seen, same.argmax(axis=2) - 1, most)
    estimates = np.take_along_axis(found, same.argmax(axis=2), 1)[seen]
    real = distances[seen]
    wrong = np.abs(estimates - real) / np.maximum(np.abs(real), 1e-6)
    wrong = wrong[np.isfinite(wrong)]
    return places, float(np.quantile(wrong, 0.95)) if len(wrong) else 0.1


__all__ = ["Probing", "Truth", "measured", "probing_of"]
