"""The two calls that everything begins with: `dataset` opens a table, `write_dataset` writes one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa

from lance_like.dataset.arguments import check_table_hints
from lance_like.dataset.bound import Indices, Verify
from lance_like.dataset.handle import LanceDataset
from lance_like.dataset.inputs import Data, ExternalBlobs
from lance_like.dataset.place import CommitLock, open_place, open_target
from lance_like.dataset.progress import Progress
from lance_like.dataset.session import Session
from lance_like.dataset.upkeep import AutoCleanupConfig, auto_cleanup, tidy
from lance_like.dataset.write import (
    MAX_BYTES_PER_FILE,
    MAX_ROWS_PER_FILE,
    FileLimits,
    Mode,
    write_table,
)
from lance_like.errors import InvalidInput
from lance_like.io.local import Durability
from lance_like.table.bases import StorageOptions
from lance_like.table.history import Reference, read_version


def dataset(
    uri: str | os.PathLike[str],
    version: Reference | None = None,
    asof: datetime | str | None = None,
    *,
    verify: Verify = "full",
    durability: Durability = "full",
    metadata_cache_size_bytes: int | None = None,
    index_cache_size_bytes: int | None = None,
    indices: Indices = "use",
    storage_options: Mapping[str, Any] | None = None,
    commit_lock: CommitLock | None = None,
    base_store_params: StorageOptions | None = None,
    default_scan_options: Mapping[str, Any] | None = None,
    session: Session | None = None,
    **hints: Any,
) -> LanceDataset:
    """Open a dataset.

    uri: a path (~ works), file://…, memory://name, or s3://… and other object stores.
    version: a number, a tag, or a pair of a branch and a number (None: its newest); None: the newest.
    asof: the newest version that was there at that time (local time unless it says otherwise).
    verify: "off" skips the checksums of page bytes; metadata is always checked.
    durability: of later writes through the handle (`write_dataset`).
    metadata_cache_size_bytes: what the handle may keep of its files' metadata, by estimate; 256 MiB by default.
    index_cache_size_bytes: what it may keep of its indexes; 1 GiB. indices: "ignore" opens no file of an index, for a
    table from a stranger.
    session: of another handle, or a `lance_like.Session`: files and indexes that are open there are not opened again.
    The sizes are then those it has.
    storage_options: of an object store, as pylance or fsspec name them; kept in pickles of the handle. Files and memory
    take no notice of them, so that one program serves all.
    commit_lock: for an object store that cannot write only if a key is free: a function from the version to be written
    to a context manager that one writer at a time is in.
    base_store_params: {URI of a base: its storage options}, for a shallow clone of a table that needs others.
    default_scan_options: options of `LanceDataset.scanner` for every scan that does not say otherwise; `schema` is then
    that of such a scan.
    hints: pylance's tuning options, accepted and not needed.
    Raises NotFound when there is no such dataset, version or tag; Corrupt when its metadata is damaged.
    """
    check_table_hints(hints, "dataset")
    if session is not None and not (metadata_cache_size_bytes is None and index_cache_size_bytes is None):
        raise InvalidInput("a session has its own cache sizes", hint="pass them to lance_like.Session")
    store = open_place(uri, durability=durability, storage_options=storage_options, commit_lock=commit_lock)
    options = {
        "verify": verify,
        "durability": durability,
        "metadata_cache_size_bytes": metadata_cache_size_bytes,
        "index_cache_size_bytes": index_cache_size_bytes,
        "indices": indices,
        "base_store_params": base_store_params,
        "default_scan_options": default_scan_options,
        "session": session,
    }
    line, manifest = read_version(store, version, asof=asof)
    return LanceDataset(line, manifest, **options)


def write_dataset(
    data_obj: Data,
    uri: str | os.PathLike[str] | LanceDataset,
    schema: pa.Schema | None = None,
    mode: Mode = "create",
    *,
    max_rows_per_file: int = MAX_ROWS_PER_FILE,
    max_rows_per_group: int | None = None,
    max_bytes_per_file: int = MAX_BYTES_PER_FILE,
    progress: Progress | None = None,
    durability: Durability | None = None,
    auto_cleanup_options: AutoCleanupConfig | None = None,
    commit_message: str | None = None,
    transaction_properties: Mapping[str, str] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    commit_lock: CommitLock | None = None,
    base_store_params: StorageOptions | None = None,
    session: Session | None = None,
    external_blob_mode: ExternalBlobs = "reference",
    **hints: Any,
) -> LanceDataset:
    """Write rows as one new version and return a handle on it.

    data_obj: a table, batch, reader or dataset of pyarrow; pandas or Polars; anything with `__arrow_c_stream__`; an
    iterable of batches; a dict of columns; a list of dicts or pydantic models. Streams are written in bounded memory.
    uri: a place, or a handle: what follows is the newest version of its branch, with its durability and storage
    options. The handle stays where it is.
    schema: cast the data to it. mode: "create" (fails if there is a dataset), "append" or "overwrite" (both create
    one that is missing).
    max_rows_per_file, max_bytes_per_file: when to begin the next file. max_rows_per_group: accepted and ignored;
    there are no row groups. progress: called with a `WriteProgress` after each batch, at least every 32 MiB; or a
    `lance_like.progress.FragmentWriteProgress`, told of each file.
    durability: "full", the default, returns when all is on the disk; "process" survives the death of the process only.
    auto_cleanup_options: {"interval", "older_than_seconds"}; a new table removes old versions by itself, as after
    `ds.optimize.enable_auto_cleanup`. One that is there stays as it is configured.
    commit_message, transaction_properties: kept in the version. storage_options, commit_lock, base_store_params,
    session, hints: as in `dataset`; a handle's own session is gone on with.
    external_blob_mode: "ingest" stores the bytes that cells of blob columns refer to in the place of the references.
    Field metadata says how a column is encoded: "lance_like:encoding" and others (format_spec/encodings/README.md,
    "How a writer chooses").
    Raises AlreadyExists, InvalidInput (data that does not fit), Unsupported (a type that cannot be stored), Conflict.
    """
    check_table_hints(hints, "write_dataset")
    config = {} if auto_cleanup_options is None else auto_cleanup(auto_cleanup_options)
    place, options = open_target(
        uri,
        durability=durability,
        storage_options=storage_options,
        commit_lock=commit_lock,
        base_store_params=base_store_params,
    )
    manifest = write_table(
        data_obj,
        place,
        schema=schema,
        mode=mode,
        limits=FileLimits(max_rows_per_file, max_bytes_per_file),
        progress=progress,
        message=commit_message,
        properties=transaction_properties,
        config=config,
        known=uri._manifest if isinstance(uri, LanceDataset) else None,
        external_blobs=external_blob_mode,
    )
    if session is None and isinstance(uri, LanceDataset):
        session = uri.session()
    written = LanceDataset(place, manifest, session=session, **options)
    tidy(written)
    return written


__all__ = ["dataset", "write_dataset"]
