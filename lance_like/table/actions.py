"""The changes of a table as values; `apply` (table/apply.py) makes the next version of one (format_spec/commit.md,
"Actions").

An action carries files and rows only. Field ids, fragment ids, fresh row ids and versions are given by `apply`, so
that bringing a change onto a newer version is applying it again. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import pyarrow as pa

from lance_like.file.stats import ZoneEntry
from lance_like.table.fields import Alteration
from lance_like.table.fragment import Fragment
from lance_like.table.indices import IndexEntry
from lance_like.table.lineage import Runs
from lance_like.table.manifest import Manifest
from lance_like.typing_ import Int64s


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
    """Rows in new files: the columns of its files, one file after the other, are the written schema depth first.

    lineage: of its first rows, which were in the table before, with 0 for the version being made; the others are new.
    None: all rows are new.
    """

    files: tuple[NewFile, ...]
    lineage: Runs | None = None


@dataclass(frozen=True, slots=True)
class Create:
    """The first version of a table."""

    kind: ClassVar[str] = "create"
    schema: pa.Schema
    fragments: tuple[NewFragment, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, str] = field(default_factory=dict)


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
    """New fields, each after the last of its struct or of the table.

    schema: the new fields; the columns of the new files are these, depth first.
    files: fragment id -> its new files, for every fragment of the table; None: the fields read as null.
    reads: ids of the fields they were computed from. parents: the struct that each one goes into, -1 for none; () when
    all are at the top.
    """

    kind: ClassVar[str] = "add_columns"
    schema: pa.Schema
    files: Mapping[int, tuple[NewFile, ...]] | None
    reads: tuple[int, ...] = ()
    parents: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class DropColumns:
    """Fields, and all below them, leave the schema; no file changes."""

    kind: ClassVar[str] = "drop_columns"
    field_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class AlterColumns:
    """Other names, nullabilities and types of fields.

    changes: field id -> what it becomes. A field of another type gets a fresh id in its place.
    files: fragment id -> files with the columns of other types, in the order of `changes`; () for a fragment that
    holds none of them. None when no type changes.
    """

    kind: ClassVar[str] = "alter_columns"
    changes: Mapping[int, Alteration]
    files: Mapping[int, tuple[NewFile, ...]] | None = None

    @property
    def recast(self) -> tuple[int, ...]:
        """The fields whose type changes."""
        return tuple(field_id for field_id, change in self.changes.items() if change.type is not None)

    @property
    def saw_rows(self) -> bool:
        """Does it stand on the rows that there were: on their values, or on that none is null?"""
        return any(change.type is not None or change.nullable is False for change in self.changes.values())


@dataclass(frozen=True, slots=True)
class ReplaceColumns:
    """Other values of fields in all rows of some fragments.

    files: fragment id -> files whose columns hold `field_ids`, one file after the other.
    """

    kind: ClassVar[str] = "replace_columns"
    files: Mapping[int, tuple[NewFile, ...]]
    field_ids: tuple[int, ...]


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


@dataclass(frozen=True, slots=True)
class NewColumns:
    """Columns of a fragment in new files that supersede the old ones.

    field_ids: what the columns of the files hold, one file after the other. offsets: int64[n] rows that changed.
    """

    files: tuple[NewFile, ...]
    field_ids: tuple[int, ...]
    offsets: Int64s


@dataclass(frozen=True, slots=True)
class KeyRange:
    """The least and the greatest value of one key column among the rows that a merge brings."""

    field_id: int
    low: pa.Scalar
    high: pa.Scalar


@dataclass(frozen=True, slots=True)
class ChangeRows:
    """Rows deleted, changed and added, in one change.

    removed: fragment id -> int64[n] offsets, ascending, of rows that are no longer there: deleted, or written anew.
    columns: fragment id -> columns written anew. fragments: rows written anew (with a lineage), then new rows.
    field_ids: what the columns of `fragments` hold. reads: the fields it was computed from, keys among them.
    changes: the fields whose values changed.
    keys: of a merge, the ranges of its keys; () when they are not known.
    serializable: rows that come meanwhile are to be seen too.
    predicate: of a delete, the SQL that chose the rows; None when it is not known.
    """

    kind: Literal["delete", "update", "merge_insert"]
    removed: Mapping[int, Int64s] = field(default_factory=dict)
    columns: Mapping[int, NewColumns] = field(default_factory=dict)
    fragments: tuple[NewFragment, ...] = ()
    field_ids: tuple[int, ...] = ()
    reads: tuple[int, ...] = ()
    changes: tuple[int, ...] = ()
    keys: tuple[KeyRange, ...] = ()
    serializable: bool = False
    predicate: str | None = None

    @property
    def touched(self) -> set[int]:
        """The ids of the fragments it changes."""
        return {*self.removed, *self.columns}


@dataclass(frozen=True, slots=True)
class RewrittenGroup:
    """Fragments, as they were read, and those that take their place, with lineages. All rows are the same."""

    old: tuple[Fragment, ...]
    new: tuple[NewFragment, ...]


@dataclass(frozen=True, slots=True)
class Rewrite:
    """The same rows in other files: a compaction. A group whose old fragments have changed is left as it is.

    field_ids: what the columns of the new fragments hold.
    """

    kind: ClassVar[str] = "compact"
    groups: tuple[RewrittenGroup, ...]
    field_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class NewIndex:
    """An index, or more segments of one.

    entry: with the new segments.
    mode: "create" a new one; "replace" what has its name, if anything does; "extend" what has its name by the segments.
    replaces: of "extend", the uuids of segments whose rows the new ones hold.
    """

    entry: IndexEntry
    mode: Literal["create", "replace", "extend"] = "create"
    replaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SetIndexes:
    """Indexes made or extended, each once. version: that their new segments were built from."""

    kind: ClassVar[str] = "create_index"
    made: tuple[NewIndex, ...]
    version: int


@dataclass(frozen=True, slots=True)
class DropIndex:
    """An index that goes. Its files stay for the versions that name them."""

    kind: ClassVar[str] = "drop_index"
    name: str


Action = (
    Create
    | Append
    | Overwrite
    | AddColumns
    | DropColumns
    | AlterColumns
    | ReplaceColumns
    | Restore
    | UpdateMetadata
    | ChangeRows
    | Rewrite
    | SetIndexes
    | DropIndex
)


def new_files(action: Action) -> Iterator[NewFile]:
    """The data files that an action brings."""
    match action:
        case Create() | Append() | Overwrite():
            fragments = action.fragments
        case AddColumns() | AlterColumns() | ReplaceColumns():
            yield from (file for files in (action.files or {}).values() for file in files)
            return
        case ChangeRows():
            yield from (file for columns in action.columns.values() for file in columns.files)
            fragments = action.fragments
        case Rewrite():
            fragments = tuple(new for group in action.groups for new in group.new)
        case _:
            return
    yield from (file for fragment in fragments for file in fragment.files)
