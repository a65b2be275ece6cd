"""The files of a table as tables of Arrow: those that are there, and those that its versions name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

import pyarrow as pa

from lance_like.errors import NotFound
from lance_like.io.store import Store
from lance_like.table.fragment import Fragment
from lance_like.table.layout import version_key
from lance_like.table.lines import main_line, place_of
from lance_like.table.manifest import decode_root
from lance_like.table.parts import PartEntry, decode_part
from lance_like.table.reference import Ref
from lance_like.table.snapshot import list_versions, read_ref, read_root_bytes

Progress = Callable[[int, "int | None"], Any]
"""Called with how many versions are read, and how many there are."""

_BASE = pa.field("base_uri", pa.dictionary(pa.int32(), pa.string()), nullable=False)
_PATH = pa.field("path", pa.string(), nullable=False)
FILES = pa.schema(
    [
        _BASE,
        _PATH,
        pa.field("size_bytes", pa.int64(), nullable=False),
        pa.field("last_modified", pa.timestamp("us", "UTC"), nullable=False),
    ]
)
TRACKED = pa.schema(
    [
        pa.field("version", pa.int64(), nullable=False),
        _BASE,
        _PATH,
        pa.field("type", pa.dictionary(pa.int8(), pa.string()), nullable=False),
    ]
)
_BATCH_ROWS = 4096


def list_files(store: Store) -> pa.RecordBatchReader:
    """Every object of a table, in the order of their paths; those of its bases are not looked for.

    Cost: while it is read, a request a folder and two a file.
    """
    main = main_line(store)

    def rows() -> Iterator[tuple[Any, ...]]:
        for path in _walk(main, ""):
            with suppress(NotFound):  # removed meanwhile
                yield main.uri, path, main.size(path), main.modified_us(path)

    return _reader(rows(), FILES)


def _walk(store: Store, folder: str) -> Iterator[str]:
    for name in store.list(folder):
        if name.endswith("/"):
            yield from _walk(store, folder + name)
        else:
            yield folder + name


def list_tracked(store: Store, *, min_version: int = 0, progress: Progress | None = None) -> pa.RecordBatchReader:
    """The files that each version of a line names, from the oldest version on; those that go meanwhile name nothing.

    Cost: while it is read, a request a manifest and one for each of its parts that no version before has.
    """
    versions = [version for version in list_versions(store) if version >= min_version]

    def rows() -> Iterator[tuple[Any, ...]]:
        named = _Named(store)
        for count, version in enumerate(versions, start=1):
            with suppress(NotFound):
                yield from list(named.by(version))
            if progress is not None:
                progress(count, len(versions))

    return _reader(rows(), TRACKED)


class _Named:
    """What versions name; a part that several share is read once."""

    def __init__(self, store: Store) -> None:
        self._store, self._main = store, main_line(store)
        self._parts: dict[str, tuple[Fragment | PartEntry, ...]] = {}

    def by(self, version: int) -> Iterator[tuple[int, str, str, str]]:
        """(version, base, path, type) of each. Raises NotFound when the version is gone, Corrupt."""
        key, own = version_key(version), self._main.uri
        root = decode_root(read_root_bytes(self._store, version), place_of(self._store, key), version=version)
        yield version, own, place_of(self._store, key), "manifest"
        yield version, own, root.schema_ref.path, "metadata file"
        if isinstance(root.transaction, Ref):
            yield version, own, root.transaction.path, "transaction file"
        for item in self._below((*root.parts, *root.tail)):
            if isinstance(item, PartEntry):
                yield version, own, item.ref.path, "metadata file"
                continue
            for file in item.files:
                yield version, own if file.base is None else root.bases[file.base], file.path, "data file"
            if item.lineage.ref is not None:
                yield version, own, item.lineage.ref.path, "metadata file"
            if item.deletions is not None and item.deletions.ref is not None:
                yield version, own, item.deletions.ref.path, "deletion file"
        for segment in (segment for entry in root.indices for segment in entry.segments):
            for file in segment.files:
                yield version, own if file.base is None else root.bases[file.base], file.path, "index file"
            for ref in (segment.row_ids.ref, segment.invalid and segment.invalid.ref):
                if ref is not None:
                    yield version, own, ref.path, "metadata file"

    def _below(self, items: Iterable[Fragment | PartEntry]) -> Iterator[Fragment | PartEntry]:
        for item in items:
            yield item
            if isinstance(item, PartEntry):
                path = item.ref.path
                if path not in self._parts:
                    self._parts[path] = tuple(decode_part(read_ref(self._main, item.ref), path, level=item.level))
                yield from self._below(self._parts[path])


def _reader(rows: Iterator[tuple[Any, ...]], schema: pa.Schema) -> pa.RecordBatchReader:
    plain = pa.schema([field.with_type(_plain(field.type)) for field in schema])

    def batches() -> Iterator[pa.RecordBatch]:
        while some := list(islice(rows, _BATCH_ROWS)):
            columns = zip(*some, strict=True)
            arrays = [pa.array(cells, kind) for cells, kind in zip(columns, plain.types, strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, schema=plain).cast(schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _plain(kind: Any) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


__all__ = ["FILES", "TRACKED", "list_files", "list_tracked"]
