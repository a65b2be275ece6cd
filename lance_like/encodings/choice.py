"""What a field's metadata says about the encoding of its column (format_spec/encodings/README.md, "How a writer
chooses"). Only writing looks at it; no reader does.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from lance_like.errors import InvalidInput

PLAIN, COMPACT = "plain", "compact"
ZSTD, NONE = "zstd", "none"
_ENCODING, _COMPRESSION, _LEVEL = "lance_like:encoding", "lance_like:compression", "lance_like:compression-level"
# What Lance reads. Its other values mean encodings of its own: they are no error here, and change nothing.
_LANCE_COMPRESSION, _LANCE_LEVEL = "lance-encoding:compression", "lance-encoding:compression-level"
_LANCE_BLOB = "lance-encoding:blob"
_KEYS = frozenset(
    key.encode() for key in (_ENCODING, _COMPRESSION, _LEVEL, _LANCE_COMPRESSION, _LANCE_LEVEL, _LANCE_BLOB)
)
_LEVELS = range(-7, 23)
_COMPACT_LEVEL = 9


@dataclass(frozen=True, slots=True)
class Choice:
    """How a column is to be encoded; None leaves it to the writer.

    encoding: "plain", "compact", or the name of the one to try first. compression: "zstd" or "none".
    level: of zstd, -7 to 22.
    """

    encoding: str | None = None
    compression: str | None = None
    level: int | None = None

    @property
    def inside(self) -> Choice:
        """What holds for the parts of an encoded array, such as its codes, offsets and distinct values."""
        return replace(self, encoding=None)


NO_CHOICE = Choice()


def asked_of(metadata: Mapping[bytes, bytes] | None) -> dict[bytes, bytes]:
    """The part of a field's metadata that may say something about its encoding."""
    return {key: value for key, value in (metadata or {}).items() if key in _KEYS}


def choice_of(
    metadata: Mapping[bytes, bytes] | None, *, encodings: Collection[str], nested: bool, where: str
) -> Choice:
    """Read the choice of a field from its metadata; keys of ours come before those of Lance.

    encodings: those that can hold the type, for one of which a field that is not nested may ask by name.
    Raises InvalidInput when the value of one of our keys is unknown, or fits neither the type nor the other keys.
    """
    found = {key.decode(errors="replace"): value.decode(errors="replace") for key, value in (metadata or {}).items()}
    compressible = nested or ZSTD in encodings
    names = [PLAIN, COMPACT] if nested else [PLAIN, COMPACT, *sorted({*encodings} - {PLAIN})]
    encoding = _one_of(found, _ENCODING, names, where)
    compression = _one_of(found, _COMPRESSION, [ZSTD, NONE] if compressible else [NONE], where)
    level = _one_of(found, _LEVEL, [str(level) for level in _LEVELS], where)
    if (encoding, compression) in ((PLAIN, ZSTD), (ZSTD, NONE)):
        raise InvalidInput(f"{where}: the encoding {encoding!r} and the compression {compression!r} exclude each other")
    if encoding == ZSTD:
        compression = ZSTD
    elif compression is None and encoding is None and compressible:
        compression = _lance_compression(found)
    level = level if level is not None else found.get(_LANCE_LEVEL, "")
    if level in map(str, _LEVELS):
        return Choice(encoding, compression, int(level))
    return Choice(encoding, compression, _COMPACT_LEVEL if encoding == COMPACT else None)


def _one_of(found: Mapping[str, str], key: str, values: Collection[str], where: str) -> str | None:
    value = found.get(key)
    if value is None or value in values:
        return value
    shown = ", ".join(values) if key != _LEVEL else f"{_LEVELS[0]} to {_LEVELS[-1]}"
    raise InvalidInput(
        f"{where}: the field metadata {key!r} is {value!r:.40}, expected {shown}",
        kind="encoding",
        hint="change or remove it with Field.with_metadata",
    )


def _lance_compression(found: Mapping[str, str]) -> str | None:
    if found.get(_LANCE_BLOB, "").lower() == "true":
        return NONE
    return {"zstd": ZSTD, "lz4": ZSTD, "none": NONE}.get(found.get(_LANCE_COMPRESSION, "").lower())
