"""Altering columns: other names and nullabilities, which change no file, and other types, which write only the columns
that have them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from lance_like.dataset.casting import cast_values, check_castable
from lance_like.dataset.columns import CutRows, write_columns
from lance_like.dataset.inputs import check_cells
from lance_like.dataset.scanner import bind_filter
from lance_like.dataset.write import files_ahead
from lance_like.errors import InvalidInput
from lance_like.query.expr import IsNull, Not, all_of
from lance_like.query.projection import Output, Projection, project
from lance_like.query.scan import Scan, count_passing, run_scan
from lance_like.query.session import Session
from lance_like.table.actions import AlterColumns, NewFile
from lance_like.table.fields import ROOT, Alteration
from lance_like.table.fragment import Fragment
from lance_like.table.manifest import Manifest
from lance_like.table.schema import Schema, join_path

_KEYS = {"path", "name", "nullable", "data_type"}


def plan_alter_columns(
    session: Session, manifest: Manifest, alterations: Sequence[Mapping[str, Any]]
) -> AlterColumns | Altered:
    """The change that alters columns; see `LanceDataset.alter_columns`."""
    changes: dict[int, Alteration] = {}
    for alteration in alterations:
        field_id, change = _read(manifest.schema, alteration)
        if field_id in changes:
            raise InvalidInput(f"the column {alteration['path']!r} is altered twice", hint="say it in one alteration")
        changes[field_id] = change
    if not changes:
        raise InvalidInput("there is nothing to alter", hint='pass {"path": "a", "name": "b"} or the like')
    action = AlterColumns(changes)
    # Names that are taken show before anything is read.
    next_id = max(manifest.schema.source.greatest_id, 0) + 1
    manifest.schema.altered(changes, {field_id: next_id + i for i, field_id in enumerate(action.recast)})
    return Altered(session, changes) if action.saw_rows else action


def _read(schema: Schema, alteration: Any) -> tuple[int, Alteration]:
    """The field that is altered and what it becomes."""
    known = isinstance(alteration, Mapping) and "path" in alteration and set(alteration) <= _KEYS
    if not known or len(alteration) < 2:
        raise InvalidInput(f"{alteration!r:.200}: expected 'path' and one or more of 'name', 'nullable', 'data_type'")
    name, nullable, kind = (alteration.get(key) for key in ("name", "nullable", "data_type"))
    if name is not None and not isinstance(name, str):
        raise InvalidInput(f"the new name {name!r} is not text")
    if nullable is not None and not isinstance(nullable, bool):
        raise InvalidInput(f"nullable={nullable!r}: expected True or False")
    if kind is not None and not isinstance(kind, pa.DataType):
        raise InvalidInput(f"data_type={kind!r}: expected a type of pyarrow")
    found = schema.find(alteration["path"])
    if nullable == found.nullable:
        nullable = None
    if kind is not None and kind.equals(schema.arrow_field(found.id).type):
        kind = None
    if kind is not None:
        path = join_path(schema.path(found.id))
        if found.is_struct or pa.types.is_struct(kind):
            raise InvalidInput(
                f"the column {path!r} of type {schema.arrow_field(found.id).type} cannot become {kind}",
                kind="type",
                hint="alter the fields of a struct one by one: {'path': 's.x', …}",
            )
        check_castable(path, found.type, kind)
    return found.id, Alteration(name, nullable, kind)


@dataclass
class Altered:
    """The change that alters columns by what their rows hold; made again, it reads only what is new."""

    session: Session
    changes: Mapping[int, Alteration]
    _files: dict[tuple[Any, ...], tuple[NewFile, ...]] = field(default_factory=dict)
    _without_null: set[tuple[Any, ...]] = field(default_factory=set)

    def __call__(self, manifest: Manifest | None) -> AlterColumns:
        assert manifest is not None
        for field_id, change in self.changes.items():
            if change.nullable is False:
                self._check_no_null(manifest, field_id)
        recast = AlterColumns(self.changes).recast
        if not recast:
            return AlterColumns(self.changes)
        keys = {fragment.id: (fragment.id, *_places(fragment, recast)) for fragment in manifest.fragments}
        self._write(manifest, recast, {i: key for i, key in keys.items() if key not in self._files})
        return AlterColumns(self.changes, {i: self._files[key] for i, key in keys.items()})

    def _check_no_null(self, manifest: Manifest, field_id: int) -> None:
        """Raise InvalidInput when a live row is null, though the structs around are not."""
        schema = manifest.schema
        path = schema.path(field_id)
        above = [Not(IsNull(path[:end])) for end in range(1, len(path))]
        condition = bind_filter(schema, all_of([*above, IsNull(path)]))
        assert condition is not None
        places = {(fragment.id, *_places(fragment, [field_id])): fragment for fragment in manifest.fragments}
        new = [fragment for place, fragment in places.items() if (field_id, place) not in self._without_null]
        scan = Scan(project(schema, []), condition, fragments=new)
        nulls = count_passing(self.session, manifest, condition, scan)
        if nulls:
            raise InvalidInput(
                f"the column {join_path(path)!r} may not become not null: {nulls:,} rows are null",
                kind="nullability",
                hint="update or delete these rows first",
            )
        self._without_null.update((field_id, place) for place in places)

    def _write(self, manifest: Manifest, recast: Sequence[int], missing: Mapping[int, tuple[Any, ...]]) -> None:
        """Write the columns of other types of fragments, a file each; none where all of them read as null.

        missing: the fragments by their ids, and what their files are kept by.
        """
        schema = manifest.schema
        outputs = [Output(join_path(schema.path(field_id)), schema.field(field_id)) for field_id in recast]
        projection = Projection(schema, tuple(outputs))
        wanted = pa.schema(
            [self._column(schema, field_id, made) for field_id, made in zip(recast, projection.schema, strict=True)]
        )
        new = [fragment for fragment in manifest.fragments if fragment.id in missing]
        held = {fragment.id: fragment for fragment in new if any(map(fragment.locate, recast))}
        scan = Scan(projection, fragments=list(held.values()), apart=True)
        first = 0
        with closing(run_scan(self.session, manifest, scan)) as batches, files_ahead(self.session.store) as write:
            rows = CutRows(batches)
            for fragment in manifest.fragments:
                if fragment.id in held:
                    made = _cast(rows.take(fragment.live_rows), wanted, first)
                    self._files[missing[fragment.id]] = (write_columns(write, wanted, fragment, made),)
                first += fragment.live_rows
        self._files.update((key, ()) for i, key in missing.items() if i not in held)

    def _column(self, schema: Schema, field_id: int, found: pa.Field) -> pa.Field:
        """A column of another type as its file has it: null also where the struct above is."""
        change = self.changes[field_id]
        nullable = found.nullable if change.nullable is None else change.nullable
        return found.with_type(change.type).with_nullable(nullable or schema.field(field_id).parent_id != ROOT)


def _cast(batches: Iterable[pa.RecordBatch], wanted: pa.Schema, row: int) -> Iterator[pa.RecordBatch]:
    """Batches in other types. row: where the first of their rows stands in the table."""
    for batch in batches:
        arrays = [cast_values(a, f, row) for a, f in zip(batch.columns, wanted, strict=True)]
        yield check_cells(pa.RecordBatch.from_arrays(arrays, schema=wanted))
        row += len(batch)


def _places(fragment: Fragment, field_ids: Sequence[int]) -> tuple[Any, ...]:
    """Where fields of a fragment lie: elsewhere when their values may have changed."""
    found = (fragment.locate(field_id) for field_id in field_ids)
    return tuple(None if place is None else (place[0].path, place[1]) for place in found)


__all__ = ["Altered", "plan_alter_columns"]
