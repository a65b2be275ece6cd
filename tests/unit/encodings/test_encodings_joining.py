"""Arrays end to end and rows picked from them, where Arrow itself refuses or answers wrongly."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from arrow_values import CARRIED_TYPES, DICTIONARIES, Shape, cells_of, make_array

from lance_like.encodings.joining import between, concatenated, joined, taken, taken_at
from lance_like.errors import InvalidInput

names = [str(kind).replace("\n", "") for kind in CARRIED_TYPES]


def pieces_of(kind: pa.DataType) -> list[pa.Array]:
    """Slices of arrays with dictionaries of their own, an empty one among them."""
    made = (make_array(kind, rows, Shape("any", 0.3), np.random.default_rng(rows)) for rows in (9, 4, 12))
    return [array.slice(2, len(array) - 3) for array in made] + [make_array(kind, 0, Shape("any", 0.0), RNG)]


RNG = np.random.default_rng(0)


@pytest.mark.parametrize("kind", CARRIED_TYPES, ids=names)
def test_arrays_of_every_type_are_joined(kind: pa.DataType) -> None:
    pieces = pieces_of(kind)
    whole = joined(pieces)
    whole.validate()
    assert whole.type == kind
    assert cells_of(whole) == [cell for piece in pieces for cell in cells_of(piece)]


@pytest.mark.parametrize("kind", CARRIED_TYPES, ids=names)
def test_rows_between_are_those_of_all_arrays_joined(kind: pa.DataType) -> None:
    pieces = pieces_of(kind)
    whole = joined(pieces)
    for start in range(len(whole)):
        for end in range(start + 1, len(whole) + 1):
            assert cells_of(between(pieces, start, end)) == cells_of(whole.slice(start, end - start))


def test_rows_between_that_lie_in_one_array_are_a_slice_of_it() -> None:
    pieces = [pa.array([1, 2, 3]), pa.array([4, 5, 6])]
    found = between(pieces, 4, 6)
    assert (found.buffers()[1].address, found.offset) == (pieces[1].buffers()[1].address, 1)


@pytest.mark.parametrize("kind", CARRIED_TYPES, ids=names)
def test_rows_of_every_type_are_taken_from_slices(kind: pa.DataType) -> None:
    array = make_array(kind, 40, Shape("any", 0.3), RNG).slice(7, 30)
    cells, rows = cells_of(array), RNG.integers(0, 30, 50)
    assert cells_of(taken(array, pa.array(rows))) == [cells[row] for row in rows]
    assert cells_of(taken(array, pa.array([3, None]))) == [cells[3], None]
    at = taken_at(array, np.array(rows))
    at.validate()
    assert at.type == kind and cells_of(at) == [cells[row] for row in rows]


@pytest.mark.parametrize("kind", CARRIED_TYPES, ids=names)
def test_rows_without_nulls_are_taken_at_their_places(kind: pa.DataType) -> None:
    array = make_array(kind, 20, Shape("any", 0.0), np.random.default_rng(3)).slice(4, 15)
    cells, rows = cells_of(array), [7, 0, 7, 14]
    found = taken_at(array, np.array(rows))
    found.validate()
    assert found.type == kind and cells_of(found) == [cells[row] for row in rows]
    assert len(taken_at(array.slice(0, 0), np.array([], np.int64))) == 0


@pytest.mark.parametrize("around", ["itself", "list", "struct"])
def test_rows_of_slices_of_grids_are_those_asked_for(around: str) -> None:
    # pyarrow 26.0.1: pa.Array.take answers with other rows.
    inner = pa.FixedSizeListArray.from_arrays(pa.array(range(300), pa.int32()), 2)
    grid = pa.FixedSizeListArray.from_arrays(inner, 3).slice(7, 30)
    if around == "list":
        grid = pa.ListArray.from_arrays(list(range(0, 31, 3)), grid)
    elif around == "struct":
        grid = pa.StructArray.from_arrays([grid], ["x"])
    cells = grid.to_pylist()
    assert taken(grid, pa.array([5, 0, 9])).to_pylist() == [cells[5], cells[0], cells[9]]


def numbered(values: pa.Array, codes: list[int | None], index: pa.DataType) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes, index), values)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (pa.array(["a", None]), pa.array(["b", "unused"])),
        (pa.array([[1], [2]]), pa.array([[1], None])),
        (pa.array([{"x": 1}, None]), pa.array([{"x": 2}, {"x": 3}])),
    ],
    ids=["a null value", "lists", "structs"],
)
def test_dictionaries_that_arrow_does_not_unite_keep_all_their_values(one: pa.Array, two: pa.Array) -> None:
    pieces = [numbered(one, [1, None, 0], pa.int8()), numbered(two, [0, 0], pa.int8())]
    with pytest.raises(pa.ArrowException):
        pa.concat_arrays(pieces)
    whole = concatenated(pieces)
    assert cells_of(whole) == cells_of(pieces[0]) + cells_of(pieces[1])
    assert whole.indices.to_pylist() == [1, None, 0, 2, 2]
    assert whole.dictionary.to_pylist() == one.to_pylist() + two.to_pylist()
    lists = [pa.ListArray.from_arrays([0, len(piece)], piece) for piece in pieces]
    assert cells_of(concatenated(lists)) == cells_of(lists[0]) + cells_of(lists[1])


def test_dictionaries_of_halves_keep_their_values() -> None:
    # pyarrow 26.0.1: pa.concat_arrays answers with other values.
    pieces = [
        numbered(pa.array(RNG.integers(0, 1 << 15, 200).astype(np.uint16).view(np.float16)), [3, 0, 199], pa.int16())
        for _ in range(3)
    ]
    assert cells_of(joined(pieces)) == [cell for piece in pieces for cell in cells_of(piece)]
    lists = [pa.ListArray.from_arrays([0, 3], piece) for piece in pieces]
    assert cells_of(joined(lists)) == [cell for piece in lists for cell in cells_of(piece)]


def test_more_values_than_an_index_numbers_are_fewer_when_only_those_in_use_are_kept() -> None:
    pieces = [numbered(pa.array([f"{i}-{k}" for k in range(100)]), [i, 99], pa.int8()) for i in range(3)]
    assert joined(pieces).to_pylist() == ["0-0", "0-99", "1-1", "1-99", "2-2", "2-99"]


def test_what_no_index_can_number_is_too_large() -> None:
    pieces = [numbered(pa.array([f"{i}-{k}" for k in range(100)]), list(range(100)), pa.int8()) for i in range(2)]
    with pytest.raises(InvalidInput) as caught:
        joined(pieces)
    assert caught.value.kind == "too-large"


def test_the_types_with_dictionaries_are_among_those_joined() -> None:
    assert len([kind for kind in CARRIED_TYPES if kind in DICTIONARIES]) >= 5


def test_nested_dictionaries_keep_only_the_values_in_use_where_the_index_type_numbers_no_more() -> None:
    kind = pa.dictionary(pa.int8(), pa.string())
    parts = [pa.array([f"{i}-{j}" for j in range(100)]).dictionary_encode().cast(kind)[:2] for i in range(3)]
    structs = [pa.StructArray.from_arrays([part], ["x"]) for part in parts]
    assert [row["x"] for row in joined(structs).to_pylist()] == ["0-0", "0-1", "1-0", "1-1", "2-0", "2-1"]
    lists = [pa.ListArray.from_arrays([0, 2], part) for part in parts]
    assert joined(lists).to_pylist() == [["0-0", "0-1"], ["1-0", "1-1"], ["2-0", "2-1"]]
