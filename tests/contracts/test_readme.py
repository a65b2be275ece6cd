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


def test_the_python_example_of_the_readme_runs(tmp_path):
    pytest.importorskip("duckdb")
    (code,) = blocks("python")
    checks = """
assert ds.version == 4 and lance_like.dataset("documents").version == 5
assert lance_like.dataset("documents").schema.names == ["id", "text", "vector", "length"]
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code + checks], cwd=tmp_path, env=environment, check=True)


def test_the_commands_of_the_readme_name_files_that_exist():
    for command in blocks("sh"):
        for path in re.findall(r"\b(?:examples|benchmarks|tests)/[\w/.]+", command):
            assert (ROOT / path).exists(), path
