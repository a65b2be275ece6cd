"""Writing rows that another process commits: files, and metadata that says what they are."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import pyarrow as pa

from lance_like.dataset.arguments import check_table_hints
from lance_like.dataset.bound import BoundVersion
from lance_like.dataset.fragment_metadata import FragmentMetadata
from lance_like.dataset.inputs import Data, ExternalBlobs, as_stream, conform
from lance_like.dataset.operations import LANCE_COMMIT_MESSAGE_KEY, LanceOperation, Transaction
from lance_like.dataset.place import open_target
from lance_like.dataset.progress import Progress
from lance_like.dataset.write import MAX_BYTES_PER_FILE, MAX_ROWS_PER_FILE, FileLimits, Mode
from lance_like.dataset.write import write_fragments as write_files
from lance_like.errors import AlreadyExists, InvalidInput
from lance_like.io.local import Durability
from lance_like.io.store import Store
from lance_like.table.apply import match_fields
from lance_like.table.manifest import Manifest
from lance_like.table.schema import Schema
from lance_like.table.snapshot import latest_version, read_manifest

if TYPE_CHECKING:
    from lance_like.dataset.handle import LanceDataset


@overload
def write_fragments(
    data: Data,
    dataset_uri: str | os.PathLike[str] | LanceDataset,
    schema: pa.Schema | None = None,
    *,
    return_transaction: Literal[False] = False,
    mode: Mode = "append",
    max_rows_per_file: int = MAX_ROWS_PER_FILE,
    max_rows_per_group: int | None = None,
    max_bytes_per_file: int = MAX_BYTES_PER_FILE,
    progress: Progress | None = None,
    durability: Durability | None = None,
    storage_options: Mapping[str, Any] | None = None,
    commit_message: str | None = None,
    transaction_properties: Mapping[str, str] | None = None,
    external_blob_mode: ExternalBlobs = "reference",
    **hints: Any,
) -> list[FragmentMetadata]: ...


@overload
def write_fragments(
    data: Data,
    dataset_uri: str | os.PathLike[str] | LanceDataset,
    schema: pa.Schema | None = None,
    *,
    return_transaction: Literal[True],
    mode: Mode = "append",
    max_rows_per_file: int = MAX_ROWS_PER_FILE,
    max_rows_per_group: int | None = None,
    max_bytes_per_file: int = MAX_BYTES_PER_FILE,
    progress: Progress | None = None,
    durability: Durability | None = None,
    storage_options: Mapping[str, Any] | None = None,
    commit_message: str | None = None,
    transaction_properties: Mapping[str, str] | None = None,
    external_blob_mode: ExternalBlobs = "reference",
    **hints: Any,
) -> Transaction: ...


def write_fragments(
    data: Data,
    dataset_uri: str | os.PathLike[str] | LanceDataset,
    schema: pa.Schema | None = None,
    *,
    return_transaction: bool = False,
    mode: Mode = "append",
    max_rows_per_file: int = MAX_ROWS_PER_FILE,
    max_rows_per_group: int | None = None,
    max_bytes_per_file: int = MAX_BYTES_PER_FILE,
    progress: Progress | None = None,
    durability: Durability | None = None,
    storage_options: Mapping[str, Any] | None = None,
    commit_message: str | None = None,
    transaction_properties: Mapping[str, str] | None = None,
    external_blob_mode: ExternalBlobs = "reference",
    **hints: Any,
) -> list[FragmentMetadata] | Transaction:
    """Write rows as files of a table without committing them: any number of processes may, and one commits.

    data, schema, max_…, progress, durability, storage_options, external_blob_mode, hints: as in `write_dataset`.
    dataset_uri: where the table is, or shall be, or a handle on it.
    mode: "append" to the newest version (to that of a handle), or "create" and "overwrite" for another schema; where
    there is no table, all three make the fragments of a new one.
    hints: as in `write_dataset`.
    Returns the metadata of the fragments, for `LanceOperation.Append` or `Overwrite`; with return_transaction the
    transaction itself, for `LanceDataset.commit`, with commit_message and transaction_properties in it.
    The files belong to nobody until the commit: a cleanup keeps them for 7 days.
    Raises InvalidInput (data that does not fit the table), AlreadyExists ("create").
    """
    check_table_hints(hints, "write_fragments")
    store, _ = open_target(dataset_uri, durability=durability, storage_options=storage_options)
    base = dataset_uri._manifest if isinstance(dataset_uri, BoundVersion) else _newest(store)
    if mode not in ("create", "append", "overwrite"):
        raise InvalidInput(f"mode={mode!r}: expected 'create', 'append' or 'overwrite'")
    if base is not None and mode == "create":
        raise AlreadyExists(f"a dataset already exists at {store.uri}", kind="dataset", hint="choose another mode")
    stream = as_stream(data, schema, external_blob_mode)
    appends = base is not None and mode == "append"
    if base is not None and appends:
        stream = conform(stream, base.schema.to_arrow())
        ids: Sequence[int] = match_fields(base, stream.schema)
    else:
        ids = [field.id for field in Schema.from_arrow(stream.schema, 0)[0].fields]
    limits = FileLimits(max_rows_per_file, max_bytes_per_file)
    written = write_files(store, stream, limits=limits, progress=progress)
    fragments = [FragmentMetadata.of_new(fragment, ids) for fragment in written]
    if not return_transaction:
        return fragments
    operation = LanceOperation.Append(fragments) if appends else LanceOperation.Overwrite(stream.schema, fragments)
    message = {} if commit_message is None else {LANCE_COMMIT_MESSAGE_KEY: commit_message}
    properties = {**(transaction_properties or {}), **message}
    return Transaction(base.version if base else 0, operation, transaction_properties=properties)


def _newest(store: Store) -> Manifest | None:
    version = latest_version(store)
    return None if version is None else read_manifest(store, version)


__all__ = ["write_fragments"]
