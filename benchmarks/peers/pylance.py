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
    settings = (
        "write: default storage version; one data file, so that a take opens one reader",
        "take: dataset.take with a list of ints: a third faster than a numpy array at k=100",
        "scan: to_batches with batches of up to 65,536 rows: twice as fast as the default 8,192 on int64",
    )

    def identity(self) -> str:
        return lance.__version__

    def write(self, path: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> None:
        reader = pa.RecordBatchReader.from_batches(schema, batches)
        lance.write_dataset(reader, str(path), max_rows_per_file=1 << 30)

    def open(self, path: Path) -> Any:
        return lance.dataset(str(path))

    def take(self, handle: Any, indices: np.ndarray, columns: list[str]) -> pa.Table:
        return handle.take(indices.tolist(), columns=columns)

    def scan(self, handle: Any, columns: list[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
        return handle.to_batches(columns=columns, batch_size=batch_rows)
