"""What a segment of vectors reads, refuses and learns."""

import multiprocessing

import numpy as np
import pyarrow as pa
import pytest
from pyroaring import BitMap

import lance_like
from lance_like.errors import Corrupt, InvalidInput
from lance_like.index.base import BuildOptions, Nearest, Segment
from lance_like.index.files import ArraySource, SegmentReader, SegmentWriter
from lance_like.index.registry import INDEXES
from lance_like.index.vector.exact import as_queries, distances, rank
from lance_like.index.vector.graphs import checked_links
from lance_like.index.vector.hnsw import Hnsw, IvfHnswSq
from lance_like.index.vector.ivf import IvfFlat, IvfPq, IvfSq
from lance_like.index.vector.lists import Lists
from lance_like.index.vector.quantize import Bits, Product, Scalar
from lance_like.index.vector.tuner import tune
from lance_like.io.memory import MemoryStore
from lance_like.io.observe import CountingStore, counted
from lance_like.testing.indexes import build
from lance_like.testing.vectors import random_vectors

KIND = pa.list_(pa.float32(), 16)


@pytest.fixture(scope="module")
def clustered():
    return random_vectors(KIND, 4000, 1, bad=0)


def test_a_search_reads_the_probed_partitions_alone():
    kind = pa.list_(pa.float32(), 64)
    values = random_vectors(kind, 4000, 1, bad=0)
    built = build(IvfFlat(), values, {"num_partitions": 64})
    store = CountingStore(built.store)
    searcher = built.open(store)
    how = Nearest(10, "l2", nprobes=(2, 2))
    searcher.nearest(as_queries(values[5].as_py(), kind, "l2"), how, None)
    codes = next(file for file in built.files if file.name == "codes")
    far = as_queries(values[4].as_py(), kind, "l2")
    with counted(store) as counts:
        found = searcher.nearest(far, how, None)
    assert (found.ordinals[0] >= 0).all()
    assert counts.rounds <= 2, "ordinals and codes of all partitions, and pages that were not open"
    lengths = [ends - starts for _, (starts, ends) in counts.log]
    assert 0 < (np.concatenate(lengths) > 1000).sum() <= 2, "the codes of two partitions"
    assert 0 < counts.bytes_read < codes.nbytes / 4
    with counted(store) as again:
        searcher.nearest(far, how, None)
    assert again.rounds == 0, "what was read is kept"


