"""DuckDB over a dataset variable: right answers, little read, no crash."""

from __future__ import annotations

import datetime as dt
import pickle
import subprocess
import sys
import threading
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pytest

import lance_like
from lance_like import LanceDataset
from lance_like.dataset.engine import EngineTable
from lance_like.io.local import LocalStore
from lance_like.io.observe import CountingStore, counted
from lance_like.query.engine_source import HAS_SOURCES
from lance_like.table.snapshot import read_manifest

duckdb = pytest.importorskip("duckdb")

ROWS = 600


def sample() -> pa.Table:
    """Columns of the types that DuckDB pushes filters on, each with nulls, and cells it does not."""
    n = np.arange(ROWS)
    random = np.random.default_rng(3)

    def some(values, kind: pa.DataType) -> pa.Array:
        return pa.array([None if i % 11 == 5 else value for i, value in enumerate(values)], kind)

    day = dt.date(2020, 1, 1)
    moment = dt.datetime(2020, 1, 1)
    utc = dt.timezone.utc
    reals = [float("nan") if i % 13 == 0 else float("inf") if i % 97 == 1 else (i % 50) / 4 - 5 for i in n]
    return pa.table(
        {
            "i": pa.array(n, pa.int64()),
            "small": some((n % 200 - 100).tolist(), pa.int8()),
            "u8": some((n % 256).tolist(), pa.uint8()),
            "u64": some([2**64 - 1 - int(i) % 40 for i in n], pa.uint64()),
            "f": some(reals, pa.float64()),
            "f32": some(reals, pa.float32()),
            "money": some([Decimal(int(i) % 300) / 100 for i in n], pa.decimal128(10, 2)),
            "flag": some([i % 3 == 0 for i in n], pa.bool_()),
            "day": some([day + dt.timedelta(days=int(i) % 90) for i in n], pa.date32()),
            "moment": some([moment + dt.timedelta(hours=int(i)) for i in n], pa.timestamp("us")),
            "atz": some(
                [moment.replace(tzinfo=utc) + dt.timedelta(hours=int(i)) for i in n], pa.timestamp("us", "UTC")
            ),
            "noon": some([dt.time(int(i) % 24, int(i) % 60) for i in n], pa.time64("us")),
            "t": some([f"name {i % 37} é" for i in n], pa.string()),
            "large": some([f"L{i % 5}" for i in n], pa.large_string()),
            "word": some([("red", "green", "blue")[i % 3] for i in n], pa.string()).dictionary_encode(),
            "raw": some([bytes([i % 256, 1]) for i in n], pa.binary()),
            "s": some(
                [{"x": int(i) % 7, "y": None if i % 4 == 0 else f"y{i % 3}"} for i in n],
                pa.struct([("x", pa.int64()), ("y", pa.string())]),
            ),
            "l": some([list(range(int(i) % 4)) for i in n], pa.list_(pa.int32())),
            "v": pa.FixedSizeListArray.from_arrays(pa.array(random.random(ROWS * 2), pa.float32()), 2),
        }
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> str:
    path = str(tmp_path_factory.mktemp("duckdb") / "t")
    table = sample()
    lance_like.write_dataset(table.slice(0, 400), path, max_rows_per_file=150)
    lance_like.write_dataset(table.slice(400), path, mode="append")
    return path


@pytest.fixture(scope="module")
def con():
    """A connection with the same rows in a table of DuckDB's own, as `native`."""
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")
    arrow = sample()
    connection.register("arrow", arrow)
    connection.execute("create table native as select * from arrow")
    return connection


QUERIES = [
    # Shapes of a projection
    "select * from {t} order by i",
    "select t, i from {t} order by i",
    "select s.x, s.y from {t} order by i",
    "select l[1], len(l), v[2] from {t} order by i",
    "select i as k, t as i from {t} order by k limit 7",
    "select count(*) from {t}",
    "select count(t), count(distinct word), count(distinct s.y) from {t}",
    "select min(f), max(f), sum(i), avg(small), min(day), max(atz) from {t}",
    "select distinct large from {t} order by all",
    # Comparisons on each type
    "select i from {t} where i = 77",
    "select i from {t} where i <> 3 and i < 9 order by i",
    "select i from {t} where i between 140 and 160 order by i",
    "select i from {t} where 590 <= i order by i",
    "select i from {t} where small < -95 order by i",
    "select i from {t} where u8 > 250 or u8 = 0 order by i",
    "select i from {t} where u8 in (1, 255) order by i",
    "select i from {t} where u64 >= 18446744073709551610 order by i",
    "select i from {t} where u64 = 18446744073709551615 order by i",
    "select i from {t} where money = 1.25 order by i",
    "select i from {t} where money > 2.9 and money <> 2.95 order by i",
    "select i from {t} where money in (0.01, 0.02, 5) order by i",
    "select i from {t} where day = date '2020-02-01' order by i",
    "select i from {t} where day >= date '2020-03-25' or day < date '2020-01-03' order by i",
    "select i from {t} where year(day) = 2020 and month(day) = 3 order by i",
    "select i from {t} where moment > timestamp '2020-01-25 10:00:00' order by i",
    "select i from {t} where moment between timestamp '2020-01-02' and timestamp '2020-01-03' order by i",
    "select i from {t} where atz <= timestamptz '2020-01-01 05:00:00+00' order by i",
    "select i from {t} where atz = timestamptz '2020-01-01 05:00:00+02' order by i",
    "select i from {t} where noon < time '00:30:00' order by i",
    "select i from {t} where flag order by i",
    "select i from {t} where not flag and i < 20 order by i",
    "select i from {t} where flag = false and flag is not null order by i limit 5",
    "select i from {t} where t = 'name 7 é' order by i",
    "select i from {t} where t > 'name 35 é' order by i",
    "select i from {t} where t in ('name 1 é', 'nobody', 'name 36 é') order by i",
    "select i from {t} where t not in ('name 1 é', 'name 2 é') order by i limit 50",
    "select i from {t} where large = 'L3' order by i",
    "select i from {t} where word = 'red' order by i",
    "select i from {t} where word <> 'red' and word < 'green' order by i",
    "select i from {t} where word in ('blue', 'black') order by i",
    "select word, count(*) from {t} group by word order by word nulls last",
    r"select i from {t} where raw = '\x05\x01'::blob order by i",
    r"select i from {t} where raw >= '\xFE'::blob order by i",
    # Floats: NaN is the greatest number and equals itself
    "select i from {t} where f > 6 order by i",
    "select i from {t} where f >= 6.25 and i < 300 order by i",
    "select i from {t} where f < -4 order by i",
    "select i from {t} where f <= -4.75 order by i",
    "select i from {t} where f = 'nan'::double order by i",
    "select i from {t} where f <> 0.5 and i < 40 order by i",
    "select i from {t} where f between 5 and 'infinity'::double order by i",
    "select i from {t} where isnan(f32) order by i",
    "select i from {t} where f32 = 0.25 or f32 in (0.5, 'nan'::float) order by i",
    "select i from {t} where f in (0.25, 'nan'::double) order by i",
    # Nulls
    "select i from {t} where t is null order by i",
    "select i from {t} where s is null or l is not null and i < 5 order by i",
    "select i from {t} where not (small > 0) order by i limit 40",
    "select i from {t} where t = null",
    "select i from {t} where (u8 > 3) is null order by i",
    "select i from {t} where small is distinct from 5 and i < 30 order by i",
    "select i from {t} where coalesce(small, -7) = -7 order by i",
    # Combinations
    "select i from {t} where i < 10 or t = 'name 36 é' order by i",
    "select i from {t} where (i < 10 or u8 = 200) and (word = 'red' or t is null) order by i",
    "select i from {t} where not (i < 590 or word = 'red') order by i",
    "select i from {t} where i in (1, 2, 3, 599, 1000) or i between 300 and 303 order by i",
    "select i from {t} where i in (select i + 1 from {t} where i < 5) order by i",
    "select i from {t} where i < 50 and i % 7 = 0 and cast(i as varchar) like '%4%' order by i",
    "select i from {t} where i + 1 < 5 order by i",
    "select i from {t} where i = small order by i",
    # Struct fields and lists
    "select i from {t} where s.x = 3 and i < 60 order by i",
    "select i from {t} where s.x > 5 and s.y = 'y1' order by i",
    "select i from {t} where s.x in (0, 6) and i < 40 order by i",
    "select i from {t} where s.y is null and i < 60 order by i",
    "select i, s.y from {t} where s.y <> 'y1' order by i limit 9",
    "select i from {t} where list_contains(l, 2) and i < 60 order by i",
    "select i from {t} where array_distance(v, [0.5, 0.5]::float[2]) < 0.1 order by i",
    # Patterns
    "select i from {t} where t like 'name 1%' and i < 100 order by i",
    "select i from {t} where t like '%é' and t ilike 'NAME 2_ é' order by i",
    "select i from {t} where starts_with(t, 'name 30') order by i",
    "select i from {t} where contains(t, '5 ') or regexp_matches(large, 'L[12]$') order by i limit 60",
    "select i from {t} where word like 'gr%' order by i limit 20",
    # Order, limits, groups, windows, joins with itself
    "select i from {t} order by f desc nulls last, i limit 12",
    "select i from {t} where i > 100 order by i limit 5 offset 7",
    "select word, large, count(*), sum(i) from {t} group by all order by all",
    "select word, count(*) c from {t} where i > 50 group by word having count(*) > 100 order by all",
    "select i, row_number() over (partition by word order by i) from {t} where i < 30 order by i",
    "select a.i as ai, b.i as bi from {t} a join {t} b on a.i = b.i + 598 order by all",
    "select count(*) from {t} a join {t} b using (day) where a.i < 20 and b.word = 'red'",
    "select i from {t} where i < 3 union all select i from {t} where i > 597 order by i",
    "with x as (select * from {t} where u8 < 10) select word, max(i) from x group by word order by all",
    "select exists(select 1 from {t} where i = 9999) as some, (select max(i) from {t}) as top",
]


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_gives_what_a_table_of_duckdb_gives(query, place, con):
    ds = lance_like.dataset(place)  # noqa: F841  (DuckDB finds it by its name)
    found = con.sql(query.format(t="ds")).to_arrow_table()
    expected = con.sql(query.format(t="native")).to_arrow_table()
    assert found.schema.names == expected.schema.names
    assert repr(found.to_pylist()) == repr(expected.to_pylist())


def test_parameters_of_prepared_statements_are_filters_too(place, con):
    ds = lance_like.dataset(place)  # noqa: F841
    query = "select i from {t} where t = ? and i > ? order by i"
    for parameters in (["name 7 é", 50], ["nobody", 0], [None, 3]):
        found = con.execute(query.format(t="ds"), parameters).fetchall()
        assert found == con.execute(query.format(t="native"), parameters).fetchall()


# What DuckDB asks for, and what is read


@pytest.fixture
def asked(monkeypatch) -> tuple[list[list[str] | None], list[bool]]:
    """The columns of each scan, and of each condition that DuckDB offers whether it is understood."""
    columns: list[list[str] | None] = []
    offered: list[bool] = []
    stream, takes_over = LanceDataset.stream, EngineTable.takes_over

    def recorded_stream(self, positions, filters):
        columns.append(None if positions is None else [self.schema.names[i] for i in positions])
        return stream(self, positions, filters)

    def recorded(self, node):
        offered.append(self.condition(node) is not None)
        return takes_over(self, node)

    monkeypatch.setattr(LanceDataset, "stream", recorded_stream)
    monkeypatch.setattr(EngineTable, "takes_over", recorded)
    return columns, offered


@pytest.mark.skipif(not HAS_SOURCES, reason="DuckDB before 2 pushes less")
@pytest.mark.parametrize(
    ("query", "columns", "filtered"),
    [
        ("select t from ds", {"t"}, False),
        ("select i from ds where u8 = 3", {"i", "u8"}, True),
        ("select i from ds where s.x = 3", {"i", "s"}, True),
        ("select i from ds where word in ('red', 'blue')", {"i", "word"}, True),
        ("select i from ds where day > date '2020-02-01' or money < 1", {"i", "day", "money"}, True),
        ("select s.x from ds", {"s"}, False),
        ("select sum(i) from ds where t is not null", {"i", "t"}, True),
        ("select i from ds where t like 'name 1%'", {"i", "t"}, False),
    ],
)
def test_projection_and_filter_are_pushed_down(query, columns, filtered, place, asked):
    ds = lance_like.dataset(place)
    duckdb.sql(query).fetchall()
    [found], offered = asked
    # Columns of a condition that is taken over are not asked for.
    assert {"i"} & columns <= set(found or ds.schema.names) <= columns
    assert bool(offered) == filtered
    assert all(offered)


@pytest.fixture(scope="module")
def wide(tmp_path_factory) -> Path:
    """A small column beside large cells, in order, so that zones tell where a value is."""
    path = tmp_path_factory.mktemp("wide") / "t"
    random = np.random.default_rng(1)
    rows = 40_000
    table = pa.table(
        {
            "blob": pa.array([random.bytes(200) for _ in range(rows)]),
            "i": np.arange(rows),
            "s": pa.StructArray.from_arrays(
                [pa.array(random.random(rows)), pa.array(np.arange(rows) % 10)], names=["noise", "x"]
            ),
        }
    )
    lance_like.write_dataset(table, path, max_rows_per_file=20_000)
    return path


def read_of(path: Path, query: str) -> tuple[list, int]:
    """The answer of a query over a fresh handle, and the bytes of data files that it read."""
    store = CountingStore(LocalStore(str(path)))
    ds = LanceDataset(store, read_manifest(store, 1))  # noqa: F841
    with counted(store) as counts:
        answer = duckdb.sql(query).fetchall()
    return answer, counts.bytes_read


def test_columns_that_are_not_asked_for_are_not_read(wide):
    size = sum(path.stat().st_size for path in (wide / "data").iterdir())
    answer, nbytes = read_of(wide, "select sum(i) from ds")
    assert answer == [(40_000 * 39_999 // 2,)]
    assert nbytes < size / 20


def test_a_filter_that_is_pushed_down_reads_only_the_zones_that_can_pass(wide):
    _, full = read_of(wide, "select blob from ds")
    answer, nbytes = read_of(wide, "select octet_length(blob) from ds where i = 39999")
    assert answer == [(200,)]
    assert nbytes < full / 20
    answer, nbytes = read_of(wide, "select octet_length(blob) from ds where i > 50000")
    assert answer == []
    assert nbytes < full / 100, "the manifest alone tells that no row passes"


def test_a_limit_stops_the_scan(tmp_path):
    rows = 4_000_000
    lance_like.write_dataset(
        {"i": np.random.default_rng(0).integers(0, 1 << 60, rows)}, tmp_path, max_rows_per_file=50_000
    )
    _, full = read_of(tmp_path, "select * from ds")
    _, nbytes = read_of(tmp_path, "select * from ds limit 5")
    assert nbytes < full / 2


# Handles, versions, connections


def test_a_dataset_is_found_by_the_name_of_a_local_variable(place):
    def inside():
        people = lance_like.dataset(place)  # noqa: F841
        return duckdb.sql("select count(*) from people").fetchall()

    assert inside() == [(ROWS,)]


def test_versions_of_one_dataset_can_be_joined(uri_of_two_versions):
    before, after = (lance_like.dataset(uri_of_two_versions, version=version) for version in (1, 2))
    assert before.version != after.version
    query = "select after.i, before.v, after.v from before full join after using (i)"
    query += " where before.v is distinct from after.v order by all"
    assert duckdb.sql(query).fetchall() == [(3, 30, 31), (4, None, 40)]


@pytest.fixture
def uri_of_two_versions(tmp_path) -> str:
    lance_like.write_dataset({"i": [1, 2, 3], "v": [10, 20, 30]}, tmp_path)
    lance_like.write_dataset({"i": [1, 2, 3, 4], "v": [10, 20, 31, 40]}, tmp_path, mode="overwrite")
    return str(tmp_path)


def test_a_query_answers_from_the_version_of_the_handle(uri_of_two_versions):
    ds = lance_like.dataset(uri_of_two_versions, version=1)
    relation = duckdb.sql("select sum(v) from ds")
    lance_like.dataset(uri_of_two_versions).insert({"i": [9], "v": [1000]})
    assert relation.fetchall() == [(60,)]
    ds.checkout_latest()
    assert duckdb.sql("select sum(v) from ds").fetchall() == [(1101,)]


def test_a_registered_dataset_and_a_view_over_it_can_be_queried_again_and_again(place):
    connection = duckdb.connect()
    connection.register("people", lance_like.dataset(place))
    connection.execute("create temp view reds as select * from people where word = 'red'")
    first = connection.sql("select count(*) from reds").fetchall()
    assert first == connection.sql("select count(*) from reds").fetchall() != [(0,)]


def test_rows_can_be_written_from_a_query_over_the_dataset(place, tmp_path):
    ds = lance_like.dataset(place)  # noqa: F841
    made = lance_like.write_dataset(duckdb.sql("select i, t from ds where i < 5 order by i"), tmp_path)
    assert made.to_table().to_pydict() == sample().select(["i", "t"]).slice(0, 5).to_pydict()
    made.insert(duckdb.sql("select i, t from ds where i = 7"))
    assert made.count_rows() == 6


def test_a_table_without_rows_and_one_that_lacks_a_column_in_a_fragment(tmp_path):
    empty = lance_like.write_dataset(sample().slice(0, 0), tmp_path / "empty")  # noqa: F841
    assert duckdb.sql("select count(*), max(i) from empty where s.x > 1 or t is null").fetchall() == [(0, None)]
    late = lance_like.write_dataset({"i": [1, 2]}, tmp_path / "some")
    late.add_columns(pa.field("t", pa.string()))
    late.insert({"i": [3], "t": ["x"]})
    assert duckdb.sql("select i from late where t is null order by i").fetchall() == [(1,), (2,)]
    assert duckdb.sql("select i from late where t = 'x' or i = 1 order by i").fetchall() == [(1,), (3,)]
    assert duckdb.sql("select i from late where t <> 'y'").fetchall() == [(3,)]


def test_names_that_need_quotes_can_be_queried(tmp_path):
    ds = lance_like.write_dataset({"a b": [1, 2], 'q"q': [3, 4], "né.x": [5, 6], "select": [7, 8]}, tmp_path)  # noqa: F841
    query = 'select "a b", "q""q" from ds where "né.x" = 6 and "select" > 7 and "a b" in (1, 2)'
    assert duckdb.sql(query).fetchall() == [(2, 4)]


def test_threads_query_one_dataset_through_connections_of_their_own(place):
    ds = lance_like.dataset(place)
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            connection = duckdb.connect()
            connection.register("ds", ds)
            for step in range(4):
                low = seed * 100 + step
                found = connection.sql(f"select i from ds where i >= {low} order by i limit 3").fetchall()
                assert found == [(low,), (low + 1,), (low + 2,)]
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures


# Failures


def test_an_error_inside_a_scan_surfaces_with_its_text(tmp_path):
    ds = lance_like.write_dataset({"i": np.arange(50_000), "t": [f"row {i}" for i in range(50_000)]}, tmp_path)
    data = next((tmp_path / "data").iterdir())
    content = bytearray(data.read_bytes())
    content[len(content) // 3] ^= 4
    data.write_bytes(content)
    ds = lance_like.dataset(tmp_path)  # noqa: F841
    with pytest.raises(duckdb.Error, match=r"checksum.*data/[0-9a-f]{32}\.lnl|data/[0-9a-f]{32}\.lnl.*checksum"):
        duckdb.sql("select sum(i), max(t) from ds").fetchall()


def test_a_dataset_whose_files_are_gone_is_an_error_with_text(tmp_path):
    ds = lance_like.write_dataset({"i": [1]}, tmp_path)
    for path in (tmp_path / "data").iterdir():
        path.unlink()
    ds = lance_like.dataset(tmp_path)  # noqa: F841
    with pytest.raises(duckdb.Error, match=r"does not exist|missing"):
        duckdb.sql("select * from ds").fetchall()


# pyarrow.dataset.Dataset

CALL_ALL = """
import faulthandler, sys
faulthandler.enable()
import pyarrow as pa, pyarrow.dataset as pads
import lance_like
from lance_like.errors import LanceLikeError

ds = lance_like.write_dataset({"a": [3, 1, 2], "b": ["x", None, "z"]}, "memory://walk")
other = pads.dataset(pa.table({"a": [1]}))
arguments = {
    "take": ([0],), "head": (1,), "filter": (pads.field("a") > 1,), "replace_schema": (ds.schema,), "sort_by": ("a",),
    "join": (other, "a"), "join_asof": (other, "a", "a", 1), "_get_fragments": (None,), "_scanner_options": ({},),
    "_scan_options": (None, {}),
}
for name in dir(pads.Dataset):
    if name.startswith("__"):
        continue
    print(name, end=": ", flush=True)
    try:
        found = getattr(ds, name)
        if callable(found):
            found = found(*arguments.get(name, ()))
        print(type(found).__name__, flush=True)
    except (LanceLikeError, TypeError) as error:
        print(type(error).__name__, flush=True)
for odd in (lambda: repr(ds), lambda: str(ds), lambda: hash(ds), lambda: ds == ds, lambda: bool(ds), lambda: len(ds)):
    odd()
print("end")
"""


def test_every_public_attribute_of_an_arrow_dataset_is_our_own():
    ours = {name for cls in LanceDataset.__mro__ if not issubclass(pads.Dataset, cls) for name in vars(cls)}
    for name in dir(pads.Dataset):
        if not name.startswith("_"):
            assert name in ours, f"{name} is inherited: it would read memory that is not there"


def test_calling_every_attribute_of_an_arrow_dataset_crashes_nothing():
    done = subprocess.run([sys.executable, "-c", CALL_ALL], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    told = dict(line.split(": ") for line in done.stdout.splitlines() if ": " in line)
    assert done.stdout.endswith("end\n")
    assert told["schema"] == "Schema"
    assert told["take"] == told["head"] == told["to_table"] == "Table"
    for name in ("filter", "join", "join_asof", "sort_by", "replace_schema", "partition_expression"):
        assert told[name] == "Unsupported"


def test_an_arrow_dataset_and_a_dataset_of_ours_answer_the_same_calls(place):
    """Where names are pyarrow's, meanings are."""
    ours, arrow = lance_like.dataset(place), pads.dataset(sample())
    assert isinstance(ours, pads.Dataset)
    condition = (pc.field("i") > 100) & (pc.field("word") == "red")
    for options in (
        {},
        {"columns": ["t", "i"]},
        {"filter": condition},
        {"columns": ["i"], "filter": pc.field("s", "x") == 3},
        {"filter": pc.field("t").isin(["name 1 é"]) | pc.field("l").is_null(), "columns": ["u8"]},
    ):
        assert repr(ours.to_table(**options).to_pylist()) == repr(arrow.to_table(**options).to_pylist())
        assert ours.to_table(**options).schema == arrow.to_table(**options).schema
    assert ours.count_rows(filter=condition) == arrow.count_rows(filter=condition)
    assert ours.count_rows() == arrow.count_rows()
    assert repr(ours.take([5, 599, 5]).to_pylist()) == repr(arrow.take([5, 599, 5]).to_pylist())
    assert repr(ours.head(3).to_pylist()) == repr(arrow.head(3).to_pylist())
    assert ours.schema == arrow.schema
    assert sum(fragment.count_rows() for fragment in ours.get_fragments()) == ROWS


def test_an_unpickled_dataset_can_be_queried(place):
    ds = pickle.loads(pickle.dumps(lance_like.dataset(place, version=1)))
    assert ds.version == 1
    assert duckdb.sql("select count(*) from ds where i >= 0").fetchall() == [(400,)]
