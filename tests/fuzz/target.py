"""What is done with each input: open it, read all there is to read, and let nothing but our own errors out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from lance_like.errors import LanceLikeError
from lance_like.file.reader import FileReader, open_file
from lance_like.io.fetch import drive
from lance_like.io.memory import MemoryStore

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
    return sum(_read_column(store, reader, column) for column in range(min(reader.num_columns, MAX_COLUMNS)))


def _read_column(store: MemoryStore, reader: FileReader, column: int) -> int:
    try:
        kind = drive(store, KEY, reader.field(column)).type
    except LanceLikeError:
        return 0
    count = reader.num_rows
    rows = np.unique(np.minimum(count - 1, np.array([0, 1, 7, count // 2, count - 2, count - 1]).clip(0)))
    rows = np.concatenate((rows[::-1], rows[:1])) if count else rows[:0]
    reads = [
        lambda: drive(store, KEY, reader.read_rows(column, kind, rows)),
        lambda: drive(store, KEY, reader.read_span(column, kind, 0, min(count, MAX_ROWS))),
        lambda: drive(store, KEY, reader.read_span(column, kind, count // 3, min(count, count // 3 + 2))),
        lambda: drive(store, KEY, reader.zones(column, kind)).mins,
    ]
    answered = 0
    for read in reads:
        try:
            answer = read()
        except LanceLikeError:
            continue
        answered += 1
        for array in answer if isinstance(answer, list) else [answer]:
            _check(array)
    return answered


def _check(array: pa.Array) -> None:
    """An array that does not lead outside its buffers; a value that its type does not allow is no harm."""
    try:
        array.validate(full=True)
    except pa.ArrowInvalid as error:
        assert any(words in str(error) for words in _HARMLESS), error