def test_what_does_not_fit_is_left_for_what_is_asked(clustered, monkeypatch):
    monkeypatch.setattr("lance_like.index.vector.lists._MOST_NBYTES", 4000 * 24 // 4)
    built = build(IvfFlat(), clustered, {"num_partitions": 40})
    searcher = built.open()
    queries = as_queries(clustered.slice(0, 30).to_pylist(), KIND, "l2")
    found = searcher.nearest(queries, Nearest(1, "l2", nprobes=(1, 1)), None)
    assert found.ordinals[:, 0].tolist() == list(range(30))
    assert searcher.nbytes_cached < 4000 * 24 + 100_000
    # One query may need more than there is room for.
    every = searcher.nearest(queries[:1], Nearest(4000, "l2", nprobes=(40, 40)), None)
    assert (every.ordinals[0] >= 0).all()


def test_too_few_rows_widen_the_search(clustered):
    searcher = build(IvfSq(), clustered, {"num_partitions": 64}).open()
    queries = as_queries(clustered[0].as_py(), KIND, "l2")
    narrow = searcher.nearest(queries, Nearest(3000, "l2", nprobes=(1, 1)), None)
    wide = searcher.nearest(queries, Nearest(3000, "l2", nprobes=(1, None)), None)
    assert (narrow.ordinals < 0).any()
    assert (wide.ordinals >= 0).all()


def test_partitions_of_few_rows_are_looked_into_together(clustered):
    few = clustered.slice(0, 300)
    searcher = build(IvfFlat(), few, {"num_partitions": 4}).open()
    # Between the clusters: the nearest partition alone holds few of the neighbours.
    queries = as_queries(np.mean([few.slice(i, 2).to_pylist() for i in range(298)], axis=1).tolist(), KIND, "l2")
    every = searcher.nearest(queries, Nearest(10, "l2", nprobes=(4, 4)), None)
    assert (searcher.nearest(queries, Nearest(10, "l2"), None).ordinals == every.ordinals).all()
    one = searcher.nearest(queries, Nearest(10, "l2", nprobes=(1, 1)), None)
    assert (one.ordinals != every.ordinals).any()


@pytest.mark.parametrize("metric", ["dot", "l2", "cosine"])
def test_who_asks_for_all_rows_gets_the_worst_of_them_too(metric):
    line = np.array([3, 1, 2, 5], np.float32)
    # Along a line one row is the worst in every part; a query at a right angle to it is as near to all.
    vectors = pa.array(np.outer(np.arange(1, 6, dtype=np.float32), line).tolist(), pa.list_(pa.float32(), 4))
    params = {"metric": metric, "num_sub_vectors": 2, "num_bits": 4, "num_partitions": 2}
    searcher = build(IvfPq(), vectors, params).open()
    for query in (line, -line, np.array([1, -3, 5, -2], np.float32)):
        hits = searcher.nearest(query[np.newaxis], Nearest(8, metric), None)
        assert sorted(hits.ordinals[0].tolist()) == [-1, -1, -1, *range(5)]
        assert np.isfinite(hits.scores[0][:5]).all() and (np.diff(hits.scores[0][:5]) >= 0).all()
        some = searcher.nearest(query[np.newaxis], Nearest(8, metric), BitMap([0, 4]))
        assert sorted(some.ordinals[0][:2].tolist()) == [0, 4]


def test_lists_of_vectors_are_found_by_their_sums():
    random = np.random.default_rng(1)
    kind = pa.list_(pa.list_(pa.float32(), 8))
    rows = [random.normal(size=(int(n), 8)).astype(np.float32).tolist() for n in random.integers(0, 5, 600)]
    values = pa.array([*rows, None], kind)
    searcher = build(IvfPq(), values, {"metric": "cosine"}).open()
    query = as_queries(random.normal(size=(4, 3, 8)), kind, "cosine")
    found = searcher.nearest(query, Nearest(100, "cosine"), None)
    best = rank(found.ordinals, distances(query, values, "cosine", found.ordinals), Nearest(10, "cosine"))
    true = distances(query, values, "cosine")
    expected = rank(np.broadcast_to(np.arange(601), true.shape), true, Nearest(10, "cosine"))
    assert np.mean(best.scores <= expected.scores[:, -1:] + 1e-6) > 0.9


def test_a_segment_takes_over_what_was_learnt(clustered):
    plugin = IvfPq()
    prior = build(plugin, clustered, {"num_partitions": 20}).open()
    built = build(plugin, clustered.slice(0, 1000), {"num_partitions": 20}, BuildOptions(prior=prior))
    assert np.array_equal(built.open().stored.centroids, prior.stored.centroids)
    assert np.array_equal(built.open().stored.codes.codebook, prior.stored.codes.codebook)


def test_given_centroids_and_codebooks_are_used(clustered):
    random = np.random.default_rng(2)
    centroids = random.normal(size=(5, 16)).astype(np.float32)
    codebook = random.normal(size=(4, 256, 4)).astype(np.float32)
    given = {"ivf_centroids": centroids, "pq_codebook": codebook, "num_sub_vectors": 4, "num_bits": 8}
    params = IvfPq().params(KIND, given)
    assert params == {"metric": "l2", "num_partitions": 5, "num_sub_vectors": 4, "num_bits": 8}
    built = build(IvfPq(), clustered, given, BuildOptions(given=given))
    assert np.array_equal(built.open().stored.centroids, centroids)
    assert np.array_equal(built.open().stored.codes.codebook, codebook.reshape(1024, 4))


def test_a_codebook_tells_how_long_codes_are(clustered):
    codebook = np.random.default_rng(2).normal(size=(2, 256, 8)).astype(np.float32)
    flat = pa.FixedSizeListArray.from_arrays(codebook.ravel(), 8)
    for given in (codebook, flat, pa.FixedShapeTensorArray.from_numpy_ndarray(codebook)):
        params = IvfPq().params(KIND, {"pq_codebook": given})
        assert (params["num_sub_vectors"], params["num_bits"]) == (2, 8)
        built = build(IvfPq(), clustered, {"pq_codebook": given}, BuildOptions(given={"pq_codebook": given}))
        assert np.array_equal(built.open().stored.codes.codebook, codebook.reshape(512, 8))
    assert IvfPq().params(KIND, {"pq_codebook": codebook[:, :16]})["num_bits"] == 4


def test_sub_vectors_that_are_asked_for_are_bytes():
    params = [
        IvfPq().params(KIND, given) for given in ({}, {"num_sub_vectors": 8}, {"num_sub_vectors": 8, "num_bits": 4})
    ]
    assert [(one["num_sub_vectors"], one["num_bits"]) for one in params] == [(8, 4), (8, 8), (8, 4)]


def test_what_lance_takes_and_means_nothing_here_is_taken():
    class Device:
        def __str__(self) -> str:
            return "cpu"

    given = {"accelerator": Device(), "one_pass_ivfpq": True, "index_file_version": "V3"}
    assert IvfPq().params(KIND, given) == IvfPq().params(KIND, {})
    for kind in (IvfHnswSq(), IvfFlat()):
        assert kind.params(KIND, {"num_sub_vectors": 4}) == kind.params(KIND, {})


def test_parameters_that_cannot_be_are_refused():
    for plugin, given in (
        (IvfPq(), {"num_bits": 5}),
        (IvfPq(), {"num_sub_vectors": 17}),
        (IvfPq(), {"num_partitions": 0}),
        (IvfPq(), {"accelerator": "cuda"}),
        (IvfPq(), {"pq_codebook": np.zeros(16)}),
        (IvfPq(), {"pq_codebook": np.zeros((4, 5, 4))}),
        (IvfPq(), {"ivf_centroids": np.zeros((3, 4))}),
        (IvfPq(), {"metric": "hamming"}),
        (IvfFlat(), {"num_bits": 4}),
        (Hnsw(), {"num_partitions": 4}),
        (Hnsw(), {"m": 1}),
    ):
        with pytest.raises(InvalidInput):
            plugin.params(KIND, given)


def forged(built, name, change):
    """A segment with one file written anew, its columns changed."""
    out = SegmentWriter(MemoryStore())
    whole = build_reader(built)
    for file in built.files:
        opened = whole.file(file.name)
        names = {"partitions": ["centroid", "end"], "codebook": ["values"], "codes": ["ordinal", "code"]}[file.name]
        columns = dict(zip(names, opened.columns(names), strict=True))
        if file.name == name:
            columns = change(columns)
        batch = pa.record_batch(columns)
        out.write(file.name, batch.schema, [batch])
    return built.plugin.open(Segment(len(built.values), KIND, built.params, built.detail, out.reader()))


def build_reader(built):
    return SegmentReader(built.store, built.files)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("partitions", lambda c: {**c, "end": pa.array(np.asarray(c["end"])[::-1])}),
        ("partitions", lambda c: {**c, "end": pa.array(np.asarray(c["end"]) + 1)}),
        ("partitions", lambda c: {**c, "centroid": random_vectors(pa.list_(pa.float32(), 3), len(c["end"]), 1, bad=0)}),
        ("partitions", lambda c: {**c, "centroid": pa.array([[float("nan")] * 16] * len(c["end"]), KIND)}),
        ("codebook", lambda c: {"values": c["values"].slice(1)}),
        ("codes", lambda c: {**c, "code": pa.array([b"x"] * len(c["code"]), pa.binary(1))}),
        ("codes", lambda c: {**c, "ordinal": pa.array(np.full(len(c["code"]), 5000, np.uint32))}),
        ("codes", lambda c: {**c, "ordinal": pa.array(np.asarray(c["ordinal"])[::-1].copy())}),
    ],
)
def test_sizes_and_numbers_out_of_bounds_are_corrupt(clustered, name, change):
    built = build(IvfPq(), clustered.slice(0, 300), {"num_partitions": 4})
    searcher = forged(built, name, change)
    with pytest.raises(Corrupt):
        searcher.nearest(as_queries([1] * 16, KIND, "l2"), Nearest(300, "l2"), None)


