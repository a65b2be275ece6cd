"""The handle on one version of a dataset: thin, every method a few lines over the layers below.

It is a `pyarrow.dataset.Dataset`, because that is what DuckDB and Polars accept with projection and filter
pushed down; every public attribute of that class is overridden, here or in `PythonDataset`.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from lance_like.dataset import preview
from lance_like.dataset.alter import plan_alter_columns
from lance_like.dataset.arguments import check_insert_options, integers, texts
from lance_like.dataset.arrow import PythonDataset
from lance_like.dataset.blobs import DatasetBlobs
from lance_like.dataset.bound import RETRIES, RETRY_TIMEOUT
from lance_like.dataset.change import Delete, Isolation, Update, check_isolation
from lance_like.dataset.columns import Computed, add_columns
from lance_like.dataset.commits import DatasetCommits
from lance_like.dataset.duplicates import DatasetDuplicates
from lance_like.dataset.engine import EngineSource, EngineTable
from lance_like.dataset.fragment import LanceFragment
from lance_like.dataset.history import DatasetHistory
from lance_like.dataset.indexes import DatasetIndexes
from lance_like.dataset.inputs import Data, Stream, as_stream, conform_some, schema_of_new
from lance_like.dataset.joins import join_columns
from lance_like.dataset.maintenance import DatasetMaintenance
from lance_like.dataset.merge import MergeStats, Rules, run_merge
from lance_like.dataset.merge_builder import MergeInsertBuilder
from lance_like.dataset.metadata import DatasetMetadata
from lance_like.dataset.place import uri_of
from lance_like.dataset.results import DeleteResult, UpdateResult
from lance_like.dataset.scan_options import SCAN_OPTIONS, BlobHandling, ScanOptions, check_tuning, count
from lance_like.dataset.scanner import BlobMode, Filter, LanceScanner, as_read, bind_filter
from lance_like.dataset.search_builder import DatasetSearch
from lance_like.dataset.view import DatasetView
from lance_like.dataset.write import (
    MAX_BYTES_PER_FILE,
    MAX_ROWS_PER_FILE,
    FileLimits,
    Mode,
    write_version,
)
from lance_like.errors import InvalidInput
from lance_like.io.store import Store
from lance_like.query.answer import Answer, Columns, answer_of, as_names
from lance_like.query.plan import NONE, judge_fragments
from lance_like.query.take import take_ids, take_positions
from lance_like.table.actions import DropColumns
from lance_like.table.commit import Change, commit
from lance_like.table.fragment import Fragment
from lance_like.table.history import newest_held
from lance_like.table.snapshot import read_manifest
from lance_like.version import FORMAT_VERSION

if TYPE_CHECKING:
    from typing import Unpack

    from lance_like.dataset.sql.query import SqlQueryBuilder

_ANSWERS_KEPT = 64
COLUMN_RETRIES = 1000
COLUMN_TIMEOUT = timedelta(days=7)


class LanceDataset(
    DatasetHistory,
    DatasetCommits,
    DatasetMaintenance,
    DatasetIndexes,
    DatasetMetadata,
    DatasetBlobs,
    DatasetDuplicates,
    DatasetSearch,
    EngineSource,
    PythonDataset,
):
    """One version of a dataset. Made by `lance_like.dataset` and `lance_like.write_dataset`.

    The handle moves only by its own writes, `checkout_latest` and `restore`, never by others' commits.
    Pickles as its store, version and options: the copy opens the same version where it is unpickled.
    """

    @classmethod
    def from_pydantic_model(
        cls,
        model_class: type[Any],
        data: list[Any],
        uri: str | os.PathLike[str] | None = None,
        mode: Mode = "create",
        **options: Any,
    ) -> LanceDataset:
        """Write instances of a model of pydantic; `lance_like.write_dataset` takes a list of them too.

        data: at least one, each of this class exactly. uri: None: the name of the class, `user_record` of `UserRecord`,
        in the working directory. mode, options: as in `write_dataset`.
        Raises WrongType for another class, and for data of others; InvalidInput for none.
        """
        from lance_like.dataset.models import check_instances, snake_case  # which imports pydantic
        from lance_like.dataset.opening import write_dataset  # which makes handles

        check_instances(model_class, data)
        place = snake_case(model_class.__name__) if uri is None else uri
        return write_dataset(data, place, mode=mode, **options)

    # -- what it is --

    @property
    def uri(self) -> str:
        """Where the dataset is; of a branch `<table>/tree/<branch>`, which `dataset` and `write_dataset` open as it."""
        return uri_of(self._store)

    @property
    def schema(self) -> pa.Schema:
        """The columns of this version, as a read gives them: a blob column as descriptions of its cells."""
        if self._default_scan:
            return self.scanner().projected_schema
        return self._manifest.schema.described.to_arrow()

    @property
    def max_field_id(self) -> int:
        """The greatest id of a field of this version; -1 when there is none."""
        return self._manifest.schema.source.greatest_id

    @property
    def has_stable_row_ids(self) -> bool:
        """Do rows keep their ids when they are written anew? Always."""
        return True

    @property
    def data_storage_version(self) -> str:
        """The version of the format of its data files."""
        return str(FORMAT_VERSION)

    @property
    def _engine(self) -> EngineTable:
        found = self._engine_table
        if found is None or found.manifest is not self._manifest:
            found = self._engine_table = EngineTable(self._session, self._manifest)
        return found

    def __len__(self) -> int:
        return self._manifest.live_rows

    def __repr__(self) -> str:
        version = self.version if self.branch is None else (self.branch, self.version)
        return f"LanceDataset({self._store.uri!r}, version={version!r}, rows={len(self):,})"

    def _repr_html_(self) -> str:
        return preview.html(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return open_version, (self._store, self.version, self._options)

    # -- reading --

    def scanner(
        self,
        columns: Columns | None = None,
        filter: Filter = None,
        limit: int | None = None,
        offset: int | None = None,
        **options: Unpack[ScanOptions],
    ) -> LanceScanner:
        """Prepare a scan.

        columns: names or dotted paths into structs, in the order wanted; or {name: SQL expression}, of which a bare
        column is read as it is; None: all. `_rowid`, `_rowaddr`, `_rowoffset` (the position that `take` takes),
        `_row_created_at_version` and `_row_last_updated_at_version` may be named, and expressions may read them.
        filter: SQL text, an expression of `lance_like.col`, a pyarrow Expression, or None.
        limit, offset: rows of the answer.
        options: see `ScanOptions`. What is None is as the handle's default_scan_options say.
        Memory: what is made ahead, and 8 MiB or one batch a thread, by estimate.
        Raises NotFound for an unknown column, InvalidInput for a filter that cannot be evaluated or a wrong option.
        """
        given = {"columns": columns, "filter": filter, "limit": limit, "offset": offset, **options}
        return self._scan(self._default_scan | {name: value for name, value in given.items() if value is not None})

    def _scan(self, options: Mapping[str, Any]) -> LanceScanner:
        """A scan by its options alone."""
        if "nearest" not in options:
            return self._settled(options)
        # Before the version is looked up: what another thread settles while the handle moves is not found there again.
        searches = self._searches
        return searches.scan(options, partial(self._settled, options))

    def _settled(self, options: Mapping[str, Any]) -> LanceScanner:
        fragments = options.get("fragments")
        within = None if fragments is None else self._fragments_of(fragments)
        return LanceScanner(self._session, self._manifest, within=within, **options)

    def view(self) -> DatasetView:
        """This version for other engines, each type as the nearest that they read.

        DuckDB 2 reads the dataset itself in these types; the view is for engines that go by the schema.
        """
        return DatasetView(self._engine)

    def to_table(
        self,
        columns: Columns | None = None,
        filter: Filter = None,
        limit: int | None = None,
        offset: int | None = None,
        **options: Unpack[ScanOptions],
    ) -> pa.Table:
        """The rows in memory; options as in `scanner`."""
        return self.scanner(columns, filter, limit, offset, **options).to_table()

    def to_batches(
        self,
        columns: Columns | None = None,
        filter: Filter = None,
        limit: int | None = None,
        offset: int | None = None,
        **options: Unpack[ScanOptions],
    ) -> Iterator[pa.RecordBatch]:
        """The rows a batch at a time, in bounded memory; options as in `scanner`."""
        return self.scanner(columns, filter, limit, offset, **options).to_batches()

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
        """The rows as a pandas DataFrame. options: of `scanner`, and of pyarrow.Table.to_pandas.

        blob_mode: what it holds of blob columns, see `LanceScanner.to_pandas`.
        """
        told = {name: options.pop(name) for name in SCAN_OPTIONS & options.keys()}
        return self.scanner(columns, filter, limit, offset, **told).to_pandas(blob_mode=blob_mode, **options)

    def head(self, num_rows: int, **options: Any) -> pa.Table:
        """The first rows; options as in `scanner`."""
        return self.scanner(**options).head(num_rows)

    def count_rows(self, filter: Filter = None, **hints: Any) -> int:
        """How many rows there are, or pass a filter. Cost: no I/O without a filter."""
        if hints:
            check_tuning(hints)
        return len(self) if filter is None else self._scan({**hints, "columns": (), "filter": filter}).count_rows()

    def take(
        self,
        indices: Any,
        columns: Columns | None = None,
        *,
        blob_handling: BlobHandling | None = None,
        **hints: Any,
    ) -> pa.Table:
        """Rows by position among the live rows in scan order.

        indices: integers, any order, repeats kept. blob_handling: as in `scanner`.
        Returns them in the order asked.
        Raises OutOfRange for a position below 0 or past the last row.
        """
        check_tuning(hints)
        answer = self._answer(columns, blob_handling)
        return answer.made(take_positions(self._session, self._manifest, answer.read, integers(indices)))

    def slice(self, start: int, end: int, columns: Columns | None = None) -> pa.Table:
        """The live rows at positions start … end, half-open, in scan order; those past the last one are left out.

        Raises InvalidInput unless 0 <= start <= end.
        """
        if not 0 <= start <= end:
            raise InvalidInput(f"slice({start}, {end}): expected 0 <= start <= end")
        return self.to_table(columns, offset=start, limit=end - start)

    def sample(
        self, num_rows: int, columns: Columns | None = None, randomize_order: bool = True, **options: Any
    ) -> pa.Table:
        """Different rows by chance, each as likely as any other; options as in `take`.

        randomize_order: False: in scan order. Raises InvalidInput for more rows than there are.
        """
        rows = count("num_rows", num_rows)
        if rows > len(self):
            raise InvalidInput(f"num_rows={rows}: expected a number from 0 to {len(self):,}")
        positions = random.sample(range(len(self)), rows)
        return self.take(positions if randomize_order else sorted(positions), columns, **options)

    def _take_rows(self, row_ids: Any, columns: Columns | None = None) -> pa.Table:
        """Rows by stable row id, in the order asked. Raises NotFound for an id that is not in this version."""
        answer = self._answer(columns)
        return answer.made(take_ids(self._session, self._manifest, answer.read, integers(row_ids)))

    def get_fragments(self, filter: Filter = None) -> list[LanceFragment]:
        """The fragments, in scan order. filter: those that may hold rows that pass, by bounds."""
        found = self._manifest.fragments
        schema = self._manifest.schema.described
        condition = bind_filter(schema, filter)
        if condition is not None and found:
            verdicts = judge_fragments(found, condition, schema).tolist()
            found = tuple(item for item, verdict in zip(found, verdicts, strict=True) if verdict != NONE)
        return [LanceFragment(self, fragment.id, fragment=fragment) for fragment in found]

    def get_fragment(self, fragment_id: int) -> LanceFragment | None:
        """The fragment of a number, or None."""
        found = self._manifest.tree.find(fragment_id)
        return None if found is None else LanceFragment(self, fragment_id, fragment=found)

    def fragment_ids(self) -> list[int]:
        """The numbers of the fragments, in scan order."""
        return [fragment.id for fragment in self._manifest.tree.iterate()]

    def sql(self, sql: str, /, *, params: Any = None, **tables: Any) -> SqlQueryBuilder:
        """Run a statement of DuckDB's SQL over this dataset, which it calls `dataset` or `ds`; see `lance_like.sql`.

        tables: others that it names. Variables of the caller are not looked at.
        Returns a builder, whose `build` gives the query, and which answers by itself too.
        """
        from lance_like.dataset.sql.query import sql_of  # which opens datasets

        return sql_of(self, sql, params, tables)

    # -- changing --

    def insert(self, data: Data, *, mode: Literal["append", "overwrite"] = "append", **options: Any) -> None:
        """Write rows to the dataset and move this handle to the new version.

        options: as in `write_dataset`, but for the durability, which is the handle's.
        """
        if mode not in ("append", "overwrite"):
            raise InvalidInput(f"mode={mode!r}: expected 'append' or 'overwrite'")
        check_insert_options(options)
        schema = options.get("schema")
        stream = as_stream(data, schema_of_new(data, schema) if mode == "overwrite" else schema)
        with newest_held(self._store, known=self._manifest) as (newest, lease):
            manifest = write_version(
                self._store,
                newest,
                stream,
                mode=mode,
                limits=FileLimits(
                    options.get("max_rows_per_file", MAX_ROWS_PER_FILE),
                    options.get("max_bytes_per_file", MAX_BYTES_PER_FILE),
                ),
                progress=options.get("progress"),
                message=options.get("commit_message"),
                properties=options.get("transaction_properties"),
                lease=lease,
            )
        self._committed(manifest)

    def delete(
        self,
        predicate: Filter,
        *,
        conflict_retries: int = RETRIES,
        retry_timeout: timedelta = RETRY_TIMEOUT,
        isolation: Isolation = "write_serializable",
    ) -> DeleteResult:
        """Delete the rows that pass a filter and move this handle to the new version. No data file changes.

        predicate: as the filter of `scanner`. isolation: what it sees of rows appended by others since this version:
        nothing, or all ("serializable"). conflict_retries, retry_timeout: how often and how long it is made again
        when others change the same rows first.
        Returns {"num_deleted_rows"}. Raises Conflict, IncompatibleChange, InvalidInput.
        """
        change = Delete(self._session, predicate, serializable=check_isolation(isolation))
        made = self._made(change, conflict_retries, retry_timeout)
        rows = change.rows_of(made, self._version)
        self._committed(made)
        return {"num_deleted_rows": rows}

    def update(
        self,
        updates: Mapping[str, str],
        where: Filter = None,
        *,
        conflict_retries: int = RETRIES,
        retry_timeout: timedelta = RETRY_TIMEOUT,
        isolation: Isolation = "write_serializable",
        data_storage_version: str | None = None,
    ) -> UpdateResult:
        """Compute columns of the rows that pass a filter anew and move this handle to the new version.

        updates: column, or dotted path into a struct -> SQL expression over the row as it is. where: None: every row.
        The values must fit the column's type unchanged. data_storage_version: accepted; the others: as in `delete`.
        Written are the changed rows, or the changed columns of their fragments, by the fewer bytes; ids of rows stay.
        Returns {"num_rows_updated"}. Raises Conflict, IncompatibleChange, InvalidInput, NotFound.
        """
        change = Update(self._session, updates, where, serializable=check_isolation(isolation))
        self._commit(change, conflict_retries, retry_timeout)
        return {"num_rows_updated": change.rows}

    def merge_insert(self, on: str | Sequence[str] | None = None) -> MergeInsertBuilder:
        """Bring rows into the table by their keys (upsert and its relatives): say what to do, then `execute(data)`.

        on: the key columns; None: those of `LanceSchema.unenforced_primary_key`. Two writers that add one new key leave
        it once. Raises InvalidInput without key columns.
        """
        return MergeInsertBuilder(self, on)

    def truncate_table(self) -> None:
        """Delete every row; the schema stays, and older versions keep the rows."""
        self.delete("true")

    def add_columns(
        self,
        transforms: Any,
        read_columns: Sequence[str] | None = None,
        reader_schema: pa.Schema | None = None,
        batch_size: int | None = None,
    ) -> None:
        """Add columns without rewriting the others: only files with the new columns are written.

        transforms: {name: SQL expression}; a function from a batch to a batch (or anything `write_dataset`
        accepts) of as many rows, perhaps made by `batch_udf`; a stream of rows in scan order; or fields that start as
        null. A dotted path whose last part is new, and a struct of new fields, go into the struct that is there.
        read_columns: what the function gets; None: all. batch_size: rows of a batch it gets.
        reader_schema: what the stream or the function gives is cast to it.
        Raises InvalidInput when a name is taken or the row counts differ. Beside other writers, it computes only what
        they add or change.
        """
        add_columns(
            self._session,
            self._manifest,
            transforms,
            self._commit_columns,
            read_columns=read_columns,
            reader_schema=reader_schema,
            batch_size=batch_size,
        )

    def merge(self, data_obj: Data, left_on: str, right_on: str | None = None, schema: pa.Schema | None = None) -> None:
        """Join the columns of other data in: each row gets those of the row with its key, or nulls.

        data_obj: as in `write_dataset`; schema: its types. left_on: a column of the table, a dotted path, `_rowid` or
        `_rowaddr`. right_on: the key in the data, which is not joined in; None: called as left_on.
        Raises InvalidInput for a key that stands twice in the data, a name taken, a null that may not be.
        """
        with join_columns(self._manifest.schema, data_obj, left_on, right_on or left_on, schema) as values:
            self._commit_columns(Computed(self._session, values, [left_on], known=values.schema))

    def drop_columns(self, columns: Sequence[str]) -> None:
        """Take columns out of the schema, by name or dotted path. No file changes; old versions keep them."""
        named = texts("columns", columns)
        self._commit(DropColumns(tuple(self._manifest.schema.find(path).id for path in named)))

    def alter_columns(self, *alterations: Mapping[str, Any]) -> None:
        """Give columns other names, nullabilities or types.

        alterations: {"path", and any of "name", "nullable" (bool) and "data_type" (of pyarrow)}, one a column.
        Another type writes only its columns. Values stay as they are, but that floats may become narrower floats.
        Raises InvalidInput for a value that does not fit, a null in a column that is to have none, a name taken.
        """
        self._commit_columns(plan_alter_columns(self._session, self._manifest, alterations))

    # -- inside --

    def _commit_columns(self, change: Change) -> None:
        # What was computed from many rows is not given up for a while of other writers' commits.
        self._commit(change, COLUMN_RETRIES, COLUMN_TIMEOUT)

    def _merge(self, rules: Rules, stream: Stream, retries: int, timeout_s: float) -> MergeStats:
        with newest_held(self._store, known=self._manifest) as (newest, lease):
            stream = conform_some(stream, newest.schema.to_arrow())
            limits = {"retries": retries, "timeout_s": timeout_s, "lease": lease}
            manifest, stats = run_merge(
                self._session, rules, stream, lambda merge: commit(self._store, newest, merge, **limits)
            )
        self._committed(manifest)
        return stats

    def _answer(self, columns: Columns | None, blob_handling: BlobHandling | None = None) -> Answer:
        columns = as_names(columns)
        key = blob_handling, _key(columns)
        found = self._answers.get(key)
        if found is None:
            if len(self._answers) >= _ANSWERS_KEPT:
                self._answers = {}
            found = answer_of(self._manifest, as_read(self._manifest.schema, blob_handling), columns)
            self._answers[key] = found
        return found

    def _fragments_of(self, fragments: Iterable[LanceFragment]) -> list[Fragment]:
        fragments = list(fragments)
        if not all(isinstance(fragment, LanceFragment) for fragment in fragments):
            raise InvalidInput("fragments: expected a list of fragments, as get_fragments gives them")
        for fragment in fragments:
            fragment._check_of(self._store)
        return [self._manifest.fragment(fragment.fragment_id) for fragment in fragments]


def _key(columns: Columns | None) -> Any:
    """What tells the same columns from others."""
    if isinstance(columns, Mapping):
        return tuple((name, type(text), str(text)) for name, text in columns.items())
    return columns


def open_version(store: Store, version: int, options: Mapping[str, Any]) -> LanceDataset:
    """A handle on a version. options: as in `lance_like.dataset`."""
    return LanceDataset(store, read_manifest(store, version), **options)


__all__ = ["LanceDataset", "open_version"]
