"""The targets of files and tables against measured results: `python -m benchmarks.targets results/*.json`.

Reads what `--json` of `benchmarks.run`, `wide`, `appends`, `changes`, `tpch`, `scalars`, `texts`, `vectors` wrote; it
prints one line a target: what was asked, what was measured, whether it holds. A target without figures is said to be
unmeasured.
"""

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Verdict", "judge", "main"]

FIXED = ("int64", "ids", "small", "nullable", "timestamp", "float64", "price", "bool", "embedding")
DECODED = ("int64", "ids", "small", "nullable", "timestamp", "price", "category", "tokens")
APART = ("embedding", "blob")
OURS = "lance_like_nosync"
TABLES = ("narrow", "wide")
Key = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target. worst: the largest ratio that was measured, and where; None: no figures."""

    target: str
    limit: float
    worst: tuple[float, str] | None

    @property
    def holds(self) -> bool:
        return self.worst is not None and self.worst[0] <= self.limit

    def line(self) -> str:
        if self.worst is None:
            return f"| {self.target} | {self.limit:.2f} | | | unmeasured |"
        ratio, place = self.worst
        return f"| {self.target} | {self.limit:.2f} | {ratio:.2f} | {place} | {'holds' if self.holds else 'MISSED'} |"


def judge(results: Sequence[dict[str, Any]]) -> Iterator[Verdict]:
    """Compare results with every target. results: what the JSON files hold."""
    medians: dict[Key, float] = {}
    notes: dict[Key, dict[str, float]] = {}
    wide: dict[str, float] = {}
    for result in results:
        for row in result.get("rows", []):
            key = (row["task"], row["kind"], row["detail"], row["peer"])
            medians[key], notes[key] = row["median"], row["notes"]
        for task, peers in result.get("wide", {}).get("10000", {}).items():
            wide[task] = peers["lance_like"] / peers["pylance"]

    def worst(task: str, kinds: Sequence[str] | None, peer: str, ks: Sequence[int] | None = None):
        found = [
            (ours / medians[(task, kind, detail, peer)], f"{kind} {detail}".strip())
            for (name, kind, detail, who), ours in medians.items()
            if (name, who) == (task, "lance_like")
            and (kinds is None or kind in kinds)
            and (ks is None or detail in {f"k={k}" for k in ks})
            and (task, kind, detail, peer) in medians
        ]
        return max(found, default=None)

    yield Verdict("take, fixed width, / pylance", 1 / 5, worst("take", FIXED, "pylance"))
    yield Verdict("take, fixed width, / vortex", 1 / 2, worst("take", FIXED, "vortex"))
    yield Verdict("take, tokens, / pylance", 1 / 3, worst("take", ("tokens",), "pylance"))
    yield Verdict("take, text and strings, / pylance", 1 / 2, worst("take", ("text", "string"), "pylance"))
    small = (1, 10, 100, 1000)
    yield Verdict("take, text and strings, k <= 1000, / vortex", 1, worst("take", ("text", "string"), "vortex", small))
    yield Verdict("take, blobs, / vortex", 1, worst("take", ("blob",), "vortex"))
    yield Verdict("cold take, k = 100 and 1000, / pylance", 1 / 2, worst("take_cold", None, "pylance", (100, 1000)))
    yield Verdict("cold take, k = 1, / pylance", 1, worst("take_cold", None, "pylance", (1,)))
    yield Verdict("cold take, bytes from the disk, / pylance", 1, _disk(notes))
    yield Verdict("scan, decoded, / pylance", 1 / 2, worst("scan_full", DECODED, "pylance"))
    yield Verdict("scan, decoded, / vortex", 1, worst("scan_full", DECODED, "vortex"))
    yield Verdict("scan, plain, / raw bytes (ipc)", 2, worst("scan_full", ("float64", *APART), "ipc"))
    yield Verdict("scan, strings and text, / pylance", 1, worst("scan_full", ("string", "text"), "pylance"))
    yield Verdict("write, / pylance", 1, worst("write", None, "pylance"))
    yield Verdict("size, each column, / pylance", 1.15, worst("bytes", None, "pylance"))
    yield Verdict("size, embeddings and blobs, / pylance", 1.01, worst("bytes", APART, "pylance"))
    yield Verdict("size, geometric mean, / pylance", 0.8, _mean(medians, "pylance"))
    yield Verdict("size, geometric mean, / parquet", 1.1, _mean(medians, "parquet"))
    for task, limit in (("open", 1 / 3), ("open, take of 1 column", 1 / 3), ("take of all columns", 1 / 5)):
        yield Verdict(f"10,000 columns, {task}, / pylance", limit, (wide[task], "") if task in wide else None)
    yield from _judge_tables(results)
    yield from _judge_searches(results)
    for peer, limit in (("arrow", 1.3), ("pylance", 1 / 2)):
        yield Verdict(f"TPC-H through DuckDB, total, / {peer}", limit, _tpch(results, peer))


def _tpch(results: Sequence[dict[str, Any]], peer: str) -> tuple[float, str] | None:
    for result in results:
        queries = list(result.get("tpch", {}).get("samples", {}).values())
        if queries and all(peer in query for query in queries):
            total = {name: sum(min(query[name]) for query in queries) for name in ("lance_like", peer)}
            return total["lance_like"] / total[peer], f"{len(queries)} queries"
    return None


def _judge_tables(results: Sequence[dict[str, Any]]) -> Iterator[Verdict]:
    """The targets of tables, at equal fsync: none on either side."""
    rows: dict[str, dict[str, float]] = {}
    for result in results:
        for name in ("appends", "changes"):
            for row, found in result.get(name, {}).get("samples", {}).items():
                rows[row] = {peer: statistics.median(samples) for peer, samples in found.items()}

    def worst(unit: str, peer: str, chosen: Callable[[str], bool]) -> tuple[float, str] | None:
        found = [
            (medians[OURS] / medians[peer], row.removesuffix(f", {unit}"))
            for row, medians in rows.items()
            if row.endswith(unit) and chosen(row) and OURS in medians and medians.get(peer)
        ]
        return max(found, default=None)

    def history(row: str) -> bool:
        return not row.startswith(tuple(TABLES))

    grown = [
        (rows[last][OURS] / medians[OURS], row)
        for row, medians in rows.items()
        if row.startswith("append, first") and (last := row.replace("first", "last")) in rows and OURS in medians
    ]
    yield Verdict("history, an append of the last 100 / of the first", 1.5, max(grown, default=None))
    yield Verdict("history, time, / pylance", 1, worst("ms", "pylance", history))
    yield Verdict("history, metadata bytes, last 100, / pylance", 1, worst("bytes", "pylance", _is_last))
    yield Verdict("history, time, / deltalake", 1, worst("ms", "deltalake", history))
    yield Verdict("changes, time, / pylance", 1, worst("ms", "pylance", lambda row: not history(row)))
    yield Verdict("changes, bytes, / pylance", 1, worst("bytes", "pylance", lambda row: not history(row)))
    yield Verdict("changes, time, / deltalake", 1, worst("ms", "deltalake", lambda row: not history(row)))
    update = worst("bytes", "pylance", lambda row: row.startswith("wide, update,"))
    yield Verdict("update of 1 % beside 60 KB cells, bytes, / pylance", 1 / 20, update)


def _judge_searches(results: Sequence[dict[str, Any]]) -> Iterator[Verdict]:
    """The targets of indexes, against pylance's; of vectors, its fastest kind that reaches the same recall."""
    rows = {
        (name, row): {peer: statistics.median(samples) for peer, samples in found.items()}
        for result in results
        for name in ("scalars", "texts", "vectors")
        for row, found in result.get(name, {}).get("samples", {}).items()
    }

    def worst(names: Sequence[str], chosen: Callable[[str], bool]) -> tuple[float, str] | None:
        found = [
            (medians["lance_like"] / medians["pylance"], row)
            for (name, row), medians in rows.items()
            if name in names and chosen(row) and "lance_like" in medians and medians.get("pylance")
        ]
        return max(found, default=None)

    def asked(row: str) -> bool:
        return row.endswith(", ms") and not row.startswith("open ")

    yield Verdict("vectors, median at equal recall, / pylance", 1 / 4, worst(["vectors"], _is_best))
    yield Verdict("filters by indexes, median, / pylance", 1 / 3, worst(["scalars"], asked))
    yield Verdict("full text, median, / pylance", 1 / 2, worst(["texts"], asked))
    every = ("scalars", "texts", "vectors")
    yield Verdict("indexes, build, cpu, / pylance", 1, worst(every, lambda row: row.endswith("build, cpu s")))
    yield Verdict("indexes, bytes, / pylance", 1, worst(every, lambda row: row.endswith("index, bytes")))


