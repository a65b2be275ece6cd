"""lance_like: a columnar table format for AI data.

Everything is loaded on first use: `import lance_like` itself imports no other library.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lance_like.version import __version__

if TYPE_CHECKING:
    from lance_like import (
        arrow,
        blob,
        commit,
        errors,
        file,
        fragment,
        indices,
        optimize,
        progress,
        query,
        rerankers,
        sampler,
        schema,
        udf,
        vector,
    )
    from lance_like import torch as torch
    from lance_like.blob import BlobArray, BlobColumn
    from lance_like.dataset import (
        BatchUDF,
        Blob,
        BlobFile,
        FragmentMetadata,
        LanceDataset,
        LanceFragment,
        LanceOperation,
        LanceScanner,
        MergeInsertBuilder,
        ScanStatistics,
        Session,
        Transaction,
        WriteProgress,
        batch_udf,
        blob_array,
        blob_field,
        dataset,
        write_dataset,
    )
    from lance_like.dataset.cleanup import CleanupCandidateFile, CleanupExplanation, CleanupStats
    from lance_like.dataset.index_values import Index, IndexFile, IndexProgress
    from lance_like.dataset.sql.query import SqlQuery, SqlQueryBuilder, sql
    from lance_like.dataset.stats import DataStatistics, FieldStatistics
    from lance_like.index.text.analysis import FtsToken, tokenize
    from lance_like.index.text.highlight import Marking, highlight
    from lance_like.integrations.convert import convert
    from lance_like.query.build import Expression, col, expr, func, lit, when
    from lance_like.schema import json_to_schema, schema_to_json

_HOME = {
    "BlobArray": "lance_like.blob:BlobArray",
    "BlobColumn": "lance_like.blob:BlobColumn",
    "arrow": "lance_like.arrow:",
    "blob": "lance_like.blob:",
    "BatchUDF": "lance_like.dataset:BatchUDF",
    "Blob": "lance_like.dataset:Blob",
    "BlobFile": "lance_like.dataset:BlobFile",
    "CleanupCandidateFile": "lance_like.dataset.cleanup:CleanupCandidateFile",
    "CleanupExplanation": "lance_like.dataset.cleanup:CleanupExplanation",
    "CleanupStats": "lance_like.dataset.cleanup:CleanupStats",
    "DataStatistics": "lance_like.dataset.stats:DataStatistics",
    "Expression": "lance_like.query.build:Expression",
    "FieldStatistics": "lance_like.dataset.stats:FieldStatistics",
    "FtsToken": "lance_like.index.text.analysis:FtsToken",
    "FragmentMetadata": "lance_like.dataset:FragmentMetadata",
    "Index": "lance_like.dataset.index_values:Index",
    "IndexFile": "lance_like.dataset.index_values:IndexFile",
    "IndexProgress": "lance_like.dataset.index_values:IndexProgress",
    "LanceDataset": "lance_like.dataset:LanceDataset",
    "LanceFragment": "lance_like.dataset:LanceFragment",
    "LanceOperation": "lance_like.dataset:LanceOperation",
    "LanceScanner": "lance_like.dataset:LanceScanner",
    "MergeInsertBuilder": "lance_like.dataset:MergeInsertBuilder",
    "ScanStatistics": "lance_like.dataset:ScanStatistics",
    "Session": "lance_like.dataset:Session",
    "Transaction": "lance_like.dataset:Transaction",
    "WriteProgress": "lance_like.dataset:WriteProgress",
    "batch_udf": "lance_like.dataset:batch_udf",
    "col": "lance_like.query.build:col",
    "commit": "lance_like.commit:",
    "fragment": "lance_like.fragment:",
    "Marking": "lance_like.index.text.highlight:Marking",
    "highlight": "lance_like.index.text.highlight:highlight",
    "tokenize": "lance_like.index.text.analysis:tokenize",
    "blob_array": "lance_like.dataset:blob_array",
    "blob_field": "lance_like.dataset:blob_field",
    "convert": "lance_like.integrations.convert:convert",
    "dataset": "lance_like.dataset:",
    "errors": "lance_like.errors:",
    "expr": "lance_like.query.build:expr",
    "json_to_schema": "lance_like.schema:json_to_schema",
    "schema_to_json": "lance_like.schema:schema_to_json",
    "file": "lance_like.file:",
    "func": "lance_like.query.build:func",
    "indices": "lance_like.indices:",
    "lit": "lance_like.query.build:lit",
    "optimize": "lance_like.optimize:",
    "progress": "lance_like.progress:",
    "query": "lance_like.query:",
    "rerankers": "lance_like.rerankers:",
    "sampler": "lance_like.sampler:",
    "schema": "lance_like.schema:",
    "sql": "lance_like.dataset.sql.query:sql",
    "SqlQuery": "lance_like.dataset.sql.query:SqlQuery",
    "SqlQueryBuilder": "lance_like.dataset.sql.query:SqlQueryBuilder",
    "torch": "lance_like.torch:",
    "udf": "lance_like.udf:",
    "vector": "lance_like.vector:",
    "when": "lance_like.query.build:when",
    "write_dataset": "lance_like.dataset:write_dataset",
}

# Without `torch`, so that a star import does not ask for it.
__all__ = [
    "BatchUDF",
    "Blob",
    "BlobArray",
    "BlobColumn",
    "BlobFile",
    "CleanupCandidateFile",
    "CleanupExplanation",
    "CleanupStats",
    "DataStatistics",
    "Expression",
    "FieldStatistics",
    "FragmentMetadata",
    "FtsToken",
    "Index",
    "IndexFile",
    "IndexProgress",
    "LanceDataset",
    "LanceFragment",
    "LanceOperation",
    "LanceScanner",
    "Marking",
    "MergeInsertBuilder",
    "ScanStatistics",
    "Session",
    "SqlQuery",
    "SqlQueryBuilder",
    "Transaction",
    "WriteProgress",
    "__version__",
    "arrow",
    "batch_udf",
    "blob",
    "blob_array",
    "blob_field",
    "col",
    "commit",
    "convert",
    "dataset",
    "errors",
    "expr",
    "file",
    "fragment",
    "func",
    "highlight",
    "indices",
    "json_to_schema",
    "lit",
    "optimize",
    "progress",
    "query",
    "rerankers",
    "sampler",
    "schema",
    "schema_to_json",
    "sql",
    "tokenize",
    "udf",
    "vector",
    "when",
    "write_dataset",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'lance_like' has no attribute {name!r}")
    module, _, attribute = _HOME[name].partition(":")
    found = importlib.import_module(module)
    value = globals()[name] = getattr(found, attribute) if attribute else found
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, "torch"})
