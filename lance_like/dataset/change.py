"""Deleting and updating rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from lance_like.dataset.inputs import cast_array
from lance_like.dataset.patch import Patch, Patched, write_patches
from lance_like.dataset.scanner import Filter, bind_filter
from lance_like.errors import InvalidInput, NotFound
from lance_like.query.build import Expression
from lance_like.query.evaluate import bind_columns, columns_read, compute_bound, parse_expressions
from lance_like.query.expr import Expr, Opaque, paths
from lance_like.query.plan import field_of
from lance_like.query.projection import ROW_ADDRESS, project
from lance_like.query.scan import Scan, run_scan
from lance_like.query.session import Session
from lance_like.table.actions import ChangeRows
from lance_like.table.fragment import Fragment
from lance_like.table.manifest import Manifest
from lance_like.table.rowids import OFFSET_BITS
from lance_like.table.schema import Schema
from lance_like.typing_ import Int64s

Isolation = Literal["write_serializable", "serializable"]
"""What a change sees of rows that other writers append meanwhile: nothing, or all (it is then made again)."""


def check_isolation(isolation: str) -> bool:
    """True for "serializable". Raises InvalidInput for what is no isolation."""
    if isolation not in ("write_serializable", "serializable"):
        raise InvalidInput(f"isolation={isolation!r}: expected 'write_serializable' or 'serializable'")
    return isolation == "serializable"


def matching(
    session: Session, manifest: Manifest, condition: Expr | None, fragments: Sequence[Fragment] | None = None
) -> dict[int, Int64s]:
    """Fragment id -> int64[n] offsets, ascending, of the live rows that pass; fragments in scan order.

    fragments: only of these. Memory: 8 bytes a row that passes.
    """
    projection = project(manifest.schema, [ROW_ADDRESS])
    found: dict[int, list[Int64s]] = {}
    for batch in run_scan(session, manifest, Scan(projection, condition, fragments=fragments)):
        addresses = batch.column(0).to_numpy().view(np.int64)
        for fragment_id, offsets in by_fragment(addresses):
            found.setdefault(fragment_id, []).append(offsets)
    return {fragment_id: np.concatenate(pieces) for fragment_id, pieces in found.items()}


def by_fragment(addresses: Int64s) -> Iterator[tuple[int, Int64s]]:
    """Addresses of rows, those of a fragment side by side: int64[n] -> its id and their offsets."""
    ids = addresses >> OFFSET_BITS
    cuts = np.flatnonzero(np.diff(ids)) + 1
    for part in np.split(addresses, cuts):
        if len(part):
            yield int(part[0] >> OFFSET_BITS), part & ((1 << OFFSET_BITS) - 1)


def fields_read(schema: Schema, condition: Expr | None) -> tuple[int, ...]:
    """The ids of the fields that a condition reads."""
    named = [] if condition is None else [field_of(schema, path) for path in sorted(paths(condition))]
    return tuple(field.id for field in named if field is not None)


class Delete:
    """The change that deletes the rows that pass; made again when another writer's change asks for it."""

    def __init__(self, session: Session, predicate: Filter, *, serializable: bool = False) -> None:
        if predicate is None:
            raise InvalidInput("delete needs a predicate", hint="delete('true') deletes every row")
        self._session, self._predicate, self._serializable = session, predicate, serializable
        self.rows = 0

    def __call__(self, manifest: Manifest | None) -> ChangeRows:
        assert manifest is not None
        condition = bind_filter(manifest.schema, self._predicate)
        removed = matching(self._session, manifest, condition)
        self.rows = sum(map(len, removed.values()))
        reads = fields_read(manifest.schema, condition)
        text = str(self._predicate) if isinstance(self._predicate, str | Expression) else None
        return ChangeRows("delete", removed=removed, reads=reads, serializable=self._serializable, predicate=text)

    def rows_of(self, made: Manifest, read: Callable[[int], Manifest]) -> int:
        """How many rows the version made has deleted: others may have deleted some of them after they were found.

        read: brings a version. Cost: the root of the version before, if it is another than the rows were found in.
        """
        if made.version > made.transaction.read_version + 1:
            # Another process may have cleaned it up within a moment.
            with suppress(NotFound):
                return read(made.version - 1).tree.live_rows - made.tree.live_rows
        return self.rows


