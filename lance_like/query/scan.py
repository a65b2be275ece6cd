"""Run a scan: batches in scan order, filter columns first, the others only for rows that passed.

A scan is cut into windows of rows that threads read and decode ahead, in order. A window is 8 MiB by estimate, or one
batch when that is more. Memory: the window in use, one a thread, and 64 MiB of windows made ahead. What is skipped is
decided by the manifest's bounds, then by the zones of the files, then by the condition itself.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice

import numpy as np
import pyarrow as pa

from lance_like._lazy import cached
from lance_like.encodings.joining import joined, taken
from lance_like.encodings.physical import flat_width
from lance_like.encodings.places import DESCRIPTION
from lance_like.errors import LanceLikeError
from lance_like.file.carry import carried_type
from lance_like.file.cut import PAGE_NBYTES
from lance_like.file.layout import ZONE_ROWS
from lance_like.file.pages import ColumnPages
from lance_like.file.stats import Zones
from lance_like.query.ahead import Job, default_threads, in_order
from lance_like.query.evaluate import select
from lance_like.query.expr import Expr, paths
from lance_like.query.names import Path
from lance_like.query.neighbours import Neighbours, Piece, can_join, neighbouring
from lance_like.query.plan import ALL, NONE, Span, count_nulls, field_of, judge_fragments, judge_spans, null_zones
from lance_like.query.projection import Output, Projection, as_batch, virtual_of
from lance_like.query.prune import judged_paths
from lance_like.query.session import Session
from lance_like.query.take import read_rows
from lance_like.table.fragment import Fragment
from lance_like.table.manifest import Manifest
from lance_like.table.schema import Schema
from lance_like.typing_ import Int64s, T

BATCH_ROWS = 1 << 16
# Estimated bytes of a batch of default size; wide rows make it shorter.
_BATCH_NBYTES = 32 << 20
# Estimated bytes of a window: a page of numbers. Below, handing it to a thread shows (int64 at 2 MiB: 5.0 ms for 3.5).
_WINDOW_NBYTES = 8 << 20
_AHEAD_NBYTES = 64 << 20
_DESCRIPTION_NBYTES = 16
_TAKE_BELOW = 1 / 16
_JUDGED_TOGETHER = 256


@dataclass(frozen=True)
class Scan:
    """What to read. condition: bound to the table's schema with the virtual columns.

    fragments: of the manifest, all when None. batch_rows: the most rows of a batch; None: by size.
    threads: those that read and decode; None: `default_threads`. most_ahead: batches made ahead; None: by size alone.
    ahead_nbytes: of batches made ahead, about. prune: whether statistics say what to skip.
    take_below: the share of a window below which the rows that passed are taken one by one instead of reading pages.
    make: what a batch of the projection becomes, done by the threads; None: it is the answer.
    """

    projection: Projection
    condition: Expr | None = None
    limit: int | None = None
    offset: int = 0
    batch_rows: int | None = None
    fragments: Sequence[Fragment] | None = None
    threads: int | None = None
    most_ahead: int | None = None
    ahead_nbytes: int = _AHEAD_NBYTES
    take_below: float = _TAKE_BELOW
    prune: bool = True
    make: Callable[[pa.RecordBatch], pa.RecordBatch] | None = None

    @cached
    def filter(self) -> Projection | None:
        """The columns that the condition needs, inside their structs."""
        if self.condition is None:
            return None
        schema, named = self.projection.table, sorted(paths(self.condition))
        fields = [field_of(schema, path) for path in named]
        table = schema.project([found.id for found in fields if found is not None])
        virtual = [Output(path[0], None) for path, found in zip(named, fields, strict=True) if found is None]
        return Projection(table, (*(Output(top.name, top) for top in table.children()), *virtual))


def run_scan(session: Session, manifest: Manifest, scan: Scan) -> Iterator[pa.RecordBatch]:
    """The rows that pass, in scan order, after `offset` of them and at most `limit`."""
    skip, left = scan.offset, scan.limit
    if left == 0:
        return
    if scan.condition is None:
        skip, left = 0, None
    jobs = _batch_jobs(session, manifest, scan)
    if scan.make is not None:
        jobs = (Job(partial(_made, job, scan.make), job.nbytes, job.batches) for job in jobs)
    with closing(_ahead(scan, jobs)) as windows:
        for batch in chain.from_iterable(windows):
            if skip >= len(batch):
                skip -= len(batch)
                continue
            cut = batch.slice(skip, left)
            skip = 0
            if left is not None:
                left -= len(cut)
            if len(cut):
                yield cut
            if left == 0:
                return


def _made(job: Job[list[pa.RecordBatch]], make: Callable[[pa.RecordBatch], pa.RecordBatch]) -> list[pa.RecordBatch]:
    return [make(batch) for batch in job.run()]


def count_passing(session: Session, manifest: Manifest, condition: Expr, scan: Scan) -> int:
    """How many rows pass a condition. Reads only its columns, and only where the statistics leave it open."""
    total = 0
    chosen = manifest.tree.iterate() if scan.fragments is None else scan.fragments
    left: list[Fragment] = []
    for fragment in chosen:
        counted = count_nulls(fragment, condition, scan.projection.table) if scan.prune else None
        if counted is None:
            left.append(fragment)
        else:
            total += counted
    scan = replace(scan, fragments=left)

    def doubtful() -> Iterator[Piece]:
        nonlocal total
        for fragment, spans in _fragments(session, manifest, scan):
            total += sum(fragment.live_count(span.start, span.end) for span in spans if not span.check)
            open_spans = [span for span in spans if span.check]
            if open_spans:
                yield fragment, open_spans

    with closing(_ahead(scan, _count_jobs(session, manifest, scan, doubtful()))) as counts:
        found = sum(counts)
    return total + found


def _ahead(scan: Scan, jobs: Iterator[Job[T]]) -> Generator[T, None, None]:
    return in_order(
        jobs,
        threads=scan.threads or default_threads(),
        budget_nbytes=scan.ahead_nbytes,
        most_ahead=scan.most_ahead,
        patient=scan.condition is not None and scan.limit is not None,
    )


def _batch_jobs(session: Session, manifest: Manifest, scan: Scan) -> Iterator[Job[list[pa.RecordBatch]]]:
    """The windows to read, and the small fragments that are read together."""
    rows = min(scan.batch_rows or BATCH_ROWS, scan.projection.most_rows or BATCH_ROWS)

    def apart(pieces: Sequence[Piece]) -> Iterator[Job[list[pa.RecordBatch]]]:
        for fragment, spans in pieces:
            yield from _FragmentScan(session, manifest, fragment, scan).batches(spans)

    def job(some: Neighbours, pieces: Sequence[Piece]) -> list[pa.RecordBatch]:
        try:
            return some.batches(rows)
        except LanceLikeError:
            # One of them is damaged, or all do not fit one array: one by one, each says what is wrong with it.
            return list(chain.from_iterable(one.run() for one in apart(pieces)))

    for pieces in _together(_pieces(session, manifest, scan), scan, [scan.projection, scan.filter]):
        if len(pieces) == 1:
            yield from apart(pieces)
        else:
            some = _neighbours(session, scan, pieces)
            yield Job(partial(job, some, pieces), some.nbytes, -(-some.rows // rows))


def _count_jobs(session: Session, manifest: Manifest, scan: Scan, doubtful: Iterator[Piece]) -> Iterator[Job[int]]:
    """The windows to count in, as `_batch_jobs`."""

    def apart(pieces: Sequence[Piece]) -> Iterator[Job[int]]:
        for fragment, spans in pieces:
            yield from _FragmentScan(session, manifest, fragment, scan, counting=True).counts(spans)

    def job(some: Neighbours, pieces: Sequence[Piece]) -> int:
        try:
            return some.count()
        except LanceLikeError:
            return sum(one.run() for one in apart(pieces))

    for pieces in _together(doubtful, scan, [scan.filter]):
        if len(pieces) == 1:
            yield from apart(pieces)
        else:
            yield Job(partial(job, _neighbours(session, scan, pieces), pieces), 0)


def _together(pieces: Iterator[Piece], scan: Scan, read: Sequence[Projection | None]) -> Iterator[Sequence[Piece]]:
    """The pieces that are read together, and all others alone. read: the columns that are read of them."""
    if all(can_join(projection) for projection in read if projection is not None):
        return neighbouring(pieces, scan.projection)
    return ([piece] for piece in pieces)


def _neighbours(session: Session, scan: Scan, pieces: Sequence[Piece]) -> Neighbours:
    checked = pieces[0][1][0].check
    fragments = [fragment for fragment, _ in pieces]
    return Neighbours(session, fragments, scan.projection, scan.filter, scan.condition if checked else None)


def _pieces(session: Session, manifest: Manifest, scan: Scan) -> Iterator[Piece]:
    """The fragments to read and their spans."""
    skip, left = scan.offset, scan.limit
    for fragment, spans in _fragments(session, manifest, scan):
        if scan.condition is None:
            # Every live row counts: skip and stop by arithmetic, before anything is read.
            span, skip, left = _counted(fragment, skip, left)
            spans = [span] if span else []
        if spans:
            yield fragment, spans
        if scan.condition is None and left == 0:
            return


def _counted(fragment: Fragment, skip: int, left: int | None) -> tuple[Span | None, int, int | None]:
    """The rows of a fragment after some live ones and at most some; then how many are still to skip and to give."""
    live = fragment.live_rows
    if skip >= live:
        return None, skip - live, left
    count = live - skip if left is None else min(left, live - skip)
    first, last = fragment.offsets_of_live(np.array([skip, skip + count - 1]))
    start, end = (0 if skip == 0 else int(first)), (fragment.rows if skip + count == live else int(last) + 1)
    return Span(start, end, False), 0, None if left is None else left - count


def _fragments(session: Session, manifest: Manifest, scan: Scan) -> Iterator[Piece]:
    """The fragments to read, each with its spans."""
    condition = scan.condition
    chosen = manifest.tree.iterate() if scan.fragments is None else scan.fragments
    if condition is None or not scan.prune:
        for fragment in chosen:
            yield fragment, [Span(0, fragment.rows, condition is not None)]
        return
    judged = judged_paths(condition)
    for group in _grouped(chosen):
        verdicts = judge_fragments(group, condition, scan.projection.table)
        for fragment, verdict in zip(group, verdicts, strict=True):
            if verdict == ALL:
                yield fragment, [Span(0, fragment.rows, False)]
            elif verdict != NONE and (fragment.rows <= ZONE_ROWS or not judged):
                # Its rows are one zone, of which the manifest has said all; or no statistics say anything.
                yield fragment, [Span(0, fragment.rows, True)]
            elif verdict != NONE:
                spans = _spans(session, scan.projection.table, fragment, condition, judged)
                if spans:
                    yield fragment, spans


def _grouped(fragments: Iterable[Fragment]) -> Iterator[list[Fragment]]:
    """Fragments in groups to judge in one go; no more of the manifest is read than the groups need."""
    left = iter(fragments)
    while group := list(islice(left, _JUDGED_TOGETHER)):
        yield group


def _spans(
    session: Session, schema: Schema, fragment: Fragment, condition: Expr, judged: frozenset[Path]
) -> list[Span]:
    """Read the zones of the columns by which a condition is judged, and judge them."""
    found: dict[Path, Zones | None] = {}
    located = []
    for path in judged:
        named = field_of(schema, path)
        if named is None or pa.types.is_struct(named.type):
            found[path] = None
        elif (place := fragment.locate(named.id)) is None:
            found[path] = null_zones(fragment.rows, ZONE_ROWS, named.type)
        else:
            located.append((path, named.type, *place))
    readers = session.open([file for _, _, file, _ in located])
    zones = session.drive(
        [
            (file.key, reader.zones(column, kind))
            for reader, (_, kind, file, column) in zip(readers, located, strict=True)
        ],
    )
    for (path, *_), answer in zip(located, zones, strict=True):
        # Files of other writers may use other zones: those say nothing here.
        usual = len(answer.rows) == -(-fragment.rows // ZONE_ROWS) and (answer.rows[:-1] == ZONE_ROWS).all()
        found[path] = answer if usual else None
    return judge_spans(condition, found.__getitem__, zone_rows=ZONE_ROWS, rows=fragment.rows)


@dataclass(frozen=True, slots=True)
class _Column:
    """One column of a fragment in its file."""

    path: str
    kind: pa.DataType
    pages: ColumnPages

    @property
    def row_nbytes(self) -> float:
        """The bytes of a row in memory, estimated: pages of variable width have PAGE_NBYTES, but for large cells."""
        width = _DESCRIPTION_NBYTES if self.kind is DESCRIPTION else flat_width(self.kind)
        if width is not None:
            return width
        pages = len(self.pages.fences) - 1
        nbytes = max(PAGE_NBYTES * pages, self.pages.stored_nbytes)
        return nbytes / max(1, int(self.pages.fences[-1])) if pages > 1 else 16


class _FragmentScan:
    """The scan of one fragment, as jobs that any thread may run. counting: only the rows that pass count."""

    def __init__(
        self, session: Session, manifest: Manifest, fragment: Fragment, scan: Scan, *, counting: bool = False
    ) -> None:
        self._session, self._fragment, self._scan = session, fragment, scan
        self._projection = scan.projection
        self._filter = scan.filter
        leaves = {} if counting else dict(self._projection.leaves)
        if self._filter is not None:
            leaves.update(self._filter.leaves)
        self._columns = self._open(leaves)
        self._row_nbytes = max(1.0, sum(column.row_nbytes for column in self._columns.values()))
        usual = int(min(BATCH_ROWS, max(1, _BATCH_NBYTES // self._row_nbytes)))
        rows = scan.batch_rows or usual
        self._batch_rows = min(rows, self._projection.most_rows or rows)
        batches = max(1, int(_WINDOW_NBYTES // self._row_nbytes) // self._batch_rows)
        self._window_rows = batches * self._batch_rows

    def batches(self, spans: Sequence[Span]) -> Iterator[Job[list[pa.RecordBatch]]]:
        """For each window of spans, the rows that pass in batches."""
        for start, end, check in self._windows(spans):
            nbytes, batches = int((end - start) * self._row_nbytes), -(-(end - start) // self._batch_rows)
            yield Job(partial(self._batches_of, start, end, check), nbytes, batches)

    def counts(self, spans: Sequence[Span]) -> Iterator[Job[int]]:
        """For each window of spans, how many rows pass."""
        for start, end, _ in self._windows(spans):
            yield Job(partial(self._count, start, end), 0)

    def _windows(self, spans: Sequence[Span]) -> Iterator[tuple[int, int, bool]]:
        for span in spans:
            start = span.start
            while start < span.end:
                end = self._cut(start, min(span.end, start + self._window_rows))
                yield start, end, span.check
                start = end

    def _count(self, start: int, end: int) -> int:
        return len(self._select(start, end))

    def _batches_of(self, start: int, end: int, check: bool) -> list[pa.RecordBatch]:
        """The rows of a window that pass."""
        rows = self._select(start, end) if check else self._live(start, end)
        count = end - start if rows is None else len(rows)
        if count == 0:
            return []
        projection = self._projection
        chosen = None if rows is None or count == end - start else rows
        offsets = None
        if chosen is not None:
            offsets = start + chosen
        elif projection.is_virtual:
            offsets = np.arange(start, end)
        if offsets is not None and count < self._scan.take_below * (end - start):
            leaves = self._taken(offsets)
        else:
            leaves = self._read(projection.leaves, start, end)
            if chosen is not None:
                order = pa.array(chosen)
                leaves = {field_id: taken(array, order) for field_id, array in leaves.items()}
        return projection.batches(
            projection.assemble(leaves, virtual_of(self._fragment, offsets)), count, self._batch_rows
        )

    def _cut(self, start: int, end: int) -> int:
        """End a batch at a page boundary when that keeps a good part of it: slices of one page need no copy."""
        low = start + max(1, (end - start) // 4)
        for column in self._columns.values():
            if column.kind is DESCRIPTION:
                continue
            fences = column.pages.fences
            boundary = int(fences[np.searchsorted(fences, low)]) if low <= fences[-1] else end
            end = min(end, max(boundary, low))
        return end

    def _live(self, start: int, end: int) -> Int64s | None:
        """The rows of a window that are not deleted, from its start; None when all are."""
        live = self._fragment.live_between(start, end)
        return None if live is None else live - start

    def _select(self, start: int, end: int) -> Int64s:
        """The live rows of a window that pass, from its start."""
        assert self._filter is not None and self._scan.condition is not None
        live = self._live(start, end)
        if live is not None and len(live) == 0:
            return live
        leaves = self._read(self._filter.leaves, start, end)
        offsets = np.arange(start, end) if self._filter.is_virtual else None
        if live is not None:
            # The condition is not asked about deleted rows, on which it may fail.
            leaves = {field_id: taken(array, pa.array(live)) for field_id, array in leaves.items()}
            offsets = live + start if self._filter.is_virtual else None
        arrays = self._filter.assemble(leaves, virtual_of(self._fragment, offsets))
        count = end - start if live is None else len(live)
        chosen = select(self._scan.condition, as_batch(arrays, self._filter.carried_schema, count))
        return chosen if live is None else live[chosen]

    def _read(self, leaves: dict[int, pa.DataType], start: int, end: int) -> dict[int, pa.Array]:
        """The leaves' arrays of rows start … end; one round for all columns, more where pages are not open."""
        asking = [self._columns[field_id] for field_id in leaves if field_id in self._columns]
        answers = self._session.drive(
            [(column.path, column.pages.read_span(start, end, column.kind)) for column in asking]
        )
        pieces = iter(answers)
        return {
            # A slice of one page, or a copy where the rows lie in several.
            field_id: joined(next(pieces)) if field_id in self._columns else pa.nulls(end - start, carried_type(kind))
            for field_id, kind in leaves.items()
        }

    def _taken(self, rows: Int64s) -> dict[int, pa.Array]:
        return read_rows(self._session, self._projection, [(self._fragment, rows)])[0]

    def _open(self, leaves: dict[int, pa.DataType]) -> dict[int, _Column]:
        """Open the columns that files of the fragment hold. Cost: 1 round for files, 2 for columns, if new."""
        located = [
            (field_id, kind, *place)
            for field_id, kind in leaves.items()
            if (place := self._fragment.locate(field_id)) is not None
        ]
        readers = self._session.open([file for _, _, file, _ in located])
        pages = self._session.drive(
            [
                (file.key, reader.pages(number, kind))
                for reader, (_, kind, file, number) in zip(readers, located, strict=True)
            ],
        )
        return {
            field_id: _Column(file.key, kind, found)
            for (field_id, kind, file, _), found in zip(located, pages, strict=True)
        }


__all__ = ["BATCH_ROWS", "Scan", "count_passing", "run_scan"]
