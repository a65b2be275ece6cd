"""Small files in memory: written, opened and read whole or row by row through the file layer alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pytest

from lance_like.encodings.joining import joined
from lance_like.file import cut, stats, writer
from lance_like.file.carry import carried_type, present
from lance_like.file.columns import flatten, join
from lance_like.file.reader import FileReader, open_file
from lance_like.file.writer import FileSummary, FileWriter
from lance_like.io.fetch import drive, drive_all
from lance_like.io.memory import MemoryStore
from lance_like.io.store import Store
from lance_like.typing_ import Int64s

KEY = "data/f.lnl"


@contextmanager
def small_pages(*, nbytes: int = 400, rows: int = 100, zone_rows: int = 32) -> Iterator[None]:
    """Let the writer cut pages and zones of a few rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cut, "PAGE_NBYTES", nbytes)
        patch.setattr(cut, "PAGE_ROWS", rows)
        patch.setattr(cut, "ZONE_ROWS", zone_rows)
        patch.setattr(writer, "ZONE_ROWS", zone_rows)
        patch.setattr(stats, "ZONE_ROWS", zone_rows)
        yield


def write(table: pa.Table, store: Store | None = None, *, batch_rows: int | None = None) -> tuple[Store, FileSummary]:
    """Write a table as one file. batch_rows: rows of the batches that the writer is given."""
    store = store or MemoryStore()
    made = FileWriter(table.schema)
    nbytes = store.put(KEY, made.chunks(table.to_batches(batch_rows)))
    assert nbytes == made.summary.nbytes
    return store, made.summary


def opened(store: Store, *, tail: int | None = None, verify: bool = True) -> FileReader:
    """Open the file of a store."""
    return drive(store, KEY, open_file(KEY, store.size(KEY), tail=tail, verify=verify))


def kinds_of(schema: pa.Schema) -> list[pa.DataType]:
    """The types of the columns of a file, in order."""
    return [column.type for column in flatten(schema)]


def rows_of(store: Store, reader: FileReader, schema: pa.Schema, rows: Int64s) -> pa.Table:
    """Some rows of all columns, in the order asked."""
    reads = [(KEY, reader.read_rows(i, kind, rows)) for i, kind in enumerate(kinds_of(schema))]
    return _assembled(schema, drive_all(store, reads))


def span_of(store: Store, reader: FileReader, schema: pa.Schema, start: int, end: int) -> pa.Table:
    """A run of rows of all columns."""
    kinds = [carried_type(kind) for kind in kinds_of(schema)]
    found = drive_all(store, [(KEY, reader.read_span(i, kind, start, end)) for i, kind in enumerate(kinds_of(schema))])
    pieces = [joined(arrays) if arrays else pa.nulls(0, kind) for arrays, kind in zip(found, kinds, strict=True)]
    return _assembled(schema, pieces)


def _assembled(schema: pa.Schema, columns: Sequence[pa.Array]) -> pa.Table:
    left = iter(columns)

    def take(field: pa.Field) -> pa.Array:
        own = next(left)
        if not pa.types.is_struct(field.type):
            return own
        return join(carried_type(field.type), own, [take(child) for child in field.type])

    arrays = [present(take(field), field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def picked(table: pa.Table, rows: Int64s) -> pa.Table:
    """What a read of rows must answer: by slices, which every type has."""
    pieces = [table.slice(row, 1) for row in rows.tolist()]
    return pa.concat_tables(pieces) if pieces else table.slice(0, 0)


def random_rows(table: pa.Table, count: int, seed: int) -> Int64s:
    """Rows of a table in any order, with repeats."""
    return np.random.default_rng(seed).integers(0, len(table), count if len(table) else 0)
