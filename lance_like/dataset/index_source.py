"""The values that a segment of an index is built from: of rows of a version, in the order of their row ids.

Rows mostly stand in that order in the fragments, which are then scanned; those that do not, since they were written
anew elsewhere, are taken, some thousands at a time. Memory: what a scan takes, or 8 MiB by estimate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from lance_like._lazy import cached
from lance_like.encodings.joining import joined
from lance_like.errors import InvalidInput
from lance_like.query.evaluate import compute_columns, parse_expressions
from lance_like.query.projection import Projection, project
from lance_like.query.scan import Scan, run_scan
from lance_like.query.session import Session
from lance_like.query.take import Placed, take_placed
from lance_like.table.fragment import Fragment
from lance_like.table.indices import IndexEntry, JsonPath
from lance_like.table.manifest import Manifest
from lance_like.table.rowids import RowIdMap
from lance_like.table.schema import join_path
from lance_like.typing_ import Int64s

_STEP_NBYTES = 8 << 20
_FIRST_STEP, _LONGEST_STEP = 4_096, 1 << 17
_GETTERS = {"string": "json_get_string", "int64": "json_get_int", "double": "json_get_float", "bool": "json_get_bool"}

Compute = Callable[[pa.Array], pa.Array]


@dataclass(frozen=True)
class ColumnSource:
    """A column of some rows. placed: where they are, by row id, in the fragments of the manifest.

    compute: what becomes of the values; None: they are those of the column.
    """

    session: Session
    manifest: Manifest
    projection: Projection
    placed: RowIdMap
    type: pa.DataType
    compute: Compute | None = None

    @cached
    def _firsts(self) -> Int64s:
        """The ordinal of the first row of each range, and how many rows there are."""
        return np.concatenate(([0], np.cumsum(self.placed.ends - self.placed.starts)))

    @property
    def rows(self) -> int:
        """How many."""
        return int(self._firsts[-1])

    def batches(self) -> Iterator[pa.Array]:
        """The values, some at a time."""
        for first, last, fragments in self._stretches():
            arrays = self._scanned(fragments) if fragments else self._taken(self._firsts[first], self._firsts[last])
            for array in arrays:
                if len(array):
                    yield array

    def take(self, ordinals: Int64s) -> pa.Array:
        """The values of some rows, in the order asked."""
        rows = self.placed
        place = self._firsts.searchsorted(ordinals, "right") - 1
        offsets = rows.offsets[place] + ordinals - self._firsts[place]
        placed = Placed(self.manifest.fragments, rows.fragments[place], offsets)
        table = take_placed(self.session, self.projection, placed)
        return self._made(joined(table.column(0).chunks) if len(ordinals) else pa.nulls(0, table.schema[0].type))

    def _stretches(self) -> Iterator[tuple[int, int, Sequence[Fragment]]]:
        """The ranges in stretches, each half-open with the fragments that are all of it; () where it must be taken."""
        if len(self.placed.starts) == 0:
            return
        cuts = self._visits
        fragments = self.manifest.fragments
        visited = self.placed.fragments[cuts[:-1]]
        live_rows = np.array([fragment.live_rows for fragment in fragments], np.int64)
        whole = np.diff(self._firsts[cuts]) == live_rows[visited]
        bounds = [0, *(np.flatnonzero(np.diff(whole)) + 1).tolist(), len(visited)]
        for start, end in pairwise(bounds):
            scanned = [fragments[i] for i in visited[start:end].tolist()] if whole[start] else ()
            yield int(cuts[start]), int(cuts[end]), scanned

    @property
    def _visits(self) -> Int64s:
        """int64[n + 1]: where ranges begin that do not go on in the fragment of the one before; all at the end."""
        rows = self.placed
        ends = rows.offsets + rows.ends - rows.starts
        goes_on = (rows.fragments[1:] == rows.fragments[:-1]) & (rows.offsets[1:] >= ends[:-1])
        return np.concatenate(([0], np.flatnonzero(~goes_on) + 1, [len(rows.starts)]))

    def _scanned(self, fragments: Sequence[Fragment]) -> Iterator[pa.Array]:
        with closing(run_scan(self.session, self.manifest, Scan(self.projection, fragments=fragments))) as batches:
            for batch in batches:
                yield self._made(batch.column(0))

    def _taken(self, start: int, end: int) -> Iterator[pa.Array]:
        step, longest = _FIRST_STEP, _LONGEST_STEP
        while start < end:
            stop = min(end, start + step)
            try:
                array = self.take(np.arange(start, stop))
            except InvalidInput as error:
                # More values than one dictionary of the type can number.
                if error.kind != "too-large" or stop - start == 1:
                    raise
                step = longest = (stop - start) // 2
                continue
            yield array
            step = min(longest, max(1, _STEP_NBYTES * len(array) // max(1, array.nbytes)))
            start = stop

    def _made(self, array: pa.Array) -> pa.Array:
        return array if self.compute is None else self.compute(array)


def source_of(session: Session, manifest: Manifest, entry: IndexEntry, placed: RowIdMap) -> ColumnSource:
    """The indexed values of some rows of a version. Raises NotFound when the field has gone."""
    schema = manifest.schema
    projection = project(schema, [join_path(schema.path(entry.field_ids[0]))])
    compute = None if entry.json is None else json_values(entry.json)
    return ColumnSource(session, manifest, projection, placed, entry.value_type(schema), compute)


def json_values(path: JsonPath) -> Compute:
    """From JSON texts to the values at a path, as `json_get_int` and the like have them."""
    quoted = path.path.replace("'", "''")
    expression = parse_expressions({"value": f"{_GETTERS[path.type]}(document, '{quoted}')"})

    def compute(documents: pa.Array) -> pa.Array:
        made = compute_columns(expression, pa.RecordBatch.from_arrays([documents], names=["document"]))
        return made.column(0).cast(path.value_type)

    return compute


def json_type(documents: pa.Array, path: str) -> str:
    """The type that the values at a path of JSON texts all have: a name of `VALUE_TYPES`."""
    quoted = path.replace("'", "''")
    expression = parse_expressions({"kind": f"json_type(json_get(document, '{quoted}'))"})
    kinds = compute_columns(expression, pa.RecordBatch.from_arrays([documents], names=["document"])).column(0)
    found = set(kinds.unique().to_pylist()) - {None, "NULL"}
    if found and found <= {"BIGINT", "UBIGINT"}:
        return "int64"
    if found and found <= {"BIGINT", "UBIGINT", "DOUBLE"}:
        return "double"
    return "bool" if found == {"BOOLEAN"} else "string"


__all__ = ["ColumnSource", "json_type", "json_values", "source_of"]
