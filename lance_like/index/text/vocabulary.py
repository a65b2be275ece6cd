"""The terms of a segment: found by their fences, a thousand read at a time.

What was read is kept, up to a bound; all terms are read only for misspelt words.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from lance_like._lazy import cached
from lance_like.errors import Corrupt
from lance_like.index.base import FileReads, SegmentReads
from lance_like.index.text.columns import FENCES, TERMS
from lance_like.index.text.edits import Spelling
from lance_like.typing_ import Int64s

FENCE = 256
# Terms that are read together: reading a few takes as long, four times as many half as long again.
_BLOCK = 4 * FENCE
_MOST_BLOCKS = 256
_TERM_NBYTES = 50


class Entry(NamedTuple):
    """Where a term is. size: rows that hold it. postings, places: half-open ranges of bytes in the files."""

    size: int
    postings: tuple[int, int]
    places: tuple[int, int]


class _Block(NamedTuple):
    """Consecutive terms, in their order. begins: int64[2, n + 1] where their postings and places begin."""

    terms: pa.Array
    sizes: Int64s
    begins: Int64s

    def find(self, term: str) -> Entry | None:
        # A list of all would take longer to make than hundreds of terms to be found.
        at = bisect_left(range(len(self.terms)), term, key=self._term)
        if at == len(self.terms) or self._term(at) != term:
            return None
        (start, end), (first, stop) = self.begins[:, at : at + 2].tolist()
        return Entry(int(self.sizes[at]), (start, end), (first, stop))

    def _term(self, at: int) -> str:
        return self.terms[at].as_py()


class Vocabulary:
    """Terms to entries. files: of the segment. size: terms. rows: of the segment. with_places: there is that file."""

    def __init__(self, files: SegmentReads, size: int, rows: int, *, with_places: bool) -> None:
        self._files, self._size, self._rows, self._with_places = files, size, rows, with_places
        self._blocks: dict[int, _Block] = {}

    @property
    def nbytes(self) -> int:
        """In memory, by estimate."""
        spelling = self.__dict__.get("_spelling")
        return _TERM_NBYTES * _BLOCK * len(self._blocks) + (spelling.nbytes if spelling is not None else 0)

    def entries(self, terms: Iterable[str]) -> dict[str, Entry]:
        """Those of the terms that there are. Cost: one round for blocks that are not kept."""
        if not self._size:
            return {}
        places = {term: max(bisect_right(self._fences, term.encode()) - 1, 0) * FENCE // _BLOCK for term in terms}
        blocks = self._read({*places.values()})
        found = {term: blocks[place].find(term) for term, place in places.items()}
        return {term: entry for term, entry in found.items() if entry is not None}

    def continued(self, beginning: str, limit: int | None) -> list[str]:
        """The terms that begin with a text, in their order, limit or all."""
        start = beginning.encode()
        first = max(bisect_right(self._fences, start) - 1, 0) * FENCE
        end = bisect_left(self._fences, start + b"\xff") * FENCE
        if limit is not None:
            end = min(end, first + FENCE + limit)
        if not self._size:
            return []
        [terms] = self._terms.columns(["term"], first, min(end, self._size))
        return [term for term in terms.to_pylist() if term.startswith(beginning)][:limit]

    def similar(self, term: str, edits: int, same: int, limit: int) -> list[tuple[int, str]]:
        """The terms within some edits of another, nearest first, then by their bytes, and how far."""
        return self._spelling.similar(term, edits, same, limit)

    def prewarm(self) -> None:
        """Read the fences."""
        _ = self._fences

    @property
    def _terms(self) -> FileReads:
        return self._files.file("terms", TERMS)

    @cached
    def _fences(self) -> list[bytes]:
        [terms] = self._files.file("fences", FENCES).columns(["term"])
        if len(terms) != -(-self._size // FENCE) or terms.null_count or self._terms.rows != self._size:
            raise Corrupt(f"{len(terms)} fences of {self._size} terms, one of each {FENCE} expected", kind="index")
        return terms.cast(pa.binary()).to_pylist()

    @cached
    def _spelling(self) -> Spelling:
        [terms] = self._terms.columns(["term"])
        return Spelling(terms)

    def _read(self, wanted: set[int]) -> dict[int, _Block]:
        """Blocks of terms by number."""
        found = {place: block for place in wanted if (block := self._blocks.get(place)) is not None}
        missing = sorted(wanted - found.keys())
        if not missing:
            return found
        # With the first term behind them, which says where the last one ends.
        spans = [(place * _BLOCK, min((place + 1) * _BLOCK + 1, self._size)) for place in missing]
        columns = self._terms.spans(TERMS.names, spans)
        made = {place: self._block(place, read) for place, read in zip(missing, columns, strict=True)}
        if len(self._blocks) + len(made) > _MOST_BLOCKS:
            self._blocks.clear()
        self._blocks.update(made)
        return {**found, **made}

    def _block(self, place: int, columns: list[pa.Array]) -> _Block:
        ends = self._nbytes("postings"), self._nbytes("places")
        is_last = (place + 1) * _BLOCK >= self._size
        sizes, begins = columns[1].to_numpy().astype(np.int64), np.empty((2, len(columns[0]) + is_last), np.int64)
        for own, column, end in zip(begins, columns[2:], ends, strict=True):
            own[-1] = end
            own[: len(column)] = column.to_numpy()
        past = begins[0, -1] > ends[0] or begins[1, -1] > ends[1]
        if past or (begins[:, 1:] < begins[:, :-1]).any() or sizes.min() < 1 or sizes.max() > self._rows:
            raise Corrupt("the entries of terms are out of order or out of range", kind="index")
        return _Block(columns[0][: begins.shape[1] - 1], sizes, begins)

    def _nbytes(self, name: str) -> int:
        """Bytes in a file of bytes; of places there may be none."""
        return self._files.file(name).rows if name == "postings" or self._with_places else 0


__all__ = ["FENCE", "Entry", "Vocabulary"]
