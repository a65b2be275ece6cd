"""The rows of a segment without a value, in a file of their own (format_spec/index/postings.md, "Nulls")."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from pyroaring import BitMap

from lance_like._lazy import cached
from lance_like.errors import Corrupt
from lance_like.index.base import SegmentReads, SegmentWrites
from lance_like.index.scalar.keys import Uint32s
from lance_like.index.scalar.postings import bitmaps_of, cells_of

_FILE = "nulls"
_SCHEMA = pa.schema([pa.field("rows", pa.large_binary(), nullable=False)])


class Nulls:
    """The rows without a value. count: as recorded; rows: of the segment."""

    def __init__(self, files: SegmentReads, count: int, rows: int) -> None:
        self._files, self._count, self._rows = files, count, rows

    @property
    def nbytes_cached(self) -> int:
        """What it keeps in memory, by estimate."""
        return 2 * self._count if "bitmap" in self.__dict__ else 0

    @cached
    def bitmap(self) -> BitMap:
        """Their ordinals; not to be changed. Raises Corrupt."""
        if not self._count:
            return BitMap()
        file = self._files.file(_FILE, _SCHEMA)
        if file.rows != 1:
            raise Corrupt(f"the file {_FILE!r} of an index has {file.rows:,} rows, expected 1", kind="index")
        [cells] = file.columns(["rows"])
        [found] = bitmaps_of(cells, np.array([self._count]), self._rows)
        return found


def write_nulls(out: SegmentWrites, parts: list[Uint32s]) -> int:
    """Write the ordinals of nulls, ascending. Returns how many; without any there is no file."""
    ordinals = np.concatenate(parts) if parts else np.empty(0, np.uint32)
    if len(ordinals):
        cells = cells_of(np.array([len(ordinals)]), ordinals)
        out.write(_FILE, _SCHEMA, [pa.record_batch([cells], schema=_SCHEMA)])
    return len(ordinals)


__all__ = ["Nulls", "write_nulls"]
