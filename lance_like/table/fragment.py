"""A fragment: some rows of the table and the data files that hold their columns (format_spec/table.md, "Fragment").

Values and their JSON; pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from lance_like.errors import Corrupt, Unsupported
from lance_like.file.stats import ZoneEntry
from lance_like.table import shape
from lance_like.table.layout import PartKind, is_part_key
from lance_like.typing_ import Json

Runs = tuple[tuple[int, int], ...]
"""Pairs: half-open intervals of ids, or runs of (value, count); each use says which."""

DEAD = -1
MAX_FIELD_ID = 2**31 - 1
MAX_FRAGMENT_ID = 2**31 - 1
MAX_ROWS = 2**32
MAX_PART_BYTES = 1 << 30
MAX_COLUMNS = 1_000_000


@dataclass(frozen=True, slots=True)
class Ref:
    """The name of an immutable part: its key, its size, and the XXH3-64 of all its bytes."""

    path: str
    nbytes: int
    digest: int

    def to_json(self) -> Json:
        return [self.path, self.nbytes, f"{self.digest:016x}"]


def ref_from_json(value: Json, where: str, *, kind: PartKind) -> Ref:
    """The inverse of `Ref.to_json`. Raises Corrupt, also for the key of another kind of part."""
    if type(value) is not list or len(value) != 3:
        shape.refuse(value, "a reference [path, nbytes, digest]", where)
    path = shape.path(value[0], where)
    if not is_part_key(path, kind):
        shape.refuse(path, f"the key of a {kind} part", where)
    nbytes = shape.integer({"nbytes": value[1]}, "nbytes", where, low=1, high=MAX_PART_BYTES)
    return Ref(path, nbytes, shape.hexadecimal(value[2], where))


@dataclass(frozen=True, slots=True)
class DataFile:
    """A data file of one fragment.

    tail: the checksum that the file's own tail carries: a swapped file is noticed.
    fields: runs (first field id, count) over the columns 0, 1, 2, …; (-1, count) = dead columns.
    stats: (field id, bounds and counts of the whole file), ascending; as they are bounds, deletes keep them right.
    """

    path: str
    nbytes: int
    tail: int
    rows: int
    fields: Runs
    stats: tuple[tuple[int, ZoneEntry], ...] = ()

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
            "base": None,
            "stats": [
                [field_id, _hex(s.min), _hex(s.max), s.null_count, s.nan_count, s.flags] for field_id, s in self.stats
            ],
        }


@dataclass(frozen=True, slots=True)
class Fragment:
    """Some rows of the table.

    row_ids: half-open intervals of stable row ids, in row order.
    files: data files with disjoint live field ids; a field in none of them reads as null here.
    created, updated: runs (version, count) in row order: when the row was born and last changed.
    """

    id: int
    rows: int
    row_ids: Runs
    files: tuple[DataFile, ...]
    created: Runs
    updated: Runs

    def locate(self, field_id: int) -> tuple[DataFile, int] | None:
        """The file and column that hold a field; None where it reads as null."""
        for file in self.files:
            column = file.column_of(field_id)
            if column is not None:
                return file, column
        return None

    def to_json(self) -> Json:
        return {
            "id": self.id,
            "rows": self.rows,
            "row_ids": self.row_ids,
            "files": [file.to_json() for file in self.files],
            "deletions": None,
            "created": self.created,
            "updated": self.updated,
        }


def runs_of(values: list[int]) -> Runs:
    """Field ids by column as runs (first, count)."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == (DEAD if runs[-1][0] == DEAD else sum(runs[-1])):
            runs[-1][1] += 1
        else:
            runs.append([value, 1])
    return tuple((first, count) for first, count in runs)


def fragment_from_json(value: Json, where: str) -> Fragment:
    """The inverse of `Fragment.to_json`. Raises Corrupt, or Unsupported for deletions and base paths."""
    holder = shape.mapping(value, where)
    fragment_id = shape.integer(holder, "id", where, high=MAX_FRAGMENT_ID)
    rows = shape.integer(holder, "rows", where, low=1, high=MAX_ROWS)
    if shape.member(holder, "deletions", where) is not None:
        _refuse_feature("deleted rows", where)
    row_ids = shape.intervals(holder, "row_ids", where, high=shape.MAX_INTEGER)
    if sum(end - start for start, end in row_ids) != rows:
        shape.refuse(row_ids, f"as many row ids as rows ({rows:,})", where)
    files = shape.each(holder, "files", where, _file_from_json)
    if not files:
        shape.refuse([], "at least one file", where)
    for file in files:
        if file.rows != rows:
            shape.refuse(file.rows, f"a file of {rows:,} rows", where)
    _check_disjoint(files, where)
    created, updated = (_version_runs(holder, name, rows, where) for name in ("created", "updated"))
    return Fragment(fragment_id, rows, row_ids, files, created, updated)


def _version_runs(holder: dict[str, Any], name: str, rows: int, where: str) -> Runs:
    runs = shape.pairs(holder, name, where, low=1)
    if sum(count for _, count in runs) != rows or any(count == 0 for _, count in runs):
        shape.refuse(runs, f"runs of versions over {rows:,} rows in {name!r}", where)
    return runs


def _file_from_json(value: Json, where: str) -> DataFile:
    holder = shape.mapping(value, where)
    if shape.member(holder, "base", where) is not None:
        _refuse_feature("files below another base path", where)
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
        path=shape.path(shape.member(holder, "path", where), where),
        nbytes=shape.integer(holder, "nbytes", where, low=1),
        tail=shape.hexadecimal(shape.member(holder, "tail", where), where),
        rows=shape.integer(holder, "rows", where, low=1, high=MAX_ROWS),
        fields=fields,
        stats=stats,
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


def _refuse_feature(what: str, where: str) -> None:
    raise Unsupported(
        f"this table has {what}, which this package does not know",
        kind="feature",
        where=where,
        hint="update lance_like",
    )
