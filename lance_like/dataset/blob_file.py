"""Cells as files: what `LanceDataset.take_blobs` gives.

A file knows where its cell lies and reads the byte ranges it is asked for, no more than the blocks around them, each
checked when first touched. Cells that do not lie plain in their page (small compressed ones) are held in memory.
"""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from lance_like.dataset.blob import REFERENCE
from lance_like.encodings.physical import is_variable, storage_of
from lance_like.errors import Corrupt, InvalidInput, OutOfRange
from lance_like.file.carry import carried_type
from lance_like.io.external import External
from lance_like.query.projection import project
from lance_like.query.session import Session
from lance_like.query.take import Placed, take_placed
from lance_like.table.fragment import DataFile
from lance_like.table.manifest import Manifest
from lance_like.table.schema import Field, Schema, join_path

_MAX_READ = 1 << 62


class Contents(Protocol):
    """The bytes of one cell. Pickles."""

    @property
    def nbytes(self) -> int:
        """How many there are."""
        ...

    def read(self, start: int, end: int) -> bytes | memoryview:
        """Bytes start … end, 0 <= start <= end <= nbytes."""
        ...


@dataclass(frozen=True, slots=True)
class _Held:
    """A cell in memory."""

    data: pa.Buffer

    @property
    def nbytes(self) -> int:
        return self.data.size

    def read(self, start: int, end: int) -> memoryview:
        # Of the format of other bytes: a view of another is not copied into them.
        return memoryview(self.data).cast("B")[start:end]


@dataclass(frozen=True)
class _Stored:
    """A cell that lies plain in a data file. row: of the file. position: its first byte there."""

    session: Session
    file: DataFile
    column: int
    kind: pa.DataType
    row: int
    position: int
    nbytes: int

    def read(self, start: int, end: int) -> memoryview:
        return _read_stored([(self, start, end)])[0]

    def __reduce__(self) -> tuple[Any, ...]:
        session, file = self.session, replace(self.file, stats=())
        place = (self.column, self.kind, self.row, self.position, self.nbytes)
        return _reopened, (pickle.dumps(session.store), session.verify, file, *place)


def _read_stored(ranges: Sequence[tuple[_Stored, int, int]]) -> list[memoryview]:
    """Ranges of cells of one table, side by side."""
    session = ranges[0][0].session
    readers = session.open([cell.file for cell, _, _ in ranges])
    reads = [
        (cell.file.key, reader.read_bytes(cell.column, cell.kind, cell.row, cell.position + start, cell.position + end))
        for reader, (cell, start, end) in zip(readers, ranges, strict=True)
    ]
    return [memoryview(found) for found in session.drive(reads)]


def _reopened(store: bytes, verify: bool, *place: Any) -> _Stored:
    return _Stored(_session(store, verify, os.getpid()), *place)


@lru_cache(maxsize=16)
def _session(store: bytes, verify: bool, process: int) -> Session:
    """One session for the blobs of a table that were unpickled in a process. store: pickled, by which it is known."""
    return Session(pickle.loads(store), verify=verify)


class BlobFile(io.RawIOBase):
    """One cell as a read-only file.

    Reads go to the store as they come: wrap it in io.BufferedReader for many small ones. Pickles with its position;
    the copy opens the table where it is unpickled.
    """

    def __init__(self, contents: Contents, position: int = 0) -> None:
        super().__init__()
        self._contents, self._position = contents, position

    @property
    def uri(self) -> str | None:
        """Where a reference leads; None for bytes in the table."""
        return self._contents.uri if isinstance(self._contents, External) else None

    def size(self) -> int:
        """The bytes of the cell."""
        self._check_open()
        return self._contents.nbytes

    def __len__(self) -> int:
        return self.size()

    def __bool__(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._check_open()
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position}.get(whence)
        if origin is None and whence != io.SEEK_END:
            raise InvalidInput(f"whence={whence}: expected 0, 1 or 2")
        position = offset + (self._contents.nbytes if origin is None else origin)
        if position < 0:
            raise InvalidInput(f"a seek to {position}: a file begins at 0")
        self._position = position
        return position

    def read(self, size: int | None = -1, /) -> bytes:
        """At most size bytes, all that are left when it is None or negative; b"" at the end."""
        self._check_open()
        data = self._next(_MAX_READ if size is None or size < 0 else size)
        return data if isinstance(data, bytes) else bytes(data)

    def readall(self) -> bytes:
        """All bytes that are left."""
        return self.read()

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer from here; returns how many bytes it got, 0 at the end."""
        self._check_open()
        view = memoryview(buffer).cast("B")
        data = self._next(len(view))
        view[: len(data)] = data
        return len(data)

    def read1(self, size: int = -1, /) -> bytes:
        """As `read` with one request; at most io.DEFAULT_BUFFER_SIZE bytes when size is negative."""
        return self.read(io.DEFAULT_BUFFER_SIZE if size < 0 else size)

    def readinto1(self, buffer: Any, /) -> int:
        """As `readinto`, which makes one request too."""
        return self.readinto(buffer)

    def read_range(self, offset: int, length: int) -> bytes:
        """Bytes of the cell from offset; the position stays. Raises OutOfRange past the end."""
        return self.read_ranges([(offset, length)])[0]

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Bytes of the cell from each offset, so many; the position stays. Raises OutOfRange past the end.

        ranges: pairs of an offset and a length. Cost: one round for all of them.
        """
        return [bytes(found) for found in read_all([(self, offset, length) for offset, length in ranges])]

    def __repr__(self) -> str:
        return "<BlobFile closed>" if self.closed else f"<BlobFile size={self.size()}>"

    def __reduce__(self) -> tuple[Any, ...]:
        self._check_open()
        return BlobFile, (self._contents, self._position)

    def _checked(self, offset: int, length: int) -> Contents:
        """The contents, of which a range is asked."""
        self._check_open()
        if not 0 <= offset <= offset + length <= self._contents.nbytes:
            raise OutOfRange(
                f"bytes {offset:,} to {offset + length:,} are asked of a blob of {self._contents.nbytes:,}",
                kind="range",
            )
        return self._contents

    def _next(self, nbytes: int) -> bytes | memoryview:
        start = self._position
        end = min(start + nbytes, self._contents.nbytes)
        if end <= start:
            return b""
        data = self._contents.read(start, end)
        self._position = end
        return data

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("this blob file is closed")  # as every file of Python


