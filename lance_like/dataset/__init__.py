"""The datasets of users: handles, reads and writes. Also callable: `lance_like.dataset(uri)` opens a dataset.

The package and the function have one name, as in pylance; whichever is loaded first, both work.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from lance_like.dataset.blob import Blob, blob_array, blob_field
from lance_like.dataset.blob_file import BlobFile
from lance_like.dataset.branches import DatasetBranches as Branches
from lance_like.dataset.commits import BulkCommitResult
from lance_like.dataset.delta import DatasetDelta
from lance_like.dataset.fragment import LanceFragment
from lance_like.dataset.fragment_metadata import DataFile, FragmentMetadata
from lance_like.dataset.handle import LanceDataset
from lance_like.dataset.index_values import Index, IndexConfig, IndexFile
from lance_like.dataset.lance_schema import LanceSchema
from lance_like.dataset.merge_builder import MergeInsertBuilder
from lance_like.dataset.opening import dataset, write_dataset
from lance_like.dataset.operations import LANCE_COMMIT_MESSAGE_KEY, LanceOperation, Transaction
from lance_like.dataset.optimize import Compaction, CompactionMetrics, DatasetOptimizer
from lance_like.dataset.progress import WriteProgress
from lance_like.dataset.results import (
    AlterColumn,
    Branch,
    DeleteResult,
    ExecuteResult,
    IndexInformation,
    Tag,
    UpdateResult,
    Version,
    VersionRef,
)
from lance_like.dataset.scan_options import ScanStatistics
from lance_like.dataset.scanner import LanceScanner
from lance_like.dataset.scanner_builder import ScannerBuilder
from lance_like.dataset.session import Session
from lance_like.dataset.stats import DatasetStats, DataStatistics, FieldStatistics, LanceStats
from lance_like.dataset.tags import DatasetTags as Tags
from lance_like.dataset.udf import BatchUDF, batch_udf
from lance_like.dataset.upkeep import AutoCleanupConfig
from lance_like.query.order import ColumnOrdering

if TYPE_CHECKING:
    from lance_like.dataset.sql.query import SqlQuery, SqlQueryBuilder
    from lance_like.index.text.queries import FullTextQuery
    from lance_like.query.near_query import VectorSearchQuery

# Loaded on first use.
_LATER = {
    "FullTextQuery": "lance_like.index.text.queries",
    "SqlQuery": "lance_like.dataset.sql.query",
    "SqlQueryBuilder": "lance_like.dataset.sql.query",
    "VectorSearchQuery": "lance_like.query.near_query",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'lance_like.dataset' has no attribute {name!r}")
    return getattr(importlib.import_module(_LATER[name]), name)


class _Callable(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> LanceDataset:
        return dataset(*args, **options)


sys.modules[__name__].__class__ = _Callable

__all__ = [
    "LANCE_COMMIT_MESSAGE_KEY",
    "AlterColumn",
    "AutoCleanupConfig",
    "BatchUDF",
    "Blob",
    "BlobFile",
    "Branch",
    "Branches",
    "BulkCommitResult",
    "ColumnOrdering",
    "Compaction",
    "CompactionMetrics",
    "DataFile",
    "DataStatistics",
    "DatasetDelta",
    "DatasetOptimizer",
    "DatasetStats",
    "DeleteResult",
    "ExecuteResult",
    "FieldStatistics",
    "FragmentMetadata",
    "FullTextQuery",
    "Index",
    "IndexConfig",
    "IndexFile",
    "IndexInformation",
    "LanceDataset",
    "LanceFragment",
    "LanceOperation",
    "LanceScanner",
    "LanceSchema",
    "LanceStats",
    "MergeInsertBuilder",
    "ScanStatistics",
    "ScannerBuilder",
    "Session",
    "SqlQuery",
    "SqlQueryBuilder",
    "Tag",
    "Tags",
    "Transaction",
    "UpdateResult",
    "VectorSearchQuery",
    "Version",
    "VersionRef",
    "WriteProgress",
    "batch_udf",
    "blob_array",
    "blob_field",
    "dataset",
    "write_dataset",
]
