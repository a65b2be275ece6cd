"""Rows that indexes found, read by their places; what is left of the condition is asked first, of them alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from lance_like.encodings.joining import taken
from lance_like.file.carry import as_batch
from lance_like.query.evaluate import passing
from lance_like.query.expr import Expr, paths
from lance_like.query.hits import Found
from lance_like.query.projection import Projection
from lance_like.query.session import Session
from lance_like.query.take import columns_at
from lance_like.query.windows import BATCH_ROWS, WINDOW_NBYTES, Scan, asking
from lance_like.ranges import listed
from lance_like.table.fragment import Fragment
from lance_like.typing_ import Offsets

_LEAST_ROWS = 1 << 10
# Up to so many bytes of an answer are read together with what is asked of the rows found, if in vain: a round less.
_IN_VAIN_NBYTES = 64 << 10

Places = Sequence[tuple[Fragment, Offsets]]
"""Rows of fragments, by their offsets."""


def found_batches(session: Session, scan: Scan, found: Sequence[Found], batch_rows: int) -> list[pa.RecordBatch]:
    """The rows found that pass, in batches of so many rows at most. Cost: one round for what is asked, one to read."""
    places: list[tuple[Fragment, Offsets]] = []
    conditions: dict[int, Expr | None] = {}
    count = 0
    for one in found:
        conditions[id(one.condition)] = one.condition
        if one.offsets is not None and len(one.offsets):
            places.append((one.fragment, one.offsets))
            count += len(one.offsets)
    projection = scan.projection
    condition, *others = conditions.values() or (None,)
    if others or condition is not None:
        width = projection.row_nbytes
        if not others and condition is not None and width and 0 < width * count <= _IN_VAIN_NBYTES:
            return _asked_and_read(session, scan, condition, places, batch_rows)
        places = _passing(session, scan, found)
        count = sum(len(offsets) for _, offsets in places)
    if count == 0:
        return []
    arrays = columns_at(session, projection, places) if projection.outputs else []
    return projection.batches(arrays, count, batch_rows)


def _asked_and_read(
    session: Session, scan: Scan, condition: Expr, places: Places, batch_rows: int
) -> list[pa.RecordBatch]:
    """The rows that pass, read together with what is asked of them."""
    needed, projection = _columns_of(session, scan, condition), scan.projection
    both = session.projections.get(
        needed, projection, make=lambda: replace(needed, outputs=(*needed.outputs, *projection.outputs))
    )
    arrays = columns_at(session, both, places)
    count, asked = len(arrays[0]), len(needed.outputs)
    flags = passing(condition, as_batch(arrays[:asked], needed.carried_schema, count))
    passed = int(np.count_nonzero(flags))
    kept = (
        arrays[asked:] if passed == count else [taken(array, pa.array(flags.nonzero()[0])) for array in arrays[asked:]]
    )
    return projection.batches(kept, passed, batch_rows) if passed else []


def _passing(session: Session, scan: Scan, found: Sequence[Found]) -> list[tuple[Fragment, Offsets]]:
    """The rows that pass what they are still to be asked."""
    kept = [listed(one.offsets) if one.offsets is not None else _NONE for one in found]
    for condition in {id(one.condition): one.condition for one in found}.values():
        if condition is None:
            continue
        asked = [place for place, one in enumerate(found) if one.condition is condition and len(kept[place])]
        flags = _flags(session, scan, condition, [(found[place].fragment, kept[place]) for place in asked])
        ends = np.cumsum([len(kept[place]) for place in asked])
        for place, end in zip(asked, ends.tolist(), strict=True):
            kept[place] = kept[place][flags[end - len(kept[place]) : end]]
    return [(one.fragment, offsets) for one, offsets in zip(found, kept, strict=True) if len(offsets)]


_NONE = np.empty(0, np.int64)


def _flags(session: Session, scan: Scan, condition: Expr, places: Places) -> np.ndarray:
    if not places:
        return np.empty(0, bool)
    needed = _columns_of(session, scan, condition)
    arrays = columns_at(session, needed, places) if needed.outputs else []
    count = sum(len(offsets) for _, offsets in places)
    return passing(condition, as_batch(arrays, needed.carried_schema, count))


def _columns_of(session: Session, scan: Scan, condition: Expr) -> Projection:
    """The columns of a condition; the same object again for other conditions on them."""
    table = scan.projection.table
    return session.projections.get(table, key=paths(condition), make=lambda: asking(table, condition))


def cut_found(found: Sequence[Found], scan: Scan) -> Iterator[list[Found]]:
    """Rows of fragments in groups to be read in one go, no more of them than a limit needs.

    A group has as many rows as fit a window, by the bytes of their files.
    """
    wanted = None if scan.limit is None else scan.offset + scan.limit
    surely = all(one.condition is None for one in found)
    left = wanted if surely else None
    group: list[Found] = []
    room = most = _most_rows(found[0].fragment, wanted)
    for one in found:
        assert one.offsets is not None
        offsets = one.offsets if left is None else one.offsets[:left]
        left = None if left is None else left - len(offsets)
        if group and scan.apart:
            yield group
            group, room = [], most
        while len(offsets):
            group.append(
                one if len(offsets) <= room and offsets is one.offsets else replace(one, offsets=offsets[:room])
            )
            offsets, room = offsets[room:], room - min(room, len(offsets))
            if room == 0:
                yield group
                group, room = [], most
    if group:
        yield group


def _most_rows(fragment: Fragment, wanted: int | None) -> int:
    row_nbytes = max(1, sum(file.nbytes for file in fragment.files) // fragment.rows)
    most = max(_LEAST_ROWS, min(BATCH_ROWS, WINDOW_NBYTES // row_nbytes))
    # A few times as many as are wanted may have to be asked.
    return most if wanted is None else min(most, max(_LEAST_ROWS, 4 * wanted))


__all__ = ["Places", "cut_found", "found_batches"]
