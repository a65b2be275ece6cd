"""The zone entries that a table should have, computed from its values (format_spec/file.md, "Zones")."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any

import pyarrow as pa
from vector_json import values_json

WIDEST = 32
HAS_MIN, HAS_MAX, MIN_CUT, MAX_CUT = 1, 2, 4, 8


def zones_json(array: pa.Array, zone_rows: int) -> dict[str, Any]:
    """The statistics of one column: each entry as [nulls, NaNs, minimum, maximum, flags], bounds in hexadecimal.

    The last entry is that of the whole column.
    """
    while isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        nulls = [cell is None for cell in values_json(array)]
    else:
        nulls = [not valid for valid in array.is_valid().to_pylist()]
    width, as_value = _order(array.type)
    cells = values_json(array) if width else [None] * len(array)
    starts = range(0, len(array), zone_rows)
    spans = [(start, min(start + zone_rows, len(array))) for start in starts] + [(0, len(array))]
    entries = [_entry(array.type, width, as_value, cells[a:b], sum(nulls[a:b])) for a, b in spans]
    return {"zone_rows": zone_rows, "width": width, "entries": entries}


def _order(kind: pa.DataType) -> tuple[int, Callable[[Any], Any]]:
    """The width of a bound, and the value by which cells are compared."""
    t = pa.types
    if t.is_string(kind) or t.is_large_string(kind):
        return WIDEST, lambda cell: cell.encode()
    if t.is_binary(kind) or t.is_large_binary(kind) or t.is_fixed_size_binary(kind):
        return WIDEST, bytes.fromhex
    if t.is_floating(kind):
        code = {16: ">e", 32: ">f", 64: ">d"}[kind.bit_width]
        return 8, lambda cell: struct.unpack(code, bytes.fromhex(cell))[0]
    if t.is_decimal(kind):
        return max(8, kind.bit_width // 8), int
    if t.is_boolean(kind) or t.is_integer(kind) or (t.is_temporal(kind) and not t.is_interval(kind)):
        return 8, int
    return 0, int


def _entry(kind: pa.DataType, width: int, as_value: Callable[[Any], Any], cells: list[Any], nulls: int) -> list[Any]:
    values = [as_value(cell) for cell in cells if cell is not None]
    nans = sum(1 for value in values if isinstance(value, float) and math.isnan(value))
    known = [value for value in values if not (isinstance(value, float) and math.isnan(value))]
    if not known or not width:
        return [nulls, nans, None, None, 0]
    low, high, flags = _stored(kind, min(known)), _stored(kind, max(known)), HAS_MIN | HAS_MAX
    if isinstance(known[0], bytes):
        text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        if len(low) > WIDEST:
            low, flags = _prefix(low, text), flags | MIN_CUT
        if len(high) > WIDEST:
            above = _above(_prefix(high, text), text)
            flags = flags | MAX_CUT if above is not None else flags & ~HAS_MAX
            high = above
    return [nulls, nans, low.hex(), None if high is None else high.hex(), flags]


def _stored(kind: pa.DataType, value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, float):
        # -0.0 equals 0.0: either may stand for both, and here it is always 0.0.
        return struct.pack({16: "<e", 32: "<f", 64: "<d"}[kind.bit_width], value or 0.0)
    if pa.types.is_boolean(kind):
        return bytes([value])
    return value.to_bytes(kind.bit_width // 8, "little", signed=not pa.types.is_unsigned_integer(kind))


def _prefix(value: bytes, text: bool) -> bytes:
    cut = value[:WIDEST]
    while text and value[len(cut)] & 0xC0 == 0x80:
        cut = cut[:-1]
    return cut


def _above(prefix: bytes, text: bool) -> bytes | None:
    if not text:
        kept = prefix.rstrip(b"\xff")
        return kept[:-1] + bytes([kept[-1] + 1]) if kept else None
    marks = prefix.decode()
    for end in range(len(marks) - 1, -1, -1):
        point = ord(marks[end]) + 1
        point = 0xE000 if point == 0xD800 else point
        if point <= 0x10FFFF and len(found := (marks[:end] + chr(point)).encode()) <= WIDEST:
            return found
    return None
