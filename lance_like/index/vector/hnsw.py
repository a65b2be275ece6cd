"""IVF_HNSW_SQ, IVF_HNSW_PQ, IVF_HNSW_FLAT and HNSW: graphs over codes, one for each partition, or one
(format_spec/index/hnsw.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pyarrow as pa

from lance_like.errors import InvalidInput
from lance_like.index.base import BuildOptions, IndexSource, Segment, SegmentWrites
from lance_like.index.vector.build import build_partitions
from lance_like.index.vector.graphs import GraphLinks, GraphScan, StoredGraphs
from lance_like.index.vector.ivf import Ivf
from lance_like.index.vector.quantize import GraphCodes
from lance_like.index.vector.searcher import IvfSearcher
from lance_like.typing_ import Json


class IvfHnswSq(Ivf):
    """A graph for each partition, over a byte a number."""

    name = "IVF_HNSW_SQ"
    codes = "SQ"
    graphs = True

    def build(
        self, source: IndexSource, params: Mapping[str, Json], out: SegmentWrites, options: BuildOptions
    ) -> dict[str, Json]:
        """Write a segment. Memory: beside that of `build`, the vectors of the largest partition, and all links."""
        return build_partitions(self.codes, source, params, out, options, GraphLinks)

    def open(self, segment: Segment) -> IvfSearcher:
        """A searcher. Raises Unsupported."""
        self.check_version(segment)
        stored = StoredGraphs(segment, self.codes)

        def scan() -> GraphScan:
            return GraphScan(cast(GraphCodes, stored.codes), stored.m, stored.space.dot)

        return IvfSearcher(stored, scan, stored.read, graphs=True)


class IvfHnswPq(IvfHnswSq):
    """A graph for each partition, over product quantization."""

    name = "IVF_HNSW_PQ"
    codes = "PQ"


class IvfHnswFlat(IvfHnswSq):
    """A graph for each partition, over the vectors themselves."""

    name = "IVF_HNSW_FLAT"
    codes = "FLAT"


class Hnsw(IvfHnswSq):
    """One graph, over a byte a number."""

    name = "HNSW"

    def params(self, type: pa.DataType, given: Mapping[str, Any]) -> dict[str, Json]:
        """The parameters checked, with their defaults. Raises InvalidInput."""
        apart = [name for name in ("num_partitions", "target_partition_size", "ivf_centroids") if given.get(name)]
        if apart and given.get("num_partitions") != 1:
            raise InvalidInput(f"HNSW is one graph and takes no {apart[0]}", hint="IVF_HNSW_SQ has one a partition")
        return super().params(type, {**given, "num_partitions": 1})


__all__ = ["Hnsw", "IvfHnswFlat", "IvfHnswPq", "IvfHnswSq"]
