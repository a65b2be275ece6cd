"""Equal rows against a dictionary of them, like texts against all pairs; with an index and without."""

from __future__ import annotations

import itertools
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest

import lance_like
from lance_like import LanceDataset
from lance_like.dataset import equality
from lance_like.errors import InvalidInput, NotFound


def grouped(found: pa.Table) -> list[list[int]]:
    """Groups as lists of row ids."""
    assert found.schema == pa.schema([("representative", pa.uint64()), ("duplicates", pa.list_(pa.uint64()))])
    return [[row["representative"], *row["duplicates"]] for row in found.to_pylist()]


def brute(table: pa.Table, names: list[str]) -> list[list[int]]:
    """The groups of equal rows of a table, by what their values look like."""
    groups: dict[str, list[int]] = defaultdict(list)
    for row, values in enumerate(table.select(names).to_pylist()):
        groups[repr(values)].append(row)
    return sorted(group for group in groups.values() if len(group) > 1)


def words(count: int, name: str) -> list[str]:
    return [f"{name}q{number}" for number in range(count)]


def jaccard(one: str, other: str, size: int = 3) -> float:
    """Of the sets of runs of words of two texts."""
    sets = []
    for text in (one, other):
        found = text.lower().split()
        sets.append({tuple(found[at : at + size]) for at in range(max(len(found) - size + 1, min(len(found), 1)))})
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def families(count: int) -> list[str]:
    """Texts of which three each differ in one or two words, and one more like no other."""
    random = np.random.default_rng(5)
    texts = []
    for family in range(count):
        base = words(40, f"w{family}")
        for changes in (0, 1, 2):
            other = list(base)
            for place in random.choice(40, changes, replace=False):
                other[place] = "changed"
            texts.append(" ".join(other))
        texts.append(" ".join(words(40, f"own{family}")))
    return texts


def made(uri: str, texts: list[str | None], **options) -> LanceDataset:
    table = pa.table({"number": np.arange(len(texts)), "text": pa.array(texts, pa.string())})
    return lance_like.write_dataset(table, uri, **options)


MIXED = pa.table(
    {
        "number": pa.array([1, 2, 1, None, None, 1, 3, 1], pa.int32()),
        "float": [0.5, float("nan"), 0.5, None, None, 0.5, float("nan"), 0.25],
        "text": ["a", "b", "a", None, None, "a", "b", "a"],
        "bytes": [b"\x00", b"", b"\x00", None, None, b"\x00", b"", b"\x00"],
        "list": pa.array([[1], [], [1], None, None, [1, 2], [], [1]], pa.list_(pa.int64())),
        "vector": pa.array([[1, 2], [2, 3], [1, 2], None, None, [1, 2], [2, 3], [1, 2]], pa.list_(pa.float32(), 2)),
        "struct": [{"x": 1}, {"x": 2}, {"x": 1}, None, None, {"x": 1}, {"x": 2}, {"x": 1}],
        "word": pa.array(["v", "w", "v", None, None, "v", "w", "v"]).dictionary_encode(),
        "half": pa.array([1, 2, 1, None, None, 1, 2, 1], pa.float16()),
        "view": pa.array(["p", "q", "p", None, None, "p", "q", "p"], pa.string_view()),
    }
)


@pytest.mark.parametrize("size", [1, 2, 10])
def test_equal_rows_are_those_of_a_dictionary(uri, size):
    ds = lance_like.write_dataset(MIXED, uri, max_rows_per_file=3)
    for names in itertools.islice(itertools.combinations(MIXED.schema.names, size), 12):
        assert grouped(ds.find_duplicates(list(names))) == brute(MIXED, list(names)), names
    assert grouped(ds.find_duplicates()) == brute(MIXED, MIXED.schema.names)


def test_only_rows_that_are_live_and_pass_a_filter_are_equal(uri):
    ds = lance_like.write_dataset(MIXED, uri, max_rows_per_file=3)
    ds.delete("`float` = 0.25")
    assert grouped(ds.find_duplicates(["text"])) == [[0, 2, 5], [1, 6], [3, 4]]
    assert grouped(ds.find_duplicates(["text"], filter="number = 1")) == [[0, 2, 5]]


