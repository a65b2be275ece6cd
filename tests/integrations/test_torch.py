"""The PyTorch bridge: order, sharing between ranks and workers, processes, conversion."""

from __future__ import annotations

import datetime as dt
import decimal
import pickle
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

torch = pytest.importorskip("torch")

from torch.utils.data import BatchSampler, DataLoader, RandomSampler  # noqa: E402

import lance_like  # noqa: E402
from lance_like.errors import InvalidInput, NotFound, OutOfRange  # noqa: E402
from lance_like.integrations.torch import (  # noqa: E402
    LanceDataset,
    Permutation,
    SafeLanceDataset,
    Steps,
    to_tensors,
)

ROWS = 1_003
FORK = pytest.param("fork", marks=pytest.mark.skipif(sys.platform != "linux", reason="fork is a Linux matter"))
START_METHODS = [FORK, pytest.param("spawn", marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A dataset of two fragments: n counts the rows, the others follow from n."""
    n = np.arange(ROWS)
    vectors = pa.array(np.repeat(n, 4).astype(np.float32))
    table = pa.table(
        {
            "n": n,
            "vector": pa.FixedSizeListArray.from_arrays(vectors, 4),
            "text": [f"row {i}" for i in n],
        }
    )
    path = str(tmp_path_factory.mktemp("torch") / "table")
    lance_like.write_dataset(table.slice(0, 600), path)
    lance_like.write_dataset(table.slice(600), path, mode="append")
    return path


def rows_of(batches) -> list[int]:
    return [int(n) for batch in batches for n in batch["n"]]


# The order


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 64, 65, 1_000, 4_097])
def test_permutation_gives_every_row_once(rows):
    order = Permutation(rows, seed=3, epoch=1).at(np.arange(rows))
    assert np.array_equal(np.sort(order), np.arange(rows))


def test_permutation_is_the_same_place_by_place():
    order = Permutation(1_000, seed=3, epoch=1)
    whole = order.at(np.arange(1_000))
    assert np.array_equal(order.at(np.array([999, 0, 17])), whole[[999, 0, 17]])


def test_permutation_never_changes():
    """Held for ever: an epoch that is continued with a newer release must see the same order."""
    assert Permutation(10, seed=0, epoch=0).at(np.arange(10)).tolist() == [1, 7, 4, 6, 2, 5, 8, 9, 3, 0]
    large = Permutation(1 << 33, seed=7, epoch=2)
    assert large.at(np.arange(3)).tolist() == [997_192_840, 3_950_906_233, 1_206_730_560]


def test_permutation_leaves_no_trace_of_the_old_order():
    rows = 100_000
    order = Permutation(rows, seed=0, epoch=0).at(np.arange(rows))
    # For a uniform shuffle both figures stay within 0.02 except with a chance below one in a million.
    assert abs(np.corrcoef(order, np.arange(rows))[0, 1]) < 0.02
    assert abs(np.corrcoef(order[1:], order[:-1])[0, 1]) < 0.02
    # Neighbours stay neighbours 2 times in a uniform shuffle, on average.
    assert np.count_nonzero(np.abs(np.diff(order)) == 1) < 20


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
@pytest.mark.parametrize("rows", [0, 1, 5, 64, 100, 103])
def test_short_tail_gives_every_place_to_one_rank(rows, world_size):
    steps = Steps(rows, 8, world_size, "short")
    places = [steps.places(k, rank) for rank in range(world_size) for k in range(steps.count(rank))]
    assert all(1 <= len(batch) <= 8 for batch in places)
    assert sorted(int(place) for batch in places for place in batch) == list(range(rows))


def test_drop_tail_leaves_out_less_than_one_step():
    steps = Steps(103, 8, 3, "drop")
    assert [steps.count(rank) for rank in range(3)] == [4, 4, 4]
    assert all(len(steps.places(3, rank)) == 8 for rank in range(3))


def test_pad_tail_fills_every_batch_from_the_start_of_the_order():
    steps = Steps(103, 8, 3, "pad")
    assert [steps.count(rank) for rank in range(3)] == [5, 5, 5]
    assert np.concatenate([steps.places(4, rank) for rank in range(3)]).tolist() == [
        *range(96, 103),
        *range(17),
    ]


# The iterable dataset


def test_iterable_without_shuffle_reads_in_scan_order(uri):
    assert rows_of(LanceDataset(uri, batch_size=100)) == list(range(ROWS))


def test_iterable_batches_are_tensors_of_whole_batches(uri):
    batch = next(iter(LanceDataset(uri, batch_size=100, shuffle="global")))
    assert batch["vector"].shape == (100, 4)
    assert torch.equal(batch["vector"][:, 0], batch["n"].float())
    assert batch["text"] == [f"row {n}" for n in batch["n"]]


def test_same_seed_and_epoch_give_the_same_order(uri):
    first, second = (LanceDataset(uri, batch_size=64, shuffle="global", seed=5, epoch=2) for _ in range(2))
    assert rows_of(first) == rows_of(second)


def test_each_epoch_and_each_seed_has_an_order_of_its_own(uri):
    ds = LanceDataset(uri, batch_size=64, shuffle="global", seed=5)
    first = rows_of(ds)
    ds.set_epoch(1)
    assert rows_of(ds) != first
    assert rows_of(LanceDataset(uri, batch_size=64, shuffle="global", seed=6)) != first


# Seconds under spawn, since each worker imports torch anew: the one such test of the default run.
@pytest.mark.parametrize("start_method", [FORK, "spawn"])
def test_two_workers_read_every_row_once_in_the_order_of_one(uri, start_method):
    ds = LanceDataset(uri, batch_size=64, columns=["n"], shuffle="global", seed=1)
    loader = DataLoader(ds, batch_size=None, num_workers=2, multiprocessing_context=start_method)
    seen = rows_of(loader)
    assert sorted(seen) == list(range(ROWS))
    assert seen == rows_of(ds)


@pytest.mark.parametrize("start_method", START_METHODS)
def test_persistent_workers_see_the_new_epoch(uri, start_method):
    ds = LanceDataset(uri, batch_size=64, columns=["n"], shuffle="global")
    loader = DataLoader(
        ds, batch_size=None, num_workers=2, persistent_workers=True, multiprocessing_context=start_method
    )
    first = rows_of(loader)
    ds.set_epoch(1)
    second = rows_of(loader)
    assert first != second
    assert second == rows_of(ds)


def test_ranks_share_all_rows(uri):
    options = {"batch_size": 64, "shuffle": "global", "world_size": 3}
    shards = [rows_of(LanceDataset(uri, rank=rank, **options)) for rank in range(3)]
    assert sorted(n for shard in shards for n in shard) == list(range(ROWS))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


def test_length_is_the_number_of_batches(uri):
    for tail in ("short", "drop", "pad"):
        ds = LanceDataset(uri, batch_size=64, rank=1, world_size=3, tail=tail)
        assert len(ds) == len(list(ds))


def test_filtered_rows_come_once_each(uri):
    ds = LanceDataset(uri, batch_size=64, columns=["n"], filter="n >= 990", shuffle="global")
    assert sorted(rows_of(ds)) == list(range(990, ROWS))


def test_filter_that_nothing_passes_gives_no_batch(uri):
    ds = LanceDataset(uri, batch_size=64, filter="n < 0", shuffle="global")
    assert list(ds) == []
    assert len(ds) == 0


def test_rank_defaults_to_the_process_group(uri, tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    try:
        assert rows_of(LanceDataset(uri, batch_size=500)) == list(range(ROWS))
    finally:
        torch.distributed.destroy_process_group()


def test_later_commits_are_not_seen(tmp_path):
    uri = str(tmp_path / "table")
    handle = lance_like.write_dataset(pa.table({"n": [0, 1, 2]}), uri)
    ds = LanceDataset(handle, batch_size=2)
    map_style = SafeLanceDataset(handle)
    handle.insert(pa.table({"n": [3, 4]}))
    assert rows_of(ds) == [0, 1, 2]
    assert rows_of(pickle.loads(pickle.dumps(ds))) == [0, 1, 2]
    assert len(map_style) == 3


def test_version_chooses_what_is_read(tmp_path):
    uri = str(tmp_path / "table")
    lance_like.write_dataset(pa.table({"n": [0, 1, 2]}), uri)
    lance_like.write_dataset(pa.table({"n": [3, 4]}), uri, mode="append")
    assert rows_of(LanceDataset(uri, batch_size=2, version=1)) == [0, 1, 2]
    assert SafeLanceDataset(uri, version=1).version == 1


def test_pickle_carries_the_order_and_no_rows(uri):
    ds = LanceDataset(uri, batch_size=64, filter="n >= 3", shuffle="global", seed=9, epoch=4)
    data = pickle.dumps(ds)
    assert len(data) < 4_096
    assert rows_of(pickle.loads(data)) == rows_of(ds)


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0},
        {"batch_size": 8, "rank": 2, "world_size": 2},
        {"batch_size": 8, "seed": -1},
        {"batch_size": 8, "epoch": -1},
        {"batch_size": 8, "shuffle": "block"},
        {"batch_size": 8, "tail": "wrap"},
    ],
)
def test_options_without_meaning_are_refused(uri, options):
    with pytest.raises(InvalidInput):
        LanceDataset(uri, **options)


# The map-style dataset


@pytest.mark.parametrize("start_method", START_METHODS)
def test_map_style_workers_read_every_row_once(uri, start_method):
    loader = DataLoader(
        SafeLanceDataset(uri),
        batch_size=100,
        shuffle=True,
        num_workers=2,
        multiprocessing_context=start_method,
    )
    batches = list(loader)
    assert batches[0]["vector"].shape == (100, 4)
    assert sorted(rows_of(batches)) == list(range(ROWS))


def test_map_style_reads_single_rows_from_both_ends(uri):
    ds = SafeLanceDataset(uri)
    assert len(ds) == ROWS
    assert ds[7]["text"] == "row 7"
    assert ds[-1]["n"] == ROWS - 1


def test_map_style_position_outside_is_an_index_error(uri):
    ds = SafeLanceDataset(uri)
    with pytest.raises(OutOfRange):
        ds[ROWS]
    with pytest.raises(IndexError):
        ds[-ROWS - 1]


def test_map_style_list_of_positions_is_one_batch(uri):
    ds = SafeLanceDataset(uri, columns=["n", "vector"])
    sampler = BatchSampler(RandomSampler(ds), batch_size=100, drop_last=False)
    batches = list(DataLoader(ds, batch_size=None, sampler=sampler))
    assert batches[0]["vector"].shape == (100, 4)
    assert sorted(rows_of(batches)) == list(range(ROWS))


def test_map_style_empty_list_is_an_empty_batch(uri):
    batch = SafeLanceDataset(uri)[[]]
    assert batch["vector"].shape == (0, 4)
    assert batch["text"] == []


@pytest.mark.parametrize("kind", [LanceDataset, SafeLanceDataset])
def test_columns_are_checked_before_a_worker_starts(uri, kind):
    options = {"batch_size": 8} if kind is LanceDataset else {}
    with pytest.raises(NotFound, match="nope"):
        kind(uri, columns=["nope"], **options)
    with pytest.raises(InvalidInput):
        kind(uri, columns=[], **options)


def test_map_style_counts_positions_among_filtered_rows(uri):
    ds = SafeLanceDataset(uri, filter="n >= 1000")
    assert [int(ds[i]["n"]) for i in range(len(ds))] == [1000, 1001, 1002]


def test_to_tensor_fn_replaces_the_conversion(uri):
    ds = LanceDataset(uri, batch_size=10, to_tensor_fn=pa.RecordBatch.to_pydict)
    assert next(iter(ds))["n"] == list(range(10))


# Conversion


def test_fixed_width_columns_become_tensors_of_their_type():
    batch = pa.record_batch(
        {
            "i8": pa.array([1, 2], pa.int8()),
            "u8": pa.array([1, 2], pa.uint8()),
            "u16": pa.array([1, 2], pa.uint16()),
            "u64": pa.array([1, 2], pa.uint64()),
            "f16": pa.array(np.array([1, 2], np.float16)),
            "f64": pa.array([1.0, 2.0]),
            "flag": pa.array([True, False]),
        }
    )
    made = to_tensors(batch)
    assert {name: made[name].dtype for name in made} == {
        "i8": torch.int8,
        "u8": torch.uint8,
        "u16": torch.uint16,
        "u64": torch.uint64,
        "f16": torch.float16,
        "f64": torch.float64,
        "flag": torch.bool,
    }
    assert made["flag"].tolist() == [True, False]


def test_nested_fixed_size_lists_become_one_tensor():
    values = pa.array(np.arange(12, dtype=np.float32))
    inner = pa.FixedSizeListArray.from_arrays(values, 3)
    images = pa.FixedSizeListArray.from_arrays(inner, 2)
    made = to_tensors(pa.record_batch({"image": images.slice(1)}))["image"]
    assert made.tolist() == [[[6, 7, 8], [9, 10, 11]]]


def test_times_become_integers_in_their_unit():
    day = dt.date(1970, 1, 11)
    batch = pa.record_batch(
        {
            "day": pa.array([day]),
            "moment": pa.array([dt.datetime(1970, 1, 1, 0, 0, 2)], pa.timestamp("ms")),
            "span": pa.array([dt.timedelta(seconds=3)], pa.duration("us")),
        }
    )
    made = to_tensors(batch)
    assert {name: int(made[name][0]) for name in made} == {"day": 10, "moment": 2_000, "span": 3_000_000}
    assert all(made[name].dtype == torch.int64 for name in made)


def test_what_no_tensor_holds_stays_python():
    batch = pa.record_batch(
        {
            "text": pa.array(["a", None]),
            "bytes": pa.array([b"\x00", b""]),
            "tags": pa.array([[1, 2], None]),
            "price": pa.array([decimal.Decimal("1.50"), None]),
            "kind": pa.array(["x", "y"]).dictionary_encode(),
            "pair": pa.array([["a", "b"], ["c", "d"]], pa.list_(pa.string(), 2)),
        }
    )
    assert to_tensors(batch) == batch.to_pydict()


def test_struct_becomes_a_dict_of_its_children():
    points = pa.array([{"x": 1, "name": "a"}, {"x": 2, "name": "b"}])
    made = to_tensors(pa.record_batch({"point": points}))["point"]
    assert made["x"].tolist() == [1, 2]
    assert made["name"] == ["a", "b"]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, None]),
        pa.array([True, None]),
        pa.array([[1.0, 2.0], None], pa.list_(pa.float32(), 2)),
        pa.array([[1.0, None]], pa.list_(pa.float32(), 2)),
        pa.array([{"x": 1}, None]),
        pa.array([dt.date(2020, 1, 1), None]),
    ],
    ids=lambda column: str(column.type),
)
def test_null_in_a_tensor_is_an_error_that_names_the_column(column):
    with pytest.raises(InvalidInput, match='column "c"'):
        to_tensors(pa.record_batch({"c": column}))


def test_tensors_own_their_memory():
    values = np.arange(3)
    made = to_tensors(pa.record_batch({"n": pa.array(values)}))["n"]
    made += 1
    assert values.tolist() == [0, 1, 2]


# Imports


@pytest.mark.slow
def test_lance_like_torch_has_this_and_loads_on_first_use():
    code = (
        "import sys, lance_like; assert 'torch' not in sys.modules; "
        "assert lance_like.torch.LanceDataset.__module__ == 'lance_like.integrations.torch'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
