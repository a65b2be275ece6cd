"""The forms in which arrays of every type travel: there and back, and what does not fit."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from arrow_values import RUNS, STYLES, TEXT_VIEWS, TYPES, UNIONS, VIEWS, Shape, arrays, cells_of, make_array, null_cell
from hypothesis import given, settings
from hypothesis import strategies as st

from lance_like.encodings.joining import joined, taken
from lance_like.errors import Corrupt, InvalidInput
from lance_like.file import carry as forms
from lance_like.file.carry import carried_field, carried_type, carry, most_rows, nulls, present, present_parts

names = [str(kind).replace("\n", "") for kind in TYPES]
OTHERS = (*TEXT_VIEWS, *VIEWS, *RUNS, *UNIONS)


@pytest.mark.parametrize("kind", TYPES, ids=names)
@settings(max_examples=15)
@given(data=st.data())
def test_an_array_comes_back_from_its_carried_form(kind: pa.DataType, data: st.DataObject) -> None:
    array = data.draw(arrays(kind, max_rows=60))
    carried = carry(array)
    carried.validate()
    assert carried.type == carried_type(kind)
    again = present(carried, kind)
    again.validate()
    assert again.type == kind
    assert cells_of(again) == cells_of(array)


@pytest.mark.parametrize("kind", OTHERS, ids=str)
def test_carried_arrays_can_be_taken_joined_and_flattened(kind: pa.DataType) -> None:
    for style in STYLES:
        array = make_array(kind, 30, Shape(style, 0.3), np.random.default_rng(0)).slice(5, 20)
        carried, cells = carry(array), cells_of(array)
        rows = [3, 3, 0, 19]
        assert cells_of(present(taken(carried, pa.array(rows)), kind)) == [cells[row] for row in rows]
        assert cells_of(present(joined([carried, carried.slice(4, 6)]), kind)) == cells + cells[4:10]
        below = pa.StructArray.from_arrays([carried], ["x"], mask=pa.array([row % 2 == 0 for row in range(20)]))
        assert cells_of(present(below.flatten()[0], kind))[1::2] == cells[1::2]


@pytest.mark.parametrize("kind", TYPES, ids=names)
def test_nulls_of_every_type(kind: pa.DataType) -> None:
    made = nulls(3, kind)
    made.validate()
    assert made.type == kind
    assert cells_of(made) == [null_cell(kind)] * 3
    assert nulls(0, kind).type == kind


def test_what_is_carried_as_it_is_is_the_same_object() -> None:
    for kind in (pa.int64(), pa.list_(pa.struct([("x", pa.string())])), pa.dictionary(pa.int8(), pa.string())):
        array, field = make_array(kind, 5, Shape("any", 0.3), np.random.default_rng(0)), pa.field("f", kind)
        assert carried_type(array.type) is array.type
        assert carried_field(field) is field
        assert carry(array) is array
        assert present(array, kind) is array


def test_fields_keep_their_names_and_metadata_and_may_be_null_as_before() -> None:
    item = pa.field("it", pa.string_view(), nullable=False, metadata={"k": "v"})
    kind = pa.struct([pa.field("l", pa.list_(item), nullable=False), pa.field("m", pa.map_(pa.int8(), item))])
    expected = item.with_type(pa.large_string())
    carried = carried_type(kind)
    assert carried.field("l").equals(pa.field("l", pa.list_(expected), nullable=False), check_metadata=True)
    assert carried.field("m").type.item_field.equals(expected, check_metadata=True)


def test_runs_are_as_long_as_the_rows_say_and_neighbours_from_one_run_are_one() -> None:
    kind = pa.run_end_encoded(pa.int16(), pa.int8())
    array = pa.RunEndEncodedArray.from_arrays(pa.array([3, 5, 9], pa.int16()), pa.array([1, None, 1], pa.int8()))
    carried = carry(array.slice(1, 6))
    assert carried.indices.to_pylist() == [0, 0, 1, 1, 2, 2]
    shown = present(taken(carried, pa.array([0, 1, 5, 4, 2, 3, 2])), kind)
    assert shown.run_ends.to_pylist() == [2, 4, 7]
    assert shown.values.to_pylist() == [1, 1, None]


def test_short_run_ends_take_several_arrays() -> None:
    kind = pa.run_end_encoded(pa.int16(), pa.bool_())
    assert most_rows(kind) == most_rows(pa.struct([("a", pa.int8()), ("r", kind)])) == 32_767
    assert most_rows(pa.list_(kind, 4)) == 8_191
    assert most_rows(pa.run_end_encoded(pa.int32(), pa.bool_())) is None
    carried = nulls(70_000, carried_type(kind))
    assert [len(part) for part in present_parts(carried, kind)] == [32_767, 32_767, 4_466]
    with pytest.raises(InvalidInput) as caught:
        present(carried, kind)
    assert caught.value.kind == "too-large"


def test_view_arrays_of_more_than_their_limit_have_several_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "_INT32_LIMIT", 100)
    words = pa.array([f"a word that is number {i}" for i in range(40)], pa.large_string())
    shown = present(words.slice(3), pa.string_view())
    shown.validate(full=True)
    assert shown.to_pylist() == words.to_pylist()[3:]
    with pytest.raises(InvalidInput, match="a cell of 101 bytes"):
        present(pa.array(["x" * 101], pa.large_string()), pa.string_view())


@pytest.mark.parametrize("positions", [[0, 2], [0, None]], ids=str)
def test_a_union_row_of_no_field_is_corrupt(positions: list[int | None]) -> None:
    kind = pa.sparse_union([pa.field("a", pa.int8()), pa.field("b", pa.int8())])
    children = [pa.array(positions, pa.uint8()), pa.array([1, 2], pa.int8()), pa.array([1, 2], pa.int8())]
    carried = pa.Array.from_buffers(carried_type(kind), 2, [None], children=children)
    with pytest.raises(Corrupt):
        present(carried, kind)
