"""`ds.stats`: how many rows, fragments and bytes a version has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from lance_like.query.session import Session
from lance_like.table.fragment import Fragment
from lance_like.table.manifest import Manifest
from lance_like.table.schema import Schema


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

    def data_stats(self) -> DataStatistics:
        """The stored bytes of every field. Cost: the page tables of all columns of all files are read."""
        ids = [field.id for field in self._manifest.schema.fields]
        nbytes = dict.fromkeys(ids, 0)
        for fragment in self._manifest.tree.iterate():
            for field_id, stored in stored_nbytes(self._session, self._manifest.schema, fragment, ids).items():
                nbytes[field_id] += stored
        return DataStatistics([FieldStatistics(field_id, stored) for field_id, stored in nbytes.items()])


def stored_nbytes(session: Session, schema: Schema, fragment: Fragment, field_ids: Sequence[int]) -> dict[int, int]:
    """Field id -> stored bytes of its pages, of the fields that files of a fragment hold."""
    places = {i: place for i in field_ids if (place := fragment.locate(i)) is not None}
    readers = session.open([file for file, _ in places.values()])
    conversations = [
        (file.key, reader.pages(column, schema.field(field_id).type))
        for reader, (field_id, (file, column)) in zip(readers, places.items(), strict=True)
    ]
    pages = session.drive(conversations)
    return {field_id: found.stored_nbytes for field_id, found in zip(places, pages, strict=True)}


__all__ = ["DataStatistics", "DatasetStats", "FieldStatistics", "LanceStats", "stored_nbytes"]
