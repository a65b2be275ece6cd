"""One version of a table as a value, and its root as bytes (format_spec/table.md, "Root manifest"). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from lance_like.errors import Corrupt, NotFound, Unsupported
from lance_like.file.layout import parse_json
from lance_like.table import shape
from lance_like.table.envelope import pack_json, unpack_json
from lance_like.table.fragment import (
    MAX_BASE,
    MAX_FIELD_ID,
    MAX_FRAGMENT_ID,
    Fragment,
    ReadPart,
    Runs,
    fragment_from_json,
    unread,
)
from lance_like.table.indices import IndexEntry, indices_from_json
from lance_like.table.parts import MAX_FRAGMENTS, PartEntry, Tree, entry_from_json
from lance_like.table.reference import Ref, ref_from_json
from lance_like.table.schema import Schema
from lance_like.typing_ import Json
from lance_like.version import __version__

MAGIC = b"LLMF"
TRANSACTION_MAGIC = b"LLTX"
WRITER = ("lance_like", __version__)
# No feature bits in the draft: a set bit is one this package does not know.
READER_FEATURES = 0
WRITER_FEATURES = 0
# A transaction record longer than this is a part of its own: the root stays small.
INLINE_TRANSACTION_BYTES = 16 * 1024
_MAX_URI = 8192
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_HEAD_MEMBERS = {"version", "timestamp_us", "writer", "reader_features", "transaction"}


@dataclass(frozen=True, slots=True)
class Transaction:
    """What one commit did.

    uuid: 32 hexadecimal digits, the writer's own. read_version: 0 for the first commit of a table.
    row_ids: half-open intervals of the ids given to new rows.
    fields: half-open intervals of the ids of fields added, dropped, renamed or written.
    source_version: the version that a restore brought back. predicate: of a delete, the SQL that chose its rows.
    indexes: the names of those that were made, extended or dropped.
    """

    uuid: str
    kind: str
    read_version: int
    message: str | None = None
    properties: Mapping[str, str] = field(default_factory=dict)
    row_ids: Runs = ()
    fields: Runs = ()
    files_added: tuple[str, ...] = ()
    fragments_added: tuple[int, ...] = ()
    source_version: int | None = None
    predicate: str | None = None
    indexes: tuple[str, ...] = ()

    def touches(self, field_id: int) -> bool:
        """Was this field added, dropped, renamed or written?"""
        return any(start <= field_id < end for start, end in self.fields)

    def to_json(self) -> Json:
        return {
            "uuid": self.uuid,
            "kind": self.kind,
            "read_version": self.read_version,
            "message": self.message,
            "properties": dict(self.properties),
            "row_ids": self.row_ids,
            "fields": self.fields,
            "files_added": self.files_added,
            "fragments_added": self.fragments_added,
            "source_version": self.source_version,
            **({} if self.predicate is None else {"predicate": self.predicate}),
            **({"indexes": self.indexes} if self.indexes else {}),
        }


@dataclass(frozen=True, slots=True)
class Root:
    """A root manifest as read: its parts are named, not loaded. Members as in `Manifest`."""

    version: int
    timestamp_us: int
    writer: tuple[str, str]
    reader_features: int
    writer_features: int
    next_row_id: int
    next_field_id: int
    next_fragment_id: int
    schema_ref: Ref
    parts: tuple[PartEntry, ...]
    tail: tuple[Fragment, ...]
    metadata: dict[str, str]
    config: dict[str, str]
    indices: tuple[IndexEntry, ...]
    transaction: Transaction | Ref
    bases: dict[int, str]


@dataclass(frozen=True)
class Manifest:
    """One version of a table.

    timestamp_us: microseconds since 1970 UTC, strictly greater than that of the version before.
    next_row_id, next_field_id, next_fragment_id: never used yet; they only grow, through restore and overwrite too.
    schema_ref: None until the schema part is written. tree: all fragments.
    digest: XXH3-64 of the root's bytes; None until it is written.
    bases: number -> URI of a place below which data files lie too; a number never names another place.
    metadata: texts of the table. config: texts about how it is to be kept.
    """

    version: int
    timestamp_us: int
    writer: tuple[str, str]
    reader_features: int
    writer_features: int
    next_row_id: int
    next_field_id: int
    next_fragment_id: int
    schema: Schema
    schema_ref: Ref | None
    tree: Tree
    metadata: Mapping[str, str]
    config: Mapping[str, str]
    indices: tuple[IndexEntry, ...]
    transaction: Transaction
    digest: int | None = None
    bases: Mapping[int, str] = field(default_factory=dict)

    @property
    def fragments(self) -> tuple[Fragment, ...]:
        """All fragments, in scan order. Cost: every part is read; `tree` finds some of them for less."""
        return self.tree.fragments

    @property
    def rows(self) -> int:
        """Physical rows."""
        return self.tree.rows

    @property
    def live_rows(self) -> int:
        """Rows that a scan gives."""
        return self.tree.live_rows

    def fragment(self, fragment_id: int) -> Fragment:
        """The fragment with an id. Raises NotFound."""
        found = self.tree.find(fragment_id)
        if found is None:
            raise NotFound(f"version {self.version} has no fragment {fragment_id}", kind="fragment")
        return found


def encode_root(manifest: Manifest, transaction: Ref | None) -> bytes:
    """The root of a manifest whose parts are all written.

    transaction: the part that holds the transaction record, None to hold it in the root.
    """
    assert manifest.schema_ref is not None, "the schema is written before the root"
    tree = manifest.tree
    body = {
        "version": manifest.version,
        "timestamp_us": manifest.timestamp_us,
        "writer": {"name": manifest.writer[0], "version": manifest.writer[1]},
        "reader_features": manifest.reader_features,
        "writer_features": manifest.writer_features,
        "next_row_id": manifest.next_row_id,
        "next_field_id": manifest.next_field_id,
        "next_fragment_id": manifest.next_fragment_id,
        "schema": manifest.schema_ref.to_json(),
        "fragments": {
            "parts": [part.entry.to_json() for part in tree.parts],
            "tail": [fragment.json for fragment in tree.tail],
        },
        "rows": manifest.rows,
        "live_rows": manifest.live_rows,
        "indices": [entry.to_json() for entry in manifest.indices],
        "bases": {str(number): uri for number, uri in manifest.bases.items()},
        "metadata": dict(manifest.metadata),
        "config": dict(manifest.config),
        "transaction": {"ref": transaction.to_json()} if transaction else manifest.transaction.to_json(),
    }
    return pack_json(MAGIC, shape.dump(body))


def decode_root(data: bytes, where: str, *, version: int, read: ReadPart = unread) -> Root:
    """The inverse of `encode_root`.

    version: what the name of the object says. read: for the parts of fragments and indexes, when they are asked for.
    Raises Corrupt; Unsupported for a reader feature that this package does not know.
    """
    body = _checked(parse_json(unpack_json(MAGIC, data, where), where), where, version)
    next_row_id, next_field_id, next_fragment_id = (
        shape.integer(body, name, where, high=high)
        for name, high in (
            ("next_row_id", shape.MAX_INTEGER),
            ("next_field_id", MAX_FIELD_ID + 1),
            ("next_fragment_id", MAX_FRAGMENT_ID + 1),
        )
    )
    fragments = shape.mapping(shape.member(body, "fragments", where), where)
    parts = shape.each(fragments, "parts", where, entry_from_json)
    tail = shape.each(fragments, "tail", where, lambda item, place: fragment_from_json(item, place, read=read))
    if sum(part.fragments for part in parts) + len(tail) > MAX_FRAGMENTS:
        raise Corrupt(f"over the limit of {MAX_FRAGMENTS:,} fragments", kind="limit", where=where)
    rows, live_rows = (sum(item.rows for item in (*parts, *tail)), sum(item.live_rows for item in (*parts, *tail)))
    shape.integer(body, "rows", where, low=rows, high=rows)
    shape.integer(body, "live_rows", where, low=live_rows, high=live_rows)
    return Root(
        version=version,
        timestamp_us=shape.integer(body, "timestamp_us", where, low=1),
        writer=_writer(body, where),
        reader_features=shape.integer(body, "reader_features", where),
        writer_features=shape.integer(body, "writer_features", where),
        next_row_id=next_row_id,
        next_field_id=next_field_id,
        next_fragment_id=next_fragment_id,
        schema_ref=ref_from_json(shape.member(body, "schema", where), where, kind="schema"),
        parts=parts,
        tail=tail,
        metadata=shape.texts(body, "metadata", where),
        config=shape.texts(body, "config", where),
        indices=indices_from_json(body, where, read=read),
        transaction=_transaction_or_ref(body, where, version),
        bases=_bases(body, where),
    )


def decode_head(data: bytes, where: str, *, version: int) -> tuple[int, Transaction | Ref]:
    """Only the timestamp and the transaction of a root. Raises as `decode_root`. Cost: no fragment is parsed."""
    body = _checked(_ends(unpack_json(MAGIC, data, where), where), where, version)
    return shape.integer(body, "timestamp_us", where, low=1), _transaction_or_ref(body, where, version)


def _ends(body: bytes, where: str) -> Json:
    """The members of a root before `fragments` and from `transaction` on; all, if those lack one that a head needs.

    A quote after a comma begins a text, since one within a text is escaped. So each mark is the name of a member; and
    of the root itself, if without what is between them this is an object with a member `transaction`.
    """
    end, start = body.find(b',"fragments":'), body.rfind(b',"transaction":')
    if 0 < end < start:
        with suppress(Corrupt):
            found = shape.mapping(parse_json(body[:end] + body[start:], where), where)
            if found.keys() >= _HEAD_MEMBERS:
                return found
    return parse_json(body, where)


def _checked(value: Json, where: str, version: int) -> dict[str, Json]:
    body = shape.mapping(value, where)
    shape.integer(body, "version", where, low=version, high=version)
    unknown = shape.integer(body, "reader_features", where) & ~READER_FEATURES
    if unknown:
        raise Unsupported(
            f"this table needs the reader feature bits {_bits(unknown)}, which this package does not know",
            kind="feature",
            where=where,
            hint=f"written by {' '.join(_writer(body, where))}; update lance_like",
        )
    return body


def check_writable(manifest: Manifest) -> None:
    """Raise Unsupported if the version has a writer feature that this package does not know."""
    unknown = manifest.writer_features & ~WRITER_FEATURES
    if unknown:
        raise Unsupported(
            f"writing to this table needs the feature bits {_bits(unknown)}, which this package does not know",
            kind="feature",
            where=f"version {manifest.version}",
            hint=f"written by {' '.join(manifest.writer)}; update lance_like",
        )


def encode_transaction(transaction: Transaction) -> bytes:
    """A transaction record as a part of its own."""
    return pack_json(TRANSACTION_MAGIC, shape.dump(transaction.to_json()))


def decode_transaction(data: bytes, where: str, *, version: int) -> Transaction:
    """The inverse of `encode_transaction`. Raises Corrupt."""
    value = parse_json(unpack_json(TRANSACTION_MAGIC, data, where), where)
    return transaction_from_json(value, where, version)


def is_inline(transaction: Transaction) -> bool:
    """Is the record short enough to stand in the root?"""
    return len(shape.dump(transaction.to_json())) <= INLINE_TRANSACTION_BYTES


def transaction_from_json(value: Json, where: str, version: int) -> Transaction:
    """The record of the commit that made a version. Raises Corrupt."""
    holder = shape.mapping(value, where)
    message = shape.member(holder, "message", where)
    source = shape.member(holder, "source_version", where)
    return Transaction(
        uuid=shape.uuid(holder, where),
        kind=shape.text(holder, "kind", where),
        read_version=shape.integer(holder, "read_version", where, high=version - 1),
        message=None if message is None else shape.clean_text(message, "'message'", where),
        properties=shape.texts(holder, "properties", where),
        row_ids=shape.intervals(holder, "row_ids", where, high=shape.MAX_INTEGER),
        fields=shape.intervals(holder, "fields", where, high=MAX_FIELD_ID + 1),
        files_added=shape.each(holder, "files_added", where, shape.path),
        fragments_added=_integers(holder, "fragments_added", where, MAX_FRAGMENT_ID),
        source_version=None if source is None else shape.integer(holder, "source_version", where, low=1),
        predicate=shape.text(holder, "predicate", where) if "predicate" in holder else None,
        indexes=shape.each(holder, "indexes", where, _name) if "indexes" in holder else (),
    )


def _name(value: Json, where: str) -> str:
    return shape.clean_text(value, "a name", where)


def _transaction_or_ref(body: dict[str, Json], where: str, version: int) -> Transaction | Ref:
    value = shape.mapping(shape.member(body, "transaction", where), where)
    if "ref" in value:
        return ref_from_json(value["ref"], where, kind="txn")
    return transaction_from_json(value, where, version)


def _integers(holder: dict[str, Any], name: str, where: str, high: int) -> tuple[int, ...]:
    found = shape.array(holder, name, where)
    if not all(type(value) is int and 0 <= value <= high for value in found):
        shape.refuse(found, f"integers from 0 to {high:,} in {name!r}", where)
    return tuple(found)


def _writer(body: dict[str, Json], where: str) -> tuple[str, str]:
    writer = shape.mapping(shape.member(body, "writer", where), where)
    return shape.text(writer, "name", where), shape.text(writer, "version", where)


def _bases(body: dict[str, Json], where: str) -> dict[int, str]:
    found: dict[int, str] = {}
    for number, uri in shape.texts(body, "bases", where).items():
        plain = number.isascii() and number.isdigit() and number == str(int(number)) and 1 <= int(number) <= MAX_BASE
        if not plain or not is_base_uri(uri):
            shape.refuse([number, uri], "the number of a base and the URI of its place", where)
        found[int(number)] = uri
    return found


def is_base_uri(uri: str) -> bool:
    """Is this an absolute path or a URI with a scheme, in a form that needs no place to start from?"""
    whole = uri.startswith("/") or _SCHEME.match(uri) is not None
    return whole and len(uri) <= _MAX_URI and uri.isprintable()


def _bits(features: int) -> str:
    return ", ".join(str(bit) for bit in range(features.bit_length()) if features >> bit & 1)


__all__ = [
    "Manifest",
    "Root",
    "Transaction",
    "check_writable",
    "decode_head",
    "decode_root",
    "decode_transaction",
    "encode_root",
    "encode_transaction",
    "is_inline",
]
