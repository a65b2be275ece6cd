"""Rows that pass and lie together are read as stretches of their columns, not one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import lance_like
from lance_like.dataset.scan_options import ScanStatistics
from lance_like.query.windows import FragmentScan, Window, dense_stretches

ROWS = 120_000
RNG = np.random.default_rng(5)


def written(uri: Path, key: np.ndarray) -> lance_like.LanceDataset:
    """A table of one file, that is not read whole, opened anew."""
    columns = {"key": key, "n": RNG.integers(0, 1 << 62, ROWS), "t": [f"{i:x}" * 3 for i in RNG.integers(0, 99, ROWS)]}
    lance_like.write_dataset(pa.table(columns), str(uri))
    return lance_like.dataset(str(uri))


def ranges_of(dataset: lance_like.LanceDataset, filter: str, **options: Any) -> tuple[pa.Table, int]:
    """The rows that pass a condition that zones cannot judge, and how many ranges were read."""
    told: list[ScanStatistics] = []
    found = dataset.scanner(filter=filter, use_stats=False, scan_stats_callback=told.append, **options).to_table()
    return found, told[0].requests


@pytest.mark.parametrize("nulls", [False, True])
def test_rows_that_lie_together_are_read_as_stretches(tmp_path: Path, nulls: bool) -> None:
    key = np.zeros(ROWS, np.int64)
    key[30_000:31_500] = 1
    key[90_000:92_000:2] = 1
    dataset = written(tmp_path, key)
    if nulls:
        dataset.update({"n": "NULL"}, where="n % 3 = 0")
        dataset.delete("n % 5 = 0")
    whole = dataset.to_table()
    dataset.count_rows("n > 0 AND t <> ''")  # now all blocks are verified
    expected = whole.filter(pa.compute.equal(whole["key"], 1))
    found, ranges = ranges_of(dataset, "key = 1")
    single, most = ranges_of(dataset, "key = 1", late_materialization=True)
    assert found.equals(expected) and single.equals(expected)
    if not nulls:
        assert ranges < 100 < 2_000 < most


@pytest.mark.parametrize(
    ("rows", "count"),
    [
        (np.arange(1000), 1),
        (np.concatenate([np.arange(1000), 50_000 + np.arange(0, 4000, 4)]), 2),
        (np.arange(0, 100_000, 100), 0),  # too far apart
        (np.concatenate([np.arange(10) + 10_000 * i for i in range(100)]), 0),  # too many stretches
        (np.array([7]), 0),
    ],
)
def test_stretches_are_dense_and_long(rows: np.ndarray, count: int) -> None:
    stretches = dense_stretches(rows, 1 / 16)
    assert len(stretches) == count
    if count:
        assert np.concatenate(stretches).tolist() == rows.tolist()


def test_zones_that_touch_are_read_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = written(tmp_path, np.arange(ROWS))
    windows: list[tuple[int, int]] = []
    read = FragmentScan.read

    def noted(self: FragmentScan, window: Window, flags: Any) -> Any:
        windows.append((window.start, window.end))
        return read(self, window, flags)

    monkeypatch.setattr(FragmentScan, "read", noted)
    # A zone of which some rows pass, two of which all do, and another one of some.
    filter = "key >= 20000 AND key < 42000"
    found = dataset.to_table(["key", "n"], filter=filter)
    assert found["key"].to_pylist() == list(range(20_000, 42_000))
    assert windows == [(16_384, 49_152)]
    dataset.delete("key = 30000")
    assert dataset.to_table(["key"], filter="key >= 20000 AND key < 42000")["key"].to_pylist() == [
        key for key in range(20_000, 42_000) if key != 30_000
    ]
    assert (
        "16,384 tested, 16,384 pass untested" in dataset.scanner(filter="key >= 20000 AND key < 42000").analyze_plan()
    )
