"""Functions that compute new columns, and the file in which what they made outlives a crash."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

import pyarrow as pa
import xxhash

from lance_like.errors import InvalidInput
from lance_like.file.stats import ZoneEntry
from lance_like.table.actions import NewFile

_TABLES = (
    "CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS files (part TEXT PRIMARY KEY, file TEXT NOT NULL)",
    """CREATE TABLE IF NOT EXISTS batches (part TEXT, start INTEGER, length INTEGER, checksum TEXT NOT NULL,
    data BLOB NOT NULL, PRIMARY KEY (part, start, length))""",
)


class BatchUDF:
    """A function from a batch to new columns, with what `add_columns` must know of it. Made by `batch_udf`."""

    def __init__(
        self,
        func: Callable[[pa.RecordBatch], Any],
        output_schema: pa.Schema | None = None,
        checkpoint_file: str | os.PathLike[str] | None = None,
    ) -> None:
        if output_schema is not None and not isinstance(output_schema, pa.Schema):
            raise InvalidInput(f"output_schema is a {type(output_schema).__name__}: expected a pyarrow.Schema")
        self.func, self.output_schema = func, output_schema
        self.checkpoint_file = None if checkpoint_file is None else os.fspath(checkpoint_file)

    def __call__(self, batch: pa.RecordBatch) -> Any:
        """What the function gives, as it is."""
        return self.func(batch)


def batch_udf(
    output_schema: pa.Schema | None = None, checkpoint_file: str | os.PathLike[str] | None = None
) -> Callable[[Callable[[pa.RecordBatch], Any]], BatchUDF]:
    """Make a function one that `add_columns` can take, by decorating it.

    output_schema: what it gives; None: as its first answer.
    checkpoint_file: where its results are kept until they are committed. After a crash, `add_columns` with the same
    file computes only what is missing; the file is removed when the columns are there. It is not looked into whether
    the function is the same. It may become as large as the new columns of one fragment.
    """
    return lambda func: BatchUDF(func, output_schema, checkpoint_file)


class Checkpoint:
    """A SQLite file with the results of a function: files of whole fragments, and batches of those not finished.

    part: a text that says which rows and columns something was computed from, and changes when they do.
    Damaged results count as missing. Raises InvalidInput when the file is none of these.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        for statement in _TABLES:
            self._run(statement)

    def schema(self) -> pa.Schema | None:
        """What the function gave before; None when that is not known."""
        found = self._run("SELECT value FROM about WHERE name = 'schema'")
        if not found:
            return None
        try:
            return pa.ipc.read_schema(pa.py_buffer(found[0][0]))
        except (pa.ArrowException, OSError) as error:
            raise self._refused(error) from error

    def keep_schema(self, schema: pa.Schema) -> None:
        """Note what the function gives."""
        self._run("INSERT OR REPLACE INTO about VALUES ('schema', ?)", schema.serialize().to_pybytes())

    def file(self, part: str) -> NewFile | None:
        """The file of a fragment that was finished."""
        found = self._run("SELECT file FROM files WHERE part = ?", part)
        try:
            return _file_of(json.loads(found[0][0])) if found else None
        except (ValueError, TypeError, KeyError):
            return None

    def keep_file(self, part: str, file: NewFile, pieces: str) -> None:
        """Note the file of a fragment, and forget its batches. pieces: the part that these were kept under."""
        stats = [[s.null_count, s.nan_count, _hex(s.min), _hex(s.max), s.flags] for s in file.stats]
        members = {"path": file.path, "nbytes": file.nbytes, "tail": file.tail, "rows": file.rows}
        text = json.dumps({**members, "columns": file.columns, "stats": stats})
        self._run("INSERT OR REPLACE INTO files VALUES (?, ?)", part, text)
        self._run("DELETE FROM batches WHERE part = ?", pieces)

    def batch(self, part: str, start: int, length: int) -> pa.RecordBatch | None:
        """What the function gave for some rows, from `start` on."""
        found = self._run(
            "SELECT checksum, data FROM batches WHERE part = ? AND start = ? AND length = ?", part, start, length
        )
        if not found or xxhash.xxh3_128_hexdigest(found[0][1]) != found[0][0]:
            return None
        with pa.ipc.open_stream(pa.py_buffer(found[0][1])) as reader:
            return reader.read_next_batch()

    def keep_batch(self, part: str, start: int, batch: pa.RecordBatch) -> None:
        """Note what the function gave for rows from `start` on."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        data = sink.getvalue().to_pybytes()
        values = part, start, len(batch), xxhash.xxh3_128_hexdigest(data), data
        self._run("INSERT OR REPLACE INTO batches VALUES (?, ?, ?, ?, ?)", *values)

    def remove(self) -> None:
        """Remove the file."""
        with suppress(FileNotFoundError):
            os.remove(self.path)

    def _run(self, statement: str, *values: Any) -> list[Any]:
        import sqlite3

        # A connection of its own each time: SQLite's may not pass between threads or through a fork.
        try:
            with closing(sqlite3.connect(self.path)) as connection, connection:
                return connection.execute(statement, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise self._refused(error) from error

    def _refused(self, error: Exception) -> InvalidInput:
        return InvalidInput(
            f"{self.path!r} is no checkpoint: {error}", kind="checkpoint", hint="remove it, or choose another file"
        )


def _file_of(value: dict[str, Any]) -> NewFile:
    stats = tuple(ZoneEntry(n, nan, _bytes(low), _bytes(high), flags) for n, nan, low, high, flags in value["stats"])
    return NewFile(value["path"], value["nbytes"], value["tail"], value["rows"], value["columns"], stats)


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()


def _bytes(value: str | None) -> bytes | None:
    return None if value is None else bytes.fromhex(value)


__all__ = ["BatchUDF", "Checkpoint", "batch_udf"]
