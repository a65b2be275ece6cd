"""Before anything is timed: every peer answers what was generated, in a scan and in a take."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from benchmarks.tasks import Case

__all__ = ["check_answers"]

TAKEN = 1_000
CHECK = 31


def check_answers(case: Case) -> None:
    """Compare each peer with the generator, in one pass over the data.

    The scan is compared whole; the take asks rows unsorted and with repeats.
    Raises AssertionError naming the peer and the first wrong rows.
    """
    data = case.data
    asked = case.rng(CHECK).integers(0, data.rows, min(TAKEN, max(2, 64_000_000 // _row_nbytes(case))))
    asked[-1] = asked[0]
    handles = {peer.name: peer.open(case.paths[peer.name]) for peer in case.peers}
    scans: dict[str, Iterator[pa.Table]] = {}
    for peer in case.peers:
        batches = peer.scan(handles[peer.name], data.columns, data.batch_rows)
        scans[peer.name] = _cut(batches, data.schema, data.batch_rows)
    wanted: list[pa.Table] = []
    for start, batch in enumerate(data.batches()):
        truth = pa.Table.from_batches([batch])
        first = start * data.batch_rows
        local = np.unique(asked[(asked >= first) & (asked < first + len(batch))]) - first
        wanted.append(truth.take(pa.array(local)))
        for name, scan in scans.items():
            if not truth.equals(next(scan, None)):
                raise AssertionError(f"{name}: scan of {data.kind}: rows from {first} on differ")
    for name, scan in scans.items():
        if next(scan, None) is not None:
            raise AssertionError(f"{name}: scan of {data.kind}: more rows than the {data.rows} written")
    truth = pa.concat_tables(wanted).combine_chunks().take(pa.array(np.unique(asked, return_inverse=True)[1]))
    for peer in case.peers:
        answer = peer.take(handles[peer.name], asked, data.columns)
        if not truth.equals(answer.cast(data.schema).combine_chunks()):
            raise AssertionError(f"{peer.name}: take of {data.kind}: not the rows that were asked")


def _row_nbytes(case: Case) -> int:
    return max(1, next(case.data.batches()).nbytes // case.data.batch_rows)


def _cut(batches: Iterator[pa.RecordBatch], schema: pa.Schema, rows: int) -> Iterator[pa.Table]:
    """Yield the same rows in tables of `rows` rows, the last may be shorter, in the types of `schema`."""
    held, count = [], 0
    for batch in batches:
        held.append(pa.Table.from_batches([batch]).cast(schema))
        count += len(batch)
        if count >= rows:
            table = pa.concat_tables(held)
            whole = count // rows * rows
            for start in range(0, whole, rows):
                yield table.slice(start, rows)
            held, count = [table.slice(whole)], count - whole
    if count:
        yield pa.concat_tables(held)
