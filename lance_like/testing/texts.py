"""What every index of texts must do: a suite for pytest, to be subclassed, by plug-ins of other packages too.

    class TestMyTexts(TextIndexTests):
        plugin = MyTexts()

Random queries over random corpora in several segments, of which some rows may not come back, must find what a naive
search finds, with its scores.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pyroaring import BitMap

from lance_like.index.base import BuildOptions
from lance_like.index.text import queries
from lance_like.index.text.queries import FullTextOperator, FullTextQuery, Occur
from lance_like.index.text.relevance import Part, search_texts
from lance_like.testing.indexes import Built, SegmentTests, build
from lance_like.testing.naive_texts import NaiveField, naive_search
from lance_like.typing_ import Int64s

WORDS = (
    *("apple", "apples", "the", "of", "über", "naïve", "café", "running", "runner", "run", "東京", "x" * 39, "x" * 45),
    *("a", "b", "c", "ab", "abc", "zeta", "0", "1a", "\0b", "𝒳yz", "İ", "a\u0301"),
)
"""Some are one term, some are none, some are nearly another."""


def random_texts(rng: random.Random, rows: int, words: Sequence[str] = WORDS) -> list[str | None]:
    """Texts of a few words, the first ones often; some empty, some null."""
    weights = [1 / (at + 1) for at in range(len(words))]
    made = (" ".join(rng.choices(words, weights, k=rng.choice([0, 1, 3, 8, 30]))) for _ in range(rows))
    return [None if rng.random() < 0.05 else text for text in made]


def random_query(
    rng: random.Random, columns: Sequence[str], words: Sequence[str] = WORDS, depth: int = 2
) -> FullTextQuery:
    """A query of any kind. depth: how far queries may be parts of others."""

    def some(least: int, most: int) -> str:
        return " ".join(rng.choices(words, k=rng.randint(least, most)))

    def part() -> FullTextQuery:
        return random_query(rng, columns, words, depth - 1)

    column, operator = rng.choice(columns), rng.choice(list(FullTextOperator))
    boosts = [1.0, 2.5][: len(columns)]
    kinds = [
        lambda: queries.MatchQuery(some(0, 4), column, operator=operator, boost=rng.choice([1, 2.5])),
        lambda: queries.MatchQuery(
            some(1, 2),
            column,
            operator=operator,
            fuzziness=rng.choice([1, 2, None]),
            prefix_length=rng.choice([0, 1]),
            max_expansions=rng.choice([2, 50]),
        ),
        lambda: queries.PhraseQuery(some(1, 3), column),
        lambda: queries.PhraseQuery(some(2, 4), column, slop=rng.randint(1, 4)),
        lambda: queries.PhrasePrefixQuery(f"{some(0, 2)} {rng.choice(words)[:2]}", column, slop=rng.choice([0, 2])),
        lambda: queries.PrefixQuery(rng.choice(words)[: rng.randint(1, 3)], column),
        lambda: queries.MultiMatchQuery(some(1, 2), columns, operator=operator, boosts=boosts),
        lambda: queries.CombinedFieldsQuery(some(1, 2), columns, operator=operator, boosts=boosts),
        lambda: queries.BoostQuery(part(), part(), negative_boost=0.3),
        lambda: queries.BooleanQuery(
            [(rng.choice([Occur.MUST, Occur.SHOULD]), part())]
            + [(rng.choice(list(Occur)), part()) for _ in range(rng.randint(0, 2))]
        ),
    ]
    return rng.choice(kinds if depth else kinds[:-2])()


@dataclass(frozen=True)
class Column:
    """Texts in some segments, and what a naive search needs of them."""

    parts: Sequence[Part]
    naive: NaiveField


class TextIndexTests(SegmentTests):
    """Plug-ins of kind "text"."""

    types: ClassVar[Sequence[pa.DataType]] = (pa.string(), pa.large_string(), pa.list_(pa.string()))
    refused: ClassVar[Sequence[pa.DataType]] = (pa.int64(), pa.binary(), pa.list_(pa.int32()))
    given: ClassVar[Mapping[str, Any]] = {"with_position": True}

    def values(self, kind: pa.DataType, rows: int, seed: int) -> pa.Array:
        """Texts, or lists of them."""
        rng = random.Random(seed)
        texts = random_texts(rng, rows)
        if not pa.types.is_list(kind):
            return pa.array(texts, kind)
        return pa.array([None if text is None else text.split("a")[: rng.randint(0, 4)] for text in texts], kind)

    def ask(self, searcher: Any, built: Built, seed: int) -> list[Any]:
        """Queries of all kinds, with what each finds."""
        rng = random.Random(seed)
        parts = [Part(searcher, _itself, _itself)]
        asked = [random_query(rng, ["t"]) for _ in range(12)]
        found = [search_texts(query, {"t": parts}, rng.choice([1, 10, None])) for query in asked]
        return [(ranked.ids.tolist(), ranked.scores.tolist()) for ranked in found]

    def column(
        self, texts: Sequence[str | None], owners: Sequence[int], allowed: set[int] | None, **options: Any
    ) -> Column:
        """Texts in segments. owners: of each row the number of its segment. allowed: rows that may come back."""
        parts = []
        for segment in range(max(owners, default=0) + 1):
            ids = np.array([row for row, owner in enumerate(owners) if owner == segment], np.int64)
            values = pa.array([texts[row] for row in ids.tolist()], pa.string())
            searcher: Any = build(self.plugin, values, self.given, **options).open()
            held = None if allowed is None else BitMap([at for at, row in enumerate(ids.tolist()) if row in allowed])
            parts.append(Part(searcher, ids.__getitem__, _Places(ids), held))
        first = parts[0].searcher
        rows = {row: first.tokens(text or "") for row, text in enumerate(texts)}
        return Column(parts, NaiveField(rows, first.tokens, first.beginning))

    def check(self, columns: Mapping[str, Column], queries: Sequence[FullTextQuery], allowed: set[int] | None) -> None:
        """Each query finds what a naive search does, the best of it, whatever k is."""
        naive = {name: column.naive for name, column in columns.items()}
        parts = {name: column.parts for name, column in columns.items()}
        for query in queries:
            scores = {row: by for row, by in naive_search(query, naive).items() if allowed is None or row in allowed}
            expected = sorted(scores.values(), reverse=True)
            for k in (1, 10, None):
                found = search_texts(query, parts, k)
                assert len(set(found.ids.tolist())) == len(expected[:k]), f"{query}, k = {k}"
                np.testing.assert_allclose(found.scores, expected[:k], rtol=1e-5, atol=1e-6, err_msg=str(query))
                given = [scores[row] for row in found.ids.tolist()]
                np.testing.assert_allclose(found.scores, given, rtol=1e-5, atol=1e-6, err_msg=str(query))

    def test_it_is_for_texts(self) -> None:
        assert self.plugin.kind == "text"
        assert self.plugin.name == self.plugin.name.upper()

    def test_queries_find_what_a_naive_search_finds(self) -> None:
        for seed in range(4):
            rng = random.Random(seed)
            rows, segments = rng.randint(0, 200), rng.randint(1, 3)
            owners = [rng.randrange(segments) for _ in range(rows)]
            allowed = {row for row in range(rows) if rng.random() < rng.choice([0.05, 0.5, 0.9])} if seed % 2 else None
            names = ["t", "u"][: rng.randint(1, 2)]
            columns = {name: self.column(random_texts(rng, rows), owners, allowed) for name in names}
            self.check(columns, [random_query(rng, names) for _ in range(25)], allowed)

    def test_common_words_find_what_a_naive_search_finds(self) -> None:
        rng = random.Random(7)
        words = [f"w{number}" for number in range(12)]
        owners = [0] * 12_000
        allowed = set(rng.sample(range(len(owners)), 6000))
        asked = [queries.MatchQuery(" ".join(rng.sample(words, count)), "t") for count in (1, 2, 3, 4)]
        texts = random_texts(rng, len(owners), words)
        for held in (None, allowed, set(range(40))):
            self.check({"t": self.column(texts, owners, held)}, asked, held)

    def test_scores_do_not_depend_on_how_many_segments_there_are(self) -> None:
        rng = random.Random(8)
        texts = random_texts(rng, 500)
        one = self.column(texts, [0] * 500, None).parts
        many = self.column(texts, [rng.randrange(5) for _ in texts], None).parts
        for query in [random_query(rng, ["t"]) for _ in range(25)]:
            first, second = (search_texts(query, {"t": parts}, 50) for parts in (one, many))
            assert first.ids.tolist() == second.ids.tolist(), query
            assert first.scores.tobytes() == second.scores.tobytes(), query

    def test_what_may_come_back_changes_no_score(self) -> None:
        rng = random.Random(9)
        texts = random_texts(rng, 500)
        allowed = set(rng.sample(range(500), 50))
        free, bound = (self.column(texts, [0] * 500, held).parts for held in (None, allowed))
        for query in [random_query(rng, ["t"]) for _ in range(25)]:
            first, second = (search_texts(query, {"t": parts}, None) for parts in (free, bound))
            kept = np.isin(first.ids, list(allowed))
            assert first.ids[kept].tolist() == second.ids.tolist(), query
            assert first.scores[kept].tobytes() == second.scores.tobytes(), query

    def test_of_equal_scores_the_lower_row_comes_first(self) -> None:
        texts = ["same words", "other", "same words", "same words"] * 300
        parts = self.column(texts, [0] * len(texts), None).parts
        expected = [row for row, text in enumerate(texts) if text == "same words"]
        for query in (
            queries.MatchQuery("same", "t"),
            queries.MatchQuery("same words", "t"),
            queries.PhraseQuery("same words", "t"),
        ):
            for k in (1, 5, 400):
                assert search_texts(query, {"t": parts}, k).ids.tolist() == expected[:k], query

    def test_little_memory_changes_no_byte(self) -> None:
        values = pa.array(random_texts(random.Random(10), 12_000))
        built = build(self.plugin, values, self.given, BuildOptions(memory_nbytes=1 << 16), parts=50)
        assert built.bytes_of_files() == build(self.plugin, values, self.given).bytes_of_files()


class _Places:
    """Row ids to ordinals. ids: int64[n] of the ordinals, ascending."""

    def __init__(self, ids: Int64s) -> None:
        self._of = {row: at for at, row in enumerate(ids.tolist())}

    def __call__(self, ids: Int64s) -> Int64s:
        return np.array([self._of.get(row, -1) for row in ids.tolist()], np.int64)


def _itself(rows: Int64s) -> Int64s:
    return rows


__all__ = ["Column", "TextIndexTests", "random_query", "random_texts"]
