"""Pages made and read in memory, the way the file layer does it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa

from lance_like.encodings.base import Encoded, Hints, Node, lay_out, parse_node
from lance_like.encodings.physical import bitmap_of
from lance_like.encodings.registry import ENCODINGS, read_node
from lance_like.io.ranges import gather_from
from lance_like.typing_ import Bytes, Int64s, Json


@dataclasses.dataclass(frozen=True)
class Page:
    """The bytes of a page and what its header says of them."""

    description: Json
    data: Bytes
    kind: pa.DataType

    def open(self) -> Node:
        return parse_node(self.description, len(self.data), "here")


def page_of(tree: Encoded, kind: pa.DataType) -> Page:
    """Lay out a tree, and check that the chunks and the length agree."""
    description, chunks, nbytes = lay_out(tree)
    data = np.concatenate([*chunks, np.empty(0, np.uint8)])
    assert len(data) == nbytes
    data.flags.writeable = False
    return Page(description, data, kind)


def forced(name: str, array: pa.Array, hints: Hints | None = None) -> Page | None:
    """A page whose root has one encoding, None when the encoding does not take the array."""
    tree = ENCODINGS.get(name).encode(array, hints or Hints())
    if tree is None:
        return None
    return page_of(tree if tree.is_null else dataclasses.replace(tree, validity=bitmap_of(array)), array.type)


def read(page: Page, starts: Int64s, ends: Int64s, node: Node | None = None) -> tuple[pa.Array, int]:
    """Row ranges of a page, and the rounds that it took."""
    conversation = read_node(node or page.open(), page.kind, starts, ends)
    rounds = 0
    try:
        asks = next(conversation)
        while True:
            rounds += 1
            asks = conversation.send([gather_from(page.data, *ask) for ask in asks])
    except StopIteration as stop:
        return stop.value, rounds


def whole(array: pa.Array | int) -> tuple[Int64s, Int64s]:
    """The one range of all rows."""
    rows = array if isinstance(array, int) else len(array)
    return np.zeros(1, np.int64), np.full(1, rows, np.int64)


def random_ranges(rows: int, rng: np.random.Generator, count: int = 7) -> tuple[Int64s, Int64s]:
    """Row ranges in any order, empty and overlapping ones among them."""
    ends = np.sort(rng.integers(0, rows + 1, (count, 2)), axis=1)
    return ends[:, 0].copy(), ends[:, 1].copy()


def expected_ranges(array: pa.Array, starts: Int64s, ends: Int64s) -> pa.Array:
    """What a read of ranges must answer."""
    pieces = [array.slice(start, end - start) for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
    return pa.concat_arrays(pieces) if pieces else array.slice(0, 0)


def expected_rows(array: pa.Array, rows: Int64s) -> pa.Array:
    """What a read of single rows must answer."""
    return expected_ranges(array, rows, rows + 1)
