"""Variable: cells of any length end to end, found by offsets (format_spec/encodings/variable.md)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from lance_like.encodings.base import Encoded, Hints
from lance_like.encodings.physical import buffer_bytes, check_variable, is_large, offsets_of
from lance_like.encodings.pool import allocate
from lance_like.encodings.registry import ENCODINGS, encode_array, read_node
from lance_like.encodings.stack import Reading, Runs, Stack
from lance_like.errors import InvalidInput
from lance_like.kernels import fill, lay
from lance_like.ranges import has_negative, lengths_to_offsets
from lance_like.typing_ import Bytes, Int64s

OFFSET_TYPE = pa.int64()
_INT32_LIMIT = (1 << 31) - 1
# Of fewer rows the lengths are not asked for.
_FEW_ROWS = 64
_NOT_ASCENDING = "its offsets do not ascend from 0"


class Variable:
    """Child 0: num_rows + 1 offsets from 0; buffer 0: the cells. Reading one run of rows copies no cell."""

    name = "variable"
    shape: tuple[str, ...] = ()

    def encode(self, array: pa.Array, hints: Hints) -> Encoded | None:
        offsets = offsets_of(array)
        data = buffer_bytes(array.buffers()[2])[offsets[0] : offsets[-1]]
        child = encode_offsets(offsets, hints)
        return Encoded(self.name, len(array), buffers=(data,), children=(child,))

    def read(self, stack: Stack, kind: pa.DataType, runs: Runs) -> Reading[pa.Array]:
        check_variable(stack, kind)
        start, bounds = yield from self._bounds(stack, runs)
        (data,) = yield [(start + bounds.starts, start + bounds.ends, stack.slots[runs.at])]
        return variable_array(kind, bounds.lengths, data)

    def locate(self, stack: Stack, kind: pa.DataType, runs: Runs) -> Reading[tuple[Int64s, Int64s]]:
        check_variable(stack, kind)
        start, bounds = yield from self._bounds(stack, runs)
        start += bounds.starts
        if runs.single:
            return start, bounds.lengths
        # Where each cell begins among those asked for, less where its run does.
        cells = np.concatenate(([0], np.cumsum(bounds.lengths)))
        rows = runs.lengths
        start -= cells[np.cumsum(rows) - rows]
        return np.repeat(start, rows) + cells[:-1], bounds.lengths

    @staticmethod
    def _bounds(stack: Stack, runs: Runs) -> Reading[tuple[Int64s, Bounds]]:
        """Where the cells of the page of each run begin in the file, and the bounds of its own among them."""
        offsets, first, nbytes = stack.once("opened", lambda: _opened(stack))
        bounds = yield from read_bounds(offsets, runs)
        stack.require(not has_negative(nbytes[runs.at] - bounds.ends), "its offsets pass its cells")
        return first[runs.at], bounds


def _opened(stack: Stack) -> tuple[Stack, Int64s, Int64s]:
    """The offsets, and of each page where its cells begin in the file and their bytes."""
    return stack.child(0, stack.num_rows + 1), stack.place(0, 0), stack.sizes(0)


def encode_offsets(offsets: Int64s, hints: Hints) -> Encoded:
    """Offsets, made to begin at 0, as an integer child."""
    return encode_array(pa.array(offsets - offsets[0], OFFSET_TYPE), hints.inside, ranged=True)


class Bounds(NamedTuple):
    """Where the contents of runs of rows lie.

    starts, ends: int64[n], one span of contents a run; lengths: int64[rows], of each row. each: the length that all
    rows have; -1: they differ, or nothing tells.
    """

    starts: Int64s
    ends: Int64s
    lengths: Int64s
    each: int


def read_bounds(stack: Stack, runs: Runs) -> Reading[Bounds]:
    """Read the offsets of runs of rows. stack: of the offsets, one more than rows."""
    known = yield from _progression(stack, runs.and_next())
    if known is not None:
        first, each = known
        stack.require(first == 0 or runs.starts[0] > 0, _NOT_ASCENDING)
        ends = np.array([first + each * runs.count])
        return Bounds(np.array([first]), ends, np.broadcast_to(np.int64(each), runs.count), each)
    array = yield from read_node(stack, OFFSET_TYPE, runs.and_next())
    offsets = np.frombuffer(array.buffers()[1] or b"", np.int64, count=len(array), offset=array.offset * 8)
    if runs.single:
        starts, ends = offsets[::2], offsets[1::2]
        lengths = ends - starts
    else:
        first = np.zeros(len(runs.starts), np.int64)
        np.cumsum((runs.ends - runs.starts + 1)[:-1], out=first[1:])
        starts, ends = offsets[first], offsets[first + (runs.ends - runs.starts)]
        lengths = np.diff(offsets)
        if len(first) > 1:
            # A run of n rows has n + 1 offsets: drop the differences that lead from one run to the next.
            inside = np.ones(len(lengths), bool)
            inside[first[1:] - 1] = False
            lengths = lengths[inside]
    # All of them, not only the first of a run: a difference may wrap around.
    valid = array.null_count == 0 and not has_negative(lengths) and not has_negative(offsets)
    if np.count_nonzero(runs.starts) < len(runs.starts):
        valid = valid and not starts[runs.starts == 0].any()
    stack.require(valid, _NOT_ASCENDING)
    return Bounds(starts, ends, lengths, -1)


def _progression(stack: Stack, runs: Runs) -> Reading[tuple[int, int] | None]:
    """The first offset of one long run and the length that all its rows have, where an encoding tells; else None."""
    tell = getattr(ENCODINGS.get(stack.encoding), "progression", None)
    if tell is None or len(runs.starts) != 1 or runs.count < _FEW_ROWS or stack.validity is not None:
        return None
    return (yield from tell(stack, runs))


def offsets_buffer(kind: pa.DataType, lengths: Int64s) -> pa.Buffer:
    """The Arrow offsets of cells of given lengths.

    Raises InvalidInput when a type with 32-bit offsets cannot hold them in one array.
    """
    return _offsets_from_0(kind, lengths_to_offsets(lengths))


def _offsets_from_0(kind: pa.DataType, offsets: Int64s) -> pa.Buffer:
    """The Arrow offsets of cells between offsets. Raises as `offsets_buffer`."""
    _check_fits(kind, len(offsets) - 1, int(offsets[-1] - offsets[0]))
    if is_large(kind):
        return pa.py_buffer(offsets - offsets[0] if offsets[0] else offsets)
    narrow = allocate(len(offsets), np.int32)
    return pa.py_buffer(np.subtract(offsets, offsets[0], out=narrow, casting="unsafe"))


def _check_fits(kind: pa.DataType, cells: int, nbytes: int) -> None:
    if nbytes > _INT32_LIMIT and not is_large(kind):
        raise InvalidInput(
            f"{cells:,} cells of type {kind} hold {nbytes:,} bytes; one array of it ends at 2 GiB",
            kind="too-large",
            hint=f"ask for fewer rows at once, or store the column as large_{kind}",
        )


def array_of_length(kind: pa.DataType, length: int, data: Bytes) -> pa.Array:
    """A string or binary array of cells of one length, not 0, from their bytes end to end. Raises as
    `offsets_buffer`."""
    count = len(data) // length
    _check_fits(kind, count, len(data))
    offsets = allocate(count + 1, np.int64 if is_large(kind) else np.int32)
    np.multiply(np.arange(count + 1, dtype=offsets.dtype), length, out=offsets)
    return pa.Array.from_buffers(kind, count, [None, pa.py_buffer(offsets), pa.py_buffer(data)], null_count=0)


def cells_by_number(kind: pa.DataType, values: pa.Array, numbers: np.ndarray) -> pa.Array:
    """A string or binary array of some of the values of one, which has no nulls. numbers: uint32[n], in bounds.

    Raises as `offsets_buffer`.
    """
    bounds, cells = offsets_of(values), buffer_bytes(values.buffers()[2])
    offsets = allocate(len(numbers) + 1, np.int64 if is_large(kind) else np.int32)
    nbytes = lay(numbers, bounds, offsets)
    _check_fits(kind, len(numbers), nbytes)
    data = allocate(nbytes, np.uint8)
    fill(numbers, bounds, cells, data)
    return pa.Array.from_buffers(kind, len(numbers), [None, pa.py_buffer(offsets), pa.py_buffer(data)], null_count=0)


def variable_array(kind: pa.DataType, lengths: Int64s, data: Bytes) -> pa.Array:
    """A string or binary array from the lengths of its cells and their bytes end to end."""
    buffers = [None, offsets_buffer(kind, lengths), pa.py_buffer(data)]
    return pa.Array.from_buffers(kind, len(lengths), buffers, null_count=0)


def variable_array_between(kind: pa.DataType, offsets: Int64s, data: Bytes) -> pa.Array:
    """A string or binary array from the offsets of its cells, int64[n + 1], in bytes that begin with the first cell."""
    buffers = [None, _offsets_from_0(kind, offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(kind, len(offsets) - 1, buffers, null_count=0)
