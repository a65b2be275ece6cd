"""One file of the local disk, mapped for reading, with what the kernel must be told to read it well.

A fault of a mapped page waits for the disk alone, one after the other, and with the read-ahead of the device it reads
megabytes for a row. So a file is mapped with random advice, and before bytes are copied out that are not in memory the
kernel is told of all their pages at once: they are then read side by side, and no other byte is.

Everything here is a hint, apart from the mapping: a system that lacks one reads slower, not differently. Nothing is
held that a forked process could not use: a mapping, and the descriptor it came from.
"""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Callable, Sequence

import numpy as np

from lance_like.errors import Corrupt
from lance_like.ranges import coalesce
from lance_like.typing_ import Bytes, Int64s, Ranges

LARGE_NBYTES = 128 * 1024
"""A range from here on is handed out as it is mapped, and counts as one that a scan leaves behind."""

_PAGE = mmap.PAGESIZE
# The kernel reads at most the read-ahead of the device for one call, and 128 KiB is the usual one.
_ADVICE_NBYTES = 128 * 1024
# Pages this near are read as one: at one page between, fewer requests were worth the fifth more bytes.
_GAP_NBYTES = 4096
# Looks at a gather: some, and one more for every so many ranges. A look costs 0.6 us, of 57 us for a take of 100 rows
# that are in memory; of a file of which a fifth is not, a gather of 1,000 ranges misses that once in 7. With so many
# looks it misses a twentieth once in 27.
_LOOKS, _RANGES_A_LOOK, _MOST_LOOKS = 2, 128, 64
_FEW_RANGES = 4
# Read beyond what is asked for once this many large ranges in a row each went on where the one before ended.
_FOLLOWED, _AHEAD_NBYTES = 2, 8 << 20
# Looks at one of few ranges, this far apart: 3 % of the time that it takes to read it from memory.
_STEP_NBYTES = 256 * 1024
_CAN_LOOK = hasattr(os, "preadv") and hasattr(os, "RWF_NOWAIT")
_CAN_ADVISE = hasattr(os, "posix_fadvise")
_seen = bytearray(1)


