"""Rows of a dataset for PyTorch's `DataLoader`: a map-style dataset, an iterable one, and Arrow to tensor.

Both hold one version, pickle as its handle does (uri, version, options) and open it anew in each process, so
that workers may be forked or spawned. A shuffle is global and needs no memory: the row at each place of the
order is computed from (rows, seed, epoch) alone, hence all ranks and workers agree without talking.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa

from lance_like._lazy import need
from lance_like.dataset import dataset as open_dataset
from lance_like.errors import InvalidInput, OutOfRange

need("torch")  # says what to install when torch is missing
import torch  # noqa: E402
import torch.distributed  # noqa: E402
import torch.utils.data  # noqa: E402

Batch: TypeAlias = "dict[str, torch.Tensor | list[Any] | Batch]"
Convert: TypeAlias = Callable[[pa.RecordBatch], Any]
Tail: TypeAlias = Literal["short", "drop", "pad"]

_ROUNDS = 6
_BFLOAT16 = "lance.bfloat16"


@dataclass(frozen=True, slots=True)
class Permutation:
    """A shuffled order of `rows` places, computed place by place.

    A Feistel network over the smallest power of two that holds all rows; a value outside is sent through the
    network again until it lands inside, at most twice on average. The order is a pure function of the three
    fields: the same in every process, on every machine and with every release of numpy.
    """

    rows: int
    seed: int
    epoch: int

    def at(self, places: np.ndarray) -> np.ndarray:
        """The rows that stand at some places of the order.

        places: int64[n], each in [0, rows).
        Returns int64[n]; different places give different rows.
        Cost: O(n), no memory in proportion to `rows`.
        """
        keys = np.random.SeedSequence((self.seed, self.epoch)).generate_state(_ROUNDS, np.uint64)
        values = places.astype(np.uint64)
        outside = np.arange(len(values))
        while len(outside):
            values[outside] = self._encrypt(values[outside], keys)
            outside = outside[values[outside] >= self.rows]
        return values.astype(np.int64)

    def _encrypt(self, values: np.ndarray, keys: np.ndarray) -> np.ndarray:
        bits = max(2, (self.rows - 1).bit_length())
        low_bits, high_bits = np.uint64(bits // 2), np.uint64(bits - bits // 2)
        for key in keys:
            # The two parts swap sizes each round, so an odd number of bits works as well.
            low = values & ((np.uint64(1) << low_bits) - np.uint64(1))
            high = values >> low_bits
            mixed = _mix(low ^ key) >> (np.uint64(64) - high_bits)
            values = (low << high_bits) | (high ^ mixed)
            low_bits, high_bits = high_bits, low_bits
        return values


def _mix(values: np.ndarray) -> np.ndarray:
    """Spread each input bit over all 64 (the finalizer of splitmix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


@dataclass(frozen=True, slots=True)
class Steps:
    """Which places of an order each rank reads, batch by batch.

    Step k of all ranks together covers the places [k, k + 1) * batch_size * world_size, rank after rank.

    tail: what happens to the last places, which do not fill a step. "short": the ranks share them as evenly
        as can be; every row comes exactly once, but one rank may get a batch fewer than another. "drop": they
        are left out. "pad": places from the start of the order fill the step; some rows come twice.
    """

    rows: int
    batch_size: int
    world_size: int
    tail: Tail

    def count(self, rank: int) -> int:
        """The number of batches of one rank."""
        full, rest = divmod(self.rows, self.batch_size * self.world_size)
        if self.tail == "drop" or rest == 0:
            return full
        return full + (self.tail == "pad" or rest > rank)

    def places(self, step: int, rank: int) -> np.ndarray:
        """The places of one rank's batch: int64[n], n <= batch_size."""
        whole = self.batch_size * self.world_size
        first = step * whole
        if first + whole <= self.rows or self.tail == "pad":
            start = first + rank * self.batch_size
            return np.arange(start, start + self.batch_size) % self.rows
        share, more = divmod(self.rows - first, self.world_size)
        start = first + rank * share + min(rank, more)
        return np.arange(start, start + share + (rank < more))


class _Rows:
    """The chosen rows of one version, numbered from 0 in scan order, opened once in every process."""

    def __init__(
        self, source: Any, *, columns: Sequence[str] | None, filter: str | None, version: int | str | None
    ) -> None:
        handle = open_dataset(source) if isinstance(source, (str, os.PathLike)) else source
        # A handle of its own: a later commit through the caller's must not move it.
        handle = handle.checkout_version(handle.version if version is None else version)
        self._pickled = pickle.dumps(handle)
        self._columns = None if columns is None else list(columns)
        if self._columns == []:
            raise InvalidInput("columns=[]: expected at least one column, or None for all")
        handle.scanner(self._columns)  # an unknown column is an error here, not first in a worker
        self._filter = filter
        self._handle = handle
        self._pid: int | None = os.getpid()
        self._ids = self._find_ids()

    def _find_ids(self) -> np.ndarray | None:
        """The row ids that pass the filter; None stands for all rows."""
        if self._filter is None:
            return None
        found = self._open().to_table(columns=[], filter=self._filter, with_row_id=True)
        return found["_rowid"].to_numpy()

    def _open(self) -> Any:
        """The handle of this process; one that came through fork is not used."""
        if self._pid != os.getpid():
            self._handle = pickle.loads(self._pickled)
            self._pid = os.getpid()
        return self._handle

    @property
    def version(self) -> int:
        return self._open().version

    def count(self) -> int:
        return self._open().count_rows() if self._ids is None else len(self._ids)

    def take(self, positions: np.ndarray) -> pa.RecordBatch:
        """Some rows, in the order asked. positions: int64[n]."""
        if self._ids is None:
            table = self._open().take(positions, columns=self._columns)
        else:
            table = self._open()._take_rows(self._ids[positions], columns=self._columns)
        columns = [column.combine_chunks() for column in table.columns]
        return pa.RecordBatch.from_arrays(columns, schema=table.schema)

    def __getstate__(self) -> tuple[bytes, list[str] | None, str | None]:
        return self._pickled, self._columns, self._filter

    def __setstate__(self, state: tuple[bytes, list[str] | None, str | None]) -> None:
        self._pickled, self._columns, self._filter = state
        self._handle = self._pid = None
        self._ids = self._find_ids()


class LanceDataset(torch.utils.data.IterableDataset):
    """Batches of rows in a given order, each row in one batch of one worker of one rank.

    Use as `DataLoader(ds, batch_size=None, num_workers=n)`: the batches are made here. The order of batches
    does not depend on the number of workers.

    source: a dataset, or its URI.
    version: a version or tag; the source's own when None. Later commits are not seen.
    columns, filter: as in `to_table`. With a filter, each process that was spawned evaluates it once more.
    shuffle: "global" (any row may come anywhere; see `Permutation`) or False (scan order).
    rank, world_size: from torch.distributed where it is initialised, else 0 and 1.
    tail: rows that do not fill a batch on all ranks are shared ("short"), left out ("drop") or filled up with
        repeated rows ("pad"); see `Steps`.
    to_tensor_fn: what to make of a `pa.RecordBatch`; `to_tensors` when None. Must pickle to reach a spawned
        worker.
    """

    def __init__(
        self,
        source: Any,
        *,
        batch_size: int,
        columns: Sequence[str] | None = None,
        filter: str | None = None,
        version: int | str | None = None,
        shuffle: Literal["global", False] = False,
        seed: int = 0,
        epoch: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        tail: Tail = "short",
        to_tensor_fn: Convert | None = None,
    ) -> None:
        super().__init__()
        place, places = _this_rank()
        self._rank = place if rank is None else rank
        world_size = places if world_size is None else world_size
        if batch_size < 1 or not 0 <= self._rank < world_size or seed < 0:
            raise InvalidInput(
                f"batch_size={batch_size}, rank={self._rank}, world_size={world_size}, seed={seed}: expected "
                "batch_size >= 1, 0 <= rank < world_size and seed >= 0"
            )
        if shuffle not in ("global", False):
            raise InvalidInput(f'shuffle={shuffle!r}: expected "global" or False')
        if tail not in ("short", "drop", "pad"):
            raise InvalidInput(f'tail={tail!r}: expected "short", "drop" or "pad"')
        self._rows = _Rows(source, columns=columns, filter=filter, version=version)
        self._steps = Steps(self._rows.count(), batch_size, world_size, tail)
        self._shuffle = shuffle == "global"
        self._seed = seed
        self._convert = to_tensors if to_tensor_fn is None else to_tensor_fn
        # In shared memory, so that persistent workers see `set_epoch` too.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self.set_epoch(epoch)

    @property
    def version(self) -> int:
        """The version that is read."""
        return self._rows.version

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next iteration; call before `iter(loader)`."""
        if epoch < 0:
            raise InvalidInput(f"epoch={epoch}: expected epoch >= 0")
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        """The number of batches of this rank."""
        return self._steps.count(self._rank)

    def __iter__(self) -> Iterator[Any]:
        worker = torch.utils.data.get_worker_info()
        first, stride = (0, 1) if worker is None else (worker.id, worker.num_workers)
        order = Permutation(self._steps.rows, self._seed, int(self._epoch))
        # Worker w makes the batches w, w + workers, ...: the loader hands them out in turn, that is in order.
        for step in range(first, len(self), stride):
            places = self._steps.places(step, self._rank)
            yield self._convert(self._rows.take(order.at(places) if self._shuffle else places))


class SafeLanceDataset(torch.utils.data.Dataset):
    """Rows by position, for loaders that bring their own sampler; as safe under fork as under spawn.

    Use as `DataLoader(ds, batch_size=64, shuffle=True, num_workers=n)`: each batch is one take. Faster, since
    no sample is cut out and stacked again: `DataLoader(ds, batch_size=None, sampler=BatchSampler(...))`.

    source, version, columns, filter: as in `LanceDataset`.
    to_tensor_fn: what to make of a `pa.RecordBatch`: a dict of columns or a sequence with one item per row;
        `to_tensors` when None.
    """

    def __init__(
        self,
        source: Any,
        *,
        columns: Sequence[str] | None = None,
        filter: str | None = None,
        version: int | str | None = None,
        to_tensor_fn: Convert | None = None,
    ) -> None:
        super().__init__()
        self._rows = _Rows(source, columns=columns, filter=filter, version=version)
        self._convert = to_tensors if to_tensor_fn is None else to_tensor_fn

    @property
    def version(self) -> int:
        """The version that is read."""
        return self._rows.version

    def __len__(self) -> int:
        """The number of rows."""
        return self._rows.count()

    def __getitem__(self, index: int | Sequence[int]) -> Any:
        """One row as a sample, or a list of rows as one batch; negative positions count from the end.

        Raises OutOfRange (an IndexError).
        """
        if isinstance(index, (int, np.integer)):
            return self.__getitems__([int(index)])[0]
        return self._convert(self._rows.take(self._positions(index)))

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """The samples of some rows, by one take."""
        if len(indices) == 0:
            return []
        return _samples(self._convert(self._rows.take(self._positions(indices))))

    def _positions(self, indices: Sequence[int]) -> np.ndarray:
        positions = np.asarray(indices, np.int64)
        count = len(self)
        outside = (positions < -count) | (positions >= count)
        if outside.any():
            raise OutOfRange(f"row {positions[outside][0]} of a dataset of {count} rows")
        return np.where(positions < 0, positions + count, positions)


def to_tensors(batch: pa.RecordBatch) -> Batch:
    """Turn each column into what PyTorch can use; the tensors own their memory.

    | column | becomes |
    |---|---|
    | integer, float, bool | tensor [rows] |
    | fixed-size list of these | tensor [rows, size], one more dimension per level |
    | fixed-shape tensor of these | tensor [rows, *shape] |
    | bfloat16 | bfloat16 tensor [rows] |
    | timestamp, date, time, duration | int64 tensor [rows], in the unit of the type since its zero |
    | struct | dict of its children |
    | dictionary | as its values |
    | string, binary, decimal, list, anything else | Python list, None for null |

    Raises InvalidInput for a null that would have to go into a tensor.
    """
    return {name: _to_torch(name, column) for name, column in zip(batch.schema.names, batch.columns, strict=True)}


def _to_torch(name: str, array: pa.Array) -> Any:
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _to_torch(name, array.dictionary_decode())
    if pa.types.is_struct(kind):
        _refuse_nulls(name, array)
        children = zip(kind, array.flatten(), strict=True)
        return {field.name: _to_torch(f"{name}.{field.name}", child) for field, child in children}
    if isinstance(kind, pa.FixedShapeTensorType):
        _refuse_nulls(name, array)
        return torch.from_numpy(np.array(array.to_numpy_ndarray()))
    if isinstance(kind, pa.BaseExtensionType) and kind.extension_name == _BFLOAT16:
        _refuse_nulls(name, array)
        return torch.from_numpy(_bits_of(array.storage)).view(torch.bfloat16)
    if pa.types.is_fixed_size_list(kind):
        _refuse_nulls(name, array)
        values = _to_torch(name, array.flatten())
        if isinstance(values, torch.Tensor):
            return values.reshape(len(array), kind.list_size, *values.shape[1:])
        return array.to_pylist()
    if pa.types.is_temporal(kind) and not pa.types.is_interval(kind):
        array = array.cast(pa.int32() if kind.bit_width == 32 else pa.int64()).cast(pa.int64())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        return array.to_pylist()
    _refuse_nulls(name, array)
    # A copy, since Arrow's memory may be a read-only map of a file, which a write through a tensor would hit.
    return torch.from_numpy(np.array(array.to_numpy(zero_copy_only=False)))


def _bits_of(numbers: pa.FixedSizeBinaryArray) -> np.ndarray:
    """A copy of numbers of two bytes: int16[n]."""
    data = numbers.buffers()[1]
    if data is None or not len(numbers):
        return np.empty(0, np.int16)
    return np.frombuffer(data, np.int16, len(numbers), 2 * numbers.offset).copy()


def _refuse_nulls(name: str, array: pa.Array) -> None:
    if array.null_count:
        raise InvalidInput(
            f'column "{name}": {array.null_count} nulls in a batch of {len(array)} rows, a tensor holds none',
            hint=f'read with filter="{name} IS NOT NULL", or fill them in a to_tensor_fn',
        )


def _samples(batch: Any) -> list[Any]:
    """Cut a converted batch into one sample per row, as the map-style protocol wants them."""
    if isinstance(batch, dict):
        columns = [_samples(value) for value in batch.values()]
        return [dict(zip(batch, row, strict=True)) for row in zip(*columns, strict=True)]
    return list(batch)


def _this_rank() -> tuple[int, int]:
    """(rank, world size) of this process."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


__all__ = ["LanceDataset", "Permutation", "SafeLanceDataset", "Steps", "to_tensors"]
