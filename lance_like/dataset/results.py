"""What methods of a handle give as plain dictionaries, as types; under the names that pylance has for them."""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict

import pyarrow as pa


class Version(TypedDict):
    """A version. timestamp: UTC. metadata: texts about its commit."""

    version: int
    timestamp: datetime
    metadata: dict[str, str]


class VersionRef(TypedDict):
    """The number of a version."""

    version: int


class Tag(TypedDict):
    """What a tag names. branch: None for the table itself. manifest_size: bytes of the version's root manifest."""

    branch: str | None
    version: int
    created_at: datetime
    updated_at: datetime
    manifest_size: int
    metadata: dict[str, str]


class Branch(TypedDict):
    """Where a branch began. branch_identifier: pairs of a version and a uuid, of the branches above and of this one.

    parent_branch: None for the table itself. create_at: seconds since 1970 UTC.
    """

    parent_branch: str | None
    branch_identifier: list[tuple[int, str]]
    parent_version: int
    create_at: int
    manifest_size: int
    metadata: dict[str, str]


class DeleteResult(TypedDict):
    """What a delete did."""

    num_deleted_rows: int


class UpdateResult(TypedDict):
    """What an update did."""

    num_rows_updated: int


class ExecuteResult(TypedDict):
    """What a merge did."""

    num_inserted_rows: int
    num_updated_rows: int
    num_deleted_rows: int


class AlterColumn(TypedDict, total=False):
    """What is to be another of a column. path: its name or dotted path; needed."""

    path: str
    name: str | None
    nullable: bool | None
    data_type: pa.DataType | None


class IndexInformation(TypedDict):
    """A segment of an index. uuid: None where the index has no segment yet. fragment_ids: that it has rows of."""

    name: str
    type: str
    uuid: str | None
    fields: list[str]
    version: int
    fragment_ids: set[int]
    base_id: int | None


__all__ = [
    "AlterColumn",
    "Branch",
    "DeleteResult",
    "ExecuteResult",
    "IndexInformation",
    "Tag",
    "UpdateResult",
    "Version",
    "VersionRef",
]
