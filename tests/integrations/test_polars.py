"""Polars over a dataset: lazily with projection and filter pushed down, and written from its frames."""

from __future__ import annotations

import datetime as dt
import io
from decimal import Decimal

import pyarrow as pa
import pytest

import lance_like
from lance_like import LanceDataset
from lance_like.errors import InvalidInput

pl = pytest.importorskip("polars")
from lance_like.integrations.polars import condition_of, scan_lance_like  # noqa: E402

ROWS = 300


def sample() -> pa.Table:
    def some(values, kind: pa.DataType) -> pa.Array:
        return pa.array([None if i % 11 == 5 else value for i, value in enumerate(values)], kind)

    n = range(ROWS)
    return pa.table(
        {
            "i": pa.array(n, pa.int64()),
            "u": some([i % 200 for i in n], pa.uint8()),
            "f": some([float("nan") if i % 13 == 0 else i / 4 for i in n], pa.float64()),
            "t": some([f"name {i % 37} é" for i in n], pa.string()),
            "word": some([("red", "green")[i % 2] for i in n], pa.string()).dictionary_encode(),
            "flag": some([i % 3 == 0 for i in n], pa.bool_()),
            "day": some([dt.date(2020, 1, 1) + dt.timedelta(days=i) for i in n], pa.date32()),
            "when": some([dt.datetime(2020, 1, 1) + dt.timedelta(hours=i) for i in n], pa.timestamp("us", "UTC")),
            "money": some([Decimal(i) / 100 for i in n], pa.decimal128(10, 2)),
            "l": some([list(range(i % 4)) for i in n], pa.list_(pa.int32())),
            "s": some([{"x": i % 7, "y": f"y{i % 3}"} for i in n], pa.struct([("x", pa.int64()), ("y", pa.string())])),
        }
    )


@pytest.fixture(scope="module")
def ds() -> LanceDataset:
    return lance_like.write_dataset(sample(), "memory://polars", mode="overwrite", max_rows_per_file=130)


@pytest.fixture(scope="module")
def frame():
    return pl.from_arrow(sample())


CONDITIONS = {
    "equal": lambda c: c("i") == 77,
    "range": lambda c: (c("i") > 100) & (c("i") <= 140),
    "uint": lambda c: c("u") >= 190,
    "float": lambda c: c("f") > 70,
    "float below": lambda c: c("f") < 3,
    "text": lambda c: c("t") == "name 7 é",
    "in": lambda c: c("t").is_in(["name 1 é", "name 2 é"]),
    "dictionary": lambda c: c("word") == "red",
    "flag": lambda c: c("flag"),
    "not flag": lambda c: ~c("flag"),
    "date": lambda c: c("day") >= dt.date(2020, 9, 1),
    "moment": lambda c: c("when") < dt.datetime(2020, 1, 1, 5, tzinfo=dt.timezone.utc),
    "null": lambda c: c("t").is_null() | (c("i") < 3),
    "not null": lambda c: c("l").is_not_null() & (c("i") > 290),
    "or": lambda c: (c("i") < 5) | (c("u") == 199),
    "prefix": lambda c: c("t").str.starts_with("name 3"),
    "field": lambda c: c("s").struct.field("x") == 3,
}


@pytest.mark.parametrize("scan", [scan_lance_like, pl.scan_pyarrow_dataset], ids=["own", "pyarrow"])
@pytest.mark.parametrize("kind", CONDITIONS)
def test_a_lazy_scan_gives_what_a_frame_gives(kind, scan, ds, frame):
    condition = CONDITIONS[kind](pl.col)
    found = scan(ds).filter(condition).select("i", "t", "s").collect()
    assert found.equals(frame.filter(condition).select("i", "t", "s"), null_equal=True)


def test_what_an_own_scan_pushes_down_is_what_it_can_say_exactly_or_weaker(ds):
    def pushed(condition) -> str:
        return str(condition_of(condition, ds.schema))

    c = pl.col
    for kind in CONDITIONS:
        assert condition_of(CONDITIONS[kind](c), ds.schema) is not None, kind
    assert pushed((c("i") * 2 > 5) & (c("u") == 4)) == '"u" = 4'
    assert pushed((c("i") * 2 > 5) | (c("u") == 4)) == "None"
    assert pushed(((c("i") * 2 > 5) & (c("i") < 9)) | (c("u") == 4)) == '"i" < 9 OR "u" = 4'
    assert pushed(~((c("i") * 2 > 5) & (c("u") == 4))) == "None", "less than all of a negated part would lose rows"
    assert pushed(c("money") > 3) == "None", "decimals and integers are compared each in its own way"
    assert pushed(c("i").is_in([])) == "None"
    assert pushed(pl.lit(5) > c("i")) == '"i" < 5'
    assert pushed(c("i").is_between(2, 4, closed="left")) == '"i" >= 2 AND "i" < 4'
    assert pushed(c("t").str.starts_with("100%_")) == "\"t\" LIKE '100\\%\\_%' ESCAPE '\\'"


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
def test_infinities_and_nan_in_a_predicate_are_left_to_polars(number):
    rows = pa.table({"i": [1, 2, 3, 4], "f": [0.5, number, None, -1.0]})
    condition = (pl.col("f") < number) & (pl.col("i") < 4)
    found = scan_lance_like(lance_like.write_dataset(rows, "memory://")).filter(condition).collect()
    assert found.equals(pl.from_arrow(rows).filter(condition), null_equal=True)
    assert str(condition_of(condition, rows.schema)) == '"i" < 4'


