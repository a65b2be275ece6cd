"""Two rankings as one."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from lance_like.errors import InvalidInput
from lance_like.query.fuse import (
    LinearCombinationReranker,
    MRRReranker,
    Ranked,
    RRFReranker,
    all_ids,
    best_first,
    relevance_of,
    scores_of,
)

NEAR = Ranked(np.array([7, 3, 9]), np.array([0.5, 1.0, 3.0], np.float32))
TEXT = Ranked(np.array([9, 4]), np.array([8.0, 2.0], np.float32))
IDS = np.array([3, 4, 7, 9])


def test_rows_of_any_search_stand_once() -> None:
    assert all_ids(NEAR, TEXT).tolist() == IDS.tolist()
    assert all_ids(NEAR, None).tolist() == [3, 7, 9]


def test_reciprocal_ranks_are_summed() -> None:
    found = RRFReranker(10).relevance(IDS, NEAR, TEXT)
    assert found == pytest.approx([1 / 12, 1 / 12, 1 / 11, 1 / 13 + 1 / 11])
    assert RRFReranker(10).relevance(IDS, None, TEXT) == pytest.approx([0, 1 / 12, 0, 1 / 11])


def test_mean_reciprocal_ranks_are_weighted() -> None:
    assert MRRReranker(0.25, 0.75).relevance(IDS, NEAR, TEXT) == pytest.approx([0.125, 0.375, 0.25, 0.25 / 3 + 0.75])


def test_scores_are_normalised_and_weighted() -> None:
    found = LinearCombinationReranker(0.5, fill=0.9).relevance(IDS, NEAR, TEXT)
    assert found == pytest.approx([0.4 + 0.05, 0.05, 0.5 + 0.05, 0.5])
    alike = Ranked(np.array([3, 4]), np.array([2.0, 2.0], np.float32))
    assert LinearCombinationReranker(1.0).relevance(np.array([3, 4]), alike, None).tolist() == [1.0, 1.0]
    nothing = Ranked(np.empty(0, np.int64), np.empty(0, np.float32))
    assert LinearCombinationReranker(1.0).relevance(np.array([3]), nothing, None).tolist() == [0.0]


def test_weights_must_make_sense() -> None:
    for make in (lambda: LinearCombinationReranker(1.5), lambda: RRFReranker(-1), lambda: MRRReranker(0, 0)):
        with pytest.raises(InvalidInput):
            make()


def test_the_greatest_is_first_and_of_equal_ones_the_lower_id() -> None:
    assert best_first(np.array([9, 4, 5, 6]), np.array([1.0, 2.0, 2.0, np.nan])).tolist() == [1, 2, 0, 3]


def test_scores_are_null_where_a_search_found_nothing() -> None:
    assert scores_of(IDS, TEXT).to_pylist() == [None, 2.0, None, 8.0]
    assert scores_of(IDS, None).to_pylist() == [None] * 4


def test_a_function_answers_with_scores_or_rows() -> None:
    places, relevance = relevance_of(pa.chunked_array([[1.0, 3.0, 2.0, 3.0]]), IDS)
    assert (places.tolist(), relevance.tolist()) == ([1, 3, 2, 0], [3.0, 3.0, 2.0, 1.0])
    places, relevance = relevance_of(pa.table({"_rowid": pa.array([9, 3], pa.uint64())}), IDS)
    assert places.tolist() == [3, 0] and relevance[0] > relevance[1]
    batch = pa.record_batch({"_rowid": [3, 9], "_relevance_score": [1, 2]})
    assert relevance_of(batch, IDS)[0].tolist() == [3, 0]
    assert len(relevance_of(pa.table({"_rowid": pa.array([], pa.int64())}), IDS)[0]) == 0


@pytest.mark.parametrize("rows", [[9, 9], [5], [100]])
def test_a_function_gives_only_rows_it_was_given(rows: list[int]) -> None:
    with pytest.raises(InvalidInput, match="twice, or that were not found"):
        relevance_of(pa.table({"_rowid": rows}), IDS)
