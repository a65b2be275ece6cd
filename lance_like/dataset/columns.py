"""Adding columns: new files that hold only them, beside the files that are there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from lance_like.dataset.blob import resolve
from lance_like.dataset.inputs import Stream, as_stream, check_nulls
from lance_like.dataset.write import write_file
from lance_like.encodings.joining import joined
from lance_like.encodings.physical import flat_width
from lance_like.errors import Conflict, InvalidInput
from lance_like.file.carry import nulls, taken_rows
from lance_like.file.writer import FileWriter
from lance_like.io.store import Store
from lance_like.query import engine_duckdb
from lance_like.query.projection import Projection, project
from lance_like.query.scan import Scan, run_scan
from lance_like.query.session import Session
from lance_like.query.sql import columns_read, parse_expressions
from lance_like.table.actions import Action, AddColumns, NewFile
from lance_like.table.fragment import DataFile, Fragment
from lance_like.table.manifest import Manifest

Transform = Callable[[pa.RecordBatch], Any]
# Bytes of numbers that SQL is asked about in one go.
_ASKED_NBYTES = 16 << 20

_Build = Callable[[Manifest | None], Action]


def plan_add_columns(
    session: Session,
    manifest: Manifest,
    transforms: Any,
    *,
    read_columns: Sequence[str] | None = None,
    reader_schema: pa.Schema | None = None,
    batch_size: int | None = None,
) -> Action | _Build:
    """The change that adds columns; see `LanceDataset.add_columns`. Files are written when it is built."""
    fields = _null_fields(transforms)
    if fields is not None:
        return AddColumns(fields, None)
    if isinstance(transforms, Mapping) and all(isinstance(text, str) for text in transforms.values()):
        transform, read_columns = _from_sql(transforms, manifest)
        return _Computed(session, transform, read_columns, batch_size or _rows_at_once(manifest, read_columns))
    if callable(transforms):
        return _Computed(session, transforms, read_columns, batch_size, reader_schema)
    return _FromStream(session, as_stream(transforms, reader_schema))


def _null_fields(transforms: Any) -> pa.Schema | None:
    if isinstance(transforms, pa.Field):
        return pa.schema([transforms])
    if isinstance(transforms, pa.Schema):
        return transforms
    if isinstance(transforms, (list, tuple)) and transforms and all(isinstance(f, pa.Field) for f in transforms):
        return pa.schema(list(transforms))
    return None


def _from_sql(expressions: Mapping[str, str], manifest: Manifest) -> tuple[Transform, list[str]]:
    computed = parse_expressions(dict(expressions))
    needed = columns_read(computed.values(), manifest.schema.to_arrow())
    texts = {name: column.sql for name, column in computed.items()}
    return lambda batch: engine_duckdb.evaluate(texts, batch), needed


def _rows_at_once(manifest: Manifest, names: Sequence[str]) -> int | None:
    """Rows of a batch that SQL is asked about, as a question costs a millisecond however few. None: as in a scan."""
    widths = [flat_width(manifest.schema.find((name,)).type) for name in names]
    known = [width for width in widths if width is not None]
    return _ASKED_NBYTES // max(1, sum(known)) if known and len(known) == len(widths) else None


class _Computed:
    """Columns computed from others, a batch at a time. Called again on a newer version, it computes only what that
    version changed."""

    def __init__(
        self,
        session: Session,
        transform: Transform,
        read_columns: Sequence[str] | None,
        batch_size: int | None,
        schema: pa.Schema | None = None,
    ) -> None:
        self._session, self._transform = session, transform
        self._read_columns, self._batch_rows = read_columns, batch_size
        self._asked = self._schema = schema
        self._projection: Projection | None = None
        self._written: dict[tuple[int, tuple[DataFile, ...]], NewFile] = {}

    def __call__(self, manifest: Manifest | None) -> Action:
        assert manifest is not None
        if self._projection is None:
            # Kept for a rerun: it finds fields by their ids, whatever another writer calls them by now.
            self._projection = project(manifest.schema, self._read_columns)
        projection = self._projection
        if self._schema is None:
            self._schema = self._apply(_empty_batch(projection.schema)).schema
        files: dict[int, tuple[NewFile, ...]] = {}
        for fragment in manifest.fragments:
            # What another writer deleted meanwhile changes nothing here: only files count.
            key = fragment.id, fragment.files
            if key not in self._written:
                self._written[key] = self._write(manifest, projection, fragment)
            files[fragment.id] = (self._written[key],)
        return AddColumns(self._schema, files, tuple(projection.leaves))

    def _write(self, manifest: Manifest, projection: Projection, fragment: Fragment) -> NewFile:
        assert self._schema is not None
        scan = Scan(projection, batch_rows=self._batch_rows, fragments=[fragment])
        batches = (self._checked(batch) for batch in run_scan(self._session, manifest, scan))
        return write_columns(self._session.store, self._schema, fragment, batches)

    def _checked(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        made = self._apply(batch)
        if len(made) != len(batch):
            raise InvalidInput(f"the function gave {len(made):,} rows for a batch of {len(batch):,}")
        if not made.schema.equals(self._schema):
            try:
                [made] = as_stream(made, self._schema).batches
            except InvalidInput as error:
                raise InvalidInput(
                    f"the function gave columns {made.schema}, and {self._schema} for an empty batch: {error.message}",
                    hint="give the same columns and types for every batch, or pass reader_schema=",
                ) from error
        return check_nulls(made)

    def _apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        made = as_stream(self._transform(batch), self._asked)
        table = pa.Table.from_batches(list(made.batches), made.schema)
        if len(table) == 0:
            return _empty_batch(table.schema)
        return pa.RecordBatch.from_arrays([joined(column.chunks) for column in table.columns], schema=table.schema)


def write_columns(store: Store, schema: pa.Schema, fragment: Fragment, batches: Iterator[pa.RecordBatch]) -> NewFile:
    """Write columns of a fragment as a file of their own. batches: its live rows, in order."""
    file = write_file(store, FileWriter(schema, resolve=resolve), _over_deleted(fragment, batches))
    assert file.rows == fragment.rows
    return file


def _over_deleted(fragment: Fragment, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Live rows with the deleted ones between them, which repeat the live row before them, or the first one."""
    if fragment.deletions is None:
        yield from batches
        return
    live = start = 0
    for batch in batches:
        live += len(batch)
        last = live == fragment.live_rows
        end = fragment.rows if last else int(fragment.offsets_of_live(np.array([live - 1]))[0]) + 1
        here = fragment.live_between(start, end)
        offsets = np.arange(start, end) if here is None else here
        nearest = np.maximum(np.searchsorted(offsets, np.arange(start, end), "right") - 1, 0)
        yield taken_rows(batch, nearest)
        start = end


