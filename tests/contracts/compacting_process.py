"""Compact a table of large cells in a process of its own, and print how much its memory grew (Linux).

Arguments: folder, cells, bytes of a cell, cells of a fragment. Prints JSON: bytes of anonymous memory, "compact".
"""

from __future__ import annotations

import json
import sys

import pyarrow as pa
from streaming_process import SCHEMA, Watch, batches

import lance_like


def main(folder: str, cells: int, nbytes: int, rows: int) -> None:
    stream = pa.RecordBatchReader.from_batches(SCHEMA, batches(cells, nbytes, rows))
    ds = lance_like.write_dataset(stream, folder, max_rows_per_file=rows)
    # Half of the fragments move page by page, the others are read and encoded anew.
    ds.delete(f"id % 10 = 3 and id < {cells // 2}")
    left = ds.count_rows()
    with Watch() as watch:
        metrics = ds.optimize.compact_files()
    assert metrics.fragments_added < metrics.fragments_removed
    assert ds.optimize.compact_files().fragments_added == 0
    assert ds.count_rows() == left
    assert ds.count_rows(f"id % 10 = 3 and id < {cells // 2}") == 0
    print(json.dumps({"compact": watch.grown}))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
