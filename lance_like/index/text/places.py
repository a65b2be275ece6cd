"""Where a term stands in its rows, as bytes (format_spec/index/inverted.md, "Places").

    u32 places * blocks | u8 bits * blocks | places, a packed block each

The blocks are those of the postings; of each row the first place, then how far each other one is from the one before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lance_like.errors import Corrupt
from lance_like.index.text.bits import MAX_WIDTH, pack, packed_nbytes, unpack, widths_of
from lance_like.index.text.postings import BLOCK, SLACK, block_begins, blocks_of, laid_out
from lance_like.typing_ import Bytes, Int64s


def encode_places(sizes: Int64s, counts: np.ndarray, places: np.ndarray) -> tuple[Bytes, Int64s]:
    """The bytes of the places of terms. sizes: int64[t], rows of each. counts: places of each row.

    Returns the bytes, and int64[t] how many each term has.
    """
    blocks = blocks_of(sizes)
    begins, _ = block_begins(sizes, blocks)
    held = np.add.reduceat(counts.astype(np.int64), begins)
    steps = np.diff(places.astype(np.int64), prepend=0)
    firsts = np.cumsum(counts, dtype=np.int64) - counts
    steps[firsts] = places[firsts]
    bits = widths_of(np.maximum.reduceat(steps, np.cumsum(held) - held))
    parts = [
        (held.astype("<u4").view(np.uint8), np.full(len(begins), 4)),
        (bits, np.ones(len(begins), np.int64)),
        (pack(steps, held, bits), packed_nbytes(held, bits)),
    ]
    of_term = np.cumsum(blocks) - blocks
    return laid_out([(data, np.add.reduceat(nbytes, of_term)) for data, nbytes in parts])


@dataclass(frozen=True, slots=True)
class PlaceBlocks:
    """The places of a term, packed. held, bits, starts: of each block."""

    data: Bytes
    held: Int64s
    bits: Bytes
    starts: Int64s

    @property
    def nbytes(self) -> int:
        """In memory."""
        return len(self.data) + 17 * len(self.held)

    def places(self, blocks: Int64s, counts: Int64s) -> np.ndarray:
        """uint32: the places of the rows of some blocks, ascending in each row. counts: of all rows of these blocks."""
        held = self.held[blocks]
        if int(held.sum()) != int(counts.sum()):
            raise Corrupt(f"there are {int(held.sum())} places of {int(counts.sum())} words", kind="index")
        steps = unpack(self.data, held, self.bits[blocks], self.starts[blocks])
        firsts = np.cumsum(counts) - counts
        sums = np.cumsum(steps)
        return (sums - np.repeat(sums[firsts] - steps[firsts], counts)).astype(np.uint32)


def decode_places(data: Bytes, size: int) -> PlaceBlocks:
    """The packed places of a term of size rows. Raises Corrupt."""
    total = int(-(-size // BLOCK))
    if len(data) < 5 * total:
        raise Corrupt(f"the places of a term of {size} rows have {len(data)} bytes", kind="index")
    held = data[: 4 * total].view("<u4").astype(np.int64)
    bits = data[4 * total : 5 * total]
    nbytes = packed_nbytes(held, bits)
    if (
        int(bits.max()) > MAX_WIDTH
        or 5 * total + int(nbytes.sum()) != len(data)
        or not held.all()
        or (held[bits == 0] > BLOCK).any()
    ):
        raise Corrupt(f"the places of a term of {size} rows do not fit in {len(data)} bytes", kind="index")
    starts = 5 * total + np.cumsum(nbytes) - nbytes
    return PlaceBlocks(np.append(data, np.zeros(SLACK, np.uint8)), held, bits, starts)


__all__ = ["PlaceBlocks", "decode_places", "encode_places"]
