"""Lance through `pylance`; it does not sync."""

import lance

from benchmarks.tables.lance_names import LanceNames


class Pylance(LanceNames):
    name = "pylance"
    settings = ("defaults; no fsync",)
    metadata = ("_versions", "_transactions", "_deletions")
    library = lance
    options = {}  # noqa: RUF012
