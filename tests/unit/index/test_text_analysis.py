"""What the arrays of `split` find is what tantivy finds, one text at a time."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
import tantivy
from hypothesis import given, settings
from hypothesis import strategies as st

from lance_like import tokenize
from lance_like.errors import InvalidInput
from lance_like.index.text.analysis import Analyzer, Dictionary, analyzer_of, checked_analysis

TEXTS = st.lists(
    st.none()
    | st.text(
        st.sampled_from("abcXYZ019 _-.,'\t\néÉßİſK東京都にカ한국어१ि𝒳😀\u0301\0") | st.characters(codec="utf-8"),
        max_size=60,
    ),
    max_size=8,
)
OPTIONS: list[dict[str, Any]] = [
    {},
    {"stem": False, "max_token_length": None},
    {"base_tokenizer": "whitespace"},
    {"base_tokenizer": "raw", "max_token_length": None, "stem": False},
    {"language": "French", "max_token_length": 6},
    {"lower_case": False, "ascii_folding": False},
    {"base_tokenizer": "ngram", "min_ngram_length": 2},
    {"base_tokenizer": "ngram", "prefix_only": True},
    {"custom_stop_words": ["a", "b"]},
    {"language": "Greek"},
]


def of_tantivy(text: str, options: dict[str, Any]) -> list[str]:
    """The terms of a text by an analyzer of tantivy alone."""
    chosen = analyzer_of(checked_analysis(options))
    tokenizer, filters = tantivy.Tokenizer, tantivy.Filter
    first = {
        "simple": tokenizer.simple,
        "whitespace": tokenizer.whitespace,
        "raw": tokenizer.raw,
        "ngram": lambda: tokenizer.ngram(chosen.min_ngram_length, chosen.max_ngram_length, chosen.prefix_only),
    }[chosen.base_tokenizer]()
    builder = tantivy.TextAnalyzerBuilder(first)
    steps = [filters.remove_long(chosen.max_token_length)] if chosen.max_token_length else []
    steps += [filters.lowercase()] if chosen.lower_case else []
    steps += [filters.stemmer(chosen.language.lower())] if chosen.stem else []
    if chosen.custom_stop_words is not None:
        steps.append(filters.custom_stopword(list(chosen.custom_stop_words)))
    elif chosen.remove_stop_words and chosen.language != "Greek":
        steps.append(filters.stopword(chosen.language.lower()))
    steps += [filters.ascii_fold()] if chosen.ascii_folding else []
    for step in steps:
        builder = builder.filter(step)
    return builder.build().analyze(text)


@pytest.mark.parametrize("options", OPTIONS)
@settings(max_examples=60, deadline=None)
@given(texts=TEXTS)
def test_many_texts_have_the_terms_that_tantivy_finds_in_each(options: dict[str, Any], texts: list[str | None]) -> None:
    analyzer = analyzer_of(checked_analysis(options))
    array = pa.array(texts, pa.string())
    words = analyzer.words(array)
    dictionary = Dictionary(analyzer)
    numbers = dictionary.numbers(words)
    found: list[list[str]] = [[] for _ in texts]
    for row, number in zip(words.rows.tolist(), numbers.tolist(), strict=True):
        if number >= 0:
            found[row].append(dictionary.terms()[number])
    # tantivy makes an empty word of an empty text; here it has none.
    assert found == [of_tantivy(text, options) if text else [] for text in texts]


ANALYZERS = [analyzer_of(checked_analysis(options)) for options in OPTIONS]


@settings(max_examples=25, deadline=None)
@given(texts=TEXTS)
def test_one_text_is_analysed_as_many_are(texts: list[str | None]) -> None:
    for analyzer in ANALYZERS:
        for text in texts:
            words = analyzer.words(pa.array([text or ""]))
            terms = analyzer.terms(words.texts().to_pylist())
            several = [(term, at) for term, at in zip(terms, words.places.tolist(), strict=True) if term is not None]
            assert [tuple(token) for token in analyzer.tokens(text or "")] == several


def test_slices_and_what_lies_under_nulls_do_not_matter() -> None:
    data = pa.StringArray.from_buffers(
        3, pa.py_buffer(b"\0\0\0\0\4\0\0\0\7\0\0\0\x0b\0\0\0"), pa.py_buffer(b"one two red"), pa.py_buffer(b"\5")
    )
    analyzer = Analyzer()
    assert analyzer.words(data).texts().to_pylist() == ["one", "red"]
    assert analyzer.words(data.slice(2)).texts().to_pylist() == ["red"]
    assert analyzer.words(data.slice(2)).rows.tolist() == [0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("東京都に行く", ["東京", "京都", "都に", "に行", "行く"]),
        ("Tokyo東 a한b", ["tokyo", "東", "a", "한", "b"]),
        ("국", ["국"]),
        ("カタ カナ", ["カタ", "カナ"]),
    ],
)
def test_scripts_without_spaces_are_cut_in_pairs(text: str, expected: list[str]) -> None:
    tokens = tokenize(text, base_tokenizer="cjk", stem=False, remove_stop_words=False)
    assert [token.text for token in tokens] == expected
    assert [token.position for token in tokens] == list(range(len(expected)))


def test_stop_words_leave_a_gap() -> None:
    assert [tuple(token) for token in tokenize("the Cats and Dogs")] == [("cat", 0), ("dog", 2)]


def test_an_option_that_there_is_not_is_refused() -> None:
    with pytest.raises(InvalidInput):
        tokenize("text", no_such=True)
