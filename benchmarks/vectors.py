"""Vector search: `python -m benchmarks.vectors --data mixture --rows 500000` and `--data glosses --rows 200000`.

Each library makes each kind of index that it has. Parameters of its searches are swept, and of those that reach a
recall the fastest answer the questions: single queries and batches of 100, all rows or the 1 % or 10 % that pass a
filter, against exact answers. Also the first answer after opening, what defaults reach, and processor time and bytes of
the indexes. The rows "best" hold, for each library, its fastest kind.

The mixture: 1,000 normal clusters. Glosses: 117,659 definitions of WordNet as 256 numbers (examples/fetch_data.py).
"""

import argparse
import itertools
import shutil
import statistics
import sys
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.searches import IndexPeer, Stored, ask, build, first_asked, merged
from benchmarks.tables.report import Samples, run_and_report

__all__ = ["PEERS", "Data", "load", "main", "make_data", "measure"]

K = 10
BATCH = 100
# Half of them choose parameters, the others are timed.
QUERIES = 200
SHARES = {"": None, ", 1 % pass": 0.01, ", 10 % pass": 0.1}
SYNSETS = Path(__file__).parent.parent / "examples" / ".cache" / "synsets.arrow"
Options = dict[str, Any]
Question = Callable[[Any], Any]
# None: as many as the library looks into by default.
PROBES = (None, 2, 4, 8, 16, 32, 64, 96, 112, 128)
REFINED = (3, 6, 10, 20, 32, 48, 64, 100)
# Where a library looks into the partitions that are so near, and not into as many for each query.
REACHES = (0.03, 0.04, 0.05, 0.06, 0.1, 0.3, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9)
# A recall from which nothing more is tried.
ENOUGH = 0.995


@dataclass(frozen=True, slots=True)
class Data:
    """Rows with `id`, `vector` and `share`, a number that filters ask for; queries that are no rows: float32[q, d].

    nearest: of each share, int64[q, K] ids of the rows nearest to each query.
    """

    name: str
    metric: str
    table: pa.Table
    queries: np.ndarray
    nearest: dict[str, np.ndarray]


