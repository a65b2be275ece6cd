"""The datasets of users: handles, reads and writes. Also callable: `lance_like.dataset(uri)` opens a dataset.

The package and the function have one name, as in pylance; whichever is loaded first, both work.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from lance_like.dataset.blob import Blob, blob_array, blob_field
from lance_like.dataset.blob_file import BlobFile
from lance_like.dataset.fragment import LanceFragment
from lance_like.dataset.fragment_metadata import FragmentMetadata
from lance_like.dataset.handle import LanceDataset
from lance_like.dataset.index_values import Index
from lance_like.dataset.merge import MergeInsertBuilder
from lance_like.dataset.opening import dataset, write_dataset
from lance_like.dataset.operations import LANCE_COMMIT_MESSAGE_KEY, LanceOperation, Transaction
from lance_like.dataset.progress import WriteProgress
from lance_like.dataset.scan_options import ScanStatistics
from lance_like.dataset.scanner import LanceScanner
from lance_like.dataset.scanner_builder import ScannerBuilder
from lance_like.dataset.udf import BatchUDF, batch_udf
from lance_like.dataset.upkeep import AutoCleanupConfig
from lance_like.query.order import ColumnOrdering


class _Callable(ModuleType):
    def __call__(self, *args: Any, **options: Any) -> LanceDataset:
        return dataset(*args, **options)


sys.modules[__name__].__class__ = _Callable

__all__ = [
    "LANCE_COMMIT_MESSAGE_KEY",
    "AutoCleanupConfig",
    "BatchUDF",
    "Blob",
    "BlobFile",
    "ColumnOrdering",
    "FragmentMetadata",
    "Index",
    "LanceDataset",
    "LanceFragment",
    "LanceOperation",
    "LanceScanner",
    "MergeInsertBuilder",
    "ScanStatistics",
    "ScannerBuilder",
    "Transaction",
    "WriteProgress",
    "batch_udf",
    "blob_array",
    "blob_field",
    "dataset",
    "write_dataset",
]
