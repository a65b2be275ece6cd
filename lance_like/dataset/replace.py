"""Other values of columns in whole fragments: their files are replaced, all other columns stay as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from lance_like.dataset.columns import write_columns
from lance_like.dataset.inputs import Data, Stream, as_stream, check_nulls, conform_some
from lance_like.errors import InvalidInput
from lance_like.query.session import Session
from lance_like.table.actions import NewFile, ReplaceColumns
from lance_like.table.fragment import Fragment
from lance_like.table.manifest import Manifest


def write_replacements(session: Session, manifest: Manifest, data: Mapping[int, Data]) -> ReplaceColumns:
    """Write other values of some columns of fragments, for a change that puts them in the place of the old ones.

    data: fragment id -> its live rows, in order, with the columns that change; the same columns for each.
    Raises NotFound for a fragment, InvalidInput for other columns, types or numbers of rows than the table's.
    """
    files: dict[int, tuple[NewFile, ...]] = {}
    replaced: Sequence[str] | None = None
    for fragment_id, given in data.items():
        fragment = manifest.fragment(fragment_id)
        stream = conform_some(as_stream(given), manifest.schema.to_arrow())
        if replaced is None:
            replaced = stream.schema.names
        if not replaced or stream.schema.names != replaced:
            raise InvalidInput(f"fragment {fragment_id} has the columns {stream.schema.names}, others {replaced}")
        files[fragment_id] = (write_columns(session.store, stream.schema, fragment, _checked(fragment, stream)),)
    if replaced is None:
        raise InvalidInput("there is no fragment to replace columns of")
    schema = manifest.schema
    return ReplaceColumns(files, tuple(i for name in replaced for i in schema.subtree(schema.find((name,)).id)))


def _checked(fragment: Fragment, stream: Stream) -> Iterator[pa.RecordBatch]:
    """The batches, after a look at their nulls and rows."""
    rows = 0
    for batch in stream.batches:
        rows += len(batch)
        if rows > fragment.live_rows:
            break
        if len(batch):
            yield check_nulls(batch)
    if rows != fragment.live_rows:
        few = "more than" if rows > fragment.live_rows else f"{rows:,}, not"
        raise InvalidInput(f"fragment {fragment.id} gets {few} its {fragment.live_rows:,} rows", kind="rows")


__all__ = ["write_replacements"]
