"""Which rows a process of a training run reads, with pylance's names: samplers give batches of a dataset.

`lance_like.torch.data.LanceDataset` takes them. Ranks agree without talking: all that they do follows from the version,
the seed and the epoch.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from lance_like._lazy import need
from lance_like.dataset import LanceDataset, LanceFragment
from lance_like.dataset import dataset as open_dataset
from lance_like.errors import InvalidInput
from lance_like.typing_ import Int64s

Columns = Sequence[str] | Mapping[str, str]
_Sharded = TypeVar("_Sharded", bound="_Shard")


class Sampler(ABC):
    """Gives batches of a dataset when it is called. A sampler of your own is a class with this method."""

    @abstractmethod
    def __call__(
        self,
        ds: LanceDataset,
        *args: Any,
        batch_size: int = 128,
        columns: Columns | None = None,
        filter: str | None = None,
        batch_readahead: int = 16,
        with_row_id: bool = False,
        **options: Any,
    ) -> Iterator[pa.RecordBatch]:
        """Give batches of up to batch_size rows. The other options: as in `LanceDataset.scanner`."""


class FragmentSampler(Sampler):
    """Scans fragments whole, in an order that subclasses choose."""

    def __call__(
        self,
        ds: LanceDataset,
        *args: Any,
        batch_size: int = 128,
        columns: Columns | None = None,
        filter: str | None = None,
        batch_readahead: int = 16,
        with_row_id: bool = False,
        **options: Any,
    ) -> Iterator[pa.RecordBatch]:
        """Give the rows of the fragments; all batches but the last have batch_size rows."""
        scanner = ds.scanner(
            columns,
            filter=filter,
            batch_size=batch_size,
            strict_batch_size=True,
            batch_readahead=batch_readahead,
            with_row_id=with_row_id,
            fragments=list(self.iter_fragments(ds, *args, **options)),
        )
        yield from scanner.to_batches()

    @abstractmethod
    def iter_fragments(self, ds: LanceDataset, *args: Any, **options: Any) -> Iterable[LanceFragment]:
        """The fragments to scan, in this order."""


class FullScanSampler(FragmentSampler):
    """All rows, in scan order."""

    def iter_fragments(self, ds: LanceDataset, *args: Any, **options: Any) -> list[LanceFragment]:
        """All of them."""
        return ds.get_fragments()


class _Shard:
    """A share of the rows: that of one rank of world_size. randomize: in an order by seed and epoch."""

    def __init__(self, rank: int, world_size: int, randomize: bool = False, seed: int = 0) -> None:
        if not 0 <= rank < world_size or seed < 0:
            raise InvalidInput(
                f"rank={rank}, world_size={world_size}, seed={seed}: expected 0 <= rank < world_size and seed >= 0"
            )
        self._rank, self._world_size, self._randomize, self._seed = int(rank), int(world_size), randomize, int(seed)
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of what is read next."""
        self._epoch = epoch

    @classmethod
    def from_torch(cls: type[_Sharded], randomize: bool = False, seed: int = 0) -> _Sharded:
        """The share of this process in the default group of torch.distributed."""
        return cls(*_place_in_group(), randomize=randomize, seed=seed)

    def _order(self, count: int) -> Int64s:
        """The order in which so many things are read: int64[count]."""
        if not self._randomize:
            return np.arange(count)
        return np.random.default_rng((self._seed, self._epoch)).permutation(count)


class ShardedFragmentSampler(_Shard, FragmentSampler):
    """Every world_size-th fragment: the cheapest to read, as even as fragments are."""

    def iter_fragments(self, ds: LanceDataset, *args: Any, **options: Any) -> list[LanceFragment]:
        """Those of this rank; randomize shuffles all before they are shared."""
        fragments = ds.get_fragments()
        return [fragments[i] for i in self._order(len(fragments))[self._rank :: self._world_size]]


class ShardedBatchSampler(_Shard, Sampler):
    """Every world_size-th batch of rows that follow each other; with a filter, every world_size-th row that passes.

    randomize shuffles the batches; with a filter the rows. Row ids are not given, with_row_id warns.
    """

    def __call__(
        self,
        ds: LanceDataset,
        *args: Any,
        batch_size: int = 128,
        columns: Columns | None = None,
        filter: str | None = None,
        batch_readahead: int = 16,
        with_row_id: bool = False,
        **options: Any,
    ) -> Iterator[pa.RecordBatch]:
        """Give the share of this rank. With a filter, the ids of all rows that pass are held: 8 bytes each."""
        if with_row_id:
            warnings.warn(f"with_row_id is not supported by {type(self).__name__}", stacklevel=2)
        if filter is not None:
            return self._passing(ds, batch_size, columns, filter)
        return self._ranges(ds, batch_size, columns)

    def _ranges(self, ds: LanceDataset, batch_size: int, columns: Columns | None) -> Iterator[pa.RecordBatch]:
        rows = ds.count_rows()
        starts = np.arange(self._rank * batch_size, rows, self._world_size * batch_size)
        for start in starts[self._order(len(starts))].tolist():
            yield _one_batch(ds.take(np.arange(start, min(start + batch_size, rows)), columns))

    def _passing(
        self, ds: LanceDataset, batch_size: int, columns: Columns | None, filter: str
    ) -> Iterator[pa.RecordBatch]:
        ids = _ids_of(ds, filter)[self._rank :: self._world_size]
        ids = ids[self._order(len(ids))]
        for start in range(0, len(ids), batch_size):
            yield _one_batch(ds._take_rows(ids[start : start + batch_size], columns))


