"""How plug-ins read and write: the files of a segment are data files of the format (format_spec/file.md), so their
bytes are checked, encoded and found as those of a table. The only place of `lance_like.index` that meets a store.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import pyarrow as pa

from lance_like._lazy import cached
from lance_like.encodings.joining import joined
from lance_like.errors import Corrupt, InvalidInput, NotFound
from lance_like.file.carry import carried_type, present
from lance_like.file.columns import Column
from lance_like.file.reader import FileReader, open_file
from lance_like.file.writer import FileWriter
from lance_like.index.kept_end import END_NBYTES, KeptEnd
from lance_like.io.fetch import drive
from lance_like.io.memory import MemoryStore
from lance_like.io.observe import CountingStore
from lance_like.io.store import Store, missing
from lance_like.locks import lock_over_forks
from lance_like.table.indices import SegmentFile
from lance_like.table.layout import new_data_key
from lance_like.typing_ import Conversation, Int64s, T

_LOCK = lock_over_forks()
_HINT = "drop the index and make it again; no data is lost"


class SegmentWriter:
    """Writes the files of one segment. Nothing refers to them until they are committed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._files: list[SegmentFile] = []

    @property
    def files(self) -> tuple[SegmentFile, ...]:
        """What was written so far."""
        return tuple(self._files)

    def reader(self) -> SegmentReader:
        """What was written, opened for reading."""
        return SegmentReader(self._store, self.files)

    def write(
        self, name: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch], metadata: Mapping[str, str] | None = None
    ) -> None:
        """Write one file. Raises InvalidInput for a name that is taken."""
        if any(file.name == name for file in self._files):
            raise InvalidInput(f"the segment has a file {name!r} already", kind="index")
        writer = FileWriter(schema.with_metadata(metadata or None))
        key = new_data_key()
        with closing(writer.chunks(iter(batches))) as chunks:
            self._store.put(key, chunks)
        self._files.append(SegmentFile(name, key, writer.summary.nbytes, writer.summary.tail))


_COUNTING: ContextVar[CountingStore | None] = ContextVar("counting", default=None)


@contextmanager
def counting_segments(store: CountingStore) -> Iterator[None]:
    """Within a block, what this thread reads of open segments of the store behind another is counted by that one."""
    outer = _COUNTING.set(store)
    try:
        yield
    finally:
        _COUNTING.reset(outer)


def _reached(store: Store) -> Store:
    found = _COUNTING.get()
    return store if found is None or found.inner is not store else found


class SegmentReader:
    """Opens the files of one segment, each once."""

    def __init__(self, store: Store, files: Sequence[SegmentFile], *, verify: bool = True) -> None:
        self._store, self._verify = store, verify
        self._files = {file.name: file for file in files}
        self._open: dict[str, OpenFile] = {}

    @property
    def nbytes_cached(self) -> int:
        """What the open files keep of their metadata, by estimate."""
        return sum(file.nbytes_cached for file in list(self._open.values()))

    def file(self, name: str, columns: pa.Schema | None = None) -> OpenFile:
        """Open a file, once. Raises Corrupt when it is missing, or is another than was recorded.

        columns: some that it must have; their metadata does not count.
        """
        found = self._open.get(name)
        if found is None:
            file = self._files.get(name)
            if file is None:
                raise Corrupt(f"the segment has no file {name!r}", kind="index", where=self._store.uri)
            made = OpenFile(self._store, file, verify=self._verify)
            with _LOCK:
                found = self._open.setdefault(name, made)
        if columns is not None:
            found.check(columns)
        return found


