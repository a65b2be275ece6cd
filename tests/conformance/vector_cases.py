"""What a vector is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa


@dataclass(frozen=True)
class Case:
    """A file and what is in it.

    settings: names of lance_like modules' attributes ("file.writer.PAGE_ROWS") and the values they have while
    the file is written. data: the bytes of a file made by hand; else the package writes the table.
    zones: whether expected.json has the statistics. fields: the schema's fields as JSON, where Arrow cannot say it.
    """

    name: str
    covers: str
    spec: str
    table: pa.Table
    settings: Mapping[str, int] = field(default_factory=dict)
    data: bytes | None = None
    zones: bool = False
    fields: list[Any] | None = None


@dataclass(frozen=True)
class BadCase:
    """A file, what is wrong with it, and the class and kind of the package's error."""

    name: str
    covers: str
    spec: str
    error: str
    kind: str
    data: bytes
