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
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from lance_like.errors import Corrupt
from lance_like.io.ranges import coalesce
from lance_like.typing_ import Bytes, Int64s, Ranges

Identity: TypeAlias = tuple[int, int, int, int]
"""What tells one content of a path from another: device, inode, size, time of the last change."""

LARGE_NBYTES = 128 * 1024
"""A range from here on is read ahead whole, without a look at what is in memory: that is lost in its copy."""

_PAGE = mmap.PAGESIZE
# The kernel reads at most the read-ahead of the device for one call, and 128 KiB is the usual one.
_ADVICE_NBYTES = 128 * 1024
# Pages this near are read as one: at one page between, fewer requests were worth the fifth more bytes.
_GAP_NBYTES = 4096
# Looks at a gather: some, and one more for every so many ranges. A look costs 0.6 us, of 57 us for a take of 100 rows
# that are in memory; of a file of which a fifth is not, a gather of 1,000 ranges misses that once in 7.
_LOOKS, _RANGES_A_LOOK = 2, 128
_CAN_LOOK = hasattr(os, "preadv") and hasattr(os, "RWF_NOWAIT")
_CAN_ADVISE = hasattr(os, "posix_fadvise")
_seen = bytearray(1)


class MappedFile:
    """A regular file, mapped whole. Raises OSError, or Corrupt when it is not a regular file.

    data: uint8[n], its bytes; views of them outlive this object. identity: what was there when it was mapped.
    """

    def __init__(self, path: str) -> None:
        # O_NONBLOCK: opening a FIFO put in the place of a file must not hang.
        self._file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        status = os.fstat(self._file)
        check_regular(status, path)
        self.identity = identity_of(status)
        self.data: Bytes = np.empty(0, np.uint8)
        self._map: mmap.mmap | None = None
        if status.st_size:
            self._map = mmap.mmap(self._file, status.st_size, prot=mmap.PROT_READ)
            self._map.madvise(mmap.MADV_RANDOM)
            self.data = np.frombuffer(self._map, np.uint8)
        if _CAN_ADVISE:
            # Without it a look at one page that is not there would have the device read ahead.
            os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_RANDOM)

    def __del__(self) -> None:
        # Missing when opening failed.
        if (file := getattr(self, "_file", None)) is not None:
            os.close(file)

    def prepare(self, asks: Sequence[Ranges]) -> None:
        """Have the pages of ranges read side by side, if they do not seem to be in memory.

        Cost: 2 to 6 us for what is in memory, 6 us a run of pages of what is not; the disk reads those pages and
        single ones between them, nothing else.
        """
        if not _CAN_ADVISE or not asks:
            return
        starts, ends = asks[0] if len(asks) == 1 else _joined(asks)
        n, large = len(starts), False
        if n == 1:
            start, end = int(starts[0]), int(ends[0])
            if end <= (start | (_PAGE - 1)) + 1:
                return
            large = end - start >= LARGE_NBYTES
        if n and (large or not self._in_memory(starts, ends)):
            self._advise(starts, ends)

    def release(self, start: int, end: int) -> None:
        """Take the pages of a range out of this process; they come back from the page cache when touched again."""
        first, last = -(-start // _PAGE) * _PAGE, end - end % _PAGE
        if self._map is not None and first < last:
            self._map.madvise(mmap.MADV_DONTNEED, first, last - first)

    def _in_memory(self, starts: Int64s, ends: Int64s) -> bool:
        """Look at some of the ranges: is each there? True where the system cannot tell, such as in a tmpfs."""
        if not _CAN_LOOK:
            return True
        step = max(1, len(starts) // (_LOOKS + len(starts) // _RANGES_A_LOOK))
        places = starts[::step].tolist() if len(starts) > 1 else [int(starts[0]), int(ends[0]) - 1]
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
        filled = ends > starts
        firsts = starts[filled] & -_PAGE
        lasts = (ends[filled] + (_PAGE - 1)) & -_PAGE
        firsts, lasts = coalesce(firsts, lasts, gap=_GAP_NBYTES)
        advise, file, advice = os.posix_fadvise, self._file, os.POSIX_FADV_WILLNEED
        for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
            for start in range(first, last, _ADVICE_NBYTES):
                advise(file, start, min(_ADVICE_NBYTES, last - start), advice)


def identity_of(status: os.stat_result) -> Identity:
    """What tells this content of a path from another."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def check_regular(status: os.stat_result, where: str) -> None:
    """Raise Corrupt for a folder, a FIFO, a device or a link."""
    if not stat.S_ISREG(status.st_mode):
        raise Corrupt("this is not a regular file", kind="file-type", where=where)


def _joined(asks: Sequence[Ranges]) -> Ranges:
    return np.concatenate([ask[0] for ask in asks]), np.concatenate([ask[1] for ask in asks])


__all__ = ["LARGE_NBYTES", "Identity", "MappedFile", "check_regular", "identity_of"]
