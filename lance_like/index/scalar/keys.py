"""Values as keys: what the order of every type that can be sorted comes down to (format_spec/index/keys.md).

Numbers, dates, decimals and cells of one size are numpy arrays whose own order is that of the values; texts and bytes
are Arrow arrays that are compared byte by byte. Keys are never null. -0.0 is 0.0, and NaN, of which there is one, is
above all numbers.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lance_like._lazy import cached, per_type
from lance_like.encodings.physical import (
    bits_of,
    buffer_bytes,
    integer_dtype,
    is_integer_like,
    is_large,
    is_variable,
    offsets_of,
)
from lance_like.encodings.sift import Flags
from lance_like.errors import InvalidInput
from lance_like.file.carry import carried_type, carry
from lance_like.index.radix import stable_order
from lance_like.typing_ import Bytes, Int64s

Side: TypeAlias = Literal["left", "right"]
Uint32s: TypeAlias = npt.NDArray[np.uint32]

# A search of one text takes some dozen steps in Python; sorting keys and texts together costs so much less a key.
_STEPS_PER_SORTED_KEY = 12
_FEW_TEXTS = 64
# Keys, and their bytes, up to which all are held as Python's, which are searched in a fifth of the time.
_LISTED, _LISTED_NBYTES = 1024, 1 << 16


class Keys(Protocol):
    """Some keys in an array."""

    def __len__(self) -> int: ...

    @property
    def nbytes(self) -> int:
        """What they take in memory."""
        ...

    def part(self, start: int, end: int) -> Keys:
        """Some of them that lie together, without a copy."""
        ...

    def take(self, places: Int64s) -> Keys:
        """Some of them, in the order asked."""
        ...

    def find(self, keys: Keys, side: Side) -> Int64s:
        """Where other keys would be inserted, before or after those that are equal. These ones ascend."""
        ...

    def around(self, keys: Keys) -> tuple[Int64s, Int64s]:
        """As `find`, from both sides."""
        ...

    def below(self, keys: Keys, side: Side) -> Flags:
        """bool[n]: whether each one is below the other in its place; with the side "right", or equal to it."""
        ...

    def grouped(self, ordinals: Uint32s) -> tuple[Keys, Int64s, Uint32s]:
        """Bring together the ordinals of equal keys; ordinals: uint32[n], of each key, ascending, repeats allowed.

        Returns the different keys, ascending, the end of each one's ordinals, and those: ascending, each once.
        """
        ...

    def extremes(self) -> tuple[Keys, Keys]:
        """The least and the greatest of at least one."""
        ...

    def values(self, kind: pa.DataType) -> pa.Array:
        """The inverse of `keys_of`. kind: the key type."""
        ...


@per_type
def key_type(kind: pa.DataType) -> pa.DataType | None:
    """The type that the keys of values are stored as; None for types without an order here."""
    t = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return kind.storage_type if kind.extension_name == "arrow.uuid" else None
    kind = carried_type(kind)
    if t.is_dictionary(kind):
        return key_type(kind.value_type)
    if is_variable(kind):
        is_text = t.is_string(kind) or t.is_large_string(kind)
        return pa.large_string() if is_text else pa.large_binary()
    if is_integer_like(kind) or t.is_floating(kind) or t.is_boolean(kind) or t.is_decimal(kind):
        return kind
    return kind if t.is_fixed_size_binary(kind) else None


def checked_key_type(kind: pa.DataType, index: str) -> pa.DataType:
    """The key type of values. Raises InvalidInput for types without an order."""
    found = key_type(kind)
    if found is None:
        raise InvalidInput(f"an index of the type {index} cannot hold values of the type {kind!s:.100}", kind="index")
    return found


def as_key_values(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """Values, nulls among them, in the type that their keys are stored as. Raises InvalidInput for another type."""
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    array = carry(array)
    while isinstance(array, pa.DictionaryArray):
        array = carry(array.dictionary.take(array.indices))
    if array.type != kind:
        if key_type(array.type) != kind:
            raise InvalidInput(f"a value of the type {array.type}; the index holds {kind}", kind="index")
        few = is_variable(kind) and len(array) <= _FEW_TEXTS
        # Kernels take five times as long to start.
        array = pa.array(array.to_pylist(), kind) if few else array.cast(kind)
    return array


def keys_of(array: pa.Array) -> Keys:
    """The keys of values of a key type, none of them null."""
    kind, t = array.type, pa.types
    if is_integer_like(kind):
        return NumberKeys(_view(array, integer_dtype(kind)))
    if is_variable(kind):
        return TextKeys(_as_binary(array))
    if t.is_boolean(kind):
        return NumberKeys(bits_of(array).view(np.uint8))
    if t.is_floating(kind):
        return NumberKeys(_of_floats(_view(array, np.dtype(f"<f{kind.bit_width // 8}"))))
    if t.is_decimal(kind):
        return NumberKeys(_of_decimals(array))
    return NumberKeys(_view(array, np.dtype(f"S{kind.byte_width}")) if kind.byte_width else np.zeros(len(array), "u1"))


def keys_of_values(values: pa.Array | pa.Scalar, kind: pa.DataType) -> Keys:
    """The keys of what a question asks for, ascending, each once: of an array without nulls or of one value."""
    if isinstance(values, pa.Scalar):
        number = number_of(values, kind)
        if number is not None:
            return NumberKeys(number.reshape(1))
        values = pa.repeat(values, 1)
    if len(values) <= _FEW_TEXTS and is_variable(values.type) and key_type(values.type) == kind:
        # Kernels take five times as long or more to start.
        listed = values.to_pylist()
        return TextKeys(sorted({text.encode() if isinstance(text, str) else text for text in listed}))
    keys = keys_of(as_key_values(values, kind))
    return keys if len(keys) == 1 else keys.grouped(np.zeros(len(keys), np.uint32))[0]


def number_of(value: pa.Scalar, kind: pa.DataType) -> np.integer | None:
    """The key of one value that is there, where keys are integers and it is of their type; else None."""
    if not is_integer_like(kind) or value.type != kind:
        return None
    return integer_dtype(kind).type(value.as_py() if pa.types.is_integer(kind) else value.value)


def one_text(text: bytes) -> TextKeys:
    """The key of one text, or bytes."""
    return TextKeys([text])


def joined_keys(parts: Sequence[Keys]) -> Keys:
    """Keys of one type end to end."""
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], TextKeys):
        return TextKeys(pa.concat_arrays([part.cells for part in parts if isinstance(part, TextKeys)]))
    return NumberKeys(np.concatenate([part.numbers for part in parts if isinstance(part, NumberKeys)]))


class NumberKeys:
    """Keys that numpy compares: integers, or cells of one size."""

    def __init__(self, numbers: np.ndarray) -> None:
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def nbytes(self) -> int:
        return self.numbers.nbytes

    def part(self, start: int, end: int) -> NumberKeys:
        return NumberKeys(self.numbers[start:end])

    def take(self, places: Int64s) -> NumberKeys:
        return NumberKeys(self.numbers[places])

    def find(self, keys: Keys, side: Side) -> Int64s:
        assert isinstance(keys, NumberKeys)
        return self.numbers.searchsorted(keys.numbers, side)

    def edge(self, number: np.integer, side: Side) -> int:
        """As `find`, of one."""
        return int(self.numbers.searchsorted(number, side))

    def around(self, keys: Keys) -> tuple[Int64s, Int64s]:
        return self.find(keys, "left"), self.find(keys, "right")

    def below(self, keys: Keys, side: Side) -> Flags:
        assert isinstance(keys, NumberKeys)
        return self.numbers < keys.numbers if side == "left" else self.numbers <= keys.numbers

    def grouped(self, ordinals: Uint32s) -> tuple[NumberKeys, Int64s, Uint32s]:
        found, ends, ordinals = _grouped(self.numbers, ordinals)
        return NumberKeys(found), ends, ordinals

    def extremes(self) -> tuple[NumberKeys, NumberKeys]:
        cells = self.numbers.dtype.kind == "S"  # of which numpy has no least
        ends = np.argsort(self.numbers)[[0, -1]] if cells else [self.numbers.argmin(), self.numbers.argmax()]
        return NumberKeys(self.numbers[ends[:1]]), NumberKeys(self.numbers[ends[1:]])

    def values(self, kind: pa.DataType) -> pa.Array:
        t = pa.types
        if t.is_boolean(kind):
            return pa.array(self.numbers.view(bool))
        if t.is_floating(kind):
            numbers = _floats_of(self.numbers)
        elif self.numbers.dtype.kind == "S" and t.is_decimal(kind):
            numbers = _flipped(self.numbers)
        else:
            numbers = self.numbers
        data = pa.py_buffer(np.ascontiguousarray(numbers).view(np.uint8))
        return pa.Array.from_buffers(kind, len(numbers), [None, data])


class TextKeys:
    """Keys of any length, compared byte by byte. given: all of them, as Arrow has them or, of few, Python."""

    def __init__(self, given: pa.LargeBinaryArray | list[bytes]) -> None:
        self._given = given

    def __len__(self) -> int:
        return len(self._given)

    @property
    def nbytes(self) -> int:
        return self.cells.nbytes

    @cached
    def cells(self) -> pa.LargeBinaryArray:
        """All of them as Arrow has them."""
        return pa.array(self._given, pa.large_binary()) if isinstance(self._given, list) else self._given

    @cached
    def listed(self) -> list[bytes]:
        """The same as Python has them."""
        return self._given if isinstance(self._given, list) else self._given.to_pylist()

    def part(self, start: int, end: int) -> TextKeys:
        return TextKeys(self.cells.slice(start, end - start))

    def take(self, places: Int64s) -> TextKeys:
        return TextKeys(self.cells.take(pa.array(places)))

    def find(self, keys: Keys, side: Side) -> Int64s:
        assert isinstance(keys, TextKeys)
        if self._are_many(keys):
            return self._find_sorting(keys, side)
        bisect = bisect_left if side == "left" else bisect_right
        return np.array([bisect(self._texts, key) for key in keys.listed], np.int64)

    def around(self, keys: Keys) -> tuple[Int64s, Int64s]:
        assert isinstance(keys, TextKeys)
        if self._are_many(keys):
            return self._find_sorting(keys, "left"), self._find_sorting(keys, "right")
        texts, count = self._texts, len(self)
        starts, ends = [], []
        for key in keys.listed:
            start = end = bisect_left(texts, key)
            # Mostly there is one, or none.
            if end < count and texts[end] == key:
                end += 1
                if end < count and texts[end] == key:
                    end = bisect_right(texts, key, end)
            starts.append(start)
            ends.append(end)
        return np.array(starts, np.int64), np.array(ends, np.int64)

    def below(self, keys: Keys, side: Side) -> Flags:
        assert isinstance(keys, TextKeys)
        compare = pc.less if side == "left" else pc.less_equal
        return bits_of(compare(self.cells, keys.cells))

    def grouped(self, ordinals: Uint32s) -> tuple[TextKeys, Int64s, Uint32s]:
        encoded = self.cells.dictionary_encode()
        order = pc.array_sort_indices(encoded.dictionary)
        ranks = np.empty(len(order), np.uint32)
        ranks[order.to_numpy()] = np.arange(len(order), dtype=np.uint32)
        _, ends, ordinals = _grouped(ranks[encoded.indices.to_numpy()], ordinals)
        return TextKeys(encoded.dictionary.take(order)), ends, ordinals

    def extremes(self) -> tuple[TextKeys, TextKeys]:
        found = pc.min_max(self.cells)
        return one_text(found["min"].as_py()), one_text(found["max"].as_py())

    def values(self, kind: pa.DataType) -> pa.Array:
        return pa.Array.from_buffers(kind, len(self), self.cells.buffers(), offset=self.cells.offset)

    def _are_many(self, keys: TextKeys) -> bool:
        """Are keys so many that to sort them with these ones takes less than to search for each?"""
        return len(keys) * _STEPS_PER_SORTED_KEY > len(self) + len(keys)

    @cached
    def _texts(self) -> _Texts:
        """All of them, to be looked at one at a time."""
        if len(self) <= _LISTED and self.nbytes <= _LISTED_NBYTES:
            return self.listed
        return _Cells(offsets_of(self.cells), buffer_bytes(self.cells.buffers()[2]))

    def _find_sorting(self, keys: TextKeys, side: Side) -> Int64s:
        first, second = (keys, self) if side == "left" else (self, keys)
        order = pc.array_sort_indices(pa.concat_arrays([first.cells, second.cells])).to_numpy()
        start = 0 if side == "left" else len(self)
        places = np.flatnonzero((order >= start) & (order < start + len(keys)))
        found = np.empty(len(keys), np.int64)
        found[order[places].astype(np.int64) - start] = places - np.arange(len(keys))
        return found


class _Texts(Protocol):
    """What is searched by halves."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: int, /) -> bytes: ...


