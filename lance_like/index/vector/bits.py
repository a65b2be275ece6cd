"""Partitions of bit vectors, compared by the bits in which they differ."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lance_like.index.vector.door import alone, pointer
from lance_like.typing_ import Bytes, Int64s


class BitScan:
    """Lists of bytes. It finds what `lists.Scan` says."""

    def __init__(self) -> None:
        self._lists: dict[int, tuple[Int64s, Bytes]] = {}

    def add(self, number: int, rows: tuple[Int64s, Bytes]) -> None:
        self._lists[number] = rows

    def search(
        self, queries: np.ndarray, probes: Int64s, near: np.ndarray, k: int, allow: Bytes | None, ef: int
    ) -> tuple[np.ndarray, Int64s]:
        found = np.full((len(queries), k), np.inf, np.float32)
        ordinals = np.full((len(queries), k), -1, np.int64)
        for i, query in enumerate(queries):
            ids, codes = together(self._lists, probes[i])
            if allow is not None:
                kept = (allow[ids >> 3] >> (ids & 7).astype(np.uint8)) & 1
                ids, codes = ids[kept > 0], codes[kept > 0]
            count = min(k, len(ids))
            if count:
                bits, places = nearest_bits(query[np.newaxis], codes, count)
                found[i, :count], ordinals[i, :count] = bits[0], ids[places[0]]
        return found, ordinals


def together(lists: Mapping[int, tuple[Int64s, Bytes]], probes: Int64s) -> tuple[Int64s, Bytes]:
    """The rows of some lists, one after another; -1 is no list."""
    parts = [lists[number] for number in probes.tolist() if number >= 0]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def nearest_bits(queries: Bytes, codes: Bytes, k: int) -> tuple[np.ndarray, Int64s]:
    """The codes nearest to each query: int32[q, k] bits, ascending, and int64[q, k] places; ties to the first.

    queries: uint8[q, w]. codes: uint8[n, w], n >= k.
    """
    library = alone()
    queries, codes = np.ascontiguousarray(queries), np.ascontiguousarray(codes)
    bits = np.empty((len(queries), k), np.int32)
    places = np.empty((len(queries), k), np.int64)
    heaps = library.int_maxheap_array_t()
    heaps.k, heaps.nh = k, len(queries)
    heaps.val, heaps.ids = pointer(bits), pointer(places)
    library.hammings_knn_hc(heaps, pointer(queries), pointer(codes), len(codes), codes.shape[1], 1)
    return bits, places


__all__ = ["BitScan", "nearest_bits", "together"]
