"""From texts to the postings of a segment, with bounded memory: sorted runs, in a scratch file when there are several.

    texts -> words -> (term, row, place) -> a run: sorted by term, row, place -> runs merged, some terms at a time

What is held is the dictionary, the lengths of the rows, and one run of at most as many words as the memory is for.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lance_like.index.text.analysis import Analyzer, Dictionary
from lance_like.index.text.split import Words
from lance_like.kernels import group
from lance_like.typing_ import Int64s

_WORD_NBYTES = 64
"""Of memory for each word of a run: what is kept, and what sorting it takes."""

_PART_POSTINGS = 1 << 20
"""How many rows of terms are merged at once, unless one term has more."""


@dataclass(frozen=True, slots=True)
class Part:
    """Postings of consecutive terms, by the order of the terms.

    start, end: of the terms. sizes: int64[end - start], rows of each. rows, counts: of all, ascending in each term.
    places: where the words stand, counts of each row; None where they are not kept.
    """

    start: int
    end: int
    sizes: Int64s
    rows: np.ndarray
    counts: np.ndarray
    places: np.ndarray | None


@dataclass(frozen=True, slots=True)
class _Run:
    """terms: int64[t], numbers of the dictionary, in the order of their texts. begins: int64[t + 1], of postings.

    place_begins: int64[t + 1], of places.
    """

    terms: Int64s
    begins: Int64s
    rows: np.ndarray
    counts: np.ndarray
    place_begins: Int64s
    places: np.ndarray | None


class Corpus:
    """Takes texts in, gives sorted postings out. Close it when done."""

    def __init__(self, analyzer: Analyzer, *, with_places: bool, memory_nbytes: int) -> None:
        self._analyzer, self._with_places = analyzer, with_places
        self._dictionary = Dictionary(analyzer)
        self._limit = max(memory_nbytes // _WORD_NBYTES, 1 << 16)
        self._waiting: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._words = 0
        self._rows = 0
        self._lengths: list[np.ndarray] = []
        self._runs: list[_Run] = []
        self._scratch: IO[bytes] | None = None

    def add(self, values: pa.Array) -> None:
        """Take the values of more rows: texts, or lists of them, which are read one after the other."""
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            words = self._analyzer.words(values)
        else:
            words = _of_items(values, self._analyzer)
        numbers = self._dictionary.numbers(words)
        kept = np.flatnonzero(numbers >= 0)
        rows = words.rows[kept]
        self._lengths.append(np.bincount(rows, minlength=len(values)).astype(np.uint32))
        row = (rows + self._rows).astype(np.uint32)
        places = words.places[kept].astype(np.uint32) if self._with_places else np.zeros(0, np.uint32)
        self._waiting.append((numbers[kept].astype(np.uint32), row, places))
        self._words += len(kept)
        self._rows += len(values)
        if self._words >= self._limit:
            self._runs.append(self._spilled(self._sorted()))

    def finish(self) -> tuple[pa.LargeStringArray, np.ndarray]:
        """The terms, by the order of their bytes, and uint32[rows] how many each row holds."""
        if self._words:
            run = self._sorted()
            self._runs.append(self._spilled(run) if self._runs else run)
        self._order = self._term_order()
        lengths = np.concatenate(self._lengths) if self._lengths else np.zeros(0, np.uint32)
        return pa.array(self._dictionary.terms(), pa.large_string()).take(pa.array(self._order)), lengths

    def parts(self) -> Iterator[Part]:
        """The postings of all terms, in order; may be asked for again."""
        rank = np.empty(len(self._order), np.int64)
        rank[self._order] = np.arange(len(rank))
        sizes = np.zeros(len(rank), np.int64)
        ranks = [rank[run.terms] for run in self._runs]
        for run, of_run in zip(self._runs, ranks, strict=True):
            sizes[of_run] += np.diff(run.begins)
        ends = np.cumsum(sizes)
        start = 0
        while start < len(sizes):
            done = int(ends[start - 1]) if start else 0
            end = max(int(np.searchsorted(ends, done + _PART_POSTINGS, side="right")), start + 1)
            yield self._part(start, end, sizes[start:end], ranks)
            start = end

    def close(self) -> None:
        """Drop the scratch file."""
        self._runs.clear()
        if self._scratch is not None:
            self._scratch.close()

    def _term_order(self) -> Int64s:
        terms = pa.array(self._dictionary.terms(), pa.large_string())
        return np.asarray(pc.sort_indices(terms.cast(pa.large_binary()))).astype(np.int64)

    def _sorted(self) -> _Run:
        """The words that wait as a run."""
        numbers, rows, places = (np.concatenate(part) for part in zip(*self._waiting, strict=True))
        self._waiting, self._words = [], 0
        order = self._term_order()
        rank = np.empty(len(order), np.uint32)
        rank[order] = np.arange(len(order), dtype=np.uint32)
        term = rank[numbers]
        # The words of a term stay in the order of their rows and places, in which they came.
        row, row_begins = _grouped(term, rows, len(order))
        there = np.flatnonzero(row_begins[1:] > row_begins[:-1])
        term_firsts = row_begins[there]
        new = np.empty(len(row), bool)
        np.not_equal(row[1:], row[:-1], out=new[1:])
        new[term_firsts] = True
        firsts = np.flatnonzero(new)
        begins = np.append(np.searchsorted(firsts, term_firsts), len(firsts))
        counts = np.empty(len(firsts), np.uint32)
        np.subtract(firsts[1:], firsts[:-1], out=counts[:-1], casting="unsafe")
        counts[-1] = len(row) - firsts[-1]
        return _Run(
            order[there],
            begins,
            row[firsts],
            counts,
            np.append(term_firsts, len(row)),
            _grouped(term, places, len(order))[0] if self._with_places else None,
        )

    def _spilled(self, run: _Run) -> _Run:
        """The same, with what is large in the scratch file."""
        if self._scratch is None:
            self._scratch = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        file = self._scratch

        def moved(values: np.ndarray) -> np.ndarray:
            at = file.seek(0, 2)
            file.write(memoryview(values).cast("B"))
            file.flush()
            return np.memmap(file, values.dtype, "r", at, values.shape)

        places = None if run.places is None else moved(run.places)
        return _Run(run.terms, run.begins, moved(run.rows), moved(run.counts), run.place_begins, places)

    def _part(self, start: int, end: int, sizes: Int64s, ranks: list[Int64s]) -> Part:
        slices = [np.searchsorted(of_run, [start, end]) for of_run in ranks]
        owners = [of_run[low:high] - start for of_run, (low, high) in zip(ranks, slices, strict=True)]
        bounds = [run.begins[low : high + 1] for run, (low, high) in zip(self._runs, slices, strict=True)]
        rows = _merged(owners, bounds, [run.rows for run in self._runs], end - start)
        counts = _merged(owners, bounds, [run.counts for run in self._runs], end - start)
        if not self._with_places:
            return Part(start, end, sizes, rows, counts, None)
        bounds = [run.place_begins[low : high + 1] for run, (low, high) in zip(self._runs, slices, strict=True)]
        kept = [run.places for run in self._runs if run.places is not None]
        return Part(start, end, sizes, rows, counts, _merged(owners, bounds, kept, end - start))


def _grouped(terms: np.ndarray, values: np.ndarray, count: int) -> tuple[np.ndarray, Int64s]:
    """Values of words by their terms, those of a term in their order, and where those of each of the terms begin."""
    out, begins = np.empty(len(terms), np.uint32), np.empty(count + 1, np.int64)
    group(terms, values, out, begins)
    return out, begins


def _merged(owners: list[Int64s], bounds: list[Int64s], sources: list[np.ndarray], terms: int) -> np.ndarray:
    """What several runs have of the same terms, term by term, of each term run by run.

    owners: of each run, int64[n], the terms that it has some of. bounds: int64[n + 1] of those in its source.
    """
    if len(sources) == 1:
        return sources[0][bounds[0][0] : bounds[0][-1]]
    sizes = np.zeros(terms, np.int64)
    for owner, bound in zip(owners, bounds, strict=True):
        sizes[owner] += np.diff(bound)
    at = np.cumsum(sizes) - sizes
    out = np.empty(int(sizes.sum()), np.uint32)
    for owner, bound, source in zip(owners, bounds, sources, strict=True):
        held = np.diff(bound)
        target = np.repeat(at[owner] - bound[:-1], held)
        target += np.arange(bound[0], bound[-1])
        out[target] = source[bound[0] : bound[-1]]
        at[owner] += held
    return out


def _of_items(values: pa.Array, analyzer: Analyzer) -> Words:
    """The words of lists of texts: those of an item come after those of the items before it."""
    parents = np.asarray(pc.list_parent_indices(values)).astype(np.int64)
    words = analyzer.words(pc.list_flatten(values))
    if not len(words):
        return words
    lengths = np.zeros(len(parents), np.int64)
    np.maximum.at(lengths, words.rows, words.places + 1)
    before = np.cumsum(lengths) - lengths
    first_item = np.searchsorted(parents, parents)
    places = words.places + (before - before[first_item])[words.rows]
    return Words(words.data, words.starts, words.ends, parents[words.rows], places)


__all__ = ["Corpus", "Part"]
