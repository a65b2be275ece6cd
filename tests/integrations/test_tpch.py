"""The 22 queries of TPC-H over datasets, equal to DuckDB over the same tables in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

import lance_like
from benchmarks.tpch.__main__ import check_equal, query_text
from benchmarks.tpch.doors import TPCHGEN, generate, load_tables
from benchmarks.tpch.queries import QUERIES

duckdb = pytest.importorskip("duckdb")
pytestmark = pytest.mark.skipif(not Path(TPCHGEN).exists(), reason="tpchgen-cli is not installed")

SCALE = 0.01


@pytest.fixture(scope="module")
def connections(tmp_path_factory):
    """Over datasets of several files, and over tables in memory."""
    folder = tmp_path_factory.mktemp("tpch")
    ours, memory = duckdb.connect(), duckdb.connect()
    for name, table in load_tables(generate(folder, SCALE)).items():
        ours.register(name, lance_like.write_dataset(table, str(folder / name), max_rows_per_file=25_000))
        memory.register(name, table)
    return ours, memory


@pytest.mark.parametrize("number", QUERIES)
def test_a_query_of_tpch_gives_what_it_gives_over_tables_in_memory(number, connections):
    ours, memory = connections
    text = query_text(number, SCALE)
    expected = memory.execute(text).fetchall()
    check_equal(ours.execute(text).fetchall(), expected, f"query {number}")
    assert expected or number == 20