class _Cells:
    """Cells that are made as they are asked for."""

    def __init__(self, offsets: Int64s, data: Bytes) -> None:
        self._offsets, self._data = memoryview(offsets), memoryview(data)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, place: int) -> bytes:
        return self._data[self._offsets[place] : self._offsets[place + 1]].tobytes()


def without_nulls(array: pa.Array, ordinals: Uint32s) -> tuple[pa.Array, Uint32s, Uint32s]:
    """The values of an array, their ordinals, and those of its nulls. ordinals: uint32[n], of its rows."""
    if not array.null_count:
        return array, ordinals, ordinals[:0]
    valid = array.is_valid()
    mask = bits_of(valid)
    return array.filter(valid), ordinals[mask], ordinals[~mask]


def _view(array: pa.Array, dtype: np.dtype) -> np.ndarray:
    buffer = array.buffers()[1]
    if buffer is None or not len(array):
        return np.empty(0, dtype)
    return np.frombuffer(buffer, dtype, len(array), array.offset * dtype.itemsize)


def _as_binary(array: pa.Array) -> pa.BinaryArray | pa.LargeBinaryArray:
    """Texts as bytes, without a copy; without nulls."""
    kind = pa.large_binary() if is_large(array.type) else pa.binary()
    return pa.Array.from_buffers(kind, len(array), [None, *array.buffers()[1:]], null_count=0, offset=array.offset)


