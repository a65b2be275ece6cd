"""The changes of a table as values, and `apply`: a version and a change make the next version.

An action carries files and rows only. Field ids, fragment ids, row ids and versions are given by `apply`, so
that bringing a change onto a newer version is applying it again (format_spec/commit.md, "Actions"). Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import pyarrow as pa

from lance_like.errors import InvalidInput
from lance_like.file.stats import ZoneEntry
from lance_like.table.fields import ROOT, Field, number_fields
from lance_like.table.fragment import (
    MAX_FIELD_ID,
    MAX_FRAGMENT_ID,
    MAX_ROWS,
    DataFile,
    Fragment,
    Runs,
    runs_of,
)
from lance_like.table.manifest import READER_FEATURES, WRITER, WRITER_FEATURES, Manifest, Transaction
from lance_like.table.parts import Tree, arrange, extend
from lance_like.table.schema import Schema, join_path
from lance_like.table.shape import MAX_INTEGER

# Statistics of the first columns stand in the manifest too; a table of 10,000 columns must not swell every commit.
STATS_COLUMNS = 32


@dataclass(frozen=True, slots=True)
class NewFile:
    """A data file as its writer left it.

    tail: the checksum of its tail. columns: how many it has. stats: one entry a column, or () when not known.
    """

    path: str
    nbytes: int
    tail: int
    rows: int
    columns: int
    stats: tuple[ZoneEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class NewFragment:
    """New rows: the columns of its files, one file after the other, are the written schema depth first."""

    files: tuple[NewFile, ...]


@dataclass(frozen=True, slots=True)
class Create:
    """The first version of a table."""

    kind: ClassVar[str] = "create"
    schema: pa.Schema
    fragments: tuple[NewFragment, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Append:
    """More rows.

    schema: what was written. Each of its fields is in the table with an equal type, found by name; fields of the
    table that it lacks are nullable.
    field_ids: the table's fields those are, depth first; `bound` finds them, so that a rename by another writer
    does not misplace a column.
    """

    kind: ClassVar[str] = "append"
    schema: pa.Schema
    fragments: tuple[NewFragment, ...]
    field_ids: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Overwrite:
    """Other rows and another schema in the place of all there were. All ids are fresh."""

    kind: ClassVar[str] = "overwrite"
    schema: pa.Schema
    fragments: tuple[NewFragment, ...]


@dataclass(frozen=True, slots=True)
class AddColumns:
    """New fields at the end of the schema.

    files: fragment id -> its new files, for every fragment of the table; or {} when the fields read as null.
    reads: ids of the fields they were computed from.
    """

    kind: ClassVar[str] = "add_columns"
    schema: pa.Schema
    files: Mapping[int, tuple[NewFile, ...]]
    reads: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class DropColumns:
    """Fields, and all below them, leave the schema; no file changes."""

    kind: ClassVar[str] = "drop_columns"
    field_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RenameColumns:
    """Field id -> new name."""

    kind: ClassVar[str] = "rename_columns"
    names: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Restore:
    """The schema, rows and metadata of an old version once more; ids go on from the newest."""

    kind: ClassVar[str] = "restore"
    source: Manifest


@dataclass(frozen=True, slots=True)
class Replacement:
    """All texts that there shall be."""

    texts: Mapping[str, str]


TextChange = Mapping[str, str | None] | Replacement
"""A change of texts: key -> new text, or None to remove the key; or other texts in the place of all."""


@dataclass(frozen=True, slots=True)
class UpdateMetadata:
    """Texts of the table, its configuration, the metadata of its schema and of fields by id; None: as they are."""

    kind: ClassVar[str] = "update_metadata"
    metadata: TextChange | None = None
    config: TextChange | None = None
    schema: TextChange | None = None
    fields: Mapping[int, TextChange] = field(default_factory=dict)


Action = Create | Append | Overwrite | AddColumns | DropColumns | RenameColumns | Restore | UpdateMetadata


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a commit adds to an action: who, when, from which version, why."""

    uuid: str
    timestamp_us: int
    read_version: int
    message: str | None = None
    properties: Mapping[str, str] = field(default_factory=dict)


