"""Damaged files: every answer is the right one or our error; never another answer, another error, a hang."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from arrow_values import Shape, make_array, same_table
from file_cases import KEY, opened, picked, rows_of, small_pages, span_of, write

from lance_like.errors import Corrupt, LanceLikeError, Unsupported
from lance_like.file import layout
from lance_like.file.layout import RECORD_NBYTES, TAIL_NBYTES, Tail, unpack_column, unpack_tail
from lance_like.io.fetch import drive
from lance_like.io.memory import MemoryStore

ROWS = 30
TAKEN = np.array([29, 0, 17, 17, 23])
STYLES = {
    pa.int64(): "near",
    pa.float64(): "any",
    pa.string(): "near",
    pa.bool_(): "any",
    pa.list_(pa.int32()): "any",
    pa.dictionary(pa.int8(), pa.string()): "any",
    pa.struct([("x", pa.binary(3)), ("y", pa.string())]): "few",
}


def a_table() -> pa.Table:
    rng = np.random.default_rng(0)
    arrays = [make_array(kind, ROWS, Shape(style, 0.2), rng) for kind, style in STYLES.items()]
    return pa.table(arrays, names=[f"c{i}" for i in range(len(arrays))])


TABLE = a_table()
RIGHT = picked(TABLE, TAKEN)


@pytest.fixture(scope="module")
def file() -> bytes:
    """A file of some KiB with several pages and zones a column."""
    with small_pages(nbytes=4096, rows=20, zone_rows=20):
        store, _ = write(TABLE)
    assert isinstance(store, MemoryStore)
    return store._objects[KEY]


def zones_of(store: MemoryStore, schema: pa.Schema) -> list:
    """What the zones of the top-level columns say."""
    reader = opened(store)
    kinds = [field.type for field in schema]
    columns = range(len(kinds) - 1)  # those before the struct: their place is their number
    found = [drive(store, KEY, reader.zones(column, kinds[column])) for column in columns]
    return [(z.rows.tolist(), z.nulls.tolist(), z.nans.tolist(), z.mins.to_pylist(), z.maxs.to_pylist()) for z in found]


# Reads of a file, each from a fresh open, that say whether their answer is the right one.
ASKS: dict[str, Callable[[MemoryStore], bool]] = {
    "schema": lambda store: drive(store, KEY, opened(store).schema()).equals(TABLE.schema, check_metadata=True),
    "scan": lambda store: same_table(span_of(store, opened(store), TABLE.schema, 0, ROWS), TABLE),
    "take": lambda store: same_table(rows_of(store, opened(store), TABLE.schema, TAKEN), RIGHT),
    "zones": lambda store: zones_of(store, TABLE.schema) == RIGHT_ZONES,
}


RIGHT_ZONES: list = []


@pytest.fixture(scope="module", autouse=True)
def right_zones(file: bytes) -> None:
    store = MemoryStore()
    store.put(KEY, [file])
    RIGHT_ZONES[:] = zones_of(store, TABLE.schema)


def check(data: bytes) -> int:
    """Ask everything of a damaged file. Returns how many reads were refused."""
    refused = 0
    store = MemoryStore()
    store.put(KEY, [data])
    for ask in ASKS.values():
        try:
            assert ask(store), "a different answer"
        except (Corrupt, Unsupported):
            refused += 1
    return refused


def test_the_undamaged_file_answers(file: bytes) -> None:
    assert check(file) == 0
    assert len(file) < 12_000


def flip(data: bytes, bit: int) -> bytes:
    wrong = bytearray(data)
    wrong[bit // 8] ^= 1 << bit % 8
    return bytes(wrong)


def test_every_flipped_bit_of_the_tail_is_refused(file: bytes) -> None:
    for bit in range(8 * (len(file) - TAIL_NBYTES), 8 * len(file)):
        store = MemoryStore()
        store.put(KEY, [flip(file, bit)])
        with pytest.raises((Corrupt, Unsupported)):
            opened(store)


def test_a_file_cut_anywhere_is_refused(file: bytes) -> None:
    random_cuts = random.Random(0).sample(range(len(file)), 150)
    for nbytes in [0, 1, 63, 64, 127, 128, len(file) - 1, len(file) - 63, len(file) - 64, *random_cuts]:
        for cut in (file[:nbytes], file[len(file) - nbytes :]):
            store = MemoryStore()
            store.put(KEY, [cut])
            with pytest.raises(Corrupt):
                opened(store)


def test_bytes_in_front_of_or_behind_a_file_are_refused(file: bytes) -> None:
    for data in (b"\0" + file, file + b"\0", file + bytes(4096), file + file):
        store = MemoryStore()
        store.put(KEY, [data])
        try:
            reader = opened(store)
        except Corrupt:
            continue
        raise AssertionError(reader.num_rows)


@pytest.mark.parametrize("fill", [0, 255])
@pytest.mark.parametrize("nbytes", [1, 8, 64, 512, 4096])
def test_a_zeroed_stretch_is_refused_or_without_effect(file: bytes, fill: int, nbytes: int) -> None:
    rng = random.Random(nbytes)
    for start in [0, len(file) - nbytes, *(rng.randrange(len(file)) for _ in range(12))]:
        end = min(len(file), start + nbytes)
        check(file[:start] + bytes([fill]) * (end - start) + file[end:])


def test_swapped_stretches_are_refused_or_without_effect(file: bytes) -> None:
    rng = random.Random(0)
    for _ in range(40):
        size = rng.choice((8, 48, 64, 200))
        a, b = (rng.randrange(len(file) - size) for _ in range(2))
        wrong = bytearray(file)
        wrong[a : a + size], wrong[b : b + size] = file[b : b + size], file[a : a + size]
        check(bytes(wrong))


def test_every_byte_of_the_metadata_is_covered_by_a_checksum() -> None:
    """Without the checks of pages, so that no page can tell of damaged metadata in its stead."""
    table = TABLE.select(["c0", "c2"])
    with small_pages(nbytes=4096, rows=20, zone_rows=20):
        store, _ = write(table)
    assert isinstance(store, MemoryStore)
    file = store._objects[KEY]
    tail, columns = records(file)
    covered = [*range(tail.directory_offset, len(file))]
    for record in columns:
        # The zone entry of the whole column is for readers without a manifest: nothing here reads it.
        total = record.field_offset - record.zone_nbytes
        covered += [*range(record.offset, total), *range(record.field_offset, record.end)]
    rng = random.Random(0)
    for at in covered:
        store.put(KEY, [flip(file, 8 * at + rng.randrange(8))])
        with pytest.raises((Corrupt, Unsupported)):
            read_everything(store, table.schema)


def read_everything(store: MemoryStore, schema: pa.Schema) -> None:
    reader = opened(store)
    drive(store, KEY, reader.schema())
    span_of(store, reader, schema, 0, ROWS)
    for column, field in enumerate(schema):
        drive(store, KEY, reader.zones(column, field.type))


# -- right checksums over wrong numbers --------------------------------------------------------------------------


def signed(data: bytearray, start: int, end: int, at: int) -> None:
    """Write the sum32 of data[start:end] at a place."""
    data[at : at + 4] = struct.pack("<I", xxhash.xxh3_64_intdigest(bytes(data[start:end])) & 0xFFFFFFFF)


def is_refused_or_survived(data: bytes, *asks: str) -> None:
    """Any answer is allowed, since the file says so; any end but an answer or our error is not."""
    store = MemoryStore()
    store.put(KEY, [data])
    for ask in asks or ASKS:
        try:
            ASKS[ask](store)
        except LanceLikeError as error:
            assert isinstance(error, (Corrupt, Unsupported))


HUGE = (0, 1, 7, 64, 2**31 - 1, 2**32 - 1, 2**40, 2**53 - 1, 2**53, 2**63 - 1, 2**63, 2**64 - 1)


def test_any_number_in_the_tail_is_refused_or_survived(file: bytes) -> None:
    start = len(file) - TAIL_NBYTES
    for at, width in ((0, 8), (8, 8), (16, 4), (20, 4), (24, 4), (28, 4), (48, 4), (52, 4)):
        for number in HUGE:
            wrong = bytearray(file)
            wrong[start + at : start + at + width] = (number % 256**width).to_bytes(width, "little")
            signed(wrong, start, start + 56, start + 56)
            is_refused_or_survived(bytes(wrong))


def test_any_number_in_a_directory_record_is_refused_or_survived(file: bytes) -> None:
    tail = unpack_tail(file[-TAIL_NBYTES:], len(file), "here")
    fields = ((0, 8), (8, 8), (16, 8), (24, 4), (28, 4), (32, 4), (36, 4), (40, 2), (42, 2), (44, 4), (48, 4), (52, 4))
    for column in (0, 6):
        start = tail.directory_offset + RECORD_NBYTES * column
        for at, width in fields:
            for number in HUGE:
                wrong = bytearray(file)
                wrong[start + at : start + at + width] = (number % 256**width).to_bytes(width, "little")
                signed(wrong, start, start + 60, start + 60)
                is_refused_or_survived(bytes(wrong))


def records(file: bytes) -> tuple[Tail, list[layout.ColumnRecord]]:
    tail = unpack_tail(file[-TAIL_NBYTES:], len(file), "here")
    starts = [tail.directory_offset + RECORD_NBYTES * column for column in range(tail.num_columns)]
    return tail, [
        unpack_column(file[start : start + RECORD_NBYTES], tail, column, "here") for column, start in enumerate(starts)
    ]


def test_any_number_in_a_page_entry_is_refused_or_survived(file: bytes) -> None:
    fields = ((0, 8), (8, 8), (16, 8), (24, 8), (32, 8), (40, 4), (44, 4), (48, 4), (52, 4), (56, 4))
    for column in (0, 2, 4):
        start = records(file)[1][column].entries_offset
        for at, width in fields:
            for number in HUGE:
                wrong = bytearray(file)
                wrong[start + at : start + at + width] = (number % 256**width).to_bytes(width, "little")
                signed(wrong, start, start + 60, start + 60)
                is_refused_or_survived(bytes(wrong), "scan", "take")


def test_any_number_in_the_fences_is_refused_or_survived(file: bytes) -> None:
    tail, columns = records(file)
    for column in (0, 2):
        record = columns[column]
        directory = tail.directory_offset + RECORD_NBYTES * column
        for fence in range(record.num_pages + 1):
            for number in HUGE:
                wrong = bytearray(file)
                wrong[record.offset + 8 * fence : record.offset + 8 * fence + 8] = number.to_bytes(8, "little")
                signed(wrong, record.offset, record.entries_offset, directory + 44)
                signed(wrong, directory, directory + 60, directory + 60)
                is_refused_or_survived(bytes(wrong), "scan", "take")


def test_any_number_in_a_zone_is_refused_or_survived(file: bytes) -> None:
    for column in (0, 1, 2, 3):
        record = records(file)[1][column]
        start = record.zones_offset
        fields = ((0, 8), (8, 8), (16, 2), (18, 2), (20, 1), (24, 8), (24 + record.zone_width, 8))
        for at, width in fields:
            for number in HUGE:
                wrong = bytearray(file)
                wrong[start + at : start + at + width] = (number % 256**width).to_bytes(width, "little")
                signed(wrong, start, start + record.zone_nbytes - 4, start + record.zone_nbytes - 4)
                is_refused_or_survived(bytes(wrong), "zones")


def test_any_text_in_the_file_metadata_is_refused_or_survived(file: bytes) -> None:
    tail = records(file)[0]
    bodies = [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b"\xff",
        b"[" * 10_000,
        b'{"metadata":1}',
        b'{"metadata":[["a"]]}',
        b'{"metadata":{}}',
    ]
    bodies += [json.dumps({"metadata": [["!", "x"]]}).encode(), b'{"metadata":[]}' + b" " * 100, b"NaN", b"9" * 10_000]
    for body in bodies:
        made = Tail(tail.directory_offset, tail.num_rows, tail.num_columns, len(body), layout.sum32(body), tail.uuid)
        is_refused_or_survived(file[: tail.metadata_offset] + body + made.pack(), "schema")


def test_columns_without_end_are_refused_before_memory_is_taken(file: bytes) -> None:
    tail = records(file)[0]
    for columns in (layout.MAX_COLUMNS, layout.MAX_COLUMNS + 1, 2**32 - 1):
        store = MemoryStore()
        made = Tail(tail.directory_offset, tail.num_rows, columns, tail.metadata_nbytes, tail.metadata_sum, tail.uuid)
        store.put(KEY, [file[:-TAIL_NBYTES] + made.pack()])
        with pytest.raises(Corrupt):
            opened(store)


# -- hostile content under right checksums -------------------------------------------------------------------------


def test_wrong_bytes_in_pages_are_refused_or_survived_without_verify(file: bytes) -> None:
    pages_end = min(record.offset for record in records(file)[1])
    rng = random.Random(0)
    store = MemoryStore()
    for turn in range(150):
        wrong = bytearray(file)
        for _ in range(rng.choice((1, 5, 200))):
            wrong[rng.randrange(64, pages_end)] = rng.choice((0, 255, rng.randrange(256)))
        store.put(KEY, [bytes(wrong)])
        try:
            reader = opened(store, verify=False)
            table = (
                span_of(store, reader, TABLE.schema, 0, ROWS)
                if turn % 2
                else rows_of(store, reader, TABLE.schema, TAKEN)
            )
        except LanceLikeError as error:
            assert isinstance(error, (Corrupt, Unsupported))
        else:
            table.validate()