def _of_floats(numbers: np.ndarray) -> np.ndarray:
    """Unsigned integers in the order of floats: those below 0 with all bits turned, the others with the first."""
    kind = np.dtype(f"u{numbers.itemsize}")
    with np.errstate(invalid="ignore"):  # of a NaN that signals numpy would warn
        numbers = numbers + numbers.dtype.type(0)  # -0.0 + 0.0 is 0.0
    bits = numbers.view(kind)
    bits[np.isnan(numbers)] = np.array(np.nan, numbers.dtype).view(kind)
    first = kind.type(1 << (8 * kind.itemsize - 1))
    return np.where(bits & first, ~bits, bits | first)


def _floats_of(keys: np.ndarray) -> np.ndarray:
    first = keys.dtype.type(1 << (8 * keys.itemsize - 1))
    return np.where(keys & first, keys & ~first, ~keys)


def _of_decimals(array: pa.Array) -> np.ndarray:
    width = array.type.bit_width // 8
    if width <= 8:
        return _view(array, np.dtype(f"<i{width}"))
    return _flipped(_view(array, np.dtype(f"S{width}")), last=True)


def _flipped(cells: np.ndarray, last: bool = False) -> np.ndarray:
    """Integers of many bytes, little-endian, as cells in their order: the other end first, and the first bit turned.

    last: the first bit is in the last byte, as in little-endian integers; False for the inverse.
    """
    octets = np.ascontiguousarray(cells).view(np.uint8).reshape(len(cells), cells.itemsize).copy()
    octets[:, -1 if last else 0] ^= 0x80
    return np.ascontiguousarray(octets[:, ::-1]).view(cells.dtype).reshape(-1)


