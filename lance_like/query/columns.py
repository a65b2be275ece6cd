"""The columns of a fragment that a scan reads, opened, and what to expect of their rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from lance_like.encodings.physical import flat_width
from lance_like.encodings.places import DESCRIPTION
from lance_like.file.cut import PAGE_NBYTES
from lance_like.file.pages import ColumnPages
from lance_like.query.conjuncts import ColumnTest
from lance_like.query.projection import place_leaves
from lance_like.query.session import Session
from lance_like.table.fragment import Fragment

_DESCRIPTION_NBYTES = 16
# Of a page of cells by estimate: at least so many a row, and so many for a byte that is compressed.
_LEAST_NBYTES, _COMPRESSED = 16, 4
# A byte that is decompressed takes as long as 16 of numbers; windows of so much less would hold too few rows.
_DECOMPRESSED = 4
# Below this share of a window the rows that passed are taken one by one instead of reading their pages.
TAKE_BELOW = 1 / 16
# The same of cells of few bytes: of more rows, hardly a block of 4 KiB has none.
_NARROW_NBYTES, _TAKE_NARROW_BELOW = 64, 1 / 64
# And where those are picked out of their pages, at some nanoseconds each.
_TAKE_PICKED_BELOW = 1 / 256


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a fragment in its file."""

    path: str
    kind: pa.DataType
    pages: ColumnPages

    @property
    def row_nbytes(self) -> float:
        """The bytes of a row in memory, estimated: pages of variable width have PAGE_NBYTES, but for large cells."""
        width = _DESCRIPTION_NBYTES if self.kind is DESCRIPTION else flat_width(self.kind)
        if width is not None:
            return width
        pages = len(self.pages.fences) - 1
        rows = max(1, int(self.pages.fences[-1]))
        stored = self.pages.stored_nbytes
        if pages > 1:
            return max(PAGE_NBYTES * pages, stored) / rows
        compressed = self.is_decompressed or self.pages.share_of("symbols") > 1 / 2
        return max(_LEAST_NBYTES, stored * (_COMPRESSED if compressed else 1) / rows)

    @property
    def is_decompressed(self) -> bool:
        """Whether its cells are decompressed, which takes many times as long as to unpack numbers or codes."""
        return self.pages.share_of("zstd") > 1 / 2

    @property
    def row_work(self) -> float:
        """As `row_nbytes`, those that are decompressed counted for as many as are unpacked meanwhile, nearly."""
        return self.row_nbytes * (_DECOMPRESSED if self.is_decompressed else 1)

    def is_compared(self, asked: ColumnTest) -> bool:
        """Whether a test looks at nothing but stored numbers, or codes."""
        coded = self.row_nbytes <= _NARROW_NBYTES and self.pages.share_of("dictionary") > 1 / 2
        return coded or asked.test.between is not None

    @property
    def is_numbers(self) -> bool:
        """Whether it is known that it has no pages but of numbers, or codes."""
        coded = not self.pages.unopened and self.pages.share_of("dictionary") == 1
        return coded or flat_width(self.kind) is not None

    @property
    def is_picked(self) -> bool:
        """Whether few rows of a page are read without decoding the others, or those are no more than numbers."""
        if self.row_nbytes > _NARROW_NBYTES:
            return False
        return flat_width(self.kind) is not None or any(
            self.pages.share_of(encoding) > 1 / 2 for encoding in ("dictionary", "alphabet", "symbols")
        )

    @property
    def take_below(self) -> float:
        """The share of rows below which they are taken one by one."""
        if self.row_nbytes > _NARROW_NBYTES:
            return TAKE_BELOW
        return _TAKE_PICKED_BELOW if self.is_picked else _TAKE_NARROW_BELOW

    @property
    def stored_row_nbytes(self) -> float:
        """The bytes of a row in its file."""
        return self.pages.stored_nbytes / max(1, int(self.pages.fences[-1]))


def open_columns(
    session: Session, fragments: Sequence[Fragment], leaves: dict[int, pa.DataType]
) -> list[dict[int, Column]]:
    """Open the columns that files of fragments hold, by field. Cost: 1 round for files, 2 for columns, if new."""
    held = [(fragment, place_leaves(leaves, [file.fields for file in fragment.files]).files) for fragment in fragments]
    opened = iter(
        session.columns(
            [(fragment.files[own.file], own.columns, own.kinds) for fragment, files in held for own in files]
        )
    )
    return [
        {
            field_id: Column(fragment.files[own.file].key, kind, pages)
            for own in files
            for field_id, kind, pages in zip(own.field_ids, own.kinds, next(opened), strict=True)
        }
        for fragment, files in held
    ]


__all__ = ["TAKE_BELOW", "Column", "open_columns"]
