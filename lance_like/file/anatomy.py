"""The parts of one data file, each read and checked by itself: what `inspect` and `verify` look at.

A reader stops at the first fault of a column; here every part can be looked at although another one is damaged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from lance_like.encodings.base import Node, parse_node
from lance_like.encodings.registry import read_node
from lance_like.encodings.stack import Runs, SharedBlob, Stack
from lance_like.errors import Corrupt
from lance_like.file.carry import carried_type
from lance_like.file.columns import Column
from lance_like.file.layout import (
    HEAD_NBYTES,
    PAGE_ENTRY,
    RECORD_NBYTES,
    TAIL_NBYTES,
    ColumnRecord,
    Tail,
    pack_head,
    parse_json,
    sum32,
    sums_at,
    unpack_column,
    unpack_entries,
    unpack_tail,
)
from lance_like.file.stats import ZoneEntry, unpack_zone_entries
from lance_like.file.types import unpack_field
from lance_like.io.store import Store
from lance_like.ranges import gather_from
from lance_like.typing_ import Bytes, Int64s, Json

_ONE = np.zeros(1, np.int64)


@dataclass(frozen=True, slots=True)
class PageEntry:
    """One entry of the page table; every number as `format_spec/file.md`, "Page entry", has it."""

    offset: int
    nbytes: int
    first_row: int
    description_offset: int
    description_nbytes: int
    description_sum: int
    first_block: int
    num_blocks: int
    blocks_sum: int
    num_rows: int
    block_log2: int

    @property
    def end(self) -> int:
        return self.offset + self.nbytes


class Anatomy:
    """One file of a store. Every method raises Corrupt or Unsupported for a fault of the part it reads."""

    def __init__(self, store: Store, key: str) -> None:
        self.store, self.key = store, key
        self.nbytes = store.size(key)

    def read(self, start: int, end: int) -> Bytes:
        """Bytes of the file; without a copy where the store can."""
        if start >= end:
            return np.empty(0, np.uint8)
        return self.store.gather(self.key, [(np.array([start]), np.array([end]))])[0]

    def tail(self) -> Tail:
        if self.nbytes < HEAD_NBYTES + TAIL_NBYTES:
            raise Corrupt(f"{self.nbytes} bytes are too few for a data file", kind="truncated")
        return unpack_tail(self.tail_bytes(), self.nbytes, "")

    def tail_bytes(self) -> bytes:
        return self.read(max(0, self.nbytes - TAIL_NBYTES), self.nbytes).tobytes()

    def check_head(self) -> None:
        if self.read(0, HEAD_NBYTES).tobytes() != pack_head():
            raise Corrupt("the head is not that of a data file of this version", kind="head")

    def file_metadata(self, tail: Tail) -> dict[str, Json]:
        data = self.read(tail.metadata_offset, tail.metadata_offset + tail.metadata_nbytes)
        if sum32(data) != tail.metadata_sum:
            raise Corrupt("the checksum of the file metadata does not match", kind="checksum")
        body = parse_json(data.tobytes(), "")
        if not isinstance(body, dict):
            raise Corrupt("the file metadata is not an object", kind="metadata")
        return body

    def record(self, tail: Tail, column: int) -> ColumnRecord:
        start = tail.directory_offset + RECORD_NBYTES * column
        return unpack_column(self.read(start, start + RECORD_NBYTES).tobytes(), tail, column, "")

    def field(self, record: ColumnRecord) -> Column:
        field = unpack_field(self.read(record.field_offset, record.end), record, "")
        return Column(field.name, field.type, field.nullable, field.metadata, record.parent)

    def fences(self, record: ColumnRecord, num_rows: int) -> Int64s:
        data = self.read(record.offset, record.entries_offset)
        if sum32(data) != record.fences_sum:
            raise Corrupt("the checksum of the fences does not match", kind="checksum")
        fences = data.view("<u8").astype(np.int64)
        if fences[0] != 0 or fences[-1] != num_rows or (np.diff(fences) <= 0).any():
            raise Corrupt(f"the fences do not ascend from 0 to {num_rows:,}", kind="fences")
        return fences

    def entry(self, record: ColumnRecord, page: int) -> PageEntry:
        start = record.entries_offset + PAGE_ENTRY.itemsize * page
        data = self.read(start, start + PAGE_ENTRY.itemsize)
        entry = unpack_entries(data, np.array([start]), record.limits, "")[0]
        return PageEntry(*(int(entry[name]) for name in PageEntry.__slots__))

    def node(self, record: ColumnRecord, entry: PageEntry) -> Node:
        start = record.descriptions_offset + entry.description_offset
        text = self.read(start, start + entry.description_nbytes)
        if sum32(text) != entry.description_sum:
            raise Corrupt("the checksum of the page description does not match", kind="checksum")
        node = parse_node(parse_json(text.tobytes(), ""), entry.nbytes)
        if node.num_rows != entry.num_rows:
            raise Corrupt(f"the description says {node.num_rows:,} rows, the entry {entry.num_rows:,}", kind="page")
        return node

    def block_sums(self, record: ColumnRecord, entry: PageEntry) -> np.ndarray:
        """uint32[num_blocks]: what the checksums of a page's blocks should be."""
        start = record.sums_offset + 4 * entry.first_block
        data = self.read(start, start + 4 * entry.num_blocks)
        if sum32(data) != entry.blocks_sum:
            raise Corrupt("the checksum of the block checksums does not match", kind="checksum")
        return np.frombuffer(data.tobytes(), "<u4")

    def wrong_blocks(self, entry: PageEntry, sums: np.ndarray) -> Iterator[tuple[int, int]]:
        """The byte ranges of the file of those blocks of a page whose checksum does not match."""
        starts = np.arange(0, entry.nbytes, 1 << entry.block_log2)
        ends = np.minimum(starts + (1 << entry.block_log2), entry.nbytes)
        found = sums_at(self.read(entry.offset, entry.end), starts, ends - starts)
        for block in np.flatnonzero(found != sums).tolist():
            yield entry.offset + int(starts[block]), entry.offset + int(ends[block])

    def shared(self, record: ColumnRecord) -> bytes:
        data = self.read(record.shared_offset, record.zones_offset)
        if sum32(data) != record.shared_sum:
            raise Corrupt("the checksum of the shared blob does not match", kind="checksum")
        return data.tobytes()

    def decode(self, entry: PageEntry, node: Node, kind: pa.DataType, shared: bytes) -> pa.Array:
        """All rows of a page, as its type is carried, its blocks unchecked."""
        page = self.read(entry.offset, entry.end)
        stack = Stack([node], _ONE, _ONE, (SharedBlob(shared),))
        read = read_node(stack, carried_type(kind), Runs(_ONE, _ONE, np.array([node.num_rows])))
        try:
            asks = next(read)
            while True:
                asks = read.send([gather_from(page, starts, ends) for starts, ends, _ in asks])
        except StopIteration as stop:
            return stop.value

    def zone(self, record: ColumnRecord, zone: int, num_rows: int, kind: pa.DataType) -> ZoneEntry:
        """One zone entry; zone == num_zones is the one of the whole column."""
        start = record.zones_offset + record.zone_nbytes * zone
        data = self.read(start, start + record.zone_nbytes)
        rows = num_rows if zone == record.num_zones else min(record.zone_rows, num_rows - zone * record.zone_rows)
        alone = record._replace(num_zones=1, zone_rows=max(1, rows))
        return unpack_zone_entries(data, start, kind, alone, rows, "")[0]
