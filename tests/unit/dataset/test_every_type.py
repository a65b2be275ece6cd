"""Every type that can be stored, through a table of several fragments: scans, takes, filters, columns of nulls."""

from __future__ import annotations

import pickle
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from arrow_values import TYPES, Shape, cells_of, make_array, null_cell

import lance_like
from lance_like.dataset import ColumnOrdering

PIECES = (9, 5, 12)
ROWS = sum(PIECES)
names = [str(kind).replace("\n", "") for kind in TYPES]


def pieces(kind: pa.DataType, nulls: float) -> list[pa.Array]:
    """Arrays of one type; of a dictionary type each has a dictionary of its own."""
    random = np.random.default_rng(4)
    return [make_array(kind, rows, Shape("near", nulls), random) for rows in PIECES]


def check(column: pa.ChunkedArray, kind: pa.DataType, cells: list[Any]) -> None:
    """The type, and every value bit for bit; Arrow finds nothing wrong either."""
    column.validate()
    assert column.type == kind
    assert cells_of(column) == cells


def is_null(kind: pa.DataType, cell: Any) -> bool:
    """As DuckDB sees a cell: a union is null where its value is."""
    if pa.types.is_union(kind):
        code, value = cell
        return is_null(kind.field(kind.type_codes.index(code)).type, value)
    return cell is None


