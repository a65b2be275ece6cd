"""Signatures against sets of shingles made one at a time, and an index of them against all pairs."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap

from lance_like.errors import Corrupt, InvalidInput
from lance_like.index.base import BuildOptions, Segment
from lance_like.index.duplicates.minhash import MinHashLsh, MinHashSearcher
from lance_like.index.duplicates.pairs import Groups, band_width, distinct, jaccard, like_pairs
from lance_like.index.duplicates.shingles import pieces, shingles
from lance_like.index.duplicates.signatures import signatures, similarity
from lance_like.index.files import ArraySource, SegmentWriter, in_memory
from lance_like.io.observe import CountingStore, counted
from lance_like.testing.indexes import SegmentTests, build

PARAMS = MinHashLsh().params(pa.string(), {})
MASK = (1 << 64) - 1


def naive_mixed(state: int, word: int, factor: int) -> int:
    x = ((state ^ word) * factor) & MASK
    return x ^ (x >> 32)


def naive_tokens(text: str, tokenizer: str) -> list[bytes]:
    """The tokens of a text by the words of the spec."""
    data = text.lower().encode()
    if tokenizer == "character":
        return [char.encode() for char in text.lower() if ord(char) > 0x20]
    inside = rb"[a-z0-9\x80-\xff]+" if tokenizer == "simple" else rb"[^\x00-\x20]+"
    return [run[at : at + 32] for run in re.findall(inside, data) for at in range(0, len(run), 32)]


def naive_shingles(text: str, size: int, tokenizer: str) -> list[int]:
    """The hashes of the shingles of a text by the words of the spec."""
    hashed = []
    for token in naive_tokens(text, tokenizer):
        state = len(token)
        for at in range(0, len(token), 8):
            state = naive_mixed(state, int.from_bytes(token[at : at + 8], "little"), 0x9E3779B97F4A7C15)
        hashed.append(state)
    found = []
    for first in range(max(len(hashed) - size + 1, min(len(hashed), 1))):
        state = 0
        for token in hashed[first : first + size]:
            state = naive_mixed(state, token, 0xBF58476D1CE4E5B9)
        found.append(state)
    return found


def naive_signature(found: list[int], count: int) -> bytes:
    factors = [
        naive_mixed(naive_mixed(0, i, 0xBF58476D1CE4E5B9), i, 0x94D049BB133111EB) | 1 for i in range(1, count + 1)
    ]
    return bytes((min(x * factor & MASK for x in found) >> 32) & 255 for factor in factors)


def naive_jaccard(one: set[int], other: set[int]) -> float:
    return len(one & other) / len(one | other) if one | other else 0.0


def built(texts: pa.Array, **given: object) -> tuple[SegmentWriter, dict, dict]:
    plugin = MinHashLsh()
    params = plugin.params(texts.type, given)
    out = in_memory()
    detail = plugin.build(ArraySource(texts), params, out, BuildOptions())
    return out, params, detail


def opened(texts: pa.Array, **given: object) -> MinHashSearcher:
    out, params, detail = built(texts, **given)
    return MinHashLsh().open(Segment(len(texts), texts.type, params, detail, out.reader()))


def signature_of(text: str, params: dict) -> np.ndarray:
    [(_, signed)] = signatures(pa.array([text]), params)
    return signed[0]


def families(count: int, *, words: int = 40, seed: int = 3) -> list[str]:
    """Texts of which three each differ in a few words, and as many that are like no other."""
    random = np.random.default_rng(seed)
    texts = []
    for family in range(count):
        base = [f"w{family}q{number}" for number in range(words)]
        texts.append(" ".join(base))
        for change in (1, 2):
            other = list(base)
            other[int(random.integers(words))] = f"changed{change}"
            texts.append(" ".join(other))
        texts.append(" ".join(f"own{family}q{number}" for number in range(words)))
    return texts


class TestMinHashLsh(SegmentTests):
    """What holds for segments of all kinds."""

    plugin = MinHashLsh()
    types = (pa.string(), pa.large_string())
    refused = (pa.int64(), pa.binary(), pa.list_(pa.string()))

    def values(self, kind: pa.DataType, rows: int, seed: int) -> pa.Array:
        texts = families(rows // 4 + 1, seed=seed)[:rows]
        return pa.array([None if number % 9 == 5 else text for number, text in enumerate(texts)], kind)

    def ask(self, searcher: Any, built: Any, seed: int) -> list[Any]:
        texts = [text for text in built.values.to_pylist() if text] or ["one two three"]
        found = []
        for place in np.random.default_rng(seed).integers(0, len(texts), 5):
            hits = searcher.nearest(signature_of(texts[place], dict(built.params)), 4, None)
            found += [hits.ordinals.tolist(), hits.scores.tobytes()]
        ordinals, signed = searcher.signatures(BitMap(range(0, len(built.values), 3)))
        return [*found, ordinals.tolist(), signed.tobytes()]


def test_a_search_reads_at_most_three_rounds_beside_the_metadata():
    texts = pa.array(families(500))
    built = build(MinHashLsh(), texts, {})
    store = CountingStore(built.store)
    searcher: Any = built.open(store)
    searcher.nearest(signature_of(texts[0].as_py(), dict(built.params)), 5, None)
    with counted(store) as counts:
        searcher.nearest(signature_of(texts[40].as_py(), dict(built.params)), 5, None)
    assert counts.rounds <= 3
    assert counts.bytes_read < 200_000 < built.files[0].nbytes


words = st.text(st.sampled_from("abé日 -Z9\n"), max_size=80)


@given(st.lists(words, max_size=6), st.integers(1, 4), st.sampled_from(["simple", "whitespace", "character"]))
def test_shingles_are_those_of_the_spec(texts, size, tokenizer):
    found = shingles(pa.array(texts, pa.large_string()), size, tokenizer)
    expected = [naive_shingles(text, size, tokenizer) for text in texts]
    assert found.counts.tolist() == [len(some) for some in expected]
    assert found.hashes.tolist() == list(itertools.chain.from_iterable(expected))


@given(st.lists(st.none() | words, min_size=1, max_size=8))
def test_signatures_are_those_of_the_spec_and_of_texts_with_a_token_only(texts):
    found = list(signatures(pa.array(texts, pa.string()), PARAMS | {"num_hashes": 16}))
    has = np.concatenate([some for some, _ in found])
    expected = [naive_shingles(text or "", 3, "simple") for text in texts]
    assert has.tolist() == [len(some) > 0 for some in expected]
    signed = np.concatenate([some for _, some in found])
    assert [row.tobytes() for row in signed] == [naive_signature(some, 16) for some in expected if some]


def test_texts_are_cut_into_pieces_that_are_small_or_one_text():
    texts = pa.array(["a" * 200_000, "b" * 100_000, "", "c" * 900_000, "d"], pa.large_string())
    assert [len(piece) for piece in pieces(texts)] == [1, 2, 1, 1]
    assert pa.concat_arrays(pieces(texts)).equals(texts)


def test_many_pieces_are_signed_as_one():
    texts = [f"{text} " * 400 for text in families(20)]
    together = np.concatenate([signed for _, signed in signatures(pa.array(texts), PARAMS)])
    apart = [signature_of(text, PARAMS) for text in texts]
    assert np.array_equal(together, np.stack(apart))


@pytest.mark.parametrize("shared", [30, 50, 80, 95])
def test_the_estimate_is_within_its_error_of_the_true_similarity(shared):
    """Pairs of 100 words of which `shared` are common: the mean of 100 estimates, and their spread."""
    params = PARAMS | {"shingle_size": 1}
    one = [" ".join(f"w{pair}q{n}" for n in range(100)) for pair in range(100)]
    other = [" ".join(f"{'w' if n < shared else 'x'}{pair}q{n}" for n in range(100)) for pair in range(100)]
    first, second = (np.concatenate([s for _, s in signatures(pa.array(some), params)]) for some in (one, other))
    true = shared / (200 - shared)
    found = similarity(first, second)
    error = np.sqrt(true * (1 - true) / 128)
    assert abs(found.mean() - true) < 4 * error / 10
    assert found.std() < 1.4 * error


def test_the_exact_similarity_is_that_of_sets():
    texts = [*families(5), "a a a a a a", "a a a a", "", "one two"]
    found = shingles(pa.array(texts, pa.large_string()), 3, "simple")
    one, other = np.array(list(itertools.product(range(len(texts)), repeat=2))).T
    sets = [set(naive_shingles(text, 3, "simple")) for text in texts]
    expected = [naive_jaccard(sets[a], sets[b]) for a, b in zip(one, other, strict=True)]
    assert jaccard(found, one, other) == pytest.approx(expected)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.8, 0.9, 1.0])
def test_a_band_is_as_wide_as_finds_99_of_100_pairs_at_the_threshold(threshold):
    width = band_width(threshold, 128)
    assert (1 - threshold**width) ** (128 // width) <= 0.01
    assert width == 128 or (1 - threshold ** (width + 1)) ** (128 // (width + 1)) > 0.01


def test_pairs_are_those_of_a_comparison_of_all_with_all():
    texts = families(60)
    signed = np.concatenate([signed for _, signed in signatures(pa.array(texts), PARAMS)])
    one, other = np.triu_indices(len(texts), 1)
    expected = {
        (int(a), int(b)) for a, b in zip(one, other, strict=True) if similarity(signed[[a]], signed[[b]])[0] >= 0.6
    }
    found = [(int(a), int(b)) for some in like_pairs(signed, 0.6) for a, b in zip(some[0], some[1], strict=True)]
    assert len(found) == len(set(found)), "a pair was given twice"
    assert set(found) <= expected
    assert len(found) >= 0.99 * len(expected) > 100


def test_equal_signatures_are_one_kind():
    signed = np.random.default_rng(1).integers(0, 256, (4, 128), np.uint8)[[2, 0, 2, 1, 0, 2]]
    first, kind = distinct(signed)
    assert first.tolist() == [0, 1, 3]
    assert kind.tolist() == [0, 1, 0, 2, 1, 0]


def test_groups_are_those_that_pairs_connect():
    groups = Groups(9)
    groups.join(np.array([7, 5, 3]), np.array([5, 2, 4]))
    groups.join(np.array([8]), np.array([3]))
    assert groups.together(np.array([2, 2]), np.array([7, 3])).tolist() == [True, False]
    members, bounds = groups.members()
    assert [members[start:end].tolist() for start, end in itertools.pairwise(bounds)] == [[2, 5, 7], [3, 4, 8]]


def test_a_search_gives_the_rows_most_like_a_text_and_their_distances():
    texts = families(50)
    searcher = opened(pa.array([None, *texts, ""]))
    hits = searcher.nearest(signature_of(texts[8], PARAMS), 5, None)
    assert hits.ordinals[0, 0] == 9
    assert sorted(hits.ordinals[0].tolist()) == [-1, -1, 9, 10, 11]
    assert hits.scores[0, 0] == 0
    signed = signature_of(texts[9], PARAMS)
    distance = 1 - similarity(signed[None], signature_of(texts[8], PARAMS)[None])[0]
    assert hits.scores[0, hits.ordinals[0].tolist().index(10)] == pytest.approx(distance)
    assert np.isnan(hits.scores[0, 3:]).all()


def test_a_search_gives_only_rows_that_are_allowed():
    texts = families(50)
    searcher = opened(pa.array(texts))
    hits = searcher.nearest(signature_of(texts[8], PARAMS), 2, BitMap([9, 30]))
    assert hits.ordinals.tolist() == [[9, -1]]


def test_a_search_finds_nothing_in_a_segment_without_a_token():
    searcher = opened(pa.array([None, "", " "], pa.string()))
    assert searcher.nearest(signature_of("a b c", PARAMS), 2, None).ordinals.tolist() == [[-1, -1]]
    assert searcher.signatures(None)[0].tolist() == []


def test_a_segment_gives_back_its_signatures_without_rows_that_have_none():
    texts = [None, *families(3), " "]
    searcher = opened(pa.array(texts), num_hashes=24, num_bands=3)
    ordinals, signed = searcher.signatures(None)
    assert ordinals.tolist() == list(range(1, 13))
    assert signed[4].tobytes() == naive_signature(naive_shingles(texts[5] or "", 3, "simple"), 24)
    ordinals, _ = searcher.signatures(BitMap([0, 2, 5]))
    assert ordinals.tolist() == [2, 5]


def test_a_segment_is_smaller_than_its_signatures_in_two_bytes_each():
    random = np.random.default_rng(0)
    texts = pa.array([" ".join(f"w{n}" for n in row) for row in random.integers(0, 9999, (20_000, 8))])
    out, _, _ = built(texts)
    assert sum(file.nbytes for file in out.files) < 20_000 * 200


@pytest.mark.parametrize(
    "given",
    [
        {"num_hashes": 0},
        {"num_hashes": 4096},
        {"num_bands": 3},
        {"num_bands": True},
        {"shingle_size": 0},
        {"tokenizer": "x"},
        {"lower_case": 1},
        {"seed": 1},
    ],
)
def test_a_wrong_parameter_is_refused(given):
    with pytest.raises(InvalidInput):
        MinHashLsh().params(pa.string(), given)


def test_other_types_than_texts_are_refused():
    with pytest.raises(InvalidInput, match="not int64"):
        MinHashLsh().params(pa.int64(), {})


@pytest.mark.parametrize("detail", [{}, {"signed": 5, "bits": 1}, {"signed": 2, "bits": 28}, {"signed": -1, "bits": 1}])
def test_a_detail_that_cannot_be_is_refused(detail):
    out, params, _ = built(pa.array(["a", "b", "c"]))
    with pytest.raises(Corrupt):
        MinHashLsh().open(Segment(3, pa.string(), params, detail, out.reader()))


@pytest.mark.parametrize(
    ("name", "column", "values"),
    [
        ("buckets", "offset", [2**40] * 33),
        ("buckets", "offset", list(range(33, 0, -1))),
        ("buckets", "offset", [0, 48]),
        ("bands", "row", [7] * 48),
        ("signatures", "ordinal", [0, 1, 9]),
    ],
)
def test_bytes_that_cannot_be_are_refused(name, column, values):
    texts = pa.array(["a", "b", "c"])
    out, params, detail = built(texts)
    forged, reader = in_memory(), out.reader()
    for file in out.files:
        data = pa.table(reader.file(file.name).columns(COLUMNS[file.name]), names=COLUMNS[file.name])
        if file.name == name:
            place = data.schema.get_field_index(column)
            kind = data.schema.field(place)
            columns = [pa.array(values, kind.type) if i == place else data.column(i) for i in range(data.num_columns)]
            data = pa.table(columns, names=COLUMNS[name])
        forged.write(file.name, data.schema, data.to_batches())
    searcher = MinHashLsh().open(Segment(3, pa.string(), params, detail, forged.reader()))
    with pytest.raises(Corrupt):
        searcher.nearest(signature_of("a", params), 3, None)


COLUMNS = {"signatures": ["ordinal", "signature"], "buckets": ["offset"], "bands": ["row"]}
