"""Which file of a fragment holds which field, and what becomes of that when columns come in new files. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lance_like.errors import InvalidInput
from lance_like.table.actions import NewFile
from lance_like.table.fragment import DEAD, MAX_ROWS, DataFile, Fragment, runs_of
from lance_like.table.lineage import Lineage, values_of, version_runs
from lance_like.typing_ import Int64s

# Statistics of the first columns stand in the manifest too; a table of 10,000 columns must not swell every commit.
STATS_COLUMNS = 32


def data_files(files: Sequence[NewFile], field_ids: Sequence[int], rows: int) -> tuple[DataFile, ...]:
    """Files of one fragment, their columns one file after the other being the fields. Raises InvalidInput."""
    if not 1 <= rows <= MAX_ROWS or any(file.rows != rows for file in files):
        raise InvalidInput(
            f"files of {[file.rows for file in files]} rows for a fragment of {rows:,}",
            kind="rows",
            hint=f"all files of a fragment have the same rows, from 1 to {MAX_ROWS:,}",
        )
    if sum(file.columns for file in files) != len(field_ids) or any(file.columns == 0 for file in files):
        raise InvalidInput(
            f"files of {[file.columns for file in files]} columns for {len(field_ids)} fields", kind="columns"
        )
    made: list[DataFile] = []
    first = 0
    for file in files:
        ids = field_ids[first : first + file.columns]
        stats = sorted(zip(ids, file.stats[:STATS_COLUMNS], strict=False), key=lambda pair: pair[0])
        runs = runs_of(list(ids))
        made.append(DataFile(file.path, file.nbytes, file.tail, rows, runs, tuple(stats)))
        first += file.columns
    return tuple(made)


def with_files(
    fragment: Fragment, files: Sequence[NewFile] | None, field_ids: Sequence[int], gone: Sequence[int] = ()
) -> Fragment:
    """The fragment with new files that hold some fields; columns that held those of `gone` before are dead.

    files: () is right where the fragment holds none of `gone`, and the fields read as null.
    Raises InvalidInput when there are no files where there must be.
    """
    if files is None or (not files and not (gone and all(fragment.locate(field_id) is None for field_id in gone))):
        raise InvalidInput(f"the columns need files for each fragment, also for {fragment.id}", kind="fragments")
    if not files:
        return fragment
    dead = set(gone)
    kept = [_without_fields(file, dead) for file in fragment.files] if dead else list(fragment.files)
    kept = [file for file in kept if any(first != DEAD for first, _ in file.fields)]
    return replace(fragment, files=(*kept, *data_files(files, field_ids, fragment.rows)))


def updated_at(fragment: Fragment, version: int, offsets: Int64s | None = None) -> Fragment:
    """The fragment with rows that changed in a version: int64[n] offsets; None: all."""
    if offsets is None:
        updated = np.full(fragment.rows, version, np.int64)
    else:
        updated = values_of(fragment.runs.updated)
        updated[offsets] = version
    return replace(fragment, lineage=Lineage.of(replace(fragment.runs, updated=version_runs(updated))))


def _without_fields(file: DataFile, gone: set[int]) -> DataFile:
    if not any(field_id in gone for field_id in file.field_ids):
        return file
    kept = [DEAD if field_id in gone else field_id for field_id in file.field_ids]
    stats = tuple((field_id, entry) for field_id, entry in file.stats if field_id not in gone)
    return replace(file, fields=runs_of(kept), stats=stats)


__all__ = ["STATS_COLUMNS", "data_files", "updated_at", "with_files"]
