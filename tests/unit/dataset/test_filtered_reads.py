"""Filters on the stored form give the rows that pass, and read no more than they must."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import lance_like
from lance_like.dataset import scanner
from lance_like.dataset.handle import LanceDataset
from lance_like.errors import NotFound
from lance_like.file.carry import carried_field
from lance_like.io.observe import CountingStore, counted
from lance_like.query import evaluate, windows
from lance_like.query.evaluate import prepare, select
from lance_like.query.expr import Expr
from lance_like.query.plan import Span, bridged, without_crumbs

ROWS = 30_000
RNG = np.random.default_rng(11)


def table_of(rows: int) -> pa.Table:
    """A column for each way in which pages are stored, nulls and NaN among them."""
    number = np.arange(rows)
    few = RNG.integers(0, 30, rows)
    prices = RNG.integers(100, 9_999, rows) / 100
    prices[::97] = np.nan
    text = pa.array([f"name {value:06d}" for value in RNG.permutation(rows)])
    return pa.table(
        {
            "id": number * 3,
            "packed": pa.array(RNG.integers(-1000, 1000, rows), mask=RNG.random(rows) < 0.1),
            "small": RNG.integers(0, 200, rows).astype(np.uint8),
            "price": pa.array(prices, mask=RNG.random(rows) < 0.1),
            "same": pa.array(np.full(rows, 7)),
            "runs": np.repeat(RNG.integers(0, 10**9, rows // 100), 100),
            "name": text,
            "state": pa.array([f"state {value}" for value in few], mask=few == 4),
            "day": pa.array(number.astype(np.int32) // 50).cast(pa.date32()),
            "at": pa.array(number * 10**9).cast(pa.timestamp("us", tz="UTC")),
            "kind": pa.array([f"kind {value}" for value in few]).dictionary_encode(),
            "place": pa.array([{"x": int(value), "y": None} for value in few]),
            "yes": few > 3,
        }
    )


TABLE = table_of(ROWS)
FILTERS = [
    "id >= 3000 AND id < 6000",
    "packed BETWEEN -10 AND 400",
    "packed = 5 OR packed IS NULL",
    "packed <> 5",
    "NOT (packed > 100)",
    "small > 100 AND packed < 0 AND price > 50",
    "price >= 99",
    "price <= 2 OR price IS NULL",
    "same = 7 AND packed > 990",
    "same > 7",
    "runs < 500000000",
    "name LIKE 'name 0012%'",
    "name = 'name 000123' OR state = 'state 3'",
    "state IN ('state 3', 'state 29')",
    "state IS NULL AND id < 9000",
    "state <> 'state 3' AND state NOT LIKE 'state 1%'",
    "day = DATE '1970-03-04'",
    "\"at\" < TIMESTAMPTZ '1970-01-01 01:00:00+00' AND state = 'state 1'",
    "kind = 'kind 3' AND packed > 0",
    "place.x = 3 AND yes",
    "yes AND packed % 7 = 3 AND id > 60000",
    "length(name) = 11 AND id IN (3, 9, 33, 88)",
    "_rowid < 100 AND packed > 0",
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> lance_like.LanceDataset:
    """Two fragments, rows deleted from both."""
    path = tmp_path_factory.mktemp("filtered")
    dataset = lance_like.write_dataset(TABLE, path, max_rows_per_file=20_000)
    dataset.delete("id % 1000 = 0")
    return dataset


def expected_rows(filter: str) -> pa.Table:
    """By one evaluation over the whole table, no statistics used."""
    live = np.flatnonzero(TABLE["id"].to_numpy() % 1000 != 0)
    table = TABLE.append_column("_rowid", pa.array(np.arange(ROWS).astype(np.uint64))).take(pa.array(live))
    batch = table.combine_chunks().to_batches()[0]
    condition = prepare(filter, pa.schema([carried_field(field) for field in batch.schema]))
    assert condition is not None
    return table.take(pa.array(select(condition, batch))).drop_columns(["_rowid"])


@pytest.mark.parametrize("filter", FILTERS)
def test_a_filter_gives_the_rows_that_pass(dataset: lance_like.LanceDataset, filter: str) -> None:
    expected = expected_rows(filter)
    assert dataset.count_rows(filter) == len(expected)
    found = dataset.to_table(filter=filter)
    assert found["id"].to_pylist() == expected["id"].to_pylist()
    assert found.drop_columns(["price"]).equals(expected.drop_columns(["price"]))
    assert str(found["price"].to_pylist()) == str(expected["price"].to_pylist())


@pytest.mark.parametrize("filter", FILTERS)
def test_what_is_skipped_holds_no_row_that_passes(dataset: lance_like.LanceDataset, filter: str) -> None:
    """Rows that the plan does not read are not needed; what passes untested passes."""
    plan = dataset.scanner(["id"], filter=filter).explain_plan()
    tested, passed = (
        number(plan, rf"Rows: .* skipped, {pattern}") for pattern in (r"([\d,]+) tested", r".* ([\d,]+) pass")
    )
    assert len(expected_rows(filter)) <= tested + passed


def counting(uri: str, table: pa.Table) -> tuple[CountingStore, lance_like.LanceDataset]:
    """A table just opened, and the store that counts its reads."""
    written = lance_like.write_dataset(table, uri, max_rows_per_file=len(table))
    store = CountingStore(written._store)
    return store, LanceDataset(store, written._manifest)


def number(text: str, pattern: str) -> int:
    found = re.search(pattern, text)
    assert found, (pattern, text)
    return int(found[1].replace(",", ""))


def test_a_point_filter_reads_under_a_hundredth_of_a_sorted_column(uri: str) -> None:
    rows = 2_000_000
    keys = np.cumsum(np.random.default_rng(5).integers(1, 20, rows))
    store, dataset = counting(uri, pa.table({"key": keys}))
    with counted(store) as counts:
        assert dataset.to_table(filter=f"key = {keys[1_234_567]}")["key"].to_pylist() == [keys[1_234_567]]
    assert counts.bytes_read < 0.01 * 8 * rows
    column = number(dataset.scanner(["key"]).explain_plan(), r"Column key: .* of (\d+)\.\d MiB")
    with counted(store) as counts:
        assert dataset.count_rows(f"key = {keys[555_555]}") == 1
    assert counts.bytes_read < 0.01 * column * 2**20


def test_an_analysis_says_what_the_store_was_asked_for(uri: str) -> None:
    store, dataset = counting(uri, TABLE)
    for filter in (None, "packed BETWEEN -10 AND 400", "id < 3000", "state = 'state 3' AND price > 20"):
        scanner = dataset.scanner(["name", "price"], filter=filter)
        wanted = scanner.to_table().num_rows  # and opens what is kept open
        with counted(store) as counts:
            text = scanner.analyze_plan()
        assert number(text, r"output_rows=([\d,]+)") == wanted
        requests = sum(int(found.replace(",", "")) for found in re.findall(r"([\d,]+) requests", text))
        assert requests == counts.ranges


def test_columns_are_read_only_for_rows_that_passed_those_before(uri: str) -> None:
    dataset = lance_like.write_dataset(TABLE, uri)
    scanner = dataset.scanner(["price"], filter="name LIKE '%9' AND runs = 500000001")
    text = scanner.analyze_plan()
    assert "output_rows=0" in text
    assert "Column runs: 1 of" in text
    assert "Column name: 0 of" in text
    assert "Column price: 0 of" in text


@pytest.mark.parametrize("opaque", ["random() < 2", "length(name) > 0", "id % 2 < 2"])
def test_what_statistics_cannot_judge_leaves_the_rest_its_zones(opaque: str, tmp_path: Path) -> None:
    dataset = lance_like.write_dataset(TABLE, tmp_path)
    assert "3 of 4 skipped, 1 tested" in dataset.scanner(["id"], filter=f"{opaque} AND id < 300").explain_plan()
    either = dataset.scanner(["id"], filter=f"({opaque} AND id < 300) OR id > 89900").explain_plan()
    assert "2 of 4 skipped, 2 tested" in either


def test_a_limit_ends_what_is_read(uri: str) -> None:
    rows = 2_000_000
    dataset = lance_like.write_dataset(pa.table({"n": np.random.default_rng(1).permutation(rows)}), uri)
    all_of_it, some = (
        number(dataset.scanner(["n"], filter="n % 2 = 0", limit=limit).analyze_plan(), r"Rows: .*, ([\d,]+) tested")
        for limit in (None, 10)
    )
    assert all_of_it == rows
    assert some < rows


def test_many_short_spans_are_read_as_few() -> None:
    spans = [Span(start, start + 10, check=True) for start in range(0, 3_000, 20)]
    assert without_crumbs(spans, 10) == [Span(0, 2_990, check=True)]
    assert without_crumbs(spans[:16], 10) == spans[:16]
    apart = [*spans, Span(10_000, 10_010, check=True), Span(10_010, 20_000, check=False)]
    assert without_crumbs(apart, 10) == [Span(0, 2_990, check=True), *apart[-2:]]


def test_what_lies_between_spans_is_asked_where_it_is_little() -> None:
    def spans(*ends: int, checked: str) -> list[Span]:
        """Spans from one end to the next: to be checked, of rows that all pass, or left out."""
        places = zip([0, *ends], ends, checked, strict=False)
        return [Span(start, end, check=how == "?") for start, end, how in places if how != "-"]

    half = 500_000
    few = half + 100_000
    assert bridged(spans(half, few, 2 * half, checked="?-?")) == [Span(0, 2 * half, check=True)]
    assert bridged(spans(half, few, 2 * half, checked="?+?")) == [Span(0, 2 * half, check=True)]
    for kept in (
        spans(half, half + 300_000, 3 * half, checked="?-?"),  # too many rows between
        spans(10_000, 40_000, 70_000, checked="?-?"),  # as many as are to be checked
        spans(half, few, 2 * half, checked="+-?"),
        spans(half, few, 2 * half, checked="?-+"),
        spans(half, checked="?"),
        [],
    ):
        assert bridged(kept) == kept


def test_spans_that_are_bridged_give_the_same_rows(uri: str) -> None:
    rng = np.random.default_rng(5)
    key = np.concatenate([rng.permutation(np.arange(low, low + 90_000)) for low in (0, 500_000, 30_000, 0, 900_000, 9)])
    dataset = lance_like.write_dataset(pa.table({"key": key}), uri)
    dataset.delete("key % 7 = 0")
    left = key[key % 7 != 0]
    for condition, flags in {
        "key < 60000": left < 60_000,
        "key >= 60000": left >= 60_000,
        "key < 600000 and key > 9": (left < 600_000) & (left > 9),
    }.items():
        assert dataset.count_rows(condition) == flags.sum(), condition
        assert (dataset.to_table(filter=condition)["key"].to_numpy() == left[flags]).all(), condition


def test_a_scan_tells_what_it_read(tmp_path):
    lance_like.write_dataset({"a": range(100_000), "b": range(100_000)}, tmp_path, max_rows_per_file=50_000)
    ds, told = lance_like.dataset(tmp_path), []
    ds.to_table(["a"], filter="a < 10", scan_stats_callback=told.append)
    ds.to_table(["a"], filter="a < -1", scan_stats_callback=told.append)
    ds.to_table(["a", "b"], order_by=["b"], limit=3, scan_stats_callback=told.append)
    few, none, more = told
    assert few.requests >= few.iops > 0
    assert none.bytes_read == 0
    assert few.bytes_read > 0 and more.bytes_read > 0
    batches = ds.scanner(batch_size=10, scan_stats_callback=told.append).to_batches()
    next(batches)
    assert len(told) == 3
    batches.close()
    assert len(told) == 4


def test_a_name_between_double_quotes_may_be_meant_as_a_text() -> None:
    ds = lance_like.write_dataset({"é": ["x"]}, "memory://")
    with pytest.raises(NotFound, match=r"single quotes\n  é = 'y' or é = \"x\"\n {17}\^"):
        ds.to_table(filter="é = 'y' or é = \"x\"")
    with pytest.raises(NotFound) as caught:
        ds.to_table(filter="x = 'x'")
    assert "quotes" not in str(caught.value)


def test_wide_rows_are_judged_some_at_a_time_for_a_whole_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []

    def watched(condition: Expr, batch: pa.RecordBatch) -> np.ndarray:
        rows.append(len(batch))
        return evaluate.passing(condition, batch)

    monkeypatch.setattr(windows, "passing", watched)
    monkeypatch.setitem(scanner._WHOLE, "batch_nbytes", 1 << 20)
    monkeypatch.setattr(windows, "WINDOW_NBYTES", 1 << 20)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(RNG.random(256 * 8_000, dtype=np.float32)), 256)
    ds = lance_like.write_dataset(pa.table({"id": np.arange(8_000), "v": vectors}), tmp_path / "t")
    assert ds.to_table(["id"], filter="v[1] + id >= 4000").num_rows == 4_000
    assert sum(rows) == 8_000
    assert max(rows) <= (1 << 20) // (4 * 256)


@pytest.mark.parametrize(("cell", "share"), [(0, 1 / 100), (400, 1 / 10)])
def test_rows_are_taken_from_whole_pages_where_nearly_every_block_holds_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cell: int, share: float
) -> None:
    rows = 200_000
    table = pa.table({"id": RNG.permutation(rows), "n": RNG.integers(0, 1 << 30, rows)})
    if cell:
        table = table.append_column(
            "v", pa.FixedSizeListArray.from_arrays(pa.array(RNG.random(rows * cell // 8)), cell // 8)
        )
    ds = lance_like.write_dataset(table, tmp_path / "t")
    taken: list[int] = []
    take = windows.reading_rows

    def watched(session: Any, projection: Any, asks: Any) -> Any:
        taken.extend(len(offsets) for _, offsets in asks)
        return take(session, projection, asks)

    monkeypatch.setattr(windows, "reading_rows", watched)
    for least, few in [(share, False), (share / 4, True)]:
        taken.clear()
        found = ds.to_table(filter=f"id < {int(rows * least)}")
        expected = table.filter(pc.field("id") < int(rows * least))
        assert found.sort_by("id").equals(expected.sort_by("id"))
        assert bool(taken) is few


def test_wide_rows_are_read_a_window_at_a_time_however_few_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, cell = 16_000, 4_096
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(RNG.random(rows * cell // 8)), cell // 8)
    table = pa.table({"id": RNG.permutation(rows), "v": vectors})
    ds = lance_like.write_dataset(table, tmp_path / "t")
    spans: list[int] = []
    read = windows.read_parts

    def watched(columns: Any, kinds: Any, start: int, end: int, some: Any = None) -> Any:
        spans.append(end - start)
        return read(columns, kinds, start, end, some)

    monkeypatch.setattr(windows, "read_parts", watched)
    found = pa.Table.from_batches(ds.to_batches(filter=f"id < {rows // 8}", batch_size=1_024))
    assert found.sort_by("id").equals(table.filter(pc.field("id") < rows // 8).sort_by("id"))
    assert spans and max(spans) * cell <= windows.WINDOW_NBYTES