def bound(base: Manifest | None, action: Action) -> Action:
    """The action with names turned into field ids of the version it was made for.

    Raises InvalidInput or NotFound if the action does not fit that version.
    """
    if isinstance(action, Append) and action.field_ids is None:
        return replace(action, field_ids=_match_fields(_existing(base, action), action.schema))
    return action


def apply(base: Manifest | None, action: Action, stamp: Stamp) -> Manifest:
    """Make the next version. base: None for `Create` only.

    Raises InvalidInput or NotFound if the action does not fit the version. Cost: no I/O; what does not change is
    shared.
    """
    if isinstance(action, Create):
        if base is not None:
            raise InvalidInput("the table exists already", kind="base", hint="use Overwrite")
        return _first(action, stamp)
    base = _existing(base, action)
    match action:
        case Append():
            return _append(base, action, stamp)
        case Overwrite():
            return _overwrite(base, action, stamp)
        case AddColumns():
            return _add_columns(base, action, stamp)
        case DropColumns():
            touched = tuple(i for field_id in action.field_ids for i in base.schema.subtree(field_id))
            return _next(base, action, stamp, schema=base.schema.without(action.field_ids), fields=touched)
        case RenameColumns():
            schema = base.schema.renamed(action.names)
            return _next(base, action, stamp, schema=schema, fields=tuple(action.names))
        case Restore():
            return _restore(base, action, stamp)
        case UpdateMetadata():
            return _update_metadata(base, action, stamp)


def _existing(base: Manifest | None, action: Action) -> Manifest:
    if base is None:
        raise InvalidInput(f"{action.kind} needs a table", kind="base", hint="use Create")
    return base


def _first(action: Create, stamp: Stamp) -> Manifest:
    schema, next_field_id = Schema.from_arrow(action.schema, 0)
    empty = Manifest(
        version=0,
        timestamp_us=0,
        writer=WRITER,
        reader_features=READER_FEATURES,
        writer_features=WRITER_FEATURES,
        next_row_id=0,
        next_field_id=next_field_id,
        next_fragment_id=0,
        schema=schema,
        schema_ref=None,
        tree=Tree(),
        metadata=dict(action.metadata),
        config={},
        indices=(),
        transaction=Transaction(stamp.uuid, action.kind, 0),
    )
    field_ids = [field.id for field in schema.fields]
    added = _number_rows(empty, action.fragments, field_ids)
    return _next(empty, action, stamp, tree=extend(Tree(), added), added=added, fields=tuple(field_ids))


def _append(base: Manifest, action: Append, stamp: Stamp) -> Manifest:
    field_ids = action.field_ids or _match_fields(base, action.schema)
    check_append_fits(base, replace(action, field_ids=field_ids))
    added = _number_rows(base, action.fragments, field_ids)
    tree = extend(base.tree, added)
    return _next(base, action, stamp, tree=tree, added=added, fields=tuple(field_ids))


def _overwrite(base: Manifest, action: Overwrite, stamp: Stamp) -> Manifest:
    schema, next_field_id = Schema.from_arrow(action.schema, base.next_field_id)
    field_ids = [field.id for field in schema.fields]
    added = _number_rows(base, action.fragments, field_ids)
    removed = _paths(base.fragments)
    made = _next(
        base,
        action,
        stamp,
        schema=schema,
        tree=extend(Tree(), added),
        added=added,
        removed=removed,
        fields=tuple(field_ids),
    )
    return replace(made, next_field_id=_checked_field_id(next_field_id), indices=())


def _add_columns(base: Manifest, action: AddColumns, stamp: Stamp) -> Manifest:
    schema, next_field_id = base.schema.extended(action.schema, base.next_field_id)
    field_ids = [field.id for field in schema.fields[len(base.schema.fields) :]]
    if action.files or not base.fragments:
        fragments = _with_files(base, action, field_ids)
    else:
        refused = [f.name for f in action.schema if not f.nullable]
        if refused:
            raise InvalidInput(f"the column {refused[0]!r} is not nullable and has no values", kind="nullability")
        fragments = base.fragments
    tree = arrange(base.tree, fragments)
    paths = tuple(file.path for files in action.files.values() for file in files)
    made = _next(base, action, stamp, schema=schema, tree=tree, fields=tuple(field_ids), files_added=paths)
    return replace(made, next_field_id=_checked_field_id(next_field_id))


