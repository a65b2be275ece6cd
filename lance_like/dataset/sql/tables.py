"""What DuckDB reads a dataset from when a statement is given to us, and not to DuckDB."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from lance_like.dataset.arrow import PythonDataset
from lance_like.dataset.handle import LanceDataset
from lance_like.dataset.scanner import BlobHandling, Filter
from lance_like.query.engine_source import SourceBase, condition_of
from lance_like.query.expr import all_of
from lance_like.query.projection import VIRTUAL
from lance_like.query.statements_duckdb import Connection

ROW = "lance_like row"
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


class CountedTable(SourceBase, PythonDataset):
    """A dataset with one more column in front, of nulls: DuckDB asks for the first column to count rows.

    Behind the others are those of `projection.VIRTUAL`. All of these are hidden by the view that statements name.
    failures: where errors go that DuckDB would keep only the text of.
    """

    one_shot = schema_is_stable = pull_under_gil = False

    def __init__(self, dataset: LanceDataset, shown: Shown, failures: list[BaseException]) -> None:
        self._dataset, self._shown, self._failures = dataset, shown, failures

    def rows(self) -> int:
        """How many rows there are, by which DuckDB 2 orders joins."""
        return self._dataset.rows()

    def accepts(self, predicate: Any) -> bool:
        """Whether a condition of DuckDB's is evaluated by the scan."""
        return self._dataset.accepts(predicate)

    def stream(self, columns: Sequence[int] | None, filters: Sequence[Any]) -> tuple[Any, bool]:
        """The rows that pass conditions that were accepted. columns: positions in the schema; None: all."""
        names = None if columns is None else [self.schema.names[i] for i in columns]
        known = [condition for node in filters if (condition := condition_of(node)) is not None]
        condition = all_of(known) if known else None
        return self.scanner(names, condition).to_reader().__arrow_c_stream__(), columns is not None

    def __new__(cls, *args: Any) -> CountedTable:
        return PythonDataset.__new__(cls)

    @property
    def schema(self) -> pa.Schema:
        """The columns, with those that are hidden."""
        fields = self._dataset.scanner(blob_handling=self._shown.blobs).projected_schema
        virtual = [pa.field(name, pa.uint64(), nullable=False) for name in VIRTUAL]
        return pa.schema([pa.field(ROW, pa.null()), *fields, *virtual])

    @property
    def hidden(self) -> tuple[str, ...]:
        """The columns that a statement does not see."""
        return (ROW, *(name for name in VIRTUAL if name not in self._shown.columns))

    def scanner(self, columns: Sequence[str] | None = None, filter: Filter = None, **options: Any) -> _Batches:
        """What DuckDB calls. columns: None for all."""
        names = self.schema.names if columns is None else list(columns)
        try:
            return _Batches(self._dataset, names, filter, self._shown, self._failures)
        except BaseException as error:
            self._failures.append(error)
            raise


class _Batches:
    """One scan of a `CountedTable`: `to_reader` is all that DuckDB calls."""

    def __init__(
        self, dataset: LanceDataset, names: list[str], filter: Filter, shown: Shown, failures: list[BaseException]
    ) -> None:
        self._dataset, self._filter, self._failures = dataset, filter, failures
        self._scanner = dataset.scanner(
            [name for name in names if name != ROW],
            filter,
            batch_size=shown.batch_rows,
            blob_handling=shown.blobs,
        )
        fields = self._scanner.projected_schema
        self.projected_schema = pa.schema([pa.field(ROW, pa.null()) if n == ROW else fields.field(n) for n in names])

    def to_reader(self) -> pa.RecordBatchReader:
        return pa.RecordBatchReader.from_batches(self.projected_schema, self._noted())

    def _noted(self) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._counted() if self.projected_schema.names == [ROW] else self._read()
        except BaseException as error:
            if not isinstance(error, GeneratorExit):
                self._failures.append(error)
            raise

    def _counted(self) -> Iterator[pa.RecordBatch]:
        """As many rows as there are. Cost: no I/O, but for a filter that statistics leave open."""
        left = self._scanner.count_rows()
        while left > 0:
            rows = min(left, _NULLS)
            yield pa.RecordBatch.from_arrays([pa.nulls(rows)], schema=self.projected_schema)
            left -= rows

    def _read(self) -> Iterator[pa.RecordBatch]:
        batches = self._scanner.to_batches()
        if ROW not in self.projected_schema.names:
            yield from batches
            return
        for batch in batches:
            found = dict(zip(batch.schema.names, batch.columns, strict=True))
            found[ROW] = pa.nulls(len(batch))
            yield pa.RecordBatch.from_arrays(
                [found[name] for name in self.projected_schema.names], schema=self.projected_schema
            )


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
