"""Pages made and read in memory, the way the file layer does it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa

from lance_like.encodings.base import Encoded, Hints, Node, lay_out, parse_node
from lance_like.encodings.physical import bitmap_of
from lance_like.encodings.registry import ENCODINGS, read_node
from lance_like.encodings.stack import Reading, Runs, SharedBlob, Stack
from lance_like.ranges import gather_from
from lance_like.typing_ import Bytes, Int64s, Json


@dataclasses.dataclass(frozen=True)
class Page:
    """The bytes of a page and what its header says of them."""

    description: Json
    data: Bytes
    kind: pa.DataType

    shared: bytes = b""

    def open(self) -> Node:
        return parse_node(self.description, len(self.data))


def page_of(tree: Encoded, kind: pa.DataType, hints: Hints | None = None) -> Page:
    """Lay out a tree, and check that the chunks and the length agree."""
    description, chunks, nbytes = lay_out(tree)
    data = np.concatenate([*chunks, np.empty(0, np.uint8)])
    assert len(data) == nbytes
    data.flags.writeable = False
    return Page(description, data, kind, hints.blob if hints else b"")


def forced(name: str, array: pa.Array, hints: Hints | None = None) -> Page | None:
    """A page whose root has one encoding, None when the encoding does not take the array."""
    hints = hints or Hints()
    tree = ENCODINGS.get(name).encode(array, hints)
    if tree is None:
        return None
    return page_of(tree if tree.is_null else dataclasses.replace(tree, validity=bitmap_of(array)), array.type, hints)


def read(page: Page, starts: Int64s, ends: Int64s, node: Node | None = None) -> tuple[pa.Array, int]:
    """Row ranges of a page, and the rounds that it took."""
    conversation = conversation_of(page, starts, ends, node)
    rounds = 0
    try:
        asks = next(conversation)
        while True:
            rounds += 1
            asks = conversation.send([gather_from(page.data, first, last) for first, last, _ in asks])
    except StopIteration as stop:
        return stop.value, rounds


def conversation_of(page: Page, starts: Int64s, ends: Int64s, node: Node | None = None) -> Reading[pa.Array]:
    """The read of row ranges of a page that lies alone in a file, from its first byte on; as a take if all are rows."""
    stack = Stack([node or page.open()], np.zeros(1, np.int64), np.zeros(1, np.int64), (SharedBlob(page.shared),))
    at = np.zeros(len(starts), np.int64)
    single = len(starts) > 0 and bool((ends == starts + 1).all())
    array = yield from read_node(stack, page.kind, Runs.of_rows(at, starts) if single else Runs(at, starts, ends))
    assert isinstance(stack.nbytes_cached, int), "what is kept is counted, whatever it is"
    return array


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
    if pa.types.is_dictionary(array.type) and pieces:
        # Arrow 26 joins dictionaries of float16 to other values.
        rows = np.concatenate([np.arange(start, end) for start, end in zip(starts, ends, strict=True)])
        return array.take(pa.array(rows))
    return pa.concat_arrays(pieces) if pieces else array.slice(0, 0)


def expected_rows(array: pa.Array, rows: Int64s) -> pa.Array:
    """What a read of single rows must answer."""
    return expected_ranges(array, rows, rows + 1)
