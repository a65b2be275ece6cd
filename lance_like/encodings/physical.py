"""Between Arrow arrays and plain bytes: widths, views, bitmaps (format_spec/encodings/README.md, "Physical form")."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lance_like.encodings.stack import Reading, Runs, Stack, ask
from lance_like.errors import Corrupt
from lance_like.typing_ import Bytes, Int64s

_NO_BYTES = np.empty(0, np.uint8)
_BITS = 1 << np.arange(8, dtype=np.uint8)
# Runs from this length on are cheaper read byte by byte, one after the other, than bit by bit.
_LONG_RUN = 256
# Of a fixed-size type a null takes as much as a value, and a file may say that its lists have 2^31 items.
_MAX_NULLS_NBYTES = 1 << 31
# Looked up by number: a take of one row asks several times, and pyarrow's predicates take a third of a microsecond.
_INTEGER_LIKE = {
    kind.id: np.dtype(f"<{'u' if pa.types.is_unsigned_integer(kind) else 'i'}{kind.bit_width // 8}")
    for kind in (
        *(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
        *(pa.date32(), pa.date64(), pa.time32("s"), pa.time64("us"), pa.timestamp("us"), pa.duration("us")),
    )
}
_NUMBERS = _INTEGER_LIKE.keys() | {kind.id for kind in (pa.float16(), pa.float32(), pa.float64())}
_VARIABLE = frozenset(kind.id for kind in (pa.string(), pa.binary(), pa.large_string(), pa.large_binary()))
_NUMBER_NBYTES = {
    kind.id: kind.bit_width // 8
    for kind in (
        *(pa.int8(), pa.int16(), pa.int32(), pa.int64()),
        *(pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
        *(pa.float16(), pa.float32(), pa.float64()),
    )
}
_LARGE = frozenset(kind.id for kind in (pa.large_string(), pa.large_binary(), pa.large_list(pa.null())))
_UNSIGNED = {8 * nbytes: np.dtype(f"<u{nbytes}") for nbytes in (1, 2, 4, 8)}


def storage_of(kind: pa.DataType) -> pa.DataType:
    """The type without its extension, if it is one."""
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def flat_width(kind: pa.DataType) -> int | None:
    """Bytes of one value if every value has the same whole number of them and no null inside; else None."""
    if kind.id in _VARIABLE:
        return None
    if kind.id in _NUMBER_NBYTES:
        return _NUMBER_NBYTES[kind.id]
    kind = storage_of(kind)
    if pa.types.is_fixed_size_list(kind):
        width = flat_width(kind.value_type)
        return None if width is None else width * kind.list_size
    if pa.types.is_boolean(kind) or pa.types.is_null(kind) or pa.types.is_dictionary(kind):
        return None
    if pa.types.is_fixed_size_binary(kind):
        return kind.byte_width  # its bit_width is an int32: of 256 MiB and more it is another number
    try:
        return kind.bit_width // 8
    except ValueError:
        return None


def as_key(kind: pa.DataType) -> Hashable:
    """A type as a part of a key: extension types that Python defines have no hash as a rule."""
    if isinstance(kind, pa.ExtensionType):
        return kind.extension_name, as_key(kind.storage_type), kind.__arrow_ext_serialize__()
    return kind


def null_array(count: int, kind: pa.DataType) -> pa.Array:
    """An array of nulls. Raises Corrupt, before it takes memory, when they would take over 2 GiB."""
    nbytes = count * _least_nbytes(kind)
    if nbytes > _MAX_NULLS_NBYTES:
        raise Corrupt(f"{count:,} nulls of the type {kind!s:.60} would take {nbytes:,} bytes", kind="limit")
    return pa.nulls(count, kind)


def _least_nbytes(kind: pa.DataType) -> int:
    """About the bytes that one row takes in Arrow, even when it is null."""
    kind = storage_of(kind)
    if pa.types.is_fixed_size_list(kind):
        return _least_nbytes(kind.value_type) * kind.list_size
    if pa.types.is_struct(kind):
        return sum(_least_nbytes(field.type) for field in kind) + 1
    return max(1, flat_width(kind) or 8)


def is_integer_like(kind: pa.DataType) -> bool:
    """True for types whose values are stored as integers of 1 to 8 bytes: ints, dates, times, durations."""
    return kind.id in _INTEGER_LIKE


def is_number(kind: pa.DataType) -> bool:
    """True for integer-like types and floats."""
    return kind.id in _NUMBERS


def is_variable(kind: pa.DataType) -> bool:
    """True for strings and binaries with an offsets buffer."""
    return kind.id in _VARIABLE


def check_variable(stack: Stack, kind: pa.DataType) -> None:
    """Raise Corrupt unless a type is one of strings or binaries."""
    if kind.id not in _VARIABLE:
        raise stack.corrupt(f"it cannot hold the type {kind}")


def is_large(kind: pa.DataType) -> bool:
    """True for types with 64-bit offsets."""
    return kind.id in _LARGE


def integer_dtype(kind: pa.DataType) -> np.dtype:
    """The numpy integer dtype of an integer-like type."""
    return _INTEGER_LIKE[kind.id]


def unsigned_dtype(kind: pa.DataType) -> np.dtype:
    """The unsigned numpy dtype of the width of an integer-like type."""
    return _UNSIGNED[kind.bit_width]


def flat_bytes(array: pa.Array) -> Bytes | None:
    """The values of a flat array as bytes, without a copy; None when an item of a list that is there is null."""
    width = _NUMBER_NBYTES.get(array.type.id)
    if width is None:
        if isinstance(array, pa.ExtensionArray):
            return flat_bytes(array.storage)
        if pa.types.is_fixed_size_list(array.type):
            size = array.type.list_size
            items = array.values.slice(array.offset * size, len(array) * size)
            if items.null_count and not _nulls_only_below(array, items):
                return None
            return flat_bytes(items)
        width = flat_width(array.type)
        assert width is not None
    return buffer_bytes(array.buffers()[1])[array.offset * width : (array.offset + len(array)) * width]


def _nulls_only_below(array: pa.Array, items: pa.Array) -> bool:
    """True when every null item lies in a null list: such nulls cannot be seen."""
    if array.null_count == 0:
        return False
    present = valid_of(items).reshape(len(array), -1)
    hidden = ~valid_of(array)
    return bool((present | hidden[:, None]).all())


def flat_array(kind: pa.DataType, data: Bytes, num_rows: int) -> pa.Array:
    """A flat array over bytes, without a copy: the inverse of `flat_bytes`."""
    if kind.id in _NUMBERS:
        return pa.Array.from_buffers(kind, num_rows, [None, pa.py_buffer(data)], null_count=0)
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, flat_array(kind.storage_type, data, num_rows))
    if pa.types.is_fixed_size_list(kind):
        items = flat_array(kind.value_type, data, num_rows * kind.list_size)
        return pa.Array.from_buffers(kind, num_rows, [None], children=[items])
    return pa.Array.from_buffers(kind, num_rows, [None, pa.py_buffer(data)], null_count=0)


def buffer_bytes(buffer: pa.Buffer | None) -> Bytes:
    """A buffer as bytes, without a copy."""
    return _NO_BYTES if buffer is None or buffer.size == 0 else np.frombuffer(buffer, np.uint8)


def offsets_of(array: pa.Array) -> Int64s:
    """int64[n + 1] offsets of a string, binary, list or map array into its data or values."""
    dtype = np.int64 if is_large(array.type) else np.int32
    buffer = array.buffers()[1]
    if buffer is None or buffer.size == 0:
        return np.zeros(len(array) + 1, np.int64)
    offsets = np.frombuffer(buffer, dtype, count=len(array) + 1, offset=array.offset * dtype().itemsize)
    return offsets.astype(np.int64)


def bitmap_of(array: pa.Array) -> Bytes | None:
    """The validity of an array as a bitmap that starts at bit 0, or None when nothing is null."""
    if array.null_count == 0 or pa.types.is_null(array.type):
        return None
    return cut_bits(buffer_bytes(array.buffers()[0]), array.offset, len(array))


def valid_of(array: pa.Array) -> npt.NDArray[np.bool_]:
    """bool[n]: which rows of an array are not null, by its bitmap; fifteen times faster than asking Arrow."""
    bitmap = array.buffers()[0]
    if bitmap is None:
        return np.full(len(array), not pa.types.is_null(array.type))
    return unpack_bits(buffer_bytes(bitmap), array.offset, len(array)).view(bool)


def bits_of(array: pa.BooleanArray) -> npt.NDArray[np.bool_]:
    """bool[n]: the values of booleans; of a null, whatever stands there. Five times faster than asking Arrow."""
    return unpack_bits(buffer_bytes(array.buffers()[1]), array.offset, len(array)).view(bool)


def cut_bits(bitmap: Bytes, start: int, num_bits: int) -> Bytes:
    """Bits start … start + num_bits of a bitmap as a bitmap of their own, unused bits zero."""
    nbytes = (num_bits + 7) // 8
    if start % 8 == 0:
        cut = bitmap[start // 8 : start // 8 + nbytes]
        if num_bits % 8 == 0:
            return cut
    return np.packbits(unpack_bits(bitmap, start, num_bits), bitorder="little")


def unpack_bits(bitmap: Bytes, start: int, num_bits: int) -> Bytes:
    """Bits start … start + num_bits of a bitmap as uint8[num_bits] of 0 and 1."""
    window = bitmap[start // 8 : (start + num_bits + 7) // 8]
    return np.unpackbits(window, bitorder="little")[start % 8 : start % 8 + num_bits]


def read_bits(first_bytes: Int64s, stack: Stack, runs: Runs) -> Reading[Bytes]:
    """Bits of runs of rows, end to end, as a bitmap. first_bytes: int64[p], where each page's bitmap begins."""
    if len(runs.starts) == 1 and not runs.single:
        start_byte, first, last = first_bytes[runs.at], int(runs.starts[0]), int(runs.ends[0])
        (window,) = yield [(start_byte + first // 8, start_byte + (last + 7) // 8, stack.slots[runs.at])]
        return cut_bits(window, first % 8, last - first)
    if runs.long(_LONG_RUN):
        return (yield from _read_long_bits(first_bytes[runs.at], stack, runs))
    at, rows = runs.places if runs.single else runs.rows()
    (window,) = yield [ask(first_bytes[at] + (rows >> 3), 1, stack.slots[at])]
    return np.packbits(window & _BITS[rows & 7], bitorder="little")


def _read_long_bits(first_bytes: Int64s, stack: Stack, runs: Runs) -> Reading[Bytes]:
    """As `read_bits`, byte by byte. first_bytes: int64[n], of each run."""
    low, high = runs.starts >> 3, runs.ends + 7 >> 3
    (data,) = yield [(first_bytes + low, first_bytes + high, stack.slots[runs.at])]
    skips, lengths = runs.starts & 7, runs.lengths
    if not skips.any() and not (lengths[:-1] & 7).any():
        return cut_bits(data, 0, runs.count)
    windows = np.split(data, np.cumsum(high - low)[:-1])
    some = zip(windows, skips.tolist(), lengths.tolist(), strict=True)
    return np.packbits(np.concatenate([unpack_bits(*one) for one in some]), bitorder="little")


def read_validity(stack: Stack, runs: Runs) -> Reading[Bytes]:
    """The validity bitmap of rows of a stack that has one."""
    assert stack.validity is not None
    return read_bits(stack.validity, stack, runs)


def with_validity(array: pa.Array, bitmap: Bytes) -> pa.Array:
    """The same values with nulls where the bitmap has a zero. The array starts at offset 0 and has no nulls."""
    validity = pa.py_buffer(bitmap)
    kind = array.type
    if kind.id in _INTEGER_LIKE or kind.id in _VARIABLE:
        return pa.Array.from_buffers(kind, len(array), [validity, *array.buffers()[1:]], offset=array.offset)
    if isinstance(array, pa.ExtensionArray):
        return pa.ExtensionArray.from_storage(kind, with_validity(array.storage, bitmap))
    if isinstance(array, pa.DictionaryArray):
        indices = with_validity(array.indices, bitmap)
        return pa.DictionaryArray.from_arrays(indices, array.dictionary, ordered=kind.ordered, safe=False)
    if pa.types.is_struct(kind):
        children = [array.field(i) for i in range(kind.num_fields)]
    elif pa.types.is_map(kind):
        children = [entries_of(array)]
    elif pa.types.is_nested(kind):
        children = [array.values]
    else:
        children = []
    own = array.buffers()[1 : kind.num_buffers]
    return pa.Array.from_buffers(kind, len(array), [validity, *own], offset=array.offset, children=children)


def entries_of(array: pa.MapArray) -> pa.StructArray:
    """All entries of a map array as structs of key and value, without regard to its offset."""
    fields = [array.type.key_field, array.type.item_field]
    return pa.StructArray.from_arrays([array.keys, array.items], fields=fields)
