"""How much memory a stream of any size takes to write, to scan and to compact, measured in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status")

MB = 1 << 20
PROGRAMS = Path(__file__).parent


def grown_by(program: str, folder: Path, *numbers: int) -> dict[str, int]:
    """What a program says of its memory: bytes beyond what the process had."""
    command = [sys.executable, str(PROGRAMS / program), str(folder / "t"), *map(str, numbers)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def most_grown(folder: Path, *, cells: int, nbytes: int, rows: int) -> tuple[float, float]:
    """MiB that writing or scanning batches of some rows took beyond what the process had: anonymous, and mapped."""
    grown = grown_by("streaming_process.py", folder, cells, nbytes, rows)
    return max(grown["write"], grown["scan"]) / MB, grown["mapped"] / MB


@pytest.mark.slow
@pytest.mark.parametrize(("cells", "nbytes", "rows"), [(1000, MB, 16), (300_000, 4000, 10_000), (20, 32 * MB, 1)])
def test_a_stream_takes_memory_for_some_pages_only(tmp_path: Path, cells: int, nbytes: int, rows: int) -> None:
    anonymous, mapped = most_grown(tmp_path, cells=cells, nbytes=nbytes, rows=rows)
    assert anonymous < 300
    # pages of the files behind a scan are let go
    assert mapped < 700


@pytest.mark.exhaustive
def test_ten_gigabytes_of_large_cells_take_less_than_half_a_gigabyte(tmp_path: Path) -> None:
    anonymous, mapped = most_grown(tmp_path, cells=10_000, nbytes=MB, rows=16)
    assert anonymous < 450
    assert mapped < 700


@pytest.mark.slow
@pytest.mark.parametrize(("cells", "nbytes", "rows"), [(1000, MB, 20), (250_000, 4000, 5000), (20, 32 * MB, 2)])
def test_a_compaction_takes_memory_for_some_pages_only(tmp_path: Path, cells: int, nbytes: int, rows: int) -> None:
    assert grown_by("compacting_process.py", tmp_path, cells, nbytes, rows)["compact"] / MB < 300


@pytest.mark.slow
def test_compacting_five_gigabytes_of_wide_rows_takes_less_than_one(tmp_path: Path) -> None:
    assert grown_by("compacting_process.py", tmp_path, 5000, MB, 20)["compact"] / MB < 1000


@pytest.mark.slow
def test_scans_of_a_gigabyte_of_large_cells_take_memory_for_some_pages_only(tmp_path: Path) -> None:
    assert max(scans_grown(tmp_path, 10_000).values()) / MB < 300


@pytest.mark.exhaustive
def test_scans_of_ten_gigabytes_of_large_cells_take_less_than_half_a_gigabyte(tmp_path: Path) -> None:
    assert max(scans_grown(tmp_path, 100_000).values()) / MB < 450


def scans_grown(folder: Path, cells: int) -> dict[str, int]:
    """Bytes that scans of cells of 100 KB took, each beyond what its process had, by the way of scanning."""
    subprocess.run(scan_command(folder, cells, "write"), check=True)
    found: dict[str, int] = {}
    for way in ("all", "half", "first", "ordered"):
        done = subprocess.run(scan_command(folder, cells, way), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        found |= json.loads(done.stdout)
    return found


def scan_command(folder: Path, cells: int, way: str) -> list[str]:
    return [sys.executable, str(PROGRAMS / "scanning_process.py"), str(folder / "t"), str(cells), way]
