"""The best rows of a clause, without scoring all that match.

One term: its blocks are ranked by the best score in them, which is known without unpacking them; the first k blocks
have k rows that no row of a later block beats. One of which many blocks were looked at is unpacked, and its rows are
ranked by their scores in 256 steps. Several terms, one of which is enough: the rows of one after the other
are looked at, that with the greatest possible score first, and of these only what can still be among the best, given
what the terms to come may add; it ends when these alone cannot reach the k-th score. Every score that comes back is
computed in full by `Matching.at`, so what was passed over changes nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate

import numpy as np
from pyroaring import BitMap

from lance_like._lazy import cached
from lance_like.index.base import Ranked
from lance_like.index.clauses import AnyOf, Clause, Combined, Phrase, Term
from lance_like.index.text.lists import Lengths, TermList, damped
from lance_like.index.text.matching import Matching, Scored
from lance_like.index.text.phrases import rows_of
from lance_like.typing_ import Int64s

_FEW = 1 << 13
"""Rows that are scored one and all: passing some over would take longer."""

_FEW_AT_FIRST = 1 << 11
"""Rows of the terms that are worth most that are scored before others are passed over."""

_FEW_PHRASES = 1 << 10
"""Rows of which it is first looked up where the words of a phrase stand."""

_SLACK = 1e-6
"""By which share a bound may be off: bounds are sums in another order."""

_OVER = 4
"""How many times as many rows are looked at first as are wanted."""


class Allowed:
    """The rows that may come back. allow: None: all. rows: of the segment."""

    def __init__(self, allow: BitMap | None, rows: int) -> None:
        self.allow, self._rows = allow, rows
        self._count = rows if allow is None else len(allow)

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        """In memory at most."""
        return 0 if self.allow is None else self._rows + 9 * self._count

    @cached
    def all(self) -> Int64s:
        """All of them, ascending."""
        if self.allow is None:
            return np.arange(self._rows)
        return np.frombuffer(self.allow.to_array(), np.uint32).astype(np.int64)

    @cached
    def _mask(self) -> np.ndarray:
        mask = np.zeros(self._rows, bool)
        mask[self.all] = True
        return mask

    def holds(self, rows: Int64s) -> np.ndarray:
        """bool[n]: which of some rows may come back."""
        return self._mask.take(rows)

    def among(self, rows: Int64s) -> Int64s:
        """Those of some rows, ascending, that may come back."""
        return rows if self.allow is None else rows[self.holds(rows)]


class Search:
    """One search in one segment. average: length of a row, over all segments."""

    def __init__(self, matching: Matching, lengths: Lengths, average: float, allowed: Allowed) -> None:
        self._matching, self._lengths, self._average, self._allowed = matching, lengths, average, allowed

    def best(self, clause: Clause, k: int | None) -> Ranked:
        """The best rows that match, k or all."""
        if isinstance(clause, AnyOf):
            terms = [term for term in clause.terms if term.text in self._matching.of_term]
            size = self._matching.size(clause)
            if len(terms) == 1 and len(self._allowed) > min(size, _FEW):
                return self._of_term(terms[0], k)
            if k is not None and len(terms) > 1 and size > _FEW and len(self._allowed) * 8 > size:
                return self._of_terms(clause, terms, k)
            if terms and len(self._allowed) >= size:
                return self._of_few(terms, k, {})
        if isinstance(clause, Combined) and _are_all_needed(clause):
            return self._of_all([part.terms[0] for part in clause.must if isinstance(part, AnyOf)], k)
        if isinstance(clause, Phrase):
            return self._of_phrase(clause, k)
        return self._of_rows(clause, self._candidates(clause), k)

    def _candidates(self, clause: Clause) -> Int64s:
        """Rows that may match and may come back, from whichever are fewer."""
        if len(self._allowed) < self._matching.size(clause):
            return self._allowed.all
        return self._allowed.among(self._matching.rows(clause))

    def _of_rows(self, clause: Clause, rows: Int64s, k: int | None) -> Ranked:
        return _matched(rows, self._matching.at(clause, rows), k)

    def _of_term(self, term: Term, k: int | None) -> Ranked:
        found = self._matching.of_term[term.text]
        if k is not None and len(found) > _FEW:
            return self._by_impacts(term, found, k) if found.is_ranked() else self._by_blocks(term, found, k)
        rows, counts = found.all
        if not self._are_all_allowed:
            kept = self._allowed.holds(rows)
            rows, counts = rows[kept], counts[kept]
        return ranked(rows, term.weight * self._lengths.damped(rows, counts), k)

    def _by_impacts(self, term: Term, found: TermList, k: int) -> Ranked:
        impacts = found.impacts(self._lengths, self._average)
        rows, counts = found.all
        wanted = k if self._are_all_allowed else self._likely(_OVER * k)
        while True:
            chosen = impacts.best(wanted)
            some = len(chosen) < len(rows)
            if not self._are_all_allowed:
                chosen = chosen[self._allowed.holds(rows.take(chosen))]
            if len(chosen) >= k or not some:
                best = rows.take(chosen)
                return ranked(best, term.weight * self._lengths.damped(best, counts.take(chosen)), k)
            wanted *= 8

    def _likely(self, count: int) -> int:
        """Of how many rows so many may come back, were those that may anywhere."""
        return count * len(self._matching) // max(len(self._allowed), 1)

    @property
    def _are_all_allowed(self) -> bool:
        return len(self._allowed) == len(self._matching)

    def _by_blocks(self, term: Term, found: TermList, k: int) -> Ranked:
        order, bounds = found.ranked_blocks(self._lengths, self._average)
        best = _NOTHING
        done, step = 0, k
        while done < len(order):
            rows, counts = found.ranked_rows(order, done, done + step)
            if not self._are_all_allowed:
                kept = self._allowed.holds(rows)
                rows, counts = rows[kept], counts[kept]
            scores = term.weight * self._lengths.damped(rows, counts)
            best = merged(best, Ranked(rows, scores), k) if done else ranked(rows, scores, k)
            done, step = done + step, done + step
            if done < len(order) and len(best.scores) == k:
                bound, next_row = term.weight * bounds[done], found.blocks.firsts[order[done]]
                if (best.scores[-1], -best.ordinals[-1]) > (bound, -next_row):
                    break
        return best

    def _of_terms(self, clause: AnyOf, terms: Sequence[Term], k: int) -> Ranked:
        lists = [self._matching.of_term[term.text] for term in terms]
        tops = [
            term.weight * found.impacts(self._lengths, self._average).most
            for term, found in zip(terms, lists, strict=True)
        ]
        drivers = sorted(range(len(terms)), key=lambda number: -tops[number])
        # What the terms from each on add at most.
        rest = [*accumulate((tops[number] for number in reversed(drivers)), initial=0.0)][::-1]
        # 1. All rows of the first terms while they are few, and the best of each other: what k of them reach is what
        # all others have to.
        done = bisect_right([*accumulate(len(lists[number]) for number in drivers)], _FEW_AT_FIRST)
        wanted = self._likely(_OVER * k)
        some = {
            number: lists[number].all[0].take(lists[number].impacts(self._lengths, self._average).best(wanted))
            for number in drivers[done:]
        }
        best = self._of_few(terms, k, some)
        least = float(best.scores[-1]) * (1 - _SLACK) if len(best.scores) == k else 0.0
        # 2. Of the rows of each other term those that may, given what the terms after it add at most.
        rows: list[Int64s] = []
        for at in range(done, len(drivers)):
            if rest[at] < least:
                break
            chosen = [
                (lists[other], terms[other].weight, rest[after + 1]) for after, other in enumerate(drivers[at:], at)
            ]
            rows.append(self._promising(chosen, least))
        return self._of_rows(clause, self._matching.union([np.sort(best.ordinals), *rows]), k) if rows else best

    def _promising(self, chosen: Sequence[tuple[TermList, float, float]], least: float) -> Int64s:
        """The rows of the first of some terms that may reach a score.

        chosen: of each term its list, its weight, and what the terms after it can add at most.
        """
        (found, weight, rest), *others = chosen
        rows, counts = found.all
        if least > rest:
            kept = found.impacts(self._lengths, self._average).above((least - rest) / weight * (1 - _SLACK))
            rows, counts = rows.take(kept), counts.take(kept)
        if not self._are_all_allowed:
            kept = self._allowed.holds(rows)
            rows, counts = rows[kept], counts[kept]
        if len(rows) <= _FEW or least <= 0:
            return rows
        norms = self._lengths.norms(rows)
        scores = weight * damped(counts, norms)
        for found, weight, rest in others:
            scores = scores + weight * damped(found.counts_in(rows), norms)
            kept = (scores >= (least - rest) * (1 - _SLACK)).nonzero()[0]
            rows, scores, norms = rows.take(kept), scores.take(kept), norms.take(kept)
        return rows

    def _of_few(self, terms: Sequence[Term], k: int | None, some: Mapping[int, Int64s]) -> Ranked:
        """The best of all rows of some terms, or of some of them by the number of the term.

        What the terms add to a row is summed up in their order.
        """
        lists = [self._matching.of_term[term.text] for term in terms]
        parts = [found.all[0] if (chosen := some.get(at)) is None else chosen for at, found in enumerate(lists)]
        rows = np.concatenate(parts)
        if not len(rows):
            return _NOTHING
        # The rows of each term ascend, and a stable sort merges them.
        order = rows.argsort(kind="stable")
        rows = rows.take(order)
        first = np.concatenate((_ONE, rows[1:] != rows[:-1]))
        places = np.empty(len(rows), np.int64)
        places[order] = first.cumsum() - 1
        rows = rows[first]
        scores, norms = np.zeros(len(rows)), self._lengths.norms(rows)
        start = 0
        for at, (term, found, part) in enumerate(zip(terms, lists, parts, strict=True)):
            here = places[start : start + len(part)]
            start += len(part)
            if at in some:
                scores += term.weight * damped(found.counts_in(rows), norms)
            else:
                scores[here] += term.weight * damped(found.all[1], norms.take(here))
        if not self._are_all_allowed:
            kept = self._allowed.holds(rows)
            rows, scores = rows[kept], scores[kept]
        return ranked(rows, scores, k)

    def _of_phrase(self, phrase: Phrase, k: int | None) -> Ranked:
        """Rows that hold the words often come first: no phrase is there more often than the rarest of its words."""
        begins = self._matching.beginnings(phrase, len(self._allowed))
        if begins is not None:
            return self._of_beginnings(phrase, begins, k)
        if len(self._allowed) < self._matching.size(phrase):
            rows = self._matching.holding(phrase, self._allowed.all)
        else:
            rows = self._allowed.among(self._matching.holding(phrase, None))
        if k is None or len(rows) <= _FEW_PHRASES:
            return self._of_held(phrase, rows, k)
        bounds = self._matching.phrase_bounds(phrase, rows)
        best, left, step = _NOTHING, np.arange(len(rows)), _FEW_PHRASES
        while len(left):
            order = np.argpartition(bounds.take(left), -step) if len(left) > step else np.arange(len(left))
            chosen, left = left.take(order[-step:]), left.take(order[:-step])
            best = merged(best, self._of_held(phrase, rows.take(np.sort(chosen)), k), k)
            if len(best.scores) == k:
                left = left[bounds.take(left) >= best.scores[-1] * (1 - _SLACK)]
            step *= 2
        return best

    def _of_beginnings(self, phrase: Phrase, begins: Int64s, k: int | None) -> Ranked:
        """The best of the rows in which a phrase begins."""
        rows = rows_of(begins)
        if not self._are_all_allowed:
            rows = rows[self._allowed.holds(rows)]
        if not len(rows):
            return _NOTHING
        edges = np.concatenate((_ONE, rows[1:] != rows[:-1], _ONE)).nonzero()[0]
        rows = rows.take(edges[:-1])
        return ranked(rows, phrase.weight * self._lengths.damped(rows, edges[1:] - edges[:-1]), k)

    def _of_held(self, phrase: Phrase, rows: Int64s, k: int | None) -> Ranked:
        """The best of rows that hold a word for each place."""
        return _matched(rows, self._matching.of_phrase(phrase, rows), k) if len(rows) else _NOTHING

    def _of_all(self, terms: Sequence[Term], k: int | None) -> Ranked:
        """The best rows that hold every term."""
        if any(term.text not in self._matching.of_term for term in terms):
            return _NOTHING
        lists = [self._matching.of_term[term.text] for term in terms]
        order = sorted(range(len(terms)), key=lambda number: len(lists[number]))
        counts: dict[int, np.ndarray] = {}
        rows = lists[order[0]].all[0]
        if len(self._allowed) < len(rows):
            rows = self._allowed.all
        elif self._are_all_allowed:
            counts[order[0]] = lists[order[0]].all[1]
        else:
            rows = self._allowed.among(rows)
        for number in order:
            if number not in counts:
                found = lists[number].counts_in(rows)
                held = found.nonzero()[0]
                rows, counts[number] = rows[held], found[held]
                counts = {other: of[held] if other != number else of for other, of in counts.items()}
        scores, norms = np.zeros(len(rows)), self._lengths.norms(rows)
        for number, term in enumerate(terms):
            scores += term.weight * damped(counts[number], norms)
        return ranked(rows, scores, k)


def _matched(rows: Int64s, found: Scored, k: int | None) -> Ranked:
    """The best of some rows, of those that match."""
    kept = found.matched.nonzero()[0]
    return ranked(rows.take(kept), found.scores.take(kept), k)


def ranked(rows: Int64s, scores: np.ndarray, k: int | None) -> Ranked:
    """The best of some rows: greatest scores first, of equal ones the lower row. rows: ascending."""
    if k is not None and len(rows) > k:
        if k == 0:
            return _NOTHING
        lower = scores.copy()
        lower.partition(len(scores) - k)
        kept = (scores >= lower[len(scores) - k]).nonzero()[0]
        rows, scores = rows.take(kept), scores.take(kept)
    order = (-scores).argsort(kind="stable")[:k]
    return Ranked(rows.take(order), scores.take(order))


def merged(one: Ranked, other: Ranked, k: int | None) -> Ranked:
    """The best of two, which share no row."""
    rows, scores = np.concatenate((one.ordinals, other.ordinals)), np.concatenate((one.scores, other.scores))
    order = np.argsort(rows)
    return ranked(rows[order], scores[order], k)


def _are_all_needed(clause: Combined) -> bool:
    plain = all(isinstance(part, AnyOf) and len(part.terms) == 1 for part in clause.must)
    return bool(clause.must) and plain and not clause.should and not clause.must_not


_ONE = np.ones(1, bool)
_NOTHING = Ranked(np.zeros(0, np.int64), np.zeros(0))

__all__ = ["Allowed", "Search", "merged", "ranked"]
