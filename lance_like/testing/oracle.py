"""The naive answer to every question about a value: what an index must agree with. One row at a time, in Python."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from lance_like.index.questions import (
    Contains,
    HasAll,
    HasAny,
    IsNull,
    Like,
    Matches,
    OneOf,
    Question,
    Range,
    StartsWith,
)
from lance_like.testing.values import Random, comparable, is_list, some_of

_PATTERNS = (
    "a",
    "ab",
    "kel",
    "Stra.e",
    "(?i)straße",
    "the end$",
    "x{3,}",
    "(café|kelvin) ?",
    "日本",
    "[ab]c+d*",
    "a.*b",
    "",
)
_LIKES = ("%ab%", "a%", "%KELVIN%", "_tra%", "%日本語%", "x%x", "a\\%b%", "", "%", "%é", "straße", "%the%end%")


def matching(question: Question, values: Sequence[Any]) -> set[int]:
    """The ordinals of the values that match. values: made `comparable`."""
    if isinstance(question, IsNull):
        return {i for i, value in enumerate(values) if value is None}
    test = _test(question)
    return {i for i, value in enumerate(values) if value is not None and test(value)}


def questions_about(values: pa.Array, random: Random) -> Iterator[Question]:
    """Questions of every kind that fit values: about some that are there, some that are not, and edges."""
    yield IsNull()
    if is_list(values.type):
        yield from _about_lists(values, random)
        return
    present = some_of(values, np.array(_places_of_values(values), np.int64))
    if len(present):
        yield from _about_order(present, random)
    if _is_text(values.type):
        yield from _about_texts(comparable(present), random)


def _places_of_values(values: pa.Array) -> list[int]:
    return [i for i, value in enumerate(comparable(values)) if value is not None]


def _about_order(present: pa.Array, random: Random) -> Iterator[Question]:
    for count in (1, 1, 2, 7, 60):
        yield OneOf(some_of(present, random.integers(0, len(present), count)))
    for _ in range(8):
        low, high = (present[int(i)] for i in random.integers(0, len(present), 2))
        for ends in ((True, True), (False, False), (True, False), (False, True)):
            yield Range(low, high, *ends)
        yield Range(low, None, bool(random.integers(2)))
        yield Range(None, high, True, bool(random.integers(2)))
    yield Range(None, None)


def _about_texts(texts: list[bytes], random: Random) -> Iterator[Question]:
    parts = ["a", "ab", "the", "KELVIN", "日本語", "é", "straße", "no such text at all", "\x00"]
    for i in random.integers(0, max(1, len(texts)), 20 if texts else 0).tolist():
        text = texts[i].decode()
        start = int(random.integers(0, max(1, len(text))))
        parts.append(text[start : start + int(random.integers(1, 6))])
    for part in filter(None, parts):
        yield StartsWith(part)
        yield Contains(part)
        literal = part.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        yield Like(f"%{literal}%", "\\")
        yield Like(f"{literal}_%", "\\", ignore_case=True)
        yield Matches(re.escape(part), whole=bool(random.integers(2)))
        yield Matches(f"(?i){re.escape(part)}")
    for pattern in _LIKES:
        yield Like(pattern, "\\")
        yield Like(pattern, "\\", ignore_case=True)
    for pattern in _PATTERNS:
        yield Matches(pattern)
        yield Matches(pattern, whole=True)


def _about_lists(values: pa.Array, random: Random) -> Iterator[Question]:
    lists = [scalar.values for scalar in values if scalar.values is not None and len(scalar.values)]
    items = [item for array in lists for item in array if item.is_valid]
    if not items:
        return
    for count in (1, 1, 2, 2, 3, 10):
        for _ in range(4):
            chosen = [items[int(i)] for i in random.integers(0, len(items), count)]
            asked = pa.array([item.as_py() for item in chosen], _plain_type(values.type.value_type))
            yield HasAny(asked)
            yield HasAll(asked)
    for array in lists[:5]:
        if array.null_count < len(array):
            yield HasAll(some_of(array, np.array(_places_of_values(array))))


def _plain_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _test(question: Question) -> Any:
    """A function that tells whether a value, made `comparable`, matches."""
    match question:
        case OneOf(values):
            wanted = set(comparable(values))
            return lambda value: value in wanted
        case HasAny(values):
            wanted = set(comparable(values))
            return lambda items: not wanted.isdisjoint(items)
        case HasAll(values):
            wanted = set(comparable(values))
            return lambda items: wanted <= set(items)
        case Range():
            return _range_test(question)
        case StartsWith(prefix):
            return lambda text: text.startswith(prefix.encode())
        case Contains(part):
            return lambda text: part.encode() in text
        case Like(pattern, escape, ignore_case):
            return _regex_test(_regex_of_like(pattern, escape), whole=True, ignore_case=ignore_case)
        case Matches(pattern, whole):
            return _regex_test(pattern, whole=whole, ignore_case=False)
        case _:
            raise TypeError(f"no such question: {question}")


def _range_test(question: Range) -> Any:
    low, high = (None if end is None else comparable(pa.repeat(end, 1))[0] for end in (question.low, question.high))

    def test(value: Any) -> bool:
        above = low is None or value > low or (question.low_included and value == low)
        return above and (high is None or value < high or (question.high_included and value == high))

    return test


def _regex_test(pattern: str, *, whole: bool, ignore_case: bool) -> Any:
    found = re.compile(pattern, re.IGNORECASE | re.DOTALL if ignore_case else re.DOTALL)
    search = found.fullmatch if whole else found.search
    return lambda text: search(text.decode()) is not None


def _regex_of_like(pattern: str, escape: str | None) -> str:
    parts, characters = [], iter(pattern)
    for character in characters:
        if character == escape:
            parts.append(re.escape(next(characters, "")))
        else:
            parts.append({"%": ".*", "_": "."}.get(character, re.escape(character)))
    return "".join(parts)


def _is_text(kind: pa.DataType) -> bool:
    kind = _plain_type(kind)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


__all__ = ["matching", "questions_about"]
