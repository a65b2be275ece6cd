"""The tree of fragments: a small root for ever (format_spec/table.md, "Fragment tree").

The newest fragments stand in the root manifest, its tail. When the tail grows too long, its oldest fragments move to
a leaf part; when enough parts of one level stand side by side, a node part of the next level takes their place. So
the bytes of a commit do not grow with the number of fragments. Parts never change; equal stretches are reused
by reference, and what nobody asks for is not read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from lance_like._lazy import cached
from lance_like.errors import Corrupt
from lance_like.file.layout import parse_json
from lance_like.table import shape
from lance_like.table.envelope import pack_json, unpack_json
from lance_like.table.fragment import MAX_FRAGMENT_ID, Fragment, ReadPart, fragment_from_json, unread
from lance_like.table.reference import Ref, ref_from_json
from lance_like.table.rowids import RowIdMap
from lance_like.typing_ import Int64s, Json

MAGIC = b"LLPT"
# What a writer puts side by side; a reader takes any number (format_spec/decisions/0010).
FANOUT = 16
MAX_LEVEL = 16
MAX_FRAGMENTS = 10_000_000


@dataclass(frozen=True, slots=True)
class PartEntry:
    """What the parent of a part says about it. Intervals are half-open bounds."""

    ref: Ref
    level: int
    fragments: int
    rows: int
    live_rows: int
    fragment_ids: tuple[int, int]
    row_ids: tuple[int, int]

    def to_json(self) -> Json:
        return {
            "ref": self.ref.to_json(),
            "level": self.level,
            "fragments": self.fragments,
            "rows": self.rows,
            "live_rows": self.live_rows,
            "fragment_ids": self.fragment_ids,
            "row_ids": self.row_ids,
        }


def entry_from_json(value: Json, where: str) -> PartEntry:
    """The inverse of `PartEntry.to_json`. Raises Corrupt."""
    holder = shape.mapping(value, where)
    rows = shape.integer(holder, "rows", where, low=1)
    return PartEntry(
        ref=ref_from_json(shape.member(holder, "ref", where), where, kind="part"),
        level=shape.integer(holder, "level", where, high=MAX_LEVEL),
        fragments=shape.integer(holder, "fragments", where, low=1, high=MAX_FRAGMENTS),
        rows=rows,
        live_rows=shape.integer(holder, "live_rows", where, low=1, high=rows),
        fragment_ids=shape.interval(holder, "fragment_ids", where, high=MAX_FRAGMENT_ID + 1),
        row_ids=shape.interval(holder, "row_ids", where, high=shape.MAX_INTEGER),
    )


class Items:
    """Fragments and parts side by side, in scan order: what a part, or a whole tree, holds."""

    @cached
    def items(self) -> tuple[Fragment | Part, ...]:
        """What is directly here."""
        raise AssertionError("a part and a tree say what they hold")

    @cached
    def live_starts(self) -> Int64s:
        """int64[items + 1]: the live rows before each item, and all at the end."""
        starts = np.zeros(len(self.items) + 1, np.int64)
        np.cumsum([item.live_rows for item in self.items], out=starts[1:])
        return starts

    @cached
    def row_id_map(self) -> RowIdMap:
        """From row ids to the fragments directly here. Raises Corrupt if two live rows have one id."""
        return RowIdMap.of([item for item in self.items if isinstance(item, Fragment)])

    def iterate(self) -> Iterator[Fragment]:
        """All fragments in scan order, each part read when it is reached."""
        for item in self.items:
            if isinstance(item, Fragment):
                yield item
            else:
                yield from item.iterate()

    def find(self, fragment_id: int) -> Fragment | None:
        """The fragment of an id. Cost: the parts whose bounds hold the id are read."""
        for item in reversed(self.items):
            if isinstance(item, Fragment):
                if item.id == fragment_id:
                    return item
            elif item.fragment_ids[0] <= fragment_id < item.fragment_ids[1]:
                found = item.find(fragment_id)
                if found is not None:
                    return found
        return None

    def placed(self, fragment_id: int) -> tuple[int, Fragment] | None:
        """The live rows before the fragment of an id, and the fragment. Cost: as `find`."""
        for item, before in zip(reversed(self.items), self.live_starts[-2::-1].tolist(), strict=True):
            if isinstance(item, Fragment):
                if item.id == fragment_id:
                    return before, item
            elif item.fragment_ids[0] <= fragment_id < item.fragment_ids[1]:
                found = item.placed(fragment_id)
                if found is not None:
                    return before + found[0], found[1]
        return None


@dataclass(frozen=True, eq=False)
class Part(Items):
    """A part. held: what it holds, when it was made here. entry: what its parent says, when it is stored.

    load: reads what a stored part holds.
    """

    level: int
    held: tuple[Fragment | Part, ...] | None = None
    stored: PartEntry | None = None
    load: Callable[[PartEntry], tuple[Fragment | Part, ...]] | None = field(default=None, repr=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Part) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> object:
        return self.stored or (self.level, self.held)

    @cached
    def items(self) -> tuple[Fragment | Part, ...]:
        """The fragments of a leaf or the parts of a node, read when first asked for. Raises Corrupt."""
        if self.held is not None:
            return self.held
        assert self.stored is not None and self.load is not None
        found = self.load(self.stored)
        if _summary(found, self.level, self.stored.ref) != self.stored:
            shape.refuse(self.stored.to_json(), "what the part itself holds", self.stored.ref.path)
        return found

    @cached
    def _facts(self) -> PartEntry:
        return self.stored or _summary(self.items, self.level, _NO_REF)

    @property
    def entry(self) -> PartEntry:
        """What its parent says about it; the part is written."""
        assert self.stored is not None, "a part is written before its parent"
        return self.stored

    @property
    def fragments(self) -> int:
        """How many fragments it holds."""
        return self._facts.fragments

    @property
    def rows(self) -> int:
        """Physical rows."""
        return self._facts.rows

    @property
    def live_rows(self) -> int:
        """Rows that are not deleted."""
        return self._facts.live_rows

    @property
    def fragment_ids(self) -> tuple[int, int]:
        """Half-open bounds of the ids of its fragments."""
        return self._facts.fragment_ids

    @property
    def row_ids(self) -> tuple[int, int]:
        """Half-open bounds of the ids of its rows."""
        return self._facts.row_ids

    def written(self, ref: Ref, items: tuple[Fragment | Part, ...]) -> Part:
        """The part as written, of items as written."""
        return Part(self.level, items, _summary(items, self.level, ref))

    def __getstate__(self) -> dict[str, object]:
        return {"level": self.level, "held": self.held, "stored": self.stored, "load": self.load}


_NO_REF = Ref("", 0, 0)


def _summary(items: Sequence[Fragment | Part], level: int, ref: Ref) -> PartEntry:
    ids = [(item.id, item.id + 1) if isinstance(item, Fragment) else item.fragment_ids for item in items]
    rows = [item.lineage.bounds if isinstance(item, Fragment) else item.row_ids for item in items]
    return PartEntry(
        ref=ref,
        level=level,
        fragments=sum(1 if isinstance(item, Fragment) else item.fragments for item in items),
        rows=sum(item.rows for item in items),
        live_rows=sum(item.live_rows for item in items),
        fragment_ids=(min(low for low, _ in ids), max(high for _, high in ids)),
        row_ids=(min(low for low, _ in rows), max(high for _, high in rows)),
    )


@dataclass(frozen=True)
class Tree(Items):
    """The fragments of a version: parts, then the tail that stands in the root itself."""

    parts: tuple[Part, ...] = ()
    tail: tuple[Fragment, ...] = ()

    @cached
    def items(self) -> tuple[Fragment | Part, ...]:
        """The parts, then the tail."""
        return (*self.parts, *self.tail)

    def iterate(self) -> Iterator[Fragment]:
        """All fragments in scan order, each part read when it is reached. Raises Corrupt if an id stands twice."""
        seen: set[int] = set()
        for fragment in super().iterate():
            if fragment.id in seen:
                raise Corrupt(f"the fragment id {fragment.id} stands twice", kind="structure", where="fragments")
            seen.add(fragment.id)
            yield fragment

    @cached
    def fragments(self) -> tuple[Fragment, ...]:
        """All fragments in scan order. Cost: every part is read."""
        return tuple(self.iterate()) if self.parts else self.tail

    @cached
    def all_row_ids(self) -> RowIdMap:
        """From row ids to `fragments`. Raises Corrupt. Cost: every part, lineage and set of deleted rows is read."""
        return RowIdMap.of(self.fragments) if self.parts else self.row_id_map

    @cached
    def count(self) -> int:
        """How many fragments there are. Cost: nothing is read."""
        return sum(part.fragments for part in self.parts) + len(self.tail)

    @cached
    def rows(self) -> int:
        """Physical rows."""
        return sum(item.rows for item in self.items)

    @cached
    def live_rows(self) -> int:
        """Rows that are not deleted."""
        return sum(item.live_rows for item in self.items)


def extend(tree: Tree, added: Sequence[Fragment]) -> Tree:
    """The tree with more fragments at its end. Cost: no part is read."""
    parts, tail = list(tree.parts), (*tree.tail, *added)
    while len(tail) > FANOUT:
        parts.append(Part(0, tail[:FANOUT]))
        tail = tail[FANOUT:]
        _fold(parts)
    return Tree(tuple(parts), tail)


def _fold(parts: list[Part]) -> None:
    """Replace FANOUT parts of one level at the end by one of the next level, as often as it goes."""
    while len(parts) >= FANOUT and len({part.level for part in parts[-FANOUT:]}) == 1:
        children = tuple(parts[-FANOUT:])
        parts[-FANOUT:] = [Part(children[0].level + 1, children)]


def replaced(tree: Tree, changes: Mapping[int, tuple[Fragment, ...]]) -> Tree:
    """The tree with other fragments in the places of some. changes: fragment id -> what stands there then.

    Cost: the parts that hold these fragments are read; all others are shared.
    """
    ids = np.sort(np.fromiter(changes, np.int64, len(changes)))
    parts = [kept for part in tree.parts if (kept := _changed(part, changes, ids)) is not None]
    tail = tuple(made for fragment in tree.tail for made in changes.get(fragment.id, (fragment,)))
    return extend(Tree(tuple(parts)), tail)


def _changed(part: Part, changes: Mapping[int, tuple[Fragment, ...]], ids: Int64s) -> Part | None:
    low, high = ids.searchsorted(part.fragment_ids)
    if low == high:
        return part
    made: list[Fragment | Part] = []
    for item in part.items:
        if isinstance(item, Fragment):
            made.extend(changes.get(item.id, (item,)))
        elif (kept := _changed(item, changes, ids)) is not None:
            made.append(kept)
    if len(made) == len(part.items) and all(new is old for new, old in zip(made, part.items, strict=True)):
        return part
    return Part(part.level, tuple(made)) if made else None


def mapped(tree: Tree, change: Callable[[Fragment], Fragment]) -> Tree:
    """The tree with every fragment changed. Cost: every part is read."""
    return Tree(tuple(_mapped(part, change) for part in tree.parts), tuple(map(change, tree.tail)))


def _mapped(part: Part, change: Callable[[Fragment], Fragment]) -> Part:
    items = (change(item) if isinstance(item, Fragment) else _mapped(item, change) for item in part.items)
    return Part(part.level, tuple(items))


def encode_part(part: Part, items: Sequence[Fragment | Part]) -> bytes:
    """A part as bytes. items: what it holds, as written."""
    name = "fragments" if part.level == 0 else "parts"
    held = [item.to_json() if isinstance(item, Fragment) else item.entry.to_json() for item in items]
    return pack_json(MAGIC, shape.dump({"level": part.level, name: held}))


def decode_part(
    data: bytes, where: str, *, level: int, read: ReadPart = unread
) -> tuple[Fragment, ...] | tuple[PartEntry, ...]:
    """The fragments of a leaf (level 0) or the entries of a node. Raises Corrupt or Unsupported."""
    body = shape.mapping(parse_json(unpack_json(MAGIC, data, where), where), where)
    shape.integer(body, "level", where, low=level, high=level)
    if level == 0:
        found = shape.each(body, "fragments", where, lambda item, place: fragment_from_json(item, place, read=read))
        return found or shape.refuse([], "at least one fragment", where)
    entries = shape.each(body, "parts", where, entry_from_json)
    for entry in entries:
        if entry.level >= level:
            shape.refuse(entry.level, f"a level below {level}", where)
    return entries or shape.refuse([], "at least one part", where)
