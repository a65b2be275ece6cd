"""Changes of a table as values for callers: what `LanceDataset.commit` takes, and what `read_transaction` gives."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from lance_like.dataset.fragment_metadata import DataFile, FragmentMetadata
from lance_like.dataset.index_values import Index
from lance_like.dataset.lance_schema import LanceSchema
from lance_like.errors import InvalidInput
from lance_like.table.actions import KeyRange

LANCE_COMMIT_MESSAGE_KEY = "__lance_commit_message"
"""The property of a transaction that holds the message of its commit."""


class LanceOperation:
    """The kinds of changes. Fragments of an operation are metadata, as `write_fragments` and `LanceFragment` give."""

    class BaseOperation:
        """What all operations are."""

    @dataclass(frozen=True)
    class Append(BaseOperation):
        """More rows. Columns that the fragments lack read as null."""

        fragments: Sequence[FragmentMetadata]

        def __post_init__(self) -> None:
            check_fragments(self.fragments)

    @dataclass(frozen=True)
    class Overwrite(BaseOperation):
        """A new table, or other rows and another schema in place of all there were."""

        new_schema: pa.Schema | LanceSchema
        fragments: Sequence[FragmentMetadata]

        def __post_init__(self) -> None:
            check_fragments(self.fragments)

    @dataclass(frozen=True)
    class Delete(BaseOperation):
        """Rows that go: fragments with more deletions, as `LanceFragment.delete` gives them, and the ids of those it
        left nothing of. predicate: SQL that chose the rows; other writers' changes of what it reads conflict."""

        updated_fragments: Sequence[FragmentMetadata]
        deleted_fragment_ids: Sequence[int]
        predicate: str | None = None

        def __post_init__(self) -> None:
            check_fragments(self.updated_fragments)

    @dataclass(frozen=True)
    class Update(BaseOperation):
        """Rows that change: in new columns of old fragments, or written anew.

        removed_fragment_ids: fragments of which no row is left. updated_fragments: those with more deletions, or with
        columns in new files. new_fragments: rows written anew carry the ids they had (`row_id_meta`), and stand among
        the deletions too; those without ids are new rows.
        fields_modified: ids of the fields whose values change. updated_fragment_offsets: fragment id -> a Roaring
        bitmap (portable form) of the rows whose columns changed; all, where it has none.
        fields_for_preserving_frag_bitmap, update_mode: accepted; what indexes answer for follows from the rows.
        The rest is this package's own, filled in by `execute_uncommitted`. kind: what the history calls it.
        fields_read: what it was computed from. key_ranges: of the keys of a merge.
        """

        removed_fragment_ids: Sequence[int] = ()
        updated_fragments: Sequence[FragmentMetadata] = ()
        new_fragments: Sequence[FragmentMetadata] = ()
        fields_modified: Sequence[int] = ()
        updated_fragment_offsets: Mapping[int, bytes] | None = None
        kind: str = "update"
        fields_read: Sequence[int] = ()
        key_ranges: Sequence[KeyRange] = ()
        fields_for_preserving_frag_bitmap: Sequence[int] = ()
        update_mode: str = ""

        def __post_init__(self) -> None:
            check_fragments(self.updated_fragments)
            check_fragments(self.new_fragments)

    @dataclass(frozen=True)
    class Merge(BaseOperation):
        """New columns: every fragment with one more file, and the schema with the new fields at its end.

        preserves_nullability: accepted, not needed.
        """

        fragments: Sequence[FragmentMetadata]
        schema: pa.Schema | LanceSchema
        preserves_nullability: bool = False

        def __post_init__(self) -> None:
            check_fragments(self.fragments)

    @dataclass(frozen=True)
    class Project(BaseOperation):
        """Only these columns remain, or all with other names.

        A schema with as many fields as the table's, each of the same type, says what each is called in its place, so
        that names can be swapped. Any other says by its names which fields stay, those of structs too.
        preserves_nullability: accepted, not needed.
        """

        schema: pa.Schema | LanceSchema
        preserves_nullability: bool = False

    @dataclass(frozen=True)
    class Restore(BaseOperation):
        """An old version once more."""

        version: int

    @dataclass(frozen=True)
    class Clone(BaseOperation):
        """A version of another table as the first of this one, as `shallow_clone` and `deep_clone` make it.

        It can be read, not committed. ref_path: the other table, of a shallow clone.
        """

        is_shallow: bool
        ref_version: int
        ref_path: str | None = None

    @dataclass(frozen=True)
    class RewriteGroup:
        """Fragments, and those that hold the same rows in their place."""

        old_fragments: Sequence[FragmentMetadata]
        new_fragments: Sequence[FragmentMetadata]

    @dataclass(frozen=True)
    class Rewrite(BaseOperation):
        """The same rows in other files. New fragments without `row_id_meta` hold the live rows of the old in order.

        rewritten_indices: none; indexes know rows by ids that stay.
        """

        groups: Sequence[LanceOperation.RewriteGroup]
        rewritten_indices: Sequence[Index] = ()

        def __post_init__(self) -> None:
            if self.rewritten_indices:
                raise InvalidInput("rewritten_indices: expected none, as no index changes where rows move")
            for group in self.groups:
                check_fragments(group.old_fragments)
                check_fragments(group.new_fragments)

    @dataclass(frozen=True)
    class DataReplacementGroup:
        """A file that takes over its fields in a fragment."""

        fragment_id: int
        new_file: DataFile

    @dataclass(frozen=True)
    class DataReplacement(BaseOperation):
        """Columns of fragments in other files. All their rows count as changed."""

        replacements: Sequence[LanceOperation.DataReplacementGroup]

    @dataclass(frozen=True)
    class UpdateMap:
        """Texts that change: key -> new text, or None to remove it. replace: all others go."""

        updates: Mapping[str, str | None]
        replace: bool = False

    @dataclass(frozen=True)
    class UpdateConfig(BaseOperation):
        """Texts of the table: its configuration, its metadata, that of its schema and of fields, by id."""

        config_updates: LanceOperation.UpdateMap | None = None
        table_metadata_updates: LanceOperation.UpdateMap | None = None
        schema_metadata_updates: LanceOperation.UpdateMap | None = None
        field_metadata_updates: Mapping[int, LanceOperation.UpdateMap] | None = None

    @dataclass(frozen=True)
    class CreateIndex(BaseOperation):
        """Segments of indexes that come, and those that go: of indexes made, extended, replaced or dropped.

        An index of which all segments go, and others come, is replaced by the index that these are of.
        """

        new_indices: Sequence[Index]
        removed_indices: Sequence[Index] = ()

    @dataclass(frozen=True)
    class Other(BaseOperation):
        """A change of a kind that has no value here; it can be read, not committed."""

        kind: str


def check_fragments(fragments: Sequence[FragmentMetadata]) -> None:
    """Raise InvalidInput unless these are metadata of fragments in a list."""
    if not isinstance(fragments, list | tuple) or not all(isinstance(item, FragmentMetadata) for item in fragments):
        raise InvalidInput(f"fragments={fragments!r:.80}: expected a list of FragmentMetadata")


@dataclass(frozen=True)
class Transaction:
    """One change, to be committed or as it was.

    read_version: the version it was made for; 0: there was none. uuid: 32 hexadecimal digits; committing one
    transaction twice changes the table once. transaction_properties: texts, the message of the commit among them
    under `LANCE_COMMIT_MESSAGE_KEY`.
    """

    read_version: int
    operation: LanceOperation.BaseOperation
    uuid: str = field(default_factory=lambda: uuid.uuid4().hex)
    transaction_properties: Mapping[str, str] = field(default_factory=dict)


__all__ = ["LANCE_COMMIT_MESSAGE_KEY", "LanceOperation", "Transaction", "check_fragments"]
