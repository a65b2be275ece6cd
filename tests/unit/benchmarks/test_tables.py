"""The table benchmarks on tiny tables, with this package alone and beside what is installed."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from benchmarks import appends, changes
from benchmarks.changes import TASKS, Content
from benchmarks.tables import PEERS, TablePeer, load_peer, metadata_nbytes, state_of, written_nbytes
from benchmarks.tables.lance_like import LanceLikeNoSync
from benchmarks.tables.report import render

TINY = Content(rows=400, cell=0, upserted=20)
TINY_WIDE = Content(rows=80, cell=100, upserted=8)
# The verbs that deltalake lacks.
LACKING = {"add_column": {"deltalake"}}


def installed(name: str) -> TablePeer:
    pytest.importorskip(PEERS[name].split(":")[0])
    return load_peer(name)


def test_appends_are_timed_and_their_metadata_counted(tmp_path: Path) -> None:
    samples = appends.measure(6, tmp_path, [LanceLikeNoSync()], repeat=2)
    assert len(samples["append, last 3, ms"]["lance_like_nosync"]) == 3
    assert samples["metadata a commit, first 3, bytes"]["lance_like_nosync"][0] > 100
    assert len(samples["open as of a moment, ms"]["lance_like_nosync"]) == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pylance", "deltalake"])
def test_other_formats_answer_the_same_history(tmp_path: Path, name: str) -> None:
    samples = appends.measure(4, tmp_path, [LanceLikeNoSync(), installed(name)], repeat=2)
    assert all(set(found) == {"lance_like_nosync", name} for found in samples.values())


@pytest.mark.slow
@pytest.mark.parametrize("content", [TINY, TINY_WIDE], ids=["narrow", "wide"])
@pytest.mark.parametrize("task", TASKS)
def test_every_format_makes_the_same_of_each_change(tmp_path: Path, task: str, content: Content) -> None:
    peers = [installed(name) for name in PEERS]
    samples = changes.measure({"t": content}, [task], tmp_path, peers, repeat=1)
    assert set(samples) == {f"t, {task}, ms", f"t, {task}, bytes"}
    assert set(samples[f"t, {task}, ms"]) == {peer.name for peer in peers} - LACKING.get(task, set())


def test_wrong_rows_after_a_change_stop_the_run(tmp_path: Path) -> None:
    class Wrong(LanceLikeNoSync):
        def add_column(self, handle: object, name: str, expression: str) -> None:
            super().add_column(handle, name, "v * 3")

    with pytest.raises(AssertionError, match="add_column left other rows"):
        changes.measure({"t": TINY}, ["add_column"], tmp_path, [Wrong()], repeat=1)


def test_a_table_that_is_copied_by_links_is_not_changed(tmp_path: Path) -> None:
    peer = LanceLikeNoSync()
    samples = changes.measure({"t": TINY}, ["restore"], tmp_path, [peer], repeat=3)
    written = samples["t, restore, bytes"]["lance_like_nosync"]
    # A packed root is some bytes longer or shorter by its digests; a changed file would add hundreds.
    assert max(written) - min(written) < 32


def test_bytes_written_are_those_of_new_and_changed_files(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a").write_bytes(b"12345")
    (tmp_path / "_meta").mkdir()
    (tmp_path / "_meta" / "b").write_bytes(b"1")
    before = state_of(tmp_path)
    (tmp_path / "data" / "c").write_bytes(b"123")
    (tmp_path / "_meta" / "b").unlink()
    (tmp_path / "_meta" / "b").write_bytes(b"12")
    after = state_of(tmp_path)
    assert written_nbytes(before, after) == 5
    assert metadata_nbytes(LanceLikeNoSync(), before, after) == 2


def test_report_leaves_a_cell_empty_where_a_peer_has_no_verb() -> None:
    text = render({"x, ms": {"lance_like": [2.0], "pylance": [4.0]}}, ["lance_like", "pylance", "deltalake"])
    assert text.splitlines()[-1] == "| x, ms | 2 | 4 |  | 0.500 |  |"


def test_commands_write_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(changes.TABLES, "tiny", TINY)
    target = tmp_path / "x.json"
    words = f"--peers lance_like_nosync --repeat 1 --json {target}"
    assert changes.main(f"--tables tiny --tasks checkout {words}".split()) == 0
    assert json.loads(target.read_text())["changes"]["samples"]["tiny, checkout, bytes"] == {"lance_like_nosync": [0]}
    assert appends.main(f"--commits 2 {words}".split()) == 0
    assert "append, first 1, ms" in json.loads(target.read_text())["appends"]["samples"]


def test_contents_are_the_same_each_time() -> None:
    assert TINY_WIDE.make(0, 40).equals(TINY_WIDE.make(0, 40))
    assert TINY_WIDE.make(0, 80).select(["id", "v"]).equals(TINY_WIDE.before())
    assert TINY_WIDE.make(3, 4)["image"].type == pa.binary()
