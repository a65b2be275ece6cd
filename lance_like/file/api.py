"""Single files for users: read one, write one, or many below one place. The names are those of `lance.file`.

`from lance_like.file import LanceFileReader, LanceFileWriter`. No table is involved: no versions, no row ids,
no filters. Reads run here, one window of rows at a time; what is read and decoded is `file.reader`'s.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa

from lance_like.encodings.joining import joined
from lance_like.errors import InvalidInput, OutOfRange
from lance_like.file.anatomy import Anatomy
from lance_like.file.carry import carried_type, most_rows, present
from lance_like.file.columns import Column, join, unflatten
from lance_like.file.lookup import find_columns
from lance_like.file.metadata import LanceFileMetadata, LanceFileStatistics, metadata_of, statistics_of
from lance_like.file.place import locate
from lance_like.file.reader import FileReader, open_file
from lance_like.file.survey import survey_file
from lance_like.io.fetch import drive, drive_all
from lance_like.io.store import Store
from lance_like.typing_ import Conversation, Int64s

Verify = Literal["full", "off"]
Rows: TypeAlias = Sequence[int] | np.ndarray | pa.Array
Read: TypeAlias = Callable[[FileReader, int, pa.DataType], Conversation[list[pa.Array]]]

# Stored bytes of the rows that are read in one step, as far as whole batches allow.
_WINDOW_NBYTES = 64 << 20


class ReaderResults:
    """Rows on their way out of a file; can be consumed once."""

    def __init__(self, reader: pa.RecordBatchReader) -> None:
        self.reader = reader

    def to_batches(self) -> pa.RecordBatchReader:
        """The rows as a stream of batches."""
        return self.reader

    def to_table(self) -> pa.Table:
        """All rows in memory."""
        return self.reader.read_all()


class LanceFileReader:
    """One data file, open for reading; safe to use from several threads.

    path: a path or URI. columns: names of top-level columns, in the order wanted; None: all.
    verify: "off" skips the checksums of page bytes; metadata is always checked.
    Raises NotFound for a missing file or column, Corrupt or Unsupported for a file that cannot be read.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        storage_options: dict[str, str] | None = None,
        columns: Sequence[str] | None = None,
        *,
        verify: Verify = "full",
    ) -> None:
        self._open(*locate(path, storage_options=storage_options), columns, verify)

    @classmethod
    def in_store(
        cls, store: Store, key: str, columns: Sequence[str] | None = None, *, verify: Verify = "full"
    ) -> LanceFileReader:
        """Open a file of a store that is already open."""
        reader = cls.__new__(cls)
        reader._open(store, key, columns, verify)
        return reader

    def _open(self, store: Store, key: str, columns: Sequence[str] | None, verify: Verify) -> None:
        if verify not in ("full", "off"):
            raise InvalidInput(f"verify={verify!r}: expected 'full' or 'off'")
        self._store, self._key = store, key
        self._file = drive(store, key, open_file(key, store.size(key), verify=verify == "full"))
        found = drive(store, key, find_columns(self._file.tail, key, columns))
        fields = list(found.values())
        self._tree = _Tree(list(found), fields)
        metadata = drive(store, key, self._file.metadata())
        self._schema = pa.schema(unflatten(fields), metadata or None)

    @property
    def schema(self) -> pa.Schema:
        """The schema of the chosen columns, with the metadata of the file's schema."""
        return self._schema

    def num_rows(self) -> int:
        """The rows of the file."""
        return self._file.num_rows

    def read_all(self, *, batch_size: int = 1024, batch_readahead: int = 16) -> ReaderResults:
        """All rows. batch_size: rows of a batch but the last. batch_readahead: batches that are read in one step."""
        return self.read_range(0, self.num_rows(), batch_size=batch_size, batch_readahead=batch_readahead)

    def read_range(
        self, start: int, num_rows: int, *, batch_size: int = 1024, batch_readahead: int = 16
    ) -> ReaderResults:
        """A run of rows; the other arguments as for `read_all`. Raises OutOfRange."""
        end = start + num_rows
        if not 0 <= start <= end <= self.num_rows():
            raise OutOfRange(
                f"rows {start:,} to {end:,} are asked for; the file has {self.num_rows():,}", where=self._key
            )

        def read(low: int, high: int) -> Read:
            return lambda file, column, kind: file.read_span(column, kind, start + low, start + high)

        return self._results(num_rows, read, batch_size, batch_readahead)

    def take_rows(self, indices: Rows, *, batch_size: int = 1024, batch_readahead: int = 16) -> ReaderResults:
        """Some rows in the order asked, repeats allowed; the other arguments as for `read_all`. Raises OutOfRange."""
        rows = self._rows(indices)

        def read(low: int, high: int) -> Read:
            return lambda file, column, kind: _in_a_list(file.read_rows(column, kind, rows[low:high]))

        return self._results(len(rows), read, batch_size, batch_readahead)

    def metadata(self) -> LanceFileMetadata:
        """The schema, columns, pages and encodings of the whole file. Cost: the metadata of all columns."""
        return metadata_of(survey_file(Anatomy(self._store, self._key)))

    def file_statistics(self) -> LanceFileStatistics:
        """The pages and bytes of every column. Cost: as `metadata`."""
        return statistics_of(survey_file(Anatomy(self._store, self._key)))

    def _rows(self, indices: Rows) -> Int64s:
        values = np.asarray(indices)
        if values.size and (values.ndim != 1 or values.dtype.kind not in "iu"):
            raise InvalidInput(f"rows are {values.dtype} of {values.ndim} dimensions: expected a list of integers")
        rows = values.reshape(-1).astype(np.int64)
        outside = rows[(rows < 0) | (rows >= self.num_rows())]
        if len(outside):
            raise OutOfRange(f"row {outside[0]:,} is asked for; the file has {self.num_rows():,}", where=self._key)
        return rows

    def _results(self, count: int, read: Callable[[int, int], Read], batch_size: int, readahead: int) -> ReaderResults:
        if batch_size < 1 or readahead < 0:
            raise InvalidInput(f"batch_size={batch_size}, batch_readahead={readahead}: expected at least 1 and 0")
        nbytes_a_row = max(1, self._file.nbytes // max(1, self.num_rows()))
        window = max(1, min(readahead, _WINDOW_NBYTES // (nbytes_a_row * batch_size))) * batch_size
        window = min(window, most_rows(pa.struct(list(self._schema))) or window)
        batches = self._batches(count, read, window, batch_size)
        return ReaderResults(pa.RecordBatchReader.from_batches(self._schema, batches))

    def _batches(
        self, count: int, read: Callable[[int, int], Read], window: int, batch_size: int
    ) -> Iterator[pa.RecordBatch]:
        for low in range(0, count, window):
            high = min(count, low + window)
            columns = self._tree.leaves
            reads = [(self._key, read(low, high)(self._file, i, kind)) for i, kind in columns.items()]
            found = dict(zip(columns, map(joined, drive_all(self._store, reads)), strict=True))
            batch = self._tree.batch(self._schema, found, high - low)
            yield from (batch.slice(start, batch_size) for start in range(0, high - low, batch_size))


class _Tree:
    """The chosen columns of a file, parents before their struct children.

    numbers: of the columns in the file. leaves: number -> type, of every column to read.
    """

    def __init__(self, numbers: Sequence[int], columns: Sequence[Column]) -> None:
        self._numbers = numbers
        self._children: dict[int, list[int]] = {}
        for place, column in enumerate(columns):
            self._children.setdefault(column.parent, []).append(place)
        self._roots = self._children.get(-1, [])
        self.leaves = {number: column.type for number, column in zip(numbers, columns, strict=True)}

    def batch(self, schema: pa.Schema, leaves: dict[int, pa.Array], rows: int) -> pa.RecordBatch:
        """The arrays of the leaves as a batch; rows: for a file without columns."""
        if not self._roots:
            return pa.RecordBatch.from_struct_array(pa.Array.from_buffers(pa.struct([]), rows, [None]))
        kinds = schema.types
        arrays = [
            present(self._assemble(root, kind, leaves), kind) for root, kind in zip(self._roots, kinds, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def _assemble(self, place: int, kind: pa.DataType, leaves: dict[int, pa.Array]) -> pa.Array:
        own = leaves[self._numbers[place]]
        if not pa.types.is_struct(kind):
            return own
        places = self._children.get(place, [])
        children = [self._assemble(child, field.type, leaves) for child, field in zip(places, kind, strict=True)]
        return join(carried_type(kind), own, children)


def _in_a_list(read: Conversation[Any]) -> Conversation[list[Any]]:
    return [(yield from read)]
