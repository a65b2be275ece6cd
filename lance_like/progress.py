"""Callers that watch a write of fragments, or the build of an index."""

from __future__ import annotations

from lance_like.dataset.index_values import IndexProgress
from lance_like.dataset.progress import (
    FileSystemFragmentWriteProgress,
    FragmentWriteProgress,
    NoopFragmentWriteProgress,
    WriteProgress,
)

__all__ = [
    "FileSystemFragmentWriteProgress",
    "FragmentWriteProgress",
    "IndexProgress",
    "NoopFragmentWriteProgress",
    "WriteProgress",
]
