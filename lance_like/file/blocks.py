"""Which blocks of an open file were verified: every range is widened to blocks that nobody checked yet
(format_spec/file.md, "Checksums").

Pages get a slot when they open. Blocks are numbered when a page's checksums are read, which happens in the round of
the first read that touches the page.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from lance_like.encodings.stack import Ask, SpanningAsk, expand, ranges_of
from lance_like.errors import Corrupt
from lance_like.file.layout import sums_at
from lance_like.kernels import marked
from lance_like.locks import lock_over_forks
from lance_like.ranges import gather_from
from lance_like.typing_ import Bytes, Conversation, Int64s, Ranges, Spanning

_GROWTH = 1.5
# Blocks that are waited for together.
_AT_A_TIME = 64
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
        self._numbered = 0
        self.pending = 0

    @property
    def nbytes_cached(self) -> int:
        """Memory: the checksums of the pages that were touched, and which blocks were verified."""
        return self._slots.nbytes + self._sums.nbytes + self._verified.nbytes

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
        if self.are_verified(asks):
            return (yield ranges_of(asks))
        starts, ends, slots = asks[0] if len(asks) == 1 else _joined(asks)
        filled = ends > starts
        if not filled.all():
            starts, ends, slots = starts[filled], ends[filled], slots[filled]
        if len(slots) == 0:
            return [np.empty(0, np.uint8) for _ in asks]
        missing = _distinct(slots[self._slots["loaded"][slots] == 0], self._used)
        self._number(missing)
        if len(slots) == 1:
            touched = self._touched_by_one(int(starts[0]), int(ends[0]), int(slots[0]))
        else:
            touched = self._touched(starts, ends, slots).in_order()
        wanted: list[Ranges] = [Spanning(*_merged(touched.starts, touched.ends))]
        if len(missing):
            at = self._slots["sums"][missing]
            wanted.append((at, at + 4 * self._slots["blocks"][missing]))
        data, *sums = yield wanted
        if sums:
            self._accept(missing, sums[0])
        base = int(touched.starts[0])
        self._check(touched, data, base)
        return [_cut(data, ask, base) for ask in asks]

    def are_verified(self, asks: list[Ask]) -> bool:
        """True when every block that ranges touch was verified, or none is to be."""
        if not self.pending:
            return True
        # Looked up anew for each: another thread may just have made room for its blocks.
        return all(marked(*ask, self._slots, self._verified) for ask in asks)

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
            ends = self._numbered + counts.cumsum()
            total = int(ends[-1]) if len(ends) else self._numbered
            self._sums = _room(self._sums, total)
            self._verified = _room(self._verified, total)
            self._slots["first"][slots] = ends - counts
            self._numbered = total

    def _accept(self, slots: Int64s, data: Bytes) -> None:
        """Check the checksums of pages against the one in their entries, and keep them."""
        counts = self._slots["blocks"][slots]
        ends = counts.cumsum()
        right = sums_at(data, 4 * (ends - counts), 4 * counts) == self._slots["sums_sum"][slots]
        if not right.all():
            raise Corrupt(
                "the checksum of the block checksums of a page does not match",
                kind="checksum",
                where=f"{self.where}, byte {self._slots['sums'][slots[right.argmin()]]:,}",
            )
        sums = data.view("<u4")
        places = zip(self._slots["first"][slots].tolist(), counts.tolist(), ends.tolist(), strict=True)
        with _LOCK:
            for first, count, end in places:
                self._sums[first : first + count] = sums[end - count : end]
            self._slots["loaded"][slots] = 1

    def _touched(self, starts: Int64s, ends: Int64s, slots: Int64s) -> _Touched:
        """The blocks that ranges touch, in their order. No range is empty."""
        table = self._slots
        offset, log2 = table["offset"][slots], table["log2"][slots]
        first = (starts - offset) >> log2
        last = (ends - 1 - offset) >> log2
        if (first != last).any():
            first, slots = expand(first, last + 1), slots.repeat(last - first + 1)
        numbers = table["first"][slots] + first
        fresh = np.concatenate(([True], numbers[1:] != numbers[:-1]))  # neighbours often lie in one block
        if not fresh.all():
            numbers, first, slots = numbers[fresh], first[fresh], slots[fresh]
        offset, log2 = table["offset"][slots], table["log2"][slots]
        places = offset + (first << log2)
        stops = np.minimum(places + (1 << log2), offset + table["nbytes"][slots])
        return _Touched(numbers, slots, places, stops)

    def _touched_by_one(self, start: int, end: int, slot: int) -> _Touched:
        """As `_touched`, of one range."""
        page = self._slots[slot]
        offset, log2, base = int(page["offset"]), int(page["log2"]), int(page["first"])
        numbers = np.arange(base + (start - offset >> log2), base + (end - 1 - offset >> log2) + 1)
        places = (numbers - base << log2) + offset
        stops = np.minimum(places + (1 << log2), offset + int(page["nbytes"]))
        return _Touched(numbers, np.full(len(numbers), slot), places, stops)

    def _check(self, touched: _Touched, data: Bytes, base: int) -> None:
        """Check those blocks that are new, and remember them. base: where data begins in the file."""
        known = self._verified[touched.numbers]
        if known.any():
            touched = touched.pick((~known).nonzero()[0])
        if len(touched.numbers) == 0:
            return  # another thread was faster
        lengths = touched.ends - touched.starts
        sums = list(sums_as_they_come(data, touched.starts - base, lengths))
        right = np.concatenate(sums) == self._sums[touched.numbers]
        if not right.all():
            wrong = right.argmin()
            raise Corrupt(
                f"the checksum of the block of {lengths[wrong]:,} bytes does not match",
                kind="checksum",
                where=f"{self.where}, byte {touched.starts[wrong]:,}",
                hint="the file is damaged; restore it from a copy",
            )
        with _LOCK:
            # Another thread may have checked some of them since.
            fresh = ~self._verified[touched.numbers]
            self._verified[touched.numbers] = True
            self.pending -= np.count_nonzero(fresh)


class _Touched(NamedTuple):
    """Blocks, int64[n] of each: their numbers, the slots of their pages, and where they are in the file."""

    numbers: Int64s
    slots: Int64s
    starts: Int64s
    ends: Int64s

    def in_order(self) -> _Touched:
        """By their place, each once."""
        if (self.starts[1:] > self.starts[:-1]).all():
            return self
        order = self.starts.argsort(kind="stable")
        starts = self.starts[order]
        return self.pick(order[np.concatenate(([True], starts[1:] > starts[:-1]))])

    def pick(self, index: Int64s) -> _Touched:
        """Some of them."""
        return _Touched(*(part[index] for part in self))


def sums_as_they_come(data: Bytes, places: Int64s, lengths: Int64s) -> Iterator[np.ndarray]:
    """The checksums of blocks that the disk may still be reading, in pieces: it goes on while those here are summed."""
    for start in range(0, len(places), _AT_A_TIME):
        some = places[start : start + _AT_A_TIME]
        # To touch them waits for the disk; unlike a checksum, it lets other threads go on.
        data.take(some)
        yield sums_at(data, some, lengths[start : start + _AT_A_TIME])


def _room(array: np.ndarray, count: int) -> np.ndarray:
    """The array with room for count entries: itself, or a larger copy."""
    if count <= len(array):
        return array
    larger = np.zeros(max(count, int(len(array) * _GROWTH)), array.dtype)
    larger[: len(array)] = array
    return larger


def _joined(asks: list[Ask]) -> Ask:
    starts, ends, slots = zip(*asks, strict=True)
    return np.concatenate(starts), np.concatenate(ends), np.concatenate(slots)


def _distinct(slots: Int64s, used: int) -> Int64s:
    """Slots, ascending and once each. used: more than any of them."""
    if len(slots) < 2:
        return slots
    mark = np.zeros(used, bool)
    mark[slots] = True
    return mark.nonzero()[0]


def _merged(starts: Int64s, ends: Int64s) -> Ranges:
    """Ascending ranges with neighbours joined."""
    apart = ends[:-1] != starts[1:]
    if apart.all():
        return starts, ends
    breaks = apart.nonzero()[0]
    return starts[np.concatenate(([0], breaks + 1))], ends[np.concatenate((breaks, [len(ends) - 1]))]


def _cut(data: Bytes, ask: Ask, base: int) -> Bytes:
    """What answers an ask; of its ranges an empty one may lie outside. base: where data begins in the file."""
    starts, ends = ask[0] - base, ask[1] - base
    if type(ask) is SpanningAsk:
        return data[starts[0] : ends[-1]]
    filled = ends > starts
    if not filled.all():
        starts, ends = np.where(filled, starts, 0), np.where(filled, ends, 0)
    return gather_from(data, starts, ends)


__all__ = ["Blocks", "sums_as_they_come"]
