"""Run a search: rows near to vectors, rows of relevant texts, or both; then the columns of the rows found, in order.

1. The rows that pass the filter are found first, and only they are searched: the answer has as many rows as were asked
   for when so many pass. With prefilter=False, rows found are judged afterwards.
2. The searches give ids and scores (`near`, `relevant`); two rankings become one (`fuse`).
3. Of the rows that are left, the columns are taken.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from lance_like.encodings.joining import taken_at
from lance_like.encodings.physical import flat_array
from lance_like.file.carry import one_batch
from lance_like.index.files import counting_segments
from lance_like.io.observe import CountingStore, counted
from lance_like.query.answer import Answer
from lance_like.query.evaluate import true_of
from lance_like.query.explain import Step, heading
from lance_like.query.expr import Expr
from lance_like.query.fuse import (
    RELEVANCE,
    Fusion,
    Ranked,
    Reranker,
    all_ids,
    best_first,
    relevance_of,
    scores_of,
)
from lance_like.query.near import Near, NearReport, NearSearch
from lance_like.query.order import Order, sorted_rows
from lance_like.query.projection import Projection
from lance_like.query.relevant import TextReport, TextSearch
from lance_like.query.rowset import RowSet, rows_passing
from lance_like.query.scan import BATCH_ROWS, Scan
from lance_like.query.session import Session
from lance_like.query.take import place_ids, take_columns
from lance_like.table.fragment import Fragment
from lance_like.table.manifest import Manifest
from lance_like.typing_ import Int64s

if TYPE_CHECKING:
    from lance_like.index.text.relevance import RankedTexts

DISTANCE = "_distance"
SCORE = "_score"
QUERY = "query_index"
_FIELDS = {
    DISTANCE: pa.field(DISTANCE, pa.float32()),
    SCORE: pa.field(SCORE, pa.float32()),
    RELEVANCE: pa.field(RELEVANCE, pa.float32()),
    QUERY: pa.field(QUERY, pa.int32(), nullable=False),
}
# Rows taken to see how wide they are, and bytes of what is taken together.
_FIRST_ROWS = 4096
_TAKE_NBYTES = 32 << 20


@dataclass(frozen=True, eq=False)
class Filter:
    """Among which rows is searched.

    condition: bound; judged before, by `scan`. after: for each row found, true where it stays; None: all stay.
    near, text: a search whose rows are those searched among. before: are they found before?
    fragments: None: all.
    """

    condition: Expr | None = None
    scan: Scan | None = None
    after: Answer | None = None
    near: NearSearch | None = None
    text: TextSearch | None = None
    before: bool = True
    fragments: Sequence[Fragment] | None = None

    @property
    def is_search(self) -> bool:
        """Is it more than a condition?"""
        return self.near is not None or self.text is not None


ALL_ROWS = Filter()


@dataclass(frozen=True, eq=False)
class Search:
    """A search, settled; nothing is read yet.

    near, text: one of them, or both. rerank: what makes one ranking of them; it gets `seen` if it is a function.
    """

    session: Session
    manifest: Manifest
    near: NearSearch | None
    text: TextSearch | None
    filter: Filter
    limit: int | None = None
    offset: int = 0
    rerank: Reranker | None = None
    seen: Answer | None = None

    def through(self, session: Session) -> Search:
        """The same search by another session."""
        near, text, wanted = self.near, self.text, self.filter
        return replace(
            self,
            session=session,
            near=near and replace(near, session=session),
            text=text and replace(text, session=session),
            filter=replace(
                wanted,
                near=wanted.near and replace(wanted.near, session=session),
                text=wanted.text and replace(wanted.text, session=session),
            ),
        )


@cache
def given_of(*, near: bool, numbered: bool, text: bool, rerank: bool) -> pa.Schema:
    """The columns that a search makes, which an answer may name. numbered: of several vectors."""
    made = {QUERY: numbered, DISTANCE: near, SCORE: text, RELEVANCE: rerank}
    return pa.schema([_FIELDS[name] for name, wanted in made.items() if wanted])


@dataclass
class SearchReport:
    """How a search will be, or was, done. steps: of a run; found: the rows that it gave."""

    search: Search
    parts: list[NearReport | TextReport] = field(default_factory=list)
    steps: dict[str, Step] = field(default_factory=dict)
    found: int | None = None

    def text(self, schema: pa.Schema) -> str:
        """As a tree of text. schema: of the answer."""
        return "\n".join(self._lines(schema)) + "\n"

    def _lines(self, schema: pa.Schema) -> Iterator[str]:
        search, wanted = self.search, self.search.filter
        yield f"Search: {heading(schema.names, search.limit, search.offset, self.found)}"
        if search.rerank is not None:
            yield f"  Rerank: {search.rerank!r:.80}"
        if wanted.condition is not None:
            yield f"  Filter before: {wanted.condition}"
        if wanted.after is not None and wanted.after.recipe is not None:
            yield f"  Filter after: {', '.join(one.sql for one in wanted.after.recipe.computed.values())}"
        for name, step in self.steps.items():
            yield f"  {name.capitalize()}: {step}"
        for part in self.parts:
            yield from (f"  {line}" for line in part.lines())


@dataclass(frozen=True, eq=False)
class Found:
    """Rows found, in order. ids: int64[n]. given: of each column that the search makes, n values.

    columns: of the answer, as they are carried; None: they are still to be read.
    """

    ids: Int64s
    given: list[pa.Array]
    columns: list[pa.Array] | None = None

    def some(self, places: Int64s) -> Found:
        """Those at some places, in that order."""
        taken = pa.array(places)
        columns = None if self.columns is None else [taken_at(values, places) for values in self.columns]
        return Found(self.ids[places], [values.take(taken) for values in self.given], columns)

    def slice(self, start: int, count: int | None) -> Found:
        """A run of them."""
        if start == 0 and (count is None or count >= len(self.ids)):
            return self
        end = None if count is None else start + count
        columns = None if self.columns is None else [values.slice(start, count) for values in self.columns]
        return Found(self.ids[start:end], [values.slice(start, count) for values in self.given], columns)


def find(search: Search, report: SearchReport | None = None, beside: Projection | None = None) -> Found:
    """The rows found, after `offset` of them and at most `limit`. report: filled in.

    beside: what will be read of them; it may be read on the way.
    """
    rows = _rows(search)
    if search.near is not None and search.text is not None:
        found = _fused(search, rows, report)
    elif search.near is not None:
        found = _of_near(_near(search, search.near, rows, report, beside), search.near.numbered)
    else:
        assert search.text is not None
        found = _of_text(search, search.text, rows, report)
    if search.rerank is not None and (search.near is None or search.text is None):
        found = _reranked(search, found)
    found = _judged(search, found)
    return found.slice(search.offset, search.limit)


def _rows(search: Search) -> RowSet | None:
    """The rows to search among; None: all, or none that is to be known before."""
    wanted = search.filter
    alone = search.near is not None and search.near.is_exact and search.text is None
    if alone and not wanted.is_search:
        return None
    rows = None if wanted.scan is None else rows_passing(search.session, search.manifest, wanted.scan)
    if not wanted.before:
        return rows
    if wanted.text is not None:
        return RowSet(np.sort(wanted.text.run(rows, None).ids))
    if wanted.near is not None:
        ids = wanted.near.run(rows).ordinals
        return RowSet(np.unique(ids[ids >= 0]))
    return rows


def _near(
    search: Search,
    near: NearSearch,
    rows: RowSet | None,
    report: SearchReport | None,
    beside: Projection | None = None,
) -> Near:
    said = None
    if report is not None:
        said = near.report()
        said.rows = None if rows is None else len(rows)
        report.parts.append(said)
    if near.is_exact and rows is None:
        return Near(near.scan(search.filter.condition, search.filter.fragments), None)
    return near.find(rows, said, beside)


def _of_near(near: Near, numbered: bool) -> Found:
    """The rows of each query one after the other."""
    hits = near.hits
    kept = hits.ordinals >= 0
    scores = hits.scores[kept].astype(np.float32, copy=False)
    given = [flat_array(pa.float32(), scores.view(np.uint8), len(scores))]
    if numbered:
        given.insert(0, pa.array(np.nonzero(kept)[0].astype(np.int32)))
    return Found(hits.ordinals[kept], given, near.columns)


def _relevant(text: TextSearch, rows: RowSet | None, k: int | None, report: SearchReport | None) -> RankedTexts:
    if report is not None:
        said = text.report()
        said.rows = None if rows is None else len(rows)
        report.parts.append(said)
    return text.run(rows, k)


def _of_text(search: Search, text: TextSearch, rows: RowSet | None, report: SearchReport | None) -> Found:
    late = search.filter.after is not None or (search.filter.is_search and not search.filter.before)
    k = None if late or search.limit is None else search.offset + search.limit
    found = _relevant(text, rows, k, report)
    return Found(found.ids, [pa.array(found.scores)])


def _fused(search: Search, rows: RowSet | None, report: SearchReport | None) -> Found:
    """One ranking of what both searches find among the same rows."""
    near, text = search.near, search.text
    assert near is not None and text is not None and search.rerank is not None
    hits = _near(search, near, rows, report).hits
    kept = hits.ordinals[0] >= 0
    by_vector = Ranked(hits.ordinals[0][kept], hits.scores[0][kept])
    found = _relevant(text, rows, near.query.k, report)
    by_text = Ranked(found.ids, found.scores)
    ids = all_ids(by_vector, by_text)
    return _ordered(search, ids, by_vector, by_text)


def _reranked(search: Search, found: Found) -> Found:
    """What one search found in the order of a re-ranker."""
    scores = Ranked(found.ids, found.given[-1].to_numpy())
    near, text = (scores, None) if search.near is not None else (None, scores)
    return _ordered(search, np.sort(found.ids), near, text)


def _ordered(search: Search, ids: Int64s, near: Ranked | None, text: Ranked | None) -> Found:
    """Rows in the order of a re-ranker. ids: ascending."""
    rerank = search.rerank
    found = Found(ids, [scores_of(ids, ranked) for ranked in (near, text) if ranked is not None])
    if isinstance(rerank, Fusion):
        relevance = rerank.relevance(ids, near, text)
        order = best_first(ids, relevance)
        relevance = relevance[order]
    else:
        assert callable(rerank) and search.seen is not None
        table = pa.Table.from_batches(_batches(search, search.seen, found, None), search.seen.schema)
        order, relevance = relevance_of(rerank(table), ids)
    found = found.some(order)
    return Found(found.ids, [*found.given, pa.array(relevance)])


def _judged(search: Search, found: Found) -> Found:
    """Those of the rows found that pass what is judged afterwards."""
    wanted = search.filter
    if not wanted.before and wanted.is_search:
        if wanted.text is not None:
            kept = wanted.text.run(None, None).ids
        else:
            assert wanted.near is not None
            kept = wanted.near.run(None).ordinals
        found = found.some(np.flatnonzero(np.isin(found.ids, kept)))
    if wanted.after is not None and len(found.ids):
        batches = _batches(search, wanted.after, found, None)
        flags = [true_of(batch.column(0)) for batch in batches]
        found = found.some(np.flatnonzero(np.concatenate(flags)))
    return found


def run_search(
    search: Search, answer: Answer, order: Order | None, batch_rows: int | None
) -> Generator[pa.RecordBatch, None, None]:
    """The answer: columns of the rows found, in their order or another."""
    if search.limit == 0:
        return
    found = find(search, beside=answer.read)
    if order is not None and len(found.ids):
        keys = pa.Table.from_batches(_batches(search, order.keys, found, None), order.keys.schema)
        found = found.some(sorted_rows(order, one_batch(keys)))
    yield from _answered(search, answer, found, batch_rows)


def explain_search(search: Search) -> SearchReport:
    """What a search will do. Cost: what the coverage of indexes needs; no value is read."""
    report = SearchReport(search)
    report.parts += [part.report() for part in (search.near, search.text) if part is not None]
    return report


def analyze_search(search: Search, answer: Answer | None) -> SearchReport:
    """Run a search and measure its steps. answer: the columns that are taken; None: none."""
    store = CountingStore(search.session.store)
    search = search.through(search.session.through(store))
    report = SearchReport(search)
    with counted(store) as counts, counting_segments(store):
        began = time.perf_counter()
        found = find(search, report, None if answer is None else answer.read)
        report.steps["find"] = Step()
        report.steps["find"].add(time.perf_counter() - began, counts)
    if answer is not None:
        with counted(store) as counts, counting_segments(store):
            began = time.perf_counter()
            for _ in _answered(search, answer, found, None):
                pass
            report.steps["take"] = Step()
            report.steps["take"].add(time.perf_counter() - began, counts)
    report.found = len(found.ids)
    return report


def _answered(search: Search, answer: Answer, found: Found, batch_rows: int | None) -> Iterator[pa.RecordBatch]:
    """The columns of the answer: as they were read on the way, or now."""
    if found.columns is None or len(found.ids) == 0:
        return _batches(search, answer, found, batch_rows)
    batch = answer.batch(found.columns, found.given, len(found.ids))
    return _cut(batch, batch_rows or BATCH_ROWS)


def _cut(batch: pa.RecordBatch, rows: int) -> Iterator[pa.RecordBatch]:
    """A batch in pieces of at most so many rows."""
    return (batch.slice(at, rows) for at in range(0, len(batch), rows))


def _batches(search: Search, answer: Answer, found: Found, batch_rows: int | None) -> Iterator[pa.RecordBatch]:
    """Columns of rows by their ids, some MiB at a time."""
    if len(found.ids) == 0:
        return
    placed, read = place_ids(search.manifest, found.ids), answer.read
    rows = batch_rows or BATCH_ROWS
    most = min(max(rows, BATCH_ROWS), read.most_rows or sys.maxsize)
    start, count = 0, min(_FIRST_ROWS, most)
    while start < len(found.ids):
        some = found.slice(start, count)
        columns = take_columns(search.session, read, placed.slice(start, start + count)) if read.outputs else []
        batch = answer.batch(columns, some.given, len(some.ids))
        yield from _cut(batch, rows)
        start += count
        if start < len(found.ids):
            nbytes = sum(column.nbytes for column in columns)
            count = min(max(1, _TAKE_NBYTES * len(batch) // max(1, nbytes)), most)


__all__ = [
    "ALL_ROWS",
    "DISTANCE",
    "QUERY",
    "SCORE",
    "Filter",
    "Found",
    "Search",
    "SearchReport",
    "analyze_search",
    "explain_search",
    "find",
    "given_of",
    "run_search",
]
