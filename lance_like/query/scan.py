"""Run a scan: batches in scan order, filter columns first, the others only for rows that passed.

A scan is cut into windows of rows that threads read and decode ahead, in order. A window is 8 MiB by estimate, or one
batch when that is more. Memory: the window in use, one a thread, and 64 MiB of windows made ahead. What is skipped is
decided by the manifest's bounds, then by the zones of the files, then by the condition itself.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import chain, islice

import numpy as np
import pyarrow as pa

from lance_like.errors import LanceLikeError
from lance_like.file.layout import ZONE_ROWS
from lance_like.file.stats import Zones
from lance_like.query.ahead import Job, default_threads, in_order
from lance_like.query.expr import Expr
from lance_like.query.names import Path
from lance_like.query.neighbours import Neighbours, Piece, can_join, neighbouring
from lance_like.query.plan import ALL, NONE, Span, field_of, judge_fragments, judge_spans, null_zones, virtual_zones
from lance_like.query.projection import Projection
from lance_like.query.prune import judged_paths
from lance_like.query.session import Session
from lance_like.query.windows import BATCH_ROWS, FragmentScan, Scan
from lance_like.table.fragment import Fragment
from lance_like.table.manifest import Manifest
from lance_like.table.schema import Schema
from lance_like.typing_ import T

_AHEAD_NBYTES = 64 << 20
_JUDGED_TOGETHER = 256


def run_scan(session: Session, manifest: Manifest, scan: Scan) -> Iterator[pa.RecordBatch]:
    """The rows that pass, in scan order, after `offset` of them and at most `limit`."""
    skip, left = scan.offset, scan.limit
    if left == 0:
        return
    if scan.condition is None:
        skip, left = 0, None
    with closing(_ahead(scan, _batch_jobs(session, manifest, scan))) as windows:
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


def count_passing(session: Session, manifest: Manifest, condition: Expr, scan: Scan) -> int:
    """How many rows pass a condition. Reads only its columns, and only where the statistics leave it open."""
    total = 0

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
        budget_nbytes=_AHEAD_NBYTES,
        most_ahead=scan.most_ahead,
        patient=scan.condition is not None and scan.limit is not None,
    )


def _batch_jobs(session: Session, manifest: Manifest, scan: Scan) -> Iterator[Job[list[pa.RecordBatch]]]:
    """The windows to read, and the small fragments that are read together."""
    rows = min(scan.batch_rows or BATCH_ROWS, scan.projection.most_rows or BATCH_ROWS)

    def apart(pieces: Sequence[Piece]) -> Iterator[Job[list[pa.RecordBatch]]]:
        for fragment, spans in pieces:
            yield from FragmentScan(session, fragment, scan).batches(spans)

    def job(some: Neighbours, pieces: Sequence[Piece]) -> list[pa.RecordBatch]:
        try:
            return some.batches(rows)
        except LanceLikeError:
            # One of them is damaged, or all do not fit one array: one by one, each says what is wrong with it.
            return list(chain.from_iterable(one.run() for one in apart(pieces)))

    for pieces in _together(pieces_of(session, manifest, scan), scan, [scan.projection, scan.filter]):
        if len(pieces) == 1:
            yield from apart(pieces)
        else:
            some = _neighbours(session, scan, pieces)
            yield Job(partial(job, some, pieces), some.nbytes, -(-some.rows // rows))


def _count_jobs(session: Session, manifest: Manifest, scan: Scan, doubtful: Iterator[Piece]) -> Iterator[Job[int]]:
    """The windows to count in, as `_batch_jobs`."""

    def apart(pieces: Sequence[Piece]) -> Iterator[Job[int]]:
        for fragment, spans in pieces:
            yield from FragmentScan(session, fragment, scan, counting=True).counts(spans)

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


def pieces_of(session: Session, manifest: Manifest, scan: Scan) -> Iterator[Piece]:
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
    if condition is None:
        for fragment in chosen:
            yield fragment, [Span(0, fragment.rows, False)]
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
        if named is None:
            found[path] = virtual_zones(fragment, path[0], ZONE_ROWS)
        elif pa.types.is_struct(named.type):
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


__all__ = ["BATCH_ROWS", "Scan", "count_passing", "pieces_of", "run_scan"]
