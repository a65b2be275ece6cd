"""Whole files with pages of a few rows: reads, runs and takes equal Arrow, for every type and for structs."""

from __future__ import annotations

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest
from arrow_values import FLAT, NESTED, STYLES, TYPES, VARIABLE, Shape, arrays, make_array, same, same_table
from file_cases import KEY, opened, picked, random_rows, rows_of, small_pages, span_of, write
from hypothesis import given, settings
from hypothesis import strategies as st

from lance_like.errors import Unsupported
from lance_like.file import writer
from lance_like.file.carry import carry
from lance_like.file.columns import MAX_DEPTH
from lance_like.file.cut import PendingRows
from lance_like.file.reader import FileReader, read_table
from lance_like.file.writer import FileWriter
from lance_like.io.fetch import drive
from lance_like.io.memory import MemoryStore
from lance_like.io.observe import CountingStore, counted
from lance_like.io.store import Store

names = [str(kind).replace("\n", "") for kind in TYPES]


def check(table: pa.Table, *, batch_rows: int | None = None, verify: bool = True) -> None:
    """Write a table, then compare its schema, all rows, runs and picked rows."""
    store, summary = write(table, batch_rows=batch_rows)
    assert summary.rows == len(table)
    reader = opened(store, tail=summary.tail, verify=verify)
    assert drive(store, KEY, reader.schema()).equals(table.schema, check_metadata=True)
    for start, end in ((0, len(table)), (len(table) // 3, len(table) // 2), (0, min(1, len(table)))):
        assert same_table(span_of(store, reader, table.schema, start, end), table.slice(start, end - start))
    for count in (0, 1, 30):
        rows = random_rows(table, count, seed=count)
        assert same_table(rows_of(store, reader, table.schema, rows), picked(table, rows))
    fresh = opened(store)
    rows = random_rows(table, 5, seed=9)
    assert same_table(rows_of(store, fresh, table.schema, rows), picked(table, rows))


@pytest.mark.parametrize("kind", TYPES, ids=names)
@settings(max_examples=6)
@given(data=st.data(), batch_rows=st.sampled_from((None, 7, 64)), verify=st.booleans())
def test_a_column_of_every_type(kind: pa.DataType, data: st.DataObject, batch_rows: int | None, verify: bool) -> None:
    table = pa.table({"c": data.draw(arrays(kind, max_rows=350))})
    with small_pages():
        check(table, batch_rows=batch_rows, verify=verify)


INNER = (pa.int32(), pa.float64(), pa.string(), pa.bool_(), pa.list_(pa.int16()), pa.dictionary(pa.int8(), pa.string()))


@st.composite
def schemas(draw: st.DrawFn) -> pa.Schema:
    """Schemas with structs in structs, whose children may or may not be null."""
    leaf = st.sampled_from(INNER)
    kinds = st.recursive(leaf, lambda inner: st.lists(_fields(inner), max_size=3).map(pa.struct), max_leaves=6)
    fields = draw(st.lists(_fields(kinds), min_size=1, max_size=4))
    metadata = draw(st.sampled_from((None, {"owner": "x", "": "\0"})))
    return pa.schema(fields, metadata=metadata)


def _fields(kinds: st.SearchStrategy[pa.DataType]) -> st.SearchStrategy[pa.Field]:
    names = st.sampled_from(("a", "b", "", "a.b", "né 𝄞"))
    metadata = st.sampled_from((None, {"k": "v"}))
    return st.builds(
        lambda name, kind, null, extra: pa.field(name, kind, null, extra), names, kinds, st.booleans(), metadata
    )


@settings(max_examples=40)
@given(
    schema=schemas(),
    rows=st.integers(0, 250),
    style=st.sampled_from(STYLES),
    nulls=st.sampled_from((0.0, 0.3, 1.0)),
    offset=st.sampled_from((0, 3)),
    seed=st.integers(0, 99),
)
def test_tables_of_structs(schema: pa.Schema, rows: int, style: str, nulls: float, offset: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    arrays = [
        make_array(field.type, rows + offset, Shape(style, nulls if field.nullable else 0.0), rng).slice(offset)
        for field in schema
    ]
    with small_pages(rows=64):
        check(pa.Table.from_arrays(arrays, schema=schema), batch_rows=97)


def test_a_child_below_a_null_struct_is_null_when_read_alone() -> None:
    child = pa.field("x", pa.int32(), nullable=False)
    array = pa.StructArray.from_arrays(
        [pa.array([1, 2, 3], pa.int32())], fields=[child], mask=pa.array([False, True, False])
    )
    store, _ = write(pa.table({"s": array}))
    reader = opened(store)
    (alone,) = drive(store, KEY, reader.read_span(1, pa.int32(), 0, 3))
    assert alone.to_pylist() == [1, None, 3]
    whole = span_of(store, reader, pa.schema([("s", array.type)]), 0, 3)["s"].chunk(0)
    assert whole.to_pylist() == [{"x": 1}, None, {"x": 3}]
    assert whole.field(0).null_count == 0


def test_a_dictionary_child_that_may_not_be_null_below_structs_that_all_are() -> None:
    child = pa.field("x", pa.dictionary(pa.int8(), pa.string()), nullable=False)
    values = pa.array(["a", "b", "a"]).dictionary_encode().cast(child.type)
    array = pa.StructArray.from_arrays([values], fields=[child], mask=pa.array([True, True, True]))
    table = pa.table({"s": array})
    check(table)
    whole = span_of(*_opened(table), table.schema, 0, 3)["s"].chunk(0)
    whole.validate(full=True)
    assert whole.field(0).null_count == 0


def _opened(table: pa.Table) -> tuple[Store, FileReader]:
    store, _ = write(table)
    return store, opened(store)


def test_structs_nested_too_deep_are_refused_before_anything_is_written() -> None:
    kind = pa.int8()
    for _ in range(MAX_DEPTH - 1):
        kind = pa.struct([("x", kind)])
    table = pa.table({"c": pa.nulls(2, kind)})
    store, reader = _opened(table)
    assert drive(store, KEY, reader.schema()).equals(table.schema)
    assert span_of(store, reader, table.schema, 0, 2).equals(table)
    with pytest.raises(Unsupported) as caught:
        FileWriter(pa.schema([("c", pa.struct([("x", kind)]))]))
    assert caught.value.kind == "limit"


def test_no_columns_and_no_rows() -> None:
    check(pa.table({}))
    check(pa.table({"a": pa.array([], pa.int64()), "s": pa.array([], pa.struct([("x", pa.string())]))}))
    check(pa.schema([("a", pa.string())], metadata={"k": "v"}).empty_table())


def test_empty_batches_are_nothing() -> None:
    batch = pa.record_batch({"a": [1, 2]})
    store = MemoryStore()
    made = FileWriter(batch.schema)
    store.put(KEY, made.chunks([batch.slice(0, 0), batch, batch.slice(2, 0), batch, batch.slice(0, 0)]))
    assert drive(store, KEY, read_table(opened(store)))[0][0].to_pylist() == [1, 2, 1, 2]


def test_types_without_a_stored_form_are_refused_before_anything_is_written() -> None:
    kind = pa.sparse_union([])
    for field in (pa.field("c", kind), pa.field("c", pa.struct([("x", pa.list_(kind))]))):
        with pytest.raises(Unsupported, match="cannot be stored"):
            FileWriter(pa.schema([field]))


# -- pages -----------------------------------------------------------------------------------------------------


def cut_pages(*batches: pa.Array) -> list[pa.Array]:
    """The pages of a column whose rows come in some batches."""
    pending = PendingRows(batches[0].type)
    pages = [page for batch in batches for page in pending.add(batch)]
    return [pa.concat_arrays(pieces) for pieces in pages + pending.rest()]


@pytest.mark.parametrize("kind", [pa.bool_(), pa.null(), *FLAT, *VARIABLE, *NESTED], ids=str)
@settings(max_examples=10)
@given(data=st.data())
def test_pages_are_cut_without_losing_a_row(kind: pa.DataType, data: st.DataObject) -> None:
    array = carry(data.draw(arrays(kind)))
    with small_pages(nbytes=200, rows=50):
        pages = cut_pages(array)
        assert sum(map(len, pages)) == len(array)
        assert all(1 <= len(page) <= 50 for page in pages) or len(array) == 0
        # Cells are cut by their bytes, to which 50 offsets come.
        assert all(len(page) == 1 or page.nbytes <= 200 * 3 // 2 + 8 * 51 for page in pages)
        assert same(pa.concat_arrays([array.slice(0, 0), *pages]), array)


def test_a_dictionary_is_not_what_a_page_is_cut_by() -> None:
    values = pa.array([f"value {i:04d}" for i in range(1000)])
    for kind in (pa.int32(), pa.int16()):
        array = pa.DictionaryArray.from_arrays(pa.array(np.arange(200) % 7, kind), values)
        lists = pa.ListArray.from_arrays(pa.array(np.arange(201), pa.int32()), array)
        with small_pages(nbytes=2000, rows=150):
            assert [len(page) for page in cut_pages(array)] == [150, 50]
            assert [len(page) for page in cut_pages(lists)] == [150, 50]
            check(pa.table({"d": array, "l": lists}), batch_rows=10)


def test_dictionaries_that_do_not_fit_their_index_type_together() -> None:
    batches = [
        pa.record_batch(
            {
                "d": pa.DictionaryArray.from_arrays(
                    pa.array(range(100), pa.int8()), pa.array([f"{i}-{j}" for j in range(100)])
                )
            }
        )
        for i in range(4)
    ]
    table = pa.Table.from_batches(batches)
    store, _ = write(table)
    reader = opened(store)
    pieces = drive(store, KEY, reader.read_span(0, table.schema.field(0).type, 0, 400))
    assert [value for piece in pieces for value in piece.to_pylist()] == table["d"].to_pylist()
    rows = np.array([399, 0, 150, 399, 250])
    assert rows_of(store, reader, table.schema, rows)["d"].to_pylist() == ["3-99", "0-0", "1-50", "3-99", "2-50"]


def test_wide_cells_have_pages_of_their_own() -> None:
    cells = [bytes([i]) * size for i, size in enumerate((10, 5000, 0, 7000, 20, 30))] + [None, b"x" * 3000]
    with small_pages():
        store, _ = write(pa.table({"c": pa.array(cells, pa.binary())}))
        reader = opened(store)
        pages = drive(store, KEY, reader.pages(0, pa.binary()))
    assert pages.fences.tolist() == [0, 1, 2, 3, 4, 7, 8]
    assert rows_of(store, reader, pa.schema([("c", pa.binary())]), np.arange(8))["c"].to_pylist() == cells


def test_pages_of_pending_columns_stay_under_a_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "PENDING_NBYTES", 100_000)
    rng = np.random.default_rng(0)
    batches = [pa.record_batch({f"c{i}": rng.random(100) for i in range(20)}) for _ in range(50)]
    made = FileWriter(batches[0].schema)
    most = 0
    store = MemoryStore()

    def watched():
        nonlocal most
        for chunk in made.chunks(iter(batches)):
            most = max(most, made.pending_nbytes)
            yield chunk

    store.put(KEY, watched())
    assert most <= 100_000 + batches[0].nbytes
    table = pa.Table.from_batches(batches)
    assert span_of(store, opened(store), table.schema, 0, len(table)).equals(table.combine_chunks())


def test_pages_are_let_go_when_they_are_written() -> None:
    array = pa.array(np.random.default_rng(0).random(1 << 18))
    gc.disable()
    try:
        before = pa.total_allocated_bytes()
        pages = []
        with small_pages(nbytes=1 << 18, rows=1 << 20, zone_rows=8192):
            made = FileWriter(pa.schema([("a", pa.float64())]))
            for chunk in made.chunks([pa.record_batch({"a": array})]):
                if isinstance(chunk, np.ndarray):
                    pages.append(weakref.ref(chunk))
        del chunk
        assert len(pages) == 8
        assert not any(page() is not None for page in pages)
        assert pa.total_allocated_bytes() <= before + 1024
    finally:
        gc.enable()


@pytest.mark.parametrize("threads", [8])
def test_many_threads_read_one_open_file(threads: int) -> None:
    rng = np.random.default_rng(0)
    kinds = (pa.int64(), pa.string(), pa.list_(pa.int32()), pa.dictionary(pa.int8(), pa.string()), pa.bool_())
    table = pa.table({str(i): make_array(kind, 600, Shape("near", 0.2), rng) for i, kind in enumerate(kinds)})
    with small_pages():
        store, _ = write(table)
    reader = opened(store)
    orders = [random_rows(table, 50, seed) for seed in range(24)]
    with ThreadPoolExecutor(threads) as pool:
        answers = list(pool.map(lambda rows: rows_of(store, reader, table.schema, rows), orders))
    for rows, answer in zip(orders, answers, strict=True):
        assert same_table(answer, picked(table, rows))


# -- cost ------------------------------------------------------------------------------------------------------


def test_a_plain_column_is_written_and_read_in_whole_pages() -> None:
    table = pa.table({"a": np.random.default_rng(0).random(5000)})
    with small_pages(nbytes=8192, rows=1 << 20):
        inner, _ = write(table)
    store = CountingStore(inner)
    reader = opened(store)
    pages = drive(store, KEY, reader.pages(0, pa.float64()))
    num_pages = len(pages.fences) - 1
    assert num_pages == 5
    drive(store, KEY, reader.read_span(0, pa.float64(), 0, 1))
    with counted(store) as counts:
        drive(store, KEY, reader.read_span(0, pa.float64(), 0, 5000))
    assert counts.rounds == 1
    assert counts.ranges == num_pages
    assert counts.bytes_read == 40_000
