"""The full-text index: the suite of all indexes of texts, and what is its own."""

from __future__ import annotations

import random
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lance_like.errors import Corrupt, InvalidInput
from lance_like.index.files import SegmentReader
from lance_like.index.text import phrases, ranking
from lance_like.index.text.fulltext import FullText
from lance_like.index.text.lists import Impacts, Lists, TermList
from lance_like.index.text.places import PlaceBlocks
from lance_like.index.text.postings import BLOCK, Blocks
from lance_like.index.text.queries import FullTextOperator, MatchQuery, PhraseQuery, PrefixQuery
from lance_like.index.text.relevance import Part, search_texts
from lance_like.io.observe import CountingStore, counted
from lance_like.testing.indexes import build
from lance_like.testing.texts import TextIndexTests, random_query, random_texts
from lance_like.typing_ import Int64s


class TestFullText(TextIndexTests):
    plugin = FullText()


@pytest.mark.parametrize("by_blocks", [False, True])
def test_searches_that_pass_rows_over_find_what_a_naive_search_finds(
    monkeypatch: pytest.MonkeyPatch, by_blocks: bool
) -> None:
    """As if all terms were in many rows; the same words are asked for again and again.

    by_blocks: places are unpacked for the rows that are asked for alone.
    """
    monkeypatch.setattr(ranking, "_FEW", BLOCK)
    monkeypatch.setattr(ranking, "_FEW_AT_FIRST", 3)
    monkeypatch.setattr(ranking, "_FEW_PHRASES", 3)
    monkeypatch.setattr(phrases, "_MANY_TIMES", 1)
    if by_blocks:
        monkeypatch.setattr(TermList, "is_located", lambda *_: False)
    suite = TestFullText()
    for seed in range(3):
        rng = random.Random(seed)
        words = [f"w{number}" for number in range(9)]
        texts = random_texts(rng, 600, words)
        allowed = set(rng.sample(range(600), 400)) if seed else None
        column = suite.column(texts, [rng.randrange(1 + seed % 2) for _ in texts], allowed)
        asked = [random_query(rng, ["t"], words) for _ in range(20)]
        asked += [MatchQuery(" ".join(words[:count]), "t") for count in (1, 2, 5)]
        suite.check({"t": column}, asked, allowed)


def test_codes_rise_with_scores() -> None:
    scores = np.random.default_rng(2).choice([0.1, 0.30001, 0.3, 0.7, 0.25], 500)
    impacts = Impacts.of(scores)
    for count in (1, 100, 499, 500, 501):
        best = impacts.best(count)
        assert len(best) >= min(count, 500)
        left = np.setdiff1d(np.arange(500), best)
        assert len(left) == 0 or scores[left].max() < scores[best].min()
    for score in (0.05, 0.25, 0.3, 0.7, 0.9):
        assert set(np.flatnonzero(scores >= score)) <= set(impacts.above(score * (1 - 1e-6)).tolist())
    assert len(impacts.above(0.9)) == 0


def itself(rows: Int64s) -> Int64s:
    return rows


def found(searcher: Any, query: Any, k: int | None = None) -> list[int]:
    return search_texts(query, {"t": [Part(searcher, itself, itself)]}, k).ids.tolist()


def searcher_of(texts: list[Any], kind: pa.DataType | None = None, **given: Any) -> Any:
    return build(FullText(), pa.array(texts, kind or pa.string()), given).open()


