"""HNSW graphs, one for each partition: how they are built, stored and searched (format_spec/index/hnsw.md).

A graph is kept as a table of its links, not as the bytes of a library: every link is checked before faiss follows it.

    links      level, near        for each vector, in the order of codes, a row for each of its levels, the lowest first
    partitions … links_end, entry
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import pyarrow as pa

from lance_like._lazy import cached
from lance_like.errors import Corrupt
from lance_like.index.base import BuildOptions, SegmentWrites
from lance_like.index.vector.build import Placed
from lance_like.index.vector.door import alone, apart, faiss
from lance_like.index.vector.params import LIMITS
from lance_like.index.vector.quantize import GraphCodes, Product, Whole
from lance_like.index.vector.space import Space
from lance_like.index.vector.stored import PARTITIONS, Stored, number, read_spans
from lance_like.index.vector.train import Model
from lance_like.typing_ import Bytes, Int64s, Json

LINKS, LEVEL, NEAR, LINKS_END, ENTRY = "links", "level", "near", "links_end", "entry"
# What partitions say of them.
_OF_GRAPHS = pa.schema([pa.field(LINKS_END, pa.int64(), False), pa.field(ENTRY, pa.int64(), False)])
# All vectors are compared when fewer than one of so many is allowed, or one of so many is wanted.
_FEW_OF, _MANY_OF = 32, 4
# A graph of 2^32 vectors has fewer.
_MOST_LEVELS = 32


@dataclass(frozen=True, slots=True)
class Links:
    """The links of a graph. levels: int32[n], how many each vector has. counts: int64[r], links of each level of each
    vector, the lowest first. near: int32[l], vectors, by their number in the partition. entry: where a search begins.
    """

    levels: np.ndarray
    counts: Int64s
    near: np.ndarray
    entry: int


def level_of(levels: np.ndarray) -> Int64s:
    """The level of each row of links: int64[r]. levels: int[n], how many each vector has."""
    ends = np.cumsum(levels)
    return np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - levels, levels)


def build_graph(codes: GraphCodes, rows: Bytes, params: Mapping[str, Json], dot: bool) -> Any:
    """A graph of the vectors that codes stand for."""
    vectors, m = codes.decode(rows), number(params, "m")
    # faiss compares two codes of parts by l2 alone.
    whole = isinstance(codes, Product)
    graph = (Whole(vectors.shape[1], "float32") if whole else codes).graph(m, dot)
    graph.hnsw.efConstruction = number(params, "ef_construction")
    if len(rows):
        graph.add(vectors)
    return graph_of(codes, rows, links_of(graph), m, dot) if whole else graph


def links_of(graph: Any) -> Links:
    """The links of a graph of faiss."""
    library, hnsw = faiss(), graph.hnsw
    levels = library.vector_to_array(hnsw.levels)
    if not len(levels):
        return Links(levels, np.empty(0, np.int64), np.empty(0, np.int32), -1)
    near = library.rev_swig_ptr(hnsw.neighbors.data(), hnsw.neighbors.size())
    starts = np.concatenate([[0], np.cumsum(_room(graph)[level_of(levels)])])
    used = near >= 0
    counts = np.add.reduceat(used, starts[:-1], dtype=np.int64)
    return Links(levels, counts, near[used], int(hnsw.entry_point))


def graph_of(codes: GraphCodes, rows: Bytes, links: Links, m: int, dot: bool) -> Any:
    """A graph of faiss from codes and links that were checked."""
    library, graph = alone(), codes.graph(m, dot)
    if not len(rows):
        return graph
    library.downcast_index(graph.storage).add_sa_codes(np.ascontiguousarray(rows))
    hnsw, level = graph.hnsw, level_of(links.levels)
    starts = np.concatenate([[0], np.cumsum(_room(graph)[level])])
    near = np.full(starts[-1], -1, np.int32)
    places = np.arange(len(links.near)) - np.repeat(np.cumsum(links.counts) - links.counts, links.counts)
    near[np.repeat(starts[:-1], links.counts) + places] = links.near
    library.copy_array_to_vector(np.ascontiguousarray(links.levels, np.int32), hnsw.levels)
    first = np.flatnonzero(level == 0)
    library.copy_array_to_vector(np.append(starts[first], starts[-1]).astype(np.uint64), hnsw.offsets)
    hnsw.neighbors.resize(len(near))
    library.rev_swig_ptr(hnsw.neighbors.data(), len(near))[:] = near
    hnsw.entry_point, hnsw.max_level = links.entry, int(links.levels.max()) - 1
    graph.ntotal = len(rows)
    return graph


def _room(graph: Any) -> Int64s:
    """How many links a vector may have at each level: int64[levels]."""
    return np.diff(faiss().vector_to_array(graph.hnsw.cum_nneighbor_per_level)).astype(np.int64)


class GraphLinks:
    """Builds the graphs of a segment and keeps them until it is measured."""

    def __init__(self, model: Model, space: Space) -> None:
        self._codes, self._dot = cast(GraphCodes, model.codes), space.dot
        self._graphs: dict[int, Any] = {}

    def write(self, placed: Placed, params: Mapping[str, Json], out: SegmentWrites, options: BuildOptions) -> pa.Table:
        """Write the links of each partition. Returns columns of partitions."""
        made: list[Links] = []
        for place in range(len(placed.ends)):
            _, rows = placed.partition(place)
            build = partial(build_graph, self._codes, np.ascontiguousarray(rows), params, self._dot)
            self._graphs[place] = apart(build, options.threads)
            made.append(links_of(self._graphs[place]))
        near = pa.list_(pa.field("item", pa.uint32(), False))
        schema = pa.schema([pa.field(LEVEL, pa.uint8(), False), pa.field(NEAR, near, False)])
        out.write(LINKS, schema, (_batch(links, schema) for links in made))
        ends = np.cumsum([len(links.counts) for links in made])
        entries = pa.array([links.entry for links in made], pa.int64())
        return pa.table([pa.array(ends, pa.int64()), entries], schema=_OF_GRAPHS)

    def scan(self) -> GraphScan:
        """The graphs as they were made."""
        return GraphScan(self._codes, 0, self._dot, self._graphs)


def _batch(links: Links, schema: pa.Schema) -> pa.RecordBatch:
    offsets = np.concatenate([[0], np.cumsum(links.counts)]).astype(np.int32)
    near = pa.ListArray.from_arrays(
        pa.array(offsets), pa.array(links.near.astype(np.uint32)), type=schema.field(NEAR).type
    )
    return pa.record_batch([pa.array(level_of(links.levels).astype(np.uint8)), near], schema=schema)


class GraphScan:
    """Graphs of partitions. It finds what `lists.Scan` says."""

    def __init__(self, codes: GraphCodes, m: int, dot: bool, ready: Mapping[int, Any] | None = None) -> None:
        self._codes, self._m, self._dot = codes, m, dot
        self._graphs: dict[int, tuple[Any, Int64s]] = {}
        # Graphs that need not be made again.
        self._ready = ready or {}

    def add(self, number: int, rows: tuple[Any, ...]) -> None:
        """Fill a list. rows: ordinals, codes and `Links`; no links of a graph that is ready."""
        ordinals, codes, *links = rows
        graph = self._ready.get(number)
        if graph is None:
            graph = graph_of(self._codes, codes, links[0], self._m, self._dot)
        self._graphs[number] = (graph, ordinals)

    def search(
        self, queries: np.ndarray, probes: Int64s, near: np.ndarray, k: int, allow: Bytes | None, ef: int
    ) -> tuple[np.ndarray, Int64s]:
        """As `lists.Scan.search`."""
        worst = -np.inf if self._dot else np.inf
        found = np.full((len(queries), k), worst, np.float32)
        ordinals = np.full((len(queries), k), -1, np.int64)
        for place in np.unique(probes[probes >= 0]).tolist():
            graph, ids = self._graphs[place]
            asked = np.flatnonzero((probes == place).any(axis=1))
            if not len(ids):
                continue
            scores, places = self._one(graph, ids, queries[asked], min(k, len(ids)), allow, ef)
            both = np.concatenate([found[asked], scores], axis=1)
            rows = np.concatenate([ordinals[asked], np.where(places < 0, -1, ids[places])], axis=1)
            order = np.argsort(-both if self._dot else both, axis=1, kind="stable")[:, :k]
            found[asked] = np.take_along_axis(both, order, 1)
            ordinals[asked] = np.take_along_axis(rows, order, 1)
        return found, ordinals

    def _one(
        self, graph: Any, ids: Int64s, queries: np.ndarray, k: int, allow: Bytes | None, ef: int
    ) -> tuple[np.ndarray, Int64s]:
        kept = None if allow is None else (allow[ids >> 3] >> (ids & 7).astype(np.uint8)) & 1
        allowed = len(ids) if kept is None else int(kept.sum())
        queries = np.ascontiguousarray(self._codes.queries(queries))
        # A graph leads past rows that are not allowed; of few it finds some, of many it must visit most.
        visited = 2 * self._m * ef
        if allowed * _FEW_OF < len(ids) or k * _MANY_OF > allowed or allowed < visited:
            return self._every(graph, queries, k, kept)
        how = alone().SearchParametersHNSW(efSearch=min(max(ef, k), len(ids)), sel=_selector(kept))
        found, places = graph.search(queries, k, params=how)
        # No path may lead to a row.
        short = np.flatnonzero(places[:, -1] < 0)
        if len(short):
            found[short], places[short] = self._every(graph, queries[short], k, kept)
        return found, places

    def _every(self, graph: Any, queries: np.ndarray, k: int, kept: np.ndarray | None) -> tuple[np.ndarray, Int64s]:
        """As `_one`, of all vectors one after another. kept: uint8[n], of each, is it allowed? None: all are."""
        library = alone()
        stored = library.downcast_index(graph.storage)
        if kept is None:
            return stored.search(queries, k)
        if not isinstance(self._codes, Product):
            return stored.search(queries, k, params=library.SearchParameters(sel=_selector(kept)))
        # faiss chooses no rows among codes of parts.
        places = np.flatnonzero(kept)
        rows = library.rev_swig_ptr(stored.codes.data(), stored.codes.size()).reshape(len(kept), -1)
        some = self._codes.graph(2, self._dot)
        library.downcast_index(some.storage).add_sa_codes(np.ascontiguousarray(rows[places]))
        found, numbers = library.downcast_index(some.storage).search(queries, k)
        return found, np.where(numbers < 0, -1, np.append(places, -1)[numbers])


def _selector(kept: np.ndarray | None) -> Any:
    """What lets faiss find only some vectors; None: all. kept: uint8[n], 1 for each that it may."""
    return None if kept is None else faiss().IDSelectorBitmap(np.packbits(kept, bitorder="little"))


@dataclass(frozen=True)
class StoredGraphs(Stored):
    """The files of a segment of graphs."""

    @cached
    def m(self) -> int:
        """Links of a vector at a level; twice as many at the lowest. Raises Corrupt."""
        found = number(self.segment.params, "m")
        low, high = LIMITS["m"]
        if not low <= found <= high:
            raise Corrupt(f"a graph of {found} links, expected {low} to {high}", kind="index")
        return found

    @property
    def row_nbytes(self) -> int:
        """What a row takes in memory."""
        return super().row_nbytes + 4 * 2 * self.m + 16

    @cached
    def _graph_columns(self) -> tuple[Int64s, Int64s]:
        ends, entries = self.segment.files.file(PARTITIONS, _OF_GRAPHS).columns(_OF_GRAPHS.names)
        found = np.asarray(ends, np.int64)
        rows = self.segment.files.file(LINKS).rows
        if not len(found) or found[0] < 0 or (np.diff(found) < 0).any() or found[-1] != rows:
            raise Corrupt(f"the ends of {len(found)} graphs do not cut {rows} levels", kind="index")
        return found, np.asarray(entries, np.int64)

    def read(self, numbers: Sequence[int]) -> list[Any]:
        """Ordinals, codes and links of some partitions, in two rounds."""
        ends, entries = self._graph_columns
        spans = [(int(ends[n - 1]) if n else 0, int(ends[n])) for n in numbers]
        found = read_spans(self.segment.files.file(LINKS), [LEVEL, NEAR], spans)
        rows = super().read(numbers)
        return [
            (*row, checked_links(level, near, len(row[0]), self.m, int(entries[n])))
            for n, row, (level, near) in zip(numbers, rows, found, strict=True)
        ]


def checked_links(level: pa.Array, near: Any, rows: int, m: int, entry: int) -> Links:
    """Links as they are stored, every one of them in its bounds. Raises Corrupt."""
    bad = Corrupt(f"the links of {rows} vectors are not those of a graph", kind="index")
    kinds = level.type == pa.uint8() and pa.types.is_list(near.type) and near.type.value_type == pa.uint32()
    if not kinds or level.null_count or near.null_count:
        raise bad
    levels = level.to_numpy().astype(np.int64)
    first = np.flatnonzero(levels == 0)
    if len(first) != rows or (rows and first[0] != 0) or not rows:
        if rows or len(levels):
            raise bad
        return Links(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.int32), -1)
    heights = np.diff(np.append(first, len(levels)))
    vector = np.repeat(np.arange(rows), heights)
    if (levels != np.arange(len(levels)) - first[vector]).any() or heights.max() > _MOST_LEVELS:
        raise bad
    counts = near.value_lengths().to_numpy().astype(np.int64)
    items = near.flatten()
    to = items.to_numpy().astype(np.int64)
    if items.null_count or (counts > np.where(levels == 0, 2 * m, m)).any() or (to >= rows).any():
        raise bad
    # A link of a level leads to a vector that has that level: a search goes on from there.
    if (heights[to] <= np.repeat(levels, counts)).any() or not 0 <= entry < rows or heights[entry] != heights.max():
        raise bad
    return Links(heights.astype(np.int32), counts, to.astype(np.int32), entry)


__all__ = ["GraphLinks", "GraphScan", "StoredGraphs", "build_graph", "checked_links", "graph_of", "links_of"]
