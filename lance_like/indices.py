"""Values about indexes: what their builds take, what is trained before, and what handles tell of them."""

from __future__ import annotations

from lance_like.dataset.index_models import IndicesBuilder, IvfModel, PqModel
from lance_like.dataset.index_values import (
    Index,
    IndexConfig,
    IndexDescription,
    IndexFile,
    IndexFileVersion,
    IndexProgress,
    IndexSegmentDescription,
)

__all__ = [
    "Index",
    "IndexConfig",
    "IndexDescription",
    "IndexFile",
    "IndexFileVersion",
    "IndexProgress",
    "IndexSegmentDescription",
    "IndicesBuilder",
    "IvfModel",
    "PqModel",
]
