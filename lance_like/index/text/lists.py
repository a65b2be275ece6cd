"""The rows of terms in memory: packed as they were read, and unpacked as far as searches need them.

What is unpacked is kept with the list, and lists are kept up to a bound; both are dropped together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lance_like._lazy import cached
from lance_like.encodings.stack import expand
from lance_like.index.base import SegmentReads
from lance_like.index.text.columns import BYTES
from lance_like.index.text.phrases import MOST_ROWS, keys_of, places_of
from lance_like.index.text.places import PlaceBlocks, decode_places
from lance_like.index.text.postings import BLOCK, Blocks, decode
from lance_like.index.text.vocabulary import Entry, Vocabulary
from lance_like.locks import lock_over_forks
from lance_like.typing_ import Int64s

K1, B = 1.2, 0.75
"""Of BM25: how soon more of a term adds no more, and how much the length of a row counts."""

_LOCK = lock_over_forks()
# The best blocks of a term that are kept unpacked, at most.
_HEAD_BLOCKS = 64
_DENSE_SHARE = 64
"""Terms in more than one row of so many are looked up by row number, others by binary search: 2 ns against 40."""


class Lengths:
    """How long rows are, and what that does to scores. lengths: unsigned, of all rows."""

    def __init__(self, lengths: np.ndarray, average: float) -> None:
        self._lengths = lengths
        self._base = K1 * (1 - B)
        self._slope = K1 * B / average if average else 0.0

    def norms(self, rows: Int64s) -> np.ndarray:
        """float64[n]: what is added to the counts of rows in the denominator."""
        return self.norms_of(self._lengths.take(rows))

    def norms_of(self, lengths: np.ndarray) -> np.ndarray:
        """The same for rows of some lengths."""
        norms = lengths * self._slope
        norms += self._base
        return norms

    def damped(self, rows: Int64s, counts: np.ndarray) -> np.ndarray:
        """float64[n] below 1: what counts in rows come to, before the weight of the term."""
        return damped(counts, self.norms(rows))


def damped(counts: np.ndarray, norms: np.ndarray) -> np.ndarray:
    """What counts come to in rows of some norms, before the weight of the term; 0 for 0."""
    return counts / (counts + norms)


@dataclass(frozen=True, slots=True, eq=False)
class Impacts:
    """The scores of the rows of a term, before its weight, in 256 steps.

    codes: uint8[n], rising with the scores; equal ones have equal codes. step: no score is above its code times this.
    reached: int64[256], by how many rows each code is.
    """

    codes: np.ndarray
    step: float
    reached: Int64s

    @staticmethod
    def of(scores: np.ndarray) -> Impacts:
        """float64[n], above 0."""
        step = float(scores.max()) / 255
        codes = np.minimum(np.ceil(scores / step), 255).astype(np.uint8)
        return Impacts(codes, step, np.cumsum(np.bincount(codes, minlength=256)[::-1])[::-1])

    @property
    def most(self) -> float:
        """No score is above it."""
        return 255 * self.step

    def best(self, count: int) -> Int64s:
        """The places of so many of the best rows, and of those that may be as good; ascending."""
        return self._from(max(int(np.count_nonzero(self.reached >= count)) - 1, 0))

    def above(self, score: float) -> Int64s:
        """The places of the rows that may have a score or a better one, ascending."""
        return self._from(int(np.ceil(score / self.step)))

    def _from(self, code: int) -> Int64s:
        # All of them, where the code is not one of 8 bits: none has it.
        return (self.codes >= code).nonzero()[0] if code < 256 else np.zeros(0, np.int64)


class TermList:
    """The rows of one term. rows: of the segment."""

    def __init__(self, blocks: Blocks, rows: int) -> None:
        self.blocks = blocks
        self._rows_of_segment = rows
        self._ranking: tuple[float, Int64s, np.ndarray] | None = None
        self._impacts: tuple[float, Impacts] | None = None
        self.places: PlaceBlocks | None = None
        # The keys of all places (phrases.py), once they are unpacked.
        self.keys: Int64s | None = None
        self._head: tuple[Int64s, int, Int64s, np.ndarray] | None = None
        self._blocks_ranked = self._blocks_located = 0

    def __len__(self) -> int:
        return self.blocks.size

    @property
    def nbytes(self) -> int:
        """In memory at most: packed, unpacked with its scores, by row."""
        head = 16 * BLOCK * min(_HEAD_BLOCKS, len(self.blocks))
        unpacked = 12 * len(self) + 16 * len(self.blocks) + head + (self._rows_of_segment if self.is_dense else 0)
        return self.blocks.nbytes + unpacked + self.nbytes_of_places

    @property
    def nbytes_of_places(self) -> int:
        """In memory at most: packed, unpacked."""
        return 0 if self.places is None else self.places.nbytes + 8 * int(self.places.held.sum())

    @cached
    def all(self) -> tuple[Int64s, np.ndarray]:
        """int64[n] rows, ascending, and unsigned[n] how often each holds the term."""
        rows, counts = self.blocks.rows()
        return rows, counts.astype(np.min_scalar_type(int(counts.max())))

    def is_ranked(self) -> bool:
        """Whether all rows are ranked, or will be: once as many blocks were unpacked for the best ones as there are."""
        return self._impacts is not None or self._blocks_ranked >= len(self.blocks)

    @property
    def is_dense(self) -> bool:
        """Whether it has a count for each row of the segment."""
        return len(self) * _DENSE_SHARE >= self._rows_of_segment

    @cached
    def _by_row(self) -> np.ndarray:
        rows, counts = self.all
        dense = np.zeros(self._rows_of_segment, counts.dtype)
        dense[rows] = counts
        return dense

    def counts_in(self, wanted: Int64s) -> np.ndarray:
        """How often rows hold the term, 0 where they do not. wanted: ascending."""
        if self.is_dense:
            return self._by_row.take(wanted)
        rows, counts = self.all
        found = np.zeros(len(wanted), counts.dtype)
        if len(wanted) <= len(rows):
            at = np.minimum(rows.searchsorted(wanted), len(rows) - 1)
            same = (rows.take(at) == wanted).nonzero()[0]
            found[same] = counts.take(at.take(same))
        else:
            at = np.minimum(wanted.searchsorted(rows), len(wanted) - 1)
            same = (wanted.take(at) == rows).nonzero()[0]
            found[at.take(same)] = counts.take(same)
        return found

    @staticmethod
    def common(lists: Sequence[TermList]) -> Int64s:
        """The rows that hold each of some terms, one at least; ascending."""
        first, *others = sorted(lists, key=len)
        rows = first.all[0]
        for other in others:
            rows = rows.take(other.counts_in(rows).nonzero()[0])
        return rows

    def ranked_blocks(self, lengths: Lengths, average: float) -> tuple[Int64s, np.ndarray]:
        """The blocks by the best score in each, best first, of equal ones the first first; and these scores.

        Scores are before the weight of the term, and no row of the block has a better one.
        """
        ranking = self._ranking
        if ranking is None or ranking[0] != average:
            pairs = self.blocks.pairs
            bounds = np.maximum.reduceat(damped(pairs[:, 0], lengths.norms_of(pairs[:, 1])), self.blocks.pair_begins)
            # Counts and lengths beyond 16 bits are cut off in the pairs, and 1 is above any score.
            bounds[np.maximum.reduceat(pairs.max(axis=1), self.blocks.pair_begins) >= 0xFFFF] = 1.0
            order = np.argsort(-bounds, kind="stable")
            ranking = self._ranking = (average, order, bounds[order])
        return ranking[1], ranking[2]

    def ranked_rows(self, order: Int64s, start: int, end: int) -> tuple[Int64s, np.ndarray]:
        """The rows of some of the ranked blocks, ascending, and how often each holds the term. The first are kept."""
        head = self._head
        if start == 0 and head is not None and head[0] is order and head[1] == end:
            return head[2], head[3]
        chosen = np.sort(order[start:end])
        rows, counts = self.blocks.rows(chosen)
        self._blocks_ranked += len(chosen)
        if start == 0 and end <= _HEAD_BLOCKS:
            self._head = order, end, rows, counts
        return rows, counts

    def impacts(self, lengths: Lengths, average: float) -> Impacts:
        """The scores of all rows, before the weight of the term."""
        impacts = self._impacts
        if impacts is None or impacts[0] != average:
            impacts = self._impacts = average, Impacts.of(lengths.damped(*self.all))
        return impacts[1]

    def is_located(self, rows: int) -> bool:
        """Whether all places are unpacked, or will be once some rows are asked for: when that takes no longer.

        Places are unpacked by blocks, until as many were as there are.
        """
        few = self._blocks_located + rows < len(self.blocks)
        return self.keys is not None or (not few and self._rows_of_segment <= MOST_ROWS)

    def locate(self, places: PlaceBlocks) -> Int64s:
        """Unpack all its places. Returns their keys."""
        if self.keys is None:
            rows, counts = self.all
            found = places.places(np.arange(len(self.blocks)), counts.astype(np.int64))
            self.keys = keys_of(rows.repeat(counts), found)
        return self.keys

    def located(self, rows: Int64s, places: PlaceBlocks) -> tuple[Int64s, Int64s]:
        """How often the term is in some rows that hold it, and where it stands, row by row. rows: ascending."""
        if self.is_located(len(rows)):
            keys = self.locate(places)
            starts, ends = (keys.searchsorted(keys_of(some, 0)) for some in (rows, rows + 1))
            return ends - starts, places_of(keys.take(expand(starts, ends)))
        at = self.all[0].searchsorted(rows)
        blocks, first = np.unique(at // BLOCK, return_index=True)
        self._blocks_located += len(blocks)
        held = self.blocks.held[blocks]
        begins = np.cumsum(held) - held
        counts = self.all[1][expand(blocks * BLOCK, blocks * BLOCK + held)].astype(np.int64)
        at -= np.repeat(blocks * BLOCK - begins, np.diff(first, append=len(at)))
        ends = np.cumsum(counts).take(at)
        counts, found = counts.take(at), places.places(blocks, counts)
        return counts, found.take(expand(ends - counts, ends))


class Lists:
    """The lists of a segment, the last ones that were asked for kept in memory."""

    def __init__(self, files: SegmentReads, vocabulary: Vocabulary, rows: int, limit_nbytes: int) -> None:
        self._files, self._vocabulary, self._rows, self._limit = files, vocabulary, rows, limit_nbytes
        self._kept: dict[str, TermList] = {}
        self._nbytes = 0

    @property
    def nbytes(self) -> int:
        """In memory at most."""
        return self._nbytes

    def of(self, terms: Iterable[str]) -> dict[str, TermList]:
        """The lists of those of the terms that there are. Cost: one round for all that are not in memory."""
        wanted = list(dict.fromkeys(terms))
        found = {term: self._kept[term] for term in wanted if term in self._kept}
        if len(found) < len(wanted):
            entries = self._vocabulary.entries([term for term in wanted if term not in found])
            found |= self._keep(self._read(entries))
        return {term: found[term] for term in wanted if term in found}

    def sizes(self, terms: Iterable[str]) -> dict[str, int]:
        """How many rows hold each of those of the terms that there are. Cost: of `Vocabulary.entries`."""
        wanted = list(terms)
        found = {term: len(self._kept[term]) for term in wanted if term in self._kept}
        missing = [term for term in wanted if term not in found]
        return (
            found | {term: entry.size for term, entry in self._vocabulary.entries(missing).items()}
            if missing
            else found
        )

    def places_of(self, lists: dict[str, TermList]) -> dict[str, PlaceBlocks]:
        """Where terms stand. Cost: one round for all that are not in memory."""
        missing = {term: found for term, found in lists.items() if found.places is None}
        if missing:
            entries = self._vocabulary.entries(missing)
            spans = [entries[term].places for term in missing]
            for (term, found), [data] in zip(missing.items(), self._bytes("places", spans), strict=True):
                places = decode_places(np.asarray(data), len(found))
                with _LOCK:
                    if found.places is None:
                        found.places = places
                        self._nbytes += found.nbytes_of_places if self._kept.get(term) is found else 0
        return {term: found.places for term, found in lists.items() if found.places is not None}

    def _read(self, entries: dict[str, Entry]) -> dict[str, TermList]:
        spans = [entry.postings for entry in entries.values()]
        read = self._bytes("postings", spans) if spans else []
        return {
            term: TermList(decode(np.asarray(data), entry.size, self._rows), self._rows)
            for (term, entry), [data] in zip(entries.items(), read, strict=True)
        }

    def _bytes(self, name: str, spans: list[tuple[int, int]]) -> list[list]:
        return self._files.file(name, BYTES).spans(["bytes"], spans)

    def _keep(self, lists: dict[str, TermList]) -> dict[str, TermList]:
        with _LOCK:
            for term, made in lists.items():
                if term not in self._kept:
                    self._kept[term] = made
                    self._nbytes += made.nbytes
            while self._nbytes > self._limit and self._kept:
                self._nbytes -= self._kept.pop(next(iter(self._kept))).nbytes
        return lists


__all__ = ["K1", "B", "Lengths", "Lists", "TermList", "damped"]
