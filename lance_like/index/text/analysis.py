"""From texts to terms: tokenizers, and the filters that make one term of the forms of a word.

A tokenizer works on all texts of a batch at once (`split`). The filters are those of tantivy, asked once for each
distinct word, many in one call. Their order is pylance's: words that are too long, lower case, stems, stop words,
letters of ASCII for others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from lance_like._lazy import cached, need
from lance_like.errors import InvalidInput
from lance_like.index.text.split import (
    Split,
    Words,
    split_dense,
    split_grams,
    split_nothing,
    split_simple,
    split_spaces,
    words_of,
)
from lance_like.typing_ import Int64s, Json

STEMMED = [
    "Arabic",
    "Danish",
    "Dutch",
    "English",
    "Finnish",
    "French",
    "German",
    "Greek",
    "Hungarian",
    "Italian",
    "Norwegian",
    "Portuguese",
    "Romanian",
    "Russian",
    "Spanish",
    "Swedish",
    "Tamil",
    "Turkish",
]
_WITHOUT_STOP_WORDS = frozenset(["Arabic", "Greek", "Romanian", "Tamil", "Turkish"])
_TOKENIZERS: Mapping[str, Split] = {
    "simple": split_simple,
    "whitespace": split_spaces,
    "raw": split_nothing,
    "cjk": split_dense,
    "icu": split_dense,
}
_BETWEEN = "\0"


class FtsToken(NamedTuple):
    """A term of a text, and its position among the words."""

    text: str
    position: int


@dataclass(frozen=True)
class Analyzer:
    """How texts become terms; the fields are the parameters of the index.

    base_tokenizer: "simple" (runs of letters and digits), "whitespace", "raw" (all of it), "ngram", "cjk", "icu"
    or "icu/split" (as simple, but each two neighbours in a run of Han, Kana or Hangul). language: of the stems and
    stop words. max_token_length: words of as many bytes of UTF-8 or more are left out, None: none are.
    custom_stop_words: in the place of those of the language.
    """

    base_tokenizer: str = "simple"
    language: str = "English"
    max_token_length: int | None = 40
    lower_case: bool = True
    stem: bool = True
    remove_stop_words: bool = True
    custom_stop_words: tuple[str, ...] | None = None
    ascii_folding: bool = True
    min_ngram_length: int = 3
    max_ngram_length: int = 3
    prefix_only: bool = False

    def words(self, texts: pa.Array) -> Words:
        """The words of texts that are not too long, before the filters. texts: of strings."""
        if self.base_tokenizer == "ngram":
            split = split_grams(self.min_ngram_length, self.max_ngram_length, at_start=self.prefix_only)
        else:
            split = _TOKENIZERS[self.base_tokenizer]
        found = words_of(texts, split, lower=self.lower_case)
        if self.max_token_length is None:
            return found
        short = found.ends - found.starts < self.max_token_length
        return found if short.all() else found.chosen(short)

    def terms(self, words: Sequence[str]) -> list[str | None]:
        """What the filters make of words, None for a stop word."""
        stems = self._before(words)
        kept: set[str] | None = None
        if self._stop is not None:
            # The filter drops words wherever they stand: what comes back of the distinct ones is what it keeps.
            kept = set(self._stop(list(set(stems))))
        left = [stem if kept is None or stem in kept else None for stem in stems]
        # Folding gives letters of ASCII for others.
        folded = iter(self._fold([stem for stem in left if stem is not None and not stem.isascii()]))
        return [stem if stem is None or stem.isascii() else next(folded) for stem in left]

    def tokens(self, text: str) -> list[FtsToken]:
        """The terms of one text."""
        if self._whole is not None:
            return [FtsToken(token.text, token.position) for token in self._whole.pre_tokenize(text).tokens]
        words = self.words(pa.array([text], pa.large_string()))
        terms = self.terms(words.texts().to_pylist())
        return [
            FtsToken(term, place) for term, place in zip(terms, words.places.tolist(), strict=True) if term is not None
        ]

    def beginning(self, text: str) -> str:
        """What terms begin with that stand for words which begin with a text: lower case and folded, no more."""
        lowered = text.lower() if self.lower_case else text
        return self._fold([lowered])[0] if lowered else ""

    @cached
    def _whole(self) -> Any:
        """All steps as one analyzer of tantivy, which is faster for one text; None where it has no such tokenizer."""
        tokenizer = need("tantivy").Tokenizer
        make = {"simple": tokenizer.simple, "whitespace": tokenizer.whitespace}.get(self.base_tokenizer)
        if make is None:
            return None
        long = [] if self.max_token_length is None else [need("tantivy").Filter.remove_long(self.max_token_length)]
        return _built(make(), [*long, *self._forms, *self._stops, *self._folds])

    @property
    def _forms(self) -> list[Any]:
        filters = [need("tantivy").Filter.lowercase()] if self.lower_case else []
        return [*filters, need("tantivy").Filter.stemmer(self.language.lower())] if self.stem else filters

    @property
    def _stops(self) -> list[Any]:
        if not self.remove_stop_words:
            return []
        if self.custom_stop_words is not None:
            return [need("tantivy").Filter.custom_stopword(list(self.custom_stop_words))]
        known = self.language not in _WITHOUT_STOP_WORDS
        return [need("tantivy").Filter.stopword(self.language.lower())] if known else []

    @property
    def _folds(self) -> list[Any]:
        return [need("tantivy").Filter.ascii_fold()] if self.ascii_folding else []

    @cached
    def _before(self) -> Any:
        return _Filters(self._forms)

    @cached
    def _stop(self) -> Any:
        return _Filters(self._stops) if self._stops else None

    @cached
    def _fold(self) -> Any:
        return _Filters(self._folds)


class Dictionary:
    """Numbers of terms, in the order in which they were met, for words in any form."""

    def __init__(self, analyzer: Analyzer) -> None:
        self._analyzer = analyzer
        self._of_word: dict[str, int] = {}
        self._of_term: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._of_term)

    def terms(self) -> list[str]:
        """The terms by their numbers."""
        return list(self._of_term)

    def numbers(self, words: Words) -> Int64s:
        """int64[n], the term of each word; -1 for a stop word."""
        coded = words.texts().dictionary_encode()
        distinct = coded.dictionary.to_pylist()
        known = list(map(self._of_word.get, distinct))
        unknown = [word for word, number in zip(distinct, known, strict=True) if number is None]
        if unknown:
            for word, term in zip(unknown, self._analyzer.terms(unknown), strict=True):
                self._of_word[word] = -1 if term is None else self._of_term.setdefault(term, len(self._of_term))
            known = list(map(self._of_word.__getitem__, distinct))
        return np.array(known, np.int64)[np.asarray(coded.indices)]


def analyzer_of(params: Mapping[str, Json]) -> Analyzer:
    """The analyzer of an index. params: those of the index, its own among them, checked before."""
    given = {name: params[name] for name in Analyzer.__dataclass_fields__ if name in params}
    if given.get("custom_stop_words") is not None:
        given["custom_stop_words"] = tuple(given["custom_stop_words"])
    return Analyzer(**given)


def checked_analysis(given: Mapping[str, Any]) -> dict[str, Json]:
    """The parameters of an analyzer, checked and with their defaults. Raises InvalidInput."""
    tokenizer = given.get("base_tokenizer") or "simple"
    tokenizer = "icu" if tokenizer == "icu/split" else tokenizer
    known = [*_TOKENIZERS, "ngram"]
    _checked(tokenizer in known, "base_tokenizer", f"one of {', '.join(known)}", tokenizer)
    plain = tokenizer != "ngram"
    language = str(_or(given.get("language"), "English")).capitalize()
    _checked(language in STEMMED, "language", f"one of {', '.join(STEMMED)}", language)
    found: dict[str, Json] = {"base_tokenizer": tokenizer, "language": language}
    length = given.get("max_token_length", 40)
    _checked(length is None or _counts(length), "max_token_length", "a whole number above 0, or None", length)
    found["max_token_length"] = length
    for name, default in (
        ("lower_case", True),
        ("stem", plain),
        ("remove_stop_words", plain),
        ("ascii_folding", True),
        ("prefix_only", False),
    ):
        value = _or(given.get(name), default)
        _checked(isinstance(value, bool), name, "True or False", value)
        found[name] = value
    words = given.get("custom_stop_words")
    _checked(
        words is None or (not isinstance(words, str) and all(isinstance(word, str) for word in words)),
        "custom_stop_words",
        "a list of texts",
        words,
    )
    found["custom_stop_words"] = None if words is None else list(words)
    least, most = (_or(given.get(f"{end}_ngram_length"), 3) for end in ("min", "max"))
    _checked(
        _counts(least) and _counts(most) and least <= most, "the lengths of n-grams", "1 or more, min to max", least
    )
    return {**found, "min_ngram_length": least, "max_ngram_length": most}


def tokenize(query: str, **options: Any) -> list[FtsToken]:
    """The terms of a text and their positions from the first of them, as an INVERTED index makes them.

    options: those of the index, such as base_tokenizer, language, stem, remove_stop_words.
    """
    unknown = sorted(set(options) - set(Analyzer.__dataclass_fields__))
    _checked(not unknown, "the options of tokenize", f"among {', '.join(Analyzer.__dataclass_fields__)}", unknown)
    tokens = analyzer_of(checked_analysis(options)).tokens(query)
    return [FtsToken(token.text, token.position - tokens[0].position) for token in tokens]


class _Filters:
    """Filters of tantivy for words, many in one call."""

    def __init__(self, filters: Sequence[Any]) -> None:
        tantivy = need("tantivy")
        self._filters = filters
        self._many = _built(tantivy.Tokenizer.regex(f"[^{_BETWEEN}]+"), filters)
        self._one = _built(tantivy.Tokenizer.raw(), filters)

    def __call__(self, words: Sequence[str]) -> list[str]:
        """What they make of the words, without those that they drop."""
        if not self._filters:
            return list(words)
        text = _BETWEEN.join(words)
        if text.count(_BETWEEN) >= len(words):  # A word contains what sets them apart.
            return [made for word in words for made in self._one.analyze(word)]
        return self._many.analyze(text)


def _built(tokenizer: Any, filters: Sequence[Any]) -> Any:
    builder = need("tantivy").TextAnalyzerBuilder(tokenizer)
    for step in filters:
        builder = builder.filter(step)
    return builder.build()


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _counts(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _checked(right: bool, name: str, expected: str, found: Any) -> None:
    if not right:
        raise InvalidInput(f"{name} is {found!r:.80}, expected {expected}", kind="index")


__all__ = ["STEMMED", "Analyzer", "Dictionary", "FtsToken", "analyzer_of", "checked_analysis", "tokenize"]
