"""What DuckDB learns of a dataset before it reads: its types, its rows, which conditions the scan takes over."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pytest

import lance_like
from lance_like import LanceDataset
from lance_like.dataset.view import DatasetView
from lance_like.errors import InvalidInput, NotFound
from lance_like.io.local import LocalStore
from lance_like.io.observe import CountingStore, counted
from lance_like.query.engine_source import HAS_SOURCES
from lance_like.table.snapshot import read_manifest

duckdb = pytest.importorskip("duckdb")
pytestmark = pytest.mark.skipif(not HAS_SOURCES, reason="DuckDB before 2 knows no sources")

ROWS = 50_000


def every_type() -> dict[str, pa.Array]:
    """Two rows of each type that DuckDB may meet, by a name that says which."""
    halves = pa.array([np.float16(1.5), None], pa.float16())
    money = [Decimal("1.10"), None]
    ends = pa.array([1, 2], pa.int32())
    pair = [pa.array([1, 2]), pa.array(["a", "b"])]
    moment = dt.datetime(2020, 1, 2, 3, 4, 5)
    return {
        "half": halves,
        "halves": pa.array([[np.float16(1.5)], None], pa.list_(pa.float16())),
        "half_vector": pa.array([[np.float16(1.5), np.float16(2)], None], pa.list_(pa.float16(), 2)),
        "half_inside": pa.array([{"x": np.float16(1.5), "y": 1}, None], pa.struct({"x": pa.float16(), "y": pa.int8()})),
        "decimal32": pa.array(money, pa.decimal32(5, 2)),
        "decimal64": pa.array(money, pa.decimal64(15, 2)),
        "decimal128": pa.array(money, pa.decimal128(30, 2)),
        "decimal256": pa.array(money, pa.decimal256(38, 2)),
        "decimal256_long": pa.array(money, pa.decimal256(60, 2)),
        "string_view": pa.array(["a", None], pa.string_view()),
        "binary_view": pa.array([b"a", None], pa.binary_view()),
        "view_inside": pa.array([{"x": "a"}, None], pa.struct({"x": pa.string_view()})),
        "list_view": pa.array([[1], None], pa.list_view(pa.int64())),
        "large_list_view": pa.array([[1], None], pa.large_list_view(pa.int64())),
        "runs": pa.RunEndEncodedArray.from_arrays(ends, pa.array([5, None])),
        "dictionary": pa.array(["a", None]).dictionary_encode(),
        "dictionary_of_numbers": pa.array([1, None]).dictionary_encode(),
        "sparse_union": pa.UnionArray.from_sparse(pa.array([0, 1], pa.int8()), pair),
        "dense_union": pa.UnionArray.from_dense(pa.array([0, 1], pa.int8()), pa.array([0, 0], pa.int32()), pair),
        "u8": pa.array([1, None], pa.uint8()),
        "u64": pa.array([2**64 - 1, None], pa.uint64()),
        "flag": pa.array([True, None]),
        "date64": pa.array([dt.date(2020, 1, 1), None], pa.date64()),
        "time_ns": pa.array([1, None], pa.time64("ns")),
        "moment_ns": pa.array([moment, None], pa.timestamp("ns")),
        "moment_utc": pa.array([moment, None], pa.timestamp("us", "UTC")),
        "span": pa.array([1, None], pa.duration("us")),
        "uuid": pa.array([b"a" * 16, None], pa.uuid()),
        "map": pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())),
        "null": pa.nulls(2),
    }


SHOWN = {
    "half": (pa.float32(), [1.5, None]),
    "halves": (pa.list_(pa.float32()), [[1.5], None]),
    "half_vector": (pa.list_(pa.float32(), 2), [[1.5, 2], None]),
    "half_inside": (pa.struct({"x": pa.float32(), "y": pa.int8()}), [{"x": 1.5, "y": 1}, None]),
    "decimal256": (pa.decimal128(38, 2), [Decimal("1.10"), None]),
    "decimal256_long": (pa.float64(), [1.1, None]),
    "dense_union": (pa.sparse_union([pa.field("0", pa.int64()), pa.field("1", pa.string())]), [1, "a"]),
}
"""The types that DuckDB cannot read: what it is shown instead, and the rows."""


@pytest.mark.parametrize("name", every_type())
def test_every_type_is_read_in_place_as_the_nearest_that_duckdb_has(name, tmp_path):
    array = every_type()[name]
    ds = lance_like.write_dataset(pa.table({"i": [1, 2], "v": array}), str(tmp_path / "t"))
    kind, rows = SHOWN.get(name, (array.type, None))
    assert ds.view().schema.field("v").type.equals(kind)
    assert ds.schema.field("v").type.equals(array.type)
    shown = pa.table({"i": [1, 2], "v": array if rows is None else ds.view().to_table()["v"]})  # noqa: F841
    if rows is not None:
        assert ds.view().to_table()["v"].to_pylist() == rows
    for query in ("select v from {}", "select v from {} where i > 1", "select i from {} where v is null"):
        found = duckdb.sql(query.format("ds")).to_arrow_table()
        assert repr(found.to_pylist()) == repr(duckdb.sql(query.format("shown")).to_arrow_table().to_pylist())


@pytest.mark.parametrize("name", ["half", "half_inside", "decimal256", "decimal256_long"])
def test_a_condition_on_a_column_that_is_shown_otherwise_is_judged_by_duckdb(name, tmp_path):
    ds = lance_like.write_dataset(pa.table({"v": every_type()[name]}), str(tmp_path / "t"))  # noqa: F841
    path = "v.x" if name == "half_inside" else "v"
    assert duckdb.sql(f"select count(*) from ds where {path} > 1").fetchall() == [(1,)]


def ordered() -> pa.Table:
    """Columns of many types, ascending, so that zones tell where values are."""
    n = np.arange(ROWS)
    texts = [f"k{i:06}" for i in n]
    return pa.table(
        {
            "payload": pa.array(np.random.default_rng(1).random(ROWS)),
            "i": n,
            "u": pa.array(n, pa.uint32()),
            "f": n / 2,
            "t": texts,
            "word": pa.array([f"w{i // 2000:02}" for i in n]).dictionary_encode(),
            "s": pa.array([{"x": int(i), "y": {"z": int(i)}} for i in n]),
            "day": pa.array(n.astype("datetime64[D]"), pa.date32()),
            "moment": pa.array(n * 1_000_000, pa.timestamp("us")),
            "price": pa.array([Decimal(int(i)) / 4 for i in n], pa.decimal128(12, 2)),
            "maybe": pa.array([None if i < ROWS - 100 else int(i) for i in n]),
        }
    )


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return ordered()


@pytest.fixture(scope="module")
def place(table, tmp_path_factory) -> str:
    path = str(tmp_path_factory.mktemp("source") / "t")
    lance_like.write_dataset(table, path)
    return path


PRUNING = [
    "i = 77",
    "i in (5, 9, 70)",
    "i between 100 and 200",
    "i < 10 or i > 49990",
    "i < 10 or u < 20",
    "u = 3",
    "u in (3, 4)",
    "f = 2.5",
    "f > 24990",
    "t = 'k000007'",
    "t in ('k000007', 'k000008')",
    "word = 'w03' and i < 7000",
    "word in ('w03', 'w24') and u < 7000",
    "s.x = 3",
    "s.y.z in (3, 4)",
    "s.x < 3 or s.y.z > 49998",
    "day = date '1970-01-09'",
    "moment < timestamp '1970-01-01 00:01:00'",
    "price = 1.25",
    "price in (1.25, 2.5)",
    "maybe is not null",
    "maybe > 5 and i > 5",
]


def read_of(place: str, query: str) -> tuple[list, int]:
    """The answer and the bytes that were read, by a handle that has read nothing before."""
    store = CountingStore(LocalStore(place))
    ds = LanceDataset(store, read_manifest(store, 1))  # noqa: F841
    with counted(store) as counts:
        answer = duckdb.sql(query).fetchall()
    return answer, counts.bytes_read


@pytest.mark.parametrize("condition", PRUNING)
def test_a_condition_that_zones_answer_reaches_the_scan_and_prunes(condition, place, table):
    query = f"select sum(payload), count(*) from {{}} where {condition}"
    answer, nbytes = read_of(place, query.format("ds"))
    assert answer == duckdb.sql(query.format('"table"')).fetchall()
    assert 0 < answer[0][1] <= ROWS / 10
    assert nbytes < 8 * ROWS / 2, "a part of the payload was read"


def test_a_condition_that_spares_no_reading_is_left_to_duckdb(tmp_path):
    rows = pa.table({"n": np.random.default_rng(1).integers(0, 100, ROWS)})
    ds = lance_like.write_dataset(rows, str(tmp_path / "t"))  # noqa: F841
    (plan,) = duckdb.sql("explain select count(*) from ds where n < 50").fetchall()
    assert "Filters:" not in plan[1]
    expected = duckdb.sql("select count(*) from rows where n < 50").fetchall()
    assert duckdb.sql("select count(*) from ds where n < 50").fetchall() == expected


def test_a_condition_on_wide_rows_is_taken_over(tmp_path):
    random = np.random.default_rng(1)
    rows = pa.table({"n": random.permutation(2000), "cell": [random.bytes(5000) for _ in range(2000)]})
    lance_like.write_dataset(rows, str(tmp_path / "t"))
    answer, nbytes = read_of(str(tmp_path / "t"), "select octet_length(cell) from ds where n = 7")
    assert answer == [(5000,)]
    assert nbytes < 1_000_000


def test_duckdb_knows_how_many_rows_there_are(tmp_path):
    ds = lance_like.write_dataset({"i": range(1234)}, str(tmp_path / "t"))
    (plan,) = duckdb.sql("explain select i from ds").fetchall()
    assert "~1,234 rows" in plan[1]
    ds.delete("i < 4")
    (plan,) = duckdb.sql("explain select i from ds").fetchall()
    assert "~1,230 rows" in plan[1]


def test_repeated_text_reaches_duckdb_as_codes(tmp_path):
    names = pa.array([f"city {i % 50}" for i in range(ROWS)])
    mixed = pa.concat_arrays([names, pa.array([f"word {i * i}" for i in range(ROWS)])])
    holes = pa.array([None if i % 7 == 0 else f"c{i % 9}" for i in range(2 * ROWS)], pa.large_string())
    table = pa.table({"mixed": mixed, "holes": holes, "other": [f"{i * 7919}" for i in range(2 * ROWS)]})
    ds = lance_like.write_dataset(table, str(tmp_path / "t"), max_rows_per_file=ROWS)
    codes = pa.dictionary(pa.int32(), pa.string())
    assert ds.view().schema.field("mixed").type == codes
    assert ds.view().schema.field("holes").type == pa.dictionary(pa.int32(), pa.large_string())
    assert ds.view().schema.field("other").type == pa.string()
    assert ds.schema.equals(table.schema)
    read = ds.view().to_table()
    for name in ("mixed", "holes"):
        assert read[name].cast(table.schema.field(name).type).to_pylist() == table[name].to_pylist()
    for query in (
        "select mixed, count(*) from {} group by all order by all",
        "select holes, count(*) from {} where mixed = 'city 7' or holes is null group by all order by all",
        "select count(*) from {} where mixed in ('word 4', 'city 3') and holes <> 'c1'",
    ):
        assert duckdb.sql(query.format("ds")).fetchall() == duckdb.sql(query.format('"table"')).fetchall()
    ds.delete("mixed = 'city 7'")
    assert duckdb.sql("select count(*) from ds where mixed = 'city 7'").fetchall() == [(0,)]
    some = ds.view().to_table(["holes", "mixed"], filter="mixed = 'word 400'")
    assert some["mixed"].to_pylist() == ["word 400"]


def test_a_view_answers_as_a_dataset_of_pyarrow(place, table):
    view = lance_like.dataset(place).view()
    assert len(view) == view.count_rows() == ROWS
    assert view.count_rows("i < 9") == 9
    assert view.to_table(["i"], filter=pc.field("i") < 3).to_pylist() == [{"i": 0}, {"i": 1}, {"i": 2}]
    assert sum(map(len, view.to_batches(["u"]))) == ROWS
    assert pa.table(view).num_rows == ROWS
    assert view.head(3, ["i"])["i"].to_pylist() == [0, 1, 2]
    assert view.head(0).num_rows == 0
    assert duckdb.sql("select max(i) from view where t > 'k049'").fetchall() == [(ROWS - 1,)]
    with pytest.raises(NotFound):
        view.scanner(["nothing"])
    with pytest.raises(InvalidInput):
        view.scanner([3])


def test_every_public_attribute_of_an_arrow_dataset_is_the_views_own():
    ours = {name for cls in DatasetView.__mro__ if not issubclass(pads.Dataset, cls) for name in vars(cls)}
    assert {name for name in dir(pads.Dataset) if not name.startswith("_")} <= ours


def test_of_many_fragments_few_are_asked_whether_a_condition_prunes(tmp_path):
    rows = {"n": np.random.default_rng(1).integers(0, 100, 400_000)}
    lance_like.write_dataset(rows, str(tmp_path / "t"), max_rows_per_file=10_000)
    store = CountingStore(LocalStore(str(tmp_path / "t")))
    ds = LanceDataset(store, read_manifest(store, 1))  # noqa: F841
    with counted(store) as counts:
        (plan,) = duckdb.sql("explain select n from ds where n = 7").fetchall()
    assert "Filters:" not in plan[1]
    assert len({key for key, _ in counts.log if key.startswith("data/")}) <= 8


def test_a_query_that_was_bound_before_the_table_changed_reads_the_table_as_it_is(tmp_path):
    ds = lance_like.write_dataset({"a": [1, 2], "b": [10, 20], "c": ["x", "y"]}, str(tmp_path / "t"))
    query = duckdb.sql("select c from ds where b > 10")
    ds.drop_columns(["a"])
    ds.insert({"b": [30], "c": ["z"]})
    assert query.fetchall() == [("y",), ("z",)]