@pytest.mark.parametrize("nulls", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("kind", TYPES, ids=names)
def test_a_type_comes_back_bit_for_bit_from_every_read(kind, nulls, uri):
    arrays, number = pieces(kind, nulls), np.arange(ROWS)
    for first, array in zip(np.cumsum((0, *PIECES)), arrays, strict=False):
        table = pa.table({"n": number[first : first + len(array)], "c": array})
        ds = lance_like.write_dataset(table, uri, mode="append")
    cells = [cell for array in arrays for cell in cells_of(array)]
    assert ds.schema.field("c").type == kind
    check(ds.to_table()["c"], kind, cells)
    check(ds.to_table(["c"], batch_size=4)["c"], kind, cells)
    check(ds.to_table(["c"], limit=9, offset=7)["c"], kind, cells[7:16])
    check(ds.to_table({"at": "_rowoffset", "x": "c", "k": "n + 1"}, batch_size=4)["x"], kind, cells)
    check(ds.to_table(["c"], order_by=[ColumnOrdering("n", False)])["c"], kind, cells[::-1])
    for order in (number, number[::-1], np.random.default_rng(5).integers(0, ROWS, 60), number[:0]):
        expected = [cells[row] for row in order]
        check(ds.take(order, ["c"])["c"], kind, expected)
        check(ds._take_rows(order, ["c"])["c"], kind, expected)
    # Few rows that pass are taken, many are cut out of their pages.
    check(ds.to_table(["c"], filter="n = 13")["c"], kind, cells[13:14])
    check(ds.to_table(["c"], filter="n <> 13")["c"], kind, cells[:13] + cells[14:])
    check(ds.to_table(["c"], filter="n % 2 = 0")["c"], kind, cells[::2])
    assert ds.count_rows("c is null") == sum(is_null(kind, cell) for cell in cells)


@pytest.mark.parametrize("kind", TYPES, ids=names)
def test_a_column_of_a_type_can_start_as_null_and_be_filled_later(kind, uri):
    ds = lance_like.write_dataset({"n": [1, 2]}, uri)
    ds.add_columns(pa.field("c", kind))
    array = pieces(kind, 0.3)[0]
    ds.insert(pa.table({"n": np.arange(len(array)), "c": array}))
    filled = cells_of(array)
    cells = [null_cell(kind)] * 2 + filled
    check(ds.to_table()["c"], kind, cells)
    check(ds.take([3, 0, 2, 1], ["c"])["c"], kind, [cells[row] for row in (3, 0, 2, 1)])
    assert ds.count_rows("c is null") == 2 + sum(is_null(kind, cell) for cell in filled)
    check(ds.to_table(["c"], filter="c is not null")["c"], kind, [cell for cell in filled if not is_null(kind, cell)])


@pytest.mark.parametrize("kind", TYPES, ids=names)
def test_a_column_that_an_expression_only_names_keeps_its_type_and_values(kind, uri):
    array = make_array(kind, 20, Shape("near", 0.3), np.random.default_rng(4))
    ds = lance_like.write_dataset(pa.table({"n": np.arange(20), "c": array, "d": array.slice(0, 20)}), uri)
    ds.add_columns({"copy": "C"})
    check(ds.to_table(["copy"])["copy"], kind, cells_of(array))
    ds.update({"c": '"d"'}, where="n % 3 = 0")
    check(ds.to_table(["c"], order_by=["n"])["c"], kind, cells_of(array))


def test_a_column_of_an_extension_that_is_not_registered_reads_in_the_handle_that_wrote_it(uri):
    class Stranger(pa.ExtensionType):
        def __init__(self) -> None:
            super().__init__(pa.int16(), "example.stranger")

        def __arrow_ext_serialize__(self) -> bytes:
            return b"\xff"

    array = pa.ExtensionArray.from_storage(Stranger(), pa.array([3, None, -1], pa.int16()))
    ds = lance_like.write_dataset(pa.table({"c": array}), uri)
    assert ds.to_table()["c"].type == array.type
    again = lance_like.dataset(uri)
    assert again.schema.field("c").type == pa.int16()
    assert again.schema.field("c").metadata[b"ARROW:extension:metadata"] == b"\xff"
    assert again.take([2, 0, 1], ["c"])["c"].to_pylist() == [-1, 3, None]


class Point(pa.ExtensionType):
    def __init__(self) -> None:
        super().__init__(pa.struct([pa.field("x", pa.int32()), pa.field("y", pa.string())]), "example.point")

    def __arrow_ext_serialize__(self) -> bytes:
        return b"\xfe"

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> Point:
        return cls()


def test_an_extension_over_a_struct_stays_one_column_where_it_is_not_registered(uri):
    cells = [{"x": 1, "y": "a"}, None, {"x": None, "y": "b"}]
    points = pa.ExtensionArray.from_storage(Point(), pa.array(cells, Point().storage_type))
    within = pa.StructArray.from_arrays([points], ["p"])
    pa.register_extension_type(Point())
    try:
        lance_like.write_dataset(pa.table({"n": [0, 1, 2], "c": points, "s": within}), uri)
    finally:
        pa.unregister_extension_type("example.point")
    stranger = lance_like.dataset(uri)
    assert stranger.to_table()["c"].to_pylist() == cells
    assert stranger.to_table(["s.p"])["s.p"].to_pylist() == cells
    assert duckdb.sql("select c from stranger order by n").fetchall() == [(cell,) for cell in cells]
    schema = pickle.loads(pickle.dumps(stranger.schema))
    assert schema == stranger.schema
    assert schema.field("c").type.storage_type == Point().storage_type
    stranger.update({"n": "n + 1"})
    stranger.delete("n = 2")
    stranger.insert(stranger.to_table(["n", "c"]))
    stranger.optimize.compact_files()
    pa.register_extension_type(Point())
    try:
        known = lance_like.dataset(uri).to_table()["c"]
        assert known.type == Point()
        assert known.to_pylist() == [cells[0], cells[2], cells[0], cells[2]]
    finally:
        pa.unregister_extension_type("example.point")


class Mark(pa.ExtensionType):
    def __init__(self) -> None:
        super().__init__(pa.int16(), "example.mark")

    def __arrow_ext_serialize__(self) -> bytes:
        return b"\xfd"

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> Mark:
        return cls()


class Scale(pa.ExtensionType):
    """As pyarrow's guide has them: equal where the parameter is, and without a hash."""

    def __init__(self, by: int) -> None:
        self.by = by
        super().__init__(pa.int32(), "example.scale")

    def __arrow_ext_serialize__(self) -> bytes:
        return str(self.by).encode()

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> Scale:
        return cls(int(serialized))


@pytest.mark.parametrize("sizes", [[300], [30] * 6, [3000, 2000]], ids=len)
@pytest.mark.parametrize("columns", [2, 40])
def test_extension_types_without_a_hash(uri, sizes, columns):
    with pytest.raises(TypeError):
        hash(Scale(1))
    pa.register_extension_type(Scale(1))
    try:
        rows, ends = sum(sizes), np.cumsum(sizes)
        numbers = [pa.array((np.arange(rows) * 7919 + i) % 1000, pa.int32()) for i in range(columns)]
        scaled = [pa.ExtensionArray.from_storage(Scale(i % 2), array) for i, array in enumerate(numbers)]
        table = pa.table({f"c{i}": array for i, array in enumerate(scaled)})
        for end, size in zip(ends.tolist(), sizes, strict=True):
            mode = "create" if end == size else "append"
            lance_like.write_dataset(table.slice(end - size, size), uri, mode=mode)
        ds = lance_like.dataset(uri)
        assert ds.to_table().combine_chunks().equals(table.combine_chunks())
        assert ds.count_rows("c1 < 10") == np.count_nonzero(numbers[1].to_numpy() < 10)
        some = [rows - 1, 0, *range(5, rows, 7)]
        assert ds.take(some).combine_chunks().equals(table.take(some).combine_chunks())
        assert lance_like.dataset(uri).take([3, 1])["c1"].type == Scale(1)
    finally:
        pa.unregister_extension_type("example.scale")


@pytest.mark.parametrize(
    "change",
    [
        lambda ds: ds.add_columns({"more": "n"}),
        lambda ds: ds.update({"c": "c"}),
        lambda ds: ds.update({"c": "c"}, where="n = 1"),
        lambda ds: ds.optimize.compact_files(),
        lambda ds: ds.insert(ds.to_table(filter="n < 0")),
        lambda ds: ds.merge_insert("n").when_matched_update_all().execute(ds.to_table()),
    ],
    ids=["add_columns", "update", "update_rows", "compact", "append", "merge_insert"],
)
def test_an_extension_outlives_a_change_where_it_is_not_registered(change, uri):
    marks = pa.ExtensionArray.from_storage(Mark(), pa.array([3, None, -1], pa.int16()))
    table = pa.table({"n": [0, 1, 2], "c": marks, "l": pa.ListArray.from_arrays([0, 1, 1, 3], marks)})
    pa.register_extension_type(Mark())
    try:
        lance_like.write_dataset(table, uri, max_rows_per_file=2)
    finally:
        pa.unregister_extension_type("example.mark")
    stranger = lance_like.dataset(uri)
    seen = stranger.schema
    assert seen.field("c").type == pa.int16()
    change(stranger)
    assert lance_like.dataset(uri).schema.field("c") == seen.field("c")
    pa.register_extension_type(Mark())
    try:
        known = lance_like.dataset(uri).to_table(["n", "c", "l"], order_by=["n"])
        assert known.schema == table.schema
        assert known.to_pylist() == table.to_pylist()
    finally:
        pa.unregister_extension_type("example.mark")


def test_duckdb_reads_extension_types_that_python_defines(uri):
    points = pa.ExtensionArray.from_storage(Point(), pa.array([{"x": 1, "y": "a"}, None], Point().storage_type))
    ds = lance_like.write_dataset(pa.table({"c": points}), uri)
    assert ds.schema.field("c").type == Point()
    assert duckdb.sql("select c from ds").fetchall() == [({"x": 1, "y": "a"},), (None,)]


def test_run_ends_of_16_bits_come_in_as_many_arrays_as_they_need(uri):
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([30_000], pa.int16()), pa.array([7], pa.int64()))
    table = pa.table({"n": np.arange(60_000), "c": pa.chunked_array([runs, runs])})
    ds = lance_like.write_dataset(table, uri)
    for found in (ds.to_table(), ds.take(np.arange(60_000)[::-1]), ds.to_table(filter="c = 7")):
        assert max(len(chunk) for chunk in found["c"].chunks) <= 32_767
        assert len(found) == 60_000
    assert ds.count_rows("c = 8") == 0


def test_conditions_hold_for_views_as_they_do_for_text(uri):
    words = [f"word {i} of more than twelve bytes" for i in range(300)]
    ds = lance_like.write_dataset(pa.table({"s": pa.array(words, pa.string_view())}), uri)
    for condition, rows in (
        (f"s = '{words[7]}'", [words[7]]),
        ("s like 'word 29%'", [words[29], *words[290:]]),
        ("upper(s) = 'WORD 5 OF MORE THAN TWELVE BYTES'", [words[5]]),
    ):
        assert ds.to_table(filter=condition)["s"].to_pylist() == rows
