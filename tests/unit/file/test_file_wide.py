"""Files of thousands of columns: what one column costs does not depend on how many there are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from arrow_values import FLAT, STYLES, TYPES, Shape, make_array, same
from file_cases import KEY, opened, random_rows, small_pages, write

from lance_like.encodings import variable
from lance_like.encodings.joining import joined
from lance_like.encodings.stack import Ask
from lance_like.errors import Corrupt, InvalidInput, LanceLikeError
from lance_like.file import wide as wide_columns
from lance_like.file.blocks import Blocks
from lance_like.file.carry import carried_type
from lance_like.file.columns import flatten
from lance_like.file.layout import FIRST_READ_NBYTES, RECORD_NBYTES, sum32
from lance_like.file.spans import read_parts
from lance_like.file.types import unpack_type
from lance_like.io.fetch import drive
from lance_like.io.memory import MemoryStore
from lance_like.io.observe import CountingStore, counted
from lance_like.io.store import Store
from lance_like.typing_ import Bytes, Conversation

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


# -- many columns at once --------------------------------------------------------------------------------------


def test_a_take_of_all_columns_takes_as_many_rounds_as_one(wide: Store) -> None:
    store = CountingStore(wide)
    reader = opened(store)
    numbers, kinds = list(range(COLUMNS)), [pa.int64()] * COLUMNS
    with counted(store) as counts:
        arrays = drive(store, KEY, reader.read_columns(numbers, kinds, np.array([1, 0, 1])))
    assert [array.to_pylist() for array in arrays] == [[i + 1, i, i + 1] for i in numbers]
    # Directory records, metadata, blocks.
    assert counts.rounds == 3
    with counted(store) as counts:
        (array, *_) = drive(store, KEY, reader.read_columns(numbers[::-1], kinds, np.array([0])))
    assert array.to_pylist() == [COLUMNS - 1]
    assert counts.rounds == 1


@pytest.mark.parametrize("rows", [1, 40, 1000])
def test_columns_of_every_kind_together_equal_those_read_alone(rows: int) -> None:
    rng = np.random.default_rng(rows)
    kinds = [kind for kind in TYPES if not pa.types.is_struct(kind)]
    fields = {
        f"{kind} {style} {nulls}": make_array(kind, 300, Shape(style, nulls), rng)
        for kind in kinds
        for style in STYLES
        for nulls in (0.0, 0.2)
    }
    table = pa.table(fields)
    with small_pages(rows=50):
        store, _ = write(table)
    numbers, types = list(range(len(fields))), [column.type for column in flatten(table.schema)]
    together, alone = opened(store), opened(store)
    order = random_rows(table, rows, rows)
    for _ in range(2):
        arrays = drive(store, KEY, together.read_columns(numbers, types, order))
        for number, array in enumerate(arrays):
            assert array.type == carried_type(types[number])
            assert same(array, drive(store, KEY, alone.read_rows(number, types[number], order)))
    assert drive(store, KEY, together.read_columns(numbers, types, order[:0]))[0].type == carried_type(types[0])
    assert len(together._groups) > 10


@pytest.mark.parametrize("rows", [None, np.arange(0, 500, 3)])
def test_small_pages_of_a_scan_are_checked_together(monkeypatch: pytest.MonkeyPatch, rows: np.ndarray | None) -> None:
    noise = np.random.default_rng(6)
    columns: dict[str, Any] = {f"c{i}": noise.integers(0, 1 << 20, 500) for i in range(100)}
    columns["large"] = [noise.bytes(400) for _ in range(500)]
    store, _ = write(pa.table(columns))
    reader, kinds = opened(store), [*[pa.int64()] * 100, pa.binary()]
    pages = drive(store, KEY, reader.pages_of(range(101), kinds))
    checks: list[int] = []
    checked = Blocks.checked

    def noted(blocks: Blocks, asks: list[Ask]) -> Conversation[list[Bytes]]:
        checks.append(len(asks))
        return checked(blocks, asks)

    monkeypatch.setattr(Blocks, "checked", noted)
    found = drive(store, KEY, read_parts(pages, kinds, 0, 500, rows))
    # The small ones at once, and the large one; whole runs of those that are alike are one read.
    assert sorted(checks) == [1, 1 if rows is None else 100]
    for parts, (_, values) in zip(found, columns.items(), strict=True):
        expected = pa.array(values) if rows is None else pa.array(values).take(pa.array(rows))
        assert parts[0].equals(expected)
    assert drive(store, KEY, read_parts(pages, kinds, 7, 7)) == [[]] * 101


@pytest.mark.parametrize("span", [(0, 120), (0, 50), (3, 41), (49, 51), (60, 100), (119, 120)])
def test_parts_of_columns_that_are_alike_are_those_of_each_alone(span: tuple[int, int]) -> None:
    rng = np.random.default_rng(7)
    fields = {
        f"{kind} {style} {nulls} {copy}": make_array(kind, 120, Shape(style, nulls), rng)
        for kind in [*FLAT, pa.bool_(), pa.string(), pa.list_(pa.int8())]
        for style in STYLES
        for nulls in (0.0, 0.2)
        for copy in range(2)
    }
    with small_pages(rows=50):
        store, _ = write(pa.table(fields))
    reader, columns = opened(store), flatten(pa.table(fields).schema)
    numbers, kinds = range(len(columns)), [column.type for column in columns]
    pages = drive(store, KEY, reader.pages_of(numbers, kinds))
    found = drive(store, KEY, read_parts(pages, kinds, *span))
    assert len(found) == len(kinds)
    for number, parts in enumerate(found):
        [alone] = drive(store, KEY, opened(store).read_spans([number], [kinds[number]], [span]))
        assert same(joined(parts), joined(alone)), columns[number].name


def test_a_pass_that_is_too_large_is_cut(monkeypatch: pytest.MonkeyPatch, wide: Store) -> None:
    monkeypatch.setattr(wide_columns, "_PASS_ROWS", 7)
    reader = opened(wide)
    arrays = drive(wide, KEY, reader.read_columns(list(range(100)), [pa.int64()] * 100, np.array([1, 0])))
    assert [array.to_pylist() for array in arrays] == [[i + 1, i] for i in range(100)]


def test_damage_is_refused_when_columns_open_together() -> None:
    table = pa.table({f"c{i}": np.random.default_rng(i).random(30) for i in range(20)})
    with small_pages(rows=10, zone_rows=8192):
        store, _ = write(table)
    assert isinstance(store, MemoryStore)
    file = store._objects[KEY]
    record = drive(store, KEY, opened(store).pages(7, pa.float64())).record
    page = int(drive(store, KEY, opened(store).pages(7, pa.float64()))._entries["offset"][1])
    rng = np.random.default_rng(0)
    metadata = [*range(record.offset, record.zones_offset), *range(record.field_offset, record.end)]
    for at in [*metadata, *range(page, page + 80)]:
        wrong = bytearray(file)
        wrong[at] ^= 1 << int(rng.integers(8))
        store.put(KEY, [bytes(wrong)])
        with pytest.raises(Corrupt):
            drive(store, KEY, opened(store).read_columns(list(range(20)), [pa.float64()] * 20, np.arange(30)))
    store.put(KEY, [file])
    with pytest.raises(Corrupt, match="the table says"):
        drive(store, KEY, opened(store).read_columns(list(range(20)), [pa.int64()] * 20, np.arange(30)))


FIELDS = {
    b'{"name":"a","type":"int64","nullable":true}': pa.int64(),
    b'{"name":"a","nullable":true,"type":"int8"}': pa.int8(),
    b'{"nullable":true,"type":"int8","name":"a"}': pa.int8(),
    b'{"name":"\\",\\"type\\":5","type":"int16","nullable":false}': pa.int16(),
    '{"name":"é\u2028","type":"string","nullable":true}'.encode(): pa.string(),
    b'{"name": "b", "metadata": [], "type": {"t":"list","item":{"name":"i","type":"bool","nullable":true}}, '
    b'"nullable": true}': pa.list_(pa.field("i", pa.bool_())),
}


@pytest.mark.parametrize("text", FIELDS)
def test_the_type_of_a_field_does_not_depend_on_how_its_json_is_spelled(text: bytes) -> None:
    assert unpack_type(text, sum32(text), "here") == FIELDS[text]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b'{"name":"a","type":"int64"}',
        b'{"name":"a","name":"b","type":"int64","nullable":true}',
        b'{"name":"\xff","type":"int64","nullable":true}',
        b'{"name":"\n","type":"int64","nullable":true}',
        b'{"name":"a\\q","type":"int64","nullable":true}',
        b'{"name":"a',
    ],
)
def test_a_field_that_is_none_is_refused_with_its_place(text: bytes) -> None:
    with pytest.raises(Corrupt) as refused:
        unpack_type(text, sum32(text), "here")
    assert refused.value.where == "here"


class Later(pa.ExtensionType):
    def __init__(self) -> None:
        super().__init__(pa.int8(), "test.later")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> Later:
        return cls()


def test_an_extension_type_that_is_registered_later_is_seen() -> None:
    text = b'{"name":"a","type":{"t":"extension","name":"test.later","data":"","storage":"int8"},"nullable":true}'
    assert unpack_type(text, sum32(text), "here") == pa.int8()
    pa.register_extension_type(Later())
    try:
        assert unpack_type(text, sum32(text), "here") == Later()
    finally:
        pa.unregister_extension_type("test.later")


def test_cells_that_do_not_fit_one_array_are_read_in_more(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    table = pa.table({f"c{i}": [rng.bytes(100) for _ in range(5)] for i in range(20)})
    store, _ = write(table)
    monkeypatch.setattr(variable, "_INT32_LIMIT", 1000)
    numbers, kinds, rows = list(range(20)), [pa.binary()] * 20, np.array([4, 0, 2])
    arrays = drive(store, KEY, opened(store).read_columns(numbers, kinds, rows))
    for number, array in enumerate(arrays):
        assert array.equals(table.column(number).combine_chunks().take(pa.array(rows)))
    monkeypatch.setattr(variable, "_INT32_LIMIT", 299)
    with pytest.raises(InvalidInput, match="2 GiB"):
        drive(store, KEY, opened(store).read_columns(numbers, kinds, rows))


def test_a_flipped_bit_is_noticed_when_columns_are_read_together() -> None:
    table = pa.table({f"c{i}": np.arange(30) * (i + 1) for i in range(16)})
    with small_pages(nbytes=100, rows=16):
        store, _ = write(table)
    assert isinstance(store, MemoryStore)
    data = store._objects[KEY]
    numbers, kinds, rows = list(range(16)), [pa.int64()] * 16, np.array([29, 0, 17, 3])
    right = drive(store, KEY, opened(store).read_columns(numbers, kinds, rows))
    noticed = 0
    places = range(0, len(data), 13)
    for at in places:
        damaged = MemoryStore()
        damaged.put(KEY, [data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]])
        try:
            assert drive(damaged, KEY, opened(damaged).read_columns(numbers, kinds, rows)) == right
        except LanceLikeError as error:
            assert error.where
            noticed += 1
    # Some bytes are padding, statistics or blocks of other rows.
    assert noticed > len(places) / 2
