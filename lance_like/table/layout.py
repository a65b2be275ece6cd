"""The names of the objects of a table (format_spec/table.md, "Names").

    data/<uuid>.lnl                                        data files
    _versions/<bucket, 16 hex>/<version, 20 digits>.manifest   one root manifest a version, 256 a bucket
    _meta/<uuid>.schema | .part | .txn | .rows | .del      immutable parts that manifests name
    _refs/tags/<name>.tag                                  tags

Pure: names only.
"""

from __future__ import annotations

import re
import uuid
from typing import Literal

VERSIONS = "_versions"
TAGS = "_refs/tags"
VERSIONS_PER_BUCKET = 256
# What the first version of a table needs.
FOLDERS = ("data", "_meta", f"{VERSIONS}/{0:016x}")
MAX_VERSION = 2**53 - 1

PartKind = Literal["schema", "part", "txn", "rows", "del"]

_BUCKET = re.compile(r"[0-9a-f]{16}/")
_MANIFEST = re.compile(r"([0-9]{20})\.manifest")
_PART = re.compile(r"_meta/[0-9a-f]{32}\.(schema|part|txn|rows|del)")
_TAG_FILE = re.compile(r"([A-Za-z0-9._-]{1,128})\.tag")


def version_key(version: int) -> str:
    """The key of the root manifest of a version."""
    return f"{VERSIONS}/{version // VERSIONS_PER_BUCKET:016x}/{version:020d}.manifest"


def bucket_number(name: str) -> int | None:
    """The number of a bucket from its name in a listing; None for any other name."""
    return int(name[:-1], 16) if _BUCKET.fullmatch(name) else None


def version_number(name: str, bucket: int) -> int | None:
    """The version from the name of a manifest in a bucket; None for any other name."""
    found = _MANIFEST.fullmatch(name)
    version = int(found[1]) if found else 0
    return version if 1 <= version <= MAX_VERSION and version // VERSIONS_PER_BUCKET == bucket else None


def version_of(key: str) -> int | None:
    """The version whose root manifest has this key; None for any other key."""
    found = _MANIFEST.fullmatch(key.rpartition("/")[2])
    return int(found[1]) if found and key == version_key(int(found[1])) else None


def new_data_key() -> str:
    """A key for a new data file that nobody else has."""
    return f"data/{uuid.uuid4().hex}.lnl"


def new_part_key(kind: PartKind) -> str:
    """A key for a new metadata part that nobody else has."""
    return f"_meta/{uuid.uuid4().hex}.{kind}"


def is_part_key(key: str, kind: PartKind) -> bool:
    """Is this the key of a metadata part of that kind?"""
    found = _PART.fullmatch(key)
    return found is not None and found[1] == kind


def tag_key(name: str) -> str:
    """The key of a tag whose name `is_tag_name`."""
    return f"{TAGS}/{name}.tag"


def tag_name(file: str) -> str | None:
    """The name of a tag from its name in a listing; None for any other name."""
    found = _TAG_FILE.fullmatch(file)
    return found[1] if found and is_tag_name(found[1]) else None


def is_tag_name(name: str) -> bool:
    """Does the name keep the grammar of tags (format_spec/table.md, "Tags")?"""
    plain = re.fullmatch(r"[A-Za-z0-9._-]{1,128}", name) is not None
    return plain and name not in (".", "..") and not name.endswith(".lock") and not name.startswith(".tmp-")
