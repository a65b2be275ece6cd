"""Numbers that say where a value that does not fit among them is kept: at `limit` and above they count such values.

Shared by the encodings that keep exceptions: which range of numbers takes the fewest bits, and how exceptions are read.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from lance_like.encodings.narrow import base_by_row
from lance_like.encodings.physical import buffer_bytes
from lance_like.encodings.registry import read_node
from lance_like.encodings.stack import Reading, Runs, Stack
from lance_like.typing_ import Int64s


def put_exceptions(
    stack: Stack, kind: pa.DataType, runs: Runs, numbers: Int64s, values: np.ndarray, limits: Int64s
) -> Reading[None]:
    """Put the exceptions among numbers into their places among values. limits: a page, as `alike` gives them.

    Costs a round when there are some among the rows. Raises Corrupt.
    """
    exceptional = numbers >= base_by_row(limits, runs)
    if not np.count_nonzero(exceptional):
        return
    places = np.flatnonzero(exceptional)
    at = np.repeat(runs.at, len(places)) if len(runs.at) == 1 else runs.rows()[0][places]
    index = numbers[places] - (limits if len(limits) == 1 else limits[at])
    child = stack.child(1)
    # Far above a limit far below 0 the difference is below 0.
    stack.require(bool(((index >= 0) & (index < child.num_rows[at])).all()), "a number is past its last exception")
    found = yield from read_node(child, kind, _in_runs(at, index))
    stack.require(found.null_count == 0, "an exception is null")
    unsigned = f"<u{values.itemsize}"
    # As integers: a float register may quiet a NaN.
    values.view(unsigned)[places] = buffer_bytes(found.buffers()[1]).view(unsigned)[found.offset :][: len(found)]


def _in_runs(at: Int64s, index: Int64s) -> Runs:
    """Single rows, or the one run that they are when a long run of the page is read."""
    if (at == at[0]).all() and (np.diff(index) == 1).all():
        return Runs(at[:1], index[:1], index[-1:] + 1)
    return Runs.of_rows(at, index)


def window(kept: Int64s, sampled: int, num_rows: int, bits: int) -> tuple[float, int, int]:
    """The range of numbers that takes the fewest bits a row when all others are exceptions.

    kept: int64[n], ascending, all of at most 61 bits: the numbers of a sample of `sampled` rows; num_rows: of the page;
    bits: of an exception.
    Returns the bits a row, and the range's start and end.
    """
    span, inexact = int(kept[-1] - kept[0]), sampled - len(kept)
    best = (np.inf, 0, 0)
    # Fewer bits than the middle of the numbers takes leave too many out.
    middle = int(kept[len(kept) * 9 // 10] - kept[len(kept) // 10]).bit_length()
    for width in range(max(1, middle), bits):
        room = 1 << width
        if span < room and not inexact:
            return min(best, (stored_bits(width), *_around(int(kept[0]), span, room)))
        if stored_bits(width) == stored_bits(width + 1):
            continue
        # The end of the range is left to the numbers of the exceptions.
        missed = sampled - _best_start(kept, room)[1]
        room -= int(1.25 * num_rows * missed / sampled) + 32
        if room <= 0:
            continue
        start, count = _best_start(kept, room)
        cost = stored_bits(width) + bits * (sampled - count) / sampled
        covered = int(kept[start + count - 1] - kept[start])
        best = min(best, (cost, *_around(int(kept[start]), covered, room)))
        if count == len(kept):
            break
    return best


def _best_start(kept: Int64s, room: int) -> tuple[int, int]:
    """Where a range of numbers must start to hold the most of them, and how many it then holds."""
    counts = np.searchsorted(kept, kept + (room - 1), side="right") - np.arange(len(kept))
    start = int(counts.argmax())
    return start, int(counts[start])


def _around(first: int, span: int, room: int) -> tuple[int, int]:
    """A range of `room` numbers with what it does not need on both sides: a page has numbers that a sample has not."""
    low = first - (room - 1 - span) // 2
    return low, low + room


def stored_bits(width: int) -> int:
    """Bits a row that integers of a width take: theirs, or whole bytes where bit-packing does not pay."""
    whole = -(-width // 8) * 8
    return width if width <= 0.85 * whole else whole
