"""Other data joined to rows of a fragment by a key: as new columns, or as new values of old ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pyarrow as pa

from lance_like.dataset.inputs import Data, Stream, as_stream, conform
from lance_like.dataset.keys import KeyIndex
from lance_like.dataset.merge import Source
from lance_like.dataset.patch import Patch
from lance_like.encodings.joining import taken
from lance_like.errors import InvalidInput
from lance_like.file.carry import carry, nulls, present
from lance_like.query.projection import ROW_ADDRESS, VIRTUAL, project
from lance_like.query.scan import Scan, run_scan
from lance_like.query.session import Session
from lance_like.table.fragment import Fragment
from lance_like.table.manifest import Manifest
from lance_like.table.rowids import OFFSET_BITS
from lance_like.table.schema import Schema
from lance_like.typing_ import Int64s


class Joined:
    """For a batch of key columns, the other columns of the data: those of the row with the key, else null.

    schema: of these columns.
    """

    def __init__(self, source: Source, on: str) -> None:
        self._source, self._index = source, KeyIndex([on], source.keys)
        fields = [field for field in source.schema if field.name != on]
        if not fields:
            raise InvalidInput(f"the data has no column but the key {on!r}")
        self.schema = pa.schema(fields)

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if self._source.num_rows == 0:
            return pa.RecordBatch.from_arrays([nulls(len(batch), f.type) for f in self.schema], schema=self.schema)
        found, rows = self._index.find(batch.columns)
        # Each row of the data is taken once, however many rows have its key.
        wanted, index = np.unique(rows, return_inverse=True)
        places, without = np.zeros(len(batch), np.int64), np.ones(len(batch), bool)
        places[found], without[found] = index, False
        order = pa.array(places, mask=without)
        held = self._source.take(wanted).select(self.schema.names)
        arrays = [present(taken(carry(array), order), array.type) for array in held.columns]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


@contextmanager
def join_columns(schema: Schema, data: Data, left_on: str, right_on: str, types: pa.Schema | None) -> Iterator[Joined]:
    """What makes new columns of a batch with the key column alone. types: of the data."""
    stream = _with_key(as_stream(data, types), right_on, _key_type(schema, left_on))
    source = Source(stream, [right_on])
    try:
        yield Joined(source, right_on)
    finally:
        source.close()


@contextmanager
def patch_of(
    session: Session,
    manifest: Manifest,
    fragment: Fragment,
    data: Data,
    keys: tuple[str, str],
    types: pa.Schema | None,
) -> Iterator[tuple[Patch, list[str]]]:
    """The change of a fragment that other data is, and the names of the columns that change.

    keys: the key column of the table and that of the data.
    """
    left_on, right_on = keys
    stream = as_stream(data, types)
    names = [name for name in stream.schema.names if name != right_on]
    virtual = [name for name in names if name in VIRTUAL or name == left_on]
    if virtual or not names:
        raise InvalidInput(
            f"{virtual or 'nothing'} cannot be updated: expected columns of the table other than the key"
        )
    wanted = [manifest.schema.arrow_field(manifest.schema.find((name,)).id) for name in names]
    source = Source(_with_key(stream, right_on, _key_type(manifest.schema, left_on), wanted), [right_on])
    try:
        offsets, rows = _matches(session, manifest, fragment, left_on, KeyIndex([right_on], source.keys))
        yield Patch(fragment, offsets, lambda start, end, _: source.take(rows[start:end]).select(names)), names
    finally:
        source.close()


def _matches(
    session: Session, manifest: Manifest, fragment: Fragment, on: str, index: KeyIndex
) -> tuple[Int64s, Int64s]:
    """The rows of a fragment whose key the data has: int64[n] offsets, ascending, and rows of the data."""
    named = on == ROW_ADDRESS
    projection = project(manifest.schema, [on] if named else [on, ROW_ADDRESS])
    offsets: list[Int64s] = [np.empty(0, np.int64)]
    rows: list[Int64s] = [np.empty(0, np.int64)]
    for batch in run_scan(session, manifest, Scan(projection, fragments=[fragment])):
        places, found = index.find([batch.column(0)])
        rows.append(found)
        addresses = batch.column(0 if named else 1).to_numpy().view(np.int64)
        offsets.append(addresses[places] & ((1 << OFFSET_BITS) - 1))
    return np.concatenate(offsets), np.concatenate(rows)


def _key_type(schema: Schema, name: str) -> pa.DataType:
    return pa.uint64() if name in VIRTUAL else schema.arrow_field(schema.find(name).id).type


def _with_key(stream: Stream, on: str, kind: pa.DataType, others: Sequence[pa.Field] | None = None) -> Stream:
    """The stream with its key in the type of the table's, and other columns as they shall be."""
    place = stream.schema.get_field_index(on)
    if place < 0:
        raise InvalidInput(f"the data lacks the key column {on!r}")
    key = pa.field(on, kind, stream.schema.field(place).nullable)
    if others is None:
        return conform(stream, stream.schema.set(place, key))
    return conform(stream, pa.schema([key, *others]))


__all__ = ["Joined", "join_columns", "patch_of"]
