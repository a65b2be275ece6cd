"""Can my change follow theirs? One visible table (format_spec/commit.md, "Conflicts"). Pure.

Row = mine, which commits later; column = theirs, committed after the version I read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lance_like.file.stats import bounds_array
from lance_like.table.actions import (
    Action,
    AddColumns,
    AlterColumns,
    Append,
    ChangeRows,
    DropColumns,
    KeyRange,
    NewIndex,
    ReplaceColumns,
    Rewrite,
    SetIndexes,
)
from lance_like.table.apply import is_intact, missing_required
from lance_like.table.fields import ROOT, number_fields
from lance_like.table.fragment import Fragment
from lance_like.table.indices import IndexEntry
from lance_like.table.manifest import Manifest, Transaction
from lance_like.table.schema import Schema
from lance_like.typing_ import Int64s


class Verdict(Enum):
    """commit: apply mine on the newest version. rerun: make mine again from it. stop: it cannot follow."""

    COMMIT = "commit"
    RERUN = "rerun"
    STOP = "stop"


C, R, X = Verdict.COMMIT, Verdict.RERUN, Verdict.STOP


@dataclass(frozen=True, slots=True)
class Meeting:
    """My change and one of theirs. base: the version that mine was made for. newest: the one it would follow."""

    mine: Action
    theirs: Transaction
    base: Manifest
    newest: Manifest


Rule = Callable[[Meeting], Verdict]


def _schema_fits(meeting: Meeting) -> Verdict:
    """Append: stop if a field it wrote has gone or may no longer be null; rerun if a new field may not be null."""
    mine, schema = meeting.mine, meeting.newest.schema
    assert isinstance(mine, Append) and mine.field_ids is not None
    written = dict(zip(mine.field_ids, number_fields(mine.schema, 0), strict=True))
    if schema.missing(written) or any(f.nullable and not schema.field(i).nullable for i, f in written.items()):
        return X
    return R if missing_required(schema, set(written)) else C


def _same_rows(meeting: Meeting) -> Verdict:
    """Add or alter columns: rows that came or changed are not in its files yet, or were not looked at."""
    mine = meeting.mine
    assert isinstance(mine, AddColumns | AlterColumns)
    saw_rows = mine.files is not None if isinstance(mine, AddColumns) else mine.saw_rows
    return R if saw_rows else C


def _same_files(meeting: Meeting) -> Verdict:
    """Alter columns: fragments in other files; that no row is null stays so."""
    assert isinstance(meeting.mine, AlterColumns)
    return C if meeting.mine.files is None else R


def _inputs_remain(meeting: Meeting) -> Verdict:
    """Stop if a field it was computed from, or that it writes to or into, has gone."""
    mine = meeting.mine
    assert isinstance(mine, AddColumns | ChangeRows)
    into = mine.parents if isinstance(mine, AddColumns) else mine.changes
    if meeting.newest.schema.missing(field_id for field_id in (*mine.reads, *into) if field_id != ROOT):
        return X
    # Rows written anew hold the column that has gone.
    return R if isinstance(mine, ChangeRows) and mine.fragments else C


def _inputs_unaltered(meeting: Meeting) -> Verdict:
    """Change rows: stop if a field it stands on has gone; rerun if one that it wrote was altered."""
    mine, theirs = meeting.mine, meeting.theirs
    assert isinstance(mine, ChangeRows)
    if meeting.newest.schema.missing((*mine.reads, *mine.changes)):
        return X
    wrote = (*mine.changes, *(mine.field_ids if mine.fragments else ()))
    return R if any(theirs.touches(field_id) for field_id in wrote) else C


def _other_columns(meeting: Meeting) -> Verdict:
    """Drop or alter: stop if they dropped or altered the same field."""
    mine, theirs = meeting.mine, meeting.theirs
    assert isinstance(mine, DropColumns | AlterColumns)
    ids = mine.field_ids if isinstance(mine, DropColumns) else mine.changes
    return X if meeting.newest.schema.missing(ids) or any(theirs.touches(field_id) for field_id in ids) else C


def _fields_remain(meeting: Meeting) -> Verdict:
    """Replace columns: stop if a field has gone; rerun if one was altered."""
    mine, theirs = meeting.mine, meeting.theirs
    assert isinstance(mine, ReplaceColumns)
    if meeting.newest.schema.missing(mine.field_ids):
        return X
    altered = theirs.kind == "alter_columns" and any(theirs.touches(field_id) for field_id in mine.field_ids)
    return R if altered else C


def _same_fragments(meeting: Meeting) -> Verdict:
    """Replace columns: rerun if rows of its fragments are in others by now, or have other values in these fields."""
    mine, newest = meeting.mine, meeting.newest
    assert isinstance(mine, ReplaceColumns)
    came = [newest.tree.find(fragment_id) for fragment_id in meeting.theirs.fragments_added]
    for old in map(meeting.base.fragment, mine.files):
        new = newest.tree.find(old.id)
        if new is None or any(_place(old, i) != _place(new, i) for i in mine.field_ids):
            return R
        # A fragment that is gone again may have been compacted: its rows are elsewhere.
        if any(one is None or _meet(one.lineage.bounds, old.lineage.bounds) for one in came):
            return R
    return C


def _place(fragment: Fragment, field_id: int) -> tuple[str, int] | None:
    """The path and the column of a field."""
    found = fragment.locate(field_id)
    return None if found is None else (found[0].path, found[1])


def _meet(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Do two half-open intervals have a number in common?"""
    return one[0] < other[1] and other[0] < one[1]


