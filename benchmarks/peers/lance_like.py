"""This package through its public API; checksums are verified and commits are fsynced, as is the default."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import lance_like
from benchmarks.peers import Peer
from lance_like import __version__


class LanceLike(Peer):
    name = "lance_like"
    stored_as = "lance_like"
    settings = (
        "write: defaults (durability full); one data file, as for the peers",
        "read: defaults (verify full)",
    )

    def identity(self) -> str:
        """The digest of the sources: the bytes on disk may change while the version does not."""
        digest = hashlib.sha256()
        for file in sorted(Path(lance_like.__file__).parent.rglob("*.py")):
            digest.update(file.read_bytes())
        return f"{__version__}-{digest.hexdigest()[:12]}"

    def write(self, path: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> None:
        reader = pa.RecordBatchReader.from_batches(schema, batches)
        lance_like.write_dataset(reader, str(path), max_rows_per_file=1 << 30)

    def open(self, path: Path) -> Any:
        return lance_like.dataset(str(path))

    def take(self, handle: Any, indices: np.ndarray, columns: list[str]) -> pa.Table:
        return handle.take(indices, columns=columns)

    def scan(self, handle: Any, columns: list[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
        return handle.to_batches(columns=columns, batch_size=batch_rows)
