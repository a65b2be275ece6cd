"""Other values of columns in a whole fragment: one file takes them over, all other columns stay as they are."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pyarrow as pa

from lance_like.dataset.columns import write_columns
from lance_like.dataset.fragment_metadata import DataFile
from lance_like.dataset.inputs import Data, Stream, as_columns, check_cells, conform_some
from lance_like.dataset.write import write_file
from lance_like.errors import InvalidInput
from lance_like.query.session import Session
from lance_like.table.fragment import Fragment
from lance_like.table.manifest import Manifest


def write_replacement(session: Session, manifest: Manifest, fragment: Fragment, data: Data) -> DataFile:
    """Write other values of some columns of a fragment, for a change that puts them in the place of the old ones.

    data: its live rows, in order, with the columns that change.
    Raises InvalidInput for other columns, types or numbers of rows than the table's.
    """
    schema = manifest.schema
    stream = conform_some(as_columns(data), schema.to_arrow())
    if not stream.schema.names:
        raise InvalidInput("there is no column to replace", kind="columns")
    file = write_columns(partial(write_file, session.store), stream.schema, fragment, _checked(fragment, stream))
    return DataFile.of_new(file, [i for name in stream.schema.names for i in schema.subtree(schema.find((name,)).id)])


def _checked(fragment: Fragment, stream: Stream) -> Iterator[pa.RecordBatch]:
    """The batches, after a look at their nulls and rows."""
    rows = 0
    for batch in stream.batches:
        rows += len(batch)
        if rows > fragment.live_rows:
            break
        if len(batch):
            yield check_cells(batch)
    if rows != fragment.live_rows:
        few = "more than" if rows > fragment.live_rows else f"{rows:,}, not"
        raise InvalidInput(f"fragment {fragment.id} gets {few} its {fragment.live_rows:,} rows", kind="rows")


__all__ = ["write_replacement"]
