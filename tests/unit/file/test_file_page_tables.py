"""Columns of so many pages that their page tables are not read whole: only the windows of touched pages."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from arrow_values import Shape, make_array, same_table
from file_cases import KEY, opened, picked, random_rows, rows_of, small_pages, span_of, write

from lance_like.errors import Corrupt
from lance_like.file import opening, pages
from lance_like.file.layout import PAGE_ENTRY
from lance_like.io.fetch import drive
from lance_like.io.memory import MemoryStore
from lance_like.io.observe import CountingStore, counted


@pytest.fixture(params=[1, 7, 64])
def apart(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page tables that are read in parts however small they are."""
    monkeypatch.setattr(opening, "_AT_ONCE", 0)
    monkeypatch.setattr(opening, "_SUMS_AT_ONCE", 0)
    monkeypatch.setattr(pages, "_WINDOW", request.param)


def a_table() -> pa.Table:
    rng = np.random.default_rng(0)
    kinds = {"any": pa.int64(), "few": pa.string(), "near": pa.list_(pa.int32()), "same": pa.struct([("x", pa.int8())])}
    return pa.table({style: make_array(kind, 1000, Shape(style, 0.2), rng) for style, kind in kinds.items()})


@pytest.mark.usefixtures("apart")
@pytest.mark.parametrize("verify", [False, True])
def test_reads_equal_arrow(verify: bool) -> None:
    table = a_table()
    with small_pages(rows=10):
        store, _ = write(table)
    reader = opened(store, verify=verify)
    for seed, count in enumerate((1, 3, 50, 400)):
        rows = random_rows(table, count, seed)
        assert same_table(rows_of(store, reader, table.schema, rows), picked(table, rows))
    for start, end in ((500, 501), (30, 90), (0, 1000)):
        assert same_table(span_of(store, reader, table.schema, start, end), table.slice(start, end - start))


def test_a_take_reads_the_entries_and_descriptions_of_the_windows_of_its_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_AT_ONCE", 0)
    monkeypatch.setattr(pages, "_WINDOW", 4)
    values = np.random.default_rng(0).random(20_000)
    with small_pages(rows=10, zone_rows=8192):
        inner, _ = write(pa.table({"a": values}))
    store = CountingStore(inner)
    reader = opened(store)
    column = drive(store, KEY, reader.pages(0, pa.float64()))
    assert len(column.fences) == 2001
    with counted(store) as counts:
        taken = drive(store, KEY, reader.read_rows(0, pa.float64(), np.array([19_999, 0, 7, 5_000])))
    assert taken.to_pylist() == values[[19_999, 0, 7, 5_000]].tolist()
    # Entries, descriptions, blocks with their checksums: one round each.
    assert counts.rounds == 3
    assert counts.bytes_read < 3 * (4 * (PAGE_ENTRY.itemsize + 64) + 80 + 4)
    with counted(store) as counts:
        drive(store, KEY, reader.read_rows(0, pa.float64(), np.array([3, 5_001])))
    assert (counts.rounds, counts.bytes_read) == (1, 16)
    with counted(store) as counts:
        drive(store, KEY, reader.read_rows(0, pa.float64(), np.array([35, 15])))
    # Neighbours are open already; their blocks and checksums are new.
    assert (counts.rounds, counts.bytes_read) == (1, 2 * (80 + 4))


@pytest.mark.usefixtures("apart")
def test_damage_of_every_part_of_a_page_table_is_refused() -> None:
    values = np.random.default_rng(0).random(50)
    with small_pages(rows=10, zone_rows=8192):
        store, _ = write(pa.table({"a": values}))
    assert isinstance(store, MemoryStore)
    file = store._objects[KEY]
    record = drive(store, KEY, opened(store).pages(0, pa.float64())).record
    rng = np.random.default_rng(0)
    for at in range(record.offset, record.zones_offset):
        wrong = bytearray(file)
        wrong[at] ^= 1 << int(rng.integers(8))
        store.put(KEY, [bytes(wrong)])
        with pytest.raises(Corrupt):
            drive(store, KEY, opened(store).read_span(0, pa.float64(), 0, 50))
    # A wrong fence sends a row to another page, whose entry may be right.
    for at in range(record.offset, record.entries_offset):
        wrong = bytearray(file)
        wrong[at] ^= 1
        store.put(KEY, [bytes(wrong)])
        with pytest.raises(Corrupt):
            drive(store, KEY, opened(store, verify=False).read_rows(0, pa.float64(), np.array([25])))
