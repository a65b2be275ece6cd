"""Which rows of a page an encoding looks at before it tries the whole page.

Runs of neighbouring rows from places all over the page: neighbours show order and runs, places show the range.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from lance_like.typing_ import Int64s

RUNS = 16
RUN_ROWS = 256


def sampled_runs(values: np.ndarray) -> np.ndarray:
    """Up to 16 runs of up to 256 neighbouring values, evenly spread: [runs, rows] of the array's type."""
    return values[_places(len(values))]


@lru_cache(maxsize=64)
def _places(count: int) -> Int64s:
    """The rows of the runs: pages of a table have as a rule the same number of rows."""
    rows = min(RUN_ROWS, count)
    runs = min(RUNS, count // max(1, rows))
    starts = np.linspace(0, count - rows, runs).astype(np.int64)
    return starts[:, None] + np.arange(rows)


def spread(count: int, most: int) -> Int64s:
    """At most so many of `count` places, evenly spread, ascending, each once: int64[min(count, most)]."""
    return np.linspace(0, count - 1, min(count, most)).astype(np.int64)
