"""The rows whose texts answer a query best: by the text indexes of columns, and rows that none of them holds beside.

Rows that no segment holds make a segment in memory, as the index would have made it, so that statistics and scores are
those of all rows together. A filter chooses among the rows and changes no score.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pyroaring import BitMap

from lance_like.encodings.joining import joined
from lance_like.file.carry import carry, present
from lance_like.index.base import BuildOptions, IndexPlugin, Segment
from lance_like.index.files import ArraySource, in_memory
from lance_like.index.registry import INDEXES
from lance_like.index.text.queries import FullTextQuery, query_of
from lance_like.query.projection import Output, Projection
from lance_like.query.rowset import RowSet
from lance_like.query.session import Session
from lance_like.query.take import Placed, take_placed
from lance_like.table.fields import Field
from lance_like.table.fragment import Fragment
from lance_like.table.manifest import Manifest
from lance_like.table.rowids import ids_at
from lance_like.table.schema import join_path
from lance_like.typing_ import Int64s

if TYPE_CHECKING:
    from lance_like.index.text.relevance import Part, RankedTexts
    from lance_like.table.indices import IndexEntry

_PLUGIN = "INVERTED"


@dataclass
class TextReport:
    """How a search was, or will be, done. rows: those the filter left; None: all."""

    query: str
    columns: dict[str, str] = field(default_factory=dict)
    rows: int | None = None

    def lines(self) -> Iterator[str]:
        """As text."""
        yield f"Text: {self.query}"
        if self.rows is not None:
            yield f"  Prefilter: {self.rows:,} rows allowed"
        yield from (f"  Column {name}: {how}" for name, how in self.columns.items())


@dataclass(frozen=True, eq=False)
class TextSearch:
    """One search. fields, entries: of each column that the query names; an entry is None where there is no index."""

    session: Session
    manifest: Manifest
    query: FullTextQuery
    fields: Mapping[str, Field]
    entries: Mapping[str, IndexEntry | None]
    covered: bool = False

    def report(self) -> TextReport:
        """What is known before it runs."""
        report = TextReport(repr(self.query))
        for name, entry in self.entries.items():
            if entry is None:
                beside, how = self.manifest.live_rows, "no index"
            else:
                coverage = self.session.indexes.coverage(self.manifest, entry.name)
                rows, beside = sum(segment.rows for segment in coverage.segments), coverage.uncovered_rows
                how = f"index {entry.name} ({entry.kind}), {len(coverage.segments):,} segments of {rows:,} rows"
            report.columns[name] = f"{how}, {0 if self.covered else beside:,} rows without it, exact"
        return report

    def run(self, rows: RowSet | None, k: int | None) -> RankedTexts:
        """The best rows, k or all that match. rows: among these; None: all."""
        from lance_like.index.text.relevance import search_texts  # not needed where only vectors are searched

        parts = {name: list(self._parts(name, entry, rows)) for name, entry in self.entries.items()}
        return search_texts(self.query, parts, k)

    def _parts(self, name: str, entry: IndexEntry | None, rows: RowSet | None) -> Iterator[Part]:
        from lance_like.index.text.relevance import Part

        uncovered = self.manifest.live_rows
        if entry is not None:
            coverage = self.session.indexes.coverage(self.manifest, entry.name)
            uncovered = coverage.uncovered_rows
            for segment in coverage.segments:
                searcher: Any = segment.searcher
                allow = segment.valid if rows is None else rows.in_segment(segment)
                yield Part(searcher, segment.ids, segment.ordinals, allow)
        if uncovered and not self.covered:
            tail = self._tail(self.fields[name], entry)
            yield Part(tail.searcher, tail.ids_of, tail.ordinals_of, None if rows is None else tail.among(rows))

    def _tail(self, column: Field, entry: IndexEntry | None) -> Tail:
        """The segment in memory of the rows that no other holds; kept for the next search of the version."""
        key = self.manifest.version, self.manifest.digest, column.id, entry and entry.name
        found = self.session.tails.get(key)
        if found is None:
            if entry is None:
                rows: Sequence[tuple[Fragment, Int64s]] = list(_all_rows(self.manifest))
            else:
                rows = self.session.indexes.coverage(self.manifest, entry.name).uncovered
            found = _build(self.session, self.manifest, column, entry, rows)
            self.session.tails.put(key, found, found.nbytes)
        return found


@dataclass(frozen=True, eq=False)
class Tail:
    """A segment in memory. ids: int64[n] of its rows, ascending."""

    searcher: Any
    ids: Int64s
    nbytes: int

    def ids_of(self, ordinals: Int64s) -> Int64s:
        """The ids of ordinals."""
        return self.ids[ordinals]

    def ordinals_of(self, ids: Int64s) -> Int64s:
        """The ordinals of ids, -1 for an id that is not in it."""
        found = np.minimum(self.ids.searchsorted(ids), len(self.ids) - 1)
        return np.where(self.ids[found] == ids, found, -1)

    def among(self, rows: RowSet) -> BitMap:
        """The ordinals of those of some rows that it holds."""
        found = self.ordinals_of(rows.ids)
        return BitMap(found[found >= 0].astype(np.uint32))


def text_search(
    session: Session, manifest: Manifest, given: Any, columns: Sequence[str] | None = None, *, covered: bool = False
) -> TextSearch:
    """Read a query in any form of `full_text_query`.

    columns: to search when the query names none; None: those with a text index, or the only one of texts.
    covered: only rows that the indexes hold. Raises InvalidInput, NotFound.
    """
    if isinstance(given, FullTextQuery):
        query = given
    else:
        query = query_of(given, _default_columns(session, manifest) if columns is None else columns)
    kept, asked = session.of(manifest).text_columns, (query.searched, query.phrased)
    known = kept.get(asked)
    if known is None:
        known = _searched(session, manifest, *asked)
        kept.put(asked, known)
    fields, entries = known
    return TextSearch(session, manifest, query, fields, entries, covered)


def _searched(
    session: Session, manifest: Manifest, names: Iterable[str], phrased: Collection[str]
) -> tuple[dict[str, Field], dict[str, IndexEntry | None]]:
    """The columns that a query names, and the index of each: of several the first, for phrases one that knows places.

    phrased: the columns of which it asks where words stand.
    """
    fields = {name: manifest.schema.find(name) for name in sorted(names)}
    entries: dict[str, IndexEntry | None] = {}
    for name, found in fields.items():
        known = _indexes(session, manifest, found)
        able = [entry for entry in known if name not in phrased or entry.params.get("with_position")]
        entries[name] = next(iter([*able, *known]), None)
        if not known:
            _plugin(None).params(_text_type(found.type), {"with_position": True})  # refuses what holds no texts
    return fields, entries


def _indexes(session: Session, manifest: Manifest, column: Field) -> list[IndexEntry]:
    """The text indexes of the values of a column."""
    return [entry for entry in session.indexes.of_field(manifest, column.id, "text") if entry.json is None]


def _default_columns(session: Session, manifest: Manifest) -> list[str]:
    """The columns with a text index; where there is none, the only one of texts."""
    schema = manifest.schema
    leaves = [found for found in schema.fields if not found.is_struct]
    indexed = [found for found in leaves if _indexes(session, manifest, found)]
    texts = [found for found in leaves if _is_text(found.type)]
    chosen = indexed or (texts if len(texts) == 1 else [])
    return [join_path(schema.path(found.id)) for found in chosen]


def _text_type(kind: pa.DataType) -> pa.DataType:
    """The type in which values are indexed in memory: codes and views as the texts that they stand for."""
    if pa.types.is_dictionary(kind):
        return _text_type(kind.value_type)
    return pa.large_string() if pa.types.is_string_view(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    return _text_type(kind) in (pa.string(), pa.large_string())


def _all_rows(manifest: Manifest) -> Iterator[tuple[Fragment, Int64s]]:
    for fragment in manifest.tree.iterate():
        yield fragment, fragment.offsets_of_live(np.arange(fragment.live_rows))


def _plugin(entry: IndexEntry | None) -> IndexPlugin:
    return INDEXES.get(_PLUGIN if entry is None else entry.kind)


def _build(
    session: Session,
    manifest: Manifest,
    column: Field,
    entry: IndexEntry | None,
    uncovered: Sequence[tuple[Fragment, Int64s]],
) -> Tail:
    fragments = [fragment for fragment, _ in uncovered]
    ids = np.concatenate([ids_at(fragment, offsets) for fragment, offsets in uncovered])
    index = np.repeat(np.arange(len(fragments)), [len(offsets) for _, offsets in uncovered])
    offsets = np.concatenate([offsets for _, offsets in uncovered])
    order = np.argsort(ids, kind="stable")
    projection = Projection(manifest.schema, (Output("text", column),))
    table = take_placed(session, projection, Placed(fragments, index[order], offsets[order]))
    kind = column.type if entry is not None else _text_type(column.type)
    values = joined([carry(chunk) for chunk in table.column(0).chunks])
    values = present(values, kind) if kind is column.type else values.cast(kind)
    plugin, out = _plugin(entry), in_memory()
    params = plugin.params(kind, {"with_position": True}) if entry is None else entry.params
    detail = plugin.build(ArraySource(values), params, out, BuildOptions())
    searcher = plugin.open(Segment(len(values), kind, params, detail, out.reader()))
    return Tail(searcher, ids[order], sum(file.nbytes for file in out.files))


__all__ = ["TextReport", "TextSearch", "text_search"]