def test_an_own_scan_reads_the_columns_and_rows_that_are_needed(ds, monkeypatch):
    asked = []
    real = LanceDataset.scanner

    def scanner(self, columns=None, filter=None, limit=None, *rest, **options):
        asked.append((columns, str(filter), limit))
        return real(self, columns, filter, limit, *rest, **options)

    monkeypatch.setattr(LanceDataset, "scanner", scanner)
    lazy = scan_lance_like(ds)
    asked.clear()
    assert lazy.filter(pl.col("u") == 4).select("i").collect()["i"].to_list() == [4, 204]
    assert lazy.head(7).select("t").collect().height == 7
    assert lazy.filter(pl.col("i") > 200).head(7).select("i").collect()["i"].to_list() == list(range(201, 208))
    [(first, condition, _), (second, _, limit), (third, *_)] = asked
    assert (sorted(first), condition) == (["i", "u"], '"u" = 4')
    assert (second, limit) == (["t"], 7)
    assert third == ["i"]


def test_an_own_scan_opens_a_place_and_travels(tmp_path):
    lance_like.write_dataset({"a": [1, 2]}, tmp_path)
    lance_like.write_dataset({"a": [3]}, tmp_path, mode="append")
    assert scan_lance_like(tmp_path).select(pl.col("a").sum()).collect().item() == 6
    lazy = scan_lance_like(str(tmp_path), version=1)
    copy = pl.LazyFrame.deserialize(io.BytesIO(lazy.serialize()))
    assert copy.collect()["a"].to_list() == [1, 2]


def test_a_frame_is_made_of_the_stream_of_a_dataset(ds, frame):
    assert pl.DataFrame(ds).equals(frame)
    assert pl.DataFrame(ds.scanner(["i"], "i < 3"))["i"].to_list() == [0, 1, 2]


def test_a_lazy_scan_asks_for_the_columns_and_rows_that_it_needs(ds, monkeypatch):
    asked = []
    real = LanceDataset.scanner

    def scanner(self, columns=None, filter=None, *rest, **options):
        asked.append((columns, filter is not None))
        return real(self, columns, filter, *rest, **options)

    monkeypatch.setattr(LanceDataset, "scanner", scanner)
    found = pl.scan_pyarrow_dataset(ds).filter(pl.col("u") == 4).select("i").collect()
    assert found["i"].to_list() == [4, 204]
    [(columns, filtered)] = asked
    assert sorted(columns) == ["i", "u"]
    assert filtered


def test_aggregates_and_joins_over_a_lazy_scan(ds, frame):
    lazy = pl.scan_pyarrow_dataset(ds)
    grouped = lazy.group_by("word").agg(pl.len(), pl.col("i").sum()).sort("word", nulls_last=True).collect()
    assert grouped.equals(frame.group_by("word").agg(pl.len(), pl.col("i").sum()).sort("word", nulls_last=True))
    joined = lazy.join(lazy.select(pl.col("i") * 2, "t"), on="i").select(pl.len()).collect()
    assert joined.item() == ROWS // 2
    assert lazy.head(3).collect().equals(frame.head(3))


def test_the_whole_table_becomes_a_frame(ds, frame):
    assert pl.from_arrow(ds.to_table()).equals(frame)
    assert pl.from_arrow(ds.take([5, 0, 299])).equals(frame[[5, 0, 299]])


def test_frames_are_written_and_come_back(frame, uri="memory://polars-written"):
    made = lance_like.write_dataset(frame, uri, mode="overwrite")
    assert pl.from_arrow(made.to_table()).equals(frame)
    made.insert(frame.head(2).select("i", "t"))
    assert made.take([ROWS + 1], ["i", "t", "u"]).to_pylist() == [{"i": 1, "t": "name 1 é", "u": None}]


def test_a_lazy_frame_is_refused_with_what_to_do(frame):
    with pytest.raises(InvalidInput, match="LazyFrame"):
        lance_like.write_dataset(frame.lazy(), "memory://polars-lazy")
