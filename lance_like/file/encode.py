"""One page from arrays to bytes: joined, summed up, encoded, checksummed. Pure, and safe on threads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import xxhash

from lance_like.encodings.base import Encoded, Hints, lay_out
from lance_like.encodings.registry import encode_array
from lance_like.file.cut import Pieces
from lance_like.file.extents import Extent
from lance_like.file.stats import ZoneBuilder
from lance_like.typing_ import Bytes, Json

# 4 KiB: the unit of the page cache, so a cold take reads what it verifies and no more. Larger blocks keep the checksums
# of large cells 4 and 16 times smaller (format_spec/decisions/0001-checksums.md).
BLOCK_LOG2 = 12
_CELL_BLOCK_LOG2 = 14
LARGE_BLOCK_LOG2 = 16
_LARGE_CELL_NBYTES = 32 << 10
_LARGE_PAGE_NBYTES = 32 << 20


class EncodedPage(NamedTuple):
    """A page that is ready to be placed in a file.

    description: JSON. chunks: its bytes, nbytes in all. sums: uint32, one a block of 2^block_log2 bytes.
    extents: what its rows add to the statistics of the column.
    """

    num_rows: int
    description: bytes
    chunks: list[Bytes]
    nbytes: int
    block_log2: int
    sums: np.ndarray
    extents: list[Extent]


@dataclass(slots=True)
class CutPage:
    """The rows of one page that is to be encoded. first_row: where it begins in its column, whose zones those are."""

    pieces: Pieces
    hints: Hints
    zones: ZoneBuilder
    first_row: int


def encode_page(page: CutPage) -> EncodedPage:
    """Encode a page, which no longer holds its rows then."""
    pieces, page.pieces = page.pieces, []
    array = pieces[0] if len(pieces) == 1 else pa.concat_arrays(pieces)
    return laid_out(encode_array(array, page.hints), page.zones.extents(array, page.first_row))


def laid_out(tree: Encoded, extents: list[Extent]) -> EncodedPage:
    """An encoded array as a page. extents: of its rows."""
    description, chunks, nbytes = lay_out(tree)
    log2 = _block_log2(nbytes, tree.num_rows)
    return EncodedPage(
        tree.num_rows, compact_json(description), chunks, nbytes, log2, block_sums(chunks, log2), extents
    )


def _block_log2(nbytes: int, rows: int) -> int:
    """The blocks of a page."""
    if nbytes > _LARGE_PAGE_NBYTES:
        return LARGE_BLOCK_LOG2
    return _CELL_BLOCK_LOG2 if nbytes >= _LARGE_CELL_NBYTES * rows else BLOCK_LOG2


def block_sums(chunks: Sequence[Bytes], block_log2: int) -> np.ndarray:
    """uint32 checksums of the blocks of bytes that lie in chunks, end to end; the last block may be short."""
    size, digest = 1 << block_log2, xxhash.xxh3_64_intdigest
    if len(chunks) == 1:
        view = memoryview(chunks[0])
        return _as_sums([digest(view[start : start + size]) for start in range(0, len(view), size)])
    sums: list[int] = []
    begun = bytearray()
    for chunk in chunks:
        view = memoryview(chunk)
        if begun:
            missing = size - len(begun)
            begun += view[:missing]
            view = view[missing:]
            if len(begun) < size:
                continue
            sums.append(digest(begun))
        whole = len(view) - len(view) % size
        sums += [digest(view[start : start + size]) for start in range(0, whole, size)]
        begun = bytearray(view[whole:])
    if begun:
        sums.append(digest(begun))
    return _as_sums(sums)


def _as_sums(digests: list[int]) -> np.ndarray:
    return np.array(digests, np.uint64).astype("<u4")


# Made once: `json.dumps` makes one a call, which takes longer than a description of a page.
_JSON = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


def compact_json(value: Json) -> bytes:
    """A value as JSON without spaces, in UTF-8."""
    return _JSON.encode(value).encode()
