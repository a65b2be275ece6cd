"""An `Edit` made of a table: DuckDB chooses the rows and computes their values, one commit changes them.

The SELECT runs over the version that the commit is made for, and again over a newer one when another writer's commit
asks for it: DuckDB may have read any column of any row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from lance_like.dataset.change import by_fragment
from lance_like.dataset.handle import LanceDataset
from lance_like.dataset.inputs import Stream, cast_array, filled
from lance_like.dataset.merge import Source
from lance_like.dataset.patch import Patch, write_patches
from lance_like.dataset.sql.edits import TARGET, Edit
from lance_like.dataset.sql.scope import Scope
from lance_like.dataset.sql.tables import BYTES, Shown, present
from lance_like.dataset.write import FileLimits, write_fragments
from lance_like.errors import InvalidInput
from lance_like.query.names import quote
from lance_like.query.projection import ROW_ADDRESS
from lance_like.query.statement_text import Text
from lance_like.query.statements_duckdb import Connection
from lance_like.table.actions import ChangeRows, NewFragment
from lance_like.table.manifest import Manifest
from lance_like.typing_ import Int64s

_STEP_ROWS = 1 << 16
_KEYS = ("address", "chosen")


def column_types(table: LanceDataset) -> dict[str, str]:
    """The columns of a dataset, with their types as DuckDB writes them."""
    connection = Connection()
    present(connection, TARGET, table, BYTES)
    return connection.columns(Text.words(f"SELECT * FROM {quote(TARGET)}"), {})


class Counted:
    """A stream that counts its rows."""

    def __init__(self, stream: pa.RecordBatchReader) -> None:
        self._stream, self.rows = stream, 0

    def reader(self) -> pa.RecordBatchReader:
        """The rows, once."""
        return pa.RecordBatchReader.from_batches(self._stream.schema, self._batches())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        for batch in self._stream:
            self.rows += len(batch)
            yield batch


@dataclass
class EditRows:
    """The change that an `Edit` makes of a table. rows: how many it changed, deleted and added."""

    table: LanceDataset
    edit: Edit
    scope: Scope
    rows: int = 0

    def __call__(self, manifest: Manifest | None) -> ChangeRows:
        assert manifest is not None
        source = self._chosen(manifest)
        try:
            return self._change(manifest, source)
        finally:
            source.close()

    def _chosen(self, manifest: Manifest) -> Source:
        """The rows that change: their addresses, what becomes of each, and their values."""
        table = self.table
        if manifest is not table._manifest:
            table = table._at(table._store, manifest)
        scope = self.scope.standing(self.table, table)
        scope = scope.showing(BYTES)
        connection = Connection()
        present(connection, TARGET, table, Shown((ROW_ADDRESS,), blobs="all_binary"))
        text, values = scope.bind(connection, self.edit.select(column_types(table)))
        fields = [manifest.schema.arrow_field(manifest.schema.find((name,)).id) for name in self.edit.valued]
        named = [field.with_name(f"value {place}") for place, field in enumerate(fields)]
        keys = [pa.field("address", pa.uint64()), pa.field("chosen", pa.int32())]
        reader = connection.reader(text, values, _STEP_ROWS)

        def batches() -> Iterator[pa.RecordBatch]:
            for batch in reader:
                cast = [cast_array(array, field) for array, field in zip(batch.columns, [*keys, *fields], strict=True)]
                yield pa.RecordBatch.from_arrays(cast, schema=pa.schema([*keys, *named]))

        return Source(Stream(pa.schema([*keys, *named]), batches()), _KEYS)

    def _change(self, manifest: Manifest, source: Source) -> ChangeRows:
        schema, session, edit = manifest.schema, self.table._session, self.edit
        addresses, chosen = source.keys[0], source.keys[1].to_numpy(zero_copy_only=False)
        rows = {kind: self._rows(chosen, kind) for kind in ("delete", "update", "insert", "error")}
        self._refuse(chosen, rows["error"])
        places = addresses.fill_null(0).to_numpy(zero_copy_only=False).view(np.int64)
        deleted, updated = np.unique(places[rows["delete"]]), rows["update"][np.argsort(places[rows["update"]])]
        _refuse_twice(deleted, places[updated])
        names = edit.columns("update")
        patches = [
            Patch(manifest.fragment(fragment_id), offsets, self._values(source, manifest, which))
            for fragment_id, offsets, which in _each_fragment(places, updated)
        ]
        written = write_patches(session, manifest, patches, names)
        inserted = self._inserted(source, manifest, rows["insert"])
        self.rows = len(deleted) + len(updated) + len(rows["insert"])
        kinds = {action.kind for action in edit.actions} - {"nothing", "error"}
        every = tuple(field.id for field in schema.fields)
        return ChangeRows(
            "delete" if kinds == {"delete"} else "update" if kinds == {"update"} else "merge_insert",
            removed=_united(written.removed, dict(by_fragment(deleted))),
            columns=written.columns,
            fragments=(*written.fragments, *inserted),
            field_ids=every,
            reads=every,
            changes=tuple(i for name in names for i in schema.subtree(schema.find((name,)).id)) if patches else (),
        )

    def _rows(self, chosen: np.ndarray, kind: str) -> Int64s:
        """The rows of the source of which actions of a kind are made."""
        numbers = [number for number, action in enumerate(self.edit.actions) if action.kind == kind]
        return np.flatnonzero(np.isin(chosen, numbers))

    def _refuse(self, chosen: np.ndarray, rows: Int64s) -> None:
        if len(rows):
            raise InvalidInput(self.edit.actions[int(chosen[rows[0]])].message, kind="matched")

    def _values(
        self, source: Source, manifest: Manifest, rows: Int64s
    ) -> Callable[[int, int, pa.RecordBatch], pa.RecordBatch]:
        return lambda start, end, _: self._named(source.take(rows[start:end]), manifest, self.edit.columns("update"))

    def _named(self, batch: pa.RecordBatch, manifest: Manifest, names: Sequence[str]) -> pa.RecordBatch:
        """Values of columns under the names that they have in the table."""
        fields = [manifest.schema.arrow_field(manifest.schema.find((name,)).id) for name in names]
        arrays = [batch.column(f"value {self.edit.valued.index(name)}") for name in names]
        return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))

    def _inserted(self, source: Source, manifest: Manifest, rows: Int64s) -> tuple[NewFragment, ...]:
        schema, given = manifest.schema.to_arrow(), self.edit.columns("insert")
        names = [name for name in schema.names if name in given]
        lacking = [field.name for field in schema if not field.nullable and field.name not in names]
        if lacking and len(rows):
            raise InvalidInput(f"the new rows lack {lacking[0]!r}, which may not be null in the table")
        if len(rows) == 0:
            return ()

        def batches() -> Iterator[pa.RecordBatch]:
            for start in range(0, len(rows), _STEP_ROWS):
                yield filled(self._named(source.take(rows[start : start + _STEP_ROWS]), manifest, names), schema)

        return write_fragments(self.table._session.store, Stream(schema, batches()), limits=FileLimits())


def _each_fragment(places: Int64s, rows: Int64s) -> Iterator[tuple[int, Int64s, Int64s]]:
    """The rows of each fragment: its id, their offsets, and which they are. rows: by address."""
    start = 0
    for fragment_id, offsets in by_fragment(places[rows]):
        yield fragment_id, offsets, rows[start : start + len(offsets)]
        start += len(offsets)


def _refuse_twice(deleted: Int64s, updated: Int64s) -> None:
    """Raise InvalidInput when a row changes in two ways. updated: ascending."""
    if (np.diff(updated) == 0).any() or np.isin(updated, deleted).any():
        raise InvalidInput(
            "one row of the table meets several rows of the source, which give it different values",
            kind="matched",
            hint="leave one row of the source for each, with DISTINCT ON or GROUP BY",
        )


def _united(*parts: dict[int, Int64s]) -> dict[int, Int64s]:
    ids = {fragment_id for part in parts for fragment_id in part}
    return {i: np.unique(np.concatenate([part[i] for part in parts if i in part])) for i in ids}


__all__ = ["Counted", "EditRows", "column_types"]
