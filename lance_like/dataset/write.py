"""Writing rows: streams cut into files, files into fragments, one commit."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from numbers import Integral
from typing import Literal, TypeAlias

import numpy as np
import pyarrow as pa

from lance_like.dataset.blob import resolve, source_nbytes
from lance_like.dataset.fragment_metadata import FragmentMetadata
from lance_like.dataset.inputs import Data, ExternalBlobs, Stream, as_stream, check_cells, conform, schema_of_new
from lance_like.dataset.progress import FragmentWriteProgress, Progress, WriteProgress
from lance_like.errors import AlreadyExists, InvalidInput
from lance_like.file.ordered import OrderedWork
from lance_like.file.writer import FileWriter, Part
from lance_like.io.store import Store
from lance_like.table.actions import Append, Create, NewFile, NewFragment, Overwrite
from lance_like.table.commit import commit
from lance_like.table.history import newest_held, newest_if_any
from lance_like.table.layout import new_data_key
from lance_like.table.lease import Lease, hold
from lance_like.table.manifest import Manifest
from lance_like.typing_ import Bytes, Int64s

WriteFile: TypeAlias = Callable[[FileWriter, Iterator[Part]], NewFile]
"""What writes one data file under a fresh name."""

Mode = Literal["create", "append", "overwrite"]

MAX_ROWS_PER_FILE = 1 << 24
MAX_BYTES_PER_FILE = 16 << 30
# Larger input batches are cut, so that the limits of a file and the pending rows of its writer hold.
_PIECE_NBYTES = 64 << 20
# Files up to this size are put side by side, so many of them, and up to so many bytes that wait.
_SMALL_FILE_NBYTES, _PUT_THREADS, _PUT_AHEAD_NBYTES = 1 << 20, 4, 16 << 20
# A store that takes less does not wait for a disk or a network: to put files there side by side gains nothing.
_SLOW_PUT_S = 0.001


@dataclass(frozen=True, slots=True)
class FileLimits:
    """When a data file is full: rows exactly, bytes about."""

    rows: int = MAX_ROWS_PER_FILE
    nbytes: int = MAX_BYTES_PER_FILE

    def __post_init__(self) -> None:
        if not all(isinstance(limit, Integral) and limit >= 1 for limit in (self.rows, self.nbytes)):
            raise InvalidInput(f"max_rows_per_file={self.rows}, max_bytes_per_file={self.nbytes}: expected 1 or more")


def write_table(
    data: Data,
    store: Store,
    *,
    schema: pa.Schema | None,
    mode: Mode,
    limits: FileLimits,
    progress: Progress | None,
    message: str | None,
    properties: Mapping[str, str] | None,
    config: Mapping[str, str],
    known: Manifest | None = None,
    external_blobs: ExternalBlobs = "reference",
) -> Manifest:
    """Write data as one new version; see `lance_like.write_dataset`. config: of a new table.

    known: a version of the table that is meant, if there is one.
    """
    if mode not in ("create", "append", "overwrite"):
        raise InvalidInput(f"mode={mode!r}: expected 'create', 'append' or 'overwrite'")
    version = newest_if_any(store)
    if version is not None and mode == "create":
        raise AlreadyExists(
            f"a dataset already exists at {store.uri} (version {version})",
            kind="dataset",
            hint="choose mode='append' or mode='overwrite', or another place",
        )
    if version is None or mode == "overwrite":
        schema = schema_of_new(data, schema)
    stream = as_stream(data, schema, external_blobs)
    with nullcontext((None, None)) if version is None else newest_held(store, version, known=known) as (base, lease):
        return write_version(
            store,
            base,
            stream,
            mode=mode,
            limits=limits,
            progress=progress,
            message=message,
            properties=properties,
            config=config,
            lease=lease,
        )


def write_version(
    store: Store,
    base: Manifest | None,
    stream: Stream,
    *,
    mode: Mode,
    limits: FileLimits = FileLimits(),
    progress: Progress | None = None,
    message: str | None = None,
    properties: Mapping[str, str] | None = None,
    config: Mapping[str, str] | None = None,
    lease: Lease | None = None,
) -> Manifest:
    """Write a stream as the next version of a table.

    base: what it follows, None for a new table. config: of a new table.
    lease: keeps base, and what is written; None: it holds one of its own.
    """
    if base is not None and mode == "append":
        stream = conform(stream, base.schema.to_arrow())
    with nullcontext(lease) if lease or base is None else hold(store, base.version) as held:
        fragments = write_fragments(store, stream, limits=limits, progress=progress)
        change = _change(base, mode, stream.schema, fragments, config or {})
        return commit(store, base, change, message=message, properties=properties, lease=held)


def _change(
    base: Manifest | None,
    mode: Mode,
    schema: pa.Schema,
    fragments: tuple[NewFragment, ...],
    config: Mapping[str, str],
) -> Create | Append | Overwrite:
    if base is None:
        return Create(schema, fragments, config=config)
    return (Append if mode == "append" else Overwrite)(schema, fragments)


def write_fragments(
    store: Store, stream: Stream, *, limits: FileLimits, progress: Progress | None = None
) -> tuple[NewFragment, ...]:
    """Write a stream as data files, one a fragment. Nothing refers to them until they are committed."""
    batches = _Peekable(_pieces(stream.batches))
    watcher, report = (progress, None) if isinstance(progress, FragmentWriteProgress) else (None, progress)
    # Made before any byte is written: it refuses types that cannot be stored.
    unused: FileWriter | None = FileWriter(stream.schema, resolve=resolve)
    fragments: list[NewFragment] = []
    rows = nbytes = 0
    while batches.more():
        if not stream.schema.names:
            raise InvalidInput("rows without any column cannot be stored", kind="columns")
        writer, unused = unused or FileWriter(stream.schema, resolve=resolve), None

        def batch_done(writer: FileWriter = writer, rows: int = rows, nbytes: int = nbytes) -> None:
            if report is not None:
                report(WriteProgress(rows + writer.rows, nbytes + writer.nbytes, len(fragments)))

        if watcher is not None:
            watcher.begin(FragmentMetadata(len(fragments), [], 0))
        file = write_file(store, writer, batches.until_full(writer, limits, batch_done))
        made = NewFragment((file,))
        if watcher is not None:
            watcher.complete(replace(FragmentMetadata.of_new(made, range(file.columns)), id=len(fragments)))
        fragments.append(made)
        rows, nbytes = rows + file.rows, nbytes + file.nbytes
    if report is not None:
        report(WriteProgress(rows, nbytes, len(fragments)))
    return tuple(fragments)


def write_file(store: Store, writer: FileWriter, parts: Iterator[Part]) -> NewFile:
    """Write one data file under a fresh name."""
    key = new_data_key()
    with closing(writer.chunks(parts)) as chunks:
        store.put(key, chunks)
    return _new_file(key, writer)


def _new_file(key: str, writer: FileWriter) -> NewFile:
    summary = writer.summary
    return NewFile(key, summary.nbytes, summary.tail, summary.rows, summary.columns, summary.stats)


@contextmanager
def files_ahead(store: Store) -> Iterator[WriteFile]:
    """What writes data files as `write_file` does, for a block at whose end all of them are there.

    Small ones are put side by side once the store has made one wait: a disk takes about as long to keep several as one.
    """
    slow = False
    work: OrderedWork[int] = OrderedWork(threads=_PUT_THREADS, budget_nbytes=_PUT_AHEAD_NBYTES)

    def put(key: str, held: Sequence[bytes | Bytes]) -> int:
        nonlocal slow
        start = time.perf_counter()
        nbytes = store.put(key, held)
        slow = slow or time.perf_counter() - start > _SLOW_PUT_S
        return nbytes

    def write(writer: FileWriter, parts: Iterator[Part]) -> NewFile:
        key = new_data_key()
        with closing(writer.chunks(parts)) as chunks:
            held: list[bytes | Bytes] = []
            nbytes = 0
            for chunk in chunks:
                held.append(chunk)
                nbytes += len(chunk)
                if nbytes > _SMALL_FILE_NBYTES:
                    store.put(key, chain(held, chunks))
                    break
            else:
                work.submit(partial(put, key, held), nbytes, inline=not slow)
                deque(work.ready(), 0)
        return _new_file(key, writer)

    try:
        yield write
        deque(work.rest(), 0)
    finally:
        work.close()


def _pieces(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        check_cells(batch)
        apart = source_nbytes(batch)
        if apart is not None:
            yield from _cut(batch, np.cumsum(apart + batch.nbytes // max(1, len(batch))))
        else:
            step = max(1, len(batch) * _PIECE_NBYTES // max(_PIECE_NBYTES, batch.nbytes))
            yield from (batch.slice(start, step) for start in range(0, len(batch), step))


def _cut(batch: pa.RecordBatch, ends: Int64s) -> Iterator[pa.RecordBatch]:
    """Cut a batch by bytes. ends: int64[rows], how many its rows up to each one have."""
    rows, start, passed = len(batch), 0, 0
    while start < rows:
        end = max(start + 1, int(np.searchsorted(ends, passed + _PIECE_NBYTES, "right")))
        yield batch.slice(start, end - start)
        start, passed = end, int(ends[min(end, rows) - 1])


class _Peekable:
    """Batches that can be looked at before they are taken, and put back in part."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._held: pa.RecordBatch | None = None

    def more(self) -> bool:
        if self._held is None:
            self._held = next(self._batches, None)
        return self._held is not None

    def until_full(
        self, writer: FileWriter, limits: FileLimits, report: Callable[[], None]
    ) -> Iterator[pa.RecordBatch]:
        """Batches until the writer's file is full."""
        while writer.rows < limits.rows and writer.nbytes < limits.nbytes and self.more():
            batch, self._held = self._held, None
            assert batch is not None
            room = limits.rows - writer.rows
            if len(batch) > room:
                self._held, batch = batch.slice(room), batch.slice(0, room)
            yield batch
            report()
