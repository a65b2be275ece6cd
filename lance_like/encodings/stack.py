"""Pages of one shape, read together: one pass of kernels however many pages the rows lie in.

Two pages have one shape when their descriptions differ only in row counts, byte ranges and those parameters that
the encoding can read as a vector. A `Stack` holds the nodes at one place of such trees; `Runs` are the rows asked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Hashable, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import pyarrow as pa

from lance_like.encodings.base import Encoded, Hints, Node, int_param
from lance_like.errors import Corrupt
from lance_like.typing_ import Bytes, Int64s, Ranges, Spanning, T

Ask: TypeAlias = tuple[Int64s, Int64s, Int64s]
"""Half-open byte ranges of the file, int64[n] starts and ends, and int64[n] slots: the page each range lies in."""


class SpanningAsk(NamedTuple):
    """An `Ask` whose ranges ascend, and that is answered as `Spanning` is: where they lie, without a copy."""

    starts: Int64s
    ends: Int64s
    slots: Int64s


class Cells(NamedTuple):
    """Cells of one width where they lie. places: int64[n], where each begins in the bytes."""

    data: Bytes
    places: Int64s


Reading: TypeAlias = Generator[list[Ask], list[Bytes], T]
"""A conversation whose ranges say which page they lie in, so that the blocks they touch can be checked."""


# A node and its place in the vectors of a stack.
_NODE_NBYTES = 800


class Encoding(Protocol):
    """One encoding. `name` is its name on disk; `shape` names the parameters that pages read together must share.

    One that keeps bytes in the shared blob names the parameters that are ranges of it: `in_blob`, a tuple of texts.
    """

    name: str
    shape: tuple[str, ...]

    def encode(self, array: pa.Array, hints: Hints) -> Encoded | None:
        """Encode the values of an array, its nulls apart; None means "not me"."""
        ...

    def read(self, stack: Stack, kind: pa.DataType, runs: Runs) -> Reading[pa.Array]:
        """The values of runs of rows, end to end in the order given; nulls are put in by the caller."""
        ...


LONG_RUN = 2048
"""Several runs of so many rows on the average are cheaper decoded one by one than row by row."""


class Runs:
    """Half-open row ranges, each within one page of a stack, in any order, repeats allowed.

    at: int64[n], the page's position in the stack; starts, ends: int64[n], rows of that page, start <= end;
    each: the rows of every range, 0 when they may differ; single: every range is one row.
    """

    __slots__ = ("_ends", "at", "each", "single", "starts")

    def __init__(self, at: Int64s, starts: Int64s, ends: Int64s | None, *, each: int = 0) -> None:
        self.at, self.starts, self._ends, self.each = at, starts, ends, each
        self.single = each == 1

    @classmethod
    def of_rows(cls, at: Int64s, rows: Int64s) -> Runs:
        """Single rows."""
        return cls(at, rows, None, each=1)

    @property
    def ends(self) -> Int64s:
        if self._ends is None:
            self._ends = self.starts + self.each
        return self._ends

    @property
    def lengths(self) -> Int64s:
        return self.ends - self.starts

    @property
    def count(self) -> int:
        """Rows in all."""
        return len(self.starts) * self.each if self.each else int((self.ends - self.starts).sum())

    @property
    def places(self) -> tuple[Int64s, Int64s]:
        """`at` and `starts` to compute byte ranges with: scalars when there is one run, since numpy computes with those
        five times as fast as with vectors of one. What comes of them goes through `ask`."""
        return (self.at[0], self.starts[0]) if len(self.at) == 1 else (self.at, self.starts)

    def times(self, size: int) -> Runs:
        """The same runs of something of which every row has `size`."""
        if self.each and size:
            return Runs(self.at, self.starts * size, None, each=self.each * size)
        return Runs(self.at, self.starts * size, self.ends * size)

    def and_next(self) -> Runs:
        """Each run with the row behind it."""
        return Runs(self.at, self.starts, None if self.each else self.ends + 1, each=self.each and self.each + 1)

    def rows(self) -> tuple[Int64s, Int64s]:
        """Every single row: int64[count] positions in the stack and int64[count] rows."""
        if self.single:
            return self.at, self.starts
        if self.each and len(self.at) > 1:
            return np.repeat(self.at, self.each), (self.starts[:, None] + np.arange(self.each)).reshape(-1)
        return np.repeat(self.at, self.lengths), expand(self.starts, self.ends)

    def long(self, rows: int) -> bool:
        """Are these several runs, of that many rows or more on the average?"""
        return len(self.at) > 1 and not self.single and self.count >= rows * len(self.at)

    def apart(self) -> list[Runs]:
        """Each run that has rows by itself."""
        alone = (slice(i, i + 1) for i in np.flatnonzero(self.lengths).tolist())
        return [Runs(self.at[one], self.starts[one], self.ends[one]) for one in alone]

    def by_row(self, values: np.ndarray) -> np.ndarray:
        """A value a page as a value a row: [p] -> [count]."""
        picked = values[self.at]
        return picked if self.single else np.repeat(picked, self.each or self.lengths)


class SharedBlob:
    """The blob that all pages of a column share, and what encodings made of it."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = data
        self.threads = threading.local()


