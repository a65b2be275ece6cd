"""Parquet files, through pyarrow: one, or all below a folder, with the columns of hive partitions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import pyarrow as pa

from lance_like._lazy import need
from lance_like.dataset.inputs import as_stream
from lance_like.errors import InvalidInput
from lance_like.integrations.convert.version import (
    BATCH_NBYTES,
    BATCH_ROWS,
    ForeignVersion,
    Options,
    Wanted,
    each,
    reading,
)
from lance_like.io.options import as_fsspec
from lance_like.io.remote import filesystem_of

_WHAT = "Parquet table"
_MAGIC = b"PAR1"
_BUFFER_NBYTES = 1 << 20


def is_parquet_file(path: str) -> bool:
    """Does a local file begin as a Parquet file?"""
    with open(path, "rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


def read_parquet(place: str, wanted: Wanted) -> list[ForeignVersion]:
    """The rows of all files, in the order of their paths; it has no versions.

    The schema is that of all files together: numbers are widened, columns that a file lacks are null there.
    Raises InvalidInput: no files, or columns whose types do not fit together.
    """
    dataset, fs = need("pyarrow.dataset"), need("pyarrow.fs")
    with reading(_WHAT, place):
        system, path = _filesystem(place, wanted.options)
        single = system.get_file_info(path).type == fs.FileType.File
        factory = dataset.FileSystemDatasetFactory(
            system,
            [path] if single else fs.FileSelector(path, recursive=True),
            dataset.ParquetFileFormat(),
            dataset.FileSystemFactoryOptions(
                partition_base_dir=path, partitioning=dataset.HivePartitioning.discover(), exclude_invalid_files=False
            ),
        )
        schema = factory.inspect(promote_options="permissive")
        fragments = sorted(factory.finish(schema).get_fragments(), key=lambda fragment: fragment.path)
    if not fragments:
        raise InvalidInput("there are no Parquet files", kind="source", where=place)

    partitions = {name: None for fragment in fragments for name in _keys(fragment)}
    return [ForeignVersion(schema, lambda: read_fragments(fragments, list(partitions), schema))]


def _filesystem(place: str, options: Options) -> tuple[Any, str]:
    """The filesystem of pyarrow for a place, and the path there."""
    fs = need("pyarrow.fs")
    if "://" not in place:
        return fs.LocalFileSystem(), place
    if options is None:
        return fs.FileSystem.from_uri(place)
    system, path = filesystem_of(place, as_fsspec(place.partition("://")[0].lower(), options))
    return fs.PyFileSystem(fs.FSSpecHandler(system)), path


def read_fragments(fragments: Sequence[Any], partitions: Sequence[str], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows of fragments of a pyarrow dataset, as a schema has them. partitions: columns that files do not hold."""
    for fragment in fragments:
        keys = _keys(fragment)
        values = {name: keys.get(name) for name in partitions}
        rows = each(_file_batches(fragment, values, schema), _WHAT, fragment.path)
        if (first := next(rows, None)) is not None:
            reader = pa.RecordBatchReader.from_batches(first.schema, chain([first], rows))
            yield from as_stream(reader, schema).batches


def _keys(fragment: Any) -> dict[str, Any]:
    return need("pyarrow.dataset").get_partition_keys(fragment.partition_expression)


def _file_batches(fragment: Any, values: dict[str, Any], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The batches of one file, with the values of its partition.

    Not a scan of the dataset: that holds row groups whole, and several of them (0.6 GB where this took 0.35).
    """
    parquet = need("pyarrow.parquet")
    with parquet.ParquetFile(fragment.open(), pre_buffer=False, buffer_size=_BUFFER_NBYTES) as file:
        groups = [file.metadata.row_group(index) for index in range(file.metadata.num_row_groups)]
        row_nbytes = max((group.total_byte_size // max(1, group.num_rows) for group in groups), default=0)
        rows = max(1, min(BATCH_ROWS, BATCH_NBYTES // max(1, row_nbytes)))
        lacking = {name: value for name, value in values.items() if name not in file.schema_arrow.names}
        for batch in file.iter_batches(batch_size=rows):
            for name, value in lacking.items():
                column = pa.repeat(pa.scalar(value, schema.field(name).type), len(batch))
                batch = batch.append_column(schema.field(name), column)
            yield batch


__all__ = ["is_parquet_file", "read_fragments", "read_parquet"]
