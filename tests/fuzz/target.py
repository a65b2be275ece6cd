"""What is done with each input: open it, read all there is to read, and let nothing but our own errors out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias
from unittest.mock import patch

import numpy as np
import pyarrow as pa

from lance_like.errors import LanceLikeError
from lance_like.file import LanceFileReader
from lance_like.file import reader as reader_module
from lance_like.file.reader import FileReader, open_file
from lance_like.io.fetch import drive
from lance_like.io.memory import MemoryStore
from lance_like.typing_ import Int64s

Read: TypeAlias = Callable[[], Iterable[pa.Array | pa.ChunkedArray]]

KEY = "f"
VECTORS = Path(__file__).resolve().parents[2] / "format_spec" / "vectors"
CORPUS = Path(__file__).resolve().parent / "corpus"
# A file may say that it has billions of rows of a constant; who asks for all of them gets them. Here few are asked.
MAX_ROWS = 4096
MAX_COLUMNS = 32
# What Arrow says of text that is not UTF-8, decimals of too many digits, times past midnight, dates between days.
_HARMLESS = ("UTF8", "does not fit in precision", "within the acceptable range", "whole number of days")


def seeds() -> list[Path]:
    """Every data file of the spec's vectors, sound or not, and what the fuzzer kept; small ones first."""
    vectors = [path for path in VECTORS.rglob("*.lnl") if "tables" not in path.parts]
    return sorted([*vectors, *CORPUS.glob("*")], key=lambda path: (path.stat().st_size, path))


def read_everything(data: bytes) -> int:
    """Read a file as a hostile one. Returns how many reads had an answer.

    Raises what is no error of ours, and AssertionError for an answer that is no sound array of the type asked.
    """
    store = MemoryStore()
    store.put(KEY, [data])
    try:
        reader = drive(store, KEY, open_file(KEY, len(data)))
    except LanceLikeError:
        return 0
    kinds: dict[int, pa.DataType] = {}
    for column in range(min(reader.num_columns, MAX_COLUMNS)):
        with suppress(LanceLikeError):
            kinds[column] = drive(store, KEY, reader.field(column)).type
    answered = sum(_answered(_reads_of_column(store, reader, *item)) for item in kinds.items())
    return answered + _answered(_reads_of_all(store, reader, kinds))


def _reads_of_column(store: MemoryStore, reader: FileReader, column: int, kind: pa.DataType) -> list[Read]:
    count = reader.num_rows
    return [
        lambda: [drive(store, KEY, reader.read_rows(column, kind, _rows(count)))],
        lambda: drive(store, KEY, reader.read_span(column, kind, 0, min(count, MAX_ROWS))),
        lambda: drive(store, KEY, reader.read_span(column, kind, count // 3, min(count, count // 3 + 2))),
        lambda: [drive(store, KEY, reader.zones(column, kind)).mins],
    ]


def _reads_of_all(store: MemoryStore, reader: FileReader, kinds: dict[int, pa.DataType]) -> list[Read]:
    """Columns that are alike in one pass, and whole rows by the names that the file gives."""
    fresh = drive(store, KEY, open_file(KEY, reader.nbytes))
    count = min(reader.num_rows, MAX_ROWS)

    def rows_of_the_file() -> list[pa.Array]:
        return LanceFileReader.in_store(store, KEY).read_range(0, count).to_table().columns

    def many_columns() -> list[pa.Array]:
        # Files of few columns take the way of thousands.
        with patch.object(reader_module, "_MANY_COLUMNS", 2):
            return drive(store, KEY, fresh.read_columns(list(kinds), list(kinds.values()), _rows(reader.num_rows)))

    return [many_columns, rows_of_the_file] if kinds else []


def _rows(count: int) -> Int64s:
    """Some rows, not in order, one of them twice."""
    rows = np.unique(np.minimum(count - 1, np.array([0, 1, 7, count // 2, count - 2, count - 1]).clip(0)))
    return np.concatenate((rows[::-1], rows[:1])) if count else rows[:0]


def _answered(reads: Sequence[Read]) -> int:
    answered = 0
    for read in reads:
        with suppress(LanceLikeError):
            for array in read():
                _check(array)
            answered += 1
    return answered


def _check(array: pa.Array | pa.ChunkedArray) -> None:
    """An array that does not lead outside its buffers; a value that its type does not allow is no harm."""
    try:
        array.validate(full=True)
    except pa.ArrowInvalid as error:
        assert any(words in str(error) for words in _HARMLESS), error
