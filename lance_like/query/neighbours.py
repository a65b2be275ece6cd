"""Small fragments that stand side by side, scanned as if they were one: their files are read whole, in one round.

A file of a few rows costs more to open than to read; many of them are opened and decoded together (file/several.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from lance_like._lazy import cached
from lance_like.encodings.joining import taken
from lance_like.encodings.places import DESCRIPTION
from lance_like.errors import Corrupt
from lance_like.file.carry import carried_type
from lance_like.file.cut import has_dictionary
from lance_like.file.layout import ZONE_ROWS
from lance_like.file.several import SeveralFiles, WholeFile
from lance_like.query.evaluate import select
from lance_like.query.expr import Expr
from lance_like.query.plan import Span
from lance_like.query.projection import VIRTUAL, Projection, as_batch
from lance_like.query.session import Session
from lance_like.table.fragment import DataFile, Fragment
from lance_like.typing_ import Int64s

# Files up to this size are read whole: as long a read as that of their ends, which hold what a file says of itself.
_SMALL_NBYTES = 16 << 10
# Fewer are read one by one: what is known of them stays, for the next scan.
_LEAST = 4
# What is read together: at first little, so that the first rows come soon and threads have work each.
_FIRST, _MOST = 16, 256
_MOST_NBYTES = 512 << 10


Piece: TypeAlias = tuple[Fragment, list[Span]]
"""A fragment and the spans of it that a scan reads."""


@dataclass(frozen=True)
class Neighbours:
    """Fragments whose files hold the same fields, all of whose rows are wanted that are live.

    filter: the columns of the condition; None: no row is asked.
    """

    session: Session
    fragments: Sequence[Fragment]
    projection: Projection
    filter: Projection | None
    condition: Expr | None

    @cached
    def rows(self) -> int:
        """Physical rows."""
        return sum(fragment.rows for fragment in self.fragments)

    @property
    def nbytes(self) -> int:
        """The bytes of the files."""
        return sum(file.nbytes for fragment in self.fragments for file in fragment.files)

    def count(self) -> int:
        """How many rows pass."""
        rows = self._passing()
        return self.rows if rows is None else len(rows)

    def batches(self, batch_rows: int) -> list[pa.RecordBatch]:
        """The rows that pass. Raises LanceLikeError where one by one the fragments may all be right."""
        rows = self._passing()
        count = self.rows if rows is None else len(rows)
        if count == 0:
            return []
        projection = self.projection
        leaves = self._read(projection, None if count == self.rows else rows)
        arrays = projection.assemble(leaves, lambda name: self._made(name, rows))
        return projection.batches(arrays, count, batch_rows)

    def _passing(self) -> Int64s | None:
        """The live rows that pass, counted over all fragments; None for all there are."""
        live = self._live()
        if self.condition is None or self.filter is None or (live is not None and len(live) == 0):
            return live
        # The condition is not asked about deleted rows, on which it may fail.
        leaves = self._read(self.filter, live)
        arrays = self.filter.assemble(leaves, lambda name: self._made(name, live))
        count = self.rows if live is None else len(live)
        chosen = select(self.condition, as_batch(arrays, self.filter.carried_schema, count))
        return chosen if live is None else live[chosen]

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

    def _read(self, projection: Projection, rows: Int64s | None) -> dict[int, pa.Array]:
        """The leaves of some rows; None: of all."""
        placement = projection.place(self.fragments[0])
        leaves = {field_id: pa.nulls(self.rows, carried_type(kind)) for field_id, kind in placement.missing.items()}
        for held in placement.files:
            leaves.update(zip(held.field_ids, self._files[held.file].read(held.columns, held.kinds), strict=True))
        if rows is None:
            return leaves
        order = pa.array(rows)
        return {field_id: taken(array, order) for field_id, array in leaves.items()}

    def _made(self, name: str, rows: Int64s | None) -> pa.Array:
        """A column that no file holds."""
        array = pa.concat_arrays([VIRTUAL[name](fragment, np.arange(fragment.rows)) for fragment in self.fragments])
        return array if rows is None else array.take(pa.array(rows))

    @cached
    def _files(self) -> list[SeveralFiles]:
        """The files of the fragments by their place there, read in one round. Raises Corrupt."""
        files = [file for fragment in self.fragments for file in fragment.files]
        data = self.session.store.read([file.key for file in files], limit=_SMALL_NBYTES)
        whole = [_whole(file, found) for file, found in zip(files, data, strict=True)]
        each = len(self.fragments[0].files)
        return [SeveralFiles(whole[place::each], verify=self.session.verify) for place in range(each)]


def _whole(file: DataFile, data: bytes | None) -> WholeFile:
    if data is None or len(data) != file.nbytes:
        raise Corrupt("a data file is missing, or has another size than recorded", kind="missing", where=file.key)
    return WholeFile(file.key, data, file.tail, file.rows, sum(count for _, count in file.fields))


def _is_small(fragment: Fragment) -> bool:
    """May it be read with its neighbours? Its rows are one zone: the bounds of its columns say what zones would."""
    return fragment.rows <= ZONE_ROWS and all(
        file.nbytes <= _SMALL_NBYTES and file.base is None for file in fragment.files
    )


def can_join(projection: Projection) -> bool:
    """Can its columns be joined? Each file has dictionaries of its own, and cells are described file by file."""
    kinds = projection.leaves.values()
    return bool(kinds) and not any(kind is DESCRIPTION or has_dictionary(carried_type(kind)) for kind in kinds)


def neighbouring(pieces: Iterable[Piece], projection: Projection) -> Iterator[list[Piece]]:
    """The pieces of a scan in their order: those that are `Neighbours` together, all others alone."""
    run: list[Piece] = []
    most, nbytes, rows, alike = _FIRST, 0, 0, None
    for fragment, spans in pieces:
        own = sum(file.nbytes for file in fragment.files)
        whole = _is_small(fragment) and (spans[0].start, spans[0].end) == (0, fragment.rows)
        whole = whole and spans[0].rows is None
        # Placements are equal where the files of fragments hold the same fields: then they are one object.
        kind = (id(projection.place(fragment)), spans[0].check) if whole else None
        full = len(run) == most or nbytes + own > _MOST_NBYTES or rows + fragment.rows > ZONE_ROWS
        if run and (full or kind != alike):
            most = min(2 * most, _MOST) if full else most
            yield from _settled(run)
            run, nbytes, rows = [], 0, 0
        if kind is None:
            yield [(fragment, spans)]
        else:
            run.append((fragment, spans))
            nbytes, rows, alike = nbytes + own, rows + fragment.rows, kind
    yield from _settled(run)


def _settled(run: list[Piece]) -> Iterator[list[Piece]]:
    if len(run) >= _LEAST:
        yield run
    else:
        yield from ([piece] for piece in run)


__all__ = ["Neighbours", "Piece", "can_join", "neighbouring"]