def _grouped(numbers: np.ndarray, ordinals: Uint32s) -> tuple[np.ndarray, Int64s, Uint32s]:
    """As `Keys.grouped`, of integers or cells of one size."""
    if (numbers[1:] < numbers[:-1]).any():
        order = np.argsort(numbers, kind="stable") if numbers.dtype.kind == "S" else stable_order(numbers)
        numbers, ordinals = numbers[order], ordinals[order]
    firsts = _firsts(numbers)
    ends = _ends(firsts, len(numbers))
    if len(firsts) == len(numbers):
        return numbers, ends, ordinals
    new = np.concatenate(([True], ordinals[1:] != ordinals[:-1]))
    new[firsts] = True
    if not new.all():
        ends, ordinals = ends - (~new).nonzero()[0].searchsorted(ends), ordinals[new]
    return numbers[firsts], ends, ordinals


def _firsts(numbers: np.ndarray) -> Int64s:
    """Where runs of equal numbers begin."""
    others = numbers[1:] != numbers[:-1]
    if others.all():
        return np.arange(len(numbers))
    return np.append(0, np.flatnonzero(others) + 1)


def _ends(firsts: Int64s, count: int) -> Int64s:
    return np.append(firsts[1:], count) if len(firsts) else firsts


__all__ = [
    "Keys",
    "NumberKeys",
    "Side",
    "TextKeys",
    "Uint32s",
    "as_key_values",
    "checked_key_type",
    "joined_keys",
    "key_type",
    "keys_of",
    "keys_of_values",
    "number_of",
    "one_text",
    "without_nulls",
]
