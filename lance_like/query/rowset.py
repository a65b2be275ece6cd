"""The rows among which is searched: those that pass a filter, by their stable ids."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from pyroaring import BitMap

from lance_like._lazy import cached
from lance_like.query.expr import Expr, nbytes_of, opaques
from lance_like.query.hits import Rows
from lance_like.query.projection import ROW_ID, Output, Projection
from lance_like.query.scan import Scan, hits_of, run_scan
from lance_like.query.session import Session
from lance_like.table.fragment import Fragment
from lance_like.table.manifest import Manifest
from lance_like.table.rowids import ids_at
from lance_like.typing_ import Int64s

if TYPE_CHECKING:
    from lance_like.index.cache import Identity
    from lance_like.index.coverage import OpenSegment


# Of a set of rows that is kept: at least, and more for each row (its id, its ordinals).
_KEPT_NBYTES, _ROW_NBYTES = 2_000, 16


class RowSet:
    """Live rows: by their ids, int64[n], ascending, each once; or as an index found them."""

    def __init__(self, found: Int64s | Rows) -> None:
        self._found = found
        self._ordinals: dict[Identity, BitMap] = {}

    def __len__(self) -> int:
        return len(self._found)

    @cached
    def ids(self) -> Int64s:
        """int64[n], ascending, each once."""
        found = self._found.ids if isinstance(self._found, Rows) else self._found
        return found if (found[1:] > found[:-1]).all() else np.sort(found)

    def in_segment(self, segment: OpenSegment) -> BitMap:
        """The ordinals of those that a segment of this version holds validly; made once, the same object again."""
        known = self._ordinals.get(segment.segment.identity)
        if known is None:
            known = self._ordinals[segment.segment.identity] = self._in_segment(segment)
        return known

    def _in_segment(self, segment: OpenSegment) -> BitMap:
        found = self._found.ordinals_of(segment.segment.row_ids) if isinstance(self._found, Rows) else None
        if found is None:
            ordinals = segment.ordinals(self.ids)
            found = BitMap(array("I", ordinals[ordinals >= 0].astype(np.uint32).tobytes()))
        return found if segment.valid is None else found & segment.valid

    def among(self, fragment: Fragment, offsets: Int64s) -> Int64s:
        """Those of some rows of a fragment that are in the set."""
        if len(self.ids) == 0:
            return offsets[:0]
        ids = ids_at(fragment, offsets)
        place = np.minimum(self.ids.searchsorted(ids), len(self.ids) - 1)
        return offsets[self.ids[place] == ids]


def rows_passing(session: Session, manifest: Manifest, scan: Scan) -> RowSet:
    """The live rows that a scan of row ids gives.

    Cost: a scan of the columns of the condition; less where an index answers it. Rows of a condition that says the same
    each time are kept for the next search of this version.
    """
    if scan.fragments is not None:
        return _scanned(session, manifest, scan)
    passing, key = session.of(manifest).passing, (id(scan.condition), scan.indexed)
    known = passing.get(key)
    if known is not None:
        return known[0]
    hits = hits_of(session, manifest, scan, counting=True)
    answer = hits.rows if hits is not None and hits.count is not None else None
    found = _scanned(session, manifest, replace(scan, hits=hits)) if answer is None else RowSet(answer)
    if answer is not None or (scan.condition is not None and not any(opaques(scan.condition))):
        # The condition stays alive beside it, so that its id is its own.
        asked = 0 if scan.condition is None else nbytes_of(scan.condition)
        passing.put(key, (found, scan.condition), _KEPT_NBYTES + _ROW_NBYTES * len(found) + asked)
    return found


def _scanned(session: Session, manifest: Manifest, scan: Scan) -> RowSet:
    found = [batch.column(0).to_numpy().view(np.int64) for batch in run_scan(session, manifest, scan)]
    return RowSet(np.concatenate(found) if found else np.empty(0, np.int64))


def scan_of_ids(manifest: Manifest, condition: Expr | None, within: Sequence[Fragment] | None, **tuned: Any) -> Scan:
    """A scan of the ids of the rows that pass a condition. within: only of these fragments. tuned: as of `Scan`."""
    return Scan(Projection(manifest.schema, (Output(ROW_ID, None),)), condition, fragments=within, **tuned)


__all__ = ["RowSet", "rows_passing", "scan_of_ids"]
