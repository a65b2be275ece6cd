"""`verify_file` on every vector: no fault in a sound one, and in any other the fault that it was made for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lance_like.file.verify import Fault, verify_file
from lance_like.io.local import LocalStore

VECTORS = Path(__file__).resolve().parents[2] / "format_spec" / "vectors"
SOUND = sorted(path.parent.name for path in VECTORS.glob("*/data.lnl"))
ERRORS = sorted(path.parent.name for path in VECTORS.glob("errors/*/data.lnl"))


def faults_of(folder: Path) -> list[Fault]:
    return verify_file(LocalStore(str(folder)), "data.lnl").faults


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_file_has_no_fault(name: str) -> None:
    # The one whose head is damaged on purpose: readers do not need it, who checks a file tells.
    expected = ["head"] if name == "by_hand_loose" else []
    assert [fault.where for fault in faults_of(VECTORS / name)] == expected


@pytest.mark.parametrize("name", ERRORS)
def test_the_fault_of_a_file_is_named(name: str) -> None:
    expected = json.loads((VECTORS / "errors" / name / "case.json").read_text())["error"]
    faults = faults_of(VECTORS / "errors" / name)
    assert expected["kind"] in {fault.kind for fault in faults}
    nbytes = (VECTORS / "errors" / name / "data.lnl").stat().st_size
    assert all(fault.where and 0 <= fault.start <= fault.end <= nbytes for fault in faults)