NO_BLOB = SharedBlob()
"""The blob of columns that have none: one for all, with what their pages need of it."""


class Stack:
    """The nodes at one place in the trees of p pages of one shape.

    offsets: int64[p], where the pages begin in the file. slots: int64[p], the pages' numbers among the open ones.
    blobs: of each page that of its column, or one for all.
    """

    __slots__ = ("_memory", "_offsets", "blobs", "children", "encoding", "nodes", "num_rows", "slots", "validity")

    def __init__(self, nodes: Sequence[Node], offsets: Int64s, slots: Int64s, blobs: Sequence[SharedBlob]) -> None:
        self.nodes = nodes
        self.encoding = nodes[0].encoding
        self.num_rows = np.array([node.num_rows for node in nodes], np.int64)
        self.slots = slots
        self.blobs = blobs if len(blobs) > 1 else [blobs[0]] * len(nodes)
        self.validity: Int64s | None = None
        if nodes[0].validity is not None:
            self.validity = offsets + np.array([node.validity[0] for node in nodes if node.validity], np.int64)
        self.children = tuple(
            Stack([node.children[i] for node in nodes], offsets, slots, blobs) for i in range(len(nodes[0].children))
        )
        self._offsets = offsets
        self._memory: dict[Hashable, Any] = {}

    @property
    def nbytes_cached(self) -> int:
        """Memory, estimated: the nodes, and what `once` keeps."""
        kept = sum(map(_nbytes_of, list(self._memory.values())))
        return _NODE_NBYTES * len(self.nodes) + kept + sum(child.nbytes_cached for child in self.children)

    @property
    def node(self) -> Node:
        """The first node: for what all of them share."""
        return self.nodes[0]

    def place(self, index: int, nbytes: Int64s | int) -> Int64s:
        """int64[p]: where a buffer of each page begins in the file, if it has nbytes. Raises Corrupt."""
        starts, sizes = self.once(("buffer", index), lambda: self._buffers(index))
        if (sizes < nbytes).any():
            raise self.corrupt(f"buffer {index} has {sizes.min()} bytes, needs {np.max(nbytes)}")
        return starts

    def cells(self, first: Int64s, runs: Runs, width: int) -> Ask:
        """The bytes of runs of rows of one width. first: int64[p], where the cells of each page begin in the file."""
        at, rows = runs.places
        return ask(first[at] + rows * width, (runs.each or runs.lengths) * width, self.slots[at])

    def sizes(self, index: int) -> Int64s:
        """int64[p]: the bytes of a buffer of each page. Raises Corrupt."""
        return self.once(("buffer", index), lambda: self._buffers(index))[1]

    def child(self, index: int, num_rows: Int64s | None = None) -> Stack:
        """One child, after checking its row counts: int64[p]. Raises Corrupt."""
        self.require(index < len(self.children), f"child {index} is missing")
        child = self.children[index]
        if num_rows is not None and child.num_rows is not num_rows:
            if (child.num_rows != num_rows).any():
                raise self.corrupt(f"child {index} has the wrong row count")
            # The same numbers: the next read sees that at a glance.
            child.num_rows = num_rows
        return child

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """A value computed on first use and kept: parameters as vectors, loaded dictionaries."""
        if key not in self._memory:
            self._memory[key] = make()
        return self._memory[key]

    def replace(self, key: Hashable, value: T) -> T:
        """Keep a fuller value in the place of one that `once` made."""
        self._memory[key] = value
        return value

    def ints(self, name: str, low: int, high: int) -> Int64s:
        """int64[p]: an integer parameter of each page, after checking that low <= it <= high. Raises Corrupt."""
        return self.once(name, lambda: np.array([int_param(node, name, low, high) for node in self.nodes], np.int64))

    def require(self, condition: bool, problem: str) -> None:
        """Raise Corrupt, naming the encoding, unless the condition holds.

        problem: plain text; one with values in it would be made on every read that has no problem.
        """
        if not condition:
            raise self.corrupt(problem)

    def corrupt(self, problem: str) -> Corrupt:
        return Corrupt(f"encoding {self.encoding!r}: {problem}", kind="page")

    def _buffers(self, index: int) -> tuple[Int64s, Int64s]:
        self.require(index < len(self.node.buffers), f"buffer {index} is missing")
        ranges = np.array([node.buffers[index] for node in self.nodes], np.int64)
        return self._offsets + ranges[:, 0], ranges[:, 1] - ranges[:, 0]


