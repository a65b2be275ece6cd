"""Joining columns in: the rows of a source by key, as new columns of the rows of the table."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from lance_like.dataset.columns import Computed
from lance_like.dataset.inputs import Data, as_stream, conform
from lance_like.dataset.keys import KeyIndex
from lance_like.dataset.merge import Source
from lance_like.encodings.joining import taken
from lance_like.errors import InvalidInput
from lance_like.file.carry import carry, present
from lance_like.query.projection import project
from lance_like.query.session import Session
from lance_like.table.commit import Change
from lance_like.table.manifest import Manifest


def join_columns(
    session: Session,
    manifest: Manifest,
    data: Data,
    commit: Callable[[Change], None],
    *,
    left_on: str,
    right_on: str | None = None,
    schema: pa.Schema | None = None,
) -> None:
    """Join the columns of a source in; see `LanceDataset.merge`. commit: makes a change the next version.

    Memory: the keys of the source and 256 MiB of its rows; the rest lies in a temporary folder.
    """
    stream = as_stream(data, schema)
    key = right_on or left_on
    if key not in stream.schema.names:
        raise InvalidInput(f"the data lacks the key column {key!r}", hint="name it in right_on=")
    wanted = project(manifest.schema, [left_on]).schema.field(0).with_name(key).with_nullable(True)
    fields = [wanted if field.name == key else field for field in stream.schema]
    source = Source(conform(stream, pa.schema(fields)), [key])
    try:
        index = KeyIndex([key], source.keys)
        names = [name for name in stream.schema.names if name != key]
        known = pa.schema([stream.schema.field(name) for name in names])

        def joined(batch: pa.RecordBatch) -> pa.RecordBatch:
            return _rows(source, index.find([batch.column(0)]), known)

        commit(Computed(session, joined, [left_on], known=known))
    finally:
        source.close()


def _rows(source: Source, rows: np.ndarray, schema: pa.Schema) -> pa.RecordBatch:
    """Rows of a source by position: int64[n]; null where it is -1."""
    found = np.unique(rows[rows >= 0])
    held = source.take(found).select(schema.names)
    order = pa.array(found.searchsorted(rows), mask=rows < 0)
    arrays = [present(taken(carry(column), order), column.type) for column in held.columns]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


__all__ = ["join_columns"]
