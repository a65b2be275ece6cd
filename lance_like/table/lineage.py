"""Where the rows of a fragment come from: their stable ids and the versions that made and last changed them
(format_spec/table.md, "Lineage"). Values and their bytes; pure but for a read that the value was given.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from lance_like._lazy import cached
from lance_like.errors import Corrupt, InvalidInput
from lance_like.table import shape
from lance_like.table.envelope import MAX_BODY, inflate, pack_envelope, unpack_envelope
from lance_like.table.reference import Ref
from lance_like.typing_ import Int64s

MAGIC = b"LLLN"
# Above so many runs a lineage is a part of its own: the manifest that names the fragment stays small.
INLINE_RUNS = 48
# Of each of the three kinds: 1 GiB in memory.
MAX_RUNS = 1 << 26
_LENGTH = struct.Struct("<I")
_HEAD = struct.Struct("<IBB")
_WIDTHS = {1: "<u1", 2: "<u2", 4: "<u4", 8: "<u8"}


@dataclass(frozen=True, eq=False)
class Runs:
    """The runs of a lineage, in row order, each int64[n, 2].

    row_ids: half-open intervals of stable ids. created, updated: (version, count of rows).
    """

    row_ids: Int64s
    created: Int64s
    updated: Int64s

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Runs) and all(
            np.array_equal(mine, theirs) for mine, theirs in zip(self.arrays, other.arrays, strict=True)
        )

    def __hash__(self) -> int:
        return hash(tuple(array.tobytes() for array in self.arrays))

    @property
    def arrays(self) -> tuple[Int64s, Int64s, Int64s]:
        """Row ids, created, updated."""
        return self.row_ids, self.created, self.updated

    @property
    def rows(self) -> int:
        """Of how many rows it is."""
        return int(self.created[:, 1].sum())

    @property
    def count(self) -> int:
        """How many runs there are of all three kinds."""
        return sum(len(array) for array in self.arrays)


def fresh(first_id: int, rows: int, version: int) -> Runs:
    """The lineage of new rows: ids from first_id on, made by a version."""
    made = np.array([[version, rows]], np.int64)
    return Runs(np.array([[first_id, first_id + rows]], np.int64), made, made)


def of_rows(row_ids: Int64s, created: Int64s, updated: Int64s) -> Runs:
    """The lineage of rows one by one: int64[rows] each."""
    starts = np.flatnonzero(np.concatenate(([True], np.diff(row_ids) != 1)))[: len(row_ids)]
    ends = np.append(starts[1:], len(row_ids))
    spans = np.stack((row_ids[starts], row_ids[starts] + (ends - starts)), axis=1)
    return Runs(spans, version_runs(created), version_runs(updated))


def version_runs(versions: Int64s) -> Int64s:
    """int64[rows] versions as runs: int64[n, 2]."""
    starts = np.flatnonzero(np.concatenate(([True], np.diff(versions) != 0)))[: len(versions)]
    counts = np.diff(np.append(starts, len(versions)))
    return np.stack((versions[starts], counts), axis=1)


def concatenated(pieces: Sequence[Runs]) -> Runs:
    """The lineage of the rows of several fragments, one after the other. Cost: O(runs)."""
    ids = np.concatenate([piece.row_ids for piece in pieces])
    firsts = np.flatnonzero(np.concatenate(([True], ids[1:, 0] != ids[:-1, 1])))
    lasts = np.append(firsts[1:], len(ids)) - 1
    return Runs(
        np.stack((ids[firsts, 0], ids[lasts, 1]), axis=1),
        _without_repeats(np.concatenate([piece.created for piece in pieces])),
        _without_repeats(np.concatenate([piece.updated for piece in pieces])),
    )


def _without_repeats(runs: Int64s) -> Int64s:
    """Neighbouring runs of one value as one."""
    firsts = np.flatnonzero(np.concatenate(([True], np.diff(runs[:, 0]) != 0)))
    return np.stack((runs[firsts, 0], np.add.reduceat(runs[:, 1], firsts)), axis=1)


def spread(spans: Int64s) -> Int64s:
    """int64[n, 2] half-open intervals as int64[m] their members."""
    counts = spans[:, 1] - spans[:, 0]
    before = np.cumsum(counts) - counts
    return np.arange(counts.sum()) + np.repeat(spans[:, 0] - before, counts)


def distinct(values: Int64s) -> Int64s:
    """The different values, ascending. Cost: O(n) for some ascending pieces end to end, else O(n log n)."""
    # np.unique hashes them, which takes ten times as long for few.
    ascending = np.sort(values, kind="stable")
    return ascending[np.concatenate(([True], ascending[1:] != ascending[:-1]))[: len(ascending)]]


def values_of(runs: Int64s) -> Int64s:
    """Runs (value, count) as int64[rows] values."""
    return np.repeat(runs[:, 0], runs[:, 1])


def values_at(runs: Int64s, offsets: Int64s) -> Int64s:
    """The values of runs (value, count) at some rows: int64[n] -> int64[n]."""
    if len(runs) == 1:
        return np.full(len(offsets), runs[0, 0])
    return runs[np.searchsorted(np.cumsum(runs[:, 1]), offsets, side="right"), 0]


Pairs: TypeAlias = Sequence[Sequence[int]]
Stated: TypeAlias = tuple[Pairs, Pairs, Pairs]


@dataclass(frozen=True, eq=False)
class Lineage:
    """The lineage of a fragment, in memory or still in its part.

    bounds: the least row id, and the greatest plus 1. ref: the part, None until it is written or when it is inline.
    held: the runs, as values or as a manifest states them; None while they lie in the part, which `read` brings.
    """

    bounds: tuple[int, int]
    ref: Ref | None = None
    held: Runs | Stated | None = None
    read: Callable[[Ref], bytes] | None = field(default=None, repr=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Lineage) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def _identity(self) -> Ref | Runs:
        return self.ref or self.runs

    @staticmethod
    def of(runs: Runs) -> Lineage:
        """The lineage of runs in memory."""
        return Lineage(_bounds(runs), held=runs)

    @cached
    def runs(self) -> Runs:
        """The runs, read when they are first asked for. Raises Corrupt."""
        if isinstance(self.held, Runs):
            return self.held
        if self.held is not None:
            return Runs(*(np.array(pairs, np.int64).reshape(-1, 2) for pairs in self.held))
        assert self.ref is not None and self.read is not None
        runs = decode_lineage(self.read(self.ref), self.ref.path)
        found = _bounds(runs)
        if found != self.bounds:
            shape.refuse(found, f"row ids within {self.bounds}", self.ref.path)
        return runs

    @cached
    def is_inline(self) -> bool:
        """Does it stand in the manifest itself?"""
        if self.ref is not None:
            return False
        count = sum(map(len, self.held)) if isinstance(self.held, tuple) else self.runs.count
        return count <= INLINE_RUNS

    def stated(self) -> Stated:
        """Row ids, created and updated as a manifest states them."""
        if isinstance(self.held, tuple):
            return self.held
        ids, created, updated = (array.tolist() for array in self.runs.arrays)
        return ids, created, updated

    def __getstate__(self) -> dict[str, object]:
        return {"bounds": self.bounds, "ref": self.ref, "held": self.held, "read": self.read}


def _bounds(runs: Runs) -> tuple[int, int]:
    return int(runs.row_ids[:, 0].min()), int(runs.row_ids[:, 1].max())


def encode_lineage(runs: Runs) -> bytes:
    """Runs as a part: an envelope around u32 length and a zlib stream of that many bytes, the three arrays.

    Raises InvalidInput for more runs of a kind than a reader takes.
    """
    if max(map(len, runs.arrays)) > MAX_RUNS:
        raise InvalidInput(f"a fragment whose rows come from over {MAX_RUNS:,} places", kind="limit")
    ids = runs.row_ids
    # From the end of an interval to the start of the next: mostly small, and below 0 where ids go back.
    steps = ids[:, 0] - np.concatenate(([0], ids[:-1, 1]))
    raw = b"".join(
        (
            pack_pairs(_zigzag(steps), ids[:, 1] - ids[:, 0]),
            pack_pairs(runs.created[:, 0], runs.created[:, 1]),
            pack_pairs(runs.updated[:, 0], runs.updated[:, 1]),
        )
    )
    return pack_envelope(MAGIC, _LENGTH.pack(len(raw)) + zlib.compress(raw, 3))


def decode_lineage(data: bytes, where: str) -> Runs:
    """The inverse of `encode_lineage`. Raises Corrupt."""
    raw = inflate(unpack_envelope(MAGIC, data, where), where, limit=MAX_BODY)
    (steps, lengths), at = unpack_pairs(raw, 0, where)
    (created, made), at = unpack_pairs(raw, at, where)
    (updated, changed), at = unpack_pairs(raw, at, where)
    if at != len(raw):
        shape.refuse(len(raw) - at, "no bytes after the three arrays", where)
    ends = np.cumsum(_unzigzag(steps) + lengths)
    return Runs(
        np.stack((ends - lengths, ends), axis=1),
        np.stack((created, made), axis=1),
        np.stack((updated, changed), axis=1),
    )


def stated_lineage(row_ids: Pairs, created: Pairs, updated: Pairs, *, rows: int, where: str) -> Lineage:
    """The lineage that a manifest states: few pairs of integers from 0 to `shape.MAX_INTEGER`.

    Raises Corrupt unless they describe so many rows with values in range. Cost: no array is made.
    """
    if not row_ids or any(start >= end for start, end in row_ids):
        shape.refuse(row_ids[:1], "intervals of row ids, 0 <= start < end", where)
    if sum(end - start for start, end in row_ids) != rows:
        shape.refuse(row_ids[:1], f"as many row ids as rows ({rows:,})", where)
    for name, found in (("created", created), ("updated", updated)):
        good = found and all(version >= 1 and count >= 1 for version, count in found)
        if not good or sum(count for _, count in found) != rows:
            shape.refuse(found[:1], f"runs of versions over {rows:,} rows in {name!r}", where)
    bounds = min(start for start, _ in row_ids), max(end for _, end in row_ids)
    return Lineage(bounds, held=(row_ids, created, updated))


def check_lineage(runs: Runs, rows: int, where: str) -> Runs:
    """The runs themselves. Raises Corrupt unless they describe so many rows with values in range."""
    ids = runs.row_ids
    if len(ids) == 0 or ids.min() < 0 or ids.max() > shape.MAX_INTEGER or (ids[:, 0] >= ids[:, 1]).any():
        shape.refuse(ids[:1].tolist(), "intervals of row ids, 0 <= start < end", where)
    if not _adds_up(ids[:, 1] - ids[:, 0], rows):
        shape.refuse(ids[:1].tolist(), f"as many row ids as rows ({rows:,})", where)
    for name, found in (("created", runs.created), ("updated", runs.updated)):
        good = len(found) and found.min() >= 1 and found.max() <= shape.MAX_INTEGER
        if not good or not _adds_up(found[:, 1], rows):
            shape.refuse(found[:1].tolist(), f"runs of versions over {rows:,} rows in {name!r}", where)
    return runs


def _adds_up(counts: Int64s, rows: int) -> bool:
    # Lengths made to overflow the sum are each more than the rows.
    return int(counts.max()) <= rows and int(counts.sum()) == rows


def _zigzag(values: Int64s) -> Int64s:
    return (values << 1) ^ (values >> 63)


def _unzigzag(values: Int64s) -> Int64s:
    return (values >> 1) ^ -(values & 1)


def pack_pairs(first: Int64s, second: Int64s) -> bytes:
    """Two arrays of one length: u32 length, the width of each in bytes, then their values."""
    widths = [_width(values) for values in (first, second)]
    packed = [values.astype(_WIDTHS[width]).tobytes() for values, width in zip((first, second), widths, strict=True)]
    return _HEAD.pack(len(first), *widths) + packed[0] + packed[1]


def _width(values: Int64s) -> int:
    greatest = int(values.max()) if len(values) else 0
    return next(width for width in _WIDTHS if greatest < 1 << 8 * width)


def unpack_pairs(raw: bytes, at: int, where: str) -> tuple[tuple[Int64s, Int64s], int]:
    """The inverse of `pack_pairs` from a byte on, and where it ends. Raises Corrupt."""
    if at + _HEAD.size > len(raw):
        raise Corrupt("it ends within an array", kind="structure", where=where)
    count, *widths = _HEAD.unpack_from(raw, at)
    at += _HEAD.size
    if not set(widths) <= set(_WIDTHS):
        shape.refuse(widths, "widths of 1, 2, 4 or 8 bytes", where)
    if count == 0:
        shape.refuse(0, "runs", where)
    if count > MAX_RUNS:
        raise Corrupt(f"{count:,} runs are over the limit of {MAX_RUNS:,}", kind="limit", where=where)
    if at + count * sum(widths) > len(raw):
        raise Corrupt("it ends within an array", kind="structure", where=where)
    found: list[Int64s] = []
    for width in widths:
        values = np.frombuffer(raw, _WIDTHS[width], count, at)
        if width == 8 and values.max() > shape.MAX_INTEGER * 2:
            shape.refuse(int(values.max()), "integers below 2^54", where)
        found.append(values.astype(np.int64))
        at += count * width
    return (found[0], found[1]), at


__all__ = [
    "INLINE_RUNS",
    "Lineage",
    "Runs",
    "check_lineage",
    "concatenated",
    "decode_lineage",
    "distinct",
    "encode_lineage",
    "fresh",
    "of_rows",
    "pack_pairs",
    "spread",
    "stated_lineage",
    "unpack_pairs",
    "values_at",
    "values_of",
    "version_runs",
]