class OpenFile:
    """One file of a segment, open; safe to use from several threads."""

    def __init__(self, store: Store, file: SegmentFile, *, verify: bool) -> None:
        self._store, self._key = store, file.key
        self._end = KeptEnd(file.nbytes)
        opening = open_file(file.key, file.nbytes, tail=file.tail, verify=verify, first_nbytes=END_NBYTES)
        self._file: FileReader = self._drive(opening)

    @property
    def rows(self) -> int:
        """Of the file."""
        return self._file.num_rows

    @property
    def schema(self) -> pa.Schema:
        """Of its columns."""
        return pa.schema([pa.field(name, of.type, of.nullable) for name, (_, of) in self._columns.items()])

    @property
    def nbytes_cached(self) -> int:
        """What it keeps of its metadata, by estimate."""
        return self._file.nbytes_cached + self._end.nbytes

    @property
    def metadata(self) -> Mapping[str, str]:
        """The texts that it was written with."""
        return self._metadata

    @cached
    def _metadata(self) -> dict[str, str]:
        return {key.decode(): value.decode() for key, value in self._drive(self._file.metadata()).items()}

    def columns(self, names: Sequence[str], start: int = 0, end: int | None = None) -> list[pa.Array]:
        """A run of rows of columns; no copy where a page is plain. Cost: one round once they are open."""
        [found] = self.spans(names, [(start, self.rows if end is None else end)])
        return found

    def spans(self, names: Sequence[str], spans: Sequence[tuple[int, int]]) -> list[list[pa.Array]]:
        """Runs of rows of columns, of each run the columns. Cost: one round for all once they are open."""
        numbers, fields = zip(*(self._column(name) for name in names), strict=True)
        arrays = iter(self._drive(self._file.read_spans(numbers, [field.type for field in fields], spans)))
        return [[self._read(_whole(next(arrays), field.type), field) for field in fields] for _ in spans]

    def take(self, names: Sequence[str], rows: Int64s) -> list[pa.Array]:
        """Some rows of columns, in the order asked. Cost: as `columns`."""
        numbers, fields = zip(*(self._column(name) for name in names), strict=True)
        arrays = self._drive(self._file.read_columns(numbers, [field.type for field in fields], rows))
        return [self._read(array, field) for array, field in zip(arrays, fields, strict=True)]

    def check(self, columns: pa.Schema) -> None:
        """Raise Corrupt unless it has columns of these names and types, with nulls or without."""
        for field in columns:
            _, found = self._column(field.name)
            if (found.type, found.nullable) != (field.type, field.nullable):
                raise self._corrupt(f"the column {field.name!r} of a file of an index is {found.type}, not {field}")

    def _column(self, name: str) -> tuple[int, Column]:
        """The number of a column, and what it is."""
        found = self._columns.get(name)
        if found is None:
            raise self._corrupt(f"a file of an index has no column {name!r}")
        return found

    @cached
    def _columns(self) -> dict[str, tuple[int, Column]]:
        """By name. Plug-ins write no structs: every column is at the top."""
        fields = self._drive(self._file.fields())
        return {field.name: (number, field) for number, field in enumerate(fields)}

    def _read(self, array: pa.Array, field: Column) -> pa.Array:
        """What was read of a column."""
        if array.null_count and not field.nullable:
            raise self._corrupt(f"the column {field.name!r} of a file of an index has {array.null_count:,} nulls")
        return present(array, field.type)

    def _corrupt(self, problem: str) -> Corrupt:
        return Corrupt(problem, kind="index", where=self._key, hint=_HINT)

    def _drive(self, conversation: Conversation[T]) -> T:
        try:
            return drive(_reached(self._store), self._key, self._end.answering(conversation))
        except NotFound as error:
            message = f"a file of an index that the manifest names is missing: {error.message}"
            raise missing(message, where=error.where, hint=_HINT) from error
        except Corrupt as error:
            raise Corrupt(error.message, kind=error.kind, where=error.where, hint=_HINT) from error


def _whole(parts: list[pa.Array], kind: pa.DataType) -> pa.Array:
    """The parts of a run as one array; a run of no rows has none."""
    return joined(parts) if parts else pa.nulls(0, carried_type(kind))


@dataclass(frozen=True)
class ArraySource:
    """Values in memory as a source of a segment."""

    values: pa.Array | pa.ChunkedArray

    @property
    def rows(self) -> int:
        """How many."""
        return len(self.values)

    @property
    def type(self) -> pa.DataType:
        """Of the values."""
        return self.values.type

    def batches(self) -> Iterator[pa.Array]:
        """The values, a chunk at a time."""
        yield from self.values.chunks if isinstance(self.values, pa.ChunkedArray) else [self.values]

    def take(self, ordinals: Int64s) -> pa.Array:
        """The values of some rows."""
        taken = self.values.take(pa.array(ordinals))
        return joined(taken.chunks) if isinstance(taken, pa.ChunkedArray) else taken


def in_memory() -> SegmentWriter:
    """A writer of a segment that lives as long as somebody holds it."""
    return SegmentWriter(MemoryStore())


__all__ = [
    "ArraySource",
    "OpenFile",
    "SegmentFile",
    "SegmentReader",
    "SegmentWriter",
    "counting_segments",
    "in_memory",
]
