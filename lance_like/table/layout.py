"""The names of the objects of a table (format_spec/table.md, "Names").

    data/<uuid>.lnl                                        data files
    _versions/<bucket, 16 hex>/<version, 20 digits>.manifest   one root manifest a version, 256 a bucket
    _meta/<uuid>.schema | .part | .txn | .rows | .del | .idx   immutable parts that manifests name
    _refs/tags/<name>.tag                                  tags
    _refs/branches/<name, '+' for '/'>.branch              branches
    _leases/<uuid>.lease | .cleanup                        who uses versions now, and who removes some
    _branches/<line>/_versions/…                           the root manifests of a branch, as those of the table

Pure: names only.
"""

from __future__ import annotations

import os
import re
from typing import Literal

VERSIONS = "_versions"
TAGS = "_refs/tags"
BRANCH_REFS = "_refs/branches"
LINES = "_branches"
LEASES = "_leases"
MAIN = "main"
"""What a caller may name the versions of no branch; no branch has this name."""
VERSIONS_PER_BUCKET = 256
# What the first version of a table needs.
FOLDERS = ("data", "_meta", f"{VERSIONS}/{0:016x}")
MAX_VERSION = 2**53 - 1

PartKind = Literal["schema", "part", "txn", "rows", "del", "idx"]
LeaseKind = Literal["lease", "cleanup"]

_BUCKET = re.compile(r"[0-9a-f]{16}/")
_MANIFEST = re.compile(r"([0-9]{20})\.manifest")
_PART = re.compile(r"_meta/[0-9a-f]{32}\.(schema|part|txn|rows|del|idx)")
_LINE = re.compile(r"[0-9a-f]{32}")
_BRANCH_FILE = re.compile(r"([A-Za-z0-9._+-]{1,128})\.branch")
_LEASE = re.compile(r"[0-9a-f]{32}\.(lease|cleanup)")
_DATA_FILE = re.compile(r"data/[0-9a-f]{32}\.lnl")
_TAG_FILE = re.compile(r"([A-Za-z0-9._-]{1,128})\.tag")


def version_key(version: int) -> str:
    """The key of the root manifest of a version."""
    return f"{VERSIONS}/{bucket_of(version):016x}/{version:020d}.manifest"


def bucket_of(version: int) -> int:
    """The number of the bucket of a version."""
    return version // VERSIONS_PER_BUCKET


def begins_bucket(version: int) -> bool:
    """Is the root of this version the first in its folder?"""
    return version % VERSIONS_PER_BUCKET == 0


def bucket_number(name: str) -> int | None:
    """The number of a bucket from its name in a listing; None for any other name."""
    return int(name[:-1], 16) if _BUCKET.fullmatch(name) else None


def version_number(name: str, bucket: int) -> int | None:
    """The version from the name of a manifest in a bucket; None for any other name."""
    found = _MANIFEST.fullmatch(name)
    version = int(found[1]) if found else 0
    return version if 1 <= version <= MAX_VERSION and bucket_of(version) == bucket else None


def version_of(key: str) -> int | None:
    """The version, of the table or of a branch, whose root manifest has this key; None for any other key."""
    found = _MANIFEST.fullmatch(key.rpartition("/")[2])
    return int(found[1]) if found and f"/{key}".endswith(f"/{version_key(int(found[1]))}") else None


def new_uuid() -> str:
    """32 hexadecimal digits at random, in a quarter of the time that `uuid.uuid4` takes."""
    return os.urandom(16).hex()


def new_data_key() -> str:
    """A key for a new data file that nobody else has."""
    return f"data/{new_uuid()}.lnl"


def is_data_key(key: str) -> bool:
    """Is this a key that `new_data_key` gives?"""
    return _DATA_FILE.fullmatch(key) is not None


def base_key(base: int, path: str) -> str:
    """What a store calls an object below a base of the table, by its number: no key of the table itself has a colon."""
    return f"{base}:{path}"


def new_part_key(kind: PartKind) -> str:
    """A key for a new metadata part that nobody else has."""
    return f"_meta/{new_uuid()}.{kind}"


def is_part_key(key: str, kind: PartKind) -> bool:
    """Is this the key of a metadata part of that kind?"""
    found = _PART.fullmatch(key)
    return found is not None and found[1] == kind


def new_lease_key(kind: LeaseKind) -> str:
    """A key for a new lease that nobody else has."""
    return f"{LEASES}/{new_uuid()}.{kind}"


def lease_kind(file: str) -> LeaseKind | None:
    """The kind of a lease from its name in a listing; None for any other name."""
    found = _LEASE.fullmatch(file)
    return None if found is None else "lease" if found[1] == "lease" else "cleanup"


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


def branch_key(name: str) -> str:
    """The key of the object that says what a branch is, whose name `is_branch_name`."""
    return f"{BRANCH_REFS}/{name.replace('/', '+')}.branch"


def branch_name(file: str) -> str | None:
    """The name of a branch from the name of its object in a listing; None for any other name."""
    found = _BRANCH_FILE.fullmatch(file)
    name = found[1].replace("+", "/") if found else ""
    return name if is_branch_name(name) else None


def is_branch_name(name: str) -> bool:
    """Does the name keep the grammar of branches (format_spec/table.md, "Branches")?"""
    fits = len(name) <= 128 and name != MAIN and ".." not in name
    return fits and all(is_tag_name(part) for part in name.split("/"))


def new_line() -> str:
    """A name for the versions of a new branch that no other has."""
    return new_uuid()


def is_line(name: str) -> bool:
    """Is this the name of the versions of a branch?"""
    return _LINE.fullmatch(name) is not None


def line_key(line: str, key: str) -> str:
    """Where an object lies that has this key in a table without branches. Only roots are a branch's own."""
    return f"{LINES}/{line}/{key}" if key.startswith(f"{VERSIONS}/") else key
