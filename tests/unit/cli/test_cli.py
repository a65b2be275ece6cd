"""The command line: what it prints, in words and as JSON, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

import lance_like
from lance_like.cli import main
from lance_like.file import LanceFileWriter

ROWS = 50
TABLE = pa.table(
    {
        "n": pa.array(range(ROWS)),
        "s": pa.array([None if i % 5 == 0 else {"x": f"row {i} " * 30} for i in range(ROWS)]),
        "日本": pa.array([i / 7 for i in range(ROWS)]),
        "when": pa.array([None if i == 3 else i for i in range(ROWS)], pa.timestamp("us")),
        "raw": pa.array([b"\xff" * 40] * ROWS),
    }
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with LanceFileWriter(tmp_path / "a.lnl", TABLE.schema) as writer:
        writer.write_batch(TABLE)
    return tmp_path / "a.lnl"


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    ds = lance_like.write_dataset(TABLE, tmp_path / "ds")
    ds.add_columns({"m": "n * 2"})
    ds.tags.create("t")
    return tmp_path / "ds"


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """The exit code of a command, what it printed, and what it complained."""
    code = main([str(argument) for argument in arguments])
    return (code, *capsys.readouterr())


# inspect


def test_inspect_shows_every_column_and_encoding(capsys, path):
    code, out, _ = run(capsys, "inspect", path)
    assert code == 0
    first, *lines = out.splitlines()
    assert first.startswith(f"{path}: {ROWS} rows, 6 columns, 6 pages")
    shown = {line.split()[1]: line for line in lines[3:10] if line}
    assert list(shown)[-6:] == ["n", "s", "s.x", "日本", "when", "raw"]
    assert "timestamp[us]" in shown["when"]
    assert "1970-01-01 00:00:00.000049" in shown["when"]
    assert any(line.split()[:2] == ["plain", "1"] for line in lines)


def test_inspect_lists_pages_when_asked(capsys, path):
    assert "first row" not in run(capsys, "inspect", path)[1]
    assert "first row" in run(capsys, "inspect", path, "--pages")[1]


def test_inspect_gives_all_of_it_as_json(capsys, path):
    code, out, _ = run(capsys, "inspect", path, "--json")
    found = json.loads(out)
    assert (code, found["rows"], found["nbytes"]) == (0, ROWS, path.stat().st_size)
    columns = {column["path"]: column for column in found["columns"]}
    assert (columns["n"]["min"], columns["n"]["max"], columns["n"]["null_count"]) == (0, ROWS - 1, 0)
    assert columns["s"]["null_count"] == columns["s.x"]["null_count"] == 10
    assert columns["n"]["memory_nbytes"] == 8 * ROWS
    assert columns["raw"]["min"] == "ff" * 32 + "…"
    assert columns["raw"]["max"] is None
    for column in found["columns"]:
        pages = column["pages"]
        assert sum(page["rows"] for page in pages) == ROWS
        assert sum(page["nbytes"] for page in pages) == column["data_nbytes"]
        assert sum(column["nbytes_by_encoding"].values()) == column["data_nbytes"]
        assert sum(column["encodings"].values()) == len(pages)


def test_the_size_in_memory_is_exact_when_asked(capsys, path):
    for column in json.loads(run(capsys, "inspect", path, "--json", "--exact")[1])["columns"]:
        assert column["memory_is_exact"]
    text = TABLE["s"].combine_chunks().flatten()[0]
    found = {c["path"]: c for c in json.loads(run(capsys, "inspect", path, "--json", "--exact")[1])["columns"]}
    assert found["s.x"]["memory_nbytes"] == pytest.approx(text.nbytes, abs=64)


def test_inspect_shows_what_it_can_of_a_page_that_cannot_be_decoded(capsys, path):
    pages = {c["path"]: c["pages"] for c in json.loads(run(capsys, "inspect", path, "--json")[1])["columns"]}
    start = pages["s.x"][0]["offset"]
    data = bytearray(path.read_bytes())
    data[start : start + pages["s.x"][0]["nbytes"]] = bytes(pages["s.x"][0]["nbytes"])
    path.write_bytes(data)
    code, out, _ = run(capsys, "inspect", path)
    assert code == 0
    assert "?" in next(line for line in out.splitlines() if " s.x " in line)


def test_inspect_of_an_empty_file(capsys, tmp_path):
    for name, schema in (("rows", TABLE.schema), ("columns", pa.schema([]))):
        LanceFileWriter(tmp_path / name, schema).close()
        code, out, _ = run(capsys, "inspect", tmp_path / name)
        assert code == 0
        assert "0 rows" in out


# verify


def test_verify_of_a_sound_file(capsys, path):
    code, out, _ = run(capsys, "verify", path)
    assert code == 0
    assert out.endswith("6 pages decoded; no fault\n")
    found = json.loads(run(capsys, "verify", path, "--json")[1])
    assert (found["ok"], found["faults"], found["pages"]) == (True, [], 6)


def test_verify_names_each_fault(capsys, path):
    page = json.loads(run(capsys, "inspect", path, "--json")[1])["columns"][3]["pages"][0]
    flip(path, page["offset"])
    flip(path, 1)
    code, out, _ = run(capsys, "verify", path)
    assert code == 1
    lines = out.splitlines()
    assert lines[0].endswith("2 faults")
    assert lines[1] == "  bytes 0 to 64, head: the head is not that of a data file of this version"
    end = page["offset"] + page["nbytes"]
    assert lines[2] == (
        f"  bytes {page['offset']:,} to {end:,}, column 3 '日本', page 0, block 0:"
        f" the checksum of {page['nbytes']:,} bytes does not match"
    )
    found = json.loads(run(capsys, "verify", path, "--json")[1])
    assert [(fault["kind"], fault["start"]) for fault in found["faults"]] == [("head", 0), ("checksum", page["offset"])]


def test_verify_of_a_dataset(capsys, dataset):
    code, out, _ = run(capsys, "verify", dataset)
    assert code == 0
    assert f"{dataset}: 2 versions, 1 tag, 0 branches, 2 files;" in out
    flip(min((dataset / "data").iterdir()), 64)
    code, out, _ = run(capsys, "verify", dataset)
    assert code == 1
    assert "1 fault\n" in out
    assert not json.loads(run(capsys, "verify", f"file://{dataset}", "--json")[1])["ok"]


# What cannot be done


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_what_is_not_there_is_said_in_words(capsys, command, tmp_path):
    code, out, complaint = run(capsys, command, tmp_path / "nothing")
    assert (code, out) == (2, "")
    assert complaint.startswith("lance_like: 'nothing' does not exist")
    assert run(capsys, command, tmp_path)[0] == 2


def test_inspect_of_a_folder_says_what_to_name(capsys, dataset):
    code, _, complaint = run(capsys, "inspect", dataset)
    assert code == 2
    assert "data/" in complaint


def test_inspect_of_another_kind_of_file_says_so(capsys, tmp_path):
    (tmp_path / "t").write_bytes(b"PAR1" * 100)
    code, _, complaint = run(capsys, "inspect", tmp_path / "t")
    assert code == 2
    assert "not a data file" in complaint
    assert run(capsys, "verify", tmp_path / "t")[0] == 1


def test_wrong_arguments_end_with_the_usage(capsys):
    for arguments in ([], ["dance"], ["inspect"], ["verify", "a", "b"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
        assert "usage: lance_like" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"lance_like {lance_like.__version__}\n")


def test_the_package_runs_as_a_command(path):
    ran = subprocess.run(
        [sys.executable, "-m", "lance_like", "verify", str(path)], capture_output=True, text=True, timeout=120
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "no fault" in ran.stdout


@pytest.mark.slow
def test_a_reader_of_the_output_that_goes_away_is_no_error(path):
    shell = f"{sys.executable} -m lance_like inspect {path} --pages --json | head -c 10 && exit ${{PIPESTATUS[0]}}"
    ran = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=120, env=os.environ)
    assert (ran.returncode, ran.stderr) == (0, "")
