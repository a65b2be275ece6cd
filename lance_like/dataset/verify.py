"""Check a dataset whole: every version of every branch, every tag, every data file that a version names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import xxhash

from lance_like.dataset.stats import stored_nbytes
from lance_like.errors import Conflict, Corrupt, LanceLikeError, NotFound, StorageError
from lance_like.file.verify import Fault, FileReport, Identity, verify_file
from lance_like.index.coverage import coverage_of, unopened
from lance_like.index.files import SegmentReader
from lance_like.io.store import Store
from lance_like.query.session import Session
from lance_like.table.bases import BasedStore
from lance_like.table.branches import Branches
from lance_like.table.envelope import MAX_OBJECT
from lance_like.table.fragment import DataFile, Fragment
from lance_like.table.history import resolve
from lance_like.table.indices import IndexEntry, SegmentFile
from lance_like.table.layout import BRANCH_REFS, TAGS, branch_key, branch_name, tag_key, tag_name, version_key
from lance_like.table.lines import main_line, place_of
from lance_like.table.manifest import Manifest
from lance_like.table.parts import Part
from lance_like.table.refs import Tags
from lance_like.table.rowids import RowIdMap
from lance_like.table.snapshot import list_versions, read_manifest
from lance_like.typing_ import Int64s

_DATA = "data/"


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """What stands below an item of a tree: int64[n] ids of fragments, int64[n, 2] ranges of the ids of live rows."""

    fragment_ids: Int64s
    row_ids: Int64s


_NO_IDS, _NO_RANGES = np.empty(0, np.int64), np.empty((0, 2), np.int64)
_NOTHING = _Held(_NO_IDS, _NO_RANGES)


@dataclass(slots=True)
class DatasetReport:
    """What `verify_dataset` found.

    versions: of all branches; those of the table are counted once more where a branch begins with one.
    faults: of manifests, their parts, tags, branches, and of files that are missing or not what a version says of them.
    unused: data files that no version names; they may belong to a writer that is at work.
    """

    uri: str
    versions: int = 0
    tags: int = 0
    branches: int = 0
    files: list[FileReport] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.faults and all(file.ok for file in self.files)


def verify_dataset(store: Store) -> DatasetReport:
    """Check a dataset; reads all of it. Raises NotFound when there is none, StorageError when the store fails."""
    resolve(main_line(store))
    return _Check(store).run()


def validate_version(session: Session, manifest: Manifest) -> None:
    """Check one version but for the bytes of its pages. Raises Corrupt at the first thing that is wrong.

    Checked are the parts, each file's size, identity and metadata, and that no two rows have one id.
    """
    schema = manifest.schema
    ids = [field.id for field in schema.fields]
    for fragment in manifest.fragments:
        for file in fragment.files:
            _check_size(session.store, file)
        session.open(fragment.files)
        next(stored_nbytes(session, schema, [fragment], ids))
    RowIdMap.of(manifest.fragments)
    for entry in manifest.indices:
        for segment in entry.segments:
            reader = SegmentReader(session.store, segment.files)
            for file in segment.files:
                _check_size(session.store, file)
                reader.file(file.name)
        _ = coverage_of(manifest, entry, unopened).covered_rows


def _check_size(store: Store, file: DataFile | SegmentFile) -> None:
    try:
        nbytes = store.size(file.key)
    except NotFound as error:
        raise Corrupt("the data file is missing", kind="missing", where=file.path) from error
    if nbytes != file.nbytes:
        problem = f"the file has {nbytes:,} bytes, the manifest says {file.nbytes:,}"
        raise Corrupt(problem, kind="length", where=file.key)


class _Check:
    """One run of `verify_dataset`."""

    def __init__(self, store: Store) -> None:
        self.store = main_line(store)
        self.report = DatasetReport(store.uri)
        self._files: dict[str, FileReport | None] = {}
        # (file, schema part) pairs whose types were compared.
        self._compared: set[tuple[str, str]] = set()
        # What versions share is checked once: (part or fragment, schema part) -> what it holds.
        self._checked: dict[tuple[str | Fragment, str], _Held] = {}

    def run(self) -> DatasetReport:
        self._line(self.store)
        self._branches()
        self._tags()
        named = set(self._files)
        self.report.unused = sorted({_DATA + name for name in self.store.list(_DATA)} - named)
        return self.report

    def _line(self, line: Store) -> None:
        """Check the versions of a line."""
        known: Manifest | None = None
        for version in list_versions(line):
            self.report.versions += 1
            where = place_of(line, version_key(version))
            with self._noting(where):
                known = self._version(read_manifest(line, version, known=known), where)

    def _branches(self) -> None:
        for file in self.store.list(f"{BRANCH_REFS}/"):
            name = branch_name(file)
            if name is not None:
                self.report.branches += 1
                with self._noting(branch_key(name)):
                    self._branch(name)

    def _branch(self, name: str) -> None:
        branches = Branches(self.store)
        branch, line = branches.read(name), branches.open(name)
        resolve(line)
        # A cleanup may have removed the first version.
        [root] = line.read([version_key(branch.version)], limit=MAX_OBJECT)
        if root is not None and xxhash.xxh3_64_intdigest(root) != branch.manifest:
            problem = f"the first version, {branch.version}, is not the one that the branch began with"
            self.report.faults.append(Fault(branch_key(name), 0, 0, "structure", problem))
        self._line(line)

    def _version(self, manifest: Manifest, where: str) -> Manifest:
        _ = manifest.schema.to_arrow()  # reads every field
        held = self._held(manifest.tree.items, manifest, where)
        self._once(held, where)
        for entry in manifest.indices:
            self._index(entry, manifest, where)
        return manifest

    def _index(self, entry: IndexEntry, manifest: Manifest, where: str) -> None:
        """Check the files, the row ids and the invalidated rows of an index, whatever its kind."""
        sound: list[bool] = []
        for segment in entry.segments:
            for file in segment.files:
                self._stored(file.key, Identity(file.nbytes, file.tail), manifest.bases)
            rows, invalid = segment.row_ids.ref, segment.invalid and segment.invalid.ref
            sound.append(self._is_sound(rows.path if rows else where, partial(getattr, segment.row_ids, "runs")))
            read = partial(getattr, segment, "invalid_ordinals")
            sound.append(self._is_sound(invalid.path if invalid else where, read))
        if all(sound):
            with self._noting(where):
                _ = coverage_of(manifest, entry, unopened).covered_rows

    def _held(self, items: Iterable[Fragment | Part], manifest: Manifest, where: str) -> _Held:
        """Check fragments and parts. where: the object that they stand in."""
        found = [
            self._fragment(item, manifest, where) if isinstance(item, Fragment) else self._part(item, manifest)
            for item in items
        ]
        return _Held(
            np.concatenate([_NO_IDS, *(held.fragment_ids for held in found)]),
            np.concatenate([_NO_RANGES, *(held.row_ids for held in found)]),
        )

    def _part(self, part: Part, manifest: Manifest) -> _Held:
        """Check a part with all below it, once a schema."""
        path = part.entry.ref.path
        known = self._checked.get((path, _schema_key(manifest)))
        if known is None:
            known = _NOTHING
            with self._noting(path):
                known = self._held(part.items, manifest, path)
            self._checked[path, _schema_key(manifest)] = known
        return known

    def _fragment(self, fragment: Fragment, manifest: Manifest, where: str) -> _Held:
        """Check the files, the lineage and the deleted rows of a fragment, once a schema."""
        known = self._checked.get((fragment, _schema_key(manifest)))
        if known is None:
            for file in fragment.files:
                self._file(file, manifest.bases)
                self._types(file, manifest)
            known = self._checked[fragment, _schema_key(manifest)] = self._rows(fragment, where)
        return known

    def _rows(self, fragment: Fragment, where: str) -> _Held:
        ids = np.array([fragment.id])
        line, deletions = fragment.lineage.ref, fragment.deletions and fragment.deletions.ref
        sound = (
            self._is_sound(line.path if line else where, lambda: fragment.runs),
            self._is_sound(deletions.path if deletions else where, lambda: fragment.deleted),
        )
        if all(sound):
            with self._noting(where):
                live = RowIdMap.of([fragment])
                return _Held(ids, np.stack((live.starts, live.ends), axis=1))
        return _Held(ids, _NO_RANGES)

    def _is_sound(self, key: str, read: Callable[[], object]) -> bool:
        """Does reading something of an object raise nothing?"""
        with self._noting(key):
            read()
            return True
        return False

    def _once(self, held: _Held, where: str) -> None:
        """Name a fragment id or a row id that stands twice in a version."""
        ids, counts = np.unique(held.fragment_ids, return_counts=True)
        if (counts > 1).any():
            problem = f"the fragment id {ids[counts > 1][0]} stands twice"
            self.report.faults.append(Fault(where, 0, 0, "structure", problem))
        ranges = held.row_ids[np.argsort(held.row_ids[:, 0], kind="stable")]
        twice = ranges[1:, 0] < ranges[:-1, 1]
        if twice.any():
            problem = f"the row id {ranges[1:][twice][0, 0]} is used twice"
            self.report.faults.append(Fault(where, 0, 0, "row-ids", problem))

    def _file(self, file: DataFile, bases: Mapping[int, str]) -> None:
        """Check a data file when it is first named."""
        identity = Identity(file.nbytes, file.tail, file.rows, sum(count for _, count in file.fields))
        self._stored(file.key, identity, bases)

    def _stored(self, key: str, identity: Identity, bases: Mapping[int, str]) -> None:
        if key in self._files:
            return
        self._files[key] = None
        store, path = BasedStore(self.store, bases).place(key)
        with self._noting(key, missing="the data file is missing"):
            found = self._files[key] = verify_file(store, path, identity=identity)
            self.report.files.append(found)

    def _types(self, file: DataFile, manifest: Manifest) -> None:
        """Hold the types of a file's columns against those of the table's fields."""
        found = self._files[file.key]
        key = (file.key, _schema_key(manifest))
        if found is None or key in self._compared:
            return
        self._compared.add(key)
        fields = {field.id: field for field in manifest.schema.fields}
        for number, field_id in enumerate(file.field_ids):
            column, wanted = found.fields.get(number), fields.get(field_id)
            if column and wanted and not column.type.equals(wanted.type):
                problem = f"column {number} has the type {column.type}, the table's field {field_id} {wanted.type}"
                self.report.faults.append(Fault(file.key, 0, file.nbytes, "type", problem))

    def _tags(self) -> None:
        for file in self.store.list(f"{TAGS}/"):
            name = tag_name(file)
            if name is not None:
                self.report.tags += 1
                with self._noting(tag_key(name), missing="the version that the tag names is missing"):
                    Tags(self.store).locate(name)

    @contextmanager
    def _noting(self, key: str, *, missing: str = "") -> Iterator[None]:
        """Turn an error about an object into a fault."""
        try:
            yield
        except LanceLikeError as error:
            if isinstance(error, Conflict | StorageError):
                raise
            problem = missing if missing and isinstance(error, NotFound) else str(error)
            fault = Fault(key, 0, 0, error.kind or "missing", problem)
            if fault not in self.report.faults:
                self.report.faults.append(fault)


def _schema_key(manifest: Manifest) -> str:
    return manifest.schema_ref.path if manifest.schema_ref else ""
