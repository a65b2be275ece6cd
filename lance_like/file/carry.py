"""The form in which arrays travel through the package: types that Arrow cannot take, flatten or join go as others.

| type | carried as |
|---|---|
| string_view, binary_view | large_string, large_binary |
| list_view, large_list_view | large_list |
| run_end_encoded<V> | dictionary<int32, V>: which run each row is in, and the value of each run |
| union | struct: position of the child (uint8), then each child, null in the rows of others |
| extension | its storage as carried, when that is another type; else itself |

Types around these keep their kind, and all other types are carried as they are. Files hold what is carried
(format_spec/types.md, "Stored forms"); `present` makes the type that was asked for, as the last step of a read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from lance_like.encodings.joining import holds, items_of_fixed, joined, offsets_and_items, taken
from lance_like.encodings.physical import bitmap_of, buffer_bytes, offsets_of, storage_of
from lance_like.encodings.stack import expand
from lance_like.errors import Corrupt, InvalidInput
from lance_like.typing_ import Int64s

_RUN = pa.int32()
_POSITION = pa.uint8()
_INT32_LIMIT = (1 << 31) - 1
# Small against a page, so that a page has few values of rows that are not its own.
_RUN_NBYTES = 1 << 20
_RUN_ROWS = 1 << 15


def carried_type(kind: pa.DataType) -> pa.DataType:
    """The type that arrays of a type are carried as; the same object when that is the type itself."""
    form = _FORMS.get(kind.id)
    return kind if form is None or not _is_other(kind) else form.carried(kind)


def _is_other(kind: pa.DataType) -> bool:
    """True when a type, or one inside it, is carried as another. Not recursive: structs may be 256 deep."""
    kinds = [kind]
    while kinds:
        kind = kinds.pop()
        if kind.id in _OTHERS:
            return True
        if isinstance(kind, pa.BaseExtensionType):
            kinds.append(kind.storage_type)
        elif pa.types.is_dictionary(kind):
            kinds.append(kind.value_type)
        elif kind.id in _FORMS:
            kinds += [kind.field(i).type for i in range(kind.num_fields)]
    return False


def carried_field(field: pa.Field) -> pa.Field:
    """A field with the type that its arrays are carried as; the same object when that is its type."""
    kind = field.type
    carried = carried_type(kind)
    return field if carried is kind else field.with_type(carried)


def carry(array: pa.Array) -> pa.Array:
    """An array in its carried form; the same array if that is its own."""
    kind = array.type
    carried = carried_type(kind)
    return array if carried is kind else _FORMS[kind.id].carry(array, carried)


def taken_rows(batch: pa.RecordBatch, rows: Int64s) -> pa.RecordBatch:
    """Rows of a batch by their numbers, whatever its types: int64[n]. Raises InvalidInput as `present`."""
    order = pa.array(rows)
    arrays = [present(taken(carry(array), order), array.type) for array in batch.columns]
    return pa.RecordBatch.from_arrays(arrays, schema=batch.schema)


def as_batch(arrays: Sequence[pa.Array], schema: pa.Schema, num_rows: int) -> pa.RecordBatch:
    """The batch of arrays; without columns it still has its number of rows."""
    if arrays:
        return pa.RecordBatch.from_arrays(list(arrays), schema=schema)
    # The length of a batch without columns is that of a struct without fields.
    empty = pa.Array.from_buffers(pa.struct([]), num_rows, [None])
    return pa.RecordBatch.from_struct_array(empty).replace_schema_metadata(schema.metadata)


def one_batch(table: pa.Table, schema: pa.Schema | None = None) -> pa.RecordBatch:
    """All rows of a table as one batch. schema: of the batch; None: the table's."""
    arrays = [joined(column.chunks) if column.num_chunks else nulls(0, column.type) for column in table.columns]
    return as_batch(arrays, schema or table.schema, table.num_rows)


