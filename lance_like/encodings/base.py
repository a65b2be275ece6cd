"""What an encoding is: a page as a tree of nodes over byte buffers (format_spec/encodings/README.md).

Encoding turns an array into an `Encoded` tree that owns bytes. `lay_out` puts the buffers of a tree into a
page and gives the tree's description as JSON; `parse_node` turns that JSON into a `Node` tree of byte ranges
inside the page. Reading asks for ranges relative to the page and never does I/O.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lance_like.encodings.choice import NO_CHOICE, Choice
from lance_like.errors import Corrupt
from lance_like.typing_ import Bytes, Json, T

ALIGNMENT = 64
# A tree deeper than any type that can be stored, with room for codes and offsets below it.
_MAX_NODE_DEPTH = 160


@dataclass(frozen=True, slots=True)
class Encoded:
    """An encoded array that owns its bytes.

    params: what the encoding stores in the description, JSON. buffers: the bytes, in order.
    validity: Arrow bitmap of num_rows bits (least significant first), or None when no row is null.
    """

    encoding: str
    num_rows: int
    params: dict[str, Json] = field(default_factory=dict)
    buffers: Sequence[Bytes] = ()
    children: Sequence[Encoded] = ()
    validity: Bytes | None = None

    @property
    def is_null(self) -> bool:
        """True for the constant null, which needs no bitmap."""
        return self.encoding == "constant" and self.params["x"] is None


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One node of a page's description: the same as `Encoded`, with byte ranges of the page instead of bytes.

    Immutable, and shared by all pages whose descriptions are the same text.
    """

    encoding: str
    num_rows: int
    params: dict[str, Json]
    buffers: tuple[tuple[int, int], ...]
    children: tuple[Node, ...]
    validity: tuple[int, int] | None

    @property
    def is_null(self) -> bool:
        """True for the constant null."""
        return self.encoding == "constant" and self.params.get("x") is None


class Shared:
    """What the pages of one column share while its file is written; threads encode several of them at a time.

    trained: by encoding what was learned from the first page that is worth it, such as a dictionary.
    changed: guards all of this; the columns of a file may have one together.
    blob: the bytes that go into the column's metadata, which pages refer to by range.
    """

    def __init__(self, changed: threading.Condition | None = None) -> None:
        self.changed = changed or threading.Condition()
        self.blob = bytearray()
        self.trained: dict[str, Any] = {}
        self._finished: set[int] = set()
        self._turn = 0

    def finish(self, page: int) -> None:
        """Say that a page was encoded, or will never be."""
        with self.changed:
            self._finished.add(page)
            while self._turn in self._finished:
                self._finished.remove(self._turn)
                self._turn += 1
            self.changed.notify_all()

    def add(self, data: bytes) -> int:
        """Have bytes in the blob, once however often they are added. Returns where they begin."""
        with self.changed:
            start = self.blob.find(data)
            if start < 0:
                start = len(self.blob)
                self.blob += data
            return start

    def wait_for_turn(self, page: int, encoding: str = "") -> None:
        """Wait until an encoding has learned, or all pages before this one are finished. Holds `changed`."""
        self.changed.wait_for(lambda: encoding in self.trained or self._turn >= page)


class Hints:
    """What one page is encoded with.

    page: its number in the column. choice: what the user asked for. wide: whether its file has many columns.

    Pages begin to be encoded in order; a page may wait for those before it, so that the bytes of a file do not
    depend on how many threads made it.
    """

    def __init__(
        self, shared: Shared | None = None, page: int = 0, choice: Choice = NO_CHOICE, *, wide: bool = False
    ) -> None:
        self._shared = shared or Shared()
        self._page = page
        self.choice = choice
        self.wide = wide

    @property
    def inside(self) -> Hints:
        """The hints for the parts of an encoded array: its codes, offsets, distinct values."""
        if not self.choice.encoding:
            return self
        return Hints(self._shared, self._page, self.choice.inside, wide=self.wide)

    def trained(self, encoding: str) -> Any:
        """What an encoding learned from the column; None when no page up to this one was worth it."""
        with self._shared.changed:
            self._shared.wait_for_turn(self._page, encoding)
            return self._shared.trained.get(encoding)

    def train(self, encoding: str, learned: T) -> T:
        """Decide what later pages are encoded with."""
        with self._shared.changed:
            self._shared.trained[encoding] = learned
            self._shared.changed.notify_all()
            return learned

    def wait_for_turn(self) -> None:
        """Wait until all pages before this one are finished."""
        with self._shared.changed:
            self._shared.wait_for_turn(self._page)

    def share(self, data: bytes) -> list[int]:
        """Put bytes into the shared blob, once however often it is called. Returns their range: start, length."""
        return [self._shared.add(data), len(data)]

    @property
    def blob(self) -> bytes:
        """The shared blob so far."""
        return bytes(self._shared.blob)


