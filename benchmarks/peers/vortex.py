"""Vortex through `vortex-data`, opened in its two ways: mapped into memory, or with its own segment cache.

Its scan by row numbers wants them sorted without repeats, so the adapter sorts, reads, and puts the rows back
into the asked order; the row numbers of the tasks hold no repeats, which spares the slower path.
"""

import importlib.metadata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import vortex as vx

from benchmarks.peers import Peer


class Vortex(Peer):
    name = "vortex"
    stored_as = "vortex"
    settings = (
        "read: open(memory_map=True)",
        "write: default options (balanced)",
        "take: scan(indices=sorted) and one conversion to Arrow; no worker thread: 10 to 40 % faster here",
        "scan: to_arrow with the default worker threads; strings stay views",
    )

    def identity(self) -> str:
        return importlib.metadata.version("vortex-data")

    def write(self, path: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> None:
        vx.io.write(pa.RecordBatchReader.from_batches(schema, batches), str(path))

    def open(self, path: Path) -> Any:
        return _opened(vx.open(str(path), memory_map=True))

    def take(self, handle: Any, indices: np.ndarray, columns: list[str]) -> pa.Table:
        file, schema = handle
        vx.set_worker_threads(0)  # below 1 us where it is 0 already
        if len(indices) == 1:
            return file.scan(columns, indices=vx.array(pa.array(indices))).read_all().to_arrow_table()
        # 1. ascending rows without repeats, and where each asked row is among them
        order = np.argsort(indices)
        rows = indices[order]
        slots = np.empty(len(indices), np.int64)
        slots[order] = np.arange(len(indices))
        if (rows[1:] == rows[:-1]).any():
            rows, slots = np.unique(indices, return_inverse=True)
        # 2. read them; pyarrow cannot take from string views, so ask for strings
        found = file.scan(columns, indices=vx.array(pa.array(rows))).read_all()
        wanted = pa.struct([schema.field(name) for name in columns])
        table = pa.Table.from_struct_array(found.to_arrow_array(arrow_type=wanted, combine_chunks=True))
        # 3. back into the asked order: pyarrow's take is up to 4 times faster than a vortex array's
        return table.take(pa.array(slots))

    def scan(self, handle: Any, columns: list[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
        vx.set_worker_threads(None)
        return iter(handle[0].to_arrow(columns))


class VortexCache(Vortex):
    name = "vortex_cache"
    settings = ("read: open() with its segment cache, the default", *Vortex.settings[1:])

    def open(self, path: Path) -> Any:
        return _opened(vx.open(str(path)))


def _opened(file: vx.VortexFile) -> tuple[vx.VortexFile, pa.Schema]:
    schema = file.dtype.to_arrow_schema()
    return file, pa.schema([field.with_type(_without_views(field.type)) for field in schema])


def _without_views(type: pa.DataType) -> pa.DataType:
    if pa.types.is_string_view(type):
        return pa.string()
    if pa.types.is_binary_view(type):
        return pa.binary()
    if pa.types.is_struct(type):
        return pa.struct([field.with_type(_without_views(field.type)) for field in type])
    return type
