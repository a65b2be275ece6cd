"""Values about indexes: what `LanceDataset.create_scalar_index` takes, and what handles tell of them."""

from __future__ import annotations

from lance_like.dataset.index_values import (
    Index,
    IndexConfig,
    IndexDescription,
    IndexFile,
    IndexProgress,
    IndexSegmentDescription,
)

__all__ = [
    "Index",
    "IndexConfig",
    "IndexDescription",
    "IndexFile",
    "IndexProgress",
    "IndexSegmentDescription",
]
