"""Searching a segment of partitions: which of them to look into, and how far to go on."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pyroaring import BitMap

from lance_like._lazy import cached
from lance_like.errors import InvalidInput
from lance_like.index.base import Hits, Nearest
from lance_like.index.vector.bits import nearest_bits
from lance_like.index.vector.door import alone, cores, pointer, spread
from lance_like.index.vector.lists import Lists, Scan
from lance_like.index.vector.space import Space
from lance_like.index.vector.stored import END, Stored
from lance_like.kernels import best
from lance_like.typing_ import Bytes, Int64s

# So many rows are compared one by one quicker than they are found in an index of many more; and about as quickly in any
# index, which would miss some of them.
_FEW_ROWS, _FEW_ANYHOW = 10_000, 1000
# When too little is found, so many times as many partitions are looked into.
_WIDER = 4
# Partitions are looked into, where the caller does not say how many, until they hold so many rows on the average.
_LEAST_ROWS = 512
# Of those within reach at most so many times as many are looked into as hold the neighbours of most queries.
MOST_WITHIN = 2
# By which power of the share of rows that are allowed more partitions are looked into.
_FARTHER = 1 / 4
_INFINITE = np.float32(np.inf)
# A graph is searched at most so much longer for rows that few are allowed of.
_LONGEST_WAY = 32
# A query of several vectors looks for so many times k vectors near each, and some more.
_LATE_FACTOR, _LATE_MORE = 4, 32


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a segment was tuned for.

    reach: how much farther than the nearest partition others are looked into, as a share of how much farther all are
    on the average; None: as many as `nprobes`. error: of most estimates, of their distance; 0: distances are true.
    """

    nprobes: int
    reach: float | None
    refine_factor: int
    ef: int
    error: float


@dataclass(frozen=True, slots=True)
class _Asked:
    """How far a search goes. k: rows of each query. marks: a bitmap of the ordinals allowed; None: all.

    ef: candidates that a graph keeps. least, most: partitions to look into at first, and when they hold too little.
    reach: of a search that looks at first into those that are so near, at least `least` and at most `widest`; None:
    into `least`.
    """

    k: int
    marks: Bytes | None
    ef: int
    least: int
    most: int
    reach: float | None
    widest: int


def defaults_of(detail: Any, partitions: int) -> Defaults:
    """The defaults that a build or a tuner wrote down; careful ones where it did not."""

    def whole(name: str, otherwise: int) -> int:
        value = detail.get(name)
        return value if isinstance(value, int) and 0 <= value < 1 << 31 else otherwise

    def real(name: str) -> float | None:
        value = detail.get(name)
        return float(value) if isinstance(value, (int, float)) and 0 <= value < 1e6 else None

    error = real("error")
    return Defaults(
        max(1, min(whole("nprobes", partitions), partitions)),
        real("reach"),
        whole("refine_factor", 10),
        whole("ef", 64),
        0.1 if error is None else error,
    )


