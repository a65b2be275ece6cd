"""Callers that watch a write: told of batches, or of files."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lance_like.dataset.fragment_metadata import FragmentMetadata


@dataclass(frozen=True, slots=True)
class WriteProgress:
    """How far a write is. rows: accepted; nbytes: of the files so far; files: finished.

    A bar: `with tqdm(total=n) as bar: write_dataset(…, progress=lambda now: bar.update(now.rows - bar.n))`.
    """

    rows: int
    nbytes: int
    files: int


class FragmentWriteProgress(ABC):
    """Told when a data file begins and when it is written, each a fragment to come."""

    @abstractmethod
    def begin(self, fragment: FragmentMetadata, **options: Any) -> None:
        """A file begins. fragment: its number within this write as id; it has no files and no rows yet."""

    @abstractmethod
    def complete(self, fragment: FragmentMetadata, **options: Any) -> None:
        """A file is written, and not committed. fragment: what a commit must know of it."""


class NoopFragmentWriteProgress(FragmentWriteProgress):
    """Does nothing."""

    def begin(self, fragment: FragmentMetadata, **options: Any) -> None:
        """Nothing."""

    def complete(self, fragment: FragmentMetadata, **options: Any) -> None:
        """Nothing."""


class NumberedFrom(FragmentWriteProgress):
    """Tells another of fragments by numbers from `first` on, and not from 0."""

    def __init__(self, told: FragmentWriteProgress, first: int) -> None:
        self._told, self._first = told, first

    def begin(self, fragment: FragmentMetadata, **options: Any) -> None:
        """A file begins."""
        self._told.begin(replace(fragment, id=self._first + fragment.id), **options)

    def complete(self, fragment: FragmentMetadata, **options: Any) -> None:
        """A file is written."""
        self._told.complete(replace(fragment, id=self._first + fragment.id), **options)


class FileSystemFragmentWriteProgress(FragmentWriteProgress):
    """Notes in a local folder what is being written.

    While fragment n is written there is `fragment_<n>.in_progress` (JSON: fragment_id, metadata); `fragment_<n>.json`
    is its metadata, complete once the other is gone.
    base_uri: the folder, made if it is missing. metadata: texts about the writer, for the first kind.
    """

    def __init__(self, base_uri: str | os.PathLike[str], metadata: Mapping[str, str] | None = None) -> None:
        self._folder = os.fspath(base_uri).removeprefix("file://")
        self._metadata = dict(metadata or {})

    def begin(self, fragment: FragmentMetadata, **options: Any) -> None:
        """Note that a fragment is being written."""
        os.makedirs(self._folder, exist_ok=True)
        self._note(f"fragment_{fragment.id}.in_progress", {"fragment_id": fragment.id, "metadata": self._metadata})
        self._note(f"fragment_{fragment.id}.json", fragment.to_json())

    def complete(self, fragment: FragmentMetadata, **options: Any) -> None:
        """Note that a fragment is written."""
        self._note(f"fragment_{fragment.id}.json", fragment.to_json())
        os.remove(os.path.join(self._folder, f"fragment_{fragment.id}.in_progress"))

    def _note(self, name: str, value: Mapping[str, Any]) -> None:
        with open(os.path.join(self._folder, name), "w", encoding="utf-8") as file:
            json.dump(value, file)


Progress = Callable[[WriteProgress], None] | FragmentWriteProgress
"""A function that is called after each batch, at least every 32 MiB; or what is told of files."""

__all__ = [
    "FileSystemFragmentWriteProgress",
    "FragmentWriteProgress",
    "NoopFragmentWriteProgress",
    "NumberedFrom",
    "Progress",
    "WriteProgress",
]
