"""Columns of several files, read together: the same rows as from each file."""

from __future__ import annotations

from itertools import cycle

import numpy as np
import pyarrow as pa
import pytest
from arrow_values import STYLES, TYPES, Shape, make_array, same
from file_cases import small_pages

from lance_like.encodings import zstd
from lance_like.encodings.joining import joined
from lance_like.file.carry import carried_type
from lance_like.file.columns import flatten
from lance_like.file.cut import has_dictionary
from lance_like.file.reader import open_file
from lance_like.file.several import SeveralColumns
from lance_like.file.writer import FileWriter
from lance_like.io.fetch import drive
from lance_like.io.memory import MemoryStore
from lance_like.io.observe import CountingStore, counted

ROWS = (60, 1, 7, 70)


class Files:
    """Files of slices of a table. columns: all of them, read together; alone: of each, all rows."""

    def __init__(self, table: pa.Table, rows: tuple[int, ...] = ROWS) -> None:
        self.store = CountingStore(MemoryStore())
        self.kinds = [column.type for column in flatten(table.schema)]
        stated, pieces, first = [], [], 0
        for number, count in enumerate(rows):
            key = f"{number}.lnl"
            nbytes = self.store.put(key, FileWriter(table.schema).chunks(table.slice(first, count).to_batches()))
            reader = drive(self.store, key, open_file(key, nbytes))
            stated.append(drive(self.store, key, reader.stated(range(len(self.kinds)))))
            pieces.append(drive(self.store, key, reader.read_spans(range(len(self.kinds)), self.kinds, [(0, count)])))
            first += count
        self.columns = SeveralColumns(stated, self.kinds, verify=True)
        self.alone = [joined([array for arrays in parts for array in arrays]) for parts in zip(*pieces, strict=True)]

    def whole(self) -> list[pa.Array]:
        """All rows, read together."""
        extents = enumerate(self.columns.extents_by_file)
        pages = [self.store.gather(f"{number}.lnl", [places])[0] for number, places in extents]
        return self.columns.read(range(len(self.kinds)), np.concatenate(pages))

    def rows(self, rows: np.ndarray) -> list[pa.Array]:
        """Some rows, read together."""
        read = self.columns.read_rows(range(len(self.kinds)), rows)
        try:
            asked = next(read)
            while True:
                asked = read.send([self.store.gather(key, [ranges])[0] for key, ranges in asked])
        except StopIteration as stop:
            return stop.value


@pytest.fixture(scope="module")
def every() -> Files:
    """A column of each type and style, in pages of few rows and of several shapes."""
    rng = np.random.default_rng(1)
    kinds = [kind for kind in TYPES if not pa.types.is_struct(kind) and not has_dictionary(carried_type(kind))]
    fields = {
        f"{kind} {style}": make_array(kind, sum(ROWS), Shape(style, 0.2 * (place % 2)), rng)
        for place, (kind, style) in enumerate(zip(kinds, cycle(STYLES), strict=False))
    }
    with small_pages(rows=25):
        return Files(pa.table(fields))


def test_all_rows_are_those_of_each_file(every: Files) -> None:
    for array, expected in zip(every.whole(), every.alone, strict=True):
        assert array.type == expected.type
        assert same(array, expected)


@pytest.mark.parametrize("count", [1, 30, 150])
def test_some_rows_come_in_the_order_asked(every: Files, count: int) -> None:
    rows = np.random.default_rng(count).integers(0, sum(ROWS), count)
    # The second time nothing is left to verify.
    for _ in range(2):
        for array, whole in zip(every.rows(rows), every.alone, strict=True):
            assert array.type == whole.type
            assert same(array, joined([whole.slice(row, 1) for row in rows.tolist()]))
    assert [len(array) for array in every.rows(rows[:0])] == [0] * len(every.kinds)


@pytest.mark.parametrize("many", [4, 256])
def test_texts_with_a_dictionary_of_their_file_are_read(monkeypatch: pytest.MonkeyPatch, many: int) -> None:
    monkeypatch.setattr(zstd, "_SMALLEST_DICTIONARY", 1_000)
    monkeypatch.setattr(zstd, "_MANY", many)
    monkeypatch.setattr(zstd, "_SMALL_NBYTES", 4_096)
    rng = np.random.default_rng(4)
    words = [f"word {i} of some" for i in range(300)]
    texts = [" ".join([*rng.choice(words, 6), str(i)]) for i in range(4_000)]
    files = Files(pa.table({"n": range(4_000), "text": texts}), (2_000, 1_500, 500))
    assert len({id(blob) for blob in files.columns._blobs}) == 4
    rows = rng.integers(0, 4_000, 200)
    assert files.rows(rows)[1].to_pylist() == [texts[row] for row in rows.tolist()]
    assert files.whole()[1].to_pylist() == texts


def test_of_few_rows_few_bytes_are_read() -> None:
    noise = np.random.default_rng(2).integers(0, 1 << 62, 80_000)
    files = Files(pa.table({"n": noise}), (40_000, 40_000))
    rows = np.array([79_999, 3, 4, 40_000])
    with counted(files.store) as counts:
        assert files.rows(rows)[0].to_pylist() == noise[rows].tolist()
    # Three blocks, of which the last is a part, in a request a file.
    assert (counts.bytes_read, counts.rounds) == (2 * 4096 + 40_000 * 8 % 4096, 2)
    with counted(files.store) as counts:
        files.rows(rows)
    assert counts.bytes_read == 4 * 8
