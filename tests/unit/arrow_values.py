"""Arrow arrays of every type that can be stored, and the comparison that sees every bit of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

FLAT = (
    *(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
    *(pa.float16(), pa.float32(), pa.float64(), pa.date32(), pa.date64(), pa.month_day_nano_interval()),
    *(pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns"), pa.duration("ms")),
    *(pa.timestamp("s"), pa.timestamp("us", "Europe/Berlin"), pa.timestamp("ns", "UTC")),
    *(pa.decimal128(20, 3), pa.decimal256(50, -2), pa.binary(1), pa.binary(16), pa.binary(0)),
)
VARIABLE = (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())
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
)
DICTIONARIES = (
    *(pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int64(), pa.float64(), ordered=True)),
    *(pa.dictionary(pa.uint16(), pa.binary(3)), pa.list_(pa.dictionary(pa.int32(), pa.string()))),
)
EXTENSIONS = (
    *(pa.uuid(), pa.json_(), pa.bool8(), pa.fixed_shape_tensor(pa.float32(), [2, 3])),
    pa.opaque(pa.list_(pa.int16()), "kind", "vendor"),
)
TYPES = (pa.null(), pa.bool_(), *FLAT, *VARIABLE, *NESTED, *DICTIONARIES, *EXTENSIONS)

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
    if t.is_map(kind) or t.is_list(kind) or t.is_large_list(kind):
        return _make_lists(kind, rows, shape, rng, mask)
    return _make_leaf(kind, rows, shape, rng, mask)


def _make_lists(
    kind: pa.DataType, rows: int, shape: Shape, rng: np.random.Generator, mask: np.ndarray | None
) -> pa.Array:
    offsets = np.concatenate(([0], np.cumsum(rng.integers(0, 4, rows))))
    if pa.types.is_map(kind):
        keys = make_array(kind.key_type, offsets[-1], Shape(shape.style, 0.0), rng)
        items = make_array(kind.item_type, offsets[-1], shape, rng)
        entries = pa.StructArray.from_arrays([keys, items], fields=[kind.key_field, kind.item_field])
    else:
        entries = make_array(kind.value_type, offsets[-1], _inside(kind.value_field, shape), rng)
    dtype = np.int64 if pa.types.is_large_list(kind) else np.int32
    buffers = [_bitmap(mask), pa.py_buffer(offsets.astype(dtype))]
    return pa.Array.from_buffers(kind, rows, buffers, children=[entries])


def _make_leaf(
    kind: pa.DataType, rows: int, shape: Shape, rng: np.random.Generator, mask: np.ndarray | None
) -> pa.Array:
    t = pa.types
    if t.is_boolean(kind):
        bits = rng.integers(0, 2, rows) if shape.style != "same" else np.full(rows, rng.integers(0, 2))
        return pa.Array.from_buffers(kind, rows, [_bitmap(mask), _bitmap(bits == 0)])
    if kind in VARIABLE:
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
    """The type with unsigned integers for floats and storage types for extensions, at every level."""
    t = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return _bits_type(kind.storage_type)
    if t.is_floating(kind):
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

    Dictionary arrays, and lists of them, may number their values differently.
    """
    if left.type != right.type or len(left) != len(right):
        return False
    return _bits(left).equals(_bits(right))


def _bits(array: pa.Array | pa.ChunkedArray) -> pa.Array:
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.nulls(0, array.type)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    elif pa.types.is_list(array.type) and pa.types.is_dictionary(array.type.value_type):
        array = array.cast(pa.list_(array.type.value_type.value_type))
    return pa.array(_Recast(array, _bits_type(array.type)))


def same_table(left: pa.Table, right: pa.Table) -> bool:
    """Tables of the same schema whose columns are the `same`."""
    return left.schema.equals(right.schema, check_metadata=True) and all(
        same(a, b) for a, b in zip(left.columns, right.columns, strict=True)
    )
