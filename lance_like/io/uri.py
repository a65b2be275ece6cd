"""From text to a store."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from lance_like.errors import InvalidInput, Unsupported
from lance_like.io.local import Durability, LocalStore
from lance_like.io.memory import MemoryStore
from lance_like.io.remote import SCHEMES, FsspecStore, Lock
from lance_like.io.store import Store

# What stands first in their URIs is a bucket of one service; elsewhere it may be any host, which sees what it is sent.
_BUCKETS = frozenset({"gcs", "gs", "s3", "s3a"})
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")


def open_store(
    uri: str | os.PathLike[str],
    *,
    durability: Durability = "full",
    folders: Sequence[str] = (),
    storage_options: Mapping[str, Any] | None = None,
    lock: Lock | None = None,
) -> Store:
    """Open the place a URI names: a path (with ~), file://, memory://name (this process only), or s3:// and others.

    memory:// alone is a new place each time.
    durability, folders: as `LocalStore` has them. storage_options, lock: as `FsspecStore` has them; files and memory
    need neither, and take no notice of them. Nothing is asked of an object store yet.
    Raises Unsupported for another scheme.
    """
    text = os.fspath(uri)
    if not isinstance(text, str) or not text or "\0" in text or not _can_be_written(text):
        raise InvalidInput(f"{uri!r} is not a URI: expected a path or a URI as text")
    scheme, rest = _scheme_of(text)
    if scheme not in ("", "file", "memory"):
        return _remote_store(text, scheme, rest, storage_options, lock)
    if scheme == "memory":
        return MemoryStore.named(rest) if rest else MemoryStore.unnamed()
    return LocalStore(_local_path(text, rest) if scheme else text, durability=durability, folders=folders)


def _can_be_written(text: str) -> bool:
    """Whether a text has no half letters, but those that stand for bytes in the names of files."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def options_beside(store: Store, uri: str | os.PathLike[str]) -> Mapping[str, Any] | None:
    """The storage options of a store for another place, where they are sent to the same service; None elsewhere."""
    if not isinstance(store, FsspecStore):
        return None
    (mine, here), (theirs, there) = _scheme_of(store.uri), _scheme_of(os.fspath(uri))
    same_host = here.partition("/")[0] == there.partition("/")[0]
    return store.options if mine == theirs and (same_host or mine in _BUCKETS) else None


def _scheme_of(text: str) -> tuple[str, str]:
    """The scheme of a URI in small letters, "" for a path, and what follows it."""
    scheme, mark, rest = text.partition("://")
    return (scheme.lower() if mark and _SCHEME.fullmatch(scheme) else ""), rest


def _remote_store(
    text: str, scheme: str, rest: str, options: Mapping[str, Any] | None, lock: Lock | None
) -> FsspecStore:
    if scheme not in SCHEMES:
        raise Unsupported(
            f"the scheme {scheme!r} of {text!r} has no store",
            kind="scheme",
            hint=f"known are plain paths, file, and {', '.join(sorted(SCHEMES))}",
        )
    # fsspec gives '::' a meaning of its own: one URI inside another.
    if not rest.strip("/") or "::" in text:
        raise InvalidInput(f"{text!r} names no place in a store: expected {scheme}://bucket/path", kind="uri")
    return FsspecStore(f"{scheme}://{rest}", options=options, lock=lock)


def _local_path(text: str, rest: str) -> str:
    host, slash, path = rest.partition("/")
    if host not in ("", "localhost") or not slash:
        raise InvalidInput(f"{text!r} names the host {host!r}: expected file:///path", kind="uri")
    return unquote(slash + path)


__all__ = ["open_store", "options_beside"]
