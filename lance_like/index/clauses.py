"""What a segment of texts may be asked: a query of one column of which the words are resolved. Pure.

The text layer makes clauses of a query: it analyses the words, finds what prefixes and misspelt words stand for in all
segments, and gives each term the weight that it has over all of them. So a segment needs no statistics but the average
length, and gives a row the same score whatever other segments there are (format_spec/index/inverted.md, "Scores").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Term:
    """A term as the index holds it. weight: its idf times the boosts, above 0."""

    text: str
    weight: float


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Rows with one of some terms at least. The score is the sum over the terms that a row holds."""

    terms: tuple[Term, ...]


@dataclass(frozen=True, slots=True)
class Constant:
    """Rows with one of some terms at least, all with the same score."""

    terms: tuple[str, ...]
    score: float


@dataclass(frozen=True, slots=True)
class Phrase:
    """Rows in which words stand as in a phrase. The score is that of one term, its frequency that of the phrase.

    places: of each place of the phrase the terms that may stand there, at least one. offsets: int each, from the first
    place, ascending. slop: how far from each other the places may be moved. weight: as of a `Term`.
    """

    places: tuple[tuple[str, ...], ...]
    offsets: tuple[int, ...]
    slop: int
    weight: float


@dataclass(frozen=True, slots=True)
class Combined:
    """Rows that match all of `must`, or one of `should` where there is none, and none of `must_not`.

    The score is the sum over the clauses of `must` and `should` that match.
    """

    must: tuple[Clause, ...] = ()
    should: tuple[Clause, ...] = ()
    must_not: tuple[Clause, ...] = ()


@dataclass(frozen=True, slots=True)
class Best:
    """Rows that match one clause at least. The score is the greatest."""

    clauses: tuple[Clause, ...]


@dataclass(frozen=True, slots=True)
class Demoted:
    """Rows that match `positive`. The score of those that match `negative` too is lowered by factor times its score."""

    positive: Clause
    negative: Clause
    factor: float


Clause: TypeAlias = AnyOf | Constant | Phrase | Combined | Best | Demoted

__all__ = ["AnyOf", "Best", "Clause", "Combined", "Constant", "Demoted", "Phrase", "Term"]
