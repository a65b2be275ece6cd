"""When bytes are checked: every block once for each open file, and only the blocks that a read touches."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from arrow_values import Shape, make_array
from file_cases import KEY, opened, small_pages, write

from lance_like.errors import Corrupt
from lance_like.file import encode, layout, opening, pages
from lance_like.file.anatomy import Anatomy
from lance_like.file.reader import FileReader
from lance_like.io.fetch import drive
from lance_like.io.memory import MemoryStore
from lance_like.io.observe import CountingStore, counted

ROWS = 20_000
BLOCK = 4096
PER_BLOCK = BLOCK // 8


@pytest.fixture
def sums(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The length of each piece of bytes whose checksum was computed."""
    lengths: list[int] = []

    def count(data: memoryview) -> int:
        lengths.append(len(data))
        return xxhash.xxh3_64_intdigest(data)

    monkeypatch.setattr(layout, "xxhash", SimpleNamespace(xxh3_64_intdigest=count))
    return lengths


@pytest.fixture
def store() -> CountingStore:
    """20,000 float64 in one page of 40 blocks."""
    return CountingStore(write(pa.table({"a": np.random.default_rng(0).random(ROWS)}))[0])


def take(store: CountingStore, reader: FileReader, rows: list[int]) -> pa.Array:
    return drive(store, KEY, reader.read_rows(0, pa.float64(), np.array(rows)))


def open_pages(store: CountingStore, sums: list[int], *, verify: bool = True) -> FileReader:
    """A reader whose page is open and of whose blocks none is checked."""
    reader = opened(store, verify=verify)
    column = drive(store, KEY, reader.pages(0, pa.float64()))
    drive(store, KEY, pages.open_pages([column], column.fences[:-1]))
    sums.clear()
    return reader


def test_a_take_checks_the_blocks_that_it_touches(store: CountingStore, sums: list[int]) -> None:
    reader = open_pages(store, sums)
    with counted(store) as counts:
        take(store, reader, [0, 1, 5 * PER_BLOCK, 5 * PER_BLOCK + 9, 30 * PER_BLOCK])
    assert sums == [BLOCK] * 3
    assert counts.bytes_read == 3 * BLOCK
    assert counts.ranges == 3


def test_a_block_is_checked_once(store: CountingStore, sums: list[int]) -> None:
    reader = open_pages(store, sums)
    rows = [0, 1000, 15_000]
    take(store, reader, rows)
    assert len(sums) == 3
    with counted(store) as counts:
        take(store, reader, [*rows, 1, 1001])
    assert len(sums) == 3
    assert counts.bytes_read == 5 * 8
    take(store, reader, [1, ROWS - 1])
    assert len(sums) == 4


