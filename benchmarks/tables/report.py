"""What the table benchmarks share: their samples as Markdown and JSON, and the folder they work in."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from benchmarks.machine import describe_machine, installed_versions
from benchmarks.peers import Named
from benchmarks.tables import load_peer

__all__ = ["Samples", "render", "run_and_report"]

Samples = dict[str, dict[str, list[float]]]
"""row -> peer -> a figure a sample; a peer that lacks a verb is left out. The row names the unit: ms or bytes."""


P = TypeVar("P", bound=Named)


def render(samples: Samples, peers: Sequence[str]) -> str:
    """One Markdown line a row: medians, and what each of ours is of each other peer's."""
    ours = [name for name in peers if name.startswith("lance_like")]
    ratios = [(mine, theirs) for mine in ours for theirs in peers if theirs not in ours]
    head = ["", *peers, *(f"{mine} / {theirs}" for mine, theirs in ratios)]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row, found in samples.items():
        medians = {name: float(np.median(values)) for name, values in found.items()}
        cells = [_figure(medians[name]) if name in medians else "" for name in peers]
        cells += [
            f"{medians[mine] / medians[theirs]:.3f}" if mine in medians and medians.get(theirs) else ""
            for mine, theirs in ratios
        ]
        lines.append(f"| {' | '.join([row, *cells])} |")
    return "\n".join(lines)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def run_and_report(
    name: str,
    peers: str,
    measure: Callable[[Path, list[P]], Samples],
    *,
    load: Callable[[str], P] = load_peer,
    target: str | None,
    about: Any,
) -> None:
    """Measure in a folder of its own, print the table, and write JSON.

    peers: names, joined by commas; those not installed are left out with a note. load: makes one.
    target: the JSON file, or None. about: what the JSON says of the settings.
    """
    loaded: list[P] = []
    for peer in peers.split(","):
        try:
            loaded.append(load(peer))
        except ImportError as error:
            print(f"skipped {peer}: {error}", file=sys.stderr)
    folder = Path(tempfile.mkdtemp(prefix=f"lance_like_{name}_", dir=os.environ.get("LANCE_LIKE_BENCH_DIR")))
    machine = describe_machine(folder)
    try:
        samples = measure(folder, loaded)
    finally:
        shutil.rmtree(folder)
    machine["load_after"] = os.getloadavg()
    versions = installed_versions()
    print(f"{machine['cpu']}, {machine['cores']} cores; " + ", ".join(f"{k} {v}" for k, v in versions.items()))
    print(f"Medians; ratios below 1.2 either way are noise. {about}\n")
    print(render(samples, [peer.name for peer in loaded]))
    if target:
        settings = {peer.name: peer.settings for peer in loaded}
        result = {"about": about, "machine": machine, "versions": versions, "settings": settings, "samples": samples}
        Path(target).write_text(json.dumps({name: result}, indent=1) + "\n")
