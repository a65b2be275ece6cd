"""This package through its public API, by default and without fsync, as the peers run."""

from typing import Any

import lance_like
from benchmarks.tables.lance_names import LanceNames


class LanceLike(LanceNames):
    name = "lance_like"
    settings: tuple[str, ...] = ("defaults: a commit is on the disk when it returns (fsync); reads verify checksums",)
    metadata = ("_versions", "_meta", "_refs")
    library = lance_like
    options: dict[str, Any] = {}  # noqa: RUF012


class LanceLikeNoSync(LanceLike):
    name = "lance_like_nosync"
    settings = ("durability='process': nothing is synced, as in the peers; reads verify checksums",)
    options = {"durability": "process"}  # noqa: RUF012