@pytest.fixture(scope="module")
def modules() -> list[str]:
    """Real text: sources of the standard library."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    return [path.read_text(errors="replace") for path in sorted(folder.glob("*.py"))[:60]]


@pytest.mark.slow
def test_real_texts_are_found_as_a_naive_search_finds_them(modules: list[str]) -> None:
    suite = TestFullText()
    rng = random.Random(1)
    column = suite.column(modules, [rng.randrange(2) for _ in modules], None)
    words = sorted({word for text in modules[:5] for word in text.split() if word.isalpha()})
    queries: list[Any] = [MatchQuery(" ".join(rng.sample(words, 3)), "t") for _ in range(20)]
    queries += [PhraseQuery(phrase, "t") for phrase in ("import sys", "def __init__", "return self", "in the")]
    queries += [PhraseQuery("return not found", "t", slop=3), MatchQuery("retrun", "t", fuzziness=2)]
    suite.check({"t": column}, [*queries, PrefixQuery("unlik", "t")], None)


def test_of_a_term_in_many_rows_the_best_blocks_are_unpacked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, k = 100 * BLOCK, 10
    # A shorter text is a better one.
    searcher = searcher_of(["term" + " other" * (row % (5 * BLOCK) // 16) for row in range(rows)])
    unpack, unpacked = Blocks.rows, []

    def counting(self: Blocks, blocks: Int64s | None = None) -> tuple[Int64s, Int64s]:
        unpacked.append(len(self) if blocks is None else len(blocks))
        return unpack(self, blocks)

    monkeypatch.setattr(Blocks, "rows", counting)
    for _ in range(3):
        assert found(searcher, MatchQuery("term", "t"), k) == list(range(k))
    assert unpacked == [k]


def test_places_are_unpacked_by_blocks_until_as_many_were_as_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = 20
    searcher = searcher_of([*["left right"] * ((blocks - 1) * BLOCK), "left only"], with_position=True)
    unpack, unpacked = PlaceBlocks.places, []

    def counting(self: PlaceBlocks, blocks: Int64s, counts: Int64s) -> np.ndarray:
        unpacked.append(len(blocks))
        return unpack(self, blocks, counts)

    monkeypatch.setattr(PlaceBlocks, "places", counting)
    for _ in range(blocks):
        assert found(searcher, PhraseQuery("left only", "t")) == [(blocks - 1) * BLOCK]
    # Once of the rare word; of the other a block a time, then all of them.
    assert sorted(unpacked) == [1] * blocks + [blocks]
    assert found(searcher, PhraseQuery("left only", "t")) == [(blocks - 1) * BLOCK]
    assert len(unpacked) == blocks + 1


def test_a_phrase_needs_positions() -> None:
    searcher = searcher_of(["a fine day"])
    with pytest.raises(InvalidInput, match="with_position=True"):
        found(searcher, PhraseQuery("fine day", "t"))
    assert found(searcher, PhraseQuery("fine", "t")) == [0]


def test_lists_are_read_as_one_text() -> None:
    lists = [["one two", "three"], None, [], [None, "two three one"], ["three", "", "one"]]
    searcher = searcher_of(lists, pa.list_(pa.string()), with_position=True)
    assert found(searcher, PhraseQuery("two three", "t")) == [0, 3]
    assert sorted(found(searcher, MatchQuery("one", "t"))) == [0, 3, 4]


def test_rows_without_a_term_do_not_count() -> None:
    few, many = (searcher_of(["cat", "cat dog", *rest]) for rest in ([], ["", None, "the", ""]))
    for query in (MatchQuery("cat", "t"), MatchQuery("dog", "t")):
        first, second = (search_texts(query, {"t": [Part(part, itself, itself)]}, None) for part in (few, many))
        assert first.scores.tolist() == second.scores.tolist()


def test_all_words_are_needed_only_where_that_is_asked() -> None:
    searcher = searcher_of(["red fish", "red", "blue fish", "red blue fish"])
    assert sorted(found(searcher, MatchQuery("red fish", "t"))) == [0, 1, 2, 3]
    assert sorted(found(searcher, MatchQuery("red fish", "t", operator=FullTextOperator.AND))) == [0, 3]
    assert found(searcher, MatchQuery("red zebra", "t", operator=FullTextOperator.AND)) == []


def test_counts_and_lengths_beyond_16_bits() -> None:
    suite = TestFullText()
    texts = ["long " * 70_000, "long " * 66_000 + "short " * 5, *["long short"] * 9000]
    column = suite.column(texts, [0] * len(texts), None)
    suite.check({"t": column}, [MatchQuery("long", "t"), MatchQuery("short", "t")], None)


@pytest.mark.parametrize(
    "given",
    [
        {"base_tokenizer": "none such"},
        {"language": "Klingon"},
        {"with_position": 1},
        {"max_token_length": 0},
        {"min_ngram_length": 4},
        {"custom_stop_words": "the"},
        {"document_granularity": "list_element"},
        {"analyzer": "code"},
    ],
)
def test_wrong_parameters_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        FullText().params(pa.string(), given)


def test_a_search_reads_only_its_words() -> None:
    rng = random.Random(2)
    words = [f"word{number}" for number in range(5000)]
    texts = [" ".join(rng.choices(words, k=40)) for _ in range(5000)]
    built = build(FullText(), pa.array([*texts, "needle"]), {})
    store = CountingStore(built.store)
    searcher: Any = built.open(store)
    nbytes = sum(file.nbytes for file in built.files)
    with counted(store) as first:
        assert found(searcher, MatchQuery("needle", "t"), 10) == [5000]
    assert first.bytes_read < nbytes / 2
    with counted(store) as second:
        found(searcher, MatchQuery("word7 word4321", "t"), 10)
    assert second.rounds <= 3
    assert second.bytes_read < 40_000
    with counted(store) as again:
        found(searcher, MatchQuery("word4321 word7 needle", "t"), 10)
    assert again.rounds == 0


def test_what_is_kept_is_bounded() -> None:
    built = build(FullText(), pa.array(random_texts(random.Random(3), 3000)), {})
    searcher: Any = built.open()
    bounded = Lists(SegmentReader(built.store, built.files), searcher._vocabulary, 3000, 40_000)
    for word in ("appl", "run", "zeta", "c", "ab", "abc"):
        rows, _ = bounded.of([word])[word].all
        assert len(rows)
        assert bounded.nbytes <= 40_000


def test_terms_that_do_not_agree_with_the_segment_are_corrupt() -> None:
    built = build(FullText(), pa.array(["some words", "more words"]), {})
    fewer = type(built)(built.plugin, built.values[:1], built.params, built.detail, built.store, built.files)
    with pytest.raises(Corrupt):
        found(fewer.open(), MatchQuery("words", "t"))


def test_words_that_are_much_alike() -> None:
    searcher = searcher_of(["kitten", "sitten", "sitting", "mitten", "kit", "kittens sat"], stem=False)
    assert sorted(found(searcher, MatchQuery("kitten", "t", fuzziness=1))) == [0, 1, 3, 5]
    assert sorted(found(searcher, MatchQuery("kitten", "t", fuzziness=2, prefix_length=1))) == [0, 5]
    assert sorted(found(searcher, MatchQuery("kitten", "t", fuzziness=2, max_expansions=2))) == [0, 5]
    assert sorted(found(searcher, PrefixQuery("KIT", "t"))) == [0, 4, 5]


def test_scores_are_those_of_the_formula() -> None:
    searcher = searcher_of(["apple banana", "apple", "banana cherry", "apple apple banana cherry", "durian", ""])
    found_ = search_texts(MatchQuery("apple", "t"), {"t": [Part(searcher, itself, itself)]}, None)
    assert found_.ids.tolist() == [1, 3, 0]
    # pylance gives the same for these rows.
    np.testing.assert_allclose(found_.scores, [0.6776, 0.5784, 0.539], atol=5e-5)
