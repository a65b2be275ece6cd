"""The rows of one fragment in windows: filter columns first, the others only for the rows that passed.

A window is 8 MiB by estimate, or one batch when that is more. Short spans share a job, since handing one to a thread
takes as long as reading some kilobytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np
import pyarrow as pa

from lance_like._lazy import cached
from lance_like.encodings.joining import joined, taken
from lance_like.encodings.physical import flat_width
from lance_like.encodings.places import DESCRIPTION
from lance_like.encodings.sift import Flags
from lance_like.file.carry import carried_type
from lance_like.file.cut import PAGE_NBYTES
from lance_like.file.pages import ColumnPages
from lance_like.query.ahead import Job
from lance_like.query.conjuncts import ColumnTest, Parts, split
from lance_like.query.evaluate import passing
from lance_like.query.expr import Expr, paths
from lance_like.query.plan import Span, field_of
from lance_like.query.projection import Output, Projection, as_batch, virtual_of
from lance_like.query.session import Session
from lance_like.query.take import read_rows
from lance_like.table.fragment import Fragment
from lance_like.typing_ import Conversation, Int64s

BATCH_ROWS = 1 << 16
# Estimated bytes of a batch of default size; wide rows make it shorter.
_BATCH_NBYTES = 32 << 20
# Estimated bytes of a window: a page of numbers. Below, handing it to a thread shows (int64 at 2 MiB: 5.0 ms for 3.5).
_WINDOW_NBYTES = 8 << 20
_DESCRIPTION_NBYTES = 16
# Below this share of a window the rows that passed are taken one by one instead of reading their pages.
_TAKE_BELOW = 1 / 16


@dataclass(frozen=True)
class Scan:
    """What to read. condition: bound to the table's schema with the virtual columns.

    fragments: of the manifest, all when None. batch_rows: the most rows of a batch; None: by size.
    threads: those that read and decode; None: `default_threads`. most_ahead: batches made ahead; None: by size alone.
    """

    projection: Projection
    condition: Expr | None = None
    limit: int | None = None
    offset: int = 0
    batch_rows: int | None = None
    fragments: Sequence[Fragment] | None = None
    threads: int | None = None
    most_ahead: int | None = None

    @cached
    def filter(self) -> Projection | None:
        """The columns that the condition needs, inside their structs."""
        return None if self.condition is None else self._columns_of(self.condition)

    @cached
    def parts(self) -> Parts:
        """The condition in the parts in which it is asked."""
        assert self.filter is not None and self.condition is not None
        alone = {
            output.name: output.field
            for output in self.filter.outputs
            if output.field is not None and not output.field.is_struct and output.field.type is not DESCRIPTION
        }
        return split(self.condition, alone)

    @cached
    def rest(self) -> Projection | None:
        """The columns that the last of the parts needs."""
        return None if self.parts.rest is None else self._columns_of(self.parts.rest)

    def _columns_of(self, condition: Expr) -> Projection:
        schema, named = self.projection.table, sorted(paths(condition))
        fields = [field_of(schema, path) for path in named]
        table = schema.project([found.id for found in fields if found is not None])
        virtual = [Output(path[0], None) for path, found in zip(named, fields, strict=True) if found is None]
        return Projection(table, (*(Output(top.name, top) for top in table.children()), *virtual))


@dataclass(frozen=True, slots=True)
class Column:
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


def _some(column: Column, kind: pa.DataType, start: int, end: int, rows: Int64s | None) -> Conversation[list[pa.Array]]:
    """Rows start … end of a column read as a type, an array a page. rows: those of them that are wanted; None: all."""
    if rows is not None and carried_type(kind) == column.pages.kind:
        return (yield from column.pages.read_chosen(start, end, rows))
    found = yield from column.pages.read_span(start, end, kind)
    return found if rows is None else [taken(joined(found), pa.array(rows))]


class FragmentScan:
    """The scan of one fragment, as jobs that any thread may run. counting: only the rows that pass count.

    columns: those that its files hold, by field id.
    """

    def __init__(self, session: Session, fragment: Fragment, scan: Scan, *, counting: bool = False) -> None:
        self._session, self._fragment, self._scan = session, fragment, scan
        self._projection = scan.projection
        leaves = {} if counting else dict(self._projection.leaves)
        if scan.filter is not None:
            leaves.update(scan.filter.leaves)
        self.columns = self._open(leaves)
        self._row_nbytes = max(1.0, sum(column.row_nbytes for column in self.columns.values()))
        usual = int(min(BATCH_ROWS, max(1, _BATCH_NBYTES // self._row_nbytes)))
        rows = scan.batch_rows or usual
        self._batch_rows = min(rows, self._projection.most_rows or rows)
        batches = max(1, int(_WINDOW_NBYTES // self._row_nbytes) // self._batch_rows)
        self._window_rows = batches * self._batch_rows

    def batches(self, spans: Sequence[Span]) -> Iterator[Job[list[pa.RecordBatch]]]:
        """For each window of spans, the rows that pass in batches."""
        for windows, rows in self._grouped(spans):
            yield Job(
                partial(self._batches_of_all, windows), int(rows * self._row_nbytes), -(-rows // self._batch_rows)
            )

    def counts(self, spans: Sequence[Span]) -> Iterator[Job[int]]:
        """For each window of spans, how many rows pass."""
        for windows, _ in self._grouped(spans):
            yield Job(partial(self._count_all, windows), 0)

    def _grouped(self, spans: Sequence[Span]) -> Iterator[tuple[list[Span], int]]:
        """Windows that one job reads one after the other, and their rows: as many as one long window has."""
        group: list[Span] = []
        rows = 0
        for window in self.windows(spans):
            own = window.end - window.start
            if group and rows + own > self._window_rows:
                yield group, rows
                group, rows = [], 0
            group.append(window)
            rows += own
        if group:
            yield group, rows

    def windows(self, spans: Sequence[Span]) -> Iterator[Span]:
        """Spans cut into what is read in one go."""
        for span in spans:
            start = span.start
            while start < span.end:
                end = self._cut(start, min(span.end, start + self._window_rows))
                yield Span(start, end, span.check)
                start = end

    def _count_all(self, windows: Sequence[Span]) -> int:
        found = ((window, self.passing(window)) for window in windows)
        return sum(w.end - w.start if flags is None else int(np.count_nonzero(flags)) for w, flags in found)

    def _batches_of_all(self, windows: Sequence[Span]) -> list[pa.RecordBatch]:
        return list(chain.from_iterable(self.read(window, self.passing(window)) for window in windows))

    def read(self, window: Span, flags: Flags | None) -> list[pa.RecordBatch]:
        """The rows of a window that are flagged, all for None."""
        start, end = window.start, window.end
        rows = None if flags is None else np.flatnonzero(flags)
        count = end - start if rows is None else len(rows)
        if count == 0:
            return []
        leaves, offsets = self._leaves(self._projection, start, end, rows)
        arrays = self._projection.assemble(leaves, virtual_of(self._fragment, offsets))
        return self._projection.batches(arrays, count, self._batch_rows)

    def _cut(self, start: int, end: int) -> int:
        """End a batch at a page boundary when that keeps a good part of it: slices of one page need no copy."""
        low = start + max(1, (end - start) // 4)
        for column in self.columns.values():
            if column.kind is DESCRIPTION:
                continue
            fences = column.pages.fences
            boundary = int(fences[np.searchsorted(fences, low)]) if low <= fences[-1] else end
            end = min(end, max(boundary, low))
        return end

    def _live(self, start: int, end: int) -> Flags | None:
        """Which rows of a window are not deleted; None when none is."""
        live = self._fragment.live_between(start, end)
        if live is None:
            return None
        flags = np.zeros(end - start, bool)
        flags[live - start] = True
        return flags

    def passing(self, window: Span) -> Flags | None:
        """Which rows of a window are live and pass, if it is to be checked; None for all there are.

        Columns are read in the order of the parts, and none once no row is left. Only rows that are left are asked
        about what may fail.
        """
        start, end = window.start, window.end
        flags = self._live(start, end)
        if not window.check:
            return flags
        parts = self._scan.parts
        for test in parts.tests:
            if flags is not None and not flags.any():
                return flags
            found = self._judged(test, start, end, flags)
            flags = found if flags is None else flags & found
        if parts.rest is not None and (flags is None or flags.any()):
            flags = self._asked(parts.rest, start, end, flags)
        return flags

    def _judged(self, test: ColumnTest, start: int, end: int, left: Flags | None) -> Flags:
        """Which rows of a window pass a test of one column. left: those that matter; None: all."""
        column = self.columns.get(test.field.id)
        if column is None:
            return np.full(end - start, test.test.of_values(pa.nulls(1, carried_type(test.field.type)))[0])
        if left is None or np.count_nonzero(left) >= _TAKE_BELOW * (end - start):
            return self._session.drive([(column.path, column.pages.judge_span(start, end, test.test))])[0]
        rows = np.flatnonzero(left)
        array = self._session.drive([(column.path, column.pages.read_rows(start + rows, column.kind))])[0]
        flags = np.zeros(end - start, bool)
        flags[rows] = test.test.of_values(array)
        return flags

    def _asked(self, condition: Expr, start: int, end: int, left: Flags | None) -> Flags:
        """Which of the rows that are left in a window pass a condition on several columns."""
        projection = self._scan.rest
        assert projection is not None
        rows = None if left is None else np.flatnonzero(left)
        leaves, offsets = self._leaves(projection, start, end, rows)
        arrays = projection.assemble(leaves, virtual_of(self._fragment, offsets))
        count = end - start if rows is None else len(rows)
        passed = passing(condition, as_batch(arrays, projection.carried_schema, count))
        if rows is None:
            return passed
        flags = np.zeros(end - start, bool)
        flags[rows] = passed
        return flags

    def _leaves(
        self, projection: Projection, start: int, end: int, rows: Int64s | None
    ) -> tuple[dict[int, pa.Array], Int64s | None]:
        """The leaves of a projection for some rows of a window, and the offsets of the rows where they are needed.

        rows: from the start of the window, ascending; None: all.
        """
        if rows is None or len(rows) == end - start:
            return self._read(projection.leaves, start, end), np.arange(start, end) if projection.is_virtual else None
        offsets = start + rows
        if len(rows) < _TAKE_BELOW * (end - start):
            return read_rows(self._session, projection, [(self._fragment, offsets)])[0], offsets
        return self._read(projection.leaves, start, end, rows), offsets

    def _read(
        self, leaves: dict[int, pa.DataType], start: int, end: int, rows: Int64s | None = None
    ) -> dict[int, pa.Array]:
        """The leaves' arrays of rows start … end, or of some of them. Cost: one round, if all pages are open."""
        # A filter and an answer may read one column in two ways.
        asking = [(self.columns[field_id], kind) for field_id, kind in leaves.items() if field_id in self.columns]
        reads = [(column.path, _some(column, kind, start, end, rows)) for column, kind in asking]
        answers = iter(self._session.drive(reads))
        count = end - start if rows is None else len(rows)
        return {
            # A slice of one page, or a copy where the rows lie in several.
            field_id: joined(next(answers)) if field_id in self.columns else pa.nulls(count, carried_type(kind))
            for field_id, kind in leaves.items()
        }

    def _open(self, leaves: dict[int, pa.DataType]) -> dict[int, Column]:
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
            field_id: Column(file.key, kind, found)
            for (field_id, kind, file, _), found in zip(located, pages, strict=True)
        }


__all__ = ["BATCH_ROWS", "FragmentScan", "Scan"]
