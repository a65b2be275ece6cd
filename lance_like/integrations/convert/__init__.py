"""Copies of tables of other formats: `lance_like.convert(source, uri)`.

Here: what is where, and the writes. Each format has a module that reads it as a list of `ForeignVersion`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Literal

from lance_like.dataset.handle import LanceDataset
from lance_like.dataset.inputs import as_stream
from lance_like.dataset.progress import Progress
from lance_like.dataset.write import write_version
from lance_like.errors import AlreadyExists, InvalidInput
from lance_like.integrations.convert.delta import read_delta
from lance_like.integrations.convert.lance import read_lance
from lance_like.integrations.convert.parquet import is_parquet_file, read_parquet
from lance_like.integrations.convert.version import ForeignBranch, ForeignVersion, Options, Wanted
from lance_like.io.local import Durability
from lance_like.io.store import Store
from lance_like.io.uri import open_store
from lance_like.table.actions import Replacement, UpdateMetadata
from lance_like.table.branches import Branches
from lance_like.table.commit import commit
from lance_like.table.foreign import foreign_format
from lance_like.table.layout import FOLDERS
from lance_like.table.manifest import Manifest
from lance_like.table.refs import Tags
from lance_like.table.snapshot import latest_version

Format = Literal["delta", "lance", "parquet"]

_READERS: dict[str, Callable[[str, Wanted], list[ForeignVersion]]] = {
    "delta": read_delta,
    "lance": read_lance,
    "parquet": read_parquet,
}
_NAMES = {"Delta Lake": "delta", "Lance": "lance", "Parquet": "parquet"}


def convert(
    source: str | os.PathLike[str],
    uri: str | os.PathLike[str],
    *,
    format: Format | None = None,
    tagged: bool = True,
    branched: bool = True,
    progress: Progress | None = None,
    durability: Durability = "full",
    storage_options: Options = None,
    source_storage_options: Options = None,
) -> LanceDataset:
    """Copy a Lance, Parquet or Delta table into a new dataset, a batch at a time.

    source: a folder, or a Parquet file; hive partitions become columns. With format, any URI that the library of
    that format opens. uri: a place without a dataset. format: None: told by the files that are there.
    tagged: of a Lance table, first every tagged version in ascending order, each with its tags, then the newest.
    branched: of a Lance table also the versions where branches begin, and then each branch in the same way.
    A version that only appends to the one before is written as its new rows, any other as a whole. Other versions
    are left behind, as are indexes; so is all of the history of a Delta table but its newest version.
    progress: as in `write_dataset`, once a version. durability, storage_options: as in `write_dataset`.
    source_storage_options: of the source, as the library of its format takes them; None: as it finds them by itself.
    Kept: types, nullability, the metadata of schema and fields; blob columns of Lance are blob columns, and hold the
    bytes of cells that referred to files elsewhere. A Lance table's own metadata and configuration are set by a commit
    of their own where they are others than before. Each version names its source in its properties.
    Returns a handle on the newest version.
    Raises AlreadyExists, InvalidInput (a source that cannot be read), Unsupported (a type that cannot be stored),
    MissingDependency. What was committed before an error stays: remove it before trying again.
    """
    store = open_store(uri, durability=durability, folders=FOLDERS, storage_options=storage_options)
    _check_free(store)
    place, name = _located(source, format, source_storage_options)
    versions = _READERS[name](place, Wanted(tagged, branched, source_storage_options))
    written = _Written(store, {"source": place, "source_format": name}, progress)
    for version in versions:
        written.add(version)
    newest = written.newest[None]
    assert newest is not None, "a reader gives one version or more"
    return LanceDataset(store, newest, durability=durability)


class _Written:
    """The table that is written. about: properties of every commit. newest: of each branch, by name."""

    def __init__(self, store: Store, about: Mapping[str, str], progress: Progress | None) -> None:
        self._about, self._progress = about, progress
        self._lines: dict[str | None, Store] = {None: store}
        self.newest: dict[str | None, Manifest | None] = {None: None}

    def add(self, version: ForeignVersion) -> None:
        """Write a version, its texts, its tags, and the branches that begin at it."""
        line, base = self._lines[version.branch], self.newest[version.branch]
        number = {} if version.number is None else {"source_version": str(version.number)}
        properties = {**self._about, **number}
        manifest = write_version(
            line,
            base,
            as_stream(version.batches(), version.schema),
            mode="append" if version.extends else "overwrite",
            progress=self._progress,
            properties=properties,
        )
        if (manifest.metadata, manifest.config) != (version.metadata, version.config):
            texts = UpdateMetadata(Replacement(version.metadata), Replacement(version.config))
            manifest = commit(line, manifest, texts, properties=properties)
        self.newest[version.branch] = manifest
        self._name(line, manifest, version)

    def _name(self, line: Store, manifest: Manifest, named: ForeignVersion | ForeignBranch) -> None:
        for tag in named.tags:
            Tags(line).create(tag, manifest.version)
        for branch in named.begins:
            self._lines[branch.name] = Branches(line).create(branch.name, line, manifest.version)
            self.newest[branch.name] = manifest
            self._name(self._lines[branch.name], manifest, branch)


def _check_free(store: Store) -> None:
    found = "dataset" if latest_version(store) is not None else foreign_format(store)
    if found is not None:
        raise AlreadyExists(f"a {found} already exists at {store.uri}", kind="dataset", hint="choose another place")


def _located(source: str | os.PathLike[str], format: str | None, options: Options) -> tuple[str, str]:
    """Where the source is, as its library takes it, and the word of its format."""
    if format is not None and format not in _READERS:
        raise InvalidInput(f"format={format!r}: expected {', '.join(map(repr, _READERS))} or None")
    text = os.fspath(source)
    if format is not None and "://" in text and not text.startswith("file://"):
        return text, format
    store = open_store(text, storage_options=options)
    if format is not None:
        return store.uri, format
    if os.path.isfile(store.uri):
        found = "Parquet" if is_parquet_file(store.uri) else None
    elif latest_version(store) is not None:
        raise InvalidInput(
            "this is a lance_like dataset already",
            kind="source",
            where=store.uri,
            hint="write_dataset(dataset(source), uri) copies one",
        )
    else:
        found = foreign_format(store)
    if found not in _NAMES:
        raise InvalidInput(
            "there is no Lance, Parquet or Delta table here"
            + (f": the table of another format here is {found}" if found else ""),
            kind="source",
            where=store.uri,
            hint="pass format= if it is one; what another library reads, write_dataset takes as Arrow batches",
        )
    return store.uri, _NAMES[found]


__all__ = ["convert"]
