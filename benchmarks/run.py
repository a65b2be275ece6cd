"""Run the benchmarks: `python -m benchmarks.run --size M --kinds int64 --tasks take --json results/x.json`.

1. store the data of each kind once per peer in the cache folder, 2. compare every peer's answers with what
was generated, 3. run the tasks, peers in turns, 4. print Markdown tables and write all samples as JSON.
README.md explains the words; peers/ states each peer's settings; tasks/ holds what is measured.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.datasets import KINDS, SIZES, Data, make_data
from benchmarks.machine import describe_machine, installed_versions
from benchmarks.peers import FORMS, PEERS, Peer, load_peer
from benchmarks.tasks import Case, Row
from benchmarks.tasks.check import check_answers
from benchmarks.tasks.pagecache import make_durable
from benchmarks.tasks.scan import run_scan_cold, run_scan_first, run_scan_full, run_scan_projected, run_scan_unread
from benchmarks.tasks.store import run_bytes, run_open, run_write
from benchmarks.tasks.take import run_first_take, run_take, run_take_cold, run_take_repeated, run_take_sorted

__all__ = ["TASKS", "Options", "bench", "main", "render"]

TASKS: dict[str, Callable[[Case], list[Row]]] = {
    "take": run_take,
    "take_sorted": run_take_sorted,
    "take_repeated": run_take_repeated,
    "first_take": run_first_take,
    "take_cold": run_take_cold,
    "scan_full": run_scan_full,
    "scan_first": run_scan_first,
    "scan_projected": run_scan_projected,
    "scan_unread": run_scan_unread,
    "scan_cold": run_scan_cold,
    "write": run_write,
    "open": run_open,
    "bytes": run_bytes,
}
ALL_KINDS = (*KINDS, "mixed")
# below this ratio a difference is noise on a shared machine
NOISE = 1.2


@dataclass(frozen=True, slots=True)
class Options:
    """What to run.

    baseline: the peer whose time stands above the line in every ratio.
    block: takes per peer and repetition, None to choose it by k.
    rebuild: write the files again although the cache holds them.
    discard: delete the files of a kind once its tasks are done.
    """

    size: str = "S"
    kinds: tuple[str, ...] = ALL_KINDS
    tasks: tuple[str, ...] = tuple(TASKS)
    peers: tuple[str, ...] = tuple(PEERS)
    folder: Path = Path(tempfile.gettempdir()) / "lance_like_bench"
    repeat: int = 10
    ks: tuple[int, ...] = (1, 10, 100, 1_000, 10_000)
    block: int | None = None
    seed: int = 7
    baseline: str = "lance_like"
    rebuild: bool = False
    discard: bool = False


def bench(options: Options, *, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Run the tasks of each kind and gather every sample.

    say: takes one line about the progress.
    Returns what --json writes: options, machine, versions, settings, skipped peers and rows.
    Raises AssertionError if a peer answers something else than was generated.
    """
    peers, skipped = _load_peers(options.peers)
    for name, why in skipped.items():
        say(f"skipped {name}: {why}")
    machine = describe_machine(options.folder)
    rows: list[Row] = []
    corpora: dict[str, str | None] = {}
    for kind in options.kinds:
        data = make_data(kind, options.size, seed=options.seed)
        corpora[kind] = data.read_corpus_digest()
        say(f"{kind}: {data.rows:,} rows")
        case = Case(
            data=data,
            peers=tuple(peers),
            paths=_store(data, peers, options, say),
            folder=options.folder,
            repeat=options.repeat,
            ks=options.ks,
            seed=options.seed,
            block=options.block,
        )
        check_answers(case)
        for task in options.tasks:
            start = time.perf_counter()
            rows += TASKS[task](case)
            say(f"  {task}: {time.perf_counter() - start:.1f} s")
        if options.discard:
            shutil.rmtree(_kind_folder(data, options))
    return {
        "options": {**asdict(options), "folder": str(options.folder)},
        "machine": {**machine, "load_after": os.getloadavg()},
        "versions": installed_versions(),
        "corpus": corpora,
        "settings": {peer.name: peer.settings for peer in peers},
        "skipped": skipped,
        "rows": [{**asdict(row), **_summary(row.samples)} for row in rows],
    }


