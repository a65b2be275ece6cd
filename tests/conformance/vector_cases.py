"""What a vector is."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa

import lance_like


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


@dataclass(frozen=True)
class Version:
    """What a version holds: its rows, and their ids in scan order.

    created, updated: the versions that made and last changed each row, where the case is about them.
    """

    table: pa.Table
    row_ids: list[int]
    created: list[int] | None = None
    updated: list[int] | None = None


@dataclass(frozen=True)
class TableCase:
    """A table that a reader must read. build: writes it to a folder; versions: from 1 on; branches: by number."""

    name: str
    covers: str
    spec: str
    build: Callable[[Path], None]
    versions: list[Version]
    tags: dict[str, int] = field(default_factory=dict)
    branches: dict[str, dict[int, Version]] = field(default_factory=dict)


@contextmanager
def settings(values: Mapping[str, int]) -> Iterator[None]:
    """Set attributes of lance_like modules for a while: pages and zones of a few rows make small vectors."""
    with ExitStack() as stack:
        for name, value in values.items():
            module, _, attribute = name.rpartition(".")
            owner = importlib.import_module(f"lance_like.{module}")
            stack.enter_context(mock.patch.object(owner, attribute, value))
        yield


def write(data: pa.Table, folder: Path, **options: object) -> lance_like.LanceDataset:
    return lance_like.write_dataset(data, folder, durability="process", **options)
