"""Check a dataset whole: every version, every tag, every data file that a version names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from lance_like.errors import LanceLikeError, NotFound
from lance_like.file.verify import Fault, FileReport, Identity, verify_file
from lance_like.io.store import Store
from lance_like.table.fragment import DataFile
from lance_like.table.history import resolve
from lance_like.table.layout import TAGS, tag_key, tag_name, version_key
from lance_like.table.manifest import Manifest
from lance_like.table.refs import Tags
from lance_like.table.snapshot import list_versions, read_manifest

_DATA = "data/"


@dataclass(slots=True)
class DatasetReport:
    """What `verify_dataset` found.

    faults: of manifests, their parts, tags, and of files that are missing or not what a version says of them.
    unused: data files that no version names; they may belong to a writer that is at work.
    """

    uri: str
    versions: int = 0
    tags: int = 0
    files: list[FileReport] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.faults and all(file.ok for file in self.files)


def verify_dataset(store: Store) -> DatasetReport:
    """Check a dataset; reads all of it. Raises NotFound when there is none, StorageError when the store fails."""
    resolve(store)
    return _Check(store).run()


class _Check:
    """One run of `verify_dataset`."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.report = DatasetReport(store.uri)
        self._files: dict[str, FileReport | None] = {}
        # (file, schema part) pairs whose types were compared.
        self._compared: set[tuple[str, str]] = set()

    def run(self) -> DatasetReport:
        known: Manifest | None = None
        for version in list_versions(self.store):
            self.report.versions += 1
            with self._noting(version_key(version)):
                # What two versions share is read once: a damaged part is named by the first that needs it.
                known = self._version(read_manifest(self.store, version, known=known))
        self._tags()
        named = set(self._files)
        self.report.unused = sorted({_DATA + name for name in self.store.list(_DATA)} - named)
        return self.report

    def _version(self, manifest: Manifest) -> Manifest:
        _ = manifest.schema.to_arrow()  # reads every field
        for fragment in manifest.fragments:
            for file in fragment.files:
                self._file(file)
                self._types(file, manifest)
        return manifest

    def _file(self, file: DataFile) -> None:
        """Check a data file when it is first named."""
        if file.path in self._files:
            return
        self._files[file.path] = None
        identity = Identity(file.nbytes, file.tail, file.rows, sum(count for _, count in file.fields))
        with self._noting(file.path, missing="the data file is missing"):
            found = self._files[file.path] = verify_file(self.store, file.path, identity=identity)
            self.report.files.append(found)

    def _types(self, file: DataFile, manifest: Manifest) -> None:
        """Hold the types of a file's columns against those of the table's fields."""
        found = self._files[file.path]
        key = (file.path, manifest.schema_ref.path if manifest.schema_ref else "")
        if found is None or key in self._compared:
            return
        self._compared.add(key)
        fields = {field.id: field for field in manifest.schema.fields}
        for number, field_id in enumerate(file.field_ids):
            column, wanted = found.fields.get(number), fields.get(field_id)
            if column and wanted and not column.type.equals(wanted.type):
                problem = f"column {number} has the type {column.type}, the table's field {field_id} {wanted.type}"
                self.report.faults.append(Fault(file.path, 0, file.nbytes, "type", problem))

    def _tags(self) -> None:
        for file in self.store.list(f"{TAGS}/"):
            name = tag_name(file)
            if name is not None:
                self.report.tags += 1
                with self._noting(tag_key(name), missing="the version that the tag names is missing"):
                    Tags(self.store).get_version(name)

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
