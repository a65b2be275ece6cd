"""Columns of a file by name: all fields are read and checked at once, only those that may be meant are parsed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from difflib import get_close_matches

import numpy as np

from lance_like.errors import Corrupt, InvalidInput, NotFound
from lance_like.file.columns import Column
from lance_like.file.layout import DIRECTORY, LOW_32, RECORD_NBYTES, Tail, parse_json, sums_at, unpack_column
from lance_like.file.types import field_from_json
from lance_like.typing_ import Bytes, Conversation, Int64s

_BACKSLASH = ord("\\")


def find_columns(tail: Tail, where: str, names: Sequence[str] | None) -> Conversation[dict[int, Column]]:
    """Top-level columns by name, in the order named, each with its struct children behind it; None: all columns.

    Returns the columns by their number in the file; `parent` is the place of the parent in the answer.
    Raises NotFound, naming the nearest; InvalidInput for a name that several columns have, or that is named twice.
    Cost: 2 rounds whatever the number of columns; the bytes of the directory and of all fields.
    """
    directory = yield from _directory(tail, where)
    texts = yield from _Texts.read(directory, tail, where)
    parents = directory["parent"].tolist()
    if names is None:
        numbers = list(range(len(parents)))
    else:
        roots = [_named(name, texts, parents) for name in names]
        if len(set(roots)) < len(roots):
            raise InvalidInput(f"columns={list(names)}: a column is named twice", where=where)
        below = _children(parents)
        numbers = [number for root in roots for number in _subtree(root, below)]
    places = {number: place for place, number in enumerate(numbers)}
    found = {number: texts.column(number, parents[number]) for number in numbers}
    return {
        number: column._replace(parent=places[column.parent]) if column.parent >= 0 else column
        for number, column in found.items()
    }


def _directory(tail: Tail, where: str) -> Conversation[np.ndarray]:
    """All records, checked as far as finding the fields needs it; the rest is checked when a column is opened."""
    start = tail.directory_offset
    (data,) = yield [(np.array([start]), np.array([tail.metadata_offset]))]
    records = data.view(DIRECTORY)
    starts = np.arange(len(records)) * RECORD_NBYTES
    wrong = sums_at(data, starts, np.full(len(records), RECORD_NBYTES - 4)) != records["sum"]
    wrong |= records["place"] != (start + starts) & LOW_32
    parents = records["parent"].astype(np.int64)
    wrong |= (parents < -1) | (parents >= np.arange(len(records))) | (records["offset"] > start)
    wrong |= _field_ends(records) > start
    for column in np.flatnonzero(wrong)[:1].tolist():
        unpack_column(data[starts[column] :][:RECORD_NBYTES].tobytes(), tail, column, where)
        raise Corrupt("a directory record is impossible", kind="directory", where=f"{where}, column {column}")
    return records


def _field_ends(records: np.ndarray) -> np.ndarray:
    """uint64[n]: where the metadata of columns ends, their fields last."""
    wide = {name: records[name].astype(np.uint64) for name in DIRECTORY.names or () if name != "parent"}
    zones = (32 + 2 * wide["zone_width"]) * (wide["num_zones"] + 1)
    tables = 8 * (wide["num_pages"] + 1) + 64 * wide["num_pages"] + 4 * wide["num_blocks"]
    rest = wide["descriptions_nbytes"] + wide["shared_nbytes"] + wide["field_nbytes"]
    return wide["offset"] + tables + rest + zones


class _Texts:
    """The field JSON of every column, end to end. Make it by running `read`."""

    def __init__(self, data: Bytes, ends: Int64s, where: str) -> None:
        self._data, self._ends, self.where = data, ends, where
        self._escaped = set(ends.searchsorted(np.flatnonzero(data == _BACKSLASH), "right").tolist())

    @classmethod
    def read(cls, directory: np.ndarray, tail: Tail, where: str) -> Conversation[_Texts]:
        lengths = directory["field_nbytes"].astype(np.int64)
        stops = _field_ends(directory).astype(np.int64)
        (data,) = yield [(stops - lengths, stops)]
        ends = np.cumsum(lengths)
        wrong = np.flatnonzero(sums_at(data, ends - lengths, lengths) != directory["field_sum"])
        if len(wrong):
            place = f"{where}, column {wrong[0]}"
            raise Corrupt("the checksum of a field does not match", kind="checksum", where=place)
        return cls(data, ends, where)

    def column(self, number: int, parent: int) -> Column:
        """One column, parsed."""
        start = int(self._ends[number - 1]) if number else 0
        place = f"{self.where}, column {number}"
        field = field_from_json(parse_json(self._data[start : self._ends[number]].tobytes(), place))
        return Column(field.name, field.type, field.nullable, field.metadata, parent)

    def that_may_say(self, name: str) -> list[int]:
        """The columns whose text has a name in quotes, or an escape that may stand for a part of it."""
        needle = json.dumps(name, ensure_ascii=False).encode()
        data, found, at = self._data.tobytes(), set(self._escaped), -1
        while (at := data.find(needle, at + 1)) >= 0:
            found.add(int(self._ends.searchsorted(at, "right")))
        return sorted(found)


def _named(name: str, texts: _Texts, parents: Sequence[int]) -> int:
    """The number of the top-level column of a name."""
    maybe = [number for number in texts.that_may_say(name) if parents[number] < 0]
    found = [number for number in maybe if texts.column(number, -1).name == name]
    if len(found) == 1:
        return found[0]
    if found:
        raise InvalidInput(f"the file has {len(found)} columns {name!r}", kind="duplicate-name", where=texts.where)
    known = [texts.column(number, -1).name for number, parent in enumerate(parents) if parent < 0]
    near = get_close_matches(name, known) or known[:10]
    hint = f"there is {', '.join(map(repr, near))}" if near else "it has no columns"
    raise NotFound(f"the file has no column {name!r}", kind="column", where=texts.where, hint=hint)


def _children(parents: Sequence[int]) -> dict[int, list[int]]:
    below: dict[int, list[int]] = {}
    for number, parent in enumerate(parents):
        if parent >= 0:
            below.setdefault(parent, []).append(number)
    return below


def _subtree(root: int, below: dict[int, list[int]]) -> Iterator[int]:
    """A column and all below it, parents first. Not by recursion: a hostile chain may be long."""
    left = [root]
    while left:
        number = left.pop()
        yield number
        left += reversed(below.get(number, []))
