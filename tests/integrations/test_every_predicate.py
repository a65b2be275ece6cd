"""Predicates drawn at random over every type that is stored, in every form and by every route, against DuckDB.

DuckDB answers over a table of its own, made from the same Arrow data and changed by the same statements; types that it
does not read are handed to it as the nearest that it does.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from predicates import COLUMNS, Maker, Predicate, make, table

import lance_like
from lance_like import LanceDataset
from lance_like.errors import InvalidInput
from lance_like.query.engine_source import HAS_SOURCES
from lance_like.query.spelling import sql_of

duckdb = pytest.importorskip("duckdb")

ROWS = 9_000
NEAREST = {
    "f16": pa.float32(),
    "dec256": pa.decimal128(30, 4),
    "huge": pa.float64(),
    "hundreds": pa.decimal128(11, 0),
    "halves": pa.list_(pa.float32()),
    "lview": pa.list_(pa.int16()),
}
CHANGES = (
    "DELETE FROM native WHERE row % 7 = 3",
    "UPDATE native SET i32 = i8::INTEGER + 1, text = text || 'q', f64 = -f64, s = NULL WHERE row % 5 = 0",
)


@dataclass(frozen=True)
class Tables:
    """The same rows in a dataset and in DuckDB."""

    ds: LanceDataset
    con: Any

    @property
    def names(self) -> list[str]:
        """The columns that predicates are made over."""
        return [name for name in self.ds.schema.names if name in COLUMNS]


def readable(rows: pa.Table) -> pa.Table:
    """Rows with the types that DuckDB reads."""
    for name, kind in NEAREST.items():
        if name not in rows.schema.names:
            continue
        at = rows.schema.get_field_index(name)
        column = pa.array(rows[name].to_pylist(), kind) if pa.types.is_list(kind) else rows[name].cast(kind)
        rows = rows.set_column(at, name, column)
    return rows


def connected(rows: pa.Table) -> Any:
    con = duckdb.connect(config={"threads": 1})
    con.execute("SET TimeZone = 'UTC'")
    con.register("arrow", readable(rows))
    con.execute("CREATE TABLE native AS FROM arrow")
    return con


def written(rows: pa.Table, path: Path) -> LanceDataset:
    return lance_like.write_dataset(rows, path, max_rows_per_file=6_000)


def made(folder: Path, *, columns: list[str] | None = None, changes: bool = False) -> Tables:
    """Tables of some columns; changed: after an append, a delete, an update, another append and a compaction."""
    names = ["row", *(columns or COLUMNS)]
    rows = table(1, ROWS).select(names)
    ds, con = written(rows, folder), connected(rows)
    for step in range(2 * changes):
        if step:
            ds.delete("row % 7 = 3")
            ds.update(
                {"i32": "i8::INTEGER + 1", "text": "text || 'q'", "f64": "-f64", "s": "NULL"}, where="row % 5 = 0"
            )
            for statement in CHANGES:
                con.execute(statement)
        more = table(3 + step, 1_500, ROWS * (step + 1)).select(names)
        ds.insert(more)
        con.register("arrow", readable(more))
        con.execute("INSERT INTO native FROM arrow")
    if changes:
        ds.optimize.compact_files(target_rows_per_fragment=5_000)
    return Tables(ds, con)


@pytest.fixture(scope="module", params=["fresh", "changed"])
def tables(request, tmp_path_factory) -> Tables:
    return made(tmp_path_factory.mktemp(request.param), changes=request.param == "changed")


@pytest.fixture(scope="module", params=["fresh", "changed"])
def tables_of_duckdb(request, tmp_path_factory) -> Tables:
    """DuckDB 2 sees every type as the nearest that it has; for others there are only those that it reads."""
    columns = [name for name, column in COLUMNS.items() if column.in_place or HAS_SOURCES]
    return made(tmp_path_factory.mktemp(request.param), columns=columns, changes=request.param == "changed")


def by_duckdb(tables: Tables, predicate: Predicate) -> list[int] | None:
    """The rows that pass; None where DuckDB cannot tell."""
    try:
        found = tables.con.execute(f"SELECT row FROM native WHERE {predicate} ORDER BY row").fetchall()
    except duckdb.Error:
        return None
    return [row for (row,) in found]


def by_text(tables: Tables, predicate: Predicate) -> list[int] | None:
    return _rows(tables.ds, predicate.sql)


def by_arrow(tables: Tables, predicate: Predicate) -> list[int] | None:
    return _rows(tables.ds, predicate.arrow)


def by_builder(tables: Tables, predicate: Predicate) -> list[int] | None:
    return _rows(tables.ds, predicate.built)


def _rows(ds: LanceDataset, condition: Any) -> list[int] | None:
    """The rows that pass; None where a literal cannot be cast, which DuckDB finds only when a row meets it."""
    try:
        return sorted(ds.to_table(["row"], filter=condition)["row"].to_pylist())
    except InvalidInput as error:
        if re.search("Conversion|Out of Range", str(error)) is None:
            raise
        return None


def in_place(tables: Tables, predicate: Predicate) -> list[int] | None:
    """DuckDB over the dataset object."""
    con = _connection()
    con.register("ds", tables.ds)
    try:
        found = con.execute(f"SELECT row FROM ds WHERE {predicate} ORDER BY row").fetchall()
    except (duckdb.ConversionException, duckdb.OutOfRangeException):
        # It casts rows that it leaves alone over its own table.
        return None
    return [row for (row,) in found]


def by_statement(tables: Tables, predicate: Predicate) -> list[int] | None:
    """A SELECT of `lance_like.sql` over the dataset."""
    query = f"SELECT row FROM ds WHERE {predicate} ORDER BY row"
    try:
        return lance_like.sql(query, ds=tables.ds).to_arrow_table()["row"].to_pylist()
    except (InvalidInput, duckdb.Error) as error:
        if re.search("Conversion|Out of Range", str(error)) is None:
            raise
        return None


def _connection() -> Any:
    con = duckdb.connect(config={"threads": 1})
    con.execute("SET TimeZone = 'UTC'")
    return con


def compare(tables: Tables, route: Callable[[Tables, Predicate], list[int] | None], *, seed: int, count: int) -> None:
    """Compare the rows of predicates by a route with DuckDB's; where DuckDB fails, nothing is expected."""
    maker = Maker(seed, tables.names, sql_of, plain=route in (by_arrow, by_builder))
    failed = 0
    for _ in range(count):
        predicate = maker.predicate()
        expected = by_duckdb(tables, predicate)
        found = None if expected is None else route(tables, predicate)
        failed += found is None
        assert found is None or found == expected, str(predicate)
    assert failed < count / 4


