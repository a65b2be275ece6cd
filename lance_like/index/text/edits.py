"""Which words are a few edits away from another: characters added, dropped or replaced (Levenshtein's distance).

The distance is computed for all words at once, character by character, but only for those that pass two cheap tests:
their length, and which characters they have at all.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lance_like.typing_ import Int64s


class Spelling:
    """Words, in the order of their bytes, to be found by others like them."""

    def __init__(self, words: pa.Array) -> None:
        self._words = words
        # All characters as code points, end to end.
        text = "".join(words.to_pylist())
        self._points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
        self._lengths = np.asarray(pc.utf8_length(words)).astype(np.int64)
        self._begins = np.cumsum(self._lengths) - self._lengths
        bits = np.uint64(1) << (self._points & np.uint32(63)).astype(np.uint64)
        self._marks = np.zeros(len(words), np.uint64)
        filled = np.flatnonzero(self._lengths)
        if len(filled):
            self._marks[filled] = np.bitwise_or.reduceat(bits, self._begins[filled])

    @property
    def nbytes(self) -> int:
        """In memory."""
        return self._words.nbytes + self._points.nbytes + 24 * len(self._lengths)

    def similar(self, word: str, edits: int, same: int, limit: int) -> list[tuple[int, str]]:
        """The words within some edits of another, nearest first, then by their order, and how far.

        same: characters at the start that do not differ.
        """
        points = np.frombuffer(word.encode("utf-32-le"), np.uint32)
        chosen = self._likely(points, edits, min(same, len(points)))
        distances = self._distances(points, chosen)
        order = np.argsort(distances, kind="stable")
        order = order[distances[order] <= edits][:limit]
        found = self._words.take(pa.array(chosen[order])).to_pylist()
        return list(zip(distances[order].tolist(), found, strict=True))

    def _likely(self, points: np.ndarray, edits: int, same: int) -> Int64s:
        marks = np.bitwise_or.reduce(np.uint64(1) << (points & np.uint32(63)).astype(np.uint64), initial=np.uint64(0))
        near = np.abs(self._lengths - len(points)) <= edits
        near &= self._lengths >= same
        # Each edit takes away one character of the one at most, and brings one of the other.
        near &= _bits(self._marks & ~marks) <= edits
        near &= _bits(marks & ~self._marks) <= edits
        chosen = np.flatnonzero(near)
        for at in range(same):
            chosen = chosen[self._points[self._begins[chosen] + at] == points[at]]
        return chosen

    def _distances(self, points: np.ndarray, chosen: Int64s) -> Int64s:
        """int64[n]: of each chosen word. A column of the table of distances for all of them at a time."""
        lengths, begins = self._lengths[chosen], self._begins[chosen]
        column = np.repeat(np.arange(len(points) + 1)[:, None], len(chosen), axis=1)
        result = column[-1].copy()
        for at in range(int(lengths.max(initial=0))):
            letters = self._points[np.minimum(begins + at, len(self._points) - 1)]
            diagonal = column[0].copy()
            column[0] = at + 1
            for row in range(1, len(points) + 1):
                above = column[row].copy()
                replaced = diagonal + (letters != points[row - 1])
                column[row] = np.minimum(np.minimum(above, column[row - 1]) + 1, replaced)
                diagonal = above
            ended = lengths == at + 1
            result[ended] = column[-1][ended]
        return result


def _bits(words: np.ndarray) -> np.ndarray:
    """How many bits of each word of 64 are set."""
    return _BITS[words.view(np.uint8)].reshape(-1, 8).sum(axis=1, dtype=np.uint8)


_BITS = np.array([value.bit_count() for value in range(256)], np.uint8)

__all__ = ["Spelling"]
