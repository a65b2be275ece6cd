"""Which columns a read gives and how they are put together from the columns of files. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np
import pyarrow as pa

from lance_like._lazy import cached
from lance_like.encodings.joining import is_unsettled, settled
from lance_like.encodings.physical import flat_width
from lance_like.errors import InvalidInput
from lance_like.file.carry import as_batch, carried_field, carried_type, most_rows, present
from lance_like.file.columns import join
from lance_like.ranges import listed
from lance_like.table.fields import Field
from lance_like.table.fragment import DEAD, Fragment, Runs
from lance_like.table.lineage import values_at
from lance_like.table.rowids import OFFSET_BITS, ids_at
from lance_like.table.schema import Schema
from lance_like.typing_ import Int64s, Offsets

ROW_ID = "_rowid"
ROW_ADDRESS = "_rowaddr"
CREATED_AT = "_row_created_at_version"
UPDATED_AT = "_row_last_updated_at_version"
# Fragments whose files hold other fields: as many as there were changes of columns, as a rule few.
_PLACEMENTS_KEPT = 64


def _row_ids(fragment: Fragment, offsets: Int64s) -> pa.Array:
    return pa.array(ids_at(fragment, offsets).view(np.uint64))


def _row_addresses(fragment: Fragment, offsets: Int64s) -> pa.Array:
    return pa.array((offsets + (fragment.id << OFFSET_BITS)).view(np.uint64))


def _created_at(fragment: Fragment, offsets: Int64s) -> pa.Array:
    return pa.array(values_at(fragment.runs.created, offsets).astype(np.uint64))


def _updated_at(fragment: Fragment, offsets: Int64s) -> pa.Array:
    return pa.array(values_at(fragment.runs.updated, offsets).astype(np.uint64))


def virtual_of(fragment: Fragment, offsets: Offsets | None) -> Callable[[str], pa.Array]:
    """What makes a column of `VIRTUAL` for rows of one fragment; None: no such column will be asked for."""

    def make(name: str) -> pa.Array:
        assert offsets is not None
        return VIRTUAL[name](fragment, listed(offsets))

    return make


VIRTUAL: Mapping[str, Callable[[Fragment, Int64s], pa.Array]] = {
    ROW_ID: _row_ids,
    ROW_ADDRESS: _row_addresses,
    CREATED_AT: _created_at,
    UPDATED_AT: _updated_at,
}
"""Columns that no file holds: name -> what makes uint64 values for rows of a fragment."""


def virtual_bounds(name: str, fragment: Fragment) -> tuple[int, int]:
    """The least and greatest value of a column of `VIRTUAL` in a fragment, or wider bounds.

    Cost: for the versions, the fragment's lineage, which may lie in a part.
    """
    if name == ROW_ID:
        low, end = fragment.lineage.bounds
        return low, end - 1
    if name == ROW_ADDRESS:
        return fragment.id << OFFSET_BITS, (fragment.id << OFFSET_BITS) + fragment.rows - 1
    versions = fragment.runs.created if name == CREATED_AT else fragment.runs.updated
    return int(versions[:, 0].min()), int(versions[:, 0].max())


@dataclass(frozen=True, slots=True)
class Output:
    """One column of an answer: a field of the table, or a virtual column when field is None."""

    name: str
    field: Field | None


@dataclass(frozen=True, slots=True)
class FileColumns:
    """The columns of one file of a fragment that an answer needs.

    file: its place among the fragment's files. columns, kinds, field_ids: number, type and field of each.
    """

    file: int
    columns: tuple[int, ...]
    kinds: tuple[pa.DataType, ...]
    field_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a fragment holds the leaves of a projection. missing: field id -> type of those that read as null."""

    files: tuple[FileColumns, ...]
    missing: dict[int, pa.DataType]


@dataclass(frozen=True, slots=True)
class _Tree:
    """A field of an output. struct: its type as it is carried, when it is put together from children; else None."""

    field_id: int
    struct: pa.DataType | None
    children: tuple[_Tree, ...]


