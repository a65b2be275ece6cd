"""`verify_file` names every fault by its place, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pytest
from file_cases import KEY, small_pages, write

from lance_like.errors import NotFound
from lance_like.file import writer
from lance_like.file.anatomy import Anatomy
from lance_like.file.layout import HEAD_NBYTES, TAIL_NBYTES, Tail, sum64
from lance_like.file.verify import FileReport, Identity, verify_file
from lance_like.io.memory import MemoryStore

ROWS = 120
TABLE = pa.table(
    {
        "n": pa.array([None if i % 7 == 0 else i * i for i in range(ROWS)], pa.int32()),
        "s": pa.array([None if i % 5 == 0 else {"x": i / 3, "y": {"z": f"row {i}"}} for i in range(ROWS)]),
        "t": pa.array([f"text {i} " * (i % 4) for i in range(ROWS)]),
        "l": pa.array([list(range(i % 4)) for i in range(ROWS)], pa.list_(pa.int16())),
        "d": pa.array([f"w{i % 3}" for i in range(ROWS)]).dictionary_encode(),
        "b": pa.array([i % 3 == 0 for i in range(ROWS)]),
    }
)


def written(table: pa.Table) -> bytes:
    with small_pages():
        store, _ = write(table)
    assert isinstance(store, MemoryStore)
    return store._objects[KEY]


@pytest.fixture(scope="module")
def file() -> bytes:
    return written(TABLE)


def checked(data: bytes, identity: Identity | None = None) -> FileReport:
    store = MemoryStore()
    store.put(KEY, [data])
    return verify_file(store, KEY, identity=identity)


def flipped(data: bytes, *bits: int) -> bytes:
    changed = bytearray(data)
    for bit in bits:
        changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def parts_of(file: bytes) -> tuple[Anatomy, Tail]:
    store = MemoryStore()
    store.put(KEY, [file])
    anatomy = Anatomy(store, KEY)
    return anatomy, anatomy.tail()


def test_a_sound_file_has_no_fault_and_all_of_it_is_checked(file):
    report = checked(file)
    assert report.ok, report.faults
    anatomy, tail = parts_of(file)
    records = [anatomy.record(tail, column) for column in range(tail.num_columns)]
    assert report.pages == sum(record.num_pages for record in records)
    assert report.blocks == sum(record.num_blocks for record in records)
    assert (report.rows, report.columns, report.nbytes) == (ROWS, tail.num_columns, len(file))


@pytest.mark.parametrize("table", [TABLE.slice(0, 0), pa.table({}), TABLE.slice(0, 1)])
def test_files_of_few_rows_or_columns_are_sound(table):
    assert checked(written(table)).faults == []


def check_flips(file: bytes, bits: Iterable[int]) -> None:
    for bit in bits:
        faults = checked(flipped(file, bit)).faults
        assert faults, f"bit {bit} was not noticed"
        assert any(fault.start <= bit // 8 < fault.end for fault in faults), (bit, faults)
        # The tail, fences and shared blobs are needed to find or decode the rest; any other fault stays alone.
        assert len(faults) == 1, (bit, faults)


@pytest.mark.parametrize("seed", range(4))
def test_a_flipped_bit_anywhere_is_named_by_its_place(file, seed):
    check_flips(file, random.Random(seed).sample(range(8 * len(file)), 50))


@pytest.mark.exhaustive
@pytest.mark.parametrize("part", range(16))
def test_every_flipped_bit_is_named_by_its_place(file, part):
    bits = range(8 * len(file))
    check_flips(file, bits[len(bits) * part // 16 : len(bits) * (part + 1) // 16])


def test_all_of_many_faults_are_named(file):
    anatomy, tail = parts_of(file)
    first, text, last = (anatomy.record(tail, column) for column in (0, 5, tail.num_columns - 1))
    entry = anatomy.entry(text, 1)
    places = {
        "column 0 'n', zone 1": first.zones_offset + first.zone_nbytes,
        "column 0 'n', fences": first.offset,
        "column 5 't', page 1, block 0": entry.offset,
        "column 5 't', page 0, description": text.descriptions_offset,
        "column 5 't', page 2, block checksums": text.sums_offset + 4 * anatomy.entry(text, 2).first_block,
        f"column {tail.num_columns - 1}, field": last.field_offset,
        "head": 3,
        "file metadata": tail.metadata_offset,
    }
    report = checked(flipped(file, *(8 * at for at in places.values())))
    assert {fault.where for fault in report.faults} == set(places)


@pytest.mark.parametrize("nbytes", [0, 1, 127, 128, -1, -64])
def test_a_cut_file_is_named(file, nbytes):
    (fault,) = checked(file[:nbytes] if nbytes else b"").faults
    assert fault.where == "tail"


def test_bytes_between_the_parts_are_named_unless_a_part_is_lost(file):
    anatomy, tail = parts_of(file)
    ends = {record.end for record in (anatomy.record(tail, column) for column in range(tail.num_columns))}
    gap = next(end for end in sorted(ends) if end % 64)
    (fault,) = checked(flipped(file, 8 * gap)).faults
    assert (fault.where, fault.start, fault.end) == ("padding", gap, gap + 1)
    # Without its record nobody knows where a column lies, and so what is padding.
    lost = checked(flipped(file, 8 * gap, 8 * tail.directory_offset))
    assert [fault.where for fault in lost.faults] == ["column 0, directory record"]


def test_another_file_than_its_owner_recorded_is_named(file):
    _, tail = parts_of(file)
    right = Identity(len(file), sum64(file[-TAIL_NBYTES:]), ROWS, tail.num_columns)
    assert checked(file, right).ok
    for wrong in (
        Identity(len(file) + 1, right.tail, ROWS, tail.num_columns),
        Identity(len(file), right.tail ^ 1, ROWS, tail.num_columns),
        Identity(len(file), right.tail, ROWS + 1, tail.num_columns),
        Identity(len(file), right.tail, ROWS, tail.num_columns + 1),
    ):
        (fault,) = checked(file, wrong).faults
        assert (fault.where, fault.kind) == ("tail", "identity")


def test_a_missing_file_is_an_error_and_no_report():
    with pytest.raises(NotFound):
        verify_file(MemoryStore(), "nothing")


# Right checksums over wrong content


def test_nulls_in_a_column_that_may_not_be_null_are_named():
    schema = pa.schema([pa.field("n", pa.int32(), nullable=False)])
    report = checked(written(pa.table({"n": pa.array([1, None, 3], pa.int32())}, schema=schema)))
    (fault,) = report.faults
    assert fault.where == "column 0 'n', page 0, values"
    assert "1 are null" in fault.problem


def test_text_that_is_no_text_is_named():
    bad = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(np.array([0, 2, 4], np.int32)), pa.py_buffer(b"ok\xff\xfe")]
    )
    report = checked(written(pa.table({"t": bad})))
    assert "column 0 't', page 0, values" in {fault.where for fault in report.faults}


def test_a_value_below_a_null_struct_is_named(monkeypatch):
    def careless(arrays):
        """Every column as it stands, whatever the struct above it says."""
        struct = arrays[0]
        own = pa.Array.from_buffers(pa.struct([]), len(struct), [struct.buffers()[0]])
        return [own, pa.array([1, 2, 3], pa.int64())]

    monkeypatch.setattr(writer, "split", careless)
    report = checked(written(pa.table({"s": pa.array([{"x": 1}, None, {"x": 3}])})))
    (fault,) = report.faults
    assert fault.where == "column 1 'x', page 0, values"
    assert "1 are not null where the struct" in fault.problem


def test_a_page_that_cannot_be_read_hides_only_its_own_zones(file):
    """Zones of 32 rows, pages of 96: a wrong zone of another page is still found."""
    anatomy, tail = parts_of(file)
    record = anatomy.record(tail, 0)
    entry = anatomy.entry(record, 0)
    assert (record.zone_rows, entry.num_rows) == (32, 96)
    wrong = bytearray(flipped(file, 8 * entry.offset))
    reports = []
    for zone in range(record.num_zones):
        forged = bytearray(wrong)
        forge_null_count(forged, record.zones_offset + zone * record.zone_nbytes, record.zone_nbytes)
        reports.append({fault.where for fault in checked(bytes(forged)).faults} - {"column 0 'n', page 0, block 0"})
    assert reports == [set(), set(), set(), {"column 0 'n', zone 3"}]
    for zone in range(record.num_zones):
        forged = bytearray(file)
        forge_null_count(forged, record.zones_offset + zone * record.zone_nbytes, record.zone_nbytes)
        assert {fault.where for fault in checked(bytes(forged)).faults} == {f"column 0 'n', zone {zone}"}


def forge_null_count(data: bytearray, start: int, nbytes: int) -> None:
    """Change the count of nulls of a zone entry, and its checksum with it."""
    data[start] ^= 1
    data[start + nbytes - 4 : start + nbytes] = (sum64(bytes(data[start : start + nbytes - 4])) & 0xFFFFFFFF).to_bytes(
        4, "little"
    )


def test_the_head_of_another_version_is_named(file):
    (fault,) = checked(flipped(file, 8 * 4)).faults
    assert (fault.where, fault.start, fault.end) == ("head", 0, HEAD_NBYTES)
