"""Reading versions: which there are, and one of them whole (format_spec/commit.md, "Finding the newest version").

Never falls back: a bad newest version raises, it is not skipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import xxhash

from lance_like.errors import Corrupt, NotFound
from lance_like.io.store import Store, missing
from lance_like.kept import Kept
from lance_like.table import shape
from lance_like.table.envelope import MAX_OBJECT
from lance_like.table.fragment import DEAD, Fragment
from lance_like.table.indices import check_indices, with_known_rows
from lance_like.table.layout import VERSIONS, bucket_number, version_key, version_number
from lance_like.table.lines import place_of
from lance_like.table.manifest import (
    Manifest,
    Root,
    Transaction,
    decode_head,
    decode_root,
    decode_transaction,
)
from lance_like.table.parts import Part, PartEntry, Tree, decode_part
from lance_like.table.reference import Ref
from lance_like.table.schema import Schema
from lance_like.table.schema_part import decode_schema

# Bytes of schema parts that are kept as what they say, in all handles of the process.
_SCHEMAS: Kept[Schema] = Kept(1 << 20)


@dataclass(frozen=True, slots=True)
class Head:
    """What the history says of a version. timestamp_us: microseconds since 1970 UTC."""

    version: int
    timestamp_us: int
    transaction: Transaction


def latest_version(store: Store) -> int | None:
    """The number of the newest version; None if there is none. Cost: 2 listings, each bounded by the bucket size."""
    for bucket in reversed(buckets(store)):
        numbers = (version_number(name, bucket) for name in reversed(_names_in(store, bucket)))
        newest = next((number for number in numbers if number is not None), None)
        if newest is not None:
            return newest
    return None


def list_versions(store: Store) -> list[int]:
    """The numbers of all versions, ascending. Cost: one listing a bucket of 256 versions."""
    return [version for bucket in buckets(store) for version in versions_in(store, bucket)]


def read_root_bytes(store: Store, version: int) -> bytes:
    """The bytes of a root manifest, unchecked. Raises NotFound, or Corrupt over the size limit."""
    [data] = store.read([version_key(version)], limit=MAX_OBJECT)
    if data is None:
        raise NotFound(
            f"version {version} does not exist",
            kind="version",
            where=store.uri,
            hint="versions() lists those that do",
        )
    return data


def read_manifest(store: Store, version: int, *, known: Manifest | None = None) -> Manifest:
    """One version with its schema; the parts of its tree of fragments are read when something asks for them.

    known: a version of the table: what both share is taken from it, not read; the same one is given back.
    Raises NotFound, Corrupt, Unsupported. Cost: the root and the schema.
    """
    key = place_of(store, version_key(version))
    data = read_root_bytes(store, version)
    digest = xxhash.xxh3_64_intdigest(data)
    if known is not None and (known.version, known.digest) == (version, digest):
        return known
    reader = _PartReader(store, version, digest)
    root = decode_root(data, key, version=version, read=reader.read)
    reader.bound(root)
    schema = _read_schema(reader, root, known)
    reader.check(root.tail, key)
    reader.check_indices(root, key)
    shared = {part.stored: part for part in known.tree.parts} if known else {}
    parts = tuple(shared.get(entry) or reader.part(entry) for entry in root.parts)
    reader.check(parts, key)
    return Manifest(
        version=root.version,
        timestamp_us=root.timestamp_us,
        writer=root.writer,
        reader_features=root.reader_features,
        writer_features=root.writer_features,
        next_row_id=root.next_row_id,
        next_field_id=root.next_field_id,
        next_fragment_id=root.next_fragment_id,
        schema=schema,
        schema_ref=root.schema_ref,
        tree=Tree(parts, root.tail),
        metadata=root.metadata,
        config=root.config,
        indices=with_known_rows(root.indices, known.indices if known else ()),
        transaction=_resolved(reader, root.transaction, version),
        digest=digest,
        bases=root.bases,
    )


def read_heads(store: Store, versions: Sequence[int]) -> Iterator[Head]:
    """What the history says of versions; those that a cleanup removed meanwhile are left out.

    Cost: their roots, in one round, of which the fragments are checked and not read, and their transaction parts.
    """
    roots = store.read([version_key(version) for version in versions], limit=MAX_OBJECT)
    for version, data in zip(versions, roots, strict=True):
        head = None
        with suppress(NotFound):
            head = None if data is None else _head(store, data, version)
        if head is not None:
            yield head


def read_timestamp(store: Store, version: int) -> int:
    """When a version was made, in microseconds since 1970 UTC. Cost: its root only."""
    return decode_head(read_root_bytes(store, version), place_of(store, version_key(version)), version=version)[0]


def read_transaction(store: Store, version: int) -> Transaction:
    """The record of the commit that made a version. Raises as `read_manifest`. Cost: its root only."""
    return _head(store, read_root_bytes(store, version), version).transaction


def is_there(store: Store, version: int, digest: int | None) -> bool | None:
    """Whether a version is there as it was opened, False where another one is, None where none is. digest: of its root.

    Cost: its root.
    """
    [root] = store.read([version_key(version)], limit=MAX_OBJECT)
    return None if root is None else xxhash.xxh3_64_intdigest(root) == digest


def gone(store: Store, version: int, digest: int | None) -> NotFound | None:
    """The error for a version that is no longer there as it was opened; None where it is.

    Cost: its root; where that is not there, as `latest_version`.
    """
    there = is_there(store, version, digest)
    if there:
        return None
    newest = None if there is False else latest_version(store)
    if newest is not None and newest > version:
        message = f"version {version} is gone: a cleanup removed it"
        hint = f"open the newest, {newest}; a tag or ds.lease() keeps a version from cleanups"
    else:
        message, hint = f"version {version} is gone: the table was removed or replaced", "open it anew"
    return NotFound(message, kind="version", where=place_of(store, version_key(version)), hint=hint)


def read_ref(store: Store, ref: Ref) -> bytes:
    """The bytes of a part. Raises Corrupt if it is missing or is not what its parent names."""
    # Whole, not by a range: what is kept of an object for later ranges would never be used.
    [data] = store.read([ref.path], limit=ref.nbytes)
    if data is None:
        raise missing("the part that a manifest names is missing", where=ref.path)
    if len(data) != ref.nbytes or xxhash.xxh3_64_intdigest(data) != ref.digest:
        raise Corrupt("the part is not the one its manifest names", kind="checksum", where=ref.path)
    return data


def buckets(store: Store) -> list[int]:
    """The numbers of the buckets of versions, ascending; some may be empty. Cost: one listing."""
    names = store.list(f"{VERSIONS}/")
    for name in names:
        # A link in the place of a bucket would hide the newest versions, and the next commit would fork the history.
        if bucket_number(f"{name}/") is not None:
            raise Corrupt("this is not a folder of versions", kind="file-type", where=f"{VERSIONS}/{name}")
    numbers = (bucket_number(name) for name in names)
    return sorted(number for number in numbers if number is not None)


def versions_in(store: Store, bucket: int) -> list[int]:
    """The numbers of the versions in a bucket, ascending. Cost: one listing."""
    numbers = (version_number(name, bucket) for name in _names_in(store, bucket))
    return [number for number in numbers if number is not None]


def _names_in(store: Store, bucket: int) -> list[str]:
    """The names in a bucket, sorted: those of versions in the order of their numbers, as all have 20 digits."""
    return store.list(f"{VERSIONS}/{bucket:016x}/")


def _read_schema(reader: _PartReader, root: Root, known: Manifest | None) -> Schema:
    if known is not None and known.schema_ref == root.schema_ref:
        return known.schema
    schema = _decoded(reader.read(root.schema_ref), root.schema_ref.path)
    if schema.source.greatest_id >= root.next_field_id:
        shape.refuse(root.next_field_id, "field ids below 'next_field_id'", version_key(root.version))
    return schema


def _decoded(data: bytes, where: str) -> Schema:
    """The schema of a part: of the same bytes the same object, so that what was made of it for one handle, such as
    bound filters, serves the next. Raises as `decode_schema`.
    """
    found = _SCHEMAS.get((where, data))
    if found is None:
        found = decode_schema(data, where)
        # What an extension type reads as depends on which are registered.
        if b'"extension"' not in data:
            _SCHEMAS.put((where, data), found, len(data))
    return found


class _PartReader:
    """Reads the parts of one version when they are asked for, and holds them against its counters."""

    def __init__(self, store: Store, version: int, digest: int) -> None:
        self._store, self._version, self._digest = store, version, digest
        self._limits = (0, 0, 0)
        self._bases: set[int | None] = {None}

    def bound(self, root: Root) -> None:
        """What the ids in the parts must be below."""
        self._limits = (root.next_fragment_id, root.next_row_id, root.next_field_id)
        self._bases = {None, *root.bases}

    def read(self, ref: Ref) -> bytes:
        """The bytes of a part. Raises Corrupt; NotFound where the version is gone with it."""
        try:
            return read_ref(self._store, ref)
        except Corrupt as error:
            if error.kind == "missing" and (removed := gone(self._store, self._version, self._digest)):
                raise removed from error
            raise

    def part(self, entry: PartEntry) -> Part:
        """A part that is not read yet."""
        return Part(entry.level, stored=entry, load=self._load)

    def _load(self, entry: PartEntry) -> tuple[Fragment | Part, ...]:
        path = entry.ref.path
        found = decode_part(self.read(entry.ref), path, level=entry.level, read=self.read)
        items = tuple(item if isinstance(item, Fragment) else self.part(item) for item in found)
        self.check(items, path)
        return items

    def check_indices(self, root: Root, where: str) -> None:
        """Raise Corrupt unless what indexes name is below the counters, and the bases of their files are known."""
        _, row_ids, field_ids = self._limits
        check_indices(root.indices, next_row_id=row_ids, next_field_id=field_ids, bases=self._bases, where=where)

    def check(self, items: Sequence[Fragment | Part], where: str) -> None:
        """Raise Corrupt unless ids stand once and below the counters, and the bases of files are known."""
        fragment_ids, row_ids, field_ids = self._limits
        seen: set[int | Ref] = set()
        for item in items:
            single = isinstance(item, Fragment)
            name, last = (item.id, item.id + 1) if single else (item.entry.ref, item.fragment_ids[1])
            if name in seen or last > fragment_ids:
                shape.refuse(name, f"fragments that stand once, with ids below {fragment_ids:,}", where)
            seen.add(name)
            if (item.lineage.bounds if single else item.row_ids)[1] > row_ids:
                shape.refuse(row_ids, "row ids below 'next_row_id'", where)
        bases = {file.base for item in items if isinstance(item, Fragment) for file in item.files}
        if not bases <= self._bases:
            shape.refuse(sorted(filter(None, bases)), "files below the bases of the table", where)
        # A set, as most files have the same runs.
        runs = {run for item in items if isinstance(item, Fragment) for file in item.files for run in file.fields}
        if any(first + count > field_ids for first, count in runs if first != DEAD):
            shape.refuse(field_ids, "field ids of files below 'next_field_id'", where)


def _head(store: Store, data: bytes, version: int) -> Head:
    timestamp_us, transaction = decode_head(data, place_of(store, version_key(version)), version=version)
    reader = _PartReader(store, version, xxhash.xxh3_64_intdigest(data))
    return Head(version, timestamp_us, _resolved(reader, transaction, version))


def _resolved(reader: _PartReader, transaction: Transaction | Ref, version: int) -> Transaction:
    if isinstance(transaction, Transaction):
        return transaction
    return decode_transaction(reader.read(transaction), transaction.path, version=version)


__all__ = [
    "Head",
    "buckets",
    "gone",
    "is_there",
    "latest_version",
    "list_versions",
    "read_heads",
    "read_manifest",
    "read_ref",
    "read_root_bytes",
    "read_timestamp",
    "read_transaction",
    "versions_in",
]
