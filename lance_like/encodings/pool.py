"""Memory to decode into.

Fresh memory costs page faults, which took longer than the decoding: numpy gives large arrays back to the system at
once, Arrow's pool soon. So some memory of large arrays that nobody refers to any more is kept for the next ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

# Rows decoded at a time: three passes over 512 KiB of 64-bit values stay in the cache.
BATCH_ROWS = 1 << 16
# Smaller arrays come from numpy's own heap, at a tenth of the cost of a call.
_SMALL_NBYTES = 64 * 1024
# From so many bytes on memory is kept. Arrow's pool is as fast below.
_LARGE_NBYTES = 1 << 20
_KEPT_NBYTES = 64 << 20
# An array takes kept memory that is larger by no more than this share of its own bytes.
_MOST_WASTE = 1 / 4

# By address, the one given back longest ago first. Each step on it is atomic: a collection of garbage may give memory
# back anywhere, so no lock could be held.
_kept: dict[int, pa.Buffer] = {}


def _keep(buffer: pa.Buffer, kept: dict[int, pa.Buffer] = _kept, most_nbytes: int = _KEPT_NBYTES) -> None:
    """Keep memory, and let go of what was kept longest above the limit."""
    if buffer.size > most_nbytes:
        return
    kept[buffer.address] = buffer
    known = kept.copy()
    over = sum([some.size for some in known.values()]) - most_nbytes
    for address in known if over > 0 else ():
        if over > 0 and (dropped := kept.pop(address, None)) is not None:
            over -= dropped.size


class _Memory:
    """Memory in use; it is kept when the last reference to it goes."""

    __slots__ = ("buffer",)

    def __init__(self, nbytes: int) -> None:
        self.buffer = _kept_for(nbytes) or pa.allocate_buffer(nbytes)

    @property
    def __array_interface__(self) -> dict[str, Any]:
        place = (self.buffer.address, False)
        return {"version": 3, "typestr": "|u1", "shape": (self.buffer.size,), "data": place}

    def __del__(self, keep: Callable[[pa.Buffer], None] = _keep) -> None:
        # Held in the function: at the end of the process the module may be empty already.
        keep(self.buffer)


def allocate(count: int, dtype: np.dtype | type | str) -> np.ndarray:
    """An array of `count` values that nobody has written yet: dtype[count]."""
    nbytes = count * np.dtype(dtype).itemsize
    if nbytes < _SMALL_NBYTES:
        return np.empty(count, dtype)
    if nbytes < _LARGE_NBYTES:
        return np.frombuffer(pa.allocate_buffer(nbytes), dtype)
    return np.asarray(_Memory(nbytes))[:nbytes].view(dtype)


def _kept_for(nbytes: int) -> pa.Buffer | None:
    """Kept memory for so many bytes: what was given back last may still be in the cache."""
    for address, buffer in reversed(_kept.copy().items()):
        if nbytes <= buffer.size <= nbytes + _MOST_WASTE * nbytes:
            found = _kept.pop(address, None)
            if found is not None:
                return found
    return None


def batches(count: int) -> list[slice]:
    """Slices of at most BATCH_ROWS rows that cover `count` rows."""
    return [slice(start, min(start + BATCH_ROWS, count)) for start in range(0, count, BATCH_ROWS)]
