"""The types that DuckDB reads, and for each other type the nearest that it does.

| type | read as |
|---|---|
| float16 | float32 |
| decimal of a negative scale, or with more places than digits | decimal128 of scale 0 or more, with room for both |
| decimal256, and what has no room in 38 digits | decimal128 of up to 38 digits; beyond, double |
| fixed_size_list of no items | list |
| dictionary inside a list, or of values of another type | its values |
| dense union | sparse union |
| union with other codes than 0, 1 …, or two fields of a name | one with those codes; the second name gets a number |

Types around these keep their kind, but a union inside another type stays as it is; so do all other types.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lance_like.encodings.joining import holds
from lance_like.file.carry import carry

_DIGITS = 38  # of DuckDB's longest decimal
_CODES = 128  # that a union may have


def nearest(kind: pa.DataType) -> pa.DataType:
    """The type that DuckDB reads for a type; an equal one when that is the type itself."""
    return _nearest(kind, False)


def as_nearest(array: pa.Array) -> pa.Array:
    """An array in the type that DuckDB reads; the same array if it has it."""
    if pa.types.is_union(array.type):
        return _sparse(array)
    kind = nearest(array.type)
    if kind == array.type:
        return array
    return (array.dictionary_decode() if pa.types.is_dictionary(array.type) else array).cast(kind)


def _sparse(array: Any) -> pa.Array:
    """A union whose fields are as long as itself, of types that DuckDB reads; its codes count the fields, as there."""
    kind = array.type
    fields = [_carried(array.field(i)) for i in range(kind.num_fields)]
    number = np.zeros(_CODES, np.int8)
    number[kind.type_codes] = np.arange(kind.num_fields)
    numbers = pa.array(number[array.type_codes.to_numpy()])
    if kind.mode == "dense":
        fields = [field.take(pc.if_else(pc.equal(numbers, i), array.offsets, None)) for i, field in enumerate(fields)]
    names = [kind.field(i).name for i in range(kind.num_fields)]
    # DuckDB finds fields by their names.
    apart = [f"{name}_{i}" if name in names[:i] else name for i, name in enumerate(names)]
    return pa.UnionArray.from_sparse(numbers, list(map(as_nearest, fields)), apart)


def _carried(array: pa.Array) -> pa.Array:
    """A field of a union in a form of which Arrow picks rows: views and runs have few kernels."""
    return array if holds(array.type, pa.types.is_union) else carry(array)


def _nearest(kind: Any, in_list: bool) -> pa.DataType:
    types = pa.types
    if types.is_float16(kind):
        return pa.float32()
    if types.is_decimal(kind):
        return _decimal(kind)
    if types.is_dictionary(kind):
        values = _nearest(kind.value_type, in_list)
        return values if in_list or values != kind.value_type else kind
    if types.is_struct(kind):
        return pa.struct([_field(field, in_list) for field in kind])
    if types.is_map(kind):
        return pa.map_(_field(kind.key_field, True), _field(kind.item_field, True), keys_sorted=kind.keys_sorted)
    if types.is_fixed_size_list(kind) and kind.list_size:
        return pa.list_(_field(kind.value_field, True), kind.list_size)
    if types.is_large_list(kind):
        return pa.large_list(_field(kind.value_field, True))
    if types.is_list(kind) or types.is_fixed_size_list(kind):
        return pa.list_(_field(kind.value_field, True))
    return kind


def _field(field: pa.Field, in_list: bool) -> pa.Field:
    return field.with_type(_nearest(field.type, in_list))


def _decimal(kind: Any) -> pa.DataType:
    scale = max(kind.scale, 0)
    precision = max(kind.precision - min(kind.scale, 0), scale)
    if precision > _DIGITS:
        return pa.float64()
    alike = (precision, scale) == (kind.precision, kind.scale) and kind.bit_width <= 128
    return kind if alike else pa.decimal128(precision, scale)


__all__ = ["as_nearest", "nearest"]
