"""What a compaction writes: pages of old files that move as they are, and rows that are read and encoded anew.

Decided for each field of each fragment, a struct with all that is in it. A field moves when all rows of the fragment
are live, one file holds it, and its pages are worth to be pages of the new file. Rows keep their order in every column.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain, groupby
from typing import Literal

import pyarrow as pa

from lance_like.encodings.choice import asked_of
from lance_like.encodings.physical import flat_width
from lance_like.errors import Unsupported
from lance_like.file.columns import BARE_STRUCT
from lance_like.file.moved_zones import moved_extents
from lance_like.file.reader import FileReader
from lance_like.file.stats import counted_type
from lance_like.file.stored import MovedPages, Piece, StoredColumn, read_pieces
from lance_like.file.types import check_stored
from lance_like.file.writer import Part, SomeColumns
from lance_like.query.ahead import Job, default_threads, in_order
from lance_like.query.projection import Projection, project
from lance_like.query.scan import Scan, run_scan
from lance_like.query.session import Session
from lance_like.table.fields import Field
from lance_like.table.fragment import DataFile, Fragment
from lance_like.table.manifest import Manifest
from lance_like.typing_ import Bytes

Mode = Literal["reencode", "try_binary_copy", "force_binary_copy"]

# Smaller pages, on the average of a column in a file, are encoded anew, many as one (format_spec/decisions/0013).
# Numbers: encoding them takes little longer than moving them, and full pages are scanned three times as fast.
_NUMBERS_NBYTES = 2 << 20
# Others: that many rows, or that many stored bytes.
_PAGE_ROWS, _PAGE_NBYTES = 32768, 256 << 10
# The dictionaries that moved pages bring into a column: they are read whole when it is opened.
_SHARED_NBYTES = 1 << 20
# Fragments whose files are opened, and whose pages are planned, side by side.
_TOGETHER = 64
# Bytes that are read and checked in one go, and those that wait to be written.
_JOB_NBYTES, _AHEAD_NBYTES = 8 << 20, 64 << 20


@dataclass(frozen=True, slots=True)
class _Moved:
    """A column of a fragment that moves. number: in the new file. key, reader: of the file that holds it."""

    number: int
    stored: StoredColumn
    key: str
    reader: FileReader


@dataclass(frozen=True, slots=True)
class _Source:
    """A fragment. tops: positions of the top fields that move; columns: theirs."""

    fragment: Fragment
    tops: tuple[int, ...]
    columns: tuple[_Moved, ...]


class Moving:
    """The parts of the file that takes the place of a group of fragments.

    mode: "reencode" moves no page, "try_binary_copy" those that it pays for, "force_binary_copy" all.
    batch_rows, threads: of the scans; None: by size, and as many as cores.
    """

    def __init__(
        self,
        session: Session,
        manifest: Manifest,
        *,
        mode: Mode,
        batch_rows: int | None = None,
        threads: int | None = None,
    ) -> None:
        self._session, self._manifest, self._mode = session, manifest, mode
        self._batch_rows, self._threads = batch_rows, threads
        self._projection = project(manifest.schema)
        self._numbers = {field.id: number for number, field in enumerate(manifest.schema.fields)}
        # Of each top field: itself and all below it, depth first.
        below = (manifest.schema.subtree(field.id) for field in manifest.schema.children())
        self._tops = [[manifest.schema.field(field_id) for field_id in ids] for ids in below]
        self._widths = [[_width(field.type) for field in fields] for fields in self._tops]
        # What each column of the new file has got of shared blobs.
        self._shared_nbytes = [0] * len(self._numbers)

    @property
    def schema(self) -> pa.Schema:
        """Of the new file: the whole table."""
        return self._projection.schema

    def parts(self, group: Sequence[Fragment]) -> Iterator[Part]:
        """The live rows of fragments, in order. Raises Unsupported for pages that must move and cannot."""
        first_row = 0
        starts = range(0, len(group), _TOGETHER)
        sources = chain.from_iterable(self._sources(group[start : start + _TOGETHER]) for start in starts)
        for tops, run in groupby(sources, key=lambda source: source.tops):
            some = list(run)
            if tops:
                yield from self._moved(some, first_row)
            yield from self._scanned(tops, [source.fragment for source in some])
            first_row += sum(source.fragment.live_rows for source in some)

    # What moves

    def _sources(self, fragments: Sequence[Fragment]) -> Iterator[_Source]:
        """What moves of fragments. Cost: 3 rounds for all together, for those that are looked into."""
        wanted: list[tuple[Fragment, DataFile, list[tuple[int, pa.DataType, int]]]] = []
        for fragment in fragments:
            looked_at = self._looked_at(fragment)
            for held in self._projection.place(fragment).files if looked_at else ():
                columns = zip(held.columns, held.kinds, held.field_ids, strict=True)
                chosen = [column for column in columns if column[2] in looked_at]
                if chosen:
                    wanted.append((fragment, fragment.files[held.file], chosen))
        readers = self._session.open([file for _, file, _ in wanted])
        reads = [
            (file.key, reader.stored([number for number, *_ in chosen]))
            for reader, (_, file, chosen) in zip(readers, wanted, strict=True)
        ]
        found: dict[int, dict[int, _Moved]] = {fragment.id: {} for fragment in fragments}
        for (fragment, file, chosen), reader, columns in zip(wanted, readers, self._session.drive(reads), strict=True):
            for (_, kind, field_id), stored in zip(chosen, columns, strict=True):
                check_stored(stored.column.type, kind, stored.where)
                found[fragment.id][field_id] = _Moved(self._numbers[field_id], stored, file.key, reader)
        for fragment in fragments:
            yield self._source(fragment, found[fragment.id])

    def _looked_at(self, fragment: Fragment) -> set[int]:
        """The ids of fields of which only their pages tell whether they move: those that are not too small anyway."""
        if self._mode == "reencode":
            return set()
        force = self._mode == "force_binary_copy"
        if fragment.deletions is not None:
            if force:
                raise _refused(f"rows of fragment {fragment.id} are deleted")
            return set()
        nbytes = max(file.nbytes for file in fragment.files)
        tops = (
            fields
            for fields, widths in zip(self._tops, self._widths, strict=True)
            if force or any(_is_large(fragment.rows, nbytes, width) for width in widths)
        )
        return {field.id for fields in tops for field in fields}

    def _source(self, fragment: Fragment, held: dict[int, _Moved]) -> _Source:
        tops: list[int] = []
        columns: list[_Moved] = []
        for position, fields in enumerate(self._tops):
            found = [held[field.id] for field in fields if field.id in held]
            obstacle = self._obstacle(fields, found) if found else None
            if obstacle is not None and self._mode == "force_binary_copy":
                raise _refused(f"the field {fields[0].name!r} of fragment {fragment.id}: {obstacle}")
            if found and obstacle is None:
                tops.append(position)
                columns += found
                for column in found:
                    self._shared_nbytes[column.number] += len(column.stored.shared)
        return _Source(fragment, tuple(tops), tuple(columns))

    def _obstacle(self, fields: Sequence[Field], found: Sequence[_Moved]) -> str | None:
        """Why columns do not move, None if they do. fields: a top field and all below it; found: what files hold."""
        if len(found) < len(fields) or len({column.key for column in found}) > 1:
            # A file holds nulls below a null struct; of children that lie elsewhere only reading makes that sure.
            return "its columns are not all in one file"
        if not all(column.stored.has_usual_zones for column in found):
            return "its statistics have another form"
        if self._mode == "force_binary_copy":
            return None
        if any(
            asked_of(field.metadata) != asked_of(column.stored.column.metadata)
            for field, column in zip(fields, found, strict=True)
        ):
            return "another encoding is asked for"
        if not _are_worth([column.stored for column in found]):
            return "its pages are small"
        shared = max(self._shared_nbytes[column.number] + len(column.stored.shared) for column in found)
        return "its dictionaries are many" if shared > _SHARED_NBYTES else None

    # The parts

    def _moved(self, sources: Sequence[_Source], first_row: int) -> Iterator[Part]:
        """What moves of fragments whose rows begin at a row of the new file."""
        jobs = in_order(
            _jobs(self._session, sources),
            threads=self._threads or default_threads(),
            budget_nbytes=_AHEAD_NBYTES,
        )
        with closing(jobs) as read:
            chunks = chain.from_iterable(read)
            for source in sources:
                extents = self._session.drive(
                    [(moved.key, moved_extents(moved.reader, moved.stored, first_row)) for moved in source.columns]
                )
                for moved, some in zip(source.columns, extents, strict=True):
                    yield MovedPages(moved.number, moved.stored, some, chunks)
                first_row += source.fragment.rows

    def _scanned(self, tops: Sequence[int], fragments: Sequence[Fragment]) -> Iterator[Part]:
        """The rows of all other fields."""
        rest = [position for position in range(len(self._tops)) if position not in {*tops}]
        if not rest:
            return
        projection = self._projection
        if tops:
            projection = Projection(projection.table, tuple(projection.outputs[position] for position in rest))
        numbers = [self._numbers[field.id] for position in rest for field in self._tops[position]]
        scan = Scan(projection, fragments=fragments, batch_rows=self._batch_rows, threads=self._threads)
        for batch in run_scan(self._session, self._manifest, scan):
            yield SomeColumns(numbers, batch)


def _are_worth(columns: Sequence[StoredColumn]) -> bool:
    """Are the pages of columns, of which each moves if all do, large enough to be pages of a larger file?"""
    worth = [column for column in columns if _is_worth(column)]
    return bool(worth) and 2 * sum(column.nbytes for column in worth) >= sum(column.nbytes for column in columns)


def _is_worth(stored: StoredColumn) -> bool:
    pages = len(stored.entries)
    return _is_large(stored.num_rows / pages, stored.nbytes / pages, _width(stored.column.type))


def _is_large(rows: float, nbytes: float, width: int | None) -> bool:
    """Is a page of some rows and stored bytes large enough? width: of a value; None where they differ."""
    if width is not None:
        return rows * width >= _NUMBERS_NBYTES
    return rows >= _PAGE_ROWS or nbytes >= _PAGE_NBYTES


def _width(kind: pa.DataType) -> int | None:
    """The bytes of a value of a type of one width; a bit, also one that says that a struct is null, counts as one."""
    kind = counted_type(kind)
    return 1 if pa.types.is_boolean(kind) or kind.equals(BARE_STRUCT) else flat_width(kind)


def _refused(problem: str) -> Unsupported:
    return Unsupported(
        f"pages cannot be copied as they are: {problem}", kind="binary-copy", hint="use 'try_binary_copy'"
    )


def _jobs(session: Session, sources: Sequence[_Source]) -> Iterator[Job[list[Bytes]]]:
    """Reads of the bytes of all pages, some megabytes each, in the order in which they are written."""
    columns = (moved for source in sources for moved in source.columns)
    pieces: list[tuple[str, Piece]] = []
    nbytes = 0
    for key, piece in ((moved.key, piece) for moved in columns for piece in moved.stored.pieces()):
        pieces.append((key, piece))
        nbytes += piece.end - piece.start
        if nbytes >= _JOB_NBYTES:
            yield Job(partial(_read, session, pieces), nbytes)
            pieces, nbytes = [], 0
    if pieces:
        yield Job(partial(_read, session, pieces), nbytes)


def _read(session: Session, pieces: Sequence[tuple[str, Piece]]) -> list[Bytes]:
    """The bytes of pages, checked. pieces: with the keys of their files, those of one file side by side."""
    files = groupby(pieces, key=lambda piece: piece[0])
    reads = [(key, read_pieces([piece for _, piece in some])) for key, some in files]
    return list(chain.from_iterable(session.drive(reads)))


__all__ = ["Mode", "Moving"]