def _other_rows(meeting: Meeting) -> Verdict:
    """Commit if none of the rows that it changes was changed, nor a field that it was computed from."""
    mine, theirs = meeting.mine, meeting.theirs
    assert isinstance(mine, ChangeRows)
    if any(theirs.touches(field_id) for field_id in mine.reads):
        return R
    for fragment_id in mine.touched:
        old, new = meeting.base.tree.find(fragment_id), meeting.newest.tree.find(fragment_id)
        if old is None or new is None or _overlap(mine, old, new):
            return R
    return C


def _overlap(mine: ChangeRows, old: Fragment, new: Fragment) -> bool:
    """Has a row of a fragment that my change touches been deleted or changed meanwhile?"""
    copies = mine.kind != "delete"
    if copies and old.files != new.files:
        return True
    gone = new.deleted[~old.is_deleted(new.deleted)] if old.deletions else new.deleted
    columns = mine.columns.get(old.id)
    touched = [mine.removed.get(old.id, _NO_ROWS), _NO_ROWS if columns is None else columns.offsets]
    return any(np.isin(offsets, gone).any() for offsets in touched)


_NO_ROWS: Int64s = np.empty(0, np.int64)


def _no_key_meets(meeting: Meeting) -> Verdict:
    """Merge: rerun if rows that came may have its keys."""
    mine, newest = meeting.mine, meeting.newest
    assert isinstance(mine, ChangeRows)
    if newest.schema.missing(key.field_id for key in mine.keys):
        return R
    came = [newest.tree.find(fragment_id) for fragment_id in meeting.theirs.fragments_added]
    # A fragment that is gone again may have been compacted: its rows are elsewhere.
    return C if all(fragment and _apart(fragment, newest.schema, mine.keys) for fragment in came) else R


def _apart(fragment: Fragment, schema: Schema, keys: Iterable[KeyRange]) -> bool:
    """True when the bounds of some key say that no row of a fragment has the keys."""
    for key in keys:
        place = fragment.locate(key.field_id)
        entry = dict(place[0].stats).get(key.field_id) if place else None
        if entry is not None and entry.min is not None and entry.max is not None:
            low, high = bounds_array(schema.field(key.field_id).type, [entry.min, entry.max])
            if _outside(key, low, high):
                return True
    return False


def _outside(key: KeyRange, low: pa.Scalar, high: pa.Scalar) -> bool:
    try:
        # Bounds of views are texts of another type.
        first, last = key.low.cast(low.type), key.high.cast(low.type)
        return pc.less(last, low).as_py() is True or pc.less(high, first).as_py() is True
    except pa.ArrowNotImplementedError:
        return False


def _merge_with_merge(meeting: Meeting) -> Verdict:
    """Merge: other rows, and other keys."""
    return R if _no_key_meets(meeting) is R else _other_rows(meeting)


def _some_group_left(meeting: Meeting) -> Verdict:
    """Compact: what they changed is left as it is; with nothing left, it is planned anew."""
    mine = meeting.mine
    assert isinstance(mine, Rewrite)
    return C if any(is_intact(meeting.newest, group.old) for group in mine.groups) else R


def _keeps_index(meeting: Meeting) -> Verdict:
    """Drop or alter: stop if that takes the field of an index that they made; one of another type is another field."""
    mine, newest = meeting.mine, meeting.newest
    assert isinstance(mine, DropColumns | AlterColumns)
    gone = mine.field_ids if isinstance(mine, DropColumns) else mine.recast
    known = set(gone).difference(newest.schema.missing(gone))
    taken = {below for field_id in known for below in newest.schema.subtree(field_id)}
    made = [entry for entry in newest.indices if entry.name in meeting.theirs.indexes]
    return C if all(taken.isdisjoint(entry.field_ids) for entry in made) else X


def _struct_remains(meeting: Meeting) -> Verdict:
    """Index: stop if a field of it has gone; rerun if what lies below one is other fields by now."""
    mine, before, after = meeting.mine, meeting.base.schema, meeting.newest.schema
    assert isinstance(mine, SetIndexes)
    ids = [field_id for new in mine.made for field_id in new.entry.field_ids]
    if after.missing(ids):
        return X
    return C if [before.arrow_field(i).type for i in ids] == [after.arrow_field(i).type for i in ids] else R