def _nbytes_of(value: Any) -> int:
    if isinstance(value, (tuple, list)):
        return sum(map(_nbytes_of, value))
    return value.nbytes if isinstance(value, (np.ndarray, pa.Array)) else 0


def shape_of(node: Node, shape: Callable[[str], tuple[str, ...]]) -> Hashable:
    """What pages must share to be read together. shape: the parameters an encoding cannot read as a vector."""
    fixed = tuple(repr(node.params.get(name)) for name in shape(node.encoding))
    children = tuple(shape_of(child, shape) for child in node.children)
    return node.encoding, fixed, node.validity is not None, len(node.buffers), children


def together(reads: Sequence[Generator[list[Any], list[Any], Any]]) -> Generator[list[Any], list[Any], list[Any]]:
    """Run several reads side by side: as many rounds as the longest needs."""
    if len(reads) == 1:
        return [(yield from reads[0])]
    answers: list[Any] = [None] * len(reads)
    buffers: list[Any] | None = None
    # Of each read that goes on: where its buffers begin and end among those of all.
    waiting = [(index, 0, 0) for index in range(len(reads))]
    while waiting:
        asks: list[Any] = []
        going_on = []
        for index, start, end in waiting:
            try:
                read = reads[index]
                wanted = next(read) if buffers is None else read.send(buffers[start:end])
            except StopIteration as stop:
                answers[index] = stop.value
            else:
                going_on.append((index, len(asks), len(asks) + len(wanted)))
                asks += wanted
        waiting = going_on
        if waiting:
            buffers = yield asks
    return answers


def ranges_of(asks: list[Ask]) -> list[Ranges]:
    """What a store is asked for."""
    return [Spanning(*one[:2]) if type(one) is SpanningAsk else one[:2] for one in asks]


def ask(starts: Int64s, nbytes: Int64s | int, slots: Int64s) -> Ask:
    """The ask for ranges of so many bytes, from vectors or scalars."""
    if not starts.ndim:
        starts, slots = np.array([starts]), np.array([slots])
    return starts, starts + nbytes, slots


def expand(starts: Int64s, ends: Int64s) -> Int64s:
    """The row numbers of half-open ranges, end to end."""
    if len(starts) == 1:
        return np.arange(starts[0], ends[0])
    lengths = ends - starts
    if (lengths == 1).all():
        return starts
    offsets = np.zeros(len(starts) + 1, np.int64)
    lengths.cumsum(out=offsets[1:])
    return np.arange(offsets[-1], dtype=np.int64) + (starts - offsets[:-1]).repeat(lengths)


__all__ = [
    "LONG_RUN",
    "NO_BLOB",
    "Ask",
    "Cells",
    "Encoding",
    "Reading",
    "Runs",
    "SharedBlob",
    "SpanningAsk",
    "Stack",
    "ask",
    "expand",
    "ranges_of",
    "shape_of",
    "together",
]
