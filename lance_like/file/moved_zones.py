"""The zones of pages that are moved into another file (format_spec/file.md, "Moving pages").

Where the rows begin with a zone of the new file, zones come along as they are. Elsewhere each may lie in two of the new
ones and lends both its bounds, which are wider then than their rows; nulls and NaN are counted exactly: from the counts
where all rows or none are, else from the bitmaps of the pages, at last from the values.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from lance_like.file.extents import Extent
from lance_like.file.layout import ZONE_ROWS
from lance_like.file.reader import FileReader
from lance_like.file.stats import ZoneBuilder, ZoneEntry, counted_type
from lance_like.file.stored import StoredColumn
from lance_like.typing_ import Conversation


def moved_extents(reader: FileReader, stored: StoredColumn, first_row: int) -> Conversation[list[Extent]]:
    """The rows of a column that `has_usual_zones`, cut where the zones of another file end.

    first_row: where they begin there. Cost: no round, unless nulls or NaN have to be counted.
    """
    kind = counted_type(stored.column.type)
    room = ZONE_ROWS - first_row % ZONE_ROWS
    rest = _Rest(reader, stored)
    found: list[Extent] = []
    for number, (zone, rows) in enumerate(zip(stored.zones, stored.zone_rows.tolist(), strict=True)):
        head, start = min(rows, room), ZONE_ROWS * number
        if head == rows:
            found.append(zone.extent(rows, zone.null_count, zone.nan_count, kind))
        elif _is_mixed(zone, rows, kind):
            found += yield from rest.extents(start, start + rows, first_row)
        else:
            nulls = zone.null_count * head // rows
            if 0 < zone.null_count < rows:
                nulls = yield from rest.nulls(start, start + head)
            for count, null in ((head, nulls), (rows - head, zone.null_count - nulls)):
                found.append(zone.extent(count, null, count - null if zone.nan_count else 0, kind))
    return found


def _is_mixed(zone: ZoneEntry, rows: int, kind: pa.DataType) -> bool:
    """Do only its values tell which rows of a zone are null, or NaN?"""
    # A row of a dictionary type is also null when the value that it names is.
    nulls = pa.types.is_dictionary(kind) and 0 < zone.null_count < rows
    return nulls or 0 < zone.nan_count < rows - zone.null_count


class _Rest:
    """What the pages of a column say of its rows, read when it is asked for."""

    def __init__(self, reader: FileReader, stored: StoredColumn) -> None:
        self._reader, self._stored = reader, stored
        self._valid: np.ndarray | None = None

    def nulls(self, start: int, end: int) -> Conversation[int]:
        """How many of some rows are null."""
        if self._valid is None:
            pages = yield from self._reader.pages(self._stored.number, self._stored.column.type)
            self._valid = yield from pages.read_validity(0, self._stored.num_rows)
        return end - start - int(np.count_nonzero(self._valid[start:end]))

    def extents(self, start: int, end: int, first_row: int) -> Conversation[list[Extent]]:
        """The extents of rows, summed up anew. first_row: where those of the column begin in the new one."""
        kind = self._stored.column.type
        arrays = yield from self._reader.read_span(self._stored.number, kind, start, end)
        zones, found = ZoneBuilder(kind), []
        for array in arrays:
            found += zones.extents(array, first_row + start)
            start += len(array)
        return found


__all__ = ["moved_extents"]
