"""A vector index is searched as was measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import lance_like
from lance_like import LanceDataset
from lance_like.errors import InvalidInput, NotFound

RNG = np.random.default_rng(3)
VECTORS = RNG.standard_normal((3000, 16)).astype(np.float32)


@pytest.fixture
def dataset(uri: str) -> LanceDataset:
    data = pa.table({"i": range(3000), "v": pa.array(list(VECTORS), pa.list_(pa.float32(), 16))})
    made = lance_like.write_dataset(data, uri, max_rows_per_file=1000)
    made.create_index("v", "IVF_FLAT", num_partitions=20)
    return made


def recall(dataset: LanceDataset, **options: Any) -> float:
    queries = VECTORS[:40] + np.float32(0.1)

    def found(**more: Any) -> np.ndarray:
        nearest = {"column": "v", "q": queries, "k": 10, **more}
        return dataset.to_table(columns=["i"], nearest=nearest)["i"].to_numpy().reshape(40, 10)

    true = found(use_index=False)
    return float(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found(**options), true, strict=True)]))


def test_a_tuned_index_has_the_recall_that_was_asked_for(dataset: LanceDataset) -> None:
    version = dataset.version
    looked = dataset.tune_index("v_idx", target_recall=0.9, apply=False)
    assert dataset.version == version and "chosen" in str(looked)
    assert recall(dataset, nprobes=1) < 0.6
    tuning = dataset.tune_index("v_idx", target_recall=0.98)
    assert tuning.reached and dataset.version == version + 1
    params = dataset._manifest.indices[0].params
    assert (params["nprobes"], params["reach"]) == (tuning.chosen.nprobes, tuning.chosen.reach)
    assert recall(dataset) > 0.93
    assert recall(lance_like.dataset(dataset.uri)) > 0.93


def test_how_near_partitions_are_may_be_said(dataset: LanceDataset) -> None:
    assert recall(dataset, reach=0.0) < recall(dataset, reach=0.5) < recall(dataset, reach=100) == 1.0
    some = dataset.search(VECTORS[7], vector_column="v").reach(100).limit(5).to_table()
    assert (
        some["i"].to_pylist()
        == dataset.search(VECTORS[7], vector_column="v").nprobes(20).limit(5).to_table()["i"].to_pylist()
    )


def test_rows_that_have_gone_are_not_measured(dataset: LanceDataset) -> None:
    dataset.delete("i % 3 = 0")
    dataset.update({"v": "list_transform(v, lambda x: x + 1)"}, "i % 3 = 1 and i < 900")
    assert dataset.tune_index("v_idx", VECTORS[1:21:3] + np.float32(0.1), target_recall=0.9).recall > 0.5
    assert recall(dataset) > 0.8


def test_only_vectors_are_tuned(dataset: LanceDataset) -> None:
    dataset.create_scalar_index("i", "BTREE")
    with pytest.raises(InvalidInput, match="BTREE"):
        dataset.tune_index("i_idx")
    with pytest.raises(NotFound, match="v_idx"):
        dataset.tune_index("other")
    with pytest.raises(InvalidInput, match="target_recall"):
        dataset.tune_index("v_idx", target_recall=2)
