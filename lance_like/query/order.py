"""Run a scan whose rows come in the order of some columns.

1. The columns to order by are scanned, with the address of each row; nothing else is read.
2. With a limit, only the rows that may be among the first are kept; the fragments whose bounds promise most come first,
   and what cannot beat the rows at hand is pruned as by a filter.
3. The other columns are read for the rows that are left, in order, some MiB at a time.

Memory: the keys of the rows (with a limit: of a few times as many), and one batch. The order is DuckDB's: NaN is above
every number; rows that are equal keep the order of the scan.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lance_like._lazy import cached
from lance_like.errors import InvalidInput
from lance_like.file.carry import carried_type, carry, one_batch, taken_rows
from lance_like.file.stats import bounds_array
from lance_like.query.answer import MADE, NOTHING, Answer, Columns, answer_of
from lance_like.query.expr import Compare, Expr, IsNull, all_of, any_of
from lance_like.query.literals import comparable, comparison_type
from lance_like.query.names import sql_path
from lance_like.query.projection import ROW_ADDRESS
from lance_like.query.scan import BATCH_ROWS, Scan, hits_of, run_scan
from lance_like.query.session import Session
from lance_like.query.take import Placed, take_placed
from lance_like.table.fields import Field
from lance_like.table.fragment import Fragment
from lance_like.table.manifest import Manifest
from lance_like.table.rowids import OFFSET_BITS
from lance_like.table.schema import Schema
from lance_like.typing_ import Int64s

# Rows of keys at which those that cannot win are dropped.
_KEPT_ROWS = 1 << 16
# Rows taken to see how wide they are, and bytes of what is taken together.
_FIRST_ROWS = 64
_TAKE_NBYTES = 32 << 20
# All rows are read, and picked from in memory, if more than a part of them is wanted and they are as small as that.
_DENSE = 1 / 8
_WHOLE_NBYTES = 128 << 20
_OFFSETS = (1 << OFFSET_BITS) - 1


@dataclass(frozen=True)
class ColumnOrdering:
    """One column to order by: its name or dotted path."""

    column_name: str
    ascending: bool = True
    nulls_first: bool = False


@dataclass(frozen=True)
class Order:
    """What rows are ordered by, the most important first.

    keys: the columns, read with `_rowaddr` behind them. fields: what each is, None for one that no file holds.
    """

    orderings: tuple[ColumnOrdering, ...]
    keys: Answer
    fields: tuple[Field | None, ...]

    @cached
    def types(self) -> list[pa.DataType]:
        """The types in which the keys are compared. Raises InvalidInput for one that has no order."""
        names = [ordering.column_name for ordering in self.orderings]
        return [_sort_type(name, self.keys.schema.field(name).type) for name in names]


def order_of(
    manifest: Manifest,
    table: Schema,
    order_by: Sequence[ColumnOrdering | str],
    columns: Columns | None = None,
    given: pa.Schema = NOTHING,
) -> Order:
    """Read what to order by. A name alone: ascending, nulls last.

    table: the manifest's schema, as it is read. columns: of the answer; those that are computed may be named, where
    the table has none of the name. given: as in `answer_of`. Raises InvalidInput, NotFound.
    """
    is_list = isinstance(order_by, Iterable) and not isinstance(order_by, str | Mapping)
    listed = tuple(order_by) if is_list else ()
    if not listed or not all(isinstance(one, ColumnOrdering | str) for one in listed):
        raise InvalidInput(f"order_by={order_by!r:.80}: expected a list of names and of ColumnOrdering")
    orderings = tuple(ColumnOrdering(one) if isinstance(one, str) else one for one in listed)
    names = dict.fromkeys(ordering.column_name for ordering in orderings)
    computed = columns if isinstance(columns, Mapping) else {}
    own = {name: computed[name] for name in names if name in computed and table.child(name) is None}
    wanted: Columns = list(names)
    if own:
        made = {*own, *MADE, *given.names}
        stored = {name: table.path(table.find(name).id) for name in names if name not in made}
        wanted = {name: sql_path(stored.get(name, (name,))) for name in names} | own
    keys = answer_of(manifest, table, wanted, with_row_address=True, given=given)
    known = {output.name: output.field for output in keys.read.outputs}
    order = Order(orderings, keys, tuple(known.get(ordering.column_name) for ordering in orderings))
    _ = order.types
    return order


def sorted_rows(order: Order, keys: pa.RecordBatch) -> Int64s:
    """The rows of a batch of keys in order; those that are equal stay as they come."""
    return _sort_indices(pa.Table.from_batches([_comparable(order, keys)]), order.orderings, None)


def _comparable(order: Order, keys: pa.RecordBatch) -> pa.RecordBatch:
    """Keys in the types in which they are compared, numbered, and the addresses of their rows."""
    arrays = [
        comparable(carry(keys.column(ordering.column_name)), kind)
        for ordering, kind in zip(order.orderings, order.types, strict=True)
    ]
    names = [*map(str, range(len(arrays))), ROW_ADDRESS]
    return pa.RecordBatch.from_arrays([*arrays, keys.column(ROW_ADDRESS).view(pa.int64())], names=names)


def run_ordered(
    session: Session, manifest: Manifest, scan: Scan, order: Order
) -> Generator[pa.RecordBatch, None, None]:
    """The rows that pass, in order, after `offset` of them and at most `limit`."""
    if scan.limit == 0:
        return
    fragments = tuple(manifest.tree.iterate() if scan.fragments is None else scan.fragments)
    most = None if scan.limit is None else scan.offset + scan.limit
    best = _Best(session, manifest, scan, order, fragments, most)
    addresses = best.addresses()[scan.offset :]
    yield from _Rows(session, manifest, scan, fragments).batches(addresses)


@dataclass
class _Best:
    """The keys of the rows that may be wanted. most: how many are; None: all."""

    session: Session
    manifest: Manifest
    scan: Scan
    order: Order
    fragments: tuple[Fragment, ...]
    most: int | None
    _held: list[pa.RecordBatch] = field(default_factory=list, init=False)
    _rows: int = field(default=0, init=False)
    _worst: pa.Scalar | None = field(default=None, init=False)

    def addresses(self) -> Int64s:
        """The addresses of the rows that are wanted, in order."""
        keys = replace(self.scan, projection=self.order.keys.read, make=self.order.keys.make, limit=None, offset=0)
        hits = hits_of(self.session, self.manifest, self.scan)
        keys = replace(keys, batch_rows=None, hits=hits, indexed=False)
        # What an index found is little: it is read at once, and not asked for again.
        for group in self._groups() if hits is None else (self.fragments,):
            condition = self._condition()
            for batch in run_scan(self.session, self.manifest, replace(keys, fragments=group, condition=condition)):
                self._add(batch)
            if self.most is not None and self._rows >= self.most:
                self._drop()
        table, order = self._sorted()
        return table[ROW_ADDRESS].to_numpy()[order]

    def _groups(self) -> Iterator[Sequence[Fragment]]:
        """The fragments to scan together: with a limit, those with the first bounds alone, then ever more."""
        if self.most is None:
            yield self.fragments
            return
        ordered = [self.fragments[place] for place in _by_bounds(self.order, self.fragments)]
        start, count = 0, 1
        while start < len(ordered):
            group = ordered[start : start + count]
            # In the order of the scan, in which small ones stand side by side.
            yield sorted(group, key=lambda fragment: self._ranks[fragment.id])
            start, count = start + count, 4 * count

    @cached
    def _ranks(self) -> dict[int, int]:
        return {fragment.id: rank for rank, fragment in enumerate(self.fragments)}

    def _condition(self) -> Expr | None:
        """The condition of the scan, and that a row is not after all that are wanted by the first key alone."""
        condition, field = self.scan.condition, self.order.fields[0]
        if self._worst is None or field is None or comparison_type(self._worst.type) is None:
            return condition
        first = self.order.orderings[0]
        path = self.scan.projection.table.path(field.id)
        # The value has the type in which columns are compared: the condition is bound as it is.
        better: Expr = Compare("<=" if first.ascending else ">=", path, self._worst)
        if first.nulls_first:
            better = any_of([better, IsNull(path)])
        return better if condition is None else all_of([better, condition])

    def _add(self, batch: pa.RecordBatch) -> None:
        keys = _comparable(self.order, batch)
        if self._worst is not None:
            compare = pc.greater if self.order.orderings[0].ascending else pc.less
            # Unknown for nulls, false for NaN: those are judged by the sort.
            after = pc.fill_null(compare(keys.column(0), self._worst), False)
            keys = keys.filter(pc.invert(after))
        self._held.append(keys)
        self._rows += len(keys)
        if self.most is not None and self._rows >= max(4 * self.most, _KEPT_ROWS):
            self._drop()

    def _drop(self) -> None:
        """Keep only the rows that are wanted so far."""
        table, order = self._sorted()
        table = table.take(pa.array(order))
        self._held, self._rows = table.to_batches(), len(table)
        worst = table[0][-1] if len(table) else None
        self._worst = worst if worst is not None and worst.is_valid else None

    def _sorted(self) -> tuple[pa.Table, Int64s]:
        """Keys at hand, and their order; no more than are wanted."""
        names = [*map(str, range(len(self.order.types))), ROW_ADDRESS]
        schema = pa.schema(zip(names, [*self.order.types, pa.int64()], strict=True))
        table = pa.Table.from_batches(self._held, schema).combine_chunks()
        if self.most is None:
            return table, _sort_indices(table, self.order.orderings, None)
        table = _not_after(table, self.order.orderings[0], self.most)
        places = self._places(table[ROW_ADDRESS].to_numpy())
        return table, _sort_indices(table, self.order.orderings, places)[: self.most]

    def _places(self, addresses: Int64s) -> Int64s:
        """Numbers that are in the order of the scan."""
        ranks = np.array([rank for _, rank in sorted(self._ranks.items())], np.int64)
        ids = np.array(sorted(self._ranks), np.int64)
        return (ranks[ids.searchsorted(addresses >> OFFSET_BITS)] << OFFSET_BITS) | (addresses & _OFFSETS)


def _not_after(table: pa.Table, first: ColumnOrdering, most: int) -> pa.Table:
    """The rows that the first column alone does not put after so many others, or a few more. Cost: O(rows), no sort."""
    column = table[0]
    valid = len(column) - column.null_count
    nan = pa.types.is_floating(column.type) and pc.any(pc.is_nan(column)).as_py()
    if not 0 < most < valid or nan or (first.nulls_first and column.null_count) or column.num_chunks != 1:
        return table
    values = column.chunk(0)
    at = most - 1 if first.ascending else valid - most
    last = values[pc.partition_nth_indices(values, pivot=at)[at].as_py()]
    kept = (pc.less_equal if first.ascending else pc.greater_equal)(values, last)
    return table.filter(kept)


def _sort_type(name: str, kind: pa.DataType) -> pa.DataType:
    carried = carried_type(kind)
    if isinstance(carried, pa.BaseExtensionType):
        carried = carried.storage_type
    found = comparison_type(carried)
    if found is None and pa.types.is_date64(carried):
        found = carried
    if found is None or (pa.types.is_decimal(found) and found.scale < 0):
        raise InvalidInput(f"order_by: {name!r} is of type {kind}, which has no order", hint="name a column inside it")
    return found


def _sort_indices(table: pa.Table, orderings: Sequence[ColumnOrdering], places: Int64s | None) -> Int64s:
    """The rows of a table in order, by its first columns. places: the order of rows that are equal; None: as it is."""
    columns: list[tuple[pa.ChunkedArray, bool]] = []
    for column, ordering in zip(table.columns, orderings, strict=False):
        if column.null_count:
            columns.append((column.is_null(), not ordering.nulls_first))
        if pa.types.is_floating(column.type):
            nan = pc.fill_null(pc.is_nan(column), False)
            if pc.any(nan).as_py():
                columns.append((nan, ordering.ascending))
        columns.append((column, ordering.ascending))
    if places is not None:
        columns.append((pa.chunked_array([places]), True))
    names = [str(i) for i in range(len(columns))]
    keys = [(name, "ascending" if up else "descending") for name, (_, up) in zip(names, columns, strict=True)]
    order = pc.sort_indices(pa.table([column for column, _ in columns], names), sort_keys=keys)
    return order.to_numpy().astype(np.int64)


def _by_bounds(order: Order, fragments: Sequence[Fragment]) -> list[int]:
    """The places of fragments, those first whose bounds of the first key come first."""
    field, first = order.fields[0], order.orderings[0]
    if field is None:
        return list(range(len(fragments)))
    entries = [dict(place[0].stats).get(field.id) if (place := one.locate(field.id)) else None for one in fragments]
    values = [None if entry is None else entry.min if first.ascending else entry.max for entry in entries]
    bounds = comparable(carry(bounds_array(field.type, values)), order.types[0])
    return _sort_indices(pa.table([bounds], ["0"]), [ColumnOrdering("0", first.ascending)], None).tolist()


@dataclass
class _Rows:
    """The rows of some fragments, by their addresses."""

    session: Session
    manifest: Manifest
    scan: Scan
    fragments: tuple[Fragment, ...]

    def batches(self, addresses: Int64s) -> Iterator[pa.RecordBatch]:
        """Batches of rows in the order of their addresses."""
        projection, make = self.scan.projection, self.scan.make
        batch_rows = min(self.scan.batch_rows or BATCH_ROWS, projection.most_rows or BATCH_ROWS)
        read, start, count = self._taken, 0, _FIRST_ROWS
        while start < len(addresses):
            found = read(addresses[start : start + count])
            for batch in found.to_batches(max_chunksize=batch_rows):
                yield batch if make is None else make(batch)
            start += count
            width = max(1, found.nbytes // len(found))
            # Whole batches, when they are as small as that.
            count = max(1, _TAKE_NBYTES // width)
            count = max(batch_rows, count - count % batch_rows) if count > batch_rows else count
            left, rows = len(addresses) - start, int(self._live_starts[-1])
            small = rows * width <= _WHOLE_NBYTES and projection.most_rows is None and projection.outputs
            if small and left > rows * _DENSE and self._all is not None:
                read = self._of_all

    def _taken(self, addresses: Int64s) -> pa.Table:
        placed = Placed(self.fragments, self._indices(addresses), addresses & _OFFSETS)
        return take_placed(self.session, self.scan.projection, placed)

    def _of_all(self, addresses: Int64s) -> pa.Table:
        """The same, of all rows in memory."""
        assert self._all is not None
        index, offsets = self._indices(addresses), addresses & _OFFSETS
        for place, fragment in enumerate(self.fragments):
            if fragment.deletions is not None:
                here = index == place
                offsets[here] = fragment.live_before(offsets[here])
        return pa.Table.from_batches([taken_rows(self._all, self._live_starts[index] + offsets)])

    def _indices(self, addresses: Int64s) -> Int64s:
        """Which of the fragments each address is in."""
        ids = np.array([fragment.id for fragment in self.fragments], np.int64)
        order = np.argsort(ids)
        return order[ids[order].searchsorted(addresses >> OFFSET_BITS)]

    @cached
    def _all(self) -> pa.RecordBatch | None:
        """All rows; None where one array of a type cannot hold them."""
        scan = replace(self.scan, condition=None, make=None, limit=None, offset=0, fragments=self.fragments)
        table = pa.Table.from_batches(run_scan(self.session, self.manifest, scan), scan.projection.schema)
        try:
            return one_batch(table)
        except InvalidInput as error:
            if error.kind != "too-large":
                raise
            return None

    @cached
    def _live_starts(self) -> Int64s:
        return np.cumsum([0, *(fragment.live_rows for fragment in self.fragments)])


__all__ = ["ColumnOrdering", "Order", "order_of", "run_ordered", "sorted_rows"]
