"""Brute force over vectors gives the distances of their definition, and the same rows however it is asked."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from lance_like.errors import InvalidInput
from lance_like.index.base import Nearest
from lance_like.index.vector.exact import Exact, as_queries, check_vectors, distances, merge, rank
from lance_like.testing.vectors import naive_distances, random_vectors

NUMBERS = (pa.float16(), pa.float32(), pa.float64(), pa.uint8(), pa.int8())


def nearest(values, queries, how, cuts=()):
    exact = Exact(queries, how)
    edges = [0, *cuts, len(values)]
    for start, end in pairwise(edges):
        exact.add(values.slice(start, end - start), start)
    return exact.hits()


@pytest.mark.parametrize("number", NUMBERS, ids=str)
@pytest.mark.parametrize("metric", ["l2", "cosine", "dot"])
def test_the_nearest_are_those_of_the_definition(number, metric):
    values = random_vectors(pa.list_(number, 5), 400, 1)
    queries = as_queries(np.random.default_rng(2).normal(size=(20, 5)) * 3, values.type, metric)
    naive = naive_distances(queries, values.to_pylist(), metric)
    expected = np.sort(naive, axis=1)[:, :9]
    found = nearest(values, queries, Nearest(9, metric), cuts=(7, 250))
    assert np.allclose(found.scores, expected, rtol=1e-3, atol=1e-3)
    assert np.allclose(np.take_along_axis(naive, found.ordinals, 1), found.scores, rtol=1e-3, atol=1e-3)


ODD = (0, np.inf, -np.inf, np.nan, 1e30, 1e38, 1e-30, 1e-42)


@pytest.mark.parametrize("within", [(None, None), (0.3, None), (None, 0.8), (0.2, 1.1)])
@pytest.mark.parametrize("metric", ["l2", "cosine", "dot"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_query_alone_finds_what_it_finds_among_others(metric, within):
    rng = np.random.default_rng(4)
    for _ in range(60):
        count, dimension = rng.integers(1, 60), rng.integers(1, 12)
        vectors = rng.normal(size=(count, dimension)).astype(np.float32)
        vectors[rng.integers(count, size=3)] = rng.choice(ODD, (3, 1))
        vectors[rng.integers(count), rng.integers(dimension)] = rng.choice(ODD)
        vectors[rng.integers(count)] = vectors[rng.integers(count)]
        values = pa.FixedSizeListArray.from_arrays(vectors.ravel(), dimension)
        query = rng.normal(size=(1, dimension)).astype(np.float32) * (rng.random() > 0.1)
        how = Nearest(int(rng.integers(1, count + 1)), metric, within=within)
        alone, among = nearest(values, query, how), nearest(values, np.concatenate([query, query + 1]), how)
        assert np.allclose(alone.scores[0], among.scores[0], rtol=1e-4, atol=1e-5, equal_nan=True)


def test_bits_are_counted():
    values = random_vectors(pa.list_(pa.uint8(), 9), 300, 1)
    queries = as_queries([[3] * 9, [255] * 9], values.type, "hamming")
    naive = naive_distances(queries, values.to_pylist(), "hamming")
    found = nearest(values, queries, Nearest(12, "hamming"))
    assert found.scores.tolist() == np.sort(naive, axis=1)[:, :12].tolist()
    assert np.array_equal(distances(queries, values, "hamming"), naive, equal_nan=True)


def test_bfloat16_is_two_bytes():
    numbers = np.array([[1.5, -2.0], [3.0, 0.5]], np.float32)
    halves = (numbers.view(np.uint32) >> 16).astype(np.uint16)
    stored = pa.FixedSizeBinaryArray.from_buffers(pa.binary(2), 4, [None, pa.py_buffer(halves.tobytes())])
    values = pa.FixedSizeListArray.from_arrays(stored, 2)
    queries = as_queries([1, 1], values.type, "l2")
    assert distances(queries, values, "l2").tolist() == [[9.25, 4.25]]


@pytest.mark.parametrize("metric", ["l2", "cosine", "dot"])
def test_rows_without_a_finite_distance_are_no_hits(metric):
    values = pa.array(
        [[1, 2], None, [float("nan"), 1], [float("inf"), 1], [float("-inf"), 0], [1, None], [0, 0], [2, 2]],
        pa.list_(pa.float32(), 2),
    )
    queries = as_queries([[1, 1], [0, 1]], values.type, metric)
    found = nearest(values, queries, Nearest(8, metric))
    expected = {0, 7} if metric == "cosine" else {0, 6, 7}
    for row in found.ordinals:
        assert set(row[row >= 0].tolist()) == expected


def test_infinite_products_hide_no_finite_ones():
    values = pa.array([[float("inf"), 1.0]] * 50 + [[1.0, 1.0]], pa.list_(pa.float32(), 2))
    found = nearest(values, as_queries([1, 1], values.type, "dot"), Nearest(3, "dot"))
    assert found.ordinals.tolist() == [[50, -1, -1]]


def test_ties_go_to_the_smaller_id_whatever_the_order_of_batches():
    values = pa.array([[1.0, 1.0]] * 500, pa.list_(pa.float32(), 2))
    queries = as_queries([0, 0], values.type, "l2")
    for k in (5, 150):
        exact = Exact(queries, Nearest(k, "l2"))
        exact.add(values.slice(250), 250)
        exact.add(values.slice(0, 250), 0)
        assert exact.hits().ordinals[0].tolist() == list(range(k))


def test_a_range_is_half_open():
    values = pa.array([[float(i)] for i in range(6)], pa.list_(pa.float32(), 1))
    queries = as_queries([0], values.type, "l2")
    found = nearest(values, queries, Nearest(6, "l2", within=(1, 16)))
    assert found.ordinals.tolist() == [[1, 2, 3, -1, -1, -1]]


def test_some_rows_may_be_kept():
    values = pa.array([[float(i)] for i in range(6)], pa.list_(pa.float32(), 1))
    exact = Exact(as_queries([0], values.type, "l2"), Nearest(3, "l2"))
    exact.add(values, 10, np.array([False, True, False, True, False, True]))
    assert exact.hits().ordinals.tolist() == [[11, 13, 15]]


def test_slices_of_arrays_are_themselves():
    values = random_vectors(pa.list_(pa.float32(), 3), 60, 4)
    queries = as_queries([1, 2, 3], values.type, "l2")
    whole = distances(queries, values, "l2")
    assert np.array_equal(distances(queries, values.slice(13, 20), "l2"), whole[:, 13:33], equal_nan=True)


def test_candidates_of_each_query_are_compared_with_it_alone():
    values = random_vectors(pa.list_(pa.float32(), 3), 30, 4)
    queries = as_queries([[1, 2, 3], [0, 0, 1]], values.type, "l2")
    which = np.array([[3, -1, 7], [29, 0, 3]])
    every = distances(queries, values, "l2")
    expected = np.where(which < 0, np.nan, np.take_along_axis(every, np.maximum(which, 0), 1))
    assert np.array_equal(distances(queries, values, "l2", which), expected, equal_nan=True)


def test_several_vectors_are_as_near_as_the_nearest_of_each():
    kind = pa.list_(pa.list_(pa.float32(), 2))
    values = pa.array([[[1, 2], [3, 4]], [[0, 1]], [[5, 5], [1, 0], [2, 2]], [], None], kind)
    query = [[1, 1], [0, 1]]
    for metric, expected in {"l2": [3, 1, 3], "dot": [-9, 0, -13], "cosine": [0.1156233, 0.2928932, 0.2928932]}.items():
        queries = as_queries(query, kind, metric)
        found = distances(queries, values, metric)[0]
        assert found[:3] == pytest.approx(expected)
        assert np.isnan(found[3:]).all()
        hits = nearest(values, queries, Nearest(5, metric), cuts=(1,))
        assert hits.scores[0, :3] == pytest.approx(sorted(expected))
        assert sorted(hits.ordinals[0].tolist()) == [-1, -1, 0, 1, 2]


def test_what_is_merged_is_ranked():
    queries = as_queries([0], pa.list_(pa.float32(), 1), "l2")
    values = pa.array([[float(i)] for i in range(6)], pa.list_(pa.float32(), 1))
    how = Nearest(4, "l2")
    parts = [nearest(values.slice(3), queries, how), nearest(values, queries, how)]
    found = merge(parts, how)
    assert found.scores[0].tolist() == [0, 1, 4, 9]
    assert found.ordinals[0].tolist() == [0, 1, 2, 0], "the smaller id, of two that are as near"


def test_many_ties_are_ranked_by_their_ids():
    random = np.random.default_rng(3)
    ids = random.permutation(5000)[np.newaxis]
    scores = random.integers(0, 3, (1, 5000)).astype(np.float32)
    found = rank(ids, scores, Nearest(10, "l2"))
    expected = sorted(zip(scores[0].tolist(), ids[0].tolist(), strict=True))[:10]
    assert list(zip(found.scores[0].tolist(), found.ordinals[0].tolist(), strict=True)) == expected
    several = rank(np.repeat(ids, 3, axis=0), np.repeat(scores, 3, axis=0), Nearest(10, "l2"))
    assert several.ordinals.tolist() == 3 * found.ordinals.tolist()


def test_wrong_questions_are_refused():
    kind = pa.list_(pa.float32(), 3)
    assert check_vectors(kind, "L2") == check_vectors(kind, "euclidean") == check_vectors(kind, None) == "l2"
    for wrong in ([1, 2], [[1, 2]], "text", [[[1, 2, 3]]], [1, 2, float("nan")], []):
        with pytest.raises(InvalidInput):
            as_queries(wrong, kind, "l2")
    for metric in ("hamming", "chebyshev"):
        with pytest.raises(InvalidInput):
            check_vectors(kind, metric)
    for other in (pa.list_(pa.float32()), pa.string(), pa.list_(pa.int64(), 3)):
        with pytest.raises(InvalidInput):
            check_vectors(other, "l2")
