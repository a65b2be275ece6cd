"""Arrow arrays of every type that can be stored, and the comparison that sees every bit of them."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from lance_like.file.carry import carried_type

FLAT = (
    *(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
    *(pa.float16(), pa.float32(), pa.float64(), pa.date32(), pa.date64(), pa.month_day_nano_interval()),
    *(pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns"), pa.duration("ms")),
    *(pa.timestamp("s"), pa.timestamp("us", "Europe/Berlin"), pa.timestamp("ns", "UTC")),
    *(pa.decimal32(7, 2), pa.decimal64(18, -1), pa.decimal128(20, 3), pa.decimal256(50, -2)),
    *(pa.binary(1), pa.binary(16), pa.binary(0)),
)
VARIABLE = (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())
TEXT_VIEWS = (pa.string_view(), pa.binary_view())
NESTED = (
    *(pa.list_(pa.int32()), pa.list_(pa.string()), pa.large_list(pa.float64()), pa.list_(pa.bool_())),
    pa.list_(pa.list_(pa.int16())),
    pa.list_(pa.struct([("x", pa.int64()), ("y", pa.string()), ("z", pa.struct([("w", pa.bool_())]))])),
    pa.list_(pa.field("item", pa.int8(), nullable=False, metadata={"k": "v"})),
    pa.map_(pa.string(), pa.int8()),
    pa.map_(pa.int32(), pa.list_(pa.string())),
    *(pa.list_(pa.float32(), 4), pa.list_(pa.int8(), 3), pa.list_(pa.bool_(), 3), pa.list_(pa.string(), 2)),
    *(pa.list_(pa.list_(pa.float16(), 2), 3), pa.list_(pa.int32(), 0), pa.list_(pa.list_(pa.uint8()), 2)),
    pa.struct([("a", pa.int32()), ("b", pa.string())]),
    *(pa.list_(pa.null()), pa.list_(pa.null(), 2), pa.map_(pa.string_view(), pa.list_view(pa.int8()))),
)
VIEWS = (
    *(pa.list_view(pa.int16()), pa.large_list_view(pa.string_view()), pa.list_view(pa.list_view(pa.bool_()))),
    pa.list_view(pa.field("named", pa.struct([("x", pa.binary_view())]), nullable=False, metadata={"k": "v"})),
    *(pa.list_(pa.string_view()), pa.list_(pa.list_view(pa.int8()), 2)),
)
RUNS = (
    *(pa.run_end_encoded(pa.int16(), pa.int64()), pa.run_end_encoded(pa.int32(), pa.string())),
    *(pa.run_end_encoded(pa.int64(), pa.list_(pa.string_view())), pa.run_end_encoded(pa.int32(), pa.bool_())),
    pa.run_end_encoded(pa.int32(), pa.struct([("x", pa.float32()), ("r", pa.run_end_encoded(pa.int16(), pa.int8()))])),
    *(pa.list_(pa.run_end_encoded(pa.int32(), pa.float64())), pa.list_(pa.run_end_encoded(pa.int16(), pa.int8()), 2)),
)
UNIONS = (
    pa.sparse_union([pa.field("i", pa.int32()), pa.field("s", pa.string())]),
    pa.dense_union([pa.field("i", pa.int64(), metadata={"k": "v"}), pa.field("i", pa.list_(pa.int8()))], [7, 3]),
    pa.dense_union([pa.field("f", pa.float32(), nullable=False), pa.field("n", pa.null())], [127, 0]),
    pa.sparse_union(
        [
            pa.field("d", pa.dense_union([pa.field("v", pa.string_view()), pa.field("b", pa.bool_())])),
            pa.field("r", pa.run_end_encoded(pa.int32(), pa.int16())),
        ]
    ),
    pa.list_(pa.dense_union([pa.field("x", pa.uint8()), pa.field("y", pa.struct([("z", pa.string())]))])),
    pa.struct([pa.field("u", pa.sparse_union([pa.field("x", pa.int8()), pa.field("y", pa.bool_())]))]),
)
DICTIONARIES = (
    *(pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int64(), pa.float64(), ordered=True)),
    *(pa.dictionary(pa.uint16(), pa.binary(3)), pa.list_(pa.dictionary(pa.int32(), pa.string()))),
    *(pa.dictionary(pa.uint8(), pa.list_(pa.int8())), pa.dictionary(pa.int32(), pa.string_view())),
    *(pa.dictionary(pa.int16(), pa.float16()), pa.dictionary(pa.int32(), pa.month_day_nano_interval())),
    pa.dictionary(pa.int16(), pa.struct([("x", pa.int8()), ("y", pa.dictionary(pa.int8(), pa.string()))])),
)
EXTENSIONS = (
    *(pa.uuid(), pa.json_(), pa.bool8(), pa.fixed_shape_tensor(pa.float32(), [2, 3])),
    pa.opaque(pa.list_(pa.int16()), "kind", "vendor"),
    *(pa.opaque(UNIONS[0], "kind", "vendor"), pa.opaque(pa.string_view(), "", ""), pa.list_(pa.uuid())),
)
TYPES = (
    *(
        pa.null(),
        pa.bool_(),
        *FLAT,
        *VARIABLE,
        *TEXT_VIEWS,
        *NESTED,
        *VIEWS,
        *RUNS,
        *UNIONS,
        *DICTIONARIES,
        *EXTENSIONS,
    ),
)
# Those that encodings meet (lance_like/file/carry.py).
CARRIED_TYPES = tuple(kind for kind in TYPES if carried_type(kind) is kind)

WORDS = ("", "a", "b", "né", "𝄞", "\0", "\U0010ffff", "word" * 11, "ab" * 400)
STYLES = ("any", "few", "same", "near")
# Patterns of 8 bytes: zero, -1, the smallest and largest integers, -0.0, infinity, NaN with a sign and payload.
_PATTERNS = (
    "00" * 8,
    "ff" * 8,
    "00" * 7 + "80",
    "ff" * 7 + "7f",
    "00" * 6 + "f07f",
    "efbeaddeadbef8ff",
    "01" + "00" * 7,
)


@dataclass(frozen=True, slots=True)
class Shape:
    """How the values of an array are chosen. style: of STYLES. nulls: share of nulls at every level."""

    style: str
    nulls: float


SHAPES = st.builds(Shape, st.sampled_from(STYLES), st.sampled_from((0.0, 0.25, 1.0)))


@st.composite
def arrays(draw: st.DrawFn, kind: pa.DataType, max_rows: int = 400) -> pa.Array:
    """Arrays of a type, sliced on both sides or not at all."""
    rows, shape = draw(st.integers(0, max_rows)), draw(SHAPES)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    before, after = draw(st.sampled_from(((0, 0), (1, 0), (13, 5))))
    return make_array(kind, before + rows + after, shape, rng).slice(before, rows)


def make_array(kind: pa.DataType, rows: int, shape: Shape, rng: np.random.Generator) -> pa.Array:
    """An array of a type, with something else than zero below its nulls."""
    t = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, make_array(kind.storage_type, rows, shape, rng))
    if t.is_null(kind):
        return pa.nulls(rows)
    mask = _mask(rows, shape, rng)
    if t.is_dictionary(kind):
        values = make_array(kind.value_type, 7, Shape("any", 0.0), rng)
        indices = pa.array(rng.integers(0, 7, rows), kind.index_type, mask=mask)
        return pa.DictionaryArray.from_arrays(indices, values, ordered=kind.ordered)
    if t.is_struct(kind):
        if kind.num_fields == 0:
            return pa.Array.from_buffers(kind, rows, [_bitmap(mask)])
        children = [make_array(field.type, rows, _inside(field, shape), rng) for field in kind]
        return pa.StructArray.from_arrays(children, fields=list(kind), mask=_arrow(mask))
    if t.is_fixed_size_list(kind):
        items = make_array(kind.value_type, rows * kind.list_size, _inside(kind.value_field, shape), rng)
        if kind.list_size == 0:
            return pa.Array.from_buffers(kind, rows, [_bitmap(mask)], children=[items])
        return pa.FixedSizeListArray.from_arrays(items, type=kind, mask=_arrow(mask))
    if t.is_run_end_encoded(kind):
        return _make_runs(kind, rows, shape, rng)
    if t.is_union(kind):
        return _make_union(kind, rows, shape, rng)
    if t.is_list_view(kind) or t.is_large_list_view(kind):
        return _make_views(kind, rows, shape, rng, mask)
    if t.is_map(kind) or t.is_list(kind) or t.is_large_list(kind):
        return _make_lists(kind, rows, shape, rng, mask)
    return _make_leaf(kind, rows, shape, rng, mask)


def _make_lists(
    kind: pa.DataType, rows: int, shape: Shape, rng: np.random.Generator, mask: np.ndarray | None
) -> pa.Array:
    offsets = np.concatenate(([0], np.cumsum(rng.integers(0, 4, rows))))
    if pa.types.is_map(kind):
        keys = make_array(kind.key_type, offsets[-1], Shape(shape.style, 0.0), rng)
        items = make_array(kind.item_type, offsets[-1], _inside(kind.item_field, shape), rng)
        entries = pa.StructArray.from_arrays([keys, items], fields=[kind.key_field, kind.item_field])
    else:
        entries = make_array(kind.value_type, offsets[-1], _inside(kind.value_field, shape), rng)
    dtype = np.int64 if pa.types.is_large_list(kind) else np.int32
    buffers = [_bitmap(mask), pa.py_buffer(offsets.astype(dtype))]
    return pa.Array.from_buffers(kind, rows, buffers, children=[entries])


def _make_views(
    kind: pa.DataType, rows: int, shape: Shape, rng: np.random.Generator, mask: np.ndarray | None
) -> pa.Array:
    """Views in any order that share items, with items that no view spans."""
    items = make_array(kind.value_type, 2 * rows + 3, _inside(kind.value_field, shape), rng)
    sizes = rng.integers(0, 4, rows)
    starts = rng.integers(0, 2 * rows, rows) if rows else sizes
    dtype = np.int64 if pa.types.is_large_list_view(kind) else np.int32
    places = [pa.py_buffer(part.astype(dtype)) for part in (starts, sizes)]
    return pa.Array.from_buffers(kind, rows, [_bitmap(mask), *places], children=[items])


def _make_runs(kind: pa.DataType, rows: int, shape: Shape, rng: np.random.Generator) -> pa.Array:
    ends = np.unique(np.append(rng.integers(1, rows + 1, rows // 3 + 1), rows)) if rows else np.empty(0, np.int64)
    values = make_array(kind.value_type, len(ends), shape, rng)
    children = [pa.array(ends, kind.run_end_type), values]
    return pa.Array.from_buffers(kind, rows, [None], children=children)


def _make_union(kind: pa.DataType, rows: int, shape: Shape, rng: np.random.Generator) -> pa.Array:
    chosen = rng.integers(0, kind.num_fields, rows)
    codes = pa.py_buffer(np.array(kind.type_codes, np.int8)[chosen])
    if kind.mode == "sparse":
        children = [make_array(field.type, rows, _inside(field, shape), rng) for field in kind]
        return pa.Array.from_buffers(kind, rows, [None, codes], children=children)
    # Values in another order than the rows, and some that no row names.
    children = [make_array(field.type, rows + 2, _inside(field, shape), rng) for field in kind]
    places = pa.py_buffer(rng.permutation(rows + 2)[:rows].astype(np.int32))
    return pa.Array.from_buffers(kind, rows, [None, codes, places], children=children)


def _make_leaf(
    kind: pa.DataType, rows: int, shape: Shape, rng: np.random.Generator, mask: np.ndarray | None
) -> pa.Array:
    t = pa.types
    if t.is_boolean(kind):
        bits = rng.integers(0, 2, rows) if shape.style != "same" else np.full(rows, rng.integers(0, 2))
        return pa.Array.from_buffers(kind, rows, [_bitmap(mask), _bitmap(bits == 0)])
    if kind in VARIABLE or kind in TEXT_VIEWS:
        return pa.array([_word(shape, rng) for _ in range(rows)], pa.string(), mask=mask).cast(kind)
    width = kind.bit_width // 8
    data = _decimals(kind, rows, rng) if t.is_decimal(kind) else _flat(rows, width, shape, rng)
    return pa.Array.from_buffers(kind, rows, [_bitmap(mask), pa.py_buffer(data)])


def _flat(rows: int, width: int, shape: Shape, rng: np.random.Generator) -> np.ndarray:
    if shape.style == "any":
        return rng.integers(0, 256, rows * width, np.uint8)
    if shape.style == "near" and width in (1, 2, 4, 8):
        # A random base that may wrap around, and differences of a random number of bits.
        values = rng.integers(0, 2**64 - 1, dtype=np.uint64) + rng.integers(
            0, 1 << rng.integers(1, 50), rows, np.uint64
        )
        return np.ascontiguousarray(values.view(np.uint8).reshape(-1, 8)[:, :width]).reshape(-1)
    patterns = np.frombuffer(bytes.fromhex("".join(_PATTERNS)), np.uint8).reshape(-1, 8)
    # The top bytes of a pattern make it what it is.
    cells = np.tile(patterns, (1, width // 8 + 1))[:, -width:] if width else patterns[:, :0]
    chosen = cells[rng.integers(0, len(cells), 1 if shape.style == "same" else 3)]
    return np.ascontiguousarray(chosen[rng.integers(0, len(chosen), rows)]).reshape(-1)


def _decimals(kind: pa.DataType, rows: int, rng: np.random.Generator) -> np.ndarray:
    width, most = kind.bit_width // 8, 10 ** min(18, kind.precision)
    numbers = rng.integers(-most + 1, most, rows)
    cells = np.repeat(np.where(numbers < 0, 255, 0).astype(np.uint8), width).reshape(rows, width)
    low = min(width, 8)
    cells[:, :low] = numbers.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :low]
    return cells.reshape(-1)


def _word(shape: Shape, rng: np.random.Generator) -> str:
    if shape.style == "same":
        return WORDS[3]
    if shape.style == "few":
        return WORDS[rng.integers(0, 3)]
    word = WORDS[rng.integers(0, len(WORDS))]
    return word if shape.style == "near" else word[:60] + str(rng.integers(0, 1 << 40))


def _inside(field: pa.Field, shape: Shape) -> Shape:
    return shape if field.nullable else Shape(shape.style, 0.0)


def _mask(rows: int, shape: Shape, rng: np.random.Generator) -> np.ndarray | None:
    return rng.random(rows) < shape.nulls if shape.nulls else None


def _arrow(mask: np.ndarray | None) -> pa.Array | None:
    return None if mask is None else pa.array(mask, pa.bool_())


def _bitmap(mask: np.ndarray | None) -> pa.Buffer | None:
    return None if mask is None else pa.py_buffer(np.packbits(~mask, bitorder="little"))


# -- comparison ------------------------------------------------------------------------------------------------


class _Recast:
    """An array under another type of the same layout."""

    def __init__(self, array: pa.Array, kind: pa.DataType) -> None:
        self._array, self._kind = array, kind

    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]:
        return pa.field("", self._kind).__arrow_c_schema__(), self._array.__arrow_c_array__()[1]


def _bits_type(kind: pa.DataType) -> pa.DataType:
    """The type with unsigned integers for floats and times and storage types for extensions, at every level."""
    t = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return _bits_type(kind.storage_type)
    if t.is_floating(kind) or (t.is_temporal(kind) and not t.is_interval(kind)):
        return {16: pa.uint16(), 32: pa.uint32(), 64: pa.uint64()}[kind.bit_width]
    if t.is_struct(kind):
        return pa.struct([_bits_field(field) for field in kind])
    if t.is_map(kind):
        return pa.map_(_bits_field(kind.key_field), _bits_field(kind.item_field))
    if t.is_fixed_size_list(kind):
        return pa.list_(_bits_field(kind.value_field), kind.list_size)
    if t.is_list(kind):
        return pa.list_(_bits_field(kind.value_field))
    if t.is_large_list(kind):
        return pa.large_list(_bits_field(kind.value_field))
    return kind


def _bits_field(field: pa.Field) -> pa.Field:
    return pa.field(field.name, _bits_type(field.type), field.nullable)


def same(left: pa.Array | pa.ChunkedArray, right: pa.Array | pa.ChunkedArray) -> bool:
    """Equal types, nulls and values, bit for bit: NaN equals NaN of the same bits, and -0.0 is not 0.0.

    Dictionary arrays may number their values differently, runs may be cut differently, views may lie differently.
    """
    if left.type != right.type or len(left) != len(right):
        return False
    if _is_roundabout(left.type):
        return cells_of(left) == cells_of(right)
    return _bits(left).equals(_bits(right))


def _bits(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.nulls(0, array.type)
    return pa.array(_Recast(array, _bits_type(array.type)))


def _is_roundabout(kind: pa.DataType) -> bool:
    """True for types that can say one value in several ways, at any level."""
    t = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return _is_roundabout(kind.storage_type)
    if t.is_dictionary(kind) or t.is_run_end_encoded(kind) or t.is_union(kind):
        return True
    if t.is_list_view(kind) or t.is_large_list_view(kind) or t.is_string_view(kind) or t.is_binary_view(kind):
        return True
    return t.is_nested(kind) and any(_is_roundabout(kind.field(i).type) for i in range(kind.num_fields))


def cells_of(array: pa.Array | pa.ChunkedArray) -> list[Any]:
    """The values of an array, one Python value a row, written here apart from the package: floats as their bits, a
    union's as its type code and value."""
    if isinstance(array, pa.ChunkedArray):
        return [cell for chunk in array.chunks for cell in cells_of(chunk)]
    kind, t, rows = array.type, pa.types, range(len(array))
    if isinstance(array, pa.ExtensionArray):
        return cells_of(array.storage)
    if t.is_dictionary(kind):
        values = cells_of(array.dictionary)
        return [None if code is None else values[code] for code in array.indices.to_pylist()]
    if t.is_run_end_encoded(kind):
        ends, values = array.run_ends.to_pylist(), cells_of(array.values)
        return [values[bisect_right(ends, array.offset + row)] for row in rows]
    if t.is_union(kind):
        children = [cells_of(array.field(i)) for i in range(kind.num_fields)]
        child_of = dict(zip(kind.type_codes, children, strict=True))
        # The array's own type_codes and offsets forget that it is a slice.
        codes = _numbers(array, 1, np.int8)
        places = _numbers(array, 2, np.int32) if kind.mode == "dense" else rows
        return [(code, child_of[code][place]) for code, place in zip(codes, places, strict=True)]
    if not t.is_nested(kind):
        plain = array.cast(pa.large_binary()) if t.is_string_view(kind) or t.is_binary_view(kind) else array
        return plain.to_pylist() if t.is_null(kind) else pa.array(_Recast(plain, _bits_type(plain.type))).to_pylist()
    return [cell if valid else None for cell, valid in zip(_items_of(array), array.is_valid().to_pylist(), strict=True)]


