"""Which rows of a segment match a clause, and with what score.

Two questions, asked of each kind of clause: which rows may match (`rows`), and of given rows, which do and how well
(`at`). A clause is computed by asking the first of what gives the fewest rows, and the second of those. Scores are sums
of float64 in the order of the clause, so a row gets the same one in whatever way it was found.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from lance_like.errors import InvalidInput
from lance_like.index.clauses import AnyOf, Best, Clause, Combined, Constant, Demoted, Phrase
from lance_like.index.text.lists import Lengths, Lists, TermList, damped
from lance_like.index.text.phrases import beginnings, exact_frequency, sloppy_frequency
from lance_like.table.lineage import distinct
from lance_like.typing_ import Int64s

_DENSE_SHARE = 16


class Scored(NamedTuple):
    """Of given rows: bool[n] which match, and float64[n] their scores, 0 where they do not."""

    matched: np.ndarray
    scores: np.ndarray


class Matching:
    """A search in a segment. rows: of the segment. with_places: the segment knows where terms stand."""

    def __init__(self, lists: Lists, lengths: Lengths, clause: Clause, rows: int, *, with_places: bool) -> None:
        self._lists, self._lengths, self._rows = lists, lengths, rows
        self._with_places = with_places
        self.of_term = lists.of(terms_of(clause))

    def __len__(self) -> int:
        """The rows of the segment."""
        return self._rows

    def size(self, clause: Clause) -> int:
        """How many rows may match, at most."""
        match clause:
            case AnyOf(terms):
                return self._total([term.text for term in terms])
            case Constant(terms):
                return self._total(terms)
            case Phrase(places):
                return min(self._total(terms) for terms in places)
            case Combined(must, should):
                return min(map(self.size, must)) if must else sum(map(self.size, should))
            case Best(clauses):
                return sum(map(self.size, clauses))
            case Demoted(positive):
                return self.size(positive)

    def rows(self, clause: Clause) -> Int64s:
        """Rows that may match, ascending: none other does."""
        match clause:
            case AnyOf(terms):
                return self._holding([term.text for term in terms])
            case Constant(terms):
                return self._holding(terms)
            case Phrase(places):
                return self._holding(min(places, key=self._total))
            case Combined(must, should):
                return self.rows(min(must, key=self.size)) if must else self.union(map(self.rows, should))
            case Best(clauses):
                return self.union(map(self.rows, clauses))
            case Demoted(positive):
                return self.rows(positive)

    def at(self, clause: Clause, rows: Int64s) -> Scored:
        """Which of some rows match, and how well. rows: ascending."""
        match clause:
            case AnyOf(terms):
                return self._any_at([(term.text, term.weight) for term in terms], rows)
            case Constant(terms, score):
                matched = self._any_at([(term, 1.0) for term in terms], rows).matched
                return Scored(matched, np.where(matched, score, 0.0))
            case Phrase():
                return self._phrase_at(clause, rows)
            case Combined():
                return self._combined_at(clause, rows)
            case Best(clauses):
                parts = [self.at(part, rows) for part in clauses]
                scores = np.maximum.reduce([part.scores for part in parts])
                return Scored(np.logical_or.reduce([part.matched for part in parts]), scores)
            case Demoted(positive, negative, factor):
                matched, scores = self.at(positive, rows)
                return Scored(matched, np.where(matched, scores - factor * self.at(negative, rows).scores, 0.0))

    def _any_at(self, terms: Sequence[tuple[str, float]], rows: Int64s) -> Scored:
        matched, scores = np.zeros(len(rows), bool), np.zeros(len(rows))
        norms = self._lengths.norms(rows)
        for text, weight in terms:
            found = self.of_term.get(text)
            if found is None or not len(rows):
                continue
            counts = found.counts_in(rows)
            matched |= counts > 0
            # A count of 0 adds 0.
            scores += weight * damped(counts, norms)
        return Scored(matched, scores)

    def _combined_at(self, clause: Combined, rows: Int64s) -> Scored:
        """Rows that fail a part are not asked of the parts after it."""
        left = np.arange(len(rows))
        scores = np.zeros(len(rows))
        for part in sorted(clause.must, key=self.size):
            left = left[self.at(part, rows[left]).matched]
        for part in clause.must_not:
            left = left[~self.at(part, rows[left]).matched]
        found = [self.at(part, rows[left]) for part in (*clause.must, *clause.should)]
        for part in found:
            scores[left] += part.scores
        if not clause.must:
            any_of = np.logical_or.reduce([part.matched for part in found])
            scores[left[~any_of]] = 0.0
            left = left[any_of]
        matched = np.zeros(len(rows), bool)
        matched[left] = True
        return Scored(matched, scores)

    def holding(self, phrase: Phrase, rows: Int64s | None) -> Int64s:
        """Those of some rows that hold a word for each place of a phrase. rows: ascending; None: all.

        Raises InvalidInput where the segment does not know where words stand.
        """
        self._check_places()
        places = sorted((self._found(terms) for terms in phrase.places), key=lambda found: sum(map(len, found)))
        if not all(places):
            return np.zeros(0, np.int64)
        left = rows
        if left is None:
            alone = [found[0] for found in places if len(found) == 1]
            left = TermList.common(alone) if alone else self.union(found.all[0] for found in places[0])
            places = [found for found in places if len(found) > 1]
        for lists in places:
            left = left.take(np.logical_or.reduce([found.counts_in(left) > 0 for found in lists]).nonzero()[0])
        return left

    def beginnings(self, phrase: Phrase, most: int) -> Int64s | None:
        """The keys of where a phrase begins, of all rows; None where it takes less to look into those with its words.

        most: so many rows may come back. Raises as `holding`.
        """
        found = [self._found(terms) for terms in phrase.places]
        lists = [lists[0] for lists in found if len(lists) == 1]
        if phrase.slop or len(lists) < len(found):
            return None
        self._check_places()
        most = min(most, *map(len, lists))
        if not all(one.is_located(most) for one in lists):
            return None
        new = {terms[0]: one for one, terms in zip(lists, phrase.places, strict=True) if one.keys is None}
        for term, places in self._lists.places_of(new).items() if new else ():
            new[term].locate(places)
        return beginnings([one.keys for one in lists if one.keys is not None], phrase.offsets)

    def phrase_bounds(self, phrase: Phrase, rows: Int64s) -> np.ndarray:
        """What the scores of rows that hold a word for each place of a phrase are not above."""
        counts = [
            np.add.reduce([found.counts_in(rows).astype(np.int64) for found in self._found(terms)])
            for terms in phrase.places
        ]
        return phrase.weight * self._lengths.damped(rows, np.minimum.reduce(counts))

    def of_phrase(self, phrase: Phrase, rows: Int64s) -> Scored:
        """As `at`, of rows that hold a word for each place."""
        frequency = self._frequency(phrase, rows)
        return Scored(frequency > 0, phrase.weight * self._lengths.damped(rows, frequency))

    def _phrase_at(self, phrase: Phrase, rows: Int64s) -> Scored:
        held = self.holding(phrase, rows)
        matched, scores = np.zeros(len(rows), bool), np.zeros(len(rows))
        if len(held):
            left = rows.searchsorted(held)
            matched[left], scores[left] = self.of_phrase(phrase, held)
        return Scored(matched, scores)

    def _frequency(self, phrase: Phrase, rows: Int64s) -> np.ndarray:
        """How often rows hold the phrase, of rows that hold a word for each place."""
        lists = {term: self.of_term[term] for terms in phrase.places for term in terms if term in self.of_term}
        places = self._lists.places_of(lists)
        numbers = np.arange(len(rows))
        words = []
        for terms in phrase.places:
            found = []
            for term in terms:
                if term not in lists:
                    continue
                held = numbers if len(terms) == 1 else lists[term].counts_in(rows).nonzero()[0]
                counts, place = lists[term].located(rows.take(held), places[term])
                found.append((held.repeat(counts), place))
            words.append(found[0] if len(found) == 1 else tuple(map(np.concatenate, zip(*found, strict=True))))
        if phrase.slop:
            return sloppy_frequency(len(rows), words, phrase.offsets, phrase.slop)
        return exact_frequency(len(rows), words, phrase.offsets)

    def _check_places(self) -> None:
        if not self._with_places:
            raise InvalidInput(
                "the index does not know where words stand, which a phrase needs",
                kind="query",
                hint="create the index again with with_position=True",
            )

    def _found(self, terms: Iterable[str]) -> list[TermList]:
        return [self.of_term[term] for term in terms if term in self.of_term]

    def _total(self, terms: Iterable[str]) -> int:
        return sum(len(found) for found in self._found(terms))

    def _holding(self, terms: Iterable[str]) -> Int64s:
        return self.union(found.all[0] for found in self._found(terms))

    def union(self, parts: Iterable[Int64s]) -> Int64s:
        """The rows of all of some parts, each of which is ascending; so is what comes back."""
        found = [part for part in parts if len(part)]
        if len(found) < 2:
            return found[0] if found else np.zeros(0, np.int64)
        if sum(map(len, found)) * _DENSE_SHARE < self._rows:
            return distinct(np.concatenate(found))
        held = np.zeros(self._rows, bool)
        for part in found:
            held[part] = True
        return held.nonzero()[0]


def terms_of(clause: Clause) -> list[str]:
    """The terms that a clause names."""
    match clause:
        case AnyOf(terms):
            return [term.text for term in terms]
        case Constant(terms):
            return list(terms)
        case Phrase(places):
            return [term for terms in places for term in terms]
        case Combined(must, should, must_not):
            return [term for part in (*must, *should, *must_not) for term in terms_of(part)]
        case Best(clauses):
            return [term for part in clauses for term in terms_of(part)]
        case Demoted(positive, negative):
            return terms_of(positive) + terms_of(negative)


__all__ = ["Matching", "Scored", "terms_of"]
