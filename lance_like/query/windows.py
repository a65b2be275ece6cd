"""The rows of one fragment in windows: filter columns first, the others only for the rows that passed.

A window is 8 MiB by estimate, or one batch when that is more. Where a condition is asked, it is so of those of its
columns alone: of few rows that pass the others are read in one go, of many in windows of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, pairwise

import numpy as np
import pyarrow as pa

from lance_like._lazy import cached
from lance_like.encodings.joining import between, joined
from lance_like.encodings.physical import flat_width
from lance_like.encodings.places import DESCRIPTION
from lance_like.encodings.sift import Flags
from lance_like.encodings.stack import together
from lance_like.file.carry import as_batch, carried_type
from lance_like.file.cut import PAGE_ROWS
from lance_like.file.spans import read_parts
from lance_like.kept import MadeOf
from lance_like.query import flagged
from lance_like.query.ahead import default_threads
from lance_like.query.columns import TAKE_BELOW, Column
from lance_like.query.conjuncts import ColumnTest, Parts, split
from lance_like.query.cuts import (
    STEP_ROWS,
    between_rows,
    dense_stretches,
    end_with_page,
    near_pages,
    next_rows,
    touching,
    with_pages,
)
from lance_like.query.evaluate import passing
from lance_like.query.expr import Expr, paths, room_of
from lance_like.query.flagged import Picked
from lance_like.query.hits import Hits
from lance_like.query.plan import Span, field_of
from lance_like.query.projection import Output, Projection, virtual_of
from lance_like.query.session import Reads, Session
from lance_like.query.take import reading_rows
from lance_like.table.fragment import Fragment
from lance_like.table.schema import Schema
from lance_like.typing_ import Int64s

BATCH_ROWS = 1 << 16
# Estimated bytes of a batch of default size; wide rows make it shorter.
_BATCH_NBYTES = 32 << 20
# Estimated bytes of a window: a page of numbers. Below, handing it to a thread shows (int64 at 2 MiB: 5.0 ms for 3.5).
WINDOW_NBYTES = 8 << 20
# Rows of a window of which nothing but stored numbers and codes is compared: most of a millisecond is Python.
_COMPARED_ROWS = 4 * PAGE_ROWS
# Stored bytes of such a window up to which it is light.
_LIGHT_NBYTES = 4 << 20
# Estimated bytes of rows that are read in one go though they lie in many windows.
_FEW_NBYTES = WINDOW_NBYTES // 4
# The same where they are picked out of pages: what a thread does sooner.
_FEW_PICKED_NBYTES = 1 << 18
# Rows are counted in so many steps for each piece.
_STEPS_A_PIECE = 16
# What threads read of rows that are flagged at a time: with half as much, half of a table takes a tenth longer.
_PIECE_NBYTES = 24 << 20


@dataclass(frozen=True)
class Scan:
    """What to read. condition: bound to the table's schema with the virtual columns.

    fragments: of the manifest, all when None. batch_rows: the most rows of a batch; None: by size.
    threads: those that read and decode; None: `default_threads`. most_ahead: batches made ahead; None: by size alone.
    usual_rows: of a batch, where batch_rows is None and rows are narrow. window_nbytes: of a window, by estimate. None:
    as the module's. batch_nbytes: of a batch where batch_rows is None, by estimate.
    make: what a batch of the projection becomes, done by the threads; None: it is the answer.
    apart: no batch has rows of several fragments.
    indexed: whether indexes are asked. fast: leave out rows that an index which is asked does not cover.
    hits: what indexes said of the condition; None: they were not asked yet.
    ahead_nbytes: of batches made ahead, about. prune: whether statistics say what to skip.
    take_below: the share of a window below which the rows that passed are taken one by one instead of reading pages.
    None: by their bytes.
    """

    projection: Projection
    condition: Expr | None = None
    limit: int | None = None
    offset: int = 0
    batch_rows: int | None = None
    fragments: Sequence[Fragment] | None = None
    threads: int | None = None
    most_ahead: int | None = None
    make: Callable[[pa.RecordBatch], pa.RecordBatch] | None = None
    apart: bool = False
    ahead_nbytes: int = 64 << 20
    prune: bool = True
    take_below: float | None = None
    usual_rows: int | None = None
    window_nbytes: int | None = None
    batch_nbytes: int = _BATCH_NBYTES
    indexed: bool = True
    fast: bool = False
    hits: Hits | None = None

    @property
    def filter(self) -> Projection | None:
        """The columns that the condition needs, inside their structs."""
        return None if self.condition is None else self._asked.filter

    @property
    def parts(self) -> Parts:
        """The condition in the parts in which it is asked."""
        return self._asked.parts

    @property
    def rest(self) -> Projection | None:
        """The columns that the last of the parts needs."""
        return self._asked.rest

    @cached
    def _asked(self) -> _Asked:
        assert self.condition is not None
        schema, condition = self.projection.table, self.condition
        return _ASKED.get(schema, condition, make=lambda: _Asked.of(schema, condition))


@dataclass(frozen=True, slots=True)
class _Asked:
    """How a scan asks a condition: `filter`, `parts` and `rest` of `Scan`."""

    filter: Projection
    parts: Parts
    rest: Projection | None

    @classmethod
    def of(cls, schema: Schema, condition: Expr) -> _Asked:
        filter = asking(schema, condition)
        alone = {
            output.name: output.field
            for output in filter.outputs
            if output.field is not None and not output.field.is_struct and output.field.type is not DESCRIPTION
        }
        parts = split(condition, alone)
        return cls(filter, parts, None if parts.rest is None else asking(schema, parts.rest))


_ASKED: MadeOf[_Asked] = MadeOf(64, room_of)


def asking(schema: Schema, condition: Expr) -> Projection:
    """The columns of a table that a condition needs, inside their structs."""
    named = sorted(paths(condition))
    fields = [field_of(schema, path) for path in named]
    table = schema.project([found.id for found in fields if found is not None])
    virtual = [Output(path[0], None) for path, found in zip(named, fields, strict=True) if found is None]
    return Projection(table, (*(Output(top.name, top) for top in table.children()), *virtual))


@dataclass(frozen=True, slots=True)
class Window(Span):
    """Some rows of a fragment that are read in one go. nbytes: about; batches: at most, that they give.

    parts: neighbouring spans that it is made of, each with rows that are to be checked or not; none: it is one.
    """

    nbytes: int = 0
    batches: int = 1
    parts: Sequence[Span] = ()


@dataclass(frozen=True, slots=True)
class Passed:
    """Rows of a window that pass. pieces: as of `FragmentScan.pieces`."""

    scan: FragmentScan
    pieces: Sequence[tuple[Window, Picked | None]]


class FragmentScan:
    """The scan of one fragment, in windows that any thread may read. columns: those that are read, by field."""

    def __init__(self, session: Session, fragment: Fragment, scan: Scan, columns: dict[int, Column]) -> None:
        self._session, self._fragment, self._scan = session, fragment, scan
        self._projection = scan.projection
        self.columns = columns
        self._row_nbytes = max(1.0, sum(column.row_nbytes for column in self.columns.values()))
        usual = int(min(scan.usual_rows or BATCH_ROWS, max(1, scan.batch_nbytes // self._row_nbytes)))
        rows = scan.batch_rows or usual
        self._batch_rows = min(rows, self._projection.most_rows or rows)
        self._window_nbytes = scan.window_nbytes or WINDOW_NBYTES
        self._window_rows = self._rows_of(max(1.0, sum(column.row_work for column in self.columns.values())))
        # Who needs few rows, or makes others of them, is given them as soon as they are there.
        self._asks_first = scan.limit is None and scan.make is None

    def _rows_of(self, row_nbytes: float) -> int:
        """The rows of a window: a power of two, as those of pages of numbers are, to begin and end with pages."""
        batches = max(1, int(self._window_nbytes // row_nbytes) // self._batch_rows)
        return (1 << batches.bit_length() - 1) * self._batch_rows

    @cached
    def _asked_rows(self) -> int:
        """The rows of a window whose condition is asked: where a number is only compared, it leaves a flag."""
        if self._compares:
            # Of pages that are beside those of codes cells are made.
            numbers = all(column.is_numbers for column in self._asked_columns.values())
            return max(self._window_rows, _COMPARED_ROWS if numbers else PAGE_ROWS)
        rest = {} if self._scan.rest is None else self._scan.rest.leaves
        nbytes = [
            1 if field_id not in rest and flat_width(column.kind) is not None else column.row_nbytes
            for field_id, column in self._asked_columns.items()
        ]
        return max(self._window_rows, min(self._rows_of(max(1.0, sum(nbytes))), PAGE_ROWS))

    @cached
    def _compares(self) -> bool:
        """Whether the condition is only compared, with numbers and codes as they are stored."""
        parts, columns = self._scan.parts, self._asked_columns
        return parts.rest is None and all(
            test.field.id in columns and columns[test.field.id].is_compared(test) for test in parts.tests
        )

    @cached
    def _take_below(self) -> float:
        if self._scan.take_below is not None:
            return self._scan.take_below
        return max((column.take_below for column in self.columns.values()), default=TAKE_BELOW)

    @cached
    def _asked_columns(self) -> dict[int, Column]:
        asked = {} if self._scan.filter is None else self._scan.filter.leaves
        return {field_id: column for field_id, column in self.columns.items() if field_id in asked}

    def windows(self, spans: Sequence[Span]) -> Iterator[Window]:
        """Spans cut into what is read, or asked, in one go; short ones that touch are read as one."""
        for parts in touching(spans, min(self._window_rows, BATCH_ROWS)):
            start, last = parts[0].start, parts[-1].end
            if len(parts) > 1:
                yield self._window(start, last, None, parts)
                continue
            [span] = parts
            asks = self._asks(span)
            most, columns = (self._asked_rows, self._asked_columns) if asks else (self._window_rows, self.columns)
            while start < last:
                end = start + next_rows(last - start, most)
                if end < last or not asks:
                    end = end_with_page(columns.values(), start, end, self._batch_rows)
                rows = None if span.rows is None else between_rows(span.rows, start, end)
                if rows is None or len(rows):
                    yield self._window(start, end, rows, parts)
                start = end

    def _window(self, start: int, end: int, rows: Int64s | None, parts: Sequence[Span]) -> Window:
        nbytes, batches = int((end - start) * self._row_nbytes), -(-(end - start) // self._batch_rows)
        if end - start > self._window_rows:
            # Of few of its rows more than flags is held.
            nbytes = min(nbytes, self._window_nbytes)
        joined = parts if len(parts) > 1 else ()
        return Window(start, end, any(part.check for part in parts), rows, nbytes, batches, joined)

    def is_light(self, window: Window) -> bool:
        """Is so little read of a window, to ask its condition, that a thread would hardly do it sooner?"""
        if not self._asks(window) or not self._compares:
            return False
        stored = sum(column.stored_row_nbytes for column in self._asked_columns.values())
        return stored * (window.end - window.start) < _LIGHT_NBYTES

    def count(self, window: Window) -> Reads[int]:
        """How many rows of a window pass."""
        if window.check and not window.parts and self._scan.parts.tests and self._scan.parts.rest is None:
            return (yield from self._counted(window))
        flags = yield from self._flagged(window)
        return window.end - window.start if flags is None else flagged.count(flags)

    def batches(self, window: Window) -> Reads[list[pa.RecordBatch] | Passed]:
        """The rows of a window that pass, in batches; where they are more than is read in one go, which they are."""
        picked = yield from self.passing(window)
        if picked is not None and not picked.count:
            return []
        pieces = self.pieces(window, picked)
        return (yield from self.read(*pieces[0])) if len(pieces) == 1 else Passed(self, pieces)

    def pieces(self, window: Window, picked: Picked | None) -> list[tuple[Window, Picked | None]]:
        """A window and which of its rows pass, as the windows in which they are read, each with those of its rows."""
        if picked is None or not self._asks(window):
            return [(window, picked)]
        if picked.count * self._row_nbytes <= _FEW_NBYTES and picked.count < self._take_below * picked.num_rows:
            # They can be read in one go, also where pages are read whole for stretches of them.
            return [(window, picked)]
        cuts = self._even(window, picked)
        found: list[tuple[Window, Picked | None]] = []
        for first, last in pairwise([*cuts, picked.num_rows]):
            part = picked.part(first, last)
            if part.count:
                found.append((self._window(window.start + first, window.start + last, None, (window,)), part))
        return found

    def _even(self, window: Window, picked: Picked) -> list[int]:
        """Where pieces of a window begin that take as much memory each: with a page, if one is near.

        Of columns whose rows are picked those that are count, of the others all.
        """
        each = sum(column.row_nbytes for column in self.columns.values() if column.is_picked)
        others = self._row_nbytes - each
        pieces = self._pieces_of(picked.count * each + picked.num_rows * others, picked.num_rows)
        if pieces == 1:
            return [0]
        step = min(-(-picked.num_rows // (_STEPS_A_PIECE * pieces * STEP_ROWS)) * STEP_ROWS, self._window_rows)
        cuts = picked.cuts(pieces, each, others, step)
        return near_pages(self.columns.values(), window.start, cuts, picked.num_rows)

    def _pieces_of(self, nbytes: float, rows: int) -> int:
        """In how many pieces flagged rows are read: as many for each thread, where they are not few."""
        if self._scan.batch_rows:
            return -(-rows // max(self._window_rows, self._rows_of(max(1.0, nbytes / rows))))
        if nbytes <= _FEW_PICKED_NBYTES:
            return 1
        threads = self._scan.threads or default_threads()
        return -(-int(nbytes) // (_PIECE_NBYTES * threads)) * threads

    def _asks(self, span: Span) -> bool:
        """Is the condition asked of a span before it is known how its rows are read?"""
        return self._asks_first and span.check and span.rows is None

    def picks_few(self, picked: Picked) -> bool:
        """Are picked rows so few, and read without decoding others, that a thread would hardly do it sooner?"""
        all_picked = all(column.is_picked for column in self.columns.values())
        return all_picked and picked.count * self._row_nbytes <= _FEW_PICKED_NBYTES

    def read(self, window: Window, picked: Picked | None) -> Reads[list[pa.RecordBatch]]:
        """The rows of a window that were picked, all for None, in batches."""
        start, end = window.start, window.end
        rows = None if picked is None else picked.rows()
        count = end - start if rows is None else len(rows)
        if count == 0:
            return []
        leaves, offsets = yield from self._leaves(self._projection, start, end, rows)
        return self._batches(leaves, offsets, count)

    def _batches(self, leaves: dict[int, list[pa.Array]], offsets: Int64s | None, count: int) -> list[pa.RecordBatch]:
        """Rows in batches: slices of what was read of pages, and copies of it where a batch lies in several."""
        batches: list[pa.RecordBatch] = []
        cuts = self._cuts(leaves, count)
        for start, end in pairwise([*cuts, count]):
            cut = {field_id: between(parts, start, end) for field_id, parts in leaves.items()}
            some = None if offsets is None else offsets[start:end]
            arrays = self._projection.assemble(cut, virtual_of(self._fragment, some))
            batches += self._projection.batches(arrays, end - start, self._batch_rows)
        return batches

    def _cuts(self, leaves: dict[int, list[pa.Array]], count: int) -> Sequence[int]:
        """Where batches begin: with pages, unless that makes small ones, or the caller said how many rows one has."""
        if max(map(len, leaves.values()), default=1) == 1:
            return [0]
        if self._scan.batch_rows:
            return range(0, count, self._batch_rows)
        return with_pages(leaves.values())

    def _wanted(self, span: Span) -> Flags | None:
        """Which rows of a span are not deleted, among those that are wanted; None for all."""
        rows = self._fragment.live_between(span.start, span.end) if span.rows is None else span.rows
        if rows is None:
            return None
        flags = np.zeros(span.end - span.start, bool)
        flags[rows - span.start] = True
        return flags

    def passing(self, window: Window) -> Reads[Picked | None]:
        """Which rows of a window are live and pass, if it is to be checked; None for all there are.

        Columns are read in the order of the parts, and none once no row is left. Only rows that are left are asked
        about what may fail.
        """
        flags = yield from self._flagged(window)
        return None if flags is None else Picked.of(flags)

    def _flagged(self, window: Window) -> Reads[flagged.Parts | None]:
        """As `passing`."""
        if not window.parts:
            return (yield from self._passing(window))
        found = yield from together([self._passing(part) for part in window.parts])
        known = zip(window.parts, found, strict=True)
        return [*chain(*([np.ones(one.end - one.start, bool)] if some is None else some for one, some in known))]

    def _passing(self, span: Span) -> Reads[flagged.Parts | None]:
        start, end = span.start, span.end
        if not span.check:
            return (yield from self._tested(span, ()))
        parts = self._scan.parts
        flags = yield from self._tested(span, parts.tests)
        if parts.rest is not None and (flags is None or not flagged.are_fewer(flags, 1)):
            rows = None if flags is None else flagged.places_of(flagged.whole(flags))
            flags = [(yield from self._asked(parts.rest, start, end, rows))]
        return flags

    def _tested(self, span: Span, tests: Sequence[ColumnTest]) -> Reads[flagged.Parts | None]:
        """Which rows of a span are wanted and pass some tests; None for all there are."""
        wanted = self._wanted(span)
        flags: flagged.Parts | None = None if wanted is None else [wanted]
        for test in tests:
            flags = yield from self._narrowed(test, span, flags)
        return flags

    def _narrowed(self, test: ColumnTest, span: Span, flags: flagged.Parts | None) -> Reads[flagged.Parts]:
        """Which of the rows that are left of a span pass a test. flags: None: all are left."""
        if flags is not None and flagged.are_fewer(flags, 1):
            return flags
        if flags is not None and self._is_few(flags, span):
            return [(yield from self._taken(test, span.start, flagged.whole(flags)))]
        return (yield from self._judged(test, span.start, span.end, flags))

    def _is_few(self, flags: flagged.Parts, span: Span) -> bool:
        """Are flagged rows taken one by one?"""
        return flagged.are_fewer(flags, self._take_below * (span.end - span.start))

    def _counted(self, span: Span) -> Reads[int]:
        """How many rows of a span pass the tests: what passes the last of them is counted page by page, in a cache."""
        *others, last = self._scan.parts.tests
        flags = yield from self._tested(span, others)
        column = self.columns.get(last.field.id)
        if column is None or (flags is not None and self._is_few(flags, span)):
            return flagged.count((yield from self._narrowed(last, span, flags)))
        count = flagged.count_of if flags is None else partial(flagged.count_both, flags)
        [counts] = yield [(column.path, column.pages.judge_span(span.start, span.end, last.test, count))]
        return sum(counts)

    def _judged(self, test: ColumnTest, start: int, end: int, left: flagged.Parts | None) -> Reads[flagged.Parts]:
        """Which rows of a window pass a test of one column, among those that are left; None: all."""
        column = self.columns.get(test.field.id)
        if column is None:
            passes = test.test.of_values(pa.nulls(1, carried_type(test.field.type)))[0]
            return left if left is not None and passes else [np.full(end - start, passes)]
        if left is None:
            [flags] = yield [(column.path, column.pages.judge_span(start, end, test.test))]
            return flags
        narrow = partial(flagged.narrow, left)
        yield [(column.path, column.pages.judge_span(start, end, test.test, narrow))]
        return left

    def _taken(self, test: ColumnTest, start: int, left: Flags) -> Reads[Flags]:
        """As `_judged`, of few rows: they are read one by one."""
        column = self.columns.get(test.field.id)
        rows, kind = flagged.places_of(left), test.field.type if column is None else column.kind
        array = pa.nulls(len(rows), carried_type(kind))
        if column is not None:
            [array] = yield [(column.path, column.pages.read_rows(start + rows, kind))]
        flags = np.zeros(len(left), bool)
        flags[rows] = test.test.of_values(array)
        return flags

    def _asked(self, condition: Expr, start: int, end: int, rows: Int64s | None) -> Reads[Flags]:
        """Which of the rows that are left in a window pass a condition on several columns. rows: None: all are left."""
        projection = self._scan.rest
        assert projection is not None
        leaves, offsets = yield from self._leaves(projection, start, end, rows)
        whole = {field_id: joined(parts) for field_id, parts in leaves.items()}
        arrays = projection.assemble(whole, virtual_of(self._fragment, offsets))
        count = end - start if rows is None else len(rows)
        passed = passing(condition, as_batch(arrays, projection.carried_schema, count))
        if rows is None:
            return passed
        flags = np.zeros(end - start, bool)
        flags[rows] = passed
        return flags

    def _leaves(
        self, projection: Projection, start: int, end: int, rows: Int64s | None
    ) -> Reads[tuple[dict[int, list[pa.Array]], Int64s | None]]:
        """The leaves of a projection for some rows of a window, in parts, and the offsets of the rows where they are
        needed.

        rows: from the start of the window, ascending; None: all.
        """
        if rows is None or len(rows) == end - start:
            leaves = yield from self._read(projection.leaves, start, end)
            return leaves, np.arange(start, end) if projection.is_virtual else None
        if len(rows) >= self._take_below * (end - start):
            leaves = yield from self._read(projection.leaves, start, end, rows)
            return leaves, start + rows if projection.is_virtual else None
        offsets = start + rows
        stretches = dense_stretches(offsets, self._take_below)
        if stretches:
            found = yield from together([self._read_stretch(projection, stretch) for stretch in stretches])
            leaves = {field_id: [*chain(*(some[field_id] for some in found))] for field_id in projection.leaves}
            return leaves, offsets
        [leaves] = yield from reading_rows(self._session, projection, [(self._fragment, offsets)])
        return {field_id: [array] for field_id, array in leaves.items()}, offsets

    def _read_stretch(self, projection: Projection, rows: Int64s) -> Reads[dict[int, list[pa.Array]]]:
        """The leaves of a projection for rows that lie close together: int64[n], ascending."""
        start, end = int(rows[0]), int(rows[-1]) + 1
        return self._read(projection.leaves, start, end, None if len(rows) == end - start else rows - start)

    def _read(
        self, leaves: dict[int, pa.DataType], start: int, end: int, rows: Int64s | None = None
    ) -> Reads[dict[int, list[pa.Array]]]:
        """The leaves' arrays of rows start … end, or of some of them, one a page.

        Cost: one round, if all pages are open.
        """
        # A filter and an answer may read one column in two ways.
        asked: dict[str, list[int]] = {}
        for field_id in leaves:
            if field_id in self.columns:
                asked.setdefault(self.columns[field_id].path, []).append(field_id)
        told = yield [
            (path, read_parts([self.columns[i].pages for i in fields], [leaves[i] for i in fields], start, end, rows))
            for path, fields in asked.items()
        ]
        found = {
            field_id: parts
            for fields, answers in zip(asked.values(), told, strict=True)
            for field_id, parts in zip(fields, answers, strict=True)
        }
        count = end - start if rows is None else len(rows)
        return {
            field_id: found[field_id] if field_id in found else [pa.nulls(count, carried_type(kind))]
            for field_id, kind in leaves.items()
        }


__all__ = [
    "BATCH_ROWS",
    "WINDOW_NBYTES",
    "FragmentScan",
    "Passed",
    "Scan",
    "Window",
    "asking",
]