class MappedFile:
    """A regular file, mapped whole. Raises OSError, or Corrupt when it is not a regular file.

    file: its open descriptor, from now on of this object. path: where it was opened, in errors.
    data: uint8[n], its bytes; views of them outlive this object.
    used: for who keeps many of them, to note that this one was asked for again.
    """

    def __init__(self, file: int, path: str) -> None:
        self._file = file
        self.used = False
        status = os.fstat(self._file)
        check_regular(status, path)
        self._state = _state_of(status)
        self.data: Bytes = np.empty(0, np.uint8)
        self._map: mmap.mmap | None = None
        # Where the last large range ended that was not in memory, and how many before it followed each other.
        self._large_end, self._followed = -_AHEAD_NBYTES, 0
        if status.st_size:
            self._map = mmap.mmap(self._file, status.st_size, prot=mmap.PROT_READ)
            self._map.madvise(mmap.MADV_RANDOM)
            self.data = np.frombuffer(self._map, np.uint8)
        if _CAN_ADVISE:
            # Without it a look at one page that is not there would have the device read ahead.
            os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_RANDOM)

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        # Held in the function: at the end of the process the module may be empty already.
        close(self._file)

    def is_there(self) -> bool:
        """Is it still what was mapped, under a name? Raises OSError.

        A tag may have been replaced by another process; and a file cut short under its map would kill the process on
        the next read of the part that is gone.
        """
        # Of the open file: to look for its path takes three times as long. Without a name it was removed or replaced,
        # and it may have been where it lost one of several.
        status = os.fstat(self._file)
        return status.st_nlink > 0 and _state_of(status) == self._state

    def prepare(self, asks: Sequence[Ranges]) -> None:
        """Have the pages of ranges read side by side, if they do not seem to be in memory.

        Cost: 2 to 6 us for what is in memory, 6 us a run of pages of what is not; the disk reads those pages and
        single ones between them, nothing else.
        """
        if not _CAN_ADVISE or not asks:
            return
        n = len(asks[0][0]) if len(asks) == 1 else sum([len(ask[0]) for ask in asks])
        if n == 1:
            starts, ends = next(ask for ask in asks if len(ask[0]))
            if starts[0] // _PAGE == (ends[0] - 1) // _PAGE:
                return
        if n > _FEW_RANGES:
            starts = asks[0][0] if len(asks) == 1 else np.concatenate([ask[0] for ask in asks])
            places = starts[:: max(1, n // min(_LOOKS + n // _RANGES_A_LOOK, _MOST_LOOKS))].tolist()
        else:
            places = _within(asks)
        if len(places) > 1 and not self._in_memory(places):
            self._advise(np.concatenate([ask[0] for ask in asks]), np.concatenate([ask[1] for ask in asks]))

    def release(self, start: int, end: int) -> None:
        """Take the pages of a range out of this process; they come back from the page cache when touched again."""
        first, last = -(-start // _PAGE) * _PAGE, end - end % _PAGE
        if self._map is not None and first < last:
            self._map.madvise(mmap.MADV_DONTNEED, first, last - first)

    def _in_memory(self, places: list[int]) -> bool:
        """Are the pages of these bytes there? True where the system cannot tell, such as in a tmpfs."""
        if not _CAN_LOOK:
            return True
        into = [_seen]
        try:
            for place in places:
                os.preadv(self._file, into, place, os.RWF_NOWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    def _advise(self, starts: Int64s, ends: Int64s) -> None:
        """Ask for the pages of ranges; for those of large ones, also wait."""
        filled = ends > starts
        if not filled.all():
            starts, ends = starts[filled], ends[filled]
        firsts, lasts = coalesce(starts & -_PAGE, (ends + (_PAGE - 1)) & -_PAGE, gap=_GAP_NBYTES)
        pieces = list(zip(firsts.tolist(), lasts.tolist(), strict=True))
        large = [(start, end) for start, end in pieces if end - start >= LARGE_NBYTES]
        ahead: list[tuple[int, int]] = []
        if large:
            pieces = [piece for start, end in pieces for piece in _pieces(start, end)]
            ahead = self._ahead_of(large[0][0], large[-1][1])
        advise, file, advice = os.posix_fadvise, self._file, os.POSIX_FADV_WILLNEED
        for start, end in (*pieces, *ahead):
            advise(file, start, end - start, advice)
        if large:
            # Wait for the disk here, where other threads may go on, and not in a checksum, where they may not.
            # Clipped: the last page may end behind the end of the file.
            self.data.take([end - 1 for _, end in pieces], mode="clip")

    def _ahead_of(self, start: int, end: int) -> list[tuple[int, int]]:
        """What to ask for beyond a large range when large ranges follow each other: as much again, 8 MiB at most."""
        follows = self._large_end - _AHEAD_NBYTES <= start <= self._large_end + LARGE_NBYTES
        self._followed = self._followed + 1 if follows else 0
        self._large_end = end
        if self._followed < _FOLLOWED:
            return []
        last = min(end + min(end - start, _AHEAD_NBYTES), len(self.data))
        return _pieces(end, last)


def _state_of(status: os.stat_result) -> tuple[int, int, int, int]:
    """What changes with the bytes of a file, or with its names: size, number of names, times of the last changes."""
    return status.st_size, status.st_nlink, status.st_mtime_ns, status.st_ctime_ns


def check_regular(status: os.stat_result, where: str) -> None:
    """Raise Corrupt for a folder, a FIFO, a device or a link."""
    if not stat.S_ISREG(status.st_mode):
        raise Corrupt("this is not a regular file", kind="file-type", where=where)


def _within(asks: Sequence[Ranges]) -> list[int]:
    """Where to look in ranges: at their first bytes, at steps, and at the last; not in one page twice in a row."""
    places: list[int] = []
    page = -1
    for starts, ends in asks:
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            if start < end:
                if start // _PAGE != page:
                    places.append(start)
                if end - start > _STEP_NBYTES:
                    places += range(start + _STEP_NBYTES, end, _STEP_NBYTES)
                page = (end - 1) // _PAGE
                if page != places[-1] // _PAGE:
                    places.append(end - 1)
    return places


def _pieces(start: int, end: int) -> list[tuple[int, int]]:
    """A range cut into what the kernel reads for one call."""
    return [(at, min(at + _ADVICE_NBYTES, end)) for at in range(start, end, _ADVICE_NBYTES)]


__all__ = ["LARGE_NBYTES", "MappedFile", "check_regular"]
