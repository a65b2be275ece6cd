"""The benchmark runner on tiny data, so that it cannot rot."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from benchmarks.datasets import KINDS, make_data
from benchmarks.peers.ipc import Ipc
from benchmarks.run import TASKS, Options, bench, main, render
from benchmarks.targets import judge
from benchmarks.tasks.scan import Toucher
from benchmarks.wide import measure

# these read the sources of the standard library once, or make big cells
SLOW_KINDS = ("string", "text", "mixed", "blob")
EACH_KIND = [pytest.param(k, marks=[pytest.mark.slow] * (k in SLOW_KINDS)) for k in (*KINDS, "mixed")]


def tiny(folder: Path, **changed: object) -> Options:
    chosen: dict[str, object] = {"kinds": ("int64",), "repeat": 2, "ks": (1, 10)}
    return Options(size="tiny", peers=("ipc", "parquet"), folder=folder, baseline="ipc", **(chosen | changed))


@pytest.mark.slow
def test_every_task_answers_one_row_per_peer_and_kind(tmp_path: Path) -> None:
    result = bench(tiny(tmp_path, kinds=("mixed",), ks=(1, 100)), say=lambda line: None)
    found = {(row["task"], row["peer"]) for row in result["rows"]}
    assert {task for task, _ in found} == set(TASKS) | {"open_and_take"}
    assert {peer for _, peer in found} == {"ipc", "parquet"}
    assert all(row["median"] > 0 and row["min"] <= row["p90"] for row in result["rows"])


@pytest.mark.parametrize("kind", EACH_KIND)
def test_peers_answer_what_was_generated_for_every_kind(tmp_path: Path, kind: str) -> None:
    result = bench(tiny(tmp_path, kinds=(kind,), tasks=("bytes",)), say=lambda line: None)
    assert len(result["rows"]) == 2


def test_report_states_ratios_to_the_baseline(tmp_path: Path) -> None:
    result = bench(tiny(tmp_path, tasks=("bytes",)), say=lambda line: None)
    ours, theirs = (row["median"] for row in result["rows"])
    assert f"{ours / theirs:.3f}" in render(result)


def test_wrong_answer_of_a_peer_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take = Ipc.take

    def shifted(self: Ipc, handle: pa.Table, indices: np.ndarray, columns: list[str]) -> pa.Table:
        return take(self, handle, np.roll(indices, 1), columns)

    monkeypatch.setattr(Ipc, "take", shifted)
    with pytest.raises(AssertionError, match="ipc: take"):
        bench(tiny(tmp_path, tasks=("bytes",)), say=lambda line: None)


def test_command_writes_every_sample_as_json(tmp_path: Path) -> None:
    target = tmp_path / "out" / "x.json"
    words = f"--size tiny --kinds int64 --tasks open --peers ipc --repeat 2 --folder {tmp_path} --json {target}"
    assert main(words.split()) == 0
    (row,) = json.loads(target.read_text())["rows"]
    assert len(row["samples"]) == 20


@pytest.mark.parametrize("kind", EACH_KIND)
def test_generated_batches_are_the_same_each_time(kind: str) -> None:
    data = make_data(kind, "tiny")
    assert next(data.batches()).equals(next(data.batches()))


def test_scan_reads_each_byte_of_a_slice_once() -> None:
    toucher = Toucher()
    toucher.batch(pa.record_batch({"a": pa.array(range(100))}).slice(10, 20))
    assert (toucher.total, toucher.nbytes) == (sum(range(10, 30)), 160)


def test_scan_reads_only_the_values_of_a_sliced_list() -> None:
    lists = pa.array([[1, 2], [3], [4, 5, 6]], pa.list_(pa.int64()))
    toucher = Toucher()
    toucher.batch(pa.record_batch({"a": lists}).slice(1, 2))
    assert toucher.nbytes == 3 * 4 + 4 * 8


def test_forms_of_peers_answer_right(tmp_path: Path) -> None:
    forms = ("lance_like", "lance_like_unchecked", "lance_like_50")
    options = Options(size="tiny", kinds=("int64",), tasks=("bytes",), peers=forms, folder=tmp_path, repeat=2, ks=(10,))
    assert len(bench(options, say=lambda line: None)["rows"]) == 3


def test_targets_are_judged_by_the_worst_ratio() -> None:
    def row(kind: str, detail: str, peer: str, median: float) -> dict[str, object]:
        return {"task": "take", "kind": kind, "detail": detail, "peer": peer, "median": median, "notes": {}}

    rows = [row("int64", "k=1", "lance_like", 1.0), row("int64", "k=1", "pylance", 10.0)]
    rows += [row("ids", "k=10", "lance_like", 3.0), row("ids", "k=10", "pylance", 10.0)]
    first, *rest = judge([{"rows": rows}])
    assert (first.worst, first.holds) == ((0.3, "ids k=10"), False)
    assert all(verdict.worst is None for verdict in rest)


def test_targets_of_tables_are_judged_without_fsync() -> None:
    def row(ours: float, theirs: float) -> dict[str, list[float]]:
        return {"lance_like": [99.0], "lance_like_nosync": [ours], "pylance": [theirs]}

    appends = {"append, first 100, ms": row(2, 4), "append, last 100, ms": row(4, 8), "versions, ms": row(3, 4)}
    changes = {"wide, update, bytes": row(1, 30), "wide, delete, bytes": row(2, 1), "wide, delete, ms": row(1, 1)}
    results = [{"appends": {"samples": appends}}, {"changes": {"samples": changes}}]
    found = {verdict.target: verdict for verdict in judge(results)}
    assert found["history, an append of the last 100 / of the first"].worst == (2, "append, first 100, ms")
    assert found["history, time, / pylance"].worst == (0.75, "versions")
    assert found["changes, bytes, / pylance"].worst == (2, "wide, delete")
    assert found["changes, time, / pylance"].holds
    assert found["update of 1 % beside 60 KB cells, bytes, / pylance"].holds
    assert found["changes, time, / deltalake"].worst is None


@pytest.mark.slow
def test_tables_of_many_columns_are_measured(tmp_path: Path) -> None:
    found = measure(20, tmp_path, repeat=2)
    assert set(found) > {"open", "take of all columns", "write"}
    assert all(set(peers) == {"lance_like", "pylance"} for peers in found.values())


def test_charts_are_drawn(tmp_path: Path) -> None:
    charts = pytest.importorskip("benchmarks.charts")
    result = bench(tiny(tmp_path, tasks=("take", "bytes"), ks=(1, 10)), say=lambda line: None)
    paths = charts.draw(result, tmp_path / "x")
    assert [path.name for path in paths] == ["x-take.svg", "x-bytes.svg"]
    assert all("<svg" in path.read_text() for path in paths)
