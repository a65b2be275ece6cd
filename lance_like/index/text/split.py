"""Where the words of many texts are, found by whole arrays: what the tokenizers of tantivy find one text at a time.

A text is a run of bytes of UTF-8 in one buffer. What a byte belongs to is looked up in a table; only the characters
beyond ASCII are decoded. Which of those are letters or digits, tantivy is asked once for each (a test holds that the
words are those of its analyzers).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from lance_like._lazy import need
from lance_like.kernels import gather
from lance_like.ranges import lengths_to_offsets
from lance_like.typing_ import Bytes, Int64s

_APART, _WORD, _DENSE = 0, 1, 2
"""What a character is: between words, in a word, or of a script that does not set its words apart."""

_SPACES = b" \t\n\x0c\r"
_DENSE_RANGES = (
    (0x1100, 0x1200),
    (0x2E80, 0x3040),
    (0x3040, 0x3100),
    (0x3100, 0x3300),
    (0x3400, 0x4DC0),
    (0x4E00, 0xA000),
    (0xA960, 0xA980),
    (0xAC00, 0xD800),
    (0xF900, 0xFB00),
    (0xFF66, 0xFFDD),
    (0x1B000, 0x1B170),
    (0x20000, 0x32000),
)
"""Half-open ranges of Han, Kana and Hangul."""


@dataclass(frozen=True, slots=True)
class Words:
    """Words of texts, those of a text together, the texts in order.

    data: the buffer. starts, ends: int64[n], byte ranges in it. rows: int64[n], the number of the text.
    places: int64[n], position of the word in its text, ascending in each.
    """

    data: Bytes
    starts: Int64s
    ends: Int64s
    rows: Int64s
    places: Int64s

    def __len__(self) -> int:
        return len(self.starts)

    def chosen(self, mask: np.ndarray) -> Words:
        """Some of them. mask: bool[n]."""
        return replace(
            self,
            starts=self.starts[mask],
            ends=self.ends[mask],
            rows=self.rows[mask],
            places=self.places[mask],
        )

    def texts(self) -> pa.LargeStringArray:
        """The words themselves."""
        offsets = lengths_to_offsets(self.ends - self.starts)
        data = np.empty(int(offsets[-1]), np.uint8)
        gather(self.data, self.starts, self.ends, data)
        return pa.LargeStringArray.from_buffers(len(self), pa.py_buffer(offsets), pa.py_buffer(data))


Split = Callable[[Bytes, Int64s], Words]
"""From a buffer and int64[n + 1] offsets of n texts in it to their words."""


def words_of(texts: pa.Array, split: Split, *, lower: bool) -> Words:
    """The words of texts; a null has none. lower: make ASCII letters small first, which moves no byte."""
    texts = texts.cast(pa.large_string())
    _, offsets, data = texts.buffers()
    found = np.frombuffer(offsets, np.int64, len(texts) + 1, texts.offset * 8) if offsets else np.zeros(1, np.int64)
    first, last = int(found[0]), int(found[-1])
    buffer = np.frombuffer(data, np.uint8, last - first, first) if data and last > first else np.zeros(0, np.uint8)
    if texts.null_count:
        # The bytes under a null may be anything.
        lengths = np.diff(found) * np.asarray(texts.is_valid())
        buffer = buffer[np.repeat(np.asarray(texts.is_valid()), np.diff(found))]
        found = np.concatenate(([0], np.cumsum(lengths)))
        first = 0
    return split(_translated(buffer, _LOWER) if lower else buffer, found - first)


def split_simple(data: Bytes, offsets: Int64s) -> Words:
    """Runs of letters and digits, as tantivy's SimpleTokenizer."""
    return _runs(data, offsets, _classes(data, dense=False) != _APART)


def split_spaces(data: Bytes, offsets: Int64s) -> Words:
    """What stands between spaces of ASCII, as tantivy's WhitespaceTokenizer."""
    return _runs(data, offsets, _translated(data, _UNSPACED).view(bool))


def split_nothing(data: Bytes, offsets: Int64s) -> Words:
    """Each text that is not empty is one word."""
    rows = np.flatnonzero(np.diff(offsets))
    return Words(data, offsets[rows], offsets[rows + 1], rows, np.zeros(len(rows), np.int64))


def split_dense(data: Bytes, offsets: Int64s) -> Words:
    """Runs of letters and digits, but each two neighbours in a run of Han, Kana or Hangul; a lone one by itself."""
    classes = _classes(data, dense=True)
    words = _runs(data, offsets, classes == _WORD)
    runs = _runs(data, offsets, classes == _DENSE)
    if not len(runs):
        return words
    firsts = np.flatnonzero((classes == _DENSE) & ((data & 0xC0) != 0x80))
    run = np.searchsorted(runs.starts, firsts, side="right") - 1
    last = np.append(run[1:] != run[:-1], True)
    alone = last & np.insert(last[:-1], 0, True)
    after_next = np.append(firsts[2:], [len(data)] * min(len(firsts), 2))[: len(firsts)]
    ends = np.where(alone, runs.ends[run], np.minimum(after_next, runs.ends[run]))
    kept = ~last | alone
    starts = np.concatenate((words.starts, firsts[kept]))
    order = np.argsort(starts, kind="stable")
    return _placed(data, offsets, starts[order], np.concatenate((words.ends, ends[kept]))[order])


