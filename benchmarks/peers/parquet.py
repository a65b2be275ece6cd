"""Parquet through pyarrow, written for random access.

pyarrow has no read by row number: a take reads the row groups that hold the rows, then picks. Small row
groups are therefore what helps most; the page index and 64 KiB pages are for readers that can use them.
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.peers import Peer

# measured on 2 million int64, take of 1/100/1000 rows in ms: 1,024 rows a group 0.8/3.6/15; 4,096 0.7/4.1/11;
# 16,384 0.8/6.6/7.1; 65,536 1.0/6.8/6.8
ROW_GROUP_ROWS = 4_096
# measured on 24,366 texts of 2 KB, take of 1/10/100 rows in ms: 1 MiB a group 0.7/6.5/30; 256 KiB 0.3/1.9/14
ROW_GROUP_NBYTES = 256 << 10
# share of distinct strings below which a dictionary earns its place
FEW_DISTINCT = 0.05


class Parquet(Peer):
    name = "parquet"
    stored_as = "parquet"
    settings = (
        "layout: row groups of up to 4,096 rows and about 256 KiB, 64 KiB pages, page index",
        "encoding: lz4 for strings and lists (snappy: twice the time), dictionary for few distinct strings",
        "read: memory map, hit row groups read in one call, then Table.take; no page checksums",
    )

    def identity(self) -> str:
        return f"{pa.__version__}-{ROW_GROUP_ROWS}-{ROW_GROUP_NBYTES}-lz4"

    def write(self, path: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> None:
        stream = iter(batches)
        first = next(stream)
        options: dict[str, Any] = {
            "data_page_size": 64 << 10,
            "write_page_index": True,
            "use_dictionary": [field.name for field in schema if _has_few_distinct(first[field.name])],
            "compression": {path: _codec(path, type) for path, type in _leaves(schema).items()},
        }
        with pq.ParquetWriter(path, schema, **options) as writer:
            for batch in chain([first], stream):
                row_nbytes = max(1, batch.nbytes // max(1, len(batch)))
                rows = max(1, min(ROW_GROUP_ROWS, ROW_GROUP_NBYTES // row_nbytes))
                writer.write_table(pa.Table.from_batches([batch]), row_group_size=rows)

    def open(self, path: Path) -> Any:
        file = pq.ParquetFile(path, memory_map=True)
        meta = file.metadata
        rows = [meta.row_group(group).num_rows for group in range(meta.num_row_groups)]
        return file, np.concatenate(([0], np.cumsum(rows)))

    def take(self, handle: Any, indices: np.ndarray, columns: list[str]) -> pa.Table:
        file, starts = handle
        groups = np.searchsorted(starts, indices, "right") - 1
        hit, slot = np.unique(groups, return_inverse=True)
        found = file.read_row_groups(hit.tolist(), columns=columns)
        before = np.concatenate(([0], np.cumsum(starts[hit + 1] - starts[hit])))
        return found.combine_chunks().take(pa.array(before[slot] + indices - starts[groups]))

    def scan(self, handle: Any, columns: list[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
        return handle[0].iter_batches(columns=columns, batch_size=batch_rows)


def _leaves(schema: pa.Schema) -> dict[str, pa.DataType]:
    """Name the leaf columns as Parquet does: "place.city", "tokens.list.element"."""
    found: dict[str, pa.DataType] = {}

    def visit(path: str, type: pa.DataType) -> None:
        if pa.types.is_struct(type):
            for field in type:
                visit(f"{path}.{field.name}", field.type)
        elif pa.types.is_list(type) or pa.types.is_fixed_size_list(type):
            visit(f"{path}.list.element", type.value_type)
        else:
            found[path] = type

    for field in schema:
        visit(field.name, field.type)
    return found


def _codec(path: str, type: pa.DataType) -> str:
    compressible = pa.types.is_string(type) or (path.endswith(".element") and pa.types.is_integer(type))
    return "LZ4" if compressible else "NONE"


def _has_few_distinct(column: pa.Array) -> bool:
    return pa.types.is_string(column.type) and len(column.unique()) < FEW_DISTINCT * len(column)
