"""Where a phrase begins, and how often it occurs in rows, from where its words stand in them. Pure.

A word that stands `offset` places into the phrase and at `place` in the row is at `place - offset`: where the phrase
would begin. In an occurrence of a phrase without slop all words are at one such beginning. With slop, an occurrence is
a shortest run of beginnings that has one of every word, of words that stand at different places; it counts
1 / (1 + its last beginning - its first), and not at all where that difference is above slop.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from lance_like.typing_ import Int64s

_STRIDE_BITS = 34
_HALF = 1 << (_STRIDE_BITS - 1)
"""Keys are row * 2^34 + place + 2^33: places and offsets are below 2^32."""
MOST_ROWS = 1 << (63 - _STRIDE_BITS)
"""Keys are of rows below it."""
# Keys that are searched for among so many times as many; others are merged.
_MANY_TIMES = 16


def keys_of(rows: Int64s, places: np.ndarray | int) -> Int64s:
    """The keys of places in rows: ascending, without repeats, where these ascend."""
    keys = rows << _STRIDE_BITS
    keys += places
    keys += _HALF
    return keys if (keys[1:] > keys[:-1]).all() else np.unique(keys)


def rows_of(keys: Int64s) -> Int64s:
    """The rows of keys."""
    return keys >> _STRIDE_BITS


def places_of(keys: Int64s) -> Int64s:
    """The places of keys in their rows."""
    return (keys & (2 * _HALF - 1)) - _HALF


def beginnings(words: Sequence[Int64s], offsets: Sequence[int]) -> Int64s:
    """The keys of where a phrase begins whose words stand at their offsets. words: the keys of each."""
    (found, offset), *others = sorted(zip(words, offsets, strict=True), key=lambda word: len(word[0]))
    found = found - offset
    for other, offset in others:
        found += offset
        if len(found) * _MANY_TIMES < len(other):
            found = found[other.take(other.searchsorted(found), mode="clip") == found]
        else:
            # Two equal neighbours are one of each. A stable sort merges what ascends.
            both = np.concatenate((found, other))
            both.sort(kind="stable")
            found = both[1:][both[1:] == both[:-1]]
        found -= offset
    return found


def exact_frequency(rows: int, words: Sequence[tuple[Int64s, Int64s]], offsets: Sequence[int]) -> np.ndarray:
    """float64[rows]: how often the words stand at their offsets. words: of each, row numbers and places."""
    found = beginnings([keys_of(row, place) for row, place in words], offsets)
    return np.bincount(rows_of(found), minlength=rows).astype(np.float64)


def sloppy_frequency(
    rows: int, words: Sequence[tuple[Int64s, Int64s]], offsets: Sequence[int], slop: int
) -> np.ndarray:
    """float64[rows]: the occurrences with slop, by how near the words are. Arguments as of `exact_frequency`."""
    keys = [keys_of(row, place) - offset for (row, place), offset in zip(words, offsets, strict=True)]
    merged = np.concatenate(keys)
    word = np.repeat(np.arange(len(keys)), [len(part) for part in keys])
    order = np.argsort(merged, kind="stable")
    merged, word = merged[order], word[order]
    # 1. Of each word the last beginning up to each one, in the order of all. 2. The run begins at the least of them.
    lasts = [np.maximum.accumulate(np.where(word == number, merged, -1)) for number in range(len(keys))]
    first = np.minimum.reduce(lasts)
    ends = np.append(merged[1:] != merged[:-1], True)[: len(merged)]
    merged, first, lasts = merged[ends], first[ends], [last[ends] for last in lasts]
    row = rows_of(merged)
    complete = first >= row << _STRIDE_BITS
    # 3. A run that begins where the one before did is not the shortest.
    shorter = np.append(True, first[1:] > first[:-1])[: len(first)]
    width = merged - first
    counted = complete & shorter & (width <= slop)
    for one, other in combinations(range(len(keys)), 2):
        counted &= lasts[one] + offsets[one] != lasts[other] + offsets[other]
    return np.bincount(row[counted], weights=1.0 / (1 + width[counted]), minlength=rows)


__all__ = ["MOST_ROWS", "beginnings", "exact_frequency", "keys_of", "places_of", "rows_of", "sloppy_frequency"]
