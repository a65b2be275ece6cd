"""Data files put together byte by byte, as format_spec/file.md says, without the package's writer.

For files that a writer may produce although the package's does not, and for files that a reader must refuse.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import xxhash

Edit = Callable[[bytearray], None]
METADATA = b'{"metadata":[],"writer":"by hand"}'


@dataclass(frozen=True)
class Page:
    """One page. description: JSON, or its bytes. sums: of its blocks, computed unless given."""

    description: Any
    data: bytes
    rows: int
    block_log2: int = 12


@dataclass(frozen=True)
class Column:
    """One column: its field JSON (or bytes), pages in row order, and zone entries without their checksums.

    null_rows: which rows are null, for zones that are not given.
    """

    field: Any
    pages: Sequence[Page]
    parent: int = -1
    zone_width: int = 0
    zone_rows: int = 8192
    zones: Sequence[bytes] | None = None
    shared: bytes = b""
    null_rows: Sequence[int] = ()


def sum32(data: bytes | bytearray) -> bytes:
    return struct.pack("<I", xxhash.xxh3_64_intdigest(bytes(data)) & 0xFFFFFFFF)


def dump(value: Any) -> bytes:
    """JSON as bytes; bytes pass as they are."""
    if isinstance(value, bytes):
        return value
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def make_file(
    columns: Sequence[Column],
    *,
    num_rows: int,
    edits: Mapping[str, Edit] | None = None,
    metadata: bytes = METADATA,
    alignment: int = 64,
    reverse_pages: bool = False,
) -> bytes:
    """A whole file, every checksum right.

    edits: changes of the bytes of a part ("fences", "entry", "zone", "record", "tail") before its
    checksum is computed; of the first column, page and zone.
    """
    change = dict(edits or {})
    out = bytearray(64)
    out[:8] = b"LNLK" + bytes(4)
    flat = [(page, c, p) for c, column in enumerate(columns) for p, page in enumerate(column.pages)]
    offsets: dict[tuple[int, int], int] = {}
    for page, c, p in reversed(flat) if reverse_pages else flat:
        out += bytes(-len(out) % alignment)
        offsets[c, p] = len(out)
        out += page.data
    records = []
    for c, column in enumerate(columns):
        out += bytes(-len(out) % alignment)
        body, record = _column(column, [offsets[c, p] for p in range(len(column.pages))], len(out), num_rows, change)
        out += body
        records.append((record, change.pop("record", None)))
        change = {key: edit for key, edit in change.items() if key == "tail"}
    out += bytes(-len(out) % alignment)
    for i, (record, edit) in enumerate(records):
        record += struct.pack("<I", len(out) + 64 * i)
        if edit is not None:
            edit(record)
    tail = bytearray(struct.pack("<QQII", len(out), num_rows, len(columns), len(metadata)) + sum32(metadata))
    uuid = hashlib.sha256(bytes(out) + metadata).digest()[:16]
    tail += struct.pack("<I16sII", 1, uuid, 0, 0)
    _apply(change, "tail", tail)
    directory = b"".join(bytes(record) + sum32(record) for record, _ in records)
    return bytes(out) + directory + metadata + bytes(tail) + sum32(tail) + b"LNLK"


def _apply(change: dict[str, Edit], part: str, body: bytearray) -> None:
    edit = change.pop(part, None)
    if edit is not None:
        edit(body)


def _column(
    column: Column, offsets: list[int], at: int, num_rows: int, change: dict[str, Edit]
) -> tuple[bytes, bytearray]:
    """The metadata of one column that begins at byte `at`, and its directory record up to its place."""
    texts, sums, entries, firsts = b"", b"", b"", [0]
    for page, offset in zip(column.pages, offsets, strict=True):
        size = 1 << page.block_log2
        blocks = [page.data[start : start + size] for start in range(0, len(page.data), size)]
        description = dump(page.description)
        own = b"".join(sum32(block) for block in blocks)
        entry = bytearray(struct.pack("<QQQ", offset, len(page.data), firsts[-1]))
        entry += struct.pack("<II", len(texts), len(description)) + sum32(description)
        entry += struct.pack("<II", len(sums) // 4, len(blocks)) + sum32(own)
        place = at + 8 * (len(offsets) + 1) + len(entries)
        entry += struct.pack("<III", page.rows, page.block_log2, place)
        _apply(change, "entry", entry)
        entries += entry + sum32(entry)
        texts += description
        sums += own
        firsts.append(firsts[-1] + page.rows)
    fences = bytearray(struct.pack(f"<{len(firsts)}Q", *firsts))
    _apply(change, "fences", fences)
    num_zones = -(-num_rows // column.zone_rows)
    zones = column.zones
    if zones is None:
        spans = [(zone * column.zone_rows, (zone + 1) * column.zone_rows) for zone in range(num_zones)]
        counts = [sum(low <= row < high for row in column.null_rows) for low, high in [*spans, (0, num_rows)]]
        zones = [struct.pack("<QQHHB3x", n, 0, 0, 0, 0) + bytes(2 * column.zone_width + 4) for n in counts]
    packed = b""
    zones_at = at + len(fences) + len(entries) + len(texts) + len(sums) + len(column.shared)
    for zone in zones:
        body = bytearray(zone[:-4]) + struct.pack("<I", zones_at + len(packed))
        _apply(change, "zone", body)
        packed += bytes(body) + sum32(body)
    text = dump(column.field)
    record = bytearray(struct.pack("<QIIII", at, len(column.pages), len(texts), len(sums) // 4, len(column.shared)))
    record += struct.pack("<IIi", len(zones) - 1, len(text), column.parent)
    record += struct.pack("<IHH", column.zone_rows, column.zone_width, 0)
    record += sum32(fences) + sum32(column.shared) + sum32(text)
    return bytes(fences) + entries + texts + sums + column.shared + packed + text, record


def put(offset: int, layout: str, *values: Any) -> Edit:
    """An edit that overwrites bytes with packed values."""
    return lambda body: struct.pack_into(layout, body, offset, *values)


def bitpacked(values: Sequence[int], width: int, lanes: int) -> bytes:
    """Differences as bit-packed words, by the formulas of format_spec/encodings/bitpack.md, row by row."""
    size = next(nbytes for nbytes in (1, 2, 4, 8) if 8 * nbytes >= width)
    bits = 8 * size
    tiles = -(-len(values) // (bits * lanes))
    words = [0] * (tiles * width * lanes)
    for row, value in enumerate(values):
        tile, within = divmod(row, bits * lanes)
        strip, lane = divmod(within, lanes)
        word, shift = divmod(strip * width, bits)
        at = (tile * width + word) * lanes + lane
        words[at] |= value << shift & (1 << bits) - 1
        if shift + width > bits:
            words[at + lanes] |= value >> (bits - shift)
    return b"".join(word.to_bytes(size, "little") for word in words)
