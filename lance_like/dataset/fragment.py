"""One fragment of one version, as a handle: what it holds, and changes of it that somebody commits later."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from lance_like.dataset.arguments import integers
from lance_like.dataset.change import matching
from lance_like.dataset.columns import add_columns
from lance_like.dataset.fragment_metadata import DataFile, DeletionFile, FragmentMetadata
from lance_like.dataset.inputs import Data
from lance_like.dataset.joins import join_columns, patch_of
from lance_like.dataset.lance_schema import LanceSchema
from lance_like.dataset.operations import LanceOperation
from lance_like.dataset.patch import write_patch_columns
from lance_like.dataset.progress import FragmentWriteProgress, NumberedFrom, Progress
from lance_like.dataset.replace import write_replacement
from lance_like.dataset.scan_options import SCAN_OPTIONS
from lance_like.dataset.scanner import BlobMode, Filter, LanceScanner, bind_filter
from lance_like.dataset.staging import write_fragments
from lance_like.dataset.write import MAX_ROWS_PER_FILE, Mode
from lance_like.errors import InvalidInput, OutOfRange
from lance_like.io.store import Store
from lance_like.query.answer import Answer, Columns, answer_of, as_names
from lance_like.query.session import Session
from lance_like.query.take import Placed, take_placed
from lance_like.table.actions import AddColumns
from lance_like.table.commit import Change
from lance_like.table.fragment import MAX_FRAGMENT_ID, Fragment
from lance_like.table.lines import branch_of, line_of
from lance_like.table.parts import Tree

if TYPE_CHECKING:
    from lance_like.dataset.handle import LanceDataset


class LanceFragment:
    """Rows that were written together: the unit of files.

    Made by `LanceDataset.get_fragments`, or of a dataset and the number of a fragment. It stays with the version that
    the dataset had then, and pickles with it. What it changes becomes visible when `LanceDataset.commit` takes the
    metadata that `delete`, `merge` and the others return.
    """

    def __init__(self, dataset: LanceDataset, fragment_id: int, *, fragment: Fragment | None = None) -> None:
        self._session, self._manifest = dataset._session, dataset._manifest
        self._fragment = self._manifest.fragment(fragment_id) if fragment is None else fragment
        self._reopen: tuple[Any, ...] = dataset.__reduce__()[:2]

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (*self._reopen, self.fragment_id)

    def _check_of(self, store: Store) -> None:
        """Raise InvalidInput unless it is of the table, or of the branch, that a store holds."""
        own = self._session.store
        if (own.uri, line_of(own)) != (store.uri, line_of(store)):
            place = own.uri if own.uri != store.uri else f"the branch {branch_of(own) or 'main'!r}"
            raise InvalidInput(
                f"the fragment {self.fragment_id} is of {place}", hint="use get_fragments of this handle"
            )

    # -- what it is --

    @property
    def fragment_id(self) -> int:
        """Its number: no other fragment of the table's history has it."""
        return self._fragment.id

    @property
    def schema(self) -> pa.Schema:
        """The schema of the table, as `LanceDataset.schema`."""
        return self._manifest.schema.described.to_arrow()

    @property
    def physical_schema(self) -> pa.Schema:
        """The columns of the table that its files hold; the others read as null."""
        held = {i for file in self._fragment.files for i in file.field_ids}
        return pa.schema([self.schema.field(f.name) for f in self._manifest.schema.children() if f.id in held])

    @property
    def metadata(self) -> FragmentMetadata:
        """What a commit must know of it. Cost: its lineage and deletions, which may lie in parts."""
        return FragmentMetadata.of(self._fragment)

    @property
    def physical_rows(self) -> int:
        """Rows in its files, deleted ones too."""
        return self._fragment.rows

    @property
    def num_deletions(self) -> int:
        """How many of its rows are deleted."""
        return self._fragment.rows - self._fragment.live_rows

    def data_files(self) -> list[DataFile]:
        """Its files; each field of the table is in at most one."""
        return [DataFile.of(file) for file in self._fragment.files]

    def deletion_file(self) -> str | None:
        """The object that says which rows are deleted: a key, or "inline" when the manifest itself does; None: none."""
        deletions = self._fragment.deletions
        if deletions is None:
            return None
        return deletions.ref.path if deletions.ref else "inline"

    def validate(self) -> None:
        """Open its files, and read its lineage and deletions. Raises Corrupt. Cost: no values are read."""
        self._session.open(self._fragment.files)
        _ = self._fragment.runs, self._fragment.deleted

    def __repr__(self) -> str:
        paths = [file.path for file in self._fragment.files]
        return f"LanceFragment(id={self.fragment_id}, rows={self.physical_rows:,}, files={paths})"

    # -- reading --

    def scanner(
        self,
        schema: pa.Schema | None = None,
        *,
        columns: Columns | None = None,
        filter: Filter = None,
        **options: Any,
    ) -> LanceScanner:
        """A scan of this fragment; options as in `LanceDataset.scanner`.

        schema: of the dataset, as engines over pyarrow's fragments (DataFusion) pass it; no other.
        """
        if schema is not None and not schema.equals(self.schema):
            raise InvalidInput(f"a fragment is read in the schema of its dataset, not in {schema}")
        return LanceScanner(
            self._session, self._manifest, columns=columns, filter=filter, within=[self._fragment], **options
        )

    def to_table(
        self,
        columns: Columns | None = None,
        filter: Filter = None,
        limit: int | None = None,
        offset: int | None = None,
        **options: Any,
    ) -> pa.Table:
        """All its rows that pass."""
        return self.scanner(columns=columns, filter=filter, limit=limit, offset=offset, **options).to_table()

    def to_batches(
        self, columns: Columns | None = None, filter: Filter = None, **options: Any
    ) -> Iterator[pa.RecordBatch]:
        """Its rows that pass, a batch at a time."""
        return self.scanner(columns=columns, filter=filter, **options).to_batches()

    def to_pandas(
        self,
        columns: Columns | None = None,
        filter: Filter = None,
        limit: int | None = None,
        offset: int | None = None,
        *,
        blob_mode: BlobMode = "lazy",
        **options: Any,
    ) -> Any:
        """Its rows that pass as a pandas DataFrame; options as in `LanceDataset.to_pandas`."""
        told = {name: options.pop(name) for name in SCAN_OPTIONS & options.keys()}
        scanner = self.scanner(columns=columns, filter=filter, limit=limit, offset=offset, **told)
        return scanner.to_pandas(blob_mode=blob_mode, **options)

    def head(self, num_rows: int, columns: Columns | None = None) -> pa.Table:
        """Its first rows."""
        return self.scanner(columns=columns).head(num_rows)

    def count_rows(self, filter: Filter = None) -> int:
        """How many of its rows pass."""
        return self.scanner(columns=[], filter=filter).count_rows()

    def take(self, indices: Any, columns: Columns | None = None) -> pa.Table:
        """Rows by position among its live rows, in the order asked. Raises OutOfRange."""
        return self.open_session(columns).take(indices)

    def open_session(self, columns: Columns | None = None, with_row_address: bool | None = None) -> FragmentSession:
        """For many takes of the same columns."""
        schema = self._manifest.schema.described
        answer = answer_of(self._manifest, schema, as_names(columns), with_row_address=bool(with_row_address))
        return FragmentSession(self._session, self._fragment, answer)

    # -- changes, for somebody to commit --

    def delete(self, predicate: Filter) -> FragmentMetadata | None:
        """The fragment without the rows that pass, for `LanceOperation.Delete`; None when none is left."""
        if predicate is None:
            raise InvalidInput("delete needs a predicate", hint="delete('true') deletes every row")
        condition = bind_filter(self._manifest.schema, predicate)
        found = matching(self._session, self._manifest, condition, [self._fragment])
        return self.metadata.without(found.get(self.fragment_id, np.empty(0, np.int64)))

    def delete_rows(self, offsets: Any) -> FragmentMetadata | None:
        """The fragment without some of its physical rows; None when none is left. Raises OutOfRange."""
        rows = integers(list(offsets) if not hasattr(offsets, "__len__") else offsets)
        if len(rows) and (rows.min() < 0 or rows.max() >= self.physical_rows):
            raise OutOfRange(f"an offset is out of range: fragment {self.fragment_id} has {self.physical_rows:,} rows")
        return self.metadata.without(rows)

    def merge_columns(
        self,
        value_func: Any,
        columns: Sequence[str] | None = None,
        batch_size: int | None = None,
        reader_schema: pa.Schema | None = None,
    ) -> tuple[FragmentMetadata, LanceSchema]:
        """Write new columns of this fragment. The arguments are those of `LanceDataset.add_columns`.

        Returns the fragment with them and the schema of the table with them, for `LanceOperation.Merge`.
        """
        alone = replace(self._manifest, tree=Tree((), (self._fragment,)))
        made: list[AddColumns] = []

        def keep(change: Change) -> None:
            action = change(alone) if callable(change) else change
            assert isinstance(action, AddColumns)
            made.append(action)

        options = {"read_columns": columns, "reader_schema": reader_schema, "batch_size": batch_size}
        add_columns(self._session, alone, value_func, keep, **options)
        [action] = made
        schema, ids = alone.schema.extended(action.schema, alone.next_field_id, action.parents)
        if [field.id for field in schema.fields if field.id in ids] != list(ids):
            raise InvalidInput("new columns stand in the order of the schema", hint="name those of structs first")
        files = (action.files or {}).get(self.fragment_id, ())
        return self.metadata.with_files(files, ids), LanceSchema(schema)

    def merge(
        self, data_obj: Data, left_on: str, right_on: str | None = None, schema: pa.Schema | None = None
    ) -> tuple[FragmentMetadata, LanceSchema]:
        """Write the columns of other data as new columns of the rows with equal keys; null where none has the key.

        left_on: the key column, also `_rowid` or `_rowaddr`. right_on: that of the data; None: of the same name.
        Returns as `merge_columns`. Raises InvalidInput for a key that stands twice in the data.
        """
        with join_columns(self._manifest.schema, data_obj, left_on, right_on or left_on, schema) as values:
            return self.merge_columns(values, [left_on], reader_schema=values.schema)

    def update_columns(
        self,
        data_obj: Data,
        left_on: str = "_rowid",
        right_on: str | None = None,
        schema: pa.Schema | None = None,
        *,
        with_offsets: bool = False,
    ) -> Any:
        """Write columns anew with the values of other data in the rows with equal keys; other rows keep theirs.

        left_on, right_on: as in `merge`. Returns the fragment and the ids of the fields that changed, for
        `LanceOperation.Update`; with_offsets: also the rows that changed, for its updated_fragment_offsets.
        """
        keys = (left_on, right_on or left_on)
        with patch_of(self._session, self._manifest, self._fragment, data_obj, keys, schema) as (patch, names):
            if len(patch.offsets) == 0:
                made, ids = self.metadata, []
            else:
                [written] = write_patch_columns(self._session, self._manifest, [patch], names).values()
                made, ids = self.metadata.with_files(written.files, written.field_ids), sorted(written.field_ids)
            return (made, ids, DeletionFile.of(patch.offsets).bitmap) if with_offsets else (made, ids)

    def replace_columns(self, data: Data) -> LanceOperation.DataReplacementGroup:
        """Write other values of some columns for all its live rows, in order; for `LanceOperation.DataReplacement`.

        Raises InvalidInput for other columns, types or numbers of rows than the table's.
        """
        file = write_replacement(self._session, self._manifest, self._fragment, data)
        return LanceOperation.DataReplacementGroup(self.fragment_id, file)

    # -- making one --

    @staticmethod
    def create(
        dataset_uri: str | os.PathLike[str] | LanceDataset,
        data: Data,
        fragment_id: int | None = None,
        schema: pa.Schema | None = None,
        max_rows_per_group: int | None = None,
        progress: Progress | None = None,
        mode: Mode = "append",
        *,
        storage_options: Mapping[str, Any] | None = None,
        **hints: Any,
    ) -> FragmentMetadata:
        """Write rows as one fragment that somebody commits; see `write_fragments`.

        fragment_id: kept in the metadata, and what a `FragmentWriteProgress` is told; a commit gives the number.
        Raises InvalidInput for no rows or too many.
        """
        if fragment_id is not None and not 0 <= fragment_id <= MAX_FRAGMENT_ID:
            raise InvalidInput(f"fragment_id={fragment_id}: expected a number from 0 to {MAX_FRAGMENT_ID:,}")
        if isinstance(progress, FragmentWriteProgress):
            progress = NumberedFrom(progress, fragment_id or 0)
        options = {"mode": mode, "progress": progress, "storage_options": storage_options, **hints}
        made = write_fragments(data, dataset_uri, schema, **options)
        if len(made) != 1:
            raise InvalidInput(
                f"one fragment holds 1 to {MAX_ROWS_PER_FILE:,} rows", hint="write_fragments writes many"
            )
        return replace(made[0], id=fragment_id or 0)

    @staticmethod
    def create_from_file(filename: str, dataset: LanceDataset, fragment_id: int) -> FragmentMetadata:
        """The metadata of a fragment of one data file that lies in the table. filename: its key or its name in data/.

        Its columns are those of the table with their names. Raises InvalidInput, NotFound or Corrupt.
        """
        file = DataFile.create(dataset, filename)
        return FragmentMetadata(fragment_id, [file], file.rows)


class FragmentSession:
    """Takes of the same columns from one fragment. Made by `LanceFragment.open_session`."""

    def __init__(self, session: Session, fragment: Fragment, answer: Answer) -> None:
        self._session, self._fragment, self._answer = session, fragment, answer

    def take(self, indices: Any) -> pa.Table:
        """Rows by position among its live rows, in the order asked. Raises OutOfRange."""
        positions, live = integers(indices), self._fragment.live_rows
        if len(positions) and (positions.min() < 0 or positions.max() >= live):
            raise OutOfRange(f"a position is outside the {live:,} rows of fragment {self._fragment.id}")
        offsets = self._fragment.offsets_of_live(positions)
        placed = Placed([self._fragment], np.zeros_like(offsets), offsets)
        return self._answer.made(take_placed(self._session, self._answer.read, placed))


def _reopened(reopen: Callable[..., LanceDataset], arguments: tuple[Any, ...], fragment_id: int) -> LanceFragment:
    return LanceFragment(reopen(*arguments), fragment_id)


__all__ = ["FragmentSession", "LanceFragment"]