@dataclass(frozen=True)
class Projection:
    """Columns of an answer, in order.

    table: the fields to choose from. inside: those of them that structs give; None: all.
    """

    table: Schema
    outputs: tuple[Output, ...]
    inside: Schema | None = None
    _placements: dict[tuple[Runs, ...], Placement] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached
    def schema(self) -> pa.Schema:
        """The schema of the answer; the table's metadata when it is the whole table."""
        return pa.schema([self._arrow(output) for output in self.outputs], metadata=self.table.metadata or None)

    def _arrow(self, output: Output) -> pa.Field:
        field = output.field
        if field is None:
            return pa.field(output.name, pa.uint64())
        if field.is_struct:
            return self._inside.arrow_field(field.id).with_name(output.name)
        return pa.field(output.name, field.type, field.nullable, field.metadata or None)

    @property
    def _inside(self) -> Schema:
        return self.table if self.inside is None else self.inside

    @cached
    def carried_schema(self) -> pa.Schema:
        """The schema of what `assemble` gives: types as they are carried (file/carry.py)."""
        if not self._carried_otherwise:
            return self.schema
        return pa.schema([carried_field(field) for field in self.schema], metadata=self.schema.metadata)

    @cached
    def _carried_otherwise(self) -> tuple[tuple[int, pa.DataType], ...]:
        """Position and type of the outputs whose arrays are carried as another type."""
        kinds = enumerate(self.schema.types)
        return tuple((i, kind) for i, kind in kinds if carried_type(kind) is not kind)

    @cached
    def _unsettled(self) -> list[int]:
        """The outputs from whose slices Arrow takes other rows than asked (encodings/joining.py)."""
        return [i for i, kind in enumerate(self.carried_schema.types) if is_unsettled(kind)]

    @cached
    def most_rows(self) -> int | None:
        """The most rows of a batch of the answer, where a type has a limit of its own."""
        limits = (most_rows(kind) for _, kind in self._carried_otherwise)
        return min((limit for limit in limits if limit is not None), default=None)

    @cached
    def leaves(self) -> dict[int, pa.DataType]:
        """Field id -> type of every column to read; a struct's own is its validity."""
        found: dict[int, pa.DataType] = {}
        for output in self.outputs:
            if output.field is not None:
                found[output.field.id] = output.field.type
                if output.field.is_struct:
                    inside = self._inside
                    found.update((below, inside.field(below).type) for below in inside.subtree(output.field.id))
        return found

    def place(self, fragment: Fragment) -> Placement:
        """Where a fragment holds the leaves; found once for all fragments whose files hold the same fields."""
        runs = tuple([file.fields for file in fragment.files])
        found = self._placements.get(runs)
        if found is None:
            if len(self._placements) >= _PLACEMENTS_KEPT:
                self._placements.clear()
            found = self._placements[runs] = place_leaves(self.leaves, runs)
        return found

    @cached
    def row_nbytes(self) -> int | None:
        """The bytes of a row, where each output is a column of its own of a fixed width."""
        widths = [flat_width(carried_type(kind)) for kind in self.leaves.values()]
        known = [width for width in widths if width is not None]
        return int(sum(known)) if self._ids is not None and len(known) == len(widths) else None

    @cached
    def _ids(self) -> list[int] | None:
        """The fields of the outputs when each is a column of its own, as in most tables."""
        ids = [output.field.id for output in self.outputs if output.field and not output.field.is_struct]
        return ids if len(ids) == len(self.outputs) else None

    @property
    def is_plain(self) -> bool:
        """Is each output a column of its own?"""
        return self._ids is not None

    @property
    def is_virtual(self) -> bool:
        """True when some output is made from row numbers."""
        return any(output.field is None for output in self.outputs)

    def assemble(self, leaves: Mapping[int, pa.Array], make: Callable[[str], pa.Array]) -> list[pa.Array]:
        """The output arrays from the arrays of the leaves, all as they are carried.

        make: gives a column of `VIRTUAL` by its name.
        """
        if self._ids is not None:
            return [leaves[field_id] for field_id in self._ids]
        arrays: list[pa.Array] = []
        for output, tree in zip(self.outputs, self._trees, strict=True):
            if tree is None:
                arrays.append(make(output.name))
            else:
                arrays.append(_joined_tree(tree, leaves))
        return arrays

    @cached
    def _trees(self) -> list[_Tree | None]:
        """How each output is put together; None for one that no file holds."""
        return [None if output.field is None else self._tree(output.field) for output in self.outputs]

    def _tree(self, field: Field) -> _Tree:
        if not field.is_struct:
            return _Tree(field.id, None, ())
        children = tuple(self._tree(child) for child in self._inside.children(field.id))
        return _Tree(field.id, carried_type(self._inside.arrow_field(field.id).type), children)

    def settle(self, arrays: list[pa.Array]) -> list[pa.Array]:
        """What `assemble` gave, ready for Arrow's own take of a whole batch."""
        for i in self._unsettled:
            arrays[i] = settled(arrays[i])
        return arrays

    def batches(self, arrays: list[pa.Array], count: int, rows: int) -> list[pa.RecordBatch]:
        """Batches of the answer's types from what `assemble` gave for count rows, each of so many rows at most."""
        starts = range(0, count, rows)
        if self.most_rows is None:
            batch = as_batch(self.present(arrays), self.schema, count)
            return [batch.slice(start, rows) for start in starts]
        # A type has a limit of its own: all rows together may not fit one array.
        cuts = ([array.slice(start, rows) for array in arrays] for start in starts)
        return [as_batch(self.present(cut), self.schema, len(cut[0])) for cut in cuts]

    def present(self, arrays: list[pa.Array]) -> list[pa.Array]:
        """The output arrays in the types of the schema, from what `assemble` gave; at most `most_rows` of them."""
        for i, kind in self._carried_otherwise:
            arrays[i] = present(arrays[i], kind)
        return arrays


