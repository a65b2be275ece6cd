"""Check a dataset whole: every version of every branch, every tag, every data file that a version names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import xxhash

from lance_like.errors import LanceLikeError, NotFound
from lance_like.file.verify import Fault, FileReport, Identity, verify_file
from lance_like.io.store import Store
from lance_like.table.bases import BasedStore
from lance_like.table.branches import Branches
from lance_like.table.envelope import MAX_OBJECT
from lance_like.table.fragment import DataFile
from lance_like.table.history import resolve
from lance_like.table.layout import BRANCH_REFS, TAGS, branch_key, branch_name, tag_key, tag_name, version_key
from lance_like.table.lines import main_line, place_of
from lance_like.table.manifest import Manifest
from lance_like.table.refs import Tags
from lance_like.table.snapshot import list_versions, read_manifest

_DATA = "data/"


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


class _Check:
    """One run of `verify_dataset`."""

    def __init__(self, store: Store) -> None:
        self.store = main_line(store)
        self.report = DatasetReport(store.uri)
        self._files: dict[str, FileReport | None] = {}
        # (file, schema part) pairs whose types were compared.
        self._compared: set[tuple[str, str]] = set()

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
            with self._noting(place_of(line, version_key(version))):
                # What two versions share is read once: a damaged part is named by the first that needs it.
                known = self._version(read_manifest(line, version, known=known))

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

    def _version(self, manifest: Manifest) -> Manifest:
        _ = manifest.schema.to_arrow()  # reads every field
        for fragment in manifest.fragments:
            for file in fragment.files:
                self._file(file, manifest.bases)
                self._types(file, manifest)
        return manifest

    def _file(self, file: DataFile, bases: Mapping[int, str]) -> None:
        """Check a data file when it is first named."""
        if file.key in self._files:
            return
        self._files[file.key] = None
        identity = Identity(file.nbytes, file.tail, file.rows, sum(count for _, count in file.fields))
        store, path = BasedStore(self.store, bases).place(file.key)
        with self._noting(file.key, missing="the data file is missing"):
            found = self._files[file.key] = verify_file(store, path, identity=identity)
            self.report.files.append(found)

    def _types(self, file: DataFile, manifest: Manifest) -> None:
        """Hold the types of a file's columns against those of the table's fields."""
        found = self._files[file.key]
        key = (file.key, manifest.schema_ref.path if manifest.schema_ref else "")
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
            if isinstance(error, OSError):
                raise
            problem = missing if missing and isinstance(error, NotFound) else str(error)
            self.report.faults.append(Fault(key, 0, 0, error.kind or "missing", problem))
