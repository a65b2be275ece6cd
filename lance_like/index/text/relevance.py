"""A query over the segments of one or more columns: the same scores as over one segment that holds all rows.

What depends on all segments is done here. The words of the query become terms; prefixes and misspelt words become those
that any segment holds; each term gets the weight that it has by the statistics of all. A query of one column is then
a clause for each segment; parts of different columns are searched each by itself, and what they find joined by row id.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from pyroaring import BitMap

from lance_like.errors import InvalidInput
from lance_like.index.base import TextSearcher, TextStatistics
from lance_like.index.clauses import AnyOf, Best, Clause, Combined, Constant, Demoted, Phrase, Term
from lance_like.index.text import queries
from lance_like.index.text.lists import K1, B
from lance_like.index.text.queries import FullTextOperator, FullTextQuery, Occur
from lance_like.typing_ import Int64s


@dataclass(frozen=True, slots=True)
class Part:
    """One segment of a column.

    ids: row ids of ordinals, ascending with them. ordinals: of row ids, -1 of those of other segments. allow: ordinals
    that may come back, None: all.
    """

    searcher: TextSearcher
    ids: Callable[[Int64s], Int64s]
    ordinals: Callable[[Int64s], Int64s]
    allow: BitMap | None = None


@dataclass(frozen=True, slots=True)
class RankedTexts:
    """Rows by relevance, best first; of equal scores the lower row id first. int64[n] and float32[n]."""

    ids: Int64s
    scores: np.ndarray


@dataclass(frozen=True, slots=True)
class _Found:
    """Rows and their scores, by row id. int64[n] and float64[n]."""

    ids: Int64s
    scores: np.ndarray


_NONE = _Found(np.zeros(0, np.int64), np.zeros(0))


def search_texts(query: FullTextQuery, columns: Mapping[str, Sequence[Part]], k: int | None) -> RankedTexts:
    """The best rows, k or all.

    columns: of each column that the query names its segments, which share no rows; those of one column were built with
    the same parameters. Raises InvalidInput for a column without segments, or a phrase where positions are not kept.
    """
    missing = sorted(query.searched - columns.keys())
    if missing:
        raise InvalidInput(f"there is no full-text index of column {missing[0]!r}", kind="query")
    fields = {name: _Field(parts) for name, parts in columns.items() if parts}
    found = _of_one(query, fields, k)
    if found is None:
        found = _search(query, fields, k)
        order = np.lexsort((found.ids, -found.scores))[:k]
        found = _Found(found.ids[order], found.scores[order])
    return RankedTexts(found.ids, found.scores.astype(np.float32))


def _of_one(query: FullTextQuery, fields: Mapping[str, _Field], k: int | None) -> _Found | None:
    """The best rows, best first, where one segment alone answers: it ranks as is ranked here."""
    if len(query.searched) > 1 or _combines_fields(query):
        return None
    [name] = query.searched
    return fields[name].ranked(query, k) if name in fields else None


def _search(query: FullTextQuery, fields: Mapping[str, _Field], k: int | None) -> _Found:
    """The rows that match, at least the k best of them."""
    if isinstance(query, queries.CombinedFieldsQuery):
        return _combined_fields(query, fields)
    if len(query.searched) == 1 and not _combines_fields(query):
        [name] = query.searched
        return fields[name].search(query, k) if name in fields else _NONE
    match query:
        case queries.MultiMatchQuery():
            # Of the k best rows by their best column, each is among the k best of that column.
            return _joined([_search(part, fields, k) for part in query.of_columns], np.maximum)
        case queries.BoostQuery():
            positive, negative = _search(query.positive, fields, None), _search(query.negative, fields, None)
            held, at = _among(positive.ids, negative.ids)
            scores = positive.scores.copy()
            scores[held] -= query.negative_boost * negative.scores[at]
            return _Found(positive.ids, scores)
        case queries.BooleanQuery():
            return _boolean(query, fields)
    raise InvalidInput(f"a query of an unknown kind: {type(query).__name__}", kind="query")


def _combines_fields(query: FullTextQuery) -> bool:
    """Whether a part of a query is one that no segment can answer by itself."""
    match query:
        case queries.BoostQuery():
            return _combines_fields(query.positive) or _combines_fields(query.negative)
        case queries.BooleanQuery():
            return any(_combines_fields(part) for _, part in query.queries)
    return isinstance(query, queries.CombinedFieldsQuery)


def _boolean(query: queries.BooleanQuery, fields: Mapping[str, _Field]) -> _Found:
    must, should, must_not = (
        [_search(part, fields, None) for part in query.of(occur)]
        for occur in (Occur.MUST, Occur.SHOULD, Occur.MUST_NOT)
    )
    found = _joined([*must, *should], np.add)
    kept = np.ones(len(found.ids), bool)
    for part in must:
        kept &= np.isin(found.ids, part.ids)
    for part in must_not:
        kept &= ~np.isin(found.ids, part.ids)
    return _Found(found.ids[kept], found.scores[kept])


def _joined(parts: Sequence[_Found], by: np.ufunc) -> _Found:
    """All rows of some; by: what of two scores gives one, of which 0 is no score."""
    ids = np.unique(np.concatenate([part.ids for part in parts]))
    scores = np.zeros(len(ids))
    for part in parts:
        at = np.searchsorted(ids, part.ids)
        scores[at] = by(scores[at], part.scores)
    return _Found(ids, scores)


def _among(ids: Int64s, others: Int64s) -> tuple[Int64s, Int64s]:
    """Where ids are that are among others too, and where in those. Both ascending."""
    if not len(others):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    at = np.minimum(np.searchsorted(others, ids), len(others) - 1)
    held = np.flatnonzero(others[at] == ids)
    return held, at[held]


class _Field:
    """The segments of one column."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self._searcher = parts[0].searcher
        self._frequency: dict[str, int] = {}
        self._known: TextStatistics | None = None

    @property
    def _sums(self) -> TextStatistics:
        return self._known or self._statistics([])

    @property
    def average(self) -> float:
        """Length of a row."""
        sums = self._sums
        return sums.length / sums.rows if sums.rows else 0.0

    @property
    def rows(self) -> int:
        """Rows with a term."""
        return self._sums.rows

    def ranked(self, query: FullTextQuery, k: int | None) -> _Found | None:
        """The best rows, best first, of the only segment; None where there are several."""
        if len(self._parts) > 1:
            return None
        [part], clause = self._parts, self.clause(query)
        found = part.searcher.search(clause, k, self.average, part.allow)
        return _Found(part.ids(found.ordinals), found.scores)

    def search(self, query: FullTextQuery, k: int | None) -> _Found:
        """The rows that match in each segment, at least the k best of all."""
        clause = self.clause(query)
        found = [(part, part.searcher.search(clause, k, self.average, part.allow)) for part in self._parts]
        ids = np.concatenate([part.ids(ranked.ordinals) for part, ranked in found])
        scores = np.concatenate([ranked.scores for _, ranked in found])
        order = np.argsort(ids, kind="stable")
        return _Found(ids[order], scores[order])

    def clause(self, query: FullTextQuery) -> Clause:
        """What a query of this column asks of each segment."""
        match query:
            case queries.MatchQuery():
                return self._match(query)
            case queries.PhraseQuery():
                tokens = self._searcher.tokens(query.query)
                return self._phrase([[text] for text, _ in tokens], [place for _, place in tokens], query.slop)
            case queries.PrefixQuery():
                beginning = self._searcher.beginning(query.query)
                return Constant(tuple(self._continued(beginning, None)) if beginning else (), query.boost)
            case queries.PhrasePrefixQuery():
                return self._phrase_prefix(query)
            case queries.BoostQuery():
                return Demoted(self.clause(query.positive), self.clause(query.negative), query.negative_boost)
            case queries.MultiMatchQuery():
                return Best(tuple(map(self._match, query.of_columns)))
            case queries.BooleanQuery():
                kinds = (Occur.MUST, Occur.SHOULD, Occur.MUST_NOT)
                return Combined(*(tuple(map(self.clause, query.of(occur))) for occur in kinds))
        raise InvalidInput(f"a query of an unknown kind: {type(query).__name__}", kind="query")

    def frequency(self, terms: Sequence[str]) -> list[int]:
        """How many rows hold each term."""
        unknown = [term for term in terms if term not in self._frequency]
        if unknown:
            found = self._statistics(unknown)
            self._frequency.update({term: found.frequency.get(term, 0) for term in unknown})
        return [self._frequency[term] for term in terms]

    def terms(self, text: str) -> list[str]:
        """The terms of a text."""
        return [term for term, _ in self._searcher.tokens(text)]

    def occurrences(self, term: str) -> _Found:
        """The rows that hold a term and may come back, and how often."""
        found = []
        for part in self._parts:
            ordinals, counts = part.searcher.occurrences(term)
            if part.allow is not None:
                held = np.isin(ordinals, np.frombuffer(part.allow.to_array(), np.uint32))
                ordinals, counts = ordinals[held], counts[held]
            found.append(_Found(part.ids(ordinals), counts.astype(np.float64)))
        return _joined(found, np.add)

    def lengths(self, ids: Int64s) -> Int64s:
        """How many terms rows hold, 0 of those that are in no segment."""
        lengths = np.zeros(len(ids), np.int64)
        for part in self._parts:
            ordinals = part.ordinals(ids)
            held = ordinals >= 0
            lengths[held] = part.searcher.lengths(ordinals[held])
        return lengths

    def _statistics(self, terms: Sequence[str]) -> TextStatistics:
        first, *others = [part.searcher.statistics(terms) for part in self._parts]
        for other in others:
            first = first + other
        self._known = first
        return first

    def _match(self, query: queries.MatchQuery) -> Clause:
        groups = [self._like(text, query) for text, _ in self._searcher.tokens(query.query)]
        all_terms = [term for group in groups for term in group]
        weights = {
            term: query.boost * idf(self.rows, count) * (K1 + 1)
            for term, count in zip(all_terms, self.frequency(all_terms), strict=True)
            if count
        }
        if query.operator is FullTextOperator.AND:
            return Combined(must=tuple(AnyOf(_weighted(group, weights)) for group in groups))
        return AnyOf(_weighted(all_terms, weights))

    def _like(self, text: str, query: queries.MatchQuery) -> list[str]:
        """The terms that stand for one of a query."""
        edits = query.edits_of(text)
        if not edits:
            return [text]
        found = {
            pair
            for part in self._parts
            for pair in part.searcher.similar(text, edits, query.prefix_length, query.max_expansions)
        }
        return [term for _, term in sorted(found, key=_near_first)[: query.max_expansions]]

    def _continued(self, beginning: str, limit: int | None) -> list[str]:
        found = {term for part in self._parts for term in part.searcher.continued(beginning, limit)}
        return sorted(found, key=str.encode)[:limit]

    def _phrase_prefix(self, query: queries.PhrasePrefixQuery) -> Clause:
        *before, last = query.query.split() or [""]
        tokens = self._searcher.tokens(" ".join(before))
        ends = max((place for _, place in self._searcher.tokens(" ".join([*before, "x"]))), default=0)
        last_terms = self._continued(self._searcher.beginning(last), query.max_expansions) if last else []
        places = [[text] for text, _ in tokens] + [last_terms]
        return self._phrase(places, [*(place for _, place in tokens), ends], query.slop)

    def _phrase(self, places: Sequence[Sequence[str]], offsets: Sequence[int], slop: int) -> Clause:
        """The words that are together in one place count as one word."""
        if not all(places) or not places:
            return AnyOf(())
        all_terms = [term for terms in places for term in terms]
        known = dict(zip(all_terms, self.frequency(all_terms), strict=True))
        counts = [min(sum(known[term] for term in terms), self.rows) for terms in places]
        if not all(counts):
            return AnyOf(())
        weight = sum(idf(self.rows, count) for count in counts) * (K1 + 1)
        if len(places) == 1 and len(places[0]) == 1:
            return AnyOf((Term(places[0][0], weight),))
        from_first = tuple(offset - offsets[0] for offset in offsets)
        return Phrase(tuple(map(tuple, places)), from_first, slop, weight)