def _same_segments(meeting: Meeting) -> Verdict:
    """Index: stop if they made or dropped one of its name; rerun if it extends one that has other segments."""
    mine = meeting.mine
    assert isinstance(mine, SetIndexes)
    verdicts = [_follows(meeting, new) for new in mine.made if new.entry.name in meeting.theirs.indexes]
    return X if X in verdicts else R if R in verdicts else C


def _follows(meeting: Meeting, mine: NewIndex) -> Verdict:
    old, new = _named(meeting.base, mine.entry.name), _named(meeting.newest, mine.entry.name)
    if mine.mode == "replace":
        return C
    if mine.mode == "create":
        return C if new is None else X
    if old is None or new is None or not new.of_same(old):
        return X
    # Segments of which no row is left have gone; what is there is covered as it was.
    return C if {s.uuid for s in new.segments} <= {s.uuid for s in old.segments} else R


def _named(manifest: Manifest, name: str) -> IndexEntry | None:
    return next((entry for entry in manifest.indices if entry.name == name), None)


_THEIRS = (
    "append",
    "delete",
    "update",
    "merge_insert",
    "add_columns",
    "drop_columns",
    "alter_columns",
    "replace_columns",
    "compact",
    "update_metadata",
    "overwrite",
    "restore",
    "create_index",
    "drop_index",
)


def _of(*cells: Verdict | Rule) -> dict[str, Verdict | Rule]:
    return dict(zip(_THEIRS, cells, strict=True))


_fits, _same, _read, _cols = _schema_fits, _same_rows, _inputs_remain, _other_columns
_rows, _keys, _both, _left = _other_rows, _no_key_meets, _merge_with_merge, _some_group_left
_like, _file, _stay, _part = _inputs_unaltered, _same_files, _fields_remain, _same_fragments
_idx, _kept, _made = _keeps_index, _struct_remains, _same_segments

# Names that clash after a rebase (two writers add one name) are found by `apply`, which stops too.
# fmt: off
RULES: dict[str, dict[str, Verdict | Rule]] = {
    # mine theirs:          append delete update merge  add    drop   alter  repl   comp   meta over rest index  unindex
    "append":          _of(C,     C,     C,     C,     _fits, _fits, _fits, C,     C,     C,   X,   X,   C,     C),
    "delete":          _of(C,     C,     _rows, _rows, C,     _read, _like, _rows, _rows, C,   X,   X,   C,     C),
    "update":          _of(C,     _rows, _rows, _rows, R,     _read, _like, _rows, _rows, C,   X,   X,   C,     C),
    "merge_insert":    _of(_keys, _rows, _both, _both, R,     _read, _like, _rows, _rows, C,   X,   X,   C,     C),
    "add_columns":     _of(_same, C,     _same, _same, C,     _read, _read, _same, _same, C,   X,   X,   C,     C),
    "drop_columns":    _of(C,     C,     C,     C,     C,     _cols, _cols, C,     C,     C,   X,   X,   _idx,  C),
    "alter_columns":   _of(_same, C,     _same, _same, C,     _cols, _cols, _same, _file, C,   X,   X,   _idx,  C),
    "replace_columns": _of(C,     C,     _part, _part, C,     _stay, _stay, _part, _part, C,   X,   X,   C,     C),
    "compact":         _of(C,     _left, _left, _left, R,     C,     _left, _left, _left, C,   X,   X,   C,     C),
    "update_metadata": _of(C,     C,     C,     C,     C,     C,     C,     C,     C,     C,   C,   C,   C,     C),
    "overwrite":       _of(C,     C,     C,     C,     C,     C,     C,     C,     C,     C,   C,   C,   C,     C),
    "restore":         _of(C,     C,     C,     C,     C,     C,     C,     C,     C,     C,   C,   C,   C,     C),
    "create_index":    _of(C,     C,     C,     C,     _kept, _kept, _kept, C,     C,     C,   X,   X,   _made, _made),
    "drop_index":      _of(C,     C,     C,     C,     C,     C,     C,     C,     C,     C,   C,   C,   C,     C),
}
# fmt: on


def judge(mine: Action, theirs: Transaction, *, base: Manifest, newest: Manifest) -> Verdict:
    """Say how my change can follow theirs.

    mine: bound to base, the version it was made for. newest: the version it would follow, theirs included.
    A kind of change that the table does not know asks for a rerun: that is right after any change.
    """
    rule = RULES[mine.kind].get(theirs.kind, R)
    verdict = rule if isinstance(rule, Verdict) else rule(Meeting(mine, theirs, base, newest))
    must_see = isinstance(mine, ChangeRows) and mine.serializable and theirs.row_ids
    return R if must_see and verdict is C else verdict
