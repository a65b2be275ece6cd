"""What is in a store, and what the versions of a table name: read from their JSON, not by the package."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from lance_like.io.store import Store
from lance_like.table.envelope import unpack_json


def keys(store: Store, folder: str = "", *, temporary: bool = False) -> Iterator[str]:
    """The keys of all objects, or of all unfinished writes."""
    for name in store.list(folder):
        if name.endswith("/"):
            yield from keys(store, folder + name, temporary=temporary)
        elif not temporary:
            yield folder + name
    if temporary:
        yield from (folder + name for name in store.list(folder, temporary=True))


def named(store: Store) -> set[str]:
    """What the roots of all lines name, and what that names: every text in their JSON that is a key."""
    found: set[str] = set()
    left = [key for key in keys(store) if key.endswith(".manifest")]
    while left:
        key = left.pop()
        found.add(key)
        if key.endswith((".manifest", ".part")):
            magic = b"LLMF" if key.endswith(".manifest") else b"LLPT"
            [data] = store.read([key], limit=1 << 30)
            assert data is not None, key
            texts = _texts(json.loads(unpack_json(magic, data, key)))
            left += [text for text in texts if text.startswith(("data/", "_meta/")) and text not in found]
    return found


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        # What a commit added is history: it need not be there any more.
        yield from (text for key, item in value.items() if key != "files_added" for text in _texts(item))
    elif isinstance(value, list):
        yield from (text for item in value for text in _texts(item))


def left_over(store: Store) -> set[str]:
    """The objects that no version names and that are no names of versions, and unfinished writes."""
    there = {key for key in keys(store) if not key.startswith("_refs/")} - named(store)
    return there | set(keys(store, temporary=True))


__all__ = ["keys", "left_over", "named"]
