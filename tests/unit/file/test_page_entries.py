"""Page entries: few of them are checked one by one, many in one pass, by the same rules."""

from __future__ import annotations

import numpy as np
import pytest

from lance_like.errors import Corrupt
from lance_like.file.layout import PAGE_ENTRY, RECORD_NBYTES, EntryLimits, pack_entries, unpack_entries

FIRST = 1 << 20
LIMITS = EntryLimits(offset=1 << 19, descriptions_nbytes=1000, num_blocks=100)
GOOD = {
    "offset": 64,
    "nbytes": 8193,
    "first_row": 0,
    "description_offset": 990,
    "description_nbytes": 10,
    "description_sum": 5,
    "first_block": 97,
    "num_blocks": 3,
    "blocks_sum": 6,
    "num_rows": 1,
    "block_log2": 12,
}


def unpacked(count: int, last: dict[str, int], *, moved: int = 0, flipped: bool = False) -> np.ndarray:
    """Entries of which the last has other fields, stands elsewhere, or has a bit flipped."""
    entries = [tuple(GOOD.values())] * (count - 1) + [tuple({**GOOD, **last}.values())]
    data = np.frombuffer(pack_entries(entries, FIRST), np.uint8).copy()
    data[-RECORD_NBYTES] ^= flipped
    at = FIRST + RECORD_NBYTES * np.arange(count)
    at[-1] += moved
    return unpack_entries(data, at, LIMITS, "here")


@pytest.mark.parametrize("count", [1, 8, 9, 40])
def test_entries_are_held_against_what_their_column_has(count: int) -> None:
    found = unpacked(count, {"nbytes": 0, "num_blocks": 0, "first_block": 100})
    assert found.dtype == PAGE_ENTRY
    assert (len(found), int(found["nbytes"][-1]), int(found["num_rows"][-1])) == (count, 0, 1)
    assert len(unpacked(count, {"offset": (1 << 19) - 8193})) == count
    for wrong in (
        {"offset": 63},
        {"offset": (1 << 19) - 8192},
        {"offset": 1 << 53},
        {"nbytes": 1 << 63},
        {"description_offset": 991},
        {"description_nbytes": (1 << 32) - 1},
        {"first_block": 98},
        {"num_blocks": 2},
        {"num_blocks": 4, "first_block": 0},
        {"num_rows": 0},
        {"block_log2": 5, "num_blocks": 257, "first_block": 0},
        {"block_log2": 25, "num_blocks": 1, "first_block": 0},
    ):
        with pytest.raises(Corrupt, match="impossible"):
            unpacked(count, wrong)
    with pytest.raises(Corrupt, match="place of another"):
        unpacked(count, {}, moved=RECORD_NBYTES)
    with pytest.raises(Corrupt, match="checksum"):
        unpacked(count, {}, flipped=True)
