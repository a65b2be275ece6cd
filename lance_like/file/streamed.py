"""One cell of any size as a page of its own, written while it is read (format_spec/table.md, "Blob columns").

Its length is known before, its bytes and their checksums only once they have passed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import pyarrow as pa
import xxhash

from lance_like.encodings.base import Encoded, Hints, lay_out
from lance_like.encodings.variable import encode_offsets
from lance_like.file.encode import LARGE_BLOCK_LOG2, EncodedPage, compact_json
from lance_like.file.extents import PREFIX_NBYTES
from lance_like.file.stats import ZoneBuilder
from lance_like.typing_ import Bytes


class Contents(Protocol):
    """The bytes of one cell, which are not in memory."""

    @property
    def nbytes(self) -> int:
        """How many there are."""
        ...

    def chunks(self) -> Iterator[bytes]:
        """The bytes, in pieces. Raises when there are not nbytes of them."""
        ...


class StreamedPage:
    """The page of one cell: first take all `chunks`, then `finish`."""

    def __init__(self, contents: Contents, zones: ZoneBuilder, first_row: int) -> None:
        self._contents, self._zones, self._first_row = contents, zones, first_row
        # As long as the cell, and without memory.
        self._stand_in = np.broadcast_to(np.zeros(1, np.uint8), contents.nbytes)
        offsets = encode_offsets(np.array([0, contents.nbytes], np.int64), Hints())
        tree = Encoded("variable", 1, buffers=(self._stand_in,), children=(offsets,))
        description, self._parts, self.nbytes = lay_out(tree)
        self._description = compact_json(description)
        self._sums = BlockSums(LARGE_BLOCK_LOG2)
        self._head = b""

    def chunks(self) -> Iterator[bytes | Bytes]:
        """The bytes of the page."""
        for part in self._parts:
            if part is self._stand_in:
                for chunk in self._contents.chunks():
                    self._head = self._head or chunk[:PREFIX_NBYTES]
                    self._sums.update(chunk)
                    yield chunk
            else:
                self._sums.update(part)
                yield part

    def finish(self) -> EncodedPage:
        """What the file records of the page."""
        # The first bytes stand for the cell: bounds keep no more of it.
        extents = self._zones.extents(pa.array([self._head], self._zones.kind), self._first_row)
        return EncodedPage(1, self._description, [], self.nbytes, LARGE_BLOCK_LOG2, self._sums.finish(), extents)


class BlockSums:
    """uint32 checksums of blocks of bytes that come in pieces; the last block may be short."""

    def __init__(self, block_log2: int) -> None:
        self._size = 1 << block_log2
        self._sums: list[int] = []
        self._begun = xxhash.xxh3_64()
        self._begun_nbytes = 0

    def update(self, chunk: bytes | Bytes) -> None:
        """Take in the next bytes."""
        view = memoryview(chunk)
        while len(view):
            piece = view[: self._size - self._begun_nbytes]
            view = view[len(piece) :]
            if len(piece) == self._size:
                self._sums.append(xxhash.xxh3_64_intdigest(piece))
                continue
            self._begun.update(piece)
            self._begun_nbytes += len(piece)
            if self._begun_nbytes == self._size:
                self._close()

    def finish(self) -> np.ndarray:
        """The checksums, once all bytes are in."""
        if self._begun_nbytes:
            self._close()
        return np.array(self._sums, np.uint64).astype("<u4")

    def _close(self) -> None:
        self._sums.append(self._begun.intdigest())
        self._begun.reset()
        self._begun_nbytes = 0


__all__ = ["BlockSums", "Contents", "StreamedPage"]
