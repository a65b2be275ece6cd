"""The envelope around every metadata object that is not a data file, and the packed form of JSON in it.

    magic (4 bytes) | u32 format version | u64 body length | body | u64 XXH3-64 of all before
                                                             └ packed: u32 length | zlib stream of so many bytes

All integers little-endian (format_spec/table.md, "Envelope" and "Packed JSON"). Pure: bytes in, bytes out.
"""

from __future__ import annotations

import struct
import zlib

import xxhash

from lance_like.errors import Corrupt, Unsupported
from lance_like.version import FORMAT_VERSION

_HEAD = struct.Struct("<4sIQ")
_SUM = struct.Struct("<Q")
OVERHEAD = _HEAD.size + _SUM.size
MAX_BODY = 1 << 30
MAX_OBJECT = MAX_BODY + OVERHEAD
# JSON above this is not packed: few bytes cannot make a reader parse much more.
MAX_PACKED = 1 << 26
_LENGTH = struct.Struct("<I")
# What roots and parts have in common (format_spec/table.md, "Packed JSON"); never changed, as it takes part in reading.
DICTIONARY = b"".join(
    (
        b'{"level":0,"parts":[{"ref":["_meta/.part",1,""],"level":0,"fragments":16,"rows":16,"live_rows":16,',
        b'"fragment_ids":[0,16],"row_ids":[0,16]}]}{"level":0,"fragments":[{"ref":["_meta/.txn",1,""]},',
        b'{"rows":1,"ref":["_meta/.del",1,""]},{"ref":["_meta/.rows",1,""],"row_ids":[0,1]},',
        b'{"rows":1,"data":"OjAAAAEAAAAAAAAAEAAAAA=="},"base":1,[[0,1],[-1,1]],[0,null,null,1,0,0],',
        b'[0,"ffffffff","ffffffffffffffff",0,0,3]"create""overwrite""delete""update""merge_insert""compact"',
        b'"add_columns""drop_columns""alter_columns""replace_columns""update_metadata""clone""restore"',
        b'{"version":1,"timestamp_us":17,"writer":{"name":"lance_like","version":"0.1.0"},',
        b'"reader_features":0,"writer_features":0,"next_row_id":1,"next_field_id":1,"next_fragment_id":1,',
        b'"schema":["_meta/.schema",3,""],"fragments":{"parts":[],"tail":[',
        b'{"id":0,"rows":1,"row_ids":[[0,1]],"files":[{"path":"data/.lnl","nbytes":1,"tail":"","rows":1,',
        b'"fields":[[0,1]],"base":null,"stats":[[0,"00000000","0000000000000000",0,0,3],[1,"","",0,0,3]]}],',
        b'"deletions":null,"created":[[1,1]],"updated":[[1,1]],"lineage":null},{"id":1',
        b']},"rows":1,"live_rows":1,"indices":[],"bases":{},"metadata":{},"config":{},',
        b'"transaction":{"uuid":"","kind":"append","read_version":1,"message":null,"properties":{},',
        b'"row_ids":[],"fields":[],"files_added":["data/.lnl"],"fragments_added":[1],"source_version":null}}',
    )
)


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


def pack_json(magic: bytes, body: bytes) -> bytes:
    """Wrap a JSON body, packed; as it is above MAX_PACKED. magic: 4 capital letters; in small ones: packed."""
    if len(body) > MAX_PACKED:
        return pack_envelope(magic, body)
    # The window is no larger than what it slides over: zlib clears its tables, which takes longer than a small root.
    window = min(max((len(DICTIONARY) + len(body)).bit_length(), 9), zlib.MAX_WBITS)
    stream = zlib.compressobj(6, zlib.DEFLATED, window, 5, zlib.Z_DEFAULT_STRATEGY, DICTIONARY)
    return pack_envelope(magic.lower(), _LENGTH.pack(len(body)) + stream.compress(body) + stream.flush())


def unpack_json(magic: bytes, data: bytes, where: str) -> bytes:
    """The JSON of an envelope of this kind, packed or not. Raises as `unpack_envelope` and `inflate`."""
    if data[: len(magic)] != magic.lower():
        return unpack_envelope(magic, data, where)
    return inflate(unpack_envelope(magic.lower(), data, where), where, limit=MAX_PACKED, dictionary=DICTIONARY)


def inflate(body: bytes, where: str, *, limit: int, dictionary: bytes = b"") -> bytes:
    """The bytes of a zlib stream behind a u32 that says how many they are, at most limit.

    dictionary: the preset one that the stream may ask for. Raises Corrupt.
    """
    if len(body) < _LENGTH.size:
        raise Corrupt(f"{len(body)} bytes cannot hold a length and a stream", kind="structure", where=where)
    nbytes = _LENGTH.unpack_from(body)[0]
    if nbytes > limit:
        raise Corrupt(f"{nbytes:,} packed bytes are over the limit of {limit:,}", kind="limit", where=where)
    stream = zlib.decompressobj(zdict=dictionary)
    try:
        raw = stream.decompress(body[_LENGTH.size :], nbytes + 1)
    except zlib.error as error:
        raise Corrupt(f"the stream cannot be decompressed: {error}", kind="structure", where=where) from error
    if len(raw) != nbytes or not stream.eof or stream.unused_data:
        raise Corrupt(f"{len(raw):,} packed bytes, {nbytes:,} announced", kind="length", where=where)
    return raw
