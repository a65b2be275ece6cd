"""Which of many signatures are alike (format_spec/index/minhash.md, "Finding pairs"). Pure.

Signatures whose bands are equal are candidates; how wide a band is follows from the threshold, so that nearly all pairs
above it are candidates. Each pair is met once, in the first band that it shares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np

from lance_like.index.duplicates.shingles import Shingles
from lance_like.index.duplicates.signatures import keys, similarity
from lance_like.typing_ import Bytes, Int64s

Pairs: TypeAlias = tuple[Int64s, Int64s, np.ndarray]
"""Numbers of the first and second of n pairs, and their similarity: float32[n]."""

# Of pairs exactly as alike as the threshold, so many are no candidates at most.
_MISSED = 0.01
_PAIRS_AT_ONCE = 1 << 16
_SHINGLES_AT_ONCE = 1 << 22


def band_width(threshold: float, hashes: int) -> int:
    """The most bytes of a band with which a pair at the threshold is a candidate, in 99 of 100 cases."""
    widths = np.arange(1, hashes + 1)
    missed = (1 - threshold**widths) ** (hashes // widths)
    return int(widths[missed <= _MISSED].max(initial=1))


def distinct(signed: Bytes) -> tuple[Int64s, Int64s]:
    """The first of each kind of signature, and the kind of each: int64[kinds], int64[n]."""
    _, first, kind = np.unique(keys(signed, 1)[0], return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    return first[order].astype(np.int64), rank[kind]


def like_pairs(
    signed: Bytes, threshold: float, *, skip: Callable[[Int64s, Int64s], np.ndarray] | None = None
) -> Iterator[Pairs]:
    """Pairs of signatures whose estimated similarity reaches a threshold, some at a time.

    signed: uint8[n, hashes], distinct. skip: says of candidates which need not be looked at: bool[n].
    Cost: a sort a band, and a comparison a candidate.
    """
    width = band_width(threshold, signed.shape[1])
    bands = signed.shape[1] // width
    for band in range(bands):
        for one, other in _candidates(keys(signed[:, band * width : (band + 1) * width], 1)[0]):
            if skip is not None:
                left = ~skip(one, other)
                one, other = one[left], other[left]
            same = signed[one] == signed[other]
            shared = same[:, : bands * width].reshape(-1, bands, width).all(axis=2)
            first = shared.argmax(axis=1) == band
            one, other = one[first], other[first]
            alike = similarity(signed[one], signed[other])
            enough = alike >= threshold
            yield one[enough], other[enough], alike[enough]


def _candidates(found: np.ndarray) -> Iterator[tuple[Int64s, Int64s]]:
    """Pairs of numbers, the lesser first, of equal keys: at most so many at a time."""
    order = np.argsort(found, kind="stable")
    ascending = found[order]
    ends = np.searchsorted(ascending, ascending, side="right")
    # Each pairs with those after it that have its key.
    before = np.concatenate([[0], np.cumsum(ends - np.arange(1, len(order) + 1))])
    for start in range(0, int(before[-1]), _PAIRS_AT_ONCE):
        pair = np.arange(start, min(start + _PAIRS_AT_ONCE, int(before[-1])))
        one = np.searchsorted(before, pair, side="right") - 1
        yield order[one], order[one + 1 + (pair - before[one])]


def jaccard(found: Shingles, one: Int64s, other: Int64s) -> np.ndarray:
    """The similarity of sets of shingles: float32[n]; of two empty ones 0. one, other: numbers of texts, int64[n]."""
    found = _sets(found)
    counts = found.counts
    both = counts[one] + counts[other]
    shared = np.zeros(len(one), np.int64)
    total = np.cumsum(both)
    start = 0
    while start < len(one):
        before = int(total[start - 1]) if start else 0
        end = max(int(np.searchsorted(total, before + _SHINGLES_AT_ONCE, side="right")), start + 1)
        shared[start:end] = _shared(found, one[start:end], other[start:end])
        start = end
    return (shared / np.maximum(both - shared, 1)).astype(np.float32)


def _sets(found: Shingles) -> Shingles:
    """Shingles without repeats, ascending in each text."""
    text = np.repeat(np.arange(len(found.counts)), found.counts)
    order = np.lexsort((found.hashes, text))
    hashes, text = found.hashes[order], text[order]
    new = np.ones(len(order), bool)
    new[1:] = (hashes[1:] != hashes[:-1]) | (text[1:] != text[:-1])
    counts = np.bincount(text[new], minlength=len(found.counts))
    return Shingles(hashes[new], np.concatenate([[0], np.cumsum(counts)]))


def _shared(found: Shingles, one: Int64s, other: Int64s) -> Int64s:
    """How many shingles pairs of sets share."""
    texts = np.stack([one, other], axis=1).ravel()
    counts = found.counts[texts]
    places = np.arange(counts.sum()) + np.repeat(found.starts[texts] - (np.cumsum(counts) - counts), counts)
    pair = np.repeat(np.arange(len(texts)) // 2, counts)
    hashes = found.hashes[places]
    order = np.lexsort((hashes, pair))
    hashes, pair = hashes[order], pair[order]
    twice = (hashes[1:] == hashes[:-1]) & (pair[1:] == pair[:-1])
    return np.bincount(pair[1:][twice], minlength=len(one))


class Groups:
    """Numbers 0 … n - 1, of which some are joined: each group is known by its least."""

    def __init__(self, count: int) -> None:
        self._parent = np.arange(count)

    def roots(self, numbers: Int64s) -> Int64s:
        """The least of the group of each."""
        found = self._parent[numbers]
        while True:
            above = self._parent[found]
            if np.array_equal(above, found):
                self._parent[numbers] = found
                return found
            found = above

    def together(self, one: Int64s, other: Int64s) -> np.ndarray:
        """Which pairs are joined already: bool[n]."""
        return self.roots(one) == self.roots(other)

    def join(self, one: Int64s, other: Int64s) -> None:
        """Make each pair members of one group."""
        while len(one):
            one, other = self.roots(one), self.roots(other)
            apart = one != other
            one, other = one[apart], other[apart]
            np.minimum.at(self._parent, np.maximum(one, other), np.minimum(one, other))

    def members(self) -> tuple[Int64s, Int64s]:
        """The groups of two or more, by their least: their members, ascending in each, and int64[groups + 1] bounds."""
        roots = self.roots(np.arange(len(self._parent)))
        sizes = np.bincount(roots, minlength=len(roots))
        order = np.argsort(roots, kind="stable")
        order = order[sizes[roots[order]] > 1]
        return order, np.concatenate([[0], np.cumsum(sizes[sizes > 1])])


__all__ = ["Groups", "Pairs", "band_width", "distinct", "jaccard", "like_pairs"]
