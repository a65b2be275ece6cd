"""Which columns a read gives and how they are put together from the columns of files. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from lance_like._lazy import cached
from lance_like.errors import InvalidInput
from lance_like.file.columns import join
from lance_like.table.fields import Field
from lance_like.table.fragment import Fragment
from lance_like.table.rowids import ids_at
from lance_like.table.schema import Schema
from lance_like.typing_ import Int64s

ROW_ID = "_rowid"
ROW_ADDRESS = "_rowaddr"


def _row_ids(fragment: Fragment, offsets: Int64s) -> pa.Array:
    return pa.array(ids_at(fragment, offsets).astype(np.uint64))


def _row_addresses(fragment: Fragment, offsets: Int64s) -> pa.Array:
    return pa.array((offsets + (fragment.id << 32)).astype(np.uint64))


VIRTUAL: Mapping[str, Callable[[Fragment, Int64s], pa.Array]] = {ROW_ID: _row_ids, ROW_ADDRESS: _row_addresses}
"""Columns that no file holds: name -> what makes uint64 values for rows of a fragment."""


@dataclass(frozen=True, slots=True)
class Output:
    """One column of an answer: a field of the table, or a virtual column when field is None."""

    name: str
    field: Field | None


@dataclass(frozen=True)
class Projection:
    """Columns of an answer, in order.

    table: the fields to choose from; a struct gives the children that are in it.
    """

    table: Schema
    outputs: tuple[Output, ...]

    @cached
    def schema(self) -> pa.Schema:
        """The schema of the answer; the table's metadata when it is the whole table."""
        fields = [
            pa.field(output.name, pa.uint64())
            if output.field is None
            else self.table.arrow_field(output.field.id).with_name(output.name)
            for output in self.outputs
        ]
        return pa.schema(fields, metadata=self.table.metadata or None)

    @cached
    def leaves(self) -> dict[int, pa.DataType]:
        """Field id -> type of every column to read; a struct's own is its validity."""
        found: dict[int, pa.DataType] = {}
        for output in self.outputs:
            if output.field is not None:
                for field_id in self.table.subtree(output.field.id):
                    found[field_id] = self.table.field(field_id).type
        return found

    @property
    def is_virtual(self) -> bool:
        """True when some output is made from row numbers."""
        return any(output.field is None for output in self.outputs)

    def assemble(self, leaves: Mapping[int, pa.Array], fragment: Fragment, offsets: Int64s | None) -> list[pa.Array]:
        """The output arrays from the arrays of the leaves.

        offsets: the rows inside the fragment, needed when `is_virtual`.
        """
        arrays = []
        for output in self.outputs:
            if output.field is None:
                assert offsets is not None
                arrays.append(VIRTUAL[output.name](fragment, offsets))
            else:
                arrays.append(self._assemble(output.field, leaves))
        return arrays

    def _assemble(self, field: Field, leaves: Mapping[int, pa.Array]) -> pa.Array:
        if not pa.types.is_struct(field.type):
            return leaves[field.id]
        children = [self._assemble(child, leaves) for child in self.table.children(field.id)]
        return join(self.table.arrow_field(field.id).type, leaves[field.id], children)


def project(
    table: Schema,
    columns: Sequence[str] | None = None,
    *,
    with_row_id: bool = False,
    with_row_address: bool = False,
) -> Projection:
    """Choose columns by name or dotted path; None: all.

    A path into a struct gives one column named as the path. `_rowid` and `_rowaddr` may be named too.
    Raises NotFound (naming the nearest) for an unknown column, InvalidInput for one named twice.
    """
    if columns is None:
        outputs = [Output(field.name, field) for field in table.children()]
    elif isinstance(columns, str):
        raise InvalidInput(f"columns={columns!r} is one text: expected a list of column names")
    elif isinstance(columns, Mapping) or not all(isinstance(name, str) for name in columns):
        raise InvalidInput(f"columns={columns!r:.80}: expected a list of column names")
    else:
        outputs = [Output(name, None if name in VIRTUAL else table.find(name)) for name in columns]
    for wanted, name in ((with_row_id, ROW_ID), (with_row_address, ROW_ADDRESS)):
        if wanted and not any(output.name == name for output in outputs):
            outputs.append(Output(name, None))
    names = [output.name for output in outputs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidInput(f"the column {twice!r} is asked for twice")
    return Projection(table, tuple(outputs))


def as_batch(arrays: Sequence[pa.Array], schema: pa.Schema, num_rows: int) -> pa.RecordBatch:
    """The batch of arrays; without columns it still has its number of rows."""
    if arrays:
        return pa.RecordBatch.from_arrays(list(arrays), schema=schema)
    # The length of a batch without columns is that of a struct without fields.
    empty = pa.Array.from_buffers(pa.struct([]), num_rows, [None])
    return pa.RecordBatch.from_struct_array(empty).replace_schema_metadata(schema.metadata)