def _empty_batch(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([nulls(0, field.type) for field in schema], schema=schema)


class _FromStream:
    """Columns that come as a stream, row for row in scan order. A stream can be read once only."""

    def __init__(self, session: Session, stream: Stream) -> None:
        self._session, self._stream = session, stream
        self._used = False

    def __call__(self, manifest: Manifest | None) -> Action:
        assert manifest is not None
        if self._used:
            raise Conflict(
                "another writer changed the rows while a stream was written as their new columns",
                kind="rerun",
                hint="open the newest version and pass the stream again",
            )
        self._used = True
        rows = _Rows(self._stream.batches)
        files: dict[int, tuple[NewFile, ...]] = {}
        for fragment in manifest.fragments:
            batches = (check_nulls(batch) for batch in rows.take(fragment.live_rows))
            files[fragment.id] = (write_columns(self._session.store, self._stream.schema, fragment, batches),)
        if rows.more():
            raise InvalidInput(f"the stream has more rows than the table's {manifest.live_rows:,}")
        return AddColumns(self._stream.schema, files)


class _Rows:
    """A stream cut at given numbers of rows."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._rest: pa.RecordBatch | None = None

    def more(self) -> bool:
        while self._rest is None or len(self._rest) == 0:
            self._rest = next(self._batches, None)
            if self._rest is None:
                return False
        return True

    def take(self, rows: int) -> Iterator[pa.RecordBatch]:
        while rows:
            if not self.more():
                raise InvalidInput(f"the stream ends {rows:,} rows before the table does")
            assert self._rest is not None
            yield self._rest.slice(0, rows)
            taken = min(rows, len(self._rest))
            self._rest = self._rest.slice(taken)
            rows -= taken


__all__ = ["plan_add_columns", "write_columns"]
