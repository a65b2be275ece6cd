"""Run a scan: batches in scan order, filter columns first, the others only for rows that passed.

A scan is cut into windows of rows that threads read and decode ahead, in order. A window is 8 MiB by estimate, or one
batch when that is more. Memory: the window in use, one a thread, and 64 MiB of windows made ahead. What is skipped is
decided by the manifest's bounds, then by the zones of the files, then by the condition itself.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from itertools import chain, groupby, islice, product
from typing import TypeVar

import numpy as np
import pyarrow as pa

from lance_like.errors import Corrupt, InvalidInput
from lance_like.file.layout import ZONE_ROWS
from lance_like.file.stats import Zones
from lance_like.query.ahead import Job, default_threads, in_order
from lance_like.query.columns import TAKE_BELOW, open_columns
from lance_like.query.expr import Expr
from lance_like.query.flagged import Picked
from lance_like.query.found import cut_found, found_batches
from lance_like.query.hits import Found, Hits, count_of, look_up, lookup_of
from lance_like.query.joint import can_join
from lance_like.query.names import Path
from lance_like.query.neighbours import Group, Joining, Neighbours, Piece, leaves_of
from lance_like.query.plan import (
    ALL,
    NONE,
    Span,
    asks_for_nulls,
    count_nulls,
    field_of,
    judge_fragments,
    judge_spans,
    null_zones,
    virtual_zones,
)
from lance_like.query.projection import Projection
from lance_like.query.prune import judged_paths
from lance_like.query.session import Reads, Session
from lance_like.query.windows import (
    BATCH_ROWS,
    WINDOW_NBYTES,
    FragmentScan,
    Passed,
    Scan,
    Window,
)
from lance_like.ranges import listed
from lance_like.table.fragment import Fragment
from lance_like.table.manifest import Manifest
from lance_like.table.schema import Schema
from lance_like.typing_ import T

_JUDGED_TOGETHER = 256
# Fragments whose columns are opened side by side: at first few, so that the first rows come soon.
_OPENED_FIRST, _OPENED_MOST = 4, 16
# Windows of several fragments are read together up to so many bytes: a thread for each would cost more than reading it.
_TINY_NBYTES = 256 << 10
# Zones of a fragment that are not asked whether they say more than the manifest: to read them takes a round.
_FEW_ZONES = 2
# So few rows of a fragment are read row by row however small it is; so many, of little width, without threads.
_FEW_ROWS, _SOME_ROWS = 256, 8192

R = TypeVar("R")


def run_scan(session: Session, manifest: Manifest, scan: Scan) -> Generator[pa.RecordBatch, None, None]:
    """The rows that pass, in scan order, after `offset` of them and at most `limit`."""
    skip, left = scan.offset, scan.limit
    if left == 0:
        return
    if scan.condition is None:
        skip, left = 0, None
    windows = _windows(session, manifest, scan)
    try:
        for batch in chain.from_iterable(windows):
            if skip >= len(batch):
                skip -= len(batch)
                continue
            cut = batch.slice(skip, left) if skip or left is not None else batch
            skip = 0
            if left is not None:
                left -= len(cut)
            if len(cut):
                yield cut
            if left == 0:
                return
    finally:
        windows.close()


def _windows(session: Session, manifest: Manifest, scan: Scan) -> Generator[Iterable[pa.RecordBatch], None, None]:
    """The batches of windows in scan order, or of the rows that indexes found."""
    hits = hits_of(session, manifest, scan)
    few = None if hits is None else _few(hits, scan)
    if few is not None:
        # Threads and jobs would take as long as all else.
        batches = found_batches(session, scan, few, _batch_rows(scan))
        yield batches if scan.make is None else map(scan.make, batches)
        return
    jobs = _scan_jobs(session, manifest, scan) if hits is None else _hit_jobs(session, manifest, scan, hits)
    if scan.make is not None:
        jobs = (Job(partial(_made, job, scan.make), job.nbytes, job.batches) for job in jobs)
    yield from _ahead(scan, jobs)


def _made(
    job: Job[Iterable[pa.RecordBatch]], make: Callable[[pa.RecordBatch], pa.RecordBatch]
) -> Iterable[pa.RecordBatch]:
    return [make(batch) for batch in job.run()]


def count_passing(session: Session, manifest: Manifest, condition: Expr, scan: Scan) -> int:
    """How many rows pass a condition. Reads only its columns, and only where the statistics leave it open."""
    total, of_nulls = 0, asks_for_nulls(condition)
    alone = None if of_nulls else _counted_by_index(session, manifest, scan)
    if alone is not None:
        return alone
    hits = None if of_nulls else hits_of(session, manifest, scan, counting=True)
    if hits is not None:
        if hits.count is not None and scan.fragments is None:
            return hits.count
        counted = replace(scan, projection=Projection(scan.projection.table, ()), hits=hits, make=None)
        return sum(map(len, run_scan(session, manifest, replace(counted, limit=None, offset=0))))
    if scan.prune and of_nulls:
        left: list[Fragment] = []
        for fragment in manifest.tree.iterate() if scan.fragments is None else scan.fragments:
            counted = count_nulls(fragment, condition, scan.projection.table)
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


def _counted_by_index(session: Session, manifest: Manifest, scan: Scan) -> int | None:
    """How many rows of a version pass, where an index counts them; None where that is not so."""
    if (
        scan.condition is None
        or scan.fragments is not None
        or scan.hits is not None
        or not _asks_indexes(manifest, scan)
    ):
        return None
    lookup = lookup_of(session, manifest, scan.condition)
    return None if lookup is None else count_of(session, manifest, lookup, fast=scan.fast)


def _ahead(scan: Scan, jobs: Iterator[Job[T]]) -> Generator[T, None, None]:
    return in_order(
        jobs,
        threads=scan.threads or default_threads(),
        budget_nbytes=scan.ahead_nbytes,
        most_ahead=scan.most_ahead,
        patient=scan.condition is not None and scan.limit is not None,
    )


def hits_of(session: Session, manifest: Manifest, scan: Scan, *, counting: bool = False) -> Hits | None:
    """What indexes say of the condition of a scan; None when it goes by statistics alone."""
    if scan.hits is not None or scan.condition is None or not _asks_indexes(manifest, scan):
        return scan.hits
    lookup = lookup_of(session, manifest, scan.condition)
    if lookup is None:
        return None
    return look_up(session, manifest, scan.condition, lookup, counting=counting, fast=scan.fast)


def _asks_indexes(manifest: Manifest, scan: Scan) -> bool:
    return scan.indexed and bool(manifest.indices)


def _hit_jobs(session: Session, manifest: Manifest, scan: Scan, hits: Hits) -> Iterator[Job[Iterable[pa.RecordBatch]]]:
    """What is to be read of the rows that indexes found, and of those that they do not know."""
    for how, some in groupby(_chosen(hits, scan), key=_how):
        found = list(some)
        if how == _SPARSE:
            for group in cut_found(found, scan):
                yield Job(partial(found_batches, session, scan, group, _batch_rows(scan)), WINDOW_NBYTES)
        elif how == _UNKNOWN:
            fragments = [one.fragment for one in found]
            yield from _scan_jobs(session, manifest, replace(scan, fragments=fragments, indexed=False, hits=None))
        else:
            for one in found:
                asked = replace(scan, condition=one.condition, indexed=False, hits=None)
                yield from _apart(session, asked, [(one.fragment, [_span_of(one)])])


def planned(session: Session, manifest: Manifest, scan: Scan) -> Iterator[tuple[Scan, Piece]]:
    """The fragments to read, each with its spans and the scan that they are read by: of rows that indexes found, one
    that asks what is left of the condition. hits: of the scan, or none are asked.
    """
    if scan.hits is None:
        yield from ((scan, piece) for piece in pieces_of(session, manifest, scan))
        return
    for found in _chosen(scan.hits, scan):
        asked = replace(scan, condition=found.condition, fragments=[found.fragment], indexed=False, hits=None)
        if found.offsets is not None:
            yield asked, (found.fragment, [_span_of(found)])
        else:
            yield from ((asked, piece) for piece in pieces_of(session, manifest, asked))


def _few(hits: Hits, scan: Scan) -> Sequence[Found] | None:
    """The rows found when they are read in one go; None when they are many, or some are not known."""
    found = _chosen(hits, scan)
    if scan.apart and len(found) > 1:
        return None
    rows = 0
    for one in found:
        if one.offsets is None:
            return None
        rows += len(one.offsets)
    return found if rows <= _FEW_ROWS or _are_small(found, scan, rows) else None


def _are_small(found: Sequence[Found], scan: Scan, rows: int) -> bool:
    """Do rows found, which all pass, take so little that reading them in one go is quickest?"""
    width = scan.projection.row_nbytes
    if width is None or rows > _SOME_ROWS or rows * width > _TINY_NBYTES or scan.limit is not None:
        return False
    return all(one.condition is None and _how(one) == _SPARSE for one in found)


_UNKNOWN, _DENSE, _SPARSE = range(3)


def _how(found: Found) -> int:
    """How rows of a fragment are read: as of any scan, whole pages, or row by row."""
    if found.offsets is None:
        return _UNKNOWN
    return _DENSE if len(found.offsets) >= max(_FEW_ROWS, TAKE_BELOW * found.fragment.rows) else _SPARSE


def _chosen(hits: Hits, scan: Scan) -> Sequence[Found]:
    """The rows found in the fragments of a scan, in its order."""
    if scan.fragments is None:
        return hits.found
    return [found for fragment in scan.fragments if (found := hits.of(fragment)) is not None]


def _span_of(found: Found) -> Span:
    assert found.offsets is not None
    rows = listed(found.offsets)
    return Span(int(rows[0]), int(rows[-1]) + 1, found.condition is not None, rows)


def _batch_rows(scan: Scan) -> int:
    usual = scan.usual_rows or BATCH_ROWS
    return min(scan.batch_rows or usual, scan.projection.most_rows or usual)


def _apart(session: Session, scan: Scan, pieces: Sequence[Piece]) -> Iterator[Job[Iterable[pa.RecordBatch]]]:
    return _window_jobs(
        session, scan, opened(session, scan, pieces), FragmentScan.batches, partial(_read, session, scan)
    )


def _read(
    session: Session, scan: Scan, found: Iterable[list[pa.RecordBatch] | Passed]
) -> Generator[pa.RecordBatch, None, None]:
    """The batches of windows; what was left to read of them is read ahead as they are."""
    for one in found:
        if isinstance(one, Passed):
            jobs = (_read_job(session, one.scan, window, picked) for window, picked in one.pieces)
            with closing(_ahead(scan, jobs)) as windows:
                yield from chain.from_iterable(windows)
        else:
            yield from one


def _read_job(session: Session, one: FragmentScan, window: Window, picked: Picked | None) -> Job[list[pa.RecordBatch]]:
    light = picked is not None and one.picks_few(picked)
    return Job(lambda: session.run([one.read(window, picked)])[0], window.nbytes, window.batches, light)


def _scan_jobs(session: Session, manifest: Manifest, scan: Scan) -> Iterator[Job[Iterable[pa.RecordBatch]]]:
    """The windows to read, and the small fragments that are read together."""
    rows = _batch_rows(scan)

    def job(some: Neighbours, pieces: Sequence[Piece]) -> list[pa.RecordBatch]:
        # One of them may be damaged, or all not fit one array: one by one, each says what is wrong with it.
        with suppress(Corrupt, InvalidInput):
            return some.batches(rows)
        return list(chain.from_iterable(one.run() for one in _apart(session, scan, pieces)))

    for group in _together(pieces_of(session, manifest, scan), scan, leaves_of(scan.projection, scan.filter)):
        if group.nbytes is None:
            yield from _apart(session, scan, group.pieces)
        else:
            some = _neighbours(session, scan, group)
            yield Job(partial(job, some, group.pieces), some.nbytes, -(-some.rows // rows))


def _count_jobs(session: Session, manifest: Manifest, scan: Scan, doubtful: Iterator[Piece]) -> Iterator[Job[int]]:
    """The windows to count in, as `_batch_jobs`."""

    def apart(pieces: Sequence[Piece]) -> Iterator[Job[int]]:
        jobs = _window_jobs(session, scan, opened(session, scan, pieces, counting=True), FragmentScan.count, sum)
        # Counts take no memory.
        return (replace(job, nbytes=0) for job in jobs)

    def job(some: Neighbours, pieces: Sequence[Piece]) -> int:
        try:
            return some.count()
        except (Corrupt, InvalidInput):
            return sum(one.run() for one in apart(pieces))

    for group in _together(doubtful, scan, {} if scan.filter is None else scan.filter.leaves):
        if group.nbytes is None:
            yield from apart(group.pieces)
        else:
            yield Job(partial(job, _neighbours(session, scan, group), group.pieces), 0)


def rows_in_doubt(session: Session, manifest: Manifest, scan: Scan) -> int:
    """Of how many rows the statistics do not tell whether they pass. Reads zones alone."""
    spans = (span for _, spans in _fragments(session, manifest, scan) for span in spans)
    return sum(span.end - span.start for span in spans if span.check)


def _together(pieces: Iterator[Piece], scan: Scan, leaves: Mapping[int, pa.DataType]) -> Iterator[Group]:
    """The pieces in groups: `Neighbours`, and others whose columns are opened in one round.

    leaves: the columns that are read of them, by field.
    """
    joins = can_join(leaves)
    most = _OPENED_FIRST if scan.limit is None else 1
    alone: list[Piece] = []
    joining = Joining(leaves, parts=scan.limit is None)
    for group in joining.groups(pieces) if joins else (Group([piece]) for piece in pieces):
        if group.nbytes is None:
            alone += group.pieces
        if alone and (group.nbytes is not None or len(alone) >= most):
            yield Group(alone)
            alone, most = [], min(2 * most, _OPENED_MOST)
        if group.nbytes is not None:
            yield group
    if alone:
        yield Group(alone)


def opened(
    session: Session, scan: Scan, pieces: Sequence[Piece], *, counting: bool = False
) -> Iterator[tuple[FragmentScan, list[Span]]]:
    """The scans of fragments, and the spans of each. counting: only the rows that pass count."""
    leaves = {} if counting else dict(scan.projection.leaves)
    if scan.filter is not None:
        leaves.update(scan.filter.leaves)
    try:
        columns = open_columns(session, [fragment for fragment, _ in pieces], leaves)
    except (Corrupt, InvalidInput):
        if len(pieces) == 1:
            raise
        # One of them is damaged: those before it are read first.
        yield from chain.from_iterable(opened(session, scan, [piece], counting=counting) for piece in pieces)
        return
    for (fragment, spans), held in zip(pieces, columns, strict=True):
        yield FragmentScan(session, fragment, scan, held), spans


def _window_jobs(
    session: Session,
    scan: Scan,
    scans: Iterable[tuple[FragmentScan, list[Span]]],
    read: Callable[[FragmentScan, Window], Reads[T]],
    join: Callable[[Iterable[T]], R],
) -> Iterator[Job[R]]:
    """The windows of fragments, short ones that stand side by side as one job. join: what windows make together."""

    def run(reads: Sequence[Callable[[], Reads[T]]]) -> R:
        try:
            return join(session.run([read() for read in reads]))
        except (Corrupt, InvalidInput):
            if len(reads) == 1:
                raise
            # One of them is damaged: those before it come first, if what they make together can wait.
            return join(session.run([read()])[0] for read in reads)

    together: list[Window] = []
    reads: list[Callable[[], Reads[T]]] = []
    nbytes, light = 0, True
    last: FragmentScan | None = None

    def job() -> Job[R]:
        return Job(partial(run, reads), nbytes, sum(window.batches for window in together), light)

    for one, spans in scans:
        for window in one.windows(spans):
            most = 0 if scan.limit is not None else WINDOW_NBYTES if one is last else _TINY_NBYTES
            if together and nbytes + window.nbytes > most:
                yield job()
                together, reads, nbytes, light = [], [], 0, True
            together.append(window)
            reads.append(partial(read, one, window))
            nbytes += window.nbytes
            light = light and one.is_light(window)
            last = one
    if together:
        yield job()


def _neighbours(session: Session, scan: Scan, group: Group) -> Neighbours:
    assert group.nbytes is not None
    fragments = [fragment for fragment, _ in group.pieces]
    take_below = TAKE_BELOW if scan.take_below is None else scan.take_below
    # Where all rows pass, the columns of the condition are not read.
    asked = (scan.filter, scan.condition) if group.pieces[0][1][0].check else (None, None)
    return Neighbours(session, fragments, group.nbytes, group.whole, scan.projection, *asked, scan.apart, take_below)


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
    if condition is None or not scan.prune:
        for fragment in chosen:
            yield fragment, [Span(0, fragment.rows, condition is not None)]
        return
    schema = scan.projection.table
    judged = judged_paths(condition)

    def verdicts_of(group: list[Fragment]) -> list[int]:
        return session.judged.get(
            condition, schema, *group, key="fragments", make=lambda: judge_fragments(group, condition, schema).tolist()
        )

    def spans_of(some: list[Fragment]) -> dict[int, list[Span]]:
        return session.judged.get(
            condition, schema, *some, key="zones", make=lambda: _spans(session, schema, some, condition, judged)
        )

    for group in _grouped(chosen):
        left = iter([(fragment, v) for fragment, v in zip(group, verdicts_of(group), strict=True) if v != NONE])
        most = _OPENED_FIRST if scan.limit is None else 1
        while some := list(islice(left, most)):
            # Of few zones the manifest has said nearly all; or no statistics say anything.
            asked = [f for f, v in some if v != ALL and judged and f.rows > _FEW_ZONES * ZONE_ROWS]
            spans = spans_of(asked)
            for fragment, verdict in some:
                found = spans.get(fragment.id, [Span(0, fragment.rows, verdict != ALL)])
                if found:
                    yield fragment, found
            most = min(2 * most, _OPENED_MOST)


def _grouped(fragments: Iterable[Fragment]) -> Iterator[list[Fragment]]:
    """Fragments in groups to judge in one go; no more of the manifest is read than the groups need."""
    left = iter(fragments)
    while group := list(islice(left, _JUDGED_TOGETHER)):
        yield group


def _spans(
    session: Session, schema: Schema, fragments: Sequence[Fragment], condition: Expr, judged: frozenset[Path]
) -> dict[int, list[Span]]:
    """Read the zones of the columns by which a condition is judged, and judge those of each fragment, by its id."""
    found: dict[int, dict[Path, Zones | None]] = {fragment.id: {} for fragment in fragments}
    located = []
    for path, fragment in product(judged, fragments):
        named = field_of(schema, path)
        zones = found[fragment.id]
        if named is None:
            zones[path] = virtual_zones(fragment, path[0], ZONE_ROWS)
        elif pa.types.is_struct(named.type):
            zones[path] = None
        elif (place := fragment.locate(named.id)) is None:
            zones[path] = null_zones(fragment.rows, ZONE_ROWS, named.type)
        else:
            located.append((path, fragment, named.type, *place))
    readers = session.open([file for *_, file, _ in located])
    asked = [
        (file.key, reader.zones(column, kind))
        for reader, (_, _, kind, file, column) in zip(readers, located, strict=True)
    ]
    for (path, fragment, *_), answer in zip(located, session.drive(asked), strict=True):
        # Files of other writers may use other zones: those say nothing here.
        usual = len(answer.rows) == -(-fragment.rows // ZONE_ROWS) and (answer.rows[:-1] == ZONE_ROWS).all()
        found[fragment.id][path] = answer if usual else None
    return {
        fragment.id: judge_spans(condition, found[fragment.id].__getitem__, zone_rows=ZONE_ROWS, rows=fragment.rows)
        for fragment in fragments
    }


__all__ = [
    "BATCH_ROWS",
    "Scan",
    "count_passing",
    "hits_of",
    "opened",
    "pieces_of",
    "planned",
    "rows_in_doubt",
    "run_scan",
]
