"""Fragments for engines that write in many processes: `write_fragments`, `LanceFragment` and their metadata."""

from __future__ import annotations

from lance_like.dataset.fragment import FragmentSession, LanceFragment
from lance_like.dataset.fragment_metadata import (
    DataFile,
    DeletionFile,
    FragmentMetadata,
    RowDatasetVersionMeta,
    RowIdMeta,
)
from lance_like.dataset.staging import write_fragments
from lance_like.dataset.write import MAX_BYTES_PER_FILE as DEFAULT_MAX_BYTES_PER_FILE

__all__ = [
    "DEFAULT_MAX_BYTES_PER_FILE",
    "DataFile",
    "DeletionFile",
    "FragmentMetadata",
    "FragmentSession",
    "LanceFragment",
    "RowDatasetVersionMeta",
    "RowIdMeta",
    "write_fragments",
]
