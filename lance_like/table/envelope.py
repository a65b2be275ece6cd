"""The envelope around every metadata object that is not a data file.

    magic (4 bytes) | u32 format version | u64 body length | body | u64 XXH3-64 of all before

All integers little-endian (format_spec/table.md, "Envelope"). Pure: bytes in, bytes out.
"""

from __future__ import annotations

import struct

import xxhash

from lance_like.errors import Corrupt, Unsupported
from lance_like.version import FORMAT_VERSION

_HEAD = struct.Struct("<4sIQ")
_SUM = struct.Struct("<Q")
OVERHEAD = _HEAD.size + _SUM.size
MAX_BODY = 1 << 30
MAX_OBJECT = MAX_BODY + OVERHEAD


def pack_envelope(magic: bytes, body: bytes) -> bytes:
    """Wrap a body. magic: 4 bytes that name the kind of object."""
    head = _HEAD.pack(magic, FORMAT_VERSION, len(body))
    return b"".join((head, body, _SUM.pack(xxhash.xxh3_64_intdigest(head + body))))


def unpack_envelope(magic: bytes, data: bytes, where: str) -> bytes:
    """Return the body of an envelope of this kind.

    Raises Corrupt (with the place) on a wrong length, kind or checksum; Unsupported on another format version.
    """
    if len(data) < OVERHEAD:
        raise Corrupt(
            f"{len(data)} bytes cannot hold a metadata object of at least {OVERHEAD}",
            kind="truncated",
            where=where,
        )
    if xxhash.xxh3_64_intdigest(data[: -_SUM.size]) != _SUM.unpack_from(data, len(data) - _SUM.size)[0]:
        raise Corrupt("the checksum does not match the bytes", kind="checksum", where=where)
    found, version, length = _HEAD.unpack_from(data)
    if found != magic:
        raise Corrupt(f"found the magic {found!r}, expected {magic!r}", kind="magic", where=where)
    if version != FORMAT_VERSION:
        raise Unsupported(
            f"format version {version} found, this package reads {FORMAT_VERSION}",
            kind="format-version",
            where=where,
            hint="read it with the release that wrote it, or update lance_like",
        )
    if length > MAX_BODY:
        raise Corrupt(f"a body of {length:,} bytes, over the limit of {MAX_BODY:,}", kind="limit", where=where)
    if length != len(data) - OVERHEAD:
        raise Corrupt(f"the body length says {length:,} of {len(data) - OVERHEAD:,}", kind="length", where=where)
    return data[_HEAD.size : -_SUM.size]
