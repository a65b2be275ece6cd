"""Columns by name: whatever is in the names, whoever wrote the JSON, and without parsing the others."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from file_cases import KEY, opened, write

from lance_like.errors import Corrupt, InvalidInput, NotFound
from lance_like.file import encode, lookup
from lance_like.file.anatomy import Anatomy
from lance_like.file.columns import Column
from lance_like.file.lookup import find_columns
from lance_like.io.fetch import drive
from lance_like.io.memory import MemoryStore
from lance_like.io.observe import CountingStore, counted

NAMES = ["a", "aa", "", " ", "日本", 'quote"', "back\\slash", "tab\tline\n", "name", "\x00", "🦆", "type", "int64"]
DEEP = pa.struct([("x", pa.struct([("y", pa.int8()), ("a", pa.int16())])), ("z", pa.string())])


def table() -> pa.Table:
    arrays = {name: pa.array([number, None]) for number, name in enumerate(NAMES)}
    return pa.table({**arrays, "deep": pa.array([None, {"x": {"y": 1, "a": 2}, "z": "w"}], DEEP)})


def find(store: MemoryStore | CountingStore, names: list[str] | None) -> dict[int, Column]:
    return drive(store, KEY, find_columns(opened(store).tail, KEY, names))


@pytest.fixture(params=["plain", "escaped"])
def store(request, monkeypatch) -> MemoryStore:
    """Names as they are, or every letter past ASCII as an escape, which another writer may choose."""
    if request.param == "escaped":
        monkeypatch.setattr(encode, "_JSON", json.JSONEncoder(separators=(",", ":"), ensure_ascii=True))
    made, _ = write(table())
    monkeypatch.undo()
    assert isinstance(made, MemoryStore)
    assert (b"\\u65e5" in made._objects[KEY]) == (request.param == "escaped")
    return made


@pytest.mark.parametrize("name", NAMES)
def test_a_column_is_found_by_any_name(store, name):
    assert find(store, [name]) == {NAMES.index(name): Column(name, pa.int64(), True, None, -1)}


def test_columns_come_in_the_order_named_with_their_children(store):
    found = find(store, ["deep", "a"])
    assert [(number, column.name, column.parent) for number, column in found.items()] == [
        (13, "deep", -1),
        (14, "x", 0),
        (15, "y", 1),
        (16, "a", 1),
        (17, "z", 0),
        (0, "a", -1),
    ]


def test_without_names_all_columns_are_there(store):
    found = find(store, None)
    assert list(found) == list(range(18))
    assert [column.parent for column in found.values()] == [-1] * 14 + [13, 14, 14, 13]


@pytest.mark.parametrize("name", ["b", "A", "x", "deep.x", "quote", "json"])
def test_what_is_no_top_level_name_is_not_found(store, name):
    with pytest.raises(NotFound, match="no column") as caught:
        find(store, [name])
    assert "there is" in caught.value.hint


def test_a_name_may_be_given_once_and_must_be_of_one_column(store):
    with pytest.raises(InvalidInput, match="twice"):
        find(store, ["a", "aa", "a"])
    twins, _ = write(pa.Table.from_arrays([pa.array([1]), pa.array(["x"]), pa.array([2])], names=["n", "n", "m"]))
    assert list(find(twins, ["m"])) == [2]
    with pytest.raises(InvalidInput, match="2 columns 'n'"):
        find(twins, ["n"])


def test_a_file_without_columns_has_none():
    bare, _ = write(pa.table({}))
    assert find(bare, None) == {}
    with pytest.raises(NotFound, match="no columns"):
        find(bare, ["a"])


def test_one_of_thousands_is_found_in_two_rounds_and_the_others_are_not_parsed(monkeypatch):
    parsed = []
    monkeypatch.setattr(lookup, "parse_json", lambda data, where: parsed.append(data) or json.loads(data))
    made, _ = write(pa.table({f"c{number}": pa.array([number]) for number in range(2000)}))
    store = CountingStore(made)
    tail = opened(store).tail
    with counted(store) as counts:
        found = drive(store, KEY, find_columns(tail, KEY, ["c77", "c1999"]))
    assert list(found) == [77, 1999]
    assert counts.rounds == 2
    assert len(parsed) <= 4


def test_damage_anywhere_in_the_directory_or_the_fields_is_refused(store):
    anatomy = Anatomy(store, KEY)
    tail = anatomy.tail()
    last = anatomy.record(tail, 17)
    good = store._objects[KEY]
    places = [tail.directory_offset + 64 * column + byte for column in (0, 9) for byte in (0, 8, 30, 33, 60)]
    for at in [*places, last.field_offset, last.end - 1]:
        wrong = bytearray(good)
        wrong[at] ^= 4
        store.put(KEY, [bytes(wrong)])
        with pytest.raises(Corrupt):
            drive(store, KEY, find_columns(tail, KEY, ["a"]))
