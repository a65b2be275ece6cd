"""What vector indexes share: trained once, kept in files, given to builds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import lance_like
from lance_like.errors import Corrupt, InvalidInput, NotFound
from lance_like.file import LanceFileWriter
from lance_like.indices import IndicesBuilder, IvfModel, PqModel

VECTORS = np.random.default_rng(5).normal(size=(600, 16)).astype(np.float32)
QUERY = {"column": "v", "q": VECTORS[17], "k": 5, "nprobes": 4, "refine_factor": 20}


@pytest.fixture(scope="module")
def uri() -> str:
    lists = pa.FixedSizeListArray.from_arrays(pa.array(VECTORS.ravel()), 16)
    table = pa.table({"i": range(600), "v": lists, "s": [str(i) for i in range(600)]})
    lance_like.write_dataset(table, "memory://test_index_models", max_rows_per_file=200)
    return "memory://test_index_models"


def lists(rows: np.ndarray) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), rows.shape[1])


@pytest.mark.parametrize("metric", ["l2", "Cosine", "dot"])
def test_segments_built_apart_share_what_was_trained_once(uri: str, metric: str) -> None:
    ds = lance_like.dataset(uri)
    shared = IndicesBuilder(ds, "v").prepare_global_ivf_pq(4, 8, distance_type=metric, max_iters=5)
    assert shared["ivf_centroids"].type == pa.list_(pa.float32(), 16)
    assert (len(shared["ivf_centroids"]), len(shared["pq_codebook"])) == (4, 8 * 256)
    parts = [
        lance_like.dataset(uri).create_index_uncommitted("v", "IVF_PQ", metric=metric, fragment_ids=[i], **shared)
        for i in ds.fragment_ids()
    ]
    ds.commit_existing_index_segments("v_idx", "v", parts)
    for part in parts:
        assert part.entry.params["num_sub_vectors"] == 8
    given = np.array(shared["ivf_centroids"].flatten()).reshape(4, 16)
    if metric == "Cosine":
        given /= np.linalg.norm(given, axis=1, keepdims=True)
    assert np.allclose(ds.centroids(index_name="v_idx").flatten(), given.ravel(), atol=1e-6)
    assert ds.get_ivf_model("v_idx").distance_type == metric.lower()
    nearest = {**QUERY, "metric": metric}
    expected = ds.to_table(["i"], nearest={**nearest, "use_index": False})["i"].to_pylist()
    assert ds.to_table(["i"], nearest=nearest)["i"].to_pylist() == expected
    ds.checkout_version(1).restore()


def test_models_learn_from_some_fragments(uri: str) -> None:
    builder = IndicesBuilder(lance_like.dataset(uri), "v")
    one = builder.train_ivf(1, fragment_ids=[1])
    assert np.allclose(one.centroids.flatten(), VECTORS[200:400].mean(axis=0), atol=1e-5)
    codebook = builder.train_pq(one, num_bits=4, fragment_ids=[1])
    assert (codebook.num_bits, codebook.dimension) == (4, 16)
    with pytest.raises(NotFound):
        builder.train_ivf(2, fragment_ids=[9])
    with pytest.raises(NotFound):
        assert not IndicesBuilder(builder.dataset, "missing").dimension
    with pytest.raises(InvalidInput, match="no vectors"):
        IndicesBuilder(builder.dataset, "s").train_ivf(2)
    with pytest.raises(InvalidInput, match="accelerator"):
        builder.train_ivf(2, accelerator="cuda")


def test_models_are_as_large_as_in_pylance_by_default(uri: str) -> None:
    builder = IndicesBuilder(lance_like.dataset(uri), "v")
    assert builder.train_ivf(fragment_ids=[1], max_iters=1).num_partitions == 14
    ivf = builder.train_ivf(max_iters=1)
    assert (builder.dimension, ivf.num_partitions) == (16, round(builder.dataset.count_rows() ** 0.5))
    assert builder.train_pq(ivf, num_bits=4).num_subvectors == 1


def test_a_codebook_learns_from_so_many_rows_for_each_number(tmp_path: Path) -> None:
    uri = tmp_path / "t"
    lance_like.write_dataset(pa.table({"v": lists(VECTORS)}), uri)
    builder = IndicesBuilder(lance_like.dataset(uri), "v")
    ivf = builder.train_ivf(1)
    parts = {part.tobytes() for part in VECTORS.reshape(-1, 4)}

    def from_rows(**options: int) -> bool:
        codebook = builder.train_pq(ivf, 4, num_bits=4, **options).codebook
        numbers = codebook.values.to_numpy().reshape(-1, 4)
        return all(number.tobytes() in parts for number in numbers)

    # As many rows as numbers: each is a number as it is.
    assert from_rows(sample_rate=1)
    assert not from_rows()


def test_models_are_kept_in_files(tmp_path: Path) -> None:
    ivf = IvfModel(lists(VECTORS[:4]), "cosine")
    ivf.save(tmp_path / "ivf")
    again = IvfModel.load(tmp_path / "ivf")
    assert (again.centroids, again.distance_type, again.num_partitions) == (ivf.centroids, "cosine", 4)
    pq = PqModel(4, lists(VECTORS[:64, :4]), num_bits=4)
    pq.save(tmp_path / "pq")
    same = PqModel.load(tmp_path / "pq")
    assert (same.codebook, same.num_subvectors, same.num_bits, same.dimension) == (pq.codebook, 4, 4, 16)
    with pytest.raises(Corrupt, match="centroids"):
        IvfModel.load(tmp_path / "pq")
    with LanceFileWriter(tmp_path / "other", pa.schema([("centroids", pa.int8())], {"distance_type": "l2"})) as writer:
        writer.write_batch(pa.table({"centroids": pa.array([1], pa.int8())}))
    with pytest.raises(Corrupt, match="int8"):
        IvfModel.load(tmp_path / "other")


def test_centroids_are_those_of_an_index_of_vectors(uri: str) -> None:
    ds = lance_like.dataset(uri)
    ds.create_index("v", "IVF_FLAT", num_partitions=3)
    ds.create_scalar_index("i", "ZONEMAP", rows_per_zone=50)
    [told] = ds.index_statistics("v_idx")["indices"]
    assert (told["index_type"], told["metric_type"], told["num_partitions"]) == ("IVF_FLAT", "l2", 3)
    assert ds.index_statistics("i_idx")["indices"][0]["rows_per_zone"] == 50
    assert sum(part["size"] for part in told["partitions"]) == ds.count_rows("v IS NOT NULL")
    assert len(told["partitions"]) == 3
    unread = lance_like.dataset(uri, indices="ignore").index_statistics("v_idx")["indices"]
    assert unread == [{name: value for name, value in told.items() if name != "partitions"}]
    assert ds.centroids(column="v") == ds.centroids(index_name="v_idx")
    assert len(ds.centroids(column="v")) == 3
    for wrong, error in (({"index_name": "i_idx"}, InvalidInput), ({}, InvalidInput), ({"column": "i"}, NotFound)):
        with pytest.raises(error):
            ds.centroids(**wrong)
    ds.checkout_version(1).restore()


@pytest.mark.parametrize(
    ("kind", "column", "expected"),
    [
        ("BITMAP", "s", {"num_bitmaps": 2}),
        ("NGRAM", "s", {"num_ngrams": 6}),
        ("INVERTED", "s", {"num_tokens": 3, "num_docs": 4}),
        ("ZONEMAP", "i", {"num_zones": 2, "rows_per_zone": 3}),
        ("BLOOMFILTER", "i", {"num_zones": 2, "rows_per_zone": 3}),
    ],
)
def test_statistics_count_what_pylance_counts(tmp_path: Path, kind: str, column: str, expected: dict[str, int]) -> None:
    table = pa.table({"i": range(4), "s": ["red abcd", "abcd", "abcd", "abcd"]})
    if kind == "INVERTED":
        table = pa.table({"s": ["red hat", "red", "cat", "hat"]})
    ds = lance_like.write_dataset(table, tmp_path / "t")
    ds.create_scalar_index(column, kind, **({"rows_per_zone": 3} if column == "i" else {}))
    [told] = ds.index_statistics(f"{column}_idx")["indices"]
    assert {name: told[name] for name in expected} == expected


def test_statistics_tell_of_the_codes_of_vectors(uri: str) -> None:
    ds = lance_like.dataset(uri)
    ds.create_index("v", "IVF_PQ", num_partitions=2, num_sub_vectors=4, num_bits=4)
    [told] = ds.index_statistics("v_idx")["indices"]
    assert told["sub_index"] == {
        "index_type": "PQ",
        "metric_type": "l2",
        "nbits": 4,
        "num_bits": 4,
        "num_sub_vectors": 4,
    }
