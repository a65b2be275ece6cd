"""What of a text answers a query: the piece of it with most of the words asked for, and these marked."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from lance_like.errors import InvalidInput
from lance_like.index.text.analysis import Analyzer, analyzer_of, checked_analysis
from lance_like.index.text.edits import Spelling
from lance_like.index.text.queries import (
    BooleanQuery,
    BoostQuery,
    FullTextQuery,
    MatchQuery,
    Occur,
    PhrasePrefixQuery,
    PrefixQuery,
    query_of,
)


@dataclass(frozen=True, slots=True)
class Marking:
    """How words are marked.

    max_chars: of a snippet, without the marks; the words it begins and ends with are whole, unless one is longer.
    before, after: put around each word. escape: make the text safe in HTML, except for these.
    """

    max_chars: int = 150
    before: str = "<b>"
    after: str = "</b>"
    escape: bool = True

    def __post_init__(self) -> None:
        if self.max_chars < 1:
            raise InvalidInput(f"max_chars is {self.max_chars}, expected 1 or more", kind="query")

    def shown(self, part: bytes) -> str:
        """A part of a text as it is shown."""
        text = part.decode()
        return html.escape(text) if self.escape else text


def highlight(
    query: str | Mapping[str, Any] | FullTextQuery,
    texts: Iterable[str | None] | pa.Array | pa.ChunkedArray,
    *,
    column: str | None = None,
    marking: Marking | None = None,
    options: Mapping[str, Any] | None = None,
) -> list[str | None]:
    """Of each text the piece with most of the words that a query asks for, these marked.

    column: which the texts are of, None: words asked for in any. options: of the index, as `create_scalar_index` takes
    them, so that words are taken for one another as it does. Returns "" for a text with no word of the query, None for
    a null.
    """
    analyzer = analyzer_of(checked_analysis(options or {}))
    marking = marking or Marking()
    asked = query_of(query, [column or ""])
    listed: list[str | None] = texts.to_pylist() if isinstance(texts, (pa.Array, pa.ChunkedArray)) else list(texts)
    array = pa.array(listed, pa.large_string())
    words = analyzer.words(array)
    coded = words.texts().dictionary_encode()
    terms = analyzer.terms(coded.dictionary.to_pylist())
    wanted = _wanted(asked, column, analyzer, {term for term in terms if term is not None})
    hits = np.array([term in wanted for term in terms], bool)[np.asarray(coded.indices)]
    snippets: list[str | None] = []
    bounds = np.searchsorted(words.rows, np.arange(len(array) + 1))
    begins = np.zeros(len(array) + 1, np.int64)
    encoded = [None if text is None else text.encode() for text in listed]
    np.cumsum([len(text or b"") for text in encoded], out=begins[1:])
    for row, text in enumerate(encoded):
        if text is None:
            snippets.append(None)
            continue
        chosen = slice(bounds[row], bounds[row + 1])
        spans = np.stack([words.starts[chosen], words.ends[chosen]], axis=1) - begins[row]
        snippets.append(_snippet(text, spans.tolist(), hits[chosen].tolist(), marking))
    return snippets


def _wanted(query: FullTextQuery, column: str | None, analyzer: Analyzer, terms: set[str]) -> set[str]:
    """Those of some terms that a query asks for."""
    if column is not None and query.searched.isdisjoint([column]):
        return set()
    match query:
        case BoostQuery():
            return _wanted(query.positive, column, analyzer, terms)
        case BooleanQuery():
            parts = [*query.of(Occur.MUST), *query.of(Occur.SHOULD)]
            return set().union(*(_wanted(part, column, analyzer, terms) for part in parts))
        case PrefixQuery():
            return _continued(analyzer.beginning(query.query), terms)
        case PhrasePrefixQuery():
            *before, last = query.query.split() or [""]
            asked = {token.text for token in analyzer.tokens(" ".join(before))}
            return asked & terms | _continued(analyzer.beginning(last), terms)
    text: str = getattr(query, "query", "")
    asked = {token.text for token in analyzer.tokens(text)}
    if isinstance(query, MatchQuery) and query.fuzziness != 0:
        spelling = Spelling(pa.array(sorted(terms, key=str.encode), pa.large_string()))
        found = [
            spelling.similar(term, query.edits_of(term), query.prefix_length, query.max_expansions) for term in asked
        ]
        return {term for similar in found for _, term in similar}
    return asked & terms


def _continued(beginning: str, terms: set[str]) -> set[str]:
    return {term for term in terms if beginning and term.startswith(beginning)}


def _snippet(text: bytes, spans: Sequence[Sequence[int]], hits: Sequence[bool], marking: Marking) -> str:
    """The piece of a text with most of its marked words. spans: byte ranges of its words, ascending."""
    marked = [span for span, hit in zip(spans, hits, strict=True) if hit]
    if not marked:
        return ""
    first, last = _window(text, marked, marking.max_chars)
    start, end = _widened(text, spans, marked[first][0], marked[last][1], marking.max_chars)
    pieces, at = [], start
    for low, high in marked[first : last + 1]:
        if low >= at:  # Words may lie over each other: pairs of characters do.
            pieces += [marking.shown(text[at:low]), marking.before, marking.shown(text[low:high]), marking.after]
            at = high
    return "".join([*pieces, marking.shown(text[at:end])])


def _window(text: bytes, marked: Sequence[Sequence[int]], max_chars: int) -> tuple[int, int]:
    """The run of marked words, first and last, with most different words that fits; the first of several."""
    best, best_count, last = (0, 0), 0, 0
    for first in range(len(marked)):
        last = max(last, first)
        while last + 1 < len(marked) and _chars(text[marked[first][0] : marked[last + 1][1]]) <= max_chars:
            last += 1
        count = len({text[low:high].lower() for low, high in marked[first : last + 1]})
        if count > best_count:
            best, best_count = (first, last), count
    return best


def _widened(text: bytes, spans: Sequence[Sequence[int]], start: int, end: int, max_chars: int) -> tuple[int, int]:
    """A piece with whole words before and after it, as far as it stays below a length; all of a text that fits."""
    if _chars(text) <= max_chars:
        return 0, len(text)
    left = max_chars - _chars(text[start:end])
    for low, _ in reversed([span for span in spans if span[1] <= start]):
        if _chars(text[low:start]) > left // 2:
            break
        left -= _chars(text[low:start])
        start = low
    for _, high in [span for span in spans if span[0] >= end]:
        if _chars(text[end:high]) > left:
            break
        left -= _chars(text[end:high])
        end = high
    return start, end


def _chars(part: bytes) -> int:
    """Characters of UTF-8: bytes that continue one are none."""
    return len(part.decode(errors="replace"))


__all__ = ["Marking", "highlight"]
