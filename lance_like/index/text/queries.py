"""What may be asked of texts: queries as values, with pylance's names, and the forms they may be given in. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from enum import Enum
from numbers import Real
from typing import Any, ClassVar, TypeVar

from lance_like.errors import InvalidInput
from lance_like.typing_ import whole

E = TypeVar("E", bound=Enum)


class FullTextOperator(Enum):
    """Whether one word of a query is enough, or all are needed."""

    AND = "AND"
    OR = "OR"


class Occur(Enum):
    """What a part of a `BooleanQuery` is to it."""

    SHOULD = "SHOULD"
    MUST = "MUST"
    MUST_NOT = "MUST_NOT"


class FullTextQuery:
    """What all queries have: `a & b` asks for both, `a | b` for one at least."""

    @property
    def searched(self) -> frozenset[str]:
        """The columns that it names."""
        raise TypeError(f"{type(self).__name__} names no columns")

    @property
    def phrased(self) -> frozenset[str]:
        """Those of them of which it asks where words stand."""
        return frozenset()

    def __and__(self, other: FullTextQuery) -> BooleanQuery:
        return BooleanQuery([(Occur.MUST, self), (Occur.MUST, other)])

    def __or__(self, other: FullTextQuery) -> BooleanQuery:
        return BooleanQuery([(Occur.SHOULD, self), (Occur.SHOULD, other)])


class _OfColumn(FullTextQuery):
    """_least: the numbers of a kind that are whole ones, and the least that each may be."""

    query: str
    column: str
    _least: ClassVar[Mapping[str, int]] = {}

    @property
    def searched(self) -> frozenset[str]:
        """The column."""
        return frozenset([self.column])

    def __post_init__(self) -> None:
        _checked(_is_text(self.query), "the query", "a text", self.query)
        _checked(isinstance(self.column, str), "the column", "a name", self.column)
        for name, least in self._least.items():
            _check_count(name, getattr(self, name), least)


@dataclass(frozen=True)
class MatchQuery(_OfColumn):
    """Rows with the words of a text.

    boost: what the score is multiplied by. fuzziness: by how many characters (added, dropped or replaced) a word may
    differ, 0 to 2; None: 0 for words of one or two characters, 1 up to five, else 2. max_expansions: how many words
    may stand for each word in this way, the nearest first. operator: whether one word is enough. prefix_length: how
    many characters at its start must not differ.
    """

    query: str
    column: str
    _: KW_ONLY
    boost: float = 1.0
    fuzziness: int | None = 0
    max_expansions: int = 50
    operator: FullTextOperator = FullTextOperator.OR
    prefix_length: int = 0
    _least: ClassVar[Mapping[str, int]] = {"max_expansions": 1, "prefix_length": 0}

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_weight("boost", self.boost)
        _checked(self.fuzziness in (0, 1, 2, None), "fuzziness", "0, 1, 2 or None", self.fuzziness)
        object.__setattr__(self, "operator", _member(FullTextOperator, self.operator))

    def edits_of(self, term: str) -> int:
        """By how many characters what stands for a term may differ from it."""
        if self.fuzziness is None:
            return 0 if len(term) <= 2 else 1 if len(term) <= 5 else 2
        return self.fuzziness


class _OfPlaces(_OfColumn):
    @property
    def phrased(self) -> frozenset[str]:
        """The column."""
        return self.searched


@dataclass(frozen=True)
class PhraseQuery(_OfPlaces):
    """Rows in which words stand as in a phrase. slop: how far from each other they may be moved, in words."""

    query: str
    column: str
    _: KW_ONLY
    slop: int = 0
    _least: ClassVar[Mapping[str, int]] = {"slop": 0}


@dataclass(frozen=True)
class PrefixQuery(_OfColumn):
    """Rows with a word that begins with a text, all with the score `boost`. The text is not stemmed."""

    query: str
    column: str
    _: KW_ONLY
    boost: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_weight("boost", self.boost)


@dataclass(frozen=True)
class PhrasePrefixQuery(_OfPlaces):
    """Rows with a phrase of which the last word may go on: search as you type.

    slop: as of `PhraseQuery`. max_expansions: how many words the last one may stand for, in their order.
    """

    query: str
    column: str
    _: KW_ONLY
    slop: int = 0
    max_expansions: int = 50
    _least: ClassVar[Mapping[str, int]] = {"slop": 0, "max_expansions": 1}


@dataclass(frozen=True)
class BoostQuery(FullTextQuery):
    """Rows that match `positive`; `negative_boost` times the score of `negative` is taken from theirs."""

    positive: FullTextQuery
    negative: FullTextQuery
    _: KW_ONLY
    negative_boost: float = 0.5

    def __post_init__(self) -> None:
        for part in (self.positive, self.negative):
            _checked(isinstance(part, FullTextQuery), "a part of a boost query", "a query", part)
        _check_weight("negative_boost", self.negative_boost, least=0)

    @property
    def searched(self) -> frozenset[str]:
        """The columns of both."""
        return self.positive.searched | self.negative.searched

    @property
    def phrased(self) -> frozenset[str]:
        """Those of both."""
        return self.positive.phrased | self.negative.phrased


class _OfColumns(FullTextQuery):
    query: str
    columns: Sequence[str]
    boosts: Sequence[float] | None
    operator: FullTextOperator

    def __post_init__(self) -> None:
        _checked(_is_text(self.query), "the query", "a text", self.query)
        names = [self.columns] if isinstance(self.columns, str) else list(self.columns)
        _checked(bool(names), "columns", "one at least", names)
        boosts = [1.0] * len(names) if self.boosts is None else list(self.boosts)
        _checked(len(boosts) == len(names), "boosts", f"one of each of the {len(names)} columns", boosts)
        for boost in boosts:
            _check_weight("boost", boost)
        object.__setattr__(self, "columns", tuple(names))
        object.__setattr__(self, "boosts", tuple(boosts))
        object.__setattr__(self, "operator", _member(FullTextOperator, self.operator))

    @property
    def searched(self) -> frozenset[str]:
        """The columns."""
        return frozenset(self.columns)

    @property
    def weighted(self) -> list[tuple[str, float]]:
        """The columns and their boosts."""
        return list(zip(self.columns, self.boosts or (), strict=True))


@dataclass(frozen=True)
class MultiMatchQuery(_OfColumns):
    """Rows that match in one of several columns; the score is that of the best.

    boosts: of each column, None: 1. operator: within each column.
    """

    query: str
    columns: Sequence[str]
    _: KW_ONLY
    boosts: Sequence[float] | None = None
    operator: FullTextOperator = FullTextOperator.OR

    @property
    def of_columns(self) -> tuple[MatchQuery, ...]:
        """The query of each column."""
        return tuple(MatchQuery(self.query, name, boost=by, operator=self.operator) for name, by in self.weighted)


@dataclass(frozen=True)
class CombinedFieldsQuery(_OfColumns):
    """Rows with the words in several columns taken as one (BM25F): counts and lengths are summed, times the boosts.

    boosts: of each column, at least 1, None: 1. operator: over all columns together.
    """

    query: str
    columns: Sequence[str]
    _: KW_ONLY
    boosts: Sequence[float] | None = None
    operator: FullTextOperator = FullTextOperator.OR

    def __post_init__(self) -> None:
        super().__post_init__()
        for _, boost in self.weighted:
            _checked(boost >= 1, "boost", "1 at least", boost)


@dataclass(frozen=True)
class BooleanQuery(FullTextQuery):
    """Rows that match every MUST, or a SHOULD where there is no MUST, and no MUST_NOT; scores are summed."""

    queries: Sequence[tuple[Occur, FullTextQuery]]

    def __post_init__(self) -> None:
        parts = tuple((_member(Occur, occur), query) for occur, query in self.queries)
        for _, query in parts:
            _checked(isinstance(query, FullTextQuery), "a part of a boolean query", "a query", query)
        object.__setattr__(self, "queries", parts)
        if not self.of(Occur.MUST) and not self.of(Occur.SHOULD):
            raise InvalidInput("a boolean query needs a part that SHOULD or MUST match", kind="query")

    @property
    def searched(self) -> frozenset[str]:
        """The columns of all parts."""
        return frozenset().union(*(query.searched for _, query in self.queries))

    @property
    def phrased(self) -> frozenset[str]:
        """Those of all parts."""
        return frozenset().union(*(query.phrased for _, query in self.queries))

    def of(self, wanted: Occur) -> list[FullTextQuery]:
        """The parts of one kind."""
        return [query for occur, query in self.queries if occur is wanted]


def query_of(given: Any, columns: Sequence[str] = ()) -> FullTextQuery:
    """A query from what a caller gave: a query, a text, or a mapping of "query" and maybe "columns", or of one of
    "match", "phrase", "prefix", "boost", "multi_match", "combined_fields" and "boolean" to its arguments.

    A text between double quotes is a phrase. columns: to search for a text that comes without. Raises InvalidInput.
    """
    if isinstance(given, FullTextQuery):
        return given
    if isinstance(given, str):
        return _of_text(given, columns)
    _checked(isinstance(given, Mapping) and bool(given), "full_text_query", "a text, a mapping or a query", given)
    if "query" in given:
        unknown = set(given) - {"query", "columns"}
        _checked(not unknown, "full_text_query", "of the keys query and columns", sorted(unknown))
        return query_of(given["query"], given.get("columns") or columns)
    _checked(len(given) == 1, "full_text_query", 'one kind of query, or "query"', sorted(given))
    [(kind, arguments)] = given.items()
    _checked(kind in _KINDS, "the kind of a query", f"one of {', '.join(_KINDS)}", kind)
    _checked(isinstance(arguments, Mapping), f"the value of {kind!r}", "a mapping", arguments)
    try:
        return _KINDS[kind](**arguments)
    except TypeError as error:
        raise InvalidInput(f"the query {kind!r} cannot be made: {error}", kind="query") from error


def _of_text(text: str, columns: Sequence[str]) -> FullTextQuery:
    if not columns:
        raise InvalidInput(
            "the query names no column, and no column has a full-text index",
            kind="query",
            hint="name the column, as in MatchQuery(text, column)",
        )
    if len(text) > 1 and text[0] == text[-1] == '"':
        phrases = [PhraseQuery(text[1:-1], column) for column in columns]
        return phrases[0] if len(phrases) == 1 else BooleanQuery([(Occur.SHOULD, phrase) for phrase in phrases])
    return MatchQuery(text, columns[0]) if len(columns) == 1 else MultiMatchQuery(text, columns)


def _text_under(key: str, make: Callable[..., FullTextQuery]) -> Callable[..., FullTextQuery]:
    """pylance's mappings call the text of a query "terms"."""

    def of_mapping(**arguments: Any) -> FullTextQuery:
        if key in arguments:
            arguments["query"] = arguments.pop(key)
        return make(**arguments)

    return of_mapping


