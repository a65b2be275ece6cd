"""The rows nearest to vectors: by the indexes of a column where there are some, exactly for all other rows.

1. The index of the metric that covers most rows is asked, a segment at a time, for the rows that pass the filter.
2. Rows that no segment holds, or that are few, are compared with the queries themselves.
3. Where an index estimates distances, those of the best candidates are computed from the column.

So a filter takes no rows away from the answer, and an index changes which rows are found by its estimates only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from lance_like._lazy import cached, like
from lance_like.encodings.joining import taken_at
from lance_like.encodings.physical import flat_width
from lance_like.encodings.stack import Cells
from lance_like.errors import InvalidInput, NotFound
from lance_like.index.base import Hits, Nearest, VectorSearcher
from lance_like.index.vector import exact
from lance_like.query.ahead import Job, default_threads, in_order
from lance_like.query.expr import Expr
from lance_like.query.near_query import NearQuery, query_of
from lance_like.query.projection import ROW_ID, Output, Projection
from lance_like.query.rowset import RowSet
from lance_like.query.scan import Scan, run_scan
from lance_like.query.session import Session
from lance_like.query.take import Placed, place_ids, take_cells, take_columns
from lance_like.table.fragment import Fragment
from lance_like.table.manifest import Manifest
from lance_like.table.schema import Schema
from lance_like.typing_ import Int64s

if TYPE_CHECKING:
    from lance_like.index.coverage import Coverage, OpenSegment
    from lance_like.table.indices import IndexEntry

# Bytes of vectors that are taken together, and compared while others are taken.
_CHUNK_NBYTES = 8 << 20
# Ids of candidates that lie this far apart on average are sorted.
_SPARSE = 64
# Codes that were learnt from few rows are coarse, and more candidates among few rows cost next to nothing: of a segment
# of so many rows that many are compared at least, where the caller does not say.
_FEW_ROWS, _FEWEST = 10_000, 128
# Columns of an answer whose rows are that short are read of all candidates together with the vectors, where these are
# not many: a round less, for bytes that cost less than to ask for them.
_SHORT_NBYTES, _NOT_MANY = 64, 512


@dataclass
class NearReport:
    """How a search was, or will be, done. rows: those the filter left; None: all. seen: compared exactly."""

    field: str
    metric: str
    k: int
    queries: int
    index: str | None = None
    segments: int = 0
    indexed: int = 0
    uncovered: int = 0
    rows: int | None = None
    few: bool = False
    refined: int | None = None

    def lines(self) -> Iterator[str]:
        """As text."""
        yield f"Nearest: column={self.field}, metric={self.metric}, k={self.k:,}, queries={self.queries:,}"
        if self.rows is not None:
            yield f"  Prefilter: {self.rows:,} rows allowed"
        if self.index is None:
            yield "  Exact: every row is compared, no index is used"
        elif self.few:
            yield f"  Exact: few rows are left, the index {self.index} is not asked"
        else:
            yield f"  Index {self.index}: {self.segments:,} segments of {self.indexed:,} rows, approximate"
            yield f"  Exact: {self.uncovered:,} rows that the index does not cover"
            yield f"  Refine: {'no' if not self.refined else f'{self.refined:,} candidates of each query'}"


class Near(NamedTuple):
    """Rows found, by id. columns: of what was to be read beside them, where it was, in the order of those found."""

    hits: Hits
    columns: list[pa.Array] | None


@dataclass(frozen=True, eq=False)
class NearSearch:
    """One search: which index is asked, and in which form the queries are."""

    session: Session
    manifest: Manifest
    query: NearQuery
    entry: IndexEntry | None
    vectors: np.ndarray
    numbered: bool
    how: Nearest

    def near_to(self, q: Any) -> NearSearch | None:
        """The same search for other vectors; None where these are a batch and its own are not, or the reverse.

        Raises InvalidInput for a query that does not fit the column.
        """
        vectors = exact.as_queries(q, self.query.held, self.how.metric)
        if _is_batch(q, vectors) != self.numbered:
            return None
        return like(self, vectors=vectors)

    @property
    def is_exact(self) -> bool:
        """Is every row compared?"""
        return self.entry is None

    def report(self) -> NearReport:
        """What is known before it runs."""
        query, coverage = self.query, self._coverage
        path = ".".join(self.manifest.schema.path(query.column.id))
        report = NearReport(path, self.how.metric, query.k, len(self.vectors))
        if self.entry is not None and coverage is not None:
            report.index = f"{self.entry.name} ({self.entry.kind})"
            report.segments = len(coverage.segments)
            report.indexed = sum(segment.rows for segment in coverage.segments)
            report.uncovered = 0 if query.covered else coverage.uncovered_rows
            report.refined = max((self._candidates(one, one.searcher) for one in coverage.segments), default=None)
        return report

    def run(self, rows: RowSet | None, report: NearReport | None = None) -> Hits:
        """The best rows by id, those of each query side by side. rows: among these; None: all."""
        return self.find(rows, report).hits

    def find(self, rows: RowSet | None, report: NearReport | None = None, beside: Projection | None = None) -> Near:
        """As `run`. beside: what will be read of the rows found; it may be read on the way."""
        coverage = self._coverage
        if coverage is None:
            found = self.scan(None, None) if rows is None else self._of_rows(self._placed(rows.ids), rows.ids)
            return Near(found, None)
        if rows is not None and self._are_few(coverage, rows):
            if report is not None:
                report.few = True
            ids = rows.ids if not self.query.covered else self._covered(coverage, rows)
            return Near(self._of_rows(self._placed(ids), ids), None)
        parts = [] if self.query.covered else list(self._of_uncovered(coverage, rows))
        estimated: list[tuple[OpenSegment, Hits]] = []
        for segment in coverage.segments:
            allow = segment.valid if rows is None else rows.in_segment(segment)
            if allow is not None and len(allow) == 0:
                continue
            searcher = segment.searcher
            candidates = self._candidates(segment, searcher)
            hits = searcher.nearest(self.vectors, self.how.of(candidates) if candidates else self.how, allow)
            if candidates:
                estimated.append((segment, hits))
            else:
                # An index looks for what is near, not for what is within bounds.
                named = Hits(_ids_of(segment, hits.ordinals), hits.scores)
                parts.append(named if self.how.within == (None, None) else exact.merge([named], self.how))
        refined = self._refined(estimated, None if parts else beside) if estimated else None
        if refined is not None:
            parts.append(refined.hits)
        found = self._enough(_best(parts, self.how, len(self.vectors)), coverage, rows)
        return refined if refined is not None and found is refined.hits else Near(found, None)

    def scan(self, condition: Expr | None, within: Sequence[Fragment] | None) -> Hits:
        """The best rows of fragments that pass, each compared. Cost: the column read once, on all cores."""
        projection = self._projection(Output(ROW_ID, None))
        make = partial(_best_of_batch, self.vectors, self.how)
        scan = Scan(projection, condition, fragments=within, threads=self.query.threads, make=make)
        parts = [_hits_of(batch, len(self.vectors)) for batch in run_scan(self.session, self.manifest, scan)]
        return _best(parts, self.how, len(self.vectors))

    @cached
    def _coverage(self) -> Coverage | None:
        """What the index holds; None without one."""
        if self.entry is None:
            return None
        found, segments = self.session.indexes.coverage(self.manifest, self.entry.name), self.query.segments
        return found if segments is None else found.only(segments)

    def _candidates(self, segment: OpenSegment, searcher: VectorSearcher) -> int:
        """How many rows of each query are compared exactly; 0: what the searcher gives is exact."""
        asked = self.query.refine
        if asked is not None:
            return asked * self.how.k
        usual = searcher.refine_factor * self.how.k
        return max(usual, min(_FEWEST, segment.rows)) if usual and segment.rows <= _FEW_ROWS else usual

    def _are_few(self, coverage: Coverage, rows: RowSet) -> bool:
        """Is it cheaper to compare all rows that are left than to ask the index?"""
        if not coverage.segments:
            return True
        searcher: Any = max(coverage.segments, key=lambda segment: segment.rows).searcher
        return len(rows) <= self.how.k or searcher.prefers_exact(len(rows), self.how)

    def _covered(self, coverage: Coverage, rows: RowSet) -> Int64s:
        found = [segment.ids(np.array(rows.in_segment(segment), np.int64)) for segment in coverage.segments]
        return np.sort(np.concatenate(found)) if found else rows.ids[:0]

    def _of_uncovered(self, coverage: Coverage, rows: RowSet | None) -> Iterator[Hits]:
        """The best of the rows that no segment holds. Whole fragments are scanned, of others the rows are taken."""
        whole: list[Fragment] = []
        fragments: list[Fragment] = []
        chosen: list[Int64s] = []
        for fragment, offsets in coverage.uncovered:
            if rows is None and len(offsets) == fragment.live_rows:
                whole.append(fragment)
                continue
            offsets = offsets if rows is None else rows.among(fragment, offsets)
            if len(offsets):
                fragments.append(fragment)
                chosen.append(offsets)
        if whole:
            yield self.scan(None, whole)
        if fragments:
            index = np.repeat(np.arange(len(fragments)), [len(offsets) for offsets in chosen])
            yield self._of_rows(Placed(fragments, index, np.concatenate(chosen)), None)

    def _enough(self, found: Hits, coverage: Coverage, rows: RowSet | None) -> Hits:
        """Found rows, or all rows compared where the index found fewer than there are to be found."""
        bounded = self.how.within != (None, None)
        if rows is None or bounded or self.query.covered:
            return found
        fewest = min((found.ordinals >= 0).sum(axis=1), default=0)
        if fewest >= min(self.how.k, len(rows)):
            return found
        return self._of_rows(self._placed(rows.ids), rows.ids)

    def _refined(self, estimated: list[tuple[OpenSegment, Hits]], beside: Projection | None) -> Near:
        """The candidates of segments with the distances that they have: all, since what one segment estimates says
        little beside what another does.
        """
        if len(self.vectors) == 1:
            # Candidates of one query are different rows.
            ids = np.concatenate([segment.ids(_found(hits.ordinals[0])) for segment, hits in estimated])
            ids.sort()
            return self._refined_one(ids, beside)
        ids = np.concatenate([_ids_of(segment, hits.ordinals) for segment, hits in estimated], axis=1)
        different, which = _different(ids)
        if len(different) == 0:
            return Near(Hits(ids, np.full(ids.shape, np.nan, np.float32)), None)
        [vectors] = take_columns(self.session, self._with(None), self._placed(different))
        threads = self.query.threads or default_threads()
        scores = exact.distances(self.vectors, vectors, self.how.metric, which, threads, self.query.held)
        return Near(exact.rank(ids, scores, self.how), None)

    def _refined_one(self, ids: Int64s, beside: Projection | None) -> Near:
        """As `_refined`, of one query. ids: ascending, as files hold them more often than not."""
        if len(ids) == 0:
            return Near(Hits.none(1, self.how.k), None)
        if beside is not None and not (len(ids) <= _NOT_MANY and _is_short(beside)):
            beside = None
        take = take_cells if exact.compares_in_place(self.query.held) else take_columns
        vectors, *columns = take(self.session, self._with(beside), self._placed(ids))
        if isinstance(vectors, Cells):
            scores = exact.distances_in_place(self.vectors, vectors, self.how.metric)
        else:
            scores = exact.distances(self.vectors, vectors, self.how.metric, held=self.query.held)[0]
        hits, best = exact.rank_one(ids, scores, self.how)
        return Near(hits, None if beside is None else [taken_at(column, best) for column in columns])

    def _of_rows(self, placed: Placed, ids: Int64s | None) -> Hits:
        """The best of some rows, each compared. ids: of the rows; None: they are read too."""
        step = max(1, int(_CHUNK_NBYTES // _row_nbytes(self.query.column.type)))
        threads = self.query.threads or default_threads()
        if 0 < len(placed.index) <= step:
            return self._of_chunk(placed, ids, 0, step, threads)
        jobs = (
            Job(partial(self._of_chunk, placed, None if ids is None else ids[start : start + step], start, step), 0)
            for start in range(0, len(placed.index), step)
        )
        parts = list(in_order(jobs, threads=threads, budget_nbytes=_CHUNK_NBYTES))
        return _best(parts, self.how, len(self.vectors))

    def _of_chunk(self, placed: Placed, ids: Int64s | None, start: int, count: int, threads: int = 1) -> Hits:
        # Of chunks that are read and compared side by side each keeps to its own thread.
        virtual = () if ids is not None else (Output(ROW_ID, None),)
        columns = take_columns(self.session, self._projection(*virtual), placed.slice(start, start + count))
        named = columns[1].to_numpy().view(np.int64) if ids is None else ids
        return _compared(self.vectors, self.how, columns[0], named, threads)

    def _placed(self, ids: Int64s) -> Placed:
        return place_ids(self.manifest, ids)

    def _projection(self, *others: Output) -> Projection:
        """The column, and maybe the ids of rows; kept, with where files hold it, for the next search of the schema."""
        schema, column = self.manifest.schema, self.query.column
        return self.session.projections.get(
            schema,
            key=(column.id, others),
            make=lambda: Projection(schema, (Output("vector", column), *others)),
        )

    def _with(self, beside: Projection | None) -> Projection:
        """The column, and what is read beside it; kept as the column alone."""
        for known, found in self._taken:
            if known is beside:
                return found
        schema, column = self.manifest.schema, self.query.column
        if beside is None:
            found = self._projection()
        else:
            found = self.session.projections.get(
                schema,
                beside,
                key=column.id,
                make=lambda: Projection(schema, (Output("vector", column), *beside.outputs)),
            )
        self._taken.append((beside, found))
        return found

    @cached
    def _taken(self) -> list[tuple[Projection | None, Projection]]:
        """What was read beside the column so far, and both."""
        return []


def near_search(
    session: Session,
    manifest: Manifest,
    schema: Schema,
    given: Mapping[str, Any],
    *,
    wanted: int | None = None,
    covered: bool = False,
    threads: int | None = None,
    segments: Set[str] | None = None,
) -> NearSearch:
    """Read the value of `nearest`, and settle which index is asked.

    schema: the manifest's, as it is read. wanted: rows of the answer, k when it is not given; None: 10.
    segments: the uuids of those to ask of the index; None: all.
    Raises InvalidInput for an option that is unknown or cannot be, and for a query or metric that does not fit the
    column; NotFound for a column or an index.
    """
    if not isinstance(given, Mapping) or "column" not in given or "q" not in given:
        raise InvalidInput("nearest: expected {'column': its name, 'q': the vector, 'k': how many rows, ...}")
    query = query_of(schema, given, wanted=wanted, covered=covered, threads=threads, segments=segments)
    kind = query.column.type
    asked = None if query.metric is None else exact.check_vectors(kind, query.metric)
    entry = _chosen(session, manifest, query, asked) if query.use_index else None
    if entry is None and segments is not None:
        raise InvalidInput("index_segments: the search asks no index", kind="index")
    metric = asked or (_metric_of(entry) if entry else exact.check_vectors(kind, None))
    how = Nearest(query.k, metric, query.probes, query.ef, query.within, query.options)
    vectors = exact.as_queries(given["q"], query.held, metric)
    return NearSearch(session, manifest, query, entry, vectors, _is_batch(given["q"], vectors), how)


def _chosen(session: Session, manifest: Manifest, query: NearQuery, metric: str | None) -> IndexEntry | None:
    """The index to ask: of the metric, the one that covers most rows, of those the newest."""
    found = session.indexes.of_field(manifest, query.column.id, "vector")
    if query.index is not None:
        named = [entry for entry in found if entry.name == query.index]
        if not named:
            known = ", ".join(repr(entry.name) for entry in found) or "none"
            raise NotFound(
                f"no vector index {query.index!r} on the column", kind="index", hint=f"indexes of it: {known}"
            )
        if metric not in (None, _metric_of(named[0])):
            raise InvalidInput(f"the index {query.index!r} is for {_metric_of(named[0])}, not for {metric}")
        return named[0]
    # The newest first: `max` gives the first of equals.
    fitting = [entry for entry in reversed(found) if metric in (None, _metric_of(entry))]
    return max(fitting, key=lambda entry: sum(segment.rows for segment in entry.segments), default=None)


def _metric_of(entry: IndexEntry) -> str:
    return str(entry.params["metric"])


def _is_batch(q: Any, vectors: np.ndarray) -> bool:
    """Was a list of queries given, if only of one?"""
    return _depth(q) == vectors.ndim


def _depth(q: Any) -> int:
    """How deep the lists of numbers are nested."""
    if hasattr(q, "ndim"):
        return q.ndim
    if isinstance(q, pa.Array | pa.ChunkedArray | pa.Scalar):
        depth, kind = (0 if isinstance(q, pa.Scalar) else 1), q.type
        while isinstance(kind, pa.BaseExtensionType) or hasattr(kind, "value_field"):
            depth += not isinstance(kind, pa.BaseExtensionType)
            kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind.value_type
        return depth
    return 1 + _depth(q[0]) if isinstance(q, Sequence) and len(q) else int(isinstance(q, Sequence))


def _best_of_batch(vectors: np.ndarray, how: Nearest, batch: pa.RecordBatch) -> pa.RecordBatch:
    """The best rows of a batch of vectors and ids: of each query as many."""
    # Windows are read and compared by several threads: each keeps to itself.
    hits = _compared(vectors, how, batch.column(0), batch.column(1).to_numpy().view(np.int64), 1)
    return pa.RecordBatch.from_arrays([pa.array(hits.ordinals.ravel()), pa.array(hits.scores.ravel())], ["id", "score"])


def _hits_of(batch: pa.RecordBatch, queries: int) -> Hits:
    ids, scores = (column.to_numpy(zero_copy_only=False).reshape(queries, -1) for column in batch.columns)
    return Hits(ids, scores)


def _compared(vectors: np.ndarray, how: Nearest, values: pa.Array, ids: Int64s, threads: int) -> Hits:
    search = exact.Exact(vectors, replace(how, k=max(1, min(how.k, len(ids)))), threads=threads)
    search.add(values, ids)
    return search.hits()


def _best(parts: Sequence[Hits], how: Nearest, queries: int) -> Hits:
    if not parts:
        return Hits(np.empty((queries, 0), np.int64), np.empty((queries, 0), np.float32))
    return exact.merge(parts, how) if len(parts) > 1 else parts[0]


def _found(numbers: Int64s) -> Int64s:
    """Numbers without those below 0, which stand for none."""
    return numbers if int(np.minimum.reduce(numbers, initial=0)) >= 0 else numbers[numbers >= 0]


def _ids_of(segment: OpenSegment, ordinals: Int64s) -> Int64s:
    """The ids of ordinals, -1 where there is none."""
    missing = ordinals < 0
    if not missing.any():
        return segment.ids(ordinals.ravel()).reshape(ordinals.shape)
    found = segment.ids(np.where(missing, 0, ordinals).ravel()).reshape(ordinals.shape)
    found[missing] = -1
    return found


def _different(ids: Int64s) -> tuple[Int64s, Int64s]:
    """The ids that candidates of queries have, each once, and which of them each has: int64[q, m], -1 for none."""
    known = ids >= 0
    given, which = ids[known], np.full(ids.shape, -1)
    if not len(given):
        return given, which
    first = int(given.min())
    given -= first
    span = int(given.max()) + 1
    if span > _SPARSE * len(given):
        different, which[known] = np.unique(given, return_inverse=True)
        return different + first, which
    # Marks of the ids between the first and the last take a seventh of the time of sorting.
    place = np.zeros(span, np.int64)
    place[given] = 1
    different = place.nonzero()[0]
    place[different] = np.arange(len(different))
    which[known] = place[given]
    return different + first, which


def _is_short(columns: Projection) -> bool:
    """Are its rows short, and read in one round?"""
    return columns.row_nbytes is not None and columns.row_nbytes <= _SHORT_NBYTES


def _row_nbytes(kind: pa.DataType) -> int:
    """The bytes of a row, about."""
    while isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    width = flat_width(kind)
    return 4096 if width is None else max(1, int(width))


__all__ = ["Near", "NearReport", "NearSearch", "near_search"]
