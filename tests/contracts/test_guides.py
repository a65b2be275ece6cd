"""The code of the guides in examples/ runs, over tables such as the text around it supposes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lance_like
from lance_like.rerankers import RRFReranker

EXAMPLES = Path(__file__).parents[2] / "examples"


def blocks(guide: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (EXAMPLES / guide).read_text(), re.DOTALL)


def run(code: str, names: dict[str, Any]) -> dict[str, Any]:
    exec(compile(code, "guide", "exec"), names)
    return names


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def things() -> lance_like.LanceDataset:
    addresses = pa.array([{"city": "Bern"}, {"city": "Rome"}, None, {"city": "Basel"}])
    table = pa.table({"price": [4.0, 5.0, 0.5, 250.0], "name": ["Anna", "Bo", "Cy", "apple"], "address": addresses})
    return lance_like.write_dataset(table, "things.lance")


def people(code: str | None = None) -> lance_like.LanceDataset:
    table = {"id": [1, 2, 3], "name": ["Anna", "Bo", "Cy"], "age": [31, 29, 40], "city": ["Bern"] * 3}
    return lance_like.write_dataset(pa.table({**table, **({"city_code": [code] * 3} if code else {})}), "people.lance")


def test_filters_and_expressions_of_the_sql_guide_run(place):
    ds = things()
    run(blocks("sql.md", "python")[0], {"ds": ds})
    assert ds.to_table(["name", "price", "size"]).sort_by("name").to_pylist() == [
        {"name": "Anna", "price": 4.0, "size": "small"},
        {"name": "Bo", "price": 5.0, "size": "small"},
        {"name": "CY", "price": 1.0, "size": "small"},
        {"name": "apple", "price": 250.0, "size": "big"},
    ]


def test_the_code_for_those_who_come_from_lance_runs(place):
    lance = pytest.importorskip("lance")
    lance.write_dataset(pa.table({"id": [1, 2, 3], "text": ["a", "b", "c"]}), "old.lance")
    [code] = blocks("from_lance.md", "python")
    names = run(code, {})
    assert sorted(names["ds"].to_table()["text"].to_pylist()) == ["b", "c", "changed", "new", "one more"]


def test_statements_of_the_sql_guide_run(place):
    people()
    run(blocks("sql.md", "python")[1], {})
    prices = lance_like.write_dataset(pa.table({"id": [1, 2], "price": [1.0, 2.0]}), "prices.lance")
    prices.tags.create("monday", prices.version)
    prices.update({"price": "3.5"}, where="id = 2")
    found = lance_like.sql(blocks("sql.md", "sql")[0], people=prices).to_arrow_table()
    assert [column.to_pylist() for column in found.columns] == [[2], [2.0], [3.5]]


def test_changes_of_the_sql_guide_run(place):
    held = people(code="b")
    pq.write_table(
        pa.table({"city_code": ["b"], "name": ["Di"], "id": [4], "age": [20], "city": [None]}), "new.parquet"
    )
    tables = {
        "people": held,
        "blocked": pa.table({"id": [1]}),
        "cities": pa.table({"code": ["b"], "name": ["Bern"]}),
        "arrived": pa.table(
            {"id": [2, 3, 5], "name": ["Bob", "Cy", "Eve"], "age": [1, 2, 3], "gone": [False, True, False]}
        ),
    }
    for statement in blocks("sql.md", "sql")[1].strip().removesuffix(";").split(";"):
        lance_like.sql(statement, **tables).to_arrow_table()
    left = lance_like.dataset("people.lance").to_table(["id", "name", "city"]).sort_by("id").to_pydict()
    assert left == {"id": [2, 4, 5], "name": ["Bob", "Di", "Eve"], "city": ["Bern", "Bern", None]}


def test_scans_of_the_sql_guide_run(place):
    ds = lance_like.write_dataset(pa.table({"id": range(20), "text": [f"t{i}" for i in range(20)]}), "texts.lance")
    run(blocks("sql.md", "python")[2], {"ds": ds})


def test_duckdb_of_the_sql_guide_reads_in_place(place):
    rows = pa.table({"l_shipmode": ["AIR"], "l_tax": [0.5], "l_orderkey": [1]})
    lance_like.write_dataset(rows, "lineitem")
    with duckdb.connect() as connection:
        names = run(
            blocks("sql.md", "python")[3], {"lance_like": lance_like, "duckdb": duckdb, "connection": connection}
        )
        assert connection.sql("select count(*) from lineitem").fetchall() == [(1,)]
        assert names["ds"].count_rows() == 1


def test_the_search_guide_runs(place):
    random = np.random.default_rng(1)
    words = np.array(["blue", "red", "lake", "hill", "wood"])
    table = pa.table(
        {
            "title": [" ".join(random.choice(words, 3)) for _ in range(600)],
            "year": random.integers(2000, 2025, 600),
            "lang": random.choice(["en", "de"], 600),
            "vector": pa.array(list(random.standard_normal((600, 32)).astype(np.float32)), pa.list_(pa.float32(), 32)),
        }
    )
    names: dict[str, Any] = {"ds": lance_like.write_dataset(table, "pages.lance"), "lance_like": lance_like}
    for code in blocks("search.md", "python"):
        run(code, names)
    assert len(names["found"]) == len(names["snippets"]) and all(
        "lake" in title for title in names["found"]["title"].to_pylist()
    )
    assert len(names["search"].rerank(RRFReranker()).to_table()) == 5
    for statement in blocks("search.md", "sql")[0].strip().split(";"):
        used = {"query": (names["query"] + 1).tolist()} if "$query" in statement else None
        assert len(lance_like.sql(statement, params=used, ds=names["ds"]).to_arrow_table())
