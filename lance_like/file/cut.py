"""Where the pages of a column end: rows wait here until a page of them is full.

A page is cut by bytes, and has at least one row and at most PAGE_ROWS. Cutting copies nothing: a page comes out as
pieces of the arrays that came in, to be joined by whoever encodes it.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import pyarrow as pa

from lance_like.encodings.physical import flat_width, is_large, is_variable, storage_of
from lance_like.file.layout import ZONE_ROWS

PAGE_NBYTES = 8 << 20
PAGE_ROWS = 1 << 20

Pieces: TypeAlias = list[pa.Array]
"""The rows of one page, end to end: at least one piece, none of them empty."""


class PendingRows:
    """The rows of one column that do not fill a page yet. nbytes: what they take in memory."""

    def __init__(self, kind: pa.DataType) -> None:
        self._kind = storage_of(kind)
        self._has_dictionary = has_dictionary(kind)
        self._most = _page_rows(self._kind)
        self._pieces: Pieces = []
        # How many of the pieces, from the first on, are copies of our own.
        self._owned = 0
        self._rows = 0
        self.nbytes = 0

    def add(self, array: pa.Array) -> list[Pieces]:
        """Take in the next rows. Returns the pages that are full now."""
        pages: list[Pieces] = []
        while len(array):
            count = self._fitting(array)
            if count:
                self._append(array if count == len(array) else array.slice(0, count))
            array = array.slice(count)
            if len(array) or self._rows == self._most or self.nbytes >= PAGE_NBYTES:
                pages += self.rest()
        return pages

    def rest(self) -> list[Pieces]:
        """Take out all waiting rows: one page, or several when their dictionaries do not fit in one."""
        pieces, self._pieces = self._pieces, []
        self._rows = self._owned = self.nbytes = 0
        if self._has_dictionary and len(pieces) > 1:
            try:
                return [[pa.concat_arrays(pieces)]]
            except pa.ArrowInvalid:
                # Together they have more values than the index type can number.
                return [[piece] for piece in pieces]
        return [pieces] if pieces else []

    def own(self) -> None:
        """Copy the waiting rows of the caller's arrays: even a short slice keeps its whole batch in memory."""
        self._pieces[self._owned :] = [pa.concat_arrays([piece]) for piece in self._pieces[self._owned :]]
        self._owned = len(self._pieces)

    def _append(self, array: pa.Array) -> None:
        self._pieces.append(array)
        self._rows += len(array)
        self.nbytes += _rows_nbytes(array, self._kind)

    def _fitting(self, array: pa.Array) -> int:
        """How many rows of an array fit in the page; one that is larger than a page fits in an empty one."""
        rows = min(len(array), self._most - self._rows)
        fitting = _rows_within(array, self._kind, rows, PAGE_NBYTES - self.nbytes)
        return fitting or int(self._rows == 0)


def has_dictionary(kind: pa.DataType) -> bool:
    """True when arrays of a type hold a dictionary, anywhere inside."""
    kind = storage_of(kind)
    if pa.types.is_dictionary(kind):
        return True
    return pa.types.is_nested(kind) and any(has_dictionary(kind.field(i).type) for i in range(kind.num_fields))


def _has_fixed_width(kind: pa.DataType) -> bool:
    return flat_width(kind) is not None or pa.types.is_boolean(kind) or pa.types.is_null(kind)


def _page_rows(kind: pa.DataType) -> int:
    """The most rows of a page; of fixed width, whole zones where a page holds several."""
    if not _has_fixed_width(kind):
        return PAGE_ROWS
    rows = min(PAGE_ROWS, max(1, PAGE_NBYTES // max(1, flat_width(kind) or 1)))
    return rows - rows % ZONE_ROWS or rows


def _rows_nbytes(array: pa.Array, kind: pa.DataType) -> int:
    """The bytes of an array that cutting it divides: a dictionary stays whole in every page."""
    if _has_fixed_width(kind):
        return len(array) * (flat_width(kind) or 1)
    if is_variable(kind):
        offsets = _stored_offsets(array, kind)
        return int(offsets[-1]) - int(offsets[0])
    return array.nbytes - array.slice(0, 0).nbytes


def _rows_within(array: pa.Array, kind: pa.DataType, rows: int, nbytes: int) -> int:
    """How many of the first rows of an array have at most some bytes together."""
    if _has_fixed_width(kind):
        return rows
    if is_variable(kind):
        offsets = _stored_offsets(array, kind)
        # Of the dtype of the offsets: another one would make numpy convert them all.
        limit = min(int(offsets[0]) + nbytes, int(offsets[-1]))
        return min(rows, int(np.searchsorted(offsets, offsets.dtype.type(limit), side="right")) - 1)
    if _rows_nbytes(array.slice(0, rows), kind) <= nbytes:
        return rows
    fitting, over = 0, rows
    while over - fitting > 1:
        middle = (fitting + over) // 2
        if _rows_nbytes(array.slice(0, middle), kind) <= nbytes:
            fitting = middle
        else:
            over = middle
    return fitting


def _stored_offsets(array: pa.Array, kind: pa.DataType) -> np.ndarray:
    """The offsets of a string or binary array as they are, without a copy."""
    dtype = np.dtype(np.int64 if is_large(kind) else np.int32)
    buffer = array.buffers()[1]
    if buffer is None or buffer.size == 0:
        return np.zeros(len(array) + 1, dtype)
    return np.frombuffer(buffer, dtype, count=len(array) + 1, offset=array.offset * dtype.itemsize)
