"""From what a user names to a store and a key: one file by its path or URI."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from lance_like.errors import InvalidInput
from lance_like.io.local import Durability
from lance_like.io.store import Store
from lance_like.io.uri import open_store


def locate(
    path: str | os.PathLike[str],
    *,
    durability: Durability = "full",
    storage_options: Mapping[str, Any] | None = None,
) -> tuple[Store, str]:
    """The store that holds a file, and the file's key there.

    path: a path (links are followed), file://…, memory://name/key, or s3://bucket/key and other object stores.
    Raises InvalidInput for a path that names no file, Unsupported for a scheme without a store.
    """
    text = os.fspath(path)
    if not isinstance(text, str) or not text:
        raise InvalidInput(f"{path!r} is not the path of a file: expected text", kind="path")
    if "://" not in text:
        # A store does not follow links; who names a file means what the link names.
        text = os.path.realpath(os.path.expanduser(text))
    folder, slash, key = text.rpartition("/")
    if not key or folder.endswith(":/"):
        raise InvalidInput(f"{text!r} names no file: expected a folder and a name", kind="path")
    return open_store(folder or slash, durability=durability, storage_options=storage_options), key


def is_folder(path: str) -> bool:
    """Does a path or file:// URI name a local folder?"""
    if path.startswith("file://"):
        path = unquote(urlsplit(path).path)
    return "://" not in path and os.path.isdir(os.path.expanduser(path))
