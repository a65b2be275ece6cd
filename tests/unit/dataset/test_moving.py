"""Compaction moves pages as they are where that pays: what moves, what is encoded anew, and that all of it is right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from arrow_values import TYPES, Shape, cells_of, make_array
from dataset_values import assert_same, people
from hypothesis import given, settings
from hypothesis import strategies as st

import lance_like
from lance_like import LanceDataset
from lance_like.dataset import moving
from lance_like.dataset.inputs import as_stream
from lance_like.dataset.verify import verify_dataset
from lance_like.dataset.write import FileLimits, write_version
from lance_like.errors import Corrupt, Unsupported
from lance_like.file import stored, writer
from lance_like.file.anatomy import Anatomy, PageEntry
from lance_like.file.reader import FileReader
from lance_like.io.memory import MemoryStore
from lance_like.io.observe import CountingStore, counted
from lance_like.optimize import Compaction, CompactionTask

LARGE = 33_000
FORCE = "force_binary_copy"


@pytest.fixture(autouse=True)
def _numbers_move_from_fewer_rows_on(monkeypatch) -> None:
    monkeypatch.setattr(moving, "_NUMBERS_NBYTES", 8 * LARGE)


def table_of(*tables: pa.Table) -> LanceDataset:
    """A table in memory, a fragment a table."""
    store = MemoryStore()
    manifest = None
    for table in tables:
        mode = "create" if manifest is None else "append"
        manifest = write_version(store, manifest, as_stream(table), mode=mode, limits=FileLimits())
    assert manifest is not None
    return LanceDataset(store, manifest)


def numbers(rows: int, start: int = 0) -> pa.Table:
    """Numbers that do not shrink, some of them null, and words."""
    random = np.random.default_rng(start)
    values = pa.array(random.integers(0, 1 << 62, rows), mask=random.random(rows) < 0.1)
    words = pa.array(np.array(["one", "two", "three"])[random.integers(0, 3, rows)])
    return pa.table({"n": np.arange(start, start + rows), "v": values, "w": words})


@pytest.fixture
def encoded(monkeypatch) -> list[int]:
    """The rows of every page that is encoded from here on."""
    rows: list[int] = []
    encode = writer.encode_pages

    def counting(pages: Sequence[Any]):
        rows.extend(sum(map(len, page.pieces)) for page in pages)
        return encode(pages)

    monkeypatch.setattr(writer, "encode_pages", counting)
    return rows


def pages_of(ds: LanceDataset, column: int) -> list[tuple[int, bytes]]:
    """The rows and the bytes of the pages of a column of the only file of each fragment."""
    found = []
    for fragment in ds._manifest.fragments:
        [file] = fragment.files
        anatomy = Anatomy(ds._store, file.path)
        record = anatomy.record(anatomy.tail(), column)
        for page in range(record.num_pages):
            entry: PageEntry = anatomy.entry(record, page)
            found.append((entry.num_rows, anatomy.read(entry.offset, entry.end).tobytes()))
    return found


def assert_sound(ds: LanceDataset, *, but: str = "") -> None:
    """No byte of the table is wrong. but: a kind of faults in data files that the rows came with."""
    report = verify_dataset(ds._store)
    faults = [*report.faults, *(fault for file in report.files for fault in file.faults if fault.kind != but)]
    assert faults == []


# What moves


def test_large_pages_move_as_they_are_and_nothing_is_encoded(encoded):
    ds = table_of(numbers(LARGE), numbers(LARGE + 5, LARGE), numbers(LARGE, 2 * LARGE + 5))
    before, pages = ds.to_table(), [pages_of(ds, column) for column in range(3)]
    encoded.clear()
    ds.optimize.compact_files()
    assert encoded == []
    assert len(ds.get_fragments()) == 1
    assert [pages_of(ds, column) for column in range(3)] == pages
    assert_same(ds.to_table(), before)
    assert_sound(ds)
    assert ds.optimize.compact_files().fragments_added == 0


def test_every_byte_of_the_pages_is_read_once_and_files_side_by_side():
    ds = table_of(*(numbers(LARGE, start) for start in range(0, 4 * LARGE, LARGE)))
    files = [file for fragment in ds._manifest.fragments for file in fragment.files]
    counting = CountingStore(ds._store)
    fresh = LanceDataset(counting, ds._manifest)
    with counted(counting) as counts:
        fresh.optimize.compact_files()
    own = [(key, ranges) for key, ranges in counts.log if key.startswith("data/")]
    assert sum(int((ends - starts).sum()) for _, (starts, ends) in own) < 1.02 * sum(file.nbytes for file in files)
    # Of each file its end, the metadata of its columns, and its pages.
    assert counts.rounds <= 3 * len(files) + 2


def test_small_fragments_between_are_encoded_anew_together(encoded):
    small = [numbers(10, LARGE + 10 * number) for number in range(5)]
    ds = table_of(numbers(LARGE), *small, numbers(LARGE, LARGE + 50))
    before = ds.to_table()
    encoded.clear()
    ds.optimize.compact_files()
    assert encoded == [50, 50, 50]
    assert [rows for rows, _ in pages_of(ds, 1)] == [LARGE, 50, LARGE]
    assert_same(ds.to_table(), before)
    assert_sound(ds)


def test_pages_of_few_large_cells_move_and_the_numbers_beside_them_do_not(encoded):
    cells = [np.random.default_rng(i).bytes(60_000) for i in range(20)]
    tables = [pa.table({"i": range(10), "b": pa.array(cells[10 * k : 10 * k + 10])}) for k in range(2)]
    ds = table_of(*tables)
    encoded.clear()
    ds.optimize.compact_files()
    assert encoded == [20]
    assert ds.to_table()["b"].to_pylist() == cells
    assert_sound(ds)


def test_numbers_move_from_more_bytes_on_than_text(encoded):
    random = np.random.default_rng(0)
    texts = [random.bytes(24).hex() for _ in range(12_000)]
    rows = pa.table({"n": np.arange(12_000), "t": texts, "f": random.random(12_000)})
    ds = table_of(rows, rows)
    encoded.clear()
    ds.optimize.compact_files()
    assert encoded == [24_000, 24_000]
    assert ds.to_table().equals(pa.concat_tables([rows, rows]))


def test_pages_of_few_numbers_are_not_even_looked_at(monkeypatch):
    monkeypatch.setattr(moving, "_PAGE_NBYTES", 1)
    monkeypatch.setattr(FileReader, "stored", None)
    rows = pa.table({"n": range(9), "s": [{"x": i} for i in range(9)]})
    ds = table_of(rows, rows)
    ds.optimize.compact_files()
    assert ds.to_table().equals(pa.concat_tables([rows, rows]))


def test_the_fields_of_a_struct_move_together(encoded):
    cells = [np.random.default_rng(i).bytes(60_000) for i in range(20)]
    structs = pa.StructArray.from_arrays([pa.array(cells), pa.array(range(20))], ["b", "i"])
    ds = table_of(pa.table({"s": structs.slice(0, 12)}), pa.table({"s": structs.slice(12)}))
    encoded.clear()
    ds.optimize.compact_files()
    assert encoded == []
    assert ds.to_table()["s"].to_pylist() == structs.to_pylist()
    assert_sound(ds)


def test_large_pages_are_written_piece_by_piece(monkeypatch):
    monkeypatch.setattr(stored, "_PIECE_NBYTES", 1 << 16)
    cells = [np.random.default_rng(i).bytes(300_001) for i in range(6)]
    ds = table_of(*(pa.table({"b": cells[3 * k : 3 * k + 3]}) for k in range(2)))
    counting = CountingStore(ds._store)
    ds = LanceDataset(counting, ds._manifest)
    with counted(counting) as counts:
        ds.optimize.compact_files(compaction_mode=FORCE)
    assert max(int((ends - starts).max()) for key, (starts, ends) in counts.log if key.startswith("data/")) <= 1 << 16
    assert ds.to_table()["b"].to_pylist() == cells
    assert_sound(ds)


def test_a_fragment_with_deleted_rows_is_encoded_anew_and_its_neighbours_move(encoded):
    ds = table_of(*(numbers(LARGE, start) for start in (0, LARGE, 2 * LARGE)))
    ds.delete(f"n = {LARGE + 7}")
    before = ds.to_table(["n", "v", "w", "_rowid"])
    encoded.clear()
    ds.optimize.compact_files()
    assert encoded == [LARGE - 1] * 3
    assert_same(ds.to_table(["n", "v", "w", "_rowid"]), before)
    assert_sound(ds)


def test_reencode_moves_nothing(encoded):
    ds = table_of(numbers(LARGE), numbers(LARGE, LARGE))
    encoded.clear()
    ds.optimize.compact_files(compaction_mode="reencode")
    assert sum(encoded) == 3 * 2 * LARGE


def test_columns_move_from_the_files_that_were_added_for_them(encoded):
    ds = table_of(numbers(LARGE), numbers(LARGE, LARGE))
    ds.add_columns({"twice": "n * 2"})
    ds.add_columns(pa.field("nothing", pa.int8()))
    ds.drop_columns(["v"])
    before = ds.to_table()
    encoded.clear()
    assert ds.optimize.compact_files(compaction_mode=FORCE).files_removed == 4
    # Of the column that no file holds.
    assert encoded == [2 * LARGE]
    assert_same(ds.to_table(), before)
    assert_sound(ds)


def test_a_struct_whose_fields_lie_in_several_files_is_encoded_anew(encoded):
    rows = pa.table({"s": pa.array([None if i % 3 == 0 else {"x": i} for i in range(LARGE)])})
    ds = table_of(rows, rows)
    ds.add_columns({"s.y": "s.x + 1"})
    before = ds.to_table()
    encoded.clear()
    ds.optimize.compact_files()
    assert sum(encoded) == 3 * 2 * LARGE
    assert_same(ds.to_table(), before)
    assert_sound(ds)


def test_columns_of_which_another_encoding_is_asked_for_are_encoded_anew(encoded):
    ds = table_of(numbers(LARGE), numbers(LARGE, LARGE))
    ds.update_field_metadata({"n": {"lance_like:encoding": "plain"}})
    encoded.clear()
    ds.optimize.compact_files()
    assert sum(encoded) == 2 * LARGE
    assert b"".join(data for _, data in pages_of(ds, 0)) == np.arange(2 * LARGE).tobytes()


def text(start: int, rows: int = 16_000) -> pa.Table:
    """More than a megabyte of text, which a dictionary makes smaller."""
    random = np.random.default_rng(start)
    words = np.array([f"word{number}{start}" for number in range(500)])
    return pa.table({"s": [" ".join(words[chosen]) for chosen in random.integers(0, 500, (rows, 8))]})


def shared_nbytes(ds: LanceDataset) -> list[int]:
    """The bytes of the shared blob of the first column, of each file."""
    found = [Anatomy(ds._store, fragment.files[0].path) for fragment in ds._manifest.fragments]
    return [anatomy.record(anatomy.tail(), 0).shared_nbytes for anatomy in found]


def test_dictionaries_of_text_come_along_once_each():
    first, second = text(1), text(2)
    ds = table_of(first, second, first)
    before = shared_nbytes(ds)
    ds.optimize.compact_files(compaction_mode=FORCE)
    assert shared_nbytes(ds) == [before[0] + before[1]]
    assert min(before) > 30_000
    assert ds.to_table().equals(pa.concat_tables([first, second, first]))
    assert_sound(ds)


def test_text_is_encoded_anew_where_its_dictionaries_are_too_many(encoded, monkeypatch):
    monkeypatch.setattr(moving, "_SHARED_NBYTES", 50 << 10)
    monkeypatch.setattr(moving, "_PAGE_ROWS", 1000)
    ds = table_of(text(1), text(2))
    before = ds.to_table()
    encoded.clear()
    ds.optimize.compact_files()
    assert encoded == [16_000]
    assert ds.to_table().equals(before)
    assert_sound(ds)


# What cannot move


def refuse_deleted(ds: LanceDataset) -> None:
    ds.delete("i = 1")


def refuse_scattered(ds: LanceDataset) -> None:
    ds.add_columns({"s.w": "i + 1"})


@pytest.mark.parametrize(
    ("change", "problem"),
    [(refuse_deleted, "rows of fragment 0 are deleted"), (refuse_scattered, "'s' of fragment 0.*not all in one file")],
)
def test_what_must_move_and_cannot_is_refused_and_nothing_changes(change: Callable, problem, uri):
    ds = lance_like.write_dataset(people(10), uri, max_rows_per_file=4)
    change(ds)
    files, version = ds._store.list("data/"), ds.version
    with pytest.raises(Unsupported, match=problem):
        ds.optimize.compact_files(compaction_mode=FORCE)
    assert (ds._store.list("data/"), lance_like.dataset(uri).version) == (files, version)


def test_the_mode_travels_with_a_task():
    ds = table_of(people(4), people(4))
    ds.delete("i = 1")
    [task] = Compaction.plan(ds, {"compaction_mode": FORCE}).tasks
    with pytest.raises(Unsupported):
        CompactionTask.from_json(task.json()).execute(ds)


def test_damage_anywhere_in_a_column_is_noticed_and_nothing_is_published():
    ds = table_of(text(1), text(2))
    [file] = ds._manifest.fragments[1].files
    anatomy = Anatomy(ds._store, file.path)
    record = anatomy.record(anatomy.tail(), 0)
    entry = anatomy.entry(record, 0)
    places = {
        "page": (entry.offset + entry.end) // 2,
        "fences": record.offset,
        "entry": record.entries_offset + 8,
        "description": record.descriptions_offset + 2,
        "block checksums": record.sums_offset,
        "shared blob": record.shared_offset + 100,
        "zones": record.zones_offset,
        "field": record.field_offset + 10,
    }
    files, sound = ds._store.list("data/"), ds._store._objects[file.path]
    for part, at in places.items():
        damaged = bytearray(sound)
        damaged[at] ^= 1
        ds._store._objects[file.path] = bytes(damaged)
        fresh = LanceDataset(ds._store, ds._manifest)
        with pytest.raises(Corrupt):
            fresh.optimize.compact_files(compaction_mode=FORCE)
            pytest.fail(part)
        assert ds._store.list("data/") == files


# What the rows are


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: str(kind).replace("\n", ""))
def test_columns_of_every_type_move(kind, encoded):
    random = np.random.default_rng(4)
    arrays = [make_array(kind, rows, Shape("near", 0.3), random) for rows in (9, 5, 12)]
    ds = table_of(*(pa.table({"c": array}) for array in arrays))
    encoded.clear()
    ds.optimize.compact_files(compaction_mode=FORCE)
    assert encoded == []
    column = ds.to_table()["c"]
    assert column.type == kind
    assert cells_of(column) == [cell for array in arrays for cell in cells_of(array)]
    # Some times are of no day.
    assert_sound(ds, but="values")


ZONED = (
    *(pa.int32(), pa.float64(), pa.float16(), pa.bool_(), pa.string(), pa.binary(), pa.decimal128(20, 3)),
    *(pa.dictionary(pa.int8(), pa.string()), pa.list_(pa.int8()), pa.binary(40), pa.uuid(), pa.null()),
)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(
    kind=st.sampled_from(ZONED),
    style=st.sampled_from(("any", "few", "same", "near")),
    rows=st.lists(st.sampled_from((3, 700, 8192, 9001, 20_000)), min_size=2, max_size=4),
    shares=st.lists(st.sampled_from((0.0, 0.001, 0.25, 1.0)), min_size=4, max_size=4),
)
def test_zones_count_exactly_and_hold_the_values_wherever_pages_begin(kind, style, rows, shares):
    random = np.random.default_rng(0)
    arrays = [make_array(kind, count, Shape(style, share), random) for count, share in zip(rows, shares, strict=False)]
    ds = table_of(*(pa.table({"c": array}) for array in arrays))
    ds.optimize.compact_files(compaction_mode=FORCE)
    assert_sound(ds)


DIGITS = np.arange(20_000) % 7
SPREAD = (
    pa.array(np.where(DIGITS == 3, np.nan, DIGITS), mask=DIGITS == 5),
    pa.array(np.full(20_000, np.nan), mask=DIGITS == 5),
    pa.array(DIGITS, mask=DIGITS == 5),
    pa.DictionaryArray.from_arrays(pa.array(DIGITS), ["a", None, "c", "d", "e", "f", "g"]),
    pa.DictionaryArray.from_arrays(pa.array(DIGITS, mask=DIGITS == 5), list("abcdefg")),
    pa.array([None if digit == 5 else [int(digit)] for digit in DIGITS]),
)


@pytest.mark.parametrize("column", SPREAD, ids=lambda column: str(column.type))
def test_nulls_and_nan_all_over_are_counted_exactly(column):
    ds = table_of(*(pa.table({"c": column.slice(0, rows)}) for rows in (9000, 20_000, 8192, 12_001)))
    ds.optimize.compact_files(compaction_mode=FORCE)
    assert_sound(ds)


def test_rows_are_found_by_the_zones_of_moved_pages():
    words = [f"{number:05} " + "long " * 8 for number in range(30_000)]
    tables = [pa.table({"w": words[start:end]}) for start, end in ((0, 9000), (9000, 18_001), (18_001, 30_000))]
    ds = table_of(*tables)
    ds.optimize.compact_files(compaction_mode=FORCE)
    for number in (0, 8191, 8999, 9000, 18_000, 18_001, 29_999):
        assert ds.count_rows(f"w = '{words[number]}'") == 1
    assert ds.count_rows("w is null") == 0
    [file] = ds._manifest.fragments[0].files
    [(_, total)] = file.stats
    # Both were cut, and still say so.
    assert (total.min, total.flags) == (words[0].encode()[:32], 1 | 2 | 4 | 8)


def test_a_greatest_value_that_is_not_known_stays_unknown():
    ds = table_of(*(pa.table({"b": [b"\xff" * 40, b"a"]}) for _ in range(2)))
    ds.optimize.compact_files(compaction_mode=FORCE)
    [file] = ds._manifest.fragments[0].files
    [(_, total)] = file.stats
    assert (total.min, total.max, total.flags) == (b"a", None, 1)
    assert ds.count_rows("b = x'" + "ff" * 40 + "'") == 2