def read_all(asked: Sequence[tuple[BlobFile, int, int]]) -> list[bytes | memoryview]:
    """Ranges of files of one table, (file, offset, length), whatever their positions, in order.

    Raises OutOfRange. Cost: one round for those that lie plain in data files, one for each reference.
    """
    ranges = [(file._checked(offset, length), offset, offset + length) for file, offset, length in asked]
    stored = [(cell, start, end) for cell, start, end in ranges if isinstance(cell, _Stored)]
    found = iter(_read_stored(stored) if stored else ())
    return [next(found) if isinstance(cell, _Stored) else cell.read(start, end) for cell, start, end in ranges]


def open_blobs(session: Session, manifest: Manifest, column: str, placed: Placed) -> list[BlobFile | None]:
    """The cells of a column as files.

    Raises NotFound for an unknown column, InvalidInput for one that has no binary cells or texts.
    """
    schema = manifest.schema
    field = schema.find(column)
    data = _data_field(schema, field)
    fragments, index, rows = placed.fragments, placed.index, placed.offsets
    described = take_placed(session, project(schema.describing(lambda field: field.id == data.id), [column]), placed)
    cells = described.column(0).combine_chunks()
    place = cells if data is field else cells.field("data")
    positions, lengths = place.field("position"), place.field("size")
    files: list[BlobFile | None] = [None] * len(cells)
    # 1. Cells that do not lie plain: read and decoded now, they are small.
    whole = np.flatnonzero(_is_valid(lengths) & ~_is_valid(positions))
    if len(whole):
        only_data = project(schema, [join_path(schema.path(data.id))])
        taken = take_placed(session, only_data, Placed(fragments, index[whole], rows[whole])).column(0)
        for row, cell in zip(whole.tolist(), taken, strict=True):
            files[row] = BlobFile(_Held(cell.as_buffer()))
    # 2. Cells that do: found again by their place in the file.
    starts, sizes = positions.fill_null(0).to_numpy(), lengths.fill_null(0).to_numpy()
    located = {i: fragments[i].locate(data.id) for i in np.unique(index).tolist()}
    for row in np.flatnonzero(_is_valid(positions)).tolist():
        found = located[int(index[row])]
        assert found is not None  # a field in no file reads as null
        file, number = found
        start, size = int(starts[row]), int(sizes[row])
        files[row] = BlobFile(_Stored(session, file, number, data.type, int(rows[row]), start, size))
    # 3. References.
    if data is not field:
        for row in np.flatnonzero(_is_valid(cells.field("uri"))).tolist():
            files[row] = BlobFile(_external(column, cells[row].as_py()))
    return files


def _external(column: str, cell: dict[str, Any]) -> External:
    """The contents of a reference. Raises Corrupt for one that no writer may make."""
    uri, position, size = cell["uri"], cell["position"], cell["size"]
    impossible = (position is None) != (size is None) or (position or 0) + (size or 0) >= 1 << 63
    if cell["data"] is not None or impossible:
        problem = "a blob has both bytes and a URI, or an impossible range"
        raise Corrupt(problem, kind="uri", where=f"column {column!r}, {uri!r}")
    try:
        return External(uri, position, size)
    except InvalidInput as error:
        raise Corrupt(error.message, kind="uri", where=f"column {column!r}") from error


def _is_valid(array: pa.Array) -> np.ndarray:
    return array.is_valid().to_numpy(zero_copy_only=False)


def _data_field(schema: Schema, field: Field) -> Field:
    """The field that holds the bytes of a column."""
    if is_variable(storage_of(carried_type(field.type))):
        return field
    if field.is_struct:
        children = {child.name: child for child in schema.children(field.id)}
        if set(children) == set(REFERENCE.names) and is_variable(children["data"].type):
            return children["data"]
    raise InvalidInput(
        f"the column {field.name!r} of type {schema.arrow_field(field.id).type} is not a blob column: it has no cells "
        "of bytes",
        kind="type",
    )


__all__ = ["BlobFile", "open_blobs", "read_all"]
