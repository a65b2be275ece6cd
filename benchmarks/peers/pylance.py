"""Lance through `pylance`."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import lance
import numpy as np
import pyarrow as pa

from benchmarks.peers import Peer


class Pylance(Peer):
    name = "pylance"
    stored_as = "pylance"
    settings: tuple[str, ...] = (
        "write: default storage version; one data file, so that a take opens one reader",
        "take: dataset.take with a list of ints: a third faster than a numpy array at k=100",
        "scan: to_batches with batches of up to 65,536 rows: twice as fast as the default 8,192 on int64",
    )

    def identity(self) -> str:
        return lance.__version__

    def write(self, path: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> None:
        self.write_files(path, batches, schema, 1 << 30)

    def write_files(self, path: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema, rows_per_file: int) -> None:
        reader = pa.RecordBatchReader.from_batches(schema, batches)
        lance.write_dataset(reader, str(path), max_rows_per_file=rows_per_file)

    def open(self, path: Path) -> Any:
        return lance.dataset(str(path))

    def take(self, handle: Any, indices: np.ndarray, columns: list[str]) -> pa.Table:
        return handle.take(indices.tolist(), columns=columns)

    def scan(self, handle: Any, columns: list[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
        return handle.to_batches(columns=columns, batch_size=batch_rows)


class PylanceFifty(Pylance):
    name = "pylance_50"
    stored_as = "pylance_50"
    settings = ("as pylance, the rows in 50 files",)

    def write(self, path: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> None:
        held = list(batches)
        self.write_files(path, held, schema, -(-sum(map(len, held)) // 50))
