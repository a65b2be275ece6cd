"""Bytes that a table refers to and does not hold: files by path, objects by URI (format_spec/table.md, "Blob columns").

Local files are read here; other schemes go through fsspec (`io.remote`). Only the schemes listed there are known, so
that a table cannot name what is to be imported.
"""

from __future__ import annotations

import os
import re
import stat
from typing import Any
from urllib.parse import unquote

from lance_like._lazy import cached
from lance_like.errors import Corrupt, InvalidInput, LanceLikeError, NotFound, StorageError, Unsupported
from lance_like.io.remote import SCHEMES, filesystem_of

_URI = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_MAX_URI = 8192


def check_reference(uri: str) -> str:
    """Return the URI if a table may refer to it.

    Raises InvalidInput for a relative path, control characters, or over 8,192 bytes of UTF-8; Unsupported for a
    scheme that is not known.
    """
    # fsspec gives '::' a meaning of its own: one URI inside another.
    plain = 0 < len(uri.encode("utf-8", "surrogatepass")) <= _MAX_URI and "::" not in uri
    if not plain or any(ord(mark) < 32 or 0xD800 <= ord(mark) < 0xE000 for mark in uri):
        raise InvalidInput(f"{uri!r:.80} is not the URI of a blob", kind="uri")
    _local_path(uri)
    return uri


def _local_path(uri: str) -> str | None:
    """The path of a local reference; None for a remote one."""
    if uri.startswith("/"):
        return uri
    match = _URI.fullmatch(uri)
    if match is None:
        raise InvalidInput(
            f"{uri!r} is neither an absolute path nor a URI",
            kind="uri",
            hint="to store the contents of a file, pass a pathlib.Path or an open file",
        )
    scheme, rest = match[1].lower(), match[2]
    if scheme == "file":
        host, slash, path = rest.partition("/")
        path = unquote(slash + path)
        if host not in ("", "localhost") or not slash or "\0" in path:
            raise InvalidInput(f"{uri!r}: expected file:///path", kind="uri")
        return path
    if scheme not in SCHEMES or not rest:
        raise Unsupported(
            f"the scheme of {uri!r} is not known",
            kind="scheme",
            hint=f"known are file and {', '.join(sorted(SCHEMES))}",
        )
    return None


class External:
    """A range of a file or object elsewhere. Opened anew for each read; nothing is checked but its length.

    position, size: the range; None: all of it.
    """

    def __init__(self, uri: str, position: int | None = None, size: int | None = None) -> None:
        self.uri = check_reference(uri)
        self.position, self.size = position or 0, size

    @property
    def nbytes(self) -> int:
        """Its length. Cost: one request, the first time, unless the range was given."""
        return self._whole if self.size is None else self.size

    @cached
    def _whole(self) -> int:
        path = _local_path(self.uri)
        try:
            if path is not None:
                return os.stat(path).st_size
            system, key = self._remote
            return int(system.size(key))
        except (OSError, ValueError) as error:
            raise self._failure(error) from error

    @cached
    def _remote(self) -> tuple[Any, str]:
        return filesystem_of(self.uri, {})

    def read(self, start: int, end: int) -> bytes:
        """Bytes start … end of the range. Raises NotFound, StorageError, or Corrupt when they are not all there."""
        path = _local_path(self.uri)
        first, last = self.position + start, self.position + end
        try:
            if path is not None:
                data = _read_local(path, first, last)
            else:
                system, key = self._remote
                data = system.cat_file(key, start=first, end=last) if end > start else b""
        except (OSError, ValueError) as error:
            raise self._failure(error) from error
        if len(data) != end - start:
            raise Corrupt(
                f"a blob elsewhere has {len(data):,} bytes from byte {first:,}, {end - start:,} were expected",
                kind="external",
                where=self.uri,
                hint="the file was cut or replaced after it was referred to",
            )
        return data

    def _failure(self, error: Exception) -> LanceLikeError:
        if isinstance(error, LanceLikeError):
            return error
        if isinstance(error, FileNotFoundError):
            return NotFound("the file that a blob refers to does not exist", kind="external", where=self.uri)
        return StorageError(f"a blob elsewhere cannot be read: {error}", kind="external", where=self.uri)


def _read_local(path: str, start: int, end: int) -> bytes:
    # O_NONBLOCK: a FIFO in the place of the file must not hang.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Corrupt("a blob refers to what is not a regular file", kind="file-type", where=path)
        pieces: list[bytes] = []
        while start < end and (piece := os.pread(descriptor, end - start, start)):
            pieces.append(piece)
            start += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
    finally:
        os.close(descriptor)


__all__ = ["External", "check_reference"]
