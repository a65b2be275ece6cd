"""What a change makes of the indexes of a version (format_spec/commit.md, "Indexes"). Pure.

An index stays right because rows whose indexed values change are invalidated, and only these: new rows are in no
segment, deleted ones are not live, moved ones keep their ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from lance_like.errors import InvalidInput, NotFound
from lance_like.table.actions import (
    Action,
    AddColumns,
    AlterColumns,
    ChangeRows,
    DropColumns,
    DropIndex,
    NewIndex,
    Overwrite,
    ReplaceColumns,
    Restore,
    SetIndexes,
)
from lance_like.table.fields import ROOT
from lance_like.table.indices import IndexEntry
from lance_like.table.lineage import Runs, spread, values_of
from lance_like.table.manifest import Manifest
from lance_like.table.parts import Tree
from lance_like.table.rowids import ids_at
from lance_like.table.schema import Schema
from lance_like.typing_ import Int64s


def indices_after(base: Manifest, action: Action, schema: Schema) -> tuple[IndexEntry, ...]:
    """The indexes of the version that an action makes of another. schema: of the version made.

    Raises InvalidInput or NotFound if the action does not fit the version. Cost: O(rows changed), and the row ids of
    segments that hold some of them.
    """
    match action:
        case SetIndexes():
            return _set(base, action)
        case DropIndex():
            if all(entry.name != action.name for entry in base.indices):
                raise _unknown(base, action.name)
            return tuple(entry for entry in base.indices if entry.name != action.name)
        case Overwrite():
            return ()
        case Restore():
            return action.source.indices
        case ChangeRows():
            return _changed(base, action.changes, _changed_ids(base, action))
        case ReplaceColumns():
            return _changed(base, action.field_ids, _replaced_ids(base, action))
        case AddColumns() | AlterColumns() | DropColumns():
            return tuple(made for entry in base.indices if (made := _in_schema(entry, base.schema, schema)) is not None)
        case _:
            return base.indices


def _set(base: Manifest, action: SetIndexes) -> tuple[IndexEntry, ...]:
    """A row that was changed after the version that segments were built from is invalidated in them."""
    names = [new.entry.name for new in action.made]
    if len(set(names)) < len(names):
        raise InvalidInput(f"an index is made twice in one change: {', '.join(names)}", kind="duplicate-name")
    changed = None if base.version == action.version else changed_since(base.tree, action.version)
    found = {entry.name: entry for entry in base.indices}
    for new in action.made:
        entry = new.entry if changed is None else new.entry.without(changed)
        found[entry.name] = _made(base, replace(new, entry=entry), found.get(entry.name))
    return tuple(found.values())


def _made(base: Manifest, new: NewIndex, known: IndexEntry | None) -> IndexEntry:
    entry = new.entry
    gone = base.schema.missing(entry.field_ids)
    if gone:
        raise InvalidInput(f"the field {gone[0]} of the index {entry.name!r} is not in the table", kind="schema")
    if known is not None and new.mode == "create":
        raise InvalidInput(f"there is an index {entry.name!r} already", kind="duplicate-name", hint="pass replace=True")
    if new.mode != "extend":
        return entry
    if known is None:
        raise _unknown(base, entry.name)
    if not known.of_same(entry):
        raise InvalidInput(f"the index {entry.name!r} is another one by now", kind="index")
    kept = tuple(segment for segment in known.segments if segment.uuid not in new.replaces)
    return replace(entry, segments=kept + entry.segments)


def _unknown(base: Manifest, name: str) -> NotFound:
    names = ", ".join(repr(entry.name) for entry in base.indices)
    return NotFound(f"index not found: {name!r}", kind="index", hint=f"the indexes are {names}" if names else "")


def changed_since(tree: Tree, version: int) -> Int64s:
    """The ids of rows that were changed after a version: int64[n]. Cost: the lineages of all fragments."""
    found: list[Int64s] = []
    for fragment in tree.iterate():
        updated = fragment.runs.updated
        if updated[:, 0].max() > version:
            found.append(ids_at(fragment, np.flatnonzero(values_of(updated) > version)))
    return _joined(found)


def fields_of(entry: IndexEntry, schema: Schema) -> set[int]:
    """The fields whose change may change the indexed values: its own, those below them and the structs above them."""
    found = {below for field_id in entry.field_ids for below in schema.subtree(field_id)}
    for field_id in entry.field_ids:
        while field_id != ROOT:
            found.add(field_id)
            field_id = schema.field(field_id).parent_id
    return found


def _changed(base: Manifest, fields: Iterable[int], ids: Iterator[Int64s]) -> tuple[IndexEntry, ...]:
    """The indexes with rows invalidated in those that have one of some fields."""
    changed = set(fields)
    touched = [bool(entry.segments) and not changed.isdisjoint(fields_of(entry, base.schema)) for entry in base.indices]
    if not any(touched):
        return base.indices
    rows = _joined(list(ids))
    return tuple(entry.without(rows) if hit else entry for entry, hit in zip(base.indices, touched, strict=True))


def _changed_ids(base: Manifest, action: ChangeRows) -> Iterator[Int64s]:
    """The ids of rows whose values a change of rows changes."""
    for fragment_id, columns in action.columns.items():
        yield ids_at(base.fragment(fragment_id), columns.offsets)
    for fragment in action.fragments:
        if fragment.lineage is not None:
            yield _ids_marked(fragment.lineage)


def _ids_marked(lineage: Runs) -> Int64s:
    """The ids of rows written anew that count as changed by the version being made."""
    return spread(lineage.row_ids)[values_of(lineage.updated) == 0]


def _replaced_ids(base: Manifest, action: ReplaceColumns) -> Iterator[Int64s]:
    for fragment_id in action.files:
        fragment = base.tree.find(fragment_id)
        if fragment is not None:
            yield ids_at(fragment, np.arange(fragment.rows))


def _joined(ids: Sequence[Int64s]) -> Int64s:
    return np.concatenate(ids) if ids else np.empty(0, np.int64)


def _in_schema(entry: IndexEntry, before: Schema, after: Schema) -> IndexEntry | None:
    """The index in another schema: None when a field of it has gone, without segments when one below it is another."""
    if after.missing(entry.field_ids):
        return None
    same = all(_below(before, field_id) == _below(after, field_id) for field_id in entry.field_ids)
    return entry if same else replace(entry, segments=())


def _below(schema: Schema, field_id: int) -> list[tuple[int, str]]:
    return [(below, schema.field(below).name) for below in schema.subtree(field_id)[1:]]


__all__ = ["changed_since", "fields_of", "indices_after"]
