"""What a read gives, where that is more than columns as they are stored: values computed from them, a batch at a time.

The columns that are read stand side by side, first those of the answer, then what only expressions need, then those
that the caller makes, such as distances; a batch of them becomes a batch of the answer. Types of the answer are known
before anything is read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lance_like._lazy import cached
from lance_like.errors import InvalidInput
from lance_like.file.carry import as_batch, nulls
from lance_like.query.arithmetic import Column
from lance_like.query.evaluate import bind_columns, compute_bound, is_expression, named_by, parse_expressions
from lance_like.query.expr import Opaque, bind_opaque
from lance_like.query.projection import ROW_ADDRESS, ROW_ID, VIRTUAL, Output, Projection, check_names, project
from lance_like.query.take import are_deleted, positions_of
from lance_like.table.fields import Field
from lance_like.table.manifest import Manifest
from lance_like.table.schema import Schema

POSITION = "_rowoffset"
"""The column that says where a row stands among the live rows in scan order: what a take by position takes."""

MADE = frozenset([*VIRTUAL, POSITION])
"""The columns that no file holds."""

NOTHING = pa.schema([])

Columns: TypeAlias = Sequence[str] | Mapping[str, Any]
"""Names or dotted paths into structs; or name -> expression, in any form that a filter has."""


@dataclass(frozen=True)
class Answer:
    """Columns of an answer, in order.

    read: the columns that are read for it. recipe: what is made of them; None: they are the answer.
    """

    read: Projection
    recipe: Recipe | None = None

    @property
    def schema(self) -> pa.Schema:
        """The schema of the answer."""
        return self.read.schema if self.recipe is None else self.recipe.schema

    @property
    def make(self) -> Callable[[pa.RecordBatch], pa.RecordBatch] | None:
        """What a batch of the columns that are read becomes; None: it is the answer."""
        return None if self.recipe is None else self.recipe.make

    def batch(self, columns: list[pa.Array], given: list[pa.Array], count: int) -> pa.RecordBatch:
        """The answer from the columns that were read, as they are carried, of count rows, and those that are given."""
        arrays = self.read.present(columns)
        return as_batch(arrays, self.read.schema, count) if self.recipe is None else self.recipe.joined(arrays, given)

    def made(self, table: pa.Table) -> pa.Table:
        """The answer from a table of the columns that were read."""
        if self.recipe is None:
            return table
        return pa.Table.from_batches(map(self.recipe.make, table.to_batches()), self.schema)


def as_names(columns: Columns | None) -> Columns | None:
    """Columns that a caller named, in a form that can be gone through twice. Raises InvalidInput for what is none."""
    if columns is None or (isinstance(columns, tuple) and not columns):
        return columns
    if not isinstance(columns, list) and isinstance(columns, Mapping | str):
        return columns
    names = tuple(columns) if isinstance(columns, (list, Iterable)) else (columns,)
    check_names(names)
    return names


def answer_of(
    manifest: Manifest,
    table: Schema,
    columns: Columns | None = None,
    *,
    with_row_id: bool = False,
    with_row_address: bool = False,
    with_deleted: bool = False,
    given: pa.Schema = NOTHING,
) -> Answer:
    """Choose columns by name or dotted path, or compute them by SQL; None: all.

    table: the manifest's schema, as it is read. `_rowid`, `_rowaddr`, `_rowoffset` and the versions of rows may be
    named, and expressions may read them. with_deleted: among the rows are deleted ones, whose `_rowid` is null.
    given: columns that the caller makes, and `Recipe.make` finds behind those that are read; they may be named too.
    Raises NotFound (naming the nearest) for an unknown column, InvalidInput for one named twice or bad SQL.
    Cost: no I/O; about a millisecond for a new expression.
    """
    for name in given.names:
        if table.child(name) is not None:
            raise InvalidInput(f"the table has a column {name!r}, which the search makes too")
    made = {POSITION, *given.names}
    if not isinstance(columns, Mapping) and not with_deleted and (columns is None or made.isdisjoint(columns)):
        read = project(table, columns, with_row_id=with_row_id, with_row_address=with_row_address)
        return Answer(read)
    sources: dict[str, _Source]
    if isinstance(columns, Mapping):
        sources = _computed(table, columns, given)
    elif columns is None:
        sources = {field.name: field for field in table.children()}
    else:
        check_names(columns)
        known = MADE.union(given.names)
        sources = {name: name if name in known else table.find(name) for name in columns}
    for wanted, name in ((with_row_id, ROW_ID), (with_row_address, ROW_ADDRESS)):
        if wanted:
            sources.setdefault(name, name)
    return _answer(manifest, table, sources, given, with_deleted=with_deleted)


_Source: TypeAlias = Field | str | Opaque
"""Where a column of an answer comes from: a field, one that no file holds by its name, or an expression."""


def _computed(table: Schema, expressions: Mapping[str, Any], given: pa.Schema) -> dict[str, _Source]:
    """The source of each column; one that an expression only names is read as it is, whatever its type."""
    for name, text in expressions.items():
        if not isinstance(name, str) or not is_expression(text):
            raise InvalidInput(f"columns: {name!r} is {text!r:.80}: expected a name and its SQL expression")
    parsed = parse_expressions(expressions)
    return {name: _named(table, one, given) or one for name, one in parsed.items()}


def _named(table: Schema, expression: Opaque, given: pa.Schema) -> Field | str | None:
    """The column that an expression only names."""
    if not isinstance(expression.value, Column):
        return None
    path = named_by(expression, schema_naming(table, [expression.value.path[0]], MADE, given))
    if path is None:
        return None
    if len(path) == 1 and (path[0] in MADE or path[0] in given.names):
        return path[0]
    field = table.holder(path)
    return field if table.path(field.id) == path else None


def _answer(
    manifest: Manifest, table: Schema, sources: Mapping[str, _Source], given: pa.Schema, *, with_deleted: bool
) -> Answer:
    computed = {name: source for name, source in sources.items() if isinstance(source, Opaque)}
    picked = {name: source for name, source in sources.items() if isinstance(source, str) and source in given.names}
    stored = {name: source for name, source in sources.items() if not isinstance(source, Opaque) and name not in picked}
    fields = _fields_read(table, computed, given)
    held: dict[str, Field | str] = {}
    for name, field in fields:
        held[name] = name if field is None else table.find(table.path(field.id)[:1])
    if with_deleted or (computed and not held and not given):
        # A batch of no columns has no rows to compute constants for.
        held[ROW_ADDRESS] = ROW_ADDRESS
    read = [*stored.items(), *held.items()]
    whole = [source for source in stored.values() if not isinstance(source, str)]
    inside = table.project([field.id for field in (*whole, *(field for _, field in fields)) if field is not None])
    outputs = tuple(_output(name, source) for name, source in read)
    positions = tuple(place for place, (_, source) in enumerate(read) if source == POSITION)
    ids = tuple(place for place, (_, source) in enumerate(read) if source == ROW_ID) if with_deleted else ()
    projection = Projection(table, outputs, inside)
    recipe = Recipe(manifest, projection, tuple(sources), computed, tuple(held), positions, ids, given, picked)
    as_read = not computed and not positions and not ids and not picked and recipe.schema == projection.schema
    return Answer(projection, None if as_read else recipe)


def _output(name: str, source: Field | str) -> Output:
    if isinstance(source, str):
        return Output(ROW_ADDRESS if source == POSITION else source, None)
    return Output(name, source)


def _fields_read(table: Schema, computed: Mapping[str, Opaque], given: pa.Schema) -> list[tuple[str, Field | None]]:
    """The top-level name of each thing that expressions read, and the field; None for a column that no file holds.

    Without those that are given.
    """
    if not computed:
        return []
    names = {path[0] for one in computed.values() for path in one.columns | one.maybe}
    schema = schema_naming(table, names, MADE, given)
    needed = {path for one in computed.values() for path in bind_opaque(one, schema).columns}
    needed -= {(name,) for name in given.names}
    return [(path[0], None if path[0] in MADE else table.holder(path)) for path in sorted(needed)]


@dataclass(frozen=True)
class Recipe:
    """How the columns that are read become those of the answer.

    names: of the answer. computed: those that are computed; the others are read first, in order.
    held: the names, for the expressions, of what is read after them.
    positions: places of what is read as addresses of rows, and wanted as positions.
    ids: places of row ids that are null where a row is deleted; then `_rowaddr` is among what is held.
    given: columns that the caller puts behind those that are read. picked: name -> which of them it is.
    """

    manifest: Manifest
    read: Projection
    names: tuple[str, ...]
    computed: Mapping[str, Opaque]
    held: tuple[str, ...]
    positions: tuple[int, ...]
    ids: tuple[int, ...]
    given: pa.Schema
    picked: Mapping[str, str]

    @cached
    def schema(self) -> pa.Schema:
        """The schema of the answer."""
        schema = self.read.schema
        nothing = [nulls(0, kind) for kind in schema.types]
        computed = self._computed(nothing, [nulls(0, kind) for kind in self.given.types])
        stored = iter(schema)
        fields = [
            pa.field(name, computed[name].type)
            if name in computed
            else (self.given.field(self.picked[name]) if name in self.picked else next(stored)).with_name(name)
            for name in self.names
        ]
        return pa.schema(fields, metadata=schema.metadata)

    def make(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The answer from a batch of what is read, and of what is given behind it.

        Raises InvalidInput where DuckDB cannot evaluate an expression.
        """
        count = len(self.read.outputs)
        return self.joined(batch.columns[:count], batch.columns[count:])

    def joined(self, arrays: list[pa.Array], given: list[pa.Array]) -> pa.RecordBatch:
        """As `make`, from the columns that are read, which may be changed, and those that are given."""
        for place in self.positions:
            addresses = arrays[place].to_numpy().view(np.int64)
            arrays[place] = pa.array(positions_of(self.manifest, addresses).view(np.uint64))
        if self.ids:
            addresses = arrays[len(arrays) - len(self.held) + self.held.index(ROW_ADDRESS)]
            deleted = pa.array(are_deleted(self.manifest, addresses.to_numpy().view(np.int64)))
            for place in self.ids:
                arrays[place] = pc.if_else(deleted, None, arrays[place])
        computed = self._computed(arrays, given)
        computed.update((name, given[place]) for name, place in self._picked_from.items())
        stored = iter(arrays)
        chosen = [computed[name] if name in computed else next(stored) for name in self.names]
        return pa.RecordBatch.from_arrays(chosen, schema=self.schema)

    def _computed(self, arrays: list[pa.Array], given: list[pa.Array]) -> dict[str, pa.Array]:
        if not self.computed:
            return {}
        inputs = [*arrays[len(arrays) - len(self.held) :], *given]
        names = [*self.held, *self.given.names]
        made = compute_bound(self._bound, pa.RecordBatch.from_arrays(inputs, names=names))
        return dict(zip(self.computed, made.columns, strict=True))

    @cached
    def _picked_from(self) -> dict[str, int]:
        """The place of each column that is picked among those that are given."""
        return {name: self.given.get_field_index(source) for name, source in self.picked.items()}

    @cached
    def _bound(self) -> dict[str, Any]:
        """The expressions, bound to what they are computed from."""
        kinds = self.read.schema.types
        inputs = [*kinds[len(kinds) - len(self.held) :], *self.given.types]
        return bind_columns(self.computed, pa.schema(list(zip([*self.held, *self.given.names], inputs, strict=True))))


def schema_naming(
    table: Schema, names: Iterable[str] | None, made: Collection[str], given: pa.Schema = NOTHING
) -> pa.Schema:
    """The columns of some names, in which expressions are bound; those that no file holds; and those that are given.

    names: as expressions spell them. All columns are there when one is not known as it is spelled, or for None: to
    look for near names. made: the names of columns of row numbers.
    """
    known = set(made).union(given.names)
    fields = [None] if names is None else [table.child(name) for name in sorted(set(names).difference(known))]
    chosen = [table.arrow_field(field.id) for field in fields if field is not None]
    if len(chosen) < len(fields):
        chosen = list(table.to_arrow())
    return pa.schema([*chosen, *(pa.field(name, pa.uint64(), nullable=False) for name in sorted(made)), *given])


__all__ = ["MADE", "NOTHING", "POSITION", "Answer", "Columns", "answer_of", "as_names", "schema_naming"]
