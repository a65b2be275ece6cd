"""The order of many integers: with their places in the bits behind them, which numpy sorts many at a time, where both
fit in 64; else by 16 bits at a time, which it puts in order without comparing any."""

from __future__ import annotations

import numpy as np

from lance_like.typing_ import Int64s

_DIGIT_BITS = 16


def stable_order(numbers: np.ndarray) -> Int64s:
    """int64[n], the places of integers in their order, of equal ones the first first.

    Cost: of a sort of 64-bit integers (8 million, 100,000 of them different: 0.11 s); else 3 passes for each 16 bits
    between the least and the greatest (0.34 s). Memory: 18 bytes a number, and once more what they take.
    """
    if not len(numbers):
        return np.zeros(0, np.int64)
    low, high = int(numbers.min()), int(numbers.max())
    unsigned = np.dtype(f"u{numbers.itemsize}")
    away = numbers.view(unsigned) - unsigned.type(low % (1 << (8 * numbers.itemsize)))
    bits = (len(numbers) - 1).bit_length()
    if _DIGIT_BITS < (high - low).bit_length() <= 64 - bits:
        packed = away.astype(np.uint64) << np.uint64(bits)
        packed |= np.arange(len(packed), dtype=np.uint64)
        packed.sort()
        packed &= np.uint64((1 << bits) - 1)
        return packed.view(np.int64)
    order: Int64s | None = None
    for shift in range(0, (high - low).bit_length(), _DIGIT_BITS):
        digits = (away >> unsigned.type(shift)).astype(np.uint16)
        places = np.argsort(digits if order is None else digits[order], kind="stable")
        order = places if order is None else order[places]
    return np.arange(len(numbers)) if order is None else order


__all__ = ["stable_order"]
