"""From the versions of a table to the operations that made them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from lance_like.dataset.fragment_metadata import FragmentMetadata
from lance_like.dataset.index_values import Index
from lance_like.dataset.operations import LANCE_COMMIT_MESSAGE_KEY, Transaction
from lance_like.dataset.operations import LanceOperation as Op
from lance_like.errors import NotFound
from lance_like.table.difference import changed_fragments
from lance_like.table.manifest import Manifest
from lance_like.table.parts import Tree

ReadVersion = Callable[[int], Manifest]


def transaction_at(version: int, read: ReadVersion) -> Transaction:
    """The commit that made a version. read: brings a version.

    What the operation says of changed fragments needs the version before too; where that is gone, it lacks them.
    Raises NotFound. Cost: two roots, and the parts that differ.
    """
    manifest = read(version)
    before: Manifest | None = None
    if manifest.version > 1:
        with suppress(NotFound):
            before = read(manifest.version - 1)
    record = manifest.transaction
    message = {} if record.message is None else {LANCE_COMMIT_MESSAGE_KEY: record.message}
    operation = _operation(manifest, before)
    return Transaction(record.read_version, operation, record.uuid, {**record.properties, **message})


def transactions_between(begin: int, end: int, read: ReadVersion) -> Iterator[Transaction]:
    """The commits that made versions begin … end, half-open; those that a cleanup removed are left out."""
    for version in range(begin, end):
        with suppress(NotFound):
            yield transaction_at(version, read)


def _operation(manifest: Manifest, before: Manifest | None) -> Op.BaseOperation:
    record = manifest.transaction
    match record.kind:
        case "create" | "overwrite":
            return Op.Overwrite(manifest.schema.to_arrow(), _all(manifest.tree))
        case "append":
            return Op.Append(_added(manifest))
        case "delete" | "update" | "merge_insert":
            return _change_of_rows(manifest, before)
        case "add_columns":
            return Op.Merge(_all(manifest.tree), manifest.schema.to_arrow())
        case "drop_columns" | "alter_columns":
            return Op.Project(manifest.schema.to_arrow())
        case "clone":
            bases = manifest.bases
            return Op.Clone(bool(bases), record.source_version or 0, bases[max(bases)] if bases else None)
        case "replace_columns":
            _, updated = _changed(manifest, before)
            fields = _fields(manifest)
            files = [(one.id, file) for one in updated for file in one.files if {*file.fields} & fields]
            return Op.DataReplacement([Op.DataReplacementGroup(i, file) for i, file in files])
        case "restore":
            return Op.Restore(record.source_version or 0)
        case "compact":
            removed, _ = _changed(manifest, before)
            return Op.Rewrite([Op.RewriteGroup(removed, _added(manifest))])
        case "update_metadata":
            return _change_of_texts(manifest, before)
        case "create_index" | "drop_index":
            return _change_of_indexes(manifest, before)
        case kind:
            return Op.Other(kind)


def _change_of_indexes(manifest: Manifest, before: Manifest | None) -> Op.CreateIndex:
    now, was = ({one.uuid: one for one in _segments(version)} for version in (manifest, before))
    return Op.CreateIndex(
        [one for uuid, one in now.items() if uuid not in was], [one for uuid, one in was.items() if uuid not in now]
    )


def _segments(manifest: Manifest | None) -> Iterator[Index]:
    for entry in manifest.indices if manifest else ():
        yield from (Index.of(entry, segment) for segment in entry.segments)


def _change_of_texts(manifest: Manifest, before: Manifest | None) -> Op.UpdateConfig:
    if before is None:
        return Op.UpdateConfig()
    now, was = manifest.schema, before.schema
    fields = {field.id: _texts(was.field(field.id).metadata, field.metadata) for field in now.fields}
    return Op.UpdateConfig(
        config_updates=_texts(before.config, manifest.config),
        table_metadata_updates=_texts(before.metadata, manifest.metadata),
        schema_metadata_updates=_texts(was.metadata, now.metadata),
        field_metadata_updates={i: change for i, change in fields.items() if change} or None,
    )


def _texts(was: Mapping[Any, Any], now: Mapping[Any, Any]) -> Op.UpdateMap | None:
    """What became of texts, or of metadata in bytes; None when nothing did."""
    changed = {key: now.get(key) for key in {**was, **now} if was.get(key) != now.get(key)}
    texts = {_text(key): None if value is None else _text(value) for key, value in changed.items()}
    return Op.UpdateMap(texts) if texts else None


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "backslashreplace")


def _change_of_rows(manifest: Manifest, before: Manifest | None) -> Op.BaseOperation:
    record = manifest.transaction
    removed, updated = _changed(manifest, before)
    gone = [metadata.id for metadata in removed]
    if record.kind == "delete":
        return Op.Delete(updated, gone, record.predicate)
    return Op.Update(gone, updated, _added(manifest), sorted(_fields(manifest)), kind=record.kind)


def _fields(manifest: Manifest) -> set[int]:
    """The fields that the commit of a version changed."""
    return {i for start, end in manifest.transaction.fields for i in range(start, end)}


def _changed(manifest: Manifest, before: Manifest | None) -> tuple[list[FragmentMetadata], list[FragmentMetadata]]:
    """The fragments that are gone, as they were, and those that changed, as they are."""
    if before is None:
        return [], []
    old, new = changed_fragments(before.tree, manifest.tree)
    gone = [FragmentMetadata.of(old[i]) for i in old if i not in new]
    return gone, [FragmentMetadata.of(new[i]) for i in new if i in old and new[i] != old[i]]


def _added(manifest: Manifest) -> list[FragmentMetadata]:
    found = (manifest.tree.find(fragment_id) for fragment_id in manifest.transaction.fragments_added)
    return [FragmentMetadata.of(fragment) for fragment in found if fragment is not None]


def _all(tree: Tree) -> list[FragmentMetadata]:
    return [FragmentMetadata.of(fragment) for fragment in tree.iterate()]


__all__ = ["transaction_at", "transactions_between"]