def test_equal_hashes_of_unequal_rows_are_told_apart(uri, monkeypatch):
    hashed = equality._hashed
    monkeypatch.setattr(equality, "_hashed", lambda *given: (hashed(*given)[0], np.zeros(8, np.uint64)))
    ds = lance_like.write_dataset(MIXED, uri)
    assert grouped(ds.find_duplicates(["text"])) == [[0, 2, 5, 7], [1, 6], [3, 4]]


def test_many_equal_rows_are_compared_some_at_a_time(uri, monkeypatch):
    monkeypatch.setattr(equality, "_COMPARED_NBYTES", 1000)
    values = np.random.default_rng(2).integers(0, 700, 3000)
    ds = lance_like.write_dataset(pa.table({"value": values}), uri, max_rows_per_file=1000)
    assert grouped(ds.find_duplicates()) == brute(pa.table({"value": values}), ["value"])


def test_an_empty_table_and_one_of_different_rows_have_no_groups(uri):
    assert grouped(lance_like.write_dataset(MIXED.slice(0, 0), uri).find_duplicates()) == []
    ds = lance_like.write_dataset(MIXED.slice(0, 2), uri, mode="overwrite")
    assert grouped(ds.find_duplicates()) == []


def test_a_column_that_is_not_there_is_not_found(uri):
    with pytest.raises(NotFound):
        lance_like.write_dataset(MIXED, uri).find_duplicates(["nothing"])


@pytest.mark.parametrize("exact", [False, True])
def test_like_texts_are_those_of_a_comparison_of_all_with_all(uri, exact):
    texts = families(20)
    ds = made(uri, texts, max_rows_per_file=33)
    expected = [[4 * family, 4 * family + 1, 4 * family + 2] for family in range(20)]
    assert grouped(ds.find_near_duplicates("text", 0.6, exact=exact)) == expected


def test_pairs_carry_their_exact_similarity(uri):
    texts = families(20)
    ds = made(uri, texts)
    pairs = ds.find_near_duplicate_pairs("text", 0.6, exact=True).read_all().to_pylist()
    true = {(a, b): jaccard(texts[a], texts[b]) for a, b in itertools.combinations(range(len(texts)), 2)}
    expected = {pair: value for pair, value in true.items() if value >= 0.6}
    assert {(p["row_id_a"], p["row_id_b"]): p["similarity"] for p in pairs} == pytest.approx(expected)


def test_pairs_by_estimate_are_near_the_exact_ones(uri):
    texts = families(20)
    ds = made(uri, texts)
    for pair in ds.find_near_duplicate_pairs("text", 0.6).read_all().to_pylist():
        assert abs(pair["similarity"] - jaccard(texts[pair["row_id_a"]], texts[pair["row_id_b"]])) < 0.15


def test_equal_texts_are_in_a_group_and_texts_of_no_words_in_none(uri):
    ds = made(uri, ["a b c", None, "", "A  b, c!", "?!", "", None, "a b d", "a b c"])
    assert grouped(ds.find_near_duplicates("text", 1.0)) == [[0, 3, 8]]
    pairs = ds.find_near_duplicate_pairs("text", 1.0, exact=True).read_all().to_pylist()
    assert [(pair["row_id_a"], pair["row_id_b"]) for pair in pairs] == [(0, 3), (0, 8)]


def test_parameters_change_what_is_alike(uri):
    ds = made(uri, ["abcdefgh", "abcdefgx", "tuvw"])
    assert grouped(ds.find_near_duplicates("text", 0.5)) == []
    found = ds.find_near_duplicates("text", 0.5, params={"tokenizer": "character", "shingle_size": 2}, exact=True)
    assert grouped(found) == [[0, 1]]


def test_texts_in_a_struct_are_found(uri):
    table = pa.table({"doc": [{"text": "one two three four"}, {"text": "five"}, {"text": "One two three four"}]})
    assert grouped(lance_like.write_dataset(table, uri).find_near_duplicates("doc.text")) == [[0, 2]]


@pytest.mark.parametrize("threshold", [0, -1, 1.5, float("nan")])
def test_a_threshold_that_is_no_similarity_is_refused(uri, threshold):
    with pytest.raises(InvalidInput):
        made(uri, ["a"]).find_near_duplicates("text", threshold)


