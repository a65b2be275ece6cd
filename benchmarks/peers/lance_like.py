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
    settings: tuple[str, ...] = (
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
        self.write_files(path, batches, schema, 1 << 30)

    def write_files(self, path: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema, rows_per_file: int) -> None:
        reader = pa.RecordBatchReader.from_batches(schema, batches)
        lance_like.write_dataset(reader, str(path), max_rows_per_file=rows_per_file)

    def open(self, path: Path) -> Any:
        return lance_like.dataset(str(path))

    def take(self, handle: Any, indices: np.ndarray, columns: list[str]) -> pa.Table:
        return handle.take(indices, columns=columns)

    def scan(self, handle: Any, columns: list[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
        return handle.to_batches(columns=columns, batch_size=batch_rows)


class LanceLikeUnchecked(LanceLike):
    name = "lance_like_unchecked"
    settings = ("the files of lance_like, read with verify='off': what checksums cost",)

    def open(self, path: Path) -> Any:
        return lance_like.dataset(str(path), verify="off")


class LanceLikeFifty(LanceLike):
    name = "lance_like_50"
    stored_as = "lance_like_50"
    settings = ("as lance_like, the rows in 50 files",)

    def write(self, path: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> None:
        held = list(batches)
        self.write_files(path, held, schema, -(-sum(map(len, held)) // 50))
