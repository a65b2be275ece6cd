"""Many files below one place: readers and writers that share its store, and the files themselves."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from lance_like.errors import InvalidInput, NotFound
from lance_like.file.api import LanceFileReader
from lance_like.file.push import LanceFileWriter
from lance_like.io.uri import open_store

_COPY_NBYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class ListResult:
    """One level of a listing. common_prefixes: folders; objects: files; both relative to the base, sorted."""

    common_prefixes: list[str]
    objects: list[str]


class LanceFileSession:
    """Reads and writes files below one place. base_path: a path or URI; all other paths are relative to it."""

    def __init__(self, base_path: str | os.PathLike[str], storage_options: dict[str, str] | None = None) -> None:
        self._store = open_store(base_path, storage_options=storage_options)

    def open_reader(self, path: str, columns: Sequence[str] | None = None) -> LanceFileReader:
        """Open a file for reading."""
        return LanceFileReader.in_store(self._store, path, columns)

    def open_writer(
        self,
        path: str,
        *,
        schema: pa.Schema | None = None,
        data_cache_bytes: int | None = None,
        version: str | None = None,
        keep_original_array: bool | None = None,
        max_page_bytes: int | None = None,
    ) -> LanceFileWriter:
        """Open a file for writing. schema: as in `LanceFileWriter`; the others: accepted, not needed."""
        return LanceFileWriter.in_store(self._store, path, schema)

    def contains(self, path: str) -> bool:
        """Is there a file of this name?"""
        try:
            self._store.size(path)
        except NotFound:
            return False
        return True

    def list(self, path: str | None = None) -> list[str]:
        """All files below a folder, at any depth, sorted."""
        return sorted(self._walk(_folder(path)))

    def list_with_delimiter(self, path: str | None = None) -> ListResult:
        """The folders and files directly in a folder."""
        folder = _folder(path)
        names = self._store.list(folder)
        folders = [folder + name[:-1] for name in names if name.endswith("/")]
        return ListResult(folders, [folder + name for name in names if not name.endswith("/")])

    def read_range(self, path: str, offset: int, length: int) -> bytes:
        """Bytes of a file. Raises NotFound, or Corrupt when they reach past its end."""
        if offset < 0 or length < 0:
            raise InvalidInput(f"offset={offset}, length={length}: expected none below 0")
        return self._store.gather(path, [(np.array([offset]), np.array([offset + length]))])[0].tobytes()

    def delete_file(self, path: str) -> None:
        """Remove a file. Raises NotFound."""
        self._store.size(path)
        self._store.delete([path])

    def upload_file(self, local_path: str | os.PathLike[str], remote_path: str) -> None:
        """Copy a local file to here, replacing what was there."""
        with open(local_path, "rb") as file:
            self._store.put(remote_path, iter(lambda: file.read(_COPY_NBYTES), b""))

    def download_file(self, remote_path: str, local_path: str | os.PathLike[str]) -> None:
        """Copy a file from here to a local one, replacing what was there."""
        nbytes = self._store.size(remote_path)
        with open(local_path, "wb") as file:
            for start in range(0, nbytes, _COPY_NBYTES):
                file.write(self.read_range(remote_path, start, min(_COPY_NBYTES, nbytes - start)))

    def _walk(self, folder: str) -> Iterator[str]:
        for name in self._store.list(folder):
            if name.endswith("/"):
                yield from self._walk(folder + name)
            else:
                yield folder + name


def _folder(path: str | None) -> str:
    return path.rstrip("/") + "/" if path and path.strip("/") else ""
