"""What a search is told, read and settled: the options `nearest` and `full_text_query`, and filters that search."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from lance_like._lazy import like
from lance_like.dataset.scanner import bind_filter
from lance_like.errors import InvalidInput
from lance_like.index.text.queries import FullTextQuery
from lance_like.query.answer import Answer, Columns, answer_of
from lance_like.query.evaluate import parse, parse_expressions
from lance_like.query.expr import Expr, all_of, conjuncts, top_names
from lance_like.query.fuse import Fusion, Reranker
from lance_like.query.names import fold
from lance_like.query.near import NearSearch, near_search
from lance_like.query.near_query import VectorSearchQuery
from lance_like.query.order import Order
from lance_like.query.relevant import TextSearch, text_search
from lance_like.query.rowset import scan_of_ids
from lance_like.query.search import (
    ALL_ROWS,
    QUERY,
    Filter,
    Search,
    analyze_search,
    explain_search,
    find,
    given_of,
    run_search,
)
from lance_like.query.session import Session
from lance_like.table.fragment import Fragment
from lance_like.table.manifest import Manifest
from lance_like.table.schema import Schema


@dataclass(frozen=True, eq=False)
class Asked:
    """What a caller asks for, as it was given.

    nearest, text: in the forms of pylance's options. text_columns: of a text that names none.
    prefilter: are the rows that pass the filter found first? None: yes. covered: only rows that indexes hold.
    segments: the uuids of those that a search of vectors asks of its index, and no rows but those they hold, where
    `within` says none.
    indexed: may indexes be asked which rows pass the filter?
    """

    nearest: Any = None
    text: Any = None
    text_columns: Sequence[str] | None = None
    filter: Any = None
    prefilter: bool | None = None
    limit: int | None = None
    offset: int = 0
    within: Sequence[Fragment] | None = None
    covered: bool = False
    segments: Set[str] | None = None
    rerank: Reranker | None = None
    threads: int | None = None
    indexed: bool = True


@dataclass(frozen=True, eq=False)
class Settled:
    """A search, and the columns that it makes."""

    search: Search
    given: pa.Schema

    def near_to(self, q: Any) -> Settled | None:
        """The same search near to other vectors; None where the answer has other columns.

        Raises InvalidInput for a query that does not fit the column.
        """
        known = self.search
        near = known.near and known.near.near_to(q)
        if near is None:
            return None
        return Settled(like(known, near=near), self.given)

    def run(
        self, session: Session, answer: Answer, order: Order | None, limit: int | None, batch_rows: int | None
    ) -> Generator[pa.RecordBatch, None, None]:
        """The answer, at most so many rows, and batches of at most so many."""
        search = self.search if limit == self.search.limit else replace(self.search, limit=limit)
        if session is not search.session:
            search = search.through(session)
        return run_search(search, answer, order, batch_rows)

    def count(self) -> int:
        """How many rows are found."""
        return 0 if self.search.limit == 0 else len(find(self.search).ids)

    def explain(self, schema: pa.Schema) -> str:
        """What the search will do."""
        return explain_search(self.search).text(schema)

    def analyze(self, answer: Answer | None, schema: pa.Schema) -> str:
        """Run the search and say what it did."""
        return analyze_search(self.search, answer).text(schema)


def settle(session: Session, manifest: Manifest, schema: Schema, asked: Asked, columns: Columns | None) -> Settled:
    """Check a search and choose indexes for it. schema: the manifest's, as it is read. columns: as they were asked for.

    Raises InvalidInput, NotFound. Cost: no I/O but what the coverage of an index needs.
    """
    if asked.nearest is not None and asked.text is not None and asked.rerank is None:
        hint = "ds.search(vector=..., text=...) ranks by both; a query may also be the filter of the other"
        raise InvalidInput("nearest and full_text_query in one scan: by which are rows to be ranked?", hint=hint)
    near = None if asked.nearest is None else _near(session, manifest, schema, asked)
    text = None
    if asked.text is not None:
        text = text_search(session, manifest, asked.text, asked.text_columns, covered=asked.covered)
    numbered = near is not None and near.numbered
    given = given_of(near=near is not None, numbered=numbered, text=text is not None, rerank=asked.rerank is not None)
    if numbered and text is not None:
        raise InvalidInput("a hybrid search is for one vector, not for a batch")
    if numbered and asked.rerank is not None:
        raise InvalidInput("a re-ranker orders what one vector finds, not a batch")
    among = ALL_ROWS
    if asked.filter is not None or asked.within is not None:
        among = _among(session, manifest, schema, asked, given)
    seen = None
    if asked.rerank is not None and not isinstance(asked.rerank, Fusion):
        if not callable(asked.rerank):
            raise InvalidInput(f"rerank={asked.rerank!r:.80}: expected a re-ranker or a function")
        seen = _seen(manifest, schema, columns, given)
    search = Search(session, manifest, near, text, among, asked.limit, asked.offset, asked.rerank, seen)
    return Settled(search, given)


def _near(session: Session, manifest: Manifest, schema: Schema, asked: Asked) -> NearSearch:
    wanted = None if asked.limit is None else asked.limit + asked.offset
    covered = asked.covered or (asked.segments is not None and asked.within is None)
    among: dict[str, Any] = {"wanted": wanted, "covered": covered, "threads": asked.threads, "segments": asked.segments}
    return near_search(session, manifest, schema, asked.nearest, **among)


def columns_of_search(schema: Schema, columns: Columns | None, given: pa.Schema, *, scores: bool) -> Columns:
    """The columns of the answer: the number of the query first, distances and scores last unless they are named.

    columns: as they were asked for. given: those that the search makes. scores: are distances and scores among the
    columns when they are not named? None for columns: they are anyway.
    """
    made = [name for name in given.names if name != QUERY] if scores or columns is None else []
    first = [QUERY] if QUERY in given.names else []
    if isinstance(columns, Mapping):
        return {
            **{name: name for name in first if name not in columns},
            **columns,
            **{name: name for name in made if name not in columns},
        }
    if isinstance(columns, str):
        raise InvalidInput(f"columns={columns!r} is one text: expected a list of column names")
    named = [field.name for field in schema.children()] if columns is None else list(columns)
    rest = [name for name in named if name not in first]
    return [*first, *rest, *(name for name in made if name not in rest)]


def _among(session: Session, manifest: Manifest, schema: Schema, asked: Asked, given: pa.Schema) -> Filter:
    """The rows to search among."""
    condition, after, searches = _filter(session, manifest, schema, asked, given)
    scan = None
    if condition is not None or asked.within is not None:
        tuned = {"threads": asked.threads, "indexed": asked.indexed}
        scan = scan_of_ids(manifest, condition, asked.within, **tuned)
    return Filter(condition, scan, after, *searches, asked.prefilter is not False, asked.within)


def _filter(
    session: Session, manifest: Manifest, schema: Schema, asked: Asked, given: pa.Schema
) -> tuple[Expr | None, Answer | None, tuple[NearSearch | None, TextSearch | None]]:
    """A filter in its parts: what is judged before the search, what after it, and the search that it is."""
    words, search = _parts(asked.filter)
    near, text = None, None
    if isinstance(search, VectorSearchQuery):
        if asked.text is None or asked.nearest is not None:
            raise InvalidInput("a vector search is a filter of a text search alone")
        near = near_search(session, manifest, schema, search.nearest)
        if near.numbered:
            raise InvalidInput("a filter takes one vector, not a batch")
    elif search is not None:
        if asked.nearest is None or asked.text is not None:
            raise InvalidInput("a text search is a filter of a vector search alone")
        text = text_search(session, manifest, search)
    if words is None:
        return None, None, (near, text)
    parts = conjuncts(parse(words))
    made = {fold(name) for name in given.names}
    after_it = [asked.prefilter is False or any(fold(name) in made for name in top_names(part)) for part in parts]
    late = [part for part, waits in zip(parts, after_it, strict=True) if waits]
    early = [part for part, waits in zip(parts, after_it, strict=True) if not waits]
    # As it was given, where it is whole: then an error shows its place.
    condition = bind_filter(schema, words if not late else all_of(early) if early else None)
    after = answer_of(manifest, schema, {"passes": all_of(late)}, given=given) if late else None
    if after is not None and not pa.types.is_boolean(after.schema.types[0]):
        raise InvalidInput(f"the filter is {after.schema.types[0]}, no condition", kind="filter")
    return condition, after, (near, text)


def joined_filters(filters: Sequence[Any]) -> Any:
    """One filter that rows pass when they pass all; None for none. Raises InvalidInput."""
    if len(filters) <= 1:
        return filters[0] if filters else None
    parts = [_parts(given) for given in filters]
    searches = [search for _, search in parts if search is not None]
    if len(searches) > 1:
        raise InvalidInput("two searches as the filter of one", kind="filter")
    words = all_of(parse(words) for words, _ in parts if words is not None)
    return {"expr_filter": words, "search_filter": searches[0]} if searches else words


def _parts(given: Any) -> tuple[Any, FullTextQuery | VectorSearchQuery | None]:
    """A filter as a condition and a search."""
    if given is None:
        return None, None
    if isinstance(given, FullTextQuery | VectorSearchQuery):
        return None, given
    if not isinstance(given, Mapping):
        return given, None
    unknown = sorted(map(str, set(given) - {"expr_filter", "search_filter"}))
    if unknown:
        raise InvalidInput(f"filter: {unknown[0]!r} is unknown: expected 'expr_filter' and 'search_filter'")
    search = given.get("search_filter")
    if search is not None and not isinstance(search, FullTextQuery | VectorSearchQuery):
        raise InvalidInput(f"filter: search_filter={search!r:.80}: expected a FullTextQuery or a VectorSearchQuery")
    return given.get("expr_filter"), search


def _seen(manifest: Manifest, schema: Schema, columns: Columns | None, given: pa.Schema) -> Answer:
    """The table that a function ranks: the columns asked for, without its own answer, and the ids of rows."""
    known = given.remove(given.get_field_index("_relevance_score"))
    if isinstance(columns, Mapping):
        parsed = parse_expressions(columns)
        names = {name: {path[0] for path in one.columns | one.maybe} for name, one in parsed.items()}
        columns = {name: text for name, text in columns.items() if "_relevance_score" not in names[name]}
    elif columns is not None:
        columns = [name for name in columns if name != "_relevance_score"]
    shown = columns_of_search(schema, columns, known, scores=True)
    return answer_of(manifest, schema, shown, with_row_id=True, given=known)


__all__ = ["Asked", "Settled", "columns_of_search", "joined_filters", "settle"]
