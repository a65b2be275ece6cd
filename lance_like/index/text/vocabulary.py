"""The terms of a segment: found by their fences, some hundred read at a time.

What was looked for is kept, up to a bound; all terms are read only for misspelt words.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from lance_like._lazy import cached
from lance_like.errors import Corrupt
from lance_like.index.base import SegmentReads
from lance_like.index.text.edits import Spelling

FENCE = 256
_MOST_KEPT = 1 << 16
_ENTRY_NBYTES = 300


class Entry(NamedTuple):
    """Where a term is. size: rows that hold it. postings, places: half-open ranges of bytes in the files."""

    size: int
    postings: tuple[int, int]
    places: tuple[int, int]


class Vocabulary:
    """Terms to entries. files: of the segment. size: terms. rows: of the segment. with_places: there is that file."""

    def __init__(self, files: SegmentReads, size: int, rows: int, *, with_places: bool) -> None:
        self._files, self._size, self._rows, self._with_places = files, size, rows, with_places
        self._kept: dict[str, Entry | None] = {}

    @property
    def nbytes(self) -> int:
        """In memory, by estimate."""
        spelling = self.__dict__.get("_spelling")
        return _ENTRY_NBYTES * len(self._kept) + (spelling.nbytes if spelling is not None else 0)

    def entries(self, terms: Iterable[str]) -> dict[str, Entry]:
        """Those of the terms that there are. Cost: one round for all that were not asked for lately."""
        wanted = list(terms)
        missing = [term for term in wanted if term not in self._kept]
        if missing:
            self._read(missing)
        found = {term: self._kept.get(term) for term in wanted}
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
        [terms] = self._files.file("terms").columns(["term"], first, min(end, self._size))
        return [term for term in terms.to_pylist() if term.startswith(beginning)][:limit]

    def similar(self, term: str, edits: int, same: int, limit: int) -> list[tuple[int, str]]:
        """The terms within some edits of another, nearest first, then by their bytes, and how far."""
        return self._spelling.similar(term, edits, same, limit)

    def prewarm(self) -> None:
        """Read the fences."""
        _ = self._fences

    @cached
    def _fences(self) -> list[bytes]:
        [terms] = self._files.file("fences").columns(["term"])
        if len(terms) != -(-self._size // FENCE) or self._files.file("terms").rows != self._size:
            raise Corrupt(f"{len(terms)} fences of {self._size} terms, one of each {FENCE} expected", kind="index")
        return [term.encode() for term in terms.to_pylist()]

    @cached
    def _spelling(self) -> Spelling:
        [terms] = self._files.file("terms").columns(["term"])
        return Spelling(terms)

    def _read(self, terms: Sequence[str]) -> None:
        groups = sorted({max(bisect_right(self._fences, term.encode()) - 1, 0) for term in terms}) if self._size else []
        spans = [(group * FENCE, min((group + 1) * FENCE + 1, self._size)) for group in groups]
        wanted = set(terms)
        if len(self._kept) + len(wanted) > _MOST_KEPT:
            self._kept.clear()
        names = ["term", "rows", "postings", "places"]
        for (first, end), columns in zip(spans, self._files.file("terms").spans(names, spans), strict=True):
            self._keep(columns, wanted, last=end == self._size and (first + FENCE >= end))
        for term in wanted - self._kept.keys():
            self._kept[term] = None

    def _keep(self, columns: list[pa.Array], wanted: set[str], *, last: bool) -> None:
        """Remember those wanted of some consecutive terms. The final one may only say where it begins, unless last."""
        sizes, postings, places = (np.asarray(column).astype(np.int64) for column in columns[1:])
        if last:
            postings, places = np.append(postings, self._nbytes("postings")), np.append(places, self._nbytes("places"))
        begins = np.stack([postings, places])
        past = postings[-1] > self._nbytes("postings") or places[-1] > self._nbytes("places")
        if past or (np.diff(begins) < 0).any() or sizes.min() < 1 or sizes.max() > self._rows:
            raise Corrupt("the entries of terms are out of order or out of range", kind="index")
        for at, term in enumerate(columns[0].to_pylist()[: begins.shape[1] - 1]):
            if term in wanted:
                (start, end), (first, stop) = begins[:, at : at + 2].tolist()
                self._kept[term] = Entry(int(sizes[at]), (start, end), (first, stop))

    def _nbytes(self, name: str) -> int:
        """Bytes in a file of bytes; of places there may be none."""
        return self._files.file(name).rows if name == "postings" or self._with_places else 0


__all__ = ["FENCE", "Entry", "Vocabulary"]
