"""Where the pages of a column end: rows wait here until a page of them is full.

A page is cut by bytes, and has at least one row and at most PAGE_ROWS. Cutting copies nothing: a page comes out as
pieces of the arrays that came in, to be joined by whoever encodes it.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import pyarrow as pa

from lance_like._lazy import per_type
from lance_like.encodings.joining import concatenated
from lance_like.encodings.physical import flat_width, is_large, is_variable, storage_of
from lance_like.file.carry import carried_type, holds_runs
from lance_like.file.layout import ZONE_ROWS

PAGE_NBYTES = 8 << 20
PAGE_ROWS = 1 << 20
# A stream of single rows: arrays of them take a hundred times the memory of their values.
_MOST_PIECES = 256

Pieces: TypeAlias = list[pa.Array]
"""The rows of one page, end to end: at least one piece, none of them empty."""


class PendingRows:
    """The rows of one column, as its type is carried, that do not fill a page yet. nbytes: what they take in memory."""

    def __init__(self, kind: pa.DataType) -> None:
        self._measure = _measure(kind)
        self._most = self._measure.most
        self._pieces: Pieces = []
        # How many of the pieces, from the first on, are copies of our own.
        self._owned = 0
        self._rows = 0
        self.nbytes = 0

    def add(self, array: pa.Array) -> list[Pieces]:
        """Take in the next rows. Returns the pages that are full now."""
        pages: list[Pieces] = []
        while len(array):
            nbytes = self._measure.nbytes(array)
            if self._rows + len(array) < self._most and self.nbytes + nbytes < PAGE_NBYTES:
                self._append(array, nbytes)
                break
            count = self._fitting(array)
            if count:
                head = array.slice(0, count)
                self._append(head, self._measure.nbytes(head))
            pages += self.rest()
            array = array.slice(count)
        return pages

    def rest(self) -> list[Pieces]:
        """Take out all waiting rows: one page, or several when their dictionaries do not fit in one."""
        pieces, self._pieces = self._pieces, []
        self._rows = self._owned = self.nbytes = 0
        if self._measure.has_dictionary:
            return [[array] for array in _joined(pieces)]
        return [pieces] if pieces else []

    def own(self) -> None:
        """Copy the waiting rows of the caller's arrays: even a short slice keeps its whole batch in memory."""
        self._pieces[self._owned :] = _joined(self._pieces[self._owned :])
        self._owned = len(self._pieces)

    def nbytes_of(self, pieces: Pieces) -> int:
        """About what rows take in memory, such as those of a page that was cut."""
        return self._measure.held_nbytes(pieces)

    def _append(self, array: pa.Array, nbytes: int) -> None:
        self._pieces.append(array)
        self._rows += len(array)
        self.nbytes += nbytes
        if len(self._pieces) - self._owned >= _MOST_PIECES:
            self.own()

    def _fitting(self, array: pa.Array) -> int:
        """How many rows of an array fit in the page; one that is larger than a page fits in an empty one."""
        rows = min(len(array), self._most - self._rows)
        if self._measure.runs:
            # Its runs were cut short before (file/carry.py), and each half would have the values of all.
            return rows if self._rows == 0 else 0
        return self._measure.within(array, rows, PAGE_NBYTES - self.nbytes) or int(self._rows == 0)


def _joined(pieces: Pieces) -> Pieces:
    """A copy of some pieces as one, or one by one when their dictionaries do not fit in one."""
    try:
        return [concatenated(pieces)] if pieces else []
    except pa.ArrowException:
        # Together they have more values than the index type can number.
        return [pa.concat_arrays([piece]) for piece in pieces]


def has_dictionary(kind: pa.DataType) -> bool:
    """True when arrays of a type hold a dictionary, anywhere inside."""
    kind = storage_of(kind)
    if pa.types.is_dictionary(kind):
        return True
    return pa.types.is_nested(kind) and any(has_dictionary(kind.field(i).type) for i in range(kind.num_fields))


class _Measure:
    """How arrays of a type are cut. runs: their dictionaries are the values of their own runs."""

    def __init__(self, kind: pa.DataType) -> None:
        self.runs = holds_runs(kind)
        kind = storage_of(carried_type(kind))
        self.has_dictionary = has_dictionary(kind)
        self._width = 1 if pa.types.is_boolean(kind) or pa.types.is_null(kind) else flat_width(kind)
        self._offsets = (np.int64 if is_large(kind) else np.int32) if is_variable(kind) else None

    @property
    def most(self) -> int:
        """Rows of a page at most; of fixed width, whole zones where a page holds several."""
        if self._width is None:
            return PAGE_ROWS
        rows = min(PAGE_ROWS, max(1, PAGE_NBYTES // max(1, self._width)))
        return rows - rows % ZONE_ROWS or rows

    def nbytes(self, array: pa.Array) -> int:
        """The bytes of an array that cutting it divides: a dictionary stays whole in every page."""
        if self.runs:
            return array.nbytes
        if self._width is not None:
            return len(array) * self._width
        if self._offsets is not None:
            offsets = self._offsets_of(array)
            return int(offsets[-1]) - int(offsets[0])
        return array.nbytes - array.slice(0, 0).nbytes

    def held_nbytes(self, pieces: Pieces) -> int:
        """About what arrays take in memory. (Arrow's own count takes microseconds an array.)"""
        if self._width is not None:
            return sum(map(len, pieces)) * self._width
        return sum(piece.nbytes for piece in pieces)

    def within(self, array: pa.Array, rows: int, nbytes: int) -> int:
        """How many of the first rows of an array have at most some bytes together."""
        if self._width is not None:
            return rows
        if self._offsets is not None:
            offsets = self._offsets_of(array)
            # Of the dtype of the offsets: another one would make numpy convert them all.
            limit = self._offsets(min(int(offsets[0]) + nbytes, int(offsets[-1])))
            return min(rows, int(np.searchsorted(offsets, limit, side="right")) - 1)
        fitting, over = 0, rows + 1
        while over - fitting > 1:
            middle = (fitting + over) // 2
            if self.nbytes(array.slice(0, middle)) <= nbytes:
                fitting = middle
            else:
                over = middle
        return fitting

    def _offsets_of(self, array: pa.Array) -> np.ndarray:
        """The offsets of a string or binary array as they are, without a copy."""
        assert self._offsets is not None
        buffer = array.buffers()[1]
        if buffer is None or buffer.size == 0:
            return np.zeros(len(array) + 1, self._offsets)
        size = self._offsets().itemsize
        return np.frombuffer(buffer, self._offsets, count=len(array) + 1, offset=array.offset * size)


_measure = per_type(_Measure)
