"""Second reader, part 4 of 6: the objects of a table and the shape of their JSON (format_spec/table.md, "Bytes")."""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

from naive_types import FORMAT_VERSION, is_int, is_pair, is_text, member, need, parse_json, sum64

UUID = "[0-9a-f]{32}"
MAX_BODY = 1 << 30
MAX_PACKED = 1 << 26
TABLE = (Path(__file__).parents[2] / "format_spec" / "table.md").read_text("utf-8")
DICTIONARY = re.search("```text dictionary\n(.*?)```", TABLE, re.DOTALL)[1].replace("\n", "").encode()
IS_COUNT = is_int()
PACKED = (b"LLMF", b"LLPT", b"LLTX")


def check(condition: bool, found: str) -> None:
    need(condition, "structure", found)


def get(obj: object, name: str, test: Callable[[object], bool] = IS_COUNT):
    return member(obj, name, test, "structure")


def is_digest(value: object) -> bool:
    return is_text(value) and re.fullmatch("[0-9a-f]{16}", value) is not None


def is_object(value: object) -> bool:
    return type(value) is dict


def is_texts(value: object) -> bool:
    return is_object(value) and all(is_text(k) and is_text(v) for k, v in value.items())


def is_path(value: object) -> bool:
    """Tell whether a text follows "Paths"."""
    if not is_text(value) or len(value) > 1024 or re.search(r"[\\:%\0]", value):
        return False
    return all(part not in ("", ".", "..") for part in value.split("/"))


def is_reference(ending: str) -> Callable[[object], bool]:
    """Tell whether a value is a reference to a part. ending: of the names of the parts that may stand here."""

    def test(value: object) -> bool:
        if type(value) is not list or len(value) != 3 or not is_path(value[0]):
            return False
        named = re.fullmatch(rf"_meta/{UUID}\.{ending}", value[0]) is not None
        return named and is_int(1, MAX_BODY)(value[1]) and is_digest(value[2])

    return test


def is_run(value: object) -> bool:
    return is_pair(is_int(1), is_int(1))(value)


def read_object(folder: str, key: str, missing: tuple[str, str] = ("missing", "Corrupt")) -> bytes:
    """Read the bytes of an object. missing: kind and family of the error when it is not there."""
    path = os.path.join(folder, *key.split("/"))
    need(os.path.lexists(path), missing[0], f"{key} is missing", missing[1])
    need(os.path.isfile(path) and not os.path.islink(path), "file-type", f"{key} is a link or no file")
    with open(path, "rb") as file:
        return file.read()


def open_envelope(data: bytes, magic: bytes) -> bytes:
    """Check an envelope and give its body."""
    need(len(data) >= 24, "truncated", f"an object of {len(data)} bytes")
    need(sum64(data[:-8]) == struct.unpack("<Q", data[-8:])[0], "checksum", "the envelope")
    need(data[:4] == magic, "magic", f"{data[:4]!r}, {magic!r} expected")
    version, nbytes = struct.unpack_from("<IQ", data, 4)
    need(version == FORMAT_VERSION, "format-version", f"found {version}, this reads {FORMAT_VERSION}", "Unsupported")
    need(nbytes <= MAX_BODY, "limit", f"a body of {nbytes} bytes")
    need(nbytes + 24 == len(data), "length", f"a body of {nbytes} bytes in {len(data)}")
    return data[16:-8]


def open_json(data: bytes, magic: bytes) -> dict:
    packed = magic in PACKED and data[:4] == magic.lower()
    body = parse_json(unpack_json(open_envelope(data, magic.lower())) if packed else open_envelope(data, magic))
    check(type(body) is dict, "a body that is no object")
    return body


def unpack_json(body: bytes) -> bytes:
    """Give the JSON of a packed body, as who has no library that takes a dictionary: by a stored block before it."""
    check(len(body) >= 4, "packed JSON without a length")
    (nbytes,) = struct.unpack_from("<I", body)
    need(nbytes <= MAX_PACKED, "limit", f"packed JSON of {nbytes} bytes")
    stream = body[4:]
    check(len(stream) >= 6 and stream[0] & 15 == 8 and int.from_bytes(stream[:2], "big") % 31 == 0, "no zlib stream")
    before, start = b"", 2
    if stream[1] & 32:
        check(int.from_bytes(stream[2:6], "big") == zlib.adler32(DICTIONARY), "another dictionary")
        before, start = DICTIONARY, 6
    stored = struct.pack("<BHH", 0, len(before), 0xFFFF - len(before)) + before
    unpacker = zlib.decompressobj(-15)
    try:
        raw = unpacker.decompress(stored + stream[start:], len(before) + nbytes + 1)[len(before) :]
    except zlib.error:
        check(False, "packed JSON that cannot be unpacked")
    sized = len(raw) == nbytes and unpacker.eof and len(unpacker.unused_data) == 4
    need(sized, "length", f"packed JSON of other than {nbytes} bytes")
    check(int.from_bytes(unpacker.unused_data, "big") == zlib.adler32(raw), "the sum of packed JSON")
    return raw


def read_part(folder: str, reference: list) -> bytes:
    path, nbytes, digest = reference
    data = read_object(folder, path)
    need(len(data) == nbytes and sum64(data) == int(digest, 16), "checksum", f"{path} is not what was recorded")
    return data
