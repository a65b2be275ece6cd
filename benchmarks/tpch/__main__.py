"""The 22 queries of TPC-H through DuckDB: `python -m benchmarks.tpch --scale 1 --repeat 3 --json results/tpch.json`.

1. the tables are generated once, and stored once by each format; 2. the answers of every door are compared with those
over the tables in memory; 3. each query is timed, doors in turns; 4. a Markdown table, and every sample as JSON.
The total is the sum of each query's fastest run.
"""

import argparse
import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from benchmarks.machine import describe_machine, installed_versions
from benchmarks.tpch.doors import DOORS, Door, connect, generate, load_tables
from benchmarks.tpch.queries import QUERIES

__all__ = ["check_equal", "main", "measure", "query_text", "render"]

Samples = dict[int, dict[str, list[float]]]
"""query -> door -> milliseconds of each run, or of its processor time."""

_FLOOR = "arrow"


def query_text(number: int, scale: float) -> str:
    """One query for tables of a scale factor."""
    return QUERIES[number].replace("{fraction}", f"{0.0001 / scale:.10f}")


def measure(
    doors: Sequence[Door], folder: Path, *, scale: float, repeat: int, queries: Sequence[int] = tuple(QUERIES)
) -> tuple[Samples, Samples, dict[str, str]]:
    """Time the queries. Returns the samples, those of processor time, and by door why it is left out.

    Raises AssertionError where a door's answer is not that of the tables in memory.
    """
    source = generate(folder, scale)
    tables = load_tables(source)
    connections: dict[str, duckdb.DuckDBPyConnection] = {}
    skipped: dict[str, str] = {}
    for door in doors:
        try:
            connections[door.name] = connect(door, tables, source)
        except ImportError as error:
            skipped[door.name] = str(error)
    floor = connect(DOORS[_FLOOR](), tables, source)
    samples: Samples = {}
    processor: Samples = {}
    rng = np.random.default_rng(7)
    for number in queries:
        text = query_text(number, scale)
        expected = floor.execute(text).fetchall()
        for name, connection in connections.items():
            check_equal(connection.execute(text).fetchall(), expected, f"query {number} through {name}")
        samples[number], processor[number] = _timed(connections, text, repeat, rng)
    return samples, processor, skipped


def _timed(
    connections: dict[str, duckdb.DuckDBPyConnection], text: str, repeat: int, rng: np.random.Generator
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    names = list(connections)
    found: dict[str, list[float]] = {name: [] for name in names}
    processor: dict[str, list[float]] = {name: [] for name in names}
    gc.collect()
    for _ in range(repeat):
        for place in rng.permutation(len(names)):
            began, used = time.perf_counter_ns(), time.process_time_ns()
            connections[names[place]].execute(text).fetchall()
            found[names[place]].append((time.perf_counter_ns() - began) / 1e6)
            processor[names[place]].append((time.process_time_ns() - used) / 1e6)
    return found, processor


def check_equal(found: list[Any], expected: list[Any], what: str) -> None:
    """Raise AssertionError unless two answers are equal: floats to 9 digits, rows of equal keys in any order."""
    assert len(found) == len(expected), f"{what}: {len(found)} rows, expected {len(expected)}"
    for one, other in zip(sorted(map(_rounded, found)), sorted(map(_rounded, expected)), strict=True):
        assert one == other, f"{what}: {one}, expected {other}"


def _rounded(row: tuple[Any, ...]) -> tuple[str, ...]:
    """A row that can be sorted; an average is summed in any order, so its last digits may differ."""
    return tuple(f"{value:.9e}" if isinstance(value, float) else str(value) for value in row)


def render(samples: Samples) -> str:
    """One line a query and one for the total, in milliseconds, with what the first door is of each other."""
    names = list(next(iter(samples.values())))
    first, others = names[0], names[1:]
    head = ["query", *names, *(f"/ {name}" for name in others)]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    total = dict.fromkeys(names, 0.0)
    for number, found in samples.items():
        best = {name: min(values) for name, values in found.items()}
        for name, value in best.items():
            total[name] += value
        lines.append(_line(f"{number}", best, first, others))
    lines.append(_line("total", total, first, others))
    return "\n".join(lines)


def _line(label: str, best: dict[str, float], first: str, others: Sequence[str]) -> str:
    cells = [label, *(f"{value:.1f}" for value in best.values())]
    cells += [f"{best[first] / best[name]:.2f}" for name in others]
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    usual = os.environ.get("LANCE_LIKE_BENCH_DIR", str(Path(tempfile.gettempdir()) / "lance_like_bench"))
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tpch", description="TPC-H through DuckDB.")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--doors", default=",".join(DOORS), help=f"of {','.join(DOORS)}; the first above the line")
    parser.add_argument("--queries", default=",".join(map(str, QUERIES)))
    parser.add_argument("--folder", default=usual, help="cache of the stored tables ($LANCE_LIKE_BENCH_DIR)")
    parser.add_argument("--json", help="write every sample to this file")
    parsed = parser.parse_args(arguments)
    names = parsed.doors.split(",")
    if unknown := [name for name in names if name not in DOORS]:
        parser.error(f"door {unknown[0]!r} is not known; known are {', '.join(DOORS)}")
    doors = [DOORS[name]() for name in names]
    machine = describe_machine(Path(parsed.folder))
    queries = [int(number) for number in parsed.queries.split(",")]
    samples, processor, skipped = measure(
        doors, Path(parsed.folder), scale=parsed.scale, repeat=parsed.repeat, queries=queries
    )
    machine["load_after"] = os.getloadavg()
    versions = installed_versions()
    for name, why in skipped.items():
        print(f"skipped {name}: {why}", file=sys.stderr)
    print(f"{machine['cpu']}, {machine['cores']} cores; " + ", ".join(f"{k} {v}" for k, v in versions.items()))
    print(f"Scale {parsed.scale:g}; milliseconds, the fastest of {parsed.repeat} runs.\n")
    print(render(samples))
    print("\nMilliseconds of processor time.\n")
    print(render(processor))
    if parsed.json:
        settings = {door.name: door.settings for door in doors}
        about = {"scale": parsed.scale, "repeat": parsed.repeat}
        result = {
            "about": about,
            "machine": machine,
            "versions": versions,
            "settings": settings,
            "samples": samples,
            "processor": processor,
        }
        Path(parsed.json).write_text(json.dumps({"tpch": result}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
