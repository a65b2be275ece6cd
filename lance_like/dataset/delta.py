"""What changed between two versions: rows as streams, and a summary."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pyarrow as pa

from lance_like._lazy import cached
from lance_like.dataset.operations import Transaction
from lance_like.dataset.patch import steps
from lance_like.dataset.recorded import transactions_between
from lance_like.errors import InvalidInput
from lance_like.query.projection import CREATED_AT, ROW_ID, UPDATED_AT, Output, Projection
from lance_like.query.scan import Scan, run_scan
from lance_like.query.session import Session
from lance_like.query.take import Placed, take_placed
from lance_like.table.difference import Difference, SomeRows, difference
from lance_like.table.layout import MAX_VERSION
from lance_like.table.manifest import Manifest
from lance_like.table.parts import Tree
from lance_like.table.schema import Schema, join_path
from lance_like.typing_ import whole

# Intervals of ids that are given in one batch.
_INTERVALS = 1 << 12

ReadVersion = Callable[[int], Manifest]


class DatasetDelta:
    """What changed between two versions, row by row. Made by `LanceDataset.delta`.

    Rows are known by their stable ids. Inserted are those that only the end has, as they are there; updated those
    that both have and a commit in between changed; deleted those that only the beginning has. A row that came and
    went in between is in none of them; a compaction, new columns and dropped ones change no row. After an overwrite
    all rows are new; a restore brings rows back, which are inserted again, and undoes changes, which are updates.
    """

    def __init__(self, session: Session, read: ReadVersion, begin_version: int, end_version: int) -> None:
        self._session, self._read = session, read
        self.begin_version, self.end_version = begin_version, end_version

    def get_inserted_rows(self) -> pa.RecordBatchReader:
        """The rows that came, in scan order, with `_rowid` and the versions that made and last changed them.

        Cost: the columns of those rows; memory as of a scan. Raises NotFound when one of the versions is gone.
        """
        return self._reader(self._difference.inserted)

    def get_updated_rows(self) -> pa.RecordBatchReader:
        """The rows that changed, as `get_inserted_rows` gives rows, with their new values."""
        return self._reader(self._difference.updated)

    def get_deleted_row_ids(self) -> pa.RecordBatchReader:
        """The ids of the rows that went, ascending, as a column `_rowid`. Cost: no data is read."""
        schema = pa.schema([pa.field(ROW_ID, pa.uint64())])

        def batches() -> Iterator[pa.RecordBatch]:
            found = self._difference
            for start in range(0, len(found.deleted), _INTERVALS):
                ids = found.deleted_ids(start, start + _INTERVALS).astype(np.uint64)
                yield pa.RecordBatch.from_arrays([pa.array(ids)], schema=schema)

        return pa.RecordBatchReader.from_batches(schema, batches())

    def list_transactions(self) -> list[Transaction]:
        """The commits after the beginning up to the end, oldest first; those that a cleanup removed are left out."""
        return list(transactions_between(self.begin_version + 1, self.end_version + 1, self._read))

    @cached
    def _end(self) -> Manifest:
        return self._read(self.end_version)

    @cached
    def _difference(self) -> Difference:
        return difference(self._read(self.begin_version).tree if self.begin_version else Tree(), self._end.tree)

    def _reader(self, rows: Sequence[SomeRows]) -> pa.RecordBatchReader:
        table = self._end.schema.described
        outputs = [Output(field.name, field) for field in table.children()]
        outputs += [Output(name, None) for name in (ROW_ID, CREATED_AT, UPDATED_AT)]
        projection = Projection(table, tuple(outputs))
        return pa.RecordBatchReader.from_batches(projection.schema, self._batches(projection, rows))

    def _batches(self, projection: Projection, rows: Sequence[SomeRows]) -> Iterator[pa.RecordBatch]:
        for is_all, group in groupby(rows, lambda some: some.is_all):
            if is_all:
                scan = Scan(projection, fragments=[some.fragment for some in group])
                yield from run_scan(self._session, self._end, scan)
                continue
            for some in group:
                offsets = some.offsets()
                for start, end in steps(some.fragment, len(offsets)):
                    placed = Placed([some.fragment], np.zeros(end - start, np.int64), offsets[start:end])
                    yield from take_placed(self._session, projection, placed).to_batches()


def delta_of(
    session: Session,
    read: ReadVersion,
    current: int,
    compared_against: int | None,
    begin_version: int | None,
    end_version: int | None,
) -> DatasetDelta:
    """See `LanceDataset.delta`. read: brings a version; current: that of the handle."""
    given = (begin_version, end_version)
    if (compared_against is None) == (given == (None, None)) or (compared_against is None and None in given):
        raise InvalidInput("Must specify either compared_against, or both begin_version and end_version")
    begin, end = (compared_against, current) if compared_against is not None else given
    first, last = _number(begin), _number(end)
    if not 0 <= first <= last:
        raise InvalidInput(
            f"the changes from version {first} to {last}: expected 0 <= begin <= end",
            hint="0 stands for the empty table before the first version",
        )
    return DatasetDelta(session, read, first, last)


def _number(version: object) -> int:
    number = whole(version, -MAX_VERSION)
    if number is None:
        raise InvalidInput(f"{version!r} is not the number of a version")
    return number


@dataclass(frozen=True, slots=True)
class VersionDiff:
    """What is other in one version than in another, in short. Columns are named by path and known by field id.

    columns_renamed: old name -> new one. columns_altered: new name -> the field before and now, where its type,
    nullability or metadata is another. metadata: key -> text before and now, None where it has none.
    """

    begin_version: int
    end_version: int
    columns_added: tuple[str, ...]
    columns_dropped: tuple[str, ...]
    columns_renamed: Mapping[str, str]
    columns_altered: Mapping[str, tuple[pa.Field, pa.Field]]
    rows_inserted: int
    rows_updated: int
    rows_deleted: int
    metadata: Mapping[str, tuple[str | None, str | None]]

    @property
    def is_same(self) -> bool:
        """Is nothing other?"""
        columns = (self.columns_added, self.columns_dropped, self.columns_renamed, self.columns_altered)
        return not any((*columns, self.rows_inserted, self.rows_updated, self.rows_deleted, self.metadata))


def diff_of(before: Manifest, after: Manifest) -> VersionDiff:
    """Compare two versions of one history. Cost: as of `table.difference.difference`; no data is read."""
    old, new = before.schema, after.schema
    old_ids, new_ids = ({field.id for field in schema.fields} for schema in (old, new))
    both = [field.id for field in new.fields if field.id in old_ids]
    inserted, updated, deleted = difference(before.tree, after.tree).counts
    was, now = before.metadata, after.metadata
    keys = [key for key in sorted({**was, **now}) if was.get(key) != now.get(key)]
    return VersionDiff(
        begin_version=before.version,
        end_version=after.version,
        columns_added=tuple(_name(new, field.id) for field in new.fields if field.id not in old_ids),
        columns_dropped=tuple(_name(old, field.id) for field in old.fields if field.id not in new_ids),
        columns_renamed={_name(old, i): _name(new, i) for i in both if old.field(i).name != new.field(i).name},
        columns_altered={_name(new, i): (_bare(old, i), _bare(new, i)) for i in both if _is_altered(old, new, i)},
        rows_inserted=inserted,
        rows_updated=updated,
        rows_deleted=deleted,
        metadata={key: (was.get(key), now.get(key)) for key in keys},
    )


def _name(schema: Schema, field_id: int) -> str:
    return join_path(schema.path(field_id))


def _bare(schema: Schema, field_id: int) -> pa.Field:
    field = schema.field(field_id)
    return pa.field(field.name, field.type, field.nullable, field.metadata or None)


def _is_altered(old: Schema, new: Schema, field_id: int) -> bool:
    a, b = old.field(field_id), new.field(field_id)
    return (a.type, a.nullable, a.metadata) != (b.type, b.nullable, b.metadata)


__all__ = ["DatasetDelta", "VersionDiff", "delta_of", "diff_of"]
