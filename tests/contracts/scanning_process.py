"""Scan a table of large cells in one of several ways in a process of its own, and print how its memory grew (Linux).

Arguments: folder, cells, way ("write", "all", "half", "first", "ordered"). Prints JSON: the bytes of anonymous memory
that it took beyond what the process had.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from streaming_process import SCHEMA, Watch, batch

import lance_like
from lance_like.dataset import ColumnOrdering

CELL_NBYTES = 100_000
BATCH_ROWS = 100


def batches(cells: int) -> Iterator[pa.RecordBatch]:
    """Batches of cells, every other of which does not compress: some pages are decoded, some only mapped."""
    random = np.random.default_rng(0)
    noise = random.bytes(2 * BATCH_ROWS * CELL_NBYTES)
    for start in range(0, cells, BATCH_ROWS):
        ids = np.arange(start, min(start + BATCH_ROWS, cells))
        made = batch(ids, CELL_NBYTES, random)
        if start // BATCH_ROWS % 2:
            at = int(random.integers(0, BATCH_ROWS * CELL_NBYTES))
            offsets = made.column("cell").buffers()[1]
            values = pa.py_buffer(noise[at : at + len(ids) * CELL_NBYTES])
            cell = pa.Array.from_buffers(pa.binary(), len(ids), [None, offsets, values])
            made = made.set_column(0, SCHEMA.field("cell"), cell)
        yield made


def ways(cells: int) -> dict[str, tuple[dict[str, Any], int]]:
    """How to scan: options, and how many rows they give."""
    return {
        "all": ({}, cells),
        "half": ({"filter": "id % 2 = 1"}, cells // 2),
        "first": ({"order_by": [ColumnOrdering("id", ascending=False)], "limit": cells // 100}, cells // 100),
        "ordered": ({"order_by": ["flag"], "filter": f"id >= {cells - cells // 20}"}, cells // 20),
    }


def main(folder: str, cells: int, way: str) -> None:
    if way == "write":
        stream = pa.RecordBatchReader.from_batches(SCHEMA, batches(cells))
        lance_like.write_dataset(stream, folder)
        return
    options, expected = ways(cells)[way]
    with Watch() as watch:
        seen = sum(len(found) for found in lance_like.dataset(folder).to_batches(**options))
    assert seen == expected, seen
    print(json.dumps({way: watch.grown}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
