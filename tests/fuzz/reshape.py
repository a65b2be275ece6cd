"""Files taken apart, changed in a part, and put together again with right lengths and checksums.

What a flipped byte seldom makes: a description with a huge number, a child too few, another encoding, another type.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from handmade import Column, Page, make_file

from lance_like.encodings.registry import ENCODINGS
from lance_like.file.anatomy import Anatomy
from lance_like.file.layout import parse_json
from lance_like.io.memory import MemoryStore

NUMBERS = (
    -1,
    0,
    1,
    2,
    3,
    7,
    8,
    63,
    64,
    65,
    255,
    256,
    1 << 16,
    (1 << 31) - 1,
    1 << 31,
    1 << 32,
    1 << 53,
    1 << 63,
    1 << 64,
)
VALUES = (None, True, False, "", "0", "ff", [], {}, [0, 0], 0.5, 1e300, -0.0, "x" * 99)
TYPES = (
    *("null", "bool", "int8", "uint16", "int32", "int64", "float16", "float32", "float64", "string", "large_binary"),
    {"t": "fixed_size_binary", "size": 3},
    {"t": "decimal128", "precision": 9, "scale": 2},
    {"t": "list", "item": {"name": "item", "type": "int32", "nullable": True}},
    {"t": "fixed_size_list", "size": 2, "item": {"name": "item", "type": "int64", "nullable": True}},
    {"t": "dictionary", "index": "int8", "value": "string", "ordered": False},
    {"t": "struct", "fields": [{"name": "x", "type": "int32", "nullable": True}]},
    {"t": "struct", "fields": []},
    {"t": "timestamp", "unit": "us"},
)


@dataclass(frozen=True)
class File:
    """A file in parts that can be changed each by itself."""

    columns: tuple[Column, ...]
    num_rows: int
    metadata: bytes

    def bytes(self) -> bytes:
        return make_file(self.columns, num_rows=self.num_rows, metadata=self.metadata)


def parts_of(data: bytes) -> File:
    """Take a sound file apart. Raises an error of ours for any other."""
    store = MemoryStore()
    store.put("f", [data])
    anatomy = Anatomy(store, "f")
    tail = anatomy.tail()
    columns = []
    for number in range(tail.num_columns):
        record = anatomy.record(tail, number)
        pages = []
        for page in range(record.num_pages):
            entry = anatomy.entry(record, page)
            start = record.descriptions_offset + entry.description_offset
            text = anatomy.read(start, start + entry.description_nbytes).tobytes()
            body = anatomy.read(entry.offset, entry.end).tobytes()
            pages.append(Page(parse_json(text, ""), body, entry.num_rows, entry.block_log2))
        size = record.zone_nbytes
        zones = [
            anatomy.read(record.zones_offset + size * zone, record.zones_offset + size * (zone + 1) - 4).tobytes()
            for zone in range(record.num_zones + 1)
        ]
        field = parse_json(anatomy.read(record.field_offset, record.end).tobytes(), "")
        shared = anatomy.shared(record)
        columns.append(Column(field, pages, record.parent, record.zone_width, record.zone_rows, zones, shared))
    start = tail.metadata_offset
    metadata = anatomy.read(start, start + tail.metadata_nbytes).tobytes()
    return File(tuple(columns), tail.num_rows, metadata)


def changed(file: File, choice: random.Random) -> File:
    """The file with one part changed."""
    if not file.columns:
        return replace(file, metadata=_bytes(file.metadata, choice))
    number = choice.randrange(len(file.columns))
    column = choice.choice(_CHANGES)(file.columns[number], choice)
    return replace(file, columns=(*file.columns[:number], column, *file.columns[number + 1 :]))


def alone(file: File, choice: random.Random) -> File:
    """One top-level column of a file, without its children: smaller, and as good to change."""
    tops = [column for column in file.columns if column.parent < 0]
    return replace(file, columns=(choice.choice(tops),)) if tops else file


def _description(column: Column, choice: random.Random) -> Column:
    return _page(column, choice, lambda page: replace(page, description=_json(page.description, choice)))


def _encoding(column: Column, choice: random.Random) -> Column:
    """Another name for a node somewhere in a description."""

    def rename(page: Page) -> Page:
        body = copy.deepcopy(page.description)
        node = choice.choice(_objects(body))
        node["e"] = choice.choice(ENCODINGS.names())
        return replace(page, description=body)

    return _page(column, choice, rename)


def _rows(column: Column, choice: random.Random) -> Column:
    """Another row count in every node that has the page's."""
    rows = choice.choice(NUMBERS[1:])

    def resize(page: Page) -> Page:
        body = copy.deepcopy(page.description)
        for node in _objects(body):
            if node.get("n") == page.rows:
                node["n"] = rows
        return replace(page, description=body)

    return _page(column, choice, resize)


