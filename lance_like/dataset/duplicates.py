"""Rows that are equal, and texts that are alike: the part of `LanceDataset` about duplicates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa

from lance_like.dataset.bound import BoundVersion
from lance_like.dataset.likeness import Signed, groups_of, pairs_of, read_signed, search_signed
from lance_like.dataset.scanner import Filter
from lance_like.errors import InvalidInput
from lance_like.typing_ import Int64s

if TYPE_CHECKING:
    from lance_like.dataset.handle import LanceDataset

_GROUPS = pa.schema([("representative", pa.uint64()), ("duplicates", pa.list_(pa.uint64()))])
_PAIRS = pa.schema([("row_id_a", pa.uint64()), ("row_id_b", pa.uint64()), ("similarity", pa.float32())])


class DatasetDuplicates(BoundVersion):
    """The methods of `LanceDataset` that find equal and like rows. None of them changes anything.

    Groups come as a table: `representative`, the least row id of a group of two or more, and `duplicates`, the ids of
    its other rows, ascending; groups in order of their representatives. To keep one row of each group:
    `ds.delete("_rowid IN (...)")` of the duplicates, or `take` by the ids of the others.
    """

    def find_duplicates(self, columns: Sequence[str] | None = None, *, filter: Filter = None) -> pa.Table:
        """Groups of rows that are equal in some columns, all of them when None. Exact.

        Null equals null, NaN equals NaN. filter: rows that are looked at.
        Memory: 16 bytes a row; the rows that have an equal are read again and compared, DuckDB keeping distinct ones.
        Raises NotFound for an unknown column.
        """
        from lance_like.dataset.equality import equal_rows  # which opens datasets

        found = [some.cast(_GROUPS) for some in equal_rows(self._reading, columns, filter)]
        return pa.concat_tables([_GROUPS.empty_table(), *found]).combine_chunks().sort_by("representative")

    def find_near_duplicates(
        self,
        column: str,
        threshold: float = 0.8,
        *,
        index: str | None = None,
        use_index: bool = True,
        exact: bool = False,
        params: Mapping[str, Any] | None = None,
    ) -> pa.Table:
        """Groups of rows whose texts are alike: pairs of a similarity of `threshold` or more are in one group.

        The similarity is Jaccard's of the shingles of texts, as estimated by MinHash signatures (standard error 0.035
        at 0.8); of the pairs at the threshold 99 in 100 or more are found. exact: it is computed from the texts of
        pairs that may reach it. index: the name of a MINHASHLSH index; None: any of the column. use_index: False: all
        texts are read and signed. params: of the signatures where no index is used, see MINHASHLSH.
        Memory: 150 bytes a row. Raises NotFound; InvalidInput for a column of no text.
        """
        signed = read_signed(self._reading, column, index=index, use_index=use_index, params=params)
        return _table_of(*groups_of(signed, _checked(threshold), exact=exact))

    def find_near_duplicate_pairs(
        self,
        column: str,
        threshold: float = 0.8,
        *,
        index: str | None = None,
        use_index: bool = True,
        exact: bool = False,
        params: Mapping[str, Any] | None = None,
    ) -> pa.RecordBatchReader:
        """Pairs of rows whose texts are alike, as a stream of `row_id_a`, `row_id_b` and `similarity`, each pair once.

        Of rows with equal signatures each is paired with the first, and only the first with other rows.
        Options as in `find_near_duplicates`.
        """
        signed = read_signed(self._reading, column, index=index, use_index=use_index, params=params)
        pairs = pairs_of(signed, _checked(threshold), exact=exact)
        return pa.RecordBatchReader.from_batches(_PAIRS, _pair_batches(signed, pairs))

    def minhash_search(
        self,
        text: str,
        column: str,
        *,
        limit: int = 10,
        columns: Sequence[str] | None = None,
        index: str | None = None,
        fast_search: bool = False,
    ) -> pa.Table:
        """The rows whose texts are most like another, with their `_distance`: 1 - the similarity that is estimated.

        Rows count that share a band of their signature with it (see MINHASHLSH, `num_bands`), the nearest first, equal
        ones in order of row ids. limit: how many at most. columns: of the answer. index: its name; None: any of the
        column. fast_search: leave out rows that are in no segment of the index. Raises NotFound for a column without
        an index.
        """
        ids, distances = search_signed(self._reading, text, column, k=limit, index=index, fast=fast_search)
        rows = self._reading._take_rows(ids, None if columns is None else list(columns))
        return rows.append_column(pa.field("_distance", pa.float32()), pa.array(distances, pa.float32()))

    @property
    def _reading(self) -> LanceDataset:
        return cast("LanceDataset", self)


def _checked(threshold: float) -> float:
    if not 0 < threshold <= 1:
        raise InvalidInput(f"threshold={threshold!r}: expected a similarity above 0, of 1 at most")
    return float(threshold)


def _table_of(members: Int64s, bounds: Int64s) -> pa.Table:
    """Groups as a table. members: row ids of group after group, ascending in each; bounds: where groups begin."""
    firsts = bounds[:-1]
    others = np.delete(members, firsts)
    lists = pa.ListArray.from_arrays(
        pa.array(bounds - np.arange(len(bounds)), pa.int32()), pa.array(others.astype(np.uint64))
    )
    return pa.table([pa.array(members[firsts].astype(np.uint64)), lists], schema=_GROUPS).sort_by("representative")


def _pair_batches(signed: Signed, pairs: Iterator[Any]) -> Iterator[pa.RecordBatch]:
    for one, other, alike in pairs:
        ids = [np.sort(np.stack([signed.ids[one], signed.ids[other]]), axis=0).astype(np.uint64)]
        yield pa.record_batch([pa.array(ids[0][0]), pa.array(ids[0][1]), pa.array(alike, pa.float32())], schema=_PAIRS)


__all__ = ["DatasetDuplicates"]
