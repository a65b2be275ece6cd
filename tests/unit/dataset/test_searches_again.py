"""Searches asked again for other vectors: what one was asked for must not show in another's answer."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import lance_like
from lance_like.dataset import again
from lance_like.errors import InvalidInput


@pytest.fixture
def ds(tmp_path: Path) -> lance_like.LanceDataset:
    points = np.random.default_rng(1).normal(size=(900, 8)).astype(np.float32)
    vectors = pa.FixedSizeListArray.from_arrays(points.ravel(), 8)
    table = pa.table({"i": np.arange(900), "name": [f"n{i % 7}" for i in range(900)], "v": vectors, "w": vectors})
    found = lance_like.write_dataset(table, tmp_path / "t")
    found.create_index("v", "IVF_PQ", num_partitions=4)
    return found


def near(q: Any, **more: Any) -> dict[str, Any]:
    return {"column": "v", "q": q, **more}


def fresh(ds: lance_like.LanceDataset, options: dict[str, Any]) -> pa.Table:
    """The answer of a handle that was asked nothing before."""
    return lance_like.dataset(ds.uri, version=ds.version).to_table(**options)


WAYS = {
    "columns": [None, ["i"], ["i", "_distance"], ["name"], ("i",), {"twice": "i * 2"}],
    "filter": [None, "i < 300", "name = 'n1'"],
    "limit": [None, 3],
    "with_row_id": [None, True],
    "prefilter": [None, True, False],
}
NEAREST = {"k": [None, 1, 5, True + 4.0], "column": ["v", "w"], "nprobes": [None, 2], "refine_factor": [None, 2]}


def some(ways: dict[str, list[Any]], rng: np.random.Generator) -> dict[str, Any]:
    chosen = {name: values[rng.integers(len(values))] for name, values in ways.items()}
    return {name: value for name, value in chosen.items() if value is not None}


def test_answers_are_those_of_a_handle_that_was_asked_nothing_before(ds: lance_like.LanceDataset) -> None:
    rng = np.random.default_rng(2)
    answered = 0
    for _ in range(250):
        q = rng.normal(size=(3, 8) if rng.random() < 0.2 else 8)
        options = {**some(WAYS, rng), "nearest": near(q if rng.random() < 0.7 else q.tolist(), **some(NEAREST, rng))}
        try:
            expected = fresh(ds, options)
        except InvalidInput:
            with pytest.raises(InvalidInput):
                ds.to_table(**options)
            continue
        assert ds.to_table(**options).equals(expected)
        answered += 1
    assert answered > 100


def test_a_search_is_settled_once_for_its_options(ds: lance_like.LanceDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    made = itertools.count()
    settled = type(ds)._settled
    monkeypatch.setattr(type(ds), "_settled", lambda self, options: next(made) * 0 or settled(self, options))
    queries = np.random.default_rng(3).normal(size=(10, 8))
    for q in queries:
        ds.to_table(columns=["i"], filter="i > 5", nearest=near(q, k=3))
    assert next(made) == 1
    ds.to_table(columns=["i"], filter="i > 5", nearest=near(queries, k=3))
    assert next(made) == 3, "a batch has another answer"


def test_a_handle_that_moved_settles_anew(ds: lance_like.LanceDataset) -> None:
    q = np.zeros(8)
    first = ds.to_table(columns=["i"], nearest=near(q, k=5))["i"].to_pylist()
    ds.delete(f"i = {first[0]}")
    assert first[0] not in ds.to_table(columns=["i"], nearest=near(q, k=5))["i"].to_pylist()
    ds.drop_index("v_idx")
    assert "no index" in ds.scanner(columns=["i"], nearest=near(q, k=5)).explain_plan()


def test_what_is_wrong_is_said_again(ds: lance_like.LanceDataset) -> None:
    ds.to_table(nearest=near(np.zeros(8), k=5), prefilter=True)
    for wrong in (near(np.zeros(7), k=5), near([float("nan")] * 8, k=5), near(None, k=5)):
        with pytest.raises(lance_like.errors.LanceLikeError):
            ds.to_table(nearest=wrong, prefilter=True)
    with pytest.raises(InvalidInput, match="prefilter"):
        ds.to_table(nearest=near(np.zeros(8), k=5, prefilter=True))


def test_lists_that_are_changed_afterwards_change_nothing(ds: lance_like.LanceDataset) -> None:
    columns, nearest = ["i"], near(np.zeros(8), k=2)
    first = ds.scanner(columns=columns, nearest=nearest)
    columns.append("name")
    nearest["k"] = 4
    assert (first.to_table().column_names, len(first.to_table())) == (["i", "_distance"], 2)
    second = ds.to_table(columns=columns, nearest=nearest)
    assert (second.column_names, len(second)) == (["i", "name", "_distance"], 4)


def test_few_searches_are_kept(ds: lance_like.LanceDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    for k in range(1, again._KEPT + 20):
        ds.to_table(columns=["i"], nearest=near(np.zeros(8), k=k))
    assert ds._searches._kept.size == again._KEPT
