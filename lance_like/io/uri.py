"""From text to a store."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from lance_like.errors import InvalidInput, Unsupported
from lance_like.io.local import Durability, LocalStore
from lance_like.io.memory import MemoryStore
from lance_like.io.store import Store

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_MEMORIES: dict[str, MemoryStore] = {}


def open_store(uri: str | os.PathLike[str], *, durability: Durability = "full", folders: Sequence[str] = ()) -> Store:
    """Open the place a URI names: a path (with ~), file://, or memory://name (this process only).

    durability, folders: as `LocalStore` has them; memory has neither.
    Raises Unsupported for another scheme.
    """
    text = os.fspath(uri)
    if not isinstance(text, str) or not text or "\0" in text:
        raise InvalidInput(f"{uri!r} is not a URI: expected a path or a URI as text")
    scheme, mark, rest = text.partition("://")
    if not mark or not _SCHEME.fullmatch(scheme):
        return LocalStore(text, durability=durability, folders=folders)
    scheme = scheme.lower()
    if scheme == "file":
        host, slash, path = rest.partition("/")
        if host not in ("", "localhost") or not slash:
            raise InvalidInput(f"{text!r} names the host {host!r}: expected file:///path", kind="uri")
        return LocalStore(unquote(slash + path), durability=durability, folders=folders)
    if scheme == "memory":
        return _MEMORIES.setdefault(rest, MemoryStore(rest))
    raise Unsupported(
        f"the scheme {scheme!r} of {text!r} has no store; known are plain paths, file:// and memory://",
        kind="scheme",
        hint=f"copy the dataset to a local folder such as {str(Path.home() / 'data')!r}",
    )


__all__ = ["open_store"]