def _data(column: Column, choice: random.Random) -> Column:
    return _page(column, choice, lambda page: replace(page, data=_bytes(page.data, choice)))


def _shared(column: Column, choice: random.Random) -> Column:
    return replace(column, shared=_bytes(column.shared, choice))


def _zones(column: Column, choice: random.Random) -> Column:
    zones = list(column.zones or [])
    if zones:
        at = choice.randrange(len(zones))
        size = len(zones[at])
        zones[at] = _bytes(zones[at], choice)[:size].ljust(size, b"\0")
    return replace(column, zones=zones)


def _type(column: Column, choice: random.Random) -> Column:
    if not isinstance(column.field, dict):
        return _field(column, choice)
    field = dict(column.field)
    field["type"] = choice.choice(TYPES) if choice.random() < 0.5 else _json(field.get("type"), choice)
    return replace(column, field=field)


def _field(column: Column, choice: random.Random) -> Column:
    return replace(column, field=_json(column.field, choice))


_CHANGES: tuple[Callable[[Column, random.Random], Column], ...] = (
    *(_description, _description, _description, _encoding, _rows, _data, _data, _shared, _zones, _type, _field),
)


def _page(column: Column, choice: random.Random, change: Callable[[Page], Page]) -> Column:
    pages = list(column.pages)
    at = choice.randrange(len(pages)) if pages else 0
    if pages and _objects(pages[at].description):
        pages[at] = change(pages[at])
    return replace(column, pages=pages)


def _objects(body: Any) -> list[dict[str, Any]]:
    """All objects in some JSON, the outermost first."""
    found: list[dict[str, Any]] = []
    left = [body]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            found.append(value)
            left += value.values()
        elif isinstance(value, list):
            left += value
    return found


def _json(body: Any, choice: random.Random) -> Any:
    """Some JSON with one value replaced, taken away, doubled or moved."""
    body = copy.deepcopy(body)
    holders: list[tuple[Any, Any]] = []
    left = [body]
    while left:
        value = left.pop()
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, inner in list(items):
            holders.append((value, key))
            left.append(inner)
    if not holders:
        return choice.choice(TYPES)
    holder, key = choice.choice(holders)
    _edit(holder, key, choice.choice(holders), choice)
    return body


def _edit(holder: Any, key: Any, other: tuple[Any, Any], choice: random.Random) -> None:
    value = holder[key]
    act = choice.random()
    if isinstance(value, int) and not isinstance(value, bool) and act < 0.7:
        holder[key] = choice.choice((*NUMBERS, value - 1, value + 1, value * 2, -value))
    elif act < 0.3:
        holder[key] = choice.choice((*VALUES, *NUMBERS))
    elif act < 0.5:
        del holder[key]
    elif act < 0.7:
        holder[key] = copy.deepcopy(other[0][other[1]])
    elif isinstance(holder, list):
        holder.append(copy.deepcopy(value))
    elif isinstance(value, str) and value:
        at = choice.randrange(len(value))
        holder[key] = value[:at] + choice.choice("0129afz\u20ac-") + value[at + 1 :]
    else:
        holder[choice.choice(("x", "v", "b", "c", "n", "e", "base", "stride", "width"))] = copy.deepcopy(value)


def _bytes(data: bytes, choice: random.Random) -> bytes:
    """Some bytes with a few changed, zeroed, cut or grown."""
    out = bytearray(data)
    act = choice.random()
    if act < 0.15 or not out:
        return bytes(out) + choice.randbytes(choice.randrange(1, 64))
    start = choice.randrange(len(out))
    end = min(len(out), start + choice.choice((1, 2, 4, 8, 64)))
    if act < 0.3:
        del out[start:]
    elif act < 0.45:
        out[start:end] = bytes(end - start)
    elif act < 0.6:
        out[start:end] = b"\xff" * (end - start)
    elif act < 0.8:
        out[start:end] = choice.randbytes(end - start)
    else:
        out[start] ^= 1 << choice.randrange(8)
    return bytes(out)