class VectorPeer(IndexPeer):
    """A library with one kind of index."""

    kind: str
    params: Options

    def kinds(self, data: Data) -> dict[str, tuple[str, Options]]:
        """What a report calls a kind -> its name, and the parameters to build with."""
        partitions = {"num_partitions": round(len(data.table) ** 0.5)}
        width = data.queries.shape[1]
        return {
            "IVF_FLAT": ("IVF_FLAT", partitions),
            "IVF_SQ": ("IVF_SQ", partitions),
            "IVF_PQ": ("IVF_PQ", {**partitions, "num_sub_vectors": width // 8}),
            "IVF_PQ, 4 bits": ("IVF_PQ", {**partitions, "num_sub_vectors": width // 2, "num_bits": 4}),
            "IVF_PQ, 4 bits, half the parts": ("IVF_PQ", {**partitions, "num_sub_vectors": width // 4, "num_bits": 4}),
            "IVF_RQ": ("IVF_RQ", partitions),
            "IVF_HNSW_SQ": ("IVF_HNSW_SQ", {"num_partitions": 1}),
        }

    def sweeps(self, kind: str) -> list[list[Options]]:
        """The parameters of searches that are tried: of each way, about from fast to slow; the first are the defaults.

        kind: as a report calls it.
        """
        return [searches(kind)]

    @abstractmethod
    def question(
        self, queries: np.ndarray, data: Data, options: Options, condition: str | None
    ) -> Callable[[Any], Any]:
        """A function of a handle that finds the rows nearest to queries, and gives their ids: float32[d] or [q, d]."""


class LanceLike(VectorPeer):
    name = "lance_like"
    settings = ("ours",)

    @staticmethod
    def library() -> Any:
        import lance_like

        return lance_like

    def kinds(self, data: Data) -> dict[str, tuple[str, Options]]:
        return {**super().kinds(data), "IVF_PQ": ("IVF_PQ", {}), "HNSW": ("HNSW", {})}

    def sweeps(self, kind: str) -> list[list[Options]]:
        return [searches(kind), *([] if "HNSW" in kind else [_crossed("reach", REACHES, kind)])]

    def store(self, path: Path, table: pa.Table) -> None:
        self.library().write_dataset(table, str(path), max_rows_per_file=len(table))

    def index(self, path: Path, table: pa.Table) -> None:
        self.library().dataset(str(path)).create_index("vector", self.kind, **self.params)

    def open(self, path: Path) -> Any:
        return self.library().dataset(str(path))

    def question(
        self, queries: np.ndarray, data: Data, options: Options, condition: str | None
    ) -> Callable[[Any], Any]:
        nearest = {"column": "vector", "q": queries, "k": K, **options}
        return lambda handle: handle.to_table(
            columns=["id", "_distance"], nearest=nearest, filter=condition, prefilter=True
        )


class Pylance(LanceLike):
    name = "pylance"
    settings = ("as many partitions as the root of the rows; IVF_HNSW_SQ of one partition, its fastest",)

    @staticmethod
    def library() -> Any:
        import lance

        return lance

    def kinds(self, data: Data) -> dict[str, tuple[str, Options]]:
        return VectorPeer.kinds(self, data)

    def sweeps(self, kind: str) -> list[list[Options]]:
        return VectorPeer.sweeps(self, kind)


class LanceDb(VectorPeer):
    name = "lancedb"
    settings = ("as pylance",)

    def store(self, path: Path, table: pa.Table) -> None:
        import lancedb

        lancedb.connect(str(path)).create_table("t", table)

    def index(self, path: Path, table: pa.Table) -> None:
        self.open(path).create_index(index_type=self.kind, **self.params)

    def open(self, path: Path) -> Any:
        import lancedb

        return lancedb.connect(str(path)).open_table("t")

    def question(
        self, queries: np.ndarray, data: Data, options: Options, condition: str | None
    ) -> Callable[[Any], Any]:
        many = list(queries) if queries.ndim == 2 else queries

        def answer(handle: Any) -> Any:
            search = handle.search(many).distance_type(data.metric).select(["id", "_distance"]).limit(K)
            for name, value in options.items():
                search = getattr(search, name)(value)
            return (search if condition is None else search.where(condition, prefilter=True)).to_arrow()

        return answer


PEERS: dict[str, Callable[[], Any]] = {peer.name: peer for peer in (LanceLike, Pylance, LanceDb)}


def make_data(name: str, rows: int, *, dimension: int = 128, seed: int = 7) -> Data:
    """The rows and queries of a data set. rows: of the mixture; of the glosses that many at most."""
    rng = np.random.default_rng(seed)
    if name == "glosses":
        vectors = pa.ipc.open_file(SYNSETS).read_all()["vector"].combine_chunks()
        points = vectors.flatten().to_numpy().reshape(len(vectors), -1)
        points = points[rng.permutation(len(points))[: rows + QUERIES]]
    else:
        # Clusters of different sizes and widths, near enough that their edges meet.
        centres = rng.normal(0, 1, (1000, dimension)).astype(np.float32)
        chosen = centres[np.minimum(rng.zipf(1.3, rows + QUERIES) - 1, 999)]
        points = chosen + rng.normal(0, 0.6, (rows + QUERIES, dimension)).astype(np.float32)
    points, queries = np.ascontiguousarray(points[QUERIES:]), np.ascontiguousarray(points[:QUERIES])
    share = rng.random(len(points))
    metric = "cosine" if name == "glosses" else "l2"
    vector = pa.FixedSizeListArray.from_arrays(points.ravel(), points.shape[1])
    table = pa.table({"id": np.arange(len(points)), "share": share, "vector": vector})
    nearest = {
        what: _nearest(
            points, queries, np.arange(len(points)) if part is None else np.flatnonzero(share < part), metric
        )
        for what, part in SHARES.items()
    }
    return Data(name, metric, table, queries, nearest)


def _nearest(points: np.ndarray, queries: np.ndarray, among: np.ndarray, metric: str) -> np.ndarray:
    """The ids of the rows nearest to each query: int64[q, K]; by all distances, some rows at a time."""
    best, found = np.full((len(queries), K), np.inf), np.zeros((len(queries), K), np.int64)
    for start in range(0, len(among), 1 << 16):
        rows = among[start : start + (1 << 16)]
        some = points[rows]
        products = queries @ some.T
        if metric == "cosine":
            distances = 1 - products / np.linalg.norm(some, axis=1) / np.linalg.norm(queries, axis=1)[:, None]
        else:
            distances = (some**2).sum(1) - 2 * products
        both, ids = np.concatenate([best, distances], 1), np.concatenate([found, np.tile(rows, (len(queries), 1))], 1)
        order = np.argpartition(both, K - 1, axis=1)[:, :K]
        best, found = np.take_along_axis(both, order, 1), np.take_along_axis(ids, order, 1)
    return found


def searches(kind: str) -> list[Options]:
    """The parameters of searches that are tried, about from fast to slow; the first are the defaults."""
    if "HNSW" in kind:
        beams = [{"ef": ef} for ef in (16, 32, 48, 64, 96, 128, 256)]
        return [{}, *beams, *({**beam, "refine_factor": 2} for beam in beams if beam["ef"] >= 2 * K)]
    return [{}, *_crossed("nprobes", PROBES, kind)]


def _crossed(name: str, values: Sequence[Any], kind: str) -> list[Options]:
    """How far an index looks, each with all factors that are tried."""
    refined = {"IVF_FLAT": (None,), "IVF_SQ": (None, 2)}.get(kind, REFINED)
    tried = ({name: value, "refine_factor": factor} for value, factor in itertools.product(values, refined))
    said = [{name: value for name, value in one.items() if value is not None} for one in tried]
    return [options for options in said if options]


@dataclass(frozen=True, slots=True)
class Tried:
    """What one set of parameters reached."""

    options: Options
    recall: float
    median_ms: float


def measure(
    data: Data,
    folder: Path,
    peers: Sequence[VectorPeer],
    targets: Iterable[float],
    *,
    repeat: int,
    kinds: Sequence[str] | None = None,
) -> Samples:
    """All kinds of all peers on one data set, or some, one kind after the other."""
    samples: Samples = {}
    best: Samples = {}
    for kind in kinds or dict.fromkeys(kind for peer in peers for kind in peer.kinds(data)):
        having = [peer for peer in peers if kind in peer.kinds(data)]
        for peer in having:
            peer.kind, params = peer.kinds(data)[kind]
            peer.params = {"metric": data.metric, **params}
        stored = build(having, data.table, folder, samples, f"{data.name}, {kind}")
        for what, part in SHARES.items():
            condition = None if part is None else f"share < {part}"
            found = _measure_share(data, stored, kind, what, condition, targets, samples, repeat)
            for row, times in found.items():
                for name, some in times.items():
                    known = best.setdefault(row, {})
                    if name not in known or statistics.median(some) < statistics.median(known[name]):
                        known[name] = some
        for one in stored:
            shutil.rmtree(one.path)
    return samples | best


def _measure_share(
    data: Data,
    stored: Sequence[Stored],
    kind: str,
    what: str,
    condition: str | None,
    targets: Iterable[float],
    samples: Samples,
    repeat: int,
) -> Samples:
    """One kind under one filter; adds its rows to samples, and gives the times under what the best kind is called."""
    handles = {one.peer.name: one.peer.open(one.path) for one in stored}
    tried = {one.peer.name: _sweep(one, handles[one.peer.name], data, kind, what, condition) for one in stored}
    title = f"{data.name}, {kind}{what}"
    samples[f"{title}, defaults, recall"] = {name: [some[0].recall] for name, some in tried.items()}
    samples[f"{title}, defaults, ms"] = {name: [some[0].median_ms] for name, some in tried.items()}
    found: Samples = {}
    for target in targets:
        chosen = {name: _fastest(some, target) for name, some in tried.items()}
        reached = {name: one for name, one in chosen.items() if one is not None}
        samples[f"{title}, recall {target}, recall"] = {name: [one.recall] for name, one in reached.items()}
        print(f"{title}, recall {target}: {reached}", file=sys.stderr)
        there = [one for one in stored if one.peer.name in reached]
        for count, way in ((1, "single"), (BATCH, f"batch of {BATCH}")):
            questions = {
                one.peer.name: _questions(one, data, reached[one.peer.name].options, condition, count) for one in there
            }
            merged(samples, f"{title}, recall {target}, {way}", ask(there, handles, questions, repeat))
            found[f"{data.name}, best{what}, recall {target}, {way}, ms"] = samples[
                f"{title}, recall {target}, {way}, ms"
            ]
            if count == 1 and condition is None and there:
                row = f"{title}, recall {target}, open and single, ms"
                samples[row] = first_asked(there, questions, max(repeat // 10, 3))
    return found


def _sweep(one: Stored, handle: Any, data: Data, kind: str, what: str, condition: str | None) -> list[Tried]:
    """Recall and time of each set of parameters, on the first half of the queries; the second half is asked later."""
    found = []
    peer: Any = one.peer
    for sweep in peer.sweeps(kind):
        for options in sweep:
            times, hits = [], 0
            for number, query in enumerate(data.queries[: QUERIES // 2]):
                question = peer.question(query, data, options, condition)
                start = time.perf_counter()
                answer = question(handle)
                times.append((time.perf_counter() - start) * 1e3)
                hits += len({*answer["id"].to_pylist()} & {*data.nearest[what][number].tolist()})
            found.append(Tried(options, hits / (K * len(times)), statistics.median(times)))
            if found[-1].recall >= ENOUGH and options:
                break
    return found


def _fastest(tried: Sequence[Tried], target: float) -> Tried | None:
    return min((one for one in tried if one.recall >= target), key=lambda one: one.median_ms, default=None)


def _questions(one: Stored, data: Data, options: Options, condition: str | None, count: int) -> list[Question]:
    peer: Any = one.peer
    held = data.queries[QUERIES // 2 :]
    queries = list(held) if count == 1 else [held[:count]]
    return [peer.question(query, data, options, condition) for query in queries]


def load(name: str) -> Any:
    """A peer. Raises ImportError where its library is missing."""
    __import__({"pylance": "lance"}.get(name, name))
    return PEERS[name]()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vectors", description="Vector search.")
    parser.add_argument("--data", choices=("mixture", "glosses"), default="mixture")
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--recalls", default="0.9,0.95,0.99")
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--kinds", help="kinds of indexes, as a report calls them, with ';' between; all by default")
    parser.add_argument("--repeat", type=int, default=100)
    parser.add_argument("--json", help="write every sample to this file")
    parsed = parser.parse_args(arguments)
    data = make_data(parsed.data, parsed.rows)
    targets = [float(text) for text in parsed.recalls.split(",")]

    def run(folder: Path, peers: list[Any]) -> Samples:
        kinds = parsed.kinds.split(";") if parsed.kinds else None
        return measure(data, folder, peers, targets, repeat=parsed.repeat, kinds=kinds)

    shape = f"{len(data.table):,} x {data.queries.shape[1]}"
    about = f"{data.name}, {shape}, {data.metric}, {K} nearest; parameters chosen on {QUERIES // 2} other queries"
    run_and_report("vectors", parsed.peers, run, load=load, target=parsed.json, about=about)
    return 0


if __name__ == "__main__":
    sys.exit(main())