def _tight_and_wide() -> tuple[pa.FixedSizeListArray, np.ndarray]:
    """Vectors and queries half of which lie near a space of few numbers, in tight partitions, and half everywhere."""
    points = np.random.default_rng(0).normal(size=(6200, 48)).astype(np.float32)
    points[::2, 4:] *= 0.3
    return pa.FixedSizeListArray.from_arrays(points[200:].ravel(), 48), points[:200]


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_wide_partitions_count_as_farther_where_fewer_rows_are_then_looked_at(metric):
    values, queries = _tight_and_wide()
    built = build(IvfFlat(), values, {"num_partitions": 80, "metric": metric})
    assert built.detail["biased"]
    detail = {name: value for name, value in built.detail.items() if name != "biased"}
    searcher = built.open()
    before = built.plugin.open(Segment(len(values), values.type, built.params, detail, build_reader(built)))
    assert before.stored.bias is None, "a reader that does not know it"
    assert (searcher.stored.bias >= 0).all()
    points, wide = values.flatten().to_numpy().reshape(-1, 48), queries
    if metric == "cosine":
        points, wide = (some / np.linalg.norm(some, axis=1, keepdims=True) for some in (points, wide))
    true = np.argsort((points**2).sum(axis=1) - 2 * wide @ points.T, axis=1)[:, :10]

    def looked(of, how):
        placed = np.ascontiguousarray(of.space.queries(queries))
        _, numbers = of._coarse(placed, of._asked(how, 10, None))
        hits = of.nearest(queries, how, None).ordinals.tolist()
        recall = np.mean([len({*a} & {*b}) / 10 for a, b in zip(hits, true.tolist(), strict=True)])
        return float(np.where(numbers < 0, 0, of.partition_sizes[numbers]).sum()), recall

    def fewest(of):
        found = (looked(of, Nearest(10, metric, options={"reach": reach})) for reach in np.linspace(0.3, 2, 35))
        return next(rows for rows, recall in found if recall >= 0.95)

    assert fewest(searcher) < 0.97 * fewest(before)
    assert looked(searcher, Nearest(10, metric))[1] >= 0.95
    assert looked(searcher, Nearest(10, metric, options={"reach": 1e9}))[1] == 1
    for how in (Nearest(10, metric), Nearest(10, metric, (7, 7)), Nearest(10, metric, options={"reach": 0.5})):
        together = searcher.nearest(queries, how, None).ordinals
        alone = [searcher.nearest(query[np.newaxis], how, None).ordinals[0] for query in queries]
        assert np.array_equal(together, alone)
    # The distances are those of the vectors, whatever their partition counts.
    exact = np.take_along_axis(distances(queries, values, metric), true, 1)
    every = searcher.nearest(queries, Nearest(10, metric, (80, 80)), None)
    assert np.allclose(np.sort(every.scores, axis=1), exact, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("long", [1, 40])
@pytest.mark.parametrize("metric", ["l2", "cosine", "dot"])
@pytest.mark.parametrize("kind", ["IVF_FLAT", "IVF_PQ", "IVF_SQ", "IVF_RQ", "IVF_HNSW_SQ", "HNSW"])
def test_vectors_too_long_to_compare_are_left_out(clustered, kind, metric, long):
    points = clustered.slice(0, 1500).flatten().to_numpy().reshape(-1, 16).copy()
    # Sentinels: one of them in a sample ended the process in faiss.
    points[:long, 3] = np.finfo(np.float32).max
    points[60:62] *= np.float32(1e17)
    built = build(INDEXES.get(kind), pa.FixedSizeListArray.from_arrays(points.ravel(), 16), {"metric": metric})
    searcher = built.open()
    queries = clustered.slice(100, 50).flatten().to_numpy().reshape(-1, 16)
    found = searcher.nearest(queries, Nearest(10, metric), None).ordinals
    assert (found >= long if long > 7 else found != 0).all()
    longest = np.full((2, 16), np.finfo(np.float32).max, np.float32)
    for one in (longest, longest[:1]):
        assert searcher.nearest(one, Nearest(10, metric), None).ordinals.shape == (len(one), 10)


@pytest.mark.parametrize("bias", [-1.0, float("nan"), float("inf")])
def test_a_bias_that_cannot_be_is_corrupt(bias):
    values, queries = _tight_and_wide()
    built = build(IvfFlat(), values, {"num_partitions": 80})
    out = SegmentWriter(MemoryStore())
    for file in built.files:
        opened = build_reader(built).file(file.name)
        columns = dict(zip(opened.schema.names, opened.columns(opened.schema.names), strict=True))
        if "bias" in columns:
            columns["bias"] = pa.array([bias, *columns["bias"].to_pylist()[1:]], pa.float32())
        fields = [
            pa.field(name, array.type, False, {"lance_like:encoding": "plain"}) for name, array in columns.items()
        ]
        schema = pa.schema(fields)
        out.write(file.name, schema, [pa.record_batch([*columns.values()], schema=schema)])
    segment = Segment(len(values), values.type, built.params, built.detail, out.reader())
    with pytest.raises(Corrupt, match="bias"):
        built.plugin.open(segment).nearest(queries[:1], Nearest(5, "l2"), None)


LEVELS, NEAR = [0, 1, 0, 0], [[1, 2], [], [0], [0]]


@pytest.mark.parametrize(
    ("levels", "near", "entry"),
    [
        ([1, 0, 0, 0], NEAR, 0),
        ([0, 2, 0, 0], NEAR, 0),
        ([0, 0, 0, 0], NEAR, 0),
        (LEVELS, [[1, 3], [], [0], [0]], 0),
        (LEVELS, [[1, 2], [1], [0], [0]], 0),
        (LEVELS, [[1] * 5, [], [0], [0]], 0),
        (LEVELS, NEAR, 1),
        (LEVELS, NEAR, 3),
        (LEVELS, NEAR, -1),
    ],
)
def test_links_out_of_bounds_are_corrupt(levels, near, entry):
    kind = pa.list_(pa.uint32())
    good = checked_links(pa.array(LEVELS, pa.uint8()), pa.array(NEAR, kind), 3, 2, 0)
    assert good.levels.tolist() == [2, 1, 1]
    with pytest.raises(Corrupt):
        checked_links(pa.array(levels, pa.uint8()), pa.array(near, kind), 3, 2, entry)


def test_a_graph_of_too_many_links_is_corrupt(clustered):
    built = build(Hnsw(), clustered.slice(0, 100), {})
    segment = Segment(100, KIND, {**built.params, "m": 1 << 30}, built.detail, build_reader(built))
    with pytest.raises(Corrupt):
        Hnsw().open(segment).nearest(as_queries([1] * 16, KIND, "l2"), Nearest(5, "l2"), None)


@pytest.mark.parametrize(("kind", "refined"), [("IVF_HNSW_PQ", True), ("IVF_HNSW_FLAT", False)])
def test_graphs_are_made_of_other_codes_too(clustered, kind, refined):
    vectors = clustered.slice(0, 1000)
    built = build(INDEXES.get(kind), vectors, {})
    assert built.detail["recall"] >= 0.95
    assert (built.detail["refine_factor"] > 0) == refined
    queries = as_queries(vectors.slice(7, 1).to_pylist(), KIND, "l2")
    searcher = built.open()
    allowed = BitMap(range(0, 1000, 100))
    found = searcher.nearest(queries, Nearest(20, "l2"), allowed)
    assert set(found.ordinals[0].tolist()) == {-1, *allowed}
    assert 7 in searcher.nearest(queries, Nearest(20, "l2"), None).ordinals[0]


def test_rows_allowed_are_those_of_each_search(clustered):
    built = build(IvfPq(), clustered, {"num_partitions": 10})
    searcher = built.open()
    query = as_queries(clustered[0].as_py(), KIND, "l2")
    even, odd = BitMap(range(0, 4000, 2)), BitMap(range(1, 4000, 2))
    for allowed in (even, odd, odd, even, None, even):
        found = searcher.nearest(query, Nearest(2000, "l2", nprobes=(10, None)), allowed).ordinals[0]
        every = np.arange(4000) if allowed is None else np.array(allowed)
        assert np.isin(found, every).all()
        assert len(found) == 2000
    again = built.open().nearest(query, Nearest(2000, "l2", nprobes=(10, None)), even).ordinals[0]
    assert np.array_equal(found, again)


def test_the_tuner_reaches_what_is_asked_and_says_how(clustered):
    built = build(IvfPq(), clustered, {"num_partitions": 40, "num_sub_vectors": 8})
    queries = np.array(clustered.slice(0, 60).to_pylist()) + 0.1
    tuning = tune(built.open(), ArraySource(clustered), queries, target_recall=0.9)
    assert tuning.reached
    assert tuning.recall > 0.8
    assert "<- chosen" in str(tuning)
    tuned = {**built.params, **tuning.params}
    segment = Segment(len(clustered), KIND, tuned, built.detail, build_reader(built))
    searcher = built.plugin.open(segment)
    assert searcher.defaults.nprobes == tuning.chosen.nprobes
    assert searcher.defaults.reach == tuning.chosen.reach
    assert searcher.refine_factor == tuning.chosen.refine_factor


def test_the_tuner_chooses_a_reach_where_queries_differ():
    values, queries = _large_and_small(32)
    built = build(IvfFlat(), values, {"num_partitions": 80})
    tuning = tune(built.open(), ArraySource(values), queries, target_recall=0.9)
    reaches = [way for way in tuning.measured if way.reach is not None and way.recall >= 0.9]
    assert reaches, "a reach is found that is enough"
    least = min(way.reach for way in reaches)
    assert all(way.recall < 0.9 for way in tuning.measured if way.reach is not None and way.reach < least)
    # Whatever was the quickest here: the index is then searched as was measured.
    for reach in (least, None):
        params = {**built.params, **tuning.params, "reach": reach}
        searcher = built.plugin.open(Segment(len(values), values.type, params, built.detail, build_reader(built)))
        asked = searcher._asked(Nearest(10, "l2"), 10, None)
        assert asked.reach == reach
        assert asked.widest == 2 * tuning.chosen.nprobes if reach is not None else asked.least == tuning.chosen.nprobes


def test_a_caller_says_how_near_partitions_are(clustered):
    built = build(IvfFlat(), clustered, {"num_partitions": 60})
    searcher = built.open()
    queries = as_queries(clustered.slice(0, 100).to_pylist(), KIND, "l2")
    every = searcher.nearest(queries, Nearest(10, "l2", (60, 60)), None).ordinals
    before = 0.0
    for reach in (0.0, 0.05, 0.5, 1e9):
        how = Nearest(10, "l2", options={"reach": reach})
        found = searcher.nearest(queries, how, None).ordinals
        _, numbers = searcher._coarse(queries, searcher._asked(how, 10, None))
        looked = float((numbers >= 0).mean(axis=0).sum())
        assert looked >= before
        before = looked
        for query, row in zip(queries, found, strict=True):
            assert np.array_equal(searcher.nearest(query[np.newaxis], how, None).ordinals[0], row)
    assert (looked, found.tolist()) == (60, every.tolist())
    few = Nearest(10, "l2", (1, 3), options={"reach": 1e9})
    assert (searcher._coarse(queries, searcher._asked(few, 10, None))[1] >= 0).sum(axis=1).tolist() == [3] * 100


def test_the_tuner_asks_rows_for_their_neighbours(clustered):
    searcher = build(Hnsw(), clustered.slice(0, 1000), {}).open()
    tuning = tune(searcher, ArraySource(clustered.slice(0, 1000)), target_recall=0.9)
    assert tuning.recall > 0.85
    assert tuning.chosen.ef is not None
    with pytest.raises(InvalidInput):
        tune(searcher, ArraySource(clustered.slice(0, 1000)), [[1.0] * 16])


NUMBERS = {"l2": pa.float32(), "cosine": pa.float32(), "dot": pa.float32(), "hamming": pa.uint8()}


@pytest.mark.parametrize("metric", NUMBERS)
def test_each_query_looks_into_the_partitions_within_reach(metric):
    kind = pa.list_(NUMBERS[metric], 16)
    values = random_vectors(kind, 4000, 1, bad=0)
    built = build(IvfFlat(), values, {"num_partitions": 60, "metric": metric})
    assert 0 < built.detail["reach"] < 2
    searcher = built.open()
    queries = np.ascontiguousarray(searcher.space.queries(as_queries(values.slice(0, 200).to_pylist(), kind, metric)))
    asked = searcher._asked(Nearest(10, metric), 10, None)
    _, several = searcher._coarse(queries, asked)
    counts = (several >= 0).sum(axis=1)
    assert len({*counts.tolist()}) > 1
    assert counts.min() >= asked.least
    assert counts.max() <= min(60, max(asked.least, 2 * built.detail["nprobes"]))
    for query, among in zip(queries, several, strict=True):
        _, alone = searcher._coarse(query[np.newaxis], asked)
        assert np.array_equal(alone[0][alone[0] >= 0], among[among >= 0])


def _large_and_small(dimension: int) -> tuple[pa.FixedSizeListArray, np.ndarray]:
    """Vectors and queries of clusters of which a few are large and lie in many partitions, and most are small."""
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(200, dimension))
    among = centres[np.minimum(rng.zipf(1.3, 8200) - 1, 199)]
    points = (among + rng.normal(0, 0.6, among.shape)).astype(np.float32)
    return pa.FixedSizeListArray.from_arrays(points[200:].ravel(), dimension), points[:200]


