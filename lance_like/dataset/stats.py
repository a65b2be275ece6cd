"""`ds.stats`: how many rows, fragments and bytes a version has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypedDict

from lance_like.dataset.index_values import statistics
from lance_like.index.cache import entry_named
from lance_like.index.coverage import coverage_of, unopened
from lance_like.query.columns import open_columns
from lance_like.query.session import Session
from lance_like.table.fragment import Fragment
from lance_like.table.manifest import Manifest
from lance_like.table.schema import Schema

_OPENED_TOGETHER = 64


class DatasetStats(TypedDict):
    """Counts of a version. num_small_files: fragments of fewer rows than asked about."""

    num_deleted_rows: int
    num_fragments: int
    num_small_files: int


@dataclass(frozen=True, slots=True)
class FieldStatistics:
    """The stored bytes of one field: of its pages, as they are in the files of the version."""

    id: int
    bytes_on_disk: int


@dataclass(frozen=True, slots=True)
class DataStatistics:
    """The stored bytes of every field, in the order of the schema."""

    fields: list[FieldStatistics]


class LanceStats:
    """Statistics about one version."""

    def __init__(self, session: Session, manifest: Manifest) -> None:
        self._session, self._manifest = session, manifest

    def dataset_stats(self, max_rows_per_group: int = 1024) -> DatasetStats:
        """How many rows are deleted, and how many fragments there are, also of less than max_rows_per_group rows."""
        tree = self._manifest.tree
        small = sum(fragment.rows < max_rows_per_group for fragment in tree.iterate())
        return {
            "num_deleted_rows": tree.rows - tree.live_rows,
            "num_fragments": tree.count,
            "num_small_files": small,
        }

    def index_stats(self, index_name: str) -> dict[str, Any]:
        """What an index answers for, as `LanceDataset.index_statistics`. Raises NotFound."""
        entry, indexes = entry_named(self._manifest, index_name), self._session.indexes
        if entry.kind.startswith("IVF_") and not indexes.ignore:
            return statistics(self._manifest, indexes.coverage(self._manifest, index_name), partitions=True)
        return statistics(self._manifest, coverage_of(self._manifest, entry, unopened), partitions=False)

    def data_stats(self) -> DataStatistics:
        """The stored bytes of every field. Cost: the page tables of all columns of all files are read."""
        ids = [field.id for field in self._manifest.schema.fields]
        nbytes = dict.fromkeys(ids, 0)
        for held in stored_nbytes(self._session, self._manifest.schema, self._manifest.tree.iterate(), ids):
            for field_id, stored in held.items():
                nbytes[field_id] += stored
        return DataStatistics([FieldStatistics(field_id, stored) for field_id, stored in nbytes.items()])


def stored_nbytes(
    session: Session, schema: Schema, fragments: Iterable[Fragment], field_ids: Sequence[int]
) -> Iterator[dict[int, int]]:
    """Of each fragment, field id -> stored bytes of its pages, of the fields that its files hold.

    Cost: for every 64 fragments 3 rounds, if they are new.
    """
    leaves = {field_id: schema.field(field_id).type for field_id in field_ids}
    left = iter(fragments)
    while some := list(islice(left, _OPENED_TOGETHER)):
        for columns in open_columns(session, some, leaves):
            yield {field_id: column.pages.stored_nbytes for field_id, column in columns.items()}


__all__ = ["DataStatistics", "DatasetStats", "FieldStatistics", "LanceStats", "stored_nbytes"]
