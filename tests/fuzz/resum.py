"""Right checksums for wrong bytes: what was changed in a file must be met by the decoders, not by a checksum.

Takes any bytes; follows the layout of format_spec/file.md as far as the numbers in them lead.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import xxhash

_TAIL = struct.Struct("<QQII")
_RECORD = struct.Struct("<QIIIIIIiIH")
_ENTRY = struct.Struct("<QQQIIIIIIII")
# What is followed of a file that says it has more: the rest keeps the checksums it has.
_COLUMNS, _PAGES, _BLOCKS, _ZONES = 64, 64, 1024, 256


def resummed(data: bytes) -> bytes:
    """The bytes with the checksum of every part computed anew, and the magic at both ends."""
    if len(data) < 128:
        return data
    out = bytearray(data)
    out[:4] = out[-4:] = b"LNLK"
    tail = len(out) - 64
    directory, _, columns, metadata_nbytes = _TAIL.unpack_from(out, tail)
    for number in range(min(columns, _COLUMNS)):
        record = directory + 64 * number
        if record + 64 <= tail:
            _column(out, record)
    metadata = directory + 64 * columns
    _put(out, tail + 24, metadata, metadata + metadata_nbytes)
    _put(out, tail + 56, tail, tail + 56)
    return bytes(out)


def _column(out: bytearray, record: int) -> None:
    offset, pages, texts, blocks, shared, zones, field, _, _, width = _RECORD.unpack_from(out, record)
    entries = offset + 8 * (pages + 1)
    texts_at = entries + 64 * pages
    sums_at = texts_at + texts
    shared_at = sums_at + 4 * blocks
    zones_at = shared_at + shared
    zone_nbytes = 32 + 2 * width
    field_at = zones_at + zone_nbytes * (zones + 1)
    for entry in range(entries, min(texts_at, entries + 64 * _PAGES), 64):
        if entry + 64 <= len(out):
            _page(out, entry, texts_at, sums_at)
    for zone in range(min(zones + 1, _ZONES)):
        end = zones_at + zone_nbytes * (zone + 1)
        _place(out, end - 8, end - zone_nbytes)
        _put(out, end - 4, end - zone_nbytes, end - 4)
    _put(out, record + 44, offset, entries)
    _put(out, record + 48, shared_at, zones_at)
    _put(out, record + 52, field_at, field_at + field)
    _place(out, record + 56, record)
    _put(out, record + 60, record, record + 60)


def _page(out: bytearray, entry: int, texts_at: int, sums_at: int) -> None:
    offset, nbytes, _, text, text_nbytes, _, first, blocks, _, _, log2 = _ENTRY.unpack_from(out, entry)
    own = sums_at + 4 * first
    for number, (start, end) in enumerate(_blocks(offset, nbytes, min(log2, 24))):
        if number < min(blocks, _BLOCKS):
            _put(out, own + 4 * number, start, end)
    _put(out, entry + 32, texts_at + text, texts_at + text + text_nbytes)
    _put(out, entry + 44, own, own + 4 * blocks)
    _place(out, entry + 56, entry)
    _put(out, entry + 60, entry, entry + 60)


def _blocks(offset: int, nbytes: int, log2: int) -> Iterator[tuple[int, int]]:
    size = 1 << log2
    for start in range(0, min(nbytes, size * _BLOCKS), size):
        yield offset + start, offset + min(nbytes, start + size)


def _place(out: bytearray, at: int, place: int) -> None:
    """Write where something stands at a place, if that is inside."""
    if 0 <= at <= len(out) - 4:
        out[at : at + 4] = struct.pack("<I", place & 0xFFFFFFFF)


def _put(out: bytearray, at: int, start: int, end: int) -> None:
    """Write the sum32 of some bytes at a place, if both are inside."""
    if 0 <= at <= len(out) - 4 and 0 <= start <= end <= len(out):
        out[at : at + 4] = struct.pack("<I", xxhash.xxh3_64_intdigest(bytes(out[start:end])) & 0xFFFFFFFF)
