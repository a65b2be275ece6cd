"""Outlined: large cells apart from the small ones of their page (format_spec/encodings/outlined.md).

A page of captions with an image here and there compresses its captions as if the images were not there, leaves the
images as they are, and takes either without the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lance_like.encodings.base import Encoded, Hints
from lance_like.encodings.physical import buffer_bytes, check_variable, offsets_of
from lance_like.encodings.places import locate_node
from lance_like.encodings.registry import ENCODINGS, encode_array, read_node
from lance_like.encodings.sample import spread
from lance_like.encodings.stack import Reading, Runs, Stack, together
from lance_like.encodings.variable import variable_array
from lance_like.errors import Corrupt
from lance_like.typing_ import Bytes, Int64s, Json

# Larger cells are read whole and are mostly compressed already; a block that holds one is slow for its neighbours.
LARGE_NBYTES = 16 * 1024
# Below this share of the page saved, one run of cells that a scan need not copy is worth more.
_WORTH = 1 / 32
_SAMPLED_CELLS = 8
_SAMPLED_NBYTES = 4096
# Rows of a page must fit below the number of the page in one integer.
_ROW_BITS = 40


class Outlined:
    """Parameter rows: the large rows, ascending. Child 0: all rows, the large ones empty; child 1: the large ones."""

    name = "outlined"
    shape: tuple[str, ...] = ()

    def encode(self, array: pa.Array, hints: Hints) -> Encoded | None:
        lengths = np.diff(offsets_of(array))
        large = lengths > LARGE_NBYTES
        count = int(np.count_nonzero(large))
        small_nbytes = int(lengths[~large].sum())
        if count == 0 or small_nbytes < _WORTH * lengths.sum():
            return None
        bare = _without_nulls(array)
        cells = bare.filter(pa.array(large))
        if _compressible(cells):
            return None
        small = encode_array(pc.if_else(pa.array(large), pa.scalar(b"", pa.binary()).cast(array.type), bare), hints)
        if small_nbytes - _nbytes(small) < _WORTH * lengths.sum():
            return None
        return Encoded(
            self.name,
            len(array),
            params={"rows": np.flatnonzero(large).tolist()},
            children=(small, encode_array(cells, hints)),
        )

    def read(self, stack: Stack, kind: pa.DataType, runs: Runs) -> Reading[pa.Array]:
        small, large = _children(stack, kind)
        chosen = _choose(stack, runs)
        if chosen is None:
            cells = yield from read_node(small, kind, runs)
            stack.require(cells.null_count == 0, "a cell of a child is null")
            return cells
        cells, apart = yield from together([read_node(small, kind, runs), read_node(large, kind, chosen.runs)])
        stack.require(cells.null_count == 0 and apart.null_count == 0, "a cell of a child is null")
        return _merged(kind, cells, apart, chosen.places)

    def locate(self, stack: Stack, kind: pa.DataType, runs: Runs) -> Reading[tuple[Int64s, Int64s]]:
        small, large = _children(stack, kind)
        chosen = _choose(stack, runs)
        if chosen is None:
            return (yield from locate_node(small, kind, runs))
        places, apart = yield from together([locate_node(small, kind, runs), locate_node(large, kind, chosen.runs)])
        for of_all, of_large in zip(places, apart, strict=True):
            of_all[chosen.places] = of_large
        return places


def _children(stack: Stack, kind: pa.DataType) -> tuple[Stack, Stack]:
    check_variable(stack, kind)
    small, large = stack.child(0, stack.num_rows), stack.child(1)
    stack.require(small.validity is None and large.validity is None, "a child has nulls")
    return small, large


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The large rows among rows asked for. runs: of child 1; places: int64[n], where their cells go in the answer."""

    runs: Runs
    places: Int64s


def _choose(stack: Stack, runs: Runs) -> _Chosen | None:
    """Find the large rows among runs; None when there are none."""
    keys, first = stack.once("rows", lambda: _large_rows(stack))
    low = keys.searchsorted((runs.at << _ROW_BITS) | runs.starts)
    high = keys.searchsorted((runs.at << _ROW_BITS) | runs.ends)
    counts = high - low
    some = np.flatnonzero(counts)
    if len(some) == 0:
        return None
    at, low, high = runs.at[some], low[some], high[some]
    found = Runs(at, low - first[at], high - first[at], each=int(runs.single))
    if runs.single:
        return _Chosen(found, some)
    # Where each run begins in the answer, less its first row: adding a row gives the row's place.
    lengths = runs.lengths
    shift = (np.cumsum(lengths) - lengths - runs.starts)[some]
    _, ordinals = found.rows()
    rows = keys[ordinals + np.repeat(first[at], high - low)] & ((1 << _ROW_BITS) - 1)
    return _Chosen(found, rows + np.repeat(shift, high - low))


def _merged(kind: pa.DataType, cells: pa.Array, apart: pa.Array, places: Int64s) -> pa.Array:
    """The cells with those at some places, ascending, replaced by the large ones: one copy a run of small cells."""
    small, large = offsets_of(cells), offsets_of(apart)
    lengths = np.diff(small)
    lengths[places] = np.diff(large)
    data, large_data = buffer_bytes(cells.buffers()[2]), buffer_bytes(apart.buffers()[2])
    starts, ends = np.append(small[:1], small[places + 1]), np.append(small[places], small[-1:])
    pieces: list[Bytes] = [np.empty(0, np.uint8)] * (2 * len(places) + 1)
    pieces[::2] = [data[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
    pieces[1::2] = [large_data[start:end] for start, end in pairwise(large.tolist())]
    return variable_array(kind, lengths, np.concatenate(pieces))


def _large_rows(stack: Stack) -> tuple[Int64s, Int64s]:
    """The large rows of all pages as ascending keys (page, row), and int64[p]: where each page's begin among them."""
    child = stack.child(1)
    keys, counts = [], []
    for page, node in enumerate(stack.nodes):
        rows = _row_numbers(node.params.get("rows"), node.num_rows)
        stack.require(len(rows) == int(child.num_rows[page]), "it has another number of large rows than cells")
        keys.append(rows | (page << _ROW_BITS))
        counts.append(len(rows))
    return np.concatenate(keys), np.cumsum(counts) - counts


def _row_numbers(value: Json, num_rows: int) -> Int64s:
    """The parameter rows, checked: ascending integers below num_rows."""
    if isinstance(value, list) and num_rows < 1 << _ROW_BITS and all(type(row) is int for row in value):
        with_bounds = [-1, *value, num_rows]
        if all(low < high for low, high in pairwise(with_bounds)):
            return np.array(value, np.int64)
    raise Corrupt(f"encoding 'outlined': its rows {value!r:.60} do not ascend below {num_rows}", kind="page")


def _compressible(cells: pa.Array) -> bool:
    """True when pieces of large cells shrink: text, not images."""
    chosen = spread(len(cells), _SAMPLED_CELLS)
    middles = [memoryview(cells[i].as_buffer())[LARGE_NBYTES // 2 :][:_SAMPLED_NBYTES] for i in chosen.tolist()]
    return ENCODINGS.get("zstd").encode(pa.array(middles, pa.binary()), Hints()) is not None


def _without_nulls(array: pa.Array) -> pa.Array:
    """The same cells, those of nulls empty."""
    return array.fill_null(pa.scalar(b"", pa.binary()).cast(array.type)) if array.null_count else array


def _nbytes(tree: Encoded) -> int:
    return sum(len(data) for data in tree.buffers) + sum(map(_nbytes, tree.children))


__all__ = ["LARGE_NBYTES", "Outlined"]
