"""A search put together call by call, in the manner of LanceDB: `ds.search(...).where(...).limit(...).to_table()`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from lance_like._lazy import need
from lance_like.dataset.bound import BoundVersion
from lance_like.dataset.scan_options import count
from lance_like.dataset.scanner import Filter, LanceScanner
from lance_like.dataset.tuning import tune_segment, tuned
from lance_like.errors import InvalidInput
from lance_like.query.answer import Columns
from lance_like.query.fuse import Reranker, RRFReranker
from lance_like.table.actions import SetIndexes
from lance_like.table.manifest import Manifest
from lance_like.table.schema import join_path

if TYPE_CHECKING:
    from lance_like.dataset.handle import LanceDataset
    from lance_like.index.vector.tuner import Tuning
    from lance_like.query.order import ColumnOrdering

_LIMIT = 10


class SearchBuilder:
    """A search of a dataset, by a vector, by a text, or by both with one filter; made by `LanceDataset.search`.

    Each method sets one thing and gives the builder back; nothing is read until an answer is asked for.
    """

    def __init__(self, ds: LanceDataset) -> None:
        self._dataset = ds
        self._near: dict[str, Any] = {}
        self._text: Any = None
        self._text_columns: Sequence[str] | None = None
        self._options: dict[str, Any] = {"limit": _LIMIT}
        self._filters: list[Filter] = []
        self._rerank: Reranker | None = None

    # -- what is looked for --

    def vector(self, vector: Any, column: str | None = None) -> SearchBuilder:
        """Rows near to a vector. column: None: the only one of vectors."""
        self._near |= {"q": vector} if column is None else {"q": vector, "column": column}
        return self

    def text(self, query: Any, columns: str | Sequence[str] | None = None) -> SearchBuilder:
        """Rows by their relevance to a text, or a query of `lance_like.query`. columns: None: as the indexes say."""
        self._text = query
        if columns is not None:
            self._text_columns = [columns] if isinstance(columns, str) else list(columns)
        return self

    def where(self, filter: Filter, prefilter: bool | None = None) -> SearchBuilder:
        """Only rows that pass; called again, rows that pass all filters.

        prefilter: False: judge the rows that were found, of which few may be left; None: as it was said, at first True.
        """
        if filter is not None:
            self._filters.append(filter)
        return self if prefilter is None else self._set(prefilter=prefilter)

    def select(self, columns: Columns | None) -> SearchBuilder:
        """The columns of the answer: names, or name -> SQL expression, which may read `_distance` and the like."""
        return self._set(columns=columns)

    def order_by(self, order_by: Sequence[ColumnOrdering | str] | None) -> SearchBuilder:
        """Put the rows found into another order; without a vector and a text, find the first in it. As `scanner`."""
        return self._set(order_by=order_by)

    def limit(self, limit: int | None) -> SearchBuilder:
        """How many rows, for each vector of a batch; 10 by default, None for all, but of those near to a vector."""
        return self._set(limit=None if limit is None else count("limit", limit))

    def offset(self, offset: int | None) -> SearchBuilder:
        """How many of the best rows are left out first."""
        return self._set(offset=count("offset", offset or 0))

    def with_row_id(self, with_row_id: bool = True) -> SearchBuilder:
        """Append `_rowid`."""
        return self._set(with_row_id=with_row_id)

    def fast_search(self, flag: bool = True) -> SearchBuilder:
        """Leave out rows that the indexes do not hold."""
        return self._set(fast_search=flag)

    def rerank(self, reranker: Reranker) -> SearchBuilder:
        """What ranks the rows: `RRFReranker()`, the default of a search by both; another of `lance_like.rerankers`; or
        a function that is given them as a table (`lance_like.query.fuse.Reranker`).
        """
        self._rerank = reranker
        return self

    # -- how vectors are searched --

    def metric(self, metric: str) -> SearchBuilder:
        """The distance: "l2", "cosine", "dot" or "hamming"."""
        return self._near_by(metric=metric)

    distance_type = metric

    def nprobes(self, nprobes: int) -> SearchBuilder:
        """How many partitions of an index are looked into."""
        return self._near_by(nprobes=nprobes)

    def minimum_nprobes(self, minimum_nprobes: int) -> SearchBuilder:
        """The fewest partitions that are looked into."""
        return self._near_by(minimum_nprobes=minimum_nprobes)

    def maximum_nprobes(self, maximum_nprobes: int) -> SearchBuilder:
        """The most partitions that are looked into."""
        return self._near_by(maximum_nprobes=maximum_nprobes)

    def reach(self, reach: float) -> SearchBuilder:
        """How near partitions of an index are that are looked into, instead of how many (`nearest` of a scan)."""
        return self._near_by(reach=reach)

    def ef(self, ef: int) -> SearchBuilder:
        """How many rows a search of a graph keeps in view."""
        return self._near_by(ef=ef)

    def refine_factor(self, refine_factor: int) -> SearchBuilder:
        """How many times as many rows as wanted are compared exactly."""
        return self._near_by(refine_factor=refine_factor)

    def distance_range(self, lower_bound: float | None = None, upper_bound: float | None = None) -> SearchBuilder:
        """Only rows whose distance is in a half-open range."""
        return self._near_by(distance_range=(lower_bound, upper_bound))

    def index(self, name: str) -> SearchBuilder:
        """Which of several vector indexes is asked."""
        return self._near_by(index_name=name)

    def bypass_vector_index(self) -> SearchBuilder:
        """Compare every row: the answer is exact."""
        return self._near_by(use_index=False)

    # -- the answer --

    def to_scanner(self) -> LanceScanner:
        """The search as a scan. Raises InvalidInput, NotFound."""
        session, manifest = self._dataset._session, self._dataset._manifest
        from lance_like.dataset.search import joined_filters

        options = {**self._options, "filter": joined_filters(self._filters)}
        both = "q" in self._near and self._text is not None
        if "q" in self._near:
            if options["limit"] is None:
                raise InvalidInput("limit=None: a search by a vector says how many rows it wants")
            k = options["limit"] + options.get("offset", 0)
            near = {"k": max(1, k), **self._near}
            options["nearest"] = near if "column" in near else {"column": self._vector_column(), **near}
            if not both and options["limit"]:
                # k says it of each vector of a batch.
                options["limit"] = None
        elif self._near:
            raise InvalidInput(f"{next(iter(self._near))} is of searches by a vector: give one with vector(...)")
        if self._text is not None:
            options["full_text_query"] = self._text
        rerank = RRFReranker() if both and self._rerank is None else self._rerank
        scanner = LanceScanner(session, manifest, rerank=rerank, text_columns=self._text_columns, **options)
        from lance_like.query.search import QUERY  # which the scanner has loaded by now

        if options.get("offset") and QUERY in scanner.projected_schema.names:
            raise InvalidInput("offset is of what one vector finds, not of a batch")
        return scanner

    def to_table(self) -> pa.Table:
        """The rows found, best first."""
        return self.to_scanner().to_table()

    to_arrow = to_table

    def to_batches(self, batch_size: int | None = None) -> Iterator[pa.RecordBatch]:
        """The rows found, a batch at a time. batch_size: rows of a batch; None: as `scanner`."""
        if batch_size is not None:
            self._set(batch_size=batch_size)
        return self.to_scanner().to_batches()

    def to_pandas(self, **options: Any) -> Any:
        """The rows found as a pandas DataFrame. options: of `LanceScanner.to_pandas`."""
        return self.to_scanner().to_pandas(**options)

    def to_polars(self) -> Any:
        """The rows found as a Polars DataFrame."""
        return need("polars").from_arrow(self.to_table())

    def to_list(self) -> list[dict[str, Any]]:
        """The rows found as dicts."""
        return self.to_table().to_pylist()

    def explain_plan(self, verbose: bool = False) -> str:
        """Which indexes are asked, how many rows they cover, and what is compared exactly."""
        return self.to_scanner().explain_plan(verbose)

    def analyze_plan(self) -> str:
        """Run the search and say what it did."""
        return self.to_scanner().analyze_plan()

    def _set(self, **options: Any) -> SearchBuilder:
        self._options |= options
        return self

    def _near_by(self, **options: Any) -> SearchBuilder:
        self._near |= options
        return self

    def _vector_column(self) -> str:
        return vector_column(self._dataset._manifest)


class DatasetSearch(BoundVersion):
    """The methods of `LanceDataset` that search, and say how."""

    def search(
        self,
        query: Any = None,
        *,
        vector: Any = None,
        text: Any = None,
        vector_column: str | None = None,
        text_columns: str | Sequence[str] | None = None,
    ) -> SearchBuilder:
        """Search by a vector, by a text, or by both: one ranking of what both find (`RRFReranker`).

        query: a text, a query of `lance_like.query`, or a vector. vector_column: None: the only one of vectors.
        text_columns: None: those with a text index, or the only one of texts.
        Returns a builder: `.where(filter).select(columns).limit(n).to_table()`. The filter holds for both searches.
        Without a vector and a text it gives the first rows.
        """
        builder = SearchBuilder(cast("LanceDataset", self))
        if query is not None:
            if _is_words(query):
                text = query if text is None else text
            else:
                vector = query if vector is None else vector
        if vector is not None:
            builder.vector(vector, vector_column)
        if text is not None:
            builder.text(text, text_columns)
        return builder

    def tune_index(
        self, name: str, queries: Any = None, *, target_recall: float = 0.95, k: int = 10, apply: bool = True
    ) -> Tuning:
        """Choose how a vector index is searched: the quickest way to a share of the true neighbours.

        queries: vectors as they will be asked for; None: rows of the table. Half of them choose, the others measure
        what was chosen. apply: keep the choice with the index, as a new version; searches that say nothing else
        have it from then on.
        Returns what was chosen, and all that was measured; as a text, a table. Raises NotFound, InvalidInput.
        """
        found = tune_segment(self._session, self._manifest, name, queries, target_recall=target_recall, k=k)
        if apply:

            def change(manifest: Manifest | None) -> SetIndexes:
                assert manifest is not None
                return tuned(manifest, name, found)

            self._commit(change)
        return found


def _is_words(query: Any) -> bool:
    """Is it a text or a query of texts?"""
    return isinstance(query, str) or hasattr(query, "searched")


def vector_column(manifest: Manifest) -> str:
    """The only column of vectors. Raises InvalidInput when there are none or several."""
    schema = manifest.schema
    found = [field for field in schema.fields if not field.is_struct and _holds_vectors(field.type)]
    if len(found) != 1:
        names = ", ".join(repr(join_path(schema.path(field.id))) for field in found)
        which = f"several columns hold vectors: {names}" if found else "no column holds vectors"
        raise InvalidInput(f"{which}: which is to be searched?", kind="column", hint="name it: vector_column='...'")
    return join_path(schema.path(found[0].id))


def _holds_vectors(kind: pa.DataType) -> bool:
    kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    while pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
    if not pa.types.is_fixed_size_list(kind):
        return False
    number = kind.value_type.storage_type if isinstance(kind.value_type, pa.BaseExtensionType) else kind.value_type
    return pa.types.is_floating(number) or number in (pa.uint8(), pa.int8()) or pa.types.is_fixed_size_binary(number)


__all__ = ["DatasetSearch", "SearchBuilder"]