def null_cell(kind: pa.DataType) -> Any:
    """What a row of a column that no file holds is, as `cells_of` gives it."""
    if isinstance(kind, pa.BaseExtensionType):
        return null_cell(kind.storage_type)
    return (kind.type_codes[0], null_cell(kind.field(0).type)) if pa.types.is_union(kind) else None


def _numbers(array: pa.Array, buffer: int, dtype: type) -> list[int]:
    size = np.dtype(dtype).itemsize
    return np.frombuffer(array.buffers()[buffer] or b"", dtype, len(array), array.offset * size).tolist()


def _items_of(array: pa.Array) -> list[Any]:
    """The items of each row of a nested array, whether the row is null or not."""
    kind, t, rows = array.type, pa.types, range(len(array))
    if t.is_struct(kind):
        return list(zip(*(cells_of(array.field(i)) for i in range(kind.num_fields)), strict=True)) or [()] * len(array)
    if t.is_fixed_size_list(kind):
        size = kind.list_size
        items = cells_of(array.values)
        return [items[(array.offset + row) * size : (array.offset + row + 1) * size] for row in rows]
    if t.is_map(kind):
        items = list(zip(cells_of(array.keys), cells_of(array.items), strict=True))
    else:
        items = cells_of(array.values)
    offsets = array.offsets.to_pylist()
    if t.is_list_view(kind) or t.is_large_list_view(kind):
        return [items[start : start + size] for start, size in zip(offsets, array.sizes.to_pylist(), strict=True)]
    return [items[offsets[row] : offsets[row + 1]] for row in rows]


def same_table(left: pa.Table, right: pa.Table) -> bool:
    """Tables of the same schema whose columns are the `same`."""
    return left.schema.equals(right.schema, check_metadata=True) and all(
        same(a, b) for a, b in zip(left.columns, right.columns, strict=True)
    )
