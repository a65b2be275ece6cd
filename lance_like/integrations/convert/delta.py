"""Delta tables, through `deltalake`: the newest version."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from lance_like._lazy import need
from lance_like.integrations.convert.parquet import read_fragments
from lance_like.integrations.convert.version import ForeignVersion, Wanted, each, reading

_WHAT = "Delta table"


def read_delta(place: str, wanted: Wanted) -> list[ForeignVersion]:
    """The newest version of a Delta table; it has no tags.

    Raises InvalidInput, MissingDependency. Memory: as for Parquet; batches of 8,192 rows of a table with features
    of readers, such as deletion vectors or mapped columns.
    """
    library, options = need("deltalake"), wanted.options
    with reading(_WHAT, place):
        table = library.DeltaTable(place, storage_options=None if options is None else dict(options))
        schema = pa.schema(table.schema().to_arrow())
        partitions = table.metadata().partition_columns
        plain = table.protocol().min_reader_version == 1

    def batches() -> Iterator[pa.RecordBatch]:
        with reading(_WHAT, place):
            if plain:
                return read_fragments(list(table.to_pyarrow_dataset().get_fragments()), partitions, schema)
            return each(pa.RecordBatchReader.from_stream(table.scan()), _WHAT, place)

    return [ForeignVersion(schema, batches, number=table.version())]


__all__ = ["read_delta"]
