"""Filters over fragments of many zones against DuckDB: what statistics skip must never be a row that passes."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import lance_like
from lance_like import LanceDataset

duckdb = pytest.importorskip("duckdb")

ROWS = 40_000  # five zones of 8,192 rows, in fragments of two zones and a bit


def sample() -> pa.Table:
    """Columns whose zones differ: rising, falling, constant by stretches, null by stretches, random."""
    random = np.random.default_rng(11)
    n = np.arange(ROWS)
    stretch = n // 5_000
    noise = random.normal(size=ROWS).round(2)
    noise[random.random(ROWS) < 0.001] = np.nan
    noise[30_000:31_000] = np.nan
    words = np.array(["", "a", "é", "zz", "prefix " * 12 + "a", "prefix " * 12 + "b", "prefix " * 12 + "\U0010ffff"])
    return pa.table(
        {
            "up": n,
            "down": pa.array(ROWS - n, pa.uint16()),
            "step": pa.array(stretch, pa.int8()),
            "gaps": pa.array(np.where(stretch % 2 == 0, n, 0), mask=stretch % 2 == 1),
            "noise": pa.array(noise),
            "single": pa.array(noise.astype(np.float32), mask=random.random(ROWS) < 0.1),
            "word": pa.array(words[(stretch + (random.random(ROWS) < 0.01)) % len(words)]),
            "flag": pa.array(stretch > 3),
            "day": pa.array((np.datetime64("2020-01-01") + stretch * 10).astype("datetime64[D]")),
            "s": pa.StructArray.from_arrays([pa.array(n // 3), pa.array(words[stretch % 3])], names=["x", "y"]),
        }
    )


@pytest.fixture(scope="module")
def ds(tmp_path_factory) -> LanceDataset:
    return lance_like.write_dataset(sample(), tmp_path_factory.mktemp("filters"), max_rows_per_file=17_000)


@pytest.fixture(scope="module")
def con():
    connection = duckdb.connect()
    arrow = sample()
    connection.register("arrow", arrow)
    connection.execute("create table native as select * from arrow")
    return connection


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


integers = st.integers(-1, ROWS + 1).map(str)
reals = st.sampled_from(["0", "0.5", "-3", "5", "'nan'::double", "'-infinity'::double", "'infinity'::double", "1e300"])
texts = st.sampled_from(["", "a", "b", "é", "prefix", "prefix " * 12, "prefix " * 12 + "a", "prefix " * 12 + "b~"])
days = st.integers(-5, 90).map(lambda days: f"date '{dt.date(2020, 1, 1) + dt.timedelta(days=days)}'")
LITERALS = {
    "up": integers,
    "down": integers,
    "step": st.integers(-1, 9).map(str),
    "gaps": integers,
    "noise": reals,
    "single": reals,
    "word": texts.map(quoted),
    "day": days,
    "s.x": integers,
    "s.y": texts.map(quoted),
}
PATTERNS = ("'a%'", "'%é'", "'prefix%'", "'_'", "''", "'%x a'")


@st.composite
def leaves(draw) -> str:
    column = draw(st.sampled_from(sorted(LITERALS)))
    literals = LITERALS[column]
    shape = draw(st.sampled_from(["compare", "mirrored", "between", "in", "not in", "null", "like", "flag"]))
    first, second = draw(literals), draw(literals)
    operator = draw(st.sampled_from(["=", "<>", "<", "<=", ">", ">="]))
    if shape == "flag":
        return draw(st.sampled_from(["flag", "not flag", "flag = true", "flag is null"]))
    if shape == "null":
        return f"{column} is {draw(st.sampled_from(['', 'not ']))}null"
    if shape == "like" and column in ("word", "s.y"):
        return f"{column} like {draw(st.sampled_from(PATTERNS))}"
    return {
        "mirrored": f"{first} {operator} {column}",
        "between": f"{column} between {first} and {second}",
        "in": f"{column} in ({first}, {second})",
        "not in": f"{column} not in ({first}, {second})",
    }.get(shape, f"{column} {operator} {first}")


conditions = st.recursive(
    leaves(),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]} and {pair[1]})"),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]} or {pair[1]})"),
        inner.map(lambda one: f"not ({one})"),
    ),
    max_leaves=4,
)


def check(ds: LanceDataset, con, condition: str) -> None:
    expected = [i for (i,) in con.execute(f"select up from native where {condition} order by up").fetchall()]
    assert ds.to_table(["up"], filter=condition)["up"].to_pylist() == expected
    assert ds.count_rows(condition) == len(expected)
    assert ds.to_table(["up"], filter=condition, limit=5, offset=3)["up"].to_pylist() == expected[3:8]


COMMON = settings(
    derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@settings(COMMON, max_examples=150)
@given(condition=conditions)
def test_a_filter_gives_the_rows_that_duckdb_gives(ds, con, condition):
    check(ds, con, condition)


@pytest.mark.slow
@settings(COMMON, max_examples=3_000, derandomize=False)
@given(condition=conditions)
def test_many_filters_give_the_rows_that_duckdb_gives(ds, con, condition):
    check(ds, con, condition)


def test_zones_are_skipped_and_nothing_but_the_filter_column_is_read(tmp_path: Path):
    """The test above would pass if nothing were ever skipped."""
    from lance_like.io.local import LocalStore
    from lance_like.io.observe import CountingStore, counted
    from lance_like.table.snapshot import read_manifest

    random = np.random.default_rng(0).integers(0, 1 << 60, 1 << 20)
    table = pa.table({"up": np.arange(1 << 20), "noise": random})
    lance_like.write_dataset(table, tmp_path)
    store = CountingStore(LocalStore(str(tmp_path)))
    ds = LanceDataset(store, read_manifest(store, 1))
    with counted(store) as all_of_it:
        ds.to_table()
    with counted(store) as little:
        assert (
            ds.to_table(filter="up between 500000 and 500003")["noise"].to_pylist() == random[500_000:500_004].tolist()
        )
    assert little.bytes_read < all_of_it.bytes_read / 4
