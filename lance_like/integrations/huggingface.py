"""Hugging Face datasets from a table, in memory or as a stream; `write_dataset` takes theirs.

The features of a Hugging Face dataset travel as metadata of the schema, as the library itself keeps them in Arrow and
Parquet files: images and class labels come back as what they were.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lance_like._lazy import need
from lance_like.dataset import LanceDataset

if TYPE_CHECKING:
    import datasets

# The library turns each row of a batch into Python objects.
_BATCH_ROWS = 1000
_NO_FRAGMENT = -1


def to_dataset(source: LanceDataset, columns: Sequence[str] | None = None, filter: Any = None) -> datasets.Dataset:
    """Read rows into a `datasets.Dataset` in memory; blobs as bytes.

    columns, filter: as in `LanceDataset.scanner`. Raises MissingDependency.
    """
    hf = need("datasets")
    table = source.to_table(columns, filter, blob_handling="all_binary")
    return hf.Dataset(hf.table.InMemoryTable(table), info=hf.DatasetInfo(features=_features(table.schema)))


def to_iterable_dataset(
    source: LanceDataset, columns: Sequence[str] | None = None, filter: Any = None
) -> datasets.IterableDataset:
    """Stream rows as a `datasets.IterableDataset`: bounded memory, and one shard a fragment for workers and nodes.

    columns, filter: as in `LanceDataset.scanner`. A filter is SQL text or anything that pickles. The stream stays with
    the version that the dataset has now. Raises MissingDependency.
    """
    hf = need("datasets")
    schema = source.scanner(columns, filter, blob_handling="all_binary").projected_schema
    # The one list among the arguments is what the library deals out to workers; it must not be empty.
    shards = source.fragment_ids() or [_NO_FRAGMENT]
    chosen = tuple(columns) if isinstance(columns, list) else columns
    return hf.IterableDataset.from_generator(
        _rows,
        features=_features(schema),
        gen_kwargs={"source": source, "columns": chosen, "filter": filter, "shards": shards},
    )


def _rows(
    source: LanceDataset, columns: Sequence[str] | None, filter: Any, shards: Sequence[int]
) -> Iterator[dict[str, Any]]:
    for number in shards:
        fragment = None if number == _NO_FRAGMENT else source.get_fragment(number)
        if fragment is not None:
            options = {"blob_handling": "all_binary", "batch_size": _BATCH_ROWS}
            for batch in fragment.to_batches(columns, filter, **options):
                yield from batch.to_pylist()


def _features(schema: pa.Schema) -> datasets.Features:
    """The features that the metadata of a schema names, and those of the types of other columns."""
    features = need("datasets").Features
    plain = features.from_arrow_schema(schema.remove_metadata())
    if b"huggingface" not in (schema.metadata or {}):
        return plain
    named = features.from_arrow_schema(schema)
    return features({name: named.get(name, kind) for name, kind in plain.items()})


__all__ = ["to_dataset", "to_iterable_dataset"]
