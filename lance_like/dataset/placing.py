"""Where new columns go: to the end of the table, or into structs that it has.

A column called by the dotted path of a field that a struct does not have yet, and a struct column called like one of
the table's that brings fields it does not have yet, go into that struct; all others go to the top. Rows in which the
table's struct is null stay null, whatever the new field has there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from lance_like._lazy import cached
from lance_like.dataset.inputs import check_cells
from lance_like.encodings.joining import taken
from lance_like.errors import InvalidInput, NotFound
from lance_like.file.carry import carry, present, taken_rows
from lance_like.query.projection import project
from lance_like.query.scan import Scan, run_scan
from lance_like.query.session import Session
from lance_like.table.fields import ROOT, Field
from lance_like.table.fragment import Fragment
from lance_like.table.manifest import Manifest
from lance_like.table.schema import Schema, join_path, split_path


@dataclass(frozen=True, slots=True)
class _NewColumn:
    """source: positions of a column of the given batches and of fields of structs below it. above: the field id of the
    struct it goes into. field: as it is in the table."""

    source: tuple[int, ...]
    above: int
    path: str
    field: pa.Field


@dataclass(frozen=True)
class Placing:
    """New columns and the structs they go into."""

    columns: tuple[_NewColumn, ...]

    @cached
    def schema(self) -> pa.Schema:
        """The new fields, each by its own name."""
        return pa.schema([column.field for column in self.columns])

    @cached
    def parents(self) -> tuple[int, ...]:
        """The field id of the struct that each goes into."""
        return tuple(column.above for column in self.columns)

    @cached
    def file_schema(self) -> pa.Schema:
        """The columns of their files: side by side, null also where the struct above is."""
        return pa.schema(
            [
                column.field.with_name(column.path).with_nullable(column.field.nullable or column.above != ROOT)
                for column in self.columns
            ]
        )

    def batches(
        self, session: Session, manifest: Manifest, fragment: Fragment, given: Iterator[pa.RecordBatch]
    ) -> Iterator[pa.RecordBatch]:
        """The columns for the live rows of a fragment. Memory: 1 byte a row and struct.

        Raises InvalidInput for a null that may not be.
        """
        hidden = {above: _null_rows(session, manifest, fragment, above) for above in {*self.parents} - {ROOT}}
        start = 0
        for batch in given:
            end = start + len(batch)
            here = {above: rows[start:end] for above, rows in hidden.items() if rows is not None}
            arrays = [_below(_picked(batch, column), column, here.get(column.above)) for column in self.columns]
            yield pa.RecordBatch.from_arrays(arrays, schema=self.file_schema)
            start = end


def place_columns(table: Schema, offered: pa.Schema) -> Placing:
    """Where the columns of a schema go. Raises InvalidInput for a name that is taken or reserved."""
    columns: list[_NewColumn] = []
    for position, field in enumerate(offered):
        columns += _placed(table, field, (position,))
    if not columns:
        raise InvalidInput("there is no new column", kind="columns")
    made = Placing(tuple(columns))
    table.extended(made.schema, max(table.source.greatest_id, 0) + 1, made.parents)
    return made


def _placed(table: Schema, field: pa.Field, source: tuple[int, ...]) -> Iterator[_NewColumn]:
    names = _into_struct(table, field.name)
    if names is not None:
        above = table.find(names[:-1])
        yield from _below_struct(table, above, field.with_name(names[-1]), source)
        return
    yield from _below_struct(table, None, field, source)


def _below_struct(table: Schema, above: Field | None, field: pa.Field, source: tuple[int, ...]) -> Iterator[_NewColumn]:
    """A field that goes below a struct or to the top; its own new fields, where it is a struct that is there."""
    above_id = ROOT if above is None else above.id
    there = table.child(field.name, above_id)
    if there is not None and there.is_struct and pa.types.is_struct(field.type):
        for position, child in enumerate(field.type):
            yield from _below_struct(table, there, child, (*source, position))
    else:
        path = join_path((*(() if above is None else table.path(above.id)), field.name))
        yield _NewColumn(source, above_id, path if above else field.name, field)


def _into_struct(table: Schema, name: str) -> tuple[str, ...] | None:
    """The names of a path whose last part is no field, the others a struct of the table."""
    try:
        names = split_path(name)
        return names if len(names) > 1 and table.find(names[:-1]).is_struct else None
    except NotFound:
        return None


def _picked(batch: pa.RecordBatch, column: _NewColumn) -> pa.Array:
    array = batch.column(column.source[0])
    for position in column.source[1:]:
        # Null where the struct is. (Arrow's flatten spoils fields that can only be null.)
        child = array.field(position)
        array = child if pa.types.is_null(child.type) else array.flatten()[position]
    return array


def _below(array: pa.Array, column: _NewColumn, hidden: np.ndarray | None) -> pa.Array:
    """The values below a struct: null in the rows where it is null."""
    checked = pa.RecordBatch.from_arrays([array], schema=pa.schema([column.field.with_name(column.path)]))
    if hidden is None or not hidden.any():
        check_cells(checked)
        return array
    check_cells(taken_rows(checked, np.flatnonzero(~hidden)))
    order = pa.array(np.arange(len(array)), mask=hidden)
    return present(taken(carry(array), order), array.type)


def _null_rows(session: Session, manifest: Manifest, fragment: Fragment, field_id: int) -> np.ndarray | None:
    """bool[live rows]: where a struct is null; None: nowhere."""
    field = manifest.schema.field(field_id)
    # The struct alone, without its fields: only its validity is read.
    bare = project(Schema.of((field._replace(parent_id=ROOT, name="struct"),), {}))
    found = [
        batch.column(0).is_null().to_numpy(zero_copy_only=False)
        for batch in run_scan(session, manifest, Scan(bare, fragments=[fragment]))
    ]
    hidden = np.concatenate(found) if found else np.zeros(0, bool)
    return hidden if hidden.any() else None


__all__ = ["Placing", "place_columns"]
