"""A fragment: some rows of the table and the data files that hold their columns (format_spec/table.md, "Fragment").

Values and their JSON; pure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lance_like._lazy import cached
from lance_like.errors import Corrupt
from lance_like.file.stats import ZoneEntry
from lance_like.table import lineage, shape
from lance_like.table.deletions import Deletions, check_offsets, deletions_from_json
from lance_like.table.layout import base_key, is_data_key
from lance_like.table.lineage import Lineage, check_lineage, stated_lineage
from lance_like.table.reference import Ref, ref_from_json
from lance_like.typing_ import Int64s, Json

Runs = tuple[tuple[int, int], ...]
"""Pairs: half-open intervals of ids, or runs of (value, count); each use says which."""

DEAD = -1
MAX_FIELD_ID = 2**31 - 1
MAX_FRAGMENT_ID = 2**31 - 1
MAX_ROWS = 2**32
MAX_COLUMNS = 1_000_000
MAX_BASE = 2**31 - 1


@dataclass(frozen=True, slots=True)
class DataFile:
    """A data file of one fragment.

    tail: the checksum that the file's own tail carries: a swapped file is noticed.
    fields: runs (first field id, count) over the columns 0, 1, 2, …; (-1, count) = dead columns.
    base: the number of the place, among the bases of the manifest, below which it lies; None: the table itself.
    stats: (field id, bounds and counts of the whole file), ascending; as they are bounds, deletes keep them right.
    """

    path: str
    nbytes: int
    tail: int
    rows: int
    fields: Runs
    stats: tuple[tuple[int, ZoneEntry], ...] = ()
    base: int | None = None

    @property
    def key(self) -> str:
        """What the store of the table calls it; one below another base has the number of that before its path."""
        return self.path if self.base is None else base_key(self.base, self.path)

    @property
    def field_ids(self) -> tuple[int, ...]:
        """The field id of each column; -1 = dead."""
        return tuple(DEAD if first == DEAD else first + i for first, count in self.fields for i in range(count))

    def column_of(self, field_id: int) -> int | None:
        """The column that holds a field. Cost: O(runs)."""
        column = 0
        for first, count in self.fields:
            if first <= field_id < first + count and first != DEAD:
                return column + field_id - first
            column += count
        return None

    def to_json(self) -> Json:
        return {
            "path": self.path,
            "nbytes": self.nbytes,
            "tail": f"{self.tail:016x}",
            "rows": self.rows,
            "fields": self.fields,
            "base": self.base,
            "stats": [
                [field_id, _hex(s.min), _hex(s.max), s.null_count, s.nan_count, s.flags] for field_id, s in self.stats
            ],
        }


ReadPart = Callable[[Ref], bytes]
"""Brings the bytes of a part, checked against its reference."""


def unread(ref: Ref) -> bytes:
    """For fragments that come without their parts."""
    raise Corrupt("the part of a fragment is asked for, and there is no store to read it from", where=ref.path)


@dataclass(frozen=True)
class Fragment:
    """Some rows of the table.

    rows: physical ones. lineage: the stable ids of its rows and the versions that made and changed them.
    files: data files with disjoint live field ids; a field in none of them reads as null here.
    deletions: which rows are deleted; None: none.
    """

    id: int
    rows: int
    files: tuple[DataFile, ...]
    lineage: Lineage
    deletions: Deletions | None = None

    @property
    def live_rows(self) -> int:
        """The rows that are not deleted."""
        return self.rows - self.deletions.rows if self.deletions else self.rows

    @cached
    def runs(self) -> lineage.Runs:
        """Row ids and versions of all physical rows, read when first asked for. Raises Corrupt."""
        runs = self.lineage.runs
        # What a manifest states was checked as it was parsed.
        return runs if self.lineage.held is not None else check_lineage(runs, self.rows, f"fragment {self.id}")

    @cached
    def deleted(self) -> Int64s:
        """int64[n] offsets of the deleted rows, ascending; read when first asked for. Raises Corrupt."""
        if self.deletions is None:
            return _NONE
        return check_offsets(self.deletions, self.rows, f"fragment {self.id}")

    @cached
    def _deleted_ranks(self) -> Int64s:
        """How many live rows stand before each deleted row."""
        return self.deleted - np.arange(len(self.deleted))

    def offsets_of_live(self, positions: Int64s) -> Int64s:
        """int64[n] positions among the live rows -> int64[n] offsets among all rows. Cost: O(n log deleted)."""
        if self.deletions is None:
            return positions
        return positions + self._deleted_ranks.searchsorted(positions, "right")

    def live_before(self, offsets: Int64s) -> Int64s:
        """int64[n] offsets among all rows -> int64[n] live rows before each. Cost: O(n log deleted)."""
        return offsets if self.deletions is None else offsets - self.deleted.searchsorted(offsets)

    def live_between(self, start: int, end: int) -> Int64s | None:
        """int64[n] offsets of the live rows among rows start … end; None when all are."""
        if self.deletions is None:
            return None
        low, high = self.deleted.searchsorted((start, end))
        if low == high:
            return None
        live = np.ones(end - start, bool)
        live[self.deleted[low:high] - start] = False
        return np.flatnonzero(live) + start

    def live_count(self, start: int, end: int) -> int:
        """How many of the rows start … end are live."""
        low, high = self.deleted.searchsorted((start, end))
        return end - start - int(high - low)

    def is_deleted(self, offsets: Int64s) -> np.ndarray:
        """bool[n]: which rows are deleted."""
        if self.deletions is None:
            return np.zeros(len(offsets), bool)
        place = np.minimum(self.deleted.searchsorted(offsets), len(self.deleted) - 1)
        return self.deleted[place] == offsets

    def locate(self, field_id: int) -> tuple[DataFile, int] | None:
        """The file and column that hold a field; None where it reads as null."""
        for file in self.files:
            column = file.column_of(field_id)
            if column is not None:
                return file, column
        return None

    @cached
    def json(self) -> Json:
        """As `to_json`, kept: for fragments that stand in one root after the other."""
        return self.to_json()

    def to_json(self) -> Json:
        line = self.lineage
        row_ids, created, updated = ((), (), ()) if line.ref else line.stated()
        return {
            "id": self.id,
            "rows": self.rows,
            "row_ids": row_ids,
            "files": [file.to_json() for file in self.files],
            "deletions": self.deletions.to_json() if self.deletions else None,
            "created": created,
            "updated": updated,
            "lineage": {"ref": line.ref.to_json(), "row_ids": line.bounds} if line.ref else None,
        }


_NONE = np.empty(0, np.int64)


def runs_of(values: list[int]) -> Runs:
    """Field ids by column as runs (first, count)."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == (DEAD if runs[-1][0] == DEAD else sum(runs[-1])):
            runs[-1][1] += 1
        else:
            runs.append([value, 1])
    return tuple((first, count) for first, count in runs)


