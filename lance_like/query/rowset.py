"""The rows among which is searched: those that pass a filter, by their stable ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pyroaring import BitMap

from lance_like.query.expr import Expr
from lance_like.query.projection import ROW_ID, Output, Projection
from lance_like.query.scan import Scan, run_scan
from lance_like.query.session import Session
from lance_like.table.fragment import Fragment
from lance_like.table.manifest import Manifest
from lance_like.table.rowids import ids_at
from lance_like.typing_ import Int64s

if TYPE_CHECKING:
    from lance_like.index.coverage import OpenSegment


@dataclass(frozen=True, eq=False)
class RowSet:
    """Live rows. ids: int64[n], ascending, each once."""

    ids: Int64s

    def __len__(self) -> int:
        return len(self.ids)

    def in_segment(self, segment: OpenSegment) -> BitMap:
        """The ordinals of those that a segment holds validly."""
        ordinals = segment.ordinals(self.ids)
        found = BitMap(ordinals[ordinals >= 0].astype(np.uint32))
        return found if segment.valid is None else found & segment.valid

    def among(self, fragment: Fragment, offsets: Int64s) -> Int64s:
        """Those of some rows of a fragment that are in the set."""
        if len(self.ids) == 0:
            return offsets[:0]
        ids = ids_at(fragment, offsets)
        place = np.minimum(self.ids.searchsorted(ids), len(self.ids) - 1)
        return offsets[self.ids[place] == ids]


def rows_passing(
    session: Session,
    manifest: Manifest,
    condition: Expr | None,
    within: Sequence[Fragment] | None,
    *,
    threads: int | None = None,
) -> RowSet:
    """The live rows that pass a condition. within: of these fragments; None: of all.

    Cost: a scan of the columns of the condition, or less where an index answers it.
    """
    projection = Projection(manifest.schema, (Output(ROW_ID, None),))
    scan = Scan(projection, condition, fragments=within, threads=threads)
    found = [batch.column(0).to_numpy().view(np.int64) for batch in run_scan(session, manifest, scan)]
    ids = np.concatenate(found) if found else np.empty(0, np.int64)
    return RowSet(ids if (ids[1:] > ids[:-1]).all() else np.sort(ids))


__all__ = ["RowSet", "rows_passing"]
