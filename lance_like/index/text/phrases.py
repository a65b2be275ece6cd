"""How often a phrase occurs in rows, from where its words stand in them. Pure.

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

_STRIDE = 1 << 34
"""Keys are row * stride + beginning + half a stride: places and offsets are below 2^32."""


def exact_frequency(rows: int, words: Sequence[tuple[Int64s, Int64s]], offsets: Sequence[int]) -> np.ndarray:
    """float64[rows]: how often the words stand at their offsets. words: of each, row numbers and places."""
    keys = [_keys(row, place, offset) for (row, place), offset in zip(words, offsets, strict=True)]
    found, *others = sorted(keys, key=len)
    for other in others:
        # Two equal neighbours are one of each. Sorting both is faster than searching the one in the other.
        both = np.sort(np.concatenate((found, other)))
        found = both[1:][both[1:] == both[:-1]]
    return np.bincount(found // _STRIDE, minlength=rows).astype(np.float64)


def sloppy_frequency(
    rows: int, words: Sequence[tuple[Int64s, Int64s]], offsets: Sequence[int], slop: int
) -> np.ndarray:
    """float64[rows]: the occurrences with slop, by how near the words are. Arguments as of `exact_frequency`."""
    keys = [_keys(row, place, offset) for (row, place), offset in zip(words, offsets, strict=True)]
    merged = np.concatenate(keys)
    word = np.repeat(np.arange(len(keys)), [len(part) for part in keys])
    order = np.argsort(merged, kind="stable")
    merged, word = merged[order], word[order]
    # 1. Of each word the last beginning up to each one, in the order of all. 2. The run begins at the least of them.
    lasts = [np.maximum.accumulate(np.where(word == number, merged, -1)) for number in range(len(keys))]
    first = np.minimum.reduce(lasts)
    ends = np.append(merged[1:] != merged[:-1], True)[: len(merged)]
    merged, first, lasts = merged[ends], first[ends], [last[ends] for last in lasts]
    row = merged // _STRIDE
    complete = first >= row * _STRIDE
    # 3. A run that begins where the one before did is not the shortest.
    shorter = np.append(True, first[1:] > first[:-1])[: len(first)]
    width = merged - first
    counted = complete & shorter & (width <= slop)
    for one, other in combinations(range(len(keys)), 2):
        counted &= lasts[one] + offsets[one] != lasts[other] + offsets[other]
    return np.bincount(row[counted], weights=1.0 / (1 + width[counted]), minlength=rows)


def _keys(rows: Int64s, places: Int64s, offset: int) -> Int64s:
    """Ascending, without repeats."""
    keys = rows * _STRIDE
    keys += places
    keys += _STRIDE // 2 - offset
    return keys if (keys[1:] > keys[:-1]).all() else np.unique(keys)


__all__ = ["exact_frequency", "sloppy_frequency"]