def fragment_from_json(value: Json, where: str, *, read: ReadPart = unread) -> Fragment:
    """The inverse of `Fragment.to_json`. read: for its parts, when they are asked for.

    Raises Corrupt.
    """
    holder = shape.mapping(value, where)
    fragment_id = shape.integer(holder, "id", where, high=MAX_FRAGMENT_ID)
    rows = shape.integer(holder, "rows", where, low=1, high=MAX_ROWS)
    files = shape.each(holder, "files", where, file_from_json)
    if not files:
        shape.refuse([], "at least one file", where)
    for file in files:
        if file.rows != rows:
            shape.refuse(file.rows, f"a file of {rows:,} rows", where)
    _check_disjoint(files, where)
    deletions = deletions_from_json(shape.member(holder, "deletions", where), where, rows, read)
    return Fragment(fragment_id, rows, files, _lineage_from_json(holder, where, rows, read), deletions)


def _lineage_from_json(holder: dict[str, Json], where: str, rows: int, read: ReadPart) -> Lineage:
    ids, created, updated = (shape.pairs(holder, name, where) for name in ("row_ids", "created", "updated"))
    apart = shape.member(holder, "lineage", where)
    if apart is None:
        return stated_lineage(ids, created, updated, rows=rows, where=where)
    if ids or created or updated:
        shape.refuse(holder["row_ids"], "no runs beside 'lineage'", where)
    apart = shape.mapping(apart, where)
    bounds = shape.interval(apart, "row_ids", where, high=shape.MAX_INTEGER)
    return Lineage(bounds, ref_from_json(shape.member(apart, "ref", where), where, kind="rows"), read=read)