def _with_files(base: Manifest, action: AddColumns, field_ids: Sequence[int]) -> tuple[Fragment, ...]:
    here = {fragment.id for fragment in base.fragments}
    if here != set(action.files):
        odd = sorted(here ^ set(action.files))[0]
        raise InvalidInput(
            f"new columns need files for each fragment of version {base.version}; fragment {odd} differs",
            kind="fragments",
        )
    return tuple(replace(f, files=f.files + _data_files(action.files[f.id], field_ids, f.rows)) for f in base.fragments)


def _restore(base: Manifest, action: Restore, stamp: Stamp) -> Manifest:
    source = action.source
    before, after = set(_paths(base.fragments)), set(_paths(source.fragments))
    made = _next(
        base,
        action,
        stamp,
        schema=source.schema,
        tree=source.tree,
        removed=tuple(sorted(before - after)),
        files_added=tuple(sorted(after - before)),
    )
    return replace(
        made,
        schema_ref=source.schema_ref,
        metadata=dict(source.metadata),
        indices=source.indices,
        next_row_id=max(base.next_row_id, source.next_row_id),
        next_field_id=max(base.next_field_id, source.next_field_id),
        next_fragment_id=max(base.next_fragment_id, source.next_fragment_id),
        transaction=replace(made.transaction, source_version=source.version),
    )


def _update_metadata(base: Manifest, action: UpdateMetadata, stamp: Stamp) -> Manifest:
    schema = None
    if action.schema is not None or action.fields:
        changed = {i: _changed_bytes(base.schema.field(i).metadata, change) for i, change in action.fields.items()}
        schema = base.schema.annotated(_changed_bytes(base.schema.metadata, action.schema), changed)
    made = _next(base, action, stamp, schema=schema)
    return replace(made, metadata=_changed(base.metadata, action.metadata), config=_changed(base.config, action.config))


def _changed(texts: Mapping[str, str], change: TextChange | None) -> Mapping[str, str]:
    if isinstance(change, Replacement):
        return dict(change.texts)
    return {key: text for key, text in {**texts, **(change or {})}.items() if text is not None}


def _changed_bytes(texts: Mapping[bytes, bytes], change: TextChange | None) -> dict[bytes, bytes]:
    """The same of Arrow's metadata, which is bytes of any kind."""
    kept = {} if isinstance(change, Replacement) else dict(texts)
    for key, text in (change.texts if isinstance(change, Replacement) else change or {}).items():
        if text is None:
            kept.pop(key.encode(), None)
        else:
            kept[key.encode()] = text.encode()
    return kept


def _next(
    base: Manifest,
    action: Action,
    stamp: Stamp,
    *,
    schema: Schema | None = None,
    tree: Tree | None = None,
    added: tuple[Fragment, ...] = (),
    removed: tuple[str, ...] = (),
    fields: tuple[int, ...] = (),
    files_added: tuple[str, ...] = (),
) -> Manifest:
    """The version after base with what differs, and the record of it."""
    row_ids = _merged(span for fragment in added for span in fragment.row_ids)
    transaction = Transaction(
        uuid=stamp.uuid,
        kind=action.kind,
        read_version=stamp.read_version,
        message=stamp.message,
        properties=dict(stamp.properties),
        row_ids=row_ids,
        fields=_merged((field_id, field_id + 1) for field_id in sorted(set(fields))),
        files_added=files_added or _paths(added),
        files_removed=removed,
        fragments_added=tuple(fragment.id for fragment in added),
    )
    return replace(
        base,
        version=base.version + 1,
        timestamp_us=max(stamp.timestamp_us, base.timestamp_us + 1),
        writer=WRITER,
        next_row_id=max(base.next_row_id, *(end for _, end in row_ids), 0),
        next_fragment_id=base.next_fragment_id + len(added),
        schema=schema or base.schema,
        schema_ref=base.schema_ref if schema is None else None,
        tree=base.tree if tree is None else tree,
        transaction=transaction,
    )


