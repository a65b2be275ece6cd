"""The two calls that everything begins with: `dataset` opens a table, `write_dataset` writes one."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa

from lance_like.dataset.handle import LanceDataset, Verify
from lance_like.dataset.inputs import Data
from lance_like.dataset.place import CommitLock, open_place
from lance_like.dataset.upkeep import tidy
from lance_like.dataset.write import (
    MAX_BYTES_PER_FILE,
    MAX_ROWS_PER_FILE,
    FileLimits,
    Mode,
    Progress,
    write_table,
)
from lance_like.io.local import Durability
from lance_like.query.session import CACHE_NBYTES
from lance_like.table.history import Reference, read_version
from lance_like.table.layout import FOLDERS


def dataset(
    uri: str | os.PathLike[str],
    version: Reference | None = None,
    asof: datetime | str | None = None,
    *,
    verify: Verify = "full",
    durability: Durability = "full",
    metadata_cache_size_bytes: int = CACHE_NBYTES,
    storage_options: Mapping[str, Any] | None = None,
    commit_lock: CommitLock | None = None,
) -> LanceDataset:
    """Open a dataset.

    uri: a path (~ works), file://…, memory://name, or s3://… and other object stores.
    version: a number, a tag, or a pair of a branch and a number (None: its newest); None: the newest.
    asof: the newest version that was there at that time (UTC unless it says otherwise).
    verify: "off" skips the checksums of page bytes; metadata is always checked.
    durability: of later writes through the handle (`write_dataset`).
    metadata_cache_size_bytes: what the handle may keep of its files' metadata, by estimate; 256 MiB by default.
    storage_options: of an object store, as pylance or fsspec name them; kept in pickles of the handle.
    commit_lock: for an object store that cannot write only if a key is free: a function from the version to be written
    to a context manager that one writer at a time is in.
    Raises NotFound when there is no such dataset, version or tag; Corrupt when its metadata is damaged.
    """
    store = open_place(uri, durability=durability, storage_options=storage_options, commit_lock=commit_lock)
    options = {"verify": verify, "durability": durability, "metadata_cache_size_bytes": metadata_cache_size_bytes}
    line, manifest = read_version(store, version, asof=asof)
    return LanceDataset(line, manifest, **options)


def write_dataset(
    data: Data,
    uri: str | os.PathLike[str],
    schema: pa.Schema | None = None,
    mode: Mode = "create",
    *,
    max_rows_per_file: int = MAX_ROWS_PER_FILE,
    max_rows_per_group: int | None = None,
    max_bytes_per_file: int = MAX_BYTES_PER_FILE,
    progress: Progress | None = None,
    durability: Durability = "full",
    commit_message: str | None = None,
    transaction_properties: Mapping[str, str] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    commit_lock: CommitLock | None = None,
) -> LanceDataset:
    """Write rows as one new version and return a handle on it.

    data: a table, batch, reader or dataset of pyarrow; pandas or Polars; anything with `__arrow_c_stream__`; an
    iterable of batches; a dict of columns; a list of dicts. Streams are written in bounded memory.
    schema: cast the data to it. mode: "create" (fails if there is a dataset), "append" or "overwrite" (both create
    one that is missing).
    max_rows_per_file, max_bytes_per_file: when to begin the next file. max_rows_per_group: accepted and ignored;
    there are no row groups. progress: called with a `WriteProgress` after each batch, at least every 32 MiB.
    durability: "full" returns when all is on the disk; "process" survives the death of the process only.
    commit_message, transaction_properties: kept in the version. storage_options, commit_lock: as in `dataset`.
    Field metadata says how a column is encoded: "lance_like:encoding" and others (format_spec/encodings/README.md,
    "How a writer chooses").
    Raises AlreadyExists, InvalidInput (data that does not fit), Unsupported (a type that cannot be stored), Conflict.
    """
    place = open_place(
        uri, durability=durability, folders=FOLDERS, storage_options=storage_options, commit_lock=commit_lock
    )
    manifest = write_table(
        data,
        place,
        schema=schema,
        mode=mode,
        limits=FileLimits(max_rows_per_file, max_bytes_per_file),
        progress=progress,
        message=commit_message,
        properties=transaction_properties,
    )
    written = LanceDataset(place, manifest, durability=durability)
    tidy(written)
    return written


__all__ = ["dataset", "write_dataset"]