def test_fewer_rows_are_looked_at_within_reach_than_in_as_many_partitions():
    values, queries = _large_and_small(32)
    points = values.flatten().to_numpy().reshape(-1, 32)
    built = build(IvfFlat(), values, {"num_partitions": 80})
    searcher = built.open()
    asked = searcher._asked(Nearest(10, "l2"), 10, None)
    _, within = searcher._coarse(queries, asked)
    _, fixed = searcher._nearest_centroids(queries, built.detail["nprobes"])
    rows, as_many = (np.where(some < 0, 0, searcher.partition_sizes[some]).sum() for some in (within, fixed))
    assert rows < 0.9 * as_many
    found = searcher.nearest(queries, Nearest(10, "l2"), None).ordinals
    apart = np.square(points[np.newaxis] - queries[:, np.newaxis]).sum(axis=2)
    nearest = np.argsort(apart, axis=1)[:, :10]
    assert np.mean([len({*a} & {*b}) for a, b in zip(found.tolist(), nearest.tolist(), strict=True)]) >= 9.5


def test_a_query_far_from_all_looks_into_as_many_as_others(clustered):
    built = build(IvfFlat(), clustered, {"num_partitions": 60})
    searcher = built.open()
    asked = searcher._asked(Nearest(10, "l2"), 10, None)
    near = as_queries(clustered.slice(0, 100).to_pylist(), KIND, "l2")
    usual = (searcher._coarse(near, asked)[1] >= 0).sum(axis=1)
    far = (searcher._coarse(near * 1000, asked)[1] >= 0).sum(axis=1)
    assert far.mean() > usual.mean() / 2


