"""`lance_like.sql` and `ds.sql`: statements, and their answers in the forms that pylance and DuckDB give them."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lance_like.dataset.scanner import BlobHandling, as_read
from lance_like.dataset.sql.scope import Parameters, Scope
from lance_like.dataset.sql.statements import Statement, run_statements
from lance_like.dataset.sql.tables import is_table
from lance_like.errors import InvalidInput
from lance_like.query.projection import ROW_ADDRESS, ROW_ID
from lance_like.query.statement_text import Text
from lance_like.query.statements_duckdb import Connection, words

if TYPE_CHECKING:
    from lance_like.dataset.handle import LanceDataset


class SqlAnswer(ABC):
    """The rows that a statement gives. Each call runs it anew, but `fetchone` and `fetchmany`, which go on.

    Streams and batches are made while they are read, in bounded memory; rows of Python are kept by DuckDB until they
    are fetched. Answers may be open side by side, and in several threads.
    """

    _rows: Iterator[tuple[Any, ...]] | None = None

    @abstractmethod
    def _query(self) -> SqlQuery:
        """The query, as it is now."""

    # -- Arrow --

    def to_stream_reader(self) -> pa.RecordBatchReader:
        """The rows as a stream, made while it is read."""
        return self._query()._reader()

    to_reader = to_arrow_reader = fetch_record_batch = to_stream_reader

    def to_batch_records(self) -> list[pa.RecordBatch]:
        """All rows, as batches."""
        return self.to_arrow_table().to_batches()

    def to_batches(self) -> Iterator[pa.RecordBatch]:
        """The rows a batch at a time."""
        return iter(self.to_stream_reader())

    def to_arrow_table(self) -> pa.Table:
        """All rows, as a table of pyarrow."""
        return self._query()._take(lambda relation: relation.to_arrow_table())

    arrow = to_table = fetch_arrow_table = to_arrow_table

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self.to_stream_reader().__arrow_c_stream__(requested_schema)

    @property
    def schema(self) -> pa.Schema:
        """The columns of the answer. Cost: the statement is planned, not run."""
        return self.to_stream_reader().schema

    @property
    def columns(self) -> list[str]:
        """The names of the columns. Cost: the statement is planned, not run."""
        return self._query()._take(lambda relation: list(relation.columns))

    # -- other libraries and plain rows --

    def to_pandas(self) -> Any:
        """All rows, as a DataFrame of pandas."""
        return self._query()._take(lambda relation: relation.df())

    df = fetchdf = to_df = to_pandas

    def pl(self) -> Any:
        """All rows, as a DataFrame of Polars."""
        return self._query()._take(lambda relation: relation.pl())

    to_polars = pl

    def fetchall(self) -> list[tuple[Any, ...]]:
        """The rows as tuples: those that `fetchone` and `fetchmany` left, or all."""
        rows, self._rows = self._rows, None
        return self._query()._take(lambda relation: relation.fetchall()) if rows is None else list(rows)

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row as a tuple; None after the last one."""
        return next(iter(self.fetchmany(1)), None)

    def fetchmany(self, size: int = 1) -> list[tuple[Any, ...]]:
        """The next rows as tuples; fewer, or none, at the end."""
        if self._rows is None:
            self._rows = iter(self)
        return [row for _, row in zip(range(size), self._rows, strict=False)]

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self._query()._each_row()

    # -- to look at --

    def show(self) -> None:
        """Print the first rows as a table."""
        print(repr(self))

    def __repr__(self) -> str:
        return self._query()._take(str)

    def explain_plan(self, verbose: bool = False, analyze: bool = False) -> str:
        """How DuckDB runs the statement. analyze: run it, and tell what each step took.

        verbose: the plans before too.
        """
        return self._query()._explained(verbose, analyze)


class SqlQuery(SqlAnswer):
    """One statement that gives rows, with the tables that it names."""

    def __init__(self, statement: Statement) -> None:
        self._statement = statement

    def _query(self) -> SqlQuery:
        return self

    def _bound(self) -> tuple[Connection, Text, dict[str, Any]]:
        connection = Connection()
        return connection, *self._statement.scope.bind(connection, self._statement.text)

    def _reader(self) -> pa.RecordBatchReader:
        connection, text, values = self._bound()
        return connection.reader(text, values, self._statement.scope.shown.batch_rows)

    def _take(self, take: Any) -> Any:
        connection, text, values = self._bound()
        return connection.run(text, values, take)

    def _each_row(self) -> Iterator[tuple[Any, ...]]:
        connection, text, values = self._bound()
        return connection.rows(text, values)

    def _explained(self, verbose: bool, analyze: bool) -> str:
        connection, text, values = self._bound()
        if verbose and not analyze:
            connection.execute(Text.words("SET explain_output = 'all'"))
        explained = ("EXPLAIN ANALYZE " if analyze else "EXPLAIN ") + text
        rows = connection.execute(explained, values)
        return "\n".join(f"{name}\n{plan}" if verbose else plan for name, plan in rows)


