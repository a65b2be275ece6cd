"""Brute force: true distances of vectors, and the nearest of all that are shown.

Distances, float32: l2 is squared, cosine is 1 - cosine, dot is 1 - dot product, hamming counts bits. That of a
multi-vector to a row is the sum, over the vectors of the query, of the least distance to a vector of the row. A row
whose distance is not finite has none: it holds NaN or an infinity, no vector, or nothing but zeros under cosine.

Vectors are scanned in blocks that stay in the cache of a core while they are converted and compared with every query
(format_spec/decisions/0022-vectors.md has the figures); each thread scans a run of rows.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from math import inf, nan

import numpy as np
import pyarrow as pa

from lance_like.encodings.stack import Cells
from lance_like.errors import InvalidInput
from lance_like.index.base import Hits, Nearest
from lance_like.index.vector.door import alone, cores, pointer, spread
from lance_like.index.vector.space import lengths, normal
from lance_like.index.vector.values import (
    Vectors,
    VectorType,
    as_float32,
    as_queries,
    check_vectors,
    vector_type,
    vectors_of,
)
from lance_like.kernels import best, compare
from lance_like.typing_ import Int64s

# float32 of a block: half of a core's second cache.
_BLOCK_NBYTES = 1 << 20
# Of a block that is read once, by one query; and twice, for the products and the lengths.
_RUN_NBYTES, _TWICE_NBYTES = 16 << 20, 4 << 20
# What is found in so many blocks is merged at a time.
_MERGED = 16
# faiss answers so many queries by comparing each pair, which the cache makes quicker than a product of matrices.
_GROUP = 16
# Less work than this, in numbers to multiply, is done by the caller's thread.
_SHARED_WORK = 1 << 21
# How `compare` calls them.
_COMPARED = {"l2": 0, "dot": 1, "cosine": 2}
_BITS = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)


class Exact:
    """The nearest of all rows that were added. Safe to add from several threads.

    queries: as `as_queries` gives them. Ties go to the smaller id. threads: for each call of `add`; None: all cores,
    1: the caller's alone, for callers that are many.
    """

    def __init__(self, queries: np.ndarray, how: Nearest, threads: int | None = None) -> None:
        self._queries, self._how, self._threads = queries, how, threads
        self._lock = threading.Lock()
        self._best: Hits | None = None

    def add(self, vectors: pa.Array, ids: Int64s | int, keep: np.ndarray | None = None) -> None:
        """Compare some more rows.

        ids: int64[n], or that of the first row. keep: bool[n], the rows that count; None: all.
        Memory: a block for each thread.
        """
        found = vectors_of(vectors)
        numbers = np.arange(ids, ids + len(vectors)) if isinstance(ids, int) else ids
        rows = found.rows
        values = found.values
        if keep is not None:
            chosen = np.flatnonzero(keep if rows is None else keep[rows])
            values, rows = values[chosen], chosen if rows is None else rows[chosen]
        held = vector_type(vectors.type)
        if held.several:
            self._keep(self._several(values, rows, numbers, held.number))
        else:
            self.compare(values, numbers if rows is None else numbers[rows], held.number)

    def compare(self, values: np.ndarray, ids: Int64s, number: str) -> None:
        """Compare vectors as they are stored. values: [n, d] of numbers called so. ids: int64[n]."""
        self._keep(nearest_of(self._queries, values, number, self._how, ids, self._threads))

    def hits(self) -> Hits:
        """The best of them, of each query."""
        with self._lock:
            return Hits.none(len(self._queries), self._how.k) if self._best is None else self._best

    def _keep(self, found: Hits) -> None:
        with self._lock:
            self._best = found if self._best is None else merge([self._best, found], self._how)

    def _several(self, values: np.ndarray, rows: np.ndarray | None, ids: Int64s, number: str) -> Hits:
        """The nearest rows of several vectors each. rows: of each vector, ascending."""
        if rows is None or not len(rows):
            return Hits.none(len(self._queries), self._how.k)
        present, starts = np.unique(rows, return_index=True)
        scores = np.stack(
            [_late(query, values, starts, number, self._how.metric) for query in self._queries], dtype=np.float32
        )
        return rank(np.broadcast_to(ids[present], scores.shape), scores, self._how)


def nearest_of(
    queries: np.ndarray, values: np.ndarray, number: str, how: Nearest, ids: Int64s, threads: int | None = None
) -> Hits:
    """The nearest of some vectors as they are stored, by all cores when there are many. queries: [q, d]."""
    shares = min(threads or cores(), 1 + len(queries) * values.size // _SHARED_WORK)
    if shares <= 1:
        return _scan(queries, number, how, values, ids)
    cuts = np.linspace(0, len(values), shares + 1).astype(np.int64)
    scan = partial(_scan, queries, number, how)
    parts = spread(lambda span: scan(values[span[0] : span[1]], ids[span[0] : span[1]]), pairwise(cuts))
    return merge(parts, how)


def distances(
    queries: np.ndarray,
    vectors: pa.Array,
    metric: str,
    which: Int64s | None = None,
    threads: int = 1,
    held: VectorType | None = None,
) -> np.ndarray:
    """True distances of queries to rows of an array: float32[q, m]; NaN where there is none.

    which: int64[q, m], the rows to compare each query with, -1 for none; None: every query with every row.
    held: what the type of the array says, if that is known.
    """
    held = held or vector_type(vectors.type)
    found = vectors_of(vectors, held)
    if which is None:
        which = np.broadcast_to(np.arange(found.count), (len(queries), found.count))
    if held.several:
        return _late_pairs(queries, found, held.number, metric, which)
    if found.rows is not None:
        place = np.full(found.count + 1, -1)
        place[found.rows] = np.arange(len(found.rows))
        which = place[which]
    return pairs(queries, found.values, held.number, metric, which, threads)


def compares_in_place(held: VectorType) -> bool:
    """Are vectors of a type compared where they lie?"""
    return held.number == "float32"


def distances_in_place(query: np.ndarray, cells: Cells, metric: str) -> np.ndarray:
    """As `distances`, of one query to vectors that lie where `compares_in_place` takes them: float32[n]."""
    found = np.empty(len(cells.places), np.float32)
    compare(cells.data, cells.places, query, query.shape[1], _COMPARED[metric], found)
    return found


def pairs(
    queries: np.ndarray, values: np.ndarray, number: str, metric: str, which: Int64s, threads: int = 1
) -> np.ndarray:
    """True distances of queries to some of the vectors as they are stored. which: int64[q, m], -1 for none.

    threads: at most so many share many queries.
    """
    if not len(values):
        return np.full(which.shape, np.nan, np.float32)
    if metric == "hamming":
        found = _BITS[queries[:, np.newaxis] ^ values[which]].sum(axis=-1, dtype=np.float32)
    else:
        vectors = as_float32(values, number)
        against = np.ascontiguousarray(queries)
        places = np.multiply(which, vectors.shape[1] * vectors.itemsize, order="C", dtype=np.int64)
        found = np.empty(which.shape, np.float32)
        data, kernel = vectors.reshape(-1).view(np.uint8), _COMPARED[metric]
        shares = min(threads, len(queries), 1 + places.size * against.shape[1] // _SHARED_WORK)
        cuts = np.linspace(0, len(queries), max(shares, 1) + 1).astype(int).tolist()
        parts = [tuple(part[start:end] for part in (places, against, found)) for start, end in pairwise(cuts)]
        spread(lambda part: compare(data, part[0], part[1], against.shape[1], kernel, part[2]), parts)
        return found
    found[(which < 0) | ~np.isfinite(found)] = np.nan
    return found


def rank(ids: Int64s, scores: np.ndarray, how: Nearest) -> Hits:
    """The best k of some candidates of each query, within the range that is asked for; ties go to the smaller id.

    ids: int64[q, m], -1 for none. scores: float32[q, m], NaN for none.
    """
    if len(ids) == 1:
        return rank_one(ids[0], scores[0], how)[0]
    keys, bad = _keys(ids, scores, how)
    k = min(how.k, keys.shape[1])
    found, best, gone = _best_of_each((ids, keys, bad), k)
    found[gone], best[gone] = -1, np.nan
    return _lengthened(found, best, how.k)


def rank_one(ids: Int64s, scores: np.ndarray, how: Nearest) -> tuple[Hits, Int64s]:
    """As `rank`, of one query: int64[m], float32[m]; and the places of the best among them, in their order."""
    low, high = how.within
    places = np.empty(min(how.k, len(ids)), np.int64)
    if len(places):
        places = places[: best(ids, scores, -inf if low is None else low, nan if high is None else high, places)]
    return _lengthened(ids[np.newaxis, places], scores[np.newaxis, places], how.k), places


def _keys(ids: Int64s, scores: np.ndarray, how: Nearest) -> tuple[np.ndarray, np.ndarray]:
    """Scores to order by, infinite where there is no row or it is out of range, and where that is."""
    bad = (ids < 0) | np.isnan(scores)
    low, high = how.within
    if low is not None:
        bad |= scores < low
    if high is not None:
        bad |= scores >= high
    return np.where(bad, np.inf, scores), bad


def _lengthened(ids: Int64s, scores: np.ndarray, k: int) -> Hits:
    """Hits of k for each query, of as many or fewer."""
    if ids.shape[1] == k:
        return Hits(ids, scores)
    out = Hits.none(len(ids), k)
    out.ordinals[:, : ids.shape[1]], out.scores[:, : ids.shape[1]] = ids, scores
    return out


def _best_of_each(parts: tuple[np.ndarray, ...], k: int) -> Sequence[np.ndarray]:
    """The least k keys of each query, ascending, of equal ones the smaller id first.

    parts: of each query ids, keys, and what else they have.
    """
    keys = parts[1]
    queries = np.arange(len(keys))[:, np.newaxis]
    if keys.shape[1] > 4 * k + 64:
        last = np.partition(keys, k - 1, axis=1)[:, k - 1]
        most = int(np.count_nonzero(keys <= last[:, np.newaxis], axis=1).max())
        if most < keys.shape[1]:
            some = np.argpartition(keys, most - 1, axis=1)[:, :most]
            parts = tuple(part[queries, some] for part in parts)
    order = np.lexsort(parts[:2], axis=-1)[:, :k]
    return [part[queries, order] for part in parts]


def merge(parts: Sequence[Hits], how: Nearest) -> Hits:
    """The best k of what several searches found, whose ids are apart."""
    if not parts:
        raise InvalidInput("there is nothing to merge")
    ids = np.concatenate([part.ordinals for part in parts], axis=1)
    scores = np.concatenate([part.scores for part in parts], axis=1)
    return rank(ids, scores, how)


def _scan(queries: np.ndarray, number: str, how: Nearest, values: np.ndarray, ids: Int64s) -> Hits:
    """The nearest of a run of vectors, a block after another."""
    against = normal(queries) if how.metric == "cosine" else queries
    reused = len(queries) > 1 or number != "float32"
    nbytes = _BLOCK_NBYTES if reused else _TWICE_NBYTES if how.metric == "cosine" else _RUN_NBYTES
    step = max(64, nbytes // (4 * values.shape[1]))
    best: list[Hits] = []
    # The worst distance that still counts, of each query.
    bound = np.full((len(queries), 1), np.inf, np.float32)
    for start in range(0, len(values), step):
        scores, places = _block(against, values[start : start + step], number, how)
        if not (scores[:, :1] < bound).any():
            continue
        best.append(Hits(np.where(places < 0, -1, ids[start + places]), scores))
        if len(best) == _MERGED or (start == 0 and step < len(values)):
            best = [merge(best, how)]
            last = best[0].scores[:, -1:]
            bound = np.where(np.isnan(last), np.inf, last)
    return merge(best, how) if best else Hits.none(len(queries), how.k)


def _block(queries: np.ndarray, values: np.ndarray, number: str, how: Nearest) -> tuple[np.ndarray, Int64s]:
    """The nearest of one block: float32[q, m] distances, ascending, and int64[q, m] places, -1 for none.

    queries: normal under cosine.
    """
    k = min(how.k, len(values))
    metric = how.metric
    if metric == "hamming":
        return _block_of_bits(queries, values, how)
    if how.within[0] is not None or (metric == "cosine" and len(queries) == 1):
        # Vectors of one query are not made to be of length 1: that takes longer than to compare them.
        return _block_of_all(queries, as_float32(values, number), how)
    vectors = _prepared(values, number, metric)
    library = alone()
    kernel = library.knn_L2sqr if metric == "l2" else library.knn_inner_product
    scores = np.empty((len(queries), k), np.float32)
    places = np.empty((len(queries), k), np.int64)
    for first in range(0, len(queries), _GROUP):
        some = queries[first : first + _GROUP]
        shape = (vectors.shape[1], len(some), len(vectors), k)
        into = (scores[first : first + _GROUP], places[first : first + _GROUP])
        kernel(pointer(some), pointer(vectors), *shape, pointer(into[0]), pointer(into[1]))
    if metric != "l2":
        if np.isinf(scores).any() and not np.isfinite(vectors).all():
            # Infinite products displaced finite ones: vectors that are not finite must not be compared.
            return _finite_only(queries, vectors, how)
        scores = 1 - scores
    scores[(places < 0) | ~np.isfinite(scores)] = np.nan
    return scores, places


def _finite_only(queries: np.ndarray, vectors: np.ndarray, how: Nearest) -> tuple[np.ndarray, Int64s]:
    """As `_block`, of prepared vectors some of which are not finite."""
    whole = np.flatnonzero(np.isfinite(vectors).all(axis=1))
    every = np.broadcast_to(np.arange(len(whole)), (len(queries), len(whole)))
    metric = "dot"
    found = rank(every, pairs(queries, vectors[whole], "float32", metric, every), how)
    return found.scores, np.where(found.ordinals < 0, -1, whole[found.ordinals]) if len(whole) else found.ordinals


def _block_of_all(queries: np.ndarray, vectors: np.ndarray, how: Nearest) -> tuple[np.ndarray, Int64s]:
    """As `_block`, of vectors as they are: every distance is computed, some may be less than what is asked for."""
    library = alone()
    kernel = library.fvec_L2sqr_ny if how.metric == "l2" else library.fvec_inner_products_ny
    scores = np.empty((len(queries), len(vectors)), np.float32)
    for query, row in zip(queries, scores, strict=True):
        kernel(pointer(row), pointer(query), pointer(vectors), vectors.shape[1], len(vectors))
    if how.metric == "cosine":
        scores /= lengths(vectors)
    if how.metric != "l2":
        scores = 1 - scores
    scores[~np.isfinite(scores)] = np.nan
    found = rank(np.broadcast_to(np.arange(len(vectors)), scores.shape), scores, how)
    return found.scores, found.ordinals


def _block_of_bits(queries: np.ndarray, values: np.ndarray, how: Nearest) -> tuple[np.ndarray, Int64s]:
    """As `_block`, for hamming."""
    scores = np.empty((len(queries), len(values)), np.float32)
    for query, row in zip(queries, scores, strict=True):
        row[:] = _BITS[values ^ query].sum(axis=1, dtype=np.uint32)
    found = rank(np.broadcast_to(np.arange(len(values)), scores.shape), scores, how)
    return found.scores, found.ordinals


def _prepared(values: np.ndarray, number: str, metric: str) -> np.ndarray:
    """Vectors as faiss compares them: float32, under cosine of length 1; a vector of no length becomes NaN."""
    vectors = as_float32(values, number)
    return normal(vectors) if metric == "cosine" else vectors


def _late(query: np.ndarray, values: np.ndarray, starts: np.ndarray, number: str, metric: str) -> np.ndarray:
    """Distances of a query of several vectors to rows of several: float32[rows]. starts: of each row, ascending."""
    every = np.broadcast_to(np.arange(len(values)), (len(query), len(values)))
    return np.fmin.reduceat(pairs(query, values, number, metric, every), starts, axis=1).sum(axis=0)


def _late_pairs(queries: np.ndarray, found: Vectors, number: str, metric: str, which: Int64s) -> np.ndarray:
    """As `distances`, for multi-vectors."""
    out = np.full(which.shape, np.nan, np.float32)
    if found.rows is None or not len(found.rows):
        return out
    present, starts = np.unique(found.rows, return_index=True)
    every = np.full(found.count + 1, np.nan, np.float32)
    for query, wanted, row in zip(queries, which, out, strict=True):
        every[present] = _late(query, found.values, starts, number, metric)
        row[:] = np.where(wanted < 0, np.nan, every[wanted])
    return out


__all__ = [
    "Exact",
    "as_queries",
    "check_vectors",
    "compares_in_place",
    "distances",
    "distances_in_place",
    "merge",
    "nearest_of",
    "pairs",
    "rank",
]
