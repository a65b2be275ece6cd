"""The datasets of pylance's `lance.torch.data`, with its options and what it gives.

`lance_like.torch.LanceDataset` shuffles over the whole table, shares rows evenly and reads them in any order:
it is the one for training that is written anew.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal
from uuid import uuid4

import pyarrow as pa
import torch
import torch.distributed
import torch.utils.data

from lance_like.dataset import LanceDataset as Handle
from lance_like.dataset import dataset as open_dataset
from lance_like.errors import InvalidInput, Unsupported
from lance_like.integrations.torch import SafeLanceDataset as _SafeLanceDataset
from lance_like.integrations.torch import to_tensors
from lance_like.sampler import (
    FullScanSampler,
    Sampler,
    ShardedBatchSampler,
    ShardedFragmentSampler,
    maybe_sample,
)

_BLOB = b"lance-encoding:blob"


class LanceDataset(torch.utils.data.IterableDataset):
    """Batches of a dataset as tensors, scanned in its order; use as `DataLoader(ds, batch_size=None)`.

    dataset: a handle or a URI, which is opened with dataset_options. batch_size: rows of all batches but the last.
    columns, filter, batch_readahead, with_row_id: as in `scanner`.
    samples: of so many rows by chance (`maybe_sample`).
    cache: True or a folder: batches are kept on disk, and read from there from the second time on.
    rank, world_size: of this process; by default of torch.distributed and the loader's workers, together.
    shard_granularity: what is shared, "fragment" (the default) or "batch". sampler: chooses instead of all of these.
    to_tensor_fn: what to make of a `pa.RecordBatch`, or of a dict of arrays and lists of `BlobFile` where there are
        columns of blobs; called with `hf_converter=None` and `use_blob_api=`. By default the values of
        `lance_like.torch.to_tensors`, without the dict where there is one column; None gives batches as they are.
    """

    def __init__(
        self,
        dataset: Handle | str | Path,
        batch_size: int,
        *,
        dataset_options: Mapping[str, Any] | None = None,
        columns: Sequence[str] | Mapping[str, str] | None = None,
        filter: str | None = None,
        samples: int | None = 0,
        cache: str | bool | None = None,
        with_row_id: bool = False,
        rank: int | None = None,
        world_size: int | None = None,
        shard_granularity: Literal["fragment", "batch"] | None = None,
        batch_readahead: int = 16,
        to_tensor_fn: Callable[..., Any] | None = None,
        sampler: Sampler | None = None,
        auto_detect_rank: bool = True,
    ) -> None:
        super().__init__()
        opened = open_dataset(dataset, **(dataset_options or {})) if isinstance(dataset, (str, Path)) else dataset
        if shard_granularity not in (None, "fragment", "batch"):
            raise InvalidInput(f'shard_granularity={shard_granularity!r}: expected "fragment" or "batch"')
        self.dataset, self.batch_size, self.columns, self.filter = opened, batch_size, columns, filter
        self.samples, self.with_row_id, self.batch_readahead = samples, with_row_id, batch_readahead
        self.rank, self.world_size, self.shard_granularity = rank, world_size, shard_granularity
        self.sampler = sampler
        self._detects = auto_detect_rank
        self._convert = to_tensor_fn
        self._pid = os.getpid()
        self._cache = _Cache(cache) if cache else None
        self._blobs = [name for name in columns or opened.schema.names if _is_blob(opened.schema, name)]

    @property
    def schema(self) -> pa.Schema:
        """The schema of what is read."""
        return self.dataset.schema if not self.columns else self.dataset.scanner(self.columns).projected_schema

    def __iter__(self) -> Iterator[Any]:
        if self._pid != os.getpid():
            # A handle that came through fork is not used.
            self.dataset, self._pid = pickle.loads(pickle.dumps(self.dataset)), os.getpid()
        batches = self._batches() if self._cache is None else self._cache.through(self._batches)
        for batch in batches:
            yield self._converted(batch)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        columns: Any = self.columns
        if self._blobs:
            columns = [name for name in self.columns or self.dataset.schema.names if name not in self._blobs]
        if self.samples:
            return maybe_sample(self.dataset, self.samples, columns, self.batch_size, filt=self.filter)
        return self._chosen()(
            self.dataset,
            columns=columns,
            filter=self.filter,
            batch_size=self.batch_size,
            with_row_id=self.with_row_id or bool(self._blobs),
            batch_readahead=self.batch_readahead,
        )

    def _chosen(self) -> Sampler:
        """The sampler of this process."""
        if self.sampler is not None:
            return self.sampler
        place, places = _global_place() if self._detects else (None, None)
        rank = place if self.rank is None else self.rank
        size = places if self.world_size is None else self.world_size
        if rank is None or size is None:
            return FullScanSampler()
        kind = ShardedBatchSampler if self.shard_granularity == "batch" else ShardedFragmentSampler
        return kind(rank, size)

    def _converted(self, batch: pa.RecordBatch) -> Any:
        given: Any = batch
        if self._blobs:
            if "_rowid" not in batch.schema.names:
                raise InvalidInput("blobs are found by row ids, which this sampler and `samples` do not give")
            given = dict(zip(batch.schema.names, batch.columns, strict=True))
            ids = given["_rowid"].to_pylist()
            given |= {name: self.dataset.take_blobs(name, ids=ids) for name in self._blobs}
        if self._convert is not None:
            return self._convert(given, hf_converter=None, use_blob_api=bool(self._blobs))
        if self._blobs:
            raise Unsupported("no tensor is made of blobs by itself", kind="blob", hint="pass a to_tensor_fn")
        return _tensors(batch)


class SafeLanceDataset(_SafeLanceDataset):
    """Rows by position as dicts of Python's values, opened anew in every process."""

    def __init__(self, uri: str | Path | Handle, *, dataset_options: Mapping[str, Any] | None = None) -> None:
        opened = open_dataset(uri, **(dataset_options or {})) if isinstance(uri, (str, Path)) else uri
        super().__init__(opened, to_tensor_fn=pa.RecordBatch.to_pylist)


