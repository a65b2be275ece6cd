"""Which blocks of an open file were verified: every range is widened to blocks that nobody checked yet
(format_spec/file.md, "Checksums").

Pages get a slot when they open. Blocks are numbered when a page's checksums are read, which happens in the round of
the first read that touches the page.
"""

from __future__ import annotations

import numpy as np

from lance_like.encodings.stack import Ask, expand
from lance_like.errors import Corrupt
from lance_like.file.layout import sums_at
from lance_like.locks import lock_over_forks
from lance_like.ranges import gather_from, has_negative
from lance_like.typing_ import Bytes, Conversation, Int64s, Ranges

_GROWTH = 1.5
# Up to this many ranges a look at each takes less than a pass of kernels.
_FEW_RANGES = 8
# A tuple of three integers and its place in a dict.
_PLACE_NBYTES = 250
_SLOT = np.dtype(
    [
        ("offset", np.int64),  # of the page in the file
        ("nbytes", np.int64),
        ("log2", np.int64),  # of the block size
        ("blocks", np.int64),  # how many
        ("first", np.int64),  # number of the first one, -1 while they have none
        ("loaded", np.int64),  # 1 once their checksums are here
        ("sums", np.int64),  # where the checksums lie in the file
        ("sums_sum", np.int64),
    ]
)

_LOCK = lock_over_forks()


class Blocks:
    """The blocks of the open pages of one file. verify=False: ranges are passed on unchecked.

    pending: how many blocks are still to be verified; while it is 0, no range need be looked at.
    """

    def __init__(self, where: str, *, verify: bool) -> None:
        self.where = where
        self._verify = verify
        self._slots = np.zeros(0, _SLOT)
        self._used = 0
        self._sums = np.zeros(0, np.uint32)
        self._verified = np.zeros(0, bool)
        self._slot_of = np.zeros(0, np.int32)
        self._numbered = 0
        self.pending = 0
        # Of slots whose blocks have numbers and that were asked for: offset, log2 and first, as Python's integers.
        self._places: dict[int, tuple[int, int, int]] = {}

    @property
    def nbytes_cached(self) -> int:
        """Memory: the checksums of the pages that were touched, and which blocks were verified."""
        arrays = self._slots.nbytes + self._sums.nbytes + self._verified.nbytes + self._slot_of.nbytes
        return arrays + _PLACE_NBYTES * len(self._places)

    def add(self, pages: np.ndarray, sums_offset: int | Int64s) -> Int64s:
        """Give slots to pages. pages: their entries; sums_offset: where the checksums of their column begin."""
        with _LOCK:
            first, self._used = self._used, self._used + len(pages)
            self._slots = _room(self._slots, self._used)
            new = self._slots[first : self._used]
            new["offset"], new["nbytes"], new["log2"] = pages["offset"], pages["nbytes"], pages["block_log2"]
            new["blocks"] = pages["num_blocks"]
            new["sums"], new["sums_sum"] = sums_offset + 4 * pages["first_block"].astype(np.int64), pages["blocks_sum"]
            new["first"] = -1
            if self._verify:
                self.pending += int(new["blocks"].sum())
            return np.arange(first, self._used)

    def checked(self, asks: list[Ask]) -> Conversation[list[Bytes]]:
        """Ask for ranges, each inside the page of its slot, and check every block that they touch first."""
        if not self.pending or self._are_verified(asks):
            return (yield [(starts, ends) for starts, ends, _ in asks])
        touched = _distinct([slots for _, _, slots in asks], self._used)
        missing = touched[self._slots["loaded"][touched] == 0]
        self._number(missing)
        table = self._slots
        spans = [_block_span(table, ask) for ask in asks]
        wanted = [first if (first == last).all() else expand(first, last + 1) for first, last in spans]
        blocks = np.unique(np.concatenate(wanted))
        starts, ends = self._ranges(blocks)
        runs = _merged(starts, ends)
        if len(missing):
            at = table["sums"][missing]
            data, sums = yield [runs, (at, at + 4 * table["blocks"][missing])]
            self._accept(missing, sums)
        else:
            (data,) = yield [runs]
        places = np.cumsum(ends - starts) - (ends - starts)
        self._check(blocks, data, places, ends - starts)
        return [_cut(ask, span[0], blocks, starts, places, data) for ask, span in zip(asks, spans, strict=True)]

    def _are_verified(self, asks: list[Ask]) -> bool:
        """True when every block that ranges touch was verified."""
        if sum([len(starts) for starts, _, _ in asks]) <= _FEW_RANGES:
            return self._are_few_verified(asks)
        for ask in asks:
            if has_negative(self._slots["first"][ask[2]]):
                return False
            first, last = _block_span(self._slots, ask)
            blocks = first if (first == last).all() else expand(first, last + 1)
            if not self._verified[blocks].all():
                return False
        return True

    def _are_few_verified(self, asks: list[Ask]) -> bool:
        places = self._places
        for starts, ends, slots in asks:
            for start, end, slot in zip(starts.tolist(), ends.tolist(), slots.tolist(), strict=True):
                if start == end:
                    continue
                offset, log2, base = places.get(slot) or self._place(slot)
                if base < 0:
                    return False
                first, last = base + (start - offset >> log2), base + (end - 1 - offset >> log2)
                # Looked up anew: another thread may just have made room for these blocks.
                verified = self._verified
                if not (verified[first] if first == last else verified[first : last + 1].all()):
                    return False
        return True

    def _place(self, slot: int) -> tuple[int, int, int]:
        """Where a page begins, the log2 of its blocks and the number of the first one, -1 while they have none."""
        page = self._slots[slot]
        place = int(page["offset"]), int(page["log2"]), int(page["first"])
        if place[2] >= 0:
            self._places[slot] = place
        return place

    def load(self, slots: Int64s, sums: Bytes) -> None:
        """Take the block checksums of pages that came along with their column. sums: end to end. Raises Corrupt."""
        if self._verify:
            self._number(slots)
            self._accept(slots, sums)

    def _number(self, slots: Int64s) -> None:
        """Number the blocks of slots that have none."""
        if len(slots) == 0:
            return
        with _LOCK:
            slots = slots[self._slots["first"][slots] < 0]
            counts = self._slots["blocks"][slots]
            total = int(counts.sum())
            self._sums = _room(self._sums, self._numbered + total)
            self._verified = _room(self._verified, self._numbered + total)
            self._slot_of = _room(self._slot_of, self._numbered + total)
            self._slot_of[self._numbered : self._numbered + total] = np.repeat(slots, counts)
            self._slots["first"][slots] = self._numbered + np.cumsum(counts) - counts
            self._numbered += total

    def _accept(self, slots: Int64s, data: Bytes) -> None:
        """Check the checksums of pages against the one in their entries, and keep them."""
        counts = self._slots["blocks"][slots]
        wrong = np.flatnonzero(
            sums_at(data, 4 * (np.cumsum(counts) - counts), 4 * counts) != self._slots["sums_sum"][slots]
        )
        if len(wrong):
            raise Corrupt(
                "the checksum of the block checksums of a page does not match",
                kind="checksum",
                where=f"{self.where}, byte {self._slots['sums'][slots[wrong[0]]]:,}",
            )
        with _LOCK:
            first = self._slots["first"][slots]
            self._sums[expand(first, first + counts)] = data.view("<u4")
            self._slots["loaded"][slots] = 1

    def _ranges(self, blocks: Int64s) -> Ranges:
        """The byte ranges of blocks in the file."""
        page = self._slots[self._slot_of[blocks]]
        starts = page["offset"] + ((blocks - page["first"]) << page["log2"])
        return starts, np.minimum(starts + (1 << page["log2"]), page["offset"] + page["nbytes"])

    def _check(self, blocks: Int64s, data: Bytes, places: Int64s, lengths: Int64s) -> None:
        """Check those of the blocks that are new, and remember them. They lie at `places` of data."""
        new = np.flatnonzero(~self._verified[blocks])
        found = sums_at(data, places[new], lengths[new])
        wrong = np.flatnonzero(found != self._sums[blocks[new]])
        if len(wrong):
            (at,), (end,) = self._ranges(blocks[new[wrong[:1]]])
            raise Corrupt(
                f"the checksum of the block of {end - at:,} bytes does not match",
                kind="checksum",
                where=f"{self.where}, byte {at:,}",
                hint="the file is damaged; restore it from a copy",
            )
        with _LOCK:
            fresh = blocks[new][~self._verified[blocks[new]]]
            self._verified[fresh] = True
            self.pending -= len(fresh)


