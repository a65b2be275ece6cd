"""Samplers share the rows of a table among ranks: each row once, in an order that follows from seed and epoch."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, pairwise
from pathlib import Path

import pyarrow as pa
import pytest

import lance_like
from lance_like.errors import InvalidInput
from lance_like.sampler import (
    FullScanSampler,
    ShardedBatchSampler,
    ShardedFixedBatchSampler,
    ShardedFragmentSampler,
    maybe_sample,
)

ROWS = 103


@pytest.fixture
def dataset(tmp_path: Path) -> lance_like.LanceDataset:
    table = pa.table({"n": range(ROWS), "text": [f"row {n}" for n in range(ROWS)]})
    return lance_like.write_dataset(table, tmp_path / "t", max_rows_per_file=10)


def numbers(batches: Iterable[pa.RecordBatch]) -> list[int]:
    return [n for batch in batches for n in batch["n"].to_pylist()]


@pytest.mark.parametrize("kind", [ShardedFragmentSampler, ShardedBatchSampler])
@pytest.mark.parametrize("filter", [None, "n % 3 = 0"])
@pytest.mark.parametrize("randomize", [False, True])
def test_ranks_share_the_rows(dataset: lance_like.LanceDataset, kind: type, filter: str, randomize: bool) -> None:
    shares = [numbers(kind(rank, 3, randomize)(dataset, batch_size=4, filter=filter)) for rank in range(3)]
    assert all(shares)
    expected = [n for n in range(ROWS) if filter is None or n % 3 == 0]
    assert sorted(n for share in shares for n in share) == expected
    assert all(share == sorted(share) for share in shares) == (not randomize)


@pytest.mark.parametrize("kind", [ShardedFragmentSampler, ShardedBatchSampler])
def test_the_order_follows_from_seed_and_epoch(dataset: lance_like.LanceDataset, kind: type) -> None:
    def order(seed: int, epoch: int) -> list[int]:
        sampler = kind(0, 1, randomize=True, seed=seed)
        sampler.set_epoch(epoch)
        return numbers(sampler(dataset, batch_size=5))

    assert order(1, 2) == order(1, 2)
    assert order(1, 2) != order(1, 3) != order(2, 3)


def test_fragments_and_batches_are_dealt_in_turn(dataset: lance_like.LanceDataset) -> None:
    by_fragment = numbers(ShardedFragmentSampler(1, 2)(dataset))
    assert by_fragment == [n for n in range(ROWS) if n // 10 % 2 == 1]
    by_batch = [batch["n"].to_pylist() for batch in ShardedBatchSampler(1, 2)(dataset, batch_size=50)]
    assert by_batch == [list(range(50, 100))]
    passing = numbers(ShardedBatchSampler(1, 2)(dataset, filter="n % 2 = 0"))
    assert passing == list(range(2, ROWS, 4))


def test_scans_give_whole_batches_and_the_columns_asked_for(dataset: lance_like.LanceDataset) -> None:
    batches = list(FullScanSampler()(dataset, batch_size=16, columns=["n"], with_row_id=True))
    assert [batch.num_rows for batch in batches] == [16] * 6 + [7]
    assert batches[0].schema.names == ["n", "_rowid"]
    with pytest.warns(UserWarning, match="with_row_id"):
        [first, *_] = ShardedBatchSampler(0, 1)(dataset, columns={"m": "n + 1"}, with_row_id=True)
    assert first.schema.names == ["m"]


def test_positions_are_cut_into_ranges_and_batches() -> None:
    assert [list(ShardedFixedBatchSampler(rank, 3, batch_size=2, total_num_rows=8)) for rank in range(3)] == [
        [[0, 1], [2]],
        [[3, 4], [5]],
        [[6, 7]],
    ]
    assert list(ShardedFixedBatchSampler(2, 4, batch_size=10, total_num_rows=2)) == []
    shuffled = ShardedFixedBatchSampler(0, 1, randomize=True, batch_size=3, total_num_rows=100)
    assert len(shuffled) == 34
    first = list(shuffled)
    assert first != sorted(first) and sorted(chain(*first)) == list(range(100))
    shuffled.set_epoch(1)
    assert list(shuffled) != first


@pytest.mark.parametrize("wrong", [{"rank": 2, "world_size": 2}, {"rank": 0, "world_size": 1, "seed": -1}])
def test_a_share_that_cannot_be_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InvalidInput):
        ShardedFragmentSampler(**wrong)
    with pytest.raises(InvalidInput, match="batch"):
        ShardedFixedBatchSampler(0, 1, total_num_rows=5)


@pytest.mark.parametrize("most_runs", [1, 7, 50, 1000])
@pytest.mark.parametrize("wanted", [0, 1, 50, 102, 103, 500])
def test_a_sample_has_so_many_different_rows(dataset: lance_like.LanceDataset, wanted: int, most_runs: int) -> None:
    found = numbers(maybe_sample(dataset, wanted, "n", max_takes=most_runs))
    assert found == sorted(set(found)) and len(found) == min(wanted, ROWS)
    runs = sum(b - a > 1 for a, b in pairwise(found)) + 1
    assert runs <= max(most_runs, 1) or wanted <= most_runs


def test_a_sample_may_be_of_rows_that_pass(dataset: lance_like.LanceDataset) -> None:
    batches = list(maybe_sample(dataset.uri, 20, ["n"], batch_size=8, filt="n >= 50"))
    assert [batch.num_rows for batch in batches] == [8, 8, 4]
    assert min(numbers(batches)) >= 50
    assert numbers(maybe_sample(dataset, 99, ["n"], filt="n >= 50")) == list(range(50, ROWS))