class ShardedFixedBatchSampler(ShardedBatchSampler):
    """Lists of positions for `DataLoader(..., batch_sampler=)`: each rank has a range of the rows, cut into batches.

    randomize shuffles the batches of a rank. total_num_rows: of the table, which does not change meanwhile.
    """

    def __init__(
        self,
        rank: int,
        world_size: int,
        randomize: bool = False,
        seed: int = 0,
        batch_size: int = 0,
        total_num_rows: int = 0,
    ) -> None:
        super().__init__(rank, world_size, randomize, seed)
        if batch_size < 0 or total_num_rows < 0 or (total_num_rows and not batch_size):
            raise InvalidInput(
                f"batch_size={batch_size}, total_num_rows={total_num_rows}: expected a batch of 1 row at least"
            )
        self._batch_size = batch_size
        share = -(-total_num_rows // world_size)
        self._places = range(min(rank * share, total_num_rows), min((rank + 1) * share, total_num_rows))

    @classmethod
    def from_torch(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls, batch_size: int, total_num_rows: int, randomize: bool = False, seed: int = 0
    ) -> ShardedFixedBatchSampler:
        """The share of this process in the default group of torch.distributed."""
        return cls(*_place_in_group(), randomize, seed, batch_size, total_num_rows)

    def __len__(self) -> int:
        """The number of batches of this rank."""
        return -(-len(self._places) // self._batch_size) if self._places else 0

    def __iter__(self) -> Iterator[list[int]]:
        """The positions of each batch."""
        for number in self._order(len(self)).tolist():
            yield list(self._places[number * self._batch_size : (number + 1) * self._batch_size])


def maybe_sample(
    dataset: LanceDataset | str,
    n: int,
    columns: str | Columns | None = None,
    batch_size: int = 10240,
    max_takes: int = 2048,
    filt: str | None = None,
) -> Iterator[pa.RecordBatch]:
    """n rows by chance, or all where there are no more, in batches of up to batch_size rows, in scan order.

    max_takes: of more rows than these so many runs of rows are read, each anywhere. filt: of rows that pass.
    """
    ds = open_dataset(dataset) if isinstance(dataset, str) else dataset
    wanted = [columns] if isinstance(columns, str) else columns
    ids = None if filt is None else _ids_of(ds, filt)
    positions = _some(ds.count_rows() if ids is None else len(ids), n, max_takes)
    for start in range(0, len(positions), batch_size):
        part = positions[start : start + batch_size]
        yield _one_batch(ds.take(part, wanted) if ids is None else ds._take_rows(ids[part], wanted))


def _some(rows: int, wanted: int, most_runs: int) -> Int64s:
    """Different positions below `rows`, in order, in at most so many runs."""
    random = np.random.default_rng()
    if wanted >= rows:
        return np.arange(rows)
    if wanted <= most_runs:
        return np.sort(random.choice(rows, wanted, replace=False))
    runs = np.diff(np.linspace(0, wanted, most_runs + 1).astype(np.int64))
    # What is left out falls between the runs by chance.
    gaps = random.multinomial(rows - wanted, np.full(most_runs + 1, 1 / (most_runs + 1)))
    return np.arange(wanted) + np.repeat(np.cumsum(gaps[:-1]), runs)


def _ids_of(ds: LanceDataset, filter: str) -> np.ndarray:
    """The ids of rows that pass, in scan order."""
    return ds.to_table([], filter=filter, with_row_id=True)["_rowid"].to_numpy()


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([column.combine_chunks() for column in table.columns], schema=table.schema)


def _place_in_group() -> tuple[int, int]:
    """The rank of this process and the size of its group. Raises MissingDependency."""
    group = need("torch").distributed
    return group.get_rank(), group.get_world_size()


__all__ = [
    "FragmentSampler",
    "FullScanSampler",
    "Sampler",
    "ShardedBatchSampler",
    "ShardedFixedBatchSampler",
    "ShardedFragmentSampler",
    "maybe_sample",
]