def _room(array: np.ndarray, count: int) -> np.ndarray:
    """The array with room for count entries: itself, or a larger copy."""
    if count <= len(array):
        return array
    larger = np.zeros(max(count, int(len(array) * _GROWTH)), array.dtype)
    larger[: len(array)] = array
    return larger


def _distinct(slots: list[Int64s], used: int) -> Int64s:
    if len(slots) == 1 and len(slots[0]) == 1:
        return slots[0]
    mark = np.zeros(used, bool)
    for some in slots:
        mark[some] = True
    return np.flatnonzero(mark)


def _block_span(table: np.ndarray, ask: Ask) -> Ranges:
    """The first and last block of each range; an empty one goes with the first that is not; none if all are."""
    starts, ends, slots = ask
    filled = ends > starts
    base, offset, log2 = table["first"][slots], table["offset"][slots], table["log2"][slots]
    first = base + ((starts - offset) >> log2)
    last = base + ((ends - 1 - offset) >> log2)
    if not filled.all():
        if not filled.any():
            return np.empty(0, np.int64), np.empty(0, np.int64)
        anchor = first[filled][0]
        first, last = np.where(filled, first, anchor), np.where(filled, last, anchor)
    return first, last


def _merged(starts: Int64s, ends: Int64s) -> Ranges:
    """Ascending ranges with neighbours joined."""
    if len(starts) == 0:
        return starts, ends
    breaks = np.flatnonzero(ends[:-1] != starts[1:])
    return starts[np.concatenate(([0], breaks + 1))], ends[np.concatenate((breaks, [len(ends) - 1]))]


def _cut(ask: Ask, first: Int64s, blocks: Int64s, starts: Int64s, places: Int64s, data: Bytes) -> Bytes:
    """The bytes of an ask out of the blocks that were read."""
    if len(first) == 0:
        return np.empty(0, np.uint8)
    index = np.minimum(np.searchsorted(blocks, first), len(blocks) - 1)
    local = np.where(ask[1] > ask[0], places[index] + ask[0] - starts[index], 0)
    return gather_from(data, local, local + (ask[1] - ask[0]))


__all__ = ["Blocks"]