def _boost(positive: Any, negative: Any, negative_boost: float = 0.5) -> BoostQuery:
    return BoostQuery(query_of(positive), query_of(negative), negative_boost=negative_boost)


def _boolean(must: Sequence[Any] = (), should: Sequence[Any] = (), must_not: Sequence[Any] = ()) -> BooleanQuery:
    parts = {Occur.MUST: must, Occur.SHOULD: should, Occur.MUST_NOT: must_not}
    return BooleanQuery([(occur, query_of(query)) for occur, queries in parts.items() for query in queries])


_KINDS: Mapping[str, Callable[..., FullTextQuery]] = {
    "match": _text_under("terms", MatchQuery),
    "phrase": _text_under("terms", PhraseQuery),
    "match_phrase": _text_under("terms", PhraseQuery),
    "prefix": _text_under("terms", PrefixQuery),
    "phrase_prefix": _text_under("terms", PhrasePrefixQuery),
    "boost": _boost,
    "multi_match": MultiMatchQuery,
    "combined_fields": CombinedFieldsQuery,
    "boolean": _boolean,
}


def _is_text(given: Any) -> bool:
    """Whether something is a text without half letters, which no column has."""
    return isinstance(given, str) and given.encode(errors="replace").decode() == given


def _checked(right: bool, what: str, expected: str, found: Any) -> None:
    if not right:
        raise InvalidInput(f"{what} is {found!r:.80}, expected {expected}", kind="query")


def _check_weight(name: str, value: Any, least: float | None = None) -> None:
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else float("nan")
    right = number < float("inf") and (number > 0 if least is None else number >= least)
    _checked(right, name, "a number above 0" if least is None else f"a number of {least} or more", value)


def _check_count(name: str, value: Any, least: int) -> None:
    _checked(whole(value, least) is not None, name, f"a whole number of {least} or more", value)


def _member(kind: type[E], value: Any) -> E:
    try:
        return value if isinstance(value, kind) else kind(str(value).upper())
    except ValueError as error:
        names = ", ".join(member.value for member in kind)
        raise InvalidInput(f"{value!r:.40} is not one of {names}", kind="query") from error


__all__ = [
    "BooleanQuery",
    "BoostQuery",
    "CombinedFieldsQuery",
    "FullTextOperator",
    "FullTextQuery",
    "MatchQuery",
    "MultiMatchQuery",
    "Occur",
    "PhrasePrefixQuery",
    "PhraseQuery",
    "PrefixQuery",
    "query_of",
]
