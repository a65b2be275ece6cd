"""One scan, prepared: what to read is settled and checked, nothing is read yet."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
import pyarrow as pa
from pyarrow.types import is_union

from lance_like._lazy import cached, like
from lance_like.dataset.arguments import segments_of
from lance_like.dataset.blob_file import BlobFile, open_blobs
from lance_like.dataset.scan_options import (
    BlobHandling,
    ScanOptions,
    ScanStatistics,
    check_together,
    checked_options,
    count,
    is_search,
)
from lance_like.encodings.joining import holds
from lance_like.encodings.places import DESCRIPTION
from lance_like.errors import InvalidInput, NotFound
from lance_like.file.carry import carried_field, one_batch
from lance_like.index.files import counting_segments
from lance_like.io.observe import CountingStore
from lance_like.kept import MadeOf, room_of_text
from lance_like.query.answer import NOTHING, POSITION, Answer, Columns, answer_of, as_names, schema_naming
from lance_like.query.evaluate import parse, prepare
from lance_like.query.explain import analyze, explain
from lance_like.query.expr import Expr, top_names
from lance_like.query.order import order_of, run_ordered
from lance_like.query.projection import ROW_ADDRESS, VIRTUAL
from lance_like.query.scan import Scan, count_passing, run_scan
from lance_like.query.session import Session
from lance_like.query.sql import unknown_column
from lance_like.query.take import place_addresses
from lance_like.table.fields import is_binary
from lance_like.table.fragment import Fragment
from lance_like.table.manifest import Manifest
from lance_like.table.schema import Schema, join_path

if TYPE_CHECKING:
    from typing import Unpack

    from lance_like.dataset.search import Settled
    from lance_like.query.fuse import Reranker

Filter: TypeAlias = Any
"""SQL text, an expression of lance_like.col, or a pyarrow.compute.Expression; None: every row."""

BlobMode: TypeAlias = Literal["lazy", "bytes", "descriptions"]
"""What a data frame holds of blobs."""

# A batch of to_table is as long as the pages allow: its batches are chunks of the table, without a copy. But columns
# that are read to be judged or computed from alone shall not fill the memory.
_WHOLE = {"usual_rows": 1 << 20, "batch_nbytes": 128 << 20}


_ANSWERS: MadeOf[Answer] = MadeOf(256)
_CONDITIONS: MadeOf[Expr | None] = MadeOf(512, lambda _, text: room_of_text(str(text)))
_NAMED: MadeOf[pa.Schema] = MadeOf(256)


class LanceScanner:
    """Rows of one version: `to_reader`, `to_batches`, `to_table`, `count_rows`, `head`.

    Made by `LanceDataset.scanner`, which documents the options.
    """

    def __init__(
        self,
        session: Session,
        manifest: Manifest,
        *,
        columns: Columns | None = None,
        filter: Filter = None,
        limit: int | None = None,
        offset: int | None = None,
        within: Sequence[Fragment] | None = None,
        rerank: Reranker | None = None,
        text_columns: Sequence[str] | None = None,
        **options: Unpack[ScanOptions],
    ) -> None:
        self._options = told = checked_options(options) if options else {}
        if told:
            check_together(told)
        columns = as_names(columns)
        self._session, self._manifest = session, manifest
        self._given: dict[str, Any] = {
            "columns": columns,
            "filter": filter,
            "limit": limit,
            "offset": offset,
            "within": within,
            "rerank": rerank,
            "text_columns": text_columns,
        }
        self._limit = None if limit is None else count("limit", limit)
        self._offset = 0 if offset is None else count("offset", offset)
        self._schema = schema = as_read(manifest.schema, told.get("blob_handling"))
        self._settled = self._search(schema) if told and is_search(told) else None
        given = NOTHING if self._settled is None else self._settled.given
        self._answer = _prepared_answer(manifest, schema, columns, told, given)
        order_by = told.get("order_by")
        self._order = order_of(manifest, schema, order_by, columns, given) if order_by else None
        self._condition = bind_filter(schema, filter) if self._settled is None else None
        self._batch_rows = None if told.get("batch_size_bytes") is not None else told.get("batch_size")

    def near_to(self, nearest: Mapping[str, Any]) -> LanceScanner | None:
        """The same search near to other vectors; None where the answer has other columns.

        nearest: the options of this one, but for the vectors. Raises InvalidInput for a query that does not fit.
        """
        settled = self._settled and self._settled.near_to(nearest["q"])
        if settled is None:
            return None
        return like(self, _options={**self._options, "nearest": nearest}, _settled=settled)

    @cached
    def _scan(self) -> Scan:
        return self._scan_of(self._batch_rows, self._limit)

    def _scan_of(self, batch_rows: int | None, limit: int | None, **tuned: Any) -> Scan:
        """What is read where rows are not searched for. tuned: more of how it is done."""
        told, within = self._options, self._given["within"]
        if told.get("include_deleted_rows"):
            chosen = self._manifest.tree.iterate() if within is None else within
            within = [replace(fragment, deletions=None) for fragment in chosen]
        return Scan(
            self._answer.read,
            self._condition,
            limit,
            self._offset,
            batch_rows,
            fragments=within,
            make=self._answer.make,
            **(_tuned(told) if told else {}),
            **tuned,
        )

    def _search(self, schema: Schema) -> Settled:
        """What `nearest` and `full_text_query` ask for."""
        from lance_like.dataset.search import Asked, settle  # which loads what only searches need

        options, given = self._options, self._given
        asked = Asked(
            options.get("nearest"),
            options.get("full_text_query"),
            filter=given["filter"],
            prefilter=options.get("prefilter"),
            limit=self._limit,
            offset=self._offset,
            within=given["within"],
            covered=bool(options.get("fast_search")),
            segments=segments_of(options.get("index_segments")),
            threads=1 if options.get("use_threads") is False else None,
            rerank=given["rerank"],
            text_columns=given["text_columns"],
            indexed=options.get("use_scalar_index") is not False,
        )
        return settle(self._session, self._manifest, schema, asked, given["columns"])

    @property
    def projected_schema(self) -> pa.Schema:
        """The schema of the answer."""
        return self._answer.schema

    @property
    def schema(self) -> pa.Schema:
        """The schema of the answer."""
        return self._answer.schema

    @property
    def dataset_schema(self) -> pa.Schema:
        """The schema of the table, as it is read."""
        return self._schema.to_arrow()

    def to_batches(self) -> Iterator[pa.RecordBatch]:
        """The rows in scan order, a batch at a time.

        Memory: see `LanceDataset.scanner`. Closing the iterator, or dropping it, ends its threads.
        """
        batches = self._run(self._batch_rows)
        rows, nbytes = self._options.get("batch_size"), self._options.get("batch_size_bytes")
        if nbytes is not None:
            return _of_bytes(nbytes, rows, batches)
        return _of_exactly(rows, batches) if self._options.get("strict_batch_size") and rows is not None else batches

    def to_reader(self) -> pa.RecordBatchReader:
        """The rows as an Arrow stream, read while it is consumed."""
        return pa.RecordBatchReader.from_batches(self.projected_schema, self.to_batches())

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """The rows for the Arrow PyCapsule interface, as `to_reader` gives them."""
        return self.to_reader().__arrow_c_stream__(requested_schema)

    def to_table(self) -> pa.Table:
        """All rows in memory; without a copy of what lies in plain pages."""
        return pa.Table.from_batches(list(self._run(self._batch_rows, whole=True)), self.projected_schema)

    def to_pandas(self, *, blob_mode: BlobMode = "lazy", **options: Any) -> Any:
        """All rows as a pandas DataFrame. options: of pyarrow.Table.to_pandas.

        blob_mode: of the cells of blob columns: files that read when they are asked ("lazy"), "bytes", or what a table
        gives ("descriptions").
        """
        if blob_mode not in get_args(BlobMode):
            raise InvalidInput(f"blob_mode must be one of {', '.join(get_args(BlobMode))}, not {blob_mode!r}")
        blobs = self._blobs() if blob_mode != "descriptions" else {}
        if not blobs:
            return _frame(self.to_table(), options)
        if blob_mode == "bytes":
            return _frame(self._again({"blob_handling": "all_binary"}).to_table(), options)
        table = self._again({"with_row_address": True}).to_table()
        placed = place_addresses(self._manifest, table[ROW_ADDRESS].to_numpy().view(np.int64))
        frame = _frame(table.select(self.schema.names), options)
        for (name, *below), path in blobs.items():
            files = open_blobs(self._session, self._manifest, path, placed)
            frame[name] = [_put_in(row, below, file) for row, file in zip(frame[name], files, strict=True)]
        return frame

    def _blobs(self) -> dict[tuple[str, ...], str]:
        """The descriptions of cells in the answer, by the names from its columns down, and their paths in the table."""
        table, schema = self._answer.read.table, self.schema
        kinds = dict(zip(schema.names, schema.types, strict=True))
        found: dict[tuple[str, ...], str] = {}
        for output in self._answer.read.outputs:
            if output.field is None or output.name not in kinds:
                continue
            for below in _descriptions(kinds[output.name]):
                path = (*table.path(output.field.id), *below)
                if table.find(path).type.equals(DESCRIPTION):
                    found[(output.name, *below)] = join_path(path)
        return found

    def _again(self, options: Mapping[str, Any]) -> LanceScanner:
        """The same scan but for some options."""
        return LanceScanner(self._session, self._manifest, **self._given, **{**self._options, **options})

    def head(self, num_rows: int) -> pa.Table:
        """The first rows."""
        return pa.Table.from_batches(list(self._run(self._batch_rows, count("num_rows", num_rows))), self.schema)

    def _run(self, batch_rows: int | None, most: int | None = None, *, whole: bool = False) -> Iterator[pa.RecordBatch]:
        """The answer. batch_rows: of a batch, at most. most: rows of all of it; None: up to the limit of the scan.

        whole: all batches will be held together.
        """
        limit = self._limit if most is None or (self._limit is not None and self._limit < most) else most
        tell = self._options.get("scan_stats_callback")
        if tell is None:
            return self._run_through(self._session, batch_rows, limit, whole)
        store = CountingStore(self._session.store)
        return _telling(self._run_through(self._session.through(store), batch_rows, limit, whole), store, tell)

    def _run_through(
        self, session: Session, batch_rows: int | None, limit: int | None, whole: bool
    ) -> Generator[pa.RecordBatch, None, None]:
        if self._settled is not None:
            return self._settled.run(session, self._answer, self._order, limit, batch_rows)
        if self._order is not None:
            return run_ordered(session, self._manifest, self._scan_of(batch_rows, limit), self._order)
        return run_scan(session, self._manifest, self._scan_of(batch_rows, limit, **(_WHOLE if whole else {})))

    def count_rows(self) -> int:
        """How many rows the scan gives. Cost: no I/O without a filter, else its columns where needed."""
        if self._settled is not None:
            return self._settled.count()
        scan, manifest = self._scan, self._manifest
        if scan.condition is not None:
            total = count_passing(self._session, manifest, scan.condition, scan)
        elif scan.fragments is None:
            total = manifest.live_rows
        else:
            total = sum(fragment.live_rows for fragment in scan.fragments)
        total = max(0, total - scan.offset)
        return total if scan.limit is None else min(total, scan.limit)

    def explain_plan(self, verbose: bool = False) -> str:
        """What the scan will read and skip, as text, by statistics alone. verbose: and in which order it asks.

        Of a search: which indexes are asked, how many rows they cover, and what is compared exactly.
        """
        if self._settled is not None:
            return self._settled.explain(self.schema)
        return explain(self._session, self._manifest, self._scan).text(verbose=verbose)

    def analyze_plan(self, count_rows: bool = False) -> str:
        """Run the scan on one thread, and say what it read and how long each step took. count_rows: only count."""
        if self._settled is not None:
            return self._settled.analyze(None if count_rows else self._answer, self.schema)
        return analyze(self._session, self._manifest, self._scan, counting=count_rows).text(verbose=True)


def _telling(
    batches: Generator[pa.RecordBatch, None, None], store: CountingStore, tell: Callable[[ScanStatistics], None]
) -> Iterator[pa.RecordBatch]:
    """The same batches; behind them, what the store was asked for is told."""
    with closing(batches):
        try:
            while True:
                with counting_segments(store):
                    batch = next(batches, None)
                if batch is None:
                    break
                yield batch
        finally:
            counts = store.counts
            tell(ScanStatistics(counts.rounds, counts.ranges, counts.bytes_read))


def _of_exactly(rows: int, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Batches of so many rows, but for the last one: neighbours are joined and cut."""
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        while count + len(batch) >= rows:
            cut = rows - count
            yield one_batch(pa.Table.from_batches([*held, batch.slice(0, cut)]))
            held, count, batch = [], 0, batch.slice(cut)
        held.append(batch)
        count += len(batch)
    if count:
        yield one_batch(pa.Table.from_batches(held))


