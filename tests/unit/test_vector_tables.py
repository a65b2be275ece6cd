"""Tables made of vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lance_like.errors import InvalidInput
from lance_like.vector import vec_to_table

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
