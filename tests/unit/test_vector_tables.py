"""Tables made of vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import lance_like
from lance_like.errors import InvalidInput
from lance_like.vector import validate_vector_index, vec_to_table

VECTORS = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
TYPE = pa.list_(pa.float32(), 2)


@pytest.mark.parametrize(
    "data", [VECTORS, np.array(VECTORS), np.array(VECTORS, np.float16), np.array(VECTORS, np.uint8)]
)
def test_vectors_become_a_column(data: Any) -> None:
    assert vec_to_table(data) == pa.table({"vector": pa.array(VECTORS, TYPE)})
    assert vec_to_table(data, names="v", ndim=2).column_names == ["v"]


def test_keys_become_a_column_of_ids() -> None:
    data = {"a": np.array(VECTORS[0]), "b": VECTORS[1]}
    assert vec_to_table(data) == pa.table({"id": ["a", "b"], "vector": pa.array(VECTORS[:2], TYPE)})
    assert vec_to_table(data, names=["key", "v"]).column_names == ["key", "v"]


@pytest.mark.parametrize(
    ("data", "options"),
    [
        ([], {}),
        ([1.0, 2.0], {}),
        ([[1.0], [2.0, 3.0]], {}),
        ([["x"]], {}),
        (VECTORS, {"ndim": 3}),
        (VECTORS, {"names": ["id", "v"]}),
        ({1: [1.0]}, {"names": "v"}),
    ],
)
def test_what_is_no_table_of_vectors_is_refused(data: Any, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        vec_to_table(data, **options)


def test_an_index_is_checked_with_vectors_of_the_table() -> None:
    vectors = np.random.default_rng(3).normal(size=(300, 8)).astype(np.float32)
    table = vec_to_table(vectors).append_column("i", pa.array(range(300)))
    ds = lance_like.write_dataset(table, "memory://")
    ds.create_index("vector", "IVF_FLAT", num_partitions=4)
    validate_vector_index(ds, "vector", sample_size=20)
    ds.insert({"vector": [None, [float("nan")] * 8], "i": [1, 2]})
    validate_vector_index(ds, "vector")
    poor = lance_like.write_dataset(table, "memory://")
    poor.create_index("vector", "IVF_PQ", num_partitions=1, num_sub_vectors=1, num_bits=4)
    with pytest.raises(InvalidInput, match="of 300 vectors"):
        validate_vector_index(poor, "vector", refine_factor=1)
    validate_vector_index(poor, "vector", refine_factor=1, pass_threshold=0.0)
    with pytest.raises(InvalidInput, match="no vector"):
        validate_vector_index(ds.checkout_version(1), "vector", sample_size=0)
