"""Types nested at random through whole tables: several pages and fragments, chunked input, every way to read."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from arrow_values import DICTIONARIES, FLAT, SHAPES, TEXT_VIEWS, VARIABLE, Shape, cells_of, make_array
from hypothesis import given, settings
from hypothesis import strategies as st

import lance_like
from lance_like.encodings.physical import storage_of
from lance_like.file import cut, stats, writer
from lance_like.file.types import type_from_json, type_to_json

NAMES = st.sampled_from(("a", "b", "", "a.b", "né 𝄞", "x" * 50))
METADATA = st.sampled_from((None, {"k": "v"}, {b"\xff": b"\0"}))
LEAVES = st.sampled_from((pa.null(), pa.bool_(), *FLAT, *VARIABLE, *TEXT_VIEWS, *DICTIONARIES, pa.uuid(), pa.bool8()))
KEYS = st.sampled_from((pa.int16(), pa.string(), pa.string_view(), pa.binary(3)))


@st.composite
def fields_of(draw: st.DrawFn, kinds: st.SearchStrategy[pa.DataType]) -> pa.Field:
    kind = draw(kinds)
    return pa.field(draw(NAMES), kind, storage_of(kind) == pa.null() or draw(st.booleans()), draw(METADATA))


@st.composite
def unions_of(draw: st.DrawFn, kinds: st.SearchStrategy[pa.DataType]) -> pa.DataType:
    children = draw(st.lists(fields_of(kinds), min_size=1, max_size=3))
    codes = draw(st.lists(st.integers(0, 127), min_size=len(children), max_size=len(children), unique=True))
    return draw(st.sampled_from((pa.sparse_union, pa.dense_union)))(children, codes)


def around(kinds: st.SearchStrategy[pa.DataType]) -> st.SearchStrategy[pa.DataType]:
    """Types that hold others."""
    items = fields_of(kinds)
    return st.one_of(
        *(items.map(make) for make in (pa.list_, pa.large_list, pa.list_view, pa.large_list_view)),
        st.builds(pa.list_, items, st.integers(0, 3)),
        st.builds(pa.map_, KEYS, items, st.booleans()),
        # A table refuses siblings of one name.
        st.lists(items, max_size=3, unique_by=lambda field: field.name).map(pa.struct),
        st.builds(pa.run_end_encoded, st.sampled_from((pa.int16(), pa.int32(), pa.int64())), kinds),
        st.builds(pa.dictionary, st.sampled_from((pa.int8(), pa.uint32())), kinds, st.booleans()),
        unions_of(kinds),
        kinds.map(lambda kind: pa.opaque(kind, "kind", "vendor")).filter(_is_exported),
    )


def _is_exported(kind: pa.DataType) -> bool:
    return not isinstance(kind.storage_type, pa.BaseExtensionType)  # Arrow exports no extension of an extension


KINDS = st.recursive(LEAVES, around, max_leaves=5)


@given(kind=KINDS)
def test_a_type_comes_back_from_its_json(kind: pa.DataType) -> None:
    field = pa.field("c", kind)
    again = pa.field("c", type_from_json(type_to_json(kind)))
    assert again.equals(field, check_metadata=True)


@settings(max_examples=12, deadline=None)
@given(kind=KINDS, shape=SHAPES, seed=st.integers(0, 999))
def test_a_column_of_a_random_type_equals_what_was_written(kind: pa.DataType, shape: Shape, seed: int) -> None:
    check_written_and_read(kind, shape, seed)


@pytest.mark.exhaustive
@settings(max_examples=1500, deadline=None)
@given(kind=KINDS, shape=SHAPES, seed=st.integers(0, 999))
def test_columns_of_many_random_types_equal_what_was_written(kind: pa.DataType, shape: Shape, seed: int) -> None:
    check_written_and_read(kind, shape, seed)


def check_written_and_read(kind: pa.DataType, shape: Shape, seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Slices of arrays of their own; a dictionary's values fit its index type together.
    chunks = [make_array(kind, rows + 5, shape, rng).slice(2, rows) for rows in (23, 0, 41, 7)]
    cells, rows = [cell for chunk in chunks for cell in cells_of(chunk)], 71
    table = pa.table({"n": np.arange(rows), "c": pa.chunked_array(chunks, kind)})
    uri = f"memory://random-{seed}"
    with pytest.MonkeyPatch.context() as patch:
        for module, name, value in ((cut, "PAGE_ROWS", 16), (writer, "ZONE_ROWS", 8), (stats, "ZONE_ROWS", 8)):
            patch.setattr(module, name, value)
        ds = lance_like.write_dataset(table, uri, mode="overwrite", max_rows_per_file=40)
        assert len(ds.get_fragments()) == 2
        for found, expected in (
            (ds.to_table(), range(rows)),
            (ds.to_table(batch_size=9), range(rows)),
            (ds.to_table(filter="n % 3 = 1"), range(1, rows, 3)),
            (ds.to_table(filter="n in (5, 50)"), (5, 50)),
            *((ds.take(order), order) for order in (rng.integers(0, rows, 90), np.arange(rows)[::-1], [39, 40])),
        ):
            column = found["c"]
            column.validate()
            assert found.schema.field("c").equals(ds.schema.field("c"), check_metadata=True)
            assert cells_of(column) == [cells[row] for row in expected]