def test_a_segment_without_reach_looks_into_as_many_partitions(clustered):
    built = build(IvfFlat(), clustered, {"num_partitions": 40})
    detail = {name: value for name, value in built.detail.items() if name != "reach"}
    segment = Segment(len(clustered), KIND, built.params, {**detail, "nprobes": 9}, build_reader(built))
    searcher = built.plugin.open(segment)
    asked = searcher._asked(Nearest(10, "l2"), 10, None)
    assert (asked.least, asked.reach) == (9, None)


def test_the_measured_error_and_recall_are_told(clustered):
    detail = build(IvfPq(), clustered, {}).detail
    assert detail["recall"] >= 0.95
    assert 0 < detail["error"] < 1


def test_rows_that_are_about_equally_far_have_more_candidates_compared():
    values = pa.array(
        list(np.random.default_rng(0).normal(size=(20_000, 64)).astype(np.float32)), pa.list_(pa.float32(), 64)
    )
    detail = build(IvfPq(), values, {"num_sub_vectors": 22, "num_bits": 4}).detail
    assert detail["refine_factor"] > 32
    assert detail["recall"] >= 0.95


def test_a_graph_keeps_as_many_candidates_of_the_rows_that_are_allowed():
    values = random_vectors(KIND, 4000, 3, bad=0)
    searcher = build(Hnsw(), values, {"m": 4}).open()
    allowed = np.arange(0, 4000, 4)
    queries = as_queries(values.slice(0, 50).to_pylist(), KIND, "l2")
    found = searcher.nearest(queries, Nearest(10, "l2", ef=32), BitMap(allowed))
    apart = distances(queries, values.take(pa.array(allowed)), "l2")
    nearest = allowed[np.argsort(apart, axis=1)[:, :10]]
    recall = np.mean([len({*row} & {*best}) / 10 for row, best in zip(found.ordinals, nearest, strict=True)])
    assert recall > 0.9