def lay_out(tree: Encoded) -> tuple[Json, list[Bytes], int]:
    """Place the buffers of a tree in a page.

    Returns its description, the chunks of the page (buffers and zero padding) and the page's length in bytes.
    """
    page = _Page()
    description = page.describe(tree)
    return description, page.chunks, page.nbytes


class _Page:
    """A page being laid out. (Not a recursive closure: such a cycle would keep the page until the next collection.)"""

    def __init__(self) -> None:
        self.chunks: list[Bytes] = []
        self.nbytes = 0

    def describe(self, node: Encoded) -> dict[str, Json]:
        body: dict[str, Json] = {"e": node.encoding, "n": node.num_rows, **node.params}
        if node.validity is not None:
            body["v"] = self._place(node.validity)
        if node.buffers:
            body["b"] = [self._place(data) for data in node.buffers]
        if node.children:
            body["c"] = [self.describe(child) for child in node.children]
        return body

    def _place(self, data: Bytes) -> list[int]:
        padding = -self.nbytes % ALIGNMENT
        if padding:
            self.chunks.append(np.zeros(padding, np.uint8))
        start = self.nbytes + padding
        self.chunks.append(data)
        self.nbytes = start + len(data)
        return [start, len(data)]


def parse_node(body: Json, page_nbytes: int, depth: int = 0) -> Node:
    """Check a description against the page's length and return it as a tree.

    Raises Corrupt when it is malformed, nested too deep, or names bytes outside the page.
    """
    if not isinstance(body, dict) or depth > _MAX_NODE_DEPTH:
        raise Corrupt("a page description is malformed or nested too deep", kind="page")
    name, num_rows = body.get("e"), body.get("n")
    if not isinstance(name, str) or not isinstance(num_rows, int) or not _is_count(num_rows):
        raise Corrupt(f"a page description has no encoding or row count: {body!r:.80}", kind="page")
    validity = parse_range(body["v"], page_nbytes) if "v" in body else None
    if validity is not None and validity[1] - validity[0] < (num_rows + 7) // 8:
        raise Corrupt(f"a validity bitmap is too short for {num_rows} rows", kind="page")
    buffers, children = body.get("b", []), body.get("c", [])
    if not isinstance(buffers, list) or not isinstance(children, list):
        raise Corrupt("a page description has malformed buffers or children", kind="page")
    return Node(
        encoding=name,
        num_rows=num_rows,
        params={key: value for key, value in body.items() if key not in ("e", "n", "v", "b", "c")},
        buffers=tuple(parse_range(item, page_nbytes) for item in buffers),
        children=tuple(parse_node(child, page_nbytes, depth + 1) for child in children),
        validity=validity,
    )


def _is_count(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53


def parse_range(item: Json, nbytes: int) -> tuple[int, int]:
    """A range of the description as start and end. nbytes: of the page or blob that it is in. Raises Corrupt."""
    if (
        not isinstance(item, list)
        or len(item) != 2
        or not _is_count(item[0])
        or not _is_count(item[1])
        or item[0] + item[1] > nbytes
    ):
        raise Corrupt(f"the range {item!r:.60} is not inside its {nbytes} bytes", kind="page")
    return item[0], item[0] + item[1]


def corrupt_unless(condition: bool, node: Node, problem: str) -> None:
    """Raise Corrupt, naming the encoding, unless the condition holds."""
    if not condition:
        raise Corrupt(f"encoding {node.encoding!r}: {problem}", kind="page")


def int_param(node: Node, name: str, low: int, high: int) -> int:
    """An integer parameter of a node, after checking that low <= it <= high."""
    value = node.params.get(name)
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return value
    raise Corrupt(
        f"encoding {node.encoding!r}: parameter {name!r} is {value!r:.40}, expected {low} to {high}", kind="page"
    )
