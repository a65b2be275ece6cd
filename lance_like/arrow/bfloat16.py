"""bfloat16 in Arrow, which has no such type: an extension of two bytes, under the name that pylance gives it.

A column of these, or of fixed-size lists of them, is stored as it is, and searched as vectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pyarrow.types import is_fixed_size_list, is_floating

from lance_like.errors import InvalidInput

_NAME = "lance.bfloat16"
_HALF = 16


class BFloat16Scalar(pa.ExtensionScalar):
    """One number."""

    def as_py(self, **options: Any) -> float | None:
        """As a float; None for a null."""
        return None if self.value is None else float(_widened(np.frombuffer(self.value.as_py(), np.uint16))[0])


class BFloat16Array(pa.ExtensionArray):
    """Numbers of 16 bits: the upper half of a float32."""

    @staticmethod
    def from_numpy(array: np.ndarray) -> BFloat16Array:
        """Numbers in one dimension, rounded to the nearest, to the even one of two. Raises InvalidInput."""
        if array.ndim != 1:
            raise InvalidInput(f"an array of {array.ndim} dimensions was given: expected one")
        return _from_numbers(array.astype(np.float32, copy=False), None)

    def to_numpy(self, zero_copy_only: bool = False, **options: Any) -> np.ndarray:
        """float32[n], the same values. Raises InvalidInput for nulls."""
        if self.null_count:
            raise InvalidInput(f"{self.null_count:,} nulls are no numbers", kind="null")
        return _widened(_bits_of(self.storage))


class BFloat16Type(pa.ExtensionType):
    """The type of `BFloat16Array`."""

    def __init__(self) -> None:
        super().__init__(pa.binary(2), _NAME)

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> BFloat16Type:
        return cls()

    def __arrow_ext_class__(self) -> type[BFloat16Array]:
        return BFloat16Array

    def __arrow_ext_scalar_class__(self) -> type[BFloat16Scalar]:
        return BFloat16Scalar


def bfloat16_array(values: Iterable[float | str | None]) -> BFloat16Array:
    """Numbers, or texts of numbers, rounded to bfloat16; None becomes a null. Raises InvalidInput."""
    held = list(values)
    null = np.array([value is None for value in held], bool)
    try:
        numbers = np.array([0.0 if value is None else float(value) for value in held], np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"the values are not all numbers: {error}") from error
    return _from_numbers(numbers, null)


def cast(
    arr: pa.Array, target_type: pa.DataType | Literal["bfloat16", "bf16"] | str, *args: Any, **options: Any
) -> pa.Array:
    """As pyarrow.compute.cast, also from floats to bfloat16 and back, and in fixed-size lists of one length.

    Raises InvalidInput for casts of bfloat16 from and to other types.
    """
    target = BFloat16Type() if target_type in ("bfloat16", "bf16") else target_type
    if _is_bfloat16(arr.type) or _is_bfloat16(target):
        return _cast_numbers(arr, target)
    lists = is_fixed_size_list(arr.type) and isinstance(target, pa.FixedSizeListType)
    if lists and (_is_bfloat16(arr.type.value_type) or _is_bfloat16(target.value_type)):
        return _cast_lists(arr, target)
    return arr.cast(target, *args, **options)


def _cast_numbers(arr: pa.Array, target: Any) -> pa.Array:
    if _is_bfloat16(arr.type) and _is_bfloat16(target):
        return arr
    if _is_bfloat16(target) and is_floating(arr.type):
        numbers = arr.cast(pa.float32()).fill_null(0).to_numpy()
        return _from_numbers(numbers, arr.is_null().to_numpy(zero_copy_only=False))
    if _is_bfloat16(arr.type) and isinstance(target, pa.DataType) and is_floating(target):
        numbers = _widened(_bits_of(arr.storage))
        return pa.array(numbers, mask=arr.is_null().to_numpy(zero_copy_only=False)).cast(target)
    raise InvalidInput(f"bfloat16 is cast from and to floats, not {arr.type} to {target}", kind="type")


def _cast_lists(arr: pa.FixedSizeListArray, target: pa.FixedSizeListType) -> pa.Array:
    size = arr.type.list_size
    if size != target.list_size:
        raise InvalidInput(f"lists of {size} items are not cast to lists of {target.list_size}", kind="type")
    items = arr.values.slice(arr.offset * size, len(arr) * size)
    null = arr.is_null() if arr.null_count else None
    return pa.FixedSizeListArray.from_arrays(_cast_numbers(items, target.value_type), type=target, mask=null)


def _is_bfloat16(kind: Any) -> bool:
    """Is it the type, of this package or another one?"""
    return isinstance(kind, pa.BaseExtensionType) and kind.extension_name == _NAME


def _from_numbers(numbers: np.ndarray, null: np.ndarray | None) -> BFloat16Array:
    """float32[n] rounded, with nulls where bool[n] says so."""
    bits = numbers.view(np.uint32)
    # Half of the lowest bit that stays, and less by one where that is even: a tie goes to the even number.
    rounded = (bits + (0x7FFF + ((bits >> _HALF) & 1))) >> _HALF
    halves = np.where(np.isnan(numbers), (bits >> _HALF) | 0x40, rounded).astype(np.uint16)
    valid = None
    if null is not None and null.any():
        valid = pa.py_buffer(np.packbits(~null, bitorder="little"))
    buffers: Sequence[pa.Buffer | None] = [valid, pa.py_buffer(halves)]
    storage = pa.Array.from_buffers(pa.binary(2), len(numbers), buffers)
    return pa.ExtensionArray.from_storage(BFloat16Type(), storage)


def _bits_of(storage: pa.FixedSizeBinaryArray) -> np.ndarray:
    """uint16[n] of two bytes each; of nulls, anything."""
    data = storage.buffers()[1]
    if data is None:
        return np.zeros(len(storage), np.uint16)
    return np.frombuffer(data, np.uint16)[storage.offset : storage.offset + len(storage)]


def _widened(halves: np.ndarray) -> np.ndarray:
    """float32[n] whose upper halves are uint16[n]."""
    return (halves.astype(np.uint32) << _HALF).view(np.float32)


with suppress(pa.ArrowKeyError):  # another package has made it known
    pa.register_extension_type(BFloat16Type())

__all__ = ["BFloat16Array", "BFloat16Scalar", "BFloat16Type", "bfloat16_array", "cast"]
