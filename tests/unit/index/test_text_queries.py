"""Queries as values, the forms in which they are given, and what of a text answers them."""

from __future__ import annotations

from typing import Any

import pytest

from lance_like import Marking, highlight
from lance_like.errors import InvalidInput
from lance_like.index.text.queries import (
    BooleanQuery,
    BoostQuery,
    CombinedFieldsQuery,
    FullTextOperator,
    MatchQuery,
    MultiMatchQuery,
    Occur,
    PhrasePrefixQuery,
    PhraseQuery,
    PrefixQuery,
    query_of,
)

BOTH = [(Occur.MUST, MatchQuery("a", "t")), (Occur.MUST_NOT, MatchQuery("b", "u"))]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a b", MatchQuery("a b", "t")),
        ({"query": "a b", "columns": ["u"]}, MatchQuery("a b", "u")),
        ({"query": "a", "columns": ["t", "u"]}, MultiMatchQuery("a", ["t", "u"])),
        ('"a b"', PhraseQuery("a b", "t")),
        ({"query": '"a b"', "columns": ["u"]}, PhraseQuery("a b", "u")),
        (
            {"query": '"a b"', "columns": ["t", "u"]},
            BooleanQuery([(Occur.SHOULD, PhraseQuery("a b", "t")), (Occur.SHOULD, PhraseQuery("a b", "u"))]),
        ),
        ('"a" b', MatchQuery('"a" b', "t")),
        ('"', MatchQuery('"', "t")),
        ({"query": PhraseQuery("a b", "u")}, PhraseQuery("a b", "u")),
        (
            {"match": {"terms": "a", "column": "u", "operator": "and"}},
            MatchQuery("a", "u", operator=FullTextOperator.AND),
        ),
        ({"phrase": {"terms": "a b", "column": "u", "slop": 2}}, PhraseQuery("a b", "u", slop=2)),
        ({"prefix": {"query": "a", "column": "u"}}, PrefixQuery("a", "u")),
        ({"phrase_prefix": {"query": "a", "column": "u"}}, PhrasePrefixQuery("a", "u")),
        (
            {"boolean": {"must": [{"match": {"terms": "a", "column": "t"}}], "must_not": [BOTH[1][1]]}},
            BooleanQuery(BOTH),
        ),
        (
            {"boost": {"positive": BOTH[0][1], "negative": BOTH[1][1], "negative_boost": 0.25}},
            BoostQuery(BOTH[0][1], BOTH[1][1], negative_boost=0.25),
        ),
        ({"combined_fields": {"query": "a", "columns": ["t", "u"]}}, CombinedFieldsQuery("a", ["t", "u"])),
    ],
)
def test_queries_are_given_in_many_forms(given: Any, expected: Any) -> None:
    assert query_of(given, ["t"]) == expected


@pytest.mark.parametrize(
    "given",
    [5, {}, {"nothing": {}}, {"match": {"terms": "a"}}, {"query": "a", "what": 1}, {"match": 3}, {"match": {"x": 1}}],
)
def test_other_forms_are_refused(given: Any) -> None:
    with pytest.raises(InvalidInput):
        query_of(given, ["t"])


def test_a_text_needs_a_column() -> None:
    with pytest.raises(InvalidInput, match="names no column"):
        query_of("a")


@pytest.mark.parametrize(
    "make",
    [
        lambda: MatchQuery("a", "t", boost=0),
        lambda: MatchQuery("a", "t", fuzziness=3),
        lambda: MatchQuery("a", "t", max_expansions=0),
        lambda: MatchQuery(5, "t"),  # pyright: ignore[reportArgumentType]
        lambda: PhraseQuery("a", "t", slop=-1),
        lambda: MultiMatchQuery("a", []),
        lambda: MultiMatchQuery("a", ["t"], boosts=[1, 2]),
        lambda: CombinedFieldsQuery("a", ["t"], boosts=[0.5]),
        lambda: BooleanQuery([(Occur.MUST_NOT, MatchQuery("a", "t"))]),
        lambda: BoostQuery("a", "b"),  # pyright: ignore[reportArgumentType]
    ],
)
def test_wrong_arguments_are_refused(make: Any) -> None:
    with pytest.raises(InvalidInput):
        make()


def test_queries_join_with_and_and_or() -> None:
    one, other = MatchQuery("a", "t"), PhraseQuery("b c", "u")
    assert one & other == BooleanQuery([(Occur.MUST, one), (Occur.MUST, other)])
    assert one | other == BooleanQuery([(Occur.SHOULD, one), (Occur.SHOULD, other)])
    assert (one & other).searched == {"t", "u"}


def test_snippets_mark_the_words_asked_for() -> None:
    text = "The quick brown fox & the <lazy> dog. " * 10
    found = highlight("quick foxes", [text, None, "nothing", ""], marking=Marking(max_chars=40))
    assert found == ["The <b>quick</b> brown <b>fox</b> &amp; the &lt;lazy&gt; dog", None, "", ""]


def test_snippets_show_where_most_words_are() -> None:
    text = f"one {'x ' * 200} one two three {'y ' * 200} two"
    marking = Marking(max_chars=30, before="[", after="]", escape=False)
    [found] = highlight(MatchQuery("one two three", "t"), [text], column="t", marking=marking)
    assert found is not None
    assert "[one] [two] [three]" in found
    assert len(found.replace("[", "").replace("]", "")) <= 30


def test_snippets_know_words_that_are_alike_and_beginnings() -> None:
    query = MatchQuery("quik", "t", fuzziness=1) | PrefixQuery("la", "t")
    assert highlight(query, ["the quick lazy dog"], column="t") == ["the <b>quick</b> <b>lazy</b> dog"]
    assert highlight(query, ["the quick lazy dog"], column="u") == [""]


def test_snippets_of_pairs_of_characters() -> None:
    assert highlight("東京", ["彼は東京都に行く"], options={"base_tokenizer": "cjk"}) == ["彼は<b>東京</b>都に行く"]
