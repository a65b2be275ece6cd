"""Full-text search as its definition reads (format_spec/index/inverted.md), row by row: what indexes are held to."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from lance_like.index.text import queries
from lance_like.index.text.queries import FullTextOperator, FullTextQuery, Occur

K1, B = 1.2, 0.75
Tokens = Sequence[tuple[str, int]]


class NaiveField:
    """The texts of one column. rows: row id -> terms and where they stand; every row that counts for the statistics.

    analyse: a text to terms. beginning: see `TextSearcher.beginning`.
    """

    def __init__(
        self, rows: Mapping[int, Tokens], analyse: Callable[[str], Tokens], beginning: Callable[[str], str]
    ) -> None:
        self.tokens, self.analyse, self.beginning = rows, analyse, beginning
        self.counts = {row: Counter(term for term, _ in tokens) for row, tokens in rows.items()}
        self.frequencies = Counter(term for counts in self.counts.values() for term in counts)
        self.lengths = {row: len(tokens) for row, tokens in rows.items()}
        filled = [length for length in self.lengths.values() if length]
        self.rows = len(filled)
        self.average = sum(filled) / len(filled) if filled else 0.0
        self.vocabulary = sorted({term for counts in self.counts.values() for term in counts}, key=str.encode)

    def frequency(self, term: str) -> int:
        """How many rows hold a term."""
        return self.frequencies[term]

    def damped(self, row: int, count: float) -> float:
        """What a count comes to in a row."""
        length = self.lengths[row] / self.average if self.average else 0.0
        return (K1 + 1) * count / (count + K1 * (1 - B + B * length))

    def match(self, query: queries.MatchQuery) -> dict[int, float]:
        """Rows to scores."""
        groups = [self.like(term, query) for term, _ in self.analyse(query.query)]
        found: dict[int, float] = {}
        for row, counts in self.counts.items():
            if not groups or not (all if query.operator is FullTextOperator.AND else any)(
                any(term in counts for term in group) for group in groups
            ):
                continue
            held = [term for group in groups for term in group if term in counts]
            found[row] = sum(
                query.boost * idf(self.rows, self.frequency(t)) * self.damped(row, counts[t]) for t in held
            )
        return found

    def like(self, term: str, query: queries.MatchQuery) -> list[str]:
        """What stands for a term."""
        edits = query.fuzziness
        if edits is None:
            edits = 0 if len(term) <= 2 else 1 if len(term) <= 5 else 2
        if not edits:
            return [term]
        same = term[: query.prefix_length]
        near = [(distance(term, other), other) for other in self.vocabulary if other.startswith(same)]
        near = [(far, other) for far, other in near if far <= edits and len(other) >= len(same)]
        return [
            other for _, other in sorted(near, key=lambda pair: (pair[0], pair[1].encode()))[: query.max_expansions]
        ]

    def phrase(self, places: Sequence[Sequence[str]], offsets: Sequence[int], slop: int) -> dict[int, float]:
        """Rows to scores."""
        counts = [min(sum(map(self.frequency, terms)), self.rows) for terms in places]
        if not places or not all(counts):
            return {}
        weight = sum(idf(self.rows, count) for count in counts)
        found = {}
        for row, tokens in self.tokens.items():
            frequency = occurrences(tokens, places, offsets, slop)
            if frequency:
                found[row] = weight * self.damped(row, frequency)
        return found

    def search(self, query: FullTextQuery) -> dict[int, float]:
        """Rows to scores, of a query for words in this column."""
        if isinstance(query, queries.MatchQuery):
            return self.match(query)
        if isinstance(query, queries.PhraseQuery):
            tokens = self.analyse(query.query)
            return self.phrase([[term] for term, _ in tokens], [place for _, place in tokens], query.slop)
        if isinstance(query, queries.PhrasePrefixQuery):
            *before, last = query.query.split()
            tokens = self.analyse(" ".join(before))
            beginning = self.beginning(last)
            terms = [term for term in self.vocabulary if term.startswith(beginning)][: query.max_expansions]
            places = [*([term] for term, _ in tokens), terms]
            return self.phrase(places, [*(place for _, place in tokens), len(before)], query.slop)
        assert isinstance(query, queries.PrefixQuery)
        beginning = self.beginning(query.query)
        rows = [row for row, held in self.counts.items() if any(term.startswith(beginning) for term in held)]
        return dict.fromkeys(rows, query.boost) if beginning else {}


def naive_search(query: FullTextQuery, fields: Mapping[str, NaiveField]) -> dict[int, float]:
    """Rows to scores."""
    if isinstance(query, queries.BoostQuery):
        positive, negative = naive_search(query.positive, fields), naive_search(query.negative, fields)
        return {row: score - query.negative_boost * negative.get(row, 0.0) for row, score in positive.items()}
    if isinstance(query, queries.MultiMatchQuery):
        found = [naive_search(part, fields) for part in query.of_columns]
        return {row: max(part.get(row, 0.0) for part in found) for row in set().union(*found)}
    if isinstance(query, queries.CombinedFieldsQuery):
        return _combined_fields(query, fields)
    if isinstance(query, queries.BooleanQuery):
        must, should, must_not = (
            [naive_search(part, fields) for part in query.of(occur)]
            for occur in (Occur.MUST, Occur.SHOULD, Occur.MUST_NOT)
        )
        rows = set.intersection(*map(set, must)) if must else set().union(*should)
        rows -= set().union(*must_not)
        return {row: sum(part.get(row, 0.0) for part in (*must, *should)) for row in rows}
    [name] = query.searched
    return fields[name].search(query)


def _combined_fields(query: queries.CombinedFieldsQuery, fields: Mapping[str, NaiveField]) -> dict[int, float]:
    """The columns as one: counts, lengths and averages are sums times the boosts."""
    first = fields[query.columns[0]]
    tokens = [term for term, _ in first.analyse(query.query)]
    found: dict[int, float] = {}
    rows = set().union(*(field.tokens for field in fields.values()))
    filled = max(fields[name].rows for name, _ in query.weighted)
    average = sum(by * fields[name].average * fields[name].rows for name, by in query.weighted) / max(filled, 1)
    for row in rows:
        length = sum(by * fields[name].lengths.get(row, 0) for name, by in query.weighted)
        score, held = 0.0, 0
        for term in tokens:
            count = sum(by * fields[name].counts.get(row, Counter())[term] for name, by in query.weighted)
            if count:
                held += 1
                most = max(fields[name].frequency(term) for name, _ in query.weighted)
                score += idf(filled, most) * (K1 + 1) * count / (count + K1 * (1 - B + B * length / average))
        if held and (held == len(tokens) or query.operator is FullTextOperator.OR):
            found[row] = score
    return found


def occurrences(tokens: Tokens, places: Sequence[Sequence[str]], offsets: Sequence[int], slop: int) -> float:
    """How often a phrase occurs among the words of a row."""
    beginnings = [
        [place - offset for term, place in tokens if term in terms]
        for terms, offset in zip(places, offsets, strict=True)
    ]
    total, before = 0.0, None
    for end in sorted({beginning for part in beginnings for beginning in part}):
        lasts = [max((start for start in part if start <= end), default=None) for part in beginnings]
        known = [last for last in lasts if last is not None]
        if len(known) < len(lasts):
            continue
        start = min(known)
        stand = [last + offset for last, offset in zip(known, offsets, strict=True)]
        if (before is None or start > before) and end - start <= slop and len(set(stand)) == len(stand):
            total += 1 / (1 + end - start)
        before = start
    return total


def idf(rows: int, count: int) -> float:
    """What a term is worth that count of the rows hold."""
    return math.log(1 + (rows - count + 0.5) / (count + 0.5))


def distance(one: str, other: str) -> int:
    """Characters to add, drop or replace."""
    row = list(range(len(other) + 1))
    for at, letter in enumerate(one, 1):
        diagonal, row[0] = row[0], at
        for column, theirs in enumerate(other, 1):
            diagonal, row[column] = (
                row[column],
                min(row[column] + 1, row[column - 1] + 1, diagonal + (letter != theirs)),
            )
    return row[-1]


__all__ = ["NaiveField", "naive_search"]
