"""The tree of fragments: a small root for ever (format_spec/table.md, "Fragment tree").

The newest fragments stand in the root manifest, its tail. When the tail grows too long, its oldest fragments move to
a leaf part; when enough parts of one level stand side by side, a node part of the next level takes their place. So
the bytes of a commit do not grow with the number of fragments. Parts never change; equal stretches are reused
by reference. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lance_like._lazy import cached
from lance_like.file.layout import parse_json
from lance_like.table import shape
from lance_like.table.envelope import pack_envelope, unpack_envelope
from lance_like.table.fragment import (
    MAX_FRAGMENT_ID,
    Fragment,
    Ref,
    fragment_from_json,
    ref_from_json,
)
from lance_like.typing_ import Json

MAGIC = b"LLPT"
# What a writer puts side by side; a reader takes any number.
FANOUT = 64
MAX_LEVEL = 16
MAX_FRAGMENTS = 10_000_000


@dataclass(frozen=True, slots=True)
class PartEntry:
    """What the parent of a part says about it. Intervals are half-open bounds."""

    ref: Ref
    level: int
    fragments: int
    rows: int
    fragment_ids: tuple[int, int]
    row_ids: tuple[int, int]

    def to_json(self) -> Json:
        return {
            "ref": self.ref.to_json(),
            "level": self.level,
            "fragments": self.fragments,
            "rows": self.rows,
            "live_rows": self.rows,
            "fragment_ids": self.fragment_ids,
            "row_ids": self.row_ids,
        }


def entry_from_json(value: Json, where: str) -> PartEntry:
    """The inverse of `PartEntry.to_json`. Raises Corrupt."""
    holder = shape.mapping(value, where)
    rows = shape.integer(holder, "rows", where, low=1)
    shape.integer(holder, "live_rows", where, low=rows, high=rows)
    return PartEntry(
        ref=ref_from_json(shape.member(holder, "ref", where), where, kind="part"),
        level=shape.integer(holder, "level", where, high=MAX_LEVEL),
        fragments=shape.integer(holder, "fragments", where, low=1, high=MAX_FRAGMENTS),
        rows=rows,
        fragment_ids=shape.interval(holder, "fragment_ids", where, high=MAX_FRAGMENT_ID + 1),
        row_ids=shape.interval(holder, "row_ids", where, high=shape.MAX_INTEGER),
    )


@dataclass(frozen=True)
class Part:
    """A part in memory.

    fragments: all below it, in scan order. children: the parts it names, () for a leaf. ref: None until written.
    """

    level: int
    fragments: tuple[Fragment, ...]
    children: tuple[Part, ...] = ()
    ref: Ref | None = None

    @cached
    def entry(self) -> PartEntry:
        """What its parent says about it; the part is written."""
        assert self.ref is not None, "a part is written before its parent"
        spans = [span for fragment in self.fragments for span in fragment.row_ids]
        ids = [fragment.id for fragment in self.fragments]
        return PartEntry(
            ref=self.ref,
            level=self.level,
            fragments=len(self.fragments),
            rows=self.rows,
            fragment_ids=(min(ids), max(ids) + 1),
            row_ids=(min(start for start, _ in spans), max(end for _, end in spans)),
        )

    @cached
    def rows(self) -> int:
        return sum(fragment.rows for fragment in self.fragments)


@dataclass(frozen=True)
class Tree:
    """The fragments of a version: parts, then the tail that stands in the root itself."""

    parts: tuple[Part, ...] = ()
    tail: tuple[Fragment, ...] = ()

    @cached
    def fragments(self) -> tuple[Fragment, ...]:
        """All fragments in scan order."""
        return tuple(f for part in self.parts for f in part.fragments) + self.tail

    @cached
    def rows(self) -> int:
        return sum(part.rows for part in self.parts) + sum(fragment.rows for fragment in self.tail)


def extend(tree: Tree, added: Sequence[Fragment]) -> Tree:
    """The tree with more fragments at its end; new parts have no ref. Cost: no fragment in a part is looked at."""
    return _settled(list(tree.parts), (*tree.tail, *added))


def arrange(old: Tree, fragments: Sequence[Fragment]) -> Tree:
    """The tree of some fragments that shares with an old one every part that holds the same; new parts have no ref.

    Cost: O(fragments).
    """
    left = tuple(fragments)
    parts: list[Part] = []
    for part in old.parts:
        if len(left) < len(part.fragments):
            break
        mine, left = left[: len(part.fragments)], left[len(part.fragments) :]
        parts.append(_updated(part, mine))
    return _settled(parts, left)


def _settled(parts: list[Part], tail: tuple[Fragment, ...]) -> Tree:
    """Move what is too much for a tail into leaves, and leaves into nodes."""
    while len(tail) > FANOUT:
        parts.append(Part(0, tail[:FANOUT]))
        tail = tail[FANOUT:]
        _fold(parts)
    return Tree(tuple(parts), tail)


def _updated(part: Part, fragments: tuple[Fragment, ...]) -> Part:
    """The part with other fragments in the same places; the part itself if nothing differs."""
    if part.fragments == fragments:  # compares identity first: quick for what is shared
        return part
    children: list[Part] = []
    for child in part.children:
        children.append(_updated(child, fragments[: len(child.fragments)]))
        fragments = fragments[len(child.fragments) :]
    return Part(part.level, fragments if part.level == 0 else _joined(children), tuple(children))


def _fold(parts: list[Part]) -> None:
    """Replace FANOUT parts of one level at the end by one of the next level, as often as it goes."""
    while len(parts) >= FANOUT and len({part.level for part in parts[-FANOUT:]}) == 1:
        children = parts[-FANOUT:]
        parts[-FANOUT:] = [Part(children[0].level + 1, _joined(children), tuple(children))]


def _joined(parts: Sequence[Part]) -> tuple[Fragment, ...]:
    return tuple(fragment for part in parts for fragment in part.fragments)


def with_children(part: Part, children: tuple[Part, ...]) -> Part:
    """The part with its children as written."""
    return replace(part, children=children)


def with_ref(part: Part, ref: Ref) -> Part:
    """The part as written."""
    return replace(part, ref=ref)


def encode_part(part: Part) -> bytes:
    """A part as bytes; its children are written."""
    if part.level == 0:
        body: Json = {"level": 0, "fragments": [fragment.to_json() for fragment in part.fragments]}
    else:
        body = {"level": part.level, "parts": [child.entry.to_json() for child in part.children]}
    return pack_envelope(MAGIC, shape.dump(body))


def decode_part(data: bytes, where: str, *, level: int) -> tuple[Fragment, ...] | tuple[PartEntry, ...]:
    """The fragments of a leaf (level 0) or the entries of a node. Raises Corrupt or Unsupported."""
    body = shape.mapping(parse_json(unpack_envelope(MAGIC, data, where), where), where)
    shape.integer(body, "level", where, low=level, high=level)
    if level == 0:
        found = shape.each(body, "fragments", where, fragment_from_json)
        return found or shape.refuse([], "at least one fragment", where)
    entries = shape.each(body, "parts", where, entry_from_json)
    for entry in entries:
        if entry.level >= level:
            shape.refuse(entry.level, f"a level below {level}", where)
    return entries or shape.refuse([], "at least one part", where)
