"""Texts as sets of shingles (format_spec/index/minhash.md, "Shingles"): each is hashed to a u64, no text at a time.

A text is cut into tokens, and every run of some tokens is a shingle. Pure; nothing loops over texts or tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from string import ascii_letters, digits

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lance_like.typing_ import Bytes, Int64s

Hashes = npt.NDArray[np.uint64]

TOKENIZERS = ("simple", "whitespace", "character")
TOKEN_NBYTES = 32
_WORD = np.uint64(0x9E3779B97F4A7C15)
_STEP = np.uint64(0xBF58476D1CE4E5B9)
_FOLD = np.uint64(32)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
# Texts are hashed so many bytes at a time, or one at a time: what is made of them stays in the processor's cache.
_PIECE_NBYTES = 1 << 18

_bytes = np.arange(256)
_SPACE = _bytes > 0x20
_LETTERS = (_bytes >= 0x80) | np.isin(_bytes, list(f"{ascii_letters}{digits}".encode()))


@dataclass(frozen=True, slots=True)
class Shingles:
    """The shingles of n texts, repeats among them.

    hashes: uint64[m], text after text. starts: int64[n + 1], where those of each text begin.
    """

    hashes: Hashes
    starts: Int64s

    @property
    def counts(self) -> Int64s:
        """How many each text has: int64[n]."""
        return np.diff(self.starts)


def mixed(state: Hashes, word: Hashes, factor: np.uint64 = _STEP) -> Hashes:
    """One step of every hash here: `x = (state ^ word) * factor; x ^ (x >> 32)`, modulo 2^64."""
    found = (state ^ word) * factor
    return found ^ (found >> _FOLD)


def pieces(texts: pa.Array) -> list[pa.Array]:
    """Cut texts without nulls into runs that are small, or one text."""
    ends = _offsets(texts)
    cuts = [0]
    while cuts[-1] < len(texts):
        last = int(np.searchsorted(ends, ends[cuts[-1]] + _PIECE_NBYTES, side="right")) - 1
        cuts.append(max(last, cuts[-1] + 1))
    return [texts.slice(start, end - start) for start, end in pairwise(cuts)]


def shingles(texts: pa.Array, size: int, tokenizer: str, *, lower_case: bool = True) -> Shingles:
    """The shingles of texts.

    texts: large_string, no nulls. size: tokens in each; a text of fewer has one shingle of all its tokens.
    tokenizer: one of `TOKENIZERS`. Memory: some 40 bytes a byte of the texts; see `pieces`.
    """
    if lower_case:
        texts = pc.utf8_lower(texts)
    ends = _offsets(texts)
    data = np.frombuffer(texts.buffers()[2] or b"", np.uint8)[ends[0] : ends[-1]]
    ends = ends - ends[0]
    starts, stops = _characters(data) if tokenizer == "character" else _words(data, ends, tokenizer)
    return _runs(_hashed(data, starts, stops), np.searchsorted(starts, ends), size)


def _offsets(texts: pa.Array) -> Int64s:
    """Where texts begin and end in their bytes: int64[n + 1]."""
    return np.frombuffer(texts.buffers()[1], np.int64)[texts.offset : texts.offset + len(texts) + 1]


def _characters(data: Bytes) -> tuple[Int64s, Int64s]:
    """Every code point but blanks and controls of ASCII."""
    starts = np.flatnonzero((data & 0xC0) != 0x80)
    stops = np.append(starts[1:], len(data))[: len(starts)]
    seen = data[starts] > 0x20
    return starts[seen], stops[seen]


def _words(data: Bytes, ends: Int64s, tokenizer: str) -> tuple[Int64s, Int64s]:
    """Runs of bytes that belong to words, cut where a text ends and after every 32 bytes."""
    inside = (_LETTERS if tokenizer == "simple" else _SPACE)[data]
    edge = np.zeros(len(data) + 1, bool)
    edge[1:-1] = inside[1:] != inside[:-1]
    edge[ends] = True
    starts, stops = np.flatnonzero(inside & edge[:-1]), np.flatnonzero(inside & edge[1:]) + 1
    counts = -(-(stops - starts) // TOKEN_NBYTES)
    if len(counts) < counts.sum():
        number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        starts = np.repeat(starts, counts) + number * TOKEN_NBYTES
        stops = np.minimum(starts + TOKEN_NBYTES, np.repeat(stops, counts))
    return starts, stops


def _hashed(data: Bytes, starts: Int64s, stops: Int64s) -> Hashes:
    """The hash of each token: its length, then its bytes 8 at a time, the last ones filled with zeros."""
    lengths = stops - starts
    padded = np.concatenate([data, np.zeros(8, np.uint8)])
    words = np.ndarray((len(data) + 1,), "<u8", padded.data, strides=(1,))
    found = lengths.astype(np.uint64)
    for at in range(0, int(lengths.max(initial=0)), 8):
        longer = np.flatnonzero(lengths > at)
        unused = np.maximum(8 - (lengths[longer] - at), 0).astype(np.uint64) * np.uint64(8)
        found[longer] = mixed(found[longer], words[starts[longer] + at] & (_ALL >> unused), _WORD)
    return found


def _runs(tokens: Hashes, bounds: Int64s, size: int) -> Shingles:
    """The hash of every run of `size` tokens of each text. bounds: int64[n + 1], where the tokens of each begin."""
    tokens_each = np.diff(bounds)
    counts = np.maximum(tokens_each - (size - 1), np.minimum(tokens_each, 1))
    starts = np.concatenate([[0], np.cumsum(counts)])
    firsts = np.arange(starts[-1]) + np.repeat(bounds[:-1] - starts[:-1], counts)
    room = np.repeat(bounds[1:], counts) - firsts
    found = np.zeros(len(firsts), np.uint64)
    for place in range(size):
        there = np.flatnonzero(room > place)
        found[there] = mixed(found[there], tokens[firsts[there] + place])
    return Shingles(found, starts)


__all__ = ["TOKENIZERS", "TOKEN_NBYTES", "Hashes", "Shingles", "mixed", "pieces", "shingles"]