def test_lists_are_filled_once():
    made = []

    class Scan:
        def __init__(self):
            made.append(self)
            self.numbers = []

        def add(self, number, rows):
            self.numbers.append(number)

    lists = Lists(Scan, lambda numbers: [None] * len(numbers), np.array([10, 10, 10]), 12)
    lists.holding(np.array([0, 2, 0]))
    lists.holding(np.array([2, 1]))
    assert made[0].numbers == [0, 2, 1]
    assert lists.nbytes_cached == 30 * 12


def _search(searcher, queries, answers):
    found = searcher.nearest(queries, Nearest(5, "l2"), None)
    built = build(IvfPq(), random_vectors(KIND, 500, 2), {"num_partitions": 8})
    answers.put((found.ordinals.tolist(), built.detail["vectors"]))


@pytest.mark.slow
def test_a_forked_process_searches_and_builds(clustered):
    searcher = build(IvfPq(), clustered, {}).open()
    queries = as_queries(clustered.slice(0, 20).to_pylist(), KIND, "l2")
    expected = searcher.nearest(queries, Nearest(5, "l2"), None).ordinals.tolist()
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    process = context.Process(target=_search, args=(searcher, queries, answers))
    process.start()
    found, count = answers.get(timeout=60)
    process.join(60)
    assert found == expected
    assert count > 400


