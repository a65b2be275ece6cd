"""What reads and changes make of indexes: which rows come, what is read for them, what they are told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pytest

import lance_like
from lance_like import LanceDataset
from lance_like.index.questions import HasAny, OneOf, Range
from lance_like.index.scalar.btree import BTreeSearcher
from lance_like.io.observe import CountingStore, Counts, counted
from lance_like.table.indices import JsonPath
from lance_like.testing.values import ORDERED_TYPES, comparable, random_values, some_of
from tests.plain_index import attach, plain

__all__ = ["plain"]

ROWS = 4_000
LISTS = pa.list_(pa.field("element", pa.string()))


def rows(start: int = 0, count: int = ROWS) -> pa.Table:
    """Numbers of which each stands once, in no order; texts of which each stands often; lists of two of them."""
    numbers = np.arange(start, start + count)
    return pa.table(
        {
            "n": np.random.default_rng(start).permutation(numbers),
            "word": pa.array([f"w{i % 100}" for i in numbers]),
            "tags": pa.array(
                [[f"t{i % 50}", f"t{i % 7}"] for i in numbers], pa.list_(pa.field("element", pa.string()))
            ),
            "free": numbers % 10,
        }
    )


@pytest.fixture
def ds(plain, uri) -> LanceDataset:
    ds = lance_like.write_dataset(rows(), uri, max_rows_per_file=1_500)
    for column in ("n", "word", "tags"):
        attach(ds, column)
    return ds


@contextmanager
def reads(ds: LanceDataset) -> Iterator[Counts]:
    """What is read of data files meanwhile."""
    inner = ds._session.store
    store = ds._session.store = CountingStore(inner)
    try:
        with counted(store) as counts:
            yield counts
    finally:
        ds._session.store = inner


def same(ds: LanceDataset, condition: str, **options) -> list[int]:
    """The rows that pass, by number, which are those that pass without indexes."""
    found = ds.to_table(filter=condition, **options)
    assert found.equals(ds.to_table(filter=condition, use_scalar_index=False, **options))
    return found["n"].to_pylist()


def same_places(ds: LanceDataset, condition: str) -> list[int]:
    """Where the rows are that pass without indexes."""
    return ds.to_table(["_rowoffset"], filter=condition, use_scalar_index=False)["_rowoffset"].to_pylist()


def test_rows_come_in_scan_order(ds):
    assert len(same(ds, "word IN ('w3', 'w7')")) == 80
    assert same(ds, "n IN (5, 1000, 3999)") == [n for n in ds.to_table()["n"].to_pylist() if n in (5, 1000, 3999)]


def test_only_the_rows_found_are_read(ds):
    ds.to_table(filter="n = 77")
    with reads(ds) as counts:
        assert ds.to_table(["free"], filter="n = 78").num_rows == 1
    assert (counts.rounds, counts.ranges) == (1, 1) and counts.bytes_read <= 4096


def test_what_no_index_answers_is_asked_of_the_rows_found(ds, plain):
    same(ds, "word = 'w3' AND free = 3")
    with reads(ds) as counts:
        assert ds.to_table(["n"], filter="n < 100 AND n % 2 = 0 AND free >= 0").num_rows == 50
    assert counts.bytes_read < 8_000
    assert isinstance(plain.asked[-1], Range)


@pytest.mark.parametrize(
    ("rest", "column"),
    [
        *[(rest, "free") for rest in ("free >= 0", "free < 5", "free < 0", "_rowid >= 40", "free + n % 2 = 3")],
        ("tags[1] = 't3'", "tags"),
    ],
)
def test_few_narrow_rows_are_read_together_with_what_is_asked_of_them(ds, rest, column):
    condition = f"n < 100 AND {rest}"
    found = same(ds, condition, columns=["n", "free"])
    assert len(found) == {"free >= 0": 100, "free < 0": 0}.get(rest, len(found))
    with reads(ds) as asked:
        ds.to_table([column], filter="n < 100")
    with reads(ds) as both:
        ds.to_table(["n", "free"], filter=condition)
    assert both.rounds == asked.rounds


def test_rows_are_counted_without_reading_any(ds):
    with reads(ds) as counts:
        assert ds.count_rows("word = 'w3'") == 40
        assert ds.count_rows("n < 3000") == 3000
        assert ds.count_rows("word = 'w3' AND n < 2000") + ds.count_rows("word = 'w3' AND n >= 2000") == 40
    assert counts.ranges == 0


def test_an_index_in_order_counts_any_number_of_rows_without_finding_them(uri, monkeypatch):
    ds = lance_like.write_dataset(rows(), uri, max_rows_per_file=1_500)
    ds.create_scalar_index("n", "BTREE")
    with monkeypatch.context() as patched:
        patched.setattr(BTreeSearcher, "rows", None)
        with reads(ds) as counts:
            assert [ds.count_rows(f"n >= {n}") for n in (0, 500, 3999, 4000)] == [ROWS, ROWS - 500, 1, 0]
            assert ds.count_rows("n IN (5, 7, 7, 9000)") == 2
        assert counts.ranges == 0
    # What the index alone cannot count.
    assert ds.count_rows("n >= 500 AND free = 3") == sum(row % 10 == 3 for row in same_places(ds, "n >= 500"))
    ds.delete("n IN (600, 601)")
    ds.update({"n": "-1"}, where="n = 602")
    ds.insert(rows(ROWS, 10))
    assert ds.count_rows("n >= 500") == ROWS + 10 - 503
    assert ds.count_rows("n < 500") == 501


def test_conditions_of_many_rows_are_left_to_the_scan(ds, plain):
    assert len(same(ds, "n >= 500")) == ROWS - 500
    assert "Index" not in ds.scanner(filter="n >= 500").explain_plan()
    assert "Index" in ds.scanner(filter="n >= 3900").explain_plan()


def test_sets_of_several_indexes_are_joined(ds, plain):
    plain.asked.clear()
    assert len(same(ds, "(word = 'w3' OR word = 'w4') AND list_contains(tags, 't3') AND NOT n < 1000")) > 0
    assert {type(question) for question in plain.asked} >= {OneOf, HasAny}
    assert len(same(ds, "n = 5 OR list_has_all(tags, ['t3', 't6'])")) > 1


def test_few_rows_ask_no_further_index(ds, plain):
    plain.asked.clear()
    ds.to_table(filter="n = 5 AND word = 'w3'")
    assert len(plain.asked) == 1


def changed(ds: LanceDataset) -> LanceDataset:
    """Rows deleted, changed and appended since the indexes were made; then all moved."""
    ds.delete("n % 13 = 0")
    ds.update({"word": "'w3'"}, where="n % 101 = 5")
    ds.insert(rows(ROWS, 700))
    return ds


CONDITIONS = [
    "n = 5",
    "n BETWEEN 100 AND 130",
    "word = 'w3'",
    "word <> 'w3' AND n < 90",
    "word = 'w3' AND n < 2000",
    "list_contains(tags, 't3') OR n IN (13, 14, 4100)",
    "NOT (word = 'w3') AND list_has_any(tags, ['t3', 't4']) AND free = 3",
    "n IN (5, 4005) AND free % 2 = 1",
]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_rows_that_changed_since_are_found(condition, ds):
    same(changed(ds), condition)
    assert ds.count_rows(condition) == ds.count_rows(condition, use_scalar_index=False)
    ds.optimize.compact_files()
    same(ds, condition)
    attach(ds, "word", rows=slice(-700, None), mode="extend")
    same(ds, condition)
    assert ds.count_rows(condition) == ds.count_rows(condition, use_scalar_index=False)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_rows_that_no_index_knows_may_be_left_out(condition, ds):
    ds.insert(rows(ROWS, 700))
    everything = ds.to_table(filter=condition, use_scalar_index=False)
    known = ds.to_table(filter=condition, fast_search=True)
    assert known["n"].to_pylist() == [n for n in everything["n"].to_pylist() if n < ROWS]


def test_limit_and_offset_count_the_rows_that_pass(ds):
    for options in ({"limit": 3}, {"limit": 5, "offset": 2}, {"offset": 37}, {"offset": 60}, {"limit": 0}):
        same(ds, "word = 'w3'", **options)
        same(ds, "word = 'w3' AND free = 3", **options)


def test_a_limit_reads_no_more_rows_than_it_needs(ds):
    ds.to_table(filter="word = 'w3'")
    with reads(ds) as counts:
        assert ds.to_table(["n"], filter="n < 300", limit=2).num_rows == 2
    assert counts.ranges <= 2


def test_rows_found_come_in_any_order_that_is_asked_for(ds, plain):
    changed(ds)
    for options in ({}, {"limit": 7}, {"limit": 7, "offset": 5}):
        plain.asked.clear()
        found = ds.to_table(filter="word = 'w3'", order_by=["n"], **options)["n"].to_pylist()
        assert len(plain.asked) == 1
        offset = options.get("offset", 0)
        expected = sorted(n for n in ds.to_table(filter="word = 'w3'", use_scalar_index=False)["n"].to_pylist())
        assert found == expected[offset : offset + options.get("limit", len(expected))]


def test_all_that_a_scan_gives_comes_of_the_rows_found(ds):
    columns = {"double": "n * 2", "at": "_rowoffset"}
    options = {"with_row_id": True, "with_row_address": True}
    for condition in ("word = 'w3'", "word = 'w3' AND free = 3"):
        plainly = ds.to_table(filter=condition, use_scalar_index=False, **options)
        assert ds.to_table(filter=condition, **options).equals(plainly)
        assert ds.to_table(columns, filter=condition).equals(
            ds.to_table(columns, filter=condition, use_scalar_index=False)
        )
        assert ds.to_table([], filter=condition).num_rows == len(plainly)
    assert [len(batch) for batch in ds.to_batches(filter="word = 'w3'", batch_size=15)] == [15, 15, 10]


def test_deleted_rows_are_asked_for_without_indexes(ds, plain):
    ds.delete("n = 77")
    plain.asked.clear()
    found = ds.to_table(filter="n = 77", include_deleted_rows=True, with_row_id=True)
    assert found["_rowid"].to_pylist() == [None] and not plain.asked


def test_a_fragment_gives_its_own_rows(ds):
    changed(ds)
    for fragment in ds.get_fragments():
        expected = fragment.to_table(filter="word = 'w3'", use_scalar_index=False)
        assert fragment.to_table(filter="word = 'w3'").equals(expected)
        assert fragment.count_rows("word = 'w3'") == len(expected)
    chosen = ds.get_fragments()[::-2]
    assert ds.to_table(filter="word = 'w3'", fragments=chosen).equals(
        ds.to_table(filter="word = 'w3'", fragments=chosen, use_scalar_index=False)
    )


def test_explain_and_analyze_name_the_index(ds):
    ds.insert(rows(ROWS, 700))
    for text in (ds.scanner(filter="n = 5 AND free >= 0").explain_plan(), ds.scanner(filter="n = 5").analyze_plan()):
        assert "Index n_plain (PLAIN), one of 5: 1 found, 4,000 rows covered, 700 not\n" in text
    assert 'Residual: "free" >= 0\n' in ds.scanner(filter="n = 5 AND free >= 0").explain_plan()
    assert "Residual: none\n" in ds.scanner(filter="n = 5").analyze_plan(count_rows=True)
    assert "output_rows=1\n" in ds.scanner(filter="n = 5").analyze_plan()


def test_explain_and_analyze_say_which_index_is_not_worth_it(ds):
    for condition in ("n >= 0", "n = 5 AND n >= 0"):
        scan = ds.scanner(filter=condition)
        for text in (scan.explain_plan(), scan.analyze_plan()):
            assert "  Not asked: n_plain (PLAIN), >= 0: it finds too many rows, or few are left\n" in text
    assert "Not asked" not in ds.scanner(filter="n >= 0", use_scalar_index=False).explain_plan()
    assert "Not asked" not in ds.scanner(filter="n = 5").explain_plan()


def test_what_is_counted_of_a_scan_is_what_the_scan_does(uri):
    ds = lance_like.write_dataset(rows(0, ROWS), uri)
    attach(ds, "n", "BTREE")
    ds = lance_like.dataset(uri)
    scan = {"columns": ["free"], "filter": "n = 5", "batch_readahead": 0}
    told = []
    for _ in range(2):
        ds.to_table(**scan, scan_stats_callback=told.append)
    cold, warm = told
    assert warm.iops == 1 < cold.iops and warm.bytes_read < cold.bytes_read
    # The index was opened once, for all scans of the handle.
    assert "Index: " in (text := ds.scanner(**scan).analyze_plan())
    assert "ms, 0 rounds, 0 requests, 0 B read" in text.split("Index: ")[1].splitlines()[0]
    with reads(ds) as counts:
        ds.to_table(**scan)
    assert counts.rounds == warm.iops
    again = lance_like.dataset(uri)
    assert " 0 rounds" not in again.scanner(**scan).analyze_plan().split("Index: ")[1].splitlines()[0]


def test_delete_and_update_ask_indexes(ds, plain):
    before = ds.to_table(use_scalar_index=False)["n"].to_pylist()
    plain.asked.clear()
    with reads(ds) as counts:
        assert ds.delete("n IN (5, 6)") == {"num_deleted_rows": 2}
    assert counts.bytes_read < 8_000 and len(plain.asked) == 1
    assert ds.update({"free": "99"}, where="n IN (7, 6)") == {"num_rows_updated": 1}
    assert len(plain.asked) == 2
    assert sorted(ds.to_table(filter="free = 99")["n"].to_pylist()) == [7]
    assert sorted(ds.to_table()["n"].to_pylist()) == sorted(set(before) - {5, 6})


@pytest.mark.parametrize("use_index", [True, False])
def test_a_merge_asks_indexes_for_its_keys(use_index, ds, plain):
    changed(ds)
    plain.asked.clear()
    data = pa.table({"n": [7, 13, 4005, 9000], "free": [70, 130, 40, 90]})
    merge = ds.merge_insert("n").when_matched_update_all().when_not_matched_insert_all().use_index(use_index)
    with reads(ds) as counts:
        told = merge.execute(data)
    assert told == {"num_inserted_rows": 2, "num_updated_rows": 2, "num_deleted_rows": 0}
    assert bool(plain.asked) == use_index
    found = ds.to_table(["n", "free"], filter="n IN (7, 13, 4005, 9000)", use_scalar_index=False)
    assert sorted(zip(*found.to_pydict().values(), strict=True)) == [(7, 70), (13, 130), (4005, 40), (9000, 90)]
    assert counts.bytes_read < 60_000


def test_duckdb_is_handed_the_rows_found(ds, plain):
    duckdb = pytest.importorskip("duckdb")
    ds.to_table(filter="n = 5")
    plain.asked.clear()
    found = ds.sql("SELECT sum(n), count(*) FROM dataset WHERE n IN (5, 6) AND word LIKE 'w%'").to_batch_records()
    assert pa.Table.from_batches(found).to_pylist() == [{"sum(n)": 11, "count_star()": 2}]
    if hasattr(duckdb, "_sources"):
        assert plain.asked


@pytest.fixture
def documents(plain, uri) -> LanceDataset:
    texts = [f'{{"a": {{"b": "x{i % 50}"}}, "n": {i}}}' if i % 3 else None for i in range(900)]
    ds = lance_like.write_dataset(pa.table({"j": pa.array(texts), "n": range(900)}), uri)
    strings = pa.array([f"x{i % 50}" if i % 3 else None for i in range(900)])
    numbers = pa.array([i if i % 3 else None for i in range(900)])
    attach(ds, "j", values=strings, json=JsonPath("$.a.b", "string"))
    attach(ds, "j", values=numbers, json=JsonPath("$.n", "int64"))
    return ds


@pytest.mark.parametrize(
    "condition",
    [
        "j ->> '$.a.b' = 'x7'",
        "json_extract_string(j, '$.a.b') IN ('x7', 'x8') AND json_get_int(j, 'n') < 300",
        "CAST(j ->> '$.n' AS BIGINT) BETWEEN 4 AND 90",
        "json_get_int(j, 'n') <> 7 AND n < 10",
    ],
)
def test_values_in_json_are_found_by_indexes_of_their_paths(condition, documents, plain):
    found = same(documents, condition)
    assert found and plain.asked


def test_rows_without_a_value_pass_no_opposite(plain, uri):
    values = pa.array([i // 40 % 4 if i % 40 == 0 else None for i in range(4_000)])
    ds = lance_like.write_dataset(pa.table({"n": range(4_000), "few": values}), uri)
    attach(ds, "few")
    for condition, count in (("few <> 1", 75), ("few NOT IN (1, 2)", 50), ("NOT (few = 1 OR few > 2)", 50)):
        assert len(same(ds, condition)) == ds.count_rows(condition) == count
    assert len(same(ds, "few IS NOT NULL")) == 100
    assert plain.asked


@pytest.mark.slow
def test_a_point_query_reads_a_few_kib(uri):
    numbers = np.random.default_rng(0).permutation(200_000)
    ds = lance_like.write_dataset(pa.table({"n": numbers, "v": numbers % 7}), uri, max_rows_per_file=50_000)
    attach(ds, "n", "BTREE")
    ds = lance_like.dataset(uri)
    told = []
    assert ds.to_table(filter="n = 77_123", scan_stats_callback=told.append)["v"].to_pylist() == [77_123 % 7]
    # The fences and one leaf of the index, the ends of three files, a block of each column.
    assert told[0].bytes_read < 96 << 10 and told[0].iops <= 10
    told.clear()
    assert ds.to_table(["v"], filter="n BETWEEN 100 AND 300", scan_stats_callback=told.append).num_rows == 201
    assert told[0].bytes_read < 512 << 10


KEY_TYPES = [kind for kind in ORDERED_TYPES if kind != pa.float16() and not pa.types.is_nested(kind)]


@pytest.mark.parametrize("index", [None, "BTREE"])
@pytest.mark.parametrize("kind", KEY_TYPES, ids=str)
def test_keys_of_every_type_are_merged(kind, index):
    values = random_values(kind, 60, np.random.default_rng(1), nulls=0)
    first = {value: place for place, value in reversed(list(enumerate(comparable(values))))}
    keys = some_of(values, np.array(sorted(first.values())))
    count = len(keys)
    old, new = keys[: count // 2 + 1], keys[count // 3 :]
    ds = lance_like.write_dataset(pa.table({"k": old, "n": range(len(old))}), "memory://")
    if index is not None:
        ds.create_scalar_index("k", index)
    data = pa.table({"k": new, "n": range(100, 100 + len(new))})
    told = ds.merge_insert("k").when_matched_update_all().when_not_matched_insert_all().execute(data)
    assert told["num_updated_rows"] == len(old) - count // 3
    assert sorted(ds.to_table()["n"].to_pylist()) == [*range(count // 3), *range(100, 100 + len(new))]
