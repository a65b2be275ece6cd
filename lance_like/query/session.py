"""The open data files of one dataset handle: opened side by side, checked once, kept under a limit."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, TypeAlias

import pyarrow as pa

from lance_like.encodings.physical import as_key
from lance_like.encodings.stack import together
from lance_like.errors import Corrupt, NotFound
from lance_like.file.pages import ColumnPages
from lance_like.file.reader import FileReader, open_file
from lance_like.file.several import SeveralColumns
from lance_like.index.cache import OpenIndexes
from lance_like.io.fetch import drive_all
from lance_like.io.store import Store, missing
from lance_like.kept import Kept, MadeOf
from lance_like.locks import lock_over_forks
from lance_like.query.expr import room_of
from lance_like.query.projection import FileColumns, Projection
from lance_like.table.fragment import DataFile
from lance_like.table.manifest import Manifest
from lance_like.table.snapshot import gone
from lance_like.typing_ import Conversation, T

CACHE_NBYTES = 256 << 20
"""Default of what a handle keeps of the metadata of its files: some tens of KiB for a file of few columns."""

# The share of what is kept that columns of files which are read together may take.
_SEVERAL_SHARE = 8
# Of segments in memory, made of the texts that no index holds.
_TAILS_NBYTES = 256 << 20
# Of sets of rows that pass filters, in each of so many versions: one that is changed is asked for in two.
_PASSING_NBYTES, _MADE_KEPT = 64 << 20, 2
_ASKED_KEPT, _PROJECTIONS_KEPT, _FILTERED_KEPT, _LOOKUPS_KEPT, _JUDGED_KEPT = 64, 64, 64, 256, 256

# What is kept grows as files are read: it is summed up again after so many uses of a session, or a quarter as many as
# it has files, so that summing up is never most of the work.
_USES_BETWEEN = 64

_LOCK = lock_over_forks()

Reads: TypeAlias = Generator[list[tuple[str, Conversation[Any]]], list[Any], T]
"""A read of several files: asks for conversations with them, by path, is given their answers, and has an answer."""


@dataclass(frozen=True, eq=False)
class OfVersion:
    """What searches made of a version, for the next one.

    passing: rows that pass a filter (query/rowset.py). text_columns: by names, and those of which phrases are asked,
    fields and their indexes (query/relevant.py).
    """

    passing: Kept[Any] = field(default_factory=partial(Kept[Any], _PASSING_NBYTES))
    text_columns: Kept[Any] = field(default_factory=partial(Kept[Any], _ASKED_KEPT))


class Session:
    """Readers by path.

    verify: check the blocks of pages on first touch; metadata is always checked.
    cache_nbytes: what the readers may keep, by estimate: their ends of files, page tables, checksums, dictionaries.
    Those used longest ago are dropped above it, but never those of the call at hand.
    indexes: the open indexes; None: those of the store with the defaults.
    tails: what searches made of rows that no index holds.
    """

    def __init__(
        self,
        store: Store,
        *,
        verify: bool = True,
        cache_nbytes: int = CACHE_NBYTES,
        indexes: OpenIndexes | None = None,
    ) -> None:
        self.store = store
        self.verify = verify
        self.indexes = indexes or OpenIndexes(store, verify=verify)
        self.tails: Kept[Any] = Kept(_TAILS_NBYTES)
        # Of columns that are compared with vectors (query/near.py), or asked what indexes left open (query/found.py).
        self.projections: MadeOf[Projection] = MadeOf(_PROJECTIONS_KEPT)
        # The indexes that filters may ask, of indices, schemas and columns; what to ask them, of conditions, and what
        # is left of these, of their parts (query/hits.py).
        self.filters: MadeOf[Any] = MadeOf(_FILTERED_KEPT)
        self.lookups: MadeOf[Any] = MadeOf(_LOOKUPS_KEPT, room_of)
        # What statistics say of the rows that pass conditions, by fragments (query/scan.py).
        self.judged: MadeOf[Any] = MadeOf(_JUDGED_KEPT, room_of)
        # Columns of several files that are read together, by files, numbers and types (query/neighbours.py).
        self.several: Kept[SeveralColumns] = Kept(cache_nbytes // _SEVERAL_SHARE)
        self._cache_nbytes = cache_nbytes
        self._readers: dict[str, FileReader] = {}
        # When each was last asked for, by a clock that counts what is asked for.
        self._last_used: dict[str, int] = {}
        self._clock = self._uses = 0
        self._versions: MadeOf[OfVersion] = MadeOf(_MADE_KEPT)
        # The line and the version that are read, where it is one.
        self._bound: tuple[Store, Manifest] | None = None

    def at(self, line: Store, manifest: Manifest) -> Session:
        """The same open files for reads of one version, which say so when it is gone."""
        other = copy(self)
        other._bound = line, manifest
        return other

    def through(self, store: Store) -> Session:
        """The same open files, read through another store, such as one that counts; of indexes: `counting_segments`."""
        other = copy(self)
        other.store = store
        return other

    def beside(self, store: Store) -> Session:
        """The same open files and segments for another handle; what that makes of its versions is its own."""
        other = self.through(store)
        other.indexes = self.indexes.beside()
        other._versions = MadeOf(_MADE_KEPT)
        return other

    def of(self, manifest: Manifest) -> OfVersion:
        """What was made of a version; kept while the handle is at that version or the next."""
        return self._versions.get(manifest, make=OfVersion)

    def open(self, files: Sequence[DataFile]) -> list[FileReader]:
        """The readers of files, in order. Cost: one round for those that are not open yet."""
        if len(files) == 1 and self._uses < _USES_BETWEEN:
            key = files[0].key
            reader = self._readers.get(key)
            if reader is not None:
                self._clock += 1
                self._last_used[key] = self._clock
                self._uses += 1
                return [reader]
        readers = [self._readers.get(file.key) for file in files]
        new = self._open_missing(files, readers) if None in readers else {}
        for file in files:
            self._clock += 1
            self._last_used[file.key] = self._clock
        self._uses += 1 + len(new)
        if new or self._uses >= _USES_BETWEEN:
            self._keep(files, new)
        return [new[file.key] if reader is None else reader for file, reader in zip(files, readers, strict=True)]

    def has_open(self, files: Sequence[DataFile]) -> bool:
        """Whether files are open."""
        return all(file.key in self._readers for file in files)

    def _open_missing(self, files: Sequence[DataFile], readers: Sequence[FileReader | None]) -> dict[str, FileReader]:
        missing = {file.key: file for file, reader in zip(files, readers, strict=True) if reader is None}
        conversations = [
            (path, open_file(path, file.nbytes, tail=file.tail, verify=self.verify)) for path, file in missing.items()
        ]
        opened = dict(zip(missing, self.drive(conversations), strict=True))
        for path, file in missing.items():
            _check_shape(opened[path], file)
        return opened

    def columns(
        self, asked: Sequence[tuple[DataFile, Sequence[int], Sequence[pa.DataType]]]
    ) -> list[list[ColumnPages]]:
        """The pages of columns of files, all side by side. asked: files, numbers and types of their columns.

        Cost: one round for files that are not open yet, 2 for columns.
        """
        readers = self.open([file for file, _, _ in asked])
        return self.drive(
            [
                (file.key, reader.pages_of(columns, kinds))
                for reader, (file, columns, kinds) in zip(readers, asked, strict=True)
            ]
        )

    def several_columns(self, asked: Sequence[tuple[Sequence[DataFile], FileColumns]]) -> list[SeveralColumns]:
        """Columns of several files each, opened side by side. Raises Corrupt.

        Cost: one round for files that are not open yet, 2 for what they state of columns that were not opened so.
        """
        keys = [
            (tuple([file.key for file in files]), held.columns, tuple(map(as_key, held.kinds))) for files, held in asked
        ]
        found = [self.several.get(key) for key in keys]
        new = [place for place, known in enumerate(found) if known is None]
        for place, made in zip(new, self._opened_several([asked[place] for place in new]), strict=True):
            self.several.put(keys[place], made, made.nbytes_cached)
            found[place] = made
        return [columns for columns in found if columns is not None]

    def _opened_several(self, asked: Sequence[tuple[Sequence[DataFile], FileColumns]]) -> list[SeveralColumns]:
        if not asked:
            return []
        pairs = [(file, held) for files, held in asked for file in files]
        readers = self.open([file for file, _ in pairs])
        stated = iter(
            self.drive(
                [(file.key, reader.stated(held.columns)) for reader, (file, held) in zip(readers, pairs, strict=True)]
            )
        )
        return [
            SeveralColumns(list(islice(stated, len(files))), held.kinds, verify=self.verify) for files, held in asked
        ]

    @property
    def nbytes_cached(self) -> int:
        """What is kept of files, by estimate. Cost: O(columns opened)."""
        with _LOCK:
            readers = list(self._readers.values())
        return sum(reader.nbytes_cached for reader in readers) + self.several.size

    @property
    def num_open(self) -> int:
        """How many files are open."""
        return len(self._readers)

    def drive(self, conversations: Sequence[tuple[str, Conversation[Any]]]) -> list[Any]:
        """Run conversations with data files side by side. Raises as `missing` where one is.

        conversations: pairs of path and conversation.
        """
        try:
            return drive_all(self.store, conversations)
        except NotFound as error:
            message = f"a data file that the manifest names is missing: {error.message}"
            raise self.missing(message, error.where) from error

    def missing(self, message: str, where: str) -> Corrupt | NotFound:
        """The error for a file that is missing: NotFound where the version that names it is gone too."""
        removed = self._bound and gone(self._bound[0], self._bound[1].version, self._bound[1].digest)
        return removed or missing(message, where=where)

    def run(self, reads: Sequence[Reads[T]]) -> list[T]:
        """Run reads side by side, each step of all of them as one `drive`; their answers in order."""
        read = together(reads)
        try:
            asked = next(read)
            while True:
                asked = read.send(self.drive(asked) if asked else [])
        except StopIteration as stop:
            return stop.value

    def _keep(self, files: Sequence[DataFile], new: dict[str, FileReader]) -> None:
        """Keep the readers of files just opened, and those of the call at hand above all others."""
        with _LOCK:
            for path, reader in new.items():
                self._readers.setdefault(path, reader)
        if self._uses < max(_USES_BETWEEN, len(self._readers) // 4):
            return
        self._uses = 0
        over = self.nbytes_cached - self._cache_nbytes
        now = {file.key for file in files}
        with _LOCK:
            last_used = {path: self._last_used.get(path, 0) for path in self._readers}
            for path in sorted(last_used, key=last_used.__getitem__):
                if over <= 0:
                    break
                if path not in now:
                    over -= self._readers.pop(path).nbytes_cached
                    del last_used[path]
            self._last_used = last_used


def _check_shape(reader: FileReader, file: DataFile) -> None:
    columns = sum(count for _, count in file.fields)
    if (reader.num_columns, reader.num_rows) != (columns, file.rows):
        raise Corrupt(
            f"the file has {reader.num_columns:,} columns of {reader.num_rows:,} rows, its table recorded"
            f" {columns:,} of {file.rows:,}",
            kind="structure",
            where=file.key,
        )


__all__ = ["CACHE_NBYTES", "Session"]