def present(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """An array of a type from its carried form.

    Raises InvalidInput when one array of the type cannot hold so many rows, items or bytes.
    """
    return array if carried_type(kind) is kind else _FORMS[kind.id].present(array, kind)


def nulls(count: int, kind: pa.DataType) -> pa.Array:
    """So many nulls of a type; of a union, nulls of its first child. (Arrow's own function makes unions that crash.)"""
    return present(pa.nulls(count, carried_type(kind)), kind)


def present_parts(array: pa.Array, kind: pa.DataType) -> list[pa.Array]:
    """`present` in as many arrays as the type needs, at least one."""
    most = most_rows(kind)
    if most is None or len(array) <= most:
        return [present(array, kind)]
    return [present(array.slice(start, most), kind) for start in range(0, len(array), most)]


def holds_runs(kind: pa.DataType) -> bool:
    """True when a type is run-end encoded, or one inside it is."""
    return holds(kind, pa.types.is_run_end_encoded)


def short_runs(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """A batch cut so that its runs can be carried: each piece then has the values of its own runs and no others."""
    step = len(batch)
    if any(map(holds_runs, batch.schema.types)):
        step = min(_RUN_ROWS, len(batch) * _RUN_NBYTES // max(1, batch.nbytes))
    return (batch.slice(start, max(1, step)) for start in range(0, len(batch), max(1, step)))


def most_rows(kind: pa.DataType) -> int | None:
    """The most rows that one array of a type can have, where that is few (run ends of 16 bits); else None."""
    t = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return most_rows(kind.storage_type)
    if t.is_run_end_encoded(kind):
        return (1 << 15) - 1 if t.is_int16(kind.run_end_type) else None
    if t.is_struct(kind):
        limits = [limit for field in kind if (limit := most_rows(field.type)) is not None]
        return min(limits, default=None)
    if t.is_fixed_size_list(kind):
        limit = most_rows(kind.value_type)
        return None if limit is None else max(1, limit // max(1, kind.list_size))
    return None


# -- types that are carried as another ---------------------------------------------------------------------------


def _carry_text(array: pa.Array, carried: pa.DataType) -> pa.Array:
    return array.cast(carried)


def _present_text(array: pa.Array, kind: pa.DataType) -> pa.Array:
    offsets = offsets_of(array)
    if offsets[-1] - offsets[0] <= _INT32_LIMIT:
        # From the first cell on: a view counts its bytes from the start of the buffer with 32 bits.
        data = pa.py_buffer(buffer_bytes(array.buffers()[2])[offsets[0] : offsets[-1]])
        whole = pa.Array.from_buffers(
            array.type, len(array), [_bitmap(array), pa.py_buffer(offsets - offsets[0]), data]
        )
        return whole.cast(kind)
    if len(array) == 1:
        raise InvalidInput(
            f"a cell of {offsets[-1] - offsets[0]:,} bytes; the type {kind} holds at most {_INT32_LIMIT:,}",
            kind="too-large",
        )
    half = len(array) // 2
    return pa.concat_arrays([_present_text(array.slice(0, half), kind), _present_text(array.slice(half), kind)])


def _carry_view(array: pa.Array, carried: pa.DataType) -> pa.Array:
    dtype = np.int64 if pa.types.is_large_list_view(array.type) else np.int32
    starts, lengths = (_integers(buffer, dtype, array) for buffer in array.buffers()[1:3])
    if array.null_count:
        lengths = np.where(array.is_valid().to_numpy(zero_copy_only=False), lengths, 0)
    starts = np.where(lengths > 0, starts, 0)
    offsets = np.zeros(len(array) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    filled = lengths > 0
    low, high = (int(starts[filled].min()), int((starts + lengths)[filled].max())) if filled.any() else (0, 0)
    items = carry(array.values.slice(low, high - low))
    if not (starts - low == offsets[:-1])[filled].all():
        items = taken(items, pa.array(expand(starts - low, starts - low + lengths)))
    return pa.Array.from_buffers(
        carried, len(array), [_bitmap(array), pa.py_buffer(offsets)], children=[items.slice(0, offsets[-1])]
    )


def _present_view(array: pa.Array, kind: pa.DataType) -> pa.Array:
    offsets, items = offsets_and_items(array)
    dtype = np.int64 if pa.types.is_large_list_view(kind) else np.int32
    _check_fits(int(offsets[-1]), dtype, kind)
    places = [pa.py_buffer(part.astype(dtype)) for part in (offsets[:-1], np.diff(offsets))]
    children = [present(items, kind.value_type)]
    return pa.Array.from_buffers(kind, len(array), [_bitmap(array), *places], children=children)


def _carry_runs(array: pa.Array, carried: pa.DataType) -> pa.Array:
    start, end = array.offset, array.offset + len(array)
    ends = array.run_ends.to_numpy().astype(np.int64)
    first = int(np.searchsorted(ends, start, "right"))
    last = int(np.searchsorted(ends, end, "left")) + 1 if end > start else first
    bounds = np.concatenate(([start], np.minimum(ends[first:last], end)))
    runs = np.repeat(np.arange(last - first, dtype=np.int32), np.diff(bounds))
    values = carry(array.values.slice(first, last - first))
    return pa.DictionaryArray.from_arrays(pa.array(runs, _RUN), values)


def _present_runs(array: pa.Array, kind: pa.DataType) -> pa.Array:
    count = len(array)
    _check_fits(count, np.dtype(f"i{kind.run_end_type.bit_width // 8}"), kind)
    runs = array.indices.fill_null(-1).to_numpy()
    ends = np.append(np.flatnonzero(np.diff(runs)) + 1, [count] if count else []).astype(np.int64)
    chosen = runs[ends - 1]
    values = taken(array.dictionary, pa.array(chosen, _RUN, mask=chosen < 0))
    children = [pa.array(ends, kind.run_end_type), present(values, kind.value_type)]
    return pa.Array.from_buffers(kind, count, [None], children=children)


def _union_struct(kind: pa.DataType) -> pa.DataType:
    children = [pa.field(str(i), carried_type(field.type)) for i, field in enumerate(kind)]
    return pa.struct([pa.field("position", _POSITION, nullable=False), *children])


def _carry_union(array: pa.Array, carried: pa.DataType) -> pa.Array:
    kind = array.type
    codes = buffer_bytes(array.buffers()[1])[array.offset : array.offset + len(array)].view(np.int8)
    position = np.zeros(128, np.uint8)
    position[kind.type_codes] = np.arange(kind.num_fields)
    positions = position[codes]
    dense = kind.mode == "dense"
    places = _integers(array.buffers()[2], np.int32, array) if dense else np.arange(len(array))
    children = []
    for i in range(kind.num_fields):
        here = positions == i
        low, high = (int(places[here].min()), int(places[here].max()) + 1) if here.any() else (0, 0)
        child = carry(array.field(i).slice(low, high - low))
        children.append(taken(child, pa.array(places - low, mask=~here)))
    return pa.StructArray.from_arrays([pa.array(positions, _POSITION), *children], fields=list(carried))


def _present_union(array: pa.Array, kind: pa.DataType) -> pa.Array:
    positions, *children = _fields_of(array)
    if positions.null_count > array.null_count:
        raise Corrupt("a row of a union does not say which field it has", kind="page")
    # A row that is null as a whole (no file holds the column) is a null of the first child.
    positions = positions.fill_null(0).to_numpy()
    if len(positions) and positions.max() >= kind.num_fields:
        raise Corrupt(f"field {positions.max()} of a union of {kind.num_fields} fields", kind="page")
    codes = pa.py_buffer(np.array(kind.type_codes, np.int8)[positions])
    fields = list(kind)
    if kind.mode == "sparse":
        shown = [present(child, field.type) for child, field in zip(children, fields, strict=True)]
        return pa.Array.from_buffers(kind, len(array), [None, codes], children=shown)
    places = np.zeros(len(array), np.int32)
    shown = []
    for i, (child, field) in enumerate(zip(children, fields, strict=True)):
        rows = np.flatnonzero(positions == i)
        places[rows] = np.arange(len(rows))
        shown.append(present(taken(child, pa.array(rows)), field.type))
    return pa.Array.from_buffers(kind, len(array), [None, codes, pa.py_buffer(places)], children=shown)


def _fields_of(array: pa.Array) -> list[pa.Array]:
    """The children of a struct array, null where it is. (Arrow's flatten spoils those that can only be null.)"""
    own = [array.field(i) for i in range(array.type.num_fields)]
    if array.null_count == 0:
        return own
    return [
        child if pa.types.is_null(storage_of(child.type)) else flat
        for child, flat in zip(own, array.flatten(), strict=True)
    ]


# -- types around others -----------------------------------------------------------------------------------------


def _extension(kind: pa.DataType) -> pa.DataType:
    return carried_type(kind.storage_type)


def _carry_extension(array: pa.Array, carried: pa.DataType) -> pa.Array:
    return carry(array.storage)


def _present_extension(array: pa.Array, kind: pa.DataType) -> pa.Array:
    return pa.ExtensionArray.from_storage(kind, present(array, kind.storage_type))


def _struct(kind: pa.DataType) -> pa.DataType:
    return pa.struct(list(map(carried_field, kind)))


def _carry_struct(array: pa.Array, carried: pa.DataType) -> pa.Array:
    children = [carry(array.field(i)) for i in range(array.type.num_fields)]
    return pa.Array.from_buffers(carried, len(array), [_bitmap(array)], children=children)


def _present_struct(array: pa.Array, kind: pa.DataType) -> pa.Array:
    children = [present(array.field(i), field.type) for i, field in enumerate(kind)]
    return pa.Array.from_buffers(kind, len(array), [_bitmap(array)], children=children)


def _list(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_map(kind):
        fields = map(carried_field, (kind.key_field, kind.item_field))
        return pa.map_(*fields, keys_sorted=kind.keys_sorted)
    item = carried_field(kind.value_field)
    return pa.large_list(item) if pa.types.is_large_list(kind) else pa.list_(item)


def _carry_list(array: pa.Array, carried: pa.DataType) -> pa.Array:
    offsets, items = offsets_and_items(array)
    return _list_of(carried, array, offsets, carry(items))


def _present_list(array: pa.Array, kind: pa.DataType) -> pa.Array:
    offsets, items = offsets_and_items(array)
    is_map = pa.types.is_map(kind)
    return _list_of(
        kind,
        array,
        offsets,
        present(items, pa.struct([kind.key_field, kind.item_field]) if is_map else kind.value_type),
    )


def _list_of(kind: pa.DataType, array: pa.Array, offsets: Int64s, items: pa.Array) -> pa.Array:
    dtype = np.int64 if pa.types.is_large_list(kind) else np.int32
    buffers = [_bitmap(array), pa.py_buffer(offsets.astype(dtype))]
    return pa.Array.from_buffers(kind, len(array), buffers, children=[items])


def _fixed_size_list(kind: pa.DataType) -> pa.DataType:
    return pa.list_(carried_field(kind.value_field), kind.list_size)


def _carry_fixed_size_list(array: pa.Array, carried: pa.DataType) -> pa.Array:
    return pa.Array.from_buffers(carried, len(array), [_bitmap(array)], children=[carry(items_of_fixed(array))])


def _present_fixed_size_list(array: pa.Array, kind: pa.DataType) -> pa.Array:
    items = present(items_of_fixed(array), kind.value_type)
    return pa.Array.from_buffers(kind, len(array), [_bitmap(array)], children=[items])


def _dictionary(kind: pa.DataType) -> pa.DataType:
    return pa.dictionary(kind.index_type, carried_type(kind.value_type), kind.ordered)


def _carry_dictionary(array: pa.Array, carried: pa.DataType) -> pa.Array:
    values = carry(array.dictionary)
    return pa.DictionaryArray.from_arrays(array.indices, values, ordered=carried.ordered, safe=False)


def _present_dictionary(array: pa.Array, kind: pa.DataType) -> pa.Array:
    values = present(array.dictionary, kind.value_type)
    return pa.DictionaryArray.from_arrays(array.indices, values, ordered=kind.ordered, safe=False)


# -- parts -------------------------------------------------------------------------------------------------------


def _bitmap(array: pa.Array) -> pa.Buffer | None:
    bitmap = bitmap_of(array)
    return None if bitmap is None else pa.py_buffer(bitmap)


def _integers(buffer: pa.Buffer | None, dtype: Any, array: pa.Array) -> Int64s:
    """The numbers of one buffer that belong to the rows of an array."""
    size = np.dtype(dtype).itemsize
    window = buffer_bytes(buffer)[array.offset * size : (array.offset + len(array)) * size]
    return window.view(dtype).astype(np.int64)


def _check_fits(count: int, dtype: Any, kind: pa.DataType) -> None:
    if count > np.iinfo(dtype).max:
        raise InvalidInput(
            f"{count:,} rows or items do not fit one array of type {kind}",
            kind="too-large",
            hint="ask for fewer rows at once",
        )


@dataclass(frozen=True, slots=True)
class _Form:
    """How arrays of a kind of type are carried. carried: type → type; carry, present: (array, type) → array."""

    carried: Callable[[Any], pa.DataType]
    carry: Callable[[Any, Any], pa.Array]
    present: Callable[[Any, Any], pa.Array]


def _as(carried: pa.DataType) -> Callable[[Any], pa.DataType]:
    return lambda kind: carried


def _views_as_lists(kind: Any) -> pa.DataType:
    return pa.large_list(carried_field(kind.value_field))


def _runs_as_dictionary(kind: Any) -> pa.DataType:
    return pa.dictionary(_RUN, carried_type(kind.value_type))


_VIEWS = _Form(_views_as_lists, _carry_view, _present_view)
_UNIONS = _Form(_union_struct, _carry_union, _present_union)
_LISTS = _Form(_list, _carry_list, _present_list)
_NULL = pa.null()
_OTHERS = frozenset(
    kind.id
    for kind in (
        *(pa.string_view(), pa.binary_view(), pa.list_view(_NULL), pa.large_list_view(_NULL)),
        *(pa.run_end_encoded(_RUN, _NULL), pa.sparse_union([]), pa.dense_union([])),
    )
)
# By Arrow's number of the type: those of _OTHERS, and those that may hold them.
_FORMS: dict[int, _Form] = {
    pa.string_view().id: _Form(_as(pa.large_string()), _carry_text, _present_text),
    pa.binary_view().id: _Form(_as(pa.large_binary()), _carry_text, _present_text),
    pa.list_view(_NULL).id: _VIEWS,
    pa.large_list_view(_NULL).id: _VIEWS,
    pa.run_end_encoded(_RUN, _NULL).id: _Form(_runs_as_dictionary, _carry_runs, _present_runs),
    pa.sparse_union([]).id: _UNIONS,
    pa.dense_union([]).id: _UNIONS,
    pa.uuid().id: _Form(_extension, _carry_extension, _present_extension),
    pa.struct([]).id: _Form(_struct, _carry_struct, _present_struct),
    pa.list_(_NULL).id: _LISTS,
    pa.large_list(_NULL).id: _LISTS,
    pa.map_(_RUN, _NULL).id: _LISTS,
    pa.list_(_NULL, 1).id: _Form(_fixed_size_list, _carry_fixed_size_list, _present_fixed_size_list),
    pa.dictionary(_RUN, _NULL).id: _Form(_dictionary, _carry_dictionary, _present_dictionary),
}
