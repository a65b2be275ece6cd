"""Rows that change: written anew with all their columns, or their columns written anew with all rows of a fragment,
whichever takes fewer bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, chain

import numpy as np
import pyarrow as pa

from lance_like.dataset.columns import CutRows, write_columns
from lance_like.dataset.inputs import Stream, check_cells
from lance_like.dataset.stats import stored_nbytes
from lance_like.dataset.write import FileLimits, files_ahead, write_fragments
from lance_like.encodings.joining import joined, taken
from lance_like.file.carry import as_batch, carry, one_batch, present
from lance_like.query.ahead import Job, default_threads, in_order
from lance_like.query.projection import project
from lance_like.query.scan import Scan, run_scan
from lance_like.query.session import Session
from lance_like.query.take import Placed, take_placed
from lance_like.table.actions import NewColumns, NewFragment
from lance_like.table.fragment import Fragment
from lance_like.table.lineage import of_rows, values_at
from lance_like.table.manifest import Manifest
from lance_like.table.rowids import ids_at
from lance_like.table.schema import Schema
from lance_like.typing_ import Int64s

# Rows that are read, changed and written in one step, by their estimated bytes.
_STEP_NBYTES = 16 << 20
_STEP_ROWS = 1 << 16
# Of steps that are read ahead.
_AHEAD_NBYTES = 2 * _STEP_NBYTES
# What deletion vectors and lineages take for a row that moves: written anew, it must pay for them.
_MOVED_NBYTES = 6


@dataclass(frozen=True, eq=False)
class Patch:
    """Rows of a fragment that change.

    offsets: int64[n], ascending. reads: the columns that the new values are made from.
    values(start, end, old): the new values of the changed columns for offsets[start:end], with the names and types of
    the table; old: those rows, `reads` and maybe other columns.
    """

    fragment: Fragment
    offsets: Int64s
    values: Callable[[int, int, pa.RecordBatch], pa.RecordBatch]
    reads: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Patched:
    """What was written. columns: fragment id -> columns written anew; removed: offsets of rows written anew.

    fragments: those rows, and new ones.
    """

    columns: dict[int, NewColumns]
    removed: dict[int, Int64s]
    fragments: tuple[NewFragment, ...]


def write_patches(
    session: Session,
    manifest: Manifest,
    patches: Sequence[Patch],
    names: Sequence[str],
    new: Iterator[pa.RecordBatch] | None = None,
) -> Patched:
    """Write what changes. names: the changed columns of the table. new: rows that the table gets beside, all columns.

    Memory: some steps of rows. Cost: for each fragment the fewer bytes, by estimate, of its changed rows whole or its
    changed columns whole.
    """
    moved: list[Patch] = []
    kept: list[Patch] = []
    for patch, nbytes in zip(patches, _columns_nbytes(session, manifest.schema, patches, names), strict=True):
        (moved if _rows_nbytes(patch) < nbytes else kept).append(patch)
    columns = write_patch_columns(session, manifest, kept, names)
    removed = {patch.fragment.id: patch.offsets for patch in moved}
    return Patched(columns, removed, _write_rows(session, manifest, moved, names, new))


def _rows_nbytes(patch: Patch) -> float:
    """What the changed rows of a fragment take when they are written whole, about."""
    return len(patch.offsets) * (_row_nbytes(patch.fragment) + _MOVED_NBYTES)


def _columns_nbytes(session: Session, schema: Schema, patches: Sequence[Patch], names: Sequence[str]) -> Iterator[int]:
    """The stored bytes of some columns of the fragments of patches."""
    ids = [below for name in names for below in schema.subtree(schema.find((name,)).id)]
    held = stored_nbytes(session, schema, (patch.fragment for patch in patches), ids)
    return (sum(nbytes.values()) for nbytes in held)


def write_patch_columns(
    session: Session, manifest: Manifest, patches: Sequence[Patch], names: Sequence[str]
) -> dict[int, NewColumns]:
    """Write the changed columns of fragments anew, with all their rows. names: the changed columns."""
    projection = project(manifest.schema, names)
    ids = tuple(below for output in projection.outputs if output.field for below in _subtree(manifest, output.field.id))
    columns: dict[int, NewColumns] = {}
    scan = Scan(projection, fragments=[patch.fragment for patch in patches], apart=True)
    with closing(run_scan(session, manifest, scan)) as batches, files_ahead(session.store) as write:
        rows = CutRows(batches)
        for patch in patches:
            new = _patched(session, manifest, patch, rows.take(patch.fragment.live_rows))
            file = write_columns(write, projection.schema, patch.fragment, new)
            columns[patch.fragment.id] = NewColumns((file,), ids, patch.offsets)
    return columns


def _subtree(manifest: Manifest, field_id: int) -> tuple[int, ...]:
    return manifest.schema.subtree(field_id)


def _patched(
    session: Session, manifest: Manifest, patch: Patch, batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Some columns of all live rows of a fragment, with the new values. batches: as they are."""
    live = 0
    for batch in batches:
        offsets = patch.fragment.offsets_of_live(np.arange(live, live + len(batch)))
        live += len(batch)
        start, end = patch.offsets.searchsorted((offsets[0], offsets[-1] + 1)).tolist()
        if start < end:
            places = offsets.searchsorted(patch.offsets[start:end])
            new = _new_values(session, manifest.schema, patch, start, end, batch, places)
            batch = _merged(batch, check_cells(new), places)
        yield batch


