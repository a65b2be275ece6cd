"""What DuckDB reads a dataset from when a statement is given to us, and not to DuckDB."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from lance_like.dataset.arrow import PythonDataset
from lance_like.dataset.engine import EngineSource, EngineTable
from lance_like.dataset.handle import LanceDataset
from lance_like.dataset.scanner import BlobHandling, Filter
from lance_like.query.expr import Expr
from lance_like.query.projection import VIRTUAL
from lance_like.query.statements_duckdb import Connection

ROW = "lance_like row"
_ROW_FIELD = pa.field(ROW, pa.null())
_NULLS = 1 << 20


@dataclass(frozen=True, slots=True)
class Shown:
    """How statements see datasets. columns: those of `projection.VIRTUAL` that are among the others.

    batch_rows: the most rows of a batch of a scan. blobs: as the blob_handling of `scanner`.
    """

    columns: tuple[str, ...] = ()
    batch_rows: int | None = None
    blobs: BlobHandling | None = None


BYTES = Shown(blobs="all_binary")
"""As a change sees what it writes."""


class CountedTable(EngineSource, PythonDataset):
    """A dataset with one more column in front, of nulls: DuckDB asks for the first column to count rows.

    Behind the others are those of `projection.VIRTUAL`. All of these are hidden by the view that statements name.
    failures: where errors go that DuckDB would keep only the text of.
    """

    def __init__(self, dataset: LanceDataset, shown: Shown, failures: list[BaseException]) -> None:
        self._dataset, self._shown, self._failures = dataset, shown, failures
        options = {} if shown.batch_rows is None else {"batch_rows": shown.batch_rows}
        self._engine_table = EngineTable(dataset._session, dataset._manifest, tuple(VIRTUAL), shown.blobs, **options)

    def __new__(cls, *args: Any) -> CountedTable:
        return PythonDataset.__new__(cls)

    @property
    def schema(self) -> pa.Schema:
        """The columns, with those that are hidden."""
        return pa.schema([_ROW_FIELD, *self._engine.schema])

    def __arrow_c_schema__(self) -> Any:
        """The columns, with those that are hidden."""
        return self.schema.__arrow_c_schema__()

    @property
    def hidden(self) -> tuple[str, ...]:
        """The columns that a statement does not see."""
        return (ROW, *(name for name in VIRTUAL if name not in self._shown.columns))

    def stream(self, columns: Sequence[int] | None, filters: Sequence[Any]) -> tuple[Any, bool]:
        """What DuckDB 2 calls. columns: positions in the schema; None: all."""
        with self._noting():
            return self._reader(columns, self._accepted(filters)).__arrow_c_stream__(), columns is not None

    def scanner(self, columns: Sequence[str] | None = None, filter: Filter = None, **options: Any) -> _Rows:
        """What DuckDB before 2 calls. columns: None for all."""
        with self._noting():
            names = self.schema.names
            positions = None if columns is None else [names.index(name) for name in columns]
            return _Rows(self._reader(positions, self._engine.bound(filter)))

    def _reader(self, columns: Sequence[int] | None, condition: Expr | None) -> pa.RecordBatchReader:
        columns = range(len(self.schema)) if columns is None else columns
        fields = self.schema
        schema = pa.schema([fields.field(position) for position in columns])
        batches = self._counted(condition) if schema.names == [ROW] else self._read(columns, condition)
        return pa.RecordBatchReader.from_batches(schema, self._noted(batches))

    def _noted(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with self._noting():
            yield from batches

    @contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except GeneratorExit:
            raise
        except BaseException as error:
            self._failures.append(error)
            raise

    def _counted(self, condition: Expr | None) -> Iterator[pa.RecordBatch]:
        """As many rows as there are. Cost: no I/O, but for a condition that statistics leave open."""
        left = self._dataset.scanner([], condition, blob_handling=self._shown.blobs).count_rows()
        while left > 0:
            rows = min(left, _NULLS)
            yield pa.RecordBatch.from_arrays([pa.nulls(rows)], schema=pa.schema([_ROW_FIELD]))
            left -= rows

    def _read(self, columns: Sequence[int], condition: Expr | None) -> Iterator[pa.RecordBatch]:
        stored = [position - 1 for position in columns if position > 0]
        reader = self._engine.reader(stored, condition)
        if len(stored) == len(columns):
            yield from reader
            return
        schema = pa.schema([self.schema.field(position) for position in columns])
        for batch in reader:
            left = iter(batch.columns)
            arrays = [next(left) if position else pa.nulls(len(batch)) for position in columns]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)


@dataclass(frozen=True, slots=True)
class _Rows:
    """One scan of a `CountedTable`: `to_reader` is all that DuckDB calls."""

    reader: pa.RecordBatchReader

    @property
    def projected_schema(self) -> pa.Schema:
        return self.reader.schema

    def to_reader(self) -> pa.RecordBatchReader:
        return self.reader


def present(connection: Connection, name: str, table: Any, shown: Shown) -> None:
    """Give a table a name in a connection. table: a dataset, or anything else that DuckDB reads."""
    if isinstance(table, LanceDataset):
        counted = CountedTable(table, shown, connection.failures)
        connection.present(name, counted, counted.hidden)
    else:
        connection.present(name, _readable(table))


def _readable(table: Any) -> Any:
    """The same rows as something that DuckDB registers."""
    if isinstance(table, pa.RecordBatch):
        return pa.Table.from_batches([table])
    if type(table).__module__.partition(".")[0] in ("duckdb", "_duckdb"):
        return table.to_arrow_table()  # a relation belongs to another connection
    return table


def is_table(value: Any) -> bool:
    """Is a variable of the caller something that a statement may read?"""
    kind = type(value)
    if isinstance(value, PythonDataset) or hasattr(kind, "scanner"):
        return True
    columns = kind.__name__ in ("Series", "ChunkedArray", "Array")
    frame = kind.__module__.startswith("pandas") and kind.__name__ == "DataFrame"
    lazy = kind.__module__.startswith("polars") and kind.__name__ == "LazyFrame"
    return frame or lazy or (hasattr(kind, "__arrow_c_stream__") and not columns)


__all__ = ["BYTES", "ROW", "CountedTable", "Shown", "is_table", "present"]
