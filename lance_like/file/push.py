"""Writing one file batch by batch, as `lance.file` does. `FileWriter` pulls its batches; here they are pushed.

A thread of its own pulls: it encodes and writes while the caller makes the next batch. At most one batch waits.
"""

from __future__ import annotations

import os
import queue
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from lance_like.errors import InvalidInput
from lance_like.file.place import locate
from lance_like.file.writer import FileWriter
from lance_like.io.local import Durability
from lance_like.io.store import Store
from lance_like.version import FORMAT_VERSION

_END, _ABORT = object(), object()


class _Aborted(Exception):
    """The caller gave up: what was written so far is removed."""


@dataclass
class _Job:
    """What the caller and the writing thread share."""

    store: Store
    key: str
    writer: FileWriter
    batches: queue.Queue[Any] = field(default_factory=lambda: queue.Queue(maxsize=1))
    nbytes: int = 0
    failure: BaseException | None = None
    ended: bool = False

    def run(self) -> None:
        try:
            self.nbytes = self.store.put(self.key, self.writer.chunks(self._taken()))
        except _Aborted:
            return
        except BaseException as error:
            self.failure = error
            # Whoever pushes must not wait for a thread that is gone.
            while not self.ended:
                item = self.batches.get()
                self.ended = item is _END or item is _ABORT

    def _taken(self) -> Iterator[pa.RecordBatch]:
        while not self.ended:
            item = self.batches.get()
            self.ended = item is _END or item is _ABORT
            if item is _ABORT:
                raise _Aborted
            if not self.ended:
                yield item


def stable_version() -> str:
    """The version of the format that files are written in."""
    return str(FORMAT_VERSION)


class LanceFileWriter:
    """Writes one data file; nothing is there under its name until `close` returns.

    path: a path or URI; a file of that name is replaced. schema: None takes that of the first batch.
    durability: "full" syncs the file and its folder before `close` returns; "process" syncs nothing.
    data_cache_bytes, max_page_bytes, version: of pylance, accepted and not needed.
    As a context manager it closes at the end of the block, and writes no file when the block raises.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        schema: pa.Schema | None = None,
        *,
        data_cache_bytes: int | None = None,
        max_page_bytes: int | None = None,
        version: str | None = None,
        storage_options: dict[str, str] | None = None,
        durability: Durability = "full",
    ) -> None:
        self._open(*locate(path, durability=durability, storage_options=storage_options), schema)

    @classmethod
    def in_store(cls, store: Store, key: str, schema: pa.Schema | None = None) -> LanceFileWriter:
        """Write a file of a store that is already open."""
        writer = cls.__new__(cls)
        writer._open(store, key, schema)
        return writer

    def _open(self, store: Store, key: str, schema: pa.Schema | None) -> None:
        self._store, self._key = store, key
        self._metadata: dict[bytes, bytes] = {}
        self._job: _Job | None = None
        self._rows = 0
        self.closed = False
        self.size_bytes: int | None = None
        if schema is not None:
            self._start(schema)

    def write_batch(self, batch: pa.RecordBatch | pa.Table) -> None:
        """Add rows at the end.

        Raises InvalidInput for another schema, or nulls where none may be; and any error of writing rows before.
        """
        if self.closed:
            raise InvalidInput("the writer is closed", where=self._key)
        if self._job is None:
            self._start(batch.schema)
        assert self._job is not None
        self._raise_failure(self._job)
        _check_fits(batch, self._job.writer.schema, self._key)
        for piece in batch.to_batches() if isinstance(batch, pa.Table) else [batch]:
            self._job.batches.put(piece)
        self._rows += batch.num_rows

    def add_schema_metadata(self, key: str, value: str) -> None:
        """Add a text to the metadata of the schema; any time before `close`."""
        if self.closed:
            raise InvalidInput("the writer is closed", where=self._key)
        self._metadata[key.encode()] = value.encode()

    def close(self) -> int:
        """Finish the file. Returns its rows; `size_bytes` is its size from then on. Closing again changes nothing."""
        if self.closed:
            return self._rows
        if self._job is None:
            self.closed = True
            raise InvalidInput(
                "Schema is unknown and file cannot be created: no schema was given, no batch written", where=self._key
            )
        job = self._job
        if self._metadata:
            kept = job.writer.schema.metadata or {}
            job.writer.schema = job.writer.schema.with_metadata({**kept, **self._metadata})
        self._end(_END)
        self._raise_failure(job)
        self.size_bytes = job.nbytes
        return self._rows

    def abort(self) -> None:
        """Give up: no file is made, and what was written of it is removed."""
        if not self.closed:
            self._end(_ABORT)

    def __enter__(self) -> LanceFileWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def _start(self, schema: pa.Schema) -> None:
        job = self._job = _Job(self._store, self._key, FileWriter(schema))
        thread = threading.Thread(target=job.run, name=f"write {self._key}", daemon=True)
        # A writer that nobody closes must not leave its thread and half a file.
        self._finish = weakref.finalize(self, _finish, job, thread, _ABORT)
        thread.start()
        self._thread = thread

    def _end(self, mark: object) -> None:
        self.closed = True
        if self._job is not None:
            self._finish.detach()
            _finish(self._job, self._thread, mark)

    def _raise_failure(self, job: _Job) -> None:
        if job.failure is not None:
            self.abort()
            raise job.failure


def _finish(job: _Job, thread: threading.Thread, mark: object) -> None:
    job.batches.put(mark)
    thread.join()


def _check_fits(batch: pa.RecordBatch | pa.Table, schema: pa.Schema, where: str) -> None:
    if not batch.schema.equals(schema, check_metadata=False):
        raise InvalidInput(
            f"a batch has the schema {batch.schema.to_string(show_field_metadata=False)}, the file"
            f" {schema.to_string(show_field_metadata=False)}",
            kind="schema",
            where=where,
        )
    for column, values in zip(schema, batch.columns, strict=True):
        if not column.nullable and values.null_count:
            raise InvalidInput(
                f"the column {column.name!r} may not be null, and contains null values in {values.null_count:,} of "
                f"{len(values):,} rows",
                where=where,
                hint="fill the nulls, or make the field nullable",
            )
