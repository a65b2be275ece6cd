"""Signatures of the texts of a version, from indexes where there are some, and what they say of rows.

Rows that no segment holds validly are read and signed when the question is asked; segments give the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa

from lance_like.errors import InvalidInput, NotFound
from lance_like.index.duplicates.minhash import MinHashLsh, best_of, nearest_of
from lance_like.index.duplicates.pairs import Groups, Pairs, distinct, jaccard, like_pairs
from lance_like.index.duplicates.shingles import Shingles, pieces, shingles
from lance_like.index.duplicates.signatures import signatures
from lance_like.query.take import Placed, take_placed
from lance_like.typing_ import Bytes, Int64s, Json

if TYPE_CHECKING:
    from lance_like.dataset.handle import LanceDataset

Skip: TypeAlias = Callable[[Int64s, Int64s], np.ndarray]

ID = "_rowid"
_KIND = "MINHASHLSH"
_ROWS_AT_ONCE = 1 << 14
# Pairs whose estimate is so many standard errors below the threshold are not compared exactly.
_DOUBT = 3


@dataclass(frozen=True, slots=True)
class Signed:
    """Rows with a signature.

    ids: row ids, int64[n], ascending. signatures: uint8[n, hashes]. texts: reads those of some of them.
    """

    ids: Int64s
    signatures: Bytes
    params: Mapping[str, Json]
    texts: Callable[[Int64s], pa.Array]


def read_signed(
    ds: LanceDataset, column: str, *, index: str | None, use_index: bool, params: Mapping[str, Any] | None
) -> Signed:
    """The signatures of a column. params: where no index is used."""
    kind = ds.scanner([column]).projected_schema.field(0).type
    entry = _entry(ds, column, index) if use_index else None
    if entry is not None and params is not None:
        raise InvalidInput(f"params are those of the index {entry.name!r}: leave them out, or set use_index=False")
    used = MinHashLsh().params(kind, params or {}) if entry is None else entry.params
    parts = _scanned(ds, column, used) if entry is None else _indexed(ds, column, entry)
    found = [(np.empty(0, np.int64), np.empty((0, used["num_hashes"]), np.uint8)), *parts]
    ids, signed = np.concatenate([some for some, _ in found]), np.concatenate([some for _, some in found])
    order = np.argsort(ids, kind="stable")
    if not np.array_equal(order, np.arange(len(order))):
        ids, signed = ids[order], signed[order]
    return Signed(ids, signed, used, lambda rows: _texts(ds._take_rows(ids[rows], [column]).column(0)))


def search_signed(
    ds: LanceDataset, text: str, column: str, *, k: int, index: str | None, fast: bool
) -> tuple[Int64s, np.ndarray]:
    """The ids of the rows nearest to a text, and their distances. Raises NotFound for a column without an index."""
    entry = _entry(ds, column, index)
    if entry is None:
        raise NotFound(f"column {column!r} has no {_KIND} index", kind="index", hint="create_scalar_index makes one")
    [(_, signed)] = signatures(pa.array([text]), entry.params)
    found = [(np.empty(0, np.int64), np.empty(0, np.float32))]
    if not len(signed):
        return found[0]
    coverage = ds._session.indexes.coverage(ds._manifest, entry.name)
    for segment in coverage.segments:
        hits = segment.searcher.nearest(signed[0], k, segment.valid)
        there = hits.ordinals[0] >= 0
        found.append((segment.ids(hits.ordinals[0][there]), hits.scores[0][there]))
    if not fast:
        for ids, others in _uncovered(ds, column, coverage.uncovered, entry.params):
            places, distances = nearest_of(others, signed[0], entry.params["num_bands"])
            found.append((ids[places], distances))
    return best_of(found, k)


def pairs_of(signed: Signed, threshold: float, *, exact: bool) -> Iterator[Pairs]:
    """Pairs of rows that are alike, by their places in `signed`; rows of equal signatures with the first of them."""
    first, kind = distinct(signed.signatures)
    yield from _verified(signed, _same_pairs(first, kind), threshold, exact)
    yield from _verified(signed, _kind_pairs(signed, first, threshold, exact, None), threshold, exact)


def groups_of(signed: Signed, threshold: float, *, exact: bool) -> tuple[Int64s, Int64s]:
    """Groups of rows that pairs connect: their row ids, and where groups begin: int64[groups + 1]."""
    first, kind = distinct(signed.signatures)
    groups = Groups(len(kind))
    for one, other, _ in _verified(signed, _same_pairs(first, kind), threshold, exact):
        groups.join(one, other)

    def joined(one: Int64s, other: Int64s) -> np.ndarray:
        return groups.together(first[one], first[other])

    for one, other, _ in _verified(signed, _kind_pairs(signed, first, threshold, exact, joined), threshold, exact):
        groups.join(one, other)
    members, bounds = groups.members()
    return signed.ids[members], bounds


def _same_pairs(first: Int64s, kind: Int64s) -> Iterator[Pairs]:
    """Each row with the first of its signature, but for that one."""
    others = np.delete(np.arange(len(kind)), first)
    for start in range(0, len(others), _ROWS_AT_ONCE):
        some = others[start : start + _ROWS_AT_ONCE]
        yield first[kind[some]], some, np.ones(len(some), np.float32)


def _kind_pairs(signed: Signed, first: Int64s, threshold: float, exact: bool, skip: Skip | None) -> Iterator[Pairs]:
    """Pairs of kinds of signatures, by the place of the first row of each."""
    least = threshold
    if exact:
        error = (threshold * (1 - threshold) / signed.signatures.shape[1]) ** 0.5
        least = max(threshold - _DOUBT * max(error, 1 / signed.signatures.shape[1]), 0.01)
    for one, other, alike in like_pairs(signed.signatures[first], least, skip=skip):
        yield first[one], first[other], alike


def _verified(signed: Signed, pairs: Iterable[Pairs], threshold: float, exact: bool) -> Iterator[Pairs]:
    """Pairs as they are, or with their exact similarity where that reaches the threshold."""
    for one, other, alike in pairs:
        if not exact:
            yield one, other, alike
            continue
        rows, places = np.unique(np.concatenate([one, other]), return_inverse=True)
        found = _shingled(signed.texts(rows), signed.params)
        true = jaccard(found, places[: len(one)], places[len(one) :])
        enough = true >= np.float32(threshold)
        yield one[enough], other[enough], true[enough]


def _shingled(texts: pa.Array, params: Mapping[str, Json]) -> Shingles:
    size, tokenizer, lower = params["shingle_size"], params["tokenizer"], params["lower_case"]
    found = [shingles(piece, size, tokenizer, lower_case=lower) for piece in pieces(texts)]
    counts = np.concatenate([some.counts for some in found] or [np.empty(0, np.int64)])
    hashes = np.concatenate([some.hashes for some in found] or [np.empty(0, np.uint64)])
    return Shingles(hashes, np.concatenate([[0], np.cumsum(counts)]))


def _entry(ds: LanceDataset, column: str, index: str | None) -> Any:
    """The index of a column, or None. Raises NotFound for a name that is none of its."""
    field = ds._manifest.schema.find(column)
    known = ds._session.indexes.of_field(ds._manifest, field.id, "duplicates")
    found = [entry for entry in known if entry.kind == _KIND and entry.json is None]
    if index is None:
        return found[0] if found else None
    for entry in found:
        if entry.name == index:
            return entry
    names = ", ".join(repr(entry.name) for entry in found) or "none"
    raise NotFound(f"column {column!r} has no {_KIND} index {index!r}", kind="index", hint=f"it has {names}")


def _scanned(ds: LanceDataset, column: str, params: Mapping[str, Json]) -> Iterator[tuple[Int64s, Bytes]]:
    """The signatures of all rows, read by a scan."""
    for batch in ds.scanner([column], with_row_id=True).to_batches():
        yield _signed_rows(batch.column(ID), batch.column(0), params)


def _indexed(ds: LanceDataset, column: str, entry: Any) -> Iterator[tuple[Int64s, Bytes]]:
    """The signatures of all rows, from the segments of an index, and of the others by reading them."""
    coverage = ds._session.indexes.coverage(ds._manifest, entry.name)
    for segment in coverage.segments:
        ordinals, signed = segment.searcher.signatures(segment.valid)
        yield segment.ids(ordinals), signed
    yield from _uncovered(ds, column, coverage.uncovered, entry.params)


def _uncovered(
    ds: LanceDataset, column: str, uncovered: Any, params: Mapping[str, Json]
) -> Iterator[tuple[Int64s, Bytes]]:
    """The signatures of rows that no segment holds. uncovered: pairs of a fragment and offsets in it."""
    read = ds._answer([column, ID]).read
    for fragment, offsets in uncovered:
        for start in range(0, len(offsets), _ROWS_AT_ONCE):
            some = offsets[start : start + _ROWS_AT_ONCE]
            rows = take_placed(ds._session, read, Placed([fragment], np.zeros(len(some), np.int64), some))
            yield _signed_rows(rows.column(1).combine_chunks(), _texts(rows.column(0)), params)


def _signed_rows(ids: pa.Array, texts: pa.Array, params: Mapping[str, Json]) -> tuple[Int64s, Bytes]:
    found = list(signatures(texts, params))
    if not found:
        return np.empty(0, np.int64), np.empty((0, params["num_hashes"]), np.uint8)
    has, signed = np.concatenate([some for some, _ in found]), np.concatenate([some for _, some in found])
    return ids.to_numpy().astype(np.int64)[has], signed


def _texts(values: pa.ChunkedArray) -> pa.Array:
    return values.cast(pa.large_string()).combine_chunks()


__all__ = ["ID", "Signed", "groups_of", "pairs_of", "read_signed", "search_signed"]