def test_a_column_of_no_text_is_refused(uri):
    with pytest.raises(InvalidInput, match="not int64"):
        made(uri, ["a"]).find_near_duplicates("number")


def indexed(uri: str, texts: list[str | None], **params) -> LanceDataset:
    """A table in several segments of an index, the first half of the rows in one; the last rows are in none."""
    ds = made(uri, texts[: len(texts) // 2], max_rows_per_file=13)
    ds.create_scalar_index("text", "MINHASHLSH", **params)
    for first, last in ((len(texts) // 2, -9), (-9, -4), (-4, len(texts))):
        some = texts[first:last]
        ds.insert(pa.table({"number": np.arange(len(some)), "text": pa.array(some, pa.string())}))
        if last != len(texts):
            ds.optimize.optimize_indices(num_indices_to_merge=0)
    assert ds.index_statistics("text_idx")["num_indexed_rows"] == len(texts) - 4
    return ds


def test_an_index_of_several_segments_finds_what_is_found_without(uri):
    texts = [*families(15), None, ""]
    order = np.random.default_rng(8).permutation(len(texts))
    ds = indexed(uri, [texts[place] for place in order])
    ds.delete("number % 7 = 3")
    ds.update({"text": f"'{texts[0]}'"}, where="number % 11 = 1")
    for exact in (False, True):
        found = ds.find_near_duplicates("text", 0.6, exact=exact)
        assert found.equals(ds.find_near_duplicates("text", 0.6, exact=exact, use_index=False))
        assert len(found) > 5
    pairs = [
        ds.find_near_duplicate_pairs("text", 0.6, use_index=use).read_all().sort_by("row_id_b").to_pylist()
        for use in (True, False)
    ]
    assert pairs[0] == pairs[1]


def test_a_search_finds_rows_of_all_segments_and_of_none(uri):
    texts = families(15)
    ds = indexed(uri, texts, num_bands=32)
    for base in (0, 8, 52, 56):
        found = ds.minhash_search(texts[base].upper(), "text", limit=3)
        assert found.schema.names == ["number", "text", "_distance"]
        assert found["text"].to_pylist()[0] == texts[base]
        assert set(found["text"].to_pylist()) == set(texts[base : base + 3])
        distances = found["_distance"].to_pylist()
        assert distances == sorted(distances)
        assert distances[0] == 0


def test_a_fast_search_leaves_out_rows_that_are_in_no_segment(uri):
    texts = families(15)
    ds = indexed(uri, texts)
    assert ds.minhash_search(texts[-4], "text", limit=1, columns=["text"])["text"].to_pylist() == [texts[-4]]
    assert len(ds.minhash_search(texts[-4], "text", limit=1, fast_search=True)) == 0


def test_changed_and_deleted_rows_are_not_found_as_they_were(uri):
    texts = families(15)
    ds = indexed(uri, texts, num_bands=32)
    ds.update({"text": "'other words than these'"}, where=f"text = '{texts[8]}'")
    ds.delete(f"text = '{texts[9]}'")
    assert ds.minhash_search(texts[8], "text", limit=5, columns=["text"])["text"].to_pylist() == [texts[10]]
    found = ds.minhash_search("OTHER words than these!", "text", limit=5, columns=["_rowid"])
    assert found["_rowid"].to_pylist() == [8]


def test_a_text_of_no_words_is_like_nothing(uri):
    assert len(indexed(uri, families(15)).minhash_search("?!", "text")) == 0


def test_what_has_no_index_is_not_found(uri):
    ds = made(uri, families(2))
    with pytest.raises(NotFound, match="no MINHASHLSH index"):
        ds.minhash_search("a b c", "text")
    with pytest.raises(NotFound, match="'other'"):
        ds.find_near_duplicates("text", index="other")


def test_parameters_are_those_of_the_index(uri):
    ds = indexed(uri, families(15), tokenizer="character", shingle_size=5)
    assert grouped(ds.find_near_duplicates("text", 0.9))
    with pytest.raises(InvalidInput, match="text_idx"):
        ds.find_near_duplicates("text", params={"shingle_size": 2})