class SqlQueryBuilder(SqlAnswer):
    """A statement over one dataset, and how it sees it. Made by `LanceDataset.sql`.

    What is set is set on this builder, which is returned. It answers as the `SqlQuery` that `build` makes.
    """

    def __init__(self, statement: Statement) -> None:
        self._statement = statement
        self._names: tuple[str, ...] = ()

    def table_name(self, table_name: str) -> SqlQueryBuilder:
        """Another name for the dataset in the statement."""
        scope = self._statement.scope
        self._statement = replace(self._statement, scope=scope.having(table_name))
        return self

    def with_row_id(self, with_row_id: bool = True) -> SqlQueryBuilder:
        """Show the stable id of each row, as the column `_rowid`."""
        return self._column(ROW_ID, with_row_id)

    def with_row_addr(self, with_row_addr: bool = True) -> SqlQueryBuilder:
        """Show the address of each row, as the column `_rowaddr`."""
        return self._column(ROW_ADDRESS, with_row_addr)

    def blob_handling(self, blob_handling: BlobHandling) -> SqlQueryBuilder:
        """What the statement sees of blobs, as the option of `scanner`."""
        own = self._statement.scope.own
        assert own is not None
        as_read(own._manifest.schema, blob_handling)
        return self._shown(blobs=blob_handling)

    def batch_size(self, batch_size: int) -> SqlQueryBuilder:
        """The most rows of a batch of the answer, and of those that DuckDB reads."""
        if batch_size < 1:
            raise InvalidInput(f"batch_size={batch_size}: expected an integer of at least 1")
        return self._shown(batch_rows=int(batch_size))

    def batch_size_bytes(self, batch_size_bytes: int) -> SqlQueryBuilder:
        """Accepted: batches are cut by rows, and read in bounded memory."""
        if batch_size_bytes < 1:
            raise InvalidInput(f"batch_size_bytes={batch_size_bytes}: expected an integer of at least 1")
        return self

    def build(self) -> SqlQuery:
        """The query, as it is now."""
        return SqlQuery(self._statement)

    _query = build

    def _column(self, name: str, wanted: bool) -> SqlQueryBuilder:
        others = tuple(one for one in self._statement.scope.shown.columns if one != name)
        return self._shown(columns=(*others, name) if wanted else others)

    def _shown(self, **changes: Any) -> SqlQueryBuilder:
        scope = self._statement.scope
        self._statement = replace(self._statement, scope=scope.showing(replace(scope.shown, **changes)))
        return self


def sql(query: str, /, *, params: Parameters = None, **tables: Any) -> SqlQuery:
    """Run a statement of DuckDB's SQL over datasets, and other tables.

    query: names in it are the tables given, variables of the caller that are datasets or tables of Arrow, pandas or
    Polars, paths in quotes, and what DuckDB reads itself, such as 'file.parquet'. `ds AT (VERSION => 3)` is a version,
    by number or tag, `ds AT (TIMESTAMP => now() - INTERVAL 1 DAY)` the newest one at a moment; `lance('s3://…',
    version => 3)` opens a dataset. INSERT, UPDATE, DELETE, MERGE, TRUNCATE, CREATE TABLE … AS, DROP TABLE and ALTER
    TABLE change datasets, at once, and move the handles that they name.
    params: values of `?` or `$1` in order, or of `$name` by name.
    Returns the answer, which is made when it is asked for; of a change, how many rows it changed.
    Raises InvalidInput, pointing at the place in the statement; NotFound; what the change raises.
    """
    frame = sys._getframe(1)
    found = _named(query, {**frame.f_builtins, **frame.f_globals, **frame.f_locals})
    return SqlQuery(run_statements(query, Scope({**found, **tables}, params)))


def sql_of(dataset: LanceDataset, query: str, params: Parameters, tables: dict[str, Any]) -> SqlQueryBuilder:
    """See `LanceDataset.sql`."""
    scope = Scope({"dataset": dataset, "ds": dataset, **tables}, params, own=dataset)
    return SqlQueryBuilder(run_statements(query, scope))


def _named(query: str, variables: dict[str, Any]) -> dict[str, Any]:
    """The variables that a statement may mean: those of its words that hold tables."""
    found = {word.name for word in words(Text.of(query))}
    return {name: variables[name] for name in found & variables.keys() if is_table(variables[name])}


__all__ = ["SqlAnswer", "SqlQuery", "SqlQueryBuilder", "sql", "sql_of"]
