"""The datasets of pylance's lance.torch.data: what they give, and to whom."""

from __future__ import annotations

import shutil
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

torch = pytest.importorskip("torch")

from torch.utils.data import DataLoader  # noqa: E402

import lance_like  # noqa: E402
from lance_like.arrow import bfloat16_array  # noqa: E402
from lance_like.errors import InvalidInput, Unsupported  # noqa: E402
from lance_like.sampler import ShardedBatchSampler  # noqa: E402
from lance_like.torch import to_tensors  # noqa: E402
from lance_like.torch.data import LanceDataset, SafeLanceDataset, get_safe_loader  # noqa: E402

ROWS = 100


@pytest.fixture
def uri(tmp_path: Path) -> str:
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(4 * ROWS, dtype=np.float32)), 4)
    table = pa.table({"n": range(ROWS), "v": vectors, "u": pa.array(range(ROWS), pa.uint64())})
    lance_like.write_dataset(table, tmp_path / "t", max_rows_per_file=10)
    return str(tmp_path / "t")


def test_several_columns_are_a_dict_and_one_is_a_tensor(uri: str) -> None:
    [first, *others] = LanceDataset(uri, 16)
    assert first["v"].shape == (16, 4) and first["u"].dtype == torch.int64
    assert [len(batch["n"]) for batch in others] == [16] * 5 + [4]
    numbers = torch.cat(list(LanceDataset(uri, 16, columns=["n"], filter="n >= 50")))
    assert numbers.tolist() == list(range(50, ROWS))
    computed = next(iter(LanceDataset(uri, 4, columns={"m": "n * 2"})))
    assert computed.tolist() == [0, 2, 4, 6]


@pytest.mark.parametrize("granularity", [None, "fragment", "batch"])
def test_ranks_and_workers_share_the_rows(uri: str, granularity: Any) -> None:
    shares = [
        torch.cat(list(LanceDataset(uri, 8, columns=["n"], shard_granularity=granularity, rank=rank, world_size=3)))
        for rank in range(3)
    ]
    assert sorted(torch.cat(shares).tolist()) == list(range(ROWS))
    loader = DataLoader(
        LanceDataset(uri, 8, columns=["n"], shard_granularity=granularity), batch_size=None, num_workers=2
    )
    assert sorted(torch.cat(list(loader)).tolist()) == list(range(ROWS))
    with pytest.raises(InvalidInput, match="row"):
        LanceDataset(uri, 8, shard_granularity="row")  # pyright: ignore[reportArgumentType]


def test_a_sampler_and_a_sample_choose_rows(uri: str) -> None:
    chosen = LanceDataset(uri, 10, columns=["n"], sampler=ShardedBatchSampler(1, 2))
    assert torch.cat(list(chosen)).tolist() == [n for n in range(ROWS) if n // 10 % 2 == 1]
    some = torch.cat(list(LanceDataset(uri, 10, columns=["n"], samples=30, filter="n < 50")))
    assert len(set(some.tolist())) == 30 and some.max() < 50


@pytest.mark.parametrize("folder", [None, "kept"])
def test_the_cache_is_read_from_the_second_time_on(uri: str, tmp_path: Path, folder: str | None) -> None:
    rows = LanceDataset(uri, 16, columns=["n"], cache=True if folder is None else str(tmp_path / folder))
    next(iter(rows))  # one batch is not all of them
    first = [batch.tolist() for batch in rows]
    shutil.rmtree(uri)
    assert [batch.tolist() for batch in rows] == first
    assert list(chain(*first)) == list(range(ROWS))


def test_columns_of_blobs_are_files_for_the_callers_function(tmp_path: Path) -> None:
    blobs = pa.field("b", pa.large_binary(), metadata={"lance-encoding:blob": "true"})
    schema = pa.schema([pa.field("n", pa.int64()), blobs])
    table = pa.table({"n": range(6), "b": [bytes([n]) * 100 for n in range(6)]}, schema)
    dataset = lance_like.write_dataset(table, tmp_path / "blobs")

    def convert(batch: Any, *, use_blob_api: bool, **options: Any) -> list[tuple[int, bytes]]:
        assert use_blob_api
        return list(zip(batch["n"].to_pylist(), [file.read(2) for file in batch["b"]], strict=True))

    batches = list(LanceDataset(dataset, 4, to_tensor_fn=convert))
    assert list(chain(*batches)) == [(n, bytes([n]) * 2) for n in range(6)]
    with pytest.raises(Unsupported, match="blobs"):
        next(iter(LanceDataset(dataset, 4)))
    with pytest.raises(InvalidInput, match="row ids"):
        next(iter(LanceDataset(dataset, 4, to_tensor_fn=convert, samples=3)))


def test_safe_rows_are_dicts_of_python_values(uri: str) -> None:
    rows = SafeLanceDataset(uri, dataset_options={"version": 1})
    assert len(rows) == ROWS
    assert rows[1] == {"n": 1, "v": [4.0, 5.0, 6.0, 7.0], "u": 1}
    [batch, *_] = get_safe_loader(rows, batch_size=10, num_workers=0)
    assert batch["n"].tolist() == list(range(10))


@pytest.mark.slow
def test_safe_loaders_spawn_their_workers(uri: str) -> None:
    loader = get_safe_loader(SafeLanceDataset(uri), batch_size=16, num_workers=2)
    assert [len(batch["n"]) for batch in loader] == [16] * 6 + [4]


def test_tensors_and_bfloat16_become_tensors() -> None:
    shaped = pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(24, dtype=np.int16).reshape(4, 2, 3))
    half = bfloat16_array([1.5, -2.0, 0.0, 8.0])
    found: Any = to_tensors(pa.record_batch({"t": shaped, "h": half}).slice(1, 2))
    assert found["t"].shape == (2, 2, 3) and found["t"][0].tolist() == [[6, 7, 8], [9, 10, 11]]
    assert found["h"].dtype == torch.bfloat16 and found["h"].tolist() == [-2.0, 0.0]
    empty: Any = to_tensors(pa.record_batch({"h": half}).slice(0, 0))
    assert empty["h"].shape == (0,)
    with pytest.raises(InvalidInput, match="null"):
        to_tensors(pa.record_batch({"h": bfloat16_array([None])}))
