"""Fragments of few rows that stand side by side, scanned as if they were one.

To open a column of few rows costs more than to read it; those of several files are opened and decoded together
(file/several.py): small files whole, of others the columns that are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa

from lance_like._lazy import cached
from lance_like.encodings.joining import taken
from lance_like.encodings.stack import together
from lance_like.file.carry import as_batch, carried_type
from lance_like.file.layout import ZONE_ROWS
from lance_like.file.several import SeveralColumns, SeveralFiles, WholeFile
from lance_like.query.evaluate import select
from lance_like.query.expr import Expr
from lance_like.query.joint import MOST_OF_ONE, Widths, bytes_at, reading
from lance_like.query.plan import Span
from lance_like.query.projection import VIRTUAL, FileColumns, Placement, Projection, place_leaves
from lance_like.query.session import Session
from lance_like.table.fragment import DataFile, Fragment, Runs
from lance_like.typing_ import Bytes, Int64s

# Files up to this size are read whole: as long a read as that of their ends, which hold what a file says of itself.
_SMALL_NBYTES = 16 << 10
# Columns of a larger file are read with those of its neighbours, those of the answer up to this size with those of the
# condition, which may need few rows of them.
_ASKED_NBYTES = 64 << 10
# Fewer are read one by one. Of small files what is known of them then stays, for the next scan.
_LEAST, _LEAST_WHOLE = 2, 4
# What is read together: at first few fragments, so that the first rows come soon and threads have work each.
_FIRST, _FIRST_OF_LARGE, _MOST = 16, 4, 256
_MOST_NBYTES = 2 << 20
# In memory, by estimate: of cells of any length as below, since small files may hold large cells that repeat.
_MOST_IN_MEMORY = 16 << 20
_CELL_NBYTES = 64


Piece: TypeAlias = tuple[Fragment, list[Span]]
"""A fragment and the spans of it that a scan reads."""


class _Asked(NamedTuple):
    """What was read for a condition: the leaves of rows, and int64[n], which of them pass."""

    leaves: Mapping[int, pa.Array]
    chosen: Int64s


_NOTHING_ASKED = _Asked({}, np.zeros(0, np.int64))

_Parts: TypeAlias = Mapping[int, tuple[tuple[int, ...], SeveralColumns, Bytes]]


@dataclass(frozen=True)
class Neighbours:
    """Fragments whose files hold the same fields, all of whose rows are wanted that are live.

    nbytes: that are read, about. whole: whether files are read whole. filter: the columns of the condition; None: no
    row is asked. apart: no batch has rows of several of them. take_below: the share of rows below which those that
    passed are taken one by one instead of reading pages.
    """

    session: Session
    fragments: Sequence[Fragment]
    nbytes: int
    whole: bool
    projection: Projection
    filter: Projection | None
    condition: Expr | None
    apart: bool
    take_below: float

    @cached
    def rows(self) -> int:
        """Physical rows."""
        return sum(fragment.rows for fragment in self.fragments)

    def count(self) -> int:
        """How many rows pass."""
        rows, _ = self._passing()
        return self.rows if rows is None else len(rows)

    def batches(self, batch_rows: int) -> list[pa.RecordBatch]:
        """The rows that pass. Raises LanceLikeError where one by one the fragments may all be right."""
        rows, asked = self._passing()
        count = self.rows if rows is None else len(rows)
        if count == 0:
            return []
        projection = self.projection
        leaves = self._leaves(None if count == self.rows else rows, asked)
        arrays = projection.assemble(leaves, lambda name: self._made(name, rows))
        if not self.apart:
            return projection.batches(arrays, count, batch_rows)
        ends = (self._ends if rows is None else rows.searchsorted(self._ends)).tolist()
        return [
            batch
            for start, end in zip([0, *ends], ends, strict=False)
            for batch in projection.batches([array[start:end] for array in arrays], end - start, batch_rows)
        ]

    @cached
    def _ends(self) -> Int64s:
        """The rows of all fragments up to each."""
        return np.cumsum([fragment.rows for fragment in self.fragments])

    @property
    def _at_once(self) -> bool:
        """Whether all columns are read in one round, as they are few bytes, or as no row is asked."""
        return self.whole or self.condition is None or self.nbytes <= _ASKED_NBYTES * len(self.fragments)

    def _passing(self) -> tuple[Int64s | None, _Asked]:
        """The live rows that pass, counted over all fragments; None for all there are. And what was read to tell."""
        live = self._live()
        if self.condition is None or self.filter is None or (live is not None and len(live) == 0):
            return live, _NOTHING_ASKED
        # The condition is not asked about deleted rows, on which it may fail.
        leaves = self._read(self.filter.place(self.fragments[0]), live)
        arrays = self.filter.assemble(leaves, lambda name: self._made(name, live))
        count = self.rows if live is None else len(live)
        chosen = select(self.condition, as_batch(arrays, self.filter.carried_schema, count))
        return chosen if live is None else live[chosen], _Asked(leaves, chosen)

    def _live(self) -> Int64s | None:
        if not any(fragment.deletions for fragment in self.fragments):
            return None
        found: list[Int64s] = []
        first = 0
        for fragment in self.fragments:
            live = fragment.live_between(0, fragment.rows)
            found.append(first + (np.arange(fragment.rows) if live is None else live))
            first += fragment.rows
        return np.concatenate(found)

    def _leaves(self, rows: Int64s | None, asked: _Asked) -> dict[int, pa.Array]:
        """The leaves of the answer of rows that pass; None: of all."""
        wanted = self.projection.leaves
        known = asked.leaves.keys() & wanted.keys()
        if not known:
            return self._read_or_take(self.projection.place(self.fragments[0]), rows)
        left = {field_id: kind for field_id, kind in wanted.items() if field_id not in known}
        leaves = self._read_or_take(place_leaves(left, [file.fields for file in self.fragments[0].files]), rows)
        chosen = pa.array(asked.chosen)
        every = len(chosen) == len(next(iter(asked.leaves.values())))
        for field_id in known:
            found = asked.leaves[field_id]
            leaves[field_id] = found if every else taken(found, chosen)
        return leaves

    def _read_or_take(self, placement: Placement, rows: Int64s | None) -> dict[int, pa.Array]:
        """The leaves of a placement of some rows; None: of all."""
        if rows is None or self._at_once or len(rows) >= self.take_below * self.rows:
            return self._read(placement, rows)
        return self._take(placement, rows)

    def _read(self, placement: Placement, rows: Int64s | None) -> dict[int, pa.Array]:
        """As `_read_or_take`, whole pages."""
        leaves = {field_id: pa.nulls(self.rows, carried_type(kind)) for field_id, kind in placement.missing.items()}
        for held in placement.files:
            arrays = self._whole[held.file].read(held.columns, held.kinds) if self.whole else self._parts_of(held)
            leaves.update(zip(held.field_ids, arrays, strict=True))
        if rows is None:
            return leaves
        order = pa.array(rows)
        return {field_id: taken(array, order) for field_id, array in leaves.items()}

    def _take(self, placement: Placement, rows: Int64s) -> dict[int, pa.Array]:
        """As `_read_or_take`, row by row."""
        leaves = {field_id: pa.nulls(len(rows), carried_type(kind)) for field_id, kind in placement.missing.items()}
        opened = self._opened(placement.files)
        reads = [
            columns.read_rows(range(len(held.columns)), rows)
            for columns, held in zip(opened, placement.files, strict=True)
        ]
        [found] = self.session.run([reading(together(reads))])
        for held, arrays in zip(placement.files, found, strict=True):
            leaves.update(zip(held.field_ids, arrays, strict=True))
        return leaves

    def _made(self, name: str, rows: Int64s | None) -> pa.Array:
        """A column that no file holds."""
        array = pa.concat_arrays([VIRTUAL[name](fragment, np.arange(fragment.rows)) for fragment in self.fragments])
        return array if rows is None else array.take(pa.array(rows))

    @cached
    def _whole(self) -> list[SeveralFiles]:
        """The files of the fragments by their place there, read in one round. Raises Corrupt."""
        files = [file for fragment in self.fragments for file in fragment.files]
        data = self.session.store.read([file.key for file in files], limit=_SMALL_NBYTES)
        whole = [self._whole_file(file, found) for file, found in zip(files, data, strict=True)]
        each = len(self.fragments[0].files)
        return [SeveralFiles(whole[place::each], verify=self.session.verify) for place in range(each)]

    def _whole_file(self, file: DataFile, data: bytes | None) -> WholeFile:
        if data is None or len(data) != file.nbytes:
            raise self.session.missing("a data file is missing, or has another size than recorded", file.key)
        return WholeFile(file.key, data, file.tail, file.rows, sum(count for _, count in file.fields))

    def _parts_of(self, held: FileColumns) -> list[pa.Array]:
        columns, found, data = (self._parts if self._at_once else self._pages([held]))[held.file]
        return found.read([columns.index(column) for column in held.columns], data)

    @cached
    def _parts(self) -> _Parts:
        """All columns that are read."""
        leaves = leaves_of(self.projection, self.filter)
        return self._pages(place_leaves(leaves, [file.fields for file in self.fragments[0].files]).files)

    def _pages(self, asked: Sequence[FileColumns]) -> _Parts:
        """Columns of files, and their pages, by the place of the file in the fragments.

        Cost: one round for pages; the first time one for files that are not open, and 2 for what they state. Raises
        Corrupt.
        """
        opened = self._opened(asked)
        keys = [fragment.files[held.file].key for held in asked for fragment in self.fragments]
        extents = [extents for columns in opened for extents in columns.extents_by_file]
        pages = self.session.drive([(key, bytes_at(some)) for key, some in zip(keys, extents, strict=True)])
        each = len(self.fragments)
        return {
            held.file: (held.columns, columns, np.concatenate(pages[i * each : (i + 1) * each]))
            for i, (held, columns) in enumerate(zip(asked, opened, strict=True))
        }

    def _opened(self, asked: Sequence[FileColumns]) -> list[SeveralColumns]:
        return self.session.several_columns(
            [([fragment.files[held.file] for fragment in self.fragments], held) for held in asked]
        )


def leaves_of(projection: Projection, condition: Projection | None) -> dict[int, pa.DataType]:
    """The leaves of an answer, and of the columns of its condition."""
    return {**projection.leaves, **({} if condition is None else condition.leaves)}


class _Likeness(NamedTuple):
    """What pieces that are read together share. files: the fields of each."""

    whole: bool
    checked: bool
    files: list[Runs]


class Joining:
    """Which fragments are read together. leaves: that are read of them, by field; of which `can_join` is true.

    parts: whether columns of large files are, besides small files.
    """

    def __init__(self, leaves: Mapping[int, pa.DataType], *, parts: bool) -> None:
        self._parts = parts
        self._widths = Widths(leaves)
        self._row_in_memory = self._widths.fixed + _CELL_NBYTES * self._widths.variable

    def groups(self, pieces: Iterable[Piece]) -> Iterator[Group]:
        """The pieces of a scan in their order: those that are `Neighbours` together, all others alone."""
        run: list[Piece] = []
        most, nbytes, rows = 0, 0, 0
        alike: _Likeness | None = None
        for fragment, spans in pieces:
            own, whole = self._nbytes(fragment, spans)
            # Where the files of fragments hold the same fields, their columns are of one kind.
            kind = None if own is None else _Likeness(whole, spans[0].check, [file.fields for file in fragment.files])
            most = most or (_FIRST if whole else _FIRST_OF_LARGE)
            full = len(run) == most or nbytes + (own or 0) > _MOST_NBYTES
            full = full or rows + fragment.rows > (ZONE_ROWS if whole else self._most_rows)
            if run and (full or kind != alike):
                most = min(2 * most, _MOST) if full else most
                yield from _settled(run, nbytes, alike)
                run, nbytes, rows = [], 0, 0
            if kind is None:
                yield Group([(fragment, spans)])
            else:
                run.append((fragment, spans))
                nbytes, rows, alike = nbytes + (own or 0), rows + fragment.rows, kind
        yield from _settled(run, nbytes, alike)

    def _nbytes(self, fragment: Fragment, spans: Sequence[Span]) -> tuple[int | None, bool]:
        """The bytes to read of a fragment that may be read with its neighbours, and whether its files are read whole.

        None for a fragment that is read alone.
        """
        span = spans[0]
        if (span.start, span.end) != (0, fragment.rows) or span.rows is not None:
            return None, False
        held = sum(file.nbytes for file in fragment.files)
        small = all(file.nbytes <= _SMALL_NBYTES and file.base is None for file in fragment.files)
        if small and fragment.rows <= ZONE_ROWS:
            return held, True
        nbytes = self._widths.nbytes(fragment)
        few = nbytes <= MOST_OF_ONE and _LEAST * fragment.rows <= self._most_rows
        return (nbytes, False) if self._parts and few else (None, False)

    @property
    def _most_rows(self) -> int:
        """Of columns of larger files, that are read together."""
        return _MOST_IN_MEMORY // max(1, self._row_in_memory)


@dataclass(frozen=True, slots=True)
class Group:
    """Pieces of a scan. nbytes: of `Neighbours`, that are read, about; None: a piece alone. whole: as `Neighbours`."""

    pieces: list[Piece]
    nbytes: int | None = None
    whole: bool = False


def _settled(run: list[Piece], nbytes: int, alike: _Likeness | None) -> Iterator[Group]:
    if alike is not None and len(run) >= (_LEAST_WHOLE if alike.whole else _LEAST):
        yield Group(run, nbytes, alike.whole)
    else:
        yield from (Group([piece]) for piece in run)


__all__ = ["Group", "Joining", "Neighbours", "Piece", "leaves_of"]
