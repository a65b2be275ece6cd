"""Partitions in memory: read when they are first probed, kept while there is room, scanned by faiss.

A generation is an index of faiss whose lists fill up one after another; a full one is left for a new one, and what
still searches it keeps it alive. A list is filled once, by one thread at a time, and never changes: others may search
other lists meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from lance_like.index.vector.door import alone, faiss
from lance_like.index.vector.quantize import Codes, Product, fill
from lance_like.locks import lock_over_forks
from lance_like.typing_ import Bytes, Int64s

# Of one open segment; a search that needs more takes it, and leaves none of it behind.
_MOST_NBYTES = 1 << 29
_LOCK = lock_over_forks()


class Scan(Protocol):
    """What holds lists of codes and finds the nearest in some of them."""

    def add(self, number: int, rows: Any) -> None:
        """Fill a list with what the segment read: ordinals and codes uint8[n, width], of graphs also the links."""
        ...

    def search(
        self, queries: np.ndarray, probes: Int64s, near: np.ndarray, k: int, allow: Bytes | None, ef: int
    ) -> tuple[np.ndarray, Int64s]:
        """The nearest of some lists: float32[q, k] as faiss gives them and int64[q, k], -1 past the last one.

        probes: int64[q, p], lists, -1 for none. near: float32[q, p], to their centroids. allow: a bitmap of ordinals.
        ef: how many candidates a graph keeps.
        """
        ...


class FaissScan:
    """Lists of codes that faiss scans."""

    def __init__(self, codes: Codes, centroids: np.ndarray, dot: bool, rows: int) -> None:
        self._codes, self._dot = codes, dot
        self._index, self._held = codes.lists(centroids, dot)
        self._index.ntotal = rows
        self._drops_rows = isinstance(codes, Product) and codes.bits == 4

    def add(self, number: int, rows: tuple[Int64s, Bytes]) -> None:
        if len(rows[0]):
            fill(self._index, self._held, self._codes, number, *rows)

    def search(
        self, queries: np.ndarray, probes: Int64s, near: np.ndarray, k: int, allow: Bytes | None, ef: int
    ) -> tuple[np.ndarray, Int64s]:
        library = alone()
        if allow is None:
            how = _of_all(probes.shape[1])
        else:
            how = library.SearchParametersIVF(nprobe=probes.shape[1], sel=library.IDSelectorBitmap(allow))
        placed = self._codes.queries(queries)
        found = np.empty((len(placed), k), np.float32)
        ordinals = np.empty((len(placed), k), np.int64)
        at = library.swig_ptr
        given = (len(placed), at(placed), k, at(probes), at(near), at(found), at(ordinals))
        self._index.search_preassigned_c(*given, False, how)
        last = found[:, -1], ordinals[:, -1]
        # Where a row was dropped, there is none in the last place; of a query without numbers, no number.
        if self._drops_rows and (int(np.minimum.reduce(last[1])) < 0 or math.isnan(np.maximum.reduce(last[0]))):
            ordinals[np.isnan(found)] = -1
            for query in (ordinals[:, -1] < 0).nonzero()[0].tolist():
                self._add_dropped(found[query], ordinals[query], probes[query], near[query], allow)
        return found, ordinals

    def _add_dropped(
        self, found: np.ndarray, ordinals: Int64s, probes: Int64s, near: np.ndarray, allow: Bytes | None
    ) -> None:
        """Put rows of the lists behind those found, where there are more.

        Comparing codes of 4 bits, faiss drops rows that no other is farther than in any part, and all rows for a query
        that is as near to all numbers of a codebook. Each is taken to be where its centroid is, behind those found.
        """
        several = [self._ordinals_of(number) for number in probes.tolist()]
        rows, scores = np.concatenate(several), near.repeat([len(some) for some in several])
        count = int(np.count_nonzero(ordinals >= 0))
        dropped = ~np.isin(rows, ordinals[:count])
        if allow is not None:
            dropped &= (allow[rows >> 3] >> (rows & 7).astype(np.uint8) & 1).astype(bool)
        rows, scores = rows[dropped][: len(ordinals) - count], scores[dropped][: len(ordinals) - count]
        if count:
            scores = (np.minimum if self._dot else np.maximum)(scores, found[count - 1])
        found[count : count + len(rows)], ordinals[count : count + len(rows)] = scores, rows

    def _ordinals_of(self, number: int) -> Int64s:
        """The ordinals of a list; of none for -1."""
        library = faiss()
        lists = library.downcast_InvertedLists(self._index.invlists)
        count = lists.list_size(number) if number >= 0 else 0
        return library.rev_swig_ptr(lists.get_ids(number), count) if count else np.empty(0, np.int64)


@lru_cache(maxsize=64)
def _of_all(probes: int) -> Any:
    """How faiss searches so many lists for any row; it takes longer to make than some lists to search."""
    return faiss().SearchParametersIVF(nprobe=probes)


class Generation:
    """A scan and which of its lists are filled."""

    def __init__(self, scan: Scan, lists: int) -> None:
        self.scan = scan
        self.filled = np.zeros(lists, bool)
        self.nbytes = 0


class Lists:
    """The partitions of a segment. make: an empty scan. read: ordinals and codes of some partitions, in one round.

    sizes: int64[p], rows of each. row_nbytes: what a row takes in memory.
    """

    def __init__(
        self,
        make: Callable[[], Scan],
        read: Callable[[Sequence[int]], list[Any]],
        sizes: Int64s,
        row_nbytes: int,
    ) -> None:
        self._make, self._read = make, read
        self.sizes = sizes
        self._nbytes = sizes * row_nbytes
        self._now = Generation(make(), len(sizes))

    @property
    def nbytes_cached(self) -> int:
        return self._now.nbytes

    def fits(self, wanted: Int64s) -> bool:
        """May so many lists be held at once?"""
        return int(self._nbytes[wanted].sum()) <= _MOST_NBYTES

    def holding(self, wanted: Int64s) -> Scan:
        """A scan that holds some lists. wanted: int64, repeats allowed."""
        now = self._now
        if np.logical_and.reduce(now.filled[wanted]):
            return now.scan
        wanted = np.unique(wanted)
        if now.nbytes + int(self._nbytes[wanted[~now.filled[wanted]]].sum()) > _MOST_NBYTES:
            now = Generation(self._make(), len(self.sizes))
        missing = [number for number in wanted.tolist() if not now.filled[number]]
        found = self._read(missing)
        with _LOCK:
            for number, rows in zip(missing, found, strict=True):
                # Another thread may have been faster.
                if not now.filled[number]:
                    now.scan.add(number, rows)
                    now.filled[number] = True
                    now.nbytes += int(self._nbytes[number])
        if now.nbytes <= _MOST_NBYTES:
            self._now = now
        return now.scan


__all__ = ["FaissScan", "Lists", "Scan"]