def render(result: dict[str, Any]) -> str:
    """Write a result as Markdown: one table a task, medians with their spread, ratios to the baseline."""
    rows = result["rows"]
    peers = list(dict.fromkeys(row["peer"] for row in rows))
    baseline = result["options"]["baseline"]
    rivals = [peer for peer in peers if peer != baseline] if baseline in peers else []
    machine = result["machine"]
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB; load "
        f"{machine['load_before'][0]:.1f} before, {machine['load_after'][0]:.1f} after; "
        + ", ".join(f"{name} {version}" for name, version in result["versions"].items()),
        "",
        f"Size {result['options']['size']}, {result['options']['repeat']} repetitions; median (p10-p90).",
        f"Ratios: {baseline} / peer, smaller is better; between {1 / NOISE:.2f} and {NOISE} it is noise.",
    ]
    for task in dict.fromkeys(row["task"] for row in rows):
        chosen = [row for row in rows if row["task"] == task]
        states = {row["state"] for row in chosen} - {""}
        lines += ["", f"### {task}, {chosen[0]['unit']}" + (f", {states.pop()}" if states else ""), ""]
        lines += _table(chosen, peers, rivals, baseline)
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parsed = _parser().parse_args(arguments)
    options = Options(
        size=parsed.size,
        kinds=_names(parsed.kinds, ALL_KINDS, "kind"),
        tasks=_names(parsed.tasks, TASKS, "task"),
        peers=tuple(PEERS) if parsed.peers == "all" else _names(parsed.peers, PEERS | FORMS, "peer"),
        folder=Path(parsed.folder),
        repeat=parsed.repeat,
        ks=tuple(int(k) for k in parsed.ks.split(",")),
        block=parsed.block,
        seed=parsed.seed,
        baseline=parsed.baseline,
        rebuild=parsed.rebuild,
        discard=parsed.discard,
    )
    result = bench(options, say=lambda line: print(line, file=sys.stderr, flush=True))
    print(render(result))
    if parsed.json:
        target = Path(parsed.json)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    default = Options()
    folder = os.environ.get("LANCE_LIKE_BENCH_DIR", str(default.folder))
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description="Run the benchmarks.")
    parser.add_argument("--size", choices=SIZES, default=default.size)
    parser.add_argument("--kinds", default="all", help=f"of {','.join(ALL_KINDS)}")
    parser.add_argument("--tasks", default="all", help=f"of {','.join(TASKS)}")
    parser.add_argument("--peers", default="all", help=f"of {','.join(PEERS | FORMS)}; all: the first {len(PEERS)}")
    parser.add_argument("--repeat", type=int, default=default.repeat, help="repetitions of each row")
    parser.add_argument("--ks", default=",".join(map(str, default.ks)), help="rows a take reads")
    parser.add_argument("--block", type=int, help="takes per peer and repetition (default: by k)")
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument("--baseline", default=default.baseline, help="the peer above the line in the ratios")
    parser.add_argument("--folder", default=folder, help="cache of the stored tables ($LANCE_LIKE_BENCH_DIR)")
    parser.add_argument("--rebuild", action="store_true", help="store the tables again")
    parser.add_argument("--discard", action="store_true", help="delete the tables of a kind when it is done")
    parser.add_argument("--json", help="write all samples to this file")
    return parser


def _names(text: str, known: Sequence[str] | dict[str, Any], what: str) -> tuple[str, ...]:
    names = tuple(known) if text == "all" else tuple(text.split(","))
    for name in names:
        if name not in known:
            raise SystemExit(f"{what} {name!r} is not known; known are {', '.join(known)}")
    return names


def _load_peers(names: Sequence[str]) -> tuple[list[Peer], dict[str, str]]:
    """Returns the adapters and, by name, why others are left out."""
    peers: list[Peer] = []
    skipped: dict[str, str] = {}
    for name in names:
        try:
            peers.append(load_peer(name))
        except ImportError as error:
            skipped[name] = str(error)
    return peers, skipped


def _kind_folder(data: Data, options: Options) -> Path:
    return options.folder / f"{data.size}-{data.seed}" / data.kind


def _store(data: Data, peers: list[Peer], options: Options, say: Callable[[str], None]) -> dict[str, Path]:
    """Write the table of each peer unless the cache holds it; returns the paths by peer name.

    A finished table has a file `<peer>.json` beside it with the identity of what wrote it.
    """
    folder = _kind_folder(data, options)
    folder.mkdir(parents=True, exist_ok=True)
    written: set[str] = set()
    corpus = data.read_corpus_digest()
    for peer in peers:
        path, mark = folder / peer.stored_as, folder / f"{peer.stored_as}.json"
        identity = json.dumps({"peer": peer.identity(), "rows": data.rows, "corpus": corpus})
        fresh = mark.exists() and mark.read_text() == identity and not options.rebuild
        if peer.stored_as in written or fresh:
            continue
        mark.unlink(missing_ok=True)
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        start = time.perf_counter()
        peer.write(path, data.batches(), data.schema)
        make_durable(path)
        mark.write_text(identity)
        written.add(peer.stored_as)
        seconds = time.perf_counter() - start
        say(f"  stored by {peer.stored_as}: {peer.nbytes(path) / 1e6:.1f} MB, {seconds:.1f} s")
    return {peer.name: folder / peer.stored_as for peer in peers}


def _summary(samples: list[float]) -> dict[str, float]:
    low, median, high = np.percentile(samples, [10, 50, 90]).tolist()
    return {"median": median, "min": min(samples), "p10": low, "p90": high}


def _table(rows: list[dict[str, Any]], peers: list[str], rivals: list[str], baseline: str) -> list[str]:
    noted = list(dict.fromkeys(f"{name} {row['peer']}" for row in rows for name in row["notes"]))
    head = ["kind", *peers, *(f"/ {peer}" for peer in rivals), *noted]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for kind, detail in dict.fromkeys((row["kind"], row["detail"]) for row in rows):
        line = {row["peer"]: row for row in rows if (row["kind"], row["detail"]) == (kind, detail)}
        cells = [f"{kind} {detail}".strip()]
        cells += [_cell(line[peer]) if peer in line else "" for peer in peers]
        cells += [_ratio(line, baseline, peer) for peer in rivals]
        notes = {f"{name} {peer}": value for peer, row in line.items() for name, value in row["notes"].items()}
        cells += [_figure(notes[name]) if name in notes else "" for name in noted]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _cell(row: dict[str, Any]) -> str:
    if len(row["samples"]) == 1:
        return _figure(row["median"])
    return f"{_figure(row['median'])} ({_figure(row['p10'])}-{_figure(row['p90'])})"


def _ratio(line: dict[str, Any], baseline: str, peer: str) -> str:
    if baseline not in line or peer not in line:
        return ""
    return f"{line[baseline]['median'] / line[peer]['median']:.3f}"


def _figure(value: float) -> str:
    return f"{value:.0f}" if value >= 1_000 else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())
