"""Fragments of one scan are opened and read side by side: rounds of reads do not grow with their number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import lance_like
from lance_like.dataset.handle import LanceDataset
from lance_like.query.projection import project
from lance_like.query.scan import Scan, run_scan
from lance_like.query.session import Session

ROWS = 16_000


def opened(uri: str, files: int) -> LanceDataset:
    """A table of files that are too large to be read whole, opened anew."""
    numbers = np.random.default_rng(7).integers(0, 1 << 60, ROWS)
    rows = pa.table({"i": np.arange(ROWS), "n": numbers})
    lance_like.write_dataset(rows, uri, max_rows_per_file=ROWS // files)
    return lance_like.dataset(uri)


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many conversations with files ran side by side, each time."""
    sizes: list[int] = []
    drive = Session.drive

    def noted(session: Session, conversations: Sequence[tuple[str, Any]]) -> list[Any]:
        sizes.append(len(conversations))
        return drive(session, conversations)

    monkeypatch.setattr(Session, "drive", noted)
    return sizes


@pytest.mark.parametrize("filter", [None, "i % 2 = 0", "i % 100 = 7"])
def test_four_fragments_take_as_many_rounds_as_one(tmp_path: Any, rounds: list[int], filter: str | None) -> None:
    one, four = opened(f"{tmp_path}/one", 1), opened(f"{tmp_path}/four", 4)
    expected = one.to_table(filter=filter)
    alone = len(rounds)
    rounds.clear()
    assert four.to_table(filter=filter).equals(expected)
    # With few columns to read of few rows, none waits for the rows that pass.
    assert len(rounds) <= alone
    assert max(rounds) >= 4


def test_a_limit_opens_no_more_than_it_needs(tmp_path: Any, rounds: list[int]) -> None:
    ds = opened(f"{tmp_path}/ds", 4)
    assert ds.to_table(filter="i % 2 = 0", limit=3)["i"].to_pylist() == [0, 2, 4]
    assert max(rounds) <= 2


def test_new_columns_take_one_round_of_reads(tmp_path: Any, rounds: list[int]) -> None:
    ds = opened(f"{tmp_path}/ds", 4)
    ds.add_columns({"m": "i * 2"})
    assert rounds == [4, 4, 4]
    rounds.clear()
    assert ds.update({"m": "m + 1"}, where="i % 100 = 7")["num_rows_updated"] == ROWS // 100
    assert ds.to_table(columns=["m"])["m"].to_pylist() == [2 * i + (i % 100 == 7) for i in range(ROWS)]


@pytest.mark.parametrize("apart", [False, True])
def test_batches_apart_have_rows_of_one_fragment(tmp_path: Any, apart: bool) -> None:
    lance_like.write_dataset(pa.table({"i": np.arange(60)}), f"{tmp_path}/ds", max_rows_per_file=10)
    ds = lance_like.dataset(f"{tmp_path}/ds")
    scan = Scan(project(ds._manifest.schema), apart=apart)
    lengths = [len(batch) for batch in run_scan(ds._session, ds._manifest, scan)]
    assert lengths == ([10] * 6 if apart else [60])
