"""The options of a scan, the same in every method that reads; those of pylance under its names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, get_args

from lance_like.errors import InvalidInput
from lance_like.query.order import ColumnOrdering
from lance_like.typing_ import whole

if TYPE_CHECKING:
    from uuid import UUID

    from lance_like.dataset.fragment import LanceFragment

BlobHandling: TypeAlias = Literal["all_binary", "blobs_descriptions", "all_descriptions"]
"""What a read gives of blobs: their bytes; descriptions (position, size) of the cells of blob columns; or descriptions
of the cells of all binary columns."""


class Tuning(TypedDict, total=False):
    """Options that change how rows are read, not which.

    use_threads: read and decode on as many threads as there are cores, 8 at most; False: on the caller's alone.
    batch_readahead: batches made ahead, at most; 0: none, and no threads. io_buffer_size: bytes made ahead, about;
    64 MiB by default.
    late_materialization: True: columns that the filter does not need are taken for the rows that pass, False: they are
    read whole; None: by the share of rows that pass. A list of columns says nothing here.
    use_stats: False: skip nothing by statistics. use_scalar_index: False: ask no index of a filter.
    fast_search: True: leave out rows that an index which is asked does not cover yet: the one option that may change
    which rows come. prefilter: of searches, see `ScanOptions`.

    The others are options of pyarrow's and pylance's, accepted and not needed: rows come in order.
    """

    use_threads: bool | None
    batch_readahead: int | None
    io_buffer_size: int | None
    late_materialization: bool | Sequence[str] | None
    use_stats: bool | None
    use_scalar_index: bool | None
    fast_search: bool | None
    cache_metadata: Any
    fragment_readahead: Any
    fragment_scan_options: Any
    memory_pool: Any
    prefilter: Any
    scan_in_order: Any


class ScanOptions(Tuning, total=False):
    """What a scan may be told beside columns, filter, limit and offset; and `Tuning`. None is the default of each.

    order_by: the rows in the order of columns: names (ascending, nulls last) or `ColumnOrdering`. NaN is above every
    number, equal rows keep their order. With a limit, memory is a few times that; without one, the keys of all rows.
    batch_size: the most rows of a batch; by default 65,536, fewer when rows are wide. batch_size_bytes: about the most
    bytes of one. strict_batch_size: every batch but the last has batch_size rows.
    with_row_id, with_row_address: append `_rowid` (the stable id) and `_rowaddr` (fragment << 32 | row).
    fragments: scan only these, in this order.
    blob_handling: "blobs_descriptions" (when None) gives struct<position, size> for cells of blob columns (a filter
    says `video.size > 5`), "all_descriptions" for those of all binary columns, "all_binary" the bytes.
    include_deleted_rows: also rows that are deleted and still stored, with a null `_rowid`; needs with_row_id.
    scan_stats_callback: called with `ScanStatistics` when the last batch was given, or the scan was closed.
    nearest: rows near to a vector, the nearest first, with their `_distance`: {"column", "q": the vector, "k": how many
    (the limit, or 10), "metric": "l2", "cosine", "dot" or "hamming" (that of the index, or l2; of uint8 hamming),
    "nprobes", "minimum_nprobes", "maximum_nprobes", "reach": how near partitions are that are looked into, instead of
    how many, as a share of how much farther than the nearest all are on the average (format_spec/index/ivf.md), "ef",
    "refine_factor", "distance_range": half-open, "use_index": False: exact, "index_name": which of several}. Several
    vectors (2-D; 3-D where rows hold several) give k rows each, with their `query_index`. The rows without an index
    are compared exactly.
    full_text_query: rows by their relevance (BM25), the best first, with their `_score`: a text, {"query", "columns"},
    or a query of `lance_like.query`. The rows without an index count too.
    prefilter: of a search, whether it looks only among the rows that pass the filter (None: it does, and has as many
    rows as asked for), or rows it found are judged afterwards. What a filter says of `_distance` and `_score` is.
    fast_search: of a search, leave out rows that the index does not hold.
    index_segments: of a search of vectors, ask these segments of the index alone, by their uuids (`describe_indices`
    tells them); with `fragments`, rows of these that are in none of them are compared one by one.
    disable_scoring_autoprojection: give `_distance` and `_score` only where columns name them, or none are named.
    """

    order_by: Sequence[ColumnOrdering | str] | None
    batch_size: int | None
    batch_size_bytes: int | None
    strict_batch_size: bool | None
    with_row_id: bool | None
    with_row_address: bool | None
    fragments: Iterable[LanceFragment] | None
    index_segments: Iterable[str | UUID] | None
    blob_handling: BlobHandling | None
    include_deleted_rows: bool | None
    scan_stats_callback: Callable[[ScanStatistics], None] | None
    nearest: Mapping[str, Any] | None
    full_text_query: Any
    disable_scoring_autoprojection: bool | None


@dataclass(frozen=True, slots=True)
class ScanStatistics:
    """What one scan asked of its store. iops: rounds; requests: byte ranges and objects in them; bytes_read: theirs."""

    iops: int
    requests: int
    bytes_read: int


_TUNING = frozenset(Tuning.__annotations__)
SCAN_OPTIONS = _TUNING | frozenset(ScanOptions.__annotations__)
"""The names of the options."""
_READS = frozenset(["columns", "filter", "limit", "offset"])
# The options that are numbers, and the least of each.
_COUNTS = {
    "limit": 0,
    "offset": 0,
    "batch_size": 1,
    "batch_size_bytes": 1,
    "batch_readahead": 0,
    "io_buffer_size": 1,
    "fragment_readahead": 0,
}
# No table has more rows or bytes, and no sum of two such numbers is more than Arrow counts.
_MOST = 1 << 62


def checked_options(options: Mapping[str, Any], known: Set[str] = SCAN_OPTIONS) -> dict[str, Any]:
    """The options, numbers of numpy as Python's. Raises InvalidInput unless all are known, and each can be."""
    checked = dict(options)
    for name, value in options.items():
        if name not in known:
            raise InvalidInput(f"{name!r} is not an option of a read")
        if value is not None and name in _COUNTS:
            checked[name] = min(count(name, value, low=_COUNTS[name]), _MOST)
    handling = options.get("blob_handling")
    if handling is not None and handling not in get_args(BlobHandling):
        raise InvalidInput(f"blob_handling={handling!r}: expected one of {', '.join(get_args(BlobHandling))}")
    return checked