class IvfSearcher:
    """An open segment of partitions. make: an empty scan of its codes. read: its partitions.

    graphs: are partitions graphs?
    """

    def __init__(
        self,
        stored: Stored,
        make: Callable[[], Scan],
        read: Callable[[Sequence[int]], list[Any]],
        *,
        graphs: bool = False,
    ) -> None:
        self.stored, self.graphs = stored, graphs
        self._make, self._read = make, read
        # The rows allowed that were asked for last, and their bitmap: filters repeat.
        self._allowed: tuple[BitMap, Bytes] | None = None

    @property
    def metric(self) -> str:
        """What it was built for."""
        return self.space.metric

    @property
    def refine_factor(self) -> int:
        """How many times k rows are to be looked at again; 0: their distances are true."""
        return self.defaults.refine_factor

    @cached
    def partitions(self) -> int:
        """How many it has."""
        return len(self.stored.ends)

    @property
    def partition_sizes(self) -> Int64s:
        """int64[p], the vectors of each partition. Cost: a read of these numbers."""
        [ends] = self.stored.partitions.columns([END])
        return np.diff(np.asarray(ends, np.int64), prepend=0)

    @cached
    def space(self) -> Space:
        """Where distances are taken."""
        return self.stored.space

    @cached
    def defaults(self) -> Defaults:
        """What the segment was tuned for."""
        # What the index was tuned for afterwards stands in its parameters.
        tuned = {k: v for k, v in self.stored.segment.params.items() if v is not None}
        detail = {
            **self.stored.segment.detail,
            **({"reach": None} if "nprobes" in tuned else {}),
            **{k: tuned[k] for k in ("nprobes", "reach", "refine_factor", "ef") if k in tuned},
        }
        return defaults_of(detail, len(self.stored.ends))

    @cached
    def _fewest(self) -> int:
        """Partitions that are looked into at least, where the caller does not say how many."""
        # What a few partitions of few rows miss is much of a query's answer, and to look into more costs nothing.
        return math.ceil(_LEAST_ROWS * self.partitions / self.stored.segment.rows)

    @cached
    def _vectors(self) -> int:
        """How many vectors it has."""
        return self.stored.vectors.rows

    @cached
    def _lists(self) -> Lists:
        ends = self.stored.ends
        return Lists(self._make, self._read, np.diff(ends, prepend=0), self.stored.row_nbytes)

    @property
    def nbytes_cached(self) -> int:
        """What it keeps in memory, by estimate."""
        if "_lists" not in self.__dict__:
            return 0
        marks = 0 if self._allowed is None else self._allowed[1].nbytes
        return self._lists.nbytes_cached + 2 * self.stored.centroids.nbytes + self.stored.ends.nbytes + marks

    def prewarm(self) -> None:
        """Read all partitions that there is room for."""
        every = np.arange(len(self.stored.ends))
        if self._lists.fits(every):
            self._lists.holding(every)

    def prefers_exact(self, allowed: int, how: Nearest) -> bool:
        """Is it cheaper to compute the distances of so many allowed rows from the column?"""
        return allowed <= _FEW_ANYHOW or (allowed <= _FEW_ROWS and 4 * allowed <= self.stored.segment.rows)

    def nearest(self, queries: np.ndarray, how: Nearest, allow: BitMap | None) -> Hits:
        """The rows nearest to each query, among those allowed; distances may be estimates."""
        self.space.check(queries, how.metric)
        if how.k < 1:
            raise InvalidInput(f"k is {how.k}, expected 1 at least", kind="query")
        if allow is not None and len(allow) >= self.stored.segment.rows:
            allow = None
        if not self._vectors or (allow is not None and not allow):
            return Hits.none(len(queries), how.k)
        if queries.ndim == 3:
            return self._late(queries, how, allow)
        placed = np.ascontiguousarray(self.space.queries(queries))
        asked = self._asked(how, how.k, allow)
        if how.within[0] is not None:
            return self._within(placed, how, asked)
        found, ordinals = self._search(placed, asked)
        if not (int(np.minimum.reduce(ordinals, axis=None)) >= 0 and np.maximum.reduce(abs(found), axis=None) < np.inf):
            bad = (ordinals < 0) | ~np.isfinite(found)
            ordinals[bad], found[bad] = -1, np.nan
        return Hits(ordinals, found)

    def _asked(self, how: Nearest, k: int, allow: BitMap | None) -> _Asked:
        """What a search asks for, where the caller does not say it."""
        partitions = self.partitions
        share = 1.0 if allow is None else len(allow) / self.stored.segment.rows
        least, most = how.nprobes
        last = partitions if most is None else max(1, min(most, partitions))
        reach, widest = how.options.get("reach"), last
        if reach is None and allow is None and how.nprobes == (None, None):
            # A query that is far from all is as near to all.
            reach, widest = self.defaults.reach, min(last, MOST_WITHIN * self.defaults.nprobes)
        if least is not None:
            first = least
        elif reach is not None:
            first = self._fewest
        else:
            # Neighbours among few rows are farther away than among all.
            first = math.ceil(max(self._fewest, self.defaults.nprobes) / share**_FARTHER)
        # A graph passes rows that are not allowed on its way to others: of those that are it keeps so many.
        ef = int((how.ef or self.defaults.ef) * min(1 / share, _LONGEST_WAY))
        marks = None if allow is None else self._marks(allow)
        first = max(1, min(first, last))
        return _Asked(k, marks, ef, first, last, reach, max(first, widest))

    def _marks(self, allow: BitMap) -> Bytes:
        """The bitmap of rows that are allowed; of the same set as before, which nobody changes, the same again."""
        known = self._allowed
        if known is None or known[0] is not allow:
            known = self._allowed = allow, bitmap(allow, self.stored.segment.rows)
        return known[1]

    def _search(self, queries: np.ndarray, asked: _Asked) -> tuple[np.ndarray, Int64s]:
        """Distances and ordinals: [q, k], of ever more partitions until k are found or there are no more."""
        found, ordinals = self._probe(queries, asked)
        while asked.least < asked.most:
            short = (ordinals[:, -1] < 0).nonzero()[0]
            if not len(short):
                break
            first = asked.least if asked.reach is None else max(asked.least, self.defaults.nprobes)
            asked = replace(asked, least=min(asked.most, _WIDER * first), reach=None)
            found[short], ordinals[short] = self._probe(queries[short], asked)
        return found, ordinals

    def _probe(self, queries: np.ndarray, asked: _Asked) -> tuple[np.ndarray, Int64s]:
        """Look into the nearest partitions of each query, by all cores when there are many queries."""
        if len(queries) == 1:
            found, ordinals = self._look(queries, asked)
        else:
            cuts = np.linspace(0, len(queries), min(cores(), len(queries)) + 1).astype(int)
            parts = spread(lambda cut: self._look(queries[cut[0] : cut[1]], asked), itertools.pairwise(cuts))
            found, ordinals = (np.concatenate(part) for part in zip(*parts, strict=True))
        return self.space.scores(found), ordinals

    def _look(self, queries: np.ndarray, asked: _Asked) -> tuple[np.ndarray, Int64s]:
        near, wanted = self._coarse(queries, asked)
        # A query without a direction, such as zeros by cosine, is near to no partition.
        lists = wanted[wanted >= 0]
        if len(queries) > 1 and not self._lists.fits(np.unique(lists)):
            half = len(queries) // 2
            parts = [self._look(part, asked) for part in (queries[:half], queries[half:])]
            found, ordinals = (np.concatenate(part) for part in zip(*parts, strict=True))
            return found, ordinals
        # No list gives more than it has.
        k = min(asked.k, self._vectors)
        found, ordinals = self._lists.holding(lists).search(queries, wanted, near, k, asked.marks, asked.ef)
        if k < asked.k:
            found = np.pad(found, ((0, 0), (0, asked.k - k)), constant_values=np.nan)
            ordinals = np.pad(ordinals, ((0, 0), (0, asked.k - k)), constant_values=-1)
        return found, ordinals

    def _coarse(self, queries: np.ndarray, asked: _Asked) -> tuple[np.ndarray, Int64s]:
        """The partitions to look into for each query, the nearest first, and how near they are.

        Returns float32[q, p], as faiss gives it, and int64[q, p], -1 past the last one.
        """
        if len(queries) == 1 and not self.space.bits:
            return self._coarse_one(queries, asked)
        probes = asked.least if asked.reach is None else asked.widest
        if self.space.bits:
            bits, numbers = nearest_bits(queries, self.stored.centroids, probes)
            near = bits.astype(np.float32)
        else:
            near, numbers = self._nearest_centroids(queries, probes)
        if asked.reach is not None:
            far, usual = -near if self.space.dot else near, self._usual(queries)
            past = far > (far[:, :1] + asked.reach * (usual - far[:, :1])).astype(np.float32)
            past[:, : asked.least] = False
            numbers[past] = -1
        if self.stored.bias is not None:
            near -= self.stored.bias[numbers]
        return near, numbers

    def _nearest_centroids(self, queries: np.ndarray, probes: int) -> tuple[np.ndarray, Int64s]:
        """The partitions that count as nearest, and how far they count: as faiss gives it, and what their bias is."""
        library, centroids = alone(), self._placed_centroids
        if self.stored.bias is not None:
            queries = np.pad(queries, ((0, 0), (0, 1)))
        far = np.empty((len(queries), probes), np.float32)
        numbers = np.empty((len(queries), probes), np.int64)
        kernel = library.knn_inner_product if self.space.dot else library.knn_L2sqr
        shape = (centroids.shape[1], len(queries), len(centroids), probes)
        kernel(pointer(queries), pointer(centroids), *shape, pointer(far), pointer(numbers))
        return far, numbers

    @cached
    def _placed_centroids(self) -> np.ndarray:
        """The centroids, those that have a bias with one number more: so much farther they are from any query."""
        bias, centroids = self.stored.bias, self.stored.centroids
        return centroids if bias is None else np.concatenate([centroids, np.sqrt(bias)[:, np.newaxis]], axis=1)

    def _usual(self, queries: np.ndarray) -> np.ndarray:
        """How far partitions count from each query on the average: [q, 1]."""
        if self.space.bits:
            every, _ = nearest_bits(queries, self.stored.centroids, self.partitions)
            return every.mean(axis=1, keepdims=True)
        middle, squares = self._middle
        wide = queries.astype(np.float64)
        products = wide @ middle[:, np.newaxis]
        return -products if self.space.dot else np.square(wide).sum(axis=1, keepdims=True) - 2 * products + squares

    @cached
    def _middle(self) -> tuple[np.ndarray, float]:
        """The mean of the centroids, and of their squared lengths with what their bias is."""
        placed, centroids = self._placed_centroids, self.stored.centroids
        return centroids.mean(axis=0, dtype=np.float64), float(np.square(placed, dtype=np.float64).sum(axis=1).mean())

    def _coarse_one(self, query: np.ndarray, asked: _Asked) -> tuple[np.ndarray, Int64s]:
        """As `_coarse`, of one query: first compared with all, in less time than faiss takes to keep the nearest."""
        library, centroids = alone(), self.stored.centroids
        near, at = np.empty(len(centroids), np.float32), library.swig_ptr
        kernel = library.fvec_inner_products_ny if self.space.dot else library.fvec_L2sqr_ny
        kernel(at(near), at(query), at(centroids), centroids.shape[1], len(centroids))
        bias = self.stored.bias
        far = -near if self.space.dot else near if bias is None else near + bias
        count, numbers = 0, np.empty(0, np.int64)
        if asked.reach is not None:
            first = float(np.minimum.reduce(far))
            usual = float(np.add.reduce(far, dtype=np.float64)) / len(far)
            last = np.float32(first + asked.reach * (usual - first))
            numbers = np.empty(asked.widest, np.int64)
            count = best(self._numbers, far, -math.inf, np.nextafter(last, _INFINITE), numbers)
        if count < asked.least:
            numbers = np.empty(asked.least, np.int64)
            count = best(self._numbers, far, -math.inf, math.nan, numbers)
            if count < asked.least:
                # A query without numbers is near to none.
                numbers[count:] = -1
                count = asked.least
        numbers = numbers[:count]
        return near[np.newaxis, numbers], numbers[np.newaxis]

    @cached
    def _numbers(self) -> Int64s:
        """Of all partitions."""
        return np.arange(self.partitions)

    def _within(self, queries: np.ndarray, how: Nearest, asked: _Asked) -> Hits:
        """Where nearer rows than asked for are left out: more and more are found until k are left."""
        low = how.within[0]
        assert low is not None
        error = 0.0 if self.refine_factor == 0 else 2 * self.defaults.error
        every = self.stored.vectors.rows
        asked = replace(asked, least=asked.most, reach=None)
        while True:
            asked = replace(asked, k=min(4 * asked.k, max(every, how.k)))
            found, ordinals = self._search(queries, asked)
            seen = found[(ordinals >= 0) & np.isfinite(found)]
            # Estimates are wrong by a share of what distances are, and of how far they are apart.
            slack = error * (abs(low) + float(np.ptp(seen))) if len(seen) else 0.0
            good = (ordinals >= 0) & (found >= low - slack)
            if asked.k >= every or (good.sum(axis=1) >= how.k).all() or (ordinals[:, -1] < 0).all():
                break
        order = np.argsort(~good, axis=1, kind="stable")[:, : how.k]
        found, ordinals = np.where(good, found, np.nan), np.where(good, ordinals, -1)
        return Hits(np.take_along_axis(ordinals, order, 1), np.take_along_axis(found, order, 1))

    def _late(self, queries: np.ndarray, how: Nearest, allow: BitMap | None) -> Hits:
        """Rows of several vectors: those whose vectors are near to those of a query. queries: float32[q, m, d]."""
        count, each, dimension = queries.shape
        asked = self._asked(how, _LATE_FACTOR * how.k + _LATE_MORE, allow)
        placed = np.ascontiguousarray(self.space.queries(queries.reshape(count * each, dimension)))
        found, ordinals = self._search(placed, asked)
        found[(ordinals < 0) | ~np.isfinite(found)] = np.nan
        out = Hits.none(count, how.k)
        for i in range(count):
            part = slice(i * each, (i + 1) * each)
            ids, scores = _summed(ordinals[part], found[part])
            best = np.lexsort((ids, scores))[: how.k]
            out.ordinals[i, : len(best)], out.scores[i, : len(best)] = ids[best], scores[best]
        return out


