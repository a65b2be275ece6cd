"""A scan put together call by call, as in pylance."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lance_like.dataset.scan_options import BlobHandling, ScanStatistics, check_default_options
from lance_like.dataset.scanner import Filter, LanceScanner
from lance_like.query.answer import Columns
from lance_like.query.order import ColumnOrdering

if TYPE_CHECKING:
    from uuid import UUID

    from lance_like.dataset.fragment import LanceFragment
    from lance_like.dataset.handle import LanceDataset


class ScannerBuilder:
    """The options of `LanceDataset.scanner`, each set by a method of its name; `to_scanner` makes the scan.

    What is wrong by itself is refused when it is set, all else by `to_scanner`.
    """

    def __init__(self, ds: LanceDataset) -> None:
        self._dataset = ds
        self._options: dict[str, Any] = {}

    def _set(self, name: str, value: Any) -> ScannerBuilder:
        return self.apply_defaults({name: value})

    def apply_defaults(self, default_opts: Mapping[str, Any]) -> ScannerBuilder:
        """Set several options by their names."""
        self._options |= check_default_options(default_opts)
        return self

    def columns(self, cols: Columns | None = None) -> ScannerBuilder:
        """Names or dotted paths, or name -> SQL expression; None: all."""
        return self._set("columns", cols)

    def filter(self, filter: Filter) -> ScannerBuilder:
        """SQL text or a pyarrow Expression."""
        return self._set("filter", filter)

    def limit(self, n: int | None = None) -> ScannerBuilder:
        """The most rows of the answer."""
        return self._set("limit", n)

    def offset(self, n: int | None = None) -> ScannerBuilder:
        """How many rows of the answer are left out first."""
        return self._set("offset", n)

    def order_by(self, orderings: Sequence[ColumnOrdering | str] | None) -> ScannerBuilder:
        """The columns to order by, the most important first."""
        return self._set("order_by", orderings)

    def batch_size(self, batch_size: int) -> ScannerBuilder:
        """The most rows of a batch."""
        return self._set("batch_size", batch_size)

    def batch_size_bytes(self, batch_size_bytes: int) -> ScannerBuilder:
        """About the most bytes of a batch."""
        return self._set("batch_size_bytes", batch_size_bytes)

    def strict_batch_size(self, strict_batch_size: bool = False) -> ScannerBuilder:
        """Every batch but the last has batch_size rows."""
        return self._set("strict_batch_size", strict_batch_size)

    def io_buffer_size(self, io_buffer_size: int) -> ScannerBuilder:
        """Bytes made ahead, about."""
        return self._set("io_buffer_size", io_buffer_size)

    def batch_readahead(self, nbatches: int | None = None) -> ScannerBuilder:
        """Batches made ahead, at most."""
        return self._set("batch_readahead", nbatches)

    def fragment_readahead(self, nfragments: int | None = None) -> ScannerBuilder:
        """Accepted and not needed."""
        return self._set("fragment_readahead", nfragments)

    def scan_in_order(self, scan_in_order: bool = True) -> ScannerBuilder:
        """Accepted and not needed: rows come in order."""
        return self._set("scan_in_order", scan_in_order)

    def with_row_id(self, with_row_id: bool = True) -> ScannerBuilder:
        """Append `_rowid`."""
        return self._set("with_row_id", with_row_id)

    def with_row_address(self, with_row_address: bool = True) -> ScannerBuilder:
        """Append `_rowaddr`."""
        return self._set("with_row_address", with_row_address)

    def with_fragments(self, fragments: Iterable[LanceFragment] | None) -> ScannerBuilder:
        """Scan only these."""
        return self._set("fragments", None if fragments is None else list(fragments))

    def include_deleted_rows(self, flag: bool) -> ScannerBuilder:
        """Also rows that are deleted and still stored; needs `with_row_id`."""
        return self._set("include_deleted_rows", flag)

    def late_materialization(self, late_materialization: bool | list[str]) -> ScannerBuilder:
        """Whether columns that the filter does not need are taken for the rows that pass."""
        return self._set("late_materialization", late_materialization)

    def blob_handling(self, blob_handling: BlobHandling | None) -> ScannerBuilder:
        """What is given of blobs."""
        return self._set("blob_handling", blob_handling)

    def use_stats(self, use_stats: bool = True) -> ScannerBuilder:
        """False: skip nothing by statistics."""
        return self._set("use_stats", use_stats)

    def use_scalar_index(self, use_scalar_index: bool = True) -> ScannerBuilder:
        """False: ask no index of the filter."""
        return self._set("use_scalar_index", use_scalar_index)

    def nearest(
        self, column: str, q: Any, k: int | None = None, metric: str | None = None, **options: Any
    ) -> ScannerBuilder:
        """Rows near to a vector, or to each of several. options: the others of `nearest`."""
        given = {"column": column, "q": q, "k": k, "metric": metric, **options}
        return self._set("nearest", {name: value for name, value in given.items() if value is not None})

    def full_text_search(self, query: Any, columns: Sequence[str] | None = None) -> ScannerBuilder:
        """Rows by their relevance to a text or a query. columns: that a text is looked for in; None: as the indexes."""
        text = {"query": query, "columns": list(columns)} if isinstance(query, str) and columns else query
        return self._set("full_text_query", text)

    def prefilter(self, prefilter: bool) -> ScannerBuilder:
        """Whether a search looks only among the rows that pass the filter."""
        return self._set("prefilter", prefilter)

    def fast_search(self, flag: bool = True) -> ScannerBuilder:
        """Leave out of a search the rows that the index does not hold."""
        return self._set("fast_search", flag)

    def with_index_segments(self, index_segments: Iterable[str | UUID] | None) -> ScannerBuilder:
        """Ask some segments of a vector index alone, by their uuids."""
        return self._set("index_segments", index_segments)

    def scan_stats_callback(self, callback: Callable[[ScanStatistics], None]) -> ScannerBuilder:
        """Called with what the scan asked of its store, at its end."""
        return self._set("scan_stats_callback", callback)

    def disable_scoring_autoprojection(self, disable: bool = True) -> ScannerBuilder:
        """Give distances and scores only where the columns name them."""
        return self._set("disable_scoring_autoprojection", disable)

    def to_scanner(self) -> LanceScanner:
        """The scan. Raises as `LanceDataset.scanner`."""
        return self._dataset._scan(self._options)


__all__ = ["ScannerBuilder"]
