"""Rows of fragments of few bytes, read from columns of their files that are opened and decoded together.

To open a column of a file and to read it takes some tenths of a millisecond of Python, whatever its rows; columns of
several files are opened and read in one go (file/several.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby, islice

import numpy as np
import pyarrow as pa

from lance_like.encodings.physical import flat_width
from lance_like.encodings.places import DESCRIPTION
from lance_like.encodings.recast import is_recast
from lance_like.encodings.stack import together
from lance_like.file.carry import carried_type
from lance_like.file.cut import has_dictionary
from lance_like.file.several import Asking
from lance_like.query.projection import Projection
from lance_like.query.session import Reads, Session
from lance_like.table.fragment import Fragment
from lance_like.typing_ import Bytes, Conversation, Int64s, Ranges, T

MOST_OF_ONE = 1 << 20
"""Columns of a larger file, by the bytes that are read of it, are not read with those of others."""

# Of fewer fragments, or of few columns of open files with fewer rows of each, on the average, columns are read file by
# file: those that were opened together are kept for the same files alone, and else it pays to open them for one use.
_LEAST, _MANY_COLUMNS, _ROWS_OF_EACH = 16, 4, 4
# Files whose columns are opened together, and the bytes of all that are read side by side.
_MOST, _MOST_NBYTES = 64, 64 << 20


class Widths:
    """The bytes of rows of some columns. leaves: their types, by field."""

    def __init__(self, leaves: Mapping[int, pa.DataType]) -> None:
        widths = [1 if kind == pa.bool_() else flat_width(carried_type(kind)) for kind in leaves.values()]
        self.fixed = sum(width or 0 for width in widths)
        self.variable = widths.count(None)

    def nbytes(self, fragment: Fragment) -> int:
        """What is read of a fragment, at most and about."""
        held = sum(file.nbytes for file in fragment.files)
        return held if self.variable else min(held, fragment.rows * self.fixed)


def can_join(leaves: Mapping[int, pa.DataType]) -> bool:
    """Can columns be joined? Each file has dictionaries of its own; cells are described and recast file by file."""
    kinds = leaves.values()
    apart = (kind is DESCRIPTION or is_recast(kind) or has_dictionary(carried_type(kind)) for kind in kinds)
    return bool(kinds) and not any(apart)


def groups_of(
    session: Session, projection: Projection, parts: Sequence[tuple[Fragment, Int64s]]
) -> list[list[tuple[Fragment, Int64s]]] | None:
    """Rows of fragments in groups that `reading_groups` reads; None where they are better read file by file."""
    if len(parts) < _LEAST or not can_join(projection.leaves):
        return None
    few = sum(len(some) for _, some in parts) < _ROWS_OF_EACH * len(parts)
    if few and len(projection.leaves) < _MANY_COLUMNS and all(session.has_open(part.files) for part, _ in parts):
        return None
    widths = Widths(projection.leaves)
    nbytes = [widths.nbytes(fragment) for fragment, _ in parts]
    if max(nbytes) > MOST_OF_ONE or sum(nbytes) > _MOST_NBYTES:
        return None
    groups: list[list[tuple[Fragment, Int64s]]] = []
    for _, alike in groupby(parts, key=lambda part: [file.fields for file in part[0].files]):
        while some := list(islice(alike, _MOST)):
            groups.append(some)
    return groups


def reading_groups(
    session: Session, projection: Projection, groups: Sequence[Sequence[tuple[Fragment, Int64s]]]
) -> Reads[list[dict[int, pa.Array]]]:
    """The leaves of a projection for rows of fragments, the parts of each group end to end.

    Cost: as to read them file by file.
    """
    asked = [(place, held) for place, group in enumerate(groups) for held in projection.place(group[0][0]).files]
    opened = session.several_columns(
        [([fragment.files[held.file] for fragment, _ in groups[place]], held) for place, held in asked]
    )
    rows = [_rows_of(group) for group in groups]
    found: list[dict[int, pa.Array]] = [
        {field_id: pa.nulls(len(some), carried_type(kind)) for field_id, kind in missing.items()}
        for some, missing in zip(rows, (projection.place(group[0][0]).missing for group in groups), strict=True)
    ]
    reads = [
        columns.read_rows(range(len(held.columns)), rows[place])
        for columns, (place, held) in zip(opened, asked, strict=True)
    ]
    for (place, held), arrays in zip(asked, (yield from reading(together(reads))), strict=True):
        found[place].update(zip(held.field_ids, arrays, strict=True))
    return found


def _rows_of(group: Sequence[tuple[Fragment, Int64s]]) -> Int64s:
    """The rows of a group, counted over all rows of its fragments."""
    ends = np.cumsum([fragment.rows for fragment, _ in group]).tolist()
    return np.concatenate([rows + (end - fragment.rows) for (fragment, rows), end in zip(group, ends, strict=True)])


def reading(read: Asking[T]) -> Reads[T]:
    """A read of ranges of several files as one of conversations with them."""
    try:
        asked = next(read)
        while True:
            asked = read.send((yield [(key, bytes_at(ranges)) for key, ranges in asked]))
    except StopIteration as stop:
        return stop.value


def bytes_at(ranges: Ranges) -> Conversation[Bytes]:
    """Ranges of a file, end to end."""
    (data,) = yield [ranges]
    return data


__all__ = ["MOST_OF_ONE", "Widths", "bytes_at", "can_join", "groups_of", "reading", "reading_groups"]