def split_grams(least: int, most: int, *, at_start: bool) -> Split:
    """All runs of `least` to `most` characters, as tantivy's NgramTokenizer; their place is that of the first one.

    at_start: only those at the beginning of the text.
    """

    def split(data: Bytes, offsets: Int64s) -> Words:
        firsts = np.append(np.flatnonzero((data & 0xC0) != 0x80), len(data))
        bounds = np.searchsorted(firsts, offsets)
        rows = np.repeat(np.arange(len(offsets) - 1), np.diff(bounds))
        places = np.arange(len(firsts) - 1) - bounds[rows]
        left = bounds[rows + 1] - np.arange(len(firsts) - 1)
        found = []
        for length in range(least, most + 1):
            begins = np.flatnonzero((left >= length) & (places == 0 if at_start else True))
            found.append((begins, firsts[begins], firsts[begins + length]))
        begins, starts, ends = (np.concatenate(part) for part in zip(*found, strict=True))
        order = np.argsort(begins, kind="stable")
        begins = begins[order]
        return Words(data, starts[order], ends[order], rows[begins], places[begins])

    return split


def _runs(data: Bytes, offsets: Int64s, inside: np.ndarray) -> Words:
    """Runs of bytes inside, each in one text. inside: bool[len(data)]."""
    filled = np.flatnonzero(np.diff(offsets))
    begins, lasts = offsets[filled], offsets[filled + 1] - 1
    starting = inside.copy()
    starting[1:] &= ~inside[:-1]
    starting[begins] = inside[begins]
    ending = inside.copy()
    ending[:-1] &= ~inside[1:]
    ending[lasts] = inside[lasts]
    return _placed(data, offsets, np.flatnonzero(starting), np.flatnonzero(ending) + 1)


def _placed(data: Bytes, offsets: Int64s, starts: Int64s, ends: Int64s) -> Words:
    bounds = np.searchsorted(starts, offsets)
    counts = np.diff(bounds)
    rows = np.repeat(np.arange(len(counts)), counts)
    return Words(data, starts, ends, rows, np.arange(len(starts)) - bounds[rows])


def _classes(data: Bytes, *, dense: bool) -> Bytes:
    """What the character of each byte is."""
    classes = _translated(data, _ASCII)
    leads = np.flatnonzero(data >= 0xC0)
    if not len(leads):
        return classes
    points, lengths = _code_points(data, leads)
    found = _class_of_points(points, dense=dense)
    classes[np.repeat(leads, lengths) + _counting(lengths)] = np.repeat(found, lengths)
    return classes


def _code_points(data: Bytes, leads: Int64s) -> tuple[np.ndarray, Int64s]:
    """uint32[n] code points of characters of two bytes or more, and int64[n] their lengths."""
    first = data[leads].astype(np.uint32)
    lengths = 2 + (first >= 0xE0).astype(np.int64) + (first >= 0xF0)
    points = first & np.array([0, 0, 0x1F, 0x0F, 0x07], np.uint32)[lengths]
    for at in (1, 2, 3):
        longer = lengths > at
        points[longer] = (points[longer] << 6) | (data[leads[longer] + at] & 0x3F)
    return points, lengths


def _counting(lengths: Int64s) -> Int64s:
    """0, 1, ... up to each length, one after the other."""
    ends = np.cumsum(lengths)
    return np.arange(int(ends[-1])) - np.repeat(ends - lengths, lengths)


def _class_of_points(points: np.ndarray, *, dense: bool) -> Bytes:
    distinct = np.flatnonzero(np.bincount(points, minlength=1)).astype(np.uint32)
    unknown = distinct[_LETTERS[distinct] == 0]
    if len(unknown):
        # Told apart by a space, a letter or digit comes back as a word, and anything else not at all.
        text = " ".join(map(chr, unknown.tolist()))
        letters = {ord(word) for word in _simple().analyze(text)}
        _LETTERS[unknown] = [2 if point in letters else 1 for point in unknown.tolist()]
    classes = (_LETTERS[points] == 2).astype(np.uint8)
    if dense:
        for low, high in _DENSE_RANGES:
            classes[(points >= low) & (points < high) & (classes == _WORD)] = _DENSE
    return classes


def _simple() -> Any:
    tantivy = need("tantivy")
    return tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple()).build()


def _translated(data: Bytes, table: Bytes) -> Bytes:
    """What a table of 256 says of each byte; may be changed. Cost: a third of indexing by an array."""
    return np.frombuffer(bytearray(data).translate(table.tobytes()), np.uint8)


def _table(letters: bytes) -> np.ndarray:
    table = np.zeros(256, bool)
    table[np.frombuffer(letters, np.uint8)] = True
    return table


_ALPHABET = bytes(range(ord("a"), ord("z") + 1))
_ASCII = _table(_ALPHABET + _ALPHABET.upper() + b"0123456789").astype(np.uint8)
_UNSPACED = (~_table(_SPACES)).astype(np.uint8)
_LOWER = np.where(_table(_ALPHABET.upper()), np.arange(256) + 32, np.arange(256)).astype(np.uint8)
_LETTERS = np.zeros(0x110000, np.uint8)
"""Of each code point beyond ASCII: not asked yet, no letter or digit, or one. Answers never change, so no lock."""

__all__ = ["Split", "Words", "split_dense", "split_grams", "split_nothing", "split_simple", "split_spaces", "words_of"]
