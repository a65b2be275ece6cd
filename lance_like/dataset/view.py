"""A version as other engines read it best: every type as the nearest that they know, texts as codes where they are.

The rows and names are those of the dataset; `engine` says which types are shown as others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import pyarrow as pa

from lance_like.dataset.arguments import not_here
from lance_like.dataset.arrow import PythonDataset
from lance_like.dataset.engine import EngineSource, EngineTable
from lance_like.dataset.scanner import Filter
from lance_like.errors import InvalidInput, NotFound


class DatasetView(EngineSource, PythonDataset):
    """One version for DuckDB and other engines that read a `pyarrow.dataset.Dataset`. Made by `LanceDataset.view`."""

    def __init__(self, engine: EngineTable) -> None:
        self._engine_table = engine

    @property
    def schema(self) -> pa.Schema:
        """The columns, in the types that are shown."""
        return self._engine.schema

    def __len__(self) -> int:
        return self.rows()

    def __repr__(self) -> str:
        return f"DatasetView(version={self._engine.manifest.version}, rows={len(self):,})"

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """All rows, in the types that are shown."""
        return self.scanner().to_reader().__arrow_c_stream__(requested_schema)

    def scanner(self, columns: Sequence[str] | None = None, filter: Filter = None, **options: Any) -> ViewScanner:
        """Prepare a scan.

        columns: names, in the order wanted; None: all. filter: as of `LanceDataset.scanner`, over values as stored.
        options: tuning options of pyarrow's, accepted and not needed.
        Raises NotFound for an unknown column, InvalidInput for a filter that cannot be evaluated.
        """
        return ViewScanner(self._engine, columns, filter)

    def to_table(self, columns: Sequence[str] | None = None, filter: Filter = None, **options: Any) -> pa.Table:
        """The rows in memory."""
        return self.scanner(columns, filter).to_table()

    def to_batches(
        self, columns: Sequence[str] | None = None, filter: Filter = None, **options: Any
    ) -> Iterator[pa.RecordBatch]:
        """The rows a batch at a time."""
        return iter(self.scanner(columns, filter).to_reader())

    def head(self, num_rows: int, columns: Sequence[str] | None = None, **options: Any) -> pa.Table:
        """The first rows."""
        reader = self.scanner(columns).to_reader()
        batches, left = [], num_rows
        while left > 0 and (batch := next(reader, None)) is not None:
            batches.append(batch.slice(0, left))
            left -= len(batches[-1])
        return pa.Table.from_batches(batches, reader.schema)

    def take(self, indices: Any, **options: Any) -> NoReturn:
        """Not supported: take from the dataset."""
        raise not_here("take", "take from the dataset")

    def get_fragments(self, filter: Any = None) -> NoReturn:
        """Not supported: fragments are those of the dataset."""
        raise not_here("get_fragments", "ask the dataset for its fragments")

    def count_rows(self, filter: Filter = None, **options: Any) -> int:
        """How many rows there are, or pass a filter."""
        return self.rows() if filter is None else sum(map(len, self.to_batches([], filter)))


class ViewScanner:
    """Rows of a view: `to_reader`, `to_table`, `to_batches`."""

    def __init__(self, engine: EngineTable, columns: Sequence[str] | None, filter: Filter) -> None:
        self._engine = engine
        self._columns = None if columns is None else [_position(engine.schema, name) for name in columns]
        self._condition = engine.bound(filter)

    @property
    def projected_schema(self) -> pa.Schema:
        """The schema of the answer."""
        return self._engine.schema_of(self._columns)

    def to_reader(self) -> pa.RecordBatchReader:
        """The rows as an Arrow stream, read while it is consumed."""
        return self._engine.reader(self._columns, self._condition)

    def to_batches(self) -> Iterator[pa.RecordBatch]:
        """The rows a batch at a time."""
        return iter(self.to_reader())

    def to_table(self) -> pa.Table:
        """All rows in memory."""
        return self.to_reader().read_all()


def _position(schema: pa.Schema, name: str) -> int:
    if not isinstance(name, str):
        raise InvalidInput(f"columns: {name!r:.80} is not the name of a column")
    position = schema.get_field_index(name)
    if position < 0:
        raise NotFound(f"the column {name!r} does not exist", kind="column")
    return position


__all__ = ["DatasetView", "ViewScanner"]
