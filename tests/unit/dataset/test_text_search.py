"""Rows by the relevance of their texts, and by texts and vectors together: the same with and without an index."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import lance_like
from lance_like import LanceDataset
from lance_like.errors import InvalidInput, NotFound
from lance_like.index.registry import INDEXES
from lance_like.query import BooleanQuery, MatchQuery, MultiMatchQuery, Occur, PhraseQuery, VectorSearchQuery, rowset
from lance_like.rerankers import LinearCombinationReranker, MRRReranker, RRFReranker
from tests.unit.dataset.rounded_index import add_index

RNG = np.random.default_rng(5)
WORDS = np.array(["apple", "pear", "fig", "plum", "kiwi", "date", "grape", "lemon"])
VECTORS = RNG.standard_normal((400, 4)).astype(np.float32)


def table(rows: range) -> pa.Table:
    texts = [" ".join(np.random.default_rng(i).choice(WORDS, 2 + i % 7)) for i in rows]
    titles = [None if i % 5 == 0 else str(WORDS[i % len(WORDS)]) for i in rows]
    vectors = pa.array([VECTORS[i % len(VECTORS)] for i in rows], pa.list_(pa.float32(), 4))
    return pa.table({"i": pa.array(rows, pa.int64()), "text": texts, "title": titles, "v": vectors})


@pytest.fixture
def dataset(uri: str) -> LanceDataset:
    return lance_like.write_dataset(table(range(200)), uri, max_rows_per_file=70)


@pytest.fixture
def indexed(dataset: LanceDataset) -> LanceDataset:
    """Of which 150 rows are indexed."""
    made = lance_like.write_dataset(table(range(150)), f"{dataset.uri}-indexed", max_rows_per_file=70)
    add_index(made, "text", INDEXES.get("INVERTED"), "words", with_position=True)
    made.insert(table(range(150, 200)))
    return made


def scored(dataset: LanceDataset, query: Any, **options: Any) -> list[tuple[int, float]]:
    answer = dataset.to_table(columns=["i"], full_text_query=query, **options)
    assert answer.schema.names == ["i", "_score"]
    return [(i, round(score, 5)) for i, score in zip(*(column.to_pylist() for column in answer.columns), strict=True)]


QUERIES: list[Any] = [
    MatchQuery("apple pear", "text"),
    {"query": "lemon", "columns": ["text"]},
    PhraseQuery("apple pear", "text"),
    BooleanQuery([(Occur.MUST, MatchQuery("fig", "text")), (Occur.MUST_NOT, MatchQuery("kiwi", "text"))]),
    MultiMatchQuery("grape", ["text", "title"]),
]


@pytest.mark.parametrize("query", QUERIES, ids=[str(place) for place in range(len(QUERIES))])
def test_rows_without_an_index_count_as_those_with_one(
    dataset: LanceDataset, indexed: LanceDataset, query: Any
) -> None:
    expected = scored(dataset, query)
    assert expected and scored(indexed, query) == expected
    assert [score for _, score in expected] == sorted((score for _, score in expected), reverse=True)
    assert scored(indexed, query, limit=7, offset=2) == expected[2:9]


@pytest.mark.parametrize("condition", ["i < 0", "i = 160", "i % 10 = 3", "i >= 0"])
@pytest.mark.parametrize("prefilter", [True, False])
def test_a_filter_changes_no_score(
    dataset: LanceDataset, indexed: LanceDataset, condition: str, prefilter: bool
) -> None:
    query = MatchQuery("apple fig", "text")
    passing = set(dataset.to_table(columns=["i"], filter=condition)["i"].to_pylist())
    expected = [found for found in scored(dataset, query) if found[0] in passing]
    for one in (dataset, indexed):
        assert scored(one, query, filter=condition, prefilter=prefilter) == expected
        assert scored(one, query, filter=condition, prefilter=prefilter, limit=3) == expected[:3]


def test_a_filter_may_speak_of_scores(indexed: LanceDataset) -> None:
    every = scored(indexed, "apple")
    least = every[5][1]
    assert scored(indexed, "apple", filter=f"_score >= {least} - 1e-4", limit=3) == every[:3]
    kept = scored(indexed, "apple", filter=f"_score >= {least} - 1e-4 and i >= 0")
    assert kept == [found for found in every if found[1] >= least]


def test_changed_rows_are_found_by_their_new_texts(indexed: LanceDataset) -> None:
    [(best, _), *_] = scored(indexed, "apple")
    indexed.update({"text": "'mango'"}, f"i = {best}")
    assert best not in [i for i, _ in scored(indexed, "apple")]
    assert [i for i, _ in scored(indexed, "mango")] == [best]
    indexed.delete(f"i = {best}")
    assert scored(indexed, "mango") == []
    indexed.insert(table(range(500, 501)))
    assert 500 in [i for i, _ in scored(indexed, str(table(range(500, 501))["text"][0]).split()[0])]
    assert 500 not in [i for i, _ in scored(indexed, "apple pear fig plum", fast_search=True)]


def test_a_version_is_indexed_in_memory_once(indexed: LanceDataset) -> None:
    scored(indexed, "apple")
    kept = indexed._session.tails.size
    assert kept > 0
    scored(indexed, "pear")
    assert indexed._session.tails.size == kept


def test_rows_that_pass_a_filter_are_found_once_a_version(indexed: LanceDataset) -> None:
    indexed.create_scalar_index("i", "BTREE")
    indexed.optimize.optimize_indices()
    among = "i < 100"
    first = scored(indexed, "apple", filter=among)
    [coverage] = [indexed._session.indexes.coverage(indexed._manifest, "i_idx")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(coverage.segments[0].searcher), "rows", lambda *_: pytest.fail("asked again"))
        assert scored(indexed, "apple", filter=among) == first
    gone = first[0][0]
    indexed.delete(f"i = {gone}")
    assert gone not in [i for i, _ in scored(indexed, "apple", filter=among)]
    indexed.update({"i": "i + 1000"}, f"i = {first[1][0]}")
    assert first[1][0] not in [i for i, _ in scored(indexed, "apple", filter=among)]


def test_the_column_of_texts_is_found(dataset: LanceDataset, indexed: LanceDataset) -> None:
    assert scored(indexed, "apple") == scored(indexed, MatchQuery("apple", "text"))
    with pytest.raises(InvalidInput, match="names no column"):
        scored(dataset, "apple")
    with pytest.raises(NotFound):
        scored(dataset, MatchQuery("apple", "nothing"))
    with pytest.raises(InvalidInput):
        scored(dataset, MatchQuery("apple", "i"))


@pytest.mark.parametrize("names", [["plain", "places"], ["places", "plain"]])
@pytest.mark.parametrize(
    "query",
    [
        '"fig plum"',
        PhraseQuery("fig plum", "text"),
        BooleanQuery([(Occur.MUST, PhraseQuery("fig plum", "text")), (Occur.SHOULD, MatchQuery("kiwi", "text"))]),
    ],
    ids=["text", "phrase", "boolean"],
)
def test_phrases_are_asked_of_an_index_that_knows_where_words_stand(
    dataset: LanceDataset, names: list[str], query: Any
) -> None:
    expected = scored(dataset, PhraseQuery("fig plum", "text") if isinstance(query, str) else query)
    for name in names:
        dataset.create_scalar_index("text", "INVERTED", name=name, with_position=name == "places")
    assert expected
    assert scored(dataset, query) == expected
    plan = dataset.scanner(full_text_query=query).explain_plan()
    assert "index places" in plan
    assert f"index {names[0]}" in dataset.scanner(full_text_query="fig").explain_plan()


@pytest.mark.parametrize("kind", [pa.string_view(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_texts_of_any_form_are_searched(uri: str, kind: pa.DataType) -> None:
    texts = pa.array(["red lake", None, "blue hill", "red hill"], pa.string()).cast(kind)
    dataset = lance_like.write_dataset(pa.table({"i": range(4), "text": texts}), uri)
    assert [i for i, _ in scored(dataset, "red")] == [0, 3]
    assert [i for i, _ in scored(dataset, {"query": "hill", "columns": ["text"]})] == [2, 3]


def test_a_text_is_a_filter_of_a_vector_search(indexed: LanceDataset) -> None:
    query, words = VECTORS[3], MatchQuery("kiwi", "text")
    holds = {i for i, _ in scored(indexed, words)}
    nearest = {"column": "v", "q": query, "k": 200}
    order = indexed.to_table(columns=["i"], nearest=nearest)["i"].to_pylist()
    nearest["k"] = 5

    def found(filter: Any, **options: Any) -> list[int]:
        return indexed.to_table(columns=["i"], nearest=nearest, filter=filter, **options)["i"].to_pylist()

    assert found(words) == [i for i in order if i in holds][:5]
    assert found(words, prefilter=False) == [i for i in order[:5] if i in holds]
    both = {"expr_filter": "i >= 100", "search_filter": words}
    assert found(both) == [i for i in order if i in holds and i >= 100][:5]


def test_a_vector_is_a_filter_of_a_text_search(indexed: LanceDataset) -> None:
    words = MatchQuery("kiwi", "text")
    near = VectorSearchQuery("v", VECTORS[3], 60)
    nearest = {"column": "v", "q": VECTORS[3], "k": 60}
    close = set(indexed.to_table(columns=["i"], nearest=nearest)["i"].to_pylist())
    expected = [found for found in scored(indexed, words) if found[0] in close]
    assert expected and scored(indexed, words, filter=near) == expected
    assert scored(indexed, words, filter=near, prefilter=False, limit=2) == expected[:2]
    with pytest.raises(InvalidInput, match="filter of a text search"):
        indexed.scanner(filter=near, nearest=nearest)
    with pytest.raises(InvalidInput, match="by which"):
        indexed.scanner(nearest=nearest, full_text_query=words)


def test_a_hybrid_search_joins_two_rankings(indexed: LanceDataset) -> None:
    query = VECTORS[9]
    search = indexed.search(vector=query, text="kiwi fig").where("i % 2 = 0").limit(8)
    answer = search.to_table()
    assert answer.schema.names == ["i", "text", "title", "v", "_distance", "_score", "_relevance_score"]
    near = indexed.search(query).where("i % 2 = 0").limit(8).select(["i"]).to_table()["i"].to_pylist()
    text = indexed.search("kiwi fig").where("i % 2 = 0").limit(8).select(["i"]).to_table()["i"].to_pylist()
    expected = dict.fromkeys([*near, *text], 0.0)
    for ranking in (near, text):
        for rank, i in enumerate(ranking, 1):
            expected[i] += 1 / (60 + rank)
    best = sorted(expected, key=lambda i: (-expected[i], i))[:8]
    assert answer["i"].to_pylist() == best
    assert answer["_relevance_score"].to_numpy() == pytest.approx([expected[i] for i in best], rel=1e-6)
    assert [d is None for d in answer["_distance"].to_pylist()] == [i not in near for i in best]
    assert [s is None for s in answer["_score"].to_pylist()] == [i not in text for i in best]


@pytest.mark.parametrize("reranker", [RRFReranker(10), MRRReranker(), LinearCombinationReranker(1.0)])
def test_a_reranker_gives_the_order(indexed: LanceDataset, reranker: Any) -> None:
    search = indexed.search(vector=VECTORS[9], text="kiwi").limit(6).rerank(reranker)
    answer = search.select({"i": "i", "r": "_relevance_score"}).to_table()
    relevance = answer["_relevance_score"].to_pylist()
    assert relevance == sorted(relevance, reverse=True) == answer["r"].to_pylist()
    if isinstance(reranker, LinearCombinationReranker):
        near = indexed.search(VECTORS[9]).limit(6).to_table()["i"].to_pylist()
        assert answer["i"].to_pylist()[:5] == near[:5]


def test_a_function_may_rank(indexed: LanceDataset) -> None:
    seen: list[pa.Table] = []

    def by_number(rows: pa.Table) -> Any:
        seen.append(rows)
        return [float(i) for i in rows["i"].to_pylist()]

    search = indexed.search(vector=VECTORS[9], text="kiwi").limit(6).select(["i"])
    answer = search.rerank(by_number).to_table()
    assert seen[0].schema.names == ["i", "_distance", "_score", "_rowid"]
    assert answer["i"].to_pylist() == sorted(seen[0]["i"].to_pylist(), reverse=True)[:6]
    kept = search.rerank(lambda rows: rows.slice(2, 3).select(["_rowid"])).to_table()
    assert kept["i"].to_pylist() == seen[0]["i"].to_pylist()[2:5]
    scores = pa.array([0.5, 2.0, 1.0], pa.float32())
    scored_rows = search.rerank(lambda rows: rows.slice(0, 3).append_column("_relevance_score", scores)).to_table()
    assert scored_rows["_relevance_score"].to_pylist() == [2.0, 1.0, 0.5]
    alone = indexed.search("kiwi").limit(4).rerank(lambda rows: -rows["i"].to_numpy()).to_table()
    assert alone["i"].to_pylist() == sorted(alone["i"].to_pylist())
    for wrong in (lambda rows: [1.0], lambda rows: rows.select(["i"]), lambda rows: ["x"] * len(rows)):
        with pytest.raises(InvalidInput, match="rerank"):
            search.rerank(wrong).to_table()


def test_a_builder_sets_what_it_says(indexed: LanceDataset) -> None:
    search = indexed.search(VECTORS[9]).metric("cosine").distance_range(0, 0.5).limit(3).offset(1).with_row_id()
    search.nprobes(4).minimum_nprobes(2).maximum_nprobes(8).refine_factor(2).ef(50).bypass_vector_index().fast_search()
    nearest = {"column": "v", "q": VECTORS[9], "k": 4, "metric": "cosine", "distance_range": (0, 0.5)}
    expected = indexed.to_table(nearest=nearest, limit=3, offset=1, with_row_id=True)
    assert search.to_arrow() == expected
    assert search.to_list() == expected.to_pylist()
    assert search.to_pandas()["i"].tolist() == expected["i"].to_pylist()
    assert search.to_polars()["i"].to_list() == expected["i"].to_pylist()
    assert pa.Table.from_batches(search.to_batches()) == expected
    assert "metric=cosine" in search.explain_plan() and "output_rows=3" in search.analyze_plan()
    after = indexed.search(VECTORS[9]).where("i < 100", prefilter=False).to_table()["i"].to_pylist()
    every = indexed.search(VECTORS[9]).to_table()["i"].to_pylist()
    assert after == [i for i in every if i < 100]
    plan = indexed.search(vector=VECTORS[9], text="kiwi").explain_plan()
    assert "Rerank: RRFReranker(k=60)" in plan and "index words (INVERTED)" in plan and "50 rows without it" in plan


def test_a_builder_refuses_what_cannot_be(dataset: LanceDataset) -> None:
    assert dataset.search().where("i > 3").limit(2).to_table()["i"].to_pylist() == [4, 5]
    with pytest.raises(InvalidInput, match="nprobes"):
        dataset.search("kiwi", text_columns="text").nprobes(3).to_table()
    with pytest.raises(InvalidInput, match="batch"):
        dataset.search(vector=VECTORS[:2], text="kiwi", text_columns="text").to_table()
    with pytest.raises(InvalidInput, match="rerank"):
        dataset.search(VECTORS[0]).rerank(3).to_table()  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="limit"):
        dataset.search(VECTORS[0]).limit(-1)
    dataset.add_columns({"w": "v"})
    with pytest.raises(InvalidInput, match="'v', 'w'"):
        dataset.search(VECTORS[0]).to_table()
    assert len(dataset.search(VECTORS[0], vector_column="w").to_table()) == 10


def test_statements_search(indexed: LanceDataset) -> None:
    sql = "select i, _distance from vector_search(ds, 'v', $q, k => 3, filter => 'i > 20') order by _distance"
    nearest = {"column": "v", "q": VECTORS[9], "k": 3}
    expected = indexed.to_table(columns=["i"], nearest=nearest, filter="i > 20")
    assert lance_like.sql(sql, params={"q": VECTORS[9].tolist()}, ds=indexed).to_arrow_table() == expected
    sql = "select i, _score from fts(ds, 'kiwi fig', columns => 'text', k => 4) order by _score desc, i"
    assert lance_like.sql(sql, ds=indexed).to_arrow_table()["i"].to_pylist() == [
        i for i, _ in scored(indexed, MatchQuery("kiwi fig", "text"), limit=4)
    ]
    sql = "select i from hybrid_search(ds, $q, 'kiwi', k => 5, filter => 'i > 20') order by _relevance_score desc, i"
    best = indexed.search(vector=VECTORS[9], text="kiwi").where("i > 20").limit(5).select(["i"]).to_table()["i"]
    found = lance_like.sql(sql, params={"q": VECTORS[9].tolist()}, ds=indexed).to_arrow_table()["i"]
    assert sorted(found.to_pylist()) == sorted(best.to_pylist())


@pytest.mark.parametrize(
    ("condition", "times"), [("i < 90", 1), ("i < 90 AND i >= random()", 3)], ids=["steady", "changing"]
)
@pytest.mark.parametrize("by_index", [False, True], ids=["scanned", "by an index"])
def test_rows_that_pass_a_filter_are_kept_for_the_next_search(indexed, monkeypatch, condition, times, by_index):
    if by_index:
        indexed.create_index("i", "BTREE")
    indexed.delete("i = 3")
    found = []
    made = rowset.RowSet

    def counting(rows: Any) -> Any:
        found.append(rows)
        return made(rows)

    monkeypatch.setattr(rowset, "RowSet", counting)
    for word in ("apple", "pear", "fig"):
        query = MatchQuery(word, "text")
        expected = [i for i, _ in scored(indexed, query) if i < 90]
        assert [i for i, _ in scored(indexed, query, filter=condition, prefilter=True)] == expected
    assert len(found) == times
    indexed.delete("i < 80")
    rest = scored(indexed, MatchQuery("apple", "text"), filter=condition, prefilter=True)
    assert {i for i, _ in rest} <= set(range(80, 90))
    assert len(found) == times + 1
