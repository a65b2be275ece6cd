"""Zone statistics held against the rows they are about (format_spec/file.md, "Zones")."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from lance_like.file.extents import Extent, extents_of
from lance_like.file.stats import HAS_MAX, HAS_MIN, ZoneEntry, counted_type, value_of, zone_width


class ZoneCheck:
    """Takes the pages of one column in order and says what its zone entries have wrong.

    zones: the entries, None for those that cannot be read. total: the entry of the whole column.
    """

    def __init__(
        self, kind: pa.DataType, zones: Sequence[ZoneEntry | None], total: ZoneEntry | None, zone_rows: int
    ) -> None:
        self.kind = counted_type(kind)
        self._zones, self._total, self._zone_rows = zones, total, zone_rows
        self._row = 0
        # None: some of the rows are not known.
        self._open: Extent | None = Extent(0, 0)
        self._whole: Extent | None = Extent(0, 0)

    def add(self, array: pa.Array) -> Iterator[tuple[int, str]]:
        """The next rows. Yields (zone, problem) of each zone that ends here and is wrong."""
        if isinstance(array, pa.ExtensionArray):
            array = array.storage
        room = self._zone_rows - self._row % self._zone_rows
        for extent in extents_of(array, room=room, zone_rows=self._zone_rows, ordered=zone_width(self.kind) > 0):
            if self._open is not None:
                self._open.widen(extent)
            if self._whole is not None:
                self._whole.widen(extent)
            self._row += extent.rows
            if self._row % self._zone_rows == 0:
                yield from self._close()

    def skip(self, rows: int) -> None:
        """The next rows, at least one, cannot be read: zones that hold some of them are not checked."""
        self._row += rows
        self._whole = None
        self._open = None if self._row % self._zone_rows else Extent(0, 0)

    def finish(self) -> Iterator[tuple[int, str]]:
        """After the last rows: the last zone, and the entry of the whole column under the number of zones."""
        if self._row % self._zone_rows:
            yield from self._close()
        if self._whole is not None and self._total is not None:
            yield from ((len(self._zones), problem) for problem in problems_of(self._total, self._whole, self.kind))

    def _close(self) -> Iterator[tuple[int, str]]:
        zone = (self._row - 1) // self._zone_rows
        entry = self._zones[zone] if zone < len(self._zones) else None
        if entry is not None and self._open is not None:
            yield from ((zone, problem) for problem in problems_of(entry, self._open, self.kind))
        self._open = Extent(0, 0)


def problems_of(entry: ZoneEntry, rows: Extent, kind: pa.DataType) -> Iterator[str]:
    """What an entry says that is not so. kind: the type of the column, without its extension."""
    if entry.null_count != rows.null_count:
        yield f"it counts {entry.null_count:,} nulls, the rows have {rows.null_count:,}"
    if entry.nan_count != rows.nan_count:
        yield f"it counts {entry.nan_count:,} NaN, the rows have {rows.nan_count:,}"
    low = value_of(entry.min, kind) if entry.flags & HAS_MIN else None
    high = value_of(entry.max, kind) if entry.flags & HAS_MAX else None
    if rows.low is None or rows.high is None:
        if (low is not None or high is not None) and zone_width(kind):
            yield "it has bounds, the rows have nothing but nulls and NaN"
        return
    if low is not None and low > rows.low:
        yield f"its minimum {low!r} is above the value {rows.low!r}"
    if high is not None and high < rows.high:
        yield f"its maximum {high!r} is below the value {rows.high!r}"
