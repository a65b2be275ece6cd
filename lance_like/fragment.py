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

__all__ = [
    "DataFile",
    "DeletionFile",
    "FragmentMetadata",
    "FragmentSession",
    "LanceFragment",
    "RowDatasetVersionMeta",
    "RowIdMeta",
    "write_fragments",
]
