"""Files of thousands of columns: what one column costs does not depend on how many there are."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from file_cases import KEY, opened, write

from lance_like.file.layout import FIRST_READ_NBYTES, RECORD_NBYTES
from lance_like.io.fetch import drive
from lance_like.io.observe import CountingStore, counted
from lance_like.io.store import Store

COLUMNS = 10_000


@pytest.fixture(scope="module")
def wide() -> Store:
    """A file of 10,000 columns of 2 rows."""
    arrays = [pa.array([i, i + 1]) for i in range(COLUMNS)]
    return write(pa.Table.from_arrays(arrays, names=[f"c{i}" for i in range(COLUMNS)]))[0]


def test_opening_reads_the_end_of_the_file_only(wide: Store) -> None:
    store = CountingStore(wide)
    with counted(store) as counts:
        reader = opened(store)
    assert (reader.num_columns, reader.num_rows) == (COLUMNS, 2)
    assert (counts.rounds, counts.ranges) == (1, 1)
    assert counts.bytes_read == FIRST_READ_NBYTES


@pytest.mark.parametrize("column", [0, 17, 5_000, COLUMNS - 1])
def test_a_first_take_reads_one_column(wide: Store, column: int) -> None:
    store = CountingStore(wide)
    reader = opened(store)
    with counted(store) as counts:
        taken = drive(store, KEY, reader.read_rows(column, pa.int64(), np.array([1, 0])))
    assert taken.to_pylist() == [column + 1, column]
    # Its directory record, its fences, entries and headers, and the block of its values.
    assert counts.rounds <= 3
    assert counts.bytes_read <= RECORD_NBYTES + 512
    with counted(store) as counts:
        drive(store, KEY, reader.read_rows(column, pa.int64(), np.array([1])))
    assert (counts.rounds, counts.ranges) == (1, 1)


def test_a_first_scan_of_one_column_reads_one_column(wide: Store) -> None:
    store = CountingStore(wide)
    reader = opened(store)
    with counted(store) as counts:
        (array,) = drive(store, KEY, reader.read_span(1234, pa.int64(), 0, 2))
        field = drive(store, KEY, reader.field(1234))
        zones = drive(store, KEY, reader.zones(1234, pa.int64()))
    assert array.to_pylist() == [1234, 1235]
    assert field.name == "c1234"
    assert (zones.mins.to_pylist(), zones.maxs.to_pylist()) == ([1234], [1235])
    assert counts.bytes_read <= RECORD_NBYTES + 1024


def test_no_column_costs_more_than_its_share_of_the_file(wide: Store) -> None:
    assert wide.size(KEY) <= COLUMNS * 512