def _joined_tree(tree: _Tree, leaves: Mapping[int, pa.Array]) -> pa.Array:
    if tree.struct is None:
        return leaves[tree.field_id]
    return join(tree.struct, leaves[tree.field_id], [_joined_tree(child, leaves) for child in tree.children])


def place_leaves(leaves: Mapping[int, pa.DataType], files: Sequence[Runs]) -> Placement:
    """Where files hold leaves. files: what each holds, as runs of field ids over its columns."""
    runs = sorted(
        (first, first + count, file, after - count)
        for file, held in enumerate(files)
        for (first, count), after in zip(held, accumulate(count for _, count in held), strict=True)
        if first != DEAD
    )
    firsts = [first for first, *_ in runs]
    found: dict[int, list[tuple[int, pa.DataType, int]]] = {}
    missing: dict[int, pa.DataType] = {}
    for field_id, kind in leaves.items():
        at = bisect_right(firsts, field_id) - 1
        first, end, file, column = runs[at] if at >= 0 else (0, 0, 0, 0)
        if field_id < end:
            found.setdefault(file, []).append((column + field_id - first, kind, field_id))
        else:
            missing[field_id] = kind
    files_found = []
    for file, held in found.items():
        columns, kinds, field_ids = zip(*held, strict=True)
        files_found.append(FileColumns(file, columns, kinds, field_ids))
    return Placement(tuple(files_found), missing)


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
    else:
        check_names(columns)
        outputs = [Output(name, None if name in VIRTUAL else table.find(name)) for name in columns]
    for wanted, name in ((with_row_id, ROW_ID), (with_row_address, ROW_ADDRESS)):
        if wanted and not any(output.name == name for output in outputs):
            outputs.append(Output(name, None))
    return Projection(table, tuple(outputs))


_IS_TEXT = str.__instancecheck__


def check_names(columns: Sequence[str]) -> None:
    """Raise InvalidInput unless columns are different names."""
    if isinstance(columns, str):
        raise InvalidInput(f"columns={columns!r} is one text: expected a list of column names")
    is_list = isinstance(columns, (list, tuple)) or not isinstance(columns, Mapping)
    if not is_list or not all(map(_IS_TEXT, columns)):
        raise InvalidInput(f"columns={columns!r:.80}: expected a list of column names")
    if len(set(columns)) < len(columns):
        names = list(columns)
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidInput(f"the column {twice!r} is asked for twice")
