"""Clones: a version as the first one of another table, with its own files or with those of the table it comes from."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from lance_like.errors import CommitUnknown, InvalidInput
from lance_like.index.files import SegmentReader
from lance_like.io.store import Store, discard
from lance_like.query.session import Session
from lance_like.table.commit import begin
from lance_like.table.deletions import Deletions
from lance_like.table.fragment import DataFile, Fragment
from lance_like.table.indices import IndexEntry, IndexSegment, RowRuns, SegmentFile, files_of
from lance_like.table.layout import new_data_key
from lance_like.table.lineage import Lineage
from lance_like.table.manifest import Manifest, Transaction, is_base_uri
from lance_like.table.parts import Part, Tree

_STEP_NBYTES = 8 << 20

AnyFile = TypeVar("AnyFile", bound=DataFile | SegmentFile)


@dataclass(frozen=True, slots=True)
class Clone:
    """How a version becomes one of another table: where its files are there, as path and base, and its bases."""

    places: Mapping[str, tuple[str, int | None]]
    bases: Mapping[int, str]

    def of(self, manifest: Manifest) -> Manifest:
        """The version as it stands in the other table, with parts that are to be written there."""
        tree = manifest.tree
        return replace(
            manifest,
            timestamp_us=max(time.time_ns() // 1000, manifest.timestamp_us + 1),
            schema_ref=None,
            tree=Tree(tuple(map(self._part, tree.parts)), tuple(map(self._fragment, tree.tail))),
            indices=tuple(map(self._index, manifest.indices)),
            bases=self.bases,
            digest=None,
        )

    def _part(self, part: Part) -> Part:
        items = (self._fragment(item) if isinstance(item, Fragment) else self._part(item) for item in part.items)
        return Part(part.level, tuple(items))

    def _fragment(self, fragment: Fragment) -> Fragment:
        return replace(
            fragment,
            files=tuple(self.placed(file) for file in fragment.files),
            lineage=Lineage.of(fragment.runs),
            deletions=Deletions.of(fragment.deleted) if fragment.deletions else None,
        )

    def _index(self, entry: IndexEntry) -> IndexEntry:
        return entry.with_segments(tuple(map(self._segment, entry.segments)))

    def _segment(self, segment: IndexSegment) -> IndexSegment:
        return replace(
            segment,
            files=tuple(self.placed(file) for file in segment.files),
            row_ids=RowRuns.of_runs(segment.row_ids.runs),
            invalid=Deletions.of(segment.invalid_ordinals) if segment.invalid else None,
        )

    def placed(self, file: AnyFile) -> AnyFile:
        """The file as the other table names it."""
        path, base = self.places[file.key]
        return replace(file, path=path, base=base)


def shallow_clone(source: Store, manifest: Manifest, target: Store) -> Manifest:
    """Make a version the first one of another table that shares its data files. Returns that version.

    Raises AlreadyExists; InvalidInput for a source that a URI does not name. Cost: the metadata, no data.
    """
    if not is_base_uri(source.uri):
        raise InvalidInput(f"{source.uri!r} cannot be the base of a clone: expected an absolute path or a URI")
    number = max(manifest.bases, default=0) + 1
    places = {file.key: (file.path, file.base or number) for file in _files(manifest)}
    return begin(target, Clone(places, {**manifest.bases, number: source.uri}).of(manifest), _record(manifest, source))


def deep_clone(source: Store, manifest: Manifest, target: Store) -> Manifest:
    """Make a version the first one of another table that has copies of its data files. Returns that version.

    source: with the bases of the version. Each copy is opened before it counts. Raises AlreadyExists, Corrupt.
    Memory: 8 MiB.
    """
    session = Session(target)
    clone = Clone({file.key: (new_data_key(), None) for file in _files(manifest)}, {})
    try:
        for file in _files(manifest):
            copy = clone.placed(file)
            target.put(copy.path, _chunks(source, file.key, file.nbytes))
            if isinstance(copy, DataFile):
                session.open([copy])
            else:
                SegmentReader(target, [copy]).file(copy.name)
        return begin(target, clone.of(manifest), _record(manifest, source))
    except CommitUnknown:
        raise
    except Exception:  # no interrupt: what was being committed then may be there
        discard(target, [path for path, _ in clone.places.values()])
        raise


def _files(manifest: Manifest) -> Iterator[DataFile | SegmentFile]:
    yield from (file for fragment in manifest.tree.iterate() for file in fragment.files)
    yield from files_of(manifest.indices)


def _chunks(store: Store, key: str, nbytes: int) -> Iterator[bytes]:
    for start in range(0, nbytes, _STEP_NBYTES):
        span = np.array([start]), np.array([min(nbytes, start + _STEP_NBYTES)])
        yield store.gather(key, [span])[0].tobytes()


def _record(manifest: Manifest, source: Store) -> Transaction:
    about = f"version {manifest.version} of {source.uri}"
    return Transaction("", "clone", manifest.version - 1, message=about, source_version=manifest.version)


__all__ = ["deep_clone", "shallow_clone"]
