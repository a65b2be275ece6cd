"""One scan, prepared: what to read is settled and checked, nothing is read yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any, Literal, TypeAlias, get_args

import pyarrow as pa
from pyarrow.types import is_union

from lance_like.dataset.arguments import check_hints
from lance_like.encodings.joining import holds
from lance_like.errors import InvalidInput, NotFound
from lance_like.file.carry import carried_field, one_batch
from lance_like.query.answer import POSITION, Columns, answer_of, schema_naming
from lance_like.query.evaluate import parse, prepare
from lance_like.query.expr import Expr, top_names
from lance_like.query.projection import VIRTUAL
from lance_like.query.scan import Scan, count_passing, run_scan
from lance_like.query.session import Session
from lance_like.query.sql import unknown_column
from lance_like.table.fields import is_binary
from lance_like.table.fragment import Fragment
from lance_like.table.manifest import Manifest
from lance_like.table.schema import Schema

Filter: TypeAlias = Any
"""SQL text, an expression of lance_like.col, or a pyarrow.compute.Expression; None: every row."""

BlobHandling: TypeAlias = Literal["all_binary", "blobs_descriptions", "all_descriptions"]
"""What a read gives of blobs: their bytes; descriptions (position, size) of the cells of blob columns; or descriptions
of the cells of all binary columns."""

# A batch of to_table is as long as the pages allow: its batches are chunks of the table, without a copy.
_TABLE_BATCH_ROWS = 1 << 20


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
        batch_size: int | None = None,
        with_row_id: bool = False,
        with_row_address: bool = False,
        fragments: Sequence[Fragment] | None = None,
        batch_readahead: int | None = None,
        use_threads: bool = True,
        blob_handling: BlobHandling | None = None,
        strict_batch_size: bool = False,
        **hints: Any,
    ) -> None:
        check_hints(hints)
        limit = None if limit is None else _count("limit", limit)
        offset = 0 if offset is None else _count("offset", offset)
        batch_size = None if batch_size is None else _count("batch_size", batch_size, low=1)
        self._session, self._manifest = session, manifest
        schema = as_read(manifest.schema, blob_handling)
        self._answer = answer_of(manifest, schema, columns, with_row_id=with_row_id, with_row_address=with_row_address)
        condition = bind_filter(schema, filter)
        batch_readahead = None if batch_readahead is None else _count("batch_readahead", batch_readahead)
        threads = None if use_threads else 1
        read, make = self._answer.read, self._answer.make
        self._scan = Scan(read, condition, limit, offset, batch_size, fragments, threads, batch_readahead, make)
        self._strict = strict_batch_size

    @property
    def projected_schema(self) -> pa.Schema:
        """The schema of the answer."""
        return self._answer.schema

    @property
    def dataset_schema(self) -> pa.Schema:
        """The schema of the table, as it is read."""
        return self._scan.projection.table.to_arrow()

    def to_batches(self) -> Iterator[pa.RecordBatch]:
        """The rows in scan order, a batch at a time.

        Memory: see `LanceDataset.scanner`. Closing the iterator, or dropping it, ends its threads.
        """
        batches = run_scan(self._session, self._manifest, self._scan)
        rows = self._scan.batch_rows
        return _of_exactly(rows, batches) if self._strict and rows is not None else batches

    def to_reader(self) -> pa.RecordBatchReader:
        """The rows as an Arrow stream, read while it is consumed."""
        return pa.RecordBatchReader.from_batches(self.projected_schema, self.to_batches())

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """The rows for the Arrow PyCapsule interface, as `to_reader` gives them."""
        return self.to_reader().__arrow_c_stream__(requested_schema)

    def to_table(self) -> pa.Table:
        """All rows in memory; without a copy of what lies in plain pages."""
        scan = self._scan
        if scan.batch_rows is None:
            scan = replace(scan, batch_rows=_TABLE_BATCH_ROWS)
        batches = run_scan(self._session, self._manifest, scan)
        return pa.Table.from_batches(list(batches), self.projected_schema)

    def to_pandas(self, **options: Any) -> Any:
        """All rows as a pandas DataFrame. options: of pyarrow.Table.to_pandas."""
        return self.to_table().to_pandas(**options)

    def head(self, num_rows: int) -> pa.Table:
        """The first rows."""
        scan = self._scan
        limit = _count("num_rows", num_rows)
        limit = limit if scan.limit is None else min(limit, scan.limit)
        batches = run_scan(self._session, self._manifest, replace(scan, limit=limit))
        return pa.Table.from_batches(list(batches), self.projected_schema)

    def count_rows(self) -> int:
        """How many rows the scan gives. Cost: no I/O without a filter, else its columns where needed."""
        scan, manifest = self._scan, self._manifest
        if scan.condition is not None:
            total = count_passing(self._session, manifest, scan.condition, scan)
        elif scan.fragments is None:
            total = manifest.live_rows
        else:
            total = sum(fragment.live_rows for fragment in scan.fragments)
        total = max(0, total - scan.offset)
        return total if scan.limit is None else min(total, scan.limit)


def _of_exactly(rows: int, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Batches of so many rows, but for the last one: neighbours are joined and cut."""
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        held.append(batch)
        count += len(batch)
        while count >= rows:
            table = pa.Table.from_batches(held)
            yield one_batch(table.slice(0, rows))
            held, count = table.slice(rows).to_batches(), count - rows
    if held:
        yield one_batch(pa.Table.from_batches(held))


def _count(name: str, value: Any, *, low: int = 0) -> int:
    if not isinstance(value, Integral) or value < low:
        raise InvalidInput(f"{name}={value!r}: expected an integer of at least {low}")
    return int(value)


def as_read(schema: Schema, blob_handling: BlobHandling | None) -> Schema:
    """A table's schema with descriptions in the place of the blobs that a read does not give whole."""
    if blob_handling not in (None, *get_args(BlobHandling)):
        raise InvalidInput(f"blob_handling={blob_handling!r}: expected one of {', '.join(get_args(BlobHandling))}")
    if blob_handling == "all_binary":
        return schema
    if blob_handling == "all_descriptions":
        return schema.describing(lambda field: is_binary(field.type))
    return schema.described


def bind_filter(schema: Schema, filter: Filter) -> Expr | None:
    """A filter bound to a table's schema, in which `_rowid` and `_rowaddr` may be named too."""
    if filter is None:
        return None
    condition = parse(filter)
    names = top_names(condition)
    if POSITION in names:
        raise InvalidInput(
            f"a filter does not know {POSITION}",
            kind="filter",
            hint="ask for rows by position with take, slice, or limit and offset",
        )
    # Conditions are judged on values as they are carried: a text view as text, runs as a dictionary; not so unions.
    fields = schema_naming(schema, names, VIRTUAL.keys())
    try:
        return prepare(condition, pa.schema([f if holds(f.type, is_union) else carried_field(f) for f in fields]))
    except NotFound as error:
        place = unknown_column(filter, schema.to_arrow()) if isinstance(filter, str) else ""
        raise NotFound(error.message, kind=error.kind, hint=error.hint + place) from None


__all__ = ["BlobHandling", "Filter", "LanceScanner", "as_read", "bind_filter"]
