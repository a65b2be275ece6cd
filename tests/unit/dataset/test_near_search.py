"""Rows near to vectors: with an index and without, before and after every change, the filter first."""

from __future__ import annotations

import pickle
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import lance_like
from lance_like import LanceDataset
from lance_like.dataset import ScannerBuilder
from lance_like.errors import InvalidInput, NotFound, WrongType
from lance_like.index.registry import INDEXES
from lance_like.index.vector import exact
from lance_like.io.observe import CountingStore, counted
from lance_like.query import MatchQuery
from lance_like.query import near as near_module
from lance_like.query.order import ColumnOrdering
from lance_like.rerankers import RRFReranker
from tests.unit.dataset.rounded_index import Rounded, add_index

DIMENSION = 6
RNG = np.random.default_rng(8)
VECTORS = RNG.standard_normal((300, DIMENSION)).astype(np.float32)
QUERY = VECTORS[7] + np.float32(0.05)


def table(rows: range) -> pa.Table:
    """Vectors with their numbers and a text."""
    values = pa.array([VECTORS[i % len(VECTORS)] + np.float32(i // len(VECTORS)) for i in rows], vector_type())
    return pa.table({"i": pa.array(rows, pa.int64()), "t": [f"t{i % 3}" for i in rows], "v": values})


def vector_type() -> pa.DataType:
    return pa.list_(pa.float32(), DIMENSION)


BYTES = pa.schema([("i", pa.int64()), ("v", pa.list_(pa.uint8(), 4))])


@pytest.fixture
def dataset(uri: str) -> LanceDataset:
    return lance_like.write_dataset(table(range(300)), uri, max_rows_per_file=80)


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Rounded:
    made = Rounded()
    monkeypatch.setitem(INDEXES._loaded, "ROUNDED", made)
    return made


def near(q: Any = QUERY, k: int | None = 5, **options: Any) -> dict[str, Any]:
    return {"column": "v", "q": q, **({} if k is None else {"k": k}), **options}


def nearest_rows(found: pa.Table, q: np.ndarray = QUERY, k: int = 5, metric: str = "l2") -> list[int]:
    """The numbers of the rows of a table that are nearest, by their definition."""
    some = found.filter(found["v"].is_valid())
    vectors = np.array(some["v"].to_pylist(), np.float64).reshape(-1, DIMENSION)
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(q)
    distances = {
        "l2": ((vectors - q) ** 2).sum(axis=1),
        "cosine": 1 - vectors @ q / lengths,
        "dot": 1 - vectors @ q,
    }[metric]
    return some["i"].to_numpy()[np.argsort(distances, kind="stable")[:k]].tolist()


def found(dataset: LanceDataset, **options: Any) -> list[int]:
    return dataset.to_table(**{"columns": ["i"], "nearest": near(), **options})["i"].to_pylist()


@pytest.mark.parametrize("metric", ["l2", "cosine", "dot"])
@pytest.mark.parametrize("indexed", [False, True])
def test_the_nearest_rows_come_with_their_distances(
    dataset: LanceDataset, plugin: Rounded, metric: str, indexed: bool
) -> None:
    if indexed:
        add_index(dataset, "v", plugin, metric=metric)
    answer = dataset.to_table(nearest=near(metric=metric, refine_factor=20))
    assert answer.schema.names == ["i", "t", "v", "_distance"]
    assert answer.schema.field("_distance").type == pa.float32()
    assert answer["i"].to_pylist() == nearest_rows(dataset.to_table(), metric=metric)
    assert answer["_distance"].to_pylist() == sorted(answer["_distance"].to_pylist())
    assert bool(plugin.asked) is indexed


@pytest.mark.parametrize("few", [0, 50, 1000])
@pytest.mark.parametrize("condition", ["i < 0", "i = 299", "i % 30 = 4", "i >= 100 and i < 200", "i >= 0"])
def test_a_filter_takes_nothing_away_from_the_answer(
    dataset: LanceDataset, plugin: Rounded, condition: str, few: int
) -> None:
    plugin.few = few
    expected = nearest_rows(dataset.to_table(filter=condition))
    assert found(dataset, filter=condition) == expected
    add_index(dataset, "v", plugin)
    assert found(dataset, filter=condition, nearest=near(refine_factor=20)) == expected
    passing = dataset.count_rows(condition)
    assert plugin.asked == ([(100, passing)] if passing > max(few, 5) else [])


@pytest.mark.parametrize("condition", ["i < 0", "i = 299", "i < 40", "i >= 100 and t = 't1'", "i >= 3 or t = 't2'"])
def test_a_filter_is_answered_by_its_own_index(dataset: LanceDataset, plugin: Rounded, condition: str) -> None:
    add_index(dataset, "v", plugin)
    dataset.create_scalar_index("i", "BTREE")
    for change in (None, "delete", "insert", "update"):
        if change == "delete":
            dataset.delete("i % 11 = 3")
        elif change == "insert":
            dataset.insert(table(range(300, 330)))
        elif change == "update":
            dataset.update({"i": "i + 1", "v": "v"}, "i = 20")
        expected = nearest_rows(dataset.to_table(filter=condition, use_scalar_index=False))
        assert found(dataset, filter=condition, nearest=near(refine_factor=60)) == expected
        assert found(dataset, filter=condition, nearest=near(use_index=False)) == expected


def test_an_index_that_finds_too_few_is_not_the_last_word(dataset: LanceDataset, plugin: Rounded) -> None:
    plugin.most = 2
    add_index(dataset, "v", plugin)
    assert found(dataset, filter="i >= 20") == nearest_rows(dataset.to_table(filter="i >= 20"))


def test_rows_found_may_be_judged_afterwards(dataset: LanceDataset) -> None:
    best = nearest_rows(dataset.to_table())
    assert found(dataset, filter="i % 2 = 1", prefilter=False) == [i for i in best if i % 2]


@pytest.mark.parametrize("prefilter", [True, False])
def test_a_filter_may_speak_of_distances(dataset: LanceDataset, prefilter: bool) -> None:
    answer = dataset.to_table(nearest=near(k=50))
    limit = answer["_distance"][9].as_py()
    condition = f"_distance < {limit} and i in ({', '.join(map(str, range(300)))}) and t in ('t0', 't1', 't2')"
    kept = dataset.to_table(nearest=near(k=50), filter=condition, prefilter=prefilter)
    assert kept["i"].to_pylist() == answer["i"].to_pylist()[:9]


def test_changes_are_seen_at_once(dataset: LanceDataset, plugin: Rounded) -> None:
    add_index(dataset, "v", plugin)
    [best, second] = found(dataset, nearest=near(k=2, refine_factor=20))
    dataset.insert(table(range(300, 340)))
    dataset.insert(pa.table({"i": [1000], "t": ["new"], "v": pa.array([QUERY], vector_type())}))
    assert found(dataset, nearest=near(k=2)) == [1000, best]
    assert found(dataset, nearest=near(k=2), fast_search=True) == [best, second]
    dataset.delete(f"i = {best}")
    assert found(dataset, nearest=near(k=2)) == [1000, second]
    dataset.update({"v": "[9, 9, 9, 9, 9, 9]"}, "i = 1000")
    far = np.full(DIMENSION, 9, np.float32)
    assert found(dataset, nearest=near(far, k=1)) == [1000]
    dataset.update({"v": "[9.1, 9, 9, 9, 9, 9]"}, f"i = {second}")
    assert found(dataset, nearest=near(far, k=2)) == [1000, second]
    assert second not in found(dataset, nearest=near(k=20))
    dataset.optimize.compact_files()
    assert found(dataset, nearest=near(k=9, refine_factor=30)) == nearest_rows(dataset.to_table(), k=9)
    assert plugin.asked[-1] == (270, 298)


def test_a_batch_of_queries_gives_each_its_rows(dataset: LanceDataset, plugin: Rounded) -> None:
    queries = VECTORS[:3]
    for _ in range(2):
        answer = dataset.to_table(columns=["i"], nearest=near(queries, k=2, refine_factor=30), filter="i >= 1")
        assert answer.schema.names == ["query_index", "i", "_distance"]
        assert answer.schema.field("query_index") == pa.field("query_index", pa.int32(), nullable=False)
        assert answer["query_index"].to_pylist() == [0, 0, 1, 1, 2, 2]
        rows = dataset.to_table(filter="i >= 1")
        expected = [i for query in queries for i in nearest_rows(rows, query, 2)]
        assert answer["i"].to_pylist() == expected
        if not dataset._manifest.indices:
            add_index(dataset, "v", plugin)
    assert (
        found(dataset, nearest=near(queries, k=2, refine_factor=30), limit=3, offset=1)
        == [i for query in queries for i in nearest_rows(dataset.to_table(), query, 2)][1:4]
    )
    one = dataset.to_table(nearest=near(queries[:1], k=2))
    assert one["query_index"].to_pylist() == [0, 0]


def test_the_limit_of_a_search_is_of_each_vector_of_a_batch(dataset: LanceDataset) -> None:
    search = dataset.search(VECTORS[:2]).limit(3).select(["i"])
    answer = search.to_table()
    assert answer["query_index"].to_pylist() == [0, 0, 0, 1, 1, 1]
    rows = dataset.to_table()
    assert answer["i"].to_pylist() == [i for query in VECTORS[:2] for i in nearest_rows(rows, query, 3)]
    assert dataset.search(VECTORS[:2]).limit(0).to_table().num_rows == 0
    with pytest.raises(InvalidInput, match="offset is of what one vector finds"):
        search.offset(1).to_table()
    with pytest.raises(InvalidInput, match="re-ranker orders what one vector finds"):
        dataset.search(VECTORS[:2]).rerank(RRFReranker()).to_table()


@pytest.mark.parametrize("q", [QUERY.tolist(), pa.array(QUERY), QUERY.astype(np.float64), pa.scalar(QUERY.tolist())])
def test_a_query_has_many_forms(dataset: LanceDataset, q: Any) -> None:
    assert found(dataset, nearest=near(q)) == nearest_rows(dataset.to_table())


def test_limits_are_of_the_rows_found(dataset: LanceDataset) -> None:
    best = nearest_rows(dataset.to_table(), k=20)
    assert found(dataset, nearest=near(k=None)) == best[:10]
    assert found(dataset, nearest=near(k=None), limit=12, offset=3) == best[3:15]
    assert found(dataset, limit=2, offset=4) == best[4:5]
    assert found(dataset, limit=0) == []
    assert found(dataset, nearest=near(k=1000)) == nearest_rows(dataset.to_table(), k=1000)
    assert dataset.scanner(nearest=near()).count_rows() == 5
    assert dataset.scanner(["i"], nearest=near()).head(3)["i"].to_pylist() == best[:3]
    assert [len(batch) for batch in dataset.to_batches(nearest=near(), batch_size=2)] == [2, 2, 1]


def test_columns_are_as_asked(dataset: LanceDataset) -> None:
    answer = dataset.to_table(columns={"d": "_distance * 2", "j": "i + 1"}, nearest=near(), with_row_id=True)
    assert answer.schema.names == ["d", "j", "_distance", "_rowid"]
    assert answer["d"].to_pylist() == [2 * d for d in answer["_distance"].to_pylist()]
    assert dataset.to_table(columns=["_distance", "t"], nearest=near()).schema.names == ["_distance", "t"]
    quiet = {"disable_scoring_autoprojection": True, "nearest": near()}
    assert dataset.to_table(columns=["t"], **quiet).schema.names == ["t"]
    assert dataset.to_table(**quiet).schema.names == ["i", "t", "v", "_distance"]
    assert dataset.to_table(columns=[], nearest=near()).schema.names == ["_distance"]
    assert dataset.to_table(columns=["_rowaddr"], nearest=near())["_rowaddr"].to_pylist()[0] == 7
    assert dataset.to_table(columns={"one": "1"}, nearest=near())["one"].to_pylist() == [1] * 5
    assert dataset.scanner(["i"], nearest=near()).projected_schema.names == ["i", "_distance"]


def test_rows_found_come_in_another_order(dataset: LanceDataset) -> None:
    best = nearest_rows(dataset.to_table())
    assert found(dataset, order_by=["i"]) == sorted(best)
    assert found(dataset, order_by=[ColumnOrdering("_distance", ascending=False)]) == best[::-1]
    assert found(dataset, order_by=["t", "_distance"]) == sorted(best, key=lambda i: (i % 3, best.index(i)))


def test_distances_may_be_bounded(dataset: LanceDataset, plugin: Rounded) -> None:
    answer = dataset.to_table(nearest=near(k=300))
    low, high = answer["_distance"][3].as_py(), answer["_distance"][11].as_py()
    for _ in range(2):
        for bounds, rows in (((low, high), slice(3, 11)), ((None, high), slice(0, 11)), ((low, None), slice(3, 300))):
            options = near(k=300, distance_range=bounds)
            assert found(dataset, nearest=options) == answer["i"].to_pylist()[rows]
        if not dataset._manifest.indices:
            add_index(dataset, "v", plugin)


@pytest.mark.parametrize("kind", ["IVF_FLAT", "IVF_PQ"])
def test_distances_are_bounded_in_every_index(dataset: LanceDataset, kind: str) -> None:
    dataset.create_index("v", kind, num_partitions=2)
    answer = dataset.to_table(nearest=near(k=300, use_index=False))
    low, high = answer["_distance"][3].as_py(), answer["_distance"][11].as_py()
    for bounds, rows in (((None, high), slice(0, 11)), ((low, high), slice(3, 11)), ((None, 0.0), slice(0, 0))):
        options = near(k=300, distance_range=bounds, nprobes=2, refine_factor=None if kind == "IVF_FLAT" else 100)
        assert found(dataset, nearest=options) == answer["i"].to_pylist()[rows]


def test_rows_without_a_vector_are_near_to_nothing(uri: str, plugin: Rounded) -> None:
    values = [None, [1.0] * DIMENSION, None, [2.0] * DIMENSION, [float("nan")] * DIMENSION]
    data = pa.table({"i": range(5), "v": pa.array(values, vector_type())})
    dataset = lance_like.write_dataset(data, uri)
    for _ in range(2):
        assert found(dataset, nearest=near(k=5)) == [1, 3]
        if not dataset._manifest.indices:
            add_index(dataset, "v", plugin)


def test_an_empty_table_has_no_near_rows(uri: str) -> None:
    dataset = lance_like.write_dataset(table(range(0)), uri)
    assert dataset.to_table(nearest=near()).schema.names == ["i", "t", "v", "_distance"]
    assert found(dataset) == [] and found(dataset, nearest=near(VECTORS[:2])) == []


def test_the_index_of_the_metric_is_asked(dataset: LanceDataset, plugin: Rounded) -> None:
    add_index(dataset, "v", plugin, "by_angle", metric="cosine")
    rows = dataset.to_table()
    assert found(dataset, nearest=near(refine_factor=30)) == nearest_rows(rows, metric="cosine")
    assert len(plugin.asked) == 1
    assert found(dataset, nearest=near(metric="l2")) == nearest_rows(rows)
    assert found(dataset, nearest=near(use_index=False, metric="cosine")) == nearest_rows(rows, metric="cosine")
    assert len(plugin.asked) == 1
    add_index(dataset, "v", plugin, "by_length", metric="l2")
    assert found(dataset, nearest=near(index_name="by_length", refine_factor=30)) == nearest_rows(rows)
    with pytest.raises(NotFound, match="by_angle"):
        found(dataset, nearest=near(index_name="other"))
    with pytest.raises(InvalidInput, match="cosine"):
        found(dataset, nearest=near(index_name="by_angle", metric="l2"))


def test_bytes_are_compared_by_their_bits_unless_a_metric_is_named(uri: str) -> None:
    bits = np.random.default_rng(3).integers(0, 256, (50, 4), np.uint8)
    ds = lance_like.write_dataset({"i": np.arange(50), "v": list(bits)}, uri, schema=BYTES)
    query = near(bits[8], 50)
    differing = np.unpackbits(bits ^ bits[8], axis=1).sum(axis=1)
    assert ds.to_table(nearest=query)["_distance"].to_pylist() == sorted(differing.tolist())
    ds.create_index("v", "IVF_FLAT", metric="l2")
    assert found(ds, nearest=query) == found(ds, nearest={**query, "metric": "l2"})


def test_a_search_looks_at_some_fragments_alone(dataset: LanceDataset, plugin: Rounded) -> None:
    fragments = dataset.get_fragments()[1:3]
    expected = nearest_rows(dataset.to_table(fragments=fragments))
    assert found(dataset, fragments=fragments) == expected
    assert fragments[0].to_table(columns=["i"], nearest=near())["i"].to_pylist() == nearest_rows(
        fragments[0].to_table()
    )
    add_index(dataset, "v", plugin)
    assert found(dataset, fragments=dataset.get_fragments()[1:3], nearest=near(refine_factor=30)) == expected


def parted(dataset: LanceDataset) -> list[str]:
    """Give the vectors an index of a segment for each fragment but the last. Returns the uuids."""
    apart = [
        dataset.create_index_uncommitted("v", "IVF_FLAT", num_partitions=1, fragment_ids=[i])
        for i in dataset.fragment_ids()[:-1]
    ]
    dataset.commit_existing_index_segments("v_idx", "v", apart)
    return [segment.uuid for segment in apart]


def test_a_search_asks_some_segments_alone(dataset: LanceDataset) -> None:
    first, second, _ = parted(dataset)
    held = [nearest_rows(fragment.to_table()) for fragment in dataset.get_fragments()]
    assert found(dataset, nearest=near(), index_segments=[first]) == held[0]
    assert found(dataset, nearest=near(), index_segments=[uuid.UUID(second)]) == held[1]
    both = nearest_rows(dataset.to_table(fragments=dataset.get_fragments()[:2]))
    assert found(dataset, nearest=near(), index_segments=(second, first)) == both
    assert found(dataset, nearest=near(), index_segments=[]) == []
    few = found(dataset, nearest=near(k=300), filter="i >= 75 and i < 85", index_segments=[second])
    assert sorted(few) == list(range(80, 85))
    built = ScannerBuilder(dataset).nearest(**near()).with_index_segments([first])
    assert built.to_scanner().to_table()["i"].to_pylist() == held[0]


def test_segments_and_fragments_together_look_at_all_rows_of_these(dataset: LanceDataset) -> None:
    first, *_ = parted(dataset)
    last = dataset.get_fragments()[1:]
    expected = nearest_rows(dataset.to_table(fragments=last))
    assert found(dataset, nearest=near(), fragments=last, index_segments=[first]) == expected


def test_only_segments_of_an_index_that_is_asked_can_be_named(dataset: LanceDataset) -> None:
    with pytest.raises(InvalidInput, match="asks no index"):
        found(dataset, nearest=near(), index_segments=["0" * 32])
    first, *_ = parted(dataset)
    with pytest.raises(NotFound, match="'v_idx' has no segment '0000"):
        found(dataset, nearest=near(), index_segments=["0" * 32])
    for wrong in (first, 1, [1], ["zz"]):
        with pytest.raises(InvalidInput, match="index_segments="):
            found(dataset, nearest=near(), index_segments=wrong)
    with pytest.raises(InvalidInput, match="search of vectors"):
        dataset.to_table(full_text_query="t1", index_segments=[first])


def test_rows_of_several_vectors_are_near_by_the_best_of_each(uri: str) -> None:
    rows = [VECTORS[i : i + 1 + i % 3].tolist() for i in range(60)]
    data = pa.table({"i": range(60), "v": pa.array(rows, pa.list_(vector_type()))})
    dataset = lance_like.write_dataset(data, uri, max_rows_per_file=25)
    query = VECTORS[100:102]
    distances = [sum(min(((np.array(v) - q) ** 2).sum() for v in row) for q in query) for row in rows]
    answer = dataset.to_table(columns=["i"], nearest=near(query))
    assert answer.schema.names == ["i", "_distance"]
    assert answer["i"].to_pylist() == np.argsort(distances, kind="stable")[:5].tolist()
    assert answer["_distance"].to_numpy() == pytest.approx(np.sort(distances)[:5], rel=1e-5)
    assert dataset.to_table(nearest=near(query[np.newaxis], k=2))["query_index"].to_pylist() == [0, 0]


def test_a_handle_searches_where_it_is_unpickled(tmp_path: Path, plugin: Rounded) -> None:
    dataset = lance_like.write_dataset(table(range(300)), tmp_path / "t")
    add_index(dataset, "v", plugin)
    expected = found(dataset, nearest=near(refine_factor=20))
    assert found(pickle.loads(pickle.dumps(dataset)), nearest=near(refine_factor=20)) == expected


def test_a_builder_makes_the_same_search(dataset: LanceDataset) -> None:
    scan = ScannerBuilder(dataset).nearest("v", QUERY, 5, distance_range=(0, 100)).columns(["i"]).filter("i > 9")
    assert scan.to_scanner().to_table()["i"].to_pylist() == found(dataset, filter="i > 9")


def test_filters_of_a_builder_are_joined(dataset: LanceDataset) -> None:
    search = dataset.search(QUERY).where("i > 9").where(pc.field("i") < 20).where(None).limit(300)
    assert sorted(search.select(["i"]).to_table()["i"].to_pylist()) == list(range(10, 20))
    after = dataset.search(QUERY).where("i >= 0", prefilter=False).where("i >= 300").limit(3)
    assert after.to_table().num_rows == 0
    assert dataset.search().where("i > 9").where("i < 12").to_table()["i"].to_pylist() == [10, 11]


def test_filters_of_a_builder_may_hold_one_search(dataset: LanceDataset) -> None:
    search = dataset.search(QUERY).where("i < 7").where(MatchQuery("t0", "t")).select(["i"])
    assert sorted(search.to_table()["i"].to_pylist()) == [0, 3, 6]
    with pytest.raises(InvalidInput, match="two searches"):
        search.where(MatchQuery("t1", "t")).to_table()


def test_a_builder_orders_what_it_finds_and_cuts_it_into_batches(dataset: LanceDataset) -> None:
    search = (
        dataset.search(QUERY).where("i < 7").select(["i"]).order_by([ColumnOrdering("i", ascending=False)]).limit(9)
    )
    batches = list(search.to_batches(4))
    assert [batch["i"].to_pylist() for batch in batches] == [[6, 5, 4, 3], [2, 1, 0]]


def test_a_builder_without_a_limit_gives_all_rows_but_of_vectors(dataset: LanceDataset) -> None:
    assert dataset.search().limit(None).offset(None).to_table().num_rows == 300
    assert dataset.search("t1").limit(None).to_table().num_rows == 100
    with pytest.raises(InvalidInput, match="how many rows"):
        dataset.search(QUERY).limit(None).to_table()


def test_a_plan_says_what_is_asked(dataset: LanceDataset, plugin: Rounded) -> None:
    plan = dataset.scanner(nearest=near(), filter="i > 9").explain_plan()
    assert "Exact: every row is compared" in plan and "Filter before" in plan
    add_index(dataset, "v", plugin)
    dataset.insert(table(range(300, 310)))
    plan = dataset.scanner(nearest=near()).explain_plan()
    assert "Index near (ROUNDED): 1 segments of 300 rows, approximate" in plan
    assert "Exact: 10 rows that the index does not cover" in plan
    assert plugin.asked == []
    ran = dataset.scanner(nearest=near(), filter="i > 9").analyze_plan()
    assert "output_rows=5" in ran and "Prefilter: 300 rows allowed" in ran and "Find: " in ran and "Take: " in ran


def test_short_grids_that_are_read_beside_vectors_stay_with_their_rows(uri: str, plugin: Rounded) -> None:
    grid = pa.list_(pa.list_(pa.int8(), 2), 2)
    cells = [[[i % 50, i // 50], [i % 7, i % 11]] for i in range(300)]
    dataset = lance_like.write_dataset(table(range(300)).append_column("grid", pa.array(cells, grid)), uri)
    add_index(dataset, "v", plugin)
    descending = [ColumnOrdering("i", ascending=False)]
    asked: dict[str, Any] = {"columns": ["i", "grid"], "nearest": near(k=20), "order_by": descending}
    found = dataset.to_table(**asked, limit=9, offset=6)
    assert found["grid"].to_pylist() == [cells[i] for i in found["i"].to_pylist()]
    assert found["i"].to_pylist() == sorted(found["i"].to_pylist(), reverse=True) and len(found) == 9


def test_among_few_rows_more_candidates_are_compared(
    uri: str, plugin: Rounded, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = lance_like.write_dataset(table(range(300)), uri)
    add_index(dataset, "v", plugin)
    found(dataset)
    found(dataset, nearest=near(refine_factor=2))
    found(dataset, nearest=near(k=40))
    monkeypatch.setattr(near_module, "_FEW_ROWS", 299)
    found(dataset)
    assert plugin.asked == [(128, None), (10, None), (160, None), (20, None)]
    assert "Refine: 20 candidates of each query" in dataset.scanner(nearest=near()).explain_plan()


def test_a_search_reads_the_column_once(dataset: LanceDataset) -> None:
    told: list[Any] = []
    found(dataset, nearest=near(), scan_stats_callback=told.append)
    assert told[0].bytes_read > 0 and told[0].iops <= 12


@pytest.mark.parametrize(("columns", "rounds"), [(["i"], 1), ([], 1), (["i", "t"], 2)])
def test_a_search_that_is_warm_reads_its_candidates_and_short_columns_with_them(
    uri: str, plugin: Rounded, columns: list[str], rounds: int
) -> None:
    dataset = lance_like.write_dataset(table(range(300)), uri)
    add_index(dataset, "v", plugin)
    asked: dict[str, Any] = {"columns": columns, "nearest": near(refine_factor=4)}
    dataset.to_table(**asked)
    store = dataset._session.store = CountingStore(dataset._session.store)
    with counted(store) as counts:
        dataset.to_table(**asked)
    # 20 candidates: their vectors, and numbers that are packed.
    vectors = 20 * 4 * DIMENSION
    assert counts.rounds == rounds and vectors <= counts.bytes_read <= vectors + 20 * 8


BESIDE: list[dict[str, Any]] = [
    {},
    {"columns": []},
    {"columns": ["_distance"]},
    {"columns": {"twice": "2 * i", "far": "_distance + i"}},
    {"columns": ["i", "v"]},
    {"columns": ["i", "t"]},
    {"with_row_id": True},
    {"limit": 3, "offset": 1},
    {"batch_size": 2},
    {"order_by": [ColumnOrdering("i", ascending=False)]},
    {"filter": "i % 3 = 1", "prefilter": False},
    {"filter": "_distance < 9 and i > 20"},
    {"filter": "i > 10"},
    {"nearest": near(distance_range=(None, 0.5), refine_factor=2)},
    {"nearest": near(np.stack([QUERY, QUERY + 1]))},
    {"nearest": near(QUERY[np.newaxis])},
]


@pytest.mark.parametrize("options", BESIDE, ids=lambda options: "-".join(options) or "none")
def test_columns_that_are_read_beside_vectors_are_those_read_behind_them(
    dataset: LanceDataset, plugin: Rounded, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    plugin.few = 0
    add_index(dataset, "v", plugin)
    dataset.insert(table(range(300, 310)))
    dataset.delete("i % 7 = 3")
    dataset.update({"i": "i + 1000"}, where="i = 8 or i = 40")
    asked = {"columns": ["i"], "nearest": near(k=12), **options}
    beside = [dataset.to_table(**asked), dataset.to_table(**asked, fast_search=True)]
    monkeypatch.setattr(near_module, "_NOT_MANY", -1)
    behind = [dataset.to_table(**asked), dataset.to_table(**asked, fast_search=True)]
    for one, other in zip(beside, behind, strict=True):
        assert one.equals(other) and len(one) > 0
        one.validate(full=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"q": QUERY[:3]}, "6"),
        ({"q": np.full(DIMENSION, np.nan)}, "finite"),
        ({"q": np.concatenate([QUERY, QUERY])}, "6"),
        ({"k": 0}, "k=0"),
        ({"k": 1.5}, "k=1.5"),
        ({"metric": "nothing"}, "nothing"),
        ({"nprobes": 0}, "nprobes"),
        ({"minimum_nprobes": 9, "maximum_nprobes": 3}, "more than"),
        ({"reach": -0.1}, "reach=-0.1"),
        ({"reach": float("inf")}, "reach=inf"),
        ({"reach": float("nan")}, "reach=nan"),
        ({"reach": "far"}, "reach='far'"),
        ({"reach": True}, "reach=True"),
        ({"reach": 0.5, "nprobes": 3}, "expected one of them"),
        ({"refine_factor": 0}, "refine_factor"),
        ({"distance_range": (1,)}, "distance_range"),
        ({"unknown": 1}, "unknown"),
        ({"approx_mode": "hacc"}, "approx_mode='hacc': expected one of fast, normal, accurate"),
        ({"column": "t"}, "string"),
    ],
)
def test_what_cannot_be_is_refused(dataset: LanceDataset, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        dataset.scanner(nearest={**near(), **options})


def test_options_are_told_apart_by_their_types(dataset: LanceDataset) -> None:
    assert len(found(dataset, nearest=near(k=1))) == 1
    with pytest.raises(InvalidInput, match="k=True"):
        found(dataset, nearest=near(k=True))


def test_a_search_must_make_sense(dataset: LanceDataset) -> None:
    with pytest.raises(NotFound, match="'v'"):
        dataset.scanner(nearest={**near(), "column": "w"})
    for wrong in (near(column="t"), near(q="text")):
        with pytest.raises(WrongType, match="no vector"):
            dataset.scanner(nearest=wrong)
    with pytest.raises(InvalidInput, match="nearest"):
        dataset.scanner(nearest=[1, 2, 3])  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="deleted rows"):
        dataset.scanner(nearest=near(), include_deleted_rows=True, with_row_id=True)
    dataset.add_columns({"query_index": "1"})
    with pytest.raises(InvalidInput, match="query_index"):
        dataset.scanner(nearest=near(VECTORS[:2]))


@pytest.mark.parametrize("kind", ["IVF_PQ", "IVF_SQ", "IVF_RQ"])
def test_recall_does_not_fall_with_the_number_of_segments(uri: str, kind: str) -> None:
    rng = np.random.default_rng(5)
    centres = rng.normal(0, 4, (6, 8))

    def points(count: int) -> np.ndarray:
        return (centres[rng.integers(0, 6, count)] + rng.normal(0, 1, (count, 8))).astype(np.float32)

    def rows(vectors: np.ndarray, first: int) -> pa.Table:
        cells = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 8)
        return pa.table({"i": np.arange(first, first + len(vectors)), "v": cells})

    vectors = points(500)
    dataset = lance_like.write_dataset(rows(vectors, 0), uri)
    dataset.create_index("v", kind)
    for _ in range(4):
        more = points(150)
        dataset.insert(rows(more, len(vectors)))
        dataset.optimize.optimize_indices(num_indices_to_merge=0)
        vectors = np.concatenate([vectors, more])
    assert dataset.stats.index_stats("v_idx")["num_indices"] == 5
    recalls = []
    for query in points(60):
        best = np.argsort(((vectors - query) ** 2).sum(axis=1))[:10]
        recalls.append(len({*best.tolist()} & {*found(dataset, nearest=near(query, 10))}) / 10)
    assert np.mean(recalls) >= 0.97
    assert min(recalls) >= 0.7


@pytest.mark.parametrize("sparse", [0, 1 << 30])
def test_a_batch_finds_what_its_queries_find_alone(monkeypatch: pytest.MonkeyPatch, sparse: int) -> None:
    monkeypatch.setattr(near_module, "_SPARSE", sparse)
    monkeypatch.setattr(exact, "_SHARED_WORK", 1)
    vectors = np.random.default_rng(1).normal(size=(500, 16)).astype(np.float32)
    ds = _indexed(vectors, "IVF_PQ", "l2")
    ds.delete("i < 40")
    queries = np.random.default_rng(2).normal(size=(7, 16)).astype(np.float32)
    both = ds.to_table(["i", "_distance"], nearest=near(queries, 5, refine_factor=3))
    for number, query in enumerate(queries):
        alone = ds.to_table(["i", "_distance"], nearest=near(query, 5, refine_factor=3))
        assert both.filter(pc.equal(both["query_index"], number)).select(["i", "_distance"]).equals(alone)


KINDS = ("IVF_FLAT", "IVF_PQ", "IVF_SQ", "IVF_RQ", "IVF_HNSW_SQ", "HNSW")


def _indexed(vectors: np.ndarray, kind: str, metric: str) -> LanceDataset:
    column = pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(vectors, np.float32).ravel()), 16)
    ds = lance_like.write_dataset(pa.table({"i": np.arange(len(vectors)), "v": column}), "memory://")
    ds.create_index("v", kind, metric=metric)
    return ds


@pytest.mark.parametrize("metric", ["l2", "cosine", "dot"])
@pytest.mark.parametrize("kind", KINDS)
def test_vectors_that_are_all_alike_are_found(kind: str, metric: str) -> None:
    one = np.random.default_rng(1).normal(size=16)
    for vectors in (np.tile(one, (5, 1)), np.tile(one, (300, 1)), np.zeros((300, 16))):
        ds = _indexed(vectors, kind, metric)
        for query in (one, np.random.default_rng(2).normal(size=16)):
            nearest = {"column": "v", "q": query, "k": 4, "metric": metric}
            exact = ds.scanner(nearest=nearest | {"use_index": False}).to_table()
            found = ds.scanner(nearest=nearest).to_table()
            assert len(found) == len(exact)
            np.testing.assert_allclose(found["_distance"], exact["_distance"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("metric", ["l2", "cosine", "dot"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_query_that_is_as_far_from_everything_finds_as_many(kind: str, metric: str) -> None:
    half = np.random.default_rng(1).normal(size=(300, 16)) * (np.arange(16) < 8)
    one_hot = np.eye(16)[np.arange(300) % 8]
    for vectors, query in ((half, np.eye(16)[12]), (one_hot, np.eye(16)[12]), (half, np.zeros(16))):
        ds = _indexed(vectors, kind, metric)
        nearest = {"column": "v", "q": query, "k": 10, "metric": metric}
        exact = ds.scanner(nearest=nearest | {"use_index": False}).to_table()
        assert len(ds.scanner(nearest=nearest).to_table()) == len(exact)
        # Zeros have no direction: by cosine they are near to nothing.
        assert len(exact) == (0 if metric == "cosine" and not query.any() else 10)


@pytest.mark.parametrize("kind", KINDS)
def test_the_few_rows_that_a_filter_leaves_are_all_compared(kind: str) -> None:
    vectors = np.random.default_rng(1).normal(size=(300, 16)).astype(np.float32)
    ds = _indexed(vectors, kind, "l2")
    for query in np.random.default_rng(2).normal(size=(10, 16)):
        # As little as an index can be asked for.
        nearest = {"column": "v", "q": query, "k": 5, "nprobes": 1, "refine_factor": 1, "ef": 5}
        rows = found(ds, nearest=nearest, filter="i >= 60")
        assert rows == [60 + row for row in np.argsort(((vectors[60:] - query) ** 2).sum(axis=1))[:5].tolist()]
