"""`apply`: a version and a change make the next version (format_spec/commit.md, "Actions"). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from lance_like.errors import InvalidInput
from lance_like.table.actions import (
    Action,
    AddColumns,
    AlterColumns,
    Append,
    ChangeRows,
    Create,
    DropColumns,
    DropIndex,
    NewFile,
    NewFragment,
    Overwrite,
    ReplaceColumns,
    Replacement,
    Restore,
    Rewrite,
    SetIndexes,
    TextChange,
    UpdateMetadata,
)
from lance_like.table.deletions import Deletions
from lance_like.table.fields import ROOT, Field, number_fields
from lance_like.table.files import data_files, updated_at, with_files
from lance_like.table.fragment import (
    MAX_FIELD_ID,
    MAX_FRAGMENT_ID,
    Fragment,
    Runs,
)
from lance_like.table.indices import IndexEntry, files_of
from lance_like.table.lineage import Lineage, concatenated, distinct, fresh
from lance_like.table.lineage import Runs as LineageRuns
from lance_like.table.manifest import READER_FEATURES, WRITER, WRITER_FEATURES, Manifest, Transaction
from lance_like.table.parts import Tree, extend, mapped, replaced
from lance_like.table.reindex import indices_after
from lance_like.table.schema import Schema, join_path
from lance_like.table.shape import MAX_INTEGER


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
        return replace(action, field_ids=match_fields(_existing(base, action), action.schema))
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
    made = _applied(base, action, stamp)
    return replace(made, indices=indices_after(base, action, made.schema))


def _applied(base: Manifest, action: Action, stamp: Stamp) -> Manifest:
    """The next version, but for its indexes."""
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
        case AlterColumns():
            return _alter_columns(base, action, stamp)
        case ReplaceColumns():
            return _replace_columns(base, action, stamp)
        case Restore():
            return _restore(base, action, stamp)
        case UpdateMetadata():
            return _update_metadata(base, action, stamp)
        case ChangeRows():
            return _change_rows(base, action, stamp)
        case Rewrite():
            return _rewrite(base, action, stamp)
        case SetIndexes():
            entries = [new.entry for new in action.made]
            paths = tuple(file.path for file in files_of(entries))
            return _about(_next(base, action, stamp, files_added=paths), entries)
        case DropIndex():
            return _about(_next(base, action, stamp), [entry for entry in base.indices if entry.name == action.name])
        case Create():
            raise AssertionError("there is a version already")


def _about(made: Manifest, entries: Iterable[IndexEntry]) -> Manifest:
    names = tuple(entry.name for entry in entries)
    return replace(made, transaction=replace(made.transaction, indexes=names))


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
        config=dict(action.config),
        indices=(),
        transaction=Transaction(stamp.uuid, action.kind, 0),
    )
    field_ids = [field.id for field in schema.fields]
    added = _number_rows(empty, action.fragments, field_ids)
    return _next(empty, action, stamp, tree=extend(Tree(), added), added=added, fields=tuple(field_ids))


def _append(base: Manifest, action: Append, stamp: Stamp) -> Manifest:
    field_ids = action.field_ids or match_fields(base, action.schema)
    check_fields_fit(base, field_ids)
    added = _number_rows(base, action.fragments, field_ids)
    tree = extend(base.tree, added)
    return _next(base, action, stamp, tree=tree, added=added, fields=tuple(field_ids))


def _overwrite(base: Manifest, action: Overwrite, stamp: Stamp) -> Manifest:
    schema, next_field_id = Schema.from_arrow(action.schema, base.next_field_id)
    field_ids = [field.id for field in schema.fields]
    added = _number_rows(base, action.fragments, field_ids)
    made = _next(
        base,
        action,
        stamp,
        schema=schema,
        tree=extend(Tree(), added),
        added=added,
        fields=tuple(field_ids),
    )
    return replace(made, next_field_id=_checked_field_id(next_field_id))


def _add_columns(base: Manifest, action: AddColumns, stamp: Stamp) -> Manifest:
    schema, field_ids = base.schema.extended(action.schema, base.next_field_id, action.parents)
    if action.files is None:
        if base.tree.items:
            _check_may_read_as_null(schema, field_ids)
        tree = base.tree
    else:
        files = action.files
        tree = mapped(base.tree, lambda fragment: with_files(fragment, files.get(fragment.id), field_ids))
    paths = _new_paths((action.files or {}).values())
    made = _next(base, action, stamp, schema=schema, tree=tree, fields=field_ids, files_added=paths)
    return replace(made, next_field_id=_checked_field_id(base.next_field_id + len(field_ids)))


def _check_may_read_as_null(schema: Schema, field_ids: Sequence[int]) -> None:
    added = set(field_ids)
    for field_id in field_ids:
        field = schema.field(field_id)
        if not field.nullable and field.parent_id not in added:
            path = join_path(schema.path(field_id))
            raise InvalidInput(f"the column {path!r} is not nullable and has no values", kind="nullability")


def _alter_columns(base: Manifest, action: AlterColumns, stamp: Stamp) -> Manifest:
    recast = action.recast
    field_ids = range(base.next_field_id, base.next_field_id + len(recast))
    schema = base.schema.altered(action.changes, dict(zip(recast, field_ids, strict=True)))
    tree, files = base.tree, action.files
    if recast and files is not None:
        tree = mapped(tree, lambda fragment: with_files(fragment, files.get(fragment.id), field_ids, recast))
    elif recast and tree.items:
        raise InvalidInput("columns of another type need files", kind="fragments")
    fields = (*action.changes, *field_ids)
    paths = _new_paths((files or {}).values())
    made = _next(base, action, stamp, schema=schema, tree=tree, fields=fields, files_added=paths)
    return replace(made, next_field_id=_checked_field_id(base.next_field_id + len(field_ids)))


def _replace_columns(base: Manifest, action: ReplaceColumns, stamp: Stamp) -> Manifest:
    """Fragments of which another writer deleted all rows are gone, and their new files with them."""
    gone = base.schema.missing(action.field_ids)
    if gone:
        raise InvalidInput(f"the field {gone[0]} is not in the table", kind="schema")
    changes: dict[int, tuple[Fragment, ...]] = {}
    for fragment_id, files in action.files.items():
        fragment = base.tree.find(fragment_id)
        if fragment is not None:
            made = with_files(fragment, files, action.field_ids, action.field_ids)
            changes[fragment_id] = (updated_at(made, base.version + 1),)
    tree = replaced(base.tree, changes)
    paths = _new_paths(action.files[fragment_id] for fragment_id in changes)
    return _next(base, action, stamp, tree=tree, fields=action.field_ids, files_added=paths)


def _change_rows(base: Manifest, action: ChangeRows, stamp: Stamp) -> Manifest:
    if action.fragments:
        check_fields_fit(base, action.field_ids)
    version = base.version + 1
    changes = {fragment_id: _changed(base.fragment(fragment_id), action, version) for fragment_id in action.touched}
    added = _number_rows(base, action.fragments, action.field_ids)
    tree = extend(replaced(base.tree, changes), added)
    rewritten = _new_paths(columns.files for columns in action.columns.values())
    paths = (*rewritten, *_paths(added))
    made = _next(base, action, stamp, tree=tree, added=added, fields=action.changes, files_added=paths)
    return replace(made, transaction=replace(made.transaction, predicate=action.predicate))


def _changed(fragment: Fragment, action: ChangeRows, version: int) -> tuple[Fragment, ...]:
    """The fragment with its part of a change; () when no row is left."""
    columns = action.columns.get(fragment.id)
    if columns is not None:
        made = with_files(fragment, columns.files, columns.field_ids, columns.field_ids)
        fragment = updated_at(made, version, columns.offsets)
    removed = action.removed.get(fragment.id)
    if removed is None or len(removed) == 0:
        return (fragment,)
    deleted = distinct(np.concatenate((fragment.deleted, removed)))
    if deleted[0] < 0 or deleted[-1] >= fragment.rows:
        bad = deleted[0] if deleted[0] < 0 else deleted[-1]
        raise InvalidInput(f"row {bad} of fragment {fragment.id} with {fragment.rows:,} rows", kind="rows")
    return (replace(fragment, deletions=Deletions.of(deleted)),) if len(deleted) < fragment.rows else ()


def _rewrite(base: Manifest, action: Rewrite, stamp: Stamp) -> Manifest:
    """Groups that are as they were read are replaced; the first of their fragments says where the new ones stand."""
    intact = [group for group in action.groups if is_intact(base, group.old)]
    _check_holds_all(base, action.field_ids, [fragment for group in intact for fragment in group.old])
    changes: dict[int, tuple[Fragment, ...]] = {}
    added: list[Fragment] = []
    for group in intact:
        made = _number_rows(base, group.new, action.field_ids, made_before=len(added))
        added += made
        changes |= {fragment.id: () for fragment in group.old}
        changes[group.old[0].id] = made
    return _next(base, action, stamp, tree=replaced(base.tree, changes), added=tuple(added))


def _check_holds_all(base: Manifest, field_ids: Sequence[int], fragments: Iterable[Fragment]) -> None:
    """Raise InvalidInput if fragments hold a field of the schema that is not among these; gone fields may be."""
    if max(field_ids, default=0) >= base.next_field_id:
        raise InvalidInput(f"the field {max(field_ids)} was never in the table", kind="schema")
    # By runs, as most files have the same ones.
    files = {file.fields: file for fragment in fragments for file in fragment.files}.values()
    held = {field_id for file in files for field_id in file.field_ids}
    lost = held & {field.id for field in base.schema.fields} - set(field_ids)
    if lost:
        raise InvalidInput(f"the rewritten fragments hold the field {min(lost)}, the new files do not", kind="schema")


def is_intact(base: Manifest, fragments: Iterable[Fragment]) -> bool:
    """Are these fragments in a version as they are here?"""
    return all(base.tree.find(fragment.id) == fragment for fragment in fragments)


def _restore(base: Manifest, action: Restore, stamp: Stamp) -> Manifest:
    source = action.source
    made = _next(
        base,
        action,
        stamp,
        schema=source.schema,
        tree=source.tree,
    )
    return replace(
        made,
        schema_ref=source.schema_ref,
        metadata=dict(source.metadata),
        bases={**source.bases, **base.bases},
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
    metadata, config = _changed_texts(base.metadata, action.metadata), _changed_texts(base.config, action.config)
    return replace(made, metadata=metadata, config=config)


def _changed_texts(texts: Mapping[str, str], change: TextChange | None) -> Mapping[str, str]:
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
    fields: Iterable[int] = (),
    files_added: tuple[str, ...] = (),
) -> Manifest:
    """The version after base with what differs, and the record of it."""
    # Rows written anew have ids that were given before.
    next_row_id = max((base.next_row_id, *(fragment.lineage.bounds[1] for fragment in added)))
    transaction = Transaction(
        uuid=stamp.uuid,
        kind=action.kind,
        read_version=stamp.read_version,
        message=stamp.message,
        properties=dict(stamp.properties),
        row_ids=((base.next_row_id, next_row_id),) if next_row_id > base.next_row_id else (),
        fields=_merged((field_id, field_id + 1) for field_id in sorted(set(fields))),
        files_added=files_added or _paths(added),
        fragments_added=tuple(fragment.id for fragment in added),
    )
    return replace(
        base,
        version=base.version + 1,
        timestamp_us=max(stamp.timestamp_us, base.timestamp_us + 1),
        writer=WRITER,
        next_row_id=next_row_id,
        next_fragment_id=base.next_fragment_id + len(added),
        schema=schema or base.schema,
        schema_ref=base.schema_ref if schema is None else None,
        tree=base.tree if tree is None else tree,
        transaction=transaction,
        digest=None,
    )


def match_fields(base: Manifest, schema: pa.Schema) -> tuple[int, ...]:
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


def check_fields_fit(base: Manifest, field_ids: Iterable[int]) -> None:
    """Raise InvalidInput if a written field has gone, or a field that may not be null was not written."""
    written = set(field_ids)
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


def _number_rows(
    base: Manifest, fragments: Iterable[NewFragment], field_ids: Sequence[int], *, made_before: int = 0
) -> tuple[Fragment, ...]:
    """Give new fragments their ids, new rows their row ids, and both the version that makes them.

    made_before: how many fragments the same change has numbered.
    """
    made: list[Fragment] = []
    row_id, fragment_id, version = base.next_row_id, base.next_fragment_id + made_before, base.version + 1
    for new in fragments:
        rows = new.files[0].rows if new.files else 0
        files = data_files(new.files, field_ids, rows)
        anew = 0 if new.lineage is None else new.lineage.rows
        if anew > rows:
            raise InvalidInput(f"the lineage of {anew:,} rows for {rows:,} rows", kind="rows")
        runs = fresh(row_id, rows - anew, version)
        if new.lineage is not None:
            before = _of_version(new.lineage, version)
            runs = concatenated((before, runs)) if rows > anew else before
        made.append(Fragment(fragment_id, rows, files, Lineage.of(runs)))
        row_id, fragment_id = row_id + rows - anew, fragment_id + 1
    if row_id > MAX_INTEGER or fragment_id > MAX_FRAGMENT_ID + 1:
        raise InvalidInput("the row ids or fragment ids of this table are used up", kind="limit")
    return tuple(made)


def _of_version(lineage: LineageRuns, version: int) -> LineageRuns:
    """The lineage of rows written anew, which say 0 for the version that is being made."""
    return replace(lineage, updated=np.where(lineage.updated == [[0, 0]], [[version, 0]], lineage.updated))


def _checked_field_id(next_field_id: int) -> int:
    if next_field_id > MAX_FIELD_ID + 1:
        raise InvalidInput("the field ids of this table are used up", kind="limit")
    return next_field_id


def _new_paths(files: Iterable[Iterable[NewFile]]) -> tuple[str, ...]:
    return tuple(file.path for some in files for file in some)


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
