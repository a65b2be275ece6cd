"""The rows of a term, as bytes (format_spec/index/inverted.md, "Postings").

    u32 first * blocks | u8 gap bits * blocks | u8 count bits * blocks
      | more than one block: u8 pairs * blocks | (u16 count, u16 length) * pairs
      | gaps, a packed block each | counts - 1, a packed block each

A block is 128 rows, the last one of a term what is left. `first` is the row it begins with; the gaps are how many rows
lie between one row and the next, 0 for the first. The pairs of a block are the counts and row lengths of which no other
row of the block has a greater count and a smaller length: what the best score in it can come from, whatever the average
length is. This module turns rows and counts into bytes and back; it opens no file.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lance_like.errors import Corrupt
from lance_like.index.text.bits import MAX_WIDTH, pack, packed_nbytes, unpack, widths_of
from lance_like.typing_ import Bytes, Int64s

BLOCK = 128
_MOST = 0xFFFF
SLACK = 8
"""Bytes that `unpack` may look at past the last one."""


def blocks_of(counts: Int64s) -> Int64s:
    """How many blocks lists of counts rows have."""
    return -(-counts // BLOCK)


def encode(sizes: Int64s, rows: np.ndarray, counts: np.ndarray, lengths: np.ndarray) -> tuple[Bytes, Int64s]:
    """The bytes of the lists of terms, one after the other.

    sizes: int64[t], rows of each term, at least 1. rows, counts: of all terms, ascending in each. lengths: of all rows
    of the segment. Returns the bytes, and int64[t] how many each term has.
    """
    blocks = blocks_of(sizes)
    begins, held = block_begins(sizes, blocks)
    gaps = np.diff(rows.astype(np.int64), prepend=0) - 1
    gaps[begins] = 0
    gap_bits = widths_of(np.maximum.reduceat(gaps, begins))
    less = counts.astype(np.int64) - 1
    count_bits = widths_of(np.maximum.reduceat(less, begins))
    several = np.repeat(blocks > 1, blocks)
    pairs, fronts = _fronts(begins, held, several, counts, lengths[rows])
    parts = [
        (rows[begins].astype("<u4").view(np.uint8), np.full(len(begins), 4)),
        (gap_bits, np.ones(len(begins), np.int64)),
        (count_bits, np.ones(len(begins), np.int64)),
        (pairs[several].astype(np.uint8), several.astype(np.int64)),
        (fronts.view(np.uint8).ravel(), 4 * pairs),
        (pack(gaps, held, gap_bits), packed_nbytes(held, gap_bits)),
        (pack(less, held, count_bits), packed_nbytes(held, count_bits)),
    ]
    firsts = np.cumsum(blocks) - blocks
    return laid_out([(data, np.add.reduceat(sizes, firsts)) for data, sizes in parts])


def laid_out(parts: list[tuple[Bytes, Int64s]]) -> tuple[Bytes, Int64s]:
    """Bytes that come part by part, of all terms, as they are stored: term by term. Returns the bytes of each term."""
    sizes: Int64s = np.sum(np.stack([nbytes for _, nbytes in parts]), axis=0)
    out = np.empty(int(sizes.sum()), np.uint8)
    at: Int64s = np.cumsum(sizes) - sizes
    for data, nbytes in parts:
        target = np.repeat(at - (np.cumsum(nbytes) - nbytes), nbytes)
        target += np.arange(len(target))
        out[target] = data
        at += nbytes
    return out, sizes


def block_begins(sizes: Int64s, blocks: Int64s) -> tuple[Int64s, Int64s]:
    """Where blocks begin, and how many rows they hold."""
    total = int(blocks.sum())
    within = np.arange(total) - np.repeat(np.cumsum(blocks) - blocks, blocks)
    begins = np.repeat(np.cumsum(sizes) - sizes, blocks) + BLOCK * within
    return begins, np.diff(begins, append=int(sizes.sum()))


def _fronts(
    begins: Int64s, held: Int64s, several: np.ndarray, counts: np.ndarray, lengths: np.ndarray
) -> tuple[Int64s, np.ndarray]:
    """How many pairs each block has, and uint16[n, 2] the pairs: lengths ascending, and so the counts.

    begins, held: of all blocks. several: which are of terms that have more than one. counts, lengths: of all rows.
    """
    chosen = np.repeat(several, held)
    count = np.minimum(counts[chosen], _MOST).astype(np.uint32)
    length = np.minimum(lengths[chosen], _MOST).astype(np.uint32)
    # A block a line, sorted by itself; what is left of a line is above all, and has a count of 0.
    lines = np.full((int(several.sum()), BLOCK), 0xFFFFFFFF, np.uint32)
    lines[np.arange(BLOCK) < held[several, np.newaxis]] = length << np.uint32(16) | (np.uint32(_MOST) - count)
    lines.sort(axis=1)
    best = np.uint32(_MOST) - (lines & np.uint32(_MOST))
    kept = np.ones(lines.shape, bool)
    np.greater(best[:, 1:], np.maximum.accumulate(best, axis=1)[:, :-1], out=kept[:, 1:])
    fronts = np.empty((int(np.count_nonzero(kept)), 2), "<u2")
    fronts[:, 0] = best[kept]
    fronts[:, 1] = lines[kept] >> np.uint32(16)
    pairs = np.zeros(len(begins), np.int64)
    pairs[several] = kept.sum(axis=1)
    return pairs, fronts


@dataclass(frozen=True, slots=True)
class Blocks:
    """The rows of a term, packed. Per block: first row, what all rows are below, rows held, bits of gaps and counts,
    where these begin.

    pairs: int64[n, 2] counts and lengths, begins: where those of a block begin; of one block, none.
    """

    size: int
    data: Bytes
    firsts: Int64s
    limits: Int64s
    held: Int64s
    gap_bits: Bytes
    gap_starts: Int64s
    count_bits: Bytes
    count_starts: Int64s
    pairs: Int64s
    pair_begins: Int64s

    def __len__(self) -> int:
        return len(self.firsts)

    @property
    def nbytes(self) -> int:
        """In memory."""
        return len(self.data) + 50 * len(self) + 16 * len(self.pairs)

    def rows(self, blocks: Int64s | None = None) -> tuple[Int64s, Int64s]:
        """The rows of some blocks, or all, and how often each holds the term: int64[n] both."""
        chosen = slice(None) if blocks is None else blocks
        held = self.held[chosen]
        rows = unpack(self.data, held, self.gap_bits[chosen], self.gap_starts[chosen])
        rows += 1
        begins = held.cumsum() - held
        rows[begins] = 0
        # The first row of a block counts from the last one of the block before.
        firsts = self.firsts[chosen]
        lasts = firsts + np.add.reduceat(rows, begins)
        if (lasts >= self.limits[chosen]).any():
            raise Corrupt("the rows of a term are out of order or out of range", kind="index")
        rows[begins] = firsts
        rows[begins[1:]] -= lasts[:-1]
        rows.cumsum(out=rows)
        counts = unpack(self.data, held, self.count_bits[chosen], self.count_starts[chosen])
        counts += 1
        return rows, counts


def decode(data: Bytes, size: int, rows: int) -> Blocks:
    """The packed rows of a term. data: its bytes. size: how many rows. rows: of the segment. Raises Corrupt."""
    total = int(-(-size // BLOCK))
    if size < 1 or size > rows or len(data) < 6 * total:
        raise Corrupt(f"a term of {size} rows among {rows} has {len(data)} bytes", kind="index")
    firsts = data[: 4 * total].view("<u4").astype(np.int64)
    gap_bits, count_bits = data[4 * total : 5 * total], data[5 * total : 6 * total]
    at, numbers, pairs = 6 * total, np.zeros(total, np.int64), np.zeros((0, 2), np.int64)
    if total > 1:
        numbers = data[at : at + total].astype(np.int64)
        at += len(numbers)
        found = data[at : at + 4 * int(numbers.sum())]
        at += 4 * int(numbers.sum())
        if len(numbers) == total and at <= len(data):
            pairs = found.view("<u2").astype(np.int64).reshape(-1, 2)
    held = np.full(total, BLOCK)
    held[-1] = size - BLOCK * (total - 1)
    gap_nbytes, count_nbytes = packed_nbytes(held, gap_bits), packed_nbytes(held, count_bits)
    gaps_end = at + int(gap_nbytes.sum())
    end = gaps_end + int(count_nbytes.sum())
    wide = int(max(gap_bits.max(), count_bits.max())) > MAX_WIDTH
    if end != len(data) or wide or (total > 1 and not numbers.all()) or firsts[-1] >= rows:
        raise Corrupt(f"the bytes of a term of {size} rows do not agree: {len(data)}, expected {end}", kind="index")
    return Blocks(
        size,
        np.concatenate((data, np.zeros(SLACK, np.uint8))),
        firsts,
        np.concatenate((firsts[1:], [rows])),
        held,
        gap_bits,
        at + gap_nbytes.cumsum() - gap_nbytes,
        count_bits,
        gaps_end + count_nbytes.cumsum() - count_nbytes,
        pairs,
        numbers.cumsum() - numbers,
    )


__all__ = ["BLOCK", "SLACK", "Blocks", "block_begins", "blocks_of", "decode", "encode", "laid_out"]
