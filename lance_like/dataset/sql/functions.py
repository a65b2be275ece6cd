"""Table functions of statements: names to Python functions that give a table. Other packages add theirs.

An entry point of the group "lance_like.table_functions" names a function without arguments, which returns the table
function: called with the values of its arguments, where a dataset stands for its name or path, it returns a dataset or
a table or batch of Arrow, or `Streamed`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from lance_like.dataset.handle import LanceDataset
from lance_like.dataset.opening import dataset
from lance_like.dataset.sql.tables import Shown
from lance_like.errors import InvalidInput
from lance_like.query.fuse import RRFReranker
from lance_like.query.projection import CREATED_AT, ROW_ADDRESS, ROW_ID, UPDATED_AT
from lance_like.registry import Registry
from lance_like.table.history import Reference, read_version

TableFunction = Callable[..., Any]

REGISTRY = Registry(
    "lance_like.table_functions",
    {
        name: f"lance_like.dataset.sql.functions:_{name}"
        for name in (
            *("delta", "fragments", "fts", "hybrid_search", "lance", "rows", "take", "vector_search", "versions"),
        )
    },
)


class Viewed:
    """A dataset that statements see in another way than others."""

    def __init__(self, dataset: LanceDataset, shown: Shown) -> None:
        self.dataset, self.shown = dataset, shown


class Streamed:
    """Rows that are made while they are read, anew each time: a statement may read a table twice."""

    def __init__(self, open: Callable[[], pa.RecordBatchReader]) -> None:
        self._open = open

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._open().__arrow_c_stream__(requested_schema)


def at(table: LanceDataset, *, version: Reference | None = None, asof: datetime | str | None = None) -> LanceDataset:
    """Another version of a dataset, with the options of the handle. Raises NotFound."""
    if version is None and asof is None:
        return table
    return table._at(*read_version(table._store, version, asof=asof, known=table._manifest))


def _lance() -> TableFunction:
    def lance(
        place: LanceDataset | str,
        *,
        version: Reference | None = None,
        tag: str | None = None,
        asof: datetime | str | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> LanceDataset:
        """A version of a dataset, by name or URI."""
        if version is not None and tag is not None:
            raise InvalidInput("lance() takes a version or a tag, not both", kind="sql")
        version = tag if version is None else version
        if isinstance(place, LanceDataset):
            return at(place, version=version, asof=asof)
        return dataset(place, version, asof, storage_options=storage_options)

    return lance


def _rows() -> TableFunction:
    def rows(table: LanceDataset, *, blobs: str | None = None) -> Viewed:
        """A dataset with the columns that are not stored, such as `_rowid`. blobs: as blob_handling."""
        return Viewed(table, Shown((ROW_ID, ROW_ADDRESS, CREATED_AT, UPDATED_AT), blobs=blobs))  # type: ignore[arg-type]

    return rows


def _take() -> TableFunction:
    def take(table: LanceDataset, positions: Sequence[int]) -> pa.Table:
        """Rows by position, in the order asked."""
        return table.take(list(positions))

    return take


def _delta() -> TableFunction:
    def delta(table: LanceDataset, begin: int, end: int | None = None) -> Streamed:
        """The rows that came or changed after a version, up to another, with "insert" or "update" as `_change`."""
        found = table.delta(begin_version=begin, end_version=table.version if end is None else end)
        return Streamed(lambda: _changes({"insert": found.get_inserted_rows(), "update": found.get_updated_rows()}))

    return delta


def _changes(kinds: Mapping[str, pa.RecordBatchReader]) -> pa.RecordBatchReader:
    """Rows of several kinds in one stream, with the kind as `_change`."""
    schema = kinds["insert"].schema.append(pa.field("_change", pa.string()))

    def batches() -> Iterator[pa.RecordBatch]:
        for kind, rows in kinds.items():
            for batch in rows:
                column = pa.repeat(pa.scalar(kind), len(batch))
                yield pa.RecordBatch.from_arrays([*batch.columns, column], schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _vector_search() -> TableFunction:
    def vector_search(
        table: LanceDataset,
        column: str,
        query: Sequence[Any],
        *,
        k: int = 10,
        filter: str | None = None,
        prefilter: bool = True,
        fast_search: bool = False,
        **options: Any,
    ) -> pa.Table:
        """The rows nearest to a vector, or to each of several. options: the others of `nearest`."""
        nearest = {"column": column, "q": query, "k": k, **options}
        return table.to_table(nearest=nearest, filter=filter, prefilter=prefilter, fast_search=fast_search)

    return vector_search


def _fts() -> TableFunction:
    def fts(
        table: LanceDataset,
        query: str | Mapping[str, Any],
        *,
        columns: Sequence[str] | str | None = None,
        k: int | None = None,
        filter: str | None = None,
        prefilter: bool = True,
        fast_search: bool = False,
    ) -> pa.Table:
        """The rows of the most relevant texts. k: None: all that match."""
        asked = _texts(query, columns)
        return table.to_table(
            full_text_query=asked, limit=k, filter=filter, prefilter=prefilter, fast_search=fast_search
        )

    return fts


def _hybrid_search() -> TableFunction:
    def hybrid_search(
        table: LanceDataset,
        vector: Sequence[Any],
        text: str | Mapping[str, Any],
        *,
        k: int = 10,
        filter: str | None = None,
        vector_column: str | None = None,
        text_columns: Sequence[str] | str | None = None,
        rrf_k: float = 60,
    ) -> pa.Table:
        """The rows that a vector and a text find together, by reciprocal rank fusion."""
        search = table.search(vector=vector, text=text, vector_column=vector_column, text_columns=text_columns)
        return search.where(filter).limit(k).rerank(RRFReranker(rrf_k)).to_table()

    return hybrid_search


def _texts(query: str | Mapping[str, Any], columns: Sequence[str] | str | None) -> Any:
    if columns is None or not isinstance(query, str):
        return query
    return {"query": query, "columns": [columns] if isinstance(columns, str) else list(columns)}


def _versions() -> TableFunction:
    def versions(table: LanceDataset) -> pa.Table:
        """The versions of a dataset, oldest first."""
        found = table.versions()
        return pa.table(
            {
                "version": pa.array([one["version"] for one in found], pa.int64()),
                "timestamp": pa.array([one["timestamp"] for one in found], pa.timestamp("us", "UTC")),
                "metadata": pa.array(
                    [list(one["metadata"].items()) for one in found], pa.map_(pa.string(), pa.string())
                ),
            }
        )

    return versions


def _fragments() -> TableFunction:
    def fragments(table: LanceDataset) -> pa.Table:
        """The fragments of a dataset, in scan order."""
        found = list(table._manifest.tree.iterate())
        return pa.table(
            {
                "id": pa.array([one.id for one in found], pa.int64()),
                "rows": pa.array([one.live_rows for one in found], pa.int64()),
                "deleted": pa.array([one.rows - one.live_rows for one in found], pa.int64()),
                "files": pa.array([len(one.files) for one in found], pa.int64()),
                "nbytes": pa.array([sum(file.nbytes for file in one.files) for one in found], pa.int64()),
            }
        )

    return fragments


__all__ = ["REGISTRY", "Streamed", "TableFunction", "Viewed", "at"]
