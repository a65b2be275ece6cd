"""An open segment of a full-text index. Its files are opened, and their bytes read, when a search needs them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from pyroaring import BitMap

from lance_like._lazy import cached
from lance_like.errors import Corrupt
from lance_like.index.base import Ranked, Segment, TextStatistics
from lance_like.index.clauses import Clause
from lance_like.index.text.analysis import FtsToken, analyzer_of
from lance_like.index.text.columns import LENGTHS
from lance_like.index.text.lists import Lengths, Lists
from lance_like.index.text.matching import Matching
from lance_like.index.text.ranking import Allowed, Search
from lance_like.index.text.vocabulary import Vocabulary
from lance_like.typing_ import Int64s

_KEPT_NBYTES = 128 << 20


class FullTextSearcher:
    """Finds texts by relevance."""

    def __init__(self, segment: Segment, *, kept_nbytes: int = _KEPT_NBYTES) -> None:
        self._segment = segment
        self._analyzer = analyzer_of(segment.params)
        self._with_places = bool(segment.params["with_position"])
        detail = segment.detail
        self._vocabulary = Vocabulary(segment.files, int(detail["terms"]), segment.rows, with_places=self._with_places)
        self._lists = Lists(segment.files, self._vocabulary, segment.rows, kept_nbytes)
        self._allowed = Allowed(None, segment.rows)

    @property
    def nbytes_cached(self) -> int:
        """What it keeps in memory, by estimate."""
        lengths = self.__dict__.get("_lengths")
        read = self._vocabulary.nbytes + self._lists.nbytes + (0 if lengths is None else lengths.nbytes)
        return read + self._allowed.nbytes

    def prewarm(self) -> None:
        """Read the fences and the lengths; postings are read term by term."""
        self._vocabulary.prewarm()
        _ = self._lengths

    def tokens(self, text: str) -> list[FtsToken]:
        """The terms of a text, and where they stand in it."""
        return self._analyzer.tokens(text)

    def beginning(self, text: str) -> str:
        """What the terms of words begin with that begin with a text."""
        return self._analyzer.beginning(text)

    def similar(self, term: str, edits: int, same: int, limit: int) -> list[tuple[int, str]]:
        """The terms within some edits of another, nearest first, then by their bytes, and how far."""
        return self._vocabulary.similar(term, edits, same, limit)

    def continued(self, beginning: str, limit: int | None) -> list[str]:
        """The terms that begin with a text, the first of them by their bytes."""
        return self._vocabulary.continued(beginning, limit)

    def statistics(self, terms: Iterable[str]) -> TextStatistics:
        """What this segment adds to the statistics of some terms."""
        detail = self._segment.detail
        return TextStatistics(int(detail["rows"]), int(detail["length"]), self._lists.sizes(terms))

    def search(self, clause: Clause, k: int | None, average: float, allow: BitMap | None) -> Ranked:
        """The best rows that match among those allowed, k or all. Raises InvalidInput for a phrase without places."""
        rows = self._segment.rows
        lengths = Lengths(self._lengths, average)
        matching = Matching(self._lists, lengths, clause, rows, with_places=self._with_places)
        return Search(matching, lengths, average, self._allowed_by(allow)).best(clause, k)

    def _allowed_by(self, allow: BitMap | None) -> Allowed:
        """Of one set that is asked for again and again the forms that were made of it are kept."""
        known = self._allowed
        if known.allow is not allow:
            known = self._allowed = Allowed(allow, self._segment.rows)
        return known

    def occurrences(self, term: str) -> tuple[Int64s, Int64s]:
        """The rows that hold a term, ascending, and how often each does."""
        found = self._lists.of([term]).get(term)
        if found is None:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        rows, counts = found.all
        return rows, counts.astype(np.int64)

    def lengths(self, ordinals: Int64s) -> Int64s:
        """How many terms rows hold."""
        return self._lengths[ordinals].astype(np.int64)

    @cached
    def _lengths(self) -> np.ndarray:
        """Unsigned[rows], 0 of those without a text."""
        [column] = self._segment.files.file("lengths", LENGTHS).columns(["length"])
        if len(column) != self._segment.rows:
            raise Corrupt(f"{len(column)} lengths of {self._segment.rows} rows", kind="index")
        lengths = np.asarray(column.fill_null(0) if column.null_count else column)
        return lengths.astype(np.min_scalar_type(int(lengths.max(initial=0))))


__all__ = ["FullTextSearcher"]