def check_together(options: Mapping[str, Any]) -> None:
    """Raise InvalidInput for options of one scan that contradict each other."""
    if options.get("strict_batch_size") and options.get("batch_size_bytes") is not None:
        raise InvalidInput("strict_batch_size cannot be combined with batch_size_bytes: such batches have any size")
    if options.get("include_deleted_rows") and not options.get("with_row_id"):
        raise InvalidInput("include_deleted_rows is set but with_row_id is false: it tells which rows are deleted")
    if options.get("index_segments") is not None and options.get("nearest") is None:
        raise InvalidInput("index_segments: expected a search of vectors, by nearest")
    if options.get("include_deleted_rows") and is_search(options):
        raise InvalidInput("Cannot include deleted rows: a search finds none")


def is_search(options: Mapping[str, Any]) -> bool:
    """Are rows asked for by what they are near to?"""
    return options.get("nearest") is not None or options.get("full_text_query") is not None


def check_tuning(options: Mapping[str, Any]) -> None:
    """Raise InvalidInput unless all are options that change no answer."""
    checked_options(options, _TUNING)


def check_default_options(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """What scans are told unless they say otherwise, checked one by one. Raises InvalidInput."""
    return checked_options(options or {}, SCAN_OPTIONS | _READS)


def count(name: str, value: Any, *, low: int = 0) -> int:
    """A number that a caller gave. Raises InvalidInput unless it is an integer of at least `low`."""
    number = whole(value, low)
    if number is None:
        raise InvalidInput(f"{name}={value!r}: expected an integer of at least {low}")
    return number


__all__ = [
    "SCAN_OPTIONS",
    "BlobHandling",
    "ScanOptions",
    "ScanStatistics",
    "Tuning",
    "check_default_options",
    "check_together",
    "check_tuning",
    "checked_options",
    "count",
    "is_search",
]
