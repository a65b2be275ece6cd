"""Ctrl-C ends a statement of `lance_like.sql` and nothing else: the process and its datasets go on."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROCESS = Path(__file__).with_name("interrupted_process.py")
# Each takes hours when nobody interrupts it.
PAIRS = "FROM ds a, ds b, ds c WHERE hash(a.x + b.x, c.x) = 1"
# Far above what is needed, so that a busy machine passes, and far below what the statements take.
PATIENCE_S = 60


@pytest.mark.skipif(sys.platform == "win32", reason="there are no signals to send")
@pytest.mark.parametrize(
    "statement",
    [
        pytest.param(f"SELECT count(*) {PAIRS}", id="folded"),
        pytest.param(f"SELECT a.x {PAIRS}", id="rows", marks=pytest.mark.slow),
        pytest.param(f"DELETE FROM ds WHERE x IN (SELECT a.x {PAIRS})", id="delete", marks=pytest.mark.slow),
    ],
)
def test_an_interrupt_ends_a_statement_and_the_process_goes_on(tmp_path: Path, statement: str) -> None:
    command = [sys.executable, str(PROCESS), str(tmp_path), statement]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "running\n"
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=PATIENCE_S)
        finally:
            process.kill()
    assert output.splitlines() == ["interrupted", "[(10, 45)] 100001 2 False"], errors