def file_from_json(value: Json, where: str) -> DataFile:
    """The inverse of `DataFile.to_json`. Raises Corrupt."""
    holder = shape.mapping(value, where)
    base, path = _base(holder, where), _path(holder, where)
    if base is not None and not is_data_key(path):
        shape.refuse(path, "'data/<uuid>.lnl' below another base", where)
    fields = shape.pairs(holder, "fields", where, low=DEAD, high=MAX_FIELD_ID)
    for first, count in fields:
        if not 1 <= count <= MAX_FIELD_ID or first + count > MAX_FIELD_ID:
            shape.refuse([first, count], "a run of field ids", where)
    if sum(count for _, count in fields) > MAX_COLUMNS:
        raise Corrupt(f"a file of over {MAX_COLUMNS:,} columns", kind="limit", where=where)
    stats = shape.each(holder, "stats", where, _stats_from_json)
    if any(a[0] >= b[0] for a, b in pairwise(stats)):
        shape.refuse([field_id for field_id, _ in stats], "ascending field ids in 'stats'", where)
    return DataFile(
        path=path,
        nbytes=shape.integer(holder, "nbytes", where, low=1),
        tail=shape.hexadecimal(shape.member(holder, "tail", where), where),
        rows=shape.integer(holder, "rows", where, low=1, high=MAX_ROWS),
        fields=fields,
        stats=stats,
        base=base,
    )


def _stats_from_json(value: Json, where: str) -> tuple[int, ZoneEntry]:
    # One check for all members: a table of many columns has thousands of these in its root.
    if type(value) is list and len(value) == 6:
        field_id, low, high, nulls, nans, flags = value
        integers = type(field_id) is type(nulls) is type(nans) is type(flags) is int
        if integers and 0 <= field_id <= MAX_FIELD_ID and 0 <= flags <= 255 and 0 <= nulls <= MAX_ROWS >= nans >= 0:
            return field_id, ZoneEntry(nulls, nans, _bytes(low, where), _bytes(high, where), flags)
    return shape.refuse(value, "[field id, min, max, nulls, NaNs, flags]", where)


def _check_disjoint(files: tuple[DataFile, ...], where: str) -> None:
    spans = sorted((first, first + count) for file in files for first, count in file.fields if first != DEAD)
    for (_, end), (start, _) in pairwise(spans):
        if start < end:
            shape.refuse(start, "each field in one file of a fragment", where)


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()


def _bytes(value: Json, where: str) -> bytes | None:
    if value is None:
        return None
    try:
        known = bytes.fromhex(value) if type(value) is str else b""
    except ValueError:
        known = b""
    # Hexadecimal with spaces or capitals is another text for the same bytes: one form only.
    return known if known.hex() == value else shape.refuse(value, "lower-case hexadecimal digits", where)


def _path(holder: dict[str, Json], where: str) -> str:
    path = shape.member(holder, "path", where)
    # What `new_data_key` gives is a path: nearly all are, and looking at each character takes longer.
    return path if type(path) is str and is_data_key(path) else shape.path(path, where)


def _base(holder: dict[str, Json], where: str) -> int | None:
    if shape.member(holder, "base", where) is None:
        return None
    return shape.integer(holder, "base", where, low=1, high=MAX_BASE)