def _of_bytes(nbytes: int, rows: int | None, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Batches of about so many bytes, at most, and at most so many rows; of one row at least."""
    for batch in batches:
        most = max(1, len(batch) * nbytes // max(1, batch.nbytes))
        most = most if rows is None else min(most, rows)
        for start in range(0, len(batch), most):
            yield batch.slice(start, most)


def _prepared_answer(
    manifest: Manifest, schema: Schema, columns: Columns | None, options: Mapping[str, Any], given: pa.Schema
) -> Answer:
    """The columns of an answer; those that no expression computes are kept for the next scan of a schema."""
    row_id, row_address = bool(options.get("with_row_id")), bool(options.get("with_row_address"))
    deleted = bool(options.get("include_deleted_rows"))
    scores = not options.get("disable_scoring_autoprojection")

    def make() -> Answer:
        return answer_of(
            manifest,
            schema,
            _shown(schema, columns, given, scores=scores),
            with_row_id=row_id,
            with_row_address=row_address,
            with_deleted=deleted,
            given=given,
        )

    named = isinstance(columns, (list, tuple))
    if deleted or not (named or columns is None) or (columns is not None and POSITION in columns):
        return make()
    names = tuple(columns) if columns is not None else None
    return _ANSWERS.get(schema, key=(names, row_id, row_address, scores, *given.names), make=make)


def _shown(schema: Schema, columns: Columns | None, given: pa.Schema, *, scores: bool) -> Columns | None:
    """The columns of the answer. given: those that a search makes; scores: are they shown when they are not named?"""
    if given is NOTHING:
        return columns
    from lance_like.dataset.search import columns_of_search

    return columns_of_search(schema, columns, given, scores=scores)


def _tuned(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a `Scan` that change how it is done, not what it gives."""
    late = options.get("late_materialization")
    chosen = {
        "threads": 1 if options.get("use_threads") is False else None,
        "most_ahead": options.get("batch_readahead"),
        "ahead_nbytes": options.get("io_buffer_size"),
        # A share above 1: however many rows pass.
        "take_below": (2.0 if late else 0.0) if isinstance(late, bool) else None,
        "prune": options.get("use_stats"),
        "indexed": False if options.get("include_deleted_rows") else options.get("use_scalar_index"),
        "fast": options.get("fast_search"),
    }
    return {name: value for name, value in chosen.items() if value is not None}


def as_read(schema: Schema, blob_handling: BlobHandling | None) -> Schema:
    """A table's schema with descriptions in the place of the blobs that a read does not give whole."""
    if blob_handling is not None:
        checked_options({"blob_handling": blob_handling})
    if blob_handling == "all_binary":
        return schema
    if blob_handling == "all_descriptions":
        return schema.describing(lambda field: is_binary(field.type))
    return schema.described


def _descriptions(kind: pa.DataType) -> Iterator[tuple[str, ...]]:
    """The names that lead from a value of a type down to each description of a cell; () where it is one."""
    if kind.equals(DESCRIPTION):
        yield ()
    elif pa.types.is_struct(kind):
        for child in kind:
            yield from ((child.name, *below) for below in _descriptions(child.type))


def _put_in(row: Any, names: Sequence[str], file: BlobFile | None) -> Any:
    """A value of a frame with a file in the place that the names lead to."""
    if not names:
        return file
    return None if row is None else {**row, names[0]: _put_in(row[names[0]], names[1:], file)}


def _frame(table: pa.Table, options: Mapping[str, Any]) -> Any:
    """A table as a DataFrame, also with null among the values of a dictionary, which no category of pandas may be."""
    for at, (name, column) in enumerate(zip(table.column_names, table.columns, strict=True)):
        if pa.types.is_dictionary(column.type) and any(chunk.dictionary.null_count for chunk in column.chunks):
            plain = pa.chunked_array([chunk.dictionary_decode() for chunk in column.chunks])
            nested = pa.types.is_nested(plain.type)
            table = table.set_column(at, name, plain if nested else plain.dictionary_encode())
    return table.to_pandas(**options)


def bind_filter(schema: Schema, filter: Filter) -> Expr | None:
    """A filter bound to a table's schema, in which `_rowid` and `_rowaddr` may be named too."""
    if filter is None:
        return None
    if isinstance(filter, str):
        return _CONDITIONS.get(schema, key=filter, make=lambda: _bound(schema, filter))
    return _bound(schema, filter)


def _bound(schema: Schema, filter: Filter) -> Expr | None:
    condition = parse(filter)
    names = top_names(condition)
    if POSITION in names:
        raise InvalidInput(
            f"a filter does not know {POSITION}",
            kind="filter",
            hint="ask for rows by position with take, slice, or limit and offset",
        )
    try:
        return prepare(condition, _NAMED.get(schema, key=names, make=lambda: _schema_judged(schema, names)))
    except NotFound as error:
        place = unknown_column(filter, schema.to_arrow()) if isinstance(filter, str) else ""
        raise NotFound(error.message, kind=error.kind, hint=error.hint + place) from None


def _schema_judged(schema: Schema, names: frozenset[str]) -> pa.Schema:
    """The columns of some names as conditions are judged on them: as they are carried, but for unions."""
    fields = schema_naming(schema, names, VIRTUAL.keys())
    return pa.schema([f if holds(f.type, is_union) else carried_field(f) for f in fields])


__all__ = ["BlobHandling", "Filter", "LanceScanner", "as_read", "bind_filter"]
