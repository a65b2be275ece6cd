"""A version as DuckDB reads it: types that it knows (query/nearest.py), repeated texts as codes, batches of its size.

Text and bytes whose first pages hold distinct values and codes are handed over as dictionary<int32, …>, which DuckDB
shows as the plain type.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from lance_like._lazy import cached
from lance_like.dataset.scan_options import BlobHandling
from lance_like.dataset.scanner import Filter, as_read, bind_filter
from lance_like.encodings.recast import CODED, short_decimal
from lance_like.errors import InvalidInput, NotFound
from lance_like.file.carry import nulls
from lance_like.file.pages import open_pages
from lance_like.kept import Kept
from lance_like.query.engine_source import HAS_SOURCES, SourceBase, condition_of
from lance_like.query.expr import Expr, all_of, paths
from lance_like.query.nearest import as_nearest
from lance_like.query.projection import Output, Projection
from lance_like.query.scan import Scan, hits_of, rows_in_doubt, run_scan
from lance_like.query.session import Session
from lance_like.table.fields import Field
from lance_like.table.fragment import Fragment
from lance_like.table.manifest import Manifest
from lance_like.table.schema import Schema

# DuckDB works on 2,048 rows at a time, and needs batches of 64 Ki rows or more to be as fast as on a table in memory.
_BATCH_ROWS = 1 << 17
# What a window costs beside its rows showed at 8 MiB: queries took a quarter longer.
_WINDOW_NBYTES = 32 << 20
# Made ahead: memory that is used again (encodings/pool.py) should be enough for what is under way.
_AHEAD_NBYTES = 32 << 20
# Columns of text whose pages are looked at when DuckDB asks for the schema.
_MOST_LOOKED_AT = 256
# A file of fewer rows gives no dictionary that pays.
_FEWEST_ROWS = 1 << 13
# From so many bytes a row on, rows that fail a condition are better not read: DuckDB would be handed all of them.
_WIDE_ROW_NBYTES = 256
# A table of fewer bytes is read at once.
_SMALL_NBYTES = 4 << 20
# A condition is worth taking over that statistics leave open for no more of the table.
_IN_DOUBT = 0.5
# Fragments whose zones are asked, spread over the table.
_FRAGMENTS_ASKED = 8
_CONDITIONS_KEPT, _PROJECTIONS_KEPT = 64, 64


@dataclass(frozen=True)
class EngineTable:
    """One version, prepared for DuckDB.

    virtual: columns of row numbers (`projection.VIRTUAL`) behind the others. blobs: as blob_handling of `scanner`.
    batch_rows: of a batch, about.
    """

    session: Session
    manifest: Manifest
    virtual: tuple[str, ...] = ()
    blobs: BlobHandling | None = None
    batch_rows: int = _BATCH_ROWS

    @cached
    def _taken_over(self) -> dict[str, bool]:
        """Which conditions were taken over; DuckDB asks several times."""
        return {}

    @cached
    def schema(self) -> pa.Schema:
        """The types that DuckDB is told. Cost: the first time, 2 rounds for the pages of columns of text."""
        return self.schema_of(None)

    def schema_of(self, columns: Sequence[int] | None) -> pa.Schema:
        """The types of some columns, by their positions; None: of all."""
        return self._projection(columns).schema_shown

    @cached
    def _table(self) -> Schema:
        return as_read(self.manifest.schema, self.blobs)

    @cached
    def _fragments(self) -> list[Fragment]:
        return list(self.manifest.tree.iterate())

    @cached
    def _outputs(self) -> list[Output]:
        stored = [Output(field.name, self._read_as(field)) for field in self._table.children()]
        return [*stored, *(Output(name, None) for name in self.virtual)]

    @cached
    def _coded(self) -> frozenset[int]:
        """The columns of text that the first fragment holds in dictionary pages."""
        fragment = next(iter(self.manifest.tree.iterate()), None)
        fields = [field for field in self._table.children() if field.type.id in CODED][:_MOST_LOOKED_AT]
        if not HAS_SOURCES or fragment is None or fragment.rows < _FEWEST_ROWS:
            return frozenset()
        return _coded_of(self.session, fragment, fields)

    @cached
    def _projections(self) -> Kept[_Shown]:
        """What was made for reads of some columns, by their positions: queries come again."""
        return Kept(_PROJECTIONS_KEPT)

    def _projection(self, columns: Sequence[int] | None) -> _Shown:
        key = None if columns is None else tuple(columns)
        found = self._projections.get(key)
        if found is None:
            outputs = self._outputs if columns is None else [self._outputs[i] for i in columns]
            found = _Shown(Projection(self._table, tuple(outputs)))
            self._projections.put(key, found)
        return found

    def _read_as(self, field: Field) -> Field:
        """A column as DuckDB takes it best: it has decimals of up to 18 digits in 64 bits, as they are stored."""
        kind = CODED[field.type.id] if field.id in self._coded else short_decimal(field.type) if HAS_SOURCES else None
        return field if kind is None else field._replace(type=kind)

    def condition(self, node: Any) -> Expr | None:
        """What a node of DuckDB's predicate tree says of the columns as they are stored; None: DuckDB must judge it."""
        condition = condition_of(node)
        if condition is None or any(self._is_changed(path[0]) for path in paths(condition)):
            return None
        try:
            return self.bound(condition)
        except (InvalidInput, NotFound):
            return None

    def bound(self, filter: Filter) -> Expr | None:
        """A filter bound to the columns as they are stored. Raises as `bind_filter`."""
        return bind_filter(self._table, filter)

    def _is_changed(self, name: str) -> bool:
        """Whether values of a column are others for DuckDB than here."""
        found = self._table.child(name)
        if found is None:
            return False
        kind = self._table.arrow_field(found.id).type
        return _shown_type(kind) != kind

    def takes_over(self, node: Any) -> bool:
        """Whether a condition is evaluated here.

        DuckDB compares faster than any batch can be filtered before it is handed over, and counts on fewer rows where
        it filters itself: so only what spares reading is taken over, the column of the condition at least.
        """
        text = node.fragment()
        known = self._taken_over.get(text)
        if known is None:
            condition = self.condition(node)
            known = condition is not None and self._spares_reading(condition)
            if len(self._taken_over) >= _CONDITIONS_KEPT:
                self._taken_over.clear()
            self._taken_over[text] = known
        return known

    def _spares_reading(self, condition: Expr) -> bool:
        """Cost: what indexes read for it, or zones of its columns in a few fragments, if they are new."""
        fragments = self._fragments
        hits = hits_of(self.session, self.manifest, Scan(Projection(self._table, ()), condition))
        if hits is not None and hits.most <= _IN_DOUBT * self.manifest.live_rows:
            return True
        nbytes = sum(file.nbytes for fragment in fragments for file in fragment.files)
        if nbytes > max(_SMALL_NBYTES, _WIDE_ROW_NBYTES * sum(fragment.rows for fragment in fragments)):
            return True
        some = fragments[:: -(-len(fragments) // _FRAGMENTS_ASKED) or 1]
        scan = Scan(Projection(self._table, ()), condition, fragments=some)
        return rows_in_doubt(self.session, self.manifest, scan) <= _IN_DOUBT * sum(fragment.rows for fragment in some)

    def reader(self, columns: Sequence[int] | None, condition: Expr | None) -> pa.RecordBatchReader:
        """The rows that pass, as a stream. columns: positions in the schema; None: all."""
        shown = self._projection(columns)
        scan = Scan(
            shown.projection,
            condition,
            usual_rows=self.batch_rows,
            window_nbytes=_WINDOW_NBYTES,
            ahead_nbytes=_AHEAD_NBYTES,
        )
        batches = run_scan(self.session, self.manifest, scan)
        return pa.RecordBatchReader.from_batches(shown.schema_shown, shown.batches(batches))


@dataclass(frozen=True)
class _Shown:
    """Columns of a read and the types that they are shown as."""

    projection: Projection

    @cached
    def schema_shown(self) -> pa.Schema:
        read = self.projection.schema
        return pa.schema([field.with_type(_shown_type(field.type)) for field in read], metadata=read.metadata)

    def batches(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Batches of a read in the types shown."""
        schema = self.schema_shown
        if schema.equals(self.projection.schema):
            return batches
        return (_shown_batch(batch, schema) for batch in batches)


def _shown_type(kind: pa.DataType) -> pa.DataType:
    """The type that DuckDB is told for one; an equal one when that is the type itself."""
    return as_nearest(nulls(0, kind)).type


def _shown_batch(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(list(map(as_nearest, batch.columns)), schema=schema)


def _coded_of(session: Session, fragment: Fragment, fields: Sequence[Field]) -> frozenset[int]:
    """The ids of those fields whose first pages in a fragment are dictionary pages. Cost: 2 rounds, if they are new."""
    located = [(field, *place) for field in fields if (place := fragment.locate(field.id)) is not None]
    readers = session.open([file for _, file, _ in located])
    asked = [
        (file.key, reader.pages(number, field.type))
        for reader, (field, file, number) in zip(readers, located, strict=True)
    ]
    pages = session.drive(asked)
    first = np.zeros(1, np.int64)
    session.drive([(file.key, open_pages([some], first)) for some, (_, file, _) in zip(pages, located, strict=True)])
    return frozenset(
        field.id for some, (field, _, _) in zip(pages, located, strict=True) if some.share_of("dictionary") > 1 / 2
    )


class EngineSource(SourceBase):
    """What DuckDB calls on a dataset that it reads from."""

    one_shot = False
    schema_is_stable = False
    pull_under_gil = False

    _engine_table: EngineTable | None = None

    @property
    def _engine(self) -> EngineTable:
        """The version that DuckDB reads now."""
        assert self._engine_table is not None
        return self._engine_table

    def __arrow_c_schema__(self) -> Any:
        """The types that `stream` gives."""
        return self._engine.schema.__arrow_c_schema__()

    def rows(self) -> int:
        """How many rows there are, by which DuckDB orders joins."""
        return self._engine.manifest.live_rows

    def accepts(self, predicate: Any) -> bool:
        """Whether a condition of DuckDB's is evaluated by the scan; else DuckDB evaluates it."""
        return self._engine.takes_over(predicate)

    def stream(self, columns: Sequence[int] | None, filters: Sequence[Any]) -> tuple[Any, bool]:
        """The rows that pass conditions that were accepted. columns: positions in the schema; None: all."""
        return self._engine.reader(columns, self._accepted(filters)).__arrow_c_stream__(), columns is not None

    def _accepted(self, filters: Sequence[Any]) -> Expr | None:
        """The conditions of DuckDB's that were accepted, as one; None: there are none."""
        conditions = [self._engine.condition(node) for node in filters]
        known = [condition for condition in conditions if condition is not None]
        if len(known) < len(conditions):
            raise InvalidInput("the columns of the table changed while it was queried", hint="run the query again")
        return all_of(known) if known else None


__all__ = ["EngineSource", "EngineTable"]
