"""The README's code and commands are what they say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def test_the_python_examples_of_the_readme_run(tmp_path):
    pytest.importorskip("duckdb")
    first, second, third, fourth = blocks("python")
    checks = """
assert ds.version == 4 and lance_like.dataset("documents").version == 5
assert lance_like.dataset("documents").schema.names == ["id", "text", "vector", "length"]
"""
    more = """
assert ds.version == lance_like.dataset("documents").version == 9
assert ds.to_table(["id", "text"], filter="id in (9, 20, 100, 2000)").sort_by("id").to_pylist() == [
    {"id": 20, "text": "changed"}, {"id": 100, "text": "DOCUMENT 100"}, {"id": 2000, "text": "new"}]
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    last = """
assert ds.to_table(["id"], filter="length > 12").num_rows == 0 and ds.version == 10
"""
    searches = """
assert len(ds.list_indices()) == 3 and ds.version == 13
assert ds.search(vector=query, text="document").where("id < 500").limit(10).to_table().num_rows == 10
"""
    code = first + checks + second + more + third + last + fourth + searches
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)


def test_the_commands_of_the_readme_name_files_that_exist():
    for command in blocks("sh"):
        for path in re.findall(r"\b(?:examples|benchmarks|tests)/[\w/.]+", command):
            assert (ROOT / path).exists(), path
