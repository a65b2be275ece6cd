"""An uncompressed Arrow IPC file, mapped into memory: the floor for a take, not a rival.

One record batch, because `take` over many chunks is 20 times slower in pyarrow (k=1000: 2.6 ms against 0.13).
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.peers import Peer


class Ipc(Peer):
    name = "ipc"
    stored_as = "ipc"
    settings = ("write: no compression, one record batch", "read: memory map; Table.take")

    def identity(self) -> str:
        return pa.__version__

    def write(self, path: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> None:
        table = pa.Table.from_batches(batches, schema).combine_chunks()
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            writer.write_table(table)

    def open(self, path: Path) -> Any:
        return pa.ipc.open_file(pa.memory_map(str(path))).read_all()

    def take(self, handle: Any, indices: np.ndarray, columns: list[str]) -> pa.Table:
        return handle.select(columns).take(pa.array(indices))

    def scan(self, handle: Any, columns: list[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
        return iter(handle.select(columns).to_batches(max_chunksize=batch_rows))