def _new_values(
    session: Session, schema: Schema, patch: Patch, start: int, end: int, batch: pa.RecordBatch, places: Int64s
) -> pa.RecordBatch:
    """The values of offsets[start:end], which are rows of a batch: int64[end - start]."""
    if set(patch.reads) <= set(batch.schema.names):
        order = pa.array(places)
        old = [present(taken(carry(batch.column(name)), order), batch.column(name).type) for name in patch.reads]
        fields = [batch.schema.field(name) for name in patch.reads]
        return patch.values(start, end, as_batch(old, pa.schema(fields), end - start))
    pieces = [
        patch.values(
            start + i,
            start + j,
            rows_of(session, schema, [(patch.fragment, patch.offsets[start + i : start + j])], patch.reads),
        )
        for i, j in steps(patch.fragment, end - start)
    ]
    return one_batch(pa.Table.from_batches(pieces))


def _merged(old: pa.RecordBatch, new: pa.RecordBatch, places: Int64s) -> pa.RecordBatch:
    """The old rows with new ones in some places: int64[len(new)]."""
    rows = np.arange(len(old))
    rows[places] = len(old) + np.arange(len(new))
    order = pa.array(rows)
    arrays = [
        present(taken(joined([carry(mine), carry(theirs)]), order), mine.type)
        for mine, theirs in zip(old.columns, new.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=old.schema)


def _write_rows(
    session: Session,
    manifest: Manifest,
    patches: Sequence[Patch],
    names: Sequence[str],
    new: Iterator[pa.RecordBatch] | None,
) -> tuple[NewFragment, ...]:
    """Write rows whole: those of the patches in their order, with the ids they have, then new ones."""
    if not patches and new is None:
        return ()
    rows = chain(_whole_rows(session, manifest, patches, names), new or ())
    written = write_fragments(session.store, Stream(manifest.schema.to_arrow(), rows), limits=FileLimits())
    if not patches:
        return written
    ids = np.concatenate([ids_at(patch.fragment, patch.offsets) for patch in patches])
    created = np.concatenate([values_at(patch.fragment.runs.created, patch.offsets) for patch in patches])
    return _with_lineage(written, ids, created)


def _with_lineage(written: Sequence[NewFragment], ids: Int64s, created: Int64s) -> tuple[NewFragment, ...]:
    """Fragments whose first rows were in the table before. ids, created: int64 of those rows; all change now."""
    ends = list(accumulate(fragment.files[0].rows for fragment in written))
    return tuple(
        NewFragment(fragment.files, of_rows(ids[start:end], created[start:end], np.zeros_like(ids[start:end])))
        if start < len(ids)
        else fragment
        for fragment, start, end in zip(written, [0, *ends], ends, strict=False)
    )


def _whole_rows(
    session: Session, manifest: Manifest, patches: Sequence[Patch], names: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """All columns of the rows of patches as they are from now on, read on threads, in order."""

    def jobs() -> Iterator[Job[pa.RecordBatch]]:
        for some in _grouped(patches):
            run = partial(_rows_of_steps, session, manifest.schema, some, names)
            yield Job(run, int(sum(step.nbytes for step in some)))

    yield from in_order(jobs(), threads=default_threads(), budget_nbytes=_AHEAD_NBYTES)


@dataclass(frozen=True, slots=True)
class _Step:
    """Rows of a patch that are read and changed in one go: offsets[start:end]."""

    patch: Patch
    start: int
    end: int

    @property
    def nbytes(self) -> float:
        """What they take in files, about."""
        return (self.end - self.start) * _row_nbytes(self.patch.fragment)


def _grouped(patches: Sequence[Patch]) -> Iterator[list[_Step]]:
    """The steps of patches, in order, those of few rows together."""
    some: list[_Step] = []
    rows, nbytes = 0, 0.0
    for patch in patches:
        for start, end in steps(patch.fragment, len(patch.offsets)):
            step = _Step(patch, start, end)
            if some and (rows + end - start > _STEP_ROWS or nbytes + step.nbytes > _STEP_NBYTES):
                yield some
                some, rows, nbytes = [], 0, 0.0
            some.append(step)
            rows, nbytes = rows + end - start, nbytes + step.nbytes
    if some:
        yield some


def _rows_of_steps(session: Session, schema: Schema, some: Sequence[_Step], names: Sequence[str]) -> pa.RecordBatch:
    """The rows of steps as they are from now on, one step after the other. Cost: as one take."""
    whole = schema.to_arrow()
    read = {name for step in some for name in step.patch.reads}
    kept = [name for name in whole.names if name in read or name not in names]
    parts = [(step.patch.fragment, step.patch.offsets[step.start : step.end]) for step in some]
    old = rows_of(session, schema, parts, kept)
    ends = list(accumulate(step.end - step.start for step in some))
    made = [
        step.patch.values(step.start, step.end, old.slice(at, step.end - step.start))
        for step, at in zip(some, [0, *ends], strict=False)
    ]
    new = made[0] if len(made) == 1 else one_batch(pa.Table.from_batches(made))
    found = dict(zip(kept, old.columns, strict=True)) | dict(zip(new.schema.names, new.columns, strict=True))
    return pa.RecordBatch.from_arrays([found[name] for name in whole.names], schema=whole)


def steps(fragment: Fragment, rows: int) -> Iterator[tuple[int, int]]:
    """So many rows of a fragment cut into steps that are small in memory: start and end of each."""
    step = int(min(_STEP_ROWS, max(1, _STEP_NBYTES // max(1, _row_nbytes(fragment)))))
    for start in range(0, rows, step):
        yield start, min(rows, start + step)


def _row_nbytes(fragment: Fragment) -> float:
    """What a row of a fragment takes in its files."""
    return sum(file.nbytes for file in fragment.files) / fragment.rows


def rows_of(
    session: Session, schema: Schema, parts: Sequence[tuple[Fragment, Int64s]], names: Sequence[str]
) -> pa.RecordBatch:
    """Some columns of rows of fragments, one part after the other, in one batch, blobs as bytes."""
    projection = project(schema, names)
    counts = [len(offsets) for _, offsets in parts]
    index = np.repeat(np.arange(len(parts)), counts)
    placed = Placed([fragment for fragment, _ in parts], index, np.concatenate([offsets for _, offsets in parts]))
    table = take_placed(session, projection, placed)
    return as_batch([joined(column.chunks) for column in table.columns], projection.schema, sum(counts))


__all__ = ["Patch", "Patched", "rows_of", "steps", "write_patch_columns", "write_patches"]