def test_codes_are_those_of_the_specification():
    centroids = np.zeros((1, 3), np.float32)
    here = np.zeros(3, np.int64)
    vectors = np.array([[-1, 0.5], [0, 1], [2, 1]], np.float32)
    learnt = Scalar.trained(vectors)
    assert learnt.codebook.tolist() == [[-1, 0.5], [3, 0.5]]
    assert learnt.encode(vectors, here, centroids, False).tobytes().hex() == "000055ffffff"
    parts = Product(3, 3, 4, np.arange(48, dtype=np.float32).reshape(48, 1))
    assert parts.encode(np.array([[1, 18, 35]], np.float32), here[:1], centroids, False).tobytes().hex() == "2103"


@pytest.mark.parametrize("dot", [False, True])
def test_signs_and_factors_are_those_of_the_specification(dot):
    random = np.random.default_rng(3)
    size = 12
    vectors, centroids = random.normal(size=(2, 40, size)).astype(np.float32)
    partitions = random.integers(0, 40, 40)
    codes = Bits.trained(size)
    found = codes.encode(vectors, partitions, centroids, dot)
    turned = (vectors - centroids[partitions]) @ codes.codebook.T
    signs = np.unpackbits(found[:, :-8], axis=1, bitorder="little")[:, :size]
    factors = found[:, -8:].copy().view("<f4")
    assert np.array_equal(signs, turned > 0)
    assert np.allclose(factors[:, 0], (turned**2).sum(1) - dot * (vectors**2).sum(1), atol=1e-4)
    assert np.allclose(factors[:, 1], (turned**2).sum(1) * np.sqrt(size) / np.abs(turned).sum(1), rtol=1e-4)


def test_arrays_reach_the_build_of_a_table(clustered, tmp_path):
    table = lance_like.write_dataset(pa.table({"v": clustered}), tmp_path)
    centroids = np.random.default_rng(2).normal(size=(5, 16)).astype(np.float32)
    table.create_index("v", "IVF_SQ", ivf_centroids=centroids)
    [segment] = table._session.indexes.coverage(table._manifest, "v_idx").segments
    assert np.array_equal(segment.searcher.stored.centroids, centroids)
    with pytest.raises(InvalidInput, match="accelerator"):
        table.create_index("v", "IVF_SQ", accelerator="cuda", replace=True)
