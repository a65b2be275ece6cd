"""Where cells of bytes lie, instead of the cells: the description of a blob.

An encoding that keeps cells as they are has `locate`; of the others the cells are read and only their lengths are kept.
"""

from __future__ import annotations

from typing import Protocol, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lance_like.encodings.physical import is_variable, read_validity, storage_of, unpack_bits
from lance_like.encodings.registry import ENCODINGS
from lance_like.encodings.stack import Reading, Runs, Stack, together
from lance_like.typing_ import Int64s

DESCRIPTION = pa.struct([pa.field("position", pa.uint64()), pa.field("size", pa.uint64())])
"""What a read gives of a blob: its first byte in the data file, null where the cell is not stored as it is, and its
bytes; null for a null."""

UNKNOWN = -1


class Locating(Protocol):
    """An encoding that knows where the cells of rows lie."""

    def locate(self, stack: Stack, kind: pa.DataType, runs: Runs) -> Reading[tuple[Int64s, Int64s]]:
        """The cells of runs of rows, end to end: int64[n] first bytes in the file, UNKNOWN where a cell is not stored
        as it is, and int64[n] lengths."""
        ...


def describe_node(stack: Stack, kind: pa.DataType, runs: Runs) -> Reading[pa.Array]:
    """Rows of a stack as descriptions. kind: the type of the cells.

    Raises Corrupt for a type without cells of bytes, or when the nodes break their rules.
    """
    kind = storage_of(kind)
    stack.require(is_variable(kind), f"the type {kind} has no cells to describe")
    if stack.validity is None:
        starts, lengths, present = yield from _locate(stack, kind, runs)
        return _descriptions(starts, lengths, present)
    found, bitmap = yield from together([_locate(stack, kind, runs), read_validity(stack, runs)])
    starts, lengths, _ = found
    return _descriptions(starts, lengths, unpack_bits(bitmap, 0, len(starts)).view(bool))


def locate_node(stack: Stack, kind: pa.DataType, runs: Runs) -> Reading[tuple[Int64s, Int64s]]:
    """`Locating.locate` of a node without nulls, whatever its encoding."""
    starts, lengths, _ = yield from _locate(stack, kind, runs)
    return starts, lengths


def _locate(stack: Stack, kind: pa.DataType, runs: Runs) -> Reading[tuple[Int64s, Int64s, np.ndarray | None]]:
    encoding = ENCODINGS.get(stack.encoding)
    if hasattr(encoding, "locate"):
        starts, lengths = yield from cast(Locating, encoding).locate(stack, kind, runs)
        return starts, lengths, None
    cells = yield from encoding.read(stack, kind, runs)
    lengths = pc.binary_length(cells).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    present = cells.is_valid().to_numpy(zero_copy_only=False) if cells.null_count else None
    return np.full(len(lengths), UNKNOWN, np.int64), lengths, present


def _descriptions(starts: Int64s, lengths: Int64s, present: np.ndarray | None) -> pa.Array:
    null = None if present is None else ~present
    unknown = starts == UNKNOWN if null is None else null | (starts == UNKNOWN)
    positions = pa.array(np.where(unknown, 0, starts).astype(np.uint64), mask=unknown)
    sizes = pa.array(lengths.astype(np.uint64), mask=null)
    mask = None if null is None else pa.array(null)
    return pa.StructArray.from_arrays([positions, sizes], fields=list(DESCRIPTION), mask=mask)


__all__ = ["DESCRIPTION", "UNKNOWN", "Locating", "describe_node", "locate_node"]
