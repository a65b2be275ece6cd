"""From operations to actions of the table: what a commit applies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from lance_like.dataset.change import fields_read
from lance_like.dataset.fragment_metadata import DataFile, DeletionFile, FragmentMetadata
from lance_like.dataset.lance_schema import as_arrow
from lance_like.dataset.operations import LanceOperation as Op
from lance_like.dataset.scanner import bind_filter
from lance_like.errors import Corrupt, InvalidInput, NotFound, Unsupported
from lance_like.query.take import place_ids
from lance_like.table.actions import (
    Action,
    AddColumns,
    AlterColumns,
    Append,
    ChangeRows,
    Create,
    DropColumns,
    DropIndex,
    NewColumns,
    NewFragment,
    NewIndex,
    Overwrite,
    ReplaceColumns,
    Replacement,
    Restore,
    Rewrite,
    RewrittenGroup,
    SetIndexes,
    TextChange,
    UpdateMetadata,
)
from lance_like.table.deletions import Deletions
from lance_like.table.fields import ROOT, Alteration, Field
from lance_like.table.fragment import Fragment
from lance_like.table.lineage import Runs, of_rows, values_at
from lance_like.table.manifest import Manifest
from lance_like.table.rowids import ids_at
from lance_like.table.schema import Schema
from lance_like.typing_ import Int64s

ReadVersion = Callable[[int], Manifest]


def action_of(operation: Op.BaseOperation, base: Manifest | None, read: ReadVersion) -> Action:
    """The action that an operation is, for the version it was made for.

    base: that version; None: there is no table, for `Overwrite` only. read: brings a version.
    Raises InvalidInput or NotFound if it does not fit that version, Unsupported for what cannot be committed.
    """
    if isinstance(operation, Op.Overwrite):
        return _overwrite(operation, base)
    if base is None:
        raise NotFound("the dataset was not found: only Overwrite makes one", kind="dataset")
    match operation:
        case Op.Append():
            fragments, ids = _new_fragments(operation.fragments)
            return Append(base.schema.to_arrow(), fragments, ids or None)
        case Op.Delete():
            removed = _removed(base, operation.updated_fragments, operation.deleted_fragment_ids)
            reads = _fields_of(base.schema, operation.predicate or None)
            return ChangeRows("delete", removed=removed, reads=reads, predicate=operation.predicate or None)
        case Op.Update():
            return _update(operation, base)
        case Op.Merge():
            return _merge(operation, base)
        case Op.Project():
            return _project(operation, base)
        case Op.Restore():
            return Restore(read(operation.version))
        case Op.Rewrite():
            return _rewrite(operation, base)
        case Op.DataReplacement():
            return _data_replacement(operation, base)
        case Op.UpdateConfig():
            return _update_config(operation)
        case Op.CreateIndex():
            return _indexes(operation, base)
        case _:
            raise Unsupported(f"{operation!r:.80} is no operation that can be committed", kind="operation")


def _indexes(operation: Op.CreateIndex, base: Manifest) -> SetIndexes | DropIndex:
    removed = {segment.uuid for one in operation.removed_indices for segment in one.entry.segments}
    known = {entry.name: {segment.uuid for segment in entry.segments} for entry in base.indices}
    names = {one.name for one in (*operation.new_indices, *operation.removed_indices)}
    if not operation.new_indices and len(names) == 1 and known.get(name := min(names), {""}) <= removed:
        return DropIndex(name)
    made: list[NewIndex] = []
    for name in sorted(names):
        new = [one.entry for one in operation.new_indices if one.name == name]
        if not new or any(not entry.of_same(new[0]) for entry in new):
            raise InvalidInput(f"the segments that come for {name!r} are none, or of different indexes", kind="index")
        entry = new[0].with_segments(tuple(segment for entry in new for segment in entry.segments))
        gone = known.get(name, set()) & removed
        mode = "create" if name not in known else "replace" if gone == known[name] else "extend"
        made.append(NewIndex(entry, mode, tuple(gone) if mode == "extend" else ()))
    if not made:
        raise InvalidInput("CreateIndex changes nothing", kind="index")
    older = [segment.version for new in made for segment in new.entry.segments if segment.version < base.version]
    if older:
        # What was done since must be judged, and it is judged from the version that the transaction was made for.
        problem = f"a segment was built from version {min(older)}, the transaction is for version {base.version}"
        raise InvalidInput(problem, kind="index", hint=f"pass read_version={min(older)}")
    return SetIndexes(tuple(made), base.version)


def _overwrite(operation: Op.Overwrite, base: Manifest | None) -> Action:
    fragments, ids = _new_fragments(operation.fragments)
    if list(ids) != sorted(set(ids)):
        raise InvalidInput("the files of an overwrite hold the columns of its schema in order, depth first")
    make = Create if base is None else Overwrite
    return make(as_arrow(operation.new_schema), fragments)


def _new_fragments(fragments: Sequence[FragmentMetadata]) -> tuple[tuple[NewFragment, ...], tuple[int, ...]]:
    """Fragments of new rows, and what the columns of their files hold: the same in all."""
    held = {_held(fragment.files) for fragment in fragments}
    if len(held) > 1:
        raise InvalidInput("fragments with other columns than the rest", kind="columns", hint="commit them apart")
    return tuple(_new_fragment(fragment) for fragment in fragments), held.pop() if held else ()


def _held(files: Sequence[DataFile]) -> tuple[int, ...]:
    """The fields of the columns of new files, file after file. Raises InvalidInput for one that stands twice."""
    ids = tuple(i for file in files for i in file.fields)
    if len(set(ids)) < len(ids):
        raise InvalidInput(f"new files hold a field twice: {ids!r:.80}", kind="columns")
    return ids


def _new_fragment(fragment: FragmentMetadata, lineage: Runs | None = None) -> NewFragment:
    if fragment.deletion_file is not None:
        raise InvalidInput(f"a new fragment has deleted rows: {fragment!r:.120}", kind="deletions")
    files = tuple(file.as_new() for file in fragment.files)
    if not files or any(file.rows != fragment.physical_rows for file in files):
        raise InvalidInput(f"a new fragment whose files do not hold its rows: {fragment!r:.120}", kind="rows")
    return NewFragment(files, lineage)


def _removed(base: Manifest, updated: Sequence[FragmentMetadata], gone: Sequence[int]) -> dict[int, Int64s]:
    """Fragment id -> offsets of the rows that are deleted now and were not in base."""
    removed = {fragment_id: _live(base.fragment(fragment_id)) for fragment_id in gone}
    for metadata in updated:
        fragment = base.fragment(metadata.id)
        if metadata.physical_rows != fragment.rows:
            raise InvalidInput(f"fragment {metadata.id} has {fragment.rows:,} rows, not {metadata.physical_rows:,}")
        deleted = np.empty(0, np.int64) if metadata.deletion_file is None else metadata.deletion_file.offsets()
        if len(np.setdiff1d(fragment.deleted, deleted)):
            raise InvalidInput(f"deleted rows of fragment {metadata.id} are back", hint="restore brings rows back")
        rows = np.setdiff1d(deleted, fragment.deleted)
        if len(rows):
            removed[metadata.id] = rows
    return removed


def _live(fragment: Fragment) -> Int64s:
    live = fragment.live_between(0, fragment.rows)
    return np.arange(fragment.rows) if live is None else live


def _update(operation: Op.Update, base: Manifest) -> ChangeRows:
    if operation.kind not in ("update", "merge_insert"):
        raise InvalidInput(f"kind={operation.kind!r}: expected 'update' or 'merge_insert'")
    removed = _removed(base, operation.updated_fragments, operation.removed_fragment_ids)
    columns = {
        metadata.id: found
        for metadata in operation.updated_fragments
        if (found := _new_columns(base.fragment(metadata.id), metadata, operation)) is not None
    }
    _, ids = _new_fragments(operation.new_fragments)
    fragments = tuple(_new_fragment(item, _carried(base, item, removed)) for item in operation.new_fragments)
    changes = {*operation.fields_modified, *(i for new in columns.values() for i in new.field_ids)}
    if not changes and any(fragment.lineage is not None for fragment in fragments):
        changes = set(ids)  # nobody says which of them changed
    return ChangeRows(
        "merge_insert" if operation.kind == "merge_insert" else "update",
        removed=removed,
        columns=columns,
        fragments=fragments,
        field_ids=ids,
        reads=tuple(operation.fields_read),
        changes=tuple(sorted(changes)),
        keys=tuple(operation.key_ranges),
    )


def _new_columns(fragment: Fragment, metadata: FragmentMetadata, operation: Op.Update) -> NewColumns | None:
    added = _added_files(fragment, metadata)
    if not added:
        return None
    bitmap = (operation.updated_fragment_offsets or {}).get(fragment.id)
    offsets = _live(fragment) if bitmap is None else _offsets(bitmap)
    if len(offsets) and offsets[-1] >= fragment.rows:
        raise InvalidInput(f"row {offsets[-1]:,} of fragment {fragment.id} with {fragment.rows:,} rows", kind="rows")
    return NewColumns(tuple(file.as_new() for file in added), _held(added), offsets)


def _added_files(fragment: Fragment, metadata: FragmentMetadata) -> list[DataFile]:
    known = {file.path for file in fragment.files}
    return [file for file in metadata.files if file.path not in known]


def _offsets(bitmap: bytes) -> Int64s:
    try:
        return Deletions.of_bitmap(bitmap).offsets
    except Corrupt as error:
        raise InvalidInput(f"the offsets of updated rows are no Roaring bitmap: {error.message}") from error


def _carried(base: Manifest, metadata: FragmentMetadata, removed: Mapping[int, Int64s]) -> Runs | None:
    """The lineage of rows written anew, which keep their ids and stand before the new ones; None for new rows alone."""
    if metadata.row_id_meta is None:
        return None
    ids = metadata.row_id_meta.ids()
    placed = place_ids(base, ids)
    if len(ids) > metadata.physical_rows or len(np.unique(ids)) < len(ids):
        raise InvalidInput(f"{len(ids):,} ids, some of them twice or too many, for {metadata.physical_rows:,} rows")
    created = np.empty(len(ids), np.int64)
    for place in np.unique(placed.index).tolist():
        fragment, here = placed.fragments[place], placed.index == place
        offsets = placed.offsets[here]
        if not np.isin(offsets, removed.get(fragment.id, offsets[:0])).all():
            raise InvalidInput(f"rows of fragment {fragment.id} are written anew and would stay there too", kind="rows")
        created[here] = values_at(fragment.runs.created, offsets)
    return of_rows(ids, created, np.zeros(len(ids), np.int64))


def _merge(operation: Op.Merge, base: Manifest) -> AddColumns:
    found = _new_fields(base.schema, list(as_arrow(operation.schema)), ROOT)
    if not found:
        raise InvalidInput("the schema of a merge has no field that the table lacks", kind="schema")
    files = {
        metadata.id: tuple(file.as_new() for file in added)
        for metadata in operation.fragments
        if (added := _added_files(base.fragment(metadata.id), metadata))
    }
    schema, parents = pa.schema([field for field, _ in found]), tuple(above for _, above in found)
    return AddColumns(schema, files or None, parents=parents)


def _new_fields(table: Schema, fields: Iterable[pa.Field], above: int) -> list[tuple[pa.Field, int]]:
    """The fields that a table lacks, each with the id of the struct it goes into, depth first.

    fields: all that shall be below `above`. Raises InvalidInput unless the table's are among them as they are.
    """
    found: list[tuple[pa.Field, int]] = []
    names = {field.name for field in fields}
    gone = [field.name for field in table.children(above) if field.name not in names]
    if gone:
        raise InvalidInput(f"the schema of a merge lacks {gone[0]!r} of the table", kind="schema")
    for field in fields:
        known = table.child(field.name, above)
        if known is None:
            found.append((field, above))
        elif known.is_struct and pa.types.is_struct(field.type):
            found += _new_fields(table, list(field.type), known.id)
        elif not known.type.equals(field.type):
            raise InvalidInput(f"{field.name!r} is {known.type} in the table, not {field.type}", kind="type")
    return found


def _fields_of(schema: Schema, predicate: str | None) -> tuple[int, ...]:
    """The fields that chose the rows of a delete; all of them where the predicate is a text that is no filter here."""
    try:
        return fields_read(schema, bind_filter(schema, predicate))
    except (InvalidInput, NotFound):
        return tuple(field.id for field in schema.fields)


def _project(operation: Op.Project, base: Manifest) -> DropColumns | AlterColumns:
    offered = Schema.from_arrow(as_arrow(operation.schema), 0)[0]
    names = _new_names(base.schema.fields, offered.fields)
    if names:
        return AlterColumns({field_id: Alteration(name) for field_id, name in names.items()})
    return DropColumns(() if names is not None else tuple(_dropped(base.schema, offered, ROOT, ROOT)))


def _new_names(table: Sequence[Field], offered: Sequence[Field]) -> dict[int, str] | None:
    """The fields that are called otherwise, by their places; None unless both are the same fields but for names."""
    ids = {ROOT: ROOT, **{theirs.id: mine.id for mine, theirs in zip(table, offered, strict=False)}}
    pairs = list(zip(table, offered, strict=False))
    same = all(ids[theirs.parent_id] == mine.parent_id and theirs.type.equals(mine.type) for mine, theirs in pairs)
    if len(table) != len(offered) or not same:
        return None
    for mine, theirs in pairs:
        if mine.nullable != theirs.nullable:
            raise InvalidInput(f"the nullability of {mine.name!r} is another", hint="alter_columns changes it")
    return {mine.id: theirs.name for mine, theirs in pairs if mine.name != theirs.name}


def _dropped(table: Schema, offered: Schema, above: int, there: int) -> Iterator[int]:
    """The fields below a struct that are not offered. Raises InvalidInput for one that is, and is not in the table."""
    wanted = {field.name: field for field in offered.children(there)}
    for field in table.children(above):
        kept = wanted.pop(field.name, None)
        if kept is None:
            yield field.id
        elif field.is_struct and kept.is_struct:
            yield from _dropped(table, offered, field.id, kept.id)
    if wanted:
        raise InvalidInput(
            f"the table has no column {next(iter(wanted))!r}",
            hint="alter_columns renames columns; a schema that does has all of them",
        )


def _rewrite(operation: Op.Rewrite, base: Manifest) -> Rewrite:
    _, ids = _new_fragments([new for group in operation.groups for new in group.new_fragments])
    return Rewrite(tuple(_group(base, group) for group in operation.groups), ids)


def _group(base: Manifest, group: Op.RewriteGroup) -> RewrittenGroup:
    old = tuple(base.fragment(metadata.id) for metadata in group.old_fragments)
    rows = [(fragment, _live(fragment)) for fragment in old]
    ids = np.concatenate([ids_at(fragment, offsets) for fragment, offsets in rows])
    created, updated = (
        np.concatenate([values_at(getattr(fragment.runs, name), offsets) for fragment, offsets in rows])
        for name in ("created", "updated")
    )
    given = [metadata.row_id_meta.ids() for metadata in group.new_fragments if metadata.row_id_meta]
    if given:
        order = _order(ids, np.concatenate(given))
        ids, created, updated = ids[order], created[order], updated[order]
    ends = np.cumsum([metadata.physical_rows for metadata in group.new_fragments]).tolist()
    if not ends or ends[-1] != len(ids):
        raise InvalidInput(f"{len(ids):,} live rows rewritten as {ends[-1] if ends else 0:,}", kind="rows")
    spans = zip(group.new_fragments, [0, *ends], ends, strict=False)
    new = [_new_fragment(item, of_rows(ids[a:b], created[a:b], updated[a:b])) for item, a, b in spans]
    return RewrittenGroup(old, tuple(new))


def _order(ids: Int64s, wanted: Int64s) -> Int64s:
    """Where each wanted id stands among ids. Raises InvalidInput unless both are the same rows."""
    place = np.argsort(ids)
    if len(ids) != len(wanted) or not np.array_equal(ids[place], np.sort(wanted)):
        raise InvalidInput("the new fragments of a rewrite have other rows than the old", kind="rows")
    return place[np.searchsorted(ids[place], wanted)]


def _data_replacement(operation: Op.DataReplacement, base: Manifest) -> ReplaceColumns:
    files: dict[int, list[DataFile]] = {}
    for group in operation.replacements:
        files.setdefault(base.fragment(group.fragment_id).id, []).append(group.new_file)
    held = {_held(new) for new in files.values()}
    if len(held) != 1:
        raise InvalidInput("a replacement has the same columns in each fragment", kind="columns")
    return ReplaceColumns({i: tuple(file.as_new() for file in new) for i, new in files.items()}, held.pop())


def _update_config(operation: Op.UpdateConfig) -> UpdateMetadata:
    fields = {i: change for i, u in (operation.field_metadata_updates or {}).items() if (change := _text_change(u))}
    metadata, config, schema = map(
        _text_change,
        (operation.table_metadata_updates, operation.config_updates, operation.schema_metadata_updates),
    )
    if not fields and metadata is None and config is None and schema is None:
        raise InvalidInput("UpdateConfig changes nothing", hint="pass table_metadata_updates or another")
    return UpdateMetadata(metadata, config, schema, fields)


def _text_change(change: Op.UpdateMap | None) -> TextChange | None:
    if change is None or not change.replace:
        return change and change.updates
    return Replacement({key: text for key, text in change.updates.items() if text is not None})


def update_of(change: ChangeRows, base: Manifest) -> Op.Update:
    """The operation that a change of rows is, for somebody else to commit. Its files are written."""
    updated: list[FragmentMetadata] = []
    removed_ids: list[int] = []
    for fragment_id in sorted(change.touched):
        metadata = FragmentMetadata.of(base.fragment(fragment_id))
        columns = change.columns.get(fragment_id)
        if columns is not None:
            metadata = metadata.with_files(columns.files, columns.field_ids)
        left = metadata.without(change.removed.get(fragment_id, np.empty(0, np.int64)))
        if left is None:
            removed_ids.append(fragment_id)
        else:
            updated.append(left)
    offsets = {i: DeletionFile.of(columns.offsets).bitmap for i, columns in change.columns.items()}
    return Op.Update(
        removed_fragment_ids=removed_ids,
        updated_fragments=updated,
        new_fragments=[FragmentMetadata.of_new(new, change.field_ids) for new in change.fragments],
        fields_modified=change.changes,
        updated_fragment_offsets=offsets or None,
        kind=change.kind,
        fields_read=change.reads,
        key_ranges=change.keys,
    )


__all__ = ["ReadVersion", "action_of", "update_of"]
