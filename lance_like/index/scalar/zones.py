"""Zones: runs of as many rows each, and sets of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyroaring import BitMap

from lance_like.index.base import IndexSource
from lance_like.index.scalar.keys import as_key_values

ROWS_PER_ZONE = "rows_per_zone"
DEFAULT_ROWS, MOST_ROWS = 8192, 1 << 20


def zones_of(source: IndexSource, rows: int, kind: pa.DataType) -> Iterator[pa.Array]:
    """The values of a source, as their key type, in zones of so many rows; the last one may have fewer."""
    pending: list[pa.Array] = []
    count = 0
    for batch in source.batches():
        values = as_key_values(batch, kind)
        while len(values):
            part = values.slice(0, rows - count)
            pending.append(part)
            count += len(part)
            values = values.slice(len(part))
            if count == rows:
                yield pa.concat_arrays(pending)
                pending, count = [], 0
    if pending:
        yield pa.concat_arrays(pending)


def zone_count(rows: int, rows_per_zone: int) -> int:
    """How many zones there are of so many rows."""
    return -(-rows // rows_per_zone)


def rows_of_zones(chosen: npt.NDArray[np.bool_], rows: int, rows_per_zone: int) -> BitMap:
    """The ordinals of the rows of some zones: bool[zones]. rows: of all."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], chosen, [False]]).astype(np.int8))) * rows_per_zone
    found = BitMap()
    for start, end in zip(edges[0::2].tolist(), edges[1::2].tolist(), strict=True):
        found.add_range(start, min(end, rows))
    return found


__all__ = ["DEFAULT_ROWS", "MOST_ROWS", "ROWS_PER_ZONE", "rows_of_zones", "zone_count", "zones_of"]