class Update:
    """The change that computes columns of the rows that pass anew."""

    def __init__(
        self, session: Session, updates: Mapping[str, Any], where: Filter, *, serializable: bool = False
    ) -> None:
        if not isinstance(updates, Mapping) or not updates:
            raise InvalidInput(f"updates={updates!r:.80}: expected column names with SQL expressions")
        self._session, self._where, self._serializable = session, where, serializable
        self._expressions = parse_expressions(dict(updates))
        self.rows = 0

    def __call__(self, manifest: Manifest | None) -> ChangeRows:
        assert manifest is not None
        schema = manifest.schema
        condition = bind_filter(schema, self._where)
        computed = _ComputedColumns(self._session, schema, self._expressions)
        found = matching(self._session, manifest, condition)
        self.rows = sum(map(len, found.values()))
        patches = [computed.patch(manifest.fragment(fragment_id), offsets) for fragment_id, offsets in found.items()]
        written = write_patches(self._session, manifest, patches, computed.names)
        return ChangeRows(
            "update",
            removed=written.removed,
            columns=written.columns,
            fragments=written.fragments,
            field_ids=tuple(field.id for field in schema.fields),
            reads=(*fields_read(schema, condition), *computed.reads),
            changes=computed.changes,
            serializable=self._serializable,
        )


class _ComputedColumns:
    """New values of columns, from expressions over the rows as they are.

    names: the top-level columns that change. reads, changes: field ids.
    """

    def __init__(self, session: Session, schema: Schema, expressions: Mapping[str, Opaque]) -> None:
        self._session, self._schema = session, schema
        self._targets = {path: schema.find(path) for path in expressions}
        tops = {path: schema.path(field.id) for path, field in self._targets.items()}
        self.names = list(dict.fromkeys(top[0] for top in tops.values()))
        self._expressions = expressions
        table = schema.to_arrow()
        self._bound = bind_columns(expressions, table)
        needed = columns_read(self._bound.values(), table)
        self.reads = tuple(i for name in needed for i in schema.subtree(schema.find((name,)).id))
        self.changes = tuple(i for field in self._targets.values() for i in schema.subtree(field.id))
        nested = [top[0] for top in tops.values() if len(top) > 1]
        self._read_names = tuple(dict.fromkeys([*needed, *nested]))
        self._paths = tops

    def patch(self, fragment: Fragment, offsets: Int64s) -> Patch:
        """The change of some rows of a fragment: int64[n], ascending."""

        return Patch(fragment, offsets, self._values, self._read_names)

    def _values(self, start: int, end: int, old: pa.RecordBatch) -> pa.RecordBatch:
        made = compute_bound(self._bound, old)
        columns = {name: old.column(name) for name in self.names if name in old.schema.names}
        for path, array in zip(self._expressions, made.columns, strict=True):
            names = self._paths[path]
            kind = self._schema.arrow_field(self._targets[path].id)
            fitting = cast_array(array, kind.with_name(path))
            columns[names[0]] = fitting if len(names) == 1 else _with_child(columns[names[0]], names[1:], fitting)
        fields = [self._schema.arrow_field(self._schema.find((name,)).id) for name in self.names]
        return pa.RecordBatch.from_arrays([columns[name] for name in self.names], schema=pa.schema(fields))


def _with_child(struct: pa.StructArray, names: tuple[str, ...], child: pa.Array) -> pa.StructArray:
    """A struct with other values of one field, which may lie deeper; null structs stay null."""
    fields = list(struct.type)
    arrays = [struct.field(i) for i in range(len(fields))]
    at = struct.type.get_field_index(names[0])
    arrays[at] = child if len(names) == 1 else _with_child(arrays[at], names[1:], child)
    mask = struct.is_null() if struct.null_count else None
    return pa.StructArray.from_arrays(arrays, fields=fields, mask=mask)


__all__ = ["Delete", "Isolation", "Patched", "Update", "by_fragment", "check_isolation", "fields_read", "matching"]