def _summed(ordinals: Int64s, scores: np.ndarray) -> tuple[Int64s, np.ndarray]:
    """Rows that were found for some vectors of a query, and the sums of their distances to all of them.

    ordinals, scores: [m, k]. A row that was not found for a vector is as far from it as the last that was.
    """
    rows, places = np.unique(ordinals, return_inverse=True)
    places = places.reshape(ordinals.shape)
    known = np.where(np.isnan(scores), np.inf, scores)
    worst = np.max(np.where(np.isnan(scores), -np.inf, scores), axis=1)
    sums = np.zeros(len(rows), np.float32)
    for place, score, last in zip(places, known, worst, strict=True):
        least = np.full(len(rows), last, np.float32)
        np.minimum.at(least, place, score)
        sums += least
    real = (rows >= 0) & np.isfinite(sums)
    return rows[real], sums[real]


def bitmap(allow: BitMap, rows: int) -> Bytes:
    """A set of ordinals below rows as a bit for each, the lowest first."""
    many = 2 * len(allow) > rows
    listed = allow.flip(0, rows) if many else allow
    marks = np.full(rows, many)
    marks[np.frombuffer(listed.to_array(), np.uint32)] = not many
    return np.packbits(marks, bitorder="little")


__all__ = ["Defaults", "IvfSearcher", "bitmap", "defaults_of"]
