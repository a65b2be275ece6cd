"""Which rows of a version are equal: hashes tell rows that may be, their values those that are. DuckDB does both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from lance_like.dataset.likeness import ID
from lance_like.dataset.scanner import Filter
from lance_like.dataset.sql.query import sql
from lance_like.errors import InvalidInput
from lance_like.query.nearest import as_nearest
from lance_like.typing_ import Int64s

if TYPE_CHECKING:
    from lance_like.dataset.handle import LanceDataset

# Rows that may be equal are compared about so many bytes at a time, but these at least.
_COMPARED_NBYTES, _COMPARED_ROWS = 64 << 20, 256


def equal_rows(ds: LanceDataset, columns: Sequence[str] | None, condition: Filter) -> Iterator[pa.Table]:
    """Groups of rows that are equal in some columns, all when None: `representative` and `duplicates`, some at a time.

    condition: rows that are looked at. Raises NotFound, InvalidInput.
    """
    scanner = ds.scanner(None if columns is None else list(columns), filter=condition, with_row_id=True)
    names = [name for name in scanner.projected_schema.names if name != ID]
    if not names:
        raise InvalidInput("equal rows are told by a column at least")
    ids, hashes = _hashed(scanner.to_batches(), names)
    for rows in _suspects(ds, ids, hashes, names):
        yield _equal(rows, names)


def _hashed(batches: Iterator[pa.RecordBatch], names: Sequence[str]) -> tuple[Int64s, np.ndarray]:
    """The id and the hash of each row: int64[n], uint64[n]."""
    ids: list[np.ndarray] = []
    hashes: list[np.ndarray] = []
    for batch in _hashes(batches, names):
        ids.append(batch.column(0).to_numpy())
        hashes.append(batch.column(1).to_numpy())
    if not ids:
        return np.empty(0, np.int64), np.empty(0, np.uint64)
    return np.concatenate(ids).astype(np.int64), np.concatenate(hashes)


def _hashes(batches: Iterator[pa.RecordBatch], names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    first = next(batches, None)
    if first is None:
        return
    values = ", ".join(f"c{number}" for number in range(len(names)))
    yield from sql(f"SELECT id, hash({values}) FROM rows", rows=_readable(first, batches, names)).to_batches()


def _readable(first: pa.RecordBatch, others: Iterator[pa.RecordBatch], names: Sequence[str]) -> pa.RecordBatchReader:
    """Columns as c0, c1 … in types that DuckDB reads, and `id`."""

    def made(batch: pa.RecordBatch) -> pa.RecordBatch:
        columns = [as_nearest(batch.column(name)) for name in names]
        return pa.record_batch([*columns, batch.column(ID)], [*(f"c{i}" for i in range(len(names))), "id"])

    start = made(first)

    def batches() -> Iterator[pa.RecordBatch]:
        yield start
        yield from map(made, others)

    return pa.RecordBatchReader.from_batches(start.schema, batches())


def _suspects(ds: LanceDataset, ids: Int64s, hashes: np.ndarray, names: Sequence[str]) -> Iterator[pa.Table]:
    """Rows that share their hash with others, all of a hash together, some at a time."""
    order = np.argsort(hashes, kind="stable")
    same = hashes[order][1:] == hashes[order][:-1]
    suspect = np.concatenate([[False], same]) | np.concatenate([same, [False]]) if len(ids) else np.empty(0, bool)
    rows = ids[order[suspect]]
    ends = np.flatnonzero(np.append(np.diff(hashes[order[suspect]]) != 0, True)) + 1 if len(rows) else rows
    start, at_once = 0, _COMPARED_ROWS
    while start < len(rows):
        end = int(ends[np.searchsorted(ends, min(start + at_once, len(rows)))])
        taken = ds._take_rows(rows[start:end], [*names, ID])
        yield taken
        at_once = max(_COMPARED_ROWS, int(_COMPARED_NBYTES / max(taken.nbytes / len(taken), 1)))
        start = end


def _equal(rows: pa.Table, names: Sequence[str]) -> pa.Table:
    """The groups of equal rows."""
    batches = iter(rows.combine_chunks().to_batches())
    columns = ", ".join(f"c{number}" for number in range(len(names)))
    text = (
        "SELECT ids[1] AS representative, ids[2:] AS duplicates "
        f"FROM (SELECT list_sort(list(id)) AS ids FROM rows GROUP BY {columns} HAVING count(*) > 1)"
    )
    return sql(text, rows=_readable(next(batches), batches, names)).to_arrow_table()


__all__ = ["equal_rows"]
