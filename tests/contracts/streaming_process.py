"""Write and scan a stream of large cells in a process of its own, and print how much its memory grew (Linux).

Arguments: folder, cells, bytes of a cell, rows of a batch. Prints JSON: bytes of anonymous memory, "write" and "scan",
and of file pages that the scan had in the process at a time, "mapped".
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pyarrow as pa

import lance_like

SCHEMA = pa.schema({"cell": pa.binary(), "id": pa.int64(), "flag": pa.bool_()})


class Watch:
    """The growth of the memory of the process, anonymous and of files, while a block runs."""

    def __enter__(self) -> Watch:
        self._start = self._peak = _resident_nbytes()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self.grown, self.mapped = (peak - start for peak, start in zip(self._peak, self._start, strict=True))

    def _run(self) -> None:
        while not self._ended.wait(0.002):
            anonymous, mapped = _resident_nbytes()
            self._peak = max(self._peak[0], anonymous), max(self._peak[1], mapped)


def _resident_nbytes() -> tuple[int, int]:
    with open("/proc/self/status", encoding="ascii") as status:
        found = {line.split(":")[0]: line.split()[1] for line in status if line.startswith("Rss")}
    return int(found["RssAnon"]) << 10, int(found["RssFile"]) << 10


def batches(cells: int, nbytes: int, rows: int) -> Iterator[pa.RecordBatch]:
    """Batches that nobody else keeps, each in one piece of memory that all of its columns hold on to."""
    random = np.random.default_rng(0)
    for start in range(0, cells, rows):
        yield batch(np.arange(start, min(start + rows, cells)), nbytes, random)


def batch(ids: np.ndarray, nbytes: int, random: np.random.Generator) -> pa.RecordBatch:
    offsets = (np.arange(len(ids) + 1, dtype=np.int32) * nbytes).view(np.uint8)
    places = np.cumsum([0, len(offsets) + -len(offsets) % 8, 8 * len(ids), nbytes * len(ids)])
    whole = np.empty(places[-1], np.uint8)
    whole[: len(offsets)] = offsets
    whole[places[1] : places[2]] = ids.view(np.uint8)
    whole[places[2] :] = random.integers(0, 256, dtype=np.uint8)
    parts = [pa.py_buffer(whole).slice(start, end - start) for start, end in pairwise(places)]
    columns = [[None, parts[0], parts[2]], [None, parts[1]], [None, parts[1]]]
    arrays = [pa.Array.from_buffers(kind, len(ids), own) for kind, own in zip(SCHEMA.types, columns, strict=True)]
    return pa.record_batch(arrays, schema=SCHEMA)


def main(folder: str, cells: int, nbytes: int, rows: int) -> None:
    lance_like.write_dataset(SCHEMA.empty_table(), folder)
    stream = pa.RecordBatchReader.from_batches(SCHEMA, batches(cells, nbytes, rows))
    with Watch() as writing:
        lance_like.write_dataset(stream, folder, mode="append")
    with Watch() as scanning:
        seen = sum(len(found) for found in lance_like.dataset(folder).to_batches())
    assert seen == cells
    print(json.dumps({"write": writing.grown, "scan": scanning.grown, "mapped": scanning.mapped}))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
