"""Begin writing a file's bytes to the disk while more of them are made: the fsync at its end then finds little left.

Linux only (sync_file_range); elsewhere, and where the kernel refuses, nothing is done and nothing is lost.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache

_WRITE = 2  # SYNC_FILE_RANGE_WRITE: start writing what is dirty, wait for nothing


def begin_writeback(descriptor: int, start: int, end: int) -> None:
    """Ask the kernel to start writing bytes of an open file. Promises nothing: only fsync does."""
    call = _sync_file_range()
    if call is not None:
        call(descriptor, start, end - start, _WRITE)


@cache
def _sync_file_range() -> Callable[[int, int, int, int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        call = ctypes.CDLL(None).sync_file_range
    except (OSError, AttributeError):
        return None
    call.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    return call
