"""Fragments as values that travel: written in one process, sent as JSON or by pickle, committed in another."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import accumulate, takewhile
from typing import TYPE_CHECKING, Any

import numpy as np

from lance_like.errors import Corrupt, InvalidInput
from lance_like.file.layout import TAIL_NBYTES, sum64
from lance_like.file.reader import open_file
from lance_like.file.stats import ZoneEntry
from lance_like.query.session import Session
from lance_like.table import fragment as stored
from lance_like.table.actions import NewFile, NewFragment
from lance_like.table.apply import match_fields
from lance_like.table.deletions import Deletions
from lance_like.table.fragment import Fragment
from lance_like.table.layout import is_data_key
from lance_like.typing_ import Int64s

if TYPE_CHECKING:
    from lance_like.dataset.handle import LanceDataset

Stats = tuple[str | None, str | None, int, int, int]
Pairs = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class DataFile:
    """A data file of a fragment.

    path: its key in the table. fields: the field id of each column, -1 where another file supersedes it.
    tail: the checksum that its own tail carries, by which it is known. base_id: where it lies, None: in the table.
    stats: for its first columns: least and greatest value as hexadecimal bytes, nulls, NaNs, flags.
    """

    path: str
    fields: list[int]
    file_size_bytes: int
    rows: int
    tail: str
    base_id: int | None = None
    stats: tuple[Stats, ...] = ()

    @property
    def column_indices(self) -> list[int]:
        """The column of the file that holds each field."""
        return list(range(len(self.fields)))

    def to_json(self) -> dict[str, Any]:
        """The file as a value of JSON."""
        return asdict(self)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> DataFile:
        """The inverse of `to_json`. Raises InvalidInput."""
        path, tail = _member(value, "path", str), _member(value, "tail", str)
        nbytes, rows = _member(value, "file_size_bytes", int), _member(value, "rows", int)
        fields = list(_member(value, "fields", list))
        stats = tuple(_stats_from_json(item) for item in value.get("stats", ()))
        return DataFile(path, fields, nbytes, rows, tail, value.get("base_id"), stats)

    @staticmethod
    def of(file: stored.DataFile) -> DataFile:
        """A file that a version names."""
        ids, known = file.field_ids, dict(file.stats)
        first = takewhile(known.__contains__, ids)
        stats = tuple(_stats_to_json(known[field_id]) for field_id in first)
        return DataFile(file.path, list(ids), file.nbytes, file.rows, f"{file.tail:016x}", file.base, stats)

    @staticmethod
    def of_new(file: NewFile, fields: Sequence[int]) -> DataFile:
        """A file that no version names yet. fields: what its columns hold."""
        stats = tuple(map(_stats_to_json, file.stats))
        return DataFile(file.path, list(fields), file.nbytes, file.rows, f"{file.tail:016x}", None, stats)

    @staticmethod
    def create(dataset: LanceDataset, path: str, *, base_id: int | None = None) -> DataFile:
        """A file that lies in a table, by its own word. path: its key, or its name in data/.

        Its columns are those of the table with their names. base_id: as a new file lies in the table itself, None only.
        Raises InvalidInput, NotFound or Corrupt.
        """
        key = path if path.startswith("data/") else f"data/{path}"
        if base_id is not None or not is_data_key(key):
            raise InvalidInput(f"{path!r} (base_id={base_id}) is not the name of a data file of a table")
        store = dataset._store
        nbytes, session = store.size(key), Session(store)
        [reader] = session.drive([(key, open_file(key, nbytes))])
        [schema] = session.drive([(key, reader.schema())])
        last = np.array([nbytes - TAIL_NBYTES]), np.array([nbytes])
        tail = sum64(store.gather(key, [last])[0].tobytes())
        return DataFile(key, list(match_fields(dataset._manifest, schema)), nbytes, reader.num_rows, f"{tail:016x}")

    def without(self, field_ids: Collection[int]) -> DataFile:
        """The file with columns that another supersedes."""
        if not any(i in field_ids for i in self.fields):
            return self
        return replace(self, fields=[-1 if i in field_ids else i for i in self.fields], stats=())

    def as_new(self) -> NewFile:
        """The file as an action names it. Raises InvalidInput for what cannot be one."""
        whole = isinstance(self.file_size_bytes, int) and isinstance(self.rows, int) and self.file_size_bytes > 0
        if not whole or self.base_id is not None or not is_data_key(self.path):
            raise InvalidInput(f"{self!r:.200} is no new data file of a table")
        if not self.fields or not all(isinstance(i, int) and i >= 0 for i in self.fields):
            raise InvalidInput(f"the fields {self.fields!r:.80} of {self.path} are not those of a new file")
        try:
            tail = int(self.tail, 16)
            stats = tuple(
                ZoneEntry(nulls, nans, _bytes(a), _bytes(b), flags) for a, b, nulls, nans, flags in self.stats
            )
        except (TypeError, ValueError) as error:
            raise InvalidInput(f"the tail or the bounds of {self.path} are not hexadecimal") from error
        return NewFile(self.path, self.file_size_bytes, tail, self.rows, len(self.fields), stats)


def _stats_to_json(entry: ZoneEntry) -> Stats:
    low, high = (None if bound is None else bound.hex() for bound in (entry.min, entry.max))
    return low, high, entry.null_count, entry.nan_count, entry.flags


def _stats_from_json(value: Any) -> Stats:
    if not isinstance(value, list | tuple) or len(value) != 5 or not all(type(count) is int for count in value[2:]):
        raise InvalidInput(f"{value!r:.80} is not the statistics of a column")
    return (*value,)


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)


@dataclass(frozen=True)
class DeletionFile:
    """The deleted rows of a fragment. bitmap: their offsets as a Roaring bitmap in its portable form."""

    num_deleted_rows: int
    bitmap: bytes

    @staticmethod
    def of(offsets: Int64s) -> DeletionFile:
        """The deletion of some rows: int64[n] offsets, ascending, each once."""
        made = Deletions.of(offsets)
        assert made.data is not None
        return DeletionFile(made.rows, made.data)

    def offsets(self) -> Int64s:
        """int64[n] offsets of the deleted rows, ascending. Raises InvalidInput when the bitmap is not valid."""
        try:
            return Deletions(self.num_deleted_rows, data=self.bitmap).offsets
        except Corrupt as error:
            raise InvalidInput(f"the deleted rows of a fragment: {error.message}") from error

    def asdict(self) -> dict[str, Any]:
        """The value as JSON has it."""
        return {"num_deleted_rows": self.num_deleted_rows, "bitmap": b64encode(self.bitmap).decode()}


@dataclass(frozen=True)
class RowIdMeta:
    """The stable ids of the rows of a fragment: half-open intervals in row order."""

    spans: Pairs

    def ids(self) -> Int64s:
        """int64[rows] the ids."""
        pieces = [np.arange(start, end) for start, end in self.spans]
        return np.concatenate(pieces) if pieces else np.empty(0, np.int64)


@dataclass(frozen=True)
class RowDatasetVersionMeta:
    """A version for each row of a fragment: runs (version, count) in row order."""

    runs: Pairs


@dataclass(frozen=True)
class FragmentMetadata:
    """A fragment: what a commit must know of it.

    id: its number; 0 for one that no version has yet. deletion_file: which rows are deleted; None: none.
    row_id_meta and the versions: of rows that were in the table before; of a fragment that no version has yet, they may
    be of its first rows. The others are new, and a commit gives them; None: all are.
    """

    id: int
    files: list[DataFile]
    physical_rows: int
    deletion_file: DeletionFile | None = None
    row_id_meta: RowIdMeta | None = None
    created_at_version_meta: RowDatasetVersionMeta | None = None
    last_updated_at_version_meta: RowDatasetVersionMeta | None = None

    @property
    def num_deletions(self) -> int:
        """How many rows are deleted."""
        return 0 if self.deletion_file is None else self.deletion_file.num_deleted_rows

    @property
    def num_rows(self) -> int:
        """How many rows are not deleted."""
        return self.physical_rows - self.num_deletions

    def without(self, offsets: Int64s) -> FragmentMetadata | None:
        """The fragment with these rows deleted too: int64[n], any order; None when none is left."""
        before = self.deletion_file.offsets() if self.deletion_file else np.empty(0, np.int64)
        deleted = np.union1d(before, offsets)
        if len(deleted) == self.physical_rows:
            return None
        return replace(self, deletion_file=DeletionFile.of(deleted)) if len(deleted) else self

    def with_files(self, files: Sequence[NewFile], field_ids: Sequence[int]) -> FragmentMetadata:
        """The fragment with more files, which take their fields over. field_ids: what their columns hold in order."""
        gone = set(field_ids)
        return replace(self, files=[*(file.without(gone) for file in self.files), *_new_files(files, field_ids)])

    def to_json(self) -> dict[str, Any]:
        """The fragment as a value of JSON."""
        lineage = (self.row_id_meta, self.created_at_version_meta, self.last_updated_at_version_meta)
        names = ("row_id_meta", "created_at_version_meta", "last_updated_at_version_meta")
        return {
            "id": self.id,
            "files": [file.to_json() for file in self.files],
            "physical_rows": self.physical_rows,
            "deletion_file": self.deletion_file and self.deletion_file.asdict(),
            **{name: meta and asdict(meta) for name, meta in zip(names, lineage, strict=True)},
        }

    @staticmethod
    def from_json(json_data: str | Mapping[str, Any]) -> FragmentMetadata:
        """The inverse of `to_json`, also from text. Raises InvalidInput."""
        value = json_data
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError as error:
                raise InvalidInput(f"the metadata of a fragment is not JSON: {error}") from error
        if not isinstance(value, Mapping):
            raise InvalidInput(f"{value!r:.80} is not the metadata of a fragment")
        created, updated = (_pairs(value, name, "runs") for name in _VERSIONS)
        spans, deleted = _pairs(value, "row_id_meta", "spans"), value.get("deletion_file")
        return FragmentMetadata(
            id=_member(value, "id", int),
            files=[DataFile.from_json(file) for file in _member(value, "files", list)],
            physical_rows=_member(value, "physical_rows", int),
            deletion_file=None if deleted is None else _deletions_from_json(deleted),
            row_id_meta=None if spans is None else RowIdMeta(spans),
            created_at_version_meta=None if created is None else RowDatasetVersionMeta(created),
            last_updated_at_version_meta=None if updated is None else RowDatasetVersionMeta(updated),
        )

    @staticmethod
    def of(fragment: Fragment) -> FragmentMetadata:
        """A fragment of a version. Cost: its lineage and deletions, which may lie in parts."""
        runs = fragment.runs
        return FragmentMetadata(
            id=fragment.id,
            files=[DataFile.of(file) for file in fragment.files],
            physical_rows=fragment.rows,
            deletion_file=DeletionFile.of(fragment.deleted) if fragment.deletions else None,
            row_id_meta=RowIdMeta(_as_pairs(runs.row_ids)),
            created_at_version_meta=RowDatasetVersionMeta(_as_pairs(runs.created)),
            last_updated_at_version_meta=RowDatasetVersionMeta(_as_pairs(runs.updated)),
        )

    @staticmethod
    def of_new(fragment: NewFragment, field_ids: Sequence[int], *, fragment_id: int = 0) -> FragmentMetadata:
        """A fragment that no version has yet. field_ids: what the columns of its files hold, file after file."""
        ids = None if fragment.lineage is None else RowIdMeta(_as_pairs(fragment.lineage.row_ids))
        files = _new_files(fragment.files, field_ids)
        return FragmentMetadata(fragment_id, files, fragment.files[0].rows, row_id_meta=ids)


_VERSIONS = ("created_at_version_meta", "last_updated_at_version_meta")


def _new_files(files: Sequence[NewFile], field_ids: Sequence[int]) -> list[DataFile]:
    ends = list(accumulate(file.columns for file in files))
    spans = zip(files, [0, *ends], ends, strict=False)
    return [DataFile.of_new(file, field_ids[start:end]) for file, start, end in spans]


def _as_pairs(array: Int64s) -> Pairs:
    return tuple((first, second) for first, second in array.tolist())


def _member(value: Any, name: str, kind: type) -> Any:
    found = value.get(name) if isinstance(value, Mapping) else None
    if not isinstance(found, kind | tuple if kind is list else kind) or isinstance(found, bool):
        raise InvalidInput(f"the metadata of a fragment has {name}={found!r:.80}: expected {kind.__name__}")
    return found


def _pairs(value: Mapping[str, Any], name: str, inner: str) -> Pairs | None:
    if value.get(name) is None:
        return None
    pairs = _member(value[name], inner, list)
    if not all(
        isinstance(pair, list | tuple) and len(pair) == 2 and all(type(i) is int for i in pair) for pair in pairs
    ):
        raise InvalidInput(f"{name} of a fragment is {pairs!r:.80}: expected pairs of integers")
    return tuple((first, second) for first, second in pairs)


def _deletions_from_json(value: Any) -> DeletionFile:
    text = _member(value, "bitmap", str)
    try:
        return DeletionFile(_member(value, "num_deleted_rows", int), b64decode(text, validate=True))
    except ValueError as error:
        raise InvalidInput(f"the deleted rows of a fragment are not base64: {error}") from error


__all__ = ["DataFile", "DeletionFile", "FragmentMetadata", "RowDatasetVersionMeta", "RowIdMeta"]
