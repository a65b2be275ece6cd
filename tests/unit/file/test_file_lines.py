"""Integers on a line: once all lines of a page were read, rows of it take no bytes, and are what was written."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from file_cases import KEY, kinds_of, opened, rows_of, small_pages, write

from lance_like.errors import Corrupt
from lance_like.io.fetch import drive
from lance_like.io.memory import MemoryStore
from lance_like.io.observe import CountingStore, counted

ROWS = 8192
RNG = np.random.default_rng(5)
COUNTED = np.arange(ROWS)
COLUMNS = {
    "from 0": pa.array(COUNTED),
    "steps of 7": pa.array(COUNTED * 7 + 10**12),
    "of 32 bits": pa.array((COUNTED * 3 + 5).astype(np.int32)),
    "unsigned": pa.array((COUNTED + 2**31).astype(np.uint32)),
    "times": pa.array(COUNTED * 60_000_000, pa.timestamp("us", "UTC")),
    "bent": pa.array(np.where(COUNTED < 4352, COUNTED, COUNTED * 4 + 10**6)),
    "below 0": pa.array(COUNTED - 3000),
    "falling": pa.array(10**6 - COUNTED),
    "half a step": pa.array(COUNTED // 2),
    "near a line": pa.array(COUNTED * 1000 + RNG.integers(0, 900, ROWS)),
    "with nulls": pa.array(COUNTED, mask=COUNTED % 5 == 0),
}


@pytest.mark.parametrize("page_rows", [100, 2048, 4096, ROWS])
@pytest.mark.parametrize("name", COLUMNS)
def test_rows_are_what_was_written_however_often_they_are_asked_for(name, page_rows):
    table = pa.table({"n": COLUMNS[name]})
    with small_pages(nbytes=8 * page_rows, rows=page_rows):
        store, _ = write(table)
    reader = opened(store)
    for count in (1, 3, 40, 400, 3, 0):
        rows = RNG.integers(0, ROWS, count)
        assert rows_of(store, reader, table.schema, rows).equals(table.take(pa.array(rows))), count
    every = RNG.permutation(ROWS)
    for _ in range(2):
        assert rows_of(store, reader, table.schema, every).equals(table.take(pa.array(every)))


@pytest.mark.parametrize("page_rows", [4096, ROWS])
@pytest.mark.parametrize("name", ["from 0", "steps of 7", "of 32 bits", "unsigned", "times"])
def test_rows_of_known_lines_take_no_bytes(name, page_rows):
    table = pa.table({"n": COLUMNS[name]})
    with small_pages(nbytes=8 * page_rows, rows=page_rows):
        made, _ = write(table)
    store = CountingStore(made)
    reader = opened(store)
    for _ in range(2):
        rows_of(store, reader, table.schema, np.arange(0, ROWS, 10))
    with counted(store) as counts:
        assert rows_of(store, reader, table.schema, np.arange(7, ROWS, 3)).equals(table.slice(7).take(COUNTED[:-7:3]))
    assert (counts.rounds, counts.bytes_read) == (0, 0)


@pytest.mark.parametrize("name", ["bent", "half a step", "below 0", "falling"])
def test_lines_that_do_not_go_on_are_read_once_to_see_it(name):
    table = pa.table({"n": COLUMNS[name]})
    with small_pages(nbytes=8 * 4096, rows=4096):
        made, _ = write(table)
    store = CountingStore(made)
    reader = opened(store)
    rows = np.arange(0, ROWS, 40)
    read = []
    for _ in range(5):
        with counted(store) as counts:
            rows_of(store, reader, table.schema, rows)
        read.append(counts.bytes_read)
    assert read[2] == read[3] == read[4] <= 16 * len(rows)


def test_few_rows_of_a_large_page_are_read_by_themselves():
    table = pa.table({"n": pa.array(np.arange(1 << 20))})
    made, _ = write(table)
    store = CountingStore(made)
    reader = opened(store)
    rows_of(store, reader, table.schema, np.array([5]))
    with counted(store) as counts:
        for row in (9, 900_000, 70_000):
            assert rows_of(store, reader, table.schema, np.array([row]))["n"].to_pylist() == [row]
    assert counts.bytes_read <= 3 * 4096
    for _ in range(2):
        rows_of(store, reader, table.schema, np.arange(0, 1 << 20, 1 << 15))
    with counted(store) as counts:
        rows_of(store, reader, table.schema, np.array([123_456]))
    assert counts.bytes_read == 0


def test_rows_beside_a_damaged_line_are_read_and_its_own_are_not():
    table = pa.table({"n": pa.array(np.arange(1 << 20))})
    made, _ = write(table)
    assert isinstance(made, MemoryStore)
    [kind] = kinds_of(table.schema)
    extents = drive(made, KEY, drive(made, KEY, opened(made).pages(0, kind)).extents())
    data = bytearray(made._objects[KEY])
    # The line of the last rows of the page.
    data[int(extents[1][0]) - 30] ^= 1
    made._objects[KEY] = bytes(data)
    reader = opened(made)
    for _ in range(3):
        rows = np.arange(0, 1 << 19, 1 << 13)
        assert rows_of(made, reader, table.schema, rows)["n"].to_pylist() == rows.tolist()
    with pytest.raises(Corrupt):
        rows_of(made, reader, table.schema, np.array([(1 << 20) - 1]))