@pytest.mark.parametrize("route", [by_text, by_arrow, by_builder])
def test_a_predicate_in_any_form_gives_the_rows_that_duckdb_gives(tables, route):
    compare(tables, route, seed=1, count=120)


@pytest.mark.parametrize("route", [in_place, by_statement])
def test_duckdb_over_a_dataset_gives_the_rows_that_it_gives_over_its_own_table(tables_of_duckdb, route):
    compare(tables_of_duckdb, route, seed=2, count=80)


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(10, 20))
@pytest.mark.parametrize("route", [by_text, by_arrow, by_builder])
def test_many_predicates_in_any_form_give_the_rows_that_duckdb_gives(tables, route, seed):
    compare(tables, route, seed=seed, count=500)


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(10, 14))
@pytest.mark.parametrize("route", [in_place, by_statement])
def test_many_queries_of_duckdb_over_a_dataset_give_what_they_give_over_its_own_table(tables_of_duckdb, route, seed):
    compare(tables_of_duckdb, route, seed=seed, count=500)


def test_literals_are_spelled_as_the_values_they_are():
    """What the tests above write into their SQL means the same to DuckDB as the value that pyarrow hands over."""
    con = _connection()
    for name, column in COLUMNS.items():
        if column.in_place and column.family != "null":
            values = make(column.type, list(column.pool))
            con.register("given", pa.table({"v": values}))
            kind = con.execute("SELECT typeof(v) FROM given LIMIT 1").fetchall()[0][0]
            spelled = ", ".join(f"({sql_of(value)})" for value in values)
            query = (
                f"SELECT count(*) FROM (SELECT CAST(w AS {kind}) FROM (VALUES {spelled}) x(w) EXCEPT ALL FROM given)"
            )
            assert con.execute(query).fetchall() == [(0,)], name
