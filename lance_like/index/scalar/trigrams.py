"""Trigrams of texts, and those that a text must have to match a pattern (format_spec/index/ngram.md).

A trigram is three neighbouring bytes of the folded text as UTF-8: the first one times 2^16, the second times 2^8, and
the third. What patterns require is found with Python's parser of regular expressions, on patterns that mean the same in
RE2; of others nothing is known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np

from lance_like.index.questions import Contains, Like, Matches, Question, StartsWith
from lance_like.index.scalar.folding import folded, folded_text
from lance_like.index.scalar.keys import Uint32s
from lance_like.typing_ import Bytes, Int64s

SIZE = 3
# A pattern that needs more alternatives than this is not worth the reads.
_MOST_PARTS = 64


@dataclass(frozen=True, slots=True)
class AllOf:
    """Texts that have all trigrams, and meet all other conditions."""

    trigrams: frozenset[int]
    parts: tuple[Required, ...] = ()


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Texts that meet one of some conditions."""

    parts: tuple[Required, ...]


Required: TypeAlias = AllOf | AnyOf


def trigrams_of(data: Bytes, offsets: Int64s, ordinals: Uint32s) -> tuple[Uint32s, Uint32s]:
    """The trigrams of texts, and the ordinal of the text of each.

    data: their bytes as UTF-8, end to end; offsets: int64[n + 1], from 0 on; ordinals: of the texts.
    """
    data, offsets = folded(data, offsets)
    wide = data.astype(np.uint32)
    trigrams = wide[:-2] << np.uint32(16) | wide[1:-1] << np.uint32(8) | wide[2:]
    ordinals = np.repeat(ordinals, np.diff(offsets))
    inside = ordinals[SIZE - 1 :] == ordinals[: 1 - SIZE]
    return trigrams[inside], ordinals[: 1 - SIZE][inside]


def required_by(question: Question) -> Required | None:
    """What a text must have to match; None when that is not known, or nothing."""
    match question:
        case Contains(text) | StartsWith(text):
            return _all_of([text])
        case Like(pattern, escape):
            return _all_of(_literals_of_like(pattern, escape))
        case Matches(pattern):
            return _required_by_regex(pattern)
        case _:
            return None


def _all_of(texts: Iterable[str], parts: Iterable[Required] = ()) -> Required | None:
    found: set[int] = set()
    for text in texts:
        data = folded_text(text)
        found.update(int.from_bytes(data[i : i + SIZE], "big") for i in range(len(data) - SIZE + 1))
    conditions = tuple(parts)
    if not found:
        return conditions[0] if len(conditions) == 1 else AllOf(frozenset(), conditions) if conditions else None
    return AllOf(frozenset(found), conditions)


def _literals_of_like(pattern: str, escape: str | None) -> Iterator[str]:
    """The texts between the wildcards of a pattern."""
    literal, characters = [], iter(pattern)
    for character in characters:
        if character == escape:
            literal.append(next(characters, ""))
        elif character in "%_":
            yield "".join(literal)
            literal = []
        else:
            literal.append(character)
    yield "".join(literal)


# What Python and RE2 read differently without one of them refusing it: classes of characters in brackets, comments, and
# white space in patterns that are written to ignore it. And what Python warns of: brackets that may come to mean more,
# flags that are not the first.
_OTHERWISE = re.compile(r"\[:|\(\?#|\(\?[a-zA-Z]*x|\[\^?\[|--|&&|~~|\|\||(?s:.)\(\?[a-zA-Z]+\)")
# Python's parser is private to it, but no package that is kept up gives the tree of a pattern: google-re2 keeps to
# itself what its filters are made of, and others call this parser too. So nothing depends on it: where it is missing,
# refuses a pattern or gives a tree of another shape, no trigram is required, and all rows are looked at.
_PARSERS = ("re._parser", "sre_parse")  # the second before Python 3.11
_UNREADABLE = (re.error, Warning, ValueError, TypeError, AttributeError, LookupError, OverflowError, RecursionError)


@lru_cache(maxsize=256)
def _required_by_regex(pattern: str) -> Required | None:
    if _OTHERWISE.search(pattern):
        return None
    with suppress(*_UNREADABLE, ImportError):
        return _required_by_parsed(_parse(pattern))
    return None


def _parse(pattern: str) -> Any:
    """The tree of a pattern. Raises ImportError, one of `_UNREADABLE`."""
    for name in _PARSERS:
        with suppress(ImportError):
            parser: Any = import_module(name)
            return parser.parse(pattern)
    raise ImportError("Python has no parser of patterns")


def _required_by_parsed(parsed: Any) -> Required | None:
    texts, parts = _walk(parsed)
    return _all_of(texts, parts)


def _walk(parsed: Any) -> tuple[list[str], list[Required]]:
    """The literals of a sequence, end to end where nothing is between them, and its other conditions."""
    texts, parts = [""], []
    for name, value in ((str(op), value) for op, value in parsed):
        match name:
            case "LITERAL":
                texts[-1] += chr(value)
            case "AT":
                pass  # takes no character
            case "SUBPATTERN":
                inner_texts, inner_parts = _walk(value[-1])
                texts[-1] += inner_texts[0]
                texts += inner_texts[1:]
                parts += inner_parts
            case "MAX_REPEAT" | "MIN_REPEAT" if value[0] > 0:
                inner_texts, inner_parts = _walk(value[2])
                # One of its turns begins here, and one ends before what follows.
                texts[-1] += inner_texts[0]
                texts += [*inner_texts[1:], inner_texts[-1]]
                parts += inner_parts
            case "BRANCH":
                parts += _branches(value[1])
                texts.append("")
            case _:
                texts.append("")
    return texts, parts


def _branches(branches: list[Any]) -> list[Required]:
    """What one of several sequences requires, if each requires something."""
    if len(branches) > _MOST_PARTS:
        return []
    found = [required for branch in branches if (required := _required_by_parsed(branch)) is not None]
    return [AnyOf(tuple(found))] if len(found) == len(branches) else []


__all__ = ["AllOf", "AnyOf", "Required", "required_by", "trigrams_of"]
