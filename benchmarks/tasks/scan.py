"""How long it takes to read whole columns, every byte of every batch being summed.

Without the sum a mapped file would answer in no time, because nothing was read; `scan_unread` shows that
figure, which is the cost of planning and decoding alone and must never be quoted as a scan.
"""

import gc
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.peers import Peer
from benchmarks.tasks import Case, Clock, Row, interleaved, paused_gc
from benchmarks.tasks.pagecache import drop, read_fully

__all__ = ["Toucher", "run_scan_cold", "run_scan_first", "run_scan_full", "run_scan_projected", "run_scan_unread"]

PROJECTED = ["price", "category"]
FULL, UNREAD, SOME, FROM_DISK, FIRST = range(11, 16)


def run_scan_full(case: Case) -> list[Row]:
    """All columns, all bytes, files in the page cache, handle open."""
    return _run_warm(case, task="scan_full", columns=case.data.columns, purpose=FULL)


def run_scan_first(case: Case) -> list[Row]:
    """All columns, all bytes, files in the page cache, a fresh handle: no block was verified before."""
    clock = Clock(case.peers)
    for peer in case.peers:
        read_fully(case.paths[peer.name])
    for _, peers in interleaved(case, FIRST):
        for peer in peers:
            handle = peer.open(case.paths[peer.name])
            with paused_gc():
                clock.run(peer, lambda p=peer, h=handle: _scan(case, p, h, case.data.columns, read=True))
            del handle
    return _rows(case, clock, task="scan_first", state="warm")


def run_scan_unread(case: Case) -> list[Row]:
    """All columns, batches only counted."""
    return _run_warm(case, task="scan_unread", columns=case.data.columns, purpose=UNREAD)


def run_scan_projected(case: Case) -> list[Row]:
    """Two of the ten columns of "mixed"; no rows for the kinds of one column."""
    if case.data.kind != "mixed":
        return []
    return _run_warm(case, task="scan_projected", columns=PROJECTED, purpose=SOME)


def run_scan_cold(case: Case) -> list[Row]:
    """All columns, all bytes, a fresh handle, files dropped from the page cache."""
    clock = Clock(case.peers)
    for _, peers in interleaved(case, FROM_DISK):
        for peer in peers:
            path = case.paths[peer.name]
            gc.collect()
            drop(path)
            handle = peer.open(path)
            drop(path)
            with paused_gc():
                clock.run(peer, lambda p=peer, h=handle: _scan(case, p, h, case.data.columns, read=True))
            del handle
    return _rows(case, clock, task="scan_cold", state="cold")


class Toucher:
    """Sums every byte of the arrays it is shown, once for buffers that neighbouring batches share."""

    def __init__(self) -> None:
        self.total = 0
        self.nbytes = 0
        # of the last batch and this one; holding the buffers keeps their addresses from being used again
        self._shared: dict[tuple[int, int], pa.Buffer] = {}
        self._shared_now: dict[tuple[int, int], pa.Buffer] = {}

    def batch(self, batch: pa.RecordBatch) -> None:
        """Read all of a batch."""
        for array in batch.columns:
            self._array(array)
        self._shared, self._shared_now = self._shared_now, {}

    def _array(self, array: pa.Array) -> None:
        type, start, end = array.type, array.offset, array.offset + len(array)
        buffers = array.buffers()
        if buffers and buffers[0] is not None:
            self._region(buffers[0], start // 8, (end + 7) // 8)
        if pa.types.is_struct(type):
            for place in range(type.num_fields):
                self._array(array.field(place))
        elif pa.types.is_fixed_size_list(type):
            self._array(array.values.slice(start * type.list_size, len(array) * type.list_size))
        elif pa.types.is_list(type) or pa.types.is_large_list(type):
            self._list(array)
        elif pa.types.is_string_view(type) or pa.types.is_binary_view(type):
            self._region(buffers[1], start * 16, end * 16)
            for buffer in buffers[2:]:
                self._whole(buffer)
        elif pa.types.is_string(type) or pa.types.is_binary(type):
            offsets = np.frombuffer(buffers[1], np.int32)
            self._region(buffers[1], start * 4, (end + 1) * 4)
            if buffers[2] is not None:
                self._region(buffers[2], int(offsets[start]), int(offsets[end]))
        else:
            bits = type.bit_width
            self._region(buffers[1], start * bits // 8, (end * bits + 7) // 8)

    def _list(self, array: pa.ListArray) -> None:
        offsets = array.offsets
        self._array(offsets)
        first, last = offsets[0].as_py(), offsets[len(offsets) - 1].as_py()
        self._array(array.values.slice(first, last - first))

    def _whole(self, buffer: pa.Buffer) -> None:
        key = buffer.address, buffer.size
        if key not in self._shared and key not in self._shared_now:
            self._region(buffer, 0, buffer.size)
        self._shared_now[key] = buffer

    def _region(self, buffer: pa.Buffer, start: int, end: int) -> None:
        found = np.frombuffer(buffer, np.uint8)[start:end]
        words = len(found) // 8 * 8
        self.total += int(np.add.reduce(found[:words].view(np.uint64))) + int(np.add.reduce(found[words:]))
        self.nbytes += len(found)


def _scan(case: Case, peer: Peer, handle: Any, columns: list[str], *, read: bool) -> None:
    toucher, rows = Toucher(), 0
    for batch in peer.scan(handle, columns, case.data.batch_rows):
        if read:
            toucher.batch(batch)
        rows += batch.num_rows
    if rows != case.data.rows:
        raise AssertionError(f"{peer.name}: {rows} rows scanned, {case.data.rows} stored")


def _run_warm(case: Case, *, task: str, columns: list[str], purpose: int) -> list[Row]:
    read = purpose != UNREAD
    clock = Clock(case.peers)
    handles = {peer.name: peer.open(case.paths[peer.name]) for peer in case.peers}
    for peer in case.peers:
        read_fully(case.paths[peer.name])
        _scan(case, peer, handles[peer.name], columns, read=True)
    for _, peers in interleaved(case, purpose):
        for peer in peers:
            with paused_gc():
                clock.run(peer, lambda p=peer: _scan(case, p, handles[p.name], columns, read=read))
    return _rows(case, clock, task=task, state="warm")


def _rows(case: Case, clock: Clock, *, task: str, state: str) -> list[Row]:
    return [
        Row(
            task=task,
            kind=case.data.kind,
            detail="",
            state=state,
            peer=peer.name,
            unit="ms",
            samples=clock.wall[peer.name],
            cpu=clock.cpu[peer.name],
        )
        for peer in case.peers
    ]
