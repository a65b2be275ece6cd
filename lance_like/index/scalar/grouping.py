"""Bringing together the ordinals of equal values, of columns of any length, in bounded memory.

1. Values gather in memory until a share of the memory is full; then they are grouped and go to a temporary file, a run.
2. Without a run, what is in memory is the answer.
3. Else the order of keys is cut at keys that a sample of all runs gives, so that what lies between two cuts in all runs
   fits in the share; for each such part the groups of the runs are merged. Runs come in the order of their ordinals, so
   those of a key need no sorting again.

Only the ordinals of one value must fit in memory, 4 bytes each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from lance_like.index.base import IndexSource
from lance_like.index.scalar.keys import Keys, Uint32s, joined_keys, keys_of
from lance_like.ranges import gather_from
from lance_like.typing_ import Int64s

# What grouping takes at its height, in times of what gathered: keys, order, pairs and the answer.
_SHARE = 6
# Samples a part and run: parts are then larger than meant by a few percent.
_SAMPLES = 32


@dataclass(frozen=True, slots=True)
class Groups:
    """Keys, ascending, each once, and the ordinals of each: ascending, from the end of the key before to its own."""

    keys: Keys
    ends: Int64s
    ordinals: Uint32s

    def within(self, first: int, last: int) -> Groups:
        """Some of the groups that lie together."""
        start = int(self.ends[first - 1]) if first else 0
        ends = self.ends[first:last] - start
        count = int(ends[-1]) if len(ends) else 0
        return Groups(self.keys.part(first, last), ends, self.ordinals[start : start + count])


class Grouping:
    """Takes values and their ordinals, and gives them back in groups. kind: the key type of the values."""

    def __init__(self, kind: pa.DataType, memory_nbytes: int) -> None:
        self._kind = kind
        self._most = max(1, memory_nbytes // _SHARE)
        self._pending: list[tuple[Keys, Uint32s]] = []
        self._pieces: list[Groups] = []
        self._nbytes = 0
        self._runs: list[Groups] = []
        self._folder: TemporaryDirectory[str] | None = None

    def add(self, values: pa.Array, ordinals: Uint32s) -> None:
        """Take in values of the key type without nulls. ordinals: uint32[n], not below those that came before."""
        if len(values):
            keys = keys_of(values)
            self._pending.append((keys, ordinals))
            self._count(keys.nbytes + ordinals.nbytes)

    def add_groups(self, groups: Groups) -> None:
        """Take in what was grouped already: all ordinals of some rows, behind those that came before."""
        if len(groups.keys):
            self._pieces.append(groups)
            self._count(groups.keys.nbytes + groups.ends.nbytes + groups.ordinals.nbytes)

    def _count(self, nbytes: int) -> None:
        self._nbytes += nbytes
        if self._nbytes > self._most:
            self._spill()

    def groups(self) -> Iterator[Groups]:
        """All groups, in the order of their keys, no key twice. Once only."""
        try:
            if not self._runs:
                yield from [self._take_pending()] if self._nbytes else []
                return
            if self._nbytes:
                self._spill()
            rows = [len(run.ordinals) for run in self._runs]
            yield from _merged(self._runs, -(-sum(rows) // rows[0]))
        finally:
            self._runs = []
            if self._folder is not None:
                self._folder.cleanup()

    def _take_pending(self) -> Groups:
        pieces, pending = self._pieces, self._pending
        self._pieces, self._pending, self._nbytes = [], [], 0
        if pending:
            keys = joined_keys([keys for keys, _ in pending])
            ordinals = np.concatenate([ordinals for _, ordinals in pending])
            pending.clear()
            pieces.append(Groups(*keys.grouped(ordinals)))
        return _one(pieces)

    def _spill(self) -> None:
        groups = self._take_pending()
        if self._folder is None:
            self._folder = TemporaryDirectory(prefix="lance_like-")
        path = Path(self._folder.name, f"{len(self._runs)}.arrow")
        _save(path, {"key": groups.keys.values(self._kind), "end": pa.array(groups.ends)})
        _save(path.with_suffix(".ordinals"), {"ordinal": pa.array(groups.ordinals)})
        key, end = _load(path)
        [ordinal] = _load(path.with_suffix(".ordinals"))
        self._runs.append(Groups(keys_of(key), end.to_numpy(), ordinal.to_numpy()))


Split: TypeAlias = Callable[[pa.Array, Uint32s], tuple[pa.Array, Uint32s, Uint32s]]
"""From a batch and its ordinals to values of the key type without nulls, the ordinal of each, and those of nulls."""


def grouped(source: IndexSource, kind: pa.DataType, memory_nbytes: int, split: Split) -> tuple[Grouping, list[Uint32s]]:
    """All values of a source, to be given back in groups, and the ordinals of its nulls, ascending, in parts."""
    grouping, nulls = Grouping(kind, memory_nbytes), []
    for batch, rows in numbered(source):
        values, ordinals, missing = split(batch, rows)
        grouping.add(values, ordinals)
        nulls.append(missing)
    return grouping, nulls


def numbered(source: IndexSource) -> Iterator[tuple[pa.Array, Uint32s]]:
    """The batches of a source, each with its ordinals: uint32[n]."""
    first = 0
    for batch in source.batches():
        yield batch, np.arange(first, first + len(batch), dtype=np.uint32)
        first += len(batch)


def _merged(runs: list[Groups], parts: int) -> Iterator[Groups]:
    """The groups of runs as one, in parts."""
    places = [[0] * len(runs)]
    if parts > 1:
        cuts = _cuts(runs, parts)
        found = np.array([run.keys.find(cuts, "left") for run in runs])
        places += found.T.tolist()
    places.append([len(run.keys) for run in runs])
    for firsts, lasts in pairwise(places):
        pieces = [run.within(*bounds) for run, *bounds in zip(runs, firsts, lasts, strict=True)]
        pieces = [piece for piece in pieces if len(piece.keys)]
        if pieces:
            yield _one(pieces)


def _cuts(runs: list[Groups], parts: int) -> Keys:
    """Keys, ascending, between which lie about as many ordinals."""
    samples = []
    for run in runs:
        wanted = np.linspace(0, len(run.ordinals), parts * _SAMPLES, endpoint=False, dtype=np.int64)
        samples.append(run.keys.take(np.searchsorted(run.ends, wanted, "right")))
    sample = joined_keys(samples)
    keys, ends, _ = sample.grouped(np.arange(len(sample), dtype=np.uint32))
    wanted = np.arange(1, parts) * len(sample) // parts
    return keys.take(np.unique(np.searchsorted(ends, wanted, "right")))


def _one(pieces: list[Groups]) -> Groups:
    """Groups of several runs, in their order, as one."""
    if len(pieces) == 1:
        return pieces[0]
    together = joined_keys([piece.keys for piece in pieces])
    keys, ends, order = together.grouped(np.arange(len(together), dtype=np.uint32))
    shifts = np.cumsum([0, *(len(piece.ordinals) for piece in pieces)])
    stops = np.concatenate([piece.ends + shift for piece, shift in zip(pieces, shifts, strict=False)])
    starts = np.concatenate([[0], stops[:-1]])
    every = np.concatenate([piece.ordinals for piece in pieces])
    ordinals = gather_from(every.view(np.uint8), 4 * starts[order], 4 * stops[order]).view(np.uint32)
    return Groups(keys, np.cumsum((stops - starts)[order])[ends - 1], ordinals)


def _save(path: Path, columns: dict[str, pa.Array]) -> None:
    batch = pa.record_batch(columns)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, batch.schema) as writer:
        writer.write_batch(batch)


def _load(path: Path) -> list[pa.Array]:
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).get_batch(0).columns


__all__ = ["Grouping", "Groups", "Split", "grouped", "numbered"]
