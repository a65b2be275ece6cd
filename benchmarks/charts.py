"""Charts of results: `python -m benchmarks.charts results/m.json` writes one SVG a task beside the file.

Takes: milliseconds by rows taken, a panel a kind, both axes logarithmic. Other tasks: a group of bars a kind, the
milliseconds or bytes of each peer divided by those of pylance.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

__all__ = ["draw", "main"]

COLUMNS = 4
REFERENCE = "pylance"


def draw(result: dict[str, Any], stem: Path) -> list[Path]:
    """Write the charts of a result. stem: the path of each, without its task and suffix."""
    written = []
    for task in dict.fromkeys(row["task"] for row in result["rows"]):
        rows = [row for row in result["rows"] if row["task"] == task]
        figure = _by_k(rows) if rows[0]["detail"].startswith("k=") else _bars(rows)
        figure.suptitle(f"{task}, {rows[0]['unit']}, size {result['options']['size']}")
        path = stem.with_name(f"{stem.name}-{task}.svg")
        figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
        plt.close(figure)
        written.append(path)
    return written


def _by_k(rows: list[dict[str, Any]]) -> Any:
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    height = -(-len(kinds) // COLUMNS)
    figure, panels = plt.subplots(height, COLUMNS, figsize=(3 * COLUMNS, 2.6 * height), squeeze=False)
    for panel in panels.flat[len(kinds) :]:
        panel.set_axis_off()
    for panel, kind in zip(panels.flat, kinds, strict=False):
        for peer in dict.fromkeys(row["peer"] for row in rows):
            points = [(int(r["detail"][2:]), r["median"]) for r in rows if (r["kind"], r["peer"]) == (kind, peer)]
            if points:
                panel.loglog(*zip(*points, strict=True), marker="o", markersize=3, label=peer)
        panel.set_title(kind, fontsize=9)
        panel.tick_params(labelsize=7)
    panels.flat[0].legend(fontsize=6)
    figure.tight_layout()
    return figure


def _bars(rows: list[dict[str, Any]]) -> Any:
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    peers = list(dict.fromkeys(row["peer"] for row in rows))
    medians = {(row["kind"], row["peer"]): row["median"] for row in rows}
    figure, panel = plt.subplots(figsize=(max(6, 0.8 * len(kinds)), 3))
    for number, peer in enumerate(peers):
        shares = [medians.get((k, peer), 0) / medians[k, REFERENCE] if (k, REFERENCE) in medians else 0 for k in kinds]
        places = [place + number * 0.8 / len(peers) for place in range(len(kinds))]
        panel.bar(places, shares, 0.8 / len(peers), label=peer)
    panel.axhline(1, color="gray", linewidth=0.5)
    panel.set_xticks([place + 0.4 for place in range(len(kinds))], kinds, rotation=45, fontsize=7)
    panel.set_ylabel(f"/ {REFERENCE}", fontsize=8)
    panel.legend(fontsize=6)
    return figure


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.charts", description="Charts of results.")
    parser.add_argument("files", nargs="+")
    for file in map(Path, parser.parse_args(arguments).files):
        for path in draw(json.loads(file.read_text()), file.with_suffix("")):
            print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
