"""The text of SQL statements as bytes that know where the caller wrote them, and their words. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lance_like.errors import InvalidInput
from lance_like.typing_ import Int64s

_NOWHERE = -1
# DuckDB 1 counts what follows a token up to the next one, comments too, as part of it.
_FIRST = re.compile(rb"""[A-Za-z]?'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(\w*)\$.*?\$\1\$|(?:(?!--|/\*)\S)+""", re.DOTALL)


@dataclass(frozen=True, eq=False)
class Text:
    """SQL, perhaps put together from parts of what the caller wrote and words between them.

    data: UTF-8. written: what the caller wrote, whole. origins: int64[len(data)], the place of each byte in it, or -1.
    """

    data: bytes
    written: bytes
    origins: Int64s

    @classmethod
    def of(cls, written: str) -> Text:
        """What the caller wrote. Raises InvalidInput for what is no text."""
        if not isinstance(written, str):
            raise InvalidInput(f"a statement is text, not a {type(written).__name__}", kind="sql")
        data = written.encode()
        return cls(data, data, np.arange(len(data)))

    @classmethod
    def words(cls, words: str) -> Text:
        """What the caller did not write."""
        data = words.encode()
        return cls(data, b"", np.full(len(data), _NOWHERE))

    def __str__(self) -> str:
        return self.data.decode()

    def __add__(self, other: Text | str) -> Text:
        other = other if isinstance(other, Text) else Text.words(other)
        origins = np.concatenate([self.origins, other.origins])
        return Text(self.data + other.data, self.written or other.written, origins)

    def __radd__(self, other: str) -> Text:
        return Text.words(other) + self

    def cut(self, start: int, end: int) -> Text:
        """The bytes start … end."""
        return Text(self.data[start:end], self.written, self.origins[start:end])

    def replaced(self, replacements: Sequence[tuple[int, int, str]]) -> Text:
        """The text with other words in the place of some parts: start, end and words of each; none overlap."""
        made, done = Text.words(""), 0
        for start, end, words in sorted(replacements):
            made, done = made + self.cut(done, start) + words, end
        return made + self.cut(done, len(self.data))

    def origin(self, place: int) -> int | None:
        """Where the caller wrote the byte at a place, or the nearest byte before it that the caller wrote."""
        known = np.flatnonzero(self.origins[: place + 1] != _NOWHERE)
        return int(self.origins[known[-1]]) if len(known) else None


@dataclass(frozen=True, slots=True)
class Word:
    """A token of a statement, without comments and spaces. start, end: its bytes in the text.

    kind: as DuckDB names it: "keyword", "identifier", "operator", "string_const", "numeric_const".
    """

    start: int
    end: int
    kind: str
    text: str

    def is_(self, *keywords: str) -> bool:
        """Is it one of some words or signs, given in capitals?"""
        return self.text.upper() in keywords

    @property
    def name(self) -> str:
        """What it names: without quotes."""
        mark = self.text[:1]
        return self.text[1:-1].replace(mark * 2, mark) if mark in ("'", '"') else self.text


def words_of(data: bytes, tokens: Sequence[tuple[int, str]]) -> list[Word]:
    """The words of a text. tokens: start and kind of each token, as DuckDB finds them."""
    ends = [*(start for start, _ in tokens), len(data)][1:]
    words = []
    for (start, kind), end in zip(tokens, ends, strict=True):
        found = None if kind == "comment" else _FIRST.match(data, start, end)
        if found:
            words.append(Word(start, found.end(), kind, found[0].decode(errors="replace")))
    return words


_OPEN = {"(": ")", "[": "]", "{": "}", "CASE": "END"}


def closing(words: Sequence[Word], at: int) -> int:
    """The place of the word that closes the bracket, or CASE, at a place among the words."""
    depth = 0
    for place in range(at, len(words)):
        word = words[place].text.upper()
        depth += (word in _OPEN) - (word in _OPEN.values())
        if depth == 0:
            return place
    return len(words) - 1


def outside(words: Sequence[Word], start: int, *keywords: str) -> int:
    """The place of the first of some keywords from start on that stands in no bracket; len(words) without one."""
    place = start
    while place < len(words):
        word = words[place]
        # IS DISTINCT FROM is no clause
        if word.is_(*keywords) and word.text[0] not in "\"'" and not (place and words[place - 1].is_("DISTINCT")):
            return place
        place = closing(words, place) + 1 if word.text.upper() in _OPEN else place + 1
    return len(words)


def parts(words: Sequence[Word], start: int, end: int) -> list[tuple[int, int]]:
    """The parts between commas that stand in no bracket: start and end of each, places of words."""
    found = []
    while start < end:
        stop = min(outside(words, start, ","), end)
        found.append((start, stop))
        start = stop + 1
    return found


__all__ = ["Text", "Word", "closing", "outside", "parts", "words_of"]
