"""Arrow data as the JSON of expected.json (format_spec/vectors/README.md, "expected.json")."""

from __future__ import annotations

import base64
from bisect import bisect_right
from typing import Any

import numpy as np
import pyarrow as pa

EXACT = 1 << 53


def schema_json(schema: pa.Schema, field_json: Any) -> dict[str, Any]:
    """A schema as JSON. field_json: turns one field into the JSON of format_spec/types.md."""
    pairs = [[base64.b64encode(k).decode(), base64.b64encode(v).decode()] for k, v in (schema.metadata or {}).items()]
    return {"metadata": pairs, "fields": [field_json(field) for field in schema]}


def values_json(array: pa.Array) -> list[Any]:
    """The values of an array, one JSON value a row; bit patterns of floats, hexadecimal of bytes."""
    cells = _cells(array)
    if pa.types.is_union(array.type):
        return cells  # it has no nulls of its own, whatever Arrow counts
    valid = array.is_valid().to_pylist()
    return [cell if ok else None for cell, ok in zip(cells, valid, strict=True)]


def _cells(array: pa.Array) -> list[Any]:
    kind, t = array.type, pa.types
    if isinstance(array, pa.ExtensionArray):
        return values_json(array.storage)
    if t.is_null(kind):
        return [None] * len(array)
    if t.is_dictionary(kind):
        values = values_json(array.dictionary)
        return [None if code is None else values[code] for code in array.indices.to_pylist()]
    if t.is_struct(kind):
        whole = pa.concat_arrays([array])
        fields = [values_json(whole.field(i)) for i in range(kind.num_fields)]
        return [list(row) for row in zip(*fields, strict=True)] if fields else [[] for _ in range(len(array))]
    if t.is_fixed_size_list(kind):
        size = kind.list_size
        items = values_json(array.values.slice(array.offset * size, len(array) * size))
        return [items[i * size : (i + 1) * size] for i in range(len(array))]
    if t.is_map(kind):
        pairs = [list(pair) for pair in zip(values_json(array.keys), values_json(array.items), strict=True)]
        return _lists(array, pairs)
    if t.is_list(kind) or t.is_large_list(kind):
        return _lists(array, values_json(array.values))
    if t.is_list_view(kind) or t.is_large_list_view(kind):
        items, sizes = values_json(array.values), array.sizes.to_pylist()
        return [items[start : start + size] for start, size in zip(array.offsets.to_pylist(), sizes, strict=True)]
    if t.is_run_end_encoded(kind):
        ends, values = array.run_ends.to_pylist(), values_json(array.values)
        return [values[bisect_right(ends, array.offset + row)] for row in range(len(array))]
    if t.is_union(kind):
        return _unions(array)
    if t.is_boolean(kind) or t.is_string(kind) or t.is_large_string(kind) or t.is_string_view(kind):
        return array.to_pylist()
    if t.is_binary(kind) or t.is_large_binary(kind) or t.is_binary_view(kind):
        return [None if cell is None else cell.hex() for cell in array.to_pylist()]
    return _flat_cells(array)


def _lists(array: pa.Array, items: list[Any]) -> list[list[Any]]:
    dtype = np.int64 if pa.types.is_large_list(array.type) else np.int32
    count, skip = len(array) + 1, array.offset * dtype().itemsize
    offsets = np.frombuffer(array.buffers()[1], dtype, count=count, offset=skip) if len(array) else np.zeros(1, dtype)
    return [items[start:end] for start, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)]


def _unions(array: pa.Array) -> list[list[Any]]:
    # The array's own type_codes and offsets forget that it is a slice.
    codes = np.frombuffer(array.buffers()[1], np.int8, len(array), array.offset).tolist()
    places = range(len(array))
    if array.type.mode == "dense":
        places = np.frombuffer(array.buffers()[2], np.int32, len(array), array.offset * 4).tolist()
    children = [values_json(array.field(i)) for i in range(array.type.num_fields)]
    child_of = dict(zip(array.type.type_codes, children, strict=True))
    return [[code, child_of[code][place]] for code, place in zip(codes, places, strict=True)]


def _flat_cells(array: pa.Array) -> list[Any]:
    kind, t = array.type, pa.types
    width = kind.bit_width // 8
    data = array.buffers()[1].to_pybytes()[array.offset * width :] if len(array) and width else b""
    cells = [data[i * width : (i + 1) * width] for i in range(len(array))]
    if t.is_fixed_size_binary(kind):
        return [cell.hex() for cell in cells]
    if t.is_floating(kind):
        return [cell[::-1].hex() for cell in cells]
    if t.is_interval(kind):
        return [[*(_signed(cell[i : i + 4]) for i in (0, 4)), _number(_signed(cell[8:]))] for cell in cells]
    if t.is_decimal(kind):
        return [str(_signed(cell)) for cell in cells]
    signed = not t.is_unsigned_integer(kind)
    return [_number(int.from_bytes(cell, "little", signed=signed)) for cell in cells]


def _signed(cell: bytes) -> int:
    return int.from_bytes(cell, "little", signed=True)


def _number(value: int) -> int | str:
    return value if -EXACT <= value <= EXACT else str(value)