def _is_best(row: str) -> bool:
    return ", best" in row


def _is_last(row: str) -> bool:
    return row.startswith("metadata a commit, last")


def _disk(notes: dict[Key, dict[str, float]]) -> tuple[float, str] | None:
    found = []
    for (task, kind, detail, peer), note in notes.items():
        other = notes.get((task, kind, detail, "pylance"), {}).get("disk_mb")
        if task == "take_cold" and peer == "lance_like" and "disk_mb" in note and other:
            found.append((note["disk_mb"] / other, f"{kind} {detail}"))
    return max(found, default=None)


def _mean(medians: dict[Key, float], peer: str) -> tuple[float, str] | None:
    ratios = [
        ours / medians[("bytes", kind, detail, peer)]
        for (task, kind, detail, who), ours in medians.items()
        if (task, who) == ("bytes", "lance_like") and kind not in (*APART, "mixed")
        if ("bytes", kind, detail, peer) in medians
    ]
    return (math.exp(sum(map(math.log, ratios)) / len(ratios)), f"{len(ratios)} kinds") if ratios else None


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status: 0 when every target that was measured holds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.targets", description="Targets against results.")
    parser.add_argument("files", nargs="+")
    parsed = parser.parse_args(arguments)
    verdicts = list(judge([json.loads(Path(file).read_text()) for file in parsed.files]))
    print("| target | at most | worst | where | |\n|---|---|---|---|---|")
    for verdict in verdicts:
        print(verdict.line())
    return int(any(verdict.worst is not None and not verdict.holds for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())
