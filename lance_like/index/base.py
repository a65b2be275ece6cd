"""What an index is: the contract of a plug-in (format_spec/index/README.md).

A plug-in makes a *segment* from the values of some rows and searches it later. Rows are numbered from 0 in the order
in which the values came: an *ordinal*. A segment never changes. What happens to the table afterwards is the business of
the layers above, in one place for all plug-ins:

- rows appended since are in no segment: they are searched without one, until another segment is built for them;
- rows deleted or changed since are left out of `allow`, or dropped from what `rows` gives;
- segments are merged by building one for the rows of several (`build` with `prior`: it may take over what was trained).

Ordinals are `pyroaring.BitMap` as sets and int64 arrays as lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import pyarrow as pa
from pyroaring import BitMap

from lance_like.index.clauses import Clause
from lance_like.index.questions import Answer, Question
from lance_like.typing_ import Int64s, Json

Kind = Literal["filter", "vector", "text", "duplicates"]
"""What a plug-in is asked for: rows that pass a condition, nearest rows, rows by relevance, groups of like rows."""


class IndexSource(Protocol):
    """The values of the rows that a segment shall hold, in the order of their ordinals."""

    @property
    def rows(self) -> int:
        """How many, below 2^32."""
        ...

    @property
    def type(self) -> pa.DataType:
        """Of the values."""
        ...

    def batches(self) -> Iterator[pa.Array]:
        """The values, some at a time; may be asked for again. Memory: one batch, of 8 MiB or one row."""
        ...

    def take(self, ordinals: Int64s) -> pa.Array:
        """The values of some rows, in the order asked: for a sample to train on."""
        ...


class FileReads(Protocol):
    """One open file of a segment. A column that it lacks, or nulls of one that says it has none, are Corrupt."""

    @property
    def rows(self) -> int:
        """Of the file."""
        ...

    @property
    def metadata(self) -> Mapping[str, str]:
        """The texts that it was written with."""
        ...

    def columns(self, names: Sequence[str], start: int = 0, end: int | None = None) -> list[pa.Array]:
        """A run of rows of columns; no copy where a page is plain. Cost: one round once they are open."""
        ...

    def spans(self, names: Sequence[str], spans: Sequence[tuple[int, int]]) -> list[list[pa.Array]]:
        """Runs of rows of columns, of each run the columns. Cost: one round for all once they are open."""
        ...

    def take(self, names: Sequence[str], rows: Int64s) -> list[pa.Array]:
        """Some rows of columns, in the order asked. Cost: as `columns`."""
        ...


class SegmentReads(Protocol):
    """The files of a segment, opened when they are first asked for."""

    def file(self, name: str, columns: pa.Schema | None = None) -> FileReads:
        """Open a file. columns: some that it must have, of these types, with nulls or without. Raises Corrupt."""
        ...


class SegmentWrites(Protocol):
    """Where the files of a segment go."""

    def write(
        self, name: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch], metadata: Mapping[str, str] | None = None
    ) -> None:
        """Write one file. name: unique in the segment. Fields may carry the metadata that chooses encodings."""
        ...


@dataclass(frozen=True, slots=True)
class Segment:
    """What a plug-in opens.

    rows: how many it holds. type: of the indexed values. params: as `IndexPlugin.params` gave them. detail: what
    `build` gave back. version: of its bytes, as the plug-in that wrote it said.
    """

    rows: int
    type: pa.DataType
    params: Mapping[str, Json]
    detail: Mapping[str, Json]
    files: SegmentReads
    version: int = 1


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How a segment is built.

    prior: a searcher of the same index whose training may be taken over. progress: told (stage, done, total).
    threads: None for all cores. memory_nbytes: about how much the build may take. given: the parameters as the caller
    gave them, for what is no JSON: arrays.
    """

    prior: Searcher | None = None
    progress: Any = None
    threads: int | None = None
    memory_nbytes: int = 1 << 30
    given: Mapping[str, Any] = field(default_factory=dict)


class Searcher(Protocol):
    """An open segment. Safe to use from several threads. What it keeps in memory is read when it is needed."""

    @property
    def nbytes_cached(self) -> int:
        """What it keeps in memory, by estimate."""
        ...

    def prewarm(self) -> None:
        """Read all that a search may need."""
        ...


class FilterSearcher(Searcher, Protocol):
    """A segment that answers conditions."""

    def rows(self, question: Question) -> BitMap:
        """The ordinals that match, or more where `answers` says SUPERSET; the caller does not change the set."""
        ...


class CountingSearcher(FilterSearcher, Protocol):
    """A searcher that knows how many rows it would find before it finds them: so many may not be worth it."""

    def count(self, question: Question) -> int:
        """How many ordinals `rows` gives. Cost: much less than that of finding many."""
        ...


class TallyingSearcher(FilterSearcher, Protocol):
    """A searcher that joins sets that are ready: finding rows is always worth it, counting them takes less."""

    def tally(self, question: Question) -> int:
        """How many ordinals `rows` gives."""
        ...


@dataclass(frozen=True, slots=True)
class Hits:
    """The rows found, best first, of each of q queries: k of them at most.

    ordinals: int64[q, k], -1 past the last one. scores: float32[q, k], distances (ascending) or relevance
    (descending); NaN past the last one.
    """

    ordinals: Int64s
    scores: np.ndarray

    @staticmethod
    def none(queries: int, k: int) -> Hits:
        """Nothing found, for each of so many queries."""
        return Hits(np.full((queries, k), -1, np.int64), np.full((queries, k), np.nan, np.float32))


