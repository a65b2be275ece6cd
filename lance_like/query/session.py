"""The open data files of one dataset handle: opened side by side, checked once, kept under a limit."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

from lance_like.file.reader import FileReader, open_file
from lance_like.io.fetch import drive_all
from lance_like.io.store import Store
from lance_like.table.fragment import DataFile

# An open file of few columns holds some tens of KiB: its last 4 KiB, page tables, checksums of opened pages.
_OPEN_FILES = 1024


class Session:
    """Readers by path. verify: check the blocks of pages on first touch; metadata is always checked."""

    def __init__(self, store: Store, *, verify: bool = True) -> None:
        self.store = store
        self.verify = verify
        self._readers: OrderedDict[str, FileReader] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, files: Sequence[DataFile]) -> list[FileReader]:
        """The readers of files, in order. Cost: one round for those that are not open yet."""
        readers = self._readers
        missing = {file.path: file for file in files if file.path not in readers}
        found = {path: readers[path] for file in files if (path := file.path) in readers}
        if missing:
            conversations = [
                (path, open_file(path, file.nbytes, tail=file.tail, verify=self.verify))
                for path, file in missing.items()
            ]
            found.update(zip(missing, drive_all(self.store, conversations), strict=True))
            self._keep(found)
        return [found[file.path] for file in files]

    def _keep(self, opened: dict[str, FileReader]) -> None:
        with self._lock:
            for path, reader in opened.items():
                self._readers.setdefault(path, reader)
                self._readers.move_to_end(path)
            while len(self._readers) > _OPEN_FILES:
                self._readers.popitem(last=False)


__all__ = ["Session"]
