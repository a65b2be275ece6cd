"""The file layer: one data file, its columns, pages and statistics; and its face for users, after `lance.file`.

The names below load on first use, so that the layers above, which use the modules directly, load none of them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lance_like.file.api import LanceFileReader, ReaderResults
    from lance_like.file.metadata import (
        ColumnStatistics,
        LanceBufferDescriptor,
        LanceColumnMetadata,
        LanceFileMetadata,
        LanceFileStatistics,
        LancePageMetadata,
    )
    from lance_like.file.push import LanceFileWriter, stable_version
    from lance_like.file.session import LanceFileSession, ListResult

_HOME = {
    "ColumnStatistics": "metadata",
    "LanceBufferDescriptor": "metadata",
    "LanceColumnMetadata": "metadata",
    "LanceFileMetadata": "metadata",
    "LanceFileReader": "api",
    "LanceFileSession": "session",
    "LanceFileStatistics": "metadata",
    "LanceFileWriter": "push",
    "LancePageMetadata": "metadata",
    "ListResult": "session",
    "ReaderResults": "api",
    "stable_version": "push",
}

__all__ = [
    "ColumnStatistics",
    "LanceBufferDescriptor",
    "LanceColumnMetadata",
    "LanceFileMetadata",
    "LanceFileReader",
    "LanceFileSession",
    "LanceFileStatistics",
    "LanceFileWriter",
    "LancePageMetadata",
    "ListResult",
    "ReaderResults",
    "stable_version",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'lance_like.file' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"lance_like.file.{_HOME[name]}"), name)
    return value
