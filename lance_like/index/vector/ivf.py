"""IVF_FLAT, IVF_PQ, IVF_SQ and IVF_RQ: vectors in partitions, kept as codes (format_spec/index/ivf.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pyarrow as pa

from lance_like.errors import Unsupported
from lance_like.index.base import BuildOptions, IndexSource, Kind, Segment, SegmentWrites
from lance_like.index.questions import Answer, Question
from lance_like.index.vector.bits import BitScan
from lance_like.index.vector.build import build_partitions
from lance_like.index.vector.lists import FaissScan
from lance_like.index.vector.params import checked
from lance_like.index.vector.searcher import IvfSearcher
from lance_like.index.vector.stored import Stored
from lance_like.typing_ import Json


class Ivf:
    """Partitions of one kind of codes. graphs: is there a graph of each?"""

    name: ClassVar[str]
    kind: ClassVar[Kind] = "vector"
    version: ClassVar[int] = 1
    codes: ClassVar[str]
    graphs: ClassVar[bool] = False

    def params(self, type: pa.DataType, given: Mapping[str, Any]) -> dict[str, Json]:
        """The parameters checked, with their defaults. Raises InvalidInput."""
        return checked(self.codes, type, given, graphs=self.graphs)

    def answers(self, type: pa.DataType, params: Mapping[str, Json], question: Question) -> Answer:
        """A filter asks for nothing that is near."""
        return Answer.NO

    def build(
        self, source: IndexSource, params: Mapping[str, Json], out: SegmentWrites, options: BuildOptions
    ) -> dict[str, Json]:
        """Write a segment. Memory: as `build` says."""
        return build_partitions(self.codes, source, params, out, options)

    def open(self, segment: Segment) -> IvfSearcher:
        """A searcher. Raises Unsupported."""
        self.check_version(segment)
        stored = Stored(segment, self.codes)

        def scan() -> Any:
            if stored.space.bits:
                return BitScan()
            return FaissScan(stored.codes, stored.centroids, stored.space.dot, stored.vectors.rows)

        return IvfSearcher(stored, scan, stored.read)

    def check_version(self, segment: Segment) -> None:
        """Raises Unsupported for bytes of a later version."""
        if segment.version > self.version:
            raise Unsupported(
                f"the segment of {self.name} has the version {segment.version}, known is {self.version}",
                kind="index",
                hint="update lance_like, or drop the index and make it again",
            )


class IvfFlat(Ivf):
    """The vectors themselves."""

    name = "IVF_FLAT"
    codes = "FLAT"


class IvfPq(Ivf):
    """Product quantization."""

    name = "IVF_PQ"
    codes = "PQ"


class IvfSq(Ivf):
    """A byte a number."""

    name = "IVF_SQ"
    codes = "SQ"


class IvfRq(Ivf):
    """A bit a number, after a rotation (RaBitQ)."""

    name = "IVF_RQ"
    codes = "RQ"


__all__ = ["Ivf", "IvfFlat", "IvfPq", "IvfRq", "IvfSq"]
