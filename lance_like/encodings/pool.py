"""Memory to decode into.

Arrow's pool keeps what it frees, numpy gives large arrays back to the system: an array of a page decoded into fresh
numpy memory pays a page fault for every 4 KiB, which took longer than the decoding.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

# Rows decoded at a time: three passes over 512 KiB of 64-bit values stay in the cache.
BATCH_ROWS = 1 << 16
# Smaller arrays come from numpy's own heap, at a tenth of the cost of a call.
_SMALL_NBYTES = 64 * 1024


def allocate(count: int, dtype: np.dtype | type) -> np.ndarray:
    """An array of `count` values that nobody has written yet: dtype[count]."""
    nbytes = count * np.dtype(dtype).itemsize
    if nbytes < _SMALL_NBYTES:
        return np.empty(count, dtype)
    return np.frombuffer(pa.allocate_buffer(nbytes), dtype)


def batches(count: int) -> list[slice]:
    """Slices of at most BATCH_ROWS rows that cover `count` rows."""
    return [slice(start, min(start + BATCH_ROWS, count)) for start in range(0, count, BATCH_ROWS)]
