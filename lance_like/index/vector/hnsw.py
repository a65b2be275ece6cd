"""IVF_HNSW_SQ and HNSW: graphs over a byte a number, one for each partition, or one (format_spec/index/hnsw.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pyarrow as pa

from lance_like.errors import InvalidInput
from lance_like.index.base import BuildOptions, IndexSource, Segment, SegmentWrites
from lance_like.index.vector.build import build_partitions
from lance_like.index.vector.graphs import GraphLinks, GraphScan, StoredGraphs
from lance_like.index.vector.ivf import Ivf
from lance_like.index.vector.quantize import Scalar
from lance_like.index.vector.searcher import IvfSearcher
from lance_like.index.vector.stored import number
from lance_like.typing_ import Json


class IvfHnswSq(Ivf):
    """A graph for each partition."""

    name = "IVF_HNSW_SQ"
    codes = "HNSW"

    def build(
        self, source: IndexSource, params: Mapping[str, Json], out: SegmentWrites, options: BuildOptions
    ) -> dict[str, Json]:
        """Write a segment. Memory: beside that of `build`, the vectors of the largest partition, and all links."""
        return build_partitions(self.codes, source, params, out, options, GraphLinks)

    def open(self, segment: Segment) -> IvfSearcher:
        """A searcher. Raises Unsupported."""
        self.check_version(segment)
        stored = StoredGraphs(segment, "SQ")
        m = number(segment.params, "m")

        def scan() -> GraphScan:
            return GraphScan(cast(Scalar, stored.codes), m, stored.space.dot)

        return IvfSearcher(stored, scan, stored.read, graphs=True)


class Hnsw(IvfHnswSq):
    """One graph."""

    name = "HNSW"

    def params(self, type: pa.DataType, given: Mapping[str, Any]) -> dict[str, Json]:
        """The parameters checked, with their defaults. Raises InvalidInput."""
        apart = [name for name in ("num_partitions", "target_partition_size", "ivf_centroids") if given.get(name)]
        if apart and given.get("num_partitions") != 1:
            raise InvalidInput(f"HNSW is one graph and takes no {apart[0]}", hint="IVF_HNSW_SQ has one a partition")
        return super().params(type, {**given, "num_partitions": 1})


__all__ = ["Hnsw", "IvfHnswSq"]