def test_a_scan_checks_every_block_once(store: CountingStore, sums: list[int]) -> None:
    reader = open_pages(store, sums)
    take(store, reader, [777])
    for _ in range(3):
        drive(store, KEY, reader.read_span(0, pa.float64(), 0, ROWS))
    blocks = -(-ROWS * 8 // BLOCK)
    assert len(sums) == blocks
    assert sum(sums) == ROWS * 8
    take(store, reader, list(range(0, ROWS, 100)))
    assert len(sums) == blocks


def test_another_open_file_checks_anew(store: CountingStore, sums: list[int]) -> None:
    for _ in range(2):
        take(store, open_pages(store, sums), [5])
        assert sums == [BLOCK]


def test_without_verify_no_block_is_checked(store: CountingStore, sums: list[int]) -> None:
    reader = open_pages(store, sums, verify=False)
    with counted(store) as counts:
        take(store, reader, [0, 15_000])
    assert counts.bytes_read == 16
    drive(store, KEY, reader.read_span(0, pa.float64(), 0, ROWS))
    assert sums == []


def test_blocks_of_several_pages_are_checked_in_one_round(sums: list[int]) -> None:
    with small_pages(nbytes=2 * BLOCK, rows=1 << 20):
        store = CountingStore(write(pa.table({"a": np.random.default_rng(0).random(10_000)}))[0])
    reader = open_pages(store, sums)
    assert len(drive(store, KEY, reader.pages(0, pa.float64())).fences) > 9
    with counted(store) as counts:
        take(store, reader, list(range(0, 10_000, 1000)))
    assert counts.rounds == 1
    assert len(sums) == 10
    assert counts.ranges <= 10
    assert counts.bytes_read == 10 * BLOCK


def test_of_what_is_verified_only_the_ranges_are_read(sums: list[int]) -> None:
    with small_pages(nbytes=8 * 5000, rows=5000):
        store = CountingStore(write(pa.table({"a": np.random.default_rng(0).random(ROWS)}))[0])
    reader = open_pages(store, sums)
    drive(store, KEY, reader.read_span(0, pa.float64(), 0, 5000))
    rows = list(range(0, 5000, 100))
    sums.clear()
    with counted(store) as counts:
        take(store, reader, rows)
    assert (counts.bytes_read, sums) == (8 * len(rows), [])
    take(store, reader, [*rows, 7000])
    assert sums == [BLOCK]
    with counted(store) as counts:
        take(store, reader, [*rows, 7000])
    assert (counts.bytes_read, sums) == (8 * len(rows) + 8, [BLOCK])


def test_neighbouring_blocks_are_one_range(store: CountingStore, sums: list[int]) -> None:
    reader = open_pages(store, sums)
    with counted(store) as counts:
        take(store, reader, [0, PER_BLOCK, 2 * PER_BLOCK, 9 * PER_BLOCK])
    assert counts.ranges == 2
    assert len(sums) == 4


def test_pages_opened_in_any_order_are_checked(sums: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_AT_ONCE", 0)
    monkeypatch.setattr(pages, "_WINDOW", 1)
    values = np.random.default_rng(0).random(10_000)
    with small_pages(nbytes=2 * BLOCK, rows=1 << 20):
        store = CountingStore(write(pa.table({"a": values}))[0])
    reader = opened(store)
    take(store, reader, [9_999])
    sums.clear()
    rows = [600, 9_000, 0, 9_998, 5_000]
    assert take(store, reader, rows).to_pylist() == values[rows].tolist()
    assert sums.count(BLOCK) == 4


def test_columns_read_together_are_opened_and_checked_in_the_rounds_of_one(sums: list[int]) -> None:
    rng = np.random.default_rng(0)
    inner, _ = write(pa.table({f"c{i}": rng.random(ROWS) for i in range(5)}))
    store = CountingStore(inner)
    found = []
    for columns in ([0], [0, 1, 2, 3, 4]):
        reader = opened(store)
        with counted(store) as counts:
            sums.clear()
            kinds = [pa.float64()] * len(columns)
            drive(store, KEY, reader.read_columns(columns, kinds, np.array([5, ROWS - 1])))
        assert sums.count(BLOCK) + sums.count(ROWS * 8 % BLOCK) == 2 * len(columns)
        found.append(counts.rounds)
    assert found == [1, 1]


def test_metadata_at_the_end_of_the_file_came_along_when_it_was_opened() -> None:
    store = CountingStore(write(pa.table({"a": np.arange(10.0)}))[0])
    reader = opened(store)
    with counted(store) as counts:
        assert take(store, reader, [3]).to_pylist() == [3.0]
    assert (counts.rounds, counts.bytes_read) == (1, 80)


# -- damage ----------------------------------------------------------------------------------------------------


def spoil(store: CountingStore, at: int) -> None:
    assert isinstance(store.inner, MemoryStore)
    data = bytearray(store.inner._objects[KEY])
    data[at] ^= 1
    store.inner.put(KEY, [bytes(data)])


def test_a_bad_block_is_named_when_it_is_touched(store: CountingStore, sums: list[int]) -> None:
    entry = drive(store, KEY, opened(store).pages(0, pa.float64()))._entries[0]
    at = int(entry["offset"]) + 7 * BLOCK + 100
    spoil(store, at)
    reader = open_pages(store, sums)
    assert len(take(store, reader, [0, 8 * PER_BLOCK])) == 2
    for read in (lambda: take(store, reader, [7 * PER_BLOCK]), lambda: take(store, reader, [0, 7 * PER_BLOCK + 3])):
        for _ in range(2):
            with pytest.raises(Corrupt) as caught:
                read()
            assert caught.value.kind == "checksum"
            assert f"byte {at - 100:,}" in caught.value.where
    with pytest.raises(Corrupt):
        drive(store, KEY, reader.read_span(0, pa.float64(), 0, ROWS))
    assert len(take(store, reader, [8 * PER_BLOCK + 1])) == 1


def test_without_verify_a_bad_block_is_read(store: CountingStore, sums: list[int]) -> None:
    entry = drive(store, KEY, opened(store).pages(0, pa.float64()))._entries[0]
    spoil(store, int(entry["offset"]))
    assert len(take(store, open_pages(store, sums, verify=False), [0])) == 1


@pytest.mark.parametrize("verify", [False, True])
def test_metadata_is_checked_even_without_verify(store: CountingStore, verify: bool) -> None:
    record = drive(store, KEY, opened(store).pages(0, pa.float64())).record
    reads: list[tuple[int, Callable[[FileReader], object]]] = [
        (record.offset, lambda reader: take(store, reader, [0])),
        (record.entries_offset, lambda reader: take(store, reader, [0])),
        (record.descriptions_offset + 8, lambda reader: take(store, reader, [0])),
        (record.zones_offset, lambda reader: drive(store, KEY, reader.zones(0, pa.float64()))),
        (record.field_offset, lambda reader: drive(store, KEY, reader.field(0))),
    ]
    for at, read in reads:
        spoil(store, at)
        reader = opened(store, verify=verify)
        with pytest.raises(Corrupt):
            read(reader)
        spoil(store, at)
        read(opened(store, verify=verify))


@pytest.mark.parametrize("part", ["entries_offset", "descriptions_offset", "field_offset", "offset"])
def test_damage_names_its_column_when_several_are_opened_together(part: str) -> None:
    store = CountingStore(write(pa.table({f"c{i}": np.random.default_rng(i).random(9) for i in range(3)}))[0])
    spoil(store, getattr(drive(store, KEY, opened(store).pages(1, pa.float64())).record, part) + 2)
    with pytest.raises(Corrupt) as refused:
        drive(store, KEY, opened(store).read_columns([0, 1, 2], [pa.float64()] * 3, np.array([0])))
    assert f"{KEY}, column 1" in refused.value.where


def test_another_file_of_the_same_size_is_noticed() -> None:
    table = pa.table({"a": [1, 2, 3]})
    store, summary = write(table)
    opened(store, tail=summary.tail)
    _, other = write(table, store)
    assert other.nbytes == summary.nbytes
    with pytest.raises(Corrupt) as caught:
        opened(store, tail=summary.tail)
    assert caught.value.kind == "identity"


@pytest.mark.parametrize(("nbytes", "log2"), [(32_000, 12), (33_000, 14), (1 << 20, 14)])
def test_large_cells_have_blocks_of_their_size_and_lie_end_to_end(nbytes: int, log2: int) -> None:
    cells = [np.random.default_rng(i).bytes(nbytes) for i in range(3)]
    with small_pages(nbytes=2 * nbytes, rows=100):
        store = write(pa.table({"c": pa.array(cells, pa.binary())}))[0]
    anatomy = Anatomy(store, KEY)
    record = anatomy.record(anatomy.tail(), 0)
    entries = [anatomy.entry(record, page) for page in range(record.num_pages)]
    assert [entry.block_log2 for entry in entries] == [log2] * len(entries)
    between = [after.offset - before.end for before, after in itertools.pairwise(entries)]
    assert between and all(gap < 64 for gap in between) == (log2 > 12)
    assert drive(store, KEY, opened(store).read_rows(0, pa.binary(), np.array([2])))[0].as_py() == cells[2]


def test_a_page_of_large_cells_has_large_blocks(monkeypatch: pytest.MonkeyPatch, sums: list[int]) -> None:
    monkeypatch.setattr(encode, "_LARGE_PAGE_NBYTES", 100_000)
    cells = make_array(pa.binary(1), 300_000, Shape("any", 0.0), np.random.default_rng(0)).buffers()[1].to_pybytes()
    table = pa.table({"c": pa.array([cells[:150_000], cells[150_000:]], pa.binary())})
    store = CountingStore(write(table)[0])
    reader = opened(store)
    drive(store, KEY, reader.pages(0, pa.binary()))
    sums.clear()
    assert drive(store, KEY, reader.read_rows(0, pa.binary(), np.array([1])))[0].as_py() == cells[150_000:]
    # The description; the checksums; the last block, where the offsets are; the two others that hold the cell.
    assert sorted(sums)[-2:] == [65_536, 65_536]
    assert len(sums) == 5
