"""A file whose pages were moved from two others, as a compaction makes it (format_spec/file.md, "Moving pages")."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from unittest import mock

import pyarrow as pa
from vector_cases import Case, settings

from lance_like.file.moved_zones import moved_extents
from lance_like.file.reader import open_file
from lance_like.file.stored import MovedPages, read_pieces
from lance_like.file.writer import FileWriter
from lance_like.io.fetch import drive
from lance_like.io.memory import MemoryStore

_TRAINED = {
    "encodings.zstd._SMALLEST_DICTIONARY": 256,
    "encodings.zstd._LARGEST_DICTIONARY": 1024,
    "file.cut.PAGE_ROWS": 250,
}


def moved_cases() -> Iterator[Case]:
    tables = [_lines("asked for page", 400), _lines("was told to wait for", 300)]
    yield Case(
        "moved",
        "pages of two files with a dictionary each: two ranges of one shared blob",
        "file.md, Moving pages",
        pa.concat_tables(tables),
        data=_moved(tables),
    )


def _lines(what: str, count: int) -> pa.Table:
    lines = [f"line {i}: user {i * 7919 % 1000} {what} {i * i % 97}, status {200 + i % 5}" for i in range(count)]
    numbers = pa.array([None if i % 5 == 0 else i * count for i in range(count)], pa.int32())
    return pa.table({"s": lines, "n": numbers})


def _moved(tables: Sequence[pa.Table]) -> bytes:
    """The file that holds the pages of one file a table."""
    store, writer, parts, first_row = MemoryStore(), FileWriter(tables[0].schema), [], 0
    for number, table in enumerate(tables):
        key = f"data/{number}.lnl"
        with settings(_TRAINED):
            nbytes = store.put(key, FileWriter(table.schema).chunks(table.to_batches()))
        reader = drive(store, key, open_file(key, nbytes))
        for stored in drive(store, key, reader.stored(range(len(table.schema)))):
            extents = drive(store, key, moved_extents(reader, stored, first_row))
            chunks = iter(drive(store, key, read_pieces(list(stored.pieces()))))
            parts.append(MovedPages(stored.number, stored, extents, chunks))
        first_row += len(table)
    with mock.patch("os.urandom", return_value=uuid.UUID(int=0x6D6F766564).bytes):
        return b"".join(bytes(chunk) for chunk in writer.chunks(parts))