def _match_fields(base: Manifest, schema: pa.Schema) -> tuple[int, ...]:
    """The table's field for each field written, by name below the same parent. Raises InvalidInput or NotFound."""
    written = Schema.of(number_fields(schema, 0), {})
    found: list[int] = []
    for mine in written.fields:
        path = written.path(mine.id)
        theirs = base.schema.find(path)
        if mine.type != theirs.type or (mine.nullable and not theirs.nullable):
            raise InvalidInput(
                f"column {join_path(path)!r}: {_described(mine)} was written, the table has {_described(theirs)}",
                kind="type",
                hint="cast before writing",
            )
        found.append(theirs.id)
    if len(set(found)) != len(found):
        raise InvalidInput("a column was written twice", kind="duplicate-name")
    return tuple(found)


def check_append_fits(base: Manifest, action: Append) -> None:
    """Raise InvalidInput if a written field has gone, or a field that may not be null was not written."""
    written = set(action.field_ids or ())
    gone = base.schema.missing(written)
    if gone:
        raise InvalidInput(f"the field {min(gone)} that was written is no longer in the table", kind="schema")
    for missing in missing_required(base.schema, written):
        raise InvalidInput(
            f"column {join_path(base.schema.path(missing.id))!r} is not nullable and was not written",
            kind="nullability",
        )


def missing_required(schema: Schema, written: set[int]) -> list[Field]:
    """The fields that may not be null and were not written, though what holds them was (or is the table)."""
    return [
        f
        for f in schema.fields
        if f.id not in written and not f.nullable and (f.parent_id == ROOT or f.parent_id in written)
    ]


def _number_rows(base: Manifest, fragments: Iterable[NewFragment], field_ids: Sequence[int]) -> tuple[Fragment, ...]:
    """Give new fragments their ids, their row ids and the version that made them."""
    made: list[Fragment] = []
    row_id, fragment_id, version = base.next_row_id, base.next_fragment_id, base.version + 1
    for new in fragments:
        rows = new.files[0].rows if new.files else 0
        files = _data_files(new.files, field_ids, rows)
        runs = ((version, rows),)
        made.append(Fragment(fragment_id, rows, ((row_id, row_id + rows),), files, runs, runs))
        row_id, fragment_id = row_id + rows, fragment_id + 1
    if row_id > MAX_INTEGER or fragment_id > MAX_FRAGMENT_ID + 1:
        raise InvalidInput("the row ids or fragment ids of this table are used up", kind="limit")
    return tuple(made)


def _data_files(files: Sequence[NewFile], field_ids: Sequence[int], rows: int) -> tuple[DataFile, ...]:
    if not 1 <= rows <= MAX_ROWS or any(file.rows != rows for file in files):
        raise InvalidInput(
            f"files of {[file.rows for file in files]} rows for a fragment of {rows:,}",
            kind="rows",
            hint=f"all files of a fragment have the same rows, from 1 to {MAX_ROWS:,}",
        )
    if sum(file.columns for file in files) != len(field_ids) or any(file.columns == 0 for file in files):
        raise InvalidInput(
            f"files of {[file.columns for file in files]} columns for {len(field_ids)} fields", kind="columns"
        )
    made: list[DataFile] = []
    first = 0
    for file in files:
        ids = field_ids[first : first + file.columns]
        stats = sorted(zip(ids, file.stats[:STATS_COLUMNS], strict=False), key=lambda pair: pair[0])
        runs = runs_of(list(ids))
        made.append(DataFile(file.path, file.nbytes, file.tail, rows, runs, tuple(stats)))
        first += file.columns
    return tuple(made)


def _checked_field_id(next_field_id: int) -> int:
    if next_field_id > MAX_FIELD_ID + 1:
        raise InvalidInput("the field ids of this table are used up", kind="limit")
    return next_field_id


def _paths(fragments: Iterable[Fragment]) -> tuple[str, ...]:
    return tuple(file.path for fragment in fragments for file in fragment.files)


def _merged(spans: Iterable[tuple[int, int]]) -> Runs:
    """Neighbouring intervals as one."""
    merged: list[tuple[int, int]] = []
    for start, end in spans:
        if merged and merged[-1][1] == start:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return tuple(merged)


def _described(field: Field) -> str:
    return f"{field.type}{'' if field.nullable else ' not null'}"
