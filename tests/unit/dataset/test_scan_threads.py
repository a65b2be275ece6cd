"""Scans on threads: the same rows in the same order as on one, errors in their place, nothing goes on behind it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

import lance_like
from lance_like.errors import Corrupt, InvalidInput
from lance_like.query import scan, windows
from lance_like.query.session import Reads

ROWS = 50_000


@pytest.fixture(autouse=True)
def several_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads whatever the machine, and windows so small that there are many."""
    monkeypatch.setattr(scan, "default_threads", lambda: 4)
    for module in (scan, windows):
        monkeypatch.setattr(module, "WINDOW_NBYTES", 1 << 14)
    monkeypatch.setattr(scan, "_TINY_NBYTES", 1 << 15)


def table(rows: int = ROWS) -> pa.Table:
    numbers = np.random.default_rng(7).integers(0, 1 << 40, rows)
    return pa.table(
        {
            "i": pa.array(range(rows), pa.int64()),
            "n": pa.array(numbers, mask=numbers % 5 == 0),
            "t": [f"text {n % 1000}" for n in numbers.tolist()],
            "l": [[n % 7] * (n % 4) for n in numbers.tolist()],
        }
    )


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the threads that read, in the order in which they began; those that ended add another."""
    names: list[str] = []
    read = windows.FragmentScan.batches

    def noted(*arguments: Any) -> Reads[list[pa.RecordBatch]]:
        names.append(threading.current_thread().name)
        found = yield from read(*arguments)
        names.append("ended")
        return found

    monkeypatch.setattr(windows.FragmentScan, "batches", noted)
    return names


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"batch_size": 1000},
        {"batch_size": 999, "batch_readahead": 3},
        {"batch_readahead": 0},
        {"limit": 12_345, "offset": 7_001},
        {"filter": "n % 3 = 0"},
        {"filter": "i >= 17000 AND i < 30001", "columns": ["t"], "with_row_id": True},
        {"filter": "n % 3 = 0", "limit": 5000, "offset": 100},
        {"columns": [], "with_row_address": True},
    ],
)
def test_rows_are_those_of_one_thread(uri: str, options: dict[str, Any]) -> None:
    ds = lance_like.write_dataset(table(), uri, max_rows_per_file=20_000)
    found = ds.to_table(**options)
    assert found.equals(ds.to_table(**{**options, "use_threads": False}))
    assert found.num_rows > 0


@pytest.mark.parametrize(
    ("condition", "pieces"),
    [
        (f"n < {2**40 // 1000}", "one"),
        ("i >= 30000 AND i < 30060", "one"),
        (f"n < {2**40 // 1000} AND i > 100", "one"),
        ("n < 0", "one"),
        (f"n < {2**40 // 3}", "many"),
        (f"n < {2**40 // 20}", "many"),
        (f"i >= 9000 AND n < {2**40 // 20}", "many"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"use_threads": False}, {"batch_readahead": 0}, {"columns": ["t", "l"]}])
def test_few_rows_that_pass_are_read_at_once_and_many_in_windows(
    uri: str, monkeypatch: pytest.MonkeyPatch, condition: str, pieces: str, options: dict[str, Any]
) -> None:
    monkeypatch.setattr(windows, "_FEW_NBYTES", 1 << 12)
    cut: list[int] = []
    real = windows.FragmentScan.pieces

    def noted(*arguments: Any) -> list[Any]:
        found = real(*arguments)
        cut.append(len(found))
        return found

    monkeypatch.setattr(windows.FragmentScan, "pieces", noted)
    ds = lance_like.write_dataset(table(), uri)
    ds.delete("i % 10 = 5")
    cut.clear()
    rows = table()
    live = rows.filter(pa.array(rows["i"].to_numpy() % 10 != 5))
    expected = duckdb.from_arrow(live).filter(condition).order("i").to_arrow_table()
    expected = expected.cast(rows.schema).select(options.get("columns", rows.column_names))
    found = pa.Table.from_batches(ds.to_batches(filter=condition, batch_size=700, **options), expected.schema)
    assert found.equals(expected)
    assert ds.count_rows(condition) == len(expected)
    assert max(cut) > 2 if pieces == "many" else set(cut) <= {1}
    assert len(cut) < 10


def test_batches_that_were_made_ahead_of_rows_that_pass_are_dropped(uri: str, readers: list[str]) -> None:
    ds = lance_like.write_dataset(table(), uri)
    batches = iter(ds.to_batches(filter=f"n < {2**40 // 3}", batch_size=500))
    assert len(next(batches)) > 0
    del batches
    assert readers.count("ended") == len(readers) / 2


def test_no_batch_is_longer_than_asked(uri: str) -> None:
    ds = lance_like.write_dataset(table(), uri)
    lengths = [len(batch) for batch in ds.to_batches(batch_size=300)]
    assert sum(lengths) == ROWS
    assert max(lengths) == 300
    assert lengths.count(300) > 0.9 * len(lengths)


def test_of_a_scan_that_is_not_read_to_its_end_nothing_goes_on(uri: str, readers: list[str]) -> None:
    ds = lance_like.write_dataset(table(), uri)
    for start in (
        lambda: ds.to_batches(batch_size=500),
        lambda: ds.scanner(batch_size=500).to_reader(),
    ):
        batches = start()
        next(iter(batches))
        del batches
        assert readers.count("ended") == len(readers) / 2
        readers.clear()
    assert ds.head(3).num_rows == 3


def test_several_threads_read(uri: str, readers: list[str]) -> None:
    ds = lance_like.write_dataset(table(), uri)
    assert ds.to_table(batch_size=500).num_rows == ROWS
    assert len(set(readers)) > 2


@pytest.mark.parametrize("options", [{"use_threads": False}, {"batch_readahead": 0}])
def test_one_thread_means_no_other_reads(uri: str, readers: list[str], options: dict[str, Any]) -> None:
    ds = lance_like.write_dataset(table(), uri)
    assert ds.to_table(batch_size=500, **options).num_rows == ROWS
    assert set(readers) == {threading.current_thread().name, "ended"}


@pytest.mark.parametrize("use_threads", [True, False])
def test_damage_shows_after_the_rows_before_it(tmp_path: Path, use_threads: bool) -> None:
    data = pa.table({"x": np.random.default_rng(1).random(ROWS)})
    lance_like.write_dataset(data, str(tmp_path / "ds"))
    (file,) = (tmp_path / "ds").rglob("*.lnl")
    damaged = bytearray(file.read_bytes())
    damaged[8 * ROWS // 2] ^= 1
    file.write_bytes(damaged)
    ds = lance_like.dataset(str(tmp_path / "ds"))
    batches = ds.to_batches(batch_size=1000, use_threads=use_threads)
    rows = 0
    with pytest.raises(Corrupt):
        for batch in batches:
            assert batch.column(0).equals(data.column(0).slice(rows, len(batch)).combine_chunks())
            rows += len(batch)
    assert ROWS // 2 - 4096 <= rows <= ROWS // 2


def test_a_wrong_readahead_is_refused(uri: str) -> None:
    ds = lance_like.write_dataset(table(10), uri)
    with pytest.raises(InvalidInput, match="batch_readahead"):
        ds.to_batches(batch_readahead=-1)
