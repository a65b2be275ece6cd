"""Between an Arrow schema and the columns of a file (format_spec/file.md, "Columns").

Every field is a column, depth first; a struct's children are columns of their own and the struct keeps only
its validity. Fields inside lists, maps, fixed-size lists and extension types belong to their column's type.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa

from lance_like.errors import Corrupt, Unsupported
from lance_like.file.carry import carry

MAX_DEPTH = 256

BARE_STRUCT = pa.struct([])


# Not a dataclass: a frozen one takes three times as long to make.
class Column(NamedTuple):
    """One column: a field without its struct children. parent: position of the parent column, -1 at the top."""

    name: str
    type: pa.DataType
    nullable: bool
    metadata: dict[bytes, bytes] | None
    parent: int


def flatten(fields: pa.Schema | Sequence[pa.Field]) -> list[Column]:
    """The columns of a schema, depth first; a struct has the type struct<> (no children).

    Raises Unsupported for structs deeper than MAX_DEPTH.
    """
    columns: list[Column] = []
    _flatten_into(columns, list(fields), -1, 1)
    return columns


def _flatten_into(columns: list[Column], fields: Sequence[pa.Field], parent: int, depth: int) -> None:
    if fields and depth > MAX_DEPTH:
        raise Unsupported(f"structs nested deeper than {MAX_DEPTH} cannot be stored", kind="limit")
    for field in fields:
        is_struct = pa.types.is_struct(field.type)
        kind = BARE_STRUCT if is_struct else field.type
        columns.append(Column(field.name, kind, field.nullable, field.metadata, parent))
        if is_struct:
            _flatten_into(columns, list(field.type), len(columns) - 1, depth + 1)


def unflatten(columns: Sequence[Column]) -> list[pa.Field]:
    """The inverse of `flatten`: top-level fields with their struct children.

    Raises Corrupt for a child of a column that is not a struct, or structs deeper than MAX_DEPTH.
    """
    children: dict[int, list[int]] = {}
    for position, column in enumerate(columns):
        children.setdefault(column.parent, []).append(position)
    for parent in children:
        if parent >= 0 and not pa.types.is_struct(columns[parent].type):
            raise Corrupt(f"column {parent} is not a struct and has children", kind="directory")
    return [_unflatten(columns, children, position, 1) for position in children.get(-1, ())]


def _unflatten(columns: Sequence[Column], children: dict[int, list[int]], position: int, depth: int) -> pa.Field:
    if depth > MAX_DEPTH:
        raise Corrupt(f"structs are nested deeper than {MAX_DEPTH}", kind="limit")
    column = columns[position]
    kind = column.type
    if pa.types.is_struct(kind):
        if kind.num_fields:
            raise Corrupt("the column of a struct has fields in its own type", kind="field")
        kind = pa.struct([_unflatten(columns, children, child, depth + 1) for child in children.get(position, ())])
    return pa.field(column.name, kind, column.nullable, column.metadata)


def split(arrays: Sequence[pa.Array]) -> list[pa.Array]:
    """The columns' arrays of top-level arrays, as they are carried, in the order of `flatten`.

    A child cell under a null struct is null, whatever the child's array held there.
    """
    columns: list[pa.Array] = []
    for array in arrays:
        # By the column's own type: a union is carried as a struct and is one column.
        if pa.types.is_struct(array.type):
            columns += _split(carry(array), array.type)
        else:
            columns.append(carry(array))
    return columns


def _split(array: pa.Array, kind: pa.DataType) -> Iterator[pa.Array]:
    if not pa.types.is_struct(kind):
        yield array
        return
    validity = array.buffers()[0] if array.null_count else None
    yield pa.Array.from_buffers(BARE_STRUCT, len(array), [validity], offset=array.offset if validity else 0)
    for child, field in zip(array.flatten(), kind, strict=True):
        yield from _split(child, field.type)


def join(kind: pa.DataType, validity: pa.Array, children: Sequence[pa.Array]) -> pa.Array:
    """A struct array from its validity column and its children, as read from their columns and as they are carried.

    kind: the struct's type as it is carried.
    """
    kept = [child if field.nullable else _without_validity(child) for field, child in zip(kind, children, strict=True)]
    if validity.null_count == 0:
        return pa.Array.from_buffers(kind, len(validity), [None], children=kept)
    aligned = validity if validity.offset == 0 else _unsliced(validity)
    return pa.Array.from_buffers(
        kind, len(aligned), [aligned.buffers()[0]], null_count=aligned.null_count, children=kept
    )


def _without_validity(array: pa.Array) -> pa.Array:
    """A child that may not be null, under a parent that may: its cells under null parents stay, unseen."""
    if array.null_count == 0 or pa.types.is_null(array.type):
        return array
    if isinstance(array, pa.ExtensionArray):
        return pa.ExtensionArray.from_storage(array.type, _without_validity(array.storage))
    if isinstance(array, pa.DictionaryArray):
        # Rows below null parents only: their codes need some value to point at.
        values = array.dictionary if len(array.dictionary) else pa.nulls(1, array.type.value_type)
        return pa.DictionaryArray.from_arrays(_without_validity(array.indices), values, ordered=array.type.ordered)
    children = child_arrays(array)
    own = array.buffers()[1 : array.type.num_buffers]
    return pa.Array.from_buffers(
        array.type, len(array), [None, *own], null_count=0, offset=array.offset, children=children
    )


def child_arrays(array: pa.Array) -> list[pa.Array]:
    """The child arrays of a list, fixed-size list, map or struct, without regard to its offset; else []."""
    t = pa.types
    if t.is_struct(array.type):
        whole = array if array.offset == 0 else _unsliced(array)
        return [whole.field(i) for i in range(array.type.num_fields)]
    if t.is_map(array.type):
        fields = [array.type.key_field, array.type.item_field]
        return [pa.StructArray.from_arrays([array.keys, array.items], fields=fields)]
    if t.is_list(array.type) or t.is_large_list(array.type) or t.is_fixed_size_list(array.type):
        return [array.values]
    return []


def _unsliced(array: pa.Array) -> pa.Array:
    # Copying a slice brings its offset back to zero.
    return pa.concat_arrays([array])
