"""What a scan will read and skip, and what it did: `explain` from statistics alone, `analyze` by running it.

Rows and zones are counted over all fragments of the scan, pages over those that are not skipped whole. Bytes of a plan
are those of whole pages, the most that can be read; bytes of a run are what the store was asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from lance_like.encodings.sift import Flags
from lance_like.file.layout import ZONE_ROWS
from lance_like.index.files import counting_segments
from lance_like.io.observe import CountingStore, Counts, counted
from lance_like.query.columns import Column
from lance_like.query.expr import Expr
from lance_like.query.hits import Hits, lookup_of
from lance_like.query.indexed import Ask
from lance_like.query.neighbours import Piece
from lance_like.query.plan import Span
from lance_like.query.scan import Scan, hits_of, opened, planned
from lance_like.query.session import Session
from lance_like.table.fragment import Fragment
from lance_like.table.manifest import Manifest
from lance_like.typing_ import Int64s, Ranges, T

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


@dataclass
class Share:
    """Of something: how many there are, how many are read to be tested, how many pass untested; others are skipped."""

    total: int = 0
    tested: int = 0
    passed: int = 0

    @property
    def skipped(self) -> int:
        return self.total - self.tested - self.passed

    def add(self, spans: Sequence[Span], rows: int, unit: int) -> None:
        """Count units of so many rows. spans: of a fragment of `rows` rows."""
        self.total += -(-rows // unit)
        for span in spans:
            if span.rows is None:
                count = -(-span.end // unit) - span.start // unit
            else:
                count = len(np.unique(span.rows // unit))
            if span.check:
                self.tested += count
            else:
                self.passed += count

    def __str__(self) -> str:
        return f"{self.skipped:,} of {self.total:,} skipped, {self.tested:,} tested, {self.passed:,} pass untested"


@dataclass
class ColumnUse:
    """Pages and bytes of one column. read: those that are needed, or were read."""

    pages: int = 0
    nbytes: int = 0
    pages_read: int = 0
    nbytes_read: int = 0

    def add(self, starts: Int64s, ends: Int64s, touched: Flags, nbytes: int) -> None:
        """Count the pages of one file, of which so many bytes are read."""
        self.pages += len(starts)
        self.nbytes += int((ends - starts).sum())
        self.pages_read += int(touched.sum())
        self.nbytes_read += nbytes

    def __str__(self) -> str:
        of_bytes = f"{_bytes(self.nbytes_read)} of {_bytes(self.nbytes)}"
        return f"{self.pages_read:,} of {self.pages:,} pages, {of_bytes}"


@dataclass
class Step:
    """One step of a run: its wall time, and what the store was asked for."""

    seconds: float = 0.0
    rounds: int = 0
    requests: int = 0
    nbytes: int = 0

    def add(self, seconds: float, counts: Counts) -> None:
        self.seconds += seconds
        self.rounds += counts.rounds
        self.requests += counts.ranges
        self.nbytes += counts.bytes_read

    def __str__(self) -> str:
        asked = f"{self.rounds:,} rounds, {self.requests:,} requests, {_bytes(self.nbytes)} read"
        return f"{1e3 * self.seconds:.3f} ms, {asked}"


def heading(columns: Sequence[str], limit: int | None, offset: int, gave: int | None) -> str:
    """What is asked for, and how many rows that gave; None: it did not run."""
    counts = {"limit": limit or None, "offset": offset or None, "output_rows": gave}
    shown = (f", {name}={count:,}" for name, count in counts.items() if count is not None)
    return f"columns={list(columns)}{''.join(shown)}"


@dataclass
class Report:
    """What is known of a scan. columns: by name. steps: of a run, empty for a plan; rows: that it gave.

    unused: what indexes would answer and are not asked.
    """

    scan: Scan
    unused: Sequence[Ask] = ()
    fragments: Share = field(default_factory=Share)
    zones: Share = field(default_factory=Share)
    rows: Share = field(default_factory=Share)
    columns: dict[str, ColumnUse] = field(default_factory=dict)
    steps: dict[str, Step] = field(default_factory=dict)
    output_rows: int | None = None

    def lines(self, *, verbose: bool = False) -> Iterator[str]:
        """The report as a tree of text. verbose: also the order in which the parts of a condition are asked."""
        scan = self.scan
        yield f"Scan: {heading(scan.projection.schema.names, scan.limit, scan.offset, self.output_rows)}"
        if scan.condition is not None:
            yield f"  Filter: {scan.condition}"
            yield from (f"    {line}" for line in _parts(scan)) if verbose else ()
        if scan.hits is not None:
            yield from (f"  Index {asked}" for asked in scan.hits.asked)
            yield f"  Residual: {'none' if scan.hits.residual is None else scan.hits.residual}"
        yield from (f"  Not asked: {ask}: it finds too many rows, or few are left" for ask in self.unused)
        for name, step in self.steps.items():
            yield f"  {name.capitalize()}: {step}"
        yield f"  Fragments: {self.fragments}"
        yield f"  Zones: {self.zones}"
        yield f"  Rows: {self.rows}"
        for name, use in self.columns.items():
            yield f"  Column {name}: {'at most ' if not self.steps else ''}{use}"

    def text(self, *, verbose: bool = False) -> str:
        return "\n".join(self.lines(verbose=verbose)) + "\n"


def explain(session: Session, manifest: Manifest, scan: Scan) -> Report:
    """What a scan will read, from the manifest, zones and page tables. Cost: those, and what is read of indexes."""
    hits = hits_of(session, manifest, scan)
    report = Report(replace(scan, hits=hits, indexed=False), _unused(session, manifest, scan, hits))
    scan = report.scan
    for by, (fragment, spans) in _counted_pieces(session, manifest, scan, report):
        tested = frozenset() if by.filter is None else by.filter.leaves.keys()
        asked = scan.projection.leaves
        [(one, _)] = opened(session, by, [(fragment, spans)])
        for field_id, column in one.columns.items():
            starts, ends = session.drive([(column.path, column.pages.extents())])[0]
            needed = [span for span in spans if field_id in asked or (span.check and field_id in tested)]
            touched = np.zeros(len(starts), bool)
            for span in needed:
                if span.rows is None:
                    first, last = column.pages.page_of(np.array([span.start, span.end - 1]))
                    touched[first : last + 1] = True
                else:
                    touched[column.pages.page_of(span.rows)] = True
            _use(report, field_id).add(starts, ends, touched, int((ends - starts)[touched].sum()))
    return report


def analyze(session: Session, manifest: Manifest, scan: Scan, *, counting: bool = False) -> Report:
    """Run a scan on one thread, fragment by fragment, and measure its steps.

    counting: only count the rows that pass. Memory: one window.
    """
    store = CountingStore(session.store)
    session = session.through(store)
    steps = {name: Step() for name in ("index", "plan", "filter", "read")}
    # Without a condition the rows before and behind are left out already.
    skip = 0 if scan.condition is None else scan.offset
    left = None if scan.condition is None or scan.limit is None else scan.limit + skip
    logs: list[tuple[str, Ranges]] = []
    asked: list[Span] = []
    found = 0

    def timed(name: str, run: Callable[[], T]) -> T:
        with counted(store) as counts, counting_segments(store):
            began = time.perf_counter()
            answer = run()
            steps[name].add(time.perf_counter() - began, counts)
        logs.extend(counts.log)
        return answer

    hits = timed("index", lambda: hits_of(session, manifest, scan, counting=counting))
    unused = [name for name, is_used in (("index", hits is not None), ("read", not counting)) if not is_used]
    not_asked = _unused(session, manifest, scan, hits)
    scan = replace(scan, hits=hits, indexed=False)
    report = Report(scan, not_asked, steps={name: step for name, step in steps.items() if name not in unused})
    pieces = _counted_pieces(session, manifest, scan, report)
    seen: dict[tuple[str, int], tuple[int, Column]] = {}
    while (left is None or found < left) and (piece := timed("plan", lambda: next(pieces, None))) is not None:
        _, (_, spans) = piece
        [(one, _)] = timed("plan", lambda piece=piece: list(opened(session, piece[0], [piece[1]], counting=counting)))
        seen.update({(column.path, field_id): (field_id, column) for field_id, column in one.columns.items()})
        for window in one.windows(spans):
            [picked] = timed("filter", lambda one=one, window=window: session.run([one.passing(window)]))
            asked += window.parts or [window]
            found += window.end - window.start if picked is None else picked.count
            for piece in () if counting else one.pieces(window, picked):
                timed("read", lambda one=one, piece=piece: session.run([one.read(*piece)]))
            if left is not None and found >= left:
                break
    # A limit may have ended the run before all that was planned.
    report.rows = Share(report.rows.total)
    report.rows.add(asked, 0, 1)
    report.output_rows = max(0, (found if left is None else min(found, left)) - skip)
    for field_id, column in seen.values():
        _count_pages(session, _use(report, field_id), column, logs)
    return report


def _unused(session: Session, manifest: Manifest, scan: Scan, hits: Hits | None) -> list[Ask]:
    """What indexes would answer of a condition, and are not asked."""
    if scan.condition is None or not scan.indexed or not manifest.indices:
        return []
    lookup = lookup_of(session, manifest, scan.condition)
    used = {id(asked.ask) for asked in (() if hits is None else hits.asked)}
    return [ask for part in (() if lookup is None else lookup.answered) for ask in part.asks if id(ask) not in used]


def _counted_pieces(session: Session, manifest: Manifest, scan: Scan, report: Report) -> Iterator[tuple[Scan, Piece]]:
    """What a scan reads, as `planned` gives it; fragments that it skips are counted in the report too."""
    chosen = list(manifest.tree.iterate() if scan.fragments is None else scan.fragments)
    waiting = iter(chosen)
    for by, (fragment, spans) in planned(session, manifest, replace(scan, fragments=chosen)):
        for other in waiting:
            known = spans if other is fragment else []
            _count_fragment(other, known, report)
            if other is fragment:
                break
        yield by, (fragment, spans)
    for other in waiting:
        _count_fragment(other, [], report)


def _count_fragment(fragment: Fragment, spans: Sequence[Span], report: Report) -> None:
    report.rows.add(spans, fragment.rows, 1)
    report.zones.add(spans, fragment.rows, ZONE_ROWS)
    report.fragments.total += 1
    if any(span.check for span in spans):
        report.fragments.tested += 1
    elif spans:
        report.fragments.passed += 1


def _use(report: Report, field_id: int) -> ColumnUse:
    return report.columns.setdefault(".".join(report.scan.projection.table.path(field_id)), ColumnUse())


def _count_pages(session: Session, use: ColumnUse, column: Column, logs: Sequence[tuple[str, Ranges]]) -> None:
    """Count the pages that reads of a file touched, and the bytes that were read of them."""
    starts, ends = session.drive([(column.path, column.pages.extents())])[0]
    order = np.argsort(starts)
    starts, ends = starts[order], ends[order]
    reads = [ranges for key, ranges in logs if key == column.path]
    low, high = (np.concatenate([part[side] for part in reads] or [np.empty(0, np.int64)]) for side in (0, 1))
    first, last = ends.searchsorted(low, "right"), starts.searchsorted(high)
    # How many reads begin and end in the pages before each one.
    begun, over = np.bincount(first, minlength=len(starts) + 1), np.bincount(last, minlength=len(starts) + 1)
    touched = np.cumsum(begun - over)[: len(starts)] > 0
    nbytes = sum(
        int(np.maximum(0, np.minimum(high, end) - np.maximum(low, start)).sum())
        for start, end in zip(starts[touched], ends[touched], strict=True)
    )
    use.add(starts, ends, touched, nbytes)


def _parts(scan: Scan) -> Iterator[str]:
    parts = scan.parts
    asked: list[Expr] = [test.condition for test in parts.tests]
    for number, condition in enumerate([*asked, *([parts.rest] if parts.rest is not None else [])], 1):
        yield f"{number}. {condition}"


def _bytes(count: float) -> str:
    unit = 0
    while count >= 1024 and unit < len(_UNITS) - 1:
        count, unit = count / 1024, unit + 1
    return f"{count:,.0f} B" if unit == 0 else f"{count:,.1f} {_UNITS[unit]}"


__all__ = ["Report", "Step", "analyze", "explain", "heading"]