def get_safe_loader(
    dataset: torch.utils.data.Dataset, batch_size: int | None = 32, num_workers: int = 4, **options: Any
) -> torch.utils.data.DataLoader:
    """Make a `DataLoader` whose workers are spawned and live on between epochs; options: others of its own."""
    settings = {"persistent_workers": num_workers > 0, **options}
    if num_workers > 0:
        settings.setdefault("multiprocessing_context", torch.multiprocessing.get_context("spawn"))
    return torch.utils.data.DataLoader(dataset, batch_size=batch_size, num_workers=num_workers, **settings)


class _Cache:
    """Batches in a file, from the first time that all of them were read. place: a folder, or True for one that goes."""

    def __init__(self, place: str | bool) -> None:
        self._own = TemporaryDirectory() if place is True else None
        folder = Path(self._own.name if self._own is not None else str(place))
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{uuid4().hex}.arrow"

    def through(self, read: Callable[[], Iterator[pa.RecordBatch]]) -> Iterator[pa.RecordBatch]:
        if self._path.exists():
            with pa.memory_map(str(self._path)) as source, pa.ipc.open_stream(source) as kept:
                yield from kept
            return
        partly = self._path.with_suffix(".part")
        writer = None
        try:
            for batch in read():
                writer = writer or pa.ipc.new_stream(str(partly), batch.schema)
                writer.write_batch(batch)
                yield batch
            if writer is not None:
                writer.close()
                partly.replace(self._path)
        finally:
            if writer is not None:
                writer.close()

    def __getstate__(self) -> bool | str:
        # A worker keeps its own share.
        return True if self._own is not None else str(self._path.parent)

    def __setstate__(self, place: bool | str) -> None:
        self.__init__(place)


def _tensors(batch: pa.RecordBatch) -> Any:
    """The tensors of the columns; of one alone without its name. uint64 becomes int64, as torch computes with few."""
    found = to_tensors(batch)
    for name, value in found.items():
        if isinstance(value, torch.Tensor) and value.dtype == torch.uint64:
            found[name] = value.to(torch.int64)
    return next(iter(found.values())) if len(found) == 1 else found


def _is_blob(schema: pa.Schema, name: str) -> bool:
    index = schema.get_field_index(name)
    return index >= 0 and (schema.field(index).metadata or {}).get(_BLOB) == b"true"


def _global_place() -> tuple[int, int]:
    """The place of this process, a worker of a loader or not, among those of all ranks, and how many they are."""
    group = torch.distributed
    known = group.is_available() and group.is_initialized()
    rank, ranks = (group.get_rank(), group.get_world_size()) if known else (0, 1)
    worker = torch.utils.data.get_worker_info()
    place, places = (0, 1) if worker is None else (worker.id, worker.num_workers)
    return rank * places + place, ranks * places


__all__ = ["LanceDataset", "SafeLanceDataset", "get_safe_loader"]