@dataclass(frozen=True, slots=True)
class Nearest:
    """How near rows are searched for.

    k: of each query, 1 at least. metric: "l2" (squared), "cosine" (1 - cosine), "dot" (1 - dot product) or "hamming"
    (bits).
    nprobes: (least, most) partitions to look into, None: what the index was tuned for. ef: of a graph.
    within: half-open range of distances [low, high), None: no bound.
    options: what a kind may know beside these. "reach": how near partitions are that are looked into (index/ivf.md).
    """

    k: int
    metric: str
    nprobes: tuple[int | None, int | None] = (None, None)
    ef: int | None = None
    within: tuple[float | None, float | None] = (None, None)
    options: Mapping[str, Any] = field(default_factory=dict)

    def of(self, k: int) -> Nearest:
        """The same for another number of rows."""
        return Nearest(k, self.metric, self.nprobes, self.ef, self.within, self.options)


class VectorSearcher(Searcher, Protocol):
    """A segment that finds near vectors."""

    @property
    def metric(self) -> str:
        """What it was built for, and the only one it answers."""
        ...

    @property
    def refine_factor(self) -> int:
        """How many times k rows to ask for, whose true distances are then computed from the column; 0: they are true.

        It is what the segment was tuned for; a caller may take another.
        """
        ...

    def nearest(self, queries: np.ndarray, how: Nearest, allow: BitMap | None) -> Hits:
        """The rows nearest to each query, among those allowed; None: all. Nobody changes the set afterwards.

        queries: float32[q, dimension]; uint8 for hamming; float32[q, m, dimension] for lists of vectors, where the
        distance of a row is the sum, over the m, of the least to one of its vectors.
        Distances may be estimates, of which then `within` leaves more than it asks for: the layer above computes those
        of the rows it keeps from the column.
        """
        ...

    def prefers_exact(self, allowed: int, how: Nearest) -> bool:
        """Is it cheaper to compute the distances of so many allowed rows from the column?"""
        ...


@dataclass(frozen=True, slots=True)
class TextStatistics:
    """What BM25 needs of all segments together: their sums are those of the whole.

    rows: with a term. length: of all of them, in terms. frequency: term -> rows that hold it.
    """

    rows: int
    length: int
    frequency: Mapping[str, int]

    def __add__(self, other: TextStatistics) -> TextStatistics:
        frequency = dict(self.frequency)
        for term, count in other.frequency.items():
            frequency[term] = frequency.get(term, 0) + count
        return TextStatistics(self.rows + other.rows, self.length + other.length, frequency)


@dataclass(frozen=True, slots=True)
class Ranked:
    """Rows by relevance, best first; of equal scores the lower ordinal first. int64[n] and float64[n]."""

    ordinals: Int64s
    scores: np.ndarray


class TextSearcher(Searcher, Protocol):
    """A segment that finds texts by relevance. The layer above makes clauses of a query (index/clauses.py)."""

    def tokens(self, text: str) -> Sequence[tuple[str, int]]:
        """The terms of a text, and where they stand in it, ascending."""
        ...

    def beginning(self, text: str) -> str:
        """What the terms of words begin with that begin with a text."""
        ...

    def similar(self, term: str, edits: int, same: int, limit: int) -> list[tuple[int, str]]:
        """The terms of this segment within some edits of another, nearest first, then by their bytes, and how far.

        edits: characters added, dropped or replaced. same: characters at the start that do not differ.
        """
        ...

    def continued(self, beginning: str, limit: int | None) -> list[str]:
        """The terms of this segment that begin with a text, the first of them by their bytes."""
        ...

    def statistics(self, terms: Iterable[str]) -> TextStatistics:
        """What this segment adds to the statistics of some terms."""
        ...

    def search(self, clause: Clause, k: int | None, average: float, allow: BitMap | None) -> Ranked:
        """The best rows that match among those allowed, k or all. average: length of a row, over all segments.

        Raises InvalidInput for a phrase where the segment does not know where terms stand.
        """
        ...

    def occurrences(self, term: str) -> tuple[Int64s, Int64s]:
        """The ordinals of the rows that hold a term, ascending, and how often each does."""
        ...

    def lengths(self, ordinals: Int64s) -> Int64s:
        """How many terms rows hold."""
        ...


class IndexPlugin(Protocol):
    """A kind of index. name: how it is asked for and stored, in upper case. version: of its bytes."""

    name: ClassVar[str]
    kind: ClassVar[Kind]
    version: ClassVar[int]

    def params(self, type: pa.DataType, given: Mapping[str, Any]) -> dict[str, Json]:
        """The parameters checked, with their defaults.

        Raises InvalidInput for a wrong one, or a type it cannot index.
        """
        ...

    def answers(self, type: pa.DataType, params: Mapping[str, Json], question: Question) -> Answer:
        """How well a segment would answer a condition; NO for plug-ins that are not of kind "filter"."""
        ...

    def build(
        self, source: IndexSource, params: Mapping[str, Json], out: SegmentWrites, options: BuildOptions
    ) -> dict[str, Json]:
        """Write a segment. Returns what `open` needs beside the files: little, it stands in the manifest."""
        ...

    def open(self, segment: Segment) -> Searcher:
        """A searcher. Cost: none; files are opened when they are needed. Raises Unsupported for other versions."""
        ...


__all__ = [
    "BuildOptions",
    "CountingSearcher",
    "FileReads",
    "FilterSearcher",
    "Hits",
    "IndexPlugin",
    "IndexSource",
    "Kind",
    "Nearest",
    "Ranked",
    "Searcher",
    "Segment",
    "SegmentReads",
    "SegmentWrites",
    "TallyingSearcher",
    "TextSearcher",
    "TextStatistics",
    "VectorSearcher",
]
