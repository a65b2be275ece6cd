"""The kernels of vectors in numpy, as `plain.py` has the others."""

from __future__ import annotations

import numpy as np

from lance_like.typing_ import Bytes, Int64s


def compare(data: Bytes, places: Int64s, queries: np.ndarray, dimension: int, metric: int, out: np.ndarray) -> None:
    """Fill `out`, float32[q, m], with the distances of queries, float32[q, d], to vectors of float32 where they lie.

    places: int64[q, m], where each begins in the bytes; below 0 for none. NaN for that, and for what is not finite.

    metric: 0, squared l2; 1, 1 - dot product; 2, 1 - cosine.
    Raises ValueError where a vector is not in the bytes.
    """
    width, count = 4 * dimension, queries.size // dimension
    if places.size != out.size or (places.size and (not count or places.max() > len(data) - width)):
        raise ValueError("compare: the vectors are not in the bytes, or there is not as much room")
    for query, some, row in zip(
        queries.reshape(count, -1), places.reshape(count, -1), out.reshape(count, -1), strict=True
    ):
        cells = np.lib.stride_tricks.sliding_window_view(data, width)[np.maximum(some, 0)] if len(some) else data[:0]
        found = _distances(query, cells.reshape(-1).view("<f4").reshape(-1, dimension), metric)
        row[:] = np.where((some >= 0) & np.isfinite(found), found, np.nan)


def _distances(query: np.ndarray, vectors: np.ndarray, metric: int) -> np.ndarray:
    with np.errstate(all="ignore"):
        if metric == 0:
            return np.square(vectors - query).sum(axis=1)
        found = vectors @ query
        if metric == 2:
            squares, own = np.square(vectors).sum(axis=1), np.square(query).sum()
            found = np.where(np.isfinite(squares + own), found / (np.sqrt(squares) * np.sqrt(own)), np.nan)
        return 1 - found


def best(ids: Int64s, scores: np.ndarray, low: float, high: float, out: Int64s) -> int:
    """Fill `out` with the places of the least scores, ascending, of equal ones the smaller id first; returns how many
    there are. ids: int64[n], below 0 for none. scores: float32[n], NaN for none; those below `low`, or at or above
    `high`, are left out. out: int64[k], at least one.
    """
    out_of_range = (scores < low) | (scores >= high)
    left = np.flatnonzero(~((ids < 0) | np.isnan(scores) | out_of_range))
    chosen = left[np.lexsort((ids[left], scores[left]))[: len(out)]]
    out[: len(chosen)] = chosen
    return len(chosen)


__all__ = ["best", "compare"]