def idf(rows: int, count: int) -> float:
    """What a term is worth that count of the rows hold."""
    return math.log(1 + (rows - count + 0.5) / (count + 0.5))


def _weighted(terms: Sequence[str], weights: Mapping[str, float]) -> tuple[Term, ...]:
    """Each term once, in the order of the query; one that is asked for twice counts twice."""
    sums: dict[str, float] = {}
    for term in terms:
        if term in weights:
            sums[term] = sums.get(term, 0.0) + weights[term]
    return tuple(Term(term, weight) for term, weight in sums.items())


def _near_first(pair: tuple[int, str]) -> tuple[int, bytes]:
    return pair[0], pair[1].encode()


def _combined_fields(query: queries.CombinedFieldsQuery, fields: Mapping[str, _Field]) -> _Found:
    """BM25F: the columns as one text, of which counts and lengths are sums over them, times their boosts."""
    chosen = [(fields[name], boost) for name, boost in query.weighted if name in fields]
    if not chosen:
        return _NONE
    rows = max(field.rows for field, _ in chosen)
    average = sum(boost * field.average * field.rows for field, boost in chosen) / max(rows, 1)
    terms = chosen[0][0].terms(query.query)
    held = [_summed([field.occurrences(term) for field, _ in chosen], [boost for _, boost in chosen]) for term in terms]
    ids = np.unique(np.concatenate([found.ids for found in held])) if held else np.zeros(0, np.int64)
    lengths = np.zeros(len(ids))
    for field, boost in chosen:
        lengths += boost * field.lengths(ids)
    norms = K1 * (1 - B + B * lengths / average) if average else np.zeros(len(ids))
    scores, matched = np.zeros(len(ids)), np.zeros(len(ids), np.int64)
    for term, found in zip(terms, held, strict=True):
        at = np.searchsorted(ids, found.ids)
        weight = idf(rows, max(field.frequency([term])[0] for field, _ in chosen)) * (K1 + 1)
        scores[at] += weight * found.scores / (found.scores + norms[at])
        matched[at] += 1
    kept = matched >= (len(terms) if query.operator is FullTextOperator.AND else 1)
    return _Found(ids[kept], scores[kept])


def _summed(parts: Sequence[_Found], weights: Sequence[float]) -> _Found:
    return _joined([_Found(part.ids, part.scores * by) for part, by in zip(parts, weights, strict=True)], np.add)


__all__ = ["Part", "RankedTexts", "idf", "search_texts"]
